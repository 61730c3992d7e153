"""Build the book: execute the chapters whose outputs may have changed, then write the pages.

Jupyter Book executes a chapter again when its own code cells have changed. It knows nothing of the
modules that a chapter reaches, of the versions that these use, nor of the environment. So the
fingerprint of these (`dependencies.py`) is kept for each stored output, and where it has changed,
the stored output is thrown away before Jupyter Book looks for it.

What has to be executed is executed before Jupyter Book starts, some chapters at once
(`execution.py`): it finds all outputs stored. Chapters that use a GPU are left to it, since each
would take the memory for itself.

Jupyter Book works in `_build/work`. `_build/html` is a link to a copy of what the last successful
build has made: another build changes the link in one step, or not at all. `_build/executed` has the
notebooks with what they printed, for `drift.py`.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import nbformat
from jupyter_cache import get_cache
from jupyter_cache.base import JupyterCacheAbstract

import checks
import dependencies
import devices
import execution
import inline_figures
import notebooks
import pages

__all__ = ["PAGE_MAKERS", "PAGE_SOURCES", "VARIABLES", "build", "environment", "fingerprints",
           "forget_stale", "without_gpu"]

ROOT = notebooks.ROOT
VARIABLES = ["GENMODELS_BUDGET", "GENMODELS_DATA", "GENMODELS_DETERMINISTIC", "KERAS_BACKEND"]
# What all pages are written again for, though no chapter is executed again.
PAGE_SOURCES = ["_config.yml", "_toc.yml", "book/static", "book/extensions", "book/chapter_map.py",
                "book/checks.py", "book/dependencies.py", "book/devices.py", "book/downloads.py",
                "book/environment.py", "book/identities.py", "book/install_cell.py", "book/live",
                "book/notebooks.py", "book/reading.py", "book/templates", "book/tex_text.py"]
PAGE_MAKERS = ["jupyter-book", "sphinx-mathjax-offline", "pylatexenc"]


def settings(folder: Path) -> dict[str, str]:
    """Return the environment variables that are set for the chapters, whatever the user's are.

    `MPLBACKEND=agg`, which clusters set, gives a book without figures and without an error;
    `PYTHONOPTIMIZE` removes every assert.
    """
    return {"MPLBACKEND": "module://matplotlib_inline.backend_inline",
            "MATPLOTLIBRC": os.devnull,
            "KERAS_HOME": str(folder / ".keras"),
            "IPYTHONDIR": str(folder / ".ipython"),
            checks.FOLDER: str(folder / "checks"),
            "PYTHONOPTIMIZE": ""}


def environment(folder: Path) -> dict[str, str]:
    """Return the environment in which chapters are executed."""
    return os.environ | settings(folder)


# What has to be executed ------------------------------------------------------------------------


def fingerprints(chapters: Iterable[Path]) -> dict[Path, str]:
    """Return for each chapter the fingerprint of what its outputs depend on beside its code.

    What is recorded of its checks and of its environment is an output too.
    """
    package = dependencies.Package()
    counting = {name: os.environ.get(name) for name in VARIABLES} | settings(Path())
    counting["figures"] = inline_figures.CONFIGURATION
    counting["recorder"] = sum_of(["book/checks.py", "book/environment.py"])

    def counting_for(chapter: Path) -> dict[str, str | None]:
        device = devices.device_of(package.distributions(chapter))
        return counting if device == devices.CPU else counting | {"device": device}

    return {each: dependencies.fingerprint(each, package, counting_for(each)) for each in chapters}


def without_gpu(chapters: Iterable[Path]) -> list[Path]:
    """Return the chapters that compute on the processor alone."""
    package = dependencies.Package()
    return [chapter for chapter in chapters
            if devices.device_of(package.distributions(chapter)) == devices.CPU]


def forget_stale(cache: JupyterCacheAbstract, record: Path, now: Mapping[Path, str]) -> list[Path]:
    """Remove the stored outputs that are not those of today; return the chapters without any.

    Outputs are stored by the code of a chapter, so fingerprints are recorded by the same key: a
    chapter whose old code comes back does not get outputs that another package made.

    Args:
        cache: where Jupyter Book stores outputs.
        record: a JSON file with the fingerprints of the outputs in it.
        now: the fingerprint of each chapter.
    """
    made_with = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
    missing = []
    for chapter, fingerprint in now.items():
        notebook = notebooks.read(chapter)
        key = cache.create_hashed_notebook(notebook)[1]
        try:
            stored = cache.match_cache_notebook(notebook)
        except KeyError:
            missing.append(chapter)
        else:
            try:
                cache.get_cache_bundle(stored.pk)
                whole = True
            except ValueError:  # killed while the file was written
                whole = False
            except KeyError:  # killed between the file and the record of it
                cache.clear_cache()
                return forget_stale(cache, record, now)
            if made_with.get(key) != fingerprint or not whole:
                cache.remove_cache(stored.pk)
                missing.append(chapter)
        made_with[key] = fingerprint
    replace(record, json.dumps(made_with, indent=1))
    return missing


def replace(path: Path, text: str) -> None:
    """Write a file such that it is at any time the old or the new one, whole."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)


