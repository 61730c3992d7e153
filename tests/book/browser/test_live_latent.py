"""The latent plane in the browser: the page decodes as the package, and a reader moves a point."""

import json
import os
import re

import numpy as np
import pytest

from live import latent_plane

PAGE = "chapters/vae/vae_keras.html"
FIGURE = '[data-live="latent_plane"]'
TOLERANCE = 1e-5  # of a probability: single precision, sums of 200 terms


def state(page, figure):
    """The state once the picture has been drawn: in the frame after the change."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => "
                  "requestAnimationFrame(done)))")
    return figure.locator(".live-box").evaluate("box => box.liveState()")


def decoded(h):
    """The probabilities of the pixels (n, 784), by the package."""
    return latent_plane.model().decode(np.asarray(h, np.float32)).detach().numpy().reshape(-1, 784)


def test_pixels_are_those_of_the_package(shared_figure):
    edge = latent_plane.EDGE
    h = np.random.default_rng(0).uniform(-edge, edge, size=(200, 2)).astype(np.float32)
    found = shared_figure.evaluate("""(_, all) => {
      const decode = liveFigures.latentDecoder(liveFigures.data.latent_plane.weights);
      return all.map((h) => Array.from(decode(h)));
    }""", h.astype(float).tolist())
    expected = decoded(h)
    largest = np.max(np.abs(found - expected))
    print(f"largest deviation {largest:.1e}")
    assert largest < TOLERANCE
    assert np.mean(expected.std(axis=0)) > 0.1  # they do differ


def test_the_picture_shows_the_pixels_of_where_the_point_is(shared_figure):
    for h in ([0.0, 0.0], [1.23, -0.4], [-latent_plane.EDGE, latent_plane.EDGE]):
        for label, value in zip(("h₁", "h₂"), h):
            shared_figure.get_by_label(label, exact=True).fill(f"{value:g}")
        found = state(shared_figure.page, shared_figure)
        assert found["h"] == h
        assert np.max(np.abs(found["pixels"] - decoded([h])[0])) < TOLERANCE
        shown = shared_figure.locator("canvas").nth(1).evaluate("""canvas => {
          const side = canvas.width, grey = [], copy = document.createElement("canvas");
          Object.assign(copy, { width: side, height: side });
          const context = copy.getContext("2d", { willReadFrequently: true });
          context.drawImage(canvas, 0, 0);
          for (let i = 0; i < 784; i += 1) {
            const x = (i % 28 + 0.5) / 28 * side, y = (Math.floor(i / 28) + 0.5) / 28 * side;
            grey.push(context.getImageData(x, y, 1, 1).data[0]);
          }
          return grey;
        }""")
        assert np.max(np.abs(np.array(shown) / 255 - found["pixels"])) < 1 / 255


def test_the_digits_in_the_plane_are_the_encoder_means_of_test_digits():
    kept = json.loads(latent_plane.MEANS.read_text(encoding="utf-8"))
    assert np.shape(kept) == (10, latent_plane.NUM_A_DIGIT, 2)
    assert np.max(np.abs(kept)) < latent_plane.EDGE
    if os.environ.get("GENMODELS_DATA", "bundled") == "bundled":
        pytest.skip("GENMODELS_DATA names no full MNIST: the model has seen the bundled digits")
    assert np.allclose(kept, latent_plane.encoded_means(), rtol=0, atol=0.011)  # of two decimals


def test_the_text_says_what_one_sees():
    """As the classifier of the chapters judges what is decoded."""
    from genmodels.models import classifier_torch, trained

    classifier = classifier_torch.Classifier()
    trained.load(classifier, "classifier")

    def classes(h):
        return classifier.classify(decoded(h).reshape(-1, 28, 28))

    assert latent_plane.START == (2.0, -0.5)
    line = [(h1, -0.5) for h1 in (2, 1.3, 1, 0, -1, -2)]  # from the start to the left
    assert classes(line).tolist() == [0, 6, 2, 3, 9, 7]
    means = np.array(latent_plane.data()["means"]).reshape(-1, 2)
    counts = [np.bincount(row, minlength=10) for row in classes(means).reshape(10, -1)]
    assert counts[4].sum() == 25 and counts[4][9] == 17 and counts[8][5] == 12
    assert [int(np.argmax(row)) for row in counts] == [0, 1, 2, 3, 9, 5, 6, 7, 5, 9]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_each_class_has_a_colour_of_its_own_that_can_be_read(page, figure, scheme):
    page.emulate_media(color_scheme=scheme)
    page.wait_for_function("scheme => document.documentElement.dataset.theme === scheme",
                           arg=scheme)
    painted = figure.locator(".live-box").evaluate("""box => {
      const canvas = document.createElement("canvas");
      const context = canvas.getContext("2d", { willReadFrequently: true });
      const page = getComputedStyle(document.body).backgroundColor;
      return [page, ...box.liveState().colours].map((colour) => {
        context.fillStyle = colour;
        context.fillRect(0, 0, 1, 1);
        return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
      });
    }""")
    parts = np.array(painted) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    background, *light = linear @ [0.2126, 0.7152, 0.0722] + 0.05
    assert len(set(map(tuple, painted[1:]))) == 10
    assert (background > 0.5) == (scheme == "light")
    for each in light:
        assert max(each, background) / min(each, background) > 4.5  # WCAG 2, of small text


def test_the_still_picture_is_what_the_page_starts_with(page, figure):
    text, found = latent_plane.FIGURE.read_text(encoding="utf-8"), state(page, figure)
    pixels = re.search(r'class="pixels"[^>]*>(.*?)</g>', text, re.DOTALL)[1]
    side, drawn = latent_plane.SIZE / 28, np.zeros((28, 28))
    for x, y, opacity in re.findall(r'd="M(\S+) ([^h]+)h.*?fill-opacity="([^"]+)"', pixels):
        drawn[round(float(y) / side), round(float(x) / side)] = float(opacity)
    assert np.max(np.abs(drawn.ravel() - found["pixels"])) < 0.0051  # two decimals
    assert found["h"] == list(latent_plane.START)
    marks = re.findall(r'<text x="([^"]+)" y="([^"]+)">(\d)</text>', text)
    given = page.evaluate("() => liveFigures.data.latent_plane")
    place = latent_plane.SIZE / 2 * (1 + np.array(given["means"]) * [1, -1] / latent_plane.EDGE)
    assert np.allclose(np.array([mark[:2] for mark in marks], float),
                       place.reshape(-1, 2) + np.array([0, 4]), atol=0.051)  # one decimal
    assert [int(mark[2]) for mark in marks] == list(np.repeat(np.arange(10), place.shape[1]))
    assert re.findall('<g fill="([^"]+)"', text) == given["colours"]


def test_by_keyboard_and_its_values_are_announced(page, figure):
    status = figure.locator('[role="status"]')
    plane = figure.get_by_role("group", name=re.compile("Latent plane"))
    plane.focus()
    before, scrolled = state(page, figure), page.evaluate("window.scrollY")
    for key in ("ArrowRight", "ArrowRight", "ArrowUp", "Shift+ArrowDown"):
        page.keyboard.press(key)
    found = state(page, figure)
    moved = np.array(found["h"]) - before["h"]
    assert np.allclose(moved, [0.1, -0.2]) and page.evaluate("window.scrollY") == scrolled
    said = ", ".join(f"{value:.2f}" for value in found["h"]).replace("-", "−")
    status.filter(has_text=f"({said})").wait_for()
    far = [np.min(np.hypot(*(np.array(means) - found["h"]).T))
           for means in latent_plane.data()["means"]]
    assert found["nearest"] == np.argmin(far)
    assert f"is a {found['nearest']}" in status.inner_text()
    page.keyboard.press("Tab")  # the sliders
    page.keyboard.press("Home")
    assert state(page, figure)["h"] == [-latent_plane.EDGE, found["h"][1]]
    page.keyboard.press("Tab")
    page.keyboard.press("End")
    assert state(page, figure)["h"] == [-latent_plane.EDGE, latent_plane.EDGE]
    silent = """box => {
      const line = box.querySelector(".live-status"), said = line.textContent;
      [0.5, 1, 1.5].forEach((value) => box.querySelector("input").move(value));
      return line.textContent === said && line.getAttribute("aria-live") === "polite";
    }"""
    assert figure.locator(".live-box").evaluate(silent)  # while it moves


def test_the_focus_of_the_plane_is_visible(page, figure):
    plane = figure.get_by_role("group", name=re.compile("Latent plane"))
    plane.focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Shift+Tab")
    assert plane.evaluate("it => it === document.activeElement && getComputedStyle(it).outlineStyle"
                          ) == "solid"


def test_by_pointer(page, figure):
    plane = figure.locator(".live-plane").bounding_box()
    unit = 2 * latent_plane.EDGE / plane["width"]
    point = figure.locator(".live-point").bounding_box()
    x, y = point["x"] + point["width"] / 2, point["y"] + point["height"] / 2
    before = state(page, figure)["h"]
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y - 40, steps=10)
    assert np.allclose(np.subtract(state(page, figure)["h"], before), [60 * unit, 40 * unit],
                       atol=unit + 0.01)
    page.mouse.up()
    page.mouse.click(plane["x"] + plane["width"] / 4, plane["y"] + plane["height"] / 4)
    corner = [-latent_plane.EDGE / 2, latent_plane.EDGE / 2]
    assert np.allclose(state(page, figure)["h"], corner, atol=unit + 0.01)
    page.mouse.move(plane["x"] + 5, plane["y"] + 5)  # without a button nothing moves
    assert np.allclose(state(page, figure)["h"], corner, atol=unit + 0.01)


def test_thirty_pictures_a_second(shared_figure, record_property):
    """The time of one picture: from the change to what the browser is given."""
    measure = """async (box) => {
      const input = box.querySelector("input"), costs = [], first = box.liveState().pictures;
      const start = performance.now();
      for (let i = 0; i < 60; i += 1) {
        let began;
        requestAnimationFrame(() => { began = performance.now(); });
        input.move(Math.sin(i / 10) * 2 + i / 1000);
        await new Promise((resume) => requestAnimationFrame(() => {
          costs.push(performance.now() - began);
          resume();
        }));
      }
      return [costs, 60_000 / (performance.now() - start), box.liveState().pictures - first];
    }"""
    costs, rate, pictures = shared_figure.locator(".live-box").evaluate(measure)
    middle = float(np.median(costs))
    record_property("pictures_a_second", rate)
    print(f"{rate:.0f} pictures a second, {middle:.1f} ms a picture")
    assert pictures == 60
    assert middle < 1000 / 30


def test_the_weights_are_small(html):
    (script,) = (html / "_static" / "live").glob("latent_plane_data.js")
    assert script.stat().st_size < 500_000
