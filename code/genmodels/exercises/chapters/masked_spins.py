"""Tests of the answers in the chapter on masked diffusion of spins."""

import functools
import math

import numpy as np
from scipy.special import logsumexp

from genmodels.exercises.compare import (
    array,
    ask,
    chosen,
    compare,
    need,
    parts,
    scalar,
    show,
)
from genmodels.exercises.registry import exercise

__all__ = ["block_cost", "missed_phase", "read_the_hamiltonian", "ring_in_few_steps",
           "which_weight"]


def entropy(p: np.ndarray) -> float:
    """−Σ p log p, nats."""
    p = p[p > 0]
    return float(-(p * np.log(p)).sum())


def marginal(p: np.ndarray, kept) -> np.ndarray:
    """The table of some of the variables, whose axes are kept."""
    return p.sum(axis=tuple(set(range(p.ndim)) - set(kept)))


# ring-in-few-steps ------------------------------------------------------------------------------


def ring(num_spins: int, temperature: float) -> np.ndarray:
    """Probabilities of all configurations of a ring, one axis of length 2 for each spin."""
    bits = np.arange(2**num_spins)[:, None] >> np.arange(num_spins)[::-1] & 1
    x = 2 * bits - 1
    log_p = (x * np.roll(x, 1, axis=1)).sum(axis=1) / temperature
    return np.exp(log_p - logsumexp(log_p)).reshape((2,) * num_spins)


def lost(p: np.ndarray, step: np.ndarray) -> tuple[float, int]:
    """Nats lost by drawing the spins of each step as independent; the first step that loses."""
    total, first = 0.0, -1
    for s in range(step.max() + 1):
        known, block = np.flatnonzero(step < s), np.flatnonzero(step == s)
        given = entropy(marginal(p, known)) if len(known) else 0.0
        alone = sum(entropy(marginal(p, [*known, i])) - given for i in block)
        cost = alone - (entropy(marginal(p, [*known, *block])) - given)
        if cost > 1e-9 and first < 0:
            first = s
        total += cost
    return total, first


@exercise(
    "ring-in-few-steps", kind="derive", difficulty=3, minutes=25, identities=("H1",),
    right="The number of steps is set by what stands between two spins, not by their number. In a "
          "learned network the same order costs only what its logits are off.")
def ring_in_few_steps(order, lattice_steps):
    for num_spins in (8, 4, 16):
        got = array(ask(order, num_spins=num_spins))
        head = f"tested with num_spins = {num_spins}: "
        need(got.shape == (num_spins,), f"{head}the result has shape {got.shape}, expected "
             f"{(num_spins,)}, the step of each spin.")
        need(np.all(np.isfinite(got)) and np.all(got == np.round(got)) and got.min() >= 0,
             f"{head}steps must be integers 0, 1, …, got {show(got)}.")
        _, step = np.unique(got.astype(int), return_inverse=True)
        nats, first = lost(ring(num_spins, 1.5), step)
        used, fewest = step.max() + 1, int(math.log2(num_spins)) + 1
        need(nats < 1e-9, f"{head}at T = 1.5 this order loses {nats:.3g} nats, first in step "
             f"{first}: two of its spins are joined by a path of hidden ones.")
        need(used == fewest, f"{head}nothing is lost, but there are {used} steps where fewer are "
             "enough. Into how many separate pieces do the visible spins cut the ring after each "
             "step, and how many spins can the next step take?")
    answer = chosen(lattice_steps, ("m + 1", "L (m + 1)", "L²/2 + 1"), "lattice_steps")
    need(answer != "m + 1", "the order is right, but \"m + 1\" is not: the spins of one row are "
         "joined by paths through the hidden rows beside it. Can they be drawn in one step?")
    need(answer != "L²/2 + 1", "the order is right, but \"L²/2 + 1\" is the number of steps for "
         "another order, one sublattice of the chessboard spin by spin and then the other one at "
         "once. How many rows can be drawn side by side once two of them are known?")


# block-cost -------------------------------------------------------------------------------------

SCHEDULES = {"equal": (4, 4, 4, 4), "small first": (1, 3, 5, 7), "small last": (7, 5, 3, 1)}


