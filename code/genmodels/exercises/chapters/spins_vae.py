"""Tests of the answers in the chapter on what a VAE learns from spins."""

import math

import numpy as np
from scipy.special import comb, logsumexp
from scipy.stats import norm, rankdata

from genmodels.exercises.compare import ask, chosen, compare, need, parts
from genmodels.exercises.registry import exercise

__all__ = ["bent_codes", "curie_weiss_field", "energy_by_modes", "hidden_order",
           "thresholded_magnet"]


@exercise(
    "curie-weiss-field", kind="derive", difficulty=2, minutes=20,
    right="This identity is the Hubbard–Stratonovich transformation. For couplings between "
          "neighbours, made positive by a constant on the diagonal, it needs one latent variable "
          "for every mode whose coupling is not zero: about as many as there are spins.")
def curie_weiss_field(field_decoder, exact_for):
    h = np.array([-2.3, -0.4, 0.0, 0.9, 3.1])
    for N, K in ((5, 0.7), (24, 1.3)):
        # summed over the number of spins that are up, with no use of cosh
        up = np.arange(N + 1)
        total = 2.0 * up - N  # Σ x
        c = math.sqrt(K / N)
        log_joint = np.log(comb(N, up)) + c * h[:, None] * total - h[:, None] ** 2 / 2
        log_p = logsumexp(log_joint, axis=1)
        mean = np.exp(log_joint - log_p[:, None]) @ total / N

        def relative(values):
            return values - values[2]  # to the density at h = 0

        got = parts(ask(field_decoder, h=h, num_spins=N, coupling=K),
                    "the mean spin", "the log-density")
        tested = f"N = {N} spins, K = {K}"
        compare(got[0], mean, what="the mean spin", tested=tested, mistakes={
            "The field on a spin has the constant √K in it, without N: is the energy one of N "
            "spins, or of N² pairs?": np.tanh(math.sqrt(K) * h),
            "This field is K h: the square root of the identity a = √(K/N) Σx is missing.":
                np.tanh(K * h),
            "The square root is missing in a = √(K/N) Σx.": np.tanh(K / N * h),
            "This is the probability of a spin up; a mean spin lies between −1 and 1.":
                (1 + mean) / 2,
            "The field enters twice: a spin has the weight e^{cx}, not e^{2cx}.":
                np.tanh(2 * c * h),
            "This is the field, not the mean of a spin in it.": c * h,
            "The sign is reversed: a spin prefers the direction of its field.": -mean,
        })
        log_got = np.asarray(got[1], dtype=float)
        need(log_got.shape == h.shape, f"{tested}: the log-density must have shape {h.shape}, got "
             f"{log_got.shape}.")
        cosh = np.log(np.cosh(c * h))
        compare(got[1] - got[1][2], relative(log_p), what="log p(h) − log p(0), nats",
                tested=tested, mistakes={
            "This is the normal density of the identity; the sum over the spins' states multiplies "
            "it.": -h**2 / 2,
            "This is the sum over the states of one spin; there are N.": -h**2 / 2 + cosh,
            "The normal density of the identity is missing.": N * cosh,
            "The normal density enters with the wrong sign.": h**2 / 2 + N * cosh,
            "The sum over the spins' states is in the numerator: it multiplies the density.":
                -h**2 / 2 - N * cosh,
            "This is p(h), not its logarithm.": np.exp(log_p) - np.exp(log_p[2]),
            "½ is missing in the normal density.": -h**2 + N * cosh,
        }, error=1e-10)
    words = ("every pair", "ring", "square lattice")
    need(chosen(exact_for, words, "exact_for") == "every pair",
         f"your `exact_for`, {exact_for!r}: given h, the spins of this decoder are independent and "
         "all alike. In which of the three magnets does a spin feel nothing but the sum of all?")


@exercise(
    "bent-codes", kind="explore", difficulty=2, minutes=20,
    right="Every ratio of moments has this property. A peak of the susceptibility is safe from "
          "a factor only if the factor is the same at every temperature.")
