"""Tests of the answers in the chapter on the Kullback-Leibler divergence."""

import numpy as np
from scipy import integrate

from genmodels.exact import gaussian
from genmodels.exercises.compare import (
    NotYet,
    agree,
    array,
    ask,
    ask_drawing,
    compare,
    need,
    number,
    parts,
    scalar,
    show,
)
from genmodels.exercises.registry import exercise

__all__ = ["kl_diagonal", "kl_full_covariance", "kl_heavy_tails", "kl_monte_carlo",
           "kl_nonnegative_terms"]


@exercise(
    "kl-diagonal", kind="build", difficulty=1, minutes=10, identities=("K3",),
    right="This is the second term of every VAE's loss. At mean = 0, log_var = 0 most of the "
          "usual mistakes give 0, too: a test at that point alone says little.")
def kl_diagonal(answer):
    rng = np.random.default_rng(0)
    for n, k in ((5, 3), (1, 6), (4, 1)):
        mean, log_var = rng.normal(size=(n, k)), rng.normal(-1, 1.2, size=(n, k))
        compare_diagonal(ask(answer, mean=mean, log_var=log_var), mean, log_var)
    for extreme in (-45.0, 25.0):  # apart: a sum of both would show the large one alone
        mean, log_var = rng.normal(size=(2, 3)), np.full((2, 3), extreme)
        compare(ask(answer, mean=mean, log_var=log_var),
                gaussian.kl_to_standard_normal(mean, log_var),
                what="the divergence, nats", tested=f"log_var = {extreme:g} everywhere")
    at_prior = ask(answer, mean=np.zeros((2, 3)), log_var=np.zeros((2, 3)))
    need(np.all(np.abs(at_prior) < 1e-6),  # ones cancel, perhaps in float32
         f"of the prior from itself it must be 0, and came out as {show(at_prior)}.")


def compare_diagonal(got, mean, log_var):
    """Compare the divergences of the rows with (K2), whose densities have full covariances."""
    n, k = mean.shape

    def of_rows(log_var, swapped=False):
        pairs = [((m, np.diag(np.exp(v))), (np.zeros(k), np.eye(k)))
                 for m, v in zip(mean, log_var)]
        return np.array([gaussian.kl_divergence(*(p + q if swapped else q + p))
                         for q, p in pairs])

    expected = of_rows(log_var)
    compare(got, expected, what="the divergence, nats", tested=f"n = {n}, k = {k}", mistakes={
        "This is twice the divergence: a factor ½ is missing.": 2 * expected,
        "This is the mean over the latent dimensions; the KL sums over them.": expected / k,
        "This is the mean over the rows: return one number for each of them.": expected.mean(),
        "This is the sum over the rows, too: return one number for each of them.": expected.sum(),
        "This is −KL: the sign is reversed.": -expected,
        "This is D[prior‖Q]: the two are exchanged.": of_rows(log_var, swapped=True),
        "This takes log_var for log σ; it is log σ², so σ² = exp(log_var).": of_rows(2 * log_var),
        "This has log σ where log σ² belongs.": expected + 0.25 * log_var.sum(axis=1),
        "This has σ where σ² belongs.": expected + 0.5 * np.sum(
            np.exp(log_var / 2) - np.exp(log_var), axis=1),
        "It is not 0 for the prior from itself: a summand that depends on k only is "
        "missing.": expected + k / 2,
    })


@exercise(
    "kl-monte-carlo", kind="build", difficulty=1, minutes=10, identities=("K1",),
    right="Nothing in it needs Gaussians: any density that can be sampled will do for Q, and any "
          "whose logarithm can be evaluated for p.")
def kl_monte_carlo(answer):
    n, names = 20_000, ("the estimate", "its standard error")
    cases = [{"mean0": 1.1, "std0": 0.3, "mean1": -0.4, "std1": 2.2},
             {"mean0": 2.0, "std0": 1.7, "mean1": 1.0, "std1": 0.8}]
    for inputs in cases:
        mean0, std0, mean1, std1 = inputs.values()
        tested = f"Q = N({mean0}, {std0}²), p = N({mean1}, {std1}²), n = {n:,}"
        results = ask_drawing(answer, **inputs, num_samples=n, rng=np.random.default_rng(0))
        mean, std, kurtosis = log_ratio_moments((mean0, std0), (mean1, std1), (mean0, std0))
        mistakes = log_ratio_mistakes(np.random.default_rng(0).standard_normal(n), **inputs)
        for result in results:
            estimate, error = map(number, parts(result, *names), names)
            compare(estimate, mean, what="the estimate, nats", tested=tested,
                    error=5 * std / np.sqrt(n), mistakes=mistakes)
            # A variance estimated from n terms has the relative error sqrt((kurtosis − 1)/n), its
            # root has half of that, and five of these are granted.
            compare(error, std / np.sqrt(n), what="the standard error, nats", tested=tested,
                    relative=2.5 * np.sqrt((kurtosis - 1) / n),
                    mistakes=error_mistakes(error, mistakes.terms))
            mistakes = Mistakes()  # the next draws are not these
    compare_spread(answer, names, **cases[0])


