"""Change the reference solutions automatically and count which changes the checks refuse.

    python benchmarks/mutations.py [CHAPTER ...]

Each mutant changes one operator, constant, axis, slice or function of one reference solution, in a
statement that the checked answers are made from: what only measures, prints or draws is left alone.
It is put before the exercise's check in a process of its chapter. Prints the counts by exercise,
and writes benchmarks/results/mutations.md with all survivors when every chapter is run.
"""

import argparse
import ast
import contextlib
import copy
import datetime
import io
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "book"), str(ROOT / "tests" / "exercises")]
RESULTS = ROOT / "benchmarks" / "results" / "mutations.md"
HEAD = """\
# Mutations of the reference solutions

Written by `benchmarks/mutations.py`, which says what a mutant is.
"""
NOISE = "minus normal noise of mean 0 has the same distribution as plus"
SPIN = "a spin ±1 is its own inverse"
WIDER = "a wider bracket: the entropy, which is not defined beyond 1, ends the search there"
# Why a mutant that is accepted is right: (exercise, part of the change) -> reason.
REASONS = {
    ("ancestral-width", "rng.standard_normal"): NOISE,
    ("spread-the-times", "rng.standard_normal"): NOISE,
    ("frechet-floor", ".mean -> "): "a common factor of the floors does not change their power",
    ("missed-mode", "eps_"): NOISE,
    ("one-sample-loss", "torch.randn_like"): NOISE,
    ("gradient-noise", "1 - noise -> 1 + noise"): NOISE,
    ("gradient-noise", "-0.5"): "the sign of f is no matter for the variance of the estimates",
    ("shifted-posterior", "post_mean"): "the gap is quadratic in the shift",
    ("prior-samples-needed", "- h"): "the prior is symmetric: h and -h have the same density",
    ("ising-pair", "line 11: 1 -> 2"): WIDER,
    ("antiferromagnet", "line 14: 1 -> 2"): WIDER,
    ("antiferromagnet", "np.roll"): SPIN,
    ("chain-coupling", "s[:, 1:]"): SPIN,
    ("two-level-thermometer", "1000 -> 1001"): "a change in the fourth digit: three are enough",
    ("bent-codes", "2.5 -> "): "a factor of a code cancels in its cumulant: this is the exercise",
    ("energy-by-modes", "line 12: 1 -> 2"): "both spectra need more than two waves",
    ("thresholded-magnet", "-1 -> 1"): "a bond is the same one from its other end",
    ("ring-in-few-steps", "1 -> 2"): "only the order of the steps counts, not their numbers",
    ("read-the-hamiltonian", "line 5: 1 -> 2"): "-2 leaves a size to NumPy as -1 does",
    ("soft-modes", "neighbours"):
        "reversing every second displacement changes the sign, and no eigenvalue",
}
LIMIT = 3.0  # seconds for one mutant
SILENT = 60.0  # seconds of a mutant that Python cannot stop
REFERENCE = "(reference)"
OPERATORS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
             ast.Lt: ast.GtE, ast.LtE: ast.Gt, ast.Gt: ast.LtE, ast.GtE: ast.Lt,
             ast.Eq: ast.NotEq, ast.NotEq: ast.Eq}
FUNCTIONS = {"sum": "mean", "mean": "sum", "exp": "expm1", "log": "log2", "sqrt": "abs",
             "max": "min", "min": "max", "cumprod": "cumsum", "cumsum": "cumprod", "var": "std",
             "std": "var", "sigmoid": "tanh", "sin": "cos", "cos": "sin", "square": "abs",
             "argmax": "argmin", "argmin": "argmax", "normal": "uniform"}
AXES = {-1: 0, 0: 1, 1: 0, 2: 0}


def skipped(node: ast.AST) -> bool:
    """Return whether a statement only prints, draws, imports or calls check."""
    if isinstance(node, ast.Import | ast.ImportFrom | ast.Assert):
        return True
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) or ast.unparse(node).startswith(
            ("check(", "print(", "plt.", "ax.", "fig."))
    return False


