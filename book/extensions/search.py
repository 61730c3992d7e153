"""Search without a server: the texts of the book as a script, which works from a folder of files.

Sphinx's search fetches each page that it found, to show an excerpt; a page opened as a file may not
fetch. Here the build writes the texts of all sections, formulas in words, into one script, which
only the page `search.html` loads; `book/static/search.js` looks through them. Besides sections,
what one searches by name has a place of its own: equations by their ID, terms where they are
defined, and the functions and classes of the API.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

sys.path.append(str(Path(__file__).resolve().parent.parent))  # book/
import tex_text

__all__ = ["SCRIPT", "Place", "places", "setup"]

SCRIPT = "search_texts.js"
# What is no text to find: markup, pictures, and what cells print.
SKIPPED = (nodes.raw, nodes.comment, nodes.image, nodes.target, nodes.substitution_definition)
INLINE = (nodes.TextElement, nodes.Text)


class Place(NamedTuple):
    """Something to find: of which kind, its title, its anchor in the page, its text, its code."""

    kind: str
    title: str
    anchor: str
    text: str
    code: str = ""


def is_code(node: nodes.Node) -> bool:
    return isinstance(node, nodes.container) and "cell_input" in node.get("classes", ())


def is_output(node: nodes.Node) -> bool:
    return isinstance(node, nodes.container) and "cell_output" in node.get("classes", ())


def pieces(node: nodes.Node) -> Iterator[str]:
    """Yield the text of a node, formulas in words; without its sections, code and descriptions."""
    if isinstance(node, nodes.Text):
        yield node.astext()
    elif isinstance(node, nodes.math | nodes.math_block):
        formula, label = tex_text.in_words(node.astext()), node.get("label")
        inline = isinstance(node, nodes.math)
        yield formula if inline else f" {formula} {f'({label}) ' if label else ''}"
    elif not isinstance(node, (*SKIPPED, nodes.section, addnodes.desc)) and not (
            is_code(node) or is_output(node)):
        for child in node.children:
            if not isinstance(child, nodes.title):
                yield from pieces(child)
        if not isinstance(node, nodes.Inline):
            yield " "


def text_of(*found: nodes.Node) -> str:
    """Return the text of nodes in one line."""
    return " ".join("".join(piece for node in found for piece in pieces(node)).split())


def code_of(section: nodes.section) -> str:
    """Return the code of a section's own cells, but for solutions."""
    return " ".join(" ".join(
        cell.astext() for cell in section.findall(is_code)
        if next_section(cell) is section and "tag_solution" not in cell.parent["classes"]).split())


def next_section(node: nodes.Node) -> nodes.Node | None:
    """Return the section that a node belongs to."""
    while node is not None and not isinstance(node, nodes.section):
        node = node.parent
    return node


def places(doctree: nodes.document) -> list[Place]:
    """Return what can be found in a page, in its order."""
    found = []
    for section in doctree.findall(nodes.section):
        title, *content = section.children
        anchor = "" if section.parent is doctree else section["ids"][0]
        found.append(Place("section", text_of(*title.children), anchor, text_of(*content),
                           code_of(section)))
    for equation in doctree.findall(nodes.math_block):
        if label := equation.get("label"):
            found.append(Place("equation", f"Equation ({label})",
                               nodes.make_id(f"equation-{label}"), text_of(equation)))
    for strong in doctree.findall(nodes.strong):
        names = [name for name in strong["ids"] if name.startswith("term-")]
        if names:
            found.append(Place("term", strong.astext(), names[0], text_of(strong.parent)))
    for description in doctree.findall(addnodes.desc):
        signature = description.next_node(addnodes.desc_signature)
        if signature is not None and signature["ids"]:
            content = description.next_node(addnodes.desc_content)
            found.append(Place("api", signature["ids"][0], signature["ids"][0],
                               text_of(*(content.children if content else []))))
    return found


def keep(app: Sphinx, doctree: nodes.document) -> None:
    """Keep what can be found in a page until all pages are read."""
    app.env.search_places[app.env.docname] = places(doctree)


def texts(env: BuildEnvironment) -> list[list]:
    """Return address, title and places of each page in the order of the book.

    Of the words in bold only those that the index of terms lists are places.
    """
    terms = "chapters/appendix/terms"
    listed = {" ".join(item.astext().replace("’", "'").lower().split())
              for item in (env.get_doctree(terms).findall(nodes.list_item)
                           if terms in env.found_docs else [])}
    order = [name for name in env.collect_relations() if name in env.search_places]
    pages = []
    for name in order:
        number = ".".join(map(str, env.toc_secnumbers.get(name, {}).get("", ())))
        title = text_of(env.titles[name])
        kept = [list(place) for place in env.search_places[name] if place.kind != "term"
                or " ".join(place.title.replace("’", "'").lower().split()) in listed]
        pages.append([env.app.builder.get_target_uri(name),
                      f"{number}. {title}" if number else title, kept])
    return pages


def write(app: Sphinx, failure: Exception | None) -> None:
    """Write the script beside the pages."""
    if failure or app.builder.format != "html":
        return
    values = json.dumps(texts(app.env), ensure_ascii=False, separators=(",", ":"))
    Path(app.outdir, SCRIPT).write_text(f"const bookTexts = {values};\n", encoding="utf-8")


# What Sphinx keeps between builds, and what it no longer makes ---------------------------------


def prepare(app: Sphinx, env: BuildEnvironment, docnames: list[str]) -> None:
    if not hasattr(env, "search_places"):
        env.search_places = {}


def merge(app: Sphinx, env: BuildEnvironment, docnames: set[str],
          other: BuildEnvironment) -> None:
    """Take over what another process has read."""
    env.search_places |= {name: other.search_places[name] for name in docnames
                          if name in other.search_places}


def forget(app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    getattr(env, "search_places", {}).pop(docname, None)


def replace_sphinx_search(app: Sphinx) -> None:
    """Let the template `search.html` of the book be the search, without an index by Sphinx."""
    if app.builder.format == "html":
        app.builder.search = False
        app.config.html_additional_pages = app.config.html_additional_pages | {
            "search": "search.html"}


def setup(app: Sphinx) -> dict[str, bool | int]:
    app.connect("builder-inited", replace_sphinx_search)
    app.connect("env-before-read-docs", prepare)
    app.connect("env-purge-doc", forget)
    app.connect("env-merge-info", merge)
    app.connect("doctree-read", keep, priority=700)  # after the labels of equations, and the terms
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True, "env_version": 1}
