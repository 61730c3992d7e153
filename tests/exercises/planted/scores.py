from planted import Planted, swap

PLANTED = {
    "mixture-noisy-score": Planted(
        base="""
def noisy_score(x, alpha_bar, weights, means, variances):
    means = np.sqrt(alpha_bar) * means  # (M, d)
    variances = alpha_bar * variances + 1 - alpha_bar  # (M,)
    offsets = x[:, None] - means  # (n, M, d)
    log_joint = np.log(weights) - x.shape[1] / 2 * np.log(variances)
    log_joint = log_joint - np.sum(offsets**2, axis=2) / (2 * variances)
    responsibilities = softmax(log_joint, axis=1)  # (n, M)
    return -np.sum((responsibilities / variances)[:, :, None] * offsets, axis=1)
""",
        right=[
            """
import torch
def noisy_score(x, alpha_bar, weights, means, variances):
    x = x.clone().requires_grad_(True)
    v = alpha_bar * variances + (1 - alpha_bar)
    components = torch.distributions.Independent(torch.distributions.Normal(
        alpha_bar**0.5 * means, v.sqrt()[:, None].expand(means.shape)), 1)
    mixture = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(probs=weights), components)
    return torch.autograd.grad(mixture.log_prob(x).sum(), x)[0]
""",
            """
def noisy_score(x, alpha_bar, weights, means, variances):
    result = np.zeros(x.shape)
    for i in range(len(x)):
        logs, scores = [], []
        for w, mean, variance in zip(weights, means, variances):
            v = alpha_bar * variance + 1 - alpha_bar
            logs.append(np.log(w) + stats.norm.logpdf(x[i], alpha_bar**0.5 * mean, v**0.5).sum())
            scores.append((alpha_bar**0.5 * mean - x[i]) / v)
        r = np.exp(np.array(logs) - max(logs))
        result[i] = (r / r.sum()) @ np.array(scores)
    return result
""",
            swap("return -np.sum(", "return list(-np.sum(", "* offsets, axis=1)",
                 "* offsets, axis=1))"),
        ],
        wrong={
            "sign": (swap("return -", "return "), "sign is reversed"),
            "weights": (swap("(responsibilities / variances)[:, :, None]",
                             "(weights / variances)[:, None]"), "averaged with the weights"),
            "sum": (swap("(responsibilities / variances)[:, :, None]",
                         "(1 / variances)[:, None]"), "are summed"),
            "nearest": (swap("(responsibilities / variances)",
                             "(np.eye(len(weights))[responsibilities.argmax(axis=1)] / variances)"),
                        "nearest component"),
            "no weights": (swap("np.log(weights)", "0 * weights"), "lack the weights"),
            "no normalisation": (swap(" - x.shape[1] / 2 * np.log(variances)", ""),
                                 "lack the normalisation"),
            "one dimension": (swap("x.shape[1] / 2", "0.5"), "one dimension"),
            "power d": (swap("x.shape[1] / 2", "x.shape[1]"), "power −d of σ"),
            "means by alpha": (swap("np.sqrt(alpha_bar)", "alpha_bar"), "scaled by ᾱ;"),
            "means of the data": (swap("np.sqrt(alpha_bar) * means", "means"),
                                  "those of the data"),
            "no noise": (swap(" + 1 - alpha_bar", ""), "lack that of the noise"),
            "score of the data": (swap("np.sqrt(alpha_bar) * means", "means",
                                       "alpha_bar * variances + 1 - alpha_bar", "variances"),
                                  "score of the data"),
            "unscaled variances": (swap("alpha_bar * variances", "variances"), "not scaled by ᾱ"),
            "root of the noise": (swap("+ 1 - alpha_bar", "+ np.sqrt(1 - alpha_bar)"),
                                  "not its square root"),
            "sigma": (swap("variances = alpha_bar * variances + 1 - alpha_bar",
                           "variances = np.sqrt(alpha_bar * variances + 1 - alpha_bar)"),
                      "standard deviations"),
            "no half": (swap("/ (2 * variances)", "/ variances"), None),
            "underflow": (swap("softmax(log_joint, axis=1)",
                               "np.exp(log_joint) / np.exp(log_joint).sum(axis=1, keepdims=True)"),
                          "overflow"),
        },
    ),
    "langevin-step-bias": Planted(
        base="""
def langevin(step_size, num_steps, rng):
    x = np.zeros(num_chains)
    for _ in range(num_steps):
        noise = rng.standard_normal(num_chains)
        x = x - step_size * x / variance + np.sqrt(2 * step_size) * noise
    return x


limit = 2 * variance
print("δ         ", step_sizes)
print("measured  ", np.round([langevin(each, 100, rng).var() for each in step_sizes], 4))
print("formula   ", (variance / (1 - step_sizes / limit)).round(4))
""",
        right=[
            """
def langevin(step_size, num_steps, rng):
    x = [0.0] * num_chains
    for _ in range(num_steps):
        noise = rng.normal(0.0, (2 * step_size) ** 0.5, size=num_chains)
        x = [(1 - step_size / variance) * one + kick for one, kick in zip(x, noise)]
    return x
limit = 1.2
""",
            """
import torch
def langevin(step_size, num_steps, rng):
    noise = torch.tensor(rng.standard_normal((num_chains, num_steps)), dtype=torch.float32)
    x = torch.zeros(num_chains, requires_grad=True)
    for t in range(num_steps):
        x = x * (1 - step_size / variance) + noise[:, t] * (2 * step_size) ** 0.5
    return x
limit = torch.tensor(2.0, requires_grad=True) * variance
""",
            """
from fractions import Fraction
from scipy.stats import norm
def langevin(step_size, num_steps, rng):
    x = np.zeros((num_chains, 1))
    for _ in range(num_steps):
        x += -step_size / variance * x
        x += norm.rvs(scale=np.sqrt(2 * step_size), size=x.shape, random_state=rng)
    return x[:, 0].tolist()
limit = Fraction(6, 5)
""",
        ],
        wrong={
            "root of delta": (swap("np.sqrt(2 * step_size)", "np.sqrt(step_size)"), "√(2δ)"),
            "no root": (swap("np.sqrt(2 * step_size)", "2 * step_size"), "without the root"),
            "root of 2": (swap("np.sqrt(2 * step_size)", "np.sqrt(2) * step_size"),
                          "both factors"),
            "half a step": (swap("- step_size * x", "- 0.5 * step_size * x",
                                 "np.sqrt(2 * step_size)", "np.sqrt(step_size)"),
                            "half the step size"),
            "half the drift": (swap("- step_size * x", "- 0.5 * step_size * x"),
                               "drift is half"),
            "downhill": (swap("x - step_size", "x + step_size"), "climb the density"),
            "score of N(0, 1)": (swap(" / variance", ""), "another density"),
            "sigma": (swap("/ variance", "/ variance**0.5"), "s where s² belongs"),
            "times the variance": (swap("* x / variance", "* x * variance"), "multiplied by s²"),
            "no noise": (swap(" + np.sqrt(2 * step_size) * noise", ""), "two calls in a row"),
            "one noise": (swap("standard_normal(num_chains)", "standard_normal()"),
                          "other noise for each chain"),
            "one step": (swap("range(num_steps)", "range(1)"), "one step too few"),
            "one step less": (swap("range(num_steps)", "range(1, num_steps)"), "too few"),
            "one step more": (swap("range(num_steps)", "range(num_steps + 1)"), "too many"),
            "a fifth of the steps": (swap("range(num_steps)", "range(max(2, num_steps // 5))"),
                                     None),
            "always 100 steps": (swap("range(num_steps)", "range(100)"), None),
            "uniform noise": (swap("standard_normal(", "random("), None),
            "own generator": ("""
def langevin(step_size, num_steps, rng):
    x = np.zeros(num_chains)
    for _ in range(num_steps):
        noise = np.random.standard_normal(num_chains)
        x = x - step_size * x / variance + np.sqrt(2 * step_size) * noise
    return x
limit = 2 * variance
""", "is where it was before"),
            "seeded anew": ("""
def langevin(step_size, num_steps, rng):
    rng = np.random.default_rng(0)
    x = np.zeros(num_chains)
    for _ in range(num_steps):
        x = x - step_size * x / variance + np.sqrt(2 * step_size) * rng.normal(size=num_chains)
    return x
limit = 2 * variance
""", "is where it was before"),
            "seeded in every step": ("""
def langevin(step_size, num_steps, rng):
    x = np.zeros(num_chains)
    seed = rng.integers(1000)
    for _ in range(num_steps):
        noise = np.random.default_rng(seed).standard_normal(num_chains)
        x = x - step_size * x / variance + np.sqrt(2 * step_size) * noise
    return x
limit = 2 * variance
""", None),
            "the same noise in every step": ("""
def langevin(step_size, num_steps, rng):
    x, noise = np.zeros(num_chains), rng.standard_normal(num_chains)
    for _ in range(num_steps):
        x = x - step_size * x / variance + np.sqrt(2 * step_size) * noise
    return x
limit = 2 * variance
""", "same noise is added"),
            "a variance": (swap("return x", "return x.var()"), "shape"),
            "limit s2": (swap("limit = 2 * variance", "limit = variance"), "at once"),
            "limit inverse": (swap("limit = 2 * variance", "limit = 2 / variance"), "inverse"),
            "limit sigma": (swap("limit = 2 * variance", "limit = 2 * variance**0.5"),
                            "s where s²"),
            "limit infinite": (swap("limit = 2 * variance", "limit = np.inf"), "`limit` is inf"),
        },
    ),
    "reverse-drift-eta": Planted(
        base="""
def drift(x, score, beta, eta):
    return -0.5 * beta * (x + (1 + eta**2) * score)
""",
        right=[
            """
def drift(x, score, beta, eta):
    velocity = -beta * (x + score) / 2
    noise_variance = (eta * beta**0.5) ** 2
    return velocity - noise_variance * score / 2
""",
            """
import torch
def drift(x, score, beta, eta):
    return torch.stack([-x * beta / 2, -score * beta / 2, -score * beta * eta**2 / 2]).sum(dim=0)
""",
        ],
        wrong={
            "one beta": (swap("-0.5 * beta", "-0.5 * 6.07"), None),
            "all signs": (swap("-0.5", "0.5"), "factor of −dτ"),
            "sign of the score": (swap("x + (1", "x - (1"), "sign of the score"),
            "sign of x": (swap("(x +", "(-x +"), "term with x is reversed"),
            "no halves": (swap("0.5 * ", ""), "in both terms"),
            "no half with x": (swap("(x +", "(2 * x +"), "½ of the term with x"),
            "ODE": (swap("(1 + eta**2) * ", ""), "drift of the ODE"),
            "SDE": (swap("(1 + eta**2)", "2"), "for every η"),
            "eta for its square": (swap("eta**2", "eta"), "η where η² belongs"),
            "twice": (swap("eta**2", "2 * eta**2"), "compensated twice"),
            "no 1": (swap("(1 + eta**2)", "eta**2"), "stays without noise"),
            "minus": (swap("1 + eta**2", "1 - eta**2"), "not less"),
            "root of beta": (swap("0.5 * beta", "0.5 * beta**0.5"), "√β"),
            "no score": (swap(" + (1 + eta**2) * score", ""), "forward drift"),
        },
    ),
    "flow-log-likelihood": Planted(
        base="""
def log_likelihood(x, velocity, divergence, taus):
    integral = np.zeros(len(x))
    for tau, step in zip(taus, np.diff(taus)):
        integral = integral + step * divergence(x, tau)
        x = x + step * velocity(x, tau)
    return stats.norm.logpdf(x) + integral
""",
        right=[
            """
from scipy.integrate import solve_ivp
def log_likelihood(x, velocity, divergence, taus):
    n = len(x)
    def both(tau, state):
        return np.concatenate([velocity(state[:n], tau), divergence(state[:n], tau)])
    state = solve_ivp(both, (0, 1), np.concatenate([x, np.zeros(n)]), rtol=1e-6).y[:, -1]
    return state[n:] - state[:n] ** 2 / 2 - np.log(2 * np.pi) / 2
""",
            """
import torch
def log_likelihood(x, velocity, divergence, taus):
    log_p = torch.zeros(len(x))
    for i in range(len(taus) - 1):  # the midpoint method
        step = taus[i + 1] - taus[i]
        middle = x + step / 2 * velocity(x, taus[i])
        tau = taus[i] + step / 2
        log_p = log_p + step * divergence(middle, tau)
        x = x + step * velocity(middle, tau)
    return log_p + torch.distributions.Normal(0.0, 1.0).log_prob(x)
""",
            swap("zip(taus, np.diff(taus))", "zip(taus[1:], np.diff(taus))"),  # right ends
        ],
        wrong={
            "last interval lost": (swap("zip(taus, np.diff(taus))",
                                        "zip(taus[:-2], np.diff(taus))"), None),
            "first interval lost": (swap("zip(taus, np.diff(taus))",
                                         "zip(taus[1:], np.diff(taus)[1:])"), None),
            "ten intervals lost": (swap("zip(taus, np.diff(taus))",
                                        "zip(taus[:-11], np.diff(taus))"), None),
            "sign": (swap("integral + step", "integral - step"), "density falls"),
            "no normal": (swap("stats.norm.logpdf(x) + integral", "integral"),
                          "integral alone"),
            "no integral": (swap("logpdf(x) + integral", "logpdf(x)"), "divergence is missing"),
            "normal at the data": (swap("x = x + step * velocity(x, tau)",
                                        "y = y + step * velocity(y, tau)",
                                        "divergence(x, tau)", "divergence(y, tau)",
                                        "integral = np.zeros(len(x))",
                                        "y, integral = x, np.zeros(len(x))"),
                                   "evaluated at the data; it belongs to the end"),
            "no constant": (swap("stats.norm.logpdf(x)", "-x**2 / 2"), "½ log 2π"),
            "constant twice": (swap("stats.norm.logpdf(x)", "-x**2 / 2 - np.log(2 * np.pi)"),
                               "lacks its ½"),
            "square without half": (swap("stats.norm.logpdf(x)", "-x**2 - np.log(2 * np.pi) / 2"),
                                    "square in the normal density"),
            "density": (swap("stats.norm.logpdf(x) + integral",
                             "np.exp(stats.norm.logpdf(x) + integral)"), "not its logarithm"),
            "negative": (swap("return stats.norm.logpdf(x) +", "return -stats.norm.logpdf(x) -"),
                         "−log p"),
            "divergence at the data": (swap("integral = np.zeros(len(x))",
                                            "data, integral = x, np.zeros(len(x))",
                                            "divergence(x, tau)", "divergence(data, tau)"),
                                       "at the data for all times"),
            "equal steps": (swap("np.diff(taus)", "np.ones(len(taus) - 1) / (len(taus) - 1)"),
                            "steps are taken to be equal"),
            "no step": (swap("integral + step *", "integral +"), "steps are missing"),
            "one step": (swap("np.diff(taus)", "[1.0]"), None),
            "towards the data": (swap("x = x + step", "x = x - step"), None),
        },
    ),
    "guided-ode-variance": Planted(
        base=r"""
def guided_variance(c2, s2, w):
    return c2 ** (1 - w) * s2**w


print("w  guided ODE  tilted density")
print("\n".join(f"{w}  {guided_variance(1.5, 0.3, w):10.4f}  "
                f"{1 / ((1 - w) / 1.5 + w / 0.3):14.4f}" for w in (0, 1, 2, 4)))
""",
        right=[
            """
def guided_variance(c2, s2, w):
    return c2 * (s2 / c2) ** w
""",
            """
import torch
def guided_variance(c2, s2, w):
    log_c2, log_s2 = torch.log(torch.tensor(c2)), torch.log(torch.tensor(s2))
    return torch.exp(log_c2 + w * (log_s2 - log_c2))
""",
            """
from genmodels import diffusion
def guided_variance(c2, s2, w):
    def gaussian(variance):
        return lambda x, a: np.sqrt(a) * variance / (1 - (1 - variance) * a) * x
    denoiser = diffusion.guided(gaussian(s2), gaussian(c2), w)
    ends = diffusion.NoiseSchedule([1 - 1e-9, 1e-12])
    return diffusion.ode(denoiser, ends, np.ones(1), tolerance=1e-9)[0] ** 2
""",
            """
from fractions import Fraction
def guided_variance(c2, s2, w):
    return [Fraction(c2 ** (1 - w) * s2**w)]
""",
        ],
        wrong={
            "standard deviation": (swap("return c2 ** (1 - w) * s2**w",
                                        "return (c2 ** (1 - w) * s2**w) ** 0.5"),
                                   "standard deviation"),
            "c and s are deviations": (swap("return c2 ** (1 - w) * s2**w",
                                            "return (c2 ** (1 - w) * s2**w) ** 2"),
                                       "takes c2 and s2"),
            "exchanged": (swap("c2 ** (1 - w) * s2**w", "c2**w * s2 ** (1 - w)"),
                          "w for 1 − w"),
            "other convention": (swap("c2 ** (1 - w) * s2**w", "c2**-w * s2 ** (1 + w)"),
                                 "other papers"),
            "c = 1": (swap("c2 ** (1 - w) * s2**w", "s2**w"), "c = 1"),
            "no power of c": (swap("c2 ** (1 - w)", "c2"), "drop out"),
            "tilted": (swap("c2 ** (1 - w) * s2**w", "1 / ((1 - w) / c2 + w / s2)"),
                       "tilted density"),
            "average": (swap("return c2 ** (1 - w) * s2**w",
                             "return max((1 - w) * c2 + w * s2, 0.0)"),
                        "a variance is positive"),
            "average of deviations": (swap("c2 ** (1 - w) * s2**w",
                                           "((1 - w) * c2**0.5 + w * s2**0.5) ** 2"),
                                      "averages the standard"),
            "SDE": ("""
from scipy.integrate import solve_ivp
def guided_variance(c2, s2, w):
    def rate(lam, v):
        a = 1 / (1 + np.exp(2 * lam))
        score = -(1 - w) / (1 - (1 - c2) * a) - w / (1 - (1 - s2) * a)
        return -2 * (1 - a) * ((1 + 2 * score) * v + 1)
    return solve_ivp(rate, (10, -10), [1.0], rtol=1e-8, atol=1e-10).y[0, -1]
""", "variance of the SDE"),
            "sum of the powers": (swap(" * s2**w", " + s2**w"), None),
        },
    ),
}
