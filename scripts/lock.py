"""Write constraints.txt: the versions that a clean installation of requirements.txt brings."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# PyTorch's CUDA packages depend on the machine; pip itself is not part of the project.
LEFT_OUT = re.compile(r"(nvidia|cuda)-.*|triton|pip|genmodels")
HEADER = f"""\
# Written by `make lock` (Python {sys.version_info.major}.{sys.version_info.minor}): do not edit.
# What a clean installation of requirements.txt brings, PyTorch's CUDA packages aside.
"""


def canonical(name: str) -> str:
    """Return a package name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(frozen: str) -> list[str]:
    """Return the lines `name==version` for the output of `pip list --format=freeze`."""
    lines = []
    for line in frozen.splitlines():
        name, version = line.split("==")
        if not LEFT_OUT.fullmatch(canonical(name)):
            public_version = version.partition("+")[0]  # 2.13.0+cpu -> 2.13.0
            lines.append(f"{canonical(name)}=={public_version}")
    return sorted(lines)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [f"{folder}/bin/python", "-m", "pip", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "-r", ROOT / "requirements.txt"], check=True)
        frozen = subprocess.run(
            [*pip, "list", "--format=freeze"], check=True, capture_output=True, text=True
        ).stdout
    (ROOT / "constraints.txt").write_text(HEADER + "\n".join(pins(frozen)) + "\n")
    print("Wrote constraints.txt")


if __name__ == "__main__":
    main()
