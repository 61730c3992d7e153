"""Tests of the answers in the chapter on conditional VAEs."""

import math
import sys

import numpy as np
from scipy.special import expit, logsumexp
from scipy.stats import bernoulli

from genmodels.exact import gaussian
from genmodels.exact.linear_gaussian import LinearGaussian
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

__all__ = ["conditional_bound", "digit_without_label", "draw_answers", "regression_loses",
           "unseen_half"]


def like(value, sample):
    """Return an array as what `sample` is, of NumPy, torch or TensorFlow."""
    framework = type(sample).__module__.partition(".")[0]
    if framework == "torch":
        return sys.modules["torch"].tensor(value, dtype=sample.dtype)
    if framework == "tensorflow":
        return sys.modules["tensorflow"].constant(value, dtype=sample.dtype)
    return np.array(value)


def divergences(mean0, log_var0, mean1, log_var1):
    """Return the divergence of the rows of two diagonal Gaussians, from full covariances."""
    return np.array([gaussian.kl_divergence(m, np.diag(np.exp(v)), n, np.diag(np.exp(w)))
                     for m, v, n, w in zip(mean0, log_var0, mean1, log_var1)])


@exercise(
    "conditional-bound", kind="build", difficulty=2, minutes=15, identities=("B5",),
    right="Set the prior to N(0, I) and the divergence becomes (K3): a program for one kind of "
          "prior is a special case of the other.")
def conditional_bound(answer):
    rng = np.random.default_rng(0)
    n, d, k = 5, 7, 3
    y = (rng.random((n, d)) < 0.6).astype(float)
    logits = rng.normal(0.3, 1.5, size=(n, d))
    mean, log_var = rng.normal(size=(n, k)), rng.normal(-1, 0.7, size=(n, k))
    m, log_s2 = rng.normal(0.8, 1, size=(n, k)), rng.normal(0.4, 0.7, size=(n, k))
    log_likelihoods = bernoulli.logpmf(y, expit(logits))  # (n, d)
    likelihood, kl = log_likelihoods.sum(axis=1), divergences(mean, log_var, m, log_s2)
    expected = likelihood - kl

    def with_squares(squares):  # the bound with something else for (μ − m)²/s²
        return expected - 0.5 * np.sum(squares - (mean - m) ** 2 / np.exp(log_s2), axis=1)

    def bound(y, logits, m, log_s2):
        return ask(answer, y=y, logits=logits, mean=mean, log_var=log_var, prior_mean=m,
                   prior_log_var=log_s2)

    zero = np.zeros((n, k))
    compare(bound(y, logits, m, log_s2), expected, what="the bound, nats",
            tested="n = 5, d = 7, k = 3", mistakes={
        "The divergence is added; in the bound it is subtracted.": likelihood + kl,
        "This is the loss, −ELBO: the bound itself is asked for.": -expected,
        "This is the log-likelihood without the divergence.": likelihood,
        "This is the divergence from N(0, I). Here the prior is p(h|x).":
            likelihood - divergences(mean, log_var, zero, zero),
        "The divergence is reversed: this is that of the prior from Q.":
            likelihood - divergences(m, log_s2, mean, log_var),
        "A factor ½ is missing in the divergence.": likelihood - 2 * kl,
        "This takes log_var for log σ; it is log σ².":
            likelihood - divergences(mean, 2 * log_var, m, 2 * log_s2),
        "The mean of the divergence over the latent dimensions is taken; it sums over them.":
            likelihood - kl / k,
        "The mean of the log-likelihood over the pixels is taken; it sums over them.":
            likelihood / d - kl,
        "The −1 of every latent dimension is missing in the divergence.": expected - k / 2,
        "log σ² − log s² enters the divergence with the wrong sign.":
            expected - np.sum(log_var - log_s2, axis=1),
        "The ratio of the variances is upside down in the divergence.":
            expected - 0.5 * np.sum(np.exp(log_s2 - log_var) - np.exp(log_var - log_s2), axis=1),
        "The variances are divided, but the squared distance of the means is not divided by s².":
            with_squares((mean - m) ** 2),
        "The squared distance of the means is divided by the variance of Q, not of the prior.":
            with_squares((mean - m) ** 2 / np.exp(log_var)),
        "The squared distance of the means is divided by s, not s².":
            with_squares((mean - m) ** 2 / np.exp(log_s2 / 2)),
        "The prior's variance is used, but its mean is not: the distance is μ − m.":
            with_squares(mean**2 / np.exp(log_s2)),
        "The distance of the means is not squared.": with_squares((mean - m) / np.exp(log_s2)),
        "There is σ/s where σ²/s² belongs.": expected - 0.5 * np.sum(
            np.exp((log_var - log_s2) / 2) - np.exp(log_var - log_s2), axis=1),
        "Only white pixels count in the log-likelihood; black ones have log(1 − π).":
            np.sum(y * log_likelihoods, axis=1) - kl,
        "The log-likelihood has the wrong sign.": -likelihood - kl,
        "This is the mean over the examples: return one number for each.": expected.mean(),
        "This is the sum over the examples: return one number for each.": expected.sum(),
    })
    other = np.random.default_rng(1)
    y2, logits2 = (other.random((2, 4)) < 0.5).astype(float), other.normal(0, 4, size=(2, 4))
    given = [other.normal(0, 2, size=(2, 6)) for _ in range(4)]  # means and log variances
    compare(ask(answer, y=y2, logits=logits2, mean=given[0], log_var=given[1], prior_mean=given[2],
                prior_log_var=given[3]),
            bernoulli.logpmf(y2, expit(logits2)).sum(axis=1) - divergences(*given),
            what="the bound, nats", tested="n = 2, d = 4, k = 6")
    large = np.tile([[800.0, -800.0, 3.0]], (n, 1))
    for target, loss in (([1.0, 0.0, 1.0], 0.0), ([0.0, 0.0, 0.0], -803.0)):
        got = bound(np.tile([target], (n, 1)), large, m, log_s2)
        need(np.all(np.isfinite(got)),
             f"tested with logits of 800 and −800: the bound came out as {show(got)}. The sigmoid "
             "is rounded to 0 or 1 there; do not take its logarithm.")
        compare(got, np.full(n, loss - np.log1p(np.exp(-3.0))) - kl, what="the bound, nats",
                tested="logits [800, -800, 3]")
    compare(bound(y, logits, mean, log_var), likelihood, what="the bound, nats",
            tested="a prior that equals Q, where the divergence is 0",
            error=1e-6)  # summands of size 1 cancel, each with its rounding


