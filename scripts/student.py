"""Write the chapters without solutions: _build/student/, and the same in _build/student.zip."""

import json
import shutil
from pathlib import Path

import identities

STUDENT = identities.ROOT / "_build" / "student"
README = """\
# Deep Generative Models for the Physical Sciences: notebooks with exercises

Every notebook runs from top to bottom as it is. Its exercises stand at its end: run the first cell
below *Exercises*, replace the `...` of a stub, run it and the check below it. The notebooks import
`genmodels`, the package of the course; its README says how to install it. `appendix/exercises.md`
lists the exercises. If you hand a notebook in, it is run from top to bottom, and the checks decide;
if an exercise is checked more than once, the last check counts.
"""


def without_solutions(notebook: dict) -> dict:
    """Return a notebook without the cells tagged `solution`."""
    cells = [cell for cell in notebook["cells"]
             if "solution" not in cell["metadata"].get("tags", [])]
    return {**notebook, "cells": cells}


def write(folder: Path) -> list[Path]:
    """Write the set into a new folder and return the paths of its notebooks."""
    shutil.rmtree(folder, ignore_errors=True)
    written = []
    for chapter in identities.notebooks():
        path = folder / chapter.relative_to(identities.CHAPTERS)
        path.parent.mkdir(parents=True, exist_ok=True)
        notebook = without_solutions(json.loads(chapter.read_text(encoding="utf-8")))
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n",
                        encoding="utf-8")
        written.append(path)
    for plain in sorted(identities.CHAPTERS.rglob("*.md")):  # what the notebooks link to
        path = folder / plain.relative_to(identities.CHAPTERS)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(plain, path)
    (folder / "README.md").write_text(README, encoding="utf-8")
    return written


if __name__ == "__main__":
    notebooks = write(STUDENT)
    archive = shutil.make_archive(str(STUDENT), "zip", STUDENT.parent, STUDENT.name)
    print(f"Wrote {len(notebooks)} notebooks to {STUDENT.relative_to(identities.ROOT)}, "
          f"and {Path(archive).relative_to(identities.ROOT)}")
