"""Notebooks as they are downloaded: a drawing that lies beside a chapter goes along with it.

A chapter shows `figures/NAME.svg`, a file beside the notebook, which a notebook alone has not. In a
download the drawing has its address in the repository, if this is on GitHub: Colab shows an SVG of
another host, and neither one within the notebook nor an attachment. Without an address the drawing
itself stands in the text, as JupyterLab shows it, and a link to a drawing is its words alone.
"""

import base64
import re
from pathlib import Path
from urllib.parse import urljoin

import nbformat

import notebooks
from install_cell import BRANCH, repository

__all__ = ["LINKED", "SHOWN", "alone", "github_name", "raw_address"]

SHOWN = re.compile(r"(!\[[^\]]*\]\()(figures/[\w-]+\.svg)(\))")
LINKED = re.compile(r"(?<!!)\[([^\]]*)\]\((figures/[\w-]+\.svg)\)")


def github_name(url: str) -> str | None:
    """Return the owner and the name of a repository on GitHub, as `owner/name`, None elsewhere."""
    found = re.fullmatch(r"https://github\.com/([^/]+/[^/]+?)(?:\.git)?/*", url)
    return found and found[1]


def raw_address(chapter: Path, set_to: dict[str, str]) -> str | None:
    """Return the address at which GitHub has the file of a chapter, None if it is not known."""
    if name := github_name(set_to.get("url", "")):
        return (f"https://raw.githubusercontent.com/{name}/{set_to.get('branch') or BRANCH}/"
                f"{chapter.relative_to(notebooks.ROOT).as_posix()}")
    return None


def alone(notebook: nbformat.NotebookNode, chapter: Path) -> nbformat.NotebookNode:
    """Let the drawings of a notebook be shown wherever it lies, and return it.

    Args:
        notebook: the whole chapter, or its cells without solutions.
        chapter: the path of the chapter, beside which the drawings are.
    """
    base = raw_address(chapter, repository())

    def shown(found: re.Match[str]) -> str:
        if base:
            return found[1] + urljoin(base, found[2]) + found[3]
        drawing = base64.b64encode((chapter.parent / found[2]).read_bytes()).decode()
        return f"{found[1]}data:image/svg+xml;base64,{drawing}{found[3]}"

    def linked(found: re.Match[str]) -> str:
        return f"[{found[1]}]({urljoin(base, found[2])})" if base else found[1]

    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = LINKED.sub(linked, SHOWN.sub(shown, cell.source))
    return notebook
