"""Write the drawings that stand in the notebooks for figures that a reader moves.

    python book/live_stills.py _build/html

opens the built pages in Chromium and writes each moving figure that is an SVG, in the state in
which it starts, to the chapter's `figures/live_NAME.svg`. Run it when a figure has changed;
`tests/book/browser/test_live.py` fails where a drawing is not that of its figure.
"""

import shutil
import sys
from pathlib import Path
from xml.etree import ElementTree

import notebooks

__all__ = ["WIDTH", "drawing_of", "pages_by_figure"]

WIDTH = 560  # pixels, of all drawings in the book
SVG = "http://www.w3.org/2000/svg"
ElementTree.register_namespace("", SVG)


def pages_by_figure() -> dict[str, Path]:
    """Return for each figure with a script the chapter that shows it."""
    scripts = (notebooks.ROOT / "book" / "static" / "live").glob("*.js")
    names = sorted(script.stem for script in scripts if script.stem != "common")
    return {name: chapter for name in names for chapter in notebooks.in_order()
            if f"(figures/live_{name}.svg)" in notebooks.text_of(chapter)}


def drawing_of(page, name: str) -> str:
    """Return a moving figure of an open page as an SVG file, without its handles."""
    page.evaluate("width => document.querySelectorAll('.live-box').forEach(box => {"
                  "box.style.width = `${width}px`; box.style.maxWidth = 'none'; })", WIDTH)
    page.wait_for_selector(f"[data-live={name}] svg.live-picture[width='{WIDTH}']")
    outer = page.locator(f"[data-live={name}] svg.live-picture").evaluate("svg => svg.outerHTML")
    outer = outer.replace("<svg ", f'<svg xmlns="{SVG}" ', 1)
    root = ElementTree.fromstring(outer)
    for attribute in ("role", "aria-label", "class", "width", "height"):
        root.attrib.pop(attribute)
    for handle in root.findall("*[@class='handle']"):
        root.remove(handle)
    root.set("style", "color: black; background: white")  # where it is shown alone
    for parent in (root, *root):
        parent.text = "\n"
        for child in parent:
            child.tail = "\n"
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def main() -> int:
    from playwright.sync_api import sync_playwright

    html = Path(sys.argv[1]).resolve()
    with sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=shutil.which("chromium"),
                                         args=["--no-sandbox"])
        for name, chapter in pages_by_figure().items():
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            built = chapter.relative_to(notebooks.ROOT).with_suffix(".html")
            page.goto((html / built).as_uri())
            if page.locator(f"[data-live={name}] svg.live-picture").count() == 1:
                path = chapter.parent / "figures" / f"live_{name}.svg"
                path.write_text(drawing_of(page, name), encoding="utf-8")
                print(f"Wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
