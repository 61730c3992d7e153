"""Gaussian mixtures against sampling, quadrature and finite differences."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from genmodels.exact.mixture import GaussianMixture


def random_mixture(rng, num_components=3, d=2):
    weights = rng.dirichlet(np.full(num_components, 5.0))
    factors = 0.5 * rng.normal(size=(num_components, d, d))
    covs = factors @ factors.swapaxes(1, 2) + 0.1 * np.eye(d)
    return GaussianMixture(weights / weights.sum(), rng.normal(size=(num_components, d)), covs)


each_seed = pytest.mark.parametrize("seed", range(5))


@each_seed
def test_log_density_is_that_of_scipy(seed):
    rng = np.random.default_rng(seed)
    mixture, x = random_mixture(rng), rng.normal(size=(50, 2))
    density = sum(w * multivariate_normal(m, c).pdf(x)
                  for w, m, c in zip(mixture.weights, mixture.means, mixture.covs))
    np.testing.assert_allclose(mixture.log_density(x), np.log(density), rtol=1e-10, atol=1e-10)


@each_seed
def test_samples_have_the_mean_and_covariance(seed):
    rng = np.random.default_rng(seed)
    mixture, n = random_mixture(rng, d=3), 100_000
    x = mixture.sample(n, rng)
    products = (x - mixture.mean)[:, :, None] * (x - mixture.mean)[:, None, :]
    assert np.all(abs(x.mean(0) - mixture.mean) < 4.5 * x.std(0) / np.sqrt(n))
    assert np.all(abs(products.mean(0) - mixture.cov) < 4.5 * products.std(0) / np.sqrt(n))


@each_seed
def test_score_and_its_divergence_are_derivatives(seed):
    rng = np.random.default_rng(seed)
    mixture, x, step = random_mixture(rng), rng.normal(size=(20, 2)), 1e-4
    shifts = step * np.eye(2)
    score = np.stack([(mixture.log_density(x + h) - mixture.log_density(x - h)) / (2 * step)
                      for h in shifts], axis=1)
    # step² times third derivatives, at most some thousands here
    np.testing.assert_allclose(mixture.score(x), score, rtol=1e-5, atol=1e-5)
    divergence = sum((mixture.score(x + h) - mixture.score(x - h))[:, i] / (2 * step)
                     for i, h in enumerate(shifts))
    np.testing.assert_allclose(mixture.score_divergence(x), divergence, rtol=1e-4, atol=1e-4)


@each_seed
@pytest.mark.parametrize("alpha_bar", [0.05, 0.5, 0.98])
def test_noisy_is_the_convolution(seed, alpha_bar):
    rng = np.random.default_rng(seed)
    mixture = random_mixture(rng, d=1)
    x0 = np.linspace(-12, 12, 8001)[:, None]
    x = rng.normal(size=5)
    density = np.exp(mixture.log_density(x0))
    a, variance = np.sqrt(alpha_bar), 1 - alpha_bar
    kernel = np.exp(-0.5 * (x[:, None] - a * x0.T) ** 2 / variance) / np.sqrt(2 * np.pi * variance)
    expected = np.log(np.trapezoid(kernel * density, x0[:, 0], axis=1))
    np.testing.assert_allclose(mixture.noisy(alpha_bar).log_density(x[:, None]), expected,
                               rtol=1e-9, atol=1e-9)  # the trapezoidal rule on smooth functions
    best = np.trapezoid(kernel * density * x0.T, x0[:, 0], axis=1) / np.exp(expected)
    np.testing.assert_allclose(mixture.denoiser(x[:, None], alpha_bar)[:, 0], best,
                               rtol=1e-9, atol=1e-9)


@each_seed
def test_denoiser_divergence_is_a_derivative(seed):
    rng = np.random.default_rng(seed)
    mixture, x, step = random_mixture(rng), rng.normal(size=(20, 2)), 1e-5
    for alpha_bar in (0.1, 0.9):
        expected = sum(
            (mixture.denoiser(x + h, alpha_bar) - mixture.denoiser(x - h, alpha_bar))[:, i]
            for i, h in enumerate(step * np.eye(2))) / (2 * step)
        np.testing.assert_allclose(mixture.denoiser_divergence(x, alpha_bar), expected,
                                   rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("change", "message"), [
    ({"weights": [0.5, 0.6]}, "weights must be positive numbers with sum 1"),
    ({"weights": [1.5, -0.5]}, "weights must be positive numbers"),
    ({"weights": 1.0}, "weights must have shape"),
    ({"weights": [0.5, np.nan]}, "weights must be finite, got NaN or infinity"),
    ({"means": [[0.0, 0.0]]}, "means must have shape"),
    ({"covs": [np.eye(2)]}, "covs must have shape"),
    ({"covs": [np.eye(2), -np.eye(2)]}, r"covs\[1\] must be positive definite"),
])
def test_bad_mixture(change, message):
    arguments = {"weights": [0.5, 0.5], "means": np.zeros((2, 2)), "covs": [np.eye(2)] * 2}
    with pytest.raises(ValueError, match=message):
        GaussianMixture(**(arguments | change))


def test_bad_points_and_levels():
    mixture = random_mixture(np.random.default_rng(0))
    for x in (np.zeros(2), np.zeros((3, 1)), np.full((3, 2), np.nan)):
        with pytest.raises(ValueError, match=r"^x "):
            mixture.log_density(x)
    for alpha_bar in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match="alpha_bar must be a number"):
            mixture.noisy(alpha_bar)
    for alpha_bar in (0, 1):
        with pytest.raises(ValueError, match="alpha_bar must be a number"):
            mixture.denoiser(np.zeros((1, 2)), alpha_bar)
