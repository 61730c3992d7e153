"""A small U-Net that denoises digits, in Keras; diffusion_torch.py has the same in PyTorch.

    x_t = a x_0 + s ε,   a = √α̅,   s = √(1 − α̅),   log SNR = log(α̅/(1 − α̅))
    v   = a ε − s x_0,   x_0 = a x_t − s v,   ε = a v + s x_t

The network sees x_t, the log SNR and a label, and predicts v. `fit` and `loss_terms` take images in
[0, 1]; the network and its denoiser have pixels in [−1, 1]: x_0 = 2 · image − 1.

The same code runs on TensorFlow and on PyTorch: set the environment variable KERAS_BACKEND to
"tensorflow" or "torch" before Keras is imported.
"""

from collections.abc import Callable

import keras
import numpy as np
from keras import layers, ops

from genmodels.datasets import check_images
from genmodels.denoising import (
    FREQUENCIES,
    NO_LABEL,
    Batch,
    check_channels,
    check_labels,
    check_loss,
    check_share,
    denoiser,
    draw_batch,
    loss_weight,
)
from genmodels.training import (
    History,
    batches,
    begin,
    check_positive_int,
    check_precision,
    check_seed,
    learning_rate_at,
)
from genmodels.vae_keras import (
    Array,
    Tensor,
    autocast,
    check_precise_layers,
    common_config,
    from_config,
    own_settings,
    prepare,
    sublayers,
    tensor_of,
    without_autocast,
)

__all__ = ["History", "ResidualBlock", "UNet", "fit", "loss_terms"]

WIDTH = 32  # of the embedding of log SNR and label


def conv(channels: int, size: int, name: str, **kwargs) -> layers.Layer:
    return layers.Conv2D(channels, size, padding="same", name=name, **kwargs)


def norm(name: str) -> layers.Layer:
    return layers.GroupNormalization(groups=8, epsilon=1e-5, name=name)


@keras.saving.register_keras_serializable(package="genmodels")
class ResidualBlock(layers.Layer):
    """The input (n, h, w, num_in), plus what two convolutions make of it: (n, h, w, num_out).

    The layers have the names of PyTorch's, and are made in its order: `transfer` relies on both.
    """

    def __init__(self, num_in: int, num_out: int, dtype=None, **kwargs):
        with own_settings(dtype) as dtype:
            super().__init__(dtype=dtype, **kwargs)
            self.norm1 = norm("norm1")
            self.conv1 = conv(num_out, 3, "conv1")
            self.embedding = layers.Dense(num_out, name="embedding")
            self.norm2 = norm("norm2")
            # a new block adds nothing
            self.conv2 = conv(num_out, 3, "conv2", kernel_initializer="zeros")
            self.skip = conv(num_out, 1, "skip") if num_in != num_out else layers.Identity()

    def call(self, x: Tensor, embedding: Tensor) -> Tensor:
        y = self.conv1(ops.silu(self.norm1(x)))
        y = ops.add(y, self.embedding(embedding)[:, None, None, :])  # one number for each channel
        y = self.conv2(ops.silu(self.norm2(y)))
        return ops.add(self.skip(x), y)


