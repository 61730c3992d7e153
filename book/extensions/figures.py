"""Put drawings into the page itself, and make each picture a numbered figure with a caption.

A notebook shows a drawing as `![what is to be seen](figures/name.svg)`, in JupyterLab and Colab an
image. In the book the SVG becomes part of the page, so that its `currentColor` is the
colour of the text, in the light and in the dark. A paragraph that is wholly emphasised, `*…*`, and
follows an image or the output of a cell, is its caption; cells that draw nothing may stand between.
In the book it stands right below the picture, also where the cell prints more. Figures are numbered
within a page. What an exercise or its solution draws is named after the exercise, and a picture in
a folded cell may do without a caption: its alternative text is shown there.

A text refers to a figure by a link: `[the figure below](#cell-id=name-12)`, with the ID of the cell
that draws it, or `[the drawing](figures/name.svg)`. The book shows "Figure 3" instead.
"""

import re
from pathlib import Path
from xml.etree import ElementTree

import nbformat
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util import logging

logger = logging.getLogger(__name__)
__all__ = ["box", "inline", "number_figures", "setup"]

ElementTree.register_namespace("", "http://www.w3.org/2000/svg")
VIEW_BOX = re.compile(r'viewBox="[-\d.]+ [-\d.]+ ([\d.]+) ([\d.]+)"')
FONT_SIZE = re.compile(r'font-size[=:]\s*"?([\d.]+)')
EXERCISE = re.compile(r"Exercise \d+: ")


# Drawings ---------------------------------------------------------------------------------------


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


def box(width: float, height: float, full_width: float, smallest: float) -> str:
    """Return the start tag of the box of a figure: as wide as the page's column, or in proportion.

    In a window so narrow that the smallest text would be less than 0.75 rem high, as the page's
    code is, the figure keeps the width at which it is, and the box scrolls.

    Args:
        width, height: of the figure, in its own unit.
        full_width: what is as wide as the column.
        smallest: the height of the smallest text; 0 if there is none.
    """
    rem = min(40.0, 40.0 * width / full_width)
    least = min(rem, 0.75 * width / smallest) if smallest else 0.0
    return (f'<div class="figure-box" style="--width: {rem:.4g}rem; --legible: {least:.4g}rem; '
            f'--ratio: {width:.4g} / {height:.4g}">')


