"""Grade submitted notebooks: a row for each exercise of their chapter.

    python -m genmodels.exercises.grade NOTEBOOK ... [--csv grades.csv]

Each notebook runs at the quick budget in a fresh process and an empty temporary folder, with limits
on time and memory. The calls of `check` are judged by the grader's own copy of the checks; what a
notebook prints counts for nothing. If an exercise is checked more than once, the last check counts.
If a cell ends the process or takes too long, its exercise loses its mark, and the notebook runs
again without that cell. Testing an answer may take half the limit of a cell, more than a check in
the student's notebook allows. The exit code is 0 if every notebook was graded, whatever its marks.

The course's solutions are not run: cells that are tagged as such or, where tags were lost, have the
ID or the text of a solution in the chapters. Every other cell is the student's, whatever it says.
What a notebook replaces does not reach the checks if it is a function or class of genmodels, math,
NumPy or SciPy, or a method or other attribute of a class of genmodels. Whatever else it changes
does: other packages, PyTorch, TensorFlow and Keras among them; the classes and objects of NumPy and
SciPy; constants; the default values of functions.

Commands to the system (`!…`, `%pip`, `%%bash`) are not run either, and a line `%…` that fails is
passed over; both are noted.

The grader is no security sandbox. The code of a submission runs with your rights: it can read and
delete your files, use the network, and, if it is written for that, deceive the grader from within
its process. Memory is limited on Linux only. Grade work of people whom you do not trust in a
container that holds nothing else:

    docker run --rm --network none --memory 8g --pids-limit 1024 --user 1000 \\
        --volume "$PWD/submissions:/submissions:ro" IMAGE \\
        sh -c "python -m genmodels.exercises.grade /submissions/*.ipynb"

where IMAGE has this course installed, in place, so that its chapters are found.
"""

import argparse
import ast
import builtins
import contextlib
import csv
import functools
import inspect
import json
import os
import queue
import re
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

try:
    import nbformat
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.core.magics.script import ScriptMagics
    from IPython.utils.text import LSString, SList
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(f"The grader needs {error.name}: install genmodels with its extra "
                              "`grade`, as in pip install \"./[grade]\"", name=error.name) from None

import genmodels
from genmodels import exercises
from genmodels.exercises.chapters import load
from genmodels.exercises.compare import first_line
from genmodels.exercises.registry import BY_CHAPTER, CHAPTER_OF

__all__ = ["Limits", "grade", "main"]

SECTION = "## Exercises"  # what stands before it belongs to no exercise
COLUMNS = ["notebook", "chapter", "exercise", "status", "feedback", "notes"]
CHAPTERS = Path(__file__).resolve().parents[3] / "chapters"  # where the course is a repository
RUN_PYTHON = ("time", "timeit", "prun")  # magics whose errors are those of the student's code
MOST_NOTES = 10
PROTECTED = ("genmodels", "math", "numpy", "scipy")  # packages whose functions the checks use
MISSING = object()  # stands for an attribute that is not there


@dataclass(frozen=True)
class Limits:
    """Limits of one notebook: seconds for a cell, seconds in all, and bytes of memory."""

    cell_time: float = 120.0
    time: float = 1200.0
    memory: int = 8 * 2**30


@dataclass(frozen=True)
class Cell:
    """A cell of a notebook, and what tells whose it is."""

    kind: str
    source: str
    tags: frozenset[str]
    identifier: str  # "" if it has none


@dataclass(frozen=True)
class Origin:
    """What a cell of the course is for: its tags, and the exercise that it belongs to."""

    tags: frozenset[str] = frozenset()
    exercise: str | None = None


@dataclass(frozen=True)
class Submission:
    """The code cells of a notebook without solutions, and what they have to do with exercises."""

    cells: list[str]
    owners: list[str | None]  # the exercise that each cell belongs to
    expected: list[str]  # the exercises of the chapter, in the order of the checks
    notes: list[str]


