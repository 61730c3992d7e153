"""Gaussian densities and divergences: identities K1, K2, K3, and every error they raise."""

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from genmodels.exact import gaussian

SEEDS = range(5)


def random_gaussian(k, rng):
    """Return a random mean (k,) and a random full covariance (k, k)."""
    factor = rng.normal(size=(k, k))
    return rng.normal(size=k), factor @ factor.T / k + 0.2 * np.eye(k)


def central_difference(f, v, step=1e-5):
    """Return the gradient of f at v (k,)."""
    shifts = step * np.eye(len(v))
    return np.array([(f(v + shift) - f(v - shift)) / (2 * step) for shift in shifts])


@pytest.mark.parametrize("k", [1, 2, 7])
@pytest.mark.parametrize("seed", SEEDS)
def test_log_density_agrees_with_scipy(k, seed):
    rng = np.random.default_rng(seed)
    mean, cov = random_gaussian(k, rng)
    x = rng.normal(size=(4, 3, k))
    log_density = gaussian.log_density(x, mean, cov)
    assert log_density.shape == (4, 3)
    expected = stats.multivariate_normal.logpdf(x.reshape(-1, k), mean, cov).reshape(4, 3)
    np.testing.assert_allclose(log_density, expected, rtol=1e-10, atol=1e-10)  # rounding


def test_log_density_of_one_point_is_a_scalar_and_means_broadcast():
    rng = np.random.default_rng(0)
    _, cov = random_gaussian(3, rng)
    x, means = rng.normal(size=3), rng.normal(size=(5, 3))
    assert gaussian.log_density(x, means[0], cov).shape == ()
    several = gaussian.log_density(x, means, cov)
    one_by_one = [gaussian.log_density(x, mean, cov) for mean in means]
    np.testing.assert_allclose(several, one_by_one, rtol=1e-12)  # rounding


def test_log_density_of_no_points_is_empty():
    assert gaussian.log_density(np.zeros((0, 2)), np.zeros(2), np.eye(2)).shape == (0,)


@pytest.mark.parametrize("seed", SEEDS)
def test_sample_has_the_mean_and_the_covariance(seed):
    rng = np.random.default_rng(seed)
    mean, cov = random_gaussian(3, rng)
    h = gaussian.sample(mean, cov, 20_000, rng)
    assert h.shape == (20_000, 3)
    assert np.all(np.abs(h.mean(axis=0) - mean) < 5 * stats.sem(h))
    products = (h - mean)[:, :, None] * (h - mean)[:, None, :]  # (n, 3, 3)
    assert np.all(np.abs(products.mean(axis=0) - cov) < 5 * stats.sem(products))


def test_sample_repeats_with_the_same_seed():
    draws = [gaussian.sample([0, 1], np.eye(2), 4, np.random.default_rng(7)) for _ in range(2)]
    np.testing.assert_array_equal(*draws)


@pytest.mark.parametrize("seed", SEEDS)
def test_K1_closed_form_is_the_integral_of_density_times_log_ratio(seed):
    rng = np.random.default_rng(seed)
    mean0, mean1 = rng.normal(size=2)
    std0, std1 = rng.uniform(0.3, 2, size=2)
    first, second = stats.norm(mean0, std0), stats.norm(mean1, std1)
    integral, _ = integrate.quad(
        lambda h: first.pdf(h) * (first.logpdf(h) - second.logpdf(h)),
        mean0 - 12 * std0,
        mean0 + 12 * std0,
        epsabs=1e-11,
    )
    closed = gaussian.kl_divergence([mean0], [[std0**2]], [mean1], [[std1**2]])
    assert abs(closed - integral) < 1e-10  # ten times the tolerance of quad


@pytest.mark.parametrize("k", [1, 3, 10])
@pytest.mark.parametrize("seed", SEEDS)
def test_K1_is_positive_zero_for_equal_densities_and_not_symmetric(k, seed):
    rng = np.random.default_rng(seed)
    first, second = random_gaussian(k, rng), random_gaussian(k, rng)
    forward = gaussian.kl_divergence(*first, *second)
    backward = gaussian.kl_divergence(*second, *first)
    assert forward > 0 and backward > 0
    assert abs(forward - backward) > 1e-6
    assert abs(gaussian.kl_divergence(*first, *first)) < 1e-12  # rounding of terms of size k


