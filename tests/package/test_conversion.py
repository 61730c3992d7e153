"""Weights carried between the frameworks: same numbers out of both models, same gradients.

With KERAS_BACKEND=torch or jax the Keras half runs on that.
"""

import contextlib
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import torch

from genmodels.models import vae_keras, vae_torch
from genmodels.models.conversion import copy_weights, from_arrays, to_arrays
from genmodels.training import History

pytestmark = pytest.mark.keras

FRAMEWORKS = {"torch": vae_torch, "keras": vae_keras}
ARCHITECTURES = ["ConvVAE", "MLPVAE"]
SEEDS = range(5)
PAIRS = [("torch", "keras"), ("keras", "torch"), ("torch", "torch"), ("keras", "keras")]


def make(framework, architecture, dtype="float32", **sizes):
    """A model in float32 or float64. In Keras both settings are needed: the inputs of a functional
    model have the type floatx, its layers the type of the policy."""
    if framework == "torch":
        return getattr(vae_torch, architecture)(**sizes).to(getattr(torch, dtype))
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)
    try:
        return getattr(vae_keras, architecture)(**sizes)
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")


def random_arrays(model, seed):
    """Weights of the usual size and large biases, so that KL and pixels are far from trivial."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for name, array in to_arrays(model).items():
        fan_in = array[0].size if array.ndim > 1 else 4
        arrays[name] = rng.standard_normal(array.shape, dtype=array.dtype) / float(np.sqrt(fan_in))
    return arrays


def same(arrays, other):
    assert list(arrays) == list(other)
    for name in arrays:
        np.testing.assert_array_equal(arrays[name], other[name], strict=True)


# Layouts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("architecture", "sizes"), [
    ("ConvVAE", {}), ("ConvVAE", {"latent_dim": 5}),
    ("MLPVAE", {}), ("MLPVAE", {"latent_dim": 3, "hidden_dim": 16}),
])
def test_names_and_shapes_are_those_of_pytorch(architecture, sizes):
    model = make("torch", architecture, **sizes)
    state = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    for framework in FRAMEWORKS:
        arrays = to_arrays(make(framework, architecture, **sizes))
        assert {name: array.shape for name, array in arrays.items()} == state
        assert list(arrays) == list(state)
        assert all(type(array) is np.ndarray for array in arrays.values())


def test_each_place_of_a_keras_kernel_goes_where_the_table_says():
    """Kernels filled with their own indices, looked up one by one."""
    model = make("keras", "ConvVAE")
    conv = next(x for x in model.encoder.layers if isinstance(x, keras.layers.Conv2D))
    transposed = [x for x in model.decoder.layers if isinstance(x, keras.layers.Conv2DTranspose)][1]
    after_flatten = next(x for x in model.encoder.layers if isinstance(x, keras.layers.Dense))
    before_reshape = next(x for x in model.decoder.layers if isinstance(x, keras.layers.Dense))
    for layer in (conv, transposed, after_flatten, before_reshape):
        layer.set_weights([np.arange(w.size, dtype=np.float32).reshape(w.shape)
                           for w in layer.get_weights()])
    arrays = to_arrays(model)
    rng = np.random.default_rng(0)
    for _ in range(20):
        i, j, c, pixel = (int(rng.integers(n)) for n in (7, 7, 64, 3))
        kernel, _ = conv.get_weights()  # (h, w, in, out)
        assert arrays["encoder.features.2.weight"][c % 32, 0, pixel, j % 3] == kernel[
            pixel, j % 3, 0, c % 32]
        kernel, _ = transposed.get_weights()  # (h, w, out, in)
        assert arrays["decoder.6.weight"][c, i, pixel, j % 3] == kernel[pixel, j % 3, i, c]
        kernel, _ = after_flatten.get_weights()  # rows in the order (h, w, c)
        assert arrays["encoder.features.8.weight"][pixel, (c * 7 + i) * 7 + j] == kernel[
            (i * 7 + j) * 64 + c, pixel]
        kernel, bias = before_reshape.get_weights()  # columns in the order (h, w, c)
        assert arrays["decoder.0.weight"][(c * 7 + i) * 7 + j, 1] == kernel[1, (i * 7 + j) * 64 + c]
        assert arrays["decoder.0.bias"][(c * 7 + i) * 7 + j] == bias[(i * 7 + j) * 64 + c]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_a_round_trip_is_exact(architecture, first, second):
    source, between, back = (make(name, architecture) for name in (first, second, first))
    arrays = random_arrays(source, seed=0)
    from_arrays(source, arrays)
    same(to_arrays(source), arrays)
    copy_weights(source, between)
    same(to_arrays(between), arrays)
    copy_weights(between, back)
    same(to_arrays(back), arrays)
    if first == "keras":  # in Keras's own layout too
        for ours, theirs in zip(source.get_weights(), back.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_what_is_returned_is_a_copy(framework):
    model = make(framework, "MLPVAE", latent_dim=2, hidden_dim=8)
    arrays = to_arrays(model)
    before = {name: array.copy() for name, array in arrays.items()}
    for array in arrays.values():
        array += 1
    same(to_arrays(model), before)
    from_arrays(model, arrays)
    for array in arrays.values():
        array += 1
    assert np.all(to_arrays(model)["encoder.mean.bias"] == before["encoder.mean.bias"] + 1)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_arrays_are_rounded_to_the_models_precision(framework):
    model = make(framework, "MLPVAE", latent_dim=2, hidden_dim=8)
    exact = {name: array + 1e-9 for name, array in random_arrays(
        make("torch", "MLPVAE", "float64", latent_dim=2, hidden_dim=8), seed=0).items()}
    from_arrays(model, exact)
    same(to_arrays(model), {name: array.astype(np.float32) for name, array in exact.items()})


def test_weights_in_bfloat16_are_carried_exactly():
    """NumPy has no bfloat16, but each of its numbers is one of float32."""
    source = make("torch", "MLPVAE", latent_dim=2, hidden_dim=8).bfloat16()
    arrays = to_arrays(source)
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}
    for framework in FRAMEWORKS:
        target = make(framework, "MLPVAE", latent_dim=2, hidden_dim=8)
        copy_weights(source, target)
        same(to_arrays(target), {name: weight.float().numpy()
                                 for name, weight in source.state_dict().items()})
    from_arrays(source, {name: array * 2 for name, array in arrays.items()})
    same(to_arrays(source), {name: array * 2 for name, array in arrays.items()})


def test_a_compiled_keras_model_sees_the_new_weights():
    source, target = (make("keras", "MLPVAE", latent_dim=2, hidden_dim=8) for _ in range(2))
    from_arrays(source, random_arrays(source, seed=0))
    images = np.random.default_rng(1).random((4, 28, 28), dtype=np.float32)
    vae_keras.fit(target, images, num_steps=1, progress=False)
    vae_keras.evaluate(target, images)
    copy_weights(source, target)
    for ours, theirs in zip(vae_keras.evaluate(target, images), vae_keras.evaluate(source, images)):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)  # float32


def test_any_other_torch_vae_can_be_stored_and_copied():
    class Other(vae_torch.VAE):
        def __init__(self, hidden_dim):
            features = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, hidden_dim))
            decoder = torch.nn.Sequential(torch.nn.Linear(3, 784), torch.nn.Unflatten(1, (28, 28)))
            super().__init__(vae_torch.Encoder(features, hidden_dim, 3), decoder, 3,
                             (28, 28), "bernoulli")

    source, target = Other(4), Other(4)
    copy_weights(source, target)
    state = source.state_dict().items()
    same(to_arrays(target), {name: tensor.numpy() for name, tensor in state})
    with pytest.raises(ValueError, match=r"features\.1\.weight must have shape \(5, 784\)"):
        copy_weights(source, Other(5))
    with pytest.raises(ValueError, match=r"got architecture .*Other and MLPVAE, "):
        copy_weights(source, make("torch", "MLPVAE"))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_child_counts_as_its_parent(framework):
    child = type("Child", (FRAMEWORKS[framework].MLPVAE,), {})(latent_dim=2, hidden_dim=8)
    model = make("torch", "MLPVAE", latent_dim=2, hidden_dim=8)
    copy_weights(child, model)
    same(to_arrays(child), to_arrays(model))


# Parity -----------------------------------------------------------------------------------------
# Differences are relative: of a log-likelihood or KL to itself, example by example; of a gradient,
# tensor by tensor, to the mean norm of the gradients of single examples. These partly cancel in the
# gradient of the mean loss, and their rounding errors do not cancel with them.
#
# Float32 sums of n terms in two orders differ by about √n · 6e-8 of their size, which is 3e-6 for
# the longest here, n = 3,136. A gradient is a continuous function of what is rounded, except where
# the input of a ReLU changes sign. So we take examples whose ReLU inputs all keep 30 roundings of
# the largest input of their layer away from 0; a flipped sign changes gradients by up to 1e-2.

TOLERANCE = {"float32": 1e-5, "float64": 1e-10}


def away_from_kinks(model, images, noise, num=4):
    """Images and noise of the `num` examples with the largest least distance to a kink."""
    distances = []  # of each ReLU layer (n,), in units of its largest input

    def measure(module, inputs):
        values = inputs[0].flatten(1).abs()  # (n, units)
        distances.append((values / values.max(dim=1, keepdim=True).values).min(dim=1).values)

    hooks = [module.register_forward_pre_hook(measure)
             for module in model.modules() if isinstance(module, torch.nn.ReLU)]
    with torch.no_grad():
        model.elbo_terms(images, noise)
    for hook in hooks:
        hook.remove()
    distance = torch.stack(distances).min(dim=0).values.numpy()  # (n,)
    rows = np.argsort(distance)[-num:]
    assert np.all(distance[rows] > 30 * np.finfo(np.float32).eps / 2)
    return images[rows], noise[rows]


def terms_and_gradients(model, images, noise):
    """Log-likelihood (n,), KL (n,), and the gradients of the mean loss in PyTorch's layout."""
    if isinstance(model, vae_keras.VAE) and keras.backend.backend() == "tensorflow":
        import tensorflow as tf
        with tf.GradientTape() as tape:
            log_likelihood, kl = model.elbo_terms(images, noise)
            loss = keras.ops.mean(kl - log_likelihood)
        gradients = tape.gradient(loss, [w.value for w in model.trainable_variables])
    elif isinstance(model, vae_keras.VAE) and keras.backend.backend() == "jax":
        import jax

        def mean_loss(values):
            with keras.StatelessScope(list(zip(model.trainable_variables, values))):
                log_likelihood, kl = model.elbo_terms(images, noise)
            return (kl - log_likelihood).mean(), (log_likelihood, kl)

        gradients, (log_likelihood, kl) = jax.grad(mean_loss, has_aux=True)(
            [w.value for w in model.trainable_variables])
    else:
        log_likelihood, kl = model.elbo_terms(images, noise)
        weights = list(model.parameters())
        if isinstance(model, vae_keras.VAE):
            weights = [w.value for w in model.trainable_variables]
        gradients = torch.autograd.grad((kl - log_likelihood).mean(), weights)
    terms = [term.detach() if isinstance(term, torch.Tensor) else term
             for term in (log_likelihood, kl)]
    return *map(np.asarray, terms), to_arrays(model, gradients)


