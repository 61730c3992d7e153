"""Checks of what a user passes in, in one grammar: `x must be …, got …`.

What NumPy would do in silence is refused, or done visibly: an array becomes a plain one by a copy,
never by a cast that loses something.
"""

import math
import numbers
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

__all__ = ["check_examples", "check_flag", "check_generator", "check_positive_int", "check_seed",
           "check_shape", "check_share", "finite_array", "finite_number", "is_a", "plain_array"]


def finite_array(
    name: str, value: ArrayLike, *, last: int | None = None, shape: tuple[int, ...] | None = None
) -> Array:
    """Return ``value`` as a float64 array of its own (see ``plain_array``).

    Raises:
        TypeError: if it is not an array of real numbers.
        ValueError: if it holds NaN, infinity or masked numbers, if its last axis has not length
            ``last``, or if it has not ``shape``.
    """
    array = plain_array(value, name)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} must hold real numbers, got {array.dtype}")
    if np.ma.is_masked(value):
        raise ValueError(f"{name} must hold no masked numbers, got some")
    array = array.astype(np.float64, copy=False)
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name} must be finite, got NaN or infinity")
    if last is not None and (array.ndim == 0 or array.shape[-1] != last):
        raise ValueError(f"{name} must have shape (..., {last}), got {array.shape}")
    if shape is not None and array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    return array


def finite_number(name: str, value: Any) -> float:
    """Return ``value`` as a float; raises TypeError or ValueError, with its name, unless it is one.

    An array with no axes is one, too.
    """
    return float(finite_array(name, value, shape=()))


def plain_array(value: ArrayLike, name: str = "the argument") -> NDArray:
    """Return a copy of ``value`` whose layout is NumPy's usual one, whatever that of ``value``.

    Writable, in the machine's byte order, its rows one after the other in memory. A tensor may have
    a gradient or lie on a GPU. bfloat16, which NumPy does not know, becomes float32.
    Raises TypeError, with its name, if it is a list of rows that differ in length.
    """
    if hasattr(value, "detach"):  # PyTorch
        value = value.detach().cpu()
        value = value.float() if "bfloat16" in str(value.dtype) else value
    try:
        array = np.asarray(value)
    except ValueError:
        raise TypeError(f"{name} must be an array, got rows that differ in length") from None
    native = np.float32 if array.dtype.name == "bfloat16" else array.dtype.newbyteorder("=")
    return np.array(array, dtype=native, order="C")


def is_a(value: Any, name: str) -> bool:
    """Whether a value is of the class with this name, as "genmodels.training.history.History".

    `isinstance` would refuse what was made before the class's module was reloaded: the module then
    has another class of the same name.
    """
    return any(f"{cls.__module__}.{cls.__qualname__}" == name for cls in type(value).__mro__)


def check_positive_int(value: Any, name: str) -> int:
    """The integer ≥ 1 as Python's: Keras and JSON take no NumPy integers, and small ones wrap.

    Raises TypeError or ValueError, naming the argument, unless value is one.
    """
    if not isinstance(value, numbers.Integral) or isinstance(value, bool):
        raise TypeError(f"{name} must be a positive integer, got {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}")
    return int(value)


def check_flag(value: Any, name: str) -> bool:
    """The value itself; raises TypeError unless it is True or False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def check_generator(rng: Any) -> np.random.Generator:
    """The generator itself; raises TypeError unless it is NumPy's `np.random.default_rng(seed)`."""
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng must be a NumPy Generator, got {rng!r}")
    return rng


def check_seed(seed: Any) -> None:
    """Raises TypeError or ValueError unless seed is an integer ≥ 0."""
    if not isinstance(seed, numbers.Integral) or isinstance(seed, bool):
        raise TypeError(f"seed must be a non-negative integer, got {seed!r}")
    if seed < 0:
        raise ValueError(f"seed must be a non-negative integer, got {seed!r}")


def check_share(share: Any, name: str) -> None:
    """Raises TypeError or ValueError, naming the argument, unless share is a number in [0, 1]."""
    if not isinstance(share, numbers.Real) or isinstance(share, bool):
        raise TypeError(f"{name} must be a number between 0 and 1, got {share!r}")
    if not 0 <= share <= 1:
        raise ValueError(f"{name} must be a number between 0 and 1, got {share!r}")


def check_shape(shape: Any, multiple: int = 1) -> tuple[int, ...]:
    """The shape of one example as a tuple.

    Raises TypeError or ValueError unless it is one or more positive integers, and the last two are
    multiples of `multiple`: a network that halves twice needs multiples of 4.
    """
    if not isinstance(shape, tuple | list) or not shape:
        raise TypeError(f"shape must be a tuple of positive integers such as (16, 16), "
                        f"got {shape!r}")
    shape = tuple(check_positive_int(size, "each size in shape") for size in shape)
    if multiple > 1 and (len(shape) != 2 or any(size % multiple for size in shape)):
        raise ValueError(f"shape must be two multiples of {multiple}, got {shape}")
    return shape


def check_examples(x: Any, name: str, shape: tuple[int, ...], low: float = -math.inf,
                   high: float = math.inf) -> None:
    """Raises an error unless x holds floats from low to high, of shape (n, *shape), finite.

    x: NumPy array, torch tensor (on any device) or TensorFlow tensor; name: how messages call it.

    TypeError: not an array or tensor, or not of floating-point type. ValueError: another shape, no
    example at all, NaN or infinity (the first place is named), or values below low or above high.
    """
    bounds = f" in [{low:g}, {high:g}]" if math.isfinite(low) else ""
    floats = f"{name} must be floats{bounds} of shape (n, {', '.join(map(str, shape))})"
    if not (hasattr(x, "shape") and hasattr(x, "dtype")):
        raise TypeError(f"{floats}, as an array or tensor, got a {type(x).__name__}")
    dtype = getattr(x.dtype, "name", str(x.dtype)).removeprefix("torch.")
    if not dtype.startswith(("float", "bfloat")):
        hint = " (divide by 255)" if dtype == "uint8" and (low, high) == (0, 1) else ""
        raise TypeError(f"{floats}, got {dtype}{hint}")
    if tuple(x.shape)[1:] != shape or x.shape[0] == 0:
        raise ValueError(f"{floats} with n at least 1, got {tuple(x.shape)}")

    values = x.detach() if hasattr(x, "detach") else np.asarray(x)
    smallest, largest = float(values.min()), float(values.max())  # NaN if there is one
    if not (math.isfinite(smallest) and math.isfinite(largest)):
        place = np.argwhere(~np.isfinite(plain_array(x)))[0]
        raise ValueError(f"{floats}, got NaN or infinity, first at "
                         f"{tuple(map(int, place))}")
    if smallest < low or largest > high:
        grey = (low, high) == (0, 1) and smallest >= 0 and largest <= 255
        hint = " (divide by 255)" if grey else ""
        raise ValueError(f"{floats}, got values from {smallest:g} to {largest:g}{hint}")
