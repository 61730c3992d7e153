"""List the printed figures that have moved between two builds, beyond their standard errors.

    make drift LAST=FOLDER       # the last release against the last build
    python book/drift.py OLD NEW

A folder is `_build/executed` of a build: its notebooks with what they printed. A cell is known by
its ID. A figure printed as `1.23 ± 0.04` has moved if it differs by more than `LIMIT` standard
errors of a difference, √(σ² + σ'²): were all random numbers drawn anew, one in 370 such figures
would. Printed digits are rounded: each value may be off by half a unit of its last one, and so may
its error. A figure without an error has moved if it differs by more than that rounding, which is
one unit of the last digit; an integer is not rounded. Durations, such as `12 s`, are those of the
machine and are not compared. The command returns 1 if anything has moved.
"""

import argparse
import difflib
import math
import re
import sys
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import nbformat

__all__ = ["LIMIT", "Figure", "Move", "between", "compare", "figures_in", "moved", "printed_by",
           "printed_in"]

LIMIT = 3.0
NUMBER = re.compile(r"[-−+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?(?:e[-+]?\d+)?")
ERROR_NEXT = re.compile(r"\s*%?\s*±\s*$")  # between a value and its error
ARRAYS = re.compile(r"\[([^\[\]]*)\]\s*±\s*\[([^\[\]]*)\]")
DURATION = re.compile(r"\s*(?:s|ms|minutes|seconds)\b")


class Figure(NamedTuple):
    """A printed number, the unit of its last digit, and its printed standard error, if any."""

    text: str
    value: float
    unit: float
    error: "Figure | None" = None

    @property
    def is_integer(self) -> bool:
        return "." not in self.text and "e" not in self.text

    def __str__(self) -> str:
        return f"{self.text} ± {self.error.text}" if self.error else self.text


class Move(NamedTuple):
    """What differs between two builds.

    `size` is in standard errors of a difference, None where none are printed.
    """

    place: str
    what: str
    size: float | None = None

    def __str__(self) -> str:
        of = "" if self.size is None else f": {self.size:.1f} standard errors"
        return f"{self.place}\n    {self.what}{of}"


# What is printed --------------------------------------------------------------------------------


def figure(text: str) -> Figure:
    """Return a number as printed, such as "−1,234.5" or "1e-05"."""
    plain = text.replace(",", "").replace("−", "-")
    mantissa, _, exponent = plain.partition("e")
    decimals = len(mantissa.partition(".")[2])
    return Figure(text, float(plain), 10.0 ** (int(exponent or 0) - decimals))


def figures_in(line: str) -> tuple[str, list[Figure]]:
    """Return a line with # for each number, and its figures, durations aside.

    An error is paired with the value before it, and those in an array with those in the one before.
    """
    found = list(NUMBER.finditer(line))
    errors: dict[int, int] = {}  # the place of its error, by that of a value
    for place, (one, next_one) in enumerate(pairwise(found)):
        if ERROR_NEXT.fullmatch(line[one.end():next_one.start()]):
            errors[place] = place + 1
    for arrays in ARRAYS.finditer(line):
        left, right = ([place for place, each in enumerate(found)
                        if arrays.start(side) <= each.start() < arrays.end(side)]
                       for side in (1, 2))
        if len(left) == len(right):
            errors |= dict(zip(left, right))
    figures = []
    for place, each in enumerate(found):
        if place in errors.values() or DURATION.match(line, each.end()):
            continue
        error = figure(found[errors[place]][0]) if place in errors else None
        figures.append(figure(each[0])._replace(error=error))
    return " ".join(NUMBER.sub("#", line).split()), figures


def printed_by(cell: Mapping) -> list[str]:
    """Return the lines that a cell has printed, without progress bars and figures that it drew."""
    text = ""
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        if output["output_type"] == "stream" and output["name"] == "stdout":
            text += output["text"]
        elif "text/plain" in data and "image/png" not in data:
            text += data["text/plain"] + "\n"
    return text.splitlines()


