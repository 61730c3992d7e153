// A formula that is wider than its place scrolls. Only then is it a stop of the Tab key: with the
// focus on it, the arrow keys move it.
window.addEventListener("load", async () => {
  const selector = "span.math, div.math > mjx-container";
  const update = () =>
    document.querySelectorAll(selector).forEach((formula) => {
      if (formula.scrollWidth > formula.clientWidth) formula.tabIndex = 0;
      else formula.removeAttribute("tabindex");
    });
  await window.MathJax?.startup?.promise;
  // The height of the page changes with the width of the window, and when a fold is opened.
  const page = document.getElementById("main-content");
  if (page) new ResizeObserver(() => requestAnimationFrame(update)).observe(page);
});
