from planted import Planted, swap

PLANTED = {
    "bound-error-bar": Planted(
        base="""
def quote(log_weights, K):
    n, S = log_weights.shape
    groups = log_weights.reshape(n, S // K, K)
    per_point = np.mean(logsumexp(groups, axis=2) - np.log(K), axis=1)  # (n,)
    return per_point.mean(), np.std(per_point, ddof=1) / np.sqrt(n)
""",
        right=[
            """
import torch
def quote(log_weights, K):
    groups = log_weights.unflatten(1, (-1, K))
    bound = (torch.logsumexp(groups, dim=2) - torch.tensor(K).log()).mean(dim=1)
    return bound.mean(), bound.std() / len(bound) ** 0.5
""",
            """
def quote(log_weights, K):
    figures = []
    for row in log_weights:
        found = []
        for start in range(0, len(row), K):
            group = row[start:start + K]
            top = max(group)
            found.append(top + np.log(sum(np.exp(w - top) for w in group) / K))
        figures.append(sum(found) / len(found))
    n = len(figures)
    mean = sum(figures) / n
    return [mean, (sum((f - mean) ** 2 for f in figures) / (n - 1) / n) ** 0.5]
""",
            """
import torch
def quote(log_weights, K):
    groups = log_weights.float().reshape(len(log_weights), -1, K)
    bound = (torch.logsumexp(groups, 2) - np.log(K)).mean(1)
    return torch.stack([bound.mean(), torch.sqrt(bound.var() / len(bound))])
""",
            """
import torch
def quote(log_weights, K):
    bounds = [[torch.logsumexp(group, 0) - np.log(K) for group in row.split(K)]
              for row in torch.tensor(np.array(log_weights), requires_grad=True)]
    figures = torch.stack([torch.stack(row).mean() for row in bounds])
    return [figures.mean(), figures.std() / len(figures) ** 0.5]
""",
        ],
        wrong={
            "no log K": (swap(" - np.log(K)", ""), "−log K is missing"),
            "log S": (swap("np.log(K)", "np.log(S)"), "log S is subtracted"),
            "ELBO": ("""
def quote(log_weights, K):
    per_point = log_weights.mean(axis=1)
    return per_point.mean(), per_point.std(ddof=1) / len(per_point) ** 0.5
""", "This is the ELBO"),
            "K ignored": (swap("S // K, K", "1, S", "np.log(K)", "np.log(S)"), "K does nothing"),
            "first group": (swap("axis=1)  # (n,)", "axis=1)  # (n,)\n    per_point = logsumexp("
                                 "groups[:, 0], axis=1) - np.log(K)"), "thrown away"),
            "interleaved": (swap("S // K, K", "K, S // K", "axis=2", "axis=1"), "K consecutive"),
            "cost": (swap("return per_point", "return -per_point"), "This is −L_K"),
            "per data point": (swap("per_point.mean(),", "per_point,"), "each data point"),
            "wrong axis": ("""
def quote(log_weights, K):
    per_sample = logsumexp(log_weights, axis=0) - np.log(len(log_weights))
    return per_sample.mean(), per_sample.std(ddof=1) / len(per_sample) ** 0.5
""", "wrong axis"),
            "standard deviation": (swap(" / np.sqrt(n)", ""), "not the error of their mean"),
            "over n": (swap("np.sqrt(n)", "n"), "it is √n"),
            "ddof": (swap(", ddof=1", ""), "ddof"),
            "variance of the mean": (swap("np.std", "np.var", "np.sqrt(n)", "n"),
                                     "square root is missing"),
            "all groups": (swap("np.std(per_point, ddof=1) / np.sqrt(n)",
                                "np.std(logsumexp(groups, axis=2), ddof=1) / np.sqrt(n * S / K)"),
                           "only n independent figures"),
            "root of S": (swap("np.sqrt(n)", "np.sqrt(S)"), "one over the n data points"),
            "underflow": (swap("logsumexp(groups, axis=2)", "np.log(np.exp(groups).sum(axis=2))"),
                          "0 or infinite in floating point"),
            "the bound alone": (swap("per_point.mean(), np.std(per_point, ddof=1) / np.sqrt(n)",
                                     "per_point.mean()"), "return 2 results"),
        },
    ),
    "log-normal-weights": Planted(
        base="""
def uneven(tau, gap):
    elbo_gap = tau**2 / 2
    relative_variance = np.exp(tau**2) - 1
    return elbo_gap, relative_variance, relative_variance / (2 * gap)


print("ELBO's gap {:.1f}, {:.1f}, {:.1f} nats".format(*uneven(np.array([1.0, 3, 6]), 0.1)[0]))
print("K for 0.1 nats {:.0f}, {:.0f}, {:.0e}".format(*uneven(np.array([1.0, 3, 6]), 0.1)[2]))
""",
        right=[
            """
def uneven(tau, gap):
    variance = np.square(tau)
    relative = np.expm1(variance)
    return [0.5 * variance, relative, 0.5 * relative / gap]
""",
            """
import math
def uneven(tau, gap):
    rows = []
    for t in tau:
        t = float(t)
        first, second = math.exp(t * t / 2), math.exp(2 * t * t)
        relative = (second - first**2) / first**2
        rows.append((math.log(first), relative, relative / gap / 2))
    return tuple(np.array(rows).T)
""",
            """
import torch
def uneven(tau, gap):
    relative = torch.expm1(tau.float() ** 2)
    return tau.float() ** 2 / 2, relative, relative / (2 * gap)
""",
            """
def uneven(tau, gap):
    results = [[], [], []]
    for each in tau:
        relative = np.expm1(each**2)
        for part, value in zip(results, (0.5 * each**2, relative, relative / gap / 2)):
            part.append(value)
    return results
""",
        ],
        wrong={
            "one gap": (swap("(2 * gap)", "0.16"), None),
            "no half": (swap("tau**2 / 2", "tau**2"), "½ is missing in log E[w]"),
            "tau is the variance": (swap("tau**2 / 2", "tau / 2"), "standard deviation"),
            "sign": (swap("tau**2 / 2", "-tau**2 / 2"), "the other difference"),
            "ratio": (swap("tau**2 / 2", "np.exp(tau**2 / 2)"), "its logarithm"),
            "no one": (swap(" - 1", ""), "the mean subtracted"),
            "half in the exponent": (swap("np.exp(tau**2)", "np.exp(tau**2 / 2)"), "a²τ²/2"),
            "not relative": (swap("np.exp(tau**2) - 1", "np.exp(2 * tau**2) - np.exp(tau**2)"),
                             "not divided by p(x)²"),
            "root": (swap("np.exp(tau**2) - 1", "np.sqrt(np.exp(tau**2) - 1)"),
                     "relative standard deviation"),
            "variance of the logarithm": (swap("np.exp(tau**2) - 1", "tau**2"),
                                          "variance of log w"),
            "K without the half": (swap("(2 * gap)", "gap"), "the law has a factor ½"),
            "K from the ELBO": (swap("relative_variance / (2 * gap)", "elbo_gap / gap"),
                                "not the gap at K = 1"),
            "K rounded": (swap("relative_variance / (2 * gap)",
                               "np.ceil(relative_variance / (2 * gap))"), "rounded"),
            "squared gap": (swap("(2 * gap)", "(2 * gap**2)"), "not as 1/√K"),
            "two of three": ("""
def uneven(tau, gap):
    return np.exp(tau**2) - 1, (np.exp(tau**2) - 1) / (2 * gap)
""", "return 3 results"),
        },
    ),
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
    "missed-mode": Planted(
        base="""
h = x_seen + 0.11 * eps_h
log_w = norm.logpdf(h) + norm.logpdf(x_seen, np.abs(h), 0.1) - norm.logpdf(h, x_seen, 0.11)
bound = logsumexp(log_w) - np.log(log_w.size)
joint = norm.pdf(grid) * norm.pdf(x_seen, np.abs(grid), 0.1)
deficit = np.log(np.trapezoid(joint, grid)) - bound
print(f"effective share {np.exp(2 * bound - logsumexp(2 * log_w)) * log_w.size:.3f}")
print("log w − log p(x) at h = 0, −0.1, −0.2, where Q draws nothing:", np.round([
    norm.logpdf(h) + norm.logpdf(x_seen, -h, 0.1) - norm.logpdf(h, x_seen, 0.11)
    - bound - deficit for h in (0.0, -0.1, -0.2)], 1))
print(f"L_K − L_1 {bound - log_w.mean():.4f}, log p(x) − L_K {deficit:.4f} nats")

x = np.abs(eps_h) + 0.1 * eps_x
F = norm.cdf(eps_h, x, 0.11)
coverage = np.mean(np.abs(F - 0.5) < 0.4)
print(f"coverage of the 80 % interval {coverage:.4f}")
plt.figure(figsize=(5, 2.4))
plt.hist(F, bins=20, range=(0, 1), density=True)
plt.xlabel("F")
plt.ylabel("density")
plt.show()
""",
        right=[
            """
h = x_seen + 0.11 * eps_h
w = norm.pdf(h) * norm.pdf(x_seen - np.abs(h), scale=0.1) / norm.pdf(h, x_seen, 0.11)
step = grid[1] - grid[0]
p = sum(norm.pdf(grid) * norm.pdf(x_seen, abs(grid), 0.1)) * step
deficit = np.log(p / w.mean())
x = abs(eps_h) + 0.1 * eps_x
coverage = np.mean((eps_h > x - 1.2816 * 0.11) & (eps_h < x + 1.2816 * 0.11))
""",
            """
import torch
normal = torch.distributions.Normal
h = torch.tensor(x_seen + 0.11 * eps_h)
x = torch.tensor(x_seen).double()
log_w = normal(0.0, 1.0).log_prob(h) + normal(h.abs(), 0.1).log_prob(x)
log_w = log_w - normal(x, 0.11).log_prob(h)
bound = torch.logsumexp(log_w, 0) - np.log(len(h))
deficit = np.log(2) + norm.logpdf(x_seen, 0, 1.01**0.5) - bound
h = torch.tensor(eps_h)
F = normal(h.abs() + 0.1 * torch.tensor(eps_x), 0.11).cdf(h)
coverage = ((F > 0.1) & (F < 0.9)).double().mean()
""",
        ],
        wrong={
            "sign": (swap("np.log(np.trapezoid(joint, grid)) - bound",
                          "bound - np.log(np.trapezoid(joint, grid))"), "the other difference"),
            "only positive h": (swap("np.trapezoid(joint, grid)",
                                     "np.trapezoid(joint[8000:], grid[8000:])"),
                                "it needs the negative h"),
            "against the ELBO": (swap("np.log(np.trapezoid(joint, grid)) - bound",
                                      "bound - log_w.mean()"), "This is L_K − L_1"),
            "of the ELBO": (swap("logsumexp(log_w) - np.log(log_w.size)", "log_w.mean()"),
                            "deficit of the ELBO"),
            "no log K": (swap(" - np.log(log_w.size)", ""), "not divided by K"),
            "not measured": (swap("deficit = ", "deficit = np.log(2) #"), None),
            "groups": (swap("bound = logsumexp(log_w) - np.log(log_w.size)", "bound = np.mean("
                            "logsumexp(log_w.reshape(1000, 100), axis=1) - np.log(100))"), None),
            "a thousand samples": (swap("h = x_seen + 0.11 * eps_h",
                                        "h = x_seen + 0.11 * eps_h[:1000]"), None),
            "width of the decoder": (swap("x, 0.11)", "x, 0.1)"), "decoder's noise"),
            "bits": (swap("deficit = np.log(np.trapezoid(joint, grid)) - bound",
                          "deficit = (np.log(np.trapezoid(joint, grid)) - bound) / np.log(2)"),
                     "in bits"),
            "no prior in the weights": (swap("norm.logpdf(h) + ", ""), "lack the prior"),
            "decoder does not fold": (swap("norm.pdf(x_seen, np.abs(grid)",
                                           "norm.pdf(x_seen, grid"), "needs the negative h"),
            "h of one sign": (swap("F = norm.cdf(eps_h,", "F = norm.cdf(np.abs(eps_h),"),
                              "taken to be |h|"),
            "h from Q": (swap("F = norm.cdf(eps_h,",
                              "F = norm.cdf(x + 0.11 * eps_x[::-1],"), None),
            "one-sided": (swap("np.abs(F - 0.5) < 0.4", "F < 0.8"), "one-sided"),
            "90 percent": (swap("0.4)", "0.45)"), "90 % of Q"),
            "60 percent": (swap("0.4)", "0.3)"), "60 % of Q"),
            "outside": (swap("< 0.4", "> 0.4"), "misses h"),
        },
    ),
}
