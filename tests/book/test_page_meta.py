"""What a page says of itself: its description, its address where that is set, and the lost page."""

import os
import re
import xml.etree.ElementTree as ET
from urllib.parse import urljoin

import page_meta
import pytest
from bs4 import BeautifulSoup
from sphinx.testing.util import SphinxTestApp

import notebooks


@pytest.mark.parametrize(("text", "expected"), [
    ("Short.", "Short."),
    ("A first sentence that is long enough to stand here, and says what is taught in it. " + 40 *
     "more ", "A first sentence that is long enough to stand here, and says what is taught in it."),
    ("word " * 60, ("word " * 39).strip() + " …"),
])
def test_a_description_ends_with_a_sentence_or_a_word(text, expected):
    assert page_meta.shortened(text.strip()) == expected
    assert len(expected) <= page_meta.LONGEST


def named_in(tags: str) -> dict[str, str]:
    """Return what the elements of a head say, by its name."""
    found = BeautifulSoup(tags, "html.parser").find_all("meta")
    return {tag.get("name") or tag.get("property"): tag.get("content") for tag in found}


def test_without_the_address_nothing_needs_it():
    named = named_in(page_meta.metatags('A "title"', "About <it>", "Site", "", "x.png"))
    assert named == {"description": "About <it>", "og:type": "website", "og:site_name": "Site",
                     "og:title": 'A "title"', "og:description": "About <it>"}


def test_with_the_address_the_picture_has_a_full_one():
    named = named_in(page_meta.metatags("T", "A", "S", "https://e.org/c/a.html",
                                        "https://e.org/c/_static/social.png"))
    assert named["og:url"] == "https://e.org/c/a.html"
    assert named["og:image"] == "https://e.org/c/_static/social.png"


def test_the_sitemap_is_one():
    tree = ET.fromstring(page_meta.sitemap(["https://e.org/a.html?x&y"]).encode())
    assert [each.text for each in tree.findall("*/{*}loc")] == ["https://e.org/a.html?x&y"]


def test_the_lost_page_starts_from_the_address_of_the_pages():
    base = BeautifulSoup(page_meta.base_of_404("https://e.org/c/"), "html.parser").base["href"]
    assert urljoin(base, "chapters/index.html") == "https://e.org/c/chapters/index.html"


def test_a_book_with_an_address(tmp_path):
    source = tmp_path / "source"
    (source / "chapters").mkdir(parents=True)
    (source / "_static").mkdir()
    (source / "chapters" / "home.md").write_text("# Home\n\nA whole sentence on $x^2$.\n")
    (source / "conf.py").write_text(
        "extensions = ['myst_parser', 'search', 'page_meta', 'lighter_pages']\n"
        "myst_enable_extensions = ['dollarmath']\nhtml_theme = 'sphinx_book_theme'\n"
        "html_title = 'The book'\nroot_doc = 'chapters/home'\nhtml_baseurl = 'https://e.org/c'\n")
    app = SphinxTestApp("html", srcdir=source, builddir=tmp_path / "_build")
    app.build()
    app.cleanup()
    home, lost, front = (BeautifulSoup((app.outdir / name).read_text("utf-8"), "html.parser")
                         for name in ("chapters/home.html", "404.html", "index.html"))
    assert home.find("link", rel="canonical")["href"] == "https://e.org/c/chapters/home.html"
    assert home.title.get_text() == "The book"
    named = named_in(str(home.head))
    assert named["description"] == named["og:description"] == "A whole sentence on x²."
    assert named["og:url"] == "https://e.org/c/chapters/home.html"
    assert named["og:image"] == "https://e.org/c/_static/social.png"
    assert lost.base["href"] == "https://e.org/c/404.html"
    assert lost.find("link", rel="canonical") is None
    assert lost.find("meta", attrs={"name": "robots"})["content"] == "noindex"
    assert front.find("meta", attrs={"http-equiv": True})["content"] == "0; url=chapters/home.html"
    assert named_in(str(front.head))["og:title"] == "Home"
    addresses = re.findall("<loc>(.*)</loc>", (app.outdir / "sitemap.xml").read_text("utf-8"))
    assert addresses == ["https://e.org/c/chapters/home.html"]


# The built book ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def heads():
    """The head of each page of the built book, by its path."""
    html = (notebooks.ROOT / os.environ.get("GENMODELS_HTML", "_build/html")).resolve()
    if not (html / "index.html").is_file():
        pytest.fail("GENMODELS_HTML must name the folder of a built book: use `make test`")
    paths = [path for path in html.rglob("*.html") if "_static" not in path.parts]
    return {path.relative_to(html).as_posix():
            BeautifulSoup(path.read_text("utf-8").partition("</head>")[0], "html.parser")
            for path in paths}


def test_each_page_has_a_title_a_description_and_an_icon(heads):
    titles = {name: [each.get_text() for each in head.find_all("title")]
              for name, head in heads.items() if name != "index.html"}
    assert [name for name, found in titles.items() if len(found) != 1 or not found[0]] == []
    assert len({found[0] for found in titles.values()}) == len(titles)
    for name, head in heads.items():
        found = head.find_all("meta", attrs={"name": "description"})
        assert len(found) == 1 and 20 <= len(found[0]["content"]) <= page_meta.LONGEST, name
        assert "\\" not in found[0]["content"] and "$" not in found[0]["content"], name
        assert head.find("link", rel="icon")["href"].endswith("favicon.svg"), name
        assert head.find("meta", property="og:title")["content"], name


def test_a_chapter_is_described_by_what_it_teaches(heads):
    for chapter in notebooks.in_order():
        name = chapter.relative_to(notebooks.ROOT).with_suffix(".html").as_posix()
        about = heads[name].find("meta", attrs={"name": "description"})["content"]
        teaches = notebooks.text_of(chapter).partition("What you will be able to do.**")[2]
        assert about.split()[:3] == teaches.split()[:3], name
