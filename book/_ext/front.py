"""The front page: chapters as cards, paths through them, and a still picture for a live one.

Titles, questions and pictures are read from the chapters, and the order from _toc.yml: nothing
is typed twice, and a chapter that is new has its card.
"""

from __future__ import annotations

import json
import os
import re
import xml.etree.ElementTree as ET
from itertools import count
from pathlib import Path
from typing import Any

from contents import order, stems
from docutils import nodes
from docutils.statemachine import StringList
from ledger import prose
from live import FIGURE
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

SVG = "http://www.w3.org/2000/svg"
SENTENCE = re.compile(r"(?<=[.?!])\s+")
# What matplotlib calls the parts of a picture that nobody can read at the size of a stamp.
WORDS = re.compile(r"(?:text|legend|matplotlib\.axis)_")


def parts(root: Path) -> list[tuple[str, list[tuple[int, str]]]]:
    """Read the parts of the book with the numbers and stems of their chapters."""
    numbers, found = count(1), []
    for caption, pages in order(root):
        chapters = [page for page in pages if (root / f"{page}.ipynb").exists()]
        if chapters:
            found.append((caption, [(next(numbers), Path(page).name) for page in chapters]))
    return found


def title_of(text: str) -> str:
    """Give the title of a chapter's Markdown."""
    return re.search(r"^# (.*)", text, re.M)[1]


def question_of(text: str) -> str:
    """Give the first question that a chapter begins with, and the sentence before it.

    Without a question it is the last sentence of the first paragraph.
    """
    opening = re.search(r"^# [^\n]*\n(.*?)^[`:]{3,}\{", text, re.M | re.DOTALL)[1].strip()
    sentences = SENTENCE.split(opening)
    for before, sentence in zip(["", *sentences], sentences, strict=False):
        if sentence.endswith("?"):
            return f"{before} {sentence}".strip()
    return SENTENCE.split(opening.split("\n\n")[0])[-1]


def pictures_of(notebook: Path) -> list[tuple[str, str, str]]:
    """Give a chapter's stored pictures: name, words for those who do not see it, SVG."""
    found = []
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        shown = cell["metadata"].get("mystnb", {})
        for output in cell.get("outputs", []):
            if svg := output.get("data", {}).get("image/svg+xml"):
                name, alt = shown["figure"]["name"], shown["image"]["alt"]
                found.append((name, alt, "".join(svg)))
    return found


def without_words(svg: str) -> str:
    """Take the letters, axes and keys out of a picture by matplotlib: what is left fits a card."""
    for prefix, space in (("", SVG), ("xlink", "http://www.w3.org/1999/xlink")):
        ET.register_namespace(prefix, space)
    root = ET.fromstring(svg)
    for parent in [root, *root.iter()]:
        for child in list(parent):
            if WORDS.match(child.get("id", "")) or child.tag == f"{{{SVG}}}metadata":
                parent.remove(child)
    return ET.tostring(root, encoding="unicode")


class FrontDirective(SphinxDirective):
    """What the directives of the front page share."""

    @property
    def book(self) -> Path:
        return Path(self.env.srcdir) / "book"

    def depend(self, *paths: Path) -> None:
        for path in paths:
            self.env.note_dependency(str(path))

    def picture(self, name: str, svg: str, alt: str) -> nodes.image:
        """Put a picture where Sphinx finds it, and show it."""
        path = Path(self.env.doctreedir) / "pictures" / f"{name}.svg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(svg, encoding="utf-8")
        here = Path(self.env.doc2path(self.env.docname)).parent
        return nodes.image(uri=os.path.relpath(path, here), alt=alt, loading="lazy")

    def parsed(self, *lines: str) -> list[nodes.Node]:
        """Read lines of MyST."""
        node = nodes.Element()
        self.state.nested_parse(StringList(lines, source=self.name), self.content_offset, node)
        return node.children


class ChapterCards(FrontDirective):
    """``{chapter-cards}``: every chapter with its first picture and its question."""

    def run(self) -> list[nodes.Node]:
        root = Path(self.env.srcdir)
        self.depend(root / "_toc.yml")
        result: list[nodes.Node] = []
        for caption, chapters in parts(root):
            result.append(nodes.rubric("", caption, classes=["part"]))
            cards = [self.card(number, stem) for number, stem in chapters]
            result.append(nodes.bullet_list("", *cards, classes=["chapter-cards"]))
        return result

    def card(self, number: int, stem: str) -> nodes.list_item:
        notebook = self.book / f"{stem}.ipynb"
        self.depend(notebook)
        text = prose(notebook)
        images = [
            self.picture(f"card-{stem}", without_words(svg), alt="")
            for _, _, svg in pictures_of(notebook)[:1]  # a chapter may have none
        ]
        link = f"{{doc}}`{number}. {title_of(text)} <{stem}>`"
        return nodes.list_item("", *images, *self.parsed(link, "", question_of(text)))


class ReadingPath(FrontDirective):
    """``{reading-path} stem stem ...``: these pages in order, of those that the book has."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        root = Path(self.env.srcdir)
        self.depend(root / "_toc.yml")
        path = [stem for stem in self.arguments[0].split() if stem in stems(root)]
        return self.parsed(*(f"{i}. {{doc}}`{stem}`" for i, stem in enumerate(path, 1)))


class LiveFigure(FrontDirective):
    """``{live} name``: a live figure, and without scripts the picture above it in its chapter."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        for notebook in sorted(self.book.glob("*.ipynb")):
            if name in FIGURE.findall(prose(notebook)):
                self.depend(notebook)
                return [
                    nodes.raw("", f'<div class="live" data-figure="{name}"></div>', format="html"),
                    nodes.raw("", "<noscript>", format="html"),
                    self.still(notebook, name),
                    nodes.raw("", "</noscript>", format="html"),
                ]
        raise self.error(f"no chapter has a live figure {name!r}")

    def still(self, notebook: Path, name: str) -> nodes.image:
        """Find the last picture before the live figure."""
        last = None
        for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
            if name in FIGURE.findall("".join(cell["source"])):
                break
            last = cell["metadata"].get("mystnb", {}).get("figure", {}).get("name", last)
        pictures = {figure: (alt, svg) for figure, alt, svg in pictures_of(notebook)}
        alt, svg = pictures[last]
        return self.picture(f"still-{name}", svg, alt)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_directive("chapter-cards", ChapterCards)
    app.add_directive("reading-path", ReadingPath)
    app.add_directive("live", LiveFigure)
    return {"version": "1", "parallel_read_safe": True}
