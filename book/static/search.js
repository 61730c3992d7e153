// Search in the texts that the build has written (book/extensions/search.py): nothing is fetched.
"use strict";

const SHOWN = 3; // places of a page, before the others are folded
const EXCERPT = 180; // characters
const FEW = 6; // places with all words: if there are fewer, others are shown below them
const OTHER_PAGES = 5; // with some of the words
const KINDS = { section: "", equation: "equation", term: "definition", api: "API" };

// Text as it is compared: small letters without accents; a hyphen or a dash is a space.
const fold = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase()
  .replace(/[’‘]/g, "'").replace(/[\s\p{Pd}−]/gu, " ");

// The same text, and for each of its characters the position in the original.
function foldWithPositions(text) {
  let folded = "";
  const at = [];
  let position = 0;
  for (const character of text) {
    const part = fold(character);
    folded += part;
    for (let i = 0; i < part.length; i += 1) at.push(position);
    position += character.length;
  }
  at.push(position);
  return { folded, at };
}

// What is looked for: words, and "phrases" in quotation marks; each at the beginning of a word.
function terms(query) {
  const found = [...fold(query).matchAll(/["“”]([^"“”]+)["“”]|(\S+)/g)]
    .map((match) => (match[1] ?? match[2]).trim().replace(/^[,;:.?!()]+|[,;:?!]+$/g, ""));
  return [...new Set(found.filter(Boolean))];
}

const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\\/]/g, "\\$&").replace(/ +/g, "\\s+");
const beginning = (term) => new RegExp(`(?<![\\p{L}\\p{N}])${escaped(term)}`, "gu");
const whole = (term) => new RegExp(`(?<![\\p{L}\\p{N}])${escaped(term)}(?![\\p{L}\\p{N}])`, "u");

// How well a place fits; 0 if it has fewer than `needed` of the terms.
function score(place, pageTitle, wanted, phrase, needed) {
  const { title, code } = place.folded;
  const text = place.kind === "term" ? "" : place.folded.text; // its section has the same text
  let sum = 0;
  let missing = 0;
  for (const term of wanted) {
    const begins = beginning(term);
    const count = (text.match(begins) ?? []).length;
    const inTitle = title.search(begins) >= 0;
    const inCode = code.search(begins) >= 0;
    if (!inTitle && !count && !inCode && pageTitle.search(begins) < 0) {
      missing += 1;
      if (missing > wanted.length - needed) return 0;
      continue;
    }
    sum += (inTitle ? 20 : 0) + 2 * Math.min(count, 5) + (inCode ? 1 : 0)
      + (whole(term).test(`${title} ${text}`) ? 5 : 0);
  }
  const named = title === phrase || title === `equation (${phrase})` || title.endsWith(`.${phrase}`);
  if (named) sum += { section: 100, api: 40 }[place.kind] ?? 150; // where it is defined comes first
  else if (whole(phrase).test(title)) sum += place.kind === "api" ? 10 : 40;
  if (whole(phrase).test(text)) sum += 15;
  // A place that only its page's title fits says nothing of its own.
  return wanted.some((term) => `${title} ${text} ${code}`.search(beginning(term)) >= 0) ? sum : 0;
}

// The pages that fit, best first, each with its places, best first.
function find(pages, query, needed = terms(query).length) {
  const wanted = terms(query);
  const phrase = fold(query).replace(/["“”]/g, "").trim().replace(/ +/g, " ");
  if (!wanted.length) return [];
  return pages.map((page) => {
    const places = page.places
      .map((place) => ({ place, score: score(place, page.folded, wanted, phrase, needed) }))
      .filter((found) => found.score > 0)
      .sort((a, b) => b.score - a.score);
    const best = places.length ? places[0].score + Math.min(places.length, 10) : 0;
    return { page, places: places.map((found) => found.place), best };
  }).filter((found) => found.best > 0).sort((a, b) => b.best - a.best);
}

// Where few places have all words: the best pages with places that have more than half of them.
function findOthers(pages, query, found) {
  const wanted = terms(query).length;
  const most = Math.floor(wanted / 2) + 1;
  const complete = new Set(found.flatMap(({ places }) => places));
  if (complete.size >= FEW || most >= wanted) return [];
  const left = pages.map((page) => (
    { ...page, places: page.places.filter((place) => !complete.has(place)) }));
  return find(left, query, most).slice(0, OTHER_PAGES);
}

// By how many letters added, left out, changed or swapped two words differ.
function distance(a, b) {
  const rows = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i += 1) {
    rows.push([i]);
    for (let j = 1; j <= b.length; j += 1) {
      const change = a[i - 1] === b[j - 1] ? 0 : 1;
      rows[i][j] = Math.min(rows[i - 1][j] + 1, rows[i][j - 1] + 1, rows[i - 1][j - 1] + change);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        rows[i][j] = Math.min(rows[i][j], rows[i - 2][j - 2] + 1);
      }
    }
  }
  return rows[a.length][b.length];
}

