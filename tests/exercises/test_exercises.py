"""Answers planted into a kernel: right ones are accepted, wrong ones refused, by name where known.

A kernel runs what stands above the exercises of a chapter, then each answer and the check of the
notebook. Nothing may end in a traceback. All chapters have the same kernel, one after the other, so
that the frameworks are imported once. Most chapters need none for their exercises, and then checks
do not try tensors: the stubs and solutions of these have a kernel without any.
"""

import ast
import copy
import decimal
import fractions
import os
import re
import subprocess
import sys
from pathlib import Path

import jupyter_client
import numpy as np
import pytest
import torch
from planted import (
    Swap,
    boltzmann,
    bounds,
    collapse,
    comparing,
    conditional,
    digits,
    elbo,
    gradients,
    hierarchical,
    kl_divergence,
    latent_variables,
    lattice_fields,
    learning_distributions,
    likelihood_guidance,
    linear_vae,
    masked_spins,
    parameterisations,
    samplers,
    spins_vae,
    two_frameworks,
    vae_keras,
    vae_torch,
)

import notebooks
from genmodels import exercises
from genmodels.exercises import compare
from genmodels.exercises.registry import BY_CHAPTER

CHAPTERS = {path.stem: path for path in notebooks.notebooks()}
WITH_EXERCISES = sorted(BY_CHAPTER)
each_chapter = pytest.mark.parametrize(
    "chapter", [pytest.param(name, marks=pytest.mark.keras) if name == "vae_keras" else name
                for name in WITH_EXERCISES], scope="module")
PLANTED = {module.__name__.rpartition(".")[2]: module.PLANTED for module in (
    boltzmann, bounds, collapse, comparing, conditional, digits, elbo, gradients, hierarchical,
    kl_divergence, latent_variables, lattice_fields, learning_distributions,
    likelihood_guidance, linear_vae, masked_spins, parameterisations, samplers, spins_vae,
    two_frameworks, vae_keras, vae_torch)}
GENERIC = {  # answers that are no answers, for a function f
    "raises": "def {f}(*a, **k):\n    raise KeyError('no')",
    "exits": "def {f}(*a, **k):\n    raise SystemExit",
    "None": "def {f}(*a, **k):\n    a = 1",
    "wrong shape": "def {f}(*a, **k):\n    return np.zeros((2, 3, 5, 7))",
    "text": "def {f}(*a, **k):\n    return 'seven'",
    "NaN": "def {f}(*a, **k):\n    return np.nan",
    "no function": "{f} = 3.25e17",
    "never ends": "def {f}(*a, **k):\n    exercises.begun = True\n    while True:\n        pass",
}
GENERIC_VALUES = {"None": "{f} = None", "text": "{f} = 'seven'", "NaN": "{f} = float('nan')",
                  "wrong shape": "{f} = np.zeros((2, 3, 5, 7))", "a function": "{f} = print"}
# What stands above their exercises imports one.
WITH_FRAMEWORK = {"gradients", "two_frameworks", "vae_keras", "vae_torch"}
CHECKED = "--- what follows is printed by the check ---"


def tagged(chapter: str, tag: str) -> list[str]:
    return [cell["source"] for cell in notebooks.cells_of(CHAPTERS[chapter])
            if tag in cell["metadata"].get("tags", [])]


def names_checked(source: str) -> tuple[str, list[str]]:
    """Return the exercise and the names of the answers in a call of check."""
    call = next(node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)
                and getattr(node.func, "id", "") == "check")
    return ast.literal_eval(call.args[0]), [ast.unparse(argument) for argument in call.args[1:]]


