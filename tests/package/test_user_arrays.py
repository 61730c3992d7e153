"""Arrays of any layout give the same numbers; functions that work in place change none of them."""

import copy
import warnings

import matplotlib
import numpy as np
import pytest
import torch

matplotlib.use("agg")

from genmodels import (
    bounds,
    diffusion,
    lattice_diffusion,
    monte_carlo,
    plotting,
    sample_quality,
)
from genmodels.diffusion import NoiseSchedule
from genmodels.exact import gaussian, ising, lattice
from genmodels.exact.lattice_fields import FreeField, Phi4, Quartic
from genmodels.exact.linear_gaussian import LinearGaussian
from genmodels.exact.mixture import GaussianMixture
from genmodels.models import classifier_torch, iwae_torch, masked_torch, unet_torch
from genmodels.training import History
from genmodels.validate import plain_array


def bfloat16_numbers(shape, seed, dtype=np.float64):
    """Normal numbers that bfloat16 holds exactly, so that no layout rounds them."""
    x = np.random.default_rng(seed).normal(size=shape)
    return torch.tensor(x).bfloat16().double().numpy().astype(dtype)


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def strided(array):
    wide = np.full((*array.shape, 2), 99.0, array.dtype)
    wide[..., 0] = array
    return wide[..., 0]


LAYOUTS = {
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),  # as FITS files have it
    "reversed": lambda a: np.flip(np.flip(a).copy()),  # negative strides
    "read-only": read_only,
    "Fortran": np.asfortranarray,
    "strided": strided,
    "tensor": torch.tensor,
    "gradient": lambda a: torch.tensor(a, requires_grad=True),
    "bfloat16": lambda a: torch.tensor(a).bfloat16(),
}
NAMES = ("weights", "means", "covs")
X, OTHER = bfloat16_numbers((8, 2), 0), bfloat16_numbers((8, 2), 1)
COV = np.array([[1.0, 0.25], [0.25, 0.5]])
MIXTURE = np.array([0.25, 0.75]), OTHER[:2], np.stack([COV, 2 * COV])
LINEAR = bfloat16_numbers((3, 2), 2), bfloat16_numbers((3,), 3)
SCHEDULE = NoiseSchedule([0.9, 0.5, 0.1])
LOG_WEIGHTS = bfloat16_numbers((4, 6), 4)
GREY = torch.rand(5, 28, 28, generator=torch.Generator().manual_seed(0)).bfloat16().float().numpy()
BINARY = (GREY < 0.3).astype(np.float32)
FIELDS = bfloat16_numbers((40, 4, 4), 6)
SPINS = np.sign(FIELDS).astype(np.float32)
POWER = abs(FIELDS[0, :, :3])
torch.manual_seed(0)
VAE = iwae_torch.BinaryVAE(2, 8)
CLASSIFIER = classifier_torch.Classifier()
UNET = unet_torch.UNet((16, 16, 16))
MASKED = masked_torch.MaskedSpins((4, 4), channels=4, dilations=(1,))
PHI4, FREE = Phi4(4, 0.2, 0.1), FreeField(4, 1.0)


def rng():
    return np.random.default_rng(0)


def bend(x, alpha_bar):
    return alpha_bar**0.5 * np.tanh(x)


def divergence(x, alpha_bar):
    return alpha_bar**0.5 * np.sum(1 - np.tanh(x) ** 2, axis=1)


def both_moments(x0, xt):
    return SCHEDULE.forward_moments(x0, 2)[0], SCHEDULE.posterior_moments(x0, xt, 2)[0]


