"""Link each author–year citation to its entry in the bibliography, with the entry in a card.

A chapter cites as `Kingma and Welling (2014)` or, within parentheses, as `(Kaufman 1949)`, which
JupyterLab and Colab show as it is; docstrings do the same. In the book both are links to an entry,
and `citations.js` shows the entry in a card while the pointer or the focus is on the link. Each
entry says which pages cite it. A citation that is not that of exactly one entry is a warning; how
one cites, and how an entry begins, is in `author_year.py`.
"""

import html
import re
from collections.abc import Iterator

import author_year
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

logger = logging.getLogger(__name__)
__all__ = ["BIBLIOGRAPHY", "setup"]

BIBLIOGRAPHY = "chapters/appendix/bibliography"

NOT_RUNNING_TEXT = (nodes.literal, nodes.literal_block, nodes.title, nodes.reference, nodes.math,
                    nodes.math_block, nodes.raw, nodes.comment, nodes.pending,
                    addnodes.pending_xref, addnodes.desc_signature)


# Pages as they are read -------------------------------------------------------------------------


class cited(nodes.inline):
    """A citation in a page, until all pages have been read; its attribute is `citation`."""


def shown(node: nodes.Node) -> str:
    """Return the text of an entry as HTML, without links: a card holds nothing to press."""
    if isinstance(node, nodes.Text):
        return html.escape(node.astext())
    tag = {nodes.strong: "strong", nodes.emphasis: "em"}.get(type(node))
    text = "".join(map(shown, node.children))
    return f"<{tag}>{text}</{tag}>" if tag else text


def read_entries(env: BuildEnvironment, doctree: nodes.document) -> None:
    """Give each entry of the bibliography its ID, and keep what it says."""
    env.bibliography = {}
    for item in doctree.findall(nodes.list_item):
        heading = next(item.findall(nodes.strong), nodes.strong()).astext()
        entry = author_year.parse(heading)
        if entry is None:
            logger.warning("an entry must begin with **Surname, I. and Surname, I. (year).**, "
                           "got %r", heading, location=item, type="citations", subtype="entry")
        elif entry.key in env.bibliography:
            logger.warning("two entries are %s: mark the years as in 2014a and 2014b", entry.key,
                           location=item, type="citations", subtype="entry")
        else:
            env.bibliography[entry.key] = entry._replace(card=shown(item))
            item["ids"].append(entry.key)
            item["classes"].append("bibliography-entry")


def join_lines(doctree: nodes.document) -> None:
    """Make the lines of a paragraph one text: MyST gives one for each, and one for each break."""
    for element in list(doctree.findall(nodes.TextElement)):
        joined: list[nodes.Node] = []
        for child in element.children:
            if isinstance(child, nodes.Text) and joined and isinstance(joined[-1], nodes.Text):
                joined[-1] = nodes.Text(joined[-1] + child)
            else:
                joined.append(child)
        element[:] = joined


def blocks(doctree: nodes.document) -> Iterator[list[tuple[nodes.Text, bool]]]:
    """Yield the texts of each paragraph, each with whether it is running text."""
    found: dict[int, list[tuple[nodes.Text, bool]]] = {}
    for text in doctree.findall(nodes.Text):
        ancestor, block, running = text.parent, None, True
        while ancestor is not None:
            running &= not isinstance(ancestor, NOT_RUNNING_TEXT)
            if block is None and not isinstance(ancestor, nodes.Inline):
                block = ancestor
            ancestor = ancestor.parent
        found.setdefault(id(block), []).append((text, running))
    yield from found.values()


def mark(env: BuildEnvironment, doctree: nodes.document) -> None:
    """Mark the citations in the running text of a page."""
    join_lines(doctree)
    for block in blocks(doctree):
        whole = "".join(text if running else "\0" * len(text) for text, running in block)
        whole = re.sub(r"\s", " ", whole)
        citations = list(author_year.find(whole))
        start = 0
        for text, _ in block:
            end = start + len(text)
            parts: list[nodes.Node] = []
            done = 0
            for each in citations:
                if start <= each.start < end < each.end:
                    logger.warning("a citation must be plain text, got %r",
                                   whole[each.start : each.end], location=text.parent,
                                   type="citations", subtype="markup")
                elif start <= each.start < end:
                    first, last = each.start - start, each.end - start
                    parts += [nodes.Text(text[done:first]),
                              cited("", text[first:last], citation=each)]
                    done = last
            if parts:
                text.parent.replace(text, [*parts, nodes.Text(text[done:])])
            start = end
    env.citations[env.docname] = [node["citation"] for node in doctree.findall(cited)]