def by_exercise(chapter: str, tag: str) -> dict[str, str]:
    """Return the cells with a tag by the exercise of the check that follows or is in them."""
    cells, found, waiting = notebooks.cells_of(CHAPTERS[chapter]), {}, []
    for cell in cells:
        tags = cell["metadata"].get("tags", [])
        if cell["cell_type"] != "code":
            continue
        if tag == "exercise" and tag in tags:
            waiting.append(cell["source"])
        elif tag in tags and "check(" in cell["source"]:
            found[names_checked(cell["source"])[0]] = cell["source"]
        if tag == "exercise" and "check" in tags:
            found[names_checked(cell["source"])[0]] = "\n".join(waiting)
            waiting = []
    return found


def without_check(source: str) -> str:
    """Return a cell without its calls of check."""
    lines = source.splitlines()
    for node in reversed(ast.parse(source).body):
        if isinstance(node, ast.Expr) and ast.unparse(node).startswith("check("):
            del lines[node.lineno - 1:node.end_lineno]
    return "\n".join(lines)


class Kernel:
    """A fresh kernel; `run` returns what a cell prints and the name of what it raises."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        environment = os.environ | {"GENMODELS_BUDGET": "quick"}
        self.manager, self.client = jupyter_client.manager.start_new_kernel(env=environment)

    def run(self, source: str, timeout: float = 120) -> tuple[str, str]:
        printed, raised = [], []

        def hook(message: dict) -> None:
            content = message["content"]
            if message["msg_type"] == "stream" and content["name"] == "stdout":
                printed.append(content["text"])
            elif message["msg_type"] == "error":
                raised.append(f"{content['ename']}: {content['evalue']}")

        self.client.execute_interactive(source, timeout=timeout, output_hook=hook,
                                        store_history=False)
        return "".join(printed), "".join(raised)

    def stop(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


    def begin(self, chapter: str) -> None:
        """Run what stands above the exercises of a chapter; in a new kernel if this one died."""
        if not self.manager.is_alive():
            self.start()
        for source in ("%reset -f", *tagged(chapter, "exercise-setup"),
                       "import sys; import numpy as np; from genmodels import exercises",
                       f"exercises.TIME_LIMIT = {exercises.TIME_LIMIT}"):
            assert self.run(source)[1] == ""


@pytest.fixture(scope="module")
def running():
    """Two kernels: one for any chapter and answer, and one without a framework."""
    started = Kernel(), Kernel()
    yield started
    for each in started:
        each.stop()


@pytest.fixture(scope="module")
def kernel(chapter, running):
    running[0].begin(chapter)
    return running[0]


@pytest.fixture
def as_handed_out(chapter, running):
    """A kernel that has no framework unless the chapter's exercises need one."""
    kernel = running[chapter not in WITH_FRAMEWORK]
    kernel.begin(chapter)
    yield kernel
    if chapter not in WITH_FRAMEWORK:
        frameworks = {"jax", "keras", "tensorflow", "torch"}
        assert kernel.run(f"print({frameworks} & sys.modules.keys() or '')") == ("\n", "")


def source_of(answer: str | Swap, base: str) -> str:
    return answer if isinstance(answer, str) else answer.source(base)


def feedback(kernel: Kernel, stub: str, answer: str, check: str) -> str:
    """Return what the check of an answer prints, without the line breaks."""
    printed, raised = kernel.run(f"{stub}\n\n\n{answer}\n\n\nprint({CHECKED!r})\n{check}")
    assert raised == "", f"{answer}\n{raised}"
    return " ".join(printed.partition(f"{CHECKED}\n")[2].split())


@each_chapter
def test_every_exercise_has_its_cells_and_planted_answers(chapter):
    names = set(BY_CHAPTER[chapter])
    for tag in ("exercise", "check", "solution"):
        assert by_exercise(chapter, tag).keys() == names, tag
    answers = PLANTED[chapter]
    assert answers.keys() == names
    for name in names:
        assert len(answers[name].right) >= 2, name
        assert len(answers[name].wrong) >= 4, name


