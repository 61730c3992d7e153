from planted import Planted, swap

PLANTED = {
    "elbo-terms-log-sigma": Planted(
        base="""
def elbo_terms(encoder, decoder, x, noise):
    mean, log_std = encoder(x)
    h = mean + torch.exp(log_std) * noise
    squares = ((x - decoder(h)) ** 2).sum(dim=(1, 2))
    num_pixels = x.shape[1] * x.shape[2]
    log_likelihood = -0.5 * squares - 0.5 * num_pixels * math.log(2 * math.pi)
    kl = (0.5 * (mean**2 + torch.exp(2 * log_std) - 1) - log_std).sum(dim=-1)
    return log_likelihood, kl
""",
        right=[
            """
def elbo_terms(encoder, decoder, x, noise):
    mean, log_std = encoder(x)
    q = torch.distributions.Normal(mean, torch.exp(log_std))
    p = torch.distributions.Normal(decoder(q.mean + q.stddev * noise), 1.0)
    prior = torch.distributions.Normal(0.0, 1.0)
    kl = torch.distributions.kl_divergence(q, prior)
    return p.log_prob(x).sum(dim=(-2, -1)), kl.sum(dim=-1)
""",
            """
def elbo_terms(encoder, decoder, x, noise):
    mean, log_std = (head.float() for head in encoder(x))
    log_var = 2 * log_std
    h = mean + torch.exp(log_var / 2) * noise.float()
    difference = (x - decoder(h.double())).flatten(1)
    kl = 0
    for j in range(mean.shape[1]):
        kl = kl + (mean[:, j] ** 2 + log_var[:, j].exp() - log_var[:, j] - 1) / 2
    constant = math.log(2 * math.pi) / 2
    return -(difference**2 / 2 + constant).sum(dim=1), kl
""",
            swap("return log_likelihood, kl", "return tuple(log_likelihood), tuple(kl)"),
        ],
        wrong={
            "width in the sample": (swap("torch.exp(log_std) * noise",
                                         "torch.exp(log_std / 2) * noise"), "log σ for log σ²"),
            "KL of log_var": (swap("torch.exp(2 * log_std) - 1) - log_std",
                                   "torch.exp(log_std) - log_std - 1)"), "in both places"),
            "σ for σ²": (swap("torch.exp(2 * log_std)", "torch.exp(log_std)"),
                         "σ where σ² belongs"),
            "half of log σ": (swap(" - log_std)", " - log_std / 2)"), "log σ where log σ² belongs"),
            "no constant": (swap(" - 0.5 * num_pixels * math.log(2 * math.pi)", ""),
                            "constant is missing"),
            "constant of one pixel": (swap("num_pixels * math", "math"), "that of one pixel"),
            "mean over pixels": (swap(".sum(dim=(1, 2))", ".mean(dim=(1, 2))"),
                                 "averaged over the pixels"),
            "sum over examples": (swap(".sum(dim=(1, 2))", ".sum()"), None),
            "KL averaged": (swap(".sum(dim=-1)", ".mean(dim=-1)"), "mean over the latent"),
            "no noise": (swap(" + torch.exp(log_std) * noise", ""), "noise is not used"),
            "shifted": (swap("encoder(x)", "encoder(x - 0.5)", "((x -", "((x - 0.5 -"),
                        "shifted by ½ once more"),
            "detached sample": (swap("h = mean + torch.exp(log_std) * noise",
                                     "h = (mean + torch.exp(log_std) * noise).detach()"),
                                "no gradient of log p(x|h) reaches the encoder's mean"),
            "sample, not rsample": (
                swap("h = mean + torch.exp(log_std) * noise",
                     "h = mean + torch.exp(log_std).detach() * noise"),
                "no gradient of log p(x|h) reaches the encoder's log σ"),
            "no_grad": (
                """
@torch.no_grad()
def elbo_terms(encoder, decoder, x, noise):
    mean, log_std = encoder(x)
    p = torch.distributions.Normal(decoder(mean + torch.exp(log_std) * noise), 1.0)
    kl = (0.5 * (mean**2 + torch.exp(2 * log_std) - 1) - log_std).sum(dim=-1)
    return p.log_prob(x).sum(dim=(1, 2)), kl
""", "under no_grad"),
            "NumPy": (swap("return log_likelihood, kl",
                           "return log_likelihood.detach().numpy(), kl.detach().numpy()"),
                      "not torch tensors"),
            "lists of numbers": (swap("return log_likelihood, kl",
                                      "return log_likelihood.tolist(), kl.tolist()"),
                                 "not torch tensors"),
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
    "torch-train-step": Planted(
        base="""
def train_step(model, optimizer, x):
    model.train()
    log_likelihood, kl = model(x)
    loss = (kl - log_likelihood).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()
""",
        right=[
            """
def train_step(model, optimizer, x):
    model.train(True)
    for parameter in model.parameters():
        parameter.grad = None
    terms = model(x)
    elbo = (terms[0] - terms[1]).sum() / len(x)
    (-elbo).backward()
    optimizer.step()
    return -float(elbo)
""",
            """
def train_step(model, optimizer, x):
    model.train()

    def closure():
        optimizer.zero_grad(set_to_none=False)
        log_likelihood, kl = model(x)
        loss = torch.mean(kl) - torch.mean(log_likelihood)
        loss.backward()
        return loss

    return optimizer.step(closure).detach().cpu().numpy().item()
""",
        ],
        wrong={
            "zero_grad forgotten": (swap("    optimizer.zero_grad()\n", ""), "earlier step"),
            "zero_grad too late": (swap("    optimizer.zero_grad()\n", "",
                                        "    optimizer.step()\n",
                                        "    optimizer.zero_grad()\n    optimizer.step()\n"),
                                   "have not changed"),
            "ELBO minimised": (swap("kl - log_likelihood", "log_likelihood - kl"),
                               "This is the ELBO"),
            "right loss, wrong step": (swap("loss.backward()", "(-loss).backward()"),
                                       "up the loss"),
            "KL subtracted": (swap("kl - log_likelihood", "-log_likelihood - kl"),
                              "KL has the wrong sign"),
            "sum": (swap(").mean()", ").sum()"), "sum over the batch"),
            "no step": (swap("    optimizer.step()\n", ""), "no step was made"),
            "step before backward": (
                swap("    optimizer.zero_grad()\n", "", "    loss.backward()\n", "",
                     "    optimizer.step()\n", "    optimizer.step()\n    loss.backward()\n"),
                "before `step`"),
            "evaluation mode": (swap("    model.train()\n", ""), "evaluation mode"),
            "graph returned": (swap("loss.item()", "loss"), "graph"),
            "a tensor returned": (swap("loss.item()", "loss.detach()"), "Python float"),
            "rate of its own": (swap("    optimizer.step()\n",
                                     "    with torch.no_grad():\n"
                                     "        for p in model.parameters():\n"
                                     "            p -= 0.05 * p.grad\n"), "not right"),
            "nothing returned": (swap("    return loss.item()", "    loss.item()"), "None"),
            "loss afterwards": (
                swap("return loss.item()",
                     "return (model(x)[1] - model(x)[0]).mean().item()"), "after the step"),
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
