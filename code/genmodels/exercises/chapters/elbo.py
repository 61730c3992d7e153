"""Tests of the answers in the chapter on the evidence lower bound."""

import numpy as np
from scipy import optimize

from genmodels.exact import gaussian
from genmodels.exact.linear_gaussian import LinearGaussian
from genmodels.exercises.compare import ask, compare, need, parts, scalar
from genmodels.exercises.registry import exercise

__all__ = ["elbo_data_set", "elbo_entropy", "ising_pair", "shifted_posterior",
           "three_elbo_programs"]


@exercise(
    "three-elbo-programs", kind="explore", difficulty=1, minutes=15, identities=("B1", "B2"),
    right="More samples make c estimate something else; they make a and b more precise. With one "
          "sample, a and c are the same program.")
def three_elbo_programs(wrong, excess):
    need(isinstance(wrong, str) and wrong.strip().lower() in ("a", "b", "c"),
         'wrong must be "a", "b" or "c".')
    rng = np.random.default_rng(0)  # the model and x of the first cell
    model = LinearGaussian(rng.normal(size=(4, 3)), rng.normal(size=4), noise_std=0.7)
    x = model.sample(1, rng)[0][0]
    q = np.array([0.5, -0.5, 0.0]), 0.3 * np.eye(3)
    elbo, log_p, posterior = model.elbo(x, *q), model.log_evidence(x), model.posterior(x)
    gap, to_prior = log_p - elbo, gaussian.kl_divergence(*q, np.zeros(3), np.eye(3))
    # 1e-5: a difference of numbers of size 10 in float32.
    compare(scalar(excess), gap, what="the excess, nats", tested="n → ∞", error=1e-5, mistakes={
        "This is what the result tends to; how far is it above the ELBO?": log_p,
        "This is the ELBO; how far above it is the result?": elbo,
        "The sign is reversed: the result is above the ELBO.": -gap,
        "This is D[posterior‖Q]: the two are exchanged.": gaussian.kl_divergence(*posterior, *q),
        "This is the divergence to the prior; both results contain it.": to_prior,
        "This is in bits, not nats.": gap / np.log(2),
        "The programs do agree for n = 1; for n → ∞ one of them does not.": 0.0,
    })
    word = wrong.strip().lower()
    need(word != "a", "your excess is right. But the mean of a over its samples is E_Q[log p(x, h)"
         " − log Q(h)], for every n: is that not the ELBO?")
    need(word != "b", "your excess is right. But the mean of b over its samples is the right-hand "
         "side of (B2), for every n.")


@exercise(
    "elbo-entropy", kind="derive", difficulty=2, minutes=20, identities=("B2",),
    right="The two terms pull in opposite directions: the energy alone is largest for a Q that is "
          "a point, the entropy alone for a Q without end. Their sum is model.elbo.")
def elbo_entropy(answer):
    rng = np.random.default_rng(1)
    for k, d, noise_std in ((3, 4, 0.6), (1, 2, 1.5), (5, 3, 0.9)):
        compare_energy(answer, rng, k, d, noise_std)


