"""Record in which environment a chapter is executed: versions, threads, and the commit.

Stored outputs may be older than the build that shows them, so their environment is recorded when
they are made. A kernel of the build loads this file at its start (`checks.write_startup`). After
each cell it writes the record anew, beside those of the checks and under the key of that cell. A
page reads the record of its last cell (`extensions/environment_line.py`), so that a chapter that
has failed has none. Nothing of this shows in the outputs of the cells.

This file is executed in the kernel of a chapter, and so imports nothing else of the book.
"""

import json
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ["FRAMEWORKS", "commit", "cores", "file_of", "install", "record", "threads", "versions"]

ROOT = Path(__file__).resolve().parent.parent
FRAMEWORKS = {"numpy": "NumPy", "torch": "PyTorch", "keras": "Keras", "tensorflow": "TensorFlow",
              "jax": "JAX"}


def versions() -> dict[str, str]:
    """Return the versions of Python, of the package and of the frameworks that were imported."""
    found = {"Python": platform.python_version()}
    if "genmodels" in sys.modules:
        found["genmodels"] = metadata.version("genmodels")
    for module, name in FRAMEWORKS.items():
        if version := getattr(sys.modules.get(module), "__version__", None):
            found[name] = str(version)
    return found


def backend() -> str | None:
    """Return the name of the backend that Keras computes with, None without Keras."""
    config = getattr(sys.modules.get("keras"), "config", None)
    return config.backend() if config else None


def cores() -> int:
    """Return how many cores this process may use; all cores where the system does not say."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads() -> dict[str, int]:
    """Return how many threads compute one operation, in NumPy and in each imported framework."""
    def asked(*variables: str) -> int:
        values = [os.environ.get(name, "") for name in variables]
        return next((int(value) for value in values if value.isdecimal() and int(value)), cores())

    found = {"NumPy": asked("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")}
    if count := getattr(sys.modules.get("torch"), "get_num_threads", None):
        found["PyTorch"] = count()
    if config := getattr(sys.modules.get("tensorflow"), "config", None):
        found["TensorFlow"] = (config.threading.get_intra_op_parallelism_threads()
                               or asked("TF_NUM_INTRAOP_THREADS"))
    return found


def commit(folder: Path = ROOT) -> str | None:
    """Return the commit of a folder, with `+` if files differ from it, None if it has none."""
    def git(*arguments: str) -> str:
        command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
        return subprocess.run(command, check=True, text=True, capture_output=True).stdout.strip()

    try:
        name = git("rev-parse", "--short=10", "HEAD")
        changed = git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):  # no git, or a copy without history
        return None
    return f"{name}+" if changed else name


def record(of: str | None) -> dict[str, Any]:
    """Return the environment of this process; `of` is the commit at the start of the process."""
    return {"versions": versions(), "backend": backend(), "threads": threads(), "commit": of}


def file_of(folder: Path, key: str) -> Path:
    """Return where the record of a notebook is, by the key of its last cell (`checks.keys`)."""
    return folder / f"{key}.environment.json"


def install(shell: Any, checks: Any) -> None:
    """Let an IPython shell record its environment, if it records checks.

    Args:
        shell: the shell of a kernel.
        checks: its `checks.Recorder`, which knows the folder and the key of each cell; None if the
            build has asked for none.
    """
    if checks is None:
        return
    at_start, last = commit(), [""]

    def stop(result: Any) -> None:
        if result.success and checks.key and result.info.store_history:
            new = checks.folder / f"{checks.key}.new"
            new.write_text(json.dumps(record(at_start)), encoding="utf-8")
            new.replace(file_of(checks.folder, checks.key))
            if last[0] not in ("", checks.key):
                file_of(checks.folder, last[0]).unlink(missing_ok=True)
            last[0] = checks.key

    shell.events.register("post_run_cell", stop)
