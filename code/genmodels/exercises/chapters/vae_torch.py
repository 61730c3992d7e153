"""Tests of the answers in the chapter on the VAE in PyTorch."""

import numbers

import numpy as np
from scipy.optimize import minimize_scalar

from genmodels.exact import gaussian
from genmodels.exercises.compare import ask, compare, need, number, parts, show
from genmodels.exercises.registry import exercise

__all__ = ["best_decoder_variance", "elbo_at_the_mean", "elbo_terms_log_sigma",
           "held_out_evaluation", "torch_train_step"]


def ask_tensors(answer, **inputs):
    """Return the result of an answer as it came, and as NumPy arrays."""
    need(callable(answer), "a function is needed here.")
    held = []

    def call(*arguments):
        held.append(answer(*arguments))
        return held[-1]

    call.__name__ = getattr(answer, "__name__", "your function")
    values = ask(call, **inputs)
    return held[-1], values


def normal_log_density(x, mean, std):
    """Return the log density of each image under independent pixels, from SciPy."""
    from scipy import stats
    return stats.norm.logpdf(x, mean, std).sum(axis=(1, 2))


@exercise(
    "elbo-terms-log-sigma", kind="build", difficulty=3, minutes=25,
    identities=("N1", "K3", "G5"),
    right="Both conventions are common in published programs. A weight file from one is wrong in "
          "the other, and no shape betrays it.")
def elbo_terms_log_sigma(answer):
    rng = np.random.default_rng(0)
    for n, height, width, k in ((4, 3, 5, 2), (1, 4, 4, 3)):
        compare_terms(answer, rng, n, height, width, k)


