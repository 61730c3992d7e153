"""Tests of the answers in the chapter on samplers."""

import math

import numpy as np
from scipy.special import logsumexp
from scipy.stats import norm

from genmodels import diffusion
from genmodels.exact.mixture import GaussianMixture
from genmodels.exercises.compare import ask, chosen, compare, need, number
from genmodels.exercises.registry import exercise

__all__ = ["ddim_shrinks", "hot_reverse_sde", "mixture_noisy_score", "reverse_drift_eta",
           "wells_in_a_field"]


@exercise(
    "mixture-noisy-score", kind="build", difficulty=2, minutes=20, identities=("D1", "D4"),
    right="By (D4) this is also the best denoiser of the mixture. What does it estimate between "
          "two means, and what far from both?")
def mixture_noisy_score(answer):
    rng = np.random.default_rng(0)
    n, K, d, level = 5, 3, 4, 0.6
    weights = np.array([0.2, 0.7, 0.1])
    means, variances = 0.9 * rng.normal(size=(K, d)), np.array([0.3, 1.4, 0.08])
    given = {"alpha_bar": level, "weights": weights, "means": means, "variances": variances}
    x = 0.8 * rng.normal(size=(n, d))

    def exact(x, alpha_bar, weights, means, variances):
        covs = variances[:, None, None] * np.eye(means.shape[1])
        return GaussianMixture(weights, means, covs).noisy(alpha_bar).score(x)

    signal, log_w = math.sqrt(level), np.log(weights)

    def mistaken(root=signal, spread=None, log_weights=log_w, power=d / 2, average=None):
        v = level * variances + 1 - level if spread is None else spread
        offsets = x[:, None] - root * means
        logs = log_weights - power * np.log(v) - np.sum(offsets**2, axis=2) / (2 * v)
        r = np.exp(logs - logsumexp(logs, axis=1, keepdims=True))
        r = r if average is None else average(r)
        return -np.einsum("nm,nmd->nd", r, offsets / v[:, None])

    right = exact(x, **given)
    compare(ask(answer, x=x, **given), right, what="the score",
            tested="n = 5, K = 3, d = 4, ᾱ = 0.6", mistakes={
        "The sign is reversed: the score points to where the density is higher.": -right,
        "The components' scores are averaged with the weights; that takes the responsibilities, "
        "which depend on x.": mistaken(average=lambda r: np.tile(weights, (n, 1))),
        "The components' scores are summed; they are averaged with the responsibilities.":
            mistaken(average=np.ones_like),
        "This is the score of the nearest component alone.":
            mistaken(average=lambda r: np.eye(K)[r.argmax(axis=1)]),
        "The responsibilities lack the weights.": mistaken(log_weights=0.0),
        "The responsibilities lack the normalisation of the components.": mistaken(power=0),
        "The normalisation of a component has the power of one dimension.": mistaken(power=0.5),
        "The normalisation of a component is the power −d of σ, not of σ².":
            mistaken(power=d),
        "The means are scaled by ᾱ; x_t contains √ᾱ x_0.": mistaken(root=level),
        "The means are those of the data; the noisy ones are smaller.": mistaken(root=1.0),
        "This is the score of the data; x is noisy.":
            mistaken(root=1.0, spread=variances),
        "The variances lack that of the noise.": mistaken(spread=level * variances),
        "The variances of the data are not scaled by ᾱ.": mistaken(spread=variances + 1 - level),
        "The variance of the noise is 1 − ᾱ, not its square root.":
            mistaken(spread=level * variances + math.sqrt(1 - level)),
        "The variances of the data are scaled by √ᾱ; they scale with its square.":
            mistaken(spread=math.sqrt(level) * variances + 1 - level),
        "This divides by standard deviations where variances belong.":
            mistaken(spread=np.sqrt(level * variances + 1 - level)),
    })
    for n, K, d, level in ((4, 4, 1, 0.25), (3, 2, 3, 0.9)):  # other sizes and levels
        given = {"alpha_bar": level, "weights": rng.dirichlet(np.ones(K)),
                 "means": 2 * rng.normal(size=(K, d)), "variances": rng.gamma(2.0, 0.4, size=K)}
        x = 2 * rng.normal(size=(n, d))
        compare(ask(answer, x=x, **given), exact(x, **given), what="the score",
                tested=f"n = {n}, K = {K}, d = {d}, ᾱ = {level}")
    far = np.array([[70.0, -50.0], [0.1, 0.2], [-300.0, 20.0]])
    given = {"alpha_bar": 0.97, "weights": np.array([0.6, 0.4]),
             "means": np.array([[1.0, 0.5], [-1.0, 0.2]]), "variances": np.array([0.04, 0.05])}
    compare(ask(answer, x=far, **given), exact(far, **given), what="the score",
            tested="points far away, ᾱ = 0.97")
    given |= {"alpha_bar": 0.3, "weights": np.ones(1), "means": np.array([[2.0]]),
              "variances": np.array([0.5])}
    compare(ask(answer, x=np.array([[0.7]]), **given), exact(np.array([[0.7]]), **given),
            what="the score", tested="n = K = d = 1")


