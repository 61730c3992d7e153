"""Masked diffusion of spins: an exact probability for each order, its bound, its symmetry."""

import itertools
import math

import numpy as np
import pytest
import torch

from genmodels.models import masked_torch
from genmodels.models.masked_torch import (
    MaskedSpins,
    draw_hidden,
    fit,
    loss_terms,
    random_orders,
)

SETTINGS = {"batch_size": 8, "recipe": "lecture", "progress": False}


def small(shape=(3, 3), seed=0, spread=0.3, **arguments):
    """A network with random weights, so that no layer gives zero."""
    torch.manual_seed(seed)
    model = MaskedSpins(shape, **{"num_labels": 2, "channels": 4, "dilations": (1, 2), **arguments})
    with torch.no_grad():
        for weight in model.parameters():
            weight += spread * torch.randn(weight.shape)
    return model


def spins(n, shape=(3, 3), seed=0):
    return np.random.default_rng(seed).choice(np.float32([-1, 1]), size=(n, *shape))


def all_spins(shape):
    """All configurations (2^N, *shape)."""
    size = math.prod(shape)
    bits = (np.arange(2**size)[:, None] >> np.arange(size)) & 1
    return (2 * bits - 1).astype(np.float32).reshape(-1, *shape)


def test_a_new_network_gives_fair_coins():
    model = MaskedSpins((4, 4))
    x, order = spins(5, (4, 4)), random_orders(5, (4, 4), 16, np.random.default_rng(0))
    np.testing.assert_allclose(model.log_probability(x, 0, order), -16 * math.log(2), rtol=1e-6)
    np.testing.assert_allclose(loss_terms(model, x, 0), 16 * math.log(2), rtol=1e-6)


def test_size():
    assert sum(p.numel() for p in MaskedSpins(num_labels=3).parameters()) == 15_984


@pytest.mark.parametrize("num_steps", [9, 4, 1])
def test_the_probabilities_of_an_order_sum_to_one(num_steps):
    """Over all 512 configurations, for one spin in each step and for several."""
    model, x = small(), all_spins((3, 3))
    for order in random_orders(3, (3, 3), num_steps, np.random.default_rng(0)):
        log_q = model.log_probability(x, 1, order)
        assert abs(np.exp(log_q).sum() - 1) < 1e-5  # float32 rounding
        assert log_q.std() > 0.3 or num_steps == 1  # it is not the uniform distribution


def test_probabilities_by_the_definition():
    """Spin by spin, with the logits of what has been revealed."""
    model, (x,), (order,) = small(), spins(1), random_orders(1, (3, 3), 4, np.random.default_rng(1))
    log_q = 0.0
    for step in range(4):
        z = model.logits(np.where(order < step, x, np.float32(0))[None], 1)[0]
        for i in zip(*np.nonzero(order == step)):
            log_q -= math.log1p(math.exp(-x[i] * z[i]))
    assert model.log_probability(x[None], 1, order)[0] == pytest.approx(log_q, rel=1e-5)


def test_the_logits_are_odd_to_the_last_bit():
    model = small((6, 4))
    x = spins(20, (6, 4)) * (np.random.default_rng(1).random((20, 6, 4)) < 0.5)
    labels = np.arange(20) % 2
    z = model.logits(x, labels)
    assert np.array_equal(model.logits(-x, labels), -z)
    assert np.abs(z).min() > 0 and not np.allclose(z, model.logits(x, 1 - labels))
    assert not model.logits(0 * x, labels).any()


def test_turning_all_spins_leaves_the_probability():
    model, x = small(), spins(20)
    order = random_orders(20, (3, 3), 9, np.random.default_rng(2))
    log_q = model.log_probability(x, 0, order)
    assert np.array_equal(model.log_probability(-x, 0, order), log_q)
    model.conv_in.bias = torch.nn.Parameter(0.5 * torch.ones(4))  # breaks it: the check can fail
    assert not np.allclose(model.log_probability(-x, 0, order), log_q)


