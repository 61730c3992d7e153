"""A VAE and diffusion models of digits, measured alike, beside test digits.

    python benchmarks/diffusion_digits.py [--again] [--processes N]

The full digits are needed, and the weights of `make weights`, which have seen the 60,000 training
digits and none of the 10,000 test digits. Writes results/diffusion_digits.md: bits per dimension on
all test digits, term by term, and what other last steps cost; the Fréchet distance to the training
digits, precision and recall in the features of the classifier, for 3 seeds of 300 images each; how
these depend on the choice of real digits; how often the classifier sees the digit that was asked
for; milliseconds a sample. What was measured before is kept, in results/diffusion_digits.json;
--again measures all anew. N processes, one for each core if not given, measure side by side, each
with one thread; the milliseconds alone, with all threads.
"""

import argparse
import concurrent.futures
import datetime
import functools
import json
import math
import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
import torch
from scipy.integrate import cumulative_trapezoid
from scipy.spatial.distance import cdist
from scipy.stats import binomtest, sem

from genmodels import diffusion
from genmodels.datasets import load_mnist
from genmodels.diffusion import NoiseSchedule
from genmodels.models import trained, vae_torch
from genmodels.models.classifier_torch import Classifier
from genmodels.models.denoising import LOG_SNR_RANGE, counted_decoder, grey_decoder
from genmodels.models.unet_torch import UNet
from genmodels.sample_quality import frechet_distance, precision_and_recall

RESULTS = Path(__file__).parent / "results"
SEEDS, NUM_IMAGES, NUM_REAL = (0, 1, 2), 300, 2000
NUM_COUNTED, NUM_TENTHS = 5000, 10  # training digits of the decoder; parts of the test digits
NUM_DECODED = 1000  # test digits for the comparison of decoders
NUM_CHOICES, NUM_FLOORS = 10, 16  # of real digits; of sets of NUM_IMAGES real ones
LATENT_DIM = 16  # of the VAE
STEPS = (10, 20, 50, 100, 1000)
GUIDANCE_STEPS, WEIGHTS = 50, (0.0, 1.0, 2.0, 4.0)

# name: (how, steps, guidance weight or None)
ROWS = {"test digits": ("digits", 0, None), "VAE": ("vae", 0, None),
        **{f"DDIM, {n} steps": ("ddim", n, None) for n in STEPS},
        "ancestral, 1000 steps": ("ancestral", 1000, None),
        "ancestral, 50 steps": ("ancestral", 50, None),
        "ODE solver, tolerance 1e-3": ("ode", 0, None),
        **{f"guided, weight {w:g}": ("ddim", GUIDANCE_STEPS, w) for w in WEIGHTS}}
CHOICE_ROWS = ("test digits", "VAE", "DDIM, 10 steps")