@dataclass
class Attempt:
    """What one run of a notebook told: feedback by exercise, and the cell in which it ended."""

    rows: dict[str, tuple[str, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    stopped_in: int | None = None
    judging: str | None = None  # the exercise whose answer was being tested
    reason: tuple[str, str] = ("error", "")
    done: bool = False


# Reading a notebook -----------------------------------------------------------------------------


def cells_of(path: Path) -> list[Cell]:
    """Return the cells of a notebook of any version, also of one that has lost all but its text.

    Raises:
        ValueError: for a file that is no notebook.
    """
    try:
        notebook = {"nbformat": 4, **json.loads(path.read_bytes())}  # UTF-8, or what a mark says
        for part in (notebook, *notebook.get("cells", ())):  # what nbformat is strict about
            part["metadata"] = part.get("metadata") or {}
            part |= {"outputs": [], "attachments": {}}
        return [Cell(cell.cell_type, "".join(cell.source),
                     frozenset(cell.metadata.get("tags") or ()),
                     str(cell.get("id") or cell.metadata.get("id") or ""))  # or: Colab
                for cell in nbformat.convert(nbformat.reader.reads(json.dumps(notebook)), 4).cells]
    except Exception as error:  # nbformat and its versions raise many
        raise ValueError(f"{path} must be a notebook, got what cannot be read as one: "
                         f"{first_line(error)}") from None


@functools.cache
def course(chapters: Path) -> dict[str, Origin]:
    """Return what the code cells of the chapters are for, by their IDs and by their text.

    Raises:
        ValueError: if there is no solution in the folder.
    """
    origins = {}
    for path in sorted(chapters.rglob("*.ipynb")):
        following = None
        for cell in reversed(cells_of(path)):
            if cell.kind == "code":
                following = (named(cell.source) or [following])[0]
                own = cell.tags & {"exercise", "check"}
                origin = Origin(cell.tags, following if own else None)
                origins |= {cell.identifier: origin, words(cell.source): origin}
    origins.pop("", None)  # neither an ID nor a text
    if not any("solution" in origin.tags for origin in origins.values()):
        raise ValueError(f"chapters must be the folder of the course's chapters with their "
                         f"solutions, got {chapters}")
    return origins


def words(source: str) -> str:
    """Return the text of a cell, whatever its white space."""
    return " ".join(source.split())


def named(source: str) -> list[str]:
    """Return the exercises whose names, in quotes, a cell contains."""
    return [name for name in re.findall(r"""["']([\w-]+)["']""", source)
            if name in CHAPTER_OF]


def read(path: Path, origins: dict[str, Origin]) -> Submission:
    """Return what is to be run of a notebook.

    Raises:
        ValueError: for a file that is no notebook, or that has no check of an exercise.
    """
    cells, inside, of_course, notes = [], [], [], []
    in_section = False
    for cell in cells_of(path):
        in_section |= cell.kind == "markdown" and SECTION in cell.source.splitlines()
        if cell.kind != "code":
            continue
        by_text = origins.get(words(cell.source))
        origin = origins.get(cell.identifier) or by_text or Origin()
        tags = cell.tags | origin.tags
        if "solution" in tags and "exercise" not in tags:
            if by_text is None:
                notes.append(f"not run, a solution that was changed: {cell.source.strip()[:60]!r}")
            continue
        cells.append(cell.source)
        inside.append(in_section and "exercise-setup" not in tags)
        of_course.append(origin.exercise)
    checked = [named(source) for source in cells]
    found = [name for names in (*checked, of_course) for name in names if name]
    chapters = [CHAPTER_OF[name] for name in found]
    if not chapters:
        raise ValueError(f"{path} must hold a check of an exercise of this course, got none")
    chapter = max(set(chapters), key=chapters.count)
    expected = list(dict.fromkeys(
        [name for name in found if CHAPTER_OF[name] == chapter] + [*BY_CHAPTER[chapter]]))
    owners, following = [], None
    for names, is_inside, known in list(zip(checked, inside, of_course))[::-1]:
        following = (names or [following])[0]
        owners.insert(0, known or (following if is_inside else None))
    return Submission(cells, owners, expected, notes)


# Grading, in the process of the lecturer --------------------------------------------------------


def grade(path: Path, limits: Limits, chapters: Path = CHAPTERS) -> tuple[list[list[str]], bool]:
    """Run a notebook and return its rows, and whether it was graded.

    Args:
        path: the notebook.
        limits: on time and memory.
        chapters: the folder of the course's chapters with their solutions.

    Returns:
        A row of `COLUMNS` for each exercise of the chapter, with the same notes in each; and True
        if the notebook was run to its end, but for cells that were left out after they had ended
        the process or taken too long.

    Raises:
        ValueError: for a file that is no notebook, or that has no check of an exercise; for a
            folder without solutions.
    """
    submission = read(path, course(chapters))
    lost: dict[str, tuple[str, str]] = {}
    skipped: set[int] = set()
    end = time.monotonic() + limits.time
    while True:
        attempt = run(submission, skipped, set(lost), limits, end)
        if attempt.done or attempt.stopped_in is None or time.monotonic() > end:
            break
        owner = attempt.judging
        if owner is None:
            skipped.add(attempt.stopped_in)
            owner = submission.owners[attempt.stopped_in]
        if owner is not None:
            lost.setdefault(owner, attempt.reason)
    missing = ("error", "its check is missing, or was not reached") if attempt.done else (
        attempt.reason)
    rows, notes = [], "\n".join(submission.notes + attempt.notes)
    for name in submission.expected:
        status, text = lost.get(name) or attempt.rows.get(name, missing)
        rows.append([str(path), CHAPTER_OF[name], name, status, text, notes])
    return rows, attempt.done


def run(submission: Submission, skipped: set[int], lost: set[str], limits: Limits,
        end: float) -> Attempt:
    """Run a notebook once in a fresh process and a temporary folder.

    Some cells are left out, and the answers to some exercises are not tested.
    """
    token = secrets.token_hex(16)
    job = {"cells": submission.cells, "skipped": sorted(skipped), "lost": sorted(lost),
           "memory": limits.memory, "answer_time": limits.cell_time / 2, "token": token}
    attempt, lines = Attempt(), queue.Queue()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        process = started(folder, os.environ | {
            "GENMODELS_BUDGET": "quick", "MPLBACKEND": "agg", "IPYTHONDIR": folder,
            "PYTHONSAFEPATH": "1"})

        def listen() -> None:
            for line in process.stdout:
                lines.put(line)
            lines.put(None)

        threading.Thread(target=listen, daemon=True).start()
        try:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps(job))
                process.stdin.close()
            follow(attempt, lines, token, limits.cell_time, end)
            if not attempt.done and attempt.reason == ("error", ""):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(1.0)  # it has closed the pipe, and is about to end
        finally:
            kill(process)
    if not attempt.done and attempt.reason == ("error", ""):
        code = process.returncode
        how = f"signal {-code}" if code and code < 0 else f"exit code {code}"
        attempt.reason = ("error", f"the cell ended the process ({how})")
    return attempt


def started(folder: str, environment: dict[str, str]) -> subprocess.Popen:
    """Start a fresh process in a folder: it does what `work` does."""
    return subprocess.Popen([sys.executable, "-m", "genmodels.exercises.grade", "--worker"],
                            cwd=folder, env=environment, stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                            start_new_session=True, text=True, encoding="utf-8",
                            errors="replace")


def follow(attempt: Attempt, lines: queue.Queue, token: str, cell_time: float,
           end: float) -> None:
    """Read what the process of a notebook reports, until it is done, dies or takes too long."""
    while True:
        wait = end - time.monotonic()
        if attempt.stopped_in is not None:  # the start of the process is no cell's time
            wait = min(wait, cell_time)
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
                attempt.stopped_in, attempt.judging = index, None
            case {"judging": str(name)}:
                attempt.judging = name
            case {"exercise": str(name), "status": str(status), "text": str(text)}:
                attempt.rows[name], attempt.judging = (status, text), None
            case {"note": str(note)}:
                attempt.notes.append(note)
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
    """Replace check("name", …) by a call of the judge, whatever `check` has become."""

    def __init__(self, judge: str) -> None:
        self.judge = judge

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if (node.args and getattr(node.func, "id", getattr(node.func, "attr", "")) == "check"
                and getattr(node.args[0], "value", None) in CHAPTER_OF):
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

    load()  # so that `protected` sees the checks of all chapters
    originals = protected()
    evaluate = own_copy()
    limit_memory(job["memory"])
    before = ""  # what the cell before raised: why an answer is not defined, or still the stub
    judged, noted = set(), set()

    def judge(name: str, *answers: Any) -> None:
        if not isinstance(name, str) or name not in CHAPTER_OF or name in job["lost"]:
            return
        tell(judging=name)
        with originals():
            feedback = evaluate(name, answers, job["answer_time"])
        if feedback.status == "stub" and before:
            feedback = exercises.Feedback("error", before)
        judged.add(name)
        tell(exercise=name, status=feedback.status, text=feedback.text)

    def note(text: str) -> None:
        text = text.strip()[:100]
        if text not in noted and len(noted) < MOST_NOTES:
            noted.add(text)
            tell(note=text)

    shell, streams = notebook_shell(note), (sys.stdout, sys.stderr)
    hidden = f"_{secrets.token_hex(8)}"  # a name that no notebook uses
    setattr(builtins, hidden, judge)
    shell.ast_transformers.append(Judged(hidden))
    for index, source in enumerate(job["cells"]):
        if index in job["skipped"]:
            continue
        tell(begin=index)
        sys.stdout, sys.stderr = streams  # IPython needs them
        with contextlib.suppress(Exception):  # of whatever the notebook has made of the module
            import genmodels.exercises as theirs  # again, where the notebook has removed it
            theirs.check = judge  # under any name
        result = shell.run_cell(source, store_history=False)
        error = result.error_before_exec or result.error_in_exec
        raised = f"{type(error).__name__}: {first_line(error)}" if error else ""
        for name in named(source) if error else []:
            if name not in judged:
                tell(exercise=name, status="error", text=before or raised)
        before = raised
    tell(done=True)


def notebook_shell(note: Callable[[str], None]) -> Any:
    """Return what runs cells: as in a notebook, but for what acts on the machine or a display."""
    class Shell(InteractiveShell):
        def system(self, cmd: str) -> None:
            note(f"not run: !{cmd}")

        system_piped = system_raw = system

        def getoutput(self, cmd: str, split: bool = True, depth: int = 0) -> list | str:
            self.system(cmd)
            return SList() if split else LSString()

        def enable_gui(self, gui: str | None = None) -> None:
            pass  # there is no display

        def run_line_magic(self, magic_name: str, line: str, _stack_depth: int = 1) -> Any:
            try:
                return super().run_line_magic(magic_name, line, _stack_depth + 1)
            except Exception as error:
                if magic_name in RUN_PYTHON:
                    raise
                note(f"passed over: %{magic_name} {line} ({first_line(error)})")

        def run_cell_magic(self, magic_name: str, line: str, cell: str) -> Any:
            if self.find_cell_magic(magic_name):
                return super().run_cell_magic(magic_name, line, cell)
            note(f"passed over: %%{magic_name} {line}")
            self.run_cell(cell, store_history=False).raise_error()

    ScriptMagics.shebang = lambda self, line, cell: note(f"not run: %%{line}")
    shell = Shell.instance()
    shell.history_manager.enabled = False
    return shell


def own_copy() -> Callable[[str, tuple, float], exercises.Feedback]:
    """Return `judge`, by name, of the modules as they are, and make notebooks import fresh ones."""
    tasks, judge = load(), exercises.judge
    for module in list(sys.modules):
        if module.split(".")[:2] == ["genmodels", "exercises"]:
            del sys.modules[module]
    vars(genmodels).pop("exercises", None)
    return lambda name, answers, limit: judge(tasks[name], answers, limit)


def protected() -> Callable[[], contextlib.AbstractContextManager]:
    """Return a context in which the functions and classes that the checks use are as they are now.

    These are the functions and classes in the modules of `PROTECTED` loaded so far, with the code
    of the functions, and all attributes of the classes of genmodels. The rest is what a notebook
    has made of it: other packages (PyTorch, TensorFlow, Keras), the classes and objects of NumPy
    and SciPy, constants, the defaults of functions.

    Afterwards a notebook has again what it has put in their place, a shim or a module reloaded,
    but for the code of functions.
    """
    watched = [module for name, module in sys.modules.items() if name.split(".")[0] in PROTECTED]
    before = [(module, {name: value for name, value in vars(module).items() if callable(value)})
              for module in watched]
    classes = {value for _, kept in before for value in kept.values()
               if isinstance(value, type) and value.__module__.startswith("genmodels.")}
    before += [(each, dict(vars(each))) for each in classes]
    codes = {function: function.__code__ for _, kept in before
             for function in map(underlying, kept.values()) if inspect.isfunction(function)}

    @contextlib.contextmanager
    def originals() -> Iterator[None]:
        replaced = []
        for owner, kept in before:
            now = vars(owner)
            changed = [name for name, value in kept.items() if now.get(name, MISSING) is not value]
            if owner in classes:
                changed += now.keys() - kept.keys()
            replaced += [(owner, name, now.get(name, MISSING)) for name in changed]
            for name in changed:
                put(owner, name, kept.get(name, MISSING))
        for function, code in codes.items():
            if function.__code__ is not code:
                function.__code__ = code
        try:
            yield
        finally:
            for owner, name, value in replaced:
                put(owner, name, value)

    return originals


def underlying(attribute: Any) -> Any:
    """Return the function of a property or of a method of a class, or anything else as it is."""
    if isinstance(attribute, property):
        return attribute.fget
    return attribute.__func__ if isinstance(attribute, classmethod | staticmethod) else attribute


def put(owner: Any, name: str, value: Any) -> None:
    """Set an attribute, or delete it if the value is `MISSING`."""
    if value is not MISSING:
        setattr(owner, name, value)
    elif name in vars(owner):
        delattr(owner, name)


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
    yield from rows[0][5].splitlines()


def main(arguments: list[str] | None = None) -> int:
    """Grade the notebooks named on the command line, print the table and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m genmodels.exercises.grade", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", type=Path, metavar="NOTEBOOK")
    parser.add_argument("--csv", type=Path, help="write the rows to this file, too")
    parser.add_argument("--chapters", type=Path, default=CHAPTERS, metavar="FOLDER",
                        help="the chapters with solutions, as handed out (%(default)s)")
    parser.add_argument("--cell-time", type=float, default=Limits.cell_time, metavar="SECONDS",
                        help="limit for one cell (%(default)g)")
    parser.add_argument("--time", type=float, default=Limits.time, metavar="SECONDS",
                        help="limit for one notebook (%(default)g)")
    parser.add_argument("--memory", type=float, default=Limits.memory / 2**30, metavar="GIB",
                        help="limit for one notebook (%(default)g)")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.worker:
        work()
        return 0
    if not given.notebooks:
        parser.error("name at least one notebook")
    limits = Limits(given.cell_time, given.time, int(given.memory * 2**30))
    rows, not_graded = [], []
    for path in given.notebooks:
        try:
            new, graded = grade(path, limits, given.chapters)
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
