from planted import Planted, swap

PLANTED = {
    "three-curves": Planted(
        base="""
verdict = ["memorises", "still learning", "different constants"]
stop = steps[held_out.argmin(axis=1)]
offset = 784 / 2 * math.log(2 * math.pi)
""",
        right=[
            """
verdict = ("memorises", "still learning", "different constants")
stop = [min(zip(curve, steps))[1] for curve in held_out]
offset = -784 * torch.distributions.Normal(0.0, 1.0).log_prob(torch.zeros(1)).double()
""",
            """
verdict = ["memorises"] + ["still learning"] + ["different constants"]
stop = torch.tensor(steps)[torch.tensor(held_out).argmin(dim=1)]
offset = 392 * np.log(2 * np.pi)
""",
        ],
        wrong={
            "training": (swap("held_out.argmin", "training.argmin"), "lowest training loss"),
            "indices": (swap("steps[held_out.argmin(axis=1)]", "held_out.argmin(axis=1)"),
                        "indices"),
            "distance": (swap("held_out.argmin", "np.abs(held_out - training).argmin"),
                         "smallest distance"),
            "to the end": (swap("steps[held_out.argmin(axis=1)]", "[4000, 4000, 4000]"),
                           "lowest training loss"),
            "read off": (swap("784 / 2 * math.log(2 * math.pi)",
                              "(held_out - training)[2].mean()"), "usual gap"),
            "one pixel": (swap("784 / 2", "1 / 2"), "one pixel"),
            "no half": (swap("784 / 2", "784"), "½ is missing"),
            "sign": (swap("784 / 2", "-784 / 2"), "sign is reversed"),
            "bits": (swap("math.log(2 * math.pi)", "math.log2(2 * math.pi)"), "in bits"),
            "C memorises": (swap('"different constants"', '"memorises"'), "at run C"),
            "A and B": (swap('"memorises", "still learning"', '"still learning", "memorises"'),
                        "at run A, B"),
            "no name": (swap('"memorises"', '"overfits"'), "must be one of"),
            "two": (swap('"memorises", ', ""), "3 names"),
        },
    ),
    "best-decoder-variance": Planted(
        base="""
def best_variance(x, mean):
    num_pixels = x.shape[1] * x.shape[2]
    variance = np.mean((x - mean) ** 2)
    gain = 0.5 * num_pixels * (variance - 1 - np.log(variance))
    return variance, gain
""",
        right=[
            """
from scipy.stats import norm
def best_variance(x, mean):
    total = 0.0
    for image, decoded in zip(x, mean):
        total += np.sum((image - decoded) ** 2)
    variance = total / x.size
    better = norm.logpdf(x, mean, np.sqrt(variance)).sum() - norm.logpdf(x, mean, 1).sum()
    return variance, better / len(x)
""",
            """
def best_variance(x, mean):
    squares = (x.float() - mean.float()).flatten(1).square().sum(dim=1)
    d = x[0].numel()
    variance = squares.mean() / d
    return variance, squares.mean() / 2 - d / 2 - d / 2 * torch.log(variance)
""",
        ],
        wrong={
            "σ": (swap("return variance", "return np.sqrt(variance)"), "This is σ"),
            "image": (swap("variance = np.mean((x - mean) ** 2)",
                           "variance = np.mean(np.sum((x - mean) ** 2, axis=(1, 2)))"),
                      "squared error of an image"),
            "sum": (swap("np.mean", "np.sum"), "squared error of all images"),
            "about the mean": (swap("np.mean((x - mean) ** 2)", "np.var(x - mean)"),
                               "about their mean"),
            "each image": (swap("np.mean((x - mean) ** 2)",
                                "np.mean((x - mean) ** 2, axis=(1, 2))"), "for each image"),
            "gain of a pixel": (swap("num_pixels * (", "("), "gain of one pixel"),
            "gain of all": (swap("0.5 * num_pixels", "0.5 * x.size"), "gain of all images"),
            "logarithm alone": (swap("variance - 1 - np.log(variance)", "-np.log(variance)"),
                                "errors cost more is missing"),
            "no half": (swap("0.5 * num", "num"), "½ is missing"),
            "log σ": (swap("np.log(variance)", "np.log(np.sqrt(variance))"), "log σ where"),
            "no minus one": (swap(" - 1", ""), "½ for each pixel"),
            "bits": (swap("return variance, gain", "return variance, gain / np.log(2)"), "bits"),
        },
    ),
    "gradient-paths": Planted(
        base="""
gradients = []
for program in (program_a, program_b, program_c, program_d):
    at = [torch.tensor(value, dtype=torch.float64, requires_grad=True)
          for value in (mean_value, log_var_value)]
    found = torch.autograd.grad(program(*at), at, allow_unused=True)
    gradients.append([float(value) for value in found])
gradients = np.array(gradients)
verdict = ["the KL alone", "both terms", "sigma by the KL alone", "the likelihood alone"]
""",
        right=[
            """
mean = torch.nn.Parameter(torch.tensor(mean_value).double())
log_var = torch.nn.Parameter(torch.tensor(log_var_value).double())
gradients = torch.zeros(4, 2, dtype=torch.float64)
for i, program in enumerate([program_a, program_b, program_c, program_d]):
    mean.grad = log_var.grad = None
    program(mean, log_var).backward()
    gradients[i, 0], gradients[i, 1] = mean.grad, log_var.grad
verdict = ("the KL alone", "both terms", "sigma by the KL alone", "the likelihood alone")
""",
            """
e, s = noise.numpy(), math.exp(log_var_value / 2)
pull = -2 * (x - 2 * (mean_value + s * e))
likelihood = pull.mean(), (pull * s * e / 2).mean()
kl = mean_value, (s**2 - 1) / 2
both = likelihood[0] + kl[0], likelihood[1] + kl[1]
gradients = [kl, both, (both[0], kl[1]), likelihood]
verdict = ["the KL alone", "both terms", "sigma by the KL alone", "the likelihood alone"]
""",
        ],
        wrong={
            "finite differences": (
                """
def value(program, m, v):
    return program(torch.tensor(m), torch.tensor(v)).item()
gradients = [[(value(p, mean_value + 1e-5, log_var_value)
               - value(p, mean_value - 1e-5, log_var_value)) / 2e-5,
              (value(p, mean_value, log_var_value + 1e-5)
               - value(p, mean_value, log_var_value - 1e-5)) / 2e-5]
             for p in (lambda m, v: program_b(m.double(), v.double()),) * 4]
verdict = ["both terms"] * 4
""", None),
            "all the same": (swap("program(*at), at", "program_b(*at), at"),
                             "same for all programs"),
            "sign": (swap("program(*at), at", "-program(*at), at"), "sign is reversed"),
            "summed": (swap("program(*at), at", "200 * program(*at), at"), "summed over the noise"),
            "columns": (swap("np.array(gradients)", "np.array(gradients)[:, ::-1]"), "exchanged"),
            "rows": (swap("(program_a, program_b, program_c, program_d)",
                          "(program_d, program_c, program_b, program_a)"), "reverse order"),
            "added up": (swap("np.array(gradients)", "np.cumsum(gradients, axis=0)"),
                         "clear them"),
            "transposed": (swap("np.array(gradients)", "np.array(gradients).T"), "transposed"),
            "A and D": (swap('"the KL alone", "both', '"the likelihood alone", "both'),
                        "verdict on A"),
            "C": (swap("sigma by the KL alone", "both terms"), "verdict on C"),
            "no name": (swap("both terms", "both"), "must be one of"),
            "three": (swap('"both terms", ', ""), "4 names"),
        },
    ),
    "held-out-evaluation": Planted(
        base="""
@torch.no_grad()
def held_out(model, images, batch_size):
    was_training = model.training
    model.eval()
    losses = []
    for batch in torch.split(images, batch_size):
        log_likelihood, kl = model(batch)
        losses.append(kl - log_likelihood)
    model.train(was_training)
    losses = torch.cat(losses)  # (n,)
    return losses.mean().item(), losses.std().item() / math.sqrt(len(losses))
""",
        right=[
            """
def held_out(model, images, batch_size):
    mode, total, squares, start = model.training, 0.0, 0.0, 0
    model.train(False)
    with torch.inference_mode():
        while start < len(images):
            log_likelihood, kl = model(images[start:start + batch_size])
            for value in (kl - log_likelihood).tolist():
                total, squares = total + value, squares + value**2
            start += batch_size
    if mode:
        model.train()
    n = len(images)
    return total / n, ((squares / n - (total / n) ** 2) / (n - 1)) ** 0.5
""",
            """
from scipy.stats import sem
def held_out(model, images, batch_size):
    training = model.training
    loader = torch.utils.data.DataLoader(images, batch_size=batch_size)
    model.eval()
    with torch.no_grad():
        terms = [torch.stack(model(batch)) for batch in loader]
    model.train(training)
    log_likelihood, kl = torch.cat(terms, dim=1).numpy()
    return np.mean(kl - log_likelihood), sem(kl - log_likelihood)
""",
        ],
        wrong={
            "average of averages": (swap("losses.append(kl - log_likelihood)",
                                         "losses.append((kl - log_likelihood).mean()[None])"),
                                    "average of the batches' averages"),
            "last batch": (swap("    losses = torch.cat(losses)",
                                "    losses = kl - log_likelihood"), "last batch alone"),
            "last batch dropped": (swap("torch.split(images, batch_size)",
                                        "images[:len(images) // batch_size * batch_size]"
                                        ".split(batch_size)"), "smaller batch are missing"),
            "training mode": (swap("    model.eval()\n", ""), "in training mode"),
            "mode not restored": (swap("    model.train(was_training)\n", ""), "left in the other"),
            "always train": (swap("model.train(was_training)", "model.train()"),
                             "left in the other"),
            "gradients": (swap("@torch.no_grad()\n", ""), "gradients are recorded"),
            "standard deviation": (swap(" / math.sqrt(len(losses))", ""), "divide it by √n"),
            "over n": (swap("math.sqrt(len(losses))", "len(losses)"), "varies with √n"),
            "n for n − 1": (swap("losses.std()", "losses.std(correction=0)"), "use n − 1"),
            "batch size": (swap("math.sqrt(len(losses))", "math.sqrt(batch_size)"),
                           "root of the batch size"),
            "ELBO": (swap("losses.mean()", "-losses.mean()"), "average ELBO"),
            "KL subtracted": (swap("kl - log_likelihood", "-log_likelihood - kl"),
                              "KL has the wrong sign"),
            "gradients stay off": (swap("@torch.no_grad()\n", "",
                                        "    model.eval()\n",
                                        "    model.eval()\n    torch.set_grad_enabled(False)\n"),
                                   "switched off"),
            "all at once": (swap("torch.split(images, batch_size)", "[images]"),
                            "images at once"),
        },
    ),
    "elbo-at-the-mean": Planted(
        base="""
gap = elbo(torch.randn(n, k, generator=generator)) - log_evidence
at_mean = (elbo(torch.zeros(n, k)) - log_evidence).mean().item()

prediction = "above"
measured = (gap.mean().item(), gap.std().item() / math.sqrt(n), at_mean)
plt.figure(figsize=(5, 2.8))
plt.hist(gap.numpy(), bins=60, range=(-8, 4), color="C0", label="sampled noise")
plt.axvline(at_mean, color="C1", label="zero noise")
plt.xlabel("ELBO − log p(x) (nats)")
plt.ylabel("examples")
plt.legend()
plt.show()
""",
        right=[
            """
rng = np.random.default_rng(5)
differences = []
for noise in (rng.standard_normal((n, k)), np.zeros((n, k))):
    differences.append((elbo(torch.tensor(noise).float()) - log_evidence).numpy())
prediction = "above"
measured = [differences[0].mean(), differences[0].std() / n**0.5, differences[1].mean()]
""",
            """
import scipy.stats
torch.manual_seed(3)
prediction = "above"
with_noise = elbo(torch.randn(n, k)) - log_evidence
measured = (with_noise.mean(), scipy.stats.sem(with_noise.numpy()),
            torch.mean(elbo(torch.zeros(1, k)) - log_evidence))
""",
        ],
        wrong={
            "below": (swap('"above"', '"below"'), "does not lie below"),
            "at": (swap('"above"', '"at"'), "does not lie at"),
            "no prediction": (swap('"above"', '"higher"'), "prediction must be one of"),
            "sign": (swap("elbo(torch.zeros(n, k)) - log_evidence",
                          "log_evidence - elbo(torch.zeros(n, k))"), "sign is reversed"),
            "order": (swap("gap.mean().item(), gap.std().item() / math.sqrt(n), at_mean",
                           "at_mean, gap.std().item() / math.sqrt(n), gap.mean().item()"),
                      "the order is"),
            "standard deviation": (swap(" / math.sqrt(n)", ""), "not right"),
            "over n": (swap("math.sqrt(n)", "n"), "not right"),
            "variance": (swap("gap.std()", "gap.var()"), "not right"),
            "ones": (swap("torch.zeros(n, k)", "torch.ones(n, k)"), None),
            "uniform noise": (swap("torch.randn(n, k", "torch.rand(n, k"), None),
            "two numbers": (swap(", at_mean)", ")"), "three numbers"),
        },
    ),
}
