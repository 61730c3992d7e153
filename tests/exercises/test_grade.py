"""The grader: what each kind of submission costs, and whom."""

import csv
import functools
import json
import subprocess
import sys

import nbformat
import numpy as np
import pytest
import scipy.linalg
import test_exercises
from forks import Fork

import exercise_list
import notebooks
import student
from genmodels import diffusion, exercises
from genmodels.exact import gaussian, linear_gaussian
from genmodels.exercises import chapters, grade, registry

CHAPTER = "kl_divergence"  # needs NumPy only
LIMITS = grade.Limits(cell_time=20.0)
SOLUTIONS = {name: test_exercises.without_check(source).removeprefix("# Solution\n")
             for name, source in test_exercises.by_exercise(CHAPTER, "solution").items()}
NAMES = list(SOLUTIONS)
BAD = "kl-nonnegative-terms"  # the exercise that a submission spoils: its answer is a function


def cells(answers: dict[str, str], before: str = "") -> list[dict]:
    """The section of exercises with some answers in place of the stubs, and a cell before it."""
    section, result, waiting = False, [], []
    for cell in notebooks.cells_of(test_exercises.CHAPTERS[CHAPTER]):
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


def chapter(answers: dict[str, str]) -> list[dict]:
    """The section of exercises as a student of the whole chapter has it: solutions stand there."""
    everything = notebooks.cells_of(test_exercises.CHAPTERS[CHAPTER])
    begin = next(i for i, cell in enumerate(everything)
                 if cell["source"].startswith("## Exercises"))
    own = {cell["id"]: cell for cell in cells(answers) if "exercise" in cell["metadata"].get(
        "tags", [])}
    return [own.get(cell["id"], cell) for cell in everything[begin:]]


def code(source: str, **more) -> dict:
    return {"cell_type": "code", "metadata": {}, "source": source, **more}


def with_checks(form: str | list[str], answers: dict[str, str] = SOLUTIONS) -> list[dict]:
    """The section with other check cells, from the exercise's {name} and the {answers}."""
    forms = [form] * len(NAMES) if isinstance(form, str) else form
    result = []
    for cell in cells(answers):
        if "check" in cell["metadata"].get("tags", []):
            name, given = test_exercises.names_checked(cell["source"])
            source = forms[NAMES.index(name)].format(name=name, answers=", ".join(given))
            cell = {**cell, "source": source}
        result.append(cell)
    return result


def written(tmp_path, notebook_cells, encoding="utf-8"):
    path = tmp_path / "submission.ipynb"
    path.write_text(json.dumps({"cells": notebook_cells, "metadata": {}, "nbformat": 4,
                                "nbformat_minor": 5}), encoding=encoding)
    return path


def read(tmp_path, notebook_cells, encoding="utf-8"):
    path = written(tmp_path, notebook_cells, encoding)
    return grade.read(path, grade.course(grade.CHAPTERS))


def graded(tmp_path, notebook_cells, limits=LIMITS):
    path = written(tmp_path, notebook_cells)
    rows, done = grade.grade(path, limits)
    assert {row[2] for row in rows} == set(NAMES)
    return {row[2]: row[3] for row in rows}, done, {row[2]: row[4] for row in rows}


@pytest.fixture(autouse=True)
def forked(request, monkeypatch):
    """Submissions run in forks, which start at once, but for those that need a fresh process."""
    if not IN_A_FRESH_PROCESS & {request.node.originalname, request.node.name}:
        monkeypatch.setattr(grade, "started", Fork)


def test_all_right(tmp_path):
    statuses, done, _ = graded(tmp_path, cells(SOLUTIONS))
    assert set(statuses.values()) == {"right"} and done


def test_all_stubs(tmp_path):
    statuses, done, _ = graded(tmp_path, cells({}))
    assert set(statuses.values()) == {"stub"} and done


