"""The book as EPUB 3: a page for each chapter, formulas as MathML, pictures as SVG.

MathML rather than KaTeX's own layout: it follows the letters that the reader sets, can be read
aloud, and needs neither fonts nor positions, which reading systems like to overrule.
"""

from __future__ import annotations

import io
import os
import unicodedata
import uuid
import zipfile
from datetime import UTC, datetime
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
from bs4 import Tag
from pages import APPLIED, AUTHORS, SUBJECT, TITLE, Part, fragment, read_book, slug, text_of

HERE = Path(__file__).parent
XHTML = """<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE html>
<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops" \
lang="en" xml:lang="en">
<head><title>{title}</title><link rel="stylesheet" href="epub.css"/></head>
<body>{body}</body>
</html>
"""
CONTAINER = """<?xml version="1.0" encoding="utf-8"?>
<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container">
<rootfiles><rootfile full-path="EPUB/package.opf" \
media-type="application/oebps-package+xml"/></rootfiles>
</container>
"""
PACKAGE = """<?xml version="1.0" encoding="utf-8"?>
<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="id" xml:lang="en">
<metadata xmlns:dc="http://purl.org/dc/elements/1.1/">
<dc:identifier id="id">urn:uuid:{identifier}</dc:identifier>
<dc:title>{title}</dc:title>
<dc:creator>{authors}</dc:creator>
<dc:language>en</dc:language>
<dc:description>{subject}</dc:description>
<dc:rights>Text and pictures: Creative Commons Attribution 4.0. Code: MIT license.</dc:rights>
<meta property="dcterms:modified">{modified}</meta>
<meta property="schema:accessMode">textual</meta>
<meta property="schema:accessMode">visual</meta>
<meta property="schema:accessModeSufficient">textual</meta>
<meta property="schema:accessibilityFeature">MathML</meta>
<meta property="schema:accessibilityFeature">alternativeText</meta>
<meta property="schema:accessibilityFeature">structuralNavigation</meta>
<meta property="schema:accessibilityFeature">tableOfContents</meta>
<meta property="schema:accessibilityHazard">none</meta>
<meta name="cover" content="cover-png"/>
</metadata>
<manifest>
{manifest}
</manifest>
<spine>
{spine}
</spine>
</package>
"""
TYPES = {".xhtml": "application/xhtml+xml", ".svg": "image/svg+xml", ".png": "image/png"}
TYPES |= {".css": "text/css", ".jpg": "image/jpeg"}
SCRIPTS = {"msub", "msup", "msubsup", "munder", "mover", "munderover"}
RELATIONS = set("=≠<>≤≥≪≫≈∼≡∝∈→⟶↦⇒⟹⟺")
UNBROKEN = 20  # letters of a formula that stay in one line
KEYWORDS = {"k", "kc", "kd", "kn", "kr", "ow"}
COMMENTS = {"c1", "cm", "sd"}


class Leaf(NamedTuple):
    """A file of the EPUB that is read: its name, its title and what it holds."""

    name: str
    title: str
    body: Tag


def make(root: Path, target: Path) -> None:
    """Write the EPUB; the same pages give the same bytes."""
    parts = read_book(root)
    groups = leaves(parts)
    flat = [leaf for group in groups for leaf in group]
    pictures = {image["src"] for leaf in flat for image in leaf.body.select("img[src]")}
    files = {f"images/{Path(p).name}": Path(p).read_bytes() for p in sorted(pictures)}
    for leaf in flat:
        simplify(leaf.body)
    link(flat)
    files |= {leaf.name: page(leaf.title, str(leaf.body)) for leaf in flat}
    files["nav.xhtml"] = page("Contents", navigation(groups))
    files["cover.xhtml"] = page(TITLE, f'<img class="cover" src="cover.png" alt="{TITLE}"/>')
    files["cover.png"] = cover()
    files["epub.css"] = (HERE / "epub.css").read_bytes()
    order = ["cover.xhtml", "nav.xhtml", *(leaf.name for leaf in flat)]
    files["package.opf"] = package(files, order)
    target.parent.mkdir(parents=True, exist_ok=True)
    write(files, target)


