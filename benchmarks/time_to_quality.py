"""Seconds until a model is as good as the lecture's: the lecture's recipes against ours.

    python benchmarks/time_to_quality.py [torch] [keras] [--repeats 3]

Full digits, one process; epochs of the lecture's program and whole runs of ours take turns, so that
a busy machine slows both. A run of the lecture's program is its number of epochs times the median
of the epochs timed here: 100 for PyTorch, 30 for Keras. Targets, in nats: −ELBO on the 10,000 test
digits 739.08, which the PyTorch program reaches after 100 epochs; 150.4 on the 70,000 digits that
the Keras program trains on, which keras.io publishes (for this comparison alone, no digit is held
out). The tables are written to benchmarks/results/time_to_quality.md, where that of a part which is
not measured again stays.
"""

import argparse
import datetime
import importlib.metadata
import platform
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from scipy.stats import sem

RESULTS = Path(__file__).parent / "results" / "time_to_quality.md"
TARGETS = {"torch": (739.08, 100), "keras": (150.4, 30)}  # nats, and the lecture's epochs
OURS = {
    "torch": {"num_epochs": 28, "batch_size": 384, "learning_rate": 6e-3},
    "keras": {"num_epochs": 5, "batch_size": 35, "learning_rate": 8e-3},
}

# Multiplications and additions of one example in training. Each product of the forward pass has two
# in the backward pass, one for the weights and one for the input; the first layer's has no input.
DENSE = [784 * 512, 512 * 512, 2 * 512 * 8, 8 * 512, 512 * 784]
CONVOLUTIONS = [14**2 * 9 * 32, 7**2 * 9 * 32 * 64, 3136 * 16, 2 * 16 * 2, 2 * 3136,
                7**2 * 9 * 64 * 64, 14**2 * 9 * 64 * 32, 28**2 * 9 * 32]
FLOP = {"torch": 2 * (3 * sum(DENSE) - DENSE[0]),
        "keras": 2 * (3 * sum(CONVOLUTIONS) - CONVOLUTIONS[0])}


def timed(run) -> float:
    """Seconds of a call, with what it has left to a GPU."""
    start = time.perf_counter()
    run()
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()
    return time.perf_counter() - start


def product_rate(dtype: torch.dtype, size: int = 2048, device: str = "cpu") -> float:
    """The best of several matrix products, in floating-point operations a second."""
    a, b = torch.randn(2, size, size, device=device).to(dtype)
    return 2 * size**3 / min(timed(lambda: a @ b) for _ in range(6))


def compare_torch(digits, repeats: int) -> list[list[str]]:
    from lecture_programs import LectureMLP, lecture_loader, lecture_torch_epoch

    from genmodels.models import vae_torch

    images = digits.train_images.astype(np.float32) / 255
    test_images = digits.test_images.astype(np.float32) / 255
    lecture = LectureMLP()
    adam = torch.optim.Adam(lecture.parameters(), lr=1e-3)
    loader = lecture_loader(digits.train_images, digits.train_labels)

    def ours(seed: int, **precision):
        torch.manual_seed(seed)
        model = vae_torch.MLPVAE()
        start = time.perf_counter()
        vae_torch.fit(model, images, seed=seed, progress=False, **OURS["torch"], **precision)
        seconds = time.perf_counter() - start
        log_likelihood, kl = vae_torch.evaluate(model, test_images)
        return seconds, kl - log_likelihood

    def lecture_epoch():
        lecture_torch_epoch(lecture, adam, loader)

    runs = {"lecture": [timed(lecture_epoch)], "ours": []}
    runs["ours, float32"] = [ours(0, precision="float32")]
    for seed in range(repeats):
        runs["ours"].append(ours(seed))
        runs["lecture"].append(timed(lecture_epoch))
    return rows("PyTorch MLPVAE", runs, "torch", len(images))


def compare_keras(digits, repeats: int) -> list[list[str]]:
    import keras
    from lecture_keras import LectureConv

    from genmodels.models import vae_keras

    images = np.concatenate([digits.train_images, digits.test_images]).astype(np.float32) / 255
    lecture = LectureConv()
    lecture.compile(optimizer=keras.optimizers.Adam())
    lecture.fit(images[:1280, ..., None], batch_size=128, verbose=0)  # compiles

    def ours(seed: int):
        keras.utils.set_random_seed(seed)
        model = vae_keras.ConvVAE()
        start = time.perf_counter()
        vae_keras.fit(model, images, seed=seed, progress=False, **OURS["keras"])
        seconds = time.perf_counter() - start
        log_likelihood, kl = vae_keras.evaluate(model, images)
        return seconds, kl - log_likelihood

    def lecture_epoch():
        lecture.fit(images[..., None], epochs=1, batch_size=128, verbose=0)

    runs = {"lecture": [timed(lecture_epoch)], "ours": []}
    for seed in range(repeats):
        runs["ours"].append(ours(seed))
        runs["lecture"].append(timed(lecture_epoch))
    return rows("Keras ConvVAE", runs, "keras", len(images))


