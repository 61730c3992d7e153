"""The linear-Gaussian model: identities L1, L2, B1 to B5, its gradients, and every error.

Expectations under a Gaussian Q are Gauss-Hermite quadrature, densities are scipy's: neither
uses the closed forms that are tested.
"""

from itertools import pairwise

import numpy as np
import pytest
from scipy import integrate, optimize
from scipy.stats import multivariate_normal, sem

from genmodels.exact import gaussian
from genmodels.exact.linear_gaussian import ElboGradients, LinearGaussian

SEEDS = range(5)
TIGHT = {"rtol": 1e-10, "atol": 1e-10}  # float64 rounding of terms of size 10 to 100


def random_model(rng, d=3, k=2, noise_std=0.7):
    return LinearGaussian(rng.normal(size=(d, k)), rng.normal(size=d), noise_std)


def random_gaussian(rng, k=2):
    """Return a random mean (k,) and a random full covariance (k, k)."""
    factor = rng.normal(size=(k, k))
    return rng.normal(size=k), factor @ factor.T + 0.1 * np.eye(k)


def expectation(f, mean, cov, num_nodes=3):
    """Return E[f(h)] for h ~ N(mean, cov), exact for a quadratic f that maps (n, k) to (n,)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(num_nodes)
    grid = np.stack(np.meshgrid(*[nodes] * len(mean)), axis=-1).reshape(-1, len(mean))
    grid_weights = np.prod(np.meshgrid(*[weights] * len(mean)), axis=0).ravel()
    h = mean + grid @ np.linalg.cholesky(cov).T  # (n, k)
    return grid_weights @ f(h) / np.sum(grid_weights)


def expected_log_ratio(mean, cov, log_density):
    """Return E_Q[log Q(h) − log_density(h)] for Q = N(mean, cov): the definition (K1)."""
    return expectation(lambda h: log_normal(h, mean, cov) - log_density(h), mean, cov)


def log_normal(h, mean, cov):
    return multivariate_normal(mean, cov).logpdf(h)


def log_likelihood(model, x, h):
    """Return log p(x|h) for x (d,) and h (n, k) from scipy's density, shape (n,)."""
    noise = multivariate_normal(cov=model.noise_std**2 * np.eye(model.data_dim))
    return noise.logpdf(x - model.bias - h @ model.weights.T)


def log_prior(h):
    return multivariate_normal(cov=np.eye(h.shape[-1])).logpdf(h)


def standard_normal(k):
    return np.zeros(k), np.eye(k)


def trapezoid_2d(f, num_points=161, half_width=9.0):
    """Return ∫ f(h) dh over a square, for f that maps (n, 2) to (n,)."""
    axis = np.linspace(-half_width, half_width, num_points)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    return np.sum(f(grid)) * (axis[1] - axis[0]) ** 2


@pytest.mark.parametrize("seed", SEEDS)
def test_L1_evidence_is_the_integral_over_one_latent_dimension(seed):
    rng = np.random.default_rng(seed)
    model = random_model(rng, k=1)
    x = model.sample(1, rng)[0][0]
    integral, _ = integrate.quad(
        lambda h: np.exp(log_likelihood(model, x, np.array([[h]])) + log_prior(np.array([[h]]))),
        -10,
        10,
        points=[model.posterior(x)[0][0]],
        epsabs=0,
        epsrel=1e-11,
        limit=200,
    )
    np.testing.assert_allclose(np.exp(model.log_evidence(x)), integral, rtol=1e-10)  # 10 × quad's


@pytest.mark.parametrize("seed", SEEDS)
def test_L1_evidence_is_the_integral_over_two_latent_dimensions(seed):
    rng = np.random.default_rng(seed)
    model = random_model(rng)
    x = model.sample(1, rng)[0][0]
    integral = trapezoid_2d(lambda h: np.exp(log_likelihood(model, x, h) + log_prior(h)))
    # The rule converges faster than any power of the step: only rounding is left.
    np.testing.assert_allclose(np.exp(model.log_evidence(x)), integral, rtol=1e-10)


