"""The bounds from log weights: identity N2 in the linear-Gaussian model, and every error.

The exact L_K is a quadrature that knows no logsumexp, of densities from scipy.
"""

import re

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal, norm, sem

from genmodels import bounds
from genmodels.exact import gaussian
from genmodels.exact.linear_gaussian import LinearGaussian

SEEDS = range(5)
NUM_SAMPLES = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000]  # each divides 10,000


def one_dimensional(seed):
    """Return a model with k = 1, one x (d,), and mean and standard deviation of a wrong Q."""
    rng = np.random.default_rng(seed)
    model = LinearGaussian(rng.normal(size=(3, 1)), rng.normal(size=3), 0.7)
    x = model.sample(1, rng)[0][0]
    mean, cov = model.posterior(x)
    std = np.sqrt(cov[0, 0])
    return model, x, mean[0] + rng.uniform(0.5, 1) * std, rng.uniform(1, 1.3) * std


def log_w(model, x, q_mean, q_std, h):
    """Return log w at the points h, of any shape, from scipy's densities."""
    noise_cov = model.noise_std**2 * np.eye(model.data_dim)
    decoded = h[..., None] * model.weights[:, 0] + model.bias
    log_likelihood = multivariate_normal(cov=noise_cov).logpdf(x - decoded)
    return log_likelihood + norm.logpdf(h) - norm.logpdf(h, q_mean, q_std)


def sampled_log_weights(model, x, q_mean, q_std, shape, seed):
    """Return log weights of the package's densities at samples of Q."""
    h = q_mean + q_std * np.random.default_rng([seed, 1]).standard_normal(shape)
    log_joint = model.log_joint(x, h[..., None])
    return log_joint - gaussian.log_density(h[..., None], [q_mean], [[q_std**2]])


def exact_gap(model, x, q_mean, q_std, K):
    """Return log p(x) − L_K for k = 1 by quadrature.

    With Frullani's integral log a = ∫ (e^−t − e^−ta)/t dt over t > 0, and independent weights
    v = w/p(x), it is ∫ (E[e^−tv/K]^K − e^−t)/t dt; here t = e^s, dt/t = ds.
    """
    u = np.linspace(-12, 12, 1201)
    density = norm.pdf(u) / norm.pdf(u).sum()  # trapezoidal rule: both ends vanish
    h = q_mean + q_std * u
    evidence_cov = model.weights @ model.weights.T + model.noise_std**2 * np.eye(model.data_dim)
    log_p = multivariate_normal(model.bias, evidence_cov).logpdf(x)
    v = np.exp(log_w(model, x, q_mean, q_std, h) - log_p)
    s = np.linspace(-40, 60, 1001)  # the integrand is below 1e-10 at both ends
    laplace = np.exp(-np.exp(s)[:, None] / K * v) @ density  # E[e^−tv/K]
    return np.trapezoid(laplace**K - np.exp(-np.exp(s)), s)


@pytest.mark.parametrize("seed", SEEDS)
def test_N2_one_and_two_samples_agree_with_direct_quadrature(seed):
    model, x, q_mean, q_std = setting = one_dimensional(seed)
    u = np.linspace(-10, 10, 801)
    density = norm.pdf(u) * (u[1] - u[0])  # trapezoidal rule: both ends vanish
    at_u = log_w(*setting, q_mean + q_std * u)
    exact = {
        1: density @ at_u,
        2: density @ (np.logaddexp(at_u[:, None], at_u) - np.log(2)) @ density,
    }
    q_cov = [[q_std**2]]
    np.testing.assert_allclose(model.elbo(x, [q_mean], q_cov), exact[1], rtol=1e-10)  # rounding
    log_weights = sampled_log_weights(*setting, (2000, 20), seed)
    for K, expected in exact.items():
        np.testing.assert_allclose(
            model.log_evidence(x) - exact_gap(*setting, K), expected, rtol=0, atol=1e-9
        )  # two quadratures, each with errors below 1e-10
        values = bounds.importance_weighted_bound(log_weights, K)
        assert abs(values.mean() - expected) < 5 * sem(values)


@pytest.mark.parametrize("seed", SEEDS)
def test_N2_bound_rises_with_K_and_stays_below_the_evidence(seed):
    model, x, *_ = setting = one_dimensional(seed)
    log_p = model.log_evidence(x)
    gaps = [exact_gap(*setting, K) for K in NUM_SAMPLES]
    assert np.all(np.diff(gaps) < 0) and gaps[-1] > 0  # of the exact bounds, strictly

    log_weights = sampled_log_weights(*setting, (100, 10_000), seed)
    before = bounds.elbo(log_weights)
    for K, gap in zip(NUM_SAMPLES, gaps, strict=True):
        values = bounds.importance_weighted_bound(log_weights, K)
        error = sem(values)
        assert values.mean() <= log_p + 3 * error
        assert abs(log_p - gap - values.mean()) < 3 * error
        # Groups of 2 are not parts of groups of 5: from one K to the next it may fall by chance.
        rise = values - before
        assert rise.mean() >= -3 * sem(rise) - 1e-12  # rounding, at K = 1
        before = values


