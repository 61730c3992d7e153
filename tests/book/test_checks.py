"""What asserts compare is recorded while a chapter is executed, and changes nothing in it."""

import ast
import json

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError

import build
import checks
import notebooks


def execute(folder, *sources: str) -> nbformat.NotebookNode:
    """Execute cells as the build does."""
    checks.write_startup(folder / ".ipython")
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebooks.execute(notebook, folder, build.environment(folder), timeout=60)
    return notebook


def records(folder, *sources: str) -> list[list[tuple]]:
    """Return (times, largest) of each assert of each cell, an empty list without a record."""
    found = [checks.read(folder / "checks", key) for key in checks.keys(sources)]
    return [[(each["times"], each["largest"]) for each in record["checks"]] if record else []
            for record in found]


# What an assert says ----------------------------------------------------------------------------


@pytest.mark.parametrize(("source", "compared", "conditions"), [
    ("assert abs(x - y) < 1e-10", ["abs(x - y)"], 0),
    ("assert abs(x - y) < 5 * error < 0.1", ["abs(x - y)"], 1),
    ("assert np.abs(z).max() <= 5 and p > 0.1", ["np.abs(z).max()"], 1),
    ("assert np.all(np.abs(z) < bound)", ["np.abs(z)"], 0),
    ("worst = max(worst, abs(x))\nassert worst < 1e-10", ["worst"], 0),
    ("a, b = abs(x), y\nassert a < 1\nassert b < 1", ["a"], 1),
    ("errors = abs(x), abs(y)\nassert max(errors) < 1e-8", ["max(errors)"], 0),
    ("assert np.allclose(x, y, rtol=1e-3)", ["x"], 0),
    ("assert bool(np.isclose(x, y).all())", [], 1),
    ("np.testing.assert_allclose(x, y)", ["x"], 0),
    ("torch.testing.assert_close(x, y, rtol=1e-5, atol=0)", ["x"], 0),
    ("torch.testing.assert_close(x, y)", [], 1),
    ("assert abs(x) > 5 * error", [], 1),  # an inequality that has to be large
    ("assert right < log_p_x", [], 1),
    ("assert 0.7 < x < 1.3", [], 2),
    ("assert abs(x) < 1 or y", [], 1),
    ("x = x\nassert x < 1", [], 1),
])
def test_comparisons_with_a_tolerance_are_told_from_conditions(source, compared, conditions):
    found = checks.find(ast.parse(source))
    operands = [ast.unparse(next(iter(each.operands.values())))
                for statement in found for each in statement.comparisons]
    assert operands == compared
    assert sum(statement.conditions for statement in found) == conditions


# What is recorded -------------------------------------------------------------------------------


def test_the_largest_deviation_and_its_tolerance_are_recorded(tmp_path):
    sources = [
        "import numpy as np\nfor n in (1, 3, 2):\n    assert abs(n * 1e-12) < 1e-10 * n**2",
        "x = np.array([1.0, 100.0])\nassert np.allclose(x, x + [1, 2], rtol=0.1, atol=1)",
        "", "assert np.all(np.abs(x) < 5 * np.array([1, 30])) and len(x) == 2",
        "def check(x):\n    assert abs(x) < 1", "check(0.5)", "assert abs(0) < 1; assert 1 < 2",
    ]
    execute(tmp_path, *sources)
    first, second, empty, third, function, call, two = records(tmp_path, *sources)
    assert first == [(3, [[1e-12, 1e-10]])]  # where it is the largest share of the tolerance
    assert second == [(1, [[1.0, pytest.approx(1 + 0.1 * 2)]])]  # 1 of 1.2 is more than 2 of 11.2
    assert third == [(1, [[100.0, 150.0]])]
    assert (function, call) == ([(0, [None])], [])  # not while its own cell ran
    assert two == [(1, [[0.0, 1.0]]), (1, [])] and empty == []


def test_a_failed_cell_has_no_record_and_fails_as_it_would(tmp_path):
    sources = ["assert abs(0.1) < 1", 'assert abs(2) < 1, "too far"', "assert abs(0.1) < 1"]
    execute(tmp_path, sources[0], "0", sources[2])
    with pytest.raises(CellExecutionError) as recorded:
        execute(tmp_path, *sources)
    assert records(tmp_path, *sources) == [[(1, [[0.1, 1.0]])], [], []]
    startup = tmp_path / ".ipython/profile_default/startup/record_checks.py"
    assert startup.exists()
    startup.write_text("")
    with pytest.raises(CellExecutionError) as plain:
        notebooks.execute(nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(each) for each in sources]), tmp_path,
            build.environment(tmp_path), timeout=60)
    assert recorded.value.traceback.endswith(": too far\n")
    assert recorded.value.traceback == plain.value.traceback


