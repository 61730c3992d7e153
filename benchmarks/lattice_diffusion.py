"""Diffusion where the answer is known: one variable, a free field, φ⁴ in two dimensions.

    python benchmarks/lattice_diffusion.py PART …, or all [--checkpoints FOLDER]

Each part writes what it measured to results/lattice_diffusion.json, and the page
results/lattice_diffusion.md anew. Times are seconds of the processor, of one thread. With a folder
for checkpoints a training that was interrupted goes on when it is called again.

    zero        S = x⁴ − 4 x² − B x: samplers with the exact denoiser; log-likelihood by the flow
    free        a free field, L = 16: samplers mode by mode; learned scores; log-likelihood
    reference   φ⁴, L = 16: cluster Monte Carlo, with seeds other than those of the training data
    odd-SEED    κ = 0.27: an odd network, trained with this seed, its samples and the reference
    free-SEED   the same for a network that need not be odd; odd-22 is an odd one at κ = 0.22
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from scipy import integrate, stats

from genmodels import diffusion, monte_carlo
from genmodels import lattice_diffusion as lattice
from genmodels.diffusion import NoiseSchedule
from genmodels.exact.lattice import observables
from genmodels.exact.lattice_fields import FreeField, Phi4
from genmodels.models.lattice_torch import LatticeDenoiser, fit

RESULTS = Path(__file__).parent / "results"
SIZE, COUPLING = 16, 0.022
NUM_TRAINING, NUM_REFERENCE, NUM_SAMPLES, NUM_STEPS = 40_000, 80_000, 8192, 24
TRAINING = {"num_epochs": 24, "batch_size": 128, "learning_rate": 4e-3}
PARTS = ["zero", "free", "reference", "odd-0", "odd-1", "odd-2", "free-0", "odd-22"]
# What a public notebook reports for κ = 0.27 (Wang, Aarts and Zhou 2024): value, error
NOTEBOOK = {"M": (0.325, 0.022), "abs_M": (0.688, 0.011), "chi2": (124.9, 3.8),
            "U_L": (0.457, 0.022)}
NOTEBOOK_REFERENCE = {"M": (0.030, 0.007), "abs_M": (0.6593, 0.0033), "chi2": (139.4, 1.1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="+", choices=[*PARTS, "all"])
    parser.add_argument("--checkpoints", type=Path)
    arguments = parser.parse_args()
    parts = arguments.parts
    torch.set_num_threads(1)
    path = RESULTS / "lattice_diffusion.json"
    for part in PARTS if "all" in parts else parts:
        start = time.process_time()
        if part in ("zero", "free", "reference"):
            found = {"zero": zero, "free": free, "reference": reference}[part]()
        else:
            kind, number = part.split("-")
            kappa, seed = (0.22, 0) if number == "22" else (0.27, int(number))
            folder = arguments.checkpoints and arguments.checkpoints / part
            found = phi4(kind == "odd", kappa, seed, folder)
        found["cpu_seconds"] = round(time.process_time() - start, 1)
        results = json.loads(path.read_text()) if path.exists() else {}  # as it is now
        results[part] = found
        path.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
        (RESULTS / "lattice_diffusion.md").write_text(report(results), encoding="utf-8")
        print(part, f"{found['cpu_seconds']} s", flush=True)


# One variable -------------------------------------------------------------------------------------


def zero() -> dict:
    """Moments of samplers, in standard errors of 20,000 samples, and their bias beside it."""
    result = {"angle": [], "bias": [], "log_likelihood": []}
    for field in (0.0, 0.15):
        points = np.linspace(-3.5, 3.5, 401)  # a spacing of about the smallest σ
        denoiser, _ = lattice.quadrature_denoiser(points, -points**4 + 4 * points**2
                                                  + field * points)

        def weight(x, field=field):
            return np.exp(-x**4 + 4 * x**2 + field * x)

        log_z = np.log(integrate.quad(weight, -4, 4, epsabs=1e-12)[0])
        functions = {"⟨x⟩": lambda x: x, "⟨x²⟩": np.square, "⟨x⁴⟩": lambda x: x**4,
                     "P(x > 0)": lambda x: 1.0 * (x > 0),
                     "P(|x| < ½)": lambda x: 1.0 * (abs(x) < 0.5)}
        exact = {name: integrate.quad(lambda x, f=f: f(x) * weight(x), -4, 4, epsabs=1e-12,
                                      points=(-0.5, 0, 0.5))[0] / np.exp(log_z)
                 for name, f in functions.items()}
        for num_steps in (12, 24, 48):
            noise = np.random.default_rng(0).standard_normal((20_000, 1))
            x = lattice.angle_heun(denoiser, exact["⟨x²⟩"], noise, num_steps=num_steps)
            result["angle"].append({"field": field, "num_steps": num_steps, **{
                name: [float(f(x).mean()), float(stats.sem(f(x), axis=None)), exact[name]]
                for name, f in functions.items()}})
        even = stats.norm.ppf((np.arange(4000) + 0.5) / 4000)[:, None]
        for num_steps in (25, 50, 100, 200):
            schedule, rng = NoiseSchedule.cosine(num_steps), np.random.default_rng(1)
            many = np.random.default_rng(2).standard_normal((50_000, 1))
            row = {"field": field, "num_steps": num_steps}
            samples = {"angle": lattice.angle_heun(denoiser, exact["⟨x²⟩"], even,
                                                   num_steps=num_steps // 2),
                       "ddim": diffusion.ddim(denoiser, schedule, even),
                       "ancestral": diffusion.ancestral(denoiser, schedule, many, rng)}
            for name, x in samples.items():
                row[name] = float(np.mean(x**2) - exact["⟨x²⟩"])
            row["ancestral_error"] = float(stats.sem(x**2, axis=None))
            result["bias"].append(row)
        fine = np.linspace(-3.5, 3.5, 4001)
        pair = lattice.quadrature_denoiser(fine, -fine**4 + 4 * fine**2 + field * fine)
        x = np.array([-1.5, -1, 0, 0.3, 1.4, 2])[:, None]
        found = diffusion.ode_log_likelihood(*pair, x, tolerance=1e-6, log_snrs=(12.5, -20))
        off = found - (np.log(weight(x[:, 0])) - log_z)
        result["log_likelihood"].append({"field": field, "largest": float(np.abs(off).max())})
    return result


# A free field -------------------------------------------------------------------------------------


def free() -> dict:
    """Variances of all modes by several samplers; two trained networks; log-likelihood."""
    field, rng = FreeField(SIZE, 0.25), np.random.default_rng(5)
    power = field.variances[:, :SIZE // 2 + 1]
    exact, noise = lattice.gaussian_denoiser(power), rng.standard_normal((NUM_SAMPLES, SIZE, SIZE))
    data = field.sample(NUM_TRAINING, rng)
    networks = {}
    for name, given in {"each mode": lattice.power_spectrum(data),
                        "one for all": np.full_like(power, data.var())}.items():
        torch.manual_seed(0)
        networks[name] = LatticeDenoiser(SIZE, given)
        fit(networks[name], data, **TRAINING | {"num_epochs": 5}, progress=False)
    samples = {"data": data[:NUM_SAMPLES],
               "angle-Heun, 12 steps": lattice.angle_heun(exact, power, noise, num_steps=12)}
    for steps in (50, 200):
        schedule = NoiseSchedule.cosine(steps)
        samples[f"DDIM, {steps} steps"] = diffusion.ddim(exact, schedule, noise)
        samples[f"ancestral, {steps} steps"] = diffusion.ancestral(exact, schedule, noise, rng)
    for name, network in networks.items():
        samples[f"angle-Heun, 12 steps, network with the power of {name}"] = lattice.angle_heun(
            network.denoiser(), network.power.numpy(), noise, num_steps=12)
    rows = [{"name": name, **against_modes(x, power)} for name, x in samples.items()]
    scores = []
    for sigma in (0.1, 1.0, 10.0):
        alpha_bar = 1 / (1 + sigma**2)
        x = np.sqrt(alpha_bar) * (data[:2000] + sigma * rng.standard_normal((2000, SIZE, SIZE)))
        scores += [{"sigma": sigma, "name": name,
                    "relative": relative_error(network.denoiser(), exact, x, alpha_bar).tolist()}
                   for name, network in networks.items()]
    few = data[:20]

    def divergence(x, alpha_bar):
        noisy = alpha_bar * field.variances + 1 - alpha_bar
        return np.full(len(x), np.sqrt(alpha_bar) * np.sum(field.variances / noisy))

    def flat(x, alpha_bar):
        return exact(x.reshape(-1, SIZE, SIZE), alpha_bar).reshape(len(x), -1)

    log_p = diffusion.ode_log_likelihood(flat, divergence, few.reshape(20, -1), tolerance=1e-8)
    return {"modes": rows, "scores": scores,
            "log_likelihood": float(np.abs(log_p - field.log_density(few)).max())}


def against_modes(x: np.ndarray, power: np.ndarray) -> dict:
    """|x̂_k|² of samples against P_k: χ² over the independent modes, and the largest deviation."""
    found, size = lattice.power_spectrum(x), len(power)
    column = np.arange(size // 2 + 1) % (size // 2) == 0  # where k and −k are both in the array
    row = np.arange(size) % (size // 2) == 0
    real = row[:, None] & column
    error = power * np.sqrt(np.where(real, 2, 1) / len(x))  # of a real or a complex mode
    chosen = ~column | (np.arange(size) <= size // 2)[:, None]
    z = ((found - power) / error)[chosen]
    ratio = found / power
    return {"modes": int(chosen.sum()), "chi2": float(np.sum(z**2)), "lowest": float(ratio.min()),
            "largest": float(abs(z).max()), "zero_mode": float(ratio[0, 0])}


def relative_error(denoiser, exact, x: np.ndarray, alpha_bar: float) -> np.ndarray:
    """√(⟨|ŝ_k − s_k|²⟩/⟨|s_k|²⟩) of the score at k = (0, 0), (0, 1), (0, 4), (8, 8)."""
    right, learned = (np.fft.rfft2(diffusion.convert(each(x, alpha_bar), x, alpha_bar, given="x0",
                                                     wanted="score"))
                      for each in (exact, denoiser))
    ratio = np.sqrt(np.mean(abs(learned - right) ** 2, 0) / np.mean(abs(right) ** 2, 0))
    return ratio[[0, 0, 0, SIZE // 2], [0, 1, 4, SIZE // 2]]


# φ⁴ -----------------------------------------------------------------------------------------------


def reference() -> dict:
    """Observables in equilibrium by cluster Monte Carlo."""
    result = {}
    for kappa in (0.27, 0.22):
        field, start = Phi4(SIZE, kappa, COUPLING), time.process_time()
        x = field.sample(NUM_REFERENCE, np.random.default_rng([2, round(1000 * kappa)]))
        seconds = time.process_time() - start
        result[f"{kappa}"] = {"observables": measured(field, x), "seconds": round(seconds, 1)}
    return result


def training_data(kappa: float) -> np.ndarray:
    return Phi4(SIZE, kappa, COUPLING).sample(
        NUM_TRAINING, np.random.default_rng([1, round(1000 * kappa)])).astype(np.float32)


def phi4(odd: bool, kappa: float, seed: int, checkpoint: Path | None) -> dict:
    """Train a network, draw samples with it, and from a Gaussian with the data's spectrum."""
    data, field = training_data(kappa), Phi4(SIZE, kappa, COUPLING)
    torch.manual_seed(seed)
    model = LatticeDenoiser(SIZE, lattice.power_spectrum(data), odd=odd)
    history = fit(model, data, seed=seed, progress=False, checkpoint=checkpoint, **TRAINING)
    clone = LatticeDenoiser(SIZE, model.power.numpy(), odd=odd)
    start = time.process_time()
    fit(clone, data[:6400], num_steps=50, batch_size=TRAINING["batch_size"], progress=False)
    training_seconds = (time.process_time() - start) / 50 * history.num_steps
    start = time.process_time()
    noise = np.random.default_rng([3, seed]).standard_normal((NUM_SAMPLES, SIZE, SIZE))
    power = model.power.numpy()
    x = lattice.angle_heun(model.denoiser(), power, noise, num_steps=NUM_STEPS)
    sampling_seconds = time.process_time() - start
    gaussian = lattice.angle_heun(lattice.gaussian_denoiser(power), power, noise, num_steps=1)
    return {"kappa": kappa, "observables": measured(field, x), "loss": history["loss"][-1],
            "gaussian": measured(field, gaussian), "num_steps": history.num_steps,
            "training_seconds": round(training_seconds, 1),
            "sampling_seconds": round(sampling_seconds, 1)}


