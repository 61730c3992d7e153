"""What the trained flows are worth, on their own configurations and on those of Monte Carlo.

    python benchmarks/flow.py

For each `flow-…` of the trained weights: effective sample size and acceptance of independence
Metropolis; the effective sample size on configurations of cluster Monte Carlo, which sees modes
that the flow has missed; log q of the same fields, from twice and four times as many steps of the
integration; observables, raw and reweighted, against long runs of cluster Monte Carlo; log Z by the
flow's samples, by Monte Carlo's, and by integrating ∂ log Z/∂κ = 2 ⟨Σ x x′⟩ from independent sites,
which needs no flow; and the seconds of one core until cluster and hybrid Monte Carlo have the error
of the reweighted samples. One thread. The results are written to benchmarks/results/flow.md.
"""

import datetime
import importlib.metadata
import math
import platform
import time
from pathlib import Path

import numpy as np
import torch
from scipy.integrate import quad

from genmodels import monte_carlo
from genmodels.exact.lattice import observables
from genmodels.exact.lattice_fields import Phi4
from genmodels.models import trained
from genmodels.models.flow_torch import NUM_STEPS, Flow

RESULTS = Path(__file__).parent / "results" / "flow.md"
NUM_SAMPLES = 8_192  # of the flow, and of Monte Carlo for the weights and the times
EVERY = 8  # the reference has so many times more, of which every EVERY-th gets a weight
NUM_CHAINS = 32  # of Phi4.sample, each with as many configurations
SEED = 200
NUM_NODES = {8: 8, 16: 10}  # of the integration over κ
CHAIN_STEPS = {8: 60_000, 16: 40_000}  # of a chain at each node
SCALARS = ["M", "abs_M", "chi2", "U_L", "x2", "density"]


def timed(run):
    """What a call returns, and the seconds of one processor that it took."""
    start = time.process_time()
    result = run()
    return result, time.process_time() - start


def load(name: str) -> tuple[Flow, Phi4, dict]:
    card = trained.card(name)
    flow = Flow(**{key: card["description"][key] for key in ("size", "channels")})
    trained.load(flow, name)
    field = Phi4(flow.size, card["training"]["kappa"], card["training"]["lam"])
    return flow, field, card


