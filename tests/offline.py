"""The offline copies and the page that derives: what `make test-offline` makes and tests.

Slower than the other tests. The file's name keeps it out of `make test`.
"""

import json
import os
import posixpath
import re
import time
import unicodedata
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

import epub
import pytest
from contents import order
from pypdf import PdfReader

from tests.browser import PHONE, ROOT, SITE, browser, program, require_site, served

__all__ = ["browser", "program"]  # fixtures
OFFLINE = ROOT / "_build" / "offline"
PARTS = order(ROOT)
STEMS = [Path(name).name for _, names in PARTS for name in names]
NOTEBOOKS = [stem for stem in STEMS if (ROOT / f"book/{stem}.ipynb").exists()]
XHTML, MATH = "{http://www.w3.org/1999/xhtml}", "{http://www.w3.org/1998/Math/MathML}"
OPF, OPS = "{http://www.idpf.org/2007/opf}", "{http://www.idpf.org/2007/ops}"
LANG = "{http://www.w3.org/XML/1998/namespace}lang"
# What a careful host of the site may say: this site alone, and WebAssembly.
POLICY = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'"


def made(path, command):
    if not path.exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"run `make {command}` first")
    return path


def plain(text):
    """Letters alone: spaces, accents and ligatures do not survive every way into a file."""
    return re.sub(r"[^a-z]", "", unicodedata.normalize("NFKC", text).lower())


def title_of(stem):
    cells = json.loads((ROOT / f"book/{stem}.ipynb").read_text(encoding="utf-8"))["cells"]
    return re.search(r"^# (.*)", "".join(cells[0]["source"]), re.M)[1]


# ---------- PDF


@pytest.fixture(scope="module")
def pdf():
    return PdfReader(made(OFFLINE / "softmax-notes.pdf", "pdf"))


@pytest.fixture(scope="module")
def bookmarks(pdf):
    """Tell each top bookmark's title, and those of the bookmarks right below it."""
    found = []
    for entry in pdf.outline:
        if isinstance(entry, list):
            found[-1][1].extend(below for below in entry if not isinstance(below, list))
        else:
            found.append((entry, []))
    return found


def test_the_pdf_says_what_it_is_and_not_when_it_was_made(pdf):
    assert len(pdf.pages) > 10 * len(STEMS)
    assert pdf.metadata.title == "Softmax notes"
    assert pdf.metadata.author == "The Softmax notes authors"
    assert {"/CreationDate", "/ModDate"} & pdf.metadata.keys() == set()
    assert pdf.root_object["/Lang"] == "en"
    assert pdf.root_object["/MarkInfo"]["/Marked"]


def test_bookmarks_are_parts_and_chapters_and_solutions(bookmarks):
    titles = [entry.title for entry, _ in bookmarks]
    captions = [caption for caption, _ in PARTS if caption]
    assert [t for t in titles if t in captions] == captions
    assert titles[-1] == "Solutions"
    below = {entry.title: [b.title for b in chapters] for entry, chapters in bookmarks}
    for caption, names in PARTS[1:]:
        chapters = [title_of(Path(n).name) for n in names if Path(n).name in NOTEBOOKS]
        for chapter, title in zip(chapters, below[caption], strict=False):
            assert plain(chapter) in plain(title)
        assert len(below[caption]) == len(names)
    assert len(below["Solutions"]) >= len(NOTEBOOKS)


def test_bookmarks_and_the_contents_lead_to_the_right_pages(pdf, bookmarks):
    listed = [(entry, entry.title) for entry, _ in bookmarks[1:]]
    for _, chapters in bookmarks:
        listed += [(b, b.title.removeprefix("Solutions: ")) for b in chapters]
    expected = set()
    for bookmark, title in listed:
        number = pdf.get_destination_page_number(bookmark)
        assert plain(bookmark.title) in plain(pdf.pages[number].extract_text())
        expected.add((plain(title), number + 1))
    first = pdf.get_destination_page_number(bookmarks[0][0])
    last = pdf.get_destination_page_number(bookmarks[0][1][0])
    lines = "\n".join(pdf.pages[i].extract_text() for i in range(first, last)).splitlines()
    printed = {(plain(m[1]), int(m[2])) for line in lines if (m := re.match(r"(.*) (\d+)$", line))}
    assert printed == expected