def names(node: ast.AST, stored: bool) -> set[str]:
    """Return the names that a statement binds, or those that it takes from outside itself."""
    if isinstance(node, ast.FunctionDef | ast.Lambda):
        if stored:
            return {node.name} if isinstance(node, ast.FunctionDef) else set()
        own = {each.arg for each in ast.walk(node.args) if isinstance(each, ast.arg)}
        body = node.body if isinstance(node.body, list) else [node.body]
        own |= {name for part in body for name in names(part, stored=True)}
        return {name for part in body for name in names(part, stored=False)} - own
    found = set()
    if isinstance(node, ast.Name):
        found = {node.id} if isinstance(node.ctx, ast.Store) == stored else set()
    elif stored and isinstance(node, ast.Subscript | ast.Attribute) and isinstance(
            node.ctx, ast.Store):  # a part of what a name stands for
        found = names(node.value, stored=False)
    elif stored and isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and isinstance(
            node.value.func, ast.Attribute):  # a method may change it: times.append(t)
        found = names(node.value.func.value, stored=False)
    within = ast.iter_child_nodes(node)
    return found.union(*(names(child, stored) for child in within))


def of_the_answers(tree: ast.Module, answers: list[str]) -> set[int]:
    """Return the places of the statements that the answers, expressions, are made from."""
    needed = {name for answer in answers for name in names(ast.parse(answer), stored=False)}
    chosen: set[int] = set()
    while True:
        more = {i for i, statement in enumerate(tree.body)
                if not skipped(statement) and names(statement, stored=True) & needed} - chosen
        if not more:
            return chosen
        chosen |= more
        needed |= {name for i in more for name in names(tree.body[i], stored=False)}


def mutants(source: str, answers: list[str]) -> list[tuple[str, str]]:
    """Return (what was changed, source) of every mutant of a solution."""
    tree, found = ast.parse(source), []
    chosen = of_the_answers(tree, answers)

    def visit(node: ast.AST, path: list) -> None:
        if skipped(node) or (len(path) == 1 and path[0][1] not in chosen):
            return
        inside = not (isinstance(node, ast.keyword) and node.arg in ("axis", "dim"))
        for change, replacement in changes(node):
            mutant = copy.deepcopy(tree)
            target = mutant
            for field, index in path[:-1]:
                target = getattr(target, field) if index is None else getattr(target, field)[index]
            if path:
                field, index = path[-1]
                if index is None:
                    setattr(target, field, replacement)
                else:
                    getattr(target, field)[index] = replacement
                text = ast.unparse(ast.fix_missing_locations(mutant))
                if text != ast.unparse(tree):
                    found.append((f"line {node.lineno}: {change}", text))
        for field, value in ast.iter_fields(node) if inside else ():
            if isinstance(value, list):
                for index, child in enumerate(value):
                    if isinstance(child, ast.AST):
                        visit(child, [*path, (field, index)])
            elif isinstance(value, ast.AST):
                visit(value, [*path, (field, None)])

    visit(tree, [])
    return found


def changes(node: ast.AST):
    """Yield (description, replacement) for a node."""
    text = ast.unparse(node) if isinstance(node, ast.expr) else ""
    if isinstance(node, ast.BinOp):
        if type(node.op) in OPERATORS:
            new = copy.deepcopy(node)
            new.op = OPERATORS[type(node.op)]()
            yield f"{text} -> {ast.unparse(new)}", new
        if isinstance(node.op, ast.Pow):
            yield f"{text} -> {ast.unparse(node.left)}", copy.deepcopy(node.left)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield f"{text} -> {ast.unparse(node.operand)}", copy.deepcopy(node.operand)
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in OPERATORS:
        new = copy.deepcopy(node)
        new.ops[0] = OPERATORS[type(node.ops[0])]()
        yield f"{text} -> {ast.unparse(new)}", new
    elif isinstance(node, ast.keyword) and node.arg in ("axis", "dim"):
        with contextlib.suppress(ValueError, KeyError):
            new = ast.keyword(node.arg, ast.Constant(AXES[ast.literal_eval(node.value)]))
            yield f"{ast.unparse(node)} -> {ast.unparse(new)}", new
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        for value in {node.value + 1, node.value * 2} - {node.value}:
            yield f"{text} -> {value}", ast.Constant(value)
    elif isinstance(node, ast.Constant) and type(node.value) is bool:
        yield f"{text} -> {not node.value}", ast.Constant(not node.value)
    elif isinstance(node, ast.Attribute) and node.attr in FUNCTIONS:
        new = copy.deepcopy(node)
        new.attr = FUNCTIONS[node.attr]
        yield f"{text} -> {ast.unparse(new)}", new


Row = tuple[str, str, str, str]  # exercise, change, status, text


