"""A downloaded notebook shows its drawings, wherever it lies."""

import base64
import re

import pytest

import downloads
import notebooks

DRAWN = [chapter for chapter in notebooks.in_order()
         if downloads.SHOWN.search(notebooks.text_of(chapter))]


def pictures_in(notebook) -> list[str]:
    """Return the addresses of the pictures in the text cells."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return re.findall(r"!\[[^\]]*\]\(([^)]*)\)", text)


@pytest.mark.parametrize("chapter", DRAWN, ids=lambda path: path.stem)
def test_without_an_address_each_drawing_stands_in_the_text(chapter, monkeypatch):
    monkeypatch.setattr(downloads, "repository", dict)
    before = pictures_in(notebooks.read(chapter))
    after = pictures_in(downloads.alone(notebooks.read(chapter), chapter))
    assert len(after) == len(before)
    for name, shown in zip(before, after):
        start, _, data = shown.partition(",")
        assert start == "data:image/svg+xml;base64"
        assert base64.b64decode(data) == (chapter.parent / name).read_bytes()


def test_with_one_on_github_it_has_its_address_there(monkeypatch):
    chapter = DRAWN[0]
    monkeypatch.setattr(downloads, "repository", lambda: {"url": "https://github.com/a/b.git"})
    folder = chapter.parent.relative_to(notebooks.ROOT).as_posix()
    before = pictures_in(notebooks.read(chapter))
    assert pictures_in(downloads.alone(notebooks.read(chapter), chapter)) == [
        f"https://raw.githubusercontent.com/a/b/main/{folder}/{name}" for name in before]


def test_code_and_links_stay(monkeypatch):
    monkeypatch.setattr(downloads, "repository", dict)
    for chapter in DRAWN:
        before, after = notebooks.read(chapter), downloads.alone(notebooks.read(chapter), chapter)
        for old, new in zip(before.cells, after.cells):
            if old.cell_type == "code":
                assert old == new
            links = re.compile(r"(?<!!)\[[^\]]*\]\((?!figures/)[^)]*\)")
            assert links.findall(old.source) == links.findall(new.source)


def test_a_link_to_a_drawing_does_not_lead_nowhere(monkeypatch):
    linking = [chapter for chapter in DRAWN if downloads.LINKED.search(notebooks.text_of(chapter))]
    assert linking
    for chapter in linking:
        monkeypatch.setattr(downloads, "repository", dict)
        text = "\n".join(cell.source for cell in downloads.alone(
            notebooks.read(chapter), chapter).cells)
        words = [found[1] for found in downloads.LINKED.finditer(notebooks.text_of(chapter))]
        assert "](figures/" not in text and all(each in text for each in words)
        monkeypatch.setattr(downloads, "repository", lambda: {"url": "https://github.com/a/b"})
        text = "\n".join(cell.source for cell in downloads.alone(
            notebooks.read(chapter), chapter).cells)
        assert all(f"[{each}](https://raw.githubusercontent.com/a/b/main/" in text
                   for each in words)


@pytest.mark.parametrize(("url", "name"), [
    ("https://github.com/a/b", "a/b"), ("https://github.com/a/b.git/", "a/b"),
    ("https://git.example.org/a/b", None), ("", None)])
def test_a_repository_on_github_is_told_by_its_address(url, name):
    assert downloads.github_name(url) == name
