"""Cards of citations: on hover and on focus, closed by Escape, plain links without scripts."""

import pytest

CHAPTER = "chapters/vae/bounds.html"
LINK = "a.citation >> nth=0"
CARD = ".citation-card:visible"


def wait_for_cards(page, count: int) -> None:
    page.wait_for_function("""count => [...document.querySelectorAll('.citation-card')]
        .filter(card => card.offsetHeight).length === count""", arg=count)


def at(html, name=CHAPTER) -> str:
    return (html / name).as_uri()


@pytest.fixture
def chapter(plain, html):
    plain.goto(at(html), wait_until="domcontentloaded")
    return plain


def test_a_card_follows_the_pointer_and_stays_under_it(chapter):
    chapter.locator(LINK).scroll_into_view_if_needed()
    chapter.hover(LINK)
    wait_for_cards(chapter, 1)
    described = chapter.locator(LINK).get_attribute("aria-describedby")
    assert chapter.locator(CARD).get_attribute("id") == described
    chapter.hover(CARD)
    chapter.wait_for_timeout(500)
    assert chapter.locator(CARD).count() == 1
    chapter.mouse.move(2, 2)
    wait_for_cards(chapter, 0)


def test_the_keyboard_opens_and_closes_a_card(chapter):
    chapter.locator("a.citation").nth(-4).focus()  # the last four stand in one sentence
    chapter.keyboard.press("Tab")
    assert chapter.locator("a.citation").nth(-3).evaluate("it => it === document.activeElement")
    wait_for_cards(chapter, 1)
    chapter.keyboard.press("Escape")
    wait_for_cards(chapter, 0)
    assert chapter.locator("a.citation:focus").count() == 1  # the focus stays


def test_each_card_is_whole_inside_the_window_and_beside_its_link(chapter):
    chapter.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    links = chapter.locator("a.citation")
    assert links.count() >= 10
    wrong = """() => [...document.querySelectorAll('a.citation')].filter(link => {
        link.scrollIntoView({ block: 'center', behavior: 'instant' });
        link.focus({ focusVisible: true, preventScroll: true });
        const card = document.getElementById('card-' + link.hash.slice(1)).getBoundingClientRect();
        const lines = [...link.getClientRects()];
        const beside = Math.abs(card.top - lines.at(-1).bottom) < 2
            || Math.abs(card.bottom - lines[0].top) < 2;
        return !(card.height && beside && card.left >= 0 && card.top >= 0
                 && card.right <= innerWidth && card.bottom <= innerHeight);
    }).map(link => link.textContent)"""
    for width in (1280, 390, 320):
        chapter.set_viewport_size({"width": width, "height": 700})
        assert chapter.evaluate(wrong) == [], width


def test_a_finger_follows_the_link(browser, html, without_formulas):
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    page = without_formulas(context.new_page())
    page.goto(at(html), wait_until="domcontentloaded")
    target = page.locator(LINK).get_attribute("href").partition("#")[2]
    page.tap(LINK)
    page.wait_for_url("**/bibliography.html#*")
    assert page.evaluate("document.querySelector(':target').id") == target
    context.close()


def test_without_scripts_and_in_print_there_is_no_card(browser, html):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(at(html))
    assert page.locator(CARD).count() == 0 and page.locator("a.citation").count() >= 10
    page.emulate_media(media="print")
    assert page.locator(CARD).count() == 0
    context.close()


def test_an_open_card_is_not_printed(chapter):
    chapter.hover(LINK)
    wait_for_cards(chapter, 1)
    chapter.emulate_media(media="print")
    wait_for_cards(chapter, 0)


def test_every_link_leads_to_an_entry_and_back(plain, html):
    page = plain
    page.goto(at(html, "chapters/appendix/bibliography.html"), wait_until="domcontentloaded")
    entries = page.locator("li.bibliography-entry")
    count = entries.count()
    assert count >= 80
    assert page.locator("li.bibliography-entry > p.cited-in").count() == count
    page.locator("#kaufman-1949 .cited-in a").first.click()
    page.wait_for_function("document.querySelector(':target')")
    assert page.locator(":target").get_attribute("href").endswith("#kaufman-1949")
