"""What the VAEs and the U-Net share in Keras: periodic edges, and how a model is written down."""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from genmodels.training.keras_tensors import Tensor

__all__ = ["Wrap", "common_config", "from_config"]


@keras.saving.register_keras_serializable(package="genmodels")
class Wrap(layers.Layer):
    """Periodic edges: the last `before` rows and columns first, the first `after` ones last."""

    def __init__(self, before: int, after: int, **kwargs):
        super().__init__(**kwargs)
        self.before, self.after = before, after

    def get_config(self):
        return {**super().get_config(), "before": self.before, "after": self.after}

    def call(self, x: Tensor) -> Tensor:
        for axis in (1, 2):
            size = x.shape[axis]
            parts = [ops.take(x, np.arange(size - self.before, size), axis), x,
                     ops.take(x, np.arange(self.after), axis)]
            x = ops.concatenate([part for part in parts if part.shape[axis]], axis)
        return x


def common_config(model: keras.Model) -> dict[str, Any]:
    """What `get_config` of all our models returns besides their sizes."""
    frozen = [i for i, weight in enumerate(model.weights) if not weight.trainable]
    return {"name": model.name, "dtype": model.variable_dtype, "frozen": frozen}


def from_config(cls: type, config: dict[str, Any]) -> keras.Model:
    """The model that `get_config` described."""
    sizes = {name: value for name, value in config.items() if name != "frozen"}
    model = cls(**sizes)
    for i in config.get("frozen", ()):
        model.weights[i].trainable = False
    return model
