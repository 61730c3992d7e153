"""Write the book as one PDF: the built pages, printed by Chromium and joined.

    python book/pdf.py                       _build/book.pdf, with the solutions at its end
    python book/pdf.py --solutions no        _build/book_without_solutions.pdf
    python book/pdf.py elbo kl_divergence    these pages alone

IDs are those of one page, so each gets the name of its page before it, and so do the links to it.
How a page looks on paper is said in `static/print.css`, what the book has beside its pages (the
title, the contents, the heads and numbers of pages) in `pdf.css`. One page of the book is printed
at a time, numbered from where the last one ended: all in one document are more than Chromium
prints. The contents are printed last, when it is known where each heading stands; a first print
tells how many pages they take. Links from one page to another are made when all are joined.
"""

import argparse
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urldefrag, urljoin

import yaml
from bs4 import BeautifulSoup, SoupStrainer, Tag
from playwright.sync_api import Error, sync_playwright
from pypdf import PdfReader, PdfWriter
from pypdf.generic import ArrayObject, Fit, NameObject, NullObject, NumberObject

import notebooks

__all__ = ["Document", "Heading", "Part", "assemble", "chromium", "main", "name_of", "parts",
           "write"]

STYLE = Path(__file__).with_name("pdf.css")
HOME = "About this course"  # the heading of the home page is the title of the book
NO_CHROMIUM = ("`make pdf` prints with Chromium, which was not found: install it (on Debian and "
               "Ubuntu `apt install chromium`), or name it: CHROMIUM=/path/to/chromium make pdf")
REFERRING = ["for", "aria-labelledby", "aria-describedby", "headers"]  # attributes that hold IDs
NUMBER = "000"  # as wide as a number of a page, before it is known
ELSEWHERE = "http://book.invalid/#"  # an ID in another document, until they are joined


@dataclass
class Heading:
    """A line of the outline: its depth from 0, its text, and the ID of what it leads to."""

    level: int
    title: str
    target: str


@dataclass
class Part:
    """A part of the book: its title ("" for the home page), and the names of its pages."""

    title: str
    pages: list[str] = field(default_factory=list)


@dataclass
class Sheet:
    """A page of the book in the document: its article, its headings, and its solutions."""

    name: str
    article: Tag
    headings: list[Heading]
    solutions: list[tuple[Heading, list[Tag]]]

    @property
    def title(self) -> str:
        return self.headings[0].title


@dataclass
class Document:
    """What is printed at once: its title ("" for the contents), and its HTML."""

    title: str
    body: str


class Place(NamedTuple):
    """A page, from 0, and a place on it."""

    page: int
    left: NumberObject
    top: NumberObject


def settings() -> dict[str, Any]:
    """Return what `_config.yml` says."""
    return yaml.safe_load((notebooks.ROOT / "_config.yml").read_text(encoding="utf-8"))


def chromium() -> str | None:
    """Return the path of Chromium or Chrome, or None: CHROMIUM names it, or it is on the path."""
    named = os.environ.get("CHROMIUM")
    return named or next(filter(None, map(shutil.which, ["chromium", "google-chrome"])), None)


def parts() -> list[Part]:
    """Return the parts of the book in order, the home page first."""
    toc = yaml.safe_load((notebooks.ROOT / "_toc.yml").read_text(encoding="utf-8"))
    return [Part("", [toc["root"]])] + [
        Part(part["caption"], [chapter["file"] for chapter in part["chapters"]])
        for part in toc["parts"]]


# One document of many pages ---------------------------------------------------------------------


def name_of(page: str) -> str:
    """Return the name of a page, which stands before its IDs."""
    return page.rsplit("/", 1)[-1]


def refer(article: Tag, page: str, html: Path, included: Iterable[str]) -> None:
    """Let IDs, links and pictures of a page mean in one document what they mean in the page.

    A link to a page that is not in the document, or to a file beside the pages, becomes text.

    Args:
        article: what the page shows.
        page: the page, as `_toc.yml` names it.
        html: the folder of the pages.
        included: the pages in the document.
    """
    name, base = name_of(page), (html / f"{page}.html").as_uri()
    targets = {(html / f"{each}.html").as_uri(): name_of(each) for each in included}
    for tag in article.find_all(True):
        for key, value in list(tag.attrs.items()):
            if key == "id":
                tag[key] = f"{name}--{value}"
            elif key in REFERRING:
                ids = value if isinstance(value, list) else value.split()
                tag[key] = " ".join(f"{name}--{each}" for each in ids)
            elif key in {"src", "data", "poster"}:
                tag[key] = urljoin(base, value)
            elif key in {"href", "xlink:href"}:
                address, anchor = urldefrag(urljoin(base, value))
                if address in targets:
                    tag[key] = f"#{targets[address]}" + (f"--{anchor}" if anchor else "")
                elif tag.name == "a" and address.startswith("file:"):
                    del tag[key]
                elif tag.name != "a":
                    tag[key] = urljoin(base, value)
            elif isinstance(value, str) and "url(#" in value:
                tag[key] = value.replace("url(#", f"url(#{name}--")


