"""What a page says of itself to browsers, search engines and whoever shares its address.

Each page gets a description: what a chapter teaches, or the first sentence of another page. Where
the address of the published pages is set (`baseurl` in `html` of `_config.yml`), each also gets its
full address and the picture `book/static/social.png`, and the folder a `sitemap.xml`. Links of the
page `404.html` have to work from whatever address was asked for, so it names its folder itself.
"""

from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from docutils import nodes
from search import text_of
from sphinx.application import Sphinx

__all__ = ["base_of_404", "description", "front_page", "metatags", "setup", "shortened", "sitemap"]

LONGEST = 200  # characters of a description: about what a search engine shows
TEACHES = "What you will be able to do."
PICTURE = "_static/social.png"
# Pages that are made from no text.
OTHERS = {
    "search": "Search the whole course: words, identities by their ID, functions and classes.",
    "genindex": "All functions and classes of the package genmodels, in alphabetical order.",
    "404": "There is no page at this address: search the course, or go to its contents.",
}
UNLISTED = ("search", "404")  # what no search engine has to list


def shortened(text: str) -> str:
    """Return whole sentences of a text, or else words, of `LONGEST` characters at the most."""
    if len(text) <= LONGEST:
        return text
    end = max(text.rfind(mark, 0, LONGEST) for mark in (". ", "? ", "; "))
    if end > LONGEST // 3:
        return text[:end].rstrip(";.?") + text[end].replace(";", ".")
    return text[:text.rfind(" ", 0, LONGEST - 1)].rstrip(",;:–") + " …"


def description(doctree: nodes.document) -> str:
    """Return what a chapter teaches, or else the first paragraph with a whole sentence."""
    texts = [text_of(each) for each in doctree.findall(nodes.paragraph)]
    for text in texts:
        if text.startswith(TEACHES):
            return shortened(text.removeprefix(TEACHES).strip())
    return shortened(next((text for text in texts if text.endswith((".", ":"))), ""))


def metatags(title: str, about: str, site: str, address: str, picture: str) -> str:
    """Return the elements for the head of a page; without an address, those that need none."""
    named = [("name", "description", about), ("property", "og:type", "website"),
             ("property", "og:site_name", site), ("property", "og:title", title),
             ("property", "og:description", about)]
    if address:
        named += [("property", "og:url", address), ("property", "og:image", picture),
                  ("property", "og:image:width", "1200"), ("property", "og:image:height", "630"),
                  ("name", "twitter:card", "summary_large_image")]
    return "".join(f'\n    <meta {kind}="{name}" content="{escape(content)}" />'
                   for kind, name, content in named if content)


def base_of_404(baseurl: str) -> str:
    """Return what lets the relative links of `404.html` start from the folder of the pages.

    Where the address is not set, the folder is that above `chapters/` in the address asked for.
    """
    if baseurl:
        return f'\n    <base href="{escape(urljoin(baseurl, "404.html"))}" />'
    script = r"""
      const asked = window.location.pathname;
      if (!asked.endsWith("/404.html")) {
        const base = document.createElement("base");
        base.href = asked.replace(/\/(chapters\/.*|[^/]*)$/, "/404.html");
        document.head.append(base);
      }"""
    return f"\n    <script>{script}\n    </script>"


def front_page(title: str, root: str, tags: str) -> str:
    """Return the page that leads from the folder of the pages to the first of them."""
    address = escape(f"{root}.html")
    return ('<!DOCTYPE html>\n<html lang="en">\n  <head>\n    <meta charset="utf-8" />'
            f'\n    <meta http-equiv="Refresh" content="0; url={address}" />{tags}'
            f'\n    <link rel="icon" href="_static/favicon.svg" />'
            f"\n    <title>{escape(title)}</title>\n  </head>\n"
            f'  <body><a href="{address}">{escape(title)}</a></body>\n</html>\n')


def sitemap(addresses: list[str]) -> str:
    """Return a list of pages as search engines read it."""
    listed = "".join(f"<url><loc>{escape(each)}</loc></url>\n" for each in addresses)
    return ('<?xml version="1.0" encoding="utf-8"?>\n'
            f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{listed}</urlset>\n')


# In Sphinx ---------------------------------------------------------------------------------------


def keep(app: Sphinx, doctree: nodes.document) -> None:
    """Keep the description with the page's other data."""
    app.env.metadata[app.env.docname]["about"] = description(doctree)


def baseurl_of(app: Sphinx) -> str:
    """Return the address of the folder of the pages, or ""."""
    address = app.config.html_baseurl
    return f"{address.rstrip('/')}/" if address else ""


def tags_of(app: Sphinx, pagename: str) -> str:
    site, baseurl = app.config.html_title, baseurl_of(app)
    title = app.env.titles[pagename].astext() if pagename in app.env.titles else {
        "search": "Search", "genindex": "Index", "404": "Page not found"}.get(pagename, "")
    about = OTHERS.get(pagename) or app.env.metadata.get(pagename, {}).get("about", "")
    address = baseurl and urljoin(baseurl, f"{pagename}.html")
    return metatags(title, about, site, address, urljoin(baseurl, PICTURE))


def add(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any],
        doctree: nodes.document | None) -> None:
    tags = tags_of(app, pagename)
    if pagename in UNLISTED:
        tags += '\n    <meta name="robots" content="noindex" />'
        context["pageurl"] = None
    if pagename == "404":
        tags = base_of_404(baseurl_of(app)) + tags
    context["metatags"] = context.get("metatags", "") + tags


def write(app: Sphinx, failure: Exception | None) -> None:
    """Write the front page, and the list of pages if their address is set."""
    if failure or app.builder.format != "html":
        return
    root, outdir = app.config.root_doc, Path(app.outdir)
    if root != "index":
        title = app.env.titles[root].astext()
        (outdir / "index.html").write_text(front_page(title, root, tags_of(app, root)),
                                           encoding="utf-8")
    if baseurl := baseurl_of(app):
        addresses = [urljoin(baseurl, f"{name}.html") for name in sorted(app.env.found_docs)]
        (outdir / "sitemap.xml").write_text(sitemap(addresses), encoding="utf-8")


def add_404(app: Sphinx) -> None:
    if app.builder.format == "html":
        app.config.html_additional_pages = app.config.html_additional_pages | {"404": "404.html"}


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("builder-inited", add_404)
    app.connect("doctree-read", keep)
    app.connect("html-page-context", add)
    app.connect("build-finished", write, priority=800)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