def make_images(name: str, seed: int, num_images: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Images (n, 28, 28) in [0, 1], and the labels asked for, (n,), if there are any."""
    how, steps, weight = ROWS[name]
    if how == "digits":  # of all test digits, whose halves differ; other ones for each seed
        test = load_mnist().test_images
        chosen = np.random.default_rng(0).permutation(len(test))[seed * num_images:][:num_images]
        return test[chosen].astype(np.float32) / 255, None
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


@functools.cache
def classifier_and_features() -> tuple[Classifier, np.ndarray, np.ndarray]:
    """The classifier, and features (60,000, 32) and (10,000, 32) of training and test digits."""
    digits, classifier = load_mnist(), Classifier()
    trained.load(classifier, "classifier")
    return classifier, *(classifier.features(images.astype(np.float32) / 255)
                         for images in (digits.train_images, digits.test_images))


def measure_images(name: str, seed: int) -> dict:
    """Fréchet distance, precision, recall, accuracy of one row and seed."""
    torch.set_num_threads(1)
    classifier, real, _ = classifier_and_features()
    images, labels = make_images(name, seed, NUM_IMAGES)
    features = classifier.features(images)
    some = np.random.default_rng(0).choice(len(real), NUM_REAL, replace=False)
    precision, recall = precision_and_recall(real[some], features)
    row = {"frechet": frechet_distance(real, features), "precision": precision, "recall": recall}
    if labels is not None:
        row["accuracy"] = float(np.mean(classifier.classify(images) == labels))
    return row


def measure_choices(name: str) -> dict:
    """Precision and recall of a row, all seeds in one set, against ten choices of real digits.

    Also the precision without the 1 % of the real digits that lie farthest from their neighbours.
    """
    torch.set_num_threads(1)
    classifier, real, _ = classifier_and_features()
    features = np.concatenate([classifier.features(make_images(name, seed, NUM_IMAGES)[0])
                               for seed in SEEDS])  # (900, 32)
    row = {"precision": [], "recall": [], "trimmed": [], "length": [
        float(np.linalg.norm(f, axis=1).mean()) for f in (real, features)]}
    for choice in range(NUM_CHOICES):
        some = real[np.random.default_rng(choice).choice(len(real), NUM_REAL, replace=False)]
        precision, recall = precision_and_recall(some, features)
        radii = np.partition(cdist(some, some), 3, axis=1)[:, 3]  # the 0th is the point itself
        within = cdist(some, features) <= radii[:, None]  # (2000, 900)
        assert within.any(axis=0).mean() == precision  # the same sets
        row["precision"].append(precision)
        row["recall"].append(recall)
        row["trimmed"].append(float(within[radii <= np.quantile(radii, 0.99)].any(axis=0).mean()))
    return row


def measure_floors() -> dict:
    """Fréchet distances to the training digits of sets of real digits from different places."""
    torch.set_num_threads(1)
    _, real, test = classifier_and_features()
    floors = {}
    for name, pool in (("first half of the test digits", test[:5000]),
                       ("second half of the test digits", test[5000:]),
                       ("all test digits", test), ("training digits", real)):
        order = np.random.default_rng(0).permutation(len(pool))  # no digit is in two sets
        floors[name] = [frechet_distance(real, pool[order[i * NUM_IMAGES:][:NUM_IMAGES]])
                        for i in range(NUM_FLOORS)]
    return floors


def elbo_samples(denoiser, schedule: NoiseSchedule, x0: np.ndarray, rng: np.random.Generator,
                 decoder) -> np.ndarray:
    """The three terms of −ELBO in nats, (n, 3): each digit has noise levels of its own.

    Of the denoising terms one of the first quarter of all times is drawn, one of the second, …:
    unbiased for their sum. Digits that share no draw are independent, and so are their values.
    """
    first = diffusion.elbo_terms(denoiser, schedule, x0, rng, times=[], decoder=decoder)
    strata = np.array_split(np.arange(2, schedule.num_steps + 1), 4)
    times = np.stack([rng.choice(stratum, len(x0)) for stratum in strata], axis=1)  # (n, 4)
    matching = np.empty(times.shape)
    for t in np.unique(times).tolist():  # digits that happen to have the same level, at once
        rows, columns = np.nonzero(times == t)
        mean, variance = schedule.forward_moments(x0[rows], t)
        xt = mean + math.sqrt(variance) * rng.standard_normal(mean.shape)
        squares = ((x0[rows] - denoiser(xt, schedule.alpha_bar(t))) ** 2).sum(axis=(1, 2))
        matching[rows, columns] = 0.5 * (schedule.snr(t - 1) - schedule.snr(t)) * squares  # D5
    sizes = [len(stratum) for stratum in strata]
    return np.stack([-first.reconstruction, first.prior_matching, matching @ sizes], axis=1)


def measure_bits(name: str) -> dict:
    """Means and standard errors of the terms of −ELBO of all test digits, in bits a pixel.

    "tenths" are the means of ten parts of the test digits, in random order; "decoders" the
    reconstruction by three decoders that all see the same x_1, and what each gains on the first.
    """
    torch.set_num_threads(1)
    digits, model, rng = load_mnist(), UNet(), np.random.default_rng(0)
    trained.load(model, name)
    denoiser = model.denoiser()
    train, test = (2 * images.astype(np.float32) / 255 - 1
                   for images in (digits.train_images, digits.test_images))
    # a thousand steps, even in log SNR, between the end points of the training
    schedule = NoiseSchedule(1 / (1 + np.exp(-np.linspace(*LOG_SNR_RANGE[::-1], 1000))))
    variance = 1 / schedule.snr(1)

    def noisy_and_denoised(x0):
        mean, noise_variance = schedule.forward_moments(x0, 1)
        x1 = mean + math.sqrt(noise_variance) * rng.standard_normal(x0.shape)
        return x1, denoiser(x1, schedule.alpha_bar(1))

    some = train[rng.choice(len(train), NUM_COUNTED, replace=False)]
    counted = counted_decoder(some, noisy_and_denoised(some)[1])
    counts = np.bincount(digits.train_images.ravel(), minlength=256) + 1
    grey = grey_decoder(counts / counts.sum())
    test = test[rng.permutation(len(test))]
    terms = elbo_samples(denoiser, schedule, test, rng, counted) / (784 * math.log(2))
    test = test[:NUM_DECODED]
    x1, estimates = noisy_and_denoised(test)
    decoders = -np.stack([
        grey(test, x1 / math.sqrt(schedule.alpha_bar(1)), variance),
        grey(test, estimates, variance), counted(test, estimates, variance),
    ], axis=1) / (784 * math.log(2))
    names = "Bayes' rule for x_1", "Gaussian around x̂_0", "counted, given x̂_0"
    total = terms.sum(axis=1)
    columns = dict(zip(("reconstruction", "prior matching", "denoising matching"), terms.T))
    return {
        "terms": {key: [value.mean(), sem(value)]
                  for key, value in (columns | {"in all": total}).items()},
        "tenths": [part.mean() for part in np.array_split(total, NUM_TENTHS)],
        "decoders": {key: [value.mean(), sem(value),
                           (decoders[:, 0] - value).mean(),
                           sem(decoders[:, 0] - value)]
                     for key, value in zip(names, decoders.T)}}


def measure_first_levels() -> dict:
    """What another first noise level would change, for unet-elbo: bits a pixel, (mean, error).

    The reconstruction by counting at each level, with 2,000 training digits, and the denoising
    terms from there to log SNR 7, in continuous time: ½ ∫ SNR |x_0 − x̂_0|² dλ by trapezoids (D5).
    Beyond the range of its training the network is told the last level of that range.
    """
    torch.set_num_threads(1)
    digits, model, rng = load_mnist(), UNet(), np.random.default_rng(0)
    trained.load(model, "unet-elbo")
    train, test = (2 * images[rng.permutation(len(images))[:n]].astype(np.float32) / 255 - 1
                   for images, n in ((digits.train_images, 2000), (digits.test_images, 500)))

    def estimates(x0, level):
        a, s = np.float32(1 / np.sqrt(1 + np.exp([-level, level])))
        x = a * x0 + s * rng.standard_normal(x0.shape, dtype=np.float32)
        told = min(level, LOG_SNR_RANGE[1])
        with torch.no_grad():
            v = np.concatenate([
                model(part, torch.full((len(part),), told), torch.full((len(part),), 10)).numpy()
                for part in torch.from_numpy(x).split(50)])
        return a * x - s * v

    levels = np.array([7, 7.5, 8, 8.5, LOG_SNR_RANGE[1], 9.5, 10, 10.5, 11])
    reconstruction, rates = [], []
    for level in levels:
        of_test = estimates(test, level)
        decoder = counted_decoder(train, estimates(train, level))
        reconstruction.append(-decoder(test, of_test, 1 / math.exp(level)))
        rates.append(0.5 * math.exp(level) * ((test - of_test) ** 2).sum(axis=(1, 2)))
    matching = cumulative_trapezoid(rates, levels, axis=0, initial=0)  # (level, digit)
    bits = np.stack([reconstruction, matching, reconstruction + matching]) / (784 * math.log(2))
    bits[2] -= bits[2, list(levels).index(LOG_SNR_RANGE[1])]
    return {f"{level:.2f}": [math.exp(-level / 2) * 255 / 2, *(
        [value.mean(), sem(value)] for value in terms)]
        for level, terms in zip(levels, bits.swapaxes(0, 1))}


def milliseconds(name: str) -> float:
    """Time of one image, of a batch of 50, with all threads."""
    make_images(name, 0, 50)
    start = time.perf_counter()
    make_images(name, 1, 50)
    return 1000 * (time.perf_counter() - start) / 50


def mean_and_error(values) -> str:
    values = np.asarray(values)
    return f"{values.mean():.3f} ± {sem(values):.3f}"


def share(shares, n: int) -> str:
    """A share among images of all seeds, n a seed, with Wilson's interval of 95 %."""
    count, n = round(sum(shares) * n), n * len(shares)
    low, high = binomtest(count, n).proportion_ci(method="wilson")
    return f"{count / n:.3f} ({low:.3f} to {high:.3f})"


def report(results: dict) -> str:
    lines = ["# Digits: a VAE and diffusion models, by the same measures", "",
             f"`python benchmarks/diffusion_digits.py`, last on {results['date']}, full MNIST. All "
             "weights, those of the classifier too, have seen the",
             "60,000 training digits, and no test digit.", "",
             "## Bits per dimension", "",
             "All 10,000 test digits, 784 pixels of 8 bits each; −ELBO in bits a pixel, ± standard "
             "error over digits, each of which",
             "has noise levels and noise of its own. 1,000 steps, even in log SNR from "
             f"{LOG_SNR_RANGE[1]:.2f} to −{-LOG_SNR_RANGE[0]:.2f}; no labels; the decoder has "
             "counted", f"grey levels in {NUM_COUNTED:,} training digits. Seed 0.", "",
             "| weights | reconstruction | prior matching | denoising matching | in all |",
             "| --- | --- | --- | --- | --- |"]
    for name, row in sorted(results["bits"].items(), reverse=True):
        cells = " | ".join(f"{mean:.4f} ± {error:.4f}" for mean, error in row["terms"].values())
        lines.append(f"| {name} | {cells} |")
    lines += ["", f"The standard error against the spread of {NUM_TENTHS} repetitions: the test "
              "digits in random order, cut in ten. The",
              "standard deviation of the ten means, over √10, estimates the error of the whole, to "
              f"±{1 / math.sqrt(2 * (NUM_TENTHS - 1)):.0%} of itself.", "",
              "| weights | standard error of \"in all\" | from the ten means |",
              "| --- | --- | --- |"]
    for name, row in sorted(results["bits"].items(), reverse=True):
        spread = sem(row["tenths"])
        lines.append(f"| {name} | {row['terms']['in all'][1]:.4f} | {spread:.4f} ± "
                     f"{spread / math.sqrt(2 * (NUM_TENTHS - 1)):.4f} |")
    first = results["bits"]["unet-elbo"]["terms"]
    width = math.exp(-LOG_SNR_RANGE[1] / 2) * 255 / 2
    lines += ["", "The last step, from x_1 to grey levels. The noise of x_1/√α̅_1 has the standard "
              f"deviation of {width:.2f} level spacings, so x_1 does",
              f"not tell the level, and {first['reconstruction'][0] / first['in all'][0]:.0%} of "
              "all bits of unet-elbo are spent here. Three decoders of the same x_1, for "
              f"{NUM_DECODED:,} of", "the test digits, and what is saved against the first, in "
              "bits a pixel:", "",
              "| weights | decoder | reconstruction | saved |", "| --- | --- | --- | --- |"]
    for name, row in sorted(results["bits"].items(), reverse=True):
        for decoder, (mean, error, gain, gain_error) in row["decoders"].items():
            saved = f"{gain:.4f} ± {gain_error:.4f}".replace("-", "−") if gain_error else ""
            lines.append(f"| {name} | {decoder} | {mean:.4f} ± {error:.4f} | {saved} |")
    lines += ["", "Another first noise level moves bits between the terms. For unet-elbo and 500 "
              "test digits: the noise of x_1 in level spacings;",
              "the reconstruction by counting in 2,000 training digits; the denoising terms from "
              "there to log SNR 7, in continuous time; and",
              f"what both change in all, against {LOG_SNR_RANGE[1]:.2f}, the last level of the "
              "training. Beyond it the network is told this level.", "",
              "| first log SNR | noise | reconstruction | denoising | change in all |",
              "| --- | --- | --- | --- | --- |"]
    for level, (noise, *terms) in results["first_levels"].items():
        cells = " | ".join(f"{mean:.4f} ± {error:.4f}" for mean, error in terms)
        lines.append(f"| {level} | {noise:.2f} | {cells} |".replace("-", "−"))
    lines += ["", "## Images", "",
              f"Seeds {', '.join(map(str, SEEDS))} of {NUM_IMAGES} images each. Fréchet distance "
              f"to the 60,000 training digits; precision and recall against {NUM_REAL}",
              "of them, the same in all rows, 3 neighbours. Fréchet distance and recall: ± "
              "standard error over the seeds,",
              "which three seeds tell only to about a half. Precision and accuracy are shares of "
              f"{len(SEEDS) * NUM_IMAGES} images: with Wilson's interval of 95 %, for these real",
              "digits. The first row is the floor: test digits, as many as were made, at random. "
              "Guided images can come as near, perhaps",
              "since they have equal numbers of all digits. Network: unet-simple. Accuracy: the "
              "share in which the classifier sees the", "digit asked for (weight 0 ignores it).",
              f"Milliseconds: batches of 50, {results['threads']} threads.", "",
              "| images | Fréchet distance | precision | recall | accuracy | ms a sample |",
              "| --- | --- | --- | --- | --- | --- |"]
    for name, seeds in results["images"].items():
        frechet, precision, recall = ([s[key] for s in seeds.values()] for key in
                                      ("frechet", "precision", "recall"))
        accuracy = [s["accuracy"] for s in seeds.values() if "accuracy" in s]
        ms = results["milliseconds"].get(name)
        lines.append(f"| {name} | {mean_and_error(frechet)} | {share(precision, NUM_IMAGES)} | "
                     f"{mean_and_error(recall)} | "
                     f"{share(accuracy, NUM_IMAGES) if accuracy else ''} | "
                     f"{'' if ms is None else f'{ms:.3g}'} |")
    lines += ["", "## Which real digits", "",
              f"The Fréchet distance of {NUM_IMAGES} real digits to the 60,000: mean and standard "
              f"deviation of {NUM_FLOORS} sets without common digits.",
              "The training digits are among those that they are compared with, and the classifier "
              "was trained on them. The halves", "of the test digits are by different groups of "
              "writers. A floor for all uses them all.", "",
              "| real digits | Fréchet distance | standard deviation |", "| --- | --- | --- |"]
    for name, values in results["floors"].items():
        lines.append(f"| {name} | {np.mean(values):.1f} ± {sem(values):.1f} | "
                     f"{np.std(values, ddof=1):.1f} |")
    lines += ["", f"Precision and recall of all {len(SEEDS) * NUM_IMAGES} images of a row against "
              f"{NUM_CHOICES} choices of {NUM_REAL} training digits: mean, and from the",
              "smallest to the largest. Recall depends on the number of images, and above it is "
              "that of 300. Trimmed: precision without",
              "the 1 % of the real digits that lie farthest from their third neighbour. Length: "
              "the mean |φ|, of the training digits "
              f"{next(iter(results['choices'].values()))['length'][0]:.1f}.", "",
              "| images | precision | trimmed | recall | length |",
              "| --- | --- | --- | --- | --- |"]
    for name, row in results["choices"].items():
        cells = " | ".join(f"{np.mean(v):.3f} ({min(v):.3f} to {max(v):.3f})" for v in
                           (row["precision"], row["trimmed"], row["recall"]))
        lines.append(f"| {name} | {cells} | {row['length'][1]:.1f} |")
    n = results["classifier_right"][1]
    lines += ["", "The classifier itself is right about "
              f"{share([results['classifier_right'][0] / n], n)} of the {n:,} test digits.", ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--again", action="store_true", help="measure what is there, too")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    digits = load_mnist()
    if len(digits.train_images) != 60_000:
        parser.error(f"GENMODELS_DATA must be the path of the full mnist.npz, got {digits.name}")
    path = RESULTS / "diffusion_digits.json"
    results = {"bits": {}, "images": {}, "milliseconds": {}, "choices": {}, "floors": {},
               "first_levels": {}}
    if path.exists() and not arguments.again:
        results |= json.loads(path.read_text(encoding="utf-8"))
    classifier = Classifier()
    trained.load(classifier, "classifier")
    guesses = classifier.classify(digits.test_images.astype(np.float32) / 255)
    results["classifier_right"] = [int(np.sum(guesses == digits.test_labels)), len(guesses)]
    results["date"] = datetime.date.today().isoformat()

    def save():
        results["images"] = {name: results["images"][name] for name in ROWS
                             if name in results["images"]}
        path.write_text(json.dumps(results) + "\n", encoding="utf-8")

    with concurrent.futures.ProcessPoolExecutor(
            arguments.processes, multiprocessing.get_context("spawn")) as pool:
        jobs = [("bits", name, pool.submit(measure_bits, name))
                for name in ("unet-elbo", "unet-simple") if name not in results["bits"]]
        jobs += [("choices", name, pool.submit(measure_choices, name))
                 for name in CHOICE_ROWS if name not in results["choices"]]
        if not results["floors"]:
            jobs.append(("floors", None, pool.submit(measure_floors)))
        if not results["first_levels"]:
            jobs.append(("first_levels", None, pool.submit(measure_first_levels)))
        images = {name: {seed: pool.submit(measure_images, name, seed) for seed in SEEDS}
                  for name in ROWS if name not in results["images"]}
        for key, name, future in jobs:
            results[key] |= future.result() if name is None else {name: future.result()}
            print(f"{key}, {name}: done", flush=True)
            save()
        for name, seeds in images.items():
            results["images"][name] = {seed: future.result() for seed, future in seeds.items()}
            print(f"{name}: {results['images'][name]}", flush=True)
            save()
    for name in ROWS:  # with nothing beside it
        if name != "test digits" and name not in results["milliseconds"]:
            results["milliseconds"][name] = milliseconds(name)
            results["threads"] = torch.get_num_threads()
            print(f"{name}: {results['milliseconds'][name]:.3g} ms a sample", flush=True)
    save()
    path.with_suffix(".md").write_text(report(results), encoding="utf-8")
    print(report(results))


if __name__ == "__main__":
    main()
