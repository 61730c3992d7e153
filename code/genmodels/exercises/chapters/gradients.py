"""Tests of the answers in the chapter on stochastic gradients and reparameterisation."""

import functools
import itertools

import numpy as np

from genmodels.exact import gaussian
from genmodels.exact.linear_gaussian import LinearGaussian
from genmodels.exercises.compare import (
    NotYet,
    array,
    ask,
    chosen,
    compare,
    need,
    number,
    show,
    to_numpy,
)
from genmodels.exercises.registry import exercise

__all__ = ["antiferromagnet", "gradient_noise", "minibatch_noise", "one_sample_loss",
           "three_gradient_programs"]


COUPLINGS = np.array([-1.0, -0.4, 0.4, 1.0])
RING = np.array(list(itertools.product([-1.0, 1.0], repeat=6)))  # (64, 6)


@exercise(
    "antiferromagnet", kind="explore", difficulty=2, minutes=25, identities=("G1",),
    right="On a ring of five spins K and −K are different systems: what is it that the signs "
          "cannot do there?")
def antiferromagnet(gaps, pattern):
    def gap(means, coupling):
        """D[Q‖p] in nats, by summation over the 64 states."""
        q = np.prod((1 + means * RING) / 2, axis=1)
        log_p = coupling * np.sum(RING * np.roll(RING, 1, axis=1), axis=1)
        log_p -= np.log(np.sum(np.exp(log_p)))
        kept = q > 0
        return np.sum(q[kept] * (np.log(q[kept]) - log_p[kept]))

    def log_z(coupling):  # by the transfer matrix
        return np.log((2 * np.cosh(coupling)) ** 6 + (2 * np.sinh(coupling)) ** 6)

    signs = np.array([1.0, -1.0] * 3)
    sizes = np.linspace(0, 0.9999, 10_000)

    def magnetisation(coupling):
        """The mean that makes the free energy smallest, of a spin with the field of two others."""
        m = sizes[np.argmin(-coupling * sizes**2 + (1 + sizes) / 2 * np.log((1 + sizes) / 2)
                            + (1 - sizes) / 2 * np.log((1 - sizes) / 2))]
        for _ in range(1000):
            m = np.tanh(2 * coupling * m)
        return m

    found = np.array([gap(magnetisation(abs(c)) * (signs if c < 0 else np.ones(6)), c)
                      for c in COUPLINGS])
    same = np.array([gap(magnetisation(c) * np.ones(6), c) for c in COUPLINGS])
    zero = np.array([gap(np.zeros(6), c) for c in COUPLINGS])
    of_z, entropy = log_z(COUPLINGS), 6 * np.log(2)
    compare(gaps, found, what="the gaps, nats", tested="K = −1, −0.4, 0.4 and 1", error=1e-5,
            mistakes={
                "For K = −1 all spins have the same mean here; the exercise lets each have its "
                "own.": same,
                "All means are zero here; for |K| = 1 other products come closer.": zero,
                "These are the bounds ⟨E⟩ − S; the gap is what they lie above F = −log Z.":
                    found - of_z,
                "These are −gap: the sign is reversed.": -found,
                "log Z enters with the wrong sign.": found - 2 * of_z,
                "These are free energies F, without a trial distribution.": -of_z,
                "These are in bits, not nats.": found / np.log(2),
                "These are gaps for each spin; add up all six.": found / 6,
                "The entropy is missing.": zero + np.array([
                    (gap(m * (signs if c < 0 else np.ones(6)), c) - gap(np.zeros(6), c))
                    + 6 * entropy_of(m) for c, m in zip(COUPLINGS, [magnetisation(abs(c)) for c
                                                                    in COUPLINGS])]),
                "log Z is that of an open chain, with five bonds; the ring has six.":
                    found - of_z + entropy + 5 * np.log(np.cosh(COUPLINGS)),
            })
    words = ("zero", "equal", "alternating")
    need(isinstance(pattern, str) and pattern.strip().lower() in words,
         'pattern must be "zero", "equal" or "alternating".')
    word = pattern.strip().lower()
    need(word != "zero", "your gaps are right, and for K = −1 the gap is smaller than that of zero "
         "means: which means does your best Q have?")
    need(word != "equal", "your gaps are right. For K = −1 equal means raise the energy: what "
         "do neighbours prefer?")


