"""What a training step computes and moves, and what this machine can do at best.

Floating-point operations are those of matrix products and convolutions, forwards and backwards, as
`torch.utils.flop_counter` has them: a multiplication and an addition are two. Bytes are those that
every operation of PyTorch reads from its inputs and writes to its outputs, one operation after the
other: what a cache spares is counted too.
"""

import copy
import math
from collections.abc import Callable

import torch
from time_to_quality import product_rate, timed
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

WITHOUT_TRAFFIC = ("empty", "new_empty", "empty_like", "empty_strided", "new_empty_strided",
                   "_unsafe_view", "_reshape_alias", "lift_fresh")


class Traffic(TorchDispatchMode):
    """Within it `bytes` counts what operations read and write."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        name = operation.overloadpacket.__name__
        if not operation.is_view and name not in WITHOUT_TRAFFIC:
            self.bytes += size((args, kwargs))
            written = [argument.name for argument in operation._schema.arguments
                       if argument.alias_info and argument.alias_info.is_write]
            if written:  # in place: what is written is an argument
                names = [argument.name for argument in operation._schema.arguments]
                given = dict(zip(names, args)) | (kwargs or {})
                self.bytes += size([given.get(each) for each in written])
            else:
                self.bytes += size(result)
        return result


def size(values) -> int:
    """Bytes of all tensors within, an expanded one counted as it lies in memory."""
    return sum(min(each.numel() * each.itemsize, each.untyped_storage().nbytes())
               for each in tree_leaves(values) if isinstance(each, torch.Tensor))


def of_a_step(model: torch.nn.Module, fit: Callable) -> tuple[float, float]:
    """Floating-point operations and bytes of one step: half of what three take beyond one.

    fit: trains a model of this kind for a number of steps, on three batches of data.
    """
    counts = []
    for num_steps in (1, 3):
        with FlopCounterMode(display=False) as operations:
            fit(copy.deepcopy(model), num_steps)
        with Traffic() as traffic:
            fit(copy.deepcopy(model), num_steps)
        counts.append((operations.get_total_flops(), traffic.bytes))
    return tuple((three - one) / 2 for one, three in zip(*counts))


def rates(device: str, rows: int, length: int) -> dict[str, float]:
    """The best of some matrix products, by type, and of some copies on the device: a second."""
    best = {name: product_rate(dtype, rows, device) for name, dtype in
            (("float32", torch.float32), ("bfloat16", torch.bfloat16))}
    a = torch.randn(length, device=device)  # zeros may be faster
    b = torch.zeros_like(a)
    seconds = min(timed(lambda: b.copy_(a)) for _ in range(6))
    return best | {"copy": 2 * size(a) / seconds}  # read and written


def shares(counted: tuple[float, float], seconds: float, best: dict[str, float],
           precision: str) -> dict[str, float]:
    """What a step computes and moves, and the shares of what the machine does at best."""
    operations, moved = counted
    return {"GFLOP_a_step": operations / 1e9, "MB_a_step": moved / 1e6,
            "of_the_rate_of_products": operations / seconds / best[precision],
            "of_the_rate_of_copies": moved / seconds / best["copy"]}


def peak_memory(device: str) -> float:
    """The most memory, in MB, that tensors took on the device since the last call; NaN on a CPU."""
    if device == "cpu":
        return math.nan
    peak = torch.cuda.max_memory_allocated() / 1e6
    torch.cuda.reset_peak_memory_stats()
    return peak
