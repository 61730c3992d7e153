"""A VAE and diffusion models of digits, measured alike on held-out digits.

    python benchmarks/diffusion_digits.py [--again]

The full digits are needed, and the weights of `make weights`. Writes results/diffusion_digits.md:
bits per dimension on all 10,000 test digits, term by term; the Fréchet distance to the 60,000
training digits, precision and recall in the features of the classifier, for 3 seeds of 300 images
each; how often the classifier sees the digit that was asked for; milliseconds a sample. Rows that
were measured before are kept, in results/diffusion_digits.json; --again measures all anew. Rows are
measured side by side, each with one thread; the milliseconds alone, with all threads.
"""

import argparse
import concurrent.futures
import datetime
import json
import math
import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
import torch

from genmodels import bounds, diffusion, trained, vae_torch
from genmodels.datasets import load_mnist
from genmodels.denoising import LOG_SNR_RANGE, grey_decoder
from genmodels.diffusion import NoiseSchedule
from genmodels.diffusion_torch import UNet
from genmodels.sample_quality import Classifier, frechet_distance, precision_and_recall

RESULTS = Path(__file__).parent / "results"
SEEDS, NUM_IMAGES, NUM_REAL = (0, 1, 2), 300, 2000
LATENT_DIM = 16  # of the VAE
STEPS = (10, 20, 50, 100, 1000)
GUIDANCE_STEPS, WEIGHTS = 50, (0.0, 1.0, 2.0, 4.0)

# name: (how, steps, guidance weight or None)
ROWS = {"held-out digits": ("digits", 0, None), "VAE": ("vae", 0, None),
        **{f"DDIM, {n} steps": ("ddim", n, None) for n in STEPS},
        "ancestral, 1000 steps": ("ancestral", 1000, None),
        "ancestral, 50 steps": ("ancestral", 50, None),
        "ODE solver, tolerance 1e-3": ("ode", 0, None),
        **{f"guided, weight {w:g}": ("ddim", GUIDANCE_STEPS, w) for w in WEIGHTS}}


