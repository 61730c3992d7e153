"""The importance-weighted autoencoder: its gradient, its training, its evaluation."""

import numpy as np
import pytest
import torch

from genmodels import bounds
from genmodels.models import iwae_torch, vae_torch
from genmodels.models.iwae_torch import BinaryVAE, binarise, fit, log_weights, surrogate_loss
from genmodels.models.vae_torch import MLPVAE, ConvVAE
from genmodels.training import Batch, torch_tensors
from genmodels.training.torch_parallel import Share

GREY = np.random.default_rng(0).random((10, 28, 28), dtype=np.float32)
BINARY = (GREY < 0.3).astype(np.float32)
SETTINGS = {"batch_size": 4, "recipe": "lecture", "progress": False}


def small(seed=0):
    torch.manual_seed(seed)
    model = BinaryVAE(latent_dim=2, hidden_dim=8)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.3 * torch.randn(weight.shape)
    return model


def test_size():
    model = BinaryVAE()
    assert sum(p.numel() for p in model.encoder.parameters()) == 217_300
    assert sum(p.numel() for p in model.decoder.parameters()) == 207_984


def test_the_start():
    """Glorot's variance, 2/(n_in + n_out), and zero biases; then the mean image."""
    torch.manual_seed(0)
    for layer in BinaryVAE().modules():
        if isinstance(layer, torch.nn.Linear):
            n_out, n_in = layer.weight.shape
            squares = layer.weight.detach() ** 2 * (n_in + n_out) / 2  # mean 1, variance 4/5
            assert abs(squares.mean() - 1) < 5 * (0.8 / squares.numel()) ** 0.5
            assert not layer.bias.any()
    mean_image = GREY.mean(axis=0)
    mean_image[0] = 0
    mean_image[1] = 1
    at_zero = BinaryVAE(mean_image=mean_image).decode(torch.zeros(1, 50))[0].detach()
    assert 0 < at_zero.min() < 0.00101 and 0.99899 < at_zero.max() < 1
    torch.testing.assert_close(at_zero, torch.from_numpy(mean_image), rtol=0, atol=0.001)


def test_the_likelihood_is_that_of_bernoulli_pixels():
    """Against torch.distributions, constants included (N1)."""
    model = small()
    noise = torch.randn(10, 2)
    mean, log_var = model.encode(BINARY)
    pixels = torch.distributions.Bernoulli(model.decode(mean + torch.exp(log_var / 2) * noise))
    expected = pixels.log_prob(torch.from_numpy(BINARY)).sum(dim=(1, 2))
    torch.testing.assert_close(model.elbo_terms(BINARY, noise)[0], expected, rtol=1e-5, atol=0)


def test_binarise_draws_each_pixel_with_its_grey_value():
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([binarise(GREY, generator) for _ in range(400)])
    assert set(draws.unique().tolist()) == {0.0, 1.0}
    error = draws.mean(dim=0) - torch.from_numpy(GREY)  # standard error √(p (1 − p) / 400)
    z = error / torch.from_numpy(np.sqrt(GREY * (1 - GREY) / 400) + 1e-9)
    assert abs(z.mean()) < 5 / np.sqrt(GREY.size)
    assert 0.95 < z.std() < 1.05  # 7,840 pixels: standard error 0.008
    assert not torch.equal(draws[0], draws[1])
    with pytest.raises(ValueError, match="255"):
        binarise(255 * GREY, generator)


@pytest.fixture
def mode():
    """A function that switches the deterministic mode on or off."""
    yield torch_tensors.set_deterministic_mode
    torch_tensors.set_deterministic_mode(False)


@pytest.mark.parametrize(("num_samples", "deterministic"), [(1, False), (5, False), (5, True)])
def test_N2_the_gradient_of_the_bound(num_samples, deterministic, mode):
    """The mean of the one-sample gradients against autograd through logsumexp, the noise fixed."""
    mode(deterministic)
    model = small().double()
    x = torch.from_numpy(BINARY).double()
    noise = torch.randn(10, num_samples, 2, dtype=torch.float64)
    weight = model.decoder[0].weight  # (8, 2)
    bound = torch.logsumexp(model.log_weights(x, noise), dim=1) - np.log(num_samples)
    (exact,) = torch.autograd.grad(-bound.mean(), weight)
    generator = torch.Generator().manual_seed(0)
    gradients = []
    for _ in range(400 if num_samples > 1 else 2):
        loss, bounds_of_x, _ = surrogate_loss(model, x, noise, generator)
        torch.testing.assert_close(bounds_of_x, bound.detach())
        gradients.append(torch.autograd.grad(loss, weight)[0])
    gradients = torch.stack(gradients)
    if num_samples == 1:
        torch.testing.assert_close(gradients[0], exact)  # float64 rounding
        return
    error = gradients.std(dim=0) / np.sqrt(len(gradients))
    assert torch.all(abs(gradients.mean(dim=0) - exact) < 5 * error)
    assert error.max() > 0 and error.max() < 0.2 * abs(exact).max()  # the check can fail


