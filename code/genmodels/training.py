"""What the `fit` of both frameworks shares: the history, the batches, the progress bar, Ctrl-C.

Nothing here knows a framework. The order of the examples and the noise come from NumPy, so that
`vae_torch.fit` and `vae_keras.fit` see the same batches, and so that a run which is stopped after
any step and continued later gives what one run would have given.
"""

import math
import numbers
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tqdm import tqdm  # not tqdm.auto, whose widget would land in a notebook's output


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
    _epoch_sums: list = field(default_factory=lambda: [0.0, 0.0, 0], repr=False)
    _pending: list = field(default_factory=list, repr=False)

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
        for log_likelihood, kl, num_examples in self._pending:
            sums[0] += float(log_likelihood)
            sums[1] += float(kl)
            sums[2] += num_examples
        self._pending.clear()
        epoch = (self.num_steps - 1) // self.steps_per_epoch
        means = sums[0] / sums[2], sums[1] / sums[2]
        self.log_likelihood[epoch:] = [means[0]]
        self.kl[epoch:] = [means[1]]
        self.loss[epoch:] = [means[1] - means[0]]


def check_positive_int(value, name: str) -> None:
    """Raises TypeError or ValueError, naming the argument, unless value is an integer ≥ 1."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool):
        raise TypeError(f"{name} must be a positive integer, got {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}")


def begin(history: History | None, *, model, num_examples: int, num_epochs, num_steps, batch_size,
          seed, learning_rate) -> History:
    """Checks the arguments of `fit`; returns a new history, or the given one if it can go on.

    Raises TypeError or ValueError, naming the argument.
    """
    if (num_epochs is None) == (num_steps is None):
        raise ValueError("give exactly one of num_epochs and num_steps, "
                         f"got num_epochs={num_epochs!r}, num_steps={num_steps!r}")
    if num_epochs is not None:
        check_positive_int(num_epochs, "num_epochs")
    if num_steps is not None:
        check_positive_int(num_steps, "num_steps")
    check_positive_int(batch_size, "batch_size")
    if not isinstance(seed, numbers.Integral) or isinstance(seed, bool):
        raise TypeError(f"seed must be a non-negative integer, got {seed!r}")
    if seed < 0:
        raise ValueError(f"seed must be a non-negative integer, got {seed!r}")
    if not isinstance(learning_rate, numbers.Real) or isinstance(learning_rate, bool):
        raise TypeError(f"learning_rate must be a positive number, got {learning_rate!r}")
    if not (math.isfinite(learning_rate) and learning_rate > 0):
        raise ValueError(f"learning_rate must be positive and finite, got {learning_rate!r}")

    settings = {"num_examples": num_examples, "batch_size": batch_size, "seed": seed}
    if history is None:
        return History(model=model, **settings)
    if not isinstance(history, History):
        raise TypeError(f"history must be a History or None, got {type(history).__name__}")
    if history.model is not model:
        raise ValueError("cannot go on: the history was made with another model")
    for name, given in settings.items():
        if given != getattr(history, name):
            raise ValueError(f"cannot go on: the history was made with {name}="
                             f"{getattr(history, name)}, got {name}={given}")
    return history


@contextmanager
def batches(history: History, *, latent_dim: int, num_epochs, num_steps,
            progress: bool) -> Iterator[Iterator[tuple[np.ndarray, np.ndarray]]]:
    """Gives the remaining batches of a run as pairs (rows, noise), and ends the run tidily.

    Epoch e is drawn from a generator of its own, seeded with (seed, e): `rows` is a slice of a
    permutation of all examples, `noise` (batch, k) a slice of standard normal numbers.

    Ctrl-C is held back until the step under way is complete, so that the model, the optimiser and
    the history always agree; a second Ctrl-C is not held back. The run then ends with one line.
    """
    done, per_epoch = history.num_steps, history.steps_per_epoch
    # An unfinished epoch is the first of num_epochs.
    end = done + num_steps if num_steps else (done // per_epoch + num_epochs) * per_epoch
    stop = threading.Event()

    def hold_back(signum, frame):
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    def draw():
        while history.num_steps < end:
            epoch, first = divmod(history.num_steps, per_epoch)
            rng = np.random.default_rng([history.seed, epoch])
            order = rng.permutation(history.num_examples)
            noise = rng.standard_normal((history.num_examples, latent_dim), dtype=np.float32)
            for step in range(first, min(per_epoch, end - epoch * per_epoch)):
                if stop.is_set():
                    raise KeyboardInterrupt
                batch = slice(step * history.batch_size, (step + 1) * history.batch_size)
                yield order[batch], noise[batch]
                if bar.update():  # True when the bar was drawn: about twice a second
                    history.settle()
                    bar.set_postfix_str(f"loss {history.loss[-1]:.2f} nats", refresh=False)

    in_main_thread = threading.current_thread() is threading.main_thread()
    previous = signal.signal(signal.SIGINT, hold_back) if in_main_thread else None
    bar = tqdm(total=end - done, desc="training", unit="step", mininterval=0.5, leave=False,
               disable=not progress)
    start = time.perf_counter()
    try:
        yield draw()
    except KeyboardInterrupt:
        print(f"Training stopped at step {history.num_steps}. To go on: "
              f"fit(..., num_steps={end - history.num_steps}, history=history).")
    finally:
        if in_main_thread:
            signal.signal(signal.SIGINT, previous)
        bar.close()
        history.settle()
        history.seconds += time.perf_counter() - start
