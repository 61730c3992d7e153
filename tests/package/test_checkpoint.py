"""Checkpoints: a run whose process is killed goes on as if nothing had happened."""

import functools
import json
import os
import random
import shutil
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
import safetensors.numpy
import torch

from genmodels.models import unet_torch, vae_keras, vae_torch
from genmodels.models.conversion import to_arrays
from genmodels.training import Settings, checkpoint
from genmodels.training.torch import train

X = np.random.default_rng(0).random((50, 8, 8))
VAES = {"torch": vae_torch, "keras": vae_keras}
each_vae = pytest.mark.parametrize("vae", VAES.values(), ids=VAES)
RUN = {"num_steps": 250, "batch_size": 16, "seed": 1, "progress": False, "precision": "float32"}


def make(vae, **sizes):
    keras.utils.set_random_seed(0)
    torch.manual_seed(0)
    return vae.MLPVAE(**{"latent_dim": 2, "hidden_dim": 8, "shape": (8, 8), **sizes})


def equal(vae, ours, theirs):
    rtol = 0 if vae is vae_torch else 1e-5  # Keras's kernels may split sums
    for name, array in to_arrays(ours).items():
        np.testing.assert_allclose(array, to_arrays(theirs)[name], rtol=rtol, atol=rtol)


def examples(vae):
    """Fifty, so that the last batch is smaller; Keras would compile another step for that."""
    return X if vae is vae_torch else X[:48]


class Killed(BaseException):
    """Stands for the end of the process: nothing in `train` catches it."""


def killed_at(step, vae, model, folder, monkeypatch, **settings):
    from genmodels.training import History
    record = History.record

    def die(self, *arguments):
        if self.num_steps == step:
            raise Killed
        record(self, *arguments)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(History, "record", die)
        vae.fit(model, examples(vae), checkpoint=folder, **{**RUN, **settings})


@functools.cache
def whole_run(vae):
    """A model and its history, which no test changes."""
    model = make(vae)
    return model, vae.fit(model, examples(vae), **RUN)


@pytest.mark.keras
@each_vae
@pytest.mark.parametrize("step", [0, 99, 100, 230])
def test_a_run_that_was_killed_equals_one_that_was_not(vae, step, tmp_path, monkeypatch):
    whole, expected = whole_run(vae)
    killed_at(step, vae, make(vae), tmp_path, monkeypatch)
    assert json.loads((tmp_path / "checkpoint.json").read_text())["num_steps"] == step // 100 * 100
    model = make(vae)  # of a new process
    history = vae.fit(model, examples(vae), checkpoint=tmp_path, **RUN)
    equal(vae, model, whole)
    assert history.num_steps == 250
    for name, values in expected.terms.items():
        np.testing.assert_allclose(history[name], values, rtol=0 if vae is vae_torch else 1e-5)
    assert len(list(tmp_path.glob("[!.]*"))) == 3  # and the lock
    # a run that is complete is not run again
    again = vae.fit(make(vae), examples(vae), checkpoint=tmp_path, **RUN)
    assert again.num_steps == 250


TRAINING = """
import numpy as np
from genmodels.models import {name} as vae
from genmodels.models.conversion import from_arrays, to_arrays

def weights_of_run(num_steps, folder=None):
    model, rng = vae.MLPVAE(2, 8, shape=(8, 8)), np.random.default_rng(0)
    from_arrays(model, {{name: 0.2 * rng.standard_normal(array.shape)
                        for name, array in to_arrays(model).items()}})
    vae.fit(model, rng.random((48, 8, 8)), num_steps=num_steps, batch_size=16, seed=1,
            progress=False, precision="float32", checkpoint=folder)
    return to_arrays(model)
"""
PROGRAM = TRAINING + """
import signal
import sys
from genmodels.training import History
folder, num_steps, reported = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
record = History.record

def report(self, *arguments):
    if self.num_steps >= reported:
        print(self.num_steps, flush=True)
        if self.num_steps == num_steps - 1:
            signal.pause()  # the kill is on its way
    record(self, *arguments)

History.record = report
np.savez(folder + "/weights.npz", **weights_of_run(num_steps, folder))
"""


