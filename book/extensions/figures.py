"""Put drawings into the page itself, and set captions below what they belong to.

A notebook shows a drawing as `![what is to be seen](figures/name.svg)`, in JupyterLab and Colab an
image. In the book the SVG becomes part of the page, so that its `currentColor` is the
colour of the text, in the light and in the dark. A paragraph that is wholly emphasised, `*…*`, and
follows an image or the output of a cell, is its caption.
"""

import re
from pathlib import Path
from xml.etree import ElementTree

from docutils import nodes
from sphinx.application import Sphinx

__all__ = ["inline", "setup"]

ElementTree.register_namespace("", "http://www.w3.org/2000/svg")


def inline(svg: str, name: str, alt: str) -> str:
    """Return an SVG file as part of a page: with alternative text, its IDs with a name before them.

    Its own `style`, the black on white of a lone image, is left out.

    Raises:
        ValueError: the file is no SVG.
    """
    try:
        root = ElementTree.fromstring(svg)  # leaves comments out
    except ElementTree.ParseError as error:
        raise ValueError(f"{name}.svg must be an SVG file, got: {error}") from None
    root.attrib.pop("style", None)
    root.attrib |= {"role": "img", "aria-label": alt, "class": "drawing"}
    text = ElementTree.tostring(root, encoding="unicode")
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    return re.sub(r'href="#', f'href="#{name}-', text)


def draw(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Replace each image that is an SVG file by the drawing itself."""
    if app.builder.format != "html":
        return
    for image in list(doctree.findall(nodes.image)):
        path = Path(app.srcdir, image["uri"])
        if path.suffix == ".svg" and path.exists():
            svg = inline(path.read_text(encoding="utf-8"), path.stem, image.get("alt", ""))
            image.parent.replace(image, nodes.raw("", svg, format="html"))


def set_captions(app: Sphinx, doctree: nodes.document) -> None:
    """Mark each paragraph that is a caption, and what it belongs to."""
    for paragraph in list(doctree.findall(nodes.paragraph)):
        if len(paragraph) != 1 or not isinstance(paragraph[0], nodes.emphasis):
            continue
        before = paragraph.previous_sibling()
        drawn = (isinstance(before, nodes.paragraph | nodes.image)
                 and any(before.findall(nodes.image)))
        if drawn or "cell" in getattr(before, "attributes", {}).get("classes", []):
            paragraph["classes"].append("caption")
            if drawn:
                before["classes"].append("drawn")


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("doctree-read", set_captions)
    app.connect("doctree-resolved", draw)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
