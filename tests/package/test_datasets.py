"""Which digits are loaded, what happens when they cannot be, and which images models refuse."""

import gzip
import hashlib
import io
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pooch
import pytest

from genmodels import datasets
from genmodels.datasets import check_images, load_mnist

USER_FILE = os.environ.get("GENMODELS_DATA")
IDX_NAMES = {"x_train": "train-images-idx3-ubyte.gz", "y_train": "train-labels-idx1-ubyte.gz",
             "x_test": "t10k-images-idx3-ubyte.gz", "y_test": "t10k-labels-idx1-ubyte.gz"}


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
def mirror_files(digits) -> dict[str, bytes]:
    """What a complete mirror holds."""
    files = {IDX_NAMES[key]: gzip.compress(idx(array)) for key, array in digits.items()}
    return files | {"mnist.npz": npz(digits)}


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "cache" / "genmodels"


@pytest.fixture(autouse=True)
def _small_and_offline(monkeypatch, tmp_path, digits):
    """No network, an empty cache, and the checksums of the small set."""
    monkeypatch.delenv("GENMODELS_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets, "MIRRORS", ())
    monkeypatch.setattr(datasets, "_download_failed", False)
    monkeypatch.setattr(datasets, "STALL_SECONDS", 1.0)
    monkeypatch.setattr(datasets, "IDX_MD5", {
        key: hashlib.md5(idx(array)).hexdigest() for key, array in digits.items()})


@pytest.fixture
def server(monkeypatch, mirror_files):
    """Mirrors on this machine, by the name of a folder: "good", or what is wrong with its files.

    `server.downloads` lists the paths that were asked for, `server.outwaited` those that somebody
    still waited for when the server no longer held them back.
    """
    released = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.answer()

        def do_GET(self):
            self.server.downloads.append(self.path)
            content = self.answer()
            if "/half/" in self.path or "/stall/" in self.path:
                content = content[:len(content) // 2]
            self.wfile.write(content)
            if "/stall/" in self.path:
                self.hold()

        def hold(self):
            if not released.wait(30):
                self.server.outwaited.append(self.path)

        def answer(self) -> bytes:
            _, folder, name = self.path.split("/")
            if folder == "silent":
                self.hold()
            content = mirror_files[name]
            if folder == "page":
                content = b"<html>Please log in</html>"
            self.send_response(404 if folder == "absent" else 200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            return content

        def log_message(self, *args):
            pass

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    local = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    local.downloads, local.outwaited = [], []
    local.url = f"http://127.0.0.1:{local.server_port}"
    thread = threading.Thread(target=local.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield local
    released.set()
    local.shutdown()
    local.server_close()
    thread.join()


@pytest.fixture
def use_mirrors(monkeypatch, server, mirror_files):
    """Look for the digits at these mirrors: "folder/mnist.npz", or "folder/" for the IDX files."""
    def use(*mirrors: str) -> None:
        sums = {name: hashlib.sha256(content).hexdigest() for name, content in mirror_files.items()}
        npz_file = {"mnist.npz": sums.pop("mnist.npz")}
        idx_files = {name: sums[name] for name in datasets.IDX_FILES}  # in their order
        monkeypatch.setattr(datasets, "MIRRORS", [
            (f"{server.url}/{mirror.removesuffix('mnist.npz')}",
             npz_file if mirror.endswith(".npz") else idx_files) for mirror in mirrors])
    return use


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
    assert mnist.name in line and "not be downloaded" in line and "GENMODELS_DATA" in line
    assert list(cache.rglob("*")) == []


def test_no_home_directory_gives_the_bundled_digits_at_once(monkeypatch, capsys):
    monkeypatch.setattr(datasets, "_full_set", lambda *_: pytest.fail("nowhere to keep the digits"))
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as for a user not known
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert load_mnist().name.startswith("bundled")
    line = one_line(capsys)
    assert "no home directory" in line and "GENMODELS_DATA" in line


def test_a_relative_cache_folder_is_ignored(monkeypatch, tmp_path, capsys, use_mirrors, digits):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    use_mirrors("good/mnist.npz")
    assert_same(load_mnist(), digits)
    assert not (tmp_path / "relative").exists()
    assert (tmp_path / "home/.cache/genmodels/mnist.npz").is_file()


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


@pytest.mark.parametrize("name", ["~nosuchuser/digits.npz", "digits.npz"])
def test_a_file_sought_in_the_working_directory_says_so(monkeypatch, tmp_path, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENMODELS_DATA", name)
    with pytest.raises(FileNotFoundError, match="give an absolute one") as error:
        load_mnist()
    assert str(tmp_path / name) in str(error.value)


def test_a_tilde_is_the_home_directory(monkeypatch, tmp_path, digits):
    np.savez(tmp_path / "digits.npz", **digits)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GENMODELS_DATA", "~/digits.npz")
    assert_same(load_mnist(), digits)


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
        "signed": npz(digits | {"y_test": digits["y_test"].astype(np.int8)}),  # the same bytes
        "flat images": npz(digits | {"x_test": digits["x_test"].reshape(7, 784)}),
        "too few labels": npz(digits | {"y_test": digits["y_test"][:6]}),
        "pickled": npz(digits | {"y_test": digits["y_test"].astype(object)}),
    }


@pytest.mark.parametrize(("case", "reason"), [
    ("empty", "must be an .npz archive"),
    ("truncated", "must be an .npz archive"),
    ("text", "must be an .npz archive"),
    ("a single array", "must be an .npz archive"),
    ("one pixel altered", "got uint8 of shape (7, 28, 28) with MD5"),
    ("labels altered", "got uint8 of shape (300,) with MD5"),
    ("a part missing", "y_test is not a file in the archive"),
    ("floats", "got float64 of shape (300, 28, 28)"),
    ("signed", "got int8 of shape (7,)"),
    ("flat images", "got uint8 of shape (7, 784)"),
    ("too few labels", "got uint8 of shape (6,)"),
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
    assert f"of the one that Keras publishes: {datasets.KERAS_SHA256}" in message


@pytest.mark.skipif(USER_FILE in (None, "", "bundled"), reason="needs the full set")
def test_the_full_set_has_its_published_checksums(monkeypatch):
    monkeypatch.undo()  # the published sums and the user's own file
    mnist = load_mnist()
    assert mnist.train_images.shape == (60000, 28, 28)
    assert mnist.test_images.shape == (10000, 28, 28)
    assert mnist.name == "full MNIST: 60,000 training and 10,000 test digits"


# Download and cache


@pytest.mark.parametrize("mirror", ["good/mnist.npz", "good/"])
def test_download_is_kept_in_the_cache(
        monkeypatch, capsys, caplog, server, use_mirrors, cache, digits, mirror):
    monkeypatch.setattr(pooch.get_logger(), "handlers", [caplog.handler])  # instead of stderr
    use_mirrors("absent/mnist.npz", mirror)
    assert_same(load_mnist(), digits)
    assert "downloaded" in one_line(capsys)
    assert "pooch" not in {record.name for record in caplog.records}
    files = {"mnist.npz"} if "npz" in mirror else set(IDX_NAMES.values())
    assert {path.name for path in cache.iterdir()} == files  # nothing temporary

    server.downloads.clear()
    assert_same(load_mnist(), digits)
    assert "from the cache" in one_line(capsys)
    assert server.downloads == []


@pytest.mark.parametrize("bad", ["half", "stall", "silent", "page", "absent"])
@pytest.mark.parametrize("file", ["mnist.npz", ""])
def test_unfinished_or_wrong_download_is_dropped_and_the_next_mirror_tried(
        server, use_mirrors, cache, digits, bad, file):
    use_mirrors(f"{bad}/{file}", "good/mnist.npz")
    assert_same(load_mnist(), digits)
    assert server.downloads[-1] == "/good/mnist.npz"
    assert [path.name for path in cache.iterdir()] == ["mnist.npz"]


@pytest.mark.parametrize("bad", ["half", "stall", "silent"])
def test_failed_download_is_given_up_leaves_no_file_and_is_not_tried_twice(
        capsys, server, use_mirrors, cache, bad):
    use_mirrors(f"{bad}/mnist.npz")
    for _ in range(2):
        assert load_mnist().name.startswith("bundled")
        assert "could not be downloaded" in one_line(capsys)
    assert server.outwaited == []  # STALL_SECONDS is 1 here; the server holds for 30
    assert server.downloads == ([] if bad == "silent" else [f"/{bad}/mnist.npz"])
    assert list(cache.iterdir()) == []


def test_stalling_name_look_up_is_given_up_after_the_time_out(monkeypatch, use_mirrors):
    use_mirrors("good/mnist.npz")
    released, answered = threading.Event(), []
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: answered.append(released.wait(30)))
    assert load_mnist().name.startswith("bundled")
    assert answered == []
    released.set()


def test_contents_are_checked_besides_the_checksum_of_the_file(monkeypatch, use_mirrors, digits):
    use_mirrors("good/mnist.npz")
    monkeypatch.setitem(datasets.IDX_MD5, "x_test", hashlib.md5(b"other digits").hexdigest())
    assert load_mnist().name.startswith("bundled")


@pytest.mark.parametrize("case", ["truncated", "one pixel altered"])
def test_damaged_cache_is_not_used_and_replaced(
        capsys, use_mirrors, cache, mirror_files, digits, case):
    cache.mkdir(parents=True)
    (cache / "mnist.npz").write_bytes(user_files(digits)[case])
    use_mirrors("absent/mnist.npz")
    assert load_mnist().name.startswith("bundled")
    datasets._download_failed = False
    use_mirrors("good/mnist.npz")
    assert_same(load_mnist(), digits)
    assert "downloaded" in capsys.readouterr().out
    assert (cache / "mnist.npz").read_bytes() == mirror_files["mnist.npz"]


def test_no_folder_for_the_cache_gives_the_bundled_digits(capsys, use_mirrors, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    use_mirrors("good/mnist.npz")
    assert load_mnist().name.startswith("bundled")
    assert "could not be downloaded" in one_line(capsys)


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
    (np.zeros((2, 28, 28), np.uint8), TypeError, r"got uint8 \(divide by 255\)"),
    (np.zeros((2, 28, 28), np.int64), TypeError, "got int64"),
    (np.zeros((2, 28, 28), bool), TypeError, "got bool"),
    (np.zeros((2, 784)), ValueError, r"got \(2, 784\)"),
    (np.zeros((28, 28)), ValueError, r"got \(28, 28\)"),
    (np.zeros((2, 1, 28, 28)), ValueError, r"got \(2, 1, 28, 28\)"),
    (np.zeros((2, 28, 27)), ValueError, r"got \(2, 28, 27\)"),
    (np.zeros((0, 28, 28)), ValueError, r"with n at least 1, got \(0, 28, 28\)"),
    (np.full((2, 28, 28), np.nan), ValueError, "NaN or infinity"),
    (np.full((2, 28, 28), np.inf), ValueError, "NaN or infinity"),
    (np.full((2, 28, 28), -np.inf), ValueError, "NaN or infinity"),
    (np.linspace(0, 255, 1568).reshape(2, 28, 28), ValueError, r"from 0 to 255 \(divide by 255\)"),
    (np.linspace(-0.5, 0.5, 1568).reshape(2, 28, 28), ValueError, r"from -0\.5 to 0\.5"),
    (np.linspace(0, 300, 1568).reshape(2, 28, 28), ValueError, "from 0 to 300$"),
])
def test_check_images_refuses(framework, images, error, message):
    with pytest.raises(error, match=f"x_batch .*{message}") as raised:
        check_images(make(framework, images), name="x_batch")
    assert "must be floats in [0, 1] of shape (n, 28, 28)" in str(raised.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_check_images_finds_a_single_bad_value(value):
    images = np.zeros((50, 28, 28), np.float32)
    images[31, 4, 15] = value
    with pytest.raises(ValueError, match=r"first at \(31, 4, 15\)"):
        check_images(images)


@pytest.mark.parametrize("images", [[[0.0] * 28] * 28, None, "digits", 0.5])
def test_check_images_refuses_what_is_no_array(images):
    with pytest.raises(TypeError, match=f"got a {type(images).__name__}"):
        check_images(images)
