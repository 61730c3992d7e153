"""The map of the chapters has the arrows that the first cells of the chapters say, no more."""

import re
from xml.etree import ElementTree

import nbformat
import pytest

import chapter_map
import notebooks

SVG = "{http://www.w3.org/2000/svg}"
BOOK = chapter_map.chapters()


def linked_by_hand(path) -> set:
    """Read the links of a first cell by another route: each paragraph, up to the next bold word."""
    first = notebooks.cells_of(path)[0].source
    after = first.split("**What you need.**")[1].split("**Time.**")[0]
    return {(path.parent / name).resolve() for name in re.findall(r"[\w./]+\.ipynb", after)}


def chapter(number: int, *needs: int) -> chapter_map.Chapter:
    return chapter_map.Chapter(notebooks.CHAPTERS / f"{number}.ipynb", f"Chapter {number}", "Part",
                               list(needs))


def test_each_chapter_needs_what_its_first_cell_links():
    paths = {number: each.path for number, each in BOOK.items()}
    assert list(paths.values()) == notebooks.in_order()
    for number, each in BOOK.items():
        assert {paths[n] for n in each.needs} == linked_by_hand(each.path), each.title
        assert all(n < number for n in each.needs), f"{each.title} needs a later chapter"
    assert sum(len(each.needs) for each in BOOK.values()) > 40


def test_arrows_say_what_the_first_cells_say():
    """Arrows lead from what a chapter needs, directly or not, to it, and nowhere else."""
    drawn = chapter_map.arrows(BOOK)
    linked = {(n, number) for number, each in BOOK.items() for n in each.needs}
    assert set(drawn) <= linked and len(set(drawn)) == len(drawn)

    def closure(pairs):
        pairs = set(pairs)
        while more := {(a, d) for a, b in pairs for c, d in pairs if b == c} - pairs:
            pairs |= more
        return pairs

    assert closure(drawn) == closure(linked)


def test_an_arrow_that_follows_from_others_is_left_out():
    book = {1: chapter(1), 2: chapter(2, 1), 3: chapter(3, 1, 2), 4: chapter(4, 1)}
    assert chapter_map.arrows(book) == [(1, 2), (2, 3), (1, 4)]


def test_the_drawing_has_each_chapter_and_each_arrow():
    root = ElementTree.fromstring(chapter_map.svg(BOOK, {n: f"{n}.html" for n in BOOK}))
    boxes = root.findall(f"{SVG}a")
    assert [box.get("href") for box in boxes] == [f"{n}.html" for n in BOOK]
    for (number, each), box in zip(BOOK.items(), boxes):
        shown = " ".join("".join(box.itertext()).split())
        assert shown == f"{number}. {each.title}"
        assert box.get("aria-label").startswith(shown)
        needs = box.get("aria-label").removeprefix(shown)
        assert [int(n) for n in re.findall(r"\d+", needs)] == each.needs
    # Where the arrows point: the box whose left or upper edge each of them ends at.
    rects = {n: box.find(f"{SVG}rect") for n, box in zip(BOOK, boxes)}
    ends = []
    for path in root.iter(f"{SVG}path"):
        if path.get("marker-end") and "H" in path.get("d"):
            y = float(re.findall(r"[\d.]+", path.get("d"))[1])
        elif path.get("marker-end"):
            y = float(path.get("d").rpartition("V")[2]) + 1
        else:
            continue
        ends += [n for n, rect in rects.items()
                 if float(rect.get("y")) <= y <= float(rect.get("y")) + float(rect.get("height"))]
    assert sorted(ends) == sorted(end for _, end in chapter_map.arrows(BOOK))
    assert "http" not in ElementTree.tostring(root, encoding="unicode").replace(SVG[1:-1], "")


def test_arrows_beside_each_other_do_not_share_a_lane():
    spans = {1: (0, 10), 2: (5, 20), 3: (12, 14), 4: (11, 30)}
    found = chapter_map.lanes(spans)
    for a in spans:
        for b in spans:
            if a < b and found[a] == found[b]:
                assert spans[a][1] < spans[b][0] or spans[b][1] < spans[a][0]


def test_a_first_cell_without_what_you_need_is_refused(tmp_path):
    path = tmp_path / "a.ipynb"
    cell = nbformat.v4.new_markdown_cell("# A\n\n**Time.** See [b](b.ipynb).")
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    with pytest.raises(ValueError, match=r"must say '\*\*What you need\.\*\*'"):
        chapter_map.linked_in(path)


def test_the_home_page_has_the_map_and_a_row_for_each_chapter():
    text = (notebooks.CHAPTERS / "index.md").read_text(encoding="utf-8")
    assert text.count(f"\n{chapter_map.MARK}\n") == 1
    rows = re.findall(r"^\| \[\]\(([\w/]+\.ipynb)\) \|", text, re.MULTILINE)
    assert [notebooks.CHAPTERS / row for row in rows] == notebooks.in_order()
    first = next(iter(BOOK.values())).path.relative_to(notebooks.CHAPTERS).as_posix()
    assert f"[Start with chapter 1]({first})" in text
