"""What several GPUs would give: a model of the seconds of a step, on paper, for 1 to 64 of them.

    python benchmarks/scaling.py

N processes share a batch of B examples. A step takes

    T(N) = t₀ + B F / (N P) + 2 (N − 1)/N · G/b + 2 (N − 1) ℓ,    E(N) = T(1) / (N T(N))

t₀ is what every process does, however few its examples are: it starts the operations, and Adam
reads and writes 28 bytes for each weight. F: floating-point operations of one example, forwards and
backwards, at P a second. The rest is a ring that adds up the gradients of G bytes: each process
sends 2 (N − 1) pieces of G/N bytes, one after another, at b bytes a second, with ℓ seconds for each
piece. Nothing overlaps here. E is the efficiency: what N GPUs do in a second over N times what one
does.

Weights, F and the number of operations are counted in a step on the CPU; all else is assumed, and
stands below. "A graph": the host starts no operations, as if a CUDA graph did. The batch is shared,
or each GPU has one of its own. benchmarks/processes.py compares the model with two processes here.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from unittest.mock import patch

import numpy as np
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from genmodels.models import unet_torch, vae_torch
from genmodels.training.history import History

BATCH_SIZE = 128  # of the package, unless another is given
MOST = 64  # GPUs
BYTES_OF_A_WEIGHT = 4  # and of its gradient
BYTES_OF_ADAM = 7 * BYTES_OF_A_WEIGHT  # reads weight, gradient and two averages; writes all but one


@dataclass(frozen=True)
class Cluster:
    """What is assumed: an H100 (SXM) by its data sheet, and a modest network."""

    product_rate: float = 989e12  # floating-point operations a second in bfloat16, at best
    share: float = 0.2  # of this rate that small layers reach
    memory_rate: float = 3.35e12  # bytes a second
    start: float = 5e-6  # seconds until the host has started an operation
    num_per_node: int = 4  # GPUs
    rate_in_node: float = 450e9  # bytes a second in one direction: NVLink
    rate_of_network: float = 25e9  # 200 Gbit/s for a node
    latency_in_node: float = 2e-6  # seconds for each piece that goes round
    latency_of_network: float = 5e-6

    def all_reduce(self, num_bytes: float, n: int) -> float:
        """Seconds in which a ring of n GPUs adds up what each has; its slowest link decides."""
        rate, latency = ((self.rate_in_node, self.latency_in_node) if n <= self.num_per_node else
                         (self.rate_of_network, self.latency_of_network))
        return 2 * (n - 1) / n * num_bytes / rate + 2 * (n - 1) * latency

    def fixed(self, model: "Model") -> float:
        """t₀, seconds."""
        return model.operations * self.start + model.weights * BYTES_OF_ADAM / self.memory_rate

    def step(self, model: "Model", batch_size: float, n: int) -> float:
        """T(n), seconds; batch_size is that of all GPUs together."""
        examples = batch_size * model.flops / (n * self.product_rate * self.share)
        return self.fixed(model) + examples + self.all_reduce(model.gradient, n)

    def efficiency(self, model: "Model", n: int, batch_size: int = BATCH_SIZE, *,
                   growing: bool = False) -> float:
        """E(n), of a batch that n GPUs share, or of one that grows: batch_size for each of them."""
        if growing:
            return self.step(model, batch_size, 1) / self.step(model, n * batch_size, n)
        return self.step(model, batch_size, 1) / (n * self.step(model, batch_size, n))


@dataclass(frozen=True)
class Model:
    """What a step of a model costs anywhere."""

    name: str
    weights: int
    flops: int  # floating-point operations of an example in training
    operations: int  # that a step starts, whatever the batch; to one digit

    @property
    def gradient(self) -> int:
        """Bytes."""
        return self.weights * BYTES_OF_A_WEIGHT


class Operations(TorchDispatchMode):
    """Counts the operations of PyTorch."""

    count = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        self.count += 1
        return operation(*args, **(kwargs or {}))


def counted(name: str, make: Callable[[], nn.Module], fit: Callable) -> Model:
    """A model's numbers, between the ends of two steps with one example each."""
    model, counts, record = make(), [], History.record

    def counting(history, *arguments):
        record(history, *arguments)
        counts.append((flops.get_total_flops(), operations.count))

    # The last mode sees an operation first; FlopCounterMode takes some apart.
    with (FlopCounterMode(display=False) as flops, Operations() as operations,
          patch.object(History, "record", counting)):
        fit(model, num_steps=3, batch_size=1, precision="bfloat16", device="cpu", progress=False)
    flops_of_step, operations_of_step = (after - before for before, after in zip(*counts[-2:]))
    return Model(name, sum(weight.numel() for weight in model.parameters()), flops_of_step,
                 int(float(f"{operations_of_step:.1g}")))  # their seconds are no better known


