"""The head of a chapter says what is known of it, and nothing that is not."""

from datetime import datetime
from types import SimpleNamespace

import nbformat
import page_head
import pytest
from bs4 import BeautifulSoup
from docutils import nodes

import notebooks
import reading

KERAS = notebooks.CHAPTERS / "vae" / "vae_keras.ipynb"
ELBO = notebooks.CHAPTERS / "foundations" / "elbo.ipynb"
LOADED = ("Loaded bundled MNIST subset: 4,000 training and 1,000 test digits (by GENMODELS_DATA).")


def app(docname, *, executed=None):
    """What the extension looks at, of Sphinx."""
    data = {} if executed is None else {docname: {"exec_data": executed}}
    return SimpleNamespace(
        builder=SimpleNamespace(format="html"), env=SimpleNamespace(nb_metadata=data))


def head_of(docname, *outputs, **settings) -> BeautifulSoup:
    """Return the head that a page gets."""
    section = nodes.section()
    section += nodes.title("T", "T")
    for text in outputs:
        section += nodes.container("", nodes.literal_block(text, text), classes=["cell_output"])
    page_head.add(app(docname, **settings), section, docname)
    return BeautifulSoup(section[1].astext(), "html.parser")


def facts_in(head) -> dict[str, str]:
    return {row.dt.get_text(): row.dd.get_text() for row in head.select("dl > div")}


@pytest.mark.parametrize(("budget", "shown"), [
    ("", "laptop"), ("laptop", "laptop"), ("quick", "quick (the text describes laptop)")])
def test_what_was_executed_has_its_budget_and_its_date(monkeypatch, budget, shown):
    monkeypatch.setenv("GENMODELS_BUDGET", budget)
    when = datetime(2026, 3, 5, 12).timestamp()
    head = head_of("chapters/vae/vae_keras", LOADED, executed={"succeeded": True, "mtime": when})
    assert facts_in(head) == {
        "Reading": f"{reading.stated_minutes(KERAS)} minutes",
        "Budget": shown,
        "Data": "bundled MNIST subset, 4,000 training and 1,000 test digits",
        "Executed": "5 March 2026"}


@pytest.mark.parametrize("executed", [None, {"succeeded": False, "mtime": 1.0}])
def test_what_is_not_known_is_left_out(executed):
    head = head_of("chapters/foundations/elbo", "log p = 1", executed=executed)
    assert list(facts_in(head)) == ["Reading"]


def test_without_the_address_of_the_repository_only_notebooks_are_offered(monkeypatch):
    monkeypatch.setattr(page_head, "repository", dict)
    head = head_of("chapters/vae/vae_keras")
    assert [(a.get_text(), a["href"], a.has_attr("download")) for a in head.find_all("a")] == [
        ("Notebook", "../../_sources/chapters/vae/vae_keras.ipynb", True),
        ("Notebook without solutions", "../../without_solutions/chapters/vae/vae_keras.ipynb",
         True),
        ("How to run it", "../../chapters/index.html#run-it-yourself", False)]


@pytest.mark.parametrize(("url", "colab"), [
    ("https://github.com/a/b", "https://colab.research.google.com/github/a/b/blob/v1/x.ipynb"),
    ("https://github.com/a/b.git/", "https://colab.research.google.com/github/a/b/blob/v1/x.ipynb"),
    ("https://git.example.org/a/b", None)])
def test_with_it_colab_source_and_issue_are_too(monkeypatch, url, colab):
    monkeypatch.setattr(page_head, "repository", lambda: {"url": url})
    found = page_head.repository_links(url, "v1", "x.ipynb")
    assert found.get("Open in Colab") == colab
    base = url.rstrip("/").removesuffix(".git")
    assert found["Source"] == f"{base}/blob/v1/x.ipynb"
    assert found["Report a mistake"] == f"{base}/issues/new?title=x.ipynb"
    head = head_of("chapters/vae/vae_keras")
    assert len(head.find_all("a")) == 3 + len(found)


def test_the_address_is_that_of_the_configuration(monkeypatch, tmp_path):
    monkeypatch.setattr(page_head.notebooks, "ROOT", tmp_path)
    for text, expected in [("repository: {url: u, branch: b}", {"url": "u", "branch": "b"}),
                           ("title: T", {}), ("repository:", {})]:
        (tmp_path / "_config.yml").write_text(text)
        assert page_head.repository() == expected


def test_a_page_that_is_no_notebook_has_no_head():
    section = nodes.section()
    section += nodes.title("T", "T")
    page_head.add(app("chapters/index"), section, "chapters/index")
    assert len(section) == 1


def test_what_is_shown_is_escaped():
    text = page_head.head({"Data": "a < b & c"}, [("x", 'y"z', False)])
    assert "a &lt; b &amp; c" in text and 'href="y&quot;z"' in text


def test_the_notebook_with_and_without_solutions_lies_beside_the_pages(tmp_path):
    name = "chapters/vae/vae_keras"
    made = SimpleNamespace(builder=SimpleNamespace(format="html"), outdir=tmp_path,
                           env=SimpleNamespace(found_docs={name, "chapters/index"}))
    page_head.write_downloads(made, None)
    paths = [tmp_path / folder / f"{name}.ipynb" for folder in ("_sources", "without_solutions")]
    assert sorted(each for each in tmp_path.rglob("*") if each.is_file()) == paths
    whole, blank = ([tag for cell in nbformat.read(path, 4).cells
                     for tag in notebooks.tags_of(cell)] for path in paths)
    assert "exercise" in whole and "solution" in whole
    assert "exercise" in blank and "solution" not in blank
