"""Spectra, exact denoisers and the sampler in the angle, each against another route."""

import numpy as np
import pytest
from scipy import integrate, stats

from genmodels import diffusion
from genmodels import lattice_diffusion as lattice
from genmodels.diffusion import NoiseSchedule
from genmodels.exact.lattice_fields import FreeField

RNG = np.random.default_rng(0)
SIZE = 4
POWER = lattice.power_spectrum(RNG.standard_normal((50, SIZE, SIZE)).cumsum(axis=1))
POINTS = np.linspace(-3.5, 3.5, 401)


def covariance(power):
    """(L², L²) of the sites: ⟨x_r x_s⟩ = (1/L²) Σ_k P_k e^{ik·(r − s)}, summed as it stands."""
    size = len(power)
    full = np.empty((size, size))
    for i in range(size):  # P_k = P_−k
        for j in range(size):
            mirrored = j > size // 2
            full[i, j] = power[-i % size if mirrored else i, size - j if mirrored else j]
    k = 2 * np.pi * np.arange(size) / size
    sites = np.stack(np.meshgrid(np.arange(size), np.arange(size), indexing="ij"), -1)
    sites = sites.reshape(-1, 2)
    difference = sites[:, None] - sites
    waves = np.exp(1j * (difference[..., 0, None, None] * k[:, None]
                         + difference[..., 1, None, None] * k))
    return np.sum(full * waves, axis=(-1, -2)).real / size**2


def quartic(field=0.0):
    """log density of S = x⁴ − 4 x² − B x, up to a constant."""
    return -POINTS**4 + 4 * POINTS**2 + field * POINTS


def mean_of(function, field=0.0):
    """⟨function(x)⟩ by SciPy's quadrature."""
    def weight(x):
        return np.exp(-x**4 + 4 * x**2 + field * x)

    return (integrate.quad(lambda x: function(x) * weight(x), -4, 4, points=(0,))[0]
            / integrate.quad(weight, -4, 4, points=(0,))[0])


def strata(n):
    """n standard normal numbers (n, 1), evenly spread: quantiles."""
    return stats.norm.ppf((np.arange(n) + 0.5) / n)[:, None]


# Modes ------------------------------------------------------------------------------------------


def test_power_spectrum_is_the_transform_of_the_correlation():
    x = RNG.standard_normal((3, 6, 6))
    power = lattice.power_spectrum(x)
    for i, j in [(0, 0), (1, 0), (2, 3), (5, 1)]:
        expected = sum(np.mean(x * np.roll(x, (-r, -s), (1, 2)))
                       * np.cos(np.pi * (i * r + j * s) / 3)
                       for r in range(6) for s in range(6))
        assert power[i, j] == pytest.approx(expected, rel=1e-10)
    assert power[0, 0] == pytest.approx(36 * np.mean(x.mean(axis=(1, 2)) ** 2))  # V ⟨M²⟩


