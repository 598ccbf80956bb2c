"""The built site before its judges: axe (accessibility), vnu (valid HTML), Lighthouse (speed).

Slower than the other tests, and the judges come from npm: `make quality` installs and runs them.
The file's name keeps it out of `make test`.
"""

import gzip
import json
import os
import shutil
import statistics
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import pytest

from tests.browser import DESKTOP, FLAGS, PHONE, SITE, browser, program, require_site

__all__ = ["browser", "program"]  # fixtures
JUDGES = Path(__file__).parent / "node_modules"
PAGES = sorted(
    path.relative_to(SITE).as_posix()
    for path in SITE.rglob("*.html")
    if "_static" not in path.parts and path.name != "index.html"
)
FRONT = "book/intro.html"
HEAVIEST = max(PAGES, key=lambda page: (SITE / page).stat().st_size, default=FRONT)
COMPRESSED = 500_000  # bytes: what a chapter may weigh, everything included
LEAST_SCORE = 0.95


class Compressed(SimpleHTTPRequestHandler):
    """Serve text compressed, as any host of static sites does."""

    def send_head(self):
        path = Path(self.translate_path(self.path))
        path = path / "index.html" if path.is_dir() else path
        if not path.is_file():
            return self.send_error(404)
        kind, body = self.guess_type(path), path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        if kind.startswith("text/") or kind.endswith(("javascript", "json", "xml")):
            body = gzip.compress(body, mtime=0)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "max-age=86400")
        self.end_headers()
        return BytesIO(body)

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def address():
    require_site()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Compressed, directory=str(SITE)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module", params=["light", "dark"])
def scheme(request):
    return request.param


@pytest.fixture(scope="module", params=[DESKTOP, PHONE], ids=["desktop", "phone"])
def tab(request, browser, scheme):
    context = browser.new_context(viewport=request.param, color_scheme=scheme)
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("page", PAGES)
def test_axe_finds_nothing(page, tab, address):
    tab.goto(address + page, wait_until="load")
    tab.evaluate((JUDGES / "axe-core" / "axe.min.js").read_text(encoding="utf-8"))
    found = tab.evaluate("axe.run()")["violations"]
    assert [(v["id"], v["nodes"][0]["html"], v["nodes"][0]["failureSummary"]) for v in found] == []


def test_the_html_is_valid():
    if shutil.which("java") is None:
        pytest.fail("vnu, the validator of the W3C, needs Java: install a Java runtime")
    jar = JUDGES / "vnu-jar" / "build" / "dist" / "vnu.jar"
    command = ["java", "-jar", str(jar), "--errors-only", "--format", "json"]
    run = subprocess.run(
        [*command, *(str(SITE / page) for page in PAGES)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    messages = json.loads(run.stderr)["messages"]
    assert {(m["message"], m.get("extract")) for m in messages} == set()


@pytest.mark.parametrize("page", [FRONT, HEAVIEST])
def test_lighthouse_gives_at_least_95(page, address, program):
    node = shutil.which("node")
    command = [node, str(JUDGES / "lighthouse" / "cli" / "index.js"), address + page, "--quiet"]
    flags = f"--chrome-flags=--headless=new {' '.join(FLAGS)}"
    runs = []
    for _ in range(3):  # speed is measured: the middle of three
        run = subprocess.run(
            [*command, "--output=json", flags],
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, "CHROME_PATH": program},
        )
        runs.append(json.loads(run.stdout))
    for category in ("performance", "accessibility", "best-practices", "seo"):
        scores = [run["categories"][category]["score"] for run in runs]
        assert statistics.median(scores) >= LEAST_SCORE, (category, scores)
    assert max(run["audits"]["cumulative-layout-shift"]["numericValue"] for run in runs) < 0.01
    weights = [request["transferSize"] for request in requests(runs[0])]
    assert sum(weights) <= COMPRESSED


def requests(run):
    return run["audits"]["network-requests"]["details"]["items"]
