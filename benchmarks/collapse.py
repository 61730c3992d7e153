"""Count lost latent dimensions of the Keras ConvVAE over seeds, on the full digits.

    python benchmarks/collapse.py [lecture] [warm-up] [--seeds 0 1 ...] [--epochs 8]

`lecture` is `fit(recipe="lecture")`, constant 1e-3, for 3 epochs (`--lecture-epochs`): long enough
to see which branch a seed takes, not where it ends. `warm-up` is the default recipe of `fit`, for
`--epochs`. Both train on the 60,000 training digits in batches of 128 and are measured on all
10,000 test digits. Seeds 0 to 9 unless given. Each run adds its row to
benchmarks/results/collapse.json as soon as it ends, and the table beside it is written from that
file; a run whose row is there already is left out, so that the same command goes on after an
interruption (`--again` repeats it).
"""

import argparse
import datetime
import json
import math
import os
from pathlib import Path

import keras
import numpy as np
from reproduce_lecture import machine, to_unit
from scipy.stats import binomtest, sem

from genmodels.datasets import load_mnist
from genmodels.models import vae_keras

RESULTS = Path(__file__).parent / "results" / "collapse.json"
RECIPES = ("lecture", "warm-up")
SMALL_KL = 0.1  # nats: a dimension with less is counted as asleep
ACTIVE_VARIANCE = 0.01  # of the encoder's mean over the data (Burda, Grosse, Salakhutdinov 2016)


def run(recipe: str, seed: int, length: dict[str, int], digits) -> dict:
    """Train one model from scratch and return its row."""
    keras.utils.set_random_seed(seed)
    model = vae_keras.ConvVAE()
    history = vae_keras.fit(model, to_unit(digits.train_images), **length, recipe=recipe,
                            seed=seed, progress=False)
    test_images = to_unit(digits.test_images)
    log_likelihood, kl = vae_keras.evaluate(model, test_images, seed=seed)  # (n,), (n,)
    features = keras.Model(model.encoder.input, model.encoder.get_layer("mean").input)
    mean, log_var, units = [], [], []
    for start in range(0, len(test_images), 1000):
        batch = test_images[start:start + 1000]
        arrays = [*model.encode(batch), features(batch)]  # (1000, k), (1000, k), (1000, 16)
        for parts, array in zip((mean, log_var, units), arrays, strict=True):
            parts.append(keras.ops.convert_to_numpy(array).astype(np.float64))
    mean, log_var, units = (np.concatenate(parts) for parts in (mean, log_var, units))
    kl_per_dimension = 0.5 * (mean**2 + np.exp(log_var) - 1 - log_var).mean(axis=0)  # (k,)
    variance = mean.var(axis=0)  # (k,)
    order = kl_per_dimension.argsort()[::-1]
    loss = kl - log_likelihood  # (n,): −ELBO with one sample of h
    return {
        "recipe": recipe, "backend": keras.backend.backend(), "seed": seed,
        "steps": history.num_steps, "epochs": history.num_steps / history.steps_per_epoch,
        "training_loss_last_epoch": history["loss"][-1],
        "test_loss": loss.mean(), "test_loss_error": sem(loss),
        "test_reconstruction": -log_likelihood.mean(),
        "test_reconstruction_error": sem(log_likelihood),
        "test_kl": kl.mean(), "test_kl_error": sem(kl),
        "test_kl_per_dimension": kl_per_dimension[order].tolist(),
        "test_variance_of_mean": variance[order].tolist(),
        "active_units": int((variance > ACTIVE_VARIANCE).sum()),
        "features_ever_on": int((units > 0).any(axis=0).sum()), "features": units.shape[1],
        "seconds": history.seconds,
        "digits": digits.name, "machine": machine(), "date": datetime.date.today().isoformat(),
    }


def key(row: dict) -> tuple:
    """Return what names a run."""
    return row["recipe"], row["backend"], row["steps"], row["seed"]


def read(path: Path) -> list[dict]:
    return json.loads(path.read_text()) if path.exists() else []


def add_row(path: Path, row: dict) -> None:
    """Add a row, replacing an earlier run of the same kind, and write the table."""
    rows = [old for old in read(path) if key(old) != key(row)]
    rows = sorted([*rows, row], key=key)
    path.parent.mkdir(exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(rows, indent=1) + "\n")
    os.replace(partial, path)  # an interruption leaves the old file or the new one, whole
    path.with_suffix(".md").write_text(table(rows))
    print("\n".join(lines_of(row)), flush=True)


