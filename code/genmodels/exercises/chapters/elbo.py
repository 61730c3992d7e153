"""Tests of the answers in the chapter on the evidence lower bound."""

import numpy as np

from genmodels.exact import gaussian
from genmodels.exact.linear_gaussian import LinearGaussian
from genmodels.exercises.compare import ask, compare, need, parts, show
from genmodels.exercises.registry import exercise

__all__ = ["bound_given_x", "elbo_data_set", "elbo_discrete", "elbo_entropy", "shifted_posterior"]


@exercise(
    "elbo-discrete", kind="build", difficulty=1, minutes=15, identities=("B1", "B2"),
    right="Put the posterior in for q: the gap is 0. For every other q the bound is lower, and "
          "the two numbers always add up to log p(x).")
def elbo_discrete(answer):
    rng = np.random.default_rng(0)
    log_prior = np.log(rng.dirichlet(np.full(5, 2.0)))
    log_likelihood, q = rng.normal(-3, 1.5, size=5), rng.dirichlet(np.full(5, 2.0))
    prior, likelihood = np.exp(log_prior), np.exp(log_likelihood)
    evidence = np.sum(prior * likelihood)
    posterior = prior * likelihood / evidence

    def kl(p0, p1):
        kept = p0 > 0
        return np.sum(p0[kept] * np.log(p0[kept] / p1[kept]))

    gap, to_prior, data = kl(q, posterior), kl(q, prior), q @ log_likelihood
    elbo = np.log(evidence) - gap  # the left-hand side of (B2)
    got = parts(
        ask(answer, log_prior=log_prior, log_likelihood=log_likelihood, q=q),
        "the ELBO", "the gap")
    compare(got[0], elbo, what="the ELBO, nats", tested="K = 5", mistakes={
        "This is E_Q[log p(x|h)] alone: the divergence to the prior is missing.": data,
        "The divergence to the prior is added; it is subtracted.": data + to_prior,
        "This has D[prior‖Q]: the two are exchanged.":
            data - kl(prior, q),
        "This is E_Q[log p(x, h)]: the entropy of Q is missing.": q @ (log_prior + log_likelihood),
        "The sign of the term with log Q is reversed.":
            q @ (log_prior + log_likelihood) + q @ np.log(q),
        "This is log p(x), which the bound stays below.": np.log(evidence),
        "This averages over the prior; the expectations are over Q.":
            prior @ log_likelihood - to_prior,
        "This sums over h without the weights Q(h).":
            np.sum(log_prior + log_likelihood - np.log(q)),
        "This gives every h the same weight; the expectations are over Q.":
            np.mean(log_prior + log_likelihood - np.log(q)),
        "This is −ELBO: the sign is reversed.": -elbo,
        "This is in bits, not nats.": elbo / np.log(2),
        "This is the gap: return the ELBO first.": gap,
    })
    # 1e-5: the gap may be a difference of numbers of size 10 in float32.
    compare(got[1], gap, what="the gap, nats", tested="K = 5", error=1e-5, mistakes={
        "This is D[posterior‖Q]: the two are exchanged.":
            kl(posterior, q),
        "This is measured from p(x, h), which is not normalised: log p(x) of (B1) is missing.":
            -elbo,
        "This is the divergence to the prior, not to the posterior.": to_prior,
        "This is −gap: the sign is reversed. A divergence is not negative.": -gap,
        "This takes the normalised likelihood for the posterior: the prior is missing.":
            kl(q, likelihood / likelihood.sum()),
        "This is log p(x) − E_Q[log p(x|h)]: the ELBO has a second term.":
            np.log(evidence) - data,
        "This is log p(x) itself.": np.log(evidence),
        "This is in bits, not nats.": gap / np.log(2),
    })

    for size in (2, 9):
        prior_, q_ = rng.dirichlet(np.full(size, 2.0)), rng.dirichlet(np.full(size, 2.0))
        log_likelihood_ = rng.normal(3, 1.5, size=size)  # densities may exceed 1
        joint = prior_ * np.exp(log_likelihood_)
        gap_ = kl(q_, joint / joint.sum())
        got = parts(ask(answer, log_prior=np.log(prior_), log_likelihood=log_likelihood_, q=q_),
                    "the ELBO", "the gap")
        compare(got[0], np.log(joint.sum()) - gap_, what="the ELBO, nats", tested=f"K = {size}",
                error=1e-5)
        compare(got[1], gap_, what="the gap, nats", tested=f"K = {size}", error=1e-5)

    with_zeros = np.array([0.0, 0.3, 0.7, 0.0, 0.0])
    got = parts(
        ask(answer, log_prior=log_prior, log_likelihood=log_likelihood, q=with_zeros),
        "the ELBO", "the gap")
    gap = kl(with_zeros, posterior)
    tested = "q = [0, 0.3, 0.7, 0, 0]"
    compare(got[0], np.log(evidence) - gap, what="the ELBO, nats", tested=tested)
    compare(got[1], gap, what="the gap, nats", tested=tested, error=1e-5)

    # A common factor of the likelihoods moves log p(x) and the ELBO and leaves the gap; one value
    # of h that is 1600 nats less likely than the others must not overflow either.
    far, low = log_likelihood - 1000, np.array([0, 0, 0, 0, 1600])
    rest = np.r_[posterior[:4] / posterior[:4].sum(), 0.0]
    q = np.r_[q[:4] / q[:4].sum(), 0.0]
    gap = kl(q, rest)
    got = parts(ask(answer, log_prior=log_prior, log_likelihood=far - low, q=q),
                "the ELBO", "the gap")
    tested = "log-likelihoods around −1000 and one of −2600"
    # 1e-3: an answer in float32 rounds numbers of size 1000 to about 1e-4.
    compare(got[0], np.log(evidence * posterior[:4].sum()) - 1000 - gap, error=1e-3,
            what="the ELBO, nats", tested=tested)
    compare(got[1], gap, error=1e-3, what="the gap, nats", tested=tested)


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
    "bound-given-x", kind="derive", difficulty=3, minutes=25, identities=("B4", "B5"),
    right="Labels and digits are such halves. A conditional VAE learns p(h|x) as a network, or "
          "makes h independent of x so that p(h) is right.")
