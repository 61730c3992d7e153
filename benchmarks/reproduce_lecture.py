"""Train both models of the lecture with the lecture's settings on the full digits, and report them.

    python benchmarks/reproduce_lecture.py [torch] [keras] [keras-all-digits]

PyTorch: MLPVAE, Adam 1e-3, batch 128, 100 epochs. Keras: ConvVAE, Adam 1e-3, batch 128, 30 epochs,
three seeds. Both train on the 60,000 training digits and are measured on all 10,000 test digits.
`keras-all-digits` trains on all 70,000 as the lecture does, only for a comparison of the training
figure. Each run adds its row to benchmarks/results/reproduce_lecture.json as soon as it ends; the
table beside it is written from that file. On two cores all of it takes about 45 minutes.
"""

import datetime
import importlib.metadata
import json
import math
import os
import platform
import sys
from pathlib import Path

import numpy as np
from scipy.stats import sem

from genmodels.datasets import load_mnist

RESULTS = Path(__file__).parent / "results" / "reproduce_lecture.json"
CONSTANT = 392 * math.log(2 * math.pi)  # nats: −log N(x; x, I) for 784 pixels


def run_torch(digits) -> None:
    import torch

    from genmodels.models import vae_torch

    torch.manual_seed(0)
    model = vae_torch.MLPVAE()
    report("PyTorch MLPVAE", vae_torch, model, digits, to_unit(digits.train_images), 100, 0)


def run_keras(digits) -> None:
    for seed in range(3):
        train_keras(digits, to_unit(digits.train_images), seed, "Keras ConvVAE")


def run_keras_all_digits(digits) -> None:
    everything = np.concatenate([digits.train_images, digits.test_images])
    train_keras(digits, to_unit(everything), 0, "Keras ConvVAE, trained on training + test")


def train_keras(digits, images, seed: int, name: str) -> None:
    import keras

    from genmodels.models import vae_keras

    keras.utils.set_random_seed(seed)
    model = vae_keras.ConvVAE()
    report(f"{name} ({keras.backend.backend()})", vae_keras, model, digits, images, 30, seed)


def report(name, framework, model, digits, train_images, num_epochs: int, seed: int) -> None:
    """Train, measure on all test digits, and add a row to the results."""
    history = framework.fit(model, train_images, num_epochs=num_epochs, recipe="lecture",
                            seed=seed, progress=False)
    test_images = to_unit(digits.test_images)
    log_likelihood, kl = framework.evaluate(model, test_images, seed=seed)
    mean, log_var = (np.asarray(array.detach() if hasattr(array, "detach") else array)
                     for array in model.encode(test_images))  # (n, k), (n, k)
    kl_per_dimension = 0.5 * (mean**2 + np.exp(log_var) - 1 - log_var).mean(axis=0)
    loss = kl - log_likelihood  # (n,): −ELBO with one sample of h
    add_row({
        "model": name, "seed": seed, "epochs": num_epochs,
        "training_loss_last_epoch": history["loss"][-1],
        "training_kl_last_epoch": history["kl"][-1],
        "test_loss": loss.mean(), "test_loss_error": sem(loss),
        "test_reconstruction": -log_likelihood.mean(),
        "test_reconstruction_error": sem(log_likelihood),
        "test_kl": kl.mean(), "test_kl_error": sem(kl),
        "test_kl_per_dimension": sorted(kl_per_dimension.tolist(), reverse=True),
        "digits": digits.name, "machine": machine(), "date": datetime.date.today().isoformat(),
    })


def to_unit(images: np.ndarray) -> np.ndarray:
    return images.astype(np.float32) / 255


def machine() -> str:
    """Return processor, cores and versions, on one line."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        processor = next((s.split(": ")[1] for s in lines if "model name" in s), processor)
    packages = ", ".join(f"{p} {importlib.metadata.version(p)}"
                         for p in ("torch", "tensorflow", "keras", "numpy"))
    return f"{processor}, {os.cpu_count()} cores, Python {platform.python_version()}, {packages}"


def add_row(row: dict) -> None:
    """Add a row, replacing an earlier run of the same model and seed, and write the table."""
    RESULTS.parent.mkdir(exist_ok=True)
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    rows = [old for old in rows if (old["model"], old["seed"]) != (row["model"], row["seed"])]
    rows = sorted([*rows, row], key=lambda r: (r["model"], r["seed"]))
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    RESULTS.with_suffix(".md").write_text(table(rows))
    print(table([row]), flush=True)


def table(rows: list[dict]) -> str:
    lines = [
        "# The lecture's settings on the full digits", "",
        "Nats per example. Adam 1e-3, batch 128. Test: all 10,000 test digits, one sample of h "
        "each, ± one standard error. −ELBO = reconstruction + KL. The Gaussian decoder's "
        f"reconstruction term includes the constant 392 log 2π = {CONSTANT:.2f} nats.", "",
        "| model | seed | epochs | training −ELBO, last epoch | test −ELBO | reconstruction "
        "| KL | KL per latent dimension |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in rows:
        dimensions = " ".join(f"{value:.2f}" for value in r["test_kl_per_dimension"])
        lines.append(
            f"| {r['model']} | {r['seed']} | {r['epochs']} | {r['training_loss_last_epoch']:.2f} "
            f"| {r['test_loss']:.2f} ± {r['test_loss_error']:.2f} "
            f"| {r['test_reconstruction']:.2f} ± {r['test_reconstruction_error']:.2f} "
            f"| {r['test_kl']:.2f} ± {r['test_kl_error']:.2f} | {dimensions} |")
    runs = sorted({f"{r['date']}: {r['machine']}. {r['digits']}." for r in rows})
    return "\n".join([*lines, "", *runs]) + "\n"


if __name__ == "__main__":
    parts = {"torch": run_torch, "keras": run_keras, "keras-all-digits": run_keras_all_digits}
    asked = sys.argv[1:] or list(parts)
    if unknown := set(asked) - set(parts):
        sys.exit(f"parts must be among {', '.join(parts)}, got {', '.join(sorted(unknown))}")
    full = load_mnist()
    if len(full.train_images) != 60_000:
        sys.exit(f"GENMODELS_DATA must be the path of the full mnist.npz, got {full.name}")
    for part in asked:
        parts[part](full)