def leaves(parts: list[Part]) -> list[list[Leaf]]:
    """Sort the book into files; the first of each group is the page of a part."""
    groups = []
    for part in parts:
        group = [heading(part.title)] if part.title else []
        group += [Leaf(f"{c.stem}.xhtml", c.title, c.body) for c in part.chapters]
        groups.append(group)
    solved = [chapter for part in parts for chapter in part.chapters if chapter.solutions]
    solutions = [heading("Solutions")]
    for chapter in solved:
        name = f"solutions-{chapter.stem}"
        body = fragment(f'<section id="{name}"><h1></h1></section>')
        body.h1.string = f"Solutions: {chapter.title}"
        body.extend(chapter.solutions)
        solutions.append(Leaf(f"{name}.xhtml", chapter.title, body))
    return [*groups, solutions]


def heading(title: str) -> Leaf:
    """Give a part a page of its own."""
    name = slug(title)
    return Leaf(f"{name}.xhtml", title, fragment(f'<h1 class="part" id="{name}">{title}</h1>'))


def simplify(body: Tag) -> None:
    """Keep what reading systems show well: MathML, and code without colors."""
    for formula in body.select(".katex"):
        math = mathml(formula.find("math"))
        alone = formula.find_parent(class_="katex-display")
        formula.replace_with(*([math] if alone else broken(math)))
    for box in body.select("span.katex-display"):
        box.unwrap()
    for token in body.select(".highlight span"):
        kinds = set(token.get("class", []))
        if kinds & (KEYWORDS | COMMENTS):
            token.name, token.attrs = ("b" if kinds & KEYWORDS else "i"), {}
        else:
            token.unwrap()
    for image in body.select("img[src]"):
        image["src"] = f"images/{Path(image['src']).name}"
    for entry in body.select("[role]"):
        del entry["role"]
    for words in body.select("[lang]"):
        words["xml:lang"] = words["lang"]
    body.smooth()


def mathml(math: Tag) -> Tag:
    """Write a formula as reading systems know it: the letters of today, aligned by class."""
    source = math.find("annotation")
    math["alttext"] = source.get_text()
    source.decompose()
    math.semantics.unwrap()
    for operator in math.select("mo"):
        if operator.find(True):  # KaTeX writes \overset as an operator around its pieces
            operator.unwrap()
        elif operator.get_text() == APPLIED:
            following = operator.find_next_sibling()
            if operator.parent.name in SCRIPTS:
                operator.decompose()
            elif following is not None and following.name != "mo":
                operator["rspace"] = "0.1667em"  # log n, but log(n)
    for symbol in math.select("[mathvariant]"):
        variant = symbol["mathvariant"]
        if symbol.name == "mi" and variant == "normal":
            continue
        del symbol["mathvariant"]
        if variant != "normal":
            symbol.string = "".join(styled(letter, variant) for letter in symbol.get_text())
    for table in math.select("mtable"):
        sides = table.get("columnalign", "center").split()
        if table.get("columnspacing", "").startswith("0em"):
            table["class"] = "aligned"
        for row in table.find_all("mtr", recursive=False):
            for column, cell in enumerate(row.find_all("mtd", recursive=False)):
                cell["class"] = sides[min(column, len(sides) - 1)]
    return math


def broken(math: Tag) -> list[Tag]:
    """Let a long formula in a line of text break after its relations; MathML itself never does."""
    row = math.find("mrow", recursive=False)
    symbols = row.find_all(True, recursive=False) if row else []
    ends = [i for i, s in enumerate(symbols, 1) if s.name == "mo" and s.get_text() in RELATIONS]
    if len(math.get_text()) <= UNBROKEN or not ends:
        return [math]
    pieces = []
    for start, end in pairwise([0, *(e for e in ends if e < len(symbols)), len(symbols)]):
        piece = fragment(f"<math><mrow>{''.join(map(str, symbols[start:end]))}</mrow></math>")
        piece.attrs = math.attrs | {"alttext": " ".join(piece.get_text().split())}
        pieces.append(piece)
    return pieces


def styled(letter: str, variant: str) -> str:
    """Find the letter that Unicode has for a bold or a double-struck one."""
    name = unicodedata.name(letter).replace("LATIN ", "").replace(" LETTER", "")
    for prefix in ("MATHEMATICAL ", ""):
        try:
            return unicodedata.lookup(f"{prefix}{variant.upper()} {name}")
        except KeyError:
            continue
    return letter


def link(flat: list[Leaf]) -> None:
    """Write into each link the file that its target is in."""
    homes = {}
    for leaf in flat:
        for target in (leaf.body, *leaf.body.select("[id]")):
            homes[target.get("id")] = leaf.name
    for leaf in flat:
        for anchor in leaf.body.select('a[href^="#"]'):
            name = anchor["href"].removeprefix("#")
            if homes[name] != leaf.name:
                anchor["href"] = f"{homes[name]}#{name}"


