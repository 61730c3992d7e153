"""The map of the chapters on the home page: an arrow leads from a chapter to one that needs it.

What a chapter needs are the chapters that its first cell links in *What you need*. An arrow that
follows from others is left out: who needs chapter 4, which needs chapter 2, needs chapter 2.

    python book/chapter_map.py

prints the arrows. Chapters are numbered through the parts of the book, as in the sidebar.
"""

import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape, quoteattr

import yaml

import notebooks

__all__ = ["MARK", "Chapter", "arrows", "chapters", "implied", "linked_in", "svg"]

MARK = "<!-- map of the chapters -->"  # stands on the home page where the map goes
NEEDS = re.compile(r"\*\*What you need\.\*\*(.+?)(?=\n[ \t]*\n|\Z)", re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]+\.ipynb)")

WIDTH = 350  # as wide as a phone, so that the text is never smaller than it is here
LINE, LANE, PORT = 14, 9, 8  # pixels between lines of text, trunks of arrows, ends of arrows
LETTERS = 38  # in a line of a box
NAME = ("Map of the chapters. An arrow leads from a chapter to one that needs it. "
        "The table below lists the chapters.")


class Chapter(NamedTuple):
    """A chapter of the book, with the numbers of the chapters that its first cell links."""

    path: Path
    title: str
    part: str
    needs: list[int]


def linked_in(chapter: Path) -> list[Path]:
    """Return the notebooks that the first cell of a chapter links in *What you need*.

    Raises:
        ValueError: there is no such paragraph.
    """
    found = NEEDS.search(notebooks.cells_of(chapter)[0].source)
    if found is None:
        raise ValueError(f"the first cell of {chapter} must say '**What you need.**'")
    return [(chapter.parent / link).resolve() for link in LINK.findall(found[1])]


def chapters() -> dict[int, Chapter]:
    """Return the chapters by their numbers, in the order of the book."""
    toc = yaml.safe_load((notebooks.ROOT / "_toc.yml").read_text(encoding="utf-8"))
    parts = {notebooks.ROOT / f"{chapter['file']}.ipynb": part["caption"]
             for part in toc["parts"] if part.get("numbered") for chapter in part["chapters"]}
    numbers = {path: number for number, path in enumerate(parts, 1)}
    return {number: Chapter(path, notebooks.title_of(path).replace("'", "’"), parts[path],
                            sorted({numbers[each] for each in linked_in(path)}))
            for path, number in numbers.items()}


def implied(needs: Mapping[int, list[int]], number: int) -> set[int]:
    """Return the chapters that the chapters that a chapter needs need, and so on."""
    return {far for near in needs[number] for far in {*needs[near], *implied(needs, near)}}


def arrows(book: Mapping[int, Chapter]) -> list[tuple[int, int]]:
    """Return (needed, needing) for each arrow of the map."""
    needs = {number: chapter.needs for number, chapter in book.items()}
    return [(needed, number) for number in needs for needed in needs[number]
            if needed not in implied(needs, number)]


# The drawing ------------------------------------------------------------------------------------


def lanes(spans: Mapping[int, tuple[float, float]]) -> dict[int, int]:
    """Return for each trunk the lane it runs in, counted from the boxes; short ones are close."""
    taken: list[list[tuple[float, float]]] = []
    found = {}
    for number, (top, bottom) in sorted(spans.items(), key=lambda item: item[1][1] - item[1][0]):
        free = [i for i, lane in enumerate(taken)
                if all(bottom < start or end < top for start, end in lane)]
        if not free:
            taken.append([])
        found[number] = free[0] if free else len(taken) - 1
        taken[found[number]].append((top, bottom))
    return found


def box(number: int, chapter: Chapter, left: float, top: float, lines: list[str], href: str) -> str:
    """Return the link to a chapter: its number and title in a frame."""
    needs = f" Needs {', '.join(map(str, chapter.needs))}." if chapter.needs else ""
    label = quoteattr(f"{number}. {chapter.title}{needs}")
    height = LINE * len(lines) + 10
    text = "".join(f'<tspan x="{left + 29}" dy="{LINE if i else 0}">{escape(line)} </tspan>'
                   for i, line in enumerate(lines))
    return (f'<a href={quoteattr(href)} aria-label={label}><rect x="{left}" y="{top}" rx="3" '
            f'width="{WIDTH - left - 1}" height="{height}"/><text y="{top + 16}">'
            f'<tspan x="{left + 6}">{number}. </tspan>{text}</text></a>')


def svg(book: Mapping[int, Chapter], hrefs: Mapping[int, str]) -> str:
    """Return the map as part of a page: a column of chapters, arrows at its left.

    Args:
        book: the chapters by their numbers.
        hrefs: the address of each chapter, seen from the page.
    """
    drawn = arrows(book)
    lines = {number: textwrap.wrap(chapter.title, LETTERS) for number, chapter in book.items()}
    trunks = {n: [to for start, to in drawn if start == n and to > n + 1] for n in book}
    trunks = {number: ends for number, ends in trunks.items() if ends}
    tops, part, y = {}, "", 0.0
    headings = []
    for number, chapter in book.items():
        if chapter.part != part:
            part, y = chapter.part, y + (16 if part else 10)
            headings.append((part, y))
            y += 8
        tops[number] = y
        y += LINE * len(lines[number]) + 10 + 14
    ports: dict[tuple[int, int], float] = {}  # (trunk, chapter) -> where it ends at the box
    for number in book:
        here = [n for n, ends in trunks.items() if n == number or number in ends]
        middle = tops[number] + (LINE * len(lines[number]) + 10) / 2
        for i, trunk in enumerate(sorted(here)):
            ports[trunk, number] = middle + PORT * (i - (len(here) - 1) / 2)
    in_lane = lanes({n: (ports[n, n], ports[n, ends[-1]]) for n, ends in trunks.items()})
    left = LANE * (max(in_lane.values(), default=-1) + 1) + 12
    paths = []
    for number, ends in trunks.items():
        x = left - 10 - LANE * in_lane[number]
        paths.append(f'<path d="M{left} {ports[number, number]}H{x}V{ports[number, ends[-1]]}"/>')
        paths += [f'<path d="M{x} {ports[number, end]}H{left - 1}" marker-end="url(#needed)"/>'
                  for end in ends]
    for start, end in drawn:
        if end == start + 1:
            bottom = tops[start] + LINE * len(lines[start]) + 10
            paths.append(f'<path d="M{left + 12} {bottom}V{tops[end] - 1}" '
                         'marker-end="url(#needed)"/>')
    boxes = [box(number, chapter, left, tops[number], lines[number], hrefs[number])
             for number, chapter in book.items()]
    names = [f'<text class="part" x="{left + 29}" y="{at}">{escape(name)}</text>'
             for name, at in headings]
    return (f'<svg xmlns="http://www.w3.org/2000/svg" class="chapter-map" viewBox="0 0 {WIDTH} '
            f'{y - 13}" role="group" aria-label={quoteattr(NAME)}><defs><marker id="needed" '
            'viewBox="0 0 6 6" refX="6" refY="3" markerWidth="6" markerHeight="6" '
            'orient="auto"><path d="M0 0L6 3L0 6Z"/></marker></defs>'
            f'<g class="arrows">{"".join(paths)}</g>{"".join(names)}{"".join(boxes)}</svg>')


if __name__ == "__main__":
    for needed, needing in arrows(chapters()):
        print(f"{needed} -> {needing}")