def headings_of(article: Tag) -> list[Heading]:
    """Return the headings of a page, three levels of them, and give each the ID of its section.

    A link to a section then leads to the heading itself, wherever the section's box begins.
    """
    found = []
    for tag in article.find_all(["h1", "h2", "h3"]):
        for link in tag.find_all(class_="headerlink"):
            link.decompose()
        if "id" not in tag.attrs:
            tag["id"] = tag.find_parent(id=True).attrs.pop("id")
        found.append(Heading(int(tag.name[1]), " ".join(tag.get_text().split()), tag["id"]))
    return found


def take_solutions(article: Tag, keep: bool) -> list[tuple[Heading, list[Tag]]]:
    """Take the solutions out of a page and return them, each with the heading of its exercise.

    Args:
        article: what the page shows.
        keep: whether they are printed elsewhere, and the exercise says where.
    """
    found: dict[str, tuple[Heading, list[Tag]]] = {}
    for tag in article.select("details.solution, .cell.tag_solution"):
        exercise = tag.find_parent("section").find(["h2", "h3"])
        title = " ".join(exercise.get_text().split())
        heading = Heading(3, title, f"solution--{exercise['id']}")
        if keep and exercise["id"] not in found:
            place = BeautifulSoup(
                f'<p class="solution-at"><a href="#{heading.target}">The solution is at the end of '
                "the book.</a></p>", "html.parser")
            tag.insert_before(place.p)
        found.setdefault(exercise["id"], (heading, []))[1].append(tag.extract())
    return list(found.values())


def sheet(html: Path, page: str, included: Iterable[str], solutions: bool) -> Sheet:
    """Return a built page as it stands in the document.

    Raises:
        ValueError: the page holds no article.
    """
    text = (html / f"{page}.html").read_text(encoding="utf-8")
    only = SoupStrainer("article", class_="bd-article")
    article = BeautifulSoup(text, "html.parser", parse_only=only).find("article")
    if article is None:
        raise ValueError(f"{page}.html must hold <article class=\"bd-article\">, got none")
    refer(article, page, html, included)
    headings = headings_of(article)
    article["id"] = headings[0].target = name_of(page)  # its heading is where it begins
    taken = take_solutions(article, solutions)
    if page == parts()[0].pages[0]:
        headings[0].title = HOME
        article.h1.string = HOME
    return Sheet(name_of(page), article, headings, taken)


def loaded_by(html: Path, pages: Iterable[str]) -> str:
    """Return what the document loads: the styles of its pages, and the script of formulas."""
    kept = {}
    for page in pages:
        text = (html / f"{page}.html").read_text(encoding="utf-8").partition("</head>")[0]
        tags = BeautifulSoup(text, "html.parser", parse_only=SoupStrainer(["link", "script"]))
        for tag in tags.find_all(["link", "script"]):
            style = "stylesheet" in tag.get("rel", [])
            if style or re.search(r"window\.MathJax|tex-svg", str(tag)):
                for key in {"href", "src"} & set(tag.attrs):
                    tag[key] = urljoin((html / f"{page}.html").as_uri(), tag[key])
                kept[str(tag)] = None
    return "\n".join(kept)


def contents(headings: Iterable[Heading]) -> str:
    """Return the table of contents: parts, chapters and their sections."""
    lines = [f'<li class="level-{each.level}"><a href="#{each.target}"><span>{escape(each.title)}'
             f'</span> <span data-page-of="{each.target}">{NUMBER}</span></a></li>'
             for each in headings if each.level <= 2]
    return (f'<nav class="book-contents" id="contents"><h1>Contents</h1><ul>{"".join(lines)}</ul>'
            f"</nav>")