@exercise(
    "unseen-half", kind="derive", difficulty=2, minutes=20, identities=("B4",),
    right="A linear-Gaussian model is a conditional VAE that needs no training. Let σ go to 0 "
          "with d_x ≥ k: the upper half then determines the lower.")
def unseen_half(answer):
    rng = np.random.default_rng(0)
    for d_x, d_y, k, std in ((2, 4, 3, 0.6), (3, 2, 1, 1.7), (5, 3, 2, 0.25)):
        W_x, W_y = rng.normal(size=(d_x, k)), rng.normal(size=(d_y, k))
        b_x, b_y = rng.normal(size=d_x), rng.normal(size=d_y)
        x = rng.normal(size=d_x) + b_x
        first, second = LinearGaussian(W_x, b_x, std), LinearGaussian(W_y, b_y, std)
        h_mean, h_cov = first.posterior(x)  # p(h|x), then through the decoder of y
        right_mean = second.decode(h_mean)
        signal, noise = W_y @ h_cov @ W_y.T, std**2 * np.eye(d_y)
        cov_xx, cov_yx = W_x @ W_x.T, W_y @ W_x.T

        def gain(noise_cov, cov_xx=cov_xx, cov_yx=cov_yx):
            return cov_yx @ np.linalg.pinv(cov_xx + noise_cov * np.eye(len(cov_xx)))

        mean, cov = parts(ask(answer, x=x, W_x=W_x, b_x=b_x, W_y=W_y, b_y=b_y, noise_std=std),
                          "the mean", "the covariance")
        tested = f"d_x = {d_x}, d_y = {d_y}, k = {k}, noise_std = {std}"
        compare(mean, right_mean, what="the mean of p(y|x)", tested=tested, mistakes={
            "This is the mean of p(y): x plays no part.": b_y,
            "b_x is not subtracted from x.": b_y + gain(std**2) @ x,
            "b_y is missing.": right_mean - b_y,
            "There is σ where σ² belongs in the covariance of x.": b_y + gain(std) @ (x - b_x),
            "The noise of x is missing in its covariance: x is not trusted completely.":
                b_y + gain(0) @ (x - b_x),
            "The covariance of x is taken to be σ²I, without W_x W_xᵀ.":
                b_y + cov_yx @ (x - b_x) / std**2,
            "The covariance of x is not inverted: the gain is Σ_yx times its inverse.":
                b_y + cov_yx @ (cov_xx + std**2 * np.eye(d_x)) @ (x - b_x),
            "The covariance of x is missing in the gain.": b_y + cov_yx @ (x - b_x),
            "The correction by x has the wrong sign.": 2 * b_y - right_mean,
        })
        cov_right = signal + noise
        compare(cov, cov_right, what="the covariance of p(y|x)", tested=tested, mistakes={
            "This is the covariance of the decoder's mean W_y h + b_y: the noise of y itself is "
            "missing.": signal,
            "There is σ where σ² belongs in the noise of y.": signal + std * np.eye(d_y),
            "This is the covariance of p(y): x has taught nothing.": W_y @ W_y.T + noise,
            "What x explains is added; it must lower the covariance.":
                2 * (W_y @ W_y.T + noise) - cov_right,
            "The noise of x is missing in its covariance.":
                W_y @ W_y.T + noise - gain(0) @ cov_yx.T,
            "There is σ where σ² belongs in the covariance of x.":
                W_y @ W_y.T + noise - gain(std) @ cov_yx.T,
            "There is σ where σ² belongs in both covariances.":
                W_y @ W_y.T + std * np.eye(d_y) - gain(std) @ cov_yx.T,
            "The noise counts twice.": signal + 2 * noise,
            "This is the Cholesky factor of the covariance, a square root of it.":
                np.linalg.cholesky(cov_right),
            "These are variances; the pixels of y are correlated through h, so return the whole "
            "matrix.": np.diag(cov_right),
            "These are standard deviations; return the covariance matrix.":
                np.sqrt(np.diag(cov_right)),
            "This has only the diagonal: the pixels of y are correlated through h.":
                np.diag(np.diag(cov_right)),
            "This is the inverse of the covariance.": np.linalg.inv(cov_right),
            "This is the covariance of h given x; return that of y.": h_cov,
        })
        # (B4) for a random Q: all terms are quadratic in h, and 2k points with the mean and the
        # covariance of Q give their expectation exactly
        factor = rng.normal(size=(k, k))
        points = rng.normal(size=k) + math.sqrt(k) * np.concatenate([factor.T, -factor.T])
        y = rng.normal(size=d_y)
        whole = LinearGaussian(np.concatenate([W_x, W_y]), np.concatenate([b_x, b_y]), std)
        left = second.log_likelihood(y, points).mean()
        right = gaussian.log_density(points, *whole.posterior(np.concatenate([x, y]))).mean()
        right -= gaussian.log_density(points, h_mean, h_cov).mean()
        cov = cov.astype(float)
        log_p = gaussian.log_density(y, mean, (cov + cov.T) / 2)
        # float32: what the comparison above lets pass, enlarged by the inverse
        need(abs(left - right - log_p) < 1e-2 * max(1, abs(left)),
             f"tested with {tested}: the two sides of (B4) differ by {left - right - log_p:.3g}.")