CASES = {
    "log_density": (gaussian.log_density, X, OTHER, COV),
    "sample": (lambda mean, cov: gaussian.sample(mean, cov, 3, rng()), X[0], COV),
    "kl_divergence": (gaussian.kl_divergence, X[0], COV, X[1], 2 * COV),
    "kl_to_standard_normal": (gaussian.kl_to_standard_normal, X, OTHER),
    "LinearGaussian": (
        lambda W, b, x, q, cov: [
            (model := LinearGaussian(W, b, 0.5)).log_evidence(x), *model.posterior(x),
            *model.mean_field(x), model.elbo(x, q, cov), model.log_joint(x, q), model.decode(q)],
        *LINEAR, bfloat16_numbers((8, 3), 5), X, COV),
    "elbo_gradients": (lambda W, b, x, q, v: LinearGaussian(W, b, 0.5).elbo_gradients(x, q, v),
                       *LINEAR, LINEAR[1], X[0], X[1]),
    "GaussianMixture": (
        lambda w, m, c, x: [
            (mixture := GaussianMixture(w, m, c)).log_density(x), mixture.score(x),
            mixture.score_divergence(x), mixture.responsibilities(x), mixture.denoiser(x, 0.3),
            mixture.denoiser_divergence(x, 0.3), mixture.sample(3, rng())], *MIXTURE, X),
    "elbo": (bounds.elbo, LOG_WEIGHTS),
    "importance_weighted_bound": (lambda w: bounds.importance_weighted_bound(w, 3), LOG_WEIGHTS),
    "effective_sample_size": (bounds.effective_sample_size, LOG_WEIGHTS),
    "NoiseSchedule": (lambda a: [NoiseSchedule(a).alpha_bar(t) for t in range(4)],
                      np.array([0.75, 0.5, 0.125])),
    "moments": (both_moments, X, OTHER),
    "convert": (lambda v, x: diffusion.convert(v, x, 0.3, given="v", wanted="v"), X, OTHER),
    "elbo_terms": (lambda x: diffusion.elbo_terms(bend, SCHEDULE, x, rng()), X),
    "ancestral": (lambda x: diffusion.ancestral(bend, SCHEDULE, x, rng()), X),
    "ddim": (lambda x: diffusion.ddim(bend, SCHEDULE, x), X),
    "ode": (lambda x: diffusion.ode(bend, SCHEDULE, x), X),
    "ode, one step": (lambda x: diffusion.ode(bend, NoiseSchedule([0.5]), x), X),
    "ode_log_likelihood": (
        lambda x: diffusion.ode_log_likelihood(bend, divergence, x, tolerance=1e-3), X),
    "langevin": (lambda x: diffusion.langevin(bend, 0.5, x, rng(), step_size=0.1, num_steps=3),
                 X),
    "a denoiser's array": (
        lambda x: diffusion.ddim(diffusion.guided(lambda *_: x, bend, 2), SCHEDULE, OTHER), X),
    "a divergence's array": (
        lambda d: diffusion.ode_log_likelihood(bend, lambda *_: d, X, tolerance=1e-2), X[:, 0]),
    "a decoder's array": (
        lambda d: diffusion.elbo_terms(bend, SCHEDULE, X, rng(), decoder=lambda *_: d), X[:, 0]),
    "frechet_distance": (sample_quality.frechet_distance, X, OTHER),
    "precision_and_recall": (sample_quality.precision_and_recall, X, OTHER),
    "features": (CLASSIFIER.features, GREY),
    "classify": (CLASSIFIER.classify, GREY),
    "a network's denoiser": (lambda x: UNET.denoiser()(x, 0.3), GREY),
    "binarise": (lambda x: iwae_torch.binarise(x, torch.Generator().manual_seed(0)), GREY),
    "mean_image": (lambda x: iwae_torch.BinaryVAE(2, 8, mean_image=x).decoder[-2].bias, GREY[0]),
    "log_weights": (lambda x: iwae_torch.log_weights(VAE, x, 3, progress=False), BINARY),
    "autocorrelation": (lambda x: [*monte_carlo.autocorrelation_time(x),
                                   *monte_carlo.mean_and_error(x)], FIELDS.reshape(8, 80)),
    "jackknife": (lambda x, w: monte_carlo.jackknife(lambda mean: mean, x, num_blocks=10,
                                                     log_weights=w),
                  FIELDS.reshape(40, 16), FIELDS[:, 0, 0] / 4),
    "log weights": (lambda w: [monte_carlo.weight_tail(w), *monte_carlo.log_mean_weight(w),
                               *monte_carlo.independence_metropolis(w, rng())],
                    FIELDS[:, 0, 0] / 4),
    "Ising": (lambda x: [ising.energies(x), lattice.correlation(x),
                         ising.chain(4, 2.0, 3, rng(), start=x[0])], SPINS),
    "observables": (lambda x: [part for pair in lattice.observables(
        x, PHI4.action(x), num_blocks=10).values() for part in pair], FIELDS),
    "fields": (lambda x: [PHI4.action(x), PHI4.force(x), FREE.log_density(x), FREE.score(x),
                          Quartic(1.0, -1.0).log_density(x)], FIELDS),
    "power_spectrum": (lattice_diffusion.power_spectrum, FIELDS),
    "gaussian_denoiser": (lambda p, x: lattice_diffusion.gaussian_denoiser(p)(x, 0.3),
                          POWER, FIELDS),
    "angle_heun": (lambda p, x: lattice_diffusion.angle_heun(bend, p, x, num_steps=2),
                   POWER, FIELDS),
    "masked spins": (lambda x: [MASKED.log_probability(
        x, 0, np.arange(16).reshape(4, 4)), MASKED.logits(x, 0)], SPINS),
    "image_grid": (lambda x: plotting.image_grid(x, 1), GREY),
}


