"""Variational autoencoders in Keras, the lecture's two; vae_torch.py has the same in PyTorch.

    x data, h latent variable (the lecture also writes z), k = latent_dim
    Q(h|x) = N(mean(x), diag exp(log_var(x)))   the encoder, parameters ϑ
    p(x|h)                                      the decoder, parameters Θ
    p(h)   = N(0, I)                            the prior
    ELBO   = E_Q[log p(x|h)] − KL[Q(h|x) ‖ p(h)] ≤ log p(x),   loss = −ELBO

A model is told the shape of one example and its likelihood (see `likelihood`). Examples are floats
(n, *shape), NumPy arrays or tensors; they are converted to the model's precision and device.
Everything that is measured is in nats per example.

The same code runs on TensorFlow, on PyTorch and on JAX: set the environment variable KERAS_BACKEND
to "tensorflow", "torch" or "jax" before Keras is imported. On JAX a model of float64 needs
JAX_ENABLE_X64=1; there and on PyTorch Keras rounds some functions to float32, tanh among them.
"""

import math
from collections.abc import Callable

import keras
import numpy as np
from keras import layers, ops

from genmodels.models.keras_layers import Wrap, common_config, from_config
from genmodels.models.likelihood import (
    DIGITS,
    check_data,
    check_density,
    check_latent,
    check_likelihood,
    in_batches,
)
from genmodels.training.history import Batch, History, Settings, normal
from genmodels.training.keras import train
from genmodels.training.keras_tensors import (
    Array,
    Tensor,
    average,
    check_precise_layers,
    own_settings,
    tensor_of,
    without_autocast,
)
from genmodels.training.memory import memory_grows_with
from genmodels.validate import check_flag, check_positive_int, check_seed, check_shape

__all__ = ["MLPVAE", "VAE", "ConvVAE", "History", "evaluate", "fit"]


