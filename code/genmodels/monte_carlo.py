"""Averages over Markov chains and weighted samples, with errors (NumPy, float64).

A chain is an array (n,), or (num_chains, n) for chains of one distribution: what was measured at
consecutive steps. Log weights are an array (n,), nats, one for each independent sample of a
proposal q:

    log w = log p̃(x) − log q(x),    ⟨O⟩_p = ⟨w O⟩_q / ⟨w⟩_q,    log Z = log ⟨w⟩_q

where p = p̃/Z: identity P6. Written here because emcee's `integrated_time` has no error of τ, and
pyerrors brings pandas, lxml and iminuit with it. `run_chains` draws independent chains, in one
process or in several.
"""

import copy
import math
import pickle
import sys
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp, stdtr

from genmodels.validate import (
    Array,
    check_generator,
    check_positive_int,
    check_seed,
    finite_array,
)

__all__ = ["autocorrelation_time", "check_thermalised", "effective_sample_size",
           "independence_metropolis", "jackknife", "log_mean_weight", "mean_and_error",
           "run_chains", "weight_tail"]

T = TypeVar("T")

WINDOW = 6  # autocorrelation times; of an exponential decay a share of e⁻⁶ lies beyond
MIN_WINDOWS = 20  # a chain that is shorter gives an error of τ above 40 %
MIN_EFFECTIVE_SIZE = 10
MIN_CHAINS = 8  # of one start
FALSE_ALARM = 1e-6  # the share of comparisons of chains in equilibrium that are refused


def run_chains(simulate: Callable[[np.random.Generator], T], num_chains: int, seed: int, *,
               num_processes: int = 1) -> list[T]:
    """Return what a simulation gives for each of several chains, in their order.

    Each chain has a generator of its own, and a copy of ``simulate``. Chain k draws from child k of
    `numpy.random.SeedSequence(seed)`: another stream than every other chain, and the same one for
    any number of chains and processes. So are the results, bit for bit on one machine, unless
    ``simulate`` keeps something where it is not copied, as in a global variable.

    Args:
        simulate: a function of a generator, such as ``partial(ising.chain, 32, 2.27, 1000)``. For
            several processes, it and what it returns must be such that pickle can send them: a
            function of a module, not one that a notebook defines.
        num_chains: one or more.
        seed: an integer, 0 or more.
        num_processes: 1 for this process. More are started anew, with a second each to import
            what ``simulate`` needs; a program that asks for them begins below
            ``if __name__ == "__main__":``.

    Raises:
        RuntimeError: a chain raised an error, named with the chain's number; no other is begun, and
            those under way go on to their ends unheard, for which Python waits before it exits. Or
            a process ended before its chain did: it was killed, perhaps since memory ran out, or
            could not import ``simulate``.
        TypeError, ValueError: for other arguments, and for a function or a result that cannot be
            sent to another process.
    """
    if not callable(simulate):
        raise TypeError(f"simulate must be a function, got {type(simulate).__name__}")
    num_chains = check_positive_int(num_chains, "num_chains")
    check_seed(seed)
    num_processes = min(check_positive_int(num_processes, "num_processes"), num_chains)
    streams = enumerate(np.random.SeedSequence(int(seed)).spawn(num_chains))
    if num_processes == 1:
        return [_run_chain(simulate, number, stream) for number, stream in streams]
    _check_sendable(simulate)
    # "spawn": a fork would copy locks that threads of this process hold
    pool = ProcessPoolExecutor(num_processes, get_context("spawn"))
    futures: list[Future] = []
    try:
        for each in streams:
            futures.append(pool.submit(_send_chain, simulate, *each))
        wait(futures, return_when=FIRST_EXCEPTION)
        for future in futures:
            if future.done():
                future.result()  # or the error of the first chain that has one
        return [pickle.loads(future.result()) for future in futures]
    except BrokenProcessPool as error:
        ended = {number for number, future in enumerate(futures)
                 if future.done() and future.exception() is None}
        without = sorted(set(range(num_chains)) - ended)
        raise RuntimeError(
            f"num_processes must live until all chains have ended, got one of {num_processes} "
            f"that ended before, with no result of {len(without)} of {num_chains} chains, the "
            f"first of them chain {without[0]}: it was killed, or memory ran out (fewer "
            "num_processes need less), or it could not import the program (one that starts "
            'processes begins below `if __name__ == "__main__":`)') from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # a chain under way may take hours


def _run_chain(simulate: Callable[[np.random.Generator], T], number: int,
               stream: np.random.SeedSequence) -> T:
    """Return what a copy of the function gives, or raise its error with the chain's number."""
    try:
        return copy.deepcopy(simulate)(np.random.default_rng(stream))
    except Exception as error:
        raise RuntimeError(f"simulate must run without an error, got {type(error).__name__} in "
                           f"chain {number}: {error}") from error


