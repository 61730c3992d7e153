"""Tests of the answers in the chapter on the VAE in Keras."""

import functools

import numpy as np
from scipy.optimize import minimize
from scipy.special import entr, expit, log_expit, logit, rel_entr

from genmodels.datasets import BUNDLED
from genmodels.exact import gaussian
from genmodels.exercises.compare import ask, ask_seeded, compare, need, parts, show
from genmodels.exercises.registry import exercise

__all__ = ["bernoulli_from_logits", "grey_pixel_floor", "keras_batch_loss", "mean_over_pixels",
           "sample_latent"]


def bernoulli(x, p):
    """Return the log-probability of each image of black or white pixels, from SciPy."""
    from scipy import stats
    return stats.bernoulli.logpmf(x, p).sum(axis=(1, 2))


@exercise(
    "bernoulli-from-logits", kind="build", difficulty=1, minutes=10, identities=("N1",),
    right="In float32 the sigmoid of 17 is 1 already, and the logarithm of 1 − 1 is −∞: one "
          "such pixel is enough to make the whole gradient NaN.")
def bernoulli_from_logits(answer):
    rng = np.random.default_rng(0)
    logits = rng.normal(0.5, 3, size=(4, 3, 5))
    x = (rng.random(size=(4, 3, 5)) < 0.4).astype(float)
    terms = x * log_expit(logits) + (1 - x) * log_expit(-logits)
    expected = bernoulli(x, expit(logits))
    got = ask(answer, x=x, logits=logits)
    compare(got, expected, what="the log-likelihood, nats", tested="four images of 3 × 5 pixels",
            mistakes={
                "This is the mean over the pixels; the logarithm of a product is their sum.":
                    expected / 15,
                "This is a mean over the last axis and a sum over the other: Keras' "
                "`binary_crossentropy` averages over the last axis.": expected / 5,
                "This is a mean over the height and a sum over the width.": expected / 3,
                "The sign is reversed: this is the cost −log p(x|h).": -expected,
                "This is the sum over the examples, too: return one number for each of them.":
                    expected.sum(),
                "This is the mean over the examples: return one number for each of them.":
                    expected.mean(),
                "This sums over one of the two pixel axes only.": terms.sum(axis=1),
                "This sums over one of the two pixel axes only, the last one.": terms.sum(axis=2),
                "This sums over examples; the pixel axes are the last two.": terms.sum(axis=(0, 1)),
                "The black pixels are missing: they have a probability, too.":
                    (x * log_expit(logits)).sum(axis=(1, 2)),
                "The white pixels are missing: they have a probability, too.":
                    ((1 - x) * log_expit(-logits)).sum(axis=(1, 2)),
                "Black and white are exchanged: π is the probability of a white pixel, x = 1.":
                    bernoulli(1 - x, expit(logits)),
                "This is log π of every pixel, white or black: x is not used.":
                    log_expit(logits).sum(axis=(1, 2)),
                "This is in bits: use the natural logarithm.": expected / np.log(2),
                "The sigmoid is applied twice: some functions take logits, some probabilities.":
                    bernoulli(x, expit(expit(logits))),
            })
    grey = rng.random(size=(3, 2, 4))
    logits = rng.normal(-0.5, 2, size=grey.shape)
    terms = grey * log_expit(logits) + (1 - grey) * log_expit(-logits)
    compare(ask(answer, x=grey, logits=logits), terms.sum(axis=(1, 2)),
            what="the log-likelihood, nats", tested="three images of grey pixels", mistakes={
                "Grey pixels are rounded to black or white; the term is linear in x.":
                    bernoulli((grey > 0.5).astype(float), expit(logits)),
                "Every grey pixel is treated as black; the term is linear in x.":
                    log_expit(-logits).sum(axis=(1, 2)),
            })
    x = np.array([[[1.0, 0.0]], [[1.0, 0.0]], [[0.0, 1.0]]])
    logits = np.array([[[1000.0, -1000.0]], [[-1000.0, 200.0]], [[1.0, -300.0]]])
    got = ask(answer, x=x, logits=logits)
    need(got.shape != (3,) or np.all(np.isfinite(got)),
         f"with logits of ±1000 it gives {show(got)}: an exponential overflows, or a probability "
         "is rounded to 0 or 1 before its logarithm is taken.")
    # log 1e-15 is −35; −1200 is right
    need(got.shape != (3,) or got.min() < -50,
         f"with logits of ±1000 it gives {show(got)}: it clips the probabilities. A pixel that is "
         "very wrong costs too little, and its gradient is 0.")
    compare(got, [0.0, -1200.0, -300.0 - np.logaddexp(0, 1.0)], what="the log-likelihood, nats",
            tested="logits of ±1000")


