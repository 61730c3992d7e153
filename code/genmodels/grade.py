"""Grade submitted notebooks: a row for each exercise of their chapter.

    python -m genmodels.grade NOTEBOOK ... [--csv grades.csv]

Each notebook runs at the quick budget in a fresh process and an empty temporary folder, with limits
on time and memory, without its solution cells. The calls of `check` are judged by the grader's own
copy of the checks; what a notebook prints counts for nothing. If a cell ends the process or takes
too long, its exercise loses its mark, and the notebook runs again without that cell. The exit code
is 0 if every notebook was graded, whatever its marks.

The grader is no security sandbox. The code of a submission runs with your rights: it can read and
delete your files, use the network, and, if it is written for that, deceive the grader from within
its process. Memory is limited on Linux only. Grade work of people whom you do not trust in a
container that holds nothing else:

    docker run --rm --network none --memory 8g --pids-limit 1024 --user 1000 \\
        --volume "$PWD/submissions:/submissions:ro" IMAGE \\
        sh -c "python -m genmodels.grade /submissions/*.ipynb"

where IMAGE has this course installed.
"""

import argparse
import ast
import contextlib
import csv
import json
import os
import queue
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genmodels import exercises

__all__ = ["Limits", "grade", "main"]

SECTION = "## Exercises"  # what stands before it belongs to no exercise
COLUMNS = ["notebook", "chapter", "exercise", "status", "feedback"]


@dataclass(frozen=True)
class Limits:
    """Limits of one notebook: seconds for a cell, seconds in all, and bytes of memory."""

    cell_time: float = 120.0
    time: float = 1200.0
    memory: int = 8 * 2**30


@dataclass(frozen=True)
class Submission:
    """The code cells of a notebook without solutions, and what they have to do with exercises."""

    cells: list[str]
    owners: list[str | None]  # the exercise that each cell belongs to
    expected: list[str]  # the exercises of the chapter, in the order of the checks


@dataclass
class Attempt:
    """What one run of a notebook told: feedback by exercise, and the cell in which it ended."""

    rows: dict[str, tuple[str, str]] = field(default_factory=dict)
    stopped_in: int | None = None
    reason: tuple[str, str] = ("error", "")
    done: bool = False


# Reading a notebook -----------------------------------------------------------------------------


def read(path: Path) -> Submission:
    """Return what is to be run of a notebook.

    Raises:
        ValueError: for a file that is no notebook, or that has no check of an exercise.
    """
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        all_cells = [(cell["cell_type"], "".join(cell["source"]),
                      cell.get("metadata", {}).get("tags", [])) for cell in notebook["cells"]]
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError,
            AttributeError) as error:
        raise ValueError(f"{path} cannot be read as a notebook: {error}") from None
    cells, inside = [], []
    in_section = False
    for kind, source, tags in all_cells:
        in_section |= kind == "markdown" and SECTION in source.splitlines()
        untagged = source.startswith("# Solution") and "exercise" not in tags
        if kind == "code" and "solution" not in tags and not untagged:
            cells.append(source)
            inside.append(in_section and "exercise-setup" not in tags)
    checked = [names_checked(source) for source in cells]
    chapters = [exercises.EXERCISES[name].chapter for names in checked for name in names]
    if not chapters:
        raise ValueError(f"{path} has no check of an exercise of this course")
    chapter = max(set(chapters), key=chapters.count)
    found = [name for names in checked for name in names]
    expected = list(dict.fromkeys(
        [name for name in found if exercises.EXERCISES[name].chapter == chapter]
        + [name for name, task in exercises.EXERCISES.items() if task.chapter == chapter]))
    owners: list[str | None] = [None] * len(cells)
    following = None
    for index in reversed(range(len(cells))):
        following = checked[index][0] if checked[index] else following
        owners[index] = following if inside[index] else None
    return Submission(cells, owners, expected)


