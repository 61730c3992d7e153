"""Training in several processes: the run is that of one process, also after faults.

The processes are started by torchrun, with this file as their program: it runs what `CASES` lists,
and writes what came out for each process. The tests run the same in one process.
"""

import contextlib
import copy
import errno
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn

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
from genmodels.training import Batch, History, Settings, checkpoint
from genmodels.training.__main__ import main
from genmodels.training.torch import train
from genmodels.training.torch_parallel import Share, joined
from genmodels.training.torch_state import device_for
from genmodels.training.torch_tensors import available_devices

# 50 examples in batches of 16, 16, 16 and 2: three processes divide none of them, and of the last
# one a process gets no row.
RUN = {"num_epochs": 3, "batch_size": 16, "seed": 1, "progress": False, "precision": "float32"}
RNG = np.random.default_rng(0)
GREY = RNG.random((50, 8, 8))
FIELDS = RNG.standard_normal((50, 4, 4))
SPINS = RNG.choice([-1.0, 1.0], (50, 8, 8))
DIGITS = RNG.random((20, 28, 28))
TWO_KINDS = np.arange(50) % 2


def seeded(make, *arguments, **sizes):
    """A model in float64, whose roundings say how far two runs may differ."""
    torch.manual_seed(0)
    return make(*arguments, **sizes).double()


def mlp_vae(**settings):
    model = seeded(vae_torch.MLPVAE, 3, 8, shape=(8, 8))
    return model, vae_torch.fit(model, GREY, **{**RUN, **settings})


def conv_vae():
    model = seeded(vae_torch.ConvVAE, 2, shape=(8, 8), periodic=True)
    return model, vae_torch.fit(model, GREY, **RUN)


def iwae(num_importance_samples):
    model = seeded(iwae_torch.BinaryVAE, 3, 8, shape=(8, 8))
    return model, iwae_torch.fit(model, GREY, num_importance_samples=num_importance_samples, **RUN)


def unet(loss):
    model = seeded(unet_torch.UNet, (16, 16, 16), shape=(8, 8), num_labels=2)
    return model, unet_torch.fit(model, GREY, TWO_KINDS, loss=loss, **RUN)


def flow():
    model = seeded(flow_torch.Flow, 4, 3)
    return model, flow_torch.fit(model, FIELDS, flow_torch.phi4_action(Phi4(4, 0.2, 0.02)), **RUN)


def lattice():
    model = seeded(lattice_torch.LatticeDenoiser, 4, channels=2, num_blocks=1)
    return model, lattice_torch.fit(model, FIELDS, **RUN)


def masked():
    model = seeded(masked_torch.MaskedSpins, (8, 8), num_labels=2, channels=4, dilations=(1, 2))
    return model, masked_torch.fit(model, SPINS, TWO_KINDS, **RUN)


def classifier():
    model = seeded(classifier_torch.Classifier)
    run = {**RUN, "batch_size": 9}
    return model, classifier_torch.fit(model, DIGITS, np.arange(20) % 10, **run)


def own_model(batch_loss, *, unused=False, norm=False, **settings):
    """A linear layer that gets two numbers; perhaps a normalisation, perhaps another layer."""
    model = seeded(lambda: nn.Sequential(
        nn.Linear(2, 3), *[nn.BatchNorm1d(3)] * norm, *[nn.Linear(3, 3)] * unused))
    history = train(model, (FIELDS[:, 0, :2],), lambda batch: batch_loss(batch, model),
                    Settings(**{**RUN, **settings}))
    return model, history


def squares(batch, layers):
    return {"loss": (layers[0](batch.data[0]) ** 2).sum(dim=1)}


SAME = {
    "mlp-vae": mlp_vae, "conv-vae": conv_vae, "iwae-1": lambda: iwae(1), "iwae-5": lambda: iwae(5),
    "unet-simple": lambda: unet("simple"), "unet-elbo": lambda: unet("elbo"), "flow": flow,
    "lattice": lattice, "masked": masked, "classifier": classifier,
    "a weight that is not used": lambda: own_model(squares, unused=True),
    "more processes than rows": lambda: mlp_vae(batch_size=2, num_epochs=1),
    "a history that is continued": lambda: continued(),
    "a history that is continued after an error": lambda: continued_after_an_error(),
}