def compare_energy(answer, rng, k, d, noise_std):
    model = LinearGaussian(rng.normal(size=(d, k)), rng.normal(size=d), noise_std)
    x, q_mean, factor = rng.normal(size=d), rng.normal(size=k), 0.8 * rng.normal(size=(k, k))
    q_cov = factor @ factor.T + 0.1 * np.eye(k)
    # Everything is quadratic in h, so Gauss-Hermite quadrature with 3 nodes is exact.
    nodes, weights = np.polynomial.hermite_e.hermegauss(3)
    grid = np.stack(np.meshgrid(*[nodes] * k), axis=-1).reshape(-1, k)
    weights = np.prod(np.meshgrid(*[weights] * k), axis=0).ravel()
    weights /= weights.sum()
    h = q_mean + grid @ np.linalg.cholesky(q_cov).T
    data = weights @ model.log_likelihood(x, h)
    prior, entropy = weights @ model.log_prior(h), -weights @ gaussian.log_density(h, q_mean, q_cov)
    energy, trace = data + prior, np.trace(q_cov)
    log_det = np.linalg.slogdet(q_cov)[1]

    got = parts(ask(answer, model=model, x=x, q_mean=q_mean, q_cov=q_cov),
                "E_Q[log p(x, h)]", "the entropy")
    tested = f"d = {d}, k = {k}"
    compare(got[0], energy, what="E_Q[log p(x, h)], nats", tested=tested, mistakes={
        "This is log p(x, h) at the mean of Q; the mean of a square is not the square of the mean.":
            model.log_joint(x, q_mean),
        "E_Q[log p(h)] is taken at the mean of Q: Q's covariance enters, too.": energy + trace / 2,
        "This is E_Q[log p(x|h)] alone: the prior is missing.": data,
        "The constant of the prior, with log 2π, is missing.": energy + k / 2 * np.log(2 * np.pi),
        "The constant of the prior is there once, not k times.":
            energy + (k - 1) / 2 * np.log(2 * np.pi),
        "In E_Q[log p(h)] the trace lacks the factor ½.":
            energy - trace / 2,
        "This has the divergence to the prior in it; here the prior is averaged alone.":
            data - gaussian.kl_divergence(q_mean, q_cov, np.zeros(k), np.eye(k)),
        "This is the entropy: return E_Q[log p(x, h)] first.": entropy,
        "This is the energy with the physicist's sign; here E_Q[log p(x, h)] is asked for.":
            -energy,
        "The sign of the prior's term is reversed.": data - prior,
    })
    compare(got[1], entropy, what="the entropy, nats", tested=tested, mistakes={
        "The summand k/2 is missing: the quadratic form in log Q has a mean, too.":
            entropy - k / 2,
        "A factor ½ is missing.": 2 * entropy,
        "The factor 2πe is taken out of the determinant once; it is in every one of its k rows.":
            (np.log(2 * np.pi * np.e) + log_det) / 2,
        "The summand k/2 is there once, not k times.": entropy - (k - 1) / 2,
        "The constant with 2π is missing.": entropy - k / 2 * np.log(2 * np.pi),
        "Nothing but the determinant is left: the constants are missing.": log_det / 2,
        "This is −S: the sign is reversed.": -entropy,
        "The sign of the quadratic form's mean is reversed.": entropy - k,
        "This is in bits, not nats.": entropy / np.log(2),
        "The covariance is treated as diagonal.":
            0.5 * np.sum(np.log(2 * np.pi * np.e * np.diag(q_cov))),
        "The sign of the log determinant is reversed.": entropy - log_det,
        "The log determinant has no factor ½.": entropy + log_det / 2,
    })


@exercise(
    "shifted-posterior", kind="explore", difficulty=2, minutes=15, identities=("B2",),
    right="In units of the posterior's own standard deviation all directions cost the same. Keep "
          "the mean and scale the standard deviation instead: is too narrow worse, or too wide?")
