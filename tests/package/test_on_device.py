"""What is tested on a GPU where PyTorch sees one, and on the CPU elsewhere.

    python -m pytest -m device

PyTorch and pytest are enough; Keras is tested where it is installed, on whatever backend.
"""

import copy
import os
import sys

import numpy as np
import pytest
import torch

from genmodels.models import (
    classifier_torch,
    flow_torch,
    iwae_torch,
    lattice_torch,
    masked_torch,
    unet_torch,
    vae_torch,
)
from genmodels.training import determinism, torch_tensors
from genmodels.training import torch as torch_training

pytestmark = pytest.mark.device

RNG = np.random.default_rng(0)
DIGITS = RNG.random((40, 28, 28)).astype(np.float32)
LABELS = np.arange(40) % 10
SPINS = np.where(RNG.random((40, 8, 8)) < 0.5, -1.0, 1.0).astype(np.float32)
FIELDS = RNG.normal(size=(40, 8, 8)).astype(np.float32)
RUN = {"batch_size": 16, "progress": False, "precision": "float32"}
# The place where `fit` trains if it is told nothing: the first GPU.
DEVICE = torch_tensors.available_devices()[:2][-1]
EPS = float(np.finfo(np.float32).eps)


def action(x: torch.Tensor) -> torch.Tensor:
    """An even action of fields, (n,)."""
    return (0.5 * x**2 + 0.02 * x**4).sum(dim=(1, 2))


# How each model is made, and trained with further settings.
MODELS = {
    "MLPVAE": (vae_torch.MLPVAE, lambda model, **more: vae_torch.fit(model, DIGITS, **more)),
    "ConvVAE": (vae_torch.ConvVAE, lambda model, **more: vae_torch.fit(model, DIGITS, **more)),
    "BinaryVAE": (lambda: iwae_torch.BinaryVAE(8, 32), lambda model, **more: iwae_torch.fit(
        model, DIGITS, num_importance_samples=10, **more)),
    "UNet": (lambda: unet_torch.UNet((16, 16, 16)),
             lambda model, **more: unet_torch.fit(model, DIGITS, LABELS, **more)),
    "Classifier": (classifier_torch.Classifier, lambda model, **more: classifier_torch.fit(
        model, DIGITS, LABELS, **more)),
    "Flow": (lambda: flow_torch.Flow(8, 3), lambda model, **more: flow_torch.fit(
        model, FIELDS, action, **more)),
    "MaskedSpins": (lambda: masked_torch.MaskedSpins((8, 8), num_labels=10),
                    lambda model, **more: masked_torch.fit(model, SPINS, LABELS, **more)),
    "LatticeDenoiser": (lambda: lattice_torch.LatticeDenoiser(8),
                        lambda model, **more: lattice_torch.fit(model, FIELDS, **more)),
}