def _send_chain(simulate: Callable[[np.random.Generator], Any], number: int,
                stream: np.random.SeedSequence) -> bytes:
    """As `_run_chain`, for another process; the result as pickle writes it."""
    result = _run_chain(simulate, number, stream)
    try:
        return pickle.dumps(result)
    except Exception as error:
        raise TypeError("simulate must return what pickle can send to another process, got a "
                        f"{type(result).__name__} from chain {number}: {error}") from error


def _check_sendable(simulate: Callable) -> None:
    """Raise TypeError unless a process that is started anew can be given the function."""
    rule = "simulate must be one that pickle can send to another process, such as a function of a"
    try:
        sent = pickle.dumps(simulate)
    except Exception as error:
        raise TypeError(f"{rule} module, got {simulate!r}: {error}") from error
    if b"__main__" in sent and not hasattr(sys.modules["__main__"], "__file__"):
        raise TypeError(f"{rule} module that it can import, got {simulate!r}, which a notebook or "
                        "a prompt defines")


def autocorrelation_time(chain: ArrayLike) -> tuple[float, float]:
    """Return τ = ½ + Σ_t ρ(t), the integrated autocorrelation time, and its standard error.

    In steps of the chain; ρ(t) is the correlation of values t steps apart, summed to the first
    t ≥ 6 τ. The mean of n values has the variance 2 τ Var/n: n/(2τ) values are independent in
    effect, and τ is ½ if all are.

    Args:
        chain: shape (n,), or (num_chains, n).

    Raises:
        TypeError: if ``chain`` does not hold real numbers.
        ValueError: if it has another shape, holds NaN or infinity, is constant, or is too short: a
            chain whose drift from its start dominates is found out so.

    Source: Madras and Sokal (1988); bias and error by Wolff (2004), equations 49 and 42.
    """
    _, tau, window, n = _windowed(chain)
    return tau, tau * math.sqrt(4 * (window + 0.5 - tau) / n)


def mean_and_error(chain: ArrayLike) -> tuple[float, float]:
    """Return the mean of a chain, and its standard error √(2 τ Var/n).

    Arguments and errors are those of `autocorrelation_time`.
    """
    variance, tau, _, n = _windowed(chain)
    return float(np.mean(finite_array("chain", chain))), math.sqrt(2 * tau * variance / n)


def _windowed(chain: ArrayLike) -> tuple[float, float, int, int]:
    """Return the variance of the values, τ, the window of its sum, and the number of values."""
    chain = finite_array("chain", chain)
    if chain.ndim not in (1, 2) or chain.size == 0:
        raise ValueError(f"chain must have shape (n,) or (num_chains, n), got {chain.shape}")
    if np.all(chain == chain.flat[0]):
        raise ValueError(f"chain must vary, got {chain.flat[0]:g} at every step")
    chain = np.atleast_2d(chain)  # (num_chains, n)
    length, total = chain.shape[1], chain.size
    spectrum = np.abs(np.fft.rfft(chain - chain.mean(), 2 * length)) ** 2  # zeros: no wrapping
    num_pairs = np.arange(length, length // 2, -1) * len(chain)
    covariance = np.fft.irfft(spectrum)[:, : len(num_pairs)].sum(axis=0) / num_pairs
    taus = 0.5 + np.cumsum(covariance[1:]) / covariance[0]  # τ from the first 1, 2, … distances
    closed = np.arange(1, len(taus) + 1) >= WINDOW * np.maximum(taus, 0.5)
    window = int(np.argmax(closed)) + 1 if closed.any() else length
    if not closed.any() or total < MIN_WINDOWS * window:
        raise ValueError(f"chain must be longer, got {len(chain)} × {length} steps, of which "
                         f"{window} and more are correlated")
    # Subtracting the chain's own mean lowers each covariance by that mean's variance.
    variance = covariance[0] * (1 + 2 * taus[window - 1] / total)
    tau = taus[window - 1] * (1 + (2 * window + 1) / total) * covariance[0] / variance
    if tau <= 0:
        raise ValueError(f"chain must be longer, got {len(chain)} × {length} steps, whose "
                         "autocorrelation time does not come out positive")
    return float(variance), float(tau), window, total


def check_thermalised(ordered: ArrayLike, random: ArrayLike, name: str = "the chains") -> None:
    """Raise RuntimeError unless chains from two starts agree in the mean of what was measured.

    Both the first value and the mean along a chain are compared, by the t-test of Welch (1947) over
    chains: the standard error comes from their spread, so that no autocorrelation enters. Refused
    is what happens by chance once in a million comparisons.

    Args:
        ordered, random: measurements along independent chains from the one and from the other
            start, each (num_chains, n) with at least 8 chains.
        name: what was measured, for the message.

    Raises:
        RuntimeError: the means differ.
        TypeError, ValueError: there are fewer chains, other shapes, or values that are not finite.
    """
    chains = []
    for which, values in (("ordered", ordered), ("random", random)):
        chains.append(finite_array(which, values))
        if chains[-1].ndim != 2 or len(chains[-1]) < MIN_CHAINS or chains[-1].shape[1] == 0:
            raise ValueError(f"{which} must have shape (num_chains, n) with at least {MIN_CHAINS} "
                             f"chains, got {chains[-1].shape}")
    for a, b in zip(*((values[:, 0], values.mean(axis=1)) for values in chains)):
        variances = np.array([a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)])  # of the means
        difference, error = abs(a.mean() - b.mean()), math.sqrt(variances.sum())
        if difference == 0:
            continue
        chance = 0.0
        if error > 0:
            freedom = error**4 / np.sum(variances**2 / [len(a) - 1, len(b) - 1])
            chance = 2 * stdtr(freedom, -difference / error)
        if chance < FALSE_ALARM:
            raise RuntimeError(
                f"{name} must agree between ordered and random starts, got {a.mean():.4g} and "
                f"{b.mean():.4g}, with {error:.2g} as the standard error of the difference: the "
                "chains have not thermalised, leave out more steps")


