"""Give each identity that this build has checked a mark beside its equation, with a card.

While the build executes a chapter, it records what the asserts of its cells compare (`checks.py`).
An equation gets the mark "checked" if each cell with the tag of its identity that asserts anything
has such a record; so a page whose chapter was not executed, or has failed, shows none. The card
says which cells check the identity, with the largest deviation from each assert and its tolerance,
where the tolerance comes from (the comment at the assert), and names the unit tests.
`proof_marks.js` shows it; without scripts the mark is a link to the register of identities.
"""

import ast
import functools
import os
import re
import sys
import tokenize
from collections.abc import Iterator, Mapping
from datetime import datetime
from html import escape
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

from docutils import nodes
from IPython.core.inputtransformer2 import TransformerManager
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

sys.path.append(str(Path(__file__).resolve().parent.parent))  # book/
import checks
import identities
import notebooks

__all__ = ["CheckedCell", "card", "checked_cells", "comments", "in_words", "setup", "shown_number",
           "summary"]

REGISTER = "chapters/appendix/identities"
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
ERRORS = re.compile(r"\bsem\(|error\b|\bstandard errors?\b")  # what a standard error is called


# What was checked -------------------------------------------------------------------------------


class Check(NamedTuple):
    """An assert of a cell: what the build recorded of it, and where its tolerance comes from.

    `largest` has (deviation, tolerance, the expression of the tolerance) for each comparison.
    """

    times: int
    largest: list[tuple[float, float, ast.expr | None]]
    conditions: int
    reason: str


class CheckedCell(NamedTuple):
    """A cell that asserts an identity, as it ran in this build."""

    docname: str
    anchor: str
    section: str
    executed: datetime
    checks: list[Check]