@pytest.mark.parametrize("seed", SEEDS)
def test_L1_evidence_of_a_discrete_latent_is_the_sum_over_its_values(seed):
    rng = np.random.default_rng(seed)
    prior, means = rng.dirichlet([2, 2, 2]), rng.normal(0, 2, size=3)
    stds = rng.uniform(0.4, 1, size=3)
    edges = np.linspace(-4, 4, 17)
    h = rng.choice(3, p=prior, size=20_000)
    counts, _ = np.histogram(means[h] + stds[h] * rng.standard_normal(20_000), edges)

    def density(x):
        terms = [gaussian.log_density([x], [m], [[s**2]]) for m, s in zip(means, stds, strict=True)]
        return prior @ np.exp(terms)

    assert abs(integrate.quad(density, -15, 15, limit=200)[0] - 1) < 1e-7  # quad's default
    expected = [20_000 * integrate.quad(density, *pair)[0] for pair in pairwise(edges)]
    # Binomial standard error, and one count for bins that are nearly empty.
    assert np.all(np.abs(counts - expected) < 5 * np.sqrt(expected) + 1)


@pytest.mark.parametrize("d, k", [(1, 1), (3, 2), (2, 4), (6, 6)])
@pytest.mark.parametrize("seed", SEEDS)
def test_L1_evidence_posterior_and_joint_obey_bayes_rule_at_every_h(d, k, seed):
    rng = np.random.default_rng([seed, d, k])
    model = random_model(rng, d, k)
    x, h = model.sample(1, rng)[0][0], rng.normal(0, 3, size=(50, k))
    log_evidence = model.log_joint(x, h) - log_normal(h, *model.posterior(x))
    np.testing.assert_allclose(log_evidence, model.log_evidence(x), rtol=1e-9)  # terms up to 1e3
    joint = log_likelihood(model, x, h) + log_prior(h).reshape(50)
    np.testing.assert_allclose(model.log_joint(x, h), joint, rtol=1e-10)  # rounding


@pytest.mark.parametrize("seed", SEEDS)
def test_posterior_is_the_conditional_of_the_joint_gaussian(seed):
    rng = np.random.default_rng(seed)
    model = random_model(rng, d=4, k=3)
    data = rng.normal(size=(7, 4))
    gain = model.weights.T @ np.linalg.inv(
        model.weights @ model.weights.T + model.noise_std**2 * np.eye(4)
    )
    mean, cov = model.posterior(data)
    np.testing.assert_allclose(mean, (data - model.bias) @ gain.T, **TIGHT)
    np.testing.assert_allclose(cov, np.eye(3) - gain @ model.weights, **TIGHT)


@pytest.mark.parametrize("seed", SEEDS)
def test_samples_have_the_mean_and_the_covariance_of_the_evidence(seed):
    rng = np.random.default_rng(seed)
    model = random_model(rng)
    x, h = model.sample(20_000, rng)
    assert x.shape == (20_000, 3) and h.shape == (20_000, 2)
    assert np.all(np.abs(x.mean(axis=0) - model.bias) < 5 * sem(x))
    noise = x - model.decode(h)
    assert np.all(np.abs(np.mean(noise**2, axis=0) - model.noise_std**2) < 5 * sem(noise**2))
    log_p = model.log_evidence(x)  # its mean is minus the entropy, −½ log det(2πe C)
    cov = model.weights @ model.weights.T + model.noise_std**2 * np.eye(3)
    entropy = 0.5 * np.linalg.slogdet(2 * np.pi * np.e * cov)[1]
    assert abs(log_p.mean() + entropy) < 5 * sem(log_p)


