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


print([same_padding(size, kernel=3, stride=2) for size in (28, 14, 7)])
""",
        right=[
            """
def same_padding(size, kernel, stride):
    rest = size % stride
    total = max(kernel - (rest if rest else stride), 0)
    return [total // 2, (total + 1) // 2]
""",
            """
def same_padding(size, kernel, stride):
    starts = np.arange(0, size, stride)
    zeros = np.maximum(starts[-1] + kernel - size, 0)
    return np.array([np.floor(zeros / 2), np.ceil(zeros / 2)])
""",
        ],
        wrong={
            "exchanged": (swap("zeros // 2, zeros - zeros // 2", "zeros - zeros // 2, zeros // 2"),
                          "exchanged"),
            "symmetric": ("def same_padding(size, kernel, stride):\n"
                          "    return (kernel - 1) // 2, (kernel - 1) // 2", "symmetric"),
            "stride forgotten": ("def same_padding(size, kernel, stride):\n    zeros = kernel - 1\n"
                                 "    return zeros // 2, zeros - zeros // 2", "stride 1 only"),
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
        },
    ),
    "adam-epsilon": Planted(
        base="""
def adam_path(gradients, style, learning_rate, epsilon):
    m = v = x = np.zeros(gradients.shape[1])
    path = []
    for t, g in enumerate(gradients, start=1):
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g**2
        first, second = 1 - 0.9**t, 1 - 0.999**t  # what the means lack of being means
        if style == "torch":
            step = m / first / (np.sqrt(v / second) + epsilon)
        else:
            step = np.sqrt(second) / first * m / (np.sqrt(v) + epsilon)
        x = x - learning_rate * step
        path.append(x)
    return np.array(path)


for style in ("torch", "keras"):
    print("step for gradients 1e-3, 1e-5, 1e-6, 1e-7:", style,
          adam_path(np.array([[1e-3, 1e-5, 1e-6, 1e-7]]), style, 1, 1e-7)[0].round(3))
""",
        right=[
            """
class Adam(torch.optim.Adam):
    t, keras = 0, None

    def step(self):
        self.t += 1
        if self.keras:
            self.param_groups[0]["eps"] = self.keras / (1 - 0.999**self.t) ** 0.5
        super().step()


Adam([torch.nn.Parameter(torch.zeros(1))])  # loads what PyTorch's optimisers need


def adam_path(gradients, style, learning_rate, epsilon):
    weight = torch.nn.Parameter(torch.zeros(gradients.shape[1], dtype=gradients.dtype))
    optimizer, path = Adam([weight], lr=learning_rate, eps=epsilon), []
    optimizer.keras = epsilon if style == "keras" else None
    for gradient in gradients:
        weight.grad = gradient.clone()
        optimizer.step()
        path.append(weight.detach().clone())
    return torch.stack(path)
""",
            """
def adam_path(gradients, style, learning_rate, epsilon):
    steps = np.zeros(gradients.shape, dtype=np.float32)
    for j in range(gradients.shape[1]):
        m, v = 0.0, 0.0
        for i in range(gradients.shape[0]):
            m += (1 - 0.9) * (gradients[i, j] - m)
            v += (1 - 0.999) * (gradients[i, j] ** 2 - v)
            a, b = 1 - 0.9 ** (i + 1), (1 - 0.999 ** (i + 1)) ** 0.5
            added = epsilon * b if style == "torch" else epsilon
            steps[i, j] = -learning_rate * m * b / a / (v**0.5 + added)
    return steps.cumsum(axis=0)
""",
        ],
        wrong={
            "styles exchanged": (swap('== "torch"', '== "keras"'), "other framework"),
            "one style": (swap("if style", "if True or style"), "other framework"),
            "no correction": (swap("1 - 0.9**t, 1 - 0.999**t", "1, 1"), "Neither mean"),
            "m not corrected": (swap("1 - 0.9**t", "1"), "mean of the gradients is not"),
            "v not corrected": (swap("1 - 0.999**t", "1"), "mean of the squares is not"),
            "t from 0": (swap("start=1", "start=0"), "division by 0"),
            "t one late": (swap("start=1", "start=2"), None),
            "epsilon in the root": (swap("np.sqrt(v / second) + epsilon",
                                         "np.sqrt(v / second + epsilon)"), "under the root"),
            "no root": (swap("np.sqrt(v / second)", "v / second"), "root of the mean square"),
            "sign": (swap("x - learning_rate", "x + learning_rate"), "sign is reversed"),
            "steps": (swap("x = x - learning_rate", "x = -learning_rate"), "running sum"),
            "last": (swap("np.array(path)", "path[-1]"), "last step only"),
            "no epsilon": (swap(" + epsilon", ""), "ε is missing"),
            "gradient in place of m": (swap("* m + 0.1 * g", "* m + g"), None),
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


print(f"default of mse_loss, KL summed: {kl_weight('mse', 'mean', 'example', 128, 784, 8):.1f}")
print(f"default of mse_loss, KL mean:   {kl_weight('mse', 'mean', 'mean', 128, 784, 8):.1f}")
''',
        right=[
            """
def kl_weight(pixels, pixel_reduction, kl_reduction, n, d, k):
    over = {"sum": lambda a: a.sum(), "mean": lambda a: a.mean(),
            "example": lambda a: a.sum(1).mean()}
    a = over[pixel_reduction](np.ones((n, d))) / d
    b = over[kl_reduction](np.ones((n, k))) / k
    return b / (2 * a) if pixels == "mse" else b / a
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
