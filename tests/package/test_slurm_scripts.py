"""The scripts for Slurm: their syntax, and runs under stand-ins for Slurm that really train.

`Job` stands for `sbatch`: it reads the options in a script, runs a copy of it with the variables
that Slurm sets, and sends the signal that was asked for. `STAND_INS` are the commands that a job
calls. Every node is this machine, every GPU a process on its CPU. What they do follows the manual
of Slurm; whether a cluster does it they cannot tell.
"""

import argparse
import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts" / "slurm"
JOBS = sorted(path for path in SCRIPTS.glob("*.sh") if path.name != "job.sh")

# 300 steps, with checkpoints after 0, 100, 200 and 300
RUN = ["mlp-vae", "--num-steps=300", "--num-examples=640", "--batch-size=16",
       "--precision=float32"]

STAND_INS = {
    # A task for each node. A task of Slurm has the usual SIGINT, though a shell's `&` ignores it.
    "srun": f"""#!{sys.executable}
import argparse, os, signal, subprocess, sys
from pathlib import Path
parser = argparse.ArgumentParser(allow_abbrev=False)
parser.add_argument("--kill-on-bad-exit", choices=["0"], required=True)
parser.add_argument("--cpus-per-task", type=int, required=True)
parser.add_argument("program", nargs=argparse.REMAINDER)
program = parser.parse_args().program
signal.signal(signal.SIGINT, signal.SIG_DFL)
tasks = [subprocess.Popen(program, start_new_session=True, env=os.environ | {{
             "SLURM_PROCID": str(number), "SLURM_NODEID": str(number)}})
         for number in range(int(os.environ["SLURM_NTASKS"]))]
signal.signal(signal.SIGINT, signal.SIG_IGN)
step = Path(os.environ["STEP"])
step.write_text(" ".join(str(task.pid) for task in tasks))
statuses = [task.wait() for task in tasks]
step.unlink()
sys.exit(max(map(abs, statuses)))
""",
    "scontrol": """#!/bin/bash
case "$*" in
"show hostnames $SLURM_JOB_NODELIST")
    for ((n = 0; n < SLURM_NNODES; n++)); do echo localhost; done ;;
"requeue $JOB") echo "$JOB" >> "$REQUEUED" ;;
*) echo "scontrol: $*" >&2; exit 1 ;;
esac
""",
    "scancel": """#!/bin/bash
case "$*" in
"--signal=INT $JOB.0") kill -s INT $(cat "$STEP") ;;
*) echo "scancel: $*" >&2; exit 1 ;;
esac
""",
    "module": """#!/bin/bash
echo "module $*"
""",
}
# What torchrun starts: each process says who it is.
WORKER = """#!/bin/bash
echo "$$ $RANK $WORLD_SIZE $GROUP_RANK $TORCHELASTIC_RESTART_COUNT" >> "$WORKERS"
exec "$REAL_PYTHON" "$@"
"""


