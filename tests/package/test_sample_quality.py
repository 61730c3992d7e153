"""The classifier, and the distances in its features."""

import numpy as np
import pytest
import scipy.linalg
import torch

from genmodels.datasets import BUNDLED
from genmodels.models import classifier_torch
from genmodels.models.classifier_torch import Classifier
from genmodels.models.conversion import to_arrays
from genmodels.sample_quality import frechet_distance, precision_and_recall


@pytest.fixture(scope="module")
def digits():
    with np.load(BUNDLED) as file:
        return {name: file[name].astype(np.float32) / 255 if "x" in name else file[name]
                for name in file.files}


def test_number_of_parameters():
    number = sum(p.numel() for p in Classifier().parameters())
    assert f"{number:,} parameters" in Classifier.__doc__
    assert sum(array.size for array in to_arrays(Classifier()).values()) == number


def test_fit_learns_and_two_runs_agree(digits):
    models = []
    for _ in range(2):
        torch.manual_seed(0)
        models.append(Classifier())
        history = classifier_torch.fit(models[-1], digits["x_train"], digits["y_train"],
                                     num_epochs=2, progress=False)
    right = models[0].classify(digits["x_test"]) == digits["y_test"]
    assert right.mean() > 0.85  # chance: 0.1
    assert history["loss"][-1] < history["loss"][0]
    for a, b in zip(to_arrays(models[0]).values(), to_arrays(models[1]).values()):
        np.testing.assert_array_equal(a, b)
    features = models[0].features(digits["x_test"])
    assert features.shape == (len(digits["x_test"]), classifier_torch.NUM_FEATURES)
    logits = features @ models[0].logits.weight.detach().numpy().T
    logits += models[0].logits.bias.detach().numpy()
    assert np.mean(logits.argmax(axis=1) == models[0].classify(digits["x_test"])) > 0.999


@pytest.mark.parametrize("k", [1, 2, 10])
def test_frechet_distance_is_that_of_gaussians(k):
    # Against SciPy's square root of a matrix that is not symmetric, and with exact moments: points
    # whose sample mean and covariance are those asked for, up to rounding.
    rng, n = np.random.default_rng(k), 200
    points, moments = [], []
    for _ in range(2):
        x = rng.normal(size=(n, k))
        x = (x - x.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T).reshape(k, k))).T
        factor, mean = rng.normal(size=(k, k)), rng.normal(size=k)
        points.append(x @ factor.T + mean)
        moments.append((mean, factor @ factor.T))
    (m1, c1), (m2, c2) = moments
    expected = np.sum((m1 - m2) ** 2) + np.trace(c1 + c2 - 2 * np.real(scipy.linalg.sqrtm(c1 @ c2)))
    assert frechet_distance(*points) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("k", [1, 2, 10, 32])
@pytest.mark.parametrize("num_constant", [0, 1, 5])
def test_frechet_distance_of_equal_sets_is_zero_and_never_negative(k, num_constant):
    """Features that are always 0, as those behind a ReLU may be, have a singular covariance."""
    rng = np.random.default_rng(k)
    for _ in range(20):
        x = rng.normal(size=(100, k)) @ rng.normal(size=(k, k)) + rng.normal(size=k)
        x[:, :num_constant] = 0
        variance = x.var(axis=0).sum()
        # Factors (k, k) and U are off by some k times the rounding of numbers of this size.
        largest = (10 * k * np.finfo(float).eps) ** 2 * variance
        for same in (x, x[rng.permutation(100)]):
            assert 0 <= frechet_distance(x, same) <= largest + (
                10 * np.finfo(float).eps) ** 2 * (x.mean(axis=0) ** 2).sum()
        shift = rng.normal(size=k)
        shift *= 1e-7 / np.linalg.norm(shift)  # as far apart as the root of rounding
        assert frechet_distance(x, x + shift) == pytest.approx(1e-14, rel=1e-6)


def test_frechet_distance_of_sets_that_share_no_direction():
    # Covariances of disjoint ranges: the cross term is 0, and the distance the sum of the traces.
    x, y = np.random.default_rng(0).normal(size=(2, 50, 4))
    x[:, 2:] = y[:, :2] = 0
    expected = (np.sum((x.mean(0) - y.mean(0)) ** 2) + x.var(0, ddof=1).sum()
                + y.var(0, ddof=1).sum())
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-12)


def test_autocast_does_not_change_features(digits):
    model, images = Classifier(), digits["x_test"][:20]
    for use in (model.features, model.classify):
        expected = use(images)
        with torch.autocast("cpu", torch.bfloat16):
            np.testing.assert_array_equal(use(images), expected)
        for dtype in (torch.bfloat16, torch.float16):
            model.to(dtype)
            with pytest.raises(TypeError, match="model must be of float32 or float64, got"):
                use(images)
        model.float()


def test_precision_and_recall():
    rng = np.random.default_rng(0)
    whole, other_whole = rng.uniform(size=(2, 600, 2))
    half = other_whole * [0.5, 1]
    precision, recall = precision_and_recall(whole, half)
    assert precision > 0.95 and 0.4 < recall < 0.62  # all of the half, half of the whole
    precision, recall = precision_and_recall(half, whole)
    assert recall > 0.95 and 0.4 < precision < 0.62
    assert precision_and_recall(whole, whole + 10) == (0, 0)
    assert precision_and_recall(whole, whole) == (1, 1)


def test_bad_input(digits):
    x = np.random.default_rng(0).normal(size=(20, 3))
    for bad in (x[0], np.zeros((20, 2))):
        with pytest.raises(ValueError, match="others must have shape"):
            frechet_distance(x, bad)
        with pytest.raises(ValueError, match="made must have shape"):
            precision_and_recall(x, bad)
    with pytest.raises(TypeError, match="num_neighbours"):
        precision_and_recall(x, x, 2.0)
    images = digits["x_train"][:4]
    with pytest.raises(ValueError, match="images"):
        Classifier().features(images * 2)
    with pytest.raises(ValueError, match="labels must have shape"):
        classifier_torch.fit(Classifier(), images, np.arange(3), num_steps=1)
    with pytest.raises(ValueError, match="labels must lie"):
        classifier_torch.fit(Classifier(), images, np.arange(8, 12), num_steps=1)


def test_sets_that_are_too_small_are_told_their_own_limit():
    with pytest.raises(ValueError, match=r"real must have more members .*, got 0"):
        precision_and_recall(np.zeros((0, 5)), np.zeros((9, 5)))
    with pytest.raises(ValueError, match="others must have more rows than its 5 columns, got 5"):
        frechet_distance(np.zeros((9, 5)), np.zeros((5, 5)))
