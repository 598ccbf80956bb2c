"""The steps that make an offline copy, on a book of two pages; tests/offline.py has the copies."""

import zipfile
from datetime import UTC, datetime

import epub
import pages
import pdf
import pytest
from copies import links

TOC = """
format: jb-book
root: book/intro
parts:
  - caption: Part I · Birds
    chapters:
      - file: book/duck
"""
INTRO = """<html><body><article class="bd-article"><section id="notes"><h1>Softmax notes\
<a class="headerlink" href="#notes">#</a></h1>
<p>See <a href="duck.html#ex-duck">an exercise</a>, <a href="duck.html">a page</a>,
<a href="../search.html">a search</a>, <a href="duck.html#gone">nothing</a>,
<a href="https://example.org/duck.html">elsewhere</a>.</p>
<div class="live">plays</div><noscript><img src="../_images/a%20b.svg" alt="bars"></noscript>
</section></article></body></html>"""
MATH = """<span class="katex"><span class="katex-mathml"><math xmlns="m"><semantics><mrow>\
<mi mathvariant="double-struck">R</mi><mn mathvariant="bold">1</mn>\
<mi mathvariant="normal">softmax</mi><msub><mi>max</mi><mo>\u2061</mo></msub>\
<mi>log</mi><mo>\u2061</mo><mi>n</mi><mo><mo>\u2264</mo></mo></mrow>\
<annotation encoding="application/x-tex">\\R</annotation></semantics></math></span>\
<span class="katex-html" aria-hidden="true">drawn</span></span>"""
DUCK = f"""<html><body><article class="bd-article"><section id="duck"><h1>1. Duck {MATH}</h1>
<details class="admonition hide above-input"><summary>Show code</summary><pre>x = 1</pre></details>
<details class="sd-dropdown"><summary>Aside</summary><p>folded</p></details>
<section id="exercises"><h2>Exercises</h2>
<div class="exercise admonition" id="ex-duck"><p class="admonition-title">Exercise 1.1</p></div>
<div class="solution dropdown admonition" id="book/duck-solution-3"><p class="admonition-title">\
Solution to<a href="#ex-duck"> Exercise 1.1</a></p><p>42 <span lang="vi">vịt</span></p></div>
</section></section></article></body></html>"""


