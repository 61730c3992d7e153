"""What answers are compared with: call one, bring its result to NumPy, say what is wrong with it.

A check calls `ask` for an answer's result, in whatever framework it is written, and `compare` holds
it against what is right: `NotYet` tells the student what came out and, where it is known, which
mistake it is.
"""

import contextlib
import copy
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

__all__ = ["Failed", "NotYet", "Stub", "agree", "array", "ask", "ask_drawing", "ask_seeded",
           "chosen", "compare", "first_line", "name_mistake", "need", "number", "parts", "scalar",
           "show", "to_numpy"]

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


def name_mistake(got: np.ndarray, head: str, mistakes: Mapping[str, Any]) -> None:
    """Raise NotYet with the one mistake that gives these random numbers, to rounding, if any.

    For draws whose statistics are wrong. The mistakes are computed from a generator in the state
    that the answer was given, in the usual order: an answer that draws otherwise gets no name.
    """
    explains = [name for name, value in mistakes.items() if agree(got, value)]
    need(len(explains) != 1, head + "".join(explains))


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
        factor = np.sum(got * expected) / np.sum(expected**2)
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


def chosen(value: Any, names: Iterable[str], what: str) -> str:
    """The answer called `what`; raises NotYet unless it is one of the names."""
    names = list(names)  # or "AB" would be among the letters "ABCD"
    need(isinstance(value, str) and value in names,
         f"`{what}` must be one of {', '.join(map(repr, names))}.")
    return value


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
    """Return the first line of what an exception says."""
    return (str(error).strip().splitlines() or [""])[0][:200]
