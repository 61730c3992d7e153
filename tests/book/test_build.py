"""The book is built alike in every environment, and executes what has changed, no more."""

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

import nbformat
import pytest
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from nbclient.exceptions import CellExecutionError

import build
import dependencies
import notebooks
import pages

ROOT = notebooks.ROOT
CHAPTERS = {chapter.stem: chapter for chapter in notebooks.in_order()}


def execute(source: str, variables: Mapping[str, str], folder: Path) -> str:
    """Execute a cell in an environment; return the notebook's text."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    notebooks.execute(notebook, folder, variables, timeout=60)
    return nbformat.writes(notebook)


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
    written = execute(
        "import json, os, matplotlib.pyplot as plt, numpy\n"
        "from pathlib import Path\n"
        "assert plt.rcParams['lines.linewidth'] == plt.rcParamsDefault['lines.linewidth'] == 1.5\n"
        "assert not hasattr(numpy, 'changed')\n"
        "assert not Path(os.environ['KERAS_HOME'], 'keras.json').exists()\n"
        "plt.plot([1, 2]);", build.environment(tmp_path), tmp_path)
    assert '"image/png"' in written


@pytest.mark.usefixtures("unkind")
def test_asserts_are_executed(tmp_path):
    with pytest.raises(CellExecutionError, match="AssertionError"):
        execute("assert False", build.environment(tmp_path), tmp_path)


@pytest.mark.usefixtures("unkind")
def test_these_settings_would_change_a_chapter(tmp_path):
    """The two tests above can fail: without `environment`, there is no figure and no assert."""
    written = execute("import matplotlib.pyplot as plt\nassert False\nplt.plot([1, 2]);",
                      os.environ, tmp_path)
    assert '"image/png"' not in written


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


# What is executed again -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    """A copy of the package's code and data, small enough to be copied for each test."""
    folder = tmp_path_factory.mktemp("original") / "code"
    shutil.copytree(dependencies.CODE / "genmodels", folder / "genmodels",
                    ignore=shutil.ignore_patterns("__pycache__", "*.safetensors", "*.npz"))
    return folder


@pytest.fixture
def code(original, tmp_path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "code"))


def append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n# a comment\n")


def sums(code: Path, chapters: Iterable[str] = CHAPTERS, **settings: str) -> dict[str, str]:
    package = dependencies.Package(code)
    return {name: dependencies.fingerprint(CHAPTERS[name], package, settings) for name in chapters}


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize(("file", "expected"), [
    ("exercises/grade.py", set()),
    ("models/classifier_torch.py", {"digits", "likelihood_guidance"}),
    ("exercises/chapters/elbo.py", {"elbo"}),
    ("sample_quality.py", {"digits"}),
    ("exact/mixture.py", {"latent_variables", "hierarchical", "parameterisations", "samplers",
                          "likelihood_guidance"}),
    ("models/iwae_torch.py", {"how_good"}),  # reached
    ("models/conversion.py",  # by other modules, too
     {"how_good", "digits", "two_frameworks", "likelihood_guidance"}),
    ("models/weights/vae-1.json", {"how_good", "digits", "likelihood_guidance"}),
    ("validate.py", set(CHAPTERS)),
    ("course.mplstyle", set(CHAPTERS)),
])
def test_a_change_of_a_file_reaches_these_chapters(code, file, expected):
    before = sums(code)
    append(code / "genmodels" / file)
    assert changed(before, sums(code)) == expected


def test_imports_inside_functions_and_relative_ones_are_followed(code):
    (code / "genmodels" / "exact" / "fields.py").write_text("")
    (code / "genmodels" / "lattices.py").write_text("def f():\n    from .exact import fields\n")
    gaussian = code / "genmodels" / "exact" / "gaussian.py"
    gaussian.write_text(gaussian.read_text() + "\ndef g():\n    import genmodels.lattices\n")
    before = sums(code, ["elbo", "samplers"])
    append(code / "genmodels" / "exact" / "fields.py")
    assert changed(before, sums(code, before)) == {"elbo", "samplers"}


