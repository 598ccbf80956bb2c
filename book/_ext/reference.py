"""The reference of the package: a list of every public module, and a page for each.

Modules and their members are found rather than listed. A page of book/api says which module it
describes; the proofs of a chapter stand on the page of its module.
"""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

from contents import stems
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
AUTOCLASS = """```{{eval-rst}}
.. autoclass:: softmax_notes.{name}
   :members:
```"""
SUMMARY = """```{{eval-rst}}
:doc:`softmax_notes.{name} </book/api/{page}>`: {words}

.. autosummary::

{members}
```"""


def modules(root: Path) -> dict[str, list[str]]:
    """Sort the public modules: those of chapters, in the book's order, proofs, and helpers."""
    package = root / "softmax_notes"
    toc = stems(root)
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


def members(name: str) -> list[str]:
    """List the public functions and classes of a module, those it takes from its own parts too."""
    module = importlib.import_module(f"softmax_notes.{name}")
    found = [(member, getattr(module, member)) for member in module.__all__]
    return [
        member
        for member, value in found
        if callable(value) and f"{value.__module__}.".startswith(f"{module.__name__}.")
    ]


def parts_of(name: str) -> list[str]:
    """List the public classes that a module takes from its own private parts."""
    module = importlib.import_module(f"softmax_notes.{name}")
    found = [getattr(module, member) for member in members(name)]
    return [f"{name}.{c.__name__}" for c in found if inspect.isclass(c) and "._" in c.__module__]


class ReferenceDirective(SphinxDirective):
    """What the directives of the reference share."""

    required_arguments = 1

    @property
    def root(self) -> Path:
        return Path(self.env.srcdir)

    def section(self, title: str, ids: str, text: str) -> nodes.section:
        """Read lines of MyST in a section of their own."""
        section = nodes.section(ids=[ids.replace(".", "-").replace("_", "-")], names=[title])
        section += nodes.title("", title)
        self.read(text, section)
        return section

    def read(self, text: str, into: nodes.Element) -> None:
        self.state.nested_parse(StringList(text.splitlines(), source="package"), 0, into)


class PackageReference(ReferenceDirective):
    """``{package-reference} chapters``: what these modules hold, each in a section."""

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(str(self.root / "_toc.yml"))
        return [self.summary(name) for name in modules(self.root)[self.arguments[0]]]

    def summary(self, name: str) -> nodes.section:
        module = importlib.import_module(f"softmax_notes.{name}")
        self.env.note_dependency(module.__file__)
        words, page = module.__doc__.partition("\n\n")[0], name.removeprefix("symbolic.")
        lines = "\n".join(f"   ~softmax_notes.{name}.{member}" for member in members(name))
        text = SUMMARY.format(name=name, page=page, words=words, members=lines)
        return self.section(name, name, text)


class ModuleReference(ReferenceDirective):
    """``{module-reference} stem``: the docstrings of a module, and of its proofs."""

    def run(self) -> list[nodes.Node]:
        (name,) = self.arguments
        pieces = [AUTOMODULE.format(name=name)]
        pieces += [AUTOCLASS.format(name=part) for part in parts_of(name)]
        self.read("\n\n".join(pieces), node := nodes.Element())
        proofs = f"symbolic.{name}"
        if proofs not in modules(self.root)["proofs"]:
            return node.children
        return [*node.children, self.section("Proofs", "proofs", AUTOMODULE.format(name=proofs))]


def link_docstring(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Turn the claims and chapters that a docstring names into links to them."""
    text = CITED.sub(r":prf:ref:`\1`", "\n".join(lines))
    lines[:] = CHAPTER.sub(r"\1:doc:`/book/\2`", text).splitlines()


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_directive("package-reference", PackageReference)
    app.add_directive("module-reference", ModuleReference)
    app.connect("autodoc-process-docstring", link_docstring, priority=600)  # after numpydoc
    return {"version": "1", "parallel_read_safe": True}
