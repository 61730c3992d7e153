"""Diffusion models: noise schedules, exact kernels, the ELBO, samplers (NumPy, float64, nats).

    q(x_t|x_0) = N(√α̅_t x_0, (1 − α̅_t) I),   t = 1 … T,   α̅_0 = 1      identity D1
    SNR(t) = α̅_t / (1 − α̅_t)

The index t runs from 1 (almost data) to T (almost noise); α̅_0 = 1 stands for the data itself.

A denoiser is any function (x, alpha_bar) -> x̂_0 that estimates E[x_0|x_t = x]: x (n, ...), a
noise level alpha_bar = α̅ in (0, 1), and a result of the shape of x. Since it is told the noise
level and not the index, one denoiser serves every schedule and every number of steps. The samplers
begin with `noise` (n, ...), standard normal, and return x_0 of that shape.

What a function of the user is given (denoiser, decoder, divergence, watch) is a copy, and what it
returns is copied: it may work in place, and return the same array at each call.
"""

import math
import numbers
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import solve_ivp
from tqdm import tqdm  # not tqdm.auto, whose widget would land in a notebook's output

from genmodels.validate import (
    Array,
    check_positive_int,
    finite_array,
    finite_number,
    plain_array,
)

Denoiser = Callable[[Array, float], Array]
Watcher = Callable[[int, Array], None]  # called with (t, x_t) after each step, also with (0, x_0)

__all__ = ["ElboTerms", "NoiseSchedule", "ancestral", "convert", "ddim", "elbo_terms", "guided",
           "langevin", "linear_log_alpha_bar", "ode", "ode_log_likelihood"]

PARAMETERISATIONS = ("x0", "noise", "score", "v")
LAST_LOG_ALPHA_BAR = -10.05  # of both schedules: the integral of 0.1 + 19.9 τ from 0 to 1, negated


def linear_log_alpha_bar(tau: ArrayLike) -> Array:
    """log α̅(τ) = −(0.1 τ + 9.95 τ²) of the linear schedule, τ in [0, 1], same shape as τ.

    The noise is added at the rate 0.1 + 19.9 τ: the limit for many steps of Ho et al. (2020), whose
    1000 steps have β_t from 1e-4 to 0.02.
    """
    tau = np.asarray(tau)
    return -0.1 * tau + (LAST_LOG_ALPHA_BAR + 0.1) * tau**2


