"""Tests of the answers in the chapter on what it means to learn a distribution."""

import numpy as np
from scipy.special import logsumexp
from scipy.stats import binom

from genmodels.exact.mixture import GaussianMixture
from genmodels.exercises.compare import (
    array,
    ask,
    chosen,
    compare,
    need,
    number,
    parts,
    scalar,
    show,
)
from genmodels.exercises.registry import exercise

__all__ = ["chain_coupling", "narrow_kernels", "perfect_autoencoder", "two_level_thermometer",
           "unseen_mass"]


@exercise(
    "unseen-mass", kind="explore", difficulty=2, minutes=15,
    right="About e^S configurations matter, with the entropy S in nats: how does S grow with the "
          "number of spins?")
def unseen_mass(answer, when_cooled):
    for p, n in ((np.array([0.5, 0.3, 0.15, 0.05]), 7), (np.full(16, 1 / 16), 20),
                 (np.array([0.7, 0.3]), 1)):
        # the number of counts of a configuration among n is binomial
        expected = np.sum(p * binom.pmf(0, n, p))
        got = scalar(ask(answer, p=p, num_snapshots=n))
        compare(got, expected, what="the unseen fraction",
                tested=f"p = {show(p)}, {n} snapshots", mistakes={
            "This is the expected number of configurations that are missing, each counted once: "
            "weight them with the probability that they occur next.": np.sum(binom.pmf(0, n, p)),
            "This is the fraction of configurations that are missing: they are not equally "
            "probable.": np.mean(binom.pmf(0, n, p)),
            "This is the fraction that was seen.": 1 - expected,
            "One snapshot is missing from the exponent.": np.sum(p * (1 - p) ** (n - 1)),
            "The fresh snapshot is counted among those of the histogram.":
                np.sum(p * (1 - p) ** (n + 1)),
            "This is the probability that a configuration fills the histogram alone: it must be "
            "missing in each snapshot.": np.sum(p * p**n),
        })
    p, n = np.array([1 - 2e-14, 1e-14, 1e-14]), 10**12
    got = scalar(ask(answer, p=p, num_snapshots=n))
    # of the first nothing is left; (1 − p)^n = e^(−np) but for a relative n p² = 1e-16
    compare(got / 2e-14, np.exp(-1e-2), what="the unseen fraction, over 2e-14",
            tested="two of three configurations have p = 1e-14, 10¹² snapshots", mistakes={
        "1 − p is rounded: its logarithm can be had without.": np.exp(n * np.log(1 - 1e-14))})
    chosen(when_cooled, ("more", "less"), "when_cooled")
    need(when_cooled == "less", "your function is right; let it tell for the chain. Which of p = "
         "[0.25, 0.25, 0.25, 0.25] and [0.49, 0.49, 0.01, 0.01] is the colder one?")


@exercise(
    "chain-coupling", kind="build", difficulty=2, minutes=15,
    right="The mean energy alone determines the temperature here: it is a sufficient statistic. "
          "Which would be needed in a magnetic field?")