def entropy_of(m):
    """Entropy in nats of a spin with mean m."""
    chances = np.array([1 + m, 1 - m]) / 2
    return -np.sum(chances[chances > 0] * np.log(chances[chances > 0]))


@exercise(
    "minibatch-noise", kind="derive", difficulty=2, minutes=25, identities=("G2",),
    right="The first belongs in every evaluation of a test set in a fixed order. By the "
          "third, a given number of samples is best spent on as many examples. If the encoder "
          "costs as much as ten samples, how does the best S grow with w_n?")
def minibatch_noise(mean_over_data, minibatch_variance, step_variance, best):
    rng = np.random.default_rng(1)
    values, sizes = rng.normal(-90, 8, size=11), np.array([4, 4, 3])
    batches = np.split(values, [4, 8])
    means = np.array([batch.mean() for batch in batches])
    got = ask(mean_over_data, batch_means=means, batch_sizes=sizes)
    compare(got, values.mean(), what="the mean over the data", tested="batches of 4, 4 and 3",
            mistakes={
                "This is the mean of the batch means: every batch has the same weight, whatever "
                "its size.": means.mean(),
                "This is the sum over the examples: divide by their number.": values.sum(),
                "This is the sum of the batch means.": means.sum(),
                "The last batch is left out.": values[:8].mean(),
                "The sum is divided by the number of batches, not of examples.":
                    values.sum() / 3,
                "The sum is divided by the number of examples in full batches; the last batch is "
                "smaller.": values.sum() / 12,
                "This weights batches by the inverse of their size.":
                    np.sum(means / sizes) / np.sum(1 / sizes),
                "This gives one value for each batch; add them up.": means * sizes / sizes.sum(),
            })

    for sizes in ([5, 5, 5, 2], [6], [3, 3], [1, 1, 1]):
        values = rng.normal(-90, 8, size=sum(sizes))
        batches = np.split(values, np.cumsum(sizes)[:-1])
        got = ask(mean_over_data, batch_means=np.array([batch.mean() for batch in batches]),
                  batch_sizes=np.array(sizes))
        compare(got, values.mean(), what="the mean over the data",
                tested=f"batches of {', '.join(map(str, sizes))}")

    for size, batch_size in ((7, 3), (7, 5), (7, 1), (10, 4), (4, 2), (7, 7), (2, 2)):
        values = rng.normal(-3, 2, size=size)
        batches = itertools.combinations(range(size), batch_size)  # all are equally likely
        every = np.array([values[list(batch)].mean() for batch in batches])
        sample, population = np.var(values, ddof=1), np.var(values)
        got = ask(minibatch_variance, values=values, batch_size=batch_size)
        tested = f"N = {size}, B = {batch_size}"
        if batch_size == size:  # 1e-5: two terms of size 1 may cancel in float32
            need(np.size(got) == 1 and np.all(np.abs(got) < 1e-5), "for B = N the batch is the "
                 f"data set, and its mean does not fluctuate; yours came out as {show(got)}.")
            continue
        compare(got, np.var(every), what="the variance of the minibatch mean", tested=tested,
                mistakes={
                    "This is the variance of a mean of independent draws: without replacement it "
                    "is smaller.": population / batch_size,
                    "This lacks the factor that becomes 0 for B = N.":
                        sample / batch_size,
                    "The sum of squares is divided by N here; this factor goes with N − 1.":
                        population / batch_size * (1 - batch_size / size),
                    "This is the standard deviation, not its square.": np.std(every),
                    "This is not divided by B: it is the variance of a single example, reduced.":
                        sample * (1 - batch_size / size),
                    "The factor for drawing without replacement is B/N; it must fall with B.":
                        sample / size,
                    "This is the variance of the sum over the batch, not of its mean.":
                        np.var(every) * batch_size**2,
                    "This is divided by B once too often.":
                        np.var(every) / batch_size,
                    "This is the variance of the examples, not of the mean of a batch.": sample,
                })

    for size, batch_size, num_samples in ((7, 3, 5), (6, 4, 2), (5, 1, 3), (5, 5, 4), (8, 3, 1)):
        values, within = rng.normal(-3, 2, size=size), rng.gamma(2.0, 3.0, size=size)
        batches = [list(each) for each in itertools.combinations(range(size), batch_size)]
        means = np.array([values[batch].mean() for batch in batches])
        added = np.array([within[batch].sum() / num_samples / batch_size**2
                          for batch in batches])  # by the samples, in each batch
        examples, samples = np.var(means), added.mean()  # the law of total variance
        whole = examples + samples
        left_out = 1 - batch_size / size
        got = ask(step_variance, values=values, within=within, batch_size=batch_size,
                  num_samples=num_samples)
        compare(got, whole, what="the variance of a step",
                tested=f"N = {size}, B = {batch_size}, S = {num_samples}", mistakes={
                    "The noise of the samples is missing.": examples,
                    "The noise of the examples is missing.": samples,
                    "This has the noise of the S samples of one example; a batch averages over B "
                    "examples.": examples + samples * batch_size,
                    "The noise of the samples is that of S = 1.": examples + samples * num_samples,
                    "The noise of the samples is that of a single sample.":
                        examples + samples * batch_size * num_samples,
                    "S divides the noise of the examples, too: more samples of the same examples "
                    "do not bring others.": examples / num_samples + samples,
                    "The noise of the samples does not vanish for B = N, as that of the choice of "
                    "examples does.": examples + samples * left_out,
                    "The w_n are added up; a batch has their mean.": examples + samples * size,
                    "This takes w_n for a standard deviation; it is a variance.":
                        examples + np.mean(within**2) / (batch_size * num_samples),
                    "Standard deviations do not add up, variances do.":
                        (np.sqrt(examples) + np.sqrt(samples)) ** 2,
                    "This is the standard deviation, not its square.": np.sqrt(whole),
                })
    names = ("64 x 1", "16 x 4", "4 x 16", "it depends")
    need(chosen(best, names, "best") != names[3], "your functions are right. Which of the two "
         "parts of the variance differs among 64 x 1, 16 x 4 and 4 x 16?")
    need(best == names[0], "your functions are right; call the third for the three ways to spend "
         "64 samples.")