def run_chapter(chapter: str, start: int) -> Iterator[Row]:
    """Yield the row of every mutant of a chapter from a number on, and before it one without text.

    The reference solutions are mutants that change nothing, and are run from any number on.
    """
    import test_exercises

    from genmodels import exercises
    os.environ["GENMODELS_BUDGET"] = "quick"
    number = 0
    stubs = test_exercises.by_exercise(chapter, "exercise")
    setups = test_exercises.tagged(chapter, "exercise-setup")
    for name, solution in test_exercises.by_exercise(chapter, "solution").items():
        before = "\n".join([*setups, stubs[name]])  # a stub may define what its answer needs
        reference = test_exercises.without_check(solution)
        _, answers = test_exercises.names_checked(solution)
        for change, source in [(REFERENCE, reference), *mutants(reference, answers)]:
            if change != REFERENCE:
                number += 1
                if number <= start:
                    continue
            yield name, change, "begun", ""
            space: dict = {"__name__": "__main__"}
            exec(compile(before, "before", "exec"), space)
            try:
                with contextlib.redirect_stdout(io.StringIO()), exercises.time_limit(LIMIT):
                    exec(compile(source, "mutant", "exec"), space)
                    values = [eval(answer, space) for answer in answers]
            except (Exception, KeyboardInterrupt) as error:
                if change == REFERENCE:
                    raise AssertionError(f"{name}: the reference fails") from error
                yield name, change, "error", type(error).__name__
                continue
            with contextlib.redirect_stdout(io.StringIO()):
                told = exercises.evaluate(name, *values, limit=LIMIT)
            yield name, change, told.status, told.text
            if change == REFERENCE and told.status != "right":
                raise AssertionError(f"{name}: the reference is refused: {told.text}")


def all_rows(chapter: str) -> list[Row]:
    """Return the rows of all mutants of a chapter, which runs in processes of its own.

    A mutant that is silent for a minute hangs where Python cannot stop it, such as in LAPACK with
    an infinite matrix. Its process is ended, and another goes on with the next.
    """
    rows: list[Row] = []
    while True:
        begun: Row = ("", REFERENCE, "", "")
        command = [sys.executable, "-u", __file__, chapter, "--inside", str(len(rows))]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
            assert running.stdout is not None
            watch = threading.Timer(SILENT, running.kill)
            watch.start()
            for line in running.stdout:
                watch.cancel()
                watch = threading.Timer(SILENT, running.kill)
                watch.start()
                if not line.startswith("('"):
                    continue
                row = ast.literal_eval(line)
                if row[2] == "begun":
                    begun = row
                elif row[1] != REFERENCE:
                    rows.append(row)
            watch.cancel()
        if not running.returncode:
            return rows
        if running.returncode != -signal.SIGKILL or begun[1] == REFERENCE:
            raise SystemExit(f"{chapter}: {begun[0]}, {begun[1]}: exit {running.returncode}")
        rows.append((*begun[:2], "error", "hangs"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("chapters", nargs="*")
    parser.add_argument("--inside", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside is not None:
        for row in run_chapter(arguments.chapters[0], arguments.inside):
            print(repr(row))
        return
    from genmodels.exercises.registry import BY_CHAPTER
    everything = sorted(BY_CHAPTER)
    lines, survivors, all_statuses = [], [], Counter()
    for chapter in arguments.chapters or everything:
        rows = all_rows(chapter)
        for name in dict.fromkeys(row[0] for row in rows):
            statuses = [row[2] for row in rows if row[0] == name]
            accepted = statuses.count("right")
            lines.append(f"| {chapter} | {name} | {len(statuses)} | {len(statuses) - accepted} |")
            print(lines[-1], flush=True)
            all_statuses.update(statuses)
        survivors += [f"* {row[0]}, {row[1]}: {reason(row[0], row[1])}"
                      for row in rows if row[2] == "right"]
    total, accepted = all_statuses.total(), all_statuses["right"]
    how = ", ".join(f"{count} {status}" for status, count in all_statuses.most_common()
                    if status != "right")
    summary = (f"{total - accepted} of {total} mutants refused: {1 - accepted / total:.1%}\n"
               f"({how}; an error may be raised by the mutant's own cell).")
    print("\n".join(survivors), summary, sep="\n")
    if not arguments.chapters:
        RESULTS.write_text("\n".join([
            HEAD, f"{datetime.date.today()}: {summary}", "", "## Accepted, and why", "",
            *survivors, "", "## By exercise", "", "| chapter | exercise | mutants | refused |",
            "| --- | --- | ---: | ---: |", *lines, ""]), encoding="utf-8")


def reason(name: str, change: str) -> str:
    """Return why a mutant of an exercise is right, or that nobody has said so."""
    found = [why for (exercise, part), why in REASONS.items()
             if exercise == name and part in change]
    return found[0] if found else "NOT EXPLAINED"


if __name__ == "__main__":
    main()