@pytest.fixture(autouse=True)
def without_tf32():
    """Convolutions in float32, as a comparison with a CPU's wants it."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


@pytest.fixture
def deterministic(monkeypatch):
    monkeypatch.setenv(determinism.VARIABLE, "1")
    yield
    torch_tensors.set_deterministic_mode(False)


@pytest.fixture(params=MODELS)
def made(request):
    """A function that makes the model, the same each time, and one that trains it."""
    make, fit = MODELS[request.param]

    def seeded():
        torch.manual_seed(0)
        return make()

    return seeded, lambda model, **more: fit(model, **{**RUN, **more})


def weights(model):
    return [weight.detach().cpu().clone() for weight in model.parameters()]


def test_training_goes_to_the_device(made):
    make, fit = made
    model = make()
    history = fit(model, num_epochs=2)
    assert str(next(model.parameters()).device) == DEVICE
    assert np.isfinite(history["loss"]).all() and len(history["loss"]) == 2


def test_the_first_step_is_that_of_a_cpu(made):
    """Loss and noise of an epoch of one step, relative to the same in float64.

    Each example's loss is a sum of at most 784 terms of one sign, whose factors went through
    networks: 100 roundings more are far more than their layers have. The binary VAE draws its
    pixels on the device, from other random numbers on another device.
    """
    make, fit = made
    model = make()
    if isinstance(model, iwae_torch.BinaryVAE):
        pytest.skip("draws on the device")
    exact = fit(copy.deepcopy(model).double(), num_steps=1, batch_size=40, device="cpu")
    history = fit(model, num_steps=1, batch_size=40)
    scale = max(abs(values[0]) for values in exact.terms.values())
    assert abs(history["loss"][0] - exact["loss"][0]) < (784 + 100) * EPS * scale


def test_deterministic_runs_have_the_same_bits(made, deterministic):
    make, fit = made
    runs = []
    for _ in range(2):
        model = make()
        runs.append((fit(model, num_epochs=3, precision=None)["loss"], weights(model)))
    assert torch.are_deterministic_algorithms_enabled()
    (losses, ours), (same, theirs) = runs
    assert losses == same
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_a_run_goes_on_from_its_checkpoint(made, deterministic, tmp_path, monkeypatch):
    """In pieces, by way of the files on a disk, it has the bits of one run."""
    make, fit = made
    whole = make()
    expected = fit(whole, num_steps=7)
    step, calls = torch.optim.Adam.step, []

    def stopped(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.Adam, "step", stopped)
        assert fit(make(), num_steps=7, checkpoint=tmp_path).num_steps == 4
    model = make()
    assert fit(model, num_steps=7, checkpoint=tmp_path)["loss"] == expected["loss"]
    assert all(torch.equal(a, b) for a, b in zip(weights(model), weights(whole), strict=True))


def test_an_epoch_needs_two_copies_to_the_device(made, monkeypatch):
    make, fit = made
    place, calls = torch_training.place, []
    monkeypatch.setattr(torch_training, "place", lambda *args: calls.append(1) or place(*args))
    counts = []
    for num_epochs in (1, 3):
        calls.clear()
        fit(make(), num_epochs=num_epochs)
        counts.append(len(calls))
    assert counts[1] - counts[0] <= 2 * 2


def test_a_loss_that_is_no_number_gives_the_last_good_weights_back(monkeypatch):
    model = vae_torch.MLPVAE(2, 8)
    history = vae_torch.fit(model, DIGITS, num_steps=2, **RUN)
    before = weights(model)
    with pytest.raises(FloatingPointError, match="NaN or infinite at step"):
        vae_torch.fit(model, DIGITS, num_steps=20, history=history, learning_rate=1e30, **RUN)
    assert all(torch.isfinite(weight).all() for weight in weights(model))
    assert history.num_steps == 2 and all(map(torch.equal, weights(model), before))


def test_memory_that_runs_out_names_what_to_lower():
    """Petabytes of samples, which no device has; the model is as it was, and its memory is free."""
    model = iwae_torch.BinaryVAE(2, 8)
    before = weights(model)
    with pytest.raises(MemoryError, match=r"^num_importance_samples or batch_size must be lower"):
        iwae_torch.fit(model, DIGITS, num_importance_samples=10**13, num_steps=1, **RUN)
    assert all(map(torch.equal, weights(model), before))
    assert np.isfinite(iwae_torch.fit(model, DIGITS, num_steps=2, **RUN)["loss"]).all()


@pytest.mark.skipif(DEVICE == "cpu", reason="no GPU")
def test_a_gpu_is_what_its_names_say():
    for name in ("gpu", "cuda", DEVICE) if DEVICE.startswith("cuda") else (DEVICE,):
        model = vae_torch.MLPVAE(2, 8)
        vae_torch.fit(model, DIGITS, num_steps=1, device=name, **RUN)
        assert str(next(model.parameters()).device) == DEVICE


@pytest.mark.keras
def test_keras_takes_the_first_step_of_pytorch(monkeypatch):
    """With the same weights; on the device that each of them chooses."""
    if "keras" not in sys.modules and not os.environ.get("KERAS_BACKEND"):
        monkeypatch.setenv("KERAS_BACKEND", "torch")
    pytest.importorskip("keras")
    from genmodels.models import vae_keras
    from genmodels.models.conversion import copy_weights

    ours, theirs = vae_torch.MLPVAE(), vae_keras.MLPVAE()
    copy_weights(ours, theirs)
    losses = [vae.fit(model, DIGITS, num_steps=1, **{**RUN, "batch_size": 40})["loss"][0]
              for vae, model in ((vae_torch, ours), (vae_keras, theirs))]
    # 784 roundings each; matrix products in TF32, where JAX has them, have an eps of 2⁻¹⁰
    assert losses[0] == pytest.approx(losses[1], rel=2 * 784 * EPS)
