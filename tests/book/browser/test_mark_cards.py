"""The mark of a checked identity: its card by pointer, keyboard and finger, and its links."""

import pytest

CHAPTER = "chapters/foundations/elbo.html"
MARK = ".proof-mark > a >> nth=1"
CARD = ".proof-card:visible"


def opened(page, html):
    """Open the chapter; without marks, if it was executed at all, the test fails."""
    page.goto((html / CHAPTER).as_uri(), wait_until="domcontentloaded")
    if not page.locator(".proof-mark").count():
        executed = page.locator(".page-head dt", has_text="Executed").count()
        assert not executed, "a chapter that the build has executed must have marks"
        pytest.skip("these pages were built without execution")
    return page


@pytest.fixture
def typeset(page, html):
    opened(page, html).evaluate("MathJax.startup.promise")
    return page


@pytest.fixture
def chapter(plain, html):
    return opened(plain, html)


def wait_for_cards(page, count: int) -> None:
    page.wait_for_function("""count => [...document.querySelectorAll('.proof-card')]
        .filter(card => card.offsetHeight).length === count""", arg=count)


def test_each_identity_has_a_mark_beside_its_equation(typeset):
    places = typeset.evaluate("""() => [...document.querySelectorAll('.proof-mark')].map(mark => {
        const equation = mark.previousElementSibling;
        const number = equation.querySelector('.eqno').getBoundingClientRect();
        const link = mark.firstElementChild;
        const box = link.getBoundingClientRect();
        return [equation.id, link.dataset.label, box.top - number.bottom,
                box.right - number.right, link.textContent]; })""")
    assert [label for _, label, *_ in places] == ["B1", "B2", "B3"]
    for equation, label, below, right, text in places:
        assert equation == f"equation-{label.lower()}" and text == "checked ✓"
        assert -2 <= below <= 40 and abs(right) <= 12


def test_on_a_phone_number_and_mark_stand_below_the_formula(page, html):
    page.set_viewport_size({"width": 390, "height": 800})
    opened(page, html)
    page.evaluate("MathJax.startup.promise")
    places = page.evaluate("""() => [...document.querySelectorAll('.proof-mark')].map(mark => {
        const equation = mark.previousElementSibling;
        const formula = equation.querySelector('mjx-container').getBoundingClientRect();
        const number = equation.querySelector('.eqno').getBoundingClientRect();
        const link = mark.firstElementChild.getBoundingClientRect();
        return [formula.width / equation.clientWidth, number.top - formula.bottom,
                link.top - formula.bottom, number.left - link.right]; })""")
    assert len(places) == 3
    for share, number_below, mark_below, apart in places:
        assert share == pytest.approx(1, abs=0.01)
        assert min(number_below, mark_below, apart) > -0.5  # rounding: none covers another


def test_the_pointer_opens_the_card_and_its_links_lead_to_the_cells(chapter):
    chapter.locator(MARK).scroll_into_view_if_needed()
    chapter.hover(MARK)
    wait_for_cards(chapter, 1)
    card = chapter.locator(CARD)
    text = card.inner_text()
    assert "of its tolerance" in text and "test_B2_" in text and "float64 rounding" in text
    cell = card.locator("li > a").first
    target = cell.get_attribute("href").partition("#")[2]
    cell.click()
    assert chapter.locator(":target").get_attribute("id") == target
    assert "assert" in chapter.locator(":target").inner_text()


def test_the_mark_and_its_card_lead_to_the_register(chapter):
    chapter.locator(MARK).click()
    chapter.wait_for_url("**/identities.html#b2")
    assert "B2" in chapter.locator("section:target > h2").inner_text()
    chapter.mouse.move(2, 2)
    chapter.go_back()
    chapter.locator(MARK).scroll_into_view_if_needed()
    chapter.hover(MARK)
    wait_for_cards(chapter, 1)
    chapter.locator(f"{CARD} a").last.click()
    chapter.wait_for_url("**/identities.html#b2")


def test_the_keyboard_goes_from_the_mark_into_the_card_and_escape_back(chapter):
    chapter.locator(MARK).focus()
    chapter.keyboard.press("Shift+Tab")
    chapter.keyboard.press("Tab")
    wait_for_cards(chapter, 1)
    described = chapter.locator(MARK).get_attribute("aria-describedby")
    assert "was checked by" in chapter.locator(f"#{described}").inner_text()
    chapter.keyboard.press("Tab")
    assert chapter.locator(f"{CARD} a").first.evaluate("it => it === document.activeElement")
    chapter.keyboard.press("Escape")
    wait_for_cards(chapter, 0)
    assert chapter.locator(MARK).evaluate("it => it === document.activeElement")
    chapter.keyboard.press("Tab")
    wait_for_cards(chapter, 0)


def test_each_card_is_inside_the_window_and_beside_its_mark(typeset):
    wrong = """() => [...document.querySelectorAll('.proof-mark > a')]
        .filter(link => {
            link.scrollIntoView({ block: 'center', behavior: 'instant' });
            link.focus({ focusVisible: true, preventScroll: true });
            const box = link.getBoundingClientRect();
            const card = [...document.querySelectorAll('.proof-card')].find(it => it.offsetHeight)
                .getBoundingClientRect();
            const beside = Math.abs(card.top - box.bottom) < 2
                || Math.abs(card.bottom - box.top) < 2 || Math.abs(card.right - box.left) < 2;
            return !(card.height && beside && card.left >= 0 && card.top >= 0
                     && card.right <= innerWidth && card.bottom <= innerHeight); })
        .map(link => link.dataset.label)"""
    for width in (1280, 390, 320):
        typeset.set_viewport_size({"width": width, "height": 500})
        assert typeset.evaluate(wrong) == [], width


def test_on_a_wide_screen_each_card_is_whole_and_below_the_header(typeset):
    typeset.set_viewport_size({"width": 1280, "height": 800})
    wrong = typeset.evaluate("""() => [...document.querySelectorAll('.proof-mark > a')]
        .flatMap(link => ['start', 'center', 'end'].map(block => {
            link.blur();
            link.scrollIntoView({ block, behavior: 'instant' });
            link.focus({ focusVisible: true, preventScroll: true });
            const card = [...document.querySelectorAll('.proof-card')].find(it => it.offsetHeight);
            const header = document.querySelector('.bd-header-article').getBoundingClientRect();
            const { top, bottom } = card.getBoundingClientRect();
            return top >= header.bottom && bottom <= innerHeight
                && card.scrollHeight <= card.clientHeight ? '' : `${link.dataset.label} ${block}`;
        }).filter(Boolean))""")
    assert wrong == []


def test_a_finger_opens_and_closes_the_card(browser, html, without_formulas):
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    page = opened(without_formulas(context.new_page()), html)
    page.tap(MARK)
    wait_for_cards(page, 1)
    page.tap(MARK)
    wait_for_cards(page, 0)
    page.tap(MARK)
    wait_for_cards(page, 1)
    page.touchscreen.tap(3, 120)  # beside the text
    wait_for_cards(page, 0)
    assert page.url.partition("#")[0].endswith(CHAPTER)
    context.close()


def test_without_scripts_the_mark_is_a_link_and_in_print_there_is_none(browser, html):
    context = browser.new_context(java_script_enabled=False)
    page = opened(context.new_page(), html)
    assert page.locator(CARD).count() == 0
    assert page.locator(MARK).get_attribute("href").endswith("identities.html#b2")
    page.emulate_media(media="print")
    assert page.locator(".proof-mark:visible").count() == 0
    context.close()
