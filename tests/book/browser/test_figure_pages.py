"""Figures in a browser: no white block in the dark, and text that can be read on a phone."""

import pytest

import notebooks

SIZES = """() => [...document.querySelectorAll(".figure-box")].filter((box) => box.clientWidth)
  .map((box) => ({
    legible: box.style.getPropertyValue("--legible"), full: box.style.getPropertyValue("--width"),
    shown: box.firstElementChild.getBoundingClientRect().width / 16,
    wider: box.scrollWidth > box.clientWidth,
    beyond: box.getBoundingClientRect().right > document.documentElement.clientWidth,
  }))"""

# A box takes the focus where it scrolls, and only there.
FOCUS = """() => document.readyState === "complete"
  && [...document.querySelectorAll(".figure-box")].every(
    (box) => (box.scrollWidth > box.clientWidth) === (box.tabIndex === 0))"""

COLOURS = """() => {
  const page = getComputedStyle(document.querySelector(".bd-main")).backgroundColor;
  const body = getComputedStyle(document.body).backgroundColor;
  const paper = page === "rgba(0, 0, 0, 0)" ? body : page;
  return [...document.querySelectorAll("svg.plot")].map((svg) => ({
    paper, ground: getComputedStyle(svg.querySelector("[id$='-patch_1'] path")).fill,
    text: getComputedStyle(svg).fill, colour: getComputedStyle(svg).color,
  }));
}"""


def pages_with_figures(html):
    paths = [html / chapter.relative_to(notebooks.ROOT).with_suffix(".html")
             for chapter in notebooks.in_order()]
    return [path for path in paths if path.exists() and 'class="figure-box"' in path.read_text()]


def test_figures_have_the_colours_of_the_page(page, html):
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        papers = set()
        for path in pages_with_figures(html):
            page.goto(path.as_uri())
            for plot in page.evaluate(COLOURS):
                assert plot["ground"] == plot["paper"], path.stem
                assert plot["text"] == plot["colour"] != plot["ground"], path.stem
                papers.add(plot["paper"])
        if not papers:
            pytest.skip("these pages show no plot as SVG")
        assert len(papers) == 1 and (papers == {"rgb(255, 255, 255)"}) == (scheme == "light")


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_the_text_of_figures_is_as_large_as_the_page_s_small_text(page, html, width):
    """The smallest text of a figure is 0.75 rem high where the figure is `--legible` wide."""
    page.set_viewport_size({"width": width, "height": 800})
    for path in pages_with_figures(html):
        page.goto(path.as_uri())
        page.evaluate("document.querySelectorAll('details').forEach((fold) => fold.open = true)")
        page.wait_for_function(FOCUS)
        for figure in page.evaluate(SIZES):
            assert figure["shown"] >= float(figure["legible"].removesuffix("rem")) - 0.01, path.stem
            assert not figure["beyond"], path.stem
            assert not (width == 1280 and figure["wider"]), path.stem
