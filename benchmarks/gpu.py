"""What the lecture's programs and ours do on a GPU, in one run of at most 10 minutes.

    python benchmarks/gpu.py --data mnist.npz [--out FOLDER] [--parts PART ...]
    python benchmarks/gpu.py --dry-run [--data mnist.npz] [--out FOLDER] [--parts PART ...]

For one data-centre GPU with PyTorch 2.10 or newer, NumPy and SciPy; no network, and no installation
of this repository. --data: the full digits in the layout of Keras (x_train, y_train, x_test,
y_test), or what GENMODELS_DATA names. Keras is measured where it is installed, on PyTorch unless
KERAS_BACKEND names another backend; its lecture program needs TensorFlow. Tests need pytest and
matplotlib; chapters matplotlib, and some of them Keras or numba.

Parts are measured in the order in which they matter, each within a limit of its own, and gpu.json
and gpu.md in benchmarks/results (--out: elsewhere) are written again after each line of the table,
so that whatever breaks or is stopped loses little. --parts: these alone, with all the time.
--dry-run does the same with few digits on a CPU, in about two minutes of a processor's time, and
writes to a new temporary folder unless --out is given: its figures say only that everything runs.
"""

import argparse
import contextlib
import copy
import datetime
import functools
import importlib
import json
import math
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import types
import xml.etree.ElementTree
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
SECONDS = 570  # for imports and all parts together
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

import gpu_counts  # noqa: E402
import gpu_fields  # noqa: E402
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
from time_to_quality import FLOP, OURS, TARGETS, timed  # noqa: E402

import genmodels.training.torch  # noqa: E402
from genmodels import bounds, diffusion  # noqa: E402
from genmodels.models import flow_torch, iwae_torch, unet_torch, vae_torch  # noqa: E402
from genmodels.models.denoising import draw_epoch, draw_noise  # noqa: E402
from genmodels.training import Batch, History, Settings, determinism  # noqa: E402
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
    epochs: int = 100  # of a recipe, at most
    batches: tuple[int, ...] = (128, 512, 2048)
    unet_batch: int = 128
    samples: int = 1000
    sampler_steps: int = 50
    lattices: tuple[int, ...] = (16, 32)
    fields: int = 8192  # configurations, and samples of a flow
    flow_batch: int = 256
    flow_epochs: int = 16
    trajectories: int = 200
    iwae_batch: int = 400
    iwae_epochs: int = 2000  # at most
    importance_samples: int = 5000  # of the evaluation
    chapters: tuple[str, ...] | None = None  # all
    product: int = 8192  # rows of the matrices that are multiplied
    copied: int = 2**28  # numbers


DRY = Sizes(train=512, test=128, epochs_timed=1, seeds=1, longer=(), epochs=2, batches=(128,),
            unet_batch=32, samples=4, sampler_steps=5, lattices=(4,), fields=512, flow_batch=64,
            flow_epochs=1, trajectories=10, iwae_batch=100, iwae_epochs=2, importance_samples=50,
            chapters=("kl_divergence", "vae_torch"), product=256, copied=2**20)
SLACK = 5  # of a dry run, on a computer that may be busy: times the limits

# A GPU is idle with small batches: the convolutional VAE's of 32 digits are for a processor.
LARGER = {"num_epochs": 14, "batch_size": 256, "learning_rate": 8e-3}
KAPPA, LAM = 0.27, 0.022  # of φ⁴, near the transition
IWAE = {"num_importance_samples": 50, "learning_rate": 3e-3, "progress": False}
BURDA = 84.78  # nats: −log p(x) of Burda, Grosse and Salakhutdinov (2016), table 1, K = 50
AFTER_IWAE = 90  # seconds that are left to the parts behind it


