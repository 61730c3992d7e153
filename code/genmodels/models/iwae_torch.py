"""A VAE of binary images, and training any VAE on the importance-weighted bound, in PyTorch.

    log w_s = log p(x|h_s) + log p(h_s) − log Q(h_s|x),   h_s ~ Q(h|x)
    L_K = E[log (w_1 + … + w_K)/K] ≤ log p(x)             identity N2; L_1 is the ELBO

Model, data and bound are those of Burda, Grosse and Salakhutdinov (2016), with one stochastic
layer. Images are floats of shape (n, *shape); figures are in nats per example.
"""

import math

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from genmodels.models.likelihood import DIGITS
from genmodels.models.vae_torch import VAE, Array, Encoder
from genmodels.training.history import Batch, History, Settings
from genmodels.training.memory import memory_grows_with
from genmodels.training.torch import train
from genmodels.training.torch_tensors import check_precise_weights, without_autocast
from genmodels.validate import (
    check_examples,
    check_positive_int,
    check_seed,
    check_shape,
    plain_array,
)

__all__ = ["BinaryVAE", "History", "binarise", "fit", "log_weights", "surrogate_loss"]

NUM_DRAWN = 5  # of the K samples, for the gradient
ALONE = Batch((), (), 0.0, 0)  # all rows are in this process


