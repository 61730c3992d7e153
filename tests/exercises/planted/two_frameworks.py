from planted import Planted, swap

PLANTED = {
    "keras-to-torch": Planted(
        base="""
def to_torch(kernel, image=None):
    if kernel.ndim == 4:
        return kernel.transpose(3, 2, 0, 1)
    if image is not None:
        rows = kernel.reshape(*image, kernel.shape[1])  # (h, w, c, out)
        kernel = rows.transpose(2, 0, 1, 3).reshape(kernel.shape)
    return kernel.T


print("convolution           ", *torch.nn.Conv2d(4, 5, (2, 3)).weight.shape, "and",
      *to_torch(np.zeros((2, 3, 4, 5))).shape)
print("transposed convolution", *torch.nn.ConvTranspose2d(5, 4, (2, 3)).weight.shape, "and",
      *to_torch(np.zeros((2, 3, 4, 5))).shape)
""",
        right=[
            """
def to_torch(kernel, image=None):
    if len(kernel.shape) == 4:
        return kernel.permute(3, 2, 0, 1).contiguous()
    if image is None:
        return kernel.t()
    h, w, c = image
    order = torch.arange(h * w * c).reshape(h, w, c).permute(2, 0, 1).flatten()
    return kernel[order].t()
""",
            """
def to_torch(kernel, image=None):
    if kernel.ndim == 4:
        return np.einsum("hwio->oihw", kernel).astype(np.float32)
    if image is None:
        return np.swapaxes(kernel, 0, 1)
    h, w, c = image
    columns = [kernel[(a * w + b) * c + i] for i in range(c) for a in range(h) for b in range(w)]
    return np.stack(columns, axis=1)
""",
        ],
        wrong={
            "dense not transposed": (
                "def to_torch(kernel, image=None):\n    return kernel.transpose(3, 2, 0, 1) "
                "if kernel.ndim == 4 else kernel", "(out, in)"),
            "in and out exchanged": (swap("(3, 2, 0, 1)", "(2, 3, 0, 1)"), "the channels have "),
            "rows and columns": (swap("(3, 2, 0, 1)", "(3, 2, 1, 0)"), "rows and columns"),
            "flipped": (swap("kernel.transpose(3, 2, 0, 1)",
                             "kernel[::-1, ::-1].transpose(3, 2, 0, 1)"), "flipped"),
            "reshape": (swap("kernel.transpose(3, 2, 0, 1)",
                             "kernel.reshape(kernel.shape[::-1][:2] + kernel.shape[:2])"),
                        "no number"),
            "order forgotten": (swap("image is not None", "False"), "still Keras's"),
            "inverse permutation": (swap(
                "reshape(*image,", "reshape(image[2], *image[:2],",
                "(2, 0, 1, 3)", "(1, 2, 0, 3)"), "other way round"),
            "columns first": (swap("(2, 0, 1, 3)", "(2, 1, 0, 3)"), "columns before rows"),
            "rows not transposed": (swap("kernel = rows", "return rows"), "(in, out)"),
        },
    ),
    "same-padding": Planted(
        base="""
def same_padding(size, kernel, stride):
    windows = -(-size // stride)  # rounded up
    zeros = max((windows - 1) * stride + kernel - size, 0)
    return zeros // 2, zeros - zeros // 2


pixels, direction = 1 + 2, "down and right"
print([same_padding(size, kernel=3, stride=2) for size in (28, 14, 7)])
""",
        right=[
            """
def same_padding(size, kernel, stride):
    rest = size % stride
    total = max(kernel - (rest if rest else stride), 0)
    return [total // 2, (total + 1) // 2]


pixels, direction = 3.0, "down and right"
""",
            """
def same_padding(size, kernel, stride):
    starts = np.arange(0, size, stride)
    zeros = np.maximum(starts[-1] + kernel - size, 0)
    return np.array([np.floor(zeros / 2), np.ceil(zeros / 2)])


direction = "down and right"
pixels = torch.tensor(sum(2**layer for layer in range(2)))
""",
        ],
        wrong={
            "exchanged": (swap("zeros // 2, zeros - zeros // 2", "zeros - zeros // 2, zeros // 2"),
                          "exchanged"),
            "symmetric": (swap("zeros // 2, zeros - zeros // 2",
                               "(kernel - 1) // 2, (kernel - 1) // 2"), "symmetric"),
            "stride forgotten": (swap("max((windows - 1) * stride + kernel - size, 0)",
                                      "kernel - 1"), "stride 1 only"),
            "negative": (swap("max((windows - 1) * stride + kernel - size, 0)",
                              "(windows - 1) * stride + kernel - size"), "negative"),
            "rounded down": (swap("-(-size // stride)", "size // stride"), "down"),
            "at the end": (swap("zeros // 2, zeros - zeros // 2", "0, zeros"), "at the end"),
            "one window too many": (swap("(windows - 1)", "windows"), "size 1, kernel 1, stride 1"),
            "half zeros": (swap("zeros - zeros // 2", "zeros / 2"), "are whole"),
            "negative, and half zeros of larger images": (swap(
                "max((windows - 1) * stride + kernel - size, 0)",
                "(windows - 1) * stride + kernel - size", "zeros - zeros // 2",
                "zeros / 2 if size > 2 else zeros - zeros // 2"),
                "size 3, kernel 2, stride 1 gave (0, 0.5): the numbers of zeros are whole"),
            "sum only": (swap("zeros // 2, zeros - zeros // 2", "zeros"), "2 results"),
            "up and left": (swap("down and right", "up and left"), "not the direction"),
            "another word": (swap("down and right", "right"), "must be one of"),
            "one layer": (swap("1 + 2", "1"), "the first layer does"),
            "one pixel in each layer": (swap("1 + 2", "1 + 1"), "second layer wide"),
            "second layer 3 pixels wide": (swap("1 + 2", "1 + 3"), "How wide is"),
            "three layers": (swap("1 + 2", "1 + 2 + 4"), "three layers"),
            "negative shift": (swap("1 + 2", "-3"), "without a sign"),
        },
    ),
    "adam-epsilon": Planted(
        base="""
def torch_epsilon(t, epsilon, factor):
    return epsilon / factor / np.sqrt(1 - 0.999**t)


changes = ["nothing", "objective", "nothing", "step"]
for name, own in (("a", 784e-8), ("c", torch_epsilon(1, 1e-7, 1)),
                  ("d", torch_epsilon(1, 1e-7, 1 / 784))):
    print(f"{name}: like an epsilon of {own:.1e}, first step of the smallest gradient "
          f"{2e-3 / (2e-3 + own):.3f} η")
""",
        right=[
            """
import math


def torch_epsilon(t, epsilon, factor):
    return torch.tensor(epsilon / (factor * math.sqrt(-math.expm1(t * math.log(0.999)))))


changes = ("nothing", "objective", "nothing", "step")
""",
            """
def torch_epsilon(t, epsilon, factor):
    v = v_times_factor = 0.0
    for _ in range(t):
        v = 0.999 * v + 0.001
    # Keras's root over PyTorch's, for gradients of 1 in PyTorch's program
    return epsilon / (factor * v**0.5)


changes = "nothing objective nothing step".split()
""",
        ],
        wrong={
            "factor on the wrong side": (swap("epsilon / factor", "epsilon * factor"),
                                         "a larger loss make epsilon"),
            "no factor": (swap("epsilon / factor", "epsilon"), "factor is missing"),
            "factor squared": (swap("epsilon / factor", "epsilon / factor**2"), "by its square"),
            "no root": (swap("np.sqrt(1 - 0.999**t)", "(1 - 0.999**t)"), "root is missing"),
            "root on the wrong side": (swap("/ np.sqrt", "* np.sqrt"), "correction stands"),
            "other way round": (swap("epsilon / factor / np.sqrt", "epsilon * factor * np.sqrt"),
                                "one of PyTorch"),
            "no correction": (swap(" / np.sqrt(1 - 0.999**t)", ""), "corrections are missing"),
            "correction of m": (swap("np.sqrt(1 - 0.999**t)", "(1 - 0.9**t)"),
                                "correction of m; both"),
            "root of the correction of m": (swap("0.999", "0.9"), "of m, with a root"),
            "both corrections": (swap("/ np.sqrt", "* (1 - 0.9**t) / np.sqrt"),
                                 "Both corrections"),
            "the first step only": (swap("0.999**t", "0.999"), None),
            "t from 0": (swap("0.999**t", "0.999 ** (t + 1)"), None),
            "a moves the steps": (swap('["nothing"', '["step"'), "a is not 'step'"),
            "a is another objective": (swap('["nothing"', '["objective"'), "a: a factor in front"),
            "b changes nothing": (swap('"objective"', '"nothing"'), "b: write both terms"),
            "b changes the step": (swap('"objective"', '"step"'), "b: write both terms"),
            "c moves the steps": (swap('"nothing", "step"', '"step", "step"'), "c is not 'step'"),
            "d changes nothing": (swap('"step"]', '"nothing"]'), "d is not 'nothing'"),
            "three words": (swap('"objective", ', ""), "list of four words"),
            "another word": (swap('"step"]', '"steps"]'), "must be one of"),
        },
    ),
    "hidden-kl-weight": Planted(
        base='''
def kl_weight(pixels, pixel_reduction, kl_reduction, n, d, k):
    def share(reduction, size):
        """Return the weight of one of n × size terms."""
        return {"sum": 1, "example": 1 / n, "mean": 1 / (n * size)}[reduction]

    beta = share(kl_reduction, k) / share(pixel_reduction, d)
    return beta / 2 if pixels == "mse" else beta


programs = [("bce", "mean", "mean"), ("mse", "sum", "sum"),
            ("bce", "example", "example"), ("mse", "mean", "example")]
temperatures = ["hot", "cold", "one", "hot"]
noise_stds = np.sqrt([1 / 2, 784 / 2])  # of b and d
print("temperatures", [kl_weight(*program, 128, 784, 8) for program in programs])
print("pixel noise of b and d", noise_stds.round(2))
''',
        right=[
            """
def kl_weight(pixels, pixel_reduction, kl_reduction, n, d, k):
    over = {"sum": lambda a: a.sum(), "mean": lambda a: a.mean(),
            "example": lambda a: a.sum(1).mean()}
    a = over[pixel_reduction](np.ones((n, d))) / d
    b = over[kl_reduction](np.ones((n, k))) / k
    return b / (2 * a) if pixels == "mse" else b / a


temperatures = ("hot", "cold", "one", "hot")
noise_stds = [0.5**0.5, 14 * 2**0.5]
""",
            """
def kl_weight(pixels, pixel_reduction, kl_reduction, n, d, k):
    beta = 0.5 if pixels == "mse" else 1.0
    beta *= {"sum": 1 / n, "mean": d, "example": 1}[pixel_reduction]
    if kl_reduction == "sum":
        beta *= n
    elif kl_reduction == "mean":
        beta /= k
    return torch.tensor(beta)


temperatures = "hot cold one hot".split()
noise_stds = torch.tensor([1 / 2, 392.0]).sqrt()
""",
        ],
        wrong={
            "no half": (swap("beta / 2", "beta"), "missing for the squares"),
            "half on the wrong side": (swap("beta / 2", "beta * 2"), "wrong side"),
            "inverse": (swap("share(kl_reduction, k) / share(pixel_reduction, d)",
                             "share(pixel_reduction, d) / share(kl_reduction, k)",
                             "beta / 2", "beta * 2"), "1/β"),
            "inverse, half not": (swap("share(kl_reduction, k) / share(pixel_reduction, d)",
                                       "share(pixel_reduction, d) / share(kl_reduction, k)"),
                                  "pixels = "),
            "sum for example": (swap('"sum": 1,', '"sum": 1 / n,'), '"sum" for "example"'),
            "mean without n": (swap("1 / (n * size)", "1 / size"), "divides by n as well"),
            "mean without size": (swap("1 / (n * size)", "1 / n"), "last axis as well"),
            "d and k exchanged": (swap("reduction, k)", "reduction, 0)", "reduction, d)",
                                       "reduction, k)", "reduction, 0)", "reduction, d)"), None),
            "half for bce": (swap('== "mse"', '== "bce"'), None),
            "two means are balanced": (swap('["hot"', '["one"'), "program a is not 'one'"),
            "two sums are balanced": (swap('"cold"', '"one"'), "program b is not 'one'"),
            "c divides the energy": (swap('"one"', '"hot"'), "program c is not 'hot'"),
            "d is cold": (swap('"one", "hot"]', '"one", "cold"]'), "program d is not 'cold'"),
            "three temperatures": (swap('"one", ', ""), "four words"),
            "lukewarm": (swap('"one"', '"warm"'), "must be one of"),
            "variances": (swap("np.sqrt([1 / 2, 784 / 2])", "[1 / 2, 784 / 2]",
                               ".round(2)", ""), "are variances"),
            "exponent without its half": (swap("[1 / 2, 784 / 2]", "[1, 784]"),
                                          "½ of the exponent is missing"),
            "precisions": (swap("[1 / 2, 784 / 2]", "[2, 2 / 784]"),
                           "This is 1/σ"),
            "noise of d and b": (swap("[1 / 2, 784 / 2]", "[784 / 2, 1 / 2]"), "exchanged"),
            "the half comes in twice": (swap("[1 / 2, 784 / 2]", "[1 / 4, 784 / 4]"),
                                        "comes in twice"),
            "one noise": (swap("[1 / 2, 784 / 2]", "784 / 2"), "2 results"),
        },
    ),
    "initial-gain": Planted(
        base="""
def predicted_gain(rule, n_in, n_out):
    variance = 2 / (n_in + n_out) if rule == "Keras" else 1 / (3 * n_in)
    return n_in * variance / 2


def measured_gain(rule, x, n_out, rng):
    n_in = x.shape[1]
    limit = np.sqrt(6 / (n_in + n_out)) if rule == "Keras" else 1 / np.sqrt(n_in)
    weights = rng.uniform(-limit, limit, size=(n_in, n_out))
    return np.mean((np.maximum(x, 0) @ weights) ** 2) / np.mean(x**2)


for rule in ("Keras", "PyTorch"):
    print(f"400 to 100, {rule}: predicted {predicted_gain(rule, 400, 100):.3f}, one draw", round(
        float(measured_gain(rule, np.random.default_rng(0).normal(size=(500, 400)), 100,
                            np.random.default_rng(1))), 3))
""",
        right=[
            """
import math


def predicted_gain(rule, n_in, n_out):
    if rule == "PyTorch":
        return 1 / 6
    return n_in / (n_in + n_out)


def measured_gain(rule, x, n_out, rng):
    n_in = x.shape[1]
    a = math.sqrt(6 / (n_in + n_out) if rule == "Keras" else 1 / n_in)
    y = np.where(x > 0, x, 0) @ (a * (2 * rng.random((n_in, n_out)) - 1))
    return (y**2).mean() / (x**2).mean()
""",
            """
def predicted_gain(rule, n_in, n_out):
    limit = {"Keras": (6 / (n_in + n_out)) ** 0.5, "PyTorch": n_in**-0.5}[rule]
    return torch.tensor(n_in * limit**2 / 6)


def measured_gain(rule, x, n_out, rng):
    torch.manual_seed(int(rng.integers(2**31)))
    layer = torch.nn.Linear(x.shape[1], n_out, bias=False)
    if rule == "Keras":
        torch.nn.init.xavier_uniform_(layer.weight)
    with torch.no_grad():
        return layer(torch.relu(x.float())).square().mean() / x.square().mean()
""",
        ],
        wrong={
            "no ReLU predicted": (swap("n_in * variance / 2", "n_in * variance"),
                                  "What the ReLU takes away"),
            "limit as standard deviation": (swap("2 / (n_in + n_out)", "6 / (n_in + n_out)",
                                                 "1 / (3 * n_in)", "1 / n_in"), "variance of U"),
            "root": (swap("n_in * variance / 2", "np.sqrt(n_in * variance / 2)"),
                     "root mean square"),
            "only the variance": (swap("n_in * variance / 2", "variance"), "variances of the"),
            "sum over outputs": (swap("n_in * variance / 2", "n_out * variance / 2"),
                                 "sums over n_out"),
            "equal widths": (swap("n_in * variance / 2", "1 / 2 if rule == 'Keras' else 1 / 6"),
                             "equal width only"),
            "exchanged": (swap('"Keras"', '"PyTorch"'), "exchanged"),
            "no ReLU measured": (swap("np.maximum(x, 0)", "x"), "ReLU is missing"),
            "not divided": (swap(" / np.mean(x**2)", ""), "divide by that of x"),
            "after the ReLU": (swap("np.mean(x**2)", "np.mean(np.maximum(x, 0) ** 2)"),
                               "denominator"),
            "ReLU after the weights": (swap("np.mean((np.maximum(x, 0) @ weights) ** 2)",
                                            "np.mean(np.maximum(x @ weights, 0) ** 2)"),
                                       "comes after the weights"),
            "own generator": (swap("rng.uniform", "np.random.default_rng().uniform"),
                              "where it was before"),
            "reseeded": (swap("rng.uniform", "np.random.default_rng(0).uniform"),
                         "where it was before"),
            "torch's generator": (swap("rng.uniform(-limit, limit, size=(n_in, n_out))",
                                       "limit * (2 * np.random.random((n_in, n_out)) - 1)"),
                                  "where it was before"),
            "normal of the same variance": (swap("rng.uniform(-limit, limit,",
                                                 "rng.normal(0, limit / 3**0.5,"),
                                            "has none above"),
            "mean of the ratios": (swap("np.mean((np.maximum(x, 0) @ weights) ** 2) / "
                                        "np.mean(x**2)",
                                        "np.mean(np.mean((np.maximum(x, 0) @ weights) ** 2, axis=1)"
                                        " / np.mean(x**2, axis=1))"), "not right"),
            "half of the outputs": (swap("size=(n_in, n_out)", "size=(n_in, 1)"), None),
            "root measured": (swap("return np.mean((np.maximum(x, 0) @ weights) ** 2) / "
                                   "np.mean(x**2)", "return np.sqrt(np.mean((np.maximum(x, 0) @ "
                                   "weights) ** 2) / np.mean(x**2))"), "root mean square"),
            "normal of the limit": (swap("rng.uniform(-limit, limit,", "rng.normal(0, limit,"),
                                    "not right"),
            "not measured": (swap("return np.mean((", "return predicted_gain(rule, n_in, n_out)\n"
                                  "    return np.mean(("), "exactly the same"),
        },
    ),
}
