"""What has moved between two builds is listed, and what rounding and chance explain is not."""

import json
import math
import random
import re

import nbformat
import pytest

import drift

CODE = nbformat.v4.new_code_cell


def written(folder, **chapters):
    """Write executed notebooks: for each chapter the text that each cell has printed, by its ID."""
    folder.mkdir()
    for name, printed in chapters.items():
        cells = [CODE("x", id=cell, outputs=[nbformat.v4.new_output("stream", text=text)])
                 for cell, text in printed.items()]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / f"{name}.ipynb")
    return folder


def moves(tmp_path, old: str, new: str) -> list[drift.Move]:
    return drift.compare(written(tmp_path / "old", elbo={"a": old}),
                         written(tmp_path / "new", elbo={"a": new}))


# One figure -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("line", "shown"), [
    ("ELBO −12.30 ± 0.04 nats", ["−12.30 ± 0.04"]),
    ("0.4% ± 0.1%", ["0.4 ± 0.1"]),
    ("n = 1,234 of 10,000, p 1e-05", ["1,234", "10,000", "1e-05"]),
    ("[0.1 -2.  3] ± [0.01 0.2 1]", ["0.1 ± 0.01", "-2. ± 0.2", "3 ± 1"]),
    ("[0.1 0.2] ± [0.01 0.2 1]", ["0.1", "0.2", "0.01", "0.2", "1"]),
    ("trained for 1,876 steps, 874 s, 3.5 ms", ["1,876"]),
    ("within 5 standard errors, 3 steps", ["5", "3"]),
])
def test_figures_are_read_with_their_errors_and_without_durations(line, shown):
    text, figures = drift.figures_in(line)
    assert [str(each) for each in figures] == shown
    assert not re.search(r"\d", text)


@pytest.mark.parametrize(("old", "new", "size"), [
    ("1.00 ± 0.10", "1.40 ± 0.10", None),  # 2.7 of its errors
    ("1.00 ± 0.10", "1.60 ± 0.10", 0.6 / math.hypot(0.105, 0.105)),  # 4.0
    ("1.00 ± 0.10", "1.44 ± 0.10", None),  # 2.96: the error may be 0.105 before rounding
    ("1.00 ± 0.10", "1.46 ± 0.10", 0.46 / math.hypot(0.105, 0.105)),
    ("1.00 ± 0.00", "1.02 ± 0.00", None),  # by rounding, of both values and of both errors
    ("1.00 ± 0.00", "1.04 ± 0.00", 0.04 / math.hypot(0.005, 0.005)),
    ("27 ± 1", "33 ± 1", None), ("27 ± 1", "36 ± 1", 9 / math.hypot(1.5, 1.5)),
    ("0.123", "0.124", None), ("0.123", "0.125", math.inf),  # rounding alone explains 0.001
    ("1e-05", "2e-05", None), ("1e-05", "3e-05", math.inf),
    ("9,915", "9,916", math.inf), ("5", "5", None),  # a number that was counted is not rounded
    ("1.00 ± 0.10", "1.00", None),
])
def test_a_figure_has_moved_if_neither_its_error_nor_rounding_explains_it(old, new, size):
    (one,), (other,) = drift.figures_in(old)[1], drift.figures_in(new)[1]
    assert drift.moved(one, other) == pytest.approx(size)
    assert drift.moved(other, one) == pytest.approx(size)


def test_of_figures_drawn_anew_about_one_in_370_moves():
    """What `LIMIT` promises; rounding is small here: 0.5 of an error of 100 units."""
    rng, count = random.Random(0), 20_000

    def drawn() -> drift.Figure:
        return drift.figures_in(f"{rng.gauss(5, 1):.2f} ± 1.00")[1][0]

    share = sum(drift.moved(drawn(), drawn()) is not None for _ in range(count)) / count
    expected = math.erfc(drift.LIMIT / math.sqrt(2))
    assert abs(share - expected) < 5 * math.sqrt(expected / count)  # 5 standard errors


# Two builds -------------------------------------------------------------------------------------


def test_equal_builds_have_no_moves(tmp_path):
    assert moves(tmp_path, "x 1.00 ± 0.10\nn = 3\n", "x 1.00 ± 0.10\nn = 3\n") == []


def test_a_move_is_told_with_its_place_and_its_size_the_largest_first(tmp_path):
    first, second, third = moves(tmp_path, "a 1.0 ± 0.1\nb 5.0 ± 0.1\nn = 3",
                                 "a 2.0 ± 0.1\nb 9.0 ± 0.1\nn = 4")
    assert "elbo, cell a: b 9.0 ± 0.1" in str(first) and "5.0 ± 0.1 → 9.0 ± 0.1" in str(first)
    assert str(first).endswith("18.9 standard errors")  # 4 / hypot(0.15, 0.15)
    assert second.place.endswith("a 2.0 ± 0.1")
    assert third.size is None and "3 → 4" in str(third)


