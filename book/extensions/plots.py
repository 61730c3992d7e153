"""Show what the cells draw: a plot as SVG inside the page, in its colours; an image as PNG.

The build draws each figure in both formats (`inline_figures.py`). A page shows the SVG, unless that
holds an image or is large, as with thousands of points; a large PNG gets 256 colours. Inside the
page black becomes the colour of the text and white that of the page, greys what lies between, so
that a plot fits the light and the dark; colours stay.
"""

import io
import re
import struct
from pathlib import Path

import figures
from docutils import nodes
from PIL import Image
from sphinx.application import Sphinx

__all__ = ["LARGEST", "choose", "in_page", "lighten", "setup", "size_of_png", "smallest_text"]

LARGEST = 150_000  # characters of an SVG inside a page; bytes of a PNG as it was drawn
FULL_WIDTH = 6.5 * 72  # points: as wide as the page's column
SCALE = re.compile(r"\bscale\(([\d.]+) -")  # of text: Matplotlib's glyphs are 100 points high
GREY = re.compile(r"#([0-9a-f]{2})\1\1\b")
DECIMALS = re.compile(r"(\.\d\d)\d+")


# The SVG -----------------------------------------------------------------------------------------


def shade(match: re.Match) -> str:
    """Return a grey as a mixture of the colours of the page's text and of the page."""
    share = round(100 * (1 - int(match[1], 16) / 255))
    if share in (0, 100):
        return "var(--paper)" if share == 0 else "currentColor"
    return f"color-mix(in srgb, currentColor {share}%, var(--paper))"


def in_page(svg: str, name: str, alt: str) -> str:
    """Return an SVG file of Matplotlib as part of a page: described, with the page's colours.

    Args:
        svg: the file.
        name: stands before its IDs, which are then those of no other figure.
        alt: what is to be seen.

    Raises:
        ValueError: the file is no SVG.
    """
    # What would hold for the whole page, and what a page does not need.
    svg = re.sub(r"<style.*?</style>|<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = svg.replace("xlink:href=", "href=")
    svg = re.sub(r"\n *(?=<)|(?<=[ \d])\n(?=[A-Zz])", "", svg)  # between elements, and within paths
    svg = re.sub(r'(?<= d=")[^"]+', lambda path: DECIMALS.sub(r"\1", path[0]), svg)
    text = figures.inline(svg, name, alt)
    text = re.sub(r'<svg ([^>]*?)\b(?:width="[^"]*pt" |height="[^"]*pt" )+', r"<svg \1", text)
    text = GREY.sub(shade, text)
    text = text.replace('class="drawing"', 'class="drawing plot"', 1)
    return text.replace("<svg ", '<svg fill="currentColor" stroke-linejoin="round" ', 1)


def smallest_text(svg: str) -> float:
    """Return the size of a plot's smallest text in points, 0 if there is none.

    Parts of formulas, such as indices, may be smaller.
    """
    return min((100 * float(scale) for scale in SCALE.findall(svg)), default=0.0)


# The choice --------------------------------------------------------------------------------------


def size_of_png(png: bytes) -> tuple[float, float]:
    """Return width and height of a PNG image in points, by its density or else by 100 dots an inch.

    Raises:
        ValueError: it is no PNG image.
    """
    if png[:8] != b"\x89PNG\r\n\x1a\n":
        raise ValueError(f"png must be a PNG image, got bytes that begin with {png[:8]!r}")
    width, height = struct.unpack(">II", png[16:24])
    place = png.find(b"pHYs")
    a_metre = struct.unpack(">I", png[place + 4:place + 8])[0] if place > 0 else 100 / 0.0254
    dots = a_metre * 0.0254
    return 72 * width / dots, 72 * height / dots


def lighten(path: Path) -> None:
    """Give a large PNG image 256 colours, if it is smaller then."""
    if path.stat().st_size <= LARGEST:
        return
    with Image.open(path) as image:
        few = image.convert("RGB").quantize(256, Image.Quantize.FASTOCTREE)
        density = image.info.get("dpi")
    written = io.BytesIO()
    few.save(written, "png", optimize=True, **({"dpi": density} if density else {}))
    if written.tell() < path.stat().st_size:
        path.write_bytes(written.getvalue())


def choose(app: Sphinx, doctree: nodes.document) -> None:
    """Keep of each figure the SVG or the PNG; note at it what its box has to know."""
    for bundle in list(doctree.findall(nodes.container)):
        if bundle.get("nb_element") != "mime_bundle":
            continue
        images = {kind["mime_type"]: (kind, next(kind.findall(nodes.image)))
                  for kind in bundle if kind.get("mime_type", "").startswith("image/")}
        svg = ""
        if "image/svg+xml" in images:
            kind, image = images["image/svg+xml"]
            svg = Path(app.env.relfn2path(image["uri"])[1]).read_text(encoding="utf-8")
            if "image/png" in images:
                large = "<image " in svg or len(in_page(svg, "", "")) > LARGEST
                bundle.remove(kind if large else images["image/png"][0])
        for image in bundle.findall(nodes.image):
            image["plot"] = smallest_text(svg)
            if image["uri"].endswith(".png"):
                lighten(Path(app.env.relfn2path(image["uri"])[1]))


def place(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put a box around each figure that a cell has drawn, and the SVG files into the page."""
    if app.builder.format != "html":
        return
    for number, image in enumerate(list(doctree.findall(nodes.image)), 1):
        if "plot" not in image:
            continue
        path = Path(app.srcdir, image["uri"])
        if path.suffix == ".svg":
            svg = path.read_text(encoding="utf-8")
            width, height = map(float, figures.VIEW_BOX.search(svg).groups())
            shown = [nodes.raw("", in_page(svg, f"plot-{number}", image.get("alt", "")),
                               format="html")]
        else:
            width, height = size_of_png(path.read_bytes())
            for name in ("width", "height"):
                image.attributes.pop(name, None)
            shown = [image]
        parent, at = image.parent, image.parent.index(image)
        box = figures.box(width, height, FULL_WIDTH, image["plot"])
        parent[at:at + 1] = [nodes.raw("", box, format="html"), *shown,
                             nodes.raw("", "</div>", format="html")]


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("doctree-read", choose, priority=400)  # before Sphinx collects images
    app.connect("doctree-resolved", place, priority=400)  # before drawings are put into the page
    return {"parallel_read_safe": True, "parallel_write_safe": True}
