"""Keep a formula and the punctuation that touches it on one line, and the place of a tall formula.

A browser may break a line on both sides of a formula, as on both sides of an image. Without this a
comma stands alone at the start of a line, or an opening parenthesis at the end of one. A formula of
several rows has a class for their number, by which it keeps its height before it is typeset.
"""

import re

from docutils import nodes
from sphinx.application import Sphinx

__all__ = ["count_rows", "keep_together", "setup"]

OPENING = re.compile(r"[(\[“‘]+$")
TOUCHING = re.compile(r"^[^\s/–—-]+-?|^-")  # `n`th, `K`-dimensional, `x`), `x`:


def keep_together(document: nodes.Element) -> None:
    """Put each formula in a line of text into one inline node with what touches it."""
    for formula in list(document.findall(nodes.math)):
        parent = formula.parent
        place = parent.index(formula)  # `replace` would take the first of two equal texts
        before = parent[place - 1] if place else None
        after = parent[place + 1] if place + 1 < len(parent) else None
        group = nodes.inline("", "", classes=["unbroken"])
        if isinstance(before, nodes.Text) and (found := OPENING.search(before)):
            parent[place - 1] = nodes.Text(before[: found.start()])
            group += nodes.Text(found[0])
        end = ""
        if isinstance(after, nodes.Text) and (found := TOUCHING.search(after)):
            parent[place + 1] = nodes.Text(after[found.end() :])
            end = found[0]
        if end or group.children:
            parent[place] = group
            group += [formula, nodes.Text(end)]


def count_rows(document: nodes.Element) -> None:
    """Give each displayed formula of two to nine rows the class `rows-2` to `rows-9`."""
    for formula in document.findall(nodes.math_block):
        rows = 1 + formula.astext().count(r"\\")
        if rows > 1:
            formula["classes"].append(f"rows-{min(rows, 9)}")


def transform(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Keep formulas together with their punctuation, and their places, in HTML."""
    if app.builder.format == "html":
        keep_together(doctree)
        count_rows(doctree)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("doctree-resolved", transform, priority=900)  # after what reads running text
    return {"parallel_read_safe": True, "parallel_write_safe": True}