def printed_in(folder: Path) -> dict[str, dict[str, list[str]]]:
    """Return the lines of each cell by its ID, of each notebook by its name.

    Raises:
        ValueError: there is no executed notebook in the folder.
    """
    found = {}
    for path in sorted(folder.rglob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        found[path.stem] = {cell["id"]: printed_by(cell) for cell in notebook.cells
                            if cell.cell_type == "code"}
    if not any(lines for cells in found.values() for lines in cells.values()):
        raise ValueError(f"{folder} must hold notebooks that have printed something, got "
                         f"{len(found)} notebooks")
    return found


# What has moved ---------------------------------------------------------------------------------


def moved(old: Figure, new: Figure, limit: float = LIMIT) -> float | None:
    """Return how far a figure has moved, None if it has not.

    Returns:
        The difference in units of its standard error, infinity if no error is printed.
    """
    difference, rounding = abs(new.value - old.value), (old.unit + new.unit) / 2
    rounding += 4 * sys.float_info.epsilon * abs(old.value)  # 0.3 − 0.2 is not quite 0.1
    if old.error is None or new.error is None:
        exact = old.is_integer and new.is_integer
        return math.inf if difference > (0 if exact else rounding) else None
    error = math.hypot(*(each.error.value + each.error.unit / 2 for each in (old, new)))
    return difference / error if difference > limit * error + rounding else None


def between(old: list[str], new: list[str], place: str, limit: float = LIMIT) -> Iterator[Move]:
    """Yield what differs between the lines that a cell printed in two builds."""
    before, after = ([figures_in(line) for line in lines] for lines in (old, new))
    matcher = difflib.SequenceMatcher(None, [text for text, _ in before],
                                      [text for text, _ in after], autojunk=False)
    for kind, i, i_end, j, j_end in matcher.get_opcodes():
        if kind != "equal":
            yield Move(place, f"text: {' / '.join(old[i:i_end]) or 'nothing'}\n"
                              f"       → {' / '.join(new[j:j_end]) or 'nothing'}")
            continue
        for (_, left), (_, right), line in zip(before[i:i_end], after[j:j_end], new[j:j_end]):
            for one, other in zip(left, right):
                size = moved(one, other, limit)
                if size is not None:
                    yield Move(f"{place}: {line.strip()}", f"{one} → {other}",
                               None if math.isinf(size) else size)


def compare(old: Path, new: Path, limit: float = LIMIT) -> list[Move]:
    """Return what has moved between two folders of executed notebooks, the largest first.

    Raises:
        ValueError: a folder holds no executed notebook.
    """
    before, after = printed_in(old), printed_in(new)
    found = [Move(name, "the chapter is gone" if name in before else "a new chapter")
             for name in sorted(before.keys() ^ after.keys())]
    for name in sorted(before.keys() & after.keys()):
        left, right = before[name], after[name]
        for cell in [*left, *(each for each in right if each not in left)]:
            place = f"{name}, cell {cell}"
            if cell not in right or cell not in left:
                if left.get(cell) or right.get(cell):  # else it printed nothing
                    found.append(Move(place, "the cell is gone" if cell in left else "a new cell"))
                continue
            found += between(left[cell], right[cell], place, limit)
    return sorted(found, key=lambda each: -(each.size or 0.0))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="List the printed figures that have moved between two builds.")
    parser.add_argument("old", type=Path, help="executed notebooks of the last release")
    parser.add_argument("new", type=Path, help="executed notebooks of this build")
    parser.add_argument("--limit", type=float, default=LIMIT,
                        help=f"in standard errors of a difference (default: {LIMIT:g})")
    given = parser.parse_args(arguments)
    try:
        found = compare(given.old, given.new, given.limit)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    for each in found:
        print(each)
    beyond = sum(each.size is not None for each in found)
    print(f"figures that moved by more than {given.limit:g} standard errors: {beyond}; "
          f"other differences: {len(found) - beyond}")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
