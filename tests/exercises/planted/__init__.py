"""Right and wrong answers to the exercises, a module for each chapter.

`PLANTED[name]` has a right answer as `base`, apart from the chapter's solution, which may be
written anew; right answers that are written differently; and wrong ones by what is wrong with them,
each with a phrase that the feedback must contain, or None where the mistake has no message of its
own. A cause that the feedback names must contain the phrase, so that no mistake is told the name of
another. An answer is the source of a cell, or a `swap` of parts of `base`.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Swap:
    """A right answer with parts of its text replaced."""

    pairs: tuple[tuple[str, str], ...]

    def source(self, base: str) -> str:
        for old, new in self.pairs:
            if old not in base:
                raise ValueError(f"the answer to be changed does not contain {old!r}")
            base = base.replace(old, new)
        return base


def swap(*texts: str) -> Swap:
    """swap(old, new, old, new, ...): every occurrence of each old text is replaced."""
    return Swap(tuple(zip(texts[::2], texts[1::2], strict=True)))


@dataclass(frozen=True)
class Planted:
    base: str
    right: list[str | Swap]
    wrong: dict[str, tuple[str | Swap, str | None]]
