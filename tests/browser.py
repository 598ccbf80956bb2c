"""The built site, served on this machine, and a browser to read it with."""

import gzip
import os
import threading
from contextlib import contextmanager
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import pytest
from browser import FLAGS, HOW_TO, find
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parent.parent
SITE = Path(os.environ.get("SITE", ROOT / "_build" / "html"))
COMPRESSED = 500_000  # bytes: what a page may weigh, everything included
PHONE, DESKTOP = {"width": 360, "height": 740}, {"width": 1280, "height": 800}

# Sections far from the screen too: see house.css.
LAY_OUT = """for (const section of document.querySelectorAll(".bd-article > section > section"))
    section.style.contentVisibility = "visible";"""


def require_site():
    if not (SITE / "index.html").exists():
        pytest.fail("there is no site in _build/html: run `make book`")


@cache
def compressed(path, changed):
    return gzip.compress(path.read_bytes(), compresslevel=6, mtime=0)


class Host(SimpleHTTPRequestHandler):
    """Serve the site as any host of static sites does: text compressed, connections kept."""

    protocol_version = "HTTP/1.1"

    def __init__(self, *args, headers, **options):
        self.headers_of_the_host = headers
        super().__init__(*args, **options)

    def send_head(self):
        path = Path(self.translate_path(self.path))
        path = path / "index.html" if path.is_dir() else path
        if not path.is_file():
            return self.send_error(404)
        self.send_response(200)
        self.send_header("Content-Type", kind := self.guess_type(path))
        if kind.startswith("text/") or kind.endswith(("javascript", "json", "xml")):
            body = compressed(path, path.stat().st_mtime_ns)
            self.send_header("Content-Encoding", "gzip")
        else:
            body = path.read_bytes()
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "max-age=86400")
        for name, value in self.headers_of_the_host.items():
            self.send_header(name, value)
        self.end_headers()
        return BytesIO(body)

    def log_message(self, *args):
        pass


@contextmanager
def served(headers=None, host=Host):
    """Serve the site on a free port of this machine, with what else the host says."""
    require_site()
    handler = partial(host, directory=str(SITE), headers=headers or {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def address():
    with served() as address:
        yield address


@pytest.fixture(scope="session")
def program():
    """Find a browser."""
    with sync_playwright() as playwright:
        found = find(playwright)
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(HOW_TO)
    return found


@pytest.fixture(scope="module")
def browser(program):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


def moved(tab):
    """Add up how much the page has moved by itself, as a share of the screen."""
    return tab.evaluate(
        """() => new Promise((done) => {
            let sum = 0;
            new PerformanceObserver((list) => {
                for (const { value } of list.getEntries()) sum += value;
            }).observe({ type: "layout-shift", buffered: true });
            setTimeout(() => done(sum), 100);
        })"""
    )
