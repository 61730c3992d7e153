"""Tests of the answers in the chapter on latent dimensions that die."""

import math

import numpy as np

from genmodels.exact import gaussian
from genmodels.exact.linear_gaussian import LinearGaussian
from genmodels.exercises.compare import array, ask, compare, need, number, parts, show
from genmodels.exercises.registry import exercise

__all__ = ["active_units", "free_nats", "linear_vae_kl", "steps_to_wake", "warm_up_schedules"]


@exercise(
    "active-units", kind="build", difficulty=1, minutes=10, identities=("K3",),
    right="Use both measures: a KL without activity is a constant that costs nats, and an active "
          "unit with hardly any KL is one that trembles.")
def active_units(answer):
    # One dimension each: informs; constant mean; constant σ; varies too little and just enough;
    # is the prior; informs at a large σ.
    spread = np.array([1.0, 0.0, 0.0, 0.095, 0.105, 0.0, 0.4])
    shift = np.array([0.3, 0.7, 0.0, 0.0, 0.0, 0.0, -0.5])
    log_var = np.array([-6.0, 0.0, -1.5, 0.1, 0.0, 0.0, 0.3])
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(40, 7))
    noise = (noise - noise.mean(axis=0)) / noise.std(axis=0)
    mean = shift + spread * noise
    log_var = log_var + rng.normal(size=(40, 7)) * [0.3, 0, 0, 0, 0, 0, 0.2]
    kl = np.array([[gaussian.kl_divergence(m, [[v]], [0.0], [[1.0]])
                    for m, v in zip(means[:, None], np.exp(log_vars))]
                   for means, log_vars in zip(mean, log_var)])  # (n, k)
    expected = kl.mean(axis=0)
    got_kl, got = parts(ask(answer, mean=mean, log_var=log_var), "the KL", "the active dimensions")
    tested = "n = 40, k = 7"
    compare(got_kl, expected, what="the KL of each dimension, nats", tested=tested, mistakes={
        "This is twice the divergence: a factor ½ is missing.": 2 * expected,
        "This is the sum over the digits; the KL of a VAE is their average.": kl.sum(axis=0),
        "This is summed over the dimensions: keep them apart and average over the digits.":
            kl.sum(axis=1),
        "This is averaged over the dimensions: keep them apart and average over the digits.":
            kl.mean(axis=1),
        "This is one number: keep the dimensions apart.": kl.sum(axis=1).mean(),
        "This is not averaged over the digits.": kl,
        "This takes log_var for log σ; it is log σ².": 0.5 * np.mean(
            mean**2 + np.exp(2 * log_var) - 1 - 2 * log_var, axis=0),
        "This is the KL of the averages; asked is the average of the KL.": 0.5 * (
            mean.mean(0) ** 2 + np.exp(log_var.mean(0)) - 1 - log_var.mean(0)),
    })
    compare_active(got, mean, tested)

    mean, log_var = 3 * rng.normal(size=(3, 2)), rng.normal(-4, 5, size=(3, 2))
    mean[:, 1] = [-8.0, -8.05, -7.97]
    got_kl, got = parts(ask(answer, mean=mean, log_var=log_var), "the KL", "the active dimensions")
    compare(got_kl, np.array([np.mean([
        gaussian.kl_divergence([m], [[math.exp(v)]], [0.0], [[1.0]]) for m, v in zip(*column)])
        for column in zip(mean.T, log_var.T)]), what="the KL of each dimension, nats",
            tested="n = 3, k = 2")
    compare_active(got, mean, "n = 3, k = 2")


def compare_active(got, mean, tested):
    """Refuse a wrong list of active dimensions with the first dimension that is wrong.

    Seven times yes or no fit too many causes to name one.
    """
    variances = np.array([np.mean((column - column.mean()) ** 2) for column in mean.T])
    got, active = array(got, "the list of active dimensions"), variances > 0.01
    need(got.shape == active.shape, f"tested with {tested}: the list of active dimensions has "
         f"shape {got.shape}, expected {active.shape}: True or False for each.")
    need(np.all((got == 0) | (got == 1)), f"tested with {tested}: the list of active dimensions "
         f"must be of True and False, got {show(got)}.")
    need(np.any(got != 1 - active), f"tested with {tested}: these are the inactive dimensions.")
    for i in np.flatnonzero(got != active):
        need(False, f"tested with {tested}: dimension {i} is called {'in' * (not got[i])}active, "
             f"and the variance of the encoder's mean over the digits is {variances[i]:.4g} there.")


