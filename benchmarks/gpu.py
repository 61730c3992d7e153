"""What the lecture's programs and ours do on a GPU, in one run of at most 8 minutes.

    python benchmarks/gpu.py --data mnist.npz [--out FOLDER]
    python benchmarks/gpu.py --dry-run [--data mnist.npz] [--out FOLDER]

For one data-centre GPU with PyTorch 2.10 or newer, NumPy and SciPy; no network, and no installation
of this repository. --data: the full digits in the layout of Keras (x_train, y_train, x_test,
y_test), or what GENMODELS_DATA names. Keras is measured where it is installed, on PyTorch unless
KERAS_BACKEND names another backend; its lecture program needs TensorFlow.

Each part has a limit of its own, and gpu.json and gpu.md in benchmarks/results (--out: elsewhere)
are written again after each line of the table, so that whatever breaks or is stopped loses little.
--dry-run does the same with few digits on a CPU, in about a minute, and writes to a new temporary
folder unless --out is given: its figures say only that everything runs.
"""

import argparse
import contextlib
import copy
import datetime
import importlib
import json
import os
import platform
import signal
import statistics
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
SECONDS = 465  # for imports and all parts together
START = time.perf_counter()

sys.path[:0] = [str(ROOT / "code"), str(ROOT / "benchmarks")]
os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # leaves memory to PyTorch
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # so does JAX
if "--dry-run" in sys.argv:  # on the CPU, also where `fit` would find a GPU
    os.environ["CUDA_VISIBLE_DEVICES"] = ""


class NoBar:
    """What the package uses of tqdm, where that is missing: an iterator that shows nothing."""

    def __init__(self, iterable=(), **settings):
        self.iterable = iterable

    def __iter__(self) -> Iterator:
        return iter(self.iterable)

    def update(self) -> bool:
        return False

    def close(self) -> None:
        pass


def stand_in() -> list[str]:
    """Replaces what the package imports and this script never uses; returns what is missing."""
    missing = []
    for name in ("tqdm", "safetensors"):
        try:
            importlib.import_module(name)
        except ImportError:
            missing.append(name)
    if "tqdm" in missing:
        sys.modules["tqdm"] = types.ModuleType("tqdm")
        sys.modules["tqdm"].tqdm = NoBar
    if "safetensors" in missing:  # only a checkpoint needs it
        sys.modules["safetensors"] = types.ModuleType("safetensors")
        sys.modules["safetensors"].numpy = types.ModuleType("safetensors.numpy")
        sys.modules["safetensors.numpy"] = sys.modules["safetensors"].numpy
    return missing


MISSING = stand_in()

import lecture_programs  # noqa: E402
import numpy as np  # noqa: E402
import scipy  # noqa: E402
import torch  # noqa: E402
from lecture_programs import (  # noqa: E402
    LectureConv,
    LectureMLP,
    in_memory,
    lecture_conv_epoch,
    lecture_loader,
    lecture_torch_epoch,
)
from scipy.stats import sem  # noqa: E402
from time_to_quality import OURS, TARGETS, product_rate, timed  # noqa: E402

import genmodels.training.torch  # noqa: E402
from genmodels import diffusion  # noqa: E402
from genmodels.models import unet_torch, vae_torch  # noqa: E402
from genmodels.models.denoising import draw_noise  # noqa: E402
from genmodels.training import Batch, Settings  # noqa: E402
from genmodels.training.torch_tensors import autocast, place  # noqa: E402

for name in MISSING:  # PyTorch and Keras look whether tqdm is there
    del sys.modules[name]

try:
    import keras

    import genmodels.training.keras
    from genmodels.models import vae_keras
except Exception as error:  # whatever is wrong with it, the other parts run
    keras, NO_KERAS = None, f"{type(error).__name__}: {error}"


@dataclass(frozen=True)
class Sizes:
    """How much is trained and measured."""

    train: int = 60_000
    test: int = 10_000
    epochs_timed: int = 3  # of the lecture's programs, after one that is not
    seeds: int = 3  # of our runs
    longer: tuple[int, ...] = (2, 4)  # times the epochs, if no run reached the target
    unet_batch: int = 128
    samples: int = 1000
    sampler_steps: int = 50
    product: int = 8192  # rows of the matrices that are multiplied


DRY = Sizes(train=512, test=128, epochs_timed=1, seeds=1, longer=(), unet_batch=32, samples=4,
            sampler_steps=5, product=256)


