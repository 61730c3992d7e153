"""The continuous flow: velocity, divergence and log density by independent computations."""

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from genmodels.models import flow_torch, trained
from genmodels.models.flow_torch import NUM_STEPS, Flow, fit, phi4_action
from genmodels.models.lattice_modes import real_modes


def flow(size, channels=3, seed=0, center=0.6, strength=1.0):
    """A flow in float64 that is far from the identity, with unequal scales and two peaks."""
    torch.manual_seed(seed)
    model = Flow(size, channels).double()
    with torch.no_grad():
        model.second.normal_(std=0.3 * strength)
        model.linear.normal_(std=0.2 * strength)
        model.amplitude.normal_()
        model.gain.normal_()
        model.scale.uniform_(0.5, 1.5)
        model.center.fill_(center)
    return model


def phi4(kappa, lam):
    """The action of φ⁴, for tensors."""
    return phi4_action(SimpleNamespace(kappa=kappa, lam=lam))


def fields(size, n=4, seed=1):
    return np.random.default_rng(seed).standard_normal((n, size, size))


# Modes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [2, 3, 4, 5, 8])
def test_real_modes_are_those_of_the_fft(size):
    """Orthogonal, and with the power of NumPy's Fourier transform at every |k_1|, |k_2|."""
    basis, frequency = real_modes(size)
    np.testing.assert_allclose(basis @ basis.T, np.eye(size), atol=1e-14)
    x = fields(size, n=1)[0]
    modes, waves = basis @ x @ basis.T, np.fft.fft2(x, norm="ortho")
    of_fft = np.minimum(np.arange(size), size - np.arange(size))
    for k1, k2 in itertools.product(range(size // 2 + 1), repeat=2):
        ours = (modes**2)[np.ix_(frequency == k1, frequency == k2)].sum()
        theirs = (abs(waves) ** 2)[np.ix_(of_fft == k1, of_fft == k2)].sum()
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_modes_and_field_are_inverse_to_each_other():
    model, x = flow(5), torch.from_numpy(fields(5))
    torch.testing.assert_close(model.field(model.modes(x)), x, rtol=1e-12, atol=1e-12)


# Velocity and divergence ------------------------------------------------------------------------


def kernel_in_space(model, weights):
    """The kernel (L, L) by sites of one whose values at the modes are given by shell."""
    size = model.size
    k = np.minimum(np.arange(size), size - np.arange(size))
    high, low = np.maximum(k[:, None], k), np.minimum(k[:, None], k)
    values = weights.detach().numpy()[high * (high + 1) // 2 + low]
    kernel = np.fft.ifft2(values)
    np.testing.assert_allclose(kernel.imag, 0, atol=1e-14)
    return kernel.real


def convolved(kernel, x):
    """Σ_r kernel(r) x(s − r), by shifting."""
    size = len(kernel)
    return sum(kernel[i, j] * np.roll(x, (i, j), (-2, -1))
               for i, j in itertools.product(range(size), repeat=2))


@pytest.mark.parametrize("size", [3, 4])
@pytest.mark.parametrize("t", [0.0, 0.3])
def test_velocity_is_convolutions_and_a_tanh(size, t):
    """By sums over the sites, without any Fourier mode of the field."""
    model, x = flow(size), fields(size)
    waves = np.cos(np.pi * t * np.arange(3))
    linear = torch.from_numpy(waves) @ model.linear
    amplitude, gain = (waves @ weight.detach().numpy() for weight in (model.amplitude, model.gain))
    expected = convolved(kernel_in_space(model, linear), x)
    for c in range(model.channels):
        h = np.tanh(gain[c] * convolved(kernel_in_space(model, model.first[c]), x))
        expected = expected + amplitude[c] * convolved(kernel_in_space(model, model.second[c]), h)
    u, _ = model.vector_field()(model.modes(torch.from_numpy(x)), t)
    np.testing.assert_allclose(model.field(u).detach().numpy(), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("size", [2, 3, 4])
def test_divergence_is_the_trace_of_the_jacobian(size):
    """Against autograd's Jacobian, all V × V of it."""
    model = flow(size)
    for y in torch.from_numpy(fields(size, n=3)):
        jacobian = torch.autograd.functional.jacobian(
            lambda y: model.vector_field()(y[None], 0.4)[0][0], y)
        trace = jacobian.reshape(size**2, size**2).trace()
        torch.testing.assert_close(model.vector_field()(y[None], 0.4)[1][0], trace,
                                   rtol=1e-10, atol=1e-10)


# Density ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [2, 3])
def test_log_density_is_that_of_the_change_of_variables(size):
    """log q(x) = log p_0(z) − log |det ∂x/∂z|, the matrix by central differences of the map."""
    model = flow(size)
    noise = torch.from_numpy(fields(size, n=1))
    step, columns = 1e-5, []  # error: step² from the expansion, 1e-16 / step from rounding
    for site in range(size**2):
        shift = torch.zeros(1, size**2, dtype=torch.float64)
        shift[0, site] = step
        ends = [model(noise + sign * shift.reshape(noise.shape), 64)[0] for sign in (1, -1)]
        columns.append((ends[0] - ends[1]).detach().flatten() / (2 * step))
    _, log_volume = torch.linalg.slogdet(torch.stack(columns, dim=1))
    # In noise, the base's peak at +center is N(0, I); the other peak adds to the density.
    zero = float(0.6 + 0.8 * noise[0, 0, 0])
    other = math.log1p(math.exp(-2 * 0.6 * zero / 0.64))
    normal = -0.5 * float((noise**2).sum()) - size**2 / 2 * math.log(2 * math.pi)
    expected = normal + other - math.log(2) - float(log_volume)
    x, log_q, _ = model(noise, 64)
    assert log_q.item() == pytest.approx(expected, abs=1e-6)  # also of 64 steps, see below
    assert model.log_density(x, num_steps=64).item() == pytest.approx(expected, abs=1e-6)


def test_the_way_back_is_the_way_there_and_steps_are_of_fourth_order():
    model = flow(4)
    errors = []
    for num_steps in (4, 8, 16):
        x, log_q = model.sample(50, seed=0, num_steps=num_steps)
        exact = model.log_density(x, num_steps=200)
        errors.append((log_q - exact).abs().max().item())
    assert errors[0] / errors[1] > 8 and errors[1] / errors[2] > 8  # 16 when steps are small
    assert errors[2] < 1e-3
    x, log_q = model.sample(50, seed=0, num_steps=100)
    torch.testing.assert_close(model.log_density(x, num_steps=100), log_q, rtol=0, atol=1e-6)


def test_base_has_two_peaks_and_unit_variance():
    model = flow(3, center=0.8)
    line = torch.linspace(-6, 6, 2001, dtype=torch.float64)
    z = torch.zeros(len(line), 3, 3, dtype=torch.float64)
    z[:, 0, 0] = line
    density = torch.exp(model.log_base(z) + 4 * math.log(2 * math.pi))  # of the zero mode alone
    assert torch.trapezoid(density, line).item() == pytest.approx(1, abs=1e-10)
    assert torch.trapezoid(density * line**2, line).item() == pytest.approx(1, abs=1e-8)


def test_base_is_set_from_configurations():
    """Samples of an untrained flow have the spectrum and the zero mode's moments of the data."""
    torch.manual_seed(0)
    rng = np.random.default_rng(2)
    n, size = 20_000, 4
    truth = flow(size, center=0.9)
    z = rng.standard_normal((n, size, size))
    z[:, 0, 0] = rng.choice([-1, 1], n) * 0.9 + math.sqrt(1 - 0.81) * z[:, 0, 0]
    data = truth.field(truth.scale[truth.shell] * torch.from_numpy(z))
    model = Flow(size).double()
    model.set_base(data)
    # a variance from n numbers, 8 modes a shell at most: relative error √(2/n) = 0.01 at most
    torch.testing.assert_close(model.scale**2, truth.scale**2, rtol=0.04, atol=0)
    assert model.center.item() == pytest.approx(0.9, abs=0.01)


def test_P5_an_odd_velocity_makes_an_even_density():
    """And one with all symmetries of the lattice: log q(x) is that of −x, shifted, mirrored, …"""
    model = flow(5)
    x = fields(5, n=6)
    log_q = model.log_density(x)
    for image in (-x, np.roll(x, (2, 1), (1, 2)), x[:, ::-1], x[:, :, ::-1], x.transpose(0, 2, 1)):
        torch.testing.assert_close(model.log_density(image), log_q, rtol=0, atol=1e-10)
    y = torch.from_numpy(x)
    torch.testing.assert_close(model.vector_field()(-y, 0.3)[0], -model.vector_field()(y, 0.3)[0],
                               rtol=0, atol=1e-12)
    samples, _ = model.sample(4000, seed=0)
    mean = samples.mean(dim=(1, 2))
    assert abs(mean.mean()) < 4 * mean.std() / math.sqrt(len(mean))


# Actions and weights ----------------------------------------------------------------------------


def test_action_of_phi4_by_a_loop_over_bonds():
    x = fields(3, n=1)[0]
    expected = 0.0
    for i, j in itertools.product(range(3), repeat=2):
        neighbours = x[(i + 1) % 3, j] + x[i, (j + 1) % 3]
        expected += -2 * 0.3 * x[i, j] * neighbours + (1 - 0.04) * x[i, j]**2 + 0.02 * x[i, j]**4
    assert phi4(0.3, 0.02)(torch.from_numpy(x[None])).item() == pytest.approx(expected)


def log_weights(model, action, n, seed=0):
    x, log_q = model.sample(n, seed=seed)
    return x, (-action(x) - log_q).numpy()


def log_mean(log_weights):
    """log of the mean of exp(log_weights), and its standard error."""
    shift = log_weights.max()
    weights = np.exp(log_weights - shift)
    return shift + math.log(weights.mean()), weights.std() / weights.mean() / math.sqrt(
        len(weights))


def test_P6_weights_of_any_flow_give_the_free_fields_partition_function():
    """log Z = V/2 log π − ½ Σ_k log(1 − 2κ(cos k_1 + cos k_2)), by a flow that is not trained."""
    size, kappa = 4, 0.2
    k = 2 * np.pi * np.arange(size) / size
    eigenvalues = 1 - 2 * kappa * (np.cos(k)[:, None] + np.cos(k))
    exact = size**2 / 2 * math.log(math.pi) - 0.5 * np.log(eigenvalues).sum()
    model = flow(size, center=0.3, strength=0.3)
    action = phi4(kappa, 0.0)
    rng = np.random.default_rng(5)
    of_shell = np.unique(model.shell.numpy(), return_index=True)[1]
    eigenvalue = 1 - 2 * kappa * np.add.outer(*[np.cos(2 * np.pi * real_modes(size)[1] / size)] * 2)
    variances = 1 / (2 * eigenvalue)  # of the real modes
    with torch.no_grad():
        model.scale.copy_(torch.from_numpy(np.sqrt(variances.flatten()[of_shell])))
    _, log_w = log_weights(model, action, 20_000)
    value, error = log_mean(log_w)
    assert error < 0.05 and np.std(log_w) > 0.1  # the weights are not all alike
    assert abs(value - exact) < 4 * error
    # and by the inverse weights of exact configurations: 1/Z = ⟨q e^S⟩
    modes = np.sqrt(variances) * rng.standard_normal((20_000, size, size))
    x = model.field(torch.from_numpy(modes))
    value, error = log_mean((action(x) + model.log_density(x)).numpy())
    assert error < 0.05
    assert abs(-value - exact) < 4 * error


def test_P6_weights_of_any_flow_give_phi4_on_four_sites():
    """log Z, ⟨x²⟩ and ⟨M⁴⟩ at L = 2 by quadrature over all four fields."""
    action = phi4(0.25, 0.1)
    line = torch.linspace(-4, 4, 33, dtype=torch.float64)
    grid = torch.stack(torch.meshgrid(*[line] * 4, indexing="ij"), dim=-1).reshape(-1, 2, 2)
    weight = torch.exp(-action(grid))
    # the trapezoidal rule: exponentially exact for a smooth integrand that vanishes at the ends
    exact_z = math.log(weight.sum() * (line[1] - line[0]) ** 4)
    moments = {"x2": lambda x: (x**2).mean(dim=(1, 2)), "M4": lambda x: x.mean(dim=(1, 2)) ** 4}
    model = flow(2, strength=0.3)
    power = (weight[:, None, None] * model.modes(grid) ** 2).sum(dim=0) / weight.sum()  # (2, 2)
    with torch.no_grad():  # broader than p, so that no weight is large
        model.scale[model.shell] = torch.sqrt(1.6 * power)
    x, log_w = log_weights(model, action, 40_000)
    value, error = log_mean(log_w)
    assert error < 0.02 and abs(value - exact_z) < 4 * error
    w = np.exp(log_w - log_w.max())
    for moment in moments.values():
        exact = float((weight * moment(grid)).sum() / weight.sum())
        values = moment(x).numpy()
        mean = (w * values).sum() / w.sum()
        error = np.sqrt((w**2 * (values - mean) ** 2).sum()) / w.sum()
        assert error < 0.05 * exact and abs(mean - exact) < 4 * error
        assert abs(values.mean() - exact) > 10 * error  # without weights the model is wrong


# Training ---------------------------------------------------------------------------------------


def gaussian_data(size, n=256, seed=3):
    """Configurations of the free field with κ = 0.15."""
    frequency = real_modes(size)[1]
    wave = np.cos(2 * np.pi * frequency / size)
    variances = 0.5 / (1 - 0.3 * (wave[:, None] + wave))
    basis = real_modes(size)[0]
    modes = np.sqrt(variances) * np.random.default_rng(seed).standard_normal((n, size, size))
    return (basis.T @ modes @ basis).astype(np.float32), variances


def test_the_loss_of_an_exact_flow_is_zero():
    """The base alone is a free field: upper and lower are both log Z, for every configuration."""
    size = 4
    x, variances = gaussian_data(size)
    torch.manual_seed(0)
    model = Flow(size, 2)
    with torch.no_grad():
        model.second.zero_()
        model.scale[model.shell.flatten()] = torch.from_numpy(variances).float().flatten().sqrt()
    upper = (-phi4(0.15, 0.0)(torch.from_numpy(x)) - model.log_density(x)).numpy()
    exact = size**2 / 2 * math.log(2 * math.pi) + 0.5 * np.log(variances).sum()
    np.testing.assert_allclose(upper, exact, atol=1e-4)  # float32
    _, lower = log_weights(model, phi4(0.15, 0.0), 100)
    np.testing.assert_allclose(lower, exact, atol=1e-4)


def test_training_lowers_the_loss_and_its_terms_bound_log_Z():
    size = 4
    x, variances = gaussian_data(size)
    exact = size**2 / 2 * math.log(2 * math.pi) + 0.5 * np.log(variances).sum()
    torch.manual_seed(0)
    model = Flow(size, 4)
    with torch.no_grad():
        model.second.mul_(20)  # a bad start
    history = fit(model, x, phi4(0.15, 0.0), num_epochs=8, batch_size=32,
                  learning_rate=1e-2, progress=False)
    assert history["loss"][-1] < 0.1 * history["loss"][0]
    for upper, lower, loss in zip(*(history[name] for name in ("upper", "lower", "loss"))):
        assert loss == pytest.approx(upper - lower, abs=1e-3)
    assert history["lower"][0] < exact < history["upper"][0]


def test_gradient_of_the_loss_is_that_of_finite_differences():
    model = flow(3)
    data, noise = (torch.from_numpy(fields(3, n=5, seed=seed)) for seed in (7, 8))
    action = phi4(0.2, 0.05)

    def loss():
        log_q, mismatch = model.evaluate(data, 5)
        own, own_log_q, own_mismatch = model(noise, 5)
        loss = -action(data) - log_q + action(own) + own_log_q
        return (loss + mismatch + own_mismatch).mean()

    loss().backward()
    step = 1e-5
    for weight in model.parameters():
        place = (0,) * weight.dim()
        with torch.no_grad():
            weight[place] += step
            above = loss()
            weight[place] -= 2 * step
            below = loss()
            weight[place] += step
        torch.testing.assert_close(weight.grad[place], (above - below) / (2 * step),
                                   rtol=1e-5, atol=1e-6)


def test_training_goes_on_where_it_stopped(tmp_path):
    x, _ = gaussian_data(4, n=64)
    action = phi4(0.15, 0.02)
    settings = {"batch_size": 16, "num_steps": 6, "progress": False}

    def trained(**more):
        torch.manual_seed(0)
        model = Flow(4, 2)
        history = fit(model, x, action, **settings, **more)
        return model, history

    whole, _ = trained(checkpoint=tmp_path)
    again, history = trained(checkpoint=tmp_path)  # finds the run at its end
    assert history.num_steps == 6
    for ours, theirs in zip(again.state_dict().values(), whole.state_dict().values()):
        assert torch.equal(ours, theirs)


# Trained weights --------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "least"), [
    ("flow-8-0.22", 0.9), ("flow-8-0.27", 0.6), ("flow-16-0.27", 0.3)])
def test_trained_flows_are_good_proposals(name, least):
    """The effective sample size of 500 samples, and how far log q is that of the flow.

    Far above the bounds: the spread of such a measurement is about 0.05. `benchmarks/flow.py`
    measures on more samples, and on Monte Carlo's.
    """
    card = trained.card(name)
    model = Flow(**card["description"])
    trained.load(model, name)
    action = phi4(card["training"]["kappa"], card["training"]["lam"])
    x, log_q = model.sample(500, seed=0)
    weights = torch.softmax((-action(x) - log_q).double(), dim=0)
    assert 1 / (weights**2).sum() > least * len(x)
    assert model.center.item() > 0.9 if card["training"]["kappa"] > 0.25 else model.center < 0.5
    # at the same x, on the way back, with as many steps and with twice as many
    for num_steps in (NUM_STEPS, 2 * NUM_STEPS):
        back = model.log_density(x[:100], num_steps=num_steps)
        assert (log_q[:100] - back).abs().max() < 0.01


def test_weights_survive_saving(tmp_path):
    """With the base's scale and center, in half precision."""
    model, other = flow(4), Flow(4, 3).double()
    trained.save(model, "flow", {}, tmp_path)
    trained.load(other, "flow", tmp_path)
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], weight, rtol=1e-3, atol=1e-4)
    with pytest.raises(ValueError, match="model must have channels=3 for the weights 'flow'"):
        trained.load(Flow(4, 2), "flow", tmp_path)