class Run:
    """Digits and device of this run, and its results so far."""

    def __init__(self, device: str, sizes: Sizes, digits: dict[str, np.ndarray], out: Path,
                 results: dict, data: str):
        self.device, self.sizes, self.out, self.results = device, sizes, out, results
        self.data = data  # of which file, as GENMODELS_DATA names it
        self.digits = digits  # uint8, as loaded
        self.train = digits["x_train"].astype(np.float32) / 255
        self.test = digits["x_test"].astype(np.float32) / 255
        self.labels = digits["y_train"].astype(np.int64)
        self.best = gpu_counts.rates(device, sizes.product, sizes.copied)  # a second
        self.end = math.inf  # of the part that runs, by the clock of `time.perf_counter`

    @property
    def seconds_left(self) -> float:
        """Of the part that runs."""
        return self.end - time.perf_counter()

    def record(self, part: str, what: str, **figures) -> None:
        """One more line of a part's table, which is printed and written."""
        figures = {name: value for name, value in figures.items() if value == value}  # no NaN
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
    text.append(
        "FLOP: matrix products and convolutions, forwards and backwards, a multiplication and an "
        "addition being two; the rate is that of matrix products of the same type in this run. MB: "
        "what every operation of PyTorch reads and writes, whether from memory or from a cache; "
        "the rate is that of a copy in memory, read and written. Peak memory: of the tensors, the "
        "data among them. The seconds of an epoch are those of the loop; data are checked and "
        "copied to the device once in each call of fit.")
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
    our_runs(run, part, vae_torch, vae_torch.MLPVAE, run.train, run.test, "torch", as_written,
             OURS["torch"], run.sizes.seeds)


def conv(run: Run) -> None:
    """The lecture's Keras program, in PyTorch, and ours: the convolutional VAE."""
    x = np.concatenate([run.train, run.test])
    part = f"Convolutional, Bernoulli pixels: {len(x):,} digits, target 150.4 on the same"
    pixels = torch.from_numpy(x)[:, None]
    translated = lecture_runs(run, part, "lecture's Keras program, translated to PyTorch",
                              LectureConv(), lecture_conv_epoch, lambda: in_memory(pixels), "keras")
    our_runs(run, part, vae_torch, vae_torch.ConvVAE, x, x, "keras", translated, LARGER,
             run.sizes.seeds)
    our_runs(run, part, vae_torch, vae_torch.ConvVAE, x, x, "keras", translated, OURS["keras"], 1)


def epochs(run: Run) -> None:
    """An epoch of our training of the lecture's models, for several sizes of a batch."""
    part = f"An epoch of {len(run.train):,} digits, bfloat16"
    for make, framework in ((vae_torch.MLPVAE, "torch"), (vae_torch.ConvVAE, "keras")):
        for batch_size in run.sizes.batches:
            fit = functools.partial(vae_torch.fit, batch_size=batch_size, precision="bfloat16",
                                    progress=False)
            model = make()
            fit(model, run.train, num_steps=5)
            gpu_counts.peak_memory(run.device)
            start = time.perf_counter()
            history = fit(model, run.train, num_epochs=3)
            whole, seconds = time.perf_counter() - start, history.seconds / 3
            memory = gpu_counts.peak_memory(run.device)
            few = run.train[:3 * batch_size]
            counted = gpu_counts.of_a_step(
                model, lambda model, num, fit=fit, few=few: fit(model, few, num_steps=num))
            if framework == "torch" and counted[0] != batch_size * FLOP["torch"]:
                raise RuntimeError(f"the MLP takes {batch_size * FLOP['torch']:.6g} FLOP a step by "
                                   f"its sizes, the counter says {counted[0]:.6g}")
            steps = math.ceil(len(run.train) / batch_size)
            run.record(part, f"{make.__name__}, batch {batch_size}", seconds_an_epoch=seconds,
                       seconds_once_a_call=whole - history.seconds,
                       examples_a_second=len(run.train) / seconds,
                       milliseconds_a_step=1e3 * seconds / steps, peak_memory_MB=memory,
                       **gpu_counts.shares(counted, seconds / steps, run.best, "bfloat16"))


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
    settings = {"batch_size": LARGER["batch_size"], "progress": False}
    model = vae_keras.ConvVAE()
    history = vae_keras.fit(model, x, num_steps=5, **settings)  # compiles
    steps = min(200, len(x) // settings["batch_size"])
    before = history.seconds
    history = vae_keras.fit(model, x, num_steps=steps, history=history, **settings)
    rate = steps * settings["batch_size"] / (history.seconds - before)
    run.record(part, f"ours, {steps} steps", examples_a_second=rate,
               seconds_an_epoch=len(x) / rate)
    our_runs(run, part, vae_keras, vae_keras.ConvVAE, x, x, "keras", seconds, LARGER, 1)


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
             framework: str, lecture: float | None, recipe: dict, seeds: int) -> None:
    """Trains and evaluates by a recipe; for longer, if that does not reach the target."""
    target, _ = TARGETS[framework]
    module.fit(make(), x, num_steps=20, batch_size=recipe["batch_size"], progress=False)
    reached = False

    def train(factor: int, seed: int) -> None:
        nonlocal reached
        num_epochs = min(factor * recipe["num_epochs"], run.sizes.epochs)
        settings = {**recipe, "num_epochs": num_epochs}
        torch.manual_seed(seed)
        if module.__name__.endswith("keras"):
            keras.utils.set_random_seed(seed)
        model = make()
        start = time.perf_counter()
        history = module.fit(model, x, seed=seed, progress=False, **settings)
        seconds = time.perf_counter() - start
        log_likelihood, kl = module.evaluate(model, test)
        loss = kl - log_likelihood
        good = bool(loss.mean() <= target + sem(loss))
        reached = reached or good
        run.record(part, f"ours, {module.__name__.rpartition('.')[2]}, batch "
                   f"{settings['batch_size']}, seed {seed}", epochs=settings["num_epochs"],
                   seconds_an_epoch=history.seconds / settings["num_epochs"],
                   seconds_in_all=seconds, minus_ELBO=round(float(loss.mean()), 2),
                   standard_error=float(sem(loss)), reached="yes" if good else "no",
                   times_faster=lecture / seconds if lecture else None)

    for seed in range(seeds):
        train(1, seed)
    for factor in run.sizes.longer if seeds > 1 else ():
        if not reached:
            train(factor, 0)


