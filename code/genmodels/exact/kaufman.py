"""Exact thermodynamics of the Ising model in two dimensions: Kaufman, Onsager and Yang.

E, T, N and L are defined in `ising.py`, from which these functions can be imported too.
"""

import math
import numbers
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ellipkm1

from genmodels.validate import Array, check_positive_int

__all__ = ["CRITICAL_TEMPERATURE", "check_size", "check_temperature", "energy", "heat_capacity",
           "log_partition", "onsager_energy", "yang_magnetisation"]

CRITICAL_TEMPERATURE = 2 / math.log(1 + math.sqrt(2))


def log_partition(size: int, temperature: float) -> float:
    """Return log Z of the lattice of size × size spins, size ≥ 3, in nats (Kaufman 1949): P2.

    Rounding: some 1e-16 of log Z.

    Raises:
        TypeError, ValueError: for another size, or a temperature that is no positive number.
    """
    return _kaufman(size, temperature).log_z


def energy(size: int, temperature: float) -> float:
    """Return ⟨E⟩/N = −(∂ log Z/∂K)/N with K = 1/T, differentiated analytically: P2.

    Rounding: some 1e-15, at any temperature. Arguments and errors as in `log_partition`.
    """
    return -_kaufman(size, temperature).first / size**2


def heat_capacity(size: int, temperature: float) -> float:
    """Return (⟨E²⟩ − ⟨E⟩²)/(N T²) = K² (∂² log Z/∂K²)/N, differentiated analytically: P2.

    Rounding: some 1e-13, and less away from T_c. Arguments and errors as in `log_partition`.
    """
    result = _kaufman(size, temperature)
    return result.second * result.inverse_temperature**2 / size**2


class _Kaufman(NamedTuple):
    log_z: float
    first: float  # ∂ log Z/∂K
    second: float  # ∂² log Z/∂K²
    inverse_temperature: float  # K, not above 100


def _kaufman(size: int, temperature: float) -> _Kaufman:
    """Evaluate Kaufman's partition function and its derivatives by K = 1/T.

        Z = ½ (2k)^{N/2} [Π_odd 2 cosh(Lγ_l/2) + Π_odd 2 sinh(Lγ_l/2)
                        + Π_even 2 cosh(Lγ_l/2) + Π_even 2 sinh(Lγ_l/2)],    k = sinh 2K,

    over the odd and the even l from 0 to 2L − 1, with cosh γ_l = k + 1/k − cos(πl/L), γ_l > 0, but
    γ_0 = 2K + log tanh K of either sign: its factor 2 cosh or 2 sinh is written as e^{Lγ_0/2} ±
    e^{−Lγ_0/2}, because the sinh vanishes at T_c, and its logarithm does not exist there.
    """
    size, temperature = check_size(size), check_temperature(temperature)
    # Below T = 0.01 every spin agrees with its neighbours; above 1e100 none does (to rounding).
    K = min(max(1 / temperature, 1e-100), 100.0)
    k, cosh = math.sinh(2 * K), math.cosh(2 * K)
    # γ_l is the same for k and 1/k. With u, the smaller of the two, u e^{γ_l} is finite for all K.
    high = k <= 1  # at or above T_c
    u = (k, 2 * cosh, 4 * k) if high else (1 / k, -2 * cosh / k**2, 4 / k + 8 / k**3)
    odd_cosh, odd_sinh = _products(np.arange(1, 2 * size, 2), size, *u)
    even_cosh, even_sinh = _products(np.arange(2, 2 * size, 2), size, *u)
    sign = -1 if high else 1  # of γ_0
    half = 0.5 * size * sign
    larger = half * np.array([2 * K - math.log(2) - 2 * math.log(math.cosh(K)),
                              2 - 2 * math.tanh(K), -2 / math.cosh(K) ** 2])
    smaller = -half * np.array([2 * K + math.log(2) + 2 * math.log(math.sinh(K)),
                                2 + 2 / math.tanh(K), -2 / math.sinh(K) ** 2])
    terms = np.stack([odd_cosh, odd_sinh, larger + even_cosh, larger + even_sinh,
                      smaller + even_cosh, smaller + even_sinh])  # (6, 3)
    signs = np.array([1, 1, 1, sign, 1, -sign])
    weights = signs * np.exp(terms[:, 0] - terms[:, 0].max())  # the one −1 is outweighed
    total = float(terms[:, 0].max() + np.log(weights.sum()))
    weights /= weights.sum()
    first = float(weights @ terms[:, 1])
    second = float(weights @ (terms[:, 2] + (terms[:, 1] - first) ** 2))
    num_spins = size**2
    log_z = total + (0.5 * num_spins - 1) * math.log(2)
    if not high:  # k^{N/2} = k^N u^{N/2}
        log_z += num_spins * math.log(k)
        first += 2 * num_spins * cosh / k
        second -= 4 * num_spins / k**2
    if 1 / temperature > K:
        log_z += 2 * num_spins * (1 / temperature - K)
    return _Kaufman(log_z, first, second, K)


