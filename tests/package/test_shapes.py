"""Models of other data than digits: real fields, spins, periodic lattices, in both frameworks."""

import math
from functools import partial

import keras
import numpy as np
import pytest
import torch
from scipy.special import logsumexp

from genmodels.models import iwae_torch, trained, unet_keras, unet_torch, vae_keras, vae_torch
from genmodels.models.conversion import copy_weights, to_arrays
from genmodels.training import Settings, keras_tensors, torch_tensors
from genmodels.training import keras as keras_training
from genmodels.training import torch as torch_training
from genmodels.validate import check_shape

pytestmark = pytest.mark.keras

RNG = np.random.default_rng(0)
WAVE = 2 * np.sin(np.arange(16) * np.pi / 4)  # something to learn
DATA = {"real fields": (WAVE + RNG.normal(size=(20, 16, 16)), "gaussian"),
        "spins": (RNG.choice([-1.0, 1.0], size=(20, 8, 8), p=[0.1, 0.9]), "spins"),
        "grey pixels": (RNG.random((20, 8, 12)), "bernoulli"),
        "pixels of unit variance": (RNG.random((20, 8, 12)), "gaussian-pixels")}
VAES = {"torch": vae_torch, "keras": vae_keras}
UNETS = {"torch": unet_torch, "keras": unet_keras}
# Batches of one size: Keras compiles another step for a smaller last one, as in test_vae.
SETTINGS = {"num_steps": 10, "batch_size": 10, "learning_rate": 0.003, "recipe": "lecture",
            "progress": False}
each_vae = pytest.mark.parametrize("vae", VAES.values(), ids=VAES)
each_data = pytest.mark.parametrize(("x", "likelihood"), DATA.values(), ids=DATA)


def as_numpy(tensor):
    return tensor.detach().numpy() if isinstance(tensor, torch.Tensor) else np.asarray(tensor)


def make(vae, name, x, likelihood, **arguments):
    keras.utils.set_random_seed(0)
    torch.manual_seed(0)
    return getattr(vae, name)(latent_dim=2, shape=x.shape[1:], likelihood=likelihood, **arguments)


@each_vae
@each_data
@pytest.mark.parametrize("name", ["ConvVAE", "MLPVAE"])
def test_a_vae_of_any_shape_learns(vae, name, x, likelihood):
    model = make(vae, name, x, likelihood)
    before = np.mean(np.subtract(*vae.evaluate(model, x)))
    history = vae.fit(model, x, **SETTINGS)
    assert set(history.terms) == {"loss", "log_likelihood", "kl"}
    assert np.mean(np.subtract(*vae.evaluate(model, x))) > before
    assert tuple(model.decode(np.zeros((3, 2), np.float32)).shape) == (3, *x.shape[1:])


@each_vae
@each_data
@pytest.mark.parametrize("name", ["ConvVAE", "MLPVAE"])
def test_N1_the_likelihood_is_that_of_torch_distributions(vae, name, x, likelihood):
    model = make(vae, name, x, likelihood)
    h = np.float32(RNG.normal(size=(20, 2)))
    output = torch.tensor(as_numpy(model.decoder(model._tensor(h))), dtype=torch.float64)
    data = torch.tensor(x)
    if likelihood in ("bernoulli", "spins"):
        p = torch.distributions.Bernoulli(logits=output, validate_args=False)
        expected = p.log_prob(data if likelihood == "bernoulli" else (data + 1) / 2)
        mean = p.mean if likelihood == "bernoulli" else 2 * p.mean - 1
    else:
        mean = output + (0.5 if likelihood == "gaussian-pixels" else 0)
        expected = torch.distributions.Normal(mean, 1.0).log_prob(data)
    ours = as_numpy(model._log_likelihood(model._tensor(x), model.decoder(model._tensor(h))))
    size = math.prod(x.shape[1:])
    eps = float(np.finfo(np.float32).eps)
    # Float32: the worst-case rounding of a sum of terms of one sign; some roundings of a mean.
    np.testing.assert_allclose(ours, expected.sum(dim=(1, 2)), rtol=size * eps)
    np.testing.assert_allclose(as_numpy(model.decode(h)), mean, rtol=0, atol=16 * eps)


