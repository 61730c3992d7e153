"""Tests of the answers in the chapter on the VAE in Keras."""

import functools

import numpy as np
from scipy.optimize import minimize
from scipy.special import entr, expit, log_expit, logit, rel_entr

from genmodels.datasets import BUNDLED
from genmodels.exact import gaussian
from genmodels.exercises.compare import Stub, ask, compare, need, number, parts, show
from genmodels.exercises.registry import exercise

__all__ = ["first_loss", "grey_pixel_floor", "mean_over_pixels", "spin_terms",
           "what_a_code_tells"]


@exercise(
    "spin-terms", kind="derive", difficulty=2, minutes=15, identities=("N1",),
    right="A Bernoulli decoder is a set of free spins in fields that h sets. Averaged over h they "
          "are no longer independent: that is how a VAE models interacting spins.")
def spin_terms(answer, cold):
    choices = ("grey everywhere", "black or white, fixed by the fields", "random black and white")
    rng = np.random.default_rng(0)
    for n, d, temperature in ((6, 4, 1.7), (1, 5, 0.6), (5, 1, 1.0)):
        fields = rng.normal(0.4, 1, size=d)
        spins = np.where(rng.random(size=(n, d)) < 0.5, -1.0, 1.0)
        energy, reduced = -spins @ fields, fields / temperature
        expected, logits = spin_log_probability(spins, reduced), 2 * reduced
        tested = f"{n} configurations of {d} spins at T = {temperature}"
        got = parts(ask(answer, spins=spins, fields=fields, temperature=temperature),
                    "the logits", "log p")
        compare(got[0], logits, what="the logits", tested=tested, mistakes={
            "A factor 2 is missing: to turn a spin from −1 to 1 changes its energy by 2b.": reduced,
            "The sign is reversed: a positive field favours s = 1, a white pixel.": -logits,
            "The temperature is missing.": 2 * fields,
            "The fields are multiplied by the temperature; divide by it.": 2 * fields * temperature,
            "These are the probabilities; a logit is log π − log(1 − π).": expit(logits),
        })
        compare(got[1], expected, what="log p(s), nats", tested=tested, mistakes={
            "This is −E/T: the normalisation −log Z is missing.": -energy / temperature,
            "The sign is reversed: this is the cost.": -expected,
            "This is the energy above the ground state's share of log Z: a spin sum has two terms.":
                -energy / temperature - np.abs(reduced).sum(),
            "The spins are inserted for x = (1 + s)/2 in (N1).":
                (spins * logits - np.logaddexp(0, logits)).sum(axis=1),
            "The logits of this sum are b/T; they are 2b/T.":
                ((1 + spins) / 2 * reduced - np.logaddexp(0, reduced)).sum(axis=1),
            "This is the mean over the spins; the logarithm of a product is their sum.":
                expected / d,
            "This is the sum over the configurations: return one number for each.": expected.sum(),
            "The temperature is missing.": spin_log_probability(spins, fields),
            "This is in bits: use the natural logarithm.": expected / np.log(2),
        })
    spins, fields = np.array([[1.0, -1.0], [-1.0, -1.0]]), np.array([1000.0, -1000.0])
    got = parts(ask(answer, spins=spins, fields=fields, temperature=1.0), "the logits", "log p")
    need(np.shape(got[1]) != (2,) or np.all(np.isfinite(got[1])),
         f"with fields of ±1000 log p is {show(got[1])}: an exponential overflows, or a "
         "probability is rounded to 0 or 1 before its logarithm is taken.")
    compare(got[1], [0.0, -2000.0], what="log p(s), nats", tested="fields of ±1000")
    need(isinstance(cold, str) and cold in choices,
         f"cold must be one of {', '.join(map(repr, choices))}.")
    need(cold == choices[1], "your function is right; let it compute the logits of a few fields at "
         f"T = 1 and T = 0.01. Do their probabilities say {cold!r}?")


def spin_log_probability(spins, fields):
    """Return log p of each configuration at T = 1, from SciPy's log of the logistic function."""
    return log_expit(2 * spins * fields).sum(axis=1)


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
    "first-loss", kind="explore", difficulty=2, minutes=15, identities=("N1",),
    right="Compute this number before you start a new program. Grey or not, every pixel costs "
          "log 2 at first; the training should lower the loss from there.")
