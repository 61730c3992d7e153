"""An ID in running text becomes a link to its equation, and a warning where there is none."""

from types import SimpleNamespace

import equation_ids
import pytest
from docutils import nodes
from docutils.utils import new_document


@pytest.fixture
def app():
    domain = SimpleNamespace(equations={"B2": ("elbo", "B2"), "B3": ("elbo", "B3")})
    return SimpleNamespace(
        env=SimpleNamespace(get_domain=lambda name: domain),
        builder=SimpleNamespace(get_relative_uri=lambda source, target: f"{target}.html"))


@pytest.fixture
def warned(monkeypatch):
    found = []
    monkeypatch.setattr(equation_ids.logger, "warning",
                        lambda text, label, **where: found.append((label, where["location"])))
    return found


def page(text: str, kind=nodes.inline) -> nodes.document:
    document = new_document("page")
    paragraph = nodes.paragraph()
    paragraph += kind("", text)
    document += paragraph
    return document


def test_ids_become_links(app, warned):
    document = page("by (B2, B3) and Jensen")
    equation_ids.link_ids(app, document, "gradients")
    links = [link["refuri"] for link in document.findall(nodes.reference)]
    assert links == ["elbo.html#equation-b2", "elbo.html#equation-b3"]
    assert document.astext() == "by (B2, B3) and Jensen" and not warned


@pytest.mark.parametrize("text", ["by (B9)", "by (B2, B9)"])
def test_an_id_of_no_equation_is_a_warning(app, warned, text):
    document = page(text)
    equation_ids.link_ids(app, document, "gradients")
    assert document.astext() == text and warned == [("B9", "gradients")]


def test_code_is_not_running_text(app, warned):
    equation_ids.link_ids(app, page("(B9)", nodes.literal), "gradients")
    assert not warned
