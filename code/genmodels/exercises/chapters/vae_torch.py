"""Tests of the answers in the chapter on the VAE in PyTorch."""

import numpy as np
from scipy.optimize import minimize_scalar

from genmodels.exact import gaussian
from genmodels.exercises.compare import Stub, ask, compare, need, number, parts, show
from genmodels.exercises.registry import exercise

__all__ = ["best_decoder_variance", "elbo_at_the_mean", "gradient_paths", "held_out_evaluation",
           "three_curves"]


def normal_log_density(x, mean, std):
    """Return the log density of each image under independent pixels, from SciPy."""
    from scipy import stats
    return stats.norm.logpdf(x, mean, std).sum(axis=(1, 2))


@exercise(
    "three-curves", kind="explore", difficulty=2, minutes=15, identities=("B3",),
    right="A gap between two curves is a question first: are they the same quantity? Only then "
          "does it say anything about memorising.")
def three_curves(verdict, stop, offset):
    names = ("memorises", "still learning", "different constants")
    chosen(verdict, names, 3, "verdict")
    steps = np.arange(100, 4001, 100)
    noise = np.random.default_rng(0).normal(0, 0.02, size=(2, 3, 40))
    fast, slow = 9 * np.exp(-steps / 900), 20 * np.exp(-steps / 3000)
    training = np.array([743 + fast - 0.0006 * steps, 741 + slow, 742 + fast - 720.453]) + noise[0]
    held_out = np.array([743.5 + fast + 0.0007 * steps, 741.5 + slow, 742.6 + fast]) + noise[1]
    lowest = np.argmin(held_out, axis=1)
    compare(stop, steps[lowest], what="the numbers of steps at which to stop", mistakes={
        "These are the last steps, with the lowest training loss; the held-out one decides.":
            steps[training.argmin(axis=1)],
        "These are indices; give the numbers of steps.": lowest,
        "These are the steps with the smallest distance of the curves.":
            steps[np.abs(held_out - training).argmin(axis=1)],
    })
    constant = -2 * 392 * normal_log_density(np.zeros((1, 1, 1)), 0, 1).item()
    compare(number(offset, "offset"), constant, what="offset, nats", mistakes={
        "This is the distance in the figure: a part of it is the usual gap between training and "
        "held-out digits. Which constant does (N1) have?": (held_out - training)[2].mean(),
        "This is the constant of one pixel.": constant / 784,
        "The sign is reversed.": -constant,
        "A factor ½ is missing.": 2 * constant,
        "This is in bits: use the natural logarithm.": constant / np.log(2),
    })
    right = ["memorises", "still learning", "different constants"]
    wrong = [run for run, mine, theirs in zip("ABC", verdict, right) if mine != theirs]
    need(not wrong, f"your numbers are right; look again at run {', '.join(wrong)}: which of its "
         "two curves falls, and how far apart are they at the first point?")


def chosen(verdict, names, size, what):
    """Test that an answer is a list of so many of the names."""
    need(isinstance(verdict, list | tuple) and len(verdict) == size,
         f"{what} must be a list of {size} names.")
    if any(value is ... for value in verdict):
        raise Stub
    need(all(isinstance(value, str) and value in names for value in verdict),
         f"each {what} must be one of {', '.join(map(repr, names))}.")


@exercise(
    "best-decoder-variance", kind="derive", difficulty=2, minutes=15, identities=("N1",),
    right="Try it on the chapter's reconstructions, and compare the gain with the differences "
          "between networks. Different σ alone can make two −ELBO figures differ: do not take "
          "that for better reconstructions.")
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


@exercise(
    "gradient-paths", kind="explore", difficulty=3, minutes=25, identities=("G5", "K3"),
    right="Values do not show a path that is cut; a finite difference does. It is two lines of "
          "program, and worth them for every new loss.")
def gradient_paths(gradients, verdict):
    names = ("both terms", "the KL alone", "the likelihood alone", "sigma by the KL alone")
    x, m, v = 1.5, 0.3, -0.8
    noise = np.random.default_rng(0).standard_normal(200)

    def likelihood(m, v):
        return np.mean(0.5 * (x - 2 * (m + np.exp(v / 2) * noise)) ** 2)

    def kl(m, v):
        return gaussian.kl_divergence(np.array([m]), np.array([[np.exp(v)]]), np.zeros(1),
                                      np.eye(1))

    def slopes(f, step=1e-5):  # central differences: the error is of the order of 1e-10
        return np.array([f(m + step, v) - f(m - step, v), f(m, v + step) - f(m, v - step)]) / (
            2 * step)

    first, second = slopes(likelihood), slopes(kl)
    both = first + second
    expected = np.array([second, both, [both[0], second[1]], first])
    compare(gradients, expected, what="the gradients", error=1e-7, named_within=1e-7, mistakes={
        "These are finite differences of the values: the same for all programs. Differentiate "
        "what each program says, with `torch.autograd.grad`.": np.tile(both, (4, 1)),
        "The sign is reversed: this is the gradient of −loss.": -expected,
        "This is summed over the noise; each program averages.": 200 * expected,
        "The two columns are exchanged: mean first, log_var second.": expected[:, ::-1],
        "The rows are in the reverse order.": expected[::-1],
        "Gradients have been added up from program to program: clear them between two.":
            np.cumsum(expected, axis=0),
        "This is the transposed array: one row for each program.": expected.T,
    })
    chosen(verdict, names, 4, "verdict")
    right = [names[1], names[0], names[3], names[2]]
    wrong = [name for name, mine, theirs in zip("ABCD", verdict, right) if mine != theirs]
    need(not wrong, f"the gradients are right, but not the verdict on {', '.join(wrong)}. Compare "
         "each entry with the finite difference of the loss, and with that of the KL.")


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
