"""φ⁴ at L = 16, κ = 0.27, λ₄ = 0.022: two algorithms, two starts, and a public notebook's protocol.

    python benchmarks/lattice_fields.py [--chains 16] [--early 512] [--seeds 4]

Do clusters and hybrid Monte Carlo, each from ordered and from random starts, agree? How long are
their autocorrelation times, in steps and in seconds? And what does one configuration from each of
many chains give, 128 trajectories of length 1 after white noise (a public notebook, based on Wang,
Aarts and Zhou 2024, made its reference by 129)? Every number comes from the seeds
that are printed, and goes to benchmarks/results/lattice_fields.md.
"""

import argparse
import datetime
import importlib.metadata
import os
import platform
import time
from pathlib import Path

import numpy as np

from genmodels.exact.lattice import observables
from genmodels.exact.lattice_fields import Phi4, hybrid_monte_carlo
from genmodels.monte_carlo import autocorrelation_time

RESULTS = Path(__file__).parent / "results" / "lattice_fields.md"
PHI4 = Phi4(16, 0.27, 0.022)
SITES = 16**2
STARTS = ("ordered", "random")
LENGTHS = {  # of a chain: steps left out, steps followed, steps between what is measured
    "cluster": (500, 40_000, 20), "hmc": (200, 12_000, 6), "metropolis": (5000, 20_000, 20)}
METHODS = tuple(LENGTHS)
EARLIER = {"abs_M": (0.764, 0.002), "chi2": (173.3, 0.6), "U_L": (0.532, 0.001),
           "x2": (1.457, 0.003), "density": (0.39478, 0.00024)}  # other code, the same model
NAMES = {"M": "⟨M⟩", "abs_M": "⟨\\|M\\|⟩", "chi2": "χ₂ = V(⟨M²⟩ − ⟨M⟩²)",
         "chi": "V(⟨M²⟩ − ⟨\\|M\\|⟩²)", "U_L": "U_L", "x2": "⟨x²⟩", "density": "⟨S⟩/V"}


