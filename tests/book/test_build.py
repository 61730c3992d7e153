"""The book is built alike in every environment, and executes what has changed, no more."""

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import nbformat
import plots
import pytest
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from nbclient.exceptions import CellExecutionError

import build
import dependencies
import execution
import inline_figures
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
def test_a_figure_is_drawn_as_svg_and_at_twice_the_density_twice_alike(tmp_path):
    variables = build.environment(tmp_path)
    inline_figures.write(Path(variables["IPYTHONDIR"]))
    source = ("import matplotlib.pyplot as plt\n"
              "plt.figure(figsize=(3, 2), dpi=100)\nplt.plot([1, 2]);")
    first, second = (json.loads(execute(source, variables, tmp_path)) for _ in range(2))
    drawn, again = ([output["data"] for output in each["cells"][0]["outputs"]
                     if "image/png" in output["data"]] for each in (first, second))
    assert drawn == again and len(drawn) == 1
    assert "<dc:date>" not in "".join(drawn[0]["image/svg+xml"])
    width, height = plots.size_of_png(base64.b64decode(drawn[0]["image/png"]))
    assert 190 < width < 220 and 120 < height < 150  # 3 × 2 inches, less what is empty at the edges
    pixels = int.from_bytes(base64.b64decode(drawn[0]["image/png"])[16:20], "big")
    assert pixels == pytest.approx(width / 72 * 200, abs=1)


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


REACH_EXACT = {
    "gaussian": {"learning_distributions", "latent_variables", "kl_divergence", "elbo",
                 "gradients", "vae_keras", "vae_torch", "collapse", "linear_vae", "bounds",
                 "comparing", "conditional", "hierarchical", "parameterisations", "samplers",
                 "likelihood_guidance", "boltzmann"},
    "hybrid_monte_carlo": {"boltzmann", "lattice_fields"},
    "ising": {"boltzmann", "spins_vae", "masked_spins"},
    "kaufman": {"boltzmann", "spins_vae", "masked_spins"},
    "lattice": {"boltzmann", "lattice_fields"},
    "lattice_fields": {"boltzmann", "lattice_fields"},
    "lattice_sweeps": {"boltzmann", "lattice_fields"},
    "linear_gaussian": {"latent_variables", "elbo", "gradients", "linear_vae", "bounds",
                        "comparing", "conditional"},
    "mixture": {"learning_distributions", "hierarchical", "parameterisations", "samplers",
                "likelihood_guidance"},
}


def test_every_module_of_exact_is_among_those_that_are_changed():
    assert {path.stem for path in (dependencies.CODE / "genmodels" / "exact").glob("[!_]*.py")
            } == set(REACH_EXACT)