def make_images(name: str, seed: int, num_images: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Images (n, 28, 28) in [0, 1], and the labels asked for, (n,), if there are any."""
    how, steps, weight = ROWS[name]
    if how == "digits":  # other ones for each seed
        test = load_mnist().test_images[seed * num_images:(seed + 1) * num_images]
        return test.astype(np.float32) / 255, None
    if how == "vae":
        model = vae_torch.ConvVAE(latent_dim=LATENT_DIM)
        trained.load(model, "vae-grey")
        return model.sample(num_images, seed=seed).numpy(), None
    model = UNet()
    trained.load(model, "unet-simple")
    rng = np.random.default_rng([seed, 1])
    noise = rng.standard_normal((num_images, 28, 28)).astype(np.float32)
    schedule = NoiseSchedule.linear(steps or 1000)
    labels, denoiser = None, model.denoiser()
    if weight is not None:
        labels = np.arange(num_images) % 10
        denoiser = diffusion.guided(model.denoiser(labels), denoiser, weight)
    if how == "ddim":
        x = diffusion.ddim(denoiser, schedule, noise)
    elif how == "ode":
        x = diffusion.ode(denoiser, schedule, noise, tolerance=1e-3)
    else:
        x = diffusion.ancestral(denoiser, schedule, noise, rng)
    return np.clip((x + 1) / 2, 0, 1).astype(np.float32), labels


def measure_images(name: str, seed: int) -> dict:
    """Fréchet distance, precision, recall, accuracy of one row and seed."""
    torch.set_num_threads(1)
    digits, classifier = load_mnist(), Classifier()
    trained.load(classifier, "classifier")
    real = classifier.features(digits.train_images.astype(np.float32) / 255)  # (60,000, 32)
    images, labels = make_images(name, seed, NUM_IMAGES)
    features = classifier.features(images)
    some = np.random.default_rng(0).choice(len(real), NUM_REAL, replace=False)
    precision, recall = precision_and_recall(real[some], features)
    row = {"frechet": frechet_distance(real, features), "precision": precision, "recall": recall}
    if labels is not None:
        row["accuracy"] = float(np.mean(classifier.classify(images) == labels))
    return row


def precision_by_choice(name: str) -> list[float]:
    """Precision of the images of seed 0 against five choices of real digits."""
    digits, classifier = load_mnist(), Classifier()
    trained.load(classifier, "classifier")
    real = classifier.features(digits.train_images.astype(np.float32) / 255)
    features = classifier.features(make_images(name, 0, NUM_IMAGES)[0])
    choices = [np.random.default_rng(i).choice(len(real), NUM_REAL, replace=False)
               for i in range(5)]
    return [precision_and_recall(real[choice], features)[0] for choice in choices]


def measure_bits(name: str, part: int, num_parts: int) -> dict:
    """The terms of −ELBO for a part of the test digits, in nats, one list each."""
    torch.set_num_threads(1)
    digits, model = load_mnist(), UNet()
    trained.load(model, name)
    counts = np.bincount(digits.train_images.ravel(), minlength=256) + 1
    decoder = grey_decoder(counts / counts.sum())
    x0 = 2 * np.array_split(digits.test_images, num_parts)[part].astype(np.float32) / 255 - 1
    # a thousand steps, even in log SNR, between the end points of the training
    schedule = NoiseSchedule(1 / (1 + np.exp(-np.linspace(*LOG_SNR_RANGE[::-1], 1000))))
    rng = np.random.default_rng([0, part])
    terms = {"reconstruction": [], "prior matching": [], "denoising matching": []}
    for batch in np.array_split(x0, math.ceil(len(x0) / 50)):
        # one of the first quarter of all times, one of the second, …: unbiased for the sum
        strata = np.array_split(np.arange(2, schedule.num_steps + 1), 4)
        times = [int(rng.choice(stratum)) for stratum in strata]
        got = diffusion.elbo_terms(model.denoiser(), schedule, batch, rng, times=times,
                                   decoder=decoder)
        terms["reconstruction"] += (-got.reconstruction).tolist()
        terms["prior matching"] += got.prior_matching.tolist()
        sizes = np.array([len(stratum) for stratum in strata])
        terms["denoising matching"] += (got.denoising_matching @ sizes).tolist()
    return terms


def milliseconds(name: str) -> float:
    """Time of one image, of a batch of 50, with all threads."""
    make_images(name, 0, 50)
    start = time.perf_counter()
    make_images(name, 1, 50)
    return 1000 * (time.perf_counter() - start) / 50


def mean_and_error(values) -> str:
    values = np.asarray(values)
    return f"{values.mean():.3f} ± {bounds.standard_error(values):.3f}"


def report(results: dict) -> str:
    lines = ["# Digits: a VAE and diffusion models, by the same measures", "",
             f"`python benchmarks/diffusion_digits.py`, {results['date']}, full MNIST.", "",
             "## Bits per dimension", "",
             "All 10,000 test digits, 784 pixels of 8 bits each; −ELBO in bits a pixel, ± standard",
             "error over digits. 1,000 steps, even in log SNR from "
             f"{LOG_SNR_RANGE[1]:.2f} to −{-LOG_SNR_RANGE[0]:.2f}; no labels.", "",
             "| weights | reconstruction | prior matching | denoising matching | in all |",
             "| --- | --- | --- | --- | --- |"]
    for name, terms in results["bits"].items():
        cells = " | ".join(f"{mean:.4f} ± {error:.4f}" for mean, error in terms.values())
        lines.append(f"| {name} | {cells} |")
    lines += ["", "## Images", "",
              f"{len(SEEDS)} seeds of {NUM_IMAGES} images each, ± standard error over seeds. "
              "Fréchet distance to the 60,000",
              f"training digits; precision and recall against {NUM_REAL} of them, 3 neighbours. "
              "The first row is the floor:", "test digits, as many as were made. Two things let "
              "guided images fall below it: they have equal numbers of",
              "all digits, which 300 test digits have not, and the test digits are by other "
              "writers than the training digits.",
              "Network: unet-simple. Accuracy: the share in which the classifier sees the digit "
              "asked for (weight 0 ignores it).",
              f"Milliseconds: batches of 50, {results['threads']} threads.", "",
              "| images | Fréchet distance | precision | recall | accuracy | ms a sample |",
              "| --- | --- | --- | --- | --- | --- |"]
    for name, seeds in results["images"].items():
        cells = [mean_and_error([s[key] for s in seeds.values()]) for key in
                 ("frechet", "precision", "recall")]
        first = next(iter(seeds.values()))
        cells.append(mean_and_error([s["accuracy"] for s in seeds.values()])
                     if "accuracy" in first else "")
        ms = results["milliseconds"].get(name)
        cells.append("" if ms is None else f"{ms:.3g}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", "These standard errors do not contain the choice of the "
              f"{NUM_REAL} real digits, the same in all rows. Precision of seed 0",
              "against five choices: " + "; ".join(
                  f"{name} " + ", ".join(f"{value:.2f}" for value in values)
                  for name, values in results["precision_by_choice"].items())
              + ".", "The VAE's soft strokes have small features, where a few real digits far "
              "from all others decide."]
    accuracy = results["classifier_accuracy"]
    lines += ["", f"The classifier itself is right about {accuracy:.4f} of the 10,000 test digits.",
              ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--again", action="store_true", help="measure what is there, too")
    again = parser.parse_args().again
    digits = load_mnist()
    if len(digits.train_images) != 60_000:
        parser.error(f"the full digits are needed, got {digits.name}")
    path = RESULTS / "diffusion_digits.json"
    results = {"bits": {}, "images": {}, "milliseconds": {}}
    if path.exists() and not again:
        results = json.loads(path.read_text(encoding="utf-8"))
    classifier = Classifier()
    trained.load(classifier, "classifier")
    guesses = classifier.classify(digits.test_images.astype(np.float32) / 255)
    results["classifier_accuracy"] = float(np.mean(guesses == digits.test_labels))
    results["precision_by_choice"] = {name: precision_by_choice(name) for name in
                                      ("held-out digits", "VAE", "DDIM, 10 steps")}
    results |= {"date": datetime.date.today().isoformat(), "threads": torch.get_num_threads()}

    def save():
        results["images"] = {name: results["images"][name] for name in ROWS
                             if name in results["images"]}
        path.write_text(json.dumps(results) + "\n", encoding="utf-8")
        path.with_suffix(".md").write_text(report(results), encoding="utf-8")

    num_parts = 20
    with concurrent.futures.ProcessPoolExecutor(
            os.cpu_count() or 1, multiprocessing.get_context("spawn")) as pool:
        bits = {name: [pool.submit(measure_bits, name, part, num_parts)
                       for part in range(num_parts)]
                for name in ("unet-simple", "unet-elbo") if name not in results["bits"]}
        images = {name: {seed: pool.submit(measure_images, name, seed) for seed in SEEDS}
                  for name in ROWS if name not in results["images"]}
        for name, parts in bits.items():
            terms = [part.result() for part in parts]
            terms = {key: np.concatenate([t[key] for t in terms]) / (784 * math.log(2))
                     for key in terms[0]}  # (10,000,) each, bits a pixel
            terms["in all"] = sum(terms.values())
            results["bits"][name] = {key: [value.mean(), bounds.standard_error(value)]
                                     for key, value in terms.items()}
            save()
        for name, seeds in images.items():
            results["images"][name] = {seed: future.result() for seed, future in seeds.items()}
            save()
            print(f"{name}: {results['images'][name]}", flush=True)
    for name in ROWS:  # with nothing beside it
        if name != "held-out digits" and name not in results["milliseconds"]:
            results["milliseconds"][name] = milliseconds(name)
            print(f"{name}: {results['milliseconds'][name]:.3g} ms a sample", flush=True)
    save()
    print(report(results))


if __name__ == "__main__":
    main()
