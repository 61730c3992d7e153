from planted import Planted, swap

PLANTED = {
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
    "volume-and-entropy": Planted(
        base="""
def growth(log_p, ends):
    return log_p - stats.norm.logpdf(ends).sum(axis=1)


difference = "entropy of the noise minus that of the data"
""",
        right=[
            """
def growth(log_p, ends):
    return [p + 0.5 * end @ end + 0.5 * len(end) * np.log(2 * np.pi)
            for p, end in zip(log_p, ends)]
difference = "entropy of the noise minus that of the data"
""",
            """
import torch
def growth(log_p, ends):
    return log_p - torch.distributions.Normal(0.0, 1.0).log_prob(ends).sum(dim=1)
difference = "entropy of the noise minus that of the data"
""",
        ],
        wrong={
            "sign": (swap("log_p - stats.norm.logpdf(ends).sum(axis=1)",
                          "stats.norm.logpdf(ends).sum(axis=1) - log_p"), "where volume grows"),
            "no end": (swap(" - stats.norm.logpdf(ends).sum(axis=1)", ""), "at the end is missing"),
            "sum": (swap("log_p - ", "log_p + "), "their difference"),
            "no constant": (swap("stats.norm.logpdf(ends)", "(-ends**2 / 2)"),
                            "constant of the normal density is missing"),
            "one constant": (swap("stats.norm.logpdf(ends).sum(axis=1)",
                                  "(-np.sum(ends**2, axis=1) / 2 - np.log(2 * np.pi) / 2)"),
                             "that of one dimension"),
            "no half": (swap("stats.norm.logpdf(ends)",
                             "(-ends**2 - np.log(2 * np.pi) / 2)"), "lacks its ½"),
            "factor": (swap("return log_p - stats.norm.logpdf(ends).sum(axis=1)",
                            "return np.exp(log_p - stats.norm.logpdf(ends).sum(axis=1))"),
                       "not its logarithm"),
            "mean": (swap("return log_p - stats.norm.logpdf(ends).sum(axis=1)",
                          "return np.mean(log_p - stats.norm.logpdf(ends).sum(axis=1))"),
                     "one number for each"),
            "free energy": (swap("entropy of the noise minus that of the data",
                                 "free energy of the data"), "minus the mean of a log density"),
            "divergence": (swap("entropy of the noise minus that of the data",
                                "divergence of the data from the noise"),
                           "minus the mean of a log density"),
            "no choice": (swap("entropy of the noise minus that of the data", "entropy"),
                          "must be one of"),
        },
    ),
    "signs-or-normal": Planted(
        base="""
def variances(J):
    S = (J + J.T) / 2
    normal = 2 * np.sum(S**2)
    return normal - 2 * np.sum(np.diag(S) ** 2), normal


without_error = ["diagonal", "antisymmetric"]
""",
        right=[
            """
def variances(J):
    signs = normal = 0.0
    for i in range(len(J)):
        normal += 2 * J[i, i] ** 2
        for j in range(i):
            signs += (J[i, j] + J[j, i]) ** 2
    return np.array([signs, signs + normal])
without_error = {"antisymmetric", "diagonal"}
""",
            """
import torch
def variances(J):
    values = torch.linalg.eigvalsh((J + J.T) / 2)
    normal = 2 * (values**2).sum()
    return normal - 2 * (torch.diag(J) ** 2).sum(), normal
without_error = ("diagonal", "antisymmetric")
""",
        ],
        wrong={
            "exchanged": (swap("return normal - 2 * np.sum(np.diag(S) ** 2), normal",
                               "return normal, normal - 2 * np.sum(np.diag(S) ** 2)"),
                          "are exchanged"),
            "J": (swap("(J + J.T) / 2", "J"), "Only the symmetric part"),
            "no 2": (swap("2 * np.sum(", "np.sum("), "missing in both"),
            "no 2 for normal": (swap("** 2), normal", "** 2), normal / 2"),
                                "missing for normal numbers"),
            "the same": (swap("** 2), normal", "** 2), normal - 2 * np.sum(np.diag(S) ** 2)"),
                         "fourth moment"),
            "twice": (swap("** 2), normal", "** 2), normal - np.sum(np.diag(S) ** 2)"),
                      "diagonal enter"),
            "deviations": (swap("return normal - 2 * np.sum(np.diag(S) ** 2), normal",
                                "return (normal - 2 * np.sum(np.diag(S) ** 2))**0.5, normal**0.5"),
                           "standard deviations"),
            "one only": (swap('["diagonal", "antisymmetric"]', '["diagonal"]'), "another kind"),
            "symmetric": (swap('"antisymmetric"]', '"symmetric"]'), "entries off the diagonal"),
            "triangular": (swap('"antisymmetric"]', '"antisymmetric", "triangular"]'),
                           "entries off the diagonal"),
            "one word": (swap('["diagonal", "antisymmetric"]', '"diagonal"'), "must be a list"),
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
    "label-that-shifts": Planted(
        base="""
def moments(c2, m, w):
    return w * m, c2


compared = "the same"
""",
        right=[
            """
def moments(c2, m, w):
    return np.array([m, 0.0]) * w + np.array([0.0, c2])
compared = "the same"
""",
            """
import torch
from genmodels import diffusion
def moments(c2, m, w):
    def gaussian(mean):
        return lambda x, a: mean + a**0.5 * c2 / (a * c2 + 1 - a) * (x - a**0.5 * mean)
    ends = diffusion.NoiseSchedule([1 - 1e-9, 1e-12])
    guided = diffusion.guided(gaussian(m), gaussian(0.0), w)
    x = diffusion.ode(guided, ends, np.array([-1.0, 1.0]), tolerance=1e-9)
    return torch.tensor(x.mean()), torch.tensor(x.var())
compared = "the same"
""",
        ],
        wrong={
            "exchanged weight": (swap("w * m", "(1 - w) * m"), "not 1 − w"),
            "other papers": (swap("w * m", "(1 + w) * m"), "other papers"),
            "conditional": (swap("w * m", "m"), "the case w = 1"),
            "power": (swap(", c2", ", c2**w"), "both variances are the same"),
            "deviation": (swap(", c2", ", c2**0.5"), "standard deviation"),
            "order": (swap("return w * m, c2", "return c2, w * m"), "numbers are exchanged"),
            "divided": (swap(", c2", ", c2 / w"), "not divided by the weight"),
            "further out": (swap("the same", "further out"), "Complete the square"),
            "less": (swap("the same", "less far out"), "Complete the square"),
            "no choice": (swap("the same", "equal"), "must be one of"),
            "no variance": (swap(", c2", ", 0.0"), None),
        },
    ),
}