@each_data
@pytest.mark.parametrize("arguments", [{}, {"periodic": True}], ids=["edges", "periodic"])
@pytest.mark.parametrize("name", ["ConvVAE", "MLPVAE"])
def test_both_frameworks_have_the_same_terms(name, arguments, x, likelihood):
    if name == "MLPVAE" and arguments:
        pytest.skip("no neighbours: nothing is periodic")
    in_keras = make(vae_keras, name, x, likelihood, **arguments)
    in_torch = make(vae_torch, name, x, likelihood, **arguments)
    copy_weights(in_keras, in_torch)
    noise = np.float32(RNG.normal(size=(20, 2)))
    for ours, theirs in zip(in_torch.elbo_terms(x, noise), in_keras.elbo_terms(x, noise)):
        # a KL of the size 0.001 is a difference of numbers of the size 1: some roundings of 6e-8
        np.testing.assert_allclose(as_numpy(ours), as_numpy(theirs), rtol=1e-5, atol=1e-6)


@each_vae
def test_a_periodic_vae_knows_no_edge(vae):
    """Shifted by four sites, the least that its strides allow, everything is shifted."""
    x = RNG.normal(size=(3, 16, 12))
    model = make(vae, "ConvVAE", x, "gaussian", periodic=True)
    wide = make(vae, "ConvVAE", x, "gaussian")
    for each, same in ((model, True), (wide, False)):
        deviations = [shift_of_decoder(vae, each), shift_of_encoder(vae, each, x)]
        # Float32 rounding of activations of the size 1; what an edge changes is far larger.
        assert all((deviation < 1e-5) == same for deviation in deviations), deviations


def layers_after(model, kind):
    names = [type(layer).__name__ for layer in model.layers]
    return model.layers[names.index(kind) + 1:]


def run(layers, y):
    for layer in layers:
        y = layer(y)
    return as_numpy(y)


def shift_of_decoder(vae, model):
    if vae is vae_torch:
        y = torch.randn(2, 64, 4, 3)
        layers, axis = model.decoder[3:], 3
        moved = run(layers, torch.roll(y, 1, axis))
    else:
        y = np.float32(RNG.normal(size=(2, 4, 3, 64)))
        layers = layers_after(model.decoder, "Reshape")
        moved = run(layers, np.roll(y, 1, 2))
    return np.abs(np.roll(run(layers, y), 4, 2) - moved).max()


def shift_of_encoder(vae, model, x):
    x = np.float32(x)
    if vae is vae_torch:
        layers, axis = model.encoder.features[:7], 2
        return np.abs(np.roll(run(layers, torch.tensor(x)), 1, axis)
                      - run(layers, torch.tensor(np.roll(x, 4, 1)))).max()
    names = [type(layer).__name__ for layer in model.encoder.layers]
    layers = model.encoder.layers[1:names.index("Flatten")]
    return np.abs(np.roll(run(layers, x), 1, 1) - run(layers, np.roll(x, 4, 1))).max()


@pytest.mark.parametrize("unet", UNETS.values(), ids=UNETS)
@pytest.mark.parametrize(("name", "precision", "arguments"), [
    ("real fields", "float32", {"pixels": False, "num_labels": 0, "periodic": True}),
    ("spins", "bfloat16", {"pixels": False, "num_labels": 2, "periodic": True}),
    ("spins", "float32", {"pixels": False, "num_labels": 0}),
    ("grey pixels", "bfloat16", {"num_labels": 3})])
