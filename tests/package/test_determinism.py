"""GENMODELS_DETERMINISTIC switches each framework to what gives the same bits in every run."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import torch

from genmodels.models import vae_keras, vae_torch
from genmodels.training import determinism, keras_tensors, torch_tensors

pytestmark = pytest.mark.keras

IMAGES = np.random.default_rng(1).random((6, 28, 28), dtype=np.float32)


@pytest.fixture
def torchs_own():
    """PyTorch's settings, which are put back."""
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    assert before == (False, False)
    yield
    torch_tensors.set_deterministic_mode(False)
    torch.use_deterministic_algorithms(before[0])
    torch.backends.cudnn.benchmark = before[1]


@pytest.mark.parametrize(("value", "wanted"), [("1", True), ("0", False), ("", False),
                                               (None, False)])
def test_what_the_variable_says(monkeypatch, value, wanted):
    monkeypatch.delenv(determinism.VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(determinism.VARIABLE, value)
    assert determinism.deterministic_mode_is_wanted() is wanted


@pytest.mark.parametrize("vae", [vae_torch, vae_keras])
def test_any_other_value_is_refused(monkeypatch, vae):
    model = vae.MLPVAE(2, 8)
    monkeypatch.setenv(determinism.VARIABLE, "yes")
    with pytest.raises(ValueError, match="GENMODELS_DETERMINISTIC must be 0 or 1, got 'yes'"):
        vae.fit(model, IMAGES, num_steps=1, progress=False)


def test_pytorch_is_switched_on_and_off_again(monkeypatch, torchs_own):
    def train():
        vae_torch.fit(vae_torch.MLPVAE(2, 8), IMAGES, num_steps=1, progress=False)
        return torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark

    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    torch.use_deterministic_algorithms(True, warn_only=True)  # the user's own settings
    torch.backends.cudnn.benchmark = True
    for value, mode, warn_only in (("0", (True, True), True), ("1", (True, False), False),
                                   ("1", (True, False), False), ("", (True, True), True)):
        monkeypatch.setenv(determinism.VARIABLE, value)
        assert train() == mode
        assert torch.is_deterministic_algorithms_warn_only_enabled() is warn_only
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def test_pytorch_is_switched_on_again_before_each_run(monkeypatch, torchs_own):
    monkeypatch.setenv(determinism.VARIABLE, "1")
    for _ in range(2):
        vae_torch.fit(vae_torch.MLPVAE(2, 8), IMAGES, num_steps=1, progress=False)
        assert torch.are_deterministic_algorithms_enabled()
        torch.use_deterministic_algorithms(False)  # by the user


def test_a_cpu_computes_the_same(monkeypatch, torchs_own):
    losses = []
    for value in ("0", "1"):
        monkeypatch.setenv(determinism.VARIABLE, value)
        torch.manual_seed(0)
        losses.append(vae_torch.fit(vae_torch.ConvVAE(), IMAGES, num_steps=3, device="cpu",
                                    progress=False)["loss"])
    assert losses[0] == losses[1]


def test_a_setting_of_cublas_is_left_alone(monkeypatch, torchs_own):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    torch_tensors.set_deterministic_mode(True)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


FIT = """
import os, sys
import numpy as np, {first}
from genmodels.models.{vae} import MLPVAE, evaluate, fit
x = np.random.default_rng(0).random((6, 28, 28), dtype=np.float32)
history = fit(MLPVAE(2, 8), x, num_steps=2, progress=False)
print(np.isfinite(history["loss"]).all(), {then})
"""


def in_new_process(vae, first, then, **variables):
    """The last line that a training prints in a process of its own."""
    done = subprocess.run([sys.executable, "-c", FIT.format(vae=vae, first=first, then=then)],
                          env=os.environ | variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize("value", ["1", "0"])
def test_from_the_start_of_a_process(value):
    then = "torch.are_deterministic_algorithms_enabled()"
    said = in_new_process("vae_torch", "torch", then, GENMODELS_DETERMINISTIC=value)
    assert said == f"True {value == '1'}"


def test_the_backend_of_keras_is_told(monkeypatch, torchs_own):
    backend = keras.backend.backend()
    if backend == "torch":
        keras_tensors.set_deterministic_mode(True)
        assert torch.are_deterministic_algorithms_enabled()
    elif backend == "tensorflow":
        calls = []
        experimental = sys.modules["tensorflow"].config.experimental
        monkeypatch.setattr(experimental, "enable_op_determinism", lambda: calls.append(1))
        for value, expected in (("0", []), ("1", [1])):
            monkeypatch.setenv(determinism.VARIABLE, value)
            vae_keras.fit(vae_keras.MLPVAE(2, 8), IMAGES, num_steps=1, progress=False)
            assert calls == expected
    else:
        monkeypatch.delenv("XLA_FLAGS", raising=False)
        monkeypatch.setenv(determinism.VARIABLE, "1")
        with pytest.raises(ValueError, match="GENMODELS_DETERMINISTIC must be set before genmodels "
                                             "is imported, got 1 when JAX already ran: restart"):
            vae_keras.fit(vae_keras.MLPVAE(2, 8), IMAGES, num_steps=1, progress=False)


def test_keras_trains_in_this_mode():
    """On a CPU it is harmless; on JAX the flags that were there stay."""
    flags = "--xla_cpu_multi_thread_eigen=false"
    said = in_new_process("vae_keras", "keras", "os.environ['XLA_FLAGS']", XLA_FLAGS=flags,
                          GENMODELS_DETERMINISTIC="1")
    on_jax = f" {keras_tensors.XLA_FLAG}" * (keras.backend.backend() == "jax")
    assert said == f"True {flags}{on_jax}"
