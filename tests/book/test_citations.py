"""Whatever is cited has one entry, each entry is cited, and a citation becomes a link to it."""

import ast
import re
import tokenize
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import author_year
import citations
import pytest
from bs4 import BeautifulSoup
from sphinx.testing.util import SphinxTestApp

import notebooks
import pages

BIBLIOGRAPHY = notebooks.ROOT / f"{citations.BIBLIOGRAPHY}.md"
PAGES = [page for page in [*notebooks.notebooks(), *notebooks.plain_pages()]
         if page not in pages.GENERATED and page != BIBLIOGRAPHY]
MODULES = sorted((notebooks.ROOT / "code").rglob("*.py"))
# Formulas, code and the targets of links hold no citation.
NO_TEXT = re.compile(r"\$\$.+?\$\$|\$[^$]+\$|`+[^`]+`+|\]\([^)]*\)", re.DOTALL)

HEADINGS = re.findall(r"^\* \*\*(.+?)\*\*", BIBLIOGRAPHY.read_text(encoding="utf-8"), re.MULTILINE)
ENTRIES = [entry for entry in map(author_year.parse, HEADINGS) if entry]


def written_in(path: Path) -> str:
    """Return the text of a page, or the docstrings and comments of a module, by paragraphs."""
    if path.suffix != ".py":
        return NO_TEXT.sub(" ", notebooks.text_of(path))
    source = path.read_bytes()
    texts = [ast.get_docstring(node) or "" for node in ast.walk(ast.parse(source))
             if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)]
    comments = [(token.start[0], token.string.lstrip("#: ")) for token
                in tokenize.tokenize(BytesIO(source).readline) if token.type == tokenize.COMMENT]
    for (line, text), (before, _) in zip(comments, [(-1, ""), *comments]):
        texts.append(text if line != before + 1 else f"{texts.pop()} {text}")
    return "\n\n".join(texts)


def cited_in(text: str) -> Iterator[tuple[author_year.Citation, str]]:
    """Yield each citation in a text, and how it is written."""
    for paragraph in re.split(r"\n\s*\n", text):
        line = " ".join(paragraph.split())
        for citation in author_year.find(line):
            yield citation, line[citation.start : citation.end]


def meant(citation: author_year.Citation) -> list[str]:
    return [entry.key for entry in ENTRIES if entry.is_meant_by(citation)]


# How one cites ----------------------------------------------------------------------------------

@pytest.mark.parametrize(("text", "expected"), [
    ("as Doersch (2016) says", ["Doersch (2016)"]),
    ("(Kaufman 1949)", ["Kaufman 1949"]),
    ("Then (see Kaufman, 1949, for more)", ["Kaufman, 1949"]),
    ("Nobody, Kingma and Ba (2015)", ["Nobody, Kingma and Ba (2015)"]),
    ("Theis, van den Oord and Bethge (2016)", ["Theis, van den Oord and Bethge (2016)"]),
    ("by Loaiza-Ganem et al. 2019", ["Loaiza-Ganem et al. 2019"]),
    ("(the likelihood by Tipping and Bishop 1999)", ["Tipping and Bishop 1999"]),
    ("Kynkäänniemi et al.'s (2019) and Kaufman’s (1949)",
     ["Kynkäänniemi et al.'s (2019)", "Kaufman’s (1949)"]),
    ("Wolff (1989, 2004)", ["Wolff (1989", "2004)"]),
    ("(Onsager 1944; Yang 1952)", ["Onsager 1944", "Yang 1952"]),
    ("Bishop and Bishop (2024), chapter 16", ["Bishop and Bishop (2024)"]),
    ("(University of Oslo, April 2024), week of April 22-26, 2024, in May 2024", []),
    ("Python 2016, K (2016), Ising (1900–1998)", []),
])
def test_citations_are_found(text, expected):
    assert [shown for _, shown in cited_in(text)] == expected


def test_names_and_year_are_those_of_the_citation():
    (found,) = author_year.find("Theis, van den Oord and Bethge’s (2016)")
    assert found[:3] == (("Theis", "van den Oord", "Bethge"), False, "2016")


