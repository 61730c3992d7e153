"""Settings and history of a training run, in both frameworks.

The order of the examples and their noise come from NumPy, so that `training.torch.train` and
`training.keras.train` see the same batches, and so that a run that is stopped after any step and
continued later gives what one run would have given.
"""

import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from genmodels.validate import check_positive_int, check_seed

__all__ = ["Batch", "Draw", "History", "Settings", "free_nats_at", "learning_rate_at", "normal"]

# How the learning rate goes, and its peak unless one is given.
RECIPES = {"warm-up": 4e-3, "lecture": 1e-3}
FREE_NATS = 0.2  # of each latent dimension, in the first half of a run with "warm-up"


@dataclass(frozen=True)
class Settings:
    """How long, how fast and from which random numbers a model is trained.

    num_epochs, num_steps: exactly one of them. An epoch meets every example once, in an order that
        follows from seed; its last batch may be smaller.
    recipe, learning_rate: "warm-up" raises the rate linearly to its peak, 4e-3 unless learning_rate
        is given, over the first tenth of the steps, and lowers it to zero along half a cosine; in
        the first half of the steps 0.2 nats of each latent dimension are free. "lecture" keeps the
        rate at 1e-3, or at learning_rate, and nothing is free.
    precision: "float32" or "bfloat16", in which the networks multiply matrices while all else stays
        as it is; None for bfloat16 where the recipe is "warm-up", the model float32 and the
        processor has it (in Keras on TensorFlow's CPU alone).
    device: None for a GPU if there is one, else the CPU, or in Keras for the devices of the
        distribution that is set; or a name such as "cpu", "cuda:0".
    checkpoint: a folder for the weights, the optimiser and the history, written anew every 100
        steps and at the end. If it holds the checkpoint of this run, the run goes on from there.

    Raises TypeError or ValueError, naming the argument that is wrong.
    """

    num_epochs: int | None = None
    num_steps: int | None = None
    batch_size: int = 128
    learning_rate: float | None = None
    recipe: str = "warm-up"
    precision: str | None = None
    seed: int = 0
    device: str | None = None
    progress: bool = True
    checkpoint: str | Path | None = None

    def __post_init__(self):
        if not isinstance(self.recipe, str) or self.recipe not in RECIPES:
            raise ValueError(f"recipe must be one of {', '.join(map(repr, RECIPES))}, "
                             f"got {self.recipe!r}")
        if (self.num_epochs is None) == (self.num_steps is None):
            raise ValueError("num_epochs or num_steps must be given, and not both, got num_epochs="
                             f"{self.num_epochs!r}, num_steps={self.num_steps!r}")
        for name in ("num_epochs", "num_steps", "batch_size"):
            if getattr(self, name) is not None or name == "batch_size":
                check_positive_int(getattr(self, name), name)
        check_seed(self.seed)
        rate = self.learning_rate
        if rate is not None and (not isinstance(rate, numbers.Real) or isinstance(rate, bool)):
            raise TypeError(f"learning_rate must be a positive number, got {rate!r}")
        if rate is not None and not (math.isfinite(rate) and rate > 0):
            raise ValueError(f"learning_rate must be positive and finite, got {rate!r}")
        if self.precision not in (None, "float32", "bfloat16"):
            raise ValueError("precision must be 'float32', 'bfloat16' or None, "
                             f"got {self.precision!r}")
        if not isinstance(self.checkpoint, str | Path | None):
            raise TypeError("checkpoint must be the path of a folder or None, "
                            f"got {self.checkpoint!r}")
        for name in ("num_epochs", "num_steps", "batch_size", "seed"):  # no numbers of NumPy
            if getattr(self, name) is not None:
                object.__setattr__(self, name, int(getattr(self, name)))
        if rate is not None:
            object.__setattr__(self, "learning_rate", float(rate))

    @property
    def peak(self) -> float:
        """The largest learning rate."""
        return RECIPES[self.recipe] if self.learning_rate is None else self.learning_rate


def _mean(values: Any, dim: int | None = None) -> Any:
    """The mean of values (n, …) of all rows, or with dim=0 over the rows alone (…)."""
    return values.mean() if dim is None else values.mean(dim)