def continued():
    """Two calls of 5 steps; the first ends within an epoch."""
    model = seeded(vae_torch.MLPVAE, 3, 8, shape=(8, 8))
    run = {**RUN, "num_epochs": None, "num_steps": 5}
    history = vae_torch.fit(model, GREY, **run)
    return model, vae_torch.fit(model, GREY, history=history, **run)


def continued_after_an_error():
    """Each process has one after step 7. A copy of the history fetches nothing from the others."""
    record = History.record

    def fail(self, *arguments):
        record(self, *arguments)
        if self.num_steps == 7:
            raise RuntimeError

    model = seeded(vae_torch.MLPVAE, 3, 8, shape=(8, 8))
    history = History(model=model, num_examples=50, batch_size=16, seed=1)
    History.record = fail
    with contextlib.suppress(RuntimeError):
        vae_torch.fit(model, GREY, history=history, **RUN)
    History.record = record
    copy.copy(history)
    rest = {**RUN, "num_epochs": None, "num_steps": 12 - history.num_steps}
    return model, vae_torch.fit(model, GREY, history=history, **rest)


def tell(model, history, **more):
    """What came out, as arrays."""
    return {**{f"weight {name}": weight.detach().numpy()
               for name, weight in model.state_dict().items()},
            **{f"term {name}": np.array(values) for name, values in history.terms.items()},
            **{name: np.array(value) for name, value in more.items()}}


# What a process of torchrun does ----------------------------------------------------------------


def local_mean(batch, layers):
    loss = squares(batch, layers)["loss"]
    return {"loss": loss, "objective": loss.mean()}


def infinite(batch, layers):
    loss = squares(batch, layers)["loss"]
    if batch.step == 7 and batch.own.start == 0:  # a row of process 0
        loss = loss * torch.tensor([np.inf] + [1.0] * (len(loss) - 1))
    return {"loss": loss}


def more_weights_later(batch, layers):
    return {"loss": (layers[:1 + (batch.step > 2)](batch.data[0]) ** 2).sum(dim=1)}


def other_seed(folder):
    return mlp_vae(seed=dist.get_rank())


def other_batch(folder):
    return own_model(squares, batch_size=8 + dist.get_rank(), num_epochs=None, num_steps=5)


def one_checkpoint(folder):
    """Process 0 alone would open it, but the others must know that it does."""
    return mlp_vae(checkpoint=folder / "one" if dist.get_rank() else None)


def other_precision(folder):
    return mlp_vae(precision=("float32", "bfloat16", "float32")[dist.get_rank()])


def own_part_of_the_data(folder):
    model = seeded(vae_torch.MLPVAE, 3, 8, shape=(8, 8))
    first = 10 * dist.get_rank()
    return vae_torch.fit(model, GREY[first:first + 10], **RUN)


def folder_that_is_used(folder):
    with contextlib.ExitStack() as held:
        if dist.get_rank() == 0:
            held.callback(checkpoint.hold(folder / "used").release)
        mlp_vae(checkpoint=folder / "used")