def test_moving_spins_and_order_along_the_lattice_leaves_the_probability():
    model, x = small((4, 6)), spins(5, (4, 6))
    order = random_orders(5, (4, 6), 24, np.random.default_rng(2))
    moved = [np.roll(array, (1, 2), axis=(1, 2)) for array in (x, order)]
    np.testing.assert_allclose(model.log_probability(moved[0], 0, moved[1]),
                               model.log_probability(x, 0, order), rtol=1e-5)


def test_H1_the_loss_is_the_mean_over_all_orders():
    """N E_k[mean of −log π_i] over all hidden sets, against −log q over all 720 orders."""
    model, x = small((2, 3)), spins(1, (2, 3))
    orders = np.array(list(itertools.permutations(range(6)))).reshape(-1, 2, 3)
    over_orders = -model.log_probability(np.repeat(x, 720, axis=0), 1, orders)
    assert np.ptp(over_orders) > 0.1  # orders differ: the network is no exact one
    hidden = (all_spins((2, 3)) + 1) / 2
    hidden = hidden[hidden.any(axis=(1, 2))]  # all but the empty set
    z = model.logits(x * (1 - hidden), 1)
    mean = (np.logaddexp(0, -x * z) * hidden).sum(axis=(1, 2)) / hidden.sum(axis=(1, 2))
    k = hidden.sum(axis=(1, 2))
    loss = 6 * np.mean([mean[k == size].mean() for size in range(1, 7)])
    assert loss == pytest.approx(over_orders.mean(), rel=1e-6)
    terms = loss_terms(model, np.repeat(x, 20_000, axis=0), 1)
    assert abs(terms.mean() - loss) < 4 * terms.std() / math.sqrt(len(terms))


def test_what_is_hidden():
    """k is uniform on 1 … N; given k every site is hidden equally often."""
    hidden = draw_hidden(27_000, (3, 3), np.random.default_rng(0))
    k = hidden.sum(axis=(1, 2))
    counts = np.bincount(k, minlength=10)
    assert counts[0] == 0 and np.all(np.abs(counts[1:] - 3000) <= 9)  # spread evenly
    for size in (1, 4, 8):
        share = hidden[k == size].mean(axis=0)
        error = math.sqrt(size / 9 * (1 - size / 9) / 3000)
        assert np.all(np.abs(share - size / 9) < 4.5 * error)
    ten = draw_hidden(10, (10, 10), np.random.default_rng(1)).sum(axis=(1, 2))
    assert np.all(np.diff(np.sort(ten)) < 25)  # also of a few


def test_random_orders():
    rng = np.random.default_rng(0)
    order = random_orders(5000, (3, 3), 9, rng)
    assert np.array_equal(np.sort(order.reshape(5000, 9)), np.tile(np.arange(9), (5000, 1)))
    error = math.sqrt(80 / 12 / 5000)  # of the mean of a step that is uniform on 0 … 8
    assert np.all(np.abs(order.mean(axis=0) - 4) < 4.5 * error)
    sizes = np.bincount(random_orders(1, (3, 3), 4, rng).ravel())
    assert sizes.sum() == 9 and sizes.min() == 2 and sizes.max() == 3


@pytest.mark.parametrize("num_steps", [4, 2])
def test_samples_have_their_probabilities(num_steps):
    model = small((2, 2))
    order = np.repeat(random_orders(1, (2, 2), num_steps, np.random.default_rng(3)), 20_000, axis=0)
    x, log_q = model.sample(order, 1, seed=1)
    assert x.dtype == np.float32 and set(np.unique(x)) == {-1, 1}
    np.testing.assert_allclose(model.log_probability(x, 1, order), log_q, atol=1e-5)
    exact = np.exp(model.log_probability(all_spins((2, 2)), 1, order[0]))
    number = ((x.reshape(-1, 4) + 1) / 2) @ 2 ** np.arange(4)
    share = np.bincount(number.astype(int), minlength=16) / 20_000
    assert np.all(np.abs(share - exact) < 4.5 * np.sqrt(exact / 20_000))
    assert exact.max() > 2 * exact.min()


