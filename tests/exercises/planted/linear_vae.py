from planted import Planted, swap

PLANTED = {
    "learned-noise": Planted(
        base="""
def solve(eigenvalues, k):
    noise_var = np.mean(eigenvalues[k:])
    return noise_var, np.log(eigenvalues[:k] / noise_var) / 2


switched_off = 0
""",
        right=[
            """
def solve(eigenvalues, k):
    noise_var = (eigenvalues.sum() - eigenvalues[:k].sum()) / (eigenvalues.shape[0] - k)
    kl = []
    for i in range(k):
        variance = noise_var / eigenvalues[i]
        kl.append(0.5 * (1 - variance + variance - 1 - math.log(variance)))
    return [noise_var, kl]

switched_off = 0.0
""",
            """
import torch
def solve(eigenvalues, k):
    var = torch.tensor(0.1, dtype=torch.float64)
    for _ in range(200):  # Newton for log var, of the discarded directions
        total, count = eigenvalues[k:].sum() / var, len(eigenvalues) - k
        var = var * torch.exp(torch.clamp(1 - count / total, -1, 1))
    return var, torch.relu(torch.log(eigenvalues[:k]) - torch.log(var)) / 2

switched_off = 0
""",
        ],
        wrong={
            "five directions": (swap("np.mean(eigenvalues[k:])",
                                     "np.sum(eigenvalues[k:]) / (5.5 - k)"), None),
            "sum of the discarded": (swap("np.mean(eigenvalues[k:])", "np.sum(eigenvalues[k:])"),
                                     "total of what is left"),
            "divided by d": (swap("np.mean(eigenvalues[k:])",
                                  "np.sum(eigenvalues[k:]) / len(eigenvalues)"), "all d"),
            "mean of all": (swap("np.mean(eigenvalues[k:])", "np.mean(eigenvalues)"),
                            "mean of all"),
            "mean of the kept": (swap("eigenvalues[k:])", "eigenvalues[:k])"), "are kept"),
            "largest discarded": (swap("np.mean(eigenvalues[k:])", "eigenvalues[k]"),
                                  "largest of the discarded"),
            "standard deviation": (swap("return noise_var,", "return np.sqrt(noise_var),"),
                                   "not σ_x²"),
            "one too few": (swap("eigenvalues[k:])", "eigenvalues[k - 1:])"), "too few"),
            "no half": (swap("noise_var) / 2", "noise_var)"), "½ is missing"),
            "gain": (swap("np.log(eigenvalues[:k] / noise_var) / 2",
                          "(eigenvalues[:k] / noise_var - 1 "
                          "- np.log(eigenvalues[:k] / noise_var)) / 2"), "gains for the ELBO"),
            "signal over noise": (swap("np.log(eigenvalues[:k] / noise_var)",
                                       "np.log(1 + eigenvalues[:k] / noise_var)"),
                                  "squared length"),
            "bits": (swap("np.log(", "np.log2("), "bits"),
            "all eigenvalues": (swap("np.log(eigenvalues[:k] / noise_var)",
                                     "np.log(np.maximum(eigenvalues / noise_var, 1))"),
                                "k dimensions"),
            "one off": (swap("switched_off = 0", "switched_off = 1"), "another number"),
        },
    ),
    "soft-modes": Planted(
        base="""
def modes_kept(num_masses, stiffness, temperature, noise_std):
    q = np.arange(1, num_masses + 1)
    force = 4 * stiffness * np.sin(np.pi * q / (2 * (num_masses + 1))) ** 2
    ratio = temperature / force / noise_std**2
    return np.sum(ratio > 1), np.sum(np.log(np.maximum(ratio, 1))) / 2


wavelengths = "long"
""",
        right=[
            """
def modes_kept(num_masses, stiffness, temperature, noise_std):
    n = num_masses
    forces = stiffness * (2 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1))
    kappa = temperature / np.linalg.eigvalsh(forces)
    used = kappa[kappa > noise_std**2]
    return [len(used), 0.5 * np.sum(np.log(used / noise_std**2))]

wavelengths = "long"
""",
            """
import torch
def modes_kept(num_masses, stiffness, temperature, noise_std):
    number, nats = 0, torch.tensor(0.0, dtype=torch.float64)
    for q in range(1, num_masses + 1):
        force = 2 * stiffness * (1 - math.cos(math.pi * q / (num_masses + 1)))
        if temperature > force * noise_std**2:
            number += 1
            nats += math.log(temperature / force) / 2 - math.log(noise_std)
    return number, nats

wavelengths = "long"
""",
        ],
        wrong={
            "sigma for its square": (swap("noise_std**2", "noise_std"), "taken for σ_x²"),
            "stiff modes": (swap("temperature / force", "temperature * force"),
                            "a stiff mode moves less"),
            "no temperature": (swap("temperature / force", "1 / force"), "temperature is missing"),
            "no stiffness": (swap("4 * stiffness", "4"), "stiffness is missing"),
            "frequencies": (swap("temperature / force", "temperature / np.sqrt(force)"),
                            "frequencies"),
            "free ends": (swap("(2 * (num_masses + 1))", "(2 * num_masses)"), None),
            "no half": (swap("ratio, 1))) / 2", "ratio, 1)))"), "½ is missing"),
            "bits": (swap("np.log(", "np.log2("), "bits"),
            "negative": (swap("np.maximum(ratio, 1)", "ratio"), "it is negative"),
            "short": (swap('"long"', '"short"'), "the other one"),
            "other word": (swap('"long"', '"soft"'), "must be one of"),
            "number alone": (swap(", np.sum(np.log(np.maximum(ratio, 1))) / 2", ""), "2 results"),
        },
    ),
    "landau-phases": Planted(
        base="""
def minimum(data_var, noise_var):
    second = (noise_var - data_var) / (2 * noise_var**2)
    fourth = (2 * data_var - noise_var) / (4 * noise_var**3)
    square = max(-second / (2 * fourth), 0.0)
    return square, second * square + fourth * square**2


ratio = (1 + 1 / 0.9) / 2
order = "continuous"
""",
        right=[
            """
def minimum(data_var, noise_var):
    if data_var <= noise_var:
        return 0, 0
    square = (data_var - noise_var) * noise_var / (2 * data_var - noise_var)
    return [square, -(data_var - noise_var) ** 2 / (4 * noise_var * (2 * data_var - noise_var))]

ratio, order = 1.0556, "continuous"
""",
            """
import torch
def minimum(data_var, noise_var):
    b = torch.tensor((noise_var - data_var) / (2 * noise_var**2), dtype=torch.float64)
    c = (2 * data_var - noise_var) / (4 * noise_var**3)
    square = torch.relu(-b) / (2 * c)
    return square, b * square / 2 if square > 0 else 0 * square

ratio, order = 19 / 18, "continuous"
""",
        ],
        wrong={
            "exact": (swap("max(-second / (2 * fourth), 0.0)", "max(data_var - noise_var, 0.0)"),
                      "exact minimum"),
            "w": (swap("return square,", "return np.sqrt(square),"), "w² is asked for"),
            "negative": (swap("max(-second / (2 * fourth), 0.0)", "-second / (2 * fourth)"),
                         "this is negative"),
            "twice": (swap("(2 * fourth)", "fourth"), "4 w³"),
            "half": (swap("(2 * fourth)", "(4 * fourth)"), "2 w."),
            "sign of F": (swap("second * square + fourth * square**2",
                               "-second * square - fourth * square**2"), "sign is reversed"),
            "first term": (swap(" + fourth * square**2", ""), "term in w² alone"),
            "exact F": (swap("return square, second * square + fourth * square**2",
                             "x = max(data_var / noise_var, 1)\n"
                             "    return square, (1 - x + math.log(x)) / 2"), "exact free energy"),
            "with F(0)": (swap("second * square + fourth", "(math.log(2 * math.pi * noise_var) "
                               "+ data_var / noise_var) / 2 + second * square + fourth"),
                          "free energy at 0 in it"),
            "one per cent": (swap("1 / 0.9", "1 / 0.99"), "1 %"),
            "of w": (swap("1 / 0.9", "1 / 0.81"), "not w²"),
            "other way round": (swap("1 / 0.9", "0.9"), "smaller one"),
            "distance": (swap("(1 + 1 / 0.9) / 2", "(1 / 0.9 - 1) / 2"), "κ/σ_x² − 1"),
            "first order": (swap('"continuous"', '"first order"'), "other one"),
            "second": (swap('"continuous"', '"second"'), "must be one of"),
        },
    ),
    "momentum-slowing": Planted(
        base="""
def time_constant(growth, rate, momentum):
    half = (1 + momentum + rate * growth) / 2
    return 1 / np.log(half + np.sqrt(half**2 - momentum))


speed_up, exponent = 10, 1
""",
        right=[
            """
def time_constant(growth, rate, momentum):
    roots = np.roots([1, -(1 + momentum + rate * growth), momentum])
    return 1 / np.log(roots.real.max())

speed_up, exponent = 10.0, 1.0
""",
            """
import torch
def time_constant(growth, rate, momentum):
    step = torch.tensor([[1 + momentum + rate * growth, -momentum], [1.0, 0.0]],
                        dtype=torch.float64)
    return 1 / torch.log(torch.linalg.eigvals(step).real.max())

speed_up = 1 / (1 - 0.9)
exponent = 1
""",
        ],
        wrong={
            "no momentum": (swap("(1 + momentum + rate * growth) / 2",
                                 "(1 + rate * growth) / 2", "half**2 - momentum", "half**2"),
                            "without momentum"),
            "small steps": (swap("1 / np.log(half + np.sqrt(half**2 - momentum))",
                                 "1 / (rate * growth)"), "small steps only"),
            "scaled rate": (swap("1 / np.log(half + np.sqrt(half**2 - momentum))",
                                 "1 / np.log(1 + rate * growth / (1 - momentum))"), "multiplies"),
            "limit": (swap("1 / np.log(half + np.sqrt(half**2 - momentum))",
                           "(1 - momentum) / (rate * growth)"), "not reached"),
            "factor 2": (swap("1 / np.log(", "np.log(2) / np.log("), "factor 2"),
            "factor 10": (swap("1 / np.log(", "np.log(10) / np.log("), "factor 10"),
            "factor": (swap("1 / np.log(half + np.sqrt(half**2 - momentum))",
                            "half + np.sqrt(half**2 - momentum)"), "factor of one update"),
            "rate": (swap("1 / np.log(half", "np.log(half"), "one over"),
            "one momentum": (swap("half**2 - momentum", "half**2 - 0.9 * momentum"), None),
            "slower": (swap("speed_up, exponent = 10, 1", "speed_up, exponent = 0.1, 1"), "1 − m;"),
            "root": (swap("exponent = 10, 1", "exponent = 10**0.5, 1"), "√(1 − m)"),
            "sign of the power": (swap("speed_up, exponent = 10, 1", "speed_up, exponent = 10, -1"),
                                  "comes nearer"),
            "tuned": (swap("exponent = 10, 1", "exponent = 10, 0.5"), "chosen anew"),
        },
    ),
    "count-kept": Planted(
        base="""
def kept(x, noise_std, k):
    singular = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)
    eigenvalues = singular**2 / len(x)
    return min(k, int(np.sum(eigenvalues > noise_std**2)))


wrong_lines = [1, 3]
in_255 = "more"
""",
        right=[
            """
def kept(x, noise_std, k):
    eigenvalues = np.linalg.eigvalsh(np.cov(x.T, bias=True))
    return np.minimum(k, np.sum(np.sqrt(eigenvalues) > noise_std))

wrong_lines, in_255 = (3, 1), "more"
""",
            """
import torch
def kept(x, noise_std, k):
    centred = x - x.mean(dim=0)
    values = torch.linalg.svdvals(centred / noise_std)
    return (values[:k] > len(x) ** 0.5).sum()

wrong_lines, in_255 = np.array([1, 3]), "more"
""",
        ],
        wrong={
            "as it was": (swap("x - x.mean(axis=0), compute", "x, compute", "noise_std**2",
                               "noise_std"), "as it is"),
            "not centred": (swap("x - x.mean(axis=0), compute", "x, compute"),
                            "mean of the data still"),
            "not squared": (swap("noise_std**2", "noise_std"), "threshold is σ_x²"),
            "not divided": (swap(" / len(x)", ""), "number of examples"),
            "not limited": (swap("min(k, int(np.sum(eigenvalues > noise_std**2)))",
                                 "int(np.sum(eigenvalues > noise_std**2))"), "more than k"),
            "line 2": (swap("[1, 3]", "[1, 2]"), "are others"),
            "one line": (swap("[1, 3]", "[3]"), "are others"),
            "no line": (swap("[1, 3]", "[0]"), "list of line numbers"),
            "fewer": (swap('"more"', '"fewer"'), "another one"),
            "other word": (swap('"more"', '"all"'), "must be one of"),
        },
    ),
}
