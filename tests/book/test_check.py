"""`make check CHAPTER=…` knows the chapters and builds a page of one of them."""

import subprocess

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


def test_the_tests_of_a_chapter_are_chosen_in_every_file_and_no_others():
    """Or `make check` would pass without them: the cells of the notebook are always chosen."""
    command = check.test_command(check.chapter_named("elbo"))
    listed = subprocess.run([*command, "--collect-only"], cwd=notebooks.ROOT, check=True,
                            capture_output=True, text=True).stdout
    chosen = [line for line in listed.splitlines() if "::" in line]
    assert {line.partition("::")[0].rpartition("/")[2] for line in chosen} == {
        "elbo.ipynb", "test_exercises.py", "test_exercise_list.py", "test_notebooks.py",
        "test_identities.py"}
    assert all("elbo" in line or "test_identities.py" in line for line in chosen)
    assert any("test_identity_has_one_labelled_equation[B2]" in line for line in chosen)