@exercise(
    "wells-in-a-field", kind="derive", difficulty=2, minutes=20, identities=("D1",),
    right="At which noise level does a sampler of such data decide for a class, and would it help "
          "to start Langevin steps at the level at which the second well appears?")
def wells_in_a_field(number_of_wells, birth):
    x = np.linspace(-6, 6, 24_001)[:, None]

    def counted(weight, m, s2, alpha_bar):
        noisy = GaussianMixture([weight, 1 - weight], [[m], [-m]], np.full((2, 1, 1), s2)).noisy(
            alpha_bar)
        force = np.sign(noisy.score(x)[:, 0])
        force = force[force != 0]
        return int(np.sum((force[:-1] > 0) & (force[1:] < 0)))

    cases = [(0.503, 1.0, 0.05, 0.3), (0.503, 1.0, 0.05, 0.7), (0.8, 1.0, 0.05, 0.6),
             (0.8, 1.0, 0.05, 0.9), (0.02, 2.0, 0.3, 0.3), (0.02, 2.0, 0.3, 0.6),
             (0.3, 0.5, 0.6, 0.9), (0.97, 1.5, 0.1, 0.5), (0.97, 1.5, 0.1, 0.8),
             (0.503, 3.0, 1.0, 0.05), (0.503, 3.0, 1.0, 0.3),
             # fields of 0.8, 1.2, 0.6 and 1.3 times the one at which a well disappears
             (0.56, 1.0, 0.05, 0.6), (0.59, 1.0, 0.05, 0.6), (0.68, 1.0, 0.05, 0.7),
             (0.82, 1.0, 0.05, 0.7)]
    right = np.array([counted(*case) for case in cases])
    got = np.array([number(ask(number_of_wells, weight=w, m=m, s2=s2, alpha_bar=a), "the number")
                    for w, m, s2, a in cases])
    symmetric = np.array([1 + (a * m**2 > a * s2 + 1 - a) for w, m, s2, a in cases])
    compare(got, right, what="the number of wells",
            tested="(weight, m, s2, alpha_bar) = " + ", ".join(map(str, cases[:4])) + ", …",
            mistakes={
        "This is the condition for equal weights; a field makes one of the wells shallower.":
            symmetric,
        "This counts the wells of the data; the noise closes some of them.":
            np.array([counted(*case[:3], 1.0) for case in cases]),
        "This is the number of classes; their densities overlap.": np.full(len(cases), 2),
        "These are all points without force; one of three is the top of the barrier.":
            2 * right - 1,
        "The noise is taken into the distance of the classes, but not into their variance.":
            np.array([1 + (a * m**2 > s2) for w, m, s2, a in cases]),
    })
    names = ("pitchfork", "fold")
    need(chosen(birth, names, "birth") == names[1], "with unequal weights no symmetry is left that "
         "could break. Draw the density just before and just after the second well is there: is "
         "it at the place of the first?")


@exercise(
    "ddim-shrinks", kind="derive", difficulty=2, minutes=25, identities=("D4",),
    right="In y and r the exact path of a Gaussian is a hyperbola, y ∝ √(s² + r²). How far off is "
          "Euler's method if r falls by the same factor in each step?")
def ddim_shrinks(ddim_variance, verdict):
    def gaussian(s2):
        return lambda x, a: math.sqrt(a) * s2 / (a * s2 + 1 - a) * x

    def ancestral(s2, alpha_bars):
        steps, variance = diffusion.NoiseSchedule(alpha_bars), 1.0
        for t in range(steps.num_steps, 0, -1):
            x0_hat = gaussian(s2)(np.ones(1), steps.alpha_bar(t))
            slope, noise = steps.posterior_moments(x0_hat, np.ones(1), t)
            variance = slope[0] ** 2 * variance + noise
        return variance

    for s2, T in ((0.2, 10), (3.0, 6), (1.0, 4), (0.5, 1)):
        levels = diffusion.NoiseSchedule.linear(T)
        alpha_bars = np.array([levels.alpha_bar(t) for t in range(1, T + 1)])
        slope = diffusion.ddim(gaussian(s2), levels, np.ones(1))[0]
        without_last = slope / gaussian(s2)(1.0, alpha_bars[0])
        got = number(ask(ddim_variance, s2=s2, alpha_bars=alpha_bars), "the variance")
        compare(got, slope**2, what="the variance", tested=f"s² = {s2}, T = {T}", mistakes={
            "This is the standard deviation.": abs(slope),
            "This is the variance of the data, or that of infinitely many steps.": s2,
            "This is the variance of x_1: the last step, to ᾱ_0 = 1, is missing.":
                without_last**2,
            "This is the variance of ancestral sampling; DDIM adds no noise.":
                ancestral(s2, alpha_bars),
        })
    names = ("too small", "too large", "too small for s² < 1, too large for s² > 1")
    need(chosen(verdict, names, "verdict") == names[0], "not for every s² and T. In the variables "
         "y and r the exact path is y ∝ √(s² + r²): on which side of this curve do its tangents "
         "lie?")


