"""Tests of the answers in the chapter on one model in two frameworks."""

import itertools

import numpy as np

from genmodels.exercises.compare import agree, ask, ask_drawing, compare, need, number, parts
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
    "same-padding", kind="derive", difficulty=2, minutes=15,
    right="Now ask for which sizes one symmetric `padding` of PyTorch does the same, and try it on "
          "the 28 and 14 pixels of the chapter's convolutions.")
def same_padding(answer):
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


def adam(gradients, style, learning_rate, epsilon, change=""):
    """Return the weights after each step, the running means written as sums over all steps."""
    t = np.arange(1, len(gradients) + 1)[:, None]
    age = t - t.T  # (T, T), of the gradient of a column at the step of a row
    m = np.where(age >= 0, 0.1 * 0.9 ** np.maximum(age, 0), 0) @ gradients
    v = np.where(age >= 0, 0.001 * 0.999 ** np.maximum(age, 0), 0) @ gradients**2
    first, second = 1 - 0.9**t, 1 - 0.999**t
    if change == "uncorrected":
        first, second = np.ones_like(first), np.ones_like(second)
    elif change == "v uncorrected":
        second = np.ones_like(second)
    elif change == "m uncorrected":
        first = np.ones_like(first)
    if style == "keras":
        epsilon = epsilon / np.sqrt(second)
    if change == "in the root":
        steps = m / first / np.sqrt(v / second + epsilon)
    elif change == "no root":
        steps = m / first / (v / second + epsilon)
    else:
        steps = m / first / (np.sqrt(v / second) + epsilon)
    if change == "not summed":
        return -learning_rate * steps
    return -learning_rate * np.cumsum(steps, axis=0)


@exercise(
    "adam-epsilon", kind="build", difficulty=2, minutes=20,
    right="With an ε of 1e-7 both styles nearly agree for gradients of 1e-3, and not for 1e-6. "
          "With Keras's ε of 1e-7 in one program and PyTorch's 1e-8 in the other the difference "
          "is larger still: set both before you compare two training runs.")
def adam_epsilon(answer):
    rng = np.random.default_rng(0)
    gradients = rng.normal(size=(4, 5)) * [1e-2, 1e-5, 1e-6, 1e-7, 1e-8]
    for style in ("torch", "keras"):
        given = (gradients, style, 0.02, 2e-7)
        other = "keras" if style == "torch" else "torch"
        got = ask(answer, gradients=gradients, style=style, learning_rate=0.02, epsilon=2e-7)
        compare(got, adam(*given), what="the weights after each step",
                tested=f'four gradients of five weights, sizes from 1e-2 to 1e-8, ε = 2e-7, style '
                       f'"{style}"',
                mistakes={
                    "This is the style of the other framework: look at what ε is added to.":
                        adam(gradients, other, 0.02, 2e-7),
                    "Neither mean is corrected for its start at zero.":
                        adam(*given, "uncorrected"),
                    "The mean of the squares is not corrected for its start at zero.":
                        adam(*given, "v uncorrected"),
                    "The mean of the gradients is not corrected for its start at zero.":
                        adam(*given, "m uncorrected"),
                    "Here ε stands under the root.": adam(*given, "in the root"),
                    "The root of the mean square is missing.": adam(*given, "no root"),
                    "These are the single steps; the weights are their running sum.":
                        adam(*given, "not summed"),
                    "The weights go up the gradient: the sign is reversed.": -adam(*given),
                    "These are the weights after the last step only.": adam(*given)[-1],
                    "Here ε is missing.": adam(gradients, style, 0.02, 0.0),
                })
        for steps, weights, rate, epsilon in ((1, 1, 0.5, 1e-4), (12, 2, 1e-3, 1e-8), (3, 3, 1, 1)):
            others = rng.normal(size=(steps, weights)) * 100.0 ** rng.uniform(-3, 0, size=weights)
            compare(ask(answer, gradients=others, style=style, learning_rate=rate,
                        epsilon=epsilon), adam(others, style, rate, epsilon),
                    what="the weights after each step",
                    tested=f"T = {steps}, d = {weights}, η = {rate}, ε = {epsilon}, "
                           f'style "{style}"')


@exercise(
    "hidden-kl-weight", kind="derive", difficulty=2, minutes=15, identities=("K3", "B3"),
    right="For digits, `mse_loss` as it is by default with a KL summed over the dimensions has "
          "β = 392. Print the β of your own program before you ask why its dimensions die.")
def hidden_kl_weight(answer):
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