def unet(run: Run) -> None:
    """The U-Net: an epoch of training, and samples."""
    torch.manual_seed(0)
    net, size = unet_torch.UNet(), run.sizes.unet_batch
    for precision in ("float32", "bfloat16"):
        fit = functools.partial(unet_torch.fit, batch_size=size, precision=precision,
                                progress=False)
        fit(net, run.train, run.labels, num_steps=5)
        gpu_counts.peak_memory(run.device)
        start = time.perf_counter()
        history = fit(net, run.train, run.labels, num_epochs=1)
        whole, seconds = time.perf_counter() - start, history.seconds
        memory = gpu_counts.peak_memory(run.device)
        few = run.train[:3 * size], run.labels[:3 * size]
        counted = gpu_counts.of_a_step(
            net, lambda net, num, fit=fit, few=few: fit(net, *few, num_steps=num))
        run.record("U-Net", f"an epoch of training, batch {size}, {precision}", seconds=seconds,
                   seconds_once_a_call=whole - seconds,
                   examples_a_second=len(run.train) / seconds, peak_memory_MB=memory,
                   **gpu_counts.shares(counted, seconds * size / len(run.train), run.best,
                                       precision))
    history = History(num_examples=len(run.train), batch_size=size)
    steps = range(history.steps_per_epoch)
    run.record("U-Net", "of which NumPy draws the noise on the host", seconds=timed(
        lambda: draw_epoch((28, 28), "simple", 0.1)(np.random.default_rng(0), history, steps)))
    noise = np.random.default_rng(0).standard_normal((run.sizes.samples, 28, 28))
    schedule = diffusion.NoiseSchedule.linear(run.sizes.sampler_steps)
    denoiser = net.denoiser(batch_size=500)
    denoiser(noise[:500], 0.5)
    run.record("U-Net", f"{len(noise):,} DDIM samples of {schedule.num_steps} steps, float32",
               seconds=timed(lambda: diffusion.ddim(denoiser, schedule, noise)))


