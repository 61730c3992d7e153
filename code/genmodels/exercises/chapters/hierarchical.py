"""Tests of the answers in the chapter on hierarchical VAEs and diffusion."""

import numpy as np
from scipy.special import logsumexp

from genmodels.diffusion import NoiseSchedule
from genmodels.exact import gaussian
from genmodels.exercises.compare import (
    array,
    ask,
    ask_drawing,
    compare,
    name_mistake,
    need,
    number,
    parts,
    scalar,
    show,
)
from genmodels.exercises.registry import exercise

__all__ = ["ancestral_width", "chain_work", "denoising_sum_estimate", "noise_too_fast",
           "posterior_any_step"]

# chain-work -------------------------------------------------------------------------------------


@exercise(
    "chain-work", kind="explore", difficulty=2, minutes=20, identities=("H1",),
    right="Free energies from simulations pulled fast are estimated so, and meet the same two "
          "errors. Try a variance of 1: which estimate would you trust there?")
def chain_work(free_energy, closest):
    rng = np.random.default_rng(0)
    for work, tested in ((rng.normal(3.0, 2.0, size=12), "12 works of about 3 nats"),
                         (rng.normal(-1.0, 0.7, size=5), "5 works of about −1 nat"),
                         (rng.normal(5000.0, 3.0, size=40), "40 works of about 5000 nats"),
                         # exp(W_1 − W_s) of 10^339 at most: it overflows, 10^−339 may underflow
                         (np.array([5000.0, 4220.0, 5780.0]), "works of 4220 to 5780 nats")):
        n, mean, variance = len(work), work.mean(), work.var(ddof=1)
        jarzynski = np.log(n) - logsumexp(-work)
        upside_down = logsumexp(work) - np.log(n)
        got = parts(ask(free_energy, work=work), "the estimate by Jarzynski", "the mean work",
                    "the estimate near equilibrium")
        compare(scalar(got[0]), jarzynski, what="the estimate by Jarzynski, nats", tested=tested,
                mistakes={
            "This is log p(x); F has the other sign.": -jarzynski,
            "This is the sum of the weights, where their mean belongs.": jarzynski - np.log(n),
            "The weight of a path is exp(−W); this averages exp(+W).": upside_down,
            "This is the mean work: the logarithm of a mean is not the mean of the logarithms.":
                mean,
            "This is the smallest work.": work.min(),
            "This is the mean of the weights; F is minus its logarithm.": np.exp(-jarzynski),
        })
        compare(scalar(got[1]), mean, what="the mean work, nats", tested=tested, mistakes={
            "This is the ELBO, which is minus the mean work.": -mean,
            "This is the dissipated work, the difference of the first two.": mean - jarzynski,
            "This is the median of the works.": np.median(work),
            "This is the sum of the works.": work.sum(),
        })
        compare(scalar(got[2]), mean - variance / 2, what="the estimate near equilibrium, nats",
                tested=tested, mistakes={
            "The sign of the variance is wrong: the mean work is too high.": mean + variance / 2,
            "A factor ½ is missing.": mean - variance,
            "This has the standard deviation where the variance belongs.":
                mean - np.sqrt(variance) / 2,
            "The variance has n in its denominator, where n − 1 is asked for.":
                mean - work.var() / 2,
            "This is the dissipated work; subtract it from the mean work.": variance / 2,
            "The variance is subtracted from the first estimate; it belongs to the mean work.":
                jarzynski - variance / 2,
        })
    choices = ("jarzynski", "mean work", "near equilibrium")
    need(isinstance(closest, str) and closest in choices,
         f"the prediction must be one of {', '.join(choices)}.")
    draws = np.random.default_rng(1).normal(0, 6, size=(200, 1000))  # F = −18
    mean = draws.mean(axis=1)
    estimates = (np.log(1000) - logsumexp(-draws, axis=1), mean, mean - draws.var(axis=1) / 2)
    typical = {choice: np.median(np.abs(each + 18)) for choice, each in zip(choices, estimates)}
    need(closest == min(typical, key=typical.get), f"the estimates are right, but the prediction "
         f"{closest!r} is not: in 200 trials its error was {typical[closest]:.1f} nats in the "
         "median, and another one was closer. How many standard deviations below the mean are the "
         "works that dominate E[exp(−W)]?")


