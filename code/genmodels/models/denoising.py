"""What the U-Nets of unet_torch and unet_keras share: noise levels, noise, checks.

    x_t = a x_0 + s ε,   a = √α̅,   s = √(1 − α̅),   log SNR = log(α̅/(1 − α̅)),   v = a ε − s x_0

Nothing here knows a framework. What is drawn comes from NumPy: both see the same batches. The two
decoders are those of 8-bit digits, whose pixels lie in [−1, 1] here: x_0 = 2 · image − 1.
"""

import math
import numbers
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from genmodels.diffusion import linear_log_alpha_bar
from genmodels.training.history import Draw, History
from genmodels.validate import check_positive_int, finite_array, plain_array

__all__ = ["LOG_SNR_RANGE", "Noise", "check_labels", "counted_decoder", "denoiser", "draw_epoch",
           "draw_noise", "grey_decoder", "log_snr_at"]

LOSSES = ("simple", "elbo")
FREQUENCIES = np.geomspace(0.1, 5, 16).astype(np.float32)  # of the embedding of log SNR


def log_snr_at(tau):
    """The log SNR at τ in (0, 1] of the linear schedule: α̅/(1 − α̅) = 1/(1/α̅ − 1)."""
    return -np.log(np.expm1(-linear_log_alpha_bar(tau)))


LOG_SNR_RANGE = float(log_snr_at(1.0)), float(log_snr_at(1e-3))  # −10.05, 9.12
# ‖ε − ε̂‖² times this is on average in nats (Kingma et al. 2021).
ELBO_WEIGHT = 0.5 * (LOG_SNR_RANGE[1] - LOG_SNR_RANGE[0])


class Noise(NamedTuple):
    """What is drawn for n examples."""

    log_snr: np.ndarray  # (n,) float32
    signal: np.ndarray  # (n,) float32: a
    spread: np.ndarray  # (n,) float32: s
    dropped: np.ndarray  # (n,) int64: 1 where the label is left out
    noise: np.ndarray  # (n, *shape) float32: ε


def draw_noise(n: int, shape: tuple[int, ...], loss: str, rng: np.random.Generator,
               drop_labels: float = 0.0, noise: np.ndarray | None = None) -> Noise:
    """Noise for n examples, at levels that are stratified over them; ε is drawn into `noise`.

    With loss "simple" τ is uniform on [1/1000, 1]; with "elbo" the log SNR is uniform between the
    values at these two ends. A share of about drop_labels of the examples lose their label.
    """
    share = (rng.permutation(n) + rng.random()) / n  # one in each n-th of [0, 1), in random order
    if loss == "simple":
        log_snr = log_snr_at(1e-3 + (1 - 1e-3) * share)
    else:
        log_snr = LOG_SNR_RANGE[0] + (LOG_SNR_RANGE[1] - LOG_SNR_RANGE[0]) * share
    dropped = rng.random(n) < drop_labels
    noise = rng.standard_normal((n, *shape), dtype=np.float32, out=noise)
    a, s = (1 / np.sqrt(1 + np.exp([-log_snr, log_snr]))).astype(np.float32)
    return Noise(log_snr.astype(np.float32), a, s, dropped.astype(np.int64), noise)


def draw_epoch(shape: tuple[int, ...], loss: str, drop_labels: float) -> Draw:
    """What `train` draws: the noise of each step from a generator of its own."""
    def draw(rng: np.random.Generator, history: History, steps: range) -> Noise:
        epoch, size = history.num_steps // history.steps_per_epoch, history.batch_size
        first, end = steps.start * size, min(steps.stop * size, history.num_examples)
        noise = np.empty((end - first, *shape), np.float32)  # large: there once
        parts = []
        for step in steps:
            of_step = noise[step * size - first:(step + 1) * size - first]
            rng = np.random.default_rng([history.seed, epoch * history.steps_per_epoch + step, 1])
            parts.append(draw_noise(len(of_step), shape, loss, rng, drop_labels, of_step)[:-1])
        return Noise(*map(np.concatenate, zip(*parts)), noise)

    return draw


def check_num_labels(num_labels: Any) -> int:
    """The number as Python's. Raises TypeError or ValueError unless it is an integer ≥ 0."""
    if not isinstance(num_labels, numbers.Integral) or isinstance(num_labels, bool):
        raise TypeError(f"num_labels must be an integer, 0 or more, got {num_labels!r}")
    if num_labels < 0:
        raise ValueError(f"num_labels must be an integer, 0 or more, got {num_labels!r}")
    return int(num_labels)