class NoiseSchedule:
    """The noise levels α̅_1 > … > α̅_T of a diffusion of T steps.

    Args:
        alpha_bars: (T,), strictly decreasing, in (0, 1); α̅_1 may be 1 only up to rounding below it.

    Raises:
        ValueError: the levels do not decrease, or leave (0, 1), or there is none; or they look like
            the α_t = 1 − β_t of single steps, their product forgotten. Since any decreasing
            sequence may be meant, this is said only of what resembles the β_t in use: small at
            first, growing evenly over many steps. The α_t of the cosine schedule, or of a few β_t,
            are taken for α̅_t.
    """

    def __init__(self, alpha_bars: ArrayLike):
        alpha_bars = finite_array("alpha_bars", alpha_bars)
        if alpha_bars.ndim != 1 or alpha_bars.size == 0:
            raise ValueError(f"alpha_bars must have shape (T,), T ≥ 1, got {alpha_bars.shape}")
        if alpha_bars.min() <= 0 or alpha_bars.max() >= 1:
            raise ValueError("alpha_bars must lie between 0 and 1, both excluded, "
                             f"got {alpha_bars.max()} to {alpha_bars.min()}")
        if np.any(np.diff(alpha_bars) >= 0):
            t = int(np.argmax(np.diff(alpha_bars) >= 0)) + 2
            raise ValueError(f"alpha_bars must decrease strictly, got {alpha_bars[t - 1]} after "
                             f"{alpha_bars[t - 2]} at t = {t}")
        if _are_single_steps(alpha_bars):
            raise ValueError("alpha_bars must be the products α_1 ⋯ α_t (numpy.cumprod), got what "
                             "looks like the α_t = 1 − β_t of single steps: after "
                             f"{len(alpha_bars)} steps it is still {alpha_bars[-1]:.3g}")
        self._alpha_bars = np.concatenate([[1.0], alpha_bars])  # (T + 1,), index t

    @classmethod
    def linear(cls, num_steps: int) -> "NoiseSchedule":
        """α̅_t = exp(−0.1 τ − 9.95 τ²), τ = t/T: `linear_log_alpha_bar`, for any T.

        Raises TypeError or ValueError if num_steps is not a positive integer.
        """
        check_positive_int(num_steps, "num_steps")
        return cls(np.exp(linear_log_alpha_bar(np.arange(1, num_steps + 1) / num_steps)))

    @classmethod
    def cosine(cls, num_steps: int) -> "NoiseSchedule":
        """α̅_t = cos² φ(τ)/cos² φ(0), φ linear in τ = t/T.

        As in Nichol and Dhariwal (2021), φ(0) = 0.008/1.008 · π/2; but φ(1) is chosen such that the
        last α̅ is that of `linear`, where theirs is 0 and has to be clipped.
        Raises TypeError or ValueError if num_steps is not a positive integer.
        """
        check_positive_int(num_steps, "num_steps")
        first = 0.008 / 1.008 * math.pi / 2
        last = math.acos(math.exp(LAST_LOG_ALPHA_BAR / 2) * math.cos(first))
        tau = np.arange(1, num_steps + 1) / num_steps
        return cls((np.cos(first + (last - first) * tau) / math.cos(first)) ** 2)

    @property
    def num_steps(self) -> int:
        """Number of steps."""
        return len(self._alpha_bars) - 1

    def alpha_bar(self, t: int) -> float:
        """α̅_t for t = 0 … T; α̅_0 = 1. For data of variance 1, their share in that of x_t.

        Raises TypeError or ValueError if t is not an integer from 0 to T.
        """
        return float(self._alpha_bars[self._checked(t, first=0)])

    def alpha(self, t: int) -> float:
        """α_t = α̅_t / α̅_{t−1} of the single step from t − 1 to t, for t = 1 … T."""
        return self.alpha_bar(self._checked(t)) / self.alpha_bar(t - 1)

    def snr(self, t: int) -> float:
        """α̅_t/(1 − α̅_t), t = 1 … T: the signal-to-noise ratio of data of variance 1, falling."""
        alpha_bar = self.alpha_bar(self._checked(t))
        return alpha_bar / (1 - alpha_bar)

    def forward_moments(self, x0: ArrayLike, t: int) -> tuple[Array, float]:
        """Mean (n, ...) and variance of q(x_t|x_0) for x0 (n, ...), t = 1 … T: identity D1.

        Raises TypeError or ValueError if x0 is not finite numbers, or t not an integer in 1 … T.
        """
        alpha_bar = self.alpha_bar(self._checked(t))
        return math.sqrt(alpha_bar) * finite_array("x0", x0), 1 - alpha_bar

    def posterior_moments(self, x0: ArrayLike, xt: ArrayLike, t: int) -> tuple[Array, float]:
        """Mean (n, ...) and variance of q(x_{t−1}|x_t, x_0), t = 1 … T: identity D2.

        At t = 1 the mean is x0 and the variance 0.
        Raises TypeError or ValueError if x0 and xt are not finite numbers of one shape, or t not an
        integer in 1 … T.
        """
        t = self._checked(t)
        x0, xt = finite_array("x0", x0), finite_array("xt", xt)
        if x0.shape != xt.shape:
            raise ValueError(f"xt must have the shape of x0, {x0.shape}, got {xt.shape}")
        before, now = self.alpha_bar(t - 1), self.alpha_bar(t)
        alpha = now / before
        of_x0 = math.sqrt(before) * (1 - alpha) / (1 - now)
        of_xt = math.sqrt(alpha) * (1 - before) / (1 - now)
        return of_x0 * x0 + of_xt * xt, (1 - before) * (1 - alpha) / (1 - now)

    def _checked(self, t: int, first: int = 1) -> int:
        if not isinstance(t, numbers.Integral) or isinstance(t, bool):
            raise TypeError(f"t must be an integer, got {t!r}")
        if not first <= t <= self.num_steps:
            raise ValueError(f"t must lie between {first} and {self.num_steps}, got {t}")
        return int(t)


