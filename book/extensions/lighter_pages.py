"""Pages without what they do not use: of the theme's files, most are for others.

The theme draws its icons by a script of 1.5 MB, and has a font of 2,000 icons beside it. Here the
pages do without the script, and the font, and the rules for it in the style sheet, are cut down to
the icons that the pages and the theme's scripts name. Source maps, the texts of the theme in other
languages, and the search by Sphinx are removed; scripts no longer report what they do.
"""

import logging
import re
import shutil
from pathlib import Path
from typing import Any

import pydata_sphinx_theme
from docutils import nodes
from fontTools import subset
from fontTools.ttLib import TTFont
from sphinx.application import Sphinx

__all__ = ["icons_named", "lighten", "setup", "shortened", "write_font"]

TEMPLATES = Path(__file__).resolve().parent.parent / "templates"
THEME = Path(pydata_sphinx_theme.__file__).parent / "theme" / "pydata_sphinx_theme" / "static"
FONT = THEME / "vendor" / "fontawesome" / "webfonts" / "fa-solid-900.ttf"
SHEET = Path("_static", "styles", "pydata-sphinx-theme.css")
ICONS = "icons.woff"
UNUSED = ["_static/locales", "_static/vendor", "_static/scripts/fontawesome.js",
          "_static/scripts/fontawesome.js.LICENSE.txt", "_static/searchtools.js",
          "_static/language_data.js", "searchindex.js", "_static/webpack-macros.html",
          "_static/sbt-webpack-macros.html"]
ICONS_SCRIPT = re.compile(r"<script[^>]*fontawesome\.js[^>]*></script>")
DESIGN = re.compile(r"sphinx-design|design-tabs")
NAMED = re.compile(r"\bfa-([a-z0-9-]+)")
RULE = re.compile(r"((?:\.fa-[a-z0-9-]+:before,?)+)\{content:(\"[^\"]+\")\}")
FACE = re.compile(r"@font-face\{[^}]*Font Awesome[^}]*\}")
SOURCE_MAP = re.compile(r"/\*# sourceMappingURL=.*?\*/|\n?//# sourceMappingURL=\S+")
REPORT = re.compile(r"\bconsole\.log\((?!\))")
SOLID = ('@font-face{font-display:block;font-family:"Font Awesome 6 Free";font-style:normal;'
         f'font-weight:900;src:url(../{ICONS}) format("woff")}}')


def icons_named(texts: list[str]) -> set[str]:
    """Return the names of the icons in the classes of pages, and in scripts."""
    return {name for text in texts for name in NAMED.findall(text)}


def shortened(css: str, used: set[str]) -> tuple[str, set[int]]:
    """Return a style sheet with the icons that are used, and the characters that it shows."""
    def kept(rule: re.Match[str]) -> str:
        names = [name for name in NAMED.findall(rule[1]) if name in used]
        chosen = ",".join(f".fa-{name}:before" for name in names)
        return f'{chosen}{{content:{rule[2]}}}' if names else ""

    css = RULE.sub(kept, css)
    first = FACE.search(css)
    if first:
        css = css[:first.start()] + SOLID + FACE.sub("", css[first.start():])
    escapes = {int(code, 16) for code in re.findall(r'"\\([0-9a-f]{4})"', css)}
    return css, escapes | {ord(c) for c in css if 0xE000 <= ord(c) <= 0xF8FF}


def write_font(characters: set[int], path: Path) -> None:
    """Write the theme's icons for some characters as a font."""
    logging.getLogger("fontTools.subset").setLevel(logging.WARNING)
    font = TTFont(FONT)
    options = subset.Options(flavor="woff", hinting=False, desubroutinize=True)
    cut = subset.Subsetter(options)
    cut.populate(unicodes=sorted(characters))
    cut.subset(font)
    font.flavor = "woff"
    font.save(path)


def lighten(outdir: Path) -> None:
    """Remove what no page uses, from the folder of the pages."""
    sheet = outdir / SHEET
    texts = [path.read_text(encoding="utf-8")
             for pattern in ("*.html", "_static/scripts/*.js") for path in outdir.rglob(pattern)
             if path.name != "fontawesome.js"]
    css, characters = shortened(sheet.read_text(encoding="utf-8"), icons_named(texts))
    others = [path.read_text(encoding="utf-8") for path in outdir.glob("_static/styles/*.css")
              if path != sheet]
    characters |= {int(code, 16) for text in others
                   for code in re.findall(r'"\\([ef][0-9a-f]{3})"', text)}
    sheet.write_text(css, encoding="utf-8")
    write_font(characters, outdir / "_static" / ICONS)
    for name in UNUSED:
        path = outdir / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    for path in outdir.rglob("*.map"):
        path.unlink()
    for path in [*outdir.rglob("_static/**/*.css"), *outdir.rglob("_static/**/*.js")]:
        text = path.read_text(encoding="utf-8")
        new = SOURCE_MAP.sub("", text)
        if path.suffix == ".js":
            new = REPORT.sub("void(", new)
        if new != text:
            path.write_text(new, encoding="utf-8")


# In Sphinx ---------------------------------------------------------------------------------------


def use_templates(app: Sphinx, config: object) -> None:
    app.config.templates_path = [*app.config.templates_path, str(TEMPLATES)]


def lighten_head(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any],
                 doctree: nodes.document | None) -> None:
    """Leave out of a page's head what the page does not use; without a choice, the mode is "auto".

    That is the script of icons, and the style and script of cards and tabs where it has none.
    """
    if 'class="sd-' not in context.get("body", ""):
        for files in ("css_files", "script_files"):
            context[files] = [each for each in context[files]
                              if not DESIGN.search(str(getattr(each, "filename", each)))]
    context["lighter"] = lambda head: ICONS_SCRIPT.sub("", head).replace(
        'localStorage.getItem("mode") || ""', 'localStorage.getItem("mode") || "auto"')


def finish(app: Sphinx, failure: Exception | None) -> None:
    if not failure and app.builder.format == "html":
        lighten(Path(app.outdir))


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("config-inited", use_templates)
    app.connect("html-page-context", lighten_head, priority=900)  # when all files are listed
    app.connect("build-finished", finish, priority=900)  # when all files are there
    return {"parallel_read_safe": True, "parallel_write_safe": True}