def bent_codes(cumulants, verdicts, crosses):
    m = critical_magnetisations()
    codes = {"A": {L: -2.5 * v for L, v in m.items()},
             "B": {L: np.tanh(2 * v) for L, v in m.items()},
             "C": {L: norm.ppf((rankdata(v) - 0.5) / len(v)) for L, v in m.items()}}

    def table(of):
        return np.array([[of(codes[name][L]) for L in (8, 32)] for name in "ABC"])

    def cumulant(v):
        square = v * v
        return 1 - np.mean(square * square) / np.mean(square) ** 2 / 3

    compare(cumulants, table(cumulant), what="the cumulants",
            tested="codes A, B, C and L = 8, 32", error=1e-9, mistakes={
        "The 3 is missing in the denominator.":
            table(lambda v: 1 - np.mean(v**4) / np.mean(v**2) ** 2),
        "These are ratios <h⁴>/<h²>²; the cumulant is 1 minus a third of it.":
            table(lambda v: np.mean(v**4) / np.mean(v**2) ** 2),
        "These are of |h| with its mean subtracted: the moments are about 0.":
            table(lambda v: cumulant(np.abs(v) - np.mean(np.abs(v)))),
        "The square of <h²> is missing in the denominator.":
            table(lambda v: 1 - np.mean(v**4) / np.mean(v**2) / 3),
        "Rows and columns are exchanged: a row for each code.": table(cumulant).T,
    })
    words = ("keeps", "shifts", "erases")
    need(isinstance(verdicts, list | tuple) and len(verdicts) == 3
         and all(isinstance(word, str) and word in words for word in verdicts),
         f"`verdicts` must be three words, each one of {words}.")
    for name, word, right in zip("ABC", verdicts, ("keeps", "shifts", "erases")):
        hint = ("Compare your two cumulants of this code with each other and with those of m. "
                "Would they change with temperature?")
        need(word == right, f"code {name} is not one that {word} the crossing. {hint}")
    need(chosen(crosses, ("below", "above"), "crosses") == "below",
         "your `crosses`: at T_c, which of your two cumulants of code B is the larger? Below a "
         "crossing it is that of the larger lattice, above it that of the smaller one.")


def critical_magnetisations():
    """The numbers of the setup cell: (20000,) for L = 8 and 32."""
    rng = np.random.default_rng(0)
    shape = rng.choice([-1, 1], 20_000) * rng.beta(6, 2, 20_000)
    return {L: 1.25 * L**-0.125 * shape for L in (8, 32)}


@exercise(
    "thresholded-magnet", kind="explore", difficulty=2, minutes=20,
    right="The same holds for pictures of digits: a clean picture is a mean or a mode of p(x|h), "
          "and not what the model says that data look like.")
def thresholded_magnet(energies, verdicts, sharper):
    rng = np.random.default_rng(1)
    for L in (4, 6):
        means = np.tanh(rng.normal(0.2, 0.8, size=(3, L, L)))
        # each bond once, spin by spin
        products = np.array([sum(x[i, j] * (x[(i + 1) % L, j] + x[i, (j + 1) % L])
                                 for i in range(L) for j in range(L)) for x in means])
        signs = np.where(means > 0, 1.0, -1.0)
        frozen = np.array([sum(x[i, j] * (x[(i + 1) % L, j] + x[i, (j + 1) % L])
                               for i in range(L) for j in range(L)) for x in signs])
        open_ends = np.array([np.sum(x[1:] * x[:-1]) + np.sum(x[:, 1:] * x[:, :-1])
                              for x in means])
        got = parts(ask(energies, means=means), "the mean energy of the samples",
                    "the energy of the thresholded pictures")
        tested = f"three arrays of means on a {L} × {L} lattice"
        compare(got[0], -products / L**2, what="the mean energy of the samples, per spin",
                tested=tested, mistakes={
            "This is the energy of the whole lattice: divide by the number of spins.": -products,
            "This is the energy of a bond; a spin has two bonds.": -products / L**2 / 2,
            "Every bond is counted twice.": -2 * products / L**2,
            "The sign is reversed: aligned neighbours have the energy −1.": products / L**2,
            "The lattice is periodic: the bonds between the last and the first row or column are "
            "missing.": -open_ends / L**2,
            "This is −2 m², with m the mean over the lattice: these means differ from site to "
            "site.": -2 * means.mean(axis=(1, 2)) ** 2,
            "This is −2 times the mean of μ_i²: a bond joins two different sites.":
                -2 * np.mean(means**2, axis=(1, 2)),
            "These are the thresholded pictures: a sample is drawn, its spins are not the more "
            "probable ones.": -frozen / L**2,
            "This is one number: return one for each of the arrays.":
                np.mean(-products / L**2),
        })
        compare(got[1], -frozen / L**2, what="the energy of the thresholded pictures, per spin",
                tested=tested, mistakes={
            "This is the energy of the whole lattice: divide by the number of spins.": -frozen,
            "These are the means themselves, not their signs.": -products / L**2,
            "Every bond is counted twice.": -2 * frozen / L**2,
            "Thresholded at ½ instead of 0: these are means of spins, not of pixels.":
                -energy_sum(np.where(means > 0.5, 1.0, -1.0)) / L**2,
        })
    words = ("right", "wrong")
    need(isinstance(verdicts, list | tuple) and len(verdicts) == 4
         and all(isinstance(word, str) and word in words for word in verdicts),
         f"`verdicts` must be four words, each one of {words}.")
    for name, word, right, hint in zip("ABCD", verdicts, ("right", "right", "wrong", "wrong"), (
            "What is drawn there, and from which density?",
            "Given h, the spins are independent: what is then the mean of a product of two?",
            "At T = ∞ all means are near 0, with some sign: which energy would it report?",
            "From which density is its h, and what would it report if the prior were wrong?")):
        need(word == right, f"program {name} is not {word}. {hint}")
    need(chosen(sharper, "ABCD", "sharper") == "B",
         f"your `sharper`: of the programs that are right, which one leaves out a part of the "
         f"noise by doing an average exactly? It is not {sharper}.")