def measured(field: Phi4, x: np.ndarray) -> dict:
    """Observables, ⟨x⁴⟩, and ⟨S⟩/N + λ₄⟨x⁴⟩ − ½, which partial integration says is 0."""
    action, fourth = field.action(x) / SIZE**2, np.mean(x**4, axis=(1, 2))
    found = observables(x, action)
    for name, values in {"x4": fourth, "exact": action + COUPLING * fourth - 0.5}.items():
        found[name] = monte_carlo.jackknife(lambda mean: mean[0], values)
    return {name: [np.asarray(each).tolist() for each in pair] for name, pair in found.items()}


# The page -----------------------------------------------------------------------------------------

NAMES = {"M": "⟨M⟩", "abs_M": "⟨\\|M\\|⟩", "chi2": "χ₂", "chi": "χ", "U_L": "U_L", "x2": "⟨x²⟩",
         "x4": "⟨x⁴⟩", "density": "S/N", "exact": "S/N + λ₄⟨x⁴⟩ − ½"}
KNOWN = {"M": 0.0, "exact": 0.0}  # exactly


def fitted_powers(rows: list[dict]) -> list[float]:
    """d log |bias| / d log calls of angle-Heun, DDIM and ancestral sampling."""
    calls = np.log([row["num_steps"] for row in rows])
    certain = [abs(row["ancestral"]) / row["ancestral_error"] for row in rows]
    return [float(np.polyfit(calls, np.log([abs(row[name]) for row in rows]), 1, w=weights)[0])
            for name, weights in (("angle", None), ("ddim", None), ("ancestral", certain))]


