"""Every page of the book in a browser: whole, quiet, accessible, and readable on a phone.

Each page is opened twice, from a server at 1280 pixels and from its file at 390, and everything is
measured on these visits, on paper and in the dark, too: see `measures.js`. A test that fails names
the page and the place.
"""

import contextlib
import functools
import io
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import nbformat
import numpy as np
import pytest
import yaml
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from myst_parser.config.main import MdParserConfig
from myst_parser.parsers.mdit import create_md_parser
from PIL import Image
from playwright.sync_api import TimeoutError

import notebooks

MEASURES = Path(__file__).with_name("measures.js")
LINE = 75  # characters
MARGIN = 6  # pixels around a control, in which its ring is seen
PAPER = 657  # A4 between margins of 18 mm, in pixels of CSS
SHIFT = 0.1  # the limit below which the layout counts as stable (web.dev/cls)
WEIGHT = 2_000_000  # bytes of a page beside MathJax and the icons, which all pages share
SHARED = re.compile(r"tex-svg-full\.js|fontawesome|webfonts")
COLOURS = ["color-contrast", "link-in-text-block"]
OF_COLOURS = {"runOnly": COLOURS, "resultTypes": ["violations"]}
OF_THE_REST = {"rules": {rule: {"enabled": False} for rule in COLOURS},
               "resultTypes": ["violations"]}


def page_names() -> dict[str, list[str]]:
    """Return the pages of the table of contents, as `foundations/elbo`, by their folder."""
    toc = yaml.safe_load((notebooks.ROOT / "_toc.yml").read_text(encoding="utf-8"))
    files = [toc["root"], *(entry["file"] for part in toc["parts"] for entry in part["chapters"])]
    found: dict[str, list[str]] = {}
    for file in files:
        name = file.removeprefix("chapters/")
        found.setdefault(name.rpartition("/")[0], []).append(name)
    return found


PAGES = page_names()


# The sources ------------------------------------------------------------------------------------


def count_formulas(tokens: list[Token], parser) -> int:
    """Return how many formulas the tokens of a text hold, those inside directives too."""
    found = 0
    for token in tokens:
        if token.type.startswith(("math_", "amsmath")):
            found += 1
        elif token.children:
            found += count_formulas(token.children, parser)
        elif token.type in {"fence", "colon_fence"} and token.info.startswith("{"):
            if token.info.startswith("{math}"):
                found += 1
            elif not token.info.startswith("{code"):
                found += count_formulas(parser.parse(token.content), parser)
    return found


@functools.cache
def formulas_in(source: Path) -> int:
    """Return how many formulas are written in a notebook or a text."""
    config = MdParserConfig(enable_extensions={"dollarmath", "amsmath", "colon_fence", "deflist"})
    parser = create_md_parser(config, RendererHTML)
    if source.suffix == ".ipynb":
        cells = nbformat.read(source, 4).cells
        texts = [cell.source for cell in cells if cell.cell_type == "markdown"]
    else:
        texts = [source.read_text(encoding="utf-8")]
    return sum(count_formulas(parser.parse(text), parser) for text in texts)


# The visits -------------------------------------------------------------------------------------