def first_loss(answer, diagnosis):
    for height, width, channels, n in ((28, 28, 1, 128), (5, 3, 2, 7), (4, 6, 3, 1)):
        size = height * width * channels
        half = entr(0.5) / 0.5  # log 2, the cost of a pixel with probability ½
        losses = {"pixels": size * half, "everything": half, "last axis": height * width * half,
                  "everything and the batch": n * size * half}
        for reduction, expected in losses.items():
            got = ask(answer, reduction=reduction, height=height, width=width, channels=channels,
                      n=n)
            others = {
                f"This is the loss of the reduction {name!r}.": value
                for name, value in losses.items()
                if name != reduction and abs(value / expected - 1) > 1e-6}
            compare(number(got, "the loss"), expected, what="the loss, nats",
                    tested=f"reduction {reduction!r}, {height} × {width} pixels of {channels}, "
                           f"n = {n}",
                    mistakes=distinct({
                        **others,
                        "This is in bits: use the natural logarithm.": expected / np.log(2),
                        "A probability of ½ costs log 2 for a pixel, not ½.":
                            expected / np.log(2) / 2,
                        "The sign is reversed: a cost is positive.": -expected,
                        "This counts the cost of white and of black; a pixel pays one of them.":
                            2 * expected}))
    need(isinstance(diagnosis, dict) and set(diagnosis) == set("ABCD"),
         'diagnosis must be a dictionary with the keys "A", "B", "C" and "D".')
    names = {"A": "mean over everything", "B": "bits", "C": "right", "D": "sum over the batch"}
    if any(value is ... for value in diagnosis.values()):
        raise Stub
    for letter, value in diagnosis.items():
        need(isinstance(value, str) and value in names.values(),
             f"diagnosis[{letter!r}] must be one of {', '.join(map(repr, names.values()))}.")
    wrong = [letter for letter in names if diagnosis[letter] != names[letter]]
    need(not wrong, "your function is right, but it does not give what program "
         f"{', '.join(wrong)} prints. Divide the printed number by log 2 = 0.6931.")


def distinct(mistakes):
    """Return the mistakes without those that give the same number as an earlier one."""
    kept = {}
    for name, value in mistakes.items():
        if all(abs(value - other) > 1e-9 * abs(other) for other in kept.values()):
            kept[name] = value
    return kept


@exercise(
    "what-a-code-tells", kind="explore", difficulty=2, minutes=20, identities=("K3",),
    right="A KL near zero proves that a dimension is lost; a large one does not prove that it is "
          "used. Plot the means as well.")
def what_a_code_tells(kl_of_each, verdict):
    rng = np.random.default_rng(0)
    mean = rng.normal([0, 1.5, 0, 0.02], [0.95, 0.01, 0.01, 0.7], size=(1000, 4))
    log_var = rng.normal([-2.5, -1.0, 0, -0.7], 0.02, size=(1000, 4))
    each = np.array([[gaussian.kl_divergence(np.array([m]), np.array([[np.exp(v)]]), np.zeros(1),
                                             np.eye(1)) for m, v in zip(*row)]
                     for row in zip(mean, log_var)]).reshape(1000, 4)
    expected = each.mean(axis=0)
    at_average = 0.5 * (mean.mean(axis=0) ** 2 + np.exp(log_var.mean(axis=0))
                        - log_var.mean(axis=0) - 1)
    compare(kl_of_each, expected, what="the KL of each dimension, nats", mistakes={
        "A factor ½ is missing.": 2 * expected,
        "This is the sum over the images; average over them.": 1000 * expected,
        "This is the sum over the dimensions: return one number for each.": expected.sum(),
        "This is the KL of the average mean and log variance; average the KL itself.": at_average,
        "It takes log σ² for log σ.":
            0.5 * (mean**2 + np.exp(2 * log_var) - 2 * log_var - 1).mean(axis=0),
        "The means do not enter: μ² is missing.":
            0.5 * (np.exp(log_var) - log_var - 1).mean(axis=0),
        "This is in bits: use the natural logarithm.": expected / np.log(2),
        "The sign is reversed.": -expected,
    })
    need(isinstance(verdict, list | tuple) and len(verdict) == 4,
         "verdict must be a list of four names.")
    if any(value is ... for value in verdict):
        raise Stub
    names = ("used", "lost", "paid for nothing")
    need(all(isinstance(value, str) and value in names for value in verdict),
         f"each verdict must be one of {', '.join(map(repr, names))}.")
    need(verdict[2] == "lost" and list(verdict).count("lost") == 1,
         "a lost dimension is the prior for every image: its KL is close to 0. Which are?")
    need(verdict[1] == "paid for nothing" and list(verdict) == ["used", "paid for nothing", "lost",
                                                                  "used"],
         "the KL are right, but a dimension tells something only if its code differs from image "
         "to image: how far do the means spread, compared with σ?")


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
