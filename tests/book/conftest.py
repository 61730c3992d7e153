"""The folder of the built pages, and the pages as trees, which each process parses once."""

import functools
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

import notebooks


@pytest.fixture(scope="session")
def html() -> Path:
    """The folder of the built pages: that of GENMODELS_HTML, which `make test` builds."""
    name = os.environ.get("GENMODELS_HTML")
    if not name:
        pytest.fail("GENMODELS_HTML must name the folder of a built book: use `make test`")
    folder = (notebooks.ROOT / name).resolve()
    if not (folder / "index.html").is_file():
        pytest.fail(f"no book in GENMODELS_HTML={folder}: use `make test`, which builds one")
    return folder


@pytest.fixture(scope="session")
def parse() -> Callable[[Path], BeautifulSoup]:
    """A function that returns a page as a tree; the tests change none."""
    @functools.cache
    def parsed(path: Path) -> BeautifulSoup:
        return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")

    return parsed
