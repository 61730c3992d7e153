"""The built pages need no other host, show their equations, and hang together.

The folder to look at is named by the environment variable GENMODELS_HTML; `make test` builds it.
"""

import ast
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup

import api
import dependencies
import identities
import notebooks
import reading

ROOT = notebooks.ROOT
# Attributes by which a page loads something at once, by element.
LOADS = {
    "script": ["src"],
    "img": ["src", "srcset"],
    "source": ["src", "srcset"],
    "video": ["src", "poster"],
    "audio": ["src"],
    "iframe": ["src"],
    "embed": ["src"],
    "object": ["data"],
    "use": ["href", "xlink:href"],
}
# A <link> of these kinds names another page; every other kind loads something.
PAGE_LINKS = {"next", "prev", "search", "index", "canonical", "author", "copyright", "up", "top"}
CSS_ADDRESS = re.compile(r"""url\(\s*["']?([^"')]+)|@import\s+["']([^"']+)""")


def is_elsewhere(address: str) -> bool:
    """Return whether an address leads to another host."""
    return urlsplit(address.strip()).scheme in {"http", "https", "ftp", "ws", "wss"} or (
        address.strip().startswith("//")
    )


def css_addresses(css: str) -> list[str]:
    """Return what a style sheet loads."""
    css = re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL)
    return [first or second for first, second in CSS_ADDRESS.findall(css)]


def loaded_addresses(page: BeautifulSoup) -> list[str]:
    """Return what a page loads at once, as written in it."""
    addresses = []
    for element, attributes in LOADS.items():
        for tag in page.find_all(element):
            for name in attributes:
                value = tag.get(name, "")
                parts = value.split(",") if name == "srcset" else [value]
                addresses += [part.split()[0] for part in parts if part.split()]
    for tag in page.find_all("link", href=True):
        if not PAGE_LINKS.intersection(tag.get("rel", [])):
            addresses.append(tag["href"])
    for style in page.find_all("style"):
        addresses += css_addresses(style.get_text())
    for tag in page.find_all(style=True):
        addresses += css_addresses(tag["style"])
    return addresses


@pytest.fixture(scope="module")
def pages(html, parse) -> dict[Path, BeautifulSoup]:
    """All pages, the redirect from index.html to the front page and the theme's parts aside."""
    paths = [p for p in sorted(html.rglob("*.html")) if "_static" not in p.parts]
    return {p: parse(p) for p in paths if p != html / "index.html"}


@pytest.fixture(scope="module")
def chapters(html, pages) -> dict[Path, BeautifulSoup]:
    """The pages made from notebooks."""
    names = [n.relative_to(ROOT).with_suffix(".html") for n in notebooks.notebooks()]
    assert [str(name) for name in names if html / name not in pages] == []
    return {html / name: pages[html / name] for name in names}


def test_keras_was_imported_in_the_chapters_that_make_test_executes_with_each_backend(chapters):
    """In no other, by whatever way: as their kernels recorded it."""
    with_keras = {path.stem for path, page in chapters.items()
                  if "Keras on" in page.select_one(".environment dd").get_text()}
    assert with_keras == {path.stem for path in dependencies.users_of("keras")}


def test_the_book_opens_at_its_front_page(html, parse):
    refresh = parse(html / "index.html").find("meta", attrs={"http-equiv": True})["content"]
    assert (html / refresh.partition("url=")[2]).is_file()


def test_pages_load_nothing_from_another_host(pages):
    for path, page in pages.items():
        assert [a for a in loaded_addresses(page) if is_elsewhere(a)] == [], path


def test_inline_scripts_name_no_script_on_another_host(pages):
    for path, page in pages.items():
        for script in page.find_all("script", src=False):
            assert not re.search(r"https?://\S+\.m?js\b|import\(", script.get_text()), path


def test_style_sheets_load_nothing_from_another_host(html):
    sheets = sorted(html.rglob("*.css"))
    assert sheets
    for sheet in sheets:
        addresses = css_addresses(sheet.read_text(encoding="utf-8"))
        assert [a for a in addresses if is_elsewhere(a)] == [], sheet


def test_what_pages_load_exists(html, pages):
    missing = set()
    for path, page in pages.items():
        for address in loaded_addresses(page):
            local = unquote(urlsplit(address).path)
            if not address.startswith("data:") and local and not (path.parent / local).exists():
                missing.add((path.name, address))
    assert missing == set()