@pytest.mark.parametrize(("heading", "names", "key"), [
    ("Wang, J.-S. (1987).", ["Wang"], "wang-1987"),
    ("Kynkäänniemi, T. and van den Oord, A. (2019).", ["Kynkäänniemi", "van den Oord"],
     "kynkaanniemi-van-den-oord-2019"),
    ("Burda, Y., Grosse, R. B. and Hinton, G. (2016a).", ["Burda", "Grosse", "Hinton"],
     "burda-grosse-2016a"),
])
def test_an_entry_names_its_authors(heading, names, key):
    entry = author_year.parse(heading)
    assert entry.names == tuple(names) and entry.key == key


@pytest.mark.parametrize("heading", [
    "Kaufman (1949).", "Kaufman, B. (1949)", "Kaufman, Bruria (1949).", "Kaufman, B. and Y (1949).",
])
def test_an_entry_of_another_form_is_refused(heading):
    assert author_year.parse(heading) is None


# The bibliography of the book -------------------------------------------------------------------

@pytest.mark.parametrize("path", [*PAGES, *MODULES],
                         ids=lambda path: path.relative_to(notebooks.ROOT).as_posix())
def test_whatever_is_cited_has_one_entry_and_no_comma_before_the_year(path):
    cited = list(cited_in(written_in(path)))
    assert {shown: meant(citation) for citation, shown in cited if len(meant(citation)) != 1} == {}
    assert [shown for citation, shown in cited if citation.comma] == []


def test_each_entry_is_cited():
    cited = {key for path in [*PAGES, *MODULES] for citation, _ in cited_in(written_in(path))
             for key in meant(citation)}
    assert {entry.key for entry in ENTRIES} - cited == set()


