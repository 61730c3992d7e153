"""Too little memory on a device: what to lower is named, and the model can be used afterwards.

The frameworks' own exceptions are raised where they would be: no GPU is at hand.
"""

import sys
import weakref

import keras
import numpy as np
import pytest
import torch

from genmodels.models import iwae_torch, unet_torch, vae_keras, vae_torch
from genmodels.models.conversion import to_arrays
from genmodels.training import keras as keras_training
from genmodels.training import torch as torch_training
from genmodels.training.memory import is_out_of_memory, memory_grows_with

pytestmark = pytest.mark.keras

IMAGES = np.random.default_rng(1).random((10, 28, 28), dtype=np.float32)
RUN = {"batch_size": 4, "learning_rate": 0.01, "recipe": "lecture", "progress": False}
ON_A_GPU = ("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 15.77 "
            "GiB of which 9.12 GiB is free.")
SAYINGS = {  # as each of them says it
    "CUDA": torch.OutOfMemoryError(ON_A_GPU),
    "Apple": RuntimeError("MPS backend out of memory (MPS allocated: 8.89 GB, other allocations: "
                          "400.00 KB, max allowed: 9.07 GB). Tried to allocate 256.00 MB on "
                          "private pool."),
    "cuBLAS": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling "
                           "`cublasCreate(handle)`"),
    "CPU": RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't "
                        "allocate memory: you tried to allocate 4000000000000000 bytes."),
    "Keras": RuntimeError("Exception encountered when calling Dense.call().\n\n" + ON_A_GPU),
}


def of_the_backend():
    """The exception of the backend of Keras."""
    if keras.backend.backend() == "torch":
        return SAYINGS["CUDA"]
    if keras.backend.backend() == "jax":
        return sys.modules["jax"].errors.JaxRuntimeError(
            "RESOURCE_EXHAUSTED: Out of memory allocating 21474836480 bytes.")
    return sys.modules["tensorflow"].errors.ResourceExhaustedError(
        None, None, "OOM when allocating tensor with shape[128,64,28,28] and type float")


@pytest.mark.parametrize("error", [*SAYINGS.values(), of_the_backend()],
                         ids=[*SAYINGS, "the backend of Keras"])
def test_what_the_frameworks_raise_names_what_to_lower(error):
    with (pytest.raises(MemoryError, match=r"^batch_size or num_samples must be lower, since the "
                        "memory of the device does not suffice: ") as raised,
          memory_grows_with("batch_size", "num_samples")):
        raise error
    assert raised.value.__cause__ is error
    assert "\n" not in str(raised.value) and str(raised.value).endswith(str(error).split()[-1])


@pytest.mark.parametrize("error", [
    RuntimeError("mat1 and mat2 shapes cannot be multiplied (4x784 and 512x512)"),
    ValueError("the joke must be good, got one that is out of memory"),
    MemoryError("Unable to allocate 71.1 PiB"),  # the computer's own, of which NumPy says all
    KeyboardInterrupt(),
])
def test_all_else_stays_what_it_is(error):
    assert not is_out_of_memory(error)
    with pytest.raises(type(error)) as raised, memory_grows_with("batch_size"):
        raise error
    assert raised.value is error


def test_the_innermost_name_counts():
    with (pytest.raises(MemoryError, match=r"^inner must be lower"),
          memory_grows_with("outer"), memory_grows_with("inner")):
        raise SAYINGS["CUDA"]


def test_what_the_failed_step_had_on_the_device_is_free_again():
    """Though a notebook keeps the last error, and with it the frames of all functions."""
    held = []

    class Tensor:
        def __init__(self):
            held.append(weakref.ref(self))

    def loss(batch):
        kept = Tensor()
        with memory_grows_with("num_samples"):
            also_kept = Tensor()
            raise torch.OutOfMemoryError(ON_A_GPU) from None
        return kept, also_kept

    def train(batch):
        kept = Tensor()
        loss(batch)
        return kept

    with pytest.raises(MemoryError) as last_error:
        memory_grows_with("batch_size")(train)(None)
    assert "num_samples" in str(last_error.value)
    assert len(held) == 3 and not any(tensor() for tensor in held)


def model_of(vae):
    keras.utils.set_random_seed(0)
    torch.manual_seed(0)
    return vae.MLPVAE(latent_dim=2, hidden_dim=8)


def equal(ours, theirs):
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name])


