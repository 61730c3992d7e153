"""The time that a chapter says it takes to read is the one that is measured."""

import re

import nbformat
import pytest

import exercise_list
import notebooks
import reading


@pytest.mark.parametrize("chapter", notebooks.notebooks(), ids=lambda path: path.stem)
def test_a_chapter_states_its_time(chapter):
    assert reading.stated_minutes(chapter) == reading.measure(chapter).minutes


def test_the_home_page_states_the_time_of_all_chapters():
    home = (notebooks.CHAPTERS / "index.md").read_text()
    pattern = r"takes (\d+) to (\d+) minutes to read, and its five exercises (\d+) to (\d+) minutes"
    (stated,) = re.findall(pattern, home)
    exercises = [exercise_list.exercises_of(chapter) for chapter in notebooks.notebooks()]
    assert {len(found) for found in exercises} == {5}
    reads = [reading.stated_minutes(chapter) for chapter in notebooks.notebooks()]
    solves = [sum(one.task.minutes for one in found) for found in exercises]
    assert [int(number) for number in stated] == [min(reads), max(reads), min(solves), max(solves)]


def test_what_is_folded_and_the_exercises_do_not_count(tmp_path):
    text = "One two $x = 1$ four.\n\n$$\ny\n$$ (B2)\n\n![a drawing](figures/a.svg)\n\n"
    folded = "<details class=\"careful\">\n<summary>For the careful</summary>\n\nfive\n\n</details>"
    code = nbformat.v4.new_code_cell("a = 1\n\nb = 2", metadata={"mystnb": {"image": {"alt": "b"}}})
    hidden = nbformat.v4.new_code_cell("c = 3", metadata={"tags": ["hide-cell"]})
    cells = [nbformat.v4.new_markdown_cell(text + folded), code, hidden,
             nbformat.v4.new_markdown_cell("## Exercises\n\nsix seven")]
    path = tmp_path / "chapter.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    read = reading.measure(path)
    assert read == reading.Reading(words=5, formulas=1, code_lines=2, cells=1, figures=1,
                                   drawings=1, folded_words=4)
    assert read.minutes == 5  # 3 + 60 + 16 + 60 seconds