@pytest.fixture
def root(tmp_path):
    site = tmp_path / "_build" / "html"
    (site / "book").mkdir(parents=True)
    (site / "_images").mkdir()
    (tmp_path / "_toc.yml").write_text(TOC, encoding="utf-8")
    (site / "book" / "intro.html").write_text(INTRO, encoding="utf-8")
    (site / "book" / "duck.html").write_text(DUCK, encoding="utf-8")
    (site / "_images" / "a b.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    return tmp_path


@pytest.fixture
def book(root):
    return pages.read_book(root)


def chapters(book):
    return {chapter.stem: chapter for part in book for chapter in part.chapters}


def test_parts_and_chapters_are_those_of_the_table_of_contents(book):
    assert [part.title for part in book] == ["", "Part I · Birds"]
    assert {stem: c.title for stem, c in chapters(book).items()} == {
        "intro": "Introduction",
        "duck": "1. Duck R1softmaxmaxlogn≤",
    }


def test_links_within_the_book_lead_to_ids_and_others_stay_or_lose_their_target(book):
    found = {a.get_text(): a["href"] for a in chapters(book)["intro"].body.select("a")}
    assert found == {
        "an exercise": "#duck--ex-duck",
        "a page": "#duck",
        "elsewhere": "https://example.org/duck.html",
    }
    assert "a search, nothing" in pages.text_of(chapters(book)["intro"].body)


def test_what_plays_goes_and_the_picture_in_its_place_stays(book, root):
    body = chapters(book)["intro"].body
    assert body.select(".live, .headerlink, noscript") == []
    assert body.img["src"] == str(root / "_build" / "html" / "_images" / "a b.svg")


def test_what_is_folded_is_opened_and_only_an_aside_keeps_its_title(book):
    body = chapters(book)["duck"].body
    assert body.select("details, summary") == []
    assert "Show code" not in body.get_text()
    assert body.pre.get_text() == "x = 1"
    assert body.select_one("div.admonition > div.admonition-title").get_text() == "Aside"


def test_a_solution_moves_to_the_end_and_is_linked_both_ways(book):
    duck = chapters(book)["duck"]
    (solution,) = duck.solutions
    assert "42" not in duck.body.get_text()
    assert duck.body.select_one("#duck--ex-duck .to-solution a")["href"] == f"#{solution['id']}"
    assert solution.a["href"] == "#duck--ex-duck"


def test_an_article_that_is_missing_is_named(root):
    (root / "_build" / "html" / "book" / "duck.html").write_text("<html></html>")
    with pytest.raises(ValueError, match=r"book/duck\.html has no article"):
        pages.read_book(root)


def test_formulas_become_mathml_that_reading_systems_know():
    formula = epub.mathml(pages.fragment(MATH).find("math"))
    assert formula["alttext"] == r"\R"
    assert formula.select("semantics, annotation, mo mo") == []
    assert [e.get_text() for e in formula.select("mi, mn")] == (
        ["ℝ", "𝟏", "softmax", "max", "log", "n"]
    )
    assert {e["mathvariant"] for e in formula.select("[mathvariant]")} == {"normal"}
    assert formula.msub.get_text() == "max", "no operator where a script belongs"
    assert [e.get("rspace") for e in formula.find_all("mo")] == ["0.1667em", None]


@pytest.mark.parametrize(
    ("letter", "variant", "expected"),
    [
        ("R", "double-struck", "ℝ"),
        ("E", "double-struck", "𝔼"),
        ("x", "bold", "𝐱"),
        ("+", "bold", "+"),
    ],
)
def test_a_styled_letter_is_the_one_of_unicode_if_there_is_one(letter, variant, expected):
    assert epub.styled(letter, variant) == expected


def test_a_long_formula_in_a_line_may_break_after_its_relations():
    short, term = "<mi>x</mi><mo>=</mo><mn>1</mn>", "<mrow><mi>a</mi><mo>=</mo></mrow>" * 12
    math = '<math alttext="t" xmlns="m"><mrow>{}</mrow></math>'
    whole = pages.fragment(math.format(short))
    assert epub.broken(whole) == [whole]
    long = pages.fragment(math.format(f"{term}<mo>=</mo>{term}<mo>\u2264</mo><mn>1</mn><mo>=</mo>"))
    pieces = epub.broken(long)
    assert "".join(p.mrow.decode_contents() for p in pieces) == long.mrow.decode_contents()
    assert [p.get_text()[-1] for p in pieces] == ["=", "\u2264", "="]
    assert [p["alttext"] for p in pieces] == [p.get_text() for p in pieces]
    assert {p["xmlns"] for p in pieces} == {"m"}


def test_the_columns_of_a_matrix_keep_their_sides():
    table = '<math><semantics><mtable columnalign="right left" columnspacing="0em">{}</mtable>\
<annotation>x</annotation></semantics></math>'.format("<mtr><mtd></mtd><mtd></mtd></mtr>" * 2)
    formula = epub.mathml(pages.fragment(table))
    assert formula.mtable["class"] == "aligned"
    assert [cell["class"] for cell in formula.select("mtd")] == ["right", "left"] * 2


def test_the_same_pages_give_the_same_epub_at_the_time_that_is_asked_for(
    root, tmp_path, monkeypatch
):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    first, second = tmp_path / "a.epub", tmp_path / "b.epub"
    epub.make(root, first)
    epub.make(root, second)
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as archive:
        package = archive.read("EPUB/package.opf").decode()
        words = archive.read("EPUB/solutions-duck.xhtml").decode()
    when = datetime.fromtimestamp(1700000000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert f'<meta property="dcterms:modified">{when}</meta>' in package
    assert '<span lang="vi" xml:lang="vi">vịt</span>' in words
    assert 'href="duck.xhtml#duck--ex-duck"' in words


def test_the_page_to_print_has_parts_chapters_and_solutions_in_order(book, tmp_path):
    html = pages.BeautifulSoup(pdf.document(book, tmp_path), "html.parser")
    headings = [h.get_text() for h in html.select("h1, h2")]
    assert headings[:3] == ["Contents", "Introduction", "Part I · Birds"]
    assert headings[-2:] == ["Solutions", f"Solutions: {chapters(book)['duck'].title}"]
    ids = {e["id"] for e in html.select("[id]")}
    assert {a["href"].removeprefix("#") for a in html.select(".contents a")} <= ids
    assert html.select(".katex-mathml") == []


def test_the_site_links_the_copies_that_there_are(tmp_path):
    assert links(tmp_path, "../", sizes=True) == ""
    folder = tmp_path / "_build" / "offline"
    folder.mkdir(parents=True)
    (folder / "softmax-notes.epub").write_bytes(bytes(1_250_000))
    html = '<p>To read offline: <a href="../offline/softmax-notes.epub">EPUB{}</a>.</p>'
    assert links(tmp_path, "../", sizes=True) == html.format(" (1.2 MB)")
    assert links(tmp_path, "../", sizes=False) == html.format("")
