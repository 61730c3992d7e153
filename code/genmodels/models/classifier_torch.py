"""A small classifier of digits, in PyTorch: its features measure how good made images are.

The classifier tells digits apart; its last hidden layer, 32 numbers an image, are the features φ.
"""

import numpy as np
import torch
from torch import nn

from genmodels.datasets import check_images
from genmodels.models.denoising import check_labels
from genmodels.training.history import Batch, History, Settings
from genmodels.training.torch import train
from genmodels.training.torch_tensors import check_precise_weights, tensor_like, without_autocast
from genmodels.validate import Array

__all__ = ["Classifier", "fit"]

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


def fit(model: Classifier, images: np.ndarray, labels: np.ndarray, *,
        history: History | None = None, **settings) -> History:
    """Trains the classifier on images (n, 28, 28) in [0, 1] with labels (n,) 0 … 9.

    The "loss" is the cross-entropy −log p(label|image) in nats. settings: those of
    `training.Settings`; all else, and the errors, are those of `training.torch.train`.
    """
    check_images(images)
    labels = check_labels(labels, len(images))

    def batch_loss(batch: Batch) -> dict[str, torch.Tensor]:
        x, digits = batch.data
        loss = nn.functional.cross_entropy(model(x).to(x.dtype), digits, reduction="none")
        return {"loss": loss}

    return train(model, (images, labels), batch_loss, Settings(**settings), history=history)
