"""Figures that a reader moves: their numbers are the package's, by keyboard and by pointer."""

import re
from itertools import pairwise
from statistics import median

import live_figures
import numpy as np
import pytest
from scipy import integrate

import live_stills
import notebooks
from genmodels.exact import gaussian
from genmodels.exact.linear_gaussian import LinearGaussian

PAGES = live_stills.pages_by_figure()
OURS = live_stills.drawn_in_pages()


def address(html, name):
    return (html / PAGES[name].relative_to(notebooks.ROOT).with_suffix(".html")).as_uri()


def opened(page, html, name):
    """Open the page of a figure and return the moving part."""
    page.goto(address(html, name))
    box = page.locator(f"[data-live={name}].started .live-box")
    box.wait_for(state="attached")
    box.scroll_into_view_if_needed()
    return box


def state_of(box):
    return box.evaluate("box => box.liveState()")


def put(box, values):
    """Set sliders, by their labels, as a reader would."""
    for label, value in values.items():
        box.get_by_label(label, exact=True).fill(str(value))
    return state_of(box)


def announced(box, text):
    """Wait until the line that is read aloud contains a text, minus signs as in the page."""
    box.locator(".live-status").filter(has_text=text.replace("-", "−")).wait_for()


def drag(page, box, handle, dx, dy):
    """Drag a handle by so many pixels, in ten steps."""
    frame = box.locator(f"[data-moves={handle}]").bounding_box()
    x, y = frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + dx, y + dy, steps=10)
    page.mouse.up()


# Two Gaussians ----------------------------------------------------------------------------------


def check_divergences(state):
    """Compare both divergences and all areas with the package and with quadrature."""
    for first, second, kl, areas in [("q", "p", "klQp", "areasQp"), ("p", "q", "klPq", "areasPq")]:
        a, b = state[first], state[second]
        moments = [[a["mean"]], [[a["std"] ** 2]], [b["mean"]], [[b["std"] ** 2]]]
        expected = gaussian.kl_divergence(*moments)
        assert state[kl] == pytest.approx(expected, rel=1e-9, abs=1e-14)

        def integrand(h, moments=moments):
            h = np.expand_dims(h, -1)
            log_first = gaussian.log_density(h, *moments[:2])
            return np.exp(log_first) * (log_first - gaussian.log_density(h, *moments[2:]))

        # On each side of where the densities are equal; found anew, from the densities alone.
        grid = np.linspace(a["mean"] - 12 * a["std"], a["mean"] + 12 * a["std"], 4001)
        values = integrand(grid)
        change = np.flatnonzero(np.diff(np.sign(values)))
        pieces = [grid[0], *(root(integrand, grid[i], grid[i + 1]) for i in change), grid[-1]]
        parts = [integrate.quad(integrand, *ends, epsabs=1e-13, epsrel=1e-11, limit=500)[0]
                 for ends in pairwise(pieces)]
        found = state[areas]["positive"], state[areas]["negative"]
        assert found[0] == pytest.approx(sum(x for x in parts if x > 0), rel=1e-9, abs=1e-12)
        assert found[1] == pytest.approx(-sum(x for x in parts if x < 0), rel=1e-9, abs=1e-12)
        assert found[0] - found[1] == pytest.approx(expected, rel=1e-9, abs=1e-12)


def root(f, low, high):
    for _ in range(80):  # bisection: the areas do not depend on it to first order
        middle = (low + high) / 2
        low, high = (middle, high) if f(low) * f(middle) > 0 else (low, middle)
    return low


GAUSSIANS = [(0.5, 0.8, -0.3, 1.5), (0, 1, 0, 2.5), (-3, 0.3, 3, 0.3), (3, 2.5, -3, 0.3),
             (1, 1, 1, 1), (0.2, 0.7, 0.21, 0.7), (-0.4, 1.01, 0.3, 1)]


def test_divergences_and_areas_are_those_of_the_package(plain, html):
    labels = ["Mean of Q", "Width of Q", "Mean of p", "Width of p"]
    box = opened(plain, html, "two_gaussians")
    for values in GAUSSIANS:
        state = put(box, dict(zip(labels, values)))
        read = [state["q"]["mean"], state["q"]["std"], state["p"]["mean"], state["p"]["std"]]
        assert read == list(values)
        check_divergences(state)


