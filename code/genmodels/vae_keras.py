"""The lecture's two variational autoencoders in Keras; vae_torch.py has the same in PyTorch.

    x data, h latent variable (the lecture also writes z), k = latent_dim
    Q(h|x) = N(mean(x), diag exp(log_var(x)))   the encoder, parameters ϑ
    p(x|h)                                      the decoder, parameters Θ
    p(h)   = N(0, I)                            the prior
    ELBO   = E_Q[log p(x|h)] − KL[Q(h|x) ‖ p(h)] ≤ log p(x),   loss = −ELBO

Images are floats in [0, 1] of shape (n, 28, 28), NumPy arrays or tensors; they are converted to the
model's precision and device. Everything that is measured is in nats per example.

The same code runs on TensorFlow and on PyTorch: set the environment variable KERAS_BACKEND to
"tensorflow" or "torch" before Keras is imported.
"""

import contextlib
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from genmodels.datasets import check_images
from genmodels.training import (
    History,
    batches,
    begin,
    check_binary,
    check_device,
    check_latent,
    check_optimizer,
    check_positive_int,
    check_precise,
    check_precision,
    check_seed,
    check_weights,
    cpu_has_bfloat16,
    free_nats_at,
    learning_rate_at,
)

Tensor = Any  # a tensor of the backend, of whichever framework it is
Array = np.ndarray | Tensor

__all__ = ["MLPVAE", "VAE", "ConvVAE", "History", "evaluate", "fit"]


@contextlib.contextmanager
def own_settings(dtype: Any = None):
    """Within it, Keras's configuration is what our layers need: float32 or 64, channels last.

    Gives the precision: that of the weights under the user's dtype policy, or the one given. The
    weights of "mixed_bfloat16" are float32, so this is the precision; `fit` alone makes layers
    compute in bfloat16, for a while. Raises TypeError unless it is float32 or float64.
    """
    config = keras.config
    before = config.dtype_policy(), config.floatx(), config.image_data_format()
    policy = keras.dtype_policies.get(dtype or before[0])
    check_precise(policy.variable_dtype, f"the dtype policy {policy.name!r}")
    config.set_dtype_policy(policy.variable_dtype)
    config.set_floatx(policy.variable_dtype)
    config.set_image_data_format("channels_last")
    try:
        yield policy.variable_dtype
    finally:
        config.set_dtype_policy(before[0])
        config.set_floatx(before[1])
        config.set_image_data_format(before[2])


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