def chain_coupling(answer, from_the_ends):
    for N, n, coupling in ((40, 6, 0.5), (200, 3, -0.3), (15, 12, 0.9)):
        rng = np.random.default_rng(n)
        aligned = rng.random((N, n - 1)) < 1 / (1 + np.exp(-2 * coupling))
        steps = np.hstack([rng.choice([-1, 1], (N, 1)), np.where(aligned, 1, -1)])
        s = np.cumprod(steps, axis=1)
        agree, bonds = int(np.sum(s[:, 1:] == s[:, :-1])), N * (n - 1)
        # the odds of an aligned bond are e^(2βJ)
        expected = 0.5 * np.log(agree / (bonds - agree))
        error = 0.5 * np.sqrt(1 / agree + 1 / (bonds - agree))
        mean = 2 * agree / bonds - 1
        total = parts(ask(answer, s=s), "the estimate of βJ", "its standard error")
        tested = f"N = {N}, n = {n}"
        compare(scalar(total[0]), expected, what="the estimate of βJ", tested=tested, mistakes={
            "This is the mean of s_i s_{i+1}, which is tanh βJ.": mean,
            "This is tanh of the mean; its inverse is needed.": np.tanh(mean),
            "This is tan or its inverse: the hyperbolic one is needed.": np.arctan(mean),
            "This is 2βJ, the logarithm of the odds of aligned neighbours.": 2 * expected,
            "The sign is reversed.": -expected,
            "The first spin is taken for a neighbour of the last one; the chain is open.":
                np.arctanh(np.mean(s * np.roll(s, 1, axis=1))),
            "The sum of the products is divided by the number of spins; there are n − 1 bonds.":
                np.arctanh(mean * (n - 1) / n),
            "This uses the two ends: are all the bonds not better?":
                np.arctanh(np.clip(np.mean(s[:, 0] * s[:, -1]), -0.999999, 0.999999)),
        })
        compare(scalar(total[1]), error, what="the standard error", tested=tested, mistakes={
            "This is the standard error of the mean of s_i s_{i+1}: what does artanh make of it?":
                np.sqrt((1 - mean**2) / bonds),
            "All bonds are independent: divide by N (n − 1), not by N.": error * np.sqrt(n - 1),
            "There are n − 1 bonds in a chain of n spins.": error * np.sqrt((n - 1) / n),
            "This is a variance: the square root is missing.": error**2,
            "This is the error of one bond, not of the mean of all.": error * np.sqrt(bonds),
            "The error is multiplied by the derivative of tanh; the inverse has the inverse "
            "derivative.": error * (1 - mean**2) ** 2,
        })
    chosen(from_the_ends, ("smaller", "equal", "larger"), "from_the_ends")
    need(from_the_ends == "larger", "your function is right. For 24 spins, how much do the two "
         "ends still know of each other?")


@exercise(
    "two-level-thermometer", kind="explore", difficulty=3, minutes=20,
    right="That the precision of a thermometer is its heat capacity holds for every system in "
          "equilibrium whose energy is observed. Why does a magnet near its critical point make a "
          "good one?")
def two_level_thermometer(best, relative_errors):
    words = ("T to 0", "T to infinity", "largest heat capacity")
    chosen(best, words, "best")
    kt = np.array([0.1, 0.42, 3.0])

    def temperature(q):
        return 1 / np.log(1 / q - 1)

    q = 1 / (1 + np.exp(1 / kt))
    step = 1e-6 * q
    slope = (temperature(q + step) - temperature(q - step)) / (2 * step)  # relative error 1e-11
    of_q = np.sqrt(q * (1 - q) / 1000)
    expected = abs(slope) * of_q / kt
    compare(array(relative_errors, "the relative errors").astype(float), expected,
            what="the relative errors", relative=5e-3, mistakes={
        "These are the standard errors of the temperature itself, not divided by it.":
            expected * kt,
        "These are the standard errors of the fraction in the upper level.": of_q,
        "These are the relative errors of the fraction in the upper level.": of_q / q,
        "These are the standard errors of ε/kT, not relative to it.": expected / kt,
        "These are for one copy: the error falls like 1/√N.": expected * np.sqrt(1000),
        "These are variances: the square root is missing.": expected**2,
        "The upper level is taken to be occupied with probability e^(−ε/kT); normalise it.":
            np.sqrt(np.exp(1 / kt) - 1) / np.sqrt(1000) * kt,
        "N enters without a square root.": expected / np.sqrt(1000),
    })
    need(best == words[2], "your errors are right, but your prediction fails: where are they "
         "smallest, and what has a maximum there?")


@exercise(
    "perfect-autoencoder", kind="explore", difficulty=2, minutes=15,
    right="The fitted Gaussian has the right mean and covariance and is still wrong. What would a "
          "mixture of many Gaussians do?")
