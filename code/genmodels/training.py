"""What the `fit` of both frameworks shares: history, recipes, batches, progress bar, Ctrl-C, NaN.

Nothing here knows a framework. The order of the examples and the noise come from NumPy, so that
`vae_torch.fit` and `vae_keras.fit` see the same batches, and so that a run which is stopped after
any step and continued later gives what one run would have given.
"""

import math
import numbers
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm  # not tqdm.auto, whose widget would land in a notebook's output

from genmodels.datasets import check_images
from genmodels.gaussian import plain_array

# How the learning rate goes, and its peak unless one is given.
RECIPES = {"warm-up": 4e-3, "lecture": 1e-3}
FREE_NATS = 0.2  # of each latent dimension, in the first half of a run with "warm-up"
STEPS_BETWEEN_COPIES = 100  # of the weights, to return to when a loss is NaN


@dataclass
class History:
    """Averages over the examples of every epoch (nats per example), and what is needed to go on.

    `loss`, `log_likelihood` and `kl` have one entry for each epoch: the mean over all its examples,
    each counted once, at the parameters its batch met. If the last epoch was cut short, its entry
    averages the examples seen so far, and the `fit` that completes the epoch replaces it.
    """

    loss: list[float] = field(default_factory=list)  # −ELBO = kl − log_likelihood
    log_likelihood: list[float] = field(default_factory=list)
    kl: list[float] = field(default_factory=list)
    seconds: float = 0.0  # spent in fit, compilation included
    num_steps: int = 0  # optimiser steps done

    # What fit needs to go on.
    model: Any = field(default=None, repr=False)
    optimizer: Any = field(default=None, repr=False)
    num_examples: int = field(default=0, repr=False)
    batch_size: int = field(default=0, repr=False)
    seed: int = field(default=0, repr=False)
    schedule: tuple[int, int] = field(default=(0, 0), repr=False)  # its first step, and its end
    _epoch_sums: list = field(default_factory=lambda: [0.0, 0.0, 0], repr=False)
    _pending: list = field(default_factory=list, repr=False)
    _failed_step: int | None = field(default=None, repr=False)
    _steps_cut_short: int = field(default=0, repr=False)  # perhaps done, but not counted

    def __copy__(self) -> "History":
        """Another history of the same model and optimiser, with numbers of its own."""
        return _restored(_own_lists(self))

    def __reduce__(self):
        """For copy.deepcopy and pickle: with the state of the optimiser."""
        fields, optimizer = _own_lists(self), self.optimizer
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
        """Whether the last entry of the lists averages only a part of the examples."""
        return self.num_steps % self.steps_per_epoch != 0

    def record(self, log_likelihood, kl, num_examples: int) -> None:
        """Counts one step: the sums over its batch (numbers, or scalars still on the device)."""
        self._pending.append((log_likelihood, kl, num_examples))
        self.num_steps += 1
        if not self.epoch_is_unfinished:
            self.settle()
            self._epoch_sums = [0.0, 0.0, 0]

    def settle(self) -> None:
        """Fetches the recorded sums and writes the last entry of the lists.

        Fetching makes a GPU wait, so this is done now and then rather than at each step. The sums
        are added in float64 and in order: the result does not depend on when this is called.
        """
        if not self._pending:
            return
        sums = self._epoch_sums
        first = self.num_steps - len(self._pending) + 1
        for step, (log_likelihood, kl, num_examples) in enumerate(self._pending, first):
            sums[0] += float(log_likelihood)
            sums[1] += float(kl)
            sums[2] += num_examples
            if self._failed_step is None and not math.isfinite(sums[0] + sums[1]):
                self._failed_step = step
        self._pending.clear()
        epoch = (self.num_steps - 1) // self.steps_per_epoch
        means = sums[0] / sums[2], sums[1] / sums[2]
        self.log_likelihood[epoch:] = [means[0]]
        self.kl[epoch:] = [means[1]]
        self.loss[epoch:] = [means[1] - means[0]]


def _own_lists(history: History) -> dict[str, Any]:
    """What a history holds by name, also what the user added; the lists copied."""
    history.settle()  # no number may wait on a device
    return {name: list(value) if isinstance(value, list) else value
            for name, value in vars(history).items()}


