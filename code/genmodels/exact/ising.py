"""The Ising model on a periodic L × L square lattice: exact answers, and Monte Carlo samples.

    E(x) = −Σ_⟨ij⟩ x_i x_j,    p(x) = exp(−E(x)/T)/Z,    x_i = ±1,  N = L² spins, k_B = 1

The sum runs over the 2N bonds: from each spin one to the right and one down, around the edges.
Energies and heat capacities are per spin, log Z is that of the whole lattice. Everything is
float64, apart from configurations, which are float32: (n, L, L) of −1 and +1.
"""

import math
from typing import Any

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from genmodels.exact.kaufman import (
    CRITICAL_TEMPERATURE,
    check_size,
    check_temperature,
    energy,
    heat_capacity,
    log_partition,
    onsager_energy,
    yang_magnetisation,
)
from genmodels.monte_carlo import check_thermalised
from genmodels.validate import Array, check_generator, check_positive_int, finite_array

Spins = NDArray[np.float32]

__all__ = ["BURN_IN", "CRITICAL_TEMPERATURE", "NUM_CHAINS", "THINNING", "chain",
           "configurations", "energies", "energy", "heat_capacity", "log_partition",
           "onsager_energy", "sample", "yang_magnetisation"]

# Of `sample`. Cluster updates are slowest at T_c: there, at L = 32, energies 10 sweeps apart have a
# correlation of 0.087(4), and after 100 sweeps either start has Kaufman's energy, on average.
NUM_CHAINS = 32  # half of them from the ordered state, half from random spins
BURN_IN = 100  # sweeps before a chain's first sample
THINNING = 10  # sweeps from one sample of a chain to the next


def configurations(size: int) -> Spins:
    """Return all 2^N configurations of a lattice of size 2, 3 or 4; shape (2^N, size, size).

    At size 2 the two bonds between neighbours both count, as `energies` counts them.
    """
    size = check_positive_int(size, "size")
    if size not in (2, 3, 4):
        raise ValueError(f"size must be 2, 3 or 4 (65,536 configurations), got {size}")
    bits = np.arange(2 ** (size**2))[:, None] >> np.arange(size**2) & 1  # (2^N, N)
    return (2 * bits - 1).reshape(-1, size, size).astype(np.float32)


def energies(spins: ArrayLike) -> Array:
    """Return E(x)/N of each configuration, (n,), for spins (n, L, L) of ±1, L ≥ 2.

    Raises:
        TypeError, ValueError: for other shapes, or spins that are not ±1.
    """
    x = finite_array("spins", spins)
    if x.ndim != 3 or x.shape[1] != x.shape[2] or x.shape[1] < 2 or len(x) == 0:
        raise ValueError(f"spins must have shape (n, L, L) with L at least 2, got {x.shape}")
    _check_spins("spins", x)
    return -(x * (np.roll(x, -1, axis=1) + np.roll(x, -1, axis=2))).mean(axis=(1, 2))


