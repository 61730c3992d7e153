// A link to an equation, a section or a page of the book shows in a card what it leads to. What the
// cards show is loaded once, when a reader first stays on such a link. A finger follows the link.
const previews = {
  data: null, // (HTML of title, HTML of content) by address: see book/extensions/previews.py
  loading: null,

  // A script, because a page that is opened as a file may not fetch one.
  load() {
    this.loading ??= new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = new URL("_static/previews/data.js", this.root());
      script.onload = resolve;
      script.onerror = reject;
      document.head.append(script);
    });
    return this.loading;
  },

  root: () => new URL(document.documentElement.dataset.content_root, document.baseURI),

  // What is known of the place that a link leads to, or undefined.
  of(link) {
    const root = this.root().href;
    return link.href.startsWith(root) ? this.data[link.href.slice(root.length)] : undefined;
  },

  card() {
    let card = document.getElementById("preview-card");
    if (!card) {
      card = document.createElement("div");
      card.className = "hover-card preview-card";
      card.id = "preview-card";
      card.setAttribute("role", "tooltip");
      document.querySelector(".bd-article").append(card);
    }
    return card;
  },

  // Formulas are set before the card is seen: they have their size only in a box that is laid out.
  async prepare(link, done) {
    await this.load();
    const found = this.of(link);
    if (!found) return;
    const card = this.card();
    const [title, content] = found;
    card.innerHTML = `<p class="preview-title">${title}</p>${content}`;
    card.style.visibility = "hidden";
    link.setAttribute("aria-describedby", card.id);
    done(card);
    if (card.querySelector(".math") && window.MathJax?.startup) {
      await MathJax.startup.promise;
      await MathJax.typesetPromise([card]);
      hoverCards.place();
    }
    card.style.visibility = "";
  },
};

document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll(".bd-article a.reference.internal").forEach((link) => {
    if (link.classList.contains("citation") || link.closest(".toctree-wrapper")) return;
    hoverCards.attach(link, (done) => previews.prepare(link, done));
  });
});
