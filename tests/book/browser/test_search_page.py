"""The search, the lost page and the API page in a browser, from files and from a server."""

import functools
import http.server
import re
import threading
from urllib.parse import urlencode

import pytest


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A server as publishing ones are: a lost address gets the page `404.html`, whole."""

    def log_message(self, *args):
        pass

    def send_error(self, code, *args, **settings):
        if code != 404:
            super().send_error(code, *args, **settings)
            return
        with open(f"{self.directory}/404.html", "rb") as page:
            content = page.read()
        self.send_response(404)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture(scope="module")
def server(html):
    """The address of the pages on this machine."""
    with http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), functools.partial(Quiet, directory=str(html))) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.fixture(params=["file", "http"])
def root(request, html):
    """Where the pages are: in a folder, or on a server."""
    return html.as_uri() if request.param == "file" else request.getfixturevalue("server")


def ask_at(page, root, query: str):
    """Search for something, and return the page with the results."""
    page.goto(f"{root}/search.html?{urlencode({'q': query})}")
    return page


@pytest.fixture
def ask(plain, html):
    """A function that searches in the files; what is found depends on no address."""
    return functools.partial(ask_at, plain, html.as_uri())


def status(page) -> str:
    return page.locator("#book-search-status").inner_text()


def best(page) -> tuple[str, str, str]:
    """Return the first result: its page, its title, its excerpt."""
    return (page.locator("#search-results h2").first.inner_text(),
            page.locator("#search-results li a").first.inner_text(),
            page.locator("#search-results li p").first.inner_text())


def test_a_term_leads_to_its_definition(plain, root):
    page = plain
    ask_at(page, root, "posterior collapse")
    assert re.fullmatch(r"\d+ places? on \d+ pages? for “posterior collapse”\.", status(page))
    name, title, excerpt = best(page)
    assert name.endswith("Why does a latent dimension die?") and title == "posterior collapse"
    assert "posterior collapse" in excerpt
    page.locator("#search-results li a").first.click()
    page.wait_for_url("**/collapse.html#term-posterior-collapse")
    assert page.locator("#term-posterior-collapse").is_visible()


def test_the_id_of_an_identity_leads_to_its_equation(ask):
    page = ask("B2")
    name, title, excerpt = best(page)
    assert name.endswith("From Bayes’ rule to the ELBO") and title == "Equation (B2)"
    assert "log p(x" in excerpt and "\\" not in excerpt
    page.locator("#search-results li a").first.click()
    page.wait_for_url("**/elbo.html#equation-b2")


def test_excerpts_have_formulas_in_words(ask):
    page = ask("Jarzynski")
    assert "Jarzynski" in best(page)[1]
    for details in page.locator("#search-results details").all():
        details.evaluate("(e) => { e.open = true; }")
    excerpts = page.locator("#search-results li p").all_inner_texts()
    assert len(excerpts) > 3
    assert [each for each in excerpts if re.search(r"\\[A-Za-z]|\$", each)] == []


@pytest.mark.parametrize("query", ["free-energy perturbation", "free energy perturbation",
                                   "Frechet distance", "“hybrid Monte Carlo”", "ddim"])
def test_hyphens_accents_phrases_and_functions_are_found(ask, query):
    page = ask(query)
    assert not status(page).startswith("Nothing")
    plain = query.strip("“”").replace("-", " ").replace("Frechet", "Fréchet").lower()
    assert plain in best(page)[1].replace("-", " ").lower()


def test_of_a_misspelt_word_nothing_is_found_but_the_nearest_is_named(ask):
    page = ask("Jarzinsky")
    assert status(page).startswith("Nothing was found for “Jarzinsky”. Did you mean jarzynski")
    assert page.locator("#search-results *").count() == 0
    page.locator("#book-search-status a").click()
    page.wait_for_url("**/search.html?q=jarzynski*")
    assert "places on" in status(page)
    page = ask("qzxwvk")
    assert status(page) == "Nothing was found for “qzxwvk”."


def test_below_few_places_come_those_with_some_of_the_words(ask):
    page = ask("DDIM ancestral difference")
    titles = page.locator("#search-results li a").all_inner_texts()
    shown = page.locator("#search-results").inner_text()
    assert "Places with some of the words" in shown
    assert "One step back: ancestral sampling and DDIM" in titles
    assert len(titles) == len(set(zip(titles, page.locator("#search-results li p")
                                      .all_inner_texts())))  # none is there twice
    page = ask("eta DDIM stochastic")
    assert page.locator("#search-results h2").first.inner_text() == "Places with some of the words"
    assert status(page) == "No place has all words of “eta DDIM stochastic”."
    assert page.locator("#search-results h3").count() > 0
    for query in ("posterior collapse", "the free energy", "Jarzinsky"):
        assert "some of the words" not in ask(query).locator("#search-results").inner_text()


def test_what_is_asked_is_shown_as_text(ask):
    page = ask("<img src=x> & (")
    assert "<img src=x> & (" in status(page)
    assert page.locator("#book-search-status img").count() == 0


def test_the_search_is_used_by_keyboard(plain, root):
    page = plain
    page.goto(f"{root}/chapters/foundations/elbo.html")
    page.keyboard.press("Control+k")
    page.keyboard.type("detailed balance")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=detailed+balance*")
    page.locator("#book-search-field").focus()
    seen = []
    for _ in range(4):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.textContent.trim()"))
    assert seen[0] == "Search" and "detailed balance" in seen
    page.keyboard.press("Enter")
    page.wait_for_url("**/chapters/**")


def test_without_a_question_the_field_has_the_focus(plain, root):
    page = plain
    page.goto(f"{root}/search.html")
    assert page.evaluate("document.activeElement.id") == "book-search-field"
    assert status(page) == ""


@pytest.mark.parametrize("lost", ["x.html", "chapters/foundations/x.html", "chapters/a/b/c.html"])
def test_a_lost_address_leads_back(browser, server, lost, without_formulas):
    context = browser.new_context(viewport={"width": 390, "height": 844})
    tab = without_formulas(context.new_page())
    assert tab.goto(f"{server}/{lost}").status == 404
    sheets = tab.evaluate("[...document.styleSheets].filter((e) => e.href).map((e) => e.href)")
    assert len(sheets) > 8
    assert [each for each in sheets if not each.startswith(f"{server}/_static/")] == []
    assert tab.evaluate("[...document.styleSheets].every((sheet) => sheet.cssRules.length > 0)")
    links = tab.locator("main a[href]").evaluate_all("(all) => all.map((a) => a.href)")
    assert len(links) > 20
    assert [each for each in links if not each.startswith(f"{server}/")] == []
    tab.locator("#book-search-field").fill("Jarzynski")
    tab.keyboard.press("Enter")
    tab.wait_for_url(f"{server}/search.html?q=Jarzynski")
    context.close()


def test_icons_are_drawn_by_the_font(plain, root):
    page = plain
    page.goto(f"{root}/chapters/foundations/elbo.html")
    page.evaluate("document.fonts.ready")
    assert page.evaluate("document.fonts.check('900 16px \"Font Awesome 6 Free\"', '\\uf002')")
    assert "fontawesome" not in page.content()


def test_on_a_phone_no_signature_is_cut(browser, html, without_formulas):
    context = browser.new_context(viewport={"width": 390, "height": 844})
    tab = without_formulas(context.new_page())
    tab.goto((html / "chapters" / "appendix" / "api.html").as_uri())
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    cut = tab.evaluate("""() =>
      [...document.querySelectorAll("dt.sig, dl.py dd > *")].filter((e) => {
        const box = e.getBoundingClientRect();
        return box.width && (box.right > window.innerWidth
          || (e.matches("dt.sig") && e.scrollWidth > e.clientWidth));
      }).map((e) => e.textContent.slice(0, 60))""")
    assert tab.locator("dt.sig").count() > 300
    assert cut == []
    context.close()
