"""Tests of the answers in the chapter on parameterisations."""

import numpy as np
from scipy.integrate import quad

from genmodels import diffusion
from genmodels.exact.mixture import GaussianMixture
from genmodels.exercises.compare import (
    array,
    ask,
    ask_drawing,
    compare,
    name_mistake,
    need,
    parts,
    scalar,
    show,
)
from genmodels.exercises.registry import exercise

__all__ = ["continuous_time_weights", "denoiser_of_a_data_set", "hidden_weights",
           "second_order_tweedie", "spread_the_times"]

FIRST, LAST, C, D = 6.0, -8.0, 0.5, 16  # as in the setup cell of the notebook
BATCH, REPEATS = 64, 500

# hidden-weights ---------------------------------------------------------------------------------


def weight(output, log_snr):
    """What the plain squared error of an output is in terms of the noise's, by `convert`."""
    alpha_bar = 1 / (1 + np.exp(-log_snr))
    zero, one = (diffusion.convert([value], [0.7], alpha_bar, given="noise", wanted=output)[0]
                 for value in (0.0, 1.0))
    return (one - zero) ** 2


def share(of_level, level):
    """Fraction of a weight between LAST and FIRST that lies above a level, by quadrature."""
    def integral(low):
        return quad(of_level, low, FIRST, epsabs=0, epsrel=1e-11, limit=200)[0]

    return integral(level) / integral(LAST)


@exercise(
    "hidden-weights", kind="explore", difficulty=2, minutes=20, identities=("D5",),
    right="A choice of output is a choice of loss, unless a weight corrects it. Which weight turns "
          "the loss of v into that of the ELBO?")
def hidden_weights(share_above, neglects):
    for level in (2.0, -3.0, -7.5):
        for output in ("x0", "noise", "v"):
            expected = share(lambda at, output=output: weight(output, at), level)
            wrong = {
                "This is the fraction below the level.": 1 - expected,
                "The ratio is upside down: this weights the noise's error by the factor that turns "
                "it into that of the output, inverted.":
                    share(lambda at, output=output: 1 / weight(output, at), level),
                "This is the weight itself, at the level; asked is the share of its integral.":
                    weight(output, level),
                "A squared error has the square of the factor that an error has.":
                    share(lambda at, output=output: np.sqrt(weight(output, at)), level),
            }
            if output == "v":
                wrong["The weight of v has e^{λ} where e^{−λ} belongs."] = share(
                    lambda at: 1 + np.exp(at), level)
                wrong["This is the weight e^{−λ} of the error of x_0, for v."] = share(
                    lambda at: np.exp(-at), level)
            if output != "noise":
                wrong["This is an even weight; only the error of the noise has it."] = (
                    (FIRST - level) / (FIRST - LAST))
            compare(scalar(ask(share_above, level=level, output=output)), expected,
                    what="the share", tested=f"λ = {level}, output {output!r}", mistakes=wrong)
    choices = ("x0", "noise", "v")
    need(isinstance(neglects, str) and neglects in choices,
         'what neglects details most must be one of "x0", "noise" and "v".')
    need(neglects == "x0", f"the shares are right, but {neglects!r} does not have the smallest one "
         "at high λ. Print them for λ = 2.")


# denoiser-of-a-data-set -------------------------------------------------------------------------


@exercise(
    "denoiser-of-a-data-set", kind="build", difficulty=2, minutes=25, identities=("D4",),
    right="This is what a network would be at the minimum of its training loss. That it generates "
          "anything new is due to its not getting there.")
