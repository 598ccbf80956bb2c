"""What helps a reader: the line below a title, citations, previews of references, paper."""

import re

import pytest
import yaml
from docutils import nodes
from docutils.utils import new_document
from front import parts, title_of
from ledger import prose
from pybtex.database import parse_string
from reading import bibtex, minutes

from tests.browser import DESKTOP, PHONE, ROOT, SITE, address, browser, program, require_site

__all__ = ["address", "browser", "program"]  # fixtures
CHAPTERS = [chapter for _, chapters in parts(ROOT) for chapter in chapters]
MOUSE = {"width": 1280, "height": 800}

chapters = pytest.mark.parametrize(("number", "stem"), CHAPTERS, ids=[s for _, s in CHAPTERS])


def page_of(stem):
    require_site()
    return (SITE / f"book/{stem}.html").read_text(encoding="utf-8")


# --- the line below the title


@chapters
def test_a_chapter_says_how_long_it_takes_and_leads_on(number, stem):
    line = re.search(r'</h1>\s*<p class="chapter-line">(.*?)</p>', page_of(stem), re.DOTALL)[1]
    minutes = int(re.search(r"About (\d+) minutes", line)[1])
    assert 10 <= minutes <= 90, "a chapter takes from 10 to 90 minutes to read"
    for page in ("notation.html", "glossary.html", "intro.html#how-to-run"):
        assert f'href="{page}"' in line
    assert 'href="#cite"' in line
    download = re.search(r'download="" href="([^"]+)"[^>]*>(.*?)</a>', line)
    assert re.sub("<.*?>", "", download[2]) == "Download this notebook"
    assert download[1].endswith(f"/{stem}.ipynb")
    stored = (ROOT / f"book/{stem}.ipynb").read_bytes()
    assert (SITE / "book" / download[1]).read_bytes() == stored, "run `make book`"


def test_minutes_count_prose_formulas_and_code_but_no_solutions():
    document = new_document("")
    assert minutes(document) == 5
    words = " ".join(["word"] * 1300)
    document += nodes.paragraph("", words)
    assert minutes(document) == 10
    document += nodes.container("", nodes.paragraph("", words), classes=["solution", "dropdown"])
    assert minutes(document) == 10
    code = nodes.literal_block("", "\n".join(["x = 1"] * 216))
    document += nodes.container("", code, classes=["cell_input"])
    assert minutes(document) == 20
    document += nodes.container("", nodes.literal_block("", words), classes=["cell_output"])
    assert minutes(document) == 20
    document += nodes.math_block("", " ".join(["x"] * 650))
    assert minutes(document) == 25


# --- citations


@chapters
def test_a_chapter_can_be_cited(number, stem):
    details = re.search(r'<details class="cite">(.*?)</details>', page_of(stem), re.DOTALL)[1]
    assert "<summary>Cite this chapter</summary>" in details
    text = re.sub("<[^>]+>", "", details.partition("</summary>")[2]).strip()
    entry = parse_string(text, "bibtex").entries[f"SoftmaxNotes:{stem}"]
    whole = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert entry.fields["chapter"] == str(number)
    assert entry.fields["booktitle"] == whole["title"]
    assert entry.fields["note"] == f"Version {whole['version']}"
    assert re.fullmatch(r"20\d\d", entry.fields["year"])
    title = title_of(prose(ROOT / f"book/{stem}.ipynb"))
    assert entry.fields["title"].replace("&#39;", "'").replace("’", "'") == title
    assert [str(who) for who in entry.persons["author"]] == [
        f"{{{who['name']}}}" for who in whole["authors"]
    ]


def test_a_citation_names_people_and_the_address(tmp_path):
    (tmp_path / "book").mkdir()
    (tmp_path / "book/one.ipynb").write_text("")
    (tmp_path / "_toc.yml").write_text(
        "root: a\nparts:\n- caption: P\n  chapters:\n  - file: book/one\n"
    )
    authors = [{"family-names": "Bridle", "given-names": "J. S."}, {"name": "The others"}]
    whole = {"title": "T", "version": "2.0", "authors": authors}
    (tmp_path / "CITATION.cff").write_text(yaml.safe_dump(whole))
    text = bibtex(tmp_path, "one", "One", "2030", "https://example.org/notes/")
    entry = parse_string(text, "bibtex").entries["SoftmaxNotes:one"]
    assert [str(who) for who in entry.persons["author"]] == ["Bridle, J. S.", "{The others}"]
    assert entry.fields["chapter"] == "1"
    assert entry.fields["url"] == "https://example.org/notes/book/one.html"
    assert "url" not in bibtex(tmp_path, "one", "One", "2030", "")


