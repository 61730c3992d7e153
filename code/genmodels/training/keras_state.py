"""What surrounds a run in Keras: the device, the optimiser, and the state to return to."""

import contextlib
import functools
from typing import Any

import keras
import numpy as np
from keras import ops

from genmodels.training.checkpoint import State
from genmodels.training.checks import check_device, check_optimizer, check_weights
from genmodels.training.determinism import deterministic_mode_is_wanted
from genmodels.training.history import History, Settings
from genmodels.training.keras_parallel import distribution_of
from genmodels.training.keras_tensors import (
    Tensor,
    available_devices,
    check_backend,
    check_precise_layers,
    own_settings,
    set_deterministic_mode,
    why_no_gpu,
)

__all__ = ["get_state", "is_lost", "prepare", "set_state", "stateless_apply"]


def prepare(model: keras.Model, history: History,
            settings: Settings) -> contextlib.AbstractContextManager:
    """Makes the history's optimiser if there is none; returns the context of the device, or of
    several devices.

    Raises TypeError or ValueError if these, the model's weights or the optimiser will not do.
    """
    check_backend()
    set_deterministic_mode(deterministic_mode_is_wanted())
    device = check_device(settings.device, available_devices(), why_no_gpu)
    distribution = distribution_of(model, device)
    check_precise_layers(model)
    history._of_run["frozen"] = check_weights({
        weight.path: (weight.dtype, bool(ops.all(ops.isfinite(weight.value))), weight.trainable)
        for weight in model.weights})
    if device is not None and keras.backend.backend() == "torch":
        model.to(device)
    if history.optimizer is None:
        with own_settings(model.variable_dtype):
            history.optimizer = keras.optimizers.Adam(settings.peak)
            history.optimizer.build(model.weights)  # also those that are frozen, perhaps for now
    if isinstance(history.optimizer, tuple):
        history.optimizer = rebuilt(*history.optimizer, model)
    check_optimizer(history, int(history.optimizer.iterations.value))
    if keras.backend.backend() == "jax":
        history.optimizer.stateless_apply = functools.partial(stateless_apply, model,
                                                              history.optimizer)
    if distribution is not None:
        return distribution.scope()
    return keras.device(device) if device is not None else contextlib.nullcontext()


def stateless_apply(model: keras.Model, optimizer: keras.Optimizer, state: list[Tensor],
                    gradients: list[Tensor], weights: list[Tensor]) -> tuple[list[Tensor], ...]:
    """The weights that are trainable now and the optimiser's state after a step.

    Instead of Keras's method of this name, which JAX's steps call: that one fails unless all of the
    optimiser's weights are trainable.
    """
    trainable = model.trainable_variables
    held = [*zip(trainable, weights), *zip(optimizer.variables, state)]
    with keras.StatelessScope(held) as scope:
        optimizer.apply(gradients, trainable)
    return tuple([scope.get_current_value(variable) for variable in variables]
                 for variables in (trainable, optimizer.variables))


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


def is_lost(model: keras.Model, optimizer: keras.Optimizer) -> bool:
    """Whether the numbers are gone: JAX takes them into a compiled step, and out again at its end.
    """
    variables = [*model.weights, *optimizer.variables]
    return any(getattr(variable.value, "is_deleted", bool)() for variable in variables)


def rebuilt(kind: type, config: dict[str, Any], state: list[np.ndarray],
            model: keras.Model) -> keras.Optimizer:
    """The optimiser that a copied history describes, for its own copy of the model."""
    with own_settings(model.variable_dtype):  # of the learning rate, too
        optimizer = kind.from_config(config)
        if state:
            optimizer.build(model.weights)
            optimizer.set_weights(state)
    return optimizer