def _are_single_steps(levels: Array) -> bool:
    """Whether decreasing levels (T,) look like the α_t = 1 − β_t of which α̅_t is the product.

    They do if they keep more signal than noise to the end, though their product would not, and if
    no later step adds as much noise as the first, small one, and none much more than the others.
    The schedules above, and their first parts, do not.
    """
    added = -np.diff(levels, prepend=1.0)  # the noise of each step, β_1 and β_t − β_{t−1} if so
    return bool(levels[-1] > 0.5 and np.prod(levels) < 0.1
                and added[1:].max() < min(added[0], 4 * np.median(added[1:])) and added[0] < 0.003)


def convert(value: ArrayLike, xt: ArrayLike, alpha_bar: float, *, given: str,
            wanted: str) -> Array:
    """Turn one prediction at x_t into another that says the same: identity D4.

    With a = √α̅ and s = √(1 − α̅): "noise" ε = (x_t − a x_0)/s, "score" = −ε/s, "v" = a ε − s x_0.

    Args:
        value: the prediction, (n, ...).
        xt: (n, ...).
        alpha_bar: the noise level, in (0, 1).
        given: what the value predicts, "x0", "noise", "score" or "v".
        wanted: what is returned, one of the same.

    Raises:
        TypeError, ValueError: for what is not numbers, NaN or infinity, shapes that differ,
            alpha_bar outside (0, 1), or an unknown name.
    """
    for name, which in (("given", given), ("wanted", wanted)):
        if which not in PARAMETERISATIONS:
            raise ValueError(f"{name} must be one of {PARAMETERISATIONS}, got {which!r}")
    a, s = _signal_and_noise(alpha_bar)
    value, xt = finite_array("value", value), finite_array("xt", xt)
    if value.shape != xt.shape:
        raise ValueError(f"value must have the shape of xt, {xt.shape}, got {value.shape}")
    match given:
        case "x0":
            x0, noise = value, (xt - a * value) / s
        case "noise":
            x0, noise = (xt - s * value) / a, value
        case "score":
            x0, noise = (xt + s**2 * value) / a, -s * value
        case _:  # "v"
            x0, noise = a * xt - s * value, s * xt + a * value
    return {"x0": x0, "noise": noise, "score": -noise / s, "v": a * noise - s * x0}[wanted]


# The ELBO ---------------------------------------------------------------------------------------


class ElboTerms(NamedTuple):
    """The terms of identity D3 for n examples, in nats.

    The mean over the noise of reconstruction − prior_matching − Σ_t denoising_matching, t = 2 … T,
    is the ELBO.
    """

    reconstruction: Array  # (n,): log p(x_0|x_1) at one sample x_1
    prior_matching: Array  # (n,): D[q(x_T|x_0) ‖ N(0, I)], exact
    denoising_matching: Array  # (n, len(times)): D[q(x_{t−1}|x_t, x_0) ‖ p(x_{t−1}|x_t)]


def gaussian_decoder(x0: Array, mean: Array, variance: float) -> Array:
    """log N(x0; mean, variance I) summed over all but the first axis, (n,), in nats."""
    squares = ((x0 - mean) ** 2).reshape(len(x0), -1)
    return -0.5 * (squares / variance + math.log(2 * math.pi * variance)).sum(axis=1)


def elbo_terms(denoiser: Denoiser, schedule: NoiseSchedule, x0: ArrayLike,
               rng: np.random.Generator, *, times: Sequence[int] | None = None,
               decoder: Callable[[Array, Array, float], Array] = gaussian_decoder) -> ElboTerms:
    """Return the three terms of the ELBO for x0 (n, ...), one sample of x_t for each: identity D3.

    Args:
        times: the indices at which the denoising terms are computed, each in 2 … T; all of them
            if not given. Their sum over 2 … T is what the ELBO needs.
        decoder: log p(x_0|x_1) from (x0, x̂_0, variance), one value (n,) in nats. The variance is
            (1 − α̅_1)/α̅_1 = 1/SNR(1), that of x_1/√α̅_1 given x_0.

    Raises:
        TypeError, ValueError: x0 is not finite numbers (n, ...), a time is not an integer in
            2 … T, the denoiser's output is bad (see `denoise`), or the decoder returns another
            shape or NaN.
    """
    x0 = finite_array("x0", x0)
    if x0.ndim < 2 or len(x0) == 0:
        raise ValueError(f"x0 must have shape (n, ...) with n at least 1, got {x0.shape}")
    T = schedule.num_steps
    times = range(2, T + 1) if times is None else list(times)
    for t in times:
        if schedule._checked(t) < 2:
            raise ValueError(f"times must hold indices from 2 to {T}, got {t}")

    def noisy_and_denoised(t):
        mean, variance = schedule.forward_moments(x0, t)
        xt = mean + math.sqrt(variance) * rng.standard_normal(x0.shape)
        return xt, denoise(denoiser, xt, schedule.alpha_bar(t))

    _, x0_hat = noisy_and_denoised(1)
    reconstruction = _returned("decoder", decoder(x0.copy(), x0_hat, 1 / schedule.snr(1)),
                               (len(x0),))
    if np.any(np.isnan(reconstruction)):
        raise ValueError("decoder must return numbers, got NaN")
    mean, variance = schedule.forward_moments(x0, T)
    per_component = mean**2 + variance - 1 - math.log(variance)  # K3, twice
    prior_matching = 0.5 * per_component.reshape(len(x0), -1).sum(axis=1)
    matching = np.empty((len(x0), len(times)))
    for column, t in enumerate(times):
        xt, x0_hat = noisy_and_denoised(t)
        mean, variance = schedule.posterior_moments(x0, xt, t)
        model_mean, _ = schedule.posterior_moments(x0_hat, xt, t)  # of the same variance
        squares = ((mean - model_mean) ** 2).reshape(len(x0), -1).sum(axis=1)
        matching[:, column] = squares / (2 * variance)  # K2 for equal covariances
    return ElboTerms(reconstruction, prior_matching, matching)