def draw(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Replace each image that is an SVG file by the drawing itself."""
    if app.builder.format != "html":
        return
    for image in list(doctree.findall(nodes.image)):
        path = Path(app.srcdir, image["uri"])
        if path.suffix == ".svg" and path.exists():
            file = path.read_text(encoding="utf-8")
            svg = inline(file, path.stem, image.get("alt", ""))
            width, height = map(float, VIEW_BOX.search(file).groups())
            smallest = min(map(float, FONT_SIZE.findall(file)), default=0.0)
            svg = f"{box(width, height, width, smallest)}{svg}</div>"
            image.parent.replace(image, nodes.raw("", svg, format="html"))


# Captions and numbers ---------------------------------------------------------------------------


def classes_of(node: nodes.Node | None) -> list[str]:
    """Return the classes of a node; none of what has no attributes."""
    return getattr(node, "attributes", {}).get("classes", [])


def is_picture(node: nodes.Node) -> bool:
    """Return whether a node is a picture on a line of its own, or an output of a cell that is."""
    if isinstance(node, nodes.image):
        return isinstance(node.parent, nodes.section | nodes.document)
    if isinstance(node, nodes.paragraph):
        return len(node) == 1 and isinstance(node[0], nodes.image)
    return (isinstance(node, nodes.container) and "cell_output" in classes_of(node.parent)
            and any(node.findall(nodes.image)))


def caption_of(picture: nodes.Element) -> nodes.paragraph | None:
    """Return the emphasised paragraph that belongs to a picture, or None."""
    output = picture.parent
    in_cell = "cell_output" in classes_of(output)
    if in_cell and any(map(is_picture, output[output.index(picture) + 1:])):
        return None  # the caption is that of the last picture of a cell
    beside = output.parent if in_cell else picture
    for after in beside.parent[beside.parent.index(beside) + 1:]:
        if isinstance(after, nodes.paragraph):
            whole = len(after) == 1 and isinstance(after[0], nodes.emphasis)
            return after if whole else None
        if not in_cell or "cell" not in classes_of(after) or any(after.findall(nodes.image)):
            return None
    return None


def otherwise(picture: nodes.Element) -> str:
    """Return what stands for a caption that a notebook does not have, "" if it must have one.

    What an exercise draws is named after it; a picture in a folded cell has its description.
    """
    section, cell = picture.parent, classes_of(picture.parent.parent)
    while section is not None and not isinstance(section, nodes.section):
        section = section.parent
    title = section[0].astext() if section is not None else ""
    if EXERCISE.match(title):
        title += "" if title.endswith(("?", "!")) else "."
        return f"Solution of e{title[1:]}" if "tag_solution" in cell else title
    if "tag_hide-cell" in cell:
        return next(picture.findall(nodes.image)).get("alt", "")
    return ""


def name_cells(app: Sphinx, doctree: nodes.document) -> None:
    """Note at each cell of a notebook its ID, which a link may name."""
    path = Path(app.env.doc2path(app.env.docname))
    if path.suffix == ".ipynb":
        cells = nbformat.read(path, as_version=4).cells
        for node in doctree.findall(nodes.container):
            if "cell_index" in node:
                node["cell_id"] = cells[node["cell_index"]]["id"]


def target_of(picture: nodes.Element) -> str:
    """Return by what a link names a picture: `cell-id=…` of its cell, or the name of its file."""
    if isinstance(picture, nodes.container):
        return f"cell-id={picture.parent.parent.get('cell_id', '')}"
    return Path(next(picture.findall(nodes.image))["uri"]).name


def target_in(link: nodes.Element) -> str | None:
    """Return which figure a link names, None if it names none."""
    address = link.get("reftarget") or link.get("refuri") or ""
    if address.removeprefix("#").startswith("cell-id="):
        return address.removeprefix("#")
    is_drawing = re.fullmatch(r"figures/[\w-]+\.svg", address)
    return Path(address).name if is_drawing else None


def is_reference(node: nodes.Node) -> bool:
    """Return whether a node is a link of a kind that may name a figure."""
    return isinstance(node, addnodes.pending_xref | addnodes.download_reference | nodes.reference)


def number_figures(app: Sphinx, doctree: nodes.document) -> None:
    """Make each picture a figure with a number, and its caption the figure's."""
    pictures = [node for node in doctree.findall(nodes.Element) if is_picture(node)]
    known = {target_of(picture): number for number, picture in enumerate(pictures, 1)}
    for link in list(doctree.findall(is_reference)):
        name = target_in(link)
        if name in known:
            shown = nodes.reference("", f"Figure {known[name]}", internal=True,
                                    refid=f"figure-{known[name]}")
            link.parent.replace(link, shown)
        elif name is not None:
            logger.warning("a link must lead to a figure of this page, got %s", name,
                           location=link, type="figures", subtype="reference")
    for number, picture in enumerate(pictures, 1):
        caption = nodes.caption("", "", nodes.inline("", f"Figure {number}.",
                                                     classes=["figure-number"]), nodes.Text(" "))
        paragraph = caption_of(picture)
        if paragraph is not None:
            caption += paragraph[0].children
            paragraph.parent.remove(paragraph)
        elif text := otherwise(picture):
            caption += nodes.Text(text)
        else:
            logger.warning("Figure %d must have a caption: an emphasised paragraph below it",
                           number, location=picture, type="figures", subtype="caption")
        figure = nodes.figure(ids=[f"figure-{number}"], classes=["numbered"])
        picture.parent.replace(picture, figure)
        figure += [*(picture.children if isinstance(picture, nodes.paragraph) else [picture]),
                   caption]


def number_alone(app: Sphinx, config: Config) -> None:
    """Let Sphinx not number figures, too, which another extension asks it to do."""
    config.numfig = False


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("config-inited", number_alone, priority=900)
    app.connect("doctree-read", name_cells, priority=300)
    app.connect("doctree-read", number_figures, priority=450)  # before files of links are copied
    app.connect("doctree-resolved", draw)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
