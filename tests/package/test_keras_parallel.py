"""Training on several devices in Keras on JAX: the run is that of one device, also after faults.

JAX divides the CPU into four devices in a process of its own, with this file as its program: on
some of them it runs what `SAME` and `REFUSED` list, and writes what came out.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers, ops

from genmodels.models import vae_keras
from genmodels.training import History, Settings, checkpoint, steps
from genmodels.training.keras import train
from genmodels.training.keras_parallel import Replicated, divided
from genmodels.training.keras_tensors import own_settings

pytestmark = pytest.mark.keras
on_jax = pytest.mark.skipif(keras.backend.backend() != "jax", reason="only JAX has distributions")

# 50 examples in batches of 16, 16, 16 and 2: three devices divide none of them, and of the last one
# a device of four gets no row.
RUN = {"num_epochs": 3, "batch_size": 16, "seed": 1, "progress": False, "precision": "float32"}
RNG = np.random.default_rng(0)
GREY = RNG.random((50, 8, 8))
POWERS = 4.0 ** np.arange(13)[:, None]


def devices(n):
    """The distribution over the first n devices."""
    return keras.distribution.DataParallel(devices=[f"cpu:{i}" for i in range(n)])


def on(n):
    """Where n devices train together; for 0 one device does, without a distribution."""
    return devices(n).scope() if n else contextlib.nullcontext()


def seeded(make, *arguments, **sizes):
    """A model in float64, whose roundings say how far two runs may differ."""
    keras.utils.set_random_seed(0)
    return make(*arguments, dtype="float64", **sizes)


# In it Keras on JAX has no tanh, which it would round to float32.
small_vae = partial(seeded, vae_keras.MLPVAE, 3, 8, shape=(8, 8), likelihood="bernoulli")


def mlp_vae(model=None, **settings):
    model = model or small_vae()
    return model, vae_keras.fit(model, GREY, **{**RUN, **settings})


def conv_vae():
    model = seeded(vae_keras.ConvVAE, 2, shape=(8, 8), periodic=True)
    return model, vae_keras.fit(model, GREY, **{**RUN, "batch_size": 50})


def own_model():
    """Dense layers with dropout, the loss a square, and a term that tells which rows there were."""
    def make(dtype):
        with own_settings(dtype):
            return keras.Sequential([keras.Input((1,)), layers.Dense(8),
                                     layers.Dropout(0.5, seed=1), layers.Dense(1)])

    def batch_loss(batch):
        (x,) = batch.data  # (n, 1)
        return {"loss": model(ops.log(x) - 9)[:, 0] ** 2, "x": x}

    model = seeded(make)
    return model, train(model, (POWERS,), batch_loss, Settings(**{**RUN, "batch_size": 4}))


# What is run, and on how many devices.
SAME = {"mlp-vae": (mlp_vae, (2, 4)), "conv-vae": (conv_vae, (3,)), "own": (own_model, (1, 3, 4))}


def interrupted(folder):
    """Ctrl-C within step 5, then the rest, of a model that was loaded."""
    record = History.record

    def press(self, *arguments):
        record(self, *arguments)
        if self.num_steps == 5:
            signal.raise_signal(signal.SIGINT)

    with on(2):
        small_vae().save(folder / "model.keras")
        History.record = press
        model, history = mlp_vae(keras.saving.load_model(folder / "model.keras"))
        History.record = record
        assert history.num_steps == 5
        return mlp_vae(model, history=history, num_epochs=None, num_steps=7)


class Killed(BaseException):
    """Stands for the end of the process: nothing in `train` catches it."""


def killed(folder):
    """Four devices until step 6; then two, from the checkpoint of step 4."""
    def die(self, *arguments):
        if self.num_steps == 6:
            raise Killed
        record(self, *arguments)

    record, between = History.record, steps.STEPS_BETWEEN_COPIES
    History.record, steps.STEPS_BETWEEN_COPIES = die, 4
    with on(4), contextlib.suppress(Killed):
        mlp_vae(checkpoint=folder / "run")
    History.record, steps.STEPS_BETWEEN_COPIES = record, between
    assert checkpoint.read(folder / "run")[1]["num_steps"] == 4
    with on(2):
        return mlp_vae(checkpoint=folder / "run")


AS_MLP_VAE = {"Ctrl-C": interrupted, "killed": killed}  # in another way


def made_before(folder):
    model = small_vae()
    with on(2):
        mlp_vae(model)


def trained_outside(folder):
    with on(2):
        model = small_vae()
    mlp_vae(model)


def made_elsewhere(folder):
    with on(4):
        model = small_vae()
    with on(2):
        mlp_vae(model)


def one_device_besides(folder):
    with on(2):
        mlp_vae(device="cpu:1")


def divided_model(folder):
    mesh = keras.distribution.DeviceMesh((4,), ["batch"], [f"cpu:{i}" for i in range(4)])
    with keras.distribution.ModelParallel(layout_map=keras.distribution.LayoutMap(mesh)).scope():
        mlp_vae()


def several_processes(folder):
    import jax

    count = jax.process_count
    with on(2):
        model = small_vae()
        jax.process_count = lambda: 3
        try:
            mlp_vae(model)
        finally:
            jax.process_count = count


REFUSED = {
    "made before": (made_before, "ValueError: model must lie on cpu:0, cpu:1, got .* on cpu:0: m"),
    "trained outside": (trained_outside, "ValueError: model must lie on one device, as no distribut"
                                         "ion is set, got .* on cpu:0, cpu:1: make or load it"),
    "made elsewhere": (made_elsewhere, "ValueError: model must lie on cpu:0, cpu:1, got .*, cpu:3"),
    "one device": (one_device_besides, "ValueError: device must be None where .*, got 'cpu:1'"),
    "divided model": (divided_model, "TypeError: .* be keras.*DataParallel, got ModelParallel"),
    "processes": (several_processes, "ValueError: .* of one process's devices, got 3 processes"),
}


def products_of_each(n, num_rows):
    """How many rows of x the products x W within a step have on each of n devices."""
    import jax

    def loss(weight, x):
        return ops.sum(ops.tanh(divided(x) @ weight) ** 2) / num_rows

    with Replicated(devices(n).device_mesh).scope():
        weight, x = (keras.Variable(array, dtype="float32").value
                     for array in (np.ones((5, 7)), np.ones((num_rows, 5))))
        compiled = jax.jit(jax.grad(loss)).lower(weight, x).compile().as_text()
    return sorted({int(rows) for rows in re.findall(r"= f32\[(\d+),7\]\S* dot\(", compiled)} - {5})


def tell(model, history):
    """What came out, as arrays."""
    result = {f"weight {i}": np.array(weight.value) for i, weight in enumerate(model.weights)}
    result |= {f"term {name}": np.array(values) for name, values in history.terms.items()}
    if isinstance(model, vae_keras.MLPVAE):
        result["evaluated"] = np.array(vae_keras.evaluate(model, GREY, batch_size=25))
    return result


def work(folder):
    """The program of the process."""
    for name, (run, sizes) in SAME.items():
        for n in (0, *sizes):
            with on(n):
                np.savez(folder / f"{name}-{n}.npz", **tell(*run()))
    for name, run in AS_MLP_VAE.items():
        np.savez(folder / f"{name}.npz", **tell(*run(folder)))
    np.savez(folder / "products.npz", **{f"{rows} on {n}": products_of_each(n, rows)
                                         for n in (2, 3, 4) for rows in (12, 50)})
    for name, (run, _) in REFUSED.items():
        try:
            said = f"nothing: {run(folder)}"
        except Exception as error:  # the test says which it must be
            said = f"{type(error).__name__}: {error}"
        np.savez(folder / f"{name}.npz", said=said)


# Tests ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What the process wrote, by name."""
    folder = tmp_path_factory.mktemp("devices")
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    done = subprocess.run([sys.executable, __file__, folder], capture_output=True, text=True,
                          env=os.environ | {"XLA_FLAGS": flags, "JAX_ENABLE_X64": "1"})
    assert done.returncode == 0, done.stderr

    def read(name):
        with np.load(folder / f"{name}.npz") as arrays:
            return dict(arrays)
    return read


