"""Which data a decoder p(x|h) has a likelihood for. Nothing here knows a framework.

    "bernoulli"        x in [0, 1], the decoder gives logits; a likelihood if x is 0 or 1, else the
                       usual cross-entropy
    "spins"            x = ±1, the decoder gives the logits of x = 1
    "gaussian"         any real x, the decoder gives the mean; variance 1
    "gaussian-pixels"  x in [0, 1], the decoder gives the mean minus ½, in [−1, 1]; variance 1

A model names the one that it uses as its `likelihood`.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from genmodels.validate import check_examples, check_positive_int, check_seed, plain_array

__all__ = ["BOUNDS", "DIGITS", "check_data", "check_density", "check_latent", "check_likelihood",
           "in_batches"]

DIGITS = (28, 28)  # the shape of the lecture's examples
BOUNDS = {"bernoulli": (0.0, 1.0), "spins": (-1.0, 1.0), "gaussian": (-math.inf, math.inf),
          "gaussian-pixels": (0.0, 1.0)}


def check_likelihood(likelihood: Any) -> str:
    """Raises ValueError unless likelihood is the name of one."""
    if not isinstance(likelihood, str) or likelihood not in BOUNDS:
        raise ValueError(f"likelihood must be one of {', '.join(map(repr, BOUNDS))}, "
                         f"got {likelihood!r}")
    return likelihood


def check_data(x: Any, name: str, shape: tuple[int, ...], likelihood: str) -> None:
    """Raises TypeError or ValueError unless x (n, *shape) are data that the decoder has a loss for.
    """
    check_examples(x, name, shape, *BOUNDS[likelihood])
    if likelihood == "spins":
        values = plain_array(x)
        wrong = np.argwhere(np.abs(values) != 1)
        if len(wrong):
            raise ValueError(f"{name} must hold spins, -1 or 1, got {values[tuple(wrong[0])]:g} at "
                             f"{tuple(map(int, wrong[0]))}")


def check_density(x: Any, name: str, shape: tuple[int, ...], likelihood: str) -> None:
    """The same, and for Bernoulli pixels zeros and ones: others have no likelihood."""
    check_data(x, name, shape, likelihood)
    if likelihood == "bernoulli":
        values = plain_array(x)
        if not np.all((values == 0) | (values == 1)):
            raise ValueError(f"{name} must hold zeros and ones, got grey values, which have no "
                             "likelihood under Bernoulli pixels: see `iwae_torch.binarise`")


def check_latent(h, name: str, latent_dim: int, n: int | None, samples: bool) -> None:
    """Raises TypeError or ValueError unless h holds floats and has shape (n, k), any n if None.

    With `samples` the shape is (n, K, k), for any K ≥ 1. NumPy arrays and tensors alike.
    """
    if "float" not in getattr(h.dtype, "name", str(h.dtype)):  # ">f4" has the name "float32"
        raise TypeError(f"{name} must hold floats, got {h.dtype}")
    shape = tuple(h.shape)
    axes = [n or "n", *(["K"] if samples else []), latent_dim]
    if len(shape) != len(axes) or any(given != axis if isinstance(axis, int) else given < 1
                                      for given, axis in zip(shape, axes)):
        free = [axis for axis in axes if isinstance(axis, str)]
        expected = f"({', '.join(map(str, axes))})"
        expected += f" with {' and '.join(free)} at least 1" if free else ""
        raise ValueError(f"{name} must have shape {expected}, got {shape}")


def in_batches(terms: Callable[[Any, np.ndarray], np.ndarray], x: Any, latent_dim: int,
               batch_size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What `evaluate` returns: terms(x, noise), (2, n), of all examples, in float64.

    The noise (n, k) of an example follows from seed and from its place.
    Raises TypeError or ValueError unless batch_size is a positive integer and seed one ≥ 0.
    """
    check_positive_int(batch_size, "batch_size")
    check_seed(seed)
    shape = (len(x), latent_dim)
    noise = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    parts = [terms(x[i:i + batch_size], noise[i:i + batch_size]).astype(np.float64)
             for i in range(0, len(x), batch_size)]
    log_likelihood, kl = np.concatenate(parts, axis=1)  # (n,), (n,)
    return log_likelihood, kl