def test_two_gaussians_move_by_keys_and_are_announced_at_rest(plain, html):
    box = opened(plain, html, "two_gaussians")
    before = state_of(box)
    announced(box, f"{before['klQp']:.4f} nats")
    announced(box, f"{before['klPq']:.4f} nats")
    slider = box.get_by_label("Mean of Q", exact=True)
    slider.focus()
    for _ in range(3):
        plain.keyboard.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == "0.53"
    state = state_of(box)
    assert state["q"]["mean"] == 0.53 and state["klQp"] > before["klQp"]
    announced(box, f"{state['klQp']:.4f} nats")
    silent = """box => {
      const line = box.querySelector(".live-status"), said = line.textContent;
      [0.6, 0.7, 0.8].forEach((value) => box.querySelector("input").move(value));
      return line.textContent === said && line.getAttribute("aria-live") === "polite";
    }"""
    assert box.evaluate(silent)  # while it moves
    announced(box, f"{state_of(box)['klQp']:.4f} nats")
    plain.keyboard.press("Tab")
    plain.keyboard.press("End")
    assert state_of(box)["q"]["std"] == 2.5
    check_divergences(state_of(box))


@pytest.mark.parametrize(("handle", "dx"), [("qMean", 80), ("pMean", -60), ("qStd", 40),
                                            ("pStd", -25)])
def test_two_gaussians_move_by_pointer(plain, html, handle, dx):
    box = opened(plain, html, "two_gaussians")
    before = state_of(box)
    drag(plain, box, handle, dx, 30)
    state, which, what = state_of(box), handle[0], handle[1:].lower()
    pixel = 18 / box.locator("svg.live-picture").bounding_box()["width"]
    moved = state[which][what] - before[which][what]
    assert moved == pytest.approx(dx * pixel, abs=pixel + 0.01)
    check_divergences(state)
    announced(box, f"{state['klQp']:.4f} nats")
    drawn = box.locator("svg.live-picture").text_content()
    assert f"{state['klQp']:.4f} nats" in drawn and f"{state['klPq']:.4f} nats" in drawn


# The bound --------------------------------------------------------------------------------------


def check_bound(page, state):
    """Compare each term with the package's."""
    data = page.evaluate("liveFigures.data.elbo_bar")
    model = LinearGaussian(data["weights"], data["bias"], data["noise_std"])
    x, (mean, cov) = data["x"], model.posterior(data["x"])
    q = state["mean"], state["factor"] ** 2 * cov
    expected = {
        "expected": model.expected_log_likelihood(x, *q),
        "kl": gaussian.kl_divergence(*q, np.zeros(2), np.eye(2)),
        "elbo": model.elbo(x, *q),
        "gap": gaussian.kl_divergence(*q, mean, cov),
        "logEvidence": model.log_evidence(x),
    }
    for name, value in expected.items():
        assert state[name] == pytest.approx(value, rel=1e-9, abs=1e-12), name
    assert state["elbo"] + state["gap"] == pytest.approx(state["logEvidence"], rel=1e-12)


@pytest.mark.parametrize("keys", [[], ["Home", "Home", "End"], ["End", "PageDown", "Home"]])
def test_terms_of_the_bound_are_those_of_the_package(plain, html, keys):
    box = opened(plain, html, "elbo_bar")
    for label, key in zip(["Mean of Q, h₁", "Mean of Q, h₂", "Width of Q"], keys):
        box.get_by_label(label, exact=True).focus()
        plain.keyboard.press(key)
    check_bound(plain, state_of(box))
    state = state_of(box)
    announced(box, f"{state['elbo']:.3f} + {state['gap']:.3f} = {state['logEvidence']:.3f} nats")


def test_the_bound_moves_by_pointer(plain, html):
    box = opened(plain, html, "elbo_bar")
    before = state_of(box)
    drag(plain, box, "mean", -40, -25)
    moved = state_of(box)
    assert moved["mean"][0] < before["mean"][0] and moved["mean"][1] > before["mean"][1]
    check_bound(plain, moved)
    drag(plain, box, "factor", 30, 5)
    wider = state_of(box)
    assert wider["factor"] > moved["factor"] and wider["mean"] == moved["mean"]
    check_bound(plain, wider)


