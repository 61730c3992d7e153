"""MNIST digits as arrays, and the check that every model makes of the images it is given.

MNIST is by Y. LeCun, C. Cortes and C. Burges (CC BY-SA 3.0).
"""

import contextlib
import gzip
import hashlib
import io
import logging
import math
import os
import queue
import struct
import tempfile
import threading
import time
import urllib.request
import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

VARIABLE = "GENMODELS_DATA"
BUNDLED = Path(__file__).parent / "data" / "mnist_5k.npz"

# The four published files, by their names in an .npz, and the MD5 sums of their contents.
# The sums identify the digits however they were packed: mirrors, cache and user files must match.
IDX_FILES = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}
IDX_MD5 = {
    "x_train": "6bbc9ace898e44ae57da46a324031adb",
    "y_train": "a25bea736e30d166cdddb491f175f624",
    "x_test": "2646ac647ad5339dbf082846283269ea",
    "y_test": "27ae3e4e09519cfbb04c329615203637",
}
KERAS_SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"

# A mirror is one .npz file, or a folder (with "/" at its end) of the four IDX files, gzipped.
MIRRORS = (
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
CHUNK_BYTES = 1 << 16
STALL_SECONDS = 3.0  # the longest wait for the first or the next chunk before a mirror is given up
DEADLINE_SECONDS = 30.0  # for all mirrors together

_download_failed = False  # in this process: a second call does not wait again


class Mnist(NamedTuple):
    """Digits in their original order, as grey values 0–255 with black background 0."""

    train_images: np.ndarray  # (n_train, 28, 28) uint8
    train_labels: np.ndarray  # (n_train,) uint8
    test_images: np.ndarray  # (n_test, 28, 28) uint8
    test_labels: np.ndarray  # (n_test,) uint8
    name: str  # what was loaded, for captions


def load_mnist() -> Mnist:
    """Return the MNIST digits, the full set if it is at hand, and print one line that says which.

    The first that applies is taken:

    1. `GENMODELS_DATA` (unless empty): the path of an `.npz` file in the layout of Keras
       (`x_train`, `y_train`, `x_test`, `y_test`), or the word `bundled` for the bundled digits;
    2. the file `genmodels/mnist.npz` in `$XDG_CACHE_HOME` (or `~/.cache`);
    3. a download, which is kept there; it is given up after seconds, and not tried again by the
       same process (the reasons go to the log, at level INFO);
    4. the 5,000 bundled digits.

    The full digits are verified by their published MD5 sums, wherever they come from.

    Raises:
        FileNotFoundError: `GENMODELS_DATA` names no file.
        ValueError: the file that `GENMODELS_DATA` names is truncated, altered or something else.
    """
    global _download_failed
    asked = os.environ.get(VARIABLE)
    if asked == "bundled":
        return _announced(_read_npz(BUNDLED.read_bytes()), "bundled MNIST subset", f"by {VARIABLE}")
    if asked:
        return _announced(_read_asked(Path(asked).expanduser()), "full MNIST", f"from {VARIABLE}")

    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "genmodels/mnist.npz")
    arrays = _read_cache(cache)
    if arrays:
        return _announced(arrays, "full MNIST", "from the cache")
    arrays = None if _download_failed else _download()
    if arrays:
        kept = "kept in the cache" if _write_cache(cache, arrays) else "the cache is not writable"
        return _announced(arrays, "full MNIST", f"downloaded; {kept}")
    _download_failed = True
    return _announced(
        _read_npz(BUNDLED.read_bytes()), "bundled MNIST subset",
        "the full set could not be downloaded; to have it, run this again with a network, "
        f"or set {VARIABLE} to the path of Keras' mnist.npz")


def _announced(arrays: dict[str, np.ndarray], kind: str, origin: str) -> Mnist:
    """Print the one line, and return the four arrays under their names."""
    name = (f"{kind}: {len(arrays['x_train']):,} training "
            f"and {len(arrays['x_test']):,} test digits")
    print(f"Loaded {name} ({origin}).")
    return Mnist(arrays["x_train"], arrays["y_train"], arrays["x_test"], arrays["y_test"], name)


def _read_asked(path: Path) -> dict[str, np.ndarray]:
    """Return the verified digits in the user's file, or raise an error that says what is wrong."""
    if not path.is_file():
        raise FileNotFoundError(f"{VARIABLE} names {path.absolute()}, which is not a file")
    content = path.read_bytes()
    try:
        return _verified(_read_npz(content))
    except ValueError as error:
        raise ValueError(
            f"{VARIABLE} names {path.absolute()}, which is not the full MNIST set: {error}. "
            f"SHA-256 of the file: {hashlib.sha256(content).hexdigest()}; "
            f"expected, for the file that Keras publishes: {KERAS_SHA256}") from error


def _read_npz(content: bytes) -> dict[str, np.ndarray]:
    """Return the four arrays of an `.npz` file, or raise ValueError if they are not digits."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in IDX_FILES}
    except (AttributeError, TypeError) as error:  # a plain .npy array
        raise ValueError("it is not an .npz archive") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
        raise ValueError(f"it cannot be read as an .npz archive ({error})") from error
    except KeyError as error:
        raise ValueError(f"an array is missing ({error.args[0]})") from error
    for part in ("train", "test"):
        images, labels = arrays[f"x_{part}"], arrays[f"y_{part}"]
        for key, array in ((f"x_{part}", images), (f"y_{part}", labels)):
            expected = (labels.size, 28, 28) if array is images else (labels.size,)
            if array.dtype != np.uint8 or array.shape != expected:
                raise ValueError(f"{key} is {array.dtype} of shape {array.shape}; "
                                 f"expected uint8 of shape {expected}")
    return arrays


def _idx_bytes(array: np.ndarray) -> bytes:
    """Return what the published IDX file of this array holds: a header, then the values."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)  # 8: uint8
    return header + array.tobytes()