def test_imports_that_form_a_circle_are_read_to_the_end(code):
    gaussian = code / "genmodels" / "exact" / "gaussian.py"
    gaussian.write_text(gaussian.read_text() + "\nfrom genmodels.exact import linear_gaussian\n")
    assert sums(code, ["elbo"])


def test_every_data_file_of_the_package_belongs_to_a_module():
    """Or a change of it would leave old outputs in the book."""
    package = dependencies.CODE / "genmodels"
    data = {path.parent for path in package.rglob("*")
            if path.is_file() and path.suffix not in (".py", ".mplstyle")
            and "__pycache__" not in path.parts}
    assert data == {dependencies.CODE / folder for folder in dependencies.DATA.values()}
    assert dependencies.DATA.keys() <= dependencies.Package().files.keys()


def test_versions_and_variables_count_for_every_chapter(code, tmp_path):
    package, pins = dependencies.Package(code), tmp_path / "constraints.txt"
    chapter = CHAPTERS["elbo"]
    pins.write_text("numpy==2.0")
    found = [dependencies.fingerprint(chapter, package, {"GENMODELS_BUDGET": value}, pins)
             for value in (None, "quick", "quick")]
    pins.write_text("numpy==2.1")
    found.append(dependencies.fingerprint(chapter, package, {"GENMODELS_BUDGET": "quick"}, pins))
    assert found[1] == found[2] and len(set(found)) == 3


@pytest.mark.parametrize("variable", build.VARIABLES)
def test_the_variables_of_the_readme_count(monkeypatch, variable):
    monkeypatch.setenv(variable, "one")
    before = build.fingerprints([CHAPTERS["elbo"]])
    assert build.fingerprints([CHAPTERS["elbo"]]) == before
    monkeypatch.setenv(variable, "another")
    assert build.fingerprints([CHAPTERS["elbo"]]) != before


class Book:
    """Two chapters, and the cache in which Jupyter Book would store their outputs."""

    def __init__(self, folder: Path) -> None:
        self.cache = get_cache(folder / "cache")
        self.record = folder / "fingerprints.json"
        self.now = {folder / "a.ipynb": "1", folder / "b.ipynb": "1"}
        for chapter in self.now:
            self.write(chapter, f"{chapter.stem} = 1")

    def write(self, chapter: Path, source: str) -> None:
        cell = nbformat.v4.new_code_cell(source, id="a")
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), chapter)

    def missing(self) -> str:
        """The chapters that would be executed, and are: their outputs are stored."""
        found = build.forget_stale(self.cache, self.record, self.now)
        for chapter in found:
            self.store(chapter)
        return "".join(chapter.stem for chapter in found)

    def store(self, chapter: Path) -> None:
        bundle = CacheBundleIn(notebooks.read(chapter), str(chapter))
        self.cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)


@pytest.fixture
def book(tmp_path) -> Book:
    made = Book(tmp_path)
    assert made.missing() == "ab" and made.missing() == ""
    return made


def test_a_chapter_whose_fingerprint_changed_is_executed(book):
    book.now[book.record.parent / "b.ipynb"] = "2"
    assert book.missing() == "b" and book.missing() == ""


def test_a_chapter_whose_code_changed_is_executed(book):
    book.write(book.record.parent / "a.ipynb", "a = 2")
    assert book.missing() == "a" and book.missing() == ""


def test_text_and_cell_ids_execute_nothing(book):
    notebook = nbformat.v4.new_notebook(cells=[
        nbformat.v4.new_markdown_cell("New."), nbformat.v4.new_code_cell("a = 1", id="b")])
    nbformat.write(notebook, book.record.parent / "a.ipynb")
    assert book.missing() == ""