def deviations(model: dict, truth: dict) -> dict:
    """(model − truth)/error of the difference, by name; KNOWN values against themselves."""
    result = {}
    for name, (value, error) in model.items():
        value, error = np.array(value), np.array(error)
        right, its_error = (KNOWN[name], 0.0) if name in KNOWN else map(np.array, truth[name])
        result[name] = (value - right) / np.hypot(error, its_error)
    return result


def report(results: dict) -> str:
    """The page, of the parts that are there."""
    text = ["# Diffusion where the answer is known\n",
            "Written by `python benchmarks/lattice_diffusion.py all`. Seconds are those of one "
            "thread.\n"]
    if "zero" in results:
        text += ["## One variable, S = x⁴ − 4 x² − B x, exact denoiser\n",
                 "Samples of the angle-Heun sampler, 20,000; deviation from quadrature in standard "
                 "errors.\n"]
        rows = results["zero"]["angle"]
        names = [name for name in rows[0] if name not in ("field", "num_steps")]
        text += table(["B", "steps", *(name.replace("|", "\\|") for name in names)], [
            [row["field"], row["num_steps"], *(f"{(row[n][0] - row[n][2]) / row[n][1]:+.2f}"
                                               for n in names)] for row in rows])
        text += ["Bias of ⟨x²⟩ at equal numbers of calls of the denoiser: the angle-Heun sampler "
                 "takes half as many steps. Angle-Heun and DDIM start from 4000 quantiles, "
                 "ancestral sampling from 50,000 random numbers.\n"]
        text += table(["B", "calls", "angle-Heun", "DDIM", "ancestral"], [
            [row["field"], row["num_steps"], f"{row['angle']:+.5f}", f"{row['ddim']:+.4f}",
             f"{row['ancestral']:+.4f} ± {row['ancestral_error']:.4f}"]
            for row in results["zero"]["bias"]])
        text += ["Fitted powers of the number of calls (theory: −2, −1, −1; with B the start, at "
                 "σ = 100, ignores ⟨x⟩/σ and leaves a bias that no steps remove): " + "; ".join(
            f"B = {field}: " + ", ".join(f"{power:.2f}" for power in fitted_powers(
                [row for row in results["zero"]["bias"] if row["field"] == field]))
            for field in (0.0, 0.15)) + ".\n"]
        worst = max(row["largest"] for row in results["zero"]["log_likelihood"])
        text += [f"Log-likelihood by the flow at six points and both B: within {worst:.1e} nats "
                 "of quadrature. Noise of variance e^−12.5 is left at the data, which adds up to "
                 "4e-4.\n"]
    if "free" in results:
        text += ["## A free field, L = 16, mass 0.25\n",
                 f"{NUM_SAMPLES:,} samples: |x̂_k|² of the independent modes against P_k.\n"]
        text += table(["samples", "χ² / modes", "largest deviation in errors",
                       "lowest ratio to P_k", "ratio at k = 0"],
                      [[row["name"], f"{row['chi2']:.0f} / {row['modes']}", f"{row['largest']:.1f}",
                        f"{row['lowest']:.3f}", f"{row['zero_mode']:.3f}"]
                       for row in results["free"]["modes"]])
        text += ["Relative error of the learned score after 5 epochs, by mode:\n"]
        text += table(["σ", "power of", "k = (0, 0)", "(0, 1)", "(0, 4)", "(8, 8)"], [
            [row["sigma"], row["name"], *(f"{each:.4f}" for each in row["relative"])]
            for row in results["free"]["scores"]])
        text += ["Log-likelihood by the flow with the exact score, 20 configurations: within "
                 f"{results['free']['log_likelihood']:.1e} nats.\n"]
    if "reference" in results:
        text += phi4_tables(results)
    return "\n".join(text)


