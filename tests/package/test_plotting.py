"""Figures show what they say, with one call of the decoder for a whole grid."""

import subprocess
import sys

import matplotlib
import numpy as np
import pytest

matplotlib.use("agg")

from genmodels import plotting
from genmodels.training import History


class FakeModel:
    """Counts its calls; a decoded image holds h_1 in its upper half and h_2 in its lower half."""

    def __init__(self, latent_dim=2, convert=lambda array: array):
        self.latent_dim = latent_dim
        self.convert = convert
        self.decoded = []
        self.encoded = []

    def encode(self, x):
        self.encoded.append(len(x))
        mean = np.stack([x[:, 0, 0], x[:, 0, 1]], axis=1)  # (n, 2)
        return self.convert(mean), self.convert(np.zeros_like(mean))

    def decode(self, h):
        self.decoded.append(h)
        images = np.empty((len(h), 28, 28), np.float32)
        images[:, :14] = h[:, 0, None, None]
        images[:, 14:] = h[:, 1, None, None]
        return self.convert(images)

    def sample(self, n, seed=None):
        h = np.random.default_rng(seed).standard_normal((n, self.latent_dim), dtype=np.float32)
        return self.decode(h)

    def reconstruct(self, x):
        return self.convert(1 - x)


def to_torch(array):
    return pytest.importorskip("torch").tensor(array).requires_grad_()


def to_bfloat16(array):
    return to_torch(array).bfloat16()


def to_tensorflow(array):
    return pytest.importorskip("tensorflow").constant(array)


frameworks = pytest.mark.parametrize("convert", [lambda a: a, to_torch, to_bfloat16, to_tensorflow],
                                     ids=["numpy", "torch", "bfloat16", "tensorflow"])


@pytest.fixture
def images():
    return np.random.default_rng(0).random((30, 28, 28), dtype=np.float32)


def shown(figure):
    """The array that the figure's one picture shows, and its extent."""
    (picture,) = figure.axes[0].get_images()
    return np.asarray(picture.get_array()), picture.get_extent()


def test_image_grid_places_images_row_by_row(images):
    grid = plotting.image_grid(images, 6)
    assert grid.shape == (5 * 28, 6 * 28)
    assert plotting.image_grid(np.zeros((6, 4, 8)), 3).shape == (2 * 4, 3 * 8)
    for index, image in enumerate(images):
        row, column = divmod(index, 6)
        np.testing.assert_array_equal(
            grid[28 * row:28 * row + 28, 28 * column:28 * column + 28], image)


@pytest.mark.parametrize(("shape", "num_columns", "message"), [
    ((4, 784), 2, r"images must have shape .*, got \(4, 784\)"),
    ((0, 28, 28), 2, r"images must have shape .*, got \(0, 28, 28\)"),
    ((4, 28, 28), 3, "num_columns must be a divisor of the number of images, 4, got 3"),
    ((4, 28, 28), 0, "num_columns must be .*, got 0"),
])
def test_image_grid_refuses(shape, num_columns, message):
    with pytest.raises(ValueError, match=message):
        plotting.image_grid(np.zeros(shape), num_columns)


@frameworks
def test_latent_grid_decodes_all_points_in_one_call(convert):
    model = FakeModel(convert=convert)
    plotting.latent_grid(model)
    (h,) = model.decoded
    assert h.shape == (900, 2) and h.dtype == np.float32


def test_latent_grid_shows_each_point_at_its_coordinates():
    model = FakeModel()
    figure = plotting.latent_grid(model, num_points=5, extent=1.5)
    grid, (left, right, bottom, top) = shown(figure)
    coordinates = [-1.5, -0.75, 0, 0.75, 1.5]
    for h_1 in coordinates:
        for h_2 in coordinates:
            column = int((h_1 - left) / (right - left) * grid.shape[1])
            row = int((top - h_2) / (top - bottom) * grid.shape[0])  # row 0 is at the top
            assert (row % 28, column % 28) == (14, 14)  # the centre of a tile
            assert (grid[row - 1, column], grid[row, column]) == (h_1, h_2)
    axes = figure.axes[0]
    assert axes.get_ylim()[0] < axes.get_ylim()[1]
    assert "h_1" in axes.get_xlabel() and "h_2" in axes.get_ylabel()