def test_samples_follow_from_the_seed_alone():
    model, order = small(), random_orders(30, (3, 3), 9, np.random.default_rng(0))
    x, log_q = model.sample(order, 0, seed=5)
    again, log_q_again = model.sample(order, 0, seed=5, batch_size=7)
    assert np.array_equal(x, again)
    np.testing.assert_allclose(log_q, log_q_again, rtol=1e-5)
    assert not np.array_equal(x, model.sample(order, 0, seed=6)[0])
    with torch.autocast("cpu", torch.bfloat16):
        assert np.array_equal(model.sample(order, 0, seed=5)[1], log_q)


def test_batches_may_have_orders_of_different_numbers_of_steps():
    model, rng = small(), np.random.default_rng(0)
    order = np.concatenate([random_orders(2, (3, 3), num_steps, rng) for num_steps in (9, 3)])
    x, log_q = model.sample(order, 0, batch_size=2)
    each = [model.log_probability(x[i:i + 1], 0, order[i]) for i in range(4)]
    np.testing.assert_allclose(log_q, np.concatenate(each), rtol=1e-5)


def ising(temperature):
    """E (512,) and ln Z of the 3 × 3 lattice, by enumeration."""
    x = all_spins((3, 3))
    energy = -(x * (np.roll(x, 1, 1) + np.roll(x, 1, 2))).sum(axis=(1, 2))
    return x, energy, np.logaddexp.reduce(-energy / temperature)


def test_training_reaches_the_entropy_and_the_weights_give_the_partition_function():
    """Two temperatures; −ELBO ≥ entropy, and ln Z from samples p/q (identity P6)."""
    temperatures, rng, data, labels = (2.0, 4.0), np.random.default_rng(0), [], []
    for label, temperature in enumerate(temperatures):
        x, energy, log_z = ising(temperature)
        p = np.exp(-energy / temperature - log_z)
        data.append(x[rng.choice(512, size=4000, p=p / p.sum())])
        labels.append(np.full(4000, label))
    torch.manual_seed(0)
    model = MaskedSpins((3, 3), num_labels=2, channels=8, dilations=(1,))
    history = fit(model, np.concatenate(data), np.concatenate(labels), num_epochs=6, batch_size=100,
                  learning_rate=1e-2, progress=False)
    assert history["loss"][-1] < history["loss"][0]
    for label, temperature in enumerate(temperatures):
        x, energy, log_z = ising(temperature)
        p = np.exp(-energy / temperature - log_z)
        entropy = -(p * np.log(p)).sum()
        for order in random_orders(3, (3, 3), 9, rng):
            divergence = -(p * model.log_probability(x, label, order)).sum() - entropy
            assert 0 <= divergence < 0.03
        order = random_orders(4000, (3, 3), 9, rng)
        drawn, log_q = model.sample(order, label, seed=label)
        field = np.roll(drawn, 1, 1) + np.roll(drawn, 1, 2)
        weights = np.exp((drawn * field).sum(axis=(1, 2)) / temperature - log_q - log_z)
        error = weights.std() / math.sqrt(4000)
        assert abs(weights.mean() - 1) < 4 * error and error < 0.01


def test_training_is_reproducible_and_can_be_continued():
    x, labels = spins(20), np.arange(20) % 2
    models = [small() for _ in range(3)]
    whole = fit(models[0], x, labels, num_steps=7, **SETTINGS)
    same = fit(models[1], x, labels, num_steps=7, **SETTINGS)
    first = fit(models[2], x, labels, num_steps=2, **SETTINGS)
    fit(models[2], x, labels, num_steps=5, history=first, **SETTINGS)
    assert whole["loss"] == same["loss"] == first["loss"]
    for a, b, c in zip(*(model.parameters() for model in models)):
        assert torch.equal(a, b) and torch.equal(a, c)


