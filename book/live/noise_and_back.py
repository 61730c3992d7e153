"""Noise and back: what the page of this interactive figure is given, and its still picture.

    python book/live/noise_and_back.py

writes chapters/diffusion/figures/live_noise_and_back.svg, the state in which the page starts.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from genmodels import diffusion
from genmodels.diffusion import NoiseSchedule
from genmodels.exact.mixture import GaussianMixture
from sfc32 import Sfc32

__all__ = ["FIGURE", "data", "mixture", "paths", "still"]

FIGURE = Path(__file__).parents[2] / "chapters/diffusion/figures/live_noise_and_back.svg"
NUM_STEPS, NUM_POINTS, SEED = 50, 120, 1
START, CHOSEN = 5, 46  # the time and the path, counted from 1, that are shown first
EDGE, ARROWS = 3.0, 9  # half a panel; arrows in a row


def mixture() -> GaussianMixture:
    """Return the density of the chapter *Samplers*."""
    weights = np.array([0.5, 0.4, 0.1])
    means = np.array([[1.0, 0.6], [-1.3, -0.5], [0.0, 0.0]])
    means[2] = -weights[:2] @ means[:2] / weights[2]
    return GaussianMixture(weights, means, [[[0.1, 0.05], [0.05, 0.12]],
                                            [[0.08, -0.03], [-0.03, 0.1]],
                                            [[0.06, 0.0], [0.0, 0.06]]])


def data() -> dict:
    """Return the mixture, the noise levels ᾱ_0 … ᾱ_T, and the noise with which all paths start."""
    exact, schedule = mixture(), NoiseSchedule.linear(NUM_STEPS)
    return {"weights": exact.weights.tolist(), "means": exact.means.tolist(),
            "covs": exact.covs.tolist(), "cov": exact.cov.tolist(),
            "alphaBars": [schedule.alpha_bar(t) for t in range(NUM_STEPS + 1)],
            "noise": np.random.default_rng(0).standard_normal((NUM_POINTS, 2)).tolist(),
            "seed": SEED, "start": START, "chosen": CHOSEN,
            "edge": EDGE, "arrows": ARROWS}


def paths(sampler: str, seed: int = SEED) -> np.ndarray:
    """Return x_t of every point, (T + 1, n, 2), index t, by the package's ddim or ancestral."""
    noise, schedule = np.array(data()["noise"]), NoiseSchedule.linear(NUM_STEPS)
    found = {NUM_STEPS: noise}
    if sampler == "ddim":
        diffusion.ddim(mixture().denoiser, schedule, noise, watch=found.__setitem__)
    else:
        diffusion.ancestral(mixture().denoiser, schedule, noise, Sfc32(seed),
                            watch=found.__setitem__)
    return np.stack([found[t] for t in range(NUM_STEPS + 1)])


# The still picture ------------------------------------------------------------------------------

SIZE, GAP = 260, 20  # of a panel; between the two
COLOURS = {"ddim": "#3b82c4", "ancestral": "#c8741f"}
TITLES = {"ddim": "DDIM", "ancestral": "ancestral"}


def place(x: np.ndarray) -> np.ndarray:
    """Return where points (..., 2) lie in a panel."""
    return SIZE / 2 + np.asarray(x) * [1, -1] * SIZE / (2 * EDGE)


def arrow_lengths(score: np.ndarray) -> np.ndarray:
    """Return the arrows of scores (n, 2): of their direction, at most a cell of the grid long."""
    return score / (2 + np.linalg.norm(score, axis=1, keepdims=True)) * 2 * EDGE / ARROWS


def panel(sampler: str) -> str:
    """Return one panel: the score, the points, the chosen path."""
    level = mixture().noisy(NoiseSchedule.linear(NUM_STEPS).alpha_bar(START))
    axis = (np.arange(ARROWS) + 0.5) / ARROWS * 2 * EDGE - EDGE
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    tips = place(grid + arrow_lengths(level.score(grid)))
    lines = [f"M{a:.0f} {b:.0f}L{c:.1f} {d:.1f}" for (a, b), (c, d) in zip(place(grid), tips)]
    x, colour = paths(sampler), COLOURS[sampler]
    parts = [f'<path d="{"".join(lines)}" stroke="currentColor" stroke-opacity="0.55" '
             'fill="none"/>',
             "".join(f'<circle cx="{c:.1f}" cy="{d:.1f}" r="1.6" fill="currentColor" '
                     'fill-opacity="0.55"/>' for c, d in tips)]
    for i, (a, b) in enumerate(place(x[START])):
        size, opacity = (5, 1) if i == CHOSEN - 1 else (2.5, 0.6)
        mark = (f'<circle class="{sampler}" cx="{a:.2f}" cy="{b:.2f}" r="{size}"'
                if sampler == "ddim" else
                f'<rect class="{sampler}" x="{a - size:.2f}" y="{b - size:.2f}" '
                f'width="{2 * size}" height="{2 * size}"')
        parts.append(f'{mark} fill="{colour}" fill-opacity="{opacity}"/>')
    trail = " ".join(f"{a:.1f},{b:.1f}" for a, b in place(x[START:, CHOSEN - 1]))
    parts.append(f'<polyline points="{trail}" fill="none" stroke="currentColor" '
                 'stroke-width="1.6"/>')
    return "\n".join(parts)


def still() -> str:
    """Return the SVG of the state in which the page starts."""
    panels = []
    for number, sampler in enumerate(TITLES):
        left = GAP / 2 + number * (SIZE + GAP)
        panels.append(
            f'<g transform="translate({left} 30)"><text x="{SIZE / 2}" y="-10" font-size="14" '
            f'font-family="sans-serif" text-anchor="middle" fill="currentColor">{TITLES[sampler]}, '
            f't = {START}</text><svg width="{SIZE}" height="{SIZE}">{panel(sampler)}</svg>'
            f'<rect width="{SIZE}" height="{SIZE}" fill="none" stroke="currentColor" '
            'stroke-opacity="0.4"/></g>')
    width, shown = 2 * (SIZE + GAP), "\n".join(panels)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {SIZE + 40}" '
            f'style="color: black; background: white">\n{shown}\n</svg>\n')


if __name__ == "__main__":
    FIGURE.write_text(still(), encoding="utf-8")