@pytest.mark.parametrize("alpha_bar", [0.01, 0.4, 0.999])
def test_gaussian_denoiser_is_the_conditional_mean(alpha_bar):
    x, cov = RNG.standard_normal((5, SIZE, SIZE)), covariance(POWER)
    noisy = alpha_bar * cov + (1 - alpha_bar) * np.eye(SIZE**2)
    expected = np.sqrt(alpha_bar) * np.linalg.solve(noisy, x.reshape(5, -1).T).T @ cov
    found = lattice.gaussian_denoiser(POWER)(x, alpha_bar)
    np.testing.assert_allclose(found.reshape(5, -1), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("num_steps", [1, 2, 24])
def test_angle_heun_is_exact_for_a_gaussian_at_any_number_of_steps(num_steps):
    # The sampler is linear here: with J its matrix, its samples have the covariance J Jᵀ.
    noise = np.eye(SIZE**2).reshape(-1, SIZE, SIZE)
    x = lattice.angle_heun(lattice.gaussian_denoiser(POWER), POWER, noise, num_steps=num_steps)
    matrix = x.reshape(SIZE**2, -1).T
    np.testing.assert_allclose(matrix @ matrix.T, covariance(POWER), rtol=0, atol=1e-10)


def test_angle_heun_is_exact_for_one_gaussian_variable():
    x = lattice.angle_heun(lattice.gaussian_denoiser(2.5), 2.5, strata(7), num_steps=2)
    np.testing.assert_allclose(x, np.sqrt(2.5) * strata(7), rtol=1e-12)


def test_watch_sees_the_start_and_every_step():
    seen = []
    noise = RNG.standard_normal((2, SIZE, SIZE))
    x = lattice.angle_heun(lattice.gaussian_denoiser(POWER), POWER, noise, num_steps=3,
                           watch=lambda left, field: seen.append((left, field)))
    assert [left for left, _ in seen] == [3, 2, 1, 0]
    for _, field in seen:  # y does not move for a Gaussian
        np.testing.assert_allclose(field, x, rtol=0, atol=1e-11)


# One variable, every integral known ---------------------------------------------------------------


@pytest.mark.parametrize("alpha_bar", [1e-4, 0.3, 0.9995])
def test_quadrature_denoiser_against_adaptive_quadrature(alpha_bar):
    denoiser, divergence = lattice.quadrature_denoiser(POINTS, quartic(0.15))
    x = np.array([[-1.5, 0.2], [1.4, -0.6]])
    a = np.sqrt(alpha_bar)
    width = np.sqrt(1 - alpha_bar)

    def expected(x):
        low, high = (max(-4.0, (x - 12 * width) / a), min(4.0, (x + 12 * width) / a))
        top = -low**4 + 4 * low**2 if low > 2 else 4.5
        weights = [integrate.quad(
            lambda z, n=n: z**n * np.exp(-z**4 + 4 * z**2 + 0.15 * z - top
                                         - (x - a * z) ** 2 / (2 * width**2)),
            low, high, epsabs=1e-13, limit=200)[0] for n in (0, 1)]
        return weights[1] / weights[0]

    np.testing.assert_allclose(denoiser(x, alpha_bar), np.vectorize(expected)(x), rtol=1e-7)
    step = 1e-5
    numerical = (denoiser(x + step, alpha_bar) - denoiser(x - step, alpha_bar)) / (2 * step)
    np.testing.assert_allclose(divergence(x, alpha_bar), numerical.sum(axis=1), rtol=1e-6)


@pytest.mark.parametrize("field", [0.0, 0.15])
def test_moments_of_the_angle_sampler_in_zero_dimensions(field):
    denoiser, _ = lattice.quadrature_denoiser(POINTS, quartic(field))
    x = lattice.angle_heun(denoiser, mean_of(np.square, field), strata(1000), num_steps=48)
    for power in (1, 2, 4):
        expected, square = (mean_of(lambda x, n=n: x**n, field) for n in (power, 2 * power))
        error = np.sqrt((square - expected**2) / 20_000)  # of so many independent samples
        assert np.mean(x**power) == pytest.approx(expected, abs=error)
    assert np.mean(x > 0) == pytest.approx(mean_of(lambda x: float(x > 0), field), abs=2e-3)


def test_the_error_of_the_angle_sampler_falls_with_the_square_of_the_steps():
    denoiser, _ = lattice.quadrature_denoiser(POINTS, quartic())
    power, noise = mean_of(np.square), strata(100)
    finest, *coarse = (lattice.angle_heun(denoiser, power, noise, num_steps=n)
                       for n in (640, 40, 80, 160))
    errors = [np.sqrt(np.mean((x - finest) ** 2)) for x in coarse]
    np.testing.assert_allclose(np.log2([errors[0] / errors[1], errors[1] / errors[2]]), 2, atol=0.3)


def test_the_last_step_uses_that_the_slope_ends_at_zero():
    denoiser, _ = lattice.quadrature_denoiser(POINTS, quartic())
    power, noise = mean_of(np.square), strata(30)
    finest, *coarse = (lattice.angle_heun(denoiser, power, noise, num_steps=200,
                                          sigmas=(100.0, sigma)) for sigma in (0.02, 0.2, 0.1))
    errors = [np.sqrt(np.mean((x - finest) ** 2)) for x in coarse]
    assert errors[0] > 7 * errors[1]  # 4 for a plain Euler step, or for none


@pytest.mark.parametrize("field", [0.0, 0.15])
def test_log_likelihood_by_the_flow_in_zero_dimensions(field):
    points = np.linspace(-3.5, 3.5, 4001)  # a spacing below σ at the data
    log_density = -points**4 + 4 * points**2 + field * points
    denoiser, divergence = lattice.quadrature_denoiser(points, log_density)
    log_z = np.log(integrate.quad(lambda x: np.exp(-x**4 + 4 * x**2 + field * x), -4, 4)[0])
    x = np.array([-1.5, -1.0, 0.0, 0.3, 1.4, 2.0])[:, None]
    found = diffusion.ode_log_likelihood(denoiser, divergence, x, tolerance=1e-6,
                                         log_snrs=(12.5, -20.0))
    expected = -x[:, 0]**4 + 4 * x[:, 0]**2 + field * x[:, 0] - log_z
    # e^{−12.5}/2 · p″/p is 4e-4 at most at these points, e^{−10} another 5e-5
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)


