"""Tests of the answers in the chapter on the Kullback-Leibler divergence."""

import numpy as np
from scipy import integrate

from genmodels import gaussian
from genmodels.exercises import NotYet, ask, compare, exercise, need, number, parts, scalar, show


@exercise(
    "kl-diagonal", kind="build", difficulty=1, minutes=10, identities=("K3",),
    right="This is the second term of every VAE's loss. At mean = 0, log_var = 0 most of the "
          "usual mistakes give 0, too: a test at that point alone says little.")
def kl_diagonal(answer):
    rng = np.random.default_rng(0)
    mean, log_var = rng.normal(size=(5, 3)), rng.normal(-1, 1.2, size=(5, 3))
    expected = np.array([gaussian.kl_divergence(m, np.diag(np.exp(v)), np.zeros(3), np.eye(3))
                         for m, v in zip(mean, log_var)])
    reverse = np.array([gaussian.kl_divergence(np.zeros(3), np.eye(3), m, np.diag(np.exp(v)))
                        for m, v in zip(mean, log_var)])
    got = ask(answer, mean=mean, log_var=log_var)
    compare(got, expected, what="the divergence, nats", tested="five rows of k = 3",
            mistakes={
                "This is twice the divergence: a factor ½ is missing.": 2 * expected,
                "This is the mean over the latent dimensions; the KL sums over them.": expected / 3,
                "This is the mean over the rows: return one number for each of them.":
                    expected.mean(),
                "This is the sum over the rows, too: return one number for each of them.":
                    expected.sum(),
                "This is −KL: the sign is reversed.": -expected,
                "This is the divergence of the prior from Q: the two are exchanged.": reverse,
                "This takes log_var for log σ; it is log σ², so σ² = exp(log_var).": np.array([
                    gaussian.kl_divergence(m, np.diag(np.exp(2 * v)), np.zeros(3), np.eye(3))
                    for m, v in zip(mean, log_var)]),
                "This has log σ where log σ² belongs.": expected + 0.25 * log_var.sum(axis=1),
                "This has σ where σ² belongs.": expected + 0.5 * np.sum(
                    np.exp(log_var / 2) - np.exp(log_var), axis=1),
                "It is not 0 for the prior from itself: a summand that depends on k only is "
                "missing.": expected + 1.5,
            })
    at_prior = ask(answer, mean=np.zeros((2, 3)), log_var=np.zeros((2, 3)))
    need(np.all(np.abs(at_prior) < 1e-6),
         f"of the prior from itself it must be 0, and came out as {show(at_prior)}.")


@exercise(
    "kl-monte-carlo", kind="build", difficulty=1, minutes=10, identities=("K1",),
    right="Nothing in it needs Gaussians: any density that can be sampled will do for Q, and any "
          "whose logarithm can be evaluated for p.")
def kl_monte_carlo(answer):
    (mean0, std0), (mean1, std1), n = (1.1, 0.3), (-0.4, 2.2), 20_000
    q, p = (mean0, std0), (mean1, std1)
    results = [
        parts(ask(answer, mean0=mean0, std0=std0, mean1=mean1, std1=std1, num_samples=n,
                  rng=np.random.default_rng(seed)), "the estimate", "its standard error")
        for seed in (0, 1)]
    mean, std, kurtosis = log_ratio_moments(q, p, drawn=q)
    ratio_of_norms = np.log(std1 / std0)
    mistakes = {  # what the mistake estimates, and the standard deviation of its terms
        "This is −KL: the log ratio has the wrong sign.": (-mean, std),
        "The samples come from p, but the mean is taken under Q.":
            log_ratio_moments(q, p, drawn=p)[:2],
        "This is the divergence of p from Q: the two are exchanged.":
            log_ratio_moments(p, q, drawn=p)[:2],
        "The samples are too narrow: std0 is a standard deviation, not a square root of one.":
            log_ratio_moments(q, p, drawn=(mean0, std0**2))[:2],
        "The samples are too wide: std0 is a standard deviation, not a variance.":
            log_ratio_moments(q, p, drawn=(mean0, np.sqrt(std0)))[:2],
        "In the densities std is taken for a variance.":
            log_ratio_moments((mean0, np.sqrt(std0)), (mean1, np.sqrt(std1)), drawn=q)[:2],
        "The normalisations are missing from the log densities; only the factors 2π cancel.":
            (mean - ratio_of_norms, std),
        "A factor ½ is missing from the exponents of the densities.":
            (2 * mean - ratio_of_norms, 2 * std),
        "This is in bits; use the natural logarithm.": (mean / np.log(2), std / np.log(2)),
        "This is the sum over the samples; the divergence is a mean.": (n * mean, n * std),
        "This is the logarithm of the mean ratio; the mean belongs outside the logarithm.":
            log_mean_ratio(q, p),
    }
    for estimate, standard_error in results:
        compare_random(number(estimate, "the estimate"), mean, std / np.sqrt(n),
                       "the estimate, nats",
                       {name: (value, spread / np.sqrt(n))
                        for name, (value, spread) in mistakes.items()})
        # a variance estimated from n terms has the relative error sqrt((kurtosis − 1)/n)
        compare(number(standard_error, "the standard error"), std / np.sqrt(n),
                what="the standard error, nats", relative=2.5 * np.sqrt((kurtosis - 1) / n),
                mistakes={
            "This is the standard deviation of one term, not of the mean of all.": std,
            "This is a variance: the square root is missing.": std**2 / n,
            "This is the variance of one term.": std**2,
            "The standard deviation is divided by n; how does the error of a mean fall with n?":
                std / n,
        })
    need(number(results[0][0], "the estimate") != number(results[1][0], "the estimate"),
         "two generators give exactly the same estimate: draw the samples with rng.")


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