class BinaryVAE(VAE):
    """Fully connected, tanh, Bernoulli pixels: 784–200–200–50 and 50–200–200–784 for digits.

    217,300 + 207,984 parameters. They start as in the paper: weights uniform in
    ±√(6/(n_in + n_out)), biases zero, except that with mean_image (*shape), grey values in [0, 1]
    averaged over the data, the decoder's last biases are the logits of (mean_image + 0.001)/1.002.
    Raises TypeError or ValueError if an argument is none that the networks can be made with.
    `elbo_terms`, `log_weights`, `vae_torch.fit` and `vae_torch.evaluate` raise ValueError for grey
    images, of which this model has no likelihood: `binarise` them.
    """

    def __init__(self, latent_dim: int = 50, hidden_dim: int = 200,
                 mean_image: Array | None = None, shape: tuple[int, ...] = DIGITS):
        latent_dim = check_positive_int(latent_dim, "latent_dim")
        hidden_dim = check_positive_int(hidden_dim, "hidden_dim")
        shape = check_shape(shape)
        if mean_image is not None:
            if tuple(getattr(mean_image, "shape", ())) != shape:
                raise ValueError(f"mean_image must have shape {shape}, got "
                                 f"{getattr(mean_image, 'shape', mean_image)}")
            check_examples(mean_image[None], "mean_image", shape, 0, 1)
        size = math.prod(shape)
        features = nn.Sequential(
            nn.Flatten(),
            nn.Linear(size, hidden_dim), nn.Tanh(),
            nn.Linear(hidden_dim, hidden_dim), nn.Tanh(),
        )
        decoder = nn.Sequential(
            nn.Linear(latent_dim, hidden_dim), nn.Tanh(),
            nn.Linear(hidden_dim, hidden_dim), nn.Tanh(),
            nn.Linear(hidden_dim, size),  # logits
            nn.Unflatten(1, shape),
        )
        super().__init__(Encoder(features, hidden_dim, latent_dim), decoder, latent_dim, shape,
                         "bernoulli")
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)
        if mean_image is not None:
            mean = _tensor(mean_image).detach().flatten()
            mean = mean.to(torch.promote_types(mean.dtype, torch.float32))  # not half precision
            mean = (mean + 0.001) / 1.002
            with torch.no_grad():
                decoder[-2].bias.copy_(torch.logit(mean))

    def _check_likelihood(self, x: Array, name: str) -> None:
        self._check_density(x, name)

    def _log_likelihood(self, x: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        # log p(x|h) = Σ x log π + (1 − x) log(1 − π) with π = sigmoid(logit) (N1). The first sum is
        # a product of matrices, which is faster, and which bfloat16 would spoil.
        axes = -len(self.shape)
        x, logits = x.flatten(axes), output.flatten(axes)  # (n, [1,] d), (n, [K,] d)
        with without_autocast(x):
            linear = torch.einsum("...i,...i->...", logits, x)
        return linear - nn.functional.softplus(logits).sum(dim=-1)


def binarise(images: Array, generator: torch.Generator) -> torch.Tensor:
    """Draws each pixel as 0 or 1, with its grey value as the probability of 1: (n, *shape) floats.

    `images` (n, *shape) are grey values in [0, 1]; `generator` is on their device.
    Raises TypeError or ValueError if images are not floats in [0, 1].
    """
    check_examples(images, "images", tuple(getattr(images, "shape", ()))[1:], 0, 1)
    return torch.bernoulli(_tensor(images).detach(), generator=generator)


def _tensor(array: Array) -> torch.Tensor:
    """A tensor of the same type; of an array a copy, since torch does not take every layout."""
    return array if torch.is_tensor(array) else torch.from_numpy(plain_array(array))


def surrogate_loss(model: VAE, x: torch.Tensor, noise: torch.Tensor, generator: torch.Generator,
                   batch: Batch = ALONE,
                   ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A loss whose gradient is on average that of −L_K, over noise and generator; and two terms.

    x (n, *shape) binary, noise (n, K, k); nothing is checked. With w̃_s = w_s / Σ w, the gradient of
    L_K is the mean over batch and noise of Σ_s w̃_s ∇ log w_s for the decoder, and for the encoder
    of Σ_s w̃_s² ∂log w_s/∂h_s · ∇ h_s, with the parameters of Q in log w_s held fixed (Tucker et
    al. 2019: for large K less noise). Five of the K samples are drawn with the probabilities w̃_s,
    and only those are differentiated. The terms (n,), detached, are log (w_1 + … + w_K)/K and
    Σ_s w̃_s log p(x|h_s). batch: the one of which x are the rows that this process has, where there
    are several (see `Batch`).
    """
    num_samples = noise.shape[1]
    if num_samples == 1:
        log_likelihood, log_ratio = model._importance(x, noise)  # (n, 1) each
        log_weights = log_likelihood + log_ratio
        return -batch.mean(log_weights), log_weights.detach()[:, 0], log_likelihood.detach()[:, 0]
    # Samples in a pass: on a CPU their arrays fit into a cache, elsewhere a pass takes its time.
    per_pass = 1000 if x.device.type == "cpu" else 100_000
    part = max(1, per_pass // num_samples)  # of the batch
    with torch.no_grad():
        terms = [model._importance(*pair) for pair in zip(x.split(part), noise.split(part))]
        log_likelihood, log_ratio = (torch.cat(parts) for parts in zip(*terms))  # (n, K) each
        log_weights = log_likelihood + log_ratio
        weights = torch.softmax(log_weights, dim=1)
        bound = torch.logsumexp(log_weights, dim=1) - math.log(num_samples)  # (n,)
        expected = (weights * log_likelihood).sum(dim=1)
        drawn = _drawn(weights, generator, batch)  # (n, NUM_DRAWN)
    chosen = noise.take_along_dim(drawn[:, :, None], dim=1)  # (n, NUM_DRAWN, k)
    log_weights = sum(model._importance(x, chosen, weights.gather(1, drawn)))
    return -batch.mean(log_weights), bound, expected


def _drawn(weights: torch.Tensor, generator: torch.Generator, batch: Batch) -> torch.Tensor:
    """NUM_DRAWN of the K samples of each row, with probabilities weights (n, K)."""
    if not torch.are_deterministic_algorithms_enabled():
        return torch.multinomial(batch.spread(weights), NUM_DRAWN, replacement=True,
                                 generator=generator)[batch.own]
    # On a GPU multinomial may have no algorithm that gives the same bits in every run. Of K clocks
    # that ring at these rates, the first one is drawn with these probabilities.
    clocks = torch.empty(batch.whole or len(weights), NUM_DRAWN, weights.shape[1],
                         dtype=weights.dtype, device=weights.device)
    clocks = clocks.exponential_(generator=generator)[batch.own]
    return (weights[:, None] / clocks).argmax(dim=-1)


def fit(model: VAE, images: Array, *, num_importance_samples: int = 1,
        history: History | None = None, **settings) -> History:
    """Trains the model on L_K, K = num_importance_samples; the gradient is `surrogate_loss`'s.

    `images` (n, *shape) are data as the model's likelihood needs them; for Bernoulli pixels grey
    values in [0, 1], which are binarised anew at each step.
    The history has −L_K as its "loss"; "log_likelihood" is Σ_s w̃_s log p(x|h_s), and "kl" the
    difference, which for large K estimates D[p(h|x) ‖ p(h)].
    settings: those of `training.Settings`, with batch_size 100 unless given; all else, and the
    errors, are those of `vae_torch.fit`. No nats are free here.
    """
    grey_values = model.likelihood == "bernoulli"
    if grey_values:
        check_examples(images, "images", model.shape, 0, 1)
    else:
        model._check_density(images, "images")
    check_positive_int(num_importance_samples, "num_importance_samples")
    settings = Settings(**{"batch_size": 100, **settings})
    generator = None

    def batch_loss(batch: Batch) -> dict[str, torch.Tensor]:
        nonlocal generator
        (x,) = batch.data
        # What a step draws follows from its number: a run can be stopped and continued.
        generator = generator or torch.Generator(x.device)
        generator.manual_seed(_seed(settings.seed, batch.step))
        if grey_values:
            x = torch.bernoulli(batch.spread(x), generator=generator)[batch.own]
        shape = batch.num_rows, num_importance_samples, model.latent_dim  # (batch, K, k)
        with memory_grows_with("num_importance_samples", "batch_size"):
            noise = torch.randn(shape, dtype=x.dtype, device=x.device,
                                generator=generator)[batch.own]
            objective, bound, expected = surrogate_loss(model, x, noise, generator, batch)
        return {"loss": -bound, "log_likelihood": expected, "kl": expected - bound,
                "objective": objective}

    batch_loss.__qualname__ = f"L_{num_importance_samples}"  # a checkpoint of another is refused
    return train(model, (images,), batch_loss, settings, history=history)


def _seed(*numbers: int) -> int:
    """A seed for PyTorch from several integers, well mixed."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


@memory_grows_with("samples_per_pass", "num_samples")
@torch.no_grad()
def log_weights(model: VAE, images: Array, num_samples: int, *, seed: int = 0,
                samples_per_pass: int = 1000, progress: bool = True) -> np.ndarray:
    """Log weights (n, num_samples) float32 of images (n, *shape), in nats; no gradient.

    Binary images if pixels are Bernoulli (BinaryVAE, ConvVAE). `bounds` has L_K and its standard
    error. The noise of an image follows from seed and from its place; the decoder takes
    samples_per_pass vectors h at once. `torch.autocast` changes nothing here.
    Raises TypeError or ValueError naming the argument that is wrong.
    """
    model._check_density(images, "images")
    check_precise_weights(model)
    check_positive_int(num_samples, "num_samples")
    check_positive_int(samples_per_pass, "samples_per_pass")
    check_seed(seed)
    images = model._tensor(images)
    generator = torch.Generator(images.device)
    result = np.empty((len(images), num_samples), np.float32)
    for i in tqdm(range(len(images)), desc="weights", unit="image", leave=False, mininterval=0.5,
                  disable=not progress):
        generator.manual_seed(_seed(seed, i))
        noise = torch.randn(1, num_samples, model.latent_dim, dtype=images.dtype,
                            device=images.device, generator=generator)
        with without_autocast(images):
            parts = [sum(model._importance(images[i:i + 1], part))[0]
                     for part in noise.split(samples_per_pass, dim=1)]
        result[i] = torch.cat(parts).cpu()
    return result
