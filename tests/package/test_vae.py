"""What the VAEs must do in both frameworks (KERAS_BACKEND=torch, jax: the Keras half on that)."""

import copy
import os
import pickle
import re
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch

from genmodels import training
from genmodels.models import likelihood, trained, unet_keras, unet_torch, vae_keras, vae_torch
from genmodels.models.conversion import copy_weights, from_arrays, to_arrays
from genmodels.training import checks, keras_tensors, torch_tensors
from genmodels.training import history as runs
from genmodels.training import keras as keras_training
from genmodels.training import torch as torch_training
from genmodels.validate import check_examples

pytestmark = pytest.mark.keras

EPS = float(np.finfo(np.float32).eps)
SUM_RTOL = 784 * EPS  # float32: worst-case rounding of a sum of 784 terms of one sign
FRAMEWORKS = {"torch": vae_torch, "keras": vae_keras}
TRAINING = {vae_torch: torch_training, vae_keras: keras_training}
CASES = [(vae, name) for vae in FRAMEWORKS.values() for name in ("ConvVAE", "MLPVAE")]
CASE_IDS = ["torch-ConvVAE", "torch-MLPVAE", "keras-ConvVAE", "keras-MLPVAE"]


def as_numpy(tensor):
    return tensor.detach().numpy() if isinstance(tensor, torch.Tensor) else np.asarray(tensor)


def weights(model):
    """Copies of all weights, encoder first, in the same order in both frameworks."""
    if isinstance(model, torch.nn.Module) and not isinstance(model, keras.Model):
        return [p.detach().numpy().copy() for p in model.parameters()]
    variables = model.encoder.weights + model.decoder.weights
    return [np.array(keras.ops.convert_to_numpy(w)) for w in variables]


def set_weights(model, arrays):
    if isinstance(model, keras.Model):
        variables = model.encoder.weights + model.decoder.weights
        for weight, array in zip(variables, arrays, strict=True):
            weight.assign(array)
    else:
        with torch.no_grad():
            for weight, array in zip(model.parameters(), arrays, strict=True):
                weight.copy_(torch.from_numpy(np.array(array)))


def shake(model, seed=0):
    """Random biases and larger weights, so that mean, log_var and pixels are far from trivial."""
    rng = np.random.default_rng(seed)
    set_weights(model, [w * 1.5 if w.ndim > 1 else 0.3 * rng.standard_normal(w.shape)
                        for w in weights(model)])
    return model


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).random((10, 28, 28), dtype=np.float32)


@pytest.fixture(params=CASES, ids=CASE_IDS)
def model(request):
    vae, name = request.param
    keras.utils.set_random_seed(0)
    torch.manual_seed(0)
    return shake(getattr(vae, name)())


@pytest.fixture(params=FRAMEWORKS.values(), ids=FRAMEWORKS)
def vae(request):
    return request.param


def small(vae, seed=0):
    """A model that trains in no time; the same weights for the same seed."""
    model = vae.MLPVAE(latent_dim=2, hidden_dim=8)
    rng = np.random.default_rng(seed)
    set_weights(model, [0.2 * rng.standard_normal(w.shape) for w in weights(model)])
    return model


def make_noise(model, n, seed=2):
    return np.random.default_rng(seed).standard_normal((n, model.latent_dim), dtype=np.float32)


# Architecture and conventions -------------------------------------------------------------------


def count(network):
    if isinstance(network, keras.Model):
        return network.count_params()
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(("name", "encoder", "decoder"),
                         [("ConvVAE", 69_076, 65_089), ("MLPVAE", 672_784, 406_800)])
def test_number_of_parameters(vae, name, encoder, decoder):
    model = getattr(vae, name)()
    assert (count(model.encoder), count(model.decoder)) == (encoder, decoder)


@pytest.mark.parametrize(("name", "sizes"), [("ConvVAE", {"latent_dim": 3}),
                                             ("MLPVAE", {"latent_dim": 3, "hidden_dim": 5})])
def test_sizes_can_be_chosen(vae, images, name, sizes):
    model = getattr(vae, name)(**sizes)
    mean, log_var = model.encode(images)
    assert tuple(mean.shape) == tuple(log_var.shape) == (10, 3)


def test_sizes_are_checked(vae):
    with pytest.raises(ValueError, match="latent_dim must be a positive integer, got 0"):
        vae.ConvVAE(latent_dim=0)
    for name in ("latent_dim", "hidden_dim"):
        with pytest.raises(TypeError, match=f"{name} must be a positive integer, got 2.0"):
            vae.MLPVAE(**{name: 2.0})


def test_shapes_and_tensors(model, images):
    own = torch.Tensor if isinstance(model, vae_torch.VAE) else type(keras.ops.zeros(1))
    h = make_noise(model, 10)
    k = model.latent_dim
    for result, shape in [
        (model.encode(images)[0], (10, k)), (model.encode(images)[1], (10, k)),
        (model.decode(h), (10, 28, 28)), (model.sample(4), (4, 28, 28)),
        (model.reconstruct(images), (10, 28, 28)),
        (model.elbo_terms(images)[0], (10,)), (model.elbo_terms(images)[1], (10,)),
    ]:
        assert isinstance(result, own)
        assert tuple(result.shape) == shape
        assert "float32" in str(result.dtype)
        assert np.all(np.isfinite(as_numpy(result)))


def test_arrays_and_tensors_give_the_same(model, images):
    if isinstance(model, vae_torch.VAE):
        to_tensor = torch.from_numpy
    else:
        to_tensor = keras.ops.convert_to_tensor
    noise = make_noise(model, 10)
    expected = [as_numpy(term) for term in model.elbo_terms(images, noise)]
    read_only = images[::-1].copy()
    read_only.flags.writeable = False
    for x in (to_tensor(images), images.astype(np.float64), read_only[::-1]):
        for term, reference in zip(model.elbo_terms(x, to_tensor(noise)), expected):
            np.testing.assert_array_equal(as_numpy(term), reference)


def test_bernoulli_means_are_probabilities_and_gaussian_means_may_leave_them(vae):
    h = 50 * make_noise(vae.ConvVAE(), 20)
    probabilities = as_numpy(shake(vae.ConvVAE()).decode(h))
    assert probabilities.min() >= 0 and probabilities.max() <= 1
    means = as_numpy(shake(vae.MLPVAE()).decode(50 * make_noise(vae.MLPVAE(), 20)))
    assert -0.5 <= means.min() < -0.1 and 1.1 < means.max() <= 1.5


def test_examples_do_not_influence_each_other(model, images):
    noise = make_noise(model, 10)
    together = model.elbo_terms(images, noise)
    alone = model.elbo_terms(images[3:4], noise[3:4])
    for term, reference in zip(alone, together):
        np.testing.assert_allclose(as_numpy(term)[0], as_numpy(reference)[3], rtol=SUM_RTOL)


def test_reconstruct_decodes_the_mean(model, images):
    mean, _ = model.encode(images)
    np.testing.assert_array_equal(as_numpy(model.reconstruct(images)), as_numpy(model.decode(mean)))


def test_sample_decodes_standard_normal_draws(model):
    h = np.random.default_rng(5).standard_normal((4, model.latent_dim), dtype=np.float32)
    np.testing.assert_array_equal(as_numpy(model.sample(4, seed=5)), as_numpy(model.decode(h)))
    assert np.any(as_numpy(model.sample(4)) != as_numpy(model.sample(4)))


# The two terms of the ELBO ----------------------------------------------------------------------


def encoded(model, x):
    """Mean and log-variance in float64."""
    return [as_numpy(tensor).astype(np.float64) for tensor in model.encode(x)]