@exercise(
    "three-gradient-programs", kind="explore", difficulty=2, minutes=25, identities=("G4", "G5"),
    right="With `sample()` in place of `rsample()`, program b would be program c: the word that "
          "loses the gradient in one program saves it in the other.")
def three_gradient_programs(wrong, gives):
    need(isinstance(wrong, str) and wrong.strip().lower() in ("a", "b", "c"),
         'wrong must be "a", "b" or "c".')
    # By quadrature over the noise: h = ½ + ε, f = 3 − h².
    nodes, weights = np.polynomial.hermite_e.hermegauss(8)
    weights = weights / weights.sum()
    h = 0.5 + nodes
    f, slope = 3 - h**2, -2 * h
    score = np.array([nodes, (nodes**2 - 1) / 2])  # of log Q, with h fixed
    through_h = np.array([1 + 0 * nodes, nodes / 2])  # of h in (mean, log_var)
    whole = score + through_h * -nodes  # of log Q(h) with h = μ + σ ε
    right, mixed = weights @ (f * score).T, weights @ (f * whole).T
    compare(gives, mixed, what="the mean gradient", tested="μ = ½, σ = 1", mistakes={
        "This is the exact gradient of E_Q[f], which the other two programs give.": right,
        "The sign is reversed.": -mixed,
        "This is the gradient of −E_Q[f], and that is what the other two programs estimate.":
            -right,
        "No gradient at all? log Q still contains log σ².": 0 * mixed,
        "The gradient in `log_var` has the factor −½: log Q contains −½ log σ².": 2 * mixed,
        "This is exchanged: return the gradient in mean first.": mixed[::-1],
        "In `mean` the path through h has been forgotten.": np.array([right[0], mixed[1]]),
        "In `log_var` the path through h has been forgotten.": np.array([mixed[0], right[1]]),
        "This takes f at the mean of Q; E_Q[f] is smaller.": np.array([0, -0.5 * (3 - 0.25)]),
        "This adds the two ways: b detaches f, so its slope plays no part.":
            mixed + weights @ (slope * through_h).T,
        "This is twice the exact gradient: b does not add the two ways.": 2 * right,
    })
    word = wrong.strip().lower()
    need(word != "a", "your numbers are right, but not for a: it differentiates f along h = μ + σ "
         "ε, which is (G5).")
    need(word != "c", "your numbers are right, but not for c: its h is a fixed number, so that "
         "only log Q is differentiated, which is (G4).")