# Samplers ---------------------------------------------------------------------------------------


def ancestral(denoiser: Denoiser, schedule: NoiseSchedule, noise: ArrayLike,
              rng: np.random.Generator, *, watch: Watcher | None = None,
              progress: bool = False) -> Array:
    """Draw x_{t−1} ~ q(x_{t−1}|x_t, x̂_0), t = T … 1, from x_T = noise (n, ...): D2, x̂_0 for x_0.

    The last step returns x̂_0 itself.
    Source: Ho et al. (2020), algorithm 2, with the variance of D2.
    Raises TypeError or ValueError if noise is not finite numbers, or the denoiser's output is bad.
    """
    x = finite_array("noise", noise)
    for t in _downwards(schedule, progress):
        x0_hat = denoise(denoiser, x, schedule.alpha_bar(t))
        mean, variance = schedule.posterior_moments(x0_hat, x, t)
        x = mean + math.sqrt(variance) * rng.standard_normal(x.shape) if t > 1 else mean
        if watch is not None:
            watch(t - 1, x.copy())
    return x


def ddim(denoiser: Denoiser, schedule: NoiseSchedule, noise: ArrayLike, *,
         watch: Watcher | None = None, progress: bool = False) -> Array:
    """Go from x_T = noise (n, ...) to x_0 without any further randomness.

    Each step splits x_t into x̂_0 and ε̂, and joins them again at the next noise level:
    x_{t−1} = √α̅_{t−1} x̂_0 + √(1 − α̅_{t−1}) ε̂. Source: Song, Meng and Ermon (2021), equation 12
    with σ_t = 0.
    Raises TypeError or ValueError if noise is not finite numbers, or the denoiser's output is bad.
    """
    x = finite_array("noise", noise)
    for t in _downwards(schedule, progress):
        x0_hat = denoise(denoiser, x, schedule.alpha_bar(t))
        noise_hat = convert(x0_hat, x, schedule.alpha_bar(t), given="x0", wanted="noise")
        before = schedule.alpha_bar(t - 1)
        x = math.sqrt(before) * x0_hat + math.sqrt(1 - before) * noise_hat
        if watch is not None:
            watch(t - 1, x.copy())
    return x


def ode(denoiser: Denoiser, schedule: NoiseSchedule, noise: ArrayLike, *,
        tolerance: float = 1e-5) -> Array:
    """Follow the probability-flow ODE from x_T = noise (n, ...) to t = 1, and denoise: D6.

    In the variable ρ = −½ log SNR the ODE is dx/dρ = √α̅ (√α̅ x − x̂_0(x, α̅)): of the schedule
    only the end points matter. SciPy's Runge-Kutta pair of order 5 (4) chooses the steps such that
    the estimated error of a step, in units of tolerance · (1 + |x|), has a root mean square below 1
    over all components of all examples, which therefore share their steps.
    With T = 1 there is nothing to follow. Raises TypeError or ValueError if noise is not finite
    numbers, tolerance not positive, the denoiser's output bad, or if the solver gives up.
    """
    noise = finite_array("noise", noise)
    start, end = (-0.5 * math.log(schedule.snr(t)) for t in (schedule.num_steps, 1))

    def velocity(rho, x):
        return _flow(denoiser, rho, x.reshape(noise.shape)).ravel()

    x = _solve(velocity, start, end, noise.ravel(), tolerance).reshape(noise.shape)
    return denoise(denoiser, x, schedule.alpha_bar(1))