def shifted_posterior(gaps, prediction):
    rng = np.random.default_rng(0)  # the model and x of the first cell
    model = LinearGaussian(rng.normal(size=(4, 3)), rng.normal(size=4), noise_std=0.7)
    x = model.sample(1, rng)[0][0]
    post_mean, cov = model.posterior(x)
    variances, vectors = np.linalg.eigh(cov)
    shifts = np.array([0.0, 0.5, 1.0, 2.0, 3.0])

    def measure(directions, start=post_mean):  # what is left of (K2) for two equal covariances
        moved = start + shifts[:, None, None] * directions - post_mean  # (5, 3, 3)
        return 0.5 * np.einsum("sik,kl,sil->is", moved, np.linalg.inv(cov), moved)

    steps = np.sqrt(variances)[:, None] * vectors.T  # (3, 3): a row for each eigenvector
    expected, log_p = np.tile(shifts**2 / 2, (3, 1)), model.log_evidence(x)
    compare(gaps, expected, what="the gaps, nats", tested="five shifts along three eigenvectors",
            error=1e-5,  # a difference of numbers of size 10 in float32
            mistakes={
                "These are shifts by the length δ; δ counts standard deviations of the posterior.":
                    measure(vectors.T),
                "The step is δ times an eigenvalue, which is a variance, not a standard deviation.":
                    measure(variances[:, None] * vectors.T),
                "These are the rows of the matrix of eigh; its eigenvectors are the columns.":
                    measure(np.sqrt(variances)[:, None] * vectors),
                "The shift starts at 0; it starts at the posterior's mean.":
                    measure(steps, 0 * post_mean),
                "These are values of the ELBO; the gap is measured from log p(x).":
                    log_p - expected,
                "The sign is reversed: the ELBO is below log p(x).": -expected,
                "This is twice the gap: a factor ½ is missing.": 2 * expected,
                "This is linear in the shift.": np.tile(shifts / 2, (3, 1)),
                "The eigenvectors belong in rows, the shifts in columns.": expected.T,
            })
    need(isinstance(prediction, str), 'prediction must be "smallest", "largest" or "neither".')
    word = prediction.strip().lower()
    need(word in ("smallest", "largest", "neither"),
         'prediction must be "smallest", "largest" or "neither".')
    need(word == "neither", f"your measurement is right, and it contradicts your prediction "
         f"{word!r}: compare the rows of `gaps`.")


@exercise(
    "elbo-data-set", kind="derive", difficulty=2, minutes=20, identities=("B3",),
    right="This is a test-set ELBO without any sampling noise, possible because the decoder is "
          "linear. With a network in its place, samples of h take the mean over Q.")