def arrays(result):
    """All the numbers that a function returned, as arrays."""
    if isinstance(result, list | tuple):
        return [array for part in result for array in arrays(part)]
    return [plain_array(result)]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", CASES)
def test_the_layout_of_an_array_does_not_matter(case, layout):
    function, *plain = CASES[case]
    if layout == "bfloat16":
        plain = [array.astype(np.float32) for array in plain]  # to which it is converted
    expected = arrays(function(*plain))
    given = [LAYOUTS[layout](array) for array in plain]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = arrays(function(*given))
    for ours, theirs in zip(result, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for array, before in zip(given, plain, strict=True):  # and no argument was overwritten
        np.testing.assert_array_equal(plain_array(array), before)


@pytest.mark.parametrize("case", CASES)
def test_what_is_returned_shares_no_memory_with_what_was_given(case):
    function, *given = CASES[case]
    given = [array.copy() for array in given]
    result = function(*given)
    for array in result if isinstance(result, list | tuple) else [result]:
        array = array.detach().numpy() if torch.is_tensor(array) else np.asarray(array)
        assert not any(np.shares_memory(array, each) for each in given)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_samplers_do_not_round_as_a_denoiser_does(dtype):
    def rounding(x, alpha_bar):
        return bend(x, alpha_bar).astype(dtype)

    def rounded(x, alpha_bar):
        return rounding(x, alpha_bar).astype(np.float64)

    # of the few products of float32 numbers that are left in float32, each 6e-8
    for sampler, *more in (diffusion.ancestral, rng), (diffusion.ddim,), (diffusion.ode,):
        x, exact = (sampler(denoiser, SCHEDULE, X, *(make() for make in more))
                    for denoiser in (rounding, rounded))
        np.testing.assert_allclose(x, exact, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint64", "int64", ">i2", "float16",
                                   "longdouble"])
def test_integers_of_a_users_function_do_not_wrap(dtype):
    def constant(value):
        return lambda x, *_: np.full(x.shape, value, dtype)

    guided = diffusion.guided(constant(0), constant(1), 2.0)(X, 0.5)
    np.testing.assert_array_equal(guided, np.full(X.shape, -1.0))
    terms = diffusion.elbo_terms(bend, SCHEDULE, X, rng(),
                                 decoder=lambda x0, *_: np.full(len(x0), 3, dtype))
    assert guided.dtype == terms.reconstruction.dtype == np.float64
    np.testing.assert_array_equal(-terms.reconstruction, np.full(len(X), -3.0))


# Functions that work in place ---------------------------------------------------------------------


class InPlace:
    """Makes functions that overwrite what they are given, and return one array at each call."""

    def __init__(self):
        self.kept = []
        self.buffers = {}

    def __call__(self, function):
        def spoiled(*arguments):
            result = np.array(function(*arguments))
            self.spoil(*arguments)
            buffer = self.buffers.setdefault(result.shape, result)  # shared by all the functions
            buffer[...] = result
            return buffer

        return spoiled

    def spoil(self, *arguments):
        for argument in arguments:
            if isinstance(argument, np.ndarray):
                torch.from_numpy(argument).fill_(99)  # warns if the array is read-only
                self.kept.append(argument)

    def overwrite(self):
        """What a user may do at any time with arrays that are theirs."""
        for array in [*self.kept, *self.buffers.values()]:
            array[...] = 99


def other(x, alpha_bar):
    return alpha_bar * x + 0.5


def watched(sampler, *arguments):
    def run(wrap, spoil):
        return sampler(wrap(bend), SCHEDULE, X, *arguments,
                       watch=lambda t, x: spoil(x))

    return run