@exercise(
    "free-nats", kind="build", difficulty=2, minutes=15, identities=("K3",),
    right="The free nats are no gift: this cost is not the negative ELBO, so report the plain one, "
          "and set λ to zero before the end of the training if dimensions may be rightly off.")
def free_nats(answer):
    rng = np.random.default_rng(0)
    ratio = rng.uniform(0.1, 1.9, size=(6, 5))
    first = ratio / ratio.mean(axis=0) * [0.12, 0.41, 0.92, 0.31, 0.66]
    second = rng.gamma(1.0, 4.0, size=(4, 2)) * [1.0, 0.1]
    for kl, free in ((first, 0.5), (first, 0.25), (first, 0.0), (second, 2.0), (second, 50.0)):
        n, k = kl.shape
        average = [sum(kl[i, j] for i in range(n)) / n for j in range(k)]
        cost = sum(value if value > free else free for value in average)
        above = np.array([value > free for value in average])
        gradient = np.tile(above / n, (n, 1))
        tested = f"n = {n}, k = {k}, {free:g} free nats"
        got, got_gradient = parts(ask(answer, kl=kl, free_nats=free), "the cost", "its gradient")
        plain = float(np.sum(average))
        compare(got, cost, what="the cost, nats", tested=tested, mistakes={
            "This takes the maximum for each example; average over the batch before it.":
                np.mean(np.maximum(kl, free), axis=0).sum(),
            "This gives all dimensions together the free nats of all; each has its own, and none "
            "can use another one's.": max(plain, k * free),
            "This is the plain KL: is the maximum taken of the sum over the dimensions, or not at "
            "all?": max(plain, free),
            "This is a minimum: it charges no more than λ.": sum(min(a, free) for a in average),
            "This counts only the nats above λ; a dimension below counts as λ.":
                sum(max(a - free, 0) for a in average),
            "This is the mean over the dimensions; the KL sums over them.": cost / k,
            "This is the sum over the batch; a loss per example is an average.": n * cost,
            "This is one number for each dimension: sum them.": np.maximum(average, free),
        })
        compare(got_gradient, gradient, what="the gradient", tested=tested, mistakes={
            "This pulls on dimensions below λ as well, where the cost does not change.":
                np.full((n, k), 1 / n),
            "This decides for each example whether it is above λ; the average decides.":
                (kl > free) / n,
            "This is 1 where it should be less: the average contains each example with a weight.":
                gradient * n,
            "This is the derivative with respect to the average; asked is that with respect to "
            "every element of kl.": above * 1.0,
            "This pulls on the dimensions below λ, and not on those above.": 1 / n - gradient,
            "This is a mean over the dimensions, too.": gradient / k,
        })


@exercise(
    "warm-up-schedules", kind="build", difficulty=1, minutes=10,
    right="Print the first and the last value of every schedule you write: both ends are where "
          "they go wrong.")
