"""The Ising sampler against Kaufman's exact energies and heat capacities, and how fast it is.

    python benchmarks/ising.py [--samples 10000] [--sweeps 100000] [--seed 0]

`genmodels.exact.ising.sample` at L = 4, 8, 16, 32 and twelve temperatures, z = (measured − exact)
/standard error of each energy and each heat capacity; then, at T_c, what cluster updates and
single-spin updates in NumPy yield: sweeps a second, autocorrelation time, and effectively
independent configurations a second. Seconds are CPU seconds of one thread, so that other work on
the machine counts little. Writes benchmarks/results/ising.md.
"""

import argparse
import datetime
import importlib.metadata
import platform
import time
from pathlib import Path

import numpy as np
from scipy.stats import chi2

from genmodels.exact import ising
from genmodels.monte_carlo import autocorrelation_time, jackknife, mean_and_error

RESULTS = Path(__file__).parent / "results" / "ising.md"
SIZES = (4, 8, 16, 32)
T_C = ising.CRITICAL_TEMPERATURE
TEMPERATURES = sorted([*np.linspace(1.5, 3.5, 11), T_C])
RACE_SIZE = 32


def compare(size: int, temperature: float, num_samples: int, rng: np.random.Generator) -> dict:
    """Sample at one temperature; return measured and exact values."""
    e = ising.energies(ising.sample(size, temperature, num_samples, rng))

    def both(means):  # of E/N and its square: energy and heat capacity
        return np.array([means[0], size**2 * (means[1] - means[0] ** 2) / temperature**2])

    value, error = jackknife(both, np.stack([e, e**2], axis=1), num_blocks=100)
    exact = np.array([ising.energy(size, temperature), ising.heat_capacity(size, temperature)])
    return {"size": size, "temperature": temperature, "value": value, "error": error,
            "exact": exact, "z": (value - exact) / error}


def numpy_metropolis(
    num_sweeps: int, num_chains: int, rng: np.random.Generator
) -> tuple[np.ndarray, float]:
    """Single-spin Metropolis in NumPy, from ordered spins, all chains and one colour at a time.

    Returns E/N and |m| after each sweep, (2, num_chains, num_sweeps), and the seconds of updating.
    """
    x = np.ones((num_chains, RACE_SIZE, RACE_SIZE), np.int8)
    black = np.indices((RACE_SIZE, RACE_SIZE)).sum(axis=0) % 2 == 0  # of a checkerboard
    accept = np.exp(-2 * np.arange(-4, 5) / T_C)  # by x_i times the sum of its neighbours
    out, seconds = np.empty((2, num_chains, num_sweeps)), 0.0
    for sweep in range(num_sweeps):
        start = time.process_time()
        for colour in (black, ~black):
            neighbours = (np.roll(x, 1, 1) + np.roll(x, -1, 1)
                          + np.roll(x, 1, 2) + np.roll(x, -1, 2))
            flip = (rng.random(x.shape, np.float32) < accept[x * neighbours + 4]) & colour
            x = np.where(flip, -x, x)
        seconds += time.process_time() - start
        bonds = x * (np.roll(x, -1, 1) + np.roll(x, -1, 2))
        out[:, :, sweep] = -bonds.mean(axis=(1, 2)), abs(x.mean(axis=(1, 2)))
    return out, seconds


def compiled_chain(
    num_sweeps: int, algorithm: str, rng: np.random.Generator
) -> tuple[np.ndarray, float]:
    """The same of one chain of the package, (2, 1, num_sweeps), and the seconds of updating."""
    parts, seconds, spins = [], 0.0, "ordered"
    for done in range(0, num_sweeps, 10_000):  # in pieces, for memory
        start = time.process_time()
        x = ising.chain(RACE_SIZE, T_C, min(10_000, num_sweeps - done), rng,
                        algorithm=algorithm, start=spins)
        seconds += time.process_time() - start
        parts.append(np.stack([ising.energies(x), abs(x.mean(axis=(1, 2)))])[:, None])
        spins = x[-1]
    return np.concatenate(parts, axis=2), seconds