@keras.saving.register_keras_serializable(package="genmodels")
class UNet(keras.Model):
    """Predicts v from x_t, the log SNR and a label; 265,521 parameters.

    channels: those of the layers at 28 × 28, 14 × 14 and 7 × 7 pixels. A new network predicts 0.
    Raises TypeError or ValueError if channels are not three positive multiples of 8.
    """

    def __init__(self, channels: tuple[int, int, int] = (16, 32, 64), dtype=None, **kwargs):
        with own_settings(dtype) as dtype:
            super().__init__(dtype=dtype, **kwargs)
            c28, c14, c7 = self.channels = check_channels(channels)
            self.level = keras.Sequential(
                [layers.Dense(WIDTH, activation="silu", name="0"), layers.Dense(WIDTH, name="2")],
                name="level")
            self.label = layers.Embedding(
                NO_LABEL + 1, WIDTH, name="label",
                embeddings_initializer=keras.initializers.RandomNormal(stddev=1))
            # down
            self.conv28 = conv(c28, 3, "conv28")
            self.block28 = ResidualBlock(c28, c28, name="block28")
            self.conv14 = conv(c14, 3, "conv14")
            self.block14 = ResidualBlock(c14, c14, name="block14")
            self.conv7 = conv(c7, 3, "conv7")
            self.block7a = ResidualBlock(c7, c7, name="block7a")
            self.block7b = ResidualBlock(c7, c7, name="block7b")
            # up
            self.up_conv14 = conv(c14, 3, "up_conv14")
            self.up_block14 = ResidualBlock(2 * c14, c14, name="up_block14")
            self.up_conv28 = conv(c28, 3, "up_conv28")
            self.up_block28 = ResidualBlock(2 * c28, c28, name="up_block28")
            self.norm = norm("norm")
            self.conv = conv(1, 3, "conv", kernel_initializer="zeros")
            self.pool = layers.AveragePooling2D(2)
            self.upsample = layers.UpSampling2D(2)  # the nearest pixel
            self._compiled_for = None  # precision and frozen weights of the compiled training step
            self((np.zeros((1, 28, 28)), np.zeros(1), np.zeros(1, int)))  # makes the weights

    def get_config(self):
        return {"channels": self.channels, **common_config(self)}

    from_config = classmethod(from_config)

    def call(self, inputs: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """The estimate of v (n, 28, 28) for x (n, 28, 28), log_snr (n,), labels (n,), 10 for none.

        The numbers are not checked.
        """
        if not isinstance(inputs, (tuple, list)) or len(inputs) != 3:
            raise TypeError("inputs must be three, (x, log_snr, labels), got "
                            f"{type(inputs).__name__}; for images alone there is model.denoiser()")
        x, log_snr, labels = (ops.copy(each) for each in inputs)  # a layer may work in place
        phases = log_snr[:, None] * ops.convert_to_tensor(FREQUENCIES, log_snr.dtype)  # (n, 16)
        waves = ops.concatenate([ops.sin(phases), ops.cos(phases)], axis=1)  # (n, 32)
        embedding = ops.silu(ops.add(self.level(waves), self.label(labels)))  # (n, WIDTH)

        y = self.conv28(x[..., None])  # (n, 28, 28, c28)
        y28 = self.block28(y, embedding)
        y = self.conv14(self.pool(y28))  # (n, 14, 14, c14)
        y14 = self.block14(y, embedding)
        y = self.conv7(self.pool(y14))  # (n, 7, 7, c7)
        y = self.block7b(self.block7a(y, embedding), embedding)
        y = self.up_conv14(self.upsample(y))  # (n, 14, 14, c14)
        y = self.up_block14(ops.concatenate([y, y14], axis=-1), embedding)
        y = self.up_conv28(self.upsample(y))  # (n, 28, 28, c28)
        y = self.up_block28(ops.concatenate([y, y28], axis=-1), embedding)
        return ops.squeeze(self.conv(ops.silu(self.norm(y))), axis=-1)  # (n, 28, 28)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """What Keras differentiates: the mean of sample_weight · ‖ε − ε̂‖², y the noise ε."""
        return ops.mean(sample_weight * _squares(x, y, y_pred))

    def denoiser(self, labels: np.ndarray | None = None, batch_size: int = 50) -> Callable:
        """The function (x, alpha_bar) -> estimate of x_0, x (n, 28, 28) real; without gradient.

        It computes a x − s v̂, batch_size images at once, and returns a NumPy array: float32 for
        float32, else float64. labels: (n,) integers 0 … 9, one for each image, or None for none.
        Both raise TypeError or ValueError naming the argument that is wrong.
        """
        def predict_v(x, log_snr, labels):
            check_precise_layers(self)
            with without_autocast():
                return self.predict_on_batch(self._inputs(x, log_snr, labels))

        return denoiser(predict_v, labels, batch_size)

    def _inputs(self, x: np.ndarray, log_snr: np.ndarray, labels: np.ndarray) -> tuple:
        return self._tensor(x), self._tensor(log_snr), tensor_of(labels, "int32")

    def _tensor(self, array: np.ndarray) -> Tensor:
        return tensor_of(array, self.compute_dtype)

    def _matrix_layers(self) -> list[layers.Layer]:
        """The convolutions and dense layers."""
        return [layer for layer in sublayers(self)
                if isinstance(layer, (layers.Conv2D, layers.Dense))]


def _squares(inputs: tuple[Tensor, Tensor, Tensor], noise: Tensor, v: Tensor) -> Tensor:
    """‖ε − ε̂‖² of each example, (n,)."""
    x, log_snr, _ = inputs
    a = ops.sqrt(ops.sigmoid(log_snr))[:, None, None]
    s = ops.sqrt(ops.sigmoid(-log_snr))[:, None, None]
    error = noise - (a * ops.cast(v, x.dtype) + s * x)  # ε − ε̂
    return ops.sum(error**2, axis=(1, 2))


def fit(model: UNet, images: Array, labels: np.ndarray, *, loss: str = "simple",
        drop_labels: float = 0.1, num_epochs: int | None = None, num_steps: int | None = None,
        batch_size: int = 128, learning_rate: float = 2e-3, recipe: str = "warm-up",
        precision: str | None = None, seed: int = 0, device: str | None = None,
        history: History | None = None, progress: bool = True) -> History:
    """Trains the model by Adam on images (n, 28, 28) in [0, 1] with labels (n,) 0 … 9.

    The losses, drop_labels, the noise and the history are those of `diffusion_torch.fit`; all other
    arguments, and the errors, are those of `vae_keras.fit`. No nats are free here.
    """
    check_images(images)
    labels = check_labels(labels, len(images))
    check_loss(loss)
    check_share(drop_labels, "drop_labels")
    history, peak = begin(history, model=model, num_examples=len(images), num_epochs=num_epochs,
                          num_steps=num_steps, batch_size=batch_size, seed=seed,
                          learning_rate=learning_rate, recipe=recipe)
    check_precision(precision)
    images = np.array(ops.convert_to_numpy(images), np.float32)
    device_scope, keep = prepare(model, history, peak, device)
    multiply = [layer for layer in model._matrix_layers()
                if layer is not model.conv28]  # there bfloat16 would blur weak noise
    with (device_scope, without_autocast(), autocast(model, multiply, recipe, precision),
          batches(history, latent_dim=0, progress=progress, keep=keep) as steps):
        for rows, _ in steps:
            # What a step draws follows from its number: a run can be stopped and continued.
            rng = np.random.default_rng([seed, history.num_steps, 1])
            batch = draw_batch(images[rows], labels[rows], loss, rng, drop_labels)
            model.optimizer.learning_rate = learning_rate_at(
                history.num_steps, history.schedule, recipe, peak)
            # One step: call, compute_loss, its gradient, Adam. Keras gives the batch's mean.
            mean = model.train_on_batch(
                model._inputs(batch.x, batch.log_snr, batch.labels), model._tensor(batch.noise),
                model._tensor(np.full(len(rows), loss_weight(loss))), return_dict=True)["loss"]
            history.record(-mean * len(rows), 0.0, len(rows))
    return history


def loss_terms(model: UNet, images: Array, labels: np.ndarray | None, *, loss: str = "simple",
               seed: int = 0, batch_size: int = 500) -> np.ndarray:
    """The loss of `fit` for each of the images (n, 28, 28), float64 (n,); without gradient.

    One noise level and one noise for each, which follow from seed alone; the levels are stratified
    over all images. labels: (n,) integers 0 … 9, or None to give the network none. The mean of the
    result estimates the loss; its standard error is at most about std / √n.
    Raises TypeError or ValueError naming the argument that is wrong.
    """
    check_images(images)
    check_loss(loss)
    check_positive_int(batch_size, "batch_size")
    check_seed(seed)
    check_precise_layers(model)
    no_labels = np.full(len(images), NO_LABEL)
    labels = no_labels if labels is None else check_labels(labels, len(images))
    images = ops.convert_to_numpy(images).astype(np.float32)
    batch = draw_batch(images, labels, loss, np.random.default_rng([seed, 2]))
    terms = []
    for i in range(0, len(images), batch_size):
        part = Batch(*(array[i:i + batch_size] for array in batch))
        inputs = model._inputs(part.x, part.log_snr, part.labels)
        with without_autocast():
            v = model._tensor(model.predict_on_batch(inputs))
        terms.append(ops.convert_to_numpy(_squares(inputs, model._tensor(part.noise), v)))
    return loss_weight(loss) * np.concatenate(terms).astype(float)