@exercise(
    "grey-pixel-floor", kind="derive", difficulty=2, minutes=15, identities=("N1", "K1"),
    right="Subtract the floor before you judge a reconstruction. Held-out digits of MNIST have one "
          "of tens of nats; compute it from `images`.")
def grey_pixel_floor(answer):
    rng = np.random.default_rng(1)
    x, p = rng.random(size=(2, 4, 3, 5)) * 0.9 + 0.05
    split(answer, x, p, "four images of 3 × 5 grey pixels")
    x[:, 0], x[:, 1, :2] = 0, 1
    split(answer, x, p, "images with pixels of 0 and 1")


def split(answer, x, p, tested):
    got = parts(ask(answer, x=x, p=p), "the floor", "the divergence")
    entropy = (entr(x) + entr(1 - x)).sum(axis=(1, 2))
    divergence = (rel_entr(x, p) + rel_entr(1 - x, 1 - p)).sum(axis=(1, 2))
    reverse = (rel_entr(p, np.clip(x, 1e-300, 1)) + rel_entr(1 - p, np.clip(1 - x, 1e-300, 1)))
    cost = entropy + divergence
    for name, part in zip(("the floor", "the divergence"), got):
        need(not np.any(np.isnan(part)), f"tested with {tested}: {name} contains NaN. A pixel of 0 "
             "or 1 gives 0 · log 0, whose limit is 0.")
    scales = {
        "This is the mean over the pixels; sum over them.": 1 / x[0].size,
        "The sign is reversed.": -1,
        "This is in bits: use the natural logarithm.": 1 / np.log(2),
    }
    compare(got[0], entropy, what="the floor, nats", tested=tested, mistakes={
        **{name: factor * entropy for name, factor in scales.items()},
        "This depends on p: it is the whole cost, not its floor.": cost,
        "This is the entropy of p; the floor cannot depend on the decoder.":
            (entr(p) + entr(1 - p)).sum(axis=(1, 2)),
        "This is the divergence: the two results are exchanged.": divergence,
        "The term with 1 − x is missing: a coin has two sides.": entr(x).sum(axis=(1, 2)),
        "This is the sum over the images, too: return one number for each.": entropy.sum(),
    })
    compare(got[1], divergence, what="the divergence, nats", tested=tested, mistakes={
        **{name: factor * divergence for name, factor in scales.items()},
        "This is D(π‖x): the two are exchanged, and π weights the logarithms.":
            reverse.sum(axis=(1, 2)),
        "This is the whole cost: its floor is still in it.": cost,
        "The floor is subtracted twice or with the wrong sign.": cost + entropy,
        "The term with 1 − x is missing: a coin has two sides.": rel_entr(x, p).sum(axis=(1, 2)),
        "This is the sum over the images, too: return one number for each.": divergence.sum(),
    })


@exercise(
    "sample-latent", kind="build", difficulty=1, minutes=10, identities=("G5",),
    right="The lecture's `Sampling` layer is this line. Draw the noise in the step, not once "
          "before the training: networks that meet the same noise in every epoch adapt to it.")
