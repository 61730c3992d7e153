"""Tests of the answers in the chapter on hierarchical VAEs and diffusion."""

import numpy as np
from scipy.stats import norm

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
    show,
)
from genmodels.exercises.registry import exercise

__all__ = ["ancestral_width", "denoising_sum_estimate", "forward_jump", "posterior_any_step",
           "two_layer_elbo"]

# two-layer-elbo ---------------------------------------------------------------------------------


def chain_left_side(x, decoder, encoder):
    """log p(x) and the left-hand side of (H1), each (n,), from the joint Gaussian."""
    a1, v1, a0, v0 = decoder
    b1, u1, b2, u2 = encoder
    mix = np.array([[np.sqrt(v1), a1, 0.0], [0.0, 1.0, 0.0],
                    [a0 * np.sqrt(v1), a0 * a1, np.sqrt(v0)]])  # (h_1, h_2, x) from N(0, I)
    cov = mix @ mix.T
    gain = cov[:2, 2] / cov[2, 2]
    post_cov = cov[:2, :2] - np.outer(gain, cov[:2, 2])
    up = np.array([[np.sqrt(u1), 0.0], [b2 * np.sqrt(u1), np.sqrt(u2)]])
    log_p = norm.logpdf(x, 0, np.sqrt(cov[2, 2]))
    gap = np.array([gaussian.kl_divergence([b1 * value, b2 * b1 * value], up @ up.T, gain * value,
                                           post_cov) for value in x])
    return log_p, log_p - gap


def chain_terms(x, decoder, encoder, spread=1.0):
    """E_Q of log p(x|h_1), log p(h_1|h_2), log p(h_2), log Q(h_1|x), log Q(h_2|h_1), each (n,).

    By quadrature; with spread = 0, at the means of h_1 and h_2.
    """
    a1, v1, a0, v0 = decoder
    b1, u1, b2, u2 = encoder
    nodes, weights = np.polynomial.hermite_e.hermegauss(3)  # exact: the logarithms are quadratic
    z1, z2 = (spread * z.ravel() for z in np.meshgrid(nodes, nodes))
    weights = np.outer(weights, weights).ravel() / weights.sum() ** 2
    h1 = b1 * x[:, None] + np.sqrt(u1) * z1
    h2 = b2 * h1 + np.sqrt(u2) * z2
    logs = (norm.logpdf(x[:, None], a0 * h1, np.sqrt(v0)), norm.logpdf(h1, a1 * h2, np.sqrt(v1)),
            norm.logpdf(h2), norm.logpdf(h1, b1 * x[:, None], np.sqrt(u1)),
            norm.logpdf(h2, b2 * h1, np.sqrt(u2)))
    return [log @ weights for log in logs]


@exercise(
    "two-layer-elbo", kind="derive", difficulty=2, minutes=20, identities=("H1",),
    right="It was compared with log p(x) minus the divergence of Q from the posterior. A diffusion "
          "model has T layers and the same sum, with an encoder that is not learned.")
def two_layer_elbo(answer):
    x = np.array([0.7, -1.4, 2.3, 0.2])
    decoder, encoder = (0.8, 0.35, 1.3, 0.6), (0.45, 0.25, 0.7, 0.55)
    a1, v1, _, _ = decoder
    b1, u1, b2, u2 = encoder
    log_p, expected = chain_left_side(x, decoder, encoder)
    data, step, prior, q1, q2 = chain_terms(x, decoder, encoder)
    at_means = sum(chain_terms(x, decoder, encoder, spread=0.0)[:3])
    swapped = [(a, v**2, b, w**2) for a, v, b, w in (decoder, encoder)]
    apart = u1 + a1**2 * (b2**2 * u1 + u2) + ((1 - a1 * b2) * b1 * x) ** 2
    independent = -0.5 * (np.log(2 * np.pi * v1) + apart / v1)
    half_log = 0.5 * np.log(2 * np.pi)
    got = ask(answer, x=x, decoder=decoder, encoder=encoder)
    compare(got, expected, what="the ELBO, nats", tested="four values of x", mistakes={
        "The terms of the encoder have the wrong sign: −log Q is averaged.":
            data + step + prior + q1 + q2,
        "The terms of the encoder are missing.": data + step + prior,
        "The term of Q(h_2|h_1) is missing.": data + step + prior - q1,
        "The term of Q(h_1|x) is missing.": data + step + prior - q2,
        "The term of the prior p(h_2) is missing.": data + step - q1 - q2,
        "The term of p(h_1|h_2) is missing.": data + prior - q1 - q2,
        "The term of the data, p(x|h_1), is missing.": step + prior - q1 - q2,
        "This is −ELBO, a loss.": -expected,
        "This is log p(x); the ELBO is lower, by the divergence of Q from the posterior.": log_p,
        "This puts the means of h_1 and h_2 into log p; the mean of a square also contains a "
        "variance.": at_means - q1 - q2,
        "This averages as if h_1 and h_2 were independent under Q; h_2 depends on h_1.":
            data + independent + prior - q1 - q2,
        "This takes h_2 for a variable of variance u_2 only; the variance of h_1 reaches it too.":
            data + step + prior + 0.5 * b2**2 * u1 - q1 - q2,
        "A summand ½ log 2π is missing: there are three such constants in p and two in Q.":
            expected + half_log,
        "Three summands ½ log 2π are missing.": expected + 3 * half_log,
        "The entropies of the encoder are too small by ½ each: the exponent of Q has a mean, too.":
            expected - 1,
        "This is the mean over the examples: return one number for each.": expected.mean(),
        "This is the sum over the examples: return one number for each.": expected.sum(),
        "This takes the given variances for standard deviations.":
            chain_left_side(x, *swapped)[1],
    })
    x, decoder, encoder = np.array([-3.1, 0.9]), (-0.6, 1.7, 2.1, 0.2), (1.4, 0.9, -1.2, 2.6)
    compare(ask(answer, x=x, decoder=decoder, encoder=encoder),
            chain_left_side(x, decoder, encoder)[1], what="the ELBO, nats",
            tested="other values, of which some are negative or above 1")
    a1, v1, a0, v0 = 1.2, 0.5, 0.7, 0.3
    prior_var = a1**2 + v1  # of h_1
    data_var = a0**2 * prior_var + v0
    posterior = a0 * prior_var / data_var, v0 * prior_var / data_var, a1 / prior_var, v1 / prior_var
    compare(ask(answer, x=x, decoder=(a1, v1, a0, v0), encoder=posterior),
            norm.logpdf(x, 0, np.sqrt(data_var)), what="the ELBO, nats",
            tested="an encoder that is the exact posterior, where the ELBO is log p(x)")


