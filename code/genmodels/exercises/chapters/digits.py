"""Tests of the answers in the chapter on a diffusion model of digits."""

import math

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from genmodels import diffusion
from genmodels.exercises.compare import (
    Stub,
    array,
    ask,
    ask_drawing,
    chosen,
    compare,
    name_mistake,
    need,
    number,
    parts,
)
from genmodels.exercises.registry import exercise

__all__ = ["batch_simple_loss", "elbo_bits", "frechet_floor", "loss_levels", "zero_or_nine"]


def network(x, alpha_bars):
    """A stand-in for the U-Net, of operators that every framework has."""
    if tuple(alpha_bars.shape) != (int(x.shape[0]),):
        raise ValueError("predict_v needs alpha_bars of shape (n,), one for each example, got "
                         f"{tuple(alpha_bars.shape)}")
    level = alpha_bars[:, None, None]
    return 0.4 * x - 0.3 * level * x * x + 0.2 * level


@exercise(
    "batch-simple-loss", kind="explore", difficulty=2, minutes=20, identities=("D1", "D4"),
    right="Try a batch in which all levels are equal: there one of the three mistakes cannot be "
          "seen. Test a loss with shapes that all differ.")
def batch_simple_loss(answer, silent):
    rng = np.random.default_rng(0)

    def batch(*shape, levels=None):
        levels = rng.uniform(0.1, 0.9, shape[0]) if levels is None else np.array(levels)
        return rng.random(shape), levels, 2 * rng.normal(size=shape)

    def expected(images, levels, noise):
        total = 0.0
        for image, level, epsilon in zip(images, levels, noise):
            x = math.sqrt(level) * (2 * image - 1) + math.sqrt(1 - level) * epsilon
            v = network(x[None], np.array([level]))[0]
            total += np.sum((epsilon - diffusion.convert(v, x, level, given="v",
                                                         wanted="noise")) ** 2)
        return total / len(images)

    # As many columns as examples: levels (n,) broadcast along the columns without an error.
    images, levels, noise = batch(4, 3, 4)
    right = expected(images, levels, noise)
    a, s = np.sqrt(levels)[:, None, None], np.sqrt(1 - levels)[:, None, None]
    x0 = 2 * images - 1

    def loss(a=a, s=s, x0=x0):
        x = a * x0 + s * noise
        return np.sum((noise - a * network(x, levels) - s * x) ** 2) / 4

    v = network(a * x0 + s * noise, levels)
    errors = noise - a * v - s * (a * x0 + s * noise)
    got = ask(answer, images=images, alpha_bars=levels, noise=noise, predict_v=network)
    compare(got, right, what="the loss", tested="a batch of shape (4, 3, 4)", mistakes={
        "This is the mean over the pixels; the loss sums over them.": right / 12,
        "This is the sum over the examples; the loss is their mean.": right * 4,
        "Return one number: the mean over the examples is missing.":
            np.sum(errors**2, axis=(1, 2)),
        "The levels (n,) were spread along the columns of the images; each belongs to an example.":
            loss(np.sqrt(levels), np.sqrt(1 - levels)),
        "Every example has the noise of the first level; each has its own.":
            loss(a[0, 0, 0], s[0, 0, 0]),
        "The images are still in [0, 1]; the pixels of x_0 lie in [−1, 1].": loss(x0=images),
        "This has ᾱ and 1 − ᾱ where their square roots belong.": loss(a**2, s**2),
        "This has 1 − ᾱ, a variance, where the standard deviation of the noise belongs.":
            loss(s=s**2),
        "Signal and noise have each other's factor.": loss(s, a),
        "This compares ε with v̂; turn v̂ into ε̂ first.": np.sum((noise - v) ** 2) / 4,
        "This is the squared error of v; the simple loss has that of ε.":
            np.sum((a * noise - s * x0 - v) ** 2) / 4,
        "This is the mean norm; the loss has its square.":
            np.sqrt(np.sum(errors**2, axis=(1, 2))).mean(),
    })
    # The ends of a schedule, where an offset, a clipped level or a clipped x̂_0 would show.
    for shape, levels in [((5, 2, 3), None), ((1, 2, 2), None), ((3, 4, 5), [1e-4, 0.5, 0.9999])]:
        images, levels, noise = batch(*shape, levels=levels)
        got = ask(answer, images=images, alpha_bars=levels, noise=noise, predict_v=network)
        compare(got, expected(images, levels, noise), what="the loss",
                tested=f"a batch of shape {shape}")
    compare(number(silent, "`silent`"), 28, what="`silent`", tested="images of 28 × 28 pixels",
            mistakes={
        "A single image has a single level, which belongs to it: no mistake.": 1,
        "Levels (n,) are aligned with the last axis, which has one entry a column.": 784,
        "The batch of the chapter's loop raises an error: 128 levels and 28 columns.": 128,
    })


