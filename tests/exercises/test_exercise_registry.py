"""The table of exercises agrees with the checks, and feedback survives reloads."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import genmodels
from genmodels import exercises
from genmodels.exercises import chapters, registry

ANSWERS = """
import importlib, os, sys
import numpy as np
import genmodels.exercises.chapters.kl_divergence
import genmodels.exercises
import genmodels.exercises.compare
import genmodels.exercises.registry
from genmodels.exercises import evaluate  # of before the reload, as a notebook has imported it

def right(log_q, log_p):
    return np.exp(log_p - log_q) - 1 - (log_p - log_q)

def told(evaluate):
    return [evaluate(*answer) for answer in [
        ("kl-nonnegative-terms", right),
        ("kl-nonnegative-terms", lambda log_q, log_p: -right(log_q, log_p)),  # refused by `compare`
        ("kl-heavy-tails", "neither", 1.0, 0.1),  # refused by the check itself
        ("kl-nonnegative-terms", lambda log_q, log_p: "seven"),  # refused inside `ask`
        ("kl-nonnegative-terms", lambda log_q, log_p: (log_q, ...)),  # a stub inside a function
        ("elbo-bits", ...),  # of a chapter that was not imported
        ("kl-nonnegatve-terms", right),  # no exercise, but near one
    ]]
"""
COMPARED = """
from genmodels.exercises.chapters import load
assert [(each.status, each.text) for each in told(evaluate)] == before
assert [(each.status, each.text) for each in told(genmodels.exercises.evaluate)] == before
assert len(load()) == {number}
print("the same")
"""
BEFORE = """
before = [(each.status, each.text) for each in told(evaluate)]
assert [status for status, _ in before] == [
    "right", "not yet", "not yet", "not yet", "stub", "stub", "error"], before
"""
MODULES = ["genmodels.exercises", "genmodels.exercises.compare", "genmodels.exercises.registry",
           "genmodels.exercises.chapters", "genmodels.exercises.chapters.kl_divergence"]
RELOADS = {
    **{f"{module} reloaded": f"importlib.reload({module})" for module in MODULES},
    **{f"{module} imported anew": f"del sys.modules['{module}']\nimport {module}"
       for module in MODULES},
    "all reloaded": "\n".join(f"importlib.reload({module})" for module in MODULES),
    "all reloaded, in the other order": "\n".join(
        f"importlib.reload({module})" for module in reversed(MODULES)),
    "all imported anew": "for module in list(sys.modules):\n"
                         "    if module.startswith('genmodels.exercises'):\n"
                         "        del sys.modules[module]\n"
                         "import genmodels.exercises.registry",
    "twice": "importlib.reload(genmodels.exercises.compare)\ntold(evaluate)\n"
             "importlib.reload(genmodels.exercises)\n"
             "importlib.reload(genmodels.exercises.compare)",
}
# A maintainer, or a student after `git pull`: files change while a notebook is open.
AUTORELOADED = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.history_manager.enabled = False

def run(source):
    shell.run_cell(source, store_history=False).raise_error()

run("%load_ext autoreload")
run("%autoreload {mode}")
run({answers!r})
run({before!r})
for name in {modules}:
    path = shell.user_ns["sys"].modules[name].__file__
    with open(path, "a") as file:
        file.write("\\n\\nfor ADDED in range(1):\\n    pass\\n")
    shell.user_ns["os"].utime(path, (2e9, 2e9))
    run({compared!r})
    assert hasattr(shell.user_ns["sys"].modules[name], "ADDED")
"""


def run(source: str, **environment: str) -> None:
    """Run a program in a fresh process; its last line of output must be `the same`."""
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True,
                          timeout=240, env=os.environ | environment)
    assert done.stdout.endswith("the same\n"), done.stdout + done.stderr


# One process imports and answers; each reload then happens in a fork of it, which writes to a file.
FORKED = """
for number, reload in enumerate({reloads!r}):
    if not os.fork():
        signal.alarm(120)  # a time-out would end its parent alone
        os.dup2(os.open(f"{{number}}.txt", os.O_CREAT | os.O_WRONLY), 1)
        os.dup2(1, 2)
        exec(reload)
        exec({compared!r})
        sys.exit()
    os.wait()
print("the same")
"""


