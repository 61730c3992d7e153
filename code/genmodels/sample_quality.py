"""How good are images that a model makes? Measured in the features of a small classifier (PyTorch).

The classifier tells digits apart; its last hidden layer, 32 numbers an image, are the features φ.

    Fréchet distance  |μ_1 − μ_2|² + tr(Σ_1 + Σ_2 − 2 (Σ_1 Σ_2)^½)   of two sets of features
    precision         the share of made images within the set of the real ones
    recall            the share of real images within the set of the made ones

The distance is the squared 2-Wasserstein distance of two Gaussians that have the mean and the
covariance of the features, a number without unit that depends on the features: it compares models
measured with the same classifier and the same number of images, and nothing else.
"""


import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist
from torch import nn

from genmodels.datasets import check_images
from genmodels.denoising import check_labels
from genmodels.gaussian import Array, finite_array
from genmodels.training import (
    History,
    batches,
    begin,
    check_positive_int,
    check_precision,
    learning_rate_at,
)
from genmodels.vae_torch import (
    autocast,
    check_precise_weights,
    keep_copies,
    prepare,
    tensor_like,
    without_autocast,
)

__all__ = ["Classifier", "fit", "frechet_distance", "precision_and_recall"]

NUM_FEATURES = 32


class Classifier(nn.Module):
    """Two convolutions and a hidden layer: 55,338 parameters. The hidden layer gives the features.

    Images are floats in [0, 1], (n, 28, 28); those that a diffusion model makes must be brought
    there first.
    """

    def __init__(self):
        super().__init__()
        self.hidden = nn.Sequential(
            nn.Unflatten(1, (1, 28)),  # (n, 1, 28, 28): the channel
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),  # 14 × 14
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),  # 7 × 7
            nn.Flatten(),
            nn.Linear(7 * 7 * 32, NUM_FEATURES), nn.ReLU(),
        )
        self.logits = nn.Linear(NUM_FEATURES, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, 10) of images x (n, 28, 28)."""
        return self.logits(self.hidden(x))

    @torch.no_grad()
    def features(self, images: np.ndarray) -> Array:
        """Features (n, 32), float64, of images (n, 28, 28) in [0, 1], whatever `torch.autocast`.

        Raises TypeError or ValueError if images are not images (see `datasets.check_images`), or
        the classifier's weights not of float32 or float64.
        """
        return self._in_parts(self.hidden, images)

    @torch.no_grad()
    def classify(self, images: np.ndarray) -> np.ndarray:
        """The most probable digits (n,) of images (n, 28, 28) in [0, 1]; errors as `features`."""
        return self._in_parts(self, images).argmax(axis=1)

    def _in_parts(self, network: nn.Module, images: np.ndarray) -> Array:
        check_images(images)
        check_precise_weights(self)
        parts = self._tensor(images).split(500)
        with without_autocast(self.logits.weight):
            return torch.cat([network(part) for part in parts]).cpu().double().numpy()

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return tensor_like(self.logits.weight, array)


def fit(model: Classifier, images: np.ndarray, labels: np.ndarray, *, num_epochs: int | None = None,
        num_steps: int | None = None, batch_size: int = 128, learning_rate: float = 4e-3,
        recipe: str = "warm-up", precision: str | None = None, seed: int = 0,
        device: str | None = None, history: History | None = None,
        progress: bool = True) -> History:
    """Trains the classifier on images (n, 28, 28) in [0, 1] with labels (n,) 0 … 9.

    The loss is the cross-entropy −log p(label|image) in nats; the history has it as its `loss`,
    its negative as log_likelihood, and zero as kl. All other arguments, and the errors, are those
    of `vae_torch.fit`.
    """
    check_images(images)
    labels = torch.from_numpy(check_labels(labels, len(images)))
    history, peak = begin(history, model=model, num_examples=len(images), num_epochs=num_epochs,
                          num_steps=num_steps, batch_size=batch_size, seed=seed,
                          learning_rate=learning_rate, recipe=recipe)
    check_precision(precision)
    optimizer = prepare(model, history, peak, device)
    images = model._tensor(images)
    networks = autocast(images, recipe, precision)
    with (without_autocast(images),
          batches(history, latent_dim=0, progress=progress,
                  keep=lambda: keep_copies(model, optimizer)) as steps):
        for rows, _ in steps:
            rows = torch.from_numpy(rows)
            with networks:
                logits = model(images[rows])
            log_p = -nn.functional.cross_entropy(
                logits.to(images.dtype), labels[rows].to(logits.device), reduction="none")
            optimizer.zero_grad()
            (-log_p.mean()).backward()
            optimizer.param_groups[0]["lr"] = learning_rate_at(
                history.num_steps, history.schedule, recipe, peak)
            optimizer.step()
            history.record(log_p.detach().sum(), 0.0, len(rows))
    return history


def frechet_distance(features: ArrayLike, others: ArrayLike) -> float:
    """The Fréchet distance of two sets of features (n, k) and (m, k), n and m above k.

    Estimated from n images it is on average too large, by a term of order 1/n for a given k:
    compare equal numbers.
    Source: Dowson and Landau (1982); Heusel et al. (2017).
    Raises TypeError or ValueError if one is not finite numbers of shape (n, k), or n ≤ k.
    """
    features, others = _features("features", features), _features("others", others)
    if others.shape[1] != features.shape[1]:
        raise ValueError(f"others has shape {others.shape}, expected (m, {features.shape[1]})")
    means = features.mean(axis=0), others.mean(axis=0)
    # With Σ = RᵀR, the part of the covariances is the smallest ‖R_1 − U R_2‖² of all orthogonal U,
    # and U = W Vᵀ is the best for R_1 R_2ᵀ = W S Vᵀ. A sum of squares does not become negative.
    root, other_root = (np.linalg.qr((f - mean) / np.sqrt(len(f) - 1), mode="r")
                        for f, mean in zip((features, others), means))  # (k, k) each
    left, _, right = np.linalg.svd(root @ other_root.T)
    return float(np.sum((means[0] - means[1]) ** 2)
                 + np.sum((root - left @ right @ other_root) ** 2))


def precision_and_recall(real: ArrayLike, made: ArrayLike,
                         num_neighbours: int = 3) -> tuple[float, float]:
    """Precision and recall of made against real features, (n, k) and (m, k).

    A point lies within a set if it is no farther from one of its members than that member from its
    `num_neighbours`-th nearest fellow. Source: Kynkäänniemi et al. (2019).
    Raises TypeError or ValueError if one is not finite numbers of shape (n, k), or has no more
    than num_neighbours members, or num_neighbours is not a positive integer.
    """
    check_positive_int(num_neighbours, "num_neighbours")
    real, made = _features("real", real, 0), _features("made", made, 0)
    if made.shape[1] != real.shape[1]:
        raise ValueError(f"made has shape {made.shape}, expected (m, {real.shape[1]})")
    for name, points in (("real", real), ("made", made)):
        if len(points) <= num_neighbours:
            raise ValueError(f"{name} has {len(points)} members, expected more than "
                             f"num_neighbours, {num_neighbours}")

    def radii(points):  # the 0th nearest of each point is itself
        return np.partition(cdist(points, points), num_neighbours, axis=1)[:, num_neighbours]

    distances = cdist(real, made)  # (n, m)
    precision = np.mean(np.any(distances <= radii(real)[:, None], axis=0))
    recall = np.mean(np.any(distances <= radii(made)[None, :], axis=1))
    return float(precision), float(recall)


def _features(name: str, value: ArrayLike, above: int | None = None) -> Array:
    value = finite_array(name, value)
    if value.ndim != 2 or value.shape[1] == 0:
        raise ValueError(f"{name} has shape {value.shape}, expected (n, k)")
    if len(value) <= (value.shape[1] if above is None else above):
        raise ValueError(f"{name} has {len(value)} rows, expected more than its "
                         f"{value.shape[1]} columns")
    return value
