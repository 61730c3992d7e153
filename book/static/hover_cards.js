// Cards beside links. While the pointer or the keyboard's focus is on a link, its card is shown below
// it, or above it, or left of it where neither has room; Escape closes the card. Other scripts of the
// book say which links have cards, and what stands in them.
const hoverCards = (() => {
  const DELAY = 200; // milliseconds: not for a pointer that only passes, and time to reach the card
  const watched = new WeakSet(); // cards that know what to do under a pointer
  let open = null; // the card that is shown, and its link
  let wanted = null; // the link that waits for its card
  let timer = 0;

  // Beside the link, never on it, nor on the header, and never wider than the window.
  function place() {
    const lines = open.link.getClientRects(); // a link may be broken across lines
    if (!lines.length) return hide();
    const first = lines[0];
    const last = lines[lines.length - 1];
    const room = document.documentElement;
    const header = document.querySelector(".bd-header-article"); // stays in sight
    const highest = header?.getBoundingClientRect().bottom ?? 0;
    const above = Math.max(first.top - highest, 0);
    const under = room.clientHeight - last.bottom;
    open.card.style.maxHeight = "";
    const { width, height } = open.card.getBoundingClientRect();
    if (height > Math.max(above, under) && lines.length === 1 && first.left >= width + 8) {
      const most = room.clientHeight - highest;
      const top = Math.min(first.top, room.clientHeight - Math.min(height, most));
      Object.assign(open.card.style, {
        maxHeight: `${most}px`, left: `${first.left - width}px`, top: `${top}px` });
      return undefined;
    }
    const below = height <= under || under >= above;
    open.card.style.maxHeight = `${Math.max(below ? under : above, 60)}px`;
    const left = Math.min(below ? last.left : first.left, room.clientWidth - width - 8);
    open.card.style.left = `${Math.max(left, 8)}px`;
    open.card.style.top = `${below ? last.bottom : first.top - Math.min(height, above)}px`;
  }

  function hide() {
    clearTimeout(timer);
    if (open) open.card.hidden = true;
    open = wanted = null;
  }

  function later(action) {
    clearTimeout(timer);
    timer = setTimeout(action, DELAY);
  }

  const isIn = (element) => open !== null && (open.link === element || open.card.contains(element));

  function watch(card) {
    if (watched.has(card)) return;
    watched.add(card);
    card.addEventListener("pointerenter", () => clearTimeout(timer));
    card.addEventListener("pointerleave", (event) => {
      if (event.pointerType === "mouse" && !isIn(document.activeElement)) later(hide);
    });
    card.addEventListener("focusout", (event) => isIn(event.relatedTarget) || hide());
  }

  function show(link, card) {
    hide();
    watch(card);
    card.hidden = false;
    open = { link, card };
    wanted = link;
    place();
  }

  // prepare(done) calls done(card), at once or later: by then the reader may be elsewhere.
  function request(link, prepare) {
    wanted = link;
    prepare((card) => {
      if (card && wanted === link) show(link, card);
    });
  }

  function attach(link, prepare) {
    link.addEventListener("pointerenter", (event) => {
      if (event.pointerType !== "mouse") return;
      if (isIn(link)) clearTimeout(timer);
      else later(() => request(link, prepare));
    });
    link.addEventListener("pointerleave", (event) => {
      if (event.pointerType === "mouse") later(hide);
    });
    link.addEventListener("focus", () => {
      if (link.matches(":focus-visible") && !isIn(link)) request(link, prepare);
    });
    link.addEventListener("blur", (event) => isIn(event.relatedTarget) || hide());
  }

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    const link = open?.card.contains(document.activeElement) && open.link;
    if (link) link.focus(); // not lost with the card
    hide();
  });
  document.addEventListener("pointerdown", (event) => {
    if (open && !open.link.contains(event.target) && !open.card.contains(event.target)) hide();
  });
  for (const kind of ["scroll", "resize"]) {
    addEventListener(kind, () => open && place(), { passive: true });
  }

  return {
    attach,
    hide,
    place: () => open && place(),
    show,
    shows: (link) => open !== null && open.link === link,
  };
})();
