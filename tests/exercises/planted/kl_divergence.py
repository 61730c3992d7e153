from planted import Planted, swap

SAMPLES = "h = normal.rvs(num_samples, random_state=rng)\n"

PLANTED = {
    "kl-diagonal": Planted(
        base="""
def kl_diagonal(mean, log_var):
    return 0.5 * np.sum(np.exp(log_var) + mean**2 - 1 - log_var, axis=-1)
""",
        right=[
            """
def kl_diagonal(mean, log_var):
    total = 0
    for j in range(mean.shape[1]):
        total = total + (mean[:, j] ** 2 + np.exp(log_var[:, j]) - log_var[:, j] - 1) / 2
    return total
""",
            """
import torch
def kl_diagonal(mean, log_var):
    q = torch.distributions.Normal(mean.float(), torch.exp(log_var.float() / 2))
    return torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum(dim=1)
""",
        ],
        wrong={
            "no half": (swap("0.5 * ", ""), "½ is missing"),
            "mean over k": (swap("np.sum", "np.mean"), "mean over the latent dimensions"),
            "mean over rows": (swap("axis=-1)", "axis=-1).mean()"), "mean over the rows"),
            "sum over all": (swap(", axis=-1", ""), "sum over the rows"),
            "sum over the wrong axis": (swap("axis=-1", "axis=0"), "shape (3,)"),
            "sign": (swap("0.5", "-0.5"), "sign is reversed"),
            "log sigma": (swap("- log_var", "- log_var / 2"), "log σ where log σ²"),
            "log sigma everywhere": (swap("np.exp(log_var)", "np.exp(2 * log_var)",
                                          "- log_var", "- 2 * log_var"), "log σ²"),
            "sigma for sigma squared": (swap("exp(log_var)", "exp(log_var / 2)"), "σ where σ²"),
            "no one": (swap(" - 1", ""), "depends on k only"),
            "clipped": (swap("    return", "    log_var = np.clip(log_var, -10, 10)\n    return"),
                        "log_var = -45"),
        },
    ),
    "kl-monte-carlo": Planted(
        base="""
def kl_monte_carlo(mean0, std0, mean1, std1, num_samples, rng):
    h = rng.normal(mean0, std0, num_samples)
    log_ratio = norm.logpdf(h, mean0, std0) - norm.logpdf(h, mean1, std1)
    return log_ratio.mean(), sem(log_ratio)
""",
        right=[
            """
def kl_monte_carlo(mean0, std0, mean1, std1, num_samples, rng):
    terms = []
    for z in rng.standard_normal(num_samples):
        h = mean0 + std0 * z
        log_q = -0.5 * z**2 - np.log(std0)
        terms.append(log_q + 0.5 * ((h - mean1) / std1) ** 2 + np.log(std1))
    return np.mean(terms), np.std(terms, ddof=1) / num_samples**0.5
""",
            """
import torch
def kl_monte_carlo(mean0, std0, mean1, std1, num_samples, rng):
    q, p = torch.distributions.Normal(mean0, std0), torch.distributions.Normal(mean1, std1)
    h = mean0 + std0 * torch.tensor(rng.standard_normal(num_samples), dtype=torch.float32)
    terms = q.log_prob(h) - p.log_prob(h)
    return torch.stack([terms.mean(), terms.std() / num_samples**0.5])
""",
            """
def kl_monte_carlo(mean0, std0, mean1, std1, num_samples, rng):
    h = norm.rvs(mean0, std0, size=num_samples, random_state=rng)
    r = norm.pdf(h, mean1, std1) / norm.pdf(h, mean0, std0)
    return [-np.log(r).mean(), np.sqrt(np.var(np.log(r)) / num_samples)]
""",
        ],
        wrong={
            "samples of p": (swap("rng.normal(mean0, std0", "rng.normal(mean1, std1"),
                             "come from p"),
            "exchanged": ("""
def kl_monte_carlo(mean0, std0, mean1, std1, num_samples, rng):
    h = rng.normal(mean1, std1, num_samples)
    terms = norm.logpdf(h, mean1, std1) - norm.logpdf(h, mean0, std0)
    return terms.mean(), sem(terms)
""", "D[p‖Q]: the two"),
            "sign": (swap("return log_ratio.mean()", "return -log_ratio.mean()"), "wrong sign"),
            "std squared": (swap("rng.normal(mean0, std0,", "rng.normal(mean0, std0**2,"),
                            "too narrow"),
            "root of std": (swap("rng.normal(mean0, std0,", "rng.normal(mean0, std0**0.5,"),
                            "too wide"),
            "std for variance": (swap("(h, mean0, std0)", "(h, mean0, std0**0.5)",
                                      "(h, mean1, std1)", "(h, mean1, std1**0.5)"),
                                 "taken for a variance"),
            "no normalisation": ("""
def kl_monte_carlo(mean0, std0, mean1, std1, num_samples, rng):
    h = rng.normal(mean0, std0, num_samples)
    terms = ((h - mean1) / std1) ** 2 / 2 - ((h - mean0) / std0) ** 2 / 2
    return terms.mean(), sem(terms)
""", "normalisations are missing"),
            "no half": ("""
def kl_monte_carlo(mean0, std0, mean1, std1, num_samples, rng):
    h = rng.normal(mean0, std0, num_samples)
    terms = ((h - mean1) / std1) ** 2 - ((h - mean0) / std0) ** 2 + np.log(std1 / std0)
    return terms.mean(), sem(terms)
""", "½ is missing"),
            "bits": (swap("norm.logpdf(h, mean0, std0) - norm.logpdf(h, mean1, std1)",
                          "np.log2(norm.pdf(h, mean0, std0) / norm.pdf(h, mean1, std1))"), "bits"),
            "sum": (swap("log_ratio.mean()", "log_ratio.sum()"), "sum over the samples"),
            "log of the mean": (swap("log_ratio.mean()", "np.log(np.mean(np.exp(log_ratio)))"),
                                "logarithm of the mean"),
            "standard deviation": (swap("sem(log_ratio)", "np.std(log_ratio)"), "of one term"),
            "variance of the mean": (swap("sem(log_ratio)", "np.var(log_ratio) / num_samples"),
                                     "square root is missing"),
            "over n": (swap("sem(log_ratio)", "np.std(log_ratio) / num_samples"),
                       "divided by n"),
            "closed form": ("""
def kl_monte_carlo(mean0, std0, mean1, std1, num_samples, rng):
    terms = norm.logpdf(rng.normal(mean0, std0, num_samples), mean0, std0)
    terms = terms - norm.logpdf(rng.normal(mean0, std0, num_samples), mean1, std1)
    kl = np.log(std1 / std0) + (std0**2 + (mean0 - mean1) ** 2) / (2 * std1**2) - 0.5
    return kl, 0.7002 / np.sqrt(num_samples)
""", "exactly the same"),
            "own generator": (swap("rng.normal", "np.random.default_rng(7).normal"),
                              "where it was before"),
            "reseeded": (swap("h = rng", "rng = np.random.default_rng(0)\n    h = rng"),
                         "where it was before"),
            "copied": (swap("h = rng", "import copy\n    h = copy.deepcopy(rng)"),
                       "where it was before"),
            "global state": (swap("h = rng.normal", "rng.random()\n    h = np.random.normal"),
                             "different results"),
            "the same noise each time": (
                swap("h = rng.normal", "rng.random()\n    h = np.random.default_rng(0).normal"),
                "exactly the same"),
            "half the samples": (swap("std0, num_samples)", "std0, num_samples // 2)"), None),
            "half the samples, error of all": (
                swap("std0, num_samples)", "std0, num_samples // 2)",
                     "sem(log_ratio)", "log_ratio.std() / num_samples**0.5"), "spread by"),
            "20,000 samples": (swap("std0, num_samples)", "std0, 20_000)"), "spread by"),
            "error of 20,000": (
                swap("sem(log_ratio)", "log_ratio.std() / 20_000**0.5"), "came out as"),
            "estimate only": (swap(", sem(log_ratio)", ""), "2 results"),
        },
    ),
    "kl-nonnegative-terms": Planted(
        base="""
def nonnegative_terms(log_q, log_p):
    log_r = log_p - log_q
    return np.exp(log_r) - 1 - log_r


h = normal.rvs(num_samples, random_state=rng)
for mean in means:
    log_q, log_p = normal.logpdf(h), norm.logpdf(h, mean)
    print(f"p = N({mean}, 1), {mean**2 / 2:.3f} nats; standard errors {sem(log_q - log_p):.1e} "
          f"of −log r, {sem(nonnegative_terms(log_q, log_p)):.1e} of these terms")
""",
        right=[
            """
import math
def nonnegative_terms(log_q, log_p):
    return np.array([math.expm1(b - a) - (b - a) for a, b in zip(log_q, log_p)])
""",
            """
import torch
def nonnegative_terms(log_q, log_p):
    log_r = (log_p - log_q).float()
    return -log_r + (torch.exp(log_r) - 1)
""",
            """
import torch
def nonnegative_terms(log_q, log_p):
    difference = log_q.float() - log_p.float()
    return difference + torch.expm1(-difference)
""",
        ],
        wrong={
            "lambda 0": (swap("np.exp(log_r) - 1 - log_r", "-log_r"), "λ = 0"),
            "lambda -1": (swap("np.exp(log_r) - 1 - log_r", "1 - np.exp(log_r) - log_r"), "λ = -1"),
            "lambda half": (swap("np.exp(log_r) - 1 - log_r", "(np.exp(log_r) - 1) / 2 - log_r"),
                            "λ = 0.5"),
            "ratio inverted": (swap("log_p - log_q\n", "log_q - log_p\n"), "Q/p stands"),
            "reverse divergence": (swap("np.exp(log_r) - 1 - log_r",
                                        "np.exp(log_r) * log_r - np.exp(log_r) + 1"),
                                   "D[p‖Q]"),
            "absolute value": (swap("np.exp(log_r) - 1 - log_r", "np.abs(log_r)"),
                               "absolute value"),
            "half the square": (swap("np.exp(log_r) - 1 - log_r", "log_r**2 / 2"), "limit"),
            "clipped": (swap("np.exp(log_r) - 1 - log_r", "np.maximum(-log_r, 0)"), None),
            "sign of the logarithm": (swap("- 1 - log_r", "- 1 + log_r"), "wrong sign"),
            "no one": (swap(" - 1 - log_r", " - log_r"), "−1 is missing"),
            "mean": (swap("np.exp(log_r) - 1 - log_r", "np.mean(np.exp(log_r) - 1 - log_r)"),
                     "one term for each"),
            "underflow": (swap("np.exp(log_r)", "(np.exp(log_p) / np.exp(log_q))"), "underflow"),
        },
    ),
    "kl-full-covariance": Planted(
        base="""
def kl_gaussians(mean0, cov0, mean1, cov1):
    difference = mean1 - mean0
    trace = np.trace(np.linalg.solve(cov1, cov0))
    quadratic = difference @ np.linalg.solve(cov1, difference)
    log_dets = np.linalg.slogdet(np.stack([cov0, cov1])).logabsdet
    return 0.5 * (trace + quadratic - len(mean0) + np.diff(log_dets).item())
""",
        right=[
            """
def kl_gaussians(mean0, cov0, mean1, cov1):
    a, b = np.linalg.cholesky(cov0), np.linalg.cholesky(cov1)
    trace = np.sum(np.linalg.solve(b, a) ** 2)
    quadratic = np.sum(np.linalg.solve(b, mean1 - mean0) ** 2)
    logs = np.sum(np.log(np.diag(b))) - np.sum(np.log(np.diag(a)))
    return (trace + quadratic - len(a)) / 2 + logs
""",
            """
import torch
from torch.distributions import MultivariateNormal
def kl_gaussians(mean0, cov0, mean1, cov1):
    q, p = MultivariateNormal(mean0, cov0), MultivariateNormal(mean1, cov1)
    return torch.distributions.kl_divergence(q, p)
""",
            """
import torch
def kl_gaussians(mean0, cov0, mean1, cov1):
    mean0, cov0, mean1, cov1 = (v.float() for v in (mean0, cov0, mean1, cov1))
    inverse, column = torch.linalg.inv(cov1), (mean0 - mean1)[:, None]
    total = torch.trace(inverse @ cov0) + column.T @ inverse @ column - len(mean0)
    return 0.5 * (total - torch.logdet(cov0) + torch.logdet(cov1))
""",
            """
def kl_gaussians(mean0, cov0, mean1, cov1):
    values = np.linalg.eigvals(np.linalg.solve(cov1, cov0)).real
    difference = mean1 - mean0
    return 0.5 * (np.sum(values - 1 - np.log(values))
                  + difference @ np.linalg.inv(cov1) @ difference)
""",
        ],
        wrong={
            "no half": (swap("0.5 * ", ""), "½ is missing"),
            "sign": (swap("0.5", "-0.5"), "sign is reversed"),
            "exchanged": (swap("(mean0, cov0, mean1, cov1)", "(mean1, cov1, mean0, cov0)"),
                          "exchanged"),
            "no k": (swap(" - len(mean0)", ""), "depends on k only is missing"),
            "plus k": (swap("- len(mean0)", "+ len(mean0)"), "wrong sign"),
            "determinants exchanged": (swap("[cov0, cov1]", "[cov1, cov0]"), "wrong sign"),
            "no determinants": (swap(" + np.diff(log_dets).item()", ""),
                                "determinants are missing"),
            "ratio of determinants": (swap("np.diff(log_dets).item()",
                                           "np.linalg.det(cov1) / np.linalg.det(cov0)"),
                                      "without its logarithm"),
            "no difference": (swap(" + quadratic", ""), "difference of the means is missing"),
            "difference with the first covariance": (swap("solve(cov1, difference)",
                                                          "solve(cov0, difference)"),
                                                     "wrong density"),
            "difference without covariance": (swap("np.linalg.solve(cov1, difference)",
                                                   "difference"), "units of a covariance"),
            "trace exchanged": (swap("solve(cov1, cov0)", "solve(cov0, cov1)"), "In the trace"),
            "trace without inverse": (swap("np.linalg.solve(cov1, cov0)", "cov1 @ cov0"),
                                      "inverse belongs"),
            "diagonals": ("""
def kl_gaussians(mean0, cov0, mean1, cov1):
    v0, v1 = np.diag(cov0), np.diag(cov1)
    return 0.5 * np.sum(v0 / v1 + (mean1 - mean0) ** 2 / v1 - 1 + np.log(v1 / v0))
""", "diagonals"),
            "underflow": (swap("np.diff(log_dets).item()",
                               "np.log(np.linalg.det(cov1) / np.linalg.det(cov0))"),
                          "How large are the determinants"),
        },
    ),
    "kl-heavy-tails": Planted(
        base="""
infinite = "D[t||normal]"
h = normal.rvs(num_samples, random_state=rng)
log_ratio = normal.logpdf(h) - heavy.logpdf(h)
estimate, standard_error = log_ratio.mean(), sem(log_ratio)
print(f"D[normal||t] = {estimate:.4f} ± {standard_error:.4f} nats")

h = heavy.rvs(num_samples, random_state=rng)
for n in sizes:
    print(f"D[t||normal], {n:,} samples: {np.mean((heavy.logpdf(h) - normal.logpdf(h))[:n]):.1f}")
""",
        right=[
            """
infinite = "D[t||normal]"
h = np.random.default_rng(5).standard_normal(num_samples)
terms = 1.5 * np.log(1 + h**2 / 2) + np.log(2 * np.sqrt(2)) - h**2 / 2 - np.log(2 * np.pi) / 2
estimate, standard_error = np.mean(terms), np.std(terms) / np.sqrt(len(h))
""",
            """
import torch
torch.manual_seed(1)
infinite = "D[t||normal]"
q, p = torch.distributions.Normal(0.0, 1.0), torch.distributions.StudentT(2.0)
h = q.sample((num_samples,))
terms = q.log_prob(h) - p.log_prob(h)
estimate, standard_error = terms.mean(), terms.std() / num_samples**0.5
""",
        ],
        wrong={
            "prediction": (swap('"D[t||normal]"', '"D[normal||t]"'), "prediction"),
            "other words": (swap('"D[t||normal]"', '"t from normal"'), "must be"),
            "sign": (swap("normal.logpdf(h) - heavy.logpdf(h)\nestimate",
                          "heavy.logpdf(h) - normal.logpdf(h)\nestimate"), "not negative"),
            "the infinite one": (swap(SAMPLES, SAMPLES.replace("normal", "heavy"),
                                      "normal.logpdf(h) - heavy.logpdf(h)\nestimate",
                                      "heavy.logpdf(h) - normal.logpdf(h)\nestimate"),
                                 "not right"),
            "samples of t": (swap(SAMPLES, SAMPLES.replace("normal", "heavy")), "not negative"),
            "three degrees of freedom": (swap("- heavy.logpdf(h)\nestimate",
                                              "- t(3).logpdf(h)\nestimate"), None),
            "bits": (swap("normal.logpdf(h) - heavy.logpdf(h)\nestimate",
                          "np.log2(normal.pdf(h) / heavy.pdf(h))\nestimate"), "not right"),
            "standard deviation": (swap("sem(log_ratio)", "log_ratio.std()"), "not right"),
            "variance": (swap("sem(log_ratio)", "sem(log_ratio) ** 2"), "not right"),
            "over n": (swap("sem(log_ratio)", "np.std(log_ratio) / num_samples"), "not right"),
        },
    ),
}
