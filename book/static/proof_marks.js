// The mark of a checked identity shows in a card what has checked it. The card follows the mark in
// the page, so that Tab leads from the mark to the links in the card. A finger opens and closes it.
document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll(".proof-mark > a").forEach((link) => {
    const card = document.getElementById(`checks-${link.dataset.label}`);
    if (!card) return;
    link.parentElement.after(card);
    hoverCards.attach(link, (done) => done(card));
    link.addEventListener("click", (event) => {
      if (event.pointerType === "" || event.pointerType === "mouse") return; // follows the link
      event.preventDefault();
      if (hoverCards.shows(link)) hoverCards.hide();
      else hoverCards.show(link, card);
    });
  });
});