def test_a_unet_of_any_shape_and_edge_learns_in_either_precision(unet, name, precision, arguments):
    keras.utils.set_random_seed(0)
    torch.manual_seed(0)
    x = DATA[name][0]
    model = unet.UNet((16, 16, 16), shape=x.shape[1:], **arguments)
    labels = None if arguments["num_labels"] == 0 else np.arange(20) % arguments["num_labels"]
    before = unet.loss_terms(model, x, labels).mean()
    unet.fit(model, x, labels, precision=precision, **SETTINGS)
    assert unet.loss_terms(model, x, labels).mean() < before
    estimate = model.denoiser(labels)(x, 0.5)
    assert estimate.shape == x.shape and np.all(np.isfinite(estimate))


@pytest.mark.parametrize("periodic", [True, False])
def test_unets_of_both_frameworks_agree_and_a_periodic_one_knows_no_edge(periodic):
    x = RNG.normal(size=(4, 16, 8))
    keras.utils.set_random_seed(0)
    torch.manual_seed(0)
    in_torch, in_keras = (module.UNet((16, 16, 24), shape=(16, 8), num_labels=0, pixels=False,
                                      periodic=periodic) for module in UNETS.values())
    with torch.no_grad():
        for weight in in_torch.parameters():
            weight += 0.1 * torch.randn(weight.shape)
    copy_weights(in_torch, in_keras)
    estimate = in_torch.denoiser()(x, 0.3)
    # x̂_0 is of the size 1, after some twenty layers in float32: roundings, not an edge.
    np.testing.assert_allclose(in_keras.denoiser()(x, 0.3), estimate, rtol=0, atol=1e-4)
    moved = in_torch.denoiser()(np.roll(x, 4, axis=1), 0.3)  # pooled twice
    assert (np.abs(moved - np.roll(estimate, 4, axis=1)).max() < 1e-4) == periodic


@pytest.mark.parametrize(("name", "likelihood"), [("real fields", "gaussian"), ("spins", "spins")])
def test_the_importance_weighted_bound_of_fields_and_spins(name, likelihood):
    """The data are left as they are: the bound of a batch of all is that of `log_weights`."""
    x = DATA[name][0]
    model = vae_torch.MLPVAE(2, 8, shape=x.shape[1:], likelihood=likelihood)
    before = iwae_torch.log_weights(model, x, 2000, progress=False)
    settings = SETTINGS | {"num_steps": 1, "batch_size": len(x), "learning_rate": 1e-9}
    history = iwae_torch.fit(model, x, num_importance_samples=2000, **settings)
    bounds = logsumexp(before, axis=1) - np.log(2000)
    # the two draw their own noise: that of the mean of bounds, to first order
    weights = np.exp(before - before.max(axis=1, keepdims=True))
    error = np.sqrt(np.mean(weights.var(axis=1) / weights.mean(axis=1) ** 2 / 2000 / len(x)))
    assert abs(history["loss"][0] + bounds.mean()) < 5 * np.sqrt(2) * error


@pytest.mark.parametrize("name", ["periodic", "pixels"])
def test_a_flag_is_true_or_false(name):
    for module, kind in ((unet_torch, "UNet"), (unet_keras, "UNet"), (vae_torch, "ConvVAE"),
                         (vae_keras, "ConvVAE")):
        if name == "periodic" or kind == "UNet":
            with pytest.raises(TypeError, match=f"{name} must be True or False, got 'no'"):
                getattr(module, kind)(**{name: "no"})


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_vaes_of_any_edge_are_trained_in_either_precision(periodic, precision):
    x = DATA["spins"][0]
    run = {"num_steps": 2, "batch_size": 10, "progress": False, "precision": precision}
    for vae in (vae_torch, vae_keras):
        model = vae.ConvVAE(2, shape=(8, 8), likelihood="spins", periodic=periodic)
        assert np.isfinite(vae.fit(model, x, **run)["loss"][0])


