"""The register of identities is complete: each has equation, cell, test and conditions.

`make check` runs these for any chapter.
"""

import ast
import re

import pytest

import identities
import notebooks
import pages

each_identity = pytest.mark.parametrize("label", identities.REQUIRED)
each_page = pytest.mark.parametrize(
    "page", [page for page in [*notebooks.notebooks(), *notebooks.plain_pages()]
             if page not in pages.GENERATED],
    ids=lambda path: path.relative_to(notebooks.CHAPTERS).as_posix())
REFERENCE = re.compile(r"\([A-Z]\d+(?:(?:, | and |–)[A-Z]\d+)*\)")  # (B2), (B2, B3)
EQUATION = "$$\na = b.\n$$ (Z1)\n\n"


@pytest.fixture(scope="module")
def register() -> identities.Register:
    return identities.read_register()


def unresolved(text: str, register: identities.Register) -> list[str]:
    """Return the IDs in parentheses that are those of no equation."""
    return [label for group in REFERENCE.findall(text) for label in identities.ID.findall(group)
            if label not in register.equations]


# What the chapters have -------------------------------------------------------------------------


@each_identity
def test_identity_has_one_labelled_equation(label, register):
    assert len(register.equations.get(label, [])) == 1


@each_identity
def test_identity_is_asserted_in_a_tagged_cell_of_its_chapter(label, register):
    (equation,) = register.equations[label]
    trees = [notebooks.python_of(cell.source) for cell in register.cells.get(label, [])
             if cell.chapter == equation.chapter]
    assert any(isinstance(node, ast.Assert) for tree in trees for node in ast.walk(tree))


@each_identity
def test_identity_has_a_unit_test(label, register):
    assert register.tests.get(label)


def test_every_tag_has_its_equation(register):
    assert register.cells.keys() - register.equations.keys() == set()


def test_every_identity_states_its_conditions_once(register):
    assert register.equations.keys() == set(identities.REQUIRED)
    stated = {label: len(register.conditions.get(label, [])) for label in register.equations}
    assert stated == dict.fromkeys(register.equations, 1)


def test_conditions_belong_to_an_identity_that_exists(register):
    assert register.conditions.keys() - register.equations.keys() == set()


@each_page
def test_references_lead_to_an_equation(page, register):
    assert unresolved(notebooks.text_of(page), register) == []


@pytest.mark.parametrize("text", ["see (Z9)", "by (B2, Z9)", "(B2 and Z9)", "(Z9–B2)"])
def test_a_reference_to_no_equation_is_found(text, register):
    assert unresolved(text, register) == ["Z9"]


# How they are read ------------------------------------------------------------------------------


@pytest.mark.parametrize("source", [
    EQUATION + "**Conditions (Z1).** Two lines\nof text.\n\nNot this.",
    "No equation here.\n\n**Conditions (Z1).** Two lines\nof text.",
    EQUATION + "**Conditions.** Two lines\nof text.",
    EQUATION + "Conditions: Two lines\nof text.\n \nNot this.",
])
def test_conditions_of_an_identity_are_found(source):
    assert identities.conditions_in(source) == [("Z1", "Two lines\nof text.")]


def test_conditions_of_two_identities_and_of_none():
    two = "**Conditions (Z1, Z2).** Text."
    assert identities.conditions_in(two) == [("Z1", "Text."), ("Z2", "Text.")]
    for source in (EQUATION, EQUATION + "Three conditions are enough: one.",
                   EQUATION + "The text. Conditions: in the middle."):
        assert identities.conditions_in(source) == []


@pytest.mark.parametrize("source", ["No equation.\n\n", EQUATION + EQUATION.replace("Z1", "Z2")])
def test_conditions_must_name_their_identity_where_it_is_not_the_only_one(source):
    with pytest.raises(ValueError, match="must name their identity"):
        identities.conditions_in(source + "**Conditions.** Text.")


def test_identities_page_shows_the_conditions_below_their_equation():
    chapter = notebooks.CHAPTERS / "diffusion" / "samplers.ipynb"
    equation = identities.Equation("a = b.", chapter)
    register = identities.Register({"Z1": [equation]}, {}, {}, {"Z1": ["Text."], "Z2": ["Other."]})
    shown = identities.entry("Z1", register)
    assert "$$\na = b.\n$$\n\n**Conditions.** Text.\n\n* Derived in" in shown
    assert "Other" not in shown