@exercise(
    "digit-without-label", kind="derive", difficulty=2, minutes=15, identities=("B5",),
    right="This sum is how unlabelled digits enter the training of a conditional VAE; the second "
          "array is its classifier.")
def digit_without_label(answer):
    rng = np.random.default_rng(0)
    n, c = 5, 4
    bounds, prior = rng.normal(-6, 1.3, size=(n, c)), np.array([0.4, 0.1, 0.3, 0.2])
    joint = np.exp(bounds) * prior  # (n, c), harmless numbers
    expected, labels = np.log(joint.sum(axis=1)), np.log(joint / joint.sum(axis=1)[:, None])
    names = "the bound on log p(y)", "log p(x|y)"
    got = parts(ask(answer, log_bounds=bounds, prior=prior), *names)
    tested = "five digits of four classes"
    need(not (np.shape(got[0]) == (n, c) and np.shape(got[1]) == (n,)),
         "the two arrays are exchanged: return the bound on log p(y) first.")
    compare(got[0], expected, what="the bound on log p(y), nats", tested=tested, mistakes={
        "The probabilities of the classes are missing: this is log Σ exp L.":
            logsumexp(bounds, axis=1),
        "All classes count equally here; they have the probabilities `prior`.":
            logsumexp(bounds, axis=1) - np.log(c),
        "This is a bound, the mean of L over the classes. Average the probabilities, not the "
        "logarithms: that is tighter.": bounds @ prior,
        "This is the mean of log p(x) + L over the classes; p(y) is a sum of probabilities.":
            (bounds + np.log(prior)).mean(axis=1),
        "This is the sum of the logarithms, so a product of probabilities.":
            (bounds + np.log(prior)).sum(axis=1),
        "This has the best class only: a bound, but the other classes add to it.":
            (bounds + np.log(prior)).max(axis=1),
        "This is L of the best class. It is no bound on log p(y): one class does not have the "
        "probability 1.": bounds.max(axis=1),
        "This is p(y); return its logarithm.": np.exp(expected),
        "This is −log p(y).": -expected,
        "The sum is over the digits; it belongs over the classes.":
            logsumexp(bounds + np.log(prior), axis=0),
        "`prior` is added to logarithms; its logarithm belongs there.":
            logsumexp(bounds + prior, axis=1),
        "The logarithms themselves are multiplied by `prior`.": logsumexp(bounds * prior, axis=1),
        "The probabilities of the classes enter as their reciprocals.":
            logsumexp(bounds - np.log(prior), axis=1),
        "There is a factor 1/c besides `prior`, which sums to 1 already.": expected - np.log(c),
        "This is the sum over the digits: return one number for each.": expected.sum(),
        "This is the mean over the digits: return one number for each.": expected.mean(),
    })
    compare(got[1], labels, what="log p(x|y), nats", tested=tested, mistakes={
        "These are probabilities; return their logarithms.": np.exp(labels),
        "The probabilities of the classes are missing in Bayes' rule.":
            bounds - logsumexp(bounds, axis=1, keepdims=True),
        "L is divided by p(y), but not multiplied by p(x).": bounds - expected[:, None],
        "This is log p(x) + L: it is not divided by p(y).": np.log(joint),
        "This is normalised over the digits; each digit's probabilities must sum to 1.":
            np.log(joint / joint.sum(axis=0)),
        "This is normalised over all digits together.": np.log(joint / joint.sum()),
        "The division by p(y) is a multiplication here: the sign of log p(y) is wrong.":
            np.log(joint) + expected[:, None],
        "This is −log p(x|y).": -labels,
        "The probabilities of the classes enter twice.": np.log(
            joint * prior / np.sum(joint * prior, axis=1, keepdims=True)),
        "These are labels; return the logarithm of the probability of every class.":
            np.argmax(labels, axis=1),
    })
    other, weights = rng.normal(-300, 8, size=(2, 3)), np.array([0.05, 0.7, 0.25])
    got = parts(ask(answer, log_bounds=other, prior=weights), *names)
    joint = np.exp(other + 300) * weights
    compare(got[0], np.log(joint.sum(axis=1)) - 300, what="the bound on log p(y), nats",
            tested="two digits of three classes")
    compare(got[1], np.log(joint / joint.sum(axis=1)[:, None]), what="log p(x|y), nats",
            tested="two digits of three classes", error=1e-4)  # float32 rounds 300 by 1e-5
    for shift in (-2000.0, 2000.0):
        got = parts(ask(answer, log_bounds=bounds[:3] + shift, prior=prior), *names)
        tested = f"bounds near {shift:.0f} nats"
        need(all(np.all(np.isfinite(part)) for part in got),
             f"tested with {tested}: {show(got[0])} for log p(y) and {show(got[1])} for "
             "log p(x|y). exp(L) underflows or overflows: take the largest L out first.")
        compare(got[0], expected[:3] + shift, what="the bound on log p(y)", tested=tested)
        # float32 rounds a bound of 2000 by 1e-4
        compare(got[1], labels[:3], what="log p(x|y)", tested=tested, error=1e-3)


