"""Leave out of the book what the check of an exercise prints about the stub.

A notebook has it printed, so that a student sees that the check works. A reader of the book has
nothing to replace. Whatever else such a cell prints, an error for example, is shown.
"""

from docutils import nodes
from sphinx.application import Sphinx

__all__ = ["remove_feedback", "setup"]

STUB = "Still the stub"  # see `genmodels.exercises.evaluate`


def remove_feedback(app: Sphinx, doctree: nodes.document) -> None:
    """Remove the outputs of cells tagged `check` that say that the answer is still the stub."""
    for cell in doctree.findall(nodes.container):
        if "tag_check" in cell["classes"]:
            for output in list(cell.children):
                if "cell_output" in output["classes"] and output.astext().startswith(STUB):
                    cell.remove(output)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("doctree-read", remove_feedback)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
