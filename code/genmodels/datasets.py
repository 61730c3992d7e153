"""MNIST digits as arrays, and the check that images are like them.

MNIST is by Y. LeCun, C. Cortes and C. Burges (CC BY-SA 3.0).
"""

import gzip
import hashlib
import logging
import multiprocessing.pool
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from genmodels.validate import check_examples

__all__ = ["BUNDLED", "Mnist", "check_images", "load_mnist"]

VARIABLE = "GENMODELS_DATA"
BUNDLED = Path(__file__).parent / "data" / "mnist_5k.npz"

# The MD5 sums of the four published files in the IDX format, by the names of the arrays in an .npz.
# The sums identify the digits however they were packed: mirrors, cache and user files must match.
IDX_MD5 = {
    "x_train": "6bbc9ace898e44ae57da46a324031adb",
    "y_train": "a25bea736e30d166cdddb491f175f624",
    "x_test": "2646ac647ad5339dbf082846283269ea",
    "y_test": "27ae3e4e09519cfbb04c329615203637",
}
# What the mirrors hold, with the checksums that Keras and torchvision list.
KERAS_SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
KERAS_FILE = {"mnist.npz": f"sha256:{KERAS_SHA256}"}
IDX_FILES = {  # in the order of IDX_MD5
    "train-images-idx3-ubyte.gz": "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "md5:d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "md5:9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "md5:ec29112dd5afa0611ce80d1b7f02629c",
}
MIRRORS = (
    ("https://storage.googleapis.com/tensorflow/tf-keras-datasets/", KERAS_FILE),
    ("https://ossci-datasets.s3.amazonaws.com/mnist/", IDX_FILES),
    ("https://storage.googleapis.com/cvdf-datasets/mnist/", IDX_FILES),
)
STALL_SECONDS = 3.0  # the longest wait for an answer, or for the rest of it

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
    4. the 5,000 bundled digits, at once where there is no home directory to keep the others in.

    The full digits are verified by their published MD5 sums, wherever they come from.

    Raises:
        FileNotFoundError: `GENMODELS_DATA` names no file.
        ValueError: the file that `GENMODELS_DATA` names is truncated, altered or something else.
    """
    global _download_failed
    asked = os.environ.get(VARIABLE)
    if asked == "bundled":
        return _announced(_read_npz(BUNDLED), "bundled MNIST subset", f"by {VARIABLE}")
    if asked:
        return _announced(_read_asked(asked), "full MNIST", f"from {VARIABLE}")

    cache = _cache()
    if cache is None:
        return _announced(
            _read_npz(BUNDLED), "bundled MNIST subset",
            f"no home directory to keep the full set in; {VARIABLE} can name its mnist.npz")
    if arrays := _full_set(cache, _no_download):
        return _announced(arrays, "full MNIST", "from the cache")
    if not _download_failed and (arrays := _full_set(cache, _download)):
        return _announced(arrays, "full MNIST", "downloaded; kept in the cache")
    _download_failed = True
    return _announced(
        _read_npz(BUNDLED), "bundled MNIST subset",
        f"the full set could not be downloaded; {VARIABLE} can name its mnist.npz")


def _announced(arrays: dict[str, np.ndarray], kind: str, origin: str) -> Mnist:
    """Print the one line, and return the four arrays under their names."""
    name = (f"{kind}: {len(arrays['x_train']):,} training "
            f"and {len(arrays['x_test']):,} test digits")
    print(f"Loaded {name} ({origin}).")
    return Mnist(arrays["x_train"], arrays["y_train"], arrays["x_test"], arrays["y_test"], name)


def _cache() -> Path | None:
    """Return the folder that keeps the full digits, or None for a user without a home directory.

    A relative `$XDG_CACHE_HOME` is ignored, as its specification demands.
    """
    folder = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(folder):
        folder = os.path.expanduser("~/.cache")  # unchanged for a user who has no home directory
    return Path(folder, "genmodels") if os.path.isabs(folder) else None


def _read_asked(asked: str) -> dict[str, np.ndarray]:
    """Return the verified digits in the user's file, or raise an error that says what is wrong."""
    path = Path(os.path.expanduser(asked))  # unchanged for a user who is not known
    if not path.is_file():
        hint = "" if path.is_absolute() else (
            "; a relative path is sought in the working directory, for a notebook its own folder: "
            "give an absolute one")
        raise FileNotFoundError(f"{VARIABLE} must name a file, got {path.absolute()}{hint}")
    try:
        return _verified(_read_npz(path))
    except ValueError as error:
        raise ValueError(
            f"{VARIABLE} must name the full MNIST set, got {path.absolute()}: {error}; "
            f"SHA-256 of the file: {hashlib.sha256(path.read_bytes()).hexdigest()}, "
            f"of the one that Keras publishes: {KERAS_SHA256}") from error


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    """Return the four arrays of an `.npz` file, or raise ValueError if it does not hold them."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in IDX_MD5}
    except Exception as error:  # damage shows as one of a dozen types, from zipfile.BadZipFile on
        raise ValueError(f"the file must be an .npz archive of {', '.join(IDX_MD5)}, "
                         f"got: {error}") from error


def _read_idx(path: Path) -> np.ndarray:
    """Return the values in a gzipped IDX file: 16 bytes and images, or 8 bytes and labels."""
    values = np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8)
    return (values[16:].reshape(-1, 28, 28) if "idx3" in path.name else values[8:]).copy()


def _verified(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays if they have the published MD5 sums; raise ValueError otherwise."""
    for key, expected in IDX_MD5.items():
        array = arrays[key]  # in the IDX format it follows a header, in which 8 stands for uint8
        header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
        found = hashlib.md5(header + array.tobytes(), usedforsecurity=False).hexdigest()
        if array.dtype != np.uint8 or found != expected:
            raise ValueError(f"{key} must be uint8 with MD5 {expected} in the IDX format, "
                             f"got {array.dtype} of shape {array.shape} with MD5 {found}")
    return arrays


