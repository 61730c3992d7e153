"""What a platform has not: float64 on Apple's GPUs, signals and process groups on Windows.

Stand-ins say so here: a mode of PyTorch in which an operation that makes float64 fails, and modules
that lack what they lack there.
"""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from genmodels.exact.lattice_fields import Phi4
from genmodels.models import (
    classifier_torch,
    flow_torch,
    iwae_torch,
    lattice_torch,
    masked_torch,
    unet_torch,
    vae_torch,
)
from genmodels.training import torch_state

CODE = Path(__file__).resolve().parents[2] / "code"
RNG = np.random.default_rng(0)
DIGITS = RNG.random((6, 28, 28)).astype(np.float32)
LABELS = np.arange(6) % 3
SPINS = np.where(RNG.random((6, 4, 4)) < 0.5, -1.0, 1.0).astype(np.float32)
FIELDS = RNG.normal(size=(6, 4, 4)).astype(np.float32)
SHORT = {"num_steps": 2, "batch_size": 3, "progress": False, "device": "cpu"}


class WithoutFloat64(TorchDispatchMode):
    """An operation fails that makes float64 of other tensors, or of none, as it does on "mps".

    Arrays of NumPy, and copies, may be of float64: they lie on the CPU, as does what is made of
    them alone.
    """

    ON_CPU = (torch.ops.aten._to_copy, torch.ops.aten.lift_fresh)

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        given, made = ([each.dtype for each in tree_leaves(values)
                        if isinstance(each, torch.Tensor) and each.is_floating_point()]
                       for values in ((args, kwargs), result))
        if (torch.float64 in made and set(given) != {torch.float64}
                and operation.overloadpacket not in self.ON_CPU):
            raise TypeError(f"the device must have float64, which {operation} makes")
        return result


def vae():
    model = vae_torch.MLPVAE(latent_dim=2, hidden_dim=8)
    vae_torch.fit(model, DIGITS, **SHORT)
    vae_torch.evaluate(model, DIGITS)
    model.sample(2, seed=0), model.reconstruct(DIGITS)


def unet():
    model = unet_torch.UNet()
    for loss in ("simple", "elbo"):
        unet_torch.fit(model, DIGITS, LABELS, loss=loss, **SHORT)
    unet_torch.loss_terms(model, DIGITS, LABELS)
    model.denoiser(LABELS)(DIGITS, 0.5)


def classifier():
    model = classifier_torch.Classifier()
    classifier_torch.fit(model, DIGITS, LABELS, **SHORT)
    model.features(DIGITS), model.classify(DIGITS)


def iwae():
    model = iwae_torch.BinaryVAE()
    iwae_torch.fit(model, DIGITS, num_importance_samples=2, **SHORT)
    iwae_torch.log_weights(model, (DIGITS > 0.5).astype(np.float32), 3, progress=False)


def lattice():
    model = lattice_torch.LatticeDenoiser(4)
    lattice_torch.fit(model, FIELDS, **SHORT)
    model.denoiser()(FIELDS, 0.5)


def flow():
    model = flow_torch.Flow(size=4, channels=3)
    action = flow_torch.phi4_action(Phi4(4, kappa=0.2, lam=0.02))
    model.set_base(FIELDS)
    flow_torch.fit(model, FIELDS, action, **SHORT)
    model.sample(2, seed=0), model.log_density(FIELDS)


def masked():
    model = masked_torch.MaskedSpins((4, 4), num_labels=3)
    masked_torch.fit(model, SPINS, LABELS, **SHORT)
    masked_torch.loss_terms(model, SPINS, LABELS)
    order = masked_torch.random_orders(6, (4, 4), 4, np.random.default_rng(0))
    x, log_q = model.sample(order, LABELS)
    np.testing.assert_allclose(model.log_probability(x, LABELS, order), log_q,
                               rtol=1e-5)  # float32 rounding
    assert log_q.dtype == np.float64


@pytest.mark.parametrize("use", [vae, unet, classifier, iwae, lattice, flow, masked],
                         ids=lambda use: use.__name__)
def test_no_model_makes_float64_on_the_device(use):
    with WithoutFloat64():
        use()


def test_the_stand_in_can_fail():
    with WithoutFloat64(), pytest.raises(TypeError, match="must have float64"):
        torch.zeros(2).new_zeros(2, dtype=torch.float64)


def test_a_model_of_float64_does_not_go_to_a_gpu_of_apple():
    model = torch.nn.Linear(2, 1)
    available = ["cpu", "mps:0"]
    assert torch_state.device_for(model, None, available) == "mps:0"
    assert torch_state.device_for(model.double(), None, available) == "cpu"
    assert torch_state.device_for(model, None, ["cpu", "cuda:0"]) == "cuda:0"
    assert torch_state.device_for(model, None, ["cpu"]) == "cpu"
    assert torch_state.device_for(model, "cpu", available) == "cpu"
    with pytest.raises(ValueError, match=r"device must have float64, the type of weight, .* got "
                                         r"'mps:0': use 'cpu', or model\.float\(\)"):
        torch_state.device_for(model, "mps:0", available)


@pytest.fixture
def benchmark(monkeypatch):
    """benchmarks/gpu.py as a module; its path and its variables end with the test."""
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu.py"
    spec = importlib.util.spec_from_file_location("gpu", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.setitem(sys.modules, "gpu", module)
    with patch.dict(os.environ):
        spec.loader.exec_module(module)
        yield module


def test_without_an_alarm_the_parts_of_the_benchmark_run_to_their_end(benchmark, monkeypatch):
    with pytest.raises(TimeoutError), benchmark.at_most(0.05):
        time.sleep(1)
    monkeypatch.delattr(signal, "SIGALRM")  # as on Windows
    with benchmark.at_most(0.01):
        time.sleep(0.05)


# PyTorch with CUDA, beside TensorFlow ------------------------------------------------------------


VISIBLE = "import tensorflow.python.pywrap_dlopen_global_flags"  # as TensorFlow 2.20 and 2.21 do


@pytest.mark.parametrize(("before", "expected"), [
    ("", "loaded"), (VISIBLE, "hidden"), ("import tensorflow", "left alone"),
    (f"import triton\n{VISIBLE}", "loaded"), ("shutil.rmtree('tensorflow')", "left alone")])
def test_triton_is_not_loaded_after_tensorflow(before, expected, tmp_path):
    """Stand-ins of this name: the real ones end the process."""
    for name in ("triton", "tensorflow", "tensorflow/python"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    (tmp_path / "tensorflow/python/pywrap_dlopen_global_flags.py").touch()
    code = f"""
import importlib.machinery, shutil, sys
sys.path = [{str(tmp_path)!r}, *(path for path in sys.path if "site-packages" not in path)]
{before}
import genmodels
triton = sys.modules.get("triton", "left alone")
print("hidden" if triton is None else triton if triton == "left alone" else "loaded")
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, text=True,
                          stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(CODE)})
    assert done.stdout == f"{expected}\n"