def options_in(script: Path) -> argparse.Namespace:
    """The options in the lines that begin with #SBATCH, as far as the scripts use them."""
    parser = argparse.ArgumentParser(allow_abbrev=False, exit_on_error=False)
    for name in ("job-name", "output", "array", "gres", "mem", "time", "signal"):
        parser.add_argument(f"--{name}")
    for name in ("nodes", "ntasks-per-node", "cpus-per-task"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--open-mode", choices=["append"], required=True)
    parser.add_argument("--requeue", action="store_true", required=True)
    lines = script.read_text(encoding="utf-8").splitlines()
    before_commands = lines[:next(n for n, line in enumerate(lines)
                                  if line and not line.startswith("#"))]
    return parser.parse_args([line.removeprefix("#SBATCH ") for line in before_commands
                              if line.startswith("#SBATCH")])


def free_port() -> int:
    """A port among those that job.sh chooses from."""
    while True:
        port = random.randrange(20000, 30000)
        with socket.socket() as probe:
            if probe.connect_ex(("localhost", port)):  # nobody answers
                return port


class Job:
    """A script that was submitted, with its arguments, in a copy of the repository's root.

    gpus: for each node, in place of those in the script; task: its number in an array.
    """

    def __init__(self, root: Path, script: str, *arguments: str, gpus: int | None = None,
                 task: int | None = None):
        self.options = options_in(root / "scripts" / "slurm" / script)
        self.root, self.number, self.restarts = root, free_port() - 20000, 0
        self.spool = root / "spool"  # where Slurm keeps its copy of the script
        self.spool.mkdir(exist_ok=True)
        copy = shutil.copy(root / "scripts" / "slurm" / script, self.spool / "slurm_script")
        self.command = ["bash", str(copy), *arguments]
        nodes = self.options.nodes
        variables = {
            "SLURM_JOB_ID": self.number, "SLURM_NNODES": nodes,
            "SLURM_NTASKS": nodes * self.options.ntasks_per_node,
            "SLURM_JOB_NODELIST": f"node[1-{nodes}]",
            "SLURM_GPUS_ON_NODE": gpus or self.options.gres.removeprefix("gpu:"),
            "SLURM_CPUS_PER_TASK": self.options.cpus_per_task}
        self.name = str(self.number)
        if task is not None:
            variables |= {"SLURM_ARRAY_JOB_ID": self.number, "SLURM_ARRAY_TASK_ID": task,
                          "SLURM_JOB_ID": self.number + 10_000}
            self.name = f"{self.number}_{task}"
        files = {name: self.spool / f"{name}-{self.name}" for name in
                 ("STEP", "REQUEUED", "WORKERS")}
        self.workers, self.requeued = files["WORKERS"], files["REQUEUED"]
        environment = {name: value for name, value in os.environ.items()
                       if not name.startswith(("SLURM", "TORCH", "MASTER"))}
        self.environment = environment | {name: str(value) for name, value in {
            **variables, **files, "JOB": self.name, "PATH": f"{root}/bin:{os.environ['PATH']}",
            "PYTHON_EXEC": root / "worker", "REAL_PYTHON": sys.executable,
            "OMP_NUM_THREADS": 1, "GENMODELS_DATA": "bundled"}.items()}

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, cwd=self.root, env=self.environment,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        text=True)

    def until(self, folder: Path, step: int) -> None:
        """Waits for the checkpoint of a step."""
        latest = time.monotonic() + 200
        while not (folder / f"weights-{step}.safetensors").exists():
            assert self.process.poll() is None, self.process.communicate()[0]
            assert time.monotonic() < latest, f"no checkpoint of step {step} in 200 s"
            time.sleep(0.01)

    def time_is_up(self) -> None:
        """Sends what --signal says, two minutes before the end, to the shell alone."""
        assert self.options.signal == "B:USR1@120"
        self.process.send_signal(signal.SIGUSR1)

    def end(self, status: int = 0) -> str:
        """What the job printed until it ended, with this status."""
        output, _ = self.process.communicate(timeout=200)
        assert self.process.returncode == status, output
        return output

    def started(self) -> list[list[int]]:
        """Of each process: its ID, rank, number of processes, node, restarts before it."""
        return [list(map(int, line.split())) for line in self.workers.read_text().splitlines()]

    def run_again(self) -> str:
        """Starts the job anew, as Slurm does after `scontrol requeue`."""
        assert self.requeued.read_text() == f"{self.name}\n"
        self.workers.unlink()
        self.start()
        return self.end()


@contextlib.contextmanager
def made_root(folder: Path):
    """What a job sees of the repository: the scripts, and a Python. No job outlives the test."""
    shutil.copytree(SCRIPTS, folder / "scripts" / "slurm")
    (folder / "bin").mkdir()
    for name, text in STAND_INS.items():
        program(folder / "bin" / name, text)
    program(folder / "worker", WORKER)
    python(folder, f'exec {sys.executable} "$@"')
    try:
        yield folder
    finally:
        for step in folder.glob("spool/STEP-*"):
            for task in step.read_text().split():
                os.kill(int(task), signal.SIGTERM)