def test_the_link_to_the_citation_opens_it(browser, address):
    tab = browser.new_page(viewport=DESKTOP)
    tab.goto(address + "book/definition.html")
    assert tab.locator("#cite").is_hidden()
    tab.locator(".chapter-line a[href='#cite']").click()
    tab.locator("#cite").wait_for(state="visible")
    tab.close()


# --- previews


@pytest.fixture(scope="module")
def tab(browser, address):
    tab = browser.new_page(viewport=MOUSE)
    tab.complaints = []
    tab.on("console", lambda m: m.type in ("error", "warning") and tab.complaints.append(m.text))
    tab.on("pageerror", lambda error: tab.complaints.append(str(error)))
    tab.goto(address + "book/cross_entropy.html", wait_until="load")
    yield tab
    tab.close()


REFERENCES = {
    "a claim on the page": ("#prop-loss-is-lse", "The loss is logsumexp minus the score"),
    "a claim of another chapter": ("definition.html#thm-shift-invariance", "Shift invariance"),
    "an equation": ("#equation-eq-variance", ""),
    "a word": ("glossary.html#term-score", "for each class, of any sign"),
    "a chapter": ("jacobian.html", "The scores of our bird"),
}


@pytest.mark.parametrize(("target", "words"), REFERENCES.values(), ids=REFERENCES)
def test_a_reference_shows_what_it_refers_to(target, words, tab):
    link = tab.locator(f"article p:not(.chapter-line) a.reference.internal[href$='{target}']")
    if target.startswith("#equation"):
        link = tab.locator("article a.reference.internal[href^='#equation']")
    link.first.hover()
    box = tab.locator(".preview")
    box.wait_for(state="visible")
    assert words in box.inner_text()
    assert box.locator("[id], [href], [tabindex], .headerlink").count() == 0
    x, y, width, height = box.bounding_box().values()
    assert 0 <= x <= x + width <= MOUSE["width"]
    assert 0 <= y <= y + height <= MOUSE["height"]
    over = link.first.bounding_box()
    assert y >= over["y"] + over["height"] - 40 or y + height <= over["y"] + 40
    tab.mouse.move(2, 2)
    box.wait_for(state="hidden")
    assert tab.complaints == []


def test_a_preview_follows_the_focus_and_escape_closes_it(tab):
    tab.mouse.move(2, 2)
    link = tab.locator("article a.reference.internal[href$='#prop-loss-is-lse']").first
    box = tab.locator(".preview")
    link.evaluate("(e) => e.focus({ focusVisible: true })")
    box.wait_for(state="visible")
    tab.keyboard.press("Escape")
    assert box.is_hidden()
    link.blur()
    link.evaluate("(e) => e.focus({ focusVisible: true })")
    box.wait_for(state="visible")
    link.blur()
    assert box.is_hidden()


def test_a_preview_stays_while_the_pointer_is_on_it(tab):
    link = tab.locator("article a.reference.internal[href$='#prop-loss-is-lse']").first
    link.hover()
    box = tab.locator(".preview")
    box.wait_for(state="visible")
    box.hover()
    tab.wait_for_timeout(400)
    assert box.is_visible()
    tab.keyboard.press("Escape")


def test_a_finger_follows_a_reference_and_sees_no_preview(browser, address):
    context = browser.new_context(viewport={"width": 360, "height": 740}, has_touch=True)
    tab = context.new_page()
    tab.goto(address + "book/definition.html")
    link = tab.locator("article a.reference.internal[href='#thm-simplex']").first
    link.tap()
    tab.wait_for_url("**#thm-simplex")
    tab.wait_for_timeout(400)
    assert tab.locator(".preview").is_hidden()
    context.close()


# --- on a phone


def test_a_finger_on_the_title_of_a_solution_opens_it(browser, address):
    context = browser.new_context(viewport={"width": 360, "height": 740}, has_touch=True)
    tab = context.new_page()
    errors = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto(address + "book/cross_entropy.html")
    solution = tab.locator(".solution.dropdown").first
    box = solution.locator(".solution-content, section").first
    assert box.is_hidden()
    solution.locator(".admonition-title").tap()  # on its words, not on the arrow
    box.wait_for(state="visible")
    assert "#" not in tab.url
    assert errors == []
    solution.locator(".toggle-button").tap()
    box.wait_for(state="hidden")
    context.close()