def test_the_iwae_has_any_shape():
    x = RNG.choice([0.0, 1.0], size=(20, 8, 8), p=[0.1, 0.9])
    model = iwae_torch.BinaryVAE(latent_dim=2, hidden_dim=8, shape=(8, 8))
    history = iwae_torch.fit(model, x, num_importance_samples=3, **SETTINGS | {"num_steps": 30})
    assert history["loss"][-1] < history["loss"][0]
    assert iwae_torch.log_weights(model, x, 5, progress=False).shape == (20, 5)


def test_what_is_saved_in_keras_comes_back_with_its_shape(tmp_path):
    for model in (make(vae_keras, "ConvVAE", DATA["spins"][0], "spins", periodic=True),
                  unet_keras.UNet((16, 16, 16), shape=(8, 12), num_labels=2, pixels=False,
                                  periodic=True)):
        model.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras")
        assert again.shape == model.shape and again.periodic
        for name, array in to_arrays(model).items():
            np.testing.assert_array_equal(to_arrays(again)[name], array)


@pytest.mark.parametrize("periodic", [True, False])
def test_a_convolution_of_keras_comes_back_from_its_configuration(periodic):
    layer = unet_keras.Convolution(4, 3, periodic)
    again = unet_keras.Convolution.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert (again.wrap is not None) == periodic
    assert again(np.zeros((1, 8, 4, 2))).shape == (1, 8, 4, 4)


def test_a_shape_of_three_axes_is_converted_as_it_is():
    in_torch, in_keras = (vae.MLPVAE(2, 8, shape=(2, 3, 4), likelihood="gaussian")
                          for vae in VAES.values())
    copy_weights(in_torch, in_keras)
    x, noise = RNG.normal(size=(5, 2, 3, 4)), RNG.normal(size=(5, 2))
    for ours, theirs in zip(in_torch.elbo_terms(x, noise), in_keras.elbo_terms(x, noise)):
        np.testing.assert_allclose(as_numpy(ours), as_numpy(theirs), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("framework", ["torch", "keras"])
@pytest.mark.parametrize("number", [np.int64, np.uint8])
def test_sizes_may_be_numbers_of_numpy(framework, number, tmp_path):
    """As `labels.max() + 1` is one."""
    unet, vae = UNETS[framework], VAES[framework]
    model = unet.UNet(tuple(map(number, (16, 16, 16))), shape=(8, 8), num_labels=number(3))
    assert np.all(np.isfinite(model.denoiser()(np.zeros((2, 8, 8)), 0.3)))
    for each in (model, vae.MLPVAE(number(2), number(8), shape=(number(8), number(8))),
                 vae.ConvVAE(number(2), shape=(number(8), number(8)))):
        trained.save(each, "model", {}, tmp_path)
        trained.load(each, "model", tmp_path)
        if framework == "keras":
            each.save(tmp_path / "model.keras")
            assert keras.saving.load_model(tmp_path / "model.keras").shape == (8, 8)


def test_unlike_edges_or_likelihoods_are_no_copies(tmp_path):
    plain, periodic = (vae_torch.ConvVAE(shape=(8, 8), periodic=value) for value in (False, True))
    with pytest.raises(ValueError, match=r"got periodic False and True$"):
        copy_weights(plain, periodic)
    trained.save(plain, "plain", {}, tmp_path)
    trained.load(vae_torch.ConvVAE(shape=(8, 8)), "plain", tmp_path)
    for other, what in ((periodic, "periodic=False"), (vae_torch.ConvVAE(
            shape=(8, 8), likelihood="gaussian"), "likelihood=bernoulli")):
        with pytest.raises(ValueError, match=f"model must have {what}"):
            trained.load(other, "plain", tmp_path)


def test_layers_of_keras_know_that_they_are_trained():
    """Dropout of everything: the loss is that of zeros."""
    inner = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, use_bias=False)])
    outer = keras.Sequential([keras.Input((3,)), keras.layers.Dropout(0.999999), inner])
    history = keras_training.train(
        outer, (np.ones((8, 3)),), lambda batch: {"loss": outer(batch.data[0])[:, 0] ** 2},
        Settings(num_steps=1, progress=False))
    assert history["loss"] == [0.0]


