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
    "wells-in-a-field": Planted(
        base="""
def number_of_wells(weight, m, s2, alpha_bar):
    variance = alpha_bar * s2 + 1 - alpha_bar
    pull = np.sqrt(alpha_bar) * m / variance
    field = 0.5 * np.log(weight / (1 - weight))
    x = np.linspace(-2 * m - 1, 2 * m + 1, 10_001)
    force = -x / variance + pull * np.tanh(pull * x + field)
    return np.sum((force[:-1] > 0) & (force[1:] <= 0))


birth = "fold"
""",
        right=[
            """
def number_of_wells(weight, m, s2, alpha_bar):
    variance = alpha_bar * s2 + 1 - alpha_bar
    x = np.linspace(-8, 8, 20_000)
    mean = alpha_bar**0.5 * m
    q = (weight * np.exp(-(x - mean) ** 2 / (2 * variance))
         + (1 - weight) * np.exp(-(x + mean) ** 2 / (2 * variance)))
    return int(sum((q[1:-1] > q[:-2]) & (q[1:-1] > q[2:])))
birth = "fold"
""",
            """
def number_of_wells(weight, m, s2, alpha_bar):
    variance = alpha_bar * s2 + 1 - alpha_bar
    inverse_t = alpha_bar * m**2 / variance
    field = abs(np.log(weight / (1 - weight))) / 2
    if inverse_t <= 1:
        return 1
    M = np.sqrt(1 - 1 / inverse_t)  # the spinodal of the mean-field magnet
    return 2 if field < inverse_t * M - np.arctanh(M) else 1
birth = "fold"
""",
        ],
        wrong={
            "no field": (swap(" + field)", ")"), "condition for equal weights"),
            "wells of the data": (swap("x = np", "variance, pull = s2, m / s2; x = np"),
                                  "wells of the data"),
            "always two": (swap("return np.sum((force[:-1] > 0) & (force[1:] <= 0))", "return 2"),
                           "number of classes"),
            "points without force": (swap("(force[:-1] > 0) & (force[1:] <= 0)",
                                          "np.diff(np.sign(force)) != 0"), "top of the barrier"),
            "variance of the data": ("""
def number_of_wells(weight, m, s2, alpha_bar):
    return 2 if alpha_bar * m**2 > s2 else 1
birth = "fold"
""", "not into their variance"),
            "always one": (swap("return np.sum((force[:-1] > 0) & (force[1:] <= 0))", "return 1"),
                           None),
            "a third of the field": (swap("0.5 * np.log", "np.log", "(weight / (1 - weight))",
                                          "(weight / (1 - weight)) / 3"), None),
            "square of M": ("""
def number_of_wells(weight, m, s2, alpha_bar):
    a = alpha_bar * m**2 / (alpha_bar * s2 + 1 - alpha_bar)
    M = np.maximum(1 - 1 / a, 0)
    field = np.abs(np.log(weight / (1 - weight))) / 2
    return 1 + (field < a * M - np.arctanh(M))
birth = "fold"
""", None),
            "pitchfork": (swap('"fold"', '"pitchfork"'), "no symmetry is left"),
            "another word": (swap('"fold"', '"split"'), "must be one of"),
        },
    ),
    "ddim-shrinks": Planted(
        base="""
def ddim_variance(s2, alpha_bars):
    slope, levels = 1.0, [1.0, *alpha_bars]
    for t in range(len(alpha_bars), 0, -1):
        now, before = levels[t], levels[t - 1]
        gain = np.sqrt(now) * s2 / (now * s2 + 1 - now)  # x̂_0 = gain · x_t
        noise = (1 - np.sqrt(now) * gain) / np.sqrt(1 - now)
        slope = slope * (np.sqrt(before) * gain + np.sqrt(1 - before) * noise)
    return slope**2


verdict = "too small"
""",
        right=[
            """
def ddim_variance(s2, alpha_bars):
    r = np.append(np.sqrt(1 / alpha_bars - 1)[::-1], 0.0)  # falling to 0
    y = np.sqrt(1 + r[0] ** 2)
    for now, after in zip(r[:-1], r[1:]):
        y = y + (after - now) * now * y / (s2 + now**2)
    return y**2
verdict = "too small"
""",
            """
from genmodels import diffusion
def ddim_variance(s2, alpha_bars):
    gaussian = lambda x, a: a**0.5 * s2 / (a * s2 + 1 - a) * x
    return diffusion.ddim(gaussian, diffusion.NoiseSchedule(alpha_bars), np.ones(1))[0] ** 2
verdict = "too small"
""",
        ],
        wrong={
            "standard deviation": (swap("return slope**2", "return slope"), "standard deviation"),
            "of the data": (swap("return slope**2", "return s2"), "variance of the data"),
            "last step missing": (swap("alpha_bars), 0, -1)", "alpha_bars), 1, -1)"),
                                  "variance of x_1"),
            "ancestral": ("""
def ddim_variance(s2, alpha_bars):
    v, levels = 1.0, [1.0, *alpha_bars]
    for t in range(len(alpha_bars), 0, -1):
        now, before = levels[t], levels[t - 1]
        alpha = now / before
        gain = np.sqrt(now) * s2 / (now * s2 + 1 - now)
        slope = (np.sqrt(before) * (1 - alpha) * gain + np.sqrt(alpha) * (1 - before)) / (1 - now)
        v = slope**2 * v + (1 - before) * (1 - alpha) / (1 - now)
    return v
verdict = "too small"
""", "ancestral sampling"),
            "s for s2": (swap("gain = np.sqrt(now) * s2", "gain = np.sqrt(now) * s2**0.5"), None),
            "one level": (swap("levels[t], levels[t - 1]", "levels[t], levels[t]"), None),
            "too large": (swap('"too small"', '"too large"'), "its tangents lie"),
            "both": (swap('"too small"', '"too small for s² < 1, too large for s² > 1"'),
                     "its tangents lie"),
            "another word": (swap('"too small"', '"small"'), "must be one of"),
        },
    ),
    "hot-reverse-sde": Planted(
        base="""
physics = "kicks without their friction"
x = np.random.default_rng(1).standard_normal(20_000)
for tau in 1 - np.arange(500) / 500:
    x = x + np.sqrt((0.1 + 19.9 * tau) / 500) * np.random.default_rng().standard_normal(20_000)
print(x.var())
variance = 1 + 0.1 + 19.9 / 2
missing = 0.5
""",
        right=[
            """
physics = "kicks without their friction"
variance = 11.05
missing = 1 / 2
""",
            """
import torch
from fractions import Fraction
physics = "kicks without their friction"
variance = 1 + torch.trapezoid(0.1 + 19.9 * torch.linspace(0, 1, 101), torch.linspace(0, 1, 101))
missing = Fraction(1, 2)
""",
        ],
        wrong={
            "friction": (swap("kicks without their friction", "friction without its kicks"),
                         "both lines of (D6)"),
            "cold": (swap("kicks without their friction", "a bath too cold"),
                     "both lines of (D6)"),
            "no choice": (swap("kicks without their friction", "hot"), "must be one of"),
            "right variance": (swap("variance = 1 + 0.1 + 19.9 / 2", "variance = 1"),
                               "right program"),
            "no start": (swap("variance = 1 + ", "variance = "), "of the start is missing"),
            "beta at 1": (swap("19.9 / 2", "19.9"), "instead of the integral"),
            "deviation": (swap("1 + 0.1 + 19.9 / 2", "(1 + 0.1 + 19.9 / 2) ** 0.5"),
                          "standard deviation"),
            "half": (swap("0.1 + 19.9 / 2", "(0.1 + 19.9 / 2) / 2"), "not half of it"),
            "twice": (swap("0.1 + 19.9 / 2", "(0.1 + 19.9 / 2) * 2"), "not twice that"),
            "whole term": (swap("missing = 0.5", "missing = 1"), "has half of it"),
            "sign": (swap("missing = 0.5", "missing = -0.5"), "sign is reversed"),
            "nothing": (swap("missing = 0.5", "missing = 0"), "nothing would be repaired"),
            "a third": (swap("missing = 0.5", "missing = 1 / 3"), None),
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
}
