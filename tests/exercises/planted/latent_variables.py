from planted import Planted, swap

PLANTED = {
    "free-energy-of-wells": Planted(
        base="""
def free_energies(energies, beta):
    return -logsumexp(-beta * energies, axis=1) / beta


at_high_temperature = "B"
beta_equal = np.log(8)
""",
        right=[
            """
import math
at_high_temperature, beta_equal = "B", 3 * math.log(2)
def free_energies(energies, beta):
    result = []
    for row in energies:
        low = min(row)
        result.append(low - math.log(sum(math.exp(-beta * (e - low)) for e in row)) / beta)
    return result
""",
            """
import torch
at_high_temperature, beta_equal = "B", 2.08
def free_energies(energies, beta):
    return -torch.logsumexp(-beta * energies.float(), dim=1) / beta
""",
        ],
        wrong={
            "choice": (swap('"B"', '"A"'), "prediction fails"),
            "other words": (swap('"B"', '"both"'), "must be one of"),
            "sign": (swap("return -log", "return log"), "sign is reversed"),
            "not divided": (swap(" / beta", ""), "not divided by β"),
            "multiplied": (swap(" / beta", " * beta"), "multiplied by β"),
            "partition function": (swap("-logsumexp(-beta * energies, axis=1) / beta",
                                        "np.exp(-beta * energies).sum(axis=1)"),
                                   "take the logarithm"),
            "lowest": (swap("-logsumexp(-beta * energies, axis=1) / beta", "energies.min(axis=1)"),
                       "lowest energy"),
            "mean": (swap("-logsumexp(-beta * energies, axis=1) / beta",
                          "-np.log(np.exp(-beta * energies).mean(axis=1)) / beta"),
                     "mean of the Boltzmann"),
            "mean energy": (swap("-logsumexp(-beta * energies, axis=1) / beta",
                                 "(np.exp(-beta * energies) * energies).sum(axis=1) "
                                 "/ np.exp(-beta * energies).sum(axis=1)"), "entropy is missing"),
            "normalised": (swap("-logsumexp(-beta * energies, axis=1) / beta",
                                "(logsumexp(-beta * energies) - logsumexp(-beta * energies, "
                                "axis=1)) / beta"), "over all shapes"),
            "no beta": (swap("logsumexp(-beta", "logsumexp(-1"), "missing in the exponent"),
            "underflow": (swap("-logsumexp(-beta * energies, axis=1)",
                               "-np.log(np.exp(-beta * energies).sum(axis=1))"), "underflow"),
            "temperature": (swap("np.log(8)", "1 / np.log(8)"), "the temperature there"),
            "base 2": (swap("np.log(8)", "np.log2(8)"), "base 2"),
        },
    ),
    "prior-estimate": Planted(
        base="""
def prior_estimate(log_likelihoods):
    largest = np.max(log_likelihoods)
    w = np.exp(log_likelihoods - largest)  # at most 1
    relative_error = np.std(w, ddof=1) / np.mean(w) / np.sqrt(len(w))
    return largest + np.log(np.mean(w)), relative_error
""",
        right=[
            """
def prior_estimate(log_likelihoods):
    n = len(log_likelihoods)
    log_mean = logsumexp(log_likelihoods) - np.log(n)
    ratios = [np.exp(value - log_mean) for value in log_likelihoods]
    variance = sum((ratio - 1) ** 2 for ratio in ratios) / (n - 1)
    return [log_mean, (variance / n) ** 0.5]
""",
            """
import torch
def prior_estimate(log_likelihoods):
    n = len(log_likelihoods)
    log_mean = torch.logsumexp(log_likelihoods.float(), 0) - torch.log(torch.tensor(float(n)))
    w = torch.softmax(log_likelihoods.float(), 0) * n
    return log_mean, w.std() / n**0.5
""",
            """
from scipy.stats import sem
def prior_estimate(log_likelihoods):
    shift = np.median(log_likelihoods)
    w = np.exp(log_likelihoods - shift)
    return shift + np.log(w.mean()), sem(w) / w.mean()
""",
        ],
        wrong={
            "mean of logs": (swap("largest + np.log(np.mean(w))", "np.mean(log_likelihoods)"),
                             "mean of the logarithms"),
            "no n": (swap("largest + np.log(np.mean(w))", "largest + np.log(np.sum(w))"),
                     "sum of the likelihoods"),
            "no logarithm": (swap("largest + np.log(np.mean(w))",
                                  "np.exp(largest) * np.mean(w)"), "This is p̂(x)"),
            "largest": (swap("largest + np.log(np.mean(w))", "largest"), "largest term only"),
            "largest not added": (swap("largest + np", "np"), "not added again"),
            "ddof": (swap(", ddof=1", ""), "is biased"),
            "no root of n": (swap(" / np.sqrt(len(w))", ""), "of one sample"),
            "over n": (swap("np.sqrt(len(w))", "len(w)"), "divided by n;"),
            "absolute error": (swap(" / np.mean(w) / np", " * np.exp(largest) / np"),
                               "divide it by p̂(x)"),
            "variance": (swap("relative_error = np.std(w, ddof=1) / np.mean(w) / np.sqrt(len(w))",
                              "relative_error = np.var(w, ddof=1) / np.mean(w) ** 2 / len(w)"),
                         "square root is missing"),
            "error of logs": (swap("np.std(w, ddof=1) / np.mean(w)",
                                   "np.std(log_likelihoods, ddof=1)"), "of the logarithms"),
            "underflow": ("""
def prior_estimate(log_likelihoods):
    w = np.exp(log_likelihoods)
    return np.log(w.mean()), w.std(ddof=1) / w.mean() / np.sqrt(len(w))
""", "underflow"),
            "smallest subtracted": (swap("np.max", "np.min"), "overflow"),
            "one number": ("""
def prior_estimate(log_likelihoods):
    return logsumexp(log_likelihoods) - np.log(len(log_likelihoods))
""", "2 results"),
        },
    ),
    "evidence-small-matrices": Planted(
        base="""
def small_log_evidence(x, W, b, sigma):
    d, k = W.shape
    r = x - b
    v = W.T @ r / sigma**2
    precision = np.eye(k) + W.T @ W / sigma**2  # Λ
    quadratic = r @ r / sigma**2 - v @ np.linalg.solve(precision, v)
    log_det = d * np.log(sigma**2) + np.linalg.slogdet(precision).logabsdet
    return -0.5 * (d * np.log(2 * np.pi) + log_det + quadratic)
""",
        right=[
            """
def small_log_evidence(x, W, b, sigma):
    d, k = W.shape
    cov = np.linalg.inv(np.eye(k) + W.T @ W / sigma**2)
    m = cov @ W.T @ (x - b) / sigma**2
    log_2pi = np.log(2 * np.pi)
    likelihood = -d / 2 * (log_2pi + 2 * np.log(sigma)) - np.sum((x - b - W @ m) ** 2) / (
        2 * sigma**2)
    prior = -k / 2 * log_2pi - m @ m / 2
    posterior = -k / 2 * log_2pi - np.linalg.slogdet(cov)[1] / 2
    return likelihood + prior - posterior
""",
            """
import torch
from torch.distributions import LowRankMultivariateNormal
def small_log_evidence(x, W, b, sigma):
    return LowRankMultivariateNormal(b, W, sigma**2 * torch.ones_like(b)).log_prob(x)
""",
            """
def small_log_evidence(x, W, b, sigma):
    U, s, _ = np.linalg.svd(W, full_matrices=False)
    inside = U.T @ (x - b)
    outside = (x - b) @ (x - b) - inside @ inside
    variances = s**2 + sigma**2
    logs = np.log(variances).sum() + (len(x) - len(s)) * np.log(sigma**2)
    return -(len(x) * np.log(2 * np.pi) + logs + outside / sigma**2
             + np.sum(inside**2 / variances)) / 2
""",
            """
import torch
def small_log_evidence(x, W, b, sigma):
    x, W, b = x.float(), W.float(), b.float()
    d, k = W.shape
    precision = torch.eye(k) + W.T @ W / sigma**2
    v = W.T @ (x - b) / sigma**2
    squares = torch.sum((x - b) ** 2) / sigma**2 - v @ torch.linalg.solve(precision, v)
    constants = d * np.log(2 * np.pi * sigma**2)
    return -(constants + torch.logdet(precision) + squares) / 2
""",
        ],
        wrong={
            "d × d": ("""
def small_log_evidence(x, W, b, sigma):
    cov = W @ W.T + sigma**2 * np.eye(len(x))
    r = x - b
    return -0.5 * (len(x) * np.log(2 * np.pi) + np.linalg.slogdet(cov)[1]
                   + r @ np.linalg.solve(cov, r))
""", "d × d"),
            "full U": ("""
def small_log_evidence(x, W, b, sigma):
    U, s, _ = np.linalg.svd(W)
    variances = np.full(len(x), sigma**2)
    variances[:len(s)] += s**2
    return -0.5 * np.sum(np.log(2 * np.pi * variances) + (U.T @ (x - b)) ** 2 / variances)
""", "d × d"),
            "d × d in torch": ("""
import torch
from torch.distributions import MultivariateNormal
def small_log_evidence(x, W, b, sigma):
    return MultivariateNormal(b, W @ W.T + sigma**2 * torch.eye(len(x))).log_prob(x)
""", "d × d"),
            "d × d in Keras": ("""
from keras import ops
def small_log_evidence(x, W, b, sigma):
    d, r = len(x), ops.convert_to_tensor(x - b, "float64")
    W = ops.convert_to_tensor(W, "float64")
    cov = ops.matmul(W, ops.transpose(W)) + sigma**2 * ops.eye(d, dtype="float64")
    root = ops.cholesky(cov)
    half = ops.solve_triangular(root, r[:, None], lower=True)
    logs = 2 * ops.sum(ops.log(ops.diag(root)))
    return -0.5 * (d * np.log(2 * np.pi) + logs + ops.sum(half**2))
""", "d × d"),
            "no half": (swap("-0.5 * (", "-("), "½ is missing"),
            "no 2π": (swap("d * np.log(2 * np.pi) + ", ""), "log 2π is missing"),
            "k for d in 2π": (swap("d * np.log(2 * np.pi)", "k * np.log(2 * np.pi)"), "cancel"),
            "d + k in 2π": (swap("d * np.log(2 * np.pi)", "(d + k) * np.log(2 * np.pi)"),
                            "as well"),
            "no log σ²": (swap("d * np.log(sigma**2) + ", ""), "log σ², is missing"),
            "log σ² once": (swap("d * np.log(sigma**2)", "np.log(sigma**2)"), "only once"),
            "log σ": (swap("d * np.log(sigma**2)", "d * np.log(sigma)"), "log σ where"),
            "k for d": (swap("d * np.log(sigma**2)", "k * np.log(sigma**2)"), "counts k"),
            "no determinant": (swap(" + np.linalg.slogdet(precision).logabsdet", ""),
                               "determinant of the posterior is missing"),
            "covariance's determinant": (swap("+ np.linalg.slogdet", "- np.linalg.slogdet"),
                                         "of the covariance?"),
            "σ for variance": (swap("sigma**2", "sigma"), "standard deviation"),
            "no bias": (swap("r = x - b", "r = x"), "b is not subtracted"),
            "joint": (swap(" + np.linalg.slogdet(precision).logabsdet", "",
                           "d * np.log(2 * np.pi)", "(d + k) * np.log(2 * np.pi)"),
                      "log p(x, h)"),
            "explained part": (swap(" - v @ np.linalg.solve(precision, v)", ""), "that h explains"),
            "underflow": (swap("d * np.log(sigma**2)", "np.log(sigma ** (2 * d))"), "underflows"),
        },
    ),
    "prior-samples-needed": Planted(
        base="""
growth = "exponential"
needed = []
for k in [1, 2, 3, 4, 5, 6]:
    h = rng.normal(size=(num_samples, k))
    w = np.exp(-np.sum((np.sqrt(1.5) - h) ** 2, axis=1))  # p(x|h), up to a constant
    needed.append(np.var(w) / np.mean(w) ** 2 / 0.1**2)
print(np.round(needed), "samples; ratios", np.round(np.divide(needed[1:], needed[:-1]), 2))
""",
        right=[
            """
growth, needed = "exponential", np.zeros(6)
generator = np.random.default_rng(3)
for k in range(1, 7):
    w = np.ones(num_samples)
    for _ in range(k):
        w *= np.exp(-((1.5**0.5 - generator.standard_normal(num_samples)) ** 2)) / np.sqrt(np.pi)
    needed[k - 1] = (np.mean(w**2) / np.mean(w) ** 2 - 1) * 100
""",
            """
import torch
torch.manual_seed(2)
growth, needed = "exponential", []
for k in range(1, 7):
    h = torch.randn(num_samples, k)
    log_w = torch.distributions.Normal(h, 0.5**0.5).log_prob(torch.tensor(1.5**0.5)).sum(1)
    w = torch.softmax(log_w, 0) * num_samples
    needed.append(100 * w.var())
""",
            """
growth, needed = "exponential", [101, 300, 705, 1490, 3100, 6300]
""",
        ],
        wrong={
            "prediction": (swap('"exponential"', '"quadratic"'), "as you predict"),
            "other words": (swap('"exponential"', '"fast"'), "must be one of"),
            "error not squared": (swap("/ 0.1**2", "/ 0.1"), "as it is"),
            "standard deviation": (swap("np.var(w) / np.mean(w) ** 2 / 0.1**2",
                                        "np.std(w) / np.mean(w) / 0.1"), "takes its square"),
            "second moment": (swap("np.var(w)", "np.mean(w**2)"), "second moment"),
            "not relative": (swap("np.var(w) / np.mean(w) ** 2",
                                  "np.var(w) * np.pi ** (-1.0 * k)",
                                  "needed = []", "needed, rng = [], np.random.default_rng(0)"),
                             "not relative"),
            "no error": (swap(" / 0.1**2", ""), "not yet divided"),
            "error of the samples": (swap("np.var(w) / np.mean(w) ** 2 / 0.1**2",
                                          "np.std(w) / np.mean(w) / num_samples**0.5"),
                                     "that your samples have"),
            "divided by n": (swap("/ 0.1**2", "/ 0.1**2 / num_samples"), "once too often"),
            "σ for σ²": (swap("axis=1))", "axis=1) * 2)", "needed = []",
                            "needed, rng = [], np.random.default_rng(0)"), None),
            "x of the prior": (swap("np.sqrt(1.5)", "1.0"), "x is not the one"),
            "dimensions from 0": (swap("[1, 2, 3, 4, 5, 6]", "range(6)"), "dimensions 0 to 5"),
            "five dimensions": (swap("[1, 2, 3, 4, 5, 6]", "[1, 2, 3, 4, 5]"), "shape (5,)"),
        },
    ),
    "proposal-width": Planted(
        base="""
def relative_variance(c, k):
    if 2 * c**2 <= 1:
        return np.inf
    return (c**2 / np.sqrt(2 * c**2 - 1)) ** k - 1


safer = "wide"
print([f"c = {c}: {relative_variance(c, 20):.3g}" for c in (0.7, 0.75, 0.9, 1.0, 1.1, 1.3)])
""",
        right=[
            """
safer = "wide"
def relative_variance(c, k):
    if c <= 2**-0.5:
        return float("inf")
    return np.expm1(k * (np.log(c) - 0.5 * np.log(2 - c**-2)))
""",
            """
import torch
safer = "wide"
def relative_variance(c, k):
    c = torch.tensor(float(c))
    if c**2 <= 0.5:
        return torch.tensor(float("inf"))
    return (c / torch.sqrt(2 - 1 / c**2)) ** k - 1
""",
            """
from scipy import integrate
safer = "wide"
def relative_variance(c, k):
    precision = 2 - 1 / c**2
    if precision <= 0:
        return np.inf
    width = 12 / np.sqrt(precision)
    integral = integrate.quad(lambda u: np.exp(-precision * u**2 / 2), -width, width)[0]
    return (c * integral / np.sqrt(2 * np.pi)) ** k - 1
""",
        ],
        wrong={
            "choice": (swap('"wide"', '"narrow"'), "each mistake costs"),
            "other words": (swap('"wide"', '"neither"'), "must be one of"),
            "second moment": (swap("** k - 1", "** k"), "mean of the square"),
            "one dimension": (swap(" ** k - 1", " - 1"), "for one dimension"),
            "sum over dimensions": (swap("(c**2 / np.sqrt(2 * c**2 - 1)) ** k - 1",
                                         "k * (c**2 / np.sqrt(2 * c**2 - 1) - 1)"), "are added"),
            "c for c²": (swap("c**2", "c"), "ratio of the variances"),
            "exchanged": (swap("(c**2 / np.sqrt(2 * c**2 - 1))", "(1 / c / np.sqrt(2 - c**2))"),
                          "are exchanged"),
            "under the posterior": (swap("np.sqrt(2 * c**2 - 1)",
                                         "np.sqrt(max(3 - 2 / c**2, 1e-3))"),
                                    "under the posterior"),
            "standard deviation": (swap("return (c", "return np.sqrt((c", "** k - 1", "** k - 1)"),
                                   "standard deviation"),
            "always finite": (swap("2 * c**2 <= 1", "False"), "converge"),
            "zero for infinite": (swap("np.inf", "0.0"), "converge"),
            "infinite when narrow": (swap("2 * c**2 <= 1", "c < 1"), "finite"),
            "minus infinity": (swap("np.inf", "-np.inf"), "converge"),
        },
    ),
}
