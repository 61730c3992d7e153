"""Errors of chains and weights: against AR(1) chains, the delta method, quadrature, repetition."""

import math
import re

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.signal import lfilter
from scipy.stats import chisquare, norm, ttest_ind

from genmodels import bounds, monte_carlo
from genmodels.exact.mixture import GaussianMixture

REPETITIONS = 400


def autoregressive(rho, shape, rng):
    """Return chains x_t = ρ x_{t−1} + √(1−ρ²) ε_t of variance 1, from equilibrium."""
    noise = rng.standard_normal(shape)
    noise[..., 1:] *= np.sqrt(1 - rho**2)
    return lfilter([1], [1, -rho], noise)


def assert_covers(deviations):
    """Deviations in standard errors: 68 and 95 % within 1 and 2, to 4 binomial errors."""
    n = len(deviations)
    for k in (1, 2):
        expected = norm.cdf(k) - norm.cdf(-k)
        tolerance = 4 * np.sqrt(expected * (1 - expected) / n)
        share = np.mean(np.abs(deviations) < k)
        assert abs(share - expected) < tolerance, f"{share:.3f} within {k}, expected {expected:.3f}"


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("num_chains", [1, 8])
def test_autocorrelation_time_and_mean_of_autoregressive_chains(rho, num_chains):
    rng = np.random.default_rng(int(10 * rho) + num_chains)
    exact = 0.5 * (1 + rho) / (1 - rho)
    chains = autoregressive(rho, (REPETITIONS, num_chains, 12_000 // num_chains), rng)
    taus, errors = np.transpose([monte_carlo.autocorrelation_time(chain) for chain in chains])
    # The sum ends at 6 τ: a share e⁻⁶ = 0.25 % is missing, and another part because the window
    # ends early where τ comes out small. Both are well below one error.
    assert abs(np.mean(taus) - exact) < 0.25 * np.mean(errors)
    assert np.std(taus) == pytest.approx(np.mean(errors), rel=4 / np.sqrt(2 * REPETITIONS) + 0.05)
    assert_covers((taus - exact) / errors)
    means, errors = np.transpose([monte_carlo.mean_and_error(chain) for chain in chains])
    assert_covers(means / errors)


def test_one_chain_is_a_set_of_one():
    chain = autoregressive(0.5, 1000, np.random.default_rng(0)) + 3
    for function in (monte_carlo.autocorrelation_time, monte_carlo.mean_and_error):
        assert function(chain) == function(chain[None])
    assert monte_carlo.mean_and_error(chain)[0] == pytest.approx(chain.mean(), rel=1e-12)


def test_time_and_error_do_not_depend_on_origin_and_scale():
    chain = autoregressive(0.5, 1000, np.random.default_rng(0))
    np.testing.assert_allclose(monte_carlo.autocorrelation_time(1e-3 * chain + 7),
                               monte_carlo.autocorrelation_time(chain), rtol=1e-8)  # rounding of 7
    assert monte_carlo.mean_and_error(100 * chain)[1] == pytest.approx(
        100 * monte_carlo.mean_and_error(chain)[1], rel=1e-12)


@pytest.mark.parametrize(("chain", "message"), [
    (np.zeros(1000) + 0.1, "chain must vary, got 0.1 at every step"),
    (np.linspace(0, 1, 1000), "chain must be longer, got 1 × 1000 steps"),  # it drifts
    (np.random.default_rng(0).normal(size=59), "chain must be longer, got 1 × 59 steps"),
    ((-1.0) ** np.arange(1000), "autocorrelation time does not come out positive"),
    (np.zeros((2, 3, 4)), "chain must have shape (n,) or (num_chains, n), got (2, 3, 4)"),
    (np.zeros(0), "chain must have shape"), (1.0, "chain must have shape"),
    ([0, np.nan, 1], "chain must be finite"),
])
def test_chains_without_an_error_bar(chain, message):
    for function in (monte_carlo.autocorrelation_time, monte_carlo.mean_and_error):
        with pytest.raises(ValueError, match=re.escape(message)):
            function(chain)


# The jackknife ------------------------------------------------------------------------------------


def test_chains_in_equilibrium_pass():
    rng = np.random.default_rng(6)
    for num_chains in (8, 16, 300):
        for _ in range(200):
            monte_carlo.check_thermalised(*rng.normal(size=(2, num_chains, 5)))
    monte_carlo.check_thermalised(np.ones((8, 5)), np.ones((9, 2)))  # frozen, and the same


def test_a_start_that_is_not_forgotten_is_refused():
    """Differences of 8 standard errors, in the mean along a chain or in its first value only."""
    rng = np.random.default_rng(7)
    for steps in (slice(None), slice(1)):
        ordered, random = rng.normal(size=(2, 64, 50))
        ordered[:, steps] += 8 * math.sqrt(2 / 64)
        with pytest.raises(RuntimeError, match=r"^⟨E⟩ must agree .* not thermalised"):
            monte_carlo.check_thermalised(ordered, random, "⟨E⟩")
    with pytest.raises(RuntimeError, match=r"got 1 and 1\.5"):  # frozen, and not the same
        monte_carlo.check_thermalised(np.ones((8, 2)), np.full((8, 2), 1.5))


def test_the_refused_share_is_that_of_the_t_distribution():
    """Against SciPy's test, around the threshold, for unequal numbers and widths."""
    rng = np.random.default_rng(8)
    refused = []
    for shift in np.linspace(0.3, 3, 40):
        a, b = rng.normal(size=(30, 1)), 0.3 * rng.normal(size=(9, 1)) + shift
        chance = ttest_ind(a[:, 0], b[:, 0], equal_var=False).pvalue
        try:
            monte_carlo.check_thermalised(a, b)
            refused.append(False)
        except RuntimeError:
            refused.append(True)
        assert refused[-1] == (chance < 1e-6)
    assert 5 < sum(refused) < 35, "the threshold is not among the shifts: the test is blind"


@pytest.mark.parametrize("values", [np.ones((7, 5)), np.ones(8), np.ones((8, 0)),
                                    np.full((8, 5), np.nan)])
def test_chains_that_cannot_be_compared(values):
    with pytest.raises(ValueError, match="random must"):
        monte_carlo.check_thermalised(np.ones((8, 5)), values)


def binder(mean):
    return 1 - mean[1] / (3 * mean[0] ** 2)


def moments(x):
    return np.column_stack([x**2, x**4])


def test_jackknife_of_a_mean_is_the_usual_error():
    x = np.random.default_rng(0).normal(size=200)
    value, error = monte_carlo.jackknife(lambda mean: mean[0], x, num_blocks=200)
    np.testing.assert_allclose([value, error], [x.mean(), x.std(ddof=1) / np.sqrt(200)],
                               rtol=1e-10)  # rounding
    assert np.shape(value) == np.shape(error) == ()
    # Blocks of 3 and 4: the deviations of their means, each with the weight of its length
    value, error = monte_carlo.jackknife(lambda mean: mean, x, num_blocks=60)
    lengths = np.diff(np.append(np.arange(60) * 200 // 60, 200))
    means = np.array([part.mean() for part in np.split(x, np.cumsum(lengths)[:-1])])
    expected = np.sqrt(np.mean((means - x.mean()) ** 2 / (200 / lengths - 1)))
    np.testing.assert_allclose(error, [expected], rtol=1e-10)
    assert set(lengths) == {3, 4} and value.shape == (1,)


@pytest.mark.parametrize("weighted", [False, True])
def test_jackknife_agrees_with_the_delta_method(weighted):
    rng, n = np.random.default_rng(1), 4000
    columns = moments(rng.normal(size=n) + 0.5)
    log_w = rng.normal(scale=0.5, size=n) if weighted else np.zeros(n)
    w = np.exp(log_w)
    m2, m4 = w @ columns / w.sum()
    gradient = np.array([2 * m4 / (3 * m2**3), -1 / (3 * m2**2)])
    expected = np.sqrt(np.sum((w * ((columns - [m2, m4]) @ gradient)) ** 2)) / w.sum()
    value, error = monte_carlo.jackknife(binder, columns, num_blocks=n,
                                         log_weights=log_w if weighted else None)
    assert value == pytest.approx(1 - m4 / (3 * m2**2), rel=1e-10)  # rounding
    # They differ by terms of the next order, 1/(effective size) times moments up to the eighth.
    assert error == pytest.approx(expected, rel=50 / monte_carlo.effective_sample_size(log_w))


@pytest.mark.parametrize("weighted", [False, True])
def test_error_bars_of_the_jackknife_cover(weighted):
    """Of a correlated chain, in blocks of 60 steps or 13 times τ; and of independent weights."""
    rng, deviations = np.random.default_rng(2), []
    mean = 0.5 if weighted else 1.0
    exact = 1 - (3 + 6 * mean**2 + mean**4) / (3 * (1 + mean**2) ** 2)  # of N(mean, 1)
    for _ in range(REPETITIONS):
        if weighted:
            x = rng.standard_normal(20_000)
            log_w = mean * x  # turns N(0, 1) into N(mean, 1)
        else:
            x, log_w = autoregressive(0.8, 6000, rng) + mean, None
        value, error = monte_carlo.jackknife(binder, moments(x), num_blocks=100, log_weights=log_w)
        deviations.append((value - exact) / error)
    assert_covers(np.array(deviations))


def test_a_constant_shift_of_log_weights_changes_nothing():
    rng = np.random.default_rng(3)
    columns, log_w = moments(rng.normal(size=100)), rng.normal(size=100)
    for shift in (-5000, 5000):
        np.testing.assert_allclose(monte_carlo.jackknife(binder, columns, log_weights=log_w),
                                   monte_carlo.jackknife(binder, columns,
                                                         log_weights=log_w + shift),
                                   rtol=1e-8)  # numbers near 5000 are rounded at 1e-12


COLUMNS = np.random.default_rng(4).normal(size=(60, 2))


@pytest.mark.parametrize(("changes", "error", "message"), [
    ({"columns": COLUMNS[:49]}, ValueError,
     "columns must have a row for each of 50 blocks, got 49"),
    ({"columns": np.zeros((60, 2, 2))}, ValueError, "columns must have shape (n, d) or (n,)"),
    ({"columns": np.zeros((0, 2))}, ValueError, "columns must have shape (n, d) or (n,)"),
    ({"columns": np.full((60, 2), np.nan)}, ValueError, "columns must be finite"),
    ({"num_blocks": 9}, ValueError, "num_blocks must be at least 10, got 9"),
    ({"num_blocks": 50.0}, TypeError, "num_blocks must be a positive integer, got 50.0"),
    ({"log_weights": np.zeros(59)}, ValueError, "log_weights must have shape (60,), got (59,)"),
    ({"log_weights": np.full(60, -np.inf)}, ValueError, "log_weights must be finite"),
    ({"log_weights": np.append(np.zeros(59), np.inf)}, ValueError, "log_weights must be finite"),
    ({"log_weights": np.append(np.zeros(59), np.nan)}, ValueError, "log_weights must be finite"),
    ({"log_weights": np.where(np.arange(60) < 9, 0.0, -50)}, ValueError,
     "log_weights must have an effective sample size of at least 10 for an error bar, got 9 of 60"),
])
def test_averages_without_an_error_bar(changes, error, message):
    arguments = {"columns": COLUMNS, "num_blocks": 50, "log_weights": None} | changes

    with pytest.raises(error, match=re.escape(message)):
        monte_carlo.jackknife(lambda mean: mean[0], **arguments)


def test_one_block_with_all_the_weight_has_no_error_bar():
    for low, share in ((-900.0, "100"), (-40.0, "100"), (-6.0, "97")):  # e^−900 is 0 in float64
        log_w = np.where(np.arange(200) < 20, 0.0, low)
        with pytest.raises(ValueError, match=f"two blocks at least, got one that holds {share}"):
            monte_carlo.jackknife(lambda mean: mean[0], np.ones(200), num_blocks=10,
                                  log_weights=log_w)


# Weights ------------------------------------------------------------------------------------------


def mixture_problem(seed):
    """Return log p̃, log q, samples of q, and ⟨x⟩, ⟨x²⟩, log Z of p̃: a mixture in one dimension."""
    rng = np.random.default_rng(seed)
    log_z = rng.normal(scale=3)
    weight, means, stds = rng.uniform(0.3, 0.7), rng.uniform(-1.5, 1.5, 2), rng.uniform(0.4, 1, 2)
    p = GaussianMixture([weight, 1 - weight], means[:, None], (stds**2)[:, None, None])

    def log_p(x):
        return p.log_density(x[:, None]) + log_z

    return log_p, p.mean[0], p.cov[0, 0] + p.mean[0] ** 2, log_z


def quartic_problem(seed):
    """The same for φ⁴ in zero dimensions, p̃ = e^(−g x⁴ − μ x² + h x), by quadrature."""
    rng = np.random.default_rng(seed)
    g, mu, h = rng.uniform(0.2, 0.6), rng.uniform(-1, 1), rng.normal(scale=0.3)

    def log_p(x):
        return -g * x**4 - mu * x**2 + h * x

    z, m1, m2 = (quad(lambda x, k=k: x**k * np.exp(log_p(x)), -9, 9, epsabs=1e-12, limit=200)[0]
                 for k in range(3))
    return log_p, m1 / z, m2 / z, np.log(z)


PROBLEMS = pytest.mark.parametrize("problem", [mixture_problem, quartic_problem])


@PROBLEMS
def test_P6_weights_make_averages_exact(problem):
    """Weighted averages and log ⟨w⟩ of 20 problems, in standard errors: unbiased, they cover."""
    scale, deviations, unweighted = 2.0, [], []
    for seed in range(20):
        log_p, m1, m2, log_z = problem(seed)
        rng = np.random.default_rng([seed, 1])
        for _ in range(10):
            x = scale * rng.standard_normal(2000)
            log_w = log_p(x) - norm.logpdf(x, scale=scale)
            value, error = monte_carlo.jackknife(lambda mean: mean, np.column_stack([x, x**2]),
                                                 log_weights=log_w)
            log_mean, log_error = monte_carlo.log_mean_weight(log_w)
            deviations.append([*(value - [m1, m2]) / error, (log_mean - log_z) / log_error])
            unweighted.append(np.mean(x**2) - m2)
    deviations = np.array(deviations)  # (200, 3)
    for column in deviations.T:
        assert_covers(column)
        # Their mean is 0, up to a bias of order 1/n: a ratio's is 1/√n errors, or 0.02 here.
        assert abs(column.mean()) < 4 / np.sqrt(len(column)) + 0.05
    assert np.mean(unweighted) > 1  # the proposal's own average is far off


@PROBLEMS
def test_P6_independence_metropolis_has_the_right_averages(problem):
    deviations = []
    for seed in range(100):
        log_p, m1, m2, _ = problem(seed)
        rng = np.random.default_rng([seed, 2])
        x = 2 * rng.standard_normal(5000)
        indices, acceptance = monte_carlo.independence_metropolis(
            log_p(x) - norm.logpdf(x, scale=2), rng)
        assert 0.2 < acceptance < 0.95
        chain = x[indices][100:]  # far from its start
        for k, exact in ((1, m1), (2, m2)):
            value, error = monte_carlo.mean_and_error(chain**k)
            deviations.append((value - exact) / error)
    assert_covers(np.array(deviations))


def test_P6_one_step_of_independence_metropolis_leaves_p_invariant():
    """Three states: from p exactly, after one step p again; and the rate of each transition."""
    rng, n = np.random.default_rng(0), 40_000
    p, q = np.array([0.6, 0.3, 0.1]), np.array([0.2, 0.2, 0.6])
    start, proposal = rng.choice(3, n, p=p), rng.choice(3, n, p=q)
    log_w = np.log(p / q)
    end = np.array([(a, b)[monte_carlo.independence_metropolis(log_w[[a, b]], rng)[0][1]]
                    for a, b in zip(start, proposal)])
    flow = p[:, None] * q * np.minimum(1, (p / q) / (p / q)[:, None])
    flow += np.diag(p - flow.sum(axis=1))
    np.testing.assert_allclose(flow.sum(axis=0), p, rtol=1e-12)  # of the formula itself
    counts = np.histogram2d(start, end, bins=3)[0]
    assert chisquare(counts.ravel(), n * flow.ravel()).pvalue > 1e-4
    assert chisquare(counts.sum(axis=0), n * p).pvalue > 1e-4


def test_independence_metropolis_accepts_by_the_ratio_of_weights():
    rng = np.random.default_rng(0)
    indices, acceptance = monte_carlo.independence_metropolis(np.zeros(50), rng)
    assert acceptance == 1 and list(indices) == list(range(50))
    log_w = np.append(0.0, -800 * np.ones(9))
    indices, acceptance = monte_carlo.independence_metropolis(log_w, rng)
    assert acceptance == 0 and not indices.any()
    # With weights 1 and ½ in turn, a step down is taken every second time, a step up always.
    log_w = np.tile([0, np.log(0.5)], 50_000)
    indices, _ = monte_carlo.independence_metropolis(log_w, rng)
    held = indices[:-1] % 2  # 1: the smaller weight
    taken = np.diff(indices) > 0
    assert np.all(taken[held == 1])
    down = taken[(held == 0) & (np.arange(1, 100_000) % 2 == 1)]
    assert abs(down.mean() - 0.5) < 4 * 0.5 / np.sqrt(len(down))


def test_effective_sample_size_is_the_one_of_bounds_and_takes_one_row():
    log_w = np.random.default_rng(0).normal(size=(3, 40))
    assert bounds.effective_sample_size is monte_carlo.effective_sample_size
    rows = [monte_carlo.effective_sample_size(row) for row in log_w]
    np.testing.assert_array_equal(rows, monte_carlo.effective_sample_size(log_w))


@pytest.mark.parametrize("tail", [0.1, 0.5, 1.0])
def test_tail_of_pareto_weights(tail):
    rng = np.random.default_rng(0)
    found = [monte_carlo.weight_tail(tail * rng.standard_exponential(10_000)) for _ in range(100)]
    # w = e^(k E), E exponential: a Pareto distribution; the mean excess of 300 has an error k/√300
    assert np.mean(found) == pytest.approx(tail, rel=4 / np.sqrt(300 * 100))
    assert np.std(found) == pytest.approx(tail / np.sqrt(300), rel=0.3)


def test_tail_of_a_proposal_that_is_too_narrow():
    """p = N(0, 1), q = N(0, s²): log w = (1 − s²) x²/(2 s²) has a tail of k = 1 − s²."""
    rng = np.random.default_rng(0)
    for variance in (0.4, 0.8):
        x = np.sqrt(variance) * rng.standard_normal(400_000)
        log_w = norm.logpdf(x) - norm.logpdf(x, scale=np.sqrt(variance))
        # x² of a Gaussian has an exponential tail up to a factor 1 − O(1/x²), about 10 % here
        assert monte_carlo.weight_tail(log_w) == pytest.approx(1 - variance, rel=0.2)
    assert monte_carlo.weight_tail(np.zeros(100)) == 0


def test_log_mean_weight_of_large_and_equal_weights():
    assert monte_carlo.log_mean_weight(np.full(10, 3.0)) == (pytest.approx(3, rel=1e-12), 0)
    log_w = np.random.default_rng(0).normal(size=50)
    w = np.exp(log_w)
    expected = np.log(w.mean()), w.std(ddof=1) / np.sqrt(50) / w.mean()
    np.testing.assert_allclose(monte_carlo.log_mean_weight(log_w), expected, rtol=1e-10)
    shifted = monte_carlo.log_mean_weight(log_w + 5000)
    np.testing.assert_allclose(shifted, (expected[0] + 5000, expected[1]), rtol=1e-8)  # rounding


OF_WEIGHTS = {
    "log_mean_weight": monte_carlo.log_mean_weight,
    "weight_tail": monte_carlo.weight_tail,
    "independence_metropolis":
        lambda w: monte_carlo.independence_metropolis(w, np.random.default_rng(0)),
    "effective_sample_size": monte_carlo.effective_sample_size,
}


@pytest.mark.parametrize("function", OF_WEIGHTS.values(), ids=OF_WEIGHTS)
@pytest.mark.parametrize(("log_weights", "message"), [
    (np.full(20, -np.inf), "log_weights must be finite, got NaN or infinity"),  # all weights zero
    (np.append(np.zeros(19), np.inf), "log_weights must be finite, got NaN or infinity"),
    (np.append(np.zeros(19), np.nan), "log_weights must be finite, got NaN or infinity"),
    (np.zeros((2, 3, 4)), "log_weights must have shape"), (np.zeros(0), "log_weights must have"),
])
def test_weights_that_are_none(function, log_weights, message):
    with pytest.raises(ValueError, match=message):
        function(log_weights)


def test_too_few_weights():
    log_w = np.where(np.arange(60) < 9, 0.0, -50)
    with pytest.raises(ValueError, match=r"effective sample size of at least 10.*got 9 of 60"):
        monte_carlo.log_mean_weight(log_w)
    for few in (np.zeros(9), np.zeros((1, 20))):
        with pytest.raises(ValueError, match=r"log_weights must have shape \(n,\), n at least 10"):
            monte_carlo.weight_tail(few)
    with pytest.raises(ValueError, match=r"log_weights must have shape \(n,\), n at least 2"):
        monte_carlo.independence_metropolis([0.0], np.random.default_rng(0))
    with pytest.raises(TypeError, match="log_weights must hold real numbers"):
        monte_carlo.log_mean_weight(["a"] * 20)
