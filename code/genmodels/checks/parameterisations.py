"""Tests of the answers in the chapter on parameterisations."""

import numpy as np

from genmodels import diffusion
from genmodels.exercises import ask, compare, exercise, need, parts, show, to_numpy
from genmodels.mixture import GaussianMixture

# predictions-from-v -----------------------------------------------------------------------------


@exercise(
    "predictions-from-v", kind="build", difficulty=1, minutes=15, identities=("D4",),
    right="The U-Net of the chapter on digits puts out v; every sampler needs one of these three. "
          "Find out which of them an error of v enlarges, and at which noise level.")
def predictions_from_v(answer):
    rng = np.random.default_rng(0)
    for n, d in ((5, 3), (3, 3)):
        alpha_bar = rng.uniform(0.15, 0.9, size=n)
        x0, noise = rng.normal(size=(2, n, d))
        # D1 by an angle: ᾱ = cos²
        angle = np.arccos(np.sqrt(alpha_bar))[:, None]
        a, s = np.cos(angle), np.sin(angle)
        xt, v = a * x0 + s * noise, a * noise - s * x0
        score = (a * x0 - xt) / s**2  # the gradient of the logarithm of the kernel
        a2, s2 = a**2, s**2
        got = parts(ask(answer, v=v, xt=xt, alpha_bar=alpha_bar), "the estimate of x_0",
                    "that of the noise", "that of the score")
        tested = f"n = {n}, d = {d}"
        compare(got[0], x0, what="the estimate of x_0", tested=tested, mistakes={
            "The sign of v is wrong: with x_t = a x_0 + s ε and a v, the noise must cancel.":
                a * xt + s * v,
            "This is −x_0.": -x0,
            "This is the noise: the order is x_0, noise, score.": noise,
            "Roots are missing: ᾱ and 1 − ᾱ are used where √ᾱ and √(1 − ᾱ) belong.":
                a2 * xt - s2 * v,
            "√ᾱ and √(1 − ᾱ) are exchanged.": s * xt - a * v,
            "This takes v for the noise.": (xt - s * v) / a,
            "This divides by √ᾱ what is x_0 already.": x0 / a,
        })
        compare(got[1], noise, what="the estimate of the noise", tested=tested, mistakes={
            "The sign of v is wrong: with x_t = a x_0 + s ε and v, the data must cancel.":
                s * xt - a * v,
            "This is −ε.": -noise,
            "Roots are missing: ᾱ and 1 − ᾱ are used where √ᾱ and √(1 − ᾱ) belong.":
                s2 * xt + a2 * v,
            "√ᾱ and √(1 − ᾱ) are exchanged.": a * xt + s * v,
            "This is x_t less the data; it still has the factor of the noise.": s * noise,
            "This is the score: the order is x_0, noise, score.": score,
        })
        compare(got[2], score, what="the score", tested=tested, mistakes={
            "The sign is wrong: the score points to where the density grows, against the noise.":
                -score,
            "This divides by 1 − ᾱ; a root is missing.": -noise / s2,
            "This divides by 1 − ᾱ, a root is missing, and so is the sign.": noise / s2,
            "This is −ε: the factor of the noise level is missing.": -noise,
            "This multiplies by √(1 − ᾱ) where it should divide.": -noise * s,
            "This divides by √ᾱ; the noise has another factor.": -noise / a,
            "This is the score of N(0, I), whatever v is.": -xt,
        })


# denoiser-of-a-data-set -------------------------------------------------------------------------


@exercise(
    "denoiser-of-a-data-set", kind="build", difficulty=2, minutes=20, identities=("D4",),
    right="This is what a network would be at the minimum of its training loss. That it generates "
          "anything new is due to its not getting there.")
