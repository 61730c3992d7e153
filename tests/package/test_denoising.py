"""The decoders of grey levels, and how the benchmark of digits draws noise levels."""

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
import scipy.special
import scipy.stats

from genmodels import diffusion
from genmodels.diffusion import NoiseSchedule
from genmodels.models import denoising

LEVELS = np.arange(256) / 127.5 - 1
BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "diffusion_digits.py"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("diffusion_digits", BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_grey_decoder_of_the_noisy_pixel_is_bayes_rule():
    """Its mean surprise is the conditional entropy, which quadrature gives; of x̂_0 it is not."""
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(256)) + 1e-4
    shares /= shares.sum()
    noise = 1.34 / 127.5
    x0 = rng.choice(LEVELS, (200, 28, 28), p=shares)
    pixel = x0 + noise * rng.standard_normal(x0.shape)
    got = -denoising.grey_decoder(shares)(x0, pixel, noise**2) / 784
    y = np.linspace(-1.2, 1.2, 20_001)
    joint = shares * scipy.stats.norm.pdf(y[:, None], LEVELS, noise)  # (y, 256)
    entropy = -np.trapezoid(scipy.special.rel_entr(
        joint, joint.sum(axis=1, keepdims=True)).sum(axis=1), y)
    assert abs(got.mean() - entropy) < 4 * scipy.stats.sem(got)
    estimate = np.sum(joint * LEVELS, axis=1) / joint.sum(axis=1)  # E[x_0|y]
    of_estimate = -denoising.grey_decoder(shares)(x0, np.interp(pixel, y, estimate),
                                                  noise**2) / 784
    assert (of_estimate - got).mean() > 10 * scipy.stats.sem(of_estimate - got)


def test_counted_decoder_counts_the_levels_in_bins_of_half_a_spacing():
    x0 = LEVELS[[[[7, 7, 8, 9]]]]  # (1, 1, 4)
    estimates = np.array([[[0.0, 0.2 / 255, -0.4 / 255, 0.6 / 255]]])  # the last in the next bin
    decoder = denoising.counted_decoder(x0, estimates)
    p = [(2 + 1 / 256) / 4, (1 + 1 / 256) / 4, 1 / 256 / 4]  # of levels 7, 8, 9 in the bin of 0
    got = decoder(x0.reshape(4, 1, 1), np.zeros((4, 1, 1)), math.nan)
    np.testing.assert_allclose(got, np.log([p[0], p[0], p[1], p[2]]), rtol=1e-12)
    # several pixels of an image: their sum
    np.testing.assert_allclose(decoder(x0, np.zeros((1, 1, 4)), 0.1), got.sum(), rtol=1e-12)
    # nothing in this bin, and none beyond the last one
    for estimate in (0.5, 3.0, -3.0):
        far = decoder(x0, np.full((1, 1, 4), estimate), 0.1)
        np.testing.assert_allclose(far, 4 * math.log(1 / 256), rtol=1e-12)


def test_counted_decoder_holds_a_probability():
    rng = np.random.default_rng(0)
    x0 = rng.choice(LEVELS, (20, 28, 28))
    estimates = x0 + 0.01 * rng.standard_normal(x0.shape)
    decoder = denoising.counted_decoder(x0, estimates)
    every_level = LEVELS.reshape(256, 1, 1)
    for estimate in (-1.1, -1.0, 0.2, 1.0, 1.1):
        log_p = decoder(every_level, np.full((256, 1, 1), estimate), 0.1)
        assert abs(np.exp(log_p).sum() - 1) < 1e-12


def test_counted_decoder_reaches_the_conditional_entropy():
    """Of estimates whose errors are not those of the noise: there the Gaussian one loses."""
    rng = np.random.default_rng(0)

    def draw(n):
        x0 = rng.choice(LEVELS[100:120], (n, 28, 28))
        return x0, x0 + rng.choice([-1, 0, 1], x0.shape, p=[0.3, 0.5, 0.2]) * 2 / 255

    counted = denoising.counted_decoder(*draw(1000))
    x0, estimates = draw(100)
    got = -counted(x0, estimates, 0.01**2) / 784
    # H(x_0|estimate) = H(estimate|x_0) + H(x_0) − H(estimate)
    steps = np.array([0.3, 0.5, 0.2])
    entropy = (scipy.stats.entropy(steps) + math.log(20)
               - scipy.stats.entropy(np.convolve(steps, np.full(20, 1 / 20))))
    assert abs(got.mean() - entropy) < 4 * scipy.stats.sem(got)
    grey = -denoising.grey_decoder(np.full(256, 1 / 256))(x0, estimates, 0.01**2) / 784
    assert grey.mean() > entropy + 0.1


def test_bad_input_of_counted_decoder():
    x0 = np.full((1, 28, 28), LEVELS[3])
    for wrong, estimates, message in [(x0 + 1e-3, x0, "x0 must hold grey levels"),
                                      (x0 * 2, x0, "x0 must hold grey levels"),
                                      (x0, x0[0], "estimates must have the shape"),
                                      (x0, x0 * np.nan, "estimates"), (x0 * np.nan, x0, "x0")]:
        with pytest.raises(ValueError, match=message):
            denoising.counted_decoder(wrong, estimates)
    for shape in ((0, 2), (0,), (3, 0)):
        with pytest.raises(ValueError, match=r"x0 must hold at least one pixel, got shape \("):
            denoising.counted_decoder(np.zeros(shape), np.zeros(shape))
    decoder = denoising.counted_decoder(x0, x0)
    with pytest.raises(ValueError, match="x0 must hold grey levels"):
        decoder(x0 + 1e-3, x0, 0.1)


def test_the_benchmark_estimates_the_sum_over_all_times(benchmark):
    """Against `elbo_terms` at every time; a denoiser whose error differs from time to time."""
    schedule = NoiseSchedule(1 / (1 + np.exp(-np.linspace(4, -4, 40))))

    def denoiser(x, alpha_bar):
        return x * alpha_bar

    rng = np.random.default_rng(0)
    x0 = rng.uniform(-1, 1, (2000, 4, 4))
    decoder = diffusion.gaussian_decoder
    got = benchmark.elbo_samples(denoiser, schedule, x0, rng, decoder)
    exact = diffusion.elbo_terms(denoiser, schedule, x0, rng, decoder=decoder)
    expected = np.stack([-exact.reconstruction, exact.prior_matching,
                         exact.denoising_matching.sum(axis=1)], axis=1)
    np.testing.assert_array_equal(got[:, 1], expected[:, 1])
    for column in (0, 2):
        difference = got[:, column] - expected[:, column]
        assert abs(difference.mean()) < 4 * scipy.stats.sem(difference)


def test_standard_errors_of_the_benchmark_are_those_of_repetitions(benchmark):
    """A digit draws levels of its own: the means of 60 groups scatter as their errors say."""
    schedule = NoiseSchedule(1 / (1 + np.exp(-np.linspace(4, -4, 100))))
    rng = np.random.default_rng(0)
    x0 = rng.uniform(-1, 1, (1200, 4, 4))
    total = benchmark.elbo_samples(lambda x, alpha_bar: x * alpha_bar, schedule, x0, rng,
                                   diffusion.gaussian_decoder).sum(axis=1)
    repeated = scipy.stats.sem(total.reshape(60, 20).mean(axis=1))
    low, high = scipy.stats.chi2.ppf([0.0005, 0.9995], 59)
    assert low < 59 * (repeated / scipy.stats.sem(total)) ** 2 < high
