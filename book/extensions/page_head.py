"""Say below the title of a chapter what is known of it, and offer its notebook.

Each is shown only if it is known. The minutes are those that the chapter states. The budget and the
date are those of the stored outputs: the build executes a chapter again when the budget changes
(`build.py`). The data set is what the outputs print. With what a chapter was executed stands at its
end (`environment_line.py`). The links to Colab, to the source and to a new issue need the address
of the repository: `url`, and `branch`, in `repository` of `_config.yml`. (Sphinx does not know
whether it is set: Jupyter Book has an address of its own.)
"""

import os
import re
import sys
from collections.abc import Iterable
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import nbformat
from docutils import nodes
from sphinx.application import Sphinx

sys.path.append(str(Path(__file__).resolve().parent.parent))  # book/
import notebooks
import reading
from downloads import alone, github_name
from install_cell import BRANCH, repository

__all__ = ["BLANK", "data_in", "facts", "head", "links", "repository", "repository_links",
           "setup"]

TEXT = "laptop"  # the budget of which the chapters speak
BLANK = "without_solutions"  # the folder beside the pages with notebooks for students
LOADED = re.compile(r"Loaded (.*MNIST.*?): ([\d,]+ training and [\d,]+ test digits)")


# What is known ----------------------------------------------------------------------------------


def data_in(text: str) -> str | None:
    """Return the data set that printed text says was loaded, or None."""
    found = LOADED.search(text)
    return f"{found[1]}, {found[2]}" if found else None


def printed_in(doctree: nodes.document) -> str:
    """Return what the cells of a page print."""
    outputs = (node for node in doctree.findall(nodes.container)
               if "cell_output" in node["classes"])
    return "\n".join(output.astext() for output in outputs)


def facts(chapter: Path, printed: str, executed: float | None) -> dict[str, str]:
    """Return what is known of a chapter, by what it is.

    Args:
        chapter: the path of the notebook.
        printed: what its cells have printed.
        executed: when it was executed, in seconds since 1970; None if that is not known.
    """
    found = {}
    if minutes := reading.stated_minutes(chapter):
        found["Reading"] = f"{minutes} minutes"
    if executed is not None:
        budget = os.environ.get("GENMODELS_BUDGET") or TEXT
        found["Budget"] = budget if budget == TEXT else f"{budget} (the text describes {TEXT})"
    if data := data_in(printed):
        found["Data"] = data
    if executed is not None:
        day = datetime.fromtimestamp(executed)
        found["Executed"] = f"{day.day} {day:%B %Y}"
    return found


def repository_links(url: str, branch: str, source: str) -> dict[str, str]:
    """Return the links to Colab (from GitHub alone), to the source of a page, and to a new issue.

    Args:
        url: the address of the repository.
        branch: the branch that is published.
        source: the path of the page in it.
    """
    url = url.rstrip("/")
    found = {}
    if name := github_name(url):
        url = f"https://github.com/{name}"
        found["Open in Colab"] = ("https://colab.research.google.com/github/"
                                  f"{name}/blob/{branch}/{source}")
    found["Source"] = f"{url}/blob/{branch}/{source}"
    found["Report a mistake"] = f"{url}/issues/new?title={quote(source)}"
    return found


# The page ---------------------------------------------------------------------------------------


def links(docname: str) -> list[tuple[str, str, bool]]:
    """Return (text, address, whether it is a download) of each link at the head of a chapter."""
    up = "../" * docname.count("/")
    found = [("Notebook", f"{up}_sources/{docname}.ipynb", True),
             ("Notebook without solutions", f"{up}{BLANK}/{docname}.ipynb", True),
             ("How to run it", f"{up}chapters/index.html#run-it-yourself", False)]
    set_to = repository()
    if url := set_to.get("url"):
        branch = set_to.get("branch") or BRANCH
        found += [(text, address, False) for text, address
                  in repository_links(url, branch, f"{docname}.ipynb").items()]
    return found


def head(known: dict[str, str], offered: Iterable[tuple[str, str, bool]]) -> str:
    """Return the lines below the title as HTML."""
    listed = "".join(f"<div><dt>{escape(name)}</dt> <dd>{escape(value)}</dd></div>"
                     for name, value in known.items())
    linked = "".join(f'<li><a href="{escape(address)}"{" download" if download else ""}>'
                     f"{escape(text)}</a></li>" for text, address, download in offered)
    facts_of = f"<dl>{listed}</dl>" if listed else ""
    return f'<div class="page-head">{facts_of}<ul>{linked}</ul></div>'


def chapter_of(docname: str) -> Path | None:
    """Return the notebook of a page, or None if it is made from none."""
    path = notebooks.ROOT / f"{docname}.ipynb"
    return path if path.exists() else None


def add(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put the head below the title of a chapter."""
    chapter = chapter_of(docname)
    title = next(doctree.findall(nodes.title), None)
    if app.builder.format != "html" or chapter is None or title is None:
        return
    data: dict[str, Any] = getattr(app.env, "nb_metadata", {}).get(docname, {}).get("exec_data", {})
    executed = data.get("mtime") if data.get("succeeded") else None
    text = head(facts(chapter, printed_in(doctree), executed), links(docname))
    title.parent.insert(title.parent.index(title) + 1, nodes.raw("", text, format="html"))


def write_downloads(app: Sphinx, failure: Exception | None) -> None:
    """Write beside the pages each notebook, and as students get it: without its solutions."""
    if failure or app.builder.format != "html":
        return
    for docname in app.env.found_docs:
        if chapter := chapter_of(docname):
            for folder, notebook in (("_sources", notebooks.read(chapter)),
                                     (BLANK, notebooks.without_solutions(chapter))):
                path = Path(app.outdir, folder, f"{docname}.ipynb")
                path.parent.mkdir(parents=True, exist_ok=True)
                nbformat.write(alone(notebook, chapter), path)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("doctree-resolved", add)
    app.connect("build-finished", write_downloads)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
