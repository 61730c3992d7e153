"""Time one training in 1, 2 and 4 processes of this machine, and compare the histories.

    python benchmarks/processes.py [--num-examples 6400] [--num-epochs 3] [--repeats 3]

Each run is the command line of `genmodels.training` under torchrun, with one thread for each
process; the numbers of processes take turns. The seconds of training are those of the history, of
which the first step's are a part; the whole command also imports PyTorch, reads the digits and
evaluates. The difference is the largest of any term in any epoch from that of one process, relative
to the latter. Prints a table in Markdown.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from genmodels.validate import check_positive_int


def run(num_processes: int, precision: str, length: list[str]) -> tuple[float, float, dict]:
    """Seconds of training and of the whole command, and the terms of the history."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone",
                   f"--nproc-per-node={num_processes}", "-m", "genmodels.training", "mlp-vae",
                   *length, f"--precision={precision}", "--no-progress", f"--checkpoint={folder}"]
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL,
                       env=os.environ | {"OMP_NUM_THREADS": "1"})
        whole = time.perf_counter() - start
        history = json.loads((Path(folder) / "checkpoint.json").read_text(encoding="utf-8"))
    return history["seconds"], whole, history["terms"]


def largest_difference(terms: dict, reference: dict) -> float:
    """The largest |a/b − 1| of any number of the terms."""
    return max(float(np.max(np.abs(np.divide(terms[name], reference[name]) - 1)))
               for name in reference)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--num-examples", type=int, default=6400)
    parser.add_argument("--num-epochs", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    repeats = check_positive_int(arguments.repeats, "repeats")
    length = [f"--num-examples={arguments.num_examples}", f"--num-epochs={arguments.num_epochs}"]
    print(f"MLPVAE, {arguments.num_epochs} epochs of {arguments.num_examples:,} digits, batches of "
          f"128, PyTorch {torch.__version__}, {os.cpu_count()} cores; medians of {repeats} runs\n")
    print("| precision | processes | training, s | whole command, s | largest difference |")
    print("| --- | --- | --- | --- | --- |")
    for precision in ("float32", "bfloat16"):
        counts = (1, 2, 4)
        runs = {n: [] for n in counts}
        for _ in range(repeats):
            for n in counts:
                runs[n].append(run(n, precision, length))
        for n in counts:
            training, whole, terms = zip(*runs[n])
            difference = largest_difference(terms[0], runs[1][0][2])
            print(f"| {precision} | {n} | {statistics.median(training):.2f} | "
                  f"{statistics.median(whole):.1f} | {difference:.1e} |", flush=True)


if __name__ == "__main__":
    main()
