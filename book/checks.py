"""What the asserts of a chapter compare, recorded while the build executes it.

A kernel of the build loads this file at its start (`write_startup`). From then on each assert of a
cell gives what it compares to a `Recorder`, as do `assert_allclose` and `assert_close`. The assert
itself stays as it is: operands pass through unchanged, once and in their order. After a whole cell
has run without an error, what its asserts compared is written to a file. The file is named by a
sum of the sources of this cell and of all before it, so that it belongs to this cell in this place.
A cell that is executed again loses its file first.

A comparison with a tolerance is `allclose`, `isclose` and their like, or `left < tolerance` where
`left` is an absolute value, by itself or by how the cell makes it (`largest = max(largest,
abs(x - y))`). Anything else that an assert says is a condition: it is counted, not measured.

This file is executed in the kernel of a chapter: it imports nothing else of the book.
"""

import ast
import builtins
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["FOLDER", "Comparison", "Recorder", "Statement", "called", "find", "forget", "install",
           "keys", "read", "write_startup"]

FOLDER = "GENMODELS_CHECKS"  # the environment variable that names the folder of the records
NAME = "__genmodels_checks__"  # a builtin: cells see no new name of their own

# Functions that compare two values, and the defaults of their tolerances, rtol and atol.
CLOSE = {"allclose": (1e-5, 1e-8), "isclose": (1e-5, 1e-8), "assert_allclose": (1e-7, 0.0),
         "assert_close": (None, None)}  # whose defaults depend on the data type
RAISING = ("assert_allclose", "assert_close")  # they need no assert before them
# Functions of absolute values that are some again.
KEEPING = ("max", "amax", "mean", "float", "array", "asarray", "stack", "list")

STARTUP = '''\
"""Record what the asserts of each cell compare, and in what environment: see {checks}."""


def record_checks():
    from importlib.util import module_from_spec, spec_from_file_location

    def loaded(name, path):
        spec = spec_from_file_location(name, path)
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    recorder = loaded("checks", {checks!r}).install(get_ipython())
    loaded("environment", {environment!r}).install(get_ipython(), recorder)


record_checks()
del record_checks
'''


# What an assert says ----------------------------------------------------------------------------


class Comparison(NamedTuple):
    """A comparison with a tolerance: its operands by name, as expressions.

    They are `value` and `tolerance`, or `left` and `right` with `rtol` and `atol`, which have
    defaults where they are not given.
    """

    operands: dict[str, ast.expr]
    defaults: dict[str, float]


class Statement(NamedTuple):
    """An assert: what it compares with a tolerance, and how many conditions it has beside."""

    node: ast.stmt
    comparisons: list[Comparison]
    conditions: int


def called(node: ast.AST) -> str:
    """Return the name of the function or method that an expression calls, "" for no call."""
    function = node.func if isinstance(node, ast.Call) else None
    return getattr(function, "attr", getattr(function, "id", ""))