@each_chapter
def test_stub_is_reported_and_the_solution_accepted(chapter, as_handed_out):
    stubs, checks = by_exercise(chapter, "exercise"), by_exercise(chapter, "check")
    for name, check in checks.items():  # first all stubs, as in a notebook without solutions
        assert feedback(as_handed_out, stubs[name], "", check).startswith("Still the stub"), name
    for name, solution in by_exercise(chapter, "solution").items():
        told = feedback(as_handed_out, stubs[name], without_check(solution), checks[name])
        assert told.startswith("Right."), f"{name}: {told}"


@each_chapter
def test_other_right_answers_are_accepted(chapter, kernel):
    stubs, checks = by_exercise(chapter, "exercise"), by_exercise(chapter, "check")
    for name, answers in PLANTED[chapter].items():
        for answer in [answers.base, *answers.right]:
            source = source_of(answer, answers.base)
            told = feedback(kernel, stubs[name], source, checks[name])
            assert told.startswith("Right."), f"{name}: {told}\n{source}"


LISTS = """
import functools as _functools

def _listed(value):
    if isinstance(value, tuple | list):
        return [_listed(part) for part in value]
    return list(value) if 0 < len(getattr(value, "shape", ())) and len(value) < 1000 else value

def _as_lists(function):
    @_functools.wraps(function)
    def answer(*inputs):
        return _listed(function(*inputs))
    return answer
"""


@each_chapter
def test_lists_are_accepted_where_arrays_and_pairs_are(chapter, kernel):
    """What a solution returns, as Python lists: of rows, of numbers with no axis, of parts."""
    stubs, checks = by_exercise(chapter, "exercise"), by_exercise(chapter, "check")
    failures = []
    assert kernel.run(LISTS)[1] == ""
    for name, solution in by_exercise(chapter, "solution").items():
        _, answers = names_checked(solution)
        wrapped = "\n".join(
            f"{answer} = _as_lists({answer}) if callable({answer}) else _listed({answer})"
            for answer in answers)
        told = feedback(kernel, stubs[name], f"{without_check(solution)}\n{wrapped}", checks[name])
        if not told.startswith("Right."):
            failures.append(f"{name}: {told}")
    assert not failures, "\n".join(failures)


def named_causes(chapter: str) -> list[re.Pattern]:
    """Return the causes that the checks of a chapter name: the sentences that are keys of dicts."""
    path = Path(exercises.__file__).parent / "chapters" / f"{chapter}.py"
    keys = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Dict):
            keys += node.keys
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            keys.append(node.slice)
    texts = ["\0".join(part.value if isinstance(part, ast.Constant) else ""
                       for part in getattr(key, "values", [key]))
             for key in keys if isinstance(key, ast.JoinedStr)
             or (isinstance(key, ast.Constant) and isinstance(key.value, str))]
    return [re.compile(re.sub("\0+", ".{1,40}", re.escape(text))) for text in texts
            if text.endswith((".", "?"))]


@each_chapter
def test_wrong_answers_are_refused_by_name(chapter, kernel):
    """By their own name, or by none: any other cause in the feedback is a failure."""
    stubs, checks = by_exercise(chapter, "exercise"), by_exercise(chapter, "check")
    failures, causes = [], named_causes(chapter)
    for name, answers in PLANTED[chapter].items():
        for mistake, (answer, phrase) in answers.wrong.items():
            source = source_of(answer, answers.base)
            told = feedback(kernel, stubs[name], source, checks[name])
            if not told.startswith("Not yet: ") or (phrase or "") not in told:
                failures.append(f"{name}, {mistake}: {told!r}, expected {phrase!r}")
            for said in filter(None, (cause.search(told) for cause in causes)):
                if not (phrase and phrase in said.group()):
                    failures.append(f"{name}, {mistake}: {told!r} names another cause")
    assert not failures, "\n".join(failures)