def test_bibliography_is_alphabetical_and_each_item_an_entry():
    assert sorted(HEADINGS) == HEADINGS
    items = re.findall(r"^\* ", BIBLIOGRAPHY.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(ENTRIES) == len({entry.key for entry in ENTRIES}) == len(items)


def test_an_entry_has_no_formula():  # it would be TeX in the card
    assert "$" not in BIBLIOGRAPHY.read_text(encoding="utf-8")


@pytest.mark.parametrize("text", [
    "as Doersch (2017) says", "by Nobody (2016).", "Kingma and Nobody (2014)", "(Nobody 2016)",
    "Nobody et al. (2016)", "(Tipping and Bishop 1998: a theorem)", "Welling and Kingma (2014)",
    "Kingma and Welling et al. (2014)", "Kingma, Rezende and Mohamed (2014)", "(Kaufman 1950)",
    "Nobody, Kingma and\nBa (2015)",
])
def test_a_citation_without_an_entry_is_found(text):
    ((citation, _),) = cited_in(text)
    assert meant(citation) == []


def test_a_citation_of_two_entries_is_found():
    keys = {text: meant(next(author_year.find(text))) for text in
            ["Song et al. (2021)", "Song, Sohl-Dickstein et al. (2021)"]}
    assert list(keys.values()) == [["song-meng-2021", "song-sohl-dickstein-2021"],
                                   ["song-sohl-dickstein-2021"]]


# The pages --------------------------------------------------------------------------------------

MODULE = '''"""A sampler (Tierney 1994)."""'''
CHAPTER = """\
# Kaufman (1949)

By Kaufman (1949), *and Tierney\n(1994)*, again (Kaufman 1949); not `Kaufman (1949)`,
$Kaufman (1949)$, nor [Kaufman (1949)](https://localhost/).

```{eval-rst}
.. automodule:: cited_module
```
"""
LIST = """\
# Works

* **Kaufman, B. (1949).** Crystals & *spins*. [doi:1](https://localhost/). Of <P2>.

* **Tierney, L. (1994).** Chains.
"""


def built(folder: Path, chapter: str = CHAPTER, listed: str | None = LIST) -> SphinxTestApp:
    """Build two pages with the extension; the bibliography may be missing."""
    source = folder / "source"
    place = source / citations.BIBLIOGRAPHY
    place.parent.mkdir(parents=True, exist_ok=True)
    source.joinpath("cited_module.py").write_text(MODULE)
    source.joinpath("chapters", "one.md").write_text(chapter)
    if listed is not None:
        place.with_suffix(".md").write_text(listed)
    entries = "\n".join(f"   {name}" for name in ["chapters/one", citations.BIBLIOGRAPHY][
        : 1 + (listed is not None)])
    source.joinpath("index.rst").write_text(f"Book\n====\n\n.. toctree::\n\n{entries}\n")
    source.joinpath("conf.py").write_text(
        f"import sys\nsys.path.insert(0, {str(source)!r})\n"
        "extensions = ['myst_parser', 'sphinx.ext.autodoc', 'citations']\n"
        "myst_enable_extensions = ['dollarmath']\n")
    app = SphinxTestApp("html", srcdir=source, builddir=folder / "_build")
    app.build()
    app.cleanup()
    return app


def read_page(app: SphinxTestApp, name: str) -> BeautifulSoup:
    return BeautifulSoup((app.outdir / f"{name}.html").read_text(encoding="utf-8"), "html.parser")


def test_citations_become_links_and_entries_know_their_places(tmp_path):
    app = built(tmp_path)
    assert app.warning.getvalue() == ""
    chapter = read_page(app, "chapters/one")
    links = {(" ".join(a.text.split()), a["href"], a.get("id"))
             for a in chapter.find_all("a", class_="citation")}
    assert links == {
        ("Kaufman (1949)", "appendix/bibliography.html#kaufman-1949", "cites-kaufman-1949"),
        ("Kaufman 1949", "appendix/bibliography.html#kaufman-1949", None),
        ("Tierney (1994)", "appendix/bibliography.html#tierney-1994", "cites-tierney-1994"),
        ("Tierney 1994", "appendix/bibliography.html#tierney-1994", None)}
    cards = {card["id"]: card for card in chapter.find_all(class_="citation-card")}
    assert list(cards) == ["card-kaufman-1949", "card-tierney-1994"]
    assert all(card.has_attr("hidden") for card in cards.values())
    card = cards["card-kaufman-1949"]
    assert card.text.strip() == "Kaufman, B. (1949). Crystals & spins. doi:1. Of <P2>."
    assert card.em.text == "spins" and card.a is None
    entry = read_page(app, citations.BIBLIOGRAPHY).find(id="kaufman-1949")
    assert entry.name == "li" and entry.find(class_="cited-in").text == "Cited in Kaufman (1949)"
    assert entry.find(class_="cited-in").a["href"] == "../one.html#cites-kaufman-1949"


@pytest.mark.parametrize(("chapter", "listed", "expected"), [
    ("# A\n\nNobody (2016)", LIST, "got 'Nobody 2016': there is none"),
    ("# A\n\nKaufman et al. (1949)", LIST, "got 'Kaufman et al. 1949': there is none"),
    ("# A\n\nKing et al. (2014)", "* **King, A., Ba, B. and Li, C. (2014).**\n"
     "* **King, A., Li, C. and Ba, B. (2014).**", "king-ba-2014, king-li-2014"),
    ("# A\n\n*Kaufman* and Yang (1949)", LIST, "must be plain text, got 'Kaufman and Yang (1949)'"),
    ("# A", LIST + "\n* **Kaufman, C. (1949).**", "two entries are kaufman-1949"),
    ("# A", LIST + "\n* Kaufman, C. (1950).", "an entry must begin with"),
])
def test_what_has_not_one_entry_is_a_warning(tmp_path, chapter, listed, expected):
    assert expected in built(tmp_path, chapter, listed).warning.getvalue()


def test_a_book_without_bibliography_has_plain_text(tmp_path):
    app = built(tmp_path, listed=None)
    assert app.warning.getvalue() == ""
    page = read_page(app, "chapters/one")
    assert page.find(class_="citation") is None and "again (Kaufman 1949);" in page.text


def test_pages_follow_when_only_the_bibliography_or_a_chapter_changes(tmp_path):
    built(tmp_path)
    app = built(tmp_path, listed=LIST.replace("Chains", "Markov chains"))
    assert "Markov chains" in read_page(app, "chapters/one").find(id="card-tierney-1994").text
    app = built(tmp_path, CHAPTER.replace("(Kaufman 1949)", "(Yang 1952)"),
                LIST.replace("Chains", "Markov chains"))
    assert "got 'Yang 1952'" in app.warning.getvalue()
    app = built(tmp_path, "# A\n\nText.", LIST.replace("Chains", "Markov chains"))
    assert read_page(app, citations.BIBLIOGRAPHY).find(class_="cited-in") is None
