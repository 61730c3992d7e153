"""Several processes that train one model in PyTorch, each on its share of every batch.

    torchrun --nproc-per-node 4 -m genmodels.training mlp-vae --num-epochs 3 --checkpoint run

`training.torch.train` does so by itself wherever `torch.distributed` is initialised, with gloo on
CPUs and NCCL on GPUs. Every process is given the same data and settings, and draws the same epoch.
Of the n rows of a batch process p of W takes those from ⌊n p/W⌋ to ⌊n (p+1)/W⌋: each example counts
once in an epoch whatever W is. The run is that of one process, but for the rounding of sums that
are made in another order, and of means that are divided in another place.

The gradient. Every process computes one objective O of the whole batch: sums over all rows come
from `Sum`, an all-reduce, everything else from their values. Let θ_p be the copy of the weights in
process p. Going backwards, `Sum` adds up what the processes say of its value, so process p ends
with the derivative by θ_p of the sum of all their objectives, W O(θ_1, …, θ_W), all copies being
varied apart. DistributedDataParallel averages this over the processes, and the W cancels:

    (1/W) Σ_p W ∂O/∂θ_p = Σ_p ∂O/∂θ_p = dO/dθ     at θ_1 = … = θ_W = θ

This holds for any function O of such sums: the mean of a loss, but also the free nats of a VAE,
which look at the mean KL divergence of the batch, and would differ for each process's own mean.
"""

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.rendezvous import rendezvous

from genmodels.training.history import Batch, History, Settings
from genmodels.training.steps import OneProcess, described, sums_of

__all__ = ["Alone", "Several", "Share", "joined", "processes_of"]

Terms = dict[str, torch.Tensor]


