"""A small U-Net that denoises images or fields, in Keras; unet_torch.py has the same in PyTorch.

    x_t = a x_0 + s ε,   a = √α̅,   s = √(1 − α̅),   log SNR = log(α̅/(1 − α̅))
    v   = a ε − s x_0,   x_0 = a x_t − s v,   ε = a v + s x_t

The network sees x_t, the log SNR and a label, and predicts v. With `pixels`, `fit` and `loss_terms`
take images in [0, 1], and the network and its denoiser have pixels in [−1, 1]: x_0 = 2 · image − 1;
without, x_0 are the data themselves, real fields.

The same code runs on TensorFlow, on PyTorch and on JAX: set the environment variable KERAS_BACKEND
to "tensorflow", "torch" or "jax" before Keras is imported. On JAX a model of float64 needs
JAX_ENABLE_X64=1; there and on PyTorch Keras rounds some functions to float32, tanh among them.
"""

from collections.abc import Callable

import keras
import numpy as np
from keras import layers, ops

from genmodels.models.denoising import (
    ELBO_WEIGHT,
    FREQUENCIES,
    check_channels,
    check_loss,
    check_num_labels,
    check_training_labels,
    denoiser,
    draw_epoch,
    draw_noise,
    labels_of,
)
from genmodels.models.keras_layers import Wrap, common_config, from_config
from genmodels.models.likelihood import DIGITS
from genmodels.training.history import Batch, History, Settings
from genmodels.training.keras import train
from genmodels.training.keras_tensors import (
    Array,
    Tensor,
    check_precise_layers,
    own_settings,
    placed,
    sublayers,
    tensor_of,
    without_autocast,
    without_values,
)
from genmodels.training.memory import memory_grows_with
from genmodels.validate import (
    check_examples,
    check_flag,
    check_positive_int,
    check_seed,
    check_shape,
    check_share,
)

__all__ = ["History", "ResidualBlock", "UNet", "fit", "loss_terms"]

WIDTH = 32  # of the embedding of log SNR and label


@keras.saving.register_keras_serializable(package="genmodels")
class Convolution(layers.Conv2D):
    """A convolution that keeps the size; beyond the edge are zeros, or the opposite edge.

    periodic: for kernels of size 3, which reach one pixel beyond the edge.
    """

    def __init__(self, filters: int, kernel_size: int | tuple[int, int], periodic: bool = False,
                 **kwargs):
        kwargs["padding"] = "valid" if periodic else "same"
        super().__init__(filters, kernel_size, **kwargs)
        self.wrap = Wrap(1, 1, autocast=False) if periodic else None  # of any precision

    def get_config(self):
        return {**super().get_config(), "periodic": self.wrap is not None}

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], self.filters)

    def call(self, x: Tensor) -> Tensor:
        return super().call(x if self.wrap is None else self.wrap(x))


def norm(name: str) -> layers.Layer:
    return layers.GroupNormalization(groups=8, epsilon=1e-5, name=name)


@keras.saving.register_keras_serializable(package="genmodels")
class ResidualBlock(layers.Layer):
    """The input (n, h, w, num_in), plus what two convolutions make of it: (n, h, w, num_out).

    The layers have the names of PyTorch's, and are made in its order: `conversion` relies on both.
    """

    def __init__(self, num_in: int, num_out: int, periodic: bool = False, dtype=None, **kwargs):
        with own_settings(dtype) as dtype:
            super().__init__(dtype=dtype, **kwargs)
            self.norm1 = norm("norm1")
            self.conv1 = Convolution(num_out, 3, periodic, name="conv1")
            self.embedding = layers.Dense(num_out, name="embedding")
            self.norm2 = norm("norm2")
            # a new block adds nothing
            self.conv2 = Convolution(num_out, 3, periodic, name="conv2", kernel_initializer="zeros")
            self.skip = (Convolution(num_out, 1, name="skip") if num_in != num_out
                         else layers.Identity())

    def call(self, x: Tensor, embedding: Tensor) -> Tensor:
        y = self.conv1(ops.silu(self.norm1(x)))
        y = ops.add(y, self.embedding(embedding)[:, None, None, :])  # one number for each channel
        y = self.conv2(ops.silu(self.norm2(y)))
        return ops.add(self.skip(x), y)


