"""A page stands still in whatever order it comes: in pieces, its fonts late, its scripts late."""

import gzip
import threading
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pydata_sphinx_theme
import pytest
from delivery import TAB_STOPS, THEME_SCRIPT, used

from tests.browser import DESKTOP, PHONE, SITE, Host, browser, moved, program, require_site, served

__all__ = ["browser", "program"]  # fixtures
pytestmark = pytest.mark.slow
LATE = {"fonts": ".woff2", "scripts": ".js", "pictures": ".svg"}
PIECES = 16
# A share of the screen. A page that became wide late moved by 0.24. A word that letters of another
# font push to the next line, with all that follows, moved by 0.017.
STILL = 0.01
COME = "() => document.documentElement.outerHTML.length"
TWO_FRAMES = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"

pages = pytest.mark.parametrize("page", ["intro", "overflow"])
screens = pytest.mark.parametrize("screen", [PHONE, DESKTOP], ids=["phone", "desktop"])


class Slow(Host):
    """Sends the pieces of a page, or files that end so, only when it is allowed to."""

    def __init__(self, *args, held, gate, **options):
        self.held, self.gate = held, gate
        super().__init__(*args, **options)

    def copyfile(self, source, target):
        body = source.read()
        held = self.path.split("?")[0].endswith(self.held)
        step = -(-len(body) // PIECES) if held and self.held == ".html" else len(body)
        for start in range(0, len(body), step):
            if held:
                self.gate.acquire()
            target.write(body[start : start + step])


@contextmanager
def opening(page, browser, screen, held):
    """Ask for a page, of which the gate lets pass what is held."""
    gate = threading.Semaphore(held == ".html")  # the browser waits for a first piece
    context = browser.new_context(viewport=screen)
    with served(host=partial(Slow, held=held, gate=gate)) as address:
        tab = context.new_page()
        tab.goto(f"{address}book/{page}.html", wait_until="commit")
        # What is asked while one document takes the place of another has no answer.
        tab.wait_for_function("() => location.href !== 'about:blank'", polling=10)
        yield tab, gate
        tab.wait_for_load_state()
        tab.evaluate("document.fonts.ready.then(() => null)")
        tab.evaluate(TWO_FRAMES)
        assert moved(tab) < STILL
    context.close()


@pages
@screens
def test_a_page_that_comes_in_pieces_stands_still(page, screen, browser):
    with opening(page, browser, screen, ".html") as (tab, gate):
        for _ in range(PIECES - 1):
            if tab.evaluate("document.body !== null"):
                tab.evaluate(TWO_FRAMES)  # each piece is drawn
            before = tab.evaluate(COME)
            gate.release()
            tab.wait_for_function(f"(before) => ({COME})() > before", arg=before, polling=10)


@pages
@screens
@pytest.mark.parametrize("held", LATE.values(), ids=LATE)
def test_a_page_stands_still_when_files_come_late(held, page, screen, browser):
    with opening(page, browser, screen, held) as (tab, gate):
        tab.wait_for_function(
            "() => performance.getEntriesByName('first-contentful-paint').length > 0", polling=10
        )
        tab.evaluate(TWO_FRAMES)
        gate.release(1000)


# --- what a page gets


def test_a_sheet_keeps_the_rules_that_a_page_may_use():
    names = {"card", "open", "dark", "band-"}
    kept = [
        "a:hover{color:red}",
        ".band-0{top:0}",
        ".card .open>p{top:.5rem}",
        "html:not(.light) .card{top:0}",
        ":is(.card,.gone) p{top:1px}",
        "@media (min-width:36rem){.card{top:1px}}",
        "@font-face{font-family:x.y;src:url(a.b)}",
        "@keyframes turn{12.5%{top:0}to{top:1px}}",
    ]
    assert used("".join(kept), names) == "".join(kept)
    assert used(".card,.gone{top:0}.gone.card{top:1px}", names) == ".card{top:0}"
    assert used("@media print{.gone{top:0}}/* .card{} */.open{top:0}", names) == ".open{top:0}"


def test_style_sheets_hold_little_that_no_page_uses():
    require_site()
    sheets = list((SITE / "_static").glob("site-*.css"))
    assert sheets
    assert max(len(gzip.compress(sheet.read_bytes())) for sheet in sheets) < 50_000


def test_the_theme_does_not_measure_every_box_at_the_start():
    theme = Path(pydata_sphinx_theme.__file__).parent / "theme/pydata_sphinx_theme/static"
    assert len(TAB_STOPS.findall((theme / THEME_SCRIPT).read_text(encoding="utf-8"))) == 1
    require_site()
    assert TAB_STOPS.findall((SITE / "_static" / THEME_SCRIPT).read_text(encoding="utf-8")) == []


def test_what_scripts_put_together_keeps_its_rules():
    require_site()
    sheets = [path.read_text(encoding="utf-8") for path in (SITE / "_static").glob("site-*.css")]
    assert all(".bs-tooltip-auto[" in sheet for sheet in sheets)
    assert any(".live-band-zero" in sheet for sheet in sheets)
