from planted import Planted, swap

PLANTED = {
    "ring-in-few-steps": Planted(
        base="""
def order(num_spins):
    step = np.zeros(num_spins, dtype=int)
    gap, now = num_spins, 1
    while gap > 1:
        step[gap // 2::gap] = now
        gap, now = gap // 2, now + 1
    return step


lattice_steps = "L (m + 1)"
""",
        right=[
            """
def order(num_spins):
    m = num_spins.bit_length() - 1
    return [m + 1 - ((i & -i).bit_length()) if i else 0 for i in range(num_spins)]
lattice_steps = "L (m + 1)"
""",
            """
lattice_steps = "L (m + 1)"
def order(num_spins):
    if num_spins == 1:
        return np.array([0])
    finer = np.empty(num_spins)
    finer[1::2] = np.log2(num_spins)
    finer[::2] = order(num_spins // 2)
    return np.roll(finer, 3)
""",
        ],
        wrong={
            "one after the other": (swap("step[gap // 2::gap] = now", "step = np.arange(num_spins)"
                                         ), "fewer are enough"),
            "chessboard": ("""
def order(num_spins):
    step = np.full(num_spins, num_spins // 2)
    step[::2] = np.arange(num_spins // 2)
    return step
lattice_steps = "L (m + 1)"
""", "fewer are enough"),
            "every second one at once": ("""
def order(num_spins):
    return np.arange(num_spins) % 2
lattice_steps = "L (m + 1)"
""", "first in step 0"),
            "all at once": (swap("step[gap // 2::gap] = now", "pass"), "first in step 0"),
            "two at the start": (swap("gap, now = num_spins, 1", "gap, now = num_spins // 2, 1",
                                      "np.zeros(num_spins, dtype=int)",
                                      "np.zeros(num_spins, dtype=int)"), "first in step 0"),
            "blocks of four": ("""
def order(num_spins):
    return np.arange(num_spins) // 4
lattice_steps = "L (m + 1)"
""", "first in step 0"),
            "a list of spins": (swap("return step", "return np.argsort(step)[:num_spins // 2]"),
                                "has shape"),
            "negative": (swap("return step", "return step - 1"), "must be integers"),
            "rows at once": (swap('"L (m + 1)"', '"m + 1"'), "Can they be drawn in one step"),
            "sublattice": (swap('"L (m + 1)"', '"L²/2 + 1"'), "drawn side by side"),
            "another word": (swap('"L (m + 1)"', '"L"'), "must be one of"),
        },
    ),
    "block-cost": Planted(
        base="""
def cost(p):
    b = p.ndim
    total = 0.0
    for configuration in np.ndindex(p.shape):
        if p[configuration] > 0:
            alone = 1.0
            for i in range(b):
                others = tuple(j for j in range(b) if j != i)
                alone *= p.sum(axis=others)[configuration[i]]
            total += p[configuration] * np.log(p[configuration] / alone)
    return total


schedule, larger_gain = "small first", "1.8"
""",
        right=[
            """
from scipy.stats import entropy
def cost(p):
    axes = range(p.ndim)
    single = [entropy(p.sum(axis=tuple(set(axes) - {i}))) for i in axes]
    return sum(single) - entropy(p.ravel())
schedule = "small first"
larger_gain = "1.8"
""",
            """
schedule, larger_gain = "small first", "1.8"
def cost(p):
    product = np.array(1.0)
    for i in range(p.ndim):
        single = p.sum(axis=tuple(j for j in range(p.ndim) if j != i))
        product = np.multiply.outer(product, single)
    there = p > 0
    return np.sum(p[there] * (np.log(p[there]) - np.log(product[there])))
""",
        ],
        wrong={
            "sign": (swap("return total", "return -total"), "never negative"),
            "the other way": ("""
def cost(p):
    product = np.array(1.0)
    for i in range(p.ndim):
        single = p.sum(axis=tuple(j for j in range(p.ndim) if j != i))
        product = np.multiply.outer(product, single)
    return np.sum(product * np.log(product / p))
schedule, larger_gain = "small first", "1.8"
""", "other way round"),
            "fair coins": (swap("alone *= p.sum(axis=others)[configuration[i]]", "alone *= 0.5"),
                           "from fair coins"),
            "entropy": (swap("/ alone", "", "return total", "return -total"),
                        "entropy of the spins together"),
            "per spin": (swap("return total", "return total / b"), "divided by the number"),
            "bits": (swap("np.log(", "np.log2("), "in bits"),
            "unweighted": (swap("total += p[configuration] * ", "total += "), "does not weight"),
            "pairs": ("""
def cost(p):
    total = 0.0
    for a in range(p.ndim):
        for b in range(a):
            pair = p.sum(axis=tuple(j for j in range(p.ndim) if j not in (a, b)))
            product = np.outer(pair.sum(axis=1), pair.sum(axis=0))
            total += np.sum(pair * np.log(pair / product))
    return total
schedule, larger_gain = "small first", "1.8"
""", "sums over the pairs"),
            "zero times log zero": ("""
def cost(p):
    product = np.array(1.0)
    for i in range(p.ndim):
        single = p.sum(axis=tuple(j for j in range(p.ndim) if j != i))
        product = np.multiply.outer(product, single)
    with np.errstate(all="ignore"):
        return np.sum(p * np.log(p / product))
schedule, larger_gain = "small first", "1.8"
""", "nan"),
            "equal": (swap('"small first"', '"equal"'), "loses 1.7"),
            "small last": (swap('"small first"', '"small last"'), "another one less"),
            "gain at 3": (swap('"1.8"', '"3.0"'), "nearly independent"),
            "another word": (swap('"small first"', '"small"'), "must be one of"),
            "a number": (swap('"1.8"', "1.8"), "must be one of"),
        },
    ),
    "which-weight": Planted(
        base="""
def limits(p_tilde, q, other):
    log_w = np.log(p_tilde / q)
    log_z = np.log(np.sum(q * np.exp(log_w)))
    return np.sum(q * log_w), log_z, np.log(np.sum(q * p_tilde / other)), log_z


verdicts = ["too low", "right", "wrong", "right"]
""",
        right=[
            """
def limits(p_tilde, q, other):
    z = p_tilde.sum()
    p = p_tilde / z
    return (np.log(z) - np.sum(q * np.log(q / p)), np.log(z),
            np.log(z * np.sum(p * q / other)), -np.log(np.sum(p * q / p_tilde)))
verdicts = ("too low", "right", "wrong", "right")
""",
            """
verdicts = ["too low", "right", "wrong", "right"]
def limits(p_tilde, q, other):
    a = q @ (np.log(p_tilde) - np.log(q))
    return [a, np.log(sum(p_tilde)), np.log(q @ (p_tilde / other)), np.log(sum(p_tilde))]
""",
        ],
        wrong={
            "A as B": (swap("return np.sum(q * log_w)", "return log_z"), "A averages logarithms"),
            "A over p": (swap("return np.sum(q * log_w)",
                              "return np.sum(p_tilde / p_tilde.sum() * log_w)"), "not of p"),
            "A unweighted": (swap("np.sum(q * log_w)", "np.mean(log_w)"), "does not weight"),
            "A is a divergence": (swap("np.sum(q * log_w)", "np.sum(q * log_w) - log_z"),
                                  "log Z is missing"),
            "B as A": (swap("log_z, np.log(np.sum(q * p", "np.sum(q * log_w), np.log(np.sum(q * p"),
                       "B takes the logarithm"),
            "B is Z": (swap("log_z, np.log(np.sum(q * p",
                            "np.exp(log_z), np.log(np.sum(q * p"), "estimates its logarithm"),
            "B unweighted": (swap("np.log(np.sum(q * np.exp(log_w)))",
                                  "np.log(np.mean(np.exp(log_w)))"), "does not weight"),
            "C as B": (swap("np.log(np.sum(q * p_tilde / other))", "log_z"), "order in the weight"),
            "C averages logarithms": (swap("np.log(np.sum(q * p_tilde / other))",
                                           "np.sum(q * np.log(p_tilde / other))"),
                                      "C takes the logarithm"),
            "C exchanged": (swap("q * p_tilde / other", "other * p_tilde / q"), "exchanged"),
            "D as A": (swap("other)), log_z", "other)), np.sum(q * log_w)"), "samples of p"),
            "D has the other sign": (swap("other)), log_z", "other)), -log_z"), "minus sign"),
            "D over q": (swap("other)), log_z", "other)), -np.log(np.sum(q * q / p_tilde))"),
                         "samples of p, not of q"),
            "A is right": (swap('["too low"', '["right"'), "verdict on A"),
            "B is too low": (swap('"too low", "right"', '"too low", "too low"'), "verdict on B"),
            "C is right": (swap('"wrong"', '"right"'), "verdict on C"),
            "C is too low": (swap('"wrong"', '"too low"'), "verdict on C"),
            "D is wrong": (swap('"wrong", "right"', '"wrong", "wrong"'), "verdict on D"),
            "three": (swap('"too low", ', ""), "four words"),
            "another word": (swap('"wrong"', '"bad"'), "must be one of"),
        },
    ),
    "missed-phase": Planted(
        base="""
def diagnose(at_q, at_p):
    forward = logsumexp(at_q) - np.log(len(at_q))
    backward = np.log(len(at_p)) - logsumexp(-at_p)
    return forward, backward, 1 - np.exp(forward - backward)


size, odd_network = "about n", "cannot miss it"
""",
        right=[
            """
def diagnose(at_q, at_p):
    top, low = at_q.max(), at_p.min()
    forward = top + np.log(np.mean(np.exp(at_q - top)))
    backward = low - np.log(np.mean(np.exp(low - at_p)))
    return [forward, backward, -np.expm1(forward - backward)]
size = "about n"
odd_network = "cannot miss it"
""",
            """
import torch
def diagnose(at_q, at_p):
    at_q, at_p = torch.as_tensor(at_q), torch.as_tensor(at_p)
    forward = torch.logsumexp(at_q, 0) - np.log(len(at_q))
    backward = np.log(len(at_p)) - torch.logsumexp(-at_p, 0)
    return forward, backward, 1 - torch.exp(forward - backward)
size, odd_network = "about n", "cannot miss it"
""",
        ],
        wrong={
            "bound": (swap("logsumexp(at_q) - np.log(len(at_q))", "at_q.mean()"), "lower bound"),
            "sum": (swap(" - np.log(len(at_q))", ""), "where their mean belongs"),
            "both from p": (swap("return forward", "return backward"), "the estimate from p"),
            "inverse at q": (swap("logsumexp(at_q) - np.log(len(at_q))",
                                  "np.log(len(at_q)) - logsumexp(-at_q)"), "the mean of w is Z"),
            "weights at p": (swap("np.log(len(at_p)) - logsumexp(-at_p)",
                                  "logsumexp(at_p) - np.log(len(at_p))"), "averages w over"),
            "mean at p": (swap("np.log(len(at_p)) - logsumexp(-at_p)", "at_p.mean()"),
                          "mean of the log weights over samples of p"),
            "sign": (swap("np.log(len(at_p)) - logsumexp(-at_p)",
                          "logsumexp(-at_p) - np.log(len(at_p))"), "sign is reversed"),
            "sum of 1/w": (swap("np.log(len(at_p)) - ", "-"), "1/w, where its mean belongs"),
            "overflow": (swap("logsumexp(at_q)", "np.log(np.sum(np.exp(5 * at_q))) / 5"), "inf"),
            "reached": (swap("1 - np.exp", "np.exp"), "share that q reaches"),
            "difference": (swap("1 - np.exp(forward - backward)", "backward - forward"),
                           "difference of the two"),
            "upside down": (swap("np.exp(forward - backward)", "np.exp(backward - forward)"),
                            "upside down"),
            "half": (swap('"about n"', '"about n/2"'), "all that the effective sample size knows"),
            "one": (swap('"about n"', '"about 1"'), "all that the effective sample size knows"),
            "misses it": (swap('"cannot miss it"', '"misses it, too"'), "first spin"),
            "misses both": (swap('"cannot miss it"', '"misses both"'), "first spin"),
            "another word": (swap('"about n"', '"n"'), "must be one of"),
        },
    ),
    "read-the-hamiltonian": Planted(
        base="""
def couplings(x, z):
    near = sum(np.roll(x, shift, axis) for shift in (-1, 1) for axis in (1, 2))
    diagonal = sum(np.roll(x, (a, b), axis=(1, 2)) for a in (-1, 1) for b in (-1, 1))
    columns = np.stack([near, diagonal, np.ones_like(x)], axis=-1).reshape(-1, 3)
    return np.linalg.lstsq(2 * columns, z.ravel(), rcond=None)[0]


odd_network = "0"
""",
        right=[
            """
odd_network = "0"
def couplings(x, z):
    up, down = np.roll(x, 1, 1), np.roll(x, -1, 1)
    near = up + down + np.roll(x, 1, 2) + np.roll(x, -1, 2)
    diagonal = sum(np.roll(row, s, 2) for row in (up, down) for s in (1, -1))
    A = np.column_stack([near.ravel(), diagonal.ravel(), np.ones(x.size)])
    return np.linalg.solve(A.T @ A, A.T @ z.ravel()) / 2
""",
            """
import torch
def couplings(x, z):
    x, z = torch.as_tensor(x), torch.as_tensor(z)
    near = sum(torch.roll(x, s, d) for s in (-1, 1) for d in (1, 2))
    diagonal = sum(torch.roll(x, (a, b), (1, 2)) for a in (-1, 1) for b in (-1, 1))
    A = torch.stack([near.flatten(), diagonal.flatten(), torch.ones(x.numel())], 1).double()
    K1, K2, B = torch.linalg.lstsq(A, z.flatten()[:, None].double() / 2).solution[:, 0]
    return K1, K2, B
odd_network = "0"
""",
        ],
        wrong={
            "no factor": (swap("2 * columns", "columns"), "factor 2 is missing"),
            "factor 4": (swap("2 * columns", "4 * columns"), "half as large"),
            "sign": (swap("z.ravel()", "-z.ravel()"), "signs are reversed"),
            "exchanged": (swap("[near, diagonal,", "[diagonal, near,"), "exchanged"),
            "temperatures": (swap("return np.linalg.lstsq(2 * columns, z.ravel(), rcond=None)[0]",
                                  "return 1 / np.linalg.lstsq(2 * columns, z.ravel(), "
                                  "rcond=None)[0]"), "the inverses"),
            "two of four neighbours": (swap("for shift in (-1, 1) for axis", "for shift in (1,) "
                                            "for axis"), "not right"),
            "no diagonal": (swap("[near, diagonal, np", "[near, 0 * diagonal, np"), "not right"),
            "x times z": (swap("z.ravel()", "(x * z).ravel()"), "not right"),
            "B": (swap('"0"', '"B/T"'), "for x and for −x"),
            "half": (swap('"0"', '"half of B/T"'), "for x and for −x"),
            "another word": (swap('"0"', '"zero"'), "must be one of"),
        },
    ),
}