def test_a_button_sets_q_to_the_posterior_and_closes_the_gap(plain, html):
    box = opened(plain, html, "elbo_bar")
    box.get_by_role("button").focus()
    plain.keyboard.press("Enter")
    state = state_of(box)
    assert abs(state["gap"]) < 1e-12 and state["elbo"] == pytest.approx(state["logEvidence"])
    check_bound(plain, state)


# All ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAGES)
def test_without_scripts_and_in_print_the_drawing_stays(browser, plain, html, name):
    box = opened(plain, html, name)
    still = plain.locator(f"[data-live={name}] .drawing")
    assert box.is_visible() and not still.is_visible()
    plain.emulate_media(media="print")
    assert still.is_visible() and not box.is_visible()
    context = browser.new_context(java_script_enabled=False)
    silent = context.new_page()
    silent.goto(address(html, name))
    assert silent.locator(f"[data-live={name}] .drawing").is_visible()
    assert silent.locator(".live-box").count() == 0
    context.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_script_that_fails_leaves_the_drawing(browser, html, name, without_formulas):
    context = browser.new_context()
    page, said = without_formulas(context.new_page()), []
    page.on("console", lambda message: said.append(message.text))
    failing = f"liveFigures.define('{name}', () => {{ throw new Error('no'); }});"
    page.route(f"**/live/{name}.js*", lambda route: route.fulfill(
        body=failing, content_type="text/javascript"))
    page.goto(address(html, name))
    assert page.locator(f"[data-live={name}] .drawing").is_visible()
    assert page.locator(f"[data-live={name}] .live-box").count() == 0
    assert [text for text in said if f"live figure {name}" in text]
    context.close()


@pytest.mark.parametrize("name", OURS)
def test_the_drawing_is_that_of_the_state_in_which_the_figure_starts(plain, html, name):
    number = re.compile(r"(?<![\w#])-?\d+(?:\.\d+)?")
    opened(plain, html, name)
    path = PAGES[name].parent / "figures" / f"live_{name}.svg"
    drawn, still = live_stills.drawing_of(plain, name), path.read_text(encoding="utf-8")
    shapes = [number.sub("#", text) for text in (drawn, still)]
    assert shapes[0] == shapes[1], "run `python book/live_stills.py`"
    numbers = [np.array(number.findall(text), float) for text in (drawn, still)]
    assert np.allclose(*numbers, rtol=0, atol=0.15), "run `python book/live_stills.py`"
    described = re.search(rf"!\[([^\]]+)\]\(figures/live_{name}", notebooks.text_of(PAGES[name]))
    stated = re.findall(r"\d+\.\d{3,}", described[1])
    assert len(stated) >= 5 and set(stated) <= set(re.findall(r"\d+\.\d+", still))


@pytest.mark.parametrize("name", OURS)
def test_nothing_is_cut_or_too_small(plain, html, name):
    box = opened(plain, html, name)
    cut = """box => {
      const svg = box.querySelector(".live-picture"), frame = svg.getBoundingClientRect();
      const bad = [...svg.querySelectorAll("text")].filter((text) => {
        const it = text.getBoundingClientRect();
        return it.left < frame.left - 1 || it.right > frame.right + 1 || it.top < frame.top - 1
          || it.bottom > frame.bottom + 1 || it.height < 12;
      });
      const outside = [...box.querySelectorAll("input, output, button")].filter(
        (control) => control.getBoundingClientRect().right > document.documentElement.clientWidth);
      return [...bad, ...outside].map((element) => element.textContent || element.id);
    }"""
    for width in (1280, 390, 320):
        plain.set_viewport_size({"width": width, "height": 800})
        plain.wait_for_timeout(100)
        assert box.evaluate(cut) == [], width


