"""A continuous flow for fields on a periodic lattice, with an exact log density, in PyTorch.

    y(0) = z from the base,   dy/dt = u(y, t) for t from 0 to 1,   x = field(scale · y(1))
    u(y, t)  = K_0(t) ∗ y + Σ_c a_c(t) K_2c ∗ tanh(g_c(t) K_1c ∗ y)
    log q(x) = log p_0(z) − ∫ div u dt − Σ_k log scale_k

Everything but the tanh happens in the lattice's real Fourier modes, products of cosines and sines:
there a convolution K∗ multiplies by K(k). The kernels are the same in both directions and under
reflections, so q has all symmetries of the lattice. Because u is odd in y and the base is even,
q(−x) = q(x) exactly (P5). The divergence is a sum (Gerdes et al. 2023 build such flows):

    div u = Σ_k K_0(k) + Σ_c a_c g_c [Σ_k K_1c(k) K_2c(k) / N] Σ_s (1 − tanh²(…)_s)

L = size, N = L² sites. All log densities and actions are in nats, for the whole lattice.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from genmodels.models.lattice_modes import real_modes, shells
from genmodels.training.history import Batch, History, Settings, normal
from genmodels.training.torch import train
from genmodels.training.torch_tensors import (
    Array,
    check_precise_weights,
    tensor_like,
    without_autocast,
)
from genmodels.validate import check_examples, check_positive_int, check_seed

__all__ = ["Flow", "History", "fit", "phi4_action"]

VectorField = Callable[[torch.Tensor, float], tuple[torch.Tensor, torch.Tensor]]
Action = Callable[[torch.Tensor], torch.Tensor]  # x (n, L, L) -> S(x) (n,), differentiable

NUM_STEPS = 16  # of Runge and Kutta, unless another number is given
TRAINING_STEPS = (3, 4)  # in turn: few, because the mismatch counts
MISMATCH_WEIGHT = 5
NUM_WAVES = 3  # cos(π b t), b = 0, 1, 2: how what depends on t depends on it
CHUNK = 500  # configurations that are integrated at once


class Flow(nn.Module):
    """An even density of fields (L, L) on a periodic lattice, to be sampled and evaluated.

    size: L. channels: how many terms with a tanh. A new flow changes its base little.
    The base has independent modes of unit variance, all Gaussian but the zero mode, which is a
    mixture of N(±center, 1 − center²): two peaks, as the mean of a field may have.
    `fit` sets center, and the scale of each mode, from configurations.
    Raises TypeError or ValueError if an argument is not an integer, at least 2 for size.
    """

    def __init__(self, size: int, channels: int = 24):
        super().__init__()
        self.size = check_positive_int(size, "size")
        if self.size < 2:
            raise ValueError(f"size must be at least 2, got {size}")
        self.channels = check_positive_int(channels, "channels")
        self.shape = (self.size, self.size)
        basis, _ = real_modes(self.size)
        shell, momentum_squared = shells(self.size)
        num_shells = len(momentum_squared)
        self._basis = torch.from_numpy(basis)  # float64, whatever the model's precision
        self.register_buffer("shell", torch.from_numpy(shell), persistent=False)
        self.register_buffer("scale", torch.ones(num_shells))  # standard deviation of a mode
        self.register_buffer("center", torch.zeros(1))  # 0 to 1: where the peaks are
        # The first kernels look at sites, or at averages over wider and wider surroundings.
        widths = np.logspace(-1.5, 1.5, self.channels)[:, None]
        first = np.exp(-momentum_squared / (2 * widths))  # (c, shells)
        self.first = nn.Parameter(torch.from_numpy(first).float())  # K_1 (c, shells)
        self.second = nn.Parameter(0.02 * torch.randn(self.channels, num_shells))  # K_2
        self.linear = nn.Parameter(torch.zeros(NUM_WAVES, num_shells))  # K_0
        self.amplitude = nn.Parameter(0.1 * torch.randn(NUM_WAVES, self.channels))  # a
        self.gain = nn.Parameter(0.1 * torch.randn(NUM_WAVES, self.channels))  # g
        with torch.no_grad():
            self.amplitude[0] = 1
            self.gain[0] = torch.linspace(0.3, 1.5, self.channels)[torch.randperm(self.channels)]

    # The model, without checks ------------------------------------------------------------------

    @property
    def basis(self) -> torch.Tensor:
        """The real Fourier modes (L, L) of one direction, each in a row, see `real_modes`."""
        return self._basis.to(self.first.dtype).to(self.first.device)

    def modes(self, x: torch.Tensor) -> torch.Tensor:
        """The real Fourier modes (…, L, L) of fields (…, L, L): a rotation."""
        return self.basis @ x @ self.basis.T

    def field(self, y: torch.Tensor) -> torch.Tensor:
        """The fields (…, L, L) that have these modes (…, L, L)."""
        return self.basis.T @ y @ self.basis

    def vector_field(self) -> VectorField:
        """The function of modes y (n, L, L) and t in [0, 1] to u (n, L, L) and div u (n,)."""
        basis, waves = self.basis, torch.arange(NUM_WAVES).to(self.first)
        linear, first, second = (kernel[:, self.shell]  # (waves or c, L, L)
                                 for kernel in (self.linear, self.first, self.second))
        trace = (first * second).mean(dim=(1, 2))  # (c,): Σ_k K_1 K_2 / N

        def velocity(y: torch.Tensor, t: float) -> tuple[torch.Tensor, torch.Tensor]:
            wave = torch.cos(math.pi * t * waves)
            own = torch.einsum("b,bij->ij", wave, linear)  # K_0
            amplitude, gain = wave @ self.amplitude, wave @ self.gain  # (c,)
            inner = gain[:, None, None] * first * y.unsqueeze(1)  # (n, c, L, L)
            h = torch.tanh(basis.T @ inner @ basis)  # (n, c, L, L), at the sites
            outer = amplitude[:, None, None] * second * (basis @ h @ basis.T)
            slopes = (1 - h**2).sum(dim=(2, 3))  # (n, c)
            return own * y + outer.sum(dim=1), own.sum() + slopes @ (amplitude * gain * trace)

        return velocity

    def integrate(self, y: torch.Tensor, num_steps: int, start: float, end: float,
                  ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """y at the time end, ∫ div u dt (n,) and the mismatch (n,), from y at start.

        By the rule of Runge and Kutta. It computes u and div u twice in the middle of each step;
        the mismatch is the sum of the squares of what both differ by, times the step. Its root is
        larger than the error of log q by far, and falls with the cube of the step.
        """
        velocity, step = self.vector_field(), (end - start) / num_steps
        integral, mismatch = y.new_zeros(len(y)), y.new_zeros(len(y))
        for i in range(num_steps):
            t = start + i * step
            u1, div1 = velocity(y, t)
            u2, div2 = velocity(y + step / 2 * u1, t + step / 2)
            u3, div3 = velocity(y + step / 2 * u2, t + step / 2)
            u4, div4 = velocity(y + step * u3, t + step)
            y = y + step / 6 * (u1 + 2 * u2 + 2 * u3 + u4)
            integral = integral + step / 6 * (div1 + 2 * div2 + 2 * div3 + div4)
            differences = ((u2 - u3) ** 2).sum(dim=(1, 2)) + (div2 - div3) ** 2
            mismatch = mismatch + step**2 * differences
        return y, integral, mismatch

    def log_base(self, z: torch.Tensor) -> torch.Tensor:
        """log p_0(z) (n,) of the base for its modes z (n, L, L)."""
        zero, variance = z[:, 0, 0], 1 - self.center**2
        others = (z**2).sum(dim=(1, 2)) - zero**2
        peaks = torch.logaddexp(-(zero - self.center) ** 2 / (2 * variance),
                                -(zero + self.center) ** 2 / (2 * variance))
        constant = self.size**2 * math.log(2 * math.pi) + torch.log(variance) + 2 * math.log(2)
        return peaks - others / 2 - constant / 2

    def forward(self, noise: torch.Tensor, num_steps: int,
                ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Fields x, log q(x) (n,) and the mismatch (n,) from standard normal noise (n, L, L).

        They come from the base's peak at +center; x and −x are equally likely.
        """
        z = noise.clone()
        z[:, 0, 0] = self.center + torch.sqrt(1 - self.center**2) * noise[:, 0, 0]
        y, integral, mismatch = self.integrate(z, num_steps, 0.0, 1.0)
        scale = self.scale[self.shell]
        return (self.field(scale * y), self.log_base(z) - integral - torch.log(scale).sum(),
                mismatch)

    def evaluate(self, x: torch.Tensor, num_steps: int) -> tuple[torch.Tensor, torch.Tensor]:
        """log q(x) (n,) and the mismatch (n,) of fields (n, L, L): back along the flow."""
        scale = self.scale[self.shell]
        z, integral, mismatch = self.integrate(self.modes(x) / scale, num_steps, 1.0, 0.0)
        return self.log_base(z) + integral - torch.log(scale).sum(), mismatch

    # The same, with checks ----------------------------------------------------------------------

    @torch.no_grad()
    def sample(self, n: int, seed: int | None = None, *,
               num_steps: int = NUM_STEPS) -> tuple[torch.Tensor, torch.Tensor]:
        """n independent fields x (n, L, L) and their log q(x) (n,) in nats, without gradient.

        seed: of the noise, which comes from NumPy. num_steps: of the integration, with an error of
        order num_steps⁻⁴. log_density(x, num_steps=more) − log q shows it, both being for the
        same x. (From the same noise more steps move x too, and log q may hardly change while it
        is wrong.)
        Raises TypeError or ValueError if an argument is no integer, or not positive.
        """
        n = check_positive_int(n, "n")
        check_positive_int(num_steps, "num_steps")
        if seed is not None:
            check_seed(seed)
        check_precise_weights(self)
        rng = np.random.default_rng(seed)
        parts = []
        for first in range(0, n, CHUNK):
            rows = min(CHUNK, n - first)
            noise = rng.standard_normal((rows, *self.shape), dtype=np.float32)
            signs = rng.integers(2, size=(rows, 1, 1)) * 2 - 1
            with without_autocast(self.first):
                x, log_q, _ = self(self._tensor(noise), num_steps)
            parts.append((self._tensor(signs) * x, log_q))
        x, log_q = zip(*parts)
        return torch.cat(x), torch.cat(log_q)

    @torch.no_grad()
    def log_density(self, x: Array, *, num_steps: int = NUM_STEPS) -> torch.Tensor:
        """log q(x) (n,) in nats for fields x (n, L, L), without gradient; num_steps as above.

        Raises TypeError or ValueError if x is not finite floats (n, L, L), or num_steps not a
        positive integer.
        """
        check_examples(x, "x", self.shape)
        check_positive_int(num_steps, "num_steps")
        check_precise_weights(self)
        with without_autocast(self.first):
            return torch.cat([self.evaluate(self._tensor(x[first:first + CHUNK]), num_steps)[0]
                              for first in range(0, len(x), CHUNK)])

    @torch.no_grad()
    def set_base(self, x: Array) -> None:
        """Sets the scale of each mode, and the peaks of the zero mode, from fields x (n, L, L).

        center from the Binder cumulant: U = 1 − ⟨z⁴⟩/(3⟨z²⟩²) is 2/3 center⁴ for the mixture.
        Raises TypeError or ValueError if x is not finite floats (n, L, L), or lacks a mode.
        """
        check_examples(x, "x", self.shape)
        modes = self.modes(self._tensor(x)).cpu().double()  # (n, L, L); no GPU of Apple has float64
        squares, shell = (modes**2).mean(dim=0).flatten(), self.shell.cpu().flatten()
        power = torch.bincount(shell, squares) / torch.bincount(shell)  # the mean over each shell
        if power.min() <= 1e-12 * power.max():  # rounding
            raise ValueError("x must have modes that are not all zero, got fields without some")
        zero = modes[:, 0, 0]
        binder = 1 - (zero**4).mean() / (3 * (zero**2).mean() ** 2)
        self.scale.copy_(power.sqrt())
        self.center.copy_((1.5 * binder.clamp(min=0, max=0.66)) ** 0.25)  # 2/3: peaks of no width

    def _tensor(self, array: Array) -> torch.Tensor:
        return tensor_like(self.first, array)


