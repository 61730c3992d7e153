"""Write the drawings that stand in notebooks for figures that a reader moves, and their heights.

    python book/live_stills.py _build/html

opens the built pages in Chromium and writes each moving figure that is an SVG, in the state in
which it starts, to the chapter's `figures/live_NAME.svg`. A figure whose module `book/live/NAME.py`
has a function `still` is drawn by that module (`python book/live/NAME.py`), and is left alone here.
The heights of all figures go to `book/static/live/heights.css`, so that a page keeps their place
before they start. Run it when a figure has changed; `tests/book/browser/test_live.py` fails where a
drawing is not that of its figure, or a height too small.
"""

import re
import shutil
import sys
from pathlib import Path
from xml.etree import ElementTree

import notebooks

__all__ = ["HEIGHTS", "WIDTH", "drawing_of", "drawn_in_pages", "heights_of", "pages_by_figure"]

WIDTH = 560  # pixels, of all drawings in the book
HEIGHTS = notebooks.ROOT / "book" / "static" / "live" / "heights.css"
NARROWEST, WIDEST, STEP = 256, 704, 32  # widths of a figure; from the last on it is as high
SVG = "http://www.w3.org/2000/svg"
ElementTree.register_namespace("", SVG)


def pages_by_figure() -> dict[str, Path]:
    """Return for each figure with a script the chapter that shows it."""
    scripts = (notebooks.ROOT / "book" / "static" / "live").glob("*.js")
    names = sorted(script.stem for script in scripts if script.stem != "common")
    return {name: chapter for name in names for chapter in notebooks.in_order()
            if f"(figures/live_{name}.svg)" in notebooks.text_of(chapter)}


def drawn_in_pages() -> list[str]:
    """Return the figures whose drawing is taken from the page: no module of theirs draws one."""
    def draws(name: str) -> bool:
        module = notebooks.ROOT / "book" / "live" / f"{name}.py"
        return module.exists() and re.search(r"^def still\(", module.read_text(encoding="utf-8"),
                                             re.MULTILINE) is not None
    return [name for name in pages_by_figure() if not draws(name)]


def heights_of(page, name: str) -> dict[int, int]:
    """Return the height of a moving figure of an open page, in pixels, by its least width."""
    measure = """async ([name, width]) => {
      const figure = document.querySelector(`[data-live=${name}]`);
      figure.style.width = `${width}px`;
      for (let i = 0; i < 3; i += 1) await new Promise(requestAnimationFrame); // drawn anew
      return figure.querySelector(".live-box").getBoundingClientRect().height;
    }"""
    found = {}
    for least in range(NARROWEST, WIDEST + 1, STEP):
        widths = range(least, least + STEP, 10) if least < WIDEST else [WIDEST]
        found[least] = -int(-max(page.evaluate(measure, [name, width]) for width in widths) // 1)
    return found


def style_of(heights: dict[str, dict[int, int]]) -> str:
    """Return the style that keeps the place of figures, from their heights by least width."""
    lines = ["/* Written by book/live_stills.py: heights of moving figures, by their widths. */",
             "@media screen and (scripting: enabled) {"]
    for least in next(iter(heights.values())):
        rules = [f"    [data-live={name}]::before {{ height: {by_width[least]}px; }}"
                 for name, by_width in heights.items()]
        lines += [f"  @container (min-width: {least}px) {{", *rules, "  }"]
    return "\n".join([*lines, "}"]) + "\n"


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
        heights = {}
        for name, chapter in pages_by_figure().items():
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            built = chapter.relative_to(notebooks.ROOT).with_suffix(".html")
            page.goto((html / built).as_uri())
            page.locator(f"[data-live={name}].started").wait_for(state="attached")
            heights[name] = heights_of(page, name)
            if name in drawn_in_pages():
                page.reload()  # at its own width
                path = chapter.parent / "figures" / f"live_{name}.svg"
                path.write_text(drawing_of(page, name), encoding="utf-8")
                print(f"Wrote {path}")
        HEIGHTS.write_text(style_of(heights), encoding="utf-8")
        print(f"Wrote {HEIGHTS}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
