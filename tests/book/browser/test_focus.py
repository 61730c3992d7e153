"""The focus of the keyboard: kept after each action, on few stops.

That it is visible on every control is seen in `test_every_page.py`.
"""

import re
from pathlib import Path

import pytest
from test_every_page import Visit

LONGEST = "diffusion/hierarchical"


# Kept ---------------------------------------------------------------------------------------------


@pytest.fixture
def chapter(browser, html, without_formulas):
    """A tab that shows a chapter."""
    visit = Visit(browser, 1280)
    without_formulas(visit.tab).goto((html / "chapters" / "foundations" / "elbo.html").as_uri())
    yield visit.tab
    visit.context.close()


def is_focused(locator) -> bool:
    return locator.evaluate("(element) => document.activeElement === element")


def test_the_focus_stays_on_what_was_used(chapter):
    for selector in (".bd-header-article .theme-switch-button",
                     ".bd-header-article .primary-toggle", "details.solution > summary",
                     "details.hide > summary", ".cell_input button.copybtn"):
        control = chapter.locator(selector).first
        control.focus()
        for _ in range(2):
            chapter.keyboard.press("Enter")
            chapter.wait_for_timeout(400)
            assert is_focused(control), selector


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


@pytest.mark.parametrize("key", ["", "Enter"])
@pytest.mark.parametrize(("button", "link", "section"), [
    ("secondary", "a[href='#summary']", "Summary"),
    ("primary", "a.current", "From Bayes’ rule to the ELBO")])
def test_on_a_phone_a_link_to_this_page_closes_its_side_bar(chapter, button, link, section, key):
    chapter.set_viewport_size({"width": 390, "height": 844})
    chapter.locator(f".bd-header-article .{button}-toggle").click()
    place = chapter.locator(f"dialog[open] {link}")
    if key:
        place.focus()
        chapter.keyboard.press(key)
    else:
        place.click()
    chapter.wait_for_function("document.querySelector('dialog[open]') === null")
    chapter.wait_for_function("document.activeElement.matches('h1, h2')")
    heading = chapter.locator(":focus")
    assert heading.inner_text().split(". ")[-1].startswith(section)
    chapter.wait_for_function(  # where it was scrolled to stays in sight
        "document.activeElement.getBoundingClientRect().top < innerHeight / 2")
    assert heading.bounding_box()["y"] >= 48  # below the header
    chapter.keyboard.press("Tab")
    assert chapter.locator("[tabindex='-1']:is(h1, h2)").count() == 0


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
