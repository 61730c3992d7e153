"""Tests of the answers in the chapter on Boltzmann distributions and how to sample them."""

import numpy as np
from scipy.special import logsumexp

from genmodels.exact import ising
from genmodels.exercises.compare import (
    ask,
    chosen,
    compare,
    need,
    number,
    parts,
    scalar,
)
from genmodels.exercises.registry import exercise

__all__ = ["broken_symmetry", "how_long", "stiffest_mode", "thinned_chain", "wrong_bonds"]

# broken-symmetry --------------------------------------------------------------------------------


@exercise(
    "broken-symmetry", kind="explore", difficulty=2, minutes=20, identities=("P1",),
    right="An encoder with one Gaussian pays the same price for a posterior with two modes. What "
          "would it be for a model with q equivalent states?")
def broken_symmetry(gap, limit, cure):
    for size, m, T, field in ((3, 0.6, 1.7, 0.0), (3, -0.3, 4.0, 0.4), (4, 0.8, 2.2, 0.0),
                              (2, 0.0, 0.9, 1.0)):
        x = ising.configurations(size).astype(float)
        N = size**2
        E = N * (ising.energies(x) - field * x.mean(axis=(1, 2)))
        up, down = (1 + m) / 2, (1 - m) / 2
        mean_energy = -2 * N * m**2 - field * N * m  # of 2N bonds between independent spins
        entropy = -N * (up * np.log(up) + down * np.log(down))
        log_Z = logsumexp(-E / T)
        expected = mean_energy / T - entropy + log_Z
        p = np.exp(-E / T - log_Z)
        log_q = N / 2 * (np.log(up * down) + x.mean(axis=(1, 2)) * np.log(up / down))
        got = ask(gap, spins=x.reshape(-1, N), E=E, m=m, T=T)
        compare(scalar(got), expected, what="the divergence, nats", error=1e-11,
                tested=f"{size}×{size} spins in a field of {field}, m = {m}, T = {T}", mistakes={
            "This is the bound on F over T: log Z is missing.": mean_energy / T - entropy,
            "This is T times the divergence.": T * expected,
            "This is the divergence from p to Q.": p @ (np.log(p) - log_q),
            "This is the bound ⟨E⟩ − TS, not its distance from F.": mean_energy - T * entropy,
            "The entropy enters with the wrong sign.": mean_energy / T + entropy + log_Z,
            "This is the divergence per spin.": expected / N,
            "This is minus the divergence.": -expected,
            "The energy is not divided by T.":
                mean_energy - entropy + logsumexp(-E),
        })
    value = number(limit, "`limit`")
    need(abs(value) > 1e-9, "the function is right, but the limit is not 0: for T → 0 the best Q "
         "has everything in one state. What does p have there?")
    for wrong, reason in ((1.0, "one bit is not one nat"), (16 * np.log(2), "this is the entropy "
                          "of 16 free spins"), (np.log(2) / 16, "this is per spin"),
                          (-np.log(2), "a divergence is not negative"),
                          (0.5, "this is the probability of a state, not a divergence")):
        need(abs(value - wrong) > 1e-6, f"the function is right, but `limit` = {value:.4g}: "
             f"{reason}.")
    need(abs(value - np.log(2)) < 1e-3, f"the function is right, but `limit` = {value:.4g} is not: "
         "which states does p have at low temperature, and which of them has the best Q?")
    chosen(cure, ("different means", "mixture", "larger lattice"), "cure")
    need(cure == "mixture", f"function and limit are right, but {cure!r} does not close the gap: "
         "which distribution has two states of probability ½ and nothing between them?")


# thinned-chain ----------------------------------------------------------------------------------


@exercise(
    "thinned-chain", kind="derive", difficulty=2, minutes=20,
    right="Store what is cheap to measure at every step, and configurations only every τ steps.")
