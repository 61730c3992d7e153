"""Training in PyTorch: one step of Adam on any model. The loop around it is `training.steps`.

    Θ ← Adam(Θ, ∇ objective, learning rate),   objective: the mean of a batch's loss, unless named

The losses stay on the device until they are shown.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from genmodels.training.checks import check_finite, check_terms
from genmodels.training.history import (
    Batch,
    Draw,
    History,
    Settings,
    free_nats_at,
    learning_rate_at,
)
from genmodels.training.memory import memory_grows_with
from genmodels.training.packing import place_together
from genmodels.training.steps import begin, resumed, steps
from genmodels.training.torch_parallel import processes_of
from genmodels.training.torch_state import get_state, prepare, set_state
from genmodels.training.torch_tensors import Array, autocast, place, without_autocast

__all__ = ["train"]

EXAMPLES = "the number of examples"


@memory_grows_with("batch_size")
def train(model: nn.Module, data: tuple[Array, ...],
          batch_loss: Callable[[Batch], dict[str, torch.Tensor]], settings: Settings, *,
          draw: Draw | None = None, history: History | None = None) -> History:
    """Trains the model by Adam; returns the history of the terms, averaged over each epoch.

    data: arrays with one row for each example. They go to the device once, and the order and the
        noise of an epoch at its start; a batch is a slice there. The model stays on its device.
    batch_loss: the terms of a batch by name, (n, …) each, "loss" (n,) among them. What is
        differentiated is the mean of "loss", or the term "objective" (), if there is one. `Batch`
        says how it is made so that several processes can share a batch.
    draw: the noise of an epoch, if there is any (see `normal`).
    history: that of an earlier call, to go on: with the same model, data, batch_size and seed. It
        is extended in place. An unfinished epoch is completed first, and counts as the first of
        num_epochs. The recipe starts anew, except that the rest of an interrupted call keeps its
        schedule.

    Where `torch.distributed` is initialised, all its processes train the one model together (see
    `torch_parallel`), and batch_size is that of all.
    Weights that are frozen, by `requires_grad_(False)`, stay as they are. Ctrl-C ends the training
    after the step under way.
    Raises TypeError or ValueError naming the argument that is wrong; FloatingPointError naming the
    step if a term is NaN or infinite: the model then has its last good weights, at most 100 steps
    old; MemoryError naming what to lower if the device has too little memory: the model then has
    the weights of the last step that was complete. After this or another error several processes
    have those of the last copy, at most 100 steps old.
    """
    history = begin(history, model, data, batch_loss, settings, draw)
    optimizer = prepare(model, history, settings)
    get, put = partial(get_state, model, optimizer), partial(set_state, model, optimizer)
    weight = next(model.parameters())
    with memory_grows_with(EXAMPLES):
        data = tuple(place(weight, array) for array in data)
        check_finite(data, lambda array: torch.isfinite(array).cpu().numpy())
    networks = autocast(weight, settings)
    together = memory_grows_with(EXAMPLES)(  # an epoch's order and noise
        partial(place_together, place=partial(place, weight), reshape=torch.reshape))
    with (processes_of(model, history, settings, data) as processes,
          resumed(history, settings, get, put, processes),
          without_autocast(weight),  # the user's would reach the gradient, too
          steps(history, settings, draw=draw, place=together, get_state=get, set_state=put,
                fetch=lambda sums: processes.total(torch.stack(sums)).tolist(),
                processes=processes) as remaining):
        terms_of = processes.averaged(model, batch_loss)
        for rows, *noise in remaining:
            step = history.num_steps
            free = free_nats_at(step, history.schedule, settings.recipe)
            share = processes.share(len(rows))
            batch = share.batch(tuple(array[rows[share.own]] for array in data),
                                tuple(array[share.own] for array in noise), free, step)
            with networks:
                terms = terms_of(batch)
            check_terms(terms, len(batch.data[0]), torch.Tensor)
            objective = (terms.pop("objective") if "objective" in terms else
                         batch.mean(terms["loss"]))
            if not objective.requires_grad:
                raise ValueError("batch_loss must return a loss with a gradient, got none")
            processes.check_objective(objective)
            optimizer.zero_grad()
            objective.backward()
            optimizer.param_groups[0]["lr"] = learning_rate_at(
                step, history.schedule, settings.recipe, settings.peak)
            optimizer.step()
            history.record({name: share.sum(term.detach()) for name, term in terms.items()},
                           len(rows))
    return history