def warm_up_schedules(weight, rate):
    for num_steps, peak in ((40, 4e-3), (60, 0.3), (20, 2.0)):
        steps = np.arange(num_steps)
        half, rise = num_steps // 2, num_steps // 10
        got = np.array([number(ask(weight, step=step, num_steps=num_steps), "the weight")
                        for step in range(num_steps)])
        expected = np.interp(steps, [-1, half - 1, num_steps], [0, 1, 1])
        compare(got, expected, what=f"the weight of the KL in {num_steps} steps", mistakes={
            "It is late by one step: the first step has no KL at all.":
                np.minimum(1, steps / half),
            "The line begins at 0 in the first step and rises faster to end in time.":
                np.minimum(1, steps / (half - 1)),
            "It goes on rising above 1.": (steps + 1) / half,
            "The rise takes all the steps instead of the first half.": (steps + 1) / num_steps,
            "The rise takes all the steps, and it is late by one step.": steps / num_steps,
            "It is early by one step.": np.minimum(1, (steps + 2) / half),
            "After the first half it stays below 1.":
                np.minimum((steps + 1) / num_steps, 0.5),
        })

        got = np.array([number(ask(rate, step=step, num_steps=num_steps, peak=peak), "the rate")
                        for step in range(num_steps)])
        falls = np.cos(0.5 * np.pi * (steps - rise) / (num_steps - rise)) ** 2  # half a cosine

        def schedule(rising, falling, rise=rise, steps=steps, peak=peak):
            return peak * np.where(steps < rise, rising, falling)

        def half_cosine(done):
            return (1 + np.cos(np.pi * done)) / 2

        rises = np.interp(steps, [-1, rise - 1], [0, 1])
        compare(got, schedule(rises, falls), what=f"the learning rate in {num_steps} steps",
                mistakes={
            "The rise is late by one step: the first step makes no move.":
                schedule(steps / rise, falls),
            "There is no rise.": peak * falls,
            "After the rise it stays at its peak.": schedule(rises, 1),
            "It falls along a line.": schedule(
                rises, 1 - (steps - rise) / (num_steps - rise)),
            "Here u counts from the beginning, so that the rate jumps after the rise.":
                schedule(rises, half_cosine(steps / num_steps)),
            "Here u is the fraction that is done after the step, not before it.":
                schedule(rises, half_cosine((steps + 1 - rise) / (num_steps - rise))),
            "Here u is 1 in the last step already, which then makes no move.":
                schedule(rises, half_cosine((steps - rise) / (num_steps - 1 - rise))),
            "This is a whole cosine: the rate rises again.":
                schedule(rises, half_cosine(2 * (steps - rise) / (num_steps - rise))),
            "The cosine turns negative, and so does the rate.":
                schedule(rises, np.cos(np.pi * (steps - rise) / (num_steps - rise))),
            "After the rise the rate is twice what it should be.": schedule(rises, 2 * falls),
        })


@exercise(
    "linear-vae-kl", kind="derive", difficulty=2, minutes=25, identities=("K3", "B3"),
    right="The KL of a dimension depends on the noise that the decoder is given, and not on the "
          "data alone: compare two models by their KL only at the same σ.")
