"""Drawings: in the page, in its colours, described; captions below what they belong to."""

import ast
import logging.handlers
import re
from xml.etree import ElementTree

import figures
import pytest
from docutils import nodes
from sphinx import addnodes

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


# Captions and numbers ---------------------------------------------------------------------------


def paragraph(*children):
    node = nodes.paragraph()
    node += children
    return node


def caption(text):
    return paragraph(nodes.emphasis("", "", nodes.Text(text)))


def drawing():
    return paragraph(nodes.image(uri="a.svg"))


def cell(*outputs, classes=()):
    """A cell with outputs as MyST-NB makes them; "p" is a picture, another text is printed."""
    output = nodes.container(classes=["cell_output"])
    for each in outputs:
        bundle = nodes.container(nb_element="mime_bundle")
        kind = nodes.container(mime_type="image/png")
        kind += nodes.image(uri="b.png")
        bundle += kind
        output += bundle if each == "p" else nodes.literal_block(each, each)
    node = nodes.container(classes=["cell", *classes])
    node += [nodes.container(classes=["cell_input"]), output]
    return node


def numbered(*children, title="Title") -> tuple[nodes.section, list[str], list[str]]:
    """Return the section, the captions of its figures, and the messages of the extension."""
    section = nodes.section()
    section += [nodes.title(title, title), *children]
    handler = logging.handlers.BufferingHandler(100)
    logger = figures.logger.logger
    logger.addHandler(handler)
    try:
        figures.number_figures(None, section)
    finally:
        logger.removeHandler(handler)
    return (section, [figure[-1].astext() for figure in section.findall(nodes.figure)],
            [record.getMessage() for record in handler.buffer])


def test_an_emphasised_paragraph_after_an_image_or_a_cell_is_a_caption():
    section, captions, messages = numbered(drawing(), caption("a"), caption("b"), cell("p"),
                                           caption("c"), paragraph(nodes.Text("x")))
    assert captions == ["Figure 1. a", "Figure 2. c"] and messages == []
    assert [type(node).__name__ for node in section] == [
        "title", "figure", "paragraph", "container", "paragraph"]
    assert [figure["ids"] for figure in section.findall(nodes.figure)] == [["figure-1"],
                                                                           ["figure-2"]]


def test_a_caption_moves_right_below_its_picture():
    shown = cell("before", "p", "after")
    section, captions, messages = numbered(shown, cell("more"), caption("c"))
    assert captions == ["Figure 1. c"] and messages == []
    assert [node.astext().strip() for node in shown[1]] == ["before", "Figure 1. c", "after"]
    assert len(section) == 3  # the paragraph has gone


@pytest.mark.parametrize("between", [paragraph(nodes.Text("x")), cell("p")])
def test_a_caption_is_not_that_of_an_earlier_picture(between):
    _, captions, messages = numbered(cell("p"), between, caption("c"))
    assert captions[0] == "Figure 1. "
    assert len(messages) == 1
    assert messages[0].removeprefix("WARNING: ") == (
        "Figure 1 must have a caption: an emphasised paragraph below it")


def test_what_an_exercise_or_a_solution_draws_is_named_after_it():
    _, captions, messages = numbered(cell("p"), cell("p", classes=["tag_solution"]),
                                     title="Exercise 3: Which one?")
    assert captions == ["Figure 1. Exercise 3: Which one?",
                        "Figure 2. Solution of exercise 3: Which one?"]
    assert messages == []


def test_in_a_folded_cell_the_description_is_the_caption():
    folded = cell("p", classes=["tag_hide-cell"])
    next(folded.findall(nodes.image))["alt"] = "A curve that falls."
    _, captions, messages = numbered(folded, cell("p", classes=["tag_hide-cell"]), caption("c"))
    assert captions == ["Figure 1. A curve that falls.", "Figure 2. c"] and messages == []


@pytest.mark.parametrize("chapter", notebooks.notebooks(), ids=lambda path: path.stem)
def test_what_a_notebook_draws_has_its_caption_right_below(chapter):
    """In JupyterLab and Colab too, where no extension moves a caption."""
    cells = notebooks.cells_of(chapter)
    apart = []
    for drawing_cell, below, after in zip(cells, cells[1:], cells[2:]):
        is_code = below.cell_type == "code"
        if ("image" in drawing_cell.metadata.get("mystnb", {}) and is_code
                and after.cell_type == "markdown" and re.match(r"\*[^*]", after.source)):
            apart.append(drawing_cell.id)
    assert apart == []


# References --------------------------------------------------------------------------------------

MENTION = re.compile(
    r"\b(?:figure|drawing|picture|plot|diagram)s? (?:above|below)\b"
    r"|\b(?:first|second|third|last|next|previous) (?:figure|drawing|plot|diagram)\b"
    r"|\b[Tt]he (?:figure|drawing|diagram|plot) (?:shows|below|above)", re.IGNORECASE)


def link(address):
    node = addnodes.pending_xref(reftarget=address)
    node += nodes.Text("the figure")
    return paragraph(node)


@pytest.mark.parametrize(("address", "shown"), [
    ("cell-id=x-2", "Figure 2"), ("#cell-id=x-2", "Figure 2"), ("figures/a.svg", "Figure 1")])