@pytest.mark.parametrize("seed", SEEDS)
def test_N2_gap_times_K_tends_to_half_the_relative_variance_of_the_weights(seed):
    model, x, q_mean, q_std = setting = one_dimensional(seed)
    u = np.linspace(-12, 12, 1201)
    v = np.exp(log_w(*setting, q_mean + q_std * u) - model.log_evidence(x))
    variance = np.sum(norm.pdf(u) * v**2) * (u[1] - u[0]) - 1
    scaled = np.array([K * exact_gap(*setting, K) for K in (500, 5000)])
    # The next term of the expansion is of order 1/K: ten times K makes the error ten times smaller.
    error = np.abs(scaled - variance / 2)
    assert error[1] < 0.01 * variance
    assert 8 < error[0] / error[1] < 12


@pytest.mark.parametrize("seed", SEEDS)
def test_N2_bounds_of_nested_groups_are_ordered_for_every_set_of_weights(seed):
    log_weights = np.random.default_rng(seed).normal(0, 4, size=(50, 120))
    nested = [bounds.importance_weighted_bound(log_weights, K) for K in (1, 2, 6, 24, 120)]
    assert np.all(np.diff(nested, axis=0) > 0)
    log_mean = np.log(np.mean(np.exp(log_weights), axis=1))
    np.testing.assert_allclose(nested[-1], log_mean, rtol=0, atol=1e-12)  # float64 rounding


def test_one_sample_is_the_elbo_and_all_samples_are_the_default():
    log_weights = np.random.default_rng(0).normal(size=(7, 12))
    one = bounds.importance_weighted_bound(log_weights, 1)
    np.testing.assert_allclose(one, bounds.elbo(log_weights), rtol=1e-12)  # float64 rounding
    np.testing.assert_array_equal(
        bounds.importance_weighted_bound(log_weights),
        bounds.importance_weighted_bound(log_weights, 12),
    )


def test_groups_are_consecutive_columns():
    log_weights = np.random.default_rng(0).normal(size=(4, 6))
    by_hand = [
        np.mean([np.log(np.mean(np.exp(row[start : start + 3]))) for start in (0, 3)])
        for row in log_weights
    ]
    np.testing.assert_allclose(
        bounds.importance_weighted_bound(log_weights, 3), by_hand, rtol=1e-12
    )  # float64 rounding


@pytest.mark.parametrize("shift", [-5000.0, 5000.0])
def test_weights_that_overflow_do_no_harm(shift):
    log_weights = np.random.default_rng(0).normal(size=(3, 10))
    for function, moves in [
        (bounds.elbo, shift),
        (bounds.importance_weighted_bound, shift),
        (bounds.effective_sample_size, 0),
    ]:
        np.testing.assert_allclose(
            function(log_weights + shift), function(log_weights) + moves, rtol=1e-9
        )  # numbers near 5000 are rounded at 1e-12, and exp turns that into a relative error


def test_effective_sample_size_of_equal_dominant_and_random_weights():
    log_weights = np.array([[-3.0, -3, -3, -3], [0, 800, 0, 0], np.log([1, 2, 3, 4])])
    np.testing.assert_allclose(
        bounds.effective_sample_size(log_weights), [4, 1, 10**2 / 30], rtol=1e-12
    )  # float64 rounding
    # S/(1 + relative variance), with the variance of the sample
    log_weights = np.random.default_rng(0).normal(size=(5, 100))
    w = np.exp(log_weights)
    expected = 100 / (1 + w.var(axis=1) / w.mean(axis=1) ** 2)
    np.testing.assert_allclose(bounds.effective_sample_size(log_weights), expected, rtol=1e-12)


def test_float32_and_tensors_are_computed_in_float64():
    log_weights = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)
    expected = bounds.importance_weighted_bound(log_weights.astype(np.float64))
    assert bounds.elbo(log_weights).dtype == np.float64
    np.testing.assert_array_equal(bounds.importance_weighted_bound(log_weights), expected)
    tensor = torch.from_numpy(log_weights)
    np.testing.assert_array_equal(bounds.importance_weighted_bound(tensor), expected)


GOOD = np.zeros((3, 6))


@pytest.mark.parametrize("shape", [(6,), (3, 2, 2), (0, 6), (3, 0)])
def test_log_weights_are_a_matrix_that_is_not_empty(shape):
    message = f"log_weights must have shape (n, S), both at least 1, got {shape}"
    with pytest.raises(ValueError, match=re.escape(message)):
        bounds.elbo(np.zeros(shape))


@pytest.mark.parametrize("function", [
    bounds.elbo, bounds.importance_weighted_bound, bounds.effective_sample_size])
def test_every_function_checks_its_log_weights(function):
    with pytest.raises(ValueError, match="log_weights must be finite, got NaN or infinity"):
        function([[0, -np.inf]])


@pytest.mark.parametrize("num_samples", [0, -2, 4, 12])
def test_number_of_samples_has_to_divide_what_there_is(num_samples):
    message = f"num_samples must be a divisor of the 6 samples, at least 1, got {num_samples}"
    with pytest.raises(ValueError, match=message):
        bounds.importance_weighted_bound(GOOD, num_samples)


@pytest.mark.parametrize("num_samples", [2.0, True, "2", np.float64(3), [2]])
def test_number_of_samples_has_to_be_an_integer(num_samples):
    message = re.escape(f"num_samples must be an integer, got {num_samples!r}")
    with pytest.raises(TypeError, match=message):
        bounds.importance_weighted_bound(GOOD, num_samples)


def test_a_numpy_integer_is_an_integer():
    assert bounds.importance_weighted_bound(GOOD, np.int64(3)).shape == (3,)
