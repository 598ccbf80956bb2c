// A section far from the screen is not laid out (house.css), so its height is a guess. Whoever goes
// to a place within the page needs them all, or the place would move under the eyes.
function layOut() {
  for (const section of document.querySelectorAll(".bd-article > section > section")) {
    section.style.contentVisibility = "visible";
  }
}
if (location.hash) layOut();

// What is wider than its box can be scrolled with the keyboard too: formulas, code, outputs. A box
// is measured when it is laid out, or changes its size: all of them before one is changed, so that
// they need not be laid out again. A pixel more may come from rounding.
const boxes = new ResizeObserver((entries) => {
  const found = entries.map(({ target: box }) => [
    box, box.scrollWidth > box.clientWidth + 1 || box.scrollHeight > box.clientHeight + 1,
  ]);
  for (const [box, scrolls] of found) {
    box.toggleAttribute("tabindex", scrolls);
    if (scrolls) box.tabIndex = 0;
    if (!box.matches(".katex-display")) continue;
    for (const [name, value] of [["role", "group"], ["aria-label", "formula"]]) {
      if (scrolls) box.setAttribute(name, value);
      else box.removeAttribute(name);
    }
  }
});
function measureBoxes() {
  boxes.disconnect();
  document.querySelectorAll(".katex-display, article pre, .cell_output > .output, .pst-scrollable-table-container")
    .forEach((box) => boxes.observe(box));
}
measureBoxes();
// Letters that come late make a formula wider, and leave its box as it is.
document.fonts.addEventListener("loadingdone", measureBoxes);

// On a phone the contents stand in a dialog above the page: whoever has chosen goes there.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='#']");
  if (link) layOut();
  link?.closest("dialog")?.close();
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