def linear_vae_kl(dimension_kl, best_noise_var):
    first = np.array([5.2, 2.4, 1.15, 0.6, 0.35])
    others = np.array([9.1, 7.7, 3.0, 0.9])
    for values, noise_var, k in [(first, 1.5, 3), (first, 0.45, 3), (first, 0.2, 2),
                                 (first, 3.3, 4), (others, 2.0, 3), (others, 0.04, 1)]:
        got = ask(dimension_kl, eigenvalues=values, noise_var=noise_var, k=k)
        expected = kl_at_maximum(values, noise_var, k)
        ratio = values[:k] / noise_var
        on = np.maximum(ratio, 1)
        compare(got, expected, what="the KL of each dimension, nats",
                tested=f"eigenvalues {values.tolist()}, σ² = {noise_var}, k = {k}",
                error=1e-12,  # rounding in the matrices
                mistakes={
                    "This is twice the KL: a factor ½ is missing.": np.log(on),
                    "Dimensions that are off have a KL of zero; here it is negative.":
                        np.log(ratio) / 2,
                    "Here noise_var is taken for σ; it is σ².":
                        np.log(np.maximum(ratio / noise_var, 1)) / 2,
                    "Here the root of noise_var is taken; it is σ² already.":
                        np.log(np.maximum(values[:k] / noise_var**0.5, 1)) / 2,
                    "This is what the dimension gains for the ELBO, not what its KL is.":
                        (on - 1 - np.log(on)) / 2,
                    "Here the eigenvalue stands for the squared length of the column of W; the "
                    "noise has a share in the eigenvalue.": np.log(1 + ratio) / 2,
                    "This is the squared length of the columns of W in units of σ².": on - 1,
                    "These are bits; nats are asked for.": np.log2(on) / 2,
                    "This is in the reverse order.": expected[::-1],
                    "This is given for all the eigenvalues; there are k dimensions.":
                        np.log(np.maximum(values / noise_var, 1)) / 2,
                })

    for values, k in ((first, 2), (first, 1), (first, 3), (others, 2), (others, 1)):
        best = number(ask(best_noise_var, eigenvalues=values, k=k), "the variance of the noise")
        # Search the maximum of the likelihood with the best W, first roughly, then finely.
        centre, width = 1.0, 3.0
        for _ in range(3):
            grid = centre * np.exp(np.linspace(-width, width, 4001))
            spectra = np.tile(grid[:, None], (1, len(values)))  # of the model's covariance
            spectra[:, :k] = np.maximum(spectra[:, :k], values[:k])
            surprise = np.sum(np.log(spectra) + values / spectra, axis=1) / 2
            centre, width = grid[surprise.argmin()], width / 500
        rest = values[k:]
        compare(best, centre, what="the best σ²", error=1e-6,  # it is flat within rounding for 1e-7
                tested=f"eigenvalues {values.tolist()}, k = {k}",
                mistakes={
                    "This is σ, not σ².": np.sqrt(rest.mean()),
                    "This is the total of what is left over; every discarded direction has its "
                    "own noise.": rest.sum(),
                    "This averages over all d directions; k of them are not left to the noise.":
                        rest.sum() / len(values),
                    "This is the mean of all the eigenvalues.": values.mean(),
                    "This is the mean of the eigenvalues that are kept.": values[:k].mean(),
                    "This is the largest of the discarded eigenvalues; the others count as well.":
                        rest[0],
                    "This is the smallest eigenvalue that is kept: where a dimension goes off, "
                    "not where the likelihood is largest.": values[k - 1],
                    "This is the smallest eigenvalue.": values[-1],
                    "This discards one eigenvalue too few.": values[k - 1:].mean(),
                })


def kl_at_maximum(values, noise_var, k):
    """Return the KL of each dimension from the model's own posterior, in a rotated basis."""
    d = len(values)
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(d, d)))[0]
    columns = rotation[:, :k] * np.sqrt(np.maximum(values[:k] - noise_var, 0))
    model = LinearGaussian(columns, np.zeros(d), noise_var**0.5)
    encoder, var = model.mean_field(np.eye(d))  # (d, k): the mean is linear in x
    spread = np.diag(encoder.T @ (rotation * values) @ rotation.T @ encoder)
    return (spread + var - 1 - np.log(var)) / 2


def ascend(data_var, noise_var, threshold=0.03, change=""):
    """Return the number of updates until the KL exceeds the threshold, at most 1000."""
    rate = -0.1 if change == "down" else 0.1
    w, v, log_s = 0.01, 0.01, 0.0
    for step in range(1000):
        s = math.exp(log_s)
        if (v * v * data_var + s - 1 - log_s) / 2 > threshold:
            return step
        residual = 1 - w * v
        for_w = (data_var * residual * v - w * s * (change != "no noise")) / noise_var
        for_log_s = (1 - s - s * w * w / noise_var) / 2
        if change == "in turn":
            w += rate * for_w
            residual = 1 - w * v
        for_v = data_var * residual * w / noise_var - v * data_var * (change != "no KL")
        if change != "in turn":
            w += rate * for_w
        v += rate * for_v
        log_s += rate * for_log_s * (change != "s fixed")
        if max(abs(w), abs(v), abs(log_s)) > 1e3:
            return 1000
    return 1000


@exercise(
    "steps-to-wake", kind="explore", difficulty=3, minutes=30, identities=("K3", "B3"),
    right="Training adds the noise of one sample and of small batches: there the signal has to "
          "grow out of the noise, and Adam divides by both.")