@functools.cache
def lattice_costs(temperature: float) -> dict[str, float]:
    """Nats lost by each schedule on 4 × 4 Ising spins, in a random order."""
    bits = np.arange(2**16)[:, None] >> np.arange(16)[::-1] & 1
    x = (2 * bits - 1).reshape(-1, 4, 4)
    log_p = (x * (np.roll(x, 1, axis=1) + np.roll(x, 1, axis=2))).sum(axis=(1, 2)) / temperature
    p = np.exp(log_p - logsumexp(log_p)).reshape((2,) * 16)
    order = np.random.default_rng(0).permutation(16)
    return {name: lost(p, np.repeat(np.arange(4), sizes)[order])[0]
            for name, sizes in SCHEDULES.items()}



@exercise(
    "block-cost", kind="explore", difficulty=2, minutes=20, identities=("K1",),
    right="Try such a schedule with an order of your own in `network.sample`: sixteen steps may "
          "be worth more than you expect.")
def block_cost(cost, schedule, larger_gain):
    rng = np.random.default_rng(0)
    independent = np.einsum("i,j,k->ijk", [0.2, 0.8], [0.5, 0.5], [0.9, 0.1])
    aligned = np.zeros((2, 2))
    aligned[0, 0], aligned[1, 1] = 0.25, 0.75
    for p, tested in ((rng.dirichlet(np.ones(8)).reshape(2, 2, 2), "three spins"),
                      (rng.dirichlet(np.full(16, 0.3)).reshape(2, 2, 2, 2), "four spins"),
                      (independent, "three independent spins"),
                      (aligned, "two spins that are always equal")):
        singles = [marginal(p, [i]) for i in range(p.ndim)]
        alone, joint = sum(map(entropy, singles)), entropy(p)
        product = np.ones(())
        for single in singles:
            product = np.multiply.outer(product, single)
        positive = p[p > 0]
        uniform = p.ndim * math.log(2) - joint
        with np.errstate(divide="ignore", invalid="ignore"):
            backwards = float(np.sum(product * np.log(product / p)))
            pairs = (0.0 if p.ndim == 2 else sum(
                sum(entropy(marginal(p, [i])) for i in (a, b)) - entropy(marginal(p, [a, b]))
                for a in range(p.ndim) for b in range(a)))
        compare(scalar(ask(cost, p=p)), alone - joint, what="the cost, nats", tested=tested,
                error=1e-6, mistakes={
            "The sign is reversed: a divergence is never negative.": joint - alone,
            "This is the divergence the other way round: the average is over what the exact "
            "probabilities draw.": backwards,
            "This is the divergence from fair coins; each spin is drawn with its own right "
            "probability.": uniform,
            "This is the entropy of the spins together.": joint,
            "This is the sum of the entropies of single spins.": alone,
            "This is the cost divided by the number of spins.": (alone - joint) / p.ndim,
            "This is in bits.": (alone - joint) / math.log(2),
            "This sums over the pairs of spins; more than two may be correlated.": pairs,
            "This does not weight the logarithms with p.":
                float(np.log(positive).sum() - np.log(product[p > 0]).sum()),
        })
    answer = chosen(schedule, tuple(SCHEDULES), "schedule")
    costs = lattice_costs(1.8)
    best = min(costs, key=costs.get)
    need(answer == best, f"the cost is right, but not the schedule: on 4 × 4 spins at T = 1.8 "
         f"{answer!r} loses {costs[answer]:.2f} nats, and another one less. What do spins of an "
         "empty lattice tell about each other, and what once one of them is visible?")
    answer = chosen(larger_gain, ("1.8", "3.0"), "larger_gain")
    warm = lattice_costs(3.0)
    gains = {"1.8": costs["equal"] / costs[best], "3.0": warm["equal"] / warm[best]}
    need(answer == max(gains, key=gains.get), f"the schedule is right, but at T = {answer} it "
         f"divides the cost by {gains[answer]:.1f} only. At which temperature are distant spins "
         "of an empty lattice nearly independent?")


# which-weight -----------------------------------------------------------------------------------


@exercise(
    "which-weight", kind="derive", difficulty=3, minutes=25, identities=("N2", "P6"),
    right="The order is a part of what was drawn. Estimate C by a sample of your own: with the "
          "network of the chapter it is off by less than you might fear. Why?")