def tolerance_of(dtype, architecture):
    """Keras computes some of float64 in float32: matrices on PyTorch, and tanh there and on JAX."""
    in_float32 = {"torch": ARCHITECTURES, "jax": ["MLPVAE"]}.get(keras.backend.backend(), [])
    return TOLERANCE["float32" if architecture in in_float32 else dtype]


@pytest.fixture(scope="module", params=["float32", "float64"])
def dtype(request, float64):
    with float64() if request.param == "float64" else contextlib.nullcontext():
        yield request.param


@pytest.fixture(scope="module", params=ARCHITECTURES)
def pair(request, dtype):
    """The same architecture in both frameworks."""
    return {framework: make(framework, request.param, dtype) for framework in FRAMEWORKS}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("source", "target"), PAIRS[:2])
def test_same_weights_and_noise_give_the_same_terms_and_gradients(
        pair, dtype, source, target, seed):
    seed = [seed, source == "keras"]
    from_arrays(pair[source], random_arrays(pair[source], seed))
    for weight in to_arrays(pair[target]).values():
        assert weight.dtype == dtype
    copy_weights(pair[source], pair[target])
    same(to_arrays(pair[source]), to_arrays(pair[target]))

    rng = np.random.default_rng([*seed, 1])
    noise = rng.standard_normal((12, pair["torch"].latent_dim))
    images, noise = away_from_kinks(pair["torch"], rng.random((12, 28, 28)), noise)
    in_torch = terms_and_gradients(pair["torch"], images, noise)
    in_keras = terms_and_gradients(pair["keras"], images, noise)

    tolerance = tolerance_of(dtype, type(pair["torch"]).__name__)
    for ours, theirs in zip(in_torch[:2], in_keras[:2]):
        assert ours.dtype == theirs.dtype == dtype
        np.testing.assert_allclose(ours, theirs, rtol=tolerance)
    assert list(in_torch[2]) == list(in_keras[2]) == list(to_arrays(pair["torch"]))
    single = [terms_and_gradients(pair["torch"], images[i:i + 1], noise[i:i + 1])[2]
              for i in range(len(images))]
    for name, gradient in in_torch[2].items():
        size = np.mean([np.linalg.norm(gradients[name]) for gradients in single])
        assert np.linalg.norm(gradient) > 1e-3, name  # gradients of zeros would agree too
        assert np.linalg.norm(gradient - in_keras[2][name]) < tolerance * size, name