def test_every_page_is_a4_and_every_font_is_in_the_file(pdf):
    fonts = {}
    for page in pdf.pages:
        assert [round(float(side)) for side in page.mediabox[2:]] == [595, 842]
        resources = page["/Resources"].get_object()
        for font in (resources.get("/Font") or {}).get_object().values():
            fonts[font.get_object().get("/BaseFont", "/Type3")] = font.get_object()
    for name, font in fonts.items():
        if font["/Subtype"] == "/Type0":
            descriptor = font["/DescendantFonts"][0].get_object()["/FontDescriptor"].get_object()
            assert {"/FontFile2", "/FontFile3"} & descriptor.keys(), name
        else:
            assert font["/Subtype"] == "/Type3", f"{name} is not embedded"
    names = " ".join(fonts)
    assert all(part in names for part in ("KaTeX_Math", "STIXGeneral", "DejaVuSansMono"))


def test_words_and_formulas_can_be_searched(pdf, bookmarks):
    jacobian = next(b for _, bs in bookmarks for b in bs if "derivative of softmax" in b.title)
    first = pdf.get_destination_page_number(jacobian)
    text = "".join(pdf.pages[i].extract_text() for i in range(first, first + 4))
    assert "Nudge one score" in text
    assert "δ" in text, "from the formula of the theorem"
    glossary = next(b for _, bs in bookmarks for b in bs if b.title == "Glossary")
    start = pdf.get_destination_page_number(glossary)
    words = "".join(pdf.pages[i].extract_text() for i in range(start, start + 5))
    words = unicodedata.normalize("NFKC", words)
    assert "nhiệt độ" in words
    assert "温度" in words


def test_every_link_in_the_pdf_leads_somewhere(pdf):
    places, inside, outside = pdf.named_destinations, 0, 0
    for page in pdf.pages:
        for note in page.get("/Annots", []):
            link = note.get_object()
            if link["/Subtype"] != "/Link":
                continue
            if "/A" in link and link["/A"]["/S"] == "/URI":
                outside += 1
                assert str(link["/A"]["/URI"]).startswith(("https://", "http://"))
            else:
                inside += 1
                name = str(link["/Dest"] if "/Dest" in link else link["/A"]["/D"])
                assert name in places or name.removeprefix("/") in places, name
    assert inside > 500
    assert outside > 20


# ---------- EPUB


@pytest.fixture(scope="module")
def book():
    """Read every file of the EPUB."""
    with zipfile.ZipFile(made(OFFLINE / "softmax-notes.epub", "epub")) as archive:
        assert archive.testzip() is None
        return {entry: archive.read(entry) for entry in archive.infolist()}


@pytest.fixture(scope="module")
def files(book):
    return {e.filename.removeprefix("EPUB/"): content for e, content in book.items()}


@pytest.fixture(scope="module")
def leaves(files):
    return {n: ET.fromstring(content) for n, content in files.items() if n.endswith(".xhtml")}


@pytest.fixture(scope="module")
def package(files):
    return ET.fromstring(files["package.opf"])


def test_the_archive_begins_with_its_type(book, files):
    first = next(iter(book))
    assert (first.filename, first.compress_type) == ("mimetype", zipfile.ZIP_STORED)
    assert first.extra == b""
    assert files["mimetype"] == b"application/epub+zip"
    assert b'full-path="EPUB/package.opf"' in files["META-INF/container.xml"]
    assert {entry.date_time for entry in book} == {(1980, 1, 1, 0, 0, 0)} or os.environ.get(
        "SOURCE_DATE_EPOCH"
    )