def compare_terms(answer, rng, n, height, width, k):
    import torch
    x, noise = torch.tensor(rng.normal(size=(n, height, width))), torch.tensor(
        rng.normal(size=(n, k)))
    to_mean, to_log_std, to_pixels = (
        torch.tensor(rng.normal(scale=0.2, size=shape), requires_grad=True)
        for shape in [(height * width, k), (height * width, k), (k, height * width)])

    def encoder(x):
        return x.flatten(1) @ to_mean, x.flatten(1) @ to_log_std - 0.4

    def decoder(h):
        return torch.tanh(3 * h @ to_pixels).reshape(-1, height, width)

    def likelihood_at(h, x=x):
        return normal_log_density(x.numpy(), decoder(h).detach().numpy(), 1)

    mean, log_std = encoder(x)
    shifted = x - 0.5
    q = torch.distributions.Normal(mean, log_std.exp())
    h = q.mean + q.stddev * noise
    likelihood = likelihood_at(h)
    m, s = mean.detach().numpy(), log_std.detach().numpy()
    kl = np.array([gaussian.kl_divergence(a, np.diag(np.exp(2 * b)), np.zeros(k), np.eye(k))
                   for a, b in zip(m, s)])
    raw, got = ask_tensors(answer, encoder=encoder, decoder=decoder, x=x, noise=noise)
    got = parts(got, "the log-likelihood", "the KL")
    tested = f"n = {n}, {height} × {width} pixels, k = {k}"
    constant = 0.5 * np.log(2 * np.pi)
    d = height * width
    shifted_mean, shifted_log_std = encoder(shifted)
    compare(got[0], likelihood, what="log p(x|h), nats", tested=tested, mistakes={
        "The constant is missing: each pixel has its normalisation.": likelihood + d * constant,
        "The constant is that of one pixel; each pixel has it.": likelihood + (d - 1) * constant,
        "The constant has the wrong sign.": likelihood + 2 * d * constant,
        "The constant is twice too large: a ½ is missing in it.": likelihood - d * constant,
        "A factor ½ is missing in the squared error.": 2 * likelihood + d * constant,
        "This is the mean over the pixels; the logarithm of a product is their sum.":
            likelihood / d,
        "The squared error is averaged over the pixels; it is their sum.":
            (likelihood + d * constant) / d - d * constant,
        "The sign is reversed: this is −log p(x|h).": -likelihood,
        "This is the sum over the examples: return one number for each.": likelihood.sum(),
        "This is the mean over the examples: return one number for each.": likelihood.mean(),
        "The sample takes log σ for log σ²: its width came out as √σ.":
            likelihood_at(mean + torch.exp(log_std / 2) * noise),
        "The noise is multiplied by σ²; it must be multiplied by σ.":
            likelihood_at(mean + torch.exp(2 * log_std) * noise),
        "The noise is multiplied by log σ: the exponential is missing.":
            likelihood_at(mean + log_std * noise),
        "The decoder gets the mean of Q, not a sample: the noise is not used.": likelihood_at(mean),
        "The decoder gets μ + ε: the noise is not scaled.": likelihood_at(mean + noise),
        "The decoder gets σ ε: the mean is missing.": likelihood_at(torch.exp(log_std) * noise),
        "The pixels are shifted by ½ once more; x is already in the range of the networks.":
            likelihood_at(shifted_mean + shifted_log_std.exp() * noise, shifted),
    })
    compare(got[1], kl, what="the KL, nats", tested=tested, mistakes={
        "It takes log σ for log σ² in both places.":
            0.5 * (m**2 + np.exp(s) - s - 1).sum(axis=1),
        "It has σ where σ² belongs.": 0.5 * (m**2 + np.exp(s) - 2 * s - 1).sum(axis=1),
        "It has log σ where log σ² belongs.":
            0.5 * (m**2 + np.exp(2 * s) - s - 1).sum(axis=1),
        "A factor ½ is missing.": 2 * kl,
        "The sign is reversed.": -kl,
        "This is the mean over the latent dimensions; the KL sums over them.": kl / k,
        "This is the sum over the examples: return one number for each.": kl.sum(),
        "This is the mean over the examples: return one number for each.": kl.mean(),
        "This is D[prior‖Q]: the two are exchanged.":
            0.5 * ((1 + m**2) * np.exp(-2 * s) + 2 * s - 1).sum(axis=1),
    })

    def as_tensor(part):
        if not isinstance(part, list | tuple):
            return part
        rows = [as_tensor(row) for row in part]
        return torch.stack(rows) if all(torch.is_tensor(row) for row in rows) else part

    raw = [as_tensor(part) for part in raw]
    need(all(isinstance(part, torch.Tensor) for part in raw),
         "the values are right, but not torch tensors: no gradient can be taken of them.")
    reference = (torch.distributions.Normal(decoder(h), 1.0).log_prob(x).sum(),
                 torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum())
    parameters = {"the encoder's mean": to_mean, "the encoder's log σ": to_log_std,
                  "the decoder": to_pixels}
    for term, mine, theirs in zip(("log p(x|h)", "the KL"), raw, reference):
        for name, parameter in parameters.items():
            (right,) = torch.autograd.grad(theirs, [parameter], retain_graph=True,
                                           allow_unused=True)
            if right is None:  # the KL does not depend on the decoder
                continue
            found = None
            if mine.requires_grad:
                (found,) = torch.autograd.grad(mine.sum(), [parameter], retain_graph=True,
                                               allow_unused=True)
            need(found is not None, f"the values are right, but no gradient of {term} reaches "
                 f"{name}. Is something detached on the way, or computed under no_grad?")
            compare(found, right, what=f"the gradient of {term} with respect to {name}",
                    tested=tested)


@exercise(
    "best-decoder-variance", kind="derive", difficulty=2, minutes=15, identities=("N1",),
    right="Try it on the chapter's reconstructions, and compare the gain with the differences "
          "between networks. Never compare −ELBO figures of decoders with different σ.")