def phi4_tables(results: dict) -> list[str]:
    text = []
    for kappa in ("0.27", "0.22"):
        truth, seconds = (results["reference"][kappa][key] for key in ("observables", "seconds"))
        parts = [p for p in PARTS if p in results and str(results[p].get("kappa")) == kappa]
        if not parts:
            continue
        models = {p: results[p]["observables"] for p in parts}
        models["Gaussian"] = results[parts[0]]["gaussian"]
        if kappa == "0.27":
            models |= {"notebook's diffusion": NOTEBOOK, "notebook's reference": NOTEBOOK_REFERENCE}
        text += [f"## φ⁴, L = 16, κ = {kappa}, λ₄ = {COUPLING}\n",
                 f"{NUM_REFERENCE:,} configurations by clusters ({seconds} s), with other seeds "
                 f"than the {NUM_TRAINING:,} of the training; {NUM_SAMPLES:,} samples of each "
                 f"model, {NUM_STEPS} steps of angle-Heun. Each cell: value ± standard error, and "
                 "the deviation from the reference (of ⟨M⟩, and of S/N + λ₄⟨x⁴⟩ − ½, from 0) in "
                 "standard errors of the difference.\n"]
        rows = [["reference", *(f"{truth[n][0]:.4f} ± {truth[n][1]:.4f}" for n in NAMES), "", ""]]
        for name, model in models.items():
            z = deviations(model, truth)
            cells = [f"{model[n][0]:.4f} ± {model[n][1]:.4f} ({z[n]:+.1f})" if n in model else ""
                     for n in NAMES]
            along = f"{np.abs(z['G']).max():.1f}" if "G" in z else ""
            largest = max(np.abs(each).max() for each in z.values())
            rows.append([name, *cells, along, f"{largest:.1f}"])
        text += table(["", *NAMES.values(), "G(t), largest", "largest of all"], rows)
        for name in parts:
            part = results[name]
            action = part["observables"]["density"][0] / truth["density"][0] - 1
            text.append(f"{name}: {part['training_seconds']} s of one thread to train, "
                        f"{part['sampling_seconds']} s to draw, last loss {part['loss']:.4f}; "
                        f"action {100 * action:+.2f} %.\n")
    return text


def table(head: list, rows: list[list]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"]


if __name__ == "__main__":
    main()
