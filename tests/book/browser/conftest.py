"""Pages in a real browser: Chromium by playwright, and a folder of built pages.

The pages are those that GENMODELS_HTML names, or else `_build/html`; where Chromium is not on the
path, CHROMIUM names it. Without pages or a browser these tests are skipped, and say why.
"""

import contextlib
import functools
import http.server
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import notebooks


@pytest.fixture(scope="session")
def html() -> Path:
    """The folder of the built pages."""
    folder = (notebooks.ROOT / os.environ.get("GENMODELS_HTML", "_build/html")).resolve()
    if not (folder / "index.html").is_file():
        pytest.skip(f"no built book in {folder}: `make book`, or name one by GENMODELS_HTML")
    return folder


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files and prints nothing."""

    def log_message(self, *args) -> None:
        pass


@pytest.fixture(scope="session")
def server(html) -> str:
    """The address of a server on this machine that serves the built pages."""
    handler = functools.partial(Quiet, directory=str(html))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.fixture(scope="session")
def browser(html):
    """A running Chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("Chromium is not installed; CHROMIUM names it where it is not on the path")
    with playwright.sync_playwright() as engine:
        chromium = engine.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


def left_as_written(tab):
    """Leave formulas as they are written in the pages of a tab, which take half the time then."""
    tab.route("**/tex-svg-full.js*", lambda route: route.fulfill(body=""))
    return tab


@pytest.fixture(scope="session")
def without_formulas() -> Callable:
    """A function that leaves formulas as they are written in a tab, and returns the tab."""
    return left_as_written


@contextlib.contextmanager
def quiet(browser) -> Iterator:
    """A tab 1280 pixels wide; an error that it reports, or a request elsewhere, is a failure."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    tab = context.new_page()
    tab.set_default_navigation_timeout(120_000)  # a long page on a busy machine
    wrong: list[str] = []

    def said(message):
        if message.type in {"error", "warning"}:
            wrong.append(f"console: {message.text}")

    def asked(request):
        if not request.url.startswith(("file:", "data:", "blob:", "http://127.0.0.1:")):
            wrong.append(f"another host: {request.url}")

    def failed(request):
        left = request.failure == "net::ERR_ABORTED"  # the test went on to another page
        if not (left and request.url.endswith(("favicon.svg", "previews/data.js"))):
            wrong.append(f"failed: {request.url}")

    tab.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    tab.on("console", said)
    tab.on("request", asked)
    tab.on("requestfailed", failed)
    try:
        yield tab
    finally:
        context.close()
        assert wrong == []


@pytest.fixture
def page(browser):
    """A tab 1280 pixels wide; an error that it reports, or a request elsewhere, is a failure."""
    with quiet(browser) as tab:
        yield tab


@pytest.fixture
def plain(page):
    """The same, with formulas left as they are written."""
    return left_as_written(page)


def moving(tab, html, module):
    """Open the page `PAGE` and return its moving figure `FIGURE`: a module of tests names both."""
    tab.goto((html / module.PAGE).as_uri())
    tab.locator(f"{module.FIGURE}.started").wait_for()
    found = tab.locator(module.FIGURE)
    found.scroll_into_view_if_needed()
    return found


@pytest.fixture
def figure(plain, html, request):
    """The moving figure of a module of tests, in a page of its own."""
    return moving(plain, html, request.module)


@pytest.fixture(scope="module")
def shared_figure(browser, html, request):
    """The same for all tests of a module that set what they look at: its page is opened once."""
    with quiet(browser) as tab:
        yield moving(left_as_written(tab), html, request.module)