@pytest.mark.parametrize("k", range(1, 21))
@pytest.mark.parametrize("seed", SEEDS)
def test_K2_agrees_with_torch(k, seed):
    rng = np.random.default_rng([seed, k])
    mean0, cov0 = random_gaussian(k, rng)
    mean1, cov1 = random_gaussian(k, rng)
    first, second = (
        torch.distributions.MultivariateNormal(torch.from_numpy(mean), torch.from_numpy(cov))
        for mean, cov in [(mean0, cov0), (mean1, cov1)]
    )
    expected = float(torch.distributions.kl_divergence(first, second))
    closed = gaussian.kl_divergence(mean0, cov0, mean1, cov1)
    np.testing.assert_allclose(closed, expected, rtol=1e-10)  # float64 rounding


@pytest.mark.parametrize("k", [1, 2, 5, 10, 20])
@pytest.mark.parametrize("seed", SEEDS)
def test_K2_is_the_mean_log_ratio_of_samples(k, seed):
    rng = np.random.default_rng([seed, k])
    mean0, cov0 = random_gaussian(k, rng)
    mean1, cov1 = random_gaussian(k, rng)
    h = rng.multivariate_normal(mean0, cov0, size=5000)
    first, second = stats.multivariate_normal(mean0, cov0), stats.multivariate_normal(mean1, cov1)
    log_ratio = first.logpdf(h) - second.logpdf(h)
    closed = gaussian.kl_divergence(mean0, cov0, mean1, cov1)
    assert abs(log_ratio.mean() - closed) < 5 * stats.sem(log_ratio)


@pytest.mark.parametrize("seed", SEEDS)
def test_K2_does_not_change_under_an_affine_map(seed):
    rng = np.random.default_rng(seed)
    mean0, cov0 = random_gaussian(4, rng)
    mean1, cov1 = random_gaussian(4, rng)
    A, c = rng.normal(size=(4, 4)) + 3 * np.eye(4), rng.normal(size=4)
    before = gaussian.kl_divergence(mean0, cov0, mean1, cov1)
    after = gaussian.kl_divergence(A @ mean0 + c, A @ cov0 @ A.T, A @ mean1 + c, A @ cov1 @ A.T)
    # Rounding, times condition numbers of A Σ Aᵀ of up to about 1e4.
    np.testing.assert_allclose(after, before, rtol=1e-9)


@pytest.mark.parametrize("k", [1, 2, 8, 20])
@pytest.mark.parametrize("seed", SEEDS)
def test_K3_agrees_with_full_matrices_and_with_torch(k, seed):
    rng = np.random.default_rng([seed, k])
    mean, log_var = rng.normal(size=(6, k)), rng.normal(-1, 1, size=(6, k))
    closed = gaussian.kl_to_standard_normal(mean, log_var)
    assert closed.shape == (6,)
    full = [
        gaussian.kl_divergence(m, np.diag(np.exp(v)), np.zeros(k), np.eye(k))
        for m, v in zip(mean, log_var, strict=True)
    ]
    np.testing.assert_allclose(closed, full, rtol=1e-11)  # rounding
    encoder = torch.distributions.Normal(
        torch.from_numpy(mean), torch.from_numpy(np.exp(log_var / 2))
    )
    prior = torch.distributions.Normal(torch.zeros(k).double(), torch.ones(k).double())
    terms = torch.distributions.kl_divergence(encoder, prior).numpy()  # (6, k)
    np.testing.assert_allclose(closed, terms.sum(axis=-1), rtol=1e-11)  # rounding


@pytest.mark.parametrize("seed", SEEDS)
def test_K3_gradients_are_mean_and_half_of_variance_minus_one(seed):
    rng = np.random.default_rng(seed)
    mean, log_var = rng.normal(size=4), rng.normal(size=4)
    by_mean = central_difference(lambda v: gaussian.kl_to_standard_normal(v, log_var), mean)
    by_log_var = central_difference(lambda v: gaussian.kl_to_standard_normal(mean, v), log_var)
    # Rounding divided by the step is some 1e-10; the step's own error is of the same size.
    np.testing.assert_allclose(by_mean, mean, rtol=0, atol=1e-8)
    np.testing.assert_allclose(by_log_var, (np.exp(log_var) - 1) / 2, rtol=0, atol=1e-8)


def test_K3_is_zero_at_the_prior_and_sums_over_the_last_axis_only():
    assert gaussian.kl_to_standard_normal(np.zeros(3), np.zeros(3)) == 0
    shape = gaussian.kl_to_standard_normal(np.zeros((2, 5, 3)), np.zeros((2, 5, 3))).shape
    assert shape == (2, 5)


