"""What `train` checks in both frameworks: data, terms, device, weights, optimiser."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["check_data", "check_device", "check_finite", "check_optimizer", "check_precise",
           "check_terms", "check_weights", "cpu_has_bfloat16", "holds_integers"]


def check_data(data: Any) -> int:
    """The number of examples; raises TypeError or ValueError unless each array has as many rows."""
    if not isinstance(data, tuple | list) or not data:
        raise TypeError(f"data must be a tuple of arrays, got {type(data).__name__}")
    for i, array in enumerate(data):
        if not (hasattr(array, "shape") and hasattr(array, "dtype")):
            raise TypeError(f"data[{i}] must be an array or tensor, got {type(array).__name__}")
    sizes = [int(array.shape[0]) if len(array.shape) else 0 for array in data]
    if len(set(sizes)) > 1 or not sizes[0]:
        raise ValueError(f"data must have one row for each example in every array, and one example "
                         f"at least, got {sizes} rows")
    return sizes[0]


def check_finite(data: tuple, finite: Callable[[Any], np.ndarray]) -> None:
    """Raises ValueError, naming the first index, if there is NaN or infinity in data.

    data: as they lie on the device: 1e300 is infinite in float32. Integers are always finite.
    finite: whether each number of an array of floats is finite.
    """
    for i, array in enumerate(data):
        if not holds_integers(array) and not (where := finite(array)).all():
            index = tuple(map(int, np.argwhere(~where)[0]))
            raise ValueError(f"data[{i}] must be finite numbers in {array.dtype}, got NaN or "
                             f"infinity at index {index}")


def check_terms(terms: Any, num_examples: int | None,
                tensor: type | tuple[type, ...] = object) -> None:
    """Raises TypeError or ValueError unless terms are what `batch_loss` must return.

    num_examples: in the batch; None where a compiled step takes batches of any size.
    """
    if not isinstance(terms, dict) or "loss" not in terms:
        raise TypeError("batch_loss must return a dictionary of terms with 'loss' among them, got "
                        f"{list(terms) if isinstance(terms, dict) else type(terms).__name__}")
    for name, value in terms.items():
        if not (isinstance(value, tensor) and hasattr(value, "shape")
                and "float" in str(value.dtype)):
            got = getattr(value, "dtype", type(value).__name__)
            raise TypeError(f"batch_loss must return {name!r} as a tensor of floats, got {got}")
        shape = tuple(value.shape)
        expected = (() if name == "objective" else
                    (num_examples,) if name == "loss" else (num_examples, *shape[1:]))
        if len(shape) != len(expected) or any(
                a != b for a, b in zip(shape, expected) if None not in (a, b)):
            raise ValueError(f"batch_loss must return {name!r} of shape {expected}, got {shape}")


def holds_integers(array: Any) -> bool:
    """Whether an array or tensor holds integers. Booleans are none: 0 and 1, placed as floats."""
    return "int" in getattr(array.dtype, "name", str(array.dtype))


def check_optimizer(history: Any, num_steps: int) -> None:
    """Raises ValueError if the history's optimiser, after num_steps steps, is no longer its own.

    It may have lost its state, or have gone on with a copy of the history. (Steps of parts of the
    model that were frozen in turn are fewer than all steps, but not none.)
    """
    lost = num_steps == 0 < history.num_steps
    if lost or num_steps > history.num_steps + history._steps_cut_short:
        raise ValueError(f"history must have as many steps as its optimiser, got "
                         f"{history.num_steps} and {num_steps}")


def check_weights(weights: dict[str, tuple[str, bool, bool]]) -> list[int]:
    """The places of the weights that are frozen.

    For each weight: its type, whether it is finite and whether it is trainable.
    Raises TypeError or ValueError unless a model with these weights can be trained.
    """
    for name, (dtype, finite, _) in weights.items():
        check_precise(dtype, name)
        if not finite:
            raise ValueError(f"model must have finite weights before the first step, got NaN or "
                             f"infinity in {name}")
    frozen = [i for i, (_, _, trainable) in enumerate(weights.values()) if not trainable]
    if len(frozen) == len(weights):
        raise ValueError("model must have weights that are trainable, got none")
    return frozen


def check_precise(dtype: Any, name: str) -> None:
    """Raises TypeError, naming the weight or layer, unless dtype is float32 or float64."""
    dtype = str(dtype).removeprefix("torch.")
    if dtype not in ("float32", "float64"):
        raise TypeError(f"model must be of float32 or float64, got {dtype} in {name}")


def check_device(device: Any, available: list[str],
                 why_no_gpu: Callable[[], str] = str) -> str | None:
    """The name that a device has among those available, such as "cpu", "cuda:0"; None for None.

    "CUDA", "gpu" and "gpu:0" are one. why_no_gpu: says why none is among them, if it is known.
    Raises ValueError if the device is not available.
    """
    if device is None:
        return None
    known = {_common_name(each): each for each in available}
    asked = _common_name(str(device))
    if asked not in known:
        no_gpu = asked.startswith("gpu") and all(name.startswith("cpu") for name in known)
        why = why_no_gpu() if no_gpu else ""
        raise ValueError(f"device must be one of {', '.join(map(repr, available))} or None, "
                         f"got {str(device)!r}" + (f": {why}" if why else ""))
    return known[asked]


def _common_name(device: str) -> str:
    return device.lower().replace("cuda", "gpu").removesuffix(":0")


def cpu_has_bfloat16() -> bool:
    """Whether this CPU says that it multiplies matrices in bfloat16; False where none can ask."""
    cpu_info = Path("/proc/cpuinfo")  # Linux
    flags = cpu_info.read_text().split() if cpu_info.exists() else []
    return any(flag in flags for flag in ("avx512_bf16", "amx_bf16", "bf16"))
