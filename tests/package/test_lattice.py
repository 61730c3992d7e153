"""Observables on a lattice: against sums by hand, exact spins of one site, and weights."""

import re

import numpy as np
import pytest

from genmodels.exact import lattice


def by_hand(x, t):
    """G(t) of one configuration, line by line."""
    size, found = len(x), []
    for lines in (x, x.T):
        for i in range(size):
            found.append(lines[i].mean() * lines[(i + t) % size].mean())
    return np.mean(found)


@pytest.mark.parametrize("size", [2, 5, 8])
def test_correlation_is_the_average_over_pairs_of_lines(size):
    x = np.random.default_rng(size).normal(size=(3, size, size))
    found = lattice.correlation(x)
    assert found.shape == (3, size // 2 + 1)
    expected = [[by_hand(each, t) for t in range(size // 2 + 1)] for each in x]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)  # rounding of means


def test_correlation_sums_to_the_squared_mean():
    x = np.random.default_rng(0).normal(size=(4, 6, 6))
    G = lattice.correlation(x)
    total = G[:, 0] + 2 * G[:, 1] + 2 * G[:, 2] + G[:, 3]  # distances 1 and 5, 2 and 4 are alike
    np.testing.assert_allclose(total / 6, x.mean(axis=(1, 2)) ** 2, rtol=0, atol=1e-14)


def test_correlation_of_a_wave():
    """x = cos(2π i/L) varies from line to line in one direction, and vanishes in the other."""
    size = 8
    wave = np.cos(2 * np.pi * np.arange(size) / size)
    found = lattice.correlation(np.tile(wave[:, None], (1, 1, size)))[0]
    expected = 0.25 * np.cos(2 * np.pi * np.arange(size // 2 + 1) / size)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)


def test_observables_of_independent_spins():
    """±1 with probability ½ on 3 × 3 sites: M is a sum of nine signs, everything is a binomial."""
    rng, n, v = np.random.default_rng(0), 100_000, 9
    spins = rng.choice([-1.0, 1.0], size=(n, 3, 3))
    found = lattice.observables(spins, spins[:, 0, 0] * spins[:, 0, 1])
    up = np.arange(10)
    ways = np.array([1, 9, 36, 84, 126, 126, 84, 36, 9, 1]) / 512
    m = 2 * up / v - 1
    exact = {"M": 0, "abs_M": ways @ abs(m), "chi2": 1, "chi": 1 - v * (ways @ abs(m)) ** 2,
             "U_L": 1 - (ways @ m**4) / (3 * (ways @ m**2) ** 2), "density": 0}
    for name, expected in exact.items():
        value, error = found[name]
        assert 0 < error < 0.02 and abs(value - expected) < 4 * error, name
    assert found["x2"] == (1, pytest.approx(0, abs=1e-12))  # of spins: rounding
    value, error = found["G"]
    assert value.shape == error.shape == (2,)
    assert np.all(np.abs(value - [1 / 3, 0]) < 4 * error)


def test_weights_turn_one_ensemble_into_another():
    """e^(B Σ x) of independent spins: each is up with probability e^B/(2 cosh B)."""
    rng, field = np.random.default_rng(1), 0.2
    spins = rng.choice([-1.0, 1.0], size=(50_000, 3, 3))
    found = lattice.observables(spins, spins.mean(axis=(1, 2)),
                                log_weights=field * spins.sum(axis=(1, 2)))
    exact = {"M": np.tanh(field), "density": np.tanh(field), "chi2": 1 - np.tanh(field) ** 2}
    for name, expected in exact.items():
        value, error = found[name]
        assert abs(value - expected) < 4 * error, name
    # Lines at distance 1 are independent, of mean tanh B each.
    assert abs(found["G"][0][1] - np.tanh(field) ** 2) < 4 * found["G"][1][1]


def test_errors_are_those_of_repetition():
    rng = np.random.default_rng(2)
    values, errors = [], []
    for _ in range(200):
        x = rng.normal(size=(500, 4, 4)) + rng.normal(size=(500, 1, 1))
        found = lattice.observables(x, x[:, 0, 0])
        values.append([found[name][0] for name in ("M", "abs_M", "chi2", "chi", "U_L", "x2")])
        errors.append([found[name][1] for name in ("M", "abs_M", "chi2", "chi", "U_L", "x2")])
    # A standard deviation of 200 has a relative error of 1/√400.
    np.testing.assert_allclose(np.mean(errors, axis=0), np.std(values, axis=0), rtol=4 / 20)


def test_float32_spins_are_computed_in_float64():
    spins = np.random.default_rng(0).choice([-1.0, 1.0], size=(60, 4, 4))
    assert lattice.observables(spins.astype(np.float32), np.zeros(60))["chi"] == \
        lattice.observables(spins, np.zeros(60))["chi"]


X = np.random.default_rng(0).normal(size=(60, 4, 4))


@pytest.mark.parametrize(("x", "message"), [
    (X[0], "x must have shape (n, L, L), n at least 1 and L at least 2, got (4, 4)"),
    (X[:, :3], "x must have shape"), (X[:0], "x must have shape"), (X[:, :1, :1], "x must have"),
    (np.full((60, 4, 4), np.nan), "x must be finite"),
])
def test_configurations_that_are_none(x, message):
    for call in (lambda: lattice.correlation(x),
                 lambda: lattice.observables(x, np.zeros(len(x)))):
        with pytest.raises(ValueError, match=re.escape(message)):
            call()


@pytest.mark.parametrize(("changes", "message"), [
    ({"density": np.zeros(59)}, "density must have shape (60,), got (59,)"),
    ({"density": np.full(60, np.inf)}, "density must be finite"),
    ({"log_weights": np.full(60, -np.inf)}, "log_weights must be finite"),
    ({"log_weights": np.append(80, np.zeros(59))}, "effective sample size of at least 10"),
    ({"num_blocks": 61}, "columns must have a row for each of 61 blocks, got 60"),
    ({"x": np.zeros((60, 4, 4))}, "x must have a configuration whose mean is not 0"),
])
def test_observables_refuse(changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        lattice.observables(**({"x": X, "density": np.zeros(60)} | changes))
