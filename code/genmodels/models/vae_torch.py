"""Variational autoencoders in PyTorch, the lecture's two; vae_keras.py has the same in Keras.

    x data, h latent variable (the lecture also writes z), k = latent_dim
    Q(h|x) = N(mean(x), diag exp(log_var(x)))   the encoder, parameters ϑ
    p(x|h)                                      the decoder, parameters Θ
    p(h)   = N(0, I)                            the prior
    ELBO   = E_Q[log p(x|h)] − KL[Q(h|x) ‖ p(h)] ≤ log p(x),   loss = −ELBO

A model is told the shape of one example and its likelihood (see `likelihood`). Examples are floats
(n, *shape), NumPy arrays or tensors; they are converted to the model's precision and device.
Everything that is measured is in nats per example.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from genmodels.models.likelihood import (
    DIGITS,
    check_data,
    check_density,
    check_latent,
    check_likelihood,
    in_batches,
)
from genmodels.training.history import Batch, History, Settings, normal
from genmodels.training.memory import memory_grows_with
from genmodels.training.torch import train
from genmodels.training.torch_tensors import (
    Array,
    check_precise_weights,
    tensor_like,
    without_autocast,
)
from genmodels.validate import check_flag, check_positive_int, check_seed, check_shape

__all__ = ["MLPVAE", "VAE", "ConvVAE", "History", "evaluate", "fit"]


class VAE(nn.Module):
    """Two networks, the shape of one example, and its likelihood p(x|h).

    Public methods check their input. `forward`, which `fit` calls at each step, does not.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, latent_dim: int,
                 shape: tuple[int, ...], likelihood: str):
        super().__init__()
        self.encoder = encoder  # x (n, *shape) -> mean (n, k), log_var (n, k)
        self.decoder = decoder  # h (n, k) -> what the likelihood needs, (n, *shape)
        self.latent_dim = latent_dim
        self.shape = check_shape(shape)
        self.likelihood = check_likelihood(likelihood)

    # The model, without checks ------------------------------------------------------------------

    def _encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.encoder(x.clone())  # a copy: a network may work in place

    def _decode(self, h: torch.Tensor) -> torch.Tensor:
        return self.decoder(h.clone())

    def _mean(self, output: torch.Tensor) -> torch.Tensor:
        """E[x|h] from what the decoder returned."""
        if self.likelihood == "bernoulli":
            return torch.sigmoid(output)
        if self.likelihood == "spins":
            return torch.tanh(output / 2)  # 2 π − 1
        return output + 0.5 if self.likelihood == "gaussian-pixels" else output

    def _log_likelihood(self, x: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """log p(x|h) (…,) for x and output (…, *shape), constants included (N1)."""
        if self.likelihood in ("bernoulli", "spins"):
            # log p(x|h) = Σ x log π + (1 − x) log(1 − π) with π = sigmoid(logit), from the logits
            # so that no pixel gives log 0 (N1). For grey pixels this is the usual cross-entropy.
            ones = x if self.likelihood == "bernoulli" else (x + 1) / 2
            return self._sum(ones * output - nn.functional.softplus(output))
        # log N(x; output, I) = −½ ‖x − output‖² − d/2 log 2π, for pixels with both shifted by ½
        shift = 0.5 if self.likelihood == "gaussian-pixels" else 0.0
        squares = self._sum((x - shift - output) ** 2)
        return -0.5 * squares - math.prod(self.shape) / 2 * math.log(2 * math.pi)

    def _sum(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over an example: (…,) for (…, *shape)."""
        return values.flatten(-len(self.shape)).sum(dim=-1)

    def batch_loss(self, batch: Batch) -> dict[str, torch.Tensor]:
        """The terms of −ELBO, and what `fit` differentiates: −ELBO, less the nats that are free."""
        (x,), (noise,) = batch.data, batch.noise
        log_likelihood, kl = self(x, noise)  # (n,), (n, k)
        loss = kl.sum(dim=-1) - log_likelihood  # −ELBO, (n,)
        objective = batch.mean(loss)
        if batch.free_nats:  # dimension j counts max(free, KL_j)
            objective = objective + (batch.free_nats - batch.mean(kl, dim=0)).clamp(min=0).sum()
        return {"loss": loss, "log_likelihood": log_likelihood, "kl": kl, "objective": objective}

    def forward(self, x: torch.Tensor, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """log p(x|h) (n,) and the KL divergence of each dimension (n, k), for x (n, *shape).

        The ELBO is the former minus the sum of the latter: a deterministic function of x and noise
        (n, k).
        """
        mean, log_var = (head.to(x.dtype) for head in self._encode(x))  # (n, k), (n, k)
        h = mean + torch.exp(log_var / 2) * noise  # (n, k): reparameterisation (G5)
        output = self._decode(h).to(x.dtype)  # (n, *shape); networks alone may be in bfloat16
        log_likelihood = self._log_likelihood(x, output)  # (n,): one sample of h (G3, N1)
        kl = 0.5 * (mean**2 + torch.exp(log_var) - log_var - 1)  # (n, k): exact (K3)
        return log_likelihood, kl

    def _importance(self, x: torch.Tensor, noise: torch.Tensor,
                    encoder_share: torch.Tensor | None = None,
                    ) -> tuple[torch.Tensor, torch.Tensor]:
        """log p(x|h) and log p(h) − log Q(h|x), each (n, K), for x (n, *shape), noise (n, K, k).

        With encoder_share (n, K) the values are the same, but the encoder's gradient comes through
        h alone, not through the parameters of Q, and is multiplied by the share of each sample.
        """
        mean, log_var = (head.to(x.dtype).unsqueeze(1) for head in self._encode(x))  # (n, 1, k)
        h = mean + torch.exp(log_var / 2) * noise  # (n, K, k)
        squares = noise**2
        if encoder_share is not None:
            h = h.detach() + encoder_share.unsqueeze(-1) * (h - h.detach())
            mean, log_var = mean.detach(), log_var.detach()
            squares = (h - mean) ** 2 * torch.exp(-log_var)
        output = self._decode(h.flatten(0, 1)).to(x.dtype).unflatten(0, h.shape[:2])
        log_likelihood = self._log_likelihood(x.unsqueeze(1), output)  # (n, K)
        # the constants of log p(h) and log Q(h|x), k/2 · log 2π each, cancel
        return log_likelihood, 0.5 * (squares + log_var - h**2).sum(dim=-1)

    # The same, with checks ----------------------------------------------------------------------

    def encode(self, x: Array) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and log-variance (n, k) of Q(h|x) for x (n, *shape); differentiable.

        Raises TypeError or ValueError if x is no data of the model (see `likelihood`).
        """
        x = self._data(x, "x")
        return tuple(head.to(x.dtype) for head in self._encode(x))

    def decode(self, h: Array) -> torch.Tensor:
        """Means (n, *shape) of p(x|h) for h (n, k), in one pass; differentiable.

        Raises TypeError or ValueError if h is not a batch of finite latent vectors.
        """
        h = self._latent(h, "h")
        return self._mean(self._decode(h).to(h.dtype))

    def elbo_terms(self, x: Array, noise: Array | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Pair (log_likelihood, kl) for x (n, *shape), each (n,), nats; differentiable.

        The log-likelihood is log p(x|h), constants included, at one sample
        h = mean + exp(log_var / 2) · noise; the KL divergence is exact (N1, K3, G5). `noise` (n, k)
        is standard normal; if not given, it is drawn (`torch.manual_seed` seeds it).
        Raises TypeError or ValueError if x is no data of the model or noise not of shape (n, k).
        """
        x = self._data(x, "x", self._check_likelihood)
        if noise is None:
            noise = torch.randn(len(x), self.latent_dim, dtype=x.dtype, device=x.device)
        log_likelihood, kl = self(x, self._latent(noise, "noise", len(x)))
        return log_likelihood, kl.sum(dim=-1)

    def log_weights(self, x: Array, noise: Array) -> torch.Tensor:
        """log p(x|h) + log p(h) − log Q(h|x) at K samples h of Q(h|x): (n, K), in nats.

        x (n, *shape), `noise` (n, K, k) is standard normal: h = mean + exp(log_var / 2)
        · noise. The mean of exp(log weight) over K estimates p(x) without bias (N2).
        `torch.autocast` has no effect. Differentiable.
        Raises TypeError or ValueError if x is no data of the model, or for Bernoulli pixels not
        of zeros and ones, or noise not of shape (n, K, k).
        """
        x = self._data(x, "x", self._check_density)
        noise = self._latent(noise, "noise", len(x), samples=True)
        with without_autocast(x):
            return sum(self._importance(x, noise))

    @memory_grows_with("n")
    @torch.no_grad()
    def sample(self, n: int, seed: int | None = None) -> torch.Tensor:
        """n decoded draws h ~ N(0, I): the means of p(x|h), (n, *shape), without gradient.

        The draws come from NumPy: the same seed gives the same h in both frameworks.
        """
        check_positive_int(n, "n")
        if seed is not None:
            check_seed(seed)
        h = np.random.default_rng(seed).standard_normal((n, self.latent_dim), dtype=np.float32)
        with without_autocast(next(self.parameters())):
            return self.decode(h)

    @torch.no_grad()
    def reconstruct(self, x: Array) -> torch.Tensor:
        """x (n, *shape) encoded and decoded again at the mean of Q(h|x), without gradient.

        Decodes the mean, not a sample: this shows what h keeps, not a term of the ELBO.
        """
        x = self._data(x, "x")
        with without_autocast(x):
            mean, _ = self._encode(x)
            return self.decode(mean)

    # Input --------------------------------------------------------------------------------------

    def _tensor(self, array: Array) -> torch.Tensor:
        return tensor_like(next(self.parameters()), array)

    def _check_likelihood(self, x: Array, name: str) -> None:
        """Raises TypeError or ValueError unless x are data of which the decoder has a loss."""
        check_data(x, name, self.shape, self.likelihood)

    def _check_density(self, x: Array, name: str) -> None:
        """The same, unless that loss is −log p(x|h): log weights need a probability density."""
        check_density(x, name, self.shape, self.likelihood)

    def _data(self, x: Array, name: str, check: Callable | None = None) -> torch.Tensor:
        if check is None:
            check_data(x, name, self.shape, self.likelihood)
        else:
            check(x, name)
        check_precise_weights(self)
        return self._tensor(x)

    def _latent(self, h: Array, name: str, n: int | None = None,
                samples: bool = False) -> torch.Tensor:
        if not isinstance(h, (np.ndarray, torch.Tensor)):
            raise TypeError(f"{name} must be a NumPy array or a tensor, got {type(h).__name__}")
        check_latent(h, name, self.latent_dim, n, samples)
        check_precise_weights(self)
        h = self._tensor(h)
        if not torch.isfinite(h).all():
            raise ValueError(f"{name} must be finite, got NaN or infinity")
        return h


class Encoder(nn.Module):
    """A network `features` (n, *shape) -> (n, width), and the two heads of Q(h|x)."""

    def __init__(self, features: nn.Module, width: int, latent_dim: int):
        super().__init__()
        self.features = features
        self.mean = nn.Linear(width, latent_dim)
        self.log_var = nn.Linear(width, latent_dim)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.features(x)  # (n, width)
        return self.mean(features), self.log_var(features)


class ConvVAE(VAE):
    """The lecture's convolutional VAE: k = 2, Bernoulli pixels; 69,076 + 65,089 parameters.

    shape: two multiples of 4. periodic: opposite edges are neighbours, as on a lattice.
    Without, padding is TensorFlow's "same", so that the weights of the Keras model mean the same
    here: a strided convolution pads one row and one column at the end, a transposed one drops them.
    Raises TypeError or ValueError if an argument is none that the networks can be made with.
    """

    def __init__(self, latent_dim: int = 2, shape: tuple[int, int] = DIGITS,
                 likelihood: str = "bernoulli", periodic: bool = False):
        latent_dim = check_positive_int(latent_dim, "latent_dim")
        height, width = check_shape(shape, 4)
        periodic = check_flag(periodic, "periodic")
        quarter = (64, height // 4, width // 4)
        features = nn.Sequential(
            nn.Unflatten(1, (1, height)),  # (n, 1, height, width): the channel
            pad_end(periodic), nn.Conv2d(1, 32, 3, stride=2), nn.ReLU(),  # half the size
            pad_end(periodic), nn.Conv2d(32, 64, 3, stride=2), nn.ReLU(),  # a quarter
            nn.Flatten(),
            nn.Linear(math.prod(quarter), 16), nn.ReLU(),
        )
        decoder = nn.Sequential(
            nn.Linear(latent_dim, math.prod(quarter)), nn.ReLU(),
            nn.Unflatten(1, quarter),
            *transposed(64, 64, periodic), nn.ReLU(),
            *transposed(64, 32, periodic), nn.ReLU(),
            last_convolution(periodic),  # logits, or means
            nn.Flatten(1, 2),  # (n, height, width)
        )
        super().__init__(Encoder(features, 16, latent_dim), decoder, latent_dim, shape, likelihood)
        self.periodic = periodic


class MLPVAE(VAE):
    """The lecture's fully connected VAE: k = 8, Gaussian pixels of unit variance.

    672,784 + 406,800 parameters. With "gaussian-pixels" the networks see pixels shifted to
    [−0.5, 0.5]; the shift is made here. `decode` shifts back, and does not clip: a mean lies in
    [−0.5, 1.5], not always in [0, 1]. With every other likelihood the last layer is linear.
    Raises TypeError or ValueError if an argument is none that the networks can be made with.
    """

    def __init__(self, latent_dim: int = 8, hidden_dim: int = 512,
                 shape: tuple[int, ...] = DIGITS, likelihood: str = "gaussian-pixels"):
        latent_dim = check_positive_int(latent_dim, "latent_dim")
        hidden_dim = check_positive_int(hidden_dim, "hidden_dim")
        shape = check_shape(shape)
        size = math.prod(shape)
        features = nn.Sequential(
            nn.Flatten(),
            nn.Linear(size, hidden_dim), nn.ReLU(),
            nn.Linear(hidden_dim, hidden_dim), nn.ReLU(),
        )
        decoder = nn.Sequential(
            nn.Linear(latent_dim, hidden_dim), nn.ReLU(),
            nn.Linear(hidden_dim, size),
            nn.Tanh() if likelihood == "gaussian-pixels" else nn.Identity(),
            nn.Unflatten(1, shape),
        )
        # The lecture's second head is log σ; ours is log_var = log σ² = 2 log σ, as in ConvVAE.
        super().__init__(Encoder(features, hidden_dim, latent_dim), decoder, latent_dim, shape,
                         likelihood)

    def _encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self.likelihood == "gaussian-pixels":
            return self.encoder(x - 0.5)
        return super()._encode(x)


def pad_end(periodic: bool) -> nn.Module:
    """One more row and column at the end: zeros, or the first ones again."""
    return (nn.CircularPad2d if periodic else nn.ZeroPad2d)((0, 1, 0, 1))


class PeriodicTransposed(nn.ConvTranspose2d):
    """A transposed convolution of a lattice: before and after it stand rows of the other end."""

    def __init__(self, *args, before: int, after: int, **kwargs):
        super().__init__(*args, **kwargs)
        self.wrap = (before, after, before, after)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(nn.functional.pad(x, self.wrap, mode="circular"))


def transposed(num_in: int, num_out: int, periodic: bool) -> list[nn.Module]:
    """A transposed convolution (n, num_in, h, w) -> (n, num_out, 2 h, 2 w)."""
    if periodic:
        return [PeriodicTransposed(num_in, num_out, 3, stride=2, before=1, after=0),
                nn.ZeroPad2d((-2, -1, -2, -1))]
    return [nn.ConvTranspose2d(num_in, num_out, 3, stride=2), nn.ZeroPad2d((0, -1, 0, -1))]


def last_convolution(periodic: bool) -> nn.Module:
    """A transposed convolution (n, 32, h, w) -> (n, 1, h, w)."""
    if periodic:
        return PeriodicTransposed(32, 1, 3, padding=2, before=1, after=1)
    return nn.ConvTranspose2d(32, 1, 3, padding=1)


def fit(model: VAE, x: Array, *, history: History | None = None, **settings) -> History:
    """Trains the model on −ELBO of x (n, *shape); returns the history, in nats per example.

    Its terms are "loss", "log_likelihood" and "kl", whatever is free. settings: those of
    `training.Settings`, num_epochs or num_steps among them. history: that of an earlier call, to go
    on with the same x, batch_size and seed; see `training.torch.train`, also for the errors.
    """
    model._check_likelihood(x, "x")
    return train(model, (x,), model.batch_loss, Settings(**settings),
                 draw=normal(model.latent_dim), history=history)


@memory_grows_with("batch_size")
@torch.no_grad()
def evaluate(model: VAE, x: Array, *, batch_size: int = 1000,
             seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Arrays (log_likelihood, kl) for x (n, *shape), each (n,) float64, in nats.

    One sample of h for each example, from noise that follows from seed alone; no gradient. The mean
    of log_likelihood − kl estimates the ELBO, and its standard error is std / √n. `torch.autocast`
    has no effect.
    Raises TypeError or ValueError naming the argument that is wrong.
    """
    model._check_likelihood(x, "x")
    check_precise_weights(model)

    def terms(x: Array, noise: np.ndarray) -> np.ndarray:
        x = model._tensor(x)
        with without_autocast(x):
            log_likelihood, kl = model(x, model._tensor(noise))
        return torch.stack([log_likelihood, kl.sum(dim=-1)]).cpu().numpy()

    return in_batches(terms, x, model.latent_dim, batch_size, seed)
