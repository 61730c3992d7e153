"""The focus of the keyboard: visible on every control, kept after each action, on few stops."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_every_page import PAGES, Visit

LONGEST = "diffusion/hierarchical"
MARGIN = 6  # pixels around a control, in which its ring is seen


def picture(tab, box: dict) -> np.ndarray:
    """Return the pixels of a part of the page, as numbers from 0 to 1."""
    data = tab.screenshot(clip=box, animations="disabled", caret="hide")
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) / 255


def luminance(pixels: np.ndarray) -> np.ndarray:
    """Return the relative luminance of sRGB pixels (WCAG 2.2)."""
    linear = np.where(pixels <= 0.04045, pixels / 12.92, ((pixels + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def changed(before: np.ndarray, after: np.ndarray) -> int:
    """Return how many pixels differ by a contrast of 3 or more."""
    first, second = luminance(before) + 0.05, luminance(after) + 0.05
    return int((np.maximum(first, second) / np.minimum(first, second) >= 3).sum())


def faint(visit: Visit, seen: set[str]) -> list[str]:
    """Return the kinds of controls of a page whose focus is hard to see; `seen` are left out.

    The ring must change at least as many pixels as the control's outline is long (WCAG 2.4.13).
    """
    tab, wrong = visit.tab, []
    size = tab.viewport_size
    for kind, index in visit.measure("controls").items():
        if kind in seen:
            continue
        seen.add(kind)
        control = tab.locator(f"[data-control='{index}']").first
        control.evaluate("""(control) => {
            control.scrollIntoView({ block: "center", behavior: "instant" });
            control.focus({ preventScroll: true, focusVisible: true });
            control.getBoundingClientRect(); // what moves into view on focus, has moved
            document.getAnimations()
                .filter((each) => each.effect.getComputedTiming().endTime !== Infinity)
                .forEach((each) => each.finish());
        }""")
        x, y, width, height = control.evaluate("""(control) => {
            const { x, y, width, height } = control.getClientRects()[0]; // a link may be broken
            return [x, y, width, height];
        }""")
        left, top = max(x - MARGIN, 0), max(y - MARGIN, 0)
        box = {"x": left, "y": top, "width": min(x + width + MARGIN, size["width"]) - left,
               "height": min(y + height + MARGIN, size["height"]) - top}
        if box["width"] <= 2 * MARGIN or box["height"] <= 2 * MARGIN:
            wrong.append(f"{kind} is not to be seen at ({x:.0f}, {y:.0f})")
            continue
        after = picture(tab, box)
        tab.evaluate("document.activeElement.blur()")
        before = picture(tab, box)
        if (found := changed(before, after)) < 2 * (box["width"] + box["height"] - 4 * MARGIN):
            wrong.append(f"{kind}: {found} pixels of a control of {width:.0f} × {height:.0f}")
    return wrong


@pytest.fixture(scope="module", params=["light", "dark"])
def desk(browser, request):
    """A tab, and the kinds of controls that were already looked at in it."""
    visit = Visit(browser, 1280)
    visit.tab.emulate_media(color_scheme=request.param, reduced_motion="reduce")
    yield visit, set()
    visit.context.close()


@pytest.mark.parametrize("name", PAGES)
def test_the_focus_is_visible_on_each_kind_of_control(desk, html, name):
    visit, seen = desk
    visit.open((html / "chapters" / f"{name}.html").as_uri())
    assert faint(visit, seen) == []


# Kept ---------------------------------------------------------------------------------------------


@pytest.fixture
def chapter(browser, html):
    """A tab that shows a chapter."""
    visit = Visit(browser, 1280)
    visit.open((html / "chapters" / "foundations" / "elbo.html").as_uri())
    yield visit.tab
    visit.context.close()


def is_focused(locator) -> bool:
    return locator.evaluate("(element) => document.activeElement === element")


@pytest.mark.parametrize("selector", [
    ".bd-header-article .theme-switch-button", ".bd-header-article .primary-toggle",
    "details.solution > summary", "details.hide > summary",
    ".cell_input button.copybtn"])
def test_the_focus_stays_on_what_was_used(chapter, selector):
    control = chapter.locator(selector).first
    control.focus()
    chapter.keyboard.press("Enter")
    chapter.wait_for_timeout(400)
    assert is_focused(control)
    chapter.keyboard.press("Enter")
    chapter.wait_for_timeout(400)
    assert is_focused(control)


def test_the_focus_comes_back_from_the_search(chapter):
    button = chapter.locator(".bd-sidebar-primary .search-button-field")
    button.focus()
    chapter.keyboard.press("Enter")
    chapter.wait_for_function("document.activeElement.matches('input[type=search]')")
    chapter.keyboard.press("Escape")
    chapter.wait_for_function("!document.activeElement.matches('input[type=search]')")
    assert is_focused(button)


def test_on_a_phone_the_focus_comes_back_from_the_side_bar(chapter):
    chapter.set_viewport_size({"width": 390, "height": 844})
    button = chapter.locator(".bd-header-article .primary-toggle")
    button.focus()
    chapter.keyboard.press("Enter")
    chapter.wait_for_function("document.querySelector('dialog[open]') !== null")
    chapter.keyboard.press("Escape")
    chapter.wait_for_function("document.querySelector('dialog[open]') === null")
    assert is_focused(button)


# Stops --------------------------------------------------------------------------------------------


def test_the_tab_key_passes_by_the_formulas(browser, html, record_property):
    visit = Visit(browser, 1280)
    visit.open((html / "chapters" / f"{LONGEST}.html").as_uri())
    assert visit.measure("rendered") > 300
    assert visit.measure("stops") == []
    record_property("stops", visit.tab.evaluate(
        "[...document.querySelectorAll('*')].filter((e) => e.tabIndex >= 0 && "
        "e.checkVisibility({ visibilityProperty: true })).length"))
    spoken = visit.tab.locator(".math mjx-assistive-mml math").count()
    assert spoken == visit.tab.locator("article .math mjx-container").count()
    visit.context.close()


# Before the formulas are typeset ------------------------------------------------------------------


def visibility(tab) -> str:
    return tab.locator("article .math").first.evaluate("(e) => getComputedStyle(e).visibility")


def test_no_tex_flashes_and_it_is_shown_if_mathjax_does_not_come(browser, html):
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    tab = context.new_page()
    held = []
    tab.route(re.compile("tex-svg-full"), lambda route: held.append(route))
    address = (html / "chapters" / "foundations" / "elbo.html").as_uri()
    tab.goto(address, wait_until="commit")
    tab.locator("article .math").first.wait_for(state="attached")
    assert visibility(tab) == "hidden"
    tab.evaluate("document.getAnimations().forEach((each) => each.finish())")  # seconds later
    assert visibility(tab) == "visible"
    held[0].continue_()
    tab.wait_for_function("!document.querySelector('.math:not(:has(mjx-container))')")
    assert visibility(tab) == "visible"
    context.close()


def test_without_scripts_the_tex_is_shown(browser, html):
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(Path(html / "chapters" / "foundations" / "elbo.html").as_uri())
    assert visibility(tab) == "visible"
    context.close()