def best_decoder_variance(answer):
    rng = np.random.default_rng(1)
    for n, height, width, scale, offset in [(4, 3, 5, 0.15, 0.1), (3, 3, 5, 1.6, -0.5),
                                            (1, 4, 2, 0.6, 0.0), (5, 2, 2, 3.0, 1.0)]:
        mean = rng.normal(size=(n, height, width))
        x = mean + offset + scale * rng.normal(size=mean.shape)
        errors, d = x - mean, height * width

        def cost(log_var, x=x, mean=mean):
            return -normal_log_density(x, mean, np.exp(log_var / 2)).mean()

        found = minimize_scalar(cost, bracket=(-4, 2), options={"xtol": 1e-10})
        variance, gain = np.exp(found.x), cost(0.0) - found.fun
        tested = (f"{n} images of {height} × {width} pixels with errors of about "
                  f"{np.hypot(scale, offset):.1f}")
        got = parts(ask(answer, x=x, mean=mean), "the variance", "the gain")
        compare(got[0], variance, what="the variance", tested=tested, mistakes={
            "This is σ; the variance σ² is asked for.": np.sqrt(variance),
            "This is the squared error of an image; each of its pixels has a share.": d * variance,
            "This is the squared error of all images; divide it by the number of all pixels.":
                n * d * variance,
            "This is the squared error summed over the images; each of them has a share.":
                n * variance,
            "This is the variance of the errors about their mean; an offset of all pixels is an "
            "error, too.": np.var(errors),
            "This is one variance for each image; all of them share one.":
                np.mean(errors**2, axis=(1, 2)),
            "This is one variance for each pixel; all of them share one.":
                np.mean(errors**2, axis=0),
            "This is the mean absolute error; a Gaussian asks for the squares.":
                np.mean(np.abs(errors)),
            "This is the square of the mean absolute error; average the squares.":
                np.mean(np.abs(errors)) ** 2,
            "This is the inverse of the variance.": 1 / variance,
            "This is half of the variance.": variance / 2,
        })
        compare(got[1], gain, what="the gain, nats per image", tested=tested, mistakes={
            "This is the gain of one pixel; an image has many.": gain / d,
            "This is the gain of all images; it is asked for one.": n * gain,
            "The sign is reversed: the best variance cannot lose.": -gain,
            "A factor ½ is missing.": 2 * gain,
            "This is in bits: use the natural logarithm.": gain / np.log(2),
            "This is what the narrower density gains; that the errors cost more is missing.":
                -0.5 * d * np.log(variance),
            "This is the change of the squares' cost; that of the normalisation is missing.":
                0.5 * d * (variance - 1),
            "The sign of the squares' share is reversed.":
                0.5 * d * (1 - variance - np.log(variance)),
            "This has log σ where log σ² belongs.":
                0.5 * d * (variance - 1 - 0.5 * np.log(variance)),
            "The errors at the best σ² still cost something: ½ for each pixel.":
                0.5 * d * (variance - np.log(variance)),
            "This is the log-likelihood at the best σ²; subtract that at σ = 1.": -found.fun,
        })


def batch_model():
    """Return a model of two parameters whose loss and gradient are known in closed form."""
    import torch

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.w = torch.nn.Parameter(torch.tensor([0.4, -1.2], dtype=torch.float64))
            self.modes = []

        def forward(self, x):
            self.modes.append(self.training)
            squares = ((x - self.w[0]) ** 2).sum(dim=-1)  # (n,)
            return -0.5 * squares, 0.5 * ((self.w[1] * x) ** 2).sum(dim=-1)

    return Model()


@exercise(
    "torch-train-step", kind="build", difficulty=2, minutes=15, identities=("G2",),
    right="The check uses plain gradient descent, where each mistake shows at once. With Adam a "
          "sum for the mean, and even stale gradients, may still seem to train.")