def test_N1_log_likelihood_is_that_of_torch_distributions(model, images):
    noise = make_noise(model, 10)
    mean, log_var = encoded(model, images)
    h = (mean + np.exp(log_var / 2) * noise).astype(np.float32)
    mean_images = torch.tensor(as_numpy(model.decode(h)), dtype=torch.float64)
    if "Conv" in type(model).__name__:
        p_x = torch.distributions.Bernoulli(probs=mean_images, validate_args=False)
    else:
        p_x = torch.distributions.Normal(mean_images, 1.0)
    expected = p_x.log_prob(torch.tensor(images, dtype=torch.float64)).sum(dim=(1, 2)).numpy()
    log_likelihood, _ = model.elbo_terms(images, noise)
    np.testing.assert_allclose(as_numpy(log_likelihood), expected, rtol=SUM_RTOL)


def test_N1_gaussian_log_likelihood_is_that_of_scipy(vae, images):
    model = shake(vae.MLPVAE())
    noise = np.zeros((10, 8), np.float32)  # h is the mean of Q
    means = as_numpy(model.reconstruct(images)).astype(np.float64)
    expected = scipy.stats.norm(means, 1.0).logpdf(images.astype(np.float64)).sum(axis=(1, 2))
    log_likelihood, _ = model.elbo_terms(images, noise)
    np.testing.assert_allclose(as_numpy(log_likelihood), expected, rtol=SUM_RTOL)


def test_N1_bernoulli_log_likelihood_is_that_of_scipy_and_of_keras(vae, images):
    model = shake(vae.ConvVAE())
    binary = np.round(images)
    noise = np.zeros((10, 2), np.float32)
    probabilities = as_numpy(model.reconstruct(binary))
    log_likelihood = as_numpy(model.elbo_terms(binary, noise)[0])
    expected = scipy.stats.bernoulli(probabilities.astype(np.float64)).logpmf(binary).sum((1, 2))
    np.testing.assert_allclose(log_likelihood, expected, rtol=SUM_RTOL)
    # Keras averages over the last axis, and clips at 1e-7, which no probability here comes near.
    assert probabilities.min() > 1e-4 and probabilities.max() < 1 - 1e-4
    entropy = keras.losses.binary_crossentropy(binary, keras.ops.convert_to_tensor(probabilities))
    np.testing.assert_allclose(log_likelihood, -28 * as_numpy(entropy).sum(axis=1), rtol=SUM_RTOL)


def test_N1_bernoulli_log_likelihood_is_exact_for_certain_pixels(vae, images):
    """Where float32 rounds the probability to 0 or 1, the logarithm still comes from the logit."""
    model = vae.ConvVAE()
    set_weights(model, [10 * w for w in weights(shake(model))])
    h = 10 * make_noise(model, 10)
    logits = as_numpy(model.decoder(model._tensor(h))).astype(np.float64)
    probabilities = as_numpy(model.decode(h))
    assert probabilities.min() == 0 and probabilities.max() == 1
    expected = (images * scipy.special.log_expit(logits)
                + (1 - images) * scipy.special.log_expit(-logits)).sum((1, 2))
    log_likelihood = as_numpy(model._log_likelihood(model._tensor(images),
                                                    model.decoder(model._tensor(h))))
    np.testing.assert_allclose(log_likelihood, expected, rtol=SUM_RTOL)


def test_N1_unit_variance_costs_720_nats(vae):
    """A perfect reconstruction has log-likelihood −392 log 2π, the lecture's unstated constant."""
    model = small(vae)
    x = np.full((1, 28, 28), 0.5, np.float32)
    set_weights(model, [np.zeros_like(w) for w in weights(model)])  # decodes grey
    log_likelihood, _ = model.elbo_terms(x)
    np.testing.assert_allclose(as_numpy(log_likelihood),
                               784 * scipy.stats.norm.logpdf(0.0), rtol=2 * EPS)


def test_K3_kl_is_that_of_torch_distributions(model, images):
    mean, log_var = encoded(model, images)
    assert np.abs(mean).max() > 0.1 and np.abs(log_var).max() > 0.1  # not a trivial case
    q = torch.distributions.Normal(torch.tensor(mean), torch.exp(torch.tensor(log_var) / 2))
    expected = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum(-1)
    _, kl = model.elbo_terms(images)
    # float32 rounding of a handful of terms, the largest of the size of the sum of squares
    size = (mean**2 + np.exp(log_var) + np.abs(log_var) + 1).sum(axis=1).max()
    np.testing.assert_allclose(as_numpy(kl), expected.numpy(), rtol=0, atol=8 * EPS * size)