def second_moment(model, x):
    """Return E[p(x|h)²]/p(x)² for h from the prior: the closed form of (L2)."""
    mean, cov = model.posterior(x)
    precision = np.linalg.inv(cov)
    B = 2 * precision - np.eye(len(mean))
    factor = np.linalg.det(precision) / np.sqrt(np.linalg.det(B))
    return factor * np.exp(mean @ precision @ np.linalg.solve(B, mean))


@pytest.mark.parametrize("seed", SEEDS)
def test_L2_relative_variance_of_prior_sampling(seed):
    rng = np.random.default_rng(seed)
    model = random_model(rng)
    x = model.sample(1, rng)[0][0]
    integral = trapezoid_2d(lambda h: np.exp(2 * log_likelihood(model, x, h) + log_prior(h)))
    closed = second_moment(model, x)
    np.testing.assert_allclose(integral / np.exp(2 * model.log_evidence(x)), closed, rtol=1e-9)
    divergence = gaussian.kl_divergence(*model.posterior(x), *standard_normal(2))
    assert closed >= np.exp(divergence)

    _, h = model.sample(20_000, rng)  # the x drawn with them are not used
    weights = np.exp(model.log_likelihood(x, h) - model.log_evidence(x))
    assert abs(weights.mean() - 1) < 5 * sem(weights)  # unbiased
    assert abs(np.mean(weights**2) - closed) < 5 * sem(weights**2)


@pytest.mark.parametrize("a", [0.5, 3.0])
def test_L2_relative_variance_grows_exponentially_with_the_dimension(a):
    rng = np.random.default_rng(0)
    directions, _ = np.linalg.qr(rng.normal(size=(12, 12)))
    base = (1 + a) / np.sqrt(1 + 2 * a) * np.exp(a / (1 + 2 * a))
    for k in range(1, 13):
        model = LinearGaussian(np.sqrt(a) * 0.5 * directions[:, :k], np.zeros(12), noise_std=0.5)
        x = model.decode(np.full(k, np.sqrt((1 + a) / a)))
        np.testing.assert_allclose(second_moment(model, x), base**k, rtol=1e-10)  # rounding


@pytest.mark.parametrize("seed", SEEDS)
def test_L2_weights_of_posterior_samples_have_no_variance(seed):
    rng = np.random.default_rng(seed)
    model = random_model(rng, d=10, k=8)
    x = model.sample(1, rng)[0][0]
    mean, cov = model.posterior(x)
    h = gaussian.sample(mean, cov, 100, rng)
    log_weights = model.log_joint(x, h) - gaussian.log_density(h, mean, cov)
    np.testing.assert_allclose(log_weights, model.log_evidence(x), **TIGHT)


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("seed", SEEDS)
def test_B1_divergence_to_the_posterior_by_bayes_rule(k, seed):
    rng = np.random.default_rng([seed, k])
    model = random_model(rng, d=3, k=k)
    x = model.sample(1, rng)[0][0]
    q = random_gaussian(rng, k)
    left = gaussian.kl_divergence(*q, *model.posterior(x))
    right = model.log_evidence(x) + expected_log_ratio(
        *q, lambda h: log_likelihood(model, x, h) + log_prior(h)
    )
    np.testing.assert_allclose(left, right, **TIGHT)


@pytest.mark.parametrize("seed", SEEDS)
def test_B1_holds_for_a_q_that_is_not_gaussian(seed):
    rng = np.random.default_rng(seed)
    model = random_model(rng)
    x = model.sample(1, rng)[0][0]
    posterior = model.posterior(x)
    means, cov = rng.normal(size=(2, 2)), 0.2 * np.eye(2)

    def log_q(h):
        return np.logaddexp(*[log_normal(h, m, cov) for m in means]) - np.log(2)

    left = trapezoid_2d(lambda h: np.exp(log_q(h)) * (log_q(h) - log_normal(h, *posterior)))
    right = model.log_evidence(x) + trapezoid_2d(
        lambda h: np.exp(log_q(h)) * (log_q(h) - log_likelihood(model, x, h) - log_prior(h))
    )
    np.testing.assert_allclose(left, right, rtol=1e-8)  # the trapezoidal rule, step 0.11


