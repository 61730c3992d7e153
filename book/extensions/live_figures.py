"""Figures that a reader moves: a drawing in the notebook, with a script in the book.

A notebook shows `![what is to be seen](figures/live_NAME.svg)`, a drawing as any other. In the book
the drawing stands in `<div class="live-figure" data-live="NAME">`, and the page loads the scripts
`_static/live/common.js` and `_static/live/NAME.js`, which put the moving figure in its place; where
scripts are off, and in print, the drawing stays. What `NAME.js` computes may stand in a script of
its own, `NAME_model.js`, which is loaded before it. Numbers come from the package: where there is a
module `book/live/NAME.py`, what its `data()` returns is `liveFigures.data.NAME` in the page.
"""

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

logger = logging.getLogger(__name__)
__all__ = ["LiveFigure", "data_script", "setup"]

BOOK = Path(__file__).resolve().parent.parent
SCRIPTS = BOOK / "static" / "live"
PREFIX = "live_"
ELSEWHERE = "In the rendered book"  # as a notebook says it


class LiveFigure(nodes.General, nodes.Element):
    """What holds the drawing, and later the moving figure."""


def open_box(writer: HTML5Translator, node: LiveFigure) -> None:
    box = writer.starttag(node, "div", CLASS="live-figure", **{"data-live": node["name"]})
    writer.body.append(box)


def close_box(writer: HTML5Translator, node: LiveFigure) -> None:
    writer.body.append("</div>\n")


def data_script(module: Path) -> str:
    """Return the script that puts what `data()` of a module returns into the page, floats exactly.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    spec = importlib.util.spec_from_file_location(f"live_{module.stem}", module)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    try:
        values = json.dumps(loaded.data(), allow_nan=False, separators=(",", ":"),
                            default=lambda array: array.tolist())  # of NumPy
    except ValueError as error:
        raise ValueError(f"data() of {module.name} must be finite, got: {error}") from None
    return f"liveFigures.data.{module.stem} = {values};\n"


def write_data(app: Sphinx, env: BuildEnvironment) -> None:
    """Write the data of all figures beside their scripts; what has not changed stays as it is."""
    if app.builder.format != "html":
        return
    folder = Path(app.outdir, "_static", "live")
    folder.mkdir(parents=True, exist_ok=True)
    for module in sorted((BOOK / "live").glob("*.py")):
        path, script = folder / f"{module.stem}_data.js", data_script(module)
        if not path.exists() or path.read_text(encoding="utf-8") != script:
            path.write_text(script, encoding="utf-8")


def wrap(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put a box around each drawing of a live figure, and around the paragraph of such an image."""
    if app.builder.format != "html":
        return
    for image in list(doctree.findall(nodes.image)):
        name = Path(image["uri"]).stem
        if not name.startswith(PREFIX):
            continue
        name = name.removeprefix(PREFIX)
        if not (SCRIPTS / f"{name}.js").exists():
            logger.warning("%s must be a script: a drawing has the name of it",
                           f"book/static/live/{name}.js", location=image)
        alone = isinstance(image.parent, nodes.paragraph) and len(image.parent) == 1
        still = image.parent if alone else image
        box = LiveFigure(name=name)
        still.parent.replace(still, box)
        box += still


def say_here(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Say "here" in the page of what a notebook says that it is so in the rendered book."""
    if app.builder.format != "html":
        return
    for text in list(doctree.findall(nodes.Text)):
        if text.startswith(ELSEWHERE):
            text.parent.replace(text, nodes.Text("Here" + text.removeprefix(ELSEWHERE)))


def load_scripts(app: Sphinx, pagename: str, templatename: str, context: Mapping[str, Any],
                 doctree: nodes.document | None) -> None:
    """Let a page load the style and the scripts of the figures that it shows, and no other page."""
    names = dict.fromkeys(box["name"] for box in doctree.findall(LiveFigure)) if doctree else {}
    if not names:
        return
    for style in ("live", "heights"):
        app.builder.add_css_file(f"live/{style}.css", priority=800)
    scripts = ["common"]
    for name in names:
        scripts += [f"{name}_data"] if (BOOK / "live" / f"{name}.py").exists() else []
        scripts += [f"{name}_model"] if (SCRIPTS / f"{name}_model.js").exists() else []
        scripts.append(name)
    for script in scripts:
        app.builder.add_js_file(f"live/{script}.js", defer="defer", priority=800)


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_node(LiveFigure, html=(open_box, close_box))
    app.connect("env-updated", write_data)
    app.connect("doctree-resolved", wrap, priority=400)  # before a drawing becomes part of the page
    app.connect("doctree-resolved", say_here)
    app.connect("html-page-context", load_scripts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
