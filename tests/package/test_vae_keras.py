"""What only the Keras VAEs have: backends that must agree, saving, Keras's own fit."""

import importlib.util
import os
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest

from genmodels.models.unet_keras import UNet
from genmodels.models.vae_keras import MLPVAE, ConvVAE, fit
from genmodels.training import Settings, keras_tensors
from genmodels.training import keras as keras_training
from genmodels.training.history import normal

pytestmark = pytest.mark.keras

IMAGES = np.random.default_rng(1).random((6, 28, 28), dtype=np.float32)
EPS = float(np.finfo(np.float32).eps)
RTOL = 784 * EPS  # float32: worst-case rounding of a sum of 784 terms of one sign


def as_numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def small_model():
    keras.utils.set_random_seed(0)
    return MLPVAE(latent_dim=2, hidden_dim=8)


def kernel_and_bias(layer):
    rng = np.random.default_rng(2)
    kernel, bias = (rng.standard_normal(w.shape).astype(np.float32) for w in layer.weights)
    layer.set_weights([kernel, bias])
    return kernel, bias


def test_strided_convolution_pads_at_the_end():
    """TensorFlow's "same" on every backend: y[i, j] = b + Σ_ab x[2i+a, 2j+b] k[a, b], 0 outside."""
    layer = next(x for x in ConvVAE().encoder.layers if isinstance(x, keras.layers.Conv2D))
    kernel, bias = kernel_and_bias(layer)  # (3, 3, 1, 32)
    x = np.zeros((6, 29, 29), np.float32)
    x[:, :28, :28] = IMAGES
    expected = bias + sum(x[:, a:a + 28:2, b:b + 28:2, None] * kernel[a, b, 0]
                          for a in range(3) for b in range(3))
    actual = as_numpy(layer(IMAGES[..., None]))
    np.testing.assert_allclose(actual, np.maximum(expected, 0), rtol=0, atol=50 * EPS)


def test_transposed_convolution_crops_at_the_end():
    """TensorFlow's "same" on every backend: y[2i+a, 2j+b] += x[i, j] k[a, b], cut to twice n."""
    layers = [x for x in ConvVAE().decoder.layers if isinstance(x, keras.layers.Conv2DTranspose)]
    kernel, bias = kernel_and_bias(layers[0])  # (3, 3, out, in)
    x = np.random.default_rng(3).standard_normal((2, 7, 7, 64)).astype(np.float32)
    expected = np.zeros((2, 15, 15, 64))
    for a in range(3):
        for b in range(3):
            expected[:, a:a + 14:2, b:b + 14:2] += x @ kernel[a, b].T.astype(np.float64)
    expected = np.maximum(expected[:, :14, :14] + bias, 0)
    # at most 4 · 64 products of standard normal numbers
    np.testing.assert_allclose(as_numpy(layers[0](x)), expected, rtol=0, atol=256 * 4 * EPS)


LOAD = """
import sys
import keras, numpy as np
import genmodels.models.vae_keras
folder = sys.argv[1]
data = np.load(folder + "/terms.npz")
for name in ("ConvVAE", "MLPVAE"):
    model = keras.saving.load_model(f"{folder}/{name}.keras", safe_mode=True)
    assert type(model) is getattr(genmodels.models.vae_keras, name), type(model)
    terms = model.elbo_terms(data["images"], data[name + "_noise"])
    for term, expected in zip(terms, data[name]):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(term), expected, rtol=%g, atol=%g)
assert model.hidden_dim == 8
print("same on", keras.backend.backend())
"""


@pytest.fixture(scope="module")
def saved_models(tmp_path_factory):
    """A folder with both models, trained a little and saved, and their terms of the ELBO."""
    folder = tmp_path_factory.mktemp("saved")
    arrays = {"images": IMAGES}
    for model in (ConvVAE(), small_model()):
        name = type(model).__name__
        fit(model, IMAGES, num_steps=2, learning_rate=0.01, progress=False)
        model.save(folder / f"{name}.keras")
        noise = np.random.default_rng(4).standard_normal((6, 2), dtype=np.float32)
        terms = [as_numpy(term) for term in model.elbo_terms(IMAGES, noise)]
        arrays |= {name: np.stack(terms), name + "_noise": noise}
    np.savez(folder / "terms.npz", **arrays)
    return folder