class Sum(torch.autograd.Function):
    """The sum of the processes' tensors, for each of them; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx, values: torch.Tensor) -> torch.Tensor:
        total = values.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> torch.Tensor:
        return Sum.apply(gradient)


@dataclass(frozen=True)
class Share:
    """The rows of a batch of num_rows that process `rank` of `size` has.

    One that would have none, since there are more processes than rows, is given the first row,
    which counts nothing there: not every network takes no row at all.
    """

    num_rows: int
    rank: int = 0
    size: int = 1

    @property
    def _range(self) -> tuple[int, int]:
        return (self.num_rows * self.rank // self.size,
                self.num_rows * (self.rank + 1) // self.size)

    @property
    def own(self) -> slice:
        """The places of these rows in the whole batch."""
        first, end = self._range
        return slice(first, end) if first < end else slice(0, 1)

    def sum(self, values: torch.Tensor, dim: int | None = None) -> torch.Tensor:
        """The sum of values (n, …) of these rows, over all or with dim=0 over rows; 0 if none."""
        total = values.sum() if dim is None else values.sum(dim)
        first, end = self._range
        return total if first < end else 0 * total

    def mean(self, values: torch.Tensor, dim: int | None = None) -> torch.Tensor:
        """The mean over the whole batch, the same in every process; see `Batch.mean`.

        Raises ValueError unless the values are (n, …), with dim=None or dim=0.
        """
        if self.size == 1:
            return values.mean() if dim is None else values.mean(dim)
        n = self.own.stop - self.own.start
        if dim not in (None, 0) or values.ndim == 0 or len(values) != n:
            raise ValueError(f"mean must be of values of shape ({n}, …), over all of them or with "
                             f"dim=0, got {tuple(values.shape)} and dim={dim}")
        per_row = values[0].numel() if dim is None else 1
        return Sum.apply(self.sum(values, dim)) / (self.num_rows * per_row)

    def batch(self, data: tuple, noise: tuple, free_nats: float, step: int) -> Batch:
        """What `batch_loss` gets of these rows."""
        return Batch(data, noise, free_nats, step, self.mean, self.own,
                     None if self.size == 1 else self.num_rows)


class Alone(OneProcess):
    """One process: the whole batch."""

    def share(self, num_rows: int) -> Share:
        """The rows of a batch that this process works on."""
        return Share(num_rows)

    def averaged(self, model: nn.Module, batch_loss: Callable[[Batch], Terms],
                 ) -> Callable[[Batch], Terms]:
        """The same function, of whose terms the gradient is averaged over the processes."""
        return batch_loss

    def total(self, sums: torch.Tensor) -> torch.Tensor:
        """The sums of all processes, added."""
        return sums

    def check_objective(self, objective: torch.Tensor) -> None:
        """Raises ValueError if the objective of the first step is not that of the whole batch."""


class Several(OneProcess):
    """This process and the others of `torch.distributed`."""

    alone = False

    def __init__(self):
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.first = self.rank == 0
        self._words = dist.new_group(backend="gloo")  # what is not computed with, on the CPU
        self._asked: tuple[dist.Work, torch.Tensor] | None = None
        self._checked = False

    def by_first(self, function: Callable) -> Any:
        """What the function returns, or raises, which process 0 alone calls; all others wait."""
        answer: list[tuple[Any, Exception | None]] = [(None, None)]
        if self.first:
            try:
                answer = [(function(), None)]
            except Exception as error:  # the others would wait for ever
                answer = [(None, error)]
        dist.broadcast_object_list(answer, src=0, group=self._words)
        value, error = answer[0]
        if error is not None:
            raise error
        return value

    def any(self, flag: bool) -> bool:
        """Whether a process had a flag when this was called before: nobody waits for an answer."""
        asked = self._asked
        flags = torch.tensor(int(flag))
        self._asked = (dist.all_reduce(flags, dist.ReduceOp.MAX, self._words, async_op=True),
                       flags)
        if asked is None:
            return False
        work, flags = asked
        work.wait()
        return bool(flags)

    def share(self, num_rows: int) -> Share:
        return Share(num_rows, self.rank, self.size)

    def averaged(self, model: nn.Module, batch_loss: Callable[[Batch], Terms],
                 ) -> Callable[[Batch], Terms]:
        """The same function, after which `backward` leaves the average gradient everywhere.

        All start from the weights that process 0 has. Terms may leave out some weights, but the
        same ones in each step (`static_graph`).
        """
        return nn.parallel.DistributedDataParallel(Differentiated(model, batch_loss),
                                                   static_graph=True)

    def total(self, sums: torch.Tensor) -> torch.Tensor:
        dist.all_reduce(sums)
        return sums

    def check_objective(self, objective: torch.Tensor) -> None:
        """Rounding differs by far less than √eps, the means of two shares by far more."""
        if self._checked:
            return
        self._checked = True
        values = self._from_all(objective.item())
        close = math.sqrt(torch.finfo(objective.dtype).eps)
        if math.isfinite(sum(values)) and not all(
                math.isclose(value, values[0], rel_tol=close) for value in values):
            raise ValueError("batch_loss must return the same objective in every process, made by "
                             f"batch.mean, got {', '.join(f'{value:.7g}' for value in values)}")

    def check_same(self, model: nn.Module, run: dict[str, Any]) -> None:
        """Raises ValueError unless all processes are given the same run, and a model that can be.

        The statistics of a batch normalisation would be those of a process's own rows.
        """
        for name, module in model.named_modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                raise ValueError("model must have no batch normalisation where several processes "
                                 f"train, got {type(module).__name__} in {name or 'the model'}")
        runs = self._from_all(run)
        for rank, theirs in enumerate(runs):
            for name, value in runs[0].items():
                if theirs.get(name) != value:
                    raise ValueError(f"{name} must be the same in every process, got {value} in "
                                     f"process 0 and {theirs.get(name)} in process {rank}")

    def close(self) -> None:
        """Ends the talk of the processes, all of which have come to the end of the run."""
        if self._asked is not None:
            self._asked[0].wait()
        dist.destroy_process_group(self._words)

    def _from_all(self, value: Any) -> list[Any]:
        values = [None] * self.size
        dist.all_gather_object(values, value, group=self._words)
        return values


class Differentiated(nn.Module):
    """A batch_loss as the `forward` of a module, which DistributedDataParallel wants."""

    def __init__(self, model: nn.Module, batch_loss: Callable[[Batch], Terms]):
        super().__init__()
        self.model, self.batch_loss = model, batch_loss

    def forward(self, batch: Batch) -> Terms:
        return self.batch_loss(batch)


@contextmanager
def processes_of(model: nn.Module, history: History, settings: Settings,
                 data: tuple) -> Iterator[Alone | Several]:
    """The processes that train together: all of `torch.distributed`, where it is initialised.

    Raises ValueError, naming what differs, unless they are given the same run.
    """
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        yield Alone()
        return
    processes = Several()
    folder = settings.checkpoint and str(settings.checkpoint)
    processes.check_same(model, {"checkpoint": folder, "precision": settings.precision,
                                 **described(history, settings), "num_steps": history.num_steps,
                                 "data": sums_of(data)})
    yield processes
    processes.close()  # after an error the others may be elsewhere


@contextmanager
def joined(device: str | None = None) -> Iterator[tuple[int, str | None]]:
    """Joins the processes that `torchrun` started; the rank, and the device of this process.

    device: that of all processes, such as "cpu"; None for a GPU of its own if there are any of
    CUDA, else the CPU. Where `torchrun` started nothing, the rank is 0, and the device the given
    one. Raises ValueError if there are fewer GPUs than processes here.

    `torchrun` keeps one store for all its restarts, in which processes find each other's addresses:
    those of the dead are there until the living have overwritten them. On one node each restart
    therefore has a part of the store of its own. On several nodes the variable
    TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 must be set for `torchrun`: then each has a new store.
    """
    if not (dist.is_available() and dist.is_torchelastic_launched()):
        yield 0, device
        return
    here, number = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["LOCAL_RANK"])
    if device is None and torch.cuda.is_available():
        if here > torch.cuda.device_count():
            raise ValueError("nproc-per-node must be at most the number of GPUs, "
                             f"{torch.cuda.device_count()}, unless device is 'cpu', got {here}")
        device = f"cuda:{number}"
        torch.cuda.set_device(number)
    device = device or "cpu"
    store, rank, size = next(rendezvous("env://"))
    if size == here:  # torchrun counts the restarts on each node for itself
        store = dist.PrefixStore(os.environ["TORCHELASTIC_RESTART_COUNT"], store)
    # gloo for tensors on CPUs, NCCL for those on GPUs of CUDA
    dist.init_process_group(store=store, rank=rank, world_size=size)
    yield rank, device
    dist.destroy_process_group()  # not after an error: the others may wait for this process