@pytest.mark.parametrize("name", PAGES)
def test_controls_have_names_and_a_visible_focus(plain, html, name):
    box = opened(plain, html, name)
    controls = box.locator("input, button, select").all()
    assert controls
    for control in controls:
        assert control.evaluate("it => (it.labels?.[0] ?? it).textContent.trim()")
        control.focus()
        plain.keyboard.press("Shift+Tab")
        plain.keyboard.press("Tab")
        focused = control.evaluate(
            "it => it === document.activeElement && getComputedStyle(it).outlineStyle")
        assert focused == "solid"
    assert box.get_by_role("status").count() >= 1
    assert box.locator(".live-picture").first.get_attribute("aria-label")


@pytest.mark.parametrize("name", OURS)
def test_thirty_frames_a_second(plain, html, name, record_property):
    measure = """async (box) => {
      const input = box.querySelector("input"), costs = [], start = performance.now();
      const [low, high] = [Number(input.min), Number(input.max)];
      for (let i = 0; i < 60; i += 1) {
        let began;
        requestAnimationFrame(() => { began = performance.now(); });
        input.move(low + (high - low) * i / 59); // asks for the figure's frame
        await new Promise((resume) => requestAnimationFrame(() => {
          box.getBoundingClientRect();
          costs.push(performance.now() - began);
          resume();
        }));
      }
      return [costs, 60_000 / (performance.now() - start)];
    }"""
    costs, frames = opened(plain, html, name).evaluate(measure)
    record_property("frames_a_second", frames)
    record_property("milliseconds_a_drawing", median(costs))
    print(f"{name}: {frames:.0f} frames a second, {median(costs):.1f} ms a drawing")
    assert median(costs) < 1000 / 30


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", PAGES)
def test_nothing_moves_when_a_figure_starts(browser, html, name, width):
    """The figure in sight, and started when all else on the page is at rest."""
    context = browser.new_context(viewport={"width": width, "height": 900})
    page = context.new_page()
    page.add_init_script("""
      window.shifts = [];
      const watch = (list) => list.getEntries().forEach(({ value }) => window.shifts.push(value));
      new PerformanceObserver(watch).observe({ type: "layout-shift" });
    """)
    page.route("**/tex-svg-full.js*", lambda route: route.abort())  # formulas move a page, too
    text = (html / "_static" / "live" / "common.js").read_text(encoding="utf-8")
    assert text.count('"DOMContentLoaded"') == 1
    page.route("**/live/common.js*", lambda route: route.fulfill(
        body=text.replace('"DOMContentLoaded"', '"late"'), content_type="text/javascript"))
    page.goto(address(html, name))
    figure = page.locator(f"[data-live={name}]")
    figure.evaluate("it => it.scrollIntoView({ behavior: 'instant', block: 'center' })")
    page.wait_for_timeout(1000)
    before = figure.bounding_box()
    assert figure.locator(".drawing").is_visible() and page.locator(".live-box").count() == 0
    page.evaluate("window.shifts.length = 0; document.dispatchEvent(new Event('late'))")
    page.locator(f"[data-live={name}].started").wait_for(state="attached")
    page.wait_for_timeout(500)
    after, box = figure.bounding_box(), figure.locator(".live-box").bounding_box()
    shifts = page.evaluate("window.shifts")
    context.close()
    print(f"{name}, {width} pixels: shift {sum(shifts):.4f}, {after['height']:.0f} pixels high, "
          f"of which {box['height']:.0f} are used")
    # a page may lie a part of a pixel elsewhere once it is painted again
    assert after == pytest.approx(before, abs=0.5), "run `python book/live_stills.py`"
    assert sum(shifts) < 1e-3
    assert after["height"] - box["height"] < 60  # not much more than it needs


def test_scripts_are_loaded_where_a_figure_is_and_nowhere_else(html):
    for path in (html / "chapters").rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        shown = set(re.findall(r'data-live="(\w+)"', text))
        loaded = set(re.findall(r"_static/live/(\w+)\.js", text))
        scripts = {script.stem for script in live_figures.SCRIPTS.glob("*.js")}
        assert shown == {name for name in loaded & scripts
                         if name != "common" and not name.endswith("_model")}, path
        assert ("common" in loaded) == ("live/live.css" in text) == bool(shown), path
        assert len(re.findall(r'<script defer="defer" src="[^"]*_static/live/', text)) == len(
            re.findall(r"<script[^>]*_static/live/", text)), "a script must wait for the page"