def log_weights(flow: Flow, field: Phi4, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Configurations of the flow, and log w = −S − log q of them."""
    x, log_q = (tensor.numpy().astype(np.float64) for tensor in flow.sample(n, seed=1))
    return x, -field.action(x) - log_q


def by_chains(values: np.ndarray, num_chains: int) -> tuple[float, float]:
    """log of the mean of exp(values), and its error from the spread over chains."""
    shift = values.max()
    means = np.exp(values - shift).reshape(num_chains, -1).mean(axis=1)
    error = means.std(ddof=1) / math.sqrt(num_chains) / means.mean()
    return shift + math.log(means.mean()), error


def integrated_log_Z(field: Phi4, rng: np.random.Generator) -> tuple[float, float]:
    """log Z(κ) = log Z(0) + ∫₀^κ 2 ⟨Σ x x′⟩ dκ, by Gauss's rule, with its error.

    At κ = 0 the sites are independent. On a finite lattice the integrand is analytic in κ.
    """
    lam, sites = field.lam, field.size**2
    single, _ = quad(lambda x: math.exp(-(1 - 2 * lam) * x**2 - lam * x**4), -np.inf, np.inf)
    nodes, weights = np.polynomial.legendre.leggauss(NUM_NODES[field.size])
    value, variance = sites * math.log(single), 0.0
    for node, weight in zip((nodes + 1) / 2 * field.kappa, weights / 2 * field.kappa):
        x = Phi4(field.size, node, lam).chain(CHAIN_STEPS[field.size], rng)[1000:]
        bonds = (x * (np.roll(x, -1, -1) + np.roll(x, -1, -2))).sum(axis=(1, 2))
        mean, error = monte_carlo.mean_and_error(bonds)
        value += 2 * weight * mean
        variance += (2 * weight * error) ** 2
    return value, math.sqrt(variance)


def measure(name: str) -> list[str]:
    flow, field, card = load(name)
    size, sites = flow.size, flow.size**2
    n = NUM_SAMPLES
    rng = np.random.default_rng([SEED, size, round(1000 * field.kappa)])

    # The flow's own configurations
    (x, log_w), seconds_flow = timed(lambda: log_weights(flow, field, n))
    share = float(monte_carlo.effective_sample_size(log_w)) / n
    _, acceptance = monte_carlo.independence_metropolis(log_w, rng)
    log_Z, error_Z = monte_carlo.log_mean_weight(log_w)
    some, log_q = flow.sample(500, seed=2)
    there_and_back, change, change_4 = (
        float(abs(flow.log_density(some, num_steps=factor * NUM_STEPS) - log_q).max())
        for factor in (1, 2, 4))

    # Monte Carlo's configurations: not those of the training, from other chains
    reference = field.sample(EVERY * n, rng, num_chains=NUM_CHAINS)
    few = reference[::EVERY]
    log_q = flow.log_density(few.astype(np.float32)).numpy().astype(np.float64)
    log_v = -field.action(few) - log_q
    chains = {}
    for method in ("cluster", "hmc"):
        field.sample(NUM_CHAINS, rng, method, num_chains=NUM_CHAINS)  # compiles
        y, seconds = timed(lambda m=method: field.sample(n, rng, m, num_chains=NUM_CHAINS))
        chains[method] = seconds, observables(y, field.action(y) / sites, num_blocks=NUM_CHAINS)
    inverse_Z, error_inverse = by_chains(-log_v, NUM_CHAINS)
    mean_w, error_w = by_chains(log_v, NUM_CHAINS)  # E_p[w], which is Z at best
    share_reference = math.exp(-mean_w - inverse_Z)
    integral_Z, error_integral = integrated_log_Z(field, rng)

    # Observables
    exact = observables(reference, field.action(reference) / sites, num_blocks=NUM_CHAINS)
    raw = observables(x, field.action(x) / sites)
    weighted = observables(x, field.action(x) / sites, log_weights=log_w)
    lines = [f"## {name}: L = {size}, κ = {field.kappa}, λ₄ = {field.lam}", ""]
    lines += [
        "| | |", "| --- | --- |",
        f"| effective sample size / n, {n:,} samples of the flow | {share:.3f} |",
        f"| acceptance of independence Metropolis | {acceptance:.3f} |",
        f"| effective sample size / n on {n:,} configurations of Monte Carlo | "
        f"{share_reference:.3f} (relative error {math.hypot(error_w, error_inverse):.3f}) |",
        f"| tail of the weights k (below ½: finite variance) | "
        f"{monte_carlo.weight_tail(log_w):.2f} |",
        f"| standard deviation of log w, flow / Monte Carlo | {log_w.std():.3f} / "
        f"{log_v.std():.3f} |",
        f"| log q(x) of 500 samples, there and back: largest difference | {there_and_back:.2g} |",
        f"| the same, there in {NUM_STEPS} steps and back in {2 * NUM_STEPS}, in {4 * NUM_STEPS} | "
        f"{change:.2g}, {change_4:.2g} |",
        f"| log Z by the flow's samples | {log_Z:.4f} ± {error_Z:.4f} |",
        f"| log Z by Monte Carlo's configurations and inverse weights | {-inverse_Z:.4f} ± "
        f"{error_inverse:.4f} |",
        f"| log Z by integration over κ, no flow | {integral_Z:.4f} ± {error_integral:.4f} |",
        f"| bounds: ⟨log w⟩ over the flow, over Monte Carlo | {log_w.mean():.3f}, "
        f"{log_v.mean():.3f} |",
        f"| training, seconds (before) | {card['processor_seconds']} |",
        f"| flow, seconds for {n:,} samples | {seconds_flow:.1f} |",
        f"| cluster, hybrid Monte Carlo, seconds for {n:,} configurations | "
        f"{chains['cluster'][0]:.1f}, {chains['hmc'][0]:.1f} |", "",
        f"| observable | {EVERY * n:,} of Monte Carlo | flow, raw | deviation | flow, reweighted | "
        "deviation | seconds to that error: flow, cluster, hybrid Monte Carlo |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    worst = 0.0
    rows = [(key, *(table[key] for table in (exact, raw, weighted))) for key in SCALARS]
    rows += [(f"G({t})", *((table["G"][0][t], table["G"][1][t])
                           for table in (exact, raw, weighted))) for t in range(size // 2 + 1)]
    for key, *(of_chain, of_flow, of_weights) in rows:
        z_raw, z = ((value[0] - of_chain[0]) / math.hypot(value[1], of_chain[1])
                    for value in (of_flow, of_weights))
        worst = max(worst, abs(z))
        same_error = [seconds * (error_of(table, key) / of_weights[1]) ** 2
                      for seconds, table in chains.values()]
        lines.append("| " + " | ".join([
            key, *(f"{value:.4f} ± {error:.4f}" for value, error in (of_chain,)),
            f"{of_flow[0]:.4f} ± {of_flow[1]:.4f}", f"{z_raw:+.1f}",
            f"{of_weights[0]:.4f} ± {of_weights[1]:.4f}", f"{z:+.1f}",
            ", ".join(f"{each:.2g}" for each in (seconds_flow, *same_error))]) + " |")
    print(f"{name}: ESS {share:.3f} (Monte Carlo's {share_reference:.3f}), acceptance "
          f"{acceptance:.3f}, doubling {change:.2g}, back {there_and_back:.2g}, "
          f"log Z {log_Z:.4f}({error_Z:.4f}), "
          f"{-inverse_Z:.4f}({error_inverse:.4f}), {integral_Z:.4f}({error_integral:.4f}), "
          f"worst deviation {worst:.1f}; {seconds_flow:.1f} s, "
          f"{chains['cluster'][0]:.1f} s, {chains['hmc'][0]:.1f} s", flush=True)
    return [*lines, ""]


def error_of(table: dict, key: str) -> float:
    """The error of an observable by its name, G(t) by "G(t)"."""
    return table[key][1] if key in table else table["G"][1][int(key[2:-1])]


def main() -> None:
    names = [name for name in trained.names() if name.startswith("flow-")]
    torch.set_num_threads(1)
    Phi4(4, 0.1, 0.02).sample(32, np.random.default_rng(0))  # compiles
    lines = [line for name in names for line in measure(name)]
    packages = ("torch", "numpy", "numba")
    versions = ", ".join(f"{package} {importlib.metadata.version(package)}"
                         for package in packages)
    RESULTS.write_text(
        "# Flows as proposals for φ⁴\n\n"
        f"`python benchmarks/flow.py`, {datetime.date.today()}, Python "
        f"{platform.python_version()}, {versions}, {platform.machine()}, one thread; all seconds "
        "are those of one processor.\n\n" + "\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