def compare_spread(answer, names, **inputs):
    """Compare the spread of estimates from few samples, and what the answer says of it."""
    q, p = ((inputs[f"mean{i}"], inputs[f"std{i}"]) for i in (0, 1))
    _, std, kurtosis = log_ratio_moments(q, p, drawn=q)
    few, calls, rng = 30, 300, np.random.default_rng(1)
    table = np.array([[number(part, name) for part, name in zip(
        parts(ask(answer, **inputs, num_samples=few, rng=rng), *names), names)]
        for _ in range(calls)])
    # Five standard errors; the kurtosis of a mean of 30 is nearer to 3. Divided by n for
    # n − 1 a mean square is smaller by 1/30.
    spread, right = table[:, 0].std(ddof=1), std / np.sqrt(few)
    of_mean = 3 + (kurtosis - 3) / few
    need(abs(spread**2 / right**2 - 1) < 5 * np.sqrt((of_mean - 1) / calls),
         f"with num_samples = {few} the estimates spread by {spread:.3g} nats from call to "
         f"call; means of {few} independent samples spread by {right:.3g} nats.")
    reported = np.sqrt(np.mean(table[:, 1] ** 2))
    need(abs(reported**2 / right**2 - 1) < 1 / few + 5 * np.sqrt(
        (kurtosis - 1) / (calls * few)),
        f"with num_samples = {few} the standard errors came out as {reported:.3g} nats (root "
        f"mean square of {calls} calls); means of {few} independent samples spread by "
        f"{right:.3g} nats.")


class Mistakes(dict):
    """What mistakes give with known draws, by their names; `terms` are the right log ratios."""

    terms = None


def log_ratio_mistakes(noise, mean0, std0, mean1, std1):
    """Return what mistakes give if the samples are made of this standard normal noise (n,)."""
    def terms(h, first=(mean0, std0), second=(mean1, std1)):
        return log_normal(h, *first) - log_normal(h, *second)

    q, p = (mean0, std0), (mean1, std1)
    h, of_p, n = mean0 + std0 * noise, mean1 + std1 * noise, len(noise)
    right, ratio_of_norms = terms(h), np.log(std1 / std0)
    mean = right.mean()
    found = Mistakes({
        "This is −KL: the log ratio has the wrong sign.": -mean,
        "The samples come from p, but the mean is taken under Q.": terms(of_p).mean(),
        "This is D[p‖Q]: the two are exchanged.": terms(of_p, p, q).mean(),
        "The samples are too narrow: std0 is a standard deviation, not a square root of one.":
            terms(mean0 + std0**2 * noise).mean(),
        "The samples are too wide: std0 is a standard deviation, not a variance.":
            terms(mean0 + np.sqrt(std0) * noise).mean(),
        "In the densities std is taken for a variance.":
            terms(h, (mean0, np.sqrt(std0)), (mean1, np.sqrt(std1))).mean(),
        "The normalisations are missing from the log densities; only the factors 2π cancel.":
            mean - ratio_of_norms,
        "A factor ½ is missing from the exponents of the densities.": 2 * mean - ratio_of_norms,
        "This is in bits; use the natural logarithm.": mean / np.log(2),
        "This is the sum over the samples; the divergence is a mean.": n * mean,
        "This is the logarithm of the mean ratio; the mean belongs outside the logarithm.":
            np.log(np.mean(np.exp(right))),
    })
    found.terms = right
    return found


def error_mistakes(got, terms):
    """Return what mistakes give for the standard error of a mean of terms (n,)."""
    if terms is None:
        return {}
    n = len(terms)
    of_both = np.array([terms.std(ddof=ddof) for ddof in (0, 1)])  # with n and with n − 1

    def nearest(values):
        return values[np.argmin(np.abs(values - got))]

    return {
        "This is the standard deviation of one term, not of the mean of all.": nearest(of_both),
        "This is a variance: the square root is missing.": nearest(of_both**2 / n),
        "This is the variance of one term.": nearest(of_both**2),
        "The standard deviation is divided by n; how does the error of a mean fall with n?":
            nearest(of_both / n),
    }


def log_ratio_moments(first, second, drawn):
    """Return mean, standard deviation and kurtosis of log first − log second under drawn.

    All are (mean, std) of Gaussians. By the trapezoidal rule, here exact up to rounding.
    """
    h = np.linspace(drawn[0] - 12 * drawn[1], drawn[0] + 12 * drawn[1], 4001)
    weights = np.exp(log_normal(h, *drawn)) * (h[1] - h[0])
    return moments(weights, log_normal(h, *first) - log_normal(h, *second))


def moments(weights, values):
    mean = weights @ values
    variance = weights @ (values - mean) ** 2
    return mean, np.sqrt(variance), weights @ (values - mean) ** 4 / variance**2


