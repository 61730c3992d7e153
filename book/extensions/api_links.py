"""Names of the package lead to their entry on the API page: in prose, and in the cells.

What a name means is read from the imports of the page's own cells; nothing is executed. In prose
`diffusion.ddim` is a link where the chapter imports `diffusion`; a name without a module is one if
the chapter imports it, or if it is the only function or class of that name and no cell uses the
name for something else. A name that begins with a module of the package and is not one of its
public names is a warning. In the cells the first use of a name is in the order of the Tab key, the
others are for the pointer.
"""

import ast
import re
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util import logging

sys.path.append(str(Path(__file__).resolve().parent.parent))  # book/
import dependencies
import notebooks

logger = logging.getLogger(__name__)
__all__ = ["Names", "linked_code", "names_in", "passed_on", "setup"]

API = "chapters/appendix/api"
PACKAGE = "genmodels"
NAME = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*(?:\(\))?")
# As Pygments writes a name, one of its attributes, and a module in an import.
DOT = '<span class="o">.</span>'
SPAN = r'<span class="n[a-z]?">[A-Za-z_]\w*</span>'
CHAIN = re.compile(rf'(?<!{re.escape(DOT)}){SPAN}(?:{re.escape(DOT)}{SPAN})*'
                   rf'(?![\w<]*<span class="o">=</span>)|<span class="nn">[\w.]+</span>')
BLOCK = re.compile(r'(?<=<div class="highlight"><pre>).*?(?=</pre></div>)', re.DOTALL)
TAG = re.compile(r"<[^>]+>")
DEFINED = {"function", "class", "exception"}


class Names(NamedTuple):
    """The names of a page: what it imports from the package, by full name, and what it defines."""

    imported: dict[str, str]
    own: set[str]


def names_in(chapter: Path) -> Names:
    """Return the names in the cells of a chapter."""
    imported, own = {}, set()
    for cell in notebooks.code_cells(chapter):
        for node in ast.walk(notebooks.python_of(cell.source)):
            if isinstance(node, ast.Import):
                imported |= {each.asname: each.name for each in node.names
                             if each.asname and each.name.startswith(f"{PACKAGE}.")}
            elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == PACKAGE:
                imported |= {each.asname or each.name: f"{node.module}.{each.name}"
                             for each in node.names}
            elif isinstance(node, ast.FunctionDef | ast.ClassDef):
                own.add(node.name)
            elif isinstance(node, ast.arg | ast.keyword) and node.arg:
                own.add(node.arg)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                own.add(node.id)
    # A keyword is no other meaning of an imported function, an assignment is.
    return Names(imported, own)


@cache
def passed_on() -> dict[str, str]:
    """Return what modules of the package import from each other, by the name that they give it."""
    found = {}
    for module, path in dependencies.Package().files.items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE):
                found |= {f"{module}.{each.asname or each.name}": f"{node.module}.{each.name}"
                          for each in node.names}
    return found


def defined_as(full: str) -> str:
    """Return the full name by which something is described: that of where it is defined."""
    elsewhere = passed_on()
    parts = full.split(".")
    for end in range(len(parts), 0, -1):
        head = ".".join(parts[:end])
        if head in elsewhere:
            return defined_as(".".join([elsewhere[head], *parts[end:]]))
    return full


def full_name(text: str, names: Names, kinds: Mapping[str, str]) -> tuple[str | None, bool]:
    """Return the full name that a text in prose means, or None; and whether that must exist.

    Args:
        text: as `diffusion.ddim` or `fit()`.
        names: those of the page.
        kinds: what each full name of the API is, such as "function".
    """
    text = text.removesuffix("()")
    head, _, rest = text.partition(".")
    if head == PACKAGE:
        return defined_as(text), bool(rest)
    if head in names.imported and head not in names.own:
        full = defined_as(f"{names.imported[head]}{'.' if rest else ''}{rest}")
        return full, bool(rest) and kinds.get(defined_as(names.imported[head])) == "module"
    telling = "_" in text or text != text.lower()
    if rest or not telling or text in names.own:
        return None, False
    same = [full for full, kind in kinds.items()
            if kind in DEFINED and full.rpartition(".")[2] == text]
    return (same[0] if len(same) == 1 else None), False


def linked_code(html: str, names: Names, address: Callable[[str], str | None]) -> str:
    """Return the HTML of a page with links at the names in its cells.

    Args:
        html: the body of the page.
        names: those of the page.
        address: returns the address of the entry of a full name, or None if there is none.
    """
    seen = set()

    def link(match: re.Match[str]) -> str:
        text = TAG.sub("", match[0])
        head, _, rest = text.partition(".")
        if head == PACKAGE and rest:
            found = address(defined_as(text))
        elif head in names.imported:
            found = address(defined_as(f"{names.imported[head]}{'.' if rest else ''}{rest}"))
            if not found and "." in rest:  # an attribute of something that is described
                start, last = match[0].rsplit(DOT, 1)
                shorter = CHAIN.fullmatch(start)
                return f"{link(shorter)}{DOT}{last}" if shorter else match[0]
        else:
            found = None
        if not found:
            return match[0]
        tab = ' tabindex="-1"' if found in seen else ""
        seen.add(found)
        return f'<a class="api-link" href="{found}"{tab}>{match[0]}</a>'

    return BLOCK.sub(lambda block: CHAIN.sub(link, block[0]), html)


# In Sphinx ---------------------------------------------------------------------------------------


def names_of(docname: str) -> Names:
    """Return the names of a page; a page that is no notebook imports nothing."""
    path = notebooks.ROOT / f"{docname}.ipynb"
    return names_in(path) if path.exists() else Names({}, set())


def address_from(app: Sphinx, docname: str) -> Callable[[str], str | None]:
    objects = app.env.get_domain("py").objects
    page = app.builder.get_relative_uri(docname, API) if API in app.env.found_docs else ""
    return lambda full: f"{page}#{objects[full].node_id}" if full in objects else None


def link_prose(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Turn the names in prose into links, each once in a section."""
    objects = app.env.get_domain("py").objects
    if app.builder.format != "html" or API not in app.env.found_docs or docname == API:
        return
    names, address = names_of(docname), address_from(app, docname)
    kinds = {full: entry.objtype for full, entry in objects.items()}
    seen = set()
    for literal in list(doctree.findall(nodes.literal)):
        text = literal.astext()
        inside = literal.parent
        if not NAME.fullmatch(text) or isinstance(inside, nodes.reference | addnodes.pending_xref):
            continue
        while inside is not None and not isinstance(inside, nodes.section | nodes.title):
            inside = inside.parent
        full, required = full_name(text, names, kinds)
        found = full and address(full)
        if required and not found:
            logger.warning("%r must be a public name of %s, got no entry %r on the API page", text,
                           PACKAGE, full, location=literal, type="api_links", subtype="missing")
        if not found or isinstance(inside, nodes.title) or (inside, full) in seen:
            continue
        seen.add((inside, full))
        link = nodes.reference("", "", internal=True, refuri=found, classes=["api-link"])
        literal.parent.replace(literal, link)
        link += literal


def link_code(app: Sphinx, pagename: str, templatename: str, context: dict[str, object],
              doctree: nodes.document | None) -> None:
    if doctree is None or app.builder.format != "html" or API not in app.env.found_docs:
        return
    names = names_of(pagename)
    if names.imported:
        context["body"] = linked_code(context["body"], names, address_from(app, pagename))


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("doctree-resolved", link_prose)
    app.connect("html-page-context", link_code)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