def torch_train_step(answer):
    import torch

    class Descent:  # plain gradient descent; the first use of torch.optim takes seconds
        def __init__(self, parameters, rate):
            self.param_groups = [{"params": list(parameters), "lr": rate}]

        def zero_grad(self, set_to_none=True):
            for parameter in self.param_groups[0]["params"]:
                parameter.grad = None

        def step(self, closure=None):
            with torch.enable_grad():
                loss = closure() if closure else None
            with torch.no_grad():
                for parameter in self.param_groups[0]["params"]:
                    if parameter.grad is not None:
                        parameter -= self.param_groups[0]["lr"] * parameter.grad
            return loss

    rng = np.random.default_rng(2)
    model = batch_model()
    w, stale = model.w.detach().numpy().copy(), np.array([3.0, -2.0])
    model.w.grad = torch.tensor(stale)
    optimizer = Descent(model.parameters(), 0.05)
    for n, rate in ((5, 0.05), (3, 0.02), (1, 0.1)):
        optimizer.param_groups[0]["lr"] = rate
        model.eval()
        model.modes.clear()
        x = rng.normal(0.7, 1, size=(n, 3))
        raw, got = ask_tensors(answer, model=model, optimizer=optimizer, x=torch.tensor(x))
        squares, sizes = ((x - w[0]) ** 2).sum(axis=1).mean(), (x**2).sum(axis=1).mean()
        cost, kl = squares / 2, w[1] ** 2 * sizes / 2
        from_cost = np.array([-(x - w[0]).sum(axis=1).mean(), 0.0])
        from_kl = np.array([0.0, w[1] * sizes])
        gradient, loss = from_cost + from_kl, cost + kl
        tested = f"a batch of {n}"
        need(model.modes, "the model was not called.")
        need(all(model.modes), "the model was in evaluation mode during the step: dropout and "
             "batch normalisation would act as in an evaluation.")
        need(not getattr(raw, "requires_grad", False), "the loss that you return still holds the "
             "graph of the step, and with it the memory: return the number alone.")
        need(isinstance(raw, numbers.Real), "the loss that you return must be a Python float, got "
             f"a {type(raw).__name__}.")
        after = model.w.detach().numpy()
        x_after = (0.5 * ((x - after[0]) ** 2).sum(axis=1) +
                   0.5 * after[1] ** 2 * (x**2).sum(axis=1)).mean()
        compare(got, loss, what="the loss, nats per example", tested=tested, mistakes={
            "This is the ELBO; the loss is its negative.": -loss,
            "This is the sum over the batch; average it.": n * loss,
            "The KL has the wrong sign: it must keep Q close to the prior.": cost - kl,
            "The log-likelihood has the wrong sign: it must become large.": kl - cost,
            "The KL is missing.": cost,
            "This is the loss after the step; return the one that the step was made with.": x_after,
        })
        expected = w - rate * gradient
        compare(after, expected, what="the model's parameters after the step",
                tested=f"{tested}, gradient descent", mistakes={
                    "They have not changed: no step was made, or the gradients were deleted before "
                    "it.": w,
                    "The step goes up the loss, not down: what is differentiated has the wrong "
                    "sign.": w + rate * gradient,
                    "The gradients of an earlier step were added to those of this batch: clear "
                    "them before `backward`.": w - rate * (gradient + stale),
                    "The step follows the sum over the batch: it grows with the size of the batch.":
                        w - rate * n * gradient,
                    "The step was made twice.": twice(w, x, rate, gradient),
                    "The step follows the old gradients: call `backward` before `step`.":
                        w - rate * stale,
                    "The KL has the wrong sign in what is differentiated.":
                        w - rate * (from_cost - from_kl),
                    "The gradient of the KL is missing.": w - rate * from_cost,
                    "The gradient of the log-likelihood is missing.": w - rate * from_kl,
                })
        w, stale = after.copy(), gradient


def twice(w, x, rate, gradient):
    w = w - rate * gradient
    second = np.array([-(x - w[0]).sum(axis=1).mean(), w[1] * (x**2).sum(axis=1).mean()])
    return w - rate * second


@exercise(
    "held-out-evaluation", kind="build", difficulty=2, minutes=20, identities=("G2",),
    right="Report the figure with its standard error, the number of images, and the number of "
          "training runs. If the images were in the training set, it is not a held-out figure.")
def held_out_evaluation(answer):
    import torch
    from scipy import stats

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.unused = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
            self.calls = []

        def forward(self, x):
            self.calls.append((len(x), torch.is_grad_enabled(), self.training))
            cost = (x**2).flatten(1).sum(dim=1) + 50.0 * self.training  # (n,)
            return -cost, 0.4 * x.flatten(1).abs().sum(dim=1)

    rng = np.random.default_rng(3)
    recording = torch.is_grad_enabled()
    for n, batch_size, training in [(23, 4, True), (10, 5, False), (7, 64, True), (5, 1, False)]:
        images = rng.normal(size=(n, 2, 3)) * np.linspace(0.5, 2, n)[:, None, None]
        model = Model().train(training)
        pixels = images.reshape(n, -1)
        cost, kl = (pixels**2).sum(axis=1), 0.4 * np.abs(pixels).sum(axis=1)
        losses = cost + kl
        batches = [losses[start:start + batch_size] for start in range(0, n, batch_size)]
        of_batches = np.array([batch.mean() for batch in batches])
        full = np.concatenate([batch for batch in batches if len(batch) == batch_size] or [losses])
        mean, error = losses.mean(), stats.sem(losses)
        tested = f"{n} images, batch_size = {batch_size}"
        try:
            got = parts(
                ask(answer, model=model, images=torch.tensor(images), batch_size=batch_size),
                "the average", "its standard error")
            switched = torch.is_grad_enabled() != recording
        finally:
            torch.set_grad_enabled(recording)
        need(not switched, "your function leaves the recording of gradients switched off: use "
             "`torch.no_grad()`, which switches it on again.")
        compare(got[0], mean, what="the average, nats per image", tested=tested, mistakes={
            "The model was in training mode: call `eval` first.": mean + 50,
            "This is the average of the batches' averages: the images of the small last batch "
            "count too much.": of_batches.mean(),
            "The images of the last, smaller batch are missing.": full.mean(),
            "This is the average of the last batch alone.": of_batches[-1],
            "This is the average of the first batch alone.": of_batches[0],
            "This is the average ELBO; −ELBO is asked for.": -mean,
            "The KL has the wrong sign.": (cost - kl).mean(),
            "The KL is missing.": cost.mean(),
            "This is the sum over the images; average them.": n * mean,
            "This is the sum over the images, divided by the number of batches.":
                losses.sum() / len(batches),
        })
        deviation = error * np.sqrt(n)
        batches_error = stats.sem(of_batches) if len(batches) > 1 else 0.0
        compare(got[1], error, what="the standard error, nats per image", tested=tested, mistakes={
            "This is the standard deviation of one image's value; divide it by √n.": deviation,
            "This is the standard deviation over n; the average of n values varies with √n.":
                deviation / n,
            "This is the variance over n; take its root.": error**2,
            "This is the variance over √n; the standard deviation belongs there.":
                deviation * error,
            "The standard deviation is computed with n; use n − 1.": error * np.sqrt(1 - 1 / n),
            "This is the standard error of the batches' averages, which are not equally many "
            "images each.": batches_error,
            "The standard deviation is divided by the root of the number of batches.":
                deviation / np.sqrt(len(batches)),
            "The standard deviation is divided by the root of the batch size.":
                deviation / np.sqrt(batch_size),
            "This is the standard error of −log p(x|h); the KL varies, too.": stats.sem(cost),
        })
        need(not any(mode for _, _, mode in model.calls),
             "the model was in training mode for one of the batches.")
        need(max(size for size, _, _ in model.calls) <= batch_size,
             f"tested with {tested}: the model got {model.calls[0][0]} images at once.")
        need(not any(recorded for _, recorded, _ in model.calls),
             "the numbers are right, but gradients are recorded while the model runs: that takes "
             "memory for nothing.")
        need(model.training == training,
             f"the model came in {'training' if training else 'evaluation'} mode and is left in "
             "the other one.")


