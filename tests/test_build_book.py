"""The book is built alike whatever a user's or a cluster's environment says."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

import build_book

ROOT = Path(build_book.ROOT)
EXECUTE = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], 4)
NotebookClient(notebook, timeout=60).execute()
nbformat.write(notebook, sys.argv[1])
"""


def execute(source: str, folder: Path, variables: dict[str, str]) -> tuple[int, str]:
    """Execute a cell as the build does; return the exit status and the notebook's text."""
    path = folder / "cell.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)]), path)
    status = subprocess.run([sys.executable, "-c", EXECUTE, str(path)], env=variables, check=False,
                            capture_output=True).returncode
    return status, path.read_text(encoding="utf-8")


@pytest.fixture
def unkind(monkeypatch, tmp_path):
    """What users and clusters have set, each of which changes what chapters show or check."""
    rc, keras, ipython = tmp_path / "rc", tmp_path / "keras", tmp_path / "ipython"
    rc.write_text("lines.linewidth: 99\n")
    keras.mkdir()
    (keras / "keras.json").write_text('{"image_data_format": "channels_first"}')
    startup = ipython / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "a.py").write_text("import numpy; numpy.changed = True\n")
    for name, value in {"MPLBACKEND": "agg", "MATPLOTLIBRC": rc, "KERAS_HOME": keras,
                        "IPYTHONDIR": ipython, "PYTHONOPTIMIZE": "1"}.items():
        monkeypatch.setenv(name, str(value))


@pytest.mark.usefixtures("unkind")
def test_figures_and_settings_do_not_depend_on_the_environment(tmp_path):
    status, written = execute(
        "import json, os, matplotlib.pyplot as plt, numpy\n"
        "from pathlib import Path\n"
        "assert plt.rcParams['lines.linewidth'] == plt.rcParamsDefault['lines.linewidth'] == 1.5\n"
        "assert not hasattr(numpy, 'changed')\n"
        "assert not Path(os.environ['KERAS_HOME'], 'keras.json').exists()\n"
        "plt.plot([1, 2]);", tmp_path, build_book.environment(tmp_path))
    assert status == 0 and '"image/png"' in written


@pytest.mark.usefixtures("unkind")
def test_asserts_are_executed(tmp_path):
    assert execute("assert False", tmp_path, build_book.environment(tmp_path))[0] != 0


@pytest.mark.usefixtures("unkind")
def test_these_settings_would_change_a_chapter(tmp_path):
    """The two tests above can fail: without `environment`, there is no figure and no assert."""
    status, written = execute("import matplotlib.pyplot as plt\nassert False\nplt.plot([1, 2]);",
                              tmp_path, dict(os.environ))
    assert status == 0 and '"image/png"' not in written


@pytest.mark.parametrize(("given", "expected"), [
    ("my data/mnist.npz", "{folder}/my data/mnist.npz"), ("/abs/mnist.npz", "/abs/mnist.npz"),
    ("bundled", "bundled"), ("~/mnist.npz", "~/mnist.npz"), ("", "")])
@pytest.mark.parametrize("on_command_line", [False, True])
def test_make_tells_chapters_an_absolute_path(tmp_path, given, expected, on_command_line):
    (tmp_path / "Makefile").write_text(
        f"include {ROOT}/Makefile\nshow:\n\t@echo \"[$$GENMODELS_DATA]\"\n")
    argument, environment = [], dict(os.environ) | {"GENMODELS_DATA": given}
    if on_command_line:
        argument, environment = [f"GENMODELS_DATA={given}"], dict(os.environ)
    for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES"):
        environment.pop(name, None)
    shown = subprocess.run(["make", "-s", *argument, "show"], cwd=tmp_path, env=environment,
                           check=True, capture_output=True, text=True).stdout
    assert shown.strip() == f"[{expected.format(folder=tmp_path)}]"