@exercise(
    "loss-levels", kind="explore", difficulty=2, minutes=20, identities=("D5",),
    right="This is why each network is the better one by its own measure: strokes are decided "
          "where there is much noise, and bits are spent where there is little.")
def loss_levels(shares, almost_clean):
    def noise(tau):
        return 0.1 * tau + 9.95 * tau**2  # −log ᾱ

    def exact(level):
        tau = brentq(lambda tau: math.log(math.expm1(noise(tau))) + level, 1e-3, 1.0)
        first, last = (-math.log(math.expm1(noise(tau))) for tau in (1e-3, 1.0))
        return np.array([(1 - tau) / (1 - 1e-3), (level - last) / (first - last)])

    for level in (-2.0, 4.0, 7.0):
        right = exact(level)
        got = array(parts(ask(shares, level=level), "simple", "elbo"))
        # of a τ read from a grid of a thousand, and of counted draws
        compare(got, right, what="the shares", tested=f"λ < {level:g}", error=2e-3,
                named_within=2e-3, mistakes={
            "These are the shares above the level.": 1 - right,
            "The two are exchanged.": right[::-1],
            "The share of the ELBO is that of the simple loss: its λ is uniform, not τ.":
                right[[0, 0]],
            "The share of the simple loss is that of the ELBO: its τ is uniform, not λ.":
                right[[1, 1]],
            "τ runs from little noise to much: those with less signal have larger τ.":
                np.array([1 - right[0], right[1]]),
            "These are percentages.": 100 * right,
        })
    names = ("simple", "elbo")
    need(chosen(almost_clean, names, "almost_clean") == names[1],
         "compare the two shares above λ = 4.")


@exercise(
    "zero-or-nine", kind="derive", difficulty=2, minutes=20, identities=("D1",),
    right="At which λ can two digits at the distance of the setup cell no longer be told apart? "
          "Compare it with the level at which the chapter's zero became a nine.")
def zero_or_nine(error_rate, finer_grid):
    for distance, log_snr in ((14.0, -2.0), (14.0, -4.0), (6.0, 0.5), (20.0, -5.0)):
        snr = math.exp(log_snr)
        half = distance * math.sqrt(snr) / 2
        right = norm.sf(half)
        compare(number(ask(error_rate, distance=distance, log_snr=log_snr), "the rate"), right,
                what="the rate", tested=f"distance {distance:g}, λ = {log_snr:g}", mistakes={
            "This is the rate of right answers.": norm.cdf(half),
            "The border lies half-way between the two: half the distance counts.":
                norm.sf(2 * half),
            "This has the SNR where its root belongs.": norm.sf(distance * snr / 2),
            "This has the signal alone, √ᾱ; the noise has the standard deviation √(1 − ᾱ).":
                norm.sf(distance * math.sqrt(snr / (1 + snr)) / 2),
            "This has e^{−λ}: a larger λ is less noise.":
                norm.sf(distance / math.sqrt(snr) / 2),
            "The rate has two sides here, but only one of them is an error.": 2 * right,
            "This is a density, not a probability.": norm.pdf(half),
        })
    names = ("falls", "stays the same", "grows")
    need(chosen(finer_grid, names, "finer_grid") == names[1], "the noise has components along the "
         "difference of the two digits, and across it. Which of them can move the image over the "
         "border?")


@exercise(
    "elbo-bits", kind="derive", difficulty=2, minutes=15, identities=("D3",),
    right="Try your function with the terms that the chapter prints: its decoder gives the "
          "probability of a level, not a density, so width is 1.")