def title_page() -> str:
    """Return the first page: the title, who wrote the book, its version and its licence."""
    cited = yaml.safe_load((notebooks.ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    day = cited["date-released"]
    return (f'<header class="book-title"><p class="title">{escape(settings()["title"])}</p>'
            f'<p>By {escape(settings()["author"])}</p>'
            f'<p>Version {escape(cited["version"])}, {day.day} {day:%B %Y}</p>'
            f"<p>Text and figures: CC BY 4.0. Code: MIT.</p></header>")


def assemble(html: Path, only: Sequence[str] = (), solutions: bool = True
             ) -> tuple[list[Document], list[Heading]]:
    """Return the documents that are printed, the contents first, and the outline of the book.

    Args:
        html: the folder of the built pages.
        only: names of pages; none for all.
        solutions: whether the solutions stand at the end.

    Raises:
        ValueError: a name is not that of a page.
    """
    book = parts()
    names = [name_of(page) for part in book for page in part.pages]
    if wrong := [name for name in only if name not in names]:
        raise ValueError(f"pages must be of {', '.join(names)}, got {', '.join(wrong)}")
    chosen = [Part(part.title, [page for page in part.pages
                                if not only or name_of(page) in only]) for part in book]
    included = [page for part in chosen for page in part.pages]
    outline, documents, answers = [], [], []
    for part in chosen:
        for number, page in enumerate(part.pages):
            one = sheet(html, page, included, solutions)
            if part.title and number == 0:
                outline.append(Heading(0, part.title, one.name))
            outline += one.headings
            documents.append(Document(one.title, str(one.article)))
            if solutions and one.solutions:
                answers.append(one)
    if answers:
        outline.append(Heading(0, "Solutions", "solutions"))
        texts = []
        for one in answers:
            target = f"solutions-of--{one.name}"
            outline.append(Heading(1, one.title, target))
            outline += [Heading(2, each.title, each.target) for each, _ in one.solutions]
            solved = "".join(
                f'<section><h3 id="{each.target}">{escape(each.title)}</h3>'
                f'{"".join(map(str, tags))}</section>' for each, tags in one.solutions)
            texts.append(f'<section><h2 id="{target}">{escape(one.title)}</h2>{solved}</section>')
        documents.append(Document("Solutions", '<article class="bd-article" id="solutions">'
                                               f'<h1>Solutions</h1>{"".join(texts)}</article>'))
    # The exercises stand in the contents once, with their chapter.
    listed = [each for each in outline if not each.target.startswith("solution--")]
    documents.insert(0, Document("", title_page() + contents(listed)))
    return documents, outline


def source(document: Document, wanted: set[str], loaded: str, first: int) -> str:
    """Return a document as HTML.

    Args:
        document: what it shows.
        wanted: the IDs that something in the book leads to.
        loaded: the styles and scripts.
        first: the number of its first page.
    """
    own = set(re.findall(r' id="([^"]+)"', document.body))
    body = re.sub(r' href="#([^"]+)"',
                  lambda link: link[0] if link[1] in own else f' href="{ELSEWHERE}{link[1]}"',
                  document.body)
    # Chromium records where an ID is only if a link leads to it, though nobody sees the link.
    places = "".join(f'<a href="#{each}"></a>' for each in sorted(own & wanted))
    head = document.title.replace("\\", "\\\\").replace('"', '\\"')
    return f"""<!DOCTYPE html>
<html lang="en" data-theme="light" data-mode="light"><head><meta charset="utf-8">
<title>{escape(document.title)}</title>
{loaded}
<style>{STYLE.read_text(encoding="utf-8")}
@page {{ @top-left {{ content: "{head}"; }} }}
html {{ counter-reset: page {first - 1}; }}</style></head>
<body><div hidden>{places}</div>
<main class="bd-main"><div class="bd-content"><div class="bd-article-container">
{body}
</div></div></main></body></html>"""


# The PDF ----------------------------------------------------------------------------------------


def places_in(reader: PdfReader) -> dict[str, Place]:
    """Return where in a PDF each ID is that something leads to."""
    number = {page.indirect_reference.idnum: i for i, page in enumerate(reader.pages)}
    return {name.lstrip("/"): Place(number[each.page.idnum], each.left, each.top)
            for name, each in reader.named_destinations.items()}


def lead(writer: PdfWriter, places: Mapping[str, Place]) -> None:
    """Let each link inside the book lead to its place in the PDF."""
    for page in writer.pages:
        for reference in page.get("/Annots", []):
            link = reference.get_object()
            address = str(link.get("/A", {}).get("/URI", ""))
            if address.startswith(ELSEWHERE):
                name = address.removeprefix(ELSEWHERE)
                del link[NameObject("/A")]
            elif "/Dest" in link:
                name = str(link["/Dest"]).lstrip("/")
            else:
                continue
            if name in places:
                at = places[name]
                link[NameObject("/Dest")] = ArrayObject(
                    [writer.pages[at.page].indirect_reference, NameObject("/XYZ"), at.left, at.top,
                     NullObject()])


def outlined(writer: PdfWriter, outline: Iterable[Heading], places: Mapping[str, Place]) -> None:
    """Give the PDF its outline.

    Raises:
        RuntimeError: a heading has no place in the PDF.
    """
    above: list = []  # the last line of the outline at each level
    for each in outline:
        if each.target not in places:
            raise RuntimeError(f"a heading must have a place in the PDF, {each.title!r} has none")
        at = places[each.target]
        del above[each.level:]
        above += [above[-1] if above else None] * (each.level - len(above))
        above.append(writer.add_outline_item(
            title=each.title, page_number=at.page, parent=above[-1] if above else None,
            fit=Fit.xyz(at.left, at.top)))


def write(html: Path, place: Path, only: Sequence[str] = (), solutions: bool = True) -> int:
    """Write the book as a PDF and return the number of its pages.

    Args:
        html: the folder of the built pages.
        place: the file that is written.
        only: names of pages; none for all.
        solutions: whether the solutions stand at the end.
    """
    documents, outline = assemble(html, only, solutions)
    wanted = {each.target for each in outline}.union(
        *(re.findall(r' href="#([^"]+)"', each.body) for each in documents))
    loaded = loaded_by(html, (page for part in parts() for page in part.pages
                              if not only or name_of(page) in only))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        tab = browser.new_page()
        tab.set_default_timeout(300_000)
        tab.emulate_media(media="print", color_scheme="light")

        def printed(document: Document, first: int) -> PdfReader:
            page = Path(folder, "page.html")
            page.write_text(source(document, wanted, loaded, first), encoding="utf-8")
            tab.goto(page.as_uri())
            tab.evaluate("window.MathJax?.startup.promise")  # not where no formula is
            return PdfReader(BytesIO(tab.pdf(prefer_css_page_size=True, print_background=True)))

        readers, places = [printed(documents[0], 1)], {}
        count = len(readers[0].pages)
        for document in documents[1:]:
            readers.append(printed(document, count + 1))
            places |= {name: Place(count + at.page, at.left, at.top)
                       for name, at in places_in(readers[-1]).items()}
            count += len(readers[-1].pages)
        numbers = {name: str(at.page + 1) for name, at in places.items()}
        body = re.sub(f'data-page-of="([^"]+)">{NUMBER}',
                      lambda found: found[0].removesuffix(NUMBER) + numbers[found[1]],
                      documents[0].body)
        readers[0] = printed(Document("", body), 1)
        browser.close()
    writer = PdfWriter()
    for reader in readers:
        for page in reader.pages:
            writer.add_page(page)
    lead(writer, places)
    outlined(writer, outline, places)
    writer.add_metadata({"/Title": settings()["title"], "/Author": settings()["author"]})
    writer.page_mode = "/UseOutlines"
    place.parent.mkdir(parents=True, exist_ok=True)
    writer.write(place)
    return len(writer.pages)


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the built pages as one PDF.")
    parser.add_argument("only", nargs="*", help="names of pages, as elbo (default: all)")
    parser.add_argument("--solutions", choices=["yes", "no"], default="yes")
    parser.add_argument("--html", type=Path, default=notebooks.ROOT / "_build" / "html",
                        help="the folder of the pages (default: _build/html)")
    parser.add_argument("--output", type=Path, help="default: _build/book.pdf")
    given = parser.parse_args()
    if not (given.html / "index.html").is_file():
        print(f"There are no pages in {given.html}: run `make book` first.", file=sys.stderr)
        return 1
    if chromium() is None:
        print(NO_CHROMIUM, file=sys.stderr)
        return 1
    solutions = given.solutions == "yes"
    name = "book.pdf" if solutions else "book_without_solutions.pdf"
    place = given.output or notebooks.ROOT / "_build" / name
    start = time.monotonic()
    try:
        count = write(given.html.resolve(), place.resolve(), given.only, solutions)
    except (Error, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{place}: {count} pages, {place.stat().st_size / 1e6:.1f} MB, "
          f"{time.monotonic() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
