"""Feedback on the exercises of the chapters.

`check(name, answer)` prints one of: right; not yet, with what was tested, what came out and what is
wrong with it; still the stub. It never raises. An answer may be written in NumPy, PyTorch,
TensorFlow or Keras, in float32 or float64.

The tests of the answers are in `genmodels.checks`, a module for each chapter; what they are built
from (`exercise`, `ask`, `compare`, `need`) is here.
"""

import _thread
import contextlib
import copy
import difflib
import dis
import importlib
import inspect
import math
import pkgutil
import re
import signal
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Exercise", "Feedback", "NotYet", "array", "ask", "ask_drawing", "ask_seeded", "check",
           "compare", "evaluate", "exercise", "load", "need", "number", "parts", "scalar"]

KINDS = ("derive", "build", "explore")
STATUSES = ("right", "not yet", "stub", "error", "time-out")
TIME_LIMIT = 10.0  # seconds that testing an answer may take
# An answer may pass a constant through float32, and 16 of its roundings are granted to every one;
# what comes out in float32 has been rounded at every step, and sums of opposite signs enlarge that.
ROUNDINGS = {"float64": 16, "float32": 1000}
FLOAT32 = float(np.finfo(np.float32).eps) / 2  # one rounding


class NotYet(Exception):
    """An answer is not right; the message tells the student why."""

    status = "not yet"


class Stub(NotYet):
    """An answer still contains the `...` of the stub."""

    status = "stub"


class Failed(NotYet):
    """An answer raised an exception."""

    status = "error"


@dataclass(frozen=True)
class Exercise:
    """An exercise: what the list of exercises shows of it, and the test of its answers."""

    name: str
    chapter: str  # the name of its notebook
    kind: str
    difficulty: int  # 1 to 3
    minutes: int
    identities: tuple[str, ...]
    right: str
    test: Callable[..., None]


@dataclass(frozen=True)
class Feedback:
    """What `evaluate` says of an answer."""

    status: str  # one of STATUSES
    text: str


EXERCISES: dict[str, Exercise] = {}


