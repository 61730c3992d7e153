"""Tests of the answers in the chapter on conditional VAEs."""

import math

import numpy as np
from scipy.special import logsumexp
from scipy.stats import bernoulli

from genmodels.exact import gaussian
from genmodels.exact.linear_gaussian import LinearGaussian
from genmodels.exercises.compare import ask, compare, need, number, parts, show
from genmodels.exercises.registry import exercise

__all__ = ["bound_given_x", "digit_without_label", "pulled_spring", "regression_loses",
           "unseen_half"]


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
    "pulled-spring", kind="explore", difficulty=2, minutes=15, identities=("K2",),
    right="An error in the prior and a forgotten noise raise no error message, and each passes a "
          "test of one moment. Compare both moments, or the likelihood.")
def pulled_spring(answer, unnoticed):
    for x, stiffness, temperature, noise_std in ((1.5, 2.0, 0.7, 0.4), (-0.8, 0.6, 1.9, 1.3)):
        spread = temperature / stiffness  # the variance of h
        shift, variance = x / stiffness, spread + noise_std**2

        def cost(mean, var, shift=shift, variance=variance):  # D[p(y|x) ‖ N(mean, var)]
            return gaussian.kl_divergence(np.array([shift]), np.array([[variance]]),
                                          np.array([mean]), np.array([[var]]))

        def reverse(mean, var, shift=shift, variance=variance):
            return gaussian.kl_divergence(np.array([mean]), np.array([[var]]),
                                          np.array([shift]), np.array([[variance]]))

        def costs_of(cost, spread=spread, variance=variance, shift=shift):
            return np.array([cost(0.0, variance), cost(shift, variance), cost(shift, spread)])

        right = costs_of(cost)
        got = ask(answer, x=x, stiffness=stiffness, temperature=temperature, noise_std=noise_std)
        tested = (f"x = {x}, stiffness = {stiffness}, temperature = {temperature}, "
                  f"noise_std = {noise_std}")
        compare(got, right, what="the costs, nats", tested=tested, mistakes={
            "The divergence is reversed: p(y|x), from which the answers should come, is first.":
                costs_of(reverse),
            "A factor ½ is missing.": 2 * right,
            "The sign is reversed. A divergence is not negative.": -right,
            "These are bits, not nats.": right / np.log(2),
            "The force moves the position by x/κ, not by x.":
                np.array([x**2 / (2 * variance), 0, right[2]]),
            "The noise of the camera is missing in p(y|x).":
                np.array([shift**2 / (2 * spread), 0, 0]),
            "Here a forgotten camera has the variance of p(y|x) itself: program c does not add "
            "the noise.": np.array([right[0], 0, 0]),
            "The cost of a wrong mean is missing.": np.array([0, 0, right[2]]),
            "This divides the squared distance by the variance of h; y has that and the noise.":
                np.array([shift**2 / (2 * spread), 0, right[2]]),
            "There is σ where σ² belongs.": np.array([
                shift**2 / (2 * (spread + noise_std)), 0,
                0.5 * (noise_std / spread - np.log1p(noise_std / spread))]),
            "The programs are in the order c, b, a: return a first.": right[::-1],
        })
    need(isinstance(unnoticed, str), 'unnoticed must be "a", "b" or "c".')
    word = unnoticed.strip().lower()
    need(word in ("a", "b", "c"), 'unnoticed must be "a", "b" or "c".')
    need(word != "b", "your costs are right: b costs nothing, so it has no mistake to notice.")
    need(word != "a", "your costs are right, but a leaves out the force, so its answers have "
         "another mean: a test of the mean finds it.")


@exercise(
    "regression-loses", kind="explore", difficulty=2, minutes=20,
    right="Put 0.99 and 0.01 in place of 0.9 and 0.1 and measure again: the sharper the answers, "
          "the more their mean loses.")
def regression_loses(gain, error, reason):
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
    choices = '"pixels", "dependence" or "test noise"'
    need(isinstance(reason, str), f"reason must be {choices}.")
    word = " ".join(reason.lower().split())
    need(word in ("pixels", "dependence", "test noise"), f"reason must be {choices}.")
    need(word != "pixels", "your measurement is right, but the two models give each single pixel "
         "nearly the same probability: compare `share @ strokes` with the mean of y_train.")
    need(word != "test noise", "your measurement is right, and the gain is more than ten of its "
         "standard errors: another set of answers would show it, too.")


@exercise(
    "bound-given-x", kind="derive", difficulty=3, minutes=25, identities=("B4", "B5"),
    right="Labels and digits are such halves. A conditional VAE learns p(h|x) as a network, or "
          "makes h independent of x so that p(h) is right.")
