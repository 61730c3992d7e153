"""Tests of the answers in the chapter on diffusion and flows on a lattice."""

import math
from itertools import pairwise

import numpy as np
from scipy.special import logsumexp
from scipy.stats import norm

from genmodels.exercises.compare import array, ask, chosen, compare, need, number, parts
from genmodels.exercises.registry import exercise

__all__ = ["field_by_weights", "four_log_z", "make_it_odd", "read_the_table", "shared_angle"]


def verdicts_of(answer, names: tuple[str, ...], right: tuple[str, ...], what: str,
                hints: tuple[str, ...]) -> None:
    """NotYet, with the hint of the first wrong one, unless the answers called `what` are right."""
    need(isinstance(answer, list | tuple) and len(answer) == len(right),
         f"`{what}` must be a list of {len(right)} names.")
    for found, wanted, letter, hint in zip(answer, right, "ABCD", hints):
        need(chosen(found, names, what) == wanted, f"{letter} is something else. {hint}")


@exercise(
    "read-the-table", kind="explore", difficulty=2, minutes=20,
    right="Which further observable would tell B from a model whose modes of short wavelength are "
          "wrong?")
def read_the_table(gaussian, verdicts):
    for chi2, N in ((173.0, 256), (3.2, 64)):
        s = math.sqrt(chi2 / N)
        x = np.linspace(-12 * s, 12 * s, 20_001)  # the integrals, numerically
        density = norm.pdf(x, scale=s) * (x[1] - x[0])
        abs_m, fourth = np.sum(np.abs(x) * density), np.sum(x**4 * density)
        right = np.array([abs_m, 1 - fourth / (3 * (chi2 / N) ** 2)])
        got = array(parts(ask(gaussian, chi2=chi2, N=N), "⟨|M|⟩", "U_L"))
        compare(got, right, what="⟨|M|⟩ and U_L", tested=f"χ₂ = {chi2}, N = {N}", error=1e-6,
                named_within=1e-6, mistakes={
            "This is the standard deviation of M; the mean of |M| is smaller.":
                np.array([s, right[1]]),
            "χ₂ is N times the variance of M; here it is taken for the variance.":
                np.array([abs_m * math.sqrt(N), right[1]]),
            "The variance of M is χ₂/N, and this takes it for the standard deviation.":
                np.array([abs_m * s, right[1]]),
            "⟨M⁴⟩ of a Gaussian is three times ⟨M²⟩²; U_L = 2/3 belongs to M of one size.":
                np.array([abs_m, 2 / 3]),
            "The two numbers are exchanged.": right[::-1],
            "The factor is √(2/π), not √(π/2).": np.array([s * math.sqrt(math.pi / 2), right[1]]),
        })
    names = ("in equilibrium", "Gaussian", "two sharp values of M", "not symmetric")
    verdicts_of(verdicts, names, ("Gaussian", "in equilibrium", "two sharp values of M",
                                  "not symmetric"), "verdicts",
                ("Compare it with what your function returns.",
                 "Compare it with Monte Carlo, in standard errors.",
                 "What are ⟨|M|⟩ and ⟨M⁴⟩ if |M| is always the same?",
                 "How many standard errors is each column from what S(−x) = S(x) demands?"))


@exercise(
    "shared-angle", kind="derive", difficulty=3, minutes=25, identities=("D4",),
    right="DDIM with x_t in place of y is like Q = 1. Which data of a lattice would suit it?")
