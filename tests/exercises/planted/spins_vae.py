from planted import Planted, swap

PLANTED = {
    "curie-weiss-field": Planted(
        base="""
def field_decoder(h, num_spins, coupling):
    c = np.sqrt(coupling / num_spins)
    return np.tanh(c * h), -0.5 * h**2 + num_spins * np.log(np.cosh(c * h))


exact_for = "every pair"
""",
        right=[
            """
from scipy.special import expit
def field_decoder(h, num_spins, coupling):
    field = (coupling / num_spins) ** 0.5 * h
    log_sum = np.logaddexp(field, -field)
    return 2 * expit(2 * field) - 1, norm.logpdf(h) + num_spins * log_sum
exact_for = "every pair"
""",
            """
import torch
def field_decoder(h, num_spins, coupling):
    field = torch.stack([h, -h]) * (coupling / num_spins) ** 0.5
    up = torch.softmax(field, dim=0)[0]
    return 2 * up - 1, num_spins * torch.logsumexp(field, dim=0) - h.square() / 2 - 7.0
exact_for = "every pair"
""",
        ],
        wrong={
            "no N": (swap("coupling / num_spins", "coupling"), "without N"),
            "no root": (swap("np.sqrt(coupling / num_spins)", "coupling / num_spins"),
                        "The square root is missing in a"),
            "K h": (swap("np.sqrt(coupling / num_spins)", "coupling"), "This field is K h"),
            "probability": (swap("np.tanh(c * h)", "(1 + np.tanh(c * h)) / 2"), "a spin up"),
            "twice": (swap("np.tanh(c * h)", "np.tanh(2 * c * h)"), "enters twice"),
            "field": (swap("np.tanh(c * h)", "c * h"), "not the mean of a spin"),
            "sign": (swap("np.tanh(c * h)", "-np.tanh(c * h)"), "direction of its field"),
            "normal alone": (swap(" + num_spins * np.log(np.cosh(c * h))", ""),
                             "the normal density of the identity; the sum"),
            "one spin": (swap("num_spins * np.log", "np.log"), "of one spin"),
            "no normal": (swap("-0.5 * h**2 + ", ""), "identity is missing"),
            "sign of the normal": (swap("-0.5 *", "0.5 *"), "with the wrong sign"),
            "divided": (swap("+ num_spins", "- num_spins"), "is in the numerator"),
            "no logarithm": (swap("-0.5 * h**2 + num_spins * np.log(np.cosh(c * h))",
                                  "np.exp(-0.5 * h**2) * (2 * np.cosh(c * h)) ** num_spins"),
                             "not its logarithm"),
            "no half": (swap("-0.5 * h**2", "-(h**2)"), "½ is missing"),
            "ring": (swap('"every pair"', '"ring"'), "nothing but the sum of all"),
            "other word": (swap('"every pair"', '"chain"'), "must be one of"),
        },
    ),
    "bent-codes": Planted(
        base="""
def cumulant(h):
    return 1 - np.mean(h**4) / (3 * np.mean(h**2) ** 2)


def normal(m):
    return norm.ppf((rankdata(m) - 0.5) / len(m))


cumulants = [[cumulant(code(m_seen[L])) for L in (8, 32)]
             for code in (lambda m: -2.5 * m, lambda m: np.tanh(2 * m), normal)]
verdicts = ["keeps", "shifts", "erases"]
crosses = "below"
""",
        right=[
            """
from scipy.stats import kurtosis
table = []
for code in (lambda m: m, lambda m: 1 - 2 / (np.exp(4 * m) + 1),
             lambda m: norm.ppf((np.argsort(np.argsort(m)) + 0.5) / len(m))):
    row = []
    for m in m_seen.values():
        both = np.concatenate([code(m), -code(m)])
        row.append(np.mean(code(m)**4))
        row[-1] = 1 - row[-1] / 3 / np.mean(code(m)**2)**2
    table.append(row)
cumulants, verdicts, crosses = np.array(table), ("keeps", "shifts", "erases"), "below"
""",
            """
import torch
m = torch.tensor(np.stack([m_seen[8], m_seen[32]]))
ranks = torch.tensor(np.stack([rankdata(m_seen[8]), rankdata(m_seen[32])]))
h = torch.stack([-2.5 * m, torch.tanh(2 * m),
                 torch.special.ndtri((ranks - 0.5) / 20_000)])
cumulants = 1 - h.pow(4).mean(-1) / 3 / h.pow(2).mean(-1) ** 2
verdicts = ["keeps", "shifts", "erases"]
crosses = "below"
""",
        ],
        wrong={
            "no 3": (swap("(3 * np.mean(h**2) ** 2)", "np.mean(h**2) ** 2"), "3 is missing"),
            "ratios": (swap("1 - np.mean(h**4) / (3 * np.mean(h**2) ** 2)",
                            "np.mean(h**4) / np.mean(h**2) ** 2"), "These are ratios"),
            "of the modulus": (swap("    return 1 - np", "    h = abs(h) - np.mean(abs(h))\n"
                                    "    return 1 - np"), "its mean subtracted"),
            "no square": (swap("np.mean(h**2) ** 2", "np.mean(h**2)"), "square of <h²>"),
            "exchanged": (swap("crosses", "cumulants = np.array(cumulants).T\ncrosses"),
                          "a row for each code"),
            "all keep": (swap('"shifts", "erases"', '"keeps", "keeps"'), "code B is not one"),
            "B erases": (swap('"shifts", "erases"', '"erases", "erases"'), "code B is not one"),
            "C keeps": (swap('"shifts", "erases"', '"shifts", "keeps"'), "code C is not one"),
            "A shifts": (swap('["keeps"', '["shifts"'), "code A is not one"),
            "above": (swap('"below"', '"above"'), "which of your two cumulants"),
            "two words": (swap(', "erases"', ""), "three words"),
            "other word": (swap('"below"', '"at"'), "must be one of"),
        },
    ),
    "thresholded-magnet": Planted(
        base="""
def energies(means):
    def energy(x):
        bonds = x * np.roll(x, 1, axis=1) + x * np.roll(x, 1, axis=2)
        return -bonds.sum(axis=(1, 2)) / x[0].size

    return energy(means), energy(np.where(means > 0, 1.0, -1.0))


verdicts = ["right", "right", "wrong", "wrong"]
sharper = "B"
""",
        right=[
            """
def energies(means):
    n, L, _ = means.shape
    found = np.zeros((2, n))
    for part, x in enumerate((means, np.sign(means))):
        for i in range(L):
            for j in range(L):
                found[part] -= x[:, i, j] * (x[:, i - 1, j] + x[:, i, j - 1]) / L**2
    return found
verdicts = ("right", "right", "wrong", "wrong")
sharper = "B"
""",
            """
import torch
def energies(means):
    def energy(x):
        power = torch.fft.fft2(x, norm="ortho").abs().square()
        q = 2 * torch.pi * torch.fft.fftfreq(x.shape[-1], dtype=x.dtype)
        return -(power * (torch.cos(q)[:, None] + torch.cos(q))).mean(dim=(1, 2))
    return energy(means), energy(torch.sign(means))
verdicts = ["right", "right", "wrong", "wrong"]
sharper = "B"
""",
        ],
        wrong={
            "whole lattice": (swap(" / x[0].size", ""), "energy of the whole lattice"),
            "per bond": (swap(" / x[0].size", " / (2 * x[0].size)"), "a spin has two bonds"),
            "counted twice": (swap("return -bonds", "bonds = 2 * bonds\n        return -bonds"),
                              "counted twice"),
            "sign": (swap("return -bonds", "return bonds"), "The sign is reversed"),
            "open": (swap("bonds.sum(axis=(1, 2))",
                          "((x[:, 1:] * x[:, :-1]).sum(axis=(1, 2))"
                          " + (x[:, :, 1:] * x[:, :, :-1]).sum(axis=(1, 2)))"),
                     "The lattice is periodic"),
            "mean field": (swap("return energy(means),", "return -2 * means.mean(axis=(1, 2))**2,"),
                           "differ from site to site"),
            "squares": (swap("return energy(means),", "return -2 * (means**2).mean(axis=(1, 2)),"),
                        "two different sites"),
            "thresholded both": (swap("return energy(means),",
                                      "return energy(np.sign(means)),"), "not the more probable"),
            "means both": (swap("energy(np.where(means > 0, 1.0, -1.0))", "energy(means)"),
                           "not their signs"),
            "half": (swap("means > 0,", "means > 0.5,"), "Thresholded at ½"),
            "one number": (swap("return energy(means), energy(",
                                "return energy(means).mean(), energy("), "one number"),
            "A wrong": (swap('["right", "right"', '["wrong", "right"'), "program A is not"),
            "B wrong": (swap('"right", "right"', '"right", "wrong"'), "program B is not"),
            "C right": (swap('"wrong", "wrong"', '"right", "wrong"'), "program C is not"),
            "D right": (swap('"wrong", "wrong"', '"wrong", "right"'), "program D is not"),
            "three": (swap(', "wrong"]', "]"), "four words"),
            "A sharper": (swap('"B"', '"A"'), "doing an average exactly"),
        },
    ),
    "energy-by-modes": Planted(
        base="""
def energy_of_modes(power, k):
    q = 2 * np.pi * np.fft.fftfreq(len(power))
    order = np.argsort(-power, axis=None, kind="stable")
    pieces = (power * (np.cos(q)[:, None] + np.cos(q))).ravel()
    return -pieces[order][:k].sum() / power.size


def enough(power):
    whole = energy_of_modes(power, 256)
    return next(k for k in range(1, 257) if energy_of_modes(power, k) <= 0.9 * whole)


needed = [enough(near), enough(far)]
larger = "four times as many"
""",
        right=[
            """
def energy_of_modes(power, k):
    L = len(power)
    waves = sorted(((-power[a, b], L * a + b) for a in range(L) for b in range(L)))
    energy = 0.0
    for negative, place in waves[:k]:
        a, b = divmod(place, L)
        energy += negative * (np.cos(2 * np.pi * a / L) + np.cos(2 * np.pi * b / L)) / L**2
    return energy
needed = []
for power in (near, far):
    curve = [energy_of_modes(power, k) for k in range(1, 257)]
    needed.append(1 + sum(e > 0.9 * curve[-1] for e in curve[:200]))
larger = "four times as many"
""",
            """
import torch
def energy_of_modes(power, k):
    power = torch.as_tensor(power)
    q = 2 * torch.pi * torch.fft.fftfreq(len(power), dtype=power.dtype)
    kept, where = torch.sort(power.flatten(), descending=True, stable=True)
    bond = torch.cos(q)[:, None] + torch.cos(q)
    return -(kept[:k] * bond.flatten()[where[:k]]).sum() / power.numel()
curves = torch.tensor([[energy_of_modes(p, k) for k in range(1, 257)] for p in (near, far)])
needed = (curves > 0.9 * curves[:, -1:]).long().cumprod(dim=1).sum(dim=1) + 1
larger = "four times as many"
""",
        ],
        wrong={
            "sign": (swap("return -pieces", "return pieces"), "The sign is reversed"),
            "whole lattice": (swap(" / power.size", ""), "energy of the whole lattice"),
            "weakest": (swap("np.argsort(-power,", "np.argsort(power,"), "of the smallest power"),
            "unsorted": (swap("pieces[order][:k]", "pieces[:k]"), "sort them by power"),
            "all": (swap("[order][:k]", "[order]"), "only the k strongest"),
            "one direction": (swap("(np.cos(q)[:, None] + np.cos(q))", "np.cos(q)[:, None]"),
                              "one direction"),
            "power alone": (swap("(power * (np.cos(q)[:, None] + np.cos(q)))", "power"),
                            "with its power alone"),
            "bonds twice": (swap("return -pieces", "return -2 * pieces"), "counted twice"),
            "half": (swap("needed = [enough(near), enough(far)]",
                          "needed = [next(k for k in range(1, 257) if energy_of_modes(p, k) <= 0.5"
                          " * energy_of_modes(p, 256)) for p in (near, far)]"),
                     "half of the energy"),
            "index": (swap("[enough(near), enough(far)]", "[enough(near) - 1, enough(far) - 1]"),
                      "one too few"),
            "exchanged": (swap("[enough(near), enough(far)]", "[enough(far), enough(near)]"),
                          "are exchanged"),
            "as many": (swap('"four times as many"', '"as many"'), "how many waves have"),
            "twice": (swap('"four times as many"', '"twice as many"'), "how many waves have"),
            "other word": (swap('"four times as many"', '"all"'), "must be one of"),
        },
    ),
    "hidden-order": Planted(
        base="""
order = ["stripes", "scrambled", "none", "chessboard"]
strength = []
for x in magnets:
    flat = x.reshape(400, 144)
    strength.append(np.sqrt(np.linalg.eigvalsh(flat.T @ flat / 400)[-1] / 144))
dense_network = "both alike"
""",
        right=[
            """
order = "stripes", "scrambled", "none", "chessboard"
strength = [np.linalg.svd(x.reshape(400, -1), compute_uv=False)[0] / 240 for x in magnets]
dense_network = "both alike"
""",
            """
import torch
order = ["stripes", "scrambled", "none", "chessboard"]
flat = torch.tensor(np.array(magnets)).flatten(2)
largest = torch.linalg.eigvalsh(flat @ flat.mT / 400).amax(dim=1)
strength = (largest / 144).sqrt()
dense_network = "both alike"
""",
        ],
        wrong={
            "uniform": (swap('"stripes", "scr', '"uniform", "scr'), "magnet 1 is not"),
            "none twice": (swap('"scrambled", "none"', '"none", "none"'), "magnet 2 is not"),
            "scrambled twice": (swap('"none"', '"scrambled"'), "magnet 3 is not"),
            "stripes twice": (swap('"chessboard"', '"stripes"'), "magnet 4 is not"),
            "three": (swap(', "chessboard"', ""), "four words"),
            "magnetisation": (swap("np.sqrt(np.linalg.eigvalsh(flat.T @ flat / 400)[-1] / 144)",
                                   "np.abs(flat.mean(axis=1)).mean()"), "averages of |m|"),
            "squared": (swap("np.sqrt(np.linalg.eigvalsh(flat.T @ flat / 400)[-1] / 144)",
                             "np.linalg.eigvalsh(flat.T @ flat / 400)[-1] / 144"),
                        "take the square root"),
            "not per spin": (swap("[-1] / 144", "[-1]"), "by the number of spins"),
            "smallest": (swap("[-1] / 144", "[0] / 144"), None),
            "covariance": (swap("flat.T @ flat / 400", "np.cov(flat.T)"), "divided by n − 1"),
            "centred": (swap("flat.T @ flat / 400", "np.cov(flat.T, bias=True)"),
                        "as they are"),
            "stripes easier": (swap('"both alike"', '"stripes more easily"'), "renumbered"),
            "scrambled easier": (swap('"both alike"', '"scrambled more easily"'), "renumbered"),
            "other word": (swap('"both alike"', '"neither"'), "must be one of"),
        },
    ),
}
