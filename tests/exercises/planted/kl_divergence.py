from planted import Planted, swap

SAMPLES = "h = normal.rvs(num_samples, random_state=rng)\n"

PLANTED = {
    "kl-wrong-temperature": Planted(
        base="""
def extra_bits(energies, beta, beta_code):
    lowered = energies - np.min(energies)  # the lowest level has the weight 1
    z, z_code = (np.sum(np.exp(-b * lowered)) for b in (beta, beta_code))
    mean_energy = np.sum(lowered * np.exp(-beta * lowered)) / z
    return ((beta_code - beta) * mean_energy + np.log(z_code) - np.log(z)) / np.log(2)


dearer = "hot"
""",
        right=[
            """
from scipy.special import log_softmax
dearer = "hot"
def extra_bits(energies, beta, beta_code):
    log_q, log_p = log_softmax(-beta * energies), log_softmax(-beta_code * energies)
    return sum(np.exp(a) * (a - b) for a, b in zip(log_q, log_p)) / np.log(2)
""",
            """
import torch
dearer = "hot"
def extra_bits(energies, beta, beta_code):
    q = torch.distributions.Categorical(logits=-beta * energies)
    p = torch.distributions.Categorical(logits=-beta_code * energies)
    return torch.distributions.kl_divergence(q, p) / torch.log(torch.tensor(2.0))
""",
        ],
        wrong={
            "choice": (swap('"hot"', '"cold"'), "prediction fails"),
            "other words": (swap('"hot"', '"both"'), "must be one of"),
            "nats": (swap(" / np.log(2)", ""), "This is in nats; bits"),
            "times log 2": (swap("/ np.log(2)", "* np.log(2)"), "more than a bit"),
            "exchanged": (swap("(energies, beta, beta_code)", "(energies, beta_code, beta)"),
                          "are exchanged"),
            "sign": (swap("return (", "return -("), "sign is reversed"),
            "no partition functions": (swap(" + np.log(z_code) - np.log(z)", "",
                                            "energies - np.min(energies)", "energies"),
                                       "functions are missing"),
            "partition functions exchanged": (swap("+ np.log(z_code) - np.log(z)",
                                                   "- np.log(z_code) + np.log(z)",
                                                   "energies - np.min(energies)", "energies"),
                                              "have the wrong sign"),
            "energy at the code's temperature": (swap("np.exp(-beta * lowered)) / z",
                                                      "np.exp(-beta_code * lowered)) / z_code"),
                                                 "mean energy is that"),
            "whole length": (swap("return ((beta_code - beta) * mean_energy + np.log(z_code) - "
                                  "np.log(z))", "return (beta_code * mean_energy + "
                                  "np.log(z_code))"), "subtract that"),
            "underflow": (swap("energies - np.min(energies)", "energies"), "underflow"),
        },
    ),
    "kl-suspect": Planted(
        base="""
wrong_term = "logarithm"
stds = np.linspace(0.3, 1.5, 120_001)
values = suspect(np.zeros((len(stds), 1)), stds[:, None])
best_std, smallest = stds[np.argmin(values)], values.min()
""",
        right=[
            """
wrong_term, best_std = "logarithm", 0.5**0.5
smallest = (0.5 - 1 - np.log(best_std)) / 2
""",
            """
import torch
v = torch.tensor(1.0, requires_grad=True)
optimiser = torch.optim.SGD([v], 0.1)
for _ in range(200):
    optimiser.zero_grad()
    loss = 0.5 * (v**2 - 1 - torch.log(v))
    loss.backward()
    optimiser.step()
wrong_term, best_std, smallest = "logarithm", v, loss
""",
        ],
        wrong={
            "choice": (swap('"logarithm"', '"trace"'), "term by term"),
            "other words": (swap('"logarithm"', '"log"'), "must be one of"),
            "variance": (swap("best_std, smallest = stds[np.argmin(values)]",
                              "best_std, smallest = stds[np.argmin(values)] ** 2"),
                         None),
            "at one": (swap("best_std, smallest = stds[np.argmin(values)]",
                            "best_std, smallest = 1.0"), "right program is smallest"),
            "exactly the variance": (swap("best_std, smallest = stds[np.argmin(values)]",
                                          "best_std, smallest = 0.5"), "the variance there"),
            "two dimensions": (swap("values.min()", "2 * values.min()"), "twice the value"),
            "positive": (swap("values.min()", "-values.min()"), "sign is reversed"),
            "right divergence": (swap("values.min()", "0.5 * (0.5 - 1 - np.log(0.5))"),
                                 "right divergence there"),
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
            "lambda 0": (swap("np.exp(log_r) - 1 - log_r", "-log_r"), "a = 0"),
            "lambda -1": (swap("np.exp(log_r) - 1 - log_r", "1 - np.exp(log_r) - log_r"), "a = -1"),
            "lambda half": (swap("np.exp(log_r) - 1 - log_r", "(np.exp(log_r) - 1) / 2 - log_r"),
                            "a = 0.5"),
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
    "kl-coupled-oscillators": Planted(
        base="""
def independent_fits(cov):
    mean_field = 1 / np.diag(np.linalg.inv(cov))
    smallest = 0.5 * (np.linalg.slogdet(cov).logabsdet - np.sum(np.log(mean_field)))
    return mean_field, np.diag(cov), smallest


narrower = "D[Q||p]"
""",
        right=[
            """
narrower = "D[Q||p]"
def independent_fits(cov):
    k = len(cov)
    v = []
    for j in range(k):  # the variance of one, given the others
        rest = [i for i in range(k) if i != j]
        gain = np.linalg.solve(cov[np.ix_(rest, rest)], cov[rest, j])
        v.append(cov[j, j] - cov[j, rest] @ gain)
    return v, [cov[j, j] for j in range(k)], np.log(np.linalg.det(cov) / np.prod(v)) / 2
""",
            """
import torch
narrower = "D[Q||p]"
def independent_fits(cov):
    v = 1 / torch.diagonal(torch.linalg.inv(cov))
    zero = torch.zeros(len(cov), dtype=cov.dtype)
    q, p = (torch.distributions.MultivariateNormal(zero, c) for c in (torch.diag(v), cov))
    return v, torch.diagonal(cov), torch.distributions.kl_divergence(q, p)
""",
        ],
        wrong={
            "choice": (swap('"D[Q||p]"', '"neither"'), "prediction fails"),
            "other words": (swap('"D[Q||p]"', '"Q"'), "must be one of"),
            "exchanged": (swap("return mean_field, np.diag(cov)",
                               "return np.diag(cov), mean_field"), "are exchanged"),
            "no inverse": (swap("return mean_field,", "return 1 / mean_field,"),
                           "diagonal of the inverse"),
            "inverse of the diagonal": (swap("return mean_field,", "return 1 / np.diag(cov),"),
                                        "inverses of the diagonal"),
            "standard deviations": (swap("return mean_field,", "return np.sqrt(mean_field),"),
                                    "standard deviations"),
            "eigenvalues": (swap("return mean_field,", "return np.linalg.eigvalsh(cov),"),
                            "eigenvalues"),
            "no half": (swap("0.5 * ", ""), "½ is missing"),
            "sign": (swap("0.5 * ", "-0.5 * "), "sign is reversed"),
            "other width": (swap("smallest = 0.5 * (np.linalg.slogdet(cov).logabsdet - "
                                 "np.sum(np.log(mean_field)))",
                                 "smallest = 0.5 * (np.trace(np.linalg.inv(cov) * np.diag(cov)) "
                                 "- len(cov) + np.linalg.slogdet(cov)[1] "
                                 "- np.log(np.diag(cov)).sum())"), "other variances"),
            "two results": (swap(", smallest\n", "\n"), "3 results"),
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