def ode_log_likelihood(denoiser: Denoiser, divergence: Denoiser, x0: ArrayLike, *,
                       tolerance: float = 1e-7, log_snrs: tuple[float, float] = (30.0, -30.0),
                       ) -> Array:
    """Return log p(x_0) in nats, (n,), for x0 (n, d), by the probability-flow ODE: identity D7.

    With λ = log SNR, along the flow d log p(x)/dλ = −div(dx/dλ) = ½ √α̅ (√α̅ d − div x̂_0). At the
    noise the density is taken to be N(0, I).

    Args:
        denoiser: (x (n, d), alpha_bar) -> (n, d).
        divergence: (x (n, d), alpha_bar) -> Σ_i ∂x̂_0,i/∂x_i, (n,), or an unbiased estimate of it
            that is the same function of x at each call.
        tolerance: that of `ode`, for x and log p of all examples together.
        log_snrs: λ at the data and at the noise, decreasing. The result is the log density of the
            data with noise of variance e^{−λ_data}, which adds a term of this order where their
            own density is smooth on this scale; taking N(0, I) at the noise adds one of the order
            e^{λ_noise/2}.

    Raises:
        TypeError, ValueError: x0 is not finite numbers (n, d), tolerance is not positive, log_snrs
            are not two numbers, do not decrease, or lie where α̅ is 1 or 0 to rounding (above 36
            or below −700), what the denoiser or the divergence returns is not finite numbers of the
            right shape, or the solver gives up.
    """
    x0 = finite_array("x0", x0)
    if x0.ndim != 2 or x0.size == 0:
        raise ValueError(f"x0 must have shape (n, d), both at least 1, got {x0.shape}")
    data, noise = finite_array("log_snrs", log_snrs, shape=(2,))
    if not 36 >= data > noise >= -700:
        raise ValueError(f"log_snrs must be two decreasing numbers, 36 to −700, got {log_snrs}")
    n, d = x0.shape

    def velocity(rho, state):
        x = state[:n * d].reshape(n, d)
        alpha_bar = _alpha_bar_at(rho)
        div = _returned("divergence", divergence(x.copy(), alpha_bar), (n,))
        _require_finite("divergence", div, alpha_bar)
        change = math.sqrt(alpha_bar) * (math.sqrt(alpha_bar) * d - div)
        return np.concatenate([_flow(denoiser, rho, x).ravel(), change])

    state = _solve(velocity, -data / 2, -noise / 2, np.concatenate([x0.ravel(), np.zeros(n)]),
                   tolerance)
    x, integral = state[:n * d].reshape(n, d), state[n * d:]
    return gaussian_decoder(x, np.zeros_like(x), 1.0) + integral


def langevin(denoiser: Denoiser, alpha_bar: float, start: ArrayLike, rng: np.random.Generator, *,
             step_size: float, num_steps: int, progress: bool = False) -> Array:
    """Go towards the density of x_t at one noise level by Langevin steps from start (n, ...).

    x ← x + δ score(x) + √(2δ) ε, with δ = step_size; ε is the mean of the noise of this step and of
    the next. The density that is reached after many small steps is then exact to first order in δ,
    with an error of order δ² (Leimkuhler and Matthews 2013, for smooth densities with light
    tails). A Gaussian is reached exactly if δ is less than twice its smallest variance, and left
    for infinity if δ is more. The score is that of the denoiser (D4).
    Raises TypeError or ValueError if start is not finite numbers, alpha_bar not in (0, 1),
    step_size not positive, num_steps not a positive integer, or the denoiser's output is bad.
    """
    x = finite_array("start", start)
    check_positive_int(num_steps, "num_steps")
    if finite_number("step_size", step_size) <= 0:
        raise ValueError(f"step_size must be a positive number, got {step_size!r}")
    noise = rng.standard_normal(x.shape)
    for _ in tqdm(range(num_steps), desc="Langevin", leave=False, mininterval=0.5,
                  disable=not progress):
        x0_hat = denoise(denoiser, x, alpha_bar)
        score = convert(x0_hat, x, alpha_bar, given="x0", wanted="score")
        next_noise = rng.standard_normal(x.shape)
        x = x + step_size * score + math.sqrt(2 * step_size) * (noise + next_noise) / 2
        noise = next_noise
    return x