# noise-too-fast ---------------------------------------------------------------------------------


@exercise(
    "noise-too-fast", kind="explore", difficulty=2, minutes=15, identities=("D1",),
    right="With the linear schedule and T = 1000 this program leaves almost nothing of the data "
          "after 150 steps. Trust no noise process before its correlation has been measured.")
def noise_too_fast(program_snr, reveals):
    rng = np.random.default_rng(0)
    for alphas in (rng.uniform(0.8, 0.97, size=6), rng.uniform(0.9, 0.99, size=4)):
        factor, variance, snr = 1.0, 0.0, []
        for t in range(len(alphas)):  # pass by pass
            level = np.prod(alphas[:t + 1])
            factor, variance = np.sqrt(level) * factor, level * variance + 1 - level
            snr.append(factor**2 / variance)
        snr = np.array(snr)
        left, right = snr / (1 + snr), np.cumprod(alphas)
        compare(ask(program_snr, alphas=alphas), snr, what="the SNR", mistakes={
            "This is the SNR that (D1) asks for; the program has another one.": right / (1 - right),
            "This is the SNR of each step alone.": alphas / (1 - alphas),
            "This is the factor of x_0 over the standard deviation; the SNR is its square.":
                np.sqrt(snr),
            "The factor of x_0 is squared in an SNR, and it is the root of a product.":
                np.sqrt(left) / (1 - left),
            "This is the share of the data in the variance; the SNR divides it by the rest.": left,
            "This is log SNR.": np.log(snr),
            "This is the noise-to-signal ratio.": 1 / snr,
            "This is the SNR after the last pass: return one number for each.": snr[-1],
            "Only the noise of the last pass is counted; that of the earlier ones remains.":
                left / (1 - right),
        }, tested=f"T = {len(alphas)}")
    choices = ("mean", "variance", "correlation")
    need(isinstance(reveals, str) and reveals in choices,
         f"what reveals the mistake must be one of {', '.join(choices)}.")
    need(reveals == "correlation", f"the SNR is right, but the {reveals} of the results is the "
         "same as with the right program. Which of the three knows x_0?")


# posterior-any-step -----------------------------------------------------------------------------


def moments_back(x0, xt, now, before, alpha):
    """The formula of (D2) for any three numbers: right only if alpha = now/before."""
    return ((np.sqrt(before) * (1 - alpha) * x0 + np.sqrt(alpha) * (1 - before) * xt) / (1 - now),
            (1 - alpha) * (1 - before) / (1 - now))


@exercise(
    "posterior-any-step", kind="derive", difficulty=2, minutes=20, identities=("D2",),
    right="With s = t − 1 it is (D2). A sampler may now jump from any level to any other; try how "
          "few steps a good denoiser needs.")