class Batch(NamedTuple):
    """What a step works on, as tensors on the device: `batch_loss` gets it.

    Where several processes train (`training.torch_parallel`), these are the rows of one of them;
    what is minimised is still one number for the whole batch. A batch_loss may therefore return for
    each row whatever follows from this row and the weights, but may combine rows by `mean` alone,
    and must draw random numbers for the whole batch, and take its own:

        objective = batch.mean(loss) + (free - batch.mean(kl, dim=0)).clamp(min=0).sum()
        noise = torch.randn(batch.num_rows, k, generator=generator)[batch.own]
        coins = torch.bernoulli(batch.spread(x), generator=generator)[batch.own]

    All this is PyTorch's. In Keras `data` and `noise` are the whole batch also where several
    devices share it (`training.keras_parallel`), and operations of Keras combine rows as they like.
    """

    data: tuple  # of each array of the data its rows (n, …)
    noise: tuple  # what was drawn for them, (n, …) each
    free_nats: Any  # of each latent dimension at this step, a scalar
    step: int | None  # steps done before this one; None in Keras, which compiles batch_loss
    mean: Callable[..., Any] = _mean  # over the rows of the whole batch
    own: slice = slice(None)  # which of them this process has
    whole: int | None = None  # how many there are, unless they all are here

    @property
    def num_rows(self) -> int:
        """How many rows the whole batch has."""
        return len(self.data[0]) if self.whole is None else self.whole

    def spread(self, values: Any) -> Any:
        """Values (n, …) at their places in the whole batch; ones where the other rows are."""
        if self.whole is None:
            return values
        result = values.new_ones(self.whole, *values.shape[1:])
        result[self.own] = values
        return result


Draw = Callable[[np.random.Generator, "History", range], tuple[np.ndarray, ...]]


def normal(*shape: int) -> Draw:
    """A `draw` for `train`: for each example standard normal numbers of this shape."""
    def draw(rng: np.random.Generator, history: "History", steps: range):
        noise = rng.standard_normal((history.num_examples, *shape), dtype=np.float32)
        return (noise[steps.start * history.batch_size:steps.stop * history.batch_size],)

    return draw


