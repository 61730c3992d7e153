"""Tests of the answers in the chapter on a diffusion model of digits."""

import math

import numpy as np

from genmodels import diffusion
from genmodels.exercises.compare import (
    array,
    ask,
    ask_drawing,
    compare,
    name_mistake,
    need,
    number,
    show,
)
from genmodels.exercises.registry import exercise

__all__ = ["batch_simple_loss", "ddim_sampler", "drop_labels", "elbo_bits", "frechet_floor"]


def network(x, alpha_bars):
    """A stand-in for the U-Net, of operators that every framework has."""
    if tuple(alpha_bars.shape) != (int(x.shape[0]),):
        raise ValueError("predict_v needs alpha_bars of shape (n,), one for each example, got "
                         f"{tuple(alpha_bars.shape)}")
    level = alpha_bars[:, None, None]
    return 0.4 * x - 0.3 * level * x * x + 0.2 * level


@exercise(
    "batch-simple-loss", kind="build", difficulty=1, minutes=15, identities=("D1", "D4"),
    right="With 28 images of 28 columns the levels (n,) would have broadcast without an error. Try "
          "a batch in which all levels are equal: there this mistake cannot be seen.")
def batch_simple_loss(answer):
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


@exercise(
    "drop-labels", kind="build", difficulty=1, minutes=10, identities=("D8",),
    right="What would guidance do with a network that was trained with share = 0? Its embedding "
          "of label 10 keeps the random numbers of its start.")
def drop_labels(answer):
    rng = np.random.default_rng(0)

    def accepted(got, labels):
        got = array(got)
        need(got.shape == labels.shape,
             f"labels of shape {labels.shape} need as many in return, one array.")
        need(got.dtype.kind in "iu", "a label is the row of an embedding, an integer; got "
             f"{got.dtype}.")
        return got

    def labels_after(labels, share):
        return accepted(ask(answer, labels=labels, share=share, rng=rng), labels)

    labels = rng.integers(0, 10, 4000)
    got, after = (accepted(each, labels)
                  for each in ask_drawing(answer, labels=labels, share=0.3, rng=rng))
    both = np.mean((got != labels) & (after != labels))
    for share in (0.3, 0.62, 0.04, 0.87):
        got = got if share == 0.3 else labels_after(labels, share)
        lost = got != labels
        need(lost.any(), f"with share = {share}, no label of {len(lost):,} is replaced.")
        need(not lost.all(), f"with share = {share}, all of {len(lost):,} labels are replaced.")
        if np.any(got[lost] != 10):
            value = got[lost][got[lost] != 10][0]
            need(not np.all(got[lost] == 0), "lost labels became 0, which is the label of a digit: "
                 "the network could not tell 'not told' from a zero.")
            need(value < 0 or value > 9, f"a lost label became {value}, the label of another "
                 "digit: the network would learn wrong labels.")
            need(False, f"a lost label became {value}; the embedding has a row for 'not told', and "
                 "this is not it.")
        error = math.sqrt(share * (1 - share) / len(lost))  # the standard error of the share
        need(abs(lost.mean() - share) < 5 * error,
             f"with share = {share}, {lost.mean():.3f} of {len(lost):,} labels are lost.")
        for half, name in ((labels < 5, "labels 0 … 4"), (np.arange(4000) < 2000, "first half")):
            # the difference of the shares of two halves has twice the error
            need(abs(lost[half].mean() - lost[~half].mean()) < 10 * error, f"with share = {share}, "
                 f"{lost[half].mean():.3f} of the {name} are lost, {lost[~half].mean():.3f} of the "
                 "others.")
    # Two calls are independent: five standard errors of the share that both lose.
    need(abs(both - 0.3**2) < 5 * math.sqrt(0.09 * 0.91 / len(labels)),
         f"with share = 0.3, two calls in a row lose the same label in {both:.3f} of the cases, "
         "expected 0.09 of independent draws.")

    # Small batches: the number of lost labels must vary, and its mean be share · n.
    for n, share, batches in ((7, 0.1, 300), (4, 0.75, 150)):
        lost = np.array([labels_after(labels[:n], share) == 10 for _ in range(batches)])
        counts, variance = lost.sum(axis=1), n * share * (1 - share)
        need(np.ptp(counts) > 0, f"each of {batches} batches of {n} labels, share = {share}, loses "
             f"{counts[0]}: not an independent draw for each example.")
        error = math.sqrt(share * (1 - share) / batches)  # of the share at one place
        need(np.max(np.abs(lost.mean(axis=0) - share)) < 5 * error,
             f"in {batches} batches of {n} labels, share = {share}, the shares lost at the {n} "
             f"places are {show(lost.mean(axis=0), most=7)}.")
        # Independent draws: the variance of the count, whose relative error is about
        # √(2/batches) and more, since the counts are not Gaussian.
        need(0.5 * variance < counts.var() < 2 * variance, f"in {batches} batches of {n} labels, "
             f"share = {share}, the number of lost labels has the variance {counts.var():.3f}, "
             f"expected {variance:.3f} of independent draws for each example.")
    for share, wanted in ((0.0, labels), (1.0, np.full(len(labels), 10))):
        need(np.array_equal(labels_after(labels, share), wanted),
             f"with share = {share:g}, {'some labels are lost' if share == 0 else 'some are kept'}"
             ".")


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


