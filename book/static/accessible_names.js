// A button's accessible name has to hold the text one sees on it, all content needs a landmark, and a
// list has to be one.
document.addEventListener("DOMContentLoaded", () => {
  const named = ".search-button-field, .theme-switch-button, .cell summary[aria-label]";
  document.querySelectorAll(named).forEach((element) => element.removeAttribute("aria-label"));
  // The parameters of a long signature come as a list of definitions without terms.
  document.querySelectorAll("dt.sig dl").forEach((definitions) => {
    const list = document.createElement("ul");
    for (const definition of definitions.children) {
      const item = document.createElement("li");
      item.append(...definition.childNodes);
      list.append(item);
    }
    definitions.replaceWith(list);
  });
  // A cell without text heads no column.
  document.querySelectorAll("th").forEach((head) => {
    if (head.textContent.trim() || head.firstElementChild?.matches("img, svg")) return;
    head.replaceWith(Object.assign(document.createElement("td"), { className: head.className }));
  });
  const sidebar = document.getElementById("pst-primary-sidebar");
  sidebar?.setAttribute("role", "navigation");
  sidebar?.setAttribute("aria-label", "Book");
});
