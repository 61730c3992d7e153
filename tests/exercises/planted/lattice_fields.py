from planted import Planted, swap

PLANTED = {
    "read-the-table": Planted(
        base="""
def gaussian(chi2, N):
    return np.sqrt(2 * chi2 / (np.pi * N)), 0.0


verdicts = ["Gaussian", "in equilibrium", "two sharp values of M", "not symmetric"]
""",
        right=[
            """
def gaussian(chi2, N):
    s = (chi2 / N) ** 0.5
    x = np.linspace(-10 * s, 10 * s, 100_001)
    p = np.exp(-x**2 / (2 * s**2))
    p /= p.sum()
    return [np.sum(p * abs(x)), 1 - np.sum(p * x**4) / (3 * np.sum(p * x**2) ** 2)]
verdicts = ("Gaussian", "in equilibrium", "two sharp values of M", "not symmetric")
""",
            """
import torch
def gaussian(chi2, N):
    s = torch.sqrt(torch.tensor(chi2 / N, dtype=torch.float64))
    return s * (2 / np.pi) ** 0.5, torch.zeros(())
verdicts = ["Gaussian", "in equilibrium", "two sharp values of M", "not symmetric"]
""",
        ],
        wrong={
            "deviation": (swap("np.sqrt(2 * chi2 / (np.pi * N))", "np.sqrt(chi2 / N)"),
                          "standard deviation of M"),
            "no N": (swap("(np.pi * N)", "np.pi"), "N times the variance"),
            "square": (swap("np.sqrt(2 * chi2 / (np.pi * N))",
                            "np.sqrt(2 / np.pi) * chi2 / N"), "takes it for the standard"),
            "sharp": (swap("0.0", "2 / 3"), "M of one size"),
            "exchanged": (swap("np.sqrt(2 * chi2 / (np.pi * N)), 0.0",
                               "0.0, np.sqrt(2 * chi2 / (np.pi * N))"), "exchanged"),
            "upside down": (swap("2 * chi2 / (np.pi * N)", "np.pi * chi2 / (2 * N)"),
                            "not √(π/2)"),
            "A": (swap('["Gaussian", "in equilibrium"', '["in equilibrium", "in equilibrium"'),
                  "A is something else"),
            "C": (swap('"two sharp values of M", "not', '"Gaussian", "not'),
                  "C is something else"),
            "D": (swap('"not symmetric"', '"in equilibrium"'), "D is something else"),
            "three": (swap(', "not symmetric"', ""), "a list of 4"),
        },
    ),
    "shared-angle": Planted(
        base="""
def slope(P, Q, theta):
    c, s = np.cos(theta), np.sin(theta)
    return (Q - P) * s * c / (P * c**2 + Q * s**2)


def ratio(P, Q, thetas):
    return Q / P * np.prod(1 + slope(P, Q, thetas[:-1]) * np.diff(thetas)) ** 2


exact_for = "modes with P = Q"
""",
        right=[
            """
def slope(P, Q, theta):
    sigma = np.sqrt(Q) * np.tan(theta)
    x0 = P * np.sqrt(Q + sigma**2) / (P + sigma**2)
    return (np.cos(theta) - x0 / np.sqrt(Q)) / np.sin(theta)
def ratio(P, Q, thetas):
    y = 1.0
    for now, then in zip(thetas, thetas[1:]):
        y += slope(P, Q, now) * y * (then - now)
    return y * y * Q / P
exact_for = "modes with P = Q"
""",
            """
import torch
def slope(P, Q, theta):
    t = torch.tan(torch.as_tensor(theta, dtype=torch.float64))
    return (Q - P) * t / (P + Q * t**2)
def ratio(P, Q, thetas):
    steps = torch.diff(torch.as_tensor(thetas))
    return torch.prod(1 + slope(P, Q, thetas[:-1]) * steps) ** 2 * Q / P
exact_for = "modes with P = Q"
""",
        ],
        wrong={
            "sign": (swap("(Q - P)", "(P - Q)"), "sign is reversed"),
            "exchanged": (swap("(Q - P) * s * c / (P * c**2 + Q * s**2)",
                               "(P - Q) * s * c / (Q * c**2 + P * s**2)"), "exchanged"),
            "no sine": (swap("* s * c /", "* s**2 * c /"), "sin θ is missing"),
            "no Q": (swap("return Q / P * np.prod", "return 1 / P * np.prod"), "z = √Q y"),
            "variance": (swap("Q / P *", "Q *"), "divide it by P"),
            "no square": (swap("np.diff(thetas)) ** 2", "np.diff(thetas))"),
                          "square of the product"),
            "y alone": (swap("Q / P * np.prod", "np.prod"), "y alone"),
            "at the end": (swap("thetas[:-1]", "thetas[1:]"), "where the step begins"),
            "all": (swap("modes with P = Q", "all modes"), "vanish"),
            "none": (swap("modes with P = Q", "no mode"), "vanish"),
        },
    ),
    "make-it-odd": Planted(
        base="""
def odd_part(denoiser):
    def symmetric(x, alpha_bar):
        return (denoiser(x, alpha_bar) - denoiser(-x, alpha_bar)) / 2

    return symmetric


odd = ["tanh(K*x)", "M x²", "x |M|", "h² x"]
""",
        right=[
            """
def odd_part(denoiser):
    return lambda x, alpha_bar: 0.5 * denoiser(x, alpha_bar) - 0.5 * denoiser(-x, alpha_bar)
odd = ("h² x", "x |M|", "M x²", "tanh(K*x)")
""",
            """
def odd_part(denoiser):
    def symmetric(x, alpha_bar):
        return np.mean([s * np.asarray(denoiser(s * x, alpha_bar)) for s in (1, -1)], axis=0)
    return symmetric
odd = {"tanh(K*x)", "M x²", "x |M|", "h² x"}
""",
        ],
        wrong={
            "even": (swap(" - denoiser(-x", " + denoiser(-x"), "even part"),
            "double": (swap(" / 2", ""), "twice the odd part"),
            "sign": (swap("(denoiser(x, alpha_bar) - denoiser(-x, alpha_bar))",
                          "(denoiser(-x, alpha_bar) - denoiser(x, alpha_bar))"),
                     "sign is reversed"),
            "as it was": (swap("(denoiser(x, alpha_bar) - denoiser(-x, alpha_bar)) / 2",
                               "denoiser(x, alpha_bar)"), "as it was"),
            "mirrored": (swap("(denoiser(x, alpha_bar) - denoiser(-x, alpha_bar)) / 2",
                              "-denoiser(-x, alpha_bar)"), "others do not become odd"),
            "at 0": (swap("(denoiser(x, alpha_bar) - denoiser(-x, alpha_bar)) / 2",
                          "denoiser(x, alpha_bar) - denoiser(0 * x, alpha_bar)"),
                     "still there"),
            "no function": (swap("    return symmetric\n", "    return 3.0\n"),
                            "a function too"),
            "M x": (swap('"M x²"', '"M x²", "M x"'), "`M x` is not odd"),
            "constant": (swap('"M x²"', '"M x²", "K*x + 1"'), "`K*x + 1` is not odd"),
            "missing": (swap('"x |M|", ', ""), "is missing"),
            "a word": (swap('"h² x"]', '"h"]'), "list of names"),
        },
    ),
    "field-by-weights": Planted(
        base="""
def in_field(M, N, B):
    log_w = B * N * M
    w = np.exp(log_w - log_w.max())
    return np.sum(w * M) / np.sum(w), np.sum(w) ** 2 / np.sum(w**2) / len(M)


fails_first = "64 × 64"
""",
        right=[
            """
def in_field(M, N, B):
    p = np.exp(B * N * M - logsumexp(B * N * M))
    return [p @ M, 1 / (len(M) * p @ p)]
fails_first = "64 × 64"
""",
            """
import torch
def in_field(M, N, B):
    p = torch.softmax(B * N * M, dim=0)
    return torch.sum(p * M), 1 / torch.mean((p * len(M)) ** 2)
fails_first = "64 × 64"
""",
        ],
        wrong={
            "not divided": (swap(" / len(M)", ""), "not divided by n"),
            "no N": (swap("B * N * M", "B * M"), "couples to the sum"),
            "sign": (swap("B * N * M", "-B * N * M"), "sign of the field"),
            "no weights": (swap("np.sum(w * M) / np.sum(w)", "np.mean(M)"), "without weights"),
            "overflow": (swap(" - log_w.max()", ""), "not a finite number"),
            "exchanged": (swap("return np.sum(w * M) / np.sum(w), "
                               "np.sum(w) ** 2 / np.sum(w**2) / len(M)",
                               "return np.sum(w) ** 2 / np.sum(w**2) / len(M), "
                               "np.sum(w * M) / np.sum(w)"), "exchanged"),
            "small lattice": (swap('"64 × 64"', '"16 × 16"'), "depend on N"),
            "both": (swap('"64 × 64"', '"both at the same B"'), "depend on N"),
        },
    ),
    "four-log-z": Planted(
        base="""
def estimates(log_w, log_v):
    from_q = logsumexp(log_w) - np.log(len(log_w))
    from_p = np.log(len(log_v)) - logsumexp(-log_v)
    return from_q, from_p, log_v.mean() - log_w.mean()


meaning = ["lower bound", "log Z", "log Z", "upper bound"]
""",
        right=[
            """
def estimates(log_w, log_v):
    top, low = log_w.max(), log_v.min()
    return [top + np.log(np.mean(np.exp(log_w - top))),
            low - np.log(np.mean(np.exp(low - log_v))), np.mean(log_v) - np.mean(log_w)]
meaning = ("lower bound", "log Z", "log Z", "upper bound")
""",
            """
import torch
def estimates(log_w, log_v):
    def log_mean(a):
        return torch.logsumexp(a, 0) - np.log(len(a))
    return log_mean(log_w), -log_mean(-log_v), log_v.mean() - log_w.mean()
meaning = ["lower bound", "log Z", "log Z", "upper bound"]
""",
        ],
        wrong={
            "w over p": (swap("np.log(len(log_v)) - logsumexp(-log_v)",
                              "logsumexp(log_v) - np.log(len(log_v))"), "is 1/w"),
            "mean": (swap("logsumexp(log_w) - np.log(len(log_w))", "log_w.mean()"),
                     "a lower bound"),
            "upper": (swap("np.log(len(log_v)) - logsumexp(-log_v)", "log_v.mean()"),
                      "an upper bound"),
            "sign": (swap("log_v.mean() - log_w.mean()", "log_w.mean() - log_v.mean()"),
                     "sum of the divergences is reversed"),
            "exchanged": (swap("return from_q, from_p", "return from_p, from_q"), "exchanged"),
            "difference": (swap("log_v.mean() - log_w.mean()", "from_p - from_q"),
                           "in the means of log w"),
            "no numbers": (swap(" - np.log(len(log_w))", "", "np.log(len(log_v)) - ", "-"),
                           "numbers of samples are missing"),
            "overflow": (swap("logsumexp(log_w)", "np.log(np.sum(np.exp(log_w)))"),
                         "not a finite number"),
            "A": (swap('["lower bound", "log Z"', '["log Z", "log Z"'), "A is something else"),
            "D": (swap('"upper bound"', '"log Z"'), "D is something else"),
        },
    ),
}
