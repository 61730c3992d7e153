"""The random numbers of the pages: what their scripts draw, drawn in Python, number for number.

A small generator that is as short in JavaScript, where it is `liveFigures.random` of
static/live/common.js: sfc32 of Chris Doty-Humphrey (PractRand), 128 bits of state. Tests and still
pictures need what a page starts with.
"""

import math

import numpy as np

__all__ = ["Sfc32"]

WORD = 0xFFFFFFFF  # 32 bits


class Sfc32:
    """A stream of numbers, with the two methods of numpy.random.Generator that the pages use.

    Args:
        seed: from 0 to 2³² − 1.
    """

    def __init__(self, seed: int):
        self._state = (0, seed & WORD, 0, 1)
        for _ in range(15):
            self.random()

    def random(self) -> float:
        """Return a number in [0, 1), a multiple of 2⁻³²."""
        a, b, c, count = self._state
        drawn = (a + b + count) & WORD
        rotated = (c << 21 | c >> 11) & WORD
        self._state = (b ^ b >> 9, (c + (c << 3)) & WORD, (rotated + drawn) & WORD,
                       (count + 1) & WORD)
        return drawn / 2**32

    def standard_normal(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return normal numbers in pairs (Box and Muller 1958); the shape has an even size."""
        drawn = np.empty((math.prod(shape) // 2, 2))
        for pair in drawn:
            radius = math.sqrt(-2 * math.log(1 - self.random()))
            angle = 2 * math.pi * self.random()
            pair[:] = radius * math.cos(angle), radius * math.sin(angle)
        return drawn.reshape(shape)
