"""Tests of the answers in the chapter on likelihood and guidance."""

import math

import numpy as np
from scipy.integrate import quad, solve_ivp
from scipy.stats import norm

from genmodels import diffusion
from genmodels.exact.mixture import GaussianMixture
from genmodels.exercises.compare import agree, array, ask, chosen, compare, need, number, parts
from genmodels.exercises.registry import exercise

__all__ = ["flow_log_likelihood", "guided_ode_variance", "label_that_shifts", "signs_or_normal",
           "volume_and_entropy"]


@exercise(
    "flow-log-likelihood", kind="build", difficulty=3, minutes=25, identities=("D7",),
    right="The same function works for any flow with its divergence. Halve the number of times: "
          "by how much does the error of your method change?")
def flow_log_likelihood(answer):
    weights, means, variance = np.array([0.3, 0.7]), np.array([1.4, -0.6]), 0.15  # mean 0
    middle, half = means.mean(), (means[0] - means[1]) / 2
    bias = math.log(weights[0] / weights[1]) / 2

    def parts(x, tau):  # operators that every framework has
        a = math.e ** (-0.1 * tau - 9.95 * tau * tau)
        v = a * variance + 1 - a
        offset, pull = x - a**0.5 * middle, a**0.5 * half / v
        tanh = 1 - 2 / (1 + math.e ** (2 * (pull * offset + bias)))
        score = pull * tanh - offset / v
        return -0.5 * (0.1 + 19.9 * tau), score, pull * pull * (1 - tanh * tanh) - 1 / v

    def velocity(x, tau):
        factor, score, _ = parts(x, tau)
        return factor * (x + score)

    def divergence(x, tau):
        factor, _, slope = parts(x, tau)
        return factor * (1 + slope)

    mixture = GaussianMixture(weights, means[:, None], np.full((2, 1, 1), variance))
    x = np.array([-1.6, -0.7, 0.3, 1.2, 2.3])
    taus = np.linspace(0, 1, 1201) ** 1.5
    error = 0.02  # as asked; that of Euler's method with these steps is below 0.01
    right = mixture.log_density(x[:, None])
    inputs = {"velocity": velocity, "divergence": divergence, "taus": taus}
    got = ask(answer, x=x, **inputs)
    what = "log p, nats"
    if not agree(got, right, error):
        end, integral, summed, fixed = x, 0.0, 0.0, 0.0
        even, even_end = 0.0, x
        for tau, step in zip(taus, np.diff(taus)):
            integral = integral + step * divergence(end, tau)
            summed = summed + divergence(end, tau)
            fixed = fixed + step * divergence(x, tau)
            end = end + step * velocity(end, tau)
            even = even + divergence(even_end, tau) / (len(taus) - 1)
            even_end = even_end + velocity(even_end, tau) / (len(taus) - 1)
        normal = norm.logpdf(end)
        euler = normal + integral
        compare(got, right, what=what, tested="five points", error=error, mistakes={
            "The integral of the divergence has the wrong sign: where paths spread, the density "
            "falls on the way to the noise.": normal - integral,
            "The density at the end is missing: this is the integral alone.": integral,
            "The integral of the divergence is missing: this is the normal density at the end "
            "point.": normal,
            "The normal density is evaluated at the data; it belongs to the end of the path.":
                norm.logpdf(x) + integral,
            "The constant ½ log 2π of the normal density is missing.":
                euler + 0.5 * math.log(2 * math.pi),
            "The constant log 2π of the normal density lacks its ½.":
                euler - 0.5 * math.log(2 * math.pi),
            "The square in the normal density lacks its ½.": euler - 0.5 * end**2,
            "This is a probability density, not its logarithm.": np.exp(euler),
            "This is −log p: the sign is reversed.": -euler,
            "The divergence is evaluated at the data for all times; it belongs to the path.":
                normal + fixed,
            "The steps are taken to be equal; those of `taus` are not.":
                norm.logpdf(even_end) + even,
            "The steps are missing in the integral of the divergence.":
                normal + summed,
        })
    # A velocity κ x − m, the same at all times: with these steps every method of first order is
    # within 0.01, and none of the steps may be left out, neither in the path nor in the integral.
    growth, shift = 0.6, 4.0
    x = np.array([2.51, 3.12, 3.61])
    end = (x - shift / growth) * math.exp(growth) + shift / growth
    taus = np.concatenate([[0.0], 0.05 + 0.9 * np.linspace(0, 1, 401) ** 1.2, [1.0]])
    got = ask(answer, x=x, velocity=lambda x, tau: growth * x - shift,
              divergence=lambda x, tau: growth + 0 * x, taus=taus)
    compare(got, norm.logpdf(end) + growth, what=what, error=error,
            tested="the velocity 0.6 x − 4 and 402 steps, of which the first and the last are long")


