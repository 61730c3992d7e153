from planted import Planted, swap

PLANTED = {
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
    "pulled-spring": Planted(
        base="""
def costs(x, stiffness, temperature, noise_std):
    spread = temperature / stiffness
    variance = spread + noise_std**2
    ratio = variance / spread
    return np.array([(x / stiffness) ** 2 / (2 * variance), 0.0,
                     (ratio - 1 - np.log(ratio)) / 2])


unnoticed = "c"
""",
        right=[
            """
import torch
def costs(x, stiffness, temperature, noise_std):
    normal, kl = torch.distributions.Normal, torch.distributions.kl_divergence
    h_var = torch.tensor(temperature / stiffness, dtype=torch.float64)
    y_std = torch.sqrt(h_var + noise_std**2)
    truth = normal(x / stiffness, y_std)
    return torch.stack([kl(truth, normal(0 * y_std, y_std)), kl(truth, truth),
                        kl(truth, normal(x / stiffness, h_var.sqrt()))])
unnoticed = " C"
""",
            """
def costs(x, stiffness, temperature, noise_std):
    def kl(m, v, n, w):
        return 0.5 * (v / w + (m - n) ** 2 / w - 1 + np.log(w / v))
    m, v = x / stiffness, temperature / stiffness
    return [kl(m, v + noise_std**2, *q) for q in
            [(0, v + noise_std**2), (m, v + noise_std**2), (m, v)]]
unnoticed = "c"
""",
        ],
        wrong={
            "no half": (swap("(2 * variance)", "variance", "np.log(ratio)) / 2", "np.log(ratio))"),
                        "½ is missing"),
            "reversed": (swap("ratio = variance / spread", "ratio = spread / variance"),
                         "reversed"),
            "by x": (swap("(x / stiffness)", "x"), "by x/κ"),
            "no noise": (swap("spread + noise_std**2", "spread"), "noise of the camera"),
            "c has the noise": (swap("(ratio - 1 - np.log(ratio)) / 2", "0.0"),
                                "program c does not add"),
            "variance of h": (swap("(2 * variance)", "(2 * spread)"), "variance of h; y has"),
            "sigma": (swap("noise_std**2", "noise_std"), "σ where σ²"),
            "no mean": (swap("(x / stiffness) ** 2 / (2 * variance)", "0.0"), "wrong mean"),
            "sign": (swap("np.array([", "-np.array(["), "A divergence is not negative"),
            "bits": (swap("return np.array(", "return 1 / np.log(2) * np.array("), "bits"),
            "backwards": (swap("np.log(ratio)) / 2])", "np.log(ratio)) / 2])[::-1]"),
                          "return a first"),
            "h is std": (swap("temperature / stiffness", "(temperature / stiffness) ** 0.5"),
                         None),
            "a": (swap('"c"', '"a"'), "another mean"),
            "b": (swap('"c"', '"b"'), "no mistake to notice"),
            "d": (swap('"c"', '"d"'), "must be"),
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
reason = "dependence"
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
reason = "Dependence "
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
reason = "dependence"
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
            "pixels": (swap('"dependence"', '"pixels"'), "each single pixel"),
            "noise": (swap('"dependence"', '"test noise"'), "ten of its"),
            "no reason": (swap('"dependence"', '"because"'), "must be"),
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