RUNS = {
    "ancestral": lambda wrap, spoil: watched(diffusion.ancestral, rng())(wrap, spoil),
    "ddim": watched(diffusion.ddim),
    "ode": lambda wrap, _: diffusion.ode(wrap(bend), SCHEDULE, X),
    "ode, one step": lambda wrap, _: diffusion.ode(wrap(bend), NoiseSchedule([0.5]), X),
    "langevin": lambda wrap, _: diffusion.langevin(wrap(bend), 0.5, X, rng(), step_size=0.1,
                                                   num_steps=3),
    "guided": lambda wrap, _: diffusion.guided(wrap(bend), wrap(other), 2)(X, 0.5),
    "ddim, guided": lambda wrap, _: diffusion.ddim(
        diffusion.guided(wrap(bend), wrap(other), 2), SCHEDULE, X),
    "denoise": lambda wrap, _: diffusion.denoise(wrap(bend), X, 0.5),
    "elbo_terms": lambda wrap, _: diffusion.elbo_terms(
        wrap(bend), SCHEDULE, X, rng(), decoder=wrap(diffusion.gaussian_decoder)),
    "ode_log_likelihood": lambda wrap, _: diffusion.ode_log_likelihood(
        wrap(bend), wrap(divergence), X, tolerance=1e-3),
}


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_functions_that_work_in_place_change_nothing(run):
    before = X.copy()
    expected = arrays(run(lambda function: function, lambda x: None))
    in_place = InPlace()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = run(in_place, in_place.spoil)
    in_place.overwrite()
    for ours, theirs in zip(arrays(result), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(X, before)


class Model:
    """A model of the plane for `plotting`; with `wrap`, one whose methods work in place."""

    latent_dim = 2

    def __init__(self, wrap):
        self.decode = wrap(lambda h: np.repeat(h[:, :1], 784, axis=1).reshape(-1, 28, 28))
        self.reconstruct = wrap(lambda x: 1 - x)
        self._mean = wrap(lambda x: x[:, 0, :2])

    def encode(self, x):
        return self._mean(x), None

    def sample(self, n, seed):
        return self.decode(np.random.default_rng(seed).normal(size=(n, 2)))


LABELS = np.arange(5)
FIGURES = {
    "latent_grid": lambda model, _: plotting.latent_grid(model, 3),
    "latent_means": lambda model, images: plotting.latent_means(model, images, LABELS),
    "reconstructions": lambda model, images: plotting.reconstructions(model, images, 4),
    "samples": lambda model, _: plotting.samples(model, 2, 3, seed=0),
}


def drawn(figure):
    """The numbers in the first axes."""
    axes = figure.axes[0]
    return [np.array(image.get_array()) for image in axes.get_images()] + [
        np.array(points.get_offsets()) for points in axes.collections]


@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)
def test_models_that_work_in_place_change_no_figure(draw, monkeypatch):
    monkeypatch.setattr(plotting, "ENCODE_BATCH", 1)  # equal shapes: one array for all batches
    images, expected = GREY.copy(), drawn(draw(Model(lambda function: function), GREY))
    in_place = InPlace()
    figure = draw(Model(in_place), images)
    in_place.overwrite()
    assert expected
    for ours, theirs in zip(drawn(figure), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(images, GREY)


def test_training_curves_keep_what_they_drew():
    history = History({"loss": [3.0, 2.0], "log_likelihood": [-2.0, -1.0], "kl": [1.0, 1.0]})
    held_out = np.array([-1.0, -2.0]), np.array([1.0, 1.0])
    figure = plotting.training_curves(history, held_out)
    history["loss"][:] = 9, 9
    for array in held_out:
        array[:] = 9
    first, last = figure.axes[0].get_lines()
    assert list(first.get_ydata()) == [3, 2] and list(last.get_ydata()) == [2.5, 2.5]


@pytest.mark.parametrize("convert", [np.array, torch.tensor])
def test_networks_that_work_in_place_leave_the_images_as_they_are(convert):
    class Clear(torch.nn.Module):
        def forward(self, x):
            return x.mul_(0)

    vae, classifier = copy.deepcopy(VAE), copy.deepcopy(CLASSIFIER)
    vae.encoder.features.insert(0, Clear())
    classifier.hidden.insert(0, Clear())
    for use in (lambda x: iwae_torch.log_weights(vae, x, 4, samples_per_pass=2, progress=False),
                classifier.features, classifier.classify):
        images = convert(BINARY)
        use(images)
        np.testing.assert_array_equal(images, BINARY)