def run(method: str, start: str, num_chains: int) -> tuple[np.ndarray, dict, float]:
    """Follow chains from one start.

    Returns configurations (n, L, L), chain after chain, their signs drawn anew, since S(−x) = S(x);
    what is measured at every step, (num_chains, num_steps) each; and seconds a step.
    """
    thermal, num_steps, every = LENGTHS[method]
    kept, series, seconds = [], {"|M|": [], "M": [], "S": [], "x²": []}, 0.0
    for number in range(num_chains):
        rng = np.random.default_rng([METHODS.index(method), STARTS.index(start), number])
        began = time.process_time()
        x = PHI4.chain(thermal + num_steps, rng, method=method, start=start)[thermal:]
        seconds += (time.process_time() - began) / (num_chains * (thermal + num_steps))
        mean = x.mean(axis=(1, 2))
        measured = (abs(mean), mean, PHI4.action(x), np.mean(x**2, axis=(1, 2)))
        for name, values in zip(series, measured, strict=True):
            series[name].append(values)
        kept.append(x[every - 1::every] * rng.choice([-1.0, 1.0], size=(num_steps // every, 1, 1)))
    return np.concatenate(kept), {name: np.array(each) for name, each in series.items()}, seconds


def measure(x: np.ndarray, num_chains: int) -> dict:
    """Every observable with its error; a block of the jackknife is a quarter of a chain."""
    values = observables(x, PHI4.action(x) / SITES, num_blocks=4 * num_chains)
    for distance in range(9):
        values[f"G({distance})"] = tuple(part[distance] for part in values["G"])
    del values["G"]
    return values


def deviation(one: tuple[float, float], other: tuple[float, float]) -> float:
    return (one[0] - other[0]) / np.hypot(one[1], other[1])


def agreement(num_chains: int) -> tuple[list[str], list[str], tuple]:
    """The tables of observables and of autocorrelation times, and what clusters and hmc give."""
    results, times, drawn = {}, [], {}
    for method in METHODS:
        all_series = {}
        for start in STARTS:
            x, series, seconds = run(method, start, num_chains)
            if method != "metropolis":
                drawn[method, start] = x
                results[method, start] = measure(x, num_chains)
            for name, values in series.items():
                all_series.setdefault(name, []).append(values)
            print(method, start, f"{1e6 * seconds:.1f} µs a step", flush=True)
        taus = {}
        for name, values in all_series.items():
            try:
                taus[name] = autocorrelation_time(np.concatenate(values))
            except ValueError:  # too few autocorrelation times for an estimate
                taus[name] = None
        shown = " | ".join(f"{tau[0]:.2f} ± {tau[1]:.2f}" if tau else "chain too short"
                           for tau in taus.values())
        per_second = f"{1 / (2 * taus['|M|'][0] * seconds):,.0f}" if taus["|M|"] else ""
        times.append(f"| {method} | {shown} | {1e6 * seconds:.1f} | {per_second} |")
    both = {method: measure(np.concatenate([drawn[method, start] for start in STARTS]),
                            2 * num_chains) for method in ("cluster", "hmc")}
    together = measure(np.concatenate(list(drawn.values())), 4 * num_chains)
    rows, worst = [], 0.0
    for name in together:
        four = [results[method, start][name] for method in ("cluster", "hmc") for start in STARTS]
        gaps = [deviation(four[0], four[1]), deviation(four[2], four[3]),
                deviation(both["cluster"][name], both["hmc"][name])]
        worst = max(worst, *map(abs, gaps))
        earlier = shown_value(EARLIER[name]) if name in EARLIER else ""
        cells = [*map(shown_value, four), *(f"{gap:+.1f}" for gap in gaps),
                 shown_value(together[name]), earlier]
        rows.append(f"| {NAMES.get(name, name)} | {' | '.join(cells)} |")
    rows.append(f"\nThe largest of these deviations is {worst:.2f} standard errors.")
    return rows, times, together


def shown_value(value: tuple[float, float]) -> str:
    return f"{value[0]:.5g} ± {value[1]:.2g}"


def early(num_chains: int, seeds: range) -> list[str]:
    """Rows of the notebook's protocol: one configuration of each chain, early after its start."""
    rows = []
    for start in STARTS[::-1]:
        ends = {number: [] for number in (128, 256, 512, 1024)}
        for seed in seeds:
            for chain in range(num_chains):
                x = PHI4.chain(max(ends), np.random.default_rng([9, STARTS.index(start), seed,
                                                                 chain]),
                               method="hmc", start=start, step_size=0.1, num_leapfrog=10)
                for number, kept in ends.items():
                    kept.append(x[number - 1].copy())  # not a view of x
            if seed == seeds[0] and start == "random":
                rows.append(protocol_row(f"{start}, seed 0", 128, np.array(ends[128])))
        rows += [protocol_row(f"{start}, seeds {seeds[0]} to {seeds[-1]}", number, np.array(kept))
                 for number, kept in ends.items()]
        print(rows[-1], flush=True)
    return rows


def protocol_row(label: str, number: int, x: np.ndarray) -> str:
    signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(len(x), 1, 1))
    values = observables(x * signs, PHI4.action(x) / SITES)
    cells = " | ".join(shown_value(values[name]) for name in ("abs_M", "chi2", "U_L", "density"))
    return f"| {label} | {len(x)} | {number} | {cells} |"


def speeds() -> list[str]:
    """Trajectories a second, all chains together: NumPy, which moves them at once, and compiled."""
    rows = []
    for num_chains in (1, 32, 512):
        x, rng = np.random.default_rng(0).normal(size=(num_chains, 16, 16)), np.random.default_rng()
        began, count = time.process_time(), max(2, 64 // num_chains)
        hybrid_monte_carlo(x, PHI4.action, PHI4.force, count, rng, step_size=0.25, num_steps=40)
        slow = count * num_chains / (time.process_time() - began)
        began, count = time.process_time(), max(4, 512 // num_chains)
        PHI4._evolve(x, count, rng, "hmc", 0.25, 40)
        fast = count * num_chains / (time.process_time() - began)
        rows.append(f"| {num_chains} | {slow:,.0f} | {fast:,.0f} |")
    return rows


def machine() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    names = [line.split(": ")[1] for line in cpuinfo.read_text().splitlines()
             if "model name" in line] if cpuinfo.exists() else [platform.processor()]
    packages = ", ".join(f"{package} {importlib.metadata.version(package)}"
                         for package in ("numpy", "numba"))
    return (f"{datetime.date.today().isoformat()}: {names[0]}, one of {os.cpu_count()} cores, "
            f"Python {platform.python_version()}, {packages}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chains", type=int, default=16, help="of each algorithm and start")
    parser.add_argument("--early", type=int, default=512, help="chains of that protocol")
    parser.add_argument("--seeds", type=int, default=4, help="how often that protocol is repeated")
    parser.add_argument("--output", type=Path, default=RESULTS, help="the .md file")
    asked = parser.parse_args()
    for name in ("chains", "early", "seeds"):
        least = 50 if name == "early" else 3 if name == "chains" else 1  # for an error bar
        if getattr(asked, name) < least:
            parser.error(f"--{name} must be at least {least}, got {getattr(asked, name)}")
    for method in METHODS:
        PHI4.chain(1, np.random.default_rng(), method=method)  # compiled before it is timed
    rows, times, together = agreement(asked.chains)
    lines = [
        "# φ⁴ at L = 16, κ = 0.27, λ₄ = 0.022", "",
        f"`python benchmarks/lattice_fields.py --chains {asked.chains}`. {asked.chains} chains of "
        "each algorithm and start, with the seeds [algorithm, start, chain], algorithms "
        f"{', '.join(METHODS)} and starts {', '.join(STARTS)} counted from 0. Steps of a chain "
        "that are left out, followed, and from one measured configuration to the next: "
        + "; ".join(f"{method} {thermal:,}, {steps:,}, {every}"
                    for method, (thermal, steps, every) in LENGTHS.items()) + ". A step: "
        "a flipped cluster, overrelaxation and a Metropolis sweep (cluster), the last alone "
        "(metropolis), a trajectory of 40 leapfrog steps of 0.25 (hmc). ± one "
        "standard error, by a jackknife over quarters of chains. Signs are drawn anew, "
        "so that ⟨M⟩ = 0 is not tested here.", "",
        "## Two algorithms, two starts", "",
        "Deviations in standard errors of the difference: ordered − random start for each "
        "algorithm, then cluster − hmc. G(t): products of averages over lines.", "",
        "| | cluster, ordered | cluster, random | hmc, ordered | hmc, random | starts, cluster "
        "| starts, hmc | algorithms | all | earlier code |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |", *rows, "",
        "## Autocorrelation times", "",
        "Integrated, in steps (½: independent). The last column: 1/(2 τ seconds) for |M|, on one "
        "core beside other work; one step is a call from Python here.", "",
        "| | τ of \\|M\\| | of M | of S | of x² | µs a step | independent \\|M\\| a second |",
        "| --- | --- | --- | --- | --- | --- | --- |", *times, "",
        "## The public notebook's protocol", "",
        f"{asked.early} chains, one configuration of each, so many trajectories of length 1 "
        "(10 leapfrog steps of 0.1) after the start; seeds [9, start, seed, chain]. The notebook: "
        "|M| 0.6593 ± 0.0033, χ₂ 139.4 ± 1.1. Equilibrium, from above: |M| "
        f"{shown_value(together['abs_M'])}, χ₂ {shown_value(together['chi2'])}.", "",
        "| start | chains | trajectories | \\|M\\| | χ₂ | U_L | S/V |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *early(asked.early, range(asked.seeds)), "",
        "## Hybrid Monte Carlo, compiled or in NumPy", "",
        "Trajectories of 40 leapfrog steps a second, all chains together.", "",
        "| chains | NumPy, all at once | compiled, one after the other |", "| --- | --- | --- |",
        *speeds(), "", machine()]
    asked.output.parent.mkdir(exist_ok=True)
    asked.output.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
