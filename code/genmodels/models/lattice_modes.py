"""The real Fourier modes of a periodic lattice, and its shells: modes of one size of momentum.

A field x (L, L) has the modes basis @ x @ basis.T: products of cosines and sines, a rotation. In
them a convolution with a kernel that is even in both directions multiplies each mode by a number,
and if the kernel is also the same in both directions, this number depends on the shell alone.
"""

import numpy as np

from genmodels.validate import Array

__all__ = ["real_modes", "shells"]


def real_modes(size: int) -> tuple[Array, np.ndarray]:
    """An orthogonal matrix (L, L), a mode in each row, and the frequency of each row (L,).

    The rows are constant, cos(2π j s / L) and sin(2π j s / L) for j = 1, 2, …, and, if L is even,
    (−1)^s, each of norm 1.
    """
    frequency = (np.arange(size) + 1) // 2
    phase = 2 * np.pi * frequency[:, None] * np.arange(size) / size
    basis = np.where(np.arange(size)[:, None] % 2, np.cos(phase), np.sin(phase))
    basis[0] = 1
    return basis / np.linalg.norm(basis, axis=1, keepdims=True), frequency


def shells(size: int) -> tuple[np.ndarray, Array]:
    """The shell of each mode (L, L), counted from 0, and the squared momentum of each shell.

    Modes of one shell are those that shifts, reflections and the exchange of both directions
    mix: they have the same pair of frequencies, in either order. The momentum is 2π/L times these.
    """
    _, frequency = real_modes(size)
    high = np.maximum(frequency[:, None], frequency)  # (L, L), the larger frequency of the two
    low = np.minimum(frequency[:, None], frequency)
    shell = high * (high + 1) // 2 + low
    momentum_squared = np.zeros(shell.max() + 1)
    momentum_squared[shell] = (2 * np.pi / size) ** 2 * (high**2 + low**2)
    return shell, momentum_squared