def first_step(vae, model, images, seed):
    """The loss at the first step of gradient descent, and the gradient: the change, rate 1."""
    before, rate = to_arrays(model), 1.0
    descent = (torch.optim.SGD(model.parameters(), lr=rate) if vae is vae_torch
               else keras.optimizers.SGD(rate))
    history = History(model=model, optimizer=descent, num_examples=len(images), batch_size=12,
                      seed=seed)
    vae.fit(model, images, num_steps=1, batch_size=12, seed=seed, learning_rate=rate,
            recipe="lecture", precision="float32", progress=False, history=history)
    return history["loss"][0], {name: before[name] - array
                                for name, array in to_arrays(model).items()}


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="PyTorch itself, in float32")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_first_step_is_that_of_pytorch(architecture, float64, seed):
    """`fit` as a whole, compiled, in float64: roundings alone; no ReLU is that close to its kink.

    TensorFlow and JAX agree with PyTorch's twin, and so with each other.
    """
    with float64():
        models = [make(framework, architecture, "float64") for framework in FRAMEWORKS]
        for model in models:
            from_arrays(model, random_arrays(models[0], seed))
        images = np.random.default_rng(seed).random((12, 28, 28))
        (loss, gradient), (other_loss, other_gradient) = (
            first_step(vae, model, images, seed) for vae, model in zip(FRAMEWORKS.values(), models))
    tolerance = tolerance_of("float64", architecture)
    np.testing.assert_allclose(other_loss, loss, rtol=tolerance)
    for name, array in gradient.items():
        assert np.linalg.norm(array) > 1e-3, name
        assert np.linalg.norm(array - other_gradient[name]) < tolerance * np.linalg.norm(array)


