"""Identities G1-G5: what a diagonal Q costs, and unbiased estimates of the ELBO's gradient.

Monte Carlo means must lie within 5 standard errors, component by component.
"""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import multivariate_normal, norm, sem

from genmodels.exact import gaussian
from genmodels.exact.linear_gaussian import LinearGaussian
from genmodels.training import History, Settings
from genmodels.training.steps import begin, steps

Array = NDArray[np.float64]
SEEDS = range(5)
SAMPLES = 40_000


def random_model(rng: np.random.Generator, d: int = 4, k: int = 2) -> LinearGaussian:
    return LinearGaussian(rng.normal(size=(d, k)), rng.normal(size=d), rng.uniform(0.6, 1.2))


def random_case(seed: int) -> tuple[LinearGaussian, Array, Array, Array, np.random.Generator]:
    """Return a model, one x (d,), and a mean (k,) and log σ² (k,) that are not the best."""
    rng = np.random.default_rng(seed)
    model = random_model(rng)
    x = model.sample(1, rng)[0][0]
    return model, x, rng.normal(size=2), rng.normal(size=2) - 1, rng


def central_differences(function: Callable[[Array], float], point: Array, step: float) -> Array:
    """Return the gradient of ``function`` at ``point``, same shape as ``point``."""
    result = np.empty_like(point)
    for index in np.ndindex(point.shape):
        shift = np.zeros_like(point)
        shift[index] = step
        result[index] = (function(point + shift) - function(point - shift)) / (2 * step)
    return result


def scipy_log_likelihood(model: LinearGaussian, x: Array, h: Array) -> Array:
    """Return log p(x|h) for h (n, k) without the package's density; shape (n,)."""
    return norm.logpdf(x, h @ model.weights.T + model.bias, model.noise_std).sum(axis=-1)


def reconstruction_gradient(model: LinearGaussian, x: Array, mean: Array, log_var: Array) -> Array:
    """Return the exact gradient of E_Q[log p(x|h)] in (mean, log_var), shape (2k,)."""
    gradients = model.elbo_gradients(x, mean, log_var)
    kl_gradient = np.concatenate([mean, (np.exp(log_var) - 1) / 2])
    return np.concatenate([gradients.q_mean, gradients.q_log_var]) + kl_gradient


def assert_unbiased(samples: Array, exact: Array) -> None:
    """Assert that the mean over axis 0 is within 5 standard errors of ``exact``."""
    z = (samples.mean(axis=0) - exact) / sem(samples, axis=0)
    assert np.max(np.abs(z)) < 5, f"off by {np.max(np.abs(z)):.1f} standard errors"