class Visit:
    """A tab that notes what a page asks for and what it says."""

    def __init__(self, browser, width: int) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900},
                                           reduced_motion="reduce")
        self.context.add_init_script(path=MEASURES)
        self.context.set_default_timeout(120_000)  # milliseconds: a busy machine is no failure
        self.tab = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.failed: list[str] = []
        self.weights: Counter[str] = Counter()
        self.tab.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        self.tab.on("console", self.note)
        self.tab.on("request", lambda request: self.asked.append(request.url))
        self.tab.on("requestfailed", lambda request: self.failed.append(request.url))
        self.tab.on("response", self.weigh)

    def note(self, message) -> None:
        # What the theme and its extensions log of themselves is neither an error nor a warning.
        if message.type in {"error", "warning"}:
            self.said.append(f"{message.type}: {message.text}")

    def weigh(self, response) -> None:
        if response.status >= 400:
            self.failed.append(f"{response.status} {response.url}")
        kind = "shared" if SHARED.search(response.url) else response.request.resource_type
        self.weights[kind] += int(response.headers.get("content-length", 0))

    def open(self, address: str) -> None:
        """Open a page and wait until its formulas are typeset."""
        for notes in (self.said, self.asked, self.failed, self.weights):
            notes.clear()
        self.tab.goto(address)
        self.tab.wait_for_function("!window.MathJax || measures.typeset() !== null")

    def measure(self, name: str, *arguments):
        """Return what a function of `measures.js` finds."""
        return self.tab.evaluate("([name, args]) => measures[name](...args)", [name, arguments])

    def colour(self, theme: str) -> None:
        """Show the page in the `light` or in the `dark`."""
        self.tab.emulate_media(color_scheme=theme)
        self.tab.wait_for_function(f"document.documentElement.dataset.theme === '{theme}'")
        self.measure("settle")

    def accessibility(self, options: dict) -> list[str]:
        """Return what axe-core objects to, with the first place of each."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.tab, options=options).response["violations"]
        return [f"{each['id']} ({each['impact']}), {len(each['nodes'])} times: "
                f"{each['nodes'][0]['html'][:150]}" for each in found]

    def notes(self) -> dict[str, list[str]]:
        """Return what the page has asked for and said, and which formulas failed."""
        here = ("file:", "data:", "blob:", "http://127.0.0.1:")
        return {"other hosts": [url for url in self.asked if not url.startswith(here)],
                "console": list(self.said),
                "failed requests": list(self.failed),
                "TeX errors": self.measure("errors")}


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


def at_width(visit: Visit, width: int) -> dict[str, list[str]]:
    """Return what is cut at a width, with all folds open."""
    visit.tab.set_viewport_size({"width": width, "height": 900})
    visit.measure("settle")
    with contextlib.suppress(TimeoutError):  # what scrolls becomes a stop of the Tab key soon after
        visit.tab.wait_for_function("!measures.unreachable().length", timeout=1000)
    wider = visit.measure("wider")
    return {"the page is wider than the window": [f"by {wider} pixels"] if wider > 0 else [],
            **{name: visit.measure(name) for name in
               ("cut", "cutFormulas", "unreachable", "stops", "wrapped", "strayed",
                "smallFigures")}}


def on_paper(visit: Visit) -> dict:
    """Return what is cut or hidden on paper, and how many formulas are printed."""
    visit.tab.set_viewport_size({"width": PAPER, "height": 1000})
    visit.tab.emulate_media(media="print")
    found = {"cut": visit.measure("cutOnPaper"), "shut": visit.measure("shutOnPaper"),
             "folds": visit.measure("shut"), "formulas": visit.measure("placed")}
    visit.tab.emulate_media(media="screen")
    return found


def for_everybody(visit: Visit, seen: list[str]) -> dict[str, list[str]]:
    """Return what axe-core objects to; of colours, in the light and in the dark, in what is new.

    `seen` are the kinds of words whose colours are known; those of this page are added.
    """
    visit.measure("hollow")
    found = {"": visit.accessibility(OF_THE_REST)}
    if new := visit.measure("thin", seen):
        for theme in ("dark", "light"):  # the next page is opened in the light
            visit.colour(theme)
            found[theme] = visit.accessibility(OF_COLOURS)
        seen += new
    return found


@pytest.fixture(scope="module")
def visited(browser, html, server) -> Callable[[str], dict]:
    """A function that returns all that was measured in a page of the book, by its name."""
    pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
    wide, narrow = Visit(browser, 1280), Visit(browser, 390)
    seen: dict[str, set[str]] = {"dark": set(), "light": set()}  # kinds of controls
    words: dict[int, list[str]] = {1280: [], 390: []}  # kinds of words

    @functools.cache
    def visit(name: str) -> dict:
        found: dict = {}
        wide.tab.set_viewport_size({"width": 1280, "height": 900})
        wide.open(f"{server}/chapters/{name}.html")
        found["http"] = wide.notes()
        found["weight"] = dict(wide.weights)
        found["shift"] = {1280: wide.measure("shift")}
        found["typeset"] = wide.measure("typeset")
        found["rendered"] = wide.measure("rendered")
        found["faint"], found["plots"] = {}, {}
        for theme, kinds in seen.items():  # the light comes last
            wide.colour(theme)
            found["plots"][theme] = wide.measure("strangePlots")
            found["faint"][theme] = faint(wide, kinds)
        found["paper"] = on_paper(wide)
        wide.measure("unfold", True)
        found["cut"] = {1280: at_width(wide, 1280)}
        found["code"] = wide.measure("scrolledCode")
        found["lines"] = wide.measure("lines")
        axe = {f"1280, folds open, {theme}": wrong
               for theme, wrong in for_everybody(wide, words[1280]).items()}
        narrow.tab.set_viewport_size({"width": 390, "height": 900})
        narrow.open((html / "chapters" / f"{name}.html").as_uri())
        found["file"] = narrow.notes()
        found["shift"][390] = narrow.measure("shift")
        found["rendered from file"] = narrow.measure("rendered")
        narrow.measure("unfold", True)
        found["cut"][390] = at_width(narrow, 390)
        found["cut"][320] = at_width(narrow, 320)
        narrow.measure("unfold", False)
        narrow.tab.set_viewport_size({"width": 390, "height": 900})
        axe |= {f"390, folds closed, {theme}": wrong
                for theme, wrong in for_everybody(narrow, words[390]).items()}
        found["axe"] = axe
        return found

    yield visit
    for each in (wide, narrow):
        each.context.close()


def test_colours_are_measured_where_words_are_of_a_new_kind(browser, tmp_path):
    pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
    visit, seen, page = Visit(browser, 1280), [], tmp_path / "page.html"
    for kind, new in (("pale", True), ("pale", False), ("paler", True)):
        page.write_text('<!doctype html><html lang="en"><title>Words</title><style>'
                        ".pale, .paler { color: #ddd; background: white }</style>"
                        f'<main><p>Black.</p><p class="{kind}">Pale.</p></main>')
        visit.open(page.as_uri())
        found = visit.measure("thin", seen)
        assert bool(found) == new
        assert [wrong.partition(" ")[0] for wrong in visit.accessibility(OF_COLOURS)] == (
            ["color-contrast"] if new else [])
        seen += found
    visit.context.close()


def only_faults(found: dict) -> dict:
    """Return what is not empty."""
    return {key: value for key, value in found.items() if value}


# What is asked of every page --------------------------------------------------------------------


class OfEachPage:
    """What is asked of the pages in one folder; the classes below run side by side."""

    FOLDER: str

    def test_asks_no_other_host_and_reports_nothing(self, visited, name):
        assert only_faults(visited(name)["http"]) == {}
        assert only_faults(visited(name)["file"]) == {}

    def test_shows_every_formula_of_its_source(self, visited, html, name):
        sources = [html / "_sources" / "chapters" / f"{name}.{kind}" for kind in ("ipynb", "md")]
        written = formulas_in(next(path for path in sources if path.exists()))
        assert visited(name)["rendered"] == written
        assert visited(name)["rendered from file"] == written

    def test_is_whole_on_paper(self, visited, name):
        paper = visited(name)["paper"]
        assert (paper["cut"], paper["shut"]) == ([], [])
        assert paper["formulas"] == visited(name)["rendered"]
        if self.FOLDER not in {"", "appendix"}:  # a chapter has solutions
            assert paper["folds"] >= 5

    def test_hardly_moves_while_it_loads(self, visited, name):
        assert {width: shift for width, shift in visited(name)["shift"].items()
                if shift > SHIFT} == {}

    def test_is_light(self, visited, name, record_property):
        weight = visited(name)["weight"]
        record_property("bytes", weight)
        record_property("typeset", visited(name)["typeset"])
        assert sum(size for kind, size in weight.items() if kind != "shared") <= WEIGHT, weight

    def test_is_accessible(self, visited, name):
        assert only_faults(visited(name)["axe"]) == {}

    def test_shows_the_focus_on_each_kind_of_control(self, visited, name):
        assert only_faults(visited(name)["faint"]) == {}

    def test_plots_have_the_colours_of_the_page(self, visited, name):
        assert only_faults(visited(name)["plots"]) == {}

    @pytest.mark.parametrize("width", [1280, 390, 320])
    def test_is_not_cut(self, visited, name, width):
        assert only_faults(visited(name)["cut"][width]) == {}

    def test_shows_code_without_scrolling_on_a_wide_screen(self, visited, name):
        assert visited(name)["code"] == []

    def test_has_short_lines_of_prose(self, visited, name):
        assert [line for line in visited(name)["lines"] if len(line) > LINE] == []


class TestHome(OfEachPage):
    FOLDER = ""


class TestFoundations(OfEachPage):
    FOLDER = "foundations"


class TestVAE(OfEachPage):
    FOLDER = "vae"


class TestDiffusion(OfEachPage):
    FOLDER = "diffusion"


class TestPhysics(OfEachPage):
    FOLDER = "physics"


class TestAppendix(OfEachPage):
    FOLDER = "appendix"


def pytest_generate_tests(metafunc):
    if metafunc.cls and issubclass(metafunc.cls, OfEachPage):
        metafunc.parametrize("name", PAGES[metafunc.cls.FOLDER])


def test_the_pages_of_every_folder_are_opened():
    assert {each.FOLDER for each in OfEachPage.__subclasses__()} == set(PAGES)