# Bad input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("wrong", "message"), [
    (np.zeros((2, 3, 3), np.float32), "x must hold spins, -1 or 1, got 0 at"),
    (0.5 * spins(2), "x must hold spins, -1 or 1, got"),
    (spins(2, (3, 4)), r"x must be floats .* of shape \(n, 3, 3\)"),
    (np.full((2, 3, 3), np.nan, np.float32), "got NaN or infinity"),
    (2 * spins(2), "values from -2 to 2"),
])
def test_what_are_no_spins_is_refused(wrong, message):
    model, order = small(), random_orders(1, (3, 3), 9, np.random.default_rng(0))[0]
    for call in (lambda: model.log_probability(wrong, 0, order),
                 lambda: loss_terms(model, wrong, 0),
                 lambda: fit(model, wrong, 0, num_steps=1, **SETTINGS)):
        with pytest.raises(ValueError, match=message):
            call()


def test_spins_must_be_floats():
    with pytest.raises(TypeError, match="x must be floats"):
        fit(small(), spins(2).astype(int), 0, num_steps=1, **SETTINGS)


def test_logits_take_hidden_spins_and_no_others():
    model = small()
    assert model.logits(np.zeros((1, 3, 3), np.float32), 0).shape == (1, 3, 3)
    with pytest.raises(ValueError, match="x must hold spins"):
        model.logits(0.5 * spins(1), 0)


@pytest.mark.parametrize(("order", "error", "message"), [
    (np.zeros((2, 3, 4), int), ValueError, r"order must have shape \(2, 3, 3\), got \(2, 3, 4\)"),
    (np.zeros((3, 3, 3), int), ValueError, r"order must have shape \(2, 3, 3\), got \(3, 3, 3\)"),
    (np.zeros((2, 3, 3)), TypeError, "order must hold integers, got float64"),
    (np.full((3, 3), 9), ValueError, "order must hold steps from 0 to 8 at most, got 9 to 9"),
    (np.full((3, 3), -1), ValueError, "order must hold steps from 0 to 8"),
])
def test_wrong_orders(order, error, message):
    with pytest.raises(error, match=message):
        small().log_probability(spins(2), 0, order)


@pytest.mark.parametrize(("labels", "error", "message"), [
    (2, ValueError, "labels must lie between 0 and 1, got 2 to 2"),
    (np.zeros(3, int), ValueError, r"labels must have shape \(2,\), got \(3,\)"),
    (0.0, TypeError, "labels must be integers"),
])
def test_wrong_labels(labels, error, message):
    with pytest.raises(error, match=message):
        fit(small(), spins(2), labels, num_steps=1, **SETTINGS)


def test_what_is_no_generator_is_refused():
    for call in (lambda rng: random_orders(2, (3, 3), 9, rng),
                 lambda rng: draw_hidden(2, (3, 3), rng)):
        with pytest.raises(TypeError, match="rng must be a NumPy Generator, got 0"):
            call(0)
    with pytest.raises(TypeError, match="dilations must be a tuple"):
        small(dilations=1)


def test_wrong_sizes():
    for arguments, message in [
            ({"shape": (3, 3, 3)}, "shape must be two sizes"),
            ({"channels": 0}, "channels must be a positive integer"),
            ({"num_labels": 0}, "num_labels must be a positive integer"),
            ({"dilations": ()}, "dilations must be one or more"),
            ({"dilations": (4,), "shape": (3, 8)}, "dilations must be at most 3")]:
        with pytest.raises(ValueError, match=message):
            MaskedSpins(**arguments)
    with pytest.raises(ValueError, match="num_steps must be at most 9, the number of spins, "):
        random_orders(1, (3, 3), 10, np.random.default_rng(0))
    with pytest.raises(ValueError, match="batch_size must be a positive integer"):
        small().sample(np.zeros((1, 3, 3), int), 0, batch_size=0)
    with pytest.raises(ValueError, match="seed must be a non-negative integer"):
        small().sample(np.zeros((1, 3, 3), int), 0, seed=-1)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_models_of_low_precision_have_no_probabilities(dtype):
    model = small().to(dtype)
    with pytest.raises(TypeError, match="model must be of float32 or float64"):
        model.sample(np.zeros((1, 3, 3), int), 0)


def test_fit_returns_a_history():
    assert masked_torch.History is fit(small(), spins(2), 0, num_steps=1, **SETTINGS).__class__