FORMS = {  # what becomes of a notebook on its way through Colab, an old format, an editor
    "as handed out": lambda cell: cell,
    "without tags": lambda cell: {**cell, "metadata": {}},
    "without tags, IDs as in Colab": lambda cell: code(cell["source"]) | {
        "cell_type": cell["cell_type"], "metadata": {"id": cell["id"]}},
    "without IDs": lambda cell: {**cell, "id": None},
    "without both": lambda cell: {**cell, "metadata": {}, "id": None},
    "without both, in another layout": lambda cell: {
        **cell, "metadata": {}, "id": None,
        "source": cell["source"].replace("\n\n\n", "\n").replace("\n", "\r\n") + "\n"},
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_solutions_are_told_from_answers_not_by_their_text(tmp_path, form):
    """A student's cell may begin as a solution does; a solution may have lost all its marks."""
    answers = {name: f"# Solution\n{SOLUTIONS[name]}" for name in NAMES[::2]}
    own = code("# Solution\nprint('of mine')")
    submission = read(tmp_path, [form(cell) for cell in chapter(answers)] + [own])
    setup, *kept = submission.cells
    assert "import check" in setup and kept.pop() == own["source"]
    stubs = test_exercises.by_exercise(CHAPTER, "exercise")
    for name in NAMES:
        answer, check = kept.pop(0), kept.pop(0)
        as_written = form(code(answers.get(name, stubs[name]), id=""))["source"]
        assert answer == as_written and check.startswith(f'check("{name}"')
    assert not kept and not submission.notes
    assert submission.owners == [None, *(name for name in NAMES for _ in range(2)), None]


def test_what_a_student_makes_of_cells(tmp_path):
    """Copies and parts of a stub are the student's; a solution is none, even after a change."""
    stub, check = [cell for cell in cells(SOLUTIONS) if cell["cell_type"] == "code"][1:3]
    copies = [stub, {**stub, "id": "new"}, {**stub, "metadata": {}}, check]
    submission = read(tmp_path, [*copies, code("1 / 2"), {**stub, "id": "part"}])
    assert len(submission.cells) == 6
    solution = next(cell for cell in chapter({}) if "solution" in cell["metadata"].get("tags", ())
                    and cell["cell_type"] == "code")
    pasted = {**stub, "source": solution["source"]}
    submission = read(tmp_path, [pasted, check])
    assert submission.cells == [pasted["source"], check["source"]]
    changed = {**solution, "source": solution["source"] + "\nprint(1)"}
    for cell in ({**changed, "id": "copied"}, {**changed, "metadata": {}},
                 {**changed, "id": None, "metadata": {"id": changed["id"]}}):  # Colab
        submission = read(tmp_path, [stub, cell, check])
        assert submission.cells == [stub["source"], check["source"]]
        assert "solution that was changed" in submission.notes[0]


def test_a_whole_chapter_without_tags_and_ids(tmp_path):
    answers = {name: f"# Solution\n{SOLUTIONS[name]}" for name in NAMES[::2]}
    notebook = [FORMS["without both"](cell) for cell in chapter(answers)]
    statuses, done, _ = graded(tmp_path, notebook)
    assert statuses == {name: "right" if name in answers else "stub" for name in NAMES} and done


def test_a_cell_belongs_to_its_exercise_wherever_it_stands(tmp_path):
    section = cells({})
    checks = [cell for cell in section if "check" in cell["metadata"].get("tags", [])]
    moved = [cell for cell in section if cell not in checks] + checks[::-1]
    assert read(tmp_path, moved).owners == [None, *NAMES, *NAMES[::-1]]


def test_chapters_that_are_none(tmp_path, capsys):
    path = written(tmp_path, cells({}))
    assert grade.main([str(path), "--chapters", str(tmp_path)]) == 1
    assert "chapters must be the folder" in capsys.readouterr().err


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
    limits = grade.Limits(cell_time=6.0)  # half of it for an answer
    statuses, done, _ = graded(tmp_path, cells({**SOLUTIONS, BAD: source}), limits)
    assert statuses.pop(BAD) == "time-out"
    assert set(statuses.values()) == {"right"} and done


TAMPERING = {
    "check redefined": "def check(*a):\n    print('Right.')",
    "the module's check replaced": "import genmodels.exercises as e\n"
                                   "e.check = e.evaluate = lambda *a, **k: print('Right.')",
    "its parts replaced": "import genmodels.exercises as e\n"
                          "import genmodels.exercises.compare as m\n"
                          "import genmodels.exercises.registry as r\n"
                          "import genmodels.exercises.chapters.kl_divergence as c\n"
                          "m.compare = c.compare = m.agree = c.need = lambda *a, **k: True\n"
                          "e.judge = e.find = r.find = None\n"
                          "r.BY_CHAPTER.clear()\nr.CHAPTER_OF.clear()",
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


def test_check_redefined_below_its_import(tmp_path):
    stub = test_exercises.by_exercise(CHAPTER, "exercise")[BAD]
    statuses, done, _ = graded(tmp_path, cells({
        **SOLUTIONS, BAD: f"{stub}\n\n\ndef check(*a):\n    print('Right.')"}))
    assert statuses.pop(BAD) == "stub"
    assert set(statuses.values()) == {"right"} and done


WRONG = "def extra_bits(*a):\n    return 1.0\n\n\ndearer = 'hot'"
SHIMS = {  # and what holds in the notebook from then on
    "shims and reloads": (
        "import importlib\nimport numpy as np\nimport genmodels.exercises\n"
        "import genmodels.exact.gaussian\n"
        "import genmodels.exercises.chapters.kl_divergence\nnp.bool, np.float = bool, float\n"
        "importlib.reload(genmodels.exact.gaussian)\nimportlib.reload(genmodels.exercises)\n"
        "importlib.reload(genmodels.exercises.compare)\n"
        "importlib.reload(genmodels.exercises.chapters.kl_divergence)\n",
        "np.bool is bool"),
    "numpy": (
        "import numpy as np\nnp.abs = lambda *a: 0", "np.abs(1) == 0"),
    "genmodels": (
        "import genmodels.exact.gaussian as g\ng.kl_divergence = lambda *a: 1.0",
        "g.kl_divergence() == 1.0"),
    "the checks": (
        "import genmodels.exercises.compare as m\n"
        "import genmodels.exercises.chapters.kl_divergence as c\n"
        "m.compare = c.compare = m.need = c.need = m.agree = lambda *a, **k: True",
        "c.compare()"),
    "the code of genmodels": (
        "import genmodels.exact.gaussian as g\n"
        "g.kl_divergence.__code__ = (lambda *a: 1.0).__code__",
        "g.kl_divergence.__code__.co_name == 'kl_divergence'"),  # the code alone is not put back
}


@pytest.mark.parametrize(("shim", "holds"), SHIMS.values(), ids=SHIMS)
def test_what_a_notebook_replaces_gains_nothing_and_costs_nothing(tmp_path, shim, holds):
    """The checks compute with the originals; the notebook keeps what it has put there, not code."""
    answers = {**SOLUTIONS, NAMES[0]: WRONG, BAD: f"assert {holds}\n{SOLUTIONS[BAD]}"}
    statuses, done, _ = graded(tmp_path, cells(answers, before=shim))
    assert statuses.pop(NAMES[0]) == "not yet"
    assert set(statuses.values()) == {"right"} and done


def seven(*args, **kwargs):
    return -7.0


REPLACED = {  # owner, name, and what stands there instead
    "a method": (linear_gaussian.LinearGaussian, "log_evidence", seven),
    "the constructor": (linear_gaussian.LinearGaussian, "__init__", lambda *a: None),
    "a method that was not there": (linear_gaussian.LinearGaussian, "__getattribute__", seven),
    "a property": (diffusion.NoiseSchedule, "num_steps", 7),
    "a class method": (diffusion.NoiseSchedule, "linear", seven),
    "a generator of NumPy": (np.random, "default_rng", seven),
    "a function of SciPy": (scipy.linalg, "solve", seven),
}


def state(owner, name):
    return vars(owner).get(name, "missing")


@pytest.mark.parametrize(("owner", "name", "other"), REPLACED.values(), ids=REPLACED)
def test_what_the_checks_compute_with_is_restored_for_them_alone(monkeypatch, owner, name, other):
    original, originals = state(owner, name), grade.protected()
    monkeypatch.setattr(owner, name, other, raising=False)
    with originals():
        assert state(owner, name) is original
    assert state(owner, name) is other


@pytest.mark.parametrize(("owner", "name"), [(np, "abs"), (
    linear_gaussian.LinearGaussian, "log_evidence")])
def test_what_a_notebook_deletes_is_there_for_the_checks_alone(monkeypatch, owner, name):
    original, originals = state(owner, name), grade.protected()
    monkeypatch.delattr(owner, name)
    with originals():
        assert state(owner, name) is original
    assert state(owner, name) == "missing"


def test_the_code_of_methods_is_restored(monkeypatch):
    schedule, originals = diffusion.NoiseSchedule, grade.protected()
    functions = [vars(schedule)["__init__"], vars(schedule)["linear"].__func__,
                 vars(schedule)["num_steps"].fget]
    codes = [function.__code__ for function in functions]
    for function in functions:
        monkeypatch.setattr(function, "__code__", seven.__code__)
    with originals():
        assert [function.__code__ for function in functions] == codes


def test_a_method_replaced_does_not_make_a_wrong_answer_right(monkeypatch):
    def mean_elbo(x, mean, log_var, weights, bias, noise_std):
        model = linear_gaussian.LinearGaussian(weights, bias, noise_std)
        gaps = [gaussian.kl_divergence(m, np.diag(np.exp(v)), *model.posterior(x_i))
                for x_i, m, v in zip(x, mean, log_var)]
        return -7.0 - np.mean(gaps)

    chapters.load()
    originals = grade.protected()
    monkeypatch.setattr(linear_gaussian.LinearGaussian, "log_evidence", seven)
    with originals():
        assert exercises.evaluate("elbo-data-set", mean_elbo).status == "not yet"
    assert exercises.evaluate("elbo-data-set", mean_elbo).status == "right"


def test_magics_and_commands(tmp_path):
    """Magics that fail are passed over; what acts on the machine is not run. Both are noted."""
    touched = tmp_path / "touched"
    first = ["%matplotlib inline\n%load_ext autoreload\n%autoreload 2", "%matplotlib qt",
             "%%memit\n%load_ext nothing_of_this_name",
             f"!touch {touched}\nlines = !touch {touched}\n%sx touch {touched}\n"
             f"%pip install --target {touched} six\n%alias t touch {touched}\n%t",
             "%tensorflow_version 2.x\nget_ipython().run_line_magic('matplotlib', 'inline')"]
    answers = {name: f"{line}\n{SOLUTIONS[name]}" for name, line in zip(NAMES, first)}
    scripts = [code(f"%%bash\ntouch {touched}"), code(f"%%script sh\ntouch {touched}"),
               code(f"%%!\ntouch {touched}"), code(f"%%python\nopen('{touched}', 'w')"),
               code("import sys\nsys.stdout = sys.stderr = None")]
    path = written(tmp_path, [*scripts, *cells(answers)])
    rows, done = grade.grade(path, LIMITS)
    assert {row[3] for row in rows} == {"right"} and done
    assert not touched.exists()
    for note in ("not run: %%bash", "not run: !touch", "passed over: %matplotlib qt",
                 "passed over: %tensorflow_version 2.x", "passed over: %%memit"):
        assert note in rows[0][5]
    assert "inline" not in rows[0][5] and "%autoreload" not in rows[0][5]  # these do work
    assert rows[0][5] in "\n".join(grade.table(rows))


def test_a_magic_that_runs_python_ends_the_cell_as_python_does(tmp_path):
    statuses, done, texts = graded(tmp_path, cells(
        {**SOLUTIONS, BAD: f"%time 1 / 0\n{SOLUTIONS[BAD]}"}))
    assert statuses.pop(BAD) == "error" and texts[BAD] == "ZeroDivisionError: division by zero"
    assert set(statuses.values()) == {"right"} and done


def test_checks_are_found_in_every_form(tmp_path):
    forms = ['%%time\ncheck("{name}", {answers})',
             'from genmodels.exercises import check as c\nc("{name}", {answers})',
             'name = "{name}"\ncheck(name, {answers})',
             '%%prun -q\nfrom genmodels import exercises\nexercises.check("{name}", {answers})',
             'for name in ["{name}"[:2] + "{name}"[2:]]:\n    check(f"{{name}}", {answers})']
    statuses, done, _ = graded(tmp_path, with_checks(forms))
    assert set(statuses.values()) == {"right"} and done


@pytest.mark.parametrize("form", ["%%time\ncheck('{name}', {answers})", "c('{name}', {answers})",
                                  "name = '{name}'\ncheck(name, {answers})"])
def test_a_notebook_of_such_checks_alone(tmp_path, form):
    """Without IDs and tags, the name of the exercise tells which check it is."""
    notebook = [FORMS["without both"](cell) for cell in with_checks(form)]
    submission = read(tmp_path, notebook)
    assert submission.expected == NAMES
    assert submission.owners == [None, *(name for name in NAMES for _ in range(2))]


def test_an_answer_that_kills_costs_its_own_exercise_where_all_are_checked_in_one_cell(tmp_path):
    kills = "def nonnegative_terms(*a):\n    import os\n    os._exit(1)"
    section = cells({**SOLUTIONS, BAD: kills})
    checks = [cell for cell in section if "check" in cell["metadata"].get("tags", [])]
    together = code("\n".join(cell["source"] for cell in checks))
    statuses, done, texts = graded(tmp_path, [cell for cell in section if cell not in checks]
                                   + [together])
    assert statuses.pop(BAD) == "error" and "ended the process" in texts[BAD]
    assert set(statuses.values()) == {"right"} and done


def test_the_last_check_counts(tmp_path):
    check = {name: source for cell in cells({}) if (source := cell["source"]).startswith("check(")
             for name in test_exercises.names_checked(source)[:1]}
    notebook = [
        *cells({**SOLUTIONS, NAMES[0]: WRONG}),
        code(f"{SOLUTIONS[NAMES[0]]}\n{check[NAMES[0]]}"),  # wrong, then right
        code(f"nonnegative_terms = 3\n{check[NAMES[2]]}"),  # right, then wrong
        code(f"raise KeyError\n{check[NAMES[3]]}"),  # right, then not reached
        code(f"{check[NAMES[4]]}\nraise KeyError")]  # right, and then an error
    statuses, done, _ = graded(tmp_path, notebook)
    assert statuses.pop(NAMES[2]) == "not yet"
    assert set(statuses.values()) == {"right"} and done
    for told in (grade.__doc__, exercise_list.page([]), student.README):
        assert "the last check counts" in " ".join(told.split())


def test_an_answer_may_be_slower_than_in_the_notebook_of_the_student(tmp_path, monkeypatch):
    """Its test calls it more than once, and the limit in a notebook is on all calls."""
    limit = 1.0  # seconds, in the notebook
    monkeypatch.setattr(grade, "started", functools.partial(Fork, time_limit=limit))
    pauses = 2 * [0.55 * limit]
    name = test_exercises.names_checked(test_exercises.by_exercise(CHAPTER, "check")[BAD])[1][0]
    answer = (f"{SOLUTIONS[BAD]}\n\n\nimport time\npauses, swift = {pauses}, {name}\n"
              f"def {name}(*a, **k):\n    time.sleep(pauses.pop() if pauses else 0)\n"
              "    return swift(*a, **k)")
    statuses, done, _ = graded(tmp_path, cells({**SOLUTIONS, BAD: answer}))
    assert set(statuses.values()) == {"right"} and done


ODD_CELLS = {
    "no metadata": lambda cell: {**cell, "metadata": None},
    "no tags": lambda cell: {**cell, "metadata": {"tags": None}},
    "an ID that is none": lambda cell: {**cell, "metadata": {}, "id": [1]},
    "no outputs": lambda cell: {**cell, "outputs": None, "attachments": None},
    "lines": lambda cell: {**cell, "source": cell["source"].splitlines(keepends=True)},
    "half a character": lambda cell: {**cell, "source": f"'\ud800'\n{cell['source']}"},
    "a null byte": lambda cell: {**cell, "source": f"'\0'\n{cell['source']}"},
    "a long sum": lambda cell: {**cell, "source": f"{'1 + ' * 20_000}1\n{cell['source']}"},
    "deep brackets": lambda cell: {**cell, "source": f"{'(' * 5_000}\n{cell['source']}"},
}


@pytest.mark.parametrize("odd", ODD_CELLS.values(), ids=ODD_CELLS)
def test_odd_cells_are_read(tmp_path, odd):
    notebook = [odd(cell) if cell["cell_type"] == "code" else cell for cell in cells(SOLUTIONS)]
    submission = read(tmp_path, notebook)
    assert submission.expected == NAMES and len(submission.cells) == 1 + 2 * len(NAMES)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_encodings_with_a_mark_are_read(tmp_path, encoding):
    assert read(tmp_path, cells(SOLUTIONS), encoding).expected == NAMES


def test_an_old_version_is_read(tmp_path):
    path = written(tmp_path, cells(SOLUTIONS))
    old = nbformat.convert(nbformat.read(path, as_version=4), 3)
    path.write_text(nbformat.writes(old, version=3))
    submission = grade.read(path, grade.course(grade.CHAPTERS))
    assert submission.expected == NAMES and len(submission.cells) == 1 + 2 * len(NAMES)


def test_without_its_packages_it_says_what_to_install():
    script = "import sys\nsys.modules['nbformat'] = None\nimport genmodels.exercises.grade"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True,
                         check=False)
    assert run.returncode and "needs nbformat: install genmodels with its extra" in run.stderr


def test_a_check_that_was_deleted(tmp_path):
    left = [cell for cell in cells(SOLUTIONS) if f'check("{BAD}"' not in cell["source"]]
    statuses, done, texts = graded(tmp_path, left)
    assert statuses.pop(BAD) == "error" and "missing" in texts[BAD]
    assert set(statuses.values()) == {"right"} and done


@pytest.mark.parametrize("text", ["", "{}", "[1, 2]", '{"cells": 3}', '{"cells": []}',
                                  '{"cells": [{"cell_type": "code", "source": "1 + 1"}]}',
                                  '{"cells": [{"cell_type": "code", "source": null}]}',
                                  '{"nbformat": 99, "cells": []}'])
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
    assert len(written) == len(notebooks.notebooks())
    for path in written:
        text = path.read_text(encoding="utf-8")
        assert "# Solution" not in text and 'class=\\"solution\\"' not in text
    checks = "".join(path.read_text(encoding="utf-8") for path in written)
    assert all(f'check(\\"{name}\\"' in checks for name in registry.CHAPTER_OF)


# They show that a fresh process does as a fork does, and what is decided before its imports.
IN_A_FRESH_PROCESS = {
    "test_all_right", "test_magics_and_commands", "test_table_and_csv_and_exit_code",
    "test_a_bad_cell_costs_its_own_exercise_alone[kills the process]",
    "test_a_bad_cell_costs_its_own_exercise_alone[loops for ever]"}
