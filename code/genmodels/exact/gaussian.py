"""Multivariate Gaussians: log density, samples and Kullback-Leibler divergences (nats, float64)."""

import numpy as np
from numpy.typing import ArrayLike

from genmodels.validate import Array, finite_array

__all__ = ["cholesky", "kl_divergence", "kl_to_standard_normal", "log_density", "sample"]


def log_density(x: ArrayLike, mean: ArrayLike, cov: ArrayLike) -> Array:
    """Return log N(x; mean, cov) in nats.

    Args:
        x: points, shape (..., k).
        mean: shape (..., k), broadcast against ``x``.
        cov: covariance, shape (k, k), symmetric and positive definite.

    Returns:
        One value for each point, shape (...).

    Raises:
        ValueError: for NaN or infinity, shapes that do not match, or a bad covariance.
    """
    factor = cholesky("cov", cov)  # (k, k), lower triangular, cov = factor @ factor.T
    k = len(factor)
    x, mean = finite_array("x", x, last=k), finite_array("mean", mean, last=k)
    try:
        difference = x - mean  # (..., k)
    except ValueError:
        raise ValueError(
            f"x and mean must have shapes that broadcast, got {x.shape} and {mean.shape}"
        ) from None
    whitened = np.linalg.solve(factor, difference.reshape(-1, k).T)  # (k, n)
    squared = np.sum(whitened**2, axis=0).reshape(difference.shape[:-1])
    return -0.5 * (k * np.log(2 * np.pi) + _log_det(factor) + squared)


def sample(mean: ArrayLike, cov: ArrayLike, num_samples: int, rng: np.random.Generator) -> Array:
    """Draw from N(mean, cov) by h = mean + L ε with cov = L Lᵀ; shape (num_samples, k).

    Raises:
        ValueError: for NaN or infinity, shapes that do not match, or a bad covariance.
    """
    factor = cholesky("cov", cov)
    k = len(factor)
    mean = finite_array("mean", mean, shape=(k,))
    return mean + rng.standard_normal((num_samples, k)) @ factor.T


def kl_divergence(mean0: ArrayLike, cov0: ArrayLike, mean1: ArrayLike, cov1: ArrayLike) -> float:
    """Return D[N(mean0, cov0) ‖ N(mean1, cov1)] in nats: identity K2.

    Args:
        mean0, mean1: shape (k,).
        cov0, cov1: shape (k, k), symmetric and positive definite.

    Raises:
        ValueError: for NaN or infinity, shapes that do not match, or a bad covariance.
    """
    factor0, factor1 = cholesky("cov0", cov0), cholesky("cov1", cov1)
    k = len(factor0)
    if len(factor1) != k:
        raise ValueError(f"cov1 must have shape {(k, k)}, as cov0 has, got {(len(factor1),) * 2}")
    mean0 = finite_array("mean0", mean0, shape=(k,))
    mean1 = finite_array("mean1", mean1, shape=(k,))
    # tr(Σ1⁻¹ Σ0) is the squared norm of L1⁻¹ L0, and the quadratic form that of L1⁻¹ (μ1 − μ0).
    trace = np.sum(np.linalg.solve(factor1, factor0) ** 2)
    quadratic = np.sum(np.linalg.solve(factor1, mean1 - mean0) ** 2)
    return float(0.5 * (trace + quadratic - k + _log_det(factor1) - _log_det(factor0)))


def kl_to_standard_normal(mean: ArrayLike, log_var: ArrayLike) -> Array:
    """Return D[N(mean, diag(exp(log_var))) ‖ N(0, I)] in nats: identity K3.

    Args:
        mean: shape (..., k).
        log_var: log σ², not log σ, same shape.

    Returns:
        The sum over the last axis, shape (...).

    Raises:
        ValueError: for NaN or infinity, or shapes that differ.
    """
    mean, log_var = finite_array("mean", mean), finite_array("log_var", log_var)
    if mean.ndim == 0 or mean.shape != log_var.shape:
        raise ValueError(
            f"mean and log_var must have one shape (..., k), got {mean.shape} and {log_var.shape}"
        )
    return 0.5 * np.sum(np.exp(log_var) + mean**2 - 1 - log_var, axis=-1)


def cholesky(name: str, cov: ArrayLike) -> Array:
    """Return the lower Cholesky factor of a covariance matrix, shape (k, k).

    Raises:
        ValueError: if ``cov`` is not square, finite, symmetric and positive definite.
    """
    cov = finite_array(name, cov)
    if cov.ndim != 2 or cov.shape[0] != cov.shape[1] or cov.size == 0:
        raise ValueError(f"{name} must be a square matrix (k, k), got shape {cov.shape}")
    asymmetry = np.max(np.abs(cov - cov.T))
    # A product of matrices is symmetric up to rounding: allow 1e-10 of the largest entry.
    if asymmetry > 1e-10 * np.max(np.abs(cov)):
        raise ValueError(f"{name} must be symmetric, got entries that differ by {asymmetry:.3g}")
    try:
        return np.linalg.cholesky(cov).astype(np.float64, copy=False)
    except np.linalg.LinAlgError:
        smallest = np.linalg.eigvalsh(cov)[0]
        raise ValueError(
            f"{name} must be positive definite, got a smallest eigenvalue of {smallest:.3g}"
        ) from None


def _log_det(factor: Array) -> float:
    """Return log det Σ from the Cholesky factor of Σ."""
    return 2 * np.sum(np.log(np.diag(factor)))