def which_weight(limits, verdicts):
    rng = np.random.default_rng(0)
    for number in (6, 10):
        q, other = rng.dirichlet(np.full(number, 2.0), size=2)
        p = rng.dirichlet(np.full(number, 2.0))
        p_tilde = p * math.exp(2.5)
        log_z = math.log(p_tilde.sum())
        expected = (float((q * np.log(p_tilde / q)).sum()), log_z,
                    float(np.log((q * p_tilde / other).sum())), log_z)
        got = parts(ask(limits, p_tilde=p_tilde, q=q, other=other), *"ABCD")
        mistakes = [
            {"This is the limit of B: A averages logarithms.": log_z,
             "The average is over samples of q, not of p.":
                 float((p * np.log(p_tilde / q)).sum()),
             "This does not weight the configurations with q.": float(np.log(p_tilde / q).mean()),
             "This is minus the divergence; log Z is missing.": expected[0] - log_z},
            {"This is the limit of A: B takes the logarithm of an average.": expected[0],
             "This is Z; B estimates its logarithm.": math.exp(log_z),
             "This does not weight the configurations with q: the average of p̃/q is over samples "
             "of q.": float(np.log((p_tilde / q).mean()))},
            {"This is log Z. It would be, if the order in the weight were that of the draw.": log_z,
             "This averages logarithms; C takes the logarithm of an average.":
                 float((q * np.log(p_tilde / other)).sum()),
             "The roles are exchanged: the samples are drawn in the first order, the weight has "
             "the second.": float(np.log((other * p_tilde / q).sum()))},
            {"This is the limit of A: D's average is over samples of p, and of a ratio, not of its "
             "logarithm.": expected[0],
             "This is −log Z: D has a minus sign.": -log_z,
             "The average is over samples of p, not of q.":
                 -float(np.log((q * q / p_tilde).sum()))},
        ]
        for name, value, right, known in zip("ABCD", got, expected, mistakes):
            compare(scalar(value), right, what=f"the limit of {name}, nats",
                    tested=f"{number} configurations", mistakes=known)
    names = ("right", "too low", "wrong")
    found = dict(zip("ABCD", verdicts)) if isinstance(verdicts, list | tuple) else {}
    need(len(found) == 4 == len(verdicts if found else ()),
         "`verdicts` must be a list of four words, for A, B, C, D.")
    for name, right in zip("ABCD", ("too low", "right", "wrong", "right")):
        answer = chosen(found[name], names, f"the verdict on {name}")
        need(answer == right, f"the limits are right, but the verdict on {name} is not: compare "
             "its limit with log Z for several q, p̃ and second orders. Has the difference a sign?")


# missed-phase -----------------------------------------------------------------------------------


@exercise(
    "missed-phase", kind="explore", difficulty=2, minutes=20, identities=("P6",),
    right="Report both estimates, or test samples for what symmetry demands. One may agree with "
          "itself and be wrong.")
