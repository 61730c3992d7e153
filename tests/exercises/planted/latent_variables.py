from planted import Planted, swap

PLANTED = {
    "mixture-log-evidence": Planted(
        base="""
def mixture_log_evidence(x, weights, means, stds):
    z = (x[:, None] - means) / stds  # (n, M)
    log_terms = np.log(weights) - np.log(stds) - 0.5 * (z**2 + np.log(2 * np.pi))
    return logsumexp(log_terms, axis=1)
""",
        right=[
            """
import math
def mixture_log_evidence(x, weights, means, stds):
    result = []
    for value in x:
        terms = [math.log(w) - math.log(s * math.sqrt(2 * math.pi)) - ((value - m) / s) ** 2 / 2
                 for w, m, s in zip(weights, means, stds)]
        largest = max(terms)
        result.append(largest + math.log(sum(math.exp(term - largest) for term in terms)))
    return result
""",
            """
import torch
def mixture_log_evidence(x, weights, means, stds):
    x, weights, means, stds = (v.float() for v in (x, weights, means, stds))
    components = torch.distributions.Normal(means, stds)
    return torch.logsumexp(torch.log(weights) + components.log_prob(x[:, None]), dim=1)
""",
            """
from functools import reduce
from scipy.stats import norm
def mixture_log_evidence(x, weights, means, stds):
    return reduce(np.logaddexp, [np.log(w) + norm.logpdf(x, m, s)
                                 for w, m, s in zip(weights, means, stds)])
""",
        ],
        wrong={
            "no weights": (swap("np.log(weights) - np.log", "-np.log"), "weights p(h) are missing"),
            "equal weights": (swap("np.log(weights)", "-np.log(len(weights))"), "the same here"),
            "mean of logs": (swap("np.log(weights) - np.log", "-np.log",
                                  "logsumexp(log_terms, axis=1)", "log_terms @ weights"),
                             "mean of log p(x|h)"),
            "sum of logs": (swap("logsumexp(log_terms, axis=1)", "np.sum(log_terms, axis=1)"),
                            "sum of the logarithms"),
            "no logarithm": (swap("logsumexp(log_terms, axis=1)",
                                  "np.exp(logsumexp(log_terms, axis=1))"), "This is p(x)"),
            "largest term": (swap("logsumexp(log_terms", "np.max(log_terms"), "largest term only"),
            "std for variance": (swap("/ stds", "/ np.sqrt(stds)", "np.log(stds)",
                                      "np.log(stds) / 2"), "for variances"),
            "no 1/σ": (swap(" - np.log(stds)", ""), "1/σ; it is missing"),
            "1/σ²": (swap("- np.log(stds)", "- np.log(stds**2)"), "here it is 1/σ²"),
            "no 2π": (swap(" + np.log(2 * np.pi)", ""), "2π is missing"),
            "no half": (swap("0.5 * (z**2 + np.log(2 * np.pi))",
                             "(z**2 + 0.5 * np.log(2 * np.pi))"), "½ in the exponent"),
            "sum over the wrong axis": (swap("axis=1", "axis=0"), "shape (3,)"),
            "sum over the data": (swap("logsumexp(log_terms, axis=1)",
                                       "logsumexp(log_terms, axis=1).sum()"), "sum over the data"),
            "underflow": (swap("logsumexp(log_terms, axis=1)",
                               "np.log(np.sum(np.exp(log_terms), axis=1))"), "underflows to 0"),
            "clipped": (swap("logsumexp(log_terms, axis=1)",
                             "np.log(np.sum(np.exp(log_terms), axis=1) + 1e-300)"),
                        "far from every component"),
            "overflow": ("""
def mixture_log_evidence(x, weights, means, stds):
    log_terms = np.log(weights / stds) - ((x[:, None] - means) / stds) ** 2 / 2
    least = np.min(log_terms, axis=1)
    log_sum = np.log(np.sum(np.exp(log_terms - least[:, None]), axis=1))
    return least + log_sum - 0.5 * np.log(2 * np.pi)
""", "overflows"),
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


print([f"c = {c}: {relative_variance(c, 20):.3g}" for c in (0.7, 0.75, 0.9, 1.0, 1.1, 1.3)])
""",
        right=[
            """
def relative_variance(c, k):
    if c <= 2**-0.5:
        return float("inf")
    return np.expm1(k * (np.log(c) - 0.5 * np.log(2 - c**-2)))
""",
            """
import torch
def relative_variance(c, k):
    c = torch.tensor(float(c))
    if c**2 <= 0.5:
        return torch.tensor(float("inf"))
    return (c / torch.sqrt(2 - 1 / c**2)) ** k - 1
""",
            """
from scipy import integrate
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
