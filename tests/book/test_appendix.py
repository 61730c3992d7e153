"""The pages of the appendix agree with the chapters and with the code."""

import re
from pathlib import Path

import docstrings
import pytest

import api
import notebooks
import pages
from genmodels import datasets
from notebooks import CHAPTERS, text_of

APPENDIX = CHAPTERS / "appendix"
PACKAGE = notebooks.ROOT / "code" / "genmodels"
PAGES = [page for page in [*notebooks.notebooks(), *notebooks.plain_pages()]
         if page not in pages.GENERATED]


def headings(path: Path) -> list[str]:
    return re.findall(r"^#+ (.+?) *$", text_of(path), flags=re.MULTILINE)


def table_rows(page: str, first_column: str) -> list[list[str]]:
    """Return the cells of the table whose first column has this title."""
    lines = iter((APPENDIX / page).read_text(encoding="utf-8").splitlines())
    for line in lines:
        if line.startswith(f"| {first_column} |"):
            next(lines)  # the line of dashes
            break
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return rows


# The lecture, slide by slide --------------------------------------------------------------------

SLIDES = table_rows("lecture.md", "slide")
LINK = r"\[([^\]]+)\]\(([^)]+)\)"


def test_table_has_every_slide_and_names_none_twice():
    slides = [slide for slide, _ in SLIDES]
    assert len(slides) == 25  # headings of level 2 and 3 in the notes, and in the Keras program
    assert len(set(slides)) == len(slides)


@pytest.mark.parametrize(("slide", "where"), SLIDES, ids=[slide for slide, _ in SLIDES])
def test_slide_leads_to_a_section_that_exists(slide, where):
    title, target = re.match(LINK, where).groups()  # the row starts with a link
    chapter = APPENDIX / target
    assert chapter.is_file(), f"{target} does not exist"
    found = headings(chapter)
    assert title == found[0]
    sections = re.findall(r"\*([^*]+)\*", where)
    assert set(sections) <= set(found), f"{chapter.name} has the sections {found}"
    assert sections or chapter.suffix == ".md"
    source = chapter.read_text(encoding="utf-8")
    for identity in re.findall(r"\(([A-Z]\d)\)", where):
        assert f"identity-{identity}" in source, f"no cell of {chapter.name} checks {identity}"


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent == APPENDIX],
                         ids=lambda page: page.name)
def test_appendix_links_lead_to_files_that_exist(page):
    for _, target in re.findall(LINK, text_of(page)):
        file = APPENDIX / target.partition("#")[0]
        assert "://" in target or file in pages.GENERATED or file.is_file(), target


# Notation ---------------------------------------------------------------------------------------

def test_python_names_of_the_notation_occur_in_the_code():
    source = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    for chapter in notebooks.notebooks():
        source += "\n".join(cell.source for cell in notebooks.code_cells(chapter))
    rows = table_rows("notation.md", "symbol")
    names = {name for row in rows for name in re.findall(r"`(\w+)`", row[2])}
    names |= {name for row in table_rows("notation.md", "Python")
              for name in re.findall(r"`(\w+)`", row[0])}
    assert len(rows) > 20 and all(len(row) == 4 for row in rows)
    assert [name for name in sorted(names) if not re.search(rf"\b{name}\b", source)] == []


# API --------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("docstring", "expected"), [
    ("a*b, `a*b`, |x|, x_i and x_", r"a\*b, `a*b`, \|x\|, x_i and x\_"),
    ("Text.\n\n    y = a*x\n    z", ".. code-block:: text\n\n    y = a*x\n    z"),
    ("n, m: numbers\n    of two.\nk: one.", "* n, m: numbers\n  of two.\n\n* k: one."),
    ("1. One\n   is it.\n2. Two.", "1. One\n   is it.\n2. Two."),
    ("Args:\n    x: one\n\n    more.\n\nText.", "Args:\n    x: one\n\n    more.\n\nText."),
])
def test_docstrings_become_what_napoleon_reads(docstring, expected):
    assert expected in docstrings.rst(docstring)


def test_a_field_is_described_by_its_comment():
    mnist = f"{datasets.__name__}.Mnist"
    assert docstrings.comment_on(f"{mnist}.name") == "what was loaded, for captions"
    assert docstrings.comment_on(f"{mnist}.no_field") == ""


def test_api_page_has_every_module_but_the_answers():
    assert {"genmodels.budget", "genmodels.exact.gaussian"} < set(api.modules())
    assert not any(name.startswith("genmodels.exercises.chapters") for name in api.modules())
    assert all(f".. automodule:: {name}\n" in api.page() for name in api.modules())