def steps_to_wake(growth, steps):
    cases = [(2.0, 1.0), (3.0, 2.0), (0.8, 0.5), (1.6, 1.2), (0.9, 1.3)]
    got = np.array([number(ask(growth, data_var=a, noise_var=b), "the eigenvalue")
                    for a, b in cases])
    expected = np.array([curvature(a, b)[-1] for a, b in cases])
    names = "(λ, σ²) = " + ", ".join(f"({a:g}, {b:g})" for a, b in cases)

    def largest(entries):
        return np.array([np.linalg.eigvalsh(entries(a, b))[-1] for a, b in cases])

    compare(got, expected, what="the largest eigenvalues r", tested=names, mistakes={
        "This is the other eigenvalue, the direction into the dead point.":
            np.array([curvature(a, b)[0] for a, b in cases]),
        "This is the criterion for a saddle, λ/σ² against 1, and not how fast it is left.":
            np.array([a / b - 1 for a, b in cases]),
        "This is half of the eigenvalue: a second derivative is twice the coefficient of a square.":
            expected / 2,
        "What the encoder pays for its mean, the KL, is missing.":
            largest(lambda a, b: [[-1 / b, a / b], [a / b, 0]]),
        "What the decoder pays for the noise of h is missing.":
            largest(lambda a, b: [[0, a / b], [a / b, -a]]),
        "The mixed derivative is half of what it should be.":
            largest(lambda a, b: [[-1 / b, a / b / 2], [a / b / 2, -a]]),
        "The mixed derivative is twice what it should be.":
            largest(lambda a, b: [[-1 / b, 2 * a / b], [2 * a / b, -a]]),
        "Here noise_var is taken for σ; it is σ².":
            np.array([curvature(a, b * b)[-1] for a, b in cases]),
        "The sign is reversed: these are eigenvalues of the loss.": -expected,
        "These are the factors by which an update with η = 0.1 multiplies the deviation.":
            1 + 0.1 * expected,
    })

    cases = [(2.0, 1.0), (3.0, 2.0), (0.8, 0.5), (1.1, 1.0), (0.9, 1.3)]
    got = np.array([number(ask(steps, data_var=a, noise_var=b), "the number of updates")
                    for a, b in cases])

    def runs(**settings):
        return np.array([ascend(a, b, **settings) for a, b in cases])

    expected = runs()
    names = "(λ, σ²) = " + ", ".join(f"({a:g}, {b:g})" for a, b in cases)
    compare(got, expected, what="the numbers of updates", tested=names, mistakes={
        "This is descent: the ELBO falls from update to update.":
            runs(change="down"),
        "The parameters are updated one after the other: use the old w in the slope of v.":
            runs(change="in turn"),
        "A factor ½ is missing in the KL that is compared with 0.03.": runs(threshold=0.015),
        "The KL is missing in the slope of v.": runs(change="no KL"),
        "What the decoder pays for the noise of h is missing in the slope of w.":
            runs(change="no noise"),
        "Here s is never updated.": runs(change="s fixed"),
        "This is one too many where a dimension wakes: count the updates that have been made when "
        "the KL is first above 0.03.": expected + (expected < 1000),
        "This is one too few: count the update that brought the KL above 0.03.":
            expected - (expected < 1000),
        "Here noise_var is taken for σ; it is σ².":
            np.array([ascend(a, b * b) for a, b in cases]),
    })


def curvature(data_var, noise_var):
    """Return the eigenvalues of the mean ELBO's second derivatives at the dead point.

    The mean over two points of the right variance is that over the data, and central differences
    are exact, since no power above the second of w or v occurs.
    """
    x = np.sqrt(data_var) * np.array([[1.0], [-1.0]])

    def elbo(w, v):
        return LinearGaussian([[w]], [0.0], noise_var**0.5).elbo(x, v * x, np.eye(1)).mean()

    h = 0.1
    matrix = np.zeros((2, 2))
    for i, (dw, dv) in enumerate([(h, 0), (0, h)]):
        matrix[i, i] = (elbo(dw, dv) - 2 * elbo(0, 0) + elbo(-dw, -dv)) / h**2
    mixed = elbo(h, h) - elbo(h, -h) - elbo(-h, h) + elbo(-h, -h)
    matrix[0, 1] = matrix[1, 0] = mixed / (4 * h**2)
    return np.linalg.eigvalsh(matrix)