def bound_given_x(answer, bounded):
    rng = np.random.default_rng(4)
    for d, k, seen, noise_std in ((5, 3, 2, 0.5), (4, 2, 3, 1.4)):
        compare_bound(answer, rng, d, k, seen, noise_std)
    need(isinstance(bounded, str), 'bounded must be "log p(y)", "log p(y|x)" or "log p(x, y)".')
    word = "".join(bounded.lower().split())
    need(word in ("logp(y)", "logp(y|x)", "logp(x,y)"),
         'bounded must be "log p(y)", "log p(y|x)" or "log p(x, y)".')
    need(word != "logp(y|x)", "your function is right, but with p(h) in place of p(h|x) it is not "
         "log p(y|x) that is bounded: which term then still contains x?")
    need(word != "logp(x,y)", "your function is right, but log p(x, y) is not what is bounded: a "
         "bound on it would have to contain the likelihood of x.")


def compare_bound(answer, rng, d, k, seen, noise_std):
    model = LinearGaussian(rng.normal(size=(d, k)), rng.normal(size=d), noise_std)
    of_x, of_y = (LinearGaussian(model.weights[part], model.bias[part], noise_std)
                  for part in (slice(None, seen), slice(seen, None)))
    v = model.sample(1, rng)[0][0]
    x, y = v[:seen], v[seen:]
    factor = 0.6 * rng.normal(size=(k, k))
    q = rng.normal(size=k), factor @ factor.T + 0.1 * np.eye(k)

    joint = model.weights @ model.weights.T + model.noise_std**2 * np.eye(d)
    gain = joint[seen:, :seen] @ np.linalg.inv(joint[:seen, :seen])
    log_p = gaussian.log_density(y, model.bias[seen:] + gain @ (x - model.bias[:seen]),
                                 joint[seen:, seen:] - gain @ joint[:seen, seen:])
    gap = gaussian.kl_divergence(*q, *model.posterior(v))
    bound = log_p - gap  # the left-hand side of (B5)
    given_x, data = of_x.posterior(x), of_y.expected_log_likelihood(y, *q)
    to_given_x = gaussian.kl_divergence(*q, *given_x)

    got = parts(
        ask(answer, model=model, num_seen=seen, v=v, q_mean=q[0], q_cov=q[1]),
        "the bound", "its gap")
    tested = f"d = {d}, k = {k}, num_seen = {seen}"
    compare(got[0], bound, what="the bound, nats", tested=tested, mistakes={
        "The prior is p(h); given x it is p(h|x).": of_y.elbo(y, *q),
        "The likelihood is that of x and y; x is given, and counted in p(h|x) already.":
            model.expected_log_likelihood(v, *q) - to_given_x,
        "This is the ELBO of x and y together, a bound on log p(x, y).": model.elbo(v, *q),
        "This is E_Q[log p(y|h)] alone: the divergence to p(h|x) is missing.": data,
        "The divergence is added; it is subtracted.": data + to_given_x,
        "This has D[p(h|x)‖Q]: the two are exchanged.":
            data - gaussian.kl_divergence(*given_x, *q),
        "The divergence is that to p(h|x,y), which makes the gap; here p(h|x) belongs.":
            data - gap,
        "x and y are exchanged: y is what comes after the first num_seen components.":
            of_x.expected_log_likelihood(x, *q) - gaussian.kl_divergence(*q, *of_y.posterior(y)),
        "The likelihood is that of x; y is to be predicted.":
            of_x.expected_log_likelihood(x, *q) - to_given_x,
        "log p(y|h) is taken at the mean of Q: Q's covariance enters, too.":
            of_y.log_likelihood(y, q[0]) - to_given_x,
        "This is log p(y|x) itself, which the bound stays below.": log_p,
        "This is −bound: the sign is reversed.": -bound,
        "This is the gap: return the bound first.": gap,
    })
    compare(got[1], gap, what="the gap, nats", tested=tested, mistakes={
        "This is the divergence to p(h|x); the gap is that to the posterior given x and y.":
            to_given_x,
        "This is the divergence to p(h|y): x is given as well.":
            gaussian.kl_divergence(*q, *of_y.posterior(y)),
        "This is D[posterior‖Q]: the two are exchanged.":
            gaussian.kl_divergence(*model.posterior(v), *q),
        "This is −gap: the sign is reversed. A divergence is not negative.": -gap,
        "This is measured from log p(x, y); x is given.":
            model.log_evidence(v) - bound,
        "This is measured from log p(y); x is given.": of_y.log_evidence(y) - bound,
        "This is the divergence to the prior p(h).":
            gaussian.kl_divergence(*q, np.zeros(k), np.eye(k)),
    })
    tight = parts(
        ask(answer, model=model, num_seen=seen, v=v,
            **dict(zip(("q_mean", "q_cov"), model.posterior(v)))), "the bound", "its gap")
    # 1e-4: log determinants and quadratic forms of size 10 cancel, perhaps in float32.
    need(abs(tight[1]) < 1e-4, f"for Q = p(h|x,y) the gap must be 0, and came out as "
         f"{show(tight[1])}.")