def sample(size: int, temperature: float, num_samples: int, rng: np.random.Generator, *,
           burn_in: int = BURN_IN) -> Spins:
    """Draw configurations by cluster updates (Swendsen and Wang 1987); (num_samples, L, L) of ±1.

    32 chains, every second one from random spins and the others from the ordered state, each give
    a sample after ``burn_in`` sweeps and then every 10 sweeps. Both starts must agree in energy and
    |m| (`monte_carlo.check_thermalised`). The result holds one chain after the other. Within a
    chain, consecutive samples have a correlation of at most 0.1 in energy and |m|, up to L = 32 (at
    T_c; less elsewhere).

    Args:
        size: L ≥ 3.
        temperature: T > 0.
        num_samples: any number; the last chains may give fewer than the others.
        rng: is advanced; one seed gives one result.
        burn_in: sweeps, one or more.

    Raises:
        RuntimeError: the two starts disagree: the chains have not thermalised.
        TypeError, ValueError: for other arguments.
    """
    size, temperature = check_size(size), check_temperature(temperature)
    num_samples = check_positive_int(num_samples, "num_samples")
    burn_in = check_positive_int(burn_in, "burn_in")
    length = -(-num_samples // NUM_CHAINS)
    out = np.empty((NUM_CHAINS, length, size, size), np.int8)
    for number, samples in enumerate(out):
        spins = _start(("ordered", "random")[number % 2], size, rng)
        _cluster_sweeps(spins, temperature, samples[:1], burn_in, rng)
        _cluster_sweeps(spins, temperature, samples[1:], THINNING, rng)
    flat = out.reshape(-1, size, size).astype(np.float32)
    for name, values in (("⟨E⟩/N", energies(flat)), ("⟨|m|⟩", abs(flat.mean(axis=(1, 2))))):
        of_chains = values.reshape(NUM_CHAINS, length)
        check_thermalised(of_chains[::2], of_chains[1::2], name)
    return flat[:num_samples]


def chain(size: int, temperature: float, num_sweeps: int, rng: np.random.Generator, *,
          algorithm: str = "swendsen-wang", start: str | ArrayLike = "ordered") -> Spins:
    """Return one Markov chain, the configuration after each sweep; (num_sweeps, L, L) of ±1.

    Nothing is left out at the beginning, and consecutive configurations are correlated.

    Args:
        size, temperature, rng: as in `sample`.
        num_sweeps: one or more.
        algorithm: "swendsen-wang", which renews all clusters in a sweep, or "metropolis", N trials
            to flip a spin drawn at random.
        start: "ordered", "random", or the spins to go on from, (L, L).

    Raises:
        TypeError, ValueError: for other arguments.
    """
    size, temperature = check_size(size), check_temperature(temperature)
    sweeps = {"swendsen-wang": _cluster_sweeps, "metropolis": _metropolis_sweeps}
    if algorithm not in sweeps:
        raise ValueError(f"algorithm must be one of {', '.join(sweeps)}, got {algorithm!r}")
    spins = _start(start, size, rng)
    out = np.empty((check_positive_int(num_sweeps, "num_sweeps"), size, size), np.int8)
    sweeps[algorithm](spins, temperature, out, 1, rng)
    return out.astype(np.float32)


# Loops rather than assignments of arrays: these take numba ten times as long to compile.
@numba.njit(cache=True)
def _root(parent, i):
    """The first spin of the cluster of spin i; no parent comes after its child."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@numba.njit(cache=True)
def _cluster_sweeps(spins, temperature, out, every, rng):
    """Renew spins (L, L) again and again; out[s] is what they are after (s + 1) · every sweeps."""
    size = spins.shape[0]
    flat = spins.reshape(size * size)  # a view
    probability = 1 - math.exp(-2 / temperature)  # that equal neighbours are joined
    parent = np.empty(size * size, np.int32)
    for s in range(len(out)):
        for _ in range(every):
            for i in range(size * size):
                parent[i] = i
            for i in range(size * size):
                row, column = i // size, i % size
                right = row * size + (column + 1) % size
                down = (row + 1) % size * size + column
                for j in (right, down):
                    if flat[i] == flat[j] and rng.random() < probability:
                        a, b = _root(parent, i), _root(parent, j)
                        parent[max(a, b)] = min(a, b)
            for i in range(size * size):  # a parent comes first, and has its new value
                if parent[i] == i:
                    flat[i] = 1 if rng.random() < 0.5 else -1
                else:
                    flat[i] = flat[parent[i]]
        for i in range(size * size):
            out[s, i // size, i % size] = flat[i]


@numba.njit(cache=True)
def _metropolis_sweeps(spins, temperature, out, every, rng):
    """As `_cluster_sweeps`, with N trials to flip one spin in each sweep."""
    size = spins.shape[0]
    for s in range(len(out)):
        for _ in range(every * size * size):
            i, j = int(size * rng.random()), int(size * rng.random())
            neighbours = (spins[i - 1, j] + spins[(i + 1) % size, j]
                          + spins[i, j - 1] + spins[i, (j + 1) % size])
            cost = 2 * spins[i, j] * neighbours
            if cost <= 0 or rng.random() < math.exp(-cost / temperature):
                spins[i, j] = -spins[i, j]
        for k in range(size * size):
            out[s, k // size, k % size] = spins[k // size, k % size]


def _start(start: Any, size: int, rng: Any) -> NDArray[np.int8]:
    """Return the spins with which a chain begins, (size, size), as an array of its own."""
    rng = check_generator(rng)
    if isinstance(start, str):
        if start not in ("ordered", "random"):
            raise ValueError(f"start must be ordered, random or spins, got {start!r}")
        if start == "ordered":
            return np.ones((size, size), np.int8)
        return (2 * rng.integers(2, size=(size, size)) - 1).astype(np.int8)
    spins = finite_array("start", start, shape=(size, size))
    _check_spins("start", spins)
    return spins.astype(np.int8)


def _check_spins(name: str, x: Array) -> None:
    if not np.all(abs(x) == 1):
        raise ValueError(f"{name} must be −1 or +1, got {x[abs(x) != 1][0]:g}")
