"""What cells draw: a plot as SVG in the colours of the page, an image of pixels as PNG."""

import io
import re
from xml.etree import ElementTree

import figures
import matplotlib
import numpy as np
import plots
import pytest
from docutils import nodes
from matplotlib.figure import Figure
from PIL import Image


def figure(draw, *, width: float = 6.5, file_format: str = "svg", dpi: float = 100):
    """Return a file with one pair of axes on which `draw` has drawn."""
    shown = Figure(figsize=(width, 3.4), dpi=dpi, facecolor="white")
    draw(shown.subplots())
    file = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "genmodels", "svg.fonttype": "path"}):
        shown.savefig(file, format=file_format, metadata={"Date": None})
    return file.getvalue() if file_format == "png" else file.getvalue().decode()


def a_plot(axes) -> None:
    axes.plot([0, 1], [0, 1], color="black")
    axes.plot([0, 1], [1, 0], color="#3b82c4")
    axes.plot([0, 1], [0.5, 0.5], color="#808080")
    axes.set_title("A title", fontsize=8)


def many_points(axes) -> None:
    axes.plot([i / 7 for i in range(9000)], [i * i % 997 for i in range(9000)], "o")


def an_image(axes) -> None:
    axes.imshow([[0, 1], [1, 0]], cmap="gray")


def test_a_plot_takes_the_colours_of_the_page():
    text = plots.in_page(figure(a_plot), "plot-1", 'a "b"')
    assert not re.search(r"#(000000|ffffff|808080)", text)
    assert "stroke: currentColor" in text and "fill: var(--paper)" in text
    assert "stroke: color-mix(in srgb, currentColor 50%, var(--paper))" in text
    assert "#3b82c4" in text
    root = ElementTree.fromstring(text)
    assert root.get("fill") == "currentColor"  # of text, which has no colour of its own
    assert root.get("aria-label") == 'a "b"' and root.get("class") == "drawing plot"
    assert root.get("width") is None and root.get("viewBox") is not None


def test_a_plot_holds_nothing_that_acts_on_the_page():
    one, two = (plots.in_page(figure(a_plot), name, "") for name in ("plot-1", "plot-2"))
    for text in (one, two):
        assert not re.search(r"<style|<metadata|<script|xlink|https?://(?!www\.w3\.org/2000)", text)
    ids = [re.findall(r'\bid="([^"]+)"', text) for text in (one, two)]
    assert len(set(ids[0])) == len(ids[0]) and not set(ids[0]) & set(ids[1])
    for text, own in zip((one, two), ids):
        referred = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text)
        assert referred and {a or b for a, b in referred} <= set(own)


def test_coordinates_keep_two_decimals_and_glyphs_their_scale():
    text = plots.in_page(figure(a_plot), "plot-1", "")
    assert not re.search(r' d="[^"]*\.\d{3}', text)
    assert "scale(0.015625)" in text


@pytest.mark.parametrize(("draw", "size"), [(a_plot, 8), (many_points, 10)])
def test_the_smallest_text_of_a_plot(draw, size):
    assert plots.smallest_text(figure(draw)) == pytest.approx(size)


@pytest.mark.parametrize("dpi", [100, 200])
def test_the_size_of_an_image_does_not_depend_on_its_density(dpi):
    png = figure(a_plot, file_format="png", dpi=dpi)
    assert plots.size_of_png(png) == pytest.approx((6.5 * 72, 3.4 * 72), abs=0.5)
    with pytest.raises(ValueError, match="png must be a PNG image, got bytes"):
        plots.size_of_png(b"GIF89a")


def test_a_box_is_as_wide_as_its_figure_and_no_wider_than_the_column():
    assert figures.box(468, 200, 468, 10) == (
        '<div class="figure-box" style="--width: 40rem; --legible: 35.1rem; --ratio: 468 / 200">')
    assert "--width: 20rem; --legible: 17.55rem" in figures.box(234, 200, 468, 10)
    assert "--width: 40rem; --legible: 40rem" in figures.box(500, 200, 468, 4)
    assert "--legible: 0rem" in figures.box(468, 200, 468, 0)


class Environment:
    """Of an application: files lie where their address says."""

    env = property(lambda self: self)

    def relfn2path(self, uri):
        return uri, uri


@pytest.mark.parametrize(("draw", "kept"), [
    (a_plot, "image/svg+xml"), (many_points, "image/png"), (an_image, "image/png")])
def test_a_page_shows_a_plot_as_svg_and_images_or_many_points_as_png(tmp_path, draw, kept):
    bundle = nodes.container(nb_element="mime_bundle")
    for mime_type, file in [("image/svg+xml", "a.svg"), ("image/png", "a.png")]:
        kind = nodes.container(mime_type=mime_type)
        kind += nodes.image(uri=str(tmp_path / file))
        bundle += kind
    svg = figure(draw)
    (tmp_path / "a.svg").write_text(svg, encoding="utf-8")
    (tmp_path / "a.png").write_bytes(figure(draw, file_format="png"))
    doctree = nodes.section()
    doctree += bundle
    plots.choose(Environment(), doctree)
    assert [kind["mime_type"] for kind in bundle] == [kept]
    assert [image["plot"] for image in bundle.findall(nodes.image)] == [plots.smallest_text(svg)]


def test_a_large_image_keeps_its_size_and_density_with_fewer_colours(tmp_path):
    path = tmp_path / "large.png"
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, dpi=(200, 200))
    before, size = path.stat().st_size, plots.size_of_png(path.read_bytes())
    assert before > plots.LARGEST
    plots.lighten(path)
    assert path.stat().st_size < before / 2
    assert plots.size_of_png(path.read_bytes()) == size
    with Image.open(path) as image:
        assert len(image.getcolors()) <= 256


def test_a_small_image_stays_as_it_is(tmp_path):
    path = tmp_path / "small.png"
    Image.new("RGB", (4, 4), "red").save(path)
    before = path.read_bytes()
    plots.lighten(path)
    assert path.read_bytes() == before