@pytest.mark.parametrize(("file", "expected"), [
    *((f"exact/{module}.py", chapters) for module, chapters in REACH_EXACT.items()),
    ("exercises/grade.py", set()),
    ("models/classifier_torch.py", {"learning_distributions", "digits", "likelihood_guidance"}),
    ("exercises/chapters/elbo.py", {"elbo"}),
    ("sample_quality.py", {"digits"}),
    ("models/iwae_torch.py", {"bounds", "comparing"}),
    # by other modules, too
    ("models/conversion.py", {"learning_distributions", "two_frameworks", "bounds", "comparing",
      "digits", "likelihood_guidance", "masked_spins", "lattice_fields"}),
    ("models/weights/vae-1.json", {"learning_distributions", "bounds", "comparing", "digits",
      "likelihood_guidance", "masked_spins", "lattice_fields"}),
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


PACKAGE = dependencies.Package()
OF_TORCH = {"learning_distributions", "latent_variables", "kl_divergence", "gradients",
            "vae_keras", "vae_torch", "two_frameworks", "collapse", "linear_vae", "bounds",
            "comparing", "conditional", "digits", "likelihood_guidance", "spins_vae",
            "masked_spins", "lattice_fields"}
OF_KERAS = {"latent_variables", "kl_divergence", "vae_keras", "two_frameworks", "conditional",
            "digits", "spins_vae"}


@pytest.mark.parametrize(("distribution", "expected"), [
    ("ruff", set()), ("pytest", set()), ("sphinx", set()),
    ("ipykernel", set(CHAPTERS)), ("pyzmq", set(CHAPTERS)),  # which ipykernel needs
    ("matplotlib-inline", set(CHAPTERS)), ("numpy", set(CHAPTERS)),
    ("torch", OF_TORCH), ("sympy", OF_TORCH),  # which PyTorch needs
    ("tensorflow", OF_KERAS),  # behind Keras unless KERAS_BACKEND is set
    ("keras", OF_KERAS),  # which TensorFlow needs
    ("PyYAML", set()),
    ("pooch", {"learning_distributions", "vae_keras", "vae_torch", "two_frameworks", "collapse",
               "linear_vae", "bounds", "comparing", "conditional", "digits",
               "likelihood_guidance"}),
])
def test_a_change_of_a_pin_reaches_the_chapters_that_use_it(tmp_path, distribution, expected):
    pins = tmp_path / "constraints.txt"

    def all_sums() -> dict[str, str]:
        return {name: dependencies.fingerprint(chapter, PACKAGE, {}, pins)
                for name, chapter in CHAPTERS.items()}

    pins.write_text(f"# pins\n{distribution.lower()}==2.0\n")
    before = all_sums()
    pins.write_text(f"# pins\n{distribution.lower()}==2.1\n")
    assert changed(before, all_sums()) == expected


def test_make_test_executes_these_chapters_with_keras_on_tensorflow_too(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["dependencies.py", "keras"])
    dependencies.main()
    listed = capsys.readouterr().out.split()
    assert {Path(path).stem for path in listed} == OF_KERAS - {"latent_variables"}  # has no Keras
    assert all((ROOT / path).is_file() for path in listed)


def test_a_distribution_that_no_chapter_uses_is_a_mistake(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["dependencies.py", "kears"])
    with pytest.raises(SystemExit, match=r"distribution must be one that .* got 'kears'"):
        dependencies.main()


def test_the_backend_behind_keras_counts(tmp_path):
    pins, found = tmp_path / "constraints.txt", {}
    for version in ("2.0", "2.1"):
        pins.write_text(f"tensorflow=={version}\n")
        for backend in ("torch", "tensorflow", None):
            found[backend, version] = dependencies.fingerprint(
                CHAPTERS["conditional"], PACKAGE, {"KERAS_BACKEND": backend}, pins)
    assert found["torch", "2.0"] == found["torch", "2.1"]
    assert found["tensorflow", "2.0"] != found["tensorflow", "2.1"]
    assert found[None, "2.0"] != found[None, "2.1"]


def test_what_executes_a_chapter_is_pinned():
    names = [pin.partition("==")[0] for pin in dependencies.pins_of(dependencies.EXECUTING)]
    assert set(dependencies.EXECUTING) <= set(names)


def test_all_pages_are_written_again_when_what_makes_them_has_another_version():
    names = {pin.partition("==")[0] for pin in dependencies.pins_of(build.PAGE_MAKERS)}
    assert {*build.PAGE_MAKERS, "sphinx", "myst-nb", "sphinx-book-theme"} <= names
    assert not {"ruff", "torch"} & names


def test_the_formats_of_figures_count(monkeypatch):
    before = build.fingerprints([CHAPTERS["elbo"]])
    monkeypatch.setattr(inline_figures, "CONFIGURATION", "# another")
    assert build.fingerprints([CHAPTERS["elbo"]]) != before


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
    """A Jupyter Book that writes one page, or fails; nothing is executed before it, or it fails."""
    outcome = {"status": 0, "text": "first", "execution": 0}

    def run(command: list[str], **_) -> subprocess.CompletedProcess:
        if execution.__file__ in command:
            outcome["executed"] = [Path(each).stem for each in command if each.endswith(".ipynb")]
            return subprocess.CompletedProcess(command, outcome["execution"])
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


def test_without_the_outputs_of_a_chapter_no_page_is_made(tmp_path, jupyter_book):
    jupyter_book["execution"] = 1
    assert build.build(tmp_path) == 1
    assert jupyter_book["executed"] == list(CHAPTERS)
    assert not (tmp_path / "_build" / "work" / "_build" / "html").exists()


def test_chapters_that_use_a_gpu_are_left_to_jupyter_book(tmp_path, jupyter_book, monkeypatch):
    monkeypatch.setattr(build.devices, "device_of",
                        lambda used: "CPU and GPU" if "torch" in used else "CPU")
    assert build.build(tmp_path) == 0
    assert set(jupyter_book["executed"]) == CHAPTERS.keys() - OF_TORCH


def test_the_pages_are_whole_at_every_moment_and_after_every_interruption(tmp_path):
    made, place = tmp_path / "made", tmp_path / "html"
    made.mkdir()
    (made / "index.html").write_text("old")

    def publish(text: str, stop: int | None = None) -> list[str]:
        """The page before each line of `build.publish`, which ends before the line `stop`."""
        (made / "index.html").write_text(text)
        seen, before = [], sys.gettrace()

        def trace(frame, event, _):
            if event == "line":
                seen.append((place / "index.html").read_text())
                if len(seen) == stop:
                    raise KeyboardInterrupt
            return trace

        sys.settrace(lambda frame, *_: trace if frame.f_code is build.publish.__code__ else None)
        try:
            build.publish(made, place)
        finally:
            sys.settrace(before)
        return seen

    place.mkdir()  # by an older build, which made no link
    build.publish(made, place)
    lines = [publish("old"), publish("old")][-1]
    for stop in range(1, len(lines) + 1):
        with pytest.raises(KeyboardInterrupt):
            publish("new", stop)
        assert set(publish("old")) <= {"old", "new"}
    assert set(publish("new")) == {"old", "new"}
    assert len(list(tmp_path.iterdir())) == 3  # what was made, the link and one copy


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
