"""How long a chapter takes to read: words, formulas, code and figures, each at a stated speed.

    python book/reading.py [CHAPTER ...]

prints a table. What is folded (solutions, boxes for the careful reader, hidden cells) does not
count, and neither do the exercises, which state their own times.
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

import notebooks

__all__ = ["WORDS_A_MINUTE", "Reading", "measure", "stated_minutes"]

WORDS_A_MINUTE = 100  # of technical text, in a language that may not be the reader's first
SECONDS_A_FORMULA = 60  # one in a line of its own, followed step by step
SECONDS_A_LINE = 8  # of code
SECONDS_A_FIGURE = 30  # a drawing, or what a cell draws
EXERCISES = re.compile(r"^## Exercises", re.MULTILINE)
FOLDED = re.compile(r"<details.*?</details>", re.DOTALL)
FORMULA = re.compile(r"\$\$.*?\$\$", re.DOTALL)
HIDDEN = {"hide-cell", "hide-input", "solution"}


@dataclass
class Reading:
    """What there is to read in a chapter, and how long it takes."""

    words: int = 0
    formulas: int = 0
    code_lines: int = 0
    cells: int = 0
    figures: int = 0  # that cells draw
    drawings: int = 0
    folded_words: int = 0

    @property
    def minutes(self) -> int:
        """Minutes to read, rounded up to five."""
        seconds = (60 * self.words / WORDS_A_MINUTE + SECONDS_A_FORMULA * self.formulas
                   + SECONDS_A_LINE * self.code_lines
                   + SECONDS_A_FIGURE * (self.figures + self.drawings))
        return 5 * -int(-seconds // 300)


def words_of(text: str) -> int:
    """Return the number of words of a text; a formula within a line counts as one."""
    text = re.sub(r"\$[^$]+\$", " x ", FORMULA.sub(" ", text))
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)|\]\([^)]*\)|<[^>]*>", " ", text)  # what is not to be read
    return len(re.findall(r"[^\W\d_][\w’'-]*", text))


def measure(chapter: Path) -> Reading:
    """Count what there is to read in a notebook above its exercises, and what is folded there."""
    read = Reading()
    for cell in notebooks.cells_of(chapter):
        source = cell.source
        if cell.cell_type == "markdown":
            if EXERCISES.search(source):
                break
            text = FOLDED.sub(" ", source)
            read.words += words_of(text)
            read.folded_words += words_of(source) - words_of(text)
            read.formulas += len(FORMULA.findall(text))
            read.drawings += text.count("![")
        elif HIDDEN.isdisjoint(notebooks.tags_of(cell)):
            read.cells += 1
            read.code_lines += sum(bool(line.strip()) for line in source.splitlines())
        if "image" in cell.metadata.get("mystnb", {}):
            read.figures += 1
    return read


def stated_minutes(chapter: Path) -> int | None:
    """Return the minutes that a chapter says it takes to read, or None if it says nothing."""
    found = re.search(r"\*\*Time\.\*\* (\d+) minutes to read", notebooks.text_of(chapter))
    return int(found[1]) if found else None


def main(names: list[str]) -> int:
    columns = [*vars(Reading()), "minutes"]
    print("| chapter |", " | ".join(column.replace("_", " ") for column in columns), "| stated |")
    print("| --- |", " | ".join(["---:"] * len(columns)), "| ---: |")
    for chapter in notebooks.in_order():
        if not names or chapter.stem in names:
            read = measure(chapter)
            print(f"| {chapter.stem} |", " | ".join(str(getattr(read, each)) for each in columns),
                  f"| {stated_minutes(chapter)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
