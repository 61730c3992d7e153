"""Make the pages independent of other hosts: MathJax comes from the book, thebe goes."""

from importlib.metadata import distribution

from sphinx.application import Sphinx
from sphinx.config import Config

__all__ = ["setup"]

# MathJax 3 in one file, with every TeX extension inside it.
MATHJAX = "sphinx-mathjax-offline/static/mathjax/tex-svg-full.js"


def serve_mathjax(app: Sphinx, config: Config) -> None:
    """Copy MathJax beside the pages, and let them load it from there."""
    path = distribution("sphinx-mathjax-offline").locate_file(MATHJAX)
    config.html_extra_path = [*config.html_extra_path, str(path)]
    config.mathjax_path = "../tex-svg-full.js"  # relative to _static/


def remove_thebe(app: Sphinx) -> None:
    """Undo what sphinx-thebe's setup did: Jupyter Book loads it whether or not it is used."""
    for listeners in app.events.listeners.values():
        listeners[:] = [x for x in listeners if x.handler.__module__ != "sphinx_thebe"]
    css_files = app.registry.css_files
    css_files[:] = [entry for entry in css_files if entry[0] != "sphinx-thebe.css"]


def setup(app: Sphinx) -> dict[str, bool]:
    remove_thebe(app)
    app.connect("config-inited", serve_mathjax)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
