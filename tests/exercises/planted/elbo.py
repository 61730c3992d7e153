from planted import Planted, swap

PLANTED = {
    "three-elbo-programs": Planted(
        base="""
wrong = "c"
excess = gaussian.kl_divergence(q_mean, q_cov, *model.posterior(x))
""",
        right=[
            """
wrong = " C"
excess = model.log_evidence(x) - model.elbo(x, q_mean, q_cov)
""",
            """
wrong = "c"
excess = np.array([np.float32(model.log_evidence(x)) - np.float32(model.elbo(x, q_mean, q_cov))])
""",
        ],
        wrong={
            "a": (swap('"c"', '"a"'), "for every n: is that"),
            "b": (swap('"c"', '"b"'), "right-hand side of (B2)"),
            "another word": (swap('"c"', '"all"'), "must be"),
            "no word": (swap('"c"', "3"), "must be"),
            "log evidence": (swap("gaussian.kl_divergence(q_mean, q_cov, *model.posterior(x))",
                                  "model.log_evidence(x)"), "tends to; how far"),
            "elbo": (swap("gaussian.kl_divergence(q_mean, q_cov, *model.posterior(x))",
                          "model.elbo(x, q_mean, q_cov)"), "how far above it"),
            "sign": (swap("excess = ", "excess = -"), "sign is reversed"),
            "exchanged": (swap("q_mean, q_cov, *model.posterior(x)",
                               "*model.posterior(x), q_mean, q_cov"), "the two are exchanged"),
            "to the prior": (swap("*model.posterior(x)", "np.zeros(3), np.eye(3)"),
                             "divergence to the prior"),
            "bits": (swap("excess = ", "excess = 1 / np.log(2) * "), "bits"),
            "nothing": (swap("excess = ", "excess = 0 * "), "agree for n = 1"),
            "no reason": (swap("excess = ", "excess = 1.7 * "), None),
        },
    ),
    "elbo-entropy": Planted(
        base="""
def energy_and_entropy(model, x, q_mean, q_cov):
    k = len(q_mean)
    log_prior = -0.5 * (k * np.log(2 * np.pi) + np.sum(q_mean**2) + np.trace(q_cov))
    energy = model.expected_log_likelihood(x, q_mean, q_cov) + log_prior
    entropy = 0.5 * (k * np.log(2 * np.pi * np.e) + np.linalg.slogdet(q_cov)[1])
    return energy, entropy
""",
        right=[
            """
def energy_and_entropy(model, x, q_mean, q_cov):
    entropy = 0.5 * np.log(np.linalg.det(2 * np.pi * np.e * q_cov))
    zero, unit = np.zeros(len(q_mean)), np.eye(len(q_mean))
    kl = gaussian.kl_divergence(q_mean, q_cov, zero, unit)
    return model.expected_log_likelihood(x, q_mean, q_cov) - kl - entropy, entropy
""",
            """
import torch
def energy_and_entropy(model, x, q_mean, q_cov):
    q_mean, q_cov = torch.as_tensor(q_mean).float(), torch.as_tensor(q_cov).float()
    entropy = torch.distributions.MultivariateNormal(q_mean, q_cov).entropy()
    W, b = torch.tensor(model.weights).float(), torch.tensor(model.bias).float()
    r = torch.as_tensor(x).float() - W @ q_mean - b
    s2 = model.noise_std ** 2
    data = -(r @ r + torch.trace(W @ q_cov @ W.T)) / (2 * s2) - len(r) / 2 * np.log(2 * np.pi * s2)
    prior = -(q_mean @ q_mean + torch.trace(q_cov)) / 2 - len(q_mean) / 2 * np.log(2 * np.pi)
    return data + prior, entropy
""",
        ],
        wrong={
            "no e": (swap("np.pi * np.e", "np.pi"), "k/2 is missing"),
            "no half": (swap("entropy = 0.5 * ", "entropy = "), "factor ½ is missing"),
            "2 pi e once": (swap("entropy = 0.5 * (k * np", "entropy = 0.5 * (np"),
                            "once; it is in every one"),
            "bits": (swap("entropy = 0.5", "entropy = 0.5 / np.log(2)"), "bits"),
            "sign of the entropy": (swap("entropy = 0.5", "entropy = -0.5"), "−S"),
            "diagonal": (swap("np.linalg.slogdet(q_cov)[1]", "np.sum(np.log(np.diag(q_cov)))"),
                         "treated as diagonal"),
            "no constants": (swap("k * np.log(2 * np.pi * np.e) + ", ""), "constants are missing"),
            "no trace": (swap(" + np.trace(q_cov)", ""), "at the mean of Q"),
            "log joint at the mean": (swap(
                "energy = model.expected_log_likelihood(x, q_mean, q_cov) + log_prior",
                "energy = model.log_joint(x, q_mean)"), "not the square of the mean"),
            "no prior": (swap(" + log_prior", ""), "the prior is missing"),
            "no 2 pi in the prior": (swap("k * np.log(2 * np.pi) + ", ""), "log 2π, is missing"),
            "divergence": (swap("energy = ", "energy = model.elbo(x, q_mean, q_cov)  # "),
                           "divergence to the prior in it"),
            "log of det of sigma": (swap("slogdet(q_cov)[1]", "slogdet(q_cov)[1] / 2"), None),
        },
    ),
    "shifted-posterior": Planted(
        base=r"""
post_mean, post_cov = model.posterior(x)
variances, vectors = np.linalg.eigh(post_cov)  # ascending; the eigenvectors are columns
gaps = np.array(
    [
        [model.log_evidence(x) - model.elbo(x, post_mean + shift * std, post_cov)
         for shift in shifts]
        for std in (np.sqrt(variances) * vectors).T
    ]
)
prediction = "neither"
print(f"standard deviations {np.round(np.sqrt(variances), 3)}\ngaps\n{np.round(gaps, 6)}")
""",
        right=[
            """
m, C = model.posterior(x)
lam, V = np.linalg.eigh(C)
gaps = np.empty((3, 5), dtype=np.float32)
for i in range(3):
    for j, d in enumerate(shifts):
        gaps[i, j] = gaussian.kl_divergence(m - d * np.sqrt(lam[i]) * V[:, i], C, m, C)
prediction = " Neither"
""",
            """
import torch
gaps = torch.tensor(shifts).square().mul(0.5).expand(3, 5)
prediction = "neither"
""",
        ],
        wrong={
            "absolute shifts": (swap("np.sqrt(variances) * vectors", "vectors"),
                                "shifts by the length δ"),
            "variances as steps": (swap("(np.sqrt(variances)", "(variances"),
                                   "not a standard deviation"),
            "rows of eigh": (swap("(np.sqrt(variances) * vectors).T",
                                  "np.sqrt(variances)[:, None] * vectors"), "are the columns"),
            "from zero": (swap("post_mean + shift", "0 * post_mean + shift"), "starts at 0"),
            "elbo": (swap("model.log_evidence(x) - model", "model"), "values of the ELBO"),
            "sign": (swap("model.log_evidence(x) - model.elbo(", "-model.log_evidence(x) "
                          "+ model.elbo("), "sign is reversed"),
            "no half": (swap("prediction = ", "gaps = 2 * gaps\nprediction = "), "factor ½"),
            "transposed": (swap("prediction = ", "gaps = gaps.T\nprediction = "),
                           "eigenvectors belong in rows"),
            "linear": (swap("prediction = ", "gaps = 0 * gaps + shifts / 2\nprediction = "),
                       "linear in the shift"),
            "one row": (swap("prediction = ", "gaps = gaps[0]\nprediction = "), "shape (5,)"),
            "covariance of the prior": (swap("* std, post_cov", "* std, np.eye(3)"), None),
            "smallest": (swap('"neither"', '"smallest"'), "contradicts your prediction"),
            "largest": (swap('"neither"', '"largest"'), "contradicts your prediction"),
            "another word": (swap('"neither"', '"both"'), "must be"),
            "no word": (swap('"neither"', "3"), "must be"),
        },
    ),
    "elbo-data-set": Planted(
        base="""
def mean_elbo(x, mean, log_var, weights, bias, noise_std):
    var = np.exp(log_var)  # (n, k)
    residual = x - mean @ weights.T - bias  # (n, d)
    spread = var @ np.sum(weights**2, axis=0)  # (n,)
    squared = (np.sum(residual**2, axis=1) + spread) / noise_std**2
    log_p = -0.5 * (squared + x.shape[1] * np.log(2 * np.pi * noise_std**2))
    kl = 0.5 * np.sum(var + mean**2 - 1 - log_var, axis=1)
    return np.mean(log_p - kl)
""",
        right=[
            """
def mean_elbo(x, mean, log_var, weights, bias, noise_std):
    model = LinearGaussian(weights, bias, noise_std)
    total = 0.0
    for i in range(len(x)):
        total += model.elbo(x[i], mean[i], np.diag(np.exp(log_var[i])))
    return total / len(x)
""",
            """
import torch
def mean_elbo(x, mean, log_var, weights, bias, noise_std):
    x, mean, log_var, weights, bias = (
        torch.as_tensor(a).float() for a in (x, mean, log_var, weights, bias))
    p = torch.distributions.Normal(mean @ weights.T + bias, noise_std)
    data = p.log_prob(x) - 0.5 * (log_var.exp() @ weights.T**2) / noise_std**2
    q = torch.distributions.Normal(mean, torch.exp(log_var / 2))
    kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0))
    return (data.sum(1) - kl.sum(1)).mean()
""",
            """
import tensorflow as tf
def mean_elbo(x, mean, log_var, weights, bias, noise_std):
    residual = x - tf.matmul(mean, weights, transpose_b=True) - bias
    spread = tf.linalg.matvec(tf.exp(log_var), tf.reduce_sum(weights ** 2, axis=0))
    square = tf.reduce_sum(residual ** 2, axis=-1) + spread
    log_p = -square / (2 * noise_std ** 2) - x.shape[1] * np.log(noise_std * np.sqrt(2 * np.pi))
    kl = -0.5 * tf.reduce_sum(1 + log_var - mean ** 2 - tf.exp(log_var), axis=-1)
    return tf.reduce_mean(log_p - kl)
""",
        ],
        wrong={
            "sum over examples": (swap("np.mean", "np.sum"), "sum over the examples"),
            "one for each": (swap("np.mean(log_p - kl)", "log_p - kl"), "average over them"),
            "no spread": (swap(" + spread)", ")"), "encoder's variance adds"),
            "no divergence": (swap("log_p - kl", "log_p"), "divergence to the prior is missing"),
            "divergence added": (swap("log_p - kl", "log_p + kl"), "it is subtracted"),
            "loss": (swap("log_p - kl", "kl - log_p"), "−ELBO"),
            "no 2 pi": (swap("2 * np.pi * noise", "noise"), "log 2π is missing"),
            "no normalisation": (swap("(squared + x.shape[1] * np.log(2 * np.pi * noise_std**2))",
                                      "squared"), "normalisation of p(x|h) is missing"),
            "normalisation once": (swap("x.shape[1] * ", ""), "once, not d times"),
            "mean over k": (swap("kl = 0.5 * np.sum", "kl = 0.5 * np.mean"),
                            "averaged over the latent dimensions"),
            "variance": (swap("noise_std**2", "noise_std"), "noise_std for the variance"),
            "log sigma": (swap("np.exp(log_var)", "np.exp(2 * log_var)", "- log_var", "- 2 * "
                               "log_var"), "log_var for log σ"),
            "sigma in the spread": (swap("spread = var @", "spread = np.sqrt(var) @"),
                                    "σ where σ²"),
            "no half in the divergence": (swap("kl = 0.5 * ", "kl = "), "½ is missing"),
            "spread not scaled": (swap("(np.sum(residual**2, axis=1) + spread) / noise_std**2",
                                       "np.sum(residual**2, axis=1) / noise_std**2 + spread"),
                                  "not divided by s²"),
            "rows of W": (swap("var @ np.sum(weights**2, axis=0)",
                               "np.sum((var @ weights.T) ** 2, axis=1)"), None),
        },
    ),
    "ising-pair": Planted(
        base="""
def best_product(coupling, field):
    m = 1.0
    for _ in range(10_000):
        m = np.tanh(coupling * m + field)
    up, down = (1 + m) / 2, (1 - m) / 2
    entropy = -2 * (xlogy(up, up) + xlogy(down, down))
    bound = -coupling * m**2 - 2 * field * m - entropy
    energies = [-coupling - 2 * field, -coupling + 2 * field, coupling, coupling]
    log_z = logsumexp(np.negative(energies))
    return m, bound + log_z


magnetised = "Q"
""",
        right=[
            """
def best_product(coupling, field):
    grid = np.linspace(0, 1, 20001)
    up, down = (1 + grid) / 2, (1 - grid) / 2
    bounds = (-coupling * grid**2 - 2 * field * grid
              + 2 * xlogy(up, up) + 2 * xlogy(down, down))
    i = np.argmin(bounds)
    z = 2 * np.exp(coupling) * np.cosh(2 * field) + 2 * np.exp(-coupling)
    return grid[i], bounds[i] + np.log(z)

magnetised = " q"
""",
            """
from scipy.optimize import minimize_scalar
def best_product(coupling, field):
    s = np.array([1.0, -1.0])
    energy = -coupling * s[:, None] * s - field * (s[:, None] + s)
    p = np.exp(-energy) / np.exp(-energy).sum()

    def gap(m):
        q = np.outer(1 + m * s, 1 + m * s) / 4
        return np.sum(q * np.log(q / p))

    found = minimize_scalar(gap, bounds=(0, 1), method="bounded", options={"xatol": 1e-8})
    return [found.x, found.fun]

magnetised = "Q"
""",
        ],
        wrong={
            "one spin's entropy": (swap("entropy = -2 *", "entropy = -1 *"),
                                   "one spin is missing"),
            "no entropy": (swap(" - entropy", ""), "entropy is missing"),
            "entropy added": (swap(" - entropy", " + entropy"), "it is subtracted"),
            "bound": (swap("bound + log_z", "bound"), "what it lies above F"),
            "sign": (swap("bound + log_z", "-bound - log_z"), "sign is reversed"),
            "sign of F": (swap("bound + log_z", "bound - log_z"), "wrong sign"),
            "twice the coupling": (swap("np.tanh(coupling", "np.tanh(2 * coupling"),
                                   "one coupling"),
            "half the coupling": (swap("np.tanh(coupling", "np.tanh(0.5 * coupling"),
                                  "taken half."),
            "half the field": (swap("* m + field)", "* m + field / 2)"), "acts on both spins"),
            "no coupling": (swap("np.tanh(coupling * m + field)", "np.tanh(field)"),
                            "coupling is ignored"),
            "negative": (swap("return m,", "return -m,"), "m ≥ 0 is asked"),
            "probability": (swap("return m,", "return up,"), "probability that a spin is up"),
            "mean in p": (swap("return m,", "return 2 * np.exp(coupling) * np.sinh(2 * field) / "
                               "np.exp(log_z),"), "mean of a spin in p"),
            "from zero": (swap("m = 1.0", "m = 0.0"), None),
            "bits": (swap("bound + log_z", "(bound + log_z) / np.log(2)"), "bits"),
            "three states": (swap("coupling, coupling]", "coupling]"), "lacks one"),
            "order": (swap("return m, bound + log_z", "return bound + log_z, m"),
                      "return m first"),
            "one number": (swap("return m, bound + log_z", "return bound + log_z"), "2 results"),
            "p": (swap('"Q"', '"p"'), "p(−s1, −s2)"),
            "both": (swap('"Q"', '"both"'), "p(−s1, −s2)"),
            "neither": (swap('"Q"', '"neither"'), "contradicts your prediction"),
            "another word": (swap('"Q"', '"spins"'), "must be"),
        },
    ),
}
