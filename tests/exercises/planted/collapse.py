from planted import Planted, swap

PLANTED = {
    "wasted-nats": Planted(
        base="""
def split(mean, log_var):
    kl = 0.5 * (mean**2 + np.exp(log_var) - 1 - log_var).mean(axis=0)
    m, v = mean.mean(axis=0), mean.var(axis=0) + np.exp(log_var).mean(axis=0)
    return kl, 0.5 * (m**2 + v - 1 - np.log(v))


wasted, over_counted = "C", "B"
""",
        right=[
            """
import torch
def split(mean, log_var):
    q = torch.distributions.Normal(mean, torch.exp(log_var / 2))
    prior = torch.distributions.Normal(0.0, 1.0)
    kl = torch.distributions.kl_divergence(q, prior).mean(dim=0)
    second = (mean**2 + torch.exp(log_var)).mean(dim=0)
    centre = mean.mean(dim=0)
    mixed = torch.distributions.Normal(centre, torch.sqrt(second - centre**2))
    return kl, torch.distributions.kl_divergence(mixed, prior)

wasted = "C"
over_counted = "B"
""",
            """
def split(mean, log_var):
    total, common = [], []
    for m, v in zip(mean.T, np.exp(log_var.T)):
        left = 0.5 * (np.log(m.var() + v.mean()) - np.log(v).mean())
        total.append(sum((a * a + b - 1 - np.log(b)) / 2 for a, b in zip(m, v)) / len(m))
        common.append(total[-1] - left)
    return total, common

wasted, over_counted = "C", "B"
""",
        ],
        wrong={
            "no half": (swap("kl = 0.5 * ", "kl = "), "½ is missing"),
            "sum": (swap("- log_var).mean(axis=0)", "- log_var).sum(axis=0)"), "average"),
            "log sigma": (swap("np.exp(log_var) - 1 - log_var",
                               "np.exp(2 * log_var) - 1 - 2 * log_var"), "log σ²"),
            "no noise": (swap("mean.var(axis=0) + np.exp(log_var).mean(axis=0)",
                              "mean.var(axis=0)"), "encoder's noise"),
            "noise alone": (swap("mean.var(axis=0) + np.exp", "np.exp"), "that the mean varies"),
            "geometric mean": (swap("np.exp(log_var).mean(axis=0)", "np.exp(log_var.mean(axis=0))"),
                               "averages log σ²"),
            "rest": (swap("return kl, 0.5 *", "return kl, kl - 0.5 *"), "what is left"),
            "constant mean": (swap("0.5 * (m**2 + v - 1 - np.log(v))", "0.5 * m**2"),
                              "constant mean alone"),
            "exchanged": (swap("0.5 * (m**2 + v - 1 - np.log(v))",
                               "0.5 * ((1 + m**2) / v - 1 + np.log(v))"), "exchanged"),
            "common without half": (swap("return kl, 0.5 * (", "return kl, ("), "½ is missing"),
            "one number": (swap("return kl,", "return kl.sum(),"), "keep the dimensions apart"),
            "the informative one": (swap('"C", "B"', '"A", "B"'), "`wasted` is another one"),
            "the quiet one": (swap('"C", "B"', '"C", "D"'), "`over_counted` is another one"),
            "no letter": (swap('"C", "B"', '"third", "B"'), "must be one of"),
        },
    ),
    "free-nats": Planted(
        base="""
def free_nats_cost(kl, free_nats):
    average = kl.mean(axis=0)  # (k,)
    cost = np.maximum(average, free_nats).sum()
    return cost, np.ones_like(kl) * (average > free_nats) / len(kl)
""",
        right=[
            """
import torch
def free_nats_cost(kl, free_nats):
    kl = kl.clone().requires_grad_()
    cost = kl.mean(dim=0).clamp(min=free_nats).sum()
    (gradient,) = torch.autograd.grad(cost, kl)
    return cost, gradient
""",
            """
def free_nats_cost(kl, free_nats):
    cost, gradient = 0.0, np.zeros(kl.shape, dtype=np.float32)
    for j in range(kl.shape[1]):
        average = sum(kl[:, j]) / kl.shape[0]
        if average > free_nats:
            cost += average
            gradient[:, j] = 1 / kl.shape[0]
        else:
            cost += free_nats
    return cost, gradient
""",
            swap("return cost, np", "return [cost, list(np", "/ len(kl)", "/ len(kl))]"),
        ],
        wrong={
            "maximum inside": (swap("np.maximum(average, free_nats).sum()",
                                    "np.maximum(kl, free_nats).mean(axis=0).sum()"),
                               "for each example"),
            "shared": (swap("np.maximum(average, free_nats).sum()",
                            "max(average.sum(), len(average) * free_nats)"), "together"),
            "of the sum": (swap("np.maximum(average, free_nats).sum()",
                                "max(average.sum(), free_nats)"), "plain KL"),
            "minimum": (swap("np.maximum", "np.minimum"), "minimum"),
            "nats above": (swap("np.maximum(average, free_nats)",
                                "np.maximum(average - free_nats, 0)"), "only what exceeds"),
            "mean over k": (swap("free_nats).sum()", "free_nats).mean()"),
                            "mean over the dimensions"),
            "not summed": (swap("free_nats).sum()", "free_nats)"), "sum them"),
            "gradient everywhere": (swap(" * (average > free_nats)", ""),
                                    "below the free nats as well"),
            "gradient by example": (swap("(average > free_nats)", "(kl > free_nats)"),
                                    "each example"),
            "gradient of the average": (swap(" / len(kl)", ""), "with a weight"),
            "gradient of shape (k,)": (swap("np.ones_like(kl) * (average > free_nats) / len(kl)",
                                            "(average > free_nats) * 1.0"),
                                       "with respect to the average"),
            "cost alone": (swap("return cost, ", "return cost\n    return "), "2 results"),
        },
    ),
    "kept-checkpoint": Planted(
        base="""
def kept(reconstruction, kl):
    num_steps = len(kl)
    weight = np.array([min(1, 2 * (step + 1) / num_steps) for step in range(num_steps)])
    loss = reconstruction + kl
    program, right = np.argmin(reconstruction + weight * kl), np.argmin(loss)
    return program, right, loss[program] - loss[right]


line = 4
""",
        right=[
            """
def kept(reconstruction, kl):
    best, program = np.inf, None
    for step, (r, d) in enumerate(zip(reconstruction, kl)):
        value = r + min(1, 2 * (step + 1) / len(kl)) * d
        if value < best:
            best, program = value, step
    plain = [float(r + d) for r, d in zip(reconstruction, kl)]
    return [program, plain.index(min(plain)), plain[program] - min(plain)]

line = 4
""",
            """
import torch
def kept(reconstruction, kl):
    n = kl.shape[0]
    weight = torch.clamp(torch.arange(1, n + 1) * 2 / n, max=1)
    program = torch.argmin(reconstruction + weight * kl)
    plain = reconstruction + kl
    return program, plain.argmin(), plain[program] - plain.min()

line = 4.0
""",
        ],
        wrong={
            "exchanged": (swap("return program, right, loss", "return right, program, loss",
                               "loss[program] - loss[right]", "loss[right] - loss[program]"),
                          "exchanged"),
            "sign": (swap("loss[program] - loss[right]", "loss[right] - loss[program]"),
                     "sign of the last"),
            "weighted": (swap("return program, right, loss[program] - loss[right]",
                              "w = reconstruction + weight * kl\n"
                              "    return program, right, w[program] - w[right]"),
                         "compares weighted losses"),
            "largest": (swap("np.argmin(reconstruction +", "np.argmax(reconstruction +"),
                        "where it is largest"),
            "from 1": (swap("return program, right,", "return program + 1, right + 1,"),
                       "counted from 0"),
            "late": (swap("2 * (step + 1)", "2 * step"), "late by one step"),
            "over all steps": (swap("2 * (step + 1)", "(step + 1)"), "over all the steps"),
            "above 1": (swap("min(1, 2 * (step + 1) / num_steps)", "2 * (step + 1) / num_steps"),
                        "above 1"),
            "reconstruction": (swap("np.argmin(loss)", "np.argmin(reconstruction)"),
                               "best reconstruction"),
            "no weight": (swap("weight * kl", "kl"), "has the weight of the KL"),
            "line of training": (swap("line = 4", "line = 2"), "another one"),
            "line 9": (swap("line = 4", "line = 9"), "number of a line"),
            "two results": (swap(", loss[program] - loss[right]", ""), "3 results"),
        },
    ),
    "spin-chain-saddle": Planted(
        base="""
def gain_to_cost(num_spins, coupling):
    i = np.arange(num_spins)
    correlations = np.tanh(coupling) ** np.abs(i[:, None] - i)
    return np.linalg.eigvalsh(correlations)[-1]


pattern = "alternating"
""",
        right=[
            """
def gain_to_cost(num_spins, coupling):
    t = abs(math.tanh(coupling))
    c = [[t ** abs(i - j) for j in range(num_spins)] for i in range(num_spins)]
    w = np.ones(num_spins)
    for _ in range(2000):
        w = np.array(c) @ w
        w = w / np.sqrt(w @ w)
    return w @ np.array(c) @ w

pattern = "alternating"
""",
            """
import torch
def gain_to_cost(num_spins, coupling):
    bits = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * num_spins)
    p = torch.softmax(coupling * (bits[:, 1:] * bits[:, :-1]).sum(1), dim=0)
    return torch.linalg.eigvalsh((bits.T * p) @ bits)[-1]

pattern = "alternating"
""",
        ],
        wrong={
            "uniform": (swap("np.linalg.eigvalsh(correlations)[-1]",
                             "correlations.sum() / num_spins"), "uniform pattern"),
            "neighbours": (swap("** np.abs(i[:, None] - i)", "** np.abs(i[:, None] - i) * "
                                "(np.abs(i[:, None] - i) < 2)"), "Only neighbours"),
            "K for tanh K": (swap("np.tanh(coupling) **", "(coupling + 0.0) **"), "tanh K belongs"),
            "smallest": (swap("[-1]", "[0]"), "smallest eigenvalue"),
            "without the cost": (swap("(correlations)[-1]", "(correlations)[-1] - 1"), "Γ − 1"),
            "long chain": (swap("np.linalg.eigvalsh(correlations)[-1]",
                                "np.exp(2 * np.abs(coupling))"), "long chain"),
            "square": (swap("[-1]", "[-1] ** 2"), "square of the ratio"),
            "over N": (swap("[-1]", "[-1] / num_spins"), "number of spins"),
            "one N": (swap("np.arange(num_spins)", "np.arange(6)"), None),
            "ferromagnet": (swap('"alternating"', '"uniform"'), "another one"),
            "other word": (swap('"alternating"', '"staggered"'), "must be one of"),
        },
    ),
    "paired-seeds": Planted(
        base="""
def gain(constant, recipe):
    n, difference = len(constant), constant - recipe
    unpaired = np.sqrt((np.var(constant, ddof=1) + np.var(recipe, ddof=1)) / n)
    return difference.mean(), np.std(difference, ddof=1) / np.sqrt(n), unpaired


constant = np.array([49.9, 48.3, 50.2, 47.7, 49.5, 48.0])
recipe = np.array([49.4, 47.9, 49.6, 47.4, 48.9, 47.6])
mean_gain, paired, unpaired = gain(constant, recipe)
verdict, z = "better", mean_gain / paired
""",
        right=[
            """
from scipy.stats import sem
def gain(constant, recipe):
    difference = constant - recipe
    return np.mean(difference), sem(difference), np.hypot(sem(constant), sem(recipe))

verdict, z = "better", 9.44
""",
            """
import torch
def gain(constant, recipe):
    difference = constant - recipe
    n = len(difference)
    return [difference.mean(), difference.std() / n**0.5,
            torch.sqrt((constant.var() + recipe.var()) / n)]

verdict = "better"
z = 0.466667 / 0.049441
""",
        ],
        wrong={
            "sign": (swap("return difference.mean()", "return -difference.mean()"),
                     "sign of the gain"),
            "errors exchanged": (swap("np.std(difference, ddof=1) / np.sqrt(n), unpaired",
                                      "unpaired, np.std(difference, ddof=1) / np.sqrt(n)"),
                                 "errors are exchanged"),
            "standard deviations": (swap(" / np.sqrt(n), unpaired", ", unpaired * np.sqrt(n)"),
                                    "smaller by √n"),
            "divided by n": (swap("ddof=1", "ddof=0"), "n − 1"),
            "errors added": (swap("return difference", "unpaired = (np.std(constant, ddof=1) + "
                                  "np.std(recipe, ddof=1)) / np.sqrt(n)\n    return difference"),
                             "variances add"),
            "average variance": (swap("ddof=1)) / n)", "ddof=1)) / 2 / n)"), "they add"),
            "squares": (swap("np.std(difference, ddof=1) / np.sqrt(n), unpaired",
                             "np.var(difference, ddof=1) / n, unpaired**2"), "squares"),
            "unpaired z": (swap("mean_gain / paired", "mean_gain / unpaired"),
                           "the seeds are the same"),
            "negative z": (swap("mean_gain / paired", "-mean_gain / paired"), "sign is reversed"),
            "standard deviations for z": (swap("mean_gain / paired",
                                               "mean_gain / paired / math.sqrt(6)"),
                                          "not in standard errors"),
            "cannot tell": (swap('"better"', '"cannot tell"'), "does not fit"),
            "other word": (swap('"better"', '"significant"'), "must be one of"),
        },
    ),
}
