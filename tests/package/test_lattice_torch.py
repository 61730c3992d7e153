"""The spectral network of fields: symmetries, loss, training, and what it is given."""

import numpy as np
import pytest
import torch
from scipy import stats

from genmodels import lattice_diffusion as lattice
from genmodels.models import trained
from genmodels.models.lattice_torch import LatticeDenoiser, fit
from genmodels.training.history import Batch

SIZE = 6
RNG = np.random.default_rng(0)
DATA = RNG.choice([-1, 1], (300, 1, 1)) + 0.3 * RNG.standard_normal((300, SIZE, SIZE))
POWER = lattice.power_spectrum(DATA)
X = RNG.standard_normal((4, SIZE, SIZE))
SMALL = {"channels": 4, "num_blocks": 2}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Networks this small gain nothing from a second one, which on a busy machine is waited for."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network(odd=True, seed=0, size=SIZE, power=POWER, scale=0.5):
    """A small network in float64 with random weights everywhere, so that it does something."""
    torch.manual_seed(seed)
    model = LatticeDenoiser(size, power, odd=odd, **SMALL).double()
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(scale * torch.randn(weight.shape, dtype=torch.float64))
    return model


def test_number_of_weights():
    count = {odd: sum(weight.numel() for weight in LatticeDenoiser(16, odd=odd).parameters())
             for odd in (True, False)}
    kernels, mixing = (2 * 12 + 1) * 9 * 9, 2 * 12 + 2 * 2 * 12 * 12 + 12
    levels = 16 * 32 + 32 + 32 * 32 + 32 + 2 * (32 * 24 + 24)
    assert count[True] == kernels + mixing + levels
    assert count[False] == count[True] + 12 + 2 * 12 + 1  # biases


@pytest.mark.parametrize("alpha_bar", [1e-4, 0.5, 0.999])
def test_a_new_network_is_exact_for_gaussian_data(alpha_bar):
    for odd in (True, False):
        model = LatticeDenoiser(SIZE, POWER, odd=odd, **SMALL)
        expected = lattice.gaussian_denoiser(POWER)(X, alpha_bar)
        np.testing.assert_allclose(model.denoiser()(X, alpha_bar), expected, rtol=0, atol=1e-5)


SYMMETRIES = {"translation": lambda x: np.roll(x, (1, 2), (1, 2)),
              "rotation": lambda x: np.rot90(x, axes=(1, 2)),
              "reflection": lambda x: x[:, ::-1],
              "exchange of axes": lambda x: x.transpose(0, 2, 1)}


