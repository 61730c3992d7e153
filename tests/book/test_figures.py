"""Drawings: in the page, in its colours, described; captions below what they belong to."""

import re
from xml.etree import ElementTree

import figures
import pytest
from docutils import nodes

import notebooks

DRAWINGS = sorted(notebooks.CHAPTERS.glob("*/figures/*.svg"))
IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+\.svg)\)")


def test_a_drawing_becomes_part_of_the_page():
    svg = ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9" style="color: black">'
           '<!-- no --><marker id="tip"/><path marker-end="url(#tip)"/></svg>')
    text = figures.inline(svg, "chain", 'a "b"')
    root = ElementTree.fromstring(text)
    assert root.attrib == {"viewBox": "0 0 9 9", "role": "img", "aria-label": 'a "b"',
                           "class": "drawing"}
    assert root[0].get("id") == "chain-tip"
    assert root[1].get("marker-end") == "url(#chain-tip)"
    assert "no" not in text
    with pytest.raises(ValueError, match=r"chain\.svg must be an SVG file, got: "):
        figures.inline("<svg", "chain", "")


@pytest.mark.parametrize("path", DRAWINGS, ids=lambda path: path.stem)
def test_a_drawing_takes_the_colours_of_the_page(path):
    text = path.read_text(encoding="utf-8")
    root = ElementTree.fromstring(text)
    assert root.get("style") == "color: black; background: white"  # where it is shown alone
    assert root.get("viewBox") and "currentColor" in text
    assert not re.search(r"(fill|stroke)[=:]\s*[\"']?(black|#000)", text)  # gone in the dark
    assert not re.search(r"https?://(?!www\.w3\.org/)", text)
    sizes = [float(size) for size in re.findall(r'font-size[=:]\s*"?([\d.]+)', text)]
    width = float(root.get("viewBox").split()[2])
    assert all(size * 350 / width >= 8 for size in sizes), "not to be read on a phone, 350 px wide"


def test_each_drawing_is_shown_described_and_captioned():
    shown = set()
    for page in [*notebooks.notebooks(), *notebooks.plain_pages()]:
        text = notebooks.text_of(page)
        for match in IMAGE.finditer(text):
            path = (page.parent / match[2]).resolve()
            assert path.exists(), f"{page.stem}: {match[2]} must be a file"
            assert len(match[1]) > 30, f"{match[2]} must be described, got {match[1]!r}"
            after = text[match.end():].lstrip()
            assert after.startswith("*") and not after.startswith("**"), f"{match[2]}: no caption"
            shown.add(path)
    assert shown == set(DRAWINGS)


def paragraph(*children):
    node = nodes.paragraph()
    node += children
    return node


def test_an_emphasised_paragraph_after_an_image_or_a_cell_is_a_caption():
    image = paragraph(nodes.image(uri="a.svg"))
    caption, plain, after = (paragraph(nodes.emphasis("", text)) for text in "abc")
    cell = nodes.container(classes=["cell"])
    document = nodes.section()
    document += [image, caption, plain, cell, after, paragraph(nodes.Text("x"))]
    figures.set_captions(None, document)
    marked = [node["classes"] for node in document.children]
    assert marked == [["drawn"], ["caption"], [], ["cell"], ["caption"], []]