class VAE(keras.Model):
    """What both models share; a child names its networks and its likelihood p(x|h).

    Public methods check their input. `call`, which `fit` compiles and calls at each step, does not.
    """

    def __init__(self, encoder: keras.Model, decoder: keras.Model, latent_dim: int, dtype=None,
                 **kwargs):
        with own_settings(dtype) as dtype:
            super().__init__(dtype=dtype, **kwargs)
        self.encoder = encoder  # images (n, 28, 28) -> mean (n, k), log_var (n, k)
        self.decoder = decoder  # h (n, k) -> what the likelihood needs, (n, 28, 28)
        self.latent_dim = latent_dim
        self.log_likelihood_mean = keras.metrics.Mean("log_likelihood", dtype=dtype)
        self.kl_mean = keras.metrics.Mean("kl", dtype=dtype)
        self.built = True  # both networks have their weights
        self._compiled_for = None  # precision and frozen weights of the compiled training step

    from_config = classmethod(from_config)

    # The model, without checks ------------------------------------------------------------------

    def _encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.encoder(ops.copy(x))  # a copy: on PyTorch, a layer may work in place

    def _decode(self, h: Tensor) -> Tensor:
        return self.decoder(ops.copy(h))

    def _mean_images(self, output: Tensor) -> Tensor:
        raise NotImplementedError

    def _log_likelihood(self, x: Tensor, output: Tensor) -> Tensor:
        raise NotImplementedError

    def call(self, inputs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """log p(x|h) (n,) and the KL divergence of each dimension (n, k), for x (n, 28, 28).

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

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """What Keras differentiates: −ELBO, averaged over the batch.

        y (k,), if given, holds the nats that are free: dimension j counts max(y_j, KL_j).
        """
        log_likelihood, kl = y_pred  # what call returned
        total_kl = ops.sum(kl, axis=-1)  # (n,)
        self.log_likelihood_mean.update_state(log_likelihood)
        self.kl_mean.update_state(total_kl)
        loss = ops.mean(total_kl - log_likelihood)
        if y is not None:
            loss = loss + ops.sum(ops.maximum(y - ops.mean(kl, axis=0), 0))
        return loss

    # The same, with checks ----------------------------------------------------------------------

    def encode(self, x: Array) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (n, k) of Q(h|x) for images x (n, 28, 28); differentiable.

        Raises TypeError or ValueError if x is not images (see `datasets.check_images`).
        """
        x = self._images(x, "x")
        return tuple(ops.cast(head, x.dtype) for head in self._encode(x))

    def decode(self, h: Array) -> Tensor:
        """Mean images (n, 28, 28) of p(x|h) for h (n, k), in one pass; differentiable.

        Raises TypeError or ValueError if h is not a batch of finite latent vectors.
        """
        h = self._latent(h, "h")
        return self._mean_images(ops.cast(self._decode(h), h.dtype))

    def elbo_terms(self, x: Array, noise: Array | None = None) -> tuple[Tensor, Tensor]:
        """Pair (log_likelihood, kl) for images x (n, 28, 28), each (n,), nats; differentiable.

        The log-likelihood is log p(x|h), constants included, at one sample
        h = mean + exp(log_var / 2) · noise; the KL divergence is exact (N1, K3, G5). `noise` (n, k)
        is standard normal; if not given, it is drawn (`keras.utils.set_random_seed` seeds it).
        Raises TypeError or ValueError if x is not images or noise not of shape (n, k).
        """
        x = self._images(x, "x")
        if noise is None:
            noise = keras.random.normal((len(x), self.latent_dim), dtype=x.dtype)
        log_likelihood, kl = self((x, self._latent(noise, "noise", len(x))))
        return log_likelihood, ops.sum(kl, axis=-1)

    def log_weights(self, x: Array, noise: Array) -> Tensor:
        """log p(x|h) + log p(h) − log Q(h|x) at K samples h of Q(h|x): (n, K), in nats.

        x (n, 28, 28) are images, `noise` (n, K, k) is standard normal: h = mean + exp(log_var / 2)
        · noise. The mean of exp(log weight) over K estimates p(x) without bias (N2).
        Raises TypeError or ValueError if x is not images, or for Bernoulli pixels (ConvVAE) not of
        zeros and ones, or noise not of shape (n, K, k).
        """
        x = self._images(x, "x", self._check_density)
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

    def sample(self, n: int, seed: int | None = None) -> Tensor:
        """n decoded draws h ~ N(0, I): the mean images of p(x|h), (n, 28, 28), without gradient.

        The draws come from NumPy: the same seed gives the same h in both frameworks.
        """
        check_positive_int(n, "n")
        if seed is not None:
            check_seed(seed)
        h = np.random.default_rng(seed).standard_normal((n, self.latent_dim), dtype=np.float32)
        with without_autocast():
            return ops.stop_gradient(self.decode(h))

    def reconstruct(self, x: Array) -> Tensor:
        """Images x (n, 28, 28) encoded and decoded again at the mean of Q(h|x), without gradient.

        Decodes the mean, not a sample: this is a picture of what h keeps, not a term of the ELBO.
        """
        with without_autocast():
            mean, _ = self.encode(x)
            return ops.stop_gradient(self.decode(mean))

    # Input --------------------------------------------------------------------------------------

    def _tensor(self, array: Array) -> Tensor:
        return tensor_of(array, self.compute_dtype)

    def _check_density(self, x: Array, name: str) -> None:
        """Raises TypeError or ValueError unless x are images that have a density p(x|h)."""
        check_images(x, name)

    def _images(self, x: Array, name: str, check: Callable = check_images) -> Tensor:
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


@keras.saving.register_keras_serializable(package="genmodels")
class ConvVAE(VAE):
    """The lecture's convolutional VAE: k = 2, Bernoulli pixels. 69,076 + 65,089 parameters.

    Raises TypeError or ValueError if latent_dim is not a positive integer.
    """

    def __init__(self, latent_dim: int = 2, dtype=None, **kwargs):
        check_positive_int(latent_dim, "latent_dim")
        with own_settings(dtype) as dtype:
            x = keras.Input((28, 28), name="x")
            y = layers.Reshape((28, 28, 1))(x)  # the channel
            y = layers.Conv2D(32, 3, strides=2, padding="same", activation="relu")(y)  # 14 × 14
            y = layers.Conv2D(64, 3, strides=2, padding="same", activation="relu")(y)  # 7 × 7
            y = layers.Flatten()(y)
            y = layers.Dense(16, activation="relu")(y)
            encoder = keras.Model(x, _heads(y, latent_dim), name="encoder")

            h = keras.Input((latent_dim,), name="h")
            y = layers.Dense(7 * 7 * 64, activation="relu")(h)
            y = layers.Reshape((7, 7, 64))(y)
            y = layers.Conv2DTranspose(64, 3, strides=2, padding="same", activation="relu")(y)
            y = layers.Conv2DTranspose(32, 3, strides=2, padding="same", activation="relu")(y)
            y = layers.Conv2DTranspose(1, 3, padding="same")(y)  # logits
            y = layers.Reshape((28, 28))(y)
            decoder = keras.Model(h, y, name="decoder")
            super().__init__(encoder, decoder, latent_dim, dtype=dtype, **kwargs)

    def get_config(self):
        return {"latent_dim": self.latent_dim, **common_config(self)}

    def _check_density(self, x: Array, name: str) -> None:
        check_binary(x, name)  # the loss of grey pixels is no likelihood

    def _mean_images(self, output: Tensor) -> Tensor:
        return ops.sigmoid(output)

    def _log_likelihood(self, x: Tensor, output: Tensor) -> Tensor:
        # log p(x|h) = Σ x log π + (1 − x) log(1 − π) with π = sigmoid(logit), from the logits so
        # that no pixel gives log 0 (N1). For grey pixels this is the usual cross-entropy.
        return ops.sum(x * output - ops.softplus(output), axis=(1, 2))


@keras.saving.register_keras_serializable(package="genmodels")
class MLPVAE(VAE):
    """The lecture's fully connected VAE: k = 8, Gaussian pixels of unit variance.

    672,784 + 406,800 parameters. The networks see pixels shifted to [−0.5, 0.5]; the shift is made
    here. `decode` shifts back, and does not clip: a mean lies in [−0.5, 1.5], not always in [0, 1].
    Raises TypeError or ValueError if latent_dim or hidden_dim is not a positive integer.
    """

    def __init__(self, latent_dim: int = 8, hidden_dim: int = 512, dtype=None, **kwargs):
        check_positive_int(latent_dim, "latent_dim")
        check_positive_int(hidden_dim, "hidden_dim")
        with own_settings(dtype) as dtype:
            x = keras.Input((28, 28), name="x")
            y = layers.Flatten()(x)
            y = layers.Dense(hidden_dim, activation="relu")(y)
            y = layers.Dense(hidden_dim, activation="relu")(y)
            # The lecture's second head is log σ; ours is log_var = log σ² = 2 log σ, as in ConvVAE.
            encoder = keras.Model(x, _heads(y, latent_dim), name="encoder")

            h = keras.Input((latent_dim,), name="h")
            y = layers.Dense(hidden_dim, activation="relu")(h)
            y = layers.Dense(784, activation="tanh")(y)
            y = layers.Reshape((28, 28))(y)
            decoder = keras.Model(h, y, name="decoder")
            super().__init__(encoder, decoder, latent_dim, dtype=dtype, **kwargs)
            self.hidden_dim = hidden_dim

    def get_config(self):
        return {"latent_dim": self.latent_dim, "hidden_dim": self.hidden_dim,
                **common_config(self)}

    def _encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.encoder(x - 0.5)

    def _mean_images(self, output: Tensor) -> Tensor:
        return output + 0.5

    def _log_likelihood(self, x: Tensor, output: Tensor) -> Tensor:
        # log N(x − 0.5; output, I) = −½ ‖x − 0.5 − output‖² − 392 log 2π (N1)
        squares = ops.sum((x - 0.5 - output) ** 2, axis=(1, 2))
        return -0.5 * squares - 392 * math.log(2 * math.pi)


def fit(model: VAE, images: Array, *, num_epochs: int | None = None, num_steps: int | None = None,
        batch_size: int = 128, learning_rate: float | None = None, recipe: str = "warm-up",
        precision: str | None = None, seed: int = 0, device: str | None = None,
        history: History | None = None, progress: bool = True) -> History:
    """Trains the model by Adam on images (n, 28, 28); returns the history, in nats per example.

    Give either num_epochs or num_steps. An epoch meets every image once, in an order that follows
    from seed; its last batch may be smaller. device: None for a GPU if there is one, else the CPU;
    or a name such as "cpu", "gpu:0". Weights of layers that are not `trainable` stay as they are.

    recipe: "warm-up" raises the learning rate linearly to its peak, 4e-3 unless learning_rate is
    given, over the first tenth of the steps, and lowers it to zero along half a cosine. In the
    first half of the steps 0.2 nats of the KL divergence of each latent dimension are free: the
    loss counts max(0.2, KL_j), with KL_j averaged over the batch. "lecture" keeps the rate at 1e-3,
    or at learning_rate, and nothing is free. The history is that of −ELBO in either case.

    precision: "float32" or "bfloat16", in which the networks compute while everything else stays as
    it is; None for bfloat16 where the recipe is "warm-up", the model float32, the backend
    TensorFlow on a CPU and the processor has it. `evaluate` never uses it.

    To go on, give the history that an earlier call returned, and the same images, batch_size and
    seed. It is extended in place and returned. An unfinished epoch is completed first, and counts
    as the first of num_epochs. The recipe starts anew, except that the rest of an interrupted call
    keeps its schedule. Ctrl-C ends the training after the step under way: the history so far is
    returned, and the model can be used or trained further.
    Raises TypeError or ValueError naming the argument that is wrong; FloatingPointError naming the
    step if the loss is NaN or infinite: the model then has its last good weights, at most 100 steps
    old.
    """
    check_images(images)
    history, peak = begin(history, model=model, num_examples=len(images), num_epochs=num_epochs,
                          num_steps=num_steps, batch_size=batch_size, seed=seed,
                          learning_rate=learning_rate, recipe=recipe)
    check_precision(precision)
    device_scope, keep = prepare(model, history, peak, device)
    layers_of = [*model.encoder.layers, *model.decoder.layers]
    with device_scope, without_autocast(), autocast(model, layers_of, recipe, precision):
        # all of them, on the device: a batch is an index
        images = ops.stop_gradient(model._tensor(images))
        with batches(history, latent_dim=model.latent_dim, progress=progress, keep=keep) as steps:
            for rows, noise in steps:
                x = ops.take(images, rows, axis=0)  # (batch, 28, 28)
                model.optimizer.learning_rate = learning_rate_at(
                    history.num_steps, history.schedule, recipe, peak)
                free = free_nats_at(history.num_steps, history.schedule, recipe)
                free = model._tensor(np.full(model.latent_dim, free))  # (k,)
                # One step: call, compute_loss, its gradient, Adam. Keras gives the batch's means.
                means = model.train_on_batch((x, model._tensor(noise)), free, return_dict=True)
                history.record(means["log_likelihood"] * len(rows), means["kl"] * len(rows),
                               len(rows))
    return history


def prepare(model: keras.Model, history: History, peak: float,
            device: str | None) -> tuple[contextlib.AbstractContextManager, Callable]:
    """Compiles the model with the history's optimiser, which is made if there is none.

    Returns the context of the device, and `keep` for `training.batches`.
    Raises TypeError or ValueError if the device, the model's weights or the optimiser will not do.
    """
    device = check_device(device, available_devices())
    check_precise_layers(model)
    check_weights({weight.path: (weight.dtype, bool(ops.all(ops.isfinite(weight.value))),
                                 weight.trainable) for weight in model.weights})
    if device is not None and keras.backend.backend() == "torch":
        model.to(device)
    if history.optimizer is None:
        with own_settings(model.variable_dtype):
            history.optimizer = keras.optimizers.Adam(peak)
            history.optimizer.build(model.weights)  # also those that are frozen, perhaps for now
    check_optimizer(history, int(history.optimizer.iterations.value))
    if not model.compiled or model.optimizer is not history.optimizer:
        with own_settings(model.variable_dtype):  # it makes the loss's mean
            model.compile(history.optimizer)

    def keep():
        variables = [*model.weights, *model.optimizer.variables]
        copies = [ops.copy(variable.value) for variable in variables]

        def put_back():
            for variable, value in zip(variables, copies):
                variable.assign(value)

        return put_back

    return keras.device(device) if device is not None else contextlib.nullcontext(), keep


def available_devices() -> list[str]:
    """The devices that `fit` can use, as the backend names them: "cpu:0", and "gpu:0" or so."""
    if keras.backend.backend() == "torch":
        from genmodels import vae_torch
        return vae_torch.available_devices()
    gpus = keras.distribution.list_devices("gpu")
    return [*keras.distribution.list_devices("cpu"), *gpus]


@contextlib.contextmanager
def without_autocast():
    """Within it a `torch.autocast` around it has no effect, where Keras runs on PyTorch."""
    with contextlib.ExitStack() as stack:
        if keras.backend.backend() == "torch":
            import torch

            from genmodels.vae_torch import available_devices
            for kind in {device.split(":")[0] for device in available_devices()}:
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield


def check_precise_layers(model: keras.Model) -> None:
    """Raises TypeError unless all layers of the model compute in float32 or float64."""
    for layer in [model, *sublayers(model)]:
        check_precise(layer.compute_dtype, layer.name)


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


def tensor_of(array: Array, dtype: str) -> Tensor:
    """A copy of an array or tensor, of this type."""
    if isinstance(array, np.ndarray):  # the backends refuse or warn of some layouts in memory
        return ops.convert_to_tensor(np.array(array, dtype, order="C"), dtype)
    return ops.copy(ops.convert_to_tensor(array, dtype))


@contextlib.contextmanager
def autocast(model: keras.Model, layers_of: list, recipe: str, precision: str | None):
    """Within it these layers of the model compute in bfloat16, if that is the precision."""
    if precision is None:
        on_cpu = keras.backend.backend() == "tensorflow" and not keras.distribution.list_devices(
            "gpu")
        wanted = recipe == "warm-up" and model.compute_dtype == "float32" and on_cpu
        precision = "bfloat16" if wanted and cpu_has_bfloat16() else "float32"
    compiled_for = precision, [weight.trainable for weight in model.weights]
    if compiled_for != model._compiled_for:
        model.train_function = None  # compiled anew
        model._compiled_for = compiled_for
    if precision == "float32":
        layers_of = []
    policies = [layer.dtype_policy for layer in layers_of]
    try:
        for layer in layers_of:
            layer.dtype_policy = "mixed_bfloat16"
        yield
    finally:
        for layer, policy in zip(layers_of, policies):
            layer.dtype_policy = policy


def evaluate(model: VAE, images: Array, *, batch_size: int = 1000,
             seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Arrays (log_likelihood, kl) for images (n, 28, 28), each (n,) float64, in nats.

    One sample of h for each image, from noise that follows from seed alone; no gradient. The mean
    of log_likelihood − kl estimates the ELBO, and its standard error is std / √n.
    Raises TypeError or ValueError naming the argument that is wrong.
    """
    check_images(images)
    check_positive_int(batch_size, "batch_size")
    check_seed(seed)
    check_precise_layers(model)
    shape = (len(images), model.latent_dim)
    noise = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    terms = []
    for start in range(0, len(images), batch_size):
        batch = slice(start, start + batch_size)
        inputs = model._tensor(images[batch]), model._tensor(noise[batch])
        with without_autocast():
            log_likelihood, kl = model.predict_on_batch(inputs)  # (batch,), (batch, k)
        terms.append(np.stack([log_likelihood, kl.sum(axis=-1)]).astype(np.float64))
    log_likelihood, kl = np.concatenate(terms, axis=1)  # (n,), (n,)
    return log_likelihood, kl
