"""What surrounds a run in PyTorch: the device, the optimiser, and the state to return to."""

import numpy as np
import torch
from torch import nn

from genmodels.training.checkpoint import State
from genmodels.training.checks import check_device, check_optimizer, check_weights
from genmodels.training.determinism import deterministic_mode_is_wanted
from genmodels.training.history import History, Settings
from genmodels.training.torch_tensors import (
    available_devices,
    set_deterministic_mode,
    why_no_gpu,
)

__all__ = ["get_state", "prepare", "set_state"]


def prepare(model: nn.Module, history: History, settings: Settings) -> torch.optim.Optimizer:
    """Moves the model to the device; returns the history's optimiser, made if there is none.

    Raises TypeError or ValueError if the device, the model's weights or the optimiser will not do.
    """
    set_deterministic_mode(deterministic_mode_is_wanted())
    available = available_devices()
    device = check_device(settings.device, available, why_no_gpu)
    history._of_run["frozen"] = check_weights({
        name: (weight.dtype, bool(torch.isfinite(weight).all()), weight.requires_grad)
        for name, weight in model.named_parameters()})
    model.to(device_for(model, device, available))
    if history.optimizer is None:
        history.optimizer = torch.optim.Adam(model.parameters(), lr=settings.peak, fused=True)
    optimizer = history.optimizer
    check_optimizer(history, max((int(state["step"]) for state in optimizer.state.values()),
                                 default=0))
    return optimizer


def device_for(model: nn.Module, device: str | None, available: list[str]) -> str:
    """The device that is asked for; for None the first GPU of those available, else the CPU.

    available: "cpu" first. No GPU of Apple, "mps", has float64: for None a model with weights of
    this type stays on the CPU. Raises ValueError if it is asked for there.
    """
    chosen = device or next(iter(available[1:]), "cpu")
    precise = [name for name, weight in model.named_parameters() if weight.dtype == torch.float64]
    if not chosen.startswith("mps") or not precise:
        return chosen
    if device is None:
        return "cpu"
    raise ValueError(f"device must have float64, the type of {precise[0]}, which Apple's GPUs have "
                     f"not, got {device!r}: use 'cpu', or model.float()")


def get_state(model: nn.Module, optimizer: torch.optim.Optimizer) -> State:
    """Copies of the weights and of what the optimiser remembers, as NumPy arrays."""
    state = optimizer.state_dict()["state"]
    return {"weights": {name: _copied(weight) for name, weight in model.state_dict().items()},
            "optimizer": {f"{i}.{key}": _copied(value) for i, of_weight in state.items()
                          for key, value in of_weight.items()}}


def _copied(value: torch.Tensor | float) -> np.ndarray:
    return np.array(value.cpu().numpy() if torch.is_tensor(value) else value)


def set_state(model: nn.Module, optimizer: torch.optim.Optimizer, state: State) -> None:
    """Puts back what `get_state` returned."""
    of_weights: dict[int, dict[str, torch.Tensor]] = {}
    for name, array in state["optimizer"].items():
        i, key = name.split(".")
        of_weights.setdefault(int(i), {})[key] = torch.from_numpy(array.copy())
    model.load_state_dict({name: torch.from_numpy(array.copy())
                           for name, array in state["weights"].items()})
    optimizer.load_state_dict(optimizer.state_dict() | {"state": of_weights})
