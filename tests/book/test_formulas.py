"""Formulas stay with their punctuation; the book does not show what a check says of a stub."""

import pytest
import stubs
from docutils import nodes
from formulas import count_rows, keep_together


def paragraph(*parts: str) -> nodes.paragraph:
    """A paragraph of texts and, where a part begins with `$`, of formulas."""
    children = [nodes.math(part, part.strip("$")) if part.startswith("$") else nodes.Text(part)
                for part in parts]
    return nodes.paragraph("", "", *children)


def shown(node: nodes.Element) -> str:
    """The text of a paragraph, with what stays together in braces."""
    return "".join(f"{{{child.astext()}}}" if isinstance(child, nodes.inline) else child.astext()
                   for child in node.children)


@pytest.mark.parametrize(("parts", "expected"), [
    (["where ", "$x$", ", as above"], "where {x,} as above"),
    (["a density (", "$p$", ") is"], "a density {(p)} is"),
    (["the ", "$K$", "-dimensional"], "the {K-}dimensional"),
    (["the ", "$n$", "th"], "the {nth}"),
    (["between ", "$a$", "–", "$b$", "."], "between a–{b.}"),
    (["", "$a$", ", ", "$b$", "; ", "$c$"], "{a,} {b;} c"),
    (["; ", "$x$", "; ", "$y$"], "; {x;} y"),  # the second of two equal texts
    (["if ", "$x$", " is"], "if x is"),
])
def test_a_formula_is_kept_together_with_what_touches_it(parts, expected):
    text = paragraph(*parts)
    keep_together(text)
    assert shown(text) == expected


@pytest.mark.parametrize(("tex", "classes"), [
    ("a = b", []), (r"a &= b \\ &= c", ["rows-2"]), (r" \\ ".join("abcdefghijk"), ["rows-9"]),
])
def test_a_displayed_formula_has_a_class_for_its_rows(tex, classes):
    formula = nodes.math_block(tex, tex)
    count_rows(nodes.container("", formula))
    assert formula["classes"] == classes


def cell(tag: str, printed: str) -> nodes.document:
    output = nodes.container("", nodes.literal_block("", printed), classes=["cell_output"])
    source = nodes.container("", nodes.literal_block("", "check()"), classes=["cell_input"])
    return nodes.container("", nodes.container("", source, output, classes=["cell", tag]))


@pytest.mark.parametrize(("tag", "printed", "stays"), [
    ("tag_check", "Still the stub: replace the `...`, run the cell again, then this one.", False),
    ("tag_check", "Still the stub: there is a `...` left in your answer.", False),
    ("tag_check", "NameError: name 'answer' is not defined", True),
    ("tag_solution", "Right. So it is.", True),
])
def test_what_a_check_says_of_the_stub_is_not_shown(tag, printed, stays):
    page = cell(tag, printed)
    stubs.remove_feedback(None, page)
    assert (printed in page.astext()) is stays
    assert "check()" in page.astext()