@pytest.fixture
def root(tmp_path):
    with made_root(tmp_path) as folder:
        yield folder


def program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def python(root: Path, line: str) -> None:
    """What the Python of the environment does."""
    (root / ".venv" / "bin").mkdir(parents=True, exist_ok=True)
    program(root / ".venv" / "bin" / "python", f"#!/bin/bash\n{line}\n")


def history_in(folder: Path) -> dict:
    return json.loads((folder / "checkpoint.json").read_text(encoding="utf-8"))


def assert_ended(output: str, folder: Path) -> None:
    """The run came to its end, and one process said so."""
    assert len(re.findall(r"^−ELBO in nats of 1,000 held-out digits: \d", output, re.M)) == 1
    assert history_in(folder)["num_steps"] == 300


# What is written --------------------------------------------------------------------------------


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("*.sh")), ids=lambda path: path.name)
def test_syntax(script):
    subprocess.run(["bash", "-n", script], check=True)


def test_shellcheck_finds_nothing():
    if not shutil.which("shellcheck"):
        pytest.skip("shellcheck is not installed")
    found = subprocess.run(["shellcheck", "--external-sources", *SCRIPTS.glob("*.sh")],
                           cwd=SCRIPTS.parents[1], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("script", JOBS, ids=lambda path: path.name)
def test_options(script):
    options = options_in(script)
    assert options.ntasks_per_node == 1  # torchrun starts the rest
    assert options.signal == "B:USR1@120"  # more than torchrun's 30 s for processes to stop
    name = script.stem.replace("_", "-")
    assert options.job_name == name
    assert options.output == ("%x-%A-%a.log" if options.array else "%x-%j.log")


def test_there_is_a_script_for_each_kind():
    assert [path.name for path in JOBS] == ["one_gpu.sh", "one_node.sh", "seeds.sh",
                                            "several_nodes.sh"]
    nodes = {path.name: options_in(path).nodes for path in JOBS}
    assert nodes.pop("several_nodes.sh") > 1 and set(nodes.values()) == {1}


# Runs -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def of_seeds(tmp_path_factory):
    """The folders of two jobs of an array, seeds 0 and 1."""
    folders = []
    with made_root(tmp_path_factory.mktemp("seeds")) as root:
        for task in (0, 1):
            job = Job(root, "seeds.sh", *RUN, task=task)
            job.start()
            folders.append(root / "runs" / f"seeds-{job.number}" / str(task))
            assert_ended(job.end(), folders[-1])
            assert [rest for _, *rest in job.started()] == [[0, 1, 0, 0]]
            assert not job.requeued.exists()
    return folders


def test_an_array_trains_from_several_seeds(of_seeds):
    runs = [history_in(folder) for folder in of_seeds]
    assert [run["seed"] for run in runs] == [0, 1]
    assert runs[0]["terms"] != runs[1]["terms"]


def test_one_gpu_whose_time_is_up_makes_the_same_run_in_two_jobs(root, of_seeds):
    job = Job(root, "one_gpu.sh", *RUN)
    folder = root / "runs" / f"one-gpu-{job.number}"
    job.start()
    job.until(folder, 100)
    job.time_is_up()
    output = job.end()
    stopped_at = history_in(folder)["num_steps"]
    assert 100 <= stopped_at < 300
    assert f"The time is up, after step {stopped_at}: queued again." in output
    assert_ended(job.run_again(), folder)
    assert history_in(folder)["terms"] == history_in(of_seeds[0])["terms"]  # one process: each bit


def test_one_node_has_a_process_for_each_gpu(root):
    job = Job(root, "one_node.sh", *RUN, gpus=2)
    job.start()
    assert_ended(job.end(), root / "runs" / f"one-node-{job.number}")
    assert sorted(rest for _, *rest in job.started()) == [[0, 2, 0, 0], [1, 2, 0, 0]]


def test_several_nodes_survive_a_dead_process_and_the_end_of_their_time(root):
    job = Job(root, "several_nodes.sh", *RUN, gpus=1)
    folder = root / "runs" / f"several-nodes-{job.number}"
    job.start()
    job.until(folder, 100)
    first = job.started()
    assert sorted(rest for _, *rest in first) == [[0, 2, 0, 0], [1, 2, 1, 0]]
    on_second_node = next(pid for pid, _, _, node, _ in first if node == 1)
    os.kill(on_second_node, signal.SIGKILL)
    job.until(folder, 200)
    job.time_is_up()
    output = job.end()
    assert "failed (exitcode: -9)" in output
    again = job.started()[2:]
    assert sorted(rest[:3] for _, *rest in again) == [[0, 2, 0], [1, 2, 1]]
    assert 200 <= history_in(folder)["num_steps"] < 300
    assert_ended(job.run_again(), folder)


# Faults -----------------------------------------------------------------------------------------


# Stands for torchrun: it leaves a checkpoint of some steps.
MAKES_STEPS = """
while [ "$1" != --checkpoint ]; do shift; done
mkdir -p "$2"
echo '{
 "terms": {"num_steps": 7},
 "num_steps": STEPS,
 "seconds": 1.5
}' > "$2/checkpoint.json"
"""
# And then it waits for the end of its time.
WAITS = """
trap "exit 1" INT
touch spool/ready
for ((n = 0; n < 3000; n++)); do sleep 0.01; done
"""


def test_a_run_that_fails_is_not_queued_again(root):
    python(root, MAKES_STEPS.replace("STEPS", "5") + "exit 3")
    job = Job(root, "one_gpu.sh", *RUN)
    job.start()
    job.end(status=3)
    assert history_in(root / "runs" / f"one-gpu-{job.number}")["num_steps"] == 5
    assert not job.requeued.exists()


def until_its_time_is_up(job: Job, status: int) -> str:
    job.start()
    ready = job.spool / "ready"
    while not ready.exists():
        assert job.process.poll() is None, job.process.communicate()[0]
        time.sleep(0.01)
    ready.unlink()
    job.time_is_up()
    return job.end(status)


@pytest.mark.parametrize("task", [None, 3])
def test_a_job_is_queued_as_long_as_it_makes_steps(task, root):
    """Of an array, only the one job: the stand-ins compare its name."""
    job = Job(root, "one_gpu.sh" if task is None else "seeds.sh", *RUN, task=task)
    for steps in (5, 1200):
        python(root, MAKES_STEPS.replace("STEPS", str(steps)) + WAITS)
        assert f"after step {steps}: queued again" in until_its_time_is_up(job, status=0)
        assert job.requeued.read_text() == f"{job.name}\n"
        job.requeued.unlink()
    assert "No step was made before the time was up" in until_its_time_is_up(job, status=1)
    assert not job.requeued.exists()


def test_modules_are_loaded_first(root):
    settings = root / "scripts" / "slurm" / "job.sh"
    text = settings.read_text(encoding="utf-8")
    assert 'MODULES=""' in text
    settings.write_text(text.replace('MODULES=""', 'MODULES="gcc/13 cuda"'), encoding="utf-8")
    python(root, "echo trained")
    job = Job(root, "one_gpu.sh", *RUN)
    job.start()
    assert job.end() == "module load gcc/13\nmodule load cuda\ntrained\n"


def test_a_job_that_was_submitted_elsewhere_says_so(root):
    job = Job(root, "one_gpu.sh", *RUN)
    job.root = root / "spool"
    job.start()
    assert "scripts/slurm/job.sh: No such file" in job.end(status=1)