def feedback_once_begun(kernel: Kernel, stub: str, answer: str, check: str) -> str:
    """Return the feedback on an answer that was stopped in itself, not before it was called."""
    for limit in (0.1, 1.0, exercises.TIME_LIMIT):  # seconds: some tests compute something first
        started = f"exercises.TIME_LIMIT, exercises.begun = {limit}, False\n{stub}"
        told = feedback(kernel, started, answer, f"{check}\nprint(exercises.begun)")
        if told.endswith(" True"):
            break
    kernel.run(f"exercises.TIME_LIMIT = {exercises.TIME_LIMIT}")
    return told


@each_chapter
def test_answers_that_are_none(chapter, kernel):
    stubs, checks = by_exercise(chapter, "exercise"), by_exercise(chapter, "check")
    failures = []
    for name, check in checks.items():
        answers = names_checked(check)[1]
        callables = f"def {answers[0]}" in stubs[name] or f"class {answers[0]}" in stubs[name]
        for mistake, template in (GENERIC if callables else GENERIC_VALUES).items():
            source = "\n".join(template.format(f=answer) for answer in answers
                               if answer.isidentifier())
            judged = feedback_once_begun if mistake == "never ends" else feedback
            told = judged(kernel, stubs[name], source, check)
            stopped = "stopped after" in told
            if not told.startswith("Not yet: ") or stopped != (mistake == "never ends"):
                failures.append(f"{name}, {mistake}: {told!r}")
    assert not failures, "\n".join(failures)


HALVES = [fractions.Fraction(1, 2), decimal.Decimal("1.5")]


@pytest.mark.parametrize("given", [
    [np.float64(0.5), 1.5], [np.array(0.5), np.array(1.5)], HALVES, np.array(HALVES),
    [torch.tensor(0.5, requires_grad=True), torch.tensor(1.5)], [torch.tensor(0.5), 1.5],
    (0.5, 1.5)], ids=str)
def test_what_numpy_would_make_one_array_is_one_array_and_a_pair_where_one_is_due(given):
    assert np.array_equal(compare.array(given), [0.5, 1.5])
    compare.compare(given, [0.5, 1.5])
    first, second = compare.parts(compare.to_numpy(given), "first", "second")
    assert (float(first), float(second)) == (0.5, 1.5)


def test_rows_of_an_array_may_stand_in_a_list_and_parts_need_not_be_alike():
    rows = [torch.ones(3, requires_grad=True), torch.zeros(3)]
    assert compare.to_numpy(rows).shape == (2, 3)
    assert compare.to_numpy([rows, rows]).shape == (2, 2, 3)
    first, second = compare.parts(compare.to_numpy([np.ones(3), 2.0]), "first", "second")
    assert first.shape == (3,) and second == 2
    with pytest.raises(compare.NotYet, match="not alike"):
        compare.array([np.ones(3), 2.0])
    for wrong, reason in ((([1.0], 2.0), "not alike"), (((1.0, 2.0), (1.0,)), "not alike"),
                          ((True, 1.0), "booleans among numbers"), (({}, 1.0), "a dict")):
        with pytest.raises(compare.NotYet, match=reason):
            compare.array(wrong)
    # a float32 part has been rounded, so that the whole is judged as float32 is
    assert compare.to_numpy([np.float32(1 / 3), 1 / 3]).dtype == np.float32
    for wrong in (["a"], [None], [1j], [..., 1.0]):
        with pytest.raises(compare.NotYet):
            compare.to_numpy(wrong)


@pytest.mark.parametrize("outer", [list, tuple])
@pytest.mark.parametrize("inner", [list, tuple, np.array, torch.tensor])
def test_pairs_in_a_list_or_tuple_are_one_array(outer, inner):
    rows = outer(inner(row) for row in ((1.0, 2.0), (3.0, 4.0), (5.0, 6.0)))
    assert np.array_equal(compare.array(rows), [[1, 2], [3, 4], [5, 6]])
    assert compare.array(outer([rows, rows])).shape == (2, 3, 2)
    compare.compare(rows, [[1, 2], [3, 4], [5, 6]])
    assert len(compare.parts(compare.to_numpy(rows), "one", "two", "three")) == 3
    with pytest.raises(compare.NotYet, match="not alike"):
        compare.array(outer([rows, rows[:2]]))