BAD_COVARIANCES = {
    "not square": (np.ones((2, 3)), r"must be a square matrix .*, got shape \(2, 3\)"),
    "a vector of variances": (np.ones(2), r"must be a square matrix .*, got shape \(2,\)"),
    "a stack": (np.ones((4, 2, 2)), r"must be a square matrix .*, got shape \(4, 2, 2\)"),
    "empty": (np.ones((0, 0)), r"must be a square matrix .*, got shape \(0, 0\)"),
    "not symmetric": ([[1.0, 0.1], [0.2, 1.0]], r"must be symmetric, got entries .* 0\.1"),
    "indefinite": ([[1.0, 2.0], [2.0, 1.0]], r"must be positive definite, got .*eigenvalue of -1"),
    "negative": ([[1.0, 0.0], [0.0, -2.0]], r"must be positive definite, got .*eigenvalue of -2"),
    "singular": (np.diag([1.0, 0.0]), r"must be positive definite, got .*eigenvalue of 0"),
    "NaN": ([[1.0, np.nan], [np.nan, 1.0]], r"must be finite, got NaN or infinity"),
    "infinite": (np.diag([1.0, np.inf]), r"must be finite, got NaN or infinity"),
}
two, unit = np.zeros(2), np.eye(2)


@pytest.mark.parametrize("cov, message", BAD_COVARIANCES.values(), ids=BAD_COVARIANCES)
def test_bad_covariances_are_refused_by_name(cov, message):
    with pytest.raises(ValueError, match=f"^cov .*{message}"):
        gaussian.cholesky("cov", cov)


def test_a_covariance_that_is_symmetric_up_to_rounding_is_accepted():
    cov = np.array([[2.0, 0.3 + 1e-15], [0.3, 1.0]])
    assert np.isfinite(gaussian.log_density(two, two, cov))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((two, unit, two, np.eye(3)), r"cov1 must have shape \(2, 2\), as cov0 has, got \(3, 3\)"),
        ((np.zeros(3), unit, two, unit), r"mean0 must have shape \(2,\), got \(3,\)"),
        ((two, unit, np.zeros(3), unit), r"mean1 must have shape \(2,\), got \(3,\)"),
        ((two, -unit, two, unit), "cov0 must be positive definite"),
        ((two, unit, two, -unit), "cov1 must be positive definite"),
    ],
)
def test_kl_divergence_refuses_what_does_not_match(arguments, message):
    with pytest.raises(ValueError, match=message):
        gaussian.kl_divergence(*arguments)


@pytest.mark.parametrize(
    "x, mean, message",
    [
        (np.zeros(3), two, r"x must have shape \(\.\.\., 2\), got \(3,\)"),
        (two, np.zeros(3), r"mean must have shape \(\.\.\., 2\), got \(3,\)"),
        (np.zeros((4, 2)), np.zeros((3, 2)), r"x and mean must .*, got \(4, 2\) and \(3, 2\)"),
    ],
)
def test_log_density_refuses_what_does_not_match(x, mean, message):
    with pytest.raises(ValueError, match=message):
        gaussian.log_density(x, mean, unit)


def test_bad_covariances_and_means_of_log_density_and_sample():
    with pytest.raises(ValueError, match="cov must be positive definite"):
        gaussian.log_density(two, two, -unit)
    with pytest.raises(ValueError, match="cov must be positive definite"):
        gaussian.sample(two, -unit, 3, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"mean must have shape \(2,\), got \(5, 2\)"):
        gaussian.sample(np.zeros((5, 2)), unit, 3, np.random.default_rng(0))


@pytest.mark.parametrize(
    "mean, log_var, message",
    [
        (np.zeros((4, 2)), np.zeros(2), r"mean and log_var must .*, got \(4, 2\) and \(2,\)"),
        (np.zeros(2), np.zeros(3), r"mean and log_var must .*, got \(2,\) and \(3,\)"),
        (0.0, 0.0, r"mean and log_var must .*, got \(\) and \(\)"),
        (two, [0.0, -np.inf], "log_var must be finite, got NaN or infinity"),
    ],
)
def test_kl_to_standard_normal_refuses_what_does_not_match(mean, log_var, message):
    with pytest.raises(ValueError, match=message):
        gaussian.kl_to_standard_normal(mean, log_var)
