"""The cell that installs the package: in no notebook or in all, and it changes no version."""

import json
import os
import shutil
import subprocess
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

import dependencies
import install_cell
import notebooks

PACKAGE = dependencies.Package()
CHAPTERS = {chapter.stem: chapter for chapter in notebooks.in_order()}
URL = "https://git.example.org/owner/name"
COMMAND = "python book/install_cell.py"


def cells_in(text: str) -> list[dict]:
    return [cell for cell in json.loads(text)["cells"] if cell["id"] == install_cell.ID]


# In the notebooks -------------------------------------------------------------------------------


@pytest.mark.parametrize("chapter", CHAPTERS.values(), ids=CHAPTERS)
def test_each_notebook_has_the_cell_of_the_address_in_the_configuration(chapter):
    expected = install_cell.with_cell(chapter, install_cell.repository(), PACKAGE)
    assert chapter.read_text(encoding="utf-8") == expected, f"write the cell anew: {COMMAND}"


@pytest.mark.parametrize(("chapter", "package"), [
    ("elbo", "genmodels"), ("latent_variables", "genmodels"), ("vae_torch", "genmodels[torch]"),
    ("two_frameworks", "genmodels[keras,torch]"), ("boltzmann", "genmodels[physics]")])
def test_it_asks_for_what_a_chapter_imports_and_stands_below_the_title(chapter, package):
    text = install_cell.with_cell(CHAPTERS[chapter], {"url": f"{URL}/", "branch": "b"}, PACKAGE)
    title, cell = json.loads(text)["cells"][:2]
    assert "".join(title["source"]).startswith("# ") and cell["id"] == install_cell.ID
    source = "".join(cell["source"])
    assert f'("{package} @ "\n' in source and f'"git+{URL}@b")' in source
    assert "remove-cell" in cell["metadata"]["tags"]


def test_it_is_written_anew_and_removed_and_nothing_else_is_touched(tmp_path, monkeypatch):
    original = CHAPTERS["elbo"].read_text(encoding="utf-8")
    path = tmp_path / "elbo.ipynb"
    path.write_text(original, encoding="utf-8")
    monkeypatch.setattr(install_cell.notebooks, "notebooks", lambda: [path])
    monkeypatch.setattr(install_cell.notebooks, "ROOT", tmp_path)

    def update(**repository) -> list[Path]:
        (tmp_path / "_config.yml").write_text(yaml.safe_dump({"repository": repository}))
        return install_cell.update()

    assert update() == []
    assert update(url=URL) == [path] and update(url=URL) == []
    first = path.read_text(encoding="utf-8")
    assert f"{URL}@main" in first and len(cells_in(first)) == 1
    assert update(url=URL, branch="v2") == [path]
    assert f"{URL}@v2" in path.read_text(encoding="utf-8")
    assert len(cells_in(path.read_text(encoding="utf-8"))) == 1
    assert update() == [path] and path.read_text(encoding="utf-8") == original


# When it runs -----------------------------------------------------------------------------------


def source_for(package: str, address: str) -> str:
    return "".join(install_cell.cell_of(package, address)["source"])


def test_it_does_nothing_where_the_package_is(monkeypatch, capsys):
    monkeypatch.setattr(subprocess, "run", lambda *args, **settings: pytest.fail("pip was called"))
    names: dict = {}
    exec(source_for("genmodels", f"git+{URL}@main"), names)
    assert capsys.readouterr().out == "" and names.keys() - {"__builtins__"} == {"importlib"}