class VAE(keras.Model):
    """Two networks, the shape of one example, and its likelihood p(x|h).

    Public methods check their input. `call`, which `fit` compiles and calls at each step, does not.
    """

    def __init__(self, encoder: keras.Model, decoder: keras.Model, latent_dim: int,
                 shape: tuple[int, ...], likelihood: str, dtype=None, **kwargs):
        with own_settings(dtype) as dtype:
            super().__init__(dtype=dtype, **kwargs)
        self.encoder = encoder  # x (n, *shape) -> mean (n, k), log_var (n, k)
        self.decoder = decoder  # h (n, k) -> what the likelihood needs, (n, *shape)
        self.latent_dim = latent_dim
        self.shape = check_shape(shape)
        self.likelihood = check_likelihood(likelihood)
        self.log_likelihood_mean = keras.metrics.Mean("log_likelihood", dtype=dtype)
        self.kl_mean = keras.metrics.Mean("kl", dtype=dtype)
        self.built = True  # both networks have their weights

    def get_config(self):
        return {"latent_dim": self.latent_dim, "shape": list(self.shape),
                "likelihood": self.likelihood, **common_config(self)}

    from_config = classmethod(from_config)

    # The model, without checks ------------------------------------------------------------------

    def _encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.encoder(ops.copy(x))  # a copy: on PyTorch, a layer may work in place

    def _decode(self, h: Tensor) -> Tensor:
        return self.decoder(ops.copy(h))

    def _mean(self, output: Tensor) -> Tensor:
        """E[x|h] from what the decoder returned."""
        if self.likelihood == "bernoulli":
            return ops.sigmoid(output)
        if self.likelihood == "spins":
            return ops.tanh(output / 2)  # 2 π − 1
        return output + 0.5 if self.likelihood == "gaussian-pixels" else output

    def _log_likelihood(self, x: Tensor, output: Tensor) -> Tensor:
        """log p(x|h) (n,) for x and output (n, *shape), constants included (N1)."""
        axes = tuple(range(1, 1 + len(self.shape)))
        if self.likelihood in ("bernoulli", "spins"):
            # log p(x|h) = Σ x log π + (1 − x) log(1 − π) with π = sigmoid(logit), from the logits
            # so that no pixel gives log 0 (N1). For grey pixels this is the usual cross-entropy.
            ones = x if self.likelihood == "bernoulli" else (x + 1) / 2
            return ops.sum(ones * output - ops.softplus(output), axis=axes)
        # log N(x; output, I) = −½ ‖x − output‖² − d/2 log 2π, for pixels with both shifted by ½
        shift = 0.5 if self.likelihood == "gaussian-pixels" else 0.0
        squares = ops.sum((x - shift - output) ** 2, axis=axes)
        return -0.5 * squares - math.prod(self.shape) / 2 * math.log(2 * math.pi)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """What Keras's own `fit` and `evaluate` average over pairs (x, noise): −ELBO."""
        log_likelihood, kl = y_pred  # what call returned
        kl = ops.sum(kl, axis=-1)  # (n,)
        self.log_likelihood_mean.update_state(log_likelihood)
        self.kl_mean.update_state(kl)
        return average(kl - log_likelihood)

    def batch_loss(self, batch: Batch) -> dict[str, Tensor]:
        """The terms of −ELBO, and what `fit` differentiates: −ELBO, less the nats that are free."""
        (x,), (noise,) = batch.data, batch.noise
        log_likelihood, kl = self((x, noise))  # (n,), (n, k)
        loss = ops.sum(kl, axis=-1) - log_likelihood  # −ELBO, (n,)
        # dimension j counts max(free, KL_j)
        free = ops.sum(ops.maximum(batch.free_nats - average(kl), 0))
        return {"loss": loss, "log_likelihood": log_likelihood, "kl": kl,
                "objective": average(loss) + free}

    def call(self, inputs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """log p(x|h) (n,) and the KL divergence of each dimension (n, k), for x (n, *shape).

        The ELBO is the former minus the sum of the latter: a deterministic function of x and noise
        (n, k). So `model(x)` and `model.predict(x)` of images alone raise TypeError.
        """
        if not isinstance(inputs, (tuple, list)) or len(inputs) != 2:
            raise TypeError(
                "inputs must be a pair (x, noise), whose ELBO a VAE computes, got "
                f"{type(inputs).__name__}; for images alone there are model.encode(x), "
                "model.reconstruct(x), model.elbo_terms(x) and evaluate(model, x)")
        x, noise = inputs
        mean, log_var = (ops.cast(head, x.dtype) for head in self._encode(x))  # (n, k), (n, k)
        h = mean + ops.exp(log_var / 2) * noise  # (n, k): reparameterisation (G5)
        output = ops.cast(self._decode(h), x.dtype)  # networks alone may be in bfloat16
        log_likelihood = self._log_likelihood(x, output)  # (n,): one sample of h (G3, N1)
        kl = 0.5 * (mean**2 + ops.exp(log_var) - log_var - 1)  # (n, k): exact (K3)
        return log_likelihood, kl

    # The same, with checks ----------------------------------------------------------------------

    def encode(self, x: Array) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (n, k) of Q(h|x) for x (n, *shape); differentiable.

        Raises TypeError or ValueError if x is no data of the model (see `likelihood`).
        """
        x = self._data(x, "x")
        return tuple(ops.cast(head, x.dtype) for head in self._encode(x))

    def decode(self, h: Array) -> Tensor:
        """Means (n, *shape) of p(x|h) for h (n, k), in one pass; differentiable.

        Raises TypeError or ValueError if h is not a batch of finite latent vectors.
        """
        h = self._latent(h, "h")
        return self._mean(ops.cast(self._decode(h), h.dtype))

    def elbo_terms(self, x: Array, noise: Array | None = None) -> tuple[Tensor, Tensor]:
        """Pair (log_likelihood, kl) for x (n, *shape), each (n,), nats; differentiable.

        The log-likelihood is log p(x|h), constants included, at one sample
        h = mean + exp(log_var / 2) · noise; the KL divergence is exact (N1, K3, G5). `noise` (n, k)
        is standard normal; if not given, it is drawn (`keras.utils.set_random_seed` seeds it).
        Raises TypeError or ValueError if x is no data of the model or noise not of shape (n, k).
        """
        x = self._data(x, "x")
        if noise is None:
            noise = keras.random.normal((len(x), self.latent_dim), dtype=x.dtype)
        log_likelihood, kl = self((x, self._latent(noise, "noise", len(x))))
        return log_likelihood, ops.sum(kl, axis=-1)

    def log_weights(self, x: Array, noise: Array) -> Tensor:
        """log p(x|h) + log p(h) − log Q(h|x) at K samples h of Q(h|x): (n, K), in nats.

        x (n, *shape), `noise` (n, K, k) is standard normal: h = mean + exp(log_var / 2)
        · noise. The mean of exp(log weight) over K estimates p(x) without bias (N2).
        Raises TypeError or ValueError if x is no data of the model, or for Bernoulli pixels not
        of zeros and ones, or noise not of shape (n, K, k).
        """
        x = self._data(x, "x", self._check_density)
        noise = self._latent(noise, "noise", len(x), samples=True)
        with without_autocast():
            mean, log_var = (head[:, None] for head in self._encode(x))  # (n, 1, k), (n, 1, k)
            h = mean + ops.exp(log_var / 2) * noise  # (n, K, k)
            n, num_samples, k = h.shape
            log_likelihood = self._log_likelihood(ops.repeat(x, num_samples, axis=0),
                                                  self._decode(ops.reshape(h, (-1, k))))  # (n K,)
        # log p(h) − log Q(h|x): the constants k/2 · log 2π cancel
        log_ratio = 0.5 * ops.sum(noise**2 + log_var - h**2, axis=-1)  # (n, K)
        return ops.reshape(log_likelihood, (n, num_samples)) + log_ratio

    @memory_grows_with("n")
    def sample(self, n: int, seed: int | None = None) -> Tensor:
        """n decoded draws h ~ N(0, I): the means of p(x|h), (n, *shape), without gradient.

        The draws come from NumPy: the same seed gives the same h in both frameworks.
        """
        check_positive_int(n, "n")
        if seed is not None:
            check_seed(seed)
        h = np.random.default_rng(seed).standard_normal((n, self.latent_dim), dtype=np.float32)
        with without_autocast():
            return ops.stop_gradient(self.decode(h))

    def reconstruct(self, x: Array) -> Tensor:
        """x (n, *shape) encoded and decoded again at the mean of Q(h|x), without gradient.

        Decodes the mean, not a sample: this shows what h keeps, not a term of the ELBO.
        """
        with without_autocast():
            mean, _ = self.encode(x)
            return ops.stop_gradient(self.decode(mean))

    # Input --------------------------------------------------------------------------------------

    def _tensor(self, array: Array) -> Tensor:
        return tensor_of(array, self.compute_dtype)

    def _check_likelihood(self, x: Array, name: str) -> None:
        """Raises TypeError or ValueError unless x are data of which the decoder has a loss."""
        check_data(x, name, self.shape, self.likelihood)

    def _check_density(self, x: Array, name: str) -> None:
        """The same, unless that loss is −log p(x|h): log weights need a probability density."""
        check_density(x, name, self.shape, self.likelihood)

    def _data(self, x: Array, name: str, check: Callable | None = None) -> Tensor:
        if check is None:
            check_data(x, name, self.shape, self.likelihood)
        else:
            check(x, name)
        check_precise_layers(self)
        return self._tensor(x)

    def _latent(self, h: Array, name: str, n: int | None = None, samples: bool = False) -> Tensor:
        if not (isinstance(h, np.ndarray) or ops.is_tensor(h)):
            raise TypeError(f"{name} must be a NumPy array or a tensor, got {type(h).__name__}")
        check_latent(h, name, self.latent_dim, n, samples)
        check_precise_layers(self)
        h = self._tensor(h)
        if not ops.all(ops.isfinite(h)):
            raise ValueError(f"{name} must be finite, got NaN or infinity")
        return h


def _heads(features: Tensor, latent_dim: int) -> tuple[Tensor, Tensor]:
    """The two heads of Q(h|x), on features (n, width)."""
    mean = layers.Dense(latent_dim, name="mean")(features)
    log_var = layers.Dense(latent_dim, name="log_var")(features)
    return mean, log_var


def strided(channels: int, x: Tensor, periodic: bool) -> Tensor:
    """A convolution that halves the size; "same" pads one row and one column at the end."""
    x = Wrap(0, 1)(x) if periodic else x
    return layers.Conv2D(channels, 3, strides=2, padding="valid" if periodic else "same",
                         activation="relu")(x)


def transposed(channels: int, x: Tensor, periodic: bool, strides: int = 2, **kwargs) -> Tensor:
    """A transposed convolution, which doubles the size for strides 2."""
    if not periodic:
        return layers.Conv2DTranspose(channels, 3, strides=strides, padding="same", **kwargs)(x)
    x = Wrap(1, 0)(x) if strides == 2 else Wrap(1, 1)(x)
    x = layers.Conv2DTranspose(channels, 3, strides=strides, padding="valid", **kwargs)(x)
    return layers.Cropping2D(((2, 1), (2, 1)) if strides == 2 else 2)(x)


@keras.saving.register_keras_serializable(package="genmodels")
class ConvVAE(VAE):
    """The lecture's convolutional VAE: k = 2, Bernoulli pixels; 69,076 + 65,089 parameters.

    shape: two multiples of 4. periodic: opposite edges are neighbours, as on a lattice.
    Raises TypeError or ValueError if an argument is none that the networks can be made with.
    """

    def __init__(self, latent_dim: int = 2, shape: tuple[int, int] = DIGITS,
                 likelihood: str = "bernoulli", periodic: bool = False, dtype=None, **kwargs):
        latent_dim = check_positive_int(latent_dim, "latent_dim")
        height, width = check_shape(shape, 4)
        periodic = check_flag(periodic, "periodic")
        quarter = (height // 4, width // 4, 64)
        with own_settings(dtype) as dtype:
            x = keras.Input((height, width), name="x")
            y = layers.Reshape((height, width, 1))(x)  # the channel
            y = strided(32, y, periodic)  # half the size
            y = strided(64, y, periodic)  # a quarter
            y = layers.Flatten()(y)
            y = layers.Dense(16, activation="relu")(y)
            encoder = keras.Model(x, _heads(y, latent_dim), name="encoder")

            h = keras.Input((latent_dim,), name="h")
            y = layers.Dense(math.prod(quarter), activation="relu")(h)
            y = layers.Reshape(quarter)(y)
            y = transposed(64, y, periodic, activation="relu")
            y = transposed(32, y, periodic, activation="relu")
            y = transposed(1, y, periodic, strides=1)  # logits, or means
            y = layers.Reshape((height, width))(y)
            decoder = keras.Model(h, y, name="decoder")
            super().__init__(encoder, decoder, latent_dim, shape, likelihood, dtype=dtype, **kwargs)
            self.periodic = periodic

    def get_config(self):
        return {**super().get_config(), "periodic": self.periodic}


@keras.saving.register_keras_serializable(package="genmodels")
class MLPVAE(VAE):
    """The lecture's fully connected VAE: k = 8, Gaussian pixels of unit variance.

    672,784 + 406,800 parameters. With "gaussian-pixels" the networks see pixels shifted to
    [−0.5, 0.5]; the shift is made here. `decode` shifts back, and does not clip: a mean lies in
    [−0.5, 1.5], not always in [0, 1]. With every other likelihood the last layer is linear.
    Raises TypeError or ValueError if an argument is none that the networks can be made with.
    """

    def __init__(self, latent_dim: int = 8, hidden_dim: int = 512,
                 shape: tuple[int, ...] = DIGITS, likelihood: str = "gaussian-pixels",
                 dtype=None, **kwargs):
        latent_dim = check_positive_int(latent_dim, "latent_dim")
        hidden_dim = check_positive_int(hidden_dim, "hidden_dim")
        shape = check_shape(shape)
        with own_settings(dtype) as dtype:
            x = keras.Input(shape, name="x")
            y = layers.Flatten()(x)
            y = layers.Dense(hidden_dim, activation="relu")(y)
            y = layers.Dense(hidden_dim, activation="relu")(y)
            # The lecture's second head is log σ; ours is log_var = log σ² = 2 log σ, as in ConvVAE.
            encoder = keras.Model(x, _heads(y, latent_dim), name="encoder")

            h = keras.Input((latent_dim,), name="h")
            y = layers.Dense(hidden_dim, activation="relu")(h)
            y = layers.Dense(math.prod(shape), activation="tanh"
                             if likelihood == "gaussian-pixels" else None)(y)
            y = layers.Reshape(shape)(y)
            decoder = keras.Model(h, y, name="decoder")
            super().__init__(encoder, decoder, latent_dim, shape, likelihood, dtype=dtype, **kwargs)
            self.hidden_dim = hidden_dim

    def get_config(self):
        return {**super().get_config(), "hidden_dim": self.hidden_dim}

    def _encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.likelihood == "gaussian-pixels":
            return self.encoder(x - 0.5)
        return super()._encode(x)


def fit(model: VAE, x: Array, *, history: History | None = None, **settings) -> History:
    """Trains the model on −ELBO of x (n, *shape); returns the history, in nats per example.

    Its terms are "loss", "log_likelihood" and "kl", whatever is free. settings: those of
    `training.Settings`, num_epochs or num_steps among them. history: that of an earlier call, to go
    on with the same x, batch_size and seed; see `training.torch.train`, also for the errors.
    """
    model._check_likelihood(x, "x")
    return train(model, (x,), model.batch_loss, Settings(**settings),
                 draw=normal(model.latent_dim), history=history,
                 in_bfloat16=(*model.encoder.layers, *model.decoder.layers))


@memory_grows_with("batch_size")
def evaluate(model: VAE, x: Array, *, batch_size: int = 1000,
             seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Arrays (log_likelihood, kl) for x (n, *shape), each (n,) float64, in nats.

    One sample of h for each example, from noise that follows from seed alone; no gradient. The mean
    of log_likelihood − kl estimates the ELBO, and its standard error is std / √n.
    Raises TypeError or ValueError naming the argument that is wrong.
    """
    model._check_likelihood(x, "x")
    check_precise_layers(model)

    def terms(x: Array, noise: np.ndarray) -> np.ndarray:
        with without_autocast():
            log_likelihood, kl = model.predict_on_batch((model._tensor(x), model._tensor(noise)))
        return np.stack([log_likelihood, kl.sum(axis=-1)])

    return in_batches(terms, x, model.latent_dim, batch_size, seed)