def names_checked(source: str) -> list[str]:
    """Return the exercises that a cell checks."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return []
    return [node.args[0].value for node in ast.walk(tree) if is_check(node)]


def is_check(node: ast.AST) -> bool:
    """Return whether a node is check("name", …) with the name of an exercise."""
    return (isinstance(node, ast.Call) and bool(node.args)
            and isinstance(node.args[0], ast.Constant)
            and getattr(node.func, "id", getattr(node.func, "attr", "")) == "check"
            and node.args[0].value in exercises.EXERCISES)


# Grading, in the process of the lecturer --------------------------------------------------------


def grade(path: Path, limits: Limits) -> tuple[list[list[str]], bool]:
    """Run a notebook and return its rows, and whether it was graded.

    Args:
        path: the notebook.
        limits: on time and memory.

    Returns:
        A row of `COLUMNS` for each exercise of the chapter; and True if the notebook was run to
        its end, but for cells that were left out after they had ended the process or taken too
        long.

    Raises:
        ValueError: for a file that is no notebook, or that has no check of an exercise.
    """
    submission = read(path)
    lost: dict[str, tuple[str, str]] = {}
    skipped: set[int] = set()
    end = time.monotonic() + limits.time
    while True:
        attempt = run(submission, skipped, limits, end)
        if attempt.done or attempt.stopped_in is None or time.monotonic() > end:
            break
        skipped.add(attempt.stopped_in)
        owner = submission.owners[attempt.stopped_in]
        if owner is not None:
            lost.setdefault(owner, attempt.reason)
    missing = ("error", "its check is missing, or was not reached") if attempt.done else (
        attempt.reason)
    rows = []
    for name in submission.expected:
        status, text = lost.get(name) or attempt.rows.get(name, missing)
        rows.append([str(path), exercises.EXERCISES[name].chapter, name, status, text])
    return rows, attempt.done


def run(submission: Submission, skipped: set[int], limits: Limits, end: float) -> Attempt:
    """Run a notebook once, without some cells, in a fresh process and a temporary folder."""
    token = secrets.token_hex(16)
    job = {"cells": submission.cells, "skipped": sorted(skipped), "memory": limits.memory,
           "token": token}
    attempt, lines = Attempt(), queue.Queue()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        environment = os.environ | {"GENMODELS_BUDGET": "quick", "MPLBACKEND": "agg",
                                    "IPYTHONDIR": folder, "PYTHONSAFEPATH": "1"}
        process = subprocess.Popen([sys.executable, "-m", "genmodels.grade", "--worker"],
                                   cwd=folder, env=environment, stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                   start_new_session=True, text=True, encoding="utf-8",
                                   errors="replace")

        def listen() -> None:
            for line in process.stdout:
                lines.put(line)
            lines.put(None)

        threading.Thread(target=listen, daemon=True).start()
        try:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps(job))
                process.stdin.close()
            follow(attempt, lines, token, submission.owners, limits.cell_time, end)
        finally:
            kill(process)
    if not attempt.done and attempt.reason == ("error", ""):
        code = process.returncode
        how = f"signal {-code}" if code and code < 0 else f"exit code {code}"
        attempt.reason = ("error", f"the cell ended the process ({how})")
    return attempt


def follow(attempt: Attempt, lines: queue.Queue, token: str, owners: list[str | None],
           cell_time: float, end: float) -> None:
    """Read what the process of a notebook reports, until it is done, dies or takes too long."""
    while True:
        wait = min(cell_time, end - time.monotonic())
        try:
            line = lines.get(timeout=max(wait, 0.0))
        except queue.Empty:
            which = "the cell" if time.monotonic() < end else "the notebook"
            attempt.reason = ("time-out", f"{which} took longer than its limit")
            return
        if line is None:
            return
        try:
            message = json.loads(line)
            if message.pop("token") != token:
                continue
        except (ValueError, KeyError, TypeError, AttributeError):
            continue  # not from the grader
        match message:
            case {"begin": int(index)}:
                attempt.stopped_in = index
            case {"exercise": str(name), "status": str(status), "text": str(text)}:
                attempt.rows[name] = (status, text)
            case {"done": True}:
                attempt.done = True
                return


def kill(process: subprocess.Popen) -> None:
    """End a process and, where there are process groups, what it has started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()
    process.stdout.close()


# Running, in the process of the notebook --------------------------------------------------------


class Judged(ast.NodeTransformer):
    """Replace check("name", …) by a call of the judge, under a name that nobody can know."""

    def __init__(self, judge: str) -> None:
        self.judge = judge

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if is_check(node):
            node.func = ast.copy_location(ast.Name(self.judge, ast.Load()), node.func)
        return node