def usable(vae, model):
    history = vae.fit(model, IMAGES, num_steps=2, **{**RUN, "batch_size": 2})
    assert np.isfinite(history["loss"]).all()
    assert np.isfinite(vae.evaluate(model, IMAGES)[0]).all()


@pytest.mark.parametrize("where", ["forward", "step"])
def test_out_of_memory_in_a_step_of_pytorch(monkeypatch, where):
    model, twin = model_of(vae_torch), model_of(vae_torch)
    owner = {"forward": vae_torch.MLPVAE, "step": torch.optim.Adam}[where]
    method, calls = getattr(owner, where), []

    def fails_at_the_third(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            raise torch.OutOfMemoryError(ON_A_GPU)
        return method(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(owner, where, fails_at_the_third)
        with pytest.raises(MemoryError, match=r"^batch_size must be lower, .*20\.00 GiB"):
            vae_torch.fit(model, IMAGES, num_steps=5, **RUN)
    vae_torch.fit(twin, IMAGES, num_steps=2, **RUN)
    equal(to_arrays(model), to_arrays(twin))  # those of the two steps that were complete
    usable(vae_torch, model)


def test_out_of_memory_in_a_step_of_keras(monkeypatch):
    """After the step was done: JAX's compiled one then has the old weights, and keeps them."""
    make, calls, error = keras_training.Step.make_train_function, [], of_the_backend()

    def make_one_that_fails(self, force=False):
        make(self, force)
        step = self.train_function

        def fails_at_the_third(*arguments):
            calls.append(1)
            result = step(*arguments)
            if len(calls) == 3:
                raise error
            return result

        self.train_function = fails_at_the_third

    model = model_of(vae_keras)
    before = to_arrays(model)
    with monkeypatch.context() as patch:
        patch.setattr(keras_training.Step, "make_train_function", make_one_that_fails)
        with pytest.raises(MemoryError, match=r"^batch_size must be lower") as raised:
            vae_keras.fit(model, IMAGES, num_steps=5, **RUN)
    assert raised.value.__cause__ is error and len(calls) == 3
    if keras.backend.backend() == "jax":
        equal(to_arrays(model), before)  # the last copy
    usable(vae_keras, model)


@pytest.mark.parametrize(("vae", "training", "place"), [
    (vae_torch, torch_training, "place"), (vae_keras, keras_training, "placed")])
@pytest.mark.parametrize("call", [1, 2, 3])
def test_data_or_an_epoch_that_do_not_fit(monkeypatch, vae, training, place, call):
    """First the data go to the device, then (in Keras after the rates) what an epoch draws."""
    original, calls = getattr(training, place), []

    def fails(*args):
        calls.append(1)
        if len(calls) == call:
            raise torch.OutOfMemoryError(ON_A_GPU)
        return original(*args)

    model = model_of(vae)
    with monkeypatch.context() as patch:
        patch.setattr(training, place, fails)
        with pytest.raises(MemoryError) as raised:
            vae.fit(model, IMAGES, num_steps=2, **RUN)
    rates = vae is vae_keras and call == 2
    assert str(raised.value).startswith(
        ("batch_size" if rates else "the number of examples") + " must be lower")
    usable(vae, model)


def test_what_is_computed_with_a_model_names_its_own_settings(monkeypatch):
    def fails(*args, **kwargs):
        raise torch.OutOfMemoryError(ON_A_GPU)

    images, binary = IMAGES, (IMAGES > 0.5).astype(np.float32)
    vae, iwae, unet = model_of(vae_torch), iwae_torch.BinaryVAE(2, 8), unet_torch.UNet((16, 16, 16))
    denoiser = unet.denoiser()
    for owner, name in ((vae_torch.VAE, "forward"), (vae_torch.VAE, "_decode"),
                        (vae_torch.VAE, "_importance"), (unet_torch.UNet, "forward")):
        monkeypatch.setattr(owner, name, fails)
    labels = np.arange(10)
    for settings, use in {
            "batch_size": lambda: vae_torch.evaluate(vae, images),
            "n": lambda: vae.sample(3),
            "num_importance_samples or batch_size": lambda: iwae_torch.fit(
                iwae, images, num_importance_samples=5, num_steps=1, **RUN),
            "samples_per_pass or num_samples": lambda: iwae_torch.log_weights(
                iwae, binary, 3, progress=False),
            "batch_size ": lambda: unet_torch.loss_terms(unet, images, labels),
            "batch_size  ": lambda: denoiser(images, 0.5),
    }.items():
        with pytest.raises(MemoryError, match=f"^{settings.strip()} must be lower"):
            use()
