"""Tests of the answers in the chapter on latent variables."""

import contextlib
import sys
import tracemalloc

import numpy as np
from scipy import optimize

from genmodels.exact import gaussian
from genmodels.exact.linear_gaussian import LinearGaussian
from genmodels.exercises.compare import array, ask, compare, need, number, parts, scalar, show
from genmodels.exercises.registry import exercise

__all__ = ["evidence_small_matrices", "free_energy_of_wells", "prior_estimate",
           "prior_samples_needed", "proposal_width"]


@exercise(
    "free-energy-of-wells", kind="explore", difficulty=2, minutes=15, identities=("L1",),
    right="A free energy as a function of an observed coordinate is called a potential of mean "
          "force. Which force does its derivative average?")
def free_energy_of_wells(answer, at_high_temperature, beta_equal):
    rng = np.random.default_rng(3)
    for shapes, states, beta in ((3, 5, 0.7), (4, 2, 2.5)):
        energies = rng.normal(scale=2, size=(shapes, states))
        compare_free_energies(answer, energies, beta)
    energies[1, 1] = np.inf
    compare_free_energies(answer, energies, 1.3)
    far = np.array([[1e4, 1e4 + 1], [-1e4, -1e4 + 2]])
    got = ask(answer, energies=far, beta=1.0)
    need(np.all(np.isfinite(got)), f"with energies of ±10⁴ it came out as {show(got)}: the "
         "exponentials underflow or overflow before the logarithm is taken.")
    # float32 rounds 1e4 by 5e-4
    compare(got, [1e4 - np.log1p(np.exp(-1)), -1e4 - np.log1p(np.exp(-2))],
            what="the free energies", tested="energies of ±10⁴, β = 1", error=1e-3)
    beta_equal = number(beta_equal, "`beta_equal`")
    equal = optimize.brentq(lambda b: 8 * np.exp(-b) - 1, 0.1, 10)
    compare(beta_equal, equal, what="`beta_equal`", relative=5e-3, mistakes={
        "This is the temperature there, 1/β.": 1 / equal,
        "Eight states are eight times as probable as one, not two to the eighth times.":
            8 * np.log(2),
        "This is the logarithm to base 2.": np.log2(8), "This is the logarithm to base 10.":
            np.log10(8), "All nine states are counted for B; it has eight.": np.log(9)})
    words = ("A", "B")
    need(isinstance(at_high_temperature, str) and at_high_temperature in words,
         "`at_high_temperature` must be one of 'A', 'B'.")
    need(at_high_temperature == "B", "your numbers are right, but your prediction fails. What do "
         "the Boltzmann factors of all nine states tend to as β → 0?")


def compare_free_energies(answer, energies, beta):
    """Compare free energies with −log Z/β, state by state."""
    weights = [[np.exp(-beta * e) for e in row] for row in energies]
    z = np.array([sum(row) for row in weights])
    expected, finite = -np.log(z) / beta, np.isfinite(energies)
    probabilities = np.array(weights) / z[:, None]
    mean = np.sum(probabilities * np.where(finite, energies, 0), axis=1)
    compare(ask(answer, energies=energies, beta=beta), expected, what="the free energies",
            tested=f"{len(energies)} shapes, β = {beta}", mistakes={
        "The sign is reversed.": -expected,
        "The logarithm is not divided by β.": beta * expected,
        "The logarithm is multiplied by β.": beta**2 * expected,
        "These are the partition functions; take the logarithm.": z,
        "This is the mean energy; the entropy is missing.": mean,
        "This is the lowest energy of each shape; the other states contribute as well.":
            energies.min(axis=1),
        "This is the mean of the Boltzmann factors; (L1) has their sum.":
            expected + np.log(energies.shape[1]) / beta,
        "This is normalised over all shapes; the free energy of a shape is asked for.":
            expected + np.log(z.sum()) / beta,
        "β is missing in the exponent.": -np.log(np.exp(-energies).sum(axis=1)) / beta,
    })


@exercise(
    "prior-estimate", kind="build", difficulty=2, minutes=15, identities=("L1", "L2"),
    right="With other log weights it is the estimate from samples of any Q. Test it with weights "
          "that are all the same: which error must come out?")