def test_the_contents_of_a_page_make_way_when_a_section_is_chosen(browser, address):
    context = browser.new_context(viewport={"width": 360, "height": 740}, has_touch=True)
    tab = context.new_page()
    tab.goto(address + "book/cross_entropy.html")
    tab.locator(".secondary-toggle:visible").tap()
    tab.locator("dialog[open] a[href='#the-product-collapses']").tap()
    tab.locator("dialog[open]").wait_for(state="detached")
    tab.wait_for_url("**#the-product-collapses")
    tab.wait_for_function(
        "Math.abs(document.getElementById('the-product-collapses').getBoundingClientRect().top)"
        " < innerHeight / 3"
    )
    context.close()


# --- paper


def test_what_is_printed_is_light_and_the_text_alone(browser, address):
    context = browser.new_context(viewport=DESKTOP, color_scheme="dark")
    tab = context.new_page()
    tab.goto(address + "book/definition.html")
    theme = "document.documentElement.dataset.theme"
    assert tab.evaluate(theme) == "dark"
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert tab.evaluate(theme) == "light"
    tab.emulate_media(media="print")
    hidden = [".bd-sidebar-primary", ".bd-header-article", ".prev-next-footer", ".chapter-line"]
    hidden += [".live", ".headerlink", ".cell details"]
    for name in hidden:
        assert tab.locator(f"{name}:visible").count() == 0, name
    assert tab.locator("article figure:visible").count() >= 2
    assert tab.locator("article .proof:visible").count() >= 10
    tab.emulate_media(media="screen")
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    assert tab.evaluate(theme) == "dark"
    context.close()


# --- a long page, laid out where the reader is


@pytest.fixture(params=[PHONE, DESKTOP], ids=["phone", "desktop"])
def long_page(request, browser, address):
    """Open a chapter of two dozen screens."""
    context = browser.new_context(viewport=request.param)
    tab = context.new_page()
    tab.goto(address + "book/jacobian.html")
    tab.rest = lambda: tab.evaluate("new Promise((done) => setTimeout(done, 300))")
    yield tab
    context.close()


def top(tab, place):
    return tab.locator(place).bounding_box()["y"]


def test_a_section_is_laid_out_when_the_reader_comes_near(long_page):
    box = "#exercises .admonition"
    laid_out = "(e) => e.checkVisibility({ contentVisibilityAuto: true })"
    assert not long_page.locator(box).first.evaluate(laid_out)
    long_page.evaluate("document.getElementById('exercises').scrollIntoView()")
    long_page.rest()
    assert long_page.locator(box).first.evaluate(laid_out)


@pytest.mark.slow
def test_a_link_within_a_page_leads_to_its_place_and_it_stays(long_page):
    long_page.evaluate('document.querySelector(".bd-toc a[href=\\"#exercises\\"]").click()')
    for _ in range(2):
        assert -1 <= top(long_page, "#exercises > h2") < 150
        long_page.rest()
    for _ in range(10):
        before = top(long_page, "#exercises > h2")
        long_page.evaluate("scrollBy(0, -500)")
        long_page.rest()
        assert abs(top(long_page, "#exercises > h2") - before - 500) <= 1


def test_an_address_with_a_place_opens_there(long_page):
    address = long_page.url + "#exercises"
    long_page.goto("about:blank")
    long_page.goto(address)
    long_page.rest()
    assert -1 <= top(long_page, "#exercises > h2") < 150


def test_boxes_that_scroll_can_be_reached_with_keys_and_no_others(long_page):
    long_page.evaluate("document.querySelector('.chapter-line a[href$=cite]').click()")
    long_page.rest()
    wide, reached = long_page.evaluate(
        """() => {
            const kinds = "article :is(.katex-display, pre, .output)";
            const boxes = [...document.querySelectorAll(kinds)].filter((b) => b.checkVisibility());
            const names = (found) => boxes.filter(found).map((box) => box.textContent);
            const scrolls = (b) =>
                b.scrollWidth > b.clientWidth + 1 || b.scrollHeight > b.clientHeight + 1;
            return [names(scrolls), names((b) => b.tabIndex === 0)];
        }"""
    )
    assert reached == wide != []