@exercise(
    "hot-reverse-sde", kind="explore", difficulty=2, minutes=15, identities=("D6",),
    right="With the exact score such mistakes show in the variance. With a trained network they "
          "look like a network that is badly trained: test a sampler on a Gaussian first.")
def hot_reverse_sde(physics, variance, missing):
    names = ("kicks without their friction", "friction without its kicks", "a bath too cold")
    need(chosen(physics, names, "physics") == names[0], "compare the program with both lines of "
         "(D6), the drift with one and the noise with the other.")
    total = 0.1 + 9.95  # the integral of β
    compare(number(variance, "`variance`"), 1 + total, what="`variance`",
            tested="data N(0, 1)", relative=1e-3, named_within=1e-3, mistakes={
        "This is the variance of the right program.": 1.0,
        "The variance of the start is missing.": total,
        "This is β(1) instead of the integral of β.": 21.0,
        "This is the standard deviation.": math.sqrt(1 + total),
        "The noise of a step has variance β dτ, not half of it.": 1 + total / 2,
        "The noise of a step has variance β dτ, not twice that.": 1 + 2 * total,
    })
    compare(number(missing, "`missing`"), 0.5, what="`missing`", tested="the program", mistakes={
        "That would be the whole term of the SDE; the program has half of it.": 1.0,
        "The sign is reversed: the program steps against τ, along the score.": -0.5,
        "With the score of the program alone nothing would be repaired.": 0.0,
    })


@exercise(
    "reverse-drift-eta", kind="derive", difficulty=2, minutes=20, identities=("D6",),
    right="Your f agrees with the motion of the distribution function of a mixture. Which η would "
          "you choose with 20 steps of Euler's method, and which with a poor score?")
def reverse_drift_eta(answer):
    weights, means, variance = np.array([0.35, 0.65]), np.array([0.9, -1.1]), 0.2

    def level(tau):
        return math.exp(-0.1 * tau - 9.95 * tau**2)

    def distribution(x, tau):
        a = level(tau)
        sd = math.sqrt(a * variance + 1 - a)
        return norm.cdf((x - math.sqrt(a) * means) / sd) @ weights

    h = 1e-4
    for tau, eta, columns in ((0.3, 0.6, 1), (0.3, 0.0, 1), (0.12, 1.0, 2), (0.45, 2.0, 3)):
        x, beta = np.linspace(-2, 1.7, 6)[:, None], 0.1 + 19.9 * tau
        noisy = GaussianMixture(weights, means[:, None], np.full((2, 1, 1), variance)).noisy(
            level(tau))
        score, density = noisy.score(x), np.exp(noisy.log_density(x))
        # In one dimension the flow carries the quantiles: v = −(∂F/∂τ)/q, by central differences.
        flow = -((distribution(x, tau + h) - distribution(x, tau - h)) / (2 * h) / density)
        # independent components with this density, in as many dimensions as there are columns
        x, score, flow = (each.reshape(-1, columns) for each in (x, score, flow))
        # In backward time the Fokker-Planck equation has the diffusion ½ η² β ∂²q/∂x².
        right = flow - 0.5 * eta**2 * beta * score
        ode, linear = -0.5 * beta * (x + score), -0.5 * beta * x
        mistakes = {
            "Every sign is reversed: this is the factor of −dτ.": -right,
            "The sign of the score is reversed.": 2 * linear - right,
            "The sign of the term with x is reversed: it is that of the forward SDE, as τ is.":
                right - 2 * linear,
            "The factor ½ is missing in both terms.": 2 * right,
            "The factor ½ of the term with x is missing.": right + linear,
            "This is the drift of the ODE; noise must be compensated by more of the score.": ode,
            "This is the drift of the SDE, η = 1, for every η.": linear - beta * score,
            "This has η where η² belongs: the variance of the noise counts.":
                linear - 0.5 * beta * (1 + eta) * score,
            "The noise is compensated twice: diffusion has a factor ½.":
                linear - beta * (0.5 + eta**2) * score,
            "The part of the score that stays without noise is missing.":
                linear - 0.5 * beta * eta**2 * score,
            "The noise needs more of the score in backward time, not less.":
                linear - 0.5 * beta * (1 - eta**2) * score,
            "This has √β where β belongs.": right / math.sqrt(beta),
            "The score is missing: this is the forward drift.": linear,
        }
        got = ask(answer, x=x, score=score, beta=beta, eta=eta)
        # of the central differences: h² times a third derivative of F over a density
        compare(got, right, what="f", tested=f"β = {beta:.2f}, η = {eta:g}, x {x.shape}",
                mistakes=mistakes, error=1e-5)