def _products(
    modes: NDArray[np.int64], size: int, u: float, du: float, d2u: float
) -> tuple[Array, Array]:
    """Return Σ_l log(u^{L/2} 2 cosh(Lγ_l/2)) and the same for sinh, with u = k or 1/k.

    Each with its first two derivatives by K, (3,); du and d2u are those of u.
    """
    angle = np.pi * modes / size
    gap = (1 - u) ** 2 + 2 * u * np.sin(angle / 2) ** 2  # u (cosh γ − 1)
    a, da = u + gap, 2 * u - np.cos(angle)  # u cosh γ, and its derivative by u
    r = np.sqrt(gap * (gap + 2 * u))  # u sinh γ
    b = a + r  # u e^γ
    g1 = (da - u / b) / r  # ∂ log b/∂u
    g2 = (2 - (1 - u * g1) / b) / r - g1 * (a * da - u) / r**2
    log_b = np.stack([np.log(b), g1 * du, g2 * du**2 + g1 * d2u])  # (3, modes), by K
    log_u = np.array([math.log(u), du / u, d2u / u - (du / u) ** 2])[:, None]
    gamma, slope, curvature = log_b - log_u
    results = []
    for sign in (1, -1):  # 2 cosh x or 2 sinh x = e^x (1 ± e^{−2x})
        decay = sign * np.exp(-size * gamma)
        share = size * decay / (1 + decay)
        change = np.stack([np.log1p(decay), -share * slope,
                           share * (size * slope**2 / (1 + decay) - curvature)])
        results.append((0.5 * size * log_b + change).sum(axis=1))
    return results[0], results[1]


def onsager_energy(temperature: float) -> float:
    """Return ⟨E⟩/N of the infinite lattice (Onsager 1944); rounding: some 1e-15."""
    K = min(1 / check_temperature(temperature), 100.0)
    if K < 0.1:  # 64 spins are infinitely many to rounding, and Onsager's bracket cancels
        return energy(64, temperature)
    k, cosh = math.sinh(2 * K), math.cosh(2 * K)
    d = (k**2 - 1) / cosh**2  # 2 tanh² 2K − 1; the modulus κ of the integral has κ² = 1 − d²
    singular = d * float(ellipkm1(d**2)) if d else 0.0  # d log d vanishes at T_c
    return -cosh / k * (1 + 2 / math.pi * singular)


def yang_magnetisation(temperature: float) -> float:
    """Return the spontaneous magnetisation of the infinite lattice (Yang 1952); 0 from T_c on."""
    k = math.sinh(min(2 / check_temperature(temperature), 200.0))
    return (-math.expm1(-4 * math.log(k))) ** 0.125 if k > 1 else 0.0


def check_size(size: Any) -> int:
    """Return L as an integer; raises TypeError or ValueError unless it is at least 3."""
    if check_positive_int(size, "size") < 3:
        raise ValueError(f"size must be at least 3, got {size}: on a smaller periodic lattice two "
                         "spins are neighbours twice")
    return int(size)


def check_temperature(temperature: Any) -> float:
    """Return T as a float; raises TypeError or ValueError unless T and 1/T are positive numbers."""
    if not isinstance(temperature, numbers.Real) or isinstance(temperature, bool):
        raise TypeError(f"temperature must be a positive number, got {temperature!r}")
    value = float(temperature)
    if not 0 < value < math.inf or 1 / value == math.inf:
        raise ValueError(f"temperature must be a positive number, got {temperature!r}")
    return value
