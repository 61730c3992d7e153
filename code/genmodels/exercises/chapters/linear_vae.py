"""Tests of the answers in the chapter on the linear VAE."""

import math

import numpy as np

from genmodels.exercises.compare import array, ask, chosen, compare, need, number, parts
from genmodels.exercises.registry import exercise

__all__ = ["count_kept", "landau_phases", "learned_noise", "momentum_slowing", "soft_modes"]


@exercise(
    "learned-noise", kind="derive", difficulty=2, minutes=25, identities=("K3", "B3"),
    right="The threshold moves with the noise: a fixed σ_x says which dimensions are worth it, "
          "a learned one adapts until all k of them are.")
def learned_noise(solve, switched_off):
    first = np.array([5.2, 2.4, 1.15, 0.6, 0.35])
    others = np.array([9.1, 7.7, 3.0, 0.9])
    for values, k in ((first, 2), (first, 1), (first, 3), (others, 2), (others, 1)):
        tested = f"eigenvalues {values.tolist()}, k = {k}"
        best, kl = parts(ask(solve, eigenvalues=values, k=k), "the variance of the noise",
                         "the KL of each dimension")
        # Search the maximum of the likelihood with the best W, first roughly, then finely.
        centre, width = 1.0, 3.0
        for _ in range(3):
            grid = centre * np.exp(np.linspace(-width, width, 4001))
            spectra = np.tile(grid[:, None], (1, len(values)))  # of the model's covariance
            spectra[:, :k] = np.maximum(spectra[:, :k], values[:k])
            surprise = np.sum(np.log(spectra) + values / spectra, axis=1) / 2
            centre, width = grid[surprise.argmin()], width / 500
        rest = values[k:]
        compare(number(best, "the variance of the noise"), centre, what="the best σ_x²",
                error=1e-6,  # it is flat within rounding for 1e-7
                tested=tested, mistakes={
                    "This is σ_x, not σ_x².": np.sqrt(rest.mean()),
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
        ratio = values[:k] / centre
        var = 1 / ratio  # of Q; its mean varies by 1 − var
        expected = 0.5 * ((1 - var) + var - 1 - np.log(var))
        compare(kl, expected, what="the KL of each dimension, nats", tested=tested, error=1e-6,
                mistakes={
                    "This is twice the KL: a factor ½ is missing.": 2 * expected,
                    "This is what the dimension gains for the ELBO, not what its KL is.":
                        (ratio - 1 - np.log(ratio)) / 2,
                    "Here the eigenvalue stands for the squared length of the column of W; the "
                    "noise has a share in the eigenvalue.": np.log(1 + ratio) / 2,
                    "These are bits; nats are asked for.": np.log2(ratio) / 2,
                    "This is given for all the eigenvalues; there are k dimensions.":
                        np.log(np.maximum(values / centre, 1)) / 2,
                }, named_within=1e-6)
    need(number(switched_off, "`switched_off`") == 0, "`switched_off` is another number. Is the "
         "best σ_x² above or below the eigenvalues that are kept?")


@exercise(
    "soft-modes", kind="explore", difficulty=3, minutes=30, identities=("K3",),
    right="The VAE finds the soft modes, since these move most: its latent variables are "
          "collective coordinates, and raising the temperature wakes more of them.")
def soft_modes(modes_kept, wavelengths):
    cases = [(8, 2.1, 1.0, 0.47), (12, 1.0, 0.3, 0.62), (5, 0.53, 2.0, 3.1), (20, 3.0, 1.5, 0.71),
             (3, 1.0, 0.1, 0.9), (4, 1.0, 1.1, 0.3)]
    names = "(N, stiffness, T, σ_x) = " + ", ".join(str(case) for case in cases)
    answers = [parts(ask(modes_kept, num_masses=n, stiffness=c, temperature=t, noise_std=s),
                     "the number of modes", "the nats in all") for n, c, t, s in cases]
    got = np.array([[number(a, "the number of modes") for a, _ in answers],
                    [number(b, "the nats in all") for _, b in answers]])

    def of_all(variances):
        found = []
        for n, c, t, s in cases:
            kappa, noise_var = variances(n, c, t, s)
            ratio = kappa / noise_var
            found.append([np.sum(ratio > 1), np.sum(np.log(np.maximum(ratio, 1))) / 2])
        return np.array(found).T

    def covariance(n, c, t):
        forces = 2.0 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1)
        return np.linalg.eigvalsh(t * np.linalg.inv(c * forces))

    expected = of_all(lambda n, c, t, s: (covariance(n, c, t), s**2))
    nats = expected[1]
    compare(got, expected, what="the numbers of modes, and the nats", tested=names, error=1e-9,
            mistakes={
        "Here noise_std is taken for σ_x²; it is σ_x.":
            of_all(lambda n, c, t, s: (covariance(n, c, t), s)),
        "This takes the force constants themselves for the variances: a stiff mode moves less.":
            of_all(lambda n, c, t, s: (t / covariance(n, c, 1.0), s**2)),
        "The temperature is missing.": of_all(lambda n, c, t, s: (covariance(n, c, 1.0), s**2)),
        "The stiffness is missing.": of_all(lambda n, c, t, s: (covariance(n, 1.0, t), s**2)),
        "This has frequencies where their squares belong.":
            of_all(lambda n, c, t, s: (t * np.sqrt(covariance(n, c, 1.0)), s**2)),
        "This is twice the KL: a factor ½ is missing.": np.array([expected[0], 2 * nats]),
        "These are bits; nats are asked for.": np.array([expected[0], nats / np.log(2)]),
        "Modes that are off have no KL; here it is negative.": np.array([expected[0], [
            np.sum(np.log(covariance(n, c, t) / s**2)) / 2 for n, c, t, s in cases]]),
    })
    chosen(wavelengths, ("long", "short"), "wavelengths")
    need(wavelengths == "long", "`wavelengths` is the other one: which modes have small force "
         "constants, and so large variances?")


@exercise(
    "landau-phases", kind="explore", difficulty=2, minutes=25, identities=("B3",),
    right="A truncated expansion gets the exponent and the threshold right, and the amplitude only "
          "near the threshold: that is all that Landau's theory promises.")
def landau_phases(minimum, ratio, order):
    cases = [(2.0, 1.0), (3.0, 2.0), (0.8, 1.0), (0.55, 0.5), (5.0, 0.7), (0.9, 1.2)]
    names = "(κ, σ_x²) = " + ", ".join(str(case) for case in cases)
    got = np.array([[number(each, "each result") for each in parts(
        ask(minimum, data_var=a, noise_var=b), "w²", "the free energy, less that at 0")]
        for a, b in cases])

    def solved(second=1.0, fourth=1.0):
        found = []
        for data_var, var in cases:
            # F as a function of the model's variance m: F = ½[log m + κ/m], and m = σ_x² + w²
            slope = 0.5 * (1 / var - data_var / var**2) * second
            curve = 0.5 * (-1 / var**2 + 2 * data_var / var**3) * fourth
            square = max(-slope / curve, 0.0)
            found.append([square, slope * square + curve * square**2 / 2])
        return np.array(found)

    expected = solved()
    exact = np.array([max(a - b, 0.0) for a, b in cases])
    gain = np.array([(1 - max(a / b, 1) + math.log(max(a / b, 1))) / 2 for a, b in cases])
    compare(got[:, 0], expected[:, 0], what="w² at the minimum", tested=names, mistakes={
        "This is the exact minimum; asked is that of the expansion to fourth order.": exact,
        "This is w; w² is asked for.": np.sqrt(expected[:, 0]),
        "Above the critical temperature this is negative; w² is not.": np.array([
            (a - b) * b / (2 * a - b) for a, b in cases]),
        "This is twice as much: the derivative of w⁴ is 4 w³.": 2 * expected[:, 0],
        "This is half as much: the derivative of w² is 2 w.": expected[:, 0] / 2,
    })
    compare(got[:, 1], expected[:, 1], what="the free energy, less that at 0, nats", tested=names,
            mistakes={
                "The sign is reversed: the free energy falls.": -expected[:, 1],
                "This is the exact free energy; asked is that of the expansion.": gain,
                "This is the term in w² alone.": 2 * expected[:, 1],
                "This has the free energy at 0 in it.": expected[:, 1] + np.array([
                    (math.log(2 * math.pi * b) + a / b) / 2 for a, b in cases]),
            })
    compare(number(ratio, "`ratio`"), (1 + 1 / 0.9) / 2, what="`ratio`", relative=1e-3, mistakes={
        "This is for 1 %.": (1 + 1 / 0.99) / 2,
        "Here w, and not w², is off by 10 %.": (1 + 1 / 0.81) / 2,
        "Here the exact w² is taken for the smaller one.": (1 + 0.9) / 2,
        "This is κ/σ_x² − 1.": (1 / 0.9 - 1) / 2,
    })
    chosen(order, ("continuous", "first order"), "order")
    need(order == "continuous", "`order` is the other one: does w² jump at the threshold?")


@exercise(
    "momentum-slowing", kind="explore", difficulty=3, minutes=30,
    right="Momentum buys a factor near the threshold and no other exponent; as long as it is "
          "fixed, the time still diverges like the inverse distance.")
def momentum_slowing(time_constant, speed_up, exponent):
    cases = [(0.5, 0.1, 0.9), (0.02, 0.1, 0.9), (0.3, 0.05, 0.0), (1.5, 0.2, 0.5),
             (0.001, 0.5, 0.99)]
    names = "(r, η, m) = " + ", ".join(str(case) for case in cases)
    got = np.array([number(ask(time_constant, growth=r, rate=eta, momentum=m), "the number of "
                           "updates") for r, eta, m in cases])
    expected = []
    for r, eta, m in cases:
        factor = 1.0 + eta * r  # of one update, as it becomes when the start is forgotten
        for _ in range(20_000):
            factor = 1 + m + eta * r - m / factor
        expected.append(1 / math.log(factor))
    expected = np.array(expected)
    r, eta, m = np.array(cases).T
    compare(got, expected, what="updates for a factor e", tested=names, relative=1e-7, mistakes={
        "This is without momentum.": 1 / np.log(1 + eta * r),
        "This is 1/(ηr): without momentum, and for small steps only.": 1 / (eta * r),
        "This takes the limit of small ηr, in which momentum multiplies the rate by 1/(1 − m).":
            1 / np.log(1 + eta * r / (1 - m)),
        "This is the limit of small ηr; near m = 1 it is not reached.": (1 - m) / (eta * r),
        "These are updates for a factor 2.": math.log(2) * expected,
        "These are updates for a factor 10.": math.log(10) * expected,
        "This is the factor of one update.": np.exp(1 / expected),
        "This is the rate, one over the number of updates.": 1 / expected,
        "This has the sign of r reversed: decay, not growth.": np.array([decay(*each)
                                                                        for each in cases]),
    })
    compare(number(speed_up, "`speed_up`"), 10.0, what="`speed_up`", relative=0.01, mistakes={
        "This is 1 − m; by which factor is it faster?": 0.1,
        "This is 1/√(1 − m).": 10**0.5,
    })
    compare(number(exponent, "`exponent`"), 1.0, what="`exponent`", relative=0.02, mistakes={
        "The time constant grows as κ comes nearer: with 1/distance to a positive power.": -1.0,
        "This is the exponent if m is chosen anew for each distance; here it is fixed.": 0.5,
    })


def decay(growth, rate, momentum):
    """Return updates for a factor e of the slower root if r is negative, or NaN if it turns."""
    roots = np.roots([1, -(1 + momentum - rate * growth), momentum])
    return -1 / np.log(np.max(np.abs(roots)))


@exercise(
    "count-kept", kind="explore", difficulty=2, minutes=20, identities=("B3",),
    right="The threshold compares a variance with a variance, in the units of the data: whoever "
          "rescales the pixels and keeps σ_x changes the model.")
def count_kept(kept, wrong_lines, in_255):
    rng = np.random.default_rng(4)
    cases = []
    for n, scales, k, noise_std in ((300, [3, 2, 1.3, 0.9, 0.8, 0.5], 6, 1.5),
                                    (200, [1.5, 0.75, 0.7, 0.6, 0.3], 5, 0.5),
                                    (400, [4, 3, 2, 1.9, 1.8, 0.1], 3, 1.2),
                                    (250, [0.5, 0.45, 0.4, 0.35, 0.3, 0.25, 0.1], 7, 0.35)):
        d = len(scales)
        rotation = np.linalg.qr(rng.normal(size=(d, d)))[0]
        x = rng.normal(size=(n, d)) * scales @ rotation.T + 3.0 * rotation[:, -1]
        cases.append((x, noise_std, k))
    got = np.array([number(ask(kept, x=x, noise_std=s, k=k), "the number of dimensions")
                    for x, s, k in cases])

    def counts(centred=True, power=2, divided=True, limited=True):
        found = []
        for x, s, k in cases:
            y = x - x.mean(axis=0) * centred
            matrix = y.T @ y / (len(x) if divided else 1)
            number_above = np.sum(np.linalg.eigvalsh(matrix) > s**power)
            found.append(min(k, number_above) if limited else number_above)
        return np.array(found)

    compare(got, counts(), what="the numbers of dimensions", tested="four data sets", mistakes={
        "These are the numbers that the program gives as it is.": counts(centred=False, power=1),
        "The mean of the data still counts as a direction of large variance.":
            counts(centred=False),
        "A variance is compared with σ_x; the threshold is σ_x².": counts(power=1),
        "These are not divided by the number of examples.": counts(divided=False),
        "A model with k dimensions cannot keep more than k.": counts(limited=False),
    })
    lines = array(wrong_lines, "`wrong_lines`").ravel()
    need(len(lines) > 0 and set(lines.tolist()) <= {1, 2, 3},
         "`wrong_lines` must be a list of line numbers, 1 to 3.")
    need(set(lines.tolist()) == {1, 3}, "`wrong_lines` are others: compare each line with the "
         "definition of the eigenvalues and of the threshold.")
    chosen(in_255, ("more", "fewer", "as many"), "in_255")
    need(in_255 == "more", "`in_255` is another one: what happens to the eigenvalues, and what to "
         "the threshold?")
