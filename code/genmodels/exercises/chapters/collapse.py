"""Tests of the answers in the chapter on latent dimensions that die."""

import itertools

import numpy as np

from genmodels.exact import gaussian
from genmodels.exercises.compare import ask, chosen, compare, need, number, parts
from genmodels.exercises.registry import exercise

__all__ = ["free_nats", "kept_checkpoint", "paired_seeds", "spin_chain_saddle", "wasted_nats"]


@exercise(
    "wasted-nats", kind="explore", difficulty=2, minutes=20, identities=("K3",),
    right="What is left over bounds the nats that a dimension can tell about which digit it was. "
          "A bound only: nobody says that the decoder makes use of them.")
def wasted_nats(split, wasted, over_counted):
    rng = np.random.default_rng(0)
    for n, k in ((30, 4), (5, 2)):
        mean = rng.normal(size=(n, k)) * rng.uniform(0.1, 1.5, size=k) + rng.normal(size=k)
        log_var = rng.normal(-1, 0.7, size=(n, k))
        tested = f"n = {n}, k = {k}"
        total = np.array([np.mean([
            gaussian.kl_divergence([m], [[v]], [0.0], [[1.0]])
            for m, v in zip(mean[:, j], np.exp(log_var[:, j]))]) for j in range(k)])
        var = np.exp(log_var)
        spread = mean.var(axis=0)

        def common_of(centre, width):
            return np.array([gaussian.kl_divergence([c], [[v]], [0.0], [[1.0]])
                             for c, v in zip(centre, width)])

        centre = mean.mean(axis=0)
        common = common_of(centre, spread + var.mean(axis=0))
        got, got_common = parts(ask(split, mean=mean, log_var=log_var), "the KL",
                                "the common part")
        compare(got, total, what="the KL of each dimension, nats", tested=tested, mistakes={
            "This is twice the KL: a factor ½ is missing.": 2 * total,
            "This is the sum over the digits; the KL of a VAE is their average.": n * total,
            "This takes log_var for log σ; it is log σ².": 0.5 * np.mean(
                mean**2 + np.exp(2 * log_var) - 1 - 2 * log_var, axis=0),
            "This is one number: keep the dimensions apart.": total.sum(),
        })
        compare(got_common, common, what="the common part, nats", tested=tested, mistakes={
            "This leaves out the encoder's noise: the variance of h over the data is that of the "
            "mean plus the average of σ².": common_of(centre, spread),
            "This leaves out that the mean varies: the variance of h over the data is that of the "
            "mean plus the average of σ².": common_of(centre, var.mean(axis=0)),
            "This is what is left, the KL without the common part.": total - common,
            "This averages log σ²; the variance of a mixture has the average of σ².":
                common_of(centre, spread + np.exp(log_var.mean(axis=0))),
            "This is the part of the constant mean alone.": centre**2 / 2,
            "This is D[prior‖q]: the two are exchanged.": np.array([
                gaussian.kl_divergence([0.0], [[1.0]], [c], [[v]])
                for c, v in zip(centre, spread + var.mean(axis=0))]),
            "This is twice the common part: a factor ½ is missing.": 2 * common,
        })
    chosen(wasted, "ABCD", "wasted")
    chosen(over_counted, "ABCD", "over_counted")
    need(wasted == "C", "`wasted` is another one. Put the numbers of the table into your function: "
         "where is the KL large, and the common part all of it?")
    need(over_counted == "B", "`over_counted` is another one: which dimension passes Var μ > 0.01, "
         "and has hardly any nats to tell something with?")


@exercise(
    "free-nats", kind="build", difficulty=2, minutes=15, identities=("K3",),
    right="The free nats are no gift: this cost is not the negative ELBO, so report the plain one, "
          "and set the free nats to zero before the end of the training, as dimensions may be "
          "rightly off.")
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
            "This is a minimum: it charges no more than the free nats.":
                sum(min(a, free) for a in average),
            "This counts only what exceeds the free nats; a dimension below counts as them.":
                sum(max(a - free, 0) for a in average),
            "This is the mean over the dimensions; the KL sums over them.": cost / k,
            "This is the sum over the batch; a loss per example is an average.": n * cost,
            "This is one number for each dimension: sum them.": np.maximum(average, free),
        })
        compare(got_gradient, gradient, what="the gradient", tested=tested, mistakes={
            "This pulls on dimensions below the free nats as well, where the cost does not change.":
                np.full((n, k), 1 / n),
            "This decides for each example whether it is above the free nats; the average decides.":
                (kl > free) / n,
            "This is 1 where it should be less: the average contains each example with a weight.":
                gradient * n,
            "This is the derivative with respect to the average; asked is that with respect to "
            "every element of kl.": above * 1.0,
            "This pulls on the dimensions below the free nats, and not on those above.":
                1 / n - gradient,
            "This is a mean over the dimensions, too.": gradient / k,
        })