@dataclass
class History:
    """Averages over the examples of every epoch (nats per example), and what is needed to go on.

    `history["loss"]` and every other term of `batch_loss` have one entry for each epoch: the mean
    over all its examples, each counted once, at the parameters its batch met. If the last epoch was
    cut short, its entry averages the examples seen so far, until a later call completes the epoch.
    """

    terms: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0  # spent in training, compilation included
    num_steps: int = 0  # optimiser steps done

    # What is needed to go on.
    model: Any = field(default=None, repr=False)
    optimizer: Any = field(default=None, repr=False)
    num_examples: int = field(default=0, repr=False)
    batch_size: int = field(default=0, repr=False)
    seed: int = field(default=0, repr=False)
    schedule: tuple[int, int] = field(default=(0, 0), repr=False)  # its first step, and its end
    _sums: dict = field(default_factory=dict, repr=False)  # of each term in this epoch
    _pending: list = field(default_factory=list, repr=False)
    _failed_step: int | None = field(default=None, repr=False)
    _of_run: dict = field(default_factory=dict, repr=False)  # what a checkpoint must be of
    _steps_cut_short: int = field(default=0, repr=False)  # perhaps done, but not counted

    def __getitem__(self, name: str) -> list[float]:
        if name not in self.terms:
            raise KeyError(f"the history has {', '.join(self.terms) or 'no terms yet'}, "
                           f"got {name!r}")
        return self.terms[name]

    def __copy__(self) -> "History":
        """Another history of the same model and optimiser, with numbers of its own."""
        return _restored(_own_numbers(self))

    def __reduce__(self):
        """For copy.deepcopy and pickle: with the state of the optimiser."""
        fields, optimizer = _own_numbers(self), self.optimizer
        if hasattr(optimizer, "get_config"):  # one of Keras, which does not copy its own state
            state = [np.array(variable.numpy()) for variable in optimizer.variables]
            fields["optimizer"] = type(optimizer), optimizer.get_config(), state
        return _restored, (fields,)

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch; the last one may be smaller than the others."""
        return math.ceil(self.num_examples / self.batch_size)

    @property
    def epoch_is_unfinished(self) -> bool:
        """Whether the last entry of the terms averages only a part of the examples."""
        return self.num_steps % self.steps_per_epoch != 0

    def record(self, sums: dict[str, Any], num_examples: int) -> None:
        """Counts one step: the sums over its batch (numbers, or scalars still on the device)."""
        self._pending.append((sums, num_examples))
        self.num_steps += 1

    def settle(self, fetch: Callable[[list], list[float]] = list) -> None:
        """Fetches the recorded sums, all at once, and writes the last entries of every term.

        Fetching makes a GPU wait, so this is done now and then rather than at each step. The sums
        are added in float64 and in order: the result does not depend on when this is called.
        """
        if not self._pending:
            return
        values = iter(fetch([value for sums, _ in self._pending for value in sums.values()]))
        first = self.num_steps - len(self._pending)
        for step, (sums, num_examples) in enumerate(self._pending, first):
            for name, value in {"": num_examples, **dict(zip(sums, values))}.items():
                self._sums[name] = self._sums.get(name, 0.0) + float(value)
            if self._failed_step is None and not all(map(math.isfinite, self._sums.values())):
                self._failed_step = step + 1
            epoch, place = divmod(step, self.steps_per_epoch)
            for name in sums:
                mean = self._sums[name] / self._sums[""]
                self.terms.setdefault(name, [])[epoch:] = [mean]
            if place == self.steps_per_epoch - 1:
                self._sums = {}
        self._pending.clear()

    def progress(self) -> dict[str, Any]:
        """The numbers of steps and of the terms so far, which `return_to` takes."""
        return {"num_steps": self.num_steps, "seconds": self.seconds, "sums": dict(self._sums),
                "terms": {name: list(values) for name, values in self.terms.items()}}

    def return_to(self, progress: dict[str, Any]) -> None:
        """Undoes, in place, what was recorded since `progress`; the time spent stays."""
        self.num_steps, self._failed_step = progress["num_steps"], None
        self.terms = {name: list(values) for name, values in progress["terms"].items()}
        self._sums, self._pending = dict(progress["sums"]), []


def _own_numbers(history: History) -> dict[str, Any]:
    """What a history holds by name, also what the user added; lists and dictionaries copied."""
    history.settle()  # no number may wait on a device
    own = {name: list(value) if isinstance(value, list) else value
           for name, value in vars(history).items() if name != "_compiled"}
    terms = {name: list(values) for name, values in history.terms.items()}
    return own | {"terms": terms, "_sums": dict(history._sums)}


def _restored(fields: dict[str, Any]) -> History:
    """The history that `_own_numbers` described; Keras's optimiser is made when it goes on."""
    history = History()
    vars(history).update(fields)
    return history


def learning_rate_at(step: int, schedule: tuple[int, int], recipe: str, peak: float) -> float:
    """The learning rate of a step, counted from 0, of a schedule (first step, end)."""
    if recipe == "lecture":
        return peak
    done, total = step - schedule[0], schedule[1] - schedule[0]
    rise = max(1, total // 10)
    if done < rise:
        return peak * (done + 1) / rise
    return peak * 0.5 * (1 + math.cos(math.pi * (done - rise) / (total - rise)))


def free_nats_at(step: int, schedule: tuple[int, int], recipe: str) -> float:
    """The KL divergence, in nats, that costs a latent dimension nothing at a step, as above.

    The objective counts max(free, KL_j) for dimension j, its KL averaged over the batch ("free
    bits", Kingma et al. 2016), so that no dimension falls asleep before the decoder can use it.
    "warm-up": 0.2 nats in the first half of the steps, none in the second, which minimises −ELBO
    itself. "lecture": none.
    """
    in_first_half = 2 * (step - schedule[0]) < schedule[1] - schedule[0]
    return FREE_NATS if recipe == "warm-up" and in_first_half else 0.0