def bound_given_x(answer, bounded):
    rng = np.random.default_rng(4)
    for d, k, seen, noise_std in ((5, 3, 2, 0.5), (4, 2, 3, 1.4)):
        compare_bound(answer, rng, d, k, seen, noise_std)
    need(isinstance(bounded, str), 'bounded must be "log p(y)", "log p(y|x)" or "log p(x, y)".')
    word = "".join(bounded.lower().split())
    need(word in ("logp(y)", "logp(y|x)", "logp(x,y)"),
         'bounded must be "log p(y)", "log p(y|x)" or "log p(x, y)".')
    need(word != "logp(y|x)", "your function is right, but with p(h) in place of p(h|x) it is not "
         "log p(y|x) that is bounded: which term then still contains x?")
    need(word != "logp(x,y)", "your function is right, but log p(x, y) is not what is bounded: a "
         "bound on it would have to contain the likelihood of x.")


def compare_bound(answer, rng, d, k, seen, noise_std):
    model = LinearGaussian(rng.normal(size=(d, k)), rng.normal(size=d), noise_std)
    of_x, of_y = (LinearGaussian(model.weights[part], model.bias[part], noise_std)
                  for part in (slice(None, seen), slice(seen, None)))
    v = model.sample(1, rng)[0][0]
    x, y = v[:seen], v[seen:]
    factor = 0.6 * rng.normal(size=(k, k))
    q = rng.normal(size=k), factor @ factor.T + 0.1 * np.eye(k)

    joint = model.weights @ model.weights.T + model.noise_std**2 * np.eye(d)
    gain = joint[seen:, :seen] @ np.linalg.inv(joint[:seen, :seen])
    log_p = gaussian.log_density(y, model.bias[seen:] + gain @ (x - model.bias[:seen]),
                                 joint[seen:, seen:] - gain @ joint[:seen, seen:])
    gap = gaussian.kl_divergence(*q, *model.posterior(v))
    bound = log_p - gap  # the left-hand side of (B5)
    given_x, data = of_x.posterior(x), of_y.expected_log_likelihood(y, *q)
    to_given_x = gaussian.kl_divergence(*q, *given_x)

    got = parts(
        ask(answer, model=model, num_seen=seen, v=v, q_mean=q[0], q_cov=q[1]),
        "the bound", "its gap")
    tested = f"d = {d}, k = {k}, num_seen = {seen}"
    compare(got[0], bound, what="the bound, nats", tested=tested, mistakes={
        "The prior is p(h); given x it is p(h|x).": of_y.elbo(y, *q),
        "The likelihood is that of x and y; x is given, and counted in p(h|x) already.":
            model.expected_log_likelihood(v, *q) - to_given_x,
        "This is the ELBO of x and y together, a bound on log p(x, y).": model.elbo(v, *q),
        "This is E_Q[log p(y|h)] alone: the divergence to p(h|x) is missing.": data,
        "The divergence is added; it is subtracted.": data + to_given_x,
        "This has D[p(h|x)‖Q]: the two are exchanged.":
            data - gaussian.kl_divergence(*given_x, *q),
        "The divergence is that to p(h|x,y), which makes the gap; here p(h|x) belongs.":
            data - gap,
        "x and y are exchanged: y is what comes after the first num_seen components.":
            of_x.expected_log_likelihood(x, *q) - gaussian.kl_divergence(*q, *of_y.posterior(y)),
        "The likelihood is that of x; y is to be predicted.":
            of_x.expected_log_likelihood(x, *q) - to_given_x,
        "log p(y|h) is taken at the mean of Q: Q's covariance enters, too.":
            of_y.log_likelihood(y, q[0]) - to_given_x,
        "This is log p(y|x) itself, which the bound stays below.": log_p,
        "This is −bound: the sign is reversed.": -bound,
        "This is the gap: return the bound first.": gap,
    })
    compare(got[1], gap, what="the gap, nats", tested=tested, mistakes={
        "This is the divergence to p(h|x); the gap is that to the posterior given x and y.":
            to_given_x,
        "This is the divergence to p(h|y): x is given as well.":
            gaussian.kl_divergence(*q, *of_y.posterior(y)),
        "This is D[posterior‖Q]: the two are exchanged.":
            gaussian.kl_divergence(*model.posterior(v), *q),
        "This is −gap: the sign is reversed. A divergence is not negative.": -gap,
        "This is measured from log p(x, y); x is given.":
            model.log_evidence(v) - bound,
        "This is measured from log p(y); x is given.": of_y.log_evidence(y) - bound,
        "This is the divergence to the prior p(h).":
            gaussian.kl_divergence(*q, np.zeros(k), np.eye(k)),
    })
    tight = parts(
        ask(answer, model=model, num_seen=seen, v=v,
            **dict(zip(("q_mean", "q_cov"), model.posterior(v)))), "the bound", "its gap")
    # 1e-4: log determinants and quadratic forms of size 10 cancel, perhaps in float32.
    need(abs(tight[1]) < 1e-4, f"for Q = p(h|x,y) the gap must be 0, and came out as "
         f"{show(tight[1])}.")
