from planted import Planted, swap

PLANTED = {
    "active-units": Planted(
        base="""
def usage(mean, log_var):
    kl = 0.5 * (mean**2 + np.exp(log_var) - 1 - log_var)  # (n, k)
    return kl.mean(axis=0), mean.var(axis=0) > 0.01
""",
        right=[
            """
import torch
def usage(mean, log_var):
    q = torch.distributions.Normal(mean.float(), torch.exp(log_var.float() / 2))
    kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0))
    return kl.mean(dim=0), mean.var(dim=0) > 0.01
""",
            """
def usage(mean, log_var):
    kl, active = [], []
    for m, v in zip(mean.T, log_var.T):
        kl.append(sum((a * a + np.exp(b) - b - 1) / 2 for a, b in zip(m, v)) / len(m))
        active.append(np.mean((m - m.mean()) ** 2) > 0.01)
    return kl, active
""",
            swap("return kl.mean(axis=0), mean.var(axis=0) > 0.01",
                 "return [kl.mean(axis=0), [bool(each > 0.01) for each in mean.var(axis=0)]]"),
        ],
        wrong={
            "another threshold": (swap("> 0.01", "> 0.012"), "dimension 4 is called inactive"),
            "a lower threshold": (swap("> 0.01", "> 0.005"), "dimension 3 is called active"),
            "no half": (swap("0.5 * ", ""), "½ is missing"),
            "summed over k": (swap("kl.mean(axis=0)", "kl.sum(axis=1)"), "keep them apart"),
            "sum over the digits": (swap("kl.mean(axis=0)", "kl.sum(axis=0)"), "average"),
            "log sigma": (swap("np.exp(log_var)", "np.exp(2 * log_var)", "- log_var",
                               "- 2 * log_var"), "log σ²"),
            "mean of variances": (swap("mean.var(axis=0)", "np.exp(log_var).mean(axis=0)"),
                                  "dimension 0 is called inactive"),
            "mean square": (swap("mean.var(axis=0)", "(mean**2).mean(axis=0)"), "dimension 1 is"),
            "standard deviation": (swap("mean.var", "mean.std"), "dimension 3 is called active"),
            "by the KL": (swap("mean.var(axis=0)", "kl.mean(axis=0)"), "dimension 1 is called"),
            "all of h": (swap("mean.var(axis=0)", "mean.var(axis=0) + np.exp(log_var).mean(0)"),
                         "dimension 1 is called active"),
            "inactive": (swap("> 0.01", "<= 0.01"), "inactive"),
            "number": (swap("mean.var(axis=0) > 0.01", "(mean.var(axis=0) > 0.01).sum()"),
                       "has shape ()"),
            "KL alone": (swap(", mean.var(axis=0) > 0.01", ""), "2 results"),
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
                                "np.maximum(average - free_nats, 0)"), "only the nats above"),
            "mean over k": (swap("free_nats).sum()", "free_nats).mean()"),
                            "mean over the dimensions"),
            "not summed": (swap("free_nats).sum()", "free_nats)"), "sum them"),
            "gradient everywhere": (swap(" * (average > free_nats)", ""), "below λ as well"),
            "gradient by example": (swap("(average > free_nats)", "(kl > free_nats)"),
                                    "each example"),
            "gradient of the average": (swap(" / len(kl)", ""), "with a weight"),
            "gradient of shape (k,)": (swap("np.ones_like(kl) * (average > free_nats) / len(kl)",
                                            "(average > free_nats) * 1.0"),
                                       "with respect to the average"),
            "cost alone": (swap("return cost, ", "return cost\n    return "), "2 results"),
        },
    ),
    "warm-up-schedules": Planted(
        base="""
def kl_weight(step, num_steps):
    return min(1, 2 * (step + 1) / num_steps)


def learning_rate(step, num_steps, peak):
    rise = num_steps // 10
    if step < rise:
        return peak * (step + 1) / rise
    done = (step - rise) / (num_steps - rise)
    return peak * (1 + math.cos(math.pi * done)) / 2


print("steps 0, 3, …, 39 of 40:")
print("KL weight    ", *[f"{kl_weight(step, 40):.3f}" for step in range(0, 40, 3)])
print("learning rate", *[f"{learning_rate(step, 40, 1):.3f}" for step in range(0, 40, 3)])
""",
        right=[
            """
def kl_weight(step, num_steps):
    return np.clip((step + 1) / (num_steps / 2), 0, 1)


def learning_rate(step, num_steps, peak):
    rise = num_steps / 10
    if step + 1 <= rise:
        return np.float32(peak * (step + 1) / rise)
    return peak * np.sin(np.pi / 2 * (num_steps - step) / (num_steps - rise)) ** 2
""",
            """
import torch
def kl_weight(step, num_steps):
    ramp = torch.linspace(0, 1, num_steps // 2 + 1)[1:]
    return ramp[step] if step < len(ramp) else torch.tensor(1.0)


def learning_rate(step, num_steps, peak):
    rise = num_steps // 10
    up = np.linspace(0, peak, rise + 1)[1:]
    angles = np.linspace(0, np.pi, num_steps - rise, endpoint=False)
    return np.concatenate([up, peak * (0.5 + 0.5 * np.cos(angles))])[step]
""",
        ],
        wrong={
            "one peak": (swap("return peak", "return 4e-3"), None),
            "weight late": (swap("2 * (step + 1)", "2 * step"), "late by one step"),
            "weight above one": (swap("min(1, 2 * (step + 1) / num_steps)",
                                      "2 * (step + 1) / num_steps"), "above 1"),
            "weight over all steps": (swap("2 * (step + 1)", "(step + 1)"), "all the steps"),
            "weight early": (swap("2 * (step + 1)", "2 * (step + 2)"), "early by one step"),
            "weight never one": (swap("min(1, 2 * (step + 1)", "min(0.5, (step + 1)"),
                                 "below 1"),
            "rate late": (swap("peak * (step + 1)", "peak * step"), "makes no move"),
            "u from the beginning": (swap("(step - rise) / (num_steps - rise)",
                                          "step / num_steps"), "jumps"),
            "u after the step": (swap("(step - rise)", "(step + 1 - rise)"), "after the step"),
            "u one in the last step": (swap("(num_steps - rise)", "(num_steps - 1 - rise)"),
                                       "last step already"),
            "line": (swap("(1 + math.cos(math.pi * done)) / 2", "(1 - done)"), "along a line"),
            "whole cosine": (swap("math.pi * done", "2 * math.pi * done"), "whole cosine"),
            "no half": (swap("(1 + math.cos(math.pi * done)) / 2",
                             "(1 + math.cos(math.pi * done))"), "twice"),
            "no fall": (swap("peak * (1 + math.cos(math.pi * done)) / 2", "peak"),
                        "stays at its peak"),
        },
    ),
    "linear-vae-kl": Planted(
        base="""
def dimension_kl(eigenvalues, noise_var, k):
    return np.log(np.maximum(eigenvalues[:k] / noise_var, 1)) / 2


def best_noise_var(eigenvalues, k):
    return np.mean(eigenvalues[k:])


for std in ("1.5", "1.1", "0.8", "0.5"):
    print(f"sigma = {std}: KL in nats", dimension_kl(
        np.array([4.0, 2.5, 1.6, 0.7, 0.4, 0.2]), float(std) ** 2, 3).round(3))
""",
        right=[
            """
def dimension_kl(eigenvalues, noise_var, k):
    kl = np.zeros(k, dtype=np.float32)
    for i in range(k):
        if eigenvalues[i] > noise_var:
            variance = noise_var / eigenvalues[i]
            kl[i] = 0.5 * (1 - variance + variance - 1 - np.log(variance))
    return kl


def best_noise_var(eigenvalues, k):
    return (eigenvalues.sum() - eigenvalues[:k].sum()) / (eigenvalues.shape[0] - k)
""",
            """
import torch
def dimension_kl(eigenvalues, noise_var, k):
    return torch.relu(torch.log(eigenvalues[:k]) - math.log(noise_var)) / 2


def best_noise_var(eigenvalues, k):
    var = torch.tensor(0.1, dtype=torch.float64)
    for _ in range(200):  # Newton for log var, of the discarded directions
        total, count = eigenvalues[k:].sum() / var, len(eigenvalues) - k
        var = var * torch.exp(torch.clamp(1 - count / total, -1, 1))
    return var
""",
        ],
        wrong={
            "five directions": (swap("np.mean(eigenvalues[k:])",
                                     "np.sum(eigenvalues[k:]) / (5 - k)"), None),
            "no half": (swap("1)) / 2", "1))"), "½ is missing"),
            "negative": (swap("np.maximum(eigenvalues[:k] / noise_var, 1)",
                              "eigenvalues[:k] / noise_var"), "negative"),
            "root of sigma squared": (swap("[:k] / noise_var", "[:k] / np.sqrt(noise_var)"),
                                      "root of noise_var"),
            "noise_var as sigma": (swap("[:k] / noise_var", "[:k] / noise_var**2"),
                                   "taken for σ"),
            "signal over noise": (swap("np.log(np.maximum(eigenvalues[:k] / noise_var, 1))",
                                       "np.log(1 + eigenvalues[:k] / noise_var)"),
                                  "squared length"),
            "gain": (swap("    return np.log(np.maximum(eigenvalues[:k] / noise_var, 1)) / 2",
                          "    r = np.maximum(eigenvalues[:k] / noise_var, 1)\n"
                          "    return (r - 1 - np.log(r)) / 2"), "gains for the ELBO"),
            "bits": (swap("np.log(", "np.log2("), "bits"),
            "all eigenvalues": (swap("eigenvalues[:k] /", "eigenvalues /"), "k dimensions"),
            "sum of the discarded": (swap("np.mean(eigenvalues[k:])", "np.sum(eigenvalues[k:])"),
                                     "total of what is left"),
            "divided by d": (swap("np.mean(eigenvalues[k:])",
                                  "np.sum(eigenvalues[k:]) / len(eigenvalues)"), "all d"),
            "mean of all": (swap("np.mean(eigenvalues[k:])", "np.mean(eigenvalues)"),
                            "mean of all"),
            "mean of the kept": (swap("eigenvalues[k:])", "eigenvalues[:k])"), "are kept"),
            "largest discarded": (swap("np.mean(eigenvalues[k:])", "eigenvalues[k]"),
                                  "largest of the discarded"),
            "sigma": (swap("np.mean(eigenvalues[k:])", "np.sqrt(np.mean(eigenvalues[k:]))"),
                      "σ, not σ²"),
            "one too few": (swap("eigenvalues[k:])", "eigenvalues[k - 1:])"), "too few"),
        },
    ),
    "steps-to-wake": Planted(
        base="""
def growth(data_var, noise_var):
    gain = data_var / noise_var
    return np.linalg.eigvalsh([[-1 / noise_var, gain], [gain, -data_var]]).max()


def steps_to_wake(data_var, noise_var):
    w, v, log_s, step = 0.01, 0.01, 0.0, 0
    while 0.5 * (v**2 * data_var + math.exp(log_s) - 1 - log_s) <= 0.03 and step < 1000:
        s = math.exp(log_s)
        error = data_var * (1 - w * v) / noise_var
        slopes = v * error - w * s / noise_var, w * error - v * data_var
        log_s = log_s + 0.1 * (1 - s - w**2 * s / noise_var) / 2
        w, v, step = w + 0.1 * slopes[0], v + 0.1 * slopes[1], step + 1
    return step


print("lambda, r, updates, r times updates")
for ratio in ("0.9", "1.1", "1.2", "1.5", "2", "3"):
    print(f"{ratio:>6} {growth(float(ratio), 1):7.3f} {steps_to_wake(float(ratio), 1):5} "
          f"{growth(float(ratio), 1) * steps_to_wake(float(ratio), 1):7.1f}")
""",
        right=[
            """
def growth(data_var, noise_var):
    trace = -(1 / noise_var + data_var)
    det = data_var / noise_var * (1 - data_var / noise_var)
    return trace / 2 + math.sqrt(trace**2 / 4 - det)


def steps_to_wake(data_var, noise_var):
    theta, count = np.array([0.01, 0.01, 0.0]), 0
    while count < 1000:
        w, v, log_s = theta
        s = np.exp(log_s)
        if v**2 * data_var + s - 1 - log_s > 0.06:
            break
        theta = theta + 0.1 * np.array([
            (data_var * v * (1 - w * v) - w * s) / noise_var,
            data_var * (w * (1 - w * v) / noise_var - v),
            0.5 - 0.5 * s * (1 + w**2 / noise_var),
        ])
        count += 1
    return count
""",
            """
import torch
def elbo(theta, data_var, noise_var):
    w, v, log_s = theta
    s = torch.exp(log_s)
    kl = 0.5 * (v**2 * data_var + s - 1 - log_s)
    return -(data_var * (1 - w * v) ** 2 + w**2 * s) / (2 * noise_var) - kl, kl


def growth(data_var, noise_var):
    zero = torch.zeros(3, dtype=torch.float64)
    matrix = torch.func.hessian(lambda theta: elbo(theta, data_var, noise_var)[0])(zero)
    return torch.linalg.eigvalsh(matrix[:2, :2])[-1]


def steps_to_wake(data_var, noise_var):
    theta = torch.tensor([0.01, 0.01, 0.0])
    for step in range(1000):
        theta.requires_grad_()
        value, kl = elbo(theta, data_var, noise_var)
        if kl > 0.03:
            return step
        theta = theta.detach() + 0.1 * torch.autograd.grad(value, theta)[0]
    return 1000


growth(2.0, 1.0)  # loads torch.func
""",
        ],
        wrong={
            "other eigenvalue": (swap(".max()", ".min()"),
                                 "other eigenvalue"),
            "criterion": (swap("return np.linalg", "return gain - 1\n    return np.linalg"),
                          "criterion"),
            "half": (swap("return np.linalg", "return 0.5 * np.linalg"), "half of the eigenvalue"),
            "no KL": (swap("[gain, -data_var]", "[gain, 0]"), "the encoder pays"),
            "no noise": (swap("[[-1 / noise_var,", "[[0,"), "the decoder pays"),
            "half the mixed derivative": (swap("data_var / noise_var\n",
                                               "data_var / noise_var / 2\n"), "mixed derivative"),
            "noise_var as sigma": (swap("-1 / noise_var", "-1 / noise_var**2",
                                        "gain = data_var / noise_var",
                                        "gain = data_var / noise_var**2"), "taken for σ"),
            "descent": (swap("+ 0.1 *", "- 0.1 *"), "descent"),
            "in turn": (swap("w * error - v * data_var",
                             "(w + 0.1 * (v * error - w * s / noise_var)) * data_var * (1 - (w + "
                             "0.1 * (v * error - w * s / noise_var)) * v) / noise_var "
                             "- v * data_var"), "one after the other"),
            "no half in the KL": (swap("0.5 * (v**2", "(v**2"), "½ is missing"),
            "no KL in the slope": (swap("w * error - v * data_var", "w * error"),
                                   "missing in the slope of v"),
            "no noise in the slope": (swap("v * error - w * s / noise_var", "v * error"),
                                      "slope of w"),
            "s fixed": (swap("log_s = log_s +", "log_s = log_s + 0 *"), "never updated"),
            "one too many": (swap("return step", "return step + (step < 1000)"), "one too many"),
            "one too few": (swap("return step", "return step - (step < 1000)"), "one too few"),
        },
    ),
}
