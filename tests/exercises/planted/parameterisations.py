from planted import Planted, Swap, swap


def spread(*texts: str) -> Swap:
    """`swap` in the last solution without what it asserts of the variances."""
    return swap(*texts, "assert abs", "assert 1 or abs")


PLANTED = {
    "hidden-weights": Planted(
        base="""
def share_above(level, output):
    flat, steep = FIRST - level, np.exp(-level) - np.exp(-FIRST)  # ∫ dλ, ∫ e^{−λ} dλ
    all_flat, all_steep = FIRST - LAST, np.exp(-LAST) - np.exp(-FIRST)
    if output == "x0":
        return steep / all_steep
    if output == "noise":
        return flat / all_flat
    return (flat + steep) / (all_flat + all_steep)


neglects = "x0"
""",
        right=[
            """
from scipy.integrate import quad
neglects = "x0"
def share_above(level, output):
    weight = {"x0": lambda at: np.exp(-at), "noise": lambda at: 1.0,
              "v": lambda at: 1 / (1 / (1 + np.exp(-at)))}[output]
    below, above = (quad(weight, *ends, epsrel=1e-10)[0]
                    for ends in ((LAST, level), (level, FIRST)))
    return [above / (below + above)]
""",
            """
import torch
neglects = "x0"
def share_above(level, output):
    nodes, weights = np.polynomial.legendre.leggauss(60)
    def integral(low):
        at = torch.tensor(low + (FIRST - low) * (nodes + 1) / 2)
        ratio = {"x0": torch.exp(-at), "noise": 0 * at + 1, "v": 1 / torch.sigmoid(at)}[output]
        return (FIRST - low) / 2 * (torch.tensor(weights) * ratio).sum()
    return integral(level) / integral(LAST)
""",
        ],
        wrong={
            "below": (swap("flat, steep = FIRST - level, np.exp(-level) - np.exp(-FIRST)",
                           "flat, steep = level - LAST, np.exp(-LAST) - np.exp(-level)"),
                      "fraction below"),
            "inverted": ("""
def share_above(level, output):
    at = np.linspace(LAST, FIRST, 1_400_001)
    ratio = {"x0": np.exp(at), "noise": 1 + 0 * at, "v": 1 / (1 + np.exp(-at))}[output]
    part = at >= level - 1e-9
    return np.trapezoid(ratio[part], at[part]) / np.trapezoid(ratio, at)
neglects = "x0"
""", "upside down"),
            "the weight": ("""
def share_above(level, output):
    return {"x0": np.exp(-level), "noise": 1.0, "v": 1 + np.exp(-level)}[output]
neglects = "x0"
""", "weight itself"),
            "not squared": (swap("np.exp(-level) - np.exp(-FIRST)",
                                 "np.exp(-level / 2) - np.exp(-FIRST / 2)",
                                 "np.exp(-LAST) - np.exp(-FIRST)",
                                 "np.exp(-LAST / 2) - np.exp(-FIRST / 2)"), "square of the factor"),
            "v with the other sign": (swap(
                "return (flat + steep) / (all_flat + all_steep)",
                "return (flat + np.exp(FIRST) - np.exp(level))"
                " / (all_flat + np.exp(FIRST) - np.exp(LAST))"), "where e^{−λ} belongs"),
            "v as x0": (swap('output == "x0"', 'output != "noise"'), "of x_0, for v"),
            "all even": (swap('output == "noise"', "True", 'output == "x0"', "False"),
                         "even weight"),
            "not a share": (swap("steep / all_steep", "steep"), None),
            "names noise": (swap('neglects = "x0"', 'neglects = "noise"'), "does not have the"),
            "names v": (swap('neglects = "x0"', 'neglects = "v"'), "does not have the"),
            "names the score": (swap('neglects = "x0"', 'neglects = "score"'), "must be one of"),
        },
    ),
    "denoiser-of-a-data-set": Planted(
        base="""
makes = "copies"
def best_denoiser(xt, data, alpha_bar):
    offsets = xt[:, None, :] - np.sqrt(alpha_bar) * data  # (n, N, d)
    logits = -0.5 * np.sum(offsets**2, axis=2) / (1 - alpha_bar)
    weights = np.exp(logits - np.max(logits, axis=1, keepdims=True))
    return weights @ data / np.sum(weights, axis=1, keepdims=True)
""",
        right=[
            """
makes = "copies"
def best_denoiser(xt, data, alpha_bar):
    result = []
    for x in xt:
        exponents = [-sum((x - alpha_bar**0.5 * y) ** 2) / (2 - 2 * alpha_bar) for y in data]
        weights = [np.exp(exponent - max(exponents)) for exponent in exponents]
        result.append(sum(w * y for w, y in zip(weights, data)) / sum(weights))
    return np.array(result)
""",
            """
import torch
makes = "copies"
def best_denoiser(xt, data, alpha_bar):
    logits = -torch.cdist(xt, alpha_bar**0.5 * data) ** 2 / (2 * (1 - alpha_bar))
    return torch.softmax(logits, dim=1) @ data
""",
            """
from scipy.special import logsumexp
makes = "copies"
def best_denoiser(xt, data, alpha_bar):
    a, s2 = np.sqrt(alpha_bar), 1 - alpha_bar
    logits = (2 * a * xt @ data.T - alpha_bar * np.sum(data**2, axis=1)) / (2 * s2)
    return np.exp(logits - logsumexp(logits, axis=1)[:, None]) @ data
""",
        ],
        wrong={
            "centre": (swap("np.sqrt(alpha_bar) * data", "data"), "not at y_i"),
            "centre without root": (swap("np.sqrt(alpha_bar)", "alpha_bar"), "this has ᾱ y_i"),
            "deviation for variance": (swap("(1 - alpha_bar)", "np.sqrt(1 - alpha_bar)"),
                                       "where the variance belongs"),
            "no half": (swap("-0.5 * ", "-"), "½ in the exponent"),
            "no variance": (swap(" / (1 - alpha_bar)", ""), "no variance"),
            "share of the data": (swap("/ (1 - alpha_bar)", "/ alpha_bar"), "has ᾱ where"),
            "softmax over the noisy points": ("""
makes = "copies"
def best_denoiser(xt, data, alpha_bar):
    offsets = xt[:, None] - np.sqrt(alpha_bar) * data
    weights = np.exp(-np.sum(offsets**2, axis=2) / (2 - 2 * alpha_bar))
    return weights / np.sum(weights, axis=0) @ data
""", "over the noisy points"),
            "underflow": (swap(" - np.max(logits, axis=1, keepdims=True)", ""), "nan"),
            "not normalised": (swap(" / np.sum(weights, axis=1, keepdims=True)", "",
                                    " - np.max(logits, axis=1, keepdims=True)", ""),
                               "not normalised"),
            "scale of x_t": (swap("weights @ data", "weights @ (np.sqrt(alpha_bar) * data)"),
                             "not of x_0"),
            "nearest point": ("""
makes = "copies"
def best_denoiser(xt, data, alpha_bar):
    squares = np.sum((xt[:, None] - np.sqrt(alpha_bar) * data) ** 2, axis=2)
    return data[np.argmin(squares, axis=1)]
""", "nearest point"),
            "mean of the data": ("""
makes = "copies"
def best_denoiser(xt, data, alpha_bar):
    return np.mean(data, axis=0) + 0 * xt
""", "whatever x_t is"),
            "score": (swap("return weights @ data / np.sum(weights, axis=1, keepdims=True)",
                           "x0 = weights @ data / np.sum(weights, axis=1, keepdims=True)\n"
                           "    return -(xt - np.sqrt(alpha_bar) * x0) / (1 - alpha_bar)"),
                      "This is the score"),
            "new points": (swap('"copies"', '"new points"'), "when 1 − ᾱ is small"),
            "mean": (swap('"copies"', '"mean"'), "when 1 − ᾱ is small"),
            "another word": (swap('"copies"', '"noise"'), "must be one of"),
            "sum over the data, not the components": (swap("axis=2", "axis=1"), None),
        },
    ),
    "second-order-tweedie": Planted(
        base="""
def posterior_covariance(hessian, alpha_bar):
    s2 = 1 - alpha_bar
    return s2 / alpha_bar * (np.eye(len(hessian[0])) + s2 * hessian)
""",
        right=[
            """
def posterior_covariance(hessian, alpha_bar):
    covariance = np.empty_like(hessian)
    n, d, _ = hessian.shape
    for i in range(n):
        for j in range(d):
            for k in range(d):
                element = (1 - alpha_bar) * hessian[i, j, k] + (j == k)
                covariance[i, j, k] = (1 / alpha_bar - 1) * element
    return covariance
""",
            """
import torch
def posterior_covariance(hessian, alpha_bar):
    snr = alpha_bar / (1 - alpha_bar)
    return torch.eye(hessian.shape[1]) / snr + (1 - alpha_bar) / snr * hessian.float()
""",
        ],
        wrong={
            "derivative of the denoiser": (swap("s2 / alpha_bar *", "1 / np.sqrt(alpha_bar) *"),
                                           "derivative of x̂_0"),
            "one power of a": (swap("s2 / alpha_bar *", "s2 / np.sqrt(alpha_bar) *"),
                               "power of √ᾱ"),
            "no power of a": (swap("s2 / alpha_bar *", "s2 *"), "no ᾱ in the denominator"),
            "no variance in front": (swap("s2 / alpha_bar *", "1 / alpha_bar *"),
                                     "factor 1 − ᾱ is missing"),
            "no identity": (swap("np.eye(len(hessian[0])) + ", ""), "identity is missing"),
            "sign": (swap("+ s2 * hessian", "- s2 * hessian"), "sign of the Hessian"),
            "deviation for variance": (swap("+ s2 * hessian", "+ np.sqrt(s2) * hessian"),
                                       "no root there"),
            "deviation everywhere": (swap("s2 = 1 - alpha_bar", "s2 = np.sqrt(1 - alpha_bar)"),
                                     None),
            "no factor at the Hessian": (swap("+ s2 * hessian", "+ hessian"), "has no factor"),
            "one for the identity": (swap("np.eye(len(hessian[0]))", "1"), "every element"),
            "of a Gaussian": ("""
def posterior_covariance(hessian, alpha_bar):
    return np.linalg.inv(-hessian)
""", "inverse of minus the Hessian"),
            "trace": (swap("return s2", "return np.einsum('nii->n', s2", "* hessian)",
                           "* hessian))"), "This is the trace"),
        },
    ),
    "continuous-time-weights": Planted(
        base="""
def elbo_weights(tau):
    noise = np.pi / np.sin(np.pi * tau)
    return noise, noise * np.cos(np.pi * tau / 2) ** 2
""",
        right=[
            """
def elbo_weights(tau):
    angle = np.pi * tau / 2
    snr = 1 / np.tan(angle) ** 2
    slope = -np.pi * np.cos(angle) / np.sin(angle) ** 3  # of the SNR
    return [-0.5 * slope / snr, -0.5 * slope / (1 + snr)]
""",
            """
import torch
def elbo_weights(tau):
    tau = tau.clone().requires_grad_(True)
    level = torch.cos(torch.pi * tau / 2) ** 2
    (slope,) = torch.autograd.grad(torch.logit(level).sum(), tau)
    return -slope / 2, -slope / 2 * level
""",
            """
import tensorflow as tf
def elbo_weights(tau):
    with tf.GradientTape() as tape:
        tape.watch(tau)
        level = tf.cos(np.pi * tau / 2) ** 2
        snr = level / (1 - level)
    w = -0.5 * tape.gradient(snr, tau)
    return w / snr, w / (1 + snr)
""",
            swap("return noise, noise * np.cos(np.pi * tau / 2) ** 2",
                 "return [[*noise], [*(noise * np.cos(np.pi * tau / 2) ** 2)]]"),
        ],
        wrong={
            "no half": (swap("np.pi / np.sin", "2 * np.pi / np.sin"), "½ is missing"),
            "half too many": (swap("np.pi / np.sin", "np.pi / 2 / np.sin"), "½ is too many"),
            "sign": (swap("noise = np.pi", "noise = -np.pi"), "sign is wrong"),
            "weight of x0": ("""
def elbo_weights(tau):
    slope = -np.pi * np.cos(np.pi * tau / 2) / np.sin(np.pi * tau / 2) ** 3
    return -0.5 * slope, -0.5 * slope
""", "weight of the error of x_0"),
            "multiplied": ("""
def elbo_weights(tau):
    slope = -np.pi * np.cos(np.pi * tau / 2) / np.sin(np.pi * tau / 2) ** 3
    snr = 1 / np.tan(np.pi * tau / 2) ** 2
    return -0.5 * slope * snr, -0.5 * slope * (1 + snr)
""", "larger error gets the smaller weight"),
            "v multiplied": ("""
def elbo_weights(tau):
    slope = -np.pi * np.cos(np.pi * tau / 2) / np.sin(np.pi * tau / 2) ** 3
    snr = 1 / np.tan(np.pi * tau / 2) ** 2
    return -0.5 * slope / snr, -0.5 * slope * (1 + snr)
""", "1 + SNR where it should divide"),
            "in log SNR": (swap("np.pi / np.sin(np.pi * tau)", "0.5 + 0 * tau"),
                           "uniform log SNR"),
            "derivative of alpha bar": (swap("np.pi / np.sin(np.pi * tau)",
                                             "np.pi * np.sin(np.pi * tau) / 4"), "dᾱ/dτ"),
            "no square": (swap(" ** 2", ""), "multiplied by √ᾱ"),
            "the rest of v": (swap("np.cos", "np.sin"), "multiplied by 1 − ᾱ"),
            "v divided": (swap("noise * np.cos", "noise / np.cos"), "divides ω_ε by ᾱ"),
            "v as the noise": (swap(" * np.cos(np.pi * tau / 2) ** 2", ""),
                               "weight of the noise's error"),
            "only one": (swap("noise, noise * np.cos(np.pi * tau / 2) ** 2", "noise"),
                         "2 results"),
        },
    ),
    "spread-the-times": Planted(
        base="""
prediction = "variance falls"
def spread_times(rng):
    return (rng.random((REPEATS, 1)) + np.arange(BATCH)) / BATCH


def batch_losses(tau, rng):
    log_snr = FIRST + (LAST - FIRST) * tau  # (REPEATS, BATCH)
    level = 1 / (1 + np.exp(-log_snr))[..., None]
    x0 = np.sqrt(C) * rng.standard_normal((*tau.shape, D))
    xt = np.sqrt(level) * x0 + np.sqrt(1 - level) * rng.standard_normal(x0.shape)
    gain = np.sqrt(level) * C / (level * C + 1 - level)
    squares = np.sum((x0 - gain * xt) ** 2, axis=-1)
    return np.mean(0.5 * (FIRST - LAST) * np.exp(log_snr) * squares, axis=1)


independent = batch_losses(rng.random((REPEATS, BATCH)), rng)
spread = batch_losses(spread_times(rng), rng)
print(f"means {independent.mean():.2f} and {spread.mean():.2f} nats")
print(f"variances {independent.var():.2f} and {spread.var():.2f} nats²")
assert abs(spread.var() / independent.var() - 0.196) < 0.088  # five standard errors
""",
        right=[
            """
prediction = "variance falls"
def spread_times(rng):
    times = []
    for _ in range(REPEATS):
        u = rng.uniform()
        times.append([(u + i) / BATCH for i in range(BATCH)])
    return times
def batch_losses(tau, rng):
    snr = np.exp(FIRST - (FIRST - LAST) * tau)
    # x_0 given x_t is a Gaussian of variance 1/(SNR + 1/C) about the best estimate
    squares = rng.chisquare(D, size=tau.shape) / (snr + 1 / C)
    return list((0.5 * (FIRST - LAST) * snr * squares).mean(axis=1))
""",
            """
import torch
prediction = "variance falls"
def spread_times(rng):
    u = torch.tensor(rng.random((REPEATS, 1)), dtype=torch.float32)
    return ((u + torch.linspace(0, 1, BATCH + 1)[:-1]) % 1.0).requires_grad_()
def batch_losses(tau, rng):
    generator = torch.Generator().manual_seed(int(rng.integers(2**40)))
    tau = torch.as_tensor(tau).float()
    lam = FIRST + (LAST - FIRST) * tau[..., None]
    a2 = torch.sigmoid(lam)
    x0 = C**0.5 * torch.randn(*tau.shape, D, generator=generator)
    noise = torch.randn(*tau.shape, D, generator=generator)
    x0_hat = C * (a2 * x0 + (a2 * (1 - a2)).sqrt() * noise) / (a2 * C + 1 - a2)
    loss = (FIRST - LAST) / 2 * (lam.exp() * (x0 - x0_hat) ** 2).sum(dim=2)
    return loss.mean(dim=1)
""",
            """
prediction = "variance falls"
def spread_times(rng):
    times = (rng.random(REPEATS)[:, None] + np.arange(BATCH)) / BATCH
    return rng.permuted(times, axis=1)
def batch_losses(tau, rng):
    results = []
    for times in tau:
        snr = np.exp(FIRST + (LAST - FIRST) * times)[:, None]
        level = snr / (1 + snr)
        x0 = rng.normal(0, C**0.5, size=(len(times), D))
        xt = rng.normal(np.sqrt(level) * x0, np.sqrt(1 - level))
        x0_hat = np.sqrt(level) * C / (level * C + 1 - level) * xt
        slope = snr * (LAST - FIRST)
        results.append(np.mean(-0.5 * slope[:, 0] * ((x0 - x0_hat) ** 2).sum(axis=1)))
    return results
""",
        ],
        wrong={
            "mean falls": (spread('"variance falls"', '"mean falls"'), "Every single time"),
            "both fall": (spread('"variance falls"', '"both fall"'), "Every single time"),
            "another word": (spread('"variance falls"', '"nothing"'), "must be one of"),
            "no half": (spread("0.5 * (FIRST", "(FIRST"), "½ is missing"),
            "sign": (spread("(FIRST - LAST) * np.exp", "(LAST - FIRST) * np.exp"), "SNR falls"),
            "no slope": (spread("0.5 * (FIRST - LAST)", "0.5"), "with respect to τ is missing"),
            "slope of the logarithm": (spread(" * np.exp(log_snr)", ""), "lacks the SNR itself"),
            "mean over the components": (spread("np.sum(", "np.mean("), "mean over the components"),
            "sum over the batch": (spread("return np.mean(", "return np.sum("),
                                   "sum over the batch"),
            "all samples": (spread("squares, axis=1)", "squares)"), "one number for each batch"),
            "one time for the batch": (spread("np.arange(BATCH)) / BATCH", "np.zeros(BATCH))"),
                                       "i is missing"),
            "independent": (spread("(rng.random((REPEATS, 1)) + np.arange(BATCH)) / BATCH",
                                 "rng.random((REPEATS, BATCH))"), "times are independent"),
            "a u for each time": (spread("random((REPEATS, 1))", "random((REPEATS, BATCH))"),
                                  "u of its own"),
            "one u for all batches": (spread("rng.random((REPEATS, 1))",
                                           "rng.random() + np.zeros((REPEATS, 1))"), "same u"),
            "middle of the interval": (spread("rng.random((REPEATS, 1))",
                                            "0 * rng.random((REPEATS, 1)) + 0.5"), None),
            "u not uniform": (spread("rng.random((REPEATS, 1))", "rng.random((REPEATS, 1)) ** 2"),
                              "not uniform"),
            "u not divided": (spread("(rng.random((REPEATS, 1)) + np.arange(BATCH)) / BATCH",
                                   "rng.random((REPEATS, 1)) + np.arange(BATCH) / BATCH"),
                              "u is not divided"),
            "ends included": (spread("/ BATCH", "/ (BATCH - 1)"), "divided by n − 1"),
            "from 1": (spread("np.arange(BATCH)", "np.arange(1, BATCH + 1)"), "from 1 to n"),
            "fewer batches": (spread("REPEATS, 1", "100, 1"), "shape"),
            "data of deviation C": (spread("np.sqrt(C) *", "C *"), "not their standard deviation"),
            "noise of deviation": (spread("np.sqrt(1 - level) *", "(1 - level) *"),
                                   "variance of the noise"),
            "not best": (spread("(level * C + 1 - level)", "(C + 1 - level)"), None),
            "x_t for the estimate": (spread("x0 - gain * xt", "x0 - xt"), None),
            "one noise for all components": (spread("standard_normal(x0.shape)",
                                                  "standard_normal((*tau.shape, 1))"),
                                             "one noise for all components"),
            "own generator": ("""
prediction = "variance falls"
def spread_times(rng):
    return (np.random.random((REPEATS, 1)) + np.arange(BATCH)) / BATCH
batch_losses = None
""", "is where it was before"),
            "losses with an own generator": (spread("x0 =", "rng = np.random.default_rng(0); x0 ="),
                                             "is where it was before"),
            "the expectation": ("""
prediction = "variance falls"
def spread_times(rng):
    return (rng.random((REPEATS, 1)) + np.arange(BATCH)) / BATCH
def batch_losses(tau, rng):
    snr = np.exp(FIRST + (LAST - FIRST) * tau)
    return np.mean(0.5 * (FIRST - LAST) * snr * D / (snr + 1 / C), axis=1)
""", "is where it was before"),
        },
    ),
}