def thinned_chain(errors, gain):
    for r, n, k in ((0.9, 10_000, 10), (0.5, 4_000, 2), (0.98, 100_000, 20), (0.0, 600, 3)):
        lags = np.arange(1, 5000)
        tau, thinned = 0.5 + np.sum(r**lags), 0.5 + np.sum((r**k) ** lags)
        expected = np.sqrt([2 * tau / n, k / n, 2 * thinned * k / n])
        names = ("the error of the full mean", "the printed error", "the true error")
        got = parts(ask(errors, r=r, n=n, k=k), *names)
        mistakes = [{
            "This is the error of independent values.": np.sqrt(1 / n),
            "This is a variance; an error is its root.": 2 * tau / n,
            "A factor 2 is missing: the variance is 2τ/n.": np.sqrt(tau / n),
            "The ½ in τ is missing.": np.sqrt(2 * (tau - 0.5) / n),
            "The ½ in τ is a 1 here.": np.sqrt(2 * (tau + 0.5) / n),
        }, {
            "There are n/k values, not n.": np.sqrt(1 / n),
            "This is a variance; an error is its root.": k / n,
            "The printed error knows nothing of the correlations.": expected[2],
            "n is multiplied by k where it is divided.": np.sqrt(1 / (n * k)),
        }, {
            "The values that are left are correlated, too.": expected[1],
            "The values that are left have the correlation r^k, not r, between neighbours.":
                np.sqrt(2 * tau * k / n),
            "Neighbours that are left are k steps apart: r^k, not r/k.":
                np.sqrt((1 + r / k) / (1 - r / k) * k / n),
            "There are n/k values, not n.": np.sqrt(2 * thinned / n),
            "This is the error of the mean of all values.": expected[0],
        }]
        for part, right, name, wrong in zip(got, expected, names, mistakes):
            compare(scalar(part), right, what=name, tested=f"r = {r}, n = {n}, k = {k}",
                    mistakes=wrong, relative=1e-9)
    chosen(gain, ("precision", "honesty", "both"), "gain")
    need(gain == "honesty", f"the errors are right, but they contradict {gain!r}: how does the "
         "true error of the thinned mean change as k grows, and how the printed one?")


# wrong-bonds ------------------------------------------------------------------------------------


@exercise(
    "wrong-bonds", kind="explore", difficulty=2, minutes=20, identities=("P2",),
    right="The same factor 2 separates Ising spins from Potts spins with q = 2, whose energy "
          "counts equal neighbours once; programs for the one are often used for the other.")
def wrong_bonds(sampled_temperature, energy, reveals):
    for T in (0.7, 1.5, 2.5, 6.0):
        join = -np.expm1(-2 / T)
        compare(scalar(ask(sampled_temperature, join=join)), T, what="the temperature",
                tested=f"join = {join:.4f}", relative=1e-9, mistakes={
            "This takes join for 1 − exp(−1/T), as the program does.": T / 2,
            "A temperature is positive: the logarithm of 1 − join is not.": -T,
            "This is 1/T.": 1 / T,
            "This is −2/log(join): the probability of *not* joining is exp(−2/T).":
                -2 / np.log(join),
            "The factor 2 is on the other side.": T / 4,
        })
    value, right = number(energy, "`energy`"), ising.energy(4, 4.0)
    compare(np.asarray(value), right, what="the energy per spin", relative=1e-6, mistakes={
        "This is the energy at T = 2: which temperature does the program sample?":
            ising.energy(4, 2.0),
        "This is the energy at T = 1: are the bonds too rare or too many?": ising.energy(4, 1.0),
        "This is the energy of the whole lattice.": 16 * right,
        "This is the energy of the infinite lattice.": ising.onsager_energy(4.0),
        "An energy per spin is negative here.": -right,
    })
    chosen(reveals, ("mean of m", "two starts", "Kaufman"), "reveals")
    need(reveals == "Kaufman", f"temperature and energy are right, but {reveals!r} looks the same "
         "for a correct sampler of another temperature. What depends on T?")


# stiffest-mode ----------------------------------------------------------------------------------


@exercise(
    "stiffest-mode", kind="derive", difficulty=3, minutes=25, identities=("P3", "P4"),
    right="Fourier acceleration gives each mode the mass ω² in place of 1: then all run alike, "
          "and the free field has no critical slowing down.")