@pytest.mark.parametrize("seed", SEEDS)
def test_B2_elbo_is_the_evidence_minus_the_gap_and_tight_at_the_posterior(seed):
    rng = np.random.default_rng(seed)
    model = random_model(rng)
    x = model.sample(1, rng)[0][0]
    posterior = model.posterior(x)
    for _ in range(5):
        q = random_gaussian(rng)
        by_quadrature = expectation(lambda h: log_likelihood(model, x, h), *q)
        by_quadrature -= expected_log_ratio(*q, log_prior)
        np.testing.assert_allclose(model.elbo(x, *q), by_quadrature, **TIGHT)
        gap = expected_log_ratio(*q, lambda h: log_normal(h, *posterior))
        np.testing.assert_allclose(model.log_evidence(x) - gap, by_quadrature, **TIGHT)
        assert model.elbo(x, *q) < model.log_evidence(x)
    np.testing.assert_allclose(model.elbo(x, *posterior), model.log_evidence(x), **TIGHT)


@pytest.mark.parametrize("seed", SEEDS)
def test_B2_expected_log_likelihood_is_exact(seed):
    rng = np.random.default_rng(seed)
    model = random_model(rng, d=4, k=3)
    x, q = rng.normal(size=4), random_gaussian(rng, k=3)
    expected = expectation(lambda h: log_likelihood(model, x, h), *q)
    np.testing.assert_allclose(model.expected_log_likelihood(x, *q), expected, **TIGHT)


@pytest.mark.parametrize("seed", SEEDS)
def test_B3_holds_over_a_data_set_with_any_encoder(seed):
    rng = np.random.default_rng(seed)
    model = random_model(rng)
    data, _ = model.sample(20, rng)
    encoder_means = (data - model.bias) @ (0.3 * rng.normal(size=(3, 2)))  # (n, k)
    encoder_cov = random_gaussian(rng)[1]
    posterior_means, posterior_cov = model.posterior(data)
    elbos = model.elbo(data, encoder_means, encoder_cov)  # all at once
    assert elbos.shape == (20,)
    for i in range(20):
        q = encoder_means[i], encoder_cov
        gap = gaussian.kl_divergence(*q, posterior_means[i], posterior_cov)
        right = expectation(lambda h, i=i: log_likelihood(model, data[i], h), *q)
        right -= expected_log_ratio(*q, log_prior)
        np.testing.assert_allclose(model.log_evidence(data[i]) - gap, right, **TIGHT)
        np.testing.assert_allclose(elbos[i], right, **TIGHT)


@pytest.mark.parametrize("seed", SEEDS)
def test_B3_by_jensen_mean_of_log_weights_and_log_of_mean_weight(seed):
    rng = np.random.default_rng(seed)
    model = random_model(rng)
    x = model.sample(1, rng)[0][0]
    mean, cov = model.posterior(x)
    q = mean + 0.2, 1.3 * cov
    h = rng.multivariate_normal(*q, size=20_000)
    log_w = log_likelihood(model, x, h) + log_prior(h) - log_normal(h, *q)
    w = np.exp(log_w - model.log_evidence(x))
    assert abs(log_w.mean() - model.elbo(x, *q)) < 5 * sem(log_w)
    assert abs(w.mean() - 1) < 5 * sem(w)


def split(rng):
    """Return a model of (x, y), its halves, one draw of (x, y), and log p(y|x)."""
    whole = random_model(rng, d=5, k=2, noise_std=0.5)
    seen = LinearGaussian(whole.weights[:2], whole.bias[:2], whole.noise_std)
    unseen = LinearGaussian(whole.weights[2:], whole.bias[2:], whole.noise_std)
    v = whole.sample(1, rng)[0][0]
    cov = whole.weights @ whole.weights.T + whole.noise_std**2 * np.eye(5)
    gain = cov[2:, :2] @ np.linalg.inv(cov[:2, :2])
    mean = whole.bias[2:] + gain @ (v[:2] - whole.bias[:2])
    log_p = log_normal(v[2:], mean, cov[2:, 2:] - gain @ cov[:2, 2:])  # by conditioning
    return whole, seen, unseen, v, log_p


