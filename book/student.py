"""Write the chapters without solutions: _build/student/, and the same in _build/student.zip."""

import shutil
from pathlib import Path

import nbformat

import downloads
import notebooks
import pages

__all__ = ["STUDENT", "write"]

STUDENT = notebooks.ROOT / "_build" / "student"
README = """\
# Deep Generative Models for the Physical Sciences: notebooks with exercises

Every notebook runs from top to bottom as it is. Its exercises stand at its end: run the first cell
below *Exercises*, replace the `...` of a stub, run it and the check below it. The notebooks import
`genmodels`, the package of the course; its README says how to install it. `appendix/exercises.md`
lists the exercises. If you hand a notebook in, it is run from top to bottom, and the checks decide;
if an exercise is checked more than once, the last check counts.
"""


def write(folder: Path) -> list[Path]:
    """Write the set into a new folder and return the paths of its notebooks."""
    shutil.rmtree(folder, ignore_errors=True)
    pages.write()  # the notebooks link to them
    written = []
    for source in notebooks.CHAPTERS.glob("*/figures/*.svg"):
        path = folder / source.relative_to(notebooks.CHAPTERS)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, path)
    for source in [*notebooks.notebooks(), *notebooks.plain_pages()]:
        path = folder / source.relative_to(notebooks.CHAPTERS)
        path.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix == ".md":
            shutil.copyfile(source, path)
            continue
        nbformat.write(downloads.alone(notebooks.without_solutions(source), source), path)
        written.append(path)
    (folder / "README.md").write_text(README, encoding="utf-8")
    return written


if __name__ == "__main__":
    made = write(STUDENT)
    archive = shutil.make_archive(str(STUDENT), "zip", STUDENT.parent, STUDENT.name)
    print(f"Wrote {len(made)} notebooks to {STUDENT.relative_to(notebooks.ROOT)}, "
          f"and {Path(archive).relative_to(notebooks.ROOT)}")