def test_G5_the_terms_are_a_function_of_x_and_noise(model, images):
    noise = make_noise(model, 10)
    first, second = (as_numpy(model.elbo_terms(images, noise)[0]) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    other = as_numpy(model.elbo_terms(images, noise + 1)[0])
    drawn = [as_numpy(model.elbo_terms(images)[0]) for _ in range(2)]
    assert np.all(first != other) and np.any(drawn[0] != drawn[1])


@pytest.mark.parametrize("name", ["ConvVAE", "MLPVAE"])
def test_same_weights_and_noise_give_the_same_terms_in_both_frameworks(name, images):
    keras.utils.set_random_seed(0)
    in_keras = shake(getattr(vae_keras, name)())
    in_torch = getattr(vae_torch, name)()
    copy_weights(in_keras, in_torch)
    noise = make_noise(in_keras, 10)
    terms = in_torch.elbo_terms(images, noise), in_keras.elbo_terms(images, noise)
    for ours, theirs in zip(*terms):
        np.testing.assert_allclose(as_numpy(ours), as_numpy(theirs), rtol=SUM_RTOL)
    # a pixel: sums of at most 3 · 3 · 64 products of size 1
    np.testing.assert_allclose(as_numpy(in_torch.sample(6, seed=3)),
                               as_numpy(in_keras.sample(6, seed=3)), rtol=0, atol=576 * EPS)


# Wrong input ------------------------------------------------------------------------------------

# Each check is tested where it lives, and here, that each model calls it.


def test_images_are_checked(vae, images):
    model = small(vae)
    before = weights(model)
    for use in (model.encode, model.reconstruct, model.elbo_terms,
                lambda x: model.log_weights(x, np.zeros((10, 3, 2), np.float32)),
                lambda x: vae.evaluate(model, x),
                lambda x: vae.fit(model, x, num_steps=1, progress=False)):
        with pytest.raises(ValueError, match=r"^x .*divide by 255"):
            use(255 * images)
    for now, then in zip(weights(model), before):
        np.testing.assert_array_equal(now, then)


@pytest.mark.parametrize(("shape", "n", "samples", "message"), [
    ((10, 3), None, False, r"\(n, 2\) with n at least 1, got \(10, 3\)"),
    ((2,), None, False, r"got \(2,\)"), ((0, 2), None, False, r"got \(0, 2\)"),
    ((9, 2), 10, False, r"\(10, 2\), got \(9, 2\)"),
    *((shape, 10, True, r"\(10, K, 2\) with K at least 1, got")
      for shape in ((10, 2), (9, 3, 2), (10, 3, 1), (10, 0, 2)))])
def test_wrong_shapes_of_latents(shape, n, samples, message):
    with pytest.raises(ValueError, match="h must have shape .*" + message):
        likelihood.check_latent(np.zeros(shape), "h", 2, n, samples)


@pytest.mark.parametrize(("wrong", "error", "message"), [
    (np.zeros((9, 3), np.float32), ValueError, r"got \(9, 3\)"),
    (np.full((10, 2), np.inf, np.float32), ValueError, "must be finite, got NaN or infinity"),
    (np.zeros((10, 2), int), TypeError, "must hold floats, got int64"),
    ([[0.0, 0.0]] * 10, TypeError, "must be a NumPy array or a tensor, got list")])
def test_latents_and_noise_are_checked(vae, images, wrong, error, message):
    model = small(vae)
    with pytest.raises(error, match=f"^h .*{message}"):
        model.decode(wrong)
    with pytest.raises(error, match=f"^noise .*{message}"):
        model.elbo_terms(images, wrong)
    with pytest.raises(error, match=r"^noise "):
        model.log_weights(images, wrong)


WRONG_SETTINGS = {
    "neither": ({}, ValueError, "num_epochs or num_steps must be given, and not both"),
    "both": ({"num_epochs": 1, "num_steps": 1}, ValueError, "got num_epochs=1, num_steps=1"),
    "epochs 0": ({"num_epochs": 0}, ValueError, "num_epochs"),
    "steps True": ({"num_steps": True}, TypeError, "num_steps"),
    "batch 1.5": ({"num_steps": 1, "batch_size": 1.5}, TypeError, "batch_size"),
    "rate 0": ({"num_steps": 1, "learning_rate": 0.0}, ValueError, "learning_rate"),
    "rate NaN": ({"num_steps": 1, "learning_rate": float("nan")}, ValueError, "learning_rate"),
    "rate inf": ({"num_steps": 1, "learning_rate": float("inf")}, ValueError, "learning_rate"),
    "rate text": ({"num_steps": 1, "learning_rate": "fast"}, TypeError, "learning_rate"),
    "recipe": ({"num_steps": 1, "recipe": "one-cycle"}, ValueError, "'warm-up', 'lecture'.*one-cy"),
    "recipe None": ({"num_steps": 1, "recipe": None}, ValueError, "recipe.*None"),
    "precision": ({"num_steps": 1, "precision": "float16"}, ValueError, "precision.*'float16'"),
    "precision 32": ({"num_steps": 1, "precision": 32}, ValueError, "precision.*32"),
    "seed": ({"num_steps": 1, "seed": -1}, ValueError, "seed"),
}


@pytest.mark.parametrize(("settings", "error", "message"), WRONG_SETTINGS.values(),
                         ids=WRONG_SETTINGS)
def test_wrong_settings(settings, error, message):
    with pytest.raises(error, match=message):
        training.Settings(**settings)


def test_arguments_are_checked(vae, images):
    model = small(vae)
    for use, name in [(lambda: vae.fit(model, images, num_steps=0), "num_steps"),
                      (lambda: vae.evaluate(model, images, batch_size=0), "batch_size"),
                      (lambda: model.sample(0), "n")]:
        with pytest.raises(ValueError, match=f"^{name} must be a positive integer, got 0"):
            use()
    with pytest.raises(TypeError, match="history must be a History or None, got list"):
        vae.fit(model, images, num_steps=1, history=[1.0])


# Training ---------------------------------------------------------------------------------------
# Ten images in batches of four: an epoch has three steps, the last one with two images.

SETTINGS = {"batch_size": 4, "learning_rate": 0.01, "recipe": "lecture", "progress": False}


def test_every_model_learns(model, images):
    vae = vae_torch if isinstance(model, vae_torch.VAE) else vae_keras
    history = vae.fit(model, images, num_epochs=4, batch_size=4, progress=False)
    assert history["loss"][-1] < history["loss"][0]
    assert len(history["loss"]) == len(history["log_likelihood"]) == len(history["kl"]) == 4
    assert history.num_steps == 12 and history.seconds > 0 and not history.epoch_is_unfinished


def test_history_averages_over_the_examples(vae, images):
    """The terms before each step, from NumPy's order and noise, averaged by hand."""
    model, history = small(vae), None
    for epoch in (0, 1):
        log_likelihoods, kls = [], []
        rng = np.random.default_rng([7, epoch])
        order, noise = rng.permutation(10), rng.standard_normal((10, 2), dtype=np.float32)
        for start in (0, 4, 8):
            batch = slice(start, start + 4)
            terms = model.elbo_terms(images[order[batch]], noise[batch])
            log_likelihoods.extend(as_numpy(terms[0]))
            kls.extend(as_numpy(terms[1]))
            history = vae.fit(model, images, num_steps=1, seed=7, history=history, **SETTINGS)
            # visible after each step, cut short or not
            assert len(history["loss"]) == epoch + 1
            assert history.epoch_is_unfinished == (start < 8)
            # float32 sums over a batch
            ours = history["log_likelihood"][-1], history["kl"][-1]
            expected = np.mean(log_likelihoods, dtype=float), np.mean(kls, dtype=float)
            np.testing.assert_allclose(ours, expected, rtol=8 * EPS)
            assert history["loss"][-1] == pytest.approx(ours[1] - ours[0], rel=8 * EPS)
        assert len(log_likelihoods) == 10


def test_the_sums_of_many_steps_are_fetched_at_once():
    at_once, one_by_one = (training.History(num_examples=10, batch_size=4) for _ in range(2))
    fetched = []
    for step in range(8):  # two epochs and two steps
        for history in (at_once, one_by_one):
            history.record({"loss": step / 3, "kl": 1 / (step + 1)}, 2 if step % 3 == 2 else 4)
        one_by_one.settle()
    at_once.settle(lambda sums: fetched.append(len(sums)) or sums)
    assert fetched == [16]
    assert at_once.terms == one_by_one.terms and len(at_once["loss"]) == 3
    assert at_once["loss"][0] == (0 + 1 / 3 + 2 / 3) / 10


def same_run(vae, model, history, other_model, other_history):
    """Equal to the last bit in PyTorch; in Keras, whose kernels may split sums, to rounding."""
    rtol, atol = (0, 0) if vae is vae_torch else (1e-5, 1e-5)
    for name in ("loss", "log_likelihood", "kl"):
        np.testing.assert_allclose(history[name], other_history[name], rtol=rtol, atol=atol)
    for ours, theirs in zip(weights(model), weights(other_model)):
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)
    assert history.num_steps == other_history.num_steps


@pytest.fixture(params=FRAMEWORKS.values(), ids=FRAMEWORKS, scope="module")
def one_run(request, images):
    """(framework, model, history): seven steps, that is two epochs and a third cut short."""
    vae = request.param
    model = small(vae)
    history = vae.fit(model, images, num_steps=7, **SETTINGS)
    assert len(history["loss"]) == 3 and history.epoch_is_unfinished
    return vae, model, history


def test_training_is_reproducible(one_run, images):
    vae, model, history = one_run
    again = small(vae)
    same_run(vae, model, history, again, vae.fit(again, images, num_steps=7, **SETTINGS))


def test_the_seed_changes_the_order_and_the_noise(one_run, images):
    vae, _, history = one_run
    other = vae.fit(small(vae), images, num_steps=3, seed=1, **SETTINGS)
    assert other["loss"][0] != history["loss"][0]


def test_a_run_in_pieces_equals_one_run(one_run, images):
    vae, model, history = one_run
    pieces = small(vae)
    first = vae.fit(pieces, images, num_steps=2, **SETTINGS)
    second = vae.fit(pieces, images, num_epochs=1, history=first, **SETTINGS)
    assert second is first and second.num_steps == 3  # completes the epoch it was in
    vae.fit(pieces, images, num_epochs=1, history=first, **SETTINGS)
    assert first.num_steps == 6 and len(first["loss"]) == 2
    vae.fit(pieces, images, num_steps=1, history=first, **SETTINGS)
    same_run(vae, model, history, pieces, first)


def test_ctrl_c_ends_after_the_step_and_training_can_go_on(one_run, images, monkeypatch, capsys):
    vae, model, history = one_run
    record = training.History.record

    def press_ctrl_c_during_step_4(self, *terms):
        if self.num_steps == 4:
            signal.raise_signal(signal.SIGINT)  # after the weights changed, before the sums do
        record(self, *terms)

    stopped = small(vae)
    handler = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(training.History, "record", press_ctrl_c_during_step_4)
        partial = vae.fit(stopped, images, num_steps=7, **SETTINGS)
    assert capsys.readouterr().out == ("Training stopped at step 5. To go on: "
                                       "fit(..., num_steps=2, history=history).\n")
    assert signal.getsignal(signal.SIGINT) is handler
    assert partial.num_steps == 5 and len(partial["loss"]) == 2 and partial.epoch_is_unfinished
    assert np.all(np.isfinite(as_numpy(stopped.sample(2))))  # the model is usable
    vae.fit(stopped, images, num_steps=2, history=partial, **SETTINGS)
    same_run(vae, model, history, stopped, partial)