def elbo_data_set(answer):
    rng = np.random.default_rng(3)
    n, d, k, noise_std = 6, 4, 3, 0.6
    model = LinearGaussian(rng.normal(size=(d, k)), rng.normal(size=d), noise_std)
    x = model.sample(n, rng)[0]
    mean, log_var = 0.7 * rng.normal(size=(n, k)), rng.normal(-1, 0.8, size=(n, k))
    # The left-hand side of (B3): evidence minus gap.
    each = np.array([
        model.log_evidence(x_i) - gaussian.kl_divergence(m, np.diag(np.exp(v)),
                                                         *model.posterior(x_i))
        for x_i, m, v in zip(x, mean, log_var)])
    kl = gaussian.kl_to_standard_normal(mean, log_var)
    data, at_mean = each + kl, model.log_likelihood(x, mean)
    spread = (at_mean - data) * 2 * noise_std**2  # what the encoder's variance adds to the square
    constant = 0.5 * d * np.log(2 * np.pi * noise_std**2)
    expected = each.mean()

    def elbo_with(std, var_of):
        other = LinearGaussian(model.weights, model.bias, std)
        return np.mean([other.elbo(x_i, m, np.diag(var_of(v)))
                        for x_i, m, v in zip(x, mean, log_var)])

    inputs = {"weights": model.weights, "bias": model.bias, "noise_std": noise_std}
    got = ask(answer, x=x, mean=mean, log_var=log_var, **inputs)
    compare(got, expected, what="the mean ELBO, nats per example", tested="n = 6, d = 4, k = 3",
            mistakes={
                "This is the sum over the examples; it is asked for nats per example.": each.sum(),
                "This is one number for each example: average over them.": each,
                "log p(x|h) is taken at the mean of Q: the encoder's variance adds to the squared "
                "residual.": np.mean(at_mean - kl),
                "This is E_Q[log p(x|h)] alone: the divergence to the prior is missing.":
                    data.mean(),
                "The divergence is added; it is subtracted.": np.mean(data + kl),
                "This is the loss, −ELBO.": -expected,
                "The constant with log 2π is missing.": expected + d / 2 * np.log(2 * np.pi),
                "The normalisation of p(x|h) is missing.": expected + constant,
                "The normalisation of p(x|h) is there once, not d times.":
                    expected + constant * (d - 1) / d,
                "The normalisation of p(x|h) has s where s² belongs.":
                    expected + d * np.log(noise_std) / 2,
                "The part of the normalisation with s is missing.":
                    expected + d * np.log(noise_std),
                "The divergence is averaged over the latent dimensions; it sums over them.":
                    np.mean(data - kl / k),
                "log p(x|h) is averaged over the components of x; it sums over them.":
                    np.mean(data / d - kl),
                "A factor ½ is missing in the divergence.": np.mean(data - 2 * kl),
                "The squared residual lacks the factor ½.": np.mean(2 * (data + constant) - kl)
                    - constant,
                "The squared residual is divided by s, not by s².":
                    np.mean((data + constant) * noise_std - kl) - constant,
                "This takes noise_std for the variance; s is the standard deviation.":
                    elbo_with(np.sqrt(noise_std), np.exp),
                "This takes log_var for log σ; it is log σ², so σ² = exp(log_var).":
                    elbo_with(noise_std, lambda v: np.exp(2 * v)),
                "The term with the encoder's variance has σ where σ² belongs.":
                    np.mean(at_mean - kl - np.exp(log_var / 2) @ np.sum(model.weights**2, axis=0)
                            / (2 * noise_std**2)),
                "The term with the encoder's variance has the square of a column's sum, not the "
                "sum of its squares.":
                    np.mean(at_mean - kl - np.exp(log_var) @ np.sum(model.weights, axis=0)**2
                            / (2 * noise_std**2)),
                "The term with the encoder's variance is not divided by s².":
                    np.mean(at_mean - kl - spread / 2),
                "The term with the encoder's variance has the wrong sign: uncertainty costs.":
                    np.mean(2 * at_mean - data - kl),
            })
    got = ask(answer, x=x[:1], mean=mean[:1], log_var=log_var[:1], **inputs)
    compare(got, each[0], what="the mean ELBO, nats per example", tested="one example")
    for n, d, k, noise_std in ((3, 2, 5, 1.7), (4, 3, 1, 1.0)):
        model = LinearGaussian(rng.normal(size=(d, k)), rng.normal(size=d), noise_std)
        x, mean, log_var = rng.normal(size=(n, d)), rng.normal(size=(n, k)), rng.normal(size=(n, k))
        got = ask(answer, x=x, mean=mean, log_var=log_var, weights=model.weights, bias=model.bias,
                  noise_std=noise_std)
        compare(got, np.mean([
            model.log_evidence(x_i) - gaussian.kl_divergence(m, np.diag(np.exp(v)),
                                                             *model.posterior(x_i))
            for x_i, m, v in zip(x, mean, log_var)]), what="the mean ELBO, nats per example",
            tested=f"n = {n}, d = {d}, k = {k}, s = {noise_std}")


@exercise(
    "ising-pair", kind="explore", difficulty=3, minutes=30, identities=("B2",),
    right="At J = 1 without a field the mean field becomes magnetic, though two spins have no "
          "phase transition. How large is the gap there, and at J = 10?")
def ising_pair(answer, magnetised):
    for coupling, field in ((0.8, 0.3), (2.0, 0.0), (0.3, 1.5), (1.6, 0.1)):
        compare_pair(answer, coupling, field)
    for coupling, field in ((0.0, 0.7), (0.5, 0.0)):
        got = parts(ask(answer, coupling=coupling, field=field), "m", "the gap")
        tested = f"J = {coupling}, B = {field}"
        # 1e-3, as below; the gap is of second order in an error of m.
        compare(scalar(got[0]), np.tanh(field) if coupling == 0 else 0.0, what="m", tested=tested,
                error=1e-3)
        compare(scalar(got[1]), product_gap(0.0 if coupling else np.tanh(field), coupling, field),
                what="the gap, nats", tested=tested, error=1e-5)
    words = {"p", "q", "both", "neither"}
    need(isinstance(magnetised, str) and magnetised.strip().lower() in words,
         'magnetised must be "p", "Q", "both" or "neither".')
    word = magnetised.strip().lower()
    need(word not in ("p", "both"), "your function is right. But without a field p(s1, s2) = "
         "p(−s1, −s2): what does that say of the mean of a spin?")
    need(word != "neither", "your function is right, and it contradicts your prediction: which m "
         "does it return for J = 2, B = 0?")


