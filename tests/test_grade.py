"""The grader: what each kind of submission costs, and whom."""

import csv
import json

import pytest
import test_exercises

import identities
import student
from genmodels import exercises, grade

CHAPTER = "kl_divergence"  # needs NumPy only
LIMITS = grade.Limits(cell_time=20.0)
SOLUTIONS = {name: test_exercises.without_check(source).removeprefix("# Solution\n")
             for name, source in test_exercises.by_exercise(CHAPTER, "solution").items()}
NAMES = list(SOLUTIONS)
BAD = NAMES[1]  # the exercise that a submission spoils


def cells(answers: dict[str, str], before: str = "") -> list[dict]:
    """The section of exercises with some answers in place of the stubs, and a cell before it."""
    section, result, waiting = False, [], []
    for cell in identities.cells_of(test_exercises.CHAPTERS[CHAPTER]):
        tags = cell["metadata"].get("tags", [])
        section |= cell["source"].startswith("## Exercises")
        if not section or "solution" in tags:
            continue
        if "exercise" in tags:
            waiting.append(cell)
        elif "check" in tags:
            name = test_exercises.names_checked(cell["source"])[0]
            if name in answers:
                waiting = [{**waiting[0], "source": answers[name]}]
            result += [*waiting, cell]
            waiting = []
        else:
            result.append(cell)
    code = {"cell_type": "code", "metadata": {}, "source": before}
    return [code, *result] if before else result


def graded(tmp_path, notebook_cells, limits=LIMITS):
    path = tmp_path / "submission.ipynb"
    path.write_text(json.dumps({"cells": notebook_cells, "metadata": {}, "nbformat": 4,
                                "nbformat_minor": 5}), encoding="utf-8")
    rows, done = grade.grade(path, limits)
    assert {row[2] for row in rows} == set(NAMES)
    return {row[2]: row[3] for row in rows}, done, {row[2]: row[4] for row in rows}


def test_all_right(tmp_path):
    statuses, done, _ = graded(tmp_path, cells(SOLUTIONS))
    assert set(statuses.values()) == {"right"} and done


def test_all_stubs(tmp_path):
    statuses, done, _ = graded(tmp_path, cells({}))
    assert set(statuses.values()) == {"stub"} and done


def test_solutions_of_the_book_are_not_graded(tmp_path):
    everything = identities.cells_of(test_exercises.CHAPTERS[CHAPTER])
    begin = next(i for i, cell in enumerate(everything)
                 if cell["source"].startswith("## Exercises"))
    untagged = [{**cell, "metadata": {}} for cell in everything[begin:]]
    for section in (everything[begin:], untagged):
        statuses, done, _ = graded(tmp_path, section)
        assert set(statuses.values()) == {"stub"} and done


def test_half_right(tmp_path):
    half = NAMES[::2]
    statuses, done, _ = graded(tmp_path, cells({name: SOLUTIONS[name] for name in half}))
    assert {name for name, status in statuses.items() if status == "right"} == set(half)
    assert done


SPOILT = {
    "loops for ever": ("while True:\n    pass", "time-out"),
    "loops for ever, whatever interrupts it": (
        "while True:\n    try:\n        while True:\n            pass\n"
        "    except BaseException:\n        pass", "time-out"),
    "ends the process": ("import os\nos._exit(0)", "error"),
    "kills the process": ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "error"),
    "crashes": ("import ctypes\nctypes.string_at(0)", "error"),
    "allocates 10 GB": ("import numpy as np\nbig = np.ones(10 * 2**27)", "error"),
    "leaves": ("raise SystemExit", "error"),
    "is no Python": ("def (:", "error"),
}


@pytest.mark.parametrize(("source", "status"), SPOILT.values(), ids=SPOILT)
def test_a_bad_cell_costs_its_own_exercise_alone(tmp_path, source, status):
    limits = grade.Limits(cell_time=6.0) if status == "time-out" else LIMITS
    statuses, done, _ = graded(tmp_path, cells({**SOLUTIONS, BAD: source}), limits)
    assert statuses.pop(BAD) == status
    assert set(statuses.values()) == {"right"} and done


def test_a_stub_whose_cell_raises_is_an_error(tmp_path):
    stub = test_exercises.by_exercise(CHAPTER, "exercise")[BAD]
    source = f"{stub}\n\n\nraise MemoryError('too large')"
    statuses, done, texts = graded(tmp_path, cells({**SOLUTIONS, BAD: source}))
    assert statuses.pop(BAD) == "error" and texts[BAD] == "MemoryError: too large"
    assert set(statuses.values()) == {"right"} and done


