"""The pages of the built site, put together as one book that needs no site around it.

The article of each page is taken in the order of _toc.yml. What lives on the web alone goes,
what is folded is opened, and solutions move to the end. Ids get the name of their page in
front, so that every link within the book is one to an id.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup, Tag
from contents import order

TITLE = "Softmax notes"
AUTHORS = "The Softmax notes authors"
SUBJECT = "Softmax, derived, proved, tested and measured"
APPLIED = "\N{FUNCTION APPLICATION}"  # which KaTeX writes after each operator, unseen
# Nothing of this works, or says anything, on paper.
WEB_ONLY = (
    "a.headerlink, button, script, link, style, template, .toctree-wrapper, .live, .web-only, "
    ".chapter-line, details.cite, .doors, .chapter-cards img"
)


class Chapter(NamedTuple):
    """A page of the site."""

    stem: str
    title: str
    body: Tag
    solutions: list[Tag]


class Part(NamedTuple):
    """Chapters under one heading; the introduction has a part without one."""

    title: str
    chapters: list[Chapter]


def read_book(root: Path) -> list[Part]:
    """Read the whole book from the site in _build/html."""
    site = root / "_build" / "html"
    listed = order(root)
    names = {name for _, pages in listed for name in pages}
    parts = [
        Part(title, [read_chapter(site, name, names) for name in pages]) for title, pages in listed
    ]
    unlink_missing([c for part in parts for c in part.chapters])
    return parts


def read_chapter(site: Path, name: str, names: set[str]) -> Chapter:
    """Read one page, and make it fit to stand in a book."""
    source = (site / f"{name}.html").read_text(encoding="utf-8")
    body = BeautifulSoup(source, "html.parser").select_one("article.bd-article")
    if body is None:
        raise ValueError(f"{name}.html has no article: was it built by `make book`?")
    stem = Path(name).name
    body.name, body.attrs = "section", {"id": stem, "class": ["chapter"]}
    for element in body.select(WEB_ONLY):
        element.decompose()
    for still in body.select("noscript"):  # what stands for a live figure
        still.unwrap()
    unfold(body)
    name_ids(body, stem)
    rewrite_links(body, site, name, names)
    heading = body.find("h1")
    if text_of(heading) == TITLE:  # which stands on the title page
        heading.string = "Introduction"
    return Chapter(stem, text_of(heading), body, take_solutions(body, stem))


def unfold(body: Tag) -> None:
    """Open what is folded: hidden cells lose their switch, other boxes keep their title."""
    for box in body.select("details"):
        summary = box.find("summary", recursive=False)
        if "hide" in box.get("class", []):  # a cell whose code is hidden
            summary.decompose()
            box.unwrap()
        else:
            box.name = summary.name = "div"
            box.attrs.pop("open", None)
            box["class"] = [*box.get("class", []), "admonition"]
            summary.attrs = {"class": ["admonition-title"]}


def name_ids(body: Tag, stem: str) -> None:
    """Put the name of the page in front of each id, which then is the only one of its name."""
    for element in body.select("[id]"):
        if element is not body:
            element["id"] = in_book(stem, element["id"])


def in_book(stem: str, fragment: str) -> str:
    """Name an id of a page as it is named in the book."""
    return f"{stem}--{re.sub(r'[^A-Za-z0-9_.-]', '-', fragment)}" if fragment else stem


def rewrite_links(body: Tag, site: Path, name: str, names: set[str]) -> None:
    """Let links lead into the book where they lead to its pages, and find pictures by path."""
    here = posixpath.dirname(name)
    for link in body.select("a[href]"):
        parts = urlsplit(link["href"])
        if parts.scheme or parts.netloc:
            continue
        path = posixpath.normpath(posixpath.join(here, unquote(parts.path)))
        target = path.removesuffix(".html") if parts.path else name
        if target in names:
            link["href"] = "#" + in_book(Path(target).name, unquote(parts.fragment))
        else:
            link.unwrap()
    for image in body.select("img[src]"):
        image["src"] = str((site / here / unquote(urlsplit(image["src"]).path)).resolve())


def take_solutions(body: Tag, stem: str) -> list[Tag]:
    """Take the solutions out, and leave in each exercise a link to its own."""
    taken = []
    for number, solution in enumerate(body.select("div.solution"), 1):
        solution["id"] = f"{stem}--solution-{number}"
        solution["class"] = [c for c in solution["class"] if c != "dropdown"]
        exercise = body.find(id=solution.find("a")["href"].removeprefix("#"))
        link = fragment(f'<p class="to-solution"><a href="#{solution["id"]}">Solution</a></p>')
        exercise.append(link)
        taken.append(solution.extract())
    return taken


def unlink_missing(chapters: list[Chapter]) -> None:
    """Keep the words of links to what is not in the book, such as a figure for the web."""
    pieces = [tag for c in chapters for tag in (c.body, *c.solutions)]
    ids = {tag["id"] for piece in pieces for tag in (piece, *piece.select("[id]")) if tag.get("id")}
    for piece in pieces:
        for link in piece.select('a[href^="#"]'):
            if link["href"].removeprefix("#") not in ids:
                link.unwrap()


def fragment(html: str) -> Tag:
    """Parse a piece of HTML with one element around it."""
    return BeautifulSoup(html, "html.parser").find()


def text_of(element: Tag) -> str:
    """Give the words of an element; a formula is read from the source it was drawn from."""
    copy = fragment(str(element))
    for formula in copy.select(".katex"):
        math = formula.find("math")
        for note in math.select("annotation"):
            note.decompose()
        formula.replace_with(math.get_text())
    return " ".join(copy.get_text().replace(APPLIED, "").split())


def slug(title: str) -> str:
    """Name something in links."""
    return re.sub(r"\W+", "-", title.lower()).strip("-")
