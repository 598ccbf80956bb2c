"""The built site, read by a program and in a real browser. Run `make book` first."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.browser import DESKTOP, ROOT, SITE, address, browser, program, require_site

__all__ = ["address", "browser", "program"]  # fixtures
FOUND = sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html"))
# The theme leaves templates of its own in _static. Without a site one page is left to open,
# and its tests say what to do.
PAGES = [name for name in FOUND if not name.startswith("_static/")] or ["index.html"]
CHAPTERS = sorted(f"book/{path.stem}.html" for path in (ROOT / "book").glob("*.ipynb"))
WITH_FORMULAS = ["book/intro.html", "book/notation.html", *CHAPTERS]

SMALL_PHONE = {"width": 320, "height": 640}
# Pictures that are taller or wider than they say; those of the cards stand in boxes of one height.
OUT_OF_SHAPE = """[...document.querySelectorAll("article img[width]:not(.chapter-cards img)")]
    .filter((image) => image.offsetWidth > 0 && Math.abs(
        image.getAttribute("height") / image.getAttribute("width")
        - image.offsetHeight / image.offsetWidth) > 0.02).map((image) => image.src)"""

pages = pytest.mark.parametrize("page", PAGES)


class Page(HTMLParser):
    """What a page's source links to, and what can be linked to in it."""

    def __init__(self, name):
        super().__init__()
        self.ids, self.links = set(), set()
        self.feed((SITE / name).read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids |= {attributes[key] for key in ("id", "name") if attributes.get(key)}
        self.links |= {attributes[key] for key in ("href", "src") if attributes.get(key)}


@pytest.fixture(scope="module")
def sources():
    require_site()
    return {name: Page(name) for name in PAGES}


@pytest.fixture(scope="module")
def visit(browser, address):
    """Open pages as a small phone does, each once; give the tab and what went wrong in it."""
    tab = browser.new_page(viewport=SMALL_PHONE)
    complaints = []
    tab.on("console", lambda m: m.type in ("error", "warning") and complaints.append(m.text))
    tab.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    tab.on(
        "requestfailed",
        # Aborted is what a page still asked for when the next one was opened.
        lambda r: (
            r.failure == "net::ERR_ABORTED" or complaints.append(f"failed: {r.url} {r.failure}")
        ),
    )
    tab.on("response", lambda r: r.status >= 400 and complaints.append(f"{r.status}: {r.url}"))
    tab.on(
        "request",
        lambda r: (
            r.url.startswith((address, "data:", "blob:"))
            or complaints.append(f"another host: {r.url}")
        ),
    )

    def open_page(page):
        complaints.clear()
        # The index leads on at once, to the first page.
        tab.goto(address + page, wait_until="networkidle" if page == "index.html" else "load")
        tab.evaluate("document.fonts.ready.then(() => null)")
        return tab, list(complaints)

    yield open_page
    tab.close()


@pages
def test_a_page_loads_alone_and_fits_a_phone(page, visit):
    tab, complaints = visit(page)
    assert complaints == []
    widths = "[document.documentElement.scrollWidth, document.body.scrollWidth]"
    assert max(tab.evaluate(widths)) <= SMALL_PHONE["width"]
    assert tab.evaluate(OUT_OF_SHAPE) == []
    assert tab.locator(".katex-error").count() == 0
    # Outside of formulas and code no dollar and no TeX is left over.
    text = tab.evaluate(
        """() => {
            const copy = document.body.cloneNode(true);
            copy.querySelectorAll(".katex, pre, code, script, style").forEach((e) => e.remove());
            return copy.textContent;
        }"""
    )
    left_over = ["$", "\\frac", "\\sum", "\\softmax", "\\text", "{prf:", "{doc}", "{eq}", "{cite"]
    assert [tex for tex in left_over if tex in text] == []


def test_no_line_begins_with_the_comma_after_a_formula(visit):
    tab, _ = visit("book/choice.html")
    tab.evaluate("location.hash = 'main-content'")
    alone, kept, torn = tab.evaluate(
        """() => {
            const box = (node) => {
                const range = new Range();
                range.selectNodeContents(node);
                return range.getBoundingClientRect();
            };
            const formulas = [...document.querySelectorAll("article p span.math")];
            const followed = formulas.filter((e) => /^[,.;:)]/.test(e.nextSibling?.data ?? ""));
            const kept = followed.filter((e) => e.parentElement.matches(".nobreak"));
            const torn = kept.filter((e) => e.checkVisibility() && box(e.nextSibling).left + 1
                < [...e.querySelectorAll(".base")].at(-1).getBoundingClientRect().right);
            return [followed.length - kept.length, kept.length, torn.length];
        }"""
    )
    assert (alone, torn) == (0, 0)
    assert kept > 20


@pages
def test_every_link_within_the_site_leads_somewhere(page, sources):
    dead = []
    for link in sources[page].links:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = (SITE / page).parent / unquote(parts.path) if parts.path else SITE / page
        target = target.resolve()
        if not target.is_relative_to(SITE.resolve()) or not target.is_file():
            dead.append(link)
        elif parts.fragment and target.suffix == ".html":
            name = target.relative_to(SITE.resolve()).as_posix()
            if unquote(parts.fragment) not in sources[name].ids:
                dead.append(link)
    assert dead == []


@pytest.mark.parametrize("page", WITH_FORMULAS)
def test_formulas_need_no_script(page, browser, address):
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(address + page)
    assert tab.locator(".katex .katex-html").count() > 0
    context.close()


def test_formulas_have_their_fonts(visit):
    tab, _ = visit("book/intro.html")
    loaded = "[...document.fonts].filter((f) => f.status === 'loaded').map((f) => f.family)"
    assert {"KaTeX_Main", "KaTeX_Math"} <= {name.strip('"') for name in tab.evaluate(loaded)}


def test_the_address_of_the_site_leads_to_the_introduction(visit, address):
    tab, _ = visit("index.html")
    tab.wait_for_url(address + "book/intro.html")
    assert tab.title() == "Softmax notes"


def test_every_chapter_is_in_the_menu_and_can_be_downloaded(sources):
    for chapter in CHAPTERS:
        assert Path(chapter).name in sources["book/intro.html"].links
        notebook = f"_sources/{chapter.removesuffix('.html')}.ipynb"
        assert f"../{notebook}" in sources[chapter].links
        stored = ROOT / chapter.replace(".html", ".ipynb")
        assert (SITE / notebook).read_bytes() == stored.read_bytes(), "run `make book`"


def test_chapters_lead_to_the_glossary_and_it_speaks_three_languages(sources):
    entries = {link for page in CHAPTERS for link in sources[page].links if "#term-" in link}
    assert {"glossary.html#term-score", "glossary.html#term-Jacobian"} <= entries
    for page in CHAPTERS:
        links = [link for link in sources[page].links if "#term-" in link]
        assert len(links) >= 3, f"{page} uses {len(links)} of the glossary's words; three at least"
    glossary = (SITE / "book/glossary.html").read_text(encoding="utf-8")
    entries = glossary.count("<dd>")
    assert entries == glossary.count('lang="vi"') == glossary.count('lang="zh"') > 30


def test_every_icon_of_a_page_is_in_its_style_sheet():
    for page in PAGES:
        text = (SITE / page).read_text(encoding="utf-8")
        classes = {name for found in re.findall(r'class="([^"]*)"', text) for name in found.split()}
        icons = {name for name in classes if name.startswith("fa-")} - {"fa-solid", "fa-lg"}
        for sheet in re.findall(r'<link rel="stylesheet" href="([^"]*)"', text)[:1]:
            rules = ((SITE / page).parent / sheet).read_text(encoding="utf-8")
            assert [icon for icon in icons if f".{icon}:before" not in rules] == [], page


def test_search_finds_the_jacobian(browser, address):
    tab = browser.new_page(viewport=DESKTOP)
    tab.goto(address + "book/intro.html")
    tab.locator(".search-button-field").click()
    tab.locator("dialog input[type=search]:visible, .search-button__wrapper input").first.fill(
        "Jacobian"
    )
    tab.keyboard.press("Enter")
    tab.wait_for_url("**/search.html?q=Jacobian")
    # Results come in one by one.
    tab.locator("#search-results a[href*='book/jacobian.html']").first.wait_for()
    tab.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_as_light_or_dark_as_the_reader_likes(scheme, browser, address):
    context = browser.new_context(color_scheme=scheme)
    tab = context.new_page()
    tab.goto(address + CHAPTERS[0])
    assert tab.evaluate("document.documentElement.dataset.theme") == scheme
    ground = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    lightness = sum(int(part) for part in ground.strip("rgba()").split(",")[:3]) / 765
    assert (lightness > 0.9) if scheme == "light" else (lightness < 0.2)
    context.close()
