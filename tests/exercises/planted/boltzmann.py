from planted import Planted, swap

PLANTED = {
    "broken-symmetry": Planted(
        base="""
def gap(spins, E, m, T):
    N = spins.shape[1]
    up, down = (1 + m) / 2, (1 - m) / 2
    log_q = np.sum(np.where(spins > 0, np.log(up), np.log(down)), axis=1)
    log_Z = logsumexp(-E / T)
    q = np.exp(log_q)
    return np.sum(q * (log_q + E / T + log_Z))


limit = 0.6931
cure = "mixture"
""",
        right=[
            """
limit, cure = np.log(2), "mixture"
def gap(spins, E, m, T):
    weights = np.exp(-(E - E.min()) / T)
    p = weights / weights.sum()
    q = np.prod((1 + spins * m) / 2, axis=1)
    return np.sum(q * np.log(q / p))
""",
            """
import torch
limit, cure = -np.log(0.5), "mixture"
def gap(spins, E, m, T):
    log_q = torch.log((1 + spins * m) / 2).sum(dim=1)
    log_p = torch.log_softmax(-E / T, dim=0)
    return torch.nn.functional.kl_div(log_p, log_q, log_target=True, reduction="sum")
""",
        ],
        wrong={
            "no log Z": (swap(" + log_Z", ""), "log Z is missing"),
            "times T": (swap("return np.sum", "return T * np.sum"), "T times the divergence"),
            "reverse": (swap("return np.sum(q * (log_q + E / T + log_Z))",
                             "return np.exp(-E / T - log_Z) @ (-E / T - log_Z - log_q)"),
                        "from p to Q"),
            "the bound": (swap("(log_q + E / T + log_Z)", "(T * log_q + E)"),
                          "not its distance from F"),
            "sign of the entropy": (swap("(log_q + E", "(-log_q + E"), "wrong sign"),
            "per spin": (swap("return np.sum(", "return 1 / N * np.sum("), "per spin"),
            "minus": (swap("return np.sum", "return -np.sum"), "minus the divergence"),
            "no temperature": (swap(" / T", ""), "not divided by T"),
            "mean over configurations": (swap("return np.sum", "return np.mean"), None),
            "limit 0": (swap("0.6931", "0.0"), "What does p have there?"),
            "limit in bits": (swap("0.6931", "1.0"), "one bit is not one nat"),
            "limit of free spins": (swap("0.6931", "16 * np.log(2)"), "16 free spins"),
            "limit per spin": (swap("0.6931", "np.log(2) / 16"), "per spin"),
            "limit with a sign": (swap("0.6931", "-np.log(2)"), "not negative"),
            "limit a probability": (swap("0.6931", "0.5"), "probability of a state"),
            "another limit": (swap("0.6931", "0.66"), "which states does p have"),
            "cure by means": (swap('"mixture"', '"different means"'), "does not close the gap"),
            "cure by size": (swap('"mixture"', '"larger lattice"'), "does not close the gap"),
            "another word": (swap('"mixture"', '"two modes"'), "must be one of"),
        },
    ),
    "thinned-chain": Planted(
        base="""
def errors(r, n, k):
    tau = 0.5 + r / (1 - r)
    tau_k = 0.5 + r**k / (1 - r**k)
    return np.sqrt(2 * tau / n), np.sqrt(k / n), np.sqrt(2 * tau_k * k / n)


gain = "honesty"
""",
        right=[
            """
gain = "honesty"
def errors(r, n, k):
    def of(correlation, number):
        lags = np.arange(1, number)
        pairs = number + 2 * np.sum((number - lags) * correlation**lags)
        return np.sqrt(pairs / number**2 + 2 / number**2 * np.sum(lags * correlation**lags))
    return [of(r, n), of(0.0, n // k), of(r**k, n // k)]
""",
            """
import torch
gain = "honesty"
def errors(r, n, k):
    full = torch.tensor((1 + r) / (1 - r) / n, dtype=torch.float64)
    thinned = torch.tensor((1 + r**k) / (1 - r**k) * k / n, dtype=torch.float64)
    return full.sqrt(), (k / n) ** 0.5, thinned.sqrt()
""",
        ],
        wrong={
            "independent": (swap("np.sqrt(2 * tau / n)", "np.sqrt(1 / n)"),
                            "of independent values"),
            "variance": (swap("np.sqrt(2 * tau / n)", "2 * tau / n"), "is its root"),
            "no 2": (swap("2 * tau / n", "tau / n"), "2τ/n"),
            "no half": (swap("tau = 0.5 +", "tau ="), "½ in τ is missing"),
            "one for the half": (swap("tau = 0.5 +", "tau = 1 +"), "is a 1 here"),
            "all values": (swap("np.sqrt(k / n)", "np.sqrt(1 / n)"), "n/k values"),
            "printed variance": (swap("np.sqrt(k / n)", "k / n"), "is its root"),
            "printed honest": (swap("np.sqrt(k / n)", "np.sqrt(2 * tau_k * k / n)"),
                               "knows nothing of the correlations"),
            "times k": (swap("np.sqrt(k / n)", "np.sqrt(1 / (n * k))"), "where it is divided"),
            "as if independent": (swap("2 * tau_k * k / n", "k / n"), "are correlated, too"),
            "r for r^k": (swap("2 * tau_k * k", "2 * tau * k"), "r^k, not r"),
            "r/k": (swap("0.5 + r**k / (1 - r**k)", "0.5 + r / k / (1 - r / k)"), "not r/k"),
            "n for n/k": (swap("2 * tau_k * k / n", "2 * tau_k / n"), "n/k values"),
            "the full one": (swap("2 * tau_k * k / n", "2 * tau / n"), "mean of all values"),
            "two results": (swap("np.sqrt(2 * tau / n), ", ""), "3 results"),
            "gains precision": (swap('"honesty"', '"precision"'), "contradict"),
            "gains both": (swap('"honesty"', '"both"'), "contradict"),
            "another word": (swap('"honesty"', '"nothing"'), "must be one of"),
        },
    ),
    "wrong-bonds": Planted(
        base="""
def sampled_temperature(join):
    return 2 / -np.log1p(-join)


energy = ising.energy(4, 4.0)
reveals = "Kaufman"
""",
        right=[
            """
reveals = "Kaufman"
def sampled_temperature(join):
    K = 0.5 * np.log(1 / (1 - join))
    return 1 / K
energy = float(ising.energy(4, sampled_temperature(1 - np.exp(-0.5))))
""",
            """
import torch
reveals = "Kaufman"
def sampled_temperature(join):
    return 1 / torch.atanh(torch.tensor(join / (2 - join), dtype=torch.float64))
h = 1e-4
energy = -(ising.log_partition(4, 1 / (0.25 + h))
           - ising.log_partition(4, 1 / (0.25 - h))) / (2 * h) / 16
""",
        ],
        wrong={
            "as the program": (swap("return 2 /", "return 1 /"), "as the program does"),
            "sign": (swap("2 / -np", "2 / np"), "A temperature is positive"),
            "inverse": (swap("2 / -np.log1p(-join)", "-np.log1p(-join) / 2"), "This is 1/T"),
            "log of join": (swap("np.log1p(-join)", "np.log(join)"), "*not* joining"),
            "other side": (swap("return 2 /", "return 0.5 /"), "on the other side"),
            "energy at 2": (swap("4, 4.0", "4, 2.0"), "which temperature does"),
            "energy at 1": (swap("4, 4.0", "4, 1.0"), "too rare or too many"),
            "whole lattice": (swap("energy = ", "energy = 16 * "), "whole lattice"),
            "infinite lattice": (swap("ising.energy(4, 4.0)", "ising.onsager_energy(4.0)"),
                                 "infinite lattice"),
            "sign of the energy": (swap("energy = ", "energy = -"), "is negative here"),
            "another size": (swap("4, 4.0", "8, 4.0"), "is not right"),
            "reveals m": (swap('"Kaufman"', '"mean of m"'), "What depends on T?"),
            "reveals starts": (swap('"Kaufman"', '"two starts"'), "What depends on T?"),
            "another word": (swap('"Kaufman"', '"Onsager"'), "must be one of"),
        },
    ),
    "stiffest-mode": Planted(
        base="""
def cost(size, mass):
    stiff = np.max(4 * np.sin(np.pi * np.arange(size) / size) ** 2)
    fastest = np.sqrt(mass**2 + 2 * stiff)
    step = 2 / fastest
    return step, np.pi / 2 / mass / step


why = "longer trajectories"
""",
        right=[
            """
why = "longer trajectories"
def cost(size, mass):
    corner = 1.0 if size % 2 == 0 else np.cos(np.pi / (2 * size)) ** 2
    omega = (mass**2 + 8 * corner) ** 0.5
    return [2 / omega, np.pi * omega / (4 * mass)]
""",
            """
from genmodels.exact.lattice_fields import FreeField
why = "longer trajectories"
def cost(size, mass):
    variances = FreeField(size, mass).variances
    step = 2 * np.sqrt(variances.min())
    return step, np.pi / 2 * np.sqrt(variances.max()) / step
""",
        ],
        wrong={
            "one over omega": (swap("step = 2 /", "step = 1 /"), "at twice that"),
            "omega squared": (swap("np.sqrt(mass**2 + 2 * stiff)", "(mass**2 + 2 * stiff)"),
                              "where ω belongs"),
            "softest": (swap("2 / fastest", "2 / mass"), "the first to diverge"),
            "no mass": (swap("mass**2 + 2 * stiff", "2 * stiff"), "mass is missing"),
            "one direction": (swap("2 * stiff", "stiff"), "Only one direction"),
            "trace 0": (swap("step = 2 /", "step = np.sqrt(2) /"), "trace at 0"),
            "odd as even": (swap("np.max(4 * np.sin(np.pi * np.arange(size) / size) ** 2)", "4.0"),
                            "On an odd lattice"),
            "time, not steps": (swap("np.pi / 2 / mass / step", "np.pi / 2 / mass"),
                                "divide it by the step"),
            "whole period": (swap("np.pi / 2 / mass", "2 * np.pi / mass"), "whole period"),
            "half a period": (swap("np.pi / 2 / mass", "np.pi / mass"), "half a period"),
            "ratio": (swap("np.pi / 2 / mass / step", "fastest / mass"),
                      "ratio of the frequencies"),
            "of the stiffest": (swap("np.pi / 2 / mass", "np.pi / 2 / fastest"),
                                "of the stiffest mode"),
            "only the step": (swap(", np.pi / 2 / mass / step", ""), "2 results"),
            "smaller": (swap('"longer trajectories"', '"smaller steps"'), "contradict"),
            "both": (swap('"longer trajectories"', '"both"'), "contradict"),
            "another word": (swap('"longer trajectories"', '"rejections"'), "must be one of"),
        },
    ),
    "how-long": Planted(
        base="""
def steps_needed(start, mean, std, tau, num_chains):
    error = std / np.sqrt(num_chains)
    ratio = 5 * abs(start - mean) / error
    return tau * np.log(max(1, ratio))


cure = "ten times as many steps"
""",
        right=[
            """
cure = "ten times as many steps"
def steps_needed(start, mean, std, tau, num_chains):
    t = -tau * np.log(0.2 * std / num_chains**0.5 / abs(start - mean))
    return t if t > 0 else 0
""",
            """
import torch
cure = "ten times as many steps"
def steps_needed(start, mean, std, tau, num_chains):
    bias, error = torch.tensor([abs(start - mean), std / num_chains**0.5], dtype=torch.float64)
    return torch.relu(tau * (torch.log(bias) - torch.log(error / 5)))
""",
        ],
        wrong={
            "the whole error": (swap("5 * abs", "abs"), "a fifth is asked for"),
            "no root": (swap("np.sqrt(num_chains)", "num_chains"), "over the root"),
            "no chains": (swap(" / np.sqrt(num_chains)", ""), "falls with the number of chains"),
            "twice": (swap("return tau", "return 2 * tau"), "With a time of 2τ"),
            "five times": (swap("5 * abs", "0.2 * abs"), "five times the printed error"),
            "negative times": (swap("max(1, ratio)", "ratio"), "no step is needed"),
            "in units of tau": (swap("return tau * np", "return np"), "in units of τ"),
            "base 10": (swap("np.log(max", "np.log10(max"), "base 10"),
            "with a sign": (swap("return tau", "return -tau"), None),
            "cure by chains": (swap('"ten times as many steps"', '"ten times as many chains"'),
                               "contradicts"),
            "cure by bootstrap": (swap('"ten times as many steps"',
                                       '"error bars by bootstrap"'), "contradicts"),
            "another word": (swap('"ten times as many steps"', '"steps"'), "must be one of"),
        },
    ),
}