def test_a_sign_that_flips_in_a_relu_is_why_examples_are_chosen():
    """One unit, its input summed in two orders: 0 or a rounding, and the gradient is 0 or 1."""
    terms = np.float32([1, 1e-8, -1])
    one_way = torch.tensor((terms[0] + terms[1]) + terms[2], requires_grad=True)
    other_way = torch.tensor((terms[0] + terms[2]) + terms[1], requires_grad=True)
    gradients = [torch.autograd.grad(torch.relu(x), x)[0].item() for x in (one_way, other_way)]
    assert gradients == [0, 1]


# Wrong input ------------------------------------------------------------------------------------


def small(framework="torch", **sizes):
    return make(framework, "MLPVAE", **{"latent_dim": 2, "hidden_dim": 8, **sizes})


@pytest.mark.parametrize("first", FRAMEWORKS)
@pytest.mark.parametrize("second", FRAMEWORKS)
@pytest.mark.parametrize(("architecture", "sizes", "message"), [
    ("ConvVAE", {"latent_dim": 2}, "must be alike, got architecture MLPVAE and ConvVAE"),
    ("MLPVAE", {"latent_dim": 3, "hidden_dim": 8}, "got latent_dim 2 and 3$"),
    ("MLPVAE", {"latent_dim": 2, "hidden_dim": 9}, "got hidden_dim 8 and 9$"),
    ("MLPVAE", {"latent_dim": 3, "hidden_dim": 9}, "got latent_dim 2 and 3, hidden_dim 8 and 9$"),
])
def test_unlike_architectures(first, second, architecture, sizes, message):
    source, target = small(first), make(second, architecture, **sizes)
    before = to_arrays(target)
    with pytest.raises(ValueError, match=message):
        copy_weights(source, target)
    same(to_arrays(target), before)


