"""A Chromium that Playwright can drive, wherever this machine has one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Playwright, sync_playwright

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]
PROGRAMS = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"]
MAC = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
HOW_TO = (
    "no browser found. Run `playwright install chromium`, install the package chromium of your "
    "system, or set CHROMIUM to the path of a Chromium or Chrome"
)


def find(playwright: Playwright) -> str | None:
    """Give the path of the first browser there is."""
    own = playwright.chromium.executable_path
    candidates = [os.environ.get("CHROMIUM"), *map(shutil.which, PROGRAMS), MAC, own]
    return next((c for c in candidates if c and Path(c).exists()), None)


@contextmanager
def launched() -> Iterator[Browser]:
    """Start a browser, and close it in the end."""
    with sync_playwright() as playwright:
        if (program := find(playwright)) is None:
            raise FileNotFoundError(HOW_TO)
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()