def denoiser_of_a_data_set(answer, makes):
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
    data, xt, alpha_bar = 2 * rng.normal(size=(3, 4)), 2 * rng.normal(size=(6, 4)), 0.8
    narrow = GaussianMixture(np.full(3, 1 / 3), data, np.full((3, 1, 1), 1e-10) * np.eye(4))
    compare(ask(answer, xt=xt, data=data, alpha_bar=alpha_bar), narrow.denoiser(xt, alpha_bar),
            what="E[x_0|x_t]", tested="3 points, n = 6, d = 4, ᾱ = 0.8", error=1e-8)
    data = rng.normal(size=(7, 3))
    xt = 0.9 * data[[4, 1, 6, 1, 2]] + 0.02 * rng.normal(size=(5, 3))
    got = ask(answer, xt=xt, data=data, alpha_bar=1 - 1e-6)
    compare(got, data[[4, 1, 6, 1, 2]], what="E[x_0|x_t]",
            tested="1 − ᾱ = 1e-6, where one point has all the weight")
    need(isinstance(makes, str) and makes in ("copies", "new points", "mean"),
         'what the loop makes must be one of "copies", "new points" and "mean".')
    need(makes == "copies", f"the denoiser is right, but the loop does not make {makes!r}: where "
         "does the denoiser lead in the last steps, when 1 − ᾱ is small?")


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
    tau, h = np.array([0.08, 0.32, 0.55, 0.71, 0.94]), 1e-5

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
    pair = parts(ask(answer, tau=tau), "ω_ε", "ω_v")
    tested, error = "τ = [0.08, 0.32, 0.55, 0.71, 0.94]", 1e-6  # of the differences: h² and eps/h
    compare(pair[0], noise, what="ω_ε", tested=tested, error=error, mistakes={
        "A factor ½ is missing.": 2 * noise,
        "A factor ½ is too many, or log SNR was taken for half of itself.": noise / 2,
        "The sign is wrong: the SNR falls with τ, and a weight is positive.": -noise,
        "The sign is wrong, and a factor ½ is missing.": -2 * noise,
        "This is the weight of the error of x_0.": of_x0,
        "This is the derivative of the SNR, the weight of the error of x_0 without ½.": 2 * of_x0,
        "This multiplies the weight of x_0's error by the SNR; the larger error gets the smaller "
        "weight.": of_x0 * ratios["noise"],
        "This is the weight of the error of v: ω_ε comes first.": v,
        "This is the weight for a uniform log SNR; here τ is uniform.": np.full(5, 0.5),
        "This is −½ dᾱ/dτ; the weight has the derivative of the SNR.": rate / 2,
        "This is the simple loss: weight 1.": np.ones(5),
        "This is the log SNR itself, not its derivative.": np.log(snr(tau)),
    })
    compare(pair[1], v, what="ω_v", tested=tested, error=error, mistakes={
        "A factor ½ is missing.": 2 * v,
        "This is the weight of the noise's error.": noise,
        "This is the weight of the error of x_0.": of_x0,
        "This multiplies the weight of x_0's error by 1 + SNR where it should divide.":
            of_x0 * ratios["v"],
        "This divides ω_ε by ᾱ where it should multiply: the error of the noise is the smaller.":
            noise / level(tau),
        "ω_ε is multiplied by √ᾱ; squared errors have the square of the factor.":
            noise * np.sqrt(level(tau)),
        "ω_ε is multiplied by 1 − ᾱ; that factor belongs to the weight of x_0's error.":
            noise * (1 - level(tau)),
        "The sign is wrong: a weight is positive.": -v,
    })


# spread-the-times -------------------------------------------------------------------------------


@exercise(
    "spread-the-times", kind="explore", difficulty=2, minutes=25, identities=("D5",),
    right="The gain costs nothing, and training uses it. It adds to that of a schedule with a low "
          "variance: try a log SNR that falls faster where the loss is small.")
