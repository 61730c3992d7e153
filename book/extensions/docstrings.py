"""Let autodoc read the docstrings of the package, which are plain text rather than reST.

Napoleon knows their sections. Here characters that reST would take for markup are escaped outside
`code`, an indented paragraph becomes a block of code, and lines such as `name: text` with indented
continuations become a list; a field is described by the comment on its line. A name that a module
only passes on is described where it is defined.
"""

import inspect
import re
import sys
import textwrap

from numpy.typing import ArrayLike
from sphinx.application import Sphinx
from sphinx.util.typing import stringify_annotation

__all__ = ["comment_on", "rst", "setup"]

SECTION = re.compile(r"(Args|Returns|Raises|Yields|Examples?):$")
# `code`, or a character that would begin something; not the mark of an item.
MARKUP = re.compile(r"(``.+?``|`[^`]+`)|((?<!^)\*|[|\\]|(?<=\w)_(?!\w))", re.DOTALL | re.MULTILINE)

# What these two become once Python has evaluated them.
ARRAY_LIKE = stringify_annotation(ArrayLike, "smart")
NDARRAY = re.compile(r"~?numpy\.ndarray\[tuple\[~?typing\.Any, \.\.\.\], "
                     r"~?numpy\.dtype\[([^\[\]]+)\]\]")


def escaped(text: str) -> str:
    """Escape what reST would take for markup, but not in `code`."""
    return MARKUP.sub(lambda match: match[1] or f"\\{match[2]}", text)


def listed(block: str) -> str:
    """Return lines that have indented continuations as the items of a list, unless they are one."""
    if re.match(r"(\d+\.|\*) ", block):
        return block
    items = re.split(r"\n(?! )", block)
    return "\n\n".join("* " + re.sub(r"\n +", "\n  ", item) for item in items)


def rst(docstring: str) -> str:
    """Return a docstring as reST with the sections that Napoleon knows."""
    blocks, in_section = [], False
    for block in re.split(r"\n\s*\n", docstring.strip("\n")):
        indented = block.startswith(" ")
        in_section = bool(SECTION.match(block.partition("\n")[0])) or (in_section and indented)
        if in_section:
            blocks.append(escaped(block))
        elif indented:
            code = textwrap.indent(textwrap.dedent(block), "    ")
            blocks.append(f".. code-block:: text\n\n{code}")
        elif "\n " in block:
            blocks.append(listed(escaped(block)))
        else:
            blocks.append(escaped(block))
    return "\n\n".join(blocks) + "\n"


def comment_on(name: str) -> str:
    """Return the comment on the line of a field, `module.Class.field`, or ""."""
    owner, _, field = name.rpartition(".")
    module, _, class_name = owner.rpartition(".")
    source = inspect.getsource(getattr(sys.modules[module], class_name))
    match = re.search(rf"^ +{field}: [^#\n]*#:? *(.+)$", source, re.MULTILINE)
    return match[1] if match else ""


def process_docstring(app: Sphinx, what: str, name: str, obj: object, options: object,
                      lines: list[str]) -> None:
    text = "\n".join(lines)
    if what in ("attribute", "property") and (not text or text.startswith("Alias for field")):
        text = comment_on(name)
    lines[:] = rst(text).split("\n")


def process_signature(app: Sphinx, what: str, name: str, obj: object, options: object,
                      *signature: str | None) -> tuple[str | None, ...]:
    """Show NumPy's types by the names that the source has, and no default that is made anew."""
    return tuple(part and NDARRAY.sub(r"NDArray[\1]", part).replace(ARRAY_LIKE, "ArrayLike")
                 .replace("<factory>", "...") for part in signature)


def skip(app: Sphinx, what: str, name: str, obj: object, skipped: bool,
         options: object) -> bool | None:
    """Skip what a module has imported, though it is in its `__all__`."""
    module = app.env.temp_data.get("autodoc:module")
    if what == "module" and getattr(obj, "__module__", module) != module:
        return True
    return None


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", process_docstring, priority=400)  # before Napoleon
    app.connect("autodoc-process-signature", process_signature)
    app.connect("autodoc-skip-member", skip)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
