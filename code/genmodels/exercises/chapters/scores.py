"""Tests of the answers in the chapter on scores, flows and guidance."""

import math

import numpy as np
from scipy.integrate import quad, solve_ivp
from scipy.special import logsumexp
from scipy.stats import norm

from genmodels.exact.mixture import GaussianMixture
from genmodels.exercises.compare import (
    agree,
    array,
    ask,
    ask_drawing,
    compare,
    name_mistake,
    need,
    number,
)
from genmodels.exercises.registry import exercise

__all__ = ["flow_log_likelihood", "guided_ode_variance", "langevin_step_bias",
           "mixture_noisy_score", "reverse_drift_eta"]


@exercise(
    "mixture-noisy-score", kind="build", difficulty=2, minutes=20, identities=("D1", "D4"),
    right="By (D4) this is also the best denoiser of the mixture. What does it estimate between "
          "two means, and what far from both?")
def mixture_noisy_score(answer):
    rng = np.random.default_rng(0)
    n, M, d, level = 5, 3, 4, 0.6
    weights = np.array([0.2, 0.7, 0.1])
    means, variances = 0.9 * rng.normal(size=(M, d)), np.array([0.3, 1.4, 0.08])
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
            tested="n = 5, M = 3, d = 4, ᾱ = 0.6", mistakes={
        "The sign is reversed: the score points to where the density is higher.": -right,
        "The components' scores are averaged with the weights; that takes the responsibilities, "
        "which depend on x.": mistaken(average=lambda r: np.tile(weights, (n, 1))),
        "The components' scores are summed; they are averaged with the responsibilities.":
            mistaken(average=np.ones_like),
        "This is the score of the nearest component alone.":
            mistaken(average=lambda r: np.eye(M)[r.argmax(axis=1)]),
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
    for n, M, d, level in ((4, 4, 1, 0.25), (3, 2, 3, 0.9)):  # other sizes and levels
        given = {"alpha_bar": level, "weights": rng.dirichlet(np.ones(M)),
                 "means": 2 * rng.normal(size=(M, d)), "variances": rng.gamma(2.0, 0.4, size=M)}
        x = 2 * rng.normal(size=(n, d))
        compare(ask(answer, x=x, **given), exact(x, **given), what="the score",
                tested=f"n = {n}, M = {M}, d = {d}, ᾱ = {level}")
    far = np.array([[70.0, -50.0], [0.1, 0.2], [-300.0, 20.0]])
    given = {"alpha_bar": 0.97, "weights": np.array([0.6, 0.4]),
             "means": np.array([[1.0, 0.5], [-1.0, 0.2]]), "variances": np.array([0.04, 0.05])}
    compare(ask(answer, x=far, **given), exact(far, **given), what="the score",
            tested="points far away, ᾱ = 0.97")
    given |= {"alpha_bar": 0.3, "weights": np.ones(1), "means": np.array([[2.0]]),
              "variances": np.array([0.5])}
    compare(ask(answer, x=np.array([[0.7]]), **given), exact(np.array([[0.7]]), **given),
            what="the score", tested="n = M = d = 1")


S2, CHAINS = 0.6, 20_000  # `variance` and `num_chains` of the setup cell


@exercise(
    "langevin-step-bias", kind="explore", difficulty=2, minutes=20,
    right="How many steps does a chain need to forget its start, at the smallest and at the "
          "largest of the three step sizes? Halving the bias costs twice the steps.")
def langevin_step_bias(langevin, limit):
    s = math.sqrt(S2)

    def ends(delta, steps, seed, factor=1.0, scale=None, score=-1 / S2, fixed=False):
        """The chains for one order of drawing: a number for each chain, step after step."""
        rng, x = np.random.default_rng(seed), np.zeros(CHAINS)
        scale = math.sqrt(2 * delta) if scale is None else scale
        noise = rng.standard_normal(CHAINS) if fixed else None
        for _ in range(steps):
            noise = noise if fixed else rng.standard_normal(CHAINS)
            x = x + factor * delta * score * x + scale * noise
        return x

    def variance(delta, steps):
        v = 0.0
        for _ in range(steps):
            v = (1 - delta / S2) ** 2 * v + 2 * delta
        return v

    for seed, (delta, steps) in enumerate([(0.2, 2), (0.05, 8), (0.9, 3), (0.3, 40)]):
        rng = np.random.default_rng(seed)
        asked = {"step_size": delta, "num_steps": steps, "rng": rng}
        got = array(ask_drawing(langevin, **asked)[0] if seed < 2 else ask(langevin, **asked))
        tested = f"δ = {delta}, {steps} steps"
        need(got.shape == (CHAINS,), f"tested with {tested}: the result has shape {got.shape}, "
             f"expected {(CHAINS,)}, the ends of `num_chains` chains.")
        need(np.all(np.isfinite(got)), f"tested with {tested}: there are chains that are not "
             "finite. The drift must climb the density, towards 0.")
        need(np.ptp(got) > 0, f"tested with {tested}: all chains end at {got[0]:.4g}. Add noise in "
             "every step, other noise for each chain.")
        right = variance(delta, steps)
        # five standard errors of a variance and of a mean of independent chains
        if (abs(got.var() - right) > 5 * math.sqrt(2 / CHAINS) * right
                or abs(got.mean()) > 5 * math.sqrt(right / CHAINS)):
            name_mistake(got, f"tested with {tested}: ", {
                "The noise has standard deviation √δ; Langevin's has √(2δ).":
                    ends(delta, steps, seed, scale=math.sqrt(delta)),
                "The noise has standard deviation 2δ, without the root.":
                    ends(delta, steps, seed, scale=2 * delta),
                "The noise has standard deviation √2 δ: the root belongs to both factors.":
                    ends(delta, steps, seed, scale=math.sqrt(2) * delta),
                "Drift and noise are those of half the step size.":
                    ends(delta, steps, seed, factor=0.5, scale=math.sqrt(delta)),
                "The drift is half of what it must be.": ends(delta, steps, seed, factor=0.5),
                "The drift must climb the density, towards 0.":
                    ends(delta, steps, seed, score=1 / S2),
                "The score of N(0, s²) is not −x: the chains sample another density.":
                    ends(delta, steps, seed, score=-1.0),
                "The score has s where s² belongs.": ends(delta, steps, seed, score=-1 / s),
                "The score is multiplied by s²; it is divided by it.":
                    ends(delta, steps, seed, score=-S2),
                "The same noise is added in every step; draw anew in each.":
                    ends(delta, steps, seed, fixed=True),
                "This is one step too few.": ends(delta, steps - 1, seed),
                "This is one step too many.": ends(delta, steps + 1, seed),
            })
            need(False, f"tested with {tested}: the chains have mean {got.mean():.4g} and variance "
                 f"{got.var():.5g}, and that is not right.")
        # independent draws: five standard errors of a correlation of neighbours
        need(abs(np.corrcoef(got[1:], got[:-1])[0, 1]) < 5 / math.sqrt(CHAINS),
             f"tested with {tested}: neighbouring chains are correlated. Each has its own noise.")
    compare(number(limit, "`limit`"), 2 * S2, what="`limit`", tested=f"s² = {S2}", mistakes={
        "At this step the mean goes to 0 at once, and the variance stays finite.": S2,
        "This has s where s² belongs.": 2 * s,
        "This is the inverse: a narrow density needs small steps.": 2 / S2,
        "At this step size the variance is too large, but it does not grow.": S2 / 2,
        "The limit has the unit of a variance; this is its square root.": math.sqrt(2 * S2),
        "This step size is far beyond the limit.": 4 * S2,
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