class Run:
    """Digits and device of this run, and its results so far."""

    def __init__(self, device: str, sizes: Sizes, digits: dict[str, np.ndarray], out: Path,
                 results: dict):
        self.device, self.sizes, self.out, self.results = device, sizes, out, results
        self.digits = digits  # uint8, as loaded
        self.train = digits["x_train"].astype(np.float32) / 255
        self.test = digits["x_test"].astype(np.float32) / 255
        self.labels = digits["y_train"].astype(np.int64)

    def record(self, part: str, what: str, **figures) -> None:
        """One more line of a part's table, which is printed and written."""
        self.results["parts"].setdefault(part, []).append({"what": what, **figures})
        self.write()
        print(f"[{time.perf_counter() - START:4.0f} s] {part}: {what}; "
              + ", ".join(f"{name.replace('_', ' ')} {shown(value)}"
                          for name, value in figures.items()), flush=True)

    def write(self) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        (self.out / "gpu.json").write_text(json.dumps(self.results, indent=1, ensure_ascii=False)
                                           + "\n", encoding="utf-8")
        (self.out / "gpu.md").write_text(page(self.results), encoding="utf-8")


def shown(value) -> str:
    """A figure as the tables show it."""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.5g}"
    return "" if value is None else str(value)


def page(results: dict) -> str:
    """The results in Markdown: a table for each part."""
    text = ["# On a GPU" + (": a dry run on a CPU, which measures nothing" if results["dry_run"]
                            else ""),
            f"`python benchmarks/gpu.py{' --dry-run' * results['dry_run']}`, {results['date']}. "
            + ", ".join(f"{name} {shown(value)}" for name, value in results["machine"].items())]
    for part, rows in results["parts"].items():
        columns = list(dict.fromkeys(name for row in rows for name in row))
        lines = [[name.replace("_", " ") for name in columns], ["---"] * len(columns),
                 *[[shown(row.get(name)) for name in columns] for row in rows]]
        text += [f"## {part}", "\n".join(f"| {' | '.join(line)} |" for line in lines)]
    if results["failed"]:
        text += ["## Failed", "\n".join(f"* {part}: {error}"
                                        for part, error in results["failed"].items())]
    text.append(
        "The lecture's time is its number of epochs, 100 (MLP) or 30 (convolutional), times the "
        "median epoch here; its figures, 739.08 and 150.4, are targets, not measured again. A run "
        "of ours has reached its target if its −ELBO is at most one standard error above it; that "
        "of the convolutional model is over all digits, which it was trained on, as the lecture's "
        "was. A difference is the largest, relative to the loss, or within one array of gradients "
        "to its largest entry, from the same step in float64 on the CPU.")
    return "\n\n".join(text) + "\n"


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raises TimeoutError in what runs within it after this time; on Windows, never."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def stop(signum, frame):
        raise TimeoutError(f"stopped after its {seconds:.0f} seconds")

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


# Parts ------------------------------------------------------------------------------------------


def first_step(run: Run) -> None:
    """Loss and gradients of the same first step on the device and on the CPU."""
    rng, n = np.random.default_rng(0), 64
    x, labels = run.train[:n], run.labels[:n]
    unet_noise = draw_noise(n, (28, 28), "simple", rng, 0.1)
    torch.manual_seed(0)
    cases = [(vae_torch.MLPVAE(), "batch_loss", (x,), (normal(rng, n, 8),)),
             (vae_torch.ConvVAE(), "batch_loss", (x,), (normal(rng, n, 2),)),
             (unet_torch.UNet(), "simple_loss", (x, labels), unet_noise)]
    for model, loss, data, noise in cases:
        with torch.no_grad():  # a new U-Net predicts 0, and most of its gradients vanish
            for weight in model.parameters():
                weight += 0.02 * torch.randn_like(weight)

        def step(device, dtype, precision="float32", model=model, loss=loss, data=data,
                 noise=noise):
            ours = copy.deepcopy(model).to(device, dtype)
            weight = next(ours.parameters())
            with autocast(weight, Settings(num_steps=1, precision=precision)):
                terms = getattr(ours, loss)(Batch(
                    tuple(place(weight, array) for array in data),
                    tuple(place(weight, array) for array in noise), 0.0, 0))
            value = terms["loss"].mean()
            value.backward()
            return [value.item(), *(weight.grad.double().cpu().numpy()
                                    for weight in ours.parameters())]

        exact = step("cpu", torch.float64)
        for what, device, precision, tf32 in (
                ("CPU, float32", "cpu", "float32", True),
                ("float32, without TF32", run.device, "float32", False),
                ("float32", run.device, "float32", True),
                ("bfloat16", run.device, "bfloat16", True)):
            before = torch.backends.cudnn.allow_tf32
            torch.backends.cudnn.allow_tf32 = tf32 and before
            try:
                loss_here, *gradients = step(device, torch.float32, precision)
            finally:
                torch.backends.cudnn.allow_tf32 = before
            run.record("First step", f"{type(model).__name__}, {what}",
                       difference_of_the_loss=abs(loss_here / exact[0] - 1),
                       of_the_gradients=max(float(abs(a - b).max() / abs(b).max())
                                            for a, b in zip(gradients, exact[1:])))


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape, dtype=np.float32)