def race(num_sweeps: int, rng: np.random.Generator) -> list[dict]:
    """At T_c: sweeps a second, and τ of energy and |m|, for each way to update."""
    ways = {
        "Swendsen–Wang, compiled (`ising.chain`)":
            lambda: compiled_chain(num_sweeps, "swendsen-wang", rng),
        "single spins, compiled (`ising.chain`)":
            lambda: compiled_chain(8 * num_sweeps, "metropolis", rng),
        "single spins, NumPy, 16 chains at once":
            lambda: numpy_metropolis(num_sweeps // 2, 16, rng),
    }
    rows = []
    for name, run in ways.items():
        measured, seconds = run()
        settled = measured[:, :, measured.shape[2] // 20:]  # without the first 5 %
        mean, error = mean_and_error(settled[0])
        rows.append({"name": name, "rate": measured[0].size / seconds,
                     "taus": [autocorrelation_time(each) for each in settled],
                     "z": (mean - ising.energy(RACE_SIZE, T_C)) / error})
        print(rows[-1], flush=True)
    rate = 2_000 / numpy_metropolis(2_000, 1, rng)[1]
    rows.append(rows[-1] | {"name": "single spins, NumPy, one chain (τ of 16)", "rate": rate})
    spins, out = np.ones((RACE_SIZE, RACE_SIZE), np.int8), np.empty((20, RACE_SIZE, RACE_SIZE))
    start = time.process_time()
    ising._metropolis_sweeps.py_func(spins, T_C, out, 1, rng)
    rate = len(out) / (time.process_time() - start)
    rows.append(rows[1] | {"name": "single spins, one after the other in Python (τ as compiled)",
                           "rate": rate})
    for row in rows:
        row["effective"] = [row["rate"] / (2 * tau) for tau, _ in row["taus"]]
    return rows


def sampling_rate(size: int, rng: np.random.Generator) -> float:
    """Configurations a second from `sample` at T_c, in a run of about a second, start included."""
    num_samples = 1_000
    while True:
        start = time.process_time()
        ising.sample(size, T_C, num_samples, rng)
        seconds = time.process_time() - start
        if seconds > 1:
            return num_samples / seconds
        num_samples *= 2


def table(header: list[str], lines: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |"
                     for line in [header, ["---"] * len(header), *lines])


def report(rows: list[dict], rates: dict[int, float], race_rows: list[dict], command: str) -> str:
    z = np.array([row["z"] for row in rows])  # (48, 2)

    def chi_squared(values):
        total, dof = float(np.sum(values**2)), values.size
        return f"{total / dof:.2f} (p = {chi2.sf(total, dof):.2f})"

    lines = [[str(row["size"]), f"{row['temperature']:.4f}",
              *(part for i in (0, 1) for part in (
                  f"{row['value'][i]:.5f} ± {row['error'][i]:.5f}", f"{row['exact'][i]:.5f}",
                  f"{row['z'][i]:+.2f}"))] for row in rows]
    fastest = race_rows[0]["effective"]
    race_lines = [[row["name"], f"{row['z']:+.1f}", f"{row['rate']:.0f}",
                   *(f"{tau:.2f} ± {error:.2f}" for tau, error in row["taus"]),
                   *(f"{value:.1f}" for value in row["effective"]),
                   *(f"{best / value:.3g}" for best, value in zip(fastest, row["effective"]))]
                  for row in race_rows]
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}"
                         for name in ("numpy", "numba"))
    return "\n\n".join([
        "# The Ising sampler against exact answers",
        f"`{command}`, {datetime.date.today()}, Python {platform.python_version()}, {versions}, "
        f"{platform.machine()}. Seconds are CPU seconds of one thread.",
        "χ² per degree of freedom: all "
        f"{chi_squared(z)}, energies {chi_squared(z[:, 0])}, heat capacities "
        f"{chi_squared(z[:, 1])}; by size " + ", ".join(
            f"L = {size}: {chi_squared(z[[row['size'] == size for row in rows]])}"
            for size in SIZES) + f". Largest |z|: {abs(z).max():.2f} of {z.size}.",
        "## How fast",
        "Configurations a second from `ising.sample` at T_c, thinned and with the chains' burn-in: "
        + ", ".join(f"{rate:.0f} at L = {size}" for size, rate in rates.items()) + ".",
        f"At T_c, L = {RACE_SIZE}; τ in sweeps; n sweeps are worth n/(2τ) independent "
        "configurations. A sweep of NumPy's single spins tries each spin once, one colour of the "
        "checkerboard at a time; one of compiled single spins tries N spins drawn at random. "
        "Measuring is not timed. The last two columns: how many times as many Swendsen–Wang gives "
        "in the same time.",
        table(["update", "z of energy", "sweeps a second", "τ of energy", "τ of \\|m\\|",
               "independent energies a second", "independent \\|m\\| a second",
               "times fewer: energy", "times fewer: \\|m\\|"], race_lines),
        "## Energy and heat capacity, per spin",
        "z = (measured − exact)/error; errors by the jackknife over 100 blocks of consecutive "
        "samples.",
        table(["L", "T", "energy", "Kaufman", "z", "heat capacity", "Kaufman", "z"], lines),
    ]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=10_000, help="at each L and T")
    parser.add_argument("--sweeps", type=int, default=100_000, help="of one chain at T_c")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    for algorithm in ("swendsen-wang", "metropolis"):  # compile before timing
        ising.chain(4, T_C, 1, rng, algorithm=algorithm)
    rows = []
    for size in SIZES:
        for temperature in TEMPERATURES:
            rows.append(compare(size, temperature, arguments.samples, rng))
            print(rows[-1], flush=True)
    rates = {size: sampling_rate(size, rng) for size in SIZES}
    command = (f"python benchmarks/ising.py --samples {arguments.samples} "
               f"--sweeps {arguments.sweeps} --seed {arguments.seed}")
    RESULTS.write_text(report(rows, rates, race(arguments.sweeps, rng), command), encoding="utf-8")
    print(RESULTS.read_text())


if __name__ == "__main__":
    main()