SPINS = np.array([-1.0, 1.0])


def product_gap(m, coupling, field, other=None):
    """D[Q‖p] in nats, by summation over the four states; `other` is the mean of the second spin."""
    other = m if other is None else other
    q = np.outer((1 + m * SPINS) / 2, (1 + other * SPINS) / 2)
    energy = -coupling * np.outer(SPINS, SPINS) - field * np.add.outer(SPINS, SPINS)
    p = np.exp(-energy)
    p /= p.sum()
    kept = q > 0
    return np.sum(q[kept] * np.log(q[kept] / p[kept]))


def compare_pair(answer, coupling, field):
    grid = np.linspace(0, 1, 2001)
    start = grid[np.argmin([product_gap(m, coupling, field) for m in grid])]
    m = optimize.minimize_scalar(
        lambda m: product_gap(m, coupling, field), method="bounded", options={"xatol": 1e-10},
        bounds=(max(start - 1e-3, 0), min(start + 1e-3, 1))).x
    gap = product_gap(m, coupling, field)

    def with_energy(factor, field_factor=1.0, entropy_factor=1.0):
        """The m that minimises a free energy with wrong factors."""
        up, down = (1 + grid[:-1]) / 2, (1 - grid[:-1]) / 2
        entropy = -2 * (up * np.log(up) + down * np.log(down))
        bound = (-factor * coupling * grid[:-1]**2 - 2 * field_factor * field * grid[:-1]
                 - entropy_factor * entropy)
        best = grid[np.argmin(bound)]
        for _ in range(2000):
            best = np.tanh((factor * coupling * best + field_factor * field) / entropy_factor)
        return best

    weights = np.exp(coupling * np.outer(SPINS, SPINS) + field * np.add.outer(SPINS, SPINS))
    true_mean = np.sum(weights * SPINS[:, None]) / weights.sum()
    got = parts(ask(answer, coupling=coupling, field=field), "m", "the gap")
    tested = f"J = {coupling}, B = {field}"
    # 1e-3: the minimum on a grid of 1000 values of m.
    compare(scalar(got[0]), m, what="m", tested=tested, error=1e-3, mistakes={
        "This is the mean of a spin in p; Q is the best product.": true_mean,
        "This is −m: m ≥ 0 is asked for.": -m,
        "This is the gap: return m first.": gap,
        "The field of the other spin is taken twice: the pair has one coupling.":
            with_energy(2.0),
        "The field of the other spin is taken half.": with_energy(0.5),
        "The field acts on both spins: it is taken half here.": with_energy(1.0, 0.5),
        "The entropy of one spin is taken; there are two.": with_energy(1.0, 1.0, 0.5),
        "This maximises the entropy alone.": 0.0,
        "This is q(+1), the probability that a spin is up, not its mean.": (1 + m) / 2,
        "The coupling is ignored: this is the mean of a free spin in the field.": np.tanh(field),
    })
    log_z = np.log(weights.sum())
    bound = gap - log_z
    energy = -coupling * m**2 - 2 * field * m
    entropy = energy - bound
    compare(scalar(got[1]), gap, what="the gap, nats", tested=tested, error=1e-5, mistakes={
        "This is the bound ⟨E⟩ − S; the gap is what it lies above F.": bound,
        "This is −gap: the sign is reversed.": -gap,
        "F = −log Z enters with the wrong sign.": bound - log_z,
        "The entropy of one spin is missing: there are two.": gap + entropy / 2,
        "The entropy is missing.": gap + entropy,
        "The entropy is added; it is subtracted.": gap + 2 * entropy,
        "This is in bits, not nats.": gap / np.log(2),
        "In ⟨E⟩ the field acts on one spin only.": gap + field * m,
        "Z lacks one of the two states with opposite spins.":
            gap + np.log(weights.sum() - weights[0, 1]) - log_z,
    })
