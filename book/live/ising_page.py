"""An Ising lattice that runs in the page: what the page is given, and its still picture.

    python book/live/ising_page.py

writes chapters/physics/figures/live_ising_page.svg, the state in which the page starts.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from genmodels.exact import kaufman
from sfc32 import Sfc32

__all__ = ["FIGURE", "NUM_LEFT_OUT", "SIZE", "START", "data", "still", "sweep"]

FIGURE = Path(__file__).parents[2] / "chapters/physics/figures/live_ising_page.svg"
SIZE, SEED, NUM_LEFT_OUT = 32, 1, 200  # the sweeps after each change that are not measured
FIRST, LAST, STEP, START = 1.5, 3.5, 0.01, 2.27  # temperatures of the page
MODEL_SIZE, NUM_SAMPLES = 16, 12  # of the trained network; at each of its three temperatures


def energies() -> list[float]:
    """Return Kaufman's energy per spin at each temperature of the page."""
    temperatures = np.linspace(FIRST, LAST, round((LAST - FIRST) / STEP) + 1).round(2)
    return [kaufman.energy(SIZE, float(T)) for T in temperatures]


def data() -> dict:
    """Return the settings of the page, Kaufman's energies per spin, and samples of a network."""
    return {"size": SIZE, "seed": SEED, "left": NUM_LEFT_OUT, "start": START,
            "first": FIRST, "last": LAST, "step": STEP,
            "energies": energies(), "model": model_samples()}


def model_samples() -> dict:
    """Return samples of the trained masked spins, the exact energies, and their temperatures.

    A sample is a string of hexadecimal digits, four spins a digit, row by row; 1 is up.
    """
    from genmodels.models import masked_torch, trained  # slow to import

    temperatures = [1.8, kaufman.CRITICAL_TEMPERATURE, 3.0]  # labels 0, 1, 2
    shape = (MODEL_SIZE, MODEL_SIZE)
    network = masked_torch.MaskedSpins(shape, num_labels=len(temperatures))
    trained.load(network, "masked-spins")
    labels = np.repeat(np.arange(len(temperatures)), NUM_SAMPLES)
    orders = masked_torch.random_orders(len(labels), shape, MODEL_SIZE**2,
                                        np.random.default_rng(SEED))  # one spin after another
    spins, _ = network.sample(orders, labels, seed=SEED)
    bits = np.packbits(spins.reshape(len(temperatures), NUM_SAMPLES, -1) > 0, axis=-1)
    return {"size": MODEL_SIZE, "temperatures": temperatures,
            "energies": [kaufman.energy(MODEL_SIZE, T) for T in temperatures],
            "samples": [[sample.tobytes().hex() for sample in each] for each in bits]}


def sweep(algorithm: str, spins: np.ndarray, temperature: float, num_sweeps: int,
          random: Sfc32) -> np.ndarray:
    """Change spins (L, L) as the page does; return what they are after each sweep, (n, L, L).

    By the package's own loops, "clusters" or "metropolis", which are slow without their compiler.
    """
    from genmodels.exact import ising  # numba: not for the build of the pages

    out = np.empty((num_sweeps, *spins.shape), np.int8)
    loops = {"clusters": ising._cluster_sweeps, "metropolis": ising._metropolis_sweeps}
    with np.errstate(over="ignore"):
        loops[algorithm].py_func(spins, temperature, out, 1, random)
    return out


# The still picture ------------------------------------------------------------------------------


def still() -> str:
    """Return the SVG of the state in which the page starts: the lattice, and the exact energy."""
    spins = np.ones((SIZE, SIZE), np.int8)
    sweep("clusters", spins, START, NUM_LEFT_OUT, Sfc32(SEED))
    cell, values = 256 / SIZE, energies()
    up = "".join(f"M{column * cell:g} {row * cell:g}h{cell:g}v{cell:g}h-{cell:g}z"
                 for row, column in np.argwhere(spins > 0))

    def place(temperature: float, energy: float) -> tuple[float, float]:
        share = (energy - values[-1]) / (values[0] - values[-1])
        return 335 + 200 * (temperature - FIRST) / (LAST - FIRST), 60 + 150 * share

    points = " ".join("{:.1f},{:.1f}".format(*place(FIRST + STEP * k, energy))
                      for k, energy in enumerate(values))
    x, _ = place(START, 0)
    labels = "".join(f'<text x="{place(T, 0)[0]:.0f}" y="232" text-anchor="middle">{T}</text>'
                     for T in (FIRST, 2.0, 2.5, 3.0, LAST))
    labels += "".join(f'<text x="328" y="{place(0, u)[1] + 5:.0f}" text-anchor="end">{shown}</text>'
                      for u, shown in ((u, f"{u:.1f}".replace("-", "−"))
                                       for u in (values[0], values[-1])))
    return ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 560 280" '
            'style="color: black; background: white">\n'
            '<g font-family="sans-serif" font-size="14" fill="currentColor" stroke="none">\n'
            f'<g transform="translate(8 12)"><path class="up" d="{up}"/>'
            '<rect width="256" height="256" fill="none" stroke="currentColor"/></g>\n'
            '<text x="435" y="26" text-anchor="middle">exact energy per spin (Kaufman)</text>\n'
            f'<path d="M{x:.1f} 44V216" stroke="currentColor" stroke-opacity="0.4"/>\n'
            f'<text x="{x + 6:.0f}" y="54">T = {START}</text>\n'
            f'<polyline points="{points}" fill="none" stroke="currentColor" stroke-width="1.8"/>\n'
            f'{labels}\n<text x="435" y="254" text-anchor="middle">temperature</text>\n'
            '</g>\n</svg>\n')


if __name__ == "__main__":
    FIGURE.write_text(still(), encoding="utf-8")