def assignments(tree: ast.AST) -> dict[str, list[ast.expr]]:
    """Return for each name what a cell assigns to it."""
    found: dict[str, list[ast.expr]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                pairs = [(target, node.value)]
                if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                    pairs = list(zip(target.elts, node.value.elts, strict=False))
                for name, value in pairs:
                    if isinstance(name, ast.Name):
                        found.setdefault(name.id, []).append(value)
    return found


def is_deviation(node: ast.expr, assigned: dict[str, list[ast.expr]]) -> bool:
    """Return whether an expression is an absolute value, or the largest or a part of some."""
    def of(*parts: ast.expr) -> bool:
        return any(is_deviation(part, assigned) for part in parts)

    match node:
        case ast.Call():
            if called(node) in ("abs", "absolute"):
                return True
            receiver = [node.func.value] if isinstance(node.func, ast.Attribute) else []
            return called(node) in KEEPING and of(*receiver, *node.args)
        case ast.Name():
            others = {name: value for name, value in assigned.items() if name != node.id}
            return any(is_deviation(value, others) for value in assigned.get(node.id, []))
        case ast.Subscript(value=value) | ast.Starred(value=value):
            return of(value)
        case ast.BinOp(left=left, op=ast.Div() | ast.Mult()):
            return of(left)
        case ast.Tuple(elts=elements) | ast.List(elts=elements):
            return bool(elements) and of(*elements)
        case ast.ListComp(elt=element) | ast.GeneratorExp(elt=element):
            return of(element)
    return False


def closeness(call: ast.Call) -> Comparison | None:
    """Return what `allclose` and its like compare, or None if its tolerances are not known."""
    names = ["left", "right", "rtol", "atol"]
    if len(call.args) < 2 or any(isinstance(each, ast.Starred) for each in call.args):
        return None
    operands = dict(zip(names, call.args, strict=False))
    operands |= {each.arg: each.value for each in call.keywords if each.arg in names}
    defaults = {name: value for name, value in zip(names[2:], CLOSE[called(call)], strict=True)
                if name not in operands}
    return None if None in defaults.values() else Comparison(operands, defaults)


def parts(test: ast.expr, assigned: dict[str, list[ast.expr]]) -> tuple[list[Comparison], int]:
    """Return the comparisons with a tolerance in what is asserted, and how many other conditions.

    What was asserted holds, so each part joined by `and` holds, and each part of a chain.
    """
    match test:
        case ast.BoolOp(op=ast.And(), values=values):
            found = [parts(value, assigned) for value in values]
            return [each for some, _ in found for each in some], sum(n for _, n in found)
        case ast.Compare(left=left, ops=[ast.Lt() | ast.LtE(), *more], comparators=[right, *_]):
            if is_deviation(left, assigned):
                return [Comparison({"value": left, "tolerance": right}, {})], len(more)
            return [], 1 + len(more)
        case ast.Call(args=[ast.Compare() as inside]) if called(test) == "all":
            return parts(inside, assigned)
        case ast.Call() if called(test) in CLOSE:
            compared = closeness(test)
            return ([compared], 0) if compared else ([], 1)
        case ast.Call(args=[inside]) if called(test) in ("all", "bool"):
            return parts(inside, assigned)
    return [], len(test.ops) if isinstance(test, ast.Compare) else 1


def find(tree: ast.Module) -> list[Statement]:
    """Return the asserts of a cell, in the order of their lines."""
    assigned = assignments(tree)
    found = []
    for node in ast.walk(tree):
        test = None
        if isinstance(node, ast.Assert):
            test = node.test
        elif isinstance(node, ast.Expr) and called(node.value) in RAISING:
            test = node.value
        if test is not None:
            found.append(Statement(node, *parts(test, assigned)))
    return sorted(found, key=lambda each: (each.node.lineno, each.node.col_offset))


# Records ----------------------------------------------------------------------------------------


def following(before: str, source: str) -> str:
    """Return the key of a cell from that of the cell before it."""
    return hashlib.sha256(f"{before}\0{source}".encode()).hexdigest()


def keys(sources: Iterable[str]) -> Iterator[str]:
    """Yield the name of the record of each code cell of a notebook, "" for an empty cell."""
    key = ""
    for source in sources:
        if source.strip():
            key = following(key, source)
        yield key if source.strip() else ""


def read(folder: Path, key: str) -> dict[str, Any] | None:
    """Return the record of a cell: when it was `executed`, and its `checks`; None without one.

    For each assert it has the number of `times` that it held, and of each of its comparisons the
    deviation and the tolerance where they were closest, or None where they are no numbers.
    """
    path = folder / f"{key}.json"
    return json.loads(path.read_text(encoding="utf-8")) if key and path.exists() else None


def forget(folder: Path, sources: Iterable[str]) -> None:
    """Remove the records of the code cells of a notebook, and that of its environment."""
    for key in keys(sources):
        for path in folder.glob(f"{key}.*json") if key else ():
            path.unlink()


# While a chapter is executed --------------------------------------------------------------------


def numbers(value: Any) -> Any:
    """Return a number, an array or a tensor of any framework as an array of NumPy."""
    import numpy as np

    if hasattr(value, "detach"):  # PyTorch's, which may be on a GPU or in bfloat16
        value = value.detach().cpu()
        value = value.double() if value.is_floating_point() else value
    array = np.asarray(value)
    return array if np.iscomplexobj(array) else array.astype(float)


def closest(given: dict[str, Any]) -> tuple[float, float] | None:
    """Return (deviation, tolerance) where their ratio is largest, None if they are no numbers."""
    import numpy as np

    compared = {name: numbers(value) for name, value in given.items()}
    if "value" in compared:
        deviation, tolerance = compared["value"], compared["tolerance"]
    else:
        deviation = np.abs(compared["left"] - compared["right"])
        tolerance = compared["atol"] + compared["rtol"] * np.abs(compared["right"])
    deviation, tolerance = np.broadcast_arrays(deviation, tolerance)
    if not deviation.size or not np.all(np.isfinite(deviation) & np.isfinite(tolerance)):
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(deviation == 0, 0.0, deviation / tolerance)
    place = np.unravel_index(np.argmax(share), share.shape)
    return float(deviation[place]), float(tolerance[place])


class Recorder(ast.NodeTransformer):
    """Gives asserts what they need to be recorded, and records them.

    Args:
        folder: where records are written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ""
        self.cell = 0  # how many cells have been compiled: a function may outlive its cell
        self.statements: dict[ast.stmt, tuple[int, Statement]] = {}
        self.record: list[dict[str, Any]] = []
        self.held: dict[tuple[int, int, str], Any] = {}
        self.defaults: dict[tuple[int, int, int], dict[str, float]] = {}

    # Before a cell runs

    def start(self, info: Any) -> None:
        """Begin a cell: what an earlier execution recorded of it holds no longer."""
        self.record, self.held = [], {}
        if info.store_history and info.raw_cell.strip():
            self.key = following(self.key, info.raw_cell)
            (self.folder / f"{self.key}.json").unlink(missing_ok=True)

    def visit_Module(self, node: ast.Module) -> ast.Module:
        self.cell += 1
        found = find(node)
        self.statements = {each.node: (number, each) for number, each in enumerate(found)}
        self.record = [{"times": 0, "largest": [None] * len(each.comparisons)} for each in found]
        self.generic_visit(node)
        return ast.fix_missing_locations(node)

    def call(self, method: str, place: ast.AST, *arguments: ast.expr | int | str) -> ast.Call:
        """Return the syntax tree of a call of this recorder, with the number of the cell first."""
        function = ast.Attribute(ast.Name(NAME, ast.Load()), method, ast.Load())
        values = [each if isinstance(each, ast.expr) else ast.Constant(each)
                  for each in (self.cell, *arguments)]
        return ast.copy_location(ast.Call(function, values, []), place)

    def recorded(self, node: ast.stmt) -> ast.stmt | list[ast.stmt]:
        """Return an assert whose operands are held, and a statement after it."""
        if node not in self.statements:
            return node
        number, statement = self.statements[node]
        held = {}
        for index, comparison in enumerate(statement.comparisons):
            for name, operand in comparison.operands.items():
                held[operand] = self.call("hold", operand, number, index, name, operand)
            self.defaults[self.cell, number, index] = comparison.defaults

        class Holding(ast.NodeTransformer):
            def visit(self, inside: ast.AST) -> ast.AST:
                return held.get(inside) or super().generic_visit(inside)

        changed = Holding().generic_visit(node)
        after = ast.copy_location(ast.Expr(self.call("passed", node, number)), node)
        return [changed, after]

    visit_Assert = recorded

    def visit_Expr(self, node: ast.Expr) -> ast.stmt | list[ast.stmt]:
        return self.recorded(node)

    # While it runs

    def hold(self, cell: int, number: int, index: int, name: str, value: Any) -> Any:
        """Return a value unchanged, and hold it until its assert has passed."""
        if cell == self.cell:
            self.held[number, index, name] = value
        return value

    def passed(self, cell: int, number: int) -> None:
        """Record an assert that has just held."""
        if cell != self.cell:
            return
        check = self.record[number]
        check["times"] += 1
        for index, before in enumerate(check["largest"]):
            given = dict(self.defaults[cell, number, index])
            for key in [key for key in self.held if key[:2] == (number, index)]:
                given[key[2]] = self.held.pop(key)
            try:
                now = closest(given)
            except (TypeError, ValueError, RuntimeError):  # of a type that is no array
                now = None
            if now and (before is None or now[0] * before[1] > before[0] * now[1]):
                check["largest"][index] = now

    # After it has run

    def stop(self, result: Any) -> None:
        """Write the record of a cell that has run without an error."""
        self.held = {}
        if result.success and result.info.store_history and self.record:
            text = json.dumps({"executed": datetime.now().isoformat(timespec="seconds"),
                               "checks": self.record})
            new = self.folder / f"{self.key}.new"
            new.write_text(text, encoding="utf-8")
            new.replace(self.folder / f"{self.key}.json")
        self.record = []


def install(shell: Any) -> Recorder | None:
    """Let an IPython shell record the checks of its cells, if the environment names a folder."""
    folder = os.environ.get(FOLDER)
    if not folder:
        return None
    Path(folder).mkdir(parents=True, exist_ok=True)
    recorder = Recorder(Path(folder))
    setattr(builtins, NAME, recorder)
    shell.ast_transformers.append(recorder)
    shell.events.register("pre_run_cell", recorder.start)
    shell.events.register("post_run_cell", recorder.stop)
    return recorder


def write_startup(ipython: Path) -> None:
    """Let each kernel that has this folder for its IPYTHONDIR record checks and environment."""
    path = ipython / "profile_default" / "startup" / "record_checks.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    here = Path(__file__).resolve()
    text = STARTUP.format(checks=str(here), environment=str(here.with_name("environment.py")))
    path.write_text(text, encoding="utf-8")
