"""A small U-Net that denoises digits, in PyTorch; diffusion_keras.py has the same in Keras.

    x_t = a x_0 + s ε,   a = √α̅,   s = √(1 − α̅),   log SNR = log(α̅/(1 − α̅))
    v   = a ε − s x_0,   x_0 = a x_t − s v,   ε = a v + s x_t

The network sees x_t, the log SNR and a label, and predicts v. `fit` and `loss_terms` take images in
[0, 1]; the network and its denoiser have pixels in [−1, 1]: x_0 = 2 · image − 1.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

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
from genmodels.vae_torch import (
    Array,
    autocast,
    check_precise_weights,
    keep_copies,
    prepare,
    tensor_like,
    without_autocast,
)

__all__ = ["History", "ResidualBlock", "UNet", "fit", "loss_terms"]

WIDTH = 32  # of the embedding of log SNR and label


class ResidualBlock(nn.Module):
    """The input (n, num_in, h, w), plus what two convolutions make of it: (n, num_out, h, w)."""

    def __init__(self, num_in: int, num_out: int):
        super().__init__()
        self.norm1 = nn.GroupNorm(8, num_in)
        self.conv1 = nn.Conv2d(num_in, num_out, 3, padding=1)
        self.embedding = nn.Linear(WIDTH, num_out)
        self.norm2 = nn.GroupNorm(8, num_out)
        self.conv2 = nn.Conv2d(num_out, num_out, 3, padding=1)
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

    channels: those of the layers at 28 × 28, 14 × 14 and 7 × 7 pixels. A new network predicts 0.
    Raises TypeError or ValueError if channels are not three positive multiples of 8.
    """

    def __init__(self, channels: tuple[int, int, int] = (16, 32, 64)):
        super().__init__()
        c28, c14, c7 = self.channels = check_channels(channels)
        self.level = nn.Sequential(
            nn.Linear(2 * len(FREQUENCIES), WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH))
        self.label = nn.Embedding(NO_LABEL + 1, WIDTH)
        # down
        self.conv28 = nn.Conv2d(1, c28, 3, padding=1)
        self.block28 = ResidualBlock(c28, c28)
        self.conv14 = nn.Conv2d(c28, c14, 3, padding=1)
        self.block14 = ResidualBlock(c14, c14)
        self.conv7 = nn.Conv2d(c14, c7, 3, padding=1)
        self.block7a = ResidualBlock(c7, c7)
        self.block7b = ResidualBlock(c7, c7)
        # up
        self.up_conv14 = nn.Conv2d(c7, c14, 3, padding=1)
        self.up_block14 = ResidualBlock(2 * c14, c14)
        self.up_conv28 = nn.Conv2d(c14, c28, 3, padding=1)
        self.up_block28 = ResidualBlock(2 * c28, c28)
        self.norm = nn.GroupNorm(8, c28)
        self.conv = nn.Conv2d(c28, 1, 3, padding=1)
        nn.init.zeros_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)
        self.register_buffer("frequencies", torch.tensor(FREQUENCIES), persistent=False)

    def forward(self, x: torch.Tensor, log_snr: torch.Tensor,
                labels: torch.Tensor) -> torch.Tensor:
        """The estimate of v (n, 28, 28) for x (n, 28, 28), log_snr (n,), labels (n,), 10 for none.

        Nothing is checked.
        """
        phases = log_snr[:, None] * self.frequencies  # (n, 16)
        waves = torch.cat([torch.sin(phases), torch.cos(phases)], dim=1)  # (n, 32)
        embedding = nn.functional.silu(self.level(waves) + self.label(labels))  # (n, WIDTH)

        with torch.autocast(x.device.type, enabled=False):  # bfloat16 would blur weak noise
            y = self.conv28(x.unsqueeze(1))  # (n, c28, 28, 28)
        y28 = self.block28(y, embedding)
        y = self.conv14(nn.functional.avg_pool2d(y28, 2))  # (n, c14, 14, 14)
        y14 = self.block14(y, embedding)
        y = self.conv7(nn.functional.avg_pool2d(y14, 2))  # (n, c7, 7, 7)
        y = self.block7b(self.block7a(y, embedding), embedding)
        y = self.up_conv14(nn.functional.interpolate(y, scale_factor=2))  # (n, c14, 14, 14)
        y = self.up_block14(torch.cat([y, y14], dim=1), embedding)
        y = self.up_conv28(nn.functional.interpolate(y, scale_factor=2))  # (n, c28, 28, 28)
        y = self.up_block28(torch.cat([y, y28], dim=1), embedding)
        return self.conv(nn.functional.silu(self.norm(y))).squeeze(1)  # (n, 28, 28)

    def denoiser(self, labels: np.ndarray | None = None, batch_size: int = 50) -> Callable:
        """The function (x, alpha_bar) -> estimate of x_0, x (n, 28, 28) real; without gradient.

        It computes a x − s v̂, batch_size images at once, and returns a NumPy array: float32 for
        float32, else float64. labels: (n,) integers 0 … 9, one for each image, or None for none.
        Both raise TypeError or ValueError naming the argument that is wrong.
        """
        @torch.no_grad()
        def predict_v(x, log_snr, labels):
            check_precise_weights(self)
            labels = torch.tensor(labels, device=self.conv.weight.device)
            with without_autocast(self.conv.weight):
                return self(self._tensor(x), self._tensor(log_snr), labels).cpu().numpy()

        return denoiser(predict_v, labels, batch_size)

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return tensor_like(self.conv.weight, array)

    def _losses(self, batch: Batch, loss: str, networks=None) -> torch.Tensor:
        """The loss of each example of the batch, (n,), in nats for "elbo"."""
        x, log_snr, noise = map(self._tensor, (batch.x, batch.log_snr, batch.noise))
        with networks or without_autocast(x):
            v = self(x.clone(), log_snr.clone(), torch.tensor(batch.labels, device=x.device))
        a = torch.sigmoid(log_snr).sqrt()[:, None, None]
        s = torch.sigmoid(-log_snr).sqrt()[:, None, None]
        error = noise - (a * v.to(x.dtype) + s * x)  # ε − ε̂
        return loss_weight(loss) * (error**2).sum(dim=(1, 2))


