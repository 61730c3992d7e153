from planted import Planted, swap

PLANTED = {
    "elbo-discrete": Planted(
        base="""
def elbo_and_gap(log_prior, log_likelihood, q):
    log_joint = log_prior + log_likelihood
    elbo = np.sum(q * log_joint - xlogy(q, q))
    return elbo, logsumexp(log_joint) - elbo
""",
        right=[
            """
def elbo_and_gap(log_prior, log_likelihood, q):
    kept = [i for i in range(len(q)) if q[i] > 0]
    data = sum(q[i] * log_likelihood[i] for i in kept)
    kl = sum(q[i] * (np.log(q[i]) - log_prior[i]) for i in kept)
    log_joint = log_prior + log_likelihood
    top = log_joint.max()
    log_posterior = log_joint - top - np.log(np.exp(log_joint - top).sum())
    gap = sum(q[i] * (np.log(q[i]) - log_posterior[i]) for i in kept)
    return data - kl, gap
""",
            """
import torch
def elbo_and_gap(log_prior, log_likelihood, q):
    log_joint = (log_prior + log_likelihood).float()
    q = q.float()
    elbo = torch.sum(q * log_joint) - torch.special.xlogy(q, q).sum()
    return torch.stack([elbo, torch.logsumexp(log_joint, 0) - elbo])
""",
        ],
        wrong={
            "no divergence": (swap("elbo = np.sum(q * log_joint - xlogy(q, q))",
                                   "elbo = np.sum(q * log_likelihood)"),
                              "divergence to the prior is missing"),
            "divergence added": (swap("elbo = np.sum(q * log_joint - xlogy(q, q))",
                                      "elbo = np.sum(q * (log_likelihood - log_prior))"
                                      " + np.sum(xlogy(q, q))"), "it is subtracted"),
            "no entropy": (swap(" - xlogy(q, q)", ""), "entropy of Q is missing"),
            "sign of the entropy": (swap("- xlogy(q, q)", "+ xlogy(q, q)"), "term with log Q"),
            "mean over h": (swap("q * log_joint - xlogy(q, q)", "log_joint - np.log(q)",
                                 "np.sum", "np.mean"), "the same weight"),
            "reversed divergence to the prior": (
                swap("np.sum(q * log_joint - xlogy(q, q))",
                     "np.sum(q * log_likelihood - np.exp(log_prior) * (log_prior - np.log(q)))"),
                "D[prior‖Q]"),
            "no evidence": (swap("logsumexp(log_joint) - elbo", "-elbo"),
                            "log p(x) of (B1) is missing"),
            "reversed gap": (swap(
                "logsumexp(log_joint) - elbo",
                "np.sum(np.exp(log_joint - logsumexp(log_joint))"
                " * (log_joint - logsumexp(log_joint) - np.log(q)))"), "the two are exchanged"),
            "sign of the gap": (swap("logsumexp(log_joint) - elbo", "elbo - logsumexp(log_joint)"),
                                "−gap"),
            "underflow": (swap("logsumexp(log_joint)", "np.log(np.sum(np.exp(log_joint)))"),
                          "a logarithm of 0"),
            "overflow": (swap("logsumexp(log_joint)", "(np.log(np.sum(np.exp(log_joint - "
                              "log_joint.min()))) + log_joint.min())"), "Is there an overflow"),
            "zeros": (swap("xlogy(q, q)", "q * np.log(q)"), "q = [0, 0.3, 0.7, 0, 0]"),
            "bits": (swap("return elbo, logsumexp(log_joint) - elbo",
                          "return elbo / np.log(2), (logsumexp(log_joint) - elbo) / np.log(2)"),
                     "bits"),
            "one number": (swap("return elbo, logsumexp(log_joint) - elbo", "return elbo"),
                           "2 results"),
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
    "bound-given-x": Planted(
        base="""
def conditional_elbo(model, num_seen, v, q_mean, q_cov):
    first, rest = slice(num_seen), slice(num_seen, None)
    of_x = LinearGaussian(model.weights[first], model.bias[first], model.noise_std)
    of_y = LinearGaussian(model.weights[rest], model.bias[rest], model.noise_std)
    kl = gaussian.kl_divergence(q_mean, q_cov, *of_x.posterior(v[first]))
    gap = gaussian.kl_divergence(q_mean, q_cov, *model.posterior(v))
    return of_y.expected_log_likelihood(v[rest], q_mean, q_cov) - kl, gap


bounded = "log p(y)"
""",
        right=[
            """
def conditional_elbo(model, num_seen, v, q_mean, q_cov):
    W, b, s2 = model.weights, model.bias, model.noise_std ** 2
    Wx, Wy = W[:num_seen], W[num_seen:]
    cov_x = np.linalg.inv(np.eye(W.shape[1]) + Wx.T @ Wx / s2)
    mean_x = cov_x @ Wx.T @ (v - b)[:num_seen] / s2
    cov_xy = np.linalg.inv(np.eye(W.shape[1]) + W.T @ W / s2)
    mean_xy = cov_xy @ W.T @ (v - b) / s2

    def kl(mean, cov):
        d = mean - q_mean
        inverse = np.linalg.inv(cov)
        return 0.5 * (np.trace(inverse @ q_cov) + d @ inverse @ d - len(d)
                      + np.log(np.linalg.det(cov) / np.linalg.det(q_cov)))

    r = (v - b)[num_seen:] - Wy @ q_mean
    square = r @ r + np.sum((Wy @ q_cov) * Wy)
    data = -square / (2 * s2) - len(r) / 2 * np.log(2 * np.pi * s2)
    return data - kl(mean_x, cov_x), kl(mean_xy, cov_xy)

bounded = "log p(y)"
""",
            """
def conditional_elbo(model, num_seen, v, q_mean, q_cov):
    seen = LinearGaussian(model.weights[:num_seen], model.bias[:num_seen], model.noise_std)
    gap = gaussian.kl_divergence(q_mean, q_cov, *model.posterior(v))
    log_p = model.log_evidence(v) - seen.log_evidence(v[:num_seen])
    return np.array([log_p - gap, gap])

bounded = "log p( y )"
""",
        ],
        wrong={
            "prior without x": (swap("*of_x.posterior(v[first]))",
                                     "np.zeros(len(q_mean)), np.eye(len(q_mean)))"),
                                "given x it is p(h|x)"),
            "likelihood of both": (swap("of_y.expected_log_likelihood(v[rest]",
                                        "model.expected_log_likelihood(v"),
                                   "counted in p(h|x) already"),
            "elbo of both": (swap("return of_y.expected_log_likelihood(v[rest], q_mean, q_cov) - "
                                  "kl", "return model.elbo(v, q_mean, q_cov)"), "log p(x, y)"),
            "divergence added": (swap(" - kl, gap", " + kl, gap"), "it is subtracted"),
            "no divergence": (swap(" - kl, gap", ", gap"), "is missing"),
            "reversed": (swap("kl = gaussian.kl_divergence(q_mean, q_cov, "
                              "*of_x.posterior(v[first]))", "kl = gaussian.kl_divergence("
                              "*of_x.posterior(v[first]), q_mean, q_cov)"),
                         "D[p(h|x)‖Q]"),
            "halves exchanged": (swap("slice(num_seen), slice(num_seen, None)",
                                      "slice(num_seen, None), slice(num_seen)"),
                                 "x and y are exchanged"),
            "gap to p(h|y)": (swap("*model.posterior(v))", "*of_y.posterior(v[rest]))"), "p(h|y)"),
            "gap to p(h|x)": (swap("kl, gap", "kl, kl"), "divergence to p(h|x);"),
            "gap from log p(x, y)": (swap(
                "kl, gap", "kl, gap + of_x.log_evidence(v[first])"), "log p(x, y)"),
            "gap reversed": (swap("gap = gaussian.kl_divergence(q_mean, q_cov, "
                                  "*model.posterior(v))", "gap = gaussian.kl_divergence("
                                  "*model.posterior(v), q_mean, q_cov)"), "the two are exchanged"),
            "likelihood at the mean": (swap("of_y.expected_log_likelihood(v[rest], q_mean, q_cov)",
                                            "of_y.log_likelihood(v[rest], q_mean)"),
                                       "covariance enters"),
            "order": (swap("return of_y.expected_log_likelihood(v[rest], q_mean, q_cov) - kl, gap",
                           "return gap, of_y.expected_log_likelihood(v[rest], q_mean, q_cov) - kl"),
                      "return the bound first"),
            "bounded y given x": (swap('"log p(y)"', '"log p(y|x)"'), "which term"),
            "bounded both": (swap('"log p(y)"', '"log p(x, y)"'), "likelihood of x"),
            "bounded none": (swap('"log p(y)"', '"p(h)"'), "must be"),
        },
    ),
}
