"""Tests of the answers in the chapter on comparing figures."""

import math

import numpy as np
from scipy.special import ndtr
from scipy.stats import norm

from genmodels.exact import gaussian
from genmodels.exercises.compare import ask, compare, need, number, parts, to_numpy
from genmodels.exercises.registry import exercise

__all__ = ["bits_of_any_range", "digitised_noise", "held_out_variance", "paired_digits",
           "read_the_histograms"]


@exercise(
    "bits-of-any-range", kind="derive", difficulty=1, minutes=10,
    right="Test a published figure: a uniform density needs log₂ M bits, whatever the interval, "
          "and for bytes a bound above 8 says less than no model at all.")
def bits_of_any_range(answer):
    rng = np.random.default_rng(0)
    for d, levels, width in ((12, 32, 2.5), (7, 256, 2)):
        log_p = rng.normal(-10, 8, size=5)
        # the integers' log-probability, from the volume of a cell, one dimension after the other
        log_P = log_p.copy()
        for _ in range(d):
            log_P += np.log(width) - np.log(levels)
        expected, bits = -log_P / np.log(2) / d, -log_p / np.log(2) / d
        shift = np.log2(levels / width)
        got = ask(answer, log_density=log_p, d=d, levels=levels, width=width)
        compare(got, expected, what="the bits per dimension",
                tested=f"d = {d}, levels = {levels}, width = {width}", mistakes={
                    "This is of the density: the volume of a cell is missing.": bits,
                    "This has the cells of an interval of length 1: B does not enter.":
                        bits + np.log2(levels),
                    "The volume of a cell enters with the other sign.": bits - shift,
                    "B enters the wrong way: a longer interval has larger cells.":
                        bits + np.log2(levels * width),
                    "This is in nats.": expected * np.log(2),
                    "One term is in nats, the other in bits: log p is not divided by log 2.":
                        bits * np.log(2) + shift,
                    "One term is in bits, the other in nats: the volume is not.":
                        bits + shift * np.log(2),
                    "Nats are multiplied by log 2; a bit is log 2 nats, so divide.":
                        bits * np.log(2)**2 + shift,
                    "The cell has a side of B/M in every dimension; here one of d is counted.":
                        bits + shift / d,
                    "This is the number of bits of an image: divide by the d pixels.":
                        expected * d,
                    "log p is not divided by the d pixels.": bits * d + shift,
                    "This is −bits: it is the code length that is positive.": -expected,
                    "log p enters with the wrong sign: a larger density needs fewer bits.":
                        -bits + shift,
                    "The steps are 1/M long, not 1/(M − 1): there are M cells.":
                        bits + np.log2((levels - 1) / width),
                    "This is the mean over the images: return one number for each.":
                        expected.mean(),
                })


@exercise(
    "held-out-variance", kind="derive", difficulty=2, minutes=15, identities=("N1",),
    right="The same holds for every parameter of a model: what is fitted to held-out data, even "
          "one number, makes their figure too good.")
def held_out_variance(answer):
    rng = np.random.default_rng(0)
    for d, train, test in ((11, rng.gamma(3.0, 0.5, size=7), rng.gamma(3.0, 0.7, size=5)),
                           (784, rng.gamma(9.0, 4.0, size=3), rng.gamma(9.0, 3.0, size=6))):
        held_out_case(answer, d, train, test)


def held_out_case(answer, d, train, test):
    both = np.concatenate([train, test])
    got = parts(ask(answer, train_squares=train, test_squares=test, d=d),
                "the variance", "the cost")
    var, t = float(np.mean(train)) / d, float(np.mean(test))
    tested = f"{len(train)} training images, {len(test)} held-out ones, d = {d}"
    compare(got[0], var, what="the variance σ²", tested=tested, mistakes={
        "This is the mean squared error of an image; σ² is that of one pixel.": var * d,
        "This is σ; return σ².": math.sqrt(var),
        "This is fitted to the held-out images.": t / d,
        "The held-out images are in the fit, too.": both.mean() / d,
        "This is the sum over the images, not the mean.": train.sum() / d,
        "This divides by n − 1; the decoder's mean is not fitted to these images' mean, and the "
        "minimum is at a plain mean.": train.sum() / ((len(train) - 1) * d),
        "This is half of it: look again at where the derivative vanishes.": var / 2,
        "This is the precision 1/σ².": 1 / var,
    })
    # an image with the squared error s, from the package's density
    errors = np.zeros((len(test), d))
    errors[:, 2] = np.sqrt(test)
    costs = -gaussian.log_density(errors, np.zeros(d), var * np.eye(d))
    cost, log_term = costs.mean(), d / 2 * math.log(2 * math.pi * var)
    compare(got[1], cost, what="the cost, nats per image", tested=tested, mistakes={
        "This short form of the minimum holds for the training images only: the held-out squared "
        "errors do not enter.": log_term + d / 2,
        "This variance is fitted to the held-out images.":
            d / 2 * (math.log(2 * math.pi * t / d) + 1),
        "The constant with log 2π is missing.": cost - d / 2 * math.log(2 * math.pi),
        "This is twice as large: ½ is missing.": 2 * cost,
        "½ is missing in the term with the logarithm.": cost + log_term,
        "½ is missing in the term with the squared error.": cost + t / (2 * var),
        "This is log p(x|h); the cost is −log p(x|h).": -cost,
        "The logarithm has the wrong sign: a wide density is a low one.": cost - 2 * log_term,
        "This is the sum over the held-out images, not their mean.": costs.sum(),
        "This is one number for each held-out image; return their mean.": costs,
        "This is the cost of a pixel: return that of an image.": cost / d,
        "The logarithm is counted once; every one of the d pixels has it.":
            cost - log_term + log_term / d,
        "There is σ in the logarithm where σ² belongs.": cost - d / 4 * math.log(var),
        "There is σ in the denominator where σ² belongs.":
            log_term + t / (2 * math.sqrt(var)),
        "This is the cost at σ = 1.": d / 2 * math.log(2 * math.pi) + t / 2,
    })


