"""The pages that are written from chapters, exercises, tests and the package: none is committed.

    python book/pages.py
"""

from pathlib import Path

import api
import exercise_list
import identities

__all__ = ["GENERATED", "write"]

GENERATED = (api.PAGE, exercise_list.PAGE, identities.PAGE)


def texts() -> dict[Path, str]:
    """Return the text of each generated page by its path."""
    return {
        api.PAGE: api.page(),
        exercise_list.PAGE: exercise_list.page(exercise_list.all_exercises()),
        identities.PAGE: identities.page(identities.read_register()),
    }


def write() -> list[Path]:
    """Write the generated pages whose text has changed and return their paths.

    One that has not changed stays as it is, and Sphinx does not read it again.
    """
    written = []
    for path, text in texts().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            written.append(path)
    return written


if __name__ == "__main__":
    for changed in write():
        print(f"Wrote {changed}")
