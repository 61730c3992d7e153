"""The free energy and its bound (P1), for random systems and the Ising model, by enumeration."""

import numpy as np
import pytest
from scipy.special import logsumexp, xlogy

from genmodels.exact import ising

each_seed = pytest.mark.parametrize("seed", range(5))


def random_system(rng, num_spins=10):
    """Return all configurations (2^N, N), couplings (N, N), fields (N,) and energies (2^N,)."""
    x = 2.0 * (np.arange(2**num_spins)[:, None] >> np.arange(num_spins) & 1) - 1
    couplings = np.triu(rng.normal(size=(num_spins, num_spins)), 1)
    fields = rng.normal(size=num_spins)
    return x, couplings, fields, -np.einsum("ni,ij,nj->n", x, couplings, x) - x @ fields


def mean_field(means, energy, T):
    """Return ⟨E⟩ − T S of independent spins; `energy` of independent spins is that of the means."""
    up, down = (1 + means) / 2, (1 - means) / 2
    return energy(means) + T * np.sum(xlogy(up, up) + xlogy(down, down))


@each_seed
def test_P1_the_bound_exceeds_the_free_energy_by_the_divergence(seed):
    rng = np.random.default_rng(seed)
    x, couplings, fields, E = random_system(rng)
    T, means = rng.uniform(0.5, 3), rng.uniform(-1, 1, x.shape[1])
    bound = mean_field(means, lambda m: -m @ couplings @ m - m @ fields, T)
    log_z = logsumexp(-E / T)
    log_q = np.sum(np.log((1 + x * means) / 2), axis=1)
    divergence = np.exp(log_q) @ (log_q + E / T + log_z)
    assert bound - T * divergence == pytest.approx(-T * log_z, rel=1e-10)  # rounding
    assert bound > -T * log_z


@each_seed
def test_P1_holds_for_every_distribution_and_is_tight_for_boltzmanns_alone(seed):
    rng = np.random.default_rng(seed)
    E = random_system(rng)[-1]
    T = rng.uniform(0.5, 3)
    F = -T * logsumexp(-E / T)
    p = np.exp((F - E) / T)
    assert p @ E + T * np.sum(xlogy(p, p)) == pytest.approx(F, rel=1e-10)  # rounding
    for share in (1.0, 0.1, 1e-3):  # of another distribution
        q = (1 - share) * p + share * rng.dirichlet(np.ones(len(p)))
        excess = q @ E + T * np.sum(xlogy(q, q)) - F
        assert excess == pytest.approx(T * np.sum(q * np.log(q / p)), rel=1e-6)
        assert excess > 0


@each_seed
def test_P1_entropy_is_minus_the_slope_of_the_free_energy(seed):
    rng = np.random.default_rng(seed)
    E = random_system(rng)[-1]
    T, step = rng.uniform(0.5, 3), 1e-4
    p = np.exp(-E / T - logsumexp(-E / T))
    high, low = (-t * logsumexp(-E / t) for t in (T + step, T - step))
    # step² times a third derivative, which is of order 10 here
    assert -np.sum(xlogy(p, p)) == pytest.approx((low - high) / (2 * step), rel=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 2.269, 4.5])
def test_P1_mean_field_of_the_ising_model_is_above_kaufmans_free_energy(temperature):
    """Mean field on any lattice against (P2): no configuration is visited."""
    rng = np.random.default_rng(0)
    for size in (3, 4, 16):
        F = -temperature * ising.log_partition(size, temperature)
        for scale in (0.0, 0.5, 0.999):
            means = np.clip(scale + 0.3 * rng.normal(size=(size, size)), -0.999, 0.999)
            assert mean_field(means, lambda m: -np.sum(
                m * (np.roll(m, 1, 0) + np.roll(m, 1, 1))), temperature) > F
        # The best with one mean for all: m = tanh(4m/T), the limit of repeated insertion
        m = 0.9
        for _ in range(2000):
            m = np.tanh(4 * m / temperature)
        best = -2 * m**2 + temperature * sum(xlogy(u, u) for u in ((1 + m) / 2, (1 - m) / 2))
        assert (m > 0.1) == (temperature < 4)
        assert F < size**2 * best < F + size**2 * 0.4  # at most 0.3 per spin, at T = 3.7
