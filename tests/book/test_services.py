"""benchmarks/services.py without an index: what it reads, compares, reports and refuses."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

import install_cell

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "benchmarks" / "services.py"
FREEZE = """\
# pip freeze
google-colab @ file:///colabtools/dist/google_colab-1.0.0.tar.gz
ipython==7.34.0
numpy==2.0.2
Pillow==11.3.0
torch==2.9.0+cu126
"""


@pytest.fixture(scope="module")
def services():
    """benchmarks/services.py as a module."""
    spec = importlib.util.spec_from_file_location("services", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def result(**changes) -> dict:
    """What a run of two chapters is that finds nothing wrong."""
    row = {"chapter": "elbo", "seconds": 30.0, "error": "", "changed": {},
           "added": {"genmodels": "0.1.0", "pooch": "1.9.0"}}
    return {"service": "newest", "python": "3.11.7", "commit": "0123456", "date": "2026-01-01",
            "chapters": [row, row | {"chapter": "bounds"}], "files": 9, "files_changed": [],
            "versions": {"numpy": "2.4.6"}} | changes


def test_what_a_file_of_a_service_says_of_our_packages_and_of_the_kernel(services, tmp_path):
    path = tmp_path / "colab.txt"
    path.write_text(FREEZE)
    assert services.requirements(str(path), "3.11") == ["ipython==7.34.0", "numpy==2.0.2",
                                                        "torch==2.9.0"]


def test_every_range_of_what_chapters_need_is_looked_at(services):
    assert services.ours() >= {"numpy", "pooch", "torch", "tensorflow", "keras", "jax", "numba"}
    assert "jupyter-book" not in services.ours()


def test_additions_are_no_changes(services):
    before = {"numpy": "2.0.0", "scipy": "1.15.0", "six": "1.17"}
    assert services.difference(before, before) == ({}, {})
    assert services.difference(before, before | {"genmodels": "0.1"}) == ({"genmodels": "0.1"}, {})
    assert services.difference(before, {"numpy": "2.1.0", "scipy": "1.15.0"}) == (
        {}, {"numpy": ("2.0.0", "2.1.0"), "six": ("1.17", None)})


def test_files_but_those_that_python_compiles(services, tmp_path):
    module, compiled = tmp_path / "a.py", tmp_path / "__pycache__" / "a.pyc"
    compiled.parent.mkdir()
    module.write_text("")
    compiled.write_text("")
    before = services.files(tmp_path)
    compiled.write_text("other")
    assert services.files(tmp_path) == before and before.keys() == {"a.py"}
    module.write_text("other")
    assert services.difference(before, services.files(tmp_path))[1].keys() == {"a.py"}


def row_with(**changes) -> dict:
    return {"chapters": [result()["chapters"][0] | changes]}


@pytest.mark.parametrize("wrong", [
    {"files_changed": ["numpy/version.py"]}, row_with(error="ImportError: no\nmore lines"),
    row_with(changed={"numpy": ("2.0.0", "2.1.0")})])
def test_one_fault_is_enough(services, wrong):
    assert services.is_sound(result()) and not services.is_sound(result(**wrong))


def test_the_report(services):
    text = services.report([result(), result(service="oldest", versions={"jax": "0.6.0"},
                                             **row_with(error="ImportError: no\nmore lines"))])
    assert ("| newest | 3.11.7 | 2 of 2 | genmodels 0.1.0, pooch 1.9.0 | none | 0 of 9 | 1.0 | "
            "0123456, 2026-01-01 |") in text
    assert "- oldest, Python 3.11.7, elbo: `ImportError: no`" in text and "more" not in text
    assert "| jax | – | 0.6.0 |" in text and "| numpy | 2.4.6 | – |" in text


@pytest.mark.parametrize(("source", "printed", "expected"), [
    ("1 / 0", "Installed genmodels", "ZeroDivisionError: division by zero"),
    ("assert False", "Installed genmodels", "AssertionError:"),
    ("2", "Installed genmodels", ""),
    ("2", "nothing", "the cell installed nothing: 'nothing\\n'")])
def test_what_went_wrong_in_a_notebook(services, tmp_path, source, printed, expected):
    notebook = nbformat.v4.new_notebook(cells=[
        nbformat.v4.new_code_cell(f"print({printed!r})", id=install_cell.ID),
        nbformat.v4.new_code_cell(source)])
    assert services.error_in(notebook, tmp_path, dict(services.os.environ)) == expected


@pytest.mark.parametrize(("arguments", "message"), [
    (["newst"], "a service must be newest, oldest or a file of pip freeze, got 'newst'"),
    (["newest", "--chapters", "elbow"], "--chapters must be of learning_distributions,"),
    (["newest"], "uv must be on the PATH (pip install uv), got none")])
def test_what_it_refuses(arguments, message, tmp_path):
    ended = subprocess.run([sys.executable, SCRIPT, *arguments], env={"PATH": str(tmp_path)},
                           capture_output=True, text=True, check=False)
    assert ended.returncode == 2 and message in ended.stderr


def test_changes_that_are_not_committed_would_not_be_installed(services, monkeypatch, capsys):
    monkeypatch.setattr(services, "output_of", lambda *command: " M pyproject.toml\n")
    monkeypatch.setattr(services.shutil, "which", lambda name: "/usr/bin/uv")
    monkeypatch.setattr(sys, "argv", ["services.py", "newest"])
    with pytest.raises(SystemExit):
        services.main()
    assert "commit first, got changes in\n M pyproject.toml" in capsys.readouterr().err


def test_a_run_is_added_to_those_of_other_services_and_its_status_tells(
        services, monkeypatch, tmp_path):
    path = tmp_path / "results" / "services.json"
    monkeypatch.setattr(services, "output_of", lambda *command: "")
    monkeypatch.setattr(services.shutil, "which", lambda name: "/usr/bin/uv")

    def status(service: str, **found) -> int:
        monkeypatch.setattr(services, "run", lambda *a: result(service=service, **found))
        monkeypatch.setattr(sys, "argv", ["services.py", service, f"--output={path}"])
        with pytest.raises(SystemExit) as ended:
            services.main()
        return int(ended.value.code)

    assert status("newest") == 0 and status("oldest", **row_with(error="no")) == 1
    assert status("newest", date="2026-02-02") == 0
    stored = json.loads(path.read_text())
    assert [(each["service"], each["date"]) for each in stored] == [
        ("oldest", "2026-01-01"), ("newest", "2026-02-02")]
    assert path.with_suffix(".md").read_text() == services.report(stored)


def test_a_chapter_that_is_run_again_replaces_the_earlier_run(
        services, tmp_path):
    path = tmp_path / "services.json"
    services.add(result(**row_with(error="killed"), files_changed=["a"]), path)
    services.add(result(**row_with(chapter="bounds")), path)
    services.add(result(**row_with(error="")), path)
    (stored,) = json.loads(path.read_text())
    assert [(row["chapter"], row["error"]) for row in stored["chapters"]] == [
        ("bounds", ""), ("elbo", "")]
    assert stored["files_changed"] == ["a"]


@pytest.mark.parametrize("other", [{"versions": {"numpy": "2.5.0"}}, {"commit": "7654321"}],
                         ids=lambda other: next(iter(other)))
def test_nothing_stays_of_other_versions_or_of_another_commit(services, tmp_path, other):
    path = tmp_path / "services.json"
    services.add(result(), path)
    services.add(result(**row_with(chapter="bounds"), **other), path)
    (stored,) = json.loads(path.read_text())
    assert [row["chapter"] for row in stored["chapters"]] == ["bounds"]


def test_the_page_says_what_was_found(services):
    """chapters/appendix/systems.md: which Pythons with which versions, and that all passed."""
    page = (ROOT / "chapters" / "appendix" / "systems.md").read_text(encoding="utf-8")
    assert ("on Python 3.11 with the oldest versions that our ranges allow, and on Python 3.11, "
            "3.12 and 3.13 with the\nnewest. All passed") in page
    found = json.loads(services.RESULTS.read_text(encoding="utf-8"))
    assert {(each["service"], each["python"].rpartition(".")[0]) for each in found} == {
        ("oldest", "3.11"), ("newest", "3.11"), ("newest", "3.12"), ("newest", "3.13")}
    assert all(map(services.is_sound, found))
    chapters = [{row["chapter"] for row in each["chapters"]} for each in found]
    assert all(each == chapters[0] for each in chapters)