@exercise(
    "draw-answers", kind="build", difficulty=1, minutes=10,
    right="The same order, prior first and decoder second, draws from every latent variable "
          "model, a diffusion model included.")
def draw_answers(answer):
    weights = np.random.default_rng(0)
    k, d = 2, 3
    W, U, b = 2 * weights.normal(size=(d, k)), weights.normal(size=(d, 2)), weights.normal(size=d)
    A, a = 1.5 * weights.normal(size=(k, 2)), np.array([1.2, -0.8])
    seen = []

    for seed, (n, std, x, log_var) in enumerate([
            (6000, 1.4, np.array([0.7, -1.1]), np.array([-1.3, 0.9])),
            (2000, 0.3, np.array([-0.4, 0.2]), np.array([0.6, -2.4])),
            (1, 0.8, np.array([0.1, 0.5]), np.array([0.3, 0.2]))]):

        def prior_of(x, log_var=log_var):
            return like(A @ np.asarray(x) + a, x), like(log_var, x)

        def decode(h, x):
            seen.append(np.shape(h))
            return like(np.asarray(h) @ W.T + U @ np.asarray(x) + b, h)

        asked = {"x": x, "prior_of": prior_of, "decode": decode, "noise_std": std, "n": n,
                 "rng": np.random.default_rng(seed)}
        got = array(ask_drawing(answer, **asked)[0] if n < 6000 else ask(answer, **asked))
        head = f"tested with n = {n}, noise_std = {std}: "
        need(seen, "decode is never called.")
        need(got.shape == (n, d), f"{head}the answers have shape {got.shape}, expected {(n, d)}.")
        need(np.all(np.isfinite(got)), f"{head}there are answers that are not finite.")
        if n == 1:
            return
        mean = W @ (A @ x + a) + U @ x + b
        cov = W @ np.diag(np.exp(log_var)) @ W.T + std**2 * np.eye(d)
        variances = np.diag(cov)
        # five standard errors of the entries of a covariance and of a mean, from n answers
        cov_error = 5 * np.sqrt((np.outer(variances, variances) + cov**2) / n)
        mean_error = 5 * np.sqrt(variances / n)
        if (np.any(np.abs(np.cov(got.T) - cov) > cov_error)
                or np.any(np.abs(got.mean(axis=0) - mean) > mean_error)):
            sigma = np.exp(log_var / 2)

            def drawn(std_h=sigma, std_y=std, mean_h=A @ x + a, rows=n, columns=k, noise=(n, d),
                      seed=seed, n=n, x=x):
                """The answers for one order of drawing: all h, then all the noise."""
                rng = np.random.default_rng(seed)
                h = mean_h + std_h * rng.standard_normal((rows, columns)) * np.ones((n, 1))
                return h @ W.T + U @ x + b + std_y * rng.standard_normal(noise)

            name_mistake(got, head, {
                "h was drawn from N(0, I): the model was trained with p(h|x).": drawn(1, mean_h=0),
                "All answers come from one h: draw n of them.": drawn(rows=1),
                "The noise of y is missing: these are the decoder's means.": drawn(std_y=0),
                "h was drawn from N(0, I), and the noise of y is missing.":
                    drawn(1, std_y=0, mean_h=0),
                "This takes log σ² for log σ: the standard deviation is exp(log_var / 2).":
                    drawn(np.exp(log_var)),
                "This takes log σ² for σ.": drawn(log_var),
                "The standard deviation is exp(log_var / 2), not exp(−log_var / 2).":
                    drawn(np.exp(-log_var / 2)),
                "The noise of y is multiplied by the variance noise_std², not by noise_std.":
                    drawn(std_y=std**2),
                "The noise of y has the standard deviation noise_std, not its root.":
                    drawn(std_y=std**0.5),
                "The noise of y has the standard deviation 1.": drawn(std_y=1),
                "All pixels of an answer have the same noise; it is independent from pixel to "
                "pixel.": drawn(noise=(n, 1)),
                "All answers have the same noise of y.": drawn(noise=(1, d)),
                "Both latent dimensions have the same noise; h is diagonal, so draw k numbers for "
                "each.": drawn(columns=1),
                "h has the right spread, but around 0: the mean of p(h|x) is missing.":
                    drawn(mean_h=0),
            })
            need(False, f"{head}the answers have the mean {show(got.mean(axis=0))} and the "
                 f"variances {show(got.var(axis=0))}, and mean or covariance are not right.")
        # independent draws: five standard errors of a correlation of neighbours
        need(all(abs(np.corrcoef(pixel[1:], pixel[:-1])[0, 1]) < 5 / math.sqrt(n)
                 for pixel in got.T), f"{head}neighbouring answers are correlated: draw each "
             "independently.")


