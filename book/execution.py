"""Execute chapters side by side, and store their outputs where Jupyter Book looks for them.

    python book/execution.py CACHE CHAPTER…

Jupyter Book executes one chapter after the other. A chapter computes on one core most of the time,
however many threads it has: it starts, imports, draws, or goes through a loop of Python. So each
core gets a chapter of its own, up to `AT_ONCE` of them, with its share of the cores as threads. The
share does not depend on how many chapters are to be executed: one that is executed again computes
with as many threads as before.
"""

import os
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import yaml
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from jupyter_cache.executors.utils import ExecutionResult, single_nb_execution

import environment
import notebooks

__all__ = ["AT_ONCE", "THREADS", "command", "execute", "shared"]

AT_ONCE = 4  # chapters, each of which may hold two frameworks: 1 to 2 GB
# How many threads compute one operation: in NumPy and PyTorch, and in TensorFlow.
THREADS = ["OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"]


def shared(cores: int) -> tuple[int, dict[str, str]]:
    """Return how many chapters are executed at once, and with how many threads each.

    A variable of `THREADS` that is set already keeps its value; each other is a share of the cores.

    Args:
        cores: those that the build may use.
    """
    at_once = min(cores, AT_ONCE)
    return at_once, {name: os.environ.get(name) or str(cores // at_once) for name in THREADS}


def command(cache: Path, chapters: Iterable[Path]) -> list[str]:
    """Return the command that executes chapters; it ends with status 1 if one of them fails."""
    return [sys.executable, __file__, str(cache), *map(str, chapters)]


def execute(cache: Path, chapters: Iterable[Path]) -> list[str]:
    """Execute chapters, each in its folder, and store their outputs as Jupyter Book would.

    Says how long each took, or which of its cells failed.

    Args:
        cache: the folder in which Jupyter Book stores outputs.
        chapters: the paths of the notebooks.

    Returns:
        the names of those that failed, whose outputs are not stored.
    """
    config = yaml.safe_load((notebooks.ROOT / "_config.yml").read_text(encoding="utf-8"))
    stored, failed = get_cache(cache), []
    at_once, threads = shared(environment.cores())
    os.environ.update(threads)

    def executed(chapter: Path) -> ExecutionResult:
        return single_nb_execution(notebooks.read(chapter), cwd=str(chapter.parent),
                                   timeout=config["execute"]["timeout"], allow_errors=False)

    pool = ThreadPoolExecutor(at_once)  # who interrupts the build does not wait for its threads
    waiting = {pool.submit(executed, chapter): chapter for chapter in chapters}
    for each in as_completed(waiting):
        chapter = waiting[each]
        try:
            ended = each.result()
            wrong = ended.exc_string
        except Exception as error:  # of its kernel: one that is killed when memory is short, say
            wrong = f"{type(error).__name__}: {error}"
        if wrong:
            failed.append(chapter.stem)
            print(f"{chapter.stem}: failed\n{wrong}", flush=True)
            continue
        stored.cache_notebook_bundle(
            CacheBundleIn(ended.nb, str(chapter), data={"execution_seconds": ended.time}),
            check_validity=False, overwrite=True)
        print(f"{chapter.stem}: executed in {ended.time:.1f} seconds", flush=True)
    return failed


if __name__ == "__main__":
    try:
        sys.exit(bool(execute(Path(sys.argv[1]), map(Path, sys.argv[2:]))))
    except KeyboardInterrupt:
        os._exit(130)  # at once; a kernel ends when its parent has
