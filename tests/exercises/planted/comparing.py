from planted import Planted, swap

PLANTED = {
    "bits-of-any-range": Planted(
        base="""
def bits_per_dimension(log_density, d, levels, width):
    return -log_density / (d * np.log(2)) + np.log2(levels / width)
""",
        right=[
            """
import math
def bits_per_dimension(log_density, d, levels, width):
    log_P = log_density - d * math.log(levels / width)
    return -log_P / d / math.log(2)
""",
            """
def bits_per_dimension(log_density, d, levels, width):
    cell = width / levels
    return np.array([-np.log2(np.exp(value / d) * cell) for value in log_density])
""",
            """
import torch
def bits_per_dimension(log_density, d, levels, width):
    nats = -log_density.float() / d + torch.log(torch.tensor(levels / width))
    return nats / torch.log(torch.tensor(2.0))
""",
        ],
        wrong={
            "no cell": (swap(" + np.log2(levels / width)", ""), "volume of a cell is missing"),
            "always the unit interval": (swap("levels / width", "levels"), "B does not enter"),
            "always 8": (swap("np.log2(levels / width)", "8"), None),
            "sign of the cell": (swap("+ np", "- np"), "with the other sign"),
            "width inverted": (swap("levels / width", "levels * width"), "the wrong way"),
            "nats": (swap(" * np.log(2)", "", "np.log2", "np.log"), "in nats"),
            "nats plus bits": (swap(" * np.log(2)", ""), "log p is not divided by log 2"),
            "bits plus nats": (swap("np.log2", "np.log"), "the volume is not"),
            "times log 2": (swap("(d * np.log(2))", "d * np.log(2)"), "multiplied by log 2"),
            "one cell side": (swap("np.log2(levels / width)", "np.log2(levels / width) / d"),
                              "one of d"),
            "per image": (swap("(d * np.log(2))", "np.log(2)", "np.log2(", "d * np.log2("),
                          "of an image"),
            "sign of log p": (swap("-log_density", "log_density"), "wrong sign"),
            "levels minus one": (swap("levels /", "(levels - 1) /"), "M cells"),
        },
    ),
    "held-out-variance": Planted(
        base="""
def held_out_cost(train_squares, test_squares, d):
    var = np.mean(train_squares) / d
    return var, d / 2 * np.log(2 * np.pi * var) + np.mean(test_squares) / (2 * var)


for fitted, name in zip(squares, ["training", "held-out"]):
    print(f"σ² of the {name} images: {held_out_cost(fitted, squares[1], 784)[1]:.2f} nats")
""",
        right=[
            """
def held_out_cost(train_squares, test_squares, d):
    total = 0.0
    for s in train_squares:
        total += s
    var = total / (len(train_squares) * d)
    costs = [0.5 * d * np.log(2 * np.pi) + d * np.log(var**0.5) + 0.5 * s / var
             for s in test_squares]
    return var, np.mean(costs)
""",
            """
import torch
def held_out_cost(train_squares, test_squares, d):
    var = train_squares.float().mean() / d
    normal = torch.distributions.Normal(0.0, var.sqrt())
    pixels = torch.sqrt(test_squares.float() / d)[:, None].expand(-1, d)
    return var, -normal.log_prob(pixels).sum(dim=1).mean()
""",
            """
from fractions import Fraction
def held_out_cost(train_squares, test_squares, d):
    var = sum(Fraction(float(s)) for s in train_squares) / (len(train_squares) * d)
    cost = sum(norm.logpdf(0.0, scale=float(var) ** 0.5) * d - s / (2 * float(var))
               for s in test_squares)
    return [var, -cost / len(test_squares)]
""",
        ],
        wrong={
            "not per pixel": (swap("np.mean(train_squares) / d", "np.mean(train_squares)"),
                              "that of one pixel"),
            "sigma": (swap("np.mean(train_squares) / d", "np.sqrt(np.mean(train_squares) / d)"),
                      "This is σ"),
            "held-out variance": (swap("np.mean(train_", "np.mean(test_"),
                                  "fitted to the held-out images"),
            "both": (swap("np.mean(train_squares)",
                          "np.mean(np.concatenate([train_squares, test_squares]))"),
                     "in the fit, too"),
            "short form": (swap("np.mean(test_squares) / (2 * var)", "d / 2"),
                           "short form of the minimum"),
            "training cost": (swap("np.mean(test_squares)", "np.mean(train_squares)"),
                              "short form of the minimum"),
            "no constant": (swap("2 * np.pi * var)", "var)"), "log 2π is missing"),
            "no half": (swap("d / 2 * np.log", "d * np.log"), "term with the logarithm"),
            "no half in the squares": (swap("(2 * var)", "var"), "term with the squared error"),
            "log-likelihood": (swap("return var, d / 2", "return var, -(d / 2", "(2 * var)",
                                    "(2 * var))"), "This is log p(x|h)"),
            "sum": (swap("d / 2 * np.log", "len(test_squares) * d / 2 * np.log",
                         "np.mean(test_squares)", "np.sum(test_squares)"), "not their mean"),
            "sigma in the logarithm": (swap("np.pi * var)", "np.pi * np.sqrt(var))"),
                                       "σ in the logarithm"),
            "one dimension": (swap("d / 2 * np.log", "0.5 * np.log"), "counted once"),
        },
    ),
    "paired-digits": Planted(
        base="""
difference, error = np.mean(cost_b - cost_a), sem(cost_b - cost_a)
unpaired_digits = (np.var(cost_a, ddof=1) + np.var(cost_b, ddof=1)) / error**2
statement = "model"
""",
        right=[
            """
gains = [float(b - a) for a, b in zip(cost_a, cost_b)]
n = len(gains)
difference = sum(gains) / n
error = (sum((g - difference) ** 2 for g in gains) / (n - 1) / n) ** 0.5
unpaired = sem(cost_a) ** 2 + sem(cost_b) ** 2
unpaired_digits = n * unpaired / error**2
statement = "model"
""",
            """
import torch
gains = torch.tensor(cost_b - cost_a)
difference, error = gains.mean(), gains.std() / 20
spread = torch.tensor(np.stack([cost_a, cost_b])).var(dim=1).sum()
unpaired_digits = spread / error**2
statement = "model"
""",
        ],
        wrong={
            "A − B": (swap("np.mean(cost_b - cost_a)", "np.mean(cost_a - cost_b)"), "A minus B"),
            "sum": (swap("np.mean(cost_b", "np.sum(cost_b"), "the sum over the digits"),
            "unpaired": (swap("sem(cost_b - cost_a)", "np.hypot(sem(cost_a), sem(cost_b))"),
                         "unpaired figures"),
            "added": (swap("sem(cost_b - cost_a)", "sem(cost_a) + sem(cost_b)"),
                      "errors are added"),
            "one model": (swap("sem(cost_b - cost_a)", "sem(cost_a)"), "one model's figure"),
            "deviation": (swap("sem(cost_b - cost_a)", "np.std(cost_b - cost_a, ddof=1)"),
                          "not the error of their mean"),
            "ddof": (swap("sem(cost_b - cost_a)", "sem(cost_b - cost_a, ddof=0)"), "ddof"),
            "squared": (swap("sem(cost_b - cost_a)", "sem(cost_b - cost_a) ** 2"),
                        "square root is missing"),
            "one variance": (swap(" + np.var(cost_b, ddof=1)", ""), "of one model only"),
            "no 400": (swap("error**2", "(400 * error**2)"), "400 digits of today"),
            "deviations": (swap("(np.var(cost_a, ddof=1) + np.var(cost_b, ddof=1))",
                                "(np.std(cost_a, ddof=1) + np.std(cost_b, ddof=1)) ** 2"),
                           "standard deviations are added"),
            "no square": (swap("(np.var(cost_a, ddof=1) + np.var(cost_b, ddof=1)) / error**2",
                               "400 * np.hypot(sem(cost_a), sem(cost_b)) / error"), "as 1/√n"),
            "half": (swap("/ error**2", "/ 2 / error**2"), "Half of this sum"),
            "method": (swap('"model"', '"method"'), "about training runs"),
            "nothing": (swap('"model"', '"nothing"'), "how many of your standard errors"),
            "other word": (swap('"model"', '"A"'), "must be one of"),
        },
    ),
    "read-the-histograms": Planted(
        base="""
diagnosis = ["wide", "shifted", "narrow", "flat"]
coverage = np.mean(np.abs(F_seen - 0.5) < 0.45, axis=1)
flat_means = "not decided"
""",
        right=[
            """
diagnosis = "wide", "shifted", "narrow", "flat"
z = norm.ppf(F_seen)
coverage = [float(np.mean((row > -1.645) & (row < 1.645))) for row in z]
flat_means = "not decided"
""",
            """
import torch
diagnosis = ["wide", "shifted", "narrow", "flat"]
F = torch.tensor(F_seen)
coverage = ((F > 0.05) & (F < 0.95)).double().mean(dim=1)
flat_means = "not decided"
""",
        ],
        wrong={
            "exchanged": (swap('"wide", "shifted", "narrow"', '"narrow", "shifted", "wide"'),
                          "far out"),
            "order": (swap('"wide", "shifted", "narrow", "flat"',
                           '"shifted", "wide", "narrow", "flat"'), "the four shapes"),
            "three words": (swap(', "flat"]', "]"), "four words"),
            "other words": (swap('"flat"', '"right"'), "four words"),
            "outside": (swap("< 0.45", "> 0.45"), "misses h"),
            "80 percent": (swap("0.45", "0.4"), "an interval with 80 %"),
            "95 percent": (swap("0.45", "0.475"), "an interval with 95 %"),
            "one-sided": (swap("np.abs(F_seen - 0.5) < 0.45", "F_seen < 0.9"),
                          "90 % of Q below its end"),
            "one-sided, 95": (swap("np.abs(F_seen - 0.5) < 0.45", "F_seen < 0.95"),
                              "95 % of Q below its end"),
            "one deviation": (swap("np.abs(F_seen - 0.5) < 0.45",
                                   "np.abs(norm.ppf(F_seen)) < 1"), "one standard deviation"),
            "one number": (swap(", axis=1)", ")"), "that of each encoder"),
            "posterior": (swap("not decided", "the posterior"), "does not even look at x"),
            "other choice": (swap("not decided", "both"), "must be 'the posterior'"),
        },
    ),
    "digitised-noise": Planted(
        base="""
def bits(ratio):
    v = np.arange(-600, 601)
    edges = (np.append(v, 601) - 0.5) / np.asarray(ratio)[:, None]
    P = np.diff(norm.cdf(edges), axis=1)
    return -np.sum(P * np.log2(np.where(P > 0, P, 1)), axis=1)


estimate = 0.5 * np.log2(2 * np.pi * np.e) + np.log2(ratios)
wrong = np.abs(estimate - bits(ratios)) > 0.01
smallest = ratios[np.flatnonzero(wrong)[-1] + 1]
more, describes = 1, "noise"
""",
        right=[
            """
from scipy.stats import entropy
def bits(ratio):
    found = []
    for r in ratio:
        v = np.arange(-int(10 * r) - 3, int(10 * r) + 4)
        found.append(entropy(norm.cdf((v + 0.5) / r) - norm.cdf((v - 0.5) / r), base=2))
    return found
formula = np.log2(ratios * np.sqrt(2 * np.pi * np.e))
good = np.abs(formula - np.array(bits(ratios))) < 0.01
i = len(good) - 1
while good[i - 1]:
    i -= 1
smallest, more, describes = float(ratios[i]), 1.0, "noise"
""",
            """
import torch
def bits(ratio):
    v = torch.arange(-600, 601).double()
    normal = torch.distributions.Normal(torch.tensor(0.0).double(), ratio[:, None])
    P = normal.cdf(v + 0.5) - normal.cdf(v - 0.5)
    return -torch.xlogy(P, P).sum(1) / np.log(2)
gap = bits(torch.tensor(ratios)) - np.log2(ratios) - 0.5 * np.log2(2 * np.pi * np.e)
smallest = ratios[np.abs(gap.numpy()) > 0.01].max() + 0.01
more, describes = np.log2(2), "noise"
""",
        ],
        wrong={
            "estimate": (swap("return -np.sum(P * np.log2(np.where(P > 0, P, 1)), axis=1)",
                              "return 0.5 * np.log2(2 * np.pi * np.e * ratio**2)",
                              "ratios[np.flatnonzero(wrong)[-1] + 1]", "2.45"),
                         "the estimate by the density"),
            "nats": (swap("P * np.log2(", "P * np.log(", "ratios[np.flatnonzero(wrong)[-1] + 1]",
                          "2.45"), "in nats"),
            "negative": (swap("return -np", "return np", "ratios[np.flatnonzero(wrong)[-1] + 1]",
                              "2.45"), "This is −entropy"),
            "inverted": (swap("/ np.asarray(ratio)[:, None]", "* np.asarray(ratio)[:, None]",
                              "ratios[np.flatnonzero(wrong)[-1] + 1]", "2.45"), "the wrong way"),
            "shifted cells": (swap(" - 0.5) /", ") /"), "this one begins at v"),
            "a tenth": (swap("> 0.01", "> 0.1"), "right to 0.1 bit"),
            "a thousandth": (swap("> 0.01", "> 0.001"), "right to 0.001 bit"),
            "last wrong": (swap("[-1] + 1]", "[-1]]"), "the last ratio"),
            "no limit": (swap("smallest = ", "smallest = 10 #"), None),
            "two bits": (swap("more, describes = 1,", "more, describes = 2,"), "base 2"),
            "nats more": (swap("more, describes = 1,", "more, describes = np.log(2),"), "in nats"),
            "fewer": (swap("more, describes = 1,", "more, describes = -1,"), "not shorter"),
            "none": (swap("more, describes = 1,", "more, describes = 0,"), "the cells are not"),
            "signal": (swap('"noise"', '"signal"'), "nothing but noise"),
            "no choice": (swap('"noise"', '"both"'), "must be 'signal'"),
        },
    ),
}