# The pages --------------------------------------------------------------------------------------


def sum_of(names: Iterable[str]) -> str:
    """Return a SHA-256 sum of the named files, and of those in the named folders."""
    digest = hashlib.sha256()
    for name in names:
        path = ROOT / name
        for file in [path] if path.is_file() else sorted(path.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(f"{file.relative_to(ROOT)}\0".encode())
                digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def publish(made: Path, place: Path) -> None:
    """Copy a folder and make a place a link to the copy; at each moment it is one to a whole copy.

    A folder cannot take the place of another in one step; a link can take that of a link.
    """
    name = f"{place.name}-{time.time_ns()}"
    shutil.copytree(made, place.with_name(name))
    link = place.with_name(f"{place.name}.new")
    link.unlink(missing_ok=True)
    link.symlink_to(name)
    if place.is_dir() and not place.is_symlink():  # as older builds made it
        place.rename(place.with_name(f"{place.name}-old"))
    link.replace(place)
    for copy in place.parent.glob(f"{place.name}-*"):
        if copy.name != name:
            shutil.rmtree(copy)


def keep_executed(cache: JupyterCacheAbstract, folder: Path) -> None:
    """Write each chapter with what its stored outputs say, without figures: see `drift.py`."""
    shutil.rmtree(folder, ignore_errors=True)
    for chapter in notebooks.in_order():
        try:
            _, notebook = cache.merge_match_into_notebook(notebooks.read(chapter))
        except KeyError:  # not executed
            continue
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs = [each for each in cell.outputs
                                if "image/png" not in each.get("data", {})]
        path = folder / chapter.relative_to(notebooks.CHAPTERS)
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, path)


def build(output: Path) -> int:
    """Build the book into `output/_build/html` and return an exit status, 0 for success."""
    folder = output / "_build"
    work = folder / "work" / "_build"  # Jupyter Book adds `_build`
    work.mkdir(parents=True, exist_ok=True)
    pages.write()
    complete = work / ".complete"
    sources = "\n".join([sum_of(PAGE_SOURCES), *dependencies.pins_of(PAGE_MAKERS)])
    # After a failure too: Sphinx reports what is wrong with a page only when it reads it.
    if not complete.exists() or complete.read_text(encoding="utf-8") != sources:
        shutil.rmtree(work / ".doctrees", ignore_errors=True)
        shutil.rmtree(work / "html", ignore_errors=True)
    complete.unlink(missing_ok=True)
    stored = work / ".jupyter_cache"
    missing = forget_stale(get_cache(stored), work / ".fingerprints.json",
                           fingerprints(notebooks.in_order()))
    print(f"Chapters to execute: {', '.join(each.stem for each in missing) or 'none'}", flush=True)
    for chapter in missing:  # Sphinx reads a page again whose doctree is not there
        name = chapter.relative_to(ROOT).with_suffix(".doctree")
        (work / ".doctrees" / name).unlink(missing_ok=True)
        checks.forget(folder / "checks",
                      (cell.source for cell in notebooks.code_cells(chapter)))
    checks.write_startup(folder / ".ipython")
    inline_figures.write(folder / ".ipython")
    variables = environment(folder)
    if executable := without_gpu(missing):
        status = subprocess.run(execution.command(stored, executable), check=False,
                                env=variables).returncode
        if status != 0:
            return status
    jupyter_book = str(Path(sys.executable).with_name("jupyter-book"))
    command = [jupyter_book, "build", "-W", "-n", "--keep-going", "--path-output",
               str(work.parent), str(ROOT)]
    status = subprocess.run(command, check=False, env=variables).returncode
    if status == 0:
        keep_executed(get_cache(stored), folder / "executed")
        publish(work / "html", folder / "html")
        replace(complete, sources)
    return status


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the book below OUTPUT/_build.")
    parser.add_argument("--output", type=Path, default=ROOT, help="default: the repository")
    output = parser.parse_args().output.resolve()
    try:
        status = build(output)
    except KeyboardInterrupt:
        return 130  # as a shell has it
    if status != 0:
        print("The book was not built: see what is said above.", file=sys.stderr)
        return status
    print(f"Open {(output / '_build/html/index.html').as_uri()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
