"""The cell that installs the package where a chapter's notebook is opened without it.

    python book/install_cell.py

It stands below the title in every notebook of `chapters/`, so that a student has it who opens a
notebook of the repository in Colab, or uploads one that was downloaded from its page. The address
is that of the repository, `url` and `branch` in `repository` of `_config.yml`; while there is none,
no notebook has the cell. The command writes it into all notebooks, or removes it. The pages do not
show it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

import dependencies
import notebooks

__all__ = ["BRANCH", "EXTRAS", "ID", "cell_of", "extras", "repository", "update", "with_cell"]

ID = "install-genmodels"
BRANCH = "main"  # unless `_config.yml` names another
EXTRAS = {"torch": "torch", "keras": "keras", "numba": "physics"}  # by what a chapter imports
# Each version that is there becomes a constraint, because pip then adds what is missing, or says
# what does not fit, and changes nothing else. Of two versions of one package Python imports the
# first in the list; one that pip cannot read is that of a package of the system. If the user may
# not write beside Python's own packages, pip makes a folder for this user, of which Python is told.
# A folder called genmodels, such as a clone, is found as well; of a package alone Python knows the
# file from which it is loaded.
SOURCE = '''\
# @title Install the course's package where it is missing, as in Colab
import importlib.util

if getattr(importlib.util.find_spec("genmodels"), "origin", None) is None:
    import site
    import subprocess
    import sys
    from importlib.metadata import distributions
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from packaging.utils import canonicalize_name
    from packaging.version import InvalidVersion, Version

    package = ("{package} @ "
               "{address}")
    kept = {{}}
    for each in distributions():
        try:
            kept.setdefault(canonicalize_name(each.name), Version(each.version))
        except (InvalidVersion, TypeError):  # pip did not install it
            continue
    with TemporaryDirectory() as folder:
        file = Path(folder, "kept.txt")
        file.write_text("".join(f"{{name}}=={{kept[name]}}\\n" for name in kept))
        command = [sys.executable, "-m", "pip", "install", "-c", str(file), package]
        pip = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             text=True)
    if pip.returncode:
        raise ImportError(f"pip could not install {{package}}:\\n{{pip.stdout}}")
    if site.ENABLE_USER_SITE:
        site.addsitedir(site.getusersitepackages())  # if it was made just now
    importlib.invalidate_caches()
    print(f"Installed {{package}}; all other versions are as they were.")'''


def repository() -> dict[str, str]:
    """Return the `url` and the `branch` of the repository, as far as `_config.yml` has them."""
    config = yaml.safe_load((notebooks.ROOT / "_config.yml").read_text(encoding="utf-8"))
    return config.get("repository") or {}


def extras(chapter: Path, package: dependencies.Package) -> list[str]:
    """Return the extras of the package that a chapter needs."""
    imported = package.distributions(chapter, exercises=False)
    return sorted(extra for name, extra in EXTRAS.items() if name in imported)


def cell_of(package: str, address: str) -> dict[str, Any]:
    """Return the cell that installs a package with its extras, from an address as pip reads it."""
    source = SOURCE.format(package=package, address=address)
    return {"cell_type": "code", "execution_count": None, "id": ID,
            # Colab and JupyterLab fold it, and a page does not show it
            "metadata": {"cellView": "form", "jupyter": {"source_hidden": True},
                         "tags": ["remove-cell"]},
            "outputs": [], "source": source.splitlines(keepends=True)}


def with_cell(chapter: Path, set_to: Mapping[str, str], package: dependencies.Package) -> str:
    """Return the text of a notebook's file with the cell, or without it if there is no address.

    Args:
        chapter: the path of the notebook.
        set_to: what is known of the repository, see `repository`.
        package: the modules that the notebook may reach.
    """
    notebook = json.loads(chapter.read_text(encoding="utf-8"))
    notebook["cells"] = [each for each in notebook["cells"] if each["id"] != ID]
    if url := set_to.get("url"):
        named = ",".join(extras(chapter, package))
        address = f"git+{url.rstrip('/')}@{set_to.get('branch') or BRANCH}"
        notebook["cells"].insert(1, cell_of(f"genmodels[{named}]" if named else "genmodels",
                                            address))
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def update() -> list[Path]:
    """Write the notebooks whose cell is not that of the address; return their paths."""
    set_to, package = repository(), dependencies.Package()
    written = []
    for chapter in notebooks.notebooks():
        text = with_cell(chapter, set_to, package)
        if text != chapter.read_text(encoding="utf-8"):
            chapter.write_text(text, encoding="utf-8")
            written.append(chapter)
    return written


if __name__ == "__main__":
    for changed in update():
        print(f"Wrote {changed.relative_to(notebooks.ROOT)}")