# What other samplers do to a Gaussian mode ----------------------------------------------------


def test_log_likelihood_of_a_free_field_by_the_flow():
    """D7 on 256 sites, against the free field's own density; tolerance: that of the solver."""
    field = FreeField(16, 0.25)
    exact = lattice.gaussian_denoiser(field.variances[:, :9])
    x = field.sample(4, np.random.default_rng(3))

    def flat(x, alpha_bar):
        return exact(x.reshape(-1, 16, 16), alpha_bar).reshape(len(x), -1)

    def divergence(x, alpha_bar):
        noisy = alpha_bar * field.variances + 1 - alpha_bar
        return np.full(len(x), np.sqrt(alpha_bar) * np.sum(field.variances / noisy))

    found = diffusion.ode_log_likelihood(flat, divergence, x.reshape(4, -1), tolerance=1e-8)
    np.testing.assert_allclose(found, field.log_density(x), rtol=0, atol=1e-5)


def test_variance_factor_is_that_of_the_samplers():
    schedule, power = NoiseSchedule.cosine(20), np.array([0.3, 1.0, 30.0])

    def denoiser(x, alpha_bar):
        return np.sqrt(alpha_bar) * power / (alpha_bar * power + 1 - alpha_bar) * x

    once = diffusion.ddim(denoiser, schedule, np.ones((1, 3)))[0]
    np.testing.assert_allclose(lattice.variance_factor("ddim", schedule, power), once**2 / power,
                               rtol=1e-12)
    n = 40_000
    rng = np.random.default_rng(1)
    x = diffusion.ancestral(denoiser, schedule, rng.standard_normal((n, 3)), rng)
    ratio = x.var(axis=0) / power
    factor = lattice.variance_factor("ancestral", schedule, power)
    assert np.all(np.abs(ratio - factor) < 4 * factor * np.sqrt(2 / n))
    assert np.all(np.abs(factor - 1) > 0.02)  # another number than 1 would be refused


@pytest.mark.parametrize("sampler", ["ancestral", "ddim"])
def test_the_bias_of_other_samplers_falls_as_one_over_the_steps(sampler):
    bias = [lattice.variance_factor(sampler, NoiseSchedule.cosine(n), 3.0) - 1 for n in (200, 400)]
    assert bias[0] / bias[1] == pytest.approx(2, abs=0.15)


# P5 -----------------------------------------------------------------------------------------------