def elbo_bits(answer):
    rng = np.random.default_rng(0)

    def inputs(n, m, num_pixels, width):
        return {"reconstruction": rng.normal(-5.0, 20.0, n), "prior_matching": rng.gamma(2.0, 1, n),
                "matching": rng.gamma(2.0, 0.4, (n, m)),
                "sizes": rng.integers(20, 90, m).astype(float), "num_pixels": num_pixels,
                "width": width}

    def expected(reconstruction, prior_matching, matching, sizes, num_pixels, width):
        bits = []
        for first, second, terms in zip(reconstruction, prior_matching, matching):
            every_time = np.repeat(terms, sizes.astype(int))  # as if all of a stratum were equal
            log2_density = (first - second - math.fsum(every_time)) / math.log(2)
            bits.append(-log2_density / num_pixels - math.log2(width))
        return np.array(bits)

    given = inputs(4, 3, 196, 2 / 255)
    right, nats = expected(**given), 196 * math.log(2)
    matching, sizes = given["matching"], given["sizes"]
    total = matching @ sizes
    log2_width = math.log2(2 / 255)
    compare(ask(answer, **given), right, what="the bits per pixel",
            tested="n = 4, m = 3, 196 pixels, width 2/255", mistakes={
        "This is in nats per pixel.": right * math.log(2),
        "This is multiplied by log 2; a bit is log 2 = 0.69 nats.": right * math.log(2) ** 2,
        "This is for the whole image; asked for are bits per pixel.": right * 196,
        "The sign is reversed: −ELBO counts the bits.": -right,
        "These are the bits of a density: they lack the width of a grey level.":
            right + log2_width,
        "The width of a grey level enters with the wrong sign.": right + 2 * log2_width,
        "The width enters once; each pixel contributes one.":
            right + log2_width - log2_width / 196,
        "The logarithm of the width is in nats, the rest in bits.":
            right + log2_width - math.log(2 / 255),
        "The reconstruction term has the wrong sign.": right + 2 * given["reconstruction"] / nats,
        "The prior matching has the wrong sign.": right - 2 * given["prior_matching"] / nats,
        "The prior matching is missing.": right - given["prior_matching"] / nats,
        "The denoising matching has the wrong sign.": right - 2 * total / nats,
        "This sums the terms at the drawn times only: each stands for its whole stratum.":
            right + (matching.sum(axis=1) - total) / nats,
        "This is the mean over the drawn times; (D3) has the sum over all times.":
            right + (matching.mean(axis=1) - total) / nats,
        "This is the mean over all times; (D3) has their sum.":
            right + (total / sizes.sum() - total) / nats,
        "All strata have the same weight here; they differ in size.":
            right + (matching.mean(axis=1) * sizes.sum() - total) / nats,
    })
    for n, m, num_pixels, width in [(2, 1, 49, 1.0), (3, 0, 9, 0.5)]:
        given = inputs(n, m, num_pixels, width)
        compare(ask(answer, **given), expected(**given), what="the bits per pixel",
                tested=f"n = {n}, m = {m}, {num_pixels} pixels, width {width}")


def frechet(features, others):
    """The Fréchet distance of two sets (n, k): singular values instead of eigenvalues."""
    roots = [np.linalg.qr((each - each.mean(axis=0)) / math.sqrt(len(each) - 1), "r")
             for each in (features, others)]  # covariance = rootᵀ root
    cross = np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum()
    offset = features.mean(axis=0) - others.mean(axis=0)
    return float(offset @ offset + sum(np.sum(root**2) for root in roots) - 2 * cross)


SIZES, PAIRS, FEATURES = np.array([50, 200, 800]), 100, 8  # as in the setup cell
# The standard deviation of a distance, over its mean. To lowest order in 1/n a distance of sets of
# k = 8 features is |a|² + |D|²/4, a and D the differences of the means and of the covariances, all
# independent: 8 times (2/n) χ², 8 times (1/n) χ² and 28 times (1/n) χ², each χ² of mean 1 and
# variance 2. So the mean is 52/n, and the variance 2 (8·4 + 8 + 28)/n² = 136/n², and √136/52 is
# 0.224. Thousands of distances at each of the three sizes gave 0.220 to 0.224, to about 1 %.
SPREAD = math.sqrt(136) / 52


@exercise(
    "frechet-floor", kind="explore", difficulty=2, minutes=25,
    right="Which share of the floor comes from the means, and which from the covariances? Change "
          "`num_features` and see which one grows faster.")
