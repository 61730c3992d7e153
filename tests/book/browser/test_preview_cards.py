"""Previews of equations and sections, of this page and others, also where pages are files."""

import functools
import http.server
import itertools
import threading

import pytest

CHAPTER = "chapters/foundations/elbo.html"
EQUATION = ".bd-article a.reference.internal[href*='.html#equation-'] >> nth=0"  # another page's
SECTION = ".bd-article p a.reference.internal[href$='.html'] >> nth=0"
CARD = ".preview-card:visible"

# Whether the card is whole inside the window and beside its link, not on it.
BESIDE = """link => {
    const card = document.getElementById('preview-card').getBoundingClientRect();
    const lines = [...link.getClientRects()];
    const beside = Math.abs(card.top - lines.at(-1).bottom) < 2
        || Math.abs(card.bottom - lines[0].top) < 2;
    return card.height > 20 && beside && card.left >= 0 && card.top >= 0
        && card.right <= innerWidth && card.bottom <= innerHeight; }"""
SHOWN = """() => { const card = document.getElementById('preview-card');
    return card && !card.hidden && card.style.visibility === ''; }"""


@pytest.fixture(scope="module")
def served(html):
    """The address of a server on this machine that has the pages."""
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

        def do_GET(self):
            if self.path == "/favicon.ico":  # asked for where a page names no icon
                self.send_response(204)
                self.end_headers()
            else:
                super().do_GET()

    handler = functools.partial(Quiet, directory=str(html))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def chapter(page, html):
    page.goto((html / CHAPTER).as_uri(), wait_until="domcontentloaded")
    return page


def focus(page, link: str) -> None:
    page.locator(link).evaluate("""link => {
        link.scrollIntoView({ block: 'center', behavior: 'instant' });
        link.focus({ focusVisible: true, preventScroll: true }); }""")


@pytest.mark.parametrize("place", ["file", "http"])
def test_an_equation_of_another_page_is_shown_as_a_formula(page, html, served, place):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    root = html.as_uri() if place == "file" else served
    page.goto(f"{root}/{CHAPTER}", wait_until="domcontentloaded")
    assert not [url for url in asked if "previews/data" in url]  # only when it is needed
    page.locator(EQUATION).scroll_into_view_if_needed()
    page.hover(EQUATION)
    page.wait_for_function(SHOWN)
    card = page.locator(CARD)
    label = page.locator(EQUATION).inner_text()
    assert card.locator(".preview-title").inner_text().startswith(f"({label}) in ")
    assert card.locator("div.math mjx-container svg").count() == 1
    assert page.locator(EQUATION).evaluate(BESIDE)
    assert page.locator(EQUATION).get_attribute("aria-describedby") == card.get_attribute("id")
    page.hover(CARD)
    page.wait_for_timeout(500)
    assert card.count() == 1  # it stays under the pointer
    page.mouse.move(2, 2)
    page.wait_for_function("document.getElementById('preview-card').hidden")
    page.hover(EQUATION)
    page.wait_for_function(SHOWN)
    assert len([url for url in asked if "previews/data" in url]) == 1


def test_the_keyboard_opens_and_closes_a_card(chapter):
    focus(chapter, EQUATION)
    chapter.keyboard.press("Shift+Tab")
    chapter.keyboard.press("Tab")
    chapter.wait_for_function(SHOWN)
    assert chapter.locator(EQUATION).evaluate("it => it === document.activeElement")
    chapter.keyboard.press("Escape")
    chapter.wait_for_function("document.getElementById('preview-card').hidden")
    assert chapter.locator(EQUATION).evaluate("it => it === document.activeElement")


def test_a_section_shows_its_title_and_first_sentence(chapter, html):
    focus(chapter, SECTION)
    chapter.wait_for_function(SHOWN)
    text = chapter.locator(CARD).inner_text()
    chapter.locator(SECTION).click()
    chapter.wait_for_load_state("domcontentloaded")
    heading = chapter.locator(".bd-article h1").inner_text().rstrip("#").strip()
    title = text.splitlines()[0]
    assert heading.endswith(title) and len(text) > len(title) + 20


def test_every_equation_that_a_chapter_links_to_is_whole_and_beside_its_link(chapter):
    chapter.evaluate("MathJax.startup.promise")
    chapter.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    links = chapter.locator(".bd-article a.reference.internal[href*='#equation-']")
    first = {}  # one link to each equation
    for number, address in enumerate(links.evaluate_all("all => all.map(link => link.href)")):
        first.setdefault(address, number)
    assert len(first) >= 6
    for width, number in itertools.product([1280, 390, 320], first.values()):
        chapter.set_viewport_size({"width": width, "height": 700})
        focus(chapter, f".bd-article a.reference.internal[href*='#equation-'] >> nth={number}")
        chapter.wait_for_function(SHOWN)
        link = links.nth(number)
        assert link.evaluate(BESIDE), (width, link.get_attribute("href"))
        assert chapter.locator(f"{CARD} mjx-container").count() >= 1
        assert chapter.locator(f"{CARD} [data-mjx-error]").count() == 0
        chapter.keyboard.press("Escape")


def test_a_finger_follows_the_link(browser, html):
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    page = context.new_page()
    page.goto((html / CHAPTER).as_uri(), wait_until="domcontentloaded")
    target = page.locator(EQUATION).get_attribute("href").partition("#")[2]
    page.tap(EQUATION)
    page.wait_for_url(f"**#{target}")
    assert page.locator(".preview-card").count() == 0
    context.close()


def test_an_open_card_is_not_printed(chapter):
    focus(chapter, EQUATION)
    chapter.wait_for_function(SHOWN)
    chapter.emulate_media(media="print")
    assert chapter.locator(CARD).count() == 0