def test_a_link_to_a_figure_has_its_number(address, shown):
    drawn = cell("p")
    drawn["cell_id"] = "x-2"
    section, _, messages = numbered(link(address), drawing(), caption("a"), drawn, caption("b"))
    assert messages == []
    assert [(each.astext(), each["refid"]) for each in section.findall(nodes.reference)] == [
        (shown, shown.lower().replace(" ", "-"))]


@pytest.mark.parametrize("address", ["cell-id=x-3", "figures/b.svg"])
def test_a_link_to_no_figure_is_a_warning(address):
    _, _, messages = numbered(link(address), drawing(), caption("a"))
    assert [each.removeprefix("WARNING: ") for each in messages] == [
        "a link must lead to a figure of this page, got " + address.removeprefix("figures/")]


def test_other_links_stay():
    section, _, messages = numbered(link("samplers"), link("../vae/figures.md"), drawing(),
                                    caption("a"))
    assert messages == [] and len(list(section.findall(addnodes.pending_xref))) == 2


@pytest.mark.parametrize("chapter", notebooks.notebooks(), ids=lambda path: path.stem)
def test_a_text_refers_to_figures_by_links(chapter):
    cells = notebooks.cells_of(chapter)
    drawing_cells = {cell.id for cell in cells if "image" in cell.metadata.get("mystnb", {})}
    drawings = {match[2] for match in IMAGE.finditer(notebooks.text_of(chapter))}
    for each in cells:
        if each.cell_type == "markdown":
            text = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", each.source)
            linked = re.findall(r"\]\(#cell-id=([^)]*)\)", text)
            assert set(linked) <= drawing_cells, f"{each.id} refers to no figure"
            files = re.findall(r"\]\((figures/[^)]*)\)", text)
            assert set(files) <= drawings, f"{each.id} refers to no drawing"
            bare = re.sub(r"\[[^\]]*\]\([^)]*\)", "", text)
            assert MENTION.findall(bare) == [], f"{each.id} refers to a figure without a link"


# What a picture shows ----------------------------------------------------------------------------

NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
# "a noisy seven", "the zero", "zeros" are digits that are shown; "one digit", "a zero mean",
# "at a log SNR of zero" and "two rows" are none.
NAMED = re.compile(r"\b(?:a|the|each|noisy|clean|blurred) (?:(?:noisy|clean|blurred|same) )?"
                   r"(zero|two|three|four|five|six|seven|eight|nine)\b"
                   r"(?=[.,;:?!]|$| (?:is|as|at|and|or|under|with|below|above|in)\b)",
                   re.IGNORECASE)


def digits_named(text: str) -> set[int]:
    """Return the digits that a text says are to be seen."""
    return {NAMES.index(name.lower()) for name in NAMED.findall(text)}


def stored(tree: ast.AST) -> set[str]:
    """Return the names that a cell assigns."""
    return {node.id for node in ast.walk(tree)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def behind(cells: list, tree: ast.Module) -> list[ast.Module]:
    """Return a cell and those cells before it that assign what it uses, and what these use."""
    found, wanted = [tree], {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    for before in reversed(cells):
        if stored(before) & wanted:
            found.append(before)
            wanted |= {node.id for node in ast.walk(before) if isinstance(node, ast.Name)}
    return found


def digits_chosen(trees: list[ast.Module]) -> set[int]:
    """Return the digits with which labels, or a classifier's answers, are compared in cells."""
    return {side.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Compare)
            for operator, side in zip(node.ops, node.comparators)
            if isinstance(operator, ast.Eq) and isinstance(side, ast.Constant)
            and re.search(r"label|seen_as|classif", ast.unparse(node.left))}


def false_names(chapter) -> list[str]:
    """Return which figures name a digit that no cell behind them has chosen or found by label."""
    cells, before, wrong = notebooks.cells_of(chapter), [], []
    for each, after in zip(cells, [*cells[1:], None]):
        if each.cell_type != "code":
            continue
        tree = notebooks.python_of(each.source)
        text = each.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
        if text and after is not None and re.match(r"\*[^*]", after.source):
            text += " " + after.source.split("*")[1]
        if missing := digits_named(text) - digits_chosen(behind(before, tree)):
            wrong.append(f"{each.id} names {sorted(missing)}")
        before.append(tree)
    return wrong


@pytest.mark.parametrize("chapter", notebooks.notebooks(), ids=lambda path: path.stem)
def test_a_digit_that_is_named_was_chosen_by_its_label(chapter):
    assert false_names(chapter) == []


@pytest.mark.parametrize(("text", "digits"), [
    ("the noisy seven", {7}), ("A zero under growing noise", {0}),
    ("up to a log SNR of zero a zero is seen", {0}),
    ("it falls from two to zero.", set()), ("The two rows; a three by three grid", set()),
    ("a nine at a log SNR of minus two", {9}), ("one digit at ten noise levels", set())])
def test_names_of_digits_are_found(text, digits):
    assert digits_named(text) == digits


def test_a_digit_chosen_by_its_index_is_not_chosen_by_its_label():
    by_index, by_label = (ast.parse(code) for code in (
        "shown = images[3]", "shown = images[labels == 7][0]"))
    draws = ast.parse("plt.imshow(shown)")
    assert digits_chosen(behind([by_index], draws)) == set()
    assert digits_chosen(behind([by_index, by_label], draws)) == {7}