def energy_sum(x):
    """Σ over bonds of x_i x_j, periodic: (n,)."""
    return np.sum(x * (np.roll(x, 1, axis=1) + np.roll(x, 1, axis=2)), axis=(1, 2))


@exercise(
    "energy-by-modes", kind="explore", difficulty=3, minutes=30,
    right="Do the same with power spectra of the Ising configurations of this chapter, and mark "
          "what the trained models with k = 1, 2 and 8 reach.")
def energy_by_modes(energy_of_modes, needed, larger):
    rng = np.random.default_rng(3)
    for L in (4, 6):
        # any field of numbers with Σ x² = N has such a spectrum; energy with all modes: by bonds
        x = rng.normal(size=(40, L, L))
        x *= np.sqrt(L**2 / np.sum(x**2, axis=(1, 2)))[:, None, None]
        modes = np.fft.fft2(x, norm="ortho")
        power = np.mean(np.abs(modes) ** 2, axis=0)
        order = np.argsort(-power, axis=None, kind="stable")
        q = 2 * np.pi * np.fft.fftfreq(L)
        cosines = np.cos(q)[:, None] + np.cos(q)
        pieces = (power * cosines).ravel()[order] / L**2
        for k in (5, 1, L**2):
            # by bonds: the configurations with all other modes removed
            kept = np.zeros(L**2)
            kept[order[:k]] = 1
            # complex, if k cuts between q and −q
            left = np.fft.ifft2(modes * kept.reshape(L, L), norm="ortho")
            bonds = np.conj(left) * (np.roll(left, 1, axis=1) + np.roll(left, 1, axis=2))
            expected = -np.mean(np.sum(bonds.real, axis=(1, 2))) / L**2
            total = -pieces.sum()
            compare(ask(energy_of_modes, power=power, k=k), expected,
                    what="the energy per spin", tested=f"L = {L}, k = {k}", error=1e-9, mistakes={
                "The sign is reversed.": -expected,
                "This is the energy of the whole lattice: divide by the number of spins.":
                    expected * L**2,
                "These are the k modes of the smallest power.": -pieces[::-1][:k].sum(),
                "These are the first k modes of the array: sort them by power.":
                    -(power * cosines).ravel()[:k].sum() / L**2,
                "These are all modes: only the k strongest are asked for.": total,
                "Only the bonds of one direction are counted.":
                    -(power * np.cos(q)[:, None]).ravel()[order][:k].sum() / L**2,
                "Each mode enters with its power alone; its bonds have the factor cos q_x + cos "
                "q_y.": -power.ravel()[order][:k].sum() / L**2,
                "These bonds are counted twice.": 2 * expected,
                "This is one mode less than k.": -pieces[:k - 1].sum(),
            })
    found, other = [], []
    for power in two_spectra():
        order = np.argsort(-power, axis=None, kind="stable")
        q = 2 * np.pi * np.fft.fftfreq(16)
        pieces = (power * (np.cos(q)[:, None] + np.cos(q))).ravel()[order]
        share = np.cumsum(pieces) / pieces.sum()
        found.append(int(np.argmax(share >= 0.9)) + 1)
        other.append(int(np.argmax(share >= 0.5)) + 1)
    compare(needed, np.array(found, dtype=float), what="needed, modes", mistakes={
        "These modes have half of the energy; 90 % is asked for.": np.array(other, dtype=float),
        "This is one too few: the number, not the index, which begins at 0.":
            np.array(found, dtype=float) - 1,
        "The two spectra are exchanged.": np.array(found[::-1], dtype=float),
    })
    words = ("as many", "twice as many", "four times as many")
    need(chosen(larger, words, "larger") == words[2],
         "your `larger`: the power depends on q in the same way. On the larger lattice, how many "
         "waves have a q in a given square?")


