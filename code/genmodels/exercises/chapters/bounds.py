"""Tests of the answers in the chapter on bounds that come closer to the evidence."""

import numpy as np
from scipy.special import logsumexp
from scipy.stats import norm

from genmodels.exercises.compare import ask, compare, need, number, parts, to_numpy
from genmodels.exercises.registry import exercise

__all__ = ["largest_of_ten", "log_normal_weights", "missed_mode", "subtract_the_bias",
           "sudden_spring"]


@exercise(
    "largest-of-ten", kind="explore", difficulty=2, minutes=15, identities=("N2",),
    right="The same happens to whoever trains ten models and reports the best held-out figure: "
          "choose on one half of the digits, and report the other.")
def largest_of_ten(averages, publish):
    got = parts(to_numpy(averages, "averages"), "the mean", "the largest", "pooled")
    # the numbers of the setup cell; the weights are added up one after the other
    log_w = 1.5 * np.random.default_rng(1).standard_normal((2000, 10, 20)) - 1.5**2 / 2
    sums = sum(np.exp(log_w[..., s]) for s in range(20))  # (2000, 10)
    estimates, pooled = np.log(sums / 20), np.log(sum(sums.T) / 200)
    mean, largest = np.mean(estimates), np.mean(np.sort(estimates, axis=1)[:, -1])
    compare(got[0], mean, what="the average of the mean of ten estimates, nats", mistakes={
        "The logarithms of all weights are averaged: this is the ELBO, not L_20.": log_w.mean(),
        "−log 20 is missing: a group has a mean of 20 weights, not a sum.": mean + np.log(20),
        "This is the pooled estimate: all 200 weights are in one mean.": np.mean(pooled),
        "This is a logarithm of an average over the repetitions; average the logarithms.":
            np.log(np.mean(sums / 20)),
    })
    compare(got[1], largest, what="the average of the largest of ten estimates, nats", mistakes={
        "This is the largest of all repetitions; average the largest of each.": estimates.max(),
        "This is the smallest of the ten.": np.mean(estimates.min(axis=1)),
        "This is the largest logarithm of a single weight, not of a mean of 20.":
            np.mean(log_w.max(axis=(1, 2))),
        "−log 20 is missing here: a group has a mean of 20 weights, not a sum.":
            largest + np.log(20),
    })
    compare(got[2], np.mean(pooled), what="the average of the pooled estimate, nats", mistakes={
        "This is the mean of ten estimates again: pool the weights, not their logarithms.": mean,
        "log 20 is subtracted, but 200 weights are pooled.": np.mean(pooled) + np.log(10),
        "The logarithm is taken of all 2,000 repetitions together; each repetition has its own.":
            np.log(np.mean(sums / 20)),
    })
    need(isinstance(publish, str) and publish in ("mean", "largest", "pooled"),
         "`publish` must be 'mean', 'largest' or 'pooled'.")
    need(publish != "largest", "your report lies above log p(x) = 0 on average. It is chosen for "
         "being high, and a bound holds for what was not chosen.")
    need(publish != "mean", "that is a lower bound on average, but a better one of the three is "
         "one, too: compare your three numbers with 0.")


@exercise(
    "log-normal-weights", kind="derive", difficulty=2, minutes=15, identities=("N2",),
    right="Look up the standard deviation of log w of the trained models in the chapter: to "
          "which K does this law send you?")
def log_normal_weights(answer):
    for std, gap in ((np.array([0.5, 0.8, 1.2, 1.6]), 0.08), (np.array([2.1, 0.3]), 0.5)):
        log_normal_case(answer, std, gap)