def sample_latent(answer):
    rng = np.random.default_rng(2)
    for n, k in ((20_000, 3), (1, 5), (6, 1)):
        mean = rng.normal(1, 2, size=(n, k)).astype(np.float32)
        log_var = rng.uniform(-2, 1.6, size=(n, k)).astype(np.float32)
        std, tested = np.exp(log_var / 2), f"n = {n:,}, k = {k}"
        h = ask(answer, mean=mean, log_var=log_var, seed=3)
        need(isinstance(h, np.ndarray) and h.shape == (n, k), f"tested with {tested}: return h "
             f"alone, of shape {mean.shape}.")
        need(np.all(np.isfinite(h)), f"tested with {tested}: h contains NaN or infinity.")
        need(np.max(np.abs(h - mean)) > 1e-3, "this returns the mean: there is no noise in it, so "
             "it is no draw from Q.")
        ask_seeded(answer, mean=mean, log_var=log_var, seed=3)
        # The noise is what the same seed gives for mean 0 and σ = 1.
        noise = ask(answer, mean=0 * mean, log_var=0 * log_var, seed=3)
        compare(h, mean + std * noise, what="h", tested=f"{tested}, of the noise that you draw for "
                "mean = 0, σ = 1 and the same seed", mistakes={
                    "The mean is missing.": std * noise,
                    "The noise is multiplied by σ²; it must be multiplied by σ.":
                        mean + std**2 * noise,
                    "The noise is multiplied by √σ: the ½ is there twice.":
                        mean + np.sqrt(std) * noise,
                    "The noise is not scaled: it must be multiplied by σ.": mean + noise,
                    "The noise is multiplied by 1/σ: there is a sign too many.":
                        mean + noise / std,
                    "The noise is multiplied by a logarithm of σ: the exponential is missing.":
                        mean + log_var * ask(answer, mean=0 * mean, log_var=1 + 0 * log_var,
                                             seed=3),
                })
        if n > 1000:
            standard_normal(noise, tested)
        else:  # which seed it is must not matter
            for seed, other in ((0, 1), (4, 8)):
                ask_seeded(answer, "seed", other, mean=mean, log_var=log_var, seed=seed)