@pytest.mark.parametrize("deterministic", [False, True])
def test_the_samples_of_a_share_are_those_of_the_whole_batch(deterministic, mode):
    """Drawn with the probabilities of the weights: 4,000 draws, a chi-squared of 6 · 9 freedoms."""
    mode(deterministic)
    weights = torch.from_numpy(0.05 + np.random.default_rng(0).dirichlet(np.ones(10), 6) / 2)
    draws = []
    for seed in range(800):
        drawn = [iwae_torch._drawn(rows, torch.Generator().manual_seed(seed), batch)
                 for rows, batch in [(weights, Batch((weights,), (), 0.0, 0))] + [
                     (weights[share.own], share.batch((weights[share.own],), (), 0.0, 0))
                     for share in (Share(6, 0, 2), Share(6, 1, 2))]]
        assert torch.equal(drawn[0], torch.cat(drawn[1:]))
        draws.append(drawn[0])
    counts = torch.nn.functional.one_hot(torch.cat(draws, dim=1), 10).sum(dim=1)  # (6, 10)
    expected = weights * 4000
    chi_squared = ((counts - expected) ** 2 / expected).sum()
    assert abs(chi_squared - 54) < 5 * np.sqrt(2 * 54)


def test_N2_the_encoders_gradient_has_the_right_mean_and_less_noise():
    """Over fresh noise, against autograd through logsumexp with all terms (K = 20)."""
    model = small().double()
    x = torch.from_numpy(BINARY).double()
    weight = model.encoder.mean.weight
    generator, ours, plain = torch.Generator().manual_seed(0), [], []
    for _ in range(400):
        noise = torch.randn(len(x), 20, 2, dtype=torch.float64, generator=generator)
        loss, *_ = surrogate_loss(model, x, noise, generator)
        ours.append(torch.autograd.grad(loss, weight)[0])
        bound = torch.logsumexp(model.log_weights(x, noise), dim=1)
        plain.append(torch.autograd.grad(-bound.mean(), weight)[0])
    ours, plain = torch.stack(ours), torch.stack(plain)
    error = torch.hypot(ours.std(dim=0), plain.std(dim=0)) / np.sqrt(len(ours))
    assert torch.all(abs(ours.mean(dim=0) - plain.mean(dim=0)) < 5 * error)
    assert error.max() < 0.1 * abs(plain.mean(dim=0)).max()  # the check can fail
    assert ours.std(dim=0).mean() < plain.std(dim=0).mean()  # though five samples stand for all


def test_log_weights_do_not_depend_on_how_they_are_divided():
    model = small()
    weights = log_weights(model, BINARY, 30, seed=3, progress=False)
    assert weights.shape == (10, 30) and weights.dtype == np.float32
    for pieces in (7, 1000):
        again = log_weights(model, BINARY, 30, seed=3, samples_per_pass=pieces, progress=False)
        np.testing.assert_allclose(again, weights, rtol=1e-5)  # sums of 784 float32 terms
    assert np.all(log_weights(model, BINARY, 30, seed=4, progress=False) != weights)
    first = log_weights(model, BINARY[:3], 30, seed=3, progress=False)
    np.testing.assert_allclose(first, weights[:3], rtol=1e-5)


def test_N2_the_history_and_the_evaluation_agree():
    """With a learning rate of almost zero, the history's bounds are those of `bounds`."""
    for num_samples in (1, 8):
        model = small()
        history = fit(model, BINARY, num_importance_samples=num_samples, num_epochs=200,
                      batch_size=10, learning_rate=1e-12, recipe="lecture", progress=False)
        weights = log_weights(model, BINARY, 1600, progress=False)
        expected = bounds.importance_weighted_bound(weights, num_samples)
        groups = weights.reshape(10, -1, num_samples)
        spread = (np.logaddexp.reduce(groups, axis=2) - np.log(num_samples)).std(axis=1)
        error = np.sqrt(np.mean(spread**2) / 10 * (1 / 200 + num_samples / 1600))
        assert abs(np.mean(history["loss"]) + expected.mean()) < 5 * error
        losses = np.subtract(history["kl"], history["log_likelihood"])
        np.testing.assert_allclose(losses, history["loss"],
                                   rtol=1e-5)


@pytest.mark.parametrize("num_samples", [1, 5])
def test_training_improves_the_bound_and_is_reproducible(num_samples):
    losses = []
    for _ in range(2):
        history = fit(small(), GREY, num_importance_samples=num_samples, num_epochs=8,
                      batch_size=4, progress=False)
        losses.append(history["loss"])
    assert losses[0] == losses[1] and losses[0][-1] < losses[0][0]
    other = fit(small(), GREY, num_importance_samples=num_samples, num_epochs=1, batch_size=4,
                seed=1, progress=False)
    assert other["loss"][0] != losses[0][0]