@exercise(
    "paired-digits", kind="explore", difficulty=2, minutes=15,
    right="Keep the figure of every digit, not only the mean: without them nobody can form "
          "the differences later.")
def paired_digits(difference, error, unpaired_digits, statement):
    # the numbers of the setup cell
    rng = np.random.default_rng(0)
    hardness = rng.normal(88, 20, size=400)
    a, b = hardness + rng.normal([[0.0], [0.5]], 1.5, size=(2, 400))
    n = 400
    d_ab = b - a
    var = sum((d_ab - d_ab.sum() / n) ** 2) / (n - 1)
    var_a, var_b = (sum((c - c.sum() / n) ** 2) / (n - 1) for c in (a, b))
    compare(number(difference, "difference, nats"), d_ab.sum() / n, what="difference, nats",
            mistakes={
        "This is A minus B; the mean of cost_b − cost_a is asked for.": -d_ab.sum() / n,
        "This is the sum over the digits, not the mean.": d_ab.sum(),
    })
    compare(number(error, "error, nats"), math.sqrt(var / n), what="error, nats", mistakes={
        "This is the error of unpaired figures: both models have the same digits, so take the "
        "spread of the differences.": math.sqrt((var_a + var_b) / n),
        "This is the standard deviation of the differences, not the error of their mean.":
            math.sqrt(var),
        "This is the variance of the mean: the square root is missing.": var / n,
        "The variance is divided by n: with a mean from the same data that is too small on "
        "average (ddof).": math.sqrt(var / n * (n - 1) / n),
        "The two separate errors are added.": math.sqrt(var_a / n) + math.sqrt(var_b / n),
        "This is the error of one model's figure.": math.sqrt(var_a / n),
    })
    compare(number(unpaired_digits, "unpaired_digits"), (var_a + var_b) / (var / n),
            what="unpaired_digits", mistakes={
        "This has the variance of one model only; those of two independent means add.":
            var_a / (var / n),
        "This is a ratio of variances: it must be multiplied by the 400 digits of today.":
            (var_a + var_b) / var,
        "The standard deviations are added; of independent figures the variances add.":
            (math.sqrt(var_a) + math.sqrt(var_b)) ** 2 / (var / n),
        "A ratio of errors enters as its square: an error falls as 1/√n.":
            math.sqrt((var_a + var_b) / var) * n,
        "Half of this sum would be the spread of one model: the sum itself is needed.":
            (var_a + var_b) / 2 / (var / n),
    }, relative=1e-6)
    choices = ("model", "method", "nothing")
    need(isinstance(statement, str) and statement in choices,
         f"`statement` must be one of {choices}.")
    need(statement != "nothing", "your statement: how many of your standard errors is the "
         "difference away from 0?")
    need(statement != "method", "your statement is about training runs: how many of A's method "
         "were made here? The error bar speaks about digits.")


@exercise(
    "read-the-histograms", kind="explore", difficulty=1, minutes=15,
    right="Draw these histograms for the three trained models, a panel for each latent "
          "dimension: is any of them shifted?")
