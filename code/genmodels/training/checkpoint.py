"""Checkpoints: what a run needs to go on after its process has died, in a folder.

    weights-N.safetensors     the weights after N steps
    optimizer-N.safetensors   the state of the optimiser
    checkpoint.json           the history, the settings of the run, and the sums of these two files

The JSON file is put into its place last and in one move, so that it names complete files whenever
the process dies; older files are deleted after that. Nothing in them is ever executed.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

__all__ = ["VERSION", "State", "read", "write"]

VERSION = 1
PARTS = ("weights", "optimizer")
State = dict[str, dict[str, np.ndarray]]  # the arrays of each part by name


def write(folder: str | Path, state: State, run: dict[str, Any]) -> None:
    """Writes the state {"weights": …, "optimizer": …} and what describes the run, atomically."""
    folder = Path(folder)
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


def _put(path: Path, data: bytes) -> None:
    """Writes a file that is either there as a whole or not at all."""
    temporary = path.with_name(f".{path.name}.part")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def read(folder: str | Path) -> tuple[State, dict[str, Any]] | None:
    """The state and the description of the run that `write` wrote; None if there are none yet.

    Raises ValueError, naming the file, if it is truncated, altered or of a newer version.
    """
    path = Path(folder) / "checkpoint.json"
    if path.parent.exists() and not path.parent.is_dir():
        raise ValueError(f"checkpoint must be a folder, got the file {path.parent}")
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