def phi4(run: Run) -> None:
    """Flows for φ⁴: training, and how many samples and log-likelihoods they give in a second."""
    n, batch = run.sizes.fields, run.sizes.flow_batch
    for size in run.sizes.lattices:
        part = f"φ⁴, L = {size}, κ = {KAPPA}, λ₄ = {LAM}"
        start = time.perf_counter()
        x = gpu_fields.configurations(size, KAPPA, LAM, n, run.sizes.trajectories, run.device, 0)
        magnetisation = abs(x.mean(axis=(1, 2)))
        run.record(part, f"{n:,} configurations by hybrid Monte Carlo, {run.sizes.trajectories} "
                   "trajectories of each", seconds=time.perf_counter() - start,
                   mean_abs_M=float(magnetisation.mean()),
                   standard_error=float(sem(magnetisation)))
        action = flow_torch.phi4_action(types.SimpleNamespace(kappa=KAPPA, lam=LAM))
        fit = functools.partial(flow_torch.fit, action=action, batch_size=batch,
                                learning_rate=3e-2, progress=False)
        torch.manual_seed(0)
        flow = flow_torch.Flow(size)
        fit(copy.deepcopy(flow), x[:2 * batch], num_steps=2)
        gpu_counts.peak_memory(run.device)
        history = fit(flow, x, num_epochs=run.sizes.flow_epochs)
        memory = gpu_counts.peak_memory(run.device)
        counted = gpu_counts.of_a_step(flow, lambda flow, num, fit=fit, x=x: fit(
            flow, x[:3 * batch], num_steps=num))
        run.record(part, f"training, {len(x):,} configurations, batch {batch}, float32",
                   seconds=history.seconds, steps=history.num_steps,
                   loss=float(history["loss"][-1]), peak_memory_MB=memory,
                   **gpu_counts.shares(counted, history.seconds / history.num_steps, run.best,
                                       "float32"))
        for chunk in dict.fromkeys((flow_torch.CHUNK, n)):
            with mock.patch.object(flow_torch, "CHUNK", chunk):
                flow.sample(min(n, 2 * chunk), seed=1)
                sampled = []
                seconds = timed(lambda flow=flow, drawn=sampled: drawn.extend(
                    flow.sample(n, seed=2)))
                evaluation = timed(lambda flow=flow, x=x: flow.log_density(x))
            run.record(part, f"{n:,} at once in parts of {chunk}",
                       samples_a_second=n / seconds, log_likelihoods_a_second=n / evaluation)
        fields, log_q = sampled
        log_w = (-action(fields.double()) - log_q.double()).cpu().numpy()
        share, error = gpu_fields.effective_share(log_w)
        run.record(part, f"effective sample size, divided by {n:,} samples", share=share,
                   standard_error=error)


def iwae(run: Run) -> None:
    """The VAE of binary digits on the bound of 50 samples, for as long as there is time."""
    part = f"IWAE, K = 50: −log p(x) of {len(run.test):,} binary digits; in the paper {BURDA}"
    batch, num_samples = run.sizes.iwae_batch, run.sizes.importance_samples
    fit = functools.partial(iwae_torch.fit, batch_size=batch, precision="bfloat16", **IWAE)
    x = iwae_torch.binarise(run.test, torch.Generator().manual_seed(0))

    def new() -> iwae_torch.BinaryVAE:
        torch.manual_seed(0)
        return iwae_torch.BinaryVAE(mean_image=run.train.mean(axis=0))

    def evaluate(n: int) -> np.ndarray:
        return iwae_torch.log_weights(model, x[:n], num_samples, samples_per_pass=num_samples,
                                      progress=False)

    model = new()
    fit(model, run.train, num_steps=20)
    gpu_counts.peak_memory(run.device)
    history = fit(model, run.train, num_epochs=1)
    a_step = history.seconds / history.num_steps
    memory = gpu_counts.peak_memory(run.device)
    counted = gpu_counts.of_a_step(model, lambda model, num: fit(
        model, run.train[:3 * batch], num_steps=num))
    run.record(part, f"training, batch {batch}, bfloat16", milliseconds_a_step=1e3 * a_step,
               seconds_an_epoch=a_step * len(run.train) / batch,
               examples_a_second=batch / a_step, peak_memory_MB=memory,
               **gpu_counts.shares(counted, a_step, run.best, "bfloat16"))
    some = min(50, len(x))
    evaluate(some)
    to_evaluate = timed(lambda: evaluate(some)) * len(x) / some
    time_left = run.seconds_left - 1.3 * to_evaluate - 5  # the bounds of so many weights
    an_epoch = 1.1 * a_step * math.ceil(len(run.train) / batch)
    num_epochs = max(1, min(run.sizes.iwae_epochs, int(time_left / an_epoch)))
    model = new()
    seconds = timed(lambda: fit(model, run.train, num_epochs=num_epochs))
    log_weights = evaluate(len(x))
    for number in dict.fromkeys((50, num_samples)):
        bound = -np.concatenate([bounds.importance_weighted_bound(rows, number)
                                 for rows in np.array_split(log_weights, 20)])
        run.record(part, f"−L of {number:,} samples", epochs=num_epochs, seconds=seconds,
                   nats=round(float(bound.mean()), 2), standard_error=float(sem(bound)))


