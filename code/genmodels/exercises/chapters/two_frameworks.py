"""Tests of the answers in the chapter on one model in two frameworks."""

import itertools

import numpy as np
from scipy import signal

from genmodels.exercises.compare import (
    agree,
    ask,
    ask_drawing,
    chosen,
    compare,
    need,
    number,
    parts,
)
from genmodels.exercises.registry import exercise

__all__ = ["adam_epsilon", "hidden_kl_weight", "initial_gain", "keras_to_torch", "same_padding"]


@exercise(
    "keras-to-torch", kind="build", difficulty=2, minutes=20,
    right="A wrong order of pixels and channels raises no error, since all shapes agree. Test a "
          "copied model by its numbers. The dense layer before a Reshape needs the same for its "
          "columns and its bias.")
def keras_to_torch(answer):
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(3, 5))
    compare(ask(answer, kernel=kernel, image=None), np.array([[kernel[i, o] for i in range(3)]
                                                              for o in range(5)]),
            what="the weight", tested="the kernel (3, 5) of a dense layer",
            mistakes={
                "This is still Keras's (in, out): PyTorch stores (out, in).": kernel,
                "This is a reshape: it moves no number, and gives each another input and output.":
                    kernel.reshape(5, 3),
            })

    kernel = rng.normal(size=(2, 3, 4, 5))
    expected = np.empty((5, 4, 2, 3))
    for a, b, i, o in np.ndindex(kernel.shape):
        expected[o, i, a, b] = kernel[a, b, i, o]
    compare(ask(answer, kernel=kernel, image=None), expected, what="the weight",
            tested="a kernel (2, 3, 4, 5) of 2 × 3 pixels, of a convolution of 4 channels to 5 or "
                   "a transposed one of 5 to 4",
            mistakes={
                "This is still Keras's order of the axes: the pixels come last in PyTorch.": kernel,
                "Here the two axes of the channels have changed places.":
                    expected.swapaxes(0, 1),
                "Here the rows and columns of the kernel have changed places.":
                    expected.swapaxes(2, 3),
                "Here the kernel is flipped; both frameworks slide it as it is.":
                    expected[:, :, ::-1, ::-1],
                "This is a reshape: it moves no number, and gives each another place.":
                    kernel.reshape(5, 4, 2, 3),
            })

    h, w, c, out = 2, 3, 4, 5
    kernel = rng.normal(size=(h * w * c, out))
    expected = np.empty((out, c * h * w))
    for row, (a, b, channel) in enumerate(np.ndindex(h, w, c)):
        expected[:, (channel * h + a) * w + b] = kernel[row]
    other_way = kernel.reshape(c, h, w, out).transpose(1, 2, 0, 3).reshape(-1, out)
    columns_first = kernel.reshape(h, w, c, out).transpose(2, 1, 0, 3).reshape(-1, out)
    compare(ask(answer, kernel=kernel, image=(h, w, c)), expected, what="the weight",
            tested="the kernel (24, 5) of a dense layer after an image (2, 3, 4)",
            mistakes={
                "The order of pixels and channels is still Keras's: this is only transposed.":
                    kernel.T,
                "The order of pixels and channels is right, but this is (in, out): transpose it.":
                    expected.T,
                "This permutes the other way round, from (c, h, w) to (h, w, c).": other_way.T,
                "This takes columns before rows: PyTorch's order is (c, h, w).": columns_first.T,
                "This is a reshape: it moves no number, and gives each another input and output.":
                    kernel.reshape(out, -1),
            })
    for h, w, c, out in ((3, 3, 2, 12), (1, 4, 1, 2), (2, 2, 2, 8)):  # square, one channel
        kernel = rng.normal(size=(h * w * c, out))
        expected = np.empty((out, c * h * w))
        for row, (a, b, channel) in enumerate(np.ndindex(h, w, c)):
            expected[:, (channel * h + a) * w + b] = kernel[row]
        compare(ask(answer, kernel=kernel, image=(h, w, c)), expected, what="the weight",
                tested=f"the kernel ({h * w * c}, {out}) of a dense layer after an image "
                       f"({h}, {w}, {c})")
    kernel = rng.normal(size=(3, 3, 2, 2))
    compare(ask(answer, kernel=kernel, image=None), np.moveaxis(kernel, (3, 2), (0, 1)),
            what="the weight", tested="a kernel (3, 3, 2, 2)")