def test_mathjax_comes_from_the_book(html, chapters):
    for path, page in chapters.items():
        sources = [s["src"] for s in page.find_all("script", src=True)]
        (mathjax,) = [s for s in sources if "tex-svg" in s or "mathjax" in s.lower()]
        file = (path.parent / urlsplit(mathjax).path).resolve()
        assert file == html / "tex-svg-full.js"
        assert file.stat().st_size > 2_000_000  # the whole of MathJax, not a loader


def test_no_thebe(html, pages):
    for path, page in pages.items():
        assert "thebe" not in str(page).lower(), path
    assert list(html.rglob("*thebe*")) == []


def test_no_widgets_whose_scripts_would_be_missing(pages):
    for path, page in pages.items():
        assert page.find("script", type=re.compile("jupyter.widget")) is None, path


def test_one_search_field(pages):
    for path, page in pages.items():
        assert len(page.select("input[type=search]")) == 1 + (
            path.name in {"search.html", "404.html"}), path
        assert len(page.select(".search-button-field")) == 1, path
        assert page.select("header.bd-header .search-button, header.bd-header input") == [], path


def test_no_stderr_and_no_traceback(chapters):
    for path, page in chapters.items():
        assert page.select(".output.stderr, .output.traceback") == [], path


def test_images_have_alternative_text(pages):
    bad = []
    for path, page in pages.items():
        for image in page.select("main img"):
            alt = image.get("alt", "")
            if len(alt.split()) < 4 or re.search(r"\.(png|svg|jpe?g)$", alt):
                bad.append((path.name, image.get("src"), alt))
    assert bad == []


def test_every_cell_that_draws_shows_its_figure(html, chapters):
    for notebook in notebooks.notebooks():
        drawing = [cell for cell in notebooks.cells_of(notebook)
                   if "image" in cell["metadata"].get("mystnb", {})]
        page = chapters[html / notebook.relative_to(ROOT).with_suffix(".html")]
        assert len(page.select("main .cell_output :is(img, svg.plot)")) >= len(drawing), notebook


def test_labelled_equations_show_their_id(html, parse):
    for label, equations in identities.read_register().equations.items():
        for equation in equations:
            name = equation.chapter.relative_to(ROOT).with_suffix(".html")
            shown = parse(html / name).select(f"#equation-{label.lower()} .eqno")
            assert [s.find(string=True) for s in shown] == [f"({label})"], (label, name)


def test_ids_in_running_text_are_links(chapters):
    labels = "|".join(identities.read_register().equations)
    for path, page in chapters.items():
        unlinked = [
            text
            for text in page.main.find_all(string=re.compile(rf"\(({labels})\)"))
            if text.find_parent("p")
            and not text.find_parent(["a", "code", "svg"])  # a drawing has no links
            and not text.find_parent(class_="math")
            and not text.find_parent(id=re.compile("^checks-"))  # the card of a mark
        ]
        assert unlinked == [], path