# Bad input --------------------------------------------------------------------------------------

WRONG_SHAPES = [(0, TypeError), ((), TypeError), ("ab", TypeError), ((8, 0), ValueError),
                ((8.0, 8), TypeError), ((-8, 8), ValueError)]
FOR_HALVING = [((6, 8), ValueError), ((8,), ValueError), ((8, 8, 8), ValueError)]


@pytest.mark.parametrize(("wrong", "multiple", "error"), [
    *((wrong, multiple, error) for wrong, error in WRONG_SHAPES for multiple in (1, 4)),
    *((wrong, 4, error) for wrong, error in FOR_HALVING)])
def test_wrong_shapes(wrong, multiple, error):
    with pytest.raises(error, match=r"shape must be .*, got"):
        check_shape(wrong, multiple)


@pytest.mark.parametrize("model", [vae_torch.MLPVAE, vae_keras.MLPVAE, vae_torch.ConvVAE,
                                   vae_keras.ConvVAE, unet_torch.UNet, unet_keras.UNet])
def test_shapes_that_a_model_cannot_take(model):
    with pytest.raises(TypeError, match="shape must be a tuple of positive integers"):
        model(shape=0)
    if "MLP" not in model.__name__:
        with pytest.raises(ValueError, match="shape must be two multiples of 4"):
            model(shape=(6, 8))


@each_vae
@pytest.mark.parametrize(("likelihood", "spoil", "error", "message"), [
    ("gaussian", lambda x: x[:, :7], ValueError, r"shape \(n, 8, 8\) .*got \(20, 7, 8\)"),
    ("gaussian", lambda x: (10 * x).astype(int), TypeError, "int64"),
    ("gaussian", lambda x: np.where(np.arange(20)[:, None, None] == 3, np.nan, x), ValueError,
     r"NaN or infinity, first at \(3, 0, 0\)"),
    ("bernoulli", lambda x: 2 * x, ValueError, "values from"),
    ("spins", lambda x: 2 * x, ValueError, r"floats in \[-1, 1\] .*, got values from \S+ to \S+$"),
    ("spins", lambda x: x / 2, ValueError, r"-1 or 1, got .* at \(0, 0, 0\)"),
    ("spins", lambda x: (x > 0.5) * 1.0, ValueError, r"-1 or 1, got 0")])
def test_data_that_do_not_fit_the_likelihood(vae, likelihood, spoil, error, message):
    model = make(vae, "MLPVAE", np.zeros((1, 8, 8)), likelihood, hidden_dim=4)
    wrong = spoil(RNG.random((20, 8, 8)))
    for use in (lambda: vae.fit(model, wrong, **SETTINGS), lambda: vae.evaluate(model, wrong),
                lambda: model.encode(wrong)):
        with pytest.raises(error, match=message):
            use()


@each_vae
@pytest.mark.parametrize("wrong", ["normal", None, 3])
def test_likelihoods_that_there_are_not(vae, wrong):
    with pytest.raises(ValueError, match="likelihood must be one of 'bernoulli'"):
        vae.MLPVAE(likelihood=wrong)


@pytest.mark.parametrize("train", [torch_training.train, keras_training.train])
@pytest.mark.parametrize(("data", "error"), [
    (np.ones((4, 3)), TypeError), ((), TypeError), (([[1.0]],), TypeError),
    ((np.ones((4, 3)), np.ones((5, 3))), ValueError), ((np.ones((0, 3)),), ValueError)])
def test_data_that_are_no_examples(train, data, error):
    with pytest.raises(error, match=r"^data(\[0\])? must .*, got "):
        train(None, data, dict, Settings(num_steps=1))