def posterior_any_step(answer):
    rng = np.random.default_rng(0)
    first = np.concatenate([[1.0], np.cumprod(rng.uniform(0.6, 0.9, size=6))])
    second = np.concatenate([[1.0], np.cumprod(rng.uniform(0.7, 0.99, size=9))])

    for s, t, alpha_bar, shape in ((2, 5, first, (4, 3)), (1, 6, first, (4, 3)),
                                   (3, 4, first, (2, 5)), (4, 9, second, (1, 2))):
        x0, xt = rng.normal(size=(2, *shape))
        mean, variance = parts(ask(answer, x0=x0, xt=xt, s=s, t=t, alpha_bar=alpha_bar),
                               "the mean", "the variance")
        # (x_s, x_t) given x_0 is a Gaussian in two dimensions: condition it.
        link = np.prod(np.sqrt(alpha_bar[s + 1:t + 1] / alpha_bar[s:t]))
        spread_s = 1 - alpha_bar[s]
        gain = link * spread_s / (1 - alpha_bar[t])
        expected = np.sqrt(alpha_bar[s]) * x0 + gain * (xt - np.sqrt(alpha_bar[t]) * x0)
        expected_variance = spread_s - gain * link * spread_s
        now, before = alpha_bar[t], alpha_bar[s]
        alpha = now / before
        one = moments_back(x0, xt, now, alpha_bar[t - 1], now / alpha_bar[t - 1])
        early = moments_back(x0, xt, alpha_bar[t - 1], alpha_bar[s - 1],
                             alpha_bar[t - 1] / alpha_bar[s - 1])
        of_step = moments_back(x0, xt, now, before, now / alpha_bar[t - 1])
        of_bar = moments_back(x0, xt, now, before, now)
        tested = f"s = {s}, t = {t}"
        wrong_alpha = {
            "This steps back to t − 1, whatever s is.": one,
            "Off by one: it belongs to s − 1 and t − 1; alpha_bar[0] is that of the data.": early,
            "The α of the step from t − 1 to t is used; that of all steps from s to t is needed.":
                of_step,
            "This has ᾱ_t where the α of the steps from s to t belongs.": of_bar,
        }
        compare(mean, expected, what="the mean", tested=tested, mistakes={
            **{name: value[0] for name, value in wrong_alpha.items()},
            "The weights of x_0 and x_t are exchanged.":
                moments_back(xt, x0, now, before, alpha)[0],
            "The roots of both weights are missing.":
                (before * (1 - alpha) * x0 + alpha * (1 - before) * xt) / (1 - now),
            "This is the mean of q(x_s|x_0); it ignores x_t.": np.sqrt(before) * x0,
            "This is the bracket of the completed square; multiply it by the variance.":
                expected / expected_variance,
            "The denominator 1 − ᾱ_t is missing.": expected * (1 - now),
        })
        compare(number(variance, "the variance"), expected_variance, what="the variance",
                tested=tested, mistakes={
            "This is the standard deviation.": np.sqrt(expected_variance),
            **{name: value[1] for name, value in wrong_alpha.items() if value is not of_bar},
            "This is the variance of the steps up from s to t; going back, x_0 is known, too.":
                1 - alpha,
            "This is the variance of q(x_s|x_0); x_t tells more.": 1 - before,
            "This is the inverse variance.": 1 / expected_variance,
            "This is the square of the variance.": expected_variance**2,
            "The denominator 1 − ᾱ_t is missing.": expected_variance * (1 - now),
        })
    for t in (4, 1):
        x0, xt = rng.normal(size=(2, 4, 3))
        mean, variance = parts(ask(answer, x0=x0, xt=xt, s=0, t=t, alpha_bar=first),
                               "the mean", "the variance")
        compare(mean, x0, what="the mean", tested=f"s = 0, where x_s is x_0, and t = {t}")
        variance = number(variance, "the variance")  # 1 − ᾱ_0 = 0 exactly, in float32 within 1e-7
        need(abs(variance) < 1e-7, f"at s = 0 the variance must be 0, and is {show(variance)}.")


# denoising-sum-estimate -------------------------------------------------------------------------


@exercise(
    "denoising-sum-estimate", kind="derive", difficulty=2, minutes=20, identities=("D3",),
    right="The weights differ by orders of magnitude between the times of a real schedule: this "
          "estimate is noisy. The chapter on parameterisations says what to do about it.")