def shared_angle(slope, ratio, exact_for):
    for P, Q, theta in ((0.3, 1.0, 0.7), (5.0, 2.0, 1.2), (2.0, 2.0, 0.4)):
        sigma, y = math.sqrt(Q) * math.tan(theta), 1.0
        z = math.hypot(math.sqrt(Q), sigma) * y
        right = (math.cos(theta) * y - P * z / (P + sigma**2) / math.sqrt(Q)) / math.sin(theta)
        got = number(ask(slope, P=P, Q=Q, theta=theta), "the slope")
        compare(got, right, what="the slope", tested=f"P = {P}, Q = {Q}, θ = {theta}", error=1e-9,
                named_within=1e-9, mistakes={
            "The sign is reversed: for P < Q the mode must shrink as the angle falls.": -right,
            "P and Q are exchanged.": (P - Q) * math.sin(theta) * math.cos(theta)
                / (Q * math.cos(theta) ** 2 + P * math.sin(theta) ** 2),
            "The division by sin θ is missing.": right * math.sin(theta),
            "x̂_0 enters divided by √Q.":
                (math.cos(theta) - P * z / (P + sigma**2)) / math.sin(theta),
            "z is √(Q + σ²) y, not y.":
                (math.cos(theta) - P / (P + sigma**2) / math.sqrt(Q)) / math.sin(theta),
        })
    for P, Q, n in ((0.3, 1.5, 6), (5.0, 2.0, 9), (2.0, 2.0, 3)):
        thetas = np.linspace(1.5, 0, n) ** 1.5 / 1.5**0.5
        y = at_ends = 1.0
        for now, then in pairwise(thetas):
            at_now, at_then = ((Q - P) * math.sin(t) * math.cos(t)
                               / (P * math.cos(t) ** 2 + Q * math.sin(t) ** 2) for t in (now, then))
            y *= 1 + at_now * (then - now)
            at_ends *= 1 + at_then * (then - now)
        right = Q / P * y**2
        got = number(ask(ratio, P=P, Q=Q, thetas=thetas), "the ratio")
        compare(got, right, what="the ratio", tested=f"P = {P}, Q = {Q}, {n} angles", error=1e-9,
                named_within=1e-9, mistakes={
            "At the end z = √Q y, so that the variance is Q times that of y.": y**2 / P,
            "This is the variance itself; divide it by P.": Q * y**2,
            "The variance has the square of the product.": Q / P * y,
            "The ratio is that of y alone.": y**2,
            "Euler's method takes the slope where the step begins.": Q / P * at_ends**2,
        })
    names = ("no mode", "modes with P = Q", "all modes")
    need(chosen(exact_for, names, "exact_for") == names[1], "for which P does your slope vanish at "
         "every angle? And for which others?")


@exercise(
    "make-it-odd", kind="build", difficulty=2, minutes=20, identities=("P5",),
    right="The other half, [D(x) + D(−x)]/2, is what the symmetry forbids. How would you use its "
          "size to judge a trained network?")
def make_it_odd(odd_part, odd):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 4, 4))

    def denoiser(x, alpha_bar):  # operators that every framework has
        return alpha_bar * x + (1 - alpha_bar) * x**2 + 0.3 * x**3 + 0.5 + 0.1 * x.mean()

    seen = odd_part(denoiser) if callable(odd_part) else odd_part
    need(callable(seen), "`odd_part` must be a function that returns a denoiser, a function too.")
    for alpha_bar in (0.2, 0.9):
        right = alpha_bar * x + 0.3 * x**3 + 0.1 * x.mean()
        got = ask(seen, x=x, alpha_bar=alpha_bar)
        there, mirrored = denoiser(x, alpha_bar), denoiser(-x, alpha_bar)
        compare(got, right, what="the denoiser", tested=f"alpha_bar = {alpha_bar}", mistakes={
            "This is the even part: it does not change its sign with x.": (there + mirrored) / 2,
            "This is twice the odd part; an odd denoiser would come out doubled.":
                there - mirrored,
            "The sign is reversed.": -right,
            "This is the denoiser as it was.": there,
            "This is −D(−x): odd denoisers stay, but others do not become odd.": -mirrored,
            "The denoiser at 0 is taken away; terms such as x² are still there.":
                there - denoiser(0 * x, alpha_bar),
        })
    names = ("K*x + 1", "tanh(K*x)", "x²", "M x", "M x²", "x |M|", "h² x")
    kind = "`odd` must be a list of names from " + ", ".join(map(repr, names)) + "."
    need(isinstance(odd, list | tuple | set | frozenset) and set(map(str, odd)) <= set(names), kind)
    hints = {"K*x + 1": "the constant does not change its sign", "x²": "a square is even",
             "M x": "both factors change their sign"}
    for name in names:
        if name in hints:
            need(name not in odd, f"`{name}` is not odd: {hints[name]}.")
        else:
            need(name in odd, "a velocity is missing that is odd, too: count the factors of each "
                 "product that change their sign with x.")


@exercise(
    "field-by-weights", kind="derive", difficulty=2, minutes=25, identities=("P6",),
    right="This is how Monte Carlo of one temperature or field is read at another. What would help "
          "for larger fields: more samples at B = 0, or chains at several B?")
