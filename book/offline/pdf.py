"""The book as one PDF, printed by Chromium: title page, contents, chapters, solutions."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path

import matplotlib
from browser import launched
from bs4 import Tag
from pages import AUTHORS, SUBJECT, TITLE, Chapter, Part, fragment, read_book, slug
from playwright.sync_api import Page
from pypdf import PdfReader, PdfWriter
from pypdf.generic import Destination, DictionaryObject, NameObject, TextStringObject

HERE = Path(__file__).parent
# The width of the text on a sheet of A4 with the margins of print.css, in CSS pixels.
WIDTH = round((210 - 2 * 22) / 25.4 * 96)
# Pieces of code without a color. Each element left makes the tags of the PDF longer.
PLAIN = ", ".join(f".highlight span.{kind}" for kind in ("n", "nn", "p", "w"))
# Formulas that are too wide are set smaller; whatever else sticks out is an error.
FIT = """() => {
    for (const box of document.querySelectorAll(".katex-display")) {
        const formula = box.querySelector(".katex-html");
        const excess = formula.getBoundingClientRect().width / box.clientWidth;
        if (excess > 1) box.style.fontSize = `${0.99 / excess}em`;
    }
    for (const math of document.querySelectorAll("span.math")) {
        const widest = Math.max(...[...math.querySelectorAll(".base")].map((e) => e.offsetWidth));
        let box = math.parentElement;
        while (!box.clientWidth) box = box.parentElement;  // what is in a line has no width
        const excess = widest / box.clientWidth;
        if (excess > 1) math.style.fontSize = `${0.99 / excess}em`;
    }
    for (const table of document.querySelectorAll("table")) {
        const excess = table.offsetWidth / table.parentElement.clientWidth;
        if (excess > 1) table.style.fontSize = `${0.98 / excess}em`;
    }
    for (const code of document.querySelectorAll("pre"))
        code.classList.toggle("short", code.offsetHeight < 130);  // up to ten lines
}"""
TOO_WIDE = """(width) => [...document.querySelectorAll("body *")]
    .filter((e) => !e.closest(".katex, pre > *") && e.getBoundingClientRect().right > width + 1)
    .map((e) => `${e.closest("[id]")?.id}: ${e.textContent.trim().slice(0, 60)}`)"""
HEADINGS = "[...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].map((e) => e.innerText)"
NUMBER = """(pages) => {
    for (const entry of document.querySelectorAll(".contents a"))
        entry.querySelector(".page").textContent = pages[entry.hash.slice(1)];
}"""


def make(root: Path, target: Path) -> None:
    """Write the PDF, and beside it the page that it was printed from."""
    parts = read_book(root)
    source = target.with_suffix(".html")
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text(document(parts, root / "_build" / "html" / "_static"), encoding="utf-8")
    with launched() as browser:
        page = browser.new_page(viewport={"width": WIDTH, "height": 1000})
        page.set_default_timeout(600_000)  # ms: a busy machine is no error
        page.emulate_media(media="print", color_scheme="light")
        page.goto(source.as_uri())
        page.evaluate("document.fonts.ready")
        page.evaluate(FIT)
        if wide := page.evaluate(TOO_WIDE, WIDTH):
            raise ValueError("wider than the paper:\n" + "\n".join(wide))
        # Only a printed book knows its page numbers: print, read them, print again.
        page.evaluate(NUMBER, page_numbers(printed(page, tagged=False)))
        finish(printed(page, tagged=True), page.evaluate(HEADINGS), target)


def printed(page: Page, *, tagged: bool) -> bytes:
    """Print on the paper of print.css; tags and bookmarks take half of the time."""
    return page.pdf(prefer_css_page_size=True, print_background=True, outline=tagged, tagged=tagged)


def page_numbers(pdf: bytes) -> dict[str, int]:
    """Find the page of each id that something links to."""
    reader = PdfReader(io.BytesIO(pdf))
    places = reader.named_destinations.items()
    return {
        name.removeprefix("/"): reader.get_destination_page_number(place) + 1
        for name, place in places
        if isinstance(place, Destination)
    }


def finish(pdf: bytes, headings: list[str], target: Path) -> None:
    """Say what the file is, and drop the time and the program that made it."""
    writer = PdfWriter(clone_from=io.BytesIO(pdf))
    writer.metadata = {
        "/Title": TITLE,
        "/Author": AUTHORS,
        "/Subject": SUBJECT,
        "/Keywords": "softmax, logsumexp, cross-entropy, numerical accuracy",
    }
    # Chromium writes the words of a heading twice where it begins a page.
    for bookmark, words in zip(bookmarks(writer.root_object["/Outlines"]), headings, strict=True):
        bookmark[NameObject("/Title")] = TextStringObject(" ".join(words.split()))
    writer.pdf_header = "%PDF-1.4"
    writer.page_mode = "/UseOutlines"  # readers open with the bookmarks beside the page
    writer.create_viewer_preferences().display_doctitle = True
    writer.write(target)


def bookmarks(parent: DictionaryObject) -> Iterator[DictionaryObject]:
    """Give all bookmarks below one."""
    child = parent.get("/First")
    while child is not None:
        yield child.get_object()
        yield from bookmarks(child.get_object())
        child = child.get_object().get("/Next")


def document(parts: list[Part], static: Path) -> str:
    """Put the book together in one page of HTML."""
    chapters = [chapter for part in parts for chapter in part.chapters]
    solved = [chapter for chapter in chapters if chapter.solutions]
    styles = ["pygments.css", "katex/katex.min.css"]
    links = [f'<link rel="stylesheet" href="{(static / name).as_uri()}">' for name in styles]
    links.append(f'<link rel="stylesheet" href="{(HERE / "print.css").as_uri()}">')
    pieces = [title_page(), contents(parts, solved)]
    for part in parts:
        if part.title:
            pieces.append(f'<h1 class="part" id="{slug(part.title)}">{part.title}</h1>')
        pieces += [str(lowered(chapter.body)) for chapter in part.chapters]
    pieces.append('<h1 class="part" id="solutions">Solutions</h1>')
    pieces += [solutions_of(chapter) for chapter in solved]
    return (
        f'<!DOCTYPE html>\n<html lang="en" data-theme="light">\n<head><meta charset="utf-8">'
        f"<title>{TITLE}</title>\n{''.join(links)}\n<style>{fonts()}{heads(chapters)}</style>"
        f"</head>\n<body>{''.join(pieces)}</body></html>\n"
    )


def title_page() -> str:
    """Draw the first page."""
    return (
        f'<section class="title-page"><p class="book-title">{TITLE}</p>'
        '<p class="formula">'
        "A book about one function, derived, proved, tested and measured</p>"
        '<p class="authors">The Softmax notes authors</p>'
        "<p>Text and pictures: Creative Commons Attribution 4.0. Code: MIT license.</p></section>"
    )


def contents(parts: list[Part], solved: list[Chapter]) -> str:
    """List parts and chapters, with room for the page numbers."""
    lines = []
    for part in parts:
        if part.title:
            lines.append(entry(slug(part.title), part.title, "part-entry"))
        lines += [entry(chapter.stem, chapter.title) for chapter in part.chapters]
    lines.append(entry("solutions", "Solutions", "part-entry"))
    lines += [entry(f"solutions-{chapter.stem}", chapter.title) for chapter in solved]
    return f'<nav class="contents"><h1 id="contents">Contents</h1>{"".join(lines)}</nav>'


def entry(name: str, title: str, kind: str = "chapter-entry") -> str:
    """Write one line of the contents."""
    return (
        f'<p class="{kind}"><a href="#{name}"><span class="name">{title}</span>'
        '<span class="dots"></span><span class="page">000</span></a></p>'
    )


def lowered(body: Tag) -> Tag:
    """Make headings one level lower: parts are at the top."""
    for heading in body.find_all(re.compile("^h[1-5]$")):
        heading.name = f"h{int(heading.name[1]) + 1}"
    for hidden in body.select(".katex-mathml"):
        hidden.decompose()
    for token in body.select(PLAIN):
        token.unwrap()
    body.smooth()
    for image in body.select("img[src]"):
        image["src"] = Path(image["src"]).as_uri()
    return body


def solutions_of(chapter: Chapter) -> str:
    """Gather the solutions of one chapter."""
    name = f"solutions-{chapter.stem}"
    section = fragment(f'<section class="chapter" id="{name}"><h2></h2></section>')
    section.h2.append(f"Solutions: {chapter.title}")
    section.extend(lowered(solution) for solution in chapter.solutions)
    return str(section)


def heads(chapters: list[Chapter]) -> str:
    """Write the running head of each chapter."""
    rules = []
    names = {c.stem: c.title for c in chapters}
    names |= {f"solutions-{c.stem}": f"Solutions: {c.title}" for c in chapters}
    for name, title in names.items():
        page = name.replace("_", "-")
        rules.append(f"#{name} {{ page: {page} }} @page {page} {{ @top-right {{ content: ")
        rules.append(f'"{title}" }} }}\n'.replace("\\", r"\\"))
    return "".join(rules)


def fonts() -> str:
    """Take the letters that matplotlib brings along: the same on every machine."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    faces = []
    for family, styles in {
        "Book": ("STIXGeneral", "STIXGeneralItalic", "STIXGeneralBol", "STIXGeneralBolIta"),
        "Code": ("DejaVuSansMono", "DejaVuSansMono-Oblique", "DejaVuSansMono-Bold", None),
    }.items():
        for file, weight, slope in zip(styles, (400, 400, 700, 700), ("normal", "italic") * 2):
            if file:
                faces.append(
                    f"@font-face {{ font-family: {family}; font-weight: {weight}; "
                    f'font-style: {slope}; src: url("{(folder / file).as_uri()}.ttf") }}\n'
                )
    return "".join(faces)
