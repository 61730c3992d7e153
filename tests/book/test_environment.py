"""Each executed chapter says in what it was executed: what its kernel recorded at the time."""

import json
import os
import platform
import shutil
import subprocess
import sys
from datetime import datetime
from importlib import metadata
from types import ModuleType, SimpleNamespace

import environment_line
import nbformat
import pytest
from bs4 import BeautifulSoup
from docutils import nodes
from nbclient.exceptions import CellExecutionError

import build
import checks
import environment
import notebooks

ELBO = notebooks.CHAPTERS / "foundations" / "elbo.ipynb"
RECORD = {"versions": {"Python": "3.11.7", "NumPy": "2.4.6"}, "backend": None,
          "threads": {"NumPy": 2, "PyTorch": 2}, "commit": "0123456789"}
WHEN = datetime(2026, 3, 5, 12).timestamp()


def execute(folder, *sources: str) -> list[dict | None]:
    """Execute cells as the build does; return what is recorded under the key of each."""
    checks.write_startup(folder / ".ipython")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(each) for each in sources])
    try:
        notebooks.execute(notebook, folder, build.environment(folder), timeout=60)
    finally:
        assert all(output.get("name") != "stderr" for cell in notebook.cells
                   for output in cell.outputs)
    return records(folder, *sources)


def records(folder, *sources: str) -> list[dict | None]:
    paths = [environment.file_of(folder / "checks", key) for key in checks.keys(sources)]
    return [json.loads(path.read_text()) if path.exists() else None for path in paths]


# What the kernel records ------------------------------------------------------------------------


def test_the_last_cell_has_the_record_and_an_older_one_is_forgotten(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    sources = ["import genmodels, numpy", "x = 1"]
    first, last = execute(tmp_path, *sources)
    assert first is None
    assert last["versions"] == {"Python": platform.python_version(),
                                "genmodels": metadata.version("genmodels"),
                                "NumPy": metadata.version("numpy")}
    assert last["threads"] == {"NumPy": 3}
    checks.forget(tmp_path / "checks", sources)
    assert records(tmp_path, *sources) == [None, None]


def test_a_chapter_that_failed_has_none(tmp_path):
    sources = ["x = 1", "raise ValueError"]
    with pytest.raises(CellExecutionError):
        execute(tmp_path, *sources)
    assert records(tmp_path, *sources)[-1] is None


def test_what_is_not_imported_has_no_version_and_what_is_has_its_threads(monkeypatch):
    for name in environment.FRAMEWORKS:
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert list(environment.versions()) == ["Python", "genmodels"]
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "7")
    for name, version in {"torch": "2.13.0+cpu", "keras": "3.15.1", "tensorflow": "2.21.0"}.items():
        module = ModuleType(name)
        module.__version__ = version
        monkeypatch.setitem(sys.modules, name, module)
    sys.modules["torch"].get_num_threads = lambda: 5
    sys.modules["keras"].config = SimpleNamespace(backend=lambda: "torch")
    sys.modules["tensorflow"].config = SimpleNamespace(threading=SimpleNamespace(
        get_intra_op_parallelism_threads=lambda: 0))  # 0: as the variable says
    assert environment.versions()["PyTorch"] == "2.13.0+cpu"
    assert environment.threads() == {"NumPy": 2, "PyTorch": 5, "TensorFlow": 7}
    assert environment.backend() == "torch"


@pytest.mark.parametrize("value", ["", "0", "two"])
def test_without_a_number_each_core_that_may_be_used_is_a_thread(monkeypatch, value):
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 3, 5}, raising=False)
    assert environment.threads()["NumPy"] == 3
    monkeypatch.delattr(os, "sched_getaffinity")  # as on macOS and on Windows
    assert environment.threads()["NumPy"] == os.cpu_count()


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_commit_is_named_and_whether_files_differ_from_it(tmp_path):
    def git(*arguments: str) -> str:
        name = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        return subprocess.run(["git", "-C", str(tmp_path), *name, *arguments], check=True,
                              capture_output=True, text=True).stdout.strip()

    assert environment.commit(tmp_path) is None  # a copy without history
    git("init", "-q")
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-qm", "a")
    name = git("rev-parse", "--short=10", "HEAD")
    (tmp_path / "new").write_text("")  # not of the repository
    os.utime(tmp_path / "a", (0, 0))
    index = (tmp_path / ".git" / "index").read_bytes()
    assert environment.commit(tmp_path) == name
    # Unchanged: who commits while chapters are executed does not find it locked.
    assert (tmp_path / ".git" / "index").read_bytes() == index
    (tmp_path / "a").write_text("2")
    assert environment.commit(tmp_path) == f"{name}+"