def test_a_second_ctrl_c_is_not_held_back(vae, images, monkeypatch, capsys):
    def press_ctrl_c_twice(self, *terms):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("the second Ctrl-C was held back")

    monkeypatch.setattr(training.History, "record", press_ctrl_c_twice)
    vae.fit(small(vae), images, num_steps=3, **SETTINGS)
    assert "stopped at step 0" in capsys.readouterr().out


def test_other_errors_are_not_swallowed(vae, images, monkeypatch):
    def fail(self, *terms):
        raise RuntimeError("no such thing")

    handler = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(training.History, "record", fail)
    with pytest.raises(RuntimeError, match="no such thing"):
        vae.fit(small(vae), images, num_steps=3, **SETTINGS)
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.parametrize("changed", ["batch_size", "seed", "images", "model"])
def test_going_on_needs_the_same_run(vae, images, changed):
    model = small(vae)
    history = vae.fit(model, images, num_steps=1, **SETTINGS)
    arguments = {**SETTINGS, "seed": 0, "history": history, "num_steps": 1}
    if changed in arguments:
        arguments[changed] += 1
    with pytest.raises(ValueError, match="history must be .*"
                       + changed.replace("images", "num_exam")):
        vae.fit(small(vae) if changed == "model" else model,
                images[:9] if changed == "images" else images, **arguments)
    assert history.num_steps == 1


def test_the_learning_rate_may_change_when_going_on(vae, images):
    model = small(vae)
    history = vae.fit(model, images, num_steps=1, **SETTINGS)
    before = weights(model)
    vae.fit(model, images, num_steps=1, history=history, **{**SETTINGS, "learning_rate": 1e-9})
    for now, then in zip(weights(model), before):  # Adam moves a weight by about learning_rate
        np.testing.assert_allclose(now, then, rtol=EPS, atol=1e-8)


def test_a_batch_larger_than_the_data_is_all_of_it(vae, images):
    history = vae.fit(small(vae), images, num_epochs=2, batch_size=64, progress=False)
    assert history.num_steps == 2 and len(history["loss"]) == 2


def test_both_frameworks_see_the_same_batches(images):
    """Same weights, same seed: the same history. Adam's ε differs (1e-7, 1e-8), hence 1e-4."""
    in_keras, in_torch = small(vae_keras), small(vae_torch)
    copy_weights(in_keras, in_torch)
    run = {"num_epochs": 3, "seed": 4, **SETTINGS}
    ours, theirs = vae_torch.fit(in_torch, images, **run), vae_keras.fit(in_keras, images, **run)
    np.testing.assert_allclose(ours["log_likelihood"], theirs["log_likelihood"], rtol=1e-4)
    np.testing.assert_allclose(ours["kl"], theirs["kl"], rtol=1e-4)


def test_progress_goes_to_stderr_alone(vae, images, capfd):
    model = small(vae)
    history = vae.fit(model, images, num_steps=1, **SETTINGS)
    capfd.readouterr()
    vae.fit(model, images, num_steps=2, history=history, **SETTINGS)
    assert "training" not in "".join(capfd.readouterr())
    vae.fit(model, images, num_steps=2, history=history, **{**SETTINGS, "progress": True})
    out, err = capfd.readouterr()
    assert out == "" and "training" in err


def test_the_history_shows_numbers_only(one_run):
    _, _, history = one_run
    text = repr(history)
    assert text.startswith("History(terms={'loss': [") and "num_steps=7" in text
    assert "ptimizer" not in text


# Recipes ----------------------------------------------------------------------------------------


def test_the_learning_rate_rises_and_falls():
    rates = [runs.learning_rate_at(step, (50, 150), "warm-up", 1.0) for step in range(50, 150)]
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) / 10, rtol=1e-15)  # a tenth
    np.testing.assert_allclose(rates[55], 0.5, rtol=1e-14)  # half-way down the cosine
    assert np.all(np.diff(rates[10:]) < 0) and 0 < rates[-1] < 1e-3
    assert runs.learning_rate_at(0, (0, 1), "warm-up", 0.1) > 0  # one step is a run, too
    assert {runs.learning_rate_at(s, (0, 9), "lecture", 0.1) for s in range(9)} == {0.1}


@pytest.mark.parametrize(("recipe", "peak"), [("warm-up", 4e-3), ("lecture", 1e-3)])
def test_fit_follows_its_recipe(vae, images, recipe, peak, monkeypatch):
    """Adam's first step moves each weight that has a gradient by the learning rate."""
    seen = []

    def rate(*arguments):
        seen.append(arguments)
        return 0.125

    monkeypatch.setattr(TRAINING[vae], "learning_rate_at", rate)
    model = small(vae)
    before = weights(model)
    vae.fit(model, images, num_steps=1, batch_size=4, recipe=recipe, progress=False)
    assert seen == [(0, (0, 1), recipe, peak)]
    moved = np.concatenate([abs(now - then).ravel() for now, then in zip(weights(model), before)])
    np.testing.assert_allclose(moved.max(), 0.125, rtol=1e-4)  # Adam's ε


def test_some_nats_are_free_in_the_first_half():
    free = [runs.free_nats_at(step, (50, 150), "warm-up") for step in range(50, 150)]
    assert free == 50 * [0.2] + 50 * [0.0]
    assert runs.free_nats_at(0, (0, 1), "warm-up") == 0.2  # one step is a run, too
    assert {runs.free_nats_at(step, (0, 9), "lecture") for step in range(9)} == {0.0}


@pytest.mark.parametrize(("free", "moves"), [(0.0, (True, True)), (0.5, (False, True))])
def test_free_nats_take_the_price_off_each_dimension_alone(vae, images, free, moves, monkeypatch):
    """The decoder is deaf to h: only the KL can move a head of the encoder."""
    monkeypatch.setattr(TRAINING[vae], "free_nats_at", lambda *_: free)
    model = small(vae)
    arrays = weights(model)
    arrays[4][:], arrays[6][:] = 0, 0  # the kernels of the heads: Q is the same for every image
    arrays[5][:], arrays[7][:] = [0.9, 1.1], 0  # their biases: the KLs are 0.405 and 0.605 nats
    arrays[8][:] = 0  # the decoder's first kernel
    set_weights(model, arrays)
    vae.fit(model, images, num_steps=1, batch_size=4, progress=False)
    change = weights(model)[5] - arrays[5]
    assert tuple(change != 0) == moves
    assert np.all(change <= 0)  # towards the prior


def test_the_history_is_that_of_the_elbo_whatever_is_free(vae, images):
    model = small(vae)
    history = vae.fit(model, images, num_steps=1, batch_size=10, learning_rate=1e-12,
                      precision="float32", progress=False)
    rng = np.random.default_rng([0, 0])
    order, noise = rng.permutation(10), rng.standard_normal((10, 2), dtype=np.float32)
    log_likelihood, kl = (as_numpy(term).mean(dtype=float)
                          for term in model.elbo_terms(images[order], noise))
    assert kl < 2 * runs.FREE_NATS
    ours = history["log_likelihood"][0], history["kl"][0], history["loss"][0]
    expected = log_likelihood, kl, kl - log_likelihood
    np.testing.assert_allclose(ours, expected, rtol=16 * EPS)  # float32 sums


def losses(vae, images, **settings):
    keras.utils.set_random_seed(0)
    history = vae.fit(small(vae), images, num_steps=3, device="cpu", progress=False, **settings)
    return history["loss"]


@pytest.mark.parametrize("has_it", [True, False])
def test_bfloat16_is_the_default_where_the_processor_has_it(vae, images, has_it, monkeypatch):
    tensors = torch_tensors if vae is vae_torch else keras_tensors
    monkeypatch.setattr(tensors, "cpu_has_bfloat16", lambda: has_it)
    rounded, exact = (losses(vae, images, precision=name) for name in ("bfloat16", "float32"))
    assert rounded != pytest.approx(exact, rel=1e-5)  # what float32 rounding cannot do
    assert rounded == pytest.approx(exact, rel=1e-2)
    elsewhere = vae is vae_keras and keras.backend.backend() != "tensorflow"
    expected = rounded if has_it and not elsewhere else exact
    assert losses(vae, images) == pytest.approx(expected, rel=1e-6)  # kernels may split sums
    assert losses(vae, images, recipe="lecture", learning_rate=4e-3, precision="bfloat16") != \
        pytest.approx(losses(vae, images, recipe="lecture", learning_rate=4e-3), rel=1e-5)