def test_old_code_does_not_get_the_outputs_of_an_old_package(book):
    chapter = book.record.parent / "a.ipynb"
    book.write(chapter, "a = 2")
    assert book.missing() == "a"
    book.now[chapter] = "2"
    assert book.missing() == "a"
    book.write(chapter, "a = 1")  # stored when the fingerprint was 1
    assert book.missing() == "a"


def test_what_an_interrupted_build_has_executed_counts(book):
    for chapter in book.now:
        book.now[chapter] = "2"
    build.forget_stale(book.cache, book.record, book.now)
    book.store(book.record.parent / "a.ipynb")  # and killed
    assert book.missing() == "b"


@pytest.mark.parametrize("damage", [lambda path: path.write_text('{"cells": ['),
                                    lambda path: path.unlink()], ids=["half", "gone"])
def test_stored_outputs_that_cannot_be_read_are_made_again(book, damage):
    key = book.cache.match_cache_notebook(notebooks.read(book.record.parent / "a.ipynb")).hashkey
    damage(book.cache.path / "executed" / key / "base.ipynb")
    assert "a" in book.missing() and book.missing() == ""


def test_no_record_means_nothing_is_known(book):
    book.record.unlink()
    assert book.missing() == "ab"


# What is kept -----------------------------------------------------------------------------------


@pytest.fixture
def jupyter_book(monkeypatch, tmp_path):
    """A Jupyter Book that writes one page, or fails; nothing is executed."""
    outcome = {"status": 0, "text": "first"}

    def run(command: list[str], **_) -> subprocess.CompletedProcess:
        html = Path(command[command.index("--path-output") + 1]) / "_build" / "html"
        html.mkdir(exist_ok=True)
        (html / "index.html").write_text(outcome["text"])
        if outcome["status"] is None:
            raise KeyboardInterrupt
        return subprocess.CompletedProcess(command, outcome["status"])

    monkeypatch.setattr(build.subprocess, "run", run)
    monkeypatch.setattr(build.pages, "write", lambda: [])
    return outcome


@pytest.mark.parametrize("status", [1, None])
def test_the_last_good_pages_stay(tmp_path, jupyter_book, status):
    index = tmp_path / "_build" / "html" / "index.html"
    assert build.build(tmp_path) == 0 and index.read_text() == "first"
    jupyter_book.update(status=status, text="half")
    if status is None:
        with pytest.raises(KeyboardInterrupt):
            build.build(tmp_path)
    else:
        assert build.build(tmp_path) == status
    assert index.read_text() == "first"
    jupyter_book.update(status=0, text="second")
    assert build.build(tmp_path) == 0 and index.read_text() == "second"


def test_all_pages_are_written_again_when_their_sources_changed_or_a_build_failed(
        tmp_path, jupyter_book, monkeypatch):
    doctree = tmp_path / "_build" / "work" / "_build" / ".doctrees" / "index.doctree"

    def is_read_again() -> bool:
        doctree.parent.mkdir(exist_ok=True)
        doctree.touch()
        build.build(tmp_path)
        return not doctree.exists()

    build.build(tmp_path)
    assert not is_read_again()
    monkeypatch.setattr(build, "PAGE_SOURCES", ["_toc.yml"])
    assert is_read_again() and not is_read_again()
    jupyter_book["status"] = 1
    build.build(tmp_path)
    jupyter_book["status"] = 0
    assert is_read_again() and not is_read_again()


def test_generated_pages_are_written_where_their_text_changed_alone(tmp_path, monkeypatch):
    texts = {tmp_path / "a.md": "a", tmp_path / "b.md": "b"}
    monkeypatch.setattr(pages, "texts", lambda: texts)
    assert pages.write() == list(texts) and pages.write() == []
    texts[tmp_path / "b.md"] = "c"
    assert pages.write() == [tmp_path / "b.md"]
    assert (tmp_path / "b.md").read_text() == "c"
