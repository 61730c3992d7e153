"""Several devices that train one model in Keras on JAX, each on its share of every batch.

    keras.distribution.set_distribution(keras.distribution.DataParallel())  # then make the model

`training.keras.train` follows the distribution that is set. Weights, data, order and noise lie on
every device as a whole. A compiled step gets the whole batch and asks that its n rows be divided:
of N devices each has at most ⌈n/N⌉ of them, and works on them alone. The compiler puts an
all-reduce wherever rows are added up, in the objective as in its gradient. What a step computes
therefore is what one device computes, whatever N is and however a batch_loss combines rows, but for
the rounding of sums in another order; and each example counts once in an epoch.
"""

import sys

import keras
from keras import ops

from genmodels.training.keras_tensors import Tensor

__all__ = ["Replicated", "distribution_of", "divided", "replicated"]


class Replicated(keras.distribution.DataParallel):
    """The devices of a DataParallel, each of which gets the whole batch: `divided` divides it.

    Keras itself would divide what a step is given, and fail unless N divides the number of rows.
    """

    def get_data_layout(self, data_shape: tuple[int, ...]) -> keras.distribution.TensorLayout:
        return keras.distribution.TensorLayout([None] * len(data_shape), self.device_mesh)

    def whole(self, tensor: Tensor) -> Tensor:
        """The tensor as a whole on every device."""
        return keras.distribution.distribute_tensor(tensor, self.get_data_layout(tensor.shape))

    def by_rows(self, tensor: Tensor) -> Tensor:
        """The tensor with its rows divided among the devices, whose number divides theirs."""
        return keras.distribution.distribute_tensor(tensor, super().get_data_layout(tensor.shape))


def distribution_of(model: keras.Model, device: str | None) -> Replicated | None:
    """The devices of the distribution that is set, for `train`; None if none is set.

    Raises TypeError unless it is a DataParallel; ValueError if a device is asked for besides, if
    the backend is not JAX, if its devices belong to several processes, or if the model does not lie
    on them.
    """
    distribution, backend = keras.distribution.distribution(), keras.backend.backend()
    if distribution is not None:
        if backend != "jax":
            raise ValueError("KERAS_BACKEND must be 'jax' where keras.distribution.set_distribution"
                             f" was called, got {backend!r}")
        if not isinstance(distribution, keras.distribution.DataParallel):
            raise TypeError("the distribution that is set must be keras.distribution.DataParallel, "
                            f"got {type(distribution).__name__}")
        if (number := sys.modules["jax"].process_count()) > 1:
            raise ValueError("the distribution that is set must be of one process's devices, got "
                             f"{number} processes")
        if device is not None:
            raise ValueError("device must be None where keras.distribution.set_distribution has "
                             f"chosen the devices, got {device!r}")
    copies = None if distribution is None else Replicated(distribution.device_mesh)
    if backend == "jax":
        _check_weights_lie_there(model, copies)
    return copies


def _check_weights_lie_there(model: keras.Model, distribution: Replicated | None) -> None:
    chosen = None if distribution is None else distribution.whole(ops.zeros(())).devices()
    for weight in model.weights:
        devices = weight.value.devices()
        if len(devices) > 1 if chosen is None else devices != chosen:
            wanted = "one device, as no distribution is set" if chosen is None else _named(chosen)
            raise ValueError(
                f"model must lie on {wanted}, got {weight.path} on {_named(devices)}: make or load "
                "it where the distribution is set that it is trained with")


def _named(devices: set) -> str:
    return ", ".join(sorted(f"{device.platform}:{device.id}" for device in devices))


def replicated(tensor: Tensor) -> Tensor:
    """The tensor, as a whole on every device of the distribution of `train`, if there is one."""
    distribution = keras.distribution.distribution()
    return distribution.whole(tensor) if isinstance(distribution, Replicated) else tensor


def divided(rows: Tensor) -> Tensor:
    """The rows (n, …) of a batch within a step: each device of the distribution computes its own.

    JAX takes only a multiple of N: up to that the first row is repeated, and what is repeated is
    cut off again. Of the rows that are left each device keeps its share.
    """
    distribution = keras.distribution.distribution()
    if not isinstance(distribution, Replicated):
        return rows
    n = rows.shape[0]
    more = -n % distribution.device_mesh.shape[0]
    return distribution.by_rows(ops.concatenate([rows, *[rows[:1]] * more]))[:n]
