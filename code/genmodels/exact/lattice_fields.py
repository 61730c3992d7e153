"""Real fields with known answers: free and φ⁴ on a periodic lattice, and φ⁴ in zero dimensions.

A configuration x has a real number at each of the N = L² sites, shape (L, L), and the density
p(x) = e^{−S(x)}/Z; the action S is a pure number. The lattice spacing is 1. Sums over neighbours
take each bond once, from a site to the next one in either direction (at L = 2 two sites have two
bonds, so that one formula holds for every L). float64 throughout.

φ⁴ is sampled by hybrid Monte Carlo (Duane et al. 1987), or by Wolff's clusters of signs together
with updates of single sites (Brower and Tamayo 1989): by code that has nothing in common but S.
"""

import warnings
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from genmodels.exact.hybrid_monte_carlo import (
    Quartic,
    hybrid_monte_carlo,
    leapfrog,
    warn_if_stuck,
)
from genmodels.exact.lattice_sweeps import sweeps, trajectories
from genmodels.monte_carlo import MIN_CHAINS, check_thermalised
from genmodels.validate import (
    Array,
    check_generator,
    check_positive_int,
    finite_array,
    finite_number,
    plain_array,
)

Method = Literal["cluster", "metropolis", "hmc"]
Start = Literal["ordered", "random"]

__all__ = ["FreeField", "Phi4", "Quartic", "hybrid_monte_carlo", "leapfrog"]

# Steps of a chain that are left out, and from one configuration that is kept to the next.
THERMAL = {"cluster": 250, "metropolis": 5000, "hmc": 100}
BETWEEN = {"cluster": 12, "metropolis": 500, "hmc": 10}


class FreeField:
    """A free field on an L × L lattice: S(x) = ½ Σ [(∂₁x)² + (∂₂x)² + mass² x²], a Gaussian.

    The modes Σ_r x_r e^{−ip·r}/L, p = 2π (i, j)/L, are independent, with mean 0 and the variance
    1/(mass² + 4 sin²(p₁/2) + 4 sin²(p₂/2)), which `variances` holds, (L, L), in the order of
    np.fft.fft2 (identity P4).

    Args:
        size: L, at least 2.
        mass: positive; the correlation length is about 1/mass.
    """

    def __init__(self, size: int, mass: float) -> None:
        self.size, self.mass = _lattice_size(size), finite_number("mass", mass)
        size = self.size
        if self.mass <= 0:
            raise ValueError(f"mass must be positive, got {self.mass:g}")
        momenta = 4 * np.sin(np.pi * np.arange(size) / size) ** 2  # (L,), of one direction
        self.variances = 1 / (self.mass**2 + momenta[:, None] + momenta)

    def sample(self, num_samples: int, rng: np.random.Generator) -> Array:
        """Draw independent configurations, (num_samples, L, L): white noise scaled mode by mode."""
        n = check_positive_int(num_samples, "num_samples")
        white = check_generator(rng).standard_normal((n, self.size, self.size))
        return np.fft.ifft2(np.fft.fft2(white) * np.sqrt(self.variances)).real

    def action(self, x: ArrayLike) -> Array:
        """Return S(x) of the whole lattice, (n,), for x (n, L, L)."""
        x = _configurations(x, self.size)
        squares = (np.roll(x, -1, -2) - x) ** 2 + (np.roll(x, -1, -1) - x) ** 2
        return 0.5 * np.sum(squares + self.mass**2 * x**2, axis=(-2, -1))

    def log_density(self, x: ArrayLike) -> Array:
        """Return log p(x) in nats, (n,), for x (n, L, L)."""
        return -self.action(x) - 0.5 * np.sum(np.log(2 * np.pi * self.variances))

    def score(self, x: ArrayLike) -> Array:
        """Return ∂ log p/∂x = −∂S/∂x, (n, L, L), for x (n, L, L)."""
        x = _configurations(x, self.size)
        return _neighbours(x) - (4 + self.mass**2) * x

    def propagator(self) -> Array:
        """Return ⟨x_0 x_r⟩ for each site r, (L, L)."""
        return np.fft.ifft2(self.variances).real


