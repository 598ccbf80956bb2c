"""The reference of the package: every public module, found rather than listed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from ledger import CITED
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

CHAPTER = re.compile(r"\b(chapters?\s+)``(\w+)``")
AUTOMODULE = """```{{eval-rst}}
.. automodule:: softmax_notes.{name}
   :members:
   :ignore-module-all:
```"""


def modules(root: Path) -> dict[str, list[str]]:
    """Sort the public modules: those of chapters, in the book's order, proofs, and helpers."""
    package = root / "softmax_notes"
    toc = re.findall(r"file: book/(\w+)", (root / "_toc.yml").read_text(encoding="utf-8"))
    chapters = [
        stem
        for stem in toc
        if (package / f"{stem}.py").exists() or (package / stem / "__init__.py").exists()
    ]
    proved = {path.stem for path in (package / "symbolic").glob("[!_]*.py")}
    proofs = [stem for stem in toc if stem in proved] + sorted(proved - set(toc))
    found = {path.stem for path in package.iterdir() if (path / "__init__.py").exists()}
    found |= {path.stem for path in package.glob("*.py")}
    helpers = sorted(name for name in found - set(toc) if not name.startswith("_"))
    return {
        "chapters": chapters,
        "helpers": helpers,
        "proofs": [f"symbolic.{stem}" for stem in proofs],
    }


class PackageReference(SphinxDirective):
    """``{package-reference} chapters``: the docstrings of these modules, each in a section."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        root = Path(self.env.srcdir)
        self.env.note_dependency(str(root / "_toc.yml"))
        sections = []
        for name in modules(root)[self.arguments[0]]:
            section = nodes.section(ids=[name.replace(".", "-").replace("_", "-")], names=[name])
            section += nodes.title("", name)
            lines = StringList(AUTOMODULE.format(name=name).splitlines(), source="package")
            self.state.nested_parse(lines, 0, section)
            sections.append(section)
        return sections


def link_docstring(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Turn the claims and chapters that a docstring names into links to them."""
    text = CITED.sub(r":prf:ref:`\1`", "\n".join(lines))
    lines[:] = CHAPTER.sub(r"\1:doc:`/book/\2`", text).splitlines()


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_directive("package-reference", PackageReference)
    app.connect("autodoc-process-docstring", link_docstring, priority=600)  # after numpydoc
    return {"version": "1", "parallel_read_safe": True}