def test_a_run_in_pieces_equals_one_run():
    whole, pieces = small(), small()
    history = fit(whole, GREY, num_importance_samples=3, num_steps=7, **SETTINGS)
    first = fit(pieces, GREY, num_importance_samples=3, num_steps=2, **SETTINGS)
    fit(pieces, GREY, num_importance_samples=3, num_steps=5, history=first, **SETTINGS)
    assert first["loss"] == history["loss"]
    for ours, theirs in zip(pieces.parameters(), whole.parameters()):
        assert torch.equal(ours, theirs)


def test_a_nan_loss_gives_the_last_good_weights_back():
    model = small()
    history = fit(model, GREY, num_steps=1, **SETTINGS)
    with pytest.raises(FloatingPointError, match="NaN or infinite at step"):
        fit(model, GREY, num_steps=50, history=history, **SETTINGS, learning_rate=1e30)
    assert all(torch.isfinite(weight).all() for weight in model.parameters())
    assert history.num_steps == 1


def test_numbers_of_samples_are_checked():
    with pytest.raises(ValueError, match="num_importance_samples must be a positive integer"):
        fit(small(), GREY, num_importance_samples=0, num_steps=1, progress=False)
    for name in ("num_samples", "samples_per_pass"):
        with pytest.raises(ValueError, match=f"{name} must be a positive integer"):
            log_weights(small(), BINARY, **{"num_samples": 3, name: 0})


def test_wrong_images():
    for use in (lambda x: fit(small(), x, num_steps=1), lambda x: log_weights(small(), x, 2)):
        with pytest.raises(ValueError, match="shape"):
            use(GREY[0])


LIKELIHOODS = {  # what claims to be one, or a weight with one in it
    "elbo_terms": lambda x: small().elbo_terms(x),
    "log_weights of the model": lambda x: small().log_weights(x, torch.zeros(len(x), 3, 2)),
    "evaluate": lambda x: vae_torch.evaluate(small(), x),
    "fit": lambda x: vae_torch.fit(small(), x, num_steps=1, progress=False),
    "log_weights": lambda x: log_weights(small(), x, 3, progress=False),
    "log_weights of a ConvVAE": lambda x: log_weights(ConvVAE(), x, 3, progress=False),
    "log_weights of ConvVAE's own": lambda x: ConvVAE().log_weights(x, torch.zeros(len(x), 3, 2)),
}


@pytest.mark.parametrize("use", LIKELIHOODS.values(), ids=LIKELIHOODS)
def test_grey_images_have_no_bernoulli_likelihood(use):
    one_grey_pixel = BINARY.copy()
    one_grey_pixel[3, 4, 5] = 0.999
    for grey in (GREY, one_grey_pixel, torch.from_numpy(GREY)):
        with pytest.raises(ValueError, match="must hold zeros and ones, got grey values"):
            use(grey)
    use(BINARY)


def test_grey_images_have_a_gaussian_density_and_a_code():
    assert np.isfinite(log_weights(MLPVAE(), GREY, 3, progress=False)).all()
    assert small().encode(GREY)[0].shape == (10, 2)
    assert small().reconstruct(GREY).shape == (10, 28, 28)


def test_autocast_does_not_change_log_weights():
    for model in (small(), BinaryVAE(), ConvVAE(), MLPVAE()):
        expected = log_weights(model, BINARY, 7, progress=False)
        with torch.autocast("cpu", torch.bfloat16):
            assert model.decoder(torch.zeros(1, model.latent_dim)).dtype == torch.bfloat16
            inside = log_weights(model, BINARY, 7, progress=False)
        np.testing.assert_array_equal(inside, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_models_of_low_precision_have_no_log_weights(dtype):
    with pytest.raises(TypeError, match=r"model must be of float32 or float64, got .*float16 in"):
        log_weights(small().to(dtype), BINARY, 3)
    assert log_weights(small().double(), BINARY, 3, progress=False).dtype == np.float32


def test_a_mean_image_of_half_precision_is_not_computed_with_in_it():
    half = GREY[0].astype(np.float16)
    biases = [BinaryVAE(2, 8, mean_image=image).decoder[-2].bias for image in
              (half, half.astype(np.float32))]
    assert torch.equal(*biases)


@pytest.mark.parametrize("size", ["latent_dim", "hidden_dim"])
def test_wrong_sizes(size):
    with pytest.raises(ValueError, match=f"{size} must be a positive integer"):
        BinaryVAE(**{size: 0})


@pytest.mark.parametrize("wrong", [GREY, GREY[0, 0], 3.0, 255 * GREY[0], np.full((28, 28), np.nan)])
def test_wrong_mean_images(wrong):
    with pytest.raises(ValueError, match="mean_image"):
        BinaryVAE(mean_image=wrong)


def test_it_is_a_vae_like_the_others():
    model = small()
    assert model.sample(3, seed=0).shape == (3, 28, 28)
    assert torch.all((model.reconstruct(BINARY) >= 0) & (model.reconstruct(BINARY) <= 1))
    assert iwae_torch.History is fit(model, BINARY, num_steps=1, **SETTINGS).__class__