def two_spectra():
    """The numbers of the setup cell: power spectra (16, 16), near the transition and far above."""
    q = 2 * np.pi * np.fft.fftfreq(16)
    bending = 4 - 2 * np.cos(q)[:, None] - 2 * np.cos(q)
    spectra = [1 / (mass2 + bending.round(12)) for mass2 in (0.01, 2.0)]
    return [power / power.mean() for power in spectra]


@exercise(
    "hidden-order", kind="explore", difficulty=2, minutes=25,
    right="A magnet with random but fixed couplings of this kind is called a Mattis magnet: "
          "turning the spins of one half of its pattern makes a ferromagnet of it.")
def hidden_order(order, strength, dense_network):
    magnets = four_magnets()
    words = ("uniform", "chessboard", "stripes", "scrambled", "none")
    need(isinstance(order, list | tuple) and len(order) == 4
         and all(isinstance(word, str) and word in words for word in order),
         f"`order` must be four words, each one of {words}.")
    shares, firsts, centred = [], [], []
    for x in magnets:
        flat = x.reshape(len(x), -1)
        _, singular, _ = np.linalg.svd(flat, full_matrices=False)
        shares.append(singular[0] ** 2 / len(flat) / flat.shape[1])
        firsts.append(np.mean(np.abs(flat.mean(axis=1))))
        centred.append(np.linalg.svd(flat - flat.mean(axis=0), compute_uv=False)[0] ** 2
                       / len(flat) / flat.shape[1])
    shares, firsts, centred = np.array(shares), np.array(firsts), np.array(centred)
    right = ("stripes", "scrambled", "none", "chessboard")
    for i, (word, correct) in enumerate(zip(order, right), 1):
        need(word == correct, f"magnet {i} is not {word!r}. Draw the signs of its first principal "
             "component as a picture, and compare its eigenvalue with the second one.")
    compare(strength, np.sqrt(shares), what="strength", mistakes={
        "The mean of the configurations is subtracted here; take the products x xᵀ as they are.":
            np.sqrt(centred),
        "The mean is subtracted here, and the sum divided by n − 1; take the average of x xᵀ.":
            np.sqrt(centred * 400 / 399),
        "These are averages of |m|, the mean of all spins: the order is not uniform.": firsts,
        "These are v₁/N: take the square root, as m is the root of m².": shares,
        "These are √v₁: divide v₁ by the number of spins.": np.sqrt(shares * 144),
    })
    need(chosen(dense_network, ("stripes more easily", "scrambled more easily", "both alike"),
                "dense_network") == "both alike",
         "your `dense_network`: would its first layer notice if the sites were renumbered?")


def four_magnets():
    """The configurations of the setup cell, (400, 12, 12) of ±1 each."""
    rng = np.random.default_rng(5)
    row, column = np.indices((12, 12))
    patterns = [(-1.0) ** row, rng.choice([-1.0, 1.0], (12, 12)), None, (-1.0) ** (row + column)]
    magnets = []
    for pattern in patterns:
        noise = rng.choice([-1.0, 1.0], (400, 12, 12), p=[0.15, 0.85])
        signs = rng.choice([-1.0, 1.0], (400, 1, 1))
        magnets.append(rng.choice([-1.0, 1.0], (400, 12, 12)) if pattern is None
                       else signs * pattern * noise)
    return magnets
