"""Figures that a reader moves: what the build adds to a page. Their scripts: see `browser/`."""

import re
from types import SimpleNamespace

import live_figures
import numpy as np
import pytest
from docutils import nodes

import live_stills
import notebooks


class Builder:
    format = "html"


class App:
    builder = Builder()


def test_the_paragraph_of_a_drawing_is_put_into_a_box():
    other, still = nodes.image(uri="a.svg"), nodes.image(uri="c/figures/live_two_gaussians.svg")
    document = nodes.section()
    document += [nodes.paragraph("", "", other), nodes.paragraph("", "", still)]
    document[1]["classes"].append("drawn")
    live_figures.wrap(App(), document, "c/page")
    plain, box = document.children
    assert isinstance(plain, nodes.paragraph)
    assert isinstance(box, live_figures.LiveFigure) and box["name"] == "two_gaussians"
    assert box[0]["classes"] == ["drawn"] and box[0][0] is still


def test_numbers_reach_the_page_exactly_and_are_finite(tmp_path):
    module = tmp_path / "bar.py"
    module.write_text("import numpy\n\ndef data():\n    return {'a': numpy.array([0.1, 1 / 3])}\n")
    script = live_figures.data_script(module)
    assert script == 'liveFigures.data.bar = {"a":[0.1,0.3333333333333333]};\n'
    module.write_text("def data():\n    return {'a': float('nan')}\n")
    with pytest.raises(ValueError, match=r"data\(\) of bar\.py must be finite, got: "):
        live_figures.data_script(module)


def test_each_drawing_has_a_script_and_each_script_a_drawing():
    drawings = {path.stem.removeprefix("live_")
                for path in notebooks.CHAPTERS.glob("*/figures/live_*.svg")}
    scripts = {path.stem for path in live_figures.SCRIPTS.glob("*.js")}
    scripts = {name for name in scripts - {"common"} if not name.endswith("_model")}
    assert drawings == scripts == set(live_stills.pages_by_figure())


def test_a_drawing_of_a_figure_on_a_canvas_is_left_alone():
    drawn, figures = live_stills.drawn_in_pages(), live_stills.pages_by_figure()
    for name in figures:
        module = live_figures.BOOK / "live" / f"{name}.py"
        text = module.read_text(encoding="utf-8") if module.exists() else ""
        on_canvas = "canvas(" in (live_figures.SCRIPTS / f"{name}.js").read_text(encoding="utf-8")
        assert (name in drawn) != ("def still(" in text)
        assert not (on_canvas and name in drawn), f"{module.name} must have a function still()"


@pytest.mark.parametrize("script", sorted(live_figures.SCRIPTS.glob("*.js")), ids=lambda x: x.stem)
def test_a_script_is_short_and_names_no_other_host(script):
    lines = script.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 200 and max(map(len, lines)) <= 120
    hosts = re.findall(r"https?://(?!www\.w3\.org/)\S+", "\n".join(lines))
    assert hosts == [] and not any(re.match(r"\s*(import|export)\b", line) for line in lines)


@pytest.mark.parametrize(("name", "chapter"), live_stills.pages_by_figure().items())
def test_a_notebook_says_where_its_figure_moves(name, chapter):
    text = notebooks.text_of(chapter)
    drawing = rf"!\[[^\]]*\]\(figures/live_{name}\.svg\)"  # not a link to it
    after = re.split(drawing, text, maxsplit=1)[1]
    assert "rendered book" in after.split("\n\n")[2], "the sentence after the caption invites"


@pytest.mark.parametrize(("kind", "shown"), [
    ("html", "Here you can move it."), ("latex", "In the rendered book you can move it.")])
def test_a_page_says_here(kind, shown):
    document = nodes.section()
    document += nodes.paragraph("", "In the rendered book you can move it.")
    app = SimpleNamespace(builder=SimpleNamespace(format=kind))
    live_figures.say_here(app, document, "page")
    assert document.astext() == shown


def test_the_bound_is_that_of_the_model_in_its_chapter():
    elbo = live_stills.pages_by_figure()["elbo_bar"]
    (cell,) = [cell for cell in notebooks.cells_of(elbo) if cell.id == "elbo-02"]
    source = cell.source.replace('plt.style.use("genmodels.course")', "")
    names: dict = {}
    exec(source, names)
    space: dict = {}
    exec((live_figures.BOOK / "live" / "elbo_bar.py").read_text(encoding="utf-8"), space)
    data = space["data"]()
    assert np.array_equal(data["x"], names["x"])
    assert np.array_equal(data["weights"], names["model"].weights)
    assert np.array_equal(data["posterior_mean"], names["post_mean"])
    assert data["log_evidence"] == names["log_p_x"]