def denoising_sum_estimate(answer):
    rng = np.random.default_rng(0)
    for steps, d, t in ((6, 3, np.array([3, 5, 4, 2, 5])), (6, 3, np.array([6, 2, 6, 4])),
                        (9, 2, np.array([2, 9, 7]))):
        alpha_bar = np.concatenate([[1.0], np.cumprod(rng.uniform(0.7, 0.9, size=steps))])
        schedule, snr = NoiseSchedule(alpha_bar[1:]), alpha_bar[1:] / (1 - alpha_bar[1:])
        n = len(t)
        x0, x0_hat, xt = rng.normal(size=(3, n, d))
        terms = []  # by (K2) between the two Gaussians of each example
        for i in range(n):
            mean, variance = schedule.posterior_moments(x0[i], xt[i], int(t[i]))
            model_mean, _ = schedule.posterior_moments(x0_hat[i], xt[i], int(t[i]))
            cov = variance * np.eye(d)
            terms.append(gaussian.kl_divergence(mean, cov, model_mean, cov))
        terms = np.array(terms)
        expected = (steps - 1) * terms
        squares = ((x0 - x0_hat) ** 2).sum(axis=1)
        later, log_snr = np.minimum(t, steps - 1), np.log(snr)
        half = (steps - 1) / 2
        got = ask(answer, x0=x0, x0_hat=x0_hat, t=t, alpha_bar=alpha_bar)
        compare(got, expected, what="the estimate, nats",
                tested=f"t = {t.tolist()}, T = {steps}, d = {d}", mistakes={
            "A factor is missing: this is the term at t; the sum has T − 1 of them.": terms,
            "This counts T terms; the denoising terms begin at t = 2.": steps * terms,
            "A factor ½ is missing.": 2 * expected,
            "A factor ½ is missing, and the term at t stands for the sum.": 2 * terms,
            "The sign is reversed: a divergence is never negative.": -expected,
            "This is the mean over the components; the divergence sums over them.": expected / d,
            "This is the mean over the components of the term at t alone.": terms / d,
            "This is the mean over the examples: return one number for each.": expected.mean(),
            "This is the sum over the examples: return one number for each.": expected.sum(),
            "Off by one: this is the weight of t + 1.":
                half * (snr[t - 1] - snr[later]) * squares,
            "This has the differences of log SNR; the weight has those of the SNR itself.":
                half * (log_snr[t - 2] - log_snr[t - 1]) * squares,
            "This has SNR(t) where the difference of two SNRs belongs.":
                half * snr[t - 1] * squares,
            "This has the difference of two ᾱ where that of two SNRs belongs.":
                half * (alpha_bar[t - 1] - alpha_bar[t]) * squares,
            "This has no weight: it is the squared error, times a constant.": half * squares,
            "The squared error is a sum of squares, not its root.":
                half * (snr[t - 2] - snr[t - 1]) * np.sqrt(squares),
            "This is the weight of the noise's error; here the error of x_0 is given.":
                half * (snr[t - 2] - snr[t - 1]) / snr[t - 1] * squares,
        })


# ancestral-width --------------------------------------------------------------------------------

C, SAMPLES = 0.25, 20_000  # as in the setup cell of the notebook


def exact_width(num_steps, wide):
    """Variance of the samples over C: every step is linear, so variances are mapped."""
    schedule, spread = NoiseSchedule.linear(num_steps), 1.0
    for t in range(num_steps, 0, -1):
        level = schedule.alpha_bar(t)
        x0_hat = np.sqrt(level) * C / (level * C + 1 - level)  # at x_t = 1
        factor, variance = schedule.posterior_moments([x0_hat], [1.0], t)
        spread = factor[0] ** 2 * spread
        if t > 1:
            spread += 1 - schedule.alpha(t) if wide else variance
    return spread / C


