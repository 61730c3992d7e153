"""Deterministic mode: GENMODELS_DETERMINISTIC=1 asks for the same bits in every run on one machine.

A GPU is often faster when it adds in whatever order its threads come to an end. Here is only what
the variable says; how each framework is told stands in `torch_tensors` and `keras_tensors`.
"""

import os

__all__ = ["VARIABLE", "deterministic_mode_is_wanted"]

VARIABLE = "GENMODELS_DETERMINISTIC"


def deterministic_mode_is_wanted() -> bool:
    """Whether the variable is 1; 0, empty and unset say no. Raises ValueError if it is another."""
    value = os.environ.get(VARIABLE, "")
    if value not in ("", "0", "1"):
        raise ValueError(f"{VARIABLE} must be 0 or 1, got {value!r}")
    return value == "1"