# G1: the best diagonal Q and what it costs


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("k", [1, 2, 4])
def test_G1_best_diagonal_q_is_what_a_minimiser_finds(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    model = random_model(rng, d=k + 2, k=k)
    x = model.sample(1, rng)[0][0]
    posterior = model.posterior(x)

    def divergence(parameters: Array) -> float:
        cov = np.diag(np.exp(parameters[k:]))
        return gaussian.kl_divergence(parameters[:k], cov, *posterior)

    found = minimize(divergence, np.zeros(2 * k), jac="3-point", options={"gtol": 1e-6})
    mean, var = model.mean_field(x)
    # All second derivatives at the minimum are at least 1/2, so a gradient below 1e-6 puts
    # the minimiser within 2e-6 √(2k) in the parameters and within about 1e-12 in the value.
    assert np.allclose(found.x, np.concatenate([mean, np.log(var)]), rtol=0, atol=1e-5)
    precision = np.eye(k) + model.weights.T @ model.weights / model.noise_std**2
    gap = 0.5 * (np.sum(np.log(np.diag(precision))) - np.linalg.slogdet(precision)[1])
    assert np.isclose(found.fun, gap, rtol=0, atol=1e-9)
    elbo = model.elbo(x, mean, np.diag(var))
    assert np.isclose(model.log_evidence(x) - elbo, gap, rtol=0, atol=1e-10)  # float64 rounding


@pytest.mark.parametrize("seed", SEEDS)
def test_G1_gap_of_two_latents_is_a_function_of_their_correlation(seed: int) -> None:
    model, x, *_ = random_case(seed)
    mean, var = model.mean_field(x)
    _, cov = model.posterior(x)
    correlation = cov[0, 1] / np.sqrt(cov[0, 0] * cov[1, 1])
    gap = model.log_evidence(x) - model.elbo(x, mean, np.diag(var))
    assert np.isclose(gap, -0.5 * np.log(1 - correlation**2), rtol=0, atol=1e-10)  # rounding
    assert np.all(var < np.diag(cov))  # mean field is overconfident


@pytest.mark.parametrize("seed", SEEDS)
def test_G1_nothing_is_lost_when_the_columns_of_w_are_orthogonal(seed: int) -> None:
    rng = np.random.default_rng(seed)
    orthogonal = np.linalg.qr(rng.normal(size=(5, 3)))[0] * rng.uniform(0.5, 3, size=3)
    model = LinearGaussian(orthogonal, rng.normal(size=5), noise_std=0.8)
    x = model.sample(1, rng)[0][0]
    mean, var = model.mean_field(x)
    assert abs(model.log_evidence(x) - model.elbo(x, mean, np.diag(var))) < 1e-10  # rounding


# G2: the average over the data, and minibatches


def data_and_elbos(seed: int, n: int = 50) -> tuple[LinearGaussian, Array, Array, Array, Array]:
    """Return a model, data (n, d), linear-encoder means (n, k), a diagonal cov, ELBOs (n,)."""
    rng = np.random.default_rng(seed)
    model = random_model(rng)
    data, _ = model.sample(n, rng)
    means = (data - model.bias) @ rng.normal(size=(4, 2)) * 0.3
    cov = np.diag(rng.uniform(0.2, 1.5, size=2))
    return model, data, means, cov, model.elbo(data, means, cov)


@pytest.mark.parametrize("seed", SEEDS)
def test_G2_both_sides_averaged_over_the_data_agree(seed: int) -> None:
    model, data, means, cov, elbos = data_and_elbos(seed)
    post_means, post_cov = model.posterior(data)
    kl = [gaussian.kl_divergence(m, cov, p, post_cov) for m, p in zip(means, post_means)]
    evidence_cov = model.weights @ model.weights.T + model.noise_std**2 * np.eye(4)
    log_evidence = multivariate_normal(model.bias, evidence_cov).logpdf(data)
    assert np.isclose(np.mean(log_evidence - kl), elbos.mean(), rtol=1e-10)  # float64 rounding


def drawn_batches(num_examples: int, batch_size: int, num_epochs: int, seed: int) -> list[Array]:
    """Return the rows of each batch that `fit` draws, epoch after epoch."""
    return [chosen for chosen, _ in run(num_examples, batch_size, num_epochs, seed)]


def run(num_examples: int, batch_size: int, num_epochs: int,
        seed: int) -> Iterator[tuple[Array, History]]:
    """Yield the rows of each step, and the history; what is sent back is recorded as the loss."""
    settings = Settings(num_epochs=num_epochs, batch_size=batch_size, seed=seed, progress=False)
    history = begin(None, None, (np.zeros(num_examples),), len, settings)
    with steps(history, settings, draw=None, place=np.array, get_state=lambda: {"weights": {}},
               set_state=lambda state: None) as remaining:
        for (chosen,) in remaining:
            loss = yield chosen, history
            history.record({"loss": loss or 0.0}, len(chosen))


@pytest.mark.parametrize("batch_size", [1, 8, 49])
def test_G2_minibatch_mean_is_unbiased(batch_size: int) -> None:
    # The first batches of many epochs, and the last ones, which are smaller for 8 and 49.
    *_, elbos = data_and_elbos(seed=0)
    per_epoch = -(-len(elbos) // batch_size)
    rows = drawn_batches(len(elbos), batch_size, num_epochs=2000, seed=1)
    for place in (0, per_epoch - 1):
        means = np.array([elbos[chosen].mean() for chosen in rows[place::per_epoch]])
        assert_unbiased(means[:, None], elbos.mean())


@pytest.mark.parametrize("seed", SEEDS)
def test_G2_minibatch_gradient_is_unbiased(seed: int) -> None:
    model, data, means, cov, _ = data_and_elbos(seed)
    log_var = np.log(np.diag(cov))
    gradients = np.array(
        [model.elbo_gradients(x, m, log_var).weights.ravel() for x, m in zip(data, means)]
    )  # (n, d k)
    parameters = model.weights

    def full_objective(weights: Array) -> float:
        changed = LinearGaussian(weights, model.bias, model.noise_std)
        return float(np.mean(changed.elbo(data, means, cov)))

    exact = central_differences(full_objective, parameters, step=1e-3).ravel()
    rng = np.random.default_rng(seed)
    order = rng.permuted(np.tile(np.arange(len(data)), (5000, 1)), axis=1)
    assert_unbiased(gradients[order[:, :8]].mean(axis=1), exact)


@pytest.mark.parametrize("batch_size", [10, 16])
@pytest.mark.parametrize("seed", SEEDS)
def test_G2_an_epoch_counts_every_example_once(seed: int, batch_size: int) -> None:
    # The mean over the batches does so if they are equal; the history also if the last is smaller.
    *_, elbos = data_and_elbos(seed)
    rows, of_run = [], run(len(elbos), batch_size, 2, seed)
    chosen, history = next(of_run)
    with contextlib.suppress(StopIteration):
        while True:
            rows.append(chosen)
            chosen, _ = of_run.send(-elbos[chosen].sum())
    for epoch in np.array_split(np.arange(len(rows)), 2):
        seen = np.concatenate([rows[step] for step in epoch])
        np.testing.assert_array_equal(np.sort(seen), np.arange(len(elbos)))
        of_batches = np.mean([elbos[rows[step]].mean() for step in epoch])
        if len(elbos) % batch_size == 0:
            assert np.isclose(of_batches, elbos.mean(), rtol=1e-12)  # float64 rounding
        else:
            assert abs(of_batches - elbos.mean()) > 1e-3  # two examples count for a quarter
    assert np.allclose(history["loss"], -elbos.mean(), rtol=1e-12)


# G3: gradients of the decoder's parameters


@pytest.mark.parametrize("seed", SEEDS)
def test_G3_exact_decoder_gradients_are_the_differences_of_the_elbo(seed: int) -> None:
    model, x, mean, log_var, _ = random_case(seed)
    cov = np.diag(np.exp(log_var))

    def elbo(parameters: Array) -> float:
        changed = LinearGaussian(parameters[:, :2], parameters[:, 2], model.noise_std)
        return float(changed.elbo(x, mean, cov))

    parameters = np.column_stack([model.weights, model.bias])
    gradients = model.elbo_gradients(x, mean, log_var)
    exact = np.column_stack([gradients.weights, gradients.bias])
    # Quadratic in W and b: the only error is rounding of the ELBO (1e-14) over the step.
    assert np.allclose(central_differences(elbo, parameters, 1e-3), exact, rtol=0, atol=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_G3_one_sample_of_x_and_h_suffices(seed: int) -> None:
    model, data, means, cov, _ = data_and_elbos(seed)
    log_var = np.log(np.diag(cov))
    gradients = [model.elbo_gradients(x, m, log_var) for x, m in zip(data, means)]
    exact = np.mean([np.column_stack([g.weights, g.bias]) for g in gradients], axis=0)

    rng = np.random.default_rng(seed)
    chosen = rng.integers(len(data), size=SAMPLES)
    h = rng.normal(means[chosen], np.exp(log_var / 2))  # (n, k)
    residual = (data[chosen] - h @ model.weights.T - model.bias) / model.noise_std**2  # (n, d)
    h_and_one = np.column_stack([h, np.ones(SAMPLES)])
    assert_unbiased(residual[:, :, None] * h_and_one[:, None, :], exact)


# G4: the score function


@pytest.mark.parametrize("seed", SEEDS)
def test_G4_exact_encoder_gradients_are_the_differences_of_the_elbo(seed: int) -> None:
    model, x, mean, log_var, _ = random_case(seed)

    def elbo(parameters: Array) -> float:
        return float(model.elbo(x, parameters[:2], np.diag(np.exp(parameters[2:]))))

    gradients = model.elbo_gradients(x, mean, log_var)
    exact = np.concatenate([gradients.q_mean, gradients.q_log_var])
    differences = central_differences(elbo, np.concatenate([mean, log_var]), step=1e-4)
    # The error in log_var is step²/6 times a third derivative of order 10: 2e-8.
    assert np.allclose(differences, exact, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_G4_without_a_path_through_h_only_the_divergence_has_a_gradient(seed: int) -> None:
    model, x, mean, log_var, _ = random_case(seed)
    torch.manual_seed(seed)
    q_mean, q_log_var = (torch.tensor(v, requires_grad=True) for v in (mean, log_var))
    q = torch.distributions.Normal(q_mean, torch.exp(q_log_var / 2))
    prior = torch.distributions.Normal(torch.zeros(2), torch.ones(2))
    h = q.sample()  # no gradient passes
    decoded = torch.from_numpy(model.weights) @ h + torch.from_numpy(model.bias)
    log_p = torch.distributions.Normal(decoded, model.noise_std).log_prob(torch.from_numpy(x)).sum()
    (log_p - torch.distributions.kl_divergence(q, prior).sum()).backward()
    naive = np.concatenate([q_mean.grad, q_log_var.grad])

    def expected_log_likelihood(parameters: Array) -> float:
        cov = np.diag(np.exp(parameters[2:]))
        return float(model.expected_log_likelihood(x, parameters[:2], cov))

    def minus_kl(parameters: Array) -> float:
        return -float(gaussian.kl_to_standard_normal(parameters[:2], parameters[2:]))

    parameters = np.concatenate([mean, log_var])
    kept = central_differences(minus_kl, parameters, step=1e-4)
    assert np.allclose(naive, kept, rtol=1e-6, atol=1e-6)  # step² times a derivative
    lost = central_differences(expected_log_likelihood, parameters, step=1e-4)
    gradients = model.elbo_gradients(x, mean, log_var)
    exact = np.concatenate([gradients.q_mean, gradients.q_log_var])
    assert np.allclose(exact - naive, lost, rtol=1e-6, atol=1e-6)
    assert np.max(np.abs(lost)) > 0.1  # far above rounding: the naive estimator is biased


@pytest.mark.parametrize("seed", SEEDS)
def test_G4_score_function_is_unbiased_and_a_baseline_lowers_its_variance(seed: int) -> None:
    model, x, mean, log_var, rng = random_case(seed)
    exact = reconstruction_gradient(model, x, mean, log_var)
    std = np.exp(log_var / 2)
    h = rng.normal(mean, std, size=(SAMPLES, 2))
    score = np.hstack([(h - mean) / std**2, ((h - mean) ** 2 / std**2 - 1) / 2])
    f = scipy_log_likelihood(model, x, h)
    plain = f[:, None] * score
    baseline = model.expected_log_likelihood(x, mean, np.diag(std**2))
    with_baseline = (f - baseline)[:, None] * score
    assert_unbiased(score, np.zeros(4))  # why a baseline changes nothing in the mean
    assert_unbiased(plain, exact)
    assert_unbiased(with_baseline, exact)
    assert np.all(with_baseline.var(axis=0) < plain.var(axis=0))


def test_G4_score_is_the_gradient_of_log_q() -> None:
    _, _, mean, log_var, rng = random_case(seed=0)
    h, std = rng.normal(size=2), np.exp(log_var / 2)

    def log_q(parameters: Array) -> float:
        return float(gaussian.log_density(h, parameters[:2], np.diag(np.exp(parameters[2:]))))

    score = np.concatenate([(h - mean) / std**2, ((h - mean) ** 2 / std**2 - 1) / 2])
    differences = central_differences(log_q, np.concatenate([mean, log_var]), step=1e-4)
    assert np.allclose(differences, score, rtol=1e-6, atol=1e-6)  # step² times a derivative


# G5: reparameterisation


def reparameterised(
    model: LinearGaussian, x: Array, mean: Array, log_var: Array, noise: Array
) -> Array:
    """Return one-sample gradients of log p(x|h) in (mean, log_var) by (G5), shape (n, 2k)."""
    std = np.exp(log_var / 2)
    h = mean + std * noise
    slope = (x - h @ model.weights.T - model.bias) @ model.weights / model.noise_std**2
    return np.hstack([slope, 0.5 * std * noise * slope])


@pytest.mark.parametrize("seed", SEEDS)
def test_G5_reparameterised_gradient_is_unbiased_with_a_far_lower_variance(seed: int) -> None:
    model, x, mean, log_var, rng = random_case(seed)
    exact = reconstruction_gradient(model, x, mean, log_var)
    noise, std = rng.standard_normal((SAMPLES, 2)), np.exp(log_var / 2)
    estimates = reparameterised(model, x, mean, log_var, noise)
    assert_unbiased(estimates, exact)
    f = scipy_log_likelihood(model, x, mean + std * noise)
    score_function = f[:, None] * np.hstack([noise / std, (noise**2 - 1) / 2])
    assert np.all(estimates.var(axis=0) < score_function.var(axis=0) / 2)


@pytest.mark.parametrize("seed", SEEDS)
def test_G5_differences_with_common_random_numbers_give_the_chain_rule(seed: int) -> None:
    model, x, mean, log_var, rng = random_case(seed)
    noise = rng.standard_normal((20, 2))
    estimates = reparameterised(model, x, mean, log_var, noise)

    def log_p(parameters: Array, fixed: Array) -> float:
        h = parameters[:2] + np.exp(parameters[2:] / 2) * fixed
        return float(model.log_likelihood(x, h))

    parameters = np.concatenate([mean, log_var])
    for fixed, estimate in zip(noise, estimates, strict=True):
        differences = central_differences(partial(log_p, fixed=fixed), parameters, step=1e-4)
        # step²/6 = 2e-9, times a third derivative that grows like noise² and noise.
        assert np.allclose(differences, estimate, rtol=1e-6, atol=1e-6)
