"""How a text cites: `Kingma and Welling (2014)` or, within parentheses, `(Kaufman 1949)`.

The bibliography has an item of a list for each work, which begins with
`**Kingma, D. P. and Welling, M. (2014).**`.
"""

import calendar
import re
from collections.abc import Iterator
from typing import NamedTuple

from docutils.nodes import make_id

__all__ = ["Citation", "Entry", "find", "parse"]

CAPITAL = "[A-ZÀ-ÖØ-ÞČĐŁŘŚŠŻŽ]"
FIRST_WORDS = "van|von|de|den|der|di|la|le|Del|Marsh"  # of surnames of several words
NAME = rf"(?:(?:{FIRST_WORDS})\s+)*{CAPITAL}[\w’'-]*\w"
YEAR = r"(?:18|19|20)\d\d[a-z]?"
CITATION = re.compile(
    rf"(?<![\w-])(?P<authors>{NAME}(?:(?:,\s+and|,|\s+and|\s+&)\s+{NAME})*)"
    rf"(?P<et_al>\s+et\s+al\.(?:['’]s)?)?(?P<comma>,?)\s+(?P<opened>\(?)"
    rf"(?P<years>{YEAR}(?:,\s+{YEAR})*)(?!\w|[-–]\d)")
MONTHS = frozenset(calendar.month_name[1:])

ENTRY = re.compile(rf"(?P<authors>.+) \((?P<year>{YEAR})\)\.")
INITIALS = re.compile(r", (?:[^\W\d_]\.[- ]?)+(?:, | and |$)")


class Citation(NamedTuple):
    """What a text cites, and where: the surnames, whether `et al.` follows, the year."""

    names: tuple[str, ...]
    et_al: bool
    year: str
    start: int = 0
    end: int = 0
    comma: bool = False  # before the year

    def __str__(self) -> str:
        return f"{', '.join(self.names)}{' et al.' * self.et_al} {self.year}"


class Entry(NamedTuple):
    """An entry of the bibliography: its surnames, its year, and its text as HTML."""

    names: tuple[str, ...]
    year: str
    card: str = ""

    @property
    def key(self) -> str:
        """Its ID on the page: two surnames at most, and the year."""
        return make_id("-".join([*self.names[:2], self.year]))

    def is_meant_by(self, citation: Citation) -> bool:
        """Whether it has this year and these surnames; `et al.` is the rest of three or more."""
        named = self.names[: len(citation.names)] if citation.et_al else self.names
        short = len(named) < len(self.names) and len(self.names) > 2
        return (self.year == citation.year and named == citation.names
                and short == citation.et_al)


def find(text: str) -> Iterator[Citation]:
    """Yield the citations in a text, which has line breaks as spaces.

    `Name (year)` is one, and so is `Name year` or `Name, year` within parentheses or if the names
    are several; a month is no name.
    """
    for match in CITATION.finditer(text):
        names = tuple(re.sub(r"['’]s$", "", " ".join(name.split())) for name in
                      re.findall(NAME, match["authors"]))
        before = text[: match.start()]
        inside = before.count("(") > before.count(")")
        several = len(names) > 1 or bool(match["et_al"])
        if names[-1] in MONTHS or not (match["opened"] or inside or several):
            continue
        start = match.start()
        for year in re.finditer(YEAR, match["years"]):
            end = match.start("years") + year.end()
            closed = match["opened"] and text[end : end + 1] == ")"
            yield Citation(names, bool(match["et_al"]), year[0], start, end + bool(closed),
                           bool(match["comma"]))
            start = end + len(", ")


def parse(heading: str) -> Entry | None:
    """Return the entry that begins with `Surname, I. and Surname, I. (year).`, if it does so."""
    match = ENTRY.fullmatch(heading)
    *names, rest = INITIALS.split(match["authors"]) if match else [heading]
    return Entry(tuple(names), match["year"]) if match and names and not rest else None
