"""The U-Nets of both frameworks, their losses and training.

With KERAS_BACKEND=torch or jax the Keras half runs on that.
"""

import math
import signal
from typing import NamedTuple

import keras
import numpy as np
import pytest
import scipy.integrate
import scipy.spatial
import scipy.stats
import torch

from genmodels import training
from genmodels.datasets import BUNDLED
from genmodels.models import denoising, trained, unet_keras, unet_torch, vae_torch
from genmodels.models.conversion import copy_weights, from_arrays, to_arrays

pytestmark = pytest.mark.keras

FRAMEWORKS = {"torch": unet_torch, "keras": unet_keras}
SMALL = (16, 24, 16)
RNG = np.random.default_rng(1)
IMAGES, LABELS = RNG.random((10, 28, 28), dtype=np.float32), RNG.integers(0, 10, 10)
X = RNG.standard_normal((10, 28, 28))
SETTINGS = {"batch_size": 5, "precision": "float32", "progress": False}


@pytest.fixture(params=FRAMEWORKS.values(), ids=FRAMEWORKS)
def unet(request):
    return request.param


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Networks this small gain nothing from a second one, which on a busy machine is waited for."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def randomise(model, seed=0):
    """Weights of the usual size, none of them zero, and large biases."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for name, array in to_arrays(model).items():
        fan_in = array[0].size if array.ndim > 1 and "label" not in name else 4
        arrays[name] = rng.standard_normal(array.shape, dtype=array.dtype) / math.sqrt(fan_in)
    from_arrays(model, arrays)
    return model


def small(unet, seed=0):
    return randomise(unet.UNet(SMALL), seed)


def predict_v(model, x, log_snr, labels):
    """v̂ (n, 28, 28), from the model itself."""
    if isinstance(model, keras.Model):
        return keras.ops.convert_to_numpy(model(model._inputs(x, log_snr, labels)))
    with torch.no_grad():
        arrays = x.astype(np.float32), log_snr.astype(np.float32), labels
        return model(*map(torch.from_numpy, arrays)).numpy()


def same(arrays, other):
    assert list(arrays) == list(other)
    for name in arrays:
        np.testing.assert_array_equal(arrays[name], other[name], strict=True)


@pytest.fixture(scope="module", params=FRAMEWORKS.values(), ids=FRAMEWORKS)
def fixed(request):
    """A small model that no test changes."""
    return request.param, small(request.param)


@pytest.fixture(scope="module")
def digits():
    with np.load(BUNDLED) as file:
        return {name: file[name].astype(np.float32) / 255 if "x" in name else file[name]
                for name in file.files}


# The network ------------------------------------------------------------------------------------


def test_the_number_of_parameters_is_that_of_the_docstring(unet):
    number = sum(array.size for array in to_arrays(unet.UNet()).values())
    assert number == 265_521 <= 1e6
    assert f"{number:,} parameters" in unet.UNet.__doc__


def test_a_new_network_predicts_zero(unet):
    """A denoiser with v̂ = 0 returns a x, in the precision of x, float32 at least."""
    denoiser = unet.UNet().denoiser(LABELS)
    for dtype, expected in [("float64", "float64"), ("float32", "float32"), ("float16", "float32"),
                            ("int64", "float64"), ("uint8", "float32")]:
        x = (X * 3).astype(dtype)
        estimate = denoiser(x, 0.25)
        assert estimate.dtype == expected and estimate.shape == (10, 28, 28)
        np.testing.assert_array_equal(estimate, 0.5 * x.astype(expected))
    assert denoiser(X, 0.25).flags.writeable


@pytest.mark.parametrize("alpha_bar", [1e-5, 0.3, 0.9999])
def test_the_denoiser_computes_a_x_minus_s_v(fixed, alpha_bar):
    _, model = fixed
    log_snr = np.full(10, np.log(alpha_bar / (1 - alpha_bar)))
    for labels, given in [(LABELS, LABELS), (np.full(10, 10), None)]:
        v = predict_v(model, X, log_snr, labels)
        assert v.std() > 0.1
        expected = np.sqrt(alpha_bar) * X - np.sqrt(1 - alpha_bar) * v
        for batch_size in (4, 50):
            estimate = model.denoiser(given, batch_size)(X, alpha_bar)
            np.testing.assert_allclose(estimate, expected, rtol=0, atol=1e-5)  # float32 v̂


def test_labels_and_noise_levels_matter(fixed):
    _, model = fixed
    outputs = [predict_v(model, X[:1], np.full(1, log_snr), np.full(1, label))
               for label in range(11) for log_snr in (-10.0, -9.5, 0.0, 8.5, 9.0)]
    distances = scipy.spatial.distance.pdist(np.reshape(outputs, (55, -1)), "chebyshev")
    assert distances.min() > 1e-3


def test_examples_do_not_influence_each_other(fixed):
    _, model = fixed
    single = model.denoiser(LABELS[3:4])(X[3:4], 0.5)
    np.testing.assert_allclose(model.denoiser(LABELS)(X, 0.5)[3:4], single, rtol=0, atol=1e-5)


def test_no_image_at_all(fixed):
    assert fixed[1].denoiser()(X[:0], 0.5).shape == (0, 28, 28)


# Both frameworks --------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [(16, 32, 64), SMALL])
def test_names_and_shapes_are_those_of_pytorch(channels):
    state = unet_torch.UNet(channels).state_dict()
    arrays = to_arrays(unet_keras.UNet(channels))
    assert [(name, array.shape) for name, array in arrays.items()] == [
        (name, tuple(tensor.shape)) for name, tensor in state.items()]


@pytest.fixture(scope="module")
def pair():
    return {framework: module.UNet() for framework, module in FRAMEWORKS.items()}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("source", "target"), [("torch", "keras"), ("keras", "torch")])
def test_same_weights_give_the_same_output(pair, source, target, seed):
    """Relative to the largest output: float32 sums of up to 9 · 64 terms in another order."""
    seed = [seed, source == "keras"]
    randomise(pair[source], seed)
    copy_weights(pair[source], pair[target])
    same(to_arrays(pair[source]), to_arrays(pair[target]))
    rng = np.random.default_rng([*seed, 1])
    x, log_snr = rng.standard_normal((11, 28, 28)), rng.uniform(-10.1, 9.2, 11)
    ours, theirs = (predict_v(model, x, log_snr, np.arange(11)) for model in pair.values())
    assert ours.dtype == theirs.dtype == np.float32 and ours.std() > 0.1
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * abs(ours).max())
    estimates = [model.denoiser(np.arange(10))(x[:10], 0.4) for model in pair.values()]
    np.testing.assert_allclose(*estimates, rtol=0, atol=1e-5 * abs(estimates[0]).max())


def test_both_frameworks_learn_the_same():
    """Same weights, same seed: the same losses, also where the last batch of an epoch is smaller.

    Adam's ε differs (1e-7, 1e-8), hence 1e-4.
    """
    in_torch, in_keras = (small(module) for module in FRAMEWORKS.values())
    run = {"num_epochs": 2, "loss": "elbo", "seed": 4, **SETTINGS, "batch_size": 4}
    ours = unet_torch.fit(in_torch, IMAGES, LABELS, **run)
    theirs = unet_keras.fit(in_keras, IMAGES, LABELS, **run)
    np.testing.assert_allclose(ours["loss"], theirs["loss"], rtol=1e-4)
    for loss in ("simple", "elbo"):
        terms = [module.loss_terms(model, IMAGES, LABELS, loss=loss)
                 for module, model in [(unet_torch, in_torch), (unet_keras, in_keras)]]
        np.testing.assert_allclose(*terms, rtol=1e-2)  # Adam can magnify roundings of a gradient


def test_unlike_networks(unet):
    with pytest.raises(ValueError, match=r"got channels \(16, 24, 16\) and \(16, 32, 64\)$"):
        copy_weights(small(unet), unet.UNet())
    with pytest.raises(ValueError, match="got architecture UNet and MLPVAE"):
        copy_weights(small(unet), vae_torch.MLPVAE())


def test_what_is_saved_comes_back_in_either_framework(unet, tmp_path):
    trained.save(small(unet_torch), "small", {"seed": 0}, tmp_path)
    model = small(unet, seed=1)
    trained.load(model, "small", tmp_path)
    saved = to_arrays(small(unet_torch))
    same(to_arrays(model), {name: array.astype(np.float16).astype(np.float32)
                            for name, array in saved.items()})
    assert trained.card("small", tmp_path)["model"] == "UNet"
    with pytest.raises(ValueError, match=r"must have channels=\[16, 24, 16\]"):
        trained.load(unet.UNet(), "small", tmp_path)


def test_keras_saves_and_loads_it(tmp_path):
    model = small(unet_keras)
    model.save(tmp_path / "unet.keras")
    same(to_arrays(keras.saving.load_model(tmp_path / "unet.keras")), to_arrays(model))


# Noise ------------------------------------------------------------------------------------------


class Noisy(NamedTuple):
    """Noisy digits by hand, from what is drawn for them."""

    x: np.ndarray
    log_snr: np.ndarray
    labels: np.ndarray
    noise: np.ndarray


def noisy(images, labels, loss, rng, drop_labels=0.0):
    drawn = denoising.draw_noise(len(images), (28, 28), loss, rng, drop_labels)
    a, s = drawn.signal[:, None, None], drawn.spread[:, None, None]
    return Noisy(a * (2 * images - 1) + s * drawn.noise, drawn.log_snr,
                 np.where(drawn.dropped == 1, 10, labels), drawn.noise)


def draw(n, loss, seed=0, **arguments):
    images, labels = np.resize(IMAGES, (n, 28, 28)), np.resize(LABELS, n)
    return images, labels, noisy(images, labels, loss, np.random.default_rng(seed), **arguments)


def tau_at(log_snr):
    """Solves 0.1 τ + 9.95 τ² = −log α̅ for τ."""
    exponent = np.log1p(np.exp(-log_snr.astype(float)))
    return (-0.1 + np.sqrt(0.01 + 4 * 9.95 * exponent)) / (2 * 9.95)


def test_the_range_of_noise_levels():
    for log_snr, tau in zip(denoising.LOG_SNR_RANGE, (1, 1e-3)):
        alpha_bar = math.exp(-(0.1 * tau + 9.95 * tau**2))
        assert log_snr == pytest.approx(math.log(alpha_bar / (1 - alpha_bar)), rel=1e-9)


@pytest.mark.parametrize("loss", ["simple", "elbo"])
def test_levels_are_stratified_and_in_random_order(loss):
    low, high = denoising.LOG_SNR_RANGE
    firsts = []
    for seed in range(200):
        _, _, batch = draw(8, loss, seed)
        share = ((tau_at(batch.log_snr) - 1e-3) / (1 - 1e-3) if loss == "simple"
                 else (batch.log_snr - low) / (high - low))
        gaps = np.diff(np.sort(share))
        np.testing.assert_allclose(gaps, 1 / 8, rtol=0, atol=1e-5)  # float32 levels
        firsts.append(share[0])
    assert scipy.stats.kstest(firsts, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("loss", ["simple", "elbo"])
def test_noisy_images_are_a_x0_plus_s_noise(loss):
    images, labels, batch = draw(20, loss)
    alpha_bar = 1 / (1 + np.exp(-batch.log_snr.astype(float)))[:, None, None]
    expected = np.sqrt(alpha_bar) * (2 * images - 1) + np.sqrt(1 - alpha_bar) * batch.noise
    np.testing.assert_allclose(batch.x, expected, rtol=0, atol=1e-5)  # float32
    assert batch.x.dtype == batch.noise.dtype == batch.log_snr.dtype == np.float32
    np.testing.assert_array_equal(batch.labels, labels)
    assert scipy.stats.kstest(batch.noise.ravel(), "norm").pvalue > 1e-3


def test_some_labels_are_dropped():
    _, labels, batch = draw(2000, "simple", drop_labels=0.1)
    dropped = batch.labels == 10
    assert scipy.stats.binomtest(int(dropped.sum()), 2000, 0.1).pvalue > 1e-3
    np.testing.assert_array_equal(batch.labels[~dropped], labels[~dropped])
    assert np.all(draw(50, "simple", drop_labels=1)[2].labels == 10)


# Losses -----------------------------------------------------------------------------------------
# A new network has v̂ = 0, so that ε − ε̂ = a (v − v̂) = a (a ε − s x_0), and over the noise
#     E‖ε − ε̂‖² = α̅ (784 α̅ + (1 − α̅) ‖x_0‖²).
# With α̅ = σ(γ), the logistic function of the log SNR γ, and dσ/dγ = σ (1 − σ), the integrals of σ²
# and of σ (1 − σ) over γ are softplus(γ) − σ(γ) and σ(γ).


def test_the_elbo_loss_is_that_of_the_closed_form(unet, digits):
    images, labels = digits["x_train"][:1000], digits["y_train"][:1000]
    model = unet.UNet(SMALL)
    terms = np.concatenate([unet.loss_terms(model, images, labels, loss="elbo", seed=seed)
                            for seed in range(2)])
    low, high = denoising.LOG_SNR_RANGE
    softplus, sigma = (np.logaddexp(0, high) - np.logaddexp(0, low),
                       1 / (1 + math.exp(-high)) - 1 / (1 + math.exp(-low)))
    squares = ((2 * images - 1.0) ** 2).sum(axis=(1, 2))  # ‖x_0‖²
    expected = 0.5 * (784 * (softplus - sigma) + squares.mean() * sigma)
    assert abs(terms.mean() - expected) < 5 * scipy.stats.sem(terms)
    assert 5 * scipy.stats.sem(terms) < 0.15 * expected  # the check can fail


def test_the_simple_loss_is_that_of_an_integral(unet, digits):
    images, labels = digits["x_train"][:1000], digits["y_train"][:1000]
    terms = unet.loss_terms(unet.UNet(SMALL), images, labels)
    assert terms.shape == (1000,) and terms.dtype == np.float64
    squares = ((2 * images - 1.0) ** 2).sum(axis=(1, 2)).mean()

    def error(tau):
        alpha_bar = math.exp(-(0.1 * tau + 9.95 * tau**2))
        return alpha_bar * (784 * alpha_bar + (1 - alpha_bar) * squares)

    expected = scipy.integrate.quad(error, 1e-3, 1)[0] / (1 - 1e-3)
    assert abs(terms.mean() - expected) < 5 * scipy.stats.sem(terms)
    assert 5 * scipy.stats.sem(terms) < 0.25 * expected  # the check can fail


@pytest.mark.parametrize("loss", ["simple", "elbo"])
def test_each_loss_is_the_error_of_the_noise(fixed, loss):
    """By hand from what was drawn, for a network with random weights."""
    unet, model = fixed
    batch = noisy(IMAGES, LABELS, loss, np.random.default_rng([3, 2]))
    v = predict_v(model, batch.x, batch.log_snr, LABELS)
    alpha_bar = 1 / (1 + np.exp(-batch.log_snr.astype(float)))[:, None, None]
    noise = np.sqrt(alpha_bar) * v + np.sqrt(1 - alpha_bar) * batch.x
    expected = ((batch.noise - noise) ** 2).sum(axis=(1, 2))
    if loss == "elbo":
        expected *= 0.5 * (denoising.LOG_SNR_RANGE[1] - denoising.LOG_SNR_RANGE[0])
    for batch_size in (5, 500):
        terms = unet.loss_terms(model, IMAGES, LABELS, loss=loss, seed=3, batch_size=batch_size)
        np.testing.assert_allclose(terms, expected, rtol=1e-4)  # float32
    assert np.all(unet.loss_terms(model, IMAGES, LABELS, loss=loss, seed=4) != terms)
    assert np.all(unet.loss_terms(model, IMAGES, None, loss=loss, seed=3) != terms)


# Training ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=FRAMEWORKS.values(), ids=FRAMEWORKS)
def one_run(request):
    model = small(request.param)
    history = request.param.fit(model, IMAGES, LABELS, num_steps=7, **SETTINGS)
    return request.param, model, history


def test_the_seed_changes_the_noise():
    losses = [unet_torch.fit(small(unet_torch), IMAGES, LABELS, num_steps=1, seed=seed,
                                  **SETTINGS)["loss"] for seed in (0, 1)]
    assert losses[0] != losses[1]


def test_a_run_that_was_interrupted_goes_on(one_run, monkeypatch, capsys):
    """Seven steps; or Ctrl-C in the third, and four more: so training is reproducible, too."""
    unet, model, history = one_run
    stopped, record = small(unet), training.History.record

    def press_ctrl_c_during_step_3(self, *terms):
        record(self, *terms)
        if self.num_steps == 3:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(training.History, "record", press_ctrl_c_during_step_3)
        partial = unet.fit(stopped, IMAGES, LABELS, num_steps=7, **SETTINGS)
    assert partial.num_steps == 3 and "stopped at step 3" in capsys.readouterr().out
    unet.fit(stopped, IMAGES, LABELS, num_steps=4, history=partial, **SETTINGS)
    assert partial["loss"] == history["loss"] and partial.num_steps == history.num_steps
    same(to_arrays(stopped), to_arrays(model))


def test_the_history_is_that_of_the_loss(one_run):
    _, _, history = one_run
    assert history.terms.keys() == {"loss"} and len(history["loss"]) == 4


def test_the_historys_loss_is_the_mean_over_the_examples():
    """With a learning rate of almost zero, and batches of 4, 4 and 2."""
    model = small(unet_torch)
    history = unet_torch.fit(model, IMAGES, LABELS, num_epochs=1, loss="elbo", drop_labels=0,
                                  learning_rate=1e-12, **{**SETTINGS, "batch_size": 4})
    order = np.random.default_rng([0, 0]).permutation(10)
    total = 0.0
    for step, rows in enumerate(np.split(order, [4, 8])):
        batch = noisy(IMAGES[rows], LABELS[rows], "elbo", np.random.default_rng([0, step, 1]))
        a, s = np.sqrt(1 / (1 + np.exp([-batch.log_snr, batch.log_snr])))[..., None, None]
        v = predict_v(model, batch.x, batch.log_snr, batch.labels)
        total += ((batch.noise - a * v - s * batch.x) ** 2).sum()
    weight = 0.5 * (denoising.LOG_SNR_RANGE[1] - denoising.LOG_SNR_RANGE[0])
    assert history["loss"] == [pytest.approx(weight * total / 10, rel=1e-4)]  # float32


@pytest.mark.parametrize("loss", ["simple", "elbo"])
def test_training_lowers_the_loss_of_other_digits(unet, digits, loss):
    """The same noise before and after: the differences of the losses, and their standard error."""
    if unet is unet_keras and loss == "simple":
        pytest.skip("one loss is enough: both frameworks learn the same")
    torch.manual_seed(0)
    keras.utils.set_random_seed(0)
    model = unet.UNet(SMALL)
    held_out = digits["x_test"][:300], digits["y_test"][:300]
    before = unet.loss_terms(model, *held_out, loss=loss)
    history = unet.fit(model, digits["x_train"], digits["y_train"], loss=loss, num_steps=30,
                       batch_size=32, progress=False)
    gain = before - unet.loss_terms(model, *held_out, loss=loss)
    assert gain.mean() > 5 * scipy.stats.sem(gain)
    assert history.num_steps == 30 and history.epoch_is_unfinished


def test_images_may_be_a_tensor_or_reversed(fixed):
    unet, model = fixed
    expected = unet.loss_terms(model, IMAGES, LABELS)
    reversed_twice = IMAGES[::-1].copy()[::-1]
    for images in (keras.ops.convert_to_tensor(IMAGES) if unet is unet_keras
                   else torch.from_numpy(IMAGES), reversed_twice, IMAGES.astype(float)):
        np.testing.assert_allclose(unet.loss_terms(model, images, LABELS), expected, rtol=1e-6)


def test_labels_are_dropped_in_training(unet):
    """Only the rows of the labels that were drawn move: 10 stands for those that were dropped."""
    model = small(unet)
    before = to_arrays(model)["label.weight"]
    unet.fit(model, IMAGES, np.arange(10), num_steps=1, drop_labels=0.4, **SETTINGS)
    rows = np.random.default_rng([0, 0]).permutation(10)[:5]
    rng = np.random.default_rng([0, 0, 1])
    drawn = noisy(IMAGES[rows], rows, "simple", rng, 0.4)
    moved = (to_arrays(model)["label.weight"] != before).any(axis=1)
    assert np.flatnonzero(moved).tolist() == np.unique(drawn.labels).tolist()
    assert 10 in drawn.labels and 1 < moved.sum() < 6


def test_in_bfloat16_the_loss_is_almost_the_same(unet):
    """That of the first step, before any weight has moved."""
    rounded, exact = (module.fit(small(module), IMAGES, LABELS, num_steps=1,
                                 **{**SETTINGS, "precision": precision})["loss"][0]
                      for module, precision in [(unet, "bfloat16"), (unet_torch, "float32")])
    assert rounded != pytest.approx(exact, rel=1e-5)  # what float32 rounding cannot do
    assert rounded == pytest.approx(exact, rel=2e-2)


def test_a_nan_loss_gives_the_last_good_weights_back(one_run):
    """To the run that others look at, too, which is compiled already."""
    unet, model, history = one_run
    before = to_arrays(model)
    with pytest.raises(FloatingPointError, match="NaN or infinite at step"):
        unet.fit(model, IMAGES, LABELS, num_steps=20, history=history, learning_rate=1e30,
                 **SETTINGS)
    same(to_arrays(model), before)
    assert history.num_steps == 7


# Wrong input ------------------------------------------------------------------------------------

WRONG_LABELS = {
    "too large": (np.maximum(LABELS, 10), ValueError, "0 and 9, got 10 to 10$"),
    "negative": (LABELS - LABELS.min() - 1, ValueError, r"0 and 9, got -1 to \d$"),
    "floats": (LABELS.astype(float), TypeError, "labels must be integers, got float64"),
    "truth values": (LABELS > 3, TypeError, "labels must be integers, got bool"),
    "text": (LABELS.astype(str), TypeError, "labels must be integers, got <U"),
    "one-hot": (np.eye(10, dtype=int)[LABELS], ValueError, r"labels must .* got \(10, 10\)"),
    "one number": (3, ValueError, r"labels must .* got \(\)"),
}


@pytest.mark.parametrize(("wrong", "error", "message"), WRONG_LABELS.values(), ids=WRONG_LABELS)
def test_wrong_labels(wrong, error, message):
    with pytest.raises(error, match=message):
        denoising.check_labels(wrong)


def test_labels_are_checked(fixed):
    unet, model = fixed
    for use in (model.denoiser, lambda labels: unet.loss_terms(model, IMAGES, labels),
                lambda labels: unet.fit(model, IMAGES, labels, num_steps=1)):
        with pytest.raises(TypeError, match="labels must be integers, got float64"):
            use(LABELS.astype(float))


def test_rows_that_differ_in_length_are_named(fixed):
    ragged = [[0.0, 1.0], [2.0]]
    _, model = fixed
    with pytest.raises(TypeError, match="labels must be an array, got rows that differ in length"):
        model.denoiser(ragged)
    with pytest.raises(TypeError, match="x must be an array, got rows that differ in length"):
        model.denoiser()(ragged, 0.3)


def test_wrong_number_of_labels(fixed):
    unet, model = fixed
    denoiser = model.denoiser(LABELS[:9])
    with pytest.raises(ValueError, match=r"labels must .* each of the 10 images x, got 9"):
        denoiser(X, 0.5)
    for use in (lambda labels: unet.loss_terms(model, IMAGES, labels),
                lambda labels: unet.fit(model, IMAGES, labels, num_steps=1)):
        for wrong in (LABELS[:9], LABELS[:0]):
            with pytest.raises(ValueError, match=r"labels must have shape \(10,\), got \("):
                use(wrong)


def test_labels_are_needed_for_training(fixed):
    unet, model = fixed
    with pytest.raises(TypeError, match="labels must be given to a network with num_labels=10"):
        unet.fit(model, IMAGES, None, num_steps=1)


@pytest.mark.parametrize("labels", [LABELS.astype(np.uint8), LABELS.tolist()])
def test_any_integers_are_labels(fixed, labels):
    _, model = fixed
    np.testing.assert_array_equal(model.denoiser(labels)(X, 0.5), model.denoiser(LABELS)(X, 0.5))


# what both frameworks' `UNet.denoiser` return
DENOISER = denoising.denoiser(lambda x, log_snr, labels: x, None, 50, (28, 28), 10)


@pytest.mark.parametrize(("wrong", "error", "message"), [
    (X[0], ValueError, r"x must have shape \(n, 28, 28\), got \(28, 28\)"),
    (X[..., None], ValueError, r"got \(10, 28, 28, 1\)"),
    (X[:, :27], ValueError, r"got \(10, 27, 28\)"),
    (X + 1j, TypeError, "x must hold real numbers, got complex128"),
    (X > 0, TypeError, "x must hold real numbers, got bool"),
    (None, TypeError, "x must hold real numbers, got object"),
    (X * np.nan, ValueError, "x must be finite"),
    (X - np.inf, ValueError, "x must be finite"),
])
def test_wrong_x(wrong, error, message):
    with pytest.raises(error, match=message):
        DENOISER(wrong, 0.5)


@pytest.mark.parametrize(("wrong", "error"), [
    (0, ValueError), (1, ValueError), (-0.1, ValueError), (1.5, ValueError),
    (math.nan, ValueError), (math.inf, ValueError), (None, TypeError), ("0.5", TypeError),
    (True, TypeError), (np.full(10, 0.5), TypeError)])
def test_wrong_alpha_bar(wrong, error):
    with pytest.raises(error, match=r"alpha_bar must .*, got "):
        DENOISER(X, wrong)


def test_what_a_denoiser_is_given_is_checked(fixed):
    denoiser = fixed[1].denoiser()
    with pytest.raises(ValueError, match="x must have shape"):
        denoiser(X[0], 0.5)
    with pytest.raises(ValueError, match="alpha_bar must lie between 0 and 1, got 1"):
        denoiser(X, 1)


@pytest.mark.parametrize(("arguments", "error", "message"), [
    ({"loss": "mse"}, ValueError, "loss must be one of 'simple', 'elbo', got 'mse'"),
    ({"loss": ["elbo"]}, ValueError, "loss must be one of "),
    ({"drop_labels": -0.1}, ValueError, "drop_labels must be .* between 0 and 1, got -0.1"),
    ({"drop_labels": "0.1"}, TypeError, "drop_labels must be .*, got '0.1'"),
    ({"num_epochs": 1}, ValueError, "num_epochs or num_steps must be given, and"),
    ({"history": []}, TypeError, "history must be a History or None"),
])
def test_wrong_fit_arguments(fixed, arguments, error, message):
    unet, model = fixed
    before = to_arrays(model)
    with pytest.raises(error, match=message):
        unet.fit(model, IMAGES, LABELS, **{"num_steps": 1, "progress": False, **arguments})
    same(to_arrays(model), before)


def test_wrong_images(fixed):
    unet, model = fixed
    for use in (unet.fit, unet.loss_terms):
        with pytest.raises(ValueError, match=r"x must .*, got \(28, 28\)"):
            use(model, IMAGES[0], LABELS)
        with pytest.raises(ValueError, match="divide by 255"):
            use(model, 255 * IMAGES, LABELS)


def test_batch_sizes_are_checked(fixed):
    unet, model = fixed
    for use in (model.denoiser, lambda **given: unet.loss_terms(model, IMAGES, LABELS, **given)):
        with pytest.raises(ValueError, match="batch_size must be a positive integer, got 0"):
            use(batch_size=0)


@pytest.mark.parametrize(("wrong", "error"), [
    ((16, 32), ValueError), (16, ValueError), ((16, 16, 20), ValueError),
    ((16, 0, 16), ValueError), ((16, 8, 16), ValueError), ((16, 16, 16.0), TypeError),
    (None, ValueError)])
def test_wrong_channels(wrong, error):
    with pytest.raises(error, match=r"channels must be .*, got"):
        denoising.check_channels(wrong)


def test_channels_are_checked(unet):
    with pytest.raises(ValueError, match="channels must be three multiples of 8"):
        unet.UNet((16, 32))


@pytest.mark.parametrize(("width", "knows"), [(8, False), (16, True)])
def test_a_block_of_eight_channels_would_not_know_the_noise_level(width, knows):
    torch.manual_seed(0)
    block = unet_torch.ResidualBlock(width, width).double()
    torch.nn.init.normal_(block.conv2.weight)
    x, (one, other) = torch.randn(2, width, 8, 8).double(), torch.randn(2, 2, 32).double()
    difference = (block(x, one) - block(x, other)).abs().max()
    assert (difference > 1e-10) == knows  # numbers of order one, in float64


# The decoder of grey levels -----------------------------------------------------------------------


def test_grey_decoder_is_bayes_rule_for_every_pixel():
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(256)) + 1e-6
    shares /= shares.sum()
    levels = np.arange(256) / 127.5 - 1
    x0 = levels[rng.integers(0, 256, (3, 28, 28))]
    mean, variance = x0 + rng.normal(scale=0.02, size=x0.shape), 0.03**2
    expected = np.zeros(3)
    for i, row, column in np.ndindex(x0.shape):
        joint = shares * scipy.stats.norm.pdf(mean[i, row, column], levels, math.sqrt(variance))
        chosen = np.argmin(abs(levels - x0[i, row, column]))
        expected[i] += math.log(joint[chosen] / joint.sum())
    decoder = denoising.grey_decoder(shares)
    np.testing.assert_allclose(decoder(x0, mean, variance), expected, rtol=1e-10)
    np.testing.assert_allclose(decoder(x0.astype(np.float32), mean, variance), expected, rtol=1e-10)


def test_bad_input_of_grey_decoder():
    for shares in (np.ones(256), np.full(255, 1 / 255), np.eye(256)[0], np.full(256, np.nan)):
        with pytest.raises(ValueError, match="shares"):
            denoising.grey_decoder(shares)
    decoder = denoising.grey_decoder(np.full(256, 1 / 256))
    for x0 in (np.full((1, 28, 28), 0.5), np.full((1, 28, 28), 1.2)):
        with pytest.raises(ValueError, match=f"x0 must hold grey levels .*, got {x0[0, 0, 0]}"):
            decoder(x0, x0, 0.1)
