"""Diffusion of periodic fields, mode by mode: spectra, exact denoisers, a sampler in the angle.

    x_k = (1/L) Σ_r x_r e^{−ik·r}   modes of a field x (L, L), as `rfft2` with norm="ortho" has them
    P_k = ⟨|x_k|²⟩                  their power; P_0 = L² ⟨M²⟩, χ₂ if ⟨M⟩ = 0

With x_t = √α̅ x_0 + √(1 − α̅) ε and the noise level σ = √((1 − α̅)/α̅), each mode has an angle θ_k:

    tan θ_k = σ/√P_k
    y_k = cos θ_k · x_0k/√P_k + sin θ_k · ε_k    the noisy mode, scaled to variance 1
    v_k = cos θ_k · ε_k − sin θ_k · x_0k/√P_k    = dy_k/dθ_k

The probability-flow ODE is dy_k/dθ_k = E[v_k|x_t]. For Gaussian data of mean 0 with independent
modes y and v are independent, so that the right side is 0: a method that steps in the angle is then
exact, with any steps, if P_k is right.

A denoiser is what `diffusion` calls so, a function (x, alpha_bar) -> x̂_0, an estimate of x_0.
Fields are (n, L, L). A single real variable has one "mode", itself, and the number P = ⟨x²⟩ as its
power.
"""

import math
from collections.abc import Callable, Iterable
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from genmodels.diffusion import Denoiser, NoiseSchedule, denoise
from genmodels.validate import Array, check_positive_int, finite_array, plain_array

__all__ = ["angle_heun", "gaussian_denoiser", "power_spectrum", "quadrature_denoiser",
           "require_odd", "variance_factor"]

ROWS_AT_ONCE = 2_000_000  # numbers in the largest array of a quadrature


def power_spectrum(x: ArrayLike) -> Array:
    """The power P_k = ⟨|x_k|²⟩ of the modes of fields x (n, L, L): (L, L//2 + 1), the mean over n.

    Raises TypeError or ValueError if x is not finite numbers (n, L, L), or a mode has no power.
    """
    x = finite_array("x", x)
    if x.ndim != 3 or x.shape[1] != x.shape[2] or x.size == 0:
        raise ValueError(f"x must have shape (n, L, L) with n at least 1, got {x.shape}")
    power = np.mean(np.abs(np.fft.rfft2(x, norm="ortho")) ** 2, axis=0)
    if power.min() <= 0:
        raise ValueError("x must have power in every mode, got none in mode "
                         f"{tuple(map(int, np.argwhere(power <= 0)[0]))}")
    return power


def gaussian_denoiser(power: ArrayLike) -> Denoiser:
    """The exact denoiser of Gaussian data of mean 0 with this power (L, L//2 + 1), or number P.

    x̂_0k = √α̅ P_k/(α̅ P_k + 1 − α̅) x_k: each mode by its own signal-to-noise ratio (Wiener).
    Raises TypeError or ValueError if power is not positive numbers, or x does not fit to it.
    """
    power = finite_array("power", power)

    def denoiser(x: Array, alpha_bar: float) -> Array:
        x = plain_array(x, "x")
        to_modes, to_space = _transforms(power, x.shape)
        share = math.sqrt(alpha_bar) * power / (alpha_bar * power + 1 - alpha_bar)
        return to_space(share * to_modes(x))

    _transforms(power, None)
    return denoiser