# Bad input --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("make", "error", "message"), [
    (lambda: Flow(1), ValueError, "size must be at least 2, got 1"),
    (lambda: Flow(4.0), TypeError, "size must be a positive integer, got 4.0"),
    (lambda: Flow(4, 0), ValueError, "channels must be a positive integer, got 0"),
    (lambda: flow(3).sample(0), ValueError, "n must be a positive integer, got 0"),
    (lambda: flow(3).sample(2, -1), ValueError, "seed must be a non-negative integer, got -1"),
    (lambda: flow(3).sample(2, num_steps=0), ValueError, "num_steps must be a positive integer"),
    (lambda: flow(3).log_density(fields(4)), ValueError, r"x must be floats of shape \(n, 3, 3\)"),
    (lambda: flow(3).log_density(np.full((1, 3, 3), np.nan)), ValueError, "got NaN or infinity"),
    (lambda: flow(3).log_density(np.ones((1, 3, 3), int)), TypeError, "x must be floats"),
    (lambda: flow(3).half().sample(2), TypeError, "model must be of float32 or float64"),
    (lambda: flow(3).set_base(np.ones((5, 3, 3))), ValueError, "x must have modes that are not"),
])
def test_bad_input(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(("action", "error", "message"), [
    (lambda x: phi4(0.2, 0.02)(x) - 0.1 * x.sum(dim=(1, 2)), ValueError,
     r"action must be even, S\(−x\) = S\(x\)"),
    (lambda x: x**2, ValueError, r"action must return a tensor \(8,\) for 8 fields, got \(8, 3, 3"),
    (lambda x: torch.log(-(x**2).sum(dim=(1, 2))), ValueError, "action must be finite"),
    (0.5, TypeError, "action must be a function, got float"),
    (lambda x: (x.detach()**2).sum(dim=(1, 2)), ValueError, "action must be differentiable"),
])
def test_bad_actions(action, error, message):
    with pytest.raises(error, match=message):
        fit(Flow(3), fields(3, n=9), action, num_steps=1, progress=False)


def test_names():
    assert set(flow_torch.__all__) == {"Flow", "History", "fit", "phi4_action"}
