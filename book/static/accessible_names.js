// A button's accessible name has to hold the text one sees on it, and all content needs a landmark.
document.addEventListener("DOMContentLoaded", () => {
  const named = ".search-button-field, .theme-switch-button, .cell summary[aria-label]";
  document.querySelectorAll(named).forEach((element) => element.removeAttribute("aria-label"));
  const sidebar = document.getElementById("pst-primary-sidebar");
  sidebar?.setAttribute("role", "navigation");
  sidebar?.setAttribute("aria-label", "Book");
});