def read_the_histograms(diagnosis, coverage, flat_means):
    # the numbers of the setup cell
    rng = np.random.default_rng(0)
    rng.normal(88, 20, size=400)
    rng.normal([[0.0], [0.5]], 1.5, size=(2, 400))
    z = np.array([0.6, 1.0, 1.7, 1.0])[:, None] * rng.standard_normal((4, 5000))
    z += np.array([0.0, 0.9, 0.0, 0.0])[:, None]
    words = ("flat", "narrow", "wide", "shifted")
    need(isinstance(diagnosis, list | tuple) and len(diagnosis) == 4
         and all(isinstance(word, str) and word in words for word in diagnosis),
         f"`diagnosis` must be four words, each one of {words}.")
    inside = np.sort(np.abs(z), axis=1)

    def within(end):
        return np.array([np.searchsorted(row, end) for row in inside]) / 5000

    got = to_numpy(coverage, "coverage")
    # a pair may lie on an end that is rounded
    compare(got, within(norm.ppf(0.95)), what="coverage", error=5e-4, named_within=5e-4, mistakes={
        "This is how often the interval misses h.": 1 - within(norm.ppf(0.95)),
        "This is an interval with 80 % of Q: 10 % is outside on each side.":
            within(norm.ppf(0.9)),
        "This is an interval with 95 % of Q: 2.5 % is outside on each side.":
            within(norm.ppf(0.975)),
        "This interval is one-sided: 90 % of Q below its end.":
            np.mean(z < norm.ppf(0.9), axis=1),
        "This interval is one-sided: 95 % of Q below its end.":
            np.mean(z < norm.ppf(0.95), axis=1),
        "The interval has one standard deviation to each side.": within(1.0),
        "This is one number: return that of each encoder.": within(norm.ppf(0.95)).mean(),
    })
    expected = ("wide", "shifted", "narrow", "flat")
    for i, (word, right) in enumerate(zip(diagnosis, expected)):
        swapped = {word, right} == {"wide", "narrow"}
        need(word == right, f"histogram {i + 1} is not {word!r}. " + (
            "Is h more often in the middle of Q, or more often far out? A narrow Q has the true h "
            "far out." if swapped else "Compare it with the drawing of the four shapes."))
    choices = ("the posterior", "not decided")
    need(isinstance(flat_means, str) and flat_means in choices,
         f"`flat_means` must be {choices[0]!r} or {choices[1]!r}.")
    need(flat_means == choices[1], "your `flat_means`: which encoder, that does not even look at "
         "x, has a flat histogram too?")


@exercise(
    "digitised-noise", kind="explore", difficulty=3, minutes=25,
    right="The digits of MNIST have a black border without noise: there the cells are wide against "
          "the noise, and a density with a narrow σ for such a pixel, without dequantisation, "
          "claims less than 0 bits.")
def digitised_noise(bits, smallest, more, describes):
    for ratio in (np.array([0.1, 0.3, 0.5, 1.0]), np.array([2.5, 12.0, 50.0])):
        exact = entropy_of_integers(ratio)
        estimate = 0.5 * np.log2(2 * np.pi * np.e * ratio**2)
        wide = entropy_of_integers(ratio, 0.0)
        got = ask(bits, ratio=ratio)
        compare(got, exact, what="the entropy, bits", tested=f"ratio = {ratio.tolist()}",
                error=1e-8, mistakes={
            "This is the estimate by the density; the exact entropy of the integers is asked for.":
                estimate,
            "This is in nats.": exact * math.log(2),
            "This is −entropy.": -exact,
            "The ratio enters the wrong way: the cell has the width Δ/σ in units of σ.":
                entropy_of_integers(1 / ratio),
            "The cell around vΔ reaches from v − ½ to v + ½ steps; this one begins at v.": wide,
        })
    grid = np.linspace(0.1, 10, 991)
    deviation = np.abs(0.5 * np.log2(2 * np.pi * np.e * grid**2) - entropy_of_integers(grid))
    found = {limit: grid[np.flatnonzero(deviation > limit)[-1] + 1] for limit in (0.1, 0.01, 0.001)}
    crossing = grid[np.flatnonzero(deviation <= 0.01)[0]]
    compare(number(smallest, "smallest"), found[0.01], what="smallest", error=1e-9, mistakes={
        **({} if crossing == found[0.01] else {
            "There the estimate is right by chance, as it passes the exact curve; it is wrong "
            "again for larger ratios.": crossing}),
        "This is where the estimate is right to 0.1 bit.": found[0.1],
        "This is where the estimate is right to 0.001 bit.": found[0.001],
        "This is the last ratio at which it is not right; the next one is asked for.":
            grid[np.flatnonzero(deviation > 0.01)[-1]],
    })
    compare(number(more, "more, bits"), 1.0, what="more, bits", error=1e-3, mistakes={
        "Half the step doubles the number of cells. What does that add to a logarithm of base 2?":
            2.0,
        "This is in nats.": math.log(2),
        "A finer converter makes longer records, not shorter ones.": -1.0,
        "For small steps the density is the same, but the cells are not.": 0.0,
    })
    need(isinstance(describes, str) and describes in ("signal", "noise"),
         "`describes` must be 'signal' or 'noise'.")
    need(describes == "noise", "your `describes`: the voltage has nothing but noise in it here.")


def entropy_of_integers(ratio, offset=-0.5):
    """Return the entropy in bits of the cells from v + offset on, of a step Δ = 1: (n,)."""
    result = []
    for sigma in ratio:
        reach = math.ceil(12 * sigma) + 2
        v = np.arange(-reach, reach + 1)
        P = ndtr((v + offset + 1) / sigma) - ndtr((v + offset) / sigma)
        P = P[P > 0]
        result.append(-np.sum(P * np.log2(P)))
    return np.array(result)