def test_after_fit_in_bfloat16_the_model_is_exact(vae, images):
    """Evaluated in float32, and trained in float32 when asked for."""
    images = images[:8]  # two equal batches: nothing is compiled for another size
    model, run = small(vae), {**SETTINGS, "num_steps": 2}
    history = vae.fit(model, images, precision="bfloat16", **run)
    twin = small(vae)
    set_weights(twin, weights(model))
    for ours, theirs in zip(vae.evaluate(model, images), vae.evaluate(twin, images)):
        np.testing.assert_allclose(ours, theirs, rtol=SUM_RTOL)
    vae.fit(model, images, precision="float32", history=history, **run)
    again = small(vae)
    second = vae.fit(again, images, precision="bfloat16", **run)
    vae.fit(again, images, precision="bfloat16", history=second, **run)
    assert history["loss"] != pytest.approx(second["loss"], rel=1e-6)


def test_an_interrupted_schedule_goes_on(vae, images, monkeypatch):
    """Seven steps, or three, Ctrl-C, and four: the same schedule; a new call: a new schedule."""
    run = {**SETTINGS, "recipe": "warm-up", "precision": "float32"}
    whole, stopped = small(vae), small(vae)
    history = vae.fit(whole, images, num_steps=7, **run)
    record = training.History.record

    def press_ctrl_c_during_step_3(self, *terms):
        record(self, *terms)
        if self.num_steps == 3:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(training.History, "record", press_ctrl_c_during_step_3)
        partial = vae.fit(stopped, images, num_steps=7, **run)
    assert partial.num_steps == 3
    vae.fit(stopped, images, num_steps=4, history=partial, **run)
    same_run(vae, whole, history, stopped, partial)
    assert partial.schedule == (0, 7)
    vae.fit(stopped, images, num_steps=2, history=partial, **run)
    assert partial.schedule == (7, 9)


@pytest.mark.parametrize("failure", [3, 101, 105])
def test_a_nan_loss_gives_the_last_good_weights_back(vae, images, failure, monkeypatch):
    """Weights turn NaN after step `failure`; copies are kept after steps 1 and 101.

    In step 101 itself it is seen when they are copied, before a loss shows it.
    """
    images = images[:8]  # two equal batches: nothing is compiled for another size
    model, good = small(vae), small(vae)
    kept, seen = 0 if failure <= 101 else 100, failure + (failure != 101)
    history = vae.fit(model, images, num_steps=1, **SETTINGS)
    reference = vae.fit(good, images, num_steps=1, **SETTINGS)
    if kept:
        vae.fit(good, images, num_steps=kept, history=reference, **SETTINGS)
    record = training.History.record

    def spoil(self, *terms):
        record(self, *terms)
        if self.num_steps == failure:  # one of them was made before
            set_weights(model, [np.full_like(w, np.nan) for w in weights(model)])

    with monkeypatch.context() as patch:
        patch.setattr(training.History, "record", spoil)
        with pytest.raises(FloatingPointError, match=rf"at step {seen};.* step {kept + 1} "):
            vae.fit(model, images, num_steps=250, history=history, **SETTINGS)
    same_run(vae, model, history, good, reference)
    for each, its_history in ((model, history), (good, reference)):  # the optimiser, too, is good
        vae.fit(each, images, num_steps=4, history=its_history, **SETTINGS)
    same_run(vae, model, history, good, reference)


def test_ctrl_c_after_a_nan_loss_gives_the_last_good_weights_back(vae, images, monkeypatch):
    model = small(vae)
    before = weights(model)
    record = training.History.record

    def spoil_and_press_ctrl_c(self, sums, num_examples):
        record(self, {name: value * float("nan") for name, value in sums.items()}, num_examples)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(training.History, "record", spoil_and_press_ctrl_c)
    with pytest.raises(FloatingPointError, match="at step 1;"):
        vae.fit(model, images, num_steps=3, **SETTINGS)
    for now, then in zip(weights(model), before):
        np.testing.assert_array_equal(now, then)


# Importance weights -----------------------------------------------------------------------------


def test_log_weights_are_joint_over_encoder_densities(model, images):
    """Against SciPy's densities in float64, at h computed by hand, image by image."""
    noise = np.random.default_rng(5).standard_normal((4, 3, model.latent_dim), dtype=np.float32)
    x = (images[:4] > 0.5).astype(np.float32)
    log_weights = as_numpy(model.log_weights(x, noise))
    assert log_weights.shape == (4, 3)
    mean, log_var = (as_numpy(head).astype(float) for head in model.encode(x))
    for i in range(4):
        std = np.exp(log_var[i] / 2)
        for j in range(3):
            h = mean[i] + std * noise[i, j]
            log_likelihood = as_numpy(model.elbo_terms(x[i:i + 1], noise[i:i + 1, j])[0])[0]
            expected = (log_likelihood + scipy.stats.norm.logpdf(h).sum()
                        - scipy.stats.norm.logpdf(h, mean[i], std).sum())
            np.testing.assert_allclose(log_weights[i, j], expected, rtol=SUM_RTOL)


def test_grey_images_have_no_log_weights_under_bernoulli_pixels(vae, images):
    noise = np.zeros((10, 1, 2), np.float32)
    model, binary = vae.ConvVAE(), (images > 0.5).astype(np.float32)
    one_grey_pixel = binary.copy()
    one_grey_pixel[3, 4, 5] = 0.999
    tensor = torch.from_numpy if vae is vae_torch else keras.ops.convert_to_tensor
    for grey in (images, one_grey_pixel, tensor(images)):
        with pytest.raises(ValueError, match="x must hold zeros and ones, got grey values"):
            model.log_weights(grey, noise)
    assert np.isfinite(as_numpy(model.log_weights(binary, noise))).all()
    assert np.isfinite(as_numpy(model.elbo_terms(images, noise[:, 0])[0])).all()  # cross-entropy
    assert np.isfinite(as_numpy(small(vae).log_weights(images, noise))).all()  # Gaussian pixels


@pytest.mark.parametrize("name", ["elbo_terms", "log_weights", "encode"])
def test_images_are_checked_once(vae, images, name):
    noise = {"elbo_terms": [np.zeros((10, 2), np.float32)], "encode": [],
             "log_weights": [np.zeros((10, 3, 2), np.float32)]}[name]
    checks = []

    def count(frame, event, arg):
        if event == "call" and frame.f_code is check_examples.__code__:
            checks.append(frame)

    for model in (small(vae), vae.ConvVAE()):
        sys.setprofile(count)
        getattr(model, name)((images > 0.5).astype(np.float32), *noise)
        sys.setprofile(None)
        assert len(checks) == 1
        checks.clear()


# Evaluation -------------------------------------------------------------------------------------


def test_evaluate_gives_each_example_at_one_seeded_sample(model, images):
    vae = vae_torch if isinstance(model, vae_torch.VAE) else vae_keras
    noise = np.random.default_rng(3).standard_normal((10, model.latent_dim), dtype=np.float32)
    expected = [as_numpy(term) for term in model.elbo_terms(images, noise)]
    for batch_size in (4, 1000):
        terms = vae.evaluate(model, images, batch_size=batch_size, seed=3)
        for term, reference in zip(terms, expected):
            assert isinstance(term, np.ndarray) and term.dtype == np.float64
            np.testing.assert_allclose(term, reference, rtol=SUM_RTOL)
    assert np.all(vae.evaluate(model, images, seed=4)[0] != terms[0])


# Faults of use ----------------------------------------------------------------------------------
# The same for all four: the VAEs and the U-Nets of unet_torch and unet_keras.

