"""Ising: Kaufman against enumeration and Onsager (P2), samplers against both, and bad input."""

import math
import warnings

import numpy as np
import pytest
from scipy.special import logsumexp

from genmodels.exact import ising
from genmodels.monte_carlo import check_thermalised

T_C = ising.CRITICAL_TEMPERATURE
TEMPERATURES = [0.4, 1.0, 1.8, T_C, 2.27, 3.5, 10.0, 1e3]


def enumerated(size, temperature):
    """log Z, energy and heat capacity per spin, by summing over all configurations."""
    num_spins = size**2
    total = num_spins * ising.energies(ising.configurations(size))  # (2^N,)
    log_z = logsumexp(-total / temperature)
    p = np.exp(-total / temperature - log_z)
    mean = p @ total
    return log_z, mean / num_spins, p @ (total - mean) ** 2 / temperature**2 / num_spins


def kaufman(size, temperature):
    return tuple(f(size, temperature)
                 for f in (ising.log_partition, ising.energy, ising.heat_capacity))


@pytest.mark.parametrize("size", [3, 4])
@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_P2_kaufman_is_enumeration(size, temperature):
    # rounding: log Z is a sum of some 2N terms; heat capacities have the factor 1/T²
    np.testing.assert_allclose(kaufman(size, temperature), enumerated(size, temperature),
                               rtol=1e-13, atol=1e-13 / min(temperature, 1) ** 2)


@pytest.mark.parametrize("size", [5, 16, 64])
@pytest.mark.parametrize("temperature", [0.5, 1.5, 2.2, T_C, 2.3, 3.5])
def test_P2_energy_and_heat_capacity_are_derivatives(size, temperature):
    """By K = 1/T: of log Z, which needs no derivative itself, and of the energy."""
    def difference(f, step):
        return (f(1 / (1 / temperature + step)) - f(1 / (1 / temperature - step))) / (2 * step)

    def slope(f):  # Richardson: an error of step⁴ remains
        return (4 * difference(f, 1e-4) - difference(f, 2e-4)) / 3

    log_z, energy, heat_capacity = (
        lambda t, f=f: f(size, t)
        for f in (ising.log_partition, ising.energy, ising.heat_capacity))
    # rounding of log Z/N over the step: 2e-16 · 10/1e-4; step⁴ times fifth derivatives, which at
    # T_c grow with L⁴
    bound = 1e-10 + 2e-16 * size**4
    assert abs(energy(temperature) + slope(log_z) / size**2) < bound
    assert abs(heat_capacity(temperature) + slope(energy) / temperature**2) < 100 * bound


@pytest.mark.parametrize("temperature", [0.5, 1.5, 2.0, 2.6, 3.5, 20.0])
def test_P2_a_large_lattice_has_onsagers_energy(temperature):
    # ξ is at most 8 here, so that L = 512 is infinite up to e^{-64}
    assert abs(ising.energy(512, temperature) - ising.onsager_energy(temperature)) < 1e-13


def test_P2_the_critical_point_of_a_large_lattice():
    """Ferdinand and Fisher (1969): L (u_L − u) → −2 θ₂θ₃θ₄/(θ₂ + θ₃ + θ₄) at q = e^{−π}."""
    assert ising.onsager_energy(T_C) == pytest.approx(-math.sqrt(2), abs=1e-14)
    n = np.arange(-5, 6)
    thetas = [np.sum(np.exp(-math.pi * (n + 0.5) ** 2)), np.sum(np.exp(-math.pi * n**2)),
              np.sum((-1.0) ** n * np.exp(-math.pi * n**2))]
    gap = 256 * (ising.energy(256, T_C) + math.sqrt(2))
    assert gap == pytest.approx(-2 * np.prod(thetas) / sum(thetas), rel=2 / 256**2)
    # the heat capacity grows as (8/π) K_c² log L, with corrections that halve as L doubles
    c = [ising.heat_capacity(size, T_C) for size in (64, 128, 256)]
    growth = 2 * (c[2] - c[1]) - (c[1] - c[0])
    assert growth == pytest.approx(8 / math.pi / T_C**2 * math.log(2), rel=1e-5)