def full_disk(folder):
    mlp_vae(checkpoint=folder / "full", num_epochs=1)
    replace = os.replace

    def full(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    if dist.get_rank() == 0:
        os.replace = full
    try:
        model, history = mlp_vae(num_epochs=1)
        vae_torch.fit(model, GREY, history=history, checkpoint=folder / "full", **RUN)
    finally:
        os.replace = replace


REFUSED = {
    "local mean": (lambda folder: own_model(local_mean),
                   "ValueError: batch_loss must return the same objective in every process"),
    "infinite": (lambda folder: own_model(infinite), "FloatingPointError: .* at step 8;.* step 0"),
    "other seed": (other_seed, "ValueError: seed must be the same in every process, got 0 in proc"),
    "other data": (own_part_of_the_data, "ValueError: data must be the same in every process"),
    "other batch": (other_batch, "ValueError: batch_size must be the same in every process, got 8"),
    "one checkpoint": (one_checkpoint, "ValueError: checkpoint must be the same in every process, "
                       "got None in process 0 and .*one in process 1"),
    "other precision": (other_precision, "ValueError: precision must be the same in every process"),
    "norm": (lambda folder: own_model(squares, norm=True),
             "ValueError: model must have no batch normalisation .*got BatchNorm1d in 1"),
    "folder in use": (folder_that_is_used, "ValueError: checkpoint must be a folder that no other"),
    "full disk": (full_disk, "OSError: .*could not be written to .*one from before is still who"),
    "more weights later": (lambda folder: own_model(more_weights_later, unused=True),
                           "RuntimeError: Your training graph has changed"),
}


def interrupted():
    """Ctrl-C reaches the last process, within step 5: all stop after the same step, and go on."""
    record = History.record

    def press(self, *arguments):
        record(self, *arguments)
        if self.num_steps == 5 and dist.get_rank() == dist.get_world_size() - 1:
            signal.raise_signal(signal.SIGINT)

    History.record = press
    model, history = mlp_vae()
    History.record = record
    stopped_at = history.num_steps
    rest = {**RUN, "num_epochs": None, "num_steps": 12 - stopped_at}
    return tell(model, vae_torch.fit(model, GREY, history=history, **rest), stopped_at=stopped_at)


LONG = {"num_epochs": None, "num_steps": 250}


def killed(folder):
    """A process kills itself in each life but the last; after that, a run with no fault."""
    kills = json.loads((folder / "kills.json").read_text())  # (step, process) of each life
    life = int(os.environ["TORCHELASTIC_RESTART_COUNT"])
    record = History.record

    def die(self, *arguments):
        if life < len(kills) and kills[life] == [self.num_steps, dist.get_rank()]:
            os.kill(os.getpid(), signal.SIGKILL)
        record(self, *arguments)

    History.record = die
    model, history = mlp_vae(checkpoint=folder / "run", **LONG)
    return {**tell(model, history),
            **{f"whole {name}": array for name, array in tell(*mlp_vae(**LONG)).items()}}


def work(case, folder):
    """The program of a process."""
    with joined("cpu") as (rank, _):
        def write(name, arrays):
            np.savez(folder / f"{name}-{rank}.npz", **arrays)

        if case == "killed":
            write("killed", killed(folder))
            return
        for name, run in SAME.items():
            write(name, tell(*run()))
        write("interrupted", interrupted())
        for name, (run, _) in REFUSED.items():
            try:
                said = f"nothing: {run(folder)}"
            except Exception as error:  # the test says which it must be
                said = f"{type(error).__name__}: {error}"
            write(name, {"said": np.array(said)})


def torchrun(num_processes, *arguments, program=(str(Path(__file__)),), **options):
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone",
               f"--nproc-per-node={num_processes}", *flags, *program, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            env=os.environ | {"OMP_NUM_THREADS": "1", "GENMODELS_DATA": "bundled"})


def printed(process):
    """What a torchrun prints; one that does not end is stopped, with its processes."""
    try:
        return process.communicate(timeout=300)[0]
    except subprocess.TimeoutExpired:
        process.terminate()
        raise


def finished(process):
    output = printed(process)
    assert process.returncode == 0, output
    return output


# Tests ------------------------------------------------------------------------------------------