def fixed(n, rng):
    return np.random.default_rng(0).normal(size=n)


def globally(n, rng):
    return rng.normal(size=n) + np.random.normal(size=n)  # noqa: NPY002, the mistake itself


def the_same_in_each_call(n, rng):
    rng.normal(size=n)
    return np.random.default_rng(0).normal(size=n)


def from_a_copy(n, rng):
    return copy.deepcopy(rng).normal(size=n)


@pytest.mark.parametrize("answer, message", [
    (fixed, "where it was before"), (from_a_copy, "where it was before"),
    (globally, "different results"), (the_same_in_each_call, "exactly the same numbers")])
def test_an_answer_must_draw_with_the_generator_that_it_gets(answer, message):
    with pytest.raises(compare.NotYet, match=message):
        compare.ask_drawing(answer, n=3, rng=np.random.default_rng(1))


def test_an_answer_may_seed_torch_with_the_generator_or_draw_from_its_children():
    def seeded(n, rng):
        torch.manual_seed(int(rng.integers(2**31)))
        return torch.randn(n)

    def child(n, rng):
        return rng.spawn(1)[0].normal(size=n)

    for answer in (seeded, child, lambda n, rng: rng.normal(size=n)):
        first, second = compare.ask_drawing(answer, n=3, rng=np.random.default_rng(1))
        assert first.shape == second.shape == (3,)


def test_every_framework_is_tried_with_the_generator_in_the_same_state():
    def answer(x, rng):
        noise = rng.normal()  # before NumPy's arrays are found to be wrong
        return x.relu() + noise

    got = compare.ask(answer, x=np.ones(2), rng=np.random.default_rng(1))
    assert np.allclose(got, 1 + np.random.default_rng(1).normal())


@pytest.mark.parametrize("answer, message", [
    (lambda seed: 1.0, "is the seed used"),
    (lambda seed: np.random.default_rng().random(), "the same seed")])
def test_an_answer_must_use_its_seed(answer, message):
    with pytest.raises(compare.NotYet, match=message):
        compare.ask_seeded(answer, seed=3)


def told(got, expected, **options):
    with pytest.raises(compare.NotYet) as problem:
        compare.compare(np.array(got), np.array(expected), **options)
    return str(problem.value)


def test_a_cause_is_named_to_rounding_and_only_if_no_other_one_explains_the_numbers():
    twice = {"This is twice it.": 2.0, "This is its square.": 4.0}
    assert "twice" in told(2.0, 1.0, mistakes=twice)
    assert "This is" not in told(2.001, 1.0, mistakes=twice)
    assert "This is" not in told(2.1, 1.0, mistakes=twice, error=0.2, relative=0.2)
    assert "This is" not in told(4.0, 2.0, mistakes={"This is twice it.": 4.0,
                                                     "This is its square.": 4.0})
    assert "twice" in told(2.001, 1.0, mistakes=twice, named_within=0.01)


def test_a_pattern_is_told_to_rounding():
    right = np.array([1.0, 2.0, 4.0])
    assert "summand, +0.5" in told(right + 0.5, right)
    assert "factor, 3" in told(3 * right, right)
    assert "every sign" in told(-right, right)
    noisy = right + 0.5 + np.array([1e-3, 0, -1e-3])
    assert "same" not in told(noisy, right) and "same" not in told(noisy, right, error=0.01)
    assert "in 1 of 3 values" in told(right + np.array([0, 0, 0.1]), right)


