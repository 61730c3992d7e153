"""On paper: one page printed from the browser, and the book as a PDF."""

import re
import subprocess
import sys
import unicodedata
from collections import Counter

import pytest
from bs4 import BeautifulSoup
from test_every_page import MEASURES, PAPER

import notebooks
import pdf

pypdf = pytest.importorskip("pypdf", reason="pypdf is not installed")

PAGES = [page for part in pdf.parts() for page in part.pages]
CHAPTERS = {path.stem: path for path in notebooks.in_order()}
PRINTED = ["kl_divergence", "elbo"]  # two chapters that refer to each other

# In a fold that is shut an element has a size, but is not visible.
HEIGHTS = """all => all.map(each =>
    each.checkVisibility() ? each.getBoundingClientRect().height : 0)"""


def address(html, page):
    return (html / f"{page}.html").as_uri()


def on_paper(page, html, name, width=PAPER):
    """Open a page as it is printed, when its formulas are set, if they are to be."""
    page.set_viewport_size({"width": width, "height": 1000})
    page.emulate_media(media="print")
    page.goto(address(html, name))
    page.evaluate("window.MathJax?.startup?.promise")
    return page


def of(name):
    """Return the page of a name."""
    return next(page for page in PAGES if pdf.name_of(page) == name)


def squeezed(text):
    """Return a text without white space, and without ligatures, which a PDF has."""
    return re.sub(r"\s+", "", unicodedata.normalize("NFKC", text))


# One page ---------------------------------------------------------------------------------------


def test_code_wraps_on_narrow_paper(page, html):
    narrow = 380
    cells = page.locator("article .cell_input pre")
    page.add_init_script(path=MEASURES)
    on_paper(page, html, of("elbo"))
    wide = sum(cells.evaluate_all(HEIGHTS))
    on_paper(page, html, of("elbo"), narrow)
    assert sum(cells.evaluate_all(HEIGHTS)) > 1.1 * wide  # lines have become two
    assert page.evaluate("measures.cutOnPaper()") == []


def test_solutions_are_printed_at_their_exercises(plain, html):
    page = on_paper(plain, html, of("elbo"))
    solutions = page.locator("section[id^=exercise] :is(details.solution, .tag_solution pre)")
    heights = solutions.evaluate_all(HEIGHTS)
    assert len(heights) > 5
    assert min(heights) > 0


def test_what_is_for_the_screen_is_not_printed(plain, html):
    page = on_paper(plain, html, of("elbo"), 1280)  # paper so wide that there would be room for it
    for name in [".bd-sidebar-primary", ".bd-sidebar-secondary", ".bd-header-article", "button",
                 ".headerlink", ".prev-next-footer", ".page-head ul", "#jb-print-docs-body"]:
        shown = page.locator(name).evaluate_all(
            "all => all.filter(each => each.checkVisibility()).length")
        assert shown == 0, name
    assert page.locator("article h1").is_visible()


def test_the_still_picture_is_printed_in_place_of_a_live_figure(plain, html):
    page = plain
    page.goto(address(html, of("elbo")))
    page.locator("[data-live].started .live-box").first.wait_for(state="attached")
    page.emulate_media(media="print")
    figure = page.locator("[data-live=elbo_bar]")
    assert not figure.locator(".live-box").is_visible()
    assert figure.locator("svg.drawing").is_visible()


def test_a_dark_page_is_printed_in_the_light_colours(plain, html):
    page = plain
    page.emulate_media(color_scheme="dark")
    page.goto(address(html, of("elbo")))
    page.evaluate("""() => {
        document.documentElement.dataset.theme = "dark";
        window.seen = [];
        addEventListener("beforeprint", () => seen.push(document.documentElement.dataset.theme));
    }""")
    page.pdf()
    assert page.evaluate("seen") == ["light"]
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


# The book ---------------------------------------------------------------------------------------


def made(html, place, *options):
    """Write a PDF as `make pdf` does."""
    subprocess.run([sys.executable, str(notebooks.ROOT / "book/pdf.py"), "--html", str(html),
                    "--output", str(place), *options], check=True, capture_output=True, text=True)
    return pypdf.PdfReader(place)


@pytest.fixture(scope="module")
def book(browser, html, tmp_path_factory):
    """Two chapters as a PDF, with solutions, and the text of its pages."""
    reader = made(html, tmp_path_factory.mktemp("pdf") / "book.pdf", *PRINTED)
    return reader, [page.extract_text() for page in reader.pages]


@pytest.fixture(scope="module")
def exercises_alone(browser, html, tmp_path_factory):
    """The text of one chapter as a PDF, without solutions."""
    place = tmp_path_factory.mktemp("pdf") / "book.pdf"
    return "\n".join(page.extract_text() for page in
                     made(html, place, "elbo", "--solutions", "no").pages)


def outline_of(reader):
    """Return (depth, title, page) of each line of the outline."""
    def lines(items, depth):
        for item in items:
            if isinstance(item, list):
                yield from lines(item, depth + 1)
            else:
                yield depth, item.title, reader.get_destination_page_number(item)
    return list(lines(reader.outline, 0))


