"""Copies of the book to read offline: the site links those that have been made.

`make pdf` and `make epub` write them to _build/offline, from the pages of the site. The next
build takes them along.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

KINDS = {"pdf": "PDF", "epub": "EPUB"}


def copies(root: Path) -> dict[str, Path]:
    """Find the copies that have been made, each under its kind."""
    paths = {kind: root / f"_build/offline/softmax-notes.{kind}" for kind in KINDS}
    return {kind: path for kind, path in paths.items() if path.exists()}


def links(root: Path, to_root: str, *, sizes: bool) -> str:
    """Write links to the copies in HTML, or nothing."""
    found = []
    for kind, path in copies(root).items():
        size = f" ({path.stat().st_size / 1e6:.1f} MB)" if sizes else ""
        found.append(f'<a href="{to_root}offline/{path.name}">{KINDS[kind]}{size}</a>')
    return f"<p>To read offline: {', '.join(found)}.</p>" if found else ""


class OfflineCopies(SphinxDirective):
    """``{offline-copies}``: links to the copies there are, with their sizes, or nothing."""

    def run(self) -> list[nodes.Node]:
        to_root = "../" * self.env.docname.count("/")
        html = links(Path(self.env.srcdir), to_root, sizes=True)
        if not html:
            return []
        return [nodes.raw("", f'<div class="web-only offline-copies">{html}</div>', format="html")]


def outdated(
    app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]
) -> set[str]:
    """Write every page again when there are other copies than at the last build."""
    found = {kind: path.stat().st_size for kind, path in copies(Path(app.srcdir)).items()}
    before, env.offline_copies = getattr(env, "offline_copies", {}), found
    return set() if found == before else set(env.found_docs)


def add_to_footer(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Link the copies at the foot of every page."""
    html = links(Path(app.srcdir), "../" * pagename.count("/"), sizes=False)
    context["theme_extra_footer"] = f"{context.get('theme_extra_footer') or ''}{html}"


def take_along(app: Sphinx, exception: Exception | None) -> None:
    """Copy the copies into the site."""
    if exception is None and app.builder.format == "html":
        folder = Path(app.outdir) / "offline"
        shutil.rmtree(folder, ignore_errors=True)
        for path in copies(Path(app.srcdir)).values():
            folder.mkdir(exist_ok=True)
            shutil.copy2(path, folder)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_directive("offline-copies", OfflineCopies)
    app.connect("env-get-outdated", outdated)
    app.connect("html-page-context", add_to_footer)
    app.connect("build-finished", take_along)
    return {"version": "1", "parallel_read_safe": True}