@pytest.mark.parametrize("backend", ["tensorflow", "torch", "jax"])
def test_a_saved_model_means_the_same_in_a_fresh_process(saved_models, backend):
    """Loaded in safe mode, on this backend and on the others."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    # The KL divergence is near 0 here, a difference of numbers of order 1: hence atol.
    done = subprocess.run([sys.executable, "-c", LOAD % (RTOL, 20 * EPS), saved_models], text=True,
                          capture_output=True, env={**os.environ, "KERAS_BACKEND": backend})
    assert done.returncode == 0, done.stderr
    assert f"same on {backend}" in done.stdout


def test_keras_own_fit_and_evaluate_average_over_the_examples():
    """Four and two images: Keras's means are those of the six, not of the two batches."""
    model = small_model()
    model.compile("adam")
    noise = np.random.default_rng(4).standard_normal((6, 2), dtype=np.float32)
    log_likelihood, kl = (as_numpy(term).astype(float) for term in model.elbo_terms(IMAGES, noise))
    means = model.evaluate((IMAGES, noise), batch_size=4, verbose=0, return_dict=True)
    assert means["log_likelihood"] == pytest.approx(log_likelihood.mean(), rel=RTOL)
    assert means["kl"] == pytest.approx(kl.mean(), rel=RTOL)
    assert means["loss"] == pytest.approx((kl - log_likelihood).mean(), rel=RTOL)
    logs = model.fit((IMAGES, noise), batch_size=4, epochs=3, verbose=0).history
    assert logs["loss"][-1] < logs["loss"][0]


def test_the_history_is_of_each_epoch_where_keras_averages_over_all_batches(monkeypatch):
    def loss():
        return fit(small_model(), IMAGES, num_epochs=3, batch_size=3, learning_rate=0.01,
                   progress=False)["loss"]

    expected = loss()
    monkeypatch.setattr(keras.Model, "reset_metrics", lambda model: None)  # as before Keras 3.15
    np.testing.assert_allclose(loss(), expected, rtol=RTOL)


def test_another_compile_in_between_does_not_change_the_run():
    def run(disturb):
        model = small_model()
        history = fit(model, IMAGES, num_steps=2, learning_rate=0.01, progress=False)
        if disturb:
            model.compile("sgd")
        return fit(model, IMAGES, num_steps=2, learning_rate=0.01, history=history, progress=False)

    np.testing.assert_allclose(run(True)["loss"], run(False)["loss"], rtol=RTOL)


def test_pictures_carry_no_gradient():
    model = small_model()
    if keras.backend.backend() == "torch":
        assert not model.sample(2).requires_grad and not model.reconstruct(IMAGES).requires_grad
        assert model.encode(IMAGES)[0].requires_grad
    elif keras.backend.backend() == "tensorflow":
        import tensorflow as tf
        with tf.GradientTape(persistent=True) as tape:
            picture, mean = model.reconstruct(IMAGES), model.encode(IMAGES)[0]
        weight = model.encoder.trainable_variables[0].value
        assert tape.gradient(picture, weight) is None
        assert tape.gradient(mean, weight) is not None
    elif keras.backend.backend() == "jax":
        import jax
        weight = model.encoder.trainable_variables[0]

        def gradient(of):
            def total(value):
                with keras.StatelessScope([(weight, value)]):
                    return of(IMAGES).sum()
            return jax.grad(total)(weight.value)

        assert not gradient(model.reconstruct).any()
        assert gradient(lambda x: model.encode(x)[0]).any()


def test_tensors_of_arrays_are_copies_and_are_copied_once(monkeypatch):
    for array in (IMAGES.copy(), IMAGES.astype(float), np.arange(6)):
        for dtype in ("float32", "float64", "int32"):
            given = array.copy()
            for source in (given, keras.ops.convert_to_tensor(given)):
                tensor = keras_tensors.tensor_of(source, dtype)
                expected = as_numpy(tensor).copy()
                if isinstance(source, np.ndarray) or keras.backend.backend() == "torch":
                    source[...] = 7
                np.testing.assert_array_equal(as_numpy(tensor), expected)
                given[...] = array
    copies = []
    monkeypatch.setattr(keras.ops, "copy", lambda x: copies.append(x) or x)
    keras_tensors.tensor_of(IMAGES, "float32")
    assert not copies


def test_device_can_be_chosen():
    history = fit(small_model(), IMAGES, num_epochs=2, device="cpu", progress=False)
    assert np.all(np.isfinite(history["loss"]))


ON_TWO_DEVICES = """
import jax, numpy as np
from genmodels.models.vae_keras import MLPVAE, fit
x = np.random.default_rng(0).random((6, 28, 28))
model, history = MLPVAE(2, 8), None
for device, number in (("cpu:1", 1), (None, 0), ("CPU", 0), ("cpu:1", 1)):
    history = fit(model, x, num_steps=2, device=device, history=history, progress=False)
    for variable in (*model.weights, *history.optimizer.variables):
        assert variable.value.devices() == {jax.devices()[number]}, (device, variable.path)
try:
    fit(model, x, num_steps=1, device="cpu:2")
except ValueError as error:
    print(error)
"""