def test_widths_of_columns_are_no_text(tmp_path):
    assert moves(tmp_path, "x   9.99 ± 0.50", "x  10.01 ± 0.50") == []


def test_a_changed_text_is_told_and_the_lines_around_it_are_compared(tmp_path):
    found = moves(tmp_path, "x 1.0\nall agree\ny 2.0", "x 1.0\nnone agrees\ny 3.0")
    assert len(found) == 2
    text = next(each for each in found if "text" in each.what)
    assert "all agree" in text.what and "none agrees" in text.what
    assert any("2.0 → 3.0" in each.what for each in found)


def test_cells_and_chapters_that_come_and_go_are_told(tmp_path):
    old = written(tmp_path / "old", elbo={"a": "1", "b": "2", "silent": ""}, bounds={"c": "3"})
    new = written(tmp_path / "new", elbo={"a": "1", "d": "2"}, samplers={"e": "3"})
    assert sorted((each.place, each.what) for each in drift.compare(old, new)) == [
        ("bounds", "the chapter is gone"), ("elbo, cell b", "the cell is gone"),
        ("elbo, cell d", "a new cell"), ("samplers", "a new chapter")]


def test_figures_and_progress_bars_are_not_compared():
    cell = CODE("x", outputs=[
        nbformat.v4.new_output("stream", name="stderr", text="10%"),
        nbformat.v4.new_output("display_data", {"image/png": "", "text/plain": "<Figure 1>"}),
        nbformat.v4.new_output("execute_result", {"text/plain": "0.5"}),
        nbformat.v4.new_output("stream", text="done\n")])
    assert drift.printed_by(cell) == ["0.5", "done"]


def test_the_command_says_how_many_and_returns_1_if_any(tmp_path, capsys):
    old = written(tmp_path / "old", elbo={"a": "1.0 ± 0.1\nn = 3"})
    new = written(tmp_path / "new", elbo={"a": "2.0 ± 0.1\nn = 4"})
    assert drift.main([str(old), str(old)]) == 0
    assert "more than 3 standard errors: 0; other differences: 0" in capsys.readouterr().out
    assert drift.main([str(old), str(new)]) == 1
    assert "more than 3 standard errors: 1; other differences: 1" in capsys.readouterr().out
    assert drift.main([str(old), str(new), "--limit", "9"]) == 1  # an integer has moved, too
    assert "more than 9 standard errors: 0; other differences: 1" in capsys.readouterr().out


@pytest.mark.parametrize("content", [{}, {"elbo": {"a": ""}}])
def test_a_folder_without_outputs_is_an_error_and_not_no_drift(tmp_path, content, capsys):
    full = written(tmp_path / "full", elbo={"a": "1"})
    empty = written(tmp_path / "empty", **content)
    assert drift.main([str(full), str(empty)]) == 2
    assert "must hold notebooks that have printed something" in capsys.readouterr().err


def test_a_build_keeps_what_was_printed_without_figures(tmp_path, monkeypatch):
    from jupyter_cache import get_cache
    from jupyter_cache.base import CacheBundleIn

    import build

    path = tmp_path / "chapters" / "part" / "a.ipynb"
    path.parent.mkdir(parents=True)
    notebook = nbformat.v4.new_notebook(cells=[CODE("print(1)", id="a")])
    nbformat.write(notebook, path)
    cache = get_cache(tmp_path / "cache")
    monkeypatch.setattr(build.notebooks, "in_order", lambda: [path])
    monkeypatch.setattr(build.notebooks, "CHAPTERS", tmp_path / "chapters")
    build.keep_executed(cache, tmp_path / "executed")
    assert not (tmp_path / "executed").exists()  # nothing was executed
    notebook.cells[0].outputs = [
        nbformat.v4.new_output("display_data", {"image/png": "x", "text/plain": "<Figure>"}),
        nbformat.v4.new_output("stream", text="1.5 ± 0.1\n")]
    cache.cache_notebook_bundle(CacheBundleIn(notebook, "", data={"execution_seconds": 0.0}),
                                check_validity=False)
    build.keep_executed(cache, tmp_path / "executed")
    kept = tmp_path / "executed" / "part" / "a.ipynb"
    assert "image/png" not in json.dumps(json.loads(kept.read_text()))
    assert drift.printed_in(tmp_path / "executed") == {"a": {"a": ["1.5 ± 0.1"]}}
