"""Execute every chapter as a service such as Colab would, whose versions are not the book's.

    python benchmarks/services.py newest oldest [FILE] [--python 3.11 3.12] [--chapters elbo]

A service has PyTorch, TensorFlow, Keras, JAX and all else that a chapter needs, in versions that
it chose, and no genmodels. Its versions are one of

- newest: what there is today;
- oldest: the lower bounds of the ranges in pyproject.toml. One that cannot be had on a Python, or
  beside the others, is raised as little as possible; what these packages need is new;
- a FILE that `pip freeze` has printed there: those of these packages and of Jupyter's kernel.
  Colab's is pip-freeze.txt of https://github.com/googlecolab/backend-info.

uv (`pip install uv`) installs them into a fresh environment, some 7 GB on Linux, where PyTorch
comes with CUDA. Each chapter is copied with the cell of book/install_cell.py, here with the address
of a copy of the last commit, and executed at quick, in an empty folder, by a kernel of that
environment. Versions before and after are compared. Then what the cell has added is removed, so
that the next chapter finds what the first has found; at the end, every file must be as it was.

Adds results to results/services.json, and writes all that are there to results/services.md. Ends
with status 1 if a chapter failed, or if anything but additions was found.
"""

import argparse
import datetime
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

import nbformat
from nbclient.exceptions import CellControlSignal, DeadKernelError
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "book"))
import dependencies  # noqa: E402
import install_cell  # noqa: E402
import notebooks  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "services.json"
FRAMEWORKS = ["torch", "keras", "jax", "physics"]  # the extras that chapters use
NEWEST = ["numpy", "scipy", "matplotlib", "torch", "tensorflow", "keras", "jax", "numba", "jupyter"]
KERNEL = {"ipykernel", "ipython", "jaxlib", "packaging", "pip"}  # from a file, beside our own
INSTALLED = ["chapters", "code", "pyproject.toml", "book/install_cell.py"]


def output_of(*command: str | Path) -> str:
    """Return what a command prints; if it fails, say what it printed."""
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} failed:\n{ended.stdout}{ended.stderr}")
    return ended.stdout


# The service ------------------------------------------------------------------------------------


