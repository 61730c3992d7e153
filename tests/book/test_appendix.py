"""The pages of the appendix agree with the chapters and with the code."""

import re
from pathlib import Path

import docstrings
import pytest

import api
import identities
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


# Bibliography -----------------------------------------------------------------------------------

NAME = r"[A-ZÀ-Þ][\w’'-]+"
CITATION = re.compile(  # Doersch (2016); Burda et al. (2016); (Tipping and Bishop, 1999: …)
    rf"({NAME}(?:(?:, and |, | and | & ){NAME})*)(?: et al\.)?(?: \(|, )((?:18|19|20)\d\d)[):,; ]")


def entries() -> list[tuple[str, str]]:
    """Return (authors, year) of each entry."""
    text = (APPENDIX / "bibliography.md").read_text(encoding="utf-8")
    return re.findall(r"^\* \*\*(.+) \((\d{4})\)\.\*\* ", text, flags=re.MULTILINE)


def missing_citations(text: str) -> list[str]:
    """Return the citations in `text` without an entry that has all their names and their year."""
    missing = []
    for match in CITATION.finditer(" ".join(text.split()) + " "):
        names, year = re.findall(NAME, match[1]), match[2]
        if not any(year == y and all(name in who for name in names) for who, y in entries()):
            missing.append(match[0])
    return missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(CHAPTERS).as_posix())
def test_everything_that_a_page_cites_is_in_the_bibliography(page):
    if page.name != "bibliography.md":
        assert missing_citations(text_of(page)) == []


@pytest.mark.parametrize("text", [
    "as Doersch (2017) says", "by Nobody (2016).", "Kingma and Nobody (2014)", "(Nobody, 2016)",
    "Nobody et al. (2016)", "(Tipping and Bishop, 1998: a theorem)",
    "Nobody, Kingma and\nBa (2015)",
])
def test_citation_without_an_entry_is_found(text):
    assert len(missing_citations(text)) == 1


def test_chapters_cite():  # or the check above would see nothing
    cited = sum(len(CITATION.findall(text_of(page))) for page in PAGES if page.suffix == ".ipynb")
    assert cited >= 10


def test_bibliography_is_alphabetical_and_complete():
    listed = entries()
    assert listed == sorted(listed)
    text = (APPENDIX / "bibliography.md").read_text(encoding="utf-8")
    assert len(listed) == len(re.findall(r"^\* ", text, flags=re.MULTILINE))


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


# Identities -------------------------------------------------------------------------------------

EQUATION = "$$\na = b.\n$$ (Z1)\n\n"


@pytest.mark.parametrize("source", [
    EQUATION + "**Conditions (Z1).** Two lines\nof text.\n\nNot this.",
    "No equation here.\n\n**Conditions (Z1).** Two lines\nof text.",
    EQUATION + "**Conditions.** Two lines\nof text.",
    EQUATION + "Conditions: Two lines\nof text.\n \nNot this.",
])
def test_conditions_of_an_identity_are_found(source):
    assert identities.conditions_in(source) == [("Z1", "Two lines\nof text.")]


def test_conditions_of_two_identities_and_of_none():
    two = "**Conditions (Z1, Z2).** Text."
    assert identities.conditions_in(two) == [("Z1", "Text."), ("Z2", "Text.")]
    for source in (EQUATION, EQUATION + "Three conditions are enough: one.",
                   EQUATION + "The text. Conditions: in the middle."):
        assert identities.conditions_in(source) == []


@pytest.mark.parametrize("source", ["No equation.\n\n", EQUATION + EQUATION.replace("Z1", "Z2")])
def test_conditions_must_name_their_identity_where_it_is_not_the_only_one(source):
    with pytest.raises(ValueError, match="must name their identity"):
        identities.conditions_in(source + "**Conditions.** Text.")


def test_identities_page_shows_the_conditions_below_their_equation():
    chapter = CHAPTERS / "diffusion" / "samplers.ipynb"
    equation = identities.Equation("a = b.", chapter)
    register = identities.Register({"Z1": [equation]}, {}, {}, {"Z1": ["Text."], "Z2": ["Other."]})
    shown = identities.entry("Z1", register)
    assert "$$\na = b.\n$$\n\n**Conditions.** Text.\n\n* Derived in" in shown
    assert "Other" not in shown


def test_every_identity_states_its_conditions_once():
    register = identities.read_register()
    assert register.equations.keys() == set(identities.REQUIRED)
    stated = {label: len(register.conditions.get(label, [])) for label in register.equations}
    assert stated == dict.fromkeys(register.equations, 1)


def test_conditions_belong_to_an_identity_that_exists():
    register = identities.read_register()
    assert register.conditions.keys() - register.equations.keys() == set()


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