@keras.saving.register_keras_serializable(package="genmodels")
class UNet(keras.Model):
    """Predicts v from x_t, the log SNR and a label; 265,521 parameters.

    channels: those of the layers at the full, half and quarter size, multiples of 8 from 16 on.
    A new network predicts 0.
    shape: that of one example, two multiples of 4. periodic: opposite edges are neighbours.
    num_labels: how many kinds of examples there are, 0 if they have no labels.
    pixels: whether the data lie in [0, 1].
    Raises TypeError or ValueError if an argument is none that the network can be made with.
    """

    def __init__(self, channels: tuple[int, int, int] = (16, 32, 64), *,
                 shape: tuple[int, int] = DIGITS, num_labels: int = 10, pixels: bool = True,
                 periodic: bool = False, dtype=None, **kwargs):
        with own_settings(dtype) as dtype:
            super().__init__(dtype=dtype, **kwargs)
            full, half, quarter = self.channels = check_channels(channels)
            self.num_labels = num_labels = check_num_labels(num_labels)
            self.shape = check_shape(shape, 4)
            self.pixels = check_flag(pixels, "pixels")
            self.periodic = periodic = check_flag(periodic, "periodic")
            self.level = keras.Sequential(
                [layers.Dense(WIDTH, activation="silu", name="0"), layers.Dense(WIDTH, name="2")],
                name="level")
            self.label = layers.Embedding(  # the last one stands for no label
                num_labels + 1, WIDTH, name="label",
                embeddings_initializer=keras.initializers.RandomNormal(stddev=1))

            def conv(num_out: int, name: str, **settings) -> layers.Layer:
                return Convolution(num_out, 3, periodic, name=name, **settings)

            def block(num_in: int, num_out: int, name: str) -> layers.Layer:
                return ResidualBlock(num_in, num_out, periodic, name=name)

            # down
            self.conv_full = conv(full, "conv_full")
            self.block_full = block(full, full, "block_full")
            self.conv_half = conv(half, "conv_half")
            self.block_half = block(half, half, "block_half")
            self.conv_quarter = conv(quarter, "conv_quarter")
            self.block_quarter_a = block(quarter, quarter, "block_quarter_a")
            self.block_quarter_b = block(quarter, quarter, "block_quarter_b")
            # up
            self.up_conv_half = conv(half, "up_conv_half")
            self.up_block_half = block(2 * half, half, "up_block_half")
            self.up_conv_full = conv(full, "up_conv_full")
            self.up_block_full = block(2 * full, full, "up_block_full")
            self.norm = norm("norm")
            self.conv = conv(1, "conv", kernel_initializer="zeros")
            self.pool = layers.AveragePooling2D(2)
            self.upsample = layers.UpSampling2D(2)  # the nearest pixel
            one = np.zeros((1, *self.shape)), np.zeros(1), np.zeros(1, int)
            without_values(lambda: self(one))  # makes the weights

    def get_config(self):
        return {"channels": self.channels, "shape": list(self.shape),
                "num_labels": self.num_labels, "pixels": self.pixels, "periodic": self.periodic,
                **common_config(self)}

    from_config = classmethod(from_config)

    def call(self, inputs: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """The estimate of v (n, *shape) for x (n, *shape), log_snr (n,) and labels (n,).

        The label num_labels stands for none. The numbers are not checked.
        """
        if not isinstance(inputs, (tuple, list)) or len(inputs) != 3:
            raise TypeError("inputs must be three, (x, log_snr, labels), got "
                            f"{type(inputs).__name__}; for images alone there is model.denoiser()")
        x, log_snr, labels = (ops.copy(each) for each in inputs)  # a layer may work in place
        phases = log_snr[:, None] * ops.convert_to_tensor(FREQUENCIES, log_snr.dtype)  # (n, 16)
        waves = ops.concatenate([ops.sin(phases), ops.cos(phases)], axis=1)  # (n, 32)
        embedding = ops.silu(ops.add(self.level(waves), self.label(labels)))  # (n, WIDTH)

        y = self.conv_full(x[..., None])  # (n, h, w, full)
        y_full = self.block_full(y, embedding)
        y = self.conv_half(self.pool(y_full))  # (n, h/2, w/2, half)
        y_half = self.block_half(y, embedding)
        y = self.conv_quarter(self.pool(y_half))  # (n, h/4, w/4, quarter)
        y = self.block_quarter_b(self.block_quarter_a(y, embedding), embedding)
        y = self.up_conv_half(self.upsample(y))  # (n, h/2, w/2, half)
        y = self.up_block_half(ops.concatenate([y, y_half], axis=-1), embedding)
        y = self.up_conv_full(self.upsample(y))  # (n, h, w, full)
        y = self.up_block_full(ops.concatenate([y, y_full], axis=-1), embedding)
        return ops.squeeze(self.conv(ops.silu(self.norm(y))), axis=-1)  # (n, *shape)

    def simple_loss(self, batch: Batch) -> dict[str, Tensor]:
        """‖ε − ε̂‖² (n,) of x_t = a x_0 + s ε."""
        x0, labels = batch.data
        log_snr, a, s, dropped, noise = batch.noise
        x0 = 2 * x0 - 1 if self.pixels else x0
        x = a[:, None, None] * x0 + s[:, None, None] * noise  # (n, *shape)
        v = self((x, log_snr, ops.where(dropped == 1, self.num_labels, labels)))
        # of the log SNR that the network was told, rounded as it is
        a = ops.sqrt(ops.sigmoid(log_snr))[:, None, None]
        s = ops.sqrt(ops.sigmoid(-log_snr))[:, None, None]
        error = noise - (a * ops.cast(v, x.dtype) + s * x)  # ε − ε̂
        return {"loss": ops.sum(error**2, axis=(1, 2))}

    def elbo_loss(self, batch: Batch) -> dict[str, Tensor]:
        """½ (γ_max − γ_min) ‖ε − ε̂‖² (n,), whose mean is a term of −ELBO, in nats."""
        return {"loss": ELBO_WEIGHT * self.simple_loss(batch)["loss"]}

    def _check(self, x: Array, name: str) -> None:
        check_examples(x, name, self.shape, *((0, 1) if self.pixels else ()))

    def denoiser(self, labels: np.ndarray | None = None, batch_size: int = 50) -> Callable:
        """The function (x, alpha_bar) -> estimate of x_0, x (n, *shape) real; without gradient.

        It computes a x − s v̂, batch_size images at once, and returns a NumPy array: float32 for
        float32, else float64. labels: (n,) integers from 0 on, one for each, or None for none.
        Both raise TypeError or ValueError naming the argument that is wrong.
        """
        @memory_grows_with("batch_size")
        def predict_v(x, log_snr, labels):
            check_precise_layers(self)
            with without_autocast():
                return self.predict_on_batch(self._inputs(x, log_snr, labels))

        return denoiser(predict_v, labels, batch_size, self.shape, self.num_labels)

    def _inputs(self, x: np.ndarray, log_snr: np.ndarray, labels: np.ndarray) -> tuple:
        return self._tensor(x), self._tensor(log_snr), tensor_of(labels, "int32")

    def _tensor(self, array: np.ndarray) -> Tensor:
        return tensor_of(array, self.compute_dtype)

    def _matrix_layers(self) -> list[layers.Layer]:
        """The convolutions and dense layers."""
        return [layer for layer in sublayers(self)
                if isinstance(layer, (layers.Conv2D, layers.Dense))]


def fit(model: UNet, x: Array, labels: np.ndarray | None = None, *, loss: str = "simple",
        drop_labels: float = 0.1, history: History | None = None, **settings) -> History:
    """Trains the model by Adam on x (n, *shape), in [0, 1] for pixels, with labels (n,) from 0 on.

    The losses, drop_labels, the noise, the history and all other arguments are those of
    `unet_torch.fit`; the errors are those of `training.keras.train`.
    """
    model._check(x, "x")
    labels = check_training_labels(labels, len(x), model.num_labels)
    check_loss(loss)
    check_share(drop_labels, "drop_labels")
    multiply = [layer for layer in model._matrix_layers()
                if layer is not model.conv_full]  # there bfloat16 would blur weak noise
    return train(model, (x, labels), getattr(model, f"{loss}_loss"),
                 Settings(**{"learning_rate": 2e-3, **settings}),
                 draw=draw_epoch(model.shape, loss, drop_labels), history=history,
                 in_bfloat16=tuple(multiply))


@memory_grows_with("batch_size")
def loss_terms(model: UNet, x: Array, labels: np.ndarray | None, *, loss: str = "simple",
               seed: int = 0, batch_size: int = 500) -> np.ndarray:
    """The loss of `fit` for each example of x (n, *shape), float64 (n,); without gradient.

    One noise level and one noise for each, which follow from seed alone; the levels are stratified
    over all examples. labels: (n,) integers from 0 on, or None to give the network none. The mean
    of the result estimates the loss; its standard error is at most about std / √n.
    Raises TypeError or ValueError naming the argument that is wrong.
    """
    model._check(x, "x")
    check_loss(loss)
    check_positive_int(batch_size, "batch_size")
    check_seed(seed)
    check_precise_layers(model)
    labels = labels_of(labels, len(x), model.num_labels)
    drawn = draw_noise(len(x), model.shape, loss, np.random.default_rng([seed, 2]))
    parts, terms = [], getattr(model, f"{loss}_loss")
    for i in range(0, len(x), batch_size):
        data, noise = (tuple(placed(model, array[i:i + batch_size]) for array in arrays)
                       for arrays in ((x, labels), drawn))
        with without_autocast():
            loss_of = terms(Batch(data, noise, 0.0, 0))["loss"]
        parts.append(ops.convert_to_numpy(ops.stop_gradient(loss_of)))
    return np.concatenate(parts).astype(float)