@pytest.mark.keras
@each_vae
def test_kill_9_at_a_random_step(vae, tmp_path):
    """Killed from outside as soon as it says that it has reached a step, and while it goes on.

    GENMODELS_KILLS says how often; the steps are drawn, not the times.
    """
    kills, num_steps = int(os.environ.get("GENMODELS_KILLS", 2)), 600
    framework, name = next(name for name in VAES if VAES[name] is vae), vae.__name__.split(".")[-1]
    command = [sys.executable, "-c", PROGRAM.format(name=name), str(tmp_path / "killed"),
               str(num_steps)]
    killed = []
    for step in sorted(random.Random(framework).sample(range(num_steps - 1), kills)):
        with subprocess.Popen([*command, str(step)], stdout=subprocess.PIPE) as process:
            first = process.stdout.readline()
            process.kill()
            killed.append(int((process.stdout.read().split() or [first])[-1]))
        assert process.returncode == -signal.SIGKILL
        run = json.loads((tmp_path / "killed/checkpoint.json").read_text())
        assert run["num_steps"] <= killed[-1] < num_steps
    print(f"\n{framework}: {len(killed)} kills before the run of {num_steps} steps was complete, "
          f"during the steps {', '.join(str(step + 1) for step in killed)} or just after")
    subprocess.run([*command, str(num_steps)], check=True)
    here = {}
    exec(TRAINING.format(name=name), here)
    whole = here["weights_of_run"](num_steps)
    with np.load(tmp_path / "killed" / "weights.npz") as resumed:
        for name, array in whole.items():
            rtol = 0 if vae is vae_torch else 1e-4  # Keras's kernels may split sums
            np.testing.assert_allclose(resumed[name], array, rtol=rtol, atol=rtol)


# Bad input --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A checkpoint that no test changes."""
    folder = tmp_path_factory.mktemp("written")
    vae_torch.fit(make(vae_torch), X, checkpoint=folder, **RUN)
    return folder


@pytest.fixture
def folder(written, tmp_path):
    return shutil.copytree(written, tmp_path / "folder")


def spoil(name, change):
    def damage(folder):
        path = next(folder.glob(name))
        path.write_bytes(change(path.read_bytes()))
    return damage