def field_by_weights(in_field, fails_first):
    rng = np.random.default_rng(0)
    for N, B, scale in ((256, 0.01, 0.8), (64, -0.05, 0.2), (4096, 0.9, 0.5)):
        M = scale * rng.normal(size=400)
        log_w = B * N * M
        log_p = log_w - logsumexp(log_w)
        right = np.array([np.sum(np.exp(log_p) * M), math.exp(-logsumexp(2 * log_p)) / len(M)])
        with np.errstate(all="ignore"):
            got = array(parts(ask(in_field, M=M, N=N, B=B), "⟨M⟩", "effective sample size / n"))
        need(np.all(np.isfinite(got)), f"with N = {N}, B = {B} not a finite number comes out: the "
             "exponents are in the thousands. What is common to all weights cancels.")
        without_v, wrong_sign = (each - logsumexp(each) for each in (B * M, -log_w))
        compare(got, right, what="⟨M⟩ and the effective sample size / n",
                tested=f"N = {N}, B = {B}", mistakes={
            "The effective sample size is not divided by n.": right * [1, len(M)],
            "The field couples to the sum over all sites, which is N M.":
                np.array([np.sum(np.exp(without_v) * M),
                          math.exp(-logsumexp(2 * without_v)) / len(M)]),
            "The sign of the field is reversed: −B Σ x is added to the action, and the weight is "
            "e^{−S}.": np.array([np.sum(np.exp(wrong_sign) * M),
                                 math.exp(-logsumexp(2 * wrong_sign)) / len(M)]),
            "This is the mean of M without weights.": np.array([M.mean(), right[1]]),
            "The two numbers are exchanged.": right[::-1],
        })
    names = ("16 × 16", "64 × 64", "both at the same B")
    need(chosen(fails_first, names, "fails_first") == names[1], "the exponent is B N M. How does "
         "its spread depend on N, if that of M is √(χ₂/N)?")


@exercise(
    "four-log-z", kind="explore", difficulty=2, minutes=20, identities=("P6",),
    right="B and C need not agree for a bad model: which of them is then too low, as a rule?")
def four_log_z(estimates, meaning):
    rng = np.random.default_rng(0)
    for n, m, shift in ((500, 300, 190.0), (40, 80, -900.0)):
        log_w, log_v = shift + 0.7 * rng.normal(size=n), shift + 0.5 + 0.7 * rng.normal(size=m)
        right = np.array([logsumexp(log_w) - math.log(n), math.log(m) - logsumexp(-log_v),
                          log_v.mean() - log_w.mean()])
        other = logsumexp(log_v) - math.log(m)
        with np.errstate(all="ignore"):
            got = array(parts(ask(estimates, log_w=log_w, log_v=log_v), "log Z from q",
                              "log Z from p", "sum of both divergences"))
        need(np.all(np.isfinite(got)), f"with log weights near {shift:g} not a finite number comes "
             "out: e to this power is 0 or infinite in a computer.")
        compare(got, right, what="the estimates, nats", tested=f"{n} and {m} weights",
                mistakes={
            "The second one averages w over p; what has the mean 1/Z over p is 1/w.":
                np.array([right[0], other, right[2]]),
            "The first one is the mean of log w: a lower bound.":
                np.array([log_w.mean(), right[1], right[2]]),
            "The second one is the mean of log w over p: an upper bound.":
                np.array([right[0], log_v.mean(), right[2]]),
            "The sign of the sum of the divergences is reversed; it is never negative for many "
            "samples.": right * [1, 1, -1],
            "The two estimates of log Z are exchanged.": right[[1, 0, 2]],
            "The third one is the difference of the two estimates of log Z; both divergences are "
            "in the means of log w.": np.array([right[0], right[1], right[1] - right[0]]),
            "The logarithms of the numbers of samples are missing.":
                np.add(right, [math.log(n), -math.log(m), 0]),
        })
    verdicts_of(meaning, ("log Z", "lower bound", "upper bound"),
                ("lower bound", "log Z", "log Z", "upper bound"), "meaning",
                ("Is the mean of a logarithm the logarithm of the mean (Jensen)?",
                 "What is ⟨w⟩_q?", "What is ⟨1/w⟩_p?",
                 "This averages w over p, and not over q: use the inequality that is given."))