# forward-jump -----------------------------------------------------------------------------------


@exercise(
    "forward-jump", kind="build", difficulty=1, minutes=10, identities=("D1",),
    right="One line of the training loop of every diffusion model, with a time for each example. "
          "It was compared with steps taken one by one.")
def forward_jump(answer):
    rng = np.random.default_rng(0)
    alphas = rng.uniform(0.6, 0.95, size=7)
    factor, variance = [1.0], [0.0]
    for alpha in alphas:  # step by step
        factor.append(np.sqrt(alpha) * factor[-1])
        variance.append(alpha * variance[-1] + 1 - alpha)
    factor, variance = np.array(factor), np.array(variance)

    def test(t, tested):
        x0, noise = rng.normal(1, 1, size=(len(t), 3)), rng.normal(size=(len(t), 3))

        def mix(share, rest):
            return share[:, None] * x0 + rest[:, None] * noise

        m, v = factor[t], variance[t]
        alpha, later = alphas[t - 1], np.minimum(t + 1, len(alphas))
        compare(ask(answer, x0=x0, noise=noise, t=t, alphas=alphas), mix(m, np.sqrt(v)),
                what="x_t", tested=tested, mistakes={
            "This has α_t, of the last step alone, where ᾱ_t, the product, belongs.":
                mix(np.sqrt(alpha), np.sqrt(1 - alpha)),
            "Off by one: this is x_{t+1}. Which element of the array belongs to t = 1?":
                mix(factor[later], np.sqrt(variance[later])),
            "Off by one: this is x_{t−1}. Which element of the array belongs to t = 1?":
                mix(factor[t - 1], np.sqrt(variance[t - 1])),
            "Both roots are missing: ᾱ_t is a share of the variance.": mix(m**2, v),
            "The noise is multiplied by a variance; it needs a standard deviation.": mix(m, v),
            "The root of the data's factor is missing.": mix(m**2, np.sqrt(v)),
            "The factors of data and noise are exchanged.": mix(np.sqrt(v), m),
            "The noise of the last step alone is added; that of the earlier ones is missing.":
                mix(m, np.sqrt(1 - alpha)),
            "The noise is subtracted. Its density is the same, but this is not the asked sample.":
                mix(m, -np.sqrt(v)),
            "All examples got the time of the first one.":
                mix(np.full(len(t), m[0]), np.full(len(t), np.sqrt(v[0]))),
            "This is the mean of x_t, without noise.": mix(m, 0 * v),
        })

    test(np.array([3, 1, 6, 2, 4]), "t = [3, 1, 6, 2, 4], T = 7, d = 3")
    test(np.array([7, 1, 5, 7]), "t = [7, 1, 5, 7], T = 7, d = 3")
    test(np.array([6, 2, 1]), "t = [6, 2, 1], T = 7, n = d = 3")
    alphas = np.array([0.999, 0.98, 0.9, 0.5])
    factor = np.sqrt(np.array([1.0, 0.999, 0.999 * 0.98, 0.999 * 0.98 * 0.9,
                               0.999 * 0.98 * 0.9 * 0.5]))
    variance = 1 - factor**2
    test(np.array([1, 4, 3, 2, 4, 1]), "t = [1, 4, 3, 2, 4, 1], T = 4, d = 3")


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
                f"The noise has the variance {'σ_t²' if wide else '1 − α_t'}; with wide = {wide} "
                f"{'1 − α_t' if wide else 'σ_t²'} is asked for.":
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
         "contradicts what it gives with σ_t². Which part of the variance does σ_t² leave out?")
