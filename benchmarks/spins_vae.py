"""What a VAE learns from spins: order parameter, critical temperature and energies, over seeds.

    python benchmarks/spins_vae.py [torch] [keras] [energies] [steps] [--seeds 0 1 ...] [--full]

torch, keras: for each seed, Ising configurations of their own at L = 8, 16 and 32: to train on, at
twelve temperatures; to test the latent variable; and to find the critical temperature, at thirteen
temperatures around it. Both frameworks get the same. Two VAEs with k = 1 learn from each size:
`MLPVAE`, and the same with one hidden layer of the encoder instead of two. Then

    R²          squared correlation of |h| and |m| on the held-out configurations of the twelve
                temperatures, h the encoder's mean and m the magnetisation; and that of ranks
    T_c         where the Binder cumulants 1 − <v⁴>/(3 <v²>²) of two sizes cross, with v = m, v = h,
                and v = m(h), the mean spin that h is decoded to

The error of a crossing is that of a bootstrap over the Markov chains that the configurations are
from. Since a seed has its own data, the spread over seeds contains the noise of all data, those
for training too.

energies: VAEs in PyTorch trained at one temperature, L = 16. The energy of their samples, spins
drawn from p(x|h) with h from the prior; the same with h from Q(h|x) of held-out configurations;
−2 <m²>; and the exact one.

steps: at L = 8, with one hidden layer of the encoder, in both frameworks: R² and the held-out −ELBO
of trainings of different lengths, each from the same weights at the start and with a schedule of
its own (see `Settings`), on the configurations that torch and keras have for this seed.

Each run adds its row to benchmarks/results/spins_vae.json as soon as it ends, and the tables beside
it are written from that file; a run whose row is there is left out (`--again` repeats it).
"""

import argparse
import datetime
import json
import os
import time
from pathlib import Path

import numpy as np
import torch
from reproduce_lecture import machine
from scipy.stats import rankdata, sem

from genmodels.exact import ising

RESULTS = Path(__file__).parent / "results" / "spins_vae.json"
SIZES = (8, 16, 32)
TRAINING = np.linspace(1.5, 3.5, 12)
CRITICAL = np.linspace(2.2, 2.4, 13)  # narrow: a cubic then shifts a crossing by 2e-4 at most
STEPS = {8: 1000, 16: 1200, 32: 1200}
NUM_BLOCKS = ising.NUM_CHAINS  # of as many configurations each
ENERGY_SIZE, ENERGY_STEPS, ENERGY_DIMENSIONS = 16, 1000, (1, 8)
ENERGY_TEMPERATURES = (1.8, ising.CRITICAL_TEMPERATURE, 3.0)
SETTINGS = {"batch_size": 128, "precision": "float32", "progress": False}  # the rest: defaults
HIDDEN = 256
LAYERS = (2, 1)  # hidden ones of the encoder
QUANTITIES = ("m", "m(h)", "h")
LENGTHS = (200, 300, 500, 700, 1000, 2000)  # of the trainings in the part `steps`
R2_WANTED = 0.95  # at L = 8


def model_of(framework: str, size: int, latent_dim: int, seed: int, num_layers: int = 2):
    """Return a new VAE of spins and the module that trains it."""
    shape = size, size
    if framework == "torch":
        from torch import nn

        from genmodels.models import vae_torch as module
        torch.manual_seed(seed)
        model = module.MLPVAE(latent_dim, HIDDEN, shape, "spins")
        if num_layers == 1:
            del model.encoder.features[3:]
            assert [type(layer) for layer in model.encoder.features] == [
                nn.Flatten, nn.Linear, nn.ReLU]
        return model, module
    import keras

    from genmodels.models import vae_keras as module
    keras.utils.set_random_seed(seed)
    model = module.MLPVAE(latent_dim, HIDDEN, shape, "spins")
    if num_layers == 1:
        x = keras.Input(shape)
        y = keras.layers.Dense(HIDDEN, activation="relu")(keras.layers.Flatten()(x))
        heads = [keras.layers.Dense(latent_dim)(y) for _ in range(2)]
        model = module.VAE(keras.Model(x, heads), model.decoder, latent_dim, shape, "spins")
    return model, module