def deterministic(run: Run) -> None:
    """What GENMODELS_DETERMINISTIC=1 costs, and whether two runs then have the same weights."""
    part = (f"Deterministic mode, bfloat16: an epoch of {len(run.train):,} digits, four times the "
            "fastest of three with a quarter of them")
    size = run.sizes.unet_batch
    for make, fit in ((vae_torch.MLPVAE, vae_torch.fit), (vae_torch.ConvVAE, vae_torch.fit),
                      (unet_torch.UNet, unet_torch.fit)):
        data = (run.train, run.labels) if make is unet_torch.UNet else (run.train,)
        data = tuple(array[:len(array) // 4] for array in data)
        settings = {"batch_size": size, "precision": "bfloat16", "progress": False}
        figures = {}
        for value in ("0", "1"):
            with mock.patch.dict(os.environ, {determinism.VARIABLE: value}):
                models, seconds = [], []
                for _ in range(3):
                    torch.manual_seed(0)
                    models.append(make())
                    seconds.append(fit(models[-1], *data, num_epochs=1, **settings).seconds)
            weights = [torch.cat([weight.detach().flatten() for weight in model.parameters()])
                       for model in models[1:]]
            figures[value] = min(seconds) * len(run.train) / len(data[0]), weights
        genmodels.training.torch_tensors.set_deterministic_mode(False)
        (plain, ours), (slower, same) = figures["0"], figures["1"]
        run.record(part, make.__name__, seconds_as_it_is=plain, seconds_deterministic=slower,
                   times_slower=slower / plain,
                   same_bits_as_it_is="yes" if torch.equal(*ours) else "no",
                   same_bits_deterministic="yes" if torch.equal(*same) else "no")


def missing_for(*packages: str) -> str:
    """Which of these cannot be imported here; empty if all can."""
    missing = []
    for name in packages:
        try:
            importlib.import_module(name)
        except Exception as error:  # also one that is there, and too old for another
            missing.append(f"{name} ({type(error).__name__}: {error})")
    return ", ".join(missing)


def environment(**more: str) -> dict[str, str]:
    """The variables of a process that uses the package on this device."""
    folders = [str(ROOT / "code"), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, folders)),
                         "MPLBACKEND": "agg", **more}