def jackknife(
    statistic: Callable[[Array], ArrayLike], columns: ArrayLike, *, num_blocks: int = 50,
    log_weights: ArrayLike | None = None,
) -> tuple[Array, Array]:
    """Return a function of averages, and its standard error by leaving out one block after another.

    The rows are divided, in their order, into blocks of equal length (or lengths that differ by 1).
    Blocks must be longer than the correlations of a chain: then they are independent in effect.

    Args:
        statistic: a function of the averages of the columns, (d,), to a number or an array.
        columns: shape (n, d) or (n,), what was measured on n configurations.
        num_blocks: from 10 to n.
        log_weights: shape (n,), nats; the averages are then weighted ones.

    Returns:
        The value at the averages over all rows, and its error, as arrays of the statistic's shape
        or numbers.

    Raises:
        TypeError: if ``columns`` or ``log_weights`` does not hold real numbers, or ``num_blocks``
            is not an integer.
        ValueError: for other shapes, NaN or infinity, too few blocks or rows, and weights whose
            effective sample size is below 10.

    Source: Busing, Meijer and van der Leeden (1999), for blocks of different lengths.
    """
    columns = finite_array("columns", columns)
    columns = columns[:, None] if columns.ndim == 1 else columns
    if columns.ndim != 2 or columns.size == 0:
        raise ValueError(f"columns must have shape (n, d) or (n,), got {columns.shape}")
    n = len(columns)
    num_blocks = check_positive_int(num_blocks, "num_blocks")
    if num_blocks < MIN_EFFECTIVE_SIZE:
        raise ValueError(f"num_blocks must be at least {MIN_EFFECTIVE_SIZE}, got {num_blocks}")
    if n < num_blocks:
        raise ValueError(f"columns must have a row for each of {num_blocks} blocks, got {n}")
    w = np.ones(n)
    if log_weights is not None:
        log_weights = _enough_weights(log_weights, shape=(n,))
        w = np.exp(log_weights - log_weights.max())

    starts = np.arange(num_blocks) * n // num_blocks
    sums = np.add.reduceat(w[:, None] * columns, starts, axis=0)  # (num_blocks, d)
    weights = np.add.reduceat(w, starts)  # (num_blocks,)
    others = 1 - np.eye(num_blocks)  # sums of all blocks but one, with no difference of large sums
    if weights.sum() ** 2 < 2 * np.sum(weights**2):  # effectively less than two
        raise ValueError("log_weights must be spread over two blocks at least, got one that holds "
                         f"{weights.max() / weights.sum():.1%} of the weight")
    value = np.asarray(statistic(sums.sum(axis=0) / weights.sum()), dtype=float)
    without = np.array([np.asarray(statistic(mean), dtype=float)
                        for mean in others @ sums / (others @ weights)[:, None]])
    lengths = np.diff(np.append(starts, n)).reshape(-1, *(1,) * value.ndim)
    ratio = n / lengths
    pseudo = ratio * value - (ratio - 1) * without  # for a mean: the mean of the block
    centre = num_blocks * value - np.sum((1 - lengths / n) * without, axis=0)
    error = np.sqrt(np.mean((pseudo - centre) ** 2 / (ratio - 1), axis=0))
    return value[()], error[()]


