"""Gaussian mixtures: data whose noisy densities, scores and best denoisers are known exactly.

    p(x) = Σ_m w_m N(x; μ_m, Σ_m),    x in d dimensions, nats, float64

Adding noise as in diffusion.py, x_t = √α̅ x_0 + √(1 − α̅) ε, keeps a mixture a mixture: its means
become √α̅ μ_m and its covariances α̅ Σ_m + (1 − α̅) I.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp, softmax

from genmodels.exact.gaussian import cholesky
from genmodels.validate import Array, finite_array

__all__ = ["GaussianMixture"]


class GaussianMixture:
    """A mixture of M Gaussians in d dimensions.

    Args:
        weights: (M,), positive, with sum 1.
        means: (M, d).
        covs: (M, d, d), symmetric and positive definite.

    Raises:
        ValueError: for NaN or infinity, shapes that do not match, weights that are not a
            distribution, or a bad covariance.
    """

    def __init__(self, weights: ArrayLike, means: ArrayLike, covs: ArrayLike):
        self.weights = finite_array("weights", weights)
        if self.weights.ndim != 1 or self.weights.size == 0:
            raise ValueError(f"weights must have shape (M,), got {self.weights.shape}")
        if np.any(self.weights <= 0) or abs(self.weights.sum() - 1) > 1e-12:  # rounding of a sum
            raise ValueError(f"weights must be positive numbers with sum 1, got {self.weights}")
        self.means = finite_array("means", means)
        if self.means.ndim != 2 or len(self.means) != len(self.weights):
            raise ValueError(f"means must have shape ({len(self.weights)}, d), "
                             f"got {self.means.shape}")
        d = self.means.shape[1]
        self.covs = finite_array("covs", covs, shape=(len(self.weights), d, d))
        self._factors = np.stack([cholesky(f"covs[{m}]", c) for m, c in enumerate(self.covs)])
        self._whiteners = np.linalg.inv(self._factors)  # (M, d, d), W Σ Wᵀ = I
        self._precisions = self._whiteners.swapaxes(1, 2) @ self._whiteners  # (M, d, d)

    @property
    def mean(self) -> Array:
        """The mean of the mixture, (d,)."""
        return self.weights @ self.means

    @property
    def cov(self) -> Array:
        """The covariance of the mixture, (d, d)."""
        offsets = self.means - self.mean
        return (np.einsum("m,mij->ij", self.weights, self.covs)
                + np.einsum("m,mi,mj->ij", self.weights, offsets, offsets))

    def sample(self, num_samples: int, rng: np.random.Generator) -> Array:
        """Draw from the mixture; shape (num_samples, d)."""
        component = rng.choice(len(self.weights), num_samples, p=self.weights)
        noise = rng.standard_normal((num_samples, self.means.shape[1]))
        return self.means[component] + np.einsum("nij,nj->ni", self._factors[component], noise)

    def log_density(self, x: ArrayLike) -> Array:
        """Return log p(x) in nats, (n,), for x (n, d).

        Raises:
            ValueError: for NaN or infinity, or another shape.
        """
        return np.asarray(logsumexp(self._log_joint(self._points(x)), axis=0))

    def responsibilities(self, x: ArrayLike) -> Array:
        """Return the probability of each component given x (n, d); shape (n, M), rows sum to 1."""
        return softmax(self._log_joint(self._points(x)), axis=0).T

    def score(self, x: ArrayLike) -> Array:
        """Return ∇ log p(x), (n, d), for x (n, d).

        It is the average of the components' scores, −Σ_m⁻¹ (x − μ_m), under the responsibilities.
        """
        x = self._points(x)
        return self._average(self.responsibilities(x), self._scores(x))

    def score_divergence(self, x: ArrayLike) -> Array:
        """Return the trace of the Hessian of log p at x (n, d); shape (n,).

        The second derivative of a log-sum-exp is the mean of the second derivatives plus the
        variance of the first ones: Σ_m r_m (−tr Σ_m⁻¹ + |s_m|²) − |score|².
        """
        x = self._points(x)
        r, scores = self.responsibilities(x), self._scores(x)  # (n, M), M times (n, d)
        second = sum(r[:, m] * (np.sum(s**2, axis=1) - np.trace(self._precisions[m]))
                     for m, s in enumerate(scores))
        return second - np.sum(self._average(r, scores) ** 2, axis=1)

    def noisy(self, alpha_bar: float) -> "GaussianMixture":
        """Return the mixture of x_t = √α̅ x_0 + √(1 − α̅) ε, with x_0 from this one.

        Raises:
            ValueError: ``alpha_bar`` is not in [0, 1].
        """
        if not 0 <= alpha_bar <= 1:
            raise ValueError(f"alpha_bar must be a number in [0, 1], got {alpha_bar!r}")
        identity = np.eye(self.means.shape[1])
        return GaussianMixture(self.weights, np.sqrt(alpha_bar) * self.means,
                               alpha_bar * self.covs + (1 - alpha_bar) * identity)

    def denoiser(self, x: ArrayLike, alpha_bar: float) -> Array:
        """Return E[x_0 | x_t = x], (n, d), for x (n, d) and 0 < alpha_bar < 1.

        No other denoiser has a smaller mean squared error.
        Computed component by component, by conditioning Gaussians, without the score:
        E[x_0|x_t, m] = μ_m + √α̅ Σ_m (α̅ Σ_m + (1 − α̅) I)⁻¹ (x − √α̅ μ_m).

        Raises:
            ValueError: for NaN or infinity, another shape, or ``alpha_bar`` outside (0, 1).
        """
        if not 0 < alpha_bar < 1:
            raise ValueError(f"alpha_bar must be a number in (0, 1), got {alpha_bar!r}")
        x, noisy = self._points(x), self.noisy(alpha_bar)
        r = noisy.responsibilities(x)  # (n, M)
        gains = np.sqrt(alpha_bar) * self.covs @ noisy._precisions  # (M, d, d)
        means = [mean + (x - noisy_mean) @ gain.T  # of each component, (n, d)
                 for mean, noisy_mean, gain in zip(self.means, noisy.means, gains)]
        return self._average(r, means)

    def denoiser_divergence(self, x: ArrayLike, alpha_bar: float) -> Array:
        """Return Σ_i ∂x̂_0,i/∂x_i of the best denoiser at x (n, d); shape (n,).

        By Tweedie's formula (D4) it is (d + (1 − α̅) tr Hessian of log p_t)/√α̅.
        """
        d = self.means.shape[1]
        second = self.noisy(alpha_bar).score_divergence(x)
        return (d + (1 - alpha_bar) * second) / np.sqrt(alpha_bar)

    def _points(self, x: ArrayLike) -> Array:
        """Return x as float64, (n, d), or raise the errors that `log_density` documents."""
        x = finite_array("x", x, last=self.means.shape[1])
        if x.ndim != 2:
            raise ValueError(f"x must have shape (n, {self.means.shape[1]}), got {x.shape}")
        return x

    def _log_joint(self, x: Array) -> Array:
        """Return log w_m + log N(x; μ_m, Σ_m), (M, n): NumPy is slow along a short last axis."""
        log_norms = np.log(np.diagonal(self._whiteners, axis1=1, axis2=2)).sum(axis=1)
        log_norms += np.log(self.weights) - 0.5 * x.shape[1] * np.log(2 * np.pi)  # (M,)
        offsets = [whitener @ (x - mean).T  # of variance 1, (d, n)
                   for mean, whitener in zip(self.means, self._whiteners)]
        squares = np.stack([np.einsum("in,in->n", each, each) for each in offsets])
        return log_norms[:, None] - 0.5 * squares

    def _scores(self, x: Array) -> list[Array]:
        """Return −Σ_m⁻¹ (x − μ_m) of each component, M times (n, d)."""
        return [-(x - mean) @ precision for mean, precision in zip(self.means, self._precisions)]

    @staticmethod
    def _average(r: Array, values: list[Array]) -> Array:
        """Return Σ_m r_m v_m, (n, d), for r (n, M) and M times v (n, d)."""
        return sum((r[:, m:m + 1] * value for m, value in enumerate(values)), np.zeros(()))