@exercise(
    "one-sample-loss", kind="build", difficulty=2, minutes=25, identities=("G3", "G5"),
    right="The check averaged 20,000 one-sample gradients and found the exact ones within five "
          "standard errors. With this loss and two networks you have a VAE.")
def one_sample_loss(answer):
    need(callable(answer), f"a function is needed here, got {type(answer).__name__}.")
    import torch

    rng = np.random.default_rng(3)
    n, d, k, noise_std = 20_000, 4, 3, 0.6
    model = LinearGaussian(0.8 * rng.normal(size=(d, k)), rng.normal(size=d), noise_std)
    x = model.sample(1, rng)[0][0]
    mean, log_var = np.array([0.7, -0.4, 1.1]), np.array([-1.5, 0.5, -0.7])
    var = np.exp(log_var)

    # Inputs: n copies of one example, so the mean over the batch is one over the noise.
    leaves = {"mean": torch.tensor(np.tile(mean, (n, 1)), requires_grad=True),
              "log_var": torch.tensor(np.tile(log_var, (n, 1)), requires_grad=True),
              "weights": torch.tensor(model.weights, requires_grad=True),
              "bias": torch.tensor(model.bias, requires_grad=True)}
    decoded, losses = [], []  # what decode got, what the answer returned

    def decode(h):
        decoded.append(h)
        return h @ leaves["weights"].T + leaves["bias"]

    @functools.wraps(answer)
    def run(*inputs):
        decoded.clear()
        losses.append(answer(*inputs))
        return losses[-1]

    value = ask(run, x=torch.tensor(np.tile(x, (n, 1))), mean=leaves["mean"],
                log_var=leaves["log_var"], decode=decode, noise_std=noise_std)
    need(not (isinstance(value, np.ndarray) and value.shape == (n,)),
         "the loss is one number for each example: average over them.")
    value, loss = number(value, "the loss"), losses[-1]
    need(decoded, "decode was never called: draw h, then decode it.")
    need(all(np.array_equal(to_numpy(h), to_numpy(decoded[-1])) for h in decoded),
         f"decode was called with {len(decoded)} different h: draw one for each example.")
    need(hasattr(decoded[-1], "shape") and tuple(decoded[-1].shape) == (n, k),
         f"decode must get one h for each example, ({n}, {k}).")
    h = to_numpy(decoded[-1], "the sample h").astype(float)
    tested = f"n = {n:,} equal examples, k = 3, d = 4"
    need(np.any(np.ptp(h, axis=0) > 1e-6), "all examples get the same h: "
         + ("it is the mean, without noise." if np.allclose(h[0], mean, atol=1e-5) else
            "draw noise for each of them, of the shape of `mean`."))
    # Standard errors of a Gaussian's mean, variance and fourth moment, five of each. What is wrong
    # is named by draws that are known, where the seed of torch makes them so.
    kept = list(decoded)
    with torch.random.fork_rng(devices=[]):
        name_noise(answer, decode, decoded, leaves, x, noise_std)
    decoded[:] = kept
    compare(h.mean(axis=0), mean, what="the mean of h", tested=tested,
            error=5 * np.sqrt(var / n))
    compare(h.var(axis=0), var, what="the variance of h", tested=tested,
            error=5 * var * np.sqrt(2 / n))
    epsilon = (h - mean) / np.sqrt(var)
    need(np.all(np.abs(np.mean(epsilon**4, axis=0) - 3) < 5 * np.sqrt(96 / n)), "mean and variance "
         "of h are right, but the noise is not normal.")
    need(all(np.all(np.abs(np.mean(epsilon[apart:] * epsilon[:-apart], axis=0))
                    < 5 / np.sqrt(n - apart)) for apart in (1, 2, n // 2)),
         "the noise of different examples is correlated: draw noise for each of them.")
    correlation = np.corrcoef(h.T) - np.eye(k)
    need(np.max(np.abs(correlation)) < 5 / np.sqrt(n), "the components of h are correlated: draw "
         "noise for each latent dimension.")
    need(getattr(loss, "requires_grad", False), "the loss carries no gradient: was it turned into "
         "a number, or computed under torch.no_grad()?")
    need(decoded[-1].requires_grad, "the sample h carries no gradient (sample() instead of "
         "rsample(), detach(), or no_grad()): the encoder would learn from the divergence alone.")

    # Exact values from the linear-Gaussian model; standard errors from n samples of our own.
    noise = rng.standard_normal((n, k))
    own = mean + np.sqrt(var) * noise
    slope_at_h = (x - model.decode(h)) / noise_std**2 @ model.weights  # at the answer's own h
    at_h = {"q_mean": -slope_at_h.mean(axis=0),
            "q_log_var": -np.mean((h - mean) * slope_at_h / 2, axis=0)}
    residual = (x - model.decode(own)) / noise_std**2  # (n, d)
    slope = residual @ model.weights  # (n, k)
    kl = float(gaussian.kl_to_standard_normal(mean, log_var))
    data = np.mean([model.log_likelihood(x, to_numpy(h)).mean() for h in decoded])  # at its h
    constant = d / 2 * np.log(2 * np.pi * noise_std**2)
    expected = kl - data
    # 1e-3: a mean of 20,000 terms of size 10, perhaps in float32 and one after the other
    compare(value, expected, what="the loss, nats per example", tested=tested, error=1e-3,
            mistakes={
                "This is the sum over the examples; average over them.": n * expected,
                "This is the ELBO; the loss is −ELBO.": -expected,
                "The divergence is subtracted from −log p(x|h); it is added.": -data - kl,
                "This is −log p(x|h) alone: the divergence is missing.": -data,
                "The constant with log 2π is missing.": expected - d / 2 * np.log(2 * np.pi),
                "The normalisation of p(x|h) is missing.": expected - constant,
                "The normalisation of p(x|h) is there once, not d times.":
                    expected - constant * (d - 1) / d,
                "The part of the normalisation with s is missing.":
                    expected - d * np.log(noise_std),
                "The normalisation of p(x|h) has s where s² belongs.":
                    expected - d / 2 * np.log(noise_std),
                "The squared residual lacks the factor ½.": expected - data - constant,
                "The squared residual is not divided by s².":
                    kl + constant - (data + constant) * noise_std**2,
                "The squared residual is divided by s, not by s².":
                    kl + constant - (data + constant) * noise_std,
                "This takes noise_std for the variance; s is the standard deviation.":
                    kl + constant - d / 2 * np.log(noise_std) - (data + constant) * noise_std,
                "The divergence is averaged over the latent dimensions; it sums over them.":
                    kl / k - data,
                "log p(x|h) is averaged over the components of x; it sums over them.":
                    kl - data / d,
                "Both terms are averaged over their components; they sum over them.":
                    kl / k - data / d,
                "A factor ½ is missing in the divergence.": 2 * kl - data,
            })
    few_examples(answer)
    try:
        loss.backward()
    except RuntimeError as problem:
        raise NotYet(f"loss.backward() raises {type(problem).__name__}: {problem}") from None
    for name in ("weights", "bias"):
        need(leaves[name].grad is not None, "no gradient reaches the decoder's parameters: was "
             "its output detached?")
    for name in ("mean", "log_var"):
        need(leaves[name].grad is not None, f"no gradient reaches `{name}`.")
    exact = model.elbo_gradients(x, mean, log_var)
    of_kl = {"q_mean": mean, "q_log_var": (var - 1) / 2}
    single = {"q_mean": slope, "q_log_var": np.sqrt(var) * noise * slope / 2,
              "weights": residual[:, :, None] * own[:, None, :], "bias": residual}
    for name, field in (("mean", "q_mean"), ("log_var", "q_log_var"), ("weights", "weights"),
                        ("bias", "bias")):
        gradient, right = to_numpy(leaves[name].grad), -getattr(exact, field)
        gradient = gradient.sum(axis=0) if field in of_kl else gradient
        mistakes = {}
        if field in of_kl:
            mistakes = {
                f"This is the gradient of the divergence alone: `{name}` is cut off from h.":
                    of_kl[field],
                "The gradient of the divergence is missing: it was detached.": at_h[field],
                "The gradient through h is twice the right one.":
                    2 * at_h[field] + of_kl[field]}
        compare(gradient, right, what=f"the mean gradient in `{name}`", tested=tested,
                error=5 * np.std(single[field], axis=0) / np.sqrt(n), mistakes=mistakes)


def name_noise(answer, decode, decoded, leaves, x, noise_std):
    """Name a wrong h by what it becomes for mean 0 and σ = 1 with the same seed of torch.

    Nothing is said of an answer whose noise is not that of torch's global generator.
    """
    import torch
    n, k = 6, leaves["mean"].shape[1]
    rows = torch.tensor(np.tile(x, (n, 1)))
    mean, log_var = (leaves[name].detach()[:n] for name in ("mean", "log_var"))
    drawn = []
    for inputs in ((mean, log_var), (mean, log_var), (0 * mean, 0 * log_var),
                   (0 * mean, 1 + 0 * log_var)):
        torch.manual_seed(3)
        decoded.clear()
        ask(answer, x=rows, mean=inputs[0].clone(), log_var=inputs[1].clone(), decode=decode,
            noise_std=noise_std)
        drawn.append(to_numpy(decoded[-1]))
    h, again, noise, of_one = drawn
    if not np.array_equal(h, again):
        return
    mean, log_var = mean.numpy(), log_var.numpy()
    std = np.exp(log_var / 2)
    need(noise.min() < 0 or noise.max() > 1, "all the noise lies between 0 and 1, as if it were "
         "uniform, from rand; normal noise comes from randn.")
    compare(h, mean + std * noise, what="h", tested=f"n = {n}, k = {k}, d = {len(x)}, of the noise "
            "that you draw for mean = 0, σ = 1 and the same seed", mistakes={
                "The noise alone was decoded; add it to the mean.": std * noise,
                "This takes log_var for log σ: σ is the root of exp(log_var).":
                    mean + std**2 * noise,
                "The noise is multiplied by a logarithm of σ: the exponential is missing.":
                    mean + log_var * of_one,
                "The noise is not multiplied by σ.": mean + noise,
                "The noise is multiplied by the root of σ.": mean + np.sqrt(std) * noise,
            })


def few_examples(answer):
    """Compare the loss of different examples, exactly, at the h that the answer decodes."""
    import torch
    rng = np.random.default_rng(8)
    for n, d, k, noise_std in ((5, 2, 4, 1.7), (1, 6, 1, 0.4), (3, 3, 3, 1.0)):
        weights, decoded = rng.normal(size=(k, d)), []

        def decode(h, weights=weights, decoded=decoded):
            decoded.append(h)
            return torch.tanh(h @ torch.as_tensor(weights, dtype=h.dtype))

        x, mean, log_var = (rng.normal(size=shape) for shape in ((n, d), (n, k), (n, k)))
        inputs = {"x": torch.tensor(x), "mean": torch.tensor(mean),
                  "log_var": torch.tensor(log_var), "decode": decode, "noise_std": noise_std}
        got = [ask(answer, **inputs) for _ in range(2)]
        need(decoded, "decode was never called: draw h, then decode it.")
        first, second = to_numpy(decoded[0]), to_numpy(decoded[-1])
        need(not np.array_equal(first, second), "two calls in a row decode exactly the same h: "
             "draw new noise in each call, without a fixed seed.")
        out = np.tanh(second @ weights)
        squares = np.sum((x - out) ** 2, axis=1) / noise_std**2
        log_p = -0.5 * (squares + d * np.log(2 * np.pi * noise_std**2))
        kl = gaussian.kl_to_standard_normal(mean, log_var)
        compare(number(got[-1], "the loss"), np.mean(kl - log_p), what="the loss, nats per example",
                tested=f"n = {n} different examples, d = {d}, k = {k}, noise_std = {noise_std}")


@exercise(
    "gradient-noise", kind="explore", difficulty=3, minutes=25, identities=("G4", "G5"),
    right="Each ratio says how many samples of (G4) one sample of (G5) is worth. Drop the "
          "constant of log p(x|h) and see which row changes.")
def gradient_noise(ratios, powers):
    dims, n, var = np.array([1, 4, 16, 64]), 50_000, 2.0**2
    nodes, weights = np.polynomial.hermite_e.hermegauss(16)
    weights = weights / weights.sum()

    def exact(k, shift):
        """Variance of ε₁ (f + shift), and the relative standard error of its estimate."""
        # In units of 1/s²: log p(x|h) is f + a constant with f = −½(u + T) and u = (1 − ε₁)², and
        # the slope has the variance 1. The other k − 1 squares have the sum T, a non-central χ²
        # with k − 1 degrees of freedom and known cumulants c1 to c4.
        c1, c2, c3, c4 = (2 ** (j - 1) * [1, 1, 2, 6][j - 1] * (k - 1) * (1 + j)
                          for j in (1, 2, 3, 4))
        central = [1, 0, c2, c3, c4 + 3 * c2**2]  # moments of T around its mean c1
        start = -0.5 * ((1 - nodes) ** 2 + c1) + shift  # (16,)
        moment = []
        for j in range(1, 5):  # E[(ε₁ (start − ½(T − c1)))^j], exact
            binomial = [1, j, j * (j - 1) // 2, j * (j - 1) * (j - 2) // 6, 1]
            inner = sum(binomial[i] * start ** (j - i) * (-0.5) ** i * central[i]
                        for i in range(j + 1))
            moment.append(weights @ (nodes**j * inner))
        m1, m2, m3, m4 = moment
        variance = m2 - m1**2
        fourth = m4 - 4 * m1 * m3 + 6 * m1**2 * m2 - 3 * m1**4
        return variance, np.sqrt((fourth / variance**2 - 1) / n)

    constant = -0.5 * dims * np.log(2 * np.pi * var) * var
    baseline = dims * 1.0  # −E[f]: ½(1 + 1) for each dimension
    table = np.array([[exact(k, s) for k, s in zip(dims, shifts)]
                      for shifts in (constant, baseline, 0 * dims)])  # (3, 4, 2)
    expected, error = np.log(table[:2, :, 0]), np.hypot(table[:2, :, 1], np.sqrt(2 / n))
    no_constant = np.log(table[2, :, 0])

    ratios = array(ratios, "ratios")
    need(ratios.shape == (2, 4), "ratios must have the shape (2, 4): without and with baseline × "
         f"dims; got {ratios.shape}.")
    need(np.all(np.isfinite(ratios)) and np.all(ratios > 0),
         f"ratios of variances are positive; yours are {show(ratios)}.")
    compare(np.log(ratios), expected, what="the natural logarithm of your ratios",
            # Five standard errors of 50,000 samples; a mistake is named within three. It has to
            # explain eight independent numbers at once, and no other one may do so.
            error=5 * error,
            named_within=3 * np.maximum(error, np.stack([table[2, :, 1], 0 * error[1]])),
            mistakes={
                "These are ratios of standard deviations; square them.": expected / 2,
                "These are the inverse: (G5) over (G4).": -expected,
                "The constant −½ log 2πs² of each component is missing in log p(x|h), and it "
                "matters without a baseline.": np.stack([no_constant, expected[1]]),
                "The part with s of the constant is missing in log p(x|h).": np.stack([np.log(
                    [exact(k, -0.5 * k * np.log(2 * np.pi) * var)[0] for k in dims]),
                    expected[1]]),
                "This takes noise_std for the variance; s is the standard deviation.": np.stack([
                    np.log([exact(k, -0.5 * k * np.log(4 * np.pi) * 2)[0] for k in dims]),
                    expected[1]]),
                "The slope in (G5) is not divided by s².": expected - 2 * np.log(var),
                "The slope in (G5) is divided by s, not by s².": expected - np.log(var),
                "The rows are exchanged: the first has no baseline.": expected[::-1],
                "Both rows are without a baseline.": expected[[0, 0]],
                "Both rows have the baseline.": expected[[1, 1]],
                "The baseline is E[log p(x|h)] without its constant.": np.stack([
                    expected[0], np.log([exact(k, c)[0] for k, c in
                                         zip(dims, constant + baseline)])]),
                "The baseline is added; it is subtracted.": np.stack([
                    expected[0], np.log([exact(k, c)[0] for k, c in
                                         zip(dims, 2 * constant - baseline)])]),
                "This is summed over the components for (G4) and averaged for (G5).":
                    expected + np.log(dims),
                "The factor ½ is missing in log p(x|h).": expected + np.log(4),
            })
    powers = array(powers, "powers")
    need(powers.shape == (2,), "powers must hold two numbers: without and with baseline.")
    compare(powers, np.array([2, 1]), what="the powers of k", mistakes={
        "The two are exchanged.": np.array([1, 2]),
        "These are the powers of the standard deviation; the rows hold variances.":
            np.array([1, 0.5]),
        "Look at the rows of `ratios` again: from k = 16 to 64 the baseline makes a difference.":
            np.array([2, 2]),
    })
