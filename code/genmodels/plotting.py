"""Figures that more than one chapter draws, for the models of either framework.

A model has `latent_dim`, `encode(x) -> (mean, log_var)`, `decode(h)`, `sample(n, seed=...)` and
`reconstruct(x)`; images are (n, h, w). A model is given copies, and what it returns is
copied: it may work in place. Each function returns a Figure that pyplot has already let go: as the
last line of a cell it is shown, once.
"""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from genmodels.validate import plain_array

__all__ = ["image_grid", "latent_grid", "latent_means", "reconstructions", "samples",
           "training_curves"]

# The same quantity has the same colour throughout the book (matplotlib's cycle, by name).
DIGIT_COLOURS = tuple(f"C{digit}" for digit in range(10))
LOSS_COLOUR = "C0"  # and the ELBO
LOG_LIKELIHOOD_COLOUR = "C2"
KL_COLOUR = "C3"
HELD_OUT_COLOUR = "C1"  # an estimate, drawn with its standard error

WIDTH = 6.5  # inches: the width of a page of the book
LABEL_SIZE = 12  # points
TICK_SIZE = 11
ENCODE_BATCH = 1000  # images that are encoded at once, so that memory stays small


def image_grid(images: Any, num_columns: int) -> np.ndarray:
    """Return the images (n, h, w) as tiles, row by row, of one array (n/columns · h, columns · w).

    Raises:
        ValueError: the shape is another, or the images do not fill rows of `num_columns`.
    """
    images = plain_array(images)
    if images.ndim != 3 or images.size == 0:
        raise ValueError(f"images must have shape (n, h, w), n at least 1, got {images.shape}")
    if num_columns < 1 or len(images) % num_columns:
        raise ValueError(f"num_columns must be a divisor of the number of images, "
                         f"{len(images)}, got {num_columns}")
    height, width = images.shape[1:]
    tiles = images.reshape(-1, num_columns, height, width)  # (row, column, y, x)
    return tiles.swapaxes(1, 2).reshape(-1, num_columns * width)  # (row · y, column · x)


def latent_grid(model: Any, num_points: int = 30, extent: float = 2.0) -> Figure:
    """Draw the images that a grid of latent points decodes to, in one call of the decoder.

    Args:
        model: with latent_dim 2.
        num_points: points along each latent coordinate, at least 2.
        extent: the coordinates run from −extent to extent, in standard deviations of the prior.

    Raises:
        ValueError: the latent space is not a plane, or `num_points` or `extent` is too small.
    """
    _require_plane(model)
    if num_points < 2:
        raise ValueError(f"num_points must be at least 2, got {num_points}")
    if not extent > 0:
        raise ValueError(f"extent must be a positive number, got {extent}")
    coordinates = np.linspace(-extent, extent, num_points, dtype=np.float32)
    h_2, h_1 = np.meshgrid(coordinates[::-1], coordinates, indexing="ij")  # h_2 grows upwards
    h = np.stack([h_1.ravel(), h_2.ravel()], axis=1)  # (num_points², 2), row by row from the top
    grid = image_grid(model.decode(h), num_points)

    edge = extent + extent / (num_points - 1)  # each point lies in the centre of its tile
    figure, axes = _figure(height=WIDTH)
    _draw(axes, grid, extent=(-edge, edge, -edge, edge))
    _label(axes, "$h_1$ (prior standard deviations)", "$h_2$ (prior standard deviations)")
    return figure


def latent_means(model: Any, images: Any, labels: Any) -> Figure:
    """Draw the encoder's mean for each image as a point, coloured by its digit.

    Args:
        model: with latent_dim 2.
        images: (n, h, w), in [0, 1] if the model's pixels are.
        labels: (n,) integers from 0 to 9.

    Raises:
        ValueError: the latent space is not a plane, or the labels do not fit.
    """
    _require_plane(model)
    labels = plain_array(labels)
    if labels.shape != (len(images),) or labels.dtype.kind not in "iu":
        raise ValueError(f"labels must be integers of shape ({len(images)},), "
                         f"got {labels.dtype} of shape {labels.shape}")
    if labels.size and not (labels.min() >= 0 and labels.max() <= 9):
        raise ValueError("labels must be digits from 0 to 9, "
                         f"got {labels.min()} to {labels.max()}")
    means = np.concatenate([  # (n, 2)
        plain_array(model.encode(_copy(images[start:start + ENCODE_BATCH]))[0])
        for start in range(0, len(images), ENCODE_BATCH)])

    figure, axes = _figure(height=0.85 * WIDTH)
    points = axes.scatter(means[:, 0], means[:, 1], c=labels, s=8, linewidths=0, alpha=0.7,
                          cmap=ListedColormap(DIGIT_COLOURS),
                          norm=BoundaryNorm(np.arange(11) - 0.5, 10))
    axes.set_aspect("equal", adjustable="datalim")
    _label(axes, "mean of $h_1$ (prior standard deviations)",
           "mean of $h_2$ (prior standard deviations)")
    bar = figure.colorbar(points, ax=axes, ticks=range(10))
    bar.solids.set_alpha(1)
    bar.ax.tick_params(length=0, labelsize=TICK_SIZE)
    bar.set_label("digit", fontsize=LABEL_SIZE)
    return figure


