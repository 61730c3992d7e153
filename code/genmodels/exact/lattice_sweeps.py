"""The inner loops of φ⁴ on a lattice, compiled by numba: clusters, Metropolis, hybrid Monte Carlo.

Each works in place on x (n, L, L), or (L, L) where it says so, float64 and periodic: the index −1
is the last one, and i + 1 − L runs from 1 − L to 0. `lattice_fields.Phi4` checks what comes in.
"""

import numpy as np
from numba import njit

__all__ = ["sweeps", "trajectories"]

METROPOLIS_STEP = 2.0  # largest change of a site that is proposed


@njit(cache=True)
def _flip_cluster(x, kappa, stack, inside, rng):
    """Flip a Wolff cluster of x (L, L): bonds of equal signs join it with 1 − e^{−4 κ x x′}."""
    size = len(x)
    inside[:] = False
    first = rng.integers(0, size * size)
    stack[0], length = first, 1
    inside[first // size, first % size] = True
    while length > 0:
        length -= 1
        i, j = stack[length] // size, stack[length] % size
        for u, v in ((i, j - 1), (i, j + 1 - size), (i - 1, j), (i + 1 - size, j)):
            u, v = u % size, v % size
            if not inside[u, v] and rng.random() > np.exp(-4 * kappa * x[i, j] * x[u, v]):
                inside[u, v] = True
                stack[length] = u * size + v
                length += 1
    for i in range(size):
        for j in range(size):
            if inside[i, j]:
                x[i, j] = -x[i, j]


@njit(cache=True)
def _reflect(x, kappa, lam, rng):
    """Overrelaxation of x (L, L): each site is reflected at κ times the sum of its neighbours.

    Of S = Σ [−2 κ x x′ + x² + λ₄ (x² − 1)² − λ₄] only the third term changes, and decides.
    """
    size = len(x)
    for i in range(size):
        for j in range(size):
            around = x[i, j - 1] + x[i, j + 1 - size] + x[i - 1, j] + x[i + 1 - size, j]
            new = 2 * kappa * around - x[i, j]
            change = lam * ((new**2 - 1) ** 2 - (x[i, j] ** 2 - 1) ** 2)
            if change <= 0 or rng.random() < np.exp(-change):
                x[i, j] = new


@njit(cache=True)
def sweeps(x, num_steps, kappa, lam, clusters, rng):
    """Metropolis sweeps of each x[n] (L, L); `clusters`: a cluster and overrelaxation before each.

    Sites are updated in order. Each update leaves e^{−S} unchanged, so their sequence does, too,
    though it has no detailed balance as a whole.
    """
    size, accepted = x.shape[1], 0
    stack, inside = np.empty(size * size, np.int64), np.empty((size, size), np.bool_)
    for n in range(len(x)):
        for _ in range(num_steps):
            if clusters:
                _flip_cluster(x[n], kappa, stack, inside, rng)
                _reflect(x[n], kappa, lam, rng)
            for i in range(size):
                for j in range(size):
                    around = (x[n, i - 1, j] + x[n, i + 1 - size, j]
                              + x[n, i, j - 1] + x[n, i, j + 1 - size])
                    old = x[n, i, j]
                    new = old + METROPOLIS_STEP * (2 * rng.random() - 1)
                    change = (-2 * kappa * around * (new - old) + (1 - 2 * lam) * (new**2 - old**2)
                              + lam * (new**4 - old**4))
                    if change <= 0 or rng.random() < np.exp(-change):
                        x[n, i, j] = new
                        accepted += 1
    return accepted / max(1, len(x) * num_steps * size * size)


@njit(cache=True)
def _kick(x, momentum, kappa, lam, step_size):
    """momentum += step_size · force(x), both (L, L), in place."""
    size = len(x)
    for i in range(size):
        for j in range(size):
            around = x[i - 1, j] + x[i + 1 - size, j] + x[i, j - 1] + x[i, j + 1 - size]
            own = x[i, j]
            momentum[i, j] += step_size * (2 * kappa * around
                                           - own * (2 - 4 * lam + 4 * lam * own * own))


@njit(cache=True)
def _energy(x, momentum, kappa, lam):
    """S(x) + ½ Σ momentum², both (L, L)."""
    size, energy = len(x), 0.0
    for i in range(size):
        for j in range(size):
            square = x[i, j] * x[i, j]
            energy += (0.5 * momentum[i, j]**2 + square * (1 - 2 * lam + lam * square)
                       - 2 * kappa * x[i, j] * (x[i - 1, j] + x[i, j - 1]))
    return energy


@njit(cache=True)
def trajectories(x, num_trajectories, kappa, lam, step_size, num_leapfrog, rng):
    """Hybrid Monte Carlo of each x[n] (L, L), in place, as `hybrid_monte_carlo` does it."""
    size, accepted = x.shape[1], 0
    for n in range(len(x)):
        for _ in range(num_trajectories):
            momentum, end = rng.standard_normal((size, size)), x[n].copy()
            start_energy = _energy(end, momentum, kappa, lam)
            _kick(end, momentum, kappa, lam, 0.5 * step_size)
            for step in range(num_leapfrog):
                end += step_size * momentum
                half = 0.5 if step == num_leapfrog - 1 else 1.0
                _kick(end, momentum, kappa, lam, half * step_size)
            change = _energy(end, momentum, kappa, lam) - start_energy  # NaN if it diverged
            if np.log(rng.random()) < -change:
                x[n] = end
                accepted += 1
    return accepted / max(1, len(x) * num_trajectories)