def work() -> None:
    """Run the cells of the job on standard input and report, a line of JSON for each event."""
    job = json.load(sys.stdin)
    report = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    token = job["token"]

    def tell(**message: Any) -> None:
        report.write(json.dumps({**message, "token": token}) + "\n")

    evaluate, changed = own_copy(), guarded()
    limit_memory(job["memory"])
    before = ""  # what the cell before raised: why an answer is not defined, or still the stub

    def judge(name: str, *answers: Any) -> None:
        tampered = changed()
        if tampered:
            feedback = exercises.Feedback("error", f"the notebook has replaced {tampered}")
        else:
            feedback = evaluate(name, *answers)
            if feedback.status == "stub" and before:
                feedback = exercises.Feedback("error", before)
        tell(exercise=name, status=feedback.status, text=feedback.text)

    from IPython.core.interactiveshell import InteractiveShell
    shell = InteractiveShell.instance()
    shell.history_manager.enabled = False
    hidden = f"_{secrets.token_hex(8)}"
    shell.ast_transformers.append(Judged(hidden))
    for index, source in enumerate(job["cells"]):
        if index in job["skipped"]:
            continue
        tell(begin=index)
        shell.user_ns[hidden] = judge
        result = shell.run_cell(source, store_history=False)
        error = result.error_before_exec or result.error_in_exec
        raised = f"{type(error).__name__}: {exercises.first_line(error)}" if error else ""
        for name in names_checked(source) if error else []:
            tell(exercise=name, status="error", text=before or raised)
        before = raised
    tell(done=True)


def own_copy() -> Callable[..., exercises.Feedback]:
    """Return `evaluate` of the modules loaded so far, and make notebooks import fresh ones."""
    import genmodels
    evaluate = exercises.evaluate
    for module in list(sys.modules):
        if module == "genmodels.exercises" or module.startswith("genmodels.checks"):
            del sys.modules[module]
    for name in ("exercises", "checks"):
        vars(genmodels).pop(name, None)
    return evaluate


def guarded() -> Callable[[], str]:
    """Return a function that names what has been replaced, of what the checks compute with."""
    watched = [module for name, module in sys.modules.items() if name.startswith(
        "genmodels.") or name in ("math", "numpy", "numpy.linalg", "scipy.special")]
    before = {(module, name): (value, getattr(value, "__code__", None))
              for module in watched for name, value in vars(module).items() if callable(value)}

    def changed() -> str:
        for (module, name), (value, code) in before.items():
            now = vars(module).get(name)
            if now is not value or getattr(now, "__code__", None) is not code:
                return f"{module.__name__}.{name}"
        return ""

    return changed


def limit_memory(size: int) -> None:
    """Limit the address space of this process, where the system can."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource
        resource.setrlimit(resource.RLIMIT_AS, (size, size))


# The command ------------------------------------------------------------------------------------


def table(rows: list[list[str]]) -> Iterator[str]:
    """Yield the lines of a table of rows, the feedback cut to fit."""
    shown = [[Path(row[0]).name, *row[2:4], row[4].splitlines()[0][:70] if row[4] else ""]
             for row in rows]
    widths = [max(len(row[i]) for row in shown) for i in range(3)]
    for row in shown:
        yield "  ".join(text.ljust(width) for text, width in zip(row, [*widths, 0])).rstrip()


def main(arguments: list[str] | None = None) -> int:
    """Grade the notebooks named on the command line, print the table and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m genmodels.grade", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", type=Path, metavar="NOTEBOOK")
    parser.add_argument("--csv", type=Path, help="write the rows to this file, too")
    parser.add_argument("--cell-time", type=float, default=Limits.cell_time, metavar="SECONDS",
                        help="limit for one cell (%(default)g)")
    parser.add_argument("--time", type=float, default=Limits.time, metavar="SECONDS",
                        help="limit for one notebook (%(default)g)")
    parser.add_argument("--memory", type=float, default=Limits.memory / 2**30, metavar="GIB",
                        help="limit for one notebook (%(default)g)")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    exercises.load()
    if given.worker:
        work()
        return 0
    if not given.notebooks:
        parser.error("name at least one notebook")
    limits = Limits(given.cell_time, given.time, int(given.memory * 2**30))
    rows, not_graded = [], []
    for path in given.notebooks:
        try:
            new, graded = grade(path, limits)
        except ValueError as error:
            not_graded.append(str(error))
            continue
        rows += new
        if not graded:
            not_graded.append(f"{path} was not run to its end")
        right = sum(row[3] == "right" for row in new)
        print("\n".join(table(new)), f"{path.name}: {right} of {len(new)} right", sep="\n",
              flush=True)
    if given.csv:
        with given.csv.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([COLUMNS, *rows])
    for problem in not_graded:
        print(f"Not graded: {problem}", file=sys.stderr)
    return 1 if not_graded else 0


if __name__ == "__main__":
    sys.exit(main())
