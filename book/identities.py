"""The register of identities, a page of the appendix, read from the chapters and the tests.

An identity with the ID B2 is an equation `$$ … $$ (B2)` in a chapter, a cell tagged `identity-B2`
that asserts it, and tests called `test_B2_…`. What it presupposes is a paragraph of the chapter
that begins with `**Conditions (B2).**`, or with `**Conditions.**` in the cell of the equation if
that is the only labelled one there. A colon may stand for the full stop, and the asterisks may
be left out.
"""

import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import notebooks
from notebooks import CHAPTERS

__all__ = ["ID", "PAGE", "REQUIRED", "Cell", "Equation", "Register", "conditions_in", "entry",
           "equations_in", "link_to", "page", "read_register"]

TESTS = notebooks.ROOT / "tests"
PAGE = CHAPTERS / "appendix" / "identities.md"

# The identities that this course has to show.
REQUIRED = ["L1", "L2", "K1", "K2", "K3", "B1", "B2", "B3", "B4", "B5"]
REQUIRED += ["G1", "G2", "G3", "G4", "G5", "N1", "N2"]
REQUIRED += ["H1", "D1", "D2", "D3", "D4", "D5", "D6", "D7", "D8"]
REQUIRED += ["P1", "P2", "P3", "P4", "P5", "P6"]

DISPLAYED = re.compile(r"\$\$(.+?)\$\$(?:[ \t]*\(([^()\s]+)\))?", re.DOTALL)
ID = re.compile(r"[A-Z]\d+")
TAG = re.compile(r"identity-([A-Z]\d+)")
CONDITIONS = re.compile(  # (B2, B3) if it is there, and the paragraph
    r"^(?:\*\*)?Conditions(?: \(([A-Z]\d+(?:(?:, | and )[A-Z]\d+)*)\))?[.:](?:\*\*)?\s+(.+?)"
    r"(?=\n[ \t]*\n|\Z)", re.MULTILINE | re.DOTALL)
TEST = re.compile(r"^\s*def (test_([A-Z]\d+)_\w+)", re.MULTILINE)

INTRODUCTION = """\
# Identities

<!-- Written when the book is built: edit the chapters or the tests, not this page. -->

Each identity is derived in a chapter, where the equation carries its ID and the cells with the tag
named here assert it; their number stands in parentheses. The unit tests check the same identity on
other, random inputs. What an identity presupposes stands with it as its conditions.
"""


class Equation(NamedTuple):
    """A labelled equation: its TeX and the chapter it stands in."""

    tex: str
    chapter: Path


class Cell(NamedTuple):
    """A tagged code cell: its source and the chapter it stands in."""

    source: str
    chapter: Path


class Register(NamedTuple):
    """For each ID its equations, the cells tagged with it, its unit tests and its conditions."""

    equations: dict[str, list[Equation]]
    cells: dict[str, list[Cell]]
    tests: dict[str, list[str]]
    conditions: dict[str, list[str]]


def equations_in(source: str) -> list[tuple[str, str]]:
    """Return (ID, TeX) of each labelled equation of a text cell."""
    found = DISPLAYED.findall(source)
    return [(label, tex.strip()) for tex, label in found if ID.fullmatch(label)]


def conditions_in(source: str) -> list[tuple[str, str]]:
    """Return (ID, paragraph) for each identity whose conditions a text cell states.

    Raises:
        ValueError: a paragraph names no identity, and the cell has not exactly one.
    """
    found = []
    for named, paragraph in CONDITIONS.findall(source):
        labels = ID.findall(named) or [label for label, _ in equations_in(source)]
        if not named and len(labels) != 1:
            raise ValueError("conditions must name their identity, as in '**Conditions (B2).**', "
                             f"where a cell has {len(labels)} of them: {paragraph[:60]!r}")
        found += [(label, paragraph) for label in labels]
    return found


def read_register() -> Register:
    """Collect labelled equations, tagged cells, unit tests and conditions from the repository."""
    register = Register({}, {}, {}, {})
    for chapter in notebooks.notebooks():
        for cell in notebooks.cells_of(chapter):
            if cell.cell_type == "markdown":
                for label, tex in equations_in(cell.source):
                    register.equations.setdefault(label, []).append(Equation(tex, chapter))
                for label, paragraph in conditions_in(cell.source):
                    register.conditions.setdefault(label, []).append(paragraph)
            for tag in notebooks.tags_of(cell):
                if match := TAG.fullmatch(tag):
                    register.cells.setdefault(match[1], []).append(Cell(cell.source, chapter))
    for path in sorted(TESTS.rglob("test_*.py")):
        for name, label in TEST.findall(path.read_text(encoding="utf-8")):
            test = f"{path.relative_to(TESTS).as_posix()}::{name}"
            register.tests.setdefault(label, []).append(test)
    return register


def link_to(chapter: Path) -> str:
    """Return a link from the register to a chapter."""
    return f"[{notebooks.title_of(chapter)}](../{chapter.relative_to(CHAPTERS).as_posix()})"


def entry(label: str, register: Register) -> str:
    """Return the part of the page that describes one identity."""
    lines = [f"## {label}", ""]
    for equation in register.equations.get(label, []):
        lines += [f"$$\n{equation.tex}\n$$", ""]
        for paragraph in register.conditions.get(label, []):
            lines += [f"**Conditions.** {paragraph}", ""]
        lines += [f"* Derived in {link_to(equation.chapter)}: equation ({label})."]
    places = Counter(cell.chapter for cell in register.cells.get(label, []))
    cells = [f"{link_to(chapter)} ({count})" for chapter, count in places.items()]
    lines += [f"* Cells tagged `identity-{label}`: {', '.join(cells) or 'none'}."]
    tests = [f"  * `{name}`" for name in register.tests.get(label, [])]
    lines += ["* Unit tests:" if tests else "* Unit tests: none.", *tests, ""]
    return "\n".join(lines)


def page(register: Register) -> str:
    """Return the whole page as MyST Markdown."""
    found = set(register.equations)
    labels = [label for label in REQUIRED if label in found]
    labels += sorted(found.difference(REQUIRED))
    return "\n".join([INTRODUCTION, *(entry(label, register) for label in labels)])
