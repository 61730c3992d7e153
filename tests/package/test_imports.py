"""What imports what: downwards only, without a cycle, and no framework that is not asked for.

The floors of the package, the lowest first. A module may import its own room and the floors below.
A room's `__main__`, its command line, may import all rooms, and no module imports it.
"""

import ast
import graphlib
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import genmodels

ROOT = Path(genmodels.__file__).parent
FLOORS = [
    {"validate"},
    {"monte_carlo"},
    {"exact", "datasets", "plotting", "budget"},
    {"diffusion", "bounds", "sample_quality"},
    {"lattice_diffusion"},
    {"training"},
    {"models"},
    {"exercises"},
]


def name_of(path: Path) -> str:
    """The name by which a file of the package is imported."""
    parts = ("genmodels", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}


def room_of(module: str) -> str:
    """The folder, or the single file, directly in the package: "exact" of "genmodels.exact.x"."""
    return module.split(".")[1]


def modules_imported(source: str, modules=MODULES) -> set[str]:
    """The modules of the package that a source imports, also those within its functions."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "an import names its module in full"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in modules else node.module for name in names}
    return {name for name in found if name.split(".")[0] == "genmodels"} - {"genmodels"}


def against_the_floors(imports: dict[str, set[str]]) -> list[str]:
    """The imports that go upwards, or to another room of the same floor."""
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    return [f"{module} imports {other}" for module, others in imports.items()
            for other in sorted(others)
            if other.endswith(".__main__")
            or (not module.endswith(".__main__")
                and room_of(other) != room_of(module)
                and floor[room_of(other)] >= floor[room_of(module)])]


IMPORTS = {name: modules_imported(path.read_text()) for name, path in MODULES.items()}


def test_every_room_has_a_floor():
    rooms = {room_of(name) for name in MODULES if name != "genmodels"}
    assert rooms == set.union(*FLOORS)


def test_imports_run_downwards_only():
    assert not IMPORTS["genmodels"], "genmodels itself imports nothing"
    wrong = against_the_floors({name: IMPORTS[name] for name in IMPORTS if name != "genmodels"})
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(("module", "line", "right"), [
    ("genmodels.exact.gaussian", "from genmodels.validate import Array", True),
    ("genmodels.exact.gaussian", "from genmodels.exact import mixture", True),
    ("genmodels.exact.gaussian", "from genmodels import diffusion", False),
    ("genmodels.exact.lattice", "from genmodels.monte_carlo import jackknife", True),
    ("genmodels.monte_carlo", "from genmodels.exact import gaussian", False),
    ("genmodels.exact.gaussian", "from genmodels.plotting import samples", False),
    ("genmodels.diffusion", "from genmodels.bounds import elbo", False),
    ("genmodels.training.steps", "import genmodels.models.vae_torch", False),
    ("genmodels.models.likelihood", "def f():\n    from genmodels.exercises import check", False),
    ("genmodels.models.likelihood", "from genmodels.training import torch", True),
    ("genmodels.training.__main__", "from genmodels.models import vae_torch", True),
    ("genmodels.exercises.registry", "from genmodels.training import __main__", False),
])
def test_an_import_against_the_floors_is_found(module, line, right):
    assert right == (not against_the_floors({module: modules_imported(line)}))


def test_no_module_imports_itself_by_a_detour():
    try:
        graphlib.TopologicalSorter(IMPORTS).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def defines_something(path: Path) -> bool:
    """Whether a module has functions or classes of its own."""
    kinds = ast.FunctionDef | ast.ClassDef
    return any(isinstance(node, kinds) for node in ast.parse(path.read_text()).body)


# The answers' tests are found by the names of their exercises; nothing imports them by their own.
PUBLIC = {name: path for name, path in MODULES.items()
          if not name.startswith("genmodels.exercises.chapters.")}
# The modules in `book/` are imported by their last names.
PUBLIC |= {path.stem: path for path in sorted((ROOT.parents[1] / "book").rglob("*.py"))}


@pytest.mark.parametrize("name", PUBLIC)
def test_what_is_public_is_listed_and_exists(name):
    module = importlib.import_module(name)
    assert Path(module.__file__) == PUBLIC[name]
    assert isinstance(getattr(module, "__all__", None), list), f"{name} must have __all__"
    assert module.__all__ or not defines_something(PUBLIC[name]), f"{name} lists nothing"
    assert [each for each in module.__all__ if not hasattr(module, each)] == []
    assert len(set(module.__all__)) == len(module.__all__)


OF_TORCH = [name for name in MODULES if "torch" in name]
OF_KERAS = [name for name in MODULES if "keras" in name and "exercises" not in name]
OF_NEITHER = [name for name in MODULES if name not in OF_TORCH + OF_KERAS or "exercises" in name]
WITH_NUMBA = [f"genmodels.{name}" for name in (
    "exact.ising", "exact.lattice_fields", "exact.lattice_sweeps", "exercises.chapters.boltzmann")]


# As if the packages were not installed, to whoever imports them.
WITHOUT = """
import sys
class Absent:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in {absent}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent)
"""


@pytest.mark.parametrize(("names", "absent", "backend"), [
    (OF_NEITHER, ["torch", "keras", "tensorflow", "jax"], "tensorflow"),
    (OF_TORCH, ["keras", "tensorflow", "jax"], "tensorflow"),
    (OF_KERAS, ["torch", "jax"], "tensorflow"),
    (OF_KERAS, ["torch", "tensorflow"], "jax"),
    ([name for name in MODULES if name not in WITH_NUMBA], ["numba"], "tensorflow"),
], ids=["neither", "torch", "keras", "keras on jax", "no numba"])
def test_each_part_needs_no_framework_but_its_own(names, absent, backend):
    script = "\n".join([WITHOUT.format(absent=absent), *(f"import {name}" for name in names)])
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True,
                         env=os.environ | {"KERAS_BACKEND": backend}, check=False)
    assert run.returncode == 0, run.stderr
