"""The registry of exercises survives reloads, by hand and by `%autoreload`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from genmodels import exercises

ANSWERS = """
import importlib, os, sys
import numpy as np
import genmodels.checks.kl_divergence
import genmodels.exercises
from genmodels.exercises import evaluate  # of before the reload, as a notebook has imported it

def right(mean, log_var):
    return 0.5 * np.sum(np.exp(log_var) + mean**2 - 1 - log_var, axis=-1)

def told(evaluate):
    return [evaluate(*answer) for answer in [
        ("kl-diagonal", right),
        ("kl-diagonal", lambda mean, log_var: -right(mean, log_var)),  # refused by `compare`
        ("kl-heavy-tails", "neither", 1.0, 0.1),  # refused by the check itself
        ("kl-diagonal", lambda mean, log_var: "seven"),  # refused inside `ask`
        ("kl-diagonal", lambda mean, log_var: (mean, ...)),  # a stub inside a function
        ("elbo-bits", ...),  # of a chapter that was not imported
        ("kl-diagnoal", right),  # no exercise, but near one
    ]]
"""
COMPARED = """
assert [(each.status, each.text) for each in told(evaluate)] == before
assert [(each.status, each.text) for each in told(genmodels.exercises.evaluate)] == before
assert len(genmodels.exercises.load()) == {number}
print("the same")
"""
BEFORE = """
before = [(each.status, each.text) for each in told(evaluate)]
assert [status for status, _ in before] == [
    "right", "not yet", "not yet", "not yet", "stub", "stub", "error"], before
"""
RELOADS = {
    "the exercises": "importlib.reload(genmodels.exercises)",
    "the checks": "importlib.reload(genmodels.checks.kl_divergence)",
    "both": "importlib.reload(genmodels.checks.kl_divergence)\n"
            "importlib.reload(genmodels.exercises)",
    "twice": "importlib.reload(genmodels.exercises)\ntold(evaluate)\n"
             "importlib.reload(genmodels.exercises)",
    "imported anew": "del sys.modules['genmodels.exercises']\nimport genmodels.exercises",
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
for name in ("exercises", "checks.kl_divergence"):
    path = shell.user_ns["sys"].modules["genmodels." + name].__file__
    with open(path, "a") as file:
        file.write("\\n\\nfor ADDED in range(1):\\n    pass\\n")
    shell.user_ns["os"].utime(path, (2e9, 2e9))
    run({compared!r})
    assert hasattr(shell.user_ns["sys"].modules["genmodels." + name], "ADDED")
"""


def run(source: str, **environment: str) -> None:
    """Run a program in a fresh process; its last line of output must be `the same`."""
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True,
                          timeout=240, env=os.environ | environment)
    assert done.stdout.endswith("the same\n"), done.stdout + done.stderr


@pytest.mark.parametrize("reload", RELOADS.values(), ids=RELOADS)
def test_feedback_is_the_same_after_a_reload(reload):
    compared = COMPARED.format(number=len(exercises.load()))
    run("\n".join([ANSWERS, BEFORE, reload, compared]))


@pytest.mark.parametrize("mode", ["2", "3"])
def test_feedback_is_the_same_after_an_autoreload(tmp_path, mode):
    source = Path(exercises.__file__).parent
    shutil.copytree(source, tmp_path / "genmodels",
                    ignore=shutil.ignore_patterns("weights", "__pycache__"))
    compared = COMPARED.format(number=len(exercises.load()))
    run(AUTORELOADED.format(mode=mode, answers=ANSWERS, before=BEFORE, compared=compared),
        PYTHONPATH=str(tmp_path), IPYTHONDIR=str(tmp_path))


def test_two_exercises_of_one_name_are_refused(monkeypatch):
    monkeypatch.setattr(exercises, "EXERCISES", dict(exercises.load()))
    register = exercises.exercise("kl-diagonal", kind="build", difficulty=1, minutes=1, right="")

    def kl_diagonal(answer):  # of another module than the exercise of this name
        pass

    with pytest.raises(ValueError, match="registered in kl_divergence and again in"):
        register(kl_diagonal)
    kl_diagonal.__module__ = exercises.EXERCISES["kl-diagonal"].test.__module__
    kl_diagonal.__qualname__ = "another"  # another function of the same module
    with pytest.raises(ValueError, match="registered in kl_divergence and again in"):
        register(kl_diagonal)
