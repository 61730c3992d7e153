"""The linear-Gaussian latent variable model, in which every quantity of a VAE is exact.

    p(h) = N(h; 0, I),    p(x|h) = N(x; W h + b, σ² I),    h: (k,),  x: (d,)

With ``weights`` W, ``bias`` b and ``noise_std`` σ. It is probabilistic principal component
analysis (Tipping and Bishop 1999). All results are in nats and float64.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from genmodels.exact import gaussian
from genmodels.validate import Array, finite_array, finite_number

__all__ = ["ElboGradients", "LinearGaussian"]


class ElboGradients(NamedTuple):
    """Gradients of the ELBO of one x: ∂/∂W, ∂/∂b, ∂/∂q_mean and ∂/∂q_log_var."""

    weights: Array  # (d, k)
    bias: Array  # (d,)
    q_mean: Array  # (k,)
    q_log_var: Array  # (k,)


class LinearGaussian:
    """Linear decoder with Gaussian noise and a standard normal prior.

    Args:
        weights: W, shape (d, k).
        bias: b, shape (d,).
        noise_std: σ (not σ²), a positive number.

    Raises:
        ValueError: for NaN or infinity, shapes that do not match, or ``noise_std`` ≤ 0.
    """

    def __init__(self, weights: ArrayLike, bias: ArrayLike, noise_std: float) -> None:
        self.weights = finite_array("weights", weights)
        if self.weights.ndim != 2 or self.weights.size == 0:
            raise ValueError(f"weights must have shape (d, k), got {self.weights.shape}")
        self.data_dim, self.latent_dim = self.weights.shape
        self.bias = finite_array("bias", bias, shape=(self.data_dim,))
        self.noise_std = finite_number("noise_std", noise_std)
        if self.noise_std <= 0:
            raise ValueError(f"noise_std must be a positive number, got {self.noise_std}")

    def sample(self, num_samples: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Draw h from the prior, then x from p(x|h); return x (n, d) and h (n, k)."""
        h = rng.standard_normal((num_samples, self.latent_dim))
        noise = rng.standard_normal((num_samples, self.data_dim))
        return self.decode(h) + self.noise_std * noise, h

    def decode(self, h: ArrayLike) -> Array:
        """Return the mean of p(x|h), W h + b, shape (..., d)."""
        return finite_array("h", h, last=self.latent_dim) @ self.weights.T + self.bias

    def log_prior(self, h: ArrayLike) -> Array:
        """Return log p(h), shape (...)."""
        h = finite_array("h", h, last=self.latent_dim)
        return gaussian.log_density(h, np.zeros(self.latent_dim), np.eye(self.latent_dim))

    def log_likelihood(self, x: ArrayLike, h: ArrayLike) -> Array:
        """Return log p(x|h) for x (..., d) and h (..., k), broadcast; shape (...)."""
        noise_cov = self.noise_std**2 * np.eye(self.data_dim)
        return gaussian.log_density(x, self.decode(h), noise_cov)

    def log_joint(self, x: ArrayLike, h: ArrayLike) -> Array:
        """Return log p(x, h) = log p(x|h) + log p(h), shape (...)."""
        return self.log_likelihood(x, h) + self.log_prior(h)

    def log_evidence(self, x: ArrayLike) -> Array:
        """Return log p(x), with p(x) = N(b, W Wᵀ + σ² I), for x (..., d): identity L1."""
        cov = self.weights @ self.weights.T + self.noise_std**2 * np.eye(self.data_dim)
        return gaussian.log_density(x, self.bias, cov)

    def posterior(self, x: ArrayLike) -> tuple[Array, Array]:
        """Return mean (..., k) and covariance (k, k) of p(h|x) for x (..., d).

        The covariance (I + Wᵀ W/σ²)⁻¹ is the same for every x.
        """
        cov = np.linalg.inv(self._posterior_precision())
        cov = (cov + cov.T) / 2  # the inverse is symmetric up to rounding
        centred = finite_array("x", x, last=self.data_dim) - self.bias
        return centred @ self.weights @ cov / self.noise_std**2, cov

    def mean_field(self, x: ArrayLike) -> tuple[Array, Array]:
        """Return mean (..., k) and variances (k,) of the best diagonal Q(h|x): identity G1.

        The best has the largest ELBO, or the smallest D[Q ‖ p(h|x)], of all diagonal Gaussians.
        The mean is the posterior's; the variances are the inverses of the diagonal of the
        posterior precision (not the diagonal of the posterior covariance).
        """
        mean, _ = self.posterior(x)
        return mean, 1 / np.diag(self._posterior_precision())

    def expected_log_likelihood(self, x: ArrayLike, q_mean: ArrayLike, q_cov: ArrayLike) -> Array:
        """Return E_Q[log p(x|h)] for Q = N(q_mean, q_cov), exactly.

        Args:
            x: shape (..., d).
            q_mean: shape (..., k), broadcast against ``x``.
            q_cov: shape (k, k), shared by every x.

        Raises:
            ValueError: for NaN or infinity, shapes that do not match, or a bad covariance.
        """
        factor = self._q_factor(q_cov)
        q_mean = finite_array("q_mean", q_mean, last=self.latent_dim)
        spread = np.sum((self.weights @ factor) ** 2)  # tr(Wᵀ W Σ)
        return self.log_likelihood(x, q_mean) - spread / (2 * self.noise_std**2)

    def elbo(self, x: ArrayLike, q_mean: ArrayLike, q_cov: ArrayLike) -> Array:
        """Return E_Q[log p(x|h)] − D[Q ‖ p(h)] for Q = N(q_mean, q_cov): identity B2.

        Arguments and errors as in ``expected_log_likelihood``; shape (...).
        """
        expected = self.expected_log_likelihood(x, q_mean, q_cov)
        q_mean = finite_array("q_mean", q_mean, last=self.latent_dim)
        zero, identity = np.zeros(self.latent_dim), np.eye(self.latent_dim)
        kl_of_cov = gaussian.kl_divergence(zero, q_cov, zero, identity)
        return expected - kl_of_cov - 0.5 * np.sum(q_mean**2, axis=-1)

    def elbo_gradients(
        self, x: ArrayLike, q_mean: ArrayLike, q_log_var: ArrayLike
    ) -> ElboGradients:
        """Return the exact gradients of the ELBO of one x for a diagonal Q: identities G3-G5.

        Args:
            x: one data point, shape (d,).
            q_mean: mean of Q, shape (k,).
            q_log_var: log σ² of Q, shape (k,).

        Raises:
            ValueError: for NaN or infinity, or shapes that do not match.
        """
        x = finite_array("x", x, shape=(self.data_dim,))
        q_mean = finite_array("q_mean", q_mean, shape=(self.latent_dim,))
        q_log_var = finite_array("q_log_var", q_log_var, shape=(self.latent_dim,))
        q_var = np.exp(q_log_var)
        residual = (x - self.decode(q_mean)) / self.noise_std**2  # (d,)
        column_norms = np.sum(self.weights**2, axis=0) / self.noise_std**2  # (k,)
        return ElboGradients(
            weights=np.outer(residual, q_mean) - self.weights * q_var / self.noise_std**2,
            bias=residual,
            q_mean=self.weights.T @ residual - q_mean,
            q_log_var=0.5 * (1 - q_var - column_norms * q_var),
        )

    def _posterior_precision(self) -> Array:
        """Return I + Wᵀ W/σ², shape (k, k)."""
        return np.eye(self.latent_dim) + self.weights.T @ self.weights / self.noise_std**2

    def _q_factor(self, q_cov: ArrayLike) -> Array:
        """Return the Cholesky factor of q_cov, whose shape must be (k, k)."""
        factor = gaussian.cholesky("q_cov", q_cov)
        if len(factor) != self.latent_dim:
            expected = (self.latent_dim, self.latent_dim)
            raise ValueError(f"q_cov must have shape {expected}, got {factor.shape}")
        return factor
