"""Formulas in words: what stands in the excerpts of the search, without TeX."""

import re

import pytest

import notebooks
import tex_text

FORMULA = re.compile(r"\$\$(.+?)\$\$|(?<![\\$])\$([^$\n]+)\$", re.DOTALL)


@pytest.mark.parametrize(("tex", "words"), [
    (r"\log p(\mathbf x) \ge \mathrm{ELBO}", "log p(x) ≥ ELBO"),
    (r"\mathcal D[Q\|p(\mathbf h)]", "D[Q‖p(h)]"),
    (r"\mathbb E_{\mathbf h\sim Q}[\log p]", "E_(h ∼ Q)[log p]"),
    (r"\sigma^2 x_0 10^{-5}", "σ² x₀ 10⁻⁵"),
    (r"s^{4w}", "s^(4w)"),
    (r"\frac12 + \tfrac{a+b}{c}", "1/2 + (a+b)/c"),
    (r"\sqrt{1-\bar\alpha_t}\,\boldsymbol\epsilon", "√(1-α̅_t) ϵ"),
    (r"\left(\lVert x\rVert\right) \text{ if } x_{ij}", "(‖x‖) if x_ij"),
    (r"\begin{aligned} a &= b \\ &= c\end{aligned}", "a = b = c"),
])
def test_a_formula_in_words(tex, words):
    assert tex_text.in_words(tex) == words


def test_no_formula_of_the_course_keeps_its_markup():
    formulas = {one or other for page in [*notebooks.in_order(), *notebooks.plain_pages()]
                for one, other in FORMULA.findall(notebooks.text_of(page))}
    assert len(formulas) > 2000
    kept = {tex: words for tex in formulas if re.search(r"\\|&|\$|[a-z]\{", words :=
                                                        tex_text.in_words(tex))}
    assert kept == {}
    empty = [tex for tex in formulas if tex.strip() and not tex_text.in_words(tex)]
    assert empty == []
