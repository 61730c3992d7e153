"""How much to compute: `quick` (tests), `laptop` (the rendered book) or `full` (a GPU)."""

import os
from typing import TypeVar

__all__ = ["budget"]

T = TypeVar("T")

VARIABLE = "GENMODELS_BUDGET"
DEFAULT = "laptop"


def budget(*, quick: T, laptop: T, full: T) -> T:
    """Return the argument that the environment variable `GENMODELS_BUDGET` names.

    Without the variable, or when it is empty, this is `laptop`.

    Raises:
        ValueError: the variable holds anything but `quick`, `laptop` or `full`.
    """
    choices = {"quick": quick, "laptop": laptop, "full": full}
    chosen = os.environ.get(VARIABLE) or DEFAULT
    if chosen not in choices:
        allowed = ", ".join(choices)
        raise ValueError(f"{VARIABLE} must be one of {allowed}, got {chosen!r}")
    return choices[chosen]