def test_booleans_are_compared_as_numbers_are():
    right = np.array([True, False, True])
    compare.compare(right.tolist(), right)
    compare.compare([1.0, 0.0, 1.0], right)
    assert "in 2 of 3 values" in told([True, True, False], right)
    assert "all of them" in told(~right, right, mistakes={"They are all of them wrong.": ~right})
    assert "got booleans" in told(right, [1.0, 0.0, 1.0])


def test_power_of_the_frechet_floor_is_granted_five_standard_errors(monkeypatch):
    """Of a floor of 100 distances and one of 140 each, found by drawing them again and again."""
    from genmodels.exercises.chapters import digits

    granted = []
    monkeypatch.setattr(digits, "compare", lambda *a, error, **k: granted.append(error))

    def drawn(n, rng, pairs):
        return np.array([digits.frechet(rng.normal(size=(n, digits.FEATURES)),
                                        rng.normal(size=(n, digits.FEATURES)))
                         for _ in range(pairs)])

    digits.frechet_floor(lambda n, rng: drawn(n, rng, digits.PAIRS), -1.0,
                         ["not decided", "A", "B"], "copies")
    rng = np.random.default_rng(0)
    floors = {}
    for n in (50, 800):  # the middle one of three at equal distances has no part in a slope
        pool = drawn(n, rng, 1000)
        floors[n] = [np.log(rng.choice(pool, (4000, pairs)).mean(axis=1)) for pairs in (100, 140)]
    answer, reference = ((floors[800][i] - floors[50][i]) / np.log(16) for i in range(2))
    # the spread of a pool of 1000 is known to 2.5 %, that of the differences to 2 %
    assert granted == [pytest.approx(5 * np.std(answer - reference), rel=0.1)]


@pytest.mark.parametrize("name", ["kl-nonnegatve-terms", "", None, 3, ["kl-nonnegative-terms"]])
def test_a_name_that_does_not_exist(name, capsys):
    exercises.check(name, 1.0)
    assert "no exercise named" in capsys.readouterr().out


def test_feedback_is_wrapped_between_words(capsys):
    def wrong(log_q, log_p):
        return log_q - log_p

    exercises.check("kl-nonnegative-terms", wrong)
    printed = capsys.readouterr().out
    assert printed.count("\n") > 1 and max(map(len, printed.splitlines())) <= 80
    assert printed.split() == exercises.evaluate("kl-nonnegative-terms", wrong).text.split()


def test_a_misspelt_name_gets_a_hint(capsys):
    exercises.check("kl-nonnegatve-terms", 1.0)
    assert "kl-nonnegative-terms" in capsys.readouterr().out


@pytest.mark.parametrize("answers", [(), (np.sin, np.sin)])
def test_a_wrong_number_of_answers(answers, capsys):
    exercises.check("kl-nonnegative-terms", *answers)
    assert "needs 1 answer after the name" in " ".join(capsys.readouterr().out.split())


ENDLESS = """
import signal
from genmodels import exercises

def endless(log_q, log_p):
    while True:
        pass

signal.signal(signal.SIGINT, signal.SIG_IGN)
print(exercises.evaluate("kl-nonnegative-terms", endless, limit=0.5).status)
assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
"""


def test_time_limit_holds_where_interrupts_are_ignored():
    """As in a process that a shell has started in the background."""
    done = subprocess.run([sys.executable, "-c", ENDLESS], timeout=60, capture_output=True,
                          text=True)
    assert done.stdout == "time-out\n" and done.returncode == 0, done.stderr


def test_a_student_who_interrupts_is_obeyed():
    def interrupted(log_q, log_p):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        exercises.check("kl-nonnegative-terms", interrupted)


@pytest.mark.parametrize("value", ["AB", "", "E", 1, None])
def test_a_choice_is_one_of_the_names(value):
    assert compare.chosen("B", "ABCD", "wasted") == "B"
    with pytest.raises(compare.NotYet, match="`wasted` must be one of 'A', 'B', 'C', 'D'"):
        compare.chosen(value, "ABCD", "wasted")
