"""The lecture's two variational autoencoders in PyTorch; vae_keras.py has the same in Keras.

    x data, h latent variable (the lecture also writes z), k = latent_dim
    Q(h|x) = N(mean(x), diag exp(log_var(x)))   the encoder, parameters ϑ
    p(x|h)                                      the decoder, parameters Θ
    p(h)   = N(0, I)                            the prior
    ELBO   = E_Q[log p(x|h)] − KL[Q(h|x) ‖ p(h)] ≤ log p(x),   loss = −ELBO

Images are floats in [0, 1] of shape (n, 28, 28), NumPy arrays or tensors; they are converted to the
model's precision and device. Everything that is measured is in nats per example.
"""

import copy
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

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

Array = np.ndarray | torch.Tensor

__all__ = ["MLPVAE", "VAE", "ConvVAE", "History", "evaluate", "fit"]


class VAE(nn.Module):
    """What both models share; a child names its networks and its likelihood p(x|h).

    Public methods check their input. `forward`, which `fit` calls at each step, does not.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, latent_dim: int):
        super().__init__()
        self.encoder = encoder  # images (n, 28, 28) -> mean (n, k), log_var (n, k)
        self.decoder = decoder  # h (n, k) -> what the likelihood needs, (n, 28, 28)
        self.latent_dim = latent_dim

    # The model, without checks ------------------------------------------------------------------

    def _encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.encoder(x.clone())  # a copy: a network may work in place

    def _decode(self, h: torch.Tensor) -> torch.Tensor:
        return self.decoder(h.clone())

    def _mean_images(self, output: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def _log_likelihood(self, x: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def forward(self, x: torch.Tensor, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """log p(x|h) (n,) and the KL divergence of each dimension (n, k), for x (n, 28, 28).

        The ELBO is the former minus the sum of the latter: a deterministic function of x and noise
        (n, k).
        """
        mean, log_var = (head.to(x.dtype) for head in self._encode(x))  # (n, k), (n, k)
        h = mean + torch.exp(log_var / 2) * noise  # (n, k): reparameterisation (G5)
        output = self._decode(h).to(x.dtype)  # (n, 28, 28); networks alone may be in bfloat16
        log_likelihood = self._log_likelihood(x, output)  # (n,): one sample of h (G3, N1)
        kl = 0.5 * (mean**2 + torch.exp(log_var) - log_var - 1)  # (n, k): exact (K3)
        return log_likelihood, kl

    def _importance(self, x: torch.Tensor, noise: torch.Tensor,
                    encoder_share: torch.Tensor | None = None,
                    ) -> tuple[torch.Tensor, torch.Tensor]:
        """log p(x|h) and log p(h) − log Q(h|x), each (n, K), for x (n, 28, 28), noise (n, K, k).

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
        """Mean and log-variance (n, k) of Q(h|x) for images x (n, 28, 28); differentiable.

        Raises TypeError or ValueError if x is not images (see `datasets.check_images`).
        """
        x = self._images(x, "x")
        return tuple(head.to(x.dtype) for head in self._encode(x))

    def decode(self, h: Array) -> torch.Tensor:
        """Mean images (n, 28, 28) of p(x|h) for h (n, k), in one pass; differentiable.

        Raises TypeError or ValueError if h is not a batch of finite latent vectors.
        """
        h = self._latent(h, "h")
        return self._mean_images(self._decode(h).to(h.dtype))

    def elbo_terms(self, x: Array, noise: Array | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Pair (log_likelihood, kl) for images x (n, 28, 28), each (n,), nats; differentiable.

        The log-likelihood is log p(x|h), constants included, at one sample
        h = mean + exp(log_var / 2) · noise; the KL divergence is exact (N1, K3, G5). `noise` (n, k)
        is standard normal; if not given, it is drawn (`torch.manual_seed` seeds it).
        Raises TypeError or ValueError if x is not images or noise not of shape (n, k).
        """
        x = self._images(x, "x", self._check_likelihood)
        if noise is None:
            noise = torch.randn(len(x), self.latent_dim, dtype=x.dtype, device=x.device)
        log_likelihood, kl = self(x, self._latent(noise, "noise", len(x)))
        return log_likelihood, kl.sum(dim=-1)

    def log_weights(self, x: Array, noise: Array) -> torch.Tensor:
        """log p(x|h) + log p(h) − log Q(h|x) at K samples h of Q(h|x): (n, K), in nats.

        x (n, 28, 28) are images, `noise` (n, K, k) is standard normal: h = mean + exp(log_var / 2)
        · noise. The mean of exp(log weight) over K estimates p(x) without bias (N2).
        `torch.autocast` has no effect. Differentiable.
        Raises TypeError or ValueError if x is not images, or for Bernoulli pixels (ConvVAE) not of
        zeros and ones, or noise not of shape (n, K, k).
        """
        x = self._images(x, "x", self._check_density)
        noise = self._latent(noise, "noise", len(x), samples=True)
        with without_autocast(x):
            return sum(self._importance(x, noise))

    @torch.no_grad()
    def sample(self, n: int, seed: int | None = None) -> torch.Tensor:
        """n decoded draws h ~ N(0, I): the mean images of p(x|h), (n, 28, 28), without gradient.

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
        """Images x (n, 28, 28) encoded and decoded again at the mean of Q(h|x), without gradient.

        Decodes the mean, not a sample: this is a picture of what h keeps, not a term of the ELBO.
        """
        x = self._images(x, "x")
        with without_autocast(x):
            mean, _ = self._encode(x)
            return self.decode(mean)

    # Input --------------------------------------------------------------------------------------

    def _tensor(self, array: Array) -> torch.Tensor:
        return tensor_like(next(self.parameters()), array)

    def _check_likelihood(self, x: Array, name: str) -> None:
        """Raises TypeError or ValueError unless x are images of which the decoder has a loss."""
        check_images(x, name)

    def _check_density(self, x: Array, name: str) -> None:
        """The same, unless that loss is −log p(x|h): log weights need a probability density."""
        self._check_likelihood(x, name)

    def _images(self, x: Array, name: str, check: Callable = check_images) -> torch.Tensor:
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
    """A network `features` (n, 28, 28) -> (n, width), and the two heads of Q(h|x)."""

    def __init__(self, features: nn.Module, width: int, latent_dim: int):
        super().__init__()
        self.features = features
        self.mean = nn.Linear(width, latent_dim)
        self.log_var = nn.Linear(width, latent_dim)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.features(x)  # (n, width)
        return self.mean(features), self.log_var(features)


class ConvVAE(VAE):
    """The lecture's convolutional VAE: k = 2, Bernoulli pixels. 69,076 + 65,089 parameters.

    Padding is TensorFlow's "same", so that the weights of the Keras model mean the same here: a
    strided convolution pads one row and one column at the end, and a transposed one drops them.
    Raises TypeError or ValueError if latent_dim is not a positive integer.
    """

    def __init__(self, latent_dim: int = 2):
        check_positive_int(latent_dim, "latent_dim")
        features = nn.Sequential(
            nn.Unflatten(1, (1, 28)),  # (n, 1, 28, 28): the channel
            nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(1, 32, 3, stride=2), nn.ReLU(),  # 14 × 14
            nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(32, 64, 3, stride=2), nn.ReLU(),  # 7 × 7
            nn.Flatten(),
            nn.Linear(7 * 7 * 64, 16), nn.ReLU(),
        )
        decoder = nn.Sequential(
            nn.Linear(latent_dim, 7 * 7 * 64), nn.ReLU(),
            nn.Unflatten(1, (64, 7, 7)),
            nn.ConvTranspose2d(64, 64, 3, stride=2), nn.ZeroPad2d((0, -1, 0, -1)), nn.ReLU(),
            nn.ConvTranspose2d(64, 32, 3, stride=2), nn.ZeroPad2d((0, -1, 0, -1)), nn.ReLU(),
            nn.ConvTranspose2d(32, 1, 3, padding=1),  # logits
            nn.Flatten(1, 2),  # (n, 28, 28)
        )
        super().__init__(Encoder(features, 16, latent_dim), decoder, latent_dim)

    def _check_density(self, x: Array, name: str) -> None:
        check_binary(x, name)  # the loss of grey pixels is no likelihood

    def _mean_images(self, output: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(output)

    def _log_likelihood(self, x: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        # log p(x|h) = Σ x log π + (1 − x) log(1 − π) with π = sigmoid(logit), from the logits so
        # that no pixel gives log 0 (N1). For grey pixels this is the usual cross-entropy.
        return (x * output - nn.functional.softplus(output)).flatten(-2).sum(dim=-1)


class MLPVAE(VAE):
    """The lecture's fully connected VAE: k = 8, Gaussian pixels of unit variance.

    672,784 + 406,800 parameters. The networks see pixels shifted to [−0.5, 0.5]; the shift is made
    here. `decode` shifts back, and does not clip: a mean lies in [−0.5, 1.5], not always in [0, 1].
    Raises TypeError or ValueError if latent_dim or hidden_dim is not a positive integer.
    """

    def __init__(self, latent_dim: int = 8, hidden_dim: int = 512):
        check_positive_int(latent_dim, "latent_dim")
        check_positive_int(hidden_dim, "hidden_dim")
        features = nn.Sequential(
            nn.Flatten(),
            nn.Linear(784, hidden_dim), nn.ReLU(),
            nn.Linear(hidden_dim, hidden_dim), nn.ReLU(),
        )
        decoder = nn.Sequential(
            nn.Linear(latent_dim, hidden_dim), nn.ReLU(),
            nn.Linear(hidden_dim, 784), nn.Tanh(),
            nn.Unflatten(1, (28, 28)),
        )
        # The lecture's second head is log σ; ours is log_var = log σ² = 2 log σ, as in ConvVAE.
        super().__init__(Encoder(features, hidden_dim, latent_dim), decoder, latent_dim)

    def _encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.encoder(x - 0.5)

    def _mean_images(self, output: torch.Tensor) -> torch.Tensor:
        return output + 0.5

    def _log_likelihood(self, x: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        # log N(x − 0.5; output, I) = −½ ‖x − 0.5 − output‖² − 392 log 2π (N1)
        squares = ((x - 0.5 - output) ** 2).flatten(-2).sum(dim=-1)
        return -0.5 * squares - 392 * math.log(2 * math.pi)


def tensor_like(weight: torch.Tensor, array: Array) -> torch.Tensor:
    """A copy of an array or tensor, of the weight's type and on its device; differentiable."""
    if isinstance(array, torch.Tensor):
        return array.to(weight, copy=True)
    # torch refuses reversed arrays and other byte orders, and warns on read-only ones
    array = np.array(array, str(weight.dtype).removeprefix("torch."), order="C")
    return torch.from_numpy(array).to(weight.device)


def without_autocast(tensor: torch.Tensor) -> torch.autocast:
    """The context in which a `torch.autocast` around it has no effect, on the tensor's device."""
    return torch.autocast(tensor.device.type, enabled=False)


def check_precise_weights(model: nn.Module) -> None:
    """Raises TypeError unless all weights of the model are of float32 or float64."""
    for name, weight in model.named_parameters():
        check_precise(weight.dtype, name)


def available_devices() -> list[str]:
    """The devices that `fit` can use: "cpu", and "cuda:0" or the like."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    numbers = range(torch.accelerator.device_count()) if accelerator else ()
    return ["cpu", *(f"{accelerator.type}:{i}" for i in numbers)]


def prepare(model: nn.Module, history: History, peak: float,
            device: str | None) -> torch.optim.Adam:
    """Moves the model to the device; returns the history's optimiser, made if there is none.

    Raises TypeError or ValueError if the device, the model's weights or the optimiser will not do.
    """
    device = check_device(device, available_devices())
    check_weights({name: (weight.dtype, bool(torch.isfinite(weight).all()), weight.requires_grad)
                   for name, weight in model.named_parameters()})
    model.to(device or torch.accelerator.current_accelerator(check_available=True) or "cpu")
    if history.optimizer is None:
        history.optimizer = torch.optim.Adam(model.parameters(), lr=peak, fused=True)
    optimizer = history.optimizer
    check_optimizer(history, max((int(state["step"]) for state in optimizer.state.values()),
                                 default=0))
    return optimizer


def autocast(images: torch.Tensor, recipe: str, precision: str | None) -> torch.autocast:
    """The context in which `fit` calls the model; see there for precision.

    Raises ValueError if precision is unknown.
    """
    check_precision(precision)
    device = images.device.type
    if precision is None and recipe == "warm-up" and images.dtype == torch.float32:
        if device == "cpu":
            in_hardware = cpu_has_bfloat16()
        else:
            in_hardware = device == "cuda" and torch.cuda.is_bf16_supported(False)
        precision = "bfloat16" if in_hardware else "float32"
    # Within another autocast, rounded weights that were kept would outlive the step.
    return torch.autocast(device, torch.bfloat16, precision == "bfloat16", cache_enabled=False)


def keep_copies(model: VAE, optimizer: torch.optim.Optimizer) -> Callable[[], None]:
    """Copies the model and the optimiser; returns a function that puts the copies back."""
    copies = copy.deepcopy((model.state_dict(), optimizer.state_dict()))

    def put_back():
        model.load_state_dict(copies[0])
        optimizer.load_state_dict(copies[1])

    return put_back


def fit(model: VAE, images: Array, *, num_epochs: int | None = None, num_steps: int | None = None,
        batch_size: int = 128, learning_rate: float | None = None, recipe: str = "warm-up",
        precision: str | None = None, seed: int = 0, device: str | None = None,
        history: History | None = None, progress: bool = True) -> History:
    """Trains the model by Adam on images (n, 28, 28); returns the history, in nats per example.

    Give either num_epochs or num_steps. An epoch meets every image once, in an order that follows
    from seed; its last batch may be smaller. device: None for a GPU if there is one, else the CPU;
    or a name such as "cpu", "cuda". The model stays there. Weights that are frozen, by
    `requires_grad_(False)`, stay as they are.

    recipe: "warm-up" raises the learning rate linearly to its peak, 4e-3 unless learning_rate is
    given, over the first tenth of the steps, and lowers it to zero along half a cosine. In the
    first half of the steps 0.2 nats of the KL divergence of each latent dimension are free: the
    loss counts max(0.2, KL_j), with KL_j averaged over the batch. "lecture" keeps the rate at 1e-3,
    or at learning_rate, and nothing is free. The history is that of −ELBO in either case.

    precision: "float32" or "bfloat16", in which the networks multiply matrices while everything
    else stays as it is; None for bfloat16 where the recipe is "warm-up", the model float32 and the
    processor has it. `evaluate` never uses it.

    To go on, give the history that an earlier call returned, and the same images, batch_size and
    seed. It is extended in place and returned. An unfinished epoch is completed first, and counts
    as the first of num_epochs. The recipe starts anew, except that the rest of an interrupted call
    keeps its schedule. Ctrl-C ends the training after the step under way: the history so far is
    returned, and the model can be used or trained further.
    Raises TypeError or ValueError naming the argument that is wrong; FloatingPointError naming the
    step if the loss is NaN or infinite: the model then has its last good weights, at most 100 steps
    old.
    """
    model._check_likelihood(images, "images")
    history, peak = begin(history, model=model, num_examples=len(images), num_epochs=num_epochs,
                          num_steps=num_steps, batch_size=batch_size, seed=seed,
                          learning_rate=learning_rate, recipe=recipe)
    check_precision(precision)
    optimizer = prepare(model, history, peak, device)
    images = model._tensor(images).detach()  # all of them, on the device: a batch is an index
    networks = autocast(images, recipe, precision)
    with (without_autocast(images),  # the user's would reach the gradient, too
          batches(history, latent_dim=model.latent_dim, progress=progress,
                  keep=lambda: keep_copies(model, optimizer)) as steps):
        for rows, noise in steps:
            x = images[torch.from_numpy(rows)]  # (batch, 28, 28)
            with networks:
                log_likelihood, kl = model(x, model._tensor(noise))  # (batch,), (batch, k)
            loss = (kl.sum(dim=-1) - log_likelihood).mean()  # −ELBO
            if free_nats := free_nats_at(history.num_steps, history.schedule, recipe):
                loss = loss + (free_nats - kl.mean(dim=0)).clamp(min=0).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.param_groups[0]["lr"] = learning_rate_at(
                history.num_steps, history.schedule, recipe, peak)
            optimizer.step()
            history.record(log_likelihood.detach().sum(), kl.detach().sum(), len(rows))
    return history


@torch.no_grad()
def evaluate(model: VAE, images: Array, *, batch_size: int = 1000,
             seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Arrays (log_likelihood, kl) for images (n, 28, 28), each (n,) float64, in nats.

    One sample of h for each image, from noise that follows from seed alone; no gradient. The mean
    of log_likelihood − kl estimates the ELBO, and its standard error is std / √n. `torch.autocast`
    has no effect.
    Raises TypeError or ValueError naming the argument that is wrong.
    """
    model._check_likelihood(images, "images")
    check_positive_int(batch_size, "batch_size")
    check_seed(seed)
    check_precise_weights(model)
    shape = (len(images), model.latent_dim)
    noise = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    terms = []
    for start in range(0, len(images), batch_size):
        batch = slice(start, start + batch_size)
        x = model._tensor(images[batch])
        with without_autocast(x):
            log_likelihood, kl = model(x, model._tensor(noise[batch]))
        terms.append(torch.stack([log_likelihood, kl.sum(dim=-1)]).cpu().numpy().astype(np.float64))
    log_likelihood, kl = np.concatenate(terms, axis=1)  # (n,), (n,)
    return log_likelihood, kl