def device_tests(run: Run) -> None:
    """The tests that are marked as ones of whatever device is there."""
    part = "Tests marked `device`"
    if missing := missing_for("pytest", "matplotlib"):
        run.record(part, f"cannot run here: {missing}")
        return
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-m", "device", f"--junitxml={report}",
                   "-p", "no:cacheprovider", str(ROOT / "tests" / "package" / "test_on_device.py")]
        alone = environment(PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")  # whatever else is installed
        said = subprocess.run(command, cwd=ROOT, env=alone, capture_output=True, text=True,
                              timeout=max(1, run.seconds_left - 1))
        if not report.exists():
            raise RuntimeError(said.stdout[-300:] + said.stderr[-300:])
        suite = xml.etree.ElementTree.parse(report).getroot().find("testsuite")
    counts = {name: int(suite.get(name)) for name in ("tests", "failures", "errors", "skipped")}
    run.record(part, "all", **counts, seconds=float(suite.get("time")))
    for case in suite.iter("testcase"):
        for kind in ("failure", "error"):
            if (problem := case.find(kind)) is not None:
                message = " ".join(problem.get("message", "").split())
                run.record(part, f"{case.get('name')}: {message[:200]}")
    if counts["failures"] + counts["errors"]:
        raise RuntimeError(f"{counts['failures']} tests failed, {counts['errors']} had errors")


def chapters(run: Run) -> None:
    """The asserts of the chapters, all chapters at once in processes of their own."""
    budget = "full" if run.sizes.chapters is None else "quick"
    part = f"Chapters, budget `{budget}`, at once in processes of one thread each"
    if missing := missing_for("matplotlib"):
        run.record(part, f"cannot run here: {missing}")
        return
    paths = [path for path in sorted((ROOT / "chapters").rglob("*.ipynb"))
             if run.sizes.chapters is None or path.stem in run.sizes.chapters]
    start, failed = time.perf_counter(), []
    variables = environment(GENMODELS_BUDGET=budget, OMP_NUM_THREADS="1", GENMODELS_DATA=run.data)
    with contextlib.ExitStack() as stack:
        processes = {}
        for path in paths:
            said = stack.enter_context(tempfile.TemporaryFile("w+"))
            process = subprocess.Popen(
                [sys.executable, str(ROOT / "benchmarks" / "chapter_cells.py"), str(path)],
                env=variables, stdout=said, stderr=subprocess.STDOUT)
            stack.callback(process.kill)
            processes[path.stem] = process, said
        while processes:
            late = run.seconds_left < 2
            for name, (process, said) in list(processes.items()):
                if process.poll() is None and not late:
                    continue
                seconds = time.perf_counter() - start
                process.kill()
                process.wait()
                said.seek(0)
                *_, last = ["", *said.read().strip().splitlines()]
                del processes[name]
                if process.returncode == 0:
                    run.record(part, name, asserts_hold="yes", seconds=seconds, **json.loads(last))
                elif late and process.returncode < 0:
                    run.record(part, f"{name}: stopped, since it does not fit", seconds=seconds)
                else:
                    run.record(part, f"{name}: {last[:200]}", asserts_hold="no", seconds=seconds)
                    if not last.startswith(("ModuleNotFoundError", "ImportError")):
                        failed.append(name)
            time.sleep(0.1)
    if failed:
        raise RuntimeError(f"{', '.join(failed)} failed")


def compiled(run: Run) -> None:
    """An experiment: does torch.compile with CUDA graphs make a whole run shorter?"""
    part = "Experiment: the loss of the MLP VAE by torch.compile, mode reduce-overhead"
    num_epochs = min(OURS["torch"]["num_epochs"], run.sizes.epochs)
    recipe = {**OURS["torch"], "num_epochs": num_epochs, "progress": False}
    size = recipe["batch_size"]
    x = run.train[:len(run.train) // size * size]  # all batches have one size
    how = {"mode": "reduce-overhead"} if run.device != "cpu" else {"backend": "eager"}
    for what in ("as it is", "compiled"):
        torch.manual_seed(0)
        model = vae_torch.MLPVAE()
        if what == "compiled":
            model.batch_loss = torch.compile(model.batch_loss, dynamic=False, **how)
        first = timed(lambda model=model: vae_torch.fit(model, x, **{**recipe, "num_epochs": 1}))
        whole = timed(lambda model=model: vae_torch.fit(model, x, **recipe))
        log_likelihood, kl = vae_torch.evaluate(model, run.test)
        run.record(part, what, seconds_first_epoch=first, seconds_a_run=whole,
                   minus_ELBO=float((kl - log_likelihood).mean()))


# Seconds each, at most; the most important first.
PARTS = {first_step: 40, copies: 40, mlp: 100, conv: 110, epochs: 40, unet: 50, phi4: 80,
         in_keras: 80, iwae: 240, deterministic: 40, device_tests: 60, chapters: 120, compiled: 60}


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


def described(device: str, best: dict[str, float]) -> dict[str, str | float]:
    """The machine and what is installed."""
    cuda = device != "cpu"
    versions = {"PyTorch": torch.__version__, "CUDA": torch.version.cuda if cuda else None,
                "Keras": keras and f"{keras.__version__} on {keras.backend.backend()}",
                "NumPy": np.__version__, "SciPy": scipy.__version__,
                "Python": platform.python_version()}
    missing = MISSING + ([] if lecture_programs.Image else ["Pillow"])
    return {"device": torch.cuda.get_device_name() if cuda else "CPU",
            **{name: version for name, version in versions.items() if version},
            "CPUs": os.cpu_count(), "threads": torch.get_num_threads(),
            **{f"matrix products in {name}, TFLOP/s": best[name] / 1e12
               for name in ("float32", "bfloat16")},
            "copies in memory, GB/s": best["copy"] / 1e9,
            "missing": ", ".join(missing) or "nothing"}


def main() -> None:
    names = {part.__name__: part for part in PARTS}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0],
                                     allow_abbrev=False)
    parser.add_argument("--dry-run", action="store_true", help="few digits, on the CPU")
    parser.add_argument("--data", type=Path, help="mnist.npz, the full digits")
    parser.add_argument("--out", type=Path, help="folder for gpu.json and gpu.md")
    parser.add_argument("--parts", nargs="+", metavar="PART", choices=[*names],
                        default=[*names], help=", ".join(names))
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
               "machine": {}, "parts": {}, "failed": {}, "seconds": {}}
    run = Run(device, sizes, digits, out, results,
              "bundled" if data == bundled else str(data.resolve()))
    results["machine"] = described(device, run.best)
    print(results["machine"], flush=True)
    chosen = [names[name] for name in names if name in arguments.parts]
    for number, part in enumerate(chosen):
        start = time.perf_counter()
        slack = SLACK if dry else 1
        left = START + slack * SECONDS - start
        limit = slack * PARTS[part] if len(chosen) == len(PARTS) else left
        if part is iwae and chosen[number + 1:]:
            left -= AFTER_IWAE
        limit = max(1, min(limit, left))
        run.end = start + limit
        try:
            with at_most(limit):
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
