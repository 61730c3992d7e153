"""Fields on a lattice against dense matrices, quadrature, finite differences and each other.

A chain is one independent value: standard errors are those of the means of chains, or of what is
independent by construction. Four of them are allowed, or 4.5 where many numbers are compared.
"""

import warnings
from functools import cache

import numpy as np
import pytest
from scipy import stats

from genmodels.exact.lattice_fields import (
    FreeField,
    Phi4,
    Quartic,
    hybrid_monte_carlo,
    leapfrog,
)

KAPPA, LAM = 0.27, 0.022
each_size = pytest.mark.parametrize("size", [2, 3, 4])


def mean_and_error(values):
    """Of values of independent chains, (num_chains, ...): all else is averaged first."""
    means = np.asarray(values).reshape(len(values), -1).mean(axis=1)
    return means.mean(), means.std(ddof=1) / np.sqrt(len(means))


def assert_agrees(values, expected, error=0.0):
    mean, own = mean_and_error(values)
    assert abs(mean - expected) < 4 * np.hypot(own, error), (mean, own, expected)


# The free field (P4) ------------------------------------------------------------------------------


def precision_matrix(size, mass):
    """The matrix K of S = ½ xᵀ K x, bond by bond, (L², L²)."""
    matrix = mass**2 * np.eye(size * size)
    for i in range(size):
        for j in range(size):
            here = i * size + j
            for there in ((i + 1) % size * size + j, i * size + (j + 1) % size):
                matrix[[here, there], [here, there]] += 1
                matrix[[here, there], [there, here]] -= 1
    return matrix


