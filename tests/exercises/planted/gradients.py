from planted import Planted, swap

PLANTED = {
    "mean-field-twice": Planted(
        base="""
def two_mean_fields(cov):
    log_det = np.linalg.slogdet(cov)[1]
    inside = 1 / np.diag(np.linalg.inv(cov))
    outside = np.diag(cov)
    first = 0.5 * (log_det - np.sum(np.log(inside)))
    second = 0.5 * (np.sum(np.log(outside)) - log_det)
    return inside, first, outside, second
""",
        right=[
            """
def two_mean_fields(cov):
    k = len(cov)
    precision = np.linalg.inv(cov)
    v = np.array([1 / precision[i, i] for i in range(k)])
    w = np.array([cov[i, i] for i in range(k)])
    def kl(a, b):
        return 0.5 * (np.trace(np.linalg.inv(b) @ a) - k
                      + np.log(np.linalg.det(b) / np.linalg.det(a)))
    return v, kl(np.diag(v), cov), w, kl(cov, np.diag(w))
""",
            """
import torch
def two_mean_fields(cov):
    cov = torch.as_tensor(cov).float()
    N = torch.distributions.MultivariateNormal
    p = N(torch.zeros(len(cov)), cov)
    q = [N(torch.zeros(len(cov)), torch.diag(v))
         for v in (1 / torch.diagonal(torch.linalg.inv(cov)), torch.diagonal(cov))]
    kl = torch.distributions.kl_divergence
    return q[0].variance, kl(q[0], p), q[1].variance, kl(p, q[1])
""",
        ],
        wrong={
            "diagonal of the covariance": (swap("1 / np.diag(np.linalg.inv(cov))", "np.diag(cov)"),
                                           "minimises the other divergence"),
            "precisions": (swap("1 / np.diag(np", "np.diag(np"), "are precisions"),
            "standard deviations": (swap("return inside, first, outside,",
                                         "return inside**0.5, first, outside**0.5,"),
                                    "standard deviations"),
            "no half": (swap("first = 0.5 *", "first ="), "factor ½ is missing"),
            "sign": (swap("first = 0.5", "first = -0.5"), "sign is reversed"),
            "no half in the second": (swap("second = 0.5 *", "second ="), "factor ½ is missing"),
            "exchanged": (swap("return inside, first, outside, second",
                               "return outside, second, inside, first"), "other divergence"),
            "prices exchanged": (swap("return inside, first, outside, second",
                                      "return inside, second, outside, first"),
                                 "minimum of the other divergence"),
            "first Q twice": (swap("outside, second", "inside, first"), "These minimise D[Q‖p]"),
            "price of the wrong variances": (swap(
                "first = 0.5 * (log_det - np.sum(np.log(inside)))",
                "first = 0.5 * (np.sum(np.diag(np.linalg.inv(cov)) * outside) - 3 + log_det"
                " - np.sum(np.log(outside)))"), "not the best ones"),
            "no determinant": (swap("log_det - np", "-np"), "log determinant of the covariance"),
            "two results": (swap("return inside, first, outside, second", "return inside, first"),
                            "4 results"),
            "mean of logs": (swap("np.sum(np.log(outside))", "np.mean(np.log(outside))"), None),
        },
    ),
    "minibatch-noise": Planted(
        base="""
def mean_over_data(batch_means, batch_sizes):
    return np.sum(batch_means * batch_sizes) / np.sum(batch_sizes)


def minibatch_variance(values, batch_size):
    left_out = 1 - batch_size / len(values)
    return np.var(values, ddof=1) / batch_size * left_out
""",
        right=[
            """
def mean_over_data(batch_means, batch_sizes):
    return np.average(batch_means, weights=batch_sizes)

def minibatch_variance(values, batch_size):
    N = len(values)
    return np.mean((values - np.mean(values)) ** 2) / batch_size * (N - batch_size) / (N - 1)
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
            "off by one": (swap("batch_size / len(values)", "(batch_size - 1) / (len(values) - 1)"),
                           None),
        },
    ),
    "score-function-baseline": Planted(
        base="""
def score_gradients(f, h, mean, log_var):
    std = np.exp(log_var / 2)
    noise = (h - mean) / std  # (n, k)
    score = np.hstack([noise / std, (noise**2 - 1) / 2])  # (n, 2k)
    others = (np.sum(f) - f) / (len(f) - 1)  # (n,)
    return (f - others)[:, None] * score
""",
        right=[
            """
def score_gradients(f, h, mean, log_var):
    rows = []
    for i in range(len(f)):
        c = np.mean([f[j] for j in range(len(f)) if j != i])
        var = np.exp(log_var)
        in_mean = (h[i] - mean) / var
        in_log_var = 0.5 * ((h[i] - mean) ** 2 / var - 1)
        rows.append((f[i] - c) * np.concatenate([in_mean, in_log_var]))
    return np.array(rows)
""",
            """
import torch
def score_gradients(f, h, mean, log_var):
    mean, log_var = (v.clone().float().requires_grad_() for v in (mean, log_var))
    f, h, n = f.float(), h.float(), len(f)
    out = []
    for i in range(n):
        q = torch.distributions.Normal(mean, torch.exp(log_var / 2))
        grads = torch.autograd.grad(q.log_prob(h[i]).sum(), (mean, log_var))
        out.append((f[i] - torch.cat([f[:i], f[i + 1:]]).mean()) * torch.cat(grads))
    return torch.stack(out)
""",
        ],
        wrong={
            "mean of all": (swap("(np.sum(f) - f) / (len(f) - 1)", "np.full(len(f), f.mean())"),
                            "contains the sample"),
            "no baseline": (swap("(f - others)", "f"), "no baseline"),
            "added": (swap("f - others", "f + others"), "it is subtracted"),
            "sign": (swap("return (f", "return -(f"), "sign is reversed"),
            "sum of the others": (swap(" / (len(f) - 1)", ""), "not their mean"),
            "divided by n": (swap("(len(f) - 1)", "len(f)"), "there are n − 1"),
            "mean over samples": (swap("[:, None] * score", "[:, None] * score).mean(axis=0)",
                                       "return (f", "return ((f"), "return one estimate"),
            "epsilon": (swap("noise / std, (", "noise, ("), "lacks a division by σ"),
            "variance": (swap("noise / std, (", "noise / std**2, ("), "divided by σ once too"),
            "log sigma": (swap(" - 1) / 2]", " - 1]", "[noise / std, (", "[noise / std, "),
                          "derivative in log σ"),
            "no one": (swap("(noise**2 - 1) / 2", "noise**2 / 2"), "lacks the summand"),
            "sign of the second half": (swap("(noise**2 - 1)", "(1 - noise**2)"),
                                        "sign of the second half"),
            "log_var for log sigma": (swap("np.exp(log_var / 2)", "np.exp(log_var)"),
                                      "log_var for log σ"),
            "order": (swap("[noise / std, (noise**2 - 1) / 2]",
                           "[(noise**2 - 1) / 2, noise / std]"),
                      "comes first here"),
            "no f": (swap("return (f - others)[:, None] * score", "return score"),
                     "not multiplied by f"),
            "one half only": (swap("np.hstack([noise / std, (noise**2 - 1) / 2])", "noise / std"),
                              "shape (5, 3)"),
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