def denoiser_of_a_data_set(answer):
    rng = np.random.default_rng(0)
    data, xt, alpha_bar = rng.normal(size=(6, 2)), rng.normal(size=(4, 2)), 0.4
    # The same data as a mixture of Gaussians of variance 1e-10, whose denoiser conditions each.
    narrow = GaussianMixture(np.full(6, 1 / 6), data, np.full((6, 1, 1), 1e-10) * np.eye(2))
    expected, error = narrow.denoiser(xt, alpha_bar), 1e-8  # their variance is 1e-10
    a, s2 = np.sqrt(alpha_bar), 1 - alpha_bar

    def average(centre=a, variance=s2, power=2.0, axis=1, points=data):
        squares = np.sum((xt[:, None] - centre * data) ** 2, axis=2) ** (power / 2)
        weights = np.exp(-0.5 * squares / variance)
        return weights / weights.sum(axis=axis, keepdims=True) @ points

    squares = np.sum((xt[:, None] - a * data) ** 2, axis=2)
    got = ask(answer, xt=xt, data=data, alpha_bar=alpha_bar)
    compare(got, expected, what="E[x_0|x_t]", tested="6 points, n = 4, d = 2, ᾱ = 0.4", error=error,
            mistakes={
        "The kernel has its mean at √ᾱ y_i, not at y_i.": average(centre=1.0),
        "The kernel has its mean at √ᾱ y_i; this has ᾱ y_i.": average(centre=alpha_bar),
        "The exponent has √(1 − ᾱ) where the variance belongs.": average(variance=np.sqrt(s2)),
        "The exponent has the square of the variance.": average(variance=s2**2),
        "The ½ in the exponent is missing.": average(variance=s2 / 2),
        "The exponent has ᾱ where the variance of the noise belongs.":
            average(variance=alpha_bar),
        "The exponent has no variance.": average(variance=1.0),
        "The exponent has the distance where its square belongs.": average(power=1.0),
        "The weights are normalised over the noisy points; they must sum to 1 over the data.":
            average(axis=0),
        "This is the mean of √ᾱ y_i: of the data in x_t, not of x_0.": average(points=a * data),
        "This is the mean of all the data, whatever x_t is.":
            np.tile(data.mean(axis=0), (4, 1)),
        "This is the nearest point; the mean has weights.": data[squares.argmin(axis=1)],
        "The weights are not normalised.": np.exp(-0.5 * squares / s2) @ data,
        "The sign of the exponent is wrong: far points get the large weights.":
            average(variance=-s2),
        "This is E[ε|x_t], not E[x_0|x_t].": (xt - a * expected) / np.sqrt(s2),
        "This is the score.": (a * expected - xt) / s2,
    })
    data = rng.normal(size=(7, 3))
    xt = 0.9 * data[[4, 1, 6, 1, 2]] + 0.02 * rng.normal(size=(5, 3))
    got = ask(answer, xt=xt, data=data, alpha_bar=1 - 1e-6)
    compare(got, data[[4, 1, 6, 1, 2]], what="E[x_0|x_t]",
            tested="1 − ᾱ = 1e-6, where one point has all the weight")


# second-order-tweedie ---------------------------------------------------------------------------


@exercise(
    "second-order-tweedie", kind="derive", difficulty=3, minutes=25, identities=("D4",),
    right="It was compared with the covariance of a mixture of Gaussians, found by conditioning. "
          "Its trace is the least squared error that any denoiser can have at this point.")