def page(title: str, body: str) -> bytes:
    """Write one file of XHTML."""
    return XHTML.format(title=escape(title), body=body).encode()


def navigation(groups: list[list[Leaf]]) -> str:
    """Write the table of contents: parts, chapters, sections."""
    items = []
    for first, *others in groups:
        if others:
            items.append(item(first, [item(leaf, sections(leaf)) for leaf in others]))
        else:
            items.append(item(first, sections(first)))
    return f'<nav epub:type="toc" id="toc"><h1>Contents</h1><ol>{"".join(items)}</ol></nav>'


def item(leaf: Leaf, below: list[str]) -> str:
    """Write one entry and those below it."""
    inner = f"<ol>{''.join(below)}</ol>" if below else ""
    return f'<li><a href="{leaf.name}">{escape(leaf.title)}</a>{inner}</li>'


def sections(leaf: Leaf) -> list[str]:
    """List the sections of a chapter."""
    found = leaf.body.select("section[id] > h2")
    return [
        f'<li><a href="{leaf.name}#{h2.parent["id"]}">{escape(text_of(h2))}</a></li>'
        for h2 in found
    ]


def package(files: dict[str, bytes], order: list[str]) -> bytes:
    """Write the list of all files and the order of reading."""
    extra = {"nav.xhtml": "nav", "cover.png": "cover-image"}
    manifest = []
    for name, content in files.items():
        properties = [extra[name]] if name in extra else []
        properties += ["mathml"] if b"<math " in content else []
        shown = f' properties="{" ".join(properties)}"' if properties else ""
        manifest.append(
            f'<item id="{label(name)}" href="{name}" media-type="{TYPES[Path(name).suffix]}"'
            f"{shown}/>"
        )
    spine = "\n".join(f'<itemref idref="{label(name)}"/>' for name in order)
    return PACKAGE.format(
        identifier=uuid.uuid5(uuid.NAMESPACE_URL, TITLE),
        title=TITLE,
        authors=AUTHORS,
        subject=SUBJECT,
        modified=moment().strftime("%Y-%m-%dT%H:%M:%SZ"),
        manifest="\n".join(manifest),
        spine=spine,
    ).encode()


def label(name: str) -> str:
    """Name a file in the manifest; a label begins with a letter."""
    return f"f-{slug(name)}" if name[0].isdigit() else slug(name)


def moment() -> datetime:
    """Say when the book was made: as SOURCE_DATE_EPOCH says, or else never in particular."""
    seconds = int(os.environ.get("SOURCE_DATE_EPOCH", 0))
    return datetime.fromtimestamp(max(seconds, 315532800), UTC)  # ZIP knows no time before 1980


def cover() -> bytes:
    """Draw softmax(2, 1, 0) as three bars. PNG, because libraries of books show no SVG."""
    figure = plt.figure(figsize=(6, 9), facecolor="#14507a")
    axes = figure.add_axes((0.2, 0.16, 0.6, 0.42))
    axes.bar(range(3), [0.6652, 0.2447, 0.0900], width=0.6, color="white")
    axes.axis("off")
    with plt.rc_context({"font.family": "STIXGeneral"}):
        figure.text(0.5, 0.78, TITLE, color="white", size=42, weight="bold", ha="center")
        figure.text(0.5, 0.07, AUTHORS, color="white", size=15, ha="center")
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=200, metadata={"Software": None})
    plt.close(figure)
    return drawn.getvalue()


def write(files: dict[str, bytes], target: Path) -> None:
    """Pack the files; the first says what the whole is, and is not compressed."""
    with zipfile.ZipFile(target, "w") as archive:
        pack(archive, "mimetype", b"application/epub+zip", zipfile.ZIP_STORED)
        pack(archive, "META-INF/container.xml", CONTAINER.encode())
        for name, content in files.items():
            pack(archive, f"EPUB/{name}", content)


def pack(
    archive: zipfile.ZipFile, name: str, content: bytes, method: int = zipfile.ZIP_DEFLATED
) -> None:
    """Add a file that bears no time of its own."""
    entry = zipfile.ZipInfo(name, moment().timetuple()[:6])
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, content, compress_type=method, compresslevel=9)
