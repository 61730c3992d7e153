"""Processes of the grader that start at once: forks of one that has imported it and all checks.

A fresh process takes two seconds for these imports, and fifty tests grade a submission. A fork is a
process of its own all the same, with what it changes, its limits and its end.
"""

import multiprocessing
import os
import subprocess
import sys
from multiprocessing.connection import Connection

from genmodels import exercises
from genmodels.exercises import grade, registry

__all__ = ["Fork"]

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    ["genmodels.exercises.grade", *sorted(set(map(registry.module_of, registry.CHAPTER_OF)))])


def work(job: Connection, report: Connection, folder: str, environment: dict[str, str],
         time_limit: float) -> None:
    """Do as a fresh process does that `grade.started` has started."""
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, pipe in enumerate((job, report)):
        os.dup2(pipe.fileno(), number)
        pipe.close()
    sys.stdin = os.fdopen(0, encoding="utf-8")
    exercises.TIME_LIMIT = time_limit
    grade.work()


class Fork:
    """What `grade` asks of a `subprocess.Popen`."""

    def __init__(self, folder: str, environment: dict[str, str], *,
                 time_limit: float = exercises.TIME_LIMIT) -> None:
        (job, ours), (theirs, report) = FORKS.Pipe(duplex=False), FORKS.Pipe(duplex=False)
        self.process = FORKS.Process(target=work,
                                     args=(job, report, folder, environment, time_limit))
        self.process.start()
        self.pid = self.process.pid
        self.stdin = os.fdopen(os.dup(ours.fileno()), "w", encoding="utf-8")
        self.stdout = os.fdopen(os.dup(theirs.fileno()), encoding="utf-8", errors="replace")
        for pipe in (job, ours, theirs, report):
            pipe.close()

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode

    def wait(self, timeout: float | None = None) -> None:
        self.process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired("a fork", timeout)
