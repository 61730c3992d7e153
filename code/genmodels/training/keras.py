"""Training in Keras: one step of Adam on any model. The loop around it is `training.steps`.

    Θ ← Adam(Θ, ∇ objective, learning rate),   objective: the mean of a batch's loss, unless named

The same code runs on TensorFlow and on PyTorch: set the environment variable KERAS_BACKEND to
"tensorflow" or "torch" before Keras is imported.
"""

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from genmodels.training.checkpoint import State
from genmodels.training.checks import check_device, check_optimizer, check_weights
from genmodels.training.history import (
    Batch,
    Draw,
    History,
    Settings,
    free_nats_at,
    learning_rate_at,
)
from genmodels.training.keras_tensors import (
    Array,
    Tensor,
    autocast,
    available_devices,
    check_precise_layers,
    own_settings,
    placed,
    tensor_of,
    without_autocast,
)
from genmodels.training.steps import begin, check_terms, resume, steps

__all__ = ["train"]


def train(model: keras.Model, data: tuple[Array, ...],
          batch_loss: Callable[[Batch], dict[str, Tensor]], settings: Settings, *,
          draw: Draw | None = None, history: History | None = None,
          in_bfloat16: tuple[layers.Layer, ...] = ()) -> History:
    """Trains the model by Adam; returns the history of the terms, averaged over each epoch.

    in_bfloat16: the layers that compute in bfloat16 if that is the precision. Layers that are not
        `trainable` stay as they are. `batch_loss` is compiled: it is called with tensors whose
        values are not known.
    All else, and the errors, are those of `training.torch.train`.
    """
    history = begin(history, model, data, batch_loss, settings)
    device = prepare(model, history, settings)
    of_run = model, history.optimizer
    get, put = partial(get_state, *of_run), partial(set_state, *of_run)
    resume(history, settings, get, put)
    place = partial(placed, model)
    with device, without_autocast(), autocast(model, in_bfloat16, settings) as precision:
        data = tuple(place(array) for array in data)
        one_step = None
        with steps(history, settings, draw=draw, place=place, get_state=get,
                   set_state=put) as remaining:
            for rows, *noise in remaining:
                step = history.num_steps
                free = free_nats_at(step, history.schedule, settings.recipe)
                batch = Batch(tuple(ops.take(array, rows, axis=0) for array in data),
                              tuple(noise), tensor_of(np.array(free), model.variable_dtype), step)
                one_step = one_step or compiled(history, batch_loss, precision, batch)
                history.optimizer.learning_rate = learning_rate_at(
                    step, history.schedule, settings.recipe, settings.peak)
                # One step: batch_loss, its gradient, Adam. Keras gives the batch's means.
                means = one_step.train_on_batch(tuple(batch[:3]), return_dict=True)
                history.record({name: means[name] * len(rows) for name in one_step.means},
                               len(rows))
    return history


class Step(keras.Model):
    """A model and its batch_loss, as Keras wants them: it differentiates `compute_loss`."""

    def __init__(self, model: keras.Model, batch_loss: Callable, names: list[str]):
        with own_settings(model.variable_dtype) as dtype:
            super().__init__(dtype=dtype)
            self.means = {name: keras.metrics.Mean(name, dtype=dtype) for name in names}
        self.trained, self.batch_loss = model, batch_loss
        self.built = True  # the model has its weights

    def call(self, batch: tuple, training: bool | None = None) -> dict[str, Tensor]:
        # With the argument, Keras tells the layers within, as dropout, that this is training.
        return self.batch_loss(Batch(*batch, step=None))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """What Keras differentiates: "objective", or the mean of "loss"."""
        for name, mean in self.means.items():
            term = y_pred[name]  # (n, …)
            mean.update_state(ops.sum(term, axis=tuple(range(1, len(term.shape)))))
        return y_pred["objective"] if "objective" in y_pred else ops.mean(y_pred["loss"])


def compiled(history: History, batch_loss: Callable, precision: str, batch: Batch) -> Step:
    """The compiled step of the history's run: that of an earlier call, if it still is the same.

    Calls batch_loss once on the first batch, to see which terms it has.
    """
    model = history.model
    same = batch_loss, precision, [weight.trainable for weight in model.weights], history.optimizer
    if getattr(history, "_compiled", (None, None))[0] != same:
        terms = batch_loss(batch._replace(step=None))
        check_terms(terms, int(batch.data[0].shape[0]))
        step = Step(model, batch_loss, [name for name in terms if name != "objective"])
        with own_settings(model.variable_dtype):  # it makes the loss's mean
            step.compile(history.optimizer)
        history._compiled = same, step
    return history._compiled[1]


def prepare(model: keras.Model, history: History,
            settings: Settings) -> contextlib.AbstractContextManager:
    """Makes the history's optimiser if there is none; returns the context of the device.

    Raises TypeError or ValueError if the device, the model's weights or the optimiser will not do.
    """
    device = check_device(settings.device, available_devices())
    check_precise_layers(model)
    check_weights({weight.path: (weight.dtype, bool(ops.all(ops.isfinite(weight.value))),
                                 weight.trainable) for weight in model.weights})
    if device is not None and keras.backend.backend() == "torch":
        model.to(device)
    if history.optimizer is None:
        with own_settings(model.variable_dtype):
            history.optimizer = keras.optimizers.Adam(settings.peak)
            history.optimizer.build(model.weights)  # also those that are frozen, perhaps for now
    if isinstance(history.optimizer, tuple):
        history.optimizer = rebuilt(*history.optimizer, model)
    check_optimizer(history, int(history.optimizer.iterations.value))
    return keras.device(device) if device is not None else contextlib.nullcontext()


def _variables(model: keras.Model, optimizer: keras.Optimizer) -> dict[str, dict[str, Any]]:
    # Keras numbers its layers anew in each model: the place of a weight is its name.
    return {"weights": {f"{i}.{weight.name}": weight for i, weight in enumerate(model.weights)},
            "optimizer": {f"{i}": variable for i, variable in enumerate(optimizer.variables)}}


def get_state(model: keras.Model, optimizer: keras.Optimizer) -> State:
    """Copies of the weights and of what the optimiser remembers, as NumPy arrays."""
    return {part: {name: np.array(ops.convert_to_numpy(variable.value))
                   for name, variable in variables.items()}
            for part, variables in _variables(model, optimizer).items()}


def set_state(model: keras.Model, optimizer: keras.Optimizer, state: State) -> None:
    """Puts back what `get_state` returned."""
    for part, variables in _variables(model, optimizer).items():
        for name, variable in variables.items():
            variable.assign(state[part][name])


def rebuilt(kind: type, config: dict[str, Any], state: list[np.ndarray],
            model: keras.Model) -> keras.Optimizer:
    """The optimiser that a copied history describes, for its own copy of the model."""
    with own_settings(model.variable_dtype):  # of the learning rate, too
        optimizer = kind.from_config(config)
        if state:
            optimizer.build(model.weights)
            optimizer.set_weights(state)
    return optimizer
