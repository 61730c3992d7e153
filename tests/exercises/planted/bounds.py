from planted import Planted, swap

PLANTED = {
    "largest-of-ten": Planted(
        base="""
estimates = logsumexp(log_w_seen, axis=2) - np.log(20)  # (2000, 10)
pooled = logsumexp(log_w_seen, axis=(1, 2)) - np.log(200)
averages = estimates.mean(), estimates.max(axis=1).mean(), pooled.mean()
publish = "pooled"
""",
        right=[
            """
means = np.exp(log_w_seen).mean(axis=2)
averages = np.array([np.log(means).mean(), np.log(means.max(axis=1)).mean(),
                     np.log(means.mean(axis=1)).mean()])
publish = "pooled"
""",
            """
import torch
log_w = torch.tensor(log_w_seen)
groups = torch.logsumexp(log_w, 2) - np.log(20)
whole = torch.logsumexp(log_w.flatten(1), 1) - np.log(200)
averages = torch.stack([groups.mean(), groups.max(dim=1).values.mean(), whole.mean()])
publish = "pooled"
""",
        ],
        wrong={
            "ELBO": (swap("estimates.mean(),", "log_w_seen.mean(),"), "the ELBO, not L_20"),
            "no log": (swap("axis=2) - np.log(20)", "axis=2)"), "−log 20 is missing: a group"),
            "no log for the largest": (swap("estimates.max(axis=1).mean()",
                                            "estimates.max(axis=1).mean() + np.log(20)"),
                                       "−log 20 is missing here"),
            "largest of all": (swap("estimates.max(axis=1).mean()", "estimates.max()"),
                               "largest of all repetitions"),
            "smallest": (swap("estimates.max(", "estimates.min("), "the smallest of the ten"),
            "largest weight": (swap("estimates.max(axis=1).mean()",
                                    "log_w_seen.max(axis=(1, 2)).mean()"), "of a single weight"),
            "pooled estimates": (swap("pooled.mean()", "estimates.mean()"), "not their logarithms"),
            "log 20 of 200": (swap("np.log(200)", "np.log(20)"), "200 weights are pooled"),
            "all in one": (swap("pooled.mean()", "np.log(np.exp(log_w_seen).mean())"),
                           "all 2,000 repetitions together"),
            "log of the average": (swap("estimates.mean(),", "np.log(np.exp(log_w_seen).mean()),"),
                                   "an average over the repetitions"),
            "pooled first": (swap("= estimates.mean(),", "= pooled.mean(),"),
                             "This is the pooled estimate"),
            "publish the largest": (swap('"pooled"', '"largest"'), "chosen for being high"),
            "publish the mean": (swap('"pooled"', '"mean"'), "a better one of the three"),
            "publish nothing": (swap('"pooled"', '"none"'), "must be 'mean'"),
        },
    ),
    "log-normal-weights": Planted(
        base="""
def uneven(std, gap):
    elbo_gap = std**2 / 2
    relative_variance = np.exp(std**2) - 1
    return elbo_gap, relative_variance, relative_variance / (2 * gap)


print("ELBO's gap {:.1f}, {:.1f}, {:.1f} nats".format(*uneven(np.array([1.0, 3, 6]), 0.1)[0]))
print("K for 0.1 nats {:.0f}, {:.0f}, {:.0e}".format(*uneven(np.array([1.0, 3, 6]), 0.1)[2]))
""",
        right=[
            """
def uneven(std, gap):
    variance = np.square(std)
    relative = np.expm1(variance)
    return [0.5 * variance, relative, 0.5 * relative / gap]
""",
            """
import math
def uneven(std, gap):
    rows = []
    for t in std:
        t = float(t)
        first, second = math.exp(t * t / 2), math.exp(2 * t * t)
        relative = (second - first**2) / first**2
        rows.append((math.log(first), relative, relative / gap / 2))
    return tuple(np.array(rows).T)
""",
            """
import torch
def uneven(std, gap):
    relative = torch.expm1(std.float() ** 2)
    return std.float() ** 2 / 2, relative, relative / (2 * gap)
""",
            """
def uneven(std, gap):
    results = [[], [], []]
    for each in std:
        relative = np.expm1(each**2)
        for part, value in zip(results, (0.5 * each**2, relative, relative / gap / 2)):
            part.append(value)
    return results
""",
        ],
        wrong={
            "one gap": (swap("(2 * gap)", "0.16"), None),
            "no half": (swap("std**2 / 2", "std**2"), "½ is missing in log E[w]"),
            "std taken for the variance": (swap("std**2 / 2", "std / 2"), "standard deviation"),
            "sign": (swap("std**2 / 2", "-std**2 / 2"), "the other difference"),
            "ratio": (swap("std**2 / 2", "np.exp(std**2 / 2)"), "its logarithm"),
            "no one": (swap(" - 1", ""), "the mean subtracted"),
            "half in the exponent": (swap("np.exp(std**2)", "np.exp(std**2 / 2)"), "c²b²/2"),
            "not relative": (swap("np.exp(std**2) - 1", "np.exp(2 * std**2) - np.exp(std**2)"),
                             "not divided by p(x)²"),
            "root": (swap("np.exp(std**2) - 1", "np.sqrt(np.exp(std**2) - 1)"),
                     "relative standard deviation"),
            "variance of the logarithm": (swap("np.exp(std**2) - 1", "std**2"),
                                          "variance of log w"),
            "K without the half": (swap("(2 * gap)", "gap"), "the law has a factor ½"),
            "K from the ELBO": (swap("relative_variance / (2 * gap)", "elbo_gap / gap"),
                                "not the gap at K = 1"),
            "K rounded": (swap("relative_variance / (2 * gap)",
                               "np.ceil(relative_variance / (2 * gap))"), "rounded"),
            "squared gap": (swap("(2 * gap)", "(2 * gap**2)"), "not as 1/√K"),
            "two of three": ("""
def uneven(std, gap):
    return np.exp(std**2) - 1, (np.exp(std**2) - 1) / (2 * gap)
""", "return 3 results"),
        },
    ),
    "sudden-spring": Planted(
        base="""
def switch(ratio):
    dissipated = (ratio - 1 - np.log(ratio)) / 2
    root = np.sqrt(np.maximum(2 * ratio - 1, 0))
    finite = root > 0
    return dissipated, np.where(finite, ratio / np.where(finite, root, 1) - 1, np.inf)


better = "stiffen"
""",
        right=[
            """
import math
def switch(ratio):
    works, variances = [], []
    for k in ratio:
        works.append(0.5 * (k - 1) - math.log(k) / 2)
        variances.append(k / math.sqrt(2 * k - 1) - 1 if k > 0.5 else math.inf)
    return np.array(works), np.array(variances)
better = "stiffen"
""",
            """
import torch
def switch(ratio):
    work = (ratio - 1) / 2 - torch.log(ratio) / 2
    inside = 2 * ratio - 1
    second = torch.where(inside > 0, 1 / torch.sqrt(inside.abs()), torch.inf)
    return work, second * ratio - 1
better = "stiffen"
""",
        ],
        wrong={
            "mean work": (swap(" - np.log(ratio)) / 2", ") / 2"), "not subtracted yet"),
            "free energy": (swap("(ratio - 1 - np.log(ratio)) / 2", "np.log(ratio) / 2"),
                            "This is F"),
            "sign of F": (swap("1 - np.log(ratio)", "1 + np.log(ratio)"), "with the other sign"),
            "negative": (swap("(ratio - 1 - np.log(ratio))", "-(ratio - 1 - np.log(ratio))"),
                         "not negative"),
            "no half": (swap("np.log(ratio)) / 2", "np.log(ratio))"), "factor ½ is missing"),
            "no half in F": (swap("(ratio - 1 - np.log(ratio)) / 2",
                                  "(ratio - 1) / 2 - np.log(ratio)"), "in the free energy"),
            "no half in W": (swap("(ratio - 1 - np.log(ratio)) / 2",
                                  "(ratio - 1) - np.log(ratio) / 2"), "in the mean work"),
            "new density": (swap("(ratio - 1 - np.log(ratio)) / 2",
                                 "(1 - 1 / ratio - np.log(ratio)) / 2"), "done on the old one"),
            "no one": (swap("root, 1) - 1", "root, 1)"), "1 is not subtracted"),
            "variance of w": (swap("ratio / np.where(finite, root, 1) - 1",
                                   "1 / np.where(finite, root, 1) - 1 / ratio"),
                              "not divided by E[w]² yet"),
            "second moment": (swap("ratio / np.where(finite, root, 1) - 1",
                                   "1 / np.where(finite, root, 1) - 1"), "by E[w]² first"),
            "deviation": (swap("ratio / np.where(finite, root, 1) - 1",
                               "np.sqrt(ratio / np.where(finite, root, 1) - 1 + 1e-300)"),
                          "relative standard deviation"),
            "variance of W": (swap("ratio / np.where(finite, root, 1) - 1", "(ratio - 1)**2 / 2"),
                              "variance of the work"),
            "once": (swap("ratio / np.where(finite, root, 1) - 1",
                          "ratio**0.5 / np.where(finite, root, 1) - ratio**-0.5"), "once"),
            "always finite": (swap("np.inf)", "0.0)"), "for every κ"),
            "never finite": (swap("root > 0", "root > 1"), "where it exists"),
            "nan": (swap("np.inf)", "np.nan)"), "give np.inf"),
            "soften": (swap('"stiffen"', '"soften"'), "from the narrow density"),
            "no choice": (swap('"stiffen"', '"both"'), "must be 'stiffen'"),
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
    "subtract-the-bias": Planted(
        base="""
def two_valued(K, high, low, q):
    j = np.arange(K + 1)
    probability = comb(K, j) * q**j * (1 - q) ** (K - j)
    return np.sum(probability * np.log(((K - j) * high + j * low) / K))


log_p = np.log(0.9 * 1.1 + 0.1 * 0.1)
excess = 2 * two_valued(2, 1.1, 0.1, 0.1) - two_valued(1, 1.1, 0.1, 0.1) - log_p
verdict = "sometimes above log p"
""",
        right=[
            """
import itertools, math
def two_valued(K, high, low, q):
    total = 0.0
    for group in itertools.product([(high, 1 - q), (low, q)], repeat=K):
        total += math.prod(p for _, p in group) * math.log(sum(w for w, _ in group) / K)
    return total
excess = 2 * two_valued(2, 1.1, 0.1, 0.1) - two_valued(1, 1.1, 0.1, 0.1)
verdict = "sometimes above log p"
""",
            """
from scipy.stats import binom
def two_valued(K, high, low, q):
    return binom(K, q).expect(lambda j: np.log(high + j * (low - high) / K))
excess = np.float32(2 * two_valued(2, 1.1, 0.1, 0.1) - two_valued(1, 1.1, 0.1, 0.1))
verdict = "sometimes above log p"
""",
        ],
        wrong={
            "log p": (swap("np.sum(probability * np.log(((K - j) * high + j * low) / K))",
                           "np.log((1 - q) * high + q * low)"), "This is log p(x)"),
            "L_1": (swap("np.sum(probability * np.log(((K - j) * high + j * low) / K))",
                         "(1 - q) * np.log(high) + q * np.log(low)"), "This is L_1"),
            "exchanged": (swap("(K - j) * high + j * low", "j * high + (K - j) * low"),
                          "probability of the low weight"),
            "sum": (swap(" / K))", "))"), "−log K is missing"),
            "negative": (swap("return np.sum", "return -np.sum"), "This is −L_K"),
            "no orders": (swap("comb(K, j) * ", ""), "binomial coefficient"),
            "no factor": (swap("excess = 2 * ", "excess = "), "has the factor 2"),
            "sign": (swap("excess = 2 * two_valued(2, 1.1, 0.1, 0.1) - two_valued(1, 1.1, 0.1, "
                          "0.1)", "excess = two_valued(1, 1.1, 0.1, 0.1) - 2 * two_valued(2, 1.1, "
                          "0.1, 0.1)"), "the other one"),
            "K is 2": (swap("two_valued(2,", "two_valued(4,", "two_valued(1,", "two_valued(2,"),
                       "K is 1 here"),
            "exchanged bounds": (swap("two_valued(2,", "two_valued(0 + 1,",
                                      "two_valued(1,", "two_valued(2,"), "This is 2 L_1 − L_2"),
            "L_2": (swap("2 * two_valued(2, 1.1, 0.1, 0.1) - two_valued(1, 1.1, 0.1, 0.1)",
                         "two_valued(2, 1.1, 0.1, 0.1)"), "This is L_2 itself"),
            "twice": (swap("2 * two_valued(2, 1.1, 0.1, 0.1) - two_valued(1, 1.1, 0.1, 0.1)",
                           "2 * (two_valued(2, 1.1, 0.1, 0.1) - two_valued(1, 1.1, 0.1, 0.1))"),
                      "the whole difference"),
            "never": (swap("sometimes above", "never above"), "contradicts"),
            "no verdict": (swap("sometimes above log p", "yes"), "must be 'never"),
        },
    ),
}
