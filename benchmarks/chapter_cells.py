"""Execute the cells of a chapter in plain Python, for a machine that has no Jupyter.

    python benchmarks/chapter_cells.py chapters/vae/elbo.ipynb

One after the other, as in a notebook, in the chapter's folder, until one raises an exception;
figures are drawn and thrown away. The last line of the output counts, as JSON, the cells and the
asserts written in them.
"""

import ast
import json
import linecache
import os
import sys
import types
from pathlib import Path

CODE = Path(__file__).resolve().parent.parent / "code"


def main(chapter: str) -> None:
    path = Path(chapter).resolve()
    sys.path.insert(0, str(CODE))
    import matplotlib

    matplotlib.use("Agg")
    os.chdir(path.parent)
    notebook = json.loads(path.read_text(encoding="utf-8"))
    module = sys.modules["__main__"] = types.ModuleType("__main__")  # where a notebook's names are
    counts = {"cells": 0, "asserts": 0}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            source, name = "".join(cell["source"]), f"<cell {cell['id']}>"
            # So that a traceback shows its line, and inspect.getsource finds functions.
            linecache.cache[name] = len(source), None, source.splitlines(True), name
            tree = ast.parse(source, name)
            exec(compile(tree, name, "exec"), vars(module))
            counts["cells"] += 1
            counts["asserts"] += sum(isinstance(node, ast.Assert) for node in ast.walk(tree))
    print(json.dumps(counts))


if __name__ == "__main__":
    main(*sys.argv[1:])
