"""The chapters on the left and the contents on the right: where the reader is stays in sight."""

import pytest

LONG = "chapters/diffusion/samplers.html"
SEEN = """([box, element]) => {
    const [outer, inner] = [box, element].map((it) =>
        document.querySelector(it).getBoundingClientRect());
    return inner.top >= outer.top && inner.bottom <= Math.min(outer.bottom, innerHeight); }"""


@pytest.fixture
def chapter(plain, html):
    """A function that opens a page of the book, with formulas left as they are."""
    page = plain
    page.set_viewport_size({"width": 1280, "height": 500})

    def opened(name):
        page.goto((html / name).as_uri())
        return page

    return opened


def test_the_entry_of_the_section_that_is_read_is_seen(chapter):
    page = chapter(LONG)
    for section in ("exercise-5-any-amount-of-noise", "further-reading",
                    "a-denoiser-is-not-yet-a-sampler"):
        page.evaluate("(id) => document.getElementById(id).scrollIntoView("
                      "{ behavior: 'instant' })", section)
        entry = f"#pst-page-toc-nav a[href='#{section}']"
        page.locator(f"{entry}[aria-current]").wait_for()
        at = page.evaluate("scrollY")
        page.wait_for_timeout(100)
        assert page.evaluate(SEEN, ["#pst-secondary-sidebar", entry])
        assert page.evaluate("scrollY") == at


@pytest.mark.parametrize("name", [LONG, "chapters/foundations/elbo.html",
                                  "chapters/appendix/bibliography.html"])
@pytest.mark.parametrize("stored", ["0", "1000"])  # from the page before
def test_the_chapter_that_is_read_is_seen_below_the_search(chapter, name, stored):
    page = chapter(name)
    page.add_init_script(f"sessionStorage.setItem('sidebar-scroll-top', '{stored}')")
    page.reload()
    assert page.evaluate(SEEN, ["#pst-primary-sidebar", ".toctree-l1.current"])
    strip = page.locator(".sidebar-primary-item:has(> .search-button-field)").bounding_box()
    assert page.locator(".toctree-l1.current").bounding_box()["y"] >= strip["y"] + strip["height"]


def test_nothing_shows_through_around_the_search(chapter):
    page = chapter(LONG)
    before = None
    for top in (300, 310, 321):
        page.locator("#pst-primary-sidebar").evaluate("(it, top) => { it.scrollTop = top; }", top)
        after = page.screenshot(clip={"x": 0, "y": 0, "width": 240, "height": 68})
        assert before in {None, after}
        before = after
