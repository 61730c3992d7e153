from planted import Planted, swap

PLANTED = {
    "conditional-bound": Planted(
        base="""
def conditional_elbo(y, logits, mean, log_var, prior_mean, prior_log_var):
    log_likelihood = np.sum(y * logits - np.logaddexp(0, logits), axis=-1)  # (N1)
    log_ratio = log_var - prior_log_var
    squares = (mean - prior_mean) ** 2 / np.exp(prior_log_var)
    kl = 0.5 * np.sum(np.exp(log_ratio) + squares - 1 - log_ratio, axis=-1)  # (K2)
    return log_likelihood - kl
""",
        right=[
            """
import torch
def conditional_elbo(y, logits, mean, log_var, prior_mean, prior_log_var):
    normal = torch.distributions.Normal
    q = normal(mean, torch.exp(log_var / 2))
    p = normal(prior_mean, torch.exp(prior_log_var / 2))
    pixels = torch.distributions.Bernoulli(logits=logits)
    kl = torch.distributions.kl_divergence(q, p)
    return pixels.log_prob(y).sum(dim=-1) - kl.sum(dim=-1)
""",
            """
def conditional_elbo(y, logits, mean, log_var, prior_mean, prior_log_var):
    n, k = mean.shape
    total = np.zeros(n)
    for i in range(n):
        for pixel, logit in zip(y[i], logits[i]):
            signed = logit if pixel == 1 else -logit
            total[i] += min(signed, 0) - np.log1p(np.exp(-abs(signed)))
        for j in range(k):
            r = np.exp(log_var[i, j]) / np.exp(prior_log_var[i, j])
            distance = (prior_mean[i, j] - mean[i, j]) ** 2 / np.exp(prior_log_var[i, j])
            total[i] -= (r - np.log(r) + distance - 1) / 2
    return total
""",
            """
import torch
def conditional_elbo(y, logits, mean, log_var, prior_mean, prior_log_var):
    y, logits, mean, log_var = y.float(), logits.float(), mean.float(), log_var.float()
    m, v = prior_mean.float(), prior_log_var.float()
    cross = torch.nn.functional.binary_cross_entropy_with_logits(logits, y, reduction="none")
    kl = 0.5 * (v - log_var - 1 + ((mean - m) ** 2 + log_var.exp()) / v.exp())
    return -cross.sum(1) - kl.sum(1)
""",
        ],
        wrong={
            "plus the divergence": (swap("log_likelihood - kl", "log_likelihood + kl"),
                                    "divergence is added"),
            "loss": (swap("return log_likelihood - kl", "return kl - log_likelihood"),
                     "This is the loss"),
            "standard normal prior": (swap("log_var - prior_log_var", "log_var",
                                           "(mean - prior_mean) ** 2 / np.exp(prior_log_var)",
                                           "mean**2"), "divergence from N(0, I)"),
            "reversed": (swap("log_var - prior_log_var", "prior_log_var - log_var",
                              "/ np.exp(prior_log_var)", "/ np.exp(log_var)"), "reversed"),
            "no half": (swap("0.5 * ", ""), "½ is missing"),
            "log sigma": (swap("log_ratio = log_var", "log_var, prior_log_var = 2 * log_var, 2 * "
                               "prior_log_var\n    log_ratio = log_var"),
                          "it is log σ²"),
            "mean over k": (swap("0.5 * np.sum", "0.5 * np.mean"), "over the latent dimensions"),
            "mean over pixels": (swap("np.sum(y", "np.mean(y"), "over the pixels"),
            "no one": (swap(" - 1 ", " "), "−1 of every latent"),
            "sign of the logarithm": (swap("- 1 - log_ratio", "- 1 + log_ratio"), "wrong sign"),
            "squares of the wrong variance": (swap("/ np.exp(prior_log_var)", "/ np.exp(log_var)"),
                                              "variance of Q, not of the prior"),
            "squares not divided": (swap(" / np.exp(prior_log_var)", ""), "not divided by s²"),
            "divided by s": (swap("np.exp(prior_log_var)", "np.exp(prior_log_var / 2)"),
                             "divided by s, not s²"),
            "prior mean forgotten": (swap("(mean - prior_mean)", "mean"), "the distance is μ − m"),
            "only white pixels": (swap("y * logits - np.logaddexp(0, logits)",
                                       "-y * np.logaddexp(0, -logits)"), "Only white pixels"),
            "logits as probabilities": (swap("y * logits - np.logaddexp(0, logits)",
                                             "y * np.log(logits) + (1 - y) * np.log(1 - logits)"),
                                        "contains nan"),
            "logarithm of the sigmoid": (swap("y * logits - np.logaddexp(0, logits)",
                                              "y * np.log(1 / (1 + np.exp(-logits))) + (1 - y) * "
                                              "np.log(1 - 1 / (1 + np.exp(-logits)))"),
                                         "do not take its logarithm"),
            "mean over examples": (swap("return log_likelihood - kl",
                                        "return np.mean(log_likelihood - kl)"),
                                   "mean over the examples"),
        },
    ),
    "unseen-half": Planted(
        base="""
def predict(x, W_x, b_x, W_y, b_y, noise_std):
    cov_xx = W_x @ W_x.T + noise_std**2 * np.eye(len(b_x))
    cov_yy = W_y @ W_y.T + noise_std**2 * np.eye(len(b_y))
    gain = W_y @ W_x.T @ np.linalg.inv(cov_xx)  # (d_y, d_x)
    return b_y + gain @ (x - b_x), cov_yy - gain @ W_x @ W_y.T
""",
        right=[
            """
def predict(x, W_x, b_x, W_y, b_y, noise_std):
    k = W_x.shape[1]
    C = np.linalg.inv(np.eye(k) + W_x.T @ W_x / noise_std**2)
    m = C @ W_x.T @ (x - b_x) / noise_std**2
    return W_y @ m + b_y, W_y @ C @ W_y.T + noise_std**2 * np.eye(len(W_y))
""",
            """
import torch
def predict(x, W_x, b_x, W_y, b_y, noise_std):
    W, n = torch.cat([W_x, W_y]).float(), len(x)
    cov = W @ W.T + noise_std**2 * torch.eye(len(W))
    precision = torch.linalg.inv(cov)
    part = torch.linalg.inv(precision[n:, n:])
    return b_y.float() - part @ precision[n:, :n] @ (x - b_x).float(), part
""",
            swap("return b_y + gain @ (x - b_x), cov_yy - gain @ W_x @ W_y.T",
                 "return [b_y + gain @ (x - b_x), list(cov_yy - gain @ W_x @ W_y.T)]"),
        ],
        wrong={
            "one noise": (swap("noise_std**2", "0.36"), None),
            "noise of y": (swap("W_y @ W_y.T + noise_std**2 * np.eye(len(b_y))", "W_y @ W_y.T"),
                           "noise of y itself is missing"),
            "sigma in y": (swap("noise_std**2 * np.eye(len(b_y))", "noise_std * np.eye(len(b_y))"),
                           "σ where σ² belongs in the noise of y"),
            "sigma everywhere": (swap("noise_std**2", "noise_std"), "σ where σ² belongs"),
            "noise of x": (swap(" + noise_std**2 * np.eye(len(b_x))", ""),
                           "noise of x is missing"),
            "prior": (swap("b_y + gain @ (x - b_x), cov_yy - gain @ W_x @ W_y.T", "b_y, cov_yy"),
                      "mean of p(y)"),
            "covariance of p(y)": (swap("cov_yy - gain @ W_x @ W_y.T", "cov_yy"),
                                   "x has taught nothing"),
            "plus": (swap("cov_yy - gain", "cov_yy + gain"), "it must lower the covariance"),
            "x not centred": (swap("(x - b_x)", "x"), "b_x is not subtracted"),
            "no b_y": (swap("return b_y + ", "return "), "b_y is missing"),
            "not inverted": (swap("np.linalg.inv(cov_xx)", "cov_xx"), "not inverted"),
            "Cholesky": (swap("cov_yy - gain @ W_x @ W_y.T",
                              "np.linalg.cholesky(cov_yy - gain @ W_x @ W_y.T)"),
                         "a square root of it"),
            "standard deviations": (swap("cov_yy - gain @ W_x @ W_y.T",
                                         "np.sqrt(np.diag(cov_yy - gain @ W_x @ W_y.T))"),
                                    "These are standard deviations"),
            "diagonal": (swap("cov_yy - gain @ W_x @ W_y.T",
                              "np.diag(np.diag(cov_yy - gain @ W_x @ W_y.T))"),
                         "only the diagonal"),
            "of h": ("""
def predict(x, W_x, b_x, W_y, b_y, noise_std):
    C = np.linalg.inv(np.eye(W_x.shape[1]) + W_x.T @ W_x / noise_std**2)
    m = C @ W_x.T @ (x - b_x) / noise_std**2
    return W_y @ m + b_y, C
""", "covariance of h given x"),
            "mean alone": (swap(", cov_yy - gain @ W_x @ W_y.T", ""), "return 2 results"),
        },
    ),
    "digit-without-label": Planted(
        base="""
def without_label(log_bounds, prior):
    log_joint = log_bounds + np.log(prior)  # (n, c)
    log_p_y = logsumexp(log_joint, axis=1)
    return log_p_y, log_joint - log_p_y[:, None]
""",
        right=[
            """
def without_label(log_bounds, prior):
    sums, labels = [], []
    for row in log_bounds:
        top = max(row)
        weights = [p * np.exp(value - top) for value, p in zip(row, prior)]
        sums.append(top + np.log(sum(weights)))
        labels.append([np.log(w / sum(weights)) for w in weights])
    return np.array(sums), np.array(labels)
""",
            """
import torch
def without_label(log_bounds, prior):
    joint = log_bounds + torch.log(prior)
    return torch.logsumexp(joint, dim=1), torch.log_softmax(joint, dim=1)
""",
            """
import torch
def without_label(log_bounds, prior):
    joint = log_bounds.float() + torch.log(prior.float())
    return torch.logsumexp(joint, dim=-1), torch.log_softmax(joint, dim=-1)
""",
            """
import torch
def without_label(log_bounds, prior):
    log_p, labels = [], []
    for row in log_bounds:
        joint = (row + torch.log(prior)).requires_grad_()
        log_p.append(torch.logsumexp(joint, 0))
        labels.append(torch.log_softmax(joint, 0))
    return [log_p, labels]
""",
        ],
        wrong={
            "no prior": (swap("log_bounds + np.log(prior)", "log_bounds"),
                         "probabilities of the classes are missing"),
            "uniform": (swap("np.log(prior)", "np.log(1 / len(prior))"),
                        "All classes count equally"),
            "mean of the logarithms": (swap("logsumexp(log_joint, axis=1)",
                                            "log_bounds @ prior"), "not the logarithms"),
            "best class": (swap("logsumexp(log_joint, axis=1)", "np.max(log_joint, axis=1)"),
                           "best class only"),
            "best L": (swap("logsumexp(log_joint, axis=1)", "np.max(log_bounds, axis=1)"),
                       "no bound on log p(y)"),
            "no logarithm": (swap("return log_p_y,", "return np.exp(log_p_y),"),
                             "return its logarithm"),
            "prior for log prior": (swap("np.log(prior)", "prior"), "its logarithm belongs there"),
            "over the digits": (swap("axis=1", "axis=0", "[:, None]", ""),
                                "it belongs over the classes"),
            "probabilities": (swap("log_joint - log_p_y[:, None]",
                                   "np.exp(log_joint - log_p_y[:, None])"),
                              "return their logarithms"),
            "Bayes without the prior": (swap("log_joint - log_p_y[:, None]",
                                             "log_bounds - logsumexp(log_bounds, axis=1)[:, None]"),
                                        "missing in Bayes' rule"),
            "not normalised": (swap("log_joint - log_p_y[:, None]", "log_joint"),
                               "not divided by p(y)"),
            "normalised over the digits": (swap("log_joint - log_p_y[:, None]",
                                                "log_joint - logsumexp(log_joint, axis=0)"),
                                           "over the digits"),
            "softmax of the posterior's logits": (swap("log_joint - log_p_y[:, None]",
                                                       "log_bounds - log_p_y[:, None]"),
                                                  "not multiplied by p(x)"),
            "underflow": ("""
def without_label(log_bounds, prior):
    joint = prior * np.exp(log_bounds)
    total = joint.sum(axis=1)
    return np.log(total), np.log(joint / total[:, None])
""", "underflows or overflows"),
            "exchanged": (swap("return log_p_y, log_joint - log_p_y[:, None]",
                               "return log_joint - log_p_y[:, None], log_p_y"), "exchanged"),
        },
    ),
    "draw-answers": Planted(
        base="""
def draw(x, prior_of, decode, noise_std, n, rng):
    mean, log_var = prior_of(x)
    h = mean + np.exp(log_var / 2) * rng.standard_normal((n, len(mean)))
    y_mean = decode(h, x)
    return y_mean + noise_std * rng.standard_normal(y_mean.shape)
""",
        right=[
            """
def draw(x, prior_of, decode, noise_std, n, rng):
    mean, log_var = prior_of(x)
    h = rng.multivariate_normal(mean, np.diag(np.exp(log_var)), size=n)
    return rng.normal(decode(h, x), noise_std)
""",
            """
import torch
def draw(x, prior_of, decode, noise_std, n, rng):
    generator = torch.Generator().manual_seed(int(rng.integers(2**40)))
    mean, log_var = prior_of(x)
    eps = torch.randn((n, len(mean)), generator=generator, dtype=mean.dtype)
    y = decode(mean + torch.exp(0.5 * log_var) * eps, x).requires_grad_()
    return y + noise_std * torch.randn(y.shape, generator=generator, dtype=mean.dtype)
""",
            """
def draw(x, prior_of, decode, noise_std, n, rng):
    mean, log_var = prior_of(x)
    answers = []
    for _ in range(n):
        h = np.array([rng.normal(m, np.exp(v) ** 0.5) for m, v in zip(mean, log_var)])
        answers.append(decode(h[None], x)[0] + noise_std * rng.normal(size=3))
    return answers
""",
            """
def draw(x, prior_of, decode, noise_std, n, rng):
    mean, log_var = (np.asarray(part) for part in prior_of(x))
    h = mean[:, None] + np.exp(log_var / 2)[:, None] * rng.standard_normal((len(mean), n))
    y = np.asarray(decode(h.T, x))
    return [list(row) for row in y + noise_std * rng.standard_normal(y.T.shape).T]
""",
        ],
        wrong={
            "N(0, I)": (swap("mean + np.exp(log_var / 2) * ", ""), "h was drawn from N(0, I)"),
            "decoder's means": (swap(" + noise_std * rng.standard_normal(y_mean.shape)", ""),
                                "noise of y is missing"),
            "both": (swap("mean + np.exp(log_var / 2) * ", "",
                          " + noise_std * rng.standard_normal(y_mean.shape)", ""),
                     "and the noise of y is missing"),
            "one h": (swap("rng.standard_normal((n, len(mean)))",
                           "np.tile(rng.standard_normal(len(mean)), (n, 1))"), "draw n of them"),
            "mean of h": (swap(" + np.exp(log_var / 2) * rng.standard_normal((n, len(mean)))",
                               " + np.zeros((n, len(mean)))"), None),
            "log sigma": (swap("log_var / 2", "log_var"), "takes log σ² for log σ"),
            "log_var as sigma": (swap("np.exp(log_var / 2)", "log_var"), "takes log σ² for σ."),
            "inverse": (swap("log_var / 2", "-log_var / 2"), "exp(−log_var / 2)"),
            "variance of y": (swap("noise_std * ", "noise_std**2 * "), "variance noise_std²"),
            "root of noise_std": (swap("noise_std * ", "noise_std**0.5 * "), "not its root"),
            "unit noise": (swap("noise_std * ", ""), "standard deviation 1"),
            "same noise for all pixels": (swap("rng.standard_normal(y_mean.shape)",
                                               "rng.standard_normal((n, 1))"),
                                          "independent from pixel to pixel"),
            "same noise for all answers": (swap("rng.standard_normal(y_mean.shape)",
                                                "rng.standard_normal(y_mean.shape[1])"),
                                           "All answers have the same noise"),
            "same noise for all of h": (swap("rng.standard_normal((n, len(mean)))",
                                             "rng.standard_normal((n, 1))"),
                                        "draw k numbers for each"),
            "around zero": (swap("h = mean + np", "h = np"), "mean of p(h|x) is missing"),
            "uniform": (swap("rng.standard_normal((", "rng.random(("), None),
            "one answer": (swap("(n, len(mean))", "(1, len(mean))"), "shape (1, 3)"),
            "no generator": (swap("rng.", "np.random."), "is where it was before"),
            "seeded inside": (swap("mean, log_var =", "rng = np.random.default_rng(0); "
                                   "mean, log_var ="), "is where it was before"),
            "h from elsewhere": (swap("rng.standard_normal((n", "np.random.standard_normal((n"),
                                 "in the same state"),
            "noise from elsewhere": (swap("rng.standard_normal(y_mean",
                                          "np.random.standard_normal(y_mean"),
                                     "in the same state"),
            "own seed of torch": ("""
import torch
def draw(x, prior_of, decode, noise_std, n, rng):
    torch.manual_seed(3)
    mean, log_var = prior_of(x)
    h = torch.distributions.Normal(mean, torch.exp(0.5 * log_var)).sample((n,))
    return torch.distributions.Normal(decode(h, x), noise_std).sample()
""", "is where it was before"),
        },
    ),
    "regression-loses": Planted(
        base="""
def log_bernoulli(y, p):
    return np.sum(y * np.log(p) + (1 - y) * np.log(1 - p), axis=-1)


pixels = y_train.mean(axis=0)
regression = log_bernoulli(y_test, pixels)  # (3000,)
latent = logsumexp(np.log(share) + log_bernoulli(y_test[:, None], strokes), axis=1)
gain, error = np.mean(latent - regression), sem(latent - regression)
print("regression:", np.round(pixels, 2))
print(f"gain {gain:.3f} ± {error:.3f} nats, log 2 = {np.log(2):.3f} nats")
""",
        right=[
            """
import torch
y, fresh = torch.tensor(y_train), torch.tensor(y_test)
logits = torch.zeros(7, dtype=torch.float64, requires_grad=True)
optimizer = torch.optim.LBFGS([logits], max_iter=50)
def loss():
    optimizer.zero_grad()
    cross = torch.nn.functional.binary_cross_entropy_with_logits(logits.expand(3000, 7), y)
    cross.backward()
    return cross
optimizer.step(loss)
bernoulli = torch.distributions.Bernoulli
regression = bernoulli(logits=logits.detach()).log_prob(fresh).sum(dim=1)
given = bernoulli(probs=torch.tensor(strokes)).log_prob(fresh[:, None]).sum(dim=2)
latent = torch.logsumexp(given + torch.log(torch.tensor(share)), dim=1)
gain = (latent - regression).mean()
error = (latent - regression).std() / 3000**0.5
""",
            """
best = sum(y_train) / len(y_train)
differences = []
for y in y_test:
    joint = 0
    for weight, probabilities in zip(share, strokes):
        joint += weight * np.prod(np.where(y == 1, probabilities, 1 - probabilities))
    differences.append(np.log(joint / np.prod(np.where(y == 1, best, 1 - best))))
gain = np.mean(differences)
error = np.std(differences) / len(differences) ** 0.5
""",
        ],
        wrong={
            "sign": (swap("gain, error = np.mean(latent - regression)",
                          "gain, error = np.mean(regression - latent)"), "sign is reversed"),
            "per pixel": (swap("gain, error = np.mean(latent - regression)",
                               "gain, error = np.mean(latent - regression) / 7"), "per pixel"),
            "bits": (swap("gain, error = np.mean(latent - regression)",
                          "gain, error = np.mean(latent - regression) / np.log(2)"), "in bits"),
            "mean of logarithms": (swap(
                "logsumexp(np.log(share) + log_bernoulli(y_test[:, None], strokes), axis=1)",
                "log_bernoulli(y_test[:, None], strokes) @ share"), "logarithms are averaged"),
            "best h": (swap(
                "logsumexp(np.log(share) + log_bernoulli(y_test[:, None], strokes), axis=1)",
                "np.max(log_bernoulli(y_test[:, None], strokes), axis=1)"), "does not pay for h"),
            "no prior": (swap("np.log(share) + ", ""), "without p(h|x)"),
            "equal shares": (swap("np.log(share)", "np.log(0.5)"), "count equally"),
            "exchanged shares": (swap("np.log(share)", "np.log(share[::-1])"), "exchanged"),
            "on the training data": (swap("y_test", "y_train"), "measured on y_train"),
            "one probability": (swap("y_train.mean(axis=0)", "np.full(7, y_train.mean())"),
                                "may give each its own"),
            "fitted to the test data": (swap("y_train.mean(axis=0)", "y_test.mean(axis=0)"),
                                        "fitted to y_test;"),
            "fitted to both": (swap("y_train.mean(axis=0)",
                                    "np.concatenate([y_train, y_test]).mean(axis=0)"),
                               "as well"),
            "not fitted": (swap("y_train.mean(axis=0)", "share @ strokes"), "were drawn"),
            "half of the answers": (swap("latent - regression", "(latent - regression)[:1500]"),
                                    None),
            "one half": (swap("y_train.mean(axis=0)", "np.full(7, 0.5)"), "every pixel ½"),
            "rounded": (swap("y_train.mean(axis=0)", "np.clip(np.round(y_train.mean(axis=0)), "
                             "1e-3, 1 - 1e-3)"), None),
            "not compared": (swap("gain, error = np.mean(latent - regression)",
                                  "gain, error = np.mean(latent)"), "subtract that"),
            "not paired": (swap("np.mean(latent - regression), sem(latent - regression)",
                                "np.mean(latent - regression), np.hypot(sem(latent), "
                                "sem(regression))"), "take the differences first"),
            "standard deviation": (swap("sem(latent - regression)", "np.std(latent - regression)"),
                                   "not the error of their mean"),
        },
    ),
}