def in_new_process(program, **variables):
    """What a program prints in a process with other environment variables; None unsets one."""
    changed = os.environ | variables
    environment = {name: value for name, value in changed.items() if value is not None}
    done = subprocess.run([sys.executable, "-c", program], text=True, capture_output=True,
                          env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX can divide a CPU into devices")
def test_a_device_of_two_can_be_chosen():
    said = in_new_process(ON_TWO_DEVICES, XLA_FLAGS="--xla_force_host_platform_device_count=2")
    assert said == "device must be one of 'cpu:0', 'cpu:1' or None, got 'cpu:2'\n"


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="all others have float64 at once")
def test_float64_on_jax_needs_a_setting(float64):
    """Without it JAX would train in float32 what says that it is float64."""
    with float64():
        model = MLPVAE(2, 8, dtype="float64")
        assert np.isfinite(fit(model, IMAGES, num_steps=1, progress=False)["loss"][0])
        assert {str(weight.value.dtype) for weight in model.weights} == {"float64"}
        dense = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, dtype="float64")])
    settings = Settings(num_steps=1, progress=False)
    for use in (lambda: MLPVAE(2, 8, dtype="float64"), lambda: UNet((16, 16, 16), dtype="float64"),
                lambda: fit(model, IMAGES, num_steps=1), lambda: model.encode(IMAGES),
                lambda: keras_training.train(dense, (np.ones((4, 3)),), dict, settings)):
        with pytest.raises(TypeError, match=r"float32 on JAX .* got float64 in .*JAX_ENABLE_X64=1"):
            use()


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="only JAX compiles each operation")
def test_on_jax_nothing_is_computed_to_see_which_terms_and_weights_there_are():
    """Operation by operation, this was compiled longer than a training step."""
    import jax

    model, computed = small_model(), []

    def batch_loss(batch):
        terms = model.batch_loss(batch)
        computed.append(not isinstance(terms["loss"], jax.core.Tracer))
        return terms

    settings = Settings(num_steps=2, progress=False)
    keras_training.train(model, (IMAGES,), batch_loss, settings, draw=normal(2))
    assert computed and not any(computed)  # to see the terms, and to compile the step
    assert np.any(as_numpy(UNet((16, 16, 16)).conv_full.kernel))  # the weights have values


def test_a_backend_chosen_after_keras_was_imported(monkeypatch):
    model, ours = small_model(), keras.backend.backend()
    other = "torch" if ours == "jax" else "jax"
    monkeypatch.setenv("KERAS_BACKEND", other)
    for use in (small_model, lambda: UNet((16, 16, 16)), lambda: fit(model, IMAGES, num_steps=1)):
        with pytest.raises(ValueError, match="^KERAS_BACKEND must be set before Keras is imported, "
                           f"got {other!r} when it already ran on {ours!r}: restart"):
            use()
    for same in (ours, ""):  # empty is unset, to Keras too
        monkeypatch.setenv("KERAS_BACKEND", same)
        small_model()


def test_a_second_ctrl_c_within_a_step_leaves_a_model_that_can_be_used(monkeypatch, capsys):
    """JAX's compiled step takes the old weights along: without the new ones, there are none."""
    make = keras_training.Step.make_train_function

    def make_one_that_is_cut_short(self, force=False):
        make(self, force)
        step = self.train_function

        def cut_short(*arguments):
            step(*arguments)
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

        self.train_function = cut_short

    model, twin = small_model(), small_model()
    run = {"batch_size": 4, "learning_rate": 0.01, "recipe": "lecture", "progress": False}
    with monkeypatch.context() as patch:
        patch.setattr(keras_training.Step, "make_train_function", make_one_that_is_cut_short)
        history = fit(model, IMAGES, num_steps=3, **run)
    assert "Training stopped at step 0" in capsys.readouterr().out
    assert np.isfinite(as_numpy(model.sample(2))).all()
    if keras.backend.backend() == "jax":  # elsewhere the step that was not counted may be done
        del history._compiled  # its step is cut short
        fit(model, IMAGES, num_steps=3, history=history, **run)
        np.testing.assert_allclose(history["loss"], fit(twin, IMAGES, num_steps=3, **run)["loss"],
                                   rtol=RTOL)


@pytest.mark.parametrize("use", ["call", "predict", "predict_on_batch", "evaluate", "fit"])
def test_images_without_noise_are_refused_by_what_keras_itself_offers(use):
    pair = r"must be a pair \(x, noise\).*model\.reconstruct\(x\)"
    three = r"must be three, \(x, log_snr, labels\).*denoiser"
    for model, message in [(small_model(), pair), (UNet((16, 16, 16)), three)]:
        model.compile("adam")
        call = model if use == "call" else getattr(model, use)
        with pytest.raises(TypeError, match=f"(?s)inputs {message}"):
            call(IMAGES)