def denoiser(x, alpha_bar):
    """A stand-in for a trained denoiser, of operators that every framework has."""
    gain = 0.3 * alpha_bar**0.5 / (0.3 * alpha_bar + 1 - alpha_bar)
    return gain * x + 0.6 * (1 - alpha_bar) * x / (1 + x * x) + 0.1


@exercise(
    "ddim-sampler", kind="build", difficulty=2, minutes=20, identities=("D4",),
    right="Only the start is random. Give it the denoiser of a U-Net, the same noise, and "
          "`NoiseSchedule` levels of 10 and of 100 steps: are they the same digits?")
def ddim_sampler(answer):
    rng = np.random.default_rng(0)
    alpha_bars = np.array([0.97, 0.8, 0.55, 0.2, 0.03])
    levels, noise = [1.0, *alpha_bars], 8 * rng.normal(size=(3, 2))  # far beyond [−1, 1]

    def step(x, now, before, root=np.sqrt, told=None, divide=True, split_at=None):
        x0_hat = denoiser(x, now if told is None else told)
        split = now if split_at is None else split_at
        noise_hat = x - root(split) * x0_hat
        noise_hat = noise_hat / root(1 - split) if divide else noise_hat
        return root(before) * x0_hat + root(1 - before) * noise_hat

    def clipped(x, now, before):
        x0_hat = np.clip(denoiser(x, now), -1, 1)
        noise_hat = (x - math.sqrt(now) * x0_hat) / math.sqrt(1 - now)
        return math.sqrt(before) * x0_hat + math.sqrt(1 - before) * noise_hat

    def walk(rule, last=1):
        x = noise
        for t in range(len(levels) - 1, last - 1, -1):
            x = rule(x, levels[t], levels[t - 1])
        return x

    backwards = noise
    for t in range(1, len(levels)):
        backwards = step(backwards, levels[t], levels[t - 1])
    got, again = (array(ask(answer, denoiser=denoiser, alpha_bars=alpha_bars, noise=noise), "x_0")
                  for _ in range(2))
    need(np.array_equal(got, again, equal_nan=True), "two calls with the same noise give different "
         "results. DDIM draws nothing: it goes on with ε̂, not with new noise.")
    right = diffusion.ddim(denoiser, diffusion.NoiseSchedule(alpha_bars), noise)
    x1 = walk(step, last=2)
    compare(got, right, what="x_0", tested="T = 5, noise (3, 2)", mistakes={
        "This is the noise you began with: the two levels of a step are the same.": noise,
        "This is x_1: the last step, to ᾱ_0 = 1, is missing.": x1,
        "The last step went to ᾱ_T: index −1 of an array is its last element.":
            step(x1, levels[1], levels[5]),
        "This has ᾱ and 1 − ᾱ where their square roots belong.": walk(
            lambda x, now, before: step(x, now, before, root=lambda value: value)),
        "The denoiser is told the level at which the step ends; x has the one at which it begins.":
            walk(lambda x, now, before: step(x, now, before, told=before)),
        "ε̂ has unit variance; yours is not divided by √(1 − ᾱ_t).": walk(
            lambda x, now, before: step(x, now, before, divide=False)),
        "The steps run from t = 1 to T; sampling begins at T.": backwards,
        "This is x̂_0 of the first step: where is the loop?": denoiser(noise, levels[5]),
        "Only x̂_0 is carried on: the part with ε̂ is missing.": walk(
            lambda x, now, before: math.sqrt(before) * denoiser(x, now)),
        "A value is clipped to [−1, 1]: x̂_0, or the result.": walk(clipped),
    })
    noise = 8 * rng.normal(size=(2, 4))
    for chosen in ([0.4], [0.9, 0.3], np.linspace(0.9999, 1e-3, 12)):
        got = ask(answer, denoiser=denoiser, alpha_bars=np.array(chosen), noise=noise)
        compare(got, diffusion.ddim(denoiser, diffusion.NoiseSchedule(chosen), noise), what="x_0",
                tested=f"T = {len(chosen)}, noise (2, 4)")


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
    "frechet-floor", kind="explore", difficulty=2, minutes=20,
    right="Which share of the floor comes from the means, and which from the covariances? Change "
          "`num_features` and see which one grows faster.")
def frechet_floor(distances, power):
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


