// The chapters on the left and the contents of the page on the right, which on a small screen are
// dialogs: the place where the reader is can be seen in them, and a link there leads out of them.
(() => {
  const MARGIN = 64; // pixels: what comes before and after the place is seen too

  // Scroll a box, not the page, until an element in it is seen below what covers the box's top.
  function reveal(box, element, covered = 0) {
    const { top, bottom } = box.getBoundingClientRect();
    const at = element.getBoundingClientRect();
    const above = at.top - MARGIN - (top + covered);
    const below = at.bottom + MARGIN - bottom;
    if (above < 0) box.scrollTop += above;
    else if (below > 0) box.scrollTop += below;
  }

  // A link to a place in this page closes the dialog that it is in, and the place gets the focus.
  function closeByLinks(dialog) {
    const here = (address) => address.split("#")[0];
    dialog.addEventListener("click", (event) => {
      const link = event.target.closest("a[href]");
      if (!link || here(link.href) !== here(location.href)) return;
      if (event.ctrlKey || event.metaKey || event.shiftKey) return; // opens elsewhere
      const place = document.getElementById(decodeURIComponent(link.hash.slice(1)))
        ?? document.querySelector("article.bd-article");
      const heading = place.querySelector("h1, h2, h3, h4") ?? place;
      dialog.addEventListener("close", () => setTimeout(() => { // the theme gives it to the button
        heading.tabIndex = -1;
        heading.focus({ preventScroll: true });
        heading.addEventListener("blur", () => heading.removeAttribute("tabindex"), { once: true });
      }), { once: true });
      dialog.close();
    });
  }

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("dialog[id$='-sidebar-modal']").forEach(closeByLinks);

    const chapters = document.getElementById("pst-primary-sidebar");
    const current = chapters?.querySelector(".toctree-l1.current");
    const search = chapters?.querySelector(".sidebar-primary-item:has(> .search-button-field)");
    if (current && search) reveal(chapters, current, search.offsetHeight);

    const contents = document.getElementById("pst-page-toc-nav");
    if (!contents) return;
    new MutationObserver(() => {
      const link = contents.querySelector("[aria-current]");
      if (link) reveal(contents.closest(".bd-sidebar-secondary"), link);
    }).observe(contents, { attributeFilter: ["aria-current"], subtree: true });
  });
})();