@pytest.fixture(scope="module")
def after_reloads(tmp_path_factory):
    """What was printed after each reload, by its name."""
    folder = tmp_path_factory.mktemp("reloads")
    forked = FORKED.format(reloads=list(RELOADS.values()),
                           compared=COMPARED.format(number=len(registry.CHAPTER_OF)))
    run("\n".join([f"import os, signal\nos.chdir({str(folder)!r})", ANSWERS, BEFORE, forked]))
    return {name: (folder / f"{number}.txt").read_text(encoding="utf-8")
            for number, name in enumerate(RELOADS)}


@pytest.mark.parametrize("reload", RELOADS)
def test_feedback_is_the_same_after_a_reload(reload, after_reloads):
    assert after_reloads[reload] == "the same\n"


@pytest.mark.parametrize("mode", ["2", "3"])
def test_feedback_is_the_same_after_an_autoreload(tmp_path, mode):
    source = Path(genmodels.__file__).parent
    shutil.copytree(source, tmp_path / "genmodels",
                    ignore=shutil.ignore_patterns("weights", "__pycache__"))
    compared = COMPARED.format(number=len(registry.CHAPTER_OF))
    run(AUTORELOADED.format(mode=mode, modules=MODULES, answers=ANSWERS, before=BEFORE,
                            compared=compared),
        PYTHONPATH=str(tmp_path), IPYTHONDIR=str(tmp_path))


def test_every_module_of_checks_has_the_exercises_of_the_table():
    folder = Path(exercises.__file__).parent / "chapters"
    assert {path.stem for path in folder.glob("[!_]*.py")} == set(registry.BY_CHAPTER)
    assert len(registry.CHAPTER_OF) == sum(map(len, registry.BY_CHAPTER.values()))
    for chapter, names in registry.BY_CHAPTER.items():
        module = chapters.tests_of(chapter)
        assert module.__name__ == registry.module_of(names[0])
        assert module.__all__ == sorted(map(registry.function_of, names))
        found = [(task.name, task.chapter) for task in map(chapters.find, names)]
        assert found == [(name, chapter) for name in names]


def test_the_first_answer_imports_the_checks_of_its_own_chapter_alone():
    run("import sys\nfrom genmodels.exercises import evaluate\nevaluate('elbo-bits', ...)\n"
        "evaluate('elbo-bit', ...)\n"
        "found = [name for name in sys.modules if name.startswith('genmodels.exercises.chapters.')]"
        "\nassert found == ['genmodels.exercises.chapters.digits'], found\nprint('the same')")


@pytest.mark.parametrize("settings", [
    {"kind": "guess"}, {"difficulty": 4}, {"name": "kl-nonnegatve-terms"}], ids=str)
def test_what_is_no_exercise_is_refused(settings):
    given = {"name": "kl-nonnegative-terms", "kind": "build", "difficulty": 1, "minutes": 1,
             "right": ""}
    with pytest.raises(ValueError, match=f"{next(iter(settings))} must be"):
        registry.exercise(**given | settings)


def test_an_unknown_chapter_has_no_tests():
    with pytest.raises(ValueError, match="chapter must be one with exercises, got 'appendix'"):
        chapters.tests_of("appendix")


def test_a_test_must_stand_where_it_is_looked_for():
    register = registry.exercise("kl-nonnegative-terms", kind="build", difficulty=1, minutes=1,
                                 right="")

    def kl_nonnegative_terms(answer):  # of another module than the exercise of this name
        pass

    with pytest.raises(ValueError, match=r"genmodels\.exercises.*kl_nonnegative_terms, got"):
        register(kl_nonnegative_terms)
    kl_nonnegative_terms.__module__ = "genmodels.exercises.chapters.kl_divergence"
    kl_nonnegative_terms.__qualname__ = "another"  # another function of the same module
    with pytest.raises(ValueError, match=r"got genmodels\.exercises.*another"):
        register(kl_nonnegative_terms)
