"""The labelled Gaussian of the chapter on guidance, and random numbers for its samples."""

import numpy as np

__all__ = ["data"]


def data() -> dict:
    """Return mean and variance with the label, the range of the weight, and standard normal noise.

    Without the label the data are N(0, 1), as in the chapter's cell with the closed forms.
    """
    return {"mean": 1.3, "variance": 0.3, "start": 3, "last": 5,
            "noise": np.random.default_rng(0).standard_normal(100)}
