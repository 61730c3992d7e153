"""Weights of a model carried from one framework to the other: Keras to PyTorch and back.

The common form is a dictionary of NumPy arrays under the names and in the layout of PyTorch's
`state_dict`. What differs in Keras (rows and columns as the array has them, c channels):

    layer                   Keras                PyTorch
    dense                   (in, out)            (out, in)
    convolution             (h, w, in, out)      (out, in, h, w)
    transposed convolution  (h, w, out, in)      (in, out, h, w)
    pixels made a vector    (h, w, c) in order   (c, h, w) in order

The last line permutes the rows of a dense layer that follows a Flatten, and the columns and biases
of one that stands before a Reshape. Both frameworks slide a kernel without flipping it. Scales and
shifts of a normalisation and the rows of an embedding are the same in both.

Neither framework is imported here: a model of one can only exist where that one is imported.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from genmodels.validate import is_a, plain_array

Model = Any  # a VAE of vae_torch or vae_keras, a UNet of unet_torch or unet_keras

__all__ = ["copy_weights", "description", "from_arrays", "to_arrays"]

# PyTorch's names of the layers that have weights, in Keras's order; the heads have equal names.
TORCH_NAMES = {
    "ConvVAE": {
        "encoder": ["features.2", "features.5", "features.8", "mean", "log_var"],
        "decoder": ["0", "3", "6", "9"],
    },
    "MLPVAE": {
        "encoder": ["features.1", "features.3", "mean", "log_var"],
        "decoder": ["0", "2"],
    },
}

# Models of PyTorch alone: the module and the class.
TORCH_ALONE = (("classifier_torch", "Classifier"), ("lattice_torch", "LatticeDenoiser"))


def to_arrays(model: Model, values: Sequence | None = None) -> dict[str, np.ndarray]:
    """Copies of a model's weights, under PyTorch's `state_dict` names and in PyTorch's layout.

    Those in bfloat16, which NumPy does not know, become float32.

    `model` is a ConvVAE, MLPVAE or UNet of either framework, another child of vae_torch.VAE, a
    classifier_torch.Classifier or a lattice_torch.LatticeDenoiser.
    values: other arrays or tensors to put into this form, for instance gradients; one for each of
    `model.parameters()` in PyTorch, of `model.trainable_variables` in Keras, with its shape. (Only
    these are returned then; without values, all weights are, whether trainable or not.)
    Raises TypeError if model is no such model, or values no sequence of arrays or tensors;
    ValueError if values are too few, too many or of another shape.
    """
    framework, _ = _identify(model, "model")
    if framework == "torch":
        weights = model.state_dict() if values is None else dict(model.named_parameters())
        if values is not None:
            weights = dict(zip(weights, _checked(values, list(weights.values()))))
        return {name: _numpy(weight) for name, weight in weights.items()}
    variables = model.weights if values is None else model.trainable_variables
    values = variables if values is None else _checked(values, variables)
    value_of = dict(zip(map(id, variables), values))
    return {name: to_torch(_numpy(value_of[id(variable)]))
            for name, variable, to_torch in _keras_weights(model) if id(variable) in value_of}


def from_arrays(model: Model, arrays: Mapping[str, np.ndarray]) -> None:
    """Sets the weights of a model of either framework, in place, from what `to_arrays` returns.

    The arrays are rounded to the model's precision. Everything is checked before the first weight
    is set; if anything is wrong, the model is as it was. An optimiser that has trained the model
    keeps its moments, which belong to the old weights: begin a new history.
    Raises TypeError if model is none that `to_arrays` knows, arrays no mapping, or one of them no
    array of floats; ValueError if a name is missing or unknown, a shape is another, or a number is
    not finite in the model's precision.
    """
    framework, _ = _identify(model, "model")
    if not isinstance(arrays, Mapping):
        raise TypeError(f"arrays must be a mapping of names to arrays, got {type(arrays).__name__}")
    weights = to_arrays(model)
    if missing := [name for name in weights if name not in arrays]:
        raise ValueError("arrays must hold every weight of the model, got none named "
                         f"{', '.join(missing)}")
    if unknown := [str(name) for name in arrays if name not in weights]:
        raise ValueError(f"arrays must hold weights of the model only, got {', '.join(unknown)}")
    arrays = {name: _fitting(name, arrays[name], weight) for name, weight in weights.items()}

    if framework == "torch":
        for name, tensor in model.state_dict().items():  # shares the memory of the parameters
            tensor.copy_(tensor.new_tensor(arrays[name]))
        return
    for name, variable, to_torch in _keras_weights(model):
        # to_torch only moves numbers: number the places of the variable, see where each one goes,
        # and fetch it from there.
        places = np.arange(arrays[name].size).reshape(variable.shape)
        flat = np.empty_like(arrays[name], shape=places.size)
        flat[to_torch(places)] = arrays[name]
        variable.assign(flat.reshape(variable.shape))


def copy_weights(source: Model, target: Model) -> None:
    """Sets the weights of target to those of source, a model of the same or the other framework.

    The numbers are copied exactly; they are rounded only if target has the lower precision.
    Raises TypeError if one of the two is none that `to_arrays` knows; ValueError if they have
    unlike architectures or sizes, naming what differs, or if a weight of source is not finite.
    """
    ours, theirs = description(source, "source"), description(target, "target")
    differing = [f"{what} {ours[what]} and {theirs[what]}"
                 for what in ours if what in theirs and ours[what] != theirs[what]]
    if differing:
        raise ValueError(f"source and target must be alike, got {', '.join(differing)}")
    from_arrays(target, to_arrays(source))


# Which model is it ------------------------------------------------------------------------------


def _identify(model: Model, argument: str) -> tuple[str, str]:
    """The framework, "torch" or "keras", and the architecture; a child counts as its parent.

    Raises TypeError, naming the argument, if the model is none whose weights we can name.
    """
    for framework in ("torch", "keras"):
        if is_a(model, f"genmodels.models.unet_{framework}.UNet"):
            return framework, "UNet"
        for architecture in TORCH_NAMES:
            if is_a(model, f"genmodels.models.vae_{framework}.{architecture}"):
                return framework, architecture
    if is_a(model, "genmodels.models.vae_torch.VAE"):  # it names its weights itself
        return "torch", f"{type(model).__module__}.{type(model).__qualname__}"
    for module, architecture in TORCH_ALONE:
        if is_a(model, f"genmodels.models.{module}.{architecture}"):
            return "torch", architecture
    got = f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__
    raise TypeError(f"{argument} must be a ConvVAE or MLPVAE of vae_torch or vae_keras, another "
                    "VAE of vae_torch, a UNet of unet_torch or unet_keras, or a "
                    f"{' or '.join(name for _, name in TORCH_ALONE)}, got {got}")


def description(model: Model, argument: str = "model") -> dict[str, Any]:
    """What must be equal in both models for `copy_weights`, by the name that a user knows."""
    _, architecture = _identify(model, argument)
    if architecture == "UNet":
        return {"architecture": architecture, "channels": model.channels,
                "num_labels": model.num_labels, "pixels": model.pixels, "periodic": model.periodic}
    if architecture == "Classifier":
        return {"architecture": architecture}
    if architecture == "LatticeDenoiser":
        return {"architecture": architecture, "size": model.size, "odd": model.odd,
                "channels": model.channels, "num_blocks": model.num_blocks}
    description = {"architecture": architecture, "latent_dim": model.latent_dim,
                   "shape": model.shape, "likelihood": model.likelihood}
    if hasattr(model, "periodic"):
        description["periodic"] = model.periodic
    if architecture == "MLPVAE":
        description["hidden_dim"] = len(to_arrays(model)["decoder.0.bias"])
    return description


# Layouts ----------------------------------------------------------------------------------------


def _keras_weights(model: Model) -> Iterator[tuple[str, Any, Callable[[np.ndarray], np.ndarray]]]:
    """Triples (PyTorch's name, Keras's variable, function to PyTorch's layout), in order."""
    _, architecture = _identify(model, "model")
    of_images = architecture == "ConvVAE"
    if architecture == "UNet":  # its layers have PyTorch's names, in PyTorch's order
        suffixes = {"bias": "bias", "beta": "bias"}  # all others are called weight
        for variable in model.weights:
            *name, last = variable.path.removeprefix(f"{model.name}/").split("/")
            to_torch = partial(_to_torch, before=None, after=None)
            yield (".".join([*name, suffixes.get(last, "weight")]), variable,
                   np.array if last == "embeddings" else to_torch)
        return
    for part, torch_names in TORCH_NAMES[architecture].items():
        layers = getattr(model, part).layers  # one after the other, the two heads last
        names = iter(torch_names)
        for before, layer, after in zip([None, *layers], layers, [*layers[1:], None]):
            if layer.weights:
                name = next(names)
                to_torch = partial(_to_torch, before=before if of_images else None,
                                   after=after if of_images else None)
                yield f"{part}.{name}.weight", layer.kernel, to_torch
                yield f"{part}.{name}.bias", layer.bias, to_torch


def _to_torch(array: np.ndarray, before, after) -> np.ndarray:
    """A Keras layer's kernel or bias in PyTorch's layout, given the layers before and after it."""
    if array.ndim == 4:  # a convolution, or a transposed one: the same permutation serves both
        return array.transpose(3, 2, 0, 1)
    if type(after).__name__ == "Reshape" and len(after.target_shape) == 3:
        # Its units become an image: the last axis goes from the order (h, w, c) to (c, h, w).
        images = array.reshape(*array.shape[:-1], *after.target_shape)
        array = np.moveaxis(images, -1, -3).reshape(array.shape)
    if array.ndim == 2:  # a dense layer
        if type(before).__name__ == "Flatten" and len(before.input.shape) == 4:
            # Its inputs were an image: the same for the first axis.
            images = array.reshape(*before.input.shape[1:], -1)  # (h, w, c, out)
            array = np.moveaxis(images, 2, 0).reshape(array.shape)
        array = array.T
    return array


# Arrays -----------------------------------------------------------------------------------------


def _numpy(weight) -> np.ndarray:
    """A copy of an array, of a tensor of any framework or device, or of a Keras variable."""
    return plain_array(getattr(weight, "value", weight))  # what a Keras variable holds


def _checked(values: Sequence, weights: Sequence) -> Sequence:
    """Returns values if there is one for each weight, of its shape."""
    if not isinstance(values, Sequence):
        raise TypeError(f"values must be a sequence of arrays, got {type(values).__name__}")
    if len(values) != len(weights):
        raise ValueError(f"values must hold {len(weights)} arrays, got {len(values)}")
    for i, (value, weight) in enumerate(zip(values, weights)):
        if not hasattr(value, "shape"):
            raise TypeError(f"values[{i}] must be an array, got {type(value).__name__}")
        if tuple(value.shape) != tuple(weight.shape):
            raise ValueError(f"values[{i}] must have shape {tuple(weight.shape)}, "
                             f"got {tuple(value.shape)}")
    return values


def _fitting(name: str, array: Any, weight: np.ndarray) -> np.ndarray:
    """Returns the array in the weight's precision, if it can take its place."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array, got {type(array).__name__}")
    if array.dtype.kind != weight.dtype.kind:
        raise TypeError(f"{name} must hold {weight.dtype.name} or the like, got {array.dtype}")
    if array.shape != weight.shape:
        raise ValueError(f"{name} must have shape {weight.shape}, got {array.shape}")
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite: seen below
        array = np.array(array, dtype=weight.dtype, order="C")
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name} must be finite in {weight.dtype}, got NaN or infinity")
    return array
