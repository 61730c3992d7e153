"""Tensors in Keras: of which type, where they lie, and what the user's settings do not touch."""

import contextlib
import os
import sys
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from genmodels.training.checks import check_precise, cpu_has_bfloat16, holds_integers
from genmodels.training.determinism import VARIABLE, deterministic_mode_is_wanted
from genmodels.training.history import Settings

__all__ = ["Array", "Tensor", "autocast", "available_devices", "average",
           "check_backend", "check_precise_layers", "own_settings", "placed",
           "set_deterministic_mode", "sublayers", "tensor_of", "why_no_gpu", "without_autocast",
           "without_values"]

XLA_FLAG = "--xla_gpu_deterministic_ops=true"
Tensor = Any  # a tensor of the backend, of whichever framework it is
Array = np.ndarray | Tensor


def placed(model: keras.Model, array: Array) -> Tensor:
    """A copy on the device: floats and booleans in the model's precision, integers as int32."""
    dtype = "int32" if holds_integers(array) else model.variable_dtype
    return ops.stop_gradient(tensor_of(array, dtype))


def tensor_of(array: Array, dtype: str) -> Tensor:
    """A copy of an array or tensor, of this type."""
    if isinstance(array, np.ndarray):  # the backends refuse or warn of some layouts in memory
        return ops.convert_to_tensor(np.array(array, dtype, order="C"), dtype)
    return ops.copy(ops.convert_to_tensor(array, dtype))


def average(x: Tensor, axis: int = 0) -> Tensor:
    """The mean over an axis, as precise as x: on JAX and PyTorch `ops.mean` is so in float32 alone.
    """
    return ops.sum(x, axis) / ops.cast(ops.shape(x)[axis], x.dtype)


@contextlib.contextmanager
def own_settings(dtype: Any = None):
    """Within it, Keras's configuration is what our layers need: float32 or 64, channels last.

    Gives the precision: that of the weights under the user's dtype policy, or the one given. The
    weights of "mixed_bfloat16" are float32, so this is the precision; `fit` alone makes layers
    compute in bfloat16, for a while. Raises TypeError unless it is float32 or float64, and one that
    the backend has; ValueError if the backend was chosen too late.
    """
    check_backend()
    config = keras.config
    before = config.dtype_policy(), config.floatx(), config.image_data_format()
    policy = keras.dtype_policies.get(dtype or before[0])
    _check_dtype(policy.variable_dtype, f"the dtype policy {policy.name!r}")
    config.set_dtype_policy(policy.variable_dtype)
    config.set_floatx(policy.variable_dtype)
    config.set_image_data_format("channels_last")
    try:
        yield policy.variable_dtype
    finally:
        config.set_dtype_policy(before[0])
        config.set_floatx(before[1])
        config.set_image_data_format(before[2])


@contextlib.contextmanager
def autocast(model: keras.Model, of_model: tuple[layers.Layer, ...], settings: Settings):
    """Within it these layers of the model compute in the precision of the settings, which it gives.
    """
    precision = settings.precision
    if precision is None:
        on_cpu = keras.backend.backend() == "tensorflow" and not keras.distribution.list_devices(
            "gpu")
        wanted = settings.recipe == "warm-up" and model.compute_dtype == "float32" and on_cpu
        precision = "bfloat16" if wanted and cpu_has_bfloat16() else "float32"
    if precision == "float32":
        of_model = ()
    policies = [layer.dtype_policy for layer in of_model]
    try:
        for layer in of_model:
            layer.dtype_policy = "mixed_bfloat16"
        yield precision
    finally:
        for layer, policy in zip(of_model, policies):
            layer.dtype_policy = policy


@contextlib.contextmanager
def without_autocast():
    """Within it a `torch.autocast` around it has no effect, where Keras runs on PyTorch."""
    with contextlib.ExitStack() as stack:
        if keras.backend.backend() == "torch":
            import torch

            for kind in {device.split(":")[0] for device in available_devices()}:
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield


