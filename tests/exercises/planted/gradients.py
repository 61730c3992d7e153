from planted import Planted, swap

PLANTED = {
    "antiferromagnet": Planted(
        base="""
gaps = []
for coupling in couplings:
    means = np.cos(np.pi * np.arange(6)) if coupling < 0 else np.ones(6)
    for _ in range(2000):  # a field from the two neighbours
        for i in range(6):
            means[i] = np.tanh(coupling * (means[i - 1] + means[(i + 1) % 6]))
    up, down = (1 + means) / 2, (1 - means) / 2
    energy = -coupling * np.sum(means * np.roll(means, 1))
    entropy = -np.sum(xlogy(up, up) + xlogy(down, down))
    states = np.array(np.meshgrid(*[[-1, 1]] * 6)).reshape(6, -1)  # (6, 64)
    log_z = logsumexp(coupling * np.sum(states * np.roll(states, 1, axis=0), axis=0))
    gaps.append(energy - entropy + log_z)
pattern = "alternating"
""",
        right=[
            """
gaps = np.zeros(4, dtype=np.float32)
for n, K in enumerate(couplings):
    m = 1.0
    for _ in range(500):
        m = np.tanh(2 * abs(K) * m)
    a, b = (1 + m) / 2, (1 - m) / 2
    log_z = np.log((2 * np.cosh(K)) ** 6 + (2 * np.sinh(K)) ** 6)
    gaps[n] = -6 * abs(K) * m ** 2 + 6 * (xlogy(a, a) + xlogy(b, b)) + log_z
pattern = " Alternating"
""",
            """
from scipy.optimize import minimize
states = np.array([[1 - 2 * (n >> i & 1) for i in range(6)] for n in range(64)])
bonds = (states * np.roll(states, 1, axis=1)).sum(axis=1)
generator = np.random.default_rng(3)

def divergence(angles, K):
    log_q = np.sum(-np.logaddexp(0, -2 * states * angles), axis=1)
    log_p = K * bonds - logsumexp(K * bonds)
    return np.sum(np.exp(log_q) * (log_q - log_p))

gaps = [min(minimize(divergence, generator.normal(size=6), K, tol=1e-10).fun for _ in range(12))
        for K in couplings]
pattern = "alternating"
""",
        ],
        wrong={
            "one mean for all": (swap("np.cos(np.pi * np.arange(6)) if coupling < 0 else "
                                      "np.ones(6)", "np.ones(6) * (coupling > 0)"),
                                 "the same mean here"),
            "zero": (swap("np.cos(np.pi * np.arange(6)) if coupling < 0 else np.ones(6)",
                          "np.zeros(6)"), "means are zero here"),
            "bounds": (swap(" + log_z)", ")"), "what they lie above F"),
            "sign": (swap("gaps.append(", "gaps.append(-1 * ("
                          , "+ log_z)", "+ log_z))"), "sign is reversed"),
            "sign of log Z": (swap("+ log_z)", "- log_z)"), "wrong sign"),
            "free energies": (swap("gaps.append(energy - entropy + log_z)",
                                   "gaps.append(-log_z)"), "without a trial"),
            "bits": (swap("gaps.append(energy - entropy + log_z)",
                          "gaps.append((energy - entropy + log_z) / np.log(2))"), "bits"),
            "each spin": (swap("gaps.append(energy - entropy + log_z)",
                               "gaps.append((energy - entropy + log_z) / 6)"), "for each spin"),
            "no entropy": (swap("energy - entropy", "energy"), "entropy is missing"),
            "open chain": (swap("np.sum(states * np.roll(states, 1, axis=0), axis=0)",
                                "np.sum(states[1:] * states[:-1], axis=0)"), "open chain"),
            "half the energy": (swap("energy = -coupling", "energy = -0.5 * coupling"), None),
            "pattern zero": (swap('"alternating"', '"zero"'), "smaller than that of zero"),
            "pattern equal": (swap('"alternating"', '"equal"'), "what do neighbours prefer"),
            "another word": (swap('"alternating"', '"random"'), "must be"),
            "no word": (swap('"alternating"', "1"), "must be"),
        },
    ),
    "minibatch-noise": Planted(
        base="""
def mean_over_data(batch_means, batch_sizes):
    return np.sum(batch_means * batch_sizes) / np.sum(batch_sizes)


def minibatch_variance(values, batch_size):
    left_out = 1 - batch_size / len(values)
    return np.var(values, ddof=1) / batch_size * left_out


def step_variance(values, within, batch_size, num_samples):
    noise = np.mean(within) / (batch_size * num_samples)
    return minibatch_variance(values, batch_size) + noise


best = "64 x 1"
""",
        right=[
            """
def mean_over_data(batch_means, batch_sizes):
    return np.average(batch_means, weights=batch_sizes)

def minibatch_variance(values, batch_size):
    N = len(values)
    return np.mean((values - np.mean(values)) ** 2) / batch_size * (N - batch_size) / (N - 1)

def step_variance(values, within, batch_size, num_samples):
    N = len(values)
    one = np.sum((values - np.mean(values)) ** 2) / (N - 1) + np.mean(within) / num_samples
    return one / batch_size - np.var(values) / (N - 1)

ways = {f"{B} x {64 // B}": step_variance(rng.normal(size=1000), np.full(1000, 0.01), B, 64 // B)
        for B in (64, 16, 4)}
best = min(ways, key=ways.get)
""",
            """
import torch
def mean_over_data(batch_means, batch_sizes):
    total, count = 0.0, 0
    for m, b in zip(torch.as_tensor(batch_means).float(), batch_sizes):
        total, count = total + m * b, count + b
    return total / count

def minibatch_variance(values, batch_size):
    values = torch.as_tensor(values).float()
    return values.var() * (1 / batch_size - 1 / len(values))

def step_variance(values, within, batch_size, num_samples):
    within = torch.as_tensor(within).float()
    return minibatch_variance(values, batch_size) + within.mean() / batch_size / num_samples

best = "64 x 1"
""",
        ],
        wrong={
            "mean of means": (swap("np.sum(batch_means * batch_sizes) / np.sum(batch_sizes)",
                                   "np.mean(batch_means)"), "every batch has the same weight"),
            "sum": (swap(" / np.sum(batch_sizes)", ""), "divide by their number"),
            "by the number of batches": (swap("/ np.sum(batch_sizes)", "/ len(batch_sizes)"),
                                         "the number of batches"),
            "full batches": (swap("/ np.sum(batch_sizes)",
                                  "/ (len(batch_sizes) * batch_sizes[0])"),
                             "the last batch is smaller"),
            "drop last": (swap("batch_means * batch_sizes", "(batch_means * batch_sizes)[:-1]",
                               "np.sum(batch_sizes)", "np.sum(batch_sizes[:-1])"), "left out"),
            "with replacement": (swap("np.var(values, ddof=1) / batch_size * left_out",
                                      "np.var(values) / batch_size"), "independent draws"),
            "no correction": (swap(" * left_out", ""), "becomes 0 for B = N"),
            "ddof": (swap(", ddof=1", ""), "goes with N − 1"),
            "standard deviation": (swap("return np.var(values, ddof=1) / batch_size * left_out",
                                        "return (np.var(values, ddof=1) / batch_size * left_out)"
                                        " ** 0.5"), "standard deviation"),
            "no B": (swap(" / batch_size * left_out", " * left_out"), "not divided by B"),
            "B over N": (swap("1 - batch_size / len(values)", "batch_size / len(values)"),
                         "it must fall with B"),
            "sum over the batch": (swap("/ batch_size * left_out", "* batch_size * left_out"),
                                   "sum over the batch"),
            "no samples": (swap(" + noise", ""), "noise of the samples is missing"),
            "no examples": (swap("return minibatch_variance(values, batch_size) + noise",
                                 "return noise"), "noise of the examples is missing"),
            "samples once a batch": (swap("(batch_size * num_samples)", "num_samples"),
                                     "averages over B"),
            "one sample": (swap("(batch_size * num_samples)", "batch_size"), "that of S = 1"),
            "a single sample": (swap(" / (batch_size * num_samples)", ""),
                                "that of a single sample"),
            "examples divided by S": (swap("values, batch_size) + noise",
                                           "values, batch_size) / num_samples + noise"),
                                      "do not bring others"),
            "samples vanish": (swap("+ noise", "+ noise * (1 - batch_size / len(values))"),
                               "does not vanish"),
            "sum of within": (swap("np.mean(within)", "np.sum(within)"), "are added up"),
            "within squared": (swap("np.mean(within)", "np.mean(within**2)"),
                               "for a standard deviation"),
            "deviations added": (swap("return minibatch_variance(values, batch_size) + noise",
                                      "return (minibatch_variance(values, batch_size) ** 0.5"
                                      " + noise**0.5) ** 2"), "do not add up"),
            "root of the sum": (swap("values, batch_size) + noise",
                                     "values, batch_size) + noise) ** 0.5",
                                     "return minibatch", "return (minibatch"),
                                "standard deviation, not its square"),
            "covariance of the samples": (swap("+ noise", "- noise"), None),
            "it depends": (swap('"64 x 1"', '"it depends"'), "Which of the two parts"),
            "few examples": (swap('"64 x 1"', '"4 x 16"'), "call the third"),
            "some of both": (swap('"64 x 1"', '"16 x 4"'), "call the third"),
            "no choice": (swap('"64 x 1"', "64"), "must be one of"),
            "off by one": (swap("batch_size / len(values)", "(batch_size - 1) / (len(values) - 1)"),
                           None),
        },
    ),
    "three-gradient-programs": Planted(
        base="""
wrong = "b"
gives = [0.0, -(3 - 0.5**2 - 1) / 2]
""",
        right=[
            """
wrong = " B "
gives = torch.tensor([0.0, -7 / 8])
""",
            """
wrong = "b"
h = np.linspace(-9.5, 10.5, 4001)
q = np.exp(-0.5 * (h - 0.5) ** 2) / np.sqrt(2 * np.pi)
gives = np.array([0, -0.5 * np.sum(q * (3 - h**2)) * (h[1] - h[0])])
""",
        ],
        wrong={
            "a": (swap('"b"', '"a"'), "which is (G5)"),
            "c": (swap('"b"', '"c"'), "which is (G4)"),
            "another word": (swap('"b"', '"none"'), "must be"),
            "no word": (swap('"b"', "2"), "must be"),
            "exact": (swap("[0.0, -(3 - 0.5**2 - 1) / 2]", "[-1.0, -1.0]"), "exact gradient of"),
            "minus exact": (swap("[0.0, -(3 - 0.5**2 - 1) / 2]", "[1.0, 1.0]"),
                            "gradient of −E_Q[f], and"),
            "sign": (swap("-(3", "(3"), "sign is reversed"),
            "nothing": (swap("-(3 - 0.5**2 - 1) / 2", "0"), "still contains log σ²"),
            "no half": (swap(" / 2", ""), "factor −½"),
            "order": (swap("[0.0, -(3 - 0.5**2 - 1) / 2]", "[-7 / 8, 0]"), "in mean first"),
            "mean of c": (swap("[0.0", "[-1.0"), "In `mean` the path"),
            "log_var of c": (swap("-(3 - 0.5**2 - 1) / 2", "-1"), "In `log_var` the path"),
            "at the mean": (swap(" - 1)", ")"), "f at the mean"),
            "both ways": (swap("[0.0, -(3 - 0.5**2 - 1) / 2]", "[-1, -15 / 8]"), "adds the two"),
            "twice": (swap("[0.0, -(3 - 0.5**2 - 1) / 2]", "[-2, -2]"), "twice the exact"),
            "one number": (swap("[0.0, -(3 - 0.5**2 - 1) / 2]", "-7 / 8"), "expected (2,)"),
            "no reason": (swap("/ 2]", "/ 3]"), None),
        },
    ),
    "one-sample-loss": Planted(
        base="""
def vae_loss(x, mean, log_var, decode, noise_std):
    h = mean + torch.exp(log_var / 2) * torch.randn_like(mean)  # (n, k)
    squared = torch.sum((x - decode(h)) ** 2, dim=1) / noise_std**2
    log_p = -0.5 * (squared + x.shape[1] * np.log(2 * np.pi * noise_std**2))
    kl = 0.5 * torch.sum(torch.exp(log_var) + mean**2 - 1 - log_var, dim=1)
    return torch.mean(kl - log_p)
""",
        right=[
            """
import torch.distributions as D
def vae_loss(x, mean, log_var, decode, noise_std):
    q = D.Normal(mean, torch.sqrt(torch.exp(log_var)))
    log_p = D.Independent(D.Normal(decode(q.rsample()), noise_std), 1).log_prob(x)
    kl = D.kl_divergence(q, D.Normal(0.0, 1.0)).sum(dim=-1)
    return -(log_p - kl).mean()
""",
            """
import math
def vae_loss(x, mean, log_var, decode, noise_std):
    n, d = x.shape
    eps = torch.randn(mean.shape[0], mean.shape[1])
    out = decode(mean + eps * (0.5 * log_var).exp())
    sse = torch.nn.functional.mse_loss(out, x, reduction="sum")
    kl = -(1 + log_var - mean.pow(2) - log_var.exp()).sum() / 2
    return (sse / (2 * noise_std ** 2) + kl) / n + d * math.log(noise_std * math.sqrt(2 * math.pi))
""",
        ],
        wrong={
            "sample": (swap("mean + torch.exp(log_var / 2) * torch.randn_like(mean)",
                            "torch.distributions.Normal(mean, torch.exp(log_var / 2)).sample()"),
                       "carries no gradient"),
            "fixed seed": (swap("h = mean +", "torch.manual_seed(0)\n    h = mean +"),
                           "exactly the same h"),
            "uniform of variance 1": (swap("torch.randn_like(mean)",
                                           "(torch.rand_like(mean) - 0.5) * 12**0.5"),
                                      "not normal"),
            "pairs share their noise": (
                swap("torch.randn_like(mean)",
                     "torch.randn_like(mean[::2]).repeat_interleave(2, 0)[:len(mean)]"),
                "different examples"),
            "two samples": (swap("decode(h)", "decode(h + torch.randn_like(h)) + 0 * decode(h)"),
                            "different h"),
            "the mean of all examples": (swap("(x - decode(h))", "(x.mean(0) - decode(h))"),
                                         "different examples"),
            "noise_std of the check": (swap("noise_std**2)", "0.36)"), "not right"),
            "std detached": (swap("mean + torch.exp(log_var / 2) *",
                                  "mean + torch.exp(log_var / 2).detach() *"),
                             "`log_var` is cut off from h"),
            "mean detached": (swap("h = mean +", "h = mean.detach() +"), "`mean` is cut off"),
            "divergence detached": (swap("kl - log_p", "kl.detach() - log_p"),
                                    "gradient of the divergence is missing"),
            "decoder detached": (swap("decode(h)", "decode(h).detach()"), "decoder's parameters"),
            "a number": (swap("torch.mean(kl - log_p)", "torch.mean(kl - log_p).item()"),
                         "carries no gradient"),
            "log sigma": (swap("torch.exp(log_var / 2)", "torch.exp(log_var)"),
                          "log_var for log σ"),
            "no noise": (swap(" + torch.exp(log_var / 2) * torch.randn_like(mean)", " + 0"),
                         "without noise"),
            "the same noise": (swap("randn_like(mean)", "randn_like(mean[:1])"), "the same h"),
            "one noise for all dimensions": (swap("randn_like(mean)", "randn_like(mean[:, :1])"),
                                             "correlated"),
            "rand": (swap("randn_like", "rand_like"), "uniform"),
            "sum": (swap("torch.mean", "torch.sum"), "sum over the examples"),
            "one for each": (swap("torch.mean(kl - log_p)", "kl - log_p"), "average over them"),
            "elbo": (swap("kl - log_p", "log_p - kl"), "loss is −ELBO"),
            "sign of the divergence": (swap("kl - log_p", "-kl - log_p"), "it is added"),
            "no divergence": (swap("kl - log_p", "-log_p"), "divergence is missing"),
            "no 2 pi": (swap("2 * np.pi * noise", "noise"), "log 2π is missing"),
            "squared error alone": (swap(" + x.shape[1] * np.log(2 * np.pi * noise_std**2)", ""),
                                    "normalisation of p(x|h) is missing"),
            "mean over k": (swap("kl = 0.5 * torch.sum", "kl = 0.5 * torch.mean"),
                            "averaged over the latent"),
            "variance": (swap("noise_std**2", "noise_std"), "noise_std for the variance"),
            "no half": (swap("kl = 0.5 * ", "kl = "), "½ is missing"),
            "no decoder": (swap("decode(h)", "0"), "never called"),
        },
    ),
    "gradient-noise": Planted(
        base="""
ratios = np.empty((2, len(dims)))
for column, k in enumerate(dims):
    noise = rng.standard_normal((num_samples, k))  # also h, since Q = N(0, I)
    residual = 1 - noise  # x - h
    slope = residual / noise_std**2  # (G5): the derivative of log p(x|h) in h
    f = -0.5 * np.sum(residual**2 / noise_std**2 + np.log(2 * np.pi * noise_std**2), axis=1)
    for row, baseline in enumerate([0, f.mean()]):
        score = (f - baseline)[:, None] * noise  # (G4)
        ratios[row, column] = np.mean(score.var(axis=0)) / np.mean(slope.var(axis=0))
powers = (2, 1)
print(np.round(ratios, 1))
print("growth from k = 16 to 64, as a power:", np.log(ratios[:, 3] / ratios[:, 2]) / np.log(4))
""",
        right=[
            """
import torch
torch.manual_seed(1)
ratios = [[], []]
for k in dims:
    Q = torch.distributions.Normal(torch.zeros(k), 1.0)
    h = Q.sample((num_samples,))
    f = torch.distributions.Normal(h, noise_std).log_prob(torch.ones(k)).sum(1)
    exact = -k / 4 - k / 2 * np.log(8 * np.pi)
    for row, c in enumerate([0.0, exact]):
        ratios[row].append(((f - c)[:, None] * h).var(dim=0).mean().item() * 16)
powers = [2, 1]
""",
            """
other = np.random.default_rng(5)
ratios = np.zeros((2, 4))
for j, k in enumerate(dims):
    h = other.normal(size=(30000, k)).astype(np.float32)
    f = -((1 - h) ** 2).sum(1) / 8 - k * np.log(2 * np.sqrt(2 * np.pi))
    ratios[0, j] = np.var(h[:, 0] * f) / np.var((1 - h[:, 0]) / 4)
    ratios[1, j] = np.var(h[:, 0] * (f - np.mean(f))) / np.var((1 - h[:, 0]) / 4)
powers = np.array([2.0, 1.0])
""",
        ],
        wrong={
            "standard deviations": (swap("powers = (2, 1)",
                                         "ratios = ratios**0.5\npowers = (2, 1)"),
                                    "standard deviations; square"),
            "inverse": (swap("powers = (2, 1)", "ratios = 1 / ratios\npowers = (2, 1)"),
                        "inverse"),
            "no constant": (swap(" + np.log(2 * np.pi * noise_std**2)", ""), "constant −½ log 2π"),
            "rows exchanged": (swap("powers = (2, 1)", "ratios = ratios[::-1]\npowers = (2, 1)"),
                               "rows are exchanged"),
            "no baseline": (swap("f.mean()]", "0]"), "without a baseline"),
            "baseline added": (swap("f - baseline", "f + baseline"), "it is subtracted"),
            "no s in the constant": (swap("np.pi * noise_std**2", "np.pi"), "part with s"),
            "variance": (swap("noise_std**2", "noise_std"), "noise_std for the variance"),
            "slope": (swap("slope = residual / noise_std**2", "slope = residual"),
                      "not divided by s²"),
            "baseline without the constant": (swap("f.mean()]", "-k / 4]"), "without its constant"),
            "no half": (swap("f = -0.5 *", "f = -1.0 *"), "½ is missing"),
            "sum over components": (swap("np.mean(score.var(axis=0))",
                                         "np.sum(score.var(axis=0))"), "summed over"),
            "mean over components in log p": (swap("f = -0.5 * np.sum", "f = -0.5 * np.mean"),
                                              None),
            "transposed": (swap("print(\"growth", "ratios = ratios.T  # "), "shape (2, 4)"),
            "negative": (swap("powers = (2, 1)", "ratios = -ratios\npowers = (2, 1)"),
                         "are positive"),
            "powers exchanged": (swap("(2, 1)\n", "(1, 2)\n"), "exchanged"),
            "powers of the standard deviation": (swap("(2, 1)\n", "(1, 0.5)\n"),
                                                 "standard deviation"),
            "equal powers": (swap("(2, 1)\n", "(2, 2)\n"), "makes a difference"),
            "one power": (swap("(2, 1)\n", "2\n"), "two numbers"),
        },
    ),
}