def prior_estimate(answer):
    log_likelihoods = np.array([-3.2, -4.9, -2.7, -6.1, -3.9, -2.1, -8.0])
    n, likelihoods = 7, np.exp(log_likelihoods)
    mean = likelihoods.mean()
    expected = np.log(mean)
    variance = sum((value - mean) ** 2 for value in likelihoods) / (n - 1)
    relative = np.sqrt(variance / n) / mean
    got = estimate_and_error(answer, log_likelihoods)
    tested = "n = 7 log-likelihoods from −8 to −2.1"
    compare(got[0], expected, what="log p̂(x), nats", tested=tested, mistakes={
        "This is the mean of the logarithms, a lower bound; the mean belongs inside the "
        "logarithm.": log_likelihoods.mean(),
        "This is the sum of the likelihoods, not their mean: what does n do to a logarithm?":
            np.log(likelihoods.sum()),
        "This is p̂(x); its logarithm is asked for.": mean,
        "This is the largest term only.": log_likelihoods.max(),
        "This is the sum of the logarithms; the average is over p(x|h), not over its logarithm.":
            log_likelihoods.sum(),
        "The largest term is subtracted before the exponential and not added again.":
            expected - log_likelihoods.max(),
        "This is −log p̂(x): the sign is reversed.": -expected,
        "The sum is divided by n − 1: as the estimate of a mean that is biased.":
            expected + np.log(n / (n - 1)),
        "This is in bits; use the natural logarithm.": expected / np.log(2),
    })
    compare(got[1], relative, what="the relative standard error", tested=tested, mistakes={
        "The squared deviations are divided by n: that estimate of a variance is biased.":
            relative * np.sqrt((n - 1) / n),
        "This is the relative standard deviation of one sample, not of the mean of all.":
            relative * np.sqrt(n),
        "This is the relative standard deviation of one sample, not of the mean of all, and its "
        "squares are divided by n.": relative * np.sqrt(n - 1),
        "The standard deviation is divided by n; how does the error of a mean fall with n?":
            relative / np.sqrt(n),
        "This is the standard error of p̂(x): divide it by p̂(x).": relative * mean,
        "This is a variance: the square root is missing.": relative**2,
        "This is the standard error of the logarithms; the average is over p(x|h).":
            np.std(log_likelihoods, ddof=1) / np.sqrt(n),
        "It is divided by the sum of the likelihoods, not by their mean.": relative / n,
        "This is divided by log p̂(x).": relative * mean / expected,
    })
    far = log_likelihoods - 1500
    far[3] = -2600.0  # one sample explains nothing
    got = estimate_and_error(answer, far)
    need(np.all([np.all(np.isfinite(part)) for part in got]),
         f"tested with log-likelihoods from −2600 to −1502: the results came out as {show(got[0])} "
         f"and {show(got[1])}. The likelihoods themselves underflow or overflow.")
    likelihoods[3] = 0.0  # e^−2600 beside e^−1500
    mean = likelihoods.mean()
    variance = sum((value - mean) ** 2 for value in likelihoods) / (n - 1)
    tested = "log-likelihoods from −2600 to −1502"
    # float32 rounds −1500 by 6e-5
    compare(got[0], np.log(mean) - 1500, what="log p̂(x), nats", tested=tested, error=1e-3)
    compare(got[1], np.sqrt(variance / n) / mean, what="the relative standard error",
            tested=tested, error=1e-3)
    values = np.array([802.0, 801.2, 799.5, 802.7])  # densities may be large, too
    tested = "n = 4 log-likelihoods near 800"
    got = estimate_and_error(answer, values)
    need(np.all([np.all(np.isfinite(part)) for part in got]),
         f"tested with {tested}: the results came out as {show(got[0])} and {show(got[1])}. The "
         "likelihoods themselves overflow.")
    scaled = np.exp(values - 800)
    compare(got[0], np.log(scaled.mean()) + 800, what="log p̂(x), nats", tested=tested, error=1e-3)
    compare(got[1], np.sqrt(np.var(scaled, ddof=1) / 4) / scaled.mean(),
            what="the relative standard error", tested=tested, error=1e-3)
    got = estimate_and_error(answer, np.full(5, -3.0))
    compare(got[0], -3.0, what="log p̂(x), nats", tested="five log-likelihoods of −3")
    compare(got[1], 0.0, what="the relative standard error", tested="five log-likelihoods of −3",
            error=1e-6)  # a mean of five equal float32 numbers may be rounded


@exercise(
    "evidence-small-matrices", kind="derive", difficulty=3, minutes=25, identities=("L1",),
    right="Every point h gives the same value; the posterior mean only makes one term vanish. Time "
          "it against the formula with a d × d covariance for d = 2000.")
