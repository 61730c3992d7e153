"""The exercises of the chapters agree with the checks, and the page lists them all."""

import re

import pytest

import exercise_list
import identities
import notebooks
from genmodels.exercises import registry

LISTED = exercise_list.all_exercises()


def test_every_exercise_stands_in_its_chapter_once():
    assert sorted(item.task.name for item in LISTED) == sorted(registry.CHAPTER_OF)
    for item in LISTED:
        assert item.chapter.stem == item.task.chapter


def test_every_chapter_has_three_or_more_of_two_kinds_or_more():
    for chapter in notebooks.notebooks():
        kinds = [item.task.kind for item in LISTED if item.chapter == chapter]
        assert len(kinds) >= 3 and len(set(kinds)) >= 2, chapter.name


def test_there_are_enough():
    assert len(LISTED) >= 45


@pytest.mark.parametrize("chapter", notebooks.in_order(), ids=lambda p: p.stem)
def test_numbered_in_order_and_described_as_registered(chapter):
    items = [item for item in LISTED if item.chapter == chapter]
    assert [item.number for item in items] == list(range(1, len(items) + 1))
    text = "\n\n".join(cell["source"] for cell in notebooks.cells_of(chapter))
    for item in items:
        assert f"### {item.heading}\n\n*{exercise_list.description(item.task)}*\n" in text


@pytest.mark.parametrize("chapter", notebooks.in_order(), ids=lambda p: p.stem)
def test_solutions_are_folded(chapter):
    for cell in notebooks.cells_of(chapter):
        if "solution" not in notebooks.tags_of(cell):
            continue
        if cell["cell_type"] == "code":
            assert "hide-cell" in notebooks.tags_of(cell)
            assert cell["metadata"]["jupyter"] == {"source_hidden": True}
            assert cell["metadata"]["cellView"] == "form"  # folded in Colab
            assert cell["source"].startswith("# Solution\n")
        else:
            assert re.match(r"<details class=\"solution\">\n<summary>", cell["source"])
            assert cell["source"].endswith("\n\n</details>")


def test_every_identity_has_an_exercise():
    covered = {label for item in LISTED for label in item.task.identities}
    assert covered == set(identities.REQUIRED)


def test_the_list_leads_to_every_exercise():
    page = exercise_list.page(LISTED)
    for item in LISTED:
        assert f"* {exercise_list.link(item, item.heading)}: " in page
