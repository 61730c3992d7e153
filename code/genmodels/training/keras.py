"""Training in Keras: one step of Adam on any model. The loop around it is `training.steps`.

    Θ ← Adam(Θ, ∇ objective, learning rate),   objective: the mean of a batch's loss, unless named

The same code runs on TensorFlow, on PyTorch and on JAX: set the environment variable KERAS_BACKEND
to "tensorflow", "torch" or "jax" before Keras is imported. On JAX a model of float64 needs
JAX_ENABLE_X64=1; there and on PyTorch Keras rounds some functions to float32, tanh among them.
"""

import functools
from collections.abc import Callable

import keras
import numpy as np
from keras import layers, ops

from genmodels.training.checks import check_finite, check_terms
from genmodels.training.history import (
    Batch,
    Draw,
    History,
    Settings,
    free_nats_at,
    learning_rate_at,
)
from genmodels.training.keras_parallel import divided, replicated
from genmodels.training.keras_state import get_state, is_lost, prepare, set_state
from genmodels.training.keras_tensors import (
    Array,
    Tensor,
    autocast,
    average,
    own_settings,
    placed,
    tensor_of,
    without_autocast,
    without_values,
)
from genmodels.training.memory import memory_grows_with
from genmodels.training.packing import place_together
from genmodels.training.steps import begin, resumed, steps

__all__ = ["train"]

EXAMPLES = "the number of examples"


@memory_grows_with("batch_size")
def train(model: keras.Model, data: tuple[Array, ...],
          batch_loss: Callable[[Batch], dict[str, Tensor]], settings: Settings, *,
          draw: Draw | None = None, history: History | None = None,
          in_bfloat16: tuple[layers.Layer, ...] = ()) -> History:
    """Trains the model by Adam; returns the history of the terms, averaged over each epoch.

    in_bfloat16: the layers that compute in bfloat16 if that is the precision. Layers that are not
        `trainable` stay as they are. `batch_loss` is compiled: it is called with tensors whose
        values are not known.
    Where `keras.distribution.DataParallel` is set on JAX, all its devices train the one model
    together (see `keras_parallel`), and batch_size is that of all.
    All else, and the errors, are those of `training.torch.train`. But on JAX a step takes the old
    weights along: where it is cut short by an error or a second Ctrl-C, model and history return to
    the last copy, at most 100 steps old.
    """
    history = begin(history, model, data, batch_loss, settings, draw)
    device = prepare(model, history, settings)
    of_run = model, history.optimizer
    get, put = functools.partial(get_state, *of_run), functools.partial(set_state, *of_run)

    def place(array: Array) -> Tensor:
        return replicated(placed(model, array))

    number = functools.cache(
        lambda value: replicated(tensor_of(np.array(value), model.variable_dtype)))
    with (resumed(history, settings, get, put), device, without_autocast(),
          autocast(model, in_bfloat16, settings) as precision):
        with memory_grows_with(EXAMPLES):
            data = tuple(place(array) for array in data)
            check_finite(data, lambda array: ops.convert_to_numpy(ops.isfinite(array)))
        first, end = history.num_steps, history.schedule[1]  # all rates there at once:
        rates = place(np.array([learning_rate_at(step, history.schedule, settings.recipe,
                                                 settings.peak) for step in range(first, end)]))
        one_step = None
        together = memory_grows_with(EXAMPLES)(  # an epoch's order and noise
            functools.partial(place_together, place=place, reshape=ops.reshape))
        with steps(history, settings, draw=draw, place=together, get_state=get, set_state=put,
                   is_lost=functools.partial(is_lost, *of_run)) as remaining:
            for rows, *noise in remaining:
                step = history.num_steps
                free = free_nats_at(step, history.schedule, settings.recipe)
                batch = Batch(tuple(ops.take(array, rows, axis=0) for array in data),
                              tuple(noise), number(free), step)
                one_step = one_step or compiled(history, batch_loss, precision, batch)
                history.optimizer.learning_rate = rates[step - first]
                # One step: batch_loss, its gradient, Adam. Keras gives the batch's means.
                means = one_step.train_on_batch(tuple(batch[:3]), return_dict=True)
                n = len(rows)
                history.record({name: means[name] * n for name in one_step.means}, n)
    return history


class MeanOfBatch(keras.metrics.Mean):
    """The mean over the last batch alone: Keras before 3.15 goes on from one batch to the next."""

    def update_state(self, values: Tensor, sample_weight: Tensor | None = None) -> None:
        self.reset_state()
        super().update_state(values, sample_weight)


class Step(keras.Model):
    """A model and its batch_loss, as Keras wants them: it differentiates `compute_loss`."""

    def __init__(self, model: keras.Model, batch_loss: Callable, names: list[str]):
        with own_settings(model.variable_dtype) as dtype:
            super().__init__(dtype=dtype)
            self.means = {name: MeanOfBatch(name, dtype=dtype) for name in names}
            self.terms = layers.Lambda(functools.partial(terms_of, batch_loss), autocast=False)
        self.trained = model
        self.built = self.terms.built = True  # the model has its weights

    def call(self, batch: tuple, training: bool | None = None) -> dict[str, Tensor]:
        # A layer that is told so tells the layers within, as dropout, that this is training. On JAX
        # the step is not called as one: Keras calls this function itself.
        return self.terms(batch, training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """What Keras differentiates: "objective", or the mean of "loss"."""
        check_terms(y_pred, x[0][0].shape[0])
        for name, mean in self.means.items():
            term = y_pred[name]  # (n, …)
            mean.update_state(ops.sum(term, axis=tuple(range(1, len(term.shape)))))
        return y_pred["objective"] if "objective" in y_pred else average(y_pred["loss"])


def terms_of(batch_loss: Callable[[Batch], dict[str, Tensor]], parts: tuple) -> dict[str, Tensor]:
    """The terms of a batch (data, noise, free_nats), which several devices may share."""
    data, noise, free_nats = parts
    return batch_loss(Batch(tuple(map(divided, data)), tuple(map(divided, noise)), free_nats,
                            step=None))


def compiled(history: History, batch_loss: Callable, precision: str, batch: Batch) -> Step:
    """The compiled step of the history's run: that of an earlier call, if it still is the same.

    Calls batch_loss once on the first batch, to see which terms it has.
    """
    model, names = history.model, []

    def look():
        terms = batch_loss(batch._replace(step=None))
        check_terms(terms, int(batch.data[0].shape[0]))
        names.extend(name for name in terms if name != "objective")

    same = batch_loss, precision, [weight.trainable for weight in model.weights], history.optimizer
    if getattr(history, "_compiled", (None, None))[0] != same:
        without_values(look)
        step = Step(model, batch_loss, names)
        with own_settings(model.variable_dtype):  # it makes the loss's mean
            step.compile(history.optimizer)
        history._compiled = same, step
    return history._compiled[1]
