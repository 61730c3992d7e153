"""Guided samples of a Gaussian, in the browser: the numbers are the chapter's and the package's."""

import matplotlib as mpl
import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad

import notebooks
from genmodels import diffusion
from genmodels.diffusion import NoiseSchedule
from genmodels.exact import gaussian

PAGE = "chapters/diffusion/likelihood_guidance.html"
FIGURE = '[data-live="guidance_weight"]'
WEIGHTS = [0, 0.25, 0.45, 0.55, 1, 1.5, 2, 3, 5]


@pytest.fixture(scope="module")
def chapter():
    """The names of the chapter's cell with the closed forms."""
    path = notebooks.CHAPTERS / "diffusion" / "likelihood_guidance.ipynb"
    cell = next(cell for cell in notebooks.cells_of(path) if cell.id == "scores-49")
    names = {"np": np, "stats": stats, "quad": quad}
    with mpl.rc_context():
        exec(cell.source, names)
    return names


def state(figure):
    return figure.locator(".live-box").evaluate("box => box.liveState()")


def weigh(figure, w):
    figure.get_by_role("slider").evaluate("(input, w) => input.move(w)", w)
    return state(figure)


def moments(found, name):
    return found[name]["mean"], found[name]["variance"]


def test_moments_are_the_closed_forms_of_the_chapter(shared_figure, chapter):
    for w in WEIGHTS:
        found = weigh(shared_figure, w)
        assert found["w"] == w
        for name, expected in zip(("ode", "sde", "tilted"), chapter["closed_forms"](w)):
            assert np.allclose(moments(found, name), expected, rtol=1e-9, atol=1e-12), (w, name)


def test_the_variance_of_the_sde_at_one_half_is_the_limit(shared_figure, chapter):
    around = [chapter["closed_forms"](0.5 + step)[1][1] for step in (-1e-4, 1e-4)]
    assert weigh(shared_figure, 0.5)["sde"]["variance"] == pytest.approx(np.mean(around), rel=1e-7)


def test_moments_are_those_of_the_samplers_of_the_package(shared_figure, chapter):
    starts = np.array([0.0, 1.0])  # they determine a linear map
    for w in WEIGHTS:
        found = weigh(shared_figure, w)
        guided = diffusion.guided(chapter["conditional"], chapter["unconditional"], w)
        ends = NoiseSchedule([1 - 1e-5, 1e-8])  # of an ODE only the end points matter
        offset, at_1 = diffusion.ode(guided, ends, starts, tolerance=1e-9)
        mean, variance = moments(found, "ode")
        assert np.allclose((offset, at_1 - offset), (mean, variance**0.5), rtol=0, atol=1e-3)
        errors = [np.abs(np.subtract(ancestral_moments(chapter, steps, w), moments(found, "sde")))
                  for steps in (250, 1000)]
        assert np.all(errors[1] < 0.35 * errors[0] + 1e-4)  # a quarter: of first order
        assert np.all(errors[0] < 0.05)


def ancestral_moments(chapter, num_steps, w):
    """Mean and variance at t = 0 of ancestral steps; the denoiser is linear."""
    steps, mean, variance = NoiseSchedule.linear(num_steps), 0.0, 1.0
    denoiser = diffusion.guided(chapter["conditional"], chapter["unconditional"], w)
    starts = np.array([0.0, 1.0])
    for t in range(num_steps, 0, -1):
        x0_hat = denoiser(starts, steps.alpha_bar(t))
        (offset, at_1), noise = steps.posterior_moments(x0_hat, starts, t)
        mean, variance = offset + (at_1 - offset) * mean, (at_1 - offset)**2 * variance + noise
    return mean, variance


def test_divergences_are_those_of_the_package(shared_figure):
    for w in WEIGHTS:
        found = weigh(shared_figure, w)
        second = [[found["tilted"]["mean"]], [[found["tilted"]["variance"]]]]
        for name in ("ode", "sde"):
            first = [[found[name]["mean"]], [[found[name]["variance"]]]]
            expected = gaussian.kl_divergence(*first, *second)
            assert found[f"kl{name.title()}"] == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_the_text_says_what_one_sees(shared_figure):
    one = weigh(shared_figure, 1)
    assert np.allclose(moments(one, "ode"), moments(one, "tilted"), rtol=1e-9)
    assert np.allclose(moments(one, "sde"), moments(one, "tilted"), rtol=1e-9)
    three = weigh(shared_figure, 3)
    std = {name: three[name]["variance"] ** 0.5 for name in ("ode", "tilted")}
    assert three["ode"]["mean"] - three["tilted"]["mean"] > std["tilted"] > 2 * std["ode"]
    weights = [round(w, 2) for w in np.arange(0.05, 5.01, 0.05)]
    states = shared_figure.locator(".live-box").evaluate("""(box, weights) => weights.map((w) => {
      box.querySelector("input").move(w);
      return box.liveState();
    })""", weights)
    for w, found in zip(weights, states):
        assert found["w"] == w
        sign = np.sign(round(w - 1, 2))
        for k in (0, 1):  # means in this order, variances in the opposite one, below 1 the reverse
            values = [moments(found, name)[k] for name in ("tilted", "sde", "ode")]
            assert np.all((1, -1)[k] * sign * np.diff(values) > 0) or sign == 0


def test_by_keyboard_and_its_values_are_announced(page, figure):
    status, slider = figure.get_by_role("status").last, figure.get_by_role("slider")
    slider.focus()
    page.keyboard.press("End")
    assert state(figure)["w"] == 5 and slider.get_attribute("aria-valuetext") == "5.00"
    page.keyboard.press("ArrowLeft")
    found = state(figure)
    assert found["w"] == 4.95
    status.filter(has_text="w = 4.95").wait_for()
    for name in ("tilted", "ode", "sde"):
        mean, variance = moments(found, name)
        assert f"{mean:.3f} ± {variance**0.5:.3f}" in status.inner_text()
        assert f"{mean:.3f} ± {variance**0.5:.3f}" in figure.locator(".live-picture").inner_html()
    assert f"D[ODE‖tilted] = {found['klOde']:.3f} nats" in status.inner_text()
    silent = """box => {
      const line = box.querySelector(".live-status"), said = line.textContent;
      [0.5, 1, 1.5].forEach((value) => box.querySelector("input").move(value));
      return line.textContent === said && line.getAttribute("aria-live") === "polite";
    }"""
    assert figure.locator(".live-box").evaluate(silent)  # while it moves
    status.filter(has_text="w = 1.50").wait_for()


def test_by_pointer(page, figure):
    bar = figure.get_by_role("slider").bounding_box()
    y = bar["y"] + bar["height"] / 2
    page.mouse.move(bar["x"] + bar["width"] / 2, y)
    page.mouse.down()
    assert 2 < state(figure)["w"] < 3
    before = figure.locator(".live-picture").inner_html()
    page.mouse.move(bar["x"] - 5, y, steps=5)
    page.mouse.up()
    assert state(figure)["w"] == 0
    page.wait_for_timeout(100)
    assert figure.locator(".live-picture").inner_html() != before
