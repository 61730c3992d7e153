from planted import Planted, swap

PLANTED = {
    "spin-terms": Planted(
        base="""
def spin_terms(spins, fields, temperature):
    logits = 2 * fields / temperature
    x = (1 + spins) / 2
    return logits, np.sum(x * logits - np.logaddexp(0, logits), axis=-1)


cold = "black or white, fixed by the fields"
""",
        right=[
            """
def spin_terms(spins, fields, temperature):
    b = fields / temperature
    return 2 * b, spins @ b - np.sum(np.logaddexp(b, -b))
cold = "black or white, fixed by the fields"
""",
            """
import torch
def spin_terms(spins, fields, temperature):
    logits = (fields + fields) / temperature
    p = torch.distributions.Bernoulli(logits=logits, validate_args=False)
    return logits, p.log_prob((spins > 0).to(logits)).sum(dim=1)
cold = 'black or white, fixed by the fields'
""",
        ],
        wrong={
            "no 2": (swap("2 * fields / temperature", "fields / temperature"),
                     "A factor 2 is missing"),
            "sign of the logits": (swap("2 * fields", "-2 * fields"), "sign is reversed"),
            "no temperature": (swap("2 * fields / temperature", "2 * fields"),
                               "temperature is missing"),
            "times T": (swap("/ temperature", "* temperature"), "divide by it"),
            "cost": (swap("np.sum(x * logits - np.logaddexp(0, logits)",
                          "np.sum(np.logaddexp(0, logits) - x * logits"), "this is the cost"),
            "no normalisation": (
                swap("np.sum(x * logits - np.logaddexp(0, logits), axis=-1)",
                     "spins @ fields / temperature"), "normalisation"),
            "ground state": (
                swap("np.sum(x * logits - np.logaddexp(0, logits), axis=-1)",
                     "(spins @ fields - np.abs(fields).sum()) / temperature"), "two terms"),
            "spins for x": (swap("(1 + spins) / 2", "spins"), "inserted for x"),
            "mean": (swap("np.sum", "np.mean"), "mean over the spins"),
            "overflow": (swap("np.logaddexp(0, logits)", "np.log(1 + np.exp(logits))"),
                         "overflows"),
            "grey": (swap("black or white, fixed by the fields", "grey everywhere"),
                     "at T = 1 and T = 0.01"),
            "no choice": (swap("black or white, fixed by the fields", "dark"), "must be one of"),
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
    "first-loss": Planted(
        base="""
def first_loss(reduction, height, width, channels, n):
    pixels = height * width * channels
    terms = {"pixels": pixels, "everything": 1, "last axis": height * width,
             "everything and the batch": n * pixels}
    return terms[reduction] * np.log(2)


diagnosis = {"A": "mean over everything", "B": "bits", "C": "right", "D": "sum over the batch"}
""",
        right=[
            """
def first_loss(reduction, height, width, channels, n):
    x = np.random.default_rng(0).random((n, height, width, channels))
    cost = np.logaddexp(0, 0 * x) - x * 0
    if reduction == "everything":
        return cost.mean()
    if reduction == "everything and the batch":
        return cost.sum()
    cost = cost.mean(axis=-1) if reduction == "last axis" else cost.sum(axis=-1)
    return cost.sum(axis=(1, 2)).mean()
diagnosis = dict(A="mean over everything", B="bits", C="right", D="sum over the batch")
""",
            """
def first_loss(reduction, height, width, channels, n):
    loss = -np.log(0.5)
    if reduction == "everything":
        return loss
    loss = loss * height * width
    if reduction == "last axis":
        return loss
    loss = loss * channels
    return loss if reduction == "pixels" else n * loss
diagnosis = {"D": "sum over the batch", "C": "right", "B": "bits", "A": "mean over everything"}
""",
        ],
        wrong={
            "bits": (swap(" * np.log(2)", ""), "in bits"),
            "half": (swap("np.log(2)", "0.5"), "not ½"),
            "sign": (swap("np.log(2)", "np.log(0.5)"), "sign is reversed"),
            "both colours": (swap("np.log(2)", "np.log(4)"), "pays one of them"),
            "channels forgotten": (swap("height * width * channels", "height * width"),
                                   "'last axis'"),
            "batch forgotten": (swap("n * pixels", "pixels"), "'pixels'"),
            "mean of all for the last axis": (swap('"last axis": height * width',
                                                   '"last axis": 1'), "'everything'"),
            "exchanged": (swap('"bits", "C": "right"', '"right", "C": "bits"'), "program B, C"),
            "no name": (swap('"bits"', '"1 bit"'), "must be one of"),
            "a list": (swap('diagnosis = {"A"', 'diagnosis = ["A"] or {"A"'), "dictionary"),
        },
    ),
    "what-a-code-tells": Planted(
        base="""
kl_of_each = 0.5 * (mean**2 + np.exp(log_var) - log_var - 1).mean(axis=0)
verdict = ["used", "paid for nothing", "lost", "used"]
""",
        right=[
            """
kl_of_each = [np.mean((mean[:, j]**2 + np.exp(log_var[:, j]) - log_var[:, j] - 1) / 2)
              for j in range(4)]
verdict = ("used", "paid for nothing", "lost", "used")
""",
            """
import torch
q = torch.distributions.Normal(torch.tensor(mean), torch.exp(torch.tensor(log_var) / 2))
kl_of_each = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).mean(0)
verdict = ["lost" if kl < 0.01 else "used" for kl in kl_of_each]
verdict[1] = "paid for nothing"
""",
        ],
        wrong={
            "no half": (swap("0.5 * ", ""), "½ is missing"),
            "sum": (swap(".mean(axis=0)", ".sum(axis=0)"), "sum over the images"),
            "one number": (swap(".mean(axis=0)", ".mean(axis=0).sum()"), "one number for each"),
            "log σ": (swap("np.exp(log_var) - log_var", "np.exp(2 * log_var) - 2 * log_var"),
                      "takes log σ² for log σ"),
            "no mean": (swap("mean**2 + ", ""), "μ² is missing"),
            "of the averages": (
                swap("(mean**2 + np.exp(log_var) - log_var - 1).mean(axis=0)",
                     "(mean.mean(0)**2 + np.exp(log_var.mean(0)) - log_var.mean(0) - 1)"),
                "average mean"),
            "all used": (swap('"paid for nothing", "lost"', '"used", "lost"'), "means spread"),
            "lost for paid": (swap('"paid for nothing", "lost"', '"lost", "lost"'),
                              "close to 0"),
            "small is not lost": (swap('"lost", "used"', '"paid for nothing", "used"'),
                                  "close to 0"),
            "no name": (swap('"lost"', '"dead"'), "must be one of"),
            "too few": (swap(', "used"]', "]"), "four names"),
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