def read(app: Sphinx, doctree: nodes.document) -> None:
    if app.env.docname == BIBLIOGRAPHY:
        read_entries(app.env, doctree)
    else:
        mark(app.env, doctree)


# Pages as they are written ----------------------------------------------------------------------


def link(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Turn each citation into a link to its entry; in a book without bibliography, into text."""
    for node in list(doctree.findall(cited)):
        citation = node["citation"]
        meant = [e for e in app.env.bibliography.values() if e.is_meant_by(citation)]
        if len(meant) == 1:
            uri = app.builder.get_relative_uri(docname, BIBLIOGRAPHY) + "#" + meant[0].key
            node.replace_self(nodes.reference("", node.astext(), internal=True, refuri=uri,
                                              classes=["citation"], citation=meant[0].key))
            continue
        if BIBLIOGRAPHY in app.env.found_docs:
            logger.warning("a citation must be that of one entry of the bibliography, got %r: %s",
                           str(citation), ", ".join(e.key for e in meant) or "there is none",
                           location=node, type="citations", subtype="entry")
        node.replace_self(node.children)
    places: dict[str, nodes.Element] = {}
    for reference in doctree.findall(nodes.reference):
        key = reference.get("citation")
        if key and places.setdefault(key, reference) is reference:
            reference["ids"].append(f"cites-{key}")


def add_places(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Let each entry of the bibliography link to the pages that cite it, in the book's order."""
    if docname != BIBLIOGRAPHY:
        return
    order = [name for name in app.env.collect_relations() if name in app.env.citations]
    for item in doctree.findall(nodes.list_item):
        key = next((each for each in item["ids"] if each in app.env.bibliography), None)
        pages = [name for name in order if key is not None and any(
            app.env.bibliography[key].is_meant_by(each) for each in app.env.citations[name])]
        paragraph = nodes.paragraph("", "Cited in ", classes=["cited-in"])
        for number, name in enumerate(pages):
            uri = f"{app.builder.get_relative_uri(docname, name)}#cites-{key}"
            paragraph += [nodes.Text(", " * (number > 0)), nodes.reference(
                "", app.env.titles[name].astext(), internal=True, refuri=uri)]
        if pages:
            item += paragraph


def add_cards(app: Sphinx, docname: str, template: str, context: dict,
              doctree: nodes.document | None) -> None:
    """Put the entries that a page cites at its end, hidden: outside what the search reads."""
    if doctree is None:
        return
    keys = dict.fromkeys(node["citation"] for node in doctree.findall(nodes.reference)
                         if "citation" in node)
    context["body"] += "".join(
        f'<div class="hover-card citation-card" role="tooltip" id="card-{key}" hidden>'
        f"{app.env.bibliography[key].card}</div>\n" for key in keys)


# What Sphinx keeps between builds ---------------------------------------------------------------


def prepare(app: Sphinx, env: BuildEnvironment, docnames: list[str]) -> None:
    """Read the bibliography again with each page, and every page again with the bibliography."""
    for name in ("bibliography", "citations"):
        if not hasattr(env, name):
            setattr(env, name, {})
    if BIBLIOGRAPHY in docnames:
        docnames[:] = sorted(env.found_docs)
    elif docnames and BIBLIOGRAPHY in env.found_docs:
        docnames.append(BIBLIOGRAPHY)


def merge(app: Sphinx, env: BuildEnvironment, docnames: set[str],
          other: BuildEnvironment) -> None:
    """Take over what another process has read."""
    if BIBLIOGRAPHY in docnames:
        env.bibliography = other.bibliography
    env.citations |= {name: other.citations[name] for name in docnames if name in other.citations}


def forget(app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    getattr(env, "citations", {}).pop(docname, None)


def setup(app: Sphinx) -> dict[str, bool | int]:
    app.add_node(cited)
    app.connect("env-before-read-docs", prepare)
    app.connect("env-purge-doc", forget)
    app.connect("env-merge-info", merge)
    app.connect("doctree-read", read)
    app.connect("doctree-resolved", link)
    app.connect("doctree-resolved", add_places)
    app.connect("html-page-context", add_cards)
    return {"parallel_read_safe": True, "parallel_write_safe": True, "env_version": 1}