def test_the_outline_leads_to_each_heading(book, html):
    reader, texts = book
    lines = outline_of(reader)
    for depth, title, page in lines:
        if depth > 0:
            assert squeezed(title) in squeezed(texts[page]), title
    source = (html / f"{of('elbo')}.html").read_text(encoding="utf-8")
    headings = BeautifulSoup(source, "html.parser").select("article :is(h1, h2, h3)")
    first = next(i for i, line in enumerate(lines) if line[1].startswith("4. "))
    found = [(depth, title) for depth, title, _ in lines[first:first + len(headings)]]
    assert found == [(int(tag.name[1]), " ".join(tag.get_text().removesuffix("#").split()))
                     for tag in headings]


def test_the_contents_have_the_numbers_of_the_pages(book):
    reader, texts = book
    listed = squeezed(texts[1])
    sections = [line for line in outline_of(reader) if line[0] == 2
                and not line[1].startswith("Exercise")]
    assert len(sections) > 15
    for _, title, page in sections:
        assert f"{squeezed(title)}{page + 1}" in listed


def test_pages_are_numbered_and_have_the_title_of_their_chapter(book):
    _, texts = book
    for number, text in enumerate(texts[2:], 3):
        lines = [line.strip() for line in text.splitlines()]
        assert str(number) in lines
        assert any(line.startswith(("3. ", "4. ", "Solutions")) for line in lines)


@pytest.mark.parametrize("name", PRINTED)
def test_all_code_is_printed(book, name):
    text = squeezed("\n".join(book[1]))
    lines = [line for cell in notebooks.code_cells(CHAPTERS[name])
             for line in cell.source.splitlines()]
    assert [line for line in lines if squeezed(line) not in text] == []


def test_solutions_stand_at_the_end(book):
    reader, texts = book
    start = next(page for _, title, page in outline_of(reader) if title == "Solutions")
    assert "# Solution" not in "".join(texts[:start])
    cells = [cell for name in PRINTED for cell in notebooks.tagged(CHAPTERS[name], "solution")
             if cell.cell_type == "code"]
    assert "\n".join(texts[start:]).count("# Solution") == len(cells)
    told = squeezed("".join(texts[:start])).count("Thesolutionisattheendofthebook.")
    answers = [title for _, title, page in outline_of(reader)
               if page >= start and title.startswith("Exercise")]
    assert told == len(answers) > 5


def test_solutions_are_left_out(exercises_alone):
    assert "# Solution" not in exercises_alone
    assert "The solution is" not in exercises_alone
    assert "Exercise 1" in exercises_alone
    cells = notebooks.cells_of(CHAPTERS["elbo"])
    elsewhere = "\n".join(squeezed(cell.source) for cell in cells
                          if "solution" not in notebooks.tags_of(cell))
    told = [line for cell in cells
            if cell.cell_type == "code" and "solution" in notebooks.tags_of(cell)
            for line in map(squeezed, cell.source.splitlines())
            if len(line) > 20 and line not in elsewhere]
    assert len(told) > 10
    assert [line for line in told if line in squeezed(exercises_alone)] == []


def test_links_inside_the_book_lead_inside_the_pdf(book):
    reader, _ = book
    pages = {page.indirect_reference.idnum for page in reader.pages}
    links = [link.get_object() for page in reader.pages for link in page.get("/Annots", [])]
    elsewhere = [str(link["/A"]["/URI"]) for link in links if "/A" in link]
    assert [each for each in elsewhere if not each.startswith("https://")] == []
    inside = [link["/Dest"] for link in links if "/Dest" in link]
    assert {each[0].idnum for each in inside} <= pages
    assert len(inside) > 100


def test_a_link_to_another_chapter_leads_to_its_equation(book):
    """The first link to (K2) in the chapter on the bound."""
    reader, texts = book
    number = {page.indirect_reference.idnum: i for i, page in enumerate(reader.pages)}
    start = next(page for _, title, page in outline_of(reader) if title.startswith("4. "))
    far = [number[link.get_object()["/Dest"][0].idnum]
           for page in reader.pages[start:start + 3] for link in page.get("/Annots", [])
           if "/Dest" in link.get_object()]
    assert any("(K2)" in texts[page] for page in far if page < start)


def test_ids_are_those_of_one_element(html):
    documents, _ = pdf.assemble(html, PRINTED)
    ids = re.findall(r' id="([^"]+)"', "".join(each.body for each in documents))
    assert [each for each, count in Counter(ids).items() if count > 1] == []


# What may be missing ----------------------------------------------------------------------------


def test_an_unknown_page_is_named(html):
    with pytest.raises(ValueError, match=r"pages must be of index, .*, got elbow"):
        pdf.assemble(html, ["elbow"])


@pytest.mark.parametrize(("found", "folder", "said"), [
    (None, True, "apt install chromium"), ("chromium", False, "run `make book` first")])
def test_what_is_missing_is_said_in_one_line(tmp_path, monkeypatch, capsys, found, folder, said):
    if folder:
        (tmp_path / "index.html").touch()
    monkeypatch.setattr(pdf, "chromium", lambda: found)
    monkeypatch.setattr(sys, "argv", ["pdf.py", "--html", str(tmp_path)])
    assert pdf.main() == 1
    message = capsys.readouterr().err
    assert said in message
    assert message.count("\n") == 1
