"""Bounds on log p(x) from log weights, and how far to trust them (NumPy, float64, nats).

    log w_s = log p(x|h_s) + log p(h_s) − log Q(h_s|x),    h_s ~ Q(h|x),    s = 1 … S

Log weights are an array (n, S): a row for each x, a column for each of its independent samples.
Identity N2: log p(x) ≥ L_K ≥ L_1 = ELBO, and L_K does not decrease with K. These are expectations:
an estimate from S samples may lie above log p(x).
"""

import math
import numbers

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from genmodels.monte_carlo import effective_sample_size
from genmodels.validate import Array, finite_array

__all__ = ["effective_sample_size", "elbo", "importance_weighted_bound"]


def elbo(log_weights: ArrayLike) -> Array:
    """Return the estimate of the ELBO, the mean of log w over the samples: identity B3.

    Args:
        log_weights: shape (n, S), nats.

    Returns:
        One value in nats for each x, shape (n,).

    Raises:
        TypeError: if ``log_weights`` does not hold real numbers.
        ValueError: if it is not of shape (n, S), is empty, or holds NaN or infinity.
    """
    return _checked(log_weights).mean(axis=1)


def importance_weighted_bound(log_weights: ArrayLike, num_samples: int | None = None) -> Array:
    """Return the estimate of L_K = E[log (w_1 + … + w_K)/K], K = ``num_samples``: identity N2.

    The S samples are divided into S/K groups of K, and the groups averaged: each of them estimates
    L_K without bias, and so does their mean.

    Args:
        log_weights: shape (n, S), nats.
        num_samples: K, a divisor of S; S if not given.

    Returns:
        One value in nats for each x, shape (n,).

    Raises:
        TypeError: if ``log_weights`` does not hold real numbers, or K is not an integer.
        ValueError: if ``log_weights`` is not of shape (n, S), is empty, or holds NaN or infinity,
            or if K is less than 1 or does not divide S.

    Source: Burda, Grosse and Salakhutdinov (2016), equation 8.
    """
    log_weights = _checked(log_weights)
    n, S = log_weights.shape
    K = S if num_samples is None else num_samples
    if not isinstance(K, numbers.Integral) or isinstance(K, bool):
        raise TypeError(f"num_samples must be an integer, got {K!r}")
    if K < 1 or S % K != 0:
        raise ValueError(f"num_samples must be a divisor of the {S} samples, at least 1, got {K}")
    groups = log_weights.reshape(n, S // K, K)
    return np.mean(np.asarray(logsumexp(groups, axis=2)) - math.log(K), axis=1)


def _checked(log_weights: ArrayLike) -> Array:
    """Return the log weights as float64, or raise the errors that the functions above document."""
    log_weights = finite_array("log_weights", log_weights)
    if log_weights.ndim != 2 or log_weights.size == 0:
        raise ValueError(
            f"log_weights must have shape (n, S), both at least 1, got {log_weights.shape}"
        )
    return log_weights
