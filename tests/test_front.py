"""The front page: what its cards say is what the chapters say."""

import re
import xml.etree.ElementTree as ET

import pytest
from front import parts, pictures_of, question_of, title_of, without_words
from ledger import prose

from tests.browser import ROOT, SITE, require_site

CHAPTERS = [chapter for _, chapters in parts(ROOT) for chapter in chapters]
SVG = "{http://www.w3.org/2000/svg}"

chapters = pytest.mark.parametrize(("number", "stem"), CHAPTERS, ids=[s for _, s in CHAPTERS])


@pytest.fixture(scope="module")
def front():
    require_site()
    return (SITE / "book/intro.html").read_text(encoding="utf-8")


def plain(html):
    """Drop formulas and tags; the site sets curly apostrophes."""
    html = re.sub(r'<span class="katex-mathml">.*?</span>', "", html, flags=re.DOTALL)
    text = re.sub(r"<[^>]+>", "", html)
    return re.sub(r"\s+", " ", text.replace("’", "'").replace("&#39;", "'"))


def card_of(stem, front):
    lists = re.findall(r'<ul class="chapter-cards">(.*?)</ul>', front, re.DOTALL)
    items = [item for one in lists for item in re.findall(r"<li>.*?</li>", one, re.DOTALL)]
    (card,) = [item for item in items if f'href="{stem}.html"' in item]
    return card


def test_parts_and_numbers_are_those_of_the_table_of_contents():
    toc = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    listed = [s for s in re.findall(r"book/(\w+)", toc) if (ROOT / f"book/{s}.ipynb").exists()]
    assert [stem for _, stem in CHAPTERS] == listed
    assert [number for number, _ in CHAPTERS] == list(range(1, len(listed) + 1))
    assert all(f"caption: {caption}\n" in toc for caption, _ in parts(ROOT))


@chapters
def test_every_chapter_has_a_card_as_the_menu_names_it(number, stem, front):
    title = f"{number}. {title_of(prose(ROOT / f'book/{stem}.ipynb'))}".replace("’", "'")
    links = re.findall(rf'<a [^>]*href="{stem}\.html"[^>]*>(.*?)</a>', front, re.DOTALL)
    named = [plain(link).strip() for link in links]
    assert named.count(title) >= 2, "once in the menu, once on the card"
    card = card_of(stem, front)
    assert title in plain(card)
    pictures = re.findall(r"<img[^>]*>", card)
    assert len(pictures) == len(pictures_of(ROOT / f"book/{stem}.ipynb")[:1])
    assert all(f"card-{stem}.svg" in p and 'alt=""' in p for p in pictures), "the words say all"


@chapters
def test_a_card_asks_what_its_chapter_asks(number, stem, front):
    text = prose(ROOT / f"book/{stem}.ipynb")
    question = question_of(text)
    assert 20 < len(question) < 250
    assert question in text.replace("\n", " ")
    card = card_of(stem, front)
    words = re.findall(r"\w{4,}", re.sub(r"\$.*?\$", "", question))
    assert [word for word in words if word not in plain(card)] == []


def test_the_question_is_the_first_one_with_the_sentence_before_it():
    assert question_of("# T\n\nOne. Two.\nThree? Four?\n\n```{note}\nFive?\n```\n") == "Two. Three?"
    assert question_of("# T\n\nWhy not? Two.\n\n```{note}\n```\n") == "Why not?"
    assert question_of("# T\n\nOne. Two.\n\nThree.\n\n```{note}\n```\n") == "Two."


@pytest.mark.parametrize("stem", [s for _, s in CHAPTERS if pictures_of(ROOT / f"book/{s}.ipynb")])
def test_a_picture_on_a_card_has_lost_its_words_and_nothing_else(stem):
    name, alt, svg = pictures_of(ROOT / f"book/{stem}.ipynb")[0]
    assert name.startswith("fig-")
    assert len(alt) > 20
    stamp = without_words(svg)
    left = [e.get("id", "") for e in ET.fromstring(stamp).iter()]
    assert not [i for i in left if i.startswith(("text_", "legend_", "matplotlib.axis"))]

    def drawn(picture):
        axes = [e for e in ET.fromstring(picture).iter() if e.get("id", "").startswith("axes_")]
        return [c.get("id", "") for e in axes for c in e if c.tag == f"{SVG}g"]

    words = ("text_", "legend_", "matplotlib.axis_")
    assert drawn(stamp) == [name for name in drawn(svg) if not name.startswith(words)]
    assert drawn(stamp)
    assert len(stamp) < 60_000, "a card is small"


def test_a_path_leads_through_pages_that_the_book_has(front):
    toc = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    intro = (ROOT / "book/intro.md").read_text(encoding="utf-8")
    asked = re.findall(r"\{reading-path\} (.*)", intro)
    shown = re.findall(r'<ol class="arabic simple">(.*?)</ol>', front, re.DOTALL)
    assert len(asked) == len(shown) == 3
    for stems, html in zip(asked, shown, strict=True):
        there = [stem for stem in stems.split() if f"book/{stem}\n" in toc + "\n"]
        assert re.findall(r'href="(\w+)\.html"', html) == there
        assert len(there) >= 4
