"""What helps a reader of a chapter: how long it takes, its notebook, symbols, a citation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from docutils import nodes
from front import parts
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

WORDS_A_MINUTE = 130  # proofs are read more slowly than novels
WORDS_A_LINE = 6  # how many words of prose take as long as a line of code


def minutes(document: nodes.document) -> int:
    """Estimate how long a chapter takes, solutions left out, to the next five minutes."""
    closed = {
        id(node)
        for solution in document.findall(nodes.Element)
        if "solution" in solution.get("classes", ())
        for node in solution.findall()
    }
    words = 0
    for node in document.findall(nodes.Element):
        if id(node) in closed:
            continue
        if isinstance(node, nodes.paragraph | nodes.math_block):
            words += len(node.astext().split())
        elif "cell_input" in node.get("classes", ()):
            words += WORDS_A_LINE * len(node.astext().splitlines())
    return max(5, 5 * round(words / WORDS_A_MINUTE / 5))


def bibtex(root: Path, stem: str, title: str, year: str, address: str) -> str:
    """Write the entry of a chapter; what is true of the whole book comes from CITATION.cff."""
    whole = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    number = next(n for _, chapters in parts(root) for n, other in chapters if other == stem)
    names = [
        f"{{{who['name']}}}" if "name" in who else f"{who['family-names']}, {who['given-names']}"
        for who in whole["authors"]
    ]
    fields = {
        "author": " and ".join(names),
        "title": title,
        "booktitle": whole["title"],
        "chapter": number,
        "year": year,
        "note": f"Version {whole['version']}",
        "url": f"{address}book/{stem}.html" if address else "",
    }
    lines = [f"  {key:9} = {{{value}}}," for key, value in fields.items() if value]
    return "\n".join([f"@incollection{{SoftmaxNotes:{stem},", *lines, "}"])


class ChapterFrame(SphinxTransform):
    """Put a line below the title of each chapter, and its citation at the end."""

    default_priority = 750

    def apply(self, **kwargs: Any) -> None:
        folder, _, stem = self.env.docname.partition("/")
        if folder != "book" or not self.env.doc2path(self.env.docname).endswith(".ipynb"):
            return
        chapter = next(iter(self.document.findall(nodes.section)))
        root = Path(self.env.srcdir)
        for source in ("_toc.yml", "CITATION.cff"):
            self.env.note_dependency(str(root / source))
        chapter.insert(1, self.line(stem))
        chapter += self.citation(root, stem, chapter[0].astext())

    def line(self, stem: str) -> nodes.paragraph:
        """Tell the time it takes, and lead to the notebook, the symbols, the citation."""
        notebook = addnodes.download_reference(
            "", "", nodes.inline("", "Download this notebook"), reftarget=f"/book/{stem}.ipynb"
        )
        cite = nodes.reference("", "Cite", refid="cite", internal=True)
        items = [
            nodes.inline("", f"About {minutes(self.document)} minutes"),
            notebook,
            self.link("how-to-run", "How to run it", "ref"),
            self.link("/book/notation", "Symbols"),
            self.link("/book/glossary", "Glossary"),
            cite,
        ]
        line = nodes.paragraph(classes=["chapter-line"])
        for i, item in enumerate(items):
            line += [nodes.Text(" · "), item] if i else [item]
        return line

    def link(self, target: str, text: str, kind: str = "doc") -> addnodes.pending_xref:
        return addnodes.pending_xref(
            "",
            nodes.inline("", text),
            refdomain="std",
            reftype=kind,
            reftarget=target,
            refdoc=self.env.docname,
            refexplicit=True,
            refwarn=True,
        )

    def citation(self, root: Path, stem: str, title: str) -> list[nodes.Node]:
        entry = bibtex(root, stem, title, self.config.copyright, self.config.html_baseurl)
        block = nodes.literal_block(entry, entry, language="bibtex", ids=["cite"])
        opening = '<details class="cite"><summary>Cite this chapter</summary>'
        return [
            nodes.raw("", opening, format="html"),
            block,
            nodes.raw("", "</details>", format="html"),
        ]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_transform(ChapterFrame)
    return {"version": "1", "parallel_read_safe": True}