def double_well(x, alpha_bar):
    """The exact denoiser of equal parts N(±2, 0.1) for each site: odd."""
    a, s2 = np.sqrt(alpha_bar), 1 - alpha_bar
    total = 0.1 * alpha_bar + s2
    return (0.1 * a * x + s2 * 2 * np.tanh(2 * a * x / total)) / total


def test_P5_an_odd_denoiser_gives_mirrored_samples_and_an_even_density():
    noise = RNG.standard_normal((400, SIZE, SIZE))
    power = np.full((SIZE, SIZE // 2 + 1), 4.1)
    lattice.require_odd(double_well, noise, (0.01, 0.5, 0.99))
    x, mirrored = (lattice.angle_heun(double_well, power, sign * noise, num_steps=8)
                   for sign in (1, -1))
    np.testing.assert_array_equal(mirrored, -x)
    m = x.mean(axis=(1, 2))
    assert abs(m.mean()) < 4 * stats.sem(m)

    def shifted(x, alpha_bar):
        return double_well(x, alpha_bar) + 0.3 * (1 - alpha_bar)

    m = lattice.angle_heun(shifted, power, noise, num_steps=8).mean(axis=(1, 2))
    assert abs(m.mean()) > 10 * stats.sem(m)  # the check sees a density that is not even


def test_P5_a_network_that_breaks_the_symmetry_is_refused():
    x = RNG.standard_normal((3, SIZE, SIZE))
    with pytest.raises(ValueError, match=r"denoiser must be odd, .* got a sum of 0\.\d+ of the"):
        lattice.require_odd(lambda x, alpha_bar: double_well(x, alpha_bar) + 0.5, x, [0.5])


# Bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("call", "message"), [
    (lambda: lattice.power_spectrum(np.ones((2, 3, 4))), r"x must have shape \(n, L, L\)"),
    (lambda: lattice.power_spectrum(np.ones((2, 4, 4))), r"x must have power in every mode, got "
                                                         r"none in mode \(0, 1\)"),
    (lambda: lattice.power_spectrum(np.full((2, 4, 4), np.nan)), "x must be finite"),
    (lambda: lattice.gaussian_denoiser(-1.0), "power must be positive, got -1.0"),
    (lambda: lattice.gaussian_denoiser(POWER)(np.ones((2, 6, 6)), 0.5), "power must be a number, "),
    (lambda: lattice.quadrature_denoiser(POINTS[::-1], quartic()), "points must be an even, inc"),
    (lambda: lattice.quadrature_denoiser(POINTS**3, quartic()), "points must be an even, inc"),
    (lambda: lattice.quadrature_denoiser(POINTS, quartic()[1:]), "log_density must have shape"),
    (lambda: lattice.angle_heun(double_well, POWER, np.ones((2, 6, 6))), "power must be a number"),
    (lambda: lattice.angle_heun(double_well, POWER * 0, np.ones((2, 4, 4))), "power must be posi"),
    (lambda: lattice.angle_heun(double_well, 1.0, np.ones(3), num_steps=0), "num_steps must be a"),
    (lambda: lattice.angle_heun(double_well, 1.0, np.ones(3), sigmas=(0.1, 10)),
     "sigmas must be two decreasing positive"),
    (lambda: lattice.angle_heun(double_well, 500.0, np.ones(3)),
     r"sigmas must reach from 5 times the largest √P_k, 112, to"),
    (lambda: lattice.angle_heun(double_well, 1e-3, np.ones(3)),
     r"sigmas must reach from .* to the smallest, 0\.0316"),
    (lambda: lattice.require_odd(double_well, np.ones(3), []),
     "alpha_bars must be one or more numbers, got none"),
    (lambda: lattice.angle_heun(lambda x, a: x[:1], 1.0, np.ones(3)), "denoiser must return the"),
    (lambda: lattice.variance_factor("euler", NoiseSchedule.cosine(5), 1.0), "sampler must be 'an"),
    (lambda: lattice.variance_factor("ddim", NoiseSchedule.cosine(5), 0.0), "power must be positi"),
])
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