def _restored(fields: dict[str, Any]) -> History:
    """The history that `History.__reduce__` described, its optimiser bound to its own model."""
    if isinstance(fields["optimizer"], tuple):
        kind, config, state = fields["optimizer"]
        from genmodels.vae_keras import own_settings
        with own_settings(fields["model"].variable_dtype):  # of the learning rate, too
            fields["optimizer"] = optimizer = kind.from_config(config)
            if state:
                optimizer.build(fields["model"].weights)
                optimizer.set_weights(state)
    history = History()
    vars(history).update(fields)
    return history


def is_a(value: Any, name: str) -> bool:
    """Whether a value is of the class with this name, for instance "genmodels.training.History".

    `isinstance` would refuse what was made before the class's module was reloaded: the module then
    has another class of the same name.
    """
    return any(f"{cls.__module__}.{cls.__qualname__}" == name for cls in type(value).__mro__)


def check_optimizer(history: History, num_steps: int) -> None:
    """Raises ValueError if the history's optimiser, after num_steps steps, is no longer its own.

    It may have lost its state, or have gone on with a copy of the history. (Steps of parts of the
    model that were frozen in turn are fewer than all steps, but not none.)
    """
    lost = num_steps == 0 < history.num_steps
    if lost or num_steps > history.num_steps + history._steps_cut_short:
        raise ValueError(f"cannot go on: the history has {history.num_steps} steps, its optimiser "
                         f"{num_steps}; they must belong together")


def check_weights(weights: dict[str, tuple[str, bool, bool]]) -> None:
    """Raises TypeError or ValueError unless a model with these weights can be trained.

    For each weight: its type, whether it is finite and whether it is trainable.
    """
    for name, (dtype, finite, _) in weights.items():
        check_precise(dtype, name)
        if not finite:
            raise ValueError(f"model must have finite weights before the first step, got NaN or "
                             f"infinity in {name}")
    if not any(trainable for _, _, trainable in weights.values()):
        raise ValueError("model must have weights that are trainable, got none")


def check_precise(dtype: Any, name: str) -> None:
    """Raises TypeError, naming the weight or layer, unless dtype is float32 or float64."""
    dtype = str(dtype).removeprefix("torch.")
    if dtype not in ("float32", "float64"):
        raise TypeError(f"model must be of float32 or float64, got {dtype} in {name}")


def check_device(device: Any, available: list[str]) -> str | None:
    """The name that a device has among those available, such as "cpu", "cuda:0"; None for None.

    "CUDA", "gpu" and "gpu:0" are one. Raises ValueError if the device is not available.
    """
    if device is None:
        return None
    known = {_common_name(each): each for each in available}
    if _common_name(str(device)) not in known:
        raise ValueError(f"device must be one of {', '.join(map(repr, available))} or None, "
                         f"got {str(device)!r}")
    return known[_common_name(str(device))]


def _common_name(device: str) -> str:
    return device.lower().replace("cuda", "gpu").removesuffix(":0")


def check_seed(seed: Any) -> None:
    """Raises TypeError or ValueError unless seed is an integer ≥ 0."""
    if not isinstance(seed, numbers.Integral) or isinstance(seed, bool):
        raise TypeError(f"seed must be a non-negative integer, got {seed!r}")
    if seed < 0:
        raise ValueError(f"seed must be a non-negative integer, got {seed!r}")


