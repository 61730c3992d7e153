"""The home page, the heads of chapters and captions as a browser shows them."""

import pytest

SHOWN = ["h1", ".lead", ".start a", ".picture img", ".ways"]


@pytest.fixture
def opened(browser, html, without_formulas):
    """A function that opens a page of the book in a window of a size."""
    contexts = []

    def open_page(name: str, width: int, height: int, formulas: bool = False, **settings):
        contexts.append(browser.new_context(viewport={"width": width, "height": height},
                                            **settings))
        tab = contexts[-1].new_page()
        if not formulas:
            without_formulas(tab)
        tab.goto((html / "chapters" / f"{name}.html").as_uri())
        return tab

    yield open_page
    for context in contexts:
        context.close()


def bottoms(tab) -> dict[str, float]:
    return {each: tab.evaluate(f"document.querySelector('{each}').getBoundingClientRect().bottom")
            for each in SHOWN}


def test_the_home_page_opens_with_everything_in_one_screen(opened):
    assert {name: y for name, y in bottoms(opened("index", 1280, 800)).items() if y > 800} == {}


def test_on_a_phone_it_opens_with_what_it_is_the_start_and_the_picture(opened):
    found = bottoms(opened("index", 390, 844))
    assert {name: y for name, y in found.items() if y > 844 and name != ".ways"} == {}


def test_titles_stay_in_their_boxes_and_can_be_read(opened):
    tab = opened("index", 1280, 800)
    outside = """() => [...document.querySelectorAll("svg.chapter-map a")].filter(
        (a) => {
          const box = a.querySelector("rect").getBoundingClientRect();
          const text = a.querySelector("text").getBoundingClientRect();
          return text.left < box.left || text.right > box.right || text.bottom > box.bottom;
        }).map((a) => a.textContent)"""
    for width, height in ((1280, 800), (390, 844), (320, 640)):
        tab.set_viewport_size({"width": width, "height": height})
        assert tab.evaluate(outside) == []
        scale = tab.evaluate("document.querySelector('svg.chapter-map').getScreenCTM().a")
        assert 11.5 * scale >= 9, width  # pixels


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_map_is_used_by_keyboard(opened, scheme):
    tab = opened("index", 1280, 800, color_scheme=scheme)
    links = tab.locator("svg.chapter-map a")
    before = links.nth(0).locator("rect").evaluate("(e) => getComputedStyle(e).strokeWidth")
    tab.locator(".ways a[href='#chapters']").focus()
    tab.locator("svg.chapter-map").evaluate("(e) => e.scrollIntoView()")
    tab.keyboard.press("Tab")
    for _ in range(30):
        if tab.evaluate("document.activeElement.closest('svg.chapter-map') !== null"):
            break
        tab.keyboard.press("Tab")
    focused = tab.evaluate("document.activeElement.getAttribute('aria-label')")
    assert focused == "1. What does it mean to learn a distribution?"
    after = links.nth(0).locator("rect").evaluate("(e) => getComputedStyle(e).strokeWidth")
    assert float(after.removesuffix("px")) >= 2 > float(before.removesuffix("px"))
    tab.keyboard.press("Enter")
    tab.wait_for_url("**/learning_distributions.html")


def test_captions_stand_right_below_their_pictures(opened):
    for name in ("vae/vae_keras", "diffusion/digits", "vae/linear_vae"):
        gaps = opened(name, 1280, 800).evaluate("""() =>
            [...document.querySelectorAll("figure.numbered")]
                .filter((f) => f.offsetHeight && !f.querySelector(".live-figure"))
            .map((f) => f.querySelector("figcaption").getBoundingClientRect().top
                 - f.querySelector("img, svg").getBoundingClientRect().bottom)""")
        assert len(gaps) >= 4 and all(0 <= gap < 60 for gap in gaps), (name, gaps)


def test_the_head_is_not_printed_with_its_links(opened):
    tab = opened("foundations/elbo", 1280, 800)
    assert tab.locator(".page-head a").first.is_visible()
    tab.emulate_media(media="print")
    assert tab.locator(".page-head dl").is_visible()
    assert not tab.locator(".page-head a").first.is_visible()


@pytest.mark.parametrize("name", ["index", "diffusion/samplers", "appendix/notation"])
def test_on_a_phone_the_header_names_the_course(opened, name):
    tab = opened(name, 390, 844)
    title = tab.locator(".bd-header-article .course-title")
    for width in (390, 320):
        tab.set_viewport_size({"width": width, "height": 844})
        box = title.bounding_box()
        others = [each.bounding_box() for each in tab.locator(".bd-header-article button").all()
                  if each.is_visible()]
        assert len(others) == 5 and box["width"] > 80 and box["height"] <= 48
        assert [each for each in others if each["x"] < box["x"] + box["width"] - 0.5
                and each["x"] + each["width"] > box["x"] + 0.5] == []  # it lies on none
        assert max(each["x"] + each["width"] for each in others) <= width
    assert "Generative Models" in title.inner_text()
    title.click()
    tab.wait_for_url("**/chapters/index.html*")


def test_on_a_wide_screen_the_list_of_chapters_names_it(opened):
    assert not opened("appendix/notation", 1280, 800).locator(".course-title").is_visible()


def test_in_the_notation_no_name_is_broken_and_no_table_has_to_be_scrolled(opened):
    tab = opened("appendix/notation", 1280, 800, formulas=True)
    tab.evaluate("MathJax.startup.promise")  # formulas make columns wide
    for width in (1280, 1200, 960, 800, 600):
        tab.set_viewport_size({"width": width, "height": 800})
        if width in (1280, 800):
            names = tab.locator("#notation table code").evaluate_all(
                "(all) => all.map((e) => [e.textContent, e.getClientRects().length])")
            assert len(names) > 50
            broken = [name for name, lines in names if lines > 1 and name.isidentifier()]
            assert broken == [], width
        wide = tab.locator("#notation .pst-scrollable-table-container").evaluate_all(
            "(all) => all.map((e) => e.scrollWidth - e.clientWidth).filter((more) => more > 0)")
        assert wide == [], width
