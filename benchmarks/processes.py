"""Time work in 1, 2 and 4 processes of this machine: a training, its steps, chains of Monte Carlo.

    python benchmarks/processes.py [--num-examples 6400] [--num-epochs 3] [--repeats 3]

Runs: the command line of `genmodels.training` under torchrun, with one thread for each process. The
seconds of training are those of the history, of which the first step's are a part; the whole
command also imports PyTorch, reads the digits and evaluates. Differences are the largest in any
epoch from the history of one process, relative to it: of the loss, and of any of its terms.

Steps: the median of a step after the first ten, of one process with the whole batch and with its
half, and of two processes. The model of benchmarks/scaling.py says that two processes take as long
as one with half the batch, and the all-reduces: one of the gradients, two of one number each.

Chains: `monte_carlo.run_chains` with hybrid Monte Carlo of φ⁴, L = 16; the results are compared.

The numbers of processes take turns; medians over the repeats. Writes results/processes.md.
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import numpy as np

from genmodels.exact.lattice_fields import Phi4
from genmodels.monte_carlo import run_chains
from genmodels.validate import check_positive_int

RESULTS = Path(__file__).parent / "results" / "processes.md"
COUNTS = (1, 2, 4)
BATCH_SIZE = 128
STEPS = {"mlp-vae": 200, "unet": 20}  # that are timed, after ten others
PHI4 = Phi4(16, 0.27, 0.022)
NUM_CHAINS, NUM_TRAJECTORIES = 16, 20_000
LARGE = 8_000_000  # numbers that are added up, where the rate counts and the latency does not


def torchrun(num_processes: int, *arguments: str) -> str:
    """Runs a program in processes of one thread each; returns what it prints."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone",
               f"--nproc-per-node={num_processes}", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True,
                          env=os.environ | {"OMP_NUM_THREADS": "1"}).stdout


# Runs -------------------------------------------------------------------------------------------


def run(num_processes: int, precision: str, length: list[str]) -> tuple[float, float, dict]:
    """Seconds of training and of the whole command, and the terms of the history."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        torchrun(num_processes, "-m", "genmodels.training", "mlp-vae", *length,
                 f"--precision={precision}", "--no-progress", f"--checkpoint={folder}")
        whole = time.perf_counter() - start
        history = json.loads((Path(folder) / "checkpoint.json").read_text(encoding="utf-8"))
    return history["seconds"], whole, history["terms"]


def differences(terms: dict, reference: dict) -> tuple[float, float]:
    """The largest |a/b − 1| of any epoch's loss, and of any number of the terms."""
    found = {name: float(np.max(np.abs(np.divide(terms[name], reference[name]) - 1)))
             for name in reference}
    return found["loss"], max(found.values())


def compare_runs(length: list[str], repeats: int) -> list[str]:
    rows = ["| precision | processes | training, s | whole command, s | loss differs by | "
            "a term by |", "| --- " * 6 + "|"]
    for precision in ("float32", "bfloat16"):
        runs = {n: [] for n in COUNTS}
        for _ in range(repeats):
            for n in COUNTS:
                runs[n].append(run(n, precision, length))
        for n in COUNTS:
            training, whole, terms = zip(*runs[n])
            of_loss, of_any = differences(terms[0], runs[1][0][2])
            rows.append(f"| {precision} | {n} | {statistics.median(training):.2f} | "
                        f"{statistics.median(whole):.1f} | {of_loss:.1e} | {of_any:.1e} |")
            print(rows[-1], flush=True)
    return rows


# Steps ------------------------------------------------------------------------------------------


def time_steps(name: str, batch_size: int) -> None:
    """What each process of torchrun does; the first prints the seconds of a step, and of sums."""
    import torch
    import torch.distributed as dist

    from genmodels.datasets import load_mnist
    from genmodels.models import unet_torch, vae_torch
    from genmodels.training.history import History
    from genmodels.training.torch_parallel import joined

    digits = load_mnist()
    images = digits.train_images[:6400].astype(np.float32) / 255
    torch.manual_seed(0)
    ends, record = [], History.record

    def timed(history, *arguments):
        record(history, *arguments)
        ends.append(time.perf_counter())

    with joined("cpu") as (rank, _), patch.object(History, "record", timed):
        settings = {"num_steps": STEPS[name] + 10, "batch_size": batch_size, "progress": False,
                    "precision": "float32", "device": "cpu"}
        if name == "mlp-vae":
            model = vae_torch.MLPVAE()
            vae_torch.fit(model, images, **settings)
        else:
            model = unet_torch.UNet()
            unet_torch.fit(model, images, digits.train_labels[:6400], **settings)
        sums = {}
        weights = sum(weight.numel() for weight in model.parameters())
        for what, size in {"one": 1, "gradient": weights, "large": LARGE}.items():
            numbers, seconds = torch.zeros(size), []
            for _ in range(20):
                dist.barrier()
                start = time.perf_counter()
                dist.all_reduce(numbers)
                seconds.append(time.perf_counter() - start)
            sums[what] = statistics.median(seconds)
        if rank == 0:
            print(json.dumps({"step": statistics.median(np.diff(ends)[10:]), "weights": weights,
                              **sums}))