def quadrature_denoiser(points: ArrayLike, log_density: ArrayLike) -> tuple[Denoiser, Denoiser]:
    """The exact denoiser of real variables of a known density, and its divergence.

    Every component of x (n, ...) is taken for an independent variable of this density, and the
    integrals over x_0 are sums over the grid. Where the density is smooth and the grid's spacing at
    most σ = √((1 − α̅)/α̅), their error is about e^{−2π²} = 3e-9; with a spacing of 2σ it is 1 %.

    Args:
        points: an even grid (m,), increasing, beyond whose ends the density is negligible.
        log_density: (m,), in nats, up to a constant: −S(x) for the action S.

    Returns:
        (x (n, ...), alpha_bar) -> E[x_0|x_t = x], of the shape of x; and
        (x (n, d), alpha_bar) -> Σ_i ∂x̂_0,i/∂x_i = √α̅/(1 − α̅) Σ_i Var(x_0,i|x_i), (n,).

    Raises TypeError or ValueError if the grid is not even and increasing, a number is not finite,
    or the shapes differ.
    """
    points = finite_array("points", points)
    log_density = finite_array("log_density", log_density, shape=points.shape)
    steps = np.diff(points)
    if points.ndim != 1 or len(points) < 3 or steps.min() <= 0 or np.ptp(steps) > 1e-6 * steps[0]:
        raise ValueError("points must be an even, increasing grid (m,) of three points at least, "
                         f"got shape {points.shape}")

    def moments(x: Array, alpha_bar: float) -> tuple[Array, Array]:
        a, variance = math.sqrt(alpha_bar), 1 - alpha_bar
        flat, results = np.ravel(x), []
        for part in np.array_split(flat, 1 + flat.size * len(points) // ROWS_AT_ONCE):
            log_p = log_density - (part[:, None] - a * points) ** 2 / (2 * variance)
            p = np.exp(log_p - log_p.max(axis=1, keepdims=True))  # (len(part), m)
            p /= p.sum(axis=1, keepdims=True)
            mean = p @ points
            results.append((mean, np.sum(p * (points - mean[:, None]) ** 2, axis=1)))
        mean, posterior_variance = (np.concatenate(each).reshape(np.shape(x))
                                    for each in zip(*results))
        return mean, posterior_variance

    def denoiser(x: Array, alpha_bar: float) -> Array:
        return moments(x, alpha_bar)[0]

    def divergence(x: Array, alpha_bar: float) -> Array:
        return math.sqrt(alpha_bar) / (1 - alpha_bar) * moments(x, alpha_bar)[1].sum(axis=1)

    return denoiser, divergence


def angle_heun(denoiser: Denoiser, power: ArrayLike, noise: ArrayLike, *, num_steps: int = 24,
               sigmas: tuple[float, float] = (100.0, 0.05),
               watch: Callable[[int, Array], None] | None = None) -> Array:
    """Go from noise to data by Heun's method in the angle of each mode, for any denoiser.

    The steps go down num_steps + 1 noise levels σ, evenly spaced on a logarithmic scale, and a last
    one takes every angle to 0, where E[v|x_t] is 0 if the density is smooth. The denoiser is called
    2 num_steps + 1 times. For Gaussian data of mean 0 with independent modes of this power the
    result is exact up to rounding, at any number of steps; else the error falls as num_steps^−2
    until what is left is that of the ends: at the first σ the modes are taken to be Gaussian, and
    the last step is a single one.

    Args:
        power: P_k of the data, (L, L//2 + 1), for fields; a number for x of any shape, (n, ...).
        noise: standard normal, (n, L, L), or (n, ...).
        sigmas: first and last noise level, in units of the data: far above the largest √P_k (5
            times at least), and below the smallest, and below any scale on which the density
            changes.
        watch: called with (steps left, the field with modes √P_k y_k) before the first step and
            after each.

    Returns:
        x_0 of the shape of noise.

    Raises:
        TypeError, ValueError: power is not positive numbers of a shape that fits to noise, noise is
            not finite, num_steps not a positive integer, sigmas not two decreasing positive
            numbers that reach far enough, or the denoiser's output is bad (`diffusion.denoise`).
    """
    power, noise = finite_array("power", power), finite_array("noise", noise)
    to_modes, to_space = _transforms(power, noise.shape)
    check_positive_int(num_steps, "num_steps")
    first, last = finite_array("sigmas", sigmas, shape=(2,))
    if not first > last > 0:
        raise ValueError(f"sigmas must be two decreasing positive numbers, got {sigmas}")
    spread = np.sqrt(power)
    if first < 5 * spread.max() or last > spread.min():  # at 5 √P data are 1/26 of the variance
        raise ValueError("sigmas must reach from 5 times the largest √P_k, "
                         f"{5 * spread.max():.3g}, to the smallest, {spread.min():.3g}, or beyond, "
                         f"got {sigmas}")
    levels = np.geomspace(first, last, num_steps + 1)

    def slope(y: Array, sigma: float) -> Array:
        """E[v|x_t] at this noise level: (cos θ y − x̂_0/√P)/sin θ."""
        x_scale = np.hypot(spread, sigma)  # √(P + σ²), of x_t/√α̅
        alpha_bar = 1 / (1 + sigma**2)
        x0_hat = denoise(denoiser, to_space(math.sqrt(alpha_bar) * x_scale * y), alpha_bar)
        return (spread / x_scale * y - to_modes(x0_hat) / spread) * x_scale / sigma

    y = to_modes(noise)
    if watch is not None:
        watch(num_steps, to_space(spread * y))
    for step, (now, then) in enumerate(pairwise(levels), 1):
        change = np.arctan(then / spread) - np.arctan(now / spread)  # of the angles, negative
        here = slope(y, now)
        y = y + change * (here + slope(y + change * here, then)) / 2
        if watch is not None:
            watch(num_steps - step, to_space(spread * y))
    y = y - np.arctan(levels[-1] / spread) * slope(y, levels[-1]) / 2  # the slope at 0 is 0
    return to_space(spread * y)


def variance_factor(sampler: str, schedule: NoiseSchedule, power: ArrayLike) -> Array:
    """The variance that a sampler gives to a Gaussian mode of power P, divided by P: exactly.

    The sampler, "ancestral" or "ddim" of `diffusion`, has the exact denoiser and starts from
    N(0, 1). All it does is linear, so that the variance follows from step to step. 1 is exact.
    The result has the shape of power. Raises TypeError or ValueError if sampler is no such name or
    power not positive numbers.
    """
    if sampler not in ("ancestral", "ddim"):
        raise ValueError(f"sampler must be 'ancestral' or 'ddim', got {sampler!r}")
    power = finite_array("power", power)
    _transforms(power, None)
    variance = np.ones_like(power)
    for t in range(schedule.num_steps, 0, -1):
        now, before = schedule.alpha_bar(t), schedule.alpha_bar(t - 1)
        x0_hat = math.sqrt(now) * power / (now * power + 1 - now)  # for x_t = 1
        if sampler == "ddim":
            noise_hat = (1 - math.sqrt(now) * x0_hat) / math.sqrt(1 - now)
            gain, added = math.sqrt(before) * x0_hat + math.sqrt(1 - before) * noise_hat, 0.0
        else:
            gain, added = schedule.posterior_moments(x0_hat, np.ones_like(power), t)
        variance = gain**2 * variance + added
    return variance / power


def require_odd(denoiser: Denoiser, x: ArrayLike, alpha_bars: Iterable[float], *,
                tolerance: float = 1e-5) -> None:
    """Raise ValueError unless the denoiser is odd, D(−x) = −D(x), at x (n, ...) and these levels.

    With an odd denoiser every deterministic sampler that starts from noise gives an even density:
    identity P5. tolerance: what D(x) + D(−x) may be at most, in units of the largest |D(x)|; the
    default allows for rounding in float32.
    """
    x, alpha_bars = plain_array(x, "x"), tuple(alpha_bars)
    if not alpha_bars:
        raise ValueError("alpha_bars must be one or more numbers, got none")
    for alpha_bar in alpha_bars:
        there, mirrored = (denoise(denoiser, sign * x, alpha_bar) for sign in (1, -1))
        broken = np.max(np.abs(there + mirrored)) / max(np.max(np.abs(there)), 1e-300)
        if broken > tolerance:
            raise ValueError("denoiser must be odd, D(−x) = −D(x), got a sum of "
                             f"{broken:.2g} of the largest |D(x)| at alpha_bar = {alpha_bar:.3g}")


def _transforms(power: Array, shape: tuple[int, ...] | None) -> tuple[Callable, Callable]:
    """The functions field -> modes and modes -> field that belong to this power.

    Raises ValueError if power is not positive, or fits to no field, or not to one of this shape.
    """
    if power.size == 0 or power.min() <= 0:
        raise ValueError(f"power must be positive, got {power.min() if power.size else 'none'}")
    if power.ndim == 0:
        return (lambda x: x), (lambda modes: modes)
    size = len(power)
    if shape is not None and (power.shape != (size, size // 2 + 1) or len(shape) != 3
                              or shape[1:] != (size, size)):
        raise ValueError("power must be a number, or have shape (L, L//2 + 1) for fields "
                         f"(n, L, L), got {power.shape} for {shape}")
    return (lambda x: np.fft.rfft2(x, norm="ortho"),
            lambda modes: np.fft.irfft2(modes, s=(size, size), norm="ortho"))
