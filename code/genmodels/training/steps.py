"""The one loop: the order of the examples, Ctrl-C, NaN, progress, checkpoints. No framework here.

`begin` checks what is given and finds where to go on; `steps` gives the batches and ends the run
tidily. One step, in PyTorch or in Keras, stands in `training.torch` and `training.keras`.
"""

import hashlib
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import numpy as np
from tqdm import tqdm  # not tqdm.auto, whose widget would land in a notebook's output

from genmodels.training.checkpoint import State, hold, read, write
from genmodels.training.checks import check_data
from genmodels.training.history import Draw, History, Settings
from genmodels.validate import is_a, plain_array

__all__ = ["OneProcess", "begin", "described", "resumed", "steps", "sums_of"]

T = TypeVar("T")

STEPS_BETWEEN_COPIES = 100  # of the weights, to return to when a loss is NaN, and for a checkpoint
# What a model says of itself, as far as it does, and a checkpoint keeps.
OF_A_MODEL = ("latent_dim", "shape", "likelihood", "periodic", "channels", "num_labels", "pixels")


class OneProcess:
    """What the loop asks of the processes that train together: here there is one.

    `training.torch_parallel` has several. All of them ask the same questions in the same order.
    """

    alone = first = True

    def by_first(self, function: Callable[[], T]) -> T:
        """What the function returns, or raises, which the first process alone calls."""
        return function()

    def any(self, flag: bool) -> bool:
        """Whether a process asks all to stop; each is asked before each step."""
        return flag


ONE_PROCESS = OneProcess()