@pytest.mark.parametrize("module", api.modules())
def test_api_page_describes_every_public_function_and_class(html, module, parse):
    tree = ast.parse(dependencies.Package().files[module].read_text(encoding="utf-8"))
    defined = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)
               and not node.name.startswith("_")]
    exported = [ast.literal_eval(node.value) for node in tree.body
                if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"]
    page = parse(html / "chapters" / "appendix" / "api.html")
    names = [name for name in defined if not exported or name in exported[0]]
    assert [name for name in names if page.find(id=f"{module}.{name}") is None] == []


def test_chapters_offer_the_notebook(html, chapters):
    for path, page in chapters.items():
        downloads = [a["href"] for a in page.select("a.btn-download-source-button[href]")]
        assert [d for d in downloads if d.endswith(".ipynb")], path
        assert all((path.parent / d).is_file() for d in downloads), path


def test_internal_links_resolve(html, pages):
    ids = {p.resolve(): {t["id"] for t in page.find_all(id=True)} for p, page in pages.items()}
    broken = set()
    for path, page in pages.items():
        for link in page.find_all("a", href=True):
            parts = urlsplit(link["href"])
            if parts.scheme or parts.netloc or link["href"] == "#":
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path.resolve()
            known = ids.get(target)
            if not target.exists() or (parts.fragment and known and parts.fragment not in known):
                broken.add((path.name, link["href"]))
    assert broken == set()


# Figures, the heads of chapters and the home page ------------------------------------------------


def figure_faults(page: BeautifulSoup) -> list[str]:
    """Return what is wrong with the figures of a page: their number, caption, description."""
    faults = []
    pictures = page.select("main article :is(img, svg.drawing)")
    figures = page.select("main article figure.numbered")
    for picture in pictures:
        if picture.find_parent("figure", class_="numbered") is None:
            faults.append(f"no figure: {str(picture)[:80]}")
    for number, figure in enumerate(figures, 1):
        name = f"Figure {number}."
        caption = figure.find("figcaption")
        if figure.get("id") != f"figure-{number}":
            faults.append(f"{name} has the ID {figure.get('id')}")
        if caption is None or not caption.get_text().strip().startswith(name):
            faults.append(f"{name} has no number")
        elif len(caption.get_text().strip().removeprefix(name).split()) < 3:
            faults.append(f"{name} has no caption")
        elif caption.find_previous_sibling() is None or caption.find_next_sibling() is not None:
            faults.append(f"{name} has its caption elsewhere")
        shown = figure.select("img, svg.drawing")
        described = [each.get("alt") or each.get("aria-label") or "" for each in shown]
        if len(shown) != 1 or any(len(text.split()) < 4 for text in described):
            faults.append(f"{name} has the pictures {described}")
    faults += [f"a caption without a figure: {below.get_text()[:60]}"
               for below in page.select("main article :is(.cell, figure) + p")
               if below.em and below.em.get_text() == below.get_text()]
    return faults


def test_every_figure_has_a_number_a_caption_and_a_description(pages):
    assert {path.name: faults for path, page in pages.items()
            if (faults := figure_faults(page))} == {}
    assert sum(len(page.select("figure.numbered")) for page in pages.values()) > 100


GOOD = ('<figure class="numbered" id="figure-1"><img alt="A curve that falls slowly">'
        '<figcaption><p>Figure 1. How fast it falls.</p></figcaption></figure>')


@pytest.mark.parametrize(("before", "after"), [
    (' class="numbered"', ""), ("figure-1", "figure-2"), ("Figure 1.", ""),
    ("How fast it falls.", ""), ("A curve that falls slowly", "curve"),
    ("<img ", "<img alt='A second picture is here'><img "),
    ("</figure>", "</figure><p><em>How fast it rises.</em></p>")])
def test_a_figure_without_one_of_these_is_found(before, after):
    def page(text):
        return BeautifulSoup(f"<main><article>{text}</article></main>", "html.parser")

    assert figure_faults(page(GOOD)) == []
    assert figure_faults(page(GOOD.replace(before, after))) != []


def test_map_and_table_have_the_numbers_of_the_sidebar(html, pages):
    home = pages[html / "chapters" / "index.html"]
    sidebar = {a["href"]: " ".join(a.get_text().split()) for a in home.select(".bd-links a")
               if re.match(r"\s*\d+\.", a.get_text())}
    in_map = {a["href"]: " ".join(a.get_text().split()) for a in home.select("svg.chapter-map a")}
    in_table = {a["href"]: " ".join(a.get_text().split()) for a in home.select("td:first-child a")}
    assert len(sidebar) == len(notebooks.in_order())
    assert in_map == sidebar
    assert in_table == sidebar


def test_chapters_have_a_head_whose_notebooks_are_there(chapters):
    for path, page in chapters.items():
        (head,) = page.select(".page-head")
        assert head.find_previous_sibling().name == "h1", path
        assert f"{reading.stated_minutes(ROOT / page_source(path))} minutes" in head.get_text()
        downloads = [path.parent / a["href"] for a in head.select("a[download]")]
        assert [each.is_file() for each in downloads] == [True, True], path
        with_solutions, without = (notebooks.read(each) for each in downloads)
        assert len(without.cells) < len(with_solutions.cells), path


def page_source(page: Path) -> str:
    """Return the path of the notebook of a page, seen from the repository."""
    parts = page.with_suffix(".ipynb").parts
    return str(Path(*parts[parts.index("chapters"):]))