def _full_set(cache: Path, downloader: Callable) -> dict[str, np.ndarray] | None:
    """Return verified digits from the cache, where pooch puts what `downloader` brings."""
    import pooch  # digits that are at hand do without it

    pooch.get_logger().setLevel(logging.WARNING)  # the one printed line says it all
    for mirror, files in MIRRORS:
        try:
            paths = [Path(pooch.retrieve(mirror + file, checksum, file, cache, None, downloader))
                     for file, checksum in files.items()]
            return _verified(_read_npz(paths[0]) if len(paths) == 1 else
                             {key: _read_idx(path) for key, path in zip(IDX_MD5, paths)})
        except (OSError, ValueError, multiprocessing.TimeoutError) as error:
            logging.getLogger(__name__).info("%s: %s", mirror, str(error) or "no answer in time")
    return None


def _no_download(url: str, output_file: str, _: Any) -> None:
    """Stand in for `_download` where only what the cache holds is wanted."""
    raise FileNotFoundError("not in the cache")


def _download(url: str, output_file: str, _: Any) -> None:
    """Fetch a file for pooch, which then verifies it, if the server answers in time.

    A thread asks first: no time-out covers name look-up, nor all the addresses of a host together.
    """
    import pooch

    http = pooch.HTTPDownloader(timeout=STALL_SECONDS)
    with multiprocessing.pool.ThreadPool(1) as pool:
        pool.apply_async(http, (url, None, None, True)).get(STALL_SECONDS)
    http(url, output_file, None)


def check_images(images: Any, name: str = "images") -> None:
    """Raise an error unless `images` are digits: floats in [0, 1] of shape (n, 28, 28).

    Raises:
        TypeError, ValueError: see `validate.check_examples`.
    """
    check_examples(images, name, (28, 28), 0, 1)
