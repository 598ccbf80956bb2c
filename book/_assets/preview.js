// A reference to a theorem, an equation, a figure, a word or a chapter shows what it refers to,
// below the pointer or the focus. Escape closes it. A finger follows the link instead.
"use strict";

(() => {
  const article = document.querySelector("article");
  if (!article) return;
  const box = document.createElement("div");
  box.className = "preview";
  box.hidden = true;
  box.setAttribute("aria-hidden", "true"); // the link itself leads there
  article.append(box);

  const pages = new Map([[location.pathname, Promise.resolve(document)]]);
  let timer = 0, wanted = null, shown = null;

  /** The page of an address, fetched once; none if the site is opened as files. */
  function page(url) {
    if (!pages.has(url.pathname)) {
      pages.set(url.pathname, location.protocol === "file:" ? Promise.resolve(null)
        : fetch(url.pathname)
          .then((answer) => (answer.ok ? answer.text() : ""))
          .then((text) => new DOMParser().parseFromString(text, "text/html"), () => null));
    }
    return pages.get(url.pathname);
  }

  /** What to show of a page: a box, a figure, a formula, a word; of a section its beginning. */
  function excerpt(from, url) {
    const id = decodeURIComponent(url.hash.slice(1));
    let found = id ? from.getElementById(id) : from.querySelector("article section");
    if (found?.matches("span, a")) found = found.closest("figure, div, p, li, section");
    if (!found) return [];
    if (found.matches("dt")) { // a word, its synonyms, their meaning
      const parts = [found];
      while (parts.at(-1)?.matches("dt")) parts.push(parts.at(-1).nextElementSibling);
      return parts;
    }
    if (found.matches("section")) {
      const paragraph = found.querySelector(":scope > p:not(.chapter-line)");
      return [found.querySelector("h1, h2, h3, h4"), paragraph];
    }
    return [found];
  }

  /** A copy to look at: no ids, nothing to focus, addresses as seen from here. */
  function copy(element, url) {
    const made = element.cloneNode(true);
    made.querySelectorAll(".headerlink, .katex-mathml, script, button").forEach((part) => part.remove());
    for (const part of [made, ...made.querySelectorAll("*")]) {
      for (const name of ["id", "href", "tabindex", "for"]) part.removeAttribute(name);
      if (part.matches("img")) part.src = new URL(part.getAttribute("src"), url).href;
    }
    return made;
  }

  function place(link) {
    const { left, top, bottom } = link.getClientRects()[0];
    const width = box.offsetWidth, height = box.offsetHeight;
    const below = bottom + 6 + height < innerHeight || top < innerHeight / 2;
    box.style.left = `${Math.max(8, Math.min(left, document.documentElement.clientWidth - width - 8))}px`;
    box.style.top = `${below ? bottom + 6 : top - 6 - height}px`;
  }

  async function show(link) {
    const url = new URL(link.href);
    const from = await page(url);
    const parts = from ? excerpt(from, url).filter(Boolean) : [];
    if (wanted !== link || parts.length === 0 || parts.some((part) => part.contains(link))) return;
    box.replaceChildren(...parts.map((part) => copy(part, url)));
    box.hidden = false;
    shown = link;
    place(link);
  }

  function later(link, delay) {
    clearTimeout(timer);
    wanted = link;
    timer = setTimeout(() => (link ? show(link) : hide()), delay);
  }

  function hide() {
    clearTimeout(timer);
    wanted = null;
    box.hidden = true;
  }

  const links = "a.reference.internal[href]:not(.headerlink, .download, .chapter-cards a)";
  for (const link of article.querySelectorAll(links)) {
    link.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && later(link, 250));
    link.addEventListener("pointerleave", () => later(null, 200));
    link.addEventListener("focus", () => link.matches(":focus-visible") && later(link, 0));
    link.addEventListener("blur", hide);
  }
  box.addEventListener("pointerenter", () => clearTimeout(timer));
  box.addEventListener("pointerleave", () => later(null, 200));
  document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
  // The focus scrolls to its link: the box goes with it, as long as it is on the screen.
  addEventListener("scroll", () => {
    if (box.hidden) return;
    const { top, bottom } = shown.getBoundingClientRect();
    if (bottom < 0 || top > innerHeight) hide();
    else place(shown);
  }, { passive: true });
})();