def copies(run: Run) -> None:
    """What goes from the host to the device in an epoch, beyond what goes once."""
    from torch.profiler import ProfilerActivity, profile

    x = run.train[:12_800]  # a copy at each step would show as a hundred an epoch
    labels, on_gpu = run.labels[:len(x)], run.device != "cpu"

    def counted(module, counter: tuple, make: Callable, data: tuple, **settings) -> dict[str, int]:
        model = make()
        module.fit(model, *data, num_steps=10, progress=False)
        owner, name = counter
        with (mock.patch.object(owner, name, wraps=getattr(owner, name)) as placed,
              profile(activities=[ProfilerActivity.CUDA]) if on_gpu
              else contextlib.nullcontext() as profiler):
            module.fit(model, *data, progress=False, **settings)
        counts = {"arrays_placed": placed.call_count}
        for kind in ("HtoD", "DtoH") if on_gpu else ():
            counts[f"copies_{kind}"] = sum(event.count for event in profiler.key_averages()
                                           if f"Memcpy {kind}" in event.key)
        if counts.get("copies_HtoD") == 0:  # not even of the digits
            raise RuntimeError("the profiler sees nothing of the GPU here")
        return counts

    of_torch = genmodels.training.torch, "place"
    cases = [(vae_torch, of_torch, vae_torch.MLPVAE, (x,)),
             (unet_torch, of_torch, unet_torch.UNet, (x, labels))]
    if keras is not None and keras.backend.backend() == "torch":  # whose copies are seen here
        of_keras = genmodels.training.keras, "placed"
        cases.append((vae_keras, of_keras, vae_keras.MLPVAE, (x,)))
    for module, counter, make, data in cases:
        one, three = (counted(module, counter, make, data, num_epochs=num) for num in (1, 3))
        who = f"{make.__name__}, {module.__name__.rpartition('.')[2]}"
        run.record("Copies", f"an epoch of the {who}, 128 digits a step",
                   steps=-(-len(x) // 128),
                   **{name: (three[name] - one[name]) / 2 for name in one})
        run.record("Copies", f"once in each call of fit, {who}",
                   **{name: one[name] - (three[name] - one[name]) / 2 for name in one})


def mlp(run: Run) -> None:
    """The lecture's PyTorch program and ours: the fully connected VAE with Gaussian pixels."""
    part = (f"MLP, Gaussian pixels: {len(run.train):,} digits, "
            f"target 739.08 on {len(run.test):,} others")
    loader = lecture_loader(run.digits["x_train"], run.digits["y_train"])
    pixels = torch.from_numpy(run.train - 0.5).to(run.device)
    as_written = lecture_runs(run, part, "lecture's program as written", LectureMLP(),
                              lecture_torch_epoch, lambda: loader, "torch")
    lecture_runs(run, part, "the same, its digits on the device as tensors", LectureMLP(),
                 lecture_torch_epoch, lambda: in_memory(pixels), "torch")
    our_runs(run, part, vae_torch, vae_torch.MLPVAE, run.train, run.test, "torch", as_written)


def conv(run: Run) -> None:
    """The lecture's Keras program, in PyTorch, and ours: the convolutional VAE."""
    x = np.concatenate([run.train, run.test])
    part = f"Convolutional, Bernoulli pixels: {len(x):,} digits, target 150.4 on the same"
    pixels = torch.from_numpy(x)[:, None]
    translated = lecture_runs(run, part, "lecture's Keras program, translated to PyTorch",
                              LectureConv(), lecture_conv_epoch, lambda: in_memory(pixels), "keras")
    our_runs(run, part, vae_torch, vae_torch.ConvVAE, x, x, "keras", translated)


def in_keras(run: Run) -> None:
    """The convolutional VAE in Keras, and the lecture's program as written on TensorFlow."""
    if keras is None:
        run.record("Keras", f"cannot be imported: {NO_KERAS}")
        return
    part = f"Keras on {keras.backend.backend()}, convolutional"
    x = np.concatenate([run.train, run.test])
    seconds = None
    if keras.backend.backend() == "tensorflow":
        from lecture_keras import LectureConv as AsWritten

        lecture = AsWritten()
        lecture.compile(optimizer=keras.optimizers.Adam())
        seconds = lecture_seconds(
            run, part, "lecture's program as written",
            lambda: lecture.fit(x[..., None], epochs=1, batch_size=128, verbose=0), "keras")
    settings = {"batch_size": OURS["keras"]["batch_size"], "progress": False}
    model = vae_keras.ConvVAE()
    history = vae_keras.fit(model, x, num_steps=5, **settings)  # compiles
    steps = min(200, len(x) // settings["batch_size"])
    rate = steps * settings["batch_size"] / timed(
        lambda: vae_keras.fit(model, x, num_steps=steps, history=history, **settings))
    run.record(part, f"ours, {steps} steps", examples_a_second=rate,
               seconds_an_epoch=len(x) / rate)
    our_runs(run, part, vae_keras, vae_keras.ConvVAE, x, x, "keras", seconds, seeds=1)


def lecture_runs(run: Run, part: str, what: str, model: torch.nn.Module, epoch: Callable,
                 loader: Callable, framework: str) -> float:
    model.to(run.device)
    adam = torch.optim.Adam(model.parameters(), lr=1e-3)
    return lecture_seconds(run, part, what, lambda: epoch(model, adam, loader()), framework)


def lecture_seconds(run: Run, part: str, what: str, epoch: Callable, framework: str) -> float:
    """Times a lecture's program; returns the seconds of all its epochs."""
    epoch()
    seconds = statistics.median(timed(epoch) for _ in range(run.sizes.epochs_timed))
    target, num_epochs = TARGETS[framework]
    run.record(part, what, epochs=num_epochs, seconds_an_epoch=seconds,
               seconds_in_all=num_epochs * seconds, minus_ELBO=f"({target})")
    return num_epochs * seconds


def our_runs(run: Run, part: str, module, make: Callable, x: np.ndarray, test: np.ndarray,
             framework: str, lecture: float | None, seeds: int | None = None) -> None:
    """Trains and evaluates by our recipe; for longer, if that does not reach the target."""
    target, _ = TARGETS[framework]
    module.fit(make(), x, num_steps=20, batch_size=OURS[framework]["batch_size"], progress=False)
    reached = False

    def train(factor: int, seed: int) -> None:
        nonlocal reached
        settings = {**OURS[framework], "num_epochs": factor * OURS[framework]["num_epochs"]}
        torch.manual_seed(seed)
        if module.__name__.endswith("keras"):
            keras.utils.set_random_seed(seed)
        model = make()
        seconds = timed(lambda: module.fit(model, x, seed=seed, progress=False, **settings))
        log_likelihood, kl = module.evaluate(model, test)
        loss = kl - log_likelihood
        good = bool(loss.mean() <= target + sem(loss))
        reached = reached or good
        run.record(part, f"ours, {module.__name__.rpartition('.')[2]}, batch "
                   f"{settings['batch_size']}, seed {seed}", epochs=settings["num_epochs"],
                   seconds_an_epoch=seconds / settings["num_epochs"], seconds_in_all=seconds,
                   minus_ELBO=round(float(loss.mean()), 2), standard_error=float(sem(loss)),
                   reached="yes" if good else "no",
                   times_faster=lecture / seconds if lecture else None)

    for seed in range(seeds or run.sizes.seeds):
        train(1, seed)
    for factor in run.sizes.longer:
        if not reached:
            train(factor, 0)


def unet(run: Run) -> None:
    """The U-Net: an epoch of training, and samples."""
    torch.manual_seed(0)
    net, size = unet_torch.UNet(), run.sizes.unet_batch
    for precision in ("float32", "bfloat16"):
        settings = {"batch_size": size, "precision": precision, "progress": False}
        unet_torch.fit(net, run.train, run.labels, num_steps=5, **settings)
        seconds = timed(lambda settings=settings: unet_torch.fit(
            net, run.train, run.labels, num_epochs=1, **settings))
        run.record("U-Net", f"an epoch of training, batch {size}, {precision}", seconds=seconds,
                   examples_a_second=len(run.train) / seconds)
    noise = np.random.default_rng(0).standard_normal((run.sizes.samples, 28, 28))
    schedule = diffusion.NoiseSchedule.linear(run.sizes.sampler_steps)
    denoiser = net.denoiser(batch_size=500)
    denoiser(noise[:500], 0.5)
    run.record("U-Net", f"{len(noise):,} DDIM samples of {schedule.num_steps} steps, float32",
               seconds=timed(lambda: diffusion.ddim(denoiser, schedule, noise)))


PARTS = {first_step: 40, copies: 40, mlp: 110, conv: 160, unet: 60, in_keras: 120}  # seconds each


# The whole --------------------------------------------------------------------------------------


def read_digits(path: Path, sizes: Sizes) -> dict[str, np.ndarray]:
    """The first digits of a file; raises ValueError if they are not there."""
    with np.load(path, allow_pickle=False) as archive:
        digits = {name: archive[name][:sizes.train if "train" in name else sizes.test]
                  for name in ("x_train", "y_train", "x_test", "y_test")}
    for name, array in digits.items():
        n = sizes.train if "train" in name else sizes.test
        expected = (n, 28, 28) if name.startswith("x") else (n,)
        if array.shape != expected or array.dtype != np.uint8:
            raise ValueError(f"{name} must be uint8 of shape {expected} or longer, "
                             f"got {array.dtype} of shape {array.shape}")
    return digits


def described(device: str, sizes: Sizes) -> dict[str, str | float]:
    """The machine and what is installed."""
    cuda = device != "cpu"
    rates = {name: product_rate(dtype, sizes.product, device) / 1e12 for name, dtype in
             (("float32", torch.float32), ("bfloat16", torch.bfloat16))}
    versions = {"PyTorch": torch.__version__, "CUDA": torch.version.cuda if cuda else None,
                "Keras": keras and f"{keras.__version__} on {keras.backend.backend()}",
                "NumPy": np.__version__, "SciPy": scipy.__version__,
                "Python": platform.python_version()}
    missing = MISSING + ([] if lecture_programs.Image else ["Pillow"])
    return {"device": torch.cuda.get_device_name() if cuda else "CPU",
            **{name: version for name, version in versions.items() if version},
            "CPUs": os.cpu_count(), "threads": torch.get_num_threads(),
            **{f"matrix products in {name}, TFLOP/s": rate for name, rate in rates.items()},
            "missing": ", ".join(missing) or "nothing"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0],
                                     allow_abbrev=False)
    parser.add_argument("--dry-run", action="store_true", help="few digits, on the CPU")
    parser.add_argument("--data", type=Path, help="mnist.npz, the full digits")
    parser.add_argument("--out", type=Path, help="folder for gpu.json and gpu.md")
    arguments = parser.parse_args()
    dry = arguments.dry_run
    if not dry and not torch.cuda.is_available():
        parser.error("PyTorch sees no GPU here; --dry-run runs on a CPU")
    out = arguments.out or (Path(tempfile.mkdtemp(prefix="gpu-dry-run-")) if dry else RESULTS)
    if dry and out.resolve() == RESULTS:
        parser.error("a dry run must not write to benchmarks/results: give another --out")
    named = os.environ.get("GENMODELS_DATA", "bundled")
    bundled = ROOT / "code" / "genmodels" / "data" / "mnist_5k.npz"
    data = arguments.data or (bundled if named in ("", "bundled") else Path(named).expanduser())
    sizes = DRY if dry else Sizes()
    try:
        digits = read_digits(data, sizes)
    except Exception as error:  # damage shows as one of a dozen types
        parser.error(f"--data must be the full digits in the layout of Keras, got {data}: {error}")

    device = "cpu" if dry else "cuda"
    results = {"dry_run": dry, "date": str(datetime.date.today()), "finished": False,
               "machine": described(device, sizes), "parts": {}, "failed": {}, "seconds": {}}
    run = Run(device, sizes, digits, out, results)
    print(results["machine"], flush=True)
    for part, limit in PARTS.items():
        start = time.perf_counter()
        try:
            with at_most(max(1, min(limit, START + SECONDS - start))):
                part(run)
        except Exception as error:  # every fault is a finding: the other parts go on
            results["failed"][part.__name__] = (
                f"{type(error).__name__}: {' '.join(str(error).split())[:500]}")
            print(f"{part.__name__} failed: {results['failed'][part.__name__]}", flush=True)
        results["seconds"][part.__name__] = round(time.perf_counter() - start, 1)
        run.write()
    results["seconds"]["all"] = round(time.perf_counter() - START, 1)
    results["finished"] = True
    run.write()
    print("\n" + page(results) + f"\nWritten to {out}/gpu.json and gpu.md: "
          f"{results['seconds']['all']} s, {len(results['failed'])} parts failed.")
    sys.exit(bool(results["failed"]))


if __name__ == "__main__":
    main()
