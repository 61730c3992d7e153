"""Noise and back, in the browser: its numbers are the package's, and a reader can move it."""

import re

import matplotlib as mpl
import numpy as np

import notebooks
from live import noise_and_back

PAGE = "chapters/diffusion/samplers.html"
FIGURE = '[data-live="noise_and_back"]'


def state(figure):
    return figure.locator(".live-box").evaluate("box => box.liveState()")


def slider(figure, label):
    return figure.get_by_label(label)


def test_the_density_is_that_of_the_chapter():
    chapter = notebooks.CHAPTERS / "diffusion" / "samplers.ipynb"
    cell = next(cell for cell in notebooks.cells_of(chapter) if cell.id == "scores-02")
    names = {}
    with mpl.rc_context():
        exec(cell.source, names)
    for name in ("weights", "means", "covs"):
        given = getattr(noise_and_back.mixture(), name)
        assert np.array_equal(given, getattr(names["data"], name))


def test_the_still_picture_is_what_the_page_starts_with(figure):
    text = noise_and_back.FIGURE.read_text(encoding="utf-8")
    found = state(figure)
    for name, pattern, shift in (("ddim", r'cx="([^"]+)" cy="([^"]+)" r="([^"]+)"', 0),
                                 ("ancestral", r'x="([^"]+)" y="([^"]+)" width="([^"]+)"', 0.5)):
        marks = np.array(re.findall(f'class="{name}" {pattern}', text), float)
        drawn = marks[:, :2] + shift * marks[:, 2:]  # a square is given by its corner
        assert np.allclose(drawn, noise_and_back.place(found[name]), atol=0.02)  # of two digits
        assert np.argmax(marks[:, 2]) == found["path"] - 1  # the large one
    assert f"t = {found['t']}" in text


def test_its_paths_are_those_of_the_package(shared_figure):
    ddim, ancestral = (noise_and_back.paths(name) for name in ("ddim", "ancestral"))
    for t in (50, 49, 30, 5, 1, 0):
        slider(shared_figure, "time t").evaluate("(input, t) => input.move(t)", t)
        found = state(shared_figure)
        assert found["t"] == t
        assert np.allclose(found["ddim"], ddim[t], rtol=0, atol=1e-9)
        assert np.allclose(found["ancestral"], ancestral[t], rtol=0, atol=1e-9)
    shared_figure.get_by_role("button", name="New kicks").click()
    found, others = state(shared_figure), noise_and_back.paths("ancestral", noise_and_back.SEED + 1)
    assert np.allclose(found["ddim"], ddim[0], rtol=0, atol=1e-9)  # nothing random but the start
    assert np.allclose(found["ancestral"], others[0], rtol=0, atol=1e-9)
    assert np.max(np.abs(others[0] - ancestral[0])) > 1


def test_its_score_is_that_of_the_package(shared_figure):
    for t in (50, 20, 5, 0):
        slider(shared_figure, "time t").evaluate("(input, t) => input.move(t)", t)
        found = state(shared_figure)
        x = np.array([found["ddim"][found["path"] - 1]])
        noisy = noise_and_back.mixture().noisy(found["alphaBar"])
        assert np.allclose(found["score"], noisy.score(x)[0], rtol=1e-9)
        assert np.isclose(found["logDensity"], noisy.log_density(x)[0], rtol=1e-9)


def test_by_keyboard_and_its_values_are_announced(page, figure):
    status = figure.locator('[role="status"]')
    slider(figure, "time t").focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    assert state(figure)["t"] == 49
    page.keyboard.press("Tab")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    found = state(figure)
    assert found["path"] == 2
    status.filter(has_text="t = 49").filter(has_text="Path 2").wait_for()
    shown = [f"{number:.2f}".replace("-", "−") for number in found["ddim"][1]]
    assert f"DDIM at ({', '.join(shown)})" in status.inner_text()
    for name in ("From noise to data", "New kicks"):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == name
    page.keyboard.press("Space")
    assert state(figure)["seed"] == found["seed"] + 1
    before = figure.locator("canvas").first.screenshot()
    page.keyboard.press("Tab")
    page.keyboard.press("Space")  # no arrows
    page.wait_for_timeout(200)
    assert figure.locator("canvas").first.screenshot() != before


def test_by_pointer(page, figure):
    found, panel = state(figure), figure.locator("canvas").nth(1)
    size = panel.evaluate("canvas => canvas.clientWidth")
    place = noise_and_back.place(found["ancestral"]) * size / noise_and_back.SIZE
    panel.click(position={"x": float(place[6, 0]), "y": float(place[6, 1])})
    chosen = state(figure)["path"] - 1
    nearest = np.argmin(np.linalg.norm(place - place[6], axis=1))
    assert np.linalg.norm(place[chosen] - place[nearest]) < 2  # pixels
    time = slider(figure, "time t").bounding_box()
    page.mouse.move(time["x"] + time["width"] / 2, time["y"] + time["height"] / 2)
    page.mouse.down()
    assert 20 <= state(figure)["t"] <= 30
    page.mouse.move(time["x"] + time["width"] + 5, time["y"] + time["height"] / 2)
    page.mouse.up()
    assert state(figure)["t"] == 50


def test_from_noise_to_data_in_motion(page, figure):
    play, rates = figure.get_by_role("button", name="From noise to data"), []
    for _ in range(3):  # the machine may be busy
        play.click()
        first = state(figure)["frames"]
        page.wait_for_timeout(2000)
        rates.append((state(figure)["frames"] - first) / 2 / 2)  # two panels, two seconds
        if rates[-1] > 10:
            break
    print(f"{max(rates):.0f} pictures a second")
    assert max(rates) > 10
    page.wait_for_function(f"document.querySelector('{FIGURE} .live-box').liveState().t === 0")


def test_while_it_moves_the_line_goes_with_it_unheard(page, figure):
    """Each change of the line while the figure plays, and what is announced at the end."""
    heard = figure.locator(".live-box").evaluate("""box => new Promise((resume) => {
      const line = box.querySelector(".live-status"), time = box.querySelector("input"), heard = [];
      new MutationObserver(() => {
        const t = Number(line.textContent.match(/t = (\\d+)/)[1]);
        heard.push([t, time.valueAsNumber, line.getAttribute("aria-live")]);
        if (t === 0) resume(heard);
      }).observe(line, { childList: true, characterData: true, subtree: true });
      [...box.querySelectorAll("button")].find((it) => it.textContent.includes("noise")).click();
    })""")
    *moving, end = heard
    assert len(moving) > 10
    assert [each for each in moving if each[0] != each[1] or each[2] != "off"] == []
    assert end == [0, 0, "polite"]


def test_it_is_stopped_by_the_slider_and_then_announced(page, figure):
    figure.get_by_role("button", name="From noise to data").click()
    page.wait_for_timeout(300)
    slider(figure, "time t").focus()
    page.keyboard.press("ArrowRight")
    stopped = state(figure)["t"]
    status = figure.locator('[role="status"]')
    status.filter(has_text=f"t = {stopped},").wait_for()
    assert status.get_attribute("aria-live") == "polite"
    page.wait_for_timeout(300)
    assert state(figure)["t"] == stopped > 0


def test_with_reduced_motion_it_goes_at_once(page, figure):
    page.emulate_media(reduced_motion="reduce")
    figure.get_by_role("button", name="From noise to data").click()
    assert state(figure)["t"] == 0
