"""The glossary: its words in two other languages, and links to it from the chapters.

The first use of each term in a chapter becomes a link, found rather than written by hand.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst.states import Inliner
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx

PAGE = "book/glossary.md"
LANGUAGES = {"vi": "Vietnamese", "zh": "Chinese"}
DIRECTIVE = re.compile(r"^```\{glossary\}\n(.*?)^```", re.MULTILINE | re.DOTALL)


def entries(root: Path) -> list[list[str]]:
    """Read the page's entries, each a list of terms that share one explanation."""
    page = (root / PAGE).read_text(encoding="utf-8")
    found: list[list[str]] = []
    for block in DIRECTIVE.findall(page):
        for entry in block.strip().split("\n\n"):
            found.append([line for line in entry.splitlines() if not line.startswith(" ")])
    return found


def pattern(terms: list[str]) -> re.Pattern[str]:
    """Match any of the terms as whole words, in the plural too; abbreviations keep their case."""
    words = "|".join(re.escape(t) if t.isupper() else f"(?i:{re.escape(t)})" for t in terms)
    return re.compile(rf"(?<![\w-])(?:{words})(?:e?s)?(?![\w-])")


def link_first_uses(app: Sphinx, doctree: nodes.document) -> None:
    """Link the first use of each entry in the running text of a chapter."""
    env = app.env
    if not env.doc2path(env.docname).endswith(".ipynb"):
        return
    env.note_dependency(str(Path(app.srcdir) / PAGE))
    wanted = {terms[0]: pattern(terms) for terms in entries(Path(app.srcdir))}
    for paragraph in list(doctree.findall(running_text)):
        for text in [child for child in paragraph.children if isinstance(child, nodes.Text)]:
            paragraph.replace(text, linked(text.astext(), wanted, env.docname))


def linked(text: str, wanted: dict[str, re.Pattern[str]], docname: str) -> list[nodes.Node]:
    """Split text at the terms that are still wanted, each of which it then takes off the list."""
    for term, words in wanted.items():
        if match := words.search(text):
            del wanted[term]
            before, after = text[: match.start()], text[match.end() :]
            link = reference(docname, term, match[0])
            return [*linked(before, wanted, docname), link, *linked(after, wanted, docname)]
    return [nodes.Text(text)] if text else []


def running_text(node: nodes.Node) -> bool:
    """Tell paragraphs of the chapter itself from those of boxes, where links would crowd."""
    boxed = isinstance(node, nodes.paragraph) and node.parent
    while boxed and not isinstance(boxed, nodes.Admonition):
        boxed = boxed.parent
    return isinstance(node, nodes.paragraph) and not boxed


def reference(docname: str, term: str, words: str) -> pending_xref:
    """Point from words to the entry of a term."""
    inner = nodes.inline(words, words, classes=["glossary-link"])
    return pending_xref(
        words, inner, refdoc=docname, refdomain="std", reftype="term", reftarget=term,
        refexplicit=True, refwarn=True,
    )  # fmt: skip


def translation(
    name: str, rawtext: str, text: str, lineno: int, inliner: Inliner, *args: Any
) -> tuple[list[nodes.Node], list[nodes.system_message]]:
    """``{vi}`...` ``: words of another language, marked as such for screen readers and fonts."""
    opening = f'<span class="translation" lang="{name}" title="{LANGUAGES[name]}">'
    return [
        nodes.raw("", opening, format="html"),
        nodes.Text(text),
        nodes.raw("", "</span>", format="html"),
    ], []


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    for name in LANGUAGES:
        app.add_role(name, translation)
    app.connect("doctree-read", link_first_uses)
    return {"version": "1", "parallel_read_safe": True}
