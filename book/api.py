"""The API page of the appendix: a heading for each module, which Sphinx's autodoc fills."""

import dependencies
import notebooks

__all__ = ["PAGE", "modules", "page"]

PAGE = notebooks.CHAPTERS / "appendix" / "api.md"
INTRODUCTION = """\
# API

<!-- Written when the book is built: change the docstrings of code/genmodels instead. -->

Every public function and class of the package `genmodels`, module by module, with its docstring.
The symbols are those of the [notation](notation.md).
"""


def modules() -> list[str]:
    """Return the modules that are described: all but the tests of the answers to exercises."""
    return [name for name in dependencies.Package().files
            if name != "genmodels" and not name.startswith(dependencies.ANSWERS)]


def page() -> str:
    """Return the whole page as MyST Markdown."""
    sections = [f"## {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n```\n"
                for name in modules()]
    return "\n".join([INTRODUCTION, *sections])
