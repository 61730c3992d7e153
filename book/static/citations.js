// A citation is a link to its entry, which is shown in a card. A finger follows the link.
document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("a.citation").forEach((link) => {
    const card = document.getElementById(`card-${link.hash.slice(1)}`);
    if (!card) return;
    link.setAttribute("aria-describedby", card.id);
    hoverCards.attach(link, (done) => done(card));
  });
});
