"""The list of exercises, a page of the appendix, read from the chapters and the checks."""

import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import identities
import notebooks
from genmodels.exercises import chapters, grade, registry

__all__ = ["PAGE", "Listed", "all_exercises", "description", "exercises_of", "link", "page"]

PAGE = notebooks.CHAPTERS / "appendix" / "exercises.md"
HEADING = re.compile(r"### (Exercise (\d+): (.+))")
CHECK = re.compile(r'^check\("([\w-]+)"', re.MULTILINE)
STARS = {1: "★☆☆", 2: "★★☆", 3: "★★★"}

INTRODUCTION = """\
# Exercises

<!-- Written when the book is built: edit the chapters or the checks, not this page. -->

Each exercise of a chapter is a stub, where your answer replaces `...`, and a check, which says at
once whether it is right and, if not, what came out and which mistake it looks like. An answer may
be written in NumPy, PyTorch, TensorFlow or Keras. Open the chapter's notebook, run the first cell
below *Exercises*, then the exercise; none needs the cells of the chapter. A solution, with its
reasoning, is folded below each. If you hand the notebook in, it is run from top to bottom, and the
checks decide; if an exercise is checked more than once, the last check counts. Write your answer
into the cell of the stub or into cells of your own, not into that of the solution.

*Derive*: the result is a function or a number. *Build*: a function or a class.
*Explore*: change something, predict, measure; the check looks at the measurement, the solution
discusses the reason. The stars are the difficulty; the IDs are the [identities](identities.md)
that an exercise uses.
"""

FOR_LECTURERS = """\
## For lecturers

At the top of each chapter is its notebook without solutions. `make student` writes all of them to
`_build/student/`, and the same as `_build/student.zip`; they run from top to bottom as they are.
`make pdf SOLUTIONS=no` prints the book without solutions.

```
python -m genmodels.exercises.grade submissions/*.ipynb --csv grades.csv
```

prints and writes a row for each exercise: right, not yet, stub, error or time-out, and what of the
notebook was not run. If you hand out chapters of your own, name their folder with `--chapters`.
"""
# The grader's own words on how it runs notebooks, and on what it does not protect against.
HOW_GRADED = grade.__doc__[grade.__doc__.index("Each notebook runs"):]


class Listed(NamedTuple):
    """An exercise as it stands in its chapter."""

    chapter: Path
    number: int
    heading: str
    task: registry.Exercise


def exercises_of(chapter: Path) -> list[Listed]:
    """Return the exercises of a chapter: a heading with a number, and the check that follows it."""
    tasks, found, heading = chapters.load(), [], None
    for cell in notebooks.cells_of(chapter):
        if cell.cell_type == "markdown":
            match = HEADING.search(cell.source)
            heading = match or heading
        elif "check" in notebooks.tags_of(cell):
            (name,) = CHECK.findall(cell.source)
            if heading is None:
                raise ValueError(f"{chapter}: check({name!r}) must have a heading of its own, "
                                 "got none")
            found.append(Listed(chapter, int(heading[2]), heading[1], tasks[name]))
            heading = None
    return found


def link(listed: Listed, text: str) -> str:
    """Return a link from the list to an exercise."""
    slug = re.sub(r"[^\w\- ]", "", listed.heading.lower()).replace(" ", "-")
    return f"[{text}](../{listed.chapter.relative_to(notebooks.CHAPTERS).as_posix()}#{slug})"


def description(task: registry.Exercise) -> str:
    """Return the line below the heading of an exercise."""
    labels = "".join(f" · ({name})" for name in task.identities)
    return f"{task.kind} · {STARS[task.difficulty]} · {task.minutes} minutes{labels}"


def page(listed: list[Listed]) -> str:
    """Return the whole page as MyST Markdown."""
    chapters = list(dict.fromkeys(item.chapter for item in listed))
    lines = [INTRODUCTION, "## How many", "",
             f"| chapter | {' | '.join(registry.KINDS)} | all |",
             f"| --- |{' ---: |' * (len(registry.KINDS) + 1)}"]
    for chapter in [*chapters, None]:
        kinds = Counter(item.task.kind for item in listed if chapter in (item.chapter, None))
        name = identities.link_to(chapter) if chapter else "all"
        counts = " | ".join(str(kinds[kind]) for kind in registry.KINDS)
        lines.append(f"| {name} | {counts} | {kinds.total()} |")
    for chapter in chapters:
        lines += ["", f"## {notebooks.title_of(chapter)}", ""]
        for item in listed:
            if item.chapter == chapter:
                lines.append(f"* {link(item, item.heading)}: {description(item.task)}")
    lines += ["", "## By identity", "", "| identity | exercises |", "| --- | --- |"]
    for label in identities.REQUIRED:
        using = [link(item, f"{notebooks.title_of(item.chapter)}, {item.number}")
                 for item in listed if label in item.task.identities]
        lines.append(f"| ({label}) | {'; '.join(using)} |")
    return "\n".join([*lines, "", FOR_LECTURERS, HOW_GRADED])


def all_exercises() -> list[Listed]:
    """Return the exercises of all chapters, in the order of the book."""
    return [item for chapter in notebooks.in_order() for item in exercises_of(chapter)]
