"""What a card shows of a section, an equation and a term, and where it is kept."""

from types import SimpleNamespace

import previews
import pytest
from docutils import nodes
from docutils.utils import new_document


def paragraph(*parts: str | nodes.Node) -> nodes.paragraph:
    found = nodes.paragraph()
    found += [nodes.Text(part) if isinstance(part, str) else part for part in parts]
    return found


def section(title: str, name: str, *children: nodes.Node) -> nodes.section:
    found = nodes.section(ids=[name])
    found += [nodes.title("", title), *children]
    return found


@pytest.mark.parametrize(("parts", "sentence"), [
    (("One sentence. Another.",), "One sentence."),
    (("Is this one? Yes.",), "Is this one?"),
    (("A bound, e.g. This one, by D. P. Kingma et al. (2014). More.",),
     "A bound, e.g. This one, by D. P. Kingma et al. (2014)."),
    (("No end at 0.5 or here",), "No end at 0.5 or here"),
    (("Lines\nof ", nodes.strong("", "bold. Text"), " and ", nodes.math("", "a<b"), ". More."),
     "Lines of <strong>bold. Text</strong> and "
     r'<span class="math">\(a&lt;b\)</span>.'),
    (("A ", nodes.reference("", "link", refuri="x.html"), ", “quoted.” More."),
     "A link, “quoted.”"),
    (("A < b & c. D",), "A &lt; b &amp; c."),
])
def test_the_first_sentence(parts, sentence):
    assert previews.sentences(paragraph(*parts))[0][0] == sentence


def test_a_term_is_shown_with_the_sentence_that_defines_it():
    term = nodes.strong("", "entropy", ids=["term-entropy"])
    document = new_document("page")
    document += section("Page", "page", paragraph("First. The ", term, " is\na mean. Last."),
                        paragraph("Not ", nodes.strong("", "this"), "."))
    assert ("term-entropy", "Page", "The <strong>entropy</strong> is a mean.") in list(
        previews.previews_of(document))
    assert previews.defining(nodes.strong("", "alone", ids=["term-alone"])) == ""


def test_sections_and_equations_of_a_page():
    document = new_document("page")
    document += section(
        "Page & title", "page-title", paragraph("First. Second."),
        section("Part", "part", nodes.math_block("", "a &= b", label="B2"),
                paragraph("Its text."), section("Inner", "inner", nodes.literal_block("", "x"))),
        section("No text", "no-text", section("Last", "last", paragraph("Last one."))))
    document += nodes.math_block("", "no label", label=None)
    assert list(previews.previews_of(document)) == [
        ("", "Page &amp; title", "First."), ("page-title", "Page &amp; title", "First."),
        ("part", "Part", "Its text."), ("inner", "Inner", ""), ("no-text", "No text", ""),
        ("last", "Last", "Last one."),
        ("equation-b2", "(B2) in Page &amp; title", r'<div class="math">\[a &amp;= b\]</div>')]


def test_an_equation_of_several_lines_is_aligned():
    assert r"\begin{split}a &amp;= b \\ c\end{split}" in previews.displayed(r"a &= b \\ c")


def test_one_script_has_all_and_is_written_only_when_it_changes(tmp_path):
    builder = SimpleNamespace(format="html", get_target_uri=lambda name: f"{name}.html")
    app = SimpleNamespace(builder=builder, outdir=tmp_path)
    env = SimpleNamespace(previews={"part/page": {"": ["Title", "Text."],
                                                  "equation-b2": ["(B2)", "√"]}})
    previews.write(app, env)
    path = tmp_path / "_static" / previews.DATA
    text = path.read_text(encoding="utf-8")
    assert text.startswith("previews.data = {") and "√" in text
    assert '"part/page.html": [' in text and '"part/page.html#equation-b2": [' in text
    path.chmod(0o400)
    before = path.stat().st_mtime_ns
    previews.write(app, env)
    assert path.stat().st_mtime_ns == before
