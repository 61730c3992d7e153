"""Hybrid Monte Carlo for any action, and one number whose every average is known by quadrature.

    H(x, momentum) = S(x) + ½ Σ momentum²,    density e^{−S(x)}/Z    (identity P3)

A trajectory draws a normal momentum, follows Hamilton's equations for a while, and is accepted with
the probability min(1, e^{−ΔH}) (Duane, Kennedy, Pendleton and Roweth 1987). NumPy, float64, n
chains at once. `Quartic` is φ⁴ in zero dimensions.
"""

import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from genmodels.validate import (
    Array,
    check_generator,
    check_positive_int,
    finite_array,
    finite_number,
)

__all__ = ["Quartic", "hybrid_monte_carlo", "leapfrog", "warn_if_stuck"]


def leapfrog(x: Array, momentum: Array, force: Callable[[Array], Array], step_size: float,
             num_steps: int) -> tuple[Array, Array]:
    """Follow dx/dτ = momentum, dmomentum/dτ = force(x) over num_steps steps of step_size.

    Returns x and momentum at the end, of the shapes given. Reversible: from there, with −momentum,
    it returns to where it began. It preserves volume, since each half of a step shifts one of the
    two by a function of the other; the energy changes by O(step_size²).
    """
    momentum = momentum + 0.5 * step_size * force(x)
    for step in range(num_steps):
        x = x + step_size * momentum
        half = 0.5 if step == num_steps - 1 else 1.0
        momentum = momentum + half * step_size * force(x)
    return x, momentum


def hybrid_monte_carlo(
    x: Array, action: Callable[[Array], Array], force: Callable[[Array], Array],
    num_trajectories: int, rng: np.random.Generator, *, step_size: float, num_steps: int,
) -> tuple[Array, Array]:
    """Sample e^{−S} by hybrid Monte Carlo, n chains at once (identity P3).

    Args:
        x: where the chains start, (n, ...).
        action: a function of x that returns S, (n,).
        force: a function of x that returns −∂S/∂x, (n, ...).

    Returns the chains, (num_trajectories, n, ...), and ΔH = H(end) − H(start) of each trajectory,
    accepted or not, (num_trajectories, n). In equilibrium ⟨e^{−ΔH}⟩ = 1, whose measured value is
    too low when the step is coarse: rare starts carry the average. A trajectory that diverges has
    ΔH = ∞. Warns if few trajectories are accepted.
    """
    x, rng = finite_array("x", x), check_generator(rng)
    if x.ndim == 0 or x.size == 0:
        raise ValueError(f"x must have shape (n, ...) with n at least 1, got {x.shape}")
    num_trajectories = check_positive_int(num_trajectories, "num_trajectories")
    num_steps = check_positive_int(num_steps, "num_steps")
    if not 0 < step_size < np.inf:
        raise ValueError(f"step_size must be a positive number, got {step_size!r}")
    for name, shape, expected in (("action", np.shape(action(x)), x.shape[:1]),
                                  ("force", np.shape(force(x)), x.shape)):
        if shape != expected:
            raise ValueError(f"{name} must return an array {expected} for x {x.shape}, got {shape}")
    sites = tuple(range(1, x.ndim))
    kept, changes = np.empty((num_trajectories, *x.shape)), np.empty((num_trajectories, len(x)))
    accepted = 0
    for trajectory in range(num_trajectories):
        momentum = rng.standard_normal(x.shape)
        with np.errstate(over="ignore", invalid="ignore"):
            end, end_momentum = leapfrog(x, momentum, force, step_size, num_steps)
            kinetic = 0.5 * np.sum(end_momentum**2 - momentum**2, axis=sites)
            finite = np.isfinite(kinetic) & np.all(np.isfinite(end), axis=sites)
            end[~finite] = x[~finite]
            change = kinetic + action(end) - action(x)
        changes[trajectory] = np.where(finite & np.isfinite(change), change, np.inf)
        accept = np.log(rng.random(len(x))) < -changes[trajectory]
        x[accept] = end[accept]
        accepted += accept.mean() / num_trajectories
        kept[trajectory] = x
    warn_if_stuck(accepted, changes.size, step_size)
    return kept, changes


def warn_if_stuck(acceptance: float, count: int, step_size: float) -> None:
    """Warn, and say what to change, if clearly less than 0.3 of all trajectories are accepted.

    That is half of what costs least, 0.65 or so on large lattices.
    """
    if acceptance < 0.3 - 2 * np.sqrt(0.3 * 0.7 / count):  # two standard errors
        warnings.warn(f"{acceptance:.1%} of the trajectories were accepted with step_size "
                      f"{step_size:g}, so that the chain hardly moves: make step_size smaller, and "
                      "num_steps (of Phi4: num_leapfrog) larger by the same factor", stacklevel=3)


class Quartic:
    """φ⁴ in zero dimensions: one number with S(x) = coupling x⁴ + mu x² − field x, by quadrature.

    Args:
        coupling: at least 0.
        mu: any number, positive if coupling is 0; below 0 there are two wells.
        field: external field.

    `points` and `weights`, both (m,), stand for the density: ⟨f⟩ = Σ weights f(points), the
    trapezoidal rule, as exact as rounding where f is smooth; `log_partition` is log ∫ e^{−S} dx.
    """

    def __init__(self, coupling: float, mu: float, field: float = 0.0) -> None:
        self.coupling = finite_number("coupling", coupling)
        self.mu, self.field = finite_number("mu", mu), finite_number("field", field)
        if self.coupling < 0 or (self.coupling == 0 and self.mu <= 0):
            raise ValueError("coupling must be positive, or 0 with mu > 0, or the action is "
                             f"unbounded below, got coupling = {self.coupling:g}, mu = {self.mu:g}")
        reach = 1e-3
        while True:  # until e^{−S} at both ends is e^{−700} of its maximum
            self.points = np.linspace(-reach, reach, 4001)
            logs = -self.action(self.points)
            if max(logs[0], logs[-1]) < logs.max() - 700:
                break
            reach *= 1.1
        spacing, top = self.points[1] - self.points[0], self.points[logs.argmax()]
        curvature = 12 * self.coupling * top**2 + 2 * self.mu  # S″ where the density is largest
        if spacing**2 * curvature > 0.25:  # half a standard deviation
            raise ValueError("mu must not make the wells so narrow that the points miss them, got "
                             f"coupling = {self.coupling:g}, mu = {self.mu:g}")
        unnormalised = np.exp(logs - logs.max())
        self.weights = unnormalised / unnormalised.sum()
        self.log_partition = float(logs.max() + np.log(unnormalised.sum() * spacing))

    def action(self, x: ArrayLike) -> Array:
        """Return S(x), of the shape of x: any, each element a configuration."""
        x = finite_array("x", x)
        return self.coupling * x**4 + self.mu * x**2 - self.field * x

    def force(self, x: ArrayLike) -> Array:
        """Return −∂S/∂x, of the shape of x."""
        x = np.asarray(x)
        return self.field - 2 * self.mu * x - 4 * self.coupling * x**3

    def log_density(self, x: ArrayLike) -> Array:
        """Return log p(x) in nats, of the shape of x."""
        return -self.action(x) - self.log_partition

    def average(self, function: Callable[[Array], Array]) -> float:
        """Return ⟨function(x)⟩, for a function of an array of points: lambda x: x**2."""
        return float(self.weights @ function(self.points))
