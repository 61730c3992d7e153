"""Tests of the answers in the chapter on how good a model is."""

import math

import numpy as np
from scipy.special import logsumexp
from scipy.stats import norm, sem

from genmodels import bounds
from genmodels.exact import gaussian
from genmodels.exercises.compare import ask, compare, need, number, parts, show
from genmodels.exercises.registry import exercise

__all__ = ["bits_of_any_range", "bound_error_bar", "held_out_variance", "log_normal_weights",
           "missed_mode"]


@exercise(
    "bound-error-bar", kind="build", difficulty=2, minutes=15, identities=("N2",),
    right="Compare two models on the same data points by the error bar of the differences: as "
          "both find the same points hard, it is usually much smaller than those of the two "
          "figures.")
def bound_error_bar(answer):
    rng = np.random.default_rng(0)
    names = "the mean of L_K", "its standard error"
    n, S, K = 5, 24, 4
    log_w = rng.normal(-40, 2, size=(n, S)) + rng.normal(0, 6, size=(n, 1))
    groups = logsumexp(log_w.reshape(n, S // K, K), axis=2) - np.log(K)  # (n, S/K)
    others = logsumexp(log_w.reshape(n, K, S // K), axis=1) - np.log(K)
    per_point = bounds.importance_weighted_bound(log_w, K)
    bound, error = parts(ask(answer, log_weights=log_w, K=K), *names)
    right = per_point.mean()
    tested = f"n = {n}, S = {S}, K = {K}"
    compare(bound, right, what="the mean of L_K, nats", tested=tested, mistakes={
        "The sum of K weights must be divided by K: −log K is missing.": right + np.log(K),
        "log S is subtracted, but every group has K weights.": right + np.log(K / S),
        "This is the ELBO: the logarithms are averaged. L_K averages K weights, and then takes "
        "the logarithm.": log_w.mean(),
        "This is L_S: all samples are in one group, and K does nothing.":
            bounds.importance_weighted_bound(log_w).mean(),
        "This is one group of every data point only: the other samples are thrown away.":
            groups[:, 0].mean(),
        "A group here consists of every (S/K)-th sample. That also estimates L_K, but the groups "
        "asked for are K consecutive samples: look at the order in `reshape`.": others.mean(),
        "The groups of a data point are summed; they are S/K estimates of one number.":
            groups.sum(axis=1).mean(),
        "This is the sum over the data points, not their mean.": per_point.sum(),
        "This is −L_K, a cost: the bound itself is asked for.": -right,
        "This is one number for each data point; return their mean.": per_point,
        "The weights of different data points are in one average. Every data point has its own "
        "L_K; only those are averaged.": logsumexp(log_w) - np.log(log_w.size),
        "The weights of different data points are in one group: this sums over the wrong axis.":
            (logsumexp(log_w, axis=0) - np.log(n)).mean(),
    })
    right_error = sem(per_point)
    compare(error, right_error, what="the standard error, nats", tested=tested, mistakes={
        "This is the standard deviation of the data points' figures, not the error of their mean.":
            right_error * math.sqrt(n),
        "This is the variance of the mean: the square root is missing.": right_error**2,
        "This divides the standard deviation by n; for a mean of n independent figures it is √n.":
            right_error / math.sqrt(n),
        "The variance is divided by n: with a mean from the same data that is too small "
        "on average (ddof).": per_point.std() / math.sqrt(n),
        "The n·S/K groups are counted as independent. Groups of one data point share that data "
        "point: there are only n independent figures.":
            groups.std(ddof=1) / math.sqrt(groups.size),
        "All n·S log weights are counted as independent figures.":
            log_w.std(ddof=1) / math.sqrt(log_w.size),
        "This is √n from the number of samples: the error bar is one over the n data points.":
            per_point.std(ddof=1) / math.sqrt(S),
        "This is the error bar of the ELBO, not of L_K.": sem(log_w.mean(axis=1)),
        "This is one number for each data point: the spread over the samples. The error bar comes "
        "from the spread over the data points.": groups.std(axis=1, ddof=1) / math.sqrt(S // K),
    })
    for n, S, K in ((3, 10, 10), (5, 8, 1), (4, 12, 6)):
        log_w = rng.normal(-20, 3, size=(n, S))
        per_point = bounds.importance_weighted_bound(log_w, K)
        bound, error = parts(ask(answer, log_weights=log_w, K=K), *names)
        tested = f"n = {n}, S = {S}, K = {K}"
        compare(bound, per_point.mean(), what="the mean of L_K, nats", tested=tested)
        compare(error, sem(per_point), what="the standard error", tested=tested)
    for shift in (-2000.0, 2000.0):
        bound, error = parts(ask(answer, log_weights=log_w + shift, K=K), *names)
        tested = f"log weights near {shift:.0f}"
        need(np.all(np.isfinite(bound)) and np.all(np.isfinite(error)),
             f"tested with {tested}: you return {show(bound)} ± {show(error)}. Such a weight is "
             "0 or infinite in floating point: its logarithm must not be undone before the "
             "largest one is taken out.")
        compare(bound, per_point.mean() + shift, what="the mean of L_K, nats", tested=tested)
        # float32 rounds a log weight of 2000 by 1e-4
        compare(error, sem(per_point), what="the standard error", tested=tested, error=1e-3)


@exercise(
    "log-normal-weights", kind="derive", difficulty=2, minutes=15, identities=("N2",),
    right="Look up the standard deviation of log w of the trained models in the chapter: to "
          "which K does this law send you?")
def log_normal_weights(answer):
    for tau, gap in ((np.array([0.5, 0.8, 1.2, 1.6]), 0.08), (np.array([2.1, 0.3]), 0.5)):
        log_normal_case(answer, tau, gap)


def log_normal_case(answer, tau, gap):
    z = np.linspace(-16, 20, 7201)  # log w = τ z; the trapezoidal rule
    density = norm.pdf(z) * (z[1] - z[0])
    log_w = tau[:, None] * z
    mean, square = np.exp(log_w) @ density, np.exp(2 * log_w) @ density
    elbo_gap, relative = np.log(mean) - log_w @ density, square / mean**2 - 1
    got = parts(ask(answer, tau=tau, gap=gap), "the gap of the ELBO", "the relative variance", "K")
    tested = f"tau = {tau.tolist()}, gap = {gap}"
    compare(got[0], elbo_gap, what="the gap of the ELBO, nats", tested=tested, mistakes={
        "A factor ½ is missing in log E[w].": tau**2,
        "This takes τ for the variance of log w; it is the standard deviation.": tau / 2,
        "This is L_1 − log p(x), which is not positive: the gap is the other difference.":
            -elbo_gap,
        "This is the ratio of p(x) to exp(L_1); the gap is its logarithm.": mean,
        "This is the relative variance; the gap of the ELBO is a difference of logarithms.":
            relative,
    })
    compare(got[1], relative, what="the relative variance", tested=tested, mistakes={
        "This is E[w²]/p(x)²: a variance has the square of the mean subtracted.": relative + 1,
        "A factor is missing in the exponent of E[w²]: with a = 2 the exponent has a²τ²/2.":
            np.exp(tau**2 / 2) - 1,
        "This is the variance of w itself at m = 0: it is not divided by p(x)² yet.":
            relative * mean**2,
        "p(x) is divided by once, but the variance is of second order.": relative * mean,
        "This is the relative standard deviation: its square is asked for.": np.sqrt(relative),
        "This takes τ for the variance of log w; it is the standard deviation.": np.exp(tau) - 1,
        "This is the variance of log w, not of w.": tau**2,
        "This is E[w²] − 1 at m = 0: E[w²] must be divided by p(x)² first.":
            np.exp(2 * tau**2) - 1,
    })
    compare(got[2], relative / (2 * gap), what="K", tested=tested, mistakes={
        "This is twice as large: the law has a factor ½.": relative / gap,
        "This is half as large as it should be.": relative / (4 * gap),
        "This scales the gap of the ELBO by 1/K. The law holds for large K, and its constant is "
        "not the gap at K = 1.": elbo_gap / gap,
        "This is the gap at K = gap: the law must be solved for K, then it is a quotient.":
            relative * gap / 2,
        "The gap enters as its square; it falls as 1/K, not as 1/√K.": relative / (2 * gap**2),
        "This is the reciprocal of K.": 2 * gap / relative,
        "This K is rounded; leave it as it is.": np.ceil(relative / (2 * gap)),
    })


@exercise(
    "bits-of-any-range", kind="derive", difficulty=1, minutes=10,
    right="Test a published figure: a uniform density needs log₂ M bits, whatever the interval, "
          "and a model of bytes with more than 8 has learned less than nothing.")
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
    "missed-mode", kind="explore", difficulty=2, minutes=20, identities=("N2",),
    right="Weights know only the region that Q visits; simulated data come from the whole prior. "
          "Replace Q by an even mixture of N(x, 0.11²) and N(−x, 0.11²), and look again.")
def missed_mode(deficit, coverage):
    deficit = number(deficit, "deficit, nats")
    h = np.linspace(-8, 8, 40_001)
    joint = norm.pdf(h) * norm.pdf(1.5, np.abs(h), 0.1)
    log_p, seen = (np.log(np.trapezoid(part, h)) for part in (joint, joint * (h > 0)))
    # what the mistakes give with the numbers of the setup cell
    eps_h, eps_x = np.random.default_rng(0).standard_normal((2, 100_000))
    drawn = 1.5 + 0.11 * eps_h
    no_prior = norm.logpdf(1.5, np.abs(drawn), 0.1) - norm.logpdf(drawn, 1.5, 0.11)
    log_w = no_prior + norm.logpdf(drawn)
    elbo, bound = log_w.mean(), logsumexp(log_w) - np.log(100_000)
    # rounding of float32, and of the integral
    compare(deficit, log_p - bound, what="deficit, nats", error=2e-5, named_within=1e-8, mistakes={
        "This is L_K − log p(x), which is negative: the deficit is the other difference.":
            bound - log_p,
        "The integral p(x) has the positive h only; it needs the negative h, too.": seen - bound,
        "This is L_K − L_1: the weights alone. Compare with log p(x).": bound - elbo,
        "This is the deficit of the ELBO: average the weights, then take the logarithm.":
            log_p - elbo,
        "This is in bits.": (log_p - bound) / np.log(2),
        "L_K is too large by log K: the sum of the weights is not divided by K.":
            log_p - bound - np.log(100_000),
        "This is log p(x) itself: L_K is not subtracted.": log_p,
        "The weights lack the prior p(h).": log_p - logsumexp(no_prior) + np.log(100_000),
        "This is L_K itself.": bound,
        "This is p(x) less the mean weight; the deficit is a difference of logarithms.":
            np.exp(log_p) - np.exp(bound),
    })
    coverage = number(coverage, "coverage")
    need(0 <= coverage <= 1, f"coverage is a share of the pairs, and came out as {coverage:.4g}.")
    x = np.abs(eps_h) + 0.1 * eps_x
    F = norm.cdf(eps_h, x, 0.11)
    held = np.abs(F - 0.5) < 0.4
    # an end that is rounded to 1.28 standard deviations; two pairs may lie on an end
    compare(coverage, held.mean(), what="coverage", named_within=2e-5, error=1e-3, mistakes={
        "This is the coverage of the positive h alone. The prior makes negative ones as often.":
            held[eps_h > 0].mean(),
        "The true h is taken to be |h| here; the prior makes negative ones as often.":
            np.mean(np.abs(norm.cdf(np.abs(eps_h), x, 0.11) - 0.5) < 0.4),
        "This is how often the interval misses h.": 1 - held.mean(),
        "This counts the positive h that are held; the negative ones near 0 count, too.":
            np.mean(held & (eps_h > 0)),
        "This interval is one-sided: 80 % of Q below its end.": np.mean(F < 0.8),
        "This interval is one-sided: 90 % of Q below its end.": np.mean(F < 0.9),
        "This is an interval with 90 % of Q: 5 % is outside on each side.":
            np.mean(np.abs(F - 0.5) < 0.45),
        "This is an interval with 60 % of Q: 20 % is outside on each side.":
            np.mean(np.abs(F - 0.5) < 0.3),
        "This is an interval with one standard deviation to each side.":
            np.mean(np.abs(eps_h - x) < 0.11),
        "The interval has the width of the decoder's noise, 0.1; Q has 0.11.":
            np.mean(np.abs(norm.cdf(eps_h, x, 0.1) - 0.5) < 0.4),
    })