def evidence_small_matrices(answer):
    rng = np.random.default_rng(4)
    d, k, sigma = 6, 2, 0.6
    W, b = rng.normal(size=(d, k)), rng.normal(size=d)
    x = W @ rng.normal(size=k) + b + sigma * rng.normal(size=d)
    model = LinearGaussian(W, b, sigma)
    expected = model.log_evidence(x)  # with the d × d covariance
    mean, cov = model.posterior(x)
    log_det = -np.linalg.slogdet(cov).logabsdet
    quadratic = mean @ np.linalg.inv(cov) @ mean
    log_2pi, log_var = np.log(2 * np.pi), np.log(sigma**2)
    got = scalar(ask(answer, x=x, W=W, b=b, sigma=sigma))
    compare(got, expected, what="log p(x), nats", tested="d = 6, k = 2, σ = 0.6", mistakes={
        "The factor ½ is missing.": 2 * expected,
        "This is −log p(x): the sign is reversed.": -expected,
        "This is p(x); its logarithm is asked for.": np.exp(expected),
        "The constant with log 2π is missing.": expected + d / 2 * log_2pi,
        "The constant with log 2π counts the k dimensions of h; those of prior and posterior "
        "cancel.": expected + (d - k) / 2 * log_2pi,
        "The constant with log 2π counts the dimensions of h as well; those of prior and "
        "posterior cancel.": expected - k / 2 * log_2pi,
        "The normalisation of the decoder, with log σ², is missing.": expected + d / 2 * log_var,
        "The normalisation of the decoder has log σ² only once; it has d dimensions.":
            expected + (d - 1) / 2 * log_var,
        "The normalisation of the decoder counts k dimensions; it has d.":
            expected + (d - k) / 2 * log_var,
        "The normalisation of the decoder has log σ where log σ² belongs, or ½ too often.":
            expected + d / 4 * log_var,
        "The determinant of the posterior is missing.": expected + log_det / 2,
        "The determinant of the posterior has the wrong sign: of the precision or of the "
        "covariance?": expected + log_det,
        "This takes sigma for the variance; it is the standard deviation.":
            LinearGaussian(W, b, np.sqrt(sigma)).log_evidence(x),
        "b is not subtracted from x.": LinearGaussian(W, 0 * b, sigma).log_evidence(x),
        "This is log p(x, h) at the posterior mean; the posterior density is missing.":
            model.log_joint(x, mean),
        "This is log p(x|h) at the posterior mean; prior and posterior are missing.":
            model.log_likelihood(x, mean),
        "The prior at h is missing.": expected - model.log_prior(mean),
        "In the exponent the prior's |h|² is missing.": expected + mean @ mean / 2,
        "The exponent holds |x − b|²/σ² only: the part that h explains is missing.":
            expected - quadratic / 2,
        "The part of the exponent that h explains has the wrong sign.": expected - quadratic,
        "This is in bits; use the natural logarithm.": expected / np.log(2),
    })
    for d, k, sigma in ((3, 1, 1.7), (2, 4, 0.9)):
        W, b, x = rng.normal(size=(d, k)), rng.normal(size=d), rng.normal(size=d)
        compare(scalar(ask(answer, x=x, W=W, b=b, sigma=sigma)),
                LinearGaussian(W, b, sigma).log_evidence(x), what="log p(x), nats",
                tested=f"d = {d}, k = {k}, σ = {sigma}")
    d, k, sigma = 400, 3, 0.1  # σ^(2d) = 1e-800
    W, b = 0.1 * rng.normal(size=(d, k)), rng.normal(size=d)
    x = W @ rng.normal(size=k) + b + sigma * rng.normal(size=d)
    tracemalloc.start()
    try:
        with watch_tensors() as sizes:
            got = scalar(ask(answer, x=x, W=W, b=b, sigma=sigma))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    need(np.all(np.isfinite(got)),
         f"tested with d = 400, k = 3, σ = 0.1: it came out as {show(got)}. Which power of σ "
         "underflows?")
    compare(got, LinearGaussian(W, b, sigma).log_evidence(x), what="log p(x), nats",
            tested="d = 400, k = 3, σ = 0.1")
    need(peak < 4 * d * d,  # bytes: a d × d matrix in float32; one d × k matrix is 24 d
         f"the value is right, but with d = {d} your function needed {peak / 1e6:.1f} MB: does it "
         "build a d × d matrix?")
    largest = max(sizes, default=0)
    need(largest < d * d, f"the value is right, but with d = {d} your function made a tensor of "
         f"{largest} numbers: does it build a d × d matrix?")


