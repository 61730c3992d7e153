"""benchmarks/gpu.py without a GPU: its dry run, and what it refuses.

In a process of its own, as on a machine that has PyTorch, NumPy and SciPy (and Keras), but nothing
else that this repository needs, and that has not installed it.
"""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import sem

from genmodels.exact.lattice_fields import Phi4
from genmodels.models import vae_torch

ROOT = Path(__file__).resolve().parents[2]
MISSING = ["tqdm", "safetensors", "pooch", "matplotlib", "PIL", "tensorflow", "numba"]
NO_JUPYTER = ["pooch", "IPython", "ipykernel", "nbformat", "tensorflow"]


def run(tmp_path: Path, *arguments: str, missing: list[str]) -> subprocess.CompletedProcess:
    """Runs the script where these packages cannot be imported."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    for name in missing:
        (hidden / f"{name}.py").write_text("raise ImportError('hidden by the test')")
    environment = {name: value for name, value in os.environ.items()
                   if name not in ("GENMODELS_DATA", "GENMODELS_BUDGET")}
    environment |= {"PYTHONPATH": str(hidden), "KERAS_BACKEND": "torch", "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, str(ROOT / "benchmarks" / "gpu.py"), *arguments],
                          cwd=tmp_path, env=environment, capture_output=True, text=True,
                          timeout=1500)


def test_dry_run_measures_every_part(tmp_path):
    ended = run(tmp_path, "--dry-run", "--out", "results", missing=MISSING)
    assert ended.returncode == 0, ended.stdout + ended.stderr

    results = json.loads((tmp_path / "results" / "gpu.json").read_text(encoding="utf-8"))
    assert results["dry_run"] and results["finished"] and not results["failed"]
    assert results["machine"]["missing"] == "tqdm, safetensors, Pillow"
    parts = {name.split(":")[0].split(",")[0]: rows for name, rows in results["parts"].items()}
    assert list(parts) == ["First step", "Copies", "MLP", "Convolutional",
                           "An epoch of 512 digits", "U-Net", "φ⁴", "Keras on torch", "IWAE",
                           "Deterministic mode", "Tests marked `device`",
                           "Chapters", "Experiment"]
    figures = [value for rows in parts.values() for row in rows for value in row.values()
               if isinstance(value, float)]
    assert all(map(math.isfinite, figures))

    for row in parts["First step"]:
        # From the same step in float64: half an eps for each of 784 pixels that are summed; of
        # bfloat16, whose eps is 2^-7, some roundings in a row. Gradients are sums of either sign.
        in_float32 = "bfloat16" not in row["what"]
        assert row["difference_of_the_loss"] < (784 * 2**-24 if in_float32 else 2**-5)
        if in_float32:
            assert row["of_the_gradients"] < 784 * 2**-23
    # An epoch: integers and other numbers. A call: digits; and labels; and, in Keras, rates.
    assert [row["arrays_placed"] for row in parts["Copies"][::2]] == [2, 2, 2]
    assert [row["arrays_placed"] for row in parts["Copies"][1::2]] == [1, 2, 2]
    for part in ("MLP", "Convolutional"):
        assert [row["what"].split("'")[0] for row in parts[part] if "lecture" in row["what"]]
        ours = [row for row in parts[part] if row["what"].startswith("ours")]
        assert ours and all(row["reached"] in ("yes", "no") for row in ours)
        # An epoch is one of the loop: the data are checked and copied once, beside it.
        assert all(row["epochs"] * row["seconds_an_epoch"] < row["seconds_in_all"] for row in ours)

    for part in ("An epoch of 512 digits", "U-Net", "φ⁴", "IWAE"):
        counted = [row for row in parts[part] if "GFLOP_a_step" in row]
        assert counted and all(min(row["GFLOP_a_step"], row["MB_a_step"],
                                   row["of_the_rate_of_products"],
                                   row["of_the_rate_of_copies"]) > 0 for row in counted)
    assert 0 < parts["φ⁴"][-1]["share"] <= 1 and parts["φ⁴"][-1]["standard_error"] > 0
    bound = parts["IWAE"][-1]
    assert bound["epochs"] == 2 and bound["nats"] > 0 and bound["standard_error"] > 0
    assert [row["same_bits_deterministic"] for row in parts["Deterministic mode"]] == 3 * ["yes"]
    for part in ("Tests marked `device`", "Chapters"):
        (row,) = parts[part]
        assert row["what"].startswith("cannot run here: matplotlib (ImportError: hidden by")

    page = (tmp_path / "results" / "gpu.md").read_text(encoding="utf-8")
    assert page.startswith("# On a GPU: a dry run on a CPU")
    assert all(f"## {name}" in page for name in results["parts"])


def test_tests_and_chapters_run_without_jupyter(tmp_path):
    ended = run(tmp_path, "--dry-run", "--out", "results", "--parts", "device_tests", "chapters",
                missing=NO_JUPYTER)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    results = json.loads((tmp_path / "results" / "gpu.json").read_text(encoding="utf-8"))
    assert not results["failed"]
    tests, chapters = results["parts"].values()
    assert tests[0]["tests"] > 40 and not (tests[0]["failures"] or tests[0]["errors"])
    assert {row["what"] for row in chapters} == {"kl_divergence", "vae_torch"}
    assert all(row["asserts_hold"] == "yes" and row["asserts"] > 0 for row in chapters)


CELLS = {
    "broken": ("assert 2 + 2 == 5, 'arithmetic'", "AssertionError: arithmetic"),
    "without": ("import nowhere_to_be_found", "ModuleNotFoundError: No module named"),
    "whole": ("import inspect\ndef f():\n    return 4\nassert 'return 4' in "
              "inspect.getsource(f)\nassert f() == 4", '{"cells": 2, "asserts": 2}'),
}


@pytest.mark.parametrize("name", CELLS)
def test_a_chapter_ends_with_its_first_exception(tmp_path, name):
    source, said = CELLS[name]
    cells = [{"cell_type": "markdown", "id": "a", "source": ["no code"]},
             {"cell_type": "code", "id": "b", "source": ["x = 1\n", "y = x\n"]},
             {"cell_type": "code", "id": "c", "source": source}]
    (tmp_path / "chapter.ipynb").write_text(json.dumps({"cells": cells}), encoding="utf-8")
    ended = subprocess.run([sys.executable, str(ROOT / "benchmarks" / "chapter_cells.py"),
                            "chapter.ipynb"], cwd=tmp_path, capture_output=True, text=True)
    assert (ended.returncode == 0) == (name == "whole")
    assert (ended.stdout + ended.stderr).splitlines()[-1].startswith(said)
    assert name == "whole" or "<cell c>" in ended.stderr


@pytest.fixture
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_operations_of_a_step_are_those_of_the_products(benchmarks, precision):
    import gpu_counts
    from time_to_quality import FLOP

    x = np.random.default_rng(0).random((24, 28, 28), dtype=np.float32)
    for make, framework in ((vae_torch.MLPVAE, "torch"), (vae_torch.ConvVAE, "keras")):
        operations, moved = gpu_counts.of_a_step(make(), lambda model, num_steps: vae_torch.fit(
            model, x, num_steps=num_steps, batch_size=8, precision=precision, progress=False))
        assert operations == 8 * FLOP[framework]
        weights = sum(4 * weight.numel() for weight in make().parameters())
        # Adam alone reads four arrays of the weights' size, and writes three.
        assert moved > 7 * weights


def test_bytes_are_what_operations_read_and_write(benchmarks):
    import gpu_counts

    x, y = torch.zeros(10, 100), torch.zeros(10, 1)
    for operation, expected in [
            (lambda: x + y, 4000 + 40 + 4000),
            (lambda: x.add_(y), 4000 + 40 + 4000),
            (lambda: x.t()[3:], 0),  # views
            (lambda: torch.empty_like(x), 0),
            (lambda: x + y.expand(10, 100), 4000 + 40 + 4000),
            (lambda: x.sum(), 4000 + 4),
            (lambda: torch._foreach_add_([x, y], 1.0), 4000 + 40 + 4000 + 40),  # returns nothing
            (lambda: torch.sin(x, out=torch.empty(10, 100)), 4000 + 4000 + 4000)]:
        with gpu_counts.Traffic() as traffic:
            operation()
        assert traffic.bytes == expected, expected


def test_configurations_on_the_device_are_in_equilibrium(benchmarks):
    """Against clusters of signs; the difference of two means with their standard errors."""
    import gpu_fields

    size, kappa, lam = 4, 0.2, 0.022
    ours = gpu_fields.configurations(size, kappa, lam, 2000, 10, "cpu", 0).astype(float)
    phi4 = Phi4(size, kappa, lam)
    theirs = phi4.sample(8000, np.random.default_rng(1), num_between=100)
    for measure in (lambda x: x.mean(axis=(1, 2)), lambda x: abs(x.mean(axis=(1, 2))), phi4.action):
        a, b = measure(ours), measure(theirs)
        assert abs(a.mean() - b.mean()) < 5 * math.hypot(sem(a), sem(b))
    with pytest.raises(RuntimeError, match="have not thermalised"):
        gpu_fields.configurations(size, kappa, lam, 2000, 0, "cpu", 0)


def test_the_effective_share_and_its_error(benchmarks):
    """Of log-normal weights: (Σ w)²/(n Σ w²) tends to exp(−σ²)."""
    import gpu_fields

    rng = np.random.default_rng(0)
    shares = np.array([gpu_fields.effective_share(0.5 * rng.standard_normal(2000) + 300)
                       for _ in range(200)])
    assert abs(shares[:, 0].mean() - math.exp(-0.25)) < 5 * sem(shares[:, 0]) + 10 / 2000  # bias
    assert shares[:, 1].mean() == pytest.approx(shares[:, 0].std(), rel=0.2)  # 4 of 5 %


@pytest.mark.parametrize(("arguments", "message"), [
    (["--dry-run", "--parts", "all"], "invalid choice: 'all'"),
    (["--dry-run", "--out", str(ROOT / "benchmarks" / "results")], "must not write to"),
    (["--dry-run", "--data", "nowhere.npz"], "--data must be the full digits"),
])
def test_what_is_refused_is_said_in_one_line(tmp_path, arguments, message):
    ended = run(tmp_path, *arguments, missing=["keras"])
    assert ended.returncode == 2
    assert message in ended.stderr.splitlines()[-1]