@pytest.mark.parametrize(("place", "kinds"), [
    (partial(torch_tensors.place, torch.zeros(1)), (np.array, torch.tensor)),
    (lambda array: keras_tensors.placed(keras.Sequential([keras.Input((1,))]), array),
     (np.array, keras.ops.convert_to_tensor))], ids=["torch", "keras"])
def test_truth_values_are_zeros_and_ones_in_arrays_and_tensors_alike(place, kinds):
    for kind in kinds:
        assert "float32" in str(place(kind([True, False])).dtype)
        assert "int" in str(place(kind([1, 0])).dtype)


def bad_loss(name):
    weight = torch.nn.Linear(3, 1)
    losses = {"no dictionary": lambda batch: weight(batch.data[0])[:, 0],
              "no loss": lambda batch: {"kl": weight(batch.data[0])[:, 0]},
              "a matrix": lambda batch: {"loss": weight(batch.data[0])},
              "a mean": lambda batch: {"loss": weight(batch.data[0]).mean()},
              "integers": lambda batch: {"loss": torch.ones(4, dtype=torch.int64)},
              "an array": lambda batch: {"loss": np.ones(4)},
              "no gradient": lambda batch: {"loss": weight(batch.data[0])[:, 0].detach()},
              "an objective for each": lambda batch: {"loss": weight(batch.data[0])[:, 0],
                                                      "objective": weight(batch.data[0])[:, 0]}}
    return weight, losses[name]


@pytest.mark.parametrize(("name", "error"), [
    ("no dictionary", TypeError), ("no loss", TypeError), ("a matrix", ValueError),
    ("a mean", ValueError), ("an objective for each", ValueError), ("integers", TypeError),
    ("an array", TypeError), ("no gradient", ValueError)])
def test_what_batch_loss_must_return(name, error):
    model, batch_loss = bad_loss(name)
    with pytest.raises(error, match="batch_loss must return"):
        torch_training.train(model, (np.ones((4, 3)),), batch_loss, Settings(num_steps=1))


@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_train_names_the_first_number_that_is_not_finite(framework):
    x = np.zeros((4, 3))
    settings = Settings(num_steps=1, progress=False)
    for bad in (np.nan, 1e300):  # 1e300 is infinite in float32
        x[1, 2] = bad
        with pytest.raises(ValueError, match=r"data\[1\] must be finite .* at index \(1, 2\)"):
            if framework == "torch":
                torch_training.train(torch.nn.Linear(3, 1), (np.zeros(4), x), dict, settings)
            else:
                model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
                keras_training.train(model, (np.zeros(4), x), dict, settings)


def test_what_draw_must_return():
    model, x = torch.nn.Linear(3, 1), np.ones((4, 3))
    for wrong in (np.ones((4, 1)), (np.ones((3, 1)),)):
        with pytest.raises(ValueError, match="draw must return a tuple of arrays of 4 rows"):
            torch_training.train(model, (x,), dict, Settings(num_steps=1, progress=False),
                                 draw=lambda *a, wrong=wrong: wrong)
    for arguments, message in ((((x,), 3, Settings(num_steps=1)), "batch_loss must be a function"),
                               (((x,), dict, {"num_steps": 1}), "settings must be a Settings")):
        with pytest.raises(TypeError, match=message):
            torch_training.train(model, *arguments)


def test_the_loss_of_the_last_batch_in_keras():
    """It is smaller than the first; its loss is a number where there must be one for each."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])

    def batch_loss(batch):
        loss = model(batch.data[0])[:, 0]
        return {"loss": loss if batch.data[0].shape[0] == 4 else keras.ops.mean(loss)}

    with pytest.raises(ValueError, match="batch_loss must return 'loss' of shape"):
        keras_training.train(model, (np.ones((6, 3)),), batch_loss,
                             Settings(num_steps=2, batch_size=4, progress=False))