def test_P2_onsagers_energy_is_the_derivative_of_his_free_energy():
    angles = 2 * np.pi * np.arange(400) / 400  # the rectangle rule, exact for smooth periodic f
    cosines = np.cos(angles)[:, None] + np.cos(angles)

    def log_z(K):
        return 0.5 * np.log(4 * np.cosh(2 * K) ** 2 - 4 * np.sinh(2 * K) * cosines).mean()

    for temperature in (1.5, 2.0, 2.6, 4.0, 9.9, 20.0):
        K, step = 1 / temperature, 1e-4
        slopes = [(log_z(K + h) - log_z(K - h)) / (2 * h) for h in (step, 2 * step)]
        energy = -(4 * slopes[0] - slopes[1]) / 3
        assert ising.onsager_energy(temperature) == pytest.approx(energy, abs=1e-10)


@pytest.mark.parametrize("size", [5, 8, 64])
def test_P2_low_temperature(size):
    """log Z/N = 2K + x⁴ + 2x⁶ + 4.5x⁸ + …, x = e^{−2K}: flips of one, of two, of three spins."""
    for temperature in (0.25, 0.4, 0.5):
        K, num_spins = 1 / temperature, size**2
        x = math.exp(-2 * K)
        log_z = 2 * K * num_spins + math.log(2) + num_spins * (x**4 + 2 * x**6 + 4.5 * x**8)
        assert ising.log_partition(size, temperature) == pytest.approx(
            log_z, rel=1e-15, abs=num_spins * 20 * x**10)
        assert ising.energy(size, temperature) == pytest.approx(
            -2 + 8 * x**4 + 24 * x**6 + 72 * x**8, rel=4e-15, abs=200 * 20 * x**10)
        assert ising.heat_capacity(size, temperature) == pytest.approx(
            K**2 * (64 * x**4 + 288 * x**6), abs=K**2 * (1200 * x**8 + 1e-15))


def test_P2_high_temperature():
    """log Z/N = log(2 cosh² K) + tanh⁴ K + …: the loops around one square."""
    for temperature in (1e2, 1e4, 1e8):
        v = math.tanh(1 / temperature)
        energy = -2 * v - 4 * v**3
        assert ising.energy(8, temperature) == pytest.approx(energy, rel=20 * v**4, abs=1e-15)
        assert ising.onsager_energy(temperature) == pytest.approx(energy, rel=20 * v**4, abs=1e-15)
        assert ising.heat_capacity(8, temperature) == pytest.approx(
            (2 + 10 * v**2) / temperature**2, rel=1e-13 + 100 * v**4)
        assert ising.log_partition(8, temperature) == pytest.approx(
            64 * math.log(2) + 64 * v**2, rel=1e-15 + 10 * v**4)


def test_P2_no_temperature_overflows():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for temperature in (1e-300, 1e-3, 0.01, 0.02, 0.5, 1e3, 1e50, 1e101, 1e300):
            results = np.array(kaufman(64, temperature))
            assert np.all(np.isfinite(results))
            assert ising.onsager_energy(temperature) >= -2
        assert ising.log_partition(64, 0.005) == pytest.approx(2 * 4096 / 0.005 + math.log(2),
                                                               rel=1e-15)
        assert ising.energy(64, 0.005) == pytest.approx(-2, rel=1e-15)
        assert ising.heat_capacity(64, 0.005) == pytest.approx(0, abs=1e-80)
        assert ising.log_partition(64, 1e101) == pytest.approx(4096 * math.log(2), rel=1e-15)
        # the least that differs from T_c, on both sides: no jump
        below, above = np.nextafter(T_C, 0), np.nextafter(T_C, 3)
        np.testing.assert_allclose(kaufman(64, below), kaufman(64, above), rtol=1e-13)