// The query with each unknown word replaced by the nearest word of the book, or null.
function suggestion(pages, query) {
  const counts = new Map();
  for (const page of pages) {
    for (const { folded } of page.places) {
      for (const word of `${folded.title} ${folded.text}`.match(/[\p{L}']{4,}/gu) ?? []) {
        counts.set(word, (counts.get(word) ?? 0) + 1);
      }
    }
  }
  const vocabulary = [...counts.keys()];
  let changed = false;
  const words = terms(query).map((term) => {
    if (term.length < 4 || vocabulary.some((word) => word.startsWith(term))) return term;
    const near = vocabulary.filter((word) => Math.abs(word.length - term.length) <= 2)
      .map((word) => ({ word, away: distance(term, word) }))
      .filter(({ away }) => away <= (term.length < 7 ? 1 : 2))
      .sort((a, b) => a.away - b.away || counts.get(b.word) - counts.get(a.word));
    changed ||= near.length > 0;
    return near.length ? near[0].word : term;
  });
  return changed && find(pages, words.join(" ")).length ? words.join(" ") : null;
}

// The part of a text around the first match, with the matches marked.
function excerpt(place, wanted, phrase) {
  const original = [place.text, place.code].find(
    (text) => wanted.some((term) => fold(text).search(beginning(term)) >= 0)) ?? place.text;
  const { folded, at } = foldWithPositions(original);
  const first = [phrase, ...wanted].map((term) => folded.search(beginning(term)))
    .find((index) => index >= 0) ?? 0;
  let start = Math.max(0, at[first] - EXCERPT / 3);
  if (start > 0) start = original.indexOf(" ", start) + 1;
  let end = Math.min(original.length, start + EXCERPT);
  if (end < original.length) end = Math.max(original.lastIndexOf(" ", end), start + 1);
  const marked = wanted.flatMap((term) => [...folded.matchAll(beginning(term))].map(
    (match) => [at[match.index], at[match.index + match[0].length]]))
    .filter(([from, to]) => from >= start && to <= end).sort((a, b) => a[0] - b[0]);
  const line = document.createElement("p");
  if (start > 0) line.append("… ");
  let done = start;
  for (const [from, to] of marked) {
    if (from < done) continue;
    const mark = document.createElement("mark");
    mark.textContent = original.slice(from, to);
    line.append(original.slice(done, from), mark);
    done = to;
  }
  line.append(original.slice(done, end), end < original.length ? " …" : "");
  return line;
}

function link(address, text) {
  const element = document.createElement("a");
  element.href = address;
  element.textContent = text;
  return element;
}

function listOf(page, places, wanted, phrase) {
  const list = document.createElement("ul");
  for (const place of places) {
    const item = document.createElement("li");
    item.append(link(page.address + (place.anchor ? `#${place.anchor}` : ""), place.title));
    if (KINDS[place.kind]) {
      const kind = document.createElement("span");
      kind.className = "kind";
      kind.textContent = ` ${KINDS[place.kind]}`;
      item.append(kind);
    }
    item.append(excerpt(place, wanted, phrase));
    list.append(item);
  }
  return list;
}

const counted = (number, one, many) => `${number} ${number === 1 ? one : many}`;

// Pages with their places, below headings of a level.
function listed(found, level, wanted, phrase) {
  return found.flatMap(({ page, places }) => {
    const heading = document.createElement(level);
    heading.append(link(page.address, page.title));
    const shown = [heading, listOf(page, places.slice(0, SHOWN), wanted, phrase)];
    if (places.length > SHOWN) {
      const fold = document.createElement("details");
      const summary = document.createElement("summary");
      summary.textContent = `${counted(places.length - SHOWN, "more place", "more places")} `
        + `in ${page.title}`;
      fold.append(summary, listOf(page, places.slice(SHOWN), wanted, phrase));
      shown.push(fold);
    }
    return shown;
  });
}

function show(pages, query) {
  const status = document.getElementById("book-search-status");
  const results = document.getElementById("search-results");
  const wanted = terms(query);
  const phrase = fold(query).replace(/["“”]/g, "").trim().replace(/ +/g, " ");
  const found = find(pages, query);
  const others = findOthers(pages, query, found);
  results.replaceChildren(...listed(found, "h2", wanted, phrase));
  if (others.length) {
    const heading = document.createElement("h2");
    heading.textContent = "Places with some of the words";
    results.append(heading, ...listed(others, "h3", wanted, phrase));
  }
  if (!found.length) {
    status.textContent = others.length ? `No place has all words of “${query}”.`
      : `Nothing was found for “${query}”.`;
    const other = suggestion(pages, query);
    if (other) {
      status.append(" Did you mean ", link(`?q=${encodeURIComponent(other)}`, other), "?");
    }
    return;
  }
  const total = found.reduce((sum, { places }) => sum + places.length, 0);
  status.textContent = `${counted(total, "place", "places")} on `
    + `${counted(found.length, "page", "pages")} for “${query}”.`;
}

function prepared([address, title, places]) {
  return {
    address,
    title,
    folded: fold(title),
    places: places.map(([kind, name, anchor, text, code]) => ({
      kind, title: name, anchor, text, code,
      folded: { title: fold(name), text: fold(text), code: fold(code) },
    })),
  };
}

const field = document.getElementById("book-search-field");
const asked = (new URLSearchParams(window.location.search).get("q") ?? "").trim();
field.value = asked;
if (asked) {
  document.title = `${asked} – ${document.title}`;
  show(bookTexts.map(prepared), asked);
} else {
  field.focus();
}