@contextlib.contextmanager
def watch_tensors():
    """Yield a list to which the size of every tensor is added that torch or TensorFlow makes.

    NumPy's memory is traced by Python; that of the frameworks is not.
    """
    sizes = []
    with contextlib.ExitStack() as stack:
        if "torch" in sys.modules:
            import torch
            from torch.overrides import TorchFunctionMode

            class Watch(TorchFunctionMode):
                def __torch_function__(self, function, types, args=(), kwargs=None):
                    result = function(*args, **(kwargs or {}))
                    for part in result if isinstance(result, tuple | list) else [result]:
                        sizes.append(part.numel() if isinstance(part, torch.Tensor) else 0)
                    return result

            stack.enter_context(Watch())
        if "tensorflow" in sys.modules:
            from tensorflow.python.framework import op_callbacks

            def note(op_type, inputs, attributes, outputs, *_):
                sizes.extend(int(np.prod(output.shape)) for output in outputs
                             if None not in tuple(output.shape))

            op_callbacks.add_op_callback(note)
            stack.callback(op_callbacks.remove_op_callback, note)
        yield sizes


@exercise(
    "prior-samples-needed", kind="explore", difficulty=2, minutes=15, identities=("L2",),
    right="From which k on do your 200,000 samples no longer suffice to measure even how many "
          "are needed?")
def prior_samples_needed(growth, needed):
    evidence, second, third, fourth = weight_moments(np.sqrt(1.5), 0.5)
    expected = (second - 1) / 0.01
    # The variance of second moment/mean² from n samples, to first order in 1/n, relative
    n = 200_000
    variance = (fourth - second**2 + 4 * second**2 * (second - 1)
                - 4 * second * (third - second)) / n
    relative = 5 * np.sqrt(variance) / (second - 1)
    words = ("linear", "quadratic", "exponential")
    need(isinstance(growth, str) and growth in words,
         f"`growth` must be one of {', '.join(map(repr, words))}.")
    got = array(needed, "your answer").astype(float)
    mistakes = {
        "The error 0.1 enters as it is; the variance of a mean falls like 1/n, its error like "
        "1/√n.": (second - 1) / 0.1,
        "This is the relative standard deviation over the error; it takes its square.":
            np.sqrt(second - 1) / 0.1,
        "This has the second moment where the variance belongs.": second / 0.01,
        "This is the variance of one term, relative to p(x)²: it is not yet divided by the "
        "variance that is allowed.": second - 1,
        "This is the variance of p(x|h) over 0.1²: it is not relative to p(x)².":
            (second - 1) * evidence**2 / 0.01,
        "This is the variance over the mean, not over its square.":
            (second - 1) * evidence / 0.01,
        "The number of samples that you drew is in it once too often.": (second - 1) / 0.01 / n,
        "This is the relative error that your samples have, not the number that is needed.":
            np.sqrt((second - 1) / n),
        "This is for the dimensions 0 to 5.": np.append(0, expected[:-1]),
        "The decoder has the variance ½, not the standard deviation ½.":
            (weight_moments(np.sqrt(1.5), 0.25)[1] - 1) / 0.01,
        "The decoder has the variance ½, not 1.":
            (weight_moments(np.sqrt(1.5), 1.0)[1] - 1) / 0.01,
        "Your x is not the one asked for: the variance of x is the sum of the prior's and the "
        "decoder's.": (weight_moments(1.0, 0.5)[1] - 1) / 0.01,
        "Your x is not the one asked for: its components are the root of the variance.":
            (weight_moments(1.5, 0.5)[1] - 1) / 0.01,
        "Your x is not the one asked for: at x = 0 it is easier than at a typical x.":
            (weight_moments(0.0, 0.5)[1] - 1) / 0.01,
    }

    def meant(value):
        """Return the answer if all six numbers are the value within three standard errors.

        Factors of 1.5 at least lie between these mistakes, for six independent numbers at once.
        """
        fits = got.shape == (6,) and np.all(np.abs(got - value) <= 0.6 * relative * np.abs(value))
        return got if fits else value

    compare(got, expected, what="the number of samples", relative=relative,
            mistakes={name: meant(value) for name, value in mistakes.items()})
    need(growth == "exponential",
         "your numbers are right, but they do not grow as you predict. Look at the ratios of "
         "successive ones.")


