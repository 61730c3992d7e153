"""Checkpoints: what a run needs to go on after its process has died, in a folder.

    weights-N.safetensors     the weights after N steps
    optimizer-N.safetensors   the state of the optimiser
    checkpoint.json           the history, the settings of the run, and the sums of these two files

The JSON file is put into its place last and in one move, so that it names complete files whenever
the process dies; older and unfinished files are deleted after that. Nothing in them is ever
executed. The empty file `.lock` is locked by the run that has the folder.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import safetensors.numpy

__all__ = ["VERSION", "State", "hold", "read", "write"]

VERSION = 1
PARTS = ("weights", "optimizer")
State = dict[str, dict[str, np.ndarray]]  # the arrays of each part by name


def hold(folder: str | Path) -> filelock.BaseFileLock:
    """Keeps other runs out of the folder, which is made if there is none, until `release()`.

    The end of the process releases it too, however it comes.
    Raises ValueError, naming the folder, if another run has it.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"checkpoint must be a folder, got the file {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise ValueError(f"checkpoint must be a folder that no other run is using, got {folder}, "
                         "in which another one is training now") from None
    return lock


def write(folder: str | Path, state: State, run: dict[str, Any]) -> None:
    """Writes the state {"weights": …, "optimizer": …} and what describes the run, atomically.

    Raises OSError, naming the folder, if that fails, as on a full disk: a checkpoint that was there
    before is still whole.
    """
    try:
        _write(Path(folder), state, run)
    except OSError as error:
        raise OSError(error.errno, f"checkpoint of step {run['num_steps']} could not be written to "
                      f"{folder} ({error.strerror}); one from before is still whole") from error


def _write(folder: Path, state: State, run: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for part in PARTS:
        data = safetensors.numpy.save({name: np.array(array, order="C")
                                       for name, array in state[part].items()})
        name = f"{part}-{run['num_steps']}.safetensors"
        _put(folder / name, data)
        files[name] = hashlib.sha256(data).hexdigest()
    content = json.dumps({"version": VERSION, "files": files, **run}, indent=1)
    _put(folder / "checkpoint.json", content.encode())
    for part in PARTS:
        for old in folder.glob(f"{part}-*.safetensors"):
            if old.name not in files:
                old.unlink()
        for unfinished in folder.glob(f".{part}-*.part"):  # by a process that died as it wrote
            unfinished.unlink()


def _put(path: Path, data: bytes) -> None:
    """Writes a file that is either there as a whole or not at all."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)  # it would fill the disk
        raise


def read(folder: str | Path) -> tuple[State, dict[str, Any]] | None:
    """The state and the description of the run that `write` wrote; None if there are none yet.

    Raises ValueError, naming the file, if it is truncated, altered or of a newer version.
    """
    path = Path(folder) / "checkpoint.json"
    if not path.exists():
        return None
    damaged = f"checkpoint must be a folder that training wrote, got a damaged {path}"
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
        version = int(run.pop("version"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{damaged}: {error!r}") from error
    if version > VERSION:  # whatever else is in it
        raise ValueError(f"checkpoint must be of version {VERSION} at most, got version {version} "
                         f"in {path}: a newer genmodels wrote it")
    for name, kind in {"files": dict, "num_steps": int, "seconds": float, "sums": dict,
                       "terms": dict}.items():
        if not isinstance(run.get(name), kind):
            raise ValueError(f"{damaged}: {name} is {run.get(name)!r}")
    files = run.pop("files")
    names = {part: next((name for name in files if name.startswith(part)), part) for part in PARTS}
    state: State = {}
    for part, name in names.items():
        file = path.with_name(name)
        data = file.read_bytes() if file.exists() else b""
        if hashlib.sha256(data).hexdigest() != files.get(name):
            raise ValueError(f"checkpoint must be complete, got {file} missing, truncated or "
                             "altered: its SHA-256 sum is not that of checkpoint.json")
        state[part] = safetensors.numpy.load(data)
    return state, run
