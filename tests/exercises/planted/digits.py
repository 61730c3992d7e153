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
        },
    ),
    "drop-labels": Planted(
        base="""
def drop_labels(labels, share, rng):
    dropped = rng.random(len(labels)) < share  # one draw for each example
    return np.where(dropped, 10, labels)
""",
        right=[
            """
def drop_labels(labels, share, rng):
    result = labels.copy()
    for i in range(len(labels)):
        if rng.random() < share:
            result[i] = 10
    return result
""",
            """
import torch
def drop_labels(labels, share, rng):
    dropped = torch.from_numpy(rng.random(len(labels))) < share
    return torch.where(dropped, torch.tensor(10), torch.as_tensor(labels))
""",
            """
def drop_labels(labels, share, rng):
    kept = rng.binomial(1, 1 - share, size=labels.shape)
    return kept * labels + (1 - kept) * 10
""",
            """
def drop_labels(labels, share, rng):
    return [int(label) if rng.uniform() >= share else 10 for label in labels]
""",
            """
import torch
def drop_labels(labels, share, rng):
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    labels = torch.as_tensor(labels)
    return torch.where(torch.rand(len(labels), generator=generator) < share, 10, labels)
""",
            """
def drop_labels(labels, share, rng):
    order = rng.permutation(len(labels))
    result = labels.copy()
    result[order[:rng.binomial(len(labels), share)]] = 10
    return result
""",
        ],
        wrong={
            "once for the batch": (swap("rng.random(len(labels))", "rng.random()"), None),
            "class 0": (swap("dropped, 10, labels", "dropped, 0, labels"), "label of a digit"),
            "another digit": (swap("dropped, 10,", "dropped, rng.integers(0, 10, len(labels)),"),
                              "another digit"),
            "minus one": (swap("dropped, 10,", "dropped, -1,"), "has a row for 'not told'"),
            "share kept": (swap("< share", "> share"), None),
            "in place": ("""
def drop_labels(labels, share, rng):
    labels[rng.random(len(labels)) < share] = 10
    return labels
""", "overwrites"),
            "fixed number": ("""
def drop_labels(labels, share, rng):
    result = labels.copy()
    result[rng.permutation(len(labels))[:round(share * len(labels))]] = 10
    return result
""", None),
            "the first ones": ("""
def drop_labels(labels, share, rng):
    result = labels.copy()
    result[:rng.binomial(len(labels), share)] = 10
    return result
""", "of the others"),
            "seed inside": (swap("dropped = rng", "dropped = np.random.default_rng(0)"),
                            "is where it was before"),
            "no rng": (swap("rng.random(", "np.random.random("), "is where it was before"),
            "a copy of rng": ("""
import copy
def drop_labels(labels, share, rng):
    own = copy.deepcopy(rng)
    return np.where(own.random(len(labels)) < share, 10, labels)
""", "is where it was before"),
            "a seed from rng": ("""
def drop_labels(labels, share, rng):
    own = np.random.default_rng(rng.integers(2))
    return np.where(own.random(len(labels)) < share, 10, labels)
""", None),
            "rng drawn and not used": ("""
def drop_labels(labels, share, rng):
    rng.random(len(labels))
    return np.where(np.random.default_rng(1).random(len(labels)) < share, 10, labels)
""", "two calls in a row"),
            "partly from elsewhere": ("""
def drop_labels(labels, share, rng):
    dropped = (rng.random(len(labels)) < share**0.5) & (np.random.random(len(labels)) < share**0.5)
    return np.where(dropped, 10, labels)
""", "in the same state"),
            "tenths of a share": (swap("rng.random(len(labels)) < share",
                                       "rng.integers(0, 10, len(labels)) < 10 * share"), None),
            "share of the first ones": ("""
def drop_labels(labels, share, rng):
    return np.where(rng.random(len(labels)) < np.minimum(2 * share * labels / 9, 1), 10, labels)
""", None),
            "digits of one call": ("""
def drop_labels(labels, share, rng):
    dropped = {digit: rng.random() < share for digit in range(10)}
    return np.array([10 if dropped[digit] else digit for digit in labels])
""", None),
            "at most a half": (swap("< share", "< min(share, 0.5)"), None),
            "share of 0.1": (swap("< share", "< 0.1"), None),
            "floats": (swap("10, labels", "10.0, labels"), "integer"),
            "normal numbers": (swap("rng.random(", "rng.standard_normal("), None),
            "shorter": (swap("np.where(dropped, 10, labels)", "labels[~dropped]"), "shape"),
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
    "ddim-sampler": Planted(
        base="""
def ddim(denoiser, alpha_bars, noise):
    x, levels = noise, [1.0, *alpha_bars]  # levels[t] is that of x_t
    for t in range(len(alpha_bars), 0, -1):
        now, before = levels[t], levels[t - 1]
        x0_hat = denoiser(x, now)
        noise_hat = (x - np.sqrt(now) * x0_hat) / np.sqrt(1 - now)
        x = np.sqrt(before) * x0_hat + np.sqrt(1 - before) * noise_hat
    return x
""",
        right=[
            """
def ddim(denoiser, alpha_bars, noise):
    x, T = noise.copy(), len(alpha_bars)
    for i in reversed(range(T)):
        a, s = alpha_bars[i] ** 0.5, (1 - alpha_bars[i]) ** 0.5
        x0_hat = denoiser(x, alpha_bars[i])
        if i == 0:
            return x0_hat
        ratio = ((1 - alpha_bars[i - 1]) / (1 - alpha_bars[i])) ** 0.5
        x = ratio * x + (alpha_bars[i - 1] ** 0.5 - ratio * a) * x0_hat
""",
            """
import torch
def ddim(denoiser, alpha_bars, noise):
    levels = torch.cat([torch.ones(1), alpha_bars.float()])
    x = noise.float()
    for t in range(len(alpha_bars), 0, -1):  # Euler's step in y = x / √α̅
        sigma = torch.sqrt((1 - levels[t]) / levels[t])
        after = torch.sqrt((1 - levels[t - 1]) / levels[t - 1])
        y = x / torch.sqrt(levels[t])
        y = y + (after - sigma) * (y - denoiser(x, levels[t])) / sigma
        x = y * torch.sqrt(levels[t - 1])
    return x
""",
            swap("    return x", "    return [row for row in x]"),
        ],
        wrong={
            "one level": (swap("levels[t], levels[t - 1]", "levels[t], levels[t]"),
                          "noise you began with"),
            "last step missing": (swap("alpha_bars), 0, -1", "alpha_bars), 1, -1"),
                                  "last step, to ᾱ_0 = 1"),
            "index -1": (swap("[1.0, *alpha_bars]", "alpha_bars",
                              "levels[t], levels[t - 1]", "levels[t - 1], levels[t - 2]"),
                         "last element"),
            "level 1 twice": (swap("[1.0, *alpha_bars]", "[alpha_bars[0], *alpha_bars]"),
                              "last step, to ᾱ_0 = 1"),
            "no roots": (swap("np.sqrt", ""), "square roots"),
            "told the next level": (swap("denoiser(x, now)", "denoiser(x, before)"),
                                    "level at which the step ends"),
            "not divided": (swap(" / np.sqrt(1 - now)", ""), "unit variance"),
            "upwards": (swap("range(len(alpha_bars), 0, -1)", "range(1, len(alpha_bars) + 1)"),
                        "sampling begins at T"),
            "new noise": (swap("* noise_hat", "* np.random.standard_normal(x.shape)"),
                          "DDIM draws nothing"),
            "no noise": (swap(" + np.sqrt(1 - before) * noise_hat", ""), "ε̂ is missing"),
            "clipped": (swap("denoiser(x, now)", "np.clip(denoiser(x, now), -1, 1)"), "clipped"),
            "clipped at the end": (swap("    return x", "    return np.clip(x, -1, 1)"),
                                   "or the result"),
            "clipped to 3": (swap("denoiser(x, now)", "np.clip(denoiser(x, now), -3, 3)"), None),
            "with a safety of 1e-3": (swap("np.sqrt(1 - now)", "np.sqrt(1 - now + 1e-3)"), None),
            "no loop": (swap("x = np.sqrt(before)", "return x0_hat; x = np.sqrt(before)"),
                        "where is the loop"),
            "noise of the next level": (swap("np.sqrt(1 - now)", "np.sqrt(1 - before)"),
                                        "division by 0"),
            "variance": (swap("np.sqrt(1 - before)", "(1 - before)"), None),
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
""", None),
            "one set in all pairs, drawn later": ("""
def distances(n, rng):
    rng.normal(size=3)
    fixed = rng.normal(size=(n, num_features))
    return np.array([frechet_distance(rng.normal(size=(n, num_features)), fixed)
                     for _ in range(num_pairs)])
power = -1.0
""", "a set used in more than one pair"),
            "the same set": ("""
def distances(n, rng):
    sets = [rng.normal(size=(n, num_features)) for _ in range(num_pairs)]
    return np.array([frechet_distance(one, one) for one in sets])
power = -1.0
""", "the two sets of a pair are the same"),
            "one large set": ("""
def distances(n, rng):
    large = rng.normal(size=(20_000, num_features))
    return np.array([frechet_distance(rng.normal(size=(n, num_features)), large)
                     for _ in range(num_pairs)])
power = -1.0
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
""", "exactly the same distance"),
            "own generator": ("""
def distances(n, rng):
    return np.array([frechet_distance(np.random.normal(size=(n, num_features)),
                                      np.random.normal(size=(n, num_features)))
                     for _ in range(num_pairs)])
power = -1.0
""", "is where it was before"),
            "one feature too few": (swap("num_features", "(num_features - 1)"), None),
            "fewer pairs": (swap("range(num_pairs)", "range(num_pairs // 2)"), "shape"),
            "not measured": (swap("return np.array", "return 88 / n; np.array"), None),
        },
    ),
}