DAMAGED = {
    "weights truncated": (spoil("weights-*", lambda data: data[:-7]), "weights-250.*truncated"),
    "optimiser altered": (spoil("optimizer-*", lambda data: data[:-1] + b"x"), "optimizer-250"),
    "weights deleted": (lambda folder: next(folder.glob("weights-*")).unlink(), "missing, trunc"),
    "no JSON": (spoil("*.json", lambda data: data[:50]), "damaged"),
    "another JSON": (spoil("*.json", lambda data: b"[1]"), "damaged"),
    "newer": (spoil("*.json", lambda data: data.replace(b'"version": 1', b'"version": 2')),
              "version 1 at most, got version 2"),
    "of a later layout": (spoil("*.json", lambda data: b'{"version": 2, "parts": []}'),
                          "version 1 at most, got version 2"),
    "terms of another type": (spoil("*.json", lambda data: data.replace(b'"terms": {', b'"x": {')),
                              "damaged .*: terms is None"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_checkpoint(folder, damage, message):
    damage(folder)
    model = make(vae_torch)
    before = to_arrays(model)
    with pytest.raises(ValueError, match=message):
        vae_torch.fit(model, X, checkpoint=folder, **RUN)
    for name, array in to_arrays(model).items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize(("changes", "message"), [
    ({"seed": 2}, "seed=2, got seed=1"), ({"num_steps": 300}, "schedule"),
    ({"recipe": "lecture"}, "recipe=lecture"), ({"batch_size": 8}, "batch_size=8"),
    ({"learning_rate": 0.1}, "learning_rate=0.1")])
def test_a_checkpoint_of_another_run(folder, changes, message):
    with pytest.raises(ValueError, match=message):
        vae_torch.fit(make(vae_torch), X, checkpoint=folder, **{**RUN, **changes})


def test_a_checkpoint_of_another_model(folder):
    for model in (make(vae_torch, latent_dim=3), make(vae_torch).double()):
        with pytest.raises(ValueError, match=r"one of this (run|model), with "):
            vae_torch.fit(model, X, checkpoint=folder, **RUN)
    with pytest.raises(ValueError, match="with model=UNet, got model=MLPVAE"):
        model = unet_torch.UNet((16, 16, 16), shape=(8, 8), num_labels=0)
        unet_torch.fit(model, X, checkpoint=folder, **{"learning_rate": 4e-3, **RUN})


def test_a_checkpoint_of_other_data_or_of_another_loss(folder, tmp_path):
    with pytest.raises(ValueError, match="with data="):
        vae_torch.fit(make(vae_torch), X + 0.5 * (X < 0.5), checkpoint=folder, **RUN)
    with pytest.raises(ValueError, match="with likelihood=bernoulli, got likelihood=gaussian-p"):
        vae_torch.fit(make(vae_torch, likelihood="bernoulli"), X, checkpoint=folder, **RUN)
    unets = [unet_torch.UNet((16, 16, 16), shape=(8, 8), num_labels=0) for _ in range(2)]
    run = {**RUN, "num_steps": 2, "checkpoint": tmp_path / "unet"}
    unet_torch.fit(unets[0], X, **run)
    with pytest.raises(ValueError, match=r"with loss=.*UNet\.elbo_loss.*, got .*UNet\.sim"):
        unet_torch.fit(unets[1], X, loss="elbo", **run)


def test_a_checkpoint_of_other_settings_of_the_model_or_of_its_noise(tmp_path):
    run = {**RUN, "num_steps": 2}

    def unet(name, drop_labels=0.0, **settings):
        model = unet_torch.UNet((16, 16, 16), shape=(8, 8), num_labels=2, **settings)
        unet_torch.fit(model, X, np.arange(50) % 2, drop_labels=drop_labels,
                       checkpoint=tmp_path / name, **run)

    def conv_vae(name, freeze=False, precision="float32", **settings):
        model = vae_torch.ConvVAE(2, shape=(8, 8), **settings)
        model.encoder.requires_grad_(not freeze)
        vae_torch.fit(model, X, checkpoint=tmp_path / name, **{**run, "precision": precision})

    unet("unet"), conv_vae("vae")
    for make_it, changes in ((unet, {"periodic": True}), (unet, {"drop_labels": 0.9}),
                             (conv_vae, {"periodic": True}), (conv_vae, {"freeze": True}),
                             (conv_vae, {"precision": "bfloat16"})):
        (name,) = changes
        told = {"drop_labels": "draw", "freeze": "frozen"}.get(name, name)
        with pytest.raises(ValueError, match=f"must be one of this run, with {told}="):
            make_it("unet" if make_it is unet else "vae", **changes)


def test_a_run_that_is_extended_keeps_its_folder(tmp_path):
    whole, model = make(vae_torch), make(vae_torch)
    first = {**RUN, "num_steps": 120}
    expected = vae_torch.fit(whole, X, **first)
    vae_torch.fit(whole, X, history=expected, **first)
    history = vae_torch.fit(model, X, checkpoint=tmp_path, **first)
    vae_torch.fit(model, X, history=history, checkpoint=tmp_path, **first)
    equal(vae_torch, model, whole)
    assert json.loads((tmp_path / "checkpoint.json").read_text())["num_steps"] == 240
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="checkpoint must be a folder, got the file"):
        vae_torch.fit(make(vae_torch), X, checkpoint=tmp_path / "file", **RUN)


@pytest.mark.parametrize("layers", [1, 3])
def test_a_checkpoint_of_a_model_with_other_layers(layers, tmp_path):
    x = np.random.default_rng(0).random((9, 3))

    def run(num_layers):
        model = torch.nn.Sequential(*(torch.nn.Linear(3, 3) for _ in range(num_layers)))
        before = [weight.detach().clone() for weight in model.parameters()]
        try:
            train(model, (x,), lambda batch: {"loss": model(batch.data[0]).sum(dim=1)},
                  Settings(num_steps=2, progress=False, checkpoint=tmp_path))
        finally:
            assert num_layers == 2 or all(map(torch.equal, before, model.parameters()))

    run(2)
    with pytest.raises(ValueError, match="checkpoint must be one of this model"):
        run(layers)


def test_numbers_of_numpy_are_settings(tmp_path):
    history = vae_torch.fit(make(vae_torch), X, checkpoint=tmp_path, progress=False,
                            num_steps=np.int64(3), batch_size=np.int32(16), seed=np.uint8(1),
                            learning_rate=np.float32(0.01))
    assert history.num_steps == 3


def test_a_checkpoint_never_holds_weights_that_are_no_numbers(tmp_path):
    """The loss of step 100 is finite, its gradient is not: seen when the weights are copied."""
    x, weight = np.ones((8, 1)), torch.nn.Linear(1, 1)

    def batch_loss(batch):
        loss = weight(batch.data[0])[:, 0] ** 2
        return {"loss": loss, "objective": loss.mean() * (np.inf if batch.step == 99 else 1)}

    for num_steps in (100, 300):
        settings = Settings(num_steps=num_steps, progress=False,
                            checkpoint=tmp_path / str(num_steps))
        with pytest.raises(FloatingPointError, match=r"of step 0 again.*another folder"):
            train(weight, (x,), batch_loss, settings)
        assert torch.isfinite(weight.weight).all()
        state, run = checkpoint.read(settings.checkpoint)
        assert run["num_steps"] == 0 and all(map(np.isfinite, state["weights"].values()))


@pytest.mark.parametrize("wrong", [3, ["a"], b"a"])
def test_a_checkpoint_is_a_folder(wrong):
    with pytest.raises(TypeError, match="checkpoint must be the path of a folder"):
        vae_torch.fit(make(vae_torch), X, checkpoint=wrong, **RUN)


def test_files_hold_arrays_alone_and_appear_as_a_whole(folder):
    state, run = checkpoint.read(folder)
    assert state.keys() == {"weights", "optimizer"} and run["num_steps"] == 250
    for path in folder.glob("*.safetensors"):
        assert safetensors.numpy.load(path.read_bytes())
    assert not list(folder.glob(".*.part"))
    assert checkpoint.read(folder / "elsewhere") is None


def test_what_a_killed_process_left_half_written_is_deleted(folder):
    (folder / ".weights-37.safetensors.part").write_bytes(b"half of")
    checkpoint.write(folder, *checkpoint.read(folder))
    assert not list(folder.glob(".*.part"))
    assert len(list(folder.glob("*.safetensors"))) == 2