def check_training_labels(labels: Any, n: int, num_labels: int) -> np.ndarray:
    """Labels (n,) as int64 for `fit`. Raises TypeError if a network with labels is given none."""
    if labels is None and num_labels:
        raise TypeError(f"labels must be given to a network with num_labels={num_labels}, got None")
    return labels_of(labels, n, num_labels)


def labels_of(labels: Any, n: int, num_labels: int) -> np.ndarray:
    """Labels (n,) as int64; for None the label num_labels, which stands for none."""
    if labels is None:
        return np.full(n, num_labels)
    return check_labels(labels, n, num_labels)


def denoiser(predict_v: Callable, labels, batch_size: int, shape: tuple[int, ...],
             num_labels: int) -> Callable:
    """The function (x, alpha_bar) -> estimate of x_0, from predict_v(x, log_snr, labels), in NumPy.

    The estimate is a x − s v̂. Checks what both `UNet.denoiser` and the function are given.
    """
    check_positive_int(batch_size, "batch_size")
    if labels is not None:
        labels = check_labels(labels, num_labels=num_labels)

    def estimate(x: np.ndarray, alpha_bar: float) -> np.ndarray:
        x = plain_array(x, "x")
        if x.dtype.kind not in "fiu":
            raise TypeError(f"x must hold real numbers, got {x.dtype}")
        if x.ndim != 1 + len(shape) or x.shape[1:] != shape:
            raise ValueError(f"x must have shape (n, {', '.join(map(str, shape))}), got {x.shape}")
        if not np.isfinite(x).all():
            raise ValueError("x must be finite, got NaN or infinity")
        if not isinstance(alpha_bar, numbers.Real) or isinstance(alpha_bar, bool):
            raise TypeError(f"alpha_bar must be a number, got {alpha_bar!r}")
        if not 0 < alpha_bar < 1:
            raise ValueError(f"alpha_bar must lie between 0 and 1, got {alpha_bar!r}")
        if labels is not None and len(labels) != len(x):
            raise ValueError(f"labels must have one entry for each of the {len(x)} images x, "
                             f"got {len(labels)}")
        x = x.astype(np.result_type(x, np.float32))
        a, s = math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)
        log_snr = math.log(alpha_bar) - math.log1p(-alpha_bar)
        result = np.empty_like(x)
        for start in range(0, len(x), batch_size):
            part = x[start:start + batch_size]
            theirs = (np.full(len(part), num_labels) if labels is None
                      else labels[start:start + batch_size])
            v = predict_v(part, np.full(len(part), log_snr), theirs)
            result[start:start + batch_size] = a * part - s * v
        return result

    return estimate


def check_labels(labels: Any, n: int | None = None, num_labels: int = 10) -> np.ndarray:
    """Labels (n,) from 0 on as int64, those of digits unless num_labels says otherwise.

    Raises TypeError or ValueError unless they are that.
    """
    if num_labels == 0:
        raise ValueError("labels must be None for a network with num_labels=0, got "
                         f"{type(labels).__name__}")
    labels = plain_array(labels, "labels")
    if labels.dtype.kind not in "iu":
        raise TypeError(f"labels must be integers, got {labels.dtype}")
    if labels.ndim != 1 or n not in (None, len(labels)):
        raise ValueError(f"labels must have shape ({'n' if n is None else n},), got {labels.shape}")
    if len(labels) and not (labels.min() >= 0 and labels.max() < num_labels):
        raise ValueError(f"labels must lie between 0 and {num_labels - 1}, "
                         f"got {labels.min()} to {labels.max()}")
    return labels.astype(np.int64)


def check_loss(loss: Any) -> None:
    """Raises ValueError unless loss is the name of one."""
    if loss not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(map(repr, LOSSES))}, got {loss!r}")


def check_channels(channels: Any) -> tuple[int, int, int]:
    """Raises TypeError or ValueError unless channels are three multiples of 8, each at least 16.

    The normalisation of 8 channels in 8 groups takes away the one number that a channel gets of the
    noise level and the label: a block of 8 would know neither.
    """
    wrong = f"channels must be three multiples of 8, each at least 16, got {channels!r}"
    if not isinstance(channels, (tuple, list)) or len(channels) != 3:
        raise ValueError(wrong)
    channels = tuple(check_positive_int(each, "each of the channels") for each in channels)
    if any(each % 8 or each < 16 for each in channels):
        raise ValueError(wrong)
    return channels


