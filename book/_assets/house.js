// A formula wider than its box can be scrolled with the keyboard too.
function reach() {
  for (const box of document.querySelectorAll(".katex-display")) {
    if (box.scrollWidth > box.clientWidth) {
      box.tabIndex = 0;
      box.setAttribute("role", "group");
      box.setAttribute("aria-label", "formula");
    } else {
      for (const name of ["tabindex", "role", "aria-label"]) box.removeAttribute(name);
    }
  }
}
window.addEventListener("load", reach);
window.addEventListener("resize", reach);

// On a phone the contents stand in a dialog above the page: whoever has chosen goes there.
document.addEventListener("click", (event) => {
  event.target.closest("dialog a[href^='#']")?.closest("dialog").close();
});

// A tap anywhere on the title of a solution opens it. The exercise that the title names stands
// right above: a link there would lead the finger away, and stops the theme's script.
for (const title of document.querySelectorAll(".solution.dropdown > .admonition-title")) {
  for (const link of title.querySelectorAll("a")) link.replaceWith(...link.childNodes);
  title.addEventListener("click", (event) => {
    if (event.target === title || event.target.closest(".toggle-button")) return;
    event.stopImmediatePropagation();
    title.click();
  }, true);
}

// Roles and labels that the generators write and that say less than the page itself does.
document.querySelectorAll("article summary[aria-label]").forEach((e) => e.removeAttribute("aria-label"));
document.querySelectorAll(".citation-list, .citation").forEach((e) => e.removeAttribute("role"));

// The buttons of the theme whose handlers stood in attributes, which the policy forbids.
const onClick = (name, action) => document.querySelector(name)?.addEventListener("click", action);
onClick(".btn-download-pdf-button", () => window.print());
onClick(".btn-fullscreen-button", () => window.toggleFullScreen());

// Paper is white: what is printed is light, colors of code included.
const root = document.documentElement;
window.addEventListener("beforeprint", () => {
  root.dataset.onScreen = root.dataset.theme;
  root.dataset.theme = "light";
});
window.addEventListener("afterprint", () => {
  root.dataset.theme = root.dataset.onScreen;
});