@exercise(
    "regression-loses", kind="explore", difficulty=2, minutes=20,
    right="Put 0.99 and 0.01 in place of 0.9 and 0.1 and measure again: the sharper the answers, "
          "the more their mean loses.")
def regression_loses(gain, error):
    gain, error = number(gain, "gain, nats"), number(error, "error, nats")
    # the data of the section's first cell
    rng = np.random.default_rng(0)
    share, strokes = np.array([0.3, 0.7]), np.full((2, 7), 0.1)
    strokes[0, :3] = strokes[1, 4:] = 0.9
    white = rng.random((2, 3000, 7)) < strokes[rng.choice(2, size=(2, 3000), p=share)]
    train, test = white.astype(int)

    def log_p(y, pixels):
        return bernoulli.logpmf(y, pixels).sum(axis=-1)

    def gains(y, weights=share, pixels=None):
        both = np.exp(log_p(y[:, None], strokes))  # (n, 2): p(y|h), at least 1e-7
        return np.log(both @ weights) - log_p(y, train.mean(axis=0) if pixels is None else pixels)

    difference, n = gains(test), len(test)
    given_h, regression = log_p(test[:, None], strokes), log_p(test, train.mean(axis=0))
    right = difference.mean()
    # A regression that is fitted by gradient steps has its probabilities to three digits. Fitted to
    # y_test, or without a fit, it changes the gain by 2e-3 and 3e-4.
    compare(gain, right, what="gain, nats per answer", error=1e-4, mistakes={
        "The regression is fitted to y_test; it knows y_train only.":
            gains(test, pixels=test.mean(axis=0)).mean(),
        "The regression is fitted to y_test as well; it knows y_train only.":
            gains(test, pixels=white.mean(axis=(0, 1))).mean(),
        "The regression has the probabilities from which the data were drawn; take those that are "
        "best for y_train.": gains(test, pixels=share @ strokes).mean(),
        "This is the gain of the regression over the model with h: the sign is reversed.": -right,
        "This is the gain per pixel; return it per answer.": right / 7,
        "This is the sum over the answers, not their mean.": difference.sum(),
        "This is in bits.": right / np.log(2),
        "The logarithms are averaged over h. That is the bound (B5) with Q = p(h|x), and a loose "
        "one; p(y|x) is an average of probabilities.": (given_h @ share - regression).mean(),
        "This takes the better of the two strokes for every answer, and does not pay for h: the "
        "prior p(h|x) is missing.": (given_h.max(axis=1) - regression).mean(),
        "This sums p(y|h,x) over h without p(h|x).": gains(test, np.ones(2)).mean(),
        "Both strokes count equally here; they have the probabilities `share`.":
            gains(test, np.array([0.5, 0.5])).mean(),
        "`share` is exchanged: 0.3 belongs to the first stroke.":
            gains(test, share[::-1]).mean(),
        "This is measured on y_train. The figure of a model is that of y_test.":
            gains(train).mean(),
        "This is the log-likelihood of the model with h; subtract that of the regression.":
            (difference + regression).mean(),
        "This is the log-likelihood of the regression.": regression.mean(),
        "The regression gives every pixel ½; it can do better.":
            (difference + regression).mean() + 7 * np.log(2),
        "The regression gives all pixels the same probability; it may give each its own.":
            (difference + regression - log_p(test, np.full(7, train.mean()))).mean(),
    })
    paired = difference.std(ddof=1) / math.sqrt(n)
    latent = difference + regression
    # 1e-3: again for probabilities to three digits
    compare(error, paired, what="error, nats per answer", relative=1e-3, mistakes={
        "This is measured on y_train. The figure of a model is that of y_test.":
            gains(train).std(ddof=1) / math.sqrt(n),
        "This is the standard deviation of the differences, not the error of their mean.":
            paired * math.sqrt(n),
        "This is the spread of the differences, not the error of their mean.": difference.std(),
        "This adds the errors of the two figures as if they were independent. They are measured "
        "on the same answers: take the differences first.":
            math.sqrt((latent.var(ddof=1) + regression.var(ddof=1)) / n),
        "This is the sum of the errors of the two figures; take the differences first.":
            (latent.std(ddof=1) + regression.std(ddof=1)) / math.sqrt(n),
        "This is the error of the log-likelihood of the model with h.":
            latent.std(ddof=1) / math.sqrt(n),
        "This is the error of the log-likelihood of the regression.":
            regression.std(ddof=1) / math.sqrt(n),
        "This is the variance of the mean: the square root is missing.": paired**2,
        "This divides the standard deviation by n, not √n.": paired / math.sqrt(n),
        "The number of pixels is in the root, too: the answers are what is independent.":
            paired / math.sqrt(7),
    })
