"""Tensors in PyTorch: where they lie, of which type, and what `torch.autocast` does not touch."""

import numpy as np
import torch
from torch import nn

from genmodels.training.checks import check_precise, cpu_has_bfloat16, holds_integers
from genmodels.training.history import Settings

__all__ = ["Array", "autocast", "available_devices", "check_precise_weights", "place",
           "tensor_like", "without_autocast"]

Array = np.ndarray | torch.Tensor


def place(weight: torch.Tensor, array: Array) -> torch.Tensor:
    """A copy on the weight's device: floats and booleans in its type, integers as int64."""
    if holds_integers(array):
        return torch.as_tensor(array).to(weight.device, torch.int64, copy=True)
    return tensor_like(weight, array).detach()


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


def autocast(weight: torch.Tensor, settings: Settings) -> torch.autocast:
    """The context in which `train` calls batch_loss; see `Settings` for its precision."""
    device, precision = weight.device.type, settings.precision
    if precision is None and settings.recipe == "warm-up" and weight.dtype == torch.float32:
        if device == "cpu":
            in_hardware = cpu_has_bfloat16()
        else:
            in_hardware = device == "cuda" and torch.cuda.is_bf16_supported(False)
        precision = "bfloat16" if in_hardware else "float32"
    # Within another autocast, rounded weights that were kept would outlive the step.
    return torch.autocast(device, torch.bfloat16, precision == "bfloat16", cache_enabled=False)


def check_precise_weights(model: nn.Module) -> None:
    """Raises TypeError unless all weights of the model are of float32 or float64."""
    for name, weight in model.named_parameters():
        check_precise(weight.dtype, name)


def available_devices() -> list[str]:
    """The devices that a model can be trained on: "cpu", and "cuda:0" or the like."""
    there = torch.accelerator.is_available()
    accelerator = torch.accelerator.current_accelerator() if there else None
    numbers = range(torch.accelerator.device_count()) if accelerator else ()
    return ["cpu", *(f"{accelerator.type}:{i}" for i in numbers)]
