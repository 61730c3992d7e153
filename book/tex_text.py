"""Formulas in words: what a search, or a line that describes a page, shows instead of TeX.

`\\log p(\\mathbf x) \\ge \\sigma^2` becomes `log p(x) ≥ σ²`: pylatexenc reads the TeX; bold and
script letters become plain ones, which a reader can type; powers and indices, small figures.
"""

import re
import unicodedata
from functools import cache

from pylatexenc import latexwalker
from pylatexenc.latex2text import (
    LatexNodes2Text,
    MacroTextSpec,
    get_default_latex_context_db,
)
from pylatexenc.macrospec import LatexContextDb, MacroSpec

__all__ = ["in_words"]

FUNCTIONS = ("log|ln|exp|sin|cos|tan|cot|sinh|cosh|tanh|coth|det|min|max|lim|liminf|arg|arctan|"
             "Pr|sup|inf")
SUPERSCRIPTS = str.maketrans("0123456789+-−", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻")
SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
NORMS = ("Vert", "lVert", "rVert")
COMPOUND = re.compile(r"[-+±−=\s/]")


def bracketed(text: str) -> str:
    """Return a numerator or denominator, in brackets where it has more than one part."""
    text = text.strip()
    whole = text.startswith("(") and text.endswith(")") and ")" not in text[1:-1]
    return f"({text})" if COMPOUND.search(text) and not whole else text


def fraction(node: object, l2tobj: LatexNodes2Text) -> str:
    above, below = (l2tobj.nodelist_to_text([each]) for each in node.nodeargd.argnlist[-2:])
    return f"{bracketed(above)}/{bracketed(below)} "


def grouped(script: re.Match[str]) -> str:
    """Keep an index or a power of several parts together by brackets."""
    sign, content = script[1], script[2].strip()
    single = r"-?\d+|\w|\\[A-Za-z]+( ?\w)?" + ("|[A-Za-z]+" if sign == "_" else "")
    inner = content if re.fullmatch(single, content) else f"({content})"
    return f"{sign}{{{inner}}}"


def contexts() -> tuple[LatexContextDb, LatexContextDb]:
    """Return what pylatexenc has to know: how macros are read, and how they are written."""
    read, write = latexwalker.get_default_latex_context_db(), get_default_latex_context_db()
    read.add_context_category("book", prepend=True, macros=[
        *(MacroSpec(name, "{{") for name in ("frac", "tfrac", "dfrac")),
        *(MacroSpec(name, "") for name in ("|", "vert", "lvert", "rvert", *NORMS))])
    write.add_context_category("book", prepend=True, macros=[
        *(MacroTextSpec(name, simplify_repl=fraction) for name in ("frac", "tfrac", "dfrac")),
        *(MacroTextSpec(name, "‖") for name in ("|", *NORMS)),
        *(MacroTextSpec(name, "|") for name in ("vert", "lvert", "rvert"))])
    return read, write


READ, WRITE = contexts()
WRITER = LatexNodes2Text(latex_context=WRITE, math_mode="text", strict_latex_spaces=False)


def plain(character: str) -> str:
    """Return the plain letter for one that is bold, in script or blackboard bold."""
    mathematical = 0x1D400 <= ord(character) <= 0x1D7FF or character in "ℒℋℰℱℬℐℳℛℝℕℤℂℙℚℓ"
    return unicodedata.normalize("NFKC", character) if mathematical else character


@cache
def in_words(tex: str) -> str:
    """Return a formula in TeX as text with Unicode's signs, in one line."""
    tex = re.sub(r"\\(label|tag)\{[^}]*\}|\\(left|right|middle|[bB]ig+[lrm]?)(?![A-Za-z])\s*\.?",
                 "", tex)
    tex = re.sub(r"\\q?quad(?![A-Za-z])|\\[,;:! ]|\\\\(\[[^]]*\])?", " ", tex)
    tex = re.sub(rf"\\({FUNCTIONS})(?![A-Za-z])", r"{\\text{ \1 }}", tex)
    tex = re.sub(r"([_^])\{([^{}]*)\}", grouped, tex)
    parsed, *_ = latexwalker.LatexWalker(tex, latex_context=READ).get_latex_nodes()
    text = "".join(map(plain, WRITER.nodelist_to_text(parsed)))
    text = re.sub(r"\s*([=<>≤≥≈≠∼∝→←⇒≪≫±])\s*", r" \1 ", text)
    text = re.sub(r"\^(-?\d+)", lambda power: power[1].translate(SUPERSCRIPTS), text)
    text = re.sub(r"_(\d+)", lambda index: index[1].translate(SUBSCRIPTS), text)
    text = re.sub(r"\s+([_^)\],.;⟩₀-₉])", r"\1", re.sub(r"([(\[⟨])\s+", r"\1", text))
    return " ".join(text.split())
