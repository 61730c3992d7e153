// A figure that is wider than its box can be scrolled by the keyboard too: then the box takes the
// focus, and only then.
document.addEventListener("DOMContentLoaded", () => {
  const observer = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const box = target.closest(".figure-box");
      if (box.scrollWidth > box.clientWidth) {
        box.tabIndex = 0;
        box.setAttribute("role", "group");
        box.setAttribute("aria-label", "Figure that scrolls sideways");
      } else {
        for (const name of ["tabindex", "role", "aria-label"]) box.removeAttribute(name);
      }
    }
  });
  for (const each of document.querySelectorAll(".figure-box, .figure-box > *")) observer.observe(each);
});
