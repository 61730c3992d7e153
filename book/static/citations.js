// A citation is a link to its entry. While the pointer or the keyboard's focus is on it, the entry is
// shown in a card beside it; Escape closes the card. A finger follows the link.
document.addEventListener("DOMContentLoaded", () => {
  const DELAY = 200; // milliseconds: not for a pointer that only passes, and time to reach the card
  let open = null; // the card that is shown, and its link
  let timer = 0;

  // Below the link, or above it where there is more room; never wider than the window.
  function place() {
    const lines = open.link.getClientRects(); // a link may be broken across lines
    const first = lines[0];
    const last = lines[lines.length - 1];
    const { width, height } = open.card.getBoundingClientRect();
    const room = document.documentElement;
    const below = last.bottom + height <= room.clientHeight || first.top < height;
    const left = Math.min(below ? last.left : first.left, room.clientWidth - width - 8);
    open.card.style.left = `${Math.max(left, 8)}px`;
    open.card.style.top = `${below ? last.bottom : first.top - height}px`;
  }

  function hide() {
    clearTimeout(timer);
    if (open) open.card.hidden = true;
    open = null;
  }

  function show(link, card) {
    hide();
    card.hidden = false;
    open = { link, card };
    place();
  }

  function later(action) {
    clearTimeout(timer);
    timer = setTimeout(action, DELAY);
  }

  document.querySelectorAll("a.citation").forEach((link) => {
    const card = document.getElementById(`card-${link.hash.slice(1)}`);
    if (!card) return;
    link.setAttribute("aria-describedby", card.id);
    link.addEventListener("pointerenter", (event) => {
      if (event.pointerType === "mouse") later(() => show(link, card));
    });
    link.addEventListener("pointerleave", () => later(hide));
    link.addEventListener("focus", () => link.matches(":focus-visible") && show(link, card));
    link.addEventListener("blur", hide);
  });
  document.querySelectorAll(".citation-card").forEach((card) => {
    card.addEventListener("pointerenter", () => clearTimeout(timer));
    card.addEventListener("pointerleave", () => later(hide));
  });
  document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
  for (const kind of ["scroll", "resize"]) {
    addEventListener(kind, () => open && place(), { passive: true });
  }
});