def begin(history: History | None, model: Any, data: tuple, batch_loss: Callable,
          settings: Settings, draw: Draw | None = None) -> History:
    """The history to go on with: the given one, if it can be extended, or a new one.

    Its schedule spans the steps to come; a run that was interrupted and now goes to the end it
    would have had keeps its schedule.
    Raises TypeError or ValueError, naming what does not fit.
    """
    if not is_a(settings, "genmodels.training.history.Settings"):
        raise TypeError(f"settings must be a Settings, got {type(settings).__name__}")
    for name, function in {"batch_loss": batch_loss, "draw": draw or len}.items():
        if not callable(function):
            raise TypeError(f"{name} must be a function, got {type(function).__name__}")
    num_examples = check_data(data)
    same = {"num_examples": num_examples, "batch_size": settings.batch_size, "seed": settings.seed}
    if history is None:
        history = History(model=model, **same)
    if not is_a(history, "genmodels.training.history.History"):
        raise TypeError(f"history must be a History or None, got {type(history).__name__}")
    if history.model is not model:
        raise ValueError("history must be that of this model, got one of another, history.model")
    for name, given in same.items():
        if given != getattr(history, name):
            raise ValueError(f"history must be that of a run with {name}={given}, got one with "
                             f"{name}={getattr(history, name)}")
    done, per_epoch = history.num_steps, history.steps_per_epoch
    # An unfinished epoch is the first of num_epochs.
    end = (done + settings.num_steps if settings.num_steps
           else (done // per_epoch + settings.num_epochs) * per_epoch)
    if end != history.schedule[1]:
        history.schedule = done, end
    if settings.checkpoint is not None:
        history._of_run = {
            "model": type(model).__qualname__,
            **{name: getattr(model, name) for name in OF_A_MODEL if hasattr(model, name)},
            "loss": _named(batch_loss), "draw": _named(draw), "precision": settings.precision,
            "data": sums_of(data)}
    return history


def sums_of(data: tuple) -> list[str]:
    """The SHA-256 sums of the arrays."""
    return [hashlib.sha256(plain_array(array).tobytes()).hexdigest() for array in data]


def _named(function: Any) -> list[Any]:
    """The name of a function, and the numbers and names that it got where it was made."""
    cells = [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return [name, *(value for value in cells if isinstance(value, bool | int | float | str))]


def described(history: History, settings: Settings) -> dict[str, Any]:
    """What must be equal in a checkpoint and in the run that goes on from it, as JSON has it."""
    return json.loads(json.dumps({
        "schedule": history.schedule, "num_examples": history.num_examples,
        "batch_size": history.batch_size, "seed": history.seed, "recipe": settings.recipe,
        "learning_rate": settings.peak, **history._of_run}))


@contextmanager
def resumed(history: History, settings: Settings, get_state: Callable[[], State],
            set_state: Callable[[State], None],
            processes: OneProcess = ONE_PROCESS) -> Iterator[None]:
    """Takes weights, optimiser and history from the checkpoint of this run, if there is one.

    Until the end, no other run can use the folder. Only the first process ever opens it.
    A checkpoint of the run that the history tells of is left: the run goes on where it stands.
    Raises ValueError, naming what differs, if the checkpoint is one of another run or model, or if
    another run has the folder.
    """
    folder = settings.checkpoint
    with ExitStack() as held:
        if folder is not None:
            processes.by_first(lambda: held.callback(hold(folder).release) and None)
            _resume(history, settings, processes.by_first(lambda: read(folder)),
                    get_state, set_state)
        yield


def _resume(history: History, settings: Settings, found: tuple[State, dict[str, Any]] | None,
            get_state: Callable[[], State], set_state: Callable[[State], None]) -> None:
    if found is None:
        return
    state, run = found
    at_its_end = run["num_steps"] == history.num_steps == history.schedule[0] > 0
    for name, ours in described(history, settings).items():
        if name == "schedule" and at_its_end:
            continue
        if run.get(name) != ours:
            raise ValueError(f"checkpoint must be one of this run, with {name}={ours}, got "
                             f"{name}={run.get(name)} in {settings.checkpoint}")
    if run["num_steps"] < history.num_steps:
        raise ValueError(f"checkpoint must not be older than the history, which has "
                         f"{history.num_steps} steps, got {run['num_steps']}")
    if at_its_end:
        return
    ours = get_state()["weights"]
    if surplus := sorted(state["weights"].keys() - ours.keys()):
        raise ValueError(f"checkpoint must be one of this model, got one that has {surplus[0]}")
    for name, array in ours.items():
        theirs = state["weights"].get(name)
        if theirs is None or theirs.shape != array.shape or theirs.dtype != array.dtype:
            raise ValueError(
                f"checkpoint must be one of this model, with {name} {array.shape} {array.dtype}, "
                f"got {'none' if theirs is None else f'{theirs.shape} {theirs.dtype}'}")
    set_state(state)
    history.return_to(run)
    history.seconds = run["seconds"]


@contextmanager
def steps(history: History, settings: Settings, *, draw: Draw | None,
          place: Callable[[list], list], get_state: Callable[[], State],
          set_state: Callable[[State], None], fetch: Callable[[list], list[float]] = list,
          is_lost: Callable[[], bool] = bool,
          processes: OneProcess = ONE_PROCESS) -> Iterator[Iterator[tuple]]:
    """Gives for each remaining step of a run (rows, noise, …), and ends the run tidily.

    Epoch e is drawn from a generator of its own, seeded with (seed, e): a permutation of all
    examples, and what `draw` returns. `place` puts all of it on the device, in two copies at most;
    rows and noise of a step are slices there. `fetch` brings the sums of many steps back, in one.

    Ctrl-C is held back until the step under way is complete, so that the model, the optimiser and
    the history always agree; a second Ctrl-C is not held back. The run then ends with one line.
    `is_lost` says whether the state was lost with a step that was cut short, by that or an error:
    state and history then return to the last copy. Several processes end after the same step, the
    one after that in which the first of them was asked to; they fetch when a copy is made, and not
    after an error, which may be one's alone: each then returns to the last copy.

    The state, that is the weights and the optimiser, is copied every 100 steps, after a look at
    the losses so far: if one is NaN or infinite, state and history return to the last copy at which
    the loss was finite. Raises FloatingPointError, naming the step. Copies are checkpoints, too.
    """
    done, end = history.num_steps, history.schedule[1]
    stop = threading.Event()
    copies = []  # the last two: (steps done, state, fields of the history)
    step_under_way = all_stop = False
    elsewhere = "" if settings.checkpoint is None else ", with another folder for the checkpoint"

    def hold_back(signum, frame):
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    def keep():
        state, progress = get_state(), history.progress()
        if copies and not all(np.isfinite(array).all() for array in state["weights"].values()):
            history._failed_step = history.num_steps  # its loss was finite, its gradient was not
            check()
        copies[:] = [*copies[-1:], (history.num_steps, state, progress)]
        if settings.checkpoint is not None:
            spent = history.seconds + time.perf_counter() - start
            run = progress | {"seconds": spent} | described(history, settings)
            processes.by_first(lambda: write(settings.checkpoint, state, run))

    def check():
        history.settle(fetch)
        failed = history._failed_step
        if failed is None:
            return
        # The weights of a copy made just before the step that failed gave its loss: they are bad.
        good = [copy for copy in copies if copy[0] < failed - 1]
        _, state, progress = (good or copies)[-1]
        set_state(state)
        history.return_to(progress)
        raise FloatingPointError(
            f"the loss or its gradient was NaN or infinite at step {failed}; the model and the "
            f"history are those of step {history.num_steps} again. " + (
                f"A lower learning_rate may help{elsewhere}." if good else "It was the first step "
                "of this call: the weights that the model had before gave this loss."))

    def drawn(rng, history, to_come):
        noise = draw(rng, history, to_come) if draw else ()
        rows = min(to_come.stop * history.batch_size, history.num_examples)
        rows -= to_come.start * history.batch_size
        if not isinstance(noise, tuple) or any(len(array) != rows for array in noise):
            got = [len(array) for array in noise] if isinstance(noise, tuple) else type(noise)
            raise ValueError(f"draw must return a tuple of arrays of {rows} rows, got {got}")
        return noise

    def each():
        nonlocal step_under_way, all_stop
        keep()
        while history.num_steps < end:
            epoch, first = divmod(history.num_steps, history.steps_per_epoch)
            rng = np.random.default_rng([history.seed, epoch])
            order = rng.permutation(history.num_examples)
            to_come = range(first, min(history.steps_per_epoch,
                                       end - epoch * history.steps_per_epoch))
            size = history.batch_size
            placed = None  # an epoch's noise may be large: away with the last one's
            # from the first example of the first step on
            noise = drawn(rng, history, to_come)
            placed = place([order[first * size:], *noise])
            for step in to_come:
                if processes.any(stop.is_set()):
                    check()  # what Ctrl-C leaves behind can be used
                    keep()
                    all_stop = True
                    raise KeyboardInterrupt
                batch = slice((step - first) * size, (step - first + 1) * size)
                step_under_way = True
                yield tuple(array[batch] for array in placed)
                step_under_way = False
                drawn_anew = bar.update()  # about twice a second
                if drawn_anew and processes.alone:
                    history.settle(fetch)
                    bar.set_postfix_str(f"loss {history['loss'][-1]:.2f}", refresh=False)
                if (history.num_steps - done) % STEPS_BETWEEN_COPIES == 0:
                    check()
                    keep()
        check()
        keep()

    in_main_thread = threading.current_thread() is threading.main_thread()
    previous = signal.signal(signal.SIGINT, hold_back) if in_main_thread else None
    bar = tqdm(total=end - done, desc="training", unit="step", mininterval=0.5, leave=False,
               disable=not (settings.progress and processes.first))
    start = time.perf_counter()
    try:
        yield each()
    except BaseException as error:
        stopped = isinstance(error, KeyboardInterrupt) and (processes.alone or all_stop)
        if is_lost() or (history._pending and not processes.alone):
            _, state, progress = copies[-1]
            set_state(state)
            history.return_to(progress)
        elif stopped:
            history._steps_cut_short += step_under_way
        if not stopped:
            raise
        if processes.first:
            print(f"Training stopped at step {history.num_steps}. To go on: "
                  f"fit(..., num_steps={end - history.num_steps}, history=history).")
    finally:
        if in_main_thread:
            signal.signal(signal.SIGINT, previous)
        bar.close()
        history.settle(fetch)
        history.seconds += time.perf_counter() - start
