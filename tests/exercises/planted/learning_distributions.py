from planted import Planted, swap

PLANTED = {
    "unseen-mass": Planted(
        base="""
def unseen_fraction(p, num_snapshots):
    return np.sum(p * np.exp(num_snapshots * np.log1p(-p)))


when_cooled = "less"
""",
        right=[
            """
import math
when_cooled = "less"
def unseen_fraction(p, num_snapshots):
    return sum(float(q) * math.exp(num_snapshots * math.log1p(-float(q))) for q in p)
""",
            """
import torch
def unseen_fraction(p, num_snapshots):
    return (p * torch.exp(num_snapshots * torch.log1p(-p))).sum()
when_cooled = "less"
""",
        ],
        wrong={
            "choice": (swap('"less"', '"more"'), "colder one"),
            "other words": (swap('"less"', '"fewer"'), "must be one of"),
            "no weight": (swap("p * np.exp", "np.exp"), "number of configurations"),
            "mean": (swap("np.sum(p * np", "np.mean(np"), "fraction of configurations"),
            "seen": (swap("return np.sum", "return 1 - np.sum"), "that was seen"),
            "n − 1": (swap("exp(num_snapshots", "exp((num_snapshots - 1)"), "from the exponent"),
            "n + 1": (swap("exp(num_snapshots", "exp((num_snapshots + 1)"), "is counted among"),
            "p to the n": (swap("np.log1p(-p)", "np.log(p)"), "fills the histogram"),
            "rounded": (swap("np.log1p(-p)", "np.log(1 - p)"), "rounded"),
        },
    ),
    "chain-coupling": Planted(
        base="""
def fit_chain(s):
    products = s[:, 1:] * s[:, :-1]
    mean = products.mean()
    return np.arctanh(mean), 1 / np.sqrt((1 - mean**2) * products.size)


from_the_ends = "larger"
""",
        right=[
            """
import math
from_the_ends = "larger"
def fit_chain(s):
    aligned = int(sum((a == b).sum() for a, b in zip(s.T[1:], s.T[:-1])))
    broken = s.shape[0] * (s.shape[1] - 1) - aligned
    return 0.5 * math.log(aligned / broken), 0.5 * math.sqrt(1 / aligned + 1 / broken)
""",
            """
import torch
from_the_ends = "larger"
def fit_chain(s):
    bonds = (s[:, 1:] * s[:, :-1]).float()
    m = bonds.mean()
    return torch.atanh(m), torch.sqrt(1 / ((1 - m**2) * bonds.numel()))
""",
        ],
        wrong={
            "choice": (swap('"larger"', '"smaller"'), "ends still know"),
            "mean": (swap("np.arctanh(mean)", "mean"), "mean of s_i"),
            "tanh": (swap("np.arctanh(mean)", "np.tanh(mean)"), "tanh of the mean"),
            "odds": (swap("np.arctanh(mean)", "2 * np.arctanh(mean)"), "2βJ"),
            "ring": (swap("s[:, 1:] * s[:, :-1]", "s * np.roll(s, 1, axis=1)"), "chain is open"),
            "error of the mean": (swap("1 / np.sqrt((1 - mean**2) * products.size)",
                                       "np.sqrt((1 - mean**2) / products.size)"), "artanh make"),
            "N only": (swap("products.size", "len(s)"), "not by N."),
            "n bonds": (swap("products.size", "s.size"), "There are n − 1 bonds"),
            "variance": (swap("1 / np.sqrt((1 - mean**2) * products.size)",
                              "1 / ((1 - mean**2) * products.size)"), "square root is missing"),
            "one bond": (swap(" * products.size", ""), "of one bond"),
        },
    ),
    "two-level-thermometer": Planted(
        base="""
best = "largest heat capacity"
y = 1 / np.array([0.1, 0.42, 3])  # ε/kT
q = 1 / (1 + np.exp(y))
heat_capacity = y**2 * q * (1 - q)  # in units of k_B
relative_errors = 1 / np.sqrt(1000 * heat_capacity)
""",
        right=[
            """
best = "largest heat capacity"
relative_errors = []
for t in (0.1, 0.42, 3.0):
    relative_errors.append(2 * t * np.cosh(1 / (2 * t)) / 1000**0.5)
""",
            """
best, relative_errors = "largest heat capacity", [0.4696, 0.0477, 0.1924]
""",
        ],
        wrong={
            "choice": (swap('"largest heat capacity"', '"T to 0"'), "prediction fails"),
            "other words": (swap('"largest heat capacity"', '"cold"'), "must be one of"),
            "of T": (swap("(1000 * heat_capacity)", "(1000 * heat_capacity) / y"),
                     "not divided by it"),
            "of y": (swap("heat_capacity = y**2 * q", "heat_capacity = q"), "not relative to it"),
            "of q": (swap("1 / np.sqrt(1000 * heat_capacity)", "np.sqrt(q * (1 - q) / 1000)"),
                     "errors of the fraction"),
            "relative error of q": (swap("1 / np.sqrt(1000 * heat_capacity)",
                                         "np.sqrt((1 - q) / q / 1000)"), "relative errors of"),
            "one copy": (swap("1000 * ", ""), "for one copy"),
            "variance": (swap("np.sqrt(1000 * heat_capacity)", "(1000 * heat_capacity)"),
                         "square root is missing"),
            "no root of N": (swap("np.sqrt(1000 * heat_capacity)", "np.sqrt(heat_capacity) / 1000"),
                             "without a square root"),
            "temperatures": (swap("1 / np.array", "np.array"), None),
        },
    ),
    "perfect-autoencoder": Planted(
        base="""
reconstruction_error = 0.0
codes = circle(num_samples, rng)
h = rng.multivariate_normal(codes.mean(axis=0), np.cov(codes.T), num_samples)
radius = np.sqrt(np.sum(h**2, axis=1))
near_circle = np.mean((radius > 0.9) & (radius < 1.1))
mend = "draw codes from their own distribution"
""",
        right=[
            """
reconstruction_error, mend = 0, "draw codes from their own distribution"
near_circle = np.exp(-0.9**2) - np.exp(-1.1**2)
""",
            """
import torch
torch.manual_seed(3)
x = torch.tensor(circle(num_samples, rng))
h = x.mean(0) + torch.randn(num_samples, 2).double() @ torch.linalg.cholesky(torch.cov(x.T)).T
near_circle = ((h.norm(dim=1) - 1).abs() < 0.1).double().mean()
reconstruction_error = ((x - x) ** 2).mean()
mend = "draw codes from their own distribution"
""",
        ],
        wrong={
            "choice": (swap('"draw codes from their own distribution"', '"longer training"'),
                       "With an error of zero"),
            "other words": (swap('"draw codes from their own distribution"', '"nothing"'),
                            "must be one of"),
            "an error": (swap("reconstruction_error = 0.0", "reconstruction_error = 0.5"),
                         "a copy"),
            "standard normal": (swap("codes.mean(axis=0), np.cov(codes.T)", "[0, 0], np.eye(2)"),
                                "N(0, I)"),
            "training points": (swap("np.sum(h**2", "np.sum(codes**2"), "count the generated"),
            "within 1.1": (swap("(radius > 0.9) & (radius < 1.1)", "radius < 1.1"),
                           "within 0.9 count"),
            "outside": (swap("np.mean((radius", "1 - np.mean((radius"), "not near the circle"),
            "squared radius": (swap("np.sqrt(np.sum(h**2, axis=1))", "np.sum(h**2, axis=1)"),
                               "squared radius"),
        },
    ),
    "narrow-kernels": Planted(
        base="""
mistake = "of the training points"


def score(train, test, width):
    log_terms = -(((test[:, None] - train) / width) ** 2) / 2  # (m, n)
    largest = log_terms.max(axis=1, keepdims=True)
    log_sums = largest[:, 0] + np.log(np.exp(log_terms - largest).sum(axis=1))
    return np.mean(log_sums) - np.log(len(train) * width * np.sqrt(2 * np.pi))
""",
        right=[
            """
from scipy.special import logsumexp
from scipy.stats import norm
mistake = "of the training points"
def score(train, test, width):
    return np.mean([logsumexp(norm.logpdf(x, train, width)) - np.log(len(train)) for x in test])
""",
            """
import torch
mistake = "of the training points"
def score(train, test, width):
    log_p = torch.distributions.Normal(train, width).log_prob(test[:, None])
    return (torch.logsumexp(log_p, 1) - torch.log(torch.tensor(1.0 * len(train)))).mean()
""",
        ],
        wrong={
            "choice": (swap('"of the training points"', '"too coarse"'), "diagnosis"),
            "other words": (swap('"of the training points"', '"width"'), "must be one of"),
            "training points": (swap("test[:, None]", "train[:, None]"), "mistake itself"),
            "sum": (swap("np.mean(log_sums) - np.log(len(train) * width * np.sqrt(2 * np.pi))",
                         "np.sum(log_sums - np.log(len(train) * width * np.sqrt(2 * np.pi)))"),
                    "sum over the test points"),
            "no 1/n": (swap("len(train) * width", "width"), "1/n"),
            "no width": (swap("len(train) * width", "len(train)"), "width is missing"),
            "no 2π": (swap(" * np.sqrt(2 * np.pi)", ""), "2π is missing"),
            "no half": (swap("** 2) / 2", "** 2)"), "½ in the exponent"),
            "sign": (swap("return np.mean(log_sums) - np.log(len(train) * width * np.sqrt(2 * "
                          "np.pi))", "return np.log(len(train) * width * np.sqrt(2 * np.pi)) "
                          "- np.mean(log_sums)"), "sign is reversed"),
            "mean of logs": (swap("np.mean(log_sums) - np.log(len(train) *",
                                  "np.mean(log_terms) - np.log("), "are averaged"),
            "underflow": (swap("largest[:, 0] + np.log(np.exp(log_terms - largest)",
                               "np.log(np.exp(log_terms)"), "underflow"),
        },
    ),
}
