"""What only the PyTorch VAEs have: autograd, float64, devices, the optimiser's step."""

import signal

import numpy as np
import pytest
import torch

from genmodels.models.vae_torch import MLPVAE, ConvVAE, evaluate, fit
from genmodels.training import torch_tensors

IMAGES = np.random.default_rng(1).random((6, 28, 28), dtype=np.float32)


@pytest.mark.parametrize("make", [ConvVAE, lambda: MLPVAE(latent_dim=2, hidden_dim=16)])
def test_G5_gradient_through_the_sample_is_that_of_finite_differences(make):
    """With the noise held fixed, d(log_likelihood − kl)/d(a weight), in float64."""
    torch.manual_seed(0)
    model = make().double()
    noise = torch.randn(6, 2, dtype=torch.float64)

    def elbo():
        log_likelihood, kl = model.elbo_terms(IMAGES, noise)
        return (log_likelihood - kl).mean()

    elbo().backward()
    step = 1e-5  # error: step² from the expansion, 1e-16 · |ELBO| / step ~ 1e-8 from rounding
    for weight in (model.encoder.mean.bias, model.encoder.log_var.bias, model.decoder[0].bias):
        assert abs(weight.grad[0]) > 1e-6  # the noise carries the gradient to the encoder
        with torch.no_grad():
            weight[0] += step
            above = elbo()
            weight[0] -= 2 * step
            below = elbo()
            weight[0] += step
        torch.testing.assert_close(weight.grad[0], (above - below) / (2 * step),
                                   rtol=1e-5, atol=1e-6)


def test_results_follow_the_models_precision():
    model = MLPVAE().double()
    for tensor in (*model.encode(IMAGES), *model.elbo_terms(IMAGES), model.sample(2)):
        assert tensor.dtype == torch.float64
    assert fit(model, IMAGES, num_steps=2, progress=False).num_steps == 2


def test_gradients_reach_images_and_latents():
    model = ConvVAE()
    x = torch.from_numpy(IMAGES).requires_grad_()
    sum(term.sum() for term in model.elbo_terms(x)).backward()
    assert torch.any(x.grad != 0)
    h = torch.zeros(1, 2, requires_grad=True)
    model.decode(h).sum().backward()
    assert torch.any(h.grad != 0)


def test_pictures_and_evaluation_carry_no_gradient():
    model = ConvVAE()
    assert not model.sample(2).requires_grad
    assert not model.reconstruct(IMAGES).requires_grad
    assert model.decode(np.zeros((1, 2))).requires_grad
    evaluate(model, IMAGES)
    assert all(p.grad is None for p in model.parameters())


def test_device_can_be_chosen():
    model = MLPVAE(latent_dim=2, hidden_dim=8)
    fit(model, IMAGES, num_steps=1, device="cpu", progress=False)
    assert next(model.parameters()).device == torch.device("cpu")
    with pytest.raises(ValueError, match=r"device must be one of 'cpu'.* or None, got 'nowhere'"):
        fit(model, IMAGES, num_steps=1, device="nowhere", progress=False)


@pytest.mark.skipif(not torch.accelerator.is_available(), reason="no GPU")
def test_a_gpu_is_used_when_there_is_one():
    model = ConvVAE()
    history = fit(model, IMAGES, num_epochs=2, batch_size=4, progress=False)
    assert next(model.parameters()).device.type == torch.accelerator.current_accelerator().type
    assert np.all(np.isfinite(history["loss"]))
    log_likelihood, _ = evaluate(model, IMAGES)
    assert isinstance(log_likelihood, np.ndarray) and log_likelihood.shape == (6,)


@pytest.mark.parametrize("press", ["signal", "exception"])
def test_an_interrupted_step_is_done_wholly_or_not_at_all(monkeypatch, press):
    """Ctrl-C inside the optimiser's step, or a KeyboardInterrupt that stops the step before it."""
    def new():
        torch.manual_seed(0)
        return MLPVAE(latent_dim=2, hidden_dim=8)

    settings = {"batch_size": 4, "learning_rate": 0.01, "progress": False}
    whole = new()
    expected = fit(whole, IMAGES, num_steps=5, **settings)

    model = new()
    step, calls = torch.optim.Adam.step, []

    def interrupted(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            if press == "exception":
                raise KeyboardInterrupt
            signal.raise_signal(signal.SIGINT)
        return step(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.Adam, "step", interrupted)
        history = fit(model, IMAGES, num_steps=5, **settings)
    assert history.num_steps == (3 if press == "signal" else 2)
    fit(model, IMAGES, num_steps=5 - history.num_steps, history=history, **settings)
    assert (history["loss"], history["kl"]) == (expected["loss"], expected["kl"])
    for ours, theirs in zip(model.parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours, theirs)


# bfloat16 ---------------------------------------------------------------------------------------


def test_bfloat16_multiplies_matrices_only():
    """The networks' outputs are rounded to 8 bits; x, h, both terms and the weights are not."""
    model = MLPVAE(latent_dim=2, hidden_dim=8)
    noise = np.zeros((6, 2), np.float32)
    exact = model.elbo_terms(IMAGES, noise)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model.elbo_terms(IMAGES, noise)
    for ours, reference in zip(rounded, exact):
        assert ours.dtype == torch.float32
        assert torch.any(ours != reference)
    # an output moves by at most a few of 2⁻⁸, a squared difference of at most 1 by twice that
    assert torch.all(abs(rounded[0] - exact[0]) < 784 * 4 * 2**-8)


def test_the_lectures_recipe_and_float64_stay_exact(monkeypatch):
    monkeypatch.setattr(torch_tensors, "cpu_has_bfloat16", lambda: True)
    for recipe, dtype in (("lecture", torch.float32), ("warm-up", torch.float64)):
        losses = []
        for precision in (None, "float32"):
            torch.manual_seed(0)
            model = MLPVAE(latent_dim=2, hidden_dim=8).to(dtype)
            losses.append(fit(model, IMAGES, num_steps=3, recipe=recipe, precision=precision,
                              device="cpu", progress=False)["loss"])
        assert losses[0] == losses[1]