def log_normal_case(answer, std, gap):
    z = np.linspace(-16, 20, 7201)  # log w = std z; the trapezoidal rule
    density = norm.pdf(z) * (z[1] - z[0])
    log_w = std[:, None] * z
    mean, square = np.exp(log_w) @ density, np.exp(2 * log_w) @ density
    elbo_gap, relative = np.log(mean) - log_w @ density, square / mean**2 - 1
    got = parts(ask(answer, std=std, gap=gap), "the gap of the ELBO", "the relative variance", "K")
    tested = f"std = {std.tolist()}, gap = {gap}"
    compare(got[0], elbo_gap, what="the gap of the ELBO, nats", tested=tested, mistakes={
        "A factor ½ is missing in log E[w].": std**2,
        "This takes b for the variance of log w; it is the standard deviation.": std / 2,
        "This is L_1 − log p(x), which is not positive: the gap is the other difference.":
            -elbo_gap,
        "This is the ratio of p(x) to exp(L_1); the gap is its logarithm.": mean,
        "This is the relative variance; the gap of the ELBO is a difference of logarithms.":
            relative,
    })
    compare(got[1], relative, what="the relative variance", tested=tested, mistakes={
        "This is E[w²]/p(x)²: a variance has the square of the mean subtracted.": relative + 1,
        "A factor is missing in the exponent of E[w²]: with c = 2 the exponent has c²b²/2.":
            np.exp(std**2 / 2) - 1,
        "This is the variance of w itself at a = 0: it is not divided by p(x)² yet.":
            relative * mean**2,
        "p(x) is divided by once, but the variance is of second order.": relative * mean,
        "This is the relative standard deviation: its square is asked for.": np.sqrt(relative),
        "This takes b for the variance of log w; it is the standard deviation.": np.exp(std) - 1,
        "This is the variance of log w, not of w.": std**2,
        "This is E[w²] − 1 at a = 0: E[w²] must be divided by p(x)² first.":
            np.exp(2 * std**2) - 1,
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
    "sudden-spring", kind="derive", difficulty=2, minutes=20, identities=("N2",),
    right="A real switch takes time: done slowly, the dissipated work goes to 0 in both "
          "directions. A chain of many small switches is what the chapters on diffusion use.")
def sudden_spring(switch, better):
    for ratio in (np.array([0.7, 1.0, 1.6, 4.0]), np.array([0.25, 0.5, 9.0])):
        spring_case(switch, ratio)
    need(isinstance(better, str) and better in ("stiffen", "soften"),
         "`better` must be 'stiffen' or 'soften'.")
    need(better == "stiffen", "your direction starts from the narrow density. Compare the relative "
         "variances for κ = 4 and κ = ¼; the mean dissipated work does not decide it.")


def spring_case(switch, ratio):
    # by quadrature over h with the old stiffness 1; 2κ − 1 > 0 decides whether E[w²] converges
    h = np.linspace(-40, 40, 160_001)
    density = norm.pdf(h) * (h[1] - h[0])
    work = 0.5 * (ratio[:, None] - 1) * h**2
    mean_work, z = work @ density, np.exp(-work) @ density
    dissipated = mean_work + np.log(z)
    finite = 2 * ratio > 1
    # the square of w converges slowly near ½: written with the exponents added
    square = np.exp(-2 * work - h**2 / 2).sum(axis=1) * (h[1] - h[0]) / np.sqrt(2 * np.pi)
    relative = np.where(finite, square / z**2 - 1, np.inf)
    got = parts(ask(switch, ratio=ratio), "the dissipated work", "the relative variance")
    tested = f"ratio = {ratio.tolist()}"
    compare(got[0], dissipated, what="the dissipated work, k_B T", tested=tested, error=1e-9,
            mistakes={
        "This is the mean work; the free energy F is not subtracted yet.": mean_work,
        "This is F, not what the work exceeds it by.": -np.log(z),
        "F enters with the other sign.": mean_work - np.log(z),
        "The dissipated work is E[W] − F, and not negative: this is its negative.": -dissipated,
        "A factor ½ is missing.": 2 * dissipated,
        "½ is missing in the free energy.": mean_work + 2 * np.log(z),
        "½ is missing in the mean work.": 2 * mean_work + np.log(z),
        "The mean is taken over the new density; the work is done on the old one.":
            (1 - 1 / ratio) / 2 + np.log(z),
    })
    need(np.shape(got[1]) == np.shape(relative),
         f"tested with {tested}: the relative variance has shape {np.shape(got[1])}, expected "
         f"{np.shape(relative)}.")
    is_finite = np.isfinite(np.asarray(got[1], dtype=float))
    need(not np.any(is_finite & ~finite), f"tested with {tested}: the relative variance is finite "
         "where it should not be. Does the integral of w² Q converge for every κ?")
    need(not np.any(~is_finite & finite), f"tested with {tested}: the relative variance is not "
         "finite at a ratio where it exists. Where does the integral of w² Q diverge?")
    need(np.all(got[1][~finite] == np.inf), f"tested with {tested}: give np.inf where the "
         "relative variance is infinite.")
    second, mean = (relative + 1) * z**2, z
    compare(got[1][finite], relative[finite], what="the relative variance, where it is finite",
            tested=tested, error=1e-9, mistakes={
        "This is E[w²]/E[w]²: 1 is not subtracted.": (relative + 1)[finite],
        "This is the variance of w; it is not divided by E[w]² yet.":
            (second - mean**2)[finite],
        "This is E[w²] − 1: E[w²] must be divided by E[w]² first.": (second - 1)[finite],
        "This is the relative standard deviation: its square is asked for.":
            np.sqrt(np.maximum(relative, 0))[finite],
        "This is the variance of the work W, not of w = exp(−W).": ((ratio - 1)**2 / 2)[finite],
        "It is divided by E[w] once, but the variance is of second order.":
            ((second - mean**2) / mean)[finite],
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


@exercise(
    "subtract-the-bias", kind="explore", difficulty=3, minutes=25, identities=("N2",),
    right="The trick is Richardson's extrapolation, and the jackknife. Where the value counts, and "
          "not the side, it is useful: for log-normal weights it stays below log p(x).")
def subtract_the_bias(two_valued, excess, verdict):
    for K, high, low, q in ((1, 1.3, 0.2, 0.3), (2, 1.3, 0.2, 0.3), (5, 0.9, 0.05, 0.6)):
        exact = every_group(K, high, low, q)
        p = (1 - q) * high + q * low
        got = ask(two_valued, K=K, high=high, low=low, q=q)
        compare(got, exact, what="L_K, nats",
                tested=f"K = {K}, high = {high}, low = {low}, q = {q}", mistakes={
            "This is log p(x): the logarithm is taken after the expectation.": np.log(p),
            "This is L_1: the logarithm is taken before the average over the K weights.":
                (1 - q) * np.log(high) + q * np.log(low),
            "q is the probability of the low weight, not of the high one.":
                every_group(K, high, low, 1 - q),
            "This has a sum of K weights in the logarithm: −log K is missing.":
                exact + np.log(K),
            "This is −L_K.": -exact,
            "The orders in which the low weights can come are not counted: the binomial "
            "coefficient is missing.": sum(
                q**j * (1 - q)**(K - j) * np.log(((K - j) * high + j * low) / K)
                for j in range(K + 1)),
        })
    excess = number(excess, "excess, nats")
    first, second = (every_group(K, 1.1, 0.1, 0.1) for K in (1, 2))
    fourth = every_group(4, 1.1, 0.1, 0.1)
    compare(excess, 2 * second - first, what="excess, nats", mistakes={
        "This is L_2 − L_1: the first term has the factor 2.": second - first,
        "The sign of the difference is the other one.": first - 2 * second,
        "This is 2 L_4 − L_2; K is 1 here.": 2 * fourth - second,
        "This is 2 L_1 − L_2.": 2 * first - second,
        "This is L_2 itself.": second,
        "The factor 2 multiplies the whole difference; it belongs to L_2 alone.":
            2 * (second - first),
    })
    choices = ("never above log p", "sometimes above log p")
    need(isinstance(verdict, str) and verdict in choices,
         f"`verdict` must be {choices[0]!r} or {choices[1]!r}.")
    need(verdict == choices[1], "your verdict contradicts your `excess`: look at its sign.")


def every_group(K, high, low, q):
    """Return L_K by going through all 2^K groups of K weights."""
    total = 0.0
    for group in range(2**K):
        lows = group.bit_count()
        mean = ((K - lows) * high + lows * low) / K
        total += q**lows * (1 - q) ** (K - lows) * np.log(mean)
    return total
