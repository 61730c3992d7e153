"""Right and wrong answers to the exercises, a module for each chapter.

`PLANTED[name]` has right answers written differently from the reference solution, and wrong ones
by what is wrong with them, each with a phrase that the feedback must contain, or None where the
mistake has no message of its own. A cause that the feedback names must contain the phrase, so that
no mistake is told the name of another. An answer is the source of a cell, or a `swap` of parts of
the reference solution.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Swap:
    """The reference solution with parts of its text replaced."""

    pairs: tuple[tuple[str, str], ...]

    def source(self, reference: str) -> str:
        for old, new in self.pairs:
            if old not in reference:
                raise ValueError(f"the reference solution does not contain {old!r}")
            reference = reference.replace(old, new)
        return reference


def swap(*texts: str) -> Swap:
    """swap(old, new, old, new, ...): every occurrence of each old text is replaced."""
    return Swap(tuple(zip(texts[::2], texts[1::2], strict=True)))


@dataclass(frozen=True)
class Planted:
    right: list[str | Swap]
    wrong: dict[str, tuple[str | Swap, str | None]]
