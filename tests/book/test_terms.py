"""Each term of the index is in bold where a chapter defines it, and leads there."""

import re

import terms
from bs4 import BeautifulSoup
from sphinx.testing.util import SphinxTestApp

import notebooks

INDEX = notebooks.ROOT / f"{terms.TERMS}.md"


def test_each_term_is_in_bold_in_a_chapter():
    bold = {terms.normal(text) for chapter in notebooks.in_order()
            for text in re.findall(r"\*\*([^*]+)\*\*", notebooks.text_of(chapter))}
    listed = re.findall(r"^\* (.+)$", INDEX.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(listed) > 100
    assert [term for term in listed if terms.normal(term) not in bold] == []
    assert listed == sorted(listed, key=lambda term: term.lower().replace("–", "-"))
    assert len({terms.normal(term) for term in listed}) == len(listed)


def test_a_term_leads_to_its_definitions(tmp_path):
    source = tmp_path / "source"
    place = source / f"{terms.TERMS}.md"
    place.parent.mkdir(parents=True)
    place.write_text("# Terms\n\n* Heun's method\n* nowhere\n")
    for name in ("b", "a"):
        (source / f"{name}.md").write_text(
            f"# Chapter {name}\n\n**Heun’s\nMethod** is, **Heun's method**.")
    (source / "index.rst").write_text(
        f"Book\n====\n\n.. toctree::\n\n   b\n   a\n   {terms.TERMS}\n")
    (source / "conf.py").write_text("extensions = ['myst_parser', 'terms']")
    app = SphinxTestApp("html", srcdir=source, builddir=tmp_path / "_build")
    app.build()
    app.cleanup()
    assert app.warning.getvalue().count("WARNING") == 1
    assert "where a chapter defines it, got 'nowhere'" in app.warning.getvalue()
    page = BeautifulSoup((app.outdir / f"{terms.TERMS}.html").read_text("utf-8"), "html.parser")
    item = page.select_one("section li")
    assert item.text.strip() == "Heun’s method: Chapter b, Chapter a"
    links = [a["href"] for a in item.find_all("a")]
    assert links == ["../../b.html#term-heun-s-method", "../../a.html#term-heun-s-method"]
    chapter = BeautifulSoup((app.outdir / "a.html").read_text("utf-8"), "html.parser")
    assert len(chapter.select("strong#term-heun-s-method")) == 1