UNETS = {"torch-UNet": unet_torch, "keras-UNet": unet_keras}
KINDS = {"torch-VAE": vae_torch, "keras-VAE": vae_keras, **UNETS}
LABELS = np.arange(10)
ALL_STEPS = {"batch_size": 5, "recipe": "lecture", "learning_rate": 0.05, "precision": "float32",
             "progress": False}


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def kind(request):
    return request.param


def make(kind, seed=0):
    """A small model, none of whose weights is zero; the same for the same seed."""
    model = kind.UNet((16, 16, 16)) if hasattr(kind, "UNet") else kind.MLPVAE(2, 8)
    rng = np.random.default_rng(seed)
    from_arrays(model, {name: 0.2 * rng.standard_normal(array.shape).astype(array.dtype)
                        for name, array in to_arrays(model).items()})
    return model


def skip_slow_compilation(kind):
    """TensorFlow takes half a minute to compile a U-Net; the code is the one that torch runs."""
    if kind is unet_keras and keras.backend.backend() == "tensorflow":
        pytest.skip("slow to compile; runs with KERAS_BACKEND=torch and jax")


def train(kind, model, images, labels=LABELS, **settings):
    skip_slow_compilation(kind)
    of_unet = (labels,) if hasattr(kind, "UNet") else ()
    return kind.fit(model, images, *of_unet, **{**ALL_STEPS, **settings})


def measure(kind, model, images, labels=LABELS):
    """All that a model promises to compute exactly, from images (n, 28, 28), by name."""
    if hasattr(kind, "UNet"):
        x = images.numpy() if isinstance(images, torch.Tensor) else images
        return {"loss_terms": kind.loss_terms(model, images, labels, loss="elbo"),
                "denoiser": model.denoiser(labels)(np.asarray(x), 0.3)}
    shape = 10, 3, model.latent_dim
    noise = np.random.default_rng(4).standard_normal(shape, dtype=np.float32)
    grey_will_do = type(model).__name__ == "MLPVAE"
    black_or_white = images if grey_will_do else (images > 0.5).astype(np.float32)
    return {"log_likelihood": kind.evaluate(model, images)[0],
            "kl": kind.evaluate(model, images)[1],
            "log_weights": as_numpy(model.log_weights(black_or_white, noise)),
            "reconstruct": as_numpy(model.reconstruct(images)),
            "sample": as_numpy(model.sample(3, seed=1))}


def equal(results, expected):
    assert list(results) == list(expected)
    for name in expected:
        np.testing.assert_array_equal(results[name], expected[name], err_msg=name)


def trainable(kind, model, part, value):
    """Freezes or frees a part of a model, by its name in both frameworks, as "encoder"."""
    part = getattr(model, part) if part else model
    if isinstance(part, torch.nn.Module) and not isinstance(part, keras.Layer):
        part.requires_grad_(value)
    else:
        part.trainable = value


# Histories

COPIES = {"copy": copy.copy, "deepcopy": copy.deepcopy,
          "pickle": lambda history: pickle.loads(pickle.dumps(history))}


@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer")  # model.optimizer
@pytest.mark.parametrize(("kind", "way", "frozen"), [
    *((vae, way, False) for vae in FRAMEWORKS.values() for way in COPIES),
    *((kind, "pickle", True) for kind in KINDS.values())])  # compiling a U-Net takes its time
def test_a_copied_history_goes_on_as_the_original(kind, images, way, frozen):
    """Eight steps; or four, a copy, and four more with the copy's model and optimiser."""
    part = "level" if hasattr(kind, "UNet") else "encoder"
    whole, model = make(kind), make(kind)
    for each in (whole, model):
        trainable(kind, each, part, not frozen)
    expected = train(kind, whole, images, num_steps=8)
    history = train(kind, model, images, num_steps=4)
    before = list(history["loss"]), to_arrays(model)
    copied = COPIES[way](history)
    train(kind, copied.model, images, num_steps=4, history=copied)
    assert copied.num_steps == 8
    rtol = 0 if "torch" in kind.__name__ else 1e-5  # Keras's kernels may split sums
    np.testing.assert_allclose(copied["loss"], expected["loss"], rtol=rtol)
    assert history["loss"] == before[0] and history.num_steps == 4
    if way != "copy":
        equal(to_arrays(model), before[1])
        assert copied.model is not model


@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer")  # model.optimizer
@pytest.mark.parametrize("way", COPIES)
def test_a_copied_history_keeps_what_the_user_noted(vae, images, way):
    history = train(vae, make(vae), images, num_steps=1)
    history.note, history.notes = 1, ["a"]
    copied = COPIES[way](history)
    history.notes.append("b")
    assert copied.note == 1 and copied.notes == ["a"] and copied["loss"] == history["loss"]
    assert type(copied) is type(history)


@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer")  # model.optimizer
@pytest.mark.parametrize("way", ["deepcopy", "pickle"])
def test_the_optimizer_of_a_copied_history_has_the_precision_of_the_model(images, way, float64):
    with float64():
        whole, model = (vae_keras.MLPVAE(2, 8, dtype="float64") for _ in range(2))
        copy_weights(model, whole)
        expected = train(vae_keras, whole, images, num_steps=6)
        copied = COPIES[way](train(vae_keras, model, images, num_steps=3))
        train(vae_keras, copied.model, images, num_steps=3, history=copied)
    assert [str(variable.dtype) for variable in copied.optimizer.variables] == [
        str(variable.dtype) for variable in expected.optimizer.variables]
    # A gradient's rounding, 1e-17 or so, makes steps of up to 0.05 · 1e-17/1e-7 (Adam's epsilon).
    # A learning rate in float32 is wrong by 1e-8 of 0.05 in each step.
    for ours, theirs in zip(copied.model.weights, whole.weights, strict=True):
        np.testing.assert_allclose(*(keras.ops.convert_to_numpy(weight)
                                     for weight in (ours, theirs)), rtol=0, atol=1e-11)


def test_a_history_whose_optimizer_is_no_longer_its_own_is_refused(kind, images):
    model = make(kind)
    history = train(kind, model, images, num_steps=4)
    shared = copy.copy(history)
    train(kind, model, images, num_steps=3, history=shared)
    before = to_arrays(model)
    with pytest.raises(ValueError, match="must have as many steps as its optimiser, got 4 and 7"):
        train(kind, model, images, num_steps=1, history=history)
    shared.optimizer = (torch.optim.Adam(model.parameters()) if "torch" in kind.__name__
                        else keras.optimizers.Adam())
    with pytest.raises(ValueError, match="must have as many steps as its optimiser, got 7 and 0"):
        train(kind, model, images, num_steps=1, history=shared)
    equal(to_arrays(model), before)


# Frozen parts

PARTS = [(kind, part) for kind in KINDS.values() for part in (
    ["block_quarter_a"] if kind in UNETS.values() else [None, "encoder", "decoder"])]


@pytest.mark.parametrize(("kind", "part"), PARTS,
                         ids=lambda value: getattr(value, "__name__", value))
def test_frozen_parts_stay_and_are_saved(kind, part, images, tmp_path):
    """Frozen after some steps, when a training step is compiled: bit for bit, whatever follows."""
    model, other = make(kind), make(kind, seed=1)
    history = train(kind, model, images, num_steps=2)
    before = to_arrays(model)
    trainable(kind, model, part, False)
    equal(to_arrays(model), before)
    copy_weights(model, other)
    equal(to_arrays(other), before)
    trained.save(model, "frozen", {}, tmp_path)
    trained.load(model, "frozen", tmp_path)
    equal(to_arrays(model), {name: array.astype(np.float16) for name, array in before.items()})
    from_arrays(model, before)
    if part is None:
        with pytest.raises(ValueError, match="model must have weights that are trainable"):
            train(kind, model, images, num_steps=1)
        return
    train(kind, model, images, num_steps=3, history=history)
    train(kind, model, images, num_steps=2)  # an optimiser of its own
    after = to_arrays(model)
    frozen = [name for name in before if name.startswith(f"{part}.")]
    assert frozen
    for name in before:
        changed = np.any(after[name] != before[name])
        assert changed == (name not in frozen), name
    trainable(kind, model, part, True)
    train(kind, model, images, num_steps=1, history=history)
    assert all(np.any(array != after[name]) for name, array in to_arrays(model).items())


