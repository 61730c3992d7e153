"""`make check CHAPTER=…` knows the chapters and builds a page of one of them."""

import pytest
import yaml

import check
import notebooks


def test_a_chapter_is_found_by_its_name():
    assert check.chapter_named("elbo") == notebooks.CHAPTERS / "foundations" / "elbo.ipynb"


@pytest.mark.parametrize("name", ["", "ELBO", "elbo.ipynb", "foundations/elbo", "notation"])
def test_an_unknown_chapter_is_told_which_there_are(name, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["check.py", *name.split()])
    assert check.main() == 2
    told = capsys.readouterr().err
    assert f"got {name!r}" in told
    assert all(chapter.stem in told for chapter in notebooks.in_order())


def test_the_page_is_that_of_the_book_alone_and_without_outputs(tmp_path, monkeypatch):
    monkeypatch.setattr(check, "FOLDER", tmp_path)
    check.page_command(check.chapter_named("elbo"))
    toc = yaml.safe_load((tmp_path / "toc.yml").read_text())
    assert toc == {"format": "jb-book", "root": "chapters/foundations/elbo"}
    config = yaml.safe_load((tmp_path / "config.yml").read_text())
    book = yaml.safe_load((notebooks.ROOT / "_config.yml").read_text(encoding="utf-8"))
    assert config["execute"] == {"execute_notebooks": "off"}
    assert config["parse"] == book["parse"] and config["html"] == book["html"]


def test_the_tests_of_a_chapter_are_in_files_that_exist():
    command = check.test_command(check.chapter_named("elbo"))
    files = [part for part in command if part.endswith((".py", ".ipynb")) and " " not in part]
    assert [file.rpartition("/")[2] for file in files] == [
        "elbo.ipynb", "test_exercises.py", "test_exercise_list.py", "test_notebooks.py"]