@pytest.mark.parametrize("seed", SEEDS)
def test_B4_bayes_rule_for_y_given_x_under_any_q(seed):
    rng = np.random.default_rng(seed)
    whole, seen, unseen, v, log_p = split(rng)
    given_x, given_xy = seen.posterior(v[:2]), whole.posterior(v)
    q = random_gaussian(rng)
    left = expectation(lambda h: log_likelihood(unseen, v[2:], h), *q)
    right = log_p + expectation(lambda h: log_normal(h, *given_xy) - log_normal(h, *given_x), *q)
    np.testing.assert_allclose(left, right, **TIGHT)
    np.testing.assert_allclose(whole.log_evidence(v) - seen.log_evidence(v[:2]), log_p, **TIGHT)


@pytest.mark.parametrize("seed", SEEDS)
def test_B5_bound_on_log_p_of_y_given_x_and_its_gap(seed):
    rng = np.random.default_rng(seed)
    whole, seen, unseen, v, log_p = split(rng)
    given_x, given_xy = seen.posterior(v[:2]), whole.posterior(v)

    def bound(q):
        expected = expectation(lambda h: log_likelihood(unseen, v[2:], h), *q)
        return expected - expected_log_ratio(*q, lambda h: log_normal(h, *given_x))

    for _ in range(5):
        q = random_gaussian(rng)
        np.testing.assert_allclose(log_p - gaussian.kl_divergence(*q, *given_xy), bound(q), **TIGHT)
        assert bound(q) < log_p
    np.testing.assert_allclose(bound(given_xy), log_p, **TIGHT)


@pytest.mark.parametrize("seed", SEEDS)
def test_G1_mean_field_is_the_best_diagonal_q(seed):
    rng = np.random.default_rng(seed)
    model = random_model(rng, d=4, k=3)
    data = model.sample(2, rng)[0]
    mean, var = model.mean_field(data)
    assert mean.shape == (2, 3) and var.shape == (3,)

    def gap(v):
        return -model.elbo(data[0], v[:3], np.diag(np.exp(v[3:])))

    best = optimize.minimize(gap, np.zeros(6), method="BFGS").x
    # The optimiser stops at a gradient of 1e-5; the curvature is at least one half.
    np.testing.assert_allclose(best[:3], mean[0], atol=1e-4)
    np.testing.assert_allclose(best[3:], np.log(var), atol=1e-4)


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("seed", SEEDS)
def test_G3_elbo_gradients_agree_with_finite_differences(k, seed):
    rng = np.random.default_rng([seed, k])
    model = random_model(rng, d=4, k=k)
    x = model.sample(1, rng)[0][0]
    arguments = ElboGradients(model.weights, model.bias, rng.normal(size=k), rng.normal(size=k))
    gradients = model.elbo_gradients(x, arguments.q_mean, arguments.q_log_var)

    def elbo(weights, bias, q_mean, q_log_var):
        moved = LinearGaussian(weights, bias, model.noise_std)
        q = q_mean, np.diag(np.exp(q_log_var))
        return expectation(lambda h: log_likelihood(moved, x, h), *q) - expected_log_ratio(
            *q, log_prior
        )

    step = 1e-5
    for name, value in arguments._asdict().items():
        for index in np.ndindex(value.shape):
            shift = np.zeros_like(value)
            shift[index] = step
            up = elbo(**arguments._replace(**{name: value + shift})._asdict())
            down = elbo(**arguments._replace(**{name: value - shift})._asdict())
            # Rounding of an ELBO of size 10 to 100, divided by the step, is about 1e-9.
            np.testing.assert_allclose(
                getattr(gradients, name)[index],
                (up - down) / (2 * step),
                rtol=1e-6,
                atol=1e-7,
                err_msg=name,
            )