@each_size
@pytest.mark.parametrize("mass", [0.1, 0.7, 3.0])
def test_P4_fourier_against_the_dense_gaussian(size, mass):
    field, precision = FreeField(size, mass), precision_matrix(size, mass)
    x = np.random.default_rng(size).normal(size=(6, size, size))
    flat, covariance = x.reshape(6, -1), np.linalg.inv(precision)
    dense = stats.multivariate_normal(cov=covariance)
    np.testing.assert_allclose(field.log_density(x), dense.logpdf(flat), rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(field.score(x).reshape(6, -1), -flat @ precision, atol=1e-12)
    np.testing.assert_allclose(field.propagator().ravel(), covariance[0], rtol=1e-10)
    np.testing.assert_allclose(np.sort(1 / field.variances.ravel()),
                               np.linalg.eigvalsh(precision), rtol=1e-9)


def test_P4_samples_have_the_covariance_of_the_dense_gaussian():
    n, covariance = 40_000, np.linalg.inv(precision_matrix(4, 0.5))
    x = FreeField(4, 0.5).sample(n, np.random.default_rng(0)).reshape(n, 16)
    variances = np.diag(covariance)
    error = np.sqrt((np.outer(variances, variances) + covariance**2) / n)
    assert np.all(abs(x.T @ x / n - covariance) < 4.5 * error)
    assert np.all(abs(x.mean(axis=0)) < 4.5 * np.sqrt(variances / n))


def test_P4_samples_mode_by_mode():
    size, n = 16, 10_000
    field = FreeField(size, 0.3)
    modes = np.fft.fft2(field.sample(n, np.random.default_rng(1))) / size
    i, j = np.indices((size, size))
    partner = (-i % size) * size + (-j % size)  # the mode of −p, the conjugate
    independent = i * size + j <= partner
    degrees = np.where(i * size + j == partner, n, 2 * n)[independent]  # real or complex
    power = np.mean(abs(modes) ** 2, axis=0)[independent]
    ratio = power / field.variances[independent]  # degrees · ratio is a χ² of that many
    deviation = (ratio - 1) / np.sqrt(2 / degrees)
    assert len(deviation) == 130
    assert np.max(abs(deviation)) < 4
    low, high = stats.chi2(130).ppf([1e-3, 1 - 1e-3])
    assert low < np.sum(deviation**2) < high


def test_correlation_of_slices_is_the_propagator_averaged_along_a_slice():
    field, n = FreeField(8, 0.4), 20_000
    slices = field.sample(n, np.random.default_rng(2)).mean(axis=2)  # (n, 8)
    for distance, expected in enumerate(field.propagator().mean(axis=1)):
        assert_agrees(slices * np.roll(slices, distance, axis=1), expected)


# Hybrid Monte Carlo (P3) --------------------------------------------------------------------------


@pytest.mark.parametrize("size", [2, 3, 8])
def test_P3_a_reversed_trajectory_returns(size):
    phi4, rng = Phi4(size, KAPPA, LAM), np.random.default_rng(size)
    x, momentum = rng.normal(size=(2, 5, size, size))
    end, end_momentum = leapfrog(x, momentum, phi4.force, 0.2, 25)
    assert np.all(np.max(abs(end - x), axis=(1, 2)) > 0.5)  # it went somewhere
    back, back_momentum = leapfrog(end, -end_momentum, phi4.force, 0.2, 25)
    # rounding, 2e-16 times some hundreds of operations, grows by less than 10 in a time of 5
    np.testing.assert_allclose(back, x, atol=1e-12)
    np.testing.assert_allclose(-back_momentum, momentum, atol=1e-12)


@pytest.mark.parametrize("size", [2, 3])
def test_P3_a_trajectory_preserves_volume(size):
    phi4, rng, step = Phi4(size, KAPPA, LAM), np.random.default_rng(size), 1e-5
    sites = size * size

    def follow(state):  # (n, 2 L²), x and momentum
        x, momentum = state.reshape(-1, 2, size, size).swapaxes(0, 1)
        ends = leapfrog(x, momentum, phi4.force, 0.3, 10)
        return np.stack(ends, axis=1).reshape(-1, 2 * sites)

    state, shifts = rng.normal(size=2 * sites), step * np.eye(2 * sites)
    jacobian = (follow(state + shifts) - follow(state - shifts)) / (2 * step)
    assert np.max(abs(jacobian - np.eye(2 * sites))) > 0.5
    # central differences: step² times third derivatives (below 100), times the elements
    assert np.linalg.det(jacobian) == pytest.approx(1, abs=1e-7)


def test_P3_the_energy_error_falls_with_the_square_of_the_step():
    phi4, rng = Phi4(4, KAPPA, LAM), np.random.default_rng(0)
    x, momentum = rng.normal(size=(2, 50, 4, 4))

    def error(num_steps):
        end, end_momentum = leapfrog(x, momentum, phi4.force, 2 / num_steps, num_steps)
        return (phi4.action(end) - phi4.action(x)
                + 0.5 * np.sum(end_momentum**2 - momentum**2, axis=(1, 2)))

    coarse, fine = np.sqrt(np.mean(error(40) ** 2)), np.sqrt(np.mean(error(80) ** 2))
    assert coarse / fine == pytest.approx(4, rel=0.02)


def equilibrium(quartic, n, rng):
    """Independent samples by the points of the quadrature."""
    return rng.choice(quartic.points, n, p=quartic.weights)


@pytest.mark.parametrize("field", [0.0, 0.3])
def test_P3_leaves_the_density_invariant_in_zero_dimensions(field):
    quartic, rng, n = Quartic(1.0, -2.0, field), np.random.default_rng(3), 100_000
    x, changes = hybrid_monte_carlo(equilibrium(quartic, n, rng), quartic.action, quartic.force, 5,
                                    rng, step_size=0.25, num_steps=5)
    for weights in np.exp(-changes):
        assert_agrees(weights, 1)
        assert 0.9 < np.mean(np.minimum(1, weights)) < 0.98  # there is something to correct
    for power in (1, 2, 4):
        expected, square = (quartic.average(lambda x, power=each: x**power)
                            for each in (power, 2 * power))
        error = np.sqrt((square - expected**2) / n)  # not that of the samples, which may diverge
        assert abs(np.mean(x[-1] ** power) - expected) < 4 * error


def test_P3_reaches_the_quadrature_from_a_wrong_start():
    quartic = Quartic(0.5, 0.4, 0.6)
    x, changes = hybrid_monte_carlo(np.full(400, 3.0), quartic.action, quartic.force, 220,
                                    np.random.default_rng(4), step_size=0.3, num_steps=5)
    chains = x[20:].T  # (400, 200), without the first 20 steps
    for power in (1, 2, 4):
        assert_agrees(chains**power, quartic.average(lambda x, power=power: x**power))
    assert_agrees(np.exp(-changes[20:].T), 1)


def test_P3_average_of_exp_minus_the_energy_error_on_a_lattice():
    phi4, rng = Phi4(8, KAPPA, LAM), np.random.default_rng(5)
    x = phi4.sample(4096, rng, num_chains=64)
    _, changes = hybrid_monte_carlo(x, phi4.action, phi4.force, 1, rng, step_size=0.4, num_steps=5)
    chains = changes.reshape(64, 64)  # what comes from one chain counts as one
    mean, error = mean_and_error(chains)
    assert mean > 5 * error  # the energy does change, upwards on average
    assert_agrees(np.exp(-chains), 1)


def test_compiled_trajectories_are_those_of_numpy():
    phi4 = Phi4(4, KAPPA, LAM)
    fast = phi4.chain(40, np.random.default_rng(6), method="hmc", start="random", step_size=0.6,
                      num_leapfrog=5)
    rng = np.random.default_rng(6)
    slow, _ = hybrid_monte_carlo(rng.standard_normal((1, 4, 4)), phi4.action, phi4.force, 40, rng,
                                 step_size=0.6, num_steps=5)
    assert np.any(np.all(np.diff(slow[:, 0], axis=0) == 0, axis=(1, 2)))  # one was rejected
    np.testing.assert_allclose(fast, slow[:, 0], atol=1e-9)  # rounding, which grows on the way


# φ⁴ -----------------------------------------------------------------------------------------------


def test_quadrature_in_zero_dimensions():
    published = Quartic(0.4 / 24, -0.5)  # S = −x²/2 + 0.4 x⁴/4!
    assert published.average(abs) == pytest.approx(3.5913, abs=5e-5)
    assert published.average(np.square) == pytest.approx(13.673, abs=5e-4)
    gauss = Quartic(0.0, 2.0, 1.0)  # N(1/4, 1/4)
    assert gauss.average(lambda x: x) == pytest.approx(0.25, abs=1e-12)
    assert gauss.average(np.square) == pytest.approx(0.25 + 1 / 16, abs=1e-12)
    x = np.linspace(-1, 2, 7)
    wells = Quartic(0.7, -2.0, 0.3)
    slope = (wells.action(x + 1e-5) - wells.action(x - 1e-5)) / 2e-5
    np.testing.assert_allclose(wells.force(x), -slope, atol=1e-8)
    np.testing.assert_allclose(gauss.log_density(x), stats.norm(0.25, 0.5).logpdf(x), rtol=1e-11)


@each_size
def test_action_bond_by_bond_and_force_by_differences(size):
    phi4, rng = Phi4(size, 0.3, 0.1), np.random.default_rng(size)
    x = rng.normal(size=(3, size, size))
    own = 0.8 * x**2 + 0.1 * x**4
    bonds = [x[:, i, j] * (x[:, (i + 1) % size, j] + x[:, i, (j + 1) % size])
             for i in range(size) for j in range(size)]
    np.testing.assert_allclose(phi4.action(x), own.sum(axis=(1, 2)) - 0.6 * sum(bonds), rtol=1e-12)
    shifts = 1e-5 * np.eye(size * size).reshape(-1, size, size)
    slope = [(phi4.action(x + shift) - phi4.action(x - shift)) / 2e-5 for shift in shifts]
    np.testing.assert_allclose(phi4.force(x).reshape(3, -1), -np.transpose(slope), atol=1e-8)


@cache
def two_by_two():
    """⟨x²⟩, ⟨M²⟩, ⟨M⁴⟩ and ⟨S⟩ at L = 2: all four numbers on a grid, the density row by row."""
    averages = []
    for num_points in (41, 49):
        grid = np.linspace(-6, 6, num_points)
        a, b = (part.ravel() for part in np.meshgrid(grid, grid))  # a row
        row = -4 * KAPPA * a * b + sum((1 - 2 * LAM) * z**2 + LAM * z**4 for z in (a, b))
        action = row[:, None] + row - 4 * KAPPA * (np.outer(a, a) + np.outer(b, b))
        density = np.exp(action.min() - action)
        density /= density.sum()
        mean = ((a + b)[:, None] + (a + b)) / 4
        squares = ((a**2 + b**2)[:, None] + (a**2 + b**2)) / 4
        averages.append([np.sum(density * each) for each in (squares, mean**2, mean**4, action)])
    np.testing.assert_allclose(*averages, rtol=1e-7)  # the grid is fine enough
    return averages[1]


@pytest.mark.parametrize("method", ["cluster", "metropolis", "hmc"])
def test_samplers_against_quadrature(method):
    phi4 = Phi4(2, KAPPA, LAM)
    x = phi4.sample(64 * 400, np.random.default_rng(7), method, num_chains=64, num_thermal=200,
                    num_between=16, step_size=0.4, num_leapfrog=10)
    mean = x.mean(axis=(1, 2))
    measured = (np.mean(x**2, axis=(1, 2)), mean**2, mean**4, phi4.action(x))
    for values, expected in zip(measured, two_by_two(), strict=True):
        assert_agrees(values.reshape(64, 400), expected)


@pytest.mark.parametrize("method", ["cluster", "metropolis", "hmc"])
def test_samplers_without_coupling_against_the_gaussian(method):
    size, kappa = 5, 0.22
    phi4 = Phi4(size, kappa, 0.0)
    x = phi4.sample(64 * 200, np.random.default_rng(8), method, num_chains=64, num_between=20,
                    num_thermal=500, num_leapfrog=15)
    cosines = np.cos(2 * np.pi * np.arange(size) / size)
    variances = 1 / (2 - 4 * kappa * (cosines[:, None] + cosines))  # of the modes
    power = np.mean(abs(np.fft.fft2(x).reshape(64, 200, size, size)) ** 2, axis=1) / size**2
    error = power.std(axis=0, ddof=1) / np.sqrt(64)
    assert np.all(abs(power.mean(axis=0) - variances) < 4.5 * error)
    assert_agrees(phi4.action(x).reshape(64, 200), size**2 / 2)


@pytest.mark.parametrize("method", ["cluster", "hmc"])
def test_a_negative_hopping_parameter_is_a_staggered_sign(method):
    actions = []
    for number, kappa in enumerate((0.25, -0.25)):
        phi4 = Phi4(4, kappa, 0.1)
        x = phi4.sample(32 * 100, np.random.default_rng([10, number]), method)
        actions.append(phi4.action(x).reshape(32, 100))
    assert_agrees(actions[0], *mean_and_error(actions[1]))


@cache
def drawn(method):
    """4,096 configurations at L = 16, as 32 chains: (32, 128, 16, 16)."""
    x = Phi4(16, KAPPA, LAM).sample(4096, np.random.default_rng(9), method)
    return x.reshape(32, 128, 16, 16)


def observables_of(x):
    """Of x (chains, n, L, L): |M|, M², x², S per site, and G at distance L/2, (chains, n) each."""
    mean, slices = x.mean(axis=(2, 3)), x.mean(axis=3)
    action = np.stack([Phi4(16, KAPPA, LAM).action(chain) for chain in x]) / 256
    far = np.mean(slices * np.roll(slices, 8, axis=2), axis=2)
    return [abs(mean), mean**2, np.mean(x**2, axis=(2, 3)), action, far]


def test_clusters_and_hybrid_monte_carlo_agree():
    for cluster, hmc in zip(observables_of(drawn("cluster")), observables_of(drawn("hmc")),
                            strict=True):
        value, error = mean_and_error(hmc)
        assert_agrees(cluster, value, error)


@pytest.mark.parametrize("method", ["cluster", "hmc"])
def test_equilibrium_in_two_dimensions(method):
    x = drawn(method)
    magnetisation, square, *_ = observables_of(x)
    assert_agrees(magnetisation, 0.764, 0.002)  # long runs by two algorithms, other code
    assert_agrees(256 * square, 173.3, 0.6)
    assert_agrees(x.mean(axis=(2, 3)), 0)
    force = Phi4(16, KAPPA, LAM).force(x.reshape(-1, 16, 16)).reshape(x.shape)
    assert_agrees(-np.mean(x * force, axis=(2, 3)), 1)  # ⟨x ∂S/∂x⟩ = 1, by parts


@pytest.mark.parametrize("method", ["cluster", "hmc"])
def test_consecutive_samples_are_nearly_independent(method):
    for values in observables_of(drawn(method)):
        offsets = values - values.mean()
        correlation = np.mean(offsets[:, 1:] * offsets[:, :-1]) / np.mean(offsets**2)
        assert correlation < 0.2


def test_two_starts_reach_the_same_equilibrium():
    phi4 = Phi4(8, KAPPA, LAM)
    for method in ("cluster", "hmc"):
        ordered, random = ([abs(phi4.chain(600, np.random.default_rng((seed, number)), start=start,
                                           method=method)[100:].mean(axis=(1, 2)))
                            for seed in range(16)]
                           for number, start in enumerate(("ordered", "random")))
        assert_agrees(ordered, *mean_and_error(random))


def test_one_seed_gives_one_result():
    phi4 = Phi4(4, KAPPA, LAM)
    for method in ("cluster", "metropolis", "hmc"):
        first, again, other = (phi4.sample(40, np.random.default_rng(seed), method)
                               for seed in (0, 0, 1))
        assert first.shape == (40, 4, 4)
        assert np.array_equal(first, again) and not np.array_equal(first, other)
        assert phi4.chain(3, np.random.default_rng(0), method=method).shape == (3, 4, 4)


# Bad input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("make", "message"), [
    (lambda: FreeField(1, 1.0), "size must be at least 2, got 1"),
    (lambda: FreeField(0, 1.0), "size must be a positive integer, got 0"),
    (lambda: FreeField(4, 0.0), "mass must be positive, got 0"),
    (lambda: FreeField(4, -1.0), "mass must be positive, got -1"),
    (lambda: FreeField(4, np.nan), "mass must be finite, got NaN"),
    (lambda: Phi4(1, 0.2, 0.1), "size must be at least 2, got 1"),
    (lambda: Phi4(4, np.nan, 0.1), "kappa must be finite, got NaN"),
    (lambda: Phi4(4, 0.2, -0.1), "action is unbounded below, got lam = -0.1"),
    (lambda: Phi4(4, 0.25, 0.0), "action is unbounded below, got lam = 0, kappa = 0.25"),
    (lambda: Phi4(4, -0.25, 0.0), "action is unbounded below"),
    (lambda: Quartic(-1.0, 1.0), "action is unbounded below, got coupling = -1"),
    (lambda: Quartic(0.0, 0.0), "action is unbounded below"),
    (lambda: Quartic(1.0, np.nan), "mu must be finite"),
])
def test_no_such_model(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_size_must_be_an_integer():
    for model in (lambda: FreeField(4.0, 1.0), lambda: Phi4(True, 0.2, 0.1)):
        with pytest.raises(TypeError, match="size must be a positive integer"):
            model()


def test_bad_configurations():
    phi4 = Phi4(4, 0.2, 0.1)
    for call in (FreeField(4, 1.0).log_density, FreeField(4, 1.0).score, phi4.action):
        for x in (np.full((2, 4, 4), np.nan), np.zeros((4, 4)), np.zeros((2, 4, 5))):
            with pytest.raises(ValueError, match=r"^x must"):
                call(x)
    for x in (np.zeros((4, 4)), np.zeros((2, 5, 5))):
        with pytest.raises(ValueError, match=r"^x must have shape \(n, 4, 4\)"):
            phi4.force(x)


def test_rng_must_be_a_generator():
    phi4, x = Phi4(4, 0.2, 0.1), np.zeros((2, 4, 4))
    for rng in (0, np.random.RandomState(0)):
        for call in (lambda rng: FreeField(4, 1.0).sample(2, rng), lambda rng: phi4.sample(2, rng),
                     lambda rng: phi4.chain(2, rng), lambda rng: hybrid_monte_carlo(
                         x, phi4.action, phi4.force, 1, rng, step_size=0.1, num_steps=1)):
            with pytest.raises(TypeError, match="rng must be a NumPy Generator"):
                call(rng)


@pytest.mark.parametrize(("change", "message"), [
    ({"method": "wolff"}, "method must be one of cluster, metropolis, hmc, got 'wolff'"),
    ({"num_chains": 15}, "num_chains must be at least 16"),
    ({"num_thermal": -1}, "num_thermal must be a positive integer"),
    ({"num_between": 0}, "num_between must be a positive integer"),
    ({"step_size": 0.0}, "step_size must be positive"),
    ({"step_size": np.nan}, "step_size must be finite"),
    ({"num_leapfrog": 0}, "num_leapfrog must be a positive integer"),
    ({"num_samples": 0}, "num_samples must be a positive integer"),
])
def test_bad_sampling(change, message):
    arguments = {"num_samples": 8, "rng": np.random.default_rng(0)}
    with pytest.raises(ValueError, match=message):
        Phi4(4, 0.2, 0.1).sample(**(arguments | change))
    with pytest.raises(ValueError, match="start must be 'ordered' or 'random', got 'cold'"):
        Phi4(4, 0.2, 0.1).chain(2, np.random.default_rng(0), start="cold")


def test_chains_that_have_not_thermalised_are_refused():
    phi4 = Phi4(16, KAPPA, LAM)
    with pytest.raises(RuntimeError, match=r"⟨\|M\|⟩ must agree between .* not thermalised"):
        phi4.sample(512, np.random.default_rng(10), "metropolis", num_chains=64, num_thermal=10,
                    num_between=1)
    with pytest.raises(RuntimeError, match="not thermalised"):  # the public notebook's way
        phi4.sample(1024, np.random.default_rng(11), "hmc", num_chains=1024, num_thermal=128,
                    num_between=1, step_size=0.1, num_leapfrog=10)


def test_correlated_samples_are_reported():
    with pytest.warns(UserWarning, match="increase num_between, got 1"):
        Phi4(8, KAPPA, LAM).sample(3200, np.random.default_rng(12), "metropolis", num_between=1)


def test_a_step_size_at_which_acceptance_collapses_is_reported():
    phi4, quartic = Phi4(8, KAPPA, LAM), Quartic(1.0, -2.0)
    rng = np.random.default_rng(13)
    for step_size in (1.2, 5.0):  # the second diverges
        with pytest.warns(UserWarning, match=r"accepted with step_size .* make step_size smaller"):
            phi4.chain(20, rng, method="hmc", step_size=step_size)
        with (pytest.warns(UserWarning, match="make step_size smaller"),
              pytest.raises(RuntimeError, match="must agree")):
            phi4.sample(40, rng, "hmc", step_size=step_size, num_thermal=20)
        with pytest.warns(UserWarning, match="make step_size smaller"):
            x, changes = hybrid_monte_carlo(equilibrium(quartic, 100, rng), quartic.action,
                                            quartic.force, 5, rng, step_size=step_size,
                                            num_steps=20)
    assert np.all(np.isfinite(x)) and np.all(changes > 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        phi4.chain(20, rng, method="hmc")


def test_bad_trajectories():
    quartic, rng = Quartic(1.0, -2.0), np.random.default_rng(14)
    good = {"x": np.zeros(3), "num_trajectories": 2, "step_size": 0.1, "num_steps": 2}
    for change, message in (({"x": [np.nan]}, "x must be finite"),
                            ({"x": np.zeros((0, 2))}, r"x must have shape .* n at least 1"),
                            ({"num_trajectories": 0}, "num_trajectories must be a positive"),
                            ({"step_size": -0.1}, "step_size must be a positive number"),
                            ({"step_size": np.nan}, "step_size must be a positive number"),
                            ({"num_steps": 0}, "num_steps must be a positive integer")):
        with pytest.raises(ValueError, match=message):
            hybrid_monte_carlo(action=quartic.action, force=quartic.force, rng=rng,
                               **(good | change))
    for function, message in (({"action": lambda x: np.sum(quartic.action(x))},
                               r"action must return an array \(3,\) for x \(3,\), got \(\)"),
                              ({"force": lambda x: quartic.force(x)[:2]},
                               r"force must return an array \(3,\) .* got \(2,\)")):
        with pytest.raises(ValueError, match=message):
            hybrid_monte_carlo(**{"action": quartic.action, "force": quartic.force, "rng": rng}
                               | good | function)


def test_wells_that_are_too_narrow_for_the_quadrature_are_refused():
    """Others have the variance of a harmonic well, 1/S″ = −1/(4 mu), up to relative O(1/mu²)."""
    for mu in (-10.0, -100.0, -400.0):
        bottom = np.sqrt(-mu / 2)
        variance = Quartic(1.0, mu).average(lambda x, at=bottom: (abs(x) - at) ** 2)
        assert abs(-4 * mu * variance - 1) < 20 / mu**2
    for mu in (-2000.0, -1e4):
        with pytest.raises(ValueError, match="mu must not make the wells so narrow"):
            Quartic(1.0, mu)