def stiffest_mode(cost, why):
    for size, mass in ((16, 0.3), (6, 1.0), (5, 0.4), (3, 2.0)):
        line = 2 * np.eye(size) - np.roll(np.eye(size), 1, 0) - np.roll(np.eye(size), -1, 0)
        matrix = np.kron(line, np.eye(size)) + np.kron(np.eye(size), line)
        matrix += mass**2 * np.eye(size**2)
        frequencies = np.sqrt(np.linalg.eigvalsh(matrix))
        low, high = frequencies[0], frequencies[-1]
        tested = f"L = {size}, mass = {mass}"
        step, steps = parts(ask(cost, size=size, mass=mass), "the step", "the number of steps")
        even = np.sqrt(mass**2 + 8)
        mistakes = {
            "This is 1/ω_max: the trace of a step reaches −2 at twice that.": 1 / high,
            "This has ω² where ω belongs.": 2 / high**2,
            "This is the limit of the softest mode; the stiffest is the first to diverge.": 2 / low,
            "The mass is missing in ω.": 2 / np.sqrt(high**2 - mass**2),
            "Only one direction of the lattice is counted.":
                2 / np.sqrt((high**2 + mass**2) / 2),
            "This is the trace at 0, where it belongs at −2.": np.sqrt(2) / high,
        }
        if size % 2:
            mistakes["On an odd lattice no wave alternates from site to site: k = π is not among "
                     "its modes."] = 2 / even
        compare(scalar(step), 2 / high, what="the largest step", tested=tested, relative=1e-9,
                mistakes=mistakes)
        right = np.pi / (2 * low) * high / 2
        compare(scalar(steps), right, what="the number of steps", tested=tested, relative=1e-9,
                mistakes={
            "This is the length of the trajectory in time; divide it by the step.":
                np.pi / (2 * low),
            "This is a whole period.": 4 * right,
            "This is half a period.": 2 * right,
            "This is the ratio of the frequencies.": high / low,
            "This is a quarter period of the stiffest mode.": np.pi / 4,
        })
    chosen(why, ("smaller steps", "longer trajectories", "both"), "why")
    need(why == "longer trajectories", f"the numbers are right, but they contradict {why!r}: what "
         "do ω_max and ω_min tend to as the mass goes to 0?")


# how-long ---------------------------------------------------------------------------------------


@exercise(
    "how-long", kind="explore", difficulty=2, minutes=20,
    right="Real chains relax with several times at once; the slowest one counts in the end, and τ "
          "of the slowest observable estimates it.")
def how_long(steps_needed, cure):
    for start, mean, std, tau, n in ((0.05, 0.76, 0.33, 70.0, 512), (3.0, 1.0, 0.5, 8.0, 40),
                                     (-1.95, -1.9, 1.0, 5.0, 4), (0.0, 1.0, 0.2, 20.0, 10_000)):
        level, offset = 0.2 * std / np.sqrt(n), abs(start - mean)
        times = np.array([0.0, 100 * tau])  # halve the interval in which the bias crosses the level
        for _ in range(200):
            middle = times.mean()
            times[0 if offset * np.exp(-middle / tau) > level else 1] = middle
        expected = times[1] if offset > level else 0.0
        ratio = abs(start - mean) / std
        compare(scalar(ask(steps_needed, start=start, mean=mean, std=std, tau=tau, num_chains=n)),
                expected, what="the time", error=1e-9 * tau,
                tested=f"start = {start}, mean = {mean}, std = {std}, tau = {tau}, "
                       f"num_chains = {n}", mistakes={
            "Here the bias equals the printed error; a fifth is asked for.":
                tau * np.log(max(1.0, np.sqrt(n) * ratio)),
            "The printed error is std over the root of the number of chains.":
                tau * np.log(max(1.0, 5 * n * ratio)),
            "The printed error falls with the number of chains.": tau * np.log(max(1.0, 5 * ratio)),
            "With a time of 2τ: here the bias itself falls as e^(−t/τ).":
                2 * tau * np.log(max(1.0, 5 * np.sqrt(n) * ratio)),
            "Here the bias is five times the printed error.":
                tau * np.log(max(1.0, np.sqrt(n) * ratio / 5)),
            "If the bias is small from the start, no step is needed: 0.":
                tau * np.log(5 * np.sqrt(n) * ratio),
            "This is in units of τ.": expected / tau,
            "This is a logarithm to the base 10.": expected / np.log(10),
        })
    chosen(cure, ("ten times as many chains", "ten times as many steps",
                  "error bars by bootstrap"), "cure")
    need(cure == "ten times as many steps", f"the function is right, but it contradicts {cure!r}: "
         "which of the three moves the average of the chains towards the mean?")
