"""What can be found: sections, equations, terms and the API, each with an anchor and in words."""

import json

import pytest
import search
from sphinx.testing.util import SphinxTestApp

PAGE = """\
# A title with $\\sigma^2$

The first paragraph, on $\\log p(\\mathbf x)$.

## Müller’s bound

The **posterior collapse** is **bold**. An image: ![not this](x.png)

$$
\\mathbb E[x] \\ge 1
$$ (B2)

### Below

Deeper.

```{py:function} package.answer(x)

What it returns.
```
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """What the script of a small book holds: pages with their places, by kind and title."""
    folder = tmp_path_factory.mktemp("search")
    source = folder / "source"
    terms = source / "chapters" / "appendix" / "terms.md"
    terms.parent.mkdir(parents=True)
    terms.write_text("# Terms\n\n* posterior collapse\n")
    (source / "x.png").write_bytes(b"")
    (source / "a.md").write_text(PAGE, encoding="utf-8")
    (source / "index.rst").write_text(
        "Book\n====\n\n.. toctree::\n   :numbered:\n\n   a\n   chapters/appendix/terms\n")
    (source / "conf.py").write_text(
        "extensions = ['myst_parser', 'equation_ids', 'terms', 'search',"
        "              'lighter_pages', 'sphinx_design']\n"
        "myst_enable_extensions = ['dollarmath', 'amsmath']\n"
        "html_theme = 'sphinx_book_theme'\n")
    app = SphinxTestApp("html", srcdir=source, builddir=folder / "_build")
    app.build()
    app.cleanup()
    return app.outdir


@pytest.fixture(scope="module")
def pages(built):
    script = (built / search.SCRIPT).read_text(encoding="utf-8")
    assert script.startswith("const bookTexts = ") and script.endswith(";\n")
    return {address: (title, [search.Place(*each) for each in places]) for address, title, places
            in json.loads(script.removeprefix("const bookTexts = ").removesuffix(";\n"))}


def test_pages_have_their_number_and_formulas_in_words(pages):
    assert pages["a.html"][0] == "1. A title with σ²"


def test_sections_have_their_own_text_alone(pages):
    first, second, third = (each for each in pages["a.html"][1] if each.kind == "section")
    assert (first.anchor, first.text) == ("", "The first paragraph, on log p(x).")
    assert second.title == "Müller’s bound" and second.anchor == "mullers-bound"
    assert second.text == "The posterior collapse is bold. An image: E[x] ≥ 1 (B2)"
    assert third.text == "Deeper."


def test_equations_terms_and_functions_are_places(pages, built):
    found = {each.title: each for each in pages["a.html"][1] if each.kind != "section"}
    assert {title: each.kind for title, each in found.items()} == {
        "Equation (B2)": "equation", "posterior collapse": "term", "package.answer": "api"}
    assert found["package.answer"].text == "What it returns."
    html = (built / "a.html").read_text(encoding="utf-8")
    assert [each.anchor for each in pages["a.html"][1]
            if each.anchor and f'id="{each.anchor}"' not in html] == []


def test_pages_load_what_they_use_alone(built):
    assert 'src="search_texts.js' in (built / "search.html").read_text(encoding="utf-8")
    assert "search_texts" not in (built / "a.html").read_text(encoding="utf-8")
    assert not (built / "searchindex.js").exists()
    assert "sphinx-design" not in (built / "a.html").read_text(encoding="utf-8")
    assert "searchtools" not in (built / "a.html").read_text(encoding="utf-8")