# Precision

@pytest.fixture
def keras_settings():
    config = keras.config
    before = config.dtype_policy(), config.floatx(), config.image_data_format()
    yield config
    config.set_dtype_policy(before[0])
    config.set_floatx(before[1])
    config.set_image_data_format(before[2])


USERS_SETTINGS = {"mixed_bfloat16": lambda config: config.set_dtype_policy("mixed_bfloat16"),
                  "mixed_float16": lambda config: config.set_dtype_policy("mixed_float16"),
                  "floatx": lambda config: config.set_floatx("bfloat16"),
                  "channels_first": lambda config: config.set_image_data_format("channels_first")}


def models_of(kind):
    """Makes each model of a module, with weights that follow from its shape alone."""
    for name in (["UNet"] if hasattr(kind, "UNet") else ["ConvVAE", "MLPVAE"]):
        model = getattr(kind, name)(*[(16, 16, 16)] if name == "UNet" else [])
        rng = np.random.default_rng(0)
        from_arrays(model, {key: (rng.standard_normal(array.shape) / max(array[0].size, 8)**0.5
                                  ).astype(np.float32) for key, array in to_arrays(model).items()})
        yield model


@pytest.fixture(scope="module")
def plainly(images):
    """A function: what each model of a module measures, and its losses, with Keras's defaults."""
    known = {}

    def of(kind):
        if kind not in known:
            known[kind] = [(measure(kind, model, images),
                            train(kind, model, images, num_steps=2)["loss"])
                           for model in models_of(kind)]
        return known[kind]

    return of


@pytest.mark.parametrize(("kind", "setting", "when"), [
    *((vae_keras, setting, when) for setting in USERS_SETTINGS for when in ("before", "after")),
    (unet_keras, "mixed_bfloat16", "before"), (unet_keras, "channels_first", "before")])
def test_the_users_settings_of_keras_change_nothing(kind, images, keras_settings, plainly, setting,
                                                    when):
    expected = plainly(kind)
    models = list(models_of(kind)) if when == "after" else None
    USERS_SETTINGS[setting](keras_settings)
    chosen = keras.config.dtype_policy().name, keras.config.floatx()
    for model, (terms, losses) in zip(models or models_of(kind), expected, strict=True):
        equal(measure(kind, model, images), terms)
        again = train(kind, model, images, num_steps=2)["loss"]
        np.testing.assert_allclose(again, losses, rtol=1e-6)
    assert (keras.config.dtype_policy().name, keras.config.floatx()) == chosen


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_autocast_around_it_changes_nothing(kind, images, plainly):
    if "keras" in kind.__name__ and keras.backend.backend() != "torch":
        pytest.skip("it is PyTorch's")
    for model, (terms, losses) in zip(models_of(kind), plainly(kind)):
        with torch.autocast("cpu", torch.bfloat16):
            equal(measure(kind, model, images), terms)
            again = train(kind, model, images, num_steps=2)["loss"]
            assert again == pytest.approx(losses, rel=1e-6)
            if hasattr(model, "encode"):
                assert "float32" in str(model.encode(images)[0].dtype)
                assert "float32" in str(model.decode(np.zeros((1, model.latent_dim))).dtype)


def test_a_model_in_low_precision_is_refused(kind, images, keras_settings):
    if "torch" in kind.__name__:
        models = [make(kind).to(torch.bfloat16), make(kind).half()]
        part = make(kind)
        next(iter(part.children())).to(torch.bfloat16)
        models.append(part)
    else:
        keras_settings.set_dtype_policy("bfloat16")
        with pytest.raises(TypeError, match="must be of float32 or float64, got bfloat16 in the d"):
            make(kind)
        keras_settings.set_dtype_policy("float32")
        models = [make(kind)]
        part = models[0].level if hasattr(kind, "UNet") else models[0].decoder
        part.layers[-2].dtype_policy = "mixed_bfloat16"
    for model in models:
        for use in all_uses(kind, model, images):
            with pytest.raises(TypeError, match=r"model must be of float32 or float64, got b?f"):
                use()


def test_layers_within_layers_of_low_precision_are_found(images):
    unet = make(unet_keras)
    for layer in (unet.block_full.conv1, unet.up_block_full.skip):
        layer.dtype_policy = "mixed_bfloat16"
        for use in all_uses(unet_keras, unet, images):
            with pytest.raises(TypeError, match=f"got bfloat16 in {layer.name}"):
                use()
        layer.dtype_policy = "float32"
    assert np.isfinite(unet.denoiser()(images, 0.3)).all()


