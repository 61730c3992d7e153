"""A denoiser of periodic fields in PyTorch: full-lattice kernels, odd or free, scaled mode by mode.

In the notation of `lattice_diffusion`, with the data's power P_k and the angle tan θ_k = σ/√P_k:

    y_k = x_tk/√(α̅ P_k + 1 − α̅)                    the noisy mode, scaled to variance 1
    x̂_0k = √P_k (cos θ_k · y_k − sin θ_k · v̂_k)      v̂ is what the network predicts

A new network predicts v̂ = 0, which is exact for Gaussian data: what it learns is what is not
Gaussian. `odd` builds in that v̂(−x) = −v̂(x). Translations, and the lattice's reflections and
rotations by 90°, are built in always: convolutions whose kernels have the lattice's symmetry, and
functions of one site.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from genmodels.models.denoising import denoiser
from genmodels.models.lattice_modes import real_modes
from genmodels.training.history import Batch, Draw, History, Settings
from genmodels.training.memory import memory_grows_with
from genmodels.training.torch import train
from genmodels.training.torch_tensors import (
    Array,
    check_precise_weights,
    tensor_like,
    without_autocast,
)
from genmodels.validate import check_examples, check_flag, check_positive_int, finite_array

__all__ = ["Convolution", "History", "LatticeDenoiser", "SpectralBlock", "fit"]

WIDTH = 32  # of the embedding of log SNR
ZERO_MODE_WEIGHT = 32.0  # in the loss: one mode of L², but all of the magnetisation
SIGMAS = 100.0, 0.05  # the noise levels of the training
GOLDEN = (math.sqrt(5) - 1) / 2


class Convolution(nn.Module):
    """Fields (n, c, L, L), each channel convolved with a kernel that has the lattice's symmetry.

    kernel: (c, L//2 + 1, L//2 + 1), what a mode of frequencies |k_1|, |k_2| is multiplied with; its
    part that is symmetric in both counts. The modes are products of cosines and sines: for a
    lattice of this size two matrix products are faster than a Fourier transform.
    """

    def __init__(self, kernel: torch.Tensor, size: int):
        super().__init__()
        self.kernel = nn.Parameter(kernel)
        basis, frequency = real_modes(size)  # rows: 1, cos, sin, cos, sin, …, (−1)^site
        self.register_buffer("basis", torch.tensor(basis, dtype=torch.float32), persistent=False)
        self.register_buffer("frequency", torch.tensor(frequency), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kernel = (self.kernel + self.kernel.transpose(1, 2)) / 2
        kernel = kernel[:, self.frequency][:, :, self.frequency]  # (c, L, L)
        modes = self.basis @ x @ self.basis.T
        return self.basis.T @ (kernel * modes) @ self.basis


def mixed(layer: nn.Linear, fields: torch.Tensor) -> torch.Tensor:
    """Fields (n, c, L, L) whose channels are mixed by the layer, at every site alike."""
    fields = torch.einsum("oc,ncij->noij", layer.weight, fields)  # faster than a convolution
    return fields if layer.bias is None else fields + layer.bias[:, None, None]


def block_averages(channels: int, size: int) -> torch.Tensor:
    """Kernels (channels, L//2 + 1, L//2 + 1): Gaussian averages, from a site to the whole lattice.

    In random order, each scaled such that white noise keeps its variance at a site.
    """
    k = 2 * math.pi * torch.arange(size // 2 + 1) / size
    widths = torch.logspace(-1.5, 1.5, channels)[torch.randperm(channels)][:, None, None]
    kernel = torch.exp(-(k[:, None] ** 2 + k**2) / (2 * widths))
    share = torch.full((size // 2 + 1,), 2.0)  # modes of each frequency, cosine and sine
    share[0] = share[-1] = 1
    return kernel / ((kernel**2 * share[:, None] * share).sum((1, 2), True) / size**2).sqrt()


class SpectralBlock(nn.Module):
    """Fields (n, c, L, L), plus a function of them: convolution, then one site at a time.

    It is odd in the fields if `odd`: no biases, and y · sigmoid(|y| + shift), odd times even.
    """

    def __init__(self, channels: int, size: int, odd: bool):
        super().__init__()
        self.odd = odd
        self.convolution = Convolution(block_averages(channels, size), size)
        self.mix_in = nn.Linear(channels, channels, bias=not odd)
        self.mix_out = nn.Linear(channels, channels, bias=False)
        self.level = nn.Linear(WIDTH, 2 * channels)

    def forward(self, fields: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        scale, shift = self.level(embedding)[:, :, None, None].chunk(2, dim=1)
        y = mixed(self.mix_in, self.convolution(fields)) * (1 + scale)
        y = y * torch.sigmoid(y.abs() + shift) if self.odd else nn.functional.silu(y + shift)
        return fields + mixed(self.mix_out, y)


class LatticeDenoiser(nn.Module):
    """Estimates x_0 from x_t and the log SNR, for fields (n, L, L) of the power P_k.

    size: L, even. power: (L, L//2 + 1), that of the training data (`lattice_diffusion.
    power_spectrum`); it is kept with the weights, and may be left out before they are loaded.
    odd: whether the network is odd in x. channels, num_blocks: its size.
    Raises TypeError or ValueError if an argument is none that the network can be made with.
    """

    def __init__(self, size: int, power: ArrayLike | None = None, *, odd: bool = True,
                 channels: int = 12, num_blocks: int = 2):
        super().__init__()
        self.size = size = check_positive_int(size, "size")
        if size % 2:
            raise ValueError(f"size must be even, got {size}")
        self.odd = check_flag(odd, "odd")
        self.channels = channels = check_positive_int(channels, "channels")
        self.num_blocks = num_blocks = check_positive_int(num_blocks, "num_blocks")
        half = size // 2 + 1
        power = (np.ones((size, half)) if power is None
                 else finite_array("power", power, shape=(size, half)))
        if power.min() <= 0:
            raise ValueError(f"power must be positive, got {power.min()}")
        self.register_buffer("power", torch.tensor(power, dtype=torch.float32))
        self.level = nn.Sequential(nn.Linear(16, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH))
        self.mix_in = nn.Linear(2, channels, bias=not odd)
        self.blocks = nn.ModuleList(SpectralBlock(channels, size, odd) for _ in range(num_blocks))
        self.mix_out = nn.Linear(channels, 1, bias=not odd)
        self.convolution_out = Convolution(torch.ones(1, half, half), size)
        nn.init.zeros_(self.mix_out.weight)
        if not odd:
            nn.init.zeros_(self.mix_out.bias)
        self.register_buffer("frequencies", torch.arange(1, 9) / 8, persistent=False)
        share = torch.full((half,), 2.0)  # modes that a column of rfft2 stands for
        share[0] = share[-1] = 1
        weights = share.repeat(size, 1)
        weights[0, 0] *= ZERO_MODE_WEIGHT
        self.register_buffer("mode_weights", weights / size**2, persistent=False)

    def forward(self, x: torch.Tensor, log_snr: torch.Tensor) -> torch.Tensor:
        """The estimate of x_0 (n, L, L) from x_t (n, L, L) and log_snr (n,). Nothing is checked."""
        y, cos, sin = self._scaled(x, log_snr)
        return self._to_space(self.power.sqrt() * (cos * y - sin * self._v(y, cos, log_snr)))

    def denoiser(self, batch_size: int = 512) -> Callable:
        """The function (x, alpha_bar) -> estimate of x_0, x (n, L, L) real; without gradient.

        It takes batch_size fields at once, and returns a NumPy array: float32 for float32, else
        float64. Both raise TypeError or ValueError naming the argument that is wrong.
        """
        @memory_grows_with("batch_size")
        @torch.no_grad()
        def predict_v(x, log_snr, _):  # of the field: a x − s v = x̂_0
            check_precise_weights(self)
            x, log_snr = (tensor_like(self.power, array) for array in (x, log_snr))
            a, s = (torch.sigmoid(sign * log_snr).sqrt()[:, None, None] for sign in (1, -1))
            with without_autocast(x):
                return ((a * x - self(x, log_snr)) / s).cpu().numpy()

        return denoiser(predict_v, None, batch_size, (self.size, self.size), 0)

    def loss(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Σ_k ω_k |v_k − v̂_k|²/L² (n,), ω_k = 1 except for the zero mode's, 32.

        v_k = cos θ_k ε_k − sin θ_k x_0k/√P_k. For v̂ = 0 it is 1 + 31/L² on average, and for
        Gaussian data it cannot be less.
        """
        (x0,), (log_snr, noise) = batch.data, batch.noise
        with without_autocast(x0):
            a, s = (torch.sigmoid(sign * log_snr).sqrt()[:, None, None] for sign in (1, -1))
            x = a * x0 + s * noise
            y, cos, sin = self._scaled(x, log_snr)
            v = cos * self._to_modes(noise) - sin * self._to_modes(x0) / self.power.sqrt()
            error = v - self._v(y, cos, log_snr)
            squares = error.real**2 + error.imag**2
            return {"loss": (squares * self.mode_weights).sum(dim=(1, 2))}

    def _scaled(self, x: torch.Tensor, log_snr: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """y_k, cos θ_k and sin θ_k, each (n, L, L//2 + 1)."""
        alpha_bar, rest = (torch.sigmoid(sign * log_snr)[:, None, None] for sign in (1, -1))
        variance = alpha_bar * self.power + rest
        cos, sin = (alpha_bar * self.power / variance).sqrt(), (rest / variance).sqrt()
        return self._to_modes(x) / variance.sqrt(), cos, sin

    def _v(self, y: torch.Tensor, cos: torch.Tensor, log_snr: torch.Tensor) -> torch.Tensor:
        """v̂_k (n, L, L//2 + 1) from the scaled modes, and from the best linear estimate of x_0."""
        phases = log_snr[:, None] * self.frequencies  # (n, 8)
        waves = torch.cat([torch.sin(phases), torch.cos(phases)], dim=1)
        embedding = nn.functional.silu(self.level(waves))  # (n, WIDTH)
        linear = self.power.sqrt() * cos * y
        fields = torch.stack([self._to_space(y), self._to_space(linear)], dim=1)  # (n, 2, L, L)
        fields = mixed(self.mix_in, fields)
        for block in self.blocks:
            fields = block(fields, embedding)
        return self._to_modes(self.convolution_out(mixed(self.mix_out, fields))[:, 0])

    def _to_modes(self, x: torch.Tensor) -> torch.Tensor:
        return torch.fft.rfft2(x, norm="ortho")

    def _to_space(self, modes: torch.Tensor) -> torch.Tensor:
        return torch.fft.irfft2(modes, s=(self.size, self.size), norm="ortho")


def fit(model: LatticeDenoiser, x: Array, *, history: History | None = None,
        **settings) -> History:
    """Trains the model by Adam on fields x (n, L, L), in float32, to predict v of every mode.

    The noise levels σ of a batch are spread evenly over SIGMAS on a logarithmic scale. settings:
    those of `training.Settings`; all else, and the errors, are those of `training.torch.train`.
    """
    shape = (model.size, model.size)
    check_examples(x, "x", shape)
    return train(model, (x,), model.loss, Settings(**{"precision": "float32", **settings}),
                 draw=draw_noise(shape), history=history)


def draw_noise(shape: tuple[int, int]) -> Draw:
    """What `train` draws: log SNR = −2 log σ (n,), and standard normal noise (n, L, L)."""
    high, low = (-2 * math.log(sigma) for sigma in reversed(SIGMAS))

    def draw(rng: np.random.Generator, history: History, steps: range):
        n, size = history.num_examples, history.batch_size
        share = (rng.random() + GOLDEN * np.arange(n)) % 1  # any neighbours are spread evenly
        noise = rng.standard_normal((n, *shape), dtype=np.float32)
        rows = slice(steps.start * size, steps.stop * size)
        return (low + (high - low) * share[rows]).astype(np.float32), noise[rows]

    return draw