def fit(model: UNet, images: Array, labels: np.ndarray, *, loss: str = "simple",
        drop_labels: float = 0.1, num_epochs: int | None = None, num_steps: int | None = None,
        batch_size: int = 128, learning_rate: float = 2e-3, recipe: str = "warm-up",
        precision: str | None = None, seed: int = 0, device: str | None = None,
        history: History | None = None, progress: bool = True) -> History:
    """Trains the model by Adam on images (n, 28, 28) in [0, 1] with labels (n,) 0 … 9.

    loss: "simple" is ‖ε − ε̂‖², summed over the pixels, at noise levels τ uniform on [1/1000, 1]
    with α̅(τ) = exp(−(0.1 τ + 9.95 τ²)), the linear schedule. "elbo" is ½ (γ_max − γ_min) ‖ε − ε̂‖²
    at a log SNR uniform between its values γ_min and γ_max at these two ends: its mean is the term
    of −ELBO that the network can change, in nats (Kingma et al., 2021). The levels of a batch are
    stratified. A share drop_labels of the examples, drawn anew each time, loses its label, so that
    the network also learns to do without.

    The history has the mean of this loss as its `loss`; log_likelihood is its negative, kl zero.
    All other arguments, and the errors, are those of `vae_torch.fit`; no nats are free here.
    """
    check_images(images)
    labels = check_labels(labels, len(images))
    check_loss(loss)
    check_share(drop_labels, "drop_labels")
    history, peak = begin(history, model=model, num_examples=len(images), num_epochs=num_epochs,
                          num_steps=num_steps, batch_size=batch_size, seed=seed,
                          learning_rate=learning_rate, recipe=recipe)
    check_precision(precision)
    optimizer = prepare(model, history, peak, device)
    images = _array(images)
    networks = autocast(model.conv.weight, recipe, precision)

    with (without_autocast(model.conv.weight),  # the user's would reach the gradient, too
          batches(history, latent_dim=0, progress=progress,
                  keep=lambda: keep_copies(model, optimizer)) as steps):
        for rows, _ in steps:
            # What a step draws follows from its number: a run can be stopped and continued.
            rng = np.random.default_rng([seed, history.num_steps, 1])
            batch = draw_batch(images[rows], labels[rows], loss, rng, drop_labels)
            losses = model._losses(batch, loss, networks)
            optimizer.zero_grad()
            losses.mean().backward()
            optimizer.param_groups[0]["lr"] = learning_rate_at(
                history.num_steps, history.schedule, recipe, peak)
            optimizer.step()
            history.record(-losses.detach().sum(), 0.0, len(rows))
    return history


def _array(images: Array) -> np.ndarray:
    if isinstance(images, torch.Tensor):
        images = images.detach().cpu().float().numpy()
    return np.array(images, np.float32)


@torch.no_grad()
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
    check_precise_weights(model)
    no_labels = np.full(len(images), NO_LABEL)
    labels = no_labels if labels is None else check_labels(labels, len(images))
    images = _array(images)
    batch = draw_batch(images, labels, loss, np.random.default_rng([seed, 2]))
    parts = (Batch(*(array[i:i + batch_size] for array in batch))
             for i in range(0, len(images), batch_size))
    return np.concatenate([model._losses(part, loss).cpu().numpy() for part in parts]).astype(float)