def exercise(name: str, *, kind: str, difficulty: int, minutes: int, right: str,
             identities: tuple[str, ...] = ()) -> Callable:
    """Register the decorated function as the test of the answers to an exercise.

    The function takes the answers, raises `NotYet` if they are wrong, and returns if they are
    right; then the student reads `right`. The chapter is the name of the function's module.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {KINDS}, got {kind!r}")
    if difficulty not in (1, 2, 3):
        raise ValueError(f"difficulty must be 1, 2 or 3, got {difficulty!r}")

    def register(test: Callable[..., None]) -> Callable[..., None]:
        chapter = test.__module__.rpartition(".")[2]
        known = EXERCISES[name].test if name in EXERCISES else test
        # The same function of the same module is registered again when the module is reloaded.
        if (known.__module__, known.__qualname__) != (test.__module__, test.__qualname__):
            raise ValueError(f"exercise {name!r} is registered in {EXERCISES[name].chapter} and "
                             f"again in {chapter}")
        EXERCISES[name] = Exercise(name, chapter, kind, difficulty, minutes, tuple(identities),
                                   right, test)
        return test

    return register


def load() -> dict[str, Exercise]:
    """Import the checks of all chapters and return the exercises by name."""
    package = importlib.import_module("genmodels.checks")
    for module in pkgutil.iter_modules(package.__path__):
        if all(task.chapter != module.name for task in EXERCISES.values()):
            load_chapter(module.name)
    return EXERCISES


def load_chapter(chapter: str) -> None:
    """Import the checks of a chapter whose exercises are not registered.

    They are reloaded if they have been imported before, for an earlier copy of this module: its
    reload empties the registry, and its exceptions are other ones from then on.
    """
    name = f"genmodels.checks.{chapter}"
    if name in sys.modules:
        importlib.reload(sys.modules[name])
    else:
        importlib.import_module(name)


def find(name: str) -> Exercise | None:
    """Return an exercise, or None; import the checks of its chapter alone, for a quick answer."""
    if name not in EXERCISES:
        package = importlib.import_module("genmodels.checks")
        registered = re.compile(rf'@exercise\(\s*"{re.escape(name)}"')
        for path in Path(package.__file__).parent.glob("*.py"):
            if registered.search(path.read_text(encoding="utf-8")):
                load_chapter(path.stem)
    return EXERCISES.get(name)


# What a student calls ---------------------------------------------------------------------------


def check(name: str, *answers: Any) -> None:
    """Print whether the answers to an exercise are right and, if not, what is wrong."""
    # Wrapped here, since notebooks break long lines of output inside words.
    print(textwrap.fill(evaluate(name, *answers).text, 80, break_long_words=False,
                        break_on_hyphens=False))


def evaluate(name: str, *answers: Any, limit: float | None = None) -> Feedback:
    """Return the feedback on the answers to an exercise; no answer makes it raise.

    `limit` is in seconds, `TIME_LIMIT` if it is not given.
    """
    task = find(name) if isinstance(name, str) else None
    if task is None:
        near = difflib.get_close_matches(str(name), load(), n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        return Feedback("error", f"Not yet: there is no exercise named {name!r}.{hint}")
    limit = TIME_LIMIT if limit is None else limit
    arguments = len(inspect.signature(task.test).parameters)
    if len(answers) != arguments:
        return Feedback("error", f"Not yet: check({name!r}, …) needs {arguments} answer"
                        f"{'s' * (arguments != 1)} after the name, got {len(answers)}.")
    if any(is_stub(answer) for answer in answers):
        return Feedback("stub", "Still the stub: replace the `...`, run the cell again, then this "
                        "one.")
    try:
        with np.errstate(all="ignore"), time_limit(limit) as expired:
            task.test(*answers)
    except Stub:
        return Feedback("stub", "Still the stub: there is a `...` left in your answer.")
    except NotYet as problem:
        return Feedback(problem.status, f"Not yet: {problem}")
    except KeyboardInterrupt:
        if not expired.is_set():
            raise
        return Feedback("time-out", f"Not yet: your answer was stopped after {limit:.0f} seconds. "
                        "Is there a loop that never ends, or one that arrays would avoid?")
    except (Exception, SystemExit) as error:  # an answer of a kind that the test did not expect
        return Feedback("error", f"Not yet: your answer cannot be used here "
                        f"({type(error).__name__}: {first_line(error)}).")
    return Feedback("right", f"Right. {task.right}")


def is_stub(answer: Any) -> bool:
    """Return whether an answer is `...`, or a function or class with nothing else in it."""
    if answer is ...:
        return True
    if inspect.isclass(answer):
        return any(is_stub(method) for method in vars(answer).values()
                   if inspect.isfunction(method))
    if not inspect.isfunction(answer):
        return False
    code = answer.__code__
    idle = {"RESUME", "NOP", "LOAD_CONST", "RETURN_VALUE", "RETURN_CONST", "COPY_FREE_VARS"}
    if any(step.opname not in idle for step in dis.get_instructions(code)):
        return False
    returned = [step.argval for step in dis.get_instructions(code)
                if step.opname in ("LOAD_CONST", "RETURN_CONST")]
    return all(value is None or value is ... for value in returned)


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[threading.Event]:
    """Raise KeyboardInterrupt in the main thread after some seconds; the event says that we did.

    Works between two Python operations, not inside one long call of a compiled library. An answer
    that catches the exception gets it again.
    """
    if threading.current_thread() is not threading.main_thread():
        yield threading.Event()
        return
    finished, expired, lock = threading.Event(), threading.Event(), threading.Lock()
    handler = signal.getsignal(signal.SIGINT)
    ignored = handler in (signal.SIG_IGN, signal.SIG_DFL)  # as in a process in the background
    if ignored:
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def watch() -> None:
        wait = seconds
        while not finished.wait(wait):
            with lock:
                if finished.is_set():
                    return
                expired.set()
                _thread.interrupt_main()
            wait = 0.5

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield expired
    finally:
        with lock:
            finished.set()
        if ignored:
            signal.signal(signal.SIGINT, handler)


# What the tests of answers are built from -------------------------------------------------------


def need(condition: Any, message: str) -> None:
    """Raise NotYet with a message unless a condition holds."""
    if not condition:
        raise NotYet(message)


def ask(function: Callable, /, **inputs: Any) -> Any:
    """Call an answer with inputs in the given order and return its result as NumPy arrays.

    Arrays are passed as copies, first as what the function seems to be written for: NumPy, torch
    or TensorFlow. Other inputs are passed as they are; a NumPy generator starts every attempt in
    the same state. The results are what `to_numpy` makes of them. Errors, `None`, what is no
    number, and overwritten inputs are a NotYet; NaN and infinity are not, but `compare` refuses
    them.
    """
    if not callable(function):
        raise NotYet(f"a function is needed here, got {describe(function)}.")
    called = f"{getattr(function, '__name__', 'your function')}({', '.join(inputs)})"
    failure, start = None, rng_states(inputs)
    for framework in frameworks(function):
        for name, (state, _) in start.items():
            inputs[name].bit_generator.state = state
        arguments = [convert(value, framework) for value in inputs.values()]
        try:
            result = function(*arguments)
        except (Exception, SystemExit) as error:
            failure = failure or error
            if not isinstance(error, TypeError | AttributeError | ValueError | RuntimeError):
                break
            continue
        if result is ... or (isinstance(result, tuple) and any(part is ... for part in result)):
            raise Stub
        for (name, value), argument in zip(inputs.items(), arguments):
            if isinstance(value, np.ndarray) and not np.array_equal(
                    to_numpy(argument, name), value, equal_nan=True):
                raise NotYet(f"{called} overwrites its argument `{name}`; the caller may still "
                             "need it.")
        return to_numpy(result, called)
    raise Failed(f"{called} raises {type(failure).__name__}: {first_line(failure)}")


def rng_states(inputs: Mapping[str, Any]) -> dict[str, tuple]:
    """Return the states of the NumPy generators among inputs, with the children they have had."""
    return {name: (value.bit_generator.state,
                   getattr(value.bit_generator.seed_seq, "n_children_spawned", 0))
            for name, value in inputs.items() if isinstance(value, np.random.Generator)}


def ask_drawing(function: Callable, /, **inputs: Any) -> tuple[Any, Any]:
    """`ask` for an answer that must draw with the NumPy generator among its inputs; two results.

    NotYet unless the answer moves the generator, gives the same from the same state, and
    something else in the next call. Returns the results of a call and of the next one; the
    generator is left where the second call left it.
    """
    (name,) = start = rng_states(inputs)
    again = {key: copy.deepcopy(value) if key in start else value for key, value in inputs.items()}
    first = ask(function, **inputs)
    need(rng_states(inputs) != start, f"after the call the generator `{name}` is where it was "
         "before: nothing was drawn with it.")
    need(same(first, ask(function, **again)), f"two generators `{name}` in the same state give "
         f"different results: not everything is drawn with `{name}`.")
    second = ask(function, **inputs)
    need(not same(first, second), "two calls in a row give exactly the same numbers, although "
         f"`{name}` has moved on: they must be drawn anew in each call.")
    return first, second


def ask_seeded(function: Callable, name: str = "seed", other: Any = 4, /, **inputs: Any) -> Any:
    """`ask` for an answer whose draws are fixed by the input with a name: "seed", as a rule.

    NotYet unless the same seed gives the same and the `other` one something else. Returns the
    result for the seed among the inputs.
    """
    first = ask(function, **inputs)
    varied = ask(function, **{**inputs, name: other})
    need(same(first, ask(function, **inputs)), f"the same {name} gives another result: pass the "
         f"{name} to the generator of every number that is drawn.")
    need(not same(first, varied), f"another {name} gives the same result: is the {name} used?")
    return first


def same(first: Any, second: Any) -> bool:
    """Return whether two results of `ask` are equal in every bit; NaN equals NaN."""
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key])
                                                     for key in first)
    if isinstance(first, tuple) and isinstance(second, tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return (isinstance(first, np.ndarray) and isinstance(second, np.ndarray)
            and np.array_equal(first, second, equal_nan=True))


def frameworks(function: Callable) -> list[str]:
    """Return which arrays to try for a function: those it names first, of what is imported."""
    code = getattr(getattr(function, "__wrapped__", function), "__code__", None)
    names = set(code.co_names) if code else set()
    names |= {getattr(getattr(function, "__globals__", {}).get(name), "__name__", "").split(".")[0]
              for name in names}
    order = ["numpy"]
    if "torch" in sys.modules:
        order.insert(0 if "torch" in names else len(order), "torch")
    if "tensorflow" in sys.modules:
        named = names & {"tf", "tensorflow", "keras"}
        order.insert(0 if named else len(order), "tensorflow")
    return order


def convert(value: Any, framework: str) -> Any:
    """Return a copy of an array for a framework; anything else is returned as it is."""
    if not isinstance(value, np.ndarray):
        return value
    if framework == "torch":
        return sys.modules["torch"].tensor(value)
    if framework == "tensorflow":
        return sys.modules["tensorflow"].constant(value)
    return value.copy()


def to_numpy(value: Any, called: str = "your answer") -> Any:
    """Return a result as NumPy arrays, also inside a tuple, list or dict of arrays.

    A tuple stays one. A list becomes one array if its parts have one shape, as in NumPy, and a
    tuple otherwise: `parts` and `array` make of either what a test needs.
    """
    if value is ...:
        raise Stub
    if value is None:
        missing = " Is the `return` missing?" if called.endswith(")") else ""
        raise NotYet(f"{called} is None.{missing}")
    if isinstance(value, list) and {type(part) for part in value} <= {float, np.float64}:
        return np.asarray(value)  # the quick way for long lists
    if isinstance(value, list | tuple):
        found = tuple(to_numpy(part, called) for part in value)
        if isinstance(value, list):
            with contextlib.suppress(ValueError):
                return stack(found)
        return found
    if isinstance(value, Mapping):
        return {key: to_numpy(part, called) for key, part in value.items()}
    if hasattr(value, "detach"):  # torch
        value = value.detach().cpu()
        value = value.float() if str(value.dtype) == "torch.bfloat16" else value
    try:
        found = np.asarray(value)
        if found.dtype.name == "bfloat16":
            found = found.astype(np.float32)
        if found.dtype.kind == "O" and all(hasattr(part, "__float__") for part in found.flat):
            found = found.astype(float)  # fractions and decimals
    except Exception as error:
        raise NotYet(f"{called} gives {describe(value)}, which is not an array of numbers: "
                     f"{first_line(error)}") from None
    if found.dtype.kind not in "fiub":
        raise NotYet(f"{called} gives {describe(value)}, expected real numbers.")
    return found


def stack(found: tuple) -> np.ndarray:
    """Return parts as one array; a part may be a tuple of parts.

    It is no more precise than the least precise part: `agree` goes by that.

    Raises:
        ValueError: says what the parts are, if no array can be made of them.
    """
    if any(isinstance(part, dict) for part in found):
        raise ValueError("parts of which one is a dict")
    found = tuple(stack(part) if isinstance(part, tuple) else part for part in found)
    if len({part.shape for part in found}) > 1:
        raise ValueError(f"{len(found)} parts that are not alike")
    if len({part.dtype == bool for part in found}) > 1:
        raise ValueError("booleans among numbers")
    rounded = any(part.dtype.kind == "f" and part.dtype.itemsize <= 4 for part in found)
    return np.array(found, dtype=np.float32 if rounded else None)


def array(value: Any, what: str = "the result") -> np.ndarray:
    """Return an answer that must be one array; tuples of parts of one shape are stacked."""
    got = to_numpy(value, what)
    if isinstance(got, tuple):
        try:
            return stack(got)
        except ValueError as problem:
            raise NotYet(f"{what} must be one array, got {problem}.") from None
    need(not isinstance(got, dict), f"{what} must be one array, got a dict.")
    return got


def compare(got: Any, expected: Any, *, what: str = "the result", tested: str = "",
            mistakes: Mapping[str, Any] | None = None, error: Any = 0.0,
            relative: Any = 0.0, named_within: Any = 0.0) -> None:
    """Raise NotYet unless two arrays agree in shape and, up to rounding, in value.

    A mistake is named only if it alone, of those given, explains the result to rounding.

    Args:
        got: the result of an answer, as `ask` returns it.
        expected: what is right.
        what: what the result is, with its unit: "the divergence, nats".
        tested: the input, for the message: "mean = [1, 2], log_var = [0, 0]".
        mistakes: what known mistakes give, by their names: full sentences for the student.
        error: the absolute error of `expected`, or a number of standard errors, beside rounding.
        relative: a relative error of `expected`.
        named_within: an absolute error of what the mistakes give, beside rounding. One of
            statistics only where many independent numbers must agree at once: within the error
            of one number other mistakes lie, too.
    """
    got, expected = array(got, what), np.asarray(expected)
    if got.dtype.kind == "b" and expected.dtype.kind != "b":
        raise NotYet(f"{what} must be numbers, got booleans.")
    expected = expected.astype(float)  # booleans have neither differences nor signs
    head = f"tested with {tested}: " if tested else ""
    if agree(got, expected, error, relative):
        return
    explains = [name for name, value in (mistakes or {}).items()
                if agree(got, value, named_within) and not agree(value, expected, error, relative)]
    if len(explains) == 1:
        raise NotYet(f"{head}{what} came out as {show(got)}. {explains[0]}")
    if got.shape != expected.shape:
        raise NotYet(f"{head}{what} has shape {got.shape}, expected {expected.shape}.")
    if not np.all(np.isfinite(got)):
        bad = got[~np.isfinite(got)].flat[0]
        raise NotYet(f"{head}{what} contains {bad}: {show(got)}. Is there an overflow, a logarithm "
                     "of 0, or a division by 0?")
    raise NotYet(f"{head}{what} came out as {show(got)}, and that is not right"
                 f"{'' if explains else pattern(got, expected, error, relative)}.")


def agree(got: Any, expected: Any, error: Any = 0.0, relative: Any = 0.0) -> bool:
    """Return whether two arrays agree up to rounding, relative to the largest element, and errors.

    Arrays of different shape do not agree; neither does what is not finite.
    """
    got, expected = np.asarray(got), np.asarray(expected)
    if got.shape != expected.shape or not np.all(np.isfinite(got)):
        return False
    return bool(np.all(near(got, expected, error, relative)))


def near(got: np.ndarray, expected: np.ndarray, error: Any, relative: Any) -> np.ndarray:
    """Return which elements of two arrays of one shape agree; see `agree`."""
    kind = "float32" if got.dtype.kind == "f" and got.dtype.itemsize <= 4 else "float64"
    scale = np.max(np.abs(expected), initial=0.0)
    difference = np.abs(got.astype(float) - expected.astype(float))
    allowed = ROUNDINGS[kind] * FLOAT32 * scale + error + relative * np.abs(expected)
    return difference <= allowed


def pattern(got: np.ndarray, expected: np.ndarray, error: Any = 0.0, relative: Any = 0.0) -> str:
    """Say whether values are off, to rounding, by one factor or by one summand, if several are."""
    if got.size < 2 or np.ptp(expected) < 1e-3 * np.max(np.abs(expected)):
        return ""
    if agree(got, -expected):
        return ": every sign is the other one"
    summand = np.mean(got.astype(float) - expected)
    with np.errstate(all="ignore"):
        factor = np.sum(got * expected.astype(float)) / np.sum(expected.astype(float)**2)
    by_summand, by_factor = agree(got, expected + summand), agree(got, factor * expected)
    if by_summand and not by_factor:
        return f": every value is off by the same summand, {summand:+.4g}"
    if by_factor and not by_summand and factor:
        return f": every value is off by the same factor, {factor:.6g}"
    wrong = ~near(got, expected, error, relative)
    if 0 < wrong.sum() < wrong.size:
        return f", in {wrong.sum()} of {wrong.size} values"
    return ""


def number(value: Any, what: str) -> float:
    """Return an answer that must be one real number, of any framework."""
    found = to_numpy(value, what)
    if isinstance(found, tuple | dict) or found.size != 1 or found.dtype.kind == "b":
        raise NotYet(f"{what} must be one number, got {describe(value)}.")
    if not math.isfinite(found.item()):
        raise NotYet(f"{what} is {found.item()}.")
    return float(found.item())


def parts(got: Any, *names: str) -> tuple:
    """Return the parts of a result that must be as many numbers or arrays as there are names."""
    got = got if isinstance(got, np.ndarray | tuple) else to_numpy(got)
    if isinstance(got, np.ndarray) and got.ndim and len(got) == len(names):
        got = tuple(np.asarray(part) for part in got)  # a list, or one array of them
    need(isinstance(got, tuple) and len(got) == len(names),
         f"return {len(names)} results: {', '.join(names)}.")
    return got


def scalar(got: Any) -> np.ndarray:
    """Return a result with one element as an array without axes; any other array as it is."""
    found = array(got)
    return found.reshape(()) if found.size == 1 else found


def show(values: Any, most: int = 4) -> str:
    """Return a short text for an array: its first values, and its shape if these are not all."""
    found = np.asarray(values)
    form = "" if found.dtype.kind == "b" else ".5g"
    if found.ndim == 0:
        return format(found.item(), form)
    listed = ", ".join(format(value.item(), form) for value in found.flat[:most])
    return f"[{listed}]" if found.ndim == 1 and found.size <= most else (
        f"[{listed}{', …' if found.size > most else ''}] of shape {found.shape}")


def describe(value: Any) -> str:
    """Return a short text for what a value is."""
    shape = getattr(value, "shape", None)
    kind = type(value).__name__
    return f"{kind} of shape {tuple(shape)}" if shape is not None else f"{kind} {str(value)[:40]!r}"


def first_line(error: BaseException | None) -> str:
    return (str(error).strip().splitlines() or [""])[0][:200]
