"""The page "Derive it yourself": SymPy in the reader's browser, if `make live` fetched it."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

# Of softmax_notes; they need SymPy alone.
PROOFS = ("_extras", "symbolic/__init__", "symbolic/_arguments", "symbolic/jacobian")
BOX = """<div class="derive web-only" data-worker="{to_root}_static/derive/worker.js">
<p class="controls"><label for="derive-n">Number of scores n</label>
<select id="derive-n"><option>2</option><option selected>3</option><option>4</option>\
<option>5</option><option>6</option></select>
<button type="button" data-first="{first}">{first}</button></p>
<p class="status" role="status"></p>
<div class="result"></div>
<noscript><p>Python runs in your browser only with JavaScript.</p></noscript>
</div>"""
ABSENT = (
    "This copy of the site was built without Python for the browser. "
    "In the repository, “make live” fetches it, and “make book” then puts it here."
)


def fetched(root: Path) -> list[Path]:
    """List what `make live` has fetched; a library without the proofs is half of it."""
    folder = root / "_build" / "live"
    return sorted(folder.iterdir()) if (folder / "library.zip").exists() else []


class Derive(SphinxDirective):
    """``{derive}``: the figure that fetches Python, or a sentence that says it is not there."""

    def run(self) -> list[nodes.Node]:
        root = Path(self.env.srcdir)
        files = fetched(root)
        if not files:
            return [nodes.paragraph("", ABSENT, classes=["web-only"])]
        size = round(sum(path.stat().st_size for path in files) / 1e6)
        first = f"Fetch Python ({size} MB) and derive"
        html = BOX.format(to_root="../" * self.env.docname.count("/"), first=first)
        self.env.metadata[self.env.docname]["derive"] = "yes"
        return [nodes.raw("", html, format="html")]


def outdated(
    app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]
) -> set[str]:
    """Read the page again when the files have come or gone."""
    there = bool(fetched(Path(app.srcdir)))
    before, env.derive_fetched = getattr(env, "derive_fetched", None), there
    return {"book/derive"} & env.found_docs if there != before else set()


def add_assets(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Give this page, and no other, its script and style."""
    if "derive" in app.env.metadata.get(pagename, {}):
        app.add_css_file("derive/derive.css")
        app.add_js_file("derive/derive.js", defer="defer")


def take_along(app: Sphinx, exception: Exception | None) -> None:
    """Copy the files into the site, and our proofs beside SymPy."""
    files = fetched(Path(app.srcdir))
    if exception is not None or app.builder.format != "html":
        return
    folder = Path(app.outdir) / "pyodide"
    shutil.rmtree(folder, ignore_errors=True)
    for path in files:
        folder.mkdir(exist_ok=True)
        shutil.copy2(path, folder)
    if files:
        add_proofs(Path(app.srcdir) / "softmax_notes", folder / "library.zip")


def add_proofs(package: Path, library: Path) -> None:
    """Add the proofs to the library, in a package that imports nothing else."""
    with zipfile.ZipFile(library, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("softmax_notes/__init__.py"), "")
        for name in PROOFS:
            source = (package / f"{name}.py").read_bytes()
            archive.writestr(zipfile.ZipInfo(f"softmax_notes/{name}.py"), source)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_directive("derive", Derive)
    app.connect("env-get-outdated", outdated)
    app.connect("html-page-context", add_assets)
    app.connect("build-finished", take_along)
    return {"version": "1", "parallel_read_safe": True}