@exercise(
    "kept-checkpoint", kind="explore", difficulty=2, minutes=15, identities=("B3",),
    right="A loss whose weight changes during training is another loss in each step: compare "
          "models by the plain −ELBO, whatever they are trained on.")
def kept_checkpoint(kept, line):
    # Seeds for which the mistakes below choose other steps.
    for num_steps, seed in ((20, 8), (40, 5), (30, 70), (16, None)):
        rng, step = np.random.default_rng(seed), np.arange(num_steps)
        kl = 4 + 16 * np.exp(-6 * step / num_steps)
        reconstruction = 150 - 3 * np.sin(np.pi * step / num_steps) + 2 * rng.normal(size=num_steps)
        if seed is None:  # the program keeps the right one, and would not with weights above 1
            kl, reconstruction = 5 + 15 * step / num_steps, 150 - 24 * step / num_steps
        weight = np.minimum(1, 2 * (step + 1) / num_steps)
        plain = reconstruction + kl
        keeps, should = int(np.argmin(reconstruction + weight * kl)), int(np.argmin(plain))
        expected = np.array([keeps, should, plain[keeps] - plain[should]])
        got = np.array([number(each, "each result") for each in parts(
            ask(kept, reconstruction=reconstruction, kl=kl),
            "the step that the program keeps", "the step that it should keep", "the nats lost")])

        def case(first, second, values=plain):
            return np.array([first, second, values[first] - values[second]])

        late = np.argmin(reconstruction + np.minimum(1, 2 * step / num_steps) * kl)
        slow = np.argmin(reconstruction + (step + 1) / num_steps * kl)
        only = np.argmin(reconstruction)
        weighted = reconstruction + weight * kl
        compare(got, expected, what="what is kept, what should be, and the nats lost",
                tested=f"{num_steps} steps", mistakes={
            "The first two are exchanged.": case(should, keeps),
            "The sign of the last one is reversed: the program's choice loses nats.":
                expected * [1, 1, -1],
            "The last one compares weighted losses; what counts is the plain −ELBO of both.":
                case(keeps, should, weighted),
            "The program minimises its loss: this is where it is largest.":
                case(int(np.argmax(weighted)), should),
            "Steps are counted from 0.": expected + np.array([1, 1, 0]),
            "Here the weight is late by one step.": case(int(late), should),
            "Here the weight rises over all the steps.": case(int(slow), should),
            "The weight goes on rising above 1.": case(
                int(np.argmin(reconstruction + 2 * (step + 1) / num_steps * kl)), should),
            "The model with the best −ELBO is not that with the best reconstruction.":
                case(keeps, int(only)),
            "The program's loss has the weight of the KL in it.": case(should, should),
        })
    line = number(line, "`line`")
    need(line in range(1, 7), "`line` must be the number of a line, 1 to 6.")
    need(line == 4, "`line` is another one. Which number is compared from step to step although "
         "its meaning changes?")


@exercise(
    "spin-chain-saddle", kind="explore", difficulty=3, minutes=30, identities=("B3",),
    right="For a long chain with K > 0 the ratio is the sum of correlations, which physicists know "
          "as the susceptibility times the temperature: a dimension pays where spins are "
          "correlated, however weakly.")