def grey_decoder(shares: ArrayLike) -> Callable[[np.ndarray, np.ndarray, float], np.ndarray]:
    """The decoder p(v_k) ∝ shares_k · exp(−(m − v_k)²/(2σ²)) of 8-bit digits, log p(x_0) in nats.

    A pixel of x_0 is one of 256 grey levels v_k = 2k/255 − 1; shares_k is the share of each among
    all pixels. If m is the noisy pixel x_1/√α̅_1 and σ² its variance, this is Bayes' rule for a
    pixel whose neighbours are not seen. `diffusion.elbo_terms` gives m = x̂_0, which has seen them,
    and whose error has another distribution: then it is a decoder like any other, no posterior.

    shares: (256,), positive with sum 1, from training digits. The decoder raises ValueError if x_0
    holds anything but the 256 levels, up to rounding in float32.
    """
    shares = finite_array("shares", shares, shape=(256,))
    if shares.min() <= 0 or abs(shares.sum() - 1) > 1e-9:
        raise ValueError("shares must be positive numbers with sum 1, got a smallest one of "
                         f"{shares.min()} and the sum {shares.sum()}")
    levels, log_shares = 2 * np.arange(256) / 255 - 1, np.log(shares)

    def decoder(x0: np.ndarray, mean: np.ndarray, variance: float) -> np.ndarray:
        index = _grey_levels(x0)
        result = np.empty(len(x0))
        for i, (row, estimate) in enumerate(zip(index, mean)):  # one image: (784, 256) at once
            logits = log_shares - (estimate.reshape(-1, 1) - levels) ** 2 / (2 * variance)
            chosen = np.take_along_axis(logits, row.reshape(-1, 1), axis=1)[:, 0]
            result[i] = np.sum(chosen - logsumexp(logits, axis=1))
        return result

    return decoder


def counted_decoder(x0: ArrayLike, estimates: ArrayLike,
                    ) -> Callable[[np.ndarray, np.ndarray, float], np.ndarray]:
    """The decoder that has counted which grey level a pixel has, given the estimate x̂_0 of it.

    The estimates of training digits are sorted into bins of half a level spacing, 1/255 (all below
    −1 − 10/255 in the first, all above 1 + 10/255 in the last), and the levels of x_0 counted in
    each. With N_bk of them, p(v_k|bin b) = (N_bk + 1/256)/(Σ_k N_bk + 1): one more, shared by all
    levels, so that none is impossible. It holds at the one noise level of the estimates, whose
    variance it need not be told; the more digits, the better: some thousands.

    Args:
        x0: training digits (n, ...), pixels 2k/255 − 1.
        estimates: x̂_0 of a denoiser from x_1 of these digits, of the same shape.

    Returns:
        log p(x_0|x_1) from (x0, x̂_0, variance) for `diffusion.elbo_terms`, nats. It raises
        ValueError as `grey_decoder` does.

    Raises:
        TypeError, ValueError: one is not finite numbers, the shapes differ, or x0 is empty or
            holds anything but the 256 levels.
    """
    x0, estimates = finite_array("x0", x0), finite_array("estimates", estimates)
    if estimates.shape != x0.shape:
        raise ValueError(f"estimates must have the shape {x0.shape} of x0, got {estimates.shape}")
    num_bins = 2 * 255 + 1 + 2 * 10  # centres from −1 − 10/255 to 1 + 10/255

    def bins(estimates):
        return np.clip(np.rint((estimates + 1) * 255) + 10, 0, num_bins - 1).astype(int)

    counts = np.full((num_bins, 256), 1 / 256)
    np.add.at(counts, (bins(estimates).ravel(), _grey_levels(x0).ravel()), 1)
    log_shares = np.log(counts / counts.sum(axis=1, keepdims=True))

    def decoder(x0: np.ndarray, mean: np.ndarray, variance: float) -> np.ndarray:
        return log_shares[bins(mean), _grey_levels(x0)].reshape(len(x0), -1).sum(axis=1)

    return decoder


def _grey_levels(x0: np.ndarray) -> np.ndarray:
    """k of each pixel 2k/255 − 1. Raises ValueError unless x0 holds such, up to rounding."""
    if x0.size == 0:
        raise ValueError(f"x0 must hold at least one pixel, got shape {x0.shape}")
    k = np.rint((x0 + 1) * 127.5).astype(int)
    wrong = (k < 0) | (k > 255) | (np.abs(2 * k / 255 - 1 - x0) > 1e-6)
    if wrong.any():
        raise ValueError(f"x0 must hold grey levels 2k/255 − 1, k = 0 … 255, got {x0[wrong][0]:g}")
    return k