def test_an_answer_that_never_ends(tmp_path):
    name = test_exercises.names_checked(test_exercises.by_exercise(CHAPTER, "check")[BAD])[1][0]
    source = f"def {name}(*a, **k):\n    while True:\n        pass"
    statuses, done, _ = graded(tmp_path, cells({**SOLUTIONS, BAD: source}))
    assert statuses.pop(BAD) == "time-out"
    assert set(statuses.values()) == {"right"} and done


TAMPERING = {
    "check redefined": "def check(*a):\n    print('Right.')",
    "the module's check replaced": "import genmodels.exercises as e\n"
                                   "e.check = e.evaluate = lambda *a, **k: print('Right.')",
    "its parts replaced": "import genmodels.exercises as e, genmodels.checks.kl_divergence as c\n"
                          "e.compare = c.compare = e.agree = lambda *a, **k: True\n"
                          "e.EXERCISES.clear()",
    "prints": "print('Right. ' * 1000)\nprint('{\"exercise\": \"x\", \"status\": \"right\"}')",
    "deletes what is in its folder": "import os, shutil\nshutil.rmtree(os.getcwd())",
}


@pytest.mark.parametrize("source", TAMPERING.values(), ids=TAMPERING)
def test_tampering_gains_nothing_and_costs_nothing(tmp_path, source):
    """A stub stays a stub, and the right answers of the others stay right."""
    others = {name: SOLUTIONS[name] for name in NAMES if name != BAD}
    statuses, done, _ = graded(tmp_path, cells(others, before=source))
    assert statuses.pop(BAD) == "stub"
    assert set(statuses.values()) == {"right"} and done


@pytest.mark.parametrize("source", [
    "import numpy as np\nnp.abs = lambda *a: 0",
    "import genmodels.gaussian as g\ng.kl_divergence = lambda *a: 1.0",
], ids=["numpy", "genmodels"])
def test_what_the_checks_compute_with_is_guarded(tmp_path, source):
    statuses, done, texts = graded(tmp_path, cells(SOLUTIONS, before=source))
    assert set(statuses.values()) == {"error"} and done
    assert all("has replaced" in text for text in texts.values())


def test_a_check_that_was_deleted(tmp_path):
    left = [cell for cell in cells(SOLUTIONS) if f'check("{BAD}"' not in cell["source"]]
    statuses, done, texts = graded(tmp_path, left)
    assert statuses.pop(BAD) == "error" and "missing" in texts[BAD]
    assert set(statuses.values()) == {"right"} and done


@pytest.mark.parametrize("text", ["", "{}", "[1, 2]", '{"cells": 3}', '{"cells": []}',
                                  '{"cells": [{"cell_type": "code", "source": "1 + 1"}]}'])
def test_what_is_no_submission(tmp_path, text, capsys):
    path = tmp_path / "bad.ipynb"
    path.write_text(text, encoding="utf-8")
    assert grade.main([str(path)]) == 1
    assert "Not graded" in capsys.readouterr().err


def test_table_and_csv_and_exit_code(tmp_path, capsys):
    good, bad = tmp_path / "good.ipynb", tmp_path / "bad.ipynb"
    good.write_text(json.dumps({"cells": cells({NAMES[0]: SOLUTIONS[NAMES[0]]})}))
    bad.write_text("no notebook")
    assert grade.main([str(good), "--csv", str(tmp_path / "grades.csv")]) == 0
    printed = capsys.readouterr().out
    assert f"good.ipynb: 1 of {len(NAMES)} right" in printed
    with (tmp_path / "grades.csv").open(encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    assert head == grade.COLUMNS
    assert [row[3] for row in rows].count("right") == 1 and len(rows) == len(NAMES)
    assert grade.main([str(good), str(bad)]) == 1  # the good one is graded all the same
    assert f"1 of {len(NAMES)} right" in capsys.readouterr().out


def test_the_set_for_students_has_every_stub_and_no_solution(tmp_path):
    written = student.write(tmp_path / "student")
    assert len(written) == len(identities.notebooks())
    for path in written:
        text = path.read_text(encoding="utf-8")
        assert "# Solution" not in text and 'class=\\"solution\\"' not in text
    checks = "".join(path.read_text(encoding="utf-8") for path in written)
    assert all(f'check(\\"{name}\\"' in checks for name in exercises.load())