def missed_phase(diagnose, size, odd_network):
    rng = np.random.default_rng(0)
    for n, shift, miss, tested in ((400, 300.0, 0.5, "log weights of about 300"),
                                   (500, -2000.0, 0.25, "log weights of about −2000"),
                                   (300, 3.0, 0.0, "log weights of about 3")):
        at_q = shift + math.log(1 - miss) + 0.3 * rng.standard_normal(n)
        at_p = shift + math.log(1 - miss) + 0.3 * rng.standard_normal(n)
        at_p[:int(miss * n)] += 40  # q is almost zero there
        forward = logsumexp(at_q) - math.log(n)
        backward = math.log(n) - logsumexp(-at_p)
        got = parts(ask(diagnose, at_q=at_q, at_p=at_p), "the estimate from q",
                    "the estimate from p", "the share that q misses")
        compare(scalar(got[0]), forward, what="the estimate of log Z from q", tested=tested,
                mistakes={
            "This is the mean of the log weights, a lower bound.": at_q.mean(),
            "This is the sum of the weights, where their mean belongs.": logsumexp(at_q),
            "This is the estimate from p.": backward,
            "This averages 1/w; over samples of q the mean of w is Z.":
                math.log(n) - logsumexp(-at_q),
        })
        compare(scalar(got[1]), backward, what="the estimate of log Z from p", tested=tested,
                mistakes={
            "This averages w over samples of p; there the mean of 1/w is 1/Z.":
                logsumexp(at_p) - math.log(n),
            "This is the mean of the log weights over samples of p.": at_p.mean(),
            "The sign is reversed: the mean of 1/w is 1/Z.": -backward,
            "This is the sum of 1/w, where its mean belongs.": -logsumexp(-at_p),
        })
        share = -math.expm1(forward - backward)
        compare(scalar(got[2]), share, what="the share that q misses", tested=tested,
                error=1e-6 * max(1.0, abs(shift)), mistakes={
            "This is the share that q reaches.": 1 - share,
            "This is the difference of the two estimates; the share follows from Z_q/Z.":
                backward - forward,
            "The ratio is upside down.": -math.expm1(backward - forward),
        })
    answer = chosen(size, ("about n", "about n/2", "about 1"), "size")
    need(answer == "about n", f"the estimates are right, but {answer!r} is not what one finds: the "
         "weights at the samples of q are all that the effective sample size knows. How much do "
         "they differ there?")
    answer = chosen(odd_network, ("cannot miss it", "misses it, too", "misses both"),
                    "odd_network")
    need(answer == "cannot miss it", f"the estimates are right, but {answer!r} is not: with which "
         "probability does an odd network draw its first spin as +?")


# read-the-hamiltonian ---------------------------------------------------------------------------


def neighbours(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums over the four nearest and the four diagonal neighbours, by plain loops over shifts."""
    near, diagonal = np.zeros_like(x), np.zeros_like(x)
    for dx in (-1, 0, 1):
        for dy in (-1, 0, 1):
            if abs(dx) + abs(dy) == 1:
                near += np.roll(x, (dx, dy), axis=(1, 2))
            elif abs(dx) + abs(dy) == 2:
                diagonal += np.roll(x, (dx, dy), axis=(1, 2))
    return near, diagonal


@exercise(
    "read-the-hamiltonian", kind="build", difficulty=2, minutes=25, identities=(),
    right="What a network has learned of a magnet can be read from it, if one asks about one spin "
          "at a time. Fitting such logits to data is known as pseudo-likelihood.")
def read_the_hamiltonian(couplings, odd_network):
    rng = np.random.default_rng(0)
    for size, truth in ((6, (0.44, 0.0, 0.0)), (5, (0.3, -0.12, 0.07)), (8, (-0.2, 0.1, -0.3))):
        x = rng.choice([-1.0, 1.0], size=(20, size, size))
        near, diagonal = neighbours(x)
        # log p(x) − log p(x with one spin turned), by the energy over T
        z = 2 * (truth[0] * near + truth[1] * diagonal + truth[2])
        z = z + 1e-3 * rng.standard_normal(z.shape)
        columns = np.stack([near, diagonal, np.ones_like(x)], axis=-1).reshape(-1, 3)
        fitted = np.linalg.lstsq(2 * columns, z.ravel(), rcond=None)[0]
        alone = np.linalg.lstsq(2 * columns[:, [0, 2]], z.ravel(), rcond=None)[0]
        got = ask(couplings, x=x, logits=z)
        compare(got, fitted, what="(K₁, K₂, B/T)", relative=0.01, error=1e-3,
                tested=f"L = {size}, couplings {truth}", mistakes={
            "A factor 2 is missing: turning a spin changes the energy by twice what it feels.":
                2 * fitted,
            "All are half as large as they should be.": fitted / 2,
            "All signs are reversed: E has minus signs, and p = exp(−E/T)/Z.": -fitted,
            "K₁ and K₂ are exchanged.": fitted[[1, 0, 2]],
            "These are the inverses, T over the couplings.": 1 / fitted,
        })
        need(not np.allclose(array(got)[[0, 2]], alone, atol=1e-6) or truth[1] == 0,
             "fit the three numbers together.")
    answer = chosen(odd_network, ("B/T", "half of B/T", "0"), "odd_network")
    need(answer == "0", f"the couplings are right, but {answer!r} is not what an odd network "
         "shows: what is its logit for x and for −x together?")