def ours() -> set[str]:
    """Return the names of what the package needs, and of what its extras for chapters do."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"],
             *(line for name in FRAMEWORKS for line in project["optional-dependencies"][name])]
    return {canonicalize_name(Requirement(line).name) for line in lines}


def pins_in(text: str, names: Iterable[str]) -> list[str]:
    """Return the lines `name==version` of a text for these names.

    Without the label of a build, as in 2.9.0+cu126: an index has no such versions.
    """
    found = re.findall(r"^([\w.-]+)==([^\s;+]+)", text, re.MULTILINE)
    return [f"{name}=={version}" for name, version in found if canonicalize_name(name) in names]


def lower_bounds(python: str) -> list[str]:
    """Return the lowest versions of what the package needs that this Python can have together."""
    extras = [f"--extra={name}" for name in FRAMEWORKS]
    return pins_in(output_of("uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate",
                             "--resolution=lowest-direct", "--python", python, *extras,
                             "pyproject.toml"), ours())


def requirements(service: str, python: str) -> list[str]:
    """Return what is installed to have a service: `newest`, `oldest` or a file of `pip freeze`."""
    if service == "newest":
        return NEWEST
    if service == "oldest":
        return [*lower_bounds(python), "jupyter"]
    return pins_in(Path(service).read_text(encoding="utf-8"), ours() | KERNEL)


def versions(python: Path) -> dict[str, str]:
    """Return the version of each package that an interpreter has."""
    listed = json.loads(output_of(python, "-m", "pip", "list", "--format=json"))
    return {canonicalize_name(each["name"]): each["version"] for each in listed}


def files(environment: Path) -> dict[str, tuple[int, int]]:
    """Return size and time of each file, but of those that Python compiles when it imports."""
    paths = (path for path in environment.rglob("*")
             if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(environment)): (path.stat().st_size, path.stat().st_mtime_ns)
            for path in paths}


def difference(before: Mapping, after: Mapping) -> tuple[dict, dict]:
    """Return what is in `after` alone, and what it changes: pairs, the second None if it lacks."""
    added = {name: after[name] for name in after.keys() - before.keys()}
    changed = {name: (before[name], after.get(name)) for name in before
               if after.get(name) != before[name]}
    return dict(sorted(added.items())), changed


# The chapters -----------------------------------------------------------------------------------


def error_in(notebook: nbformat.NotebookNode, folder: Path, variables: Mapping[str, str]) -> str:
    """Execute a notebook in place, and return the name and message of its error, if any, or ""."""
    try:
        notebooks.execute(notebook, folder, variables)
    except CellControlSignal as error:  # a cell raised, or took too long
        name, message = getattr(error, "ename", type(error).__name__), str(error)
        return f"{name}: {getattr(error, 'evalue', message)}".strip()
    except DeadKernelError as error:
        return f"DeadKernelError: {error}"
    cell = next(each for each in notebook.cells if each.get("id") == install_cell.ID)
    printed = "".join(output.get("text", "") for output in cell.outputs)
    return "" if printed.startswith("Installed ") else f"the cell installed nothing: {printed!r}"


def run(service: str, python: str, chapters: list[Path], folder: Path) -> dict:
    """Execute chapters on a service, whose environment is in a folder; return what is found."""
    environment, copy = folder / "environment", folder / "genmodels.git"
    output_of("uv", "venv", "--quiet", "--seed", "--python", python, environment)
    interpreter = environment / "bin" / "python"
    wanted = requirements(service, str(interpreter))
    output_of("uv", "pip", "install", "--quiet", "--python", interpreter, *wanted)
    commit = output_of("git", "rev-parse", "HEAD").strip()
    output_of("git", "clone", "--quiet", "--bare", ".", copy)
    spec = folder / "kernels" / "service" / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(json.dumps({
        "argv": [str(interpreter), "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "service", "language": "python"}))
    os.environ["JUPYTER_PATH"] = str(folder)
    variables = {name: value for name, value in os.environ.items()
                 if not name.startswith("PYTHON") and name not in ("VIRTUAL_ENV", "MPLBACKEND")}
    variables |= {"PATH": f"{interpreter.parent}{os.pathsep}{os.environ['PATH']}",
                  "PYTHONUSERBASE": str(folder / "user"), "GENMODELS_BUDGET": "quick"}

    before, files_before = versions(interpreter), files(environment)
    if "genmodels" in before:
        raise RuntimeError("a service must not have genmodels")
    package, rows = dependencies.Package(), []
    for chapter in chapters:
        empty = folder / chapter.stem
        empty.mkdir()
        text = install_cell.with_cell(chapter, {"url": copy.as_uri(), "branch": commit}, package)
        notebook = nbformat.reads(text, as_version=4)
        notebook.metadata.kernelspec["name"] = "service"
        start = time.perf_counter()
        error = error_in(notebook, empty, variables)
        seconds = time.perf_counter() - start
        added, changed = difference(before, versions(interpreter))
        rows.append({"chapter": chapter.stem, "seconds": round(seconds, 1), "error": error,
                     "added": added, "changed": changed})
        print(f"{chapter.stem}: {error or 'passed'}, {seconds:.0f} s, added {added}, "
              f"changed {changed}", flush=True)
        if added:
            output_of(interpreter, "-m", "pip", "uninstall", "--quiet", "--yes", *added)
            for left in environment.glob("lib/*/site-packages/genmodels"):  # numba's cache
                shutil.rmtree(left)
    _, changed = difference(files_before, files(environment))
    release = output_of(interpreter, "-c", "import platform; print(platform.python_version())")
    return {"service": Path(service).stem, "python": release.strip(), "commit": commit[:7],
            "date": str(datetime.date.today()), "chapters": rows, "files": len(files_before),
            "files_changed": sorted(changed),
            "versions": {name: before[name] for name in sorted(ours() | KERNEL) if name in before}}


# The report -------------------------------------------------------------------------------------


def is_sound(result: Mapping) -> bool:
    """Return whether all chapters passed, and nothing but additions was found."""
    return not result["files_changed"] and not any(row["error"] or row["changed"]
                                                   for row in result["chapters"])


def table(rows: Iterable[Iterable[object]]) -> list[str]:
    """Return the lines of a table in Markdown, whose first row is its head."""
    head, *others = [f"| {' | '.join(map(str, row))} |" for row in rows]
    return [head, "| --- " * (head.count(" | ") + 1) + "|", *others]


def report(results: list[Mapping]) -> str:
    """Return the results in Markdown."""
    runs = [["service", "Python", "chapters passed", "added", "versions changed",
             "files changed", "minutes", "commit"]]
    failed = []
    for each in results:
        rows, name = each["chapters"], f"{each['service']}, Python {each['python']}"
        added = {" ".join(pair) for row in rows for pair in row["added"].items()}
        changed = {f"{package}: {old} → {new or 'none'}" for row in rows
                   for package, (old, new) in row["changed"].items()}
        passed = sum(not row["error"] for row in rows)
        runs.append([each["service"], each["python"], f"{passed} of {len(rows)}",
                     ", ".join(sorted(added)) or "nothing", ", ".join(sorted(changed)) or "none",
                     f"{len(each['files_changed'])} of {each['files']:,}",
                     f"{sum(row['seconds'] for row in rows) / 60:.1f}",
                     f"{each['commit']}, {each['date']}"])
        failed += [f"- {name}, {row['chapter']}: `{row['error'].splitlines()[0]}`" for row in rows
                   if row["error"]]
    names = sorted({name for each in results for name in each["versions"]})
    return "\n".join([
        "# Every chapter on a service", "",
        "Written by `benchmarks/services.py`, which says what a service is; all at quick.", "",
        *table(runs), "", "## What failed", "", *(failed or ["Nothing."]), "",
        "## Versions that the service had", "",
        *table([["", *(f"{each['service']}, {each['python']}" for each in results)],
                *([name, *(each["versions"].get(name, "–") for each in results)]
                  for name in names)])]) + "\n"


def add(found: dict, path: Path) -> None:
    """Write a result beside those of other services and Pythons, and the report of all.

    Of an earlier result with the same versions and of the same commit, the chapters that were not
    run again stay.
    """
    results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    key, again = (found["service"], found["python"]), {row["chapter"] for row in found["chapters"]}
    for each in [each for each in results if (each["service"], each["python"]) == key]:
        results.remove(each)
        stay = [row for row in each["chapters"] if row["chapter"] not in again]
        if stay and all(each[of] == found[of] for of in ("versions", "commit")):
            changed = sorted({*each["files_changed"], *found["files_changed"]})
            found = found | {"chapters": stay + found["chapters"], "files_changed": changed}
    results.append(found)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(report(results), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("services", nargs="+", help="newest, oldest, or a file of pip freeze")
    parser.add_argument("--python", nargs="+", default=["3.11"], help="versions, or interpreters")
    parser.add_argument("--chapters", nargs="+", help="their names; all unless given")
    parser.add_argument("--output", type=Path, default=RESULTS, help="the .json file")
    asked = parser.parse_args()
    by_name = {chapter.stem: chapter for chapter in notebooks.in_order()}
    for name in asked.services:
        if name not in ("newest", "oldest") and not Path(name).is_file():
            parser.error(f"a service must be newest, oldest or a file of pip freeze, got {name!r}")
    if unknown := set(asked.chapters or ()) - by_name.keys():
        parser.error(f"--chapters must be of {', '.join(by_name)}, got {', '.join(unknown)}")
    if shutil.which("uv") is None:
        parser.error("uv must be on the PATH (pip install uv), got none")
    if changed := output_of("git", "status", "--porcelain", "--", *INSTALLED):
        parser.error(f"the cell installs the last commit: commit first, got changes in\n{changed}")

    sound = True
    for service in asked.services:
        for python in asked.python:
            with tempfile.TemporaryDirectory(prefix="service-") as folder:
                found = run(service, python, [by_name[name] for name in asked.chapters or by_name],
                            Path(folder))
                add(found, asked.output)  # the folder takes a while to delete
            sound &= is_sound(found)
    print(f"Written to {asked.output.with_suffix('.md')}")
    sys.exit(not sound)


if __name__ == "__main__":
    main()