def lines_of(row: dict) -> list[str]:
    dimensions = " ".join(f"{value:.2f}" for value in row["test_kl_per_dimension"])
    variances = " ".join(f"{value:.3f}" for value in row["test_variance_of_mean"])
    return [f"| {row['recipe']} ({row['backend']}) | {row['seed']} | {row['epochs']:.4g} "
            f"| {row['training_loss_last_epoch']:.2f} "
            f"| {row['test_loss']:.2f} ± {row['test_loss_error']:.2f} "
            f"| {row['test_kl']:.2f} ± {row['test_kl_error']:.2f} | {dimensions} | {variances} "
            f"| {row['active_units']} | {row['features_ever_on']} of {row['features']} |"]


def table(rows: list[dict]) -> str:
    """Return the report: one line a run, then the counts over seeds."""
    lines = [
        "# Lost latent dimensions of the convolutional VAE, over seeds", "",
        "Nats per example. ConvVAE (k = 2) in Keras, batch 128. lecture: Adam with constant 1e-3; "
        "warm-up: the default recipe of `fit`, over the number of epochs given. Trained on the "
        "60,000 training digits; measured on all 10,000 test digits, one sample of h each, ± one "
        "standard error. A unit is active if the variance of the encoder's mean over the digits "
        f"exceeds {ACTIVE_VARIANCE}. The last column counts the ReLU units before the encoder's "
        "heads that are on for at least one digit.", "",
        "| recipe | seed | epochs | training −ELBO, last epoch | test −ELBO | KL "
        "| KL per latent dimension | variance of its mean | active units | features on |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        *[line for row in rows for line in lines_of(row)],
        "", "## Counts over seeds", "",
        "A count's share is followed by Wilson's interval of 95 %, the mean of −ELBO by its "
        "standard error over seeds.", "",
        "| recipe | epochs | seeds | fewer than k active units "
        f"| a dimension with less than {SMALL_KL} nats | mean test −ELBO | worst |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for kind in sorted({key(row)[:3] for row in rows}):
        group = [row for row in rows if key(row)[:3] == kind]
        lost = sum(row["active_units"] < len(row["test_kl_per_dimension"]) for row in group)
        asleep = sum(min(row["test_kl_per_dimension"]) < SMALL_KL for row in group)
        losses = [row["test_loss"] for row in group]
        spread = f" ± {sem(losses):.2f}" if len(group) > 1 else ""
        lines.append(
            f"| {kind[0]} ({kind[1]}) | {group[0]['epochs']:.4g} | {len(group)} "
            f"| {share(lost, len(group))} | {share(asleep, len(group))} "
            f"| {np.mean(losses):.2f}{spread} | {max(losses):.2f} |")
    runs = sorted({f"{row['date']}: {row['machine']}. {row['digits']}." for row in rows})
    return "\n".join([*lines, "", *runs]) + "\n"


def share(count: int, n: int) -> str:
    low, high = binomtest(count, n).proportion_ci(method="wilson")
    return f"{count} ({count / n:.2f}: {low:.2f} to {high:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs="*", help="lecture, warm-up; both unless given")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--epochs", type=int, default=8, help="of the recipe warm-up")
    parser.add_argument("--lecture-epochs", type=int, default=3, help="of the recipe lecture")
    parser.add_argument("--steps", type=int, help="steps of either recipe instead: for a try")
    parser.add_argument("--output", type=Path, default=RESULTS, help="the .json file")
    parser.add_argument("--again", action="store_true", help="repeat runs that have a row")
    asked = parser.parse_args()
    if unknown := sorted(set(asked.recipes) - set(RECIPES)):
        parser.error(f"recipes must be among {', '.join(RECIPES)}, got {', '.join(unknown)}")
    for name in ("epochs", "lecture_epochs", "steps"):
        if (value := getattr(asked, name)) is not None and value < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1, got {value}")
    if min(asked.seeds) < 0:
        parser.error(f"--seeds must be at least 0, got {min(asked.seeds)}")
    if asked.output.suffix != ".json":
        parser.error(f"--output must end in .json, got {asked.output}")
    digits = load_mnist()
    if len(digits.train_images) != 60_000:
        parser.error(f"GENMODELS_DATA must be the path of the full mnist.npz, got {digits.name}")

    per_epoch = math.ceil(60_000 / 128)
    epochs = {"lecture": asked.lecture_epochs, "warm-up": asked.epochs}
    for recipe in asked.recipes or RECIPES:
        steps = asked.steps or epochs[recipe] * per_epoch
        done = {key(row) for row in read(asked.output)}
        for seed in asked.seeds:
            if not asked.again and (recipe, keras.backend.backend(), steps, seed) in done:
                print(f"{recipe}, seed {seed}: has a row already")
                continue
            add_row(asked.output, run(recipe, seed, {"num_steps": steps}, digits))


if __name__ == "__main__":
    main()