def standard_normal(noise, tested):
    """Test that noise (n, k) is standard normal and independent; n = 20,000."""
    need(np.all(np.ptp(noise, axis=0) > 1e-3),
         "all examples share one ε: draw noise for each of them, of the shape of the mean.")
    need(noise.min() < 0 or noise.max() > 1, "all the noise lies between 0 and 1: is it uniform? "
         "It must be standard normal.")
    # Five standard errors are 0.035 of a mean, 0.025 of a standard deviation, 0.035 of a
    # correlation; E[ε⁴] = 3 has one of √(96/n) = 0.07.
    compare(noise.mean(axis=0), np.zeros(noise.shape[1]), error=0.04, tested=tested,
            what="the average of the noise")
    compare(noise.std(axis=0), np.ones(noise.shape[1]), error=0.03, tested=tested,
            what="the standard deviation of the noise")
    correlation = np.corrcoef(noise.T)[np.triu_indices(noise.shape[1], 1)]
    need(np.all(np.abs(correlation) < 0.04),
         f"the noise of two dimensions has the correlation {np.max(np.abs(correlation)):.2f}; each "
         "dimension needs a noise of its own.")
    for apart in (1, 2, len(noise) // 2):
        need(np.all(np.abs(np.mean(noise[apart:] * noise[:-apart], axis=0)) < 0.06),
             f"the noise of examples {apart} apart is correlated; each needs a noise of its own.")
    need(np.all(np.abs(np.mean(noise**4, axis=0) - 3) < 0.5),
         "mean and standard deviation of the noise are right, but it is not normal.")


@exercise(
    "keras-batch-loss", kind="build", difficulty=2, minutes=15, identities=("N1", "K3"),
    right="Test every new program against such a number, on a small batch, before it trains: a "
          "wrong mean does not stop the training, it only makes the model worse.")
def keras_batch_loss(answer):
    rng = np.random.default_rng(3)
    for n, height, width, k in ((4, 3, 5, 2), (1, 3, 5, 2), (3, 4, 2, 6)):
        x = (rng.random(size=(n, height, width)) < 0.4).astype(float)
        logits = rng.normal(scale=2, size=x.shape)
        mean, log_var = rng.normal(size=(n, k)), rng.normal(-1, 1.2, size=(n, k))
        cost = -bernoulli(x, expit(logits)).mean()
        kl = np.array([gaussian.kl_divergence(m, np.diag(np.exp(v)), np.zeros(k), np.eye(k))
                       for m, v in zip(mean, log_var)])
        each = kl - bernoulli(x, expit(logits))
        swapped = np.mean(0.5 * np.sum(mean**2 + np.exp(2 * log_var) - 2 * log_var - 1, axis=1))
        expected, kl = cost + kl.mean(), kl.mean()
        got = ask(answer, x=x, logits=logits, mean=mean, log_var=log_var)
        compare(got, expected, what="the loss, nats per example",
                tested=f"n = {n}, {height} × {width} pixels, k = {k}", mistakes={
                    "This is the ELBO; the loss, which is minimised, is its negative.": -expected,
                    "The KL has the wrong sign: it must keep Q close to the prior.": cost - kl,
                    "The log-likelihood has the wrong sign: it must become large.": kl - cost,
                    "This is one loss for each example: average them.": each,
                    "This is the sum over the examples; average them.": n * expected,
                    "The log-likelihood is averaged over the pixels; it is their sum.":
                        cost / (height * width) + kl,
                    "The log-likelihood is averaged over the last axis, as Keras' "
                    "`binary_crossentropy` does; it is the sum over the pixels.": cost / width + kl,
                    "The KL is averaged over the latent dimensions; it is their sum.":
                        cost + kl / k,
                    "Both terms are averaged over everything; pixels and latent dimensions are "
                    "summed.": cost / (height * width) + kl / k,
                    "The examples are averaged in the log-likelihood, but summed in the KL.":
                        cost + n * kl,
                    "The examples are averaged in the KL, but summed in the log-likelihood.":
                        n * cost + kl,
                    "A factor ½ is missing in the KL.": cost + 2 * kl,
                    "The KL is missing.": cost,
                    "The reconstruction term is missing.": kl,
                    "The KL takes log_var for log σ; it is log σ².": cost + swapped,
                    "This is in bits: use the natural logarithm.": expected / np.log(2),
                })


@exercise(
    "mean-over-pixels", kind="explore", difficulty=2, minutes=20, identities=("N1", "K3"),
    right="A mean over the pixels is the sum with 784 times the KL. Deliberate weights of the KL "
          "are a method (β-VAE); this one is an accident.")
def mean_over_pixels(prediction, kl_by_divisor):
    need(isinstance(prediction, str) and prediction in ("rises", "stays", "falls"),
         'prediction must be one of "rises", "stays" and "falls".')
    divisors = np.array([1.0, 10.0, 100.0, 784.0])
    best = [best_terms(1 / divisor) for divisor in divisors]
    costs, expected = np.transpose(best)
    # 0.01 is the accuracy that the exercise asks for; a tenth of the smallest difference. It is no
    # error of statistics: the mistakes are named within it.
    compare(kl_by_divisor, expected, what="the KL, nats", error=0.01, named_within=0.01,
            tested="divisors of 1, 10, 100, 784", mistakes={
                "The reconstruction term is multiplied by the divisors; divide by them.":
                    [best_terms(divisor)[1] for divisor in divisors],
                "This is the KL for the largest divisor first.": expected[::-1],
                "This is the reconstruction term at the minima; record the KL.": costs,
                "This is the loss at the minima; record the KL.": costs / divisors + expected,
                "This is the undivided −ELBO at the minima; record the KL.": costs + expected,
                "This is the KL divided by the divisor: the KL itself is asked for.":
                    expected / divisors,
                "The KL has the same value for all divisors: is the loss divided as a whole?":
                    np.full(4, expected[0]),
                "This is in bits: use the natural logarithm.": expected / np.log(2),
            })
    need(prediction == "falls", f"your measurement is right, but it does not show that the KL "
         f"{prediction}: {show(kl_by_divisor)} nats. How does its weight in the loss change?")


@functools.cache
def best_terms(weight):
    """Return the two terms at the minimum of weight · reconstruction + KL, in nats."""
    with np.load(BUNDLED) as bundled:
        images = bundled["x_test"][:500].astype(np.float32) / 255
        labels = bundled["y_test"][:500]
    x, average = images[labels == 1][0].ravel(), images.mean(axis=0)
    offset = logit(0.01 + 0.98 * average).ravel()
    direction = 3 * (images[labels == 1].mean(axis=0) - average).ravel()
    noise = np.linspace(-6, 6, 21)  # the trapezoidal rule: exact to 1e-8 for a smooth integrand
    density = np.exp(-(noise**2) / 2) / np.exp(-(noise**2) / 2).sum()

    def terms(mean, log_var):
        logits = offset + np.outer(mean + np.exp(log_var / 2) * noise, direction)
        cost = -(logits @ x + log_expit(-logits).sum(axis=1)) @ density
        return cost, 0.5 * (mean**2 + np.exp(log_var) - log_var - 1)

    found = minimize(lambda at: weight * terms(*at)[0] + terms(*at)[1], [0.1, -0.1])
    return terms(*found.x)