def test_sublayers_are_all_that_hold_weights(images):
    class Nest(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = [keras.layers.Dense(2), {"a": (keras.layers.Dense(3),)}]

    nest, dense = Nest(), keras.layers.Dense(4)
    nest.again = nest.inner[0]  # and once is enough
    model = keras.Sequential([keras.Sequential([nest]), dense])
    assert keras_tensors.sublayers(model) == [model.layers[0], nest, nest.inner[0],
                                          nest.inner[1]["a"][0], dense]
    for model in (make(unet_keras), *models_of(vae_keras)):
        found = keras_tensors.sublayers(model)
        leaves = [layer for layer in found if not keras_tensors.sublayers(layer)]
        assert sorted(id(weight) for layer in leaves for weight in layer.weights) == sorted(
            id(weight) for weight in model.weights)


def all_uses(kind, model, images):
    """Calls of all public functions."""
    if hasattr(kind, "UNet"):
        return [lambda: train(kind, model, images, num_steps=1),
                lambda: kind.loss_terms(model, images, LABELS),
                lambda: model.denoiser()(images, 0.3)]
    noise = np.zeros((10, 2), np.float32)
    return [lambda: train(kind, model, images, num_steps=1), lambda: kind.evaluate(model, images),
            lambda: model.encode(images), lambda: model.decode(noise), lambda: model.sample(2),
            lambda: model.elbo_terms(images, noise), lambda: model.reconstruct(images),
            lambda: model.log_weights(images, noise[:, None])]


# Layouts in memory, and in place


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


LAYOUTS = {
    "big-endian": lambda x: x.astype(x.dtype.newbyteorder(">")),
    "reversed": lambda x: x[::-1].copy()[::-1],
    "read-only": read_only,
    "Fortran": np.asfortranarray,
    "strided": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "longdouble": lambda x: x.astype(np.longdouble if x.dtype.kind == "f" else int),
}


@pytest.mark.filterwarnings("error::UserWarning")
def test_the_layout_in_memory_changes_nothing(kind, images):
    plain = make(kind)
    expected = measure(kind, plain, images)
    losses = train(kind, plain, images, num_steps=2)["loss"]
    for name, layout in LAYOUTS.items():
        model, arranged, labels = make(kind), layout(images), layout(LABELS)
        copies = arranged.copy(), labels.copy()
        results = measure(kind, model, arranged, labels)
        if name == "longdouble" and kind in UNETS.values():  # a denoiser is as precise as its x
            results["denoiser"] = expected["denoiser"]
        equal(results, expected)
        if name == "big-endian" or kind is not unet_keras:  # compiling it takes its time
            again = train(kind, model, arranged, labels, num_steps=2)["loss"]
            assert again == pytest.approx(losses, rel=1e-6)
        if kind not in UNETS.values():
            h = make_noise(model, 10)
            for use in (model.decode, lambda h: model.elbo_terms(images, h)[0]):  # noqa: B023
                np.testing.assert_array_equal(as_numpy(use(layout(h))), as_numpy(use(h)))
        np.testing.assert_array_equal(arranged, copies[0])
        np.testing.assert_array_equal(labels, copies[1])


def halve_input(part, in_place):
    """Makes a network halve what it is given before it begins."""
    name = "call" if isinstance(part, keras.Layer) else "forward"
    network = getattr(part, name)
    setattr(part, name, lambda x, *args, **kwargs: network(
        x.mul_(0.5) if in_place else x * 0.5, *args, **kwargs))


def test_networks_may_work_in_place(kind, images):
    if "keras" in kind.__name__ and keras.backend.backend() != "torch":
        pytest.skip("only PyTorch's tensors can be changed")
    plain, spoiling = make(kind), make(kind)
    for name in (["conv_full"] if hasattr(kind, "UNet") else ["encoder", "decoder"]):
        halve_input(getattr(spoiling, name), in_place=True)
        halve_input(getattr(plain, name), in_place=False)
    given = torch.from_numpy(images.copy())
    equal(measure(kind, spoiling, given), measure(kind, plain, images))
    expected = train(kind, plain, images, num_steps=3)["loss"]
    assert train(kind, spoiling, given, num_steps=3)["loss"] == pytest.approx(expected, rel=1e-6)
    np.testing.assert_array_equal(given, images)
    if not hasattr(kind, "UNet"):
        h = torch.ones(1, 2)
        for use in (lambda: spoiling.decode(h), lambda: spoiling.encode(given),
                    lambda: spoiling.elbo_terms(given, h.expand(10, 2))):
            use()
        assert torch.all(h == 1)
        np.testing.assert_array_equal(given, images)


def test_images_with_a_gradient_are_not_given_one_by_fit(kind, images):
    if "keras" in kind.__name__ and keras.backend.backend() != "torch":
        pytest.skip("only PyTorch's tensors hold gradients")
    given = torch.from_numpy(images).requires_grad_()
    train(kind, make(kind), given, num_steps=2)
    assert given.grad is None


# Devices, weights that are no numbers, seeds, reloaded modules


def test_a_device_that_is_not_there_is_refused(kind, images):
    model = make(kind)
    before = to_arrays(model)
    for device in ("gpu:7", "cuda:7", "meta", "", 3):
        with pytest.raises(ValueError, match="device must be one of 'cpu.* or None, got "
                           f"{str(device)!r}(: .*)?$"):  # as it was given
            train(kind, model, images, num_steps=1, device=device)
    equal(to_arrays(model), before)
    history = None
    for device in ("cpu", "CPU", "cpu:0", torch.device("cpu")):
        history = train(kind, model, images, num_steps=1, device=device, history=history)


def test_devices_have_one_name_each():
    torchs, tensorflows = ["cpu", "cuda:0", "cuda:1"], ["cpu:0", "gpu:0", "gpu:1"]
    for number, names in [(0, ["cpu", "CPU", "cpu:0", torch.device("cpu")]),
                          (1, ["cuda", "CUDA:0", "gpu", "GPU:0", torch.device("cuda")]),
                          (2, ["cuda:1", "gpu:1", torch.device("cuda:1")])]:
        for name in names:
            assert checks.check_device(name, torchs) == torchs[number]
            assert checks.check_device(name, tensorflows) == tensorflows[number]
    assert checks.check_device(None, torchs) is None
    with pytest.raises(ValueError, match="one of 'cpu', 'cuda:0', 'cuda:1' or None, got 'GPU:2'"):
        checks.check_device("GPU:2", torchs)


def test_where_there_is_no_gpu_the_error_says_why(monkeypatch):
    """What the framework found instead; the build, or which GPUs the process was shown."""
    def message(device, available, why=lambda: "it is not the day"):
        with pytest.raises(ValueError) as raised:
            checks.check_device(device, available, why)
        return str(raised.value)

    for device in ("cuda", "GPU", "cuda:1"):
        assert message(device, ["cpu"]) == ("device must be one of 'cpu' or None, got "
                                            f"{device!r}: it is not the day")
    assert message("gpu", ["cpu:0", "cpu:1"]).endswith(": it is not the day")
    for device, available in (("meta", ["cpu"]), ("cpu:1", ["cpu"]), ("cuda:1", ["cpu", "cuda:0"])):
        assert message(device, available).endswith(f"or None, got {device!r}")

    version = torch.__version__
    monkeypatch.setattr(torch.version, "cuda", None)
    assert torch_tensors.why_no_gpu() == f"PyTorch {version} is built without CUDA"
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    found = f"PyTorch {version}, built for CUDA 13.0, finds none"
    assert torch_tensors.why_no_gpu() == f"{found}; does nvidia-smi?"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert torch_tensors.why_no_gpu() == f"{found}, and CUDA_VISIBLE_DEVICES is ''"
    backend = keras.backend.backend()
    expected = {"tensorflow": r"^TensorFlow \S+ finds none; .* come with tensorflow\[and-cuda\]$",
                "jax": r"^JAX \S+ finds none; .* come with jax\[cuda13\]$",
                "torch": f"^PyTorch {re.escape(version)}, built for"}[backend]
    assert re.search(expected, keras_tensors.why_no_gpu())


@pytest.mark.skipif(torch.accelerator.is_available(), reason="there is one")
def test_a_gpu_that_is_demanded_and_not_there(kind, images):
    why = (torch_tensors if "torch" in kind.__name__ else keras_tensors).why_no_gpu()
    with pytest.raises(ValueError, match=re.escape(f"or None, got 'cuda': {why}")):
        train(kind, make(kind), images, num_steps=1, device="cuda")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_found_before_the_first_step(kind, images, value):
    model = make(kind)
    if "torch" in kind.__name__:
        weight = list(model.parameters())[-1]
        weight.data[0] = value
    else:
        weight = model.weights[-1]
        weight.assign(np.full(weight.shape, value, np.float32))
    with pytest.raises(ValueError, match=r"must have finite weights before the first.* in .*bias$"):
        train(kind, model, images, num_steps=1)


def test_a_loss_that_overflows_at_once_is_not_blamed_on_the_learning_rate(kind, images):
    model = make(kind)
    before = {name: np.full_like(array, 1e30) for name, array in to_arrays(model).items()}
    from_arrays(model, before)
    message = r"at step 1; .* first step of this call: the weights that"
    with pytest.raises(FloatingPointError, match=message):
        train(kind, model, images, num_steps=1)
    equal(to_arrays(model), before)
    model = make(kind)
    history = train(kind, model, images, num_steps=2)
    from_arrays(model, before)
    with pytest.raises(FloatingPointError, match=message.replace("1", "3")):
        train(kind, model, images, num_steps=1, history=history)


def test_seeds_are_checked(kind, images):
    model = make(kind)
    uses = [lambda: train(kind, model, images, num_steps=1, seed=-1)]
    if hasattr(kind, "UNet"):
        uses.append(lambda: kind.loss_terms(model, images, LABELS, seed=-1))
    else:
        uses += [lambda: kind.evaluate(model, images, seed=-1), lambda: model.sample(2, -1)]
    for use in uses:
        with pytest.raises(ValueError, match="seed must be a non-negative integer, got -1"):
            use()


RELOADED = """
import importlib, sys
import numpy as np
from genmodels.models import conversion, {kind} as kind
x, labels = np.random.default_rng(0).random((4, 28, 28), dtype=np.float32), np.arange(4)
unet = hasattr(kind, "UNet")
make = (lambda: kind.UNet((16, 16, 16))) if unet else (lambda: kind.MLPVAE(2, 8))
fit = lambda model, **more: kind.fit(model, x, *[labels] * unet, num_steps=1, progress=False,
                                     **more)
model = make()
history = fit(model)
modules = ["training.history", "training.steps", "training.torch", "training.keras"]
modules += ["models." + name for name in ("conversion", "likelihood", "vae_torch", "vae_keras",
                                          "unet_torch", "trained", "unet_keras")]
for module in modules:
    if f"genmodels.{{module}}" in sys.modules:
        importlib.reload(sys.modules[f"genmodels.{{module}}"])
    assert fit(model, history=history) is history
    conversion.copy_weights(model, make())
    conversion.from_arrays(model, conversion.to_arrays(make()))
    fit(make())
print(history.num_steps)
"""


def test_reloaded_modules_know_their_objects(kind):
    skip_slow_compilation(kind)
    script = RELOADED.format(kind=kind.__name__.split(".")[2])
    done = subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", script], text=True,
                          capture_output=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["12"]