@pytest.mark.parametrize("name", SYMMETRIES)
@pytest.mark.parametrize("odd", [True, False])
def test_the_lattice_symmetries_are_built_in(name, odd):
    move = SYMMETRIES[name]
    wave = np.minimum(np.arange(SIZE), SIZE - np.arange(SIZE))
    symmetric = 3 / (1 + np.add.outer(wave, wave[:SIZE // 2 + 1]))  # a power that has them
    denoiser = network(odd, power=symmetric).denoiser()
    there = denoiser(X, 0.4)
    np.testing.assert_allclose(denoiser(move(X), 0.4), move(there), rtol=0,
                               atol=1e-5)  # the cosines are stored in float32
    assert np.max(np.abs(there - lattice.gaussian_denoiser(symmetric)(X, 0.4))) > 0.01


def test_P5_an_odd_network_is_odd_at_any_weights_and_a_free_one_is_refused():
    for seed in range(3):
        lattice.require_odd(network(seed=seed).denoiser(), X, (1e-4, 0.5, 0.999), tolerance=1e-12)
    with pytest.raises(ValueError, match="denoiser must be odd"):
        lattice.require_odd(network(odd=False).denoiser(), X, [0.5])


@pytest.mark.parametrize("channels", [2, 4, 8])
def test_P5_odd_networks_of_any_size_give_an_even_density(channels):
    def magnetisations(odd):
        torch.manual_seed(channels)
        model = LatticeDenoiser(SIZE, POWER, odd=odd, channels=channels, num_blocks=1)
        with torch.no_grad():
            for weight in model.parameters():
                weight.copy_(0.5 * torch.randn(weight.shape))
            if not odd:
                model.mix_out.bias.fill_(1.0)
                model.convolution_out.kernel.fill_(1.0)
        noise = np.random.default_rng(1).standard_normal((1000, SIZE, SIZE))
        x = [lattice.angle_heun(model.denoiser(), POWER, sign * noise, num_steps=6)
             for sign in (1, -1)]
        return [each.mean(axis=(1, 2)) for each in x]

    m, mirrored = magnetisations(odd=True)
    np.testing.assert_allclose(mirrored, -m, rtol=0, atol=1e-3 * np.abs(m).max())  # float32
    assert abs(m.mean()) < 4 * stats.sem(m)
    free, _ = magnetisations(odd=False)
    assert abs(free.mean()) > 6 * stats.sem(free)  # a bias is an external field


def drawn(n=8, dtype=np.float64):
    rng = np.random.default_rng(3)
    noise = np.linspace(-9, 6, n), rng.standard_normal((n, SIZE, SIZE))  # log SNR, ε
    return Batch((torch.from_numpy(DATA[:n].astype(dtype)),),
                 tuple(torch.from_numpy(array.astype(dtype)) for array in noise), 0.0, 0)


def test_loss_against_its_definition_in_numpy():
    model, batch = network(), drawn()
    (x0,), (log_snr, noise) = ([array.numpy() for array in arrays]
                                   for arrays in (batch.data, batch.noise))
    found = model.loss(batch)["loss"].detach().numpy()
    power = model.power.numpy()
    for i, level in enumerate(log_snr):
        alpha_bar = 1 / (1 + np.exp(-level))
        xt = np.sqrt(alpha_bar) * x0[i] + np.sqrt(1 - alpha_bar) * noise[i]
        estimate = model.denoiser()(xt[None], alpha_bar)[0]
        # x_0 − x̂_0 is −√P sin θ (v − v̂) in each mode
        error = np.fft.fft2(x0[i] - estimate, norm="ortho")
        total = 0.0
        for j in range(SIZE):
            for k in range(SIZE):
                p = power[(j, k) if k <= SIZE // 2 else (-j % SIZE, SIZE - k)]
                sin2 = (1 - alpha_bar) / (alpha_bar * p + 1 - alpha_bar)
                total += abs(error[j, k]) ** 2 / (p * sin2) * (32 if j == k == 0 else 1)
        assert found[i] == pytest.approx(total / SIZE**2, rel=1e-6)  # power is in float32


def test_loss_has_a_gradient_that_finite_differences_confirm():
    model, batch = network(), drawn()
    objective = model.loss(batch)["loss"].mean()
    objective.backward()
    for name, weight in model.named_parameters():
        direction = torch.randn(weight.shape, dtype=weight.dtype,
                                generator=torch.Generator().manual_seed(1))
        values = []
        with torch.no_grad():
            for step in (1e-5, -2e-5):
                weight += step * direction
                values.append(model.loss(batch)["loss"].mean())
            weight += 1e-5 * direction
        numerical = float(values[0] - values[1]) / 2e-5
        assert numerical == pytest.approx(float((weight.grad * direction).sum()), rel=1e-4,
                                          abs=1e-7), name


@pytest.mark.parametrize("odd", [True, False])
def test_fit_learns_what_is_not_gaussian(odd):
    torch.manual_seed(0)
    model = LatticeDenoiser(SIZE, POWER, odd=odd, **SMALL)
    fit(model, DATA, num_epochs=60, batch_size=50, progress=False)
    assert torch.equal(model.power, torch.tensor(POWER, dtype=torch.float32))  # not trained
    alpha_bar = 0.1
    others = RNG.choice([-1, 1], (300, 1, 1)) + 0.3 * RNG.standard_normal(DATA.shape)
    x = np.sqrt(alpha_bar) * others + np.sqrt(1 - alpha_bar) * RNG.standard_normal(DATA.shape)
    errors = [np.mean((denoiser(x, alpha_bar) - others).mean(axis=(1, 2)) ** 2)
              for denoiser in (model.denoiser(), lattice.gaussian_denoiser(POWER))]
    assert errors[0] < 0.8 * errors[1]  # the sign of M is learned
    if odd:
        lattice.require_odd(model.denoiser(), X, [0.5])


def test_fit_repeats():
    losses = []
    for _ in range(2):
        torch.manual_seed(0)
        history = fit(LatticeDenoiser(SIZE, POWER, **SMALL), DATA, num_steps=7, batch_size=50,
                      progress=False)
        losses.append(history["loss"])
    assert losses[0] == losses[1]


def test_saved_and_loaded(tmp_path):
    model = network().float()
    trained.save(model, "fields", {}, tmp_path)
    other = LatticeDenoiser(SIZE, **SMALL)
    trained.load(other, "fields", tmp_path)
    np.testing.assert_allclose(other.power, model.power, rtol=1e-3)  # half precision
    ours, theirs = (each.mix_in.weight.detach() for each in (other, model))
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-6)


def test_P5_weights_of_a_free_network_do_not_fit_an_odd_one(tmp_path):
    trained.save(network(odd=False).float(), "free", {}, tmp_path)
    with pytest.raises(ValueError, match="model must have odd=False for the weights 'free'"):
        trained.load(LatticeDenoiser(SIZE, **SMALL), "free", tmp_path)


@pytest.mark.parametrize(("arguments", "error", "message"), [
    ((5,), ValueError, "size must be even, got 5"),
    ((0,), ValueError, "size must be a positive integer, got 0"),
    ((6, np.ones((6, 6))), ValueError, r"power must have shape \(6, 4\), got \(6, 6\)"),
    ((6, np.zeros((6, 4))), ValueError, "power must be positive, got 0.0"),
])
def test_a_network_that_cannot_be_made(arguments, error, message):
    with pytest.raises(error, match=message):
        LatticeDenoiser(*arguments)


def test_bad_input_is_refused():
    with pytest.raises(TypeError, match="odd must be True or False, got 1"):
        LatticeDenoiser(6, odd=1)
    model = LatticeDenoiser(SIZE, **SMALL)
    with pytest.raises(ValueError, match=r"x must have shape \(n, 6, 6\), got \(2, 4, 4\)"):
        model.denoiser()(np.ones((2, 4, 4)), 0.5)
    with pytest.raises(ValueError, match="alpha_bar must lie between 0 and 1"):
        model.denoiser()(X, 1.0)
    with pytest.raises(ValueError, match="batch_size must be a positive integer, got 0"):
        model.denoiser(0)
    with pytest.raises(ValueError, match=r"x must be floats of shape \(n, 6, 6\), got NaN"):
        fit(model, np.full((5, SIZE, SIZE), np.nan), num_epochs=1)
    with pytest.raises(TypeError, match=r"x must be floats of shape \(n, 6, 6\), got int"):
        fit(model, np.ones((5, SIZE, SIZE), int), num_epochs=1)


# The trained networks ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", [each for each in trained.names() if "lattice-odd" in each])
def test_trained_networks_agree_with_equilibrium(name):
    """By their cards, with 8,192 samples, and in a few samples that are drawn here."""
    rows = {row["loss"]: row for row in trained.card(name)["figures"]["losses"]}
    for row in rows.values():
        error = np.hypot(row["standard_error"], row["its_standard_error"])
        assert abs(row["mean"] - row["in_equilibrium"]) < 4 * error, row["loss"]
    model = LatticeDenoiser(16)
    trained.load(model, name)
    noise = np.random.default_rng(7).standard_normal((400, 16, 16))
    m = lattice.angle_heun(model.denoiser(), model.power.numpy(), noise,
                           num_steps=8).mean(axis=(1, 2))
    for key, values in (("M", m), ("abs_M", abs(m))):
        expected = 0.0 if key == "M" else rows[key]["in_equilibrium"]
        assert abs(values.mean() - expected) < 4 * stats.sem(values)
    lattice.require_odd(model.denoiser(), noise[:20], (1e-3, 0.5, 0.99))


@pytest.mark.parametrize("name", [each for each in trained.names() if "lattice-free" in each])
def test_P5_the_trained_free_network_is_refused(name):
    model = LatticeDenoiser(16, odd=False)
    trained.load(model, name)
    x = np.random.default_rng(7).standard_normal((20, 16, 16))
    with pytest.raises(ValueError, match="denoiser must be odd"):
        lattice.require_odd(model.denoiser(), x, [0.5])