NUM_PROCESSES = 3


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What each process wrote, by the name of the case."""
    folder = tmp_path_factory.mktemp("processes")
    finished(torchrun(NUM_PROCESSES, "cases", folder))
    def read(name):
        results = []
        for rank in range(NUM_PROCESSES):
            with np.load(folder / f"{name}-{rank}.npz") as arrays:
                results.append(dict(arrays))
        return results
    return read


# Sums in another order differ by some eps = 2e-16 of their terms, which are of order one. Adam
# divides a gradient g by |g| + 1e-8 at least: one that is zero but for rounding moves its weight by
# up to (learning rate) · eps/1e-8 in each step, here 12 · 4e-3 · 2e-8 in all. These models have no
# such gradient, as the U-Net would with one channel to a group.
ROUNDING = 1e-9
ROUNDING_OF_250 = 250 / 12 * ROUNDING


def equal(ours, theirs, tolerance):
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        np.testing.assert_allclose(array, theirs[name], tolerance, tolerance, err_msg=name)


@pytest.mark.parametrize("name", SAME)
def test_three_processes_make_the_run_of_one(name, told):
    first, *others = told(name)
    for other in others:
        equal(other, first, 0)
    equal(first, tell(*SAME[name]()), ROUNDING)


def test_ctrl_c_in_one_process_stops_all_after_the_same_step(told):
    first, *others = told("interrupted")
    for other in others:
        equal(other, first, 0)
    assert first.pop("stopped_at") in (5, 6)  # the others hear of it while they make one more step
    equal(first, tell(*mlp_vae()), ROUNDING)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_refused_by_every_process(name, told):
    _, message = REFUSED[name]
    said = [str(each["said"]) for each in told(name)]
    assert len(set(said)) == 1 and re.match(message, said[0]), said


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
def test_every_row_counts_once(size):
    for num_rows in range(1, 20):
        values = torch.arange(num_rows) + 1
        shares = [Share(num_rows, rank, size) for rank in range(size)]
        assert sum(int(share.sum(values[share.own])) for share in shares) == sum(values)
        lengths = [share.own.stop - share.own.start for share in shares]
        assert max(lengths) - min(lengths) <= 1 and min(lengths) > 0


def test_a_mean_is_of_the_rows_of_this_process():
    """What a batch_loss may get wrong, before any process waits for another."""
    mean = Share(16, 1, 3).mean
    for wrong, dim in ((torch.ones(4), None), (torch.ones(()), None), (torch.ones(5, 2), 1)):
        with pytest.raises(ValueError, match=r"mean must be of values of shape \(5, …\)"):
            mean(wrong, dim)


def test_random_numbers_of_a_share_are_those_of_the_whole_batch():
    """What is drawn for a row does not depend on what the other rows are."""
    x = torch.rand(20, 6)
    weights = x.softmax(dim=1)

    def drawn(batch, own):
        generator = torch.Generator().manual_seed(0)
        return [torch.bernoulli(batch.spread(x[own]), generator=generator)[batch.own],
                torch.multinomial(batch.spread(weights[own]), 5, True, generator=generator)[
                    batch.own],
                torch.randn(batch.num_rows, 2, generator=generator)[batch.own]]

    whole = drawn(Batch((x,), (), 0.0, 0), slice(None))
    for rank in range(3):
        share = Share(20, rank, 3)
        own = share.own
        for ours, theirs in zip(drawn(share.batch((x[own],), (), 0.0, 0), own), whole):
            assert torch.equal(ours, theirs[own])


def test_each_process_needs_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "a run")  # as torchrun does
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(ValueError, match=r"number of GPUs, 1, unless .* got 2"), joined():
        pass


def test_the_gpu_that_a_program_has_chosen_is_taken(monkeypatch):
    """A program of its own calls set_device: else all its processes would meet on the first one."""
    for name, value in {"is_available": True, "current_accelerator": torch.device("cuda"),
                        "device_count": 3}.items():
        monkeypatch.setattr(torch.accelerator, name, lambda value=value: value)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    available = available_devices()
    assert available == ["cpu", "cuda:1", "cuda:0", "cuda:2"]
    assert device_for(nn.Linear(1, 1), None, available) == "cuda:1"


# Faults -----------------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for the end of the process: nothing in `train` catches it."""


def one_process_until(step, folder, monkeypatch):
    record = History.record

    def die(self, *arguments):
        if self.num_steps == step:
            raise Killed
        record(self, *arguments)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(History, "record", die)
        mlp_vae(checkpoint=folder, **LONG)


def test_processes_that_are_killed_start_again_and_make_the_same_run(tmp_path, monkeypatch):
    """kill -9 at random steps, after a beginning that one process made; then one process goes on.

    GENMODELS_KILLS says how often.
    """
    rng, kills = random.Random(0), int(os.environ.get("GENMODELS_KILLS", 2))
    one_process_until(110, tmp_path / "run", monkeypatch)
    assert checkpoint.read(tmp_path / "run")[1]["num_steps"] == 100
    steps = sorted(rng.sample(range(100, 250), kills))
    (tmp_path / "kills.json").write_text(json.dumps([[step, rng.randrange(2)] for step in steps]))
    output = finished(torchrun(2, "killed", tmp_path, max_restarts=kills))
    assert output.count("(exitcode: -9)") == kills, output
    first, second = (dict(np.load(tmp_path / f"killed-{rank}.npz")) for rank in range(2))
    equal(first, second, 0)
    whole = {name.removeprefix("whole "): first.pop(name)
             for name in list(first) if name.startswith("whole ")}
    alone = tell(*mlp_vae(**LONG))
    equal(first, alone, ROUNDING_OF_250)
    equal(whole, alone, ROUNDING_OF_250)