def encoded(model, x: np.ndarray) -> np.ndarray:
    """Return the encoder's mean (n, k) of configurations (n, L, L), float64."""
    with torch.no_grad():
        parts = [np.asarray(model.encode(part)[0])
                 for part in np.array_split(x, -(-len(x) // 2000))]
    return np.concatenate(parts).astype(float)


def decoded(model, h: np.ndarray) -> np.ndarray:
    """Return the decoder's mean spins (n, L, L) of latent variables (n, k)."""
    with torch.no_grad():
        parts = [np.asarray(model.decode(part.astype(np.float32)))
                 for part in np.array_split(h, -(-len(h) // 2000))]
    return np.concatenate(parts)


def block_moments(values: np.ndarray) -> np.ndarray:
    """Return <v²> and <v⁴> of blocks of consecutive values (n,): (blocks, 2)."""
    blocks = np.array_split(values, NUM_BLOCKS)
    return np.array([[np.mean(block**2), np.mean(block**4)] for block in blocks])


def cumulant(moments: np.ndarray) -> np.ndarray:
    """Return the Binder cumulant of <v²> and <v⁴> (..., 2)."""
    return 1 - moments[..., 1] / (3 * moments[..., 0] ** 2)


def crossing(difference: np.ndarray) -> float:
    """Return where the difference of two cumulants, larger minus smaller lattice, falls through 0.

    By a cubic in T; NaN if it does not.
    """
    cubic = np.polynomial.Polynomial.fit(CRITICAL, difference, 3)
    roots = cubic.roots()
    roots = roots[np.abs(roots.imag) < 1e-9].real
    roots = roots[(roots > CRITICAL[0]) & (roots < CRITICAL[-1])]
    slopes = cubic.deriv()(roots)
    return float(roots[np.argmin(slopes)]) if np.any(slopes < 0) else float("nan")


def crossings(moments: dict, rng: np.random.Generator, num_bootstrap: int = 400) -> dict:
    """Return T_c of each quantity and pair of sizes, its bootstrap error, and differences from m.

    moments[quantity][size]: (temperatures, blocks, 2). A bootstrap sample takes the same blocks for
    every quantity, so that the error of a difference is that of paired figures.
    """
    pairs = [(8, 16), (16, 32)]
    found = {}
    for pair in pairs:
        draws = {}
        picks = {size: rng.integers(NUM_BLOCKS, size=(num_bootstrap, len(CRITICAL), NUM_BLOCKS))
                 for size in pair}
        rows = np.arange(len(CRITICAL))[:, None]
        for name, by_size in moments.items():
            small, large = (cumulant(by_size[size].mean(axis=1)) for size in pair)
            value = crossing(large - small)
            draws[name] = np.array([
                crossing(cumulant(by_size[pair[1]][rows, picks[pair[1]][i]].mean(axis=1))
                         - cumulant(by_size[pair[0]][rows, picks[pair[0]][i]].mean(axis=1)))
                for i in range(num_bootstrap)])
            found[f"{name}, {pair[0]}/{pair[1]}"] = [value, spread(draws[name])]
        difference = (found[f"m(h), {pair[0]}/{pair[1]}"][0] - found[f"m, {pair[0]}/{pair[1]}"][0])
        found[f"m(h) − m, {pair[0]}/{pair[1]}"] = [
            difference, spread(draws["m(h)"] - draws["m"])]
    return found


def spread(draws: np.ndarray) -> float:
    """Return the standard deviation of the draws with a crossing; NaN if a tenth have none."""
    there = draws[np.isfinite(draws)]
    return float(np.std(there, ddof=1)) if len(there) > 0.9 * len(draws) else float("nan")


def configurations(seed: int, full: bool) -> dict:
    """Return what one seed trains on, tests on, and looks for T_c with, by size."""
    num_critical = 8192 if full else 1024
    data = {}
    for size in SIZES:
        rng = np.random.default_rng([seed, size])
        data[size] = training_and_test(size, rng) | {
            "critical": [ising.sample(size, T, num_critical, rng) for T in CRITICAL]}
    return data


def training_and_test(size: int, rng: np.random.Generator) -> dict:
    """Return configurations at the twelve temperatures: 1,024 of each to train on, 320 to test."""
    return {name: np.concatenate([ising.sample(size, T, number, rng) for T in TRAINING])
            for name, number in (("train", 1024), ("test", 320))}


def order_parameter(framework: str, num_layers: int, seed: int, data: dict) -> dict:
    """Train on each size; return R² and T_c."""
    row = {"what": framework, "layers": num_layers, "seed": seed, **{
        name: {} for name in ("R2", "R2 of m(h)", "R2 of ranks", "loss", "KL", "seconds")}}
    moments = {name: {} for name in QUANTITIES}
    for size, sets in data.items():
        model, module = model_of(framework, size, 1, seed, num_layers)
        history = module.fit(model, sets["train"], num_steps=STEPS[size], seed=seed, **SETTINGS)
        h, m = encoded(model, sets["test"]), sets["test"].mean(axis=(1, 2), dtype=float)
        m_of_h = decoded(model, h).mean(axis=(1, 2), dtype=float)
        log_likelihood, kl = module.evaluate(model, sets["test"])
        found = {"R2": squared_correlation(h[:, 0], m),
                 "R2 of m(h)": squared_correlation(m_of_h, m),
                 "R2 of ranks": squared_correlation(*map(rankdata, (abs(h[:, 0]), abs(m)))),
                 "loss": float(np.mean(kl - log_likelihood)), "KL": float(np.mean(kl)),
                 "seconds": history.seconds}
        for name, value in found.items():
            row[name][str(size)] = value
        collected = {name: [] for name in QUANTITIES}
        for x in sets["critical"]:
            h = encoded(model, x)
            values = {"m": x.mean(axis=(1, 2), dtype=float), "h": h[:, 0],
                      "m(h)": decoded(model, h).mean(axis=(1, 2), dtype=float)}
            for name, each in values.items():
                collected[name].append(block_moments(each))
        for name in QUANTITIES:
            moments[name][size] = np.array(collected[name])
    return row | {"T_c": crossings(moments, np.random.default_rng(seed))}


def lengths(seed: int) -> dict:
    """Train for different numbers of steps at L = 8; return R² and −ELBO of each training."""
    sets = training_and_test(8, np.random.default_rng([seed, 8]))
    m, rows = sets["test"].mean(axis=(1, 2), dtype=float), []
    for framework in ("torch", "keras"):
        for num_steps in LENGTHS:
            model, module = model_of(framework, 8, 1, seed, num_layers=1)
            module.fit(model, sets["train"], num_steps=num_steps, seed=seed, **SETTINGS)
            h = encoded(model, sets["test"])
            log_likelihood, kl = module.evaluate(model, sets["test"])
            rows.append({"framework": framework, "steps": num_steps,
                         "R2": squared_correlation(h[:, 0], m),
                         "R2 of ranks": squared_correlation(*map(rankdata, (abs(h[:, 0]), abs(m)))),
                         "loss": float(np.mean(kl - log_likelihood)), "KL": float(np.mean(kl))})
    return {"what": "steps", "seed": seed, "rows": rows}


def squared_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return R² of |a| and |b|."""
    return float(np.corrcoef(np.abs(a), np.abs(b))[0, 1] ** 2)


def energies(seed: int) -> dict:
    """Train at one temperature at a time; return energies per spin of what the VAEs generate."""
    rows, rng = [], np.random.default_rng([seed, 1])
    for T in ENERGY_TEMPERATURES:
        train = ising.sample(ENERGY_SIZE, T, 6144, rng)
        test = ising.sample(ENERGY_SIZE, T, 4096, rng)
        for k in ENERGY_DIMENSIONS:
            model, module = model_of("torch", ENERGY_SIZE, k, seed)
            module.fit(model, train, num_steps=ENERGY_STEPS, seed=seed, **SETTINGS)
            row = {"T": float(T), "k": k, "exact": float(ising.energy(ENERGY_SIZE, T)),
                   "held-out data": mean(ising.energies(test)),
                   "−2 <m²>": mean(-2 * test.mean(axis=(1, 2), dtype=float) ** 2)}
            with torch.no_grad():
                mean_h, log_var = (head.numpy() for head in model.encode(test))
            noise = rng.standard_normal((2, len(test), k))
            for name, h in (("samples", noise[0]),
                            ("decoded from data", mean_h + np.exp(log_var / 2) * noise[1])):
                means = decoded(model, h)
                spins = np.where(rng.random(means.shape) < (1 + means) / 2, 1, -1)
                row[name] = mean(ising.energies(spins.astype(np.float32)))
                row[f"|m| of {name}"] = mean(np.abs(spins.mean(axis=(1, 2))))
            rows.append(row | {"|m| of held-out data": mean(np.abs(test.mean(axis=(1, 2))))})
    return {"what": "energies", "seed": seed, "rows": rows}


def mean(values: np.ndarray) -> list[float]:
    """Return the mean and its standard error, from blocks of consecutive values."""
    blocks = [block.mean(dtype=float) for block in np.array_split(values, NUM_BLOCKS)]
    return [float(np.mean(blocks)), float(sem(blocks))]


def read(path: Path) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def key(row: dict) -> tuple:
    return row["what"], row.get("layers", 0), row["seed"], row["full"]


def add_row(path: Path, row: dict) -> None:
    """Add a row, replacing an earlier run of the same kind, and write the tables."""
    rows = sorted([*(old for old in read(path) if key(old) != key(row)), row], key=key)
    path.parent.mkdir(exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, path)  # an interruption leaves the old file or the new one, whole
    path.with_suffix(".md").write_text(tables(read(path)), encoding="utf-8")


def tables(rows: list[dict]) -> str:
    """Return the report: R², T_c and energies, a table each."""
    runs = [row for row in rows if row["what"] in ("torch", "keras") and not row["full"]]
    lines = ["# What a VAE learns from spins", "",
             "Written by `benchmarks/spins_vae.py`, which says what is trained and measured."]
    if runs:
        lines += [
            "", "## The latent variable and the magnetisation", "",
            "R² of |h| and |m|, in brackets of their ranks, and of |m(h)| and |m|, on held-out "
            "configurations at twelve temperatures from 1.5 to 3.5, k = 1; −ELBO held out, nats; "
            "seconds to train on one core, shared with other work.", "",
            "| framework | hidden layers | seed | " + " | ".join(
                f"L = {L}: R², m(h), −ELBO" for L in SIZES) + " | seconds |",
            "| --- | --- | --- |" + " --- |" * (len(SIZES) + 1)]
    for row in runs:
        cells = [f"{row['R2'][L]:.4f} ({row['R2 of ranks'][L]:.4f}), {row['R2 of m(h)'][L]:.4f}, "
                 f"{row['loss'][L]:.2f}" for L in map(str, SIZES)]
        seconds = ", ".join(f"{row['seconds'][str(L)]:.0f}" for L in SIZES)
        lines.append(f"| {row['what']} | {row['layers']} | {row['seed']} | {' | '.join(cells)} "
                     f"| {seconds} |")
    for framework in sorted({row["what"] for row in runs}):
        lines += ["", *cost_of_a_layer([row for row in runs if row["what"] == framework])]
    trainings = [each | {"seed": row["seed"]} for row in rows if row["what"] == "steps"
                 for each in row["rows"]]
    if trainings:
        lines += length_table(trainings)
    runs = [row for row in rows if row["what"] in ("torch", "keras")]
    for kind in sorted({(row["full"], row["what"], -row["layers"]) for row in runs}):
        lines += critical(kind, [row for row in runs
                                 if (row["full"], row["what"], -row["layers"]) == kind])
    generated = [each | {"seed": row["seed"]} for row in rows if row["what"] == "energies"
                 for each in row["rows"]]
    if generated:
        lines += energy_table(generated)
    machines = sorted({f"{row['date']}: {row['machine']}." for row in rows})
    return "\n".join([*lines, "", *machines]) + "\n"


def cost_of_a_layer(rows: list[dict]) -> list[str]:
    """Return a sentence: held-out −ELBO with one hidden layer, minus that with two."""
    loss = {(row["layers"], row["seed"]): row["loss"] for row in rows}
    seeds = sorted({seed for _, seed in loss if (1, seed) in loss and (2, seed) in loss})
    if not seeds:
        return []
    parts = []
    for L in map(str, SIZES):
        more = np.array([loss[1, seed][L] - loss[2, seed][L] for seed in seeds])
        parts.append(f"{average(more)} at L = {L} (from {more.min():.2f} to {more.max():.2f})")
    return [f"{rows[0]['what']}, −ELBO with one hidden layer minus that with two, nats, mean over "
            f"{len(seeds)} seeds: {'; '.join(parts)}."]


def length_table(rows: list[dict]) -> list[str]:
    """Return the table of trainings of different lengths: means over seeds with standard errors."""
    num_seeds = len({row["seed"] for row in rows})
    longest = {(row["framework"], row["seed"]): row["loss"] for row in rows
               if row["steps"] == LENGTHS[-1]}
    lines = ["", "## The latent variable and the length of training, L = 8, one hidden layer", "",
             f"Mean over {num_seeds} seeds with its standard error. The last column but one: −ELBO "
             f"held out, nats, more than after {LENGTHS[-1]:,} steps on the same configurations.",
             "", "| framework | steps | R² of \\|h\\| and \\|m\\| | smallest | of their ranks "
             f"| KL, nats | −ELBO, nats, more | seeds with R² ≥ {R2_WANTED} |",
             "| --- |" + " --- |" * 7]
    for framework in ("torch", "keras"):
        for num_steps in LENGTHS:
            group = [row for row in rows
                     if (row["framework"], row["steps"]) == (framework, num_steps)]
            found = {name: np.array([row[name] for row in group])
                     for name in ("R2", "R2 of ranks", "KL")}
            more = np.array([row["loss"] - longest[framework, row["seed"]] for row in group])
            lines.append(
                f"| {framework} | {num_steps} | {average(found['R2'])} | {found['R2'].min():.4f} "
                f"| {average(found['R2 of ranks'])} | {average(found['KL'])} | {average(more)} "
                f"| {np.sum(found['R2'] >= R2_WANTED)} of {num_seeds} |")
    return lines


def critical(kind: tuple, rows: list[dict]) -> list[str]:
    """Return the table of T_c for one framework: a line for each seed, and their mean."""
    columns = [f"{name}, {pair}" for pair in ("16/32", "8/16")
               for name in ("m", "m(h)", "m(h) − m", "h")]
    layers = {1: "one hidden layer", 2: "two hidden layers"}[-kind[2]]
    lines = ["", f"## T_c, {kind[1]}, {layers}"
             + (", eight times as many configurations" if kind[0] else ""), "",
             f"Crossings of Binder cumulants; exact {ising.CRITICAL_TEMPERATURE:.6f}. ± from a "
             "bootstrap over the chains of one seed; in the last line the mean over seeds, its "
             "standard error, and the standard deviation of one seed. none: no crossing from 2.2 "
             "to 2.4; no error: none in a tenth of the bootstrap samples or more.", "",
             "| seed | " + " | ".join(columns) + " |", "| --- |" + " --- |" * len(columns)]
    for row in rows:
        lines.append(f"| {row['seed']} | " + " | ".join(
            with_error(*row["T_c"][name]) for name in columns) + " |")
    if len(rows) > 1:
        values = [[row["T_c"][name][0] for row in rows] for name in columns]
        lines.append("| all | " + " | ".join(
            with_error(np.mean(each), sem(each), f" ({np.std(each, ddof=1):.4f})")
            for each in values) + " |")
    return lines


def with_error(value: float, error: float, more: str = "") -> str:
    """Return a cell of the table; "none" stands for cumulants that do not cross there."""
    if np.isnan(value):
        return "none"
    return f"{value:.4f}" + (f" ± {error:.4f}{more}" if np.isfinite(error) else "")


def energy_table(rows: list[dict]) -> list[str]:
    """Return the table of energies: the mean over seeds, and its standard error."""
    names = ("−2 <m²>", "decoded from data", "samples")
    lines = ["", f"## Energies per spin, L = {ENERGY_SIZE}", "",
             "A VAE (PyTorch) is trained at one temperature; mean over "
             f"{len({row['seed'] for row in rows})} seeds with its standard error, and "
             "for the samples, in brackets, the standard deviation of one network.", "",
             "| T | k | exact | held-out data | " + " | ".join(names)
             + " | samples / exact | <\\|m\\|> of samples | of held-out data |",
             "| --- |" + " --- |" * (len(names) + 6)]
    for T, k in sorted({(row["T"], row["k"]) for row in rows}):
        group = [row for row in rows if (row["T"], row["k"]) == (T, k)]
        found = {name: np.array([row[name][0] for row in group])
                 for name in ("held-out data", *names, "|m| of samples",
                              "|m| of held-out data")}
        found["ratio"] = found["samples"] / group[0]["exact"]
        cells = [average(found[name]) for name in (
            "held-out data", *names, "ratio", "|m| of samples", "|m| of held-out data")]
        if len(group) > 1:
            cells[len(names)] += f" ({np.std(found['samples'], ddof=1):.4f})"
        lines.append(f"| {T:.4f} | {k} | {group[0]['exact']:.4f} | " + " | ".join(cells) + " |")
    return lines


def average(values: np.ndarray) -> str:
    return f"{values.mean():.4f}" + (f" ± {sem(values):.4f}" if len(values) > 1 else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="*", help="torch, keras, energies, steps; all unless given")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)))
    parser.add_argument("--full", action="store_true", help="eight times as many to find T_c with")
    parser.add_argument("--output", type=Path, default=RESULTS, help="the .json file")
    parser.add_argument("--again", action="store_true", help="repeat runs that have a row")
    asked = parser.parse_args()
    kinds = ("torch", "keras", "energies", "steps")
    if unknown := sorted(set(asked.what) - set(kinds)):
        parser.error(f"what must be among {', '.join(kinds)}, got {', '.join(unknown)}")
    jobs = [(what, layers) for what in asked.what or kinds
            for layers in (LAYERS if what in ("torch", "keras") else (0,))]
    alone = {"energies": energies, "steps": lengths}  # with data of their own
    for seed in asked.seeds:
        data = None
        for what, layers in jobs:
            full = asked.full and what in ("torch", "keras")
            done = {key(row) for row in read(asked.output)}
            if not asked.again and (what, layers, seed, full) in done:
                print(f"{what}, {layers} layers, seed {seed}: has a row already")
                continue
            start = time.perf_counter()
            if what in alone:
                row = alone[what](seed)
            else:
                data = data or configurations(seed, full)
                row = order_parameter(what, layers, seed, data)
            row |= {"full": full, "seconds in all": time.perf_counter() - start,
                    "machine": machine(), "date": datetime.date.today().isoformat()}
            add_row(asked.output, row)
            print(json.dumps(row, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