def second_order_tweedie(answer):
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(3, 2, 2))
    data = GaussianMixture([0.2, 0.3, 0.5], rng.normal(size=(3, 2)),
                           factors @ factors.swapaxes(1, 2) + 0.2 * np.eye(2))
    for alpha_bar in (0.7, 0.35):
        a, s2 = np.sqrt(alpha_bar), 1 - alpha_bar
        noisy = data.noisy(alpha_bar)
        xt = noisy.sample(4, rng)
        r = noisy.responsibilities(xt)  # (n, 3)
        precisions = np.linalg.inv(noisy.covs)
        scores = -np.einsum("mij,nmj->nmi", precisions, xt[:, None] - noisy.means)
        mean_score = np.einsum("nm,nmi->ni", r, scores)
        hessian = (np.einsum("nm,nmi,nmj->nij", r, scores, scores)
                   - np.einsum("nm,mij->nij", r, precisions)
                   - np.einsum("ni,nj->nij", mean_score, mean_score))
        # The posterior is a mixture, too: condition each of its Gaussians, without the Hessian.
        gains = a * data.covs @ precisions  # (3, 2, 2)
        means = data.means + np.einsum("mij,nmj->nmi", gains, xt[:, None] - noisy.means)
        within = data.covs - a * gains @ data.covs
        mean = np.einsum("nm,nmi->ni", r, means)
        expected = (np.einsum("nm,nmi,nmj->nij", r, means, means)
                    + np.einsum("nm,mij->nij", r, within) - np.einsum("ni,nj->nij", mean, mean))
        eye = np.eye(2)
        bracket = eye + s2 * hessian
        compare(ask(answer, hessian=hessian, alpha_bar=alpha_bar), expected,
                what="the covariance", tested=f"a mixture in 2 dimensions, ᾱ = {alpha_bar}",
                mistakes={
            "This is the derivative of x̂_0; the covariance is proportional to it.": bracket / a,
            "A power of √ᾱ is missing in the denominator.": s2 / a * bracket,
            "There is no ᾱ in the denominator.": s2 * bracket,
            "A factor 1 − ᾱ is missing: with little noise, little is uncertain.":
                bracket / alpha_bar,
            "The root of 1 − ᾱ is taken in front: a covariance has the unit of x_0².":
                np.sqrt(s2) / alpha_bar * bracket,
            "The identity is missing; it is the derivative of x_t itself.":
                s2**2 / alpha_bar * hessian,
            "The identity is missing, and the sign is wrong.": -(s2**2) / alpha_bar * hessian,
            "The sign of the Hessian is wrong.": s2 / alpha_bar * (eye - s2 * hessian),
            "The Hessian has the factor √(1 − ᾱ); (D4) has no root there.":
                s2 / alpha_bar * (eye + np.sqrt(s2) * hessian),
            "The Hessian has no factor; in (D4) the score has one.":
                s2 / alpha_bar * (eye + hessian),
            "1 was added to every element, where the identity matrix belongs.":
                s2 / alpha_bar * (1 + s2 * hessian),
            "This is the inverse of minus the Hessian: that is the covariance of a Gaussian x_t.":
                np.linalg.inv(-hessian),
            "This is the trace: return the whole matrix.":
                np.trace(expected, axis1=1, axis2=2),
            "ᾱ and 1 − ᾱ are exchanged.": alpha_bar / s2 * (eye + alpha_bar * hessian),
        })
    got = ask(answer, hessian=-np.eye(3)[None], alpha_bar=0.6)
    compare(got, 0.4 * np.eye(3)[None], what="the covariance",
            tested="data N(0, I) in 3 dimensions, whose Hessian is −I, ᾱ = 0.6")


# continuous-time-weights ------------------------------------------------------------------------


@exercise(
    "continuous-time-weights", kind="derive", difficulty=2, minutes=20, identities=("D5",),
    right="It was compared with a short step of the sum in (D5). The simple loss has the weight 1 "
          "for the noise in place of the first function: where does it care less?")
def continuous_time_weights(answer):
    tau, h = np.array([0.15, 0.32, 0.55, 0.71, 0.88]), 1e-5

    def level(at):
        return np.cos(np.pi * at / 2) ** 2

    def snr(at):
        return level(at) / (1 - level(at))

    of_x0 = 0.5 * (snr(tau - h) - snr(tau + h)) / (2 * h)  # the sum of (D5): a step over its width
    ratios = {}  # squared errors for an error 1 of x̂_0
    for wanted in ("noise", "v"):
        zero, one = (np.array([diffusion.convert([value], [0.7], at, given="x0", wanted=wanted)[0]
                               for at in level(tau)]) for value in (0.0, 1.0))
        ratios[wanted] = (one - zero) ** 2
    noise, v = of_x0 / ratios["noise"], of_x0 / ratios["v"]
    rate = (level(tau - h) - level(tau + h)) / (2 * h)  # −dᾱ/dτ
    pair = parts(ask(answer, tau=tau), "w_ε", "w_v")
    tested, error = "τ = [0.15, 0.32, 0.55, 0.71, 0.88]", 1e-6  # of the differences: h² and eps/h
    compare(pair[0], noise, what="w_ε", tested=tested, error=error, mistakes={
        "A factor ½ is missing.": 2 * noise,
        "A factor ½ is too many, or log SNR was taken for half of itself.": noise / 2,
        "The sign is wrong: the SNR falls with τ, and a weight is positive.": -noise,
        "The sign is wrong, and a factor ½ is missing.": -2 * noise,
        "This is the weight of the error of x_0.": of_x0,
        "This is the derivative of the SNR, the weight of the error of x_0 without ½.": 2 * of_x0,
        "This multiplies the weight of x_0's error by the SNR; the larger error gets the smaller "
        "weight.": of_x0 * ratios["noise"],
        "This is the weight of the error of v: w_ε comes first.": v,
        "This is the weight for a uniform log SNR; here τ is uniform.": np.full(5, 0.5),
        "This is −½ dᾱ/dτ; the weight has the derivative of the SNR.": rate / 2,
        "This is the simple loss: weight 1.": np.ones(5),
        "This is the log SNR itself, not its derivative.": np.log(snr(tau)),
    })
    compare(pair[1], v, what="w_v", tested=tested, error=error, mistakes={
        "A factor ½ is missing.": 2 * v,
        "This is the weight of the noise's error.": noise,
        "This is the weight of the error of x_0.": of_x0,
        "This multiplies the weight of x_0's error by 1 + SNR where it should divide.":
            of_x0 * ratios["v"],
        "This divides w_ε by ᾱ where it should multiply: the error of the noise is the smaller.":
            noise / level(tau),
        "w_ε is multiplied by √ᾱ; squared errors have the square of the factor.":
            noise * np.sqrt(level(tau)),
        "w_ε is multiplied by 1 − ᾱ; that factor belongs to the weight of x_0's error.":
            noise * (1 - level(tau)),
        "The sign is wrong: a weight is positive.": -v,
    })


