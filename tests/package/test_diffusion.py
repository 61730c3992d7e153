"""Schedules, kernels, ELBO and samplers against Bayes, Gaussian data and Gaussian mixtures."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import linregress, norm

from genmodels import diffusion
from genmodels.diffusion import NoiseSchedule
from genmodels.exact import gaussian
from genmodels.exact.mixture import GaussianMixture

SCHEDULES = {"linear": NoiseSchedule.linear, "cosine": NoiseSchedule.cosine}
each_schedule = pytest.mark.parametrize("make", SCHEDULES.values(), ids=SCHEDULES)
each_length = pytest.mark.parametrize("T", [1, 2, 10, 1000])
MIXTURE = GaussianMixture([0.3, 0.7], [[-1.0, 0.5], [1.0, -0.5]],
                          [[[0.3, 0.1], [0.1, 0.2]], [[0.2, -0.05], [-0.05, 0.4]]])
NAMES = diffusion.PARAMETERISATIONS


def gaussian_data(d: int, seed: int = 0) -> GaussianMixture:
    """One component: Gaussian data with the exact denoiser, and a condition number of about 10."""
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.normal(size=(d, d)))[0]
    cov = rotation @ np.diag(np.geomspace(0.2, 2, d) if d > 1 else [0.5]) @ rotation.T
    return GaussianMixture([1.0], rng.normal(size=(1, d)), [(cov + cov.T) / 2])


def standard_errors(values, exact):
    """How far the mean of values (n, ...) is from exact, in its standard errors."""
    values = np.asarray(values)
    return (values.mean(axis=0) - exact) / (values.std(axis=0, ddof=1) / math.sqrt(len(values)))


# Schedules --------------------------------------------------------------------------------------


@each_schedule
@each_length
def test_levels_decrease_from_data_to_noise(make, T):
    schedule = make(T)
    levels = [schedule.alpha_bar(t) for t in range(T + 1)]
    assert levels[0] == 1
    assert np.all(np.diff(levels) < 0)
    assert levels[T] == pytest.approx(math.exp(-10.05), rel=1e-10)
    assert schedule.num_steps == T
    snr = [schedule.snr(t) for t in range(1, T + 1)]
    np.testing.assert_allclose(snr, [a / (1 - a) for a in levels[1:]], rtol=1e-12)


def test_linear_is_the_limit_of_the_published_schedule():
    # Ho et al. (2020): β_t from 1e-4 to 0.02 in 1000 equal steps. The integral of the rate over a
    # step against the rate at one of its ends: up to 1e-5; −log(1 − β) against β: β²/2.
    schedule, beta = NoiseSchedule.linear(1000), np.linspace(1e-4, 0.02, 1000)
    ours = [-math.log(schedule.alpha(t)) for t in range(1, 1001)]
    assert np.max(np.abs(ours - beta)) < 1.1e-5


def test_cosine_is_the_published_schedule_but_for_its_end():
    schedule = NoiseSchedule.cosine(1000)
    theirs = np.cos((np.arange(1001) / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2
    theirs /= theirs[0]
    ours = [schedule.alpha_bar(t) for t in range(1001)]
    # The angle ends at arccos(e^{−5.025} cos φ(0)) instead of π/2: 0.0066 less, and
    # |d cos²| = |sin 2φ dφ| is at most that; the division by cos² φ(0) adds 2e-4 of it.
    assert np.max(np.abs(ours - theirs)) < 0.0067


@pytest.mark.parametrize("alpha_bars", [
    [0.5, 0.6], [0.5, 0.5], [1.0, 0.5], [0.5, 0.0], [0.5, -0.1], [1.2, 0.5], [], 0.5, [[0.5]],
    [0.5, math.nan],
])
def test_bad_levels(alpha_bars):
    with pytest.raises(ValueError, match="alpha_bars"):
        NoiseSchedule(alpha_bars)


BETAS = {
    "linear": np.linspace(1e-4, 0.02, 1000),  # Ho et al. (2020)
    "linear, 300 steps": np.linspace(1e-4, 0.02, 300),
    "as fast in 250 steps": np.linspace(1e-4, 0.02, 250) * 4,
    "linear in the root": np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2,  # latent diffusion
}


@pytest.mark.parametrize("betas", BETAS.values(), ids=BETAS)
def test_single_steps_are_not_taken_for_their_products(betas):
    with pytest.raises(ValueError, match=r"products .* got what looks like the α_t = 1 − β_t"):
        NoiseSchedule(1 - betas)
    schedule = NoiseSchedule(np.cumprod(1 - betas))
    assert schedule.alpha(len(betas)) == pytest.approx(1 - betas[-1], rel=1e-12)


@each_schedule
def test_what_is_not_certainly_single_steps_is_taken_as_it_is(make):
    for T in (1, 2, 10, 300, 1000):  # a schedule, and all its first parts
        levels = [make(T).alpha_bar(t) for t in range(1, T + 1)]
        for end in range(1, T + 1, 1 + T // 50):
            assert NoiseSchedule(levels[:end]).num_steps == end
    for levels in ([0.98], [0.9, 0.7, 0.4], [0.9, 0.8, 0.7], np.linspace(0.95, 0.55, 40),
                   1 / (1 + np.exp(-np.linspace(14, 1, 500))), np.linspace(0.999, 0.001, 999)):
        NoiseSchedule(levels)
    # and so are single steps that may be products
    NoiseSchedule(1 - np.linspace(0.01, 0.6, 30))
    NoiseSchedule([make(20).alpha(t) for t in range(1, 21)])


@each_schedule
def test_bad_number_of_steps(make):
    with pytest.raises(ValueError, match="num_steps"):
        make(0)
    with pytest.raises(TypeError, match="num_steps"):
        make(10.0)


@pytest.mark.parametrize("method", ["alpha", "snr", "forward_moments", "posterior_moments"])
def test_bad_index(method):
    schedule, x = NoiseSchedule.linear(10), np.zeros((3, 2))
    arguments = {"forward_moments": [x], "posterior_moments": [x, x]}.get(method, [])
    call = getattr(schedule, method)
    for t in (0, 11, -1):
        with pytest.raises(ValueError, match=f"t must lie between 1 and 10, got {t}"):
            call(*arguments, t)
    for t in (1.0, "1", True, None):
        with pytest.raises(TypeError, match="t must be an integer"):
            call(*arguments, t)
    call(*arguments, np.int64(10))
    for t in (-1, 11):
        with pytest.raises(ValueError, match=f"t must lie between 0 and 10, got {t}"):
            schedule.alpha_bar(t)


def test_bad_points():
    schedule = NoiseSchedule.linear(10)
    with pytest.raises(ValueError, match="x0 must be finite, got NaN"):
        schedule.forward_moments([math.nan], 1)
    with pytest.raises(ValueError, match="xt must have the shape of x0"):
        schedule.posterior_moments(np.zeros((3, 2)), np.zeros((2, 3)), 1)


# H1, D1, D2 -------------------------------------------------------------------------------------


class Nodes:
    """Stands in for a generator: nodes and weights of a quadrature over standard normal numbers.

    Exact for functions of d numbers that are quadratic in each of them.
    """

    def __init__(self, d):
        nodes, weights = np.polynomial.hermite_e.hermegauss(3)
        self.nodes = np.stack(np.meshgrid(*[nodes] * d), axis=-1).reshape(-1, d)
        self.weights = np.prod(np.meshgrid(*[weights] * d), axis=0).ravel()
        self.weights /= self.weights.sum()

    def standard_normal(self, shape):
        assert shape == self.nodes.shape
        return self.nodes


@pytest.mark.parametrize("seed", range(5))
def test_H1_elbo_of_a_gaussian_chain(seed):
    # Affine denoisers make p(x_3) p(x_2|x_3) p(x_1|x_2) p(x_0|x_1) one Gaussian with the latent
    # variables h = (x_3, x_2, x_1): log p(x_0) − D[q(h|x_0) ‖ p(h|x_0)] from its covariance. The
    # terms of the package, each a quadratic function of the noise, by quadrature.
    rng = np.random.default_rng(seed)
    d, levels, x0 = 2, [1.0, 0.8, 0.5, 0.2], rng.normal(size=2)
    maps = {level: (rng.normal(size=(d, d)), rng.normal(size=d)) for level in levels[1:]}

    def denoiser(x, alpha_bar):
        factor, offset = maps[alpha_bar]
        return x @ factor.T + offset

    def between(s, t):  # covariance of a component of x_s and x_t given x_0
        s, t = min(s, t), max(s, t)
        return math.sqrt(levels[t] / levels[s]) * (1 - levels[s])

    means, roots = [np.zeros(d)], [np.eye(d, 4 * d)]  # of x_3, x_2, x_1, x_0 from 4 d noises
    for t in (3, 2, 1):
        factor, offset = maps[levels[t]]
        if t > 1:  # of N(x_{t−1}; mean + gain (x_t − mean of x_t), variance), x̂_0 for x_0
            gain = between(t - 1, t) / between(t, t)
            share = math.sqrt(levels[t - 1]) - gain * math.sqrt(levels[t])
            factor, offset = share * factor + gain * np.eye(d), share * offset
            variance = between(t - 1, t - 1) - gain * between(t - 1, t)
        else:
            variance = (1 - levels[1]) / levels[1]
        means.append(factor @ means[-1] + offset)
        roots.append(factor @ roots[-1] + math.sqrt(variance) * np.eye(d, 4 * d, k=(4 - t) * d))
    mean, root = np.concatenate(means), np.vstack(roots)
    cov = root @ root.T
    log_p = gaussian.log_density(x0, mean[-d:], cov[-d:, -d:])
    gain = cov[:-d, -d:] @ np.linalg.inv(cov[-d:, -d:])
    posterior = mean[:-d] + gain @ (x0 - mean[-d:]), cov[:-d, :-d] - gain @ cov[-d:, :-d]
    q_mean = np.concatenate([math.sqrt(levels[t]) * x0 for t in (3, 2, 1)])
    q_cov = np.kron([[between(s, t) for s in (3, 2, 1)] for t in (3, 2, 1)], np.eye(d))
    expected = log_p - gaussian.kl_divergence(q_mean, q_cov, *posterior)

    nodes = Nodes(d)
    terms = diffusion.elbo_terms(denoiser, NoiseSchedule(levels[1:]), np.tile(x0, (9, 1)), nodes)
    elbo = nodes.weights @ (terms.reconstruction - terms.prior_matching
                            - terms.denoising_matching.sum(axis=1))
    assert elbo == pytest.approx(expected, rel=1e-10)  # float64 rounding


def single_steps(schedule):
    """α_t of t = 1 … T, from the levels themselves."""
    levels = np.array([schedule.alpha_bar(t) for t in range(schedule.num_steps + 1)])
    return levels[1:] / levels[:-1]


@each_schedule
@each_length
def test_D1_is_the_composition_of_the_steps(make, T):
    schedule, x0 = make(T), np.array([-2.0, 0.3, 5.0])
    mean, variance = x0, 0.0
    for t, alpha in enumerate(single_steps(schedule), 1):
        mean, variance = math.sqrt(alpha) * mean, alpha * variance + 1 - alpha
        got = schedule.forward_moments(x0, t)
        np.testing.assert_allclose(got[0], mean, rtol=1e-10, atol=0)
        assert got[1] == pytest.approx(variance, rel=1e-10, abs=0)


@each_schedule
@each_length
def test_D2_is_bayes_with_gaussians(make, T):
    schedule, (x0, before, xt) = make(T), np.random.default_rng(0).normal(size=(3, 1))
    for t, alpha in enumerate(single_steps(schedule), 1):
        mean, variance = schedule.posterior_moments(x0, xt, t)
        if t == 1:  # x_0 is known
            assert mean == pytest.approx(x0, rel=1e-12) and variance == pytest.approx(0, abs=1e-12)
            continue
        # condition the joint Gaussian of (x_{t−1}, x_t), given x_0, on x_t
        prior_mean, prior_var = schedule.forward_moments(x0, t - 1)
        joint = np.array([[prior_var, math.sqrt(alpha) * prior_var],
                          [math.sqrt(alpha) * prior_var, alpha * prior_var + 1 - alpha]])
        gain = joint[0, 1] / joint[1, 1]
        expected = prior_mean + gain * (xt - math.sqrt(alpha) * prior_mean)
        np.testing.assert_allclose(mean, expected, rtol=1e-10, atol=1e-12)
        precision = np.linalg.inv(joint)[0, 0]  # of x_{t−1} given x_t
        assert variance == pytest.approx(1 / precision, rel=1e-10, abs=0)
        # and Bayes' rule for the densities at some x_{t−1} within the posterior
        point = mean + math.sqrt(variance) * before
        left = gaussian.log_density(point, mean, [[variance]])
        right = (gaussian.log_density(xt, math.sqrt(alpha) * point, [[1 - alpha]])
                 + gaussian.log_density(point, prior_mean, [[prior_var]])
                 - gaussian.log_density(xt, *moments_as_gaussian(schedule, x0, t)))
        assert left == pytest.approx(right, rel=1e-9, abs=1e-9)  # cancelling terms of size 1000


def moments_as_gaussian(schedule, x0, t):
    mean, variance = schedule.forward_moments(x0, t)
    return mean, [[variance]]


# D3 ---------------------------------------------------------------------------------------------


def expected_elbo(data, schedule):
    """Closed form of E[ELBO] over Gaussian data with the exact denoiser, eigenvalue by eigenvalue.

    Also D[q(x_T) ‖ N(0, I)], which no denoiser and no number of steps removes.
    """
    c, rotation = np.linalg.eigh(data.covs[0])
    m = rotation.T @ data.means[0]
    T = schedule.num_steps

    def spread(t):  # the variance of x_0 given x_t
        return c / (1 + c * schedule.snr(t))

    variance1, last = 1 / schedule.snr(1), schedule.alpha_bar(T)
    elbo = np.sum(-0.5 * (np.log(2 * np.pi * variance1) + spread(1) / variance1))
    elbo -= 0.5 * np.sum(last * (c + m**2) + (1 - last) - 1 - np.log(1 - last))
    elbo -= sum(0.5 * (schedule.snr(t - 1) - schedule.snr(t)) * np.sum(spread(t))
                for t in range(2, T + 1))
    end_cov = last * c + 1 - last
    at_end = 0.5 * np.sum(end_cov + last * m**2 - 1 - np.log(end_cov))
    entropy = 0.5 * np.sum(np.log(2 * np.pi * np.e * c))
    return elbo, -entropy, at_end


@each_schedule
@pytest.mark.parametrize("d", [1, 2, 16])
def test_D3_terms_are_below_log_p_and_have_the_exact_mean(make, d):
    data, rng = gaussian_data(d), np.random.default_rng(1)
    for T in (1, 2, 10, 50):
        schedule = make(T)
        terms = diffusion.elbo_terms(data.denoiser, schedule, data.sample(4000, rng), rng)
        elbo = terms.reconstruction - terms.prior_matching - terms.denoising_matching.sum(axis=1)
        exact, mean_log_p, _ = expected_elbo(data, schedule)
        assert abs(standard_errors(elbo, exact)) < 4
        assert exact < mean_log_p
        assert terms.denoising_matching.shape == (4000, T - 1)
        assert np.all(terms.prior_matching > 0) and np.all(terms.denoising_matching >= 0)


def between(first, last, T):
    """T levels whose log SNR falls in equal steps between two end points."""
    return NoiseSchedule(1 / (1 + np.exp(-np.linspace(first, last, T))))


@pytest.mark.parametrize("d", [1, 2, 16])
def test_D3_converges_to_log_p_like_one_over_the_steps(d):
    # Between fixed end points, and but for what these cost: D[q(x_T) ‖ N(0, I)], and the decoder's
    # variance at t = 1. Each of the T steps loses of the order of (d log SNR)² ~ 1/T².
    data, gaps, steps = gaussian_data(d), [], np.array([500, 1000, 2000, 4000])
    for T in steps:
        schedule = between(14, -10, T)
        elbo, mean_log_p, at_end = expected_elbo(data, schedule)
        ratio = 1 / (1 + 1 / (np.linalg.eigvalsh(data.covs[0]) * schedule.snr(1)))
        at_start = 0.5 * np.sum(ratio - 1 - np.log(ratio))  # of the two variances of x_0 given x_1
        gaps.append(mean_log_p - elbo - at_end - at_start)
    assert np.all(np.diff(gaps) < 0) and gaps[-1] > 0
    slope = linregress(np.log(steps), np.log(gaps)).slope
    assert slope == pytest.approx(-1, abs=0.05)  # the next order in 1/T


def test_D3_the_linear_schedule_leaves_half_of_eulers_constant_a_dimension():
    # Its first levels are 1 − α̅_t ∝ t for every T: SNR(t−1)/SNR(t) = t/(t−1) does not tend to 1,
    # and the steps t ≥ 2 lose ½ Σ [1/(t−1) − log(t/(t−1))] = γ/2.
    for d in (1, 16):
        data = gaussian_data(d)
        elbo, mean_log_p, at_end = expected_elbo(data, NoiseSchedule.linear(100_000))
        gap = (mean_log_p - elbo - at_end) / d
        # The rest falls like (log T)/T: 0.0274 of a nat at T = 10,000, 0.0039 here.
        assert gap == pytest.approx(np.euler_gamma / 2, abs=0.005)


def naive_elbo(denoiser, schedule, x0, rng):
    """The other derivation: log p(x_0|x_1) + log p(x_T)/q(x_T|x_{T−1}) + Σ_t of this log ratio,

    log p(x_t|x_{t+1})/q(x_t|x_{t−1}), t = 1 … T − 1, over two steps at once; (n,) each.
    New samples for each term. p is the reverse kernel: D2 with x̂_0 for x_0.
    """
    def log_normal(x, mean, variance):
        return diffusion.gaussian_decoder(x, np.broadcast_to(mean, x.shape), variance)

    def draw(x, alpha):
        return math.sqrt(alpha) * x + math.sqrt(1 - alpha) * rng.standard_normal(x.shape)

    T, x1 = schedule.num_steps, draw(x0, schedule.alpha(1))
    total = log_normal(x0, denoiser(x1, schedule.alpha_bar(1)), 1 / schedule.snr(1))
    for t in range(1, T + 1):
        before = draw(x0, schedule.alpha_bar(t - 1))
        alpha = schedule.alpha(t)
        now = draw(before, alpha)
        total -= log_normal(now, math.sqrt(alpha) * before, 1 - alpha)
        if t == T:
            return total + log_normal(now, 0.0, 1.0)
        after = draw(now, schedule.alpha(t + 1))
        x0_hat = denoiser(after, schedule.alpha_bar(t + 1))
        total += log_normal(now, *schedule.posterior_moments(x0_hat, after, t + 1))


@each_schedule
@pytest.mark.parametrize("d", [1, 2, 16])
def test_D3_both_derivations_agree(make, d):
    data, schedule, rng = gaussian_data(d), make(10), np.random.default_rng(2)
    x0 = data.sample(40_000, rng)
    terms = diffusion.elbo_terms(data.denoiser, schedule, x0, rng)
    one = terms.reconstruction - terms.prior_matching - terms.denoising_matching.sum(axis=1)
    other = naive_elbo(data.denoiser, schedule, x0, rng)
    assert abs(standard_errors(one - other, 0.0)) < 3
    assert other.var() > 1.5 * one.var()  # each ratio keeps the noise that a divergence averages


def test_D3_some_times_only():
    data, schedule = gaussian_data(2), NoiseSchedule.linear(20)
    x0 = data.sample(20_000, np.random.default_rng(3))
    every = diffusion.elbo_terms(data.denoiser, schedule, x0, np.random.default_rng(4))
    some = diffusion.elbo_terms(data.denoiser, schedule, x0, np.random.default_rng(5),
                                times=[20, 2])
    assert some.denoising_matching.shape == (20_000, 2)
    both = every.denoising_matching[:, [18, 0]] - some.denoising_matching
    assert np.all(abs(standard_errors(both, 0.0)) < 4)


def test_elbo_terms_uses_the_decoder():
    seen = []

    def decoder(x0, x0_hat, variance):
        seen.append((x0_hat, variance))
        return np.zeros(len(x0))

    schedule, rng = NoiseSchedule.linear(5), np.random.default_rng(0)
    terms = diffusion.elbo_terms(MIXTURE.denoiser, schedule, MIXTURE.sample(7, rng), rng,
                                 decoder=decoder)
    assert np.all(terms.reconstruction == 0)
    ((x0_hat, variance),) = seen
    assert x0_hat.shape == (7, 2) and variance == pytest.approx(1 / schedule.snr(1))


def test_bad_input_of_elbo_terms():
    schedule, rng = NoiseSchedule.linear(5), np.random.default_rng(0)
    for x0 in (np.zeros(3), np.zeros((0, 2)), np.full((2, 2), np.nan)):
        with pytest.raises(ValueError, match="x0"):
            diffusion.elbo_terms(MIXTURE.denoiser, schedule, x0, rng)
    for times, error in (([1], ValueError), ([6], ValueError), ([2.0], TypeError)):
        with pytest.raises(error, match=r"times must hold|t must (lie|be)"):
            diffusion.elbo_terms(MIXTURE.denoiser, schedule, np.zeros((2, 2)), rng, times=times)


# D4, D5 -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha_bar", [1e-4, 0.3, 0.9999])
def test_D4_conversions_agree_with_their_definitions(alpha_bar):
    rng = np.random.default_rng(0)
    x0, noise = rng.normal(size=(2, 50, 3))
    a, s = math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)
    xt = a * x0 + s * noise
    values = {"x0": x0, "noise": noise, "score": -(xt - a * x0) / s**2, "v": a * noise - s * x0}
    for given in NAMES:
        for wanted in NAMES:
            got = diffusion.convert(values[given], xt, alpha_bar, given=given, wanted=wanted)
            # dividing by a or s multiplies roundings by up to 1/a² = 1e4
            np.testing.assert_allclose(got, values[wanted], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("seed", range(3))
def test_D4_tweedie_for_a_mixture(seed):
    # The denoiser conditions Gaussians; the score comes from differences of the log density.
    rng = np.random.default_rng(seed)
    x, step = rng.normal(size=(50, 2)), 1e-4
    for alpha_bar in (0.05, 0.5, 0.95):
        noisy = MIXTURE.noisy(alpha_bar)
        x0 = MIXTURE.denoiser(x, alpha_bar)
        score = diffusion.convert(x0, x, alpha_bar, given="x0", wanted="score")
        np.testing.assert_allclose(score, noisy.score(x), rtol=1e-10, atol=1e-10)
        differences = np.stack([(noisy.log_density(x + h) - noisy.log_density(x - h)) / (2 * step)
                                for h in step * np.eye(2)], axis=1)
        np.testing.assert_allclose(score, differences, rtol=1e-5, atol=1e-5)  # step² · derivatives


def test_bad_conversions():
    x = np.zeros((2, 2))
    with pytest.raises(ValueError, match=r"given must be one of .*, got 'eps'"):
        diffusion.convert(x, x, 0.5, given="eps", wanted="x0")
    with pytest.raises(ValueError, match=r"wanted must be one of .*, got 'x'"):
        diffusion.convert(x, x, 0.5, given="x0", wanted="x")
    with pytest.raises(ValueError, match="value must have the shape of xt"):
        diffusion.convert(np.zeros((2, 1)), x, 0.5, given="x0", wanted="v")
    for alpha_bar in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError, match="alpha_bar"):
            diffusion.convert(x, x, alpha_bar, given="x0", wanted="v")


def blurred(x, alpha_bar):
    """A denoiser that is wrong on purpose: that of other data."""
    return gaussian_data(2).denoiser(x, alpha_bar)


@each_schedule
def test_D5_weight_is_a_difference_of_signal_to_noise_ratios(make):
    schedule, x0 = make(20), MIXTURE.sample(100, np.random.default_rng(0))
    terms = diffusion.elbo_terms(blurred, schedule, x0, np.random.default_rng(1))
    rng = np.random.default_rng(1)  # the same noise again, drawn for t = 1, 2, …
    rng.standard_normal(x0.shape)
    for t in range(2, 21):
        alpha_bar = schedule.alpha_bar(t)
        xt = math.sqrt(alpha_bar) * x0 + math.sqrt(1 - alpha_bar) * rng.standard_normal(x0.shape)
        squares = np.sum((x0 - blurred(xt, alpha_bar)) ** 2, axis=1)
        expected = 0.5 * (schedule.snr(t - 1) - schedule.snr(t)) * squares
        np.testing.assert_allclose(terms.denoising_matching[:, t - 2], expected, rtol=1e-8)


def test_D5_the_path_between_the_end_points_does_not_matter():
    # With a wrong denoiser that shrinks towards 0.4, E‖x_0 − x̂_0‖² = (b + d SNR)/(1 + SNR)² with
    # b = E‖x_0 − 0.4‖², and half its integral over the SNR is a difference of two values of:
    b, d = np.trace(MIXTURE.cov) + np.sum((MIXTURE.mean - 0.4) ** 2), 2

    def primitive(snr):
        return 0.5 * (-b / (1 + snr) + d * (math.log1p(snr) + 1 / (1 + snr)))

    def shrinking(x, alpha_bar):
        snr = alpha_bar / (1 - alpha_bar)
        return (0.4 + snr * x / math.sqrt(alpha_bar)) / (1 + snr)

    def total(log_snr):
        """The terms of t = 2 … T of n examples, (n,), and how much their mean is above the limit.

        A sum of rectangles for a loss that falls with the SNR (b > d/2) is above the integral, by
        less than its steps times the changes of the loss; both vanish as the steps do.
        """
        snr = np.exp(log_snr)
        excess = 0.5 * np.sum(-np.diff(snr) * np.diff((b + d * snr) / (1 + snr) ** 2))
        schedule = NoiseSchedule(snr / (1 + snr))
        x0 = MIXTURE.sample(10_000, rng)
        terms = diffusion.elbo_terms(shrinking, schedule, x0, rng).denoising_matching.sum(axis=1)
        return terms, excess

    rng, tau = np.random.default_rng(6), np.linspace(0, 1, 400)
    expected = primitive(math.exp(5)) - primitive(math.exp(-5))
    for path in (tau, tau**2 * (3 - 2 * tau)):
        terms, excess = total(5 - 10 * path)
        error = terms.std(ddof=1) / math.sqrt(len(terms))
        assert 0 < excess < 0.04 * expected
        assert -4 * error < terms.mean() - expected < excess + 4 * error
    terms, excess = total(4 - 9 * tau)  # another end
    assert terms.mean() + excess < expected - 10 * error


# Samplers, step by step --------------------------------------------------------------------------


class FixedNoise:
    """Stands in for a generator: all its standard normal numbers are 0.7."""

    def standard_normal(self, shape):
        return np.full(shape, 0.7)


SCALE = 0.6  # of the Gaussian data below
LEVELS = NoiseSchedule([0.9, 0.5, 0.1])


def gaussian_denoiser(x, alpha_bar):
    """The exact one for N(0, SCALE²) in each component."""
    return math.sqrt(alpha_bar) * SCALE**2 * x / (alpha_bar * SCALE**2 + 1 - alpha_bar)


def recording(levels):
    """The same denoiser, which notes the noise levels that it is told."""
    def denoiser(x, alpha_bar):
        levels.append(alpha_bar)
        return gaussian_denoiser(x, alpha_bar)

    return denoiser


def test_ancestral_goes_through_every_level_and_conditions_on_it():
    # x_{t−1} given x_t and x_0 = x̂_0, from the covariance of the pair: nothing of D2's formula.
    told, x = [], np.array([[1.3, -0.4]])
    result = diffusion.ancestral(recording(told), LEVELS, x, FixedNoise())
    for before, now in ((0.5, 0.1), (0.9, 0.5)):
        x0 = gaussian_denoiser(x, now)
        covariance = math.sqrt(now / before) * (1 - before)
        mean = (math.sqrt(before) * x0
                + covariance / (1 - now) * (x - math.sqrt(now) * x0))
        variance = (1 - before) - covariance**2 / (1 - now)
        x = mean + math.sqrt(variance) * 0.7
    np.testing.assert_allclose(result, gaussian_denoiser(x, 0.9), rtol=1e-12)
    assert told == pytest.approx([0.1, 0.5, 0.9])


def test_ddim_goes_through_every_level_and_keeps_the_noise():
    told, x = [], np.array([[1.3, -0.4]])
    result = diffusion.ddim(recording(told), LEVELS, x)
    for before, now in ((0.5, 0.1), (0.9, 0.5), (1.0, 0.9)):
        # x/√α̅ moves along a straight line whose slope in √(1/SNR) is the noise
        noise = (x - math.sqrt(now) * gaussian_denoiser(x, now)) / math.sqrt(1 - now)
        moved = math.sqrt((1 - before) / before) - math.sqrt((1 - now) / now)
        x = math.sqrt(before) * (x / math.sqrt(now) + moved * noise)
    np.testing.assert_allclose(result, x, rtol=1e-12)
    assert told == pytest.approx([0.1, 0.5, 0.9])


def test_ode_scales_gaussian_data_as_their_standard_deviation():
    # Along the exact flow of Gaussian data x keeps its quantile: x ∝ the standard deviation of x_t.
    x = np.array([[1.3, -0.4], [0.2, 2.0]])
    result = diffusion.ode(gaussian_denoiser, LEVELS, x, tolerance=1e-9)
    deviation = [math.sqrt(a * SCALE**2 + 1 - a) for a in (0.1, 0.9)]
    at_first = x * deviation[1] / deviation[0]
    np.testing.assert_allclose(result, gaussian_denoiser(at_first, 0.9), rtol=1e-7)


def test_ode_of_one_step_denoises_the_noise():
    x = np.array([[1.3, -0.4], [0.2, 2.0]])
    result = diffusion.ode(gaussian_denoiser, NoiseSchedule([0.3]), x)
    np.testing.assert_array_equal(result, gaussian_denoiser(x, 0.3))
    assert diffusion.ode(gaussian_denoiser, LEVELS, x[:0]).shape == (0, 2)


def test_langevin_makes_the_steps_that_it_says():
    x, level, step = np.array([[1.3, -0.4]]), 0.7, 0.03
    result = diffusion.langevin(gaussian_denoiser, level, x, FixedNoise(), step_size=step,
                                num_steps=3)
    variance = level * SCALE**2 + 1 - level
    for _ in range(3):
        x = x - step * x / variance + math.sqrt(2 * step) * 0.7
    np.testing.assert_allclose(result, x, rtol=1e-12)


@pytest.mark.parametrize("relative_step", [0.32, 1.7])
def test_langevin_reaches_the_variance_of_gaussian_data_exactly(relative_step):
    # With independent noise in each step it would be larger by 1/(1 − δ/2v): 19 % and more.
    level, n, rng = 0.7, 50_000, np.random.default_rng(7)
    variance = level * SCALE**2 + 1 - level
    x = diffusion.langevin(gaussian_denoiser, level, rng.standard_normal((n, 1)), rng,
                           step_size=relative_step * variance, num_steps=60)
    assert abs(np.var(x) / variance - 1) < 4 * math.sqrt(2 / n)


def test_langevin_steps_of_twice_the_smallest_variance_are_too_long():
    x = diffusion.langevin(gaussian_denoiser, 0.7, np.ones((50, 1)), np.random.default_rng(7),
                           step_size=2.1 * (0.7 * SCALE**2 + 0.3), num_steps=100)
    assert np.std(x) > 1000  # it grows by 1.1 a step


def test_watch_sees_every_state_once():
    for sample in (lambda watch: diffusion.ddim(gaussian_denoiser, LEVELS, np.ones((1, 2)),
                                                watch=watch),
                   lambda watch: diffusion.ancestral(gaussian_denoiser, LEVELS, np.ones((1, 2)),
                                                     np.random.default_rng(0), watch=watch)):
        seen = []
        result = sample(lambda t, x, seen=seen: seen.append((t, x)))
        assert [t for t, _ in seen] == [2, 1, 0]
        np.testing.assert_array_equal(seen[-1][1], result)


# Samplers, the distribution ----------------------------------------------------------------------

NUM_SAMPLES = 100_000


def deviations(x, mixture=MIXTURE):
    """Mean, covariance and component weights of x (n, d) against the mixture, in standard errors.

    The standard errors are those of n draws of the mixture, from a larger sample of its own.
    """
    reference = mixture.sample(400_000, np.random.default_rng(99))

    def statistics(x):
        products = (x - mixture.mean)[:, :, None] * (x - mixture.mean)[:, None, :]
        upper = products[:, *np.triu_indices(x.shape[1])]
        return np.hstack([x, upper, mixture.responsibilities(x)])

    exact = np.concatenate([mixture.mean, mixture.cov[np.triu_indices(x.shape[1])],
                            mixture.weights])
    errors = statistics(reference).std(axis=0) / math.sqrt(len(x))
    return (statistics(x).mean(axis=0) - exact) / errors


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(10).standard_normal((NUM_SAMPLES, 2))


def test_mixture_by_ancestral_sampling_with_many_steps_and_with_few(noise):
    rng = np.random.default_rng(11)
    many = diffusion.ancestral(MIXTURE.denoiser, NoiseSchedule.cosine(1000), noise, rng)
    few = diffusion.ancestral(MIXTURE.denoiser, NoiseSchedule.cosine(50), noise, rng)
    assert np.max(abs(deviations(many))) < 4
    assert np.max(abs(deviations(few))) > 10  # the variance of x_0 given x_t is left out


def test_mixture_by_ddim(noise):
    schedule = NoiseSchedule.cosine(1000)
    x = diffusion.ddim(MIXTURE.denoiser, schedule, noise)
    assert np.max(abs(deviations(x))) < 4
    few = noise[:100]
    again = diffusion.ddim(MIXTURE.denoiser, schedule, few)
    np.testing.assert_allclose(again, x[:100], rtol=1e-9)  # nothing random, none depends on others


def test_D6_mixture_by_the_ode(noise):
    schedule = NoiseSchedule.linear(1000)
    x = diffusion.ode(MIXTURE.denoiser, schedule, noise, tolerance=1e-5)
    assert np.max(abs(deviations(x))) < 4
    np.testing.assert_array_equal(
        x, diffusion.ode(MIXTURE.denoiser, schedule, noise, tolerance=1e-5))


def test_D6_the_ode_and_the_sde_share_the_marginals_on_the_way(noise):
    # At t = 400 of 1000: the ODE ends there; the SDE by Euler and Maruyama in τ, 2000 steps.
    schedule = NoiseSchedule.linear(1000)
    part = NoiseSchedule([schedule.alpha_bar(t) for t in range(400, 1001)])
    exact = MIXTURE.noisy(part.alpha_bar(1))
    start, end = (-0.5 * math.log(part.snr(t)) for t in (part.num_steps, 1))

    def velocity(rho, x):
        return diffusion._flow(MIXTURE.denoiser, rho, x.reshape(-1, 2)).ravel()

    few = noise[:50_000]
    by_ode = diffusion._solve(velocity, start, end, few.ravel(), 1e-5).reshape(-1, 2)
    assert np.max(abs(deviations(by_ode, exact))) < 4

    x, rng, steps = few, np.random.default_rng(12), np.linspace(1, 0.4, 1001)
    for tau, after in itertools.pairwise(steps):
        beta, width = 0.1 + 19.9 * (tau + after) / 2, tau - after
        level = math.exp(-0.1 * tau - 9.95 * tau**2)
        drift = 0.5 * beta * x + beta * MIXTURE.noisy(level).score(x)
        x = x + drift * width + math.sqrt(beta * width) * rng.standard_normal(x.shape)
    assert np.max(abs(deviations(x, exact))) < 4


def test_mixture_by_langevin(noise):
    level = 0.99
    x = diffusion.langevin(MIXTURE.denoiser, level, noise, np.random.default_rng(13),
                           step_size=0.04, num_steps=400)
    assert np.max(abs(deviations(x, MIXTURE.noisy(level)))) < 4


# D7 ---------------------------------------------------------------------------------------------


def test_D7_log_likelihood_of_a_mixture():
    x0 = MIXTURE.sample(20, np.random.default_rng(14))
    errors = []
    for tolerance in (1e-3, 1e-5, 1e-7):
        log_p = diffusion.ode_log_likelihood(MIXTURE.denoiser, MIXTURE.denoiser_divergence, x0,
                                             tolerance=tolerance)
        errors.append(np.max(abs(log_p - MIXTURE.log_density(x0))))
    assert errors[2] <= 1e-5
    assert errors[0] > errors[1] > errors[2]


def test_D7_hutchinsons_estimator_is_unbiased():
    # E[u · J u] over signs u; J from central differences, 400 directions for each of 10 points.
    rng, level = np.random.default_rng(15), 0.4
    x = np.repeat(MIXTURE.sample(10, rng), 400, axis=0)
    u, step = rng.choice([-1.0, 1.0], size=x.shape), 1e-4
    ju = (MIXTURE.denoiser(x + step * u, level) - MIXTURE.denoiser(x - step * u, level))
    estimates = np.sum(u * ju, axis=1) / (2 * step)
    exact = MIXTURE.denoiser_divergence(x, level)
    assert abs(standard_errors(estimates - exact, 0.0)) < 4


# D8 ---------------------------------------------------------------------------------------------

CONDITIONAL = GaussianMixture([1.0], [[1.2]], [[[0.3]]])
UNCONDITIONAL = GaussianMixture([1.0], [[0.0]], [[[1.5]]])


def test_D8_guidance_adds_the_gradient_of_the_log_class_probability():
    # Two classes: ∇ log q(x_t) + w ∇ log q(y|x_t), the latter from the responsibilities.
    classes = [GaussianMixture([1.0], [m], [c]) for m, c in zip(MIXTURE.means, MIXTURE.covs)]
    x, step, weight = np.random.default_rng(16).normal(size=(30, 2)), 1e-4, 2.5
    for level in (0.1, 0.8):
        noisy = MIXTURE.noisy(level)
        gradient = np.stack([
            (np.log(noisy.responsibilities(x + h)[:, 1])
             - np.log(noisy.responsibilities(x - h)[:, 1])) / (2 * step)
            for h in step * np.eye(2)], axis=1)
        x0 = diffusion.guided(classes[1].denoiser, MIXTURE.denoiser, weight)(x, level)
        score = diffusion.convert(x0, x, level, given="x0", wanted="score")
        np.testing.assert_allclose(score, noisy.score(x) + weight * gradient, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("weight", [0.0, 1.0, 2.0, 4.0])
def test_D8_moments_of_guided_samples_of_two_gaussian_classes(weight):
    # One dimension: the flow is a monotone map of the noise. A fine grid of quantiles, pushed
    # through the ODE written in another variable, gives the moments by quadrature.
    two = GaussianMixture([0.5, 0.5], [[-1.0], [1.0]], [[[0.3]], [[0.3]]])
    one = GaussianMixture([1.0], [[1.0]], [[[0.3]]])
    denoiser = diffusion.guided(one.denoiser, two.denoiser, weight)
    schedule = NoiseSchedule.linear(1000)
    probabilities = (np.arange(4000) + 0.5) / 4000
    y = norm.ppf(probabilities)[:, None] / math.sqrt(schedule.alpha_bar(1000))  # x/√α̅
    sigmas = np.exp(np.linspace(math.log(1 / schedule.snr(1000)) / 2,
                                math.log(1 / schedule.snr(1)) / 2, 2001))
    for sigma, after in itertools.pairwise(sigmas):  # Heun's method for dy/dσ = (y − x̂_0)/σ
        def slope(y, sigma):
            level = 1 / (1 + sigma**2)
            return (y - denoiser(math.sqrt(level) * y, level)) / sigma

        first = slope(y, sigma)
        y = y + (after - sigma) / 2 * (first + slope(y + (after - sigma) * first, after))
    n = 40_000
    noise = np.random.default_rng(17).standard_normal((n, 1))
    x = diffusion.ode(denoiser, schedule, noise, tolerance=1e-4)
    # The noise left at t = 1, of variance 1/SNR(1) = 1e-4, and 4000 quantiles: below 1e-3.
    assert abs(x.mean() - y.mean()) < 4 * x.std() / math.sqrt(n) + 1e-3
    centred = (x - x.mean()) ** 2
    assert abs(centred.mean() - y.var()) < 4 * centred.std() / math.sqrt(n) + 1e-3


@pytest.mark.parametrize("weight", [0.0, 1.0, 3.0])
def test_D8_guided_gaussians_have_the_moments_of_a_linear_flow(weight):
    # Both denoisers affine: x̂_0 = A x + B, so dx/dλ = a (a − A) x − a B, solved by quadrature.
    denoiser = diffusion.guided(CONDITIONAL.denoiser, UNCONDITIONAL.denoiser, weight)
    schedule = NoiseSchedule.linear(1000)
    lams = np.linspace(*(-0.5 * math.log(schedule.snr(t)) for t in (1000, 1)), 4001)
    levels = 1 / (1 + np.exp(2 * lams))
    offset = np.array([denoiser(np.zeros((1, 1)), a)[0, 0] for a in levels])
    factor = np.array([denoiser(np.ones((1, 1)), a)[0, 0] for a in levels]) - offset
    a = np.sqrt(levels)

    def integral(values):
        steps = 0.5 * (values[1:] + values[:-1]) * np.diff(lams)
        return np.concatenate([[0.0], np.cumsum(steps)])

    growth = np.exp(integral(a * (a - factor)))
    mean = -growth[-1] * integral(a * offset / growth)[-1]
    n = 100_000
    x = diffusion.ode(denoiser, schedule, np.random.default_rng(18).standard_normal((n, 1)),
                      tolerance=1e-6)
    expected_mean, expected_std = mean * factor[-1] + offset[-1], growth[-1] * factor[-1]
    assert abs(x.mean() - expected_mean) < 4 * x.std() / math.sqrt(n)
    assert abs(x.std() / expected_std - 1) < 4 / math.sqrt(2 * n)


def test_weights_0_and_1_of_guidance():
    x = np.random.default_rng(0).normal(size=(5, 1))
    for weight, denoiser in ((0, UNCONDITIONAL.denoiser), (1, CONDITIONAL.denoiser)):
        got = diffusion.guided(CONDITIONAL.denoiser, UNCONDITIONAL.denoiser, weight)(x, 0.3)
        np.testing.assert_allclose(got, denoiser(x, 0.3), rtol=1e-12)


@pytest.mark.parametrize("weight", [math.nan, math.inf, "2", None])
def test_bad_guidance_weight(weight):
    with pytest.raises(ValueError, match="weight must be a finite number"):
        diffusion.guided(CONDITIONAL.denoiser, UNCONDITIONAL.denoiser, weight)


# Bad input of the samplers -----------------------------------------------------------------------

RUNS = {
    "ancestral": lambda denoiser, noise: diffusion.ancestral(
        denoiser, LEVELS, noise, np.random.default_rng(0)),
    "ddim": lambda denoiser, noise: diffusion.ddim(denoiser, LEVELS, noise),
    "ode": lambda denoiser, noise: diffusion.ode(denoiser, LEVELS, noise),
    "langevin": lambda denoiser, noise: diffusion.langevin(
        denoiser, 0.5, noise, np.random.default_rng(0), step_size=0.1, num_steps=2),
    "elbo_terms": lambda denoiser, noise: diffusion.elbo_terms(
        denoiser, LEVELS, noise, np.random.default_rng(0)),
}
each_run = pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)


@each_run
def test_bad_denoiser(run):
    with pytest.raises(ValueError, match=r"denoiser must return the shape \(3, 2\), got \(3, 1\)"):
        run(lambda x, alpha_bar: x[:, :1], np.zeros((3, 2)))
    with pytest.raises(ValueError, match="denoiser must return finite numbers, got NaN"):
        run(lambda x, alpha_bar: x + np.nan, np.zeros((3, 2)))


@pytest.mark.parametrize(("wrong", "message"), [
    (None, "denoiser must return real numbers, got None"),
    (np.full((3, 2), "x"), "denoiser must return real numbers, got <U1"),
    (np.full((3, 2), 1j), "denoiser must return real numbers, got complex128"),
    (np.full((3, 2), True), "denoiser must return real numbers, got bool"),
    ([[0.0, 0.0], [0.0], [0.0, 0.0]], "what denoiser returned must be an array, got rows"),
])
def test_a_denoiser_that_returns_no_real_numbers(wrong, message):
    with pytest.raises(TypeError, match=message):
        diffusion.denoise(lambda *_: wrong, np.zeros((3, 2)), 0.5)


@pytest.mark.parametrize(("wrong", "error", "message"), [
    (np.zeros((3, 1)), ValueError, r"shape \(3,\), got \(3, 1\)"),
    (np.array([0, np.nan, 0]), ValueError, "NaN"),
    (np.array([0, np.inf, 0]), ValueError, "infinity"),
])
def test_bad_divergences_and_decoders(wrong, error, message):
    x = np.zeros((3, 2))
    with pytest.raises(error, match=f"divergence must return .*{message}"):
        diffusion.ode_log_likelihood(gaussian_denoiser, lambda *_: wrong, x)
    if message == "infinity":  # the log-likelihood of what cannot be
        wrong, message = np.array([0, np.nan, -np.inf]), "NaN"
    with pytest.raises(error, match=f"decoder must return .*{message}"):
        diffusion.elbo_terms(gaussian_denoiser, LEVELS, x, np.random.default_rng(0),
                             decoder=lambda *_: wrong)


@pytest.mark.parametrize("log_snrs", [
    (-1, 1), (1, 1), (1,), (1, 0, -1), [[1, -1]], 3.0, (math.nan, -1), (math.inf, -1),
    (1, -math.inf), (37, 1), (1, -701)])
def test_bad_ends_of_the_ode(log_snrs):
    with pytest.raises(ValueError, match="log_snrs "):
        diffusion.ode_log_likelihood(gaussian_denoiser, lambda x, _: x[:, 0], np.zeros((3, 2)),
                                     log_snrs=log_snrs)


@each_run
def test_bad_start(run):
    with pytest.raises(ValueError, match=r"(noise|start|x0) must be finite, got NaN"):
        run(gaussian_denoiser, np.full((3, 2), np.nan))


def test_bad_settings_of_samplers():
    x, rng = np.zeros((3, 2)), np.random.default_rng(0)
    with pytest.raises(ValueError, match="num_steps"):
        diffusion.langevin(gaussian_denoiser, 0.5, x, rng, step_size=0.1, num_steps=0)
    for step_size in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="step_size"):
            diffusion.langevin(gaussian_denoiser, 0.5, x, rng, step_size=step_size, num_steps=1)
    with pytest.raises(ValueError, match="alpha_bar"):
        diffusion.langevin(gaussian_denoiser, 1.0, x, rng, step_size=0.1, num_steps=1)
    for tolerance in (0.0, -1e-5, math.nan):
        with pytest.raises(ValueError, match="tolerance"):
            diffusion.ode(gaussian_denoiser, LEVELS, x, tolerance=tolerance)
    with pytest.raises(ValueError, match="x0 must have shape"):
        diffusion.ode_log_likelihood(gaussian_denoiser, gaussian_denoiser, np.zeros(3))


@pytest.mark.parametrize("wrong", ["a", [0.1, 0.2]])
def test_numbers_that_are_none_are_named(wrong):
    x, rng = np.zeros((3, 2)), np.random.default_rng(0)
    settings = {"alpha_bar": 0.5, "step_size": 0.1}
    for name in settings:
        with pytest.raises((TypeError, ValueError), match=f"{name} must (hold|have)"):
            diffusion.langevin(gaussian_denoiser, start=x, rng=rng, num_steps=1,
                               **{**settings, name: wrong})
    with pytest.raises((TypeError, ValueError), match=r"alpha_bar must (hold|have)"):
        diffusion.convert(x, x, wrong, given="x0", wanted="noise")
    with pytest.raises((TypeError, ValueError), match=r"tolerance must (hold|have)"):
        diffusion.ode(gaussian_denoiser, LEVELS, x, tolerance=wrong)
