// What the tests measure in a page. Each function returns a list of what is wrong, as text.
window.measures = (() => {
  const article = () => document.querySelector("article.bd-article") ?? document.body;
  const shown = (element) => element.checkVisibility({ visibilityProperty: true });
  const text = (element) => element.textContent.replace(/\s+/g, " ").trim().slice(0, 60);
  const name = (element) => `${element.localName}.${[...element.classList].join(".")}`;
  // One for all: each is told of every change of the page, until it is forgotten.
  const range = document.createRange();
  // A card that appears on demand repeats a formula of the page.
  const formulas = () =>
    [...article().querySelectorAll(".math")].filter((math) => !math.closest("[role=tooltip]"));

  // How far things move while the page loads, by which a reader loses the line.
  let shift = 0;
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) shift += entry.value;
  }).observe({ type: "layout-shift", buffered: true });

  let typeset = null; // milliseconds until the formulas stand
  addEventListener("load", () =>
    window.MathJax?.startup?.promise.then(() => (typeset = performance.now()))
  );

  function unfold(open) {
    article().querySelectorAll("details").forEach((fold) => (fold.open = open));
  }

  // axe-core goes through every element. What is inside formulas is left out: the SVG is hidden from
  // who hears the page, and the MathML beside it is MathJax's. Where a formula heads a column, its
  // words stay, since axe-core takes for empty what is drawn. So are the curves of plots, which have
  // no words (a plot's name stands on its SVG, and a link in it stays). Of the words of programs one
  // of each colour stays, and of the entries of the API ten of each kind.
  function hollow() {
    document.querySelectorAll("th .math").forEach((formula) =>
      formula.replaceWith(formula.textContent)
    );
    document.querySelectorAll("mjx-container :is(svg, math)").forEach((drawn) =>
      drawn.replaceChildren()
    );
    document.querySelectorAll("svg.plot > g, svg.plot > defs").forEach((drawn) => {
      if (!drawn.querySelector("text, a, title, [tabindex]")) drawn.remove();
    });
    const entries = {};
    document.querySelectorAll("dl.py").forEach((entry) => {
      entries[entry.className] = (entries[entry.className] ?? 0) + 1;
      if (entries[entry.className] > 10) entry.remove();
    });
    const colours = new Set();
    document.querySelectorAll(".highlight pre span").forEach((word) => {
      const colour = `${word.className} ${word.parentElement.closest("[class]").className}`;
      if (!word.textContent.trim() || colours.has(colour)) word.replaceWith(word.textContent);
      else colours.add(colour);
    });
  }

  // Of the words of each kind one stays, and none where the kind is known from another page; returns
  // the kinds that were not. Colours depend on the elements around the words, their classes and
  // styles, and in tables on the parity of the row. An element that holds no word any more is left
  // empty, since axe-core goes through all there are.
  function thin(known) {
    const kinds = new Map();
    const kind = (element) => {
      if (!element) return "";
      if (!kinds.has(element)) {
        const row = element.localName === "tr" ? element.rowIndex % 2 : "";
        const own = `${name(element)}${row}${element.getAttribute("style") ?? ""}`;
        kinds.set(element, `${kind(element.parentElement)}>${own}`);
      }
      return kinds.get(element);
    };
    const [seen, others, full] = [new Set(known), [], new Set()];
    const keep = (element) => {
      for (; element && !full.has(element); element = element.parentElement) full.add(element);
    };
    document.querySelectorAll("input, select, textarea, style").forEach(keep);
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const words = walker.currentNode;
      if (!words.data.trim() || !shown(words.parentElement)) continue;
      const found = kind(words.parentElement);
      if (seen.has(found)) others.push(words);
      else keep(words.parentElement);
      seen.add(found);
    }
    others.forEach((words) => (words.data = "")); // at last: or each `shown` computes a new style
    const clear = (element) => {
      for (const inner of element.children) {
        if (full.has(inner)) clear(inner);
        else inner.replaceChildren();
      }
    };
    clear(document.body);
    return [...seen].slice(known.length);
  }

  // Colours that fade have arrived.
  function settle() {
    for (const each of document.getAnimations()) if (each instanceof CSSTransition) each.finish();
  }

  function clips(style) {
    return ["hidden", "clip"].includes(style.overflowX);
  }

  // An element that cuts off what is in it, without a way to scroll there.
  function cut() {
    const wrong = [];
    for (const element of article().querySelectorAll("*")) {
      if (element.scrollWidth <= element.clientWidth + 1 || element.closest("svg, mjx-container *"))
        continue;
      if (element.clientWidth < 2) continue; // only for those who hear the page
      if (shown(element) && clips(getComputedStyle(element)))
        wrong.push(`${name(element)} cuts: ${text(element)}`);
    }
    return wrong;
  }

  // A formula that is broader than what it stands in, and cannot be scrolled to.
  function cutFormulas() {
    const wrong = [];
    for (const math of formulas().filter(shown)) {
      const svg = math.querySelector("svg");
      if (!svg) continue;
      let box = svg.getBoundingClientRect();
      if (box.width === 0 && math.textContent.trim()) wrong.push(`vanished: ${text(math)}`);
      for (let place = svg.parentElement; place; place = place.parentElement) {
        if (!["auto", "scroll"].includes(getComputedStyle(place).overflowX)) continue;
        const frame = place.getBoundingClientRect();
        const start = frame.left - place.scrollLeft;
        if (box.left < start - 1 || box.right > start + place.scrollWidth + 1) {
          wrong.push(`cut: ${text(math)}`);
          break;
        }
        box = frame; // whoever scrolls there, sees it within this
      }
      if (box.left < -1 || box.right > innerWidth + 1) wrong.push(`cut: ${text(math)}`);
    }
    return wrong;
  }

  // Where the arrow keys cannot scroll.
  function unreachable() {
    const selector = "pre, .math, mjx-container, .pst-scrollable-table-container, .figure-box";
    return [...article().querySelectorAll(selector)]
      .filter((element) => element.scrollWidth > element.clientWidth + 1 && shown(element))
      .filter((element) => ["auto", "scroll"].includes(getComputedStyle(element).overflowX))
      .filter((element) => element.tabIndex < 0)
      .map((element) => `${name(element)}: ${text(element)}`);
  }

  // Formulas and figures that the Tab key stops at although they do not scroll.
  function stops() {
    return [...article().querySelectorAll(".math, mjx-container, .figure-box")]
      .filter((element) => element.tabIndex >= 0 && element.scrollWidth <= element.clientWidth)
      .map(text);
  }

  // Figures whose smallest text is below 0.75 rem, as it is where they are less than `--legible` wide,
  // or that reach beyond the window, or on a wide screen have to be scrolled.
  function smallFigures() {
    return [...article().querySelectorAll(".figure-box")].filter(shown).flatMap((box) => {
      const figure = box.firstElementChild;
      const legible = parseFloat(box.style.getPropertyValue("--legible"));
      const width = figure.getBoundingClientRect().width / 16;
      const wrong = [];
      if (!(width >= legible - 0.01)) wrong.push(`${width} rem wide, legible at ${legible}`);
      if (box.getBoundingClientRect().right > document.documentElement.clientWidth)
        wrong.push("reaches beyond the window");
      if (innerWidth >= 1280 && box.scrollWidth > box.clientWidth) wrong.push("has to be scrolled");
      return wrong.map((what) => `${figure.alt ?? figure.getAttribute("aria-label")}: ${what}`);
    });
  }

  // Plots whose ground is not the page's, or whose text is not the page's text.
  function strangePlots() {
    const [page, body] = [document.querySelector(".bd-main"), document.body].map(
      (element) => getComputedStyle(element).backgroundColor
    );
    const paper = page === "rgba(0, 0, 0, 0)" ? body : page;
    const light = document.documentElement.dataset.theme === "light";
    return [...document.querySelectorAll("svg.plot")].flatMap((svg) => {
      const ground = getComputedStyle(svg.querySelector("[id$='-patch_1'] path")).fill;
      const { fill, color } = getComputedStyle(svg);
      const right =
        ground === paper && fill === color && fill !== ground &&
        (paper === "rgb(255, 255, 255)") === light;
      return right ? [] : [`${ground} on ${paper}, text ${fill} beside ${color}`];
    });
  }

  // Programs that have to be scrolled; the tables in docstrings are none.
  function scrolledCode() {
    const programs = document.querySelector("dl.py") ? ".cell_input pre" : "pre";
    return [...article().querySelectorAll(programs)]
      .filter((pre) => !pre.closest(".cell_output") && shown(pre))
      .filter((pre) => pre.scrollWidth > pre.clientWidth + 1)
      .map((pre) => pre.textContent.split("\n").reduce((a, b) => (a.length < b.length ? b : a)));
  }

  // Printed lines that take more than one line.
  function wrapped() {
    return [...article().querySelectorAll(".cell_output pre")].filter(shown).filter((pre) => {
      range.selectNodeContents(pre);
      const tops = new Set([...range.getClientRects()].map((box) => Math.round(box.top / 4)));
      return tops.size > pre.textContent.trimEnd().split("\n").length;
    }).map(text);
  }

  // The lines of text as the reader sees them. One with a formula or code in it is left out: how
  // many characters a formula has cannot be said, and code is smaller.
  function lines() {
    const found = [];
    for (const block of article().querySelectorAll("p, li, dd")) {
      const apart = "table, figcaption, .live-box, .page-head, .environment, svg";
      if (!shown(block) || block.closest(apart)) continue;
      const walker = document.createTreeWalker(block, NodeFilter.SHOW_TEXT);
      const rows = new Map();
      for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const parent = node.parentElement;
        if (parent.closest("p, li, dd") !== block) continue;
        if (parent.closest("mjx-container, pre")) continue;
        for (const word of node.data.matchAll(/\S+\s*/g)) {
          range.setStart(node, word.index);
          range.setEnd(node, word.index + word[0].trimEnd().length);
          const boxes = range.getClientRects();
          if (!boxes.length) continue;
          const row = Math.round(boxes[0].bottom / 10);
          const same = [row, row - 1, row + 1].find((each) => rows.has(each)) ?? row;
          const line = rows.get(same) ?? { text: "", formula: false };
          line.text += word[0].replace(/\s+/g, " ");
          rows.set(same, line);
        }
      }
      for (const math of block.querySelectorAll(".math, code")) {
        const box = math.getBoundingClientRect();
        for (const [row, line] of rows)
          if (row * 10 >= box.top - 5 && row * 10 <= box.bottom + 15) line.formula = true;
      }
      found.push(...[...rows.values()].filter((line) => !line.formula));
    }
    return found.map((line) => line.text.trim());
  }

  // What is shown on paper that ends right of it, or is cut by a box around it.
  function cutOnPaper() {
    const boxes = [];
    const walker = document.createTreeWalker(article(), NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const node = walker.currentNode;
      if (!node.data.trim() || node.parentElement.closest("mjx-container, svg")) continue;
      range.selectNodeContents(node);
      for (const box of range.getClientRects())
        if (box.width > 1) boxes.push([node.data.trim().slice(0, 60), box, node.parentElement]);
    }
    for (const node of article().querySelectorAll("mjx-container > svg, img, svg.drawing"))
      boxes.push([node.tagName, node.getBoundingClientRect(), node.parentElement]);
    const holders = new Map();
    const holds = (element) => { // the boxes that cut or scroll what is inside
      if (!element || element === article()) return [];
      if (!holders.has(element)) {
        const own = getComputedStyle(element).overflowX === "visible" ? [] : [element];
        holders.set(element, [...own, ...holds(element.parentElement)]);
      }
      return holders.get(element);
    };
    return boxes
      .filter(([, box, parent]) => {
        const around = holds(parent).map((each) => each.getBoundingClientRect().right);
        return box.width && box.right > Math.min(innerWidth, ...around) + 1;
      })
      .map(([what]) => what);
  }

  // The folds that are shut, whose content is not to be seen.
  function shutOnPaper() {
    return [...article().querySelectorAll("details:not([open]) > summary + *")]
      .filter((content) => !shown(content) || !content.getBoundingClientRect().height)
      .map((content) => text(content.parentElement));
  }

  // How many folds are shut, seen on paper or not.
  const shut = () => article().querySelectorAll("details:not([open]) > summary + *").length;

  // How many formulas have a place.
  function placed() {
    return formulas().filter((math) => {
      const svg = math.querySelector("mjx-container > svg");
      return svg && shown(svg) && svg.getBoundingClientRect().height;
    }).length;
  }

  // Punctuation that begins a line since a formula ends the one before.
  function strayed() {
    const wrong = [];
    for (const math of article().querySelectorAll("span.math")) {
      const next = math.nextSibling ?? math.parentElement.nextSibling;
      if (!shown(math) || next?.nodeType !== Node.TEXT_NODE || !/^[,.;:!?)\]’”]/.test(next.data))
        continue;
      range.setStart(next, 0);
      range.setEnd(next, 1);
      const mark = range.getBoundingClientRect();
      if (mark.left < math.getBoundingClientRect().right - 2)
        wrong.push(`“${next.data[0]}” after ${text(math)}`);
    }
    return wrong;
  }

  // One element of each kind that the Tab key stops at: a selector that tells them apart.
  function controls() {
    const kinds = new Map();
    const selector = "a[href], button, input, select, textarea, summary, [tabindex]";
    document.querySelectorAll(selector).forEach((element, index) => {
      if (element.tabIndex < 0 || element.disabled || !shown(element)) return;
      const box = element.getBoundingClientRect();
      if (box.width < 1 || box.height < 1) return;
      const region = element.closest("header, aside, nav, footer, article, dialog");
      const within = region ? [...region.classList].slice(0, 1) : "";
      const kind = `${within} ${element.closest("svg") ? "svg " : ""}${name(element)}`;
      if (!kinds.has(kind)) {
        element.dataset.control = index;
        kinds.set(kind, index);
      }
    });
    return Object.fromEntries(kinds);
  }

  return {
    unfold, hollow, thin, settle, cut, cutFormulas, unreachable, stops, smallFigures, strangePlots,
    scrolledCode, wrapped, cutOnPaper, shutOnPaper, shut, placed, lines, strayed, controls,
    shift: () => shift,
    typeset: () => typeset,
    wider: () => document.documentElement.scrollWidth - innerWidth,
    rendered: () => formulas().filter((math) => math.querySelector("mjx-container svg")).length,
    errors: () =>
      [...document.querySelectorAll("mjx-merror, [data-mml-node=merror], [data-mjx-error]")].map(text),
  };
})();