def test_magnetisation():
    # Yang's numbers to six digits
    for temperature, value in ((1.5, 0.986500), (2.0, 0.911319), (2.2, 0.784755)):
        assert ising.yang_magnetisation(temperature) == pytest.approx(value, abs=5e-7)
    assert ising.yang_magnetisation(0.1) == 1
    assert ising.yang_magnetisation(T_C + 1e-9) == 0
    m = abs(ising.sample(32, 2.0, 320, np.random.default_rng(0)).mean(axis=(1, 2)))
    assert abs(m.mean() - ising.yang_magnetisation(2.0)) < 4 * m.std() / math.sqrt(320)  # ξ = 2


def test_energies_count_each_bond_once():
    rng = np.random.default_rng(0)
    spins = rng.choice([-1.0, 1.0], size=(5, 3, 3))
    expected = [-sum(x[i, j] * (x[(i + 1) % 3, j] + x[i, (j + 1) % 3])
                     for i in range(3) for j in range(3)) / 9 for x in spins]
    np.testing.assert_allclose(ising.energies(spins), expected, rtol=1e-15)
    assert ising.energies(np.ones((1, 2, 2), np.int8)) == -2  # of both bonds between neighbours


@pytest.mark.parametrize("size", [2, 3, 4])
def test_configurations_are_all_different(size):
    x = ising.configurations(size)
    assert x.shape == (2 ** size**2, size, size)
    assert x.dtype == np.float32
    assert len(np.unique(x.reshape(len(x), -1), axis=0)) == len(x)


def index(spins):
    """The place of each configuration among `configurations`, (n,)."""
    bits = spins.reshape(len(spins), -1) > 0
    return bits @ 2 ** np.arange(bits.shape[1])


@pytest.mark.parametrize("temperature", [1.5, T_C, 5.0])
@pytest.mark.parametrize("algorithm", ["swendsen-wang", "metropolis"])
def test_samplers_draw_each_configuration_as_often_as_its_probability(algorithm, temperature):
    rng = np.random.default_rng(1)
    p = np.exp(-9 * ising.energies(ising.configurations(3)) / temperature)
    p /= p.sum()
    if algorithm == "swendsen-wang":
        x = ising.sample(3, temperature, 40_000, rng)
    else:  # every 50th is taken as independent: at T = 1.5 the sign is kept for some 10 sweeps
        x = ising.chain(3, temperature, 500_000, rng, algorithm=algorithm)[::50]
    counts = np.bincount(index(x), minlength=512)
    rare = p * len(x) < 5
    observed = np.append(counts[~rare], counts[rare].sum())
    expected = np.append(p[~rare], p[rare].sum()) * len(x)
    chi2, dof = np.sum((observed - expected) ** 2 / np.maximum(expected, 1e-9)), len(expected) - 1
    assert abs(chi2 - dof) < 4 * math.sqrt(2 * dof), (chi2, dof)


@pytest.mark.parametrize("size", [4, 8, 16])
@pytest.mark.parametrize("temperature", [1.8, T_C, 3.0])
def test_samples_have_kaufmans_energy_and_heat_capacity(size, temperature):
    n = 64 * 32
    e = ising.energies(ising.sample(size, temperature, n, np.random.default_rng(2)))
    exact = ising.energy(size, temperature)
    squares = (e - exact) ** 2 * size**2 / temperature**2  # the mean is exact: no bias
    for values, value in ((e, exact), (squares, ising.heat_capacity(size, temperature))):
        chains = values.reshape(32, -1).mean(axis=1)  # independent of each other
        assert abs(chains.mean() - value) < 4 * chains.std(ddof=1) / math.sqrt(32)


def test_consecutive_samples_are_correlated_by_at_most_a_tenth():
    n = 32 * 100
    x = ising.sample(32, T_C, n, np.random.default_rng(3))
    for values in (ising.energies(x), abs(x.mean(axis=(1, 2)))):
        z = ((values - values.mean()) / values.std()).reshape(32, -1)
        correlation = np.mean(z[:, 1:] * z[:, :-1])
        assert correlation < 0.1 + 2 / math.sqrt(n)  # 2 standard errors