def test_the_manifest_names_every_file_and_the_spine_every_page(files, package, leaves):
    items = {item.get("href"): item for item in package.iter(f"{OPF}item")}
    apart = {"mimetype", "META-INF/container.xml", "package.opf"}
    assert items.keys() == files.keys() - apart
    assert len({item.get("id") for item in items.values()}) == len(items)
    spine = [ref.get("idref") for ref in package.iter(f"{OPF}itemref")]
    assert sorted(spine) == sorted(items[name].get("id") for name in leaves)
    for name, leaf in leaves.items():
        has_math = next(leaf.iter(f"{MATH}math"), None) is not None
        assert ("mathml" in items[name].get("properties", "")) == has_math, name


def test_chapters_follow_each_other_as_in_the_book_and_solutions_come_last(package):
    hrefs = {item.get("id"): item.get("href") for item in package.iter(f"{OPF}item")}
    order = [
        hrefs[ref.get("idref")].removesuffix(".xhtml") for ref in package.iter(f"{OPF}itemref")
    ]
    assert order[:2] == ["cover", "nav"]
    assert [name for name in order if name in STEMS] == STEMS
    solved = [name for name in order if name.startswith("solutions-")]
    assert {f"solutions-{stem}" for stem in NOTEBOOKS} <= set(solved)
    assert order[-len(solved) :] == solved


def test_every_link_and_picture_of_the_epub_is_there(files, leaves):
    ids = {name: [e.get("id") for e in leaf.iter() if e.get("id")] for name, leaf in leaves.items()}
    for name, leaf in leaves.items():
        assert len(set(ids[name])) == len(ids[name]), name
        for element in leaf.iter():
            address = element.get("href") or element.get("src")
            if address is None or urlsplit(address).scheme in ("https", "http"):
                continue
            parts = urlsplit(address)
            target = posixpath.normpath(unquote(parts.path)) if parts.path else name
            assert target in files, f"{name}: {address}"
            assert not parts.fragment or parts.fragment in ids[target], f"{name}: {address}"


def test_the_navigation_lists_every_chapter_by_its_title(leaves):
    (nav,) = leaves["nav.xhtml"].iter(f"{XHTML}nav")
    assert nav.get(f"{OPS}type") == "toc"
    entries = {a.get("href"): "".join(a.itertext()) for a in nav.iter(f"{XHTML}a")}
    for stem in NOTEBOOKS:
        assert plain(title_of(stem)) in plain(entries[f"{stem}.xhtml"])
        assert f"solutions-{stem}.xhtml" in entries


def test_exercises_and_solutions_are_linked_both_ways(leaves):
    for stem in NOTEBOOKS:
        chapter, solutions = leaves[f"{stem}.xhtml"], leaves[f"solutions-{stem}.xhtml"]
        to = [a.get("href") for a in chapter.iter(f"{XHTML}a") if "--solution-" in a.get("href")]
        back = [a.get("href") for a in solutions.iter(f"{XHTML}a")]
        exercises = [
            e for e in chapter.iter(f"{XHTML}div") if "exercise" in (e.get("class") or "").split()
        ]
        assert len(to) == len(exercises) >= 3
        assert {f"{stem}.xhtml#{e.get('id')}" for e in exercises} <= set(back)


def test_formulas_are_mathml_and_pictures_have_words(leaves, files):
    formulas = 0
    for name, leaf in leaves.items():
        assert b"katex" not in files[name]
        assert b"<script" not in files[name]
        for element in leaf.iter():
            if element.tag == f"{XHTML}img":
                assert element.get("alt"), name
            if element.tag == f"{MATH}math":
                formulas += 1
                assert element.get("alttext")
            assert element.get("mathvariant", "normal") == "normal"
    assert formulas > 1000


def test_words_of_other_languages_say_so(leaves):
    spoken = [
        (e.get("lang"), e.get(LANG)) for e in leaves["glossary.xhtml"].iter() if e.get("lang")
    ]
    assert {("vi", "vi"), ("zh", "zh")} <= set(spoken)


def test_the_epub_is_that_of_the_site_byte_for_byte(tmp_path):
    """It can be made again, and nobody forgot to."""
    require_site()
    epub.make(ROOT, tmp_path / "again.epub")
    there = made(OFFLINE / "softmax-notes.epub", "epub").read_bytes()
    assert (tmp_path / "again.epub").read_bytes() == there


