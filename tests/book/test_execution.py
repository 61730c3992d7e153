"""Chapters are executed side by side, and their outputs are found by Jupyter Book."""

import os
import signal
import subprocess
import time
from pathlib import Path

import nbformat
import psutil
import pytest
from jupyter_cache import get_cache

import execution
import notebooks

# A cell that ends when another chapter is there, too.
MEETS = """\
import time
from pathlib import Path
Path("{own}").touch()
end = time.monotonic() + 60
while not Path("{other}").exists():
    assert time.monotonic() < end, "{other} does not come"
    time.sleep(0.05)
"""


@pytest.fixture
def chapters(tmp_path):
    """A function of sources: notebooks of one cell each, in a folder of their own."""
    def written(*sources: str) -> list[Path]:
        paths = [tmp_path / f"{letter}.ipynb" for letter, _ in zip("abcd", sources)]
        for path, source in zip(paths, sources):
            cell = nbformat.v4.new_code_cell(source, id="one", metadata={"tags": ["kept"]})
            nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
        return paths

    return written


@pytest.fixture(autouse=True)
def threads(monkeypatch):
    """What sets threads: not as the tests are run, and as before when a test is over."""
    for name in execution.THREADS:
        monkeypatch.setenv(name, "1")
        monkeypatch.delenv(name)


def printed(path: Path, cache: Path) -> str:
    """What Jupyter Book finds that a chapter has printed."""
    _, found = get_cache(cache).merge_match_into_notebook(notebooks.read(path))
    assert found.cells[0].metadata == {"tags": ["kept"]}
    return "".join(each.text for each in found.cells[0].outputs)


@pytest.mark.parametrize(("cores", "at_once", "each"), [
    (1, 1, "1"), (2, 2, "1"), (4, 4, "1"), (6, 4, "1"), (16, 4, "4")])
def test_each_chapter_gets_its_share_of_the_cores(cores, at_once, each):
    assert execution.shared(cores) == (at_once, dict.fromkeys(execution.THREADS, each))


def test_a_number_of_threads_that_is_set_is_kept(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "")
    assert execution.shared(8) == (4, {"OMP_NUM_THREADS": "3", "TF_NUM_INTRAOP_THREADS": "2",
                                       "TF_NUM_INTEROP_THREADS": "2"})


def test_two_are_executed_at_once_each_in_its_folder_with_one_thread(chapters, tmp_path,
                                                                     monkeypatch):
    monkeypatch.setattr(execution.environment, "cores", lambda: 2)
    show = 'import os; print(Path.cwd(), os.environ["OMP_NUM_THREADS"])'
    paths = chapters(MEETS.format(own="a", other="b") + show,
                     MEETS.format(own="b", other="a") + show)
    assert execution.execute(tmp_path / "cache", paths) == []
    for path in paths:
        assert printed(path, tmp_path / "cache") == f"{tmp_path} 1\n"


def test_chapters_that_fail_are_named_and_the_others_are_stored(chapters, tmp_path, capfd):
    cache = tmp_path / "cache"
    paths = chapters("1 / 0", "import os; os.kill(os.getpid(), 9)", "print('here')")
    assert subprocess.run(execution.command(cache, paths), check=False).returncode == 1
    output = capfd.readouterr().out
    assert "a: failed\n" in output and "ZeroDivisionError" in output
    assert "b: failed\nDeadKernelError: Kernel died\n" in output and "c: executed in " in output
    assert printed(paths[2], cache) == "here\n"
    for path in paths[:2]:
        with pytest.raises(KeyError):
            printed(path, cache)


def test_a_kernel_that_does_not_start_is_a_failure_of_its_chapter_alone(chapters, tmp_path, capsys):
    cache = tmp_path / "cache"
    paths = chapters("print('here')", "print('here')")
    without = nbformat.read(paths[0], as_version=4)
    without.metadata["kernelspec"] = {"name": "nowhere", "display_name": "None"}
    nbformat.write(without, paths[0])
    assert execution.execute(cache, paths) == ["a"]
    assert "a: failed\nNoSuchKernel: No such kernel named nowhere" in capsys.readouterr().out
    assert printed(paths[1], cache) == "here\n"


@pytest.fixture
def in_the_foreground():
    """Processes are started as in a terminal; in the background of a script Ctrl-C is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("in_the_foreground")
def test_who_interrupts_a_build_does_not_wait(chapters, tmp_path):
    began = tmp_path / "began"
    paths = chapters("import os, time; from pathlib import Path\n"
                     "Path('began').write_text(str(os.getpid())); time.sleep(60)")
    process = subprocess.Popen(execution.command(tmp_path / "cache", paths),
                               start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        while not (began.exists() and began.read_text()):
            assert process.poll() is None
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(10) == 130
    finally:
        process.kill()
    kernel = psutil.Process(int(began.read_text()))
    end = time.monotonic() + 30
    while kernel.is_running() and kernel.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end, "its kernel still runs"
        time.sleep(0.1)
