"""Chapters are committed clean, built alike, and prove what they must; nbval executes them."""

import ast
import json
import re
from collections.abc import Iterator

import pytest

import install_cell
import notebooks
from genmodels.exercises import grade

CHAPTERS = notebooks.notebooks()
MAX_LINES = 30  # of a code cell
MAX_WIDTH = 88  # characters of a line of code: what a page shows beside both side bars
OPENING = ["What you will be able to do", "What you need", "Time"]
LAST_SECTIONS = ["Summary", "Exercises", "Further reading"]
# What draws: calls of these pyplot functions, and of whatever comes from genmodels.plotting.
PYPLOT_DRAWS = {"subplots", "figure", "plot", "scatter", "hist", "imshow", "contour", "show"}

each_chapter = pytest.mark.parametrize(
    "chapter", CHAPTERS, ids=lambda path: path.relative_to(notebooks.CHAPTERS).as_posix()
)


def headings(chapter, level: int) -> list[str]:
    """Return the headings of one level, without what looks like one inside a code block."""
    return re.findall(rf"^#{{{level}}} +(.+?) *$", notebooks.text_of(chapter), re.MULTILINE)


def calls_outside_functions(node: ast.AST) -> Iterator[ast.Call]:
    """Yield the calls that a cell makes itself, not those in functions that it defines."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.ClassDef | ast.Lambda):
            continue
        if isinstance(child, ast.Call):
            yield child
        yield from calls_outside_functions(child)


def names_from_plotting(trees: list[ast.Module]) -> set[str]:
    """Return the names that a notebook imports from genmodels.plotting."""
    imports = [n for tree in trees for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    plotting = [node for node in imports if node.module == "genmodels.plotting"]
    return {alias.asname or alias.name for node in plotting for alias in node.names}


def draws(tree: ast.Module, from_plotting: set[str]) -> bool:
    """Return whether running a cell makes a figure."""
    for call in calls_outside_functions(tree):
        match call.func:
            case ast.Attribute(value=ast.Name(id="plt"), attr=attribute):
                if attribute in PYPLOT_DRAWS:
                    return True
            case ast.Attribute(value=ast.Name(id="plotting")):
                return True
            case ast.Name(id=name) if name in from_plotting:
                return True
    return False


def is_on_page(cell) -> bool:
    """Return whether a cell is shown in the book."""
    return "remove-cell" not in notebooks.tags_of(cell)


def test_there_are_chapters():
    assert CHAPTERS


@each_chapter
def test_committed_without_outputs(chapter):
    for cell in notebooks.code_cells(chapter):
        assert cell["outputs"] == [], f"cell {cell['id']} holds outputs"
        assert cell["execution_count"] is None, f"cell {cell['id']} has an execution count"


@pytest.mark.parametrize("cell_id", ["a", None])
def test_a_notebook_with_bad_cell_ids_is_refused(tmp_path, cell_id):
    cells = [{"cell_type": "markdown", "metadata": {}, "source": "text", "id": each}
             for each in ("a", cell_id)]
    if cell_id is None:
        del cells[1]["id"]
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {},
                                "cells": cells}))
    with pytest.raises(ValueError, match=r"a\.ipynb: .*(id|ID)"):
        notebooks.read(path)


def test_solutions_can_be_told_by_their_ids_and_by_their_text():
    """The grader does so where a notebook has lost its tags: no other cell may be the same."""
    ids, texts = {}, {}
    for chapter in CHAPTERS:
        for cell in notebooks.code_cells(chapter):
            solution = "solution" in notebooks.tags_of(cell)
            ids.setdefault(cell["id"], []).append(solution)
            texts.setdefault(grade.words(cell["source"]), set()).add(solution)
    assert {i for i, cells in ids.items() if len(cells) > 1 and any(cells)} == set()
    assert {text for text, kinds in texts.items() if len(kinds) > 1} == set()


@each_chapter
def test_code_cells_are_short(chapter):
    lengths = {cell["id"]: len(cell["source"].splitlines())
               for cell in notebooks.code_cells(chapter) if is_on_page(cell)}
    assert {i: n for i, n in lengths.items() if n > MAX_LINES} == {}


@pytest.mark.parametrize("page", [*CHAPTERS, *notebooks.plain_pages()], ids=lambda p: p.stem)
def test_code_fits_the_page(page):
    """Code cells, and code blocks of the text: a longer line would be cut at 1280 pixels."""
    if page.suffix == ".ipynb":
        cells = notebooks.cells_of(page)
        code = [cell["source"] for cell in cells
                if cell.cell_type == "code" and is_on_page(cell)]
        text = "\n\n".join(cell["source"] for cell in cells if cell.cell_type == "markdown")
    else:
        code, text = [], page.read_text(encoding="utf-8")
    code += re.findall(r"^```.*?^```", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line for block in code for line in block.splitlines()]
    assert [line for line in lines if len(line) > MAX_WIDTH] == []


@each_chapter
def test_figures_have_alternative_text(chapter):
    cells = [(cell, notebooks.python_of(cell["source"])) for cell in notebooks.code_cells(chapter)]
    from_plotting = names_from_plotting([tree for _, tree in cells])
    for cell, tree in cells:
        if draws(tree, from_plotting):
            alt = cell["metadata"].get("mystnb", {}).get("image", {}).get("alt", "")
            assert len(alt.split()) >= 4, f"cell {cell['id']} draws; its alternative text: {alt!r}"


@each_chapter
def test_opens_and_closes_like_every_chapter(chapter):
    first = notebooks.cells_of(chapter)[0]["source"]
    assert len(headings(chapter, 1)) == 1
    assert first.startswith("# ")
    assert [phrase for phrase in OPENING if phrase not in first] == []
    assert headings(chapter, 2)[-3:] == LAST_SECTIONS


@each_chapter
def test_no_other_cell_installs_anything(chapter):
    source = "\n".join(cell["source"] for cell in notebooks.code_cells(chapter)
                       if cell["id"] != install_cell.ID)
    assert not re.search(r"\b(pip|conda|mamba|apt(-get)?)\b.*\binstall\b|\bpip\.main\b", source)


@each_chapter
def test_runs_on_the_kernel_that_every_installation_has(chapter):
    assert notebooks.read(chapter).metadata.kernelspec.name == "python3"