def reconstructions(model: Any, images: Any, num_images: int = 10) -> Figure:
    """Draw the first `num_images` images above what the model makes of them.

    Raises:
        ValueError: there are fewer images, or `num_images` is less than 1.
    """
    if not 1 <= num_images <= len(images):
        raise ValueError(f"num_images must lie between 1 and {len(images)}, the number of "
                         f"images, got {num_images}")
    originals = images[:num_images]
    both = np.concatenate([plain_array(originals),
                           plain_array(model.reconstruct(_copy(originals)))])
    figure, axes = _figure(height=0.1 + 2 * 0.82 * WIDTH / num_images)  # the rest is text
    _draw(axes, image_grid(both, num_images))
    axes.set_xticks([])
    height = both.shape[1]
    axes.set_yticks([height / 2, 3 * height / 2], ["original", "reconstructed"])
    axes.tick_params(length=0, labelsize=TICK_SIZE)
    return figure


def samples(model: Any, num_rows: int, num_columns: int, seed: int) -> Figure:
    """Draw `num_rows · num_columns` images that the model makes from draws of the prior.

    Raises:
        ValueError: `num_rows` or `num_columns` is less than 1.
    """
    for name, value in (("num_rows", num_rows), ("num_columns", num_columns)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    grid = image_grid(model.sample(num_rows * num_columns, seed=seed), num_columns)
    figure, axes = _figure(height=WIDTH * num_rows / num_columns)
    _draw(axes, grid)
    axes.set_axis_off()
    return figure


def training_curves(history: Any, held_out: tuple[Any, Any] | None = None) -> Figure:
    """Draw the terms of a training run, in nats per example, against the epoch: a panel each.

    Args:
        history: with a dictionary `terms` of lists, one value an epoch, "loss" among them.
        held_out: what the `evaluate` of a VAE returns for held-out images after the training, the
            pair (log_likelihood, kl), each (n,); their averages are drawn as horizontal lines with
            the standard error.

    Raises:
        ValueError: the history holds no epoch, or lists of different lengths, or `held_out` is
            not a pair of arrays of at least two examples.
    """
    curves = {name: list(values) for name, values in history.terms.items()}
    lengths = {name: len(values) for name, values in curves.items()}
    if len(set(lengths.values())) != 1 or not curves.get("loss"):
        raise ValueError("history must have one value an epoch in each list, 'loss' among them, "
                         f"and at least one epoch, got lists of lengths {lengths}")
    after = {}
    if held_out is not None:
        shapes = [np.shape(plain_array(terms)) for terms in held_out]
        if len(shapes) != 2 or shapes[0] != shapes[1] or len(shapes[0]) != 1 or shapes[0][0] < 2:
            raise ValueError("held_out must be a pair (log_likelihood, kl), each (n,) with n > 1, "
                             f"got arrays of shapes {shapes}")
        log_likelihood, kl = (plain_array(terms).astype(np.float64) for terms in held_out)
        after = {"loss": kl - log_likelihood, "log_likelihood": log_likelihood, "kl": kl}

    titles = {"loss": "loss = −ELBO", "log_likelihood": "log-likelihood", "kl": "KL divergence"}
    colours = {"loss": LOSS_COLOUR, "log_likelihood": LOG_LIKELIHOOD_COLOUR, "kl": KL_COLOUR}
    if set(curves) != set(titles):  # not a VAE
        titles["loss"] = "loss"
    epochs = np.arange(1, len(curves["loss"]) + 1)
    figure, panels = plt.subplots(len(curves), 1, figsize=(WIDTH, 0.4 * WIDTH * len(curves)),
                                  sharex=True, layout="constrained", squeeze=False)
    plt.close(figure)
    panels = panels[:, 0]
    for axes, (name, values) in zip(panels, curves.items(), strict=True):
        axes.plot(epochs, values, color=colours.get(name, LOSS_COLOUR), marker="o", markersize=3,
                  label="training")
        if name in after:
            mean = after[name].mean()
            error = after[name].std(ddof=1) / np.sqrt(len(after[name]))
            axes.axhline(mean, color=HELD_OUT_COLOUR, linestyle="--",
                         label=f"held out, at the end: {mean:.2f} ± {error:.2f}".replace("-", "−"))
        axes.set_title(titles.get(name, name), fontsize=LABEL_SIZE)
        _label(axes, "", "nats per example")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=TICK_SIZE)
    _label(panels[-1], "epoch", "nats per example")
    figure.align_ylabels()
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _copy(array: Any) -> Any:
    """Return a copy of an array, or of a tensor in its own framework."""
    if isinstance(array, np.ndarray):
        return plain_array(array)
    return array.clone() if hasattr(array, "clone") else array  # TensorFlow's cannot be changed


def _require_plane(model: Any) -> None:
    if model.latent_dim != 2:
        raise ValueError(f"model must have latent_dim 2 for this figure, got {model.latent_dim}")


def _figure(height: float) -> tuple[Figure, Axes]:
    figure, axes = plt.subplots(figsize=(WIDTH, height), layout="constrained")
    plt.close(figure)  # or a notebook would show it twice
    return figure, axes


def _draw(axes: Axes, grid: np.ndarray, **options: Any) -> AxesImage:
    return axes.imshow(grid, cmap="gray", vmin=0, vmax=1, **options)


def _label(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x, fontsize=LABEL_SIZE)
    axes.set_ylabel(y, fontsize=LABEL_SIZE)
    axes.tick_params(labelsize=TICK_SIZE)