def frechet_floor(distances, power, nearer, below):
    def drawn(n, seed, pairs=PAIRS):
        """The distances in the usual order of drawing: pair by pair, first set and second."""
        rng = np.random.default_rng(seed)
        found = []
        for _ in range(pairs):
            first = rng.normal(size=(n, FEATURES))
            found.append(frechet(first, rng.normal(size=(n, FEATURES))))
        return np.array(found)

    floors = []
    for seed, n in enumerate(SIZES):
        asked = {"n": int(n), "rng": np.random.default_rng(seed)}
        several = ask_drawing(distances, **asked) if seed == 0 else [ask(distances, **asked)]
        got = array(several[0])
        tested = f"tested with n = {n}: "
        need(got.shape == (PAIRS,), f"{tested}the result has shape {got.shape}, expected "
             f"{(PAIRS,)}, one distance for each of `num_pairs` pairs.")
        need(np.all(np.isfinite(got)), f"{tested}there are distances that are not finite.")
        need(np.max(np.abs(got)) > 1e-6, f"{tested}every distance is 0: the two sets of a pair are "
             "the same. Draw each of them.")
        need(len(np.unique(got)) == PAIRS, f"{tested}pairs have exactly the same distance: draw "
             "both sets of every pair anew.")
        own = drawn(n, 10 + seed, 40)
        # Five standard errors of the difference of two means.
        error = 5 * own.std() * math.sqrt(1 / PAIRS + 1 / len(own))
        if abs(got.mean() - own.mean()) > error:
            right = drawn(n, seed)
            name_mistake(got, tested, {
                "These are square roots; the Fréchet distance is already a square.":
                    np.sqrt(right),
                "These are squares of the distances.": right**2,
                "These are n times the distances.": n * right,
                "The distances are divided by the number of features.": right / FEATURES,
            })
            need(False, f"{tested}the mean of your {PAIRS} distances is {got.mean():.4g}, and that "
                 "is not right.")
        spread = got.std() / own.std()
        need(0.5 < spread < 2, f"{tested}your distances vary by {got.std():.3g}, those of "
             f"independent pairs by {own.std():.3g}.")
        floors.append(np.concatenate([own, got]).mean())
        if seed == 0:
            calls = [array(each) for each in (*several, *(ask(distances, **asked)
                                                          for _ in range(14)))]
            between = PAIRS * np.var([each.mean() for each in calls], ddof=1)
            within = np.mean([each.var(ddof=1) for each in calls])
            # If all pairs are independent, the ratio of the two follows F of 15 and 1584 degrees of
            # freedom (200,000 draws of distances agree down to a tail of 1e-4, though distances
            # are not quite normal), which exceeds 3.82 once in a million times. Distances that
            # share a set have, to lowest order, the correlation ¼: a set in all pairs makes the
            # ratio (100/4 + ¾)/¾ = 34 times as large, hardly ever less than 3.82.
            need(between < 3.82 * within, f"{tested}the means of {PAIRS} distances in "
                 f"{len(calls)} calls vary more than those of independent pairs: is a set used in "
                 "more than one pair?")
    slope = np.polyfit(np.log(SIZES), np.log(floors), 1)[0]
    # Five standard errors. The three log n are equally spaced, so a slope is the difference of the
    # outer two log floors over log 16. Two are the student's, of 100 distances; two are ours, of
    # the 140 distances seen here.
    error = 5 * SPREAD * math.sqrt(2 / PAIRS + 2 / 140) / math.log(16)
    value = number(power, "`power`")
    compare(value, slope, what="`power`", error=error, mistakes={
        "A standard error falls so; this distance is a square.": -0.5})
    # Thousands of pairs: 1.05 ± 0.24 for n = 50 and 0.065 ± 0.015 for n = 800, and from 50 images
    # with exactly the right mean and covariance to 50 real ones 0.53 ± 0.12. Of models at the true
    # distance 1 (shifted, too narrow, too wide) single distances for n = 50 are 1.7 to 2.5 ± 0.5.
    names = ("A", "B", "not decided")
    need(isinstance(nearer, list | tuple) and len(nearer) == 3,
         f"`nearer` must be three words, each one of {', '.join(map(repr, names))}.")
    if any(word is ... for word in nearer):
        raise Stub
    wrong = [report for report, word, right in zip("123", nearer, ("not decided", "A", "B"))
             if chosen(word, names, "nearer") != right]
    need("1" not in wrong, "your numbers are right; look again at report 1: how much do the "
         "distances of equal pairs vary, and their means of ten?")
    need(not wrong, f"your numbers are right; look again at report {' and report '.join(wrong)}: "
         "which distance would two sets of real images have there?")
    names = ("a better model", "chance", "copies")
    need(chosen(below, names, "below") != names[0], "`below`: which distance does the best model "
         "of all have, one whose images are like real ones?")
    need(below != names[1], "`below`: which is the smallest of your distances for n = 50?")


