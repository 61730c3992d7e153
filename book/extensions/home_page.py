"""Put the map of the chapters on the home page, and numbers into its table of chapters."""

import sys
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

sys.path.append(str(Path(__file__).resolve().parent.parent))  # book/
import chapter_map
import notebooks

__all__ = ["complete", "setup"]


def complete(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Replace the mark of the map, and number each row of a table that begins with a chapter."""
    if docname != app.config.root_doc or app.builder.format != "html":
        return
    book = chapter_map.chapters()
    addresses = {}
    for number, chapter in book.items():
        name = chapter.path.relative_to(notebooks.ROOT).with_suffix("").as_posix()
        addresses[number] = app.builder.get_relative_uri(docname, name)
    for mark in list(doctree.findall(nodes.raw)):
        if mark.astext().strip() == chapter_map.MARK:
            drawing = chapter_map.svg(book, addresses)
            mark.parent.replace(mark, nodes.raw("", drawing, format="html"))
    numbers = {address: number for number, address in addresses.items()}
    for row in doctree.findall(nodes.row):
        for link in row[0].findall(nodes.reference):
            if number := numbers.get(link.get("refuri", "").partition("#")[0]):
                link.insert(0, nodes.Text(f"{number}. "))


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("doctree-resolved", complete)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
