"""What the outputs of a chapter depend on: its code, the modules that it reaches, and versions.

    python book/dependencies.py keras

prints the paths of the chapters that use a distribution.

A chapter reaches the modules of `genmodels` that its cells import, those that these import, and so
on. Imports are read from the syntax tree, also where they stand inside functions; nothing is
executed. The style of the figures counts for each of them. `genmodels.exercises.chapters` imports
the tests of the answers to exercises, one module when the first answer of its chapter is checked: a
chapter reaches its own alone.

Of the versions those count that a chapter uses: of the distributions that its cells and the modules
that it reaches import, of those that execute it, and of what all these need. Not that of ruff.
"""

import ast
import functools
import hashlib
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import notebooks

__all__ = ["DATA", "EXECUTING", "PINS", "Package", "fingerprint", "imported_modules", "main",
           "pins_of", "users_of"]

CODE = notebooks.ROOT / "code"
PINS = notebooks.ROOT / "constraints.txt"
EXECUTING = ["ipykernel", "nbclient", "matplotlib-inline"]  # a kernel, its client, its figures
ANSWERS = "genmodels.exercises.chapters"  # holds a module for each chapter
# The modules that read files of the package, and where these lie below `code`.
DATA = {"genmodels.datasets": "genmodels/data",
        "genmodels.models.trained": "genmodels/models/weights"}