def test_ctrl_c_under_torchrun_and_then_another_number_of_processes(tmp_path, capsys, monkeypatch):
    run = ["mlp-vae", "--num-steps=400", "--num-examples=640", "--batch-size=16", "--no-progress",
           "--precision=float32", f"--checkpoint={tmp_path / 'run'}"]
    process = torchrun(2, *run, program=("-m", "genmodels.training"))
    while process.poll() is None and not (tmp_path / "run/weights-100.safetensors").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)  # torchrun hands it on to its processes
    output = printed(process)
    stopped_at = int(re.search(r"Training stopped at step (\d+)\.", output)[1])
    assert 100 <= stopped_at < 400 and output.count("stopped at step") == 1
    assert f"{tmp_path / 'run'} has it all" in output
    assert checkpoint.read(tmp_path / "run")[1]["num_steps"] == stopped_at
    monkeypatch.setenv("GENMODELS_DATA", "bundled")
    assert main(run) == 0
    assert main([each for each in run if "checkpoint" not in each]) == 0
    # float32: the two runs drift apart, by less than the held-out digits can tell
    found = re.findall(r"−ELBO in nats of 1,000 held-out digits: (\S+) ± (\S+)\n",
                       capsys.readouterr().out)
    (resumed, _), (whole, error) = [map(float, figures) for figures in found]
    assert abs(resumed - whole) < error


def full_from(num_files, patch):
    """Stands for a disk that has room for so many files more: half of the next one fits."""
    files, replace = [], os.replace

    class Full:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.file.close()

        def write(self, data):
            if len(files) >= num_files:
                self.file.write(data[:len(data) // 2])
                raise OSError(errno.ENOSPC, "No space left on device")
            self.file.write(data)

        def __getattr__(self, name):
            return getattr(self.file, name)

    def moved(source, target):
        files.append(target)
        replace(source, target)

    opened = Path.open
    patch.setattr(os, "replace", moved)
    patch.setattr(Path, "open", lambda self, mode="r", **options: Full(opened(self, mode))
                  if mode == "wb" else opened(self, mode, **options))


# The checkpoint of step 0, and of the one of step 100 no file, one, or both but the JSON.
@pytest.mark.parametrize("num_files", [3, 4, 5])
def test_a_full_disk_leaves_the_last_checkpoint_whole(num_files, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        full_from(num_files, patch)
        with pytest.raises(OSError, match=r"step 100 could not be .*No space.*still whole") as said:
            mlp_vae(checkpoint=tmp_path, **LONG)
    assert said.value.errno == errno.ENOSPC
    assert not list(tmp_path.glob(".*.part"))
    assert checkpoint.read(tmp_path)[1]["num_steps"] == 0
    equal(tell(*mlp_vae(checkpoint=tmp_path, **LONG)), tell(*mlp_vae(**LONG)), 0)
    assert len(list(tmp_path.glob("[!.]*"))) == 3


def test_two_runs_in_one_folder(tmp_path):
    """The second is refused while the first, in a process of its own, lives; not after its end."""
    program = ("import sys, time; from genmodels.training import checkpoint; "
               "lock = checkpoint.hold(sys.argv[1]); print('held', flush=True); time.sleep(300)")
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)],
                          stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout.readline() == b"held\n"
            with pytest.raises(ValueError, match=r"no other run is using, got .*another one is"):
                mlp_vae(checkpoint=tmp_path)
        finally:
            other.kill()
    mlp_vae(checkpoint=tmp_path)
    mlp_vae(checkpoint=tmp_path)  # each gives it back


# The command line -------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["conv-vae", "binary-vae", "unet", "classifier"])
def test_every_model_of_the_command_line(model, monkeypatch, capsys):
    monkeypatch.setenv("GENMODELS_DATA", "bundled")
    assert main([model, "--num-steps=2", "--num-examples=64", "--no-progress"]) == 0
    assert re.search(r"2 steps in .*\n.* of 1,000 held-out digits: [\d.]+ ± [\d.]+\n",
                     capsys.readouterr().out)


@pytest.mark.parametrize(("arguments", "message"), [
    (["mlp-vae"], "one of the arguments --num-epochs --num-steps is required"),
    (["mlp-vae", "--num-steps=0"], "num_steps must be a positive integer, got 0"),
    (["mlp-vae", "--num-steps=1", "--num-examples=-5"], "num_examples must be a positive integer"),
    (["mlp-vae", "--num-steps=1", "--num-examples=5000"],
     "num_examples must be at most the number of digits, 4000, got 5000"),
    (["mlp-vae", "--num-steps=1", "--device=nowhere"], "device must be one of 'cpu'"),
    (["gan", "--num-steps=1"], "invalid choice: 'gan'"),
])
def test_arguments_that_are_refused(arguments, message, capsys, monkeypatch):
    monkeypatch.setenv("GENMODELS_DATA", "bundled")
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


if __name__ == "__main__":
    work(sys.argv[1], Path(sys.argv[2]))
