"""The one reader of the chapters: their order, titles, cells and tags, and their execution.

A chapter is known by the path of its notebook, and by its name, which is that of the file.
"""

import ast
import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import nbformat
import yaml
from IPython.core.inputtransformer2 import TransformerManager
from nbclient import NotebookClient
from nbformat.warnings import DuplicateCellId, MissingIDFieldWarning

__all__ = ["CHAPTERS", "ROOT", "cells_of", "code_cells", "execute", "in_order", "notebooks",
           "plain_pages", "python_of", "read", "tagged", "tags_of", "text_of", "title_of",
           "without_solutions"]

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = ROOT / "chapters"


def notebooks() -> list[Path]:
    """Return the paths of all chapters that are notebooks, in alphabetical order."""
    paths = sorted(CHAPTERS.rglob("*.ipynb"))
    return [path for path in paths if ".ipynb_checkpoints" not in path.parts]


def plain_pages() -> list[Path]:
    """Return the paths of all pages without code, in alphabetical order."""
    paths = sorted(CHAPTERS.rglob("*.md"))
    return [path for path in paths if ".ipynb_checkpoints" not in path.parts]


def in_order() -> list[Path]:
    """Return the paths of the notebooks in the order of the book."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    files = [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    paths = [ROOT / f"{file}.ipynb" for file in files]
    return [path for path in paths if path.exists()]


def read(chapter: Path) -> nbformat.NotebookNode:
    """Return a notebook, each of its cells with its source as one string.

    Raises:
        ValueError: an ID of a cell is missing, or is that of two cells; nbformat would choose one.
    """
    with warnings.catch_warnings():
        for corrected in (DuplicateCellId, MissingIDFieldWarning):
            warnings.simplefilter("error", corrected)
        try:
            return nbformat.read(chapter, as_version=4)
        except (DuplicateCellId, MissingIDFieldWarning) as error:
            raise ValueError(f"{chapter}: {error}") from None


def cells_of(chapter: Path) -> list[nbformat.NotebookNode]:
    """Return the cells of a notebook."""
    return read(chapter).cells


def code_cells(chapter: Path) -> list[nbformat.NotebookNode]:
    """Return the cells of a notebook that are executed."""
    return [cell for cell in cells_of(chapter) if cell.cell_type == "code"]


def tags_of(cell: Mapping) -> list[str]:
    """Return the tags of a cell."""
    return cell["metadata"].get("tags", [])


def tagged(chapter: Path, tag: str) -> list[nbformat.NotebookNode]:
    """Return the cells of a notebook that have a tag."""
    return [cell for cell in cells_of(chapter) if tag in tags_of(cell)]


def without_solutions(chapter: Path) -> nbformat.NotebookNode:
    """Return a notebook as students get it: without the cells of solutions."""
    notebook = read(chapter)
    notebook.cells = [cell for cell in notebook.cells if "solution" not in tags_of(cell)]
    return notebook


def text_of(page: Path) -> str:
    """Return the Markdown of a page, of a notebook that of its text cells, without code blocks."""
    if page.suffix == ".ipynb":
        text = "\n\n".join(cell.source for cell in cells_of(page) if cell.cell_type == "markdown")
    else:
        text = page.read_text(encoding="utf-8")
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def title_of(chapter: Path) -> str:
    """Return the first heading of a notebook.

    Raises:
        ValueError: there is none.
    """
    for cell in cells_of(chapter):
        match = re.search(r"^# (.+)$", cell.source, re.MULTILINE)
        if cell.cell_type == "markdown" and match:
            return match[1].strip()
    raise ValueError(f"{chapter} must have a heading '# …', got none")


def python_of(source: str) -> ast.Module:
    """Parse the source of a cell; IPython's magics and shell commands become calls."""
    return ast.parse(TransformerManager().transform_cell(source))


def execute(notebook: nbformat.NotebookNode, folder: Path, environment: Mapping[str, str],
            timeout: int = 600) -> None:
    """Execute a notebook in place, in a folder and with these environment variables alone.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raises.
    """
    client = NotebookClient(notebook, timeout=timeout, resources={"metadata": {"path": folder}})
    client.execute(env=dict(environment))
