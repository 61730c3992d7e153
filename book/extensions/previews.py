"""Let a link to an equation, a section or a term of the book show in a card what it leads to.

A page that is opened as a file may not read another page. So what the cards show stands in one
script, `_static/previews/data.js`: the TeX of each labelled equation, of each section its title and
its first sentence, and of each term the sentence that defines it. `previews.js` loads it when a
reader first stays on such a link.
"""

import json
import re
from collections.abc import Iterator
from html import escape
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

__all__ = ["DATA", "as_html", "previews_of", "sentences", "setup"]

DATA = "previews/data.js"
TAGS = {nodes.strong: "strong", nodes.emphasis: "em", nodes.literal: "code"}
# Where a sentence ends: not behind "e.g." nor an initial, and only before a capital or the end.
END = re.compile(r"(?<!\be\.g)(?<!\bi\.e)(?<!\bcf)(?<!\bal)(?<!\b[A-Z])[.?!][”’)]*"
                 r"(?=\s+[^a-z\s]|\s*$)")


# What a card shows ------------------------------------------------------------------------------


def as_html(node: nodes.Node) -> str:
    """Return running text as HTML without links: a card of this kind holds nothing to press."""
    if isinstance(node, nodes.Text):
        return escape(node.astext())
    if isinstance(node, nodes.math):
        return rf'<span class="math">\({escape(node.astext())}\)</span>'
    text = "".join(map(as_html, node.children))
    tag = next((tag for kind, tag in TAGS.items() if isinstance(node, kind)), None)
    return f"<{tag}>{text}</{tag}>" if tag else text


def displayed(tex: str) -> str:
    """Return the TeX of an equation as HTML; several lines are aligned as Sphinx does it."""
    if r"\\" in tex:
        tex = rf"\begin{{split}}{tex}\end{{split}}"
    return rf'<div class="math">\[{escape(tex)}\]</div>'


def sentences(paragraph: nodes.Element) -> list[tuple[str, list[nodes.Node]]]:
    """Return the sentences of a paragraph as HTML, each with the nodes in it that are no text.

    A sentence may end in the paragraph's text alone.
    """
    found: list[tuple[str, list[nodes.Node]]] = [("", [])]
    for child in paragraph.children:
        if not isinstance(child, nodes.Text):
            html, inside = found[-1]
            found[-1] = (html + as_html(child), [*inside, child])
            continue
        text, start = re.sub(r"\s+", " ", child.astext()), 0
        for end in END.finditer(text):
            html, inside = found[-1]
            found[-1] = (html + escape(text[start : end.end()]), inside)
            found.append(("", []))
            start = end.end() + len(" ")
        html, inside = found[-1]
        found[-1] = (html + escape(text[start:]), inside)
    return [each for each in found if each[0].strip()]


def defining(term: nodes.Element) -> str:
    """Return the sentence in which a term is in bold as HTML; "" if it is not in a paragraph."""
    if not isinstance(term.parent, nodes.paragraph):
        return ""
    return next(html for html, inside in sentences(term.parent) if term in inside)


def opening(section: nodes.Element) -> str:
    """Return the first sentence of a section, "" if it begins with no paragraph of its own."""
    for child in section.children:
        if isinstance(child, nodes.section):
            return ""
        if isinstance(child, nodes.paragraph) and child.astext().strip():
            return next((html for html, _ in sentences(child)), "")
    return ""


def previews_of(doctree: nodes.document) -> Iterator[tuple[str, str, str]]:
    """Yield (ID, title, content) of each section, labelled equation and defined term of a page.

    Title and content are HTML. The page itself has the ID "".
    """
    page = ""
    for section in doctree.findall(nodes.section):
        title = as_html(section[0])
        if not page:
            page = title
            yield "", title, opening(section)
        for name in section["ids"]:
            yield name, title, opening(section)
    for equation in doctree.findall(nodes.math_block):
        if label := equation.get("label"):
            name = nodes.make_id(f"equation-{label}")
            yield name, f"({escape(label)}) in {page}", displayed(equation.astext())
    for term in doctree.findall(nodes.strong):
        for name in term["ids"]:
            if text := defining(term):
                yield name, page, text


def collect(app: Sphinx, doctree: nodes.document) -> None:
    app.env.previews[app.env.docname] = {
        name: [title, content] for name, title, content in previews_of(doctree)}


def write(app: Sphinx, env: BuildEnvironment) -> None:
    """Write what the cards show; a file that has not changed stays as it is."""
    if app.builder.format != "html":
        return
    found = {}
    for docname, of_page in sorted(env.previews.items()):
        page = app.builder.get_target_uri(docname)
        found |= {f"{page}#{name}" if name else page: shown for name, shown in of_page.items()}
    path = Path(app.outdir, "_static", DATA)
    path.parent.mkdir(parents=True, exist_ok=True)
    script = f"previews.data = {json.dumps(found, ensure_ascii=False, indent=0)};\n"
    if not path.exists() or path.read_text(encoding="utf-8") != script:
        path.write_text(script, encoding="utf-8")


# What Sphinx keeps between builds ---------------------------------------------------------------


def prepare(app: Sphinx, env: BuildEnvironment, docnames: list[str]) -> None:
    if not hasattr(env, "previews"):
        env.previews = {}


def merge(app: Sphinx, env: BuildEnvironment, docnames: set[str],
          other: BuildEnvironment) -> None:
    """Take over what another process has read."""
    env.previews |= {name: other.previews[name] for name in docnames if name in other.previews}


def forget(app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    getattr(env, "previews", {}).pop(docname, None)


def setup(app: Sphinx) -> dict[str, bool | int]:
    app.connect("env-before-read-docs", prepare)
    app.connect("env-purge-doc", forget)
    app.connect("env-merge-info", merge)
    app.connect("doctree-read", collect, priority=600)  # when terms have IDs
    app.connect("env-updated", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True, "env_version": 2}
