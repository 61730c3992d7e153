from planted import Planted, swap

PLANTED = {
    "bernoulli-from-logits": Planted(
        base="""
def bernoulli_log_likelihood(x, logits):
    return ops.sum(x * logits - ops.softplus(logits), axis=(1, 2))
""",
        right=[
            """
def bernoulli_log_likelihood(x, logits):
    result = np.zeros(len(x))
    for i in range(len(x)):
        for value, logit in zip(x[i].ravel(), logits[i].ravel()):
            result[i] -= value * np.logaddexp(0, -logit) + (1 - value) * np.logaddexp(0, logit)
    return result
""",
            """
import torch
def bernoulli_log_likelihood(x, logits):
    p = torch.distributions.Bernoulli(logits=logits.float(), validate_args=False)
    return p.log_prob(x.float()).flatten(1).sum(dim=1)
""",
            """
def bernoulli_log_likelihood(x, logits):
    cost = keras.losses.binary_crossentropy(x[..., None], logits[..., None], from_logits=True)
    return -ops.sum(cost, axis=(1, 2))
""",
        ],
        wrong={
            "mean over pixels": (swap("ops.sum", "ops.mean"), "mean over the pixels"),
            "sign": (swap("x * logits - ops.softplus(logits)", "ops.softplus(logits) - x * logits"),
                     "sign is reversed"),
            "sum over all": (swap(", axis=(1, 2)", ""), "sum over the examples"),
            "sum over one axis": (swap("axis=(1, 2)", "axis=2"), "one of the two pixel axes"),
            "cross-entropy as it is": (
                """
def bernoulli_log_likelihood(x, logits):
    return -ops.sum(keras.losses.binary_crossentropy(x, logits, from_logits=True), axis=1)
""", "averages over the last axis"),
            "logarithm of a sigmoid": (
                """
def bernoulli_log_likelihood(x, logits):
    p = 1 / (1 + np.exp(-logits))
    return np.sum(x * np.log(p) + (1 - x) * np.log(1 - p), axis=(1, 2))
""", "before its logarithm"),
            "softplus by hand": (swap("ops.softplus(logits)", "ops.log(1 + ops.exp(logits))"),
                                 "exponential overflows"),
            "clipped": (
                """
def bernoulli_log_likelihood(x, logits):
    p = ops.clip(ops.sigmoid(logits), 1e-7, 1 - 1e-7)
    return ops.sum(x * ops.log(p) + (1 - x) * ops.log(1 - p), axis=(1, 2))
""", "it clips"),
            "white pixels alone": (swap("x * logits - ops.softplus(logits)",
                                        "x * ops.log_sigmoid(logits)"), "black pixels are missing"),
            "grey pixels as black": (
                """
def bernoulli_log_likelihood(x, logits):
    one, zero = -np.logaddexp(0, -logits), -np.logaddexp(0, logits)
    return np.where(x == 1, one, zero).sum(axis=(1, 2))
""", "treated as black"),
            "no x": (swap("x * logits", "logits"), "x is not used"),
        },
    ),
    "grey-pixel-floor": Planted(
        base="""
def grey_floor(x, p):
    floor = -np.sum(xlogy(x, x) + xlogy(1 - x, 1 - x), axis=(1, 2))
    divergence = np.sum(xlogy(x, x / p) + xlogy(1 - x, (1 - x) / (1 - p)), axis=(1, 2))
    return floor, divergence
""",
        right=[
            """
from scipy.special import entr, rel_entr
def grey_floor(x, p):
    floor = entr(x) + entr(1 - x)
    divergence = rel_entr(x, p) + rel_entr(1 - x, 1 - p)
    return floor.sum(axis=(1, 2)), divergence.sum(axis=(1, 2))
""",
            """
import torch
def grey_floor(x, p):
    x, p = x.flatten(1), p.flatten(1)
    cost = -(x * torch.log(p) + (1 - x) * torch.log1p(-p)).sum(-1)
    floor = -(torch.xlogy(x, x) + torch.xlogy(1 - x, 1 - x)).sum(-1)
    return floor, cost - floor
""",
            """
import math
def grey_floor(x, p):
    pairs = []
    for image, decoded in zip(x, p):
        floor = divergence = 0.0
        for a, b in zip(image.ravel(), decoded.ravel()):
            for c, d in ((a, b), (1 - a, 1 - b)):
                if c > 0:
                    floor -= c * math.log(c)
                    divergence += c * (math.log(c) - math.log(d))
        pairs.append((floor, divergence))
    floors, divergences = np.transpose(pairs)
    return floors, divergences
""",
        ],
        wrong={
            "floor's sign": (swap("floor = -np", "floor = np"), "sign is reversed"),
            "entropy of p": (swap("xlogy(x, x) + xlogy(1 - x, 1 - x)",
                                  "xlogy(p, p) + xlogy(1 - p, 1 - p)"), "entropy of p"),
            "one side": (swap(" + xlogy(1 - x, 1 - x)", ""), "term with 1 − x"),
            "whole cost": (swap("xlogy(x, x / p)", "xlogy(x, 1 / p)",
                                "xlogy(1 - x, (1 - x) / (1 - p))", "xlogy(1 - x, 1 / (1 - p))"),
                           "floor is still in it"),
            "reversed": (swap("xlogy(x, x / p)", "xlogy(p, p / x)",
                              "xlogy(1 - x, (1 - x) / (1 - p))", "xlogy(1 - p, (1 - p) / (1 - x))"),
                         "D(π‖x)"),
            "NaN": (swap("xlogy(x, x)", "x * np.log(x)"), "limit is 0"),
            "bits": (swap("return floor, divergence",
                          "return floor / np.log(2), divergence / np.log(2)"), "bits"),
            "mean": (swap("np.sum", "np.mean"), "mean over the pixels"),
            "order": (swap("return floor, divergence", "return divergence, floor"), "exchanged"),
            "one number": (swap("return floor, divergence", "return floor + divergence"),
                           "2 results"),
        },
    ),
    "sample-latent": Planted(
        base="""
def sample_latent(mean, log_var, seed):
    noise = keras.random.normal(ops.shape(mean), seed=seed)
    return mean + ops.exp(log_var / 2) * noise
""",
        right=[
            """
def sample_latent(mean, log_var, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(loc=mean, scale=np.exp(0.5 * log_var))
""",
            """
import torch
def sample_latent(mean, log_var, seed):
    generator = torch.Generator().manual_seed(seed)
    return mean + torch.randn(mean.shape, generator=generator) * torch.exp(log_var).sqrt()
""",
            """
def sample_latent(mean, log_var, seed):
    generator = keras.random.SeedGenerator(seed)
    n, k = mean.shape
    epsilon = ops.stack([keras.random.normal((n,), seed=generator) for _ in range(k)], axis=1)
    return epsilon * ops.sqrt(ops.exp(log_var)) + mean
""",
        ],
        wrong={
            "variance": (swap("log_var / 2", "log_var"), "multiplied by σ²"),
            "quarter": (swap("log_var / 2", "log_var / 4"), "√σ"),
            "no exponential": (swap("ops.exp(log_var / 2)", "log_var"), "exponential is missing"),
            "no noise": (swap("return mean + ops.exp(log_var / 2) * noise", "return mean"),
                         "no noise in it"),
            "one ε": (swap("ops.shape(mean)", "ops.shape(mean)[1:]"), "share one ε"),
            "one ε for all dimensions": (swap("ops.shape(mean)", "(len(mean), 1)"),
                                         "noise of its own"),
            "uniform": (swap("random.normal", "random.uniform"), "uniform"),
            "not scaled": (swap("ops.exp(log_var / 2) * noise", "noise"), "not scaled"),
            "no mean": (swap("mean + ops.exp", "ops.exp"), "mean is missing"),
            "fixed seed": (swap("seed=seed", "seed=0"), "is the seed used"),
            "no seed": (swap(", seed=seed", ""), "pass the seed"),
            "seed 0 is none": (swap("seed=seed", "seed=seed or None"), "pass the seed"),
            "seed of odd and even": (swap("seed=seed", "seed=seed % 4"), "is the seed used"),
            "seed in the mean": (swap("noise = keras.random.normal(ops.shape(mean), seed=seed)",
                                      "noise = seed + keras.random.normal(mean.shape, seed=1)"),
                                 "average of the noise"),
            "width of the first example": (swap("ops.exp(log_var / 2)",
                                                "ops.exp(log_var[:1] / 2)"), "not right"),
            "averaged width": (swap("ops.exp(log_var / 2)",
                                    "ops.mean(ops.exp(log_var / 2), axis=0)"), "not right"),
            "uniform of variance 1": (
                swap("keras.random.normal(ops.shape(mean), seed=seed)",
                     "np.sqrt(12) * (keras.random.uniform(ops.shape(mean), seed=seed) - 0.5)"),
                "not normal"),
            "pairs share their noise": (
                swap("keras.random.normal(ops.shape(mean), seed=seed)",
                     "np.repeat(keras.random.normal(ops.shape(mean), seed=seed), 2, 0)"
                     "[:len(mean)]"), "of its own"),
            "sign of the exponent": (swap("log_var / 2", "-log_var / 2"), "multiplied by 1/σ"),
        },
    ),
    "keras-batch-loss": Planted(
        base="""
def batch_loss(x, logits, mean, log_var):
    log_likelihood = ops.sum(x * logits - ops.softplus(logits), axis=(1, 2))  # (n,)
    kl = 0.5 * ops.sum(mean**2 + ops.exp(log_var) - log_var - 1, axis=-1)  # (n,)
    return ops.mean(kl - log_likelihood)
""",
        right=[
            """
def batch_loss(x, logits, mean, log_var):
    total = 0.0
    for i in range(len(x)):
        cost = np.sum(np.logaddexp(0, logits[i]) - x[i] * logits[i])
        kl = np.sum(mean[i] ** 2 + np.exp(log_var[i]) - 1 - log_var[i]) / 2
        total += (cost + kl) / len(x)
    return total
""",
            """
import torch
def batch_loss(x, logits, mean, log_var):
    cost = torch.nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="sum")
    q = torch.distributions.Normal(mean, torch.exp(log_var / 2))
    kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum()
    return (cost + kl) / len(x)
""",
            """
def batch_loss(x, logits, mean, log_var):
    cost = keras.losses.binary_crossentropy(x[..., None], logits[..., None], from_logits=True)
    kl = -0.5 * ops.sum(1 + log_var - ops.square(mean) - ops.exp(log_var), axis=1)
    return ops.mean(ops.sum(cost, axis=(1, 2))) + ops.mean(kl)
""",
        ],
        wrong={
            "mean over pixels": (swap("ops.sum(x * logits", "ops.mean(x * logits"),
                                 "averaged over the pixels"),
            "mean over dimensions": (swap("0.5 * ops.sum", "0.5 * ops.mean"),
                                     "averaged over the latent dimensions"),
            "means everywhere": (swap("ops.sum", "ops.mean"), "averaged over everything"),
            "sum over examples": (swap("ops.mean", "ops.sum"), "sum over the examples"),
            "sign of the KL": (swap("kl - log_likelihood", "-log_likelihood - kl"),
                               "KL has the wrong sign"),
            "ELBO": (swap("kl - log_likelihood", "log_likelihood - kl"), "This is the ELBO"),
            "sign of the log-likelihood": (swap("kl - log_likelihood", "kl + log_likelihood"),
                                           "log-likelihood has the wrong sign"),
            "no half": (swap("0.5 * ", ""), "½ is missing"),
            "one per example": (swap("ops.mean(kl - log_likelihood)", "kl - log_likelihood"),
                                "average them"),
            "cross-entropy as it is": (
                swap("ops.sum(x * logits - ops.softplus(logits), axis=(1, 2))",
                     "-ops.sum(keras.losses.binary_crossentropy(x, logits, from_logits=True), "
                     "axis=1)"), "averaged over the last axis"),
            "log sigma": (swap("ops.exp(log_var) - log_var", "ops.exp(2 * log_var) - 2 * log_var"),
                          "log_var for log σ"),
            "no KL": (swap("kl - log_likelihood", "-log_likelihood"), "KL is missing"),
        },
    ),
    "mean-over-pixels": Planted(
        base="""
def best_kl(divisor):
    def loss(parameters):
        reconstruction, kl = terms(*parameters)
        return reconstruction / divisor + kl

    return terms(*minimize(loss, np.zeros(2)).x)[1]


prediction = "falls"
kl_by_divisor = np.array([best_kl(divisor) for divisor in divisors])
plt.figure(figsize=(5, 2.8))
plt.loglog(divisors, kl_by_divisor, "o-", color="C3")
plt.xlabel("divisor of the reconstruction term")
plt.ylabel("KL (nats)")
plt.show()
""",
        right=[
            """
def search(divisor):
    def loss(at):
        return terms(*at)[0] / divisor + terms(*at)[1]
    at, step = np.zeros(2), 0.5
    while step > 1e-4:
        trials = [at + step * np.array(move) for move in [(0, 1), (0, -1), (1, 0), (-1, 0)]]
        best = min(trials, key=loss)
        if loss(best) < loss(at):
            at = best
        else:
            step /= 2
    return terms(*at)[1]
prediction = "falls"
kl_by_divisor = [search(divisor) for divisor in (1, 10, 100, 784)]
""",
            """
import torch
prediction = "falls"
kl_by_divisor = torch.zeros(4)
for i, divisor in enumerate(divisors):
    total = lambda at: terms(*at)[0] + divisor * terms(*at)[1]
    found = minimize(total, [0.5, -0.5], method="Nelder-Mead", options={"xatol": 1e-5})
    kl_by_divisor[i] = terms(*found.x)[1]
""",
        ],
        wrong={
            "rises": (swap('"falls"', '"rises"'), "does not show that the KL rises"),
            "no prediction": (swap('"falls"', '"it gets smaller"'), "prediction must be one of"),
            "multiplied": (swap("reconstruction / divisor", "reconstruction * divisor"),
                           "multiplied by the divisors"),
            "order": (swap("for divisor in divisors", "for divisor in reversed(divisors)"),
                      "largest divisor first"),
            "reconstruction": (swap("np.zeros(2)).x)[1]", "np.zeros(2)).x)[0]"),
                               "This is the reconstruction term"),
            "loss": (swap("return terms(*minimize(loss, np.zeros(2)).x)[1]",
                          "return minimize(loss, np.zeros(2)).fun"), "This is the loss"),
            "everything divided": (swap("reconstruction / divisor + kl",
                                        "(reconstruction + kl) / divisor"), "divided as a whole"),
            "not minimised": (swap("minimize(loss, np.zeros(2)).x", "(1.0, -1.0)"), None),
            "only the mean": (swap("terms(*parameters)", "terms(parameters[0], 0.0)"), None),
        },
    ),
}