@pytest.mark.parametrize("arguments", [
    {"num_points": 1}, {"num_points": 0}, {"extent": 0.0}, {"extent": float("nan")}])
def test_latent_grid_refuses(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        plotting.latent_grid(FakeModel(), **arguments)


def test_figures_of_the_latent_plane_refuse_other_dimensions(images):
    model = FakeModel(latent_dim=8)
    with pytest.raises(ValueError, match="must have latent_dim 2 for this figure, got 8"):
        plotting.latent_grid(model)
    with pytest.raises(ValueError, match="must have latent_dim 2 for this figure, got 8"):
        plotting.latent_means(model, images, np.zeros(30, int))
    assert model.decoded == [] and model.encoded == []


@frameworks
def test_latent_means_have_the_colour_of_their_digit(convert, images, monkeypatch):
    monkeypatch.setattr(plotting, "ENCODE_BATCH", 7)
    model = FakeModel(convert=convert)
    labels = np.arange(30, dtype=np.uint8) % 10
    figure = plotting.latent_means(model, images, labels)
    assert model.encoded == [7, 7, 7, 7, 2]
    (points,) = figure.axes[0].collections
    tolerance = 2**-8 if convert is to_bfloat16 else 0  # its 8 significant bits
    np.testing.assert_allclose(points.get_offsets(), images[:, 0, :2], rtol=tolerance)
    points.update_scalarmappable()  # what drawing does
    expected = [matplotlib.colors.to_rgb(plotting.DIGIT_COLOURS[label]) for label in labels]
    np.testing.assert_allclose(points.get_facecolors()[:, :3], expected)
    assert figure.axes[0].get_aspect() == 1
    assert [text.get_text() for text in figure.axes[1].get_yticklabels()] == list("0123456789")


@pytest.mark.parametrize(("labels", "message"), [
    (np.zeros(29, int), r"shape \(29,\)"),
    (np.zeros((30, 10), int), r"shape \(30, 10\)"),
    (np.zeros(30), "float64"),
    (np.full(30, 10), "got 10 to 10"),
    (np.full(30, -1), "got -1 to -1"),
])
def test_latent_means_refuses_labels(images, labels, message):
    with pytest.raises(ValueError, match=f"labels .*{message}"):
        plotting.latent_means(FakeModel(), images, labels)


@frameworks
def test_reconstructions_lie_below_their_originals(convert, images):
    if convert is to_tensorflow:
        images = convert(images)  # images may be the framework's own
    grid, _ = shown(plotting.reconstructions(FakeModel(convert=convert), images, num_images=4))
    assert grid.shape == (2 * 28, 4 * 28)
    for column in range(4):
        tiles = grid[:, 28 * column:28 * column + 28]
        np.testing.assert_array_equal(tiles[:28], images[column])
        tolerance = 2**-8 if convert is to_bfloat16 else 0  # its 8 significant bits
        np.testing.assert_allclose(tiles[28:], 1 - images[column], rtol=tolerance)


@pytest.mark.parametrize("num_images", [0, 31])
def test_reconstructions_refuses(images, num_images):
    with pytest.raises(ValueError, match=f"num_images must .* 30, .*got {num_images}"):
        plotting.reconstructions(FakeModel(), images, num_images)


def test_samples_are_drawn_in_one_call_and_follow_the_seed():
    model = FakeModel()
    grids = [shown(plotting.samples(model, 3, 5, seed=seed))[0] for seed in (1, 1, 2)]
    assert [len(h) for h in model.decoded] == [15, 15, 15]
    assert grids[0].shape == (3 * 28, 5 * 28)
    np.testing.assert_array_equal(grids[0], grids[1])
    assert (grids[0] != grids[2]).any()


@pytest.mark.parametrize(("rows", "columns", "name"), [(0, 5, "num_rows"), (5, 0, "num_columns")])
def test_samples_refuses(rows, columns, name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        plotting.samples(FakeModel(), rows, columns, seed=0)


def test_names_of_the_rows_stand_in_their_middle():
    class Same:
        def reconstruct(self, x):
            return x

    figure = plotting.reconstructions(Same(), np.zeros((3, 8, 12)), 3)
    np.testing.assert_array_equal(figure.axes[0].get_yticks(), [4, 12])


def make_history(num_epochs):
    kl = np.linspace(3, 6, num_epochs)
    log_likelihood = np.linspace(-300, -150, num_epochs)
    return History({"loss": list(kl - log_likelihood), "log_likelihood": list(log_likelihood),
                    "kl": list(kl)})


@pytest.mark.parametrize("num_epochs", [1, 12])
def test_training_curves_show_the_three_lists_against_epochs(num_epochs):
    history = make_history(num_epochs)
    figure = plotting.training_curves(history)
    expected = [(history["loss"], plotting.LOSS_COLOUR),
                (history["log_likelihood"], plotting.LOG_LIKELIHOOD_COLOUR),
                (history["kl"], plotting.KL_COLOUR)]
    for axes, (values, colour) in zip(figure.axes, expected, strict=True):
        (line,) = axes.get_lines()
        np.testing.assert_array_equal(line.get_xdata(), np.arange(1, num_epochs + 1))
        np.testing.assert_array_equal(line.get_ydata(), values)
        assert line.get_color() == colour
        assert axes.get_ylabel() == "nats per example"
    assert figure.axes[-1].get_xlabel() == "epoch"


def test_training_curves_of_another_model_have_its_terms():
    figure = plotting.training_curves(History({"loss": [2.0, 1.0], "error": [4.0, 3.0]}))
    assert [axes.get_title() for axes in figure.axes] == ["loss", "error"]


@frameworks
def test_training_curves_draw_held_out_averages_with_standard_errors(convert):
    log_likelihood = convert(np.float32([-160, -150, -140, -170]))
    kl = convert(np.float32([5, 6, 7, 6]))
    figure = plotting.training_curves(make_history(3), (log_likelihood, kl))
    # By hand: losses 165, 156, 147, 176; the sums of squares about the means are 462, 500 and 2.
    expected = [(161, "161.00 ± 6.20"), (-155, "−155.00 ± 6.45"), (6, "6.00 ± 0.41")]
    for axes, (mean, text) in zip(figure.axes, expected, strict=True):
        line = axes.get_lines()[1]
        np.testing.assert_array_equal(line.get_ydata(), [mean, mean])
        assert line.get_color() == plotting.HELD_OUT_COLOUR
        assert line.get_label().endswith(text)


@pytest.mark.parametrize("history", [
    make_history(0), History(), History({"kl": [1.0]}),
    History({"loss": [1.0, 2.0], "log_likelihood": [1.0], "kl": [0.0, 0.0]})])
def test_training_curves_refuses_history(history):
    with pytest.raises(ValueError, match="got lists of lengths"):
        plotting.training_curves(history)


@pytest.mark.parametrize("held_out", [
    (np.zeros(3),), (np.zeros(3), np.zeros(4)), (np.zeros(1), np.zeros(1)), (1.0, 2.0)])
def test_training_curves_refuses_held_out(held_out):
    with pytest.raises(ValueError, match="got arrays of shapes"):
        plotting.training_curves(make_history(2), held_out)


def test_figures_are_let_go_and_can_be_saved(images, tmp_path):
    labels = np.arange(30) % 10
    model = FakeModel()
    figures = [plotting.latent_grid(model), plotting.latent_means(model, images, labels),
               plotting.reconstructions(model, images), plotting.samples(model, 2, 3, seed=0),
               plotting.training_curves(make_history(2))]
    assert plotting.plt.get_fignums() == []  # pyplot would show them a second time
    for figure in figures:
        figure.savefig(tmp_path / "figure.png")


def test_plotting_imports_no_framework():
    program = ("import sys, genmodels.plotting, genmodels.datasets; "
               "sys.exit(any(name in sys.modules for name in ('torch', 'tensorflow', 'keras')))")
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0