def compare_steps(repeats: int) -> list[str]:
    rows = ["| model | whole batch | half of it | sum of gradients | of one number | "
            "T(2), formula | T(2) | E(2), formula | E(2) |",
            "| --- " * 9 + "|"]
    lines = []
    for name in STEPS:
        cases = {"whole": (1, BATCH_SIZE), "half": (1, BATCH_SIZE // 2), "two": (2, BATCH_SIZE)}
        found = {case: [] for case in cases}
        for _ in range(repeats):
            for case, (n, batch_size) in cases.items():
                printed = torchrun(n, __file__, "--steps-of", name, str(batch_size))
                found[case].append(json.loads(printed.splitlines()[-1]))  # after the data's line
        whole, half, two = (statistics.median(each["step"] for each in found[case])
                            for case in cases)
        gradient, one, large = (statistics.median(each[what] for each in found["two"])
                                for what in ("gradient", "one", "large"))
        expected = half + gradient + 2 * one
        cells = [name, *(f"{1e3 * seconds:.2f}" for seconds in
                         (whole, half, gradient, one, expected, two)),
                 f"{whole / (2 * expected):.2f}", f"{whole / (2 * two):.2f}"]
        rows.append(f"| {' | '.join(cells)} |")
        print(rows[-1], flush=True)
        # A ring of two: G/b + 2 ℓ
        num_bytes = 4 * found["two"][0]["weights"]
        rate = 4 * LARGE / (large - one)
        lines += ["", (
            f"Of {name} the ring's formula, with 2 ℓ = {1e3 * one:.2f} ms from the sum of one "
            f"number and b = {rate / 1e9:.2f} GB/s from that of {4 * LARGE / 1e6:.0f} MB, gives "
            f"{1e3 * (num_bytes / rate + one):.2f} ms for the {num_bytes / 1e6:.1f} MB of its "
            f"gradients; measured: {1e3 * gradient:.2f} ms.")]
    return [*rows, *lines]


# Chains -----------------------------------------------------------------------------------------


def magnetisation(rng: np.random.Generator) -> np.ndarray:
    """|M| along one chain, (NUM_TRAJECTORIES,)."""
    return abs(PHI4.chain(NUM_TRAJECTORIES, rng, method="hmc").mean(axis=(1, 2)))


def compare_chains(repeats: int) -> list[str]:
    magnetisation(np.random.default_rng(0))  # compiles, also for the other processes
    seconds, results = {n: [] for n in COUNTS}, {}
    for _ in range(repeats):
        for n in COUNTS:
            start = time.perf_counter()
            results[n] = np.array(run_chains(magnetisation, NUM_CHAINS, 0, num_processes=n))
            seconds[n].append(time.perf_counter() - start)
    rows = ["| processes | s | efficiency | results |", "| --- | --- | --- | --- |"]
    for n in COUNTS:
        median = statistics.median(seconds[n])
        efficiency = statistics.median(seconds[1]) / (n * median)
        equal = results[n].tobytes() == results[1].tobytes()
        same = "the same, bit for bit" if equal else "DIFFERENT"
        rows.append(f"| {n} | {median:.2f} | {efficiency:.2f} | {same} |")
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num-examples", type=int, default=6400)
    parser.add_argument("--num-epochs", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, default=RESULTS, help="the .md file")
    parser.add_argument("--steps-of", nargs=2, help=argparse.SUPPRESS)  # what torchrun starts
    asked = parser.parse_args()
    if asked.steps_of:
        time_steps(asked.steps_of[0], int(asked.steps_of[1]))
        return
    repeats = check_positive_int(asked.repeats, "repeats")
    length = [f"--num-examples={asked.num_examples}", f"--num-epochs={asked.num_epochs}"]
    load = os.getloadavg()[0]
    versions = ", ".join(f"{package} {importlib.metadata.version(package)}"
                         for package in ("torch", "numpy", "numba"))
    lines = [
        "# One piece of work in several processes", "",
        f"`python benchmarks/processes.py {' '.join(length)} --repeats={repeats}`, "
        f"{datetime.date.today()}, Python {platform.python_version()}, {versions}, "
        f"{platform.machine()}, {os.cpu_count()} cores, one thread in each process, gloo; medians "
        f"of {repeats} runs; load of the machine by other programs, at the beginning: {load:.1f}. "
        "The program says how each figure is measured.", "",
        "## Runs", "",
        f"MLPVAE, {asked.num_epochs} epochs of {asked.num_examples:,} digits, batches of "
        f"{BATCH_SIZE}.", "", *compare_runs(length, repeats), "",
        "## Steps", "",
        f"Batches of {BATCH_SIZE} in float32, times in ms. The formula: half the batch, and the "
        "sums.", "",
        *compare_steps(repeats), "",
        "## Chains", "",
        f"{NUM_CHAINS} chains of {NUM_TRAJECTORIES:,} trajectories of hybrid Monte Carlo, φ⁴ with "
        "L = 16, with the start of the processes.", "", *compare_chains(repeats)]
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    asked.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"Written to {asked.output}")


if __name__ == "__main__":
    main()