def guided(conditional: Denoiser, unconditional: Denoiser, weight: float) -> Denoiser:
    """Return the denoiser of the score (1 − w) ∇ log p(x) + w ∇ log p(x|y), w = weight: D8.

    0 gives the unconditional one, 1 the conditional one, more than 1 exaggerates the condition.
    x̂_0 is linear in the score but for a term that all share (D4), and the weights add up to 1: the
    estimates combine as the scores do.
    Raises ValueError if the weight is not a finite number; the denoiser raises the errors of
    `denoise`.
    """
    if not isinstance(weight, numbers.Real) or not math.isfinite(weight):
        raise ValueError(f"weight must be a finite number, got {weight!r}")

    def denoiser(x, alpha_bar):
        x = plain_array(x, "x")
        without = denoise(unconditional, x, alpha_bar)
        return without + weight * (denoise(conditional, x, alpha_bar) - without)

    return denoiser


def denoise(denoiser: Denoiser, x: Array, alpha_bar: float) -> Array:
    """Call a denoiser with a copy of x; return a copy of what it returns, once that is checked.

    Raises ValueError if alpha_bar is not in (0, 1), or the result has another shape than x, or
    holds NaN or infinity; TypeError if one of them is not real numbers.
    """
    _signal_and_noise(alpha_bar)
    x0_hat = _returned("denoiser", denoiser(x.copy(), alpha_bar), x.shape)
    _require_finite("denoiser", x0_hat, alpha_bar)
    return x0_hat


def _returned(name: str, value: ArrayLike, shape: tuple[int, ...]) -> Array:
    """A copy of what the user's function `name` returned: real numbers of this shape."""
    if value is None:
        raise TypeError(f"{name} must return real numbers, got None")
    array = plain_array(value, f"what {name} returned")
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} must return real numbers, got {array.dtype}")
    if array.shape != shape:
        raise ValueError(f"{name} must return the shape {shape}, got {array.shape}")
    # or all goes on in half precision, or in integers, which wrap
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float64)


def _require_finite(name: str, array: Array, alpha_bar: float) -> None:
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name} must return finite numbers, got NaN or infinity at "
                         f"alpha_bar = {alpha_bar:.3g}")


def _signal_and_noise(alpha_bar: float) -> tuple[float, float]:
    """√α̅ and √(1 − α̅)."""
    if not 0 < finite_number("alpha_bar", alpha_bar) < 1:
        raise ValueError(f"alpha_bar must be a number in (0, 1), got {alpha_bar!r}")
    return math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)


def _downwards(schedule: NoiseSchedule, progress: bool) -> Iterable[int]:
    """T, T − 1, …, 1."""
    return tqdm(range(schedule.num_steps, 0, -1), desc="sampling", unit="step", leave=False,
                mininterval=0.5, disable=not progress)


def _alpha_bar_at(rho: float) -> float:
    """α̅ from ρ = −½ log SNR = ½ log((1 − α̅)/α̅)."""
    return 1 / (1 + math.exp(2 * rho))


def _flow(denoiser: Denoiser, rho: float, x: Array) -> Array:
    """dx/dρ of the probability-flow ODE."""
    alpha_bar = _alpha_bar_at(rho)
    a = math.sqrt(alpha_bar)
    return a * (a * x - denoise(denoiser, x, alpha_bar))


def _solve(velocity: Callable, start: float, end: float, state: Array, tolerance: float) -> Array:
    """The state at `end` of an ODE that has `state` at `start`."""
    if finite_number("tolerance", tolerance) <= 0:
        raise ValueError(f"tolerance must be a positive number, got {tolerance!r}")
    if start == end or state.size == 0:
        return state
    solution = solve_ivp(velocity, (start, end), state, method="RK45", rtol=tolerance,
                         atol=tolerance, t_eval=[end])
    if not solution.success:
        raise ValueError("denoiser must give an ODE that the solver can follow, got: "
                         f"{solution.message}")
    return solution.y[:, -1]