def models() -> list[Model]:
    """The VAE, the U-Net, and a U-Net of ten times as many weights and operations."""
    x, labels = np.zeros((3, 28, 28), np.float32), np.zeros(3, int)

    def fit_vae(model, **settings):
        vae_torch.fit(model, x, **settings)

    def fit_unet(model, **settings):
        unet_torch.fit(model, x, labels, **settings)

    return [counted("MLPVAE", vae_torch.MLPVAE, fit_vae),
            counted("U-Net", unet_torch.UNet, fit_unet),
            counted("U-Net, ten times larger", lambda: unet_torch.UNet((48, 104, 208)), fit_unet)]


def first_below_half(efficiency: Callable[[int], float]) -> str:
    """The smallest number of GPUs at which the efficiency is below one half."""
    return next((str(n) for n in range(2, MOST + 1) if efficiency(n) < 0.5), f"over {MOST}")


def costs(models: list[Model], cluster: Cluster) -> list[str]:
    """A table in Markdown: what was counted, and the parts of a step."""
    rows = ["| model | weights, million | F, million | operations | t₀, ms | B F/P, ms | "
            f"ring of {cluster.num_per_node}, ms | ring of {MOST}, ms |", "| --- " * 8 + "|"]
    for model in models:
        fixed = cluster.fixed(model)
        parts = [fixed, cluster.step(model, BATCH_SIZE, 1) - fixed,
                 *(cluster.all_reduce(model.gradient, n) for n in (cluster.num_per_node, MOST))]
        cells = [model.name, f"{model.weights / 1e6:.2f}", f"{model.flops / 1e6:,.1f}",
                 str(model.operations), *(f"{1e3 * seconds:.3f}" for seconds in parts)]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def efficiencies(models: list[Model], cluster: Cluster) -> list[str]:
    """A table in Markdown: E(N), and where it falls below one half."""
    cases = {f"{BATCH_SIZE}, shared": (cluster, False),
             f"{BATCH_SIZE}, shared; a graph": (replace(cluster, start=0.0), False),
             f"{BATCH_SIZE} for each": (cluster, True),
             f"{BATCH_SIZE} for each; a graph": (replace(cluster, start=0.0), True)}
    numbers = (2, 4, 8, MOST)
    rows = ["| model | batch | " + " | ".join(f"E({n})" for n in numbers) + " | E < ½ from N = |",
            "| --- " * (3 + len(numbers)) + "|"]
    for model in models:
        for name, (assumed, growing) in cases.items():
            efficiency = partial(assumed.efficiency, model, growing=growing)
            values = " | ".join(f"{efficiency(n):.2f}" for n in numbers)
            rows.append(f"| {model.name} | {name} | {values} | {first_below_half(efficiency)} |")
    return rows


if __name__ == "__main__":
    torch.set_num_threads(1)
    found = models()
    print("\n".join([*costs(found, Cluster()), "", *efficiencies(found, Cluster())]))
