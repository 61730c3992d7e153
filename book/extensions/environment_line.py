"""Say at the end of a chapter in which environment it was executed.

A reader who gets other numbers can then see what differs. The versions, the threads and the commit
are those that the kernel recorded (`environment.py`), and the date is that of the stored outputs.
The budget and the device are those of this build, which executes a chapter again when one of them
changes. The data set is what the cells print, and the seeds stand in the cells. A chapter that was
not executed has no such line.
"""

import ast
import json
import os
import sys
from collections.abc import Iterable
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from page_head import TEXT, chapter_of, data_in, printed_in
from sphinx.application import Sphinx

sys.path.append(str(Path(__file__).resolve().parent.parent))  # book/
import checks
import dependencies
import devices
import environment
import notebooks
from install_cell import repository

__all__ = ["facts", "line", "recorded", "seeds", "setup"]

SEEDED = ("default_rng", "manual_seed", "set_random_seed", "PRNGKey", "key")
PACKAGE = dependencies.Package()
BACKENDS = {"torch": "PyTorch", "tensorflow": "TensorFlow", "jax": "JAX"}


def recorded(chapter: Path) -> dict[str, Any] | None:
    """Return what the kernel of a chapter recorded, None unless all of its cells ran."""
    folder = os.environ.get(checks.FOLDER)
    keys = [key for key in checks.keys(cell.source for cell in notebooks.code_cells(chapter))
            if key]
    if not folder or not keys:
        return None
    path = environment.file_of(Path(folder), keys[-1])
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def seeds(sources: Iterable[str]) -> list[int]:
    """Return the seeds that cells name as numbers, in calls such as `default_rng(0)`."""
    found = set()
    for source in sources:
        for node in ast.walk(notebooks.python_of(source)):
            if isinstance(node, ast.Call):
                given = [each.value for each in node.keywords if each.arg == "seed"]
                if checks.called(node) in SEEDED:
                    given += node.args[:1]
                found |= {each.value for each in given if isinstance(each, ast.Constant)
                          and type(each.value) is int}
    return sorted(found)


def threads(count: dict[str, int]) -> str:
    """Return "2 threads", or the number of each framework where they differ."""
    if len(set(count.values())) == 1:
        number = next(iter(count.values()))
        return f"{number} thread{'s' if number > 1 else ''}"
    return "threads: " + ", ".join(f"{name} {number}" for name, number in count.items())


def facts(chapter: Path, record: dict[str, Any], printed: str, executed: float) -> dict[str, str]:
    """Return the environment of a chapter: each entry of the line, by its name.

    Args:
        chapter: the path of the notebook.
        record: what its kernel recorded.
        printed: what its cells have printed.
        executed: when it was executed, in seconds since 1970.
    """
    day = datetime.fromtimestamp(executed)
    versions = [f"{name} {version}" for name, version in record["versions"].items()]
    if record["backend"]:
        versions.append(f"Keras on {BACKENDS.get(record['backend'], record['backend'])}")
    found = {
        "Versions": ", ".join(versions),
        "Device": f"{devices.device_of(PACKAGE.distributions(chapter))}, "
                  f"{threads(record['threads'])}",
        "Budget": os.environ.get("GENMODELS_BUDGET") or TEXT}
    if data := data_in(printed):
        found["Data"] = data
    if used := seeds(cell.source for cell in notebooks.code_cells(chapter)):
        found["Seeds"] = ", ".join(map(str, used))
    if record["commit"]:
        name = record["commit"].removesuffix("+")
        found["Commit"] = f"{name}, with changes" if name != record["commit"] else name
    found["Executed"] = f"{day.day} {day:%B %Y}"
    return found


def line(known: dict[str, str]) -> str:
    """Return the environment as HTML; the commit is a link where the repository is known."""
    listed = []
    for name, value in known.items():
        shown = escape(value)
        if name == "Commit" and (url := repository().get("url")):
            address = f"{url.rstrip('/').removesuffix('.git')}/commit/{value.partition(',')[0]}"
            shown = f'<a href="{escape(address)}">{shown}</a>'
        listed.append(f"<div><dt>{escape(name)}</dt> <dd>{shown}</dd></div>")
    return ('<div class="environment" role="group" aria-label="Environment">'
            f"<dl>{''.join(listed)}</dl></div>")


def add(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any],
        doctree: nodes.document | None) -> None:
    """Put the line at the end of a chapter that was executed: outside what the search reads."""
    chapter = chapter_of(pagename)
    if doctree is None or chapter is None:
        return
    data = getattr(app.env, "nb_metadata", {}).get(pagename, {}).get("exec_data", {})
    record = recorded(chapter) if data.get("succeeded") else None
    if record:
        context["body"] += line(facts(chapter, record, printed_in(doctree), data["mtime"]))


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("html-page-context", add)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