def log_mean_ratio(q, p):
    """Return log E_Q[Q/p] and the standard deviation of Q/p over its mean."""
    h = np.linspace(q[0] - 12 * q[1], q[0] + 12 * q[1], 4001)
    weights = np.exp(log_normal(h, *q)) * (h[1] - h[0])
    mean, std, _ = moments(weights, np.exp(log_normal(h, *q) - log_normal(h, *p)))
    return np.log(mean), std / mean


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
    far = ask(answer, log_q=log_q - 2000, log_p=log_q + log_r - 2000)
    need(np.all(np.isfinite(far)),
         f"with both log densities near −2000 nats the terms came out as {show(far)}: the "
         "densities themselves underflow to 0. Do you need more than their ratio?")
    # 2000 in float32 has been rounded by 6e-5, which r = 8 enlarges
    compare(far, expected, what="the terms, nats", tested="both log densities near −2000 nats",
            error=0.01)


def compare_terms(got, expected, log_r):
    """Name another λ: with it (term + log r)/(r − 1) is the same for every sample."""
    if np.shape(got) != np.shape(expected) or not np.all(np.isfinite(got)):
        return
    factor = (got + log_r) / np.expm1(log_r)
    if np.ptp(factor) < 1e-3 and abs(factor[0] - 1) > 1e-2:
        factor = round(factor.mean(), 3) + 0.0  # no −0
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
        "This is the divergence of the second Gaussian from the first: the two are exchanged.":
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
    # samples of t: the mean of h²/2 grows like log n, beyond 2 nats long before n = 100,000
    need(estimate < 2, f"the estimate came out as {estimate:.3g} nats: this is of the divergence "
         "that is infinite, and it grows with the number of samples.")
    need(estimate > -2, f"the estimate came out as {estimate:.3g} nats, and a divergence is not "
         "negative. Do the samples come from the first density of the log ratio?")
    compare_random(estimate, mean, std / np.sqrt(n), "the estimate, nats", {
        "A divergence is not negative: the log ratio has the wrong sign.":
            (-mean, std / np.sqrt(n)),
        "This is in bits; use the natural logarithm.":
            (mean / np.log(2), std / np.sqrt(n) / np.log(2)),
    })
    # a variance estimated from n terms has the relative error sqrt((kurtosis − 1)/n)
    compare(standard_error, std / np.sqrt(n), what="the standard error, nats",
            relative=2.5 * np.sqrt((kurtosis - 1) / n), mistakes={
        "This is the standard deviation of one term, not of the mean of all.": std,
        "This is a variance: the square root is missing.": std**2 / n,
        "The standard deviation is divided by n; how does the error of a mean fall with n?":
            std / n,
    })


# What several tests use -------------------------------------------------------------------------


def compare_random(got, expected, error, what, mistakes):
    """Compare a random number with its mean, within five standard errors.

    Each mistake comes with the standard error that it has itself.
    """
    if abs(got - expected) <= 5 * error:
        return
    for name, (value, spread) in mistakes.items():
        need(abs(got - value) > 5 * spread, f"{what} came out as {got:.4g}. {name}")
    raise NotYet(f"{what} came out as {got:.4g}, and that is not right: it differs by more than "
                 "five standard errors.")
