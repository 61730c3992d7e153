"""Build the book: execute the chapters whose output may have changed, then write the pages.

Jupyter Book executes a chapter again when its own code cells have changed. It knows nothing of the
package the chapter imports, nor of the environment: when one of these has changed, this program
throws the stored outputs away first.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VARIABLES = ["GENMODELS_BUDGET", "GENMODELS_DATA", "KERAS_BACKEND"]
# What the outputs of all chapters depend on, and what their pages depend on besides.
OUTPUT_SOURCES = ["code/genmodels", "scripts/build_book.py", "requirements.txt", "constraints.txt",
                  "pyproject.toml"]
PAGE_SOURCES = ["_config.yml", "_toc.yml", "_static", "book_extensions"]


def files_below(names: Iterable[str]) -> list[Path]:
    """Return the files that `names` are or hold, sorted, without compiled Python."""
    files = []
    for name in names:
        path = ROOT / name
        files += [path] if path.is_file() else path.rglob("*")
    return sorted(f for f in files if f.is_file() and "__pycache__" not in f.parts)


def fingerprint(names: Iterable[str], variables: Iterable[str] = ()) -> str:
    """Return a SHA-256 sum of the named files and folders and environment variables."""
    digest = hashlib.sha256()
    for path in files_below(names):
        digest.update(f"{path.relative_to(ROOT)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    for variable in variables:
        digest.update(f"{variable}={os.environ.get(variable)}\0".encode())
    return digest.hexdigest()


def environment(output: Path) -> dict[str, str]:
    """Return the environment in which chapters are executed: some of the user's own settings go.

    `MPLBACKEND=agg`, which clusters set, gives a book without figures and without an error;
    `PYTHONOPTIMIZE` removes every assert.
    """
    settings = {"MPLBACKEND": "module://matplotlib_inline.backend_inline",
                "MATPLOTLIBRC": os.devnull,
                "KERAS_HOME": str(output / "_build" / ".keras"),
                "IPYTHONDIR": str(output / "_build" / ".ipython"),
                "PYTHONOPTIMIZE": ""}
    return os.environ | settings


def build(output: Path) -> int:
    """Build the book below `output/_build` and return the exit status of Jupyter Book."""
    folder = output / "_build"
    folder.mkdir(parents=True, exist_ok=True)
    records = {
        folder / ".outputs": fingerprint(OUTPUT_SOURCES, VARIABLES),
        folder / ".pages": fingerprint(PAGE_SOURCES),
    }
    changed = [r.name for r, now in records.items() if not r.exists() or r.read_text() != now]
    complete = folder / ".complete"
    if ".outputs" in changed:
        shutil.rmtree(folder / ".jupyter_cache", ignore_errors=True)
    # After a failure too: Sphinx reports what is wrong with a page only when it reads it.
    if changed or not complete.exists():
        shutil.rmtree(folder / ".doctrees", ignore_errors=True)
        shutil.rmtree(folder / "html", ignore_errors=True)
    for record, now in records.items():
        record.write_text(now)
    complete.unlink(missing_ok=True)
    jupyter_book = str(Path(sys.executable).with_name("jupyter-book"))
    command = [jupyter_book, "build", "-W", "-n", "--keep-going", "--path-output", str(output)]
    command += [str(ROOT)]
    status = subprocess.run(command, check=False, env=environment(output)).returncode
    if status == 0:
        complete.touch()
    return status


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the book below OUTPUT/_build.")
    parser.add_argument("--output", type=Path, default=ROOT, help="default: the repository")
    output = parser.parse_args().output.resolve()
    status = build(output)
    if status != 0:
        print("The book was not built: see the warnings above.", file=sys.stderr)
        return status
    print(f"Open {(output / '_build/html/index.html').as_uri()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
