"""Check one chapter: its notebook, its exercises and its page, side by side, in the quick budget.

    python book/check.py elbo

The notebook is executed from top to bottom, answers are planted into its exercises, its cells are
looked at, the register of identities is complete, and Jupyter Book makes the page with every
warning an error. The page is made without outputs and without the other chapters, so links to these
are not followed: `make test` does that.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import yaml

import build
import notebooks

__all__ = ["chapter_named", "check", "main", "page_command", "test_command"]

ROOT = notebooks.ROOT
FOLDER = ROOT / "_build" / "check"


def chapter_named(name: str) -> Path:
    """Return the notebook of a chapter.

    Raises:
        ValueError: there is no such chapter.
    """
    chapters = {path.stem: path for path in notebooks.in_order()}
    if name not in chapters:
        raise ValueError(f"CHAPTER must be one of {', '.join(chapters)}, got {name!r}")
    return chapters[name]


def page_command(chapter: Path) -> list[str]:
    """Write the settings for a book of one page, and return the command that builds it."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    config["execute"] = {"execute_notebooks": "off"}
    config["sphinx"]["local_extensions"] = {
        name: str(ROOT / folder) for name, folder in config["sphinx"]["local_extensions"].items()}
    config["sphinx"]["config"]["suppress_warnings"] = [
        "myst.xref_missing", "equation_ids.missing"]
    page = chapter.relative_to(ROOT).with_suffix("").as_posix()
    FOLDER.mkdir(parents=True, exist_ok=True)
    settings, toc = FOLDER / "config.yml", FOLDER / "toc.yml"
    settings.write_text(yaml.safe_dump(config), encoding="utf-8")
    toc.write_text(yaml.safe_dump({"format": "jb-book", "root": page}), encoding="utf-8")
    jupyter_book = str(Path(sys.executable).with_name("jupyter-book"))
    return [jupyter_book, "build", "-W", "-n", "--all", "--keep-going", "--config", str(settings),
            "--toc", str(toc), "--path-output", str(FOLDER), str(ROOT)]


def test_command(chapter: Path) -> list[str]:
    """Return the command that runs the notebook, the tests of exercises, cells and register.

    Those of the register are of all chapters: a lost identity is no longer that of any.
    """
    names = ("test_exercises.py", "test_exercise_list.py", "test_notebooks.py",
             "test_identities.py")
    tests = [str(path) for name in names for path in sorted((ROOT / "tests").rglob(name))]
    return [sys.executable, "-m", "pytest", "-q", "--nbval-lax", "--nbval-current-env",
            "--nbval-cell-timeout", "600", "--durations", "3", str(chapter), *tests,
            "-k", f"[{chapter.stem}] or {chapter.name} or test_identities"]


def check(chapter: Path) -> int:
    """Return 0 if notebook, exercises and page are as they must be; else show what is not."""
    start = time.perf_counter()
    quick = {"GENMODELS_BUDGET": "quick"}
    page = subprocess.Popen(page_command(chapter), env=build.environment(FOLDER) | quick,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    tested = subprocess.run(test_command(chapter), cwd=ROOT, check=False, env=os.environ | quick)
    printed, _ = page.communicate()
    if page.returncode:
        print(printed)
    print(f"{chapter.stem}: notebook and exercises {'failed' if tested.returncode else 'passed'}, "
          f"page {'failed' if page.returncode else 'built'}, "
          f"{time.perf_counter() - start:.0f} seconds")
    return int(bool(tested.returncode or page.returncode))


def main() -> int:
    try:
        chapter = chapter_named(" ".join(sys.argv[1:]))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return check(chapter)


if __name__ == "__main__":
    sys.exit(main())