def phi4_action(phi4) -> Action:
    """The action of an `exact.lattice_fields.Phi4`, for tensors x (n, L, L) -> (n,)."""
    kappa, lam = phi4.kappa, phi4.lam

    def action(x: torch.Tensor) -> torch.Tensor:
        neighbours = x.roll(-1, dims=-1) + x.roll(-1, dims=-2)
        return (-2 * kappa * x * neighbours + (1 - 2 * lam) * x**2 + lam * x**4).sum(dim=(-1, -2))

    return action


def fit(model: Flow, x: Array, action: Action, *, history: History | None = None,
        **settings) -> History:
    """Trains on configurations x (n, L, L) of p = e^{−S}/Z and on samples of the flow itself.

    Returns the history. With log w = −S − log q, its terms are bounds on log Z, in nats:

        "upper"  ⟨log w⟩ over the configurations, log Z + KL[p ‖ q]
        "lower"  ⟨log w⟩ over samples of the flow, log Z − KL[q ‖ p]
        "loss"   upper − lower, the sum of both divergences, which sees a mode that q has missed

    A loss below zero, beyond its noise, would say that the flow exploits the integration. What is
    minimised is therefore the loss and the mismatch (see `Flow.integrate`), with few steps.

    action: S, differentiable and even, see `phi4_action`. settings: those of `training.Settings`,
    in float32 unless precision is given. history: that of an earlier call, to go on; without one,
    `model.set_base(x)` comes first. Errors are those of `training.torch.train`, and
    TypeError or ValueError if x is not finite floats (n, L, L), or the action returns no
    tensor (n,) of finite numbers, or is not even, as q is.
    """
    check_examples(x, "x", model.shape)
    check_precise_weights(model)
    check_action(model, x, action)
    if history is None:
        model.set_base(x)

    def batch_loss(batch: Batch) -> dict[str, torch.Tensor]:
        (data,), (noise,) = batch.data, batch.noise
        num_steps = TRAINING_STEPS[batch.step % len(TRAINING_STEPS)]
        log_q, mismatch = model.evaluate(data, num_steps)
        own, own_log_q, own_mismatch = model(noise, num_steps)
        upper, lower = -action(data) - log_q, -action(own) - own_log_q  # (n,): log w
        mismatch = mismatch + own_mismatch
        return {"loss": upper - lower, "upper": upper, "lower": lower, "mismatch": mismatch,
                "objective": batch.mean(upper - lower + MISMATCH_WEIGHT * mismatch)}

    settings = Settings(**{"precision": "float32"} | settings)
    return train(model, (x,), batch_loss, settings, draw=normal(*model.shape), history=history)


def check_action(model: Flow, x: Array, action: Action) -> None:
    """Raises TypeError or ValueError unless action is a finite, even function of fields."""
    if not callable(action):
        raise TypeError(f"action must be a function, got {type(action).__name__}")
    some = model._tensor(x[:8]).requires_grad_()
    values, mirrored = action(some), action(-some)
    if not isinstance(values, torch.Tensor) or values.shape != (len(some),):
        got = tuple(values.shape) if hasattr(values, "shape") else type(values).__name__
        raise ValueError(f"action must return a tensor ({len(some)},) for {len(some)} fields, "
                         f"got {got}")
    if not values.requires_grad:
        raise ValueError("action must be differentiable, got a tensor without a gradient")
    if not torch.isfinite(values).all():
        raise ValueError("action must be finite, got NaN or infinity")
    if not torch.allclose(values, mirrored, rtol=1e-4, atol=1e-4):  # float32 sums, other order
        raise ValueError("action must be even, S(−x) = S(x), as the flow is, got "
                         f"{values[0]:.6g} and {mirrored[0]:.6g}")
