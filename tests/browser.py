"""The built site, served on this machine, and a browser to read it with."""

import os
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from browser import FLAGS, HOW_TO, find
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parent.parent
SITE = Path(os.environ.get("SITE", ROOT / "_build" / "html"))
PHONE, DESKTOP = {"width": 360, "height": 740}, {"width": 1280, "height": 800}


def require_site():
    if not (SITE / "index.html").exists():
        pytest.fail("there is no site in _build/html: run `make book`")


@pytest.fixture(scope="module")
def address():
    """Serve the site on a free port of this machine."""
    require_site()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(SITE)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


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