def spread_the_times(spread_times, batch_losses, prediction):
    tau = array(ask_drawing(spread_times, rng=np.random.default_rng(0))[0], "the times")
    need(tau.shape == (REPEATS, BATCH), f"the times have the shape {tau.shape}, expected "
         f"{(REPEATS, BATCH)}: a batch in a row.")
    i = np.arange(BATCH)
    place = np.sort(tau, axis=1) * BATCH - i  # u, of each time
    u = place.mean(axis=1)
    # of a time up to 1: 6e-8 in float32, 1e-16 in float64, and some of them
    rounding = BATCH * (1e-6 if tau.dtype.itemsize <= 4 else 1e-12)
    spread = np.ptp(place, axis=1).max() < rounding and np.all((tau >= 0) & (tau <= 1))
    if not spread:
        rng, again, each = (np.random.default_rng(0) for _ in range(3))
        drawn = rng.random((REPEATS, 1))
        name_mistake(tau, "", {
            "These times are independent; spread ones have a single u for the batch.":
                again.random((REPEATS, BATCH)),
            "Every time has a u of its own; there is a single one for the batch.":
                (each.random((REPEATS, BATCH)) + i) / BATCH,
            "All times of a batch are the same: i is missing.": drawn + 0 * i,
            "u is not divided by n: the times are those of (u + i)/n.": drawn + i / BATCH,
            "i runs from 0 to n − 1; here it runs from 1 to n.": (drawn + i + 1) / BATCH,
            "The times are divided by n − 1, not n.": (drawn + i) / (BATCH - 1),
        })
        need(False, f"the times of the first batch, sorted, begin with {show(np.sort(tau[0]))}, "
             "and they are not (u + i)/n with one u.")
    need(len(np.unique(u.round(9))) > 0.9 * REPEATS, "batches have the same u: draw one for each.")
    # Five standard errors of the mean and of the variance of uniform numbers: their fourth central
    # moment is 1/80.
    need(abs(u.mean() - 0.5) < 5 * np.sqrt(1 / 12 / REPEATS)
         and abs(u.var() - 1 / 12) < 5 * np.sqrt((1 / 80 - 1 / 144) / REPEATS),
         f"u has the mean {u.mean():.3f} and the variance {u.var():.4f}; it is not uniform on "
         "[0, 1).")

    # Batches with all times equal, at three places, and batches of different times.
    chosen = np.random.default_rng(1).random((REPEATS, BATCH))
    chosen[:300] = np.repeat([0.12, 0.45, 0.83], 100)[:, None]
    level_mean = 0.5 * (FIRST - LAST) * signal_to_noise(chosen) * D / (
        signal_to_noise(chosen) + 1 / C)  # the posterior variance of a component is 1/(SNR + 1/C)
    right = level_mean.mean(axis=1)
    # |x_0 − x̂_0|² is a sum of D squares of Gaussians: variance 2/D times the square of its mean.
    error = np.sqrt(2 / D * np.sum(level_mean**2, axis=1)) / BATCH
    got = array(ask_drawing(batch_losses, tau=chosen, rng=np.random.default_rng(2))[0],
                "the losses")
    need(got.shape == (REPEATS,), f"the losses have the shape {got.shape}, expected {(REPEATS,)}, "
         "one number for each batch.")
    need(np.all(np.isfinite(got)), "there are losses that are not finite.")
    z = ((got - right) / error).reshape(5, 100)
    # Five standard errors of the mean of 100 and of the variance of 100, which are nearly Gaussian
    if np.any(np.abs(z.mean(axis=1)) > 5 / np.sqrt(100)) or np.any(
            np.abs(z.var(axis=1) - 1) > 5 * np.sqrt(2 / 100)):
        samples = losses(chosen)
        in_usual_order = samples.mean(axis=1)
        name_mistake(got, "tested with given times: ", {
            "A factor ½ is missing.": 2 * in_usual_order,
            "The sign is wrong: the SNR falls.": -in_usual_order,
            "The derivative of the log SNR with respect to τ is missing.":
                in_usual_order / (FIRST - LAST),
            "The weight lacks the SNR itself: the derivative is that of the SNR, not of its "
            "logarithm.": (samples / signal_to_noise(chosen)).mean(axis=1),
            "This is the mean over the components; the squared error is their sum.":
                in_usual_order / D,
            "This is the sum over the batch; the batch's loss is the mean.":
                in_usual_order * BATCH,
            "This is the variance within a batch; asked is the mean of its samples.":
                samples.var(axis=1),
            "C is the variance of the data, not their standard deviation.":
                losses(chosen, data_std=C).mean(axis=1),
            "1 − ᾱ is the variance of the noise, not its standard deviation.":
                losses(chosen, power=1.0).mean(axis=1),
            "There is one noise for all components; each has its own.":
                losses(chosen, shared=True).mean(axis=1),
        })
        need(False, f"tested with batches at τ = 0.12, 0.45, 0.83: the losses have the means "
             f"{show(got[:300].reshape(3, 100).mean(axis=1))} and the standard deviations "
             f"{show(got[:300].reshape(3, 100).std(axis=1))}, and they are not right.")
    need(isinstance(prediction, str)
         and prediction in ("mean falls", "variance falls", "both fall"),
         'the prediction must be one of "mean falls", "variance falls" and "both fall".')
    need(prediction == "variance falls", f"the functions are right, but not the prediction "
         f"{prediction!r}. Every single time is uniform in both ways: what does that say of the "
         "mean?")


def signal_to_noise(tau):
    return np.exp(FIRST + (LAST - FIRST) * tau)


def losses(tau, data_std=C**0.5, power=0.5, shared=False):
    """The loss of each sample for one order of drawing: all the data, then all the noise."""
    rng, snr = np.random.default_rng(2), signal_to_noise(tau)
    level = (snr / (1 + snr))[..., None]
    x0 = data_std * rng.standard_normal((*tau.shape, D))
    noise = rng.standard_normal((*tau.shape, 1 if shared else D))
    xt = np.sqrt(level) * x0 + (1 - level) ** power * noise
    x0_hat = np.sqrt(level) * C / (level * C + 1 - level) * xt
    return 0.5 * (FIRST - LAST) * snr * np.sum((x0 - x0_hat) ** 2, axis=-1)
