"""Which digits are loaded, what happens when they cannot be, and which images models refuse."""

import gzip
import hashlib
import io
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from genmodels import datasets
from genmodels.datasets import check_images, load_mnist

USER_FILE = os.environ.get("GENMODELS_DATA")
NPZ_KEYS = {"x_train": "train-images-idx3-ubyte", "y_train": "train-labels-idx1-ubyte",
            "x_test": "t10k-images-idx3-ubyte", "y_test": "t10k-labels-idx1-ubyte"}


def npz(arrays: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def idx(array: np.ndarray) -> bytes:
    """The IDX format as its description gives it: magic number, sizes, values; all big-endian."""
    magic = {1: 0x00000801, 3: 0x00000803}[array.ndim]
    return np.array([magic, *array.shape], ">u4").tobytes() + bytes(array.ravel().tolist())


@pytest.fixture
def digits() -> dict[str, np.ndarray]:
    """A small set that plays the part of the full one."""
    rng = np.random.default_rng(0)
    return {"x_train": rng.integers(0, 256, (300, 28, 28), np.uint8),
            "y_train": rng.integers(0, 10, 300, np.uint8),
            "x_test": rng.integers(0, 256, (7, 28, 28), np.uint8),
            "y_test": rng.integers(0, 10, 7, np.uint8)}


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "cache" / "genmodels" / "mnist.npz"


@pytest.fixture(autouse=True)
def _small_and_offline(monkeypatch, tmp_path, digits):
    """No network, an empty cache, and the checksums of the small set."""
    monkeypatch.delenv("GENMODELS_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets, "MIRRORS", ())
    monkeypatch.setattr(datasets, "_download_failed", False)
    monkeypatch.setattr(datasets, "STALL_SECONDS", 0.5)
    monkeypatch.setattr(datasets, "IDX_MD5", {
        key: hashlib.md5(idx(array)).hexdigest() for key, array in digits.items()})


@pytest.fixture
def server(monkeypatch, digits):
    """A mirror on this machine; `server.requested` lists the paths that were asked for."""
    good = npz(digits)
    altered = npz(digits | {"y_test": 9 - digits["y_test"]})
    answers = {"/good.npz": good, "/early.npz": good, "/stall.npz": good, "/slow.npz": good,
               "/altered.npz": altered, "/page.npz": b"<html>Please log in</html>"}
    answers |= {f"/idx/{NPZ_KEYS[key]}.gz": gzip.compress(idx(array))
                for key, array in digits.items()}
    answers |= {path.replace("/idx/", "/cut/"): content[:len(content) // 2]
                for path, content in answers.items() if path.startswith("/idx/")}
    released = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.requested.append(self.path)
            if self.path not in answers:
                return self.send_error(404)
            content = answers[self.path]
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.path == "/early.npz":
                content = content[:len(content) // 2]
            elif self.path == "/stall.npz":
                self.wfile.write(content[:len(content) // 2])
                released.wait(30)
                return None
            elif self.path == "/slow.npz":  # goes on and on, a little at a time
                for start in range(0, len(content), 100):
                    self.wfile.write(content[start:start + 100])
                    if released.wait(0.01):
                        return None
            return self.wfile.write(content)

        def log_message(self, *args):
            pass

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    local = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    local.requested = []
    local.url = f"http://127.0.0.1:{local.server_port}"
    thread = threading.Thread(target=local.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield local
    released.set()
    local.shutdown()
    local.server_close()
    thread.join()


def use_mirrors(monkeypatch, server, *paths):
    monkeypatch.setattr(datasets, "MIRRORS", tuple(server.url + path for path in paths))


def assert_same(mnist, digits):
    for found, key in zip(mnist[:4], ["x_train", "y_train", "x_test", "y_test"], strict=True):
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, digits[key])


def one_line(capsys) -> str:
    (line,) = capsys.readouterr().out.splitlines()
    return line


# The digits that come with the package


def test_bundled_digits_are_stratified_and_distinct(monkeypatch, capsys):
    monkeypatch.setenv("GENMODELS_DATA", "bundled")
    mnist = load_mnist()
    assert mnist.name == "bundled MNIST subset: 4,000 training and 1,000 test digits"
    assert mnist.name in one_line(capsys)
    assert mnist.train_images.shape == (4000, 28, 28) and mnist.test_images.shape == (1000, 28, 28)
    assert {array.dtype for array in mnist[:4]} == {np.dtype(np.uint8)}
    np.testing.assert_array_equal(np.bincount(mnist.train_labels), [400] * 10)
    np.testing.assert_array_equal(np.bincount(mnist.test_labels), [100] * 10)
    images = np.concatenate([mnist.train_images, mnist.test_images])
    assert len({image.tobytes() for image in images}) == 5000  # none is in both parts
    assert images.max() == 255 and images[:, 0].max() == 0  # grey values on black


def test_no_network_and_no_cache_gives_the_bundled_digits_and_one_line(capsys, cache):
    mnist = load_mnist()
    line = one_line(capsys)
    assert len(mnist.train_images) == 4000
    assert mnist.name in line and "network" in line and "GENMODELS_DATA" in line
    assert not cache.exists()


# A file that the user asks for


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_user_file_is_accepted_however_it_is_compressed(
        monkeypatch, tmp_path, capsys, digits, save):
    path = tmp_path / "digits.npz"
    save(path, **digits)
    monkeypatch.setenv("GENMODELS_DATA", str(path))
    mnist = load_mnist()
    assert_same(mnist, digits)
    assert mnist.name == "full MNIST: 300 training and 7 test digits"
    assert mnist.name in one_line(capsys)


@pytest.mark.parametrize("name", ["absent.npz", "."])
def test_missing_user_file_is_an_error_that_names_it(monkeypatch, tmp_path, name):
    path = tmp_path / name
    monkeypatch.setenv("GENMODELS_DATA", str(path))
    with pytest.raises(FileNotFoundError, match="GENMODELS_DATA") as error:
        load_mnist()
    assert str(path) in str(error.value)


def user_files(digits):
    content = npz(digits)
    one = digits["x_test"].copy()
    one[3, 14, 14] ^= 1
    array = io.BytesIO()
    np.save(array, digits["x_train"])
    return {
        "empty": b"",
        "truncated": content[:len(content) // 2],
        "text": b"not digits at all",
        "a single array": array.getvalue(),
        "one pixel altered": npz(digits | {"x_test": one}),
        "labels altered": npz(digits | {"y_train": digits["y_train"][::-1].copy()}),
        "a part missing": npz({key: digits[key] for key in ("x_train", "y_train", "x_test")}),
        "floats": npz(digits | {"x_train": digits["x_train"] / 255}),
        "flat images": npz(digits | {"x_test": digits["x_test"].reshape(7, 784)}),
        "too few labels": npz(digits | {"y_test": digits["y_test"][:6]}),
        "pickled": npz(digits | {"y_test": digits["y_test"].astype(object)}),
    }


@pytest.mark.parametrize(("case", "reason"), [
    ("empty", "cannot be read"),
    ("truncated", "cannot be read"),
    ("text", "pickled"),  # what NumPy takes any unknown file for
    ("a single array", "not an .npz archive"),
    ("one pixel altered", "x_test, written as t10k-images-idx3-ubyte, has MD5"),
    ("labels altered", "y_train, written as train-labels-idx1-ubyte, has MD5"),
    ("a part missing", "an array is missing"),
    ("floats", "x_train is float64 of shape (300, 28, 28); expected uint8"),
    ("flat images", "x_test is uint8 of shape (7, 784); expected uint8 of shape (7, 28, 28)"),
    ("too few labels", "x_test is uint8 of shape (7, 28, 28); expected uint8 of shape (6,"),
    ("pickled", "Object arrays"),
])
def test_damaged_user_file_is_an_error_with_path_and_checksums(
        monkeypatch, tmp_path, digits, case, reason):
    path = tmp_path / "digits.npz"
    path.write_bytes(user_files(digits)[case])
    monkeypatch.setenv("GENMODELS_DATA", str(path))
    with pytest.raises(ValueError, match="GENMODELS_DATA") as error:
        load_mnist()
    message = str(error.value)
    assert str(path) in message and reason in message
    assert hashlib.sha256(path.read_bytes()).hexdigest() in message
    assert f"expected, for the file that Keras publishes: {datasets.KERAS_SHA256}" in message


@pytest.mark.skipif(USER_FILE in (None, "", "bundled"), reason="needs the full set")
def test_the_full_set_has_its_published_checksums(monkeypatch):
    monkeypatch.undo()  # the published sums and the user's own file
    mnist = load_mnist()
    assert mnist.train_images.shape == (60000, 28, 28)
    assert mnist.test_images.shape == (10000, 28, 28)
    assert mnist.name == "full MNIST: 60,000 training and 10,000 test digits"


# Download and cache


@pytest.mark.parametrize("mirror", ["/good.npz", "/idx/"])
def test_download_is_kept_in_the_cache(monkeypatch, capsys, server, cache, digits, mirror):
    use_mirrors(monkeypatch, server, mirror)
    assert_same(load_mnist(), digits)
    assert "downloaded" in one_line(capsys)
    assert [path.name for path in cache.parent.iterdir()] == ["mnist.npz"]  # nothing temporary

    server.requested.clear()
    assert_same(load_mnist(), digits)
    assert "from the cache" in one_line(capsys)
    assert server.requested == []


@pytest.mark.parametrize(
    "bad", ["/early.npz", "/stall.npz", "/altered.npz", "/page.npz", "/absent.npz", "/cut/"])
def test_unfinished_or_wrong_download_is_dropped_and_the_next_mirror_tried(
        monkeypatch, server, cache, digits, bad):
    use_mirrors(monkeypatch, server, bad, "/good.npz")
    assert_same(load_mnist(), digits)
    assert server.requested[0].startswith(bad) and server.requested[-1] == "/good.npz"
    assert [path.name for path in cache.parent.iterdir()] == ["mnist.npz"]


def test_unfinished_download_leaves_no_file_and_is_not_tried_twice(
        monkeypatch, capsys, server, tmp_path):
    use_mirrors(monkeypatch, server, "/early.npz")
    for _ in range(2):
        assert load_mnist().name.startswith("bundled")
        assert "could not be downloaded" in one_line(capsys)
    assert server.requested == ["/early.npz"]
    assert list(tmp_path.rglob("*.*")) == []


GZIPPED = gzip.compress(idx(np.zeros(9, np.uint8)))


@pytest.mark.parametrize("content", [
    b"", b"<html>Please log in</html>", GZIPPED[:-10],  # EOFError, BadGzipFile, EOFError
    GZIPPED[:10] + b"\xff" * 20,  # zlib.error
    gzip.compress(b""), gzip.compress(b"\0\0\x08\x03"),  # IndexError, struct.error
    gzip.compress(idx(np.zeros(9, np.uint8))[:-1]),
])
def test_what_is_no_idx_file_is_a_value_error(content):
    with pytest.raises(ValueError):
        datasets._read_idx(content)


def test_early_end_is_noticed_by_its_length(server):
    with pytest.raises(OSError, match="too early"):
        datasets._fetch(server.url + "/early.npz", time.monotonic() + 10)


def test_stalling_server_is_given_up_after_the_time_out(monkeypatch, server):
    use_mirrors(monkeypatch, server, "/stall.npz")
    start = time.monotonic()
    assert load_mnist().name.startswith("bundled")
    assert time.monotonic() - start < 5  # STALL_SECONDS is 0.5 here; the server holds for 30


def test_slow_mirrors_share_one_deadline(monkeypatch, server):
    monkeypatch.setattr(datasets, "CHUNK_BYTES", 100)  # so that it never stalls
    monkeypatch.setattr(datasets, "DEADLINE_SECONDS", 0.5)
    use_mirrors(monkeypatch, server, "/slow.npz", "/slow.npz")  # over 20 s each
    start = time.monotonic()
    assert load_mnist().name.startswith("bundled")
    assert time.monotonic() - start < 5


def test_stalling_name_look_up_is_given_up_after_the_time_out(monkeypatch):
    released = threading.Event()
    monkeypatch.setattr(datasets.urllib.request, "urlopen", lambda *_, **__: released.wait(30))
    monkeypatch.setattr(datasets, "MIRRORS", ("http://mirror.invalid/mnist.npz",))
    start = time.monotonic()
    assert load_mnist().name.startswith("bundled")
    assert time.monotonic() - start < 5
    released.set()


@pytest.mark.parametrize("case", ["truncated", "one pixel altered"])
def test_corrupt_cache_is_replaced(monkeypatch, server, cache, digits, case):
    cache.parent.mkdir(parents=True)
    cache.write_bytes(user_files(digits)[case])
    use_mirrors(monkeypatch, server, "/good.npz")
    assert_same(load_mnist(), digits)
    with np.load(cache) as archive:
        np.testing.assert_array_equal(archive["x_test"], digits["x_test"])


def test_corrupt_cache_is_removed_when_there_is_no_network(cache, digits):
    cache.parent.mkdir(parents=True)
    cache.write_bytes(npz(digits)[:1000])
    assert load_mnist().name.startswith("bundled")
    assert not cache.exists()


@pytest.mark.parametrize("error", [OSError("no space left"), KeyboardInterrupt()])
def test_interrupted_write_leaves_neither_cache_nor_temporary_file(
        monkeypatch, cache, digits, error):
    def write_some(file, **arrays):
        file.write(b"half")
        raise error

    monkeypatch.setattr(datasets.np, "savez_compressed", write_some)
    if isinstance(error, OSError):
        assert not datasets._write_cache(cache, digits)  # the digits are usable all the same
    else:
        with pytest.raises(KeyboardInterrupt):
            datasets._write_cache(cache, digits)
    assert list(cache.parent.iterdir()) == []


def test_unwritable_cache_does_not_stop_the_reader(monkeypatch, capsys, server, tmp_path, digits):
    (tmp_path / "cache").write_text("a file where the folder should be")
    use_mirrors(monkeypatch, server, "/good.npz")
    assert_same(load_mnist(), digits)
    assert "cache is not writable" in one_line(capsys)


def test_writers_and_readers_of_the_cache_do_not_disturb_each_other(cache, digits):
    assert datasets._write_cache(cache, digits)
    writers = [threading.Thread(target=datasets._write_cache, args=(cache, digits))
               for _ in range(8)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert datasets._read_cache(cache) is not None  # never a half-written file
    assert [path.name for path in cache.parent.iterdir()] == ["mnist.npz"]


# Images that models take and refuse


def make(framework: str, images: np.ndarray):
    """The images as an array of one of the frameworks."""
    if framework == "numpy":
        return images
    if framework == "torch":
        tensor = pytest.importorskip("torch").tensor(images)
        return tensor.requires_grad_() if tensor.is_floating_point() else tensor
    return pytest.importorskip("tensorflow").constant(images)


frameworks = pytest.mark.parametrize("framework", ["numpy", "torch", "tensorflow"])


@pytest.mark.filterwarnings("error:Converting a tensor with requires_grad")
@frameworks
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_check_images_accepts_floats_from_0_to_1(framework, dtype):
    images = np.zeros((2, 28, 28), dtype)
    images[1] = 1
    check_images(make(framework, images))


@frameworks
@pytest.mark.parametrize(("images", "error", "message"), [
    (np.zeros((2, 28, 28), np.uint8), TypeError, r"dtype uint8.*divide by 255"),
    (np.zeros((2, 28, 28), np.int64), TypeError, "dtype int64"),
    (np.zeros((2, 28, 28), bool), TypeError, "dtype bool"),
    (np.zeros((2, 784)), ValueError, r"shape \(2, 784\)"),
    (np.zeros((28, 28)), ValueError, r"shape \(28, 28\)"),
    (np.zeros((2, 1, 28, 28)), ValueError, r"shape \(2, 1, 28, 28\)"),
    (np.zeros((2, 28, 27)), ValueError, r"shape \(2, 28, 27\)"),
    (np.zeros((0, 28, 28)), ValueError, r"shape \(0, 28, 28\).*n at least 1"),
    (np.full((2, 28, 28), np.nan), ValueError, "NaN or infinity"),
    (np.full((2, 28, 28), np.inf), ValueError, "NaN or infinity"),
    (np.full((2, 28, 28), -np.inf), ValueError, "NaN or infinity"),
    (np.linspace(0, 255, 1568).reshape(2, 28, 28), ValueError, "from 0 to 255.*divide by 255"),
    (np.linspace(-0.5, 0.5, 1568).reshape(2, 28, 28), ValueError, r"from -0\.5 to 0\.5"),
    (np.linspace(0, 300, 1568).reshape(2, 28, 28), ValueError, r"from 0 to 300; [^;]*28\)$"),
])
def test_check_images_refuses(framework, images, error, message):
    with pytest.raises(error, match=f"x_batch .*{message}") as raised:
        check_images(make(framework, images), name="x_batch")
    assert "expected floats in [0, 1] of shape (n, 28, 28)" in str(raised.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_check_images_finds_a_single_bad_value(value):
    images = np.zeros((50, 28, 28), np.float32)
    images[31, 4, 15] = value
    with pytest.raises(ValueError, match="images holds NaN or infinity"):
        check_images(images)


@pytest.mark.parametrize("images", [[[0.0] * 28] * 28, None, "digits", 0.5])
def test_check_images_refuses_what_is_no_array(images):
    with pytest.raises(TypeError, match=f"images is a {type(images).__name__}"):
        check_images(images)
