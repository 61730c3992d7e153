"""Train the weights in code/genmodels/weights, and write a card for each.

    python scripts/make_weights.py [NAME ...]

The full digits are needed. As many models are made at once as there are processors, each with one
thread: for matrices of this size a second thread gains little. Each model trains on the 60,000
training digits, binarised anew at each step. Its weights are rounded to half precision, and only
then measured, on all 10,000 test digits, binarised once: L_K for K from 1 to 5,000. The cards say
how long each took.
"""

import argparse
import concurrent.futures
import datetime
import importlib.metadata
import multiprocessing
import os
import platform
import time

import numpy as np
import torch

from genmodels import bounds, iwae_torch, trained
from genmodels.datasets import load_mnist
from genmodels.training import cpu_has_bfloat16

# name: (importance samples K, epochs)
MODELS = {"iwae-50": (50, 160), "iwae-5": (5, 300), "vae-1": (1, 400)}  # the longest first
SETTINGS = {"batch_size": 100, "recipe": "warm-up", "learning_rate": 2e-3, "seed": 0}
NUM_SAMPLES = [1, 5, 50, 500, 5000]
TEST_SEED = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MODELS))
    names = parser.parse_args().names or list(MODELS)
    if unknown := [name for name in names if name not in MODELS]:
        parser.error(f"NAME must be one of {', '.join(MODELS)}, got {', '.join(unknown)}")
    digits = load_mnist()
    if len(digits.train_images) != 60_000:
        parser.error(f"the full digits are needed, got {digits.name}")
    workers = min(len(names), os.cpu_count() or 1)
    with concurrent.futures.ProcessPoolExecutor(
            workers, multiprocessing.get_context("spawn")) as pool:
        for done in concurrent.futures.as_completed([pool.submit(make, name) for name in names]):
            print(done.result(), flush=True)


def make(name: str) -> str:
    """Train, save, measure; the card is written again when the figures are there."""
    torch.set_num_threads(1)
    digits = load_mnist()
    num_importance_samples, num_epochs = MODELS[name]
    torch.manual_seed(SETTINGS["seed"])
    images = digits.train_images.astype(np.float32) / 255
    model = iwae_torch.BinaryVAE(mean_image=images.mean(axis=0))
    start = time.perf_counter()
    history = iwae_torch.fit(model, images, num_importance_samples=num_importance_samples,
                             num_epochs=num_epochs, progress=False, **SETTINGS)
    card = {
        "command": f"python scripts/make_weights.py {name}",
        "data": digits.name,
        "seed": SETTINGS["seed"],
        "training": {"num_importance_samples": num_importance_samples, "num_epochs": num_epochs,
                     "num_steps": history.num_steps, **SETTINGS},
        "versions": {"python": platform.python_version(),
                     **{package: importlib.metadata.version(package)
                        for package in ("torch", "numpy")}},
        "processor": f"{platform.machine()}, {torch.get_num_threads()} threads, "
                     f"bfloat16 {cpu_has_bfloat16()}",
        "date": datetime.date.today().isoformat(),
        "seconds": round(time.perf_counter() - start),
        "training_loss": [round(loss, 3) for loss in history.loss],
    }
    trained.save(model, name, card)
    trained.load(model, name)  # the rounded weights
    start = time.perf_counter()
    card["figures"] = measure(model, digits.test_images.astype(np.float32) / 255)
    card["seconds_to_measure"] = round(time.perf_counter() - start)
    trained.save(model, name, card)
    last = card["figures"]["bounds"][-1]
    return (f"{name}: L_{last['num_samples']} = {last['mean']:.2f} ± {last['standard_error']:.2f}; "
            f"{card['seconds']} s to train, {card['seconds_to_measure']} s to measure")


def measure(model, test_images: np.ndarray) -> dict:
    """L_K over all test digits with its standard error, in nats per digit."""
    x = iwae_torch.binarise(test_images, torch.Generator().manual_seed(TEST_SEED))
    values = {K: [] for K in NUM_SAMPLES}
    log_weights = iwae_torch.log_weights(model, x, max(NUM_SAMPLES), seed=TEST_SEED, progress=False)
    for rows in np.array_split(log_weights, 20):
        for K in NUM_SAMPLES:
            values[K].append(bounds.importance_weighted_bound(rows, K))
    values = {K: np.concatenate(parts) for K, parts in values.items()}
    return {
        "num_examples": len(x),
        "binarised_with_seed": TEST_SEED,
        "bounds": [{"num_samples": K, "mean": float(value.mean()),
                    "standard_error": bounds.standard_error(value)}
                   for K, value in values.items()],
    }


if __name__ == "__main__":
    main()