# spread-the-times -------------------------------------------------------------------------------

FIRST, LAST, C, D = 6.0, -8.0, 0.5, 16  # as in the setup cell of the notebook
BATCH, REPEATS = 64, 2000


@exercise(
    "spread-the-times", kind="explore", difficulty=2, minutes=25, identities=("D5",),
    right="The gain costs nothing, and training uses it. It adds to that of a schedule with a low "
          "variance: try a log SNR that falls faster where the loss is small.")
def spread_the_times(means, variances):
    def level_mean(tau):
        """E[loss|τ]: the posterior variance of each component is 1/(SNR + 1/C)."""
        snr = np.exp(FIRST + (LAST - FIRST) * tau)
        return 0.5 * (FIRST - LAST) * snr * D / (snr + 1 / C)

    # |x_0 − x̂_0|² is a sum of D squares of Gaussians: variance 2/D times the square of its mean.
    grid = (np.arange(BATCH * 100) + 0.5) / (BATCH * 100)
    at_tau = level_mean(grid)
    mean, second = at_tau.mean(), np.mean(at_tau**2)
    over_shifts = at_tau.reshape(BATCH, 100).mean(axis=0)  # mean of a batch's level means, by u
    inside = 2 / D * second / BATCH
    expected = np.array([inside + (second - mean**2) / BATCH, inside + over_shifts.var()])
    same = inside + second - mean**2  # all times of a batch equal
    both = []
    for value, what in ((means, "means"), (variances, "variances")):
        array = to_numpy(value, what)
        need(not isinstance(array, tuple | dict) and array.shape == (2,),
             f"{what} must be an array of two numbers, first for independent times, then for "
             "spread ones.")
        need(np.all(np.isfinite(array)), f"{what} must be finite, got {show(array)}.")
        both.append(array.astype(float))
    got_means, got_variances = both
    # The relative standard error of a variance of REPEATS numbers, nearly Gaussian.
    relative = 5 * np.sqrt(2 / REPEATS)
    need(abs(got_variances[1] - same) > relative * same, "the variance with spread times is "
         f"{show(got_variances[1])} nats². All times of a batch are the same: u was not spread by "
         "i.")
    for i, which in enumerate(("independent", "spread")):
        compare(got_means[i], mean, what=f"the mean with {which} times, nats",
                relative=5 * np.sqrt(expected[i] / REPEATS) / mean, mistakes={
            "A factor ½ is missing.": 2 * mean,
            "The sign is wrong: the SNR falls.": -mean,
            "The derivative of the log SNR with respect to τ is missing.": mean / (FIRST - LAST),
            "The weight lacks the SNR itself: the derivative is that of the SNR, not of its "
            "logarithm.": 0.5 * (FIRST - LAST) * np.mean(
                D / (np.exp(FIRST + (LAST - FIRST) * grid) + 1 / C)),
            "This is the mean over the components; the squared error is their sum.": mean / D,
            "This is the sum over the batch; the batch's loss is the mean.": mean * BATCH,
        })
    for i, which in enumerate(("independent", "spread")):
        compare(got_variances[i], expected[i], what=f"the variance with {which} times, nats²",
                relative=relative, mistakes={
            "This is the variance of one sample; asked is that of a batch's mean.":
                expected[0] * BATCH,
            "This is the variance of one sample at its own time: spread times act on a whole "
            "batch.": inside * BATCH,
            "This is a standard deviation.": np.sqrt(expected[i]),
            "This is the variance of the mean over all batches; asked is that of one batch.":
                expected[i] / REPEATS,
            "This is the variance of the sum over the batch.": expected[i] * BATCH**2,
            "This is the variance of independent times.": expected[0],
            "This is the variance of spread times.": expected[1],
        })