def no_vaes():
    plain = vae_keras.VAE(small("keras").encoder, small("keras").decoder, 2, (28, 28), "bernoulli")
    return {"NoneType": None, "dict": to_arrays(small()), "Sequential": torch.nn.Sequential(),
            "Functional": small("keras").encoder, "the class MLPVAE": vae_torch.MLPVAE,
            "VAE": plain}


@pytest.mark.parametrize("got", ["NoneType", "dict", "Sequential", "Functional",
                                 "the class MLPVAE", "VAE"])
def test_what_is_no_vae(got):
    wrong, model = no_vaes()[got], small()
    before = to_arrays(model)
    for argument, use in [("model", lambda: to_arrays(wrong)),
                          ("model", lambda: from_arrays(wrong, before)),
                          ("source", lambda: copy_weights(wrong, model)),
                          ("target", lambda: copy_weights(model, wrong))]:
        with pytest.raises(TypeError, match=rf"^{argument} must be a ConvVAE.*, got {got}$"):
            use()
    same(to_arrays(model), before)


def with_entry(name, change):
    """The function that spoils one array of a dictionary."""
    return lambda arrays: {**arrays, name: change(arrays[name])}


def with_nan(array):
    array = array.copy()
    array.flat[-1] = np.nan
    return array


BIAS, LAST = "decoder.0.bias", "decoder.2.bias"  # the last array of the model
WRONG_ARRAYS = {
    "a list": (lambda arrays: list(arrays.values()), TypeError, "mapping .* got list"),
    "empty": (lambda arrays: {}, ValueError, r"got none named encoder\.features\.1\.weight, "),
    "missing": (lambda arrays: {n: a for n, a in arrays.items() if n != LAST}, ValueError,
                r"got none named decoder\.2\.bias$"),
    "unknown": (lambda arrays: {**arrays, "extra": np.zeros(1)}, ValueError, "only, got extra$"),
    "a name that is no text": (lambda arrays: {**arrays, 3: np.zeros(1)}, ValueError, "y, got 3$"),
    "transposed": (with_entry("decoder.0.weight", np.transpose), ValueError,
                   r"decoder\.0\.weight must have shape \(8, 2\), got \(2, 8\)"),
    "too short": (with_entry(LAST, lambda a: a[:-1]), ValueError, r"\(784,\), got \(783,\)"),
    "one axis more": (with_entry(LAST, lambda a: a[None]), ValueError, r"got \(1, 784\)"),
    "integers": (with_entry(LAST, lambda a: a.astype(int)), TypeError, r"bias must .* got int64"),
    "truth values": (with_entry(LAST, lambda a: a > 0), TypeError, "got bool"),
    "complex": (with_entry(LAST, lambda a: a + 1j), TypeError, "got complex"),
    "text": (with_entry(LAST, lambda a: a.astype(str)), TypeError, "got <U"),
    "objects": (with_entry(LAST, lambda a: a.astype(object)), TypeError, "got object"),
    "a tensor": (with_entry(LAST, torch.from_numpy), TypeError, "NumPy array, got Tensor"),
    "numbers in a list": (with_entry(LAST, np.ndarray.tolist), TypeError, "got list"),
    "None": (with_entry(LAST, lambda a: None), TypeError, "got NoneType"),
    "NaN": (with_entry(LAST, with_nan), ValueError, r"decoder\.2\.bias must be finite"),
    "infinity": (with_entry(LAST, lambda a: a - np.inf), ValueError, "must be finite"),
    "beyond float32": (with_entry(LAST, lambda a: a.astype(float) + 1e300), ValueError,
                       "must be finite in float32"),
}


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize(("spoil", "error", "message"), WRONG_ARRAYS.values(), ids=WRONG_ARRAYS)
def test_wrong_arrays_change_nothing(framework, spoil, error, message):
    model = small(framework)
    before = to_arrays(model)
    with pytest.raises(error, match=message):
        from_arrays(model, spoil(random_arrays(model, seed=0)))
    same(to_arrays(model), before)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_source_that_has_diverged_is_not_copied(framework):
    source, target = small(), small(framework)
    with torch.no_grad():
        source.decoder[2].bias[0] = torch.nan
    before = to_arrays(target)
    with pytest.raises(ValueError, match=r"decoder\.2\.bias must be finite"):
        copy_weights(source, target)
    same(to_arrays(target), before)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize(("spoil", "error", "message"), [
    (lambda values: values[:-1], ValueError, "values must hold 12 arrays, got 11"),
    (lambda values: [*values, values[0]], ValueError, "values must hold 12 arrays, got 13"),
    (lambda values: [*values[:-1], values[-1][:-1]], ValueError,
     r"values\[11\] must have shape \(784,\), got \(783,\)"),
    (lambda values: [None, *values[1:]], TypeError, r"values\[0\] must be an array, got NoneType"),
    (lambda values: dict(enumerate(values)), TypeError, "values must be a sequence .* got dict"),
], ids=["one less", "one more", "shape", "None", "a dict"])
def test_wrong_values(framework, spoil, error, message):
    model = small(framework)
    if framework == "torch":
        values = [weight.detach() for weight in model.parameters()]
    else:
        values = [keras.ops.convert_to_numpy(weight) for weight in model.trainable_variables]
    same(to_arrays(model, values), to_arrays(model))
    with pytest.raises(error, match=message):
        to_arrays(model, spoil(values))


# Imports ----------------------------------------------------------------------------------------

WITHOUT = """
import sys
sys.modules["{other}"] = None  # an import of it fails
from genmodels.models.conversion import copy_weights, to_arrays
assert "numpy" in sys.modules and not {{"torch", "keras", "tensorflow"}} & {{
    name for name, module in sys.modules.items() if module}}
from genmodels.models.vae_{mine} import MLPVAE
source, target = (MLPVAE(latent_dim=2, hidden_dim=8) for _ in range(2))
copy_weights(source, target)
print(len(to_arrays(target)))
"""


@pytest.mark.parametrize(("mine", "other"), [("torch", "keras"), ("keras", "torch")])
def test_one_framework_suffices(mine, other):
    if mine == "keras" and keras.backend.backend() == "torch":
        pytest.skip("Keras runs on torch here")
    done = subprocess.run([sys.executable, "-c", WITHOUT.format(mine=mine, other=other)], text=True,
                          capture_output=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["12"]
