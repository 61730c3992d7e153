"""φ⁴ on the device: configurations in equilibrium, and the effective sample size with its error."""

from types import SimpleNamespace

import numpy as np
import torch

from genmodels import monte_carlo
from genmodels.exact.hybrid_monte_carlo import leapfrog
from genmodels.models.flow_torch import phi4_action

STEP_SIZE, NUM_LEAPFROG = 0.25, 40  # of a trajectory, as in `exact.lattice_fields.Phi4`


def configurations(size: int, kappa: float, lam: float, n: int, num_trajectories: int,
                   device: str, seed: int) -> np.ndarray:
    """φ⁴ in equilibrium, (n, L, L) float32: hybrid Monte Carlo, a chain for each, all at once.

    Half of the chains start ordered, half from white noise. `exact.lattice_fields` compiles the
    same with numba, which may be missing where a GPU is; all chains together suit the GPU.
    Raises RuntimeError if the two starts disagree in ⟨|M|⟩ at the end (`check_thermalised`).
    """
    generator = torch.Generator(device).manual_seed(seed)
    action = phi4_action(SimpleNamespace(kappa=kappa, lam=lam))

    def normal() -> torch.Tensor:
        return torch.randn(n, size, size, dtype=torch.float64, device=device, generator=generator)

    def force(x: torch.Tensor) -> torch.Tensor:  # −∂S/∂x (n, L, L)
        around = sum(x.roll(shift, axis) for shift in (-1, 1) for axis in (-2, -1))
        return 2 * kappa * around - 2 * (1 - 2 * lam) * x - 4 * lam * x**3

    def energy(x: torch.Tensor, momentum: torch.Tensor) -> torch.Tensor:  # (n,)
        return action(x) + (momentum**2).sum(dim=(1, 2)) / 2

    x = normal()
    x[: n // 2] += 1
    for _ in range(num_trajectories):
        momentum = normal()
        end, end_momentum = leapfrog(x, momentum, force, STEP_SIZE, NUM_LEAPFROG)
        chance = torch.rand(n, dtype=torch.float64, device=device, generator=generator)
        accept = torch.log(chance) < energy(x, momentum) - energy(end, end_momentum)
        x = torch.where(accept[:, None, None], end, x)
    magnetisation = x.mean(dim=(1, 2)).abs().cpu().numpy()[:, None]  # (n, 1)
    monte_carlo.check_thermalised(magnetisation[: n // 2], magnetisation[n // 2:], "⟨|M|⟩")
    # S(−x) = S(x): which of both is kept is drawn anew.
    signs = torch.randint(2, (n, 1, 1), device=device, generator=generator) * 2 - 1
    return (signs * x).float().cpu().numpy()


def effective_share(log_weights: np.ndarray) -> tuple[float, float]:
    """The effective sample size (Σ w)²/Σ w² divided by n, and its standard error (jackknife)."""
    w = np.exp(log_weights - log_weights.max())  # (n,)
    share, error = monte_carlo.jackknife(lambda mean: mean[0] ** 2 / mean[1],
                                         np.stack([w, w**2], axis=1))
    return float(share), float(error)