def ancestral_samples(num_steps, wide, seed, last=1, quiet=1, power=0.5, other=None, start=1.0,
                      skipped=0):
    """The samples for one order of drawing: all the starts, then all the noise of a step.

    `last` is the t of the last step, `quiet` that up to which no noise is added, `skipped` the
    number of steps that are left out at the beginning.
    """
    rng, schedule = np.random.default_rng(seed), NoiseSchedule.linear(num_steps)
    x = start * rng.standard_normal(SAMPLES)
    for t in range(num_steps - skipped, last - 1, -1):
        level = schedule.alpha_bar(t)
        x0_hat = np.sqrt(level) * C * x / (level * C + 1 - level)
        x, variance = schedule.posterior_moments(x0_hat, x, t)
        if wide:
            variance = 1 - schedule.alpha(t)
        if wide and other:
            variance = other(schedule, t)
        if t > quiet:
            x = x + variance**power * rng.standard_normal(SAMPLES)
    return x


@exercise(
    "ancestral-width", kind="explore", difficulty=2, minutes=25, identities=("D2", "D3"),
    right="With the best denoiser the model is still not the data: its steps back are Gaussians of "
          "a fixed variance. Try C = 1, where one of the two variances is the true one.")
def ancestral_width(sample, prediction):
    # With one step the start is seen; with more it is forgotten.
    cases = [(3, False), (10, True), (2, False), (100, False), (30, True), (1, True)]
    for seed, (num_steps, wide) in enumerate(cases):
        asked = {"num_steps": num_steps, "wide": wide, "rng": np.random.default_rng(seed)}
        got = array(ask_drawing(sample, **asked)[0] if seed < 2 else ask(sample, **asked))
        head = f"tested with T = {num_steps}, wide = {wide}: "
        need(got.shape == (SAMPLES,), f"{head}the result has shape {got.shape}, expected "
             f"{(SAMPLES,)}, one number for each sample.")
        need(np.all(np.isfinite(got)), f"{head}there are samples that are not finite.")
        ratio, right = got.var() / C, exact_width(num_steps, wide)
        # five standard errors of a variance and of a mean of independent Gaussian numbers
        if (abs(ratio - right) > 5 * np.sqrt(2 / SAMPLES) * right
                or abs(got.mean()) > 5 * np.sqrt(right * C / SAMPLES)):
            def other(given=(num_steps, wide, seed), **settings):
                return ancestral_samples(*given, **settings)

            name_mistake(got, head, {
                "There is noise in the last step; it returns the mean.": other(quiet=0),
                "The noise is multiplied by a variance; it needs a standard deviation.":
                    other(power=1),
                "No noise is added in the steps.": other(quiet=num_steps),
                "The last step is missing: these are samples of x_1, not of x_0.": other(last=2),
                "The first step is missing: the chain begins with x_T, at t = T.": other(skipped=1),
                "No noise is added at t = 2; only the last step, t = 1, has none.": other(quiet=2),
                "The samples are divided by C; only their variance is.": other() / C,
                f"The noise has the variance {'β̃_t' if wide else '1 − α_t'}; with wide = {wide} "
                f"{'1 − α_t' if wide else 'β̃_t'} is asked for.":
                    other((num_steps, not wide, seed)),
                "There is 1 − ᾱ_t where 1 − α_t belongs.":
                    other(other=lambda schedule, t: 1 - schedule.alpha_bar(t)),
                "There is α_t where 1 − α_t belongs.":
                    other(other=lambda schedule, t: schedule.alpha(t)),
                "The chain starts with the variance of the data; x_T has the variance 1.":
                    other(start=np.sqrt(C)),
                "The chain starts at 0; x_T is random.": other(start=0.0),
            })
            need(False, f"{head}the samples have the mean {got.mean():.4g} and the variance "
                 f"{ratio:.4g} C, and that is not right.")
    need(isinstance(prediction, str) and prediction in ("narrower", "wider", "equal"),
         'the prediction must be one of "narrower", "wider" and "equal".')
    need(prediction == "narrower", f"the sampler is right, but the prediction {prediction!r} "
         "contradicts what it gives with β̃_t. Which part of the variance does β̃_t leave out?")