def log_normal(h, mean, std):
    return gaussian.log_density(h[:, None], [mean], [[std**2]])


@exercise(
    "kl-nonnegative-terms", kind="derive", difficulty=2, minutes=20, identities=("K1",),
    right="r − 1 is a control variate: its mean is known, so it may be added to reduce the error. "
          "Which λ has the smallest variance, and what does one have to know to use it?")
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
    """Name another λ: with it the terms are −log r + λ (r − 1), to rounding."""
    got = array(got, "the terms, nats")
    if got.shape != np.shape(expected) or not np.all(np.isfinite(got)):
        return
    factor = (got[-1] + log_r[-1]) / np.expm1(log_r[-1])  # r is largest there
    if agree(got, factor * np.expm1(log_r) - log_r) and abs(factor - 1) > 1e-2:
        factor = round(float(factor), 3) + 0.0  # no −0
        raise NotYet(f"these are the terms with λ = {factor:g}. Their mean is right, but "
                     f"one of them is {got.min():.3g}, and none may be negative.")


@exercise(
    "kl-full-covariance", kind="build", difficulty=2, minutes=15, identities=("K2",),
    right="The divergence does not depend on the units, and neither does your code. Does each of "
          "its three parts stay the same, or only their sum?")
def kl_full_covariance(answer):
    rng = np.random.default_rng(2)
    (mean0, cov0), (mean1, cov1) = random_gaussian(4, rng), random_gaussian(4, rng)
    expected = gaussian.kl_divergence(mean0, cov0, mean1, cov1)
    inverse0, inverse1 = np.linalg.inv(cov0), np.linalg.inv(cov1)
    difference = mean1 - mean0
    quadratic, other = difference @ inverse1 @ difference, difference @ inverse0 @ difference
    trace, reverse_trace = np.sum(inverse1 * cov0), np.sum(inverse0 * cov1)
    log_ratio = np.linalg.slogdet(cov1).logabsdet - np.linalg.slogdet(cov0).logabsdet
    got = scalar(ask(answer, mean0=mean0, cov0=cov0, mean1=mean1, cov1=cov1))
    compare(got, expected, what="the divergence, nats", tested="k = 4", mistakes={
        "This is twice the divergence: a factor ½ is missing.": 2 * expected,
        "This is −KL: the sign is reversed.": -expected,
        "This is D[N₁‖N₀]: the two are exchanged.":
            gaussian.kl_divergence(mean1, cov1, mean0, cov0),
        "It is not 0 for two equal densities: a summand that depends on k only is missing.":
            expected + 2,
        "For two equal densities it is not 0: the summand that depends on k only has the wrong "
        "sign.": expected + 4,
        "The logarithm of the determinants has the wrong sign: are they exchanged?":
            expected - log_ratio,
        "The determinants are missing.": expected - log_ratio / 2,
        "The determinants' ratio stands without its logarithm.":
            expected - log_ratio / 2 + np.exp(log_ratio) / 2,
        "The logarithm of the determinants counts twice.": expected + log_ratio / 2,
        "The difference of the means is missing.": expected - quadratic / 2,
        "The difference of the means is measured with the covariance of the wrong density.":
            expected + (other - quadratic) / 2,
        "The difference of the means is not measured in units of a covariance.":
            expected + (difference @ difference - quadratic) / 2,
        "A covariance stands where its inverse belongs, at the difference of the means.":
            expected + (difference @ cov1 @ difference - quadratic) / 2,
        "In the trace the two covariances are exchanged.": expected + (reverse_trace - trace) / 2,
        "In the trace a covariance stands where its inverse belongs.":
            expected + (np.sum(cov1 * cov0) - trace) / 2,
        "This uses the diagonals of the covariances only.": gaussian.kl_divergence(
            mean0, np.diag(np.diag(cov0)), mean1, np.diag(np.diag(cov1))),
        "This is in bits; use the natural logarithm.": expected / np.log(2),
    })
    (mean0, cov0), (mean1, cov1) = random_gaussian(40, rng), random_gaussian(40, rng)
    expected = gaussian.kl_divergence(mean0, cov0, mean1, cov1)
    tested = "k = 40, in a unit that makes every number of h 10⁶ times smaller"
    got = scalar(ask(answer, mean0=1e-6 * mean0, cov0=1e-12 * cov0, mean1=1e-6 * mean1,
                     cov1=1e-12 * cov1))
    need(np.all(np.isfinite(got)),
         f"tested with {tested}: it came out as {show(got)}. How large are the determinants?")
    compare(got, expected, what="the divergence, nats", tested=tested)


def random_gaussian(k, rng):
    """Return a mean (k,) and a full covariance (k, k) with eigenvalues from 0.4 to about 4."""
    factor = rng.normal(size=(k, k)) / np.sqrt(k)
    return rng.normal(size=k), factor @ factor.T + 0.4 * np.eye(k)


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