def test_both_starts_are_forgotten_within_the_burn_in():
    """Means over independent chains, sweep by sweep, where clusters are slowest."""
    rng, num_chains, size = np.random.default_rng(4), 200, 32
    for start in ("ordered", "random"):
        chains = [ising.chain(size, T_C, ising.BURN_IN, rng, start=start)
                  for _ in range(num_chains)]
        e = np.stack([ising.energies(x[[0, -1]]) for x in chains])  # (num_chains, 2)
        z = (e.mean(axis=0) - ising.energy(size, T_C)) / (e.std(axis=0) / math.sqrt(num_chains))
        assert abs(z[0]) > 20, "the first sweep has forgotten its start: the test is blind"
        assert abs(z[1]) < 4


def test_a_start_that_has_not_thermalised_is_reported():
    rng = np.random.default_rng(5)
    with pytest.raises(RuntimeError, match="⟨E⟩/N must agree between ordered and random starts"):
        ising.sample(32, T_C, 64, rng, burn_in=1)
    # Metropolis at low temperature, where random spins become stripes and stay so
    chains = {start: [ising.chain(16, 1.0, 200, rng, algorithm="metropolis", start=start)
                      for _ in range(8)] for start in ("ordered", "random")}
    m = {start: abs(np.stack(x).mean(axis=(2, 3))) for start, x in chains.items()}
    with pytest.raises(RuntimeError, match=r"\|m\| must agree .* not thermalised, leave out more"):
        check_thermalised(m["ordered"][:, :10], m["random"][:, :10], "|m|")


def test_metropolis_has_kaufmans_energy():
    x = ising.chain(8, 3.0, 30_000, np.random.default_rng(7), algorithm="metropolis")
    blocks = ising.energies(x[200:]).reshape(100, -1).mean(axis=1)  # 298 sweeps each, τ is some 2
    assert abs(blocks.mean() - ising.energy(8, 3.0)) < 4 * blocks.std(ddof=1) / math.sqrt(100)


def test_one_seed_gives_one_result():
    def draw(seed):
        rng = np.random.default_rng(seed)
        return (ising.sample(5, 2.0, 40, rng), ising.chain(5, 2.0, 9, rng),
                ising.chain(5, 2.0, 9, rng, algorithm="metropolis", start="random"))

    first, again, other = draw(0), draw(0), draw(1)
    for x, y, z in zip(first, again, other):
        np.testing.assert_array_equal(x, y)
        assert not np.array_equal(x, z)
        assert x.dtype == np.float32
    rng = np.random.default_rng(0)
    assert not np.array_equal(ising.sample(5, 2.0, 40, rng), ising.sample(5, 2.0, 40, rng))


@pytest.mark.parametrize("num_samples", [1, 31, 33, 100])
def test_any_number_of_samples(num_samples):
    x = ising.sample(4, 2.5, num_samples, np.random.default_rng(8))
    assert x.shape == (num_samples, 4, 4)
    assert np.all(abs(x) == 1)


@pytest.mark.parametrize("algorithm", ["swendsen-wang", "metropolis"])
def test_a_chain_goes_on_from_the_spins_that_it_is_given(algorithm):
    rng = np.random.default_rng(9)
    start = rng.choice([-1, 1], size=(6, 6))
    before = start.copy()
    x = ising.chain(6, 0.01, 1, rng, algorithm=algorithm, start=start)
    np.testing.assert_array_equal(start, before)
    # at T = 0 no sweep raises the energy of what it began with
    assert ising.energies(x) <= ising.energies(start[None])
    whole = ising.chain(6, 2.0, 8, np.random.default_rng(0), algorithm=algorithm, start=start)
    rng = np.random.default_rng(0)
    parts = [ising.chain(6, 2.0, 3, rng, algorithm=algorithm, start=start)]
    parts.append(ising.chain(6, 2.0, 5, rng, algorithm=algorithm, start=parts[0][-1]))
    np.testing.assert_array_equal(whole, np.concatenate(parts))