def _verified(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays if they have the published MD5 sums; raise ValueError otherwise."""
    for key, expected in IDX_MD5.items():
        found = hashlib.md5(_idx_bytes(arrays[key]), usedforsecurity=False).hexdigest()
        if found != expected:
            raise ValueError(f"{key}, written as {IDX_FILES[key]}, has MD5 {found}; "
                             f"expected {expected}")
    return arrays


def _read_cache(path: Path) -> dict[str, np.ndarray] | None:
    """Return the verified digits in the cache; remove a file that is damaged."""
    try:
        return _verified(_read_npz(path.read_bytes()))
    except OSError:  # not there, or not readable
        return None
    except ValueError:
        with contextlib.suppress(OSError):  # another process was faster, or a read-only folder
            path.unlink()
        return None


def _write_cache(path: Path, arrays: dict[str, np.ndarray]) -> bool:
    """Write the digits so that another process sees all of the file or nothing of it."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
            temporary = Path(file.name)
            np.savez_compressed(file, **arrays)
        os.replace(temporary, path)
    except OSError:  # no space, or a folder that is read-only: the digits are usable all the same
        return False
    finally:
        if temporary:
            temporary.unlink(missing_ok=True)
    return True


def _download() -> dict[str, np.ndarray] | None:
    """Return verified digits from the first mirror that gives them; None, and a log, if none."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    for mirror in MIRRORS:
        try:
            if mirror.endswith("/"):
                return _verified({key: _read_idx(_fetch(f"{mirror}{file}.gz", deadline))
                                  for key, file in IDX_FILES.items()})
            return _verified(_read_npz(_fetch(mirror, deadline)))
        except (OSError, ValueError) as error:
            logging.getLogger(__name__).info("%s: %s", mirror, error)
    return None


def _read_idx(content: bytes) -> np.ndarray:
    """Return the array in a gzipped IDX file of bytes, or raise ValueError."""
    try:
        raw = gzip.decompress(content)
        shape = struct.unpack_from(f">{raw[3]}I", raw, offset=4)
        return np.frombuffer(raw, np.uint8, offset=4 + 4 * len(shape)).reshape(shape).copy()
    except (OSError, EOFError, zlib.error, struct.error, IndexError) as error:
        raise ValueError(f"not a gzipped IDX file ({error})") from error


def _fetch(url: str, deadline: float) -> bytes:
    """Return what is at `url`, held in memory so that a half-finished download leaves no file.

    A thread reads, since no time-out reaches name look-up or the sum over a host's addresses.

    Raises:
        OSError: no connection, a stall of `STALL_SECONDS`, an early end, or `deadline` passed.
    """
    chunks: queue.Queue[bytes | Exception] = queue.Queue()

    def read() -> None:
        try:
            with urllib.request.urlopen(url, timeout=STALL_SECONDS) as response:
                while chunk := response.read(CHUNK_BYTES):
                    chunks.put(chunk)
                if response.length:  # bytes that were announced and did not come
                    raise OSError(f"connection closed {response.length} bytes too early")
            chunks.put(b"")
        except Exception as error:  # handed to the caller, who waits in the other thread
            chunks.put(error)

    threading.Thread(target=read, daemon=True).start()
    content = bytearray()
    while True:
        seconds = min(STALL_SECONDS, deadline - time.monotonic())
        try:
            chunk = chunks.get(timeout=max(seconds, 0.0))
        except queue.Empty:
            raise TimeoutError("no answer in time") from None
        if isinstance(chunk, Exception):
            raise OSError(str(chunk)) from chunk
        if not chunk:
            return bytes(content)
        content += chunk


def check_images(images: Any, name: str = "images") -> None:
    """Raise an error unless `images` is what the models take: floats in [0, 1], shape (n, 28, 28).

    Args:
        images: NumPy array, torch tensor (on any device) or TensorFlow tensor.
        name: how error messages call the argument.

    Raises:
        TypeError: not an array or tensor, or not of floating-point type.
        ValueError: wrong shape, no image at all, NaN or infinity, or values outside [0, 1].
    """
    expected = "expected floats in [0, 1] of shape (n, 28, 28)"
    if not (hasattr(images, "shape") and hasattr(images, "dtype")):
        raise TypeError(f"{name} is a {type(images).__name__}; {expected}, as an array or tensor")
    dtype = getattr(images.dtype, "name", str(images.dtype)).removeprefix("torch.")
    if not dtype.startswith(("float", "bfloat")):
        hint = " (divide by 255)" if dtype == "uint8" else ""
        raise TypeError(f"{name} has dtype {dtype}; {expected}{hint}")
    shape = tuple(images.shape)
    if shape[1:] != (28, 28) or shape[0] == 0:
        raise ValueError(f"{name} has shape {shape}; {expected} with n at least 1")

    values = images.detach() if hasattr(images, "detach") else np.asarray(images)
    smallest, largest = float(values.min()), float(values.max())  # NaN if there is one
    if not (math.isfinite(smallest) and math.isfinite(largest)):
        raise ValueError(f"{name} holds NaN or infinity; {expected}")
    if smallest < 0 or largest > 1:
        hint = " (divide by 255)" if smallest >= 0 and 1 < largest <= 255 else ""
        raise ValueError(f"{name} has values from {smallest:g} to {largest:g}; {expected}{hint}")
