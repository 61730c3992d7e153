"""Chains in several processes: the same results as in one, streams of their own, named errors.

What a process is sent stands at the level of this module, which the process imports.
"""

import concurrent.futures
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import combinations

import numpy as np
import pytest

from genmodels.exact.hybrid_monte_carlo import Quartic, hybrid_monte_carlo
from genmodels.monte_carlo import run_chains


def normals(rng, count=1000):
    return rng.standard_normal(count)


class Walk:
    """A simulation that remembers where it was, as one should not."""

    def __init__(self):
        self.place = 0.0

    def __call__(self, rng):
        self.place += rng.standard_normal()
        return self.place


class TwoPartError(Exception):
    """One that pickle cannot make again."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def fails(rng, first):
    """An error where the chain's first number is this one."""
    if rng.random() == first:
        raise ValueError("no room")
    return first


def two_part_error(rng, first):
    if rng.random() == first:
        raise TwoPartError("this", "that")
    return first


def kills_itself(rng, first):
    if rng.random() == first:
        os.kill(os.getpid(), signal.SIGKILL)
    return first


def marks(rng, folder, first):
    """Leaves a file; all chains but one take a while."""
    number = rng.random()
    (folder / str(number)).touch()
    if number == first:
        raise ValueError("no room")
    time.sleep(0.1)


def returns_a_function(rng):
    return lambda: None


def first_of(seed, number):
    """The first uniform number of a chain."""
    stream = np.random.SeedSequence(seed).spawn(number + 1)[number]
    return np.random.default_rng(stream).random()


def same(ours, theirs):
    """Each bit of each array, or number, of each result."""
    def in_bytes(result):
        parts = result if isinstance(result, tuple) else (result,)
        return [np.asarray(part).tobytes() for part in parts]

    assert list(map(in_bytes, ours)) == list(map(in_bytes, theirs))


ONE_NUMBER = Quartic(1.0, -1.0)
SIMULATIONS = {
    "normal numbers": normals,
    "hybrid Monte Carlo": partial(
        hybrid_monte_carlo, np.zeros((2, 1)), partial(np.sum, axis=1), ONE_NUMBER.force, 20,
        step_size=0.1, num_steps=5),
    "one with a memory": Walk(),
}


@pytest.mark.parametrize("name", SIMULATIONS)
def test_results_do_not_depend_on_the_number_of_processes(name):
    alone = run_chains(SIMULATIONS[name], 5, seed=1)
    assert len(alone) == 5
    for num_processes in (2, 3):
        same(run_chains(SIMULATIONS[name], 5, seed=1, num_processes=num_processes), alone)


def test_chain_k_is_the_same_whatever_the_number_of_chains():
    same(run_chains(normals, 3, seed=4), run_chains(normals, 7, seed=4)[:3])
    same(run_chains(normals, 1, seed=4, num_processes=8), run_chains(normals, 1, seed=4))


def test_every_chain_has_a_stream_of_its_own():
    chains = run_chains(normals, 12, seed=0) + run_chains(normals, 12, seed=1)
    for number, stream in enumerate(np.random.SeedSequence(0).spawn(12)):
        np.testing.assert_array_equal(chains[number], normals(np.random.default_rng(stream)))
    # Correlations of 1,000 independent numbers: normal, with the standard error 1000^(−½). The
    # largest of 276 exceeds five of these once in some 6,000 seeds; that of two equal chains is 32.
    correlations = [np.corrcoef(one, other)[0, 1] for one, other in combinations(chains, 2)]
    assert max(map(abs, correlations)) < 5 / np.sqrt(1000)


def test_a_lambda_will_do_in_one_process():
    assert run_chains(lambda rng: 3, 2, seed=0) == [3, 3]


# Errors -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_processes", [1, 2])
def test_an_error_is_named_with_the_number_of_its_chain(num_processes):
    simulate = partial(fails, first=first_of(0, 2))
    with pytest.raises(RuntimeError, match=r"without an error, got ValueError in chain 2: no room"):
        run_chains(simulate, 4, seed=0, num_processes=num_processes)


