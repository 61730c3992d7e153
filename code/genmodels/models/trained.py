"""Trained weights: small safetensors files, each with a card that says how it was made.

`make weights` makes them all. A file holds arrays, nothing that could run; none is unpickled.
The card, a JSON file of the same name, holds the SHA-256 sum, the command that made it, data,
seed, versions, date, time and figures. The numbers are stored in half precision (float16), and the
figures on a card are those of the stored numbers.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from genmodels.models.conversion import description, from_arrays, to_arrays

FOLDER = Path(__file__).parent / "weights"

__all__ = ["card", "load", "names", "save"]


def names(folder: Path = FOLDER) -> list[str]:
    """The names for which there are weights."""
    return sorted(path.stem for path in folder.glob("*.safetensors"))


def card(name: str, folder: Path = FOLDER) -> dict[str, Any]:
    """The card of the weights with this name.

    Raises TypeError if name is no string; ValueError if there are no weights of this name, listing
    those there are, or if their card is missing or unreadable.
    """
    if not isinstance(name, str):
        raise TypeError(f"name must be a string, got {name!r}")
    if name not in names(folder):
        raise ValueError(f"name must be one of {', '.join(names(folder))}, got {name!r}")
    path = folder / f"{name}.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        content["model"], content["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"name must be that of weights with a card, got {name!r}, whose card "
                         f"{path} is missing or damaged: {error!r}") from error
    return content


def load(model, name: str, folder: Path = FOLDER) -> None:
    """Sets the weights of a model of either framework to the trained ones with this name.

    Raises what `card` raises; ValueError naming the file if its checksum is not that of the card or
    it is no intact safetensors file; ValueError or TypeError, as `conversion.from_arrays`, if the
    weights do not fit the model. If anything is raised, the model is as it was.
    """
    expected = card(name, folder)
    path = folder / f"{name}.safetensors"
    data = path.read_bytes()
    checksum = hashlib.sha256(data).hexdigest()
    if checksum != expected["sha256"]:
        raise ValueError(f"{path} must have the SHA-256 sum on its card, {expected['sha256']}, "
                         f"got {checksum}: the file was changed or is incomplete")
    try:
        arrays = safetensors.numpy.load(data)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} must be an intact safetensors file, got: {error}") from error
    if _architecture(model) != expected["model"]:
        raise ValueError(f"model must be a {expected['model']} for the weights {name!r}, "
                         f"got {type(model).__name__}")
    ours = _plain(description(model))
    for what, theirs in expected.get("description", {}).items():
        if ours.get(what) != theirs:
            raise ValueError(f"model must have {what}={theirs} for the weights {name!r}, "
                             f"got {ours.get(what)}")
    from_arrays(model, arrays)


def save(model, name: str, card: dict[str, Any], folder: Path = FOLDER) -> None:
    """Writes the weights in half precision, and the card with the checksum added.

    Raises ValueError if a weight is not finite in half precision (beyond 65,504).
    """
    arrays = {}
    for key, array in to_arrays(model).items():
        with np.errstate(over="ignore"):  # refused below
            arrays[key] = np.ascontiguousarray(array, dtype=np.float16)
        if not np.all(np.isfinite(arrays[key])):
            raise ValueError(f"model must have weights that are finite in float16, got others in "
                             f"{key}")
    data = safetensors.numpy.save(arrays)
    card = {"model": _architecture(model), "description": _plain(description(model)), **card,
            "sha256": hashlib.sha256(data).hexdigest()}
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.safetensors").write_bytes(data)
    (folder / f"{name}.json").write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n",
                                         encoding="utf-8")


def _architecture(model) -> str:
    """The name of the class whose weights these are: a child of a ConvVAE has those of one."""
    return description(model)["architecture"].rpartition(".")[2]


def _plain(described: dict[str, Any]) -> dict[str, Any]:
    """A description as JSON returns it, without the architecture, which may be of a framework."""
    return json.loads(json.dumps({k: v for k, v in described.items() if k != "architecture"}))
