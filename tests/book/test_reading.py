"""The time that a chapter says it takes to read is the one that is measured."""

import nbformat
import pytest

import notebooks
import reading


@pytest.mark.parametrize("chapter", notebooks.notebooks(), ids=lambda path: path.stem)
def test_a_chapter_states_its_time(chapter):
    assert reading.stated_minutes(chapter) == reading.measure(chapter).minutes


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
