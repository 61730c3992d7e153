"""Masked diffusion of spins, in PyTorch: a network that fills in hidden spins, in any order.

    x = ±1 on a periodic lattice of N spins; 0 where a spin is hidden
    the noise hides one more spin in each step, drawn among those that are still visible
    π_i(x_i | visible) = sigmoid(x_i ℓ_i)   logits ℓ of the network, odd in what it sees
    q(x | order) = Π_s Π_i π_i(x_i | spins revealed before step s),   i: revealed in step s
    −ELBO = E_order[−log q(x | order)] = N E_k[mean of −log π_i over k hidden spins i]   (from H1)

An order is an array of the lattice's shape: the step 0, 1, … in which each spin is revealed. With
one spin in each step q(x | order) is an autoregressive model; spins of one step are independent
given those before. Either way it is an exact probability, and q(−x | order) = q(x | order).
Labels say what kind of configurations is meant, for instance at which temperature. In nats.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn
from torch.nn.functional import logsigmoid, softplus

from genmodels.models.denoising import check_labels
from genmodels.models.likelihood import check_data
from genmodels.training.history import Batch, Draw, History, Settings
from genmodels.training.memory import memory_grows_with
from genmodels.training.torch import train
from genmodels.training.torch_tensors import (
    Array,
    check_precise_weights,
    place,
    without_autocast,
)
from genmodels.validate import (
    check_generator,
    check_positive_int,
    check_seed,
    check_shape,
    plain_array,
)

__all__ = ["MaskedSpins", "OddBlock", "draw_hidden", "fit", "loss_terms", "random_orders"]


class OddBlock(nn.Module):
    """The input u (n, channels, height, width) plus an odd function of it, on a periodic lattice.

    An odd function times an even one is odd: y of convolutions without bias is multiplied by
    sigmoid(function of |y|). Each label has its own scale and shift of the channels.
    """

    def __init__(self, channels: int, dilation: int, num_labels: int):
        super().__init__()
        periodic = {"padding": dilation, "dilation": dilation, "padding_mode": "circular",
                    "bias": False}
        self.conv1 = nn.Conv2d(channels, channels, 3, **periodic)
        self.whole = nn.Linear(channels, channels, bias=False)  # of the mean over the lattice
        self.gate = nn.Conv2d(channels, channels, 1)
        self.label = nn.Embedding(num_labels, 2 * channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, **periodic)
        nn.init.zeros_(self.whole.weight)
        nn.init.zeros_(self.label.weight)
        nn.init.zeros_(self.conv2.weight)  # a new block adds nothing

    def forward(self, u: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        scale, shift = self.label(labels)[:, :, None, None].chunk(2, dim=1)  # (n, channels, 1, 1)
        total = u.mean(dim=(2, 3)) * u[0, 0].numel() ** 0.5  # of order 1 without long-range order
        y = self.conv1(u) + self.whole(total)[:, :, None, None]
        y = y * (1 + scale) * torch.sigmoid(self.gate(y.abs()) + shift)
        return u + self.conv2(y)


class MaskedSpins(nn.Module):
    """Logits ℓ of hidden spins from the visible ones; ℓ(−x) = −ℓ(x) to the last bit.

    shape: of the lattice, two sizes. dilations: one block for each; a spin is seen from about
    2 Σ dilations away, and through the mean over the lattice from anywhere. A new network gives
    ℓ = 0: every spin is a fair coin.
    Raises TypeError or ValueError if an argument is none that the network can be made with.
    """

    def __init__(self, shape: tuple[int, int] = (16, 16), *, num_labels: int = 1,
                 channels: int = 16, dilations: tuple[int, ...] = (1, 2, 4)):
        super().__init__()
        self.shape = check_shape(shape)
        if len(self.shape) != 2:
            raise ValueError(f"shape must be two sizes, got {self.shape}")
        self.num_spins = self.shape[0] * self.shape[1]  # N
        self.num_labels = check_positive_int(num_labels, "num_labels")
        self.channels = channels = check_positive_int(channels, "channels")
        self.dilations = check_dilations(dilations, self.shape)
        periodic = {"padding": 1, "padding_mode": "circular", "bias": False}
        self.conv_in = nn.Conv2d(1, channels, 3, **periodic)
        self.blocks = nn.ModuleList(OddBlock(channels, dilation, self.num_labels)
                                    for dilation in self.dilations)
        self.conv_out = nn.Conv2d(channels, 1, 3, **periodic)
        nn.init.zeros_(self.conv_out.weight)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """ℓ (n, *shape) for x (n, *shape) of −1, 0 and 1, labels (n,). Nothing is checked."""
        u = self.conv_in(x.unsqueeze(1))  # (n, channels, *shape)
        for block in self.blocks:
            u = block(u, labels)
        return self.conv_out(u).squeeze(1)

    def batch_loss(self, batch: Batch) -> dict[str, torch.Tensor]:
        """N · mean of −log π_i over the hidden spins, (n,): on average −ELBO."""
        (x, labels), (hidden,) = batch.data, batch.noise  # hidden (n, *shape): 1 where hidden
        logits = self(x * (1 - hidden), labels).to(x.dtype)
        surprise = softplus(-x * logits) * hidden  # −log π_i
        return {"loss": self.num_spins * surprise.sum(dim=(1, 2)) / hidden.sum(dim=(1, 2))}

    @torch.no_grad()
    def logits(self, x: Array, labels: ArrayLike, batch_size: int = 50) -> np.ndarray:
        """ℓ (n, *shape) float64 for x (n, *shape) of −1, 0 (hidden) and 1; without gradient.

        labels: one for all, or (n,).
        Raises TypeError or ValueError naming the argument that is wrong.
        """
        spins = plain_array(x, "x")
        check_data(np.where(spins == 0, spins.dtype.type(1), spins), "x", self.shape, "spins")
        return self._in_parts(lambda x, labels: (self(x, labels),), labels, batch_size, spins)[0]

    @torch.no_grad()
    def log_probability(self, x: Array, labels: ArrayLike, order: ArrayLike,
                        batch_size: int = 50) -> np.ndarray:
        """log q(x | order) (n,), for x (n, *shape) of ±1, exact but for rounding in float32.

        labels: one for all, or (n,). order (n, *shape) or (*shape,): see `random_orders`.
        Raises TypeError or ValueError naming the argument that is wrong.
        """
        check_data(x, "x", self.shape, "spins")
        order = self._order(order, len(x))
        return self._in_parts(lambda x, order, labels: self._reveal(order, labels, given=x)[1:],
                              labels, batch_size, plain_array(x), order)[0]

    @torch.no_grad()
    def sample(self, order: ArrayLike, labels: ArrayLike, *, seed: int = 0,
               batch_size: int = 50) -> tuple[np.ndarray, np.ndarray]:
        """Pair: x (n, *shape) float32 of ±1, drawn in these orders, and log q(x | order) (n,).

        order (n, *shape): see `random_orders`. labels: one for all, or (n,). What is drawn follows
        from seed, whatever batch_size, except where rounding turns a spin.
        Raises TypeError or ValueError naming the argument that is wrong.
        """
        order = self._order(order)
        check_seed(seed)
        chance = np.random.default_rng(seed).random(order.shape, dtype=np.float32)
        x, log_q = self._in_parts(
            lambda order, chance, labels: self._reveal(order, labels, chance=chance),
            labels, batch_size, order, chance)
        return x.astype(np.float32), log_q

    def _reveal(self, order: torch.Tensor, labels: torch.Tensor, *,
                given: torch.Tensor | None = None, chance: torch.Tensor | None = None,
                ) -> tuple[torch.Tensor, torch.Tensor]:
        """Spins, given or drawn from numbers `chance` in [0, 1), step by step, and log q (n,)."""
        x = torch.zeros_like(order, dtype=self.conv_in.weight.dtype)  # all are hidden
        terms = []
        for step in range(int(order.max()) + 1):
            now = order == step
            logits = self(x, labels)
            spins = (torch.where(chance < torch.sigmoid(logits), 1.0, -1.0) if given is None
                     else given)
            terms.append(torch.where(now, logsigmoid(spins * logits), 0.0).sum(dim=(1, 2)))
            x = torch.where(now, spins, x)
        # Added in float64, which no GPU of Apple has: on the CPU.
        return x, torch.stack(terms, dim=1).cpu().double().sum(dim=1)

    def _order(self, order: ArrayLike, n: int | None = None) -> np.ndarray:
        """The order (n, *shape) as int64, one for all repeated if n is given."""
        order = plain_array(order, "order")
        if order.dtype.kind not in "iu":
            raise TypeError(f"order must hold integers, got {order.dtype}")
        if n is not None and order.shape == self.shape:
            order = np.repeat(order[None], n, axis=0)
        if order.shape[1:] != self.shape or len(order) != (n or len(order)) or not len(order):
            raise ValueError(f"order must have shape ({'n' if n is None else n}, "
                             f"{', '.join(map(str, self.shape))}), got {order.shape}")
        if order.min() < 0 or order.max() >= self.num_spins:
            raise ValueError(f"order must hold steps from 0 to {self.num_spins - 1} at most, got "
                             f"{order.min()} to {order.max()}")
        return order.astype(np.int64)

    @memory_grows_with("batch_size")
    def _in_parts(self, function: Callable, labels: ArrayLike, batch_size: int,
                  *arrays: np.ndarray) -> list[np.ndarray]:
        """What function(*arrays, labels) returns of batches, put together in float64."""
        check_positive_int(batch_size, "batch_size")
        check_precise_weights(self)
        n = len(arrays[0])
        labels, weight, parts = self._labels(labels, n), self.conv_in.weight, []
        with without_autocast(weight):
            for start in range(0, n, batch_size):
                part = [place(weight, array[start:start + batch_size])
                        for array in (*arrays, labels)]
                parts.append([result.cpu().double().numpy() for result in function(*part)])
        return [np.concatenate(results) for results in zip(*parts)]

    def _labels(self, labels: ArrayLike, n: int) -> np.ndarray:
        labels = plain_array(labels, "labels")
        return check_labels(np.repeat(labels, n) if labels.ndim == 0 else labels, n,
                            self.num_labels)


def check_dilations(dilations: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The dilations as Python's integers, each at most the smaller size of the lattice."""
    if not isinstance(dilations, (tuple, list)):
        raise TypeError(f"dilations must be a tuple of positive integers, got {dilations!r}")
    if not dilations:
        raise ValueError("dilations must be one or more positive integers, got none")
    dilations = tuple(check_positive_int(each, "each of the dilations") for each in dilations)
    if max(dilations) > min(shape):  # circular padding wraps around once
        raise ValueError(f"dilations must be at most {min(shape)}, got {max(dilations)}")
    return dilations