def imported_modules(tree: ast.AST, package: str = "") -> Iterator[str]:
    """Yield the full names that code imports, also inside functions; `package` is the one it is in.

    Of `from a import b` both `a` and `a.b`, since `b` may be a module.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            parts = [*(above if node.level else []), *([node.module] if node.module else [])]
            yield ".".join(parts)
            yield from (".".join([*parts, alias.name]) for alias in node.names)


@functools.cache
def imports_of(source: str, package: str | None = None) -> frozenset[str]:
    """Return the full names that a source imports: of a module in a package, or of a cell.

    They depend on its text alone, so that a text is parsed once, whoever asks.
    """
    tree = notebooks.python_of(source) if package is None else ast.parse(source)
    return frozenset(imported_modules(tree, package or ""))


def imported_by(chapter: Path) -> set[str]:
    """Return the full names that the cells of a notebook import."""
    return set().union(*(imports_of(cell.source) for cell in notebooks.code_cells(chapter)))


# Versions ---------------------------------------------------------------------------------------

providers = functools.cache(metadata.packages_distributions)  # of each importable name


@functools.cache
def needs(distribution: str, extras: frozenset[str] = frozenset()) -> frozenset[tuple]:
    """Return the (distribution, extras) that an installed distribution needs on this machine."""
    try:
        lines = metadata.requires(distribution) or []
    except metadata.PackageNotFoundError:  # asked for, but not installed
        return frozenset()
    requirements = [Requirement(line) for line in lines]
    return frozenset(
        (canonicalize_name(each.name), frozenset(each.extras)) for each in requirements
        if each.marker is None or any(each.marker.evaluate({"extra": e}) for e in {"", *extras}))


def pins_of(distributions: Iterable[str], pins: Path = PINS) -> list[str]:
    """Return the lines of a file of pins for these distributions and for all that they need."""
    waiting = {(canonicalize_name(name), frozenset()) for name in distributions}
    found = set()
    while waiting:
        each = waiting.pop()
        found.add(each)
        waiting |= needs(*each) - found
    names = {name for name, _ in found}
    lines = re.findall(r"^([\w.-]+)==(\S+)", pins.read_text(encoding="utf-8"), re.MULTILINE)
    return [f"{name}=={version}" for name, version in lines if canonicalize_name(name) in names]


# Modules ----------------------------------------------------------------------------------------


class Package:
    """The modules of genmodels below a folder; each source is read once."""

    def __init__(self, code: Path = CODE) -> None:
        self.code = code
        self.files = {self._name(path): path for path in sorted(code.glob("genmodels/**/*.py"))}
        self._all_imports = functools.cache(self._read_all_imports)
        self._imported_by = functools.cache(imported_by)
        self._sum = functools.cache(lambda path: hashlib.sha256(path.read_bytes()).digest())

    def _name(self, path: Path) -> str:
        parts = path.relative_to(self.code).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def _with_parents(self, names: Iterable[str]) -> set[str]:
        """Return those names that are modules here, and the packages that these are in."""
        found = set()
        for name in names:
            while name in self.files or name.startswith("genmodels."):
                found |= {name} & self.files.keys()
                name = name.rpartition(".")[0]
        return found

    def _read_all_imports(self, name: str) -> set[str]:
        path = self.files[name]
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        return set(imports_of(path.read_text(encoding="utf-8"), package))

    def _imports(self, name: str) -> set[str]:
        found = self._with_parents(self._all_imports(name))
        if name == ANSWERS:  # which imports all of them: each chapter has its own
            found = {each for each in found if not each.startswith(f"{ANSWERS}.")}
        return found

    def reached(self, chapter: Path) -> set[str]:
        """Return the modules that a notebook reaches by import."""
        waiting = self._with_parents(self._imported_by(chapter))
        if "genmodels.exercises" in waiting:
            waiting |= self._with_parents([f"{ANSWERS}.{chapter.stem}"])
        found: set[str] = set()
        while waiting:
            name = waiting.pop()
            found.add(name)
            waiting |= self._imports(name) - found
        return found

    def distributions(self, chapter: Path, exercises: bool = True) -> set[str]:
        """Return the distributions that a notebook and the modules that it reaches import.

        Args:
            chapter: the path of the notebook.
            exercises: also those of the tests of answers, which ask for some only if they are used.
        """
        reached = {name for name in self.reached(chapter)
                   if exercises or not name.startswith("genmodels.exercises.")}
        names = self._imported_by(chapter).union(*map(self._all_imports, reached))
        first = {name.partition(".")[0] for name in names} - {"genmodels"}
        return {each for name in first for each in providers().get(name, [])}

    def files_reached(self, chapter: Path) -> list[Path]:
        """Return the files of the modules that a notebook reaches, and the data these read."""
        names = self.reached(chapter)
        files = {self.files[name] for name in names} | set(self.code.glob("genmodels/*.mplstyle"))
        for name in names & DATA.keys():
            files |= {path for path in (self.code / DATA[name]).iterdir() if path.is_file()}
        return sorted(files)

    def sums(self, chapter: Path) -> Iterator[tuple[str, bytes]]:
        """Yield the name and the SHA-256 sum of each file that a notebook reaches."""
        for path in self.files_reached(chapter):
            yield path.relative_to(self.code).as_posix(), self._sum(path)


def fingerprint(chapter: Path, package: Package, settings: Mapping[str, str | None],
                pins: Path = PINS) -> str:
    """Return a SHA-256 sum of what a chapter's outputs depend on, its own code aside.

    Args:
        chapter: the path of the notebook.
        package: the modules it may reach.
        settings: the environment variables that count; None where one is not set.
        pins: the file with the versions of all packages.
    """
    used = package.distributions(chapter)
    if "keras" in used:
        used.add(settings.get("KERAS_BACKEND") or "tensorflow")
    digest = hashlib.sha256("\0".join(pins_of([*used, *EXECUTING], pins)).encode())
    for name, value in sorted(settings.items()):
        digest.update(f"{name}={value}\0".encode())
    for name, file_sum in package.sums(chapter):
        digest.update(f"{name}\0".encode() + file_sum)
    return digest.hexdigest()


def users_of(distribution: str) -> list[Path]:
    """Return the chapters whose cells, or the modules that they reach, import a distribution."""
    package = Package()
    return [chapter for chapter in notebooks.in_order()
            if distribution in package.distributions(chapter)]


def main() -> None:
    found = users_of(sys.argv[1])
    if not found:
        sys.exit("distribution must be one that is installed and that a chapter uses, got "
                 f"{sys.argv[1]!r}")
    print(*(path.relative_to(notebooks.ROOT) for path in found), sep="\n")


if __name__ == "__main__":
    main()