def comments(source: str) -> dict[int, tuple[str, bool]]:
    """Return for each line of code with a comment its text, and whether it is nothing else."""
    found = {}
    for token in tokenize.generate_tokens(StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            alone = not token.line[: token.start[1]].strip()
            found[token.start[0]] = token.string.lstrip("#").strip(), alone
    return found


def reason_of(node: ast.stmt, said: Mapping[int, tuple[str, bool]]) -> str:
    """Return the comment on an assert: on its lines, or alone on the lines right above it."""
    inside = [said[line][0] for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
              if line in said]
    above: list[str] = []
    line = node.lineno - 1
    while line in said and said[line][1]:
        above.insert(0, said[line][0])
        line -= 1
    return " ".join(inside or above)


@functools.cache
def register() -> identities.Register:
    return identities.read_register()


@functools.cache
def cells_of(chapter: Path) -> list[tuple[str, list[str], str, str, str]]:
    """Return (ID, tags, source as Python, heading above, key) of each code cell of a chapter."""
    cells = notebooks.cells_of(chapter)
    keys = checks.keys(cell.source for cell in cells if cell.cell_type == "code")
    found, heading = [], ""
    for cell in cells:
        if cell.cell_type == "code":
            python = TransformerManager().transform_cell(cell.source)
            found.append((cell.id, notebooks.tags_of(cell), python, heading, next(keys)))
        else:
            headings = re.findall(r"^#+ (.+)$", cell.source, re.MULTILINE)
            heading = headings[-1].strip() if headings else heading
    return found


def checked_cells(label: str, chapter: Path, folder: Path) -> Iterator[CheckedCell | None]:
    """Yield the cells of a chapter that assert an identity; None for one without a record."""
    docname = chapter.relative_to(notebooks.ROOT).with_suffix("").as_posix()
    for name, tags, source, section, key in cells_of(chapter):
        statements = checks.find(ast.parse(source)) if f"identity-{label}" in tags else []
        if not statements:
            continue
        record = checks.read(folder, key)
        if record is None or len(record["checks"]) != len(statements):
            yield None
            continue
        said = comments(source)
        found = []
        for statement, recorded in zip(statements, record["checks"], strict=True):
            measured = [(*pair, comparison.operands.get("tolerance")) for pair, comparison
                        in zip(recorded["largest"], statement.comparisons, strict=True) if pair]
            others = statement.conditions + len(statement.comparisons) - len(measured)
            found.append(Check(recorded["times"], measured, others,
                               reason_of(statement.node, said)))
        yield CheckedCell(docname, f"cell-{name}", section,
                          datetime.fromisoformat(record["executed"]), found)


def all_checked(label: str, env: BuildEnvironment) -> list[CheckedCell]:
    """Return the cells that have checked an identity in this build, none if one of them has not."""
    folder = os.environ.get(checks.FOLDER)
    executed: Mapping[str, Any] = getattr(env, "nb_metadata", {})
    found: list[CheckedCell] = []
    for chapter in dict.fromkeys(cell.chapter for cell in register().cells.get(label, [])):
        docname = chapter.relative_to(notebooks.ROOT).with_suffix("").as_posix()
        succeeded = executed.get(docname, {}).get("exec_data", {}).get("succeeded", True)
        cells = list(checked_cells(label, chapter, Path(folder))) if folder and succeeded else []
        if not cells or None in cells:
            return []
        found += cells
    return found


# In words ---------------------------------------------------------------------------------------


def shown_number(x: float) -> str:
    """Return a number with two digits, a small or large one as 3.1·10⁻¹³."""
    if x == 0 or 1e-3 <= abs(x) < 1e4:
        return f"{x:.2g}" if abs(x) < 100 else f"{x:.0f}"
    mantissa, _, exponent = f"{x:.1e}".partition("e")
    power = "10" + str(int(exponent)).translate(SUPERSCRIPT)
    mantissa = mantissa.removesuffix(".0")
    return power if mantissa == "1" else f"{mantissa}·{power}"


def share_of(deviation: float, tolerance: float) -> float:
    return deviation / tolerance if deviation else 0.0


def factor_of(tolerance: ast.expr | None) -> float | None:
    """Return the number that a product such as `5 * sem(x)` begins with, if it is 2 or more."""
    while isinstance(tolerance, ast.BinOp) and isinstance(tolerance.op, ast.Mult | ast.Div):
        tolerance = tolerance.left
        if isinstance(tolerance, ast.Constant) and isinstance(tolerance.value, int | float):
            return tolerance.value if tolerance.value >= 2 else None
    return None


def in_words(deviation: float, tolerance: float, expression: ast.expr | None, reason: str) -> str:
    """Return how far two values were apart, and how far they might be."""
    factor = factor_of(expression)
    if factor and ERRORS.search(f"{ast.unparse(expression)} {reason}"):
        return (f"both sides differ by {factor * share_of(deviation, tolerance):.1f} standard "
                f"errors at most; {factor:g} are allowed")
    if not deviation:
        return "both sides are equal"
    return (f"both sides differ by {shown_number(deviation)} at most; {shown_number(tolerance)} is "
            "allowed")


def counted(number: int, singular: str, plural: str | None = None) -> str:
    return f"{number} {singular if number == 1 else plural or singular + 's'}"


def lines_of(cell: CheckedCell) -> list[str]:
    """Return what a cell has checked, a line for each comparison, as HTML."""
    lines = []
    conditions, not_run = 0, 0
    for check in cell.checks:
        if not check.times:
            not_run += 1
            continue
        conditions += check.conditions
        for deviation, tolerance, expression in check.largest:
            text = in_words(deviation, tolerance, expression, check.reason)
            reason = f" ({check.reason})" if check.reason else ""
            times = f", in {check.times} comparisons" if check.times > 1 else ""
            lines.append(escape(f"{text}{reason}{times}"))
    if conditions:
        more = "further condition" if lines else "condition"
        lines.append(f"{counted(conditions, more)} held")
    if not_run:
        lines.append(f"{counted(not_run, 'assert')} did not run in this build")
    return lines


def summary(label: str, cells: list[CheckedCell]) -> str:
    """Return in a sentence or two that an identity was checked, when, and how closely."""
    day = max(cell.executed for cell in cells)
    shares = [share_of(deviation, tolerance) for cell in cells for check in cell.checks
              for deviation, tolerance, _ in check.largest]
    text = (f"({label}) was checked by {counted(len(cells), 'cell')} of the course when these "
            f"pages were executed, on {day.day} {day:%B %Y}.")
    if shares:
        largest = f"{max(shares):.0%}" if max(shares) >= 0.01 else "less than 1%"
        text += f" The largest deviation is {largest} of its tolerance."
    return text


def card(label: str, cells: list[CheckedCell], addresses: Mapping[str, str],
         tests: list[str]) -> str:
    """Return the card of an identity as HTML.

    Args:
        label: the ID of the identity.
        cells: what has checked it.
        addresses: of the pages that the cells are on, and of the register, from this page.
        tests: the names of its unit tests.
    """
    name = f"checks-{label}"
    listed = "".join(
        f'<li><a href="{addresses[cell.docname]}#{cell.anchor}">{escape(cell.section)}</a>'
        f"<ul>{''.join(f'<li>{line}</li>' for line in lines_of(cell))}</ul></li>"
        for cell in cells)
    named = "".join(f"<li><code>{escape(test)}</code></li>" for test in tests)
    return (f'<div class="hover-card proof-card" role="group" aria-label="Checks of ({label})" '
            f'id="{name}" hidden><p id="{name}-summary">{escape(summary(label, cells))}</p>'
            f"<ul>{listed}</ul>"
            + (f"<p>Unit tests on other inputs, which <code>make test</code> runs:</p>"
               f"<ul>{named}</ul>" if named else "")
            + f'<p><a href="{addresses[REGISTER]}#{label.lower()}">The register of identities</a>'
              "</p></div>\n")


# The page ---------------------------------------------------------------------------------------


class ProofMark(nodes.General, nodes.Element):
    """The mark of a checked identity; its attributes are `label` and `uri`."""


def open_mark(writer: Any, node: ProofMark) -> None:
    label = node["label"]
    writer.body.append(
        f'<p class="proof-mark"><a href="{escape(node["uri"])}" data-label="{label}" '
        f'aria-describedby="checks-{label}-summary">checked'
        f'<span aria-hidden="true"> ✓</span></a></p>')


def close_mark(writer: Any, node: ProofMark) -> None:
    """The mark is written when its node is opened."""


def name_cells(app: Sphinx, doctree: nodes.document) -> None:
    """Give each cell that asserts an identity an ID on the page: that of the cell."""
    path = notebooks.ROOT / f"{app.env.docname}.ipynb"
    if not path.exists():
        return
    cells = notebooks.cells_of(path)
    for container in doctree.findall(nodes.container):
        if "cell_index" in container and any(map(identities.TAG.fullmatch, notebooks.tags_of(
                cells[container["cell_index"]]))):
            container["ids"].append(f"cell-{cells[container['cell_index']].id}")


def mark(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put a mark below each equation of a page that has been checked."""
    if app.builder.format != "html":
        return
    for equation in list(doctree.findall(nodes.math_block)):
        label = equation.get("label") or ""
        if identities.ID.fullmatch(label) and all_checked(label, app.env):
            uri = f"{app.builder.get_relative_uri(docname, REGISTER)}#{label.lower()}"
            equation.parent.insert(equation.parent.index(equation) + 1,
                                   ProofMark(label=label, uri=uri))


def add_cards(app: Sphinx, docname: str, template: str, context: dict[str, Any],
              doctree: nodes.document | None) -> None:
    """Put the cards of the marks at the end of the page, hidden: outside what the search reads."""
    for node in doctree.findall(ProofMark) if doctree else ():
        cells = all_checked(node["label"], app.env)
        addresses = {name: app.builder.get_relative_uri(docname, name)
                     for name in [REGISTER, *(cell.docname for cell in cells)]}
        context["body"] += card(node["label"], cells, addresses,
                                register().tests.get(node["label"], []))


def changed(app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str],
            removed: set[str]) -> list[str]:
    """Let the pages with identities be written again when the names of the unit tests change."""
    before, env.tests_of_identities = (getattr(env, "tests_of_identities", None),
                                       register().tests)
    if before in (None, register().tests):
        return []
    names = {equation.chapter.relative_to(notebooks.ROOT).with_suffix("").as_posix()
             for equations in register().equations.values() for equation in equations}
    return sorted(names & env.found_docs)


def setup(app: Sphinx) -> dict[str, bool | int]:
    app.add_node(ProofMark, html=(open_mark, close_mark))
    app.connect("env-get-outdated", changed)
    app.connect("doctree-read", name_cells)
    app.connect("doctree-resolved", mark)
    app.connect("html-page-context", add_cards)
    return {"parallel_read_safe": True, "parallel_write_safe": True, "env_version": 1}
