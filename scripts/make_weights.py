"""Train the weights in code/genmodels/models/weights, and write a card for each.

    python scripts/make_weights.py [NAME ...]

Models of digits need the full digits: they train on the 60,000 training digits, their weights are
rounded to half precision, and only then measured on all 10,000 test digits. As many models are made
at once as there are processors, each with one thread: for matrices of this size a second thread
gains little. The cards say how long each took.

    iwae-50, iwae-5, vae-1    VAEs of digits that are binarised, anew at each step of the training,
                              and once for the measurement: L_K for K from 1 to 5,000
    unet-simple, unet-elbo    U-Nets of grey digits and their labels, one for each loss of
                              unet_torch.fit; both losses are measured
    vae-grey                  a convolutional VAE of grey digits with 16 latents: −ELBO
    vae-plane                 a dense VAE of grey digits with two latents, which a page decodes
    classifier                the share of test digits that it tells wrong
    flow-8-0.22, flow-8-0.27, flow-16-0.27
                              flows for φ⁴ at L and κ, on configurations of cluster Monte Carlo:
                              effective sample sizes. With --checkpoint FOLDER a run that has been
                              stopped goes on
    masked-spins              a network that fills in hidden spins of the Ising model, 16 × 16, at
                              three temperatures: −ELBO of other configurations, beside the entropy
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
from functools import partial

import numpy as np
import torch
from scipy.special import logsumexp
from scipy.stats import sem

from genmodels import bounds, monte_carlo
from genmodels.datasets import load_mnist
from genmodels.exact import ising
from genmodels.exact.lattice import observables
from genmodels.exact.lattice_fields import Phi4
from genmodels.lattice_diffusion import angle_heun, power_spectrum
from genmodels.models import (
    classifier_torch,
    flow_torch,
    iwae_torch,
    lattice_torch,
    masked_torch,
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
    "vae-plane": ("plane", {}, 24),
    "classifier": ("classifier", {}, 6),
    "flow-16-0.27": ("flow", {"size": 16, "kappa": 0.27, "lam": 0.022, "channels": 24}, 4),
    "flow-8-0.27": ("flow", {"size": 8, "kappa": 0.27, "lam": 0.022, "channels": 12}, 2),
    "flow-8-0.22": ("flow", {"size": 8, "kappa": 0.22, "lam": 0.022, "channels": 12}, 2),
    "masked-spins": ("masked", {}, 4),
    "lattice-odd-27": ("lattice", {"odd": True, "kappa": 0.27}, 24),
    "lattice-free-27": ("lattice", {"odd": False, "kappa": 0.27}, 24),
    "lattice-odd-22": ("lattice", {"odd": True, "kappa": 0.22}, 24),
}
DIGITS = ("iwae", "unet", "vae", "plane", "classifier")  # kinds that need them
SETTINGS = {
    "iwae": {"batch_size": 100, "recipe": "warm-up", "learning_rate": 2e-3, "seed": 0},
    "unet": {"batch_size": 128, "recipe": "warm-up", "learning_rate": 2e-3, "drop_labels": 0.1,
             "seed": 0},
    "vae": {"batch_size": 128, "recipe": "warm-up", "learning_rate": 4e-3, "seed": 0},
    "plane": {"batch_size": 128, "recipe": "warm-up", "learning_rate": 3e-3, "seed": 0},
    "classifier": {"batch_size": 128, "recipe": "warm-up", "learning_rate": 4e-3, "seed": 0},
    "flow": {"batch_size": 32, "recipe": "warm-up", "learning_rate": 3e-2, "seed": 0},
    "masked": {"batch_size": 128, "recipe": "warm-up", "learning_rate": 4e-3, "seed": 0,
               "precision": "float32"},
    "lattice": {"batch_size": 128, "recipe": "warm-up", "learning_rate": 4e-3, "seed": 0},
}
NUM_FOR_FLOWS = 8_192  # configurations of φ⁴
TEMPERATURES = [1.8, ising.CRITICAL_TEMPERATURE, 3.0]  # of the labels 0, 1, 2 of masked-spins
LATTICE_SIZE, COUPLING = 16, 0.022  # of masked-spins and lattice-…
NUM_OF_SPINS, NUM_OF_FIELDS = 20_000, 40_000  # configurations, for each temperature; for each κ
NUM_FIELD_SAMPLES, NUM_SAMPLER_STEPS = 8192, 24
NUM_SAMPLES = [1, 5, 50, 500, 5000]
TEST_SEED = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MODELS))
    parser.add_argument("--checkpoint", metavar="FOLDER", help="of flows, to go on from")
    arguments = parser.parse_args()
    names = arguments.names or list(MODELS)
    if unknown := [name for name in names if name not in MODELS]:
        parser.error(f"NAME must be one of {', '.join(MODELS)}, got {', '.join(unknown)}")
    digits_needed = any(MODELS[name][0] in DIGITS for name in names)
    if digits_needed and len((digits := load_mnist()).train_images) != 60_000:
        parser.error(f"GENMODELS_DATA must be the path of the full mnist.npz, got {digits.name}")
    workers = min(len(names), os.cpu_count() or 1)
    with concurrent.futures.ProcessPoolExecutor(
            workers, multiprocessing.get_context("spawn")) as pool:
        runs = [pool.submit(make, name, arguments.checkpoint) for name in names]
        for done in concurrent.futures.as_completed(runs):
            print(done.result(), flush=True)


def make(name: str, checkpoint: str | None = None) -> str:
    """Train, save, measure; the card is written again when the figures are there."""
    torch.set_num_threads(1)
    kind, own, num_epochs = MODELS[name]
    settings = SETTINGS[kind]
    torch.manual_seed(settings["seed"])
    if kind == "flow":
        model, fit, measure, source = flow(**own, checkpoint=checkpoint)
    elif kind == "masked":
        model, fit, measure, source = spins()
    elif kind == "lattice":
        model, fit, measure, source = fields(**own)
    else:
        model, fit, measure, source = of_digits(kind, own)
    start = time.process_time()
    history = fit(num_epochs=num_epochs, progress=False, **settings)
    card = {
        "command": f"python scripts/make_weights.py {name}",
        "data": source,
        "seed": settings["seed"],
        "training": {**own, "num_epochs": num_epochs, "num_steps": history.num_steps, **settings},
        "versions": {"python": platform.python_version(),
                     **{package: importlib.metadata.version(package)
                        for package in ("torch", "numpy")}},
        "processor": f"{platform.machine()}, {torch.get_num_threads()} threads, "
                     f"bfloat16 {cpu_has_bfloat16()}",
        "date": datetime.date.today().isoformat(),
        "seconds": round(history.seconds),
        "processor_seconds": round(time.process_time() - start),  # of this call
        "training_loss": [round(loss, 3) for loss in history["loss"]],
    }
    trained.save(model, name, card)
    trained.load(model, name)  # the rounded weights
    start = time.perf_counter()
    card["figures"] = measure()
    card["seconds_to_measure"] = round(time.perf_counter() - start)
    trained.save(model, name, card)
    *_, rows = card["figures"].values()
    figures = ", ".join(
        " ".join([str(row.get("loss") or f"L_{row['num_samples']}"), f"{row['mean']:.4g}"]
                 + [f"± {row[key]:.2g}" for key in row if key == "standard_error"])
        for row in rows)
    return (f"{name}: {figures}; "
            f"{card['seconds']} s to train, {card['seconds_to_measure']} s to measure")


def of_digits(kind: str, own: dict) -> tuple:
    """A new model, functions that train it and measure it, and what its data are."""
    digits = load_mnist()
    images, test_images = (array.astype(np.float32) / 255
                           for array in (digits.train_images, digits.test_images))
    if kind == "iwae":
        model = iwae_torch.BinaryVAE(mean_image=images.mean(axis=0))
        fit, data, measure = iwae_torch.fit, (images,), measure_bounds
    elif kind == "vae":
        model = vae_torch.ConvVAE(latent_dim=16)
        fit, data, measure = vae_torch.fit, (images,), measure_elbo
    elif kind == "plane":
        model = vae_torch.MLPVAE(latent_dim=2, hidden_dim=200, likelihood="bernoulli")
        fit, data, measure = vae_torch.fit, (images,), measure_elbo
    elif kind == "unet":
        model = unet_torch.UNet()
        fit, data, measure = unet_torch.fit, (images, digits.train_labels), measure_losses
    else:
        model = classifier_torch.Classifier()
        fit, data, measure = classifier_torch.fit, (images, digits.train_labels), measure_errors
    return (model, partial(fit, model, *data, **own),
            partial(measure, model, test_images, digits.test_labels), digits.name)


def flow(size: int, kappa: float, lam: float, channels: int, checkpoint: str | None) -> tuple:
    """A new flow for φ⁴, functions that train it and measure it, and what its data are."""
    field = Phi4(size, kappa, lam)
    x = field.sample(NUM_FOR_FLOWS, np.random.default_rng(0)).astype(np.float32)
    model = flow_torch.Flow(size, channels)
    fit = partial(flow_torch.fit, model, x, flow_torch.phi4_action(field), checkpoint=checkpoint)
    source = f"{len(x)} configurations of Phi4({size}, {kappa}, {lam}).sample, default_rng(0)"
    return model, fit, partial(measure_weights, model, field), source


def spins() -> tuple:
    """A new network for masked spins, and the same; it is measured on chains of their own."""
    pairs = []
    for number, seed in ((NUM_OF_SPINS, 0), (NUM_OF_SPINS // 10, 1)):
        x = [ising.sample(LATTICE_SIZE, temperature, number, np.random.default_rng([seed, label]))
             for label, temperature in enumerate(TEMPERATURES)]
        pairs.append((np.concatenate(x), np.repeat(np.arange(len(TEMPERATURES)), number)))
    model = masked_torch.MaskedSpins((LATTICE_SIZE, LATTICE_SIZE), num_labels=len(TEMPERATURES))
    temperatures = ", ".join(f"{temperature:.6f}" for temperature in TEMPERATURES)
    source = (f"Ising model, {LATTICE_SIZE} × {LATTICE_SIZE}, periodic, T = {temperatures} "
              f"(labels 0, 1, 2), {NUM_OF_SPINS:,} configurations each by "
              "genmodels.exact.ising.sample")
    data, held_out = pairs
    return (model, partial(masked_torch.fit, model, *data),
            partial(measure_spins, model, *held_out), source)


def fields(odd: bool, kappa: float) -> tuple:
    """A new denoiser of φ⁴, and the same; it is measured beside chains of their own."""
    phi4 = Phi4(LATTICE_SIZE, kappa, COUPLING)
    x, others = (phi4.sample(number, np.random.default_rng([seed, round(1000 * kappa)]))
                 for number, seed in ((NUM_OF_FIELDS, 1), (2 * NUM_OF_FIELDS, 2)))
    x = x.astype(np.float32)
    model = lattice_torch.LatticeDenoiser(LATTICE_SIZE, power_spectrum(x), odd=odd)
    source = (f"φ⁴, {LATTICE_SIZE} × {LATTICE_SIZE}, periodic, κ = {kappa}, λ₄ = {COUPLING}, "
              f"{NUM_OF_FIELDS:,} configurations by genmodels.exact.lattice_fields.Phi4.sample")
    return (model, partial(lattice_torch.fit, model, x),
            partial(measure_fields, model, others, phi4), source)


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


def measure_weights(model, field: Phi4) -> dict:
    """Effective sample sizes, on samples of the flow and on new ones of Monte Carlo (shares)."""
    n, rng = 4096, np.random.default_rng(1)
    x, log_q = (tensor.numpy().astype(float) for tensor in model.sample(n, TEST_SEED))
    own = -field.action(x) - log_q
    x = field.sample(n, rng).astype(np.float32)
    others = -field.action(x) - model.log_density(x).numpy()
    shares = {  # Z/⟨w⟩ over p is the share on Monte Carlo's, and 1/Z is ⟨1/w⟩ there
        "effective share, flow": monte_carlo.effective_sample_size(own) / n,
        "acceptance, flow": monte_carlo.independence_metropolis(own, rng)[1],
        "effective share, Monte Carlo": n**2 / np.exp(logsumexp(others) + logsumexp(-others)),
    }
    return {"num_examples": n, "noise_with_seed": TEST_SEED,
            "losses": [{"loss": name, "mean": float(share)} for name, share in shares.items()]}


def measure_spins(model, x: np.ndarray, labels: np.ndarray) -> dict:
    """−ELBO of all configurations of each temperature, beside the exact entropy, nats each."""
    rows = []
    for label, temperature in enumerate(TEMPERATURES):
        terms = masked_torch.loss_terms(model, x[labels == label], label, seed=TEST_SEED)
        energy = LATTICE_SIZE**2 * ising.energy(LATTICE_SIZE, temperature)
        entropy = energy / temperature + ising.log_partition(LATTICE_SIZE, temperature)
        rows.append({**row(f"−ELBO at T = {temperature:.3f}", terms), "entropy": float(entropy)})
    return {"num_examples": len(x), "hidden_with_seed": TEST_SEED, "losses": rows}


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