class Phi4:
    """φ⁴ on an L × L lattice: S(x) = Σ [−2 kappa x (x_right + x_down) + (1 − 2 lam) x² + lam x⁴].

    Args:
        size: L, at least 2.
        kappa: hopping parameter.
        lam: coupling λ₄, at least 0 (in the literature λ). At 0 the field is Gaussian, and kappa
            must be so small that S is bounded below.

    A step of a chain is, by method, "cluster": a cluster of signs that is flipped, then a sweep of
    overrelaxation and a Metropolis sweep of all sites; "metropolis": the latter alone; "hmc": a
    trajectory of `num_leapfrog` steps of `step_size`, accepted or not.
    """

    def __init__(self, size: int, kappa: float, lam: float) -> None:
        self.size = size = _lattice_size(size)
        self.kappa, self.lam = finite_number("kappa", kappa), finite_number("lam", lam)
        cosines = np.cos(2 * np.pi * np.arange(size) / size)
        smallest = 1 - 2 * self.lam - 2 * np.max(self.kappa * (cosines[:, None] + cosines))
        if self.lam < 0 or (self.lam == 0 and smallest <= 0):
            raise ValueError("lam must be positive, or 0 with |kappa| below about 1/4, or the "
                             f"action is unbounded below, got lam = {self.lam:g}, "
                             f"kappa = {self.kappa:g}")

    def action(self, x: ArrayLike) -> Array:
        """Return S(x) of the whole lattice, (n,), for x (n, L, L)."""
        x = _configurations(x, self.size)
        ahead = np.roll(x, -1, -2) + np.roll(x, -1, -1)
        return np.sum(-2 * self.kappa * x * ahead + (1 - 2 * self.lam) * x**2 + self.lam * x**4,
                      axis=(-2, -1))

    def force(self, x: ArrayLike) -> Array:
        """Return −∂S/∂x, (n, L, L), for x (n, L, L). A divergent x gives a divergent force."""
        x = plain_array(x, "x").astype(np.float64, copy=False)
        if x.ndim != 3 or x.shape[1:] != (self.size, self.size):
            raise ValueError(f"x must have shape (n, {self.size}, {self.size}), got {x.shape}")
        return (2 * self.kappa * _neighbours(x) - 2 * (1 - 2 * self.lam) * x
                - 4 * self.lam * x**3)

    def chain(self, num_steps: int, rng: np.random.Generator, *, method: Method = "cluster",
              start: Start = "ordered", step_size: float = 0.25, num_leapfrog: int = 40) -> Array:
        """Return the configurations after each step of one chain, in order, (num_steps, L, L).

        start: "random", white noise of variance 1, or "ordered", 1 plus such noise.
        """
        _check_method(method, step_size, num_leapfrog)
        x = self._start(start, 1, check_generator(rng))
        kept, accepted = np.empty((check_positive_int(num_steps, "num_steps"), *x.shape[1:])), 0.0
        for step in range(num_steps):
            accepted += self._evolve(x, 1, rng, method, step_size, num_leapfrog) / num_steps
            kept[step] = x[0]
        if method == "hmc":
            warn_if_stuck(accepted, num_steps, step_size)
        return kept

    def sample(self, num_samples: int, rng: np.random.Generator, method: Method = "cluster", *,
               num_chains: int = 32, num_thermal: int | None = None,
               num_between: int | None = None, step_size: float = 0.25,
               num_leapfrog: int = 40) -> Array:
        """Draw configurations in equilibrium, (num_samples, L, L), chain after chain.

        Of `num_chains` chains, half start ordered and half from white noise. Each leaves out its
        first `num_thermal` steps and then keeps every `num_between`-th one (THERMAL and BETWEEN
        unless given). With these the correlation of |M|, and of S, between consecutive ones is
        about 0.1 for L = 16, kappa = 0.27, lam = 0.022, close to the transition. The sign of what
        is kept is drawn anew: an exact update, since S(−x) = S(x).

        Raises:
            RuntimeError: the two starts disagree in ⟨|M|⟩ or ⟨S⟩: the chains have not thermalised
                (`monte_carlo.check_thermalised`). 32 chains find a difference of |M| when it is
                twice the standard deviation of |M|, more chains find smaller ones.

        Warns if consecutive |M| are correlated by more than 0.2, or if few trajectories are
        accepted.
        """
        num_chains = check_positive_int(num_chains, "num_chains")
        if num_chains < 2 * MIN_CHAINS:
            raise ValueError(f"num_chains must be at least {2 * MIN_CHAINS}, got {num_chains}")
        rng = check_generator(rng)
        per_chain = -(-check_positive_int(num_samples, "num_samples") // num_chains)
        _check_method(method, step_size, num_leapfrog)
        thermal = THERMAL[method] if num_thermal is None else num_thermal
        thermal = check_positive_int(thermal, "num_thermal") if thermal != 0 else 0
        between = BETWEEN[method] if num_between is None else num_between
        between = check_positive_int(between, "num_between")
        x = np.concatenate([self._start("ordered", num_chains // 2, rng),
                            self._start("random", num_chains - num_chains // 2, rng)])
        kept, accepted = np.empty((num_chains, per_chain, self.size, self.size)), 0.0
        self._evolve(x, thermal, rng, method, step_size, num_leapfrog)
        for number in range(per_chain):
            accepted += self._evolve(x, between, rng, method, step_size, num_leapfrog) / per_chain
            kept[:, number] = x
        if method == "hmc":
            warn_if_stuck(accepted, num_chains * per_chain * between, step_size)
        magnetisation = abs(kept.mean(axis=(-2, -1)))  # (num_chains, per_chain)
        actions = np.stack([self.action(chain) for chain in kept])
        for name, values in (("⟨|M|⟩", magnetisation), ("⟨S⟩", actions)):
            check_thermalised(values[: num_chains // 2], values[num_chains // 2 :], name)
        _warn_if_correlated(magnetisation, between)
        kept *= rng.choice([-1.0, 1.0], size=(num_chains, per_chain, 1, 1))
        return kept.reshape(-1, self.size, self.size)[:num_samples]

    def _start(self, start: Start, num_chains: int, rng: np.random.Generator) -> Array:
        """(num_chains, L, L). With noise, as hmc rejects what leaves x = 1 on a large lattice."""
        if start not in ("ordered", "random"):
            raise ValueError(f"start must be 'ordered' or 'random', got {start!r}")
        noise = rng.standard_normal((num_chains, self.size, self.size))
        return noise + 1 if start == "ordered" else noise

    def _evolve(self, x: Array, num_steps: int, rng: np.random.Generator, method: Method,
                step_size: float, num_leapfrog: int) -> float:
        """Make steps of each chain of x (n, L, L), in place; the share of accepted proposals."""
        if method == "hmc":
            return trajectories(x, num_steps, self.kappa, self.lam, float(step_size),
                                num_leapfrog, rng)
        return sweeps(x, num_steps, self.kappa, self.lam, method == "cluster", rng)


def _neighbours(x: Array) -> Array:
    """The sum of the four neighbours of each site, (..., L, L)."""
    return sum((np.roll(x, shift, axis) for shift in (-1, 1) for axis in (-2, -1)), np.zeros(()))


def _warn_if_correlated(values: Array, num_between: int) -> None:
    """Warn if consecutive values along a row of (num_chains, num_kept) are correlated."""
    offsets = values - values.mean()
    if values.shape[1] < 2:
        return
    correlation = np.mean(offsets[:, 1:] * offsets[:, :-1]) / np.mean(offsets**2)
    if correlation > 0.2 + 4 / np.sqrt(values.size):  # 4 standard errors of it
        warnings.warn(f"consecutive configurations have a correlation {correlation:.2f} of |M|: "
                      f"increase num_between, got {num_between}", stacklevel=3)


def _check_method(method: str, step_size: float, num_leapfrog: int) -> None:
    if method not in THERMAL:
        raise ValueError(f"method must be one of {', '.join(THERMAL)}, got {method!r}")
    if finite_number("step_size", step_size) <= 0:
        raise ValueError(f"step_size must be positive, got {step_size:g}")
    check_positive_int(num_leapfrog, "num_leapfrog")


def _lattice_size(size: int) -> int:
    if check_positive_int(size, "size") < 2:
        raise ValueError(f"size must be at least 2, got {size}")
    return int(size)


def _configurations(x: ArrayLike, size: int) -> Array:
    """Return x as float64, (n, L, L), or raise ValueError, for NaN too."""
    x = finite_array("x", x)
    if x.ndim != 3 or x.shape[1:] != (size, size):
        raise ValueError(f"x must have shape (n, {size}, {size}), got {x.shape}")
    return x