def rows(model: str, runs: dict, framework: str, num_examples: int) -> list[list[str]]:
    """Lines of the table, printed as they are made."""
    target, lecture_epochs = TARGETS[framework]
    rates = {name: product_rate(dtype) for name, dtype in
             (("float32", torch.float32), ("bfloat16", torch.bfloat16))}
    per_epoch = {"lecture": statistics.median(runs["lecture"])}
    total = {"lecture": per_epoch["lecture"] * lecture_epochs}
    least = {"lecture": 1.0}
    for name in list(runs)[1:]:
        least[name] = min(
            lecture_epochs * (before + after) / 2 / seconds
            for before, after, (seconds, _) in zip(runs["lecture"], runs["lecture"][1:], runs[name])
        )
        total[name] = statistics.median(seconds for seconds, _ in runs[name])
        per_epoch[name] = total[name] / OURS[framework]["num_epochs"]
    lines = []
    for name in runs:
        examples = num_examples / per_epoch[name]
        shares = [f"{examples * FLOP[framework] / rate:.2f}" for rate in rates.values()]
        figures = [f"{loss.mean():.2f} ± {sem(loss):.2f}" for _, loss in runs[name]] \
            if name != "lecture" else [f"({target})"]
        lines.append([model, name, f"{per_epoch[name]:.2f}", f"{examples:.0f}", *shares,
                      f"{total[name]:.0f}", f"{total['lecture'] / total[name]:.1f}",
                      f"{least[name]:.1f}", "; ".join(figures)])
        print(" | ".join(lines[-1]), flush=True)
    print("matrix products: " + ", ".join(f"{rate / 1e9:.0f} GFLOP/s in {name}"
                                          for name, rate in rates.items()), flush=True)
    lines.append([model, "matrix products, GFLOP/s", "", "",
                  *[f"{rate / 1e9:.0f}" for rate in rates.values()], "", "", "", ""])
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help="torch, keras (default: both)")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    from genmodels.datasets import load_mnist

    digits = load_mnist()
    if len(digits.train_images) != 60_000:
        parser.error(f"GENMODELS_DATA must be the path of the full mnist.npz, got {digits.name}")
    for part in arguments.parts or ["torch", "keras"]:
        lines = {"torch": compare_torch, "keras": compare_keras}[part](digits, arguments.repeats)
        write(part, lines, arguments.repeats)


def write(part: str, lines: list[list[str]], repeats: int) -> None:
    """Writes the section of one part; the other one stays."""
    packages = ("torch", "tensorflow", "keras", "numpy")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    header = ["model", "recipe", "s an epoch", "examples a s", "of the float32 product rate",
              "of the bfloat16 product rate", "s in all", "times faster",
              "in the least favourable turn", "−ELBO at the end, nats"]
    table = [header, ["---"] * len(header), *lines]
    title, *old = RESULTS.read_text(encoding="utf-8").split("\n## ")
    sections = {section.partition("\n")[0]: section.partition("\n")[2] for section in old}
    sections[part] = (
        f"\n`python benchmarks/time_to_quality.py {part} --repeats {repeats}`, "
        f"{datetime.date.today()}, Python {platform.python_version()}, {versions}, "
        f"{platform.machine()}, {torch.get_num_threads()} threads.\n\n"
        + "\n".join("| " + " | ".join(line) + " |" for line in table)
        + f"\n\nThe lecture's time is its number of epochs, {TARGETS[part][1]}, times the median "
          "epoch here; its figure, in parentheses, is the target. Ours: the median over seeds; of "
          "a turn, one run of ours and the mean of the lecture's epochs before and after it. "
          f"Settings: {OURS[part]}; one figure for each seed, measured in float32. The product "
          "rate is that of 2048 × 2048 matrices in the same run.\n")
    RESULTS.write_text("\n## ".join([title, *(f"{name}\n{text}" for name, text
                                             in sorted(sections.items()))]), encoding="utf-8")


if __name__ == "__main__":
    main()