def test_without_git_there_is_no_commit(monkeypatch):
    def run(*arguments, **settings):
        raise FileNotFoundError("git")

    monkeypatch.setattr(subprocess, "run", run)
    assert environment.commit() is None


# The page ---------------------------------------------------------------------------------------


@pytest.fixture
def line_of(tmp_path, monkeypatch):
    """A function of a record: the entries of the line of the chapter that has it, and the page."""
    monkeypatch.setenv(checks.FOLDER, str(tmp_path))
    monkeypatch.setenv("GENMODELS_BUDGET", "quick")
    monkeypatch.setattr(environment_line.devices, "device_of", lambda used: "CPU")
    monkeypatch.setattr(environment_line, "repository", dict)
    key = list(checks.keys(cell.source for cell in notebooks.code_cells(ELBO)))[-1]

    def made(record: dict | None, succeeded: bool = True, printed: str = ""):
        if record:
            environment.file_of(tmp_path, key).write_text(json.dumps(record))
        data = {"exec_data": {"succeeded": succeeded, "mtime": WHEN}}
        app = SimpleNamespace(env=SimpleNamespace(nb_metadata={"chapters/foundations/elbo": data}))
        context = {"body": "<p>The chapter.</p>"}
        page = nodes.section()
        page += nodes.container("", nodes.literal_block(printed, printed),
                                classes=["cell_output"])
        environment_line.add(app, "chapters/foundations/elbo", "page.html", context, page)
        shown = BeautifulSoup(context["body"], "html.parser")
        return {row.dt.get_text(): row.dd.get_text()
                for row in shown.select(".environment dl > div")}, shown

    return made


def test_the_line_says_what_was_recorded(line_of):
    loaded = "Loaded full MNIST: 60,000 training and 10,000 test digits (from the cache)."
    found, page = line_of(RECORD, printed=loaded)
    assert found == {
        "Versions": "Python 3.11.7, NumPy 2.4.6", "Device": "CPU, 2 threads", "Budget": "quick",
        "Data": "full MNIST, 60,000 training and 10,000 test digits",
        "Seeds": found["Seeds"], "Commit": "0123456789", "Executed": "5 March 2026"}
    assert found["Seeds"].startswith("0") and page.p.get_text() == "The chapter."


def test_threads_that_differ_a_backend_and_changed_files_are_told(line_of):
    found, _ = line_of(RECORD | {"threads": {"NumPy": 1, "PyTorch": 2}, "backend": "torch",
                                 "commit": "0123456789+"})
    assert found["Device"] == "CPU, threads: NumPy 1, PyTorch 2"
    assert found["Versions"].endswith("Keras on PyTorch")
    assert found["Commit"] == "0123456789, with changes"
    assert line_of(RECORD | {"threads": {"NumPy": 1}})[0]["Device"] == "CPU, 1 thread"
    assert "Commit" not in line_of(RECORD | {"commit": None})[0]


def test_the_commit_is_a_link_where_the_repository_is_known(line_of, monkeypatch):
    monkeypatch.setattr(environment_line, "repository",
                        lambda: {"url": "https://git.example.org/a/b.git"})
    _, page = line_of(RECORD | {"commit": "0123456789+"})
    assert page.select_one(".environment a")["href"] == (
        "https://git.example.org/a/b/commit/0123456789")


def test_what_was_not_executed_has_no_line(line_of):
    assert line_of(None)[0] == {}
    assert line_of(RECORD, succeeded=False)[0] == {}


def test_seeds_are_those_that_cells_name_as_numbers():
    assert environment_line.seeds([
        "rng = np.random.default_rng(3)", "torch.manual_seed(0); fit(model, seed=12)",
        "keras.utils.set_random_seed(seed)\nfor seed in range(5): default_rng(seed)",
        "x = sample(8, seed=None)\nf(True)\n%matplotlib inline"]) == [0, 3, 12]


def test_another_recorder_executes_a_chapter_again(tmp_path, monkeypatch):
    (tmp_path / "book").mkdir()
    monkeypatch.setattr(build, "ROOT", tmp_path)
    before = build.fingerprints([ELBO])
    (tmp_path / "book" / "environment.py").write_text("FRAMEWORKS = {}")
    assert build.fingerprints([ELBO]) != before
