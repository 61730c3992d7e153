"""Pages are light: what they load is counted, and what none of them uses is not there."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import lighter_pages
import pytest
from bs4 import BeautifulSoup
from fontTools.ttLib import TTFont

HEAVIEST = 2_000_000  # bytes of a page beside MathJax and the icons
SHARED = {"tex-svg-full.js", lighter_pages.ICONS}  # by all pages, and fetched once


def test_a_style_sheet_keeps_the_icons_that_are_used():
    css = ('a{x:y}@font-face{font-family:Font Awesome\\ 6 Free;src:url(a)}'
           '.fa-x:before,.fa-times:before{content:"\\f00d"}.fa-sun:before{content:"\\f185"}'
           '@font-face{font-family:Font Awesome\\ 6 Brands;src:url(b)}b{content:"\\f0f3"}')
    cut, characters = lighter_pages.shortened(css, {"times", "lg"})
    assert cut == (f'a{{x:y}}{lighter_pages.SOLID}.fa-times:before{{content:"\\f00d"}}'
                   'b{content:"\\f0f3"}')
    assert characters == {0xF00D, 0xF0F3}


def test_the_font_has_these_characters_alone(tmp_path):
    lighter_pages.write_font({0xF00D, 0xF185}, tmp_path / "icons.woff")
    assert set(TTFont(tmp_path / "icons.woff").getBestCmap()) == {0xF00D, 0xF185}


# The built book ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pages(html, parse) -> dict[Path, BeautifulSoup]:
    return {path: parse(path) for path in html.rglob("*.html") if "_static" not in path.parts}


def weight(path: Path, page: BeautifulSoup) -> dict[str, int]:
    """Return the bytes of a page and of each file that it loads, but for what all pages share."""
    names = [tag[name] for element, name in (("script", "src"), ("img", "src"), ("object", "data"))
             for tag in page.find_all(element, attrs={name: True})]
    names += [tag["href"] for tag in page.find_all("link", href=True)
              if {"stylesheet", "preload", "icon"}.intersection(tag["rel"])]
    files = {(path.parent / unquote(urlsplit(name).path)).resolve() for name in names
             if not urlsplit(name).scheme}
    return {path.name: path.stat().st_size} | {
        file.name: file.stat().st_size for file in files if file.name not in SHARED}


def test_no_page_is_too_heavy(pages):
    weights = {path.name: weight(path, page) for path, page in pages.items()}
    assert len(weights) > 30
    assert {name: found for name, found in weights.items() if sum(found.values()) > HEAVIEST} == {}


def test_what_no_page_uses_is_not_there(html):
    assert list(html.rglob("*.map")) == []
    assert [name for name in lighter_pages.UNUSED if (html / name).exists()] == []


def test_each_icon_of_the_pages_is_in_the_font(html, pages):
    sheet = (html / lighter_pages.SHEET).read_text(encoding="utf-8")
    characters = set(TTFont(html / "_static" / lighter_pages.ICONS).getBestCmap())
    named = {name for page in pages.values() for tag in page.select("[class*=fa-]")
             for name in lighter_pages.NAMED.findall(" ".join(tag["class"]))}
    missing = set()
    for name in named - {"solid", "lg", "regular", "brands"}:
        rule = re.search(rf'\.fa-{name}:before[^{{}}]*\{{content:"\\([0-9a-f]+)"', sheet)
        if not rule or int(rule[1], 16) not in characters:
            missing.add(name)
    assert len(named) > 8 and missing == set()


def test_style_sheets_and_scripts_of_the_theme_name_no_source_map(html):
    for path in [*html.rglob("_static/**/*.js"), *html.rglob("_static/**/*.css")]:
        assert "# sourceMappingURL" not in path.read_text(encoding="utf-8"), path
