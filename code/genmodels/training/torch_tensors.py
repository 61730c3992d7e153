"""Tensors in PyTorch: where they lie, of which type, and what `torch.autocast` does not touch."""

import os

import numpy as np
import torch
from torch import nn

from genmodels.training.checks import check_precise, cpu_has_bfloat16, holds_integers
from genmodels.training.determinism import deterministic_mode_is_wanted
from genmodels.training.history import Settings

__all__ = ["Array", "autocast", "available_devices", "check_precise_weights", "place",
           "set_deterministic_mode", "tensor_like", "why_no_gpu", "without_autocast"]

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
    """The devices that a model can be trained on: "cpu", and "cuda:0" or the like.

    Of several GPUs the current one, as `torch.cuda.set_device` has chosen it, comes first.
    """
    if not torch.accelerator.is_available():
        return ["cpu"]
    kind, current = torch.accelerator.current_accelerator().type, 0
    if kind == "cuda":
        current = torch.cuda.current_device()
    numbers = sorted(range(torch.accelerator.device_count()), key=lambda i: i != current)
    return ["cpu", *(f"{kind}:{i}" for i in numbers)]


def why_no_gpu() -> str:
    """What PyTorch says, where it has no GPU."""
    if torch.version.cuda is None and torch.version.hip is None:
        return f"PyTorch {torch.__version__} is built without CUDA"
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    return (f"PyTorch {torch.__version__}, built for CUDA {torch.version.cuda}, finds none" + (
        "; does nvidia-smi?" if chosen is None else f", and CUDA_VISIBLE_DEVICES is {chosen!r}"))


_own_settings: tuple[bool, bool, bool] | None = None  # PyTorch's, while ours replace them


def set_deterministic_mode(wanted: bool) -> None:
    """Switches PyTorch to algorithms that give the same bits in every run, or back to what it had.

    An operation that has none raises RuntimeError, which names it. Where cuBLAS has already
    computed something, it may need CUBLAS_WORKSPACE_CONFIG=:4096:8 from the start of the process.
    """
    global _own_settings
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # PyTorch asks for it
        _own_settings = _own_settings or (torch.are_deterministic_algorithms_enabled(),
                                          torch.is_deterministic_algorithms_warn_only_enabled(),
                                          torch.backends.cudnn.benchmark)
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False  # it would choose by the clock
    elif _own_settings is not None:
        enabled, warn_only, torch.backends.cudnn.benchmark = _own_settings
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
        _own_settings = None


set_deterministic_mode(deterministic_mode_is_wanted())  # and again in each `train`
