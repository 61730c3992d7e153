"""Observables of configurations on an L × L lattice with periodic boundaries (NumPy, float64).

For spins and for real fields alike: x has shape (n, L, L), N = L² sites, and M = x.mean() of each.
Every average comes with its standard error, and takes weights: identity P6.
"""

import numpy as np
from numpy.typing import ArrayLike

from genmodels.monte_carlo import jackknife
from genmodels.validate import Array, finite_array

__all__ = ["correlation", "observables"]


def correlation(x: ArrayLike) -> Array:
    """Return G(t) of each configuration, t = 0 … L//2: shape (n, L//2 + 1).

    The product of the averages over two parallel lines at distance t, averaged over all pairs of
    lines in both directions. Its mean over configurations is the correlation function at momentum
    zero, divided by L; nothing is subtracted.

    Raises TypeError or ValueError unless ``x`` is finite, of shape (n, L, L), with L ≥ 2.
    """
    return _correlation(_configurations(x))


def observables(
    x: ArrayLike, density: ArrayLike, *, log_weights: ArrayLike | None = None, num_blocks: int = 50
) -> dict[str, tuple]:
    """Return averages over configurations, each as (value, standard error).

    Args:
        x: shape (n, L, L): independent configurations, or chains one after the other, in order,
            with blocks longer than their correlations.
        density: shape (n,), energy or action per site of each.
        log_weights: shape (n,), nats, if x was drawn from a proposal.
        num_blocks: of the jackknife.

    Returns:
        "M" ⟨M⟩, "abs_M" ⟨|M|⟩, "chi2" N(⟨M²⟩ − ⟨M⟩²), "chi" N(⟨M²⟩ − ⟨|M|⟩²), "U_L"
        1 − ⟨M⁴⟩/(3⟨M²⟩²), "x2" ⟨x²⟩, "density", and "G" with arrays of shape (L//2 + 1,).

    Raises:
        TypeError: if an argument does not hold real numbers.
        ValueError: for other shapes, L < 2, NaN or infinity, M = 0 throughout, and what `jackknife`
            refuses.
    """
    x = _configurations(x)
    n, size, _ = x.shape
    density = finite_array("density", density, shape=(n,))
    m = x.mean(axis=(1, 2))
    if not np.any(m):
        raise ValueError("x must have a configuration whose mean is not 0, got none: the Binder "
                         "cumulant is 0/0")
    columns = np.column_stack([m, np.abs(m), m**2, m**4, np.mean(x**2, axis=(1, 2)), density,
                               _correlation(x)])

    def statistic(mean: Array) -> Array:
        m1, abs_m, m2, m4 = mean[:4]
        return np.concatenate([
            [m1, abs_m, size**2 * (m2 - m1**2), size**2 * (m2 - abs_m**2), 1 - m4 / (3 * m2**2)],
            mean[4:]])

    value, error = jackknife(statistic, columns, num_blocks=num_blocks, log_weights=log_weights)
    names = ["M", "abs_M", "chi2", "chi", "U_L", "x2", "density"]
    result = {name: (float(value[i]), float(error[i])) for i, name in enumerate(names)}
    return result | {"G": (value[len(names):], error[len(names):])}


def _correlation(x: Array) -> Array:
    lines = [x.mean(axis=2), x.mean(axis=1)]  # (n, L) each: of rows and of columns
    distances = range(x.shape[1] // 2 + 1)
    return np.stack([sum(np.mean(line * np.roll(line, t, axis=1), axis=1) for line in lines) / 2
                     for t in distances], axis=1)


def _configurations(x: ArrayLike) -> Array:
    x = finite_array("x", x)
    if x.ndim != 3 or x.shape[1] != x.shape[2] or x.shape[1] < 2 or len(x) == 0:
        raise ValueError(f"x must have shape (n, L, L), n at least 1 and L at least 2, "
                         f"got {x.shape}")
    return x