@exercise(
    "same-padding", kind="derive", difficulty=2, minutes=20,
    right="Now ask for which sizes one symmetric `padding` of PyTorch does the same. By how many "
          "pixels would a third layer of stride 2 move the digit?")
def same_padding(answer, pixels, direction):
    cases = list(itertools.product(range(1, 13), range(1, 8), range(1, 6)))
    table = []
    for size, kernel, stride in cases:
        got = parts(ask(answer, size=size, kernel=kernel, stride=stride), "the zeros before",
                    "the zeros after")
        table.append([number(part, "a number of zeros") for part in got])
    table = np.array(table)

    def split(total):
        return total // 2, total - total // 2

    def fewest(n, k, s):
        """Try 0, 1, … zeros until as many windows fit as are promised."""
        total = 0
        while n + total < k or (n + total - k) // s + 1 < -(-n // s):
            total += 1
        return total

    expected = np.array([split(fewest(*case)) for case in cases])

    def first(where):
        """Say what came out in the first of the cases where something is so."""
        i = np.argmax(where)
        size, kernel, stride = cases[i]
        return (f"size {size}, kernel {kernel}, stride {stride} gave ({table[i, 0]:g}, "
                f"{table[i, 1]:g})")

    broken = np.any(table % 1, axis=1)
    need(not np.any(broken), f"{first(broken)}: the numbers of zeros are whole.")
    wrong = np.any(table != expected, axis=1)
    compare(table, expected, what="the table of zeros before and after",
            tested=f"sizes 1 to 12, kernels 1 to 7, strides 1 to 5, of which {first(wrong)}",
            mistakes={
                "Before and after are exchanged: the additional zero goes to the end.":
                    expected[:, ::-1],
                "This is PyTorch's symmetric padding; here the number of zeros need not be even, "
                "and depends on the size and the stride.":
                    np.array([((k - 1) // 2,) * 2 for _, k, _ in cases]),
                "This does not depend on the size and the stride: it is right for stride 1 only.":
                    np.array([split(k - 1) for _, k, _ in cases]),
                "Some numbers are negative, but no pixel is removed.":
                    np.array([split((-(-n // s) - 1) * s + k - n) for n, k, s in cases]),
                "This rounds the number of outputs down.":
                    np.array([split(max((n // s - 1) * s + k - n, 0)) for n, k, s in cases]),
                "All zeros stand at the end.":
                    np.array([(0, fewest(*case)) for case in cases]),
            })
    direction = chosen(direction, ("up and left", "down and right"), "direction")
    layers = [moved_by(layers) for layers in (1, 2, 3)]
    compare(number(pixels, "pixels"), layers[1], what="pixels", mistakes={
        "That is what the first layer does; the second layer moves its own input, too.": layers[0],
        "Both layers move their input by one pixel; how many pixels of the image is one of the "
        "second layer wide?": 2,
        "How wide is a pixel of the second layer's input, in pixels of the image?": 4,
        "These are pixels of the last layer's output; asked are those of the image.":
            layers[1] / 4,
        "This is three layers.": layers[2],
        "Give the number without a sign; the direction is the word.": -layers[1],
    })
    need(direction == "down and right", "the number of pixels is right, but not the direction: let "
         "a digit be one white pixel, and write down which window finds it first, and at which "
         "place, for either padding.")


def moved_by(layers):
    """Try by how much a row's pixels move for the other padding to return the same."""
    rng = np.random.default_rng(0)
    kernels = rng.normal(size=(layers, 3))
    row = np.zeros(64)
    row[30:36] = rng.uniform(1, 2, size=6)

    def network(values, before, after):
        for kernel in kernels:
            values = np.pad(values, (before, after))
            values = np.array([values[i : i + 3] @ kernel for i in range(0, len(values) - 2, 2)])
        return values

    (found,) = [shift for shift in range(-12, 13)
                if np.allclose(network(np.roll(row, shift), 0, 1), network(row, 1, 1))]
    return found


def adam(gradients, style, epsilon):
    """Return the steps at learning rate 1, shape (T, d)."""
    t = np.arange(1, len(gradients) + 1)[:, None]
    m, v = (signal.lfilter([1 - beta], [1, -beta], values, axis=0)  # running means from zero
            for beta, values in ((0.9, gradients), (0.999, gradients**2)))
    first, second = 1 - 0.9**t, 1 - 0.999**t
    if style == "keras":
        return -np.sqrt(second) / first * m / (np.sqrt(v) + epsilon)
    return -m / first / (np.sqrt(v / second) + epsilon)


@exercise(
    "adam-epsilon", kind="derive", difficulty=2, minutes=20,
    right="Whether epsilon matters cannot be read off epsilon: it has the unit of a gradient, and "
          "so of your loss. Print the smallest gradients of a program before you move it.")
def adam_epsilon(torch_epsilon, changes):
    rng = np.random.default_rng(0)
    for epsilon, factor in ((2e-7, 1 / 784), (1e-7, 128.0), (1e-3, 1.0)):
        steps = np.array([1, 2, 3, 10, 100, 2000])
        got = np.array([number(ask(torch_epsilon, t=int(t), epsilon=epsilon, factor=factor),
                               "an epsilon") for t in steps])
        # the epsilon with which PyTorch's step is that of Keras, for gradients of its own size
        gradients = epsilon / factor * rng.normal(size=(steps[-1], 1))
        keras = adam(factor * gradients, "keras", epsilon)
        without, more = adam(gradients, "torch", 0.0), adam(gradients, "torch", epsilon)
        # 1 / step is linear in epsilon
        expected = epsilon * ((1 / keras - 1 / without) / (1 / more - 1 / without))[steps - 1, 0]
        powers, squares = 1 - 0.9**steps, 1 - 0.999**steps
        compare(got, expected, what="the epsilons", tested=(
            f"t = 1, 2, 3, 10, 100, 2000, epsilon = {epsilon:g}, factor = {factor:.4g}"),
            mistakes={
                "The factor stands on the wrong side: does a larger loss make epsilon more or less "
                "important?": factor**2 * expected,
                "The factor is missing: what does it do to m, and what to √v?": factor * expected,
                "The factor comes in by its square: it multiplies √v, and so does its square v.":
                    expected / factor,
                "The root is missing: v is corrected inside it.":
                    epsilon / factor / squares,
                "The correction stands on the wrong side: at the start √v is smaller than after "
                "many steps, and Keras's epsilon matters more.":
                    epsilon / factor * np.sqrt(squares),
                "The corrections are missing: the two epsilons are compared with different roots.":
                    epsilon / factor + 0 * squares,
                "This is the correction of m; both programs have it in common.":
                    epsilon / factor / powers,
                "This is the correction of m, with a root; both programs have it in common.":
                    epsilon / factor / np.sqrt(powers),
                "Both corrections are in it; that of m is common to both programs.":
                    epsilon / factor * powers / np.sqrt(squares),
                "This is the other way round: Keras's epsilon for one of PyTorch.":
                    epsilon * factor * np.sqrt(squares),
            })
    words = ("objective", "step", "nothing")
    need(isinstance(changes, list | tuple) and len(changes) == 4,
         "`changes` must be a list of four words, for a, b, c and d.")
    changes = [chosen(word, words, f"changes[{i}]") for i, word in enumerate(changes)]
    gradients = np.geomspace(2e-3, 1, 50)[None]
    before = adam(gradients, "torch", 1e-8)
    for name, word, per, style, epsilon in zip("abcd", changes, (784, None, 1, 784), (
            "torch", "torch", "keras", "keras"), (1e-8, 1e-8, 1e-7, 1e-7)):
        if per is None:
            need(word == "objective", f"{name}: write both terms of the loss with their factors. "
                 "Which factor could you take out of it?")
            continue
        need(word != "objective", f"{name}: a factor in front of the whole loss, or another "
             "optimiser, leaves every minimum of the loss where it is.")
        change = np.max(np.abs(adam(gradients / per, style, epsilon) / before - 1))
        need(word == ("step" if change > 0.01 else "nothing"), f"{name} is not {word!r}: compare "
             "the smallest gradient, in the unit of the loss, with the epsilon at t = 1.")


@exercise(
    "hidden-kl-weight", kind="derive", difficulty=2, minutes=25, identities=("K3", "B3"),
    right="For digits, `mse_loss` as it is by default with a KL summed over the dimensions has "
          "β = 392. Print the β of your own program before you ask why its dimensions die.")
def hidden_kl_weight(answer, temperatures, noise_stds):
    reductions = {"sum": np.sum, "mean": np.mean, "example": lambda a: a.sum(axis=1).mean()}
    cases = [(pixels, first, second, *sizes) for sizes in [(7, 12, 5), (3, 10, 4), (1, 4, 9)]
             for pixels in ("bce", "mse") for first in reductions for second in reductions]
    names = ("pixels", "pixel_reduction", "kl_reduction", "n", "d", "k")
    table = np.array([number(ask(answer, **dict(zip(names, case))), "the weight")
                      for case in cases])

    def from_arrays(pixels, first, second, n, d, k):
        """Reduce arrays of random terms, and compare with the two terms of the ELBO."""
        rng = np.random.default_rng(1)
        terms, kl = rng.uniform(1, 2, size=(n, d)), rng.uniform(1, 2, size=(n, k))
        surprise = (terms / 2 if pixels == "mse" else terms).sum(axis=1).mean()
        ratio = reductions[first](terms) / surprise
        return reductions[second](kl) / kl.sum(axis=1).mean() / ratio

    def by(share, for_squares=0.5):
        return np.array([share(second, n, k) / share(first, n, d)
                         * (for_squares if pixels == "mse" else 1)
                         for pixels, first, second, n, d, k in cases])

    def share(reduction, n, size):
        return {"sum": 1, "example": 1 / n, "mean": 1 / (n * size)}[reduction]

    def sum_as_example(reduction, n, size):
        return share("example" if reduction == "sum" else reduction, n, size)

    def mean_over_last(reduction, n, size):
        return 1 / size if reduction == "mean" else share(reduction, n, size)

    def mean_over_examples(reduction, n, size):
        return share("example" if reduction == "mean" else reduction, n, size)

    expected = np.array([from_arrays(*case) for case in cases])
    wrong = [i for i in range(len(cases)) if not agree(table[i], expected[i])]
    first = wrong[0] if wrong else 0
    compare(table, expected, what="the table of β",
            tested="all combinations for three sizes, of which " + ", ".join(
                f"{name} = {value}" for name, value in zip(names, cases[first]))
            + f" gave {table[first]:.5g}",
            mistakes={
                "A factor is missing for the squares: they are not −log p of a Gaussian.":
                    by(share, 1),
                "The factor of the squares stands on the wrong side: compare them with −log p of "
                "a Gaussian.": by(share, 2),
                "This is 1/β: it weighs the pixels, not the KL.": 1 / expected,
                'This takes "sum" for "example": a sum over both axes grows with n.':
                    by(sum_as_example),
                'This takes "mean" for a mean over the last axis; it divides by n as well.':
                    by(mean_over_last),
                'This takes "mean" for "example": a mean over both axes divides by the length of '
                "the last axis as well.": by(mean_over_examples),
            })
    words, programs = ("cold", "one", "hot"), {
        "a": ("bce", "mean", "mean"), "b": ("mse", "sum", "sum"),
        "c": ("bce", "example", "example"), "d": ("mse", "mean", "example")}
    betas = {name: from_arrays(*program, 128, 784, 8) for name, program in programs.items()}
    need(isinstance(temperatures, list | tuple) and len(temperatures) == 4,
         "`temperatures` must be a list of four words, for a, b, c and d.")
    hints = {"a": "over how many numbers is each of its means?",
             "b": "what is −log p of a pixel, if its decoder is N(m, 1)?",
             "c": "which of the reductions is a sum over the batch, divided by its length?",
             "d": "what is the mean of 128 × 784 numbers, if the sum is known?"}
    for i, (name, beta) in enumerate(betas.items()):
        word = chosen(temperatures[i], words, f"temperatures[{i}]")
        right = "one" if agree(beta, 1.0) else "cold" if beta < 1 else "hot"
        need(word == right, f"program {name} is not {word!r}: {hints[name]}")
    # of the loss' factors: those of a sum of squares and of a KL, for one example
    rng = np.random.default_rng(2)
    terms, kl = rng.uniform(1, 2, size=(128, 784)), rng.uniform(1, 2, size=(128, 8))
    variances = np.array([(reductions[second](kl) / kl.sum()) / (reductions[first](terms)
                                                                 / terms.sum()) / 2
                          for _, first, second in (programs["b"], programs["d"])])
    got = [number(part, "a standard deviation")
           for part in parts(noise_stds, "σ of b", "σ of d")]
    compare(got, np.sqrt(variances), what="noise_stds", mistakes={
        "These are variances.": variances,
        "Here the ½ of the exponent is missing: −log p has (x − m)²/(2σ²) for each pixel.":
            np.sqrt(2 * variances),
        "The ½ of the exponent comes in twice.": np.sqrt(variances / 2),
        "This is 1/σ: a large noise makes the squares count less.": 1 / np.sqrt(variances),
        "The two programs are exchanged.": np.sqrt(variances[::-1]),
    })


@exercise(
    "initial-gain", kind="explore", difficulty=2, minutes=20,
    right="You did not choose these factors: they come with the framework. Try `he_uniform` of "
          "Keras, whose limit is √(6/n_in): what is its gain, and why is it the usual one for "
          "ReLU?")
def initial_gain(predicted, measured):
    sizes = [(400, 100), (100, 400), (250, 250)]
    cases = [(rule, *size) for rule in ("Keras", "PyTorch") for size in sizes]
    table = np.array([number(ask(predicted, rule=rule, n_in=n_in, n_out=n_out), "a gain")
                      for rule, n_in, n_out in cases])

    def variance(rule, n_in, n_out):
        """That of a uniform density, by the mean square of a fine grid of its quantiles."""
        limit = np.sqrt(6 / (n_in + n_out)) if rule == "Keras" else n_in**-0.5
        return np.mean((limit * (np.arange(4000) - 1999.5) / 2000) ** 2)  # relative error 6e-8

    expected = np.array([n_in * variance(rule, n_in, n_out) / 2 for rule, n_in, n_out in cases])
    widths = np.array([(n_in, n_out) for _, n_in, n_out in cases])
    keras = np.array([rule == "Keras" for rule, *_ in cases])
    compare(table, expected, what="the predicted gains", error=1e-6,  # more than the grid's
            tested="Keras, then PyTorch, each with widths 400 → 100, 100 → 400 and 250 → 250",
            mistakes={
                "What the ReLU takes away is missing.": 2 * expected,
                "The variance of U(−a, a) is not a²: a is its limit, not its standard deviation.":
                    3 * expected,
                "This is the factor of the root mean square; asked is the mean square.":
                    np.sqrt(expected),
                "These are variances of the weights: a unit sums n_in of them, and the ReLU comes "
                "in.": 2 * expected / widths[:, 0],
                "The unit sums over n_in inputs; here it sums over n_out.":
                    expected * widths[:, 1] / widths[:, 0],
                "This is right for layers of equal width only.": np.where(keras, 0.5, 1 / 6),
                "The two frameworks are exchanged.": np.roll(expected, 3),
            })

    normal = np.random.default_rng(0).normal(size=(100, 200))
    draws = 20
    # Large rows that are positive and small ones that are not: there the place of the ReLU and the
    # order of mean and ratio matter.
    signed = np.where(np.arange(40) < 15, 3, -1)[:, None] * np.abs(normal[:40, :70])
    for rule, n_out, x in (("Keras", 100, 2 * normal), ("PyTorch", 300, 2 * normal),
                           ("Keras", 300, signed), ("PyTorch", 100, normal - 0.5)):
        n_in, rng = x.shape[1], np.random.default_rng(1)
        limit = np.sqrt(6 / (n_in + n_out)) if rule == "Keras" else n_in**-0.5
        tested = (f"{rule}'s rule, {len(x)} inputs of width {n_in}, mean {x.mean():.2f} and mean "
                  f"square {np.mean(x**2):.2f}, {n_out} outputs")
        first, second = ask_drawing(measured, rule=rule, x=x, n_out=n_out, rng=rng)
        got = np.array([number(part, "a gain") for part in [first, second] + [
            ask(measured, rule=rule, x=x, n_out=n_out, rng=rng) for _ in range(draws - 2)]])
        # Exact for these x: an output's mean square is wᵀ A w, A the rectified inputs' second
        # moment; its variance is 2 var² tr A² for Gaussian weights, less for uniform ones.
        second = np.maximum(x, 0).T @ np.maximum(x, 0) / len(x)
        scale = variance(rule, n_in, n_out) / np.mean(x**2)
        mean = scale * np.trace(second)
        error = scale * np.sqrt(2 * np.sum(second**2) / (n_out * draws))
        wrong = not agree(got.mean(), mean, 5 * error)
        compare(got.mean(), mean, what="the measured gain, averaged over 20 draws",
                error=5 * error, tested=tested,
                mistakes=gains_of_mistakes(x, limit, n_out, draws) if wrong else None)
    single_weights(measured)


def gains_of_mistakes(x, limit, n_out, draws):
    """Return the gains of mistakes, averaged over the weights that the same generator draws."""
    rng, rectified = np.random.default_rng(1), np.maximum(x, 0)
    drawn = [rng.uniform(-limit, limit, size=(x.shape[1], n_out)) for _ in range(draws)]
    squares, inputs = np.array([np.mean((rectified @ w) ** 2) for w in drawn]), np.mean(x**2)
    return {
        "The ReLU is missing.": np.mean([np.mean((x @ w) ** 2) for w in drawn]) / inputs,
        "The ReLU comes after the weights; it comes before them.":
            np.mean([np.mean(np.maximum(x @ w, 0) ** 2) for w in drawn]) / inputs,
        "The mean square after the ReLU stands in the denominator; divide by that of x.":
            squares.mean() / np.mean(rectified**2),
        "This is the mean square of the output; divide by that of x.": squares.mean(),
        "This is the factor of the root mean square; asked is the mean square.":
            np.mean(np.sqrt(squares / inputs)),
        "The variance of the output stands for its mean square.":
            np.mean([np.var(rectified @ w) for w in drawn]) / inputs,
    }


def single_weights(measured):
    """Test the weights one by one: of the input (1, 0, 0) and one output the gain is 3 w²."""
    rng, draws = np.random.default_rng(2), 120
    for rule, limit in (("Keras", np.sqrt(6 / 4)), ("PyTorch", 3**-0.5)):
        got = np.array([number(ask(measured, rule=rule, x=np.array([[2.0, 0.0, 0.0]]), n_out=1,
                                   rng=rng), "a gain") for _ in range(draws)])
        tested, squares = f"{rule}'s rule, x = [[2, 0, 0]], n_out = 1", got / (3 * limit**2)
        # 1e-5: a square of float32 numbers, if the weights are drawn as such
        need(squares.max() < 1 + 1e-5, f"tested with {tested}: a gain of {got.max():.4g} needs a "
             f"weight of {np.sqrt(got.max() / 3):.4g}, and U(−a, a) has none above a = "
             f"{limit:.4g}.")
        # w²/a² has the mean 1/3 and the variance 1/5 − 1/9; five standard errors.
        need(abs(squares.mean() - 1 / 3) < 5 * np.sqrt((1 / 5 - 1 / 9) / draws),
             f"tested with {tested}: the mean square of the weights came out as "
             f"{got.mean() / 3:.4g}; U(−a, a) with a = {limit:.4g} has a²/3.")
        negative = number(ask(measured, rule=rule, x=np.array([[-2.0, 0.0, 0.0]]), n_out=1,
                              rng=rng), "a gain")
        need(abs(negative) < 1e-9, "of x = [[−2, 0, 0]] the ReLU leaves nothing, but the gain "
             f"came out as {negative:.4g}.")
