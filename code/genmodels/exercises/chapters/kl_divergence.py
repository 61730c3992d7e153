"""Tests of the answers in the chapter on the Kullback-Leibler divergence."""

import numpy as np
from scipy import integrate, optimize, special

from genmodels.exact import gaussian
from genmodels.exercises.compare import (
    NotYet,
    agree,
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

__all__ = ["kl_coupled_oscillators", "kl_heavy_tails", "kl_nonnegative_terms", "kl_suspect",
           "kl_wrong_temperature"]


@exercise(
    "kl-wrong-temperature", kind="build", difficulty=2, minutes=15, identities=("K1",),
    right="Let β_code differ from β by a little: the extra cost is of second order in the "
          "difference. Which response of the system is its coefficient?")
def kl_wrong_temperature(answer, dearer):
    rng = np.random.default_rng(1)
    for m, beta, beta_code in ((2, 1.0, 2.0), (5, 0.7, 0.3), (9, 2.0, 2.5), (3, 1.5, 0.0)):
        energies = np.sort(rng.normal(scale=2, size=m))
        q, p = (special.softmax(-b * energies) for b in (beta, beta_code))
        nats = np.sum(special.rel_entr(q, p))
        bits, log_z = nats / np.log(2), [special.logsumexp(-b * energies)
                                         for b in (beta, beta_code)]
        got = scalar(ask(answer, energies=energies, beta=beta, beta_code=beta_code))
        compare(got, bits, what="the extra length, bits",
                tested=f"{m} levels, β = {beta}, β_code = {beta_code}", mistakes={
            "This is in nats; bits are asked for.": nats,
            "This is in nats times log 2: a nat is more than a bit.": nats * np.log(2),
            "The two are exchanged: the outcomes come from the system at β.":
                np.sum(special.rel_entr(p, q)) / np.log(2),
            "The sign is reversed.": -bits,
            "This is the mean length of the wrong code: subtract that of the right one.":
                np.sum(special.entr(q)) / np.log(2) + bits,
            "The partition functions are missing.":
                (beta_code - beta) * (q @ energies) / np.log(2),
            "The partition functions have the wrong sign.":
                bits - 2 * (log_z[1] - log_z[0]) / np.log(2),
            "The mean energy is that of the code's temperature; the system has another one.":
                ((beta_code - beta) * (p @ energies) + log_z[1] - log_z[0]) / np.log(2),
        })
    for energies in (np.array([1e4, 1e4 + 1.0, 1e4 + 3.0]), np.array([0.0, 2.0, 1e4])):
        got = scalar(ask(answer, energies=energies, beta=1.0, beta_code=1.5))
        finite = energies[energies < energies.min() + 100] - energies.min()
        q, p = (special.softmax(-b * finite) for b in (1.0, 1.5))
        tested = f"energies {show(energies)}, β = 1, β_code = 1.5"
        need(np.all(np.isfinite(got)), f"tested with {tested}: it came out as {show(got)}. "
             "Exponentials of large numbers underflow; only differences of energies matter.")
        # sums of terms of size 1e4 lose four digits
        compare(got, np.sum(special.rel_entr(q, p)) / np.log(2), what="the extra length, bits",
                tested=tested, error=1e-8)
    chosen(dearer, ("hot", "cold"), "dearer")
    need(dearer == "hot", "your function is right, but your prediction fails. Let the function "
         "tell: energies [0, 5], β of 1 and 2.")


@exercise(
    "kl-suspect", kind="explore", difficulty=2, minutes=15, identities=("K3",),
    right="A value that cannot occur is the best test of a program. Which of the four mistakes of "
          "the chapter can give a negative number, and which cannot?")
def kl_suspect(wrong_term, best_std, smallest):
    chosen(wrong_term, ("trace", "mean", "logarithm"), "wrong_term")
    best = number(best_std, "`best_std`")
    found = optimize.minimize_scalar(lambda v: (v**2 - 1 - np.log(v)) / 2, bounds=(0.1, 3),
                                     method="bounded", options={"xatol": 1e-10})
    # a grid of steps 0.01 will do
    compare(best, found.x, what="`best_std`", error=0.011, mistakes={
        "This is the variance there.": 0.5, "This is its logarithm.": np.log(found.x),
        "There a right program is smallest: is this one?": 1.0})
    compare(number(smallest, "`smallest`"), found.fun, what="`smallest`, nats", error=2e-4,
            mistakes={
        "This is twice the value for one dimension: is a factor ½ missing?": 2 * found.fun,
        "The sign is reversed.": -found.fun,
        "This is the right divergence there, not what the program gives.":
            float(gaussian.kl_to_standard_normal([0.0], [np.log(0.5)])),
        "This is in bits.": found.fun / np.log(2)})
    need(wrong_term == "logarithm", "your numbers are right. Write (K3) with σ in place of σ², and "
         "compare term by term.")


@exercise(
    "kl-nonnegative-terms", kind="derive", difficulty=2, minutes=20, identities=("K1",),
    right="r − 1 is a control variate: its mean is known, so it may be added to reduce the error. "
          "Which factor a has the smallest variance, and what does one have to know to use it?")
def kl_nonnegative_terms(answer):
    log_r = np.array([-4.0, -1.3, -0.05, 0.04, 0.6, 1.1, 2.1])  # on both sides of r = 1
    log_q = np.array([-2.0, -1.2, -3.1, -1.9, -2.6, -0.7, -4.4])
    # ∫_1^r (1 − 1/t) dt = r − 1 − log r
    expected = np.array([integrate.quad(lambda v: 1 - 1 / v, 1, np.exp(v))[0] for v in log_r])
    r = np.exp(log_r)
    got = ask(answer, log_q=log_q, log_p=log_q + log_r)
    tested = "log p − log Q from −4 to 2.1"
    compare_terms(got, expected, log_r)
    compare(got, expected, what="the terms, nats", tested=tested, mistakes={
        "They are non-negative, but Q/p stands where p/Q belongs: the mean under Q is not D[Q‖p].":
            np.exp(-log_r) - 1 + log_r,
        "They are non-negative, but their mean under Q is D[p‖Q]: the two are exchanged.":
            r * log_r - r + 1,
        "They are non-negative, but their mean under Q is not D[Q‖p]: what does an absolute value "
        "do to it?": np.abs(log_r),
        "They are non-negative, but their mean under Q is D[Q‖p] only in the limit of equal "
        "densities.": log_r**2 / 2,
        "The logarithm has the wrong sign.": r - 1 + log_r,
        "The −1 is missing: for r = 1 the term is not 0.": r - log_r,
        "This is the mean over the samples: return one term for each of them.": expected.mean(),
        "This is the sum over the samples: return one term for each of them.": expected.sum(),
        "These are in bits; use the natural logarithm.": r - 1 - log_r / np.log(2),
    })
    wide = np.array([-600.0, -45.0, -12.0, 0.0])  # r from e^−600: nothing may be clipped
    compare(ask(answer, log_q=log_q[:4], log_p=log_q[:4] + wide), np.expm1(wide) - wide,
            what="the terms, nats", tested="log p − log Q from −600 to 0")
    wide = np.array([9.0, 12.0])
    compare(ask(answer, log_q=log_q[:2], log_p=log_q[:2] + wide), np.expm1(wide) - wide,
            what="the terms, nats", tested="log p − log Q of 9 and 12")
    far = ask(answer, log_q=log_q - 2000, log_p=log_q + log_r - 2000)
    need(np.all(np.isfinite(far)),
         f"with both log densities near −2000 nats the terms came out as {show(far)}: the "
         "densities themselves underflow to 0. Do you need more than their ratio?")
    # 2000 in float32 has been rounded by 6e-5, which r = 8 enlarges
    compare(far, expected, what="the terms, nats", tested="both log densities near −2000 nats",
            error=0.01)


def compare_terms(got, expected, log_r):
    """Name another factor a: with it the terms are −log r + a (r − 1), to rounding."""
    got = array(got, "the terms, nats")
    if got.shape != np.shape(expected) or not np.all(np.isfinite(got)):
        return
    factor = (got[-1] + log_r[-1]) / np.expm1(log_r[-1])  # r is largest there
    if agree(got, factor * np.expm1(log_r) - log_r) and abs(factor - 1) > 1e-2:
        factor = round(float(factor), 3) + 0.0  # no −0
        raise NotYet(f"these are the terms with a = {factor:g}. Their mean is right, but "
                     f"one of them is {got.min():.3g}, and none may be negative.")


@exercise(
    "kl-coupled-oscillators", kind="derive", difficulty=3, minutes=20, identities=("K2",),
    right="Mean field has the right means and too small fluctuations. What do the two variances "
          "tend to for two oscillators whose coupling becomes infinitely strong?")
def kl_coupled_oscillators(answer, narrower):
    rng = np.random.default_rng(2)
    for k in (4, 2, 3):
        factor = rng.normal(size=(k, k)) / np.sqrt(k)
        cov = factor @ factor.T + 0.3 * np.eye(k)
        zero, inverse = np.zeros(k), np.linalg.inv(cov)

        def of(log_v, cov=cov, zero=zero, swapped=False):
            pair = (zero, np.diag(np.exp(log_v))), (zero, cov)
            return gaussian.kl_divergence(*pair[swapped], *pair[not swapped])

        fits = [optimize.minimize(lambda v, swapped=swapped: of(v, swapped=swapped), zero,
                                  method="BFGS", options={"gtol": 1e-9})
                for swapped in (False, True)]
        names = ("the variances for D[Q‖p]", "the variances for D[p‖Q]", "the smallest D[Q‖p]")
        got = [array(part, name) for part, name in zip(
            parts(ask(answer, cov=cov), *names), names)]
        tested = f"k = {k}"
        mean_field, matched = (np.exp(fit.x) for fit in fits)
        # 1e-5: where a numerical minimiser stops
        compare(got[0], mean_field, what=names[0], tested=tested, relative=1e-5, mistakes={
            "These are for D[p‖Q]: the two are exchanged.": np.diag(cov),
            "This is the diagonal of the inverse; its inverse is needed.": np.diag(inverse),
            "These are the inverses of the diagonal of the covariance.": 1 / np.diag(cov),
            "These are standard deviations.": np.sqrt(1 / np.diag(inverse)),
            "These are the eigenvalues: Q is diagonal in the given coordinates.":
                np.linalg.eigvalsh(cov)})
        compare(got[1], matched, what=names[1], tested=tested, relative=1e-5, mistakes={
            "These are for D[Q‖p]: the two are exchanged.": 1 / np.diag(inverse),
            "These are standard deviations.": np.sqrt(np.diag(cov))})
        value = fits[0].fun
        compare(scalar(got[2]), value, what="the smallest D[Q‖p], nats", tested=tested,
                relative=1e-7, mistakes={
            "The factor ½ is missing.": 2 * value, "The sign is reversed.": -value,
            "This is D[p‖Q] for the same Q: the two are exchanged.": of(fits[0].x, swapped=True),
            "This is the divergence for the other variances.": of(np.log(np.diag(cov))),
            "This is in bits; use the natural logarithm.": value / np.log(2)})
    words = ("D[Q||p]", "D[p||Q]", "neither")
    chosen(narrower, words, "narrower")
    need(narrower == words[0], "your function is right, but your prediction fails. Compare the two "
         "arrays of variances that it returns.")


@exercise(
    "kl-heavy-tails", kind="explore", difficulty=2, minutes=15, identities=("K1",),
    right="A Monte Carlo estimate never says that its mean is infinite. Try 3 degrees of freedom: "
          "both are finite then, but how large is the variance of the log ratio?")
def kl_heavy_tails(infinite, estimate, standard_error):
    names = ("D[t||normal]", "D[normal||t]")
    need(isinstance(infinite, str) and infinite in names,
         f"`infinite` must be {names[0]!r} or {names[1]!r}.")
    need(infinite == names[0],
         "your prediction fails. How does each log ratio grow far out, and how "
         "fast does the density fall under which its mean is taken?")
    estimate = number(estimate, "the estimate")
    standard_error = number(standard_error, "the standard error")
    n = 100_000
    h = np.linspace(-12, 12, 4001)
    log_first = log_normal(h, 0, 1)
    log_second = -1.5 * np.log1p(h**2 / 2) - np.log(2 * np.sqrt(2))
    weights = np.exp(log_first) * (h[1] - h[0])
    mean, std, kurtosis = moments(weights, log_first - log_second)
    # No cause is named by numbers that are random, with draws that are not known here.
    need(estimate > -5 * std / np.sqrt(n), f"the estimate came out as {estimate:.3g} nats, and a "
         "divergence is not negative. Under which density is the mean, and which one stands in "
         "the numerator of the ratio?")
    compare(estimate, mean, what="the estimate, nats", tested=f"n = {n:,}",
            error=5 * std / np.sqrt(n))
    # five standard errors of the root of a variance, as for kl-monte-carlo
    compare(standard_error, std / np.sqrt(n), what="the standard error, nats",
            tested=f"n = {n:,}", relative=2.5 * np.sqrt((kurtosis - 1) / n))


# What several tests use -------------------------------------------------------------------------


def moments(weights, values):
    mean = weights @ values
    variance = weights @ (values - mean) ** 2
    return mean, np.sqrt(variance), weights @ (values - mean) ** 4 / variance**2


def log_normal(h, mean, std):
    return gaussian.log_density(h[:, None], [mean], [[std**2]])