def effective_sample_size(log_weights: ArrayLike) -> Array:
    """Return (Σ_s w_s)² / Σ_s w_s², from 1 (one weight is everything) to S (all are equal).

    Args:
        log_weights: shape (n, S), or (S,), nats.

    Returns:
        One number of samples for each row, shape (n,), or a number.

    Raises:
        TypeError: if ``log_weights`` does not hold real numbers.
        ValueError: if it has another shape, is empty, or holds NaN or infinity.

    Source: Kong, Liu and Wong (1994).
    """
    log_weights = finite_array("log_weights", log_weights)
    if log_weights.ndim not in (1, 2) or log_weights.size == 0:
        raise ValueError(f"log_weights must have shape (n, S) or (S,), each at least 1, "
                         f"got {log_weights.shape}")
    log_sum, log_sum_of_squares = (np.asarray(logsumexp(power * log_weights, axis=-1))
                                   for power in (1, 2))
    return np.exp(2 * log_sum - log_sum_of_squares)


def weight_tail(log_weights: ArrayLike) -> float:
    """Return k of the weights' tail, P(w > t) ∝ t^(−1/k) for large t: Hill's estimate.

    From the 3 √n largest weights (a fifth of them, if that is less). The variance of the weights is
    finite, and an error bar means something, for k < ½. k = 0 if the largest weights are all equal;
    its relative error is about n^(−¼)/√3.

    Raises TypeError or ValueError unless ``log_weights`` is finite, of shape (n,), with n ≥ 10.

    Source: Hill (1975); the number of weights as in Vehtari et al. (2024).
    """
    log_weights = finite_array("log_weights", log_weights)
    if log_weights.ndim != 1 or len(log_weights) < MIN_EFFECTIVE_SIZE:
        raise ValueError(f"log_weights must have shape (n,), n at least {MIN_EFFECTIVE_SIZE}, "
                         f"got {log_weights.shape}")
    n = len(log_weights)
    number = int(min(0.2 * n, 3 * math.sqrt(n)))
    largest = np.sort(log_weights)[-number - 1 :]
    return float(np.mean(largest[1:] - largest[0]))


def independence_metropolis(
    log_weights: ArrayLike, rng: np.random.Generator
) -> tuple[np.ndarray, float]:
    """Return a chain that has p as its equilibrium, of proposals from q: identity P6.

    From sample j, the next one i of the proposals is accepted with probability min(1, w_i/w_j);
    otherwise the chain stays where it is.

    Args:
        log_weights: shape (n,), nats, of independent samples of q, in the order of their use.

    Returns:
        The index of the sample that the chain holds at each step, (n,), which starts with 0; and
        the share of the n − 1 proposals that were accepted.

    Raises TypeError or ValueError unless ``log_weights`` is finite, of shape (n,), with n ≥ 2.

    Source: Tierney (1994).
    """
    log_weights, rng = finite_array("log_weights", log_weights), check_generator(rng)
    if log_weights.ndim != 1 or len(log_weights) < 2:
        raise ValueError(f"log_weights must have shape (n,), n at least 2, got {log_weights.shape}")
    # log u of a uniform u is minus an exponential variable: no log of 0
    log_uniforms = -rng.standard_exponential(len(log_weights))
    indices = np.zeros(len(log_weights), dtype=np.int64)
    held = 0
    for i in range(1, len(log_weights)):
        if log_uniforms[i] < log_weights[i] - log_weights[held]:
            held = i
        indices[i] = held
    return indices, float(np.mean(np.diff(indices) > 0))


def log_mean_weight(log_weights: ArrayLike) -> tuple[float, float]:
    """Return the estimate of log Z = log ⟨w⟩_q, nats, and its standard error: identity P6.

    The error is that of the mean weight over the mean weight (delta method): samples of q have to
    be independent. The estimate is too low by half its squared error on average.

    Raises TypeError or ValueError unless ``log_weights`` is finite, of shape (n,), with an
    effective sample size of 10 or more.
    """
    log_weights = _enough_weights(log_weights)
    n, largest = len(log_weights), float(log_weights.max())
    w = np.exp(log_weights - largest)
    error = float(w.std(ddof=1) / w.mean()) / math.sqrt(n)
    return largest + math.log(w.mean()), error


def _enough_weights(log_weights: ArrayLike, shape: tuple[int, ...] | None = None) -> Array:
    """Return log weights (n,), or raise the errors that an error bar needs."""
    log_weights = finite_array("log_weights", log_weights, shape=shape)
    if log_weights.ndim != 1 or log_weights.size == 0:
        raise ValueError(f"log_weights must have shape (n,), got {log_weights.shape}")
    size = effective_sample_size(log_weights)
    if size < MIN_EFFECTIVE_SIZE * (1 - 1e-9):  # rounding of ten equal weights
        raise ValueError(f"log_weights must have an effective sample size of at least "
                         f"{MIN_EFFECTIVE_SIZE} for an error bar, got {size:.3g} of "
                         f"{len(log_weights)}")
    return log_weights