def test_the_site_has_the_copies_and_links_them():
    for kind in ("pdf", "epub"):
        copy = made(OFFLINE / f"softmax-notes.{kind}", kind)
        assert (SITE / "offline" / copy.name).read_bytes() == copy.read_bytes(), "run `make book`"
        for stem in STEMS:
            page = (SITE / f"book/{stem}.html").read_text(encoding="utf-8")
            assert f'href="../offline/{copy.name}"' in page


# ---------- the page that derives


@pytest.fixture(scope="module")
def derive(browser):
    """Open the page as a phone does, under a strict policy, and list what it asks for."""
    made(SITE / "pyodide" / "library.zip", "live book")

    with served({"Content-Security-Policy": POLICY}) as address:
        tab = browser.new_page(viewport=PHONE)
        asked = []
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(f"{address}book/derive.html", wait_until="networkidle")
        yield tab, asked
        tab.close()


def run(tab, n):
    tab.get_by_label("Number of scores").select_option(str(n))
    tab.locator(".derive button").click()
    tab.locator(".derive:not([data-busy])").wait_for(timeout=240_000)
    return tab.locator(".derive .status").inner_text()


def test_nothing_of_python_is_fetched_before_it_is_asked_for(derive):
    tab, asked = derive
    assert [url for url in asked if "/pyodide/" in url or "worker" in url] == []
    assert re.search(r"Fetch Python \(\d\d MB\)", tab.locator(".derive button").inner_text())


def test_a_file_that_does_not_come_is_told_kindly(derive):
    tab, _ = derive
    tab.context.route("**/library.zip", lambda route: route.abort())
    assert "could not be fetched" in run(tab, 3)
    assert "Fetch Python" in tab.locator(".derive button").inner_text(), "to try again"
    tab.context.unroute("**/library.zip")


@pytest.mark.parametrize("n", [3, 2, 6])
def test_the_browser_derives_the_jacobian(derive, n):
    tab, asked = derive
    assert run(tab, n).startswith(f"Derived for n = {n} in ")
    rows = tab.locator(".derive .matrix mtr").all()
    shown = [[cell.text_content() for cell in row.locator("> mtd").all()] for row in rows]
    shown = [[plain_math(entry) for entry in row] for row in shown]
    assert shown == [[by_hand(i, j, n) for j in range(1, n + 1)] for i in range(1, n + 1)]
    checks = tab.locator(".derive .result li").all_inner_texts()
    assert len(checks) == 4
    assert all(re.search(r": (all \d+ are 0|is 0)$", check) for check in checks)
    assert f"all {n * n} are 0" in checks[0]
    assert {urlsplit(url).hostname for url in asked} == {"127.0.0.1"}
    widths = "[document.documentElement.scrollWidth, document.body.scrollWidth]"
    assert max(tab.evaluate(widths)) <= PHONE["width"]


def plain_math(text):
    """Read a formula as a browser gives it: letters of mathematics, and a line for each."""
    letters = {"𝑤": "w", "𝑆": "S", "\u2062": ""}
    return "".join(letters.get(letter, letter) for letter in text if not letter.isspace())


def by_hand(i, j, n):
    """Entry (i, j) of S² J: w_i (S − w_i) on the diagonal, −w_i w_j elsewhere."""
    if i == j:
        return f"w{i}(S−w{i})" if n > 2 else "w1w2"
    return f"−w{min(i, j)}w{max(i, j)}"


def test_a_derivation_can_be_stopped(derive):
    tab, _ = derive
    tab.get_by_label("Number of scores").select_option("6")
    button = tab.locator(".derive button")
    tab.reload(wait_until="networkidle")
    button.click()
    assert button.inner_text() == "Stop"
    time.sleep(0.2)
    button.click()
    assert tab.locator(".derive .status").inner_text() == "Stopped."
    assert run(tab, 2).startswith("Derived")