def spin_chain_saddle(gain_to_cost, pattern):
    cases = [(3, 0.4), (6, 0.8), (8, -0.5), (5, 0.0), (7, -1.1), (9, 0.3)]
    correlations = [enumerated(n, coupling) for n, coupling in cases]
    expected = np.array([np.linalg.eigvalsh(matrix)[-1] for matrix in correlations])
    got = np.array([number(ask(gain_to_cost, num_spins=n, coupling=coupling), "the ratio")
                    for n, coupling in cases])
    names = "(N, K) = " + ", ".join(f"({n}, {coupling:g})" for n, coupling in cases)

    def largest(entry):
        found = []
        for n, coupling in cases:
            i = np.arange(n)
            found.append(np.linalg.eigvalsh(entry(np.abs(i[:, None] - i), coupling))[-1])
        return np.array(found)

    compare(got, expected, what="Γ", tested=names, mistakes={
        "This takes the uniform pattern of spins for the best one.":
            np.array([matrix.sum() / len(matrix) for matrix in correlations]),
        "Only neighbours are correlated here.":
            largest(lambda r, coupling: np.where(r < 2, np.tanh(coupling) ** r, 0.0)),
        "This has K where tanh K belongs.": largest(lambda r, coupling: (coupling + 0.0) ** r),
        "This is the smallest eigenvalue.":
            np.array([np.linalg.eigvalsh(matrix)[0] for matrix in correlations]),
        "This is Γ − 1, the gain without the cost.": expected - 1,
        "This is the limit of a long chain.":
            np.array([np.exp(2 * abs(coupling)) for _, coupling in cases]),
        "This is the square of the ratio.": expected**2,
        "This is divided by the number of spins; the decoder's cost matrix is 𝐈.":
            expected / [n for n, _ in cases],
    })
    chosen(pattern, ("uniform", "alternating", "none"), "pattern")
    need(pattern == "alternating", "`pattern` is another one: print the eigenvector for K < 0.")


def enumerated(num_spins, coupling):
    """Return E[s sᵀ] of an open Ising chain, from all its states."""
    spins = np.array(list(itertools.product((-1.0, 1.0), repeat=num_spins)))
    weights = np.exp(coupling * np.sum(spins[:, 1:] * spins[:, :-1], axis=1))
    return (spins.T * (weights / weights.sum())) @ spins


@exercise(
    "paired-seeds", kind="explore", difficulty=2, minutes=15,
    right="Seeds are the cheapest way to a small error bar: give both recipes the same ones, and "
          "what the seed alone does to both drops out.")
def paired_seeds(gain, verdict, z):
    rng = np.random.default_rng(2)
    for n in (6, 12):
        constant = 48 + 1.2 * rng.normal(size=n)
        recipe = constant - 0.5 + 0.2 * rng.normal(size=n)
        if n == 12:
            recipe = recipe + 0.9
        difference = constant - recipe
        mean = difference.mean()
        paired = np.sqrt(np.sum((difference - mean) ** 2) / (n - 1) / n)
        variances = constant.var(ddof=1), recipe.var(ddof=1)
        expected = np.array([mean, paired, np.sqrt(sum(variances) / n)])
        got = np.array([number(each, "each result") for each in parts(
            ask(gain, constant=constant, recipe=recipe), "the gain", "its paired standard error",
            "the unpaired one")])
        compare(got, expected, what="gain, paired and unpaired standard error, nats",
                tested=f"{n} seeds", mistakes={
            "The sign of the gain is reversed: it is positive if the recipe has the lower loss.":
                expected * [-1, 1, 1],
            "The two standard errors are exchanged.": expected[[0, 2, 1]],
            "These are standard deviations; the error of a mean is smaller by √n.":
                expected * [1, np.sqrt(n), np.sqrt(n)],
            "These variances are divided by n; n − 1 of the deviations are independent.":
                expected * [1, np.sqrt((n - 1) / n), np.sqrt((n - 1) / n)],
            "The unpaired error adds the errors; variances add, not errors.": np.array(
                [mean, paired, (np.sqrt(variances[0]) + np.sqrt(variances[1])) / np.sqrt(n)]),
            "The unpaired error takes the average of the two variances; they add.": np.array(
                [mean, paired, np.sqrt(sum(variances) / 2 / n)]),
            "These are squares of standard errors.": np.array(
                [mean, paired**2, sum(variances) / n]),
        })
    chosen(verdict, ("better", "worse", "cannot tell"), "verdict")
    constant, recipe = np.array(TABLE)
    difference = constant - recipe
    expected = difference.mean() / (difference.std(ddof=1) / np.sqrt(len(difference)))
    unpaired = difference.mean() / np.sqrt(
        (constant.var(ddof=1) + recipe.var(ddof=1)) / len(difference))
    compare(number(z, "`z`"), expected, what="`z`", relative=0.01, mistakes={
        "This is the gain in unpaired standard errors; the seeds are the same.": unpaired,
        "The sign is reversed.": -expected,
        "This is the gain in standard deviations, not in standard errors.":
            expected / np.sqrt(len(difference)),
    })
    need(verdict == "better", "`verdict` does not fit `z`.")


TABLE = ((49.9, 48.3, 50.2, 47.7, 49.5, 48.0), (49.4, 47.9, 49.6, 47.4, 48.9, 47.6))