def check_positive_int(value, name: str) -> None:
    """Raises TypeError or ValueError, naming the argument, unless value is an integer ≥ 1."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool):
        raise TypeError(f"{name} must be a positive integer, got {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}")


def check_precision(precision) -> None:
    """Raises ValueError unless precision is one that `fit` knows, or None."""
    if precision not in (None, "float32", "bfloat16"):
        raise ValueError(f"precision must be 'float32', 'bfloat16' or None, got {precision!r}")


def cpu_has_bfloat16() -> bool:
    """Whether this CPU says that it multiplies matrices in bfloat16; False where none can ask."""
    cpu_info = Path("/proc/cpuinfo")  # Linux
    flags = cpu_info.read_text().split() if cpu_info.exists() else []
    return any(flag in flags for flag in ("avx512_bf16", "amx_bf16", "bf16"))


def check_latent(h, name: str, latent_dim: int, n: int | None, samples: bool) -> None:
    """Raises TypeError or ValueError unless h holds floats and has shape (n, k), any n if None.

    With `samples` the shape is (n, K, k), for any K ≥ 1. NumPy arrays and tensors alike.
    """
    if "float" not in getattr(h.dtype, "name", str(h.dtype)):  # ">f4" has the name "float32"
        raise TypeError(f"{name} must hold floats, got {h.dtype}")
    shape = tuple(h.shape)
    axes = [n or "n", *(["K"] if samples else []), latent_dim]
    if len(shape) != len(axes) or any(given != axis if isinstance(axis, int) else given < 1
                                      for given, axis in zip(shape, axes)):
        free = [axis for axis in axes if isinstance(axis, str)]
        expected = f"({', '.join(map(str, axes))})"
        expected += f" with {' and '.join(free)} at least 1" if free else ""
        raise ValueError(f"{name} must have shape {expected}, got {shape}")


def check_binary(images: Any, name: str) -> None:
    """Raises TypeError or ValueError unless images are images (n, 28, 28) of zeros and ones."""
    check_images(images, name)
    x = plain_array(images)
    if not np.all((x == 0) | (x == 1)):
        raise ValueError(f"{name} must hold zeros and ones, since a grey image has no likelihood "
                         "under Bernoulli pixels (see `iwae_torch.binarise`), got grey values")


def learning_rate_at(step: int, schedule: tuple[int, int], recipe: str, peak: float) -> float:
    """The learning rate of a step, counted from 0, of a schedule (first step, end).

    "lecture": constant. "warm-up": it rises linearly to its peak over the first tenth of the steps
    and falls towards zero along half a cosine.
    """
    if recipe == "lecture":
        return peak
    done, total = step - schedule[0], schedule[1] - schedule[0]
    rise = max(1, total // 10)
    if done < rise:
        return peak * (done + 1) / rise
    return peak * 0.5 * (1 + math.cos(math.pi * (done - rise) / (total - rise)))


def free_nats_at(step: int, schedule: tuple[int, int], recipe: str) -> float:
    """The KL divergence, in nats, that costs a latent dimension nothing at a step, as above.

    The loss counts max(free, KL_j) for dimension j, its KL averaged over the batch ("free bits",
    Kingma et al. 2016), so that no dimension falls asleep before the decoder can use it. "warm-up":
    0.2 nats in the first half of the steps, none in the second, which minimises −ELBO itself.
    "lecture": none.
    """
    in_first_half = 2 * (step - schedule[0]) < schedule[1] - schedule[0]
    return FREE_NATS if recipe == "warm-up" and in_first_half else 0.0


def begin(history: History | None, *, model, num_examples: int, num_epochs, num_steps, batch_size,
          seed, learning_rate, recipe) -> tuple[History, float]:
    """Checks the arguments of `fit`; returns a history to go on with, and the peak learning rate.

    The history is new, or the given one if it can be extended. Its schedule spans the steps to
    come; a run that was interrupted and now goes to the end it would have had keeps its schedule.
    Raises TypeError or ValueError, naming the argument.
    """
    if not isinstance(recipe, str) or recipe not in RECIPES:
        raise ValueError(f"recipe must be one of {', '.join(map(repr, RECIPES))}, got {recipe!r}")
    if learning_rate is None:
        learning_rate = RECIPES[recipe]
    if (num_epochs is None) == (num_steps is None):
        raise ValueError("give exactly one of num_epochs and num_steps, "
                         f"got num_epochs={num_epochs!r}, num_steps={num_steps!r}")
    if num_epochs is not None:
        check_positive_int(num_epochs, "num_epochs")
    if num_steps is not None:
        check_positive_int(num_steps, "num_steps")
    check_positive_int(batch_size, "batch_size")
    check_seed(seed)
    if not isinstance(learning_rate, numbers.Real) or isinstance(learning_rate, bool):
        raise TypeError(f"learning_rate must be a positive number, got {learning_rate!r}")
    if not (math.isfinite(learning_rate) and learning_rate > 0):
        raise ValueError(f"learning_rate must be positive and finite, got {learning_rate!r}")

    settings = {"num_examples": num_examples, "batch_size": batch_size, "seed": seed}
    if history is None:
        history = History(model=model, **settings)
    if not is_a(history, "genmodels.training.History"):
        raise TypeError(f"history must be a History or None, got {type(history).__name__}")
    if history.model is not model:
        raise ValueError("cannot go on: the history was made with another model, history.model")
    for name, given in settings.items():
        if given != getattr(history, name):
            raise ValueError(f"cannot go on: the history was made with {name}="
                             f"{getattr(history, name)}, got {name}={given}")
    done, per_epoch = history.num_steps, history.steps_per_epoch
    # An unfinished epoch is the first of num_epochs.
    end = done + num_steps if num_steps else (done // per_epoch + num_epochs) * per_epoch
    if end != history.schedule[1]:
        history.schedule = done, end
    return history, learning_rate


@contextmanager
def batches(history: History, *, latent_dim: int, progress: bool,
            keep: Callable[[], Callable[[], None]],
            ) -> Iterator[Iterator[tuple[np.ndarray, np.ndarray]]]:
    """Gives the remaining batches of a run as pairs (rows, noise), and ends the run tidily.

    Epoch e is drawn from a generator of its own, seeded with (seed, e): `rows` is a slice of a
    permutation of all examples, `noise` (batch, k) a slice of standard normal numbers.

    Ctrl-C is held back until the step under way is complete, so that the model, the optimiser and
    the history always agree; a second Ctrl-C is not held back. The run then ends with one line.

    `keep` copies the model and the optimiser, and returns a function that puts the copy back. It is
    called every 100 steps, after a look at the losses so far: if one is NaN or infinite, model,
    optimiser and history return to the last copy at which the loss was finite. Raises
    FloatingPointError, naming the step.
    """
    done, end = history.num_steps, history.schedule[1]
    stop = threading.Event()
    copies = []  # the last two: (steps done, function that puts it back)
    step_under_way = False

    def hold_back(signum, frame):
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    def keep_all():
        put_back, steps, sums = keep(), history.num_steps, list(history._epoch_sums)
        lists = [list(values) for values in (history.loss, history.log_likelihood, history.kl)]

        def put_all_back():
            put_back()
            history.num_steps, history._epoch_sums, history._failed_step = steps, sums, None
            history.loss[:], history.log_likelihood[:], history.kl[:] = lists

        copies[:] = [*copies[-1:], (steps, put_all_back)]

    def check():
        history.settle()
        failed = history._failed_step
        if failed is None:
            return
        # The weights of a copy made just before the step that failed gave its loss: they are bad.
        good = [copy for copy in copies if copy[0] < failed - 1]
        _, put_back = (good or copies)[-1]
        put_back()
        raise FloatingPointError(
            f"the loss was NaN or infinite at step {failed}; the model and the history are "
            f"those of step {history.num_steps} again. " + (
                "A lower learning_rate may help." if good else
                "It was the first step of this call: the weights that the model had before gave "
                "this loss."))

    def draw():
        nonlocal step_under_way
        keep_all()
        while history.num_steps < end:
            epoch, first = divmod(history.num_steps, history.steps_per_epoch)
            rng = np.random.default_rng([history.seed, epoch])
            order = rng.permutation(history.num_examples)
            noise = rng.standard_normal((history.num_examples, latent_dim), dtype=np.float32)
            for step in range(first, min(history.steps_per_epoch,
                                         end - epoch * history.steps_per_epoch)):
                if stop.is_set():
                    check()  # what Ctrl-C leaves behind can be used
                    raise KeyboardInterrupt
                batch = slice(step * history.batch_size, (step + 1) * history.batch_size)
                step_under_way = True
                yield order[batch], noise[batch]
                step_under_way = False
                if bar.update():  # True when the bar was drawn: about twice a second
                    history.settle()
                    bar.set_postfix_str(f"loss {history.loss[-1]:.2f} nats", refresh=False)
                if (history.num_steps - done) % STEPS_BETWEEN_COPIES == 0:
                    check()
                    keep_all()
        check()

    in_main_thread = threading.current_thread() is threading.main_thread()
    previous = signal.signal(signal.SIGINT, hold_back) if in_main_thread else None
    bar = tqdm(total=end - done, desc="training", unit="step", mininterval=0.5, leave=False,
               disable=not progress)
    start = time.perf_counter()
    try:
        yield draw()
    except KeyboardInterrupt:
        history._steps_cut_short += step_under_way
        print(f"Training stopped at step {history.num_steps}. To go on: "
              f"fit(..., num_steps={end - history.num_steps}, history=history).")
    finally:
        if in_main_thread:
            signal.signal(signal.SIGINT, previous)
        bar.close()
        history.settle()
        history.seconds += time.perf_counter() - start