@exercise(
    "volume-and-entropy", kind="explore", difficulty=2, minutes=15, identities=("D7",),
    right="For Gaussian data of variance s² in d dimensions the mean is −d log s. What does it say "
          "of data that fill a thin sheet?")
def volume_and_entropy(growth, difference):
    rng = np.random.default_rng(0)
    for n, d in ((5, 3), (2, 1)):
        log_p, ends = rng.normal(-3, 2, n), rng.normal(size=(n, d))
        normal = norm.logpdf(ends).sum(axis=1)
        right = log_p - normal
        constant = 0.5 * d * math.log(2 * math.pi)
        compare(ask(growth, log_p=log_p, ends=ends), right, what="the logarithms",
                tested=f"n = {n}, d = {d}", mistakes={
            "The sign is reversed: where volume grows, density falls.": -right,
            "The density at the end is missing.": log_p,
            "This is the sum of the two log densities; (D7) has their difference.":
                log_p + normal,
            "The constant of the normal density is missing.": right - constant,
            "The constant of the normal density is that of one dimension.":
                right - constant + constant / d if d > 1 else np.full(n, np.inf),
            "The square in the normal density lacks its ½.":
                right + 0.5 * (ends**2).sum(axis=1),
            "This is the factor, not its logarithm.": np.exp(right),
            "This is the mean; return one number for each path.": right.mean(),
        })
    names = ("entropy of the noise minus that of the data", "free energy of the data",
             "divergence of the data from the noise")
    need(chosen(difference, names, "difference") == names[0], "average log p(x_0) over the data, "
         "and the log density of the ends over the ends. What is minus the mean of a log density "
         "under itself?")


@exercise(
    "signs-or-normal", kind="derive", difficulty=2, minutes=20, identities=("D7",),
    right="The two differ by twice the squares on the diagonal. Which would you take for the "
          "denoiser of images, whose Jacobian is large on the diagonal at low noise?")
def signs_or_normal(variances, without_error):
    rng = np.random.default_rng(0)
    for d in (3, 5, 1):
        J = rng.normal(size=(d, d))
        S = (J + J.T) / 2
        diagonal = np.sum(np.diag(J) ** 2)
        right = np.array([2 * np.sum(S**2) - 2 * diagonal, 2 * np.sum(S**2)])
        of_j = np.array([2 * np.sum(J**2) - 2 * diagonal, 2 * np.sum(J**2)])
        got = array(parts(ask(variances, J=J), "signs", "normal"))
        compare(got, right, what="the variances", tested=f"a random J of shape ({d}, {d})",
                mistakes={
            "The two are exchanged.": right[::-1],
            "Only the symmetric part of J counts; this has J itself.": of_j,
            "A factor 2 is missing in both.": right / 2,
            "A factor 2 is missing for normal numbers.": right * [1, 0.5],
            "Normal numbers have a fourth moment of 3, and their squares vary.":
                np.repeat(right[0], 2),
            "The squares of the diagonal enter the variance for normal numbers twice.":
                right + np.array([0, -diagonal]),
            "These are standard deviations.": np.sqrt(right),
        })
    names = {"diagonal", "symmetric", "antisymmetric", "triangular"}
    kind = "`without_error` must be a list of names from " + ", ".join(sorted(names)) + "."
    need(isinstance(without_error, list | tuple | set | frozenset), kind)
    found = set(map(str, without_error))
    need(found <= names, kind)
    for name in sorted(found - {"diagonal", "antisymmetric"}):
        need(False, f"{name} matrices have entries off the diagonal of (J + Jᵀ)/2, and their "
             "products of signs vary.")
    need(found == {"diagonal", "antisymmetric"}, "there is another kind of matrix whose symmetric "
         "part has no entry off the diagonal.")


@exercise(
    "guided-ode-variance", kind="derive", difficulty=3, minutes=25, identities=("D8",),
    right="For w > 1 the variance lies below both c² and s² if s < c. What happens if s > c: a "
          "label that makes the data more diverse?")