def weight_moments(value, noise_var):
    """Return E[w], and E[w^j]/E[w]^j for j = 2, 3, 4, of w = p(x|h) in k = 1, …, 6 dimensions.

    All components of x are `value`. By the trapezoidal rule; a product over the dimensions.
    """
    h = np.linspace(-12, 12, 4001)[:, None]
    prior = np.exp(gaussian.log_density(h, [0.0], [[1.0]])) * (h[1, 0] - h[0, 0])
    w = np.exp(gaussian.log_density([[value]], h, [[noise_var]]))
    dims = np.arange(1, 7)
    mean = prior @ w
    return mean**dims, *(((prior @ w**j) / mean**j) ** dims for j in (2, 3, 4))


@exercise(
    "proposal-width", kind="derive", difficulty=3, minutes=20, identities=("L2",),
    right="Plot it against c for k = 20: how much wider than the posterior may Q be until a single "
          "weight has a relative error of 100 %?")
def proposal_width(answer, safer):
    for c, k in ((1.3, 3), (0.8, 4), (0.72, 2), (2.5, 1), (1.05, 12)):
        u = np.linspace(-70, 70, 14_001)
        # ∫ posterior²/Q of one dimension; its exponent is −u² + u²/(2c²)
        log_p = gaussian.log_density(u[:, None], [0.0], [[1.0]])
        log_q = gaussian.log_density(u[:, None], [0.0], [[c**2]])
        factor = np.sum(np.exp(2 * log_p - log_q)) * (u[1] - u[0])
        moment = factor**k
        mistakes = {
            "This is the mean of the square; the variance is asked for.": moment,
            "This is for one dimension: the factors of all k multiply.": factor - 1,
            "The variances of the dimensions are added; the weight is a product, so the second "
            "moments multiply.": k * (factor - 1),
            "This is the standard deviation; the variance is asked for.": np.sqrt(moment - 1),
            "The sign is reversed; a variance is not negative.": 1 - moment,
            "This is the logarithm of the second moment.": np.log(moment),
            "The second moment came out as its inverse.": 1 / moment - 1,
        }
        if 2 * c > 1:
            mistakes["This takes c for the ratio of the variances; Q has the covariance c²Σ."] = (
                (c / np.sqrt(2 * c - 1)) ** k - 1)
        if c**2 < 2:
            mistakes["Posterior and Q are exchanged: the samples come from Q."] = (
                (1 / (c * np.sqrt(2 - c**2))) ** k - 1)
        if 3 - 2 / c**2 > 0:
            mistakes["The mean of the square is taken under the posterior; the samples come from "
                     "Q."] = (c**2 / np.sqrt(3 - 2 / c**2)) ** k - 1
        got = scalar(ask(answer, c=c, k=k))
        need(got.shape != () or (not np.isnan(got) and not np.isposinf(got)),
             f"for c = {c}, k = {k} it came out as {got}, but there the variance is finite.")
        compare(got, moment - 1, what="the variance of w/p(x)", tested=f"c = {c}, k = {k}",
                mistakes=mistakes)
    equal = scalar(ask(answer, c=1.0, k=5))  # 1e-6: a power near 1, less 1, perhaps in float32
    need(equal.shape == () and abs(equal) < 1e-6,
         f"for Q equal to the posterior (c = 1) the variance came out as {show(equal)}. Do the "
         "weights differ then?")
    for c in (0.7, 0.6, 0.4):
        narrow = scalar(ask(answer, c=c, k=3))
        need(narrow.shape == () and np.isposinf(narrow),
             f"for c = {c} it came out as {show(narrow)}. Does your integral over h converge "
             "there?")
    need(isinstance(safer, str) and safer in ("narrow", "wide"),
         "`safer` must be one of 'narrow', 'wide'.")
    need(safer == "wide", "your function is right; let it tell what each mistake costs: c = 0.6 "
         "and 1.4, for some k.")


# What several tests use -------------------------------------------------------------------------


def estimate_and_error(answer, log_likelihoods):
    """Return the two results of an answer, without axes."""
    got = parts(ask(answer, log_likelihoods=log_likelihoods), "the logarithm of the estimate",
                "its relative standard error")
    return tuple(scalar(part) for part in got)