def wheel(folder: Path, name: str, version: str, *needs: str) -> Path:
    """Write a package of one empty module as pip installs it, and return its path."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", "")
        archive.writestr(f"{info}/METADATA", "".join(
            f"{line}\n" for line in ["Metadata-Version: 2.1", f"Name: {name}",
                                     f"Version: {version}", "Provides-Extra: torch",
                                     *(f"Requires-Dist: {need}" for need in needs)]))
        archive.writestr(f"{info}/WHEEL",
                         "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture(scope="module")
def empty(tmp_path_factory) -> Path:
    """An environment with pip, and what a kernel brings: a copy of `packaging`."""
    folder = tmp_path_factory.mktemp("service") / "env"
    venv.create(folder, with_pip=True)
    (site_packages,) = folder.glob("lib/python*/site-packages")
    import packaging
    shutil.copytree(Path(packaging.__file__).parent, site_packages / "packaging")
    return folder


@pytest.fixture
def service(empty, tmp_path):
    """A service's environment, and a package index with newer versions beside the missing ones."""
    env = Path(shutil.copytree(empty, tmp_path / "env", symlinks=True))
    (site_packages,) = env.glob("lib/python*/site-packages")
    index = tmp_path / "index"
    index.mkdir()
    of_the_user = tmp_path / ".local" / site_packages.relative_to(env)
    of_the_user.mkdir(parents=True)
    (of_the_user / "of_the_user.py").touch()  # what an environment of its own does not see
    variables = {name: value for name, value in os.environ.items()
                 if not name.startswith(("PIP_", "PYTHON"))}
    variables |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index), "PIP_CONFIG_FILE": os.devnull,
                  "HOME": str(tmp_path)}

    class Service:
        folder = index

        def has(self, name: str, version: str) -> None:
            """Put a package there as if the service had installed it."""
            info = site_packages / f"{name}-{version}.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\n"
                                           f"Version: {version}\n")
            (info / "RECORD").write_text(f"{info.name}/METADATA,,\n{info.name}/RECORD,,\n")

        def versions(self) -> dict[str, str]:
            names = [path.name.removesuffix(".dist-info").rpartition("-")
                     for path in site_packages.glob("*.dist-info")]
            return {name: version for name, _, version in names if name != "pip"}

        def run(self, package: str, path: Path) -> subprocess.CompletedProcess:
            """Run the cell, and import what it has installed."""
            source = (source_for(package, path.as_uri()) + "\nimport genmodels, pooch\n"
                      "assert importlib.util.find_spec('of_the_user') is None\n")
            return subprocess.run([env / "bin" / "python", "-c", source], env=variables,
                                  cwd=tmp_path, capture_output=True, text=True, check=False)

    return Service()


def test_what_is_missing_is_added_and_every_version_stays(service):
    for name, version in {"numpy": "2.0.2", "torch": "2.9.0+cu126", "typing_extensions": "4.1"
                          }.items():
        service.has(name, version)
        wheel(service.folder, name, "9.9")
    service.has("of_the_system", "1.16.0-unknown")  # Debian's, which pip cannot read
    wheel(service.folder, "pooch", "1.8", "numpy")
    wheel(service.folder, "pooch", "1.9", "numpy>=3")  # the newest would change what is there
    package = wheel(service.folder, "genmodels", "0.1.0", "numpy>=2.0", "pooch>=1.7",
                    "torch>=2.6; extra == 'torch'")
    before = service.versions()
    done = service.run("genmodels[torch]", package)
    assert done.returncode == 0, done.stderr
    assert service.versions() == before | {"pooch": "1.8", "genmodels": "0.1.0"}
    assert done.stdout.splitlines() == [
        f"Installed genmodels[torch] @ {package.as_uri()}; all other versions are as they were."]


def test_a_folder_of_that_name_is_not_the_package(service, tmp_path):
    (tmp_path / "genmodels").mkdir()  # where the cell runs, as a clone of the repository may be
    wheel(service.folder, "pooch", "1.9")
    package = wheel(service.folder, "genmodels", "0.1.0", "pooch>=1.7")
    done = service.run("genmodels", package)
    assert done.returncode == 0, done.stderr
    assert service.versions()["genmodels"] == "0.1.0"


def test_a_version_that_does_not_fit_is_named_and_nothing_is_changed(service):
    service.has("numpy", "1.26.4")
    wheel(service.folder, "numpy", "2.4.0")
    wheel(service.folder, "pooch", "1.9", "numpy")
    package = wheel(service.folder, "genmodels", "0.1.0", "numpy>=2.0", "pooch>=1.7")
    before = service.versions()
    done = service.run("genmodels", package)
    assert "ImportError: pip could not install genmodels" in done.stderr
    assert "numpy>=2.0" in done.stderr and "numpy==1.26.4" in done.stderr
    assert service.versions() == before and done.stdout == ""


def test_without_constraints_pip_would_change_a_version(service, monkeypatch):
    """The two tests above can fail."""
    monkeypatch.setattr(install_cell, "SOURCE",
                        install_cell.SOURCE.replace('"-c", str(file), ', ""))
    service.has("numpy", "1.26.4")
    wheel(service.folder, "numpy", "2.4.0")
    wheel(service.folder, "pooch", "1.9", "numpy")
    package = wheel(service.folder, "genmodels", "0.1.0", "numpy>=2.0", "pooch>=1.7")
    service.run("genmodels", package)
    assert service.versions()["numpy"] == "2.4.0"

