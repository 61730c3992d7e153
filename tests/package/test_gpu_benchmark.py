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

import pytest

ROOT = Path(__file__).resolve().parents[2]
MISSING = ["tqdm", "safetensors", "pooch", "matplotlib", "PIL", "tensorflow"]


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
                          timeout=600)


def test_dry_run_measures_every_part(tmp_path):
    ended = run(tmp_path, "--dry-run", "--out", "results", missing=MISSING)
    assert ended.returncode == 0, ended.stdout + ended.stderr

    results = json.loads((tmp_path / "results" / "gpu.json").read_text(encoding="utf-8"))
    assert results["dry_run"] and results["finished"] and not results["failed"]
    assert results["machine"]["missing"] == "tqdm, safetensors, Pillow"
    parts = {name.split(":")[0].split(",")[0]: rows for name, rows in results["parts"].items()}
    assert list(parts) == ["First step", "Copies", "MLP", "Convolutional", "U-Net",
                           "Keras on torch"]
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

    page = (tmp_path / "results" / "gpu.md").read_text(encoding="utf-8")
    assert page.startswith("# On a GPU: a dry run on a CPU")
    assert all(f"## {name}" in page for name in results["parts"])


@pytest.mark.parametrize(("arguments", "message"), [
    (["--dry-run", "--out", str(ROOT / "benchmarks" / "results")], "must not write to"),
    (["--dry-run", "--data", "nowhere.npz"], "--data must be the full digits"),
])
def test_what_is_refused_is_said_in_one_line(tmp_path, arguments, message):
    ended = run(tmp_path, *arguments, missing=["keras"])
    assert ended.returncode == 2
    assert message in ended.stderr.splitlines()[-1]
