"""Show the label of an equation instead of a running number, and link to it from the text.

A notebook writes an identity as `$$ … $$ (B2)` and refers to it as plain `(B2)`, which JupyterLab
and Colab show as it is. In the book the equation carries (B2) at its right, and each (B2) in
running text, also (B2, B3), is a link to it; one that is that of no equation is a warning.
"""

import re

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)
__all__ = ["setup"]

ID = re.compile(r"[A-Z]\d+")
IDS_IN_PARENTHESES = re.compile(r"\([A-Z]\d+(?:(?:, | and |–)[A-Z]\d+)*\)")
NOT_RUNNING_TEXT = (nodes.literal, nodes.literal_block, nodes.title, nodes.reference)
NOT_RUNNING_TEXT += (nodes.math, nodes.math_block, nodes.raw, nodes.comment, nodes.pending)


def show_labels(app: Sphinx, doctree: nodes.document) -> None:
    """Number each labelled equation by its label, here and where it is referred to."""
    equations = app.env.get_domain("math").equations
    for equation in doctree.findall(nodes.math_block):
        label = equation.get("label")
        if label:
            equation["number"] = label
            equations[label] = (app.env.docname, label)


def link_ids(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Turn each (B2) in running text into a link to the equation (B2) of whichever chapter."""
    equations = app.env.get_domain("math").equations

    def linked(text: str) -> list[nodes.Node]:
        parts: list[nodes.Node] = []
        end = 0
        for group in IDS_IN_PARENTHESES.finditer(text):
            for match in ID.finditer(text, group.start(), group.end()):
                if match[0] not in equations:
                    logger.warning("(%s) must be the ID of an equation", match[0],
                                   location=docname, type="equation_ids", subtype="missing")
                    continue
                target = equations[match[0]][0]
                uri = app.builder.get_relative_uri(docname, target)
                uri += "#" + nodes.make_id(f"equation-{match[0]}")
                link = nodes.reference("", match[0], internal=True, refuri=uri)
                parts += [nodes.Text(text[end : match.start()]), link]
                end = match.end()
        return [*parts, nodes.Text(text[end:])] if parts else []

    for node in list(doctree.findall(nodes.Text)):
        ancestor = node.parent
        while ancestor is not None and not isinstance(ancestor, NOT_RUNNING_TEXT):
            ancestor = ancestor.parent
        parts = linked(node.astext()) if ancestor is None else []
        if parts:
            node.parent.replace(node, parts)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("doctree-read", show_labels)
    app.connect("doctree-resolved", link_ids)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