# Sums in another order differ by some eps = 2e-16 of their terms, which are of order one. Keras's
# Adam divides a gradient g by |g| + 1e-7 at least: one that is zero but for rounding moves its
# weight by up to (learning rate) · eps/1e-7 in each step, here 12 · 4e-3 · 2e-9 in all.
ROUNDING = 1e-10


def equal(ours, theirs, tolerance):
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        np.testing.assert_allclose(array, theirs[name], tolerance, tolerance, err_msg=name)


@on_jax
@pytest.mark.parametrize(("name", "n"), [(name, n) for name, (_, sizes) in SAME.items()
                                         for n in sizes])
def test_several_devices_make_the_run_of_one(name, n, told):
    equal(told(f"{name}-{n}"), told(f"{name}-0"), ROUNDING)


@on_jax
@pytest.mark.parametrize("name", AS_MLP_VAE)
def test_a_run_that_was_cut_short_ends_as_that_of_one_device(name, told):
    equal(told(name), told("mlp-vae-0"), ROUNDING)


@on_jax
@pytest.mark.parametrize("n", [0, 1, 3, 4])
def test_each_example_counts_once_in_an_epoch(n, told):
    """The sum of 1, 4, 16, … tells how often each of them is in it, up to three times."""
    sums = told(f"own-{n}")["term x"] * len(POWERS)
    np.testing.assert_allclose(sums, [POWERS.sum()] * 3, rtol=20 * 2.0**-52)  # 20 roundings


@on_jax
@pytest.mark.parametrize("n", [2, 3, 4])
@pytest.mark.parametrize("num_rows", [12, 50])
def test_each_device_works_on_its_share_of_a_batch(n, num_rows, told):
    """Not on all of it, which would give the same run: at most ⌈rows/n⌉ of the rows."""
    assert told("products")[f"{num_rows} on {n}"].tolist() == [-(-num_rows // n)]


@on_jax
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name, told):
    said = str(told(name)["said"])
    assert re.match(REFUSED[name][1], said), said


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX has distributions")
def test_other_backends_have_no_distributions():
    with devices(1).scope(), pytest.raises(ValueError, match=r"^KERAS_BACKEND must be 'jax' where "
                                           rf".* got '{keras.backend.backend()}'"):
        mlp_vae(vae_keras.MLPVAE(3, 8, shape=(8, 8)))


if __name__ == "__main__":
    work(Path(sys.argv[1]))
