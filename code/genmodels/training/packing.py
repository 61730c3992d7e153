"""Few copies to a device instead of many: arrays of one kind go there as one, and are cut up."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from genmodels.training.checks import holds_integers

__all__ = ["place_together"]


def place_together(arrays: Sequence[np.ndarray], place: Callable[[np.ndarray], Any],
                   reshape: Callable[[Any, tuple[int, ...]], Any]) -> list[Any]:
    """The arrays as tensors of the same shapes, cut from one tensor of floats and one of integers.

    place: makes a tensor of an array, on the device. reshape: the framework's. A kind of which
    there is one array, and what is a tensor already, is placed as it is.
    """
    result = list(arrays)
    for integers in (True, False):
        chosen = [i for i, array in enumerate(arrays)
                  if isinstance(array, np.ndarray) and holds_integers(array) == integers]
        if len(chosen) > 1:
            dtype = np.int64 if integers else None  # uint64 beside int64 would become floats
            packed = place(np.concatenate([arrays[i].ravel() for i in chosen], dtype=dtype,
                                          casting="unsafe"))
            ends = np.cumsum([arrays[i].size for i in chosen]).tolist()
            for i, start, end in zip(chosen, [0, *ends], ends):
                result[i] = reshape(packed[start:end], arrays[i].shape)
    return [place(array) if array is arrays[i] else array for i, array in enumerate(result)]
