"""Time one training in Keras on JAX on 1, 2 and 4 devices, and compare the histories.

    python benchmarks/devices.py [--num-examples 6400] [--num-epochs 3] [--repeats 3]
                                 [--devices 1 2 4]

Each run is a process of its own; the numbers of devices take turns. The devices are the GPUs that
JAX sees, else as many parts of the CPU. The seconds of training are those of the history, the
compilation of the step among them; after a first call of one epoch, which compiles, come the epochs
that are timed apart. Differences are the largest in any epoch from the history on one device,
relative to it: of the loss, and of any of its terms. Writes results/devices.md.
"""

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from processes import differences

from genmodels.validate import check_positive_int

RESULTS = Path(__file__).parent / "results" / "devices.md"


def train(num_devices: int, dtype: str, num_examples: int, num_epochs: int) -> None:
    """What the process of a run does: prints the seconds of both calls, the terms and versions."""
    import jax
    import keras

    from genmodels.datasets import load_mnist
    from genmodels.models.vae_keras import ConvVAE, fit

    devices = keras.distribution.list_devices()
    if len(devices) < num_devices:
        sys.exit(f"number of devices must be at most {len(devices)}, got {num_devices}")
    if num_devices > 1:
        keras.distribution.set_distribution(
            keras.distribution.DataParallel(devices=devices[:num_devices]))
    keras.utils.set_random_seed(0)
    images = load_mnist().train_images[:num_examples] / 255
    model = ConvVAE(dtype=dtype)
    history = fit(model, images, num_epochs=1, progress=False)
    first = history.seconds
    history = fit(model, images, num_epochs=num_epochs, history=history, progress=False)
    print(json.dumps({"first": first, "seconds": history.seconds - first, "terms": history.terms,
                      "of": f"Keras {keras.version()}, JAX {jax.__version__}, "
                            f"{jax.devices()[0].device_kind}"}))


def run(num_devices: int, dtype: str, arguments: argparse.Namespace) -> dict:
    """What `train` prints, in a process where the CPU is divided into so many devices."""
    command = [sys.executable, __file__, f"--on={num_devices}", f"--dtype={dtype}",
               f"--num-examples={arguments.num_examples}", f"--num-epochs={arguments.num_epochs}"]
    flags = ["--xla_cpu_multi_thread_eigen=false",  # a thread for each device
             f"--xla_force_host_platform_device_count={num_devices}"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | {
        "KERAS_BACKEND": "jax", "JAX_ENABLE_X64": "1",
        "XLA_FLAGS": " ".join([os.environ.get("XLA_FLAGS", ""), *flags])})
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--num-examples", type=int, default=6400)
    parser.add_argument("--num-epochs", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 2, 4],
                        help="how many; the first is what the others are compared with")
    parser.add_argument("--output", type=Path, default=RESULTS, help="the .md file")
    parser.add_argument("--on", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--dtype", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.on:
        train(arguments.on, arguments.dtype, arguments.num_examples, arguments.num_epochs)
        return
    repeats = check_positive_int(arguments.repeats, "repeats")
    rows = [f"| precision | devices | first epoch, s | the next {arguments.num_epochs}, s | loss "
            "differs by | a term by |", "| --- " * 6 + "|"]
    counts, load = arguments.devices, os.getloadavg()[0]
    for dtype in ("float32", "float64"):
        runs = {n: [] for n in counts}
        for _ in range(repeats):
            for n in counts:
                runs[n].append(run(n, dtype, arguments))
        for n in counts:
            of_loss, of_any = differences(runs[n][0]["terms"], runs[counts[0]][0]["terms"])
            first, others = (statistics.median(each[what] for each in runs[n])
                             for what in ("first", "seconds"))
            rows.append(f"| {dtype} | {n} | {first:.2f} | {others:.2f} | {of_loss:.1e} | "
                        f"{of_any:.1e} |")
            print(rows[-1], flush=True)
    asked = " ".join(f"--{name}={getattr(arguments, name)}"
                     for name in ("num_examples", "num_epochs", "repeats")).replace("_", "-")
    timed = "one run each" if repeats == 1 else f"medians of {repeats} runs"
    arguments.output.write_text("\n".join([
        "# One training on several devices, in Keras on JAX", "",
        f"`python benchmarks/devices.py {asked}`, {datetime.date.today()}, "
        f"{runs[counts[0]][0]['of']}, {os.cpu_count()} cores; ConvVAE, "
        f"{arguments.num_examples:,} digits, batches of 128; {timed}; load of "
        f"the machine by other programs, at the beginning: {load:.1f}.",
        "", *rows]) + "\n", encoding="utf-8")
    print(f"Written to {arguments.output}")


if __name__ == "__main__":
    main()
