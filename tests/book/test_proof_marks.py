"""An identity that this build has checked gets a mark and a card; any other gets none."""

import ast
import json
from datetime import datetime
from types import SimpleNamespace

import nbformat
import proof_marks
import pytest
from bs4 import BeautifulSoup
from docutils import nodes
from docutils.utils import new_document
from nbclient.exceptions import CellExecutionError

import build
import checks
import identities
import notebooks

LABEL = "B2"
CHAPTER = notebooks.CHAPTERS / "foundations" / "elbo.ipynb"
DOCNAME = "chapters/foundations/elbo"
DAY = "2026-11-29T21:00:00"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Records of every cell that asserts an identity, as a build writes them."""
    monkeypatch.setenv(checks.FOLDER, str(tmp_path))
    for chapter in notebooks.in_order():
        for _, tags, source, _, key in proof_marks.cells_of(chapter):
            if any(map(identities.TAG.fullmatch, tags)):
                found = [{"times": 2, "largest": [[1e-12, 1e-10]] * len(statement.comparisons)}
                         for statement in checks.find(ast.parse(source))]
                text = json.dumps({"executed": DAY, "checks": found})
                (tmp_path / f"{key}.json").write_text(text, encoding="utf-8")
    return tmp_path


def app(succeeded: bool | None = True):
    data = {} if succeeded is None else {DOCNAME: {"exec_data": {"succeeded": succeeded}}}
    builder = SimpleNamespace(format="html",
                              get_relative_uri=lambda source, target: f"../{target}.html")
    return SimpleNamespace(env=SimpleNamespace(nb_metadata=data), builder=builder)


def page(label: str = LABEL) -> nodes.document:
    document = new_document("page")
    document += nodes.math_block("", "a = b", label=label, number=label)
    return document


def marks(app, document=None) -> list[str]:
    document = document or page()
    proof_marks.mark(app, document, DOCNAME)
    return [node["label"] for node in document.findall(proof_marks.ProofMark)]


# Where a mark is --------------------------------------------------------------------------------


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("label", identities.REQUIRED)
def test_what_was_checked_has_a_mark_below_its_equation(label):
    document = page(label)
    assert marks(app(), document) == [label]
    assert isinstance(document[1], proof_marks.ProofMark)


@pytest.mark.usefixtures("folder")
def test_an_equation_that_is_no_identity_has_none():
    assert marks(app(), page("loss")) == [] and marks(app(), page("Z9")) == []


@pytest.mark.usefixtures("folder")
def test_a_failed_chapter_has_none():
    assert marks(app(succeeded=False)) == []


def test_without_records_there_is_none(monkeypatch, tmp_path):
    monkeypatch.setenv(checks.FOLDER, str(tmp_path))
    assert marks(app()) == []
    monkeypatch.delenv(checks.FOLDER)
    assert marks(app()) == []


def test_one_cell_without_record_is_enough_for_none(folder):
    keys = [key for _, tags, _, _, key in proof_marks.cells_of(CHAPTER) if "identity-B3" in tags]
    assert len(keys) > 1 and marks(app(), page("B3"))
    (folder / f"{keys[-1]}.json").unlink()
    assert marks(app(), page("B3")) == []


def test_a_record_of_another_code_is_none(folder):
    (key,) = (key for _, tags, _, _, key in proof_marks.cells_of(CHAPTER)
              if "identity-B2" in tags)
    (folder / f"{key}.json").write_text(json.dumps({"executed": DAY, "checks": []}))
    assert marks(app()) == []


def test_a_notebook_that_fails_has_no_mark_and_one_that_does_not_has(tmp_path, monkeypatch):
    """From the execution to the mark: the cell of the identity fails, then it does not."""
    def chapter(assertion):
        cells = [nbformat.v4.new_markdown_cell("# Title\n\n$$\na = b\n$$ (Z1)"),
                 nbformat.v4.new_code_cell(assertion, metadata={"tags": ["identity-Z1"]})]
        path = tmp_path / "chapter.ipynb"
        nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
        register = identities.Register({}, {"Z1": [identities.Cell(assertion, path)]}, {}, {})
        monkeypatch.setattr(proof_marks, "register", lambda: register)
        proof_marks.cells_of.cache_clear()
        checks.write_startup(tmp_path / ".ipython")
        notebooks.execute(notebooks.read(path), tmp_path, build.environment(tmp_path))

    monkeypatch.setattr(notebooks, "ROOT", tmp_path)
    monkeypatch.setenv(checks.FOLDER, str(tmp_path / "checks"))
    with pytest.raises(CellExecutionError):
        chapter("assert abs(3) < 2")
    assert marks(app(None), page("Z1")) == []
    chapter("assert abs(1) < 2")
    assert marks(app(None), page("Z1")) == ["Z1"]
    proof_marks.cells_of.cache_clear()


# What its card says -----------------------------------------------------------------------------


@pytest.mark.usefixtures("folder")
def test_the_card_names_cells_tests_tolerances_and_the_day():
    context = {"body": ""}
    document = page()
    marks(app(), document)
    proof_marks.add_cards(app(), DOCNAME, "page.html", context, document)
    card = BeautifulSoup(context["body"], "html.parser").find(id="checks-B2")
    assert card.has_attr("hidden")
    first = card.find(id="checks-B2-summary").get_text()
    assert "1 cell" in first and "29 November 2026" in first and "1% of its tolerance" in first
    links = [link["href"] for link in card.find_all("a")]
    assert links == [f"../{DOCNAME}.html#cell-elbo-12",
                     f"../{proof_marks.REGISTER}.html#b2"]
    text = card.get_text(" ")
    assert "differ by 10⁻¹² at most; 10⁻¹⁰ is allowed (float64 rounding), in 2" in text
    assert "1 further condition held" in text
    named = [code.get_text() for code in card.select("li code")]
    assert named == proof_marks.register().tests["B2"] and named


def expression(source: str) -> ast.expr:
    return ast.parse(source, mode="eval").body


@pytest.mark.parametrize(("tolerance", "reason", "words"), [
    ("5 * sem(x)", "", "both sides differ by 2.5 standard errors at most; 5 are allowed"),
    ("5 * log_error", "", "both sides differ by 2.5 standard errors at most; 5 are allowed"),
    ("4 * std[0] / 10", "four standard errors",
     "both sides differ by 2.0 standard errors at most; 4 are allowed"),
    ("4 * std[0] / 10", "", "both sides differ by 0.5 at most; 1 is allowed"),
    ("0.5 * error", "", "both sides differ by 0.5 at most; 1 is allowed"),
    ("1e-10", "rounding", "both sides differ by 0.5 at most; 1 is allowed"),
])
def test_deviations_in_words(tolerance, reason, words):
    assert proof_marks.in_words(0.5, 1.0, expression(tolerance), reason) == words


def test_values_without_a_deviation_are_equal():
    assert proof_marks.in_words(0.0, 1e-10, expression("1e-10"), "") == "both sides are equal"


@pytest.mark.parametrize(("x", "shown"), [
    (0.0, "0"), (3.14e-13, "3.1·10⁻¹³"), (1e-10, "10⁻¹⁰"), (0.0123, "0.012"), (2.1, "2.1"),
    (123.4, "123"), (5e-324, "4.9·10⁻³²⁴"), (2e5, "2·10⁵")])
def test_numbers_as_they_are_shown(x, shown):
    assert proof_marks.shown_number(x) == shown


def test_the_reason_is_the_comment_on_the_assert_or_right_above_it():
    source = ("x = 1  # not this\nassert a < 1  # on its line\n# above it,\n# on two lines\n"
              "assert a < 1\n\n# not this\n\nassert a < '#'\nassert f(\n    a)  # at its end\n")
    reasons = [proof_marks.reason_of(each.node, proof_marks.comments(source))
               for each in checks.find(ast.parse(source))]
    assert reasons == ["on its line", "above it, on two lines", "", "at its end"]


def test_what_did_not_run_or_is_no_deviation_is_said():
    check = proof_marks.Check
    cell = proof_marks.CheckedCell("page", "cell", "Section", datetime(2026, 11, 29), [
        check(0, [(1.0, 2.0, None)], 0, ""), check(1, [], 2, "")])
    assert proof_marks.lines_of(cell) == ["2 conditions held", "1 assert did not run in this build"]