def random_orders(n: int, shape: tuple[int, ...], num_steps: int,
                  rng: np.random.Generator) -> np.ndarray:
    """n independent orders (n, *shape): each spin's step, from 0 to num_steps − 1.

    Every step reveals equally many spins; if num_steps does not divide their number, numbers that
    differ by at most one. Which ones is uniformly random.
    Raises TypeError or ValueError naming the argument that is wrong.
    """
    n, shape, rng = check_positive_int(n, "n"), check_shape(shape), check_generator(rng)
    num_spins = int(np.prod(shape))
    num_steps = check_positive_int(num_steps, "num_steps")
    if num_steps > num_spins:
        raise ValueError(f"num_steps must be at most {num_spins}, the number of spins, got "
                         f"{num_steps}")
    steps = np.arange(num_spins) * num_steps // num_spins  # (N,)
    return rng.permuted(np.tile(steps, (n, 1)), axis=1).reshape(n, *shape)


def draw_hidden(n: int, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Which spins are hidden, (n, *shape) booleans: k of them, all sets alike, k uniform on 1 … N.

    The k of any few consecutive examples are spread evenly: steps of the golden section from a
    random start.
    """
    num_spins, rng = int(np.prod(shape)), check_generator(rng)
    share = (rng.random() + (5**0.5 - 1) / 2 * np.arange(n)) % 1  # (n,) in [0, 1)
    k = 1 + (share * num_spins).astype(int)
    hidden = np.arange(num_spins) < k[:, None]
    return rng.permuted(hidden, axis=1).reshape(n, *shape)


def draw_epoch(shape: tuple[int, ...]) -> Draw:
    """What `train` draws: which spins are hidden from each example of an epoch."""
    def draw(rng: np.random.Generator, history: History, steps: range) -> tuple[np.ndarray]:
        hidden = draw_hidden(history.num_examples, shape, rng)
        return (hidden[steps.start * history.batch_size:steps.stop * history.batch_size],)

    return draw


def fit(model: MaskedSpins, x: Array, labels: ArrayLike, *, history: History | None = None,
        **settings) -> History:
    """Trains the model on −ELBO of x (n, *shape) of ±1 with labels, one for all or (n,).

    Of each example k spins are hidden, k uniform from 1 to N, anew each time. The history has −ELBO
    in nats per configuration as its "loss". settings: those of `training.Settings`; all else, and
    the errors, are those of `training.torch.train`.
    """
    check_data(x, "x", model.shape, "spins")
    return train(model, (x, model._labels(labels, len(x))), model.batch_loss,
                 Settings(**settings), draw=draw_epoch(model.shape), history=history)


@torch.no_grad()
def loss_terms(model: MaskedSpins, x: Array, labels: ArrayLike, *, seed: int = 0,
               batch_size: int = 500) -> np.ndarray:
    """The loss of `fit` for each example of x (n, *shape), float64 (n,); without gradient.

    One set of hidden spins for each, which follow from seed alone. The mean of the result estimates
    −ELBO; its standard error is at most about std / √n.
    Raises TypeError or ValueError naming the argument that is wrong.
    """
    check_data(x, "x", model.shape, "spins")
    check_seed(seed)
    hidden = draw_hidden(len(x), model.shape, np.random.default_rng([seed, 2]))

    def loss(x, hidden, labels):
        return (model.batch_loss(Batch((x, labels), (hidden,), 0.0, 0))["loss"],)

    return model._in_parts(loss, labels, batch_size, plain_array(x), hidden)[0]