def test_an_old_record_goes_when_its_cell_is_executed_again_and_fails(tmp_path):
    source = "from pathlib import Path\nassert abs(Path('bad').exists()) < 1"
    execute(tmp_path, source)
    assert records(tmp_path, source) == [[(1, [[0.0, 1.0]])]]
    (tmp_path / "bad").touch()
    with pytest.raises(CellExecutionError):
        execute(tmp_path, source)
    assert records(tmp_path, source) == [[]]


def test_a_record_belongs_to_a_cell_in_its_place(tmp_path):
    """The same code after other code is another computation; so is an edited cell."""
    execute(tmp_path, "x = 0.1", "assert abs(x) < 1")
    assert records(tmp_path, "x = 0.1", "assert abs(x) < 1")[1]
    assert not records(tmp_path, "x = 0.2", "assert abs(x) < 1")[1]
    assert not records(tmp_path, "x = 0.1", "assert abs(x) < 2")[1]
    checks.forget(tmp_path / "checks", ["x = 0.1", "assert abs(x) < 1"])
    assert not records(tmp_path, "x = 0.1", "assert abs(x) < 1")[1]


def test_cells_see_nothing_of_the_recorder(tmp_path):
    counting = "calls = []\ndef f(x):\n    calls.append(x)\n    return x\n"
    notebook = execute(
        tmp_path, "print(sorted(set(globals()) - {'In', 'Out'}))",
        counting + "assert abs(f(1)) < f(2) < f(3) and f(4)\nprint(calls)",
        counting + "try:\n    assert abs(f(2)) < f(1) < f(3)\nexcept AssertionError:\n"
        "    print(calls)", "1 + 1\nassert abs(0) < 1")
    first, second, third, last = (cell.outputs for cell in notebook.cells)
    assert not [name for name in ("checks", "record_checks") if name in first[0].text]
    assert second[0].text == "[1, 2, 3, 4]\n" and third[0].text == "[2, 1]\n" and not last


@pytest.mark.parametrize("value", ["text", [], object(), float("nan")])
def test_what_is_no_number_is_not_measured(tmp_path, value):
    recorder = checks.Recorder(tmp_path)
    recorder.visit(ast.parse("assert abs(x) < y"))
    recorder.hold(1, 0, 0, "value", 0.5)
    recorder.hold(1, 0, 0, "tolerance", value)
    recorder.passed(1, 0)
    assert recorder.record == [{"times": 1, "largest": [None]}]


def test_tensors_are_measured():
    torch = pytest.importorskip("torch")
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    given = {"left": x, "right": x.detach().bfloat16() + 0.5, "rtol": 0.0, "atol": 1.0}
    assert checks.closest(given) == (0.5, 1.0)


# The build --------------------------------------------------------------------------------------


def test_chapters_are_executed_again_when_what_is_recorded_changes(monkeypatch):
    chapter = notebooks.in_order()[0]
    before = build.fingerprints([chapter])
    assert build.fingerprints([chapter]) == before
    monkeypatch.setattr(build, "sum_of", lambda names: f"another {names}")
    assert build.fingerprints([chapter]) != before


def test_each_cell_with_a_tag_says_something_that_can_be_recorded():
    """Of each identity at least one deviation is measured, in one of its cells."""
    measured = set()
    for chapter in notebooks.in_order():
        for cell in notebooks.code_cells(chapter):
            found = checks.find(notebooks.python_of(cell.source))
            if any(statement.comparisons for statement in found):
                measured |= {tag for tag in notebooks.tags_of(cell) if tag.startswith("identity-")}
    tags = {tag for chapter in notebooks.in_order() for cell in notebooks.code_cells(chapter)
            for tag in notebooks.tags_of(cell) if tag.startswith("identity-")}
    assert tags - measured == set()


def test_records_are_whole_json(tmp_path):
    execute(tmp_path, "assert abs(0.5) < 1")
    of_environment, path = sorted((tmp_path / "checks").iterdir(), key=lambda each: each.suffixes)
    assert "versions" in json.loads(of_environment.read_text())
    assert json.loads(path.read_text()).keys() == {"executed", "checks"}
