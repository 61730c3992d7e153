"""Names of the package lead to their entry on the API page, and no other names do."""

import re

import api_links
import pytest
from api_links import Names
from bs4 import BeautifulSoup

import notebooks

KINDS = {"genmodels.diffusion": "module", "genmodels.diffusion.ddim": "function",
         "genmodels.diffusion.NoiseSchedule": "class", "genmodels.models.a.fit": "function",
         "genmodels.diffusion.NoiseSchedule.linear": "method", "genmodels.b.MLPVAE": "class",
         "genmodels.b.two_words": "function", "genmodels.c.two_words": "function"}
NAMES = Names({"diffusion": "genmodels.diffusion", "fit": "genmodels.models.a.fit"}, {"own_one"})


@pytest.mark.parametrize(("text", "full"), [
    ("diffusion.ddim", "genmodels.diffusion.ddim"),
    ("diffusion.ddim()", "genmodels.diffusion.ddim"),
    ("diffusion.NoiseSchedule.linear", "genmodels.diffusion.NoiseSchedule.linear"),
    ("fit", "genmodels.models.a.fit"),
    ("MLPVAE", "genmodels.b.MLPVAE"),
    ("genmodels.diffusion", "genmodels.diffusion"),
    ("ddim", None),  # a word that could be anything, and is not imported
    ("two_words", None),  # of two modules
    ("own_one", None),
    ("model.elbo", None),
])
def test_what_a_name_in_prose_means(text, full):
    assert api_links.full_name(text, NAMES, KINDS)[0] == full


@pytest.mark.parametrize(("text", "required"), [
    ("diffusion.ddimm", True), ("genmodels.difusion", True), ("fit.x", False), ("torch.x", False)])
def test_a_name_below_a_module_of_the_package_must_exist(text, required):
    assert api_links.full_name(text, NAMES, KINDS)[1] == required


def test_names_that_a_module_passes_on_are_described_where_they_are_defined():
    assert api_links.defined_as("genmodels.exact.ising.energy") == "genmodels.exact.kaufman.energy"
    assert api_links.defined_as("genmodels.diffusion.ddim") == "genmodels.diffusion.ddim"


def code(*parts: str) -> str:
    """Return names, `.` and `=` as Pygments writes them."""
    spans = [f'<span class="{"o" if each in ".=" else "n"}">{each}</span>' for each in parts]
    return f'<div class="highlight"><pre>{"".join(spans)}\n</pre></div>'


def links_in(html: str) -> list[tuple[str, str]]:
    linked = api_links.linked_code(html, NAMES, lambda full: f"#{full}" if full in KINDS else None)
    assert BeautifulSoup(linked, "html.parser").get_text() == BeautifulSoup(
        html, "html.parser").get_text()
    return [(a.get_text(), a["href"]) for a in BeautifulSoup(linked, "html.parser").find_all("a")]


@pytest.mark.parametrize(("parts", "links"), [
    (["diffusion", ".", "ddim"], [("diffusion.ddim", "#genmodels.diffusion.ddim")]),
    (["diffusion", ".", "ddim", ".", "x"], [("diffusion.ddim", "#genmodels.diffusion.ddim")]),
    (["x", ".", "fit"], []),
    (["fit", "=", "x"], []),  # a keyword of that name
    (["elbo"], []),
])
def test_names_in_code(parts, links):
    assert links_in(code(*parts)) == links


def test_the_first_use_alone_is_a_stop_of_the_tab_key():
    html = code("fit") + code("fit")
    linked = api_links.linked_code(html, NAMES, lambda full: "#x")
    assert [a.get("tabindex") for a in BeautifulSoup(linked, "html.parser").find_all("a")] == [
        None, "-1"]


# The built book ----------------------------------------------------------------------------------


def test_what_chapters_import_leads_to_its_entry(html, parse):
    api = (html / f"{api_links.API}.html").read_text(encoding="utf-8")
    entries = set(re.findall(r'id="(?:module-)?(genmodels\.[\w.]+)"', api))
    total = 0
    for chapter in notebooks.in_order():
        page = parse(html / chapter.relative_to(notebooks.ROOT).with_suffix(".html"))
        linked = {a["href"].partition("#")[2].removeprefix("module-")
                  for a in page.select(".cell_input a.api-link")}
        assert linked <= entries, chapter.stem
        imported = {api_links.defined_as(full)
                    for full in api_links.names_in(chapter).imported.values()}
        assert imported & entries <= linked, chapter.stem
        total += len(linked)
    assert total > 200
