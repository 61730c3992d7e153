"""Train the weights in code/genmodels/models/weights, and write a card for each.

    python scripts/make_weights.py [NAME ...]

The full digits are needed, but for lattice-…. As many models are made at once as there are
processors, each with one thread: for matrices of this size a second thread gains little. A model of
digits trains on the 60,000 training digits; its weights are rounded to half precision, and only
then measured on all 10,000 test digits. The cards say how long each took.

    iwae-50, iwae-5, vae-1    VAEs of digits that are binarised, anew at each step of the training,
                              and once for the measurement: L_K for K from 1 to 5,000
    unet-simple, unet-elbo    U-Nets of grey digits and their labels, one for each loss of
                              unet_torch.fit; both losses are measured
    vae-grey                  a convolutional VAE of grey digits with 16 latents: −ELBO
    classifier                the share of test digits that it tells wrong
    lattice-odd-27, lattice-free-27, lattice-odd-22
                              denoisers of φ⁴, 16 × 16, at κ = 0.27 and 0.22, odd networks or free
                              ones: observables of their samples, beside those in equilibrium
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
from genmodels.exact.lattice import observables
from genmodels.exact.lattice_fields import Phi4
from scipy.stats import sem

from genmodels import bounds
from genmodels.datasets import load_mnist
from genmodels.lattice_diffusion import angle_heun, power_spectrum
from genmodels.models import (
    classifier_torch,
    iwae_torch,
    lattice_torch,
    trained,
    unet_torch,
    vae_torch,
)
from genmodels.training.checks import cpu_has_bfloat16

# name: (kind, arguments of its own, epochs); the longest first
MODELS = {
    "iwae-50": ("iwae", {"num_importance_samples": 50}, 160),
    "iwae-5": ("iwae", {"num_importance_samples": 5}, 300),
    "unet-simple": ("unet", {"loss": "simple"}, 12),
    "unet-elbo": ("unet", {"loss": "elbo"}, 12),
    "vae-1": ("iwae", {"num_importance_samples": 1}, 400),
    "vae-grey": ("vae", {}, 10),
    "classifier": ("classifier", {}, 6),
    "lattice-odd-27": ("lattice", {"odd": True, "kappa": 0.27}, 24),
    "lattice-free-27": ("lattice", {"odd": False, "kappa": 0.27}, 24),
    "lattice-odd-22": ("lattice", {"odd": True, "kappa": 0.22}, 24),
}
SETTINGS = {
    "iwae": {"batch_size": 100, "recipe": "warm-up", "learning_rate": 2e-3, "seed": 0},
    "unet": {"batch_size": 128, "recipe": "warm-up", "learning_rate": 2e-3, "drop_labels": 0.1,
             "seed": 0},
    "vae": {"batch_size": 128, "recipe": "warm-up", "learning_rate": 4e-3, "seed": 0},
    "classifier": {"batch_size": 128, "recipe": "warm-up", "learning_rate": 4e-3, "seed": 0},
    "lattice": {"batch_size": 128, "recipe": "warm-up", "learning_rate": 4e-3, "seed": 0},
}
LATTICE_SIZE, COUPLING, NUM_FIELDS = 16, 0.022, 40_000
NUM_FIELD_SAMPLES, NUM_SAMPLER_STEPS = 8192, 24
NUM_SAMPLES = [1, 5, 50, 500, 5000]
TEST_SEED = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MODELS))
    names = parser.parse_args().names or list(MODELS)
    if unknown := [name for name in names if name not in MODELS]:
        parser.error(f"NAME must be one of {', '.join(MODELS)}, got {', '.join(unknown)}")
    loaded = load_mnist()
    if any(MODELS[name][0] != "lattice" for name in names) and len(loaded.train_images) != 60_000:
        parser.error(f"GENMODELS_DATA must be the path of the full mnist.npz, got {loaded.name}")
    workers = min(len(names), os.cpu_count() or 1)
    with concurrent.futures.ProcessPoolExecutor(
            workers, multiprocessing.get_context("spawn")) as pool:
        for done in concurrent.futures.as_completed([pool.submit(make, name) for name in names]):
            print(done.result(), flush=True)


def make(name: str) -> str:
    """Train, save, measure; the card is written again when the figures are there."""
    torch.set_num_threads(1)
    kind, own, num_epochs = MODELS[name]
    settings = SETTINGS[kind]
    torch.manual_seed(settings["seed"])
    (images, labels), held_out, source = fields(**own) if kind == "lattice" else digits()
    if kind == "iwae":
        model = iwae_torch.BinaryVAE(mean_image=images.mean(axis=0))
        fit, data, measure = iwae_torch.fit, (images,), measure_bounds
    elif kind == "vae":
        model = vae_torch.ConvVAE(latent_dim=16)
        fit, data, measure = vae_torch.fit, (images,), measure_elbo
    elif kind == "unet":
        model = unet_torch.UNet()
        fit, data, measure = unet_torch.fit, (images, labels), measure_losses
    elif kind == "lattice":
        model = lattice_torch.LatticeDenoiser(LATTICE_SIZE, power_spectrum(images), odd=own["odd"])
        fit, data, measure, own = lattice_torch.fit, (images,), measure_fields, {}
    else:
        model = classifier_torch.Classifier()
        fit, data, measure = classifier_torch.fit, (images, labels), measure_errors
    history = fit(model, *data, **own, num_epochs=num_epochs, progress=False, **settings)
    card = {
        "command": f"python scripts/make_weights.py {name}",
        "data": source,
        "seed": settings["seed"],
        "training": {**MODELS[name][1], "num_epochs": num_epochs, "num_steps": history.num_steps,
                     **settings},
        "versions": {"python": platform.python_version(),
                     **{package: importlib.metadata.version(package)
                        for package in ("torch", "numpy")}},
        "processor": f"{platform.machine()}, {torch.get_num_threads()} threads, "
                     f"bfloat16 {cpu_has_bfloat16()}",
        "date": datetime.date.today().isoformat(),
        "seconds": round(history.seconds),
        "training_loss": [round(loss, 3) for loss in history["loss"]],
    }
    trained.save(model, name, card)
    trained.load(model, name)  # the rounded weights
    start = time.perf_counter()
    card["figures"] = measure(model, *held_out)
    card["seconds_to_measure"] = round(time.perf_counter() - start)
    trained.save(model, name, card)
    *_, rows = card["figures"].values()
    figures = ", ".join(" ".join([str(row.get("loss") or f"L_{row['num_samples']}"),
                                  f"{row['mean']:.4g} ± {row['standard_error']:.2g}"])
                        for row in rows)
    return (f"{name}: {figures}; "
            f"{card['seconds']} s to train, {card['seconds_to_measure']} s to measure")


def digits() -> tuple:
    """Training images and labels, those of the test set, and what they are."""
    loaded = load_mnist()
    images, test_images = (array.astype(np.float32) / 255
                           for array in (loaded.train_images, loaded.test_images))
    return (images, loaded.train_labels), (test_images, loaded.test_labels), loaded.name


def fields(kappa: float, **_) -> tuple:
    """Configurations to train on, others from chains of their own, and what they are."""
    phi4 = Phi4(LATTICE_SIZE, kappa, COUPLING)
    x, others = (phi4.sample(number, np.random.default_rng([seed, round(1000 * kappa)]))
                 for number, seed in ((NUM_FIELDS, 1), (2 * NUM_FIELDS, 2)))
    return (x.astype(np.float32), None), (others, phi4), (
        f"φ⁴, {LATTICE_SIZE} × {LATTICE_SIZE}, periodic, κ = {kappa}, λ₄ = {COUPLING}, "
        f"{NUM_FIELDS:,} configurations by genmodels.exact.lattice_fields.Phi4.sample")


def measure_bounds(model, test_images: np.ndarray, _) -> dict:
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
                    "standard_error": float(sem(value))}
                   for K, value in values.items()],
    }


def measure_losses(model, test_images: np.ndarray, test_labels: np.ndarray) -> dict:
    """Both losses over all test digits with their standard errors, "elbo" in nats per digit."""
    return {
        "num_examples": len(test_images),
        "noise_with_seed": TEST_SEED,
        "losses": [row(loss, unet_torch.loss_terms(model, test_images, test_labels, loss=loss,
                                                   seed=TEST_SEED))
                   for loss in ("simple", "elbo")],
    }


def measure_elbo(model, test_images: np.ndarray, _) -> dict:
    """−ELBO and KL over all test digits, nats per digit."""
    log_likelihood, kl = vae_torch.evaluate(model, test_images, seed=TEST_SEED)
    return {"num_examples": len(test_images), "noise_with_seed": TEST_SEED,
            "losses": [row("−ELBO", kl - log_likelihood), row("KL", kl)]}


def measure_errors(model, test_images: np.ndarray, test_labels: np.ndarray) -> dict:
    """The share of all test digits that the classifier tells wrong."""
    return {"num_examples": len(test_images),
            "losses": [row("share wrong", model.classify(test_images) != test_labels)]}


def measure_fields(model, others: np.ndarray, phi4: Phi4) -> dict:
    """Observables of samples by the sampler in the angle, beside those in equilibrium."""
    noise = np.random.default_rng([TEST_SEED, 3]).standard_normal(
        (NUM_FIELD_SAMPLES, LATTICE_SIZE, LATTICE_SIZE))
    x = angle_heun(model.denoiser(), model.power.numpy(), noise, num_steps=NUM_SAMPLER_STEPS)
    found, right = (observables(each, phi4.action(each) / LATTICE_SIZE**2) for each in (x, others))
    return {"num_samples": len(x), "num_steps": NUM_SAMPLER_STEPS,
            "num_in_equilibrium": len(others),
            "losses": [{"loss": name, "mean": found[name][0], "standard_error": found[name][1],
                        "in_equilibrium": right[name][0], "its_standard_error": right[name][1]}
                       for name in found if name != "G"]}


def row(name: str, values: np.ndarray) -> dict:
    """The mean of one value for each digit."""
    return {"loss": name, "mean": float(values.mean()),
            "standard_error": float(sem(values.astype(float)))}


if __name__ == "__main__":
    main()
