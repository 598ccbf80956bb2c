"""Live figures: their scripts and styles, on the pages that hold one and on no other."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

FIGURE = re.compile(r'<div class="live" data-figure="(\w+)">')
ASSETS = Path(__file__).parent.parent / "_assets"


def figures_in(doctree: nodes.document) -> list[str]:
    """Name the live figures of a page, in order."""
    found = [name for node in doctree.findall(nodes.raw) for name in FIGURE.findall(node.astext())]
    return list(dict.fromkeys(found))


def scripts_for(figures: list[str]) -> list[str]:
    """List the scripts of these figures, each after those that it needs.

    They are plain scripts, no modules: those would not run in a page that is opened as a file.
    """
    record = json.loads((ASSETS / "vendor/vendored.json").read_text(encoding="utf-8"))
    d3 = [package["files"] for package in record if package["name"].startswith("d3-")]
    vendored = [path for files in d3 for path in files if path.endswith(".js")]
    ours = [f"live/{name}.js" for name in ("math", "widgets", *figures)]
    return [*vendored, *ours]


def add_assets(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Give the page what its figures need; Sphinx adds it to this page alone."""
    figures = figures_in(doctree) if doctree is not None and app.builder.name == "html" else []
    if not figures:
        return
    app.add_css_file("live/live.css")
    for script in scripts_for(figures):
        if not (ASSETS / script).exists():
            logging.getLogger(__name__).warning("%s: there is no %s", pagename, script)
        app.add_js_file(script, defer="defer")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("html-page-context", add_assets)
    return {"version": "1", "parallel_read_safe": True}