def without_values(function: Callable[[], Any]) -> None:
    """Calls a function, on JAX with tensors that have a type and a shape, but no values.

    JAX would compile each operation by itself, and take longer than to compile all as one.
    """
    if keras.backend.backend() == "jax":
        with keras.StatelessScope():  # whose end makes the weights that layers asked for
            sys.modules["jax"].eval_shape(function)
    else:
        function()


def check_backend() -> None:
    """Raises ValueError if KERAS_BACKEND names another backend than the one that Keras runs on."""
    chosen, backend = os.environ.get("KERAS_BACKEND"), keras.backend.backend()
    if chosen and chosen != backend:
        raise ValueError(f"KERAS_BACKEND must be set before Keras is imported, got {chosen!r} when "
                         f"it already ran on {backend!r}: restart Python, in a notebook the "
                         "kernel, and set it first")


def check_precise_layers(model: keras.Model) -> None:
    """Raises TypeError unless all layers of the model compute in float32 or float64.

    The backend must have it: JAX makes float32 of float64 unless it is told to keep it.
    """
    for layer in [model, *sublayers(model)]:
        _check_dtype(layer.compute_dtype, layer.name)


def _check_dtype(dtype: str, name: str) -> None:
    check_precise(dtype, name)
    if keras.backend.backend() == "jax":
        jax = sys.modules["jax"]  # which Keras has imported
        if jax.dtypes.canonicalize_dtype(dtype) != dtype:
            raise TypeError(f"model must be of float32 on JAX as it is set, got float64 in {name}: "
                            "set the environment variable JAX_ENABLE_X64=1 before JAX is imported, "
                            'or call jax.config.update("jax_enable_x64", True) first')


def sublayers(layer: layers.Layer) -> list[layers.Layer]:
    """All layers within a model or a layer, and within those, once each."""
    found = {}

    def look_into(value):
        if isinstance(value, layers.Layer):
            if id(value) not in found:
                found[id(value)] = value
                look_into(parts_of(value))
        elif isinstance(value, (list, tuple, dict)):
            for part in value.values() if isinstance(value, dict) else value:
                look_into(part)

    def parts_of(layer):  # only a model tells them; the layers of others are attributes
        return layer.layers if isinstance(layer, keras.Model) else vars(layer)

    look_into(parts_of(layer))
    return list(found.values())


def available_devices() -> list[str]:
    """The devices that `fit` can use, as the backend names them: "cpu:0", and "gpu:0" or so.

    Keras lists the best ones if it is told no kind; JAX raises an error for a kind that it has not.
    """
    if keras.backend.backend() == "torch":
        from genmodels.training import torch_tensors
        return torch_tensors.available_devices()
    list_devices = keras.distribution.list_devices
    return list(dict.fromkeys([*list_devices("cpu"), *list_devices()]))


def why_no_gpu() -> str:
    """What the backend says, where it has no GPU."""
    backend = keras.backend.backend()
    if backend == "torch":
        from genmodels.training import torch_tensors
        return torch_tensors.why_no_gpu()
    library, extra = {"tensorflow": ("TensorFlow", "tensorflow[and-cuda]"),
                      "jax": ("JAX", "jax[cuda13]")}[backend]
    return (f"{library} {sys.modules[backend].__version__} finds none; on Linux its libraries for "
            f"NVIDIA's GPUs come with {extra}")


def set_deterministic_mode(wanted: bool) -> None:
    """Tells the backend to give the same bits in every run; PyTorch alone can be told to stop.

    Raises ValueError if it is too late for JAX, which reads XLA_FLAGS when it starts.
    """
    backend = keras.backend.backend()
    if backend == "torch":
        from genmodels.training import torch_tensors
        torch_tensors.set_deterministic_mode(wanted)
    elif wanted and backend == "tensorflow":
        sys.modules["tensorflow"].config.experimental.enable_op_determinism()
    elif wanted and XLA_FLAG not in os.environ.get("XLA_FLAGS", "").split():
        raise ValueError(f"{VARIABLE} must be set before genmodels is imported, got 1 when JAX "
                         "already ran: restart Python, in a notebook the kernel, and set it first")


if keras.backend.backend() == "jax" and deterministic_mode_is_wanted():
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {XLA_FLAG}".strip()
set_deterministic_mode(deterministic_mode_is_wanted())  # and again in each `train`