@pytest.mark.parametrize("f", [
    lambda t: ising.log_partition(4, t), lambda t: ising.energy(4, t),
    lambda t: ising.heat_capacity(4, t), ising.onsager_energy, ising.yang_magnetisation,
    lambda t: ising.sample(4, t, 1, np.random.default_rng(0)),
    lambda t: ising.chain(4, t, 1, np.random.default_rng(0)),
])
def test_bad_temperatures(f):
    for temperature in (0, -1.0, math.nan, math.inf, 5e-309):  # 1/T of the last is infinite
        with pytest.raises(ValueError, match="temperature must be a positive number, got"):
            f(temperature)
    for temperature in ("2", None, True, [2.0], 2 + 0j):
        with pytest.raises(TypeError, match="temperature must be a positive number, got"):
            f(temperature)


@pytest.mark.parametrize("f", [
    ising.log_partition, ising.energy, ising.heat_capacity,
    lambda size, t: ising.sample(size, t, 1, np.random.default_rng(0)),
    lambda size, t: ising.chain(size, t, 1, np.random.default_rng(0)),
])
def test_bad_sizes(f):
    for size in (1, 2):
        with pytest.raises(ValueError, match=f"size must be at least 3, got {size}"):
            f(size, 2.0)
    for size, error in ((0, ValueError), (-4, ValueError), (4.0, TypeError), (True, TypeError)):
        with pytest.raises(error, match="size must be a positive integer, got"):
            f(size, 2.0)


def test_too_many_configurations():
    for size in (1, 5):
        with pytest.raises(ValueError, match="size must be 2, 3 or 4"):
            ising.configurations(size)


@pytest.mark.parametrize(("spins", "error", "message"), [
    (np.zeros((1, 3, 3)), ValueError, "spins must be −1 or \\+1, got 0"),
    (np.full((1, 3, 3), 0.5), ValueError, "spins must be −1 or \\+1, got 0.5"),
    (np.full((1, 3, 3), np.nan), ValueError, "spins must be finite"),
    (np.ones((1, 3, 3), bool), TypeError, "spins must hold real numbers"),
    (np.ones((3, 3)), ValueError, "spins must have shape"),
    (np.ones((1, 3, 4)), ValueError, "spins must have shape"),
    (np.ones((1, 1, 1)), ValueError, "spins must have shape"),
    (np.ones((0, 3, 3)), ValueError, "spins must have shape"),
])
def test_bad_spins(spins, error, message):
    with pytest.raises(error, match=message):
        ising.energies(spins)


@pytest.mark.parametrize(("change", "error", "message"), [
    ({"num_sweeps": 0}, ValueError, "num_sweeps must be a positive integer"),
    ({"rng": 0}, TypeError, "rng must be a NumPy Generator"),
    ({"rng": np.random.RandomState(0)}, TypeError, "rng must be a NumPy Generator"),
    ({"algorithm": "wolff"}, ValueError, "algorithm must be one of swendsen-wang, metropolis"),
    ({"start": "cold"}, ValueError, "start must be ordered, random or spins, got 'cold'"),
    ({"start": np.ones((5, 5))}, ValueError, r"start must have shape \(4, 4\)"),
    ({"start": np.zeros((4, 4))}, ValueError, "start must be −1 or \\+1"),
])
def test_bad_chains(change, error, message):
    arguments = {"size": 4, "temperature": 2.0, "num_sweeps": 2, "rng": np.random.default_rng(0)}
    with pytest.raises(error, match=message):
        ising.chain(**(arguments | change))


@pytest.mark.parametrize(("change", "error", "message"), [
    ({"num_samples": 0}, ValueError, "num_samples must be a positive integer"),
    ({"num_samples": 10.0}, TypeError, "num_samples must be a positive integer"),
    ({"burn_in": 0}, ValueError, "burn_in must be a positive integer"),
    ({"rng": 0}, TypeError, "rng must be a NumPy Generator"),
])
def test_bad_samples(change, error, message):
    arguments = {"size": 4, "temperature": 2.0, "num_samples": 2, "rng": np.random.default_rng(0)}
    with pytest.raises(error, match=message):
        ising.sample(**(arguments | change))