@pytest.mark.parametrize("num_processes", [1, 2])
def test_an_error_that_cannot_be_sent_is_named_too(num_processes):
    simulate = partial(two_part_error, first=first_of(0, 1))
    with pytest.raises(RuntimeError, match=r"got TwoPartError in chain 1: this and that"):
        run_chains(simulate, 2, seed=0, num_processes=num_processes)


def test_after_an_error_no_chain_is_begun(tmp_path):
    with pytest.raises(RuntimeError, match="in chain 0"):
        run_chains(partial(marks, folder=tmp_path, first=first_of(0, 0)), 400, seed=0,
                   num_processes=2)
    while multiprocessing.active_children():
        time.sleep(0.01)
    # Those that were under way, or next in the queue: all would take 20 s.
    assert len(list(tmp_path.iterdir())) < 200


def test_a_process_that_is_killed_is_reported():
    simulate = partial(kills_itself, first=first_of(0, 1))
    with pytest.raises(RuntimeError, match=r"got one of 2 that ended before, with no result of "
                                           r"[123] of 3 chains, the first of them chain [01]: "
                                           r"it was killed, or memory ran out"):
        run_chains(simulate, 3, seed=0, num_processes=2)


def test_a_process_may_be_killed_before_all_chains_are_queued(monkeypatch):
    submit, queued = ProcessPoolExecutor.submit, []

    def broken_at_the_third(self, *task):
        if len(queued) == 2:
            concurrent.futures.wait(queued)
            raise BrokenProcessPool
        queued.append(submit(self, *task))
        return queued[-1]

    monkeypatch.setattr(ProcessPoolExecutor, "submit", broken_at_the_third)
    with pytest.raises(RuntimeError, match=r"no result of 3 of 5 chains, the first .* chain 2: it"):
        run_chains(normals, 5, seed=0, num_processes=2)


def test_what_cannot_be_sent_to_another_process():
    with pytest.raises(TypeError, match=r"simulate must be one that pickle can send .*<lambda>"):
        run_chains(lambda rng: 3, 2, seed=0, num_processes=2)
    with pytest.raises(TypeError, match=r"must return what pickle can send .* a function from "
                                        r"chain [01]"):
        run_chains(returns_a_function, 2, seed=0, num_processes=2)


PROGRAM = """
from genmodels.monte_carlo import run_chains
def simulate(rng):
    return rng.random()
{guard}print(len(run_chains(simulate, 2, seed=0, num_processes=2)))
"""


@pytest.mark.parametrize(("guard", "as_file", "message"), [
    ("if __name__ == '__main__':\n    ", True, None),
    ("", True, "begins below `if __name__ =="),
    ("", False, "which a notebook or a prompt defines"),
], ids=["guarded", "not guarded", "no file"])
def test_programs_that_start_processes(guard, as_file, message, tmp_path):
    source = PROGRAM.format(guard=guard)
    (tmp_path / "program.py").write_text(source)
    command = [str(tmp_path / "program.py")] if as_file else ["-c", source]
    ended = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=300,
                           check=False)
    if message is None:
        assert (ended.returncode, ended.stdout) == (0, "2\n"), ended.stderr
    else:
        assert ended.returncode == 1 and message in ended.stderr


@pytest.mark.parametrize(("change", "error", "message"), [
    ({"simulate": 3}, TypeError, "simulate must be a function, got int"),
    ({"num_chains": 0}, ValueError, "num_chains must be a positive integer, got 0"),
    ({"num_chains": 2.0}, TypeError, "num_chains must be a positive integer, got 2.0"),
    ({"seed": -1}, ValueError, "seed must be a non-negative integer, got -1"),
    ({"seed": None}, TypeError, "seed must be a non-negative integer, got None"),
    ({"num_processes": 0}, ValueError, "num_processes must be a positive integer, got 0"),
])
def test_arguments_that_are_refused(change, error, message):
    with pytest.raises(error, match=message):
        run_chains(**{"simulate": normals, "num_chains": 2, "seed": 0, **change})
