"""The index of terms: each item of its list gets links to where the chapters define the term.

A chapter has a term in bold where it defines it, which JupyterLab and Colab show too. The page
`chapters/appendix/terms.md` lists the terms; one that no chapter has in bold is a warning.
"""

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

logger = logging.getLogger(__name__)
__all__ = ["TERMS", "normal", "setup"]

TERMS = "chapters/appendix/terms"
API = "chapters/appendix/api"  # has the names of arguments in bold


def normal(text: str) -> str:
    """Return a term as it is compared: small letters, straight apostrophes, spaces for hyphens."""
    return " ".join(text.replace("’", "'").replace("-", " ").lower().split())


def mark(app: Sphinx, doctree: nodes.document) -> None:
    """Give an ID to each text in bold, the first time that a page has it."""
    if app.env.docname == TERMS:
        return
    found = app.env.terms[app.env.docname] = {}
    for strong in doctree.findall(nodes.strong):
        term = normal(strong.astext())
        name = nodes.make_id(f"term-{term}")
        if term not in found and not term.endswith((".", ":", "?")) and name not in found.values():
            found[term] = name
            strong["ids"].append(name)


def add_places(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Let each term of the list link to the chapters that define it, in the order of the book."""
    if docname != TERMS:
        return
    order = [name for name in app.env.collect_relations() if name in app.env.terms and name != API]
    for item in doctree.findall(nodes.list_item):
        term = normal(item.astext())
        pages = [name for name in order if term in app.env.terms[name]]
        if not pages:
            logger.warning("a term must be in bold where a chapter defines it, got %r", term,
                           location=item, type="terms", subtype="missing")
        for number, name in enumerate(pages):
            uri = app.builder.get_relative_uri(docname, name) + "#" + app.env.terms[name][term]
            link = nodes.reference("", app.env.titles[name].astext(), internal=True, refuri=uri)
            item[0] += [nodes.Text(", " if number else ": "), link]


# What Sphinx keeps between builds ---------------------------------------------------------------


def prepare(app: Sphinx, env: BuildEnvironment, docnames: list[str]) -> None:
    """Read the list again with each page."""
    if not hasattr(env, "terms"):
        env.terms = {}
    if docnames and TERMS in env.found_docs and TERMS not in docnames:
        docnames.append(TERMS)


def merge(app: Sphinx, env: BuildEnvironment, docnames: set[str],
          other: BuildEnvironment) -> None:
    """Take over what another process has read."""
    env.terms |= {name: other.terms[name] for name in docnames if name in other.terms}


def forget(app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    getattr(env, "terms", {}).pop(docname, None)


def setup(app: Sphinx) -> dict[str, bool | int]:
    app.connect("env-before-read-docs", prepare)
    app.connect("env-purge-doc", forget)
    app.connect("env-merge-info", merge)
    app.connect("doctree-read", mark)
    app.connect("doctree-resolved", add_places)
    return {"parallel_read_safe": True, "parallel_write_safe": True, "env_version": 1}
