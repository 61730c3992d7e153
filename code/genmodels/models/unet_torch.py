"""A small U-Net that denoises images or fields, in PyTorch; unet_keras.py has the same in Keras.

    x_t = a x_0 + s ε,   a = √α̅,   s = √(1 − α̅),   log SNR = log(α̅/(1 − α̅))
    v   = a ε − s x_0,   x_0 = a x_t − s v,   ε = a v + s x_t

The network sees x_t, the log SNR and a label, and predicts v. With `pixels`, `fit` and `loss_terms`
take images in [0, 1], and the network and its denoiser have pixels in [−1, 1]: x_0 = 2 · image − 1;
without, x_0 are the data themselves, real fields.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

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
from genmodels.models.likelihood import DIGITS
from genmodels.training.history import Batch, History, Settings
from genmodels.training.memory import memory_grows_with
from genmodels.training.torch import train
from genmodels.training.torch_tensors import (
    Array,
    check_precise_weights,
    place,
    tensor_like,
    without_autocast,
)
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


def convolution(num_in: int, num_out: int, periodic: bool) -> nn.Conv2d:
    """A convolution that keeps the size; beyond the edge are zeros, or the opposite edge."""
    return nn.Conv2d(num_in, num_out, 3, padding=1,
                     padding_mode="circular" if periodic else "zeros")


class ResidualBlock(nn.Module):
    """The input (n, num_in, h, w), plus what two convolutions make of it: (n, num_out, h, w)."""

    def __init__(self, num_in: int, num_out: int, periodic: bool = False):
        super().__init__()
        self.norm1 = nn.GroupNorm(8, num_in)
        self.conv1 = convolution(num_in, num_out, periodic)
        self.embedding = nn.Linear(WIDTH, num_out)
        self.norm2 = nn.GroupNorm(8, num_out)
        self.conv2 = convolution(num_out, num_out, periodic)
        self.skip = nn.Conv2d(num_in, num_out, 1) if num_in != num_out else nn.Identity()
        nn.init.zeros_(self.conv2.weight)  # a new block adds nothing
        nn.init.zeros_(self.conv2.bias)

    def forward(self, x: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        y = self.conv1(nn.functional.silu(self.norm1(x)))
        y = y + self.embedding(embedding)[:, :, None, None]  # one number for each channel
        y = self.conv2(nn.functional.silu(self.norm2(y)))
        return self.skip(x) + y


class UNet(nn.Module):
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
                 periodic: bool = False):
        super().__init__()
        full, half, quarter = self.channels = check_channels(channels)
        self.num_labels = num_labels = check_num_labels(num_labels)
        self.shape = check_shape(shape, 4)
        self.pixels = check_flag(pixels, "pixels")
        self.periodic = periodic = check_flag(periodic, "periodic")
        self.level = nn.Sequential(
            nn.Linear(2 * len(FREQUENCIES), WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH))
        self.label = nn.Embedding(num_labels + 1, WIDTH)  # the last one stands for no label
        # down
        self.conv_full = convolution(1, full, periodic)
        self.block_full = ResidualBlock(full, full, periodic)
        self.conv_half = convolution(full, half, periodic)
        self.block_half = ResidualBlock(half, half, periodic)
        self.conv_quarter = convolution(half, quarter, periodic)
        self.block_quarter_a = ResidualBlock(quarter, quarter, periodic)
        self.block_quarter_b = ResidualBlock(quarter, quarter, periodic)
        # up
        self.up_conv_half = convolution(quarter, half, periodic)
        self.up_block_half = ResidualBlock(2 * half, half, periodic)
        self.up_conv_full = convolution(half, full, periodic)
        self.up_block_full = ResidualBlock(2 * full, full, periodic)
        self.norm = nn.GroupNorm(8, full)
        self.conv = convolution(full, 1, periodic)
        nn.init.zeros_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)
        self.register_buffer("frequencies", torch.tensor(FREQUENCIES), persistent=False)

    def forward(self, x: torch.Tensor, log_snr: torch.Tensor,
                labels: torch.Tensor) -> torch.Tensor:
        """The estimate of v (n, *shape) for x (n, *shape), log_snr (n,) and labels (n,).

        The label num_labels stands for none. Nothing is checked.
        """
        phases = log_snr[:, None] * self.frequencies  # (n, 16)
        waves = torch.cat([torch.sin(phases), torch.cos(phases)], dim=1)  # (n, 32)
        embedding = nn.functional.silu(self.level(waves) + self.label(labels))  # (n, WIDTH)

        with torch.autocast(x.device.type, enabled=False):  # bfloat16 would blur weak noise
            y = self.conv_full(x.unsqueeze(1))  # (n, full, h, w)
        y_full = self.block_full(y, embedding)
        y = self.conv_half(nn.functional.avg_pool2d(y_full, 2))  # (n, half, h/2, w/2)
        y_half = self.block_half(y, embedding)
        y = self.conv_quarter(nn.functional.avg_pool2d(y_half, 2))  # (n, quarter, h/4, w/4)
        y = self.block_quarter_b(self.block_quarter_a(y, embedding), embedding)
        y = self.up_conv_half(nn.functional.interpolate(y, scale_factor=2))  # (n, half, h/2, w/2)
        y = self.up_block_half(torch.cat([y, y_half], dim=1), embedding)
        y = self.up_conv_full(nn.functional.interpolate(y, scale_factor=2))  # (n, full, h, w)
        y = self.up_block_full(torch.cat([y, y_full], dim=1), embedding)
        return self.conv(nn.functional.silu(self.norm(y))).squeeze(1)  # (n, *shape)

    def denoiser(self, labels: np.ndarray | None = None, batch_size: int = 50) -> Callable:
        """The function (x, alpha_bar) -> estimate of x_0, x (n, *shape) real; without gradient.

        It computes a x − s v̂, batch_size images at once, and returns a NumPy array: float32 for
        float32, else float64. labels: (n,) integers from 0 on, one for each, or None for none.
        Both raise TypeError or ValueError naming the argument that is wrong.
        """
        @memory_grows_with("batch_size")
        @torch.no_grad()
        def predict_v(x, log_snr, labels):
            check_precise_weights(self)
            labels = torch.tensor(labels, device=self.conv.weight.device)
            with without_autocast(self.conv.weight):
                return self(self._tensor(x), self._tensor(log_snr), labels).cpu().numpy()

        return denoiser(predict_v, labels, batch_size, self.shape, self.num_labels)

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return tensor_like(self.conv.weight, array)

    def simple_loss(self, batch: Batch) -> dict[str, torch.Tensor]:
        """‖ε − ε̂‖² (n,) of x_t = a x_0 + s ε."""
        x0, labels = batch.data
        log_snr, a, s, dropped, noise = batch.noise
        x0 = 2 * x0 - 1 if self.pixels else x0
        x = a[:, None, None] * x0 + s[:, None, None] * noise  # (n, *shape)
        v = self(x.clone(), log_snr.clone(), torch.where(dropped == 1, self.num_labels, labels))
        # of the log SNR that the network was told, rounded as it is
        a = torch.sigmoid(log_snr).sqrt()[:, None, None]
        s = torch.sigmoid(-log_snr).sqrt()[:, None, None]
        error = noise - (a * v.to(x.dtype) + s * x)  # ε − ε̂
        return {"loss": (error**2).sum(dim=(1, 2))}

    def elbo_loss(self, batch: Batch) -> dict[str, torch.Tensor]:
        """½ (γ_max − γ_min) ‖ε − ε̂‖² (n,), whose mean is a term of −ELBO, in nats."""
        return {"loss": ELBO_WEIGHT * self.simple_loss(batch)["loss"]}

    def _check(self, x: Array, name: str) -> None:
        check_examples(x, name, self.shape, *((0, 1) if self.pixels else ()))


def fit(model: UNet, x: Array, labels: np.ndarray | None = None, *, loss: str = "simple",
        drop_labels: float = 0.1, history: History | None = None, **settings) -> History:
    """Trains the model by Adam on x (n, *shape), in [0, 1] for pixels, with labels (n,) from 0 on.

    loss: "simple" is ‖ε − ε̂‖², summed over the pixels, at noise levels τ uniform on [1/1000, 1]
    with α̅(τ) = exp(−(0.1 τ + 9.95 τ²)), the linear schedule. "elbo" is ½ (γ_max − γ_min) ‖ε − ε̂‖²
    at a log SNR uniform between its values γ_min and γ_max at these two ends: its mean is the term
    of −ELBO that the network can change, in nats (Kingma et al. 2021). The levels of a batch are
    stratified. A share drop_labels of the examples, drawn anew each time, loses its label, so that
    the network also learns to do without. labels: None if num_labels is 0.

    The history has the mean of this loss as its "loss". settings: those of `training.Settings`,
    with learning_rate 2e-3 unless given; all else, and the errors, are those of
    `training.torch.train`. No nats are free here.
    """
    model._check(x, "x")
    labels = check_training_labels(labels, len(x), model.num_labels)
    check_loss(loss)
    check_share(drop_labels, "drop_labels")
    return train(model, (x, labels), getattr(model, f"{loss}_loss"),
                 Settings(**{"learning_rate": 2e-3, **settings}),
                 draw=draw_epoch(model.shape, loss, drop_labels), history=history)


@memory_grows_with("batch_size")
@torch.no_grad()
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
    check_precise_weights(model)
    labels = labels_of(labels, len(x), model.num_labels)
    drawn = draw_noise(len(x), model.shape, loss, np.random.default_rng([seed, 2]))
    weight, terms = model.conv.weight, getattr(model, f"{loss}_loss")
    parts = []
    for i in range(0, len(x), batch_size):
        data, noise = (tuple(place(weight, array[i:i + batch_size]) for array in arrays)
                       for arrays in ((x, labels), drawn))
        with without_autocast(weight):
            parts.append(terms(Batch(data, noise, 0.0, 0))["loss"].cpu().numpy())
    return np.concatenate(parts).astype(float)
