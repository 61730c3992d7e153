"""Write the register of identities, chapters/appendix/identities.md, from chapters and tests.

An identity with the ID B2 is an equation `$$ … $$ (B2)` in a chapter, a cell tagged `identity-B2`
that asserts it, and tests called `test_B2_…`.
"""

import json
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = ROOT / "chapters"
PAGE = CHAPTERS / "appendix" / "identities.md"

# The identities that this course has to show.
REQUIRED = ["L1", "L2", "K1", "K2", "K3", "B1", "B2", "B3", "B4", "B5"]
REQUIRED += ["G1", "G2", "G3", "G4", "G5", "N1", "N2"]
REQUIRED += ["H1", "D1", "D2", "D3", "D4", "D5", "D6", "D7", "D8"]

DISPLAYED = re.compile(r"\$\$(.+?)\$\$(?:[ \t]*\(([^()\s]+)\))?", re.DOTALL)
ID = re.compile(r"[A-Z]\d+")
TAG = re.compile(r"identity-([A-Z]\d+)")
TEST = re.compile(r"^\s*def (test_([A-Z]\d+)_\w+)", re.MULTILINE)

INTRODUCTION = """\
# Identities

<!-- Written by `make identities`: edit the chapters or the tests, not this page. -->

Each identity is derived in a chapter, where the equation carries its ID and the cells with the tag
named here assert it; their number stands in parentheses. The unit tests check the same identity on
other, random inputs.
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
    """For each ID its equations, the cells tagged with it and the names of its unit tests."""

    equations: dict[str, list[Equation]]
    cells: dict[str, list[Cell]]
    tests: dict[str, list[str]]


def notebooks() -> list[Path]:
    """Return the paths of all chapters that are notebooks."""
    paths = sorted(CHAPTERS.rglob("*.ipynb"))
    return [path for path in paths if ".ipynb_checkpoints" not in path.parts]


def cells_of(chapter: Path) -> list[dict]:
    """Return the cells of a notebook, each with its source as one string."""
    cells = json.loads(chapter.read_text(encoding="utf-8"))["cells"]
    return [{**cell, "source": "".join(cell["source"])} for cell in cells]


def title_of(chapter: Path) -> str:
    """Return the first heading of a notebook."""
    for cell in cells_of(chapter):
        match = re.search(r"^# (.+)$", cell["source"], re.MULTILINE)
        if cell["cell_type"] == "markdown" and match:
            return match[1].strip()
    raise ValueError(f"{chapter}: a chapter starts with a heading '# …', found none")


def read_register() -> Register:
    """Collect labelled equations, tagged cells and unit tests from the repository."""
    register = Register({}, {}, {})
    for chapter in notebooks():
        for cell in cells_of(chapter):
            if cell["cell_type"] == "markdown":
                for tex, label in DISPLAYED.findall(cell["source"]):
                    if ID.fullmatch(label):
                        equation = Equation(tex.strip(), chapter)
                        register.equations.setdefault(label, []).append(equation)
            for tag in cell["metadata"].get("tags", []):
                if match := TAG.fullmatch(tag):
                    register.cells.setdefault(match[1], []).append(Cell(cell["source"], chapter))
    for path in sorted((ROOT / "tests").glob("test_*.py")):
        for name, label in TEST.findall(path.read_text(encoding="utf-8")):
            register.tests.setdefault(label, []).append(f"{path.name}::{name}")
    return register


def link_to(chapter: Path) -> str:
    """Return a link from the register to a chapter."""
    return f"[{title_of(chapter)}](../{chapter.relative_to(CHAPTERS).as_posix()})"


def entry(label: str, register: Register) -> str:
    """Return the part of the page that describes one identity."""
    lines = [f"## {label}", ""]
    for equation in register.equations.get(label, []):
        lines += [f"$$\n{equation.tex}\n$$", ""]
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


if __name__ == "__main__":
    PAGE.write_text(page(read_register()), encoding="utf-8")
    print(f"Wrote {PAGE.relative_to(ROOT)}")
