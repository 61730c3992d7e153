"""Time an epoch of the full digits: the lecture's programs, written anew, against `fit`.

    python benchmarks/epoch_time.py [--repeats 5]

Both run in one process and take turns, so that a busy machine slows both; the ratio of the medians
is what counts. Also timed: the 30 × 30 grid of decoded latent points, in one call and in 900.
"""

import argparse
import statistics
import time

import keras
import numpy as np
import torch
from lecture_keras import LectureConv
from lecture_programs import LectureMLP, lecture_loader, lecture_torch_epoch

from genmodels import plotting
from genmodels.datasets import load_mnist
from genmodels.models import vae_keras, vae_torch


def compare(name: str, lecture, ours, repeats: int) -> None:
    """Time both in turn, after one warm-up each, and print the medians and their ratio."""
    seconds = {lecture: [], ours: []}
    for repeat in range(repeats + 1):
        for run in (lecture, ours):
            start = time.perf_counter()
            run()
            if repeat:
                seconds[run].append(time.perf_counter() - start)
    medians = [statistics.median(seconds[run]) for run in (lecture, ours)]
    print(f"{name}: lecture {medians[0]:.2f} s, ours {medians[1]:.2f} s, "
          f"{medians[0] / medians[1]:.2f} times faster", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    digits = load_mnist()
    images = digits.train_images.astype(np.float32) / 255
    print(f"{digits.name}; {torch.get_num_threads()} threads; Keras on {keras.backend.backend()}")

    mlp = LectureMLP()
    adam = torch.optim.Adam(mlp.parameters(), lr=1e-3)
    loader = lecture_loader(digits.train_images, digits.train_labels)
    ours = vae_torch.MLPVAE()
    for recipe in ("lecture", "warm-up"):  # float32; bfloat16 where the processor has it
        compare(f"MLPVAE in PyTorch, an epoch, recipe {recipe!r}",
                lambda: lecture_torch_epoch(mlp, adam, loader),
                lambda recipe=recipe: vae_torch.fit(ours, images, num_epochs=1, recipe=recipe,
                                                    progress=False), repeats)

    conv = LectureConv()
    conv.compile(optimizer=keras.optimizers.Adam())
    pixels = images[..., None]
    model, history = vae_keras.ConvVAE(), None

    def fit_on():
        nonlocal history  # so that Keras compiles once, as it does in the lecture's program
        history = vae_keras.fit(model, images, num_epochs=1, recipe="lecture", history=history,
                                progress=False)

    compare("ConvVAE in Keras, an epoch",
            lambda: conv.fit(pixels, epochs=1, batch_size=128, verbose=0), fit_on, repeats)

    points = np.random.default_rng(0).normal(size=(900, 1, 2)).astype(np.float32)
    compare("30 × 30 latent grid", lambda: [model.decoder.predict(h, verbose=0) for h in points],
            lambda: plotting.latent_grid(model, num_points=30), 1)


if __name__ == "__main__":
    main()
