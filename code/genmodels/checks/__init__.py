"""The tests of the exercises' answers, a module for each chapter: see `genmodels.exercises`."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from genmodels.exercises import agree, need


def name_mistake(got: np.ndarray, head: str, mistakes: Mapping[str, Any]) -> None:
    """Raise NotYet with the one mistake that gives these random numbers, to rounding, if any.

    For draws whose statistics are wrong. The mistakes are computed from a generator in the state
    that the answer was given, in the usual order: an answer that draws otherwise gets no name.
    """
    explains = [name for name, value in mistakes.items() if agree(got, value)]
    need(len(explains) != 1, head + "".join(explains))