@exercise(
    "elbo-at-the-mean", kind="explore", difficulty=2, minutes=20, identities=("B3", "N1"),
    right="Whenever a test ELBO looks too good, ask where the decoder was evaluated. "
          "Reconstructions are shown at the mean; bounds are averaged over samples.")
def elbo_at_the_mean(prediction, measured):
    need(isinstance(prediction, str) and prediction in ("below", "at", "above"),
         'prediction must be one of "below", "at" and "above".')
    measured = list(measured) if getattr(measured, "shape", None) == (3,) else measured
    need(isinstance(measured, tuple | list) and len(measured) == 3,
         "measured must be three numbers: the average with noise, its standard error, and the "
         "average with zero noise.")
    average, error, at_mean = (number(value, what) for value, what in zip(
        measured, ("the average with noise", "its standard error", "the average with zero noise")))
    n, squares = 4000, np.array([1.0, 4.0, 9.0, 16.0])
    share = squares / (1 + squares)  # of the variance of (x · column) that h explains
    # With Q the posterior, ELBO − log p(x) is Σ_j μ_j σ_j ε_j − ½ share_j (ε_j² − 1).
    deviation = np.sqrt(np.sum(share * (1 - share) + share**2 / 2))
    right_error, shift = deviation / np.sqrt(n), share.sum() / 2
    # A standard error from 4000 values is itself uncertain by 2 %: 10 % are granted. The noise is
    # not known here, so that no cause is named by numbers that depend on it.
    compare(error, right_error, what="the standard error, nats", error=0.1 * right_error, mistakes={
        "This is 0, as for zero noise: it belongs to the average with noise.": 0.0,
    })
    # 1e-3 is for terms of size 100 in float32, and for numbers that were rounded for print
    compare(average, 0.0, what="the average with noise, nats", error=5 * right_error,
            named_within=1e-3, mistakes={
        "This is the average with zero noise: the order is noise, standard error, zero noise.":
            shift,
    })
    # Without noise all examples give the same number.
    compare(at_mean, shift, what="the average with zero noise, nats", error=1e-3,
            named_within=1e-3, mistakes={
        "The sign is reversed: it is elbo(noise) − log_evidence.": -shift,
        "This is no average with zero noise: it is that with sampled noise.": average,
        "This is the sum over the examples; average them.": n * shift,
    })
    need(prediction == "above", f"your measurement is right, but with zero noise the average does "
         f"not lie {prediction} log p(x): the difference is {show(at_mean)} nats.")
