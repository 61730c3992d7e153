// Whoever uses a button by keyboard goes on from there. The theme takes the focus away from its
// buttons, and the copying of code from its own; a dialog does not give it back to them.
(() => {
  let used = null; // the button that was used last

  function giveBack() {
    setTimeout(() => document.activeElement === document.body && used?.focus());
  }

  window.addEventListener("click", (event) => {
    used = event.target.closest?.("button") ?? null;
    if (event.detail === 0) giveBack(); // by the keyboard: a pointer counts its clicks
  }, true);
  window.addEventListener("close", giveBack, true);
})();