def test_G3_gradients_of_q_vanish_at_the_mean_field_optimum():
    rng = np.random.default_rng(0)
    model = random_model(rng, d=4, k=3)
    x = rng.normal(size=4)
    mean, var = model.mean_field(x)
    gradients = model.elbo_gradients(x, mean, np.log(var))
    np.testing.assert_allclose(gradients.q_mean, 0, atol=1e-12)  # rounding
    np.testing.assert_allclose(gradients.q_log_var, 0, atol=1e-12)  # rounding


WEIGHTS, BIAS = np.ones((3, 2)), np.zeros(3)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((np.ones(3), BIAS, 1.0), r"weights must have shape \(d, k\), got \(3,\)"),
        ((WEIGHTS, np.zeros(2), 1.0), r"bias must have shape \(3,\), got \(2,\)"),
        ((WEIGHTS, BIAS, 0.0), "noise_std must be a positive number, got 0.0"),
        ((WEIGHTS, BIAS, [0.1, 0.2, 0.3]), r"noise_std must have shape \(\), got \(3,\)"),
    ],
)
def test_a_model_refuses_bad_parameters(arguments, message):
    with pytest.raises(ValueError, match=message):
        LinearGaussian(*arguments)


model = LinearGaussian(WEIGHTS, BIAS, 1.0)
x, h, unit = np.zeros(3), np.zeros(2), np.eye(2)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: model.decode(np.zeros(3)), r"h must have shape \(\.\.\., 2\), got \(3,\)"),
        (lambda: model.log_prior(np.zeros(3)), r"h must have shape \(\.\.\., 2\), got \(3,\)"),
        (lambda: model.log_likelihood(x[:2], h), r"x must have shape \(\.\.\., 3\), got \(2,\)"),
        (lambda: model.log_likelihood(x, x), r"h must have shape \(\.\.\., 2\), got \(3,\)"),
        (
            lambda: model.log_likelihood(np.zeros((5, 3)), np.zeros((4, 2))),
            r"x and mean must have shapes that broadcast, got \(5, 3\) and \(4, 3\)",
        ),
        (lambda: model.log_joint(x, x), r"h must have shape \(\.\.\., 2\), got \(3,\)"),
        (lambda: model.log_evidence(h), r"x must have shape \(\.\.\., 3\), got \(2,\)"),
        (lambda: model.posterior(h), r"x must have shape \(\.\.\., 3\), got \(2,\)"),
        (lambda: model.mean_field(h), r"x must have shape \(\.\.\., 3\), got \(2,\)"),
        (lambda: model.elbo_gradients(h, h, h), r"x must have shape \(3,\), got \(2,\)"),
        (lambda: model.elbo_gradients(x, x, h), r"q_mean must have shape \(2,\), got \(3,\)"),
        (lambda: model.elbo_gradients(x, h, x), r"q_log_var must have shape \(2,\), got \(3,\)"),
    ],
)
def test_methods_refuse_what_does_not_match(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("method", [model.expected_log_likelihood, model.elbo])
@pytest.mark.parametrize(
    "arguments, message",
    [
        ((h, h, unit), r"x must have shape \(\.\.\., 3\), got \(2,\)"),
        ((x, x, unit), r"q_mean must have shape \(\.\.\., 2\), got \(3,\)"),
        ((x, h, np.eye(3)), r"q_cov must have shape \(2, 2\), got \(3, 3\)"),
        ((x, h, -unit), "q_cov must be positive definite"),
    ],
)
def test_elbo_refuses_a_bad_q(method, arguments, message):
    with pytest.raises(ValueError, match=message):
        method(*arguments)
