from planted import Planted, swap

PLANTED = {
    "batch-simple-loss": Planted(
        base="""
def simple_loss(images, alpha_bars, noise, predict_v):
    a = np.sqrt(alpha_bars)[:, None, None]  # (n, 1, 1)
    s = np.sqrt(1 - alpha_bars)[:, None, None]
    x = a * (2 * images - 1) + s * noise
    noise_hat = a * predict_v(x, alpha_bars) + s * x
    return np.mean(np.sum((noise - noise_hat) ** 2, axis=(1, 2)))


silent = 28
""",
        right=[
            """
def simple_loss(images, alpha_bars, noise, predict_v):
    x = np.empty_like(noise)
    for i, alpha_bar in enumerate(alpha_bars):
        x[i] = alpha_bar**0.5 * (images[i] * 2 - 1) + (1 - alpha_bar) ** 0.5 * noise[i]
    v = predict_v(x, alpha_bars)
    total = 0.0
    for i, alpha_bar in enumerate(alpha_bars):
        x0_hat = alpha_bar**0.5 * x[i] - (1 - alpha_bar) ** 0.5 * v[i]
        noise_hat = (x[i] - alpha_bar**0.5 * x0_hat) / (1 - alpha_bar) ** 0.5
        total += ((noise[i] - noise_hat) ** 2).sum()
    return total / len(images)
silent = 28
""",
            """
import torch
def simple_loss(images, alpha_bars, noise, predict_v):
    images, alpha_bars, noise = images.float(), alpha_bars.float(), noise.float()
    a = alpha_bars.sqrt().view(-1, 1, 1)
    s = torch.sqrt(1 - alpha_bars).view(-1, 1, 1)
    x = a * (2 * images - 1) + s * noise
    error = noise - a * predict_v(x, alpha_bars) - s * x
    return error.square().flatten(1).sum(1).mean()
silent = torch.tensor(28)
""",
        ],
        wrong={
            "mean over pixels": (swap("np.sum(", "np.mean("), "mean over the pixels"),
            "sum over examples": (swap("np.mean(", "np.sum("), "sum over the examples"),
            "no mean": (swap("np.mean(np.sum((noise - noise_hat) ** 2, axis=(1, 2)))",
                             "np.sum((noise - noise_hat) ** 2, axis=(1, 2))"), "one number"),
            "levels along columns": (swap("[:, None, None]", ""), "along the columns"),
            "pixels from 0 to 1": (swap("(2 * images - 1)", "images"), "still in [0, 1]"),
            "no roots": (swap("np.sqrt(alpha_bars)", "alpha_bars",
                              "np.sqrt(1 - alpha_bars)", "(1 - alpha_bars)"), "square roots"),
            "variance of the noise": (swap("np.sqrt(1 - alpha_bars)", "(1 - alpha_bars)"),
                                      "standard deviation"),
            "one level for all": (swap("np.sqrt(alpha_bars)[:, None, None]",
                                       "np.sqrt(alpha_bars[0])",
                                       "np.sqrt(1 - alpha_bars)[:, None, None]",
                                       "np.sqrt(1 - alpha_bars[0])"), "first level"),
            "exchanged": (swap("a = np", "b = np", "s = np", "a = np", "b = np", "s = np"),
                          "each other's factor"),
            "v for noise": (swap("a * predict_v(x, alpha_bars) + s * x",
                                 "predict_v(x, alpha_bars)"), "with v̂"),
            "error of v": (swap("(noise - noise_hat)", "(a * noise - s * (2 * images - 1) "
                                "- predict_v(x, alpha_bars))"), "squared error of v"),
            "norm": (swap("axis=(1, 2))", "axis=(1, 2)) ** 0.5"), "mean norm"),
            "clipped": (swap("noise_hat = a * predict_v(x, alpha_bars) + s * x",
                             "x0_hat = np.clip(a * x - s * predict_v(x, alpha_bars), -1, 1); "
                             "noise_hat = (x - a * x0_hat) / s"), None),
            "x clipped": (swap("x = a * (2 * images - 1) + s * noise",
                               "x = np.clip(a * (2 * images - 1) + s * noise, -1, 1)"), None),
            "own noise": (swap("x = a", "noise = np.random.normal(size=noise.shape); x = a"), None),
            "with a safety of 1e-3": (swap("np.sqrt(1 - alpha_bars)",
                                           "np.sqrt(1 - alpha_bars + 1e-3)"), None),
            "sign": (swap("+ s * x", "- s * x"), None),
            "level of wrong shape": (swap("predict_v(x, alpha_bars)", "predict_v(x, a**2)"),
                                     "predict_v needs alpha_bars of shape (n,)"),
            "silent for one": (swap("silent = 28", "silent = 1"), "no mistake"),
            "silent for the pixels": (swap("silent = 28", "silent = 784"), "one entry a column"),
            "silent for the batch": (swap("silent = 28", "silent = 128"), "raises an error"),
            "silent for ten": (swap("silent = 28", "silent = 10"), None),
        },
    ),
    "loss-levels": Planted(
        base="""
def shares(level):
    tau = np.linspace(1e-3, 1, 100_001)
    log_snr = -np.log(np.expm1(0.1 * tau + 9.95 * tau**2))
    simple = np.mean(log_snr < level)
    elbo = (level - log_snr[-1]) / (log_snr[0] - log_snr[-1])
    return simple, elbo


almost_clean = "elbo"
""",
        right=[
            """
def shares(level):
    goal = np.log1p(np.exp(-level))  # 0.1 τ + 9.95 τ²
    tau = (-0.1 + np.sqrt(0.01 + 4 * 9.95 * goal)) / (2 * 9.95)
    return (1 - tau) / 0.999, (level + 10.05) / (9.1162 + 10.05)
almost_clean = "elbo"
""",
            """
import torch
from genmodels.models.denoising import LOG_SNR_RANGE, log_snr_at
def shares(level):
    low, high = LOG_SNR_RANGE
    drawn = torch.tensor(log_snr_at(np.linspace(1e-3, 1, 20_000)))
    return torch.stack([(drawn < level).double().mean(),
                        torch.tensor((level - low) / (high - low)).double()])
almost_clean = "elbo"
""",
        ],
        wrong={
            "above": (swap("return simple, elbo", "return 1 - simple, 1 - elbo"),
                      "shares above"),
            "exchanged": (swap("return simple, elbo", "return elbo, simple"), "are exchanged"),
            "both simple": (swap("return simple, elbo", "return simple, simple"),
                            "its λ is uniform"),
            "both elbo": (swap("return simple, elbo", "return elbo, elbo"), "its τ is uniform"),
            "tau reversed": (swap("log_snr < level", "log_snr > level"), "larger τ"),
            "per cent": (swap("return simple, elbo", "return 100 * simple, 100 * elbo"),
                         "percentages"),
            "half a log": (swap("-np.log(np", "-0.5 * np.log(np"), None),
            "simple": (swap('"elbo"', '"simple"'), "above λ = 4"),
            "no choice": (swap('"elbo"', '"both"'), "must be one of"),
        },
    ),
    "zero-or-nine": Planted(
        base="""
def error_rate(distance, log_snr):
    return stats.norm.sf(0.5 * distance * np.exp(log_snr / 2))


finer_grid = "stays the same"
""",
        right=[
            """
from math import erfc, exp, sqrt
def error_rate(distance, log_snr):
    alpha_bar = 1 / (1 + exp(-log_snr))
    a, s = sqrt(alpha_bar), sqrt(1 - alpha_bar)
    return 0.5 * erfc(a * distance / (2 * s) / sqrt(2))
finer_grid = "stays the same"
""",
            """
import torch
def error_rate(distance, log_snr):
    half = distance / 2 * torch.exp(torch.tensor(log_snr / 2, dtype=torch.float64))
    return torch.special.ndtr(-half)
finer_grid = "stays the same"
""",
        ],
        wrong={
            "right answers": (swap("norm.sf", "norm.cdf"), "rate of right answers"),
            "whole distance": (swap("0.5 * distance", "distance"), "half-way"),
            "SNR": (swap("log_snr / 2", "log_snr"), "where its root belongs"),
            "signal alone": (swap("np.exp(log_snr / 2)", "(1 + np.exp(-log_snr)) ** -0.5"),
                             "signal alone"),
            "sign": (swap("np.exp(log_snr / 2)", "np.exp(-log_snr / 2)"), "less noise"),
            "two sides": (swap("return stats", "return 2 * stats"), "two sides"),
            "density": (swap("norm.sf", "norm.pdf"), "not a probability"),
            "falls": (swap("stays the same", "falls"), "across it"),
            "grows": (swap("stays the same", "grows"), "across it"),
            "no choice": (swap("stays the same", "same"), "must be one of"),
        },
    ),
    "elbo-bits": Planted(
        base="""
def bits_per_pixel(reconstruction, prior_matching, matching, sizes, num_pixels, width):
    elbo = reconstruction - prior_matching - matching @ sizes  # nats
    return -(elbo / num_pixels + np.log(width)) / np.log(2)
""",
        right=[
            """
def bits_per_pixel(reconstruction, prior_matching, matching, sizes, num_pixels, width):
    nats = []
    for i in range(len(reconstruction)):
        cost = prior_matching[i] - reconstruction[i] - num_pixels * np.log(width)
        for j in range(len(sizes)):
            cost = cost + sizes[j] * matching[i, j]
        nats.append(cost / num_pixels)
    return np.array(nats) / np.log(2)
""",
            """
import torch
def bits_per_pixel(reconstruction, prior_matching, matching, sizes, num_pixels, width):
    loss = prior_matching - reconstruction + (matching * sizes).sum(dim=1)
    return loss / (num_pixels * np.log(2)) - np.log2(width)
""",
            """
import tensorflow as tf
def bits_per_pixel(reconstruction, prior_matching, matching, sizes, num_pixels, width):
    bits = []
    for first, second, terms in zip(reconstruction, prior_matching, matching):
        elbo = first - second - tf.reduce_sum(terms * sizes)
        bits.append(-(elbo / num_pixels + np.log(width)) / np.log(2))
    return bits
""",
        ],
        wrong={
            "nats": (swap(" / np.log(2)", ""), "nats per pixel"),
            "times log 2": (swap("/ np.log(2)", "* np.log(2)"), "multiplied by log 2"),
            "whole image": (swap("(elbo / num_pixels + np.log(width))",
                                 "(elbo + num_pixels * np.log(width))"), "whole image"),
            "sign": (swap("return -(", "return ("), "sign is reversed"),
            "no width": (swap(" + np.log(width)", ""), "bits of a density"),
            "divided by width": (swap("+ np.log(width)", "- np.log(width)"), "wrong sign"),
            "width once": (swap("(elbo / num_pixels + np.log(width))",
                                "((elbo + np.log(width)) / num_pixels)"), "enters once"),
            "reconstruction": (swap("reconstruction - prior", "-reconstruction - prior"),
                               "reconstruction term"),
            "prior": (swap("- prior_matching", "+ prior_matching"), "prior matching has"),
            "matching": (swap("- matching", "+ matching"), "denoising matching has"),
            "sum of the drawn": (swap("matching @ sizes", "matching.sum(axis=1)"),
                                 "drawn times only"),
            "mean of the drawn": (swap("matching @ sizes", "matching.mean(axis=1)"),
                                  "mean over the drawn"),
            "mean over all": (swap("@ sizes", "@ sizes / sizes.sum()"), "mean over all times"),
            "equal strata": (swap("matching @ sizes", "matching.mean(axis=1) * sizes.sum()"),
                             "differ in size"),
        },
    ),
    "frechet-floor": Planted(
        base="""
def distances(n, rng):
    return np.array([frechet_distance(rng.normal(size=(n, num_features)),
                                      rng.normal(size=(n, num_features)))
                     for _ in range(num_pairs)])


floors = np.array([distances(n, rng).mean() for n in sizes])
power = np.polyfit(np.log(sizes), np.log(floors), 1)[0]
print("n                ", sizes)
print("measured         ", floors.round(4))
print("to lowest order  ",
      ((2 * num_features + num_features * (num_features + 1) / 2) / sizes).round(4))
print(f"power {power:.3f}")
nearer = ["not decided", "A", "B"]
below = "copies"
""",
        right=[
            """
def distances(n, rng):
    sets = rng.standard_normal((num_pairs, 2, n, num_features))
    return [frechet_distance(*pair) for pair in sets]
floors = []
generator = np.random.default_rng(11)
for n in sizes:
    floors.append(sum(distances(n, generator)) / num_pairs)
power = np.log(floors[2] / floors[0]) / np.log(sizes[2] / sizes[0])
above = {50: floors[0], 800: floors[2]}
scatter = distances(50, generator)
error = np.std(scatter) / 10**0.5
nearer = []
for n_of_a, n_of_b in [(50, 50), (50, 800), (800, 50)]:
    difference = (1.2 - above[n_of_a]) - (1.1 - above[n_of_b])
    nearer.append("not decided" if abs(difference) < 3 * error else "AB"[int(difference > 0)])
below = "copies" if 0.05 < 0.4 * min(scatter) else "chance"
""",
            """
import torch
def distances(n, rng):
    found = []
    for _ in range(num_pairs):
        first = torch.tensor(rng.normal(size=(n, num_features)), requires_grad=True)
        second = torch.tensor(rng.normal(size=(n, num_features)))
        found.append(torch.tensor(frechet_distance(first.detach().numpy(), second.numpy()),
                                  requires_grad=True))
    return found
floors = [float(sum(distances(int(n), rng))) for n in sizes]
power = torch.tensor(np.polyfit(np.log10(sizes), np.log10(floors), 1)[0])
nearer, below = ("not decided", "A", "B"), "copies"
""",
        ],
        wrong={
            "predicted as a standard error": (swap("power = ", "power = -0.5 #"),
                                              "standard error falls so"),
            "sign": (swap("power = ", "power = -"), None),
            "two bases": (swap("np.log(floors)", "np.log2(floors)"), None),
            "intercept": (swap(", 1)[0]", ", 1)[1]"), None),
            "no logarithm of the floors": (swap("np.log(floors)", "floors"), None),
            "mean": (swap("return np.array([", "return np.mean(["), "one distance for each"),
            "root": (swap("np.array([frechet_distance", "np.sqrt([frechet_distance"),
                     "already a square"),
            "one set in all pairs": ("""
def distances(n, rng):
    fixed = rng.normal(size=(n, num_features))
    return np.array([frechet_distance(rng.normal(size=(n, num_features)), fixed)
                     for _ in range(num_pairs)])
power = -1.0
nearer, below = ["not decided", "A", "B"], "copies"
""", None),
            "one set in all pairs, drawn later": ("""
def distances(n, rng):
    rng.normal(size=3)
    fixed = rng.normal(size=(n, num_features))
    return np.array([frechet_distance(rng.normal(size=(n, num_features)), fixed)
                     for _ in range(num_pairs)])
power = -1.0
nearer, below = ["not decided", "A", "B"], "copies"
""", "a set used in more than one pair"),
            "the same set": ("""
def distances(n, rng):
    sets = [rng.normal(size=(n, num_features)) for _ in range(num_pairs)]
    return np.array([frechet_distance(one, one) for one in sets])
power = -1.0
nearer, below = ["not decided", "A", "B"], "copies"
""", "the two sets of a pair are the same"),
            "one large set": ("""
def distances(n, rng):
    large = rng.normal(size=(20_000, num_features))
    return np.array([frechet_distance(rng.normal(size=(n, num_features)), large)
                     for _ in range(num_pairs)])
power = -1.0
nearer, below = ["not decided", "A", "B"], "copies"
""", None),
            "as many images in all": (swap("rng.normal(size=(n, num",
                                           "rng.normal(size=(n // 2, num"), None),
            "seeded in every pair": ("""
def distances(n, rng):
    seed, found = int(rng.integers(1000)), []
    for _ in range(num_pairs):
        again = np.random.default_rng(seed)
        found.append(frechet_distance(again.normal(size=(n, num_features)),
                                      again.normal(size=(n, num_features))))
    return np.array(found)
power = -1.0
nearer, below = ["not decided", "A", "B"], "copies"
""", "exactly the same distance"),
            "own generator": ("""
def distances(n, rng):
    return np.array([frechet_distance(np.random.normal(size=(n, num_features)),
                                      np.random.normal(size=(n, num_features)))
                     for _ in range(num_pairs)])
power = -1.0
nearer, below = ["not decided", "A", "B"], "copies"
""", "is where it was before"),
            "one feature too few": (swap("num_features", "(num_features - 1)"), None),
            "smaller numbers": (swap('["not decided", "A", "B"]', '["B", "B", "B"]'),
                                "look again at report 1"),
            "report 1 as printed": (swap('["not decided", "A"', '["B", "A"'), "means of ten"),
            "all undecided": (swap('["not decided", "A", "B"]', '["not decided"] * 3'),
                              "report 2 and report 3: which distance"),
            "floors exchanged": (swap('"A", "B"', '"B", "A"'),
                                 "report 2 and report 3: which distance"),
            "report 3 only": (swap('"A", "B"', '"A", "A"'), "report 3: which distance"),
            "no such model": (swap('"A", "B"', '"A", "C"'), "must be one of"),
            "one word": (swap('["not decided", "A", "B"]', '"not decided"'), "must be three words"),
            "better than real": (swap('"copies"', '"a better model"'), "best model of all"),
            "chance": (swap('"copies"', '"chance"'), "the smallest of your distances"),
            "no reason": (swap('"copies"', '"memory"'), "must be one of"),
            "fewer pairs": (swap("range(num_pairs)", "range(num_pairs // 2)"), "shape"),
            "not measured": (swap("return np.array", "return 88 / n; np.array"), None),
        },
    ),
}