def perfect_autoencoder(reconstruction_error, near_circle, mend):
    words = ("longer training", "a better decoder", "draw codes from their own distribution")
    chosen(mend, words, "mend")
    error = number(reconstruction_error, "the reconstruction error")
    need(abs(error) < 1e-12, f"the reconstruction error came out as {error:.3g}: what does a copy "
         "of a point differ from the point?")
    n = 100_000
    expected = np.exp(-0.81) - np.exp(-1.21)  # r² is exponential with mean 1
    got = number(near_circle, "the fraction near the circle")
    # five standard errors of the draws; the fitted covariance adds less than a tenth of one
    allowed = 5 * np.sqrt(expected * (1 - expected) / n)
    unit = np.exp(-0.81 / 2) - np.exp(-1.21 / 2)

    def meant(value):
        """Return the answer if it is this value within five standard errors."""
        return got if abs(got - value) < 5 * np.sqrt(value * (1 - value) / n) else value

    compare(got, expected, what="the fraction near the circle", error=allowed, mistakes={
        "This is for codes from N(0, I): the codes have another covariance.": meant(unit),
        "All of the training points lie near the circle; count the generated ones.": 1.0,
        "The fraction is that of the points within 1.1; those within 0.9 count, too.":
            meant(1 - np.exp(-1.21)),
        "This is the fraction that is not near the circle.": meant(1 - expected),
        "The squared radius is compared with 0.9 and 1.1.": meant(np.exp(-0.9) - np.exp(-1.1)),
    })
    need(mend == words[2], "your numbers are right. With an error of zero, what is there that "
         "training or a decoder could make smaller?")


@exercise(
    "narrow-kernels", kind="build", difficulty=2, minutes=20,
    right="The same holds for every model with enough freedom: the likelihood of the training data "
          "is no measure of what was learned. How would the best width change with more points?")
def narrow_kernels(mistake, score):
    words = ("not normalised", "of the training points", "too coarse")
    chosen(mistake, words, "mistake")
    for n, m, width in ((5, 7, 0.6), (12, 4, 0.2), (3, 3, 1.5)):
        rng = np.random.default_rng(n)
        train, test = rng.normal(size=n), rng.normal(size=m)

        def density(points, train=train, width=width, n=n):
            model = GaussianMixture(np.full(n, 1 / n), train[:, None],
                                    np.full((n, 1, 1), width**2))
            return model.log_density(points[:, None])

        expected = density(test).mean()
        z2 = ((test[:, None] - train) / width) ** 2
        compare(scalar(ask(score, train=train, test=test, width=width)), expected,
                what="the score, nats", tested=f"n = {n}, m = {m}, width {width}", mistakes={
            "This is the score of the training points, the mistake itself.":
                density(train).mean(),
            "This is the sum over the test points; the mean is asked for.": m * expected,
            "The weight 1/n of each Gaussian is missing.": expected + np.log(n),
            "The width is missing from the normalisation.": expected + np.log(width),
            "The factor with 2π is missing.": expected + 0.5 * np.log(2 * np.pi),
            "The factor ½ in the exponent is missing.": np.mean(
                logsumexp(-z2, axis=1)) - np.log(n * width * np.sqrt(2 * np.pi)),
            "This takes the width for a variance.": GaussianMixture(
                np.full(n, 1 / n), train[:, None],
                np.full((n, 1, 1), width)).log_density(test[:, None]).mean(),
            "This is the logarithm of the mean density of the test points; the mean is taken of "
            "the logarithms.": np.log(np.exp(density(test)).mean()),
            "The logarithms of the Gaussians are averaged: the logarithm is taken of their mean.":
                -z2.mean() / 2 - np.log(width * np.sqrt(2 * np.pi)),
            "The sign is reversed.": -expected,
        })
    train, test, width = np.array([0.0, 1.0]), np.array([0.3, -0.5, 1.25]), 1e-3
    nearest = np.array([0.3, 0.5, 0.25])
    expected = np.mean(-nearest**2 / (2 * width**2)) - np.log(2 * width * np.sqrt(2 * np.pi))
    got = scalar(ask(score, train=train, test=test, width=width))
    need(np.all(np.isfinite(got)), f"with the width 0.001 it came out as {show(got)}: the "
         "densities underflow before the logarithm is taken.")
    compare(got, expected, what="the score, nats", tested="width 0.001")
    need(mistake == words[1], "your score is right, but your diagnosis is not. Which points does "
         "`program` give to its densities?")