def guided_ode_variance(answer):
    def slope(lam, c2, s2, w, share):
        """d log x/dλ with `share` times the guided score of centred Gaussians."""
        a = 1 / (1 + math.exp(2 * lam))
        return -(1 - a) * (1 - share * ((1 - w) / (1 - (1 - c2) * a) + w / (1 - (1 - s2) * a)))

    def ode(c2, s2, w):
        integral = quad(slope, -18, 18, args=(c2, s2, w, 1), epsabs=1e-11, epsrel=1e-11,
                        limit=200)[0]
        return math.exp(-2 * integral)

    def sde(c2, s2, w):
        solution = solve_ivp(lambda lam, v: 2 * slope(lam, c2, s2, w, 2) * v
                             - 2 / (1 + math.exp(-2 * lam)), (12, -12), [1.0], method="LSODA",
                             rtol=1e-8, atol=1e-10)
        return solution.y[0, -1]

    for c2, s2, w in [(1.7, 0.3, 2.5), (0.4, 0.9, 1.6), (2.5, 0.6, 0.3), (1.3, 0.2, 0.0),
                      (1.3, 0.2, 1.0)]:
        right = ode(c2, s2, w)
        got = number(ask(answer, c2=c2, s2=s2, w=w), "the variance")
        need(got > 0, f"with c² = {c2}, s² = {s2}, w = {w}: your variance is {got:.4g}, and a "
             "variance is positive.")
        # 1e-7: of a solver, `quad` or that of an answer; 1e-4: of an answer that solves the
        # equation of the SDE less finely
        if not agree(got, right, 1e-7):
            need(not agree(got, sde(c2, s2, w), 1e-4), f"with c² = {c2}, s² = {s2}, w = {w}: this "
                 "is the variance of the SDE; the ODE, without noise, ends elsewhere.")
        precision = (1 - w) / c2 + w / s2
        compare(got, right, what="the variance", tested=f"c² = {c2}, s² = {s2}, w = {w}", mistakes={
            "This is the standard deviation.": math.sqrt(right),
            "This takes c2 and s2 for standard deviations.": right**2,
            "This has w for 1 − w, and the reverse: w = 1 is the conditional model here.":
                c2**w * s2 ** (1 - w),
            "This is the weight of other papers; in (D8) w = 1 is the conditional model.":
                c2**-w * s2 ** (1 + w),
            "The variance without the label is missing: this is the case c = 1.": s2**w,
            "The variance without the label has the wrong power; at w = 1 it must drop out.":
                c2 * s2**w,
            "This is the variance of the tilted density. Each noise level is tilted on its own; "
            "the ODE ends elsewhere.": 1 / precision,
            "This averages the variances.": (1 - w) * c2 + w * s2,
            "This averages the standard deviations.":
                ((1 - w) * math.sqrt(c2) + w * math.sqrt(s2)) ** 2,
        }, error=1e-7)


@exercise(
    "label-that-shifts", kind="derive", difficulty=2, minutes=20, identities=("D8",),
    right="The label acts as a uniform field on a spring, whose response is linear. Which property "
          "of the digits' classes makes guidance differ from the tilted density?")
def label_that_shifts(moments, compared):
    ends = diffusion.NoiseSchedule([1 - 1e-9, 1e-12])
    for c2, m, w in ((0.4, 1.3, 2.5), (1.7, -0.8, 0.6), (1.0, 2.0, 4.0)):
        def gaussian(mean, c2=c2):
            return lambda x, a: mean + math.sqrt(a) * c2 / (a * c2 + 1 - a) * (
                x - math.sqrt(a) * mean)

        denoiser = diffusion.guided(gaussian(m), gaussian(0.0), w)
        at_0, at_1 = diffusion.ode(denoiser, ends, np.array([0.0, 1.0]), tolerance=1e-9)
        right = np.array([at_0, (at_1 - at_0) ** 2])
        got = array(parts(ask(moments, c2=c2, m=m, w=w), "mean", "variance"))
        compare(got, right, what="mean and variance", tested=f"c² = {c2}, m = {m}, w = {w}",
                error=2e-5, named_within=2e-5, mistakes={
            "The weight of the label is w, not 1 − w.": np.array([(1 - w) * m, right[1]]),
            "This is the weight of other papers; in (D8) w = 1 is the conditional model.":
                np.array([(1 + w) * m, right[1]]),
            "This is the conditional model, the case w = 1.": np.array([m, c2]),
            "This is the case s² < 1 = c² of the chapter; here both variances are the same.":
                np.array([w * m, c2**w]),
            "The second number is a standard deviation.": np.array([w * m, math.sqrt(c2)]),
            "The two numbers are exchanged.": right[::-1],
            "The variance is not divided by the weight: precisions are weighted with 1 − w and w, "
            "whose sum is 1.": np.array([w * m, c2 / w]),
        })
    names = ("further out", "the same", "less far out")
    need(chosen(compared, names, "compared") == names[1], "the tilted density has the exponent "
         "(1 − w) log q(x) + w log q(x|y). Complete the square.")
