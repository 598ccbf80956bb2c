"""The ledger of claims: which theorem is proved and tested where.

Everything is read as text: claims from the chapters, markers from the tests' syntax trees.
Nothing is run, and the tests check the ledger with the same functions that draw it.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from contents import stems
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

KINDS = ("theorem", "proposition", "lemma", "corollary")
BOX = re.compile(r"^[ \t]*[`:]{3,}\{prf:(\w+)\}[ \t]*(.*)\n((?:[ \t]*:[\w-]+:.*\n)*)", re.M)
LABEL = re.compile(r":label:[ \t]*(\S+)")
PART = re.compile(r"# -+ ?(\w+)")
CITED = re.compile(r"``((?:thm|prop|lem|cor)-[\w-]+)``")


class Claim(NamedTuple):
    """A labelled theorem, proposition, lemma or corollary of a chapter."""

    label: str
    kind: str
    title: str
    stem: str
    in_words: bool  # a prf:proof comes next, before any other claim


class Marker(NamedTuple):
    """A test that carries ``@pytest.mark.claim(label)``."""

    label: str
    test: str
    file: str
    part: str  # the part of the test file: laws, references, edges or proofs


def prose(path: Path) -> str:
    """Give the Markdown of a page, or of a notebook's Markdown cells."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    return text + "\n"


def claims_in(text: str, stem: str) -> list[Claim]:
    """Find the claims in Markdown, in order."""
    boxes = [box for box in BOX.findall(text) if box[0] in (*KINDS, "proof")]
    claims = []
    for i, (kind, title, options) in enumerate(boxes):
        if kind != "proof":
            label = LABEL.search(options)
            if label is None:
                raise ValueError(f"{stem}: the {kind} {title!r} has no label to cite it by")
            in_words = i + 1 < len(boxes) and boxes[i + 1][0] == "proof"
            claims.append(Claim(label[1], kind, title.strip(), stem, in_words))
    return claims


def book_claims(book: Path) -> list[Claim]:
    """Find the claims of every chapter and page of the book."""
    pages = sorted([*book.glob("*.ipynb"), *book.glob("*.md")])
    return [claim for page in pages for claim in claims_in(prose(page), page.stem)]


def markers_in(text: str, file: str) -> list[Marker]:
    """Find the claim markers of one test file."""
    lines = text.splitlines()
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            parts = [m[1] for line in lines[: node.lineno] if (m := PART.match(line))]
            part = parts[-1] if parts else ""
            found += [Marker(label, node.name, file, part) for label in _marked(node)]
    return found


def _marked(function: ast.FunctionDef) -> Iterator[str]:
    for mark in function.decorator_list:
        if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.claim":
            yield ast.literal_eval(mark.args[0])


def suite_markers(tests: Path) -> list[Marker]:
    """Find the claim markers of every test file."""
    files = sorted(tests.glob("test_*.py"))
    return [m for f in files for m in markers_in(f.read_text(encoding="utf-8"), f.name)]


class ClaimsLedger(SphinxDirective):
    """``{claims-ledger}``: for each chapter, a table of its claims, proofs and tests."""

    def run(self) -> list[nodes.Node]:
        root = Path(self.env.srcdir)
        for path in [*root.glob("book/*.ipynb"), *root.glob("tests/*.py"), root / "_toc.yml"]:
            self.env.note_dependency(str(path))
        claims, markers = book_claims(root / "book"), suite_markers(root / "tests")
        sections = []
        for stem in stems(root):
            if mine := [claim for claim in claims if claim.stem == stem]:
                title = re.search(r"^# (.*)", prose(root / "book" / f"{stem}.ipynb"), re.M)
                section = nodes.section(ids=[stem], names=[stem])
                section += nodes.title("", title[1] if title else stem)
                lines = StringList(table(mine, markers), source="claims-ledger")
                self.state.nested_parse(lines, 0, section)
                sections.append(section)
        return sections


def table(claims: list[Claim], markers: list[Marker]) -> list[str]:
    """Write the table of one chapter in MyST."""
    lines = ["::::{list-table}", ":header-rows: 1", ":widths: 30 30 40", ":class: ledger", ""]
    lines += ["* - Claim", "  - Proof", "  - Tests"]
    for claim in claims:
        tests = [m for m in markers if m.label == claim.label]
        proofs = ["in words"] * claim.in_words + [_name(m) for m in tests if m.part == "proofs"]
        lines.append(f"* - {{prf:ref}}`{claim.label}` {claim.title}")
        for entries in (proofs, [_name(m) for m in tests if m.part != "proofs"]):
            lines.append(f"  - {'; '.join(entries)}")
    return [*lines, "::::"]


def _name(marker: Marker) -> str:
    """Write a test's name as the sentence it is."""
    return marker.test.removeprefix("test_").replace("_", " ")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_directive("claims-ledger", ClaimsLedger)
    return {"version": "1", "parallel_read_safe": True}
