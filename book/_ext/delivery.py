"""What every page gets last, so that it comes fast, and from this site alone.

The theme draws its dozen icons with a script of half a megabyte (compressed); here a font
holds the few that are used, inside the style sheet. A page's style sheets come as one file,
without the rules that no page uses. Its scripts wait until it is drawn, its fonts for formulas
are fetched at once, and its pictures say how large they are before they come. A
Content-Security-Policy allows this site alone, and names the few inline scripts of the theme
by their hashes. Where the site's address is known (the environment variable SITE_URL), pages
get a canonical address and the site a map.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any

from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont
from sphinx.application import Sphinx
from sphinx.config import Config

ICON_SCRIPT = "scripts/fontawesome.js"
THEME_SCRIPT = "scripts/pydata-sphinx-theme.js"
ICON_FONT = "vendor/fontawesome/webfonts/fa-solid-900.ttf"
SCRIPT = re.compile(r"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL)
SHEET = re.compile(r'(<link\b(?=[^>]*rel="stylesheet")[^>]*href="([^":?]*)[^"]*"[^>]*>)')
SUMMARY = re.compile(r"<summary\b.*?</summary>", re.DOTALL)  # may hold words, no paragraphs
PICTURE = re.compile(r"<img [^>]*>")
BUNDLE = "site-"  # style sheets in one file, by the hash of their names
RULE = re.compile(r"([^{}]+)(\{[^{}]*\})")
EMPTY = re.compile(r"@(?:media|supports)[^{}]*\{\s*\}")
ARGUMENTS = re.compile(r"\([^()]*\)")
# The theme measures every box of code and output at the start; house.js does when one comes near.
TAB_STOPS = re.compile(
    r',"complete"===document\.readyState\?(\w+)\(\):window\.addEventListener\("load",\1\)'
)
ICON_FACE = re.compile(r"(@font-face\{[^}]*font-weight:900;src:)[^}]*\}")
FORMULA_FONTS = ("KaTeX_Main-Regular", "KaTeX_Math-Italic")
STYLE = re.compile(r"<style[^>]*>(.*?)</style>", re.DOTALL)
SEARCH_SCRIPTS = r"searchtools\.js|language_data\.js|searchindex\.js"
VIEWPORT = "width=device-width, initial-scale=1"
UNFOLD = '<summary aria-label="Pages of this section"><span class="toctree-toggle"'
# What KaTeX writes and no standard allows: an operator within a script or around its pieces, and
# a height below zero.
INVALID = [
    (r"<mo>\u2061</mo>(?=</m(?:sub|sup|subsup|under|over|underover)>)", ""),
    (r"<mo>(<mo\b[^>]*>[^<]*</mo>)</mo>", r"\1"),
    (r"<mo>(<(mover|munder|munderover)>.*?</\2>)</mo>", r"\1"),
    (r'(<span class="vlist") style="height:-[^"]*"', r"\1"),
]
PIECES = ('</span><span class="base">', '</span><wbr /><span class="base">')
POLICY = '<meta http-equiv="Content-Security-Policy" content="'


def address_of_the_site(app: Sphinx, config: Config) -> None:
    """Take the site's address from the environment: the same book can stand anywhere."""
    config.html_baseurl = os.environ.get("SITE_URL", config.html_baseurl)
    if config.html_baseurl and not config.html_baseurl.endswith("/"):
        config.html_baseurl += "/"
    config.ogp_site_url = config.html_baseurl


def hashes(pattern: re.Pattern[str], page: str) -> str:
    """Name inline scripts or styles by their SHA-256, as the policy wants them."""
    digests = {hashlib.sha256(text.encode()).digest() for text in pattern.findall(page)}
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in sorted(digests))


def policy(page: str, more_scripts: str = "") -> str:
    """Allow this site, the page's own inline scripts by hash, and nothing else.

    Attributes `style` stay allowed: KaTeX places the parts of a formula with them.
    """
    return (
        "default-src 'self'; img-src 'self' data:; font-src 'self' data:; object-src 'none'; "
        "base-uri 'none'; form-action 'self'; "
        f"script-src 'self' {more_scripts} {hashes(SCRIPT, page)}; "
        f"style-src-elem 'self' {hashes(STYLE, page)}; style-src-attr 'unsafe-inline'"
    ).replace("  ", " ")


def delivered(page: str, folder: Path, more_scripts: str = "") -> str:
    """Rewrite one page, which lies in folder."""
    page = re.sub(rf"\s*<(?:script|link)[^>]*{ICON_SCRIPT}[^>]*>(?:</script>)?", "", page)
    page = re.sub(r'\s*<link rel="preload" as="script"[^>]*>', "", page)  # what is seen comes first
    if 'id="search-results"' not in page:  # the other pages lead there with what is looked for
        page = re.sub(rf'\s*<script src="[^"]*({SEARCH_SCRIPTS})[^"]*"></script>', "", page)
    page = re.sub(
        r'<(i|span) (?=class="[^"]*\bfa-)(?![^>]*aria-hidden)', r'<\1 aria-hidden="true" ', page
    )
    page = SUMMARY.sub(lambda found: re.sub(r"<(/?)p\b", r"<\1span", found[0]), page)
    page = page.replace('<summary><span class="toctree-toggle"', UNFOLD)
    for written, allowed in INVALID:
        page = re.sub(written, allowed, page)
    page = page.replace(*PIECES)  # where a formula may break, even if nothing else may
    page = re.sub(r'(<button\b[^>]*?) onclick="[^"]*"', r"\1", page)  # house.js adds them
    first, *more = re.split(
        r'\s*<meta name="viewport"[^>]*>', page
    )  # each extension writes its own
    page = f'{first}\n    <meta name="viewport" content="{VIEWPORT}" />{"".join(more)}'
    page = one_style_sheet(scripts_that_wait(page), folder)
    page = PICTURE.sub(lambda tag: sized(tag[0], folder), page)
    meta = f'{POLICY}{policy(page, more_scripts)}" />'
    return re.sub(r"(<head[^>]*>)", lambda head: f"{head[1]}\n    {meta}", page, count=1)


def scripts_that_wait(page: str) -> str:
    """Let scripts run in their order, but after the page is drawn."""
    page = re.sub(
        r'<script (?![^>]*\b(?:defer|type="module"))([^>]*\bsrc=)', r"<script defer \1", page
    )
    return re.sub(r"<script>(?=DOCUMENTATION_OPTIONS\b)", '<script type="module">', page)


def sized(tag: str, folder: Path) -> str:
    """Give a picture the width and height that its file names: its place is then kept."""
    path = folder / re.search(r'src="([^"?#]*)"', tag)[1]
    if "width=" in tag or path.suffix != ".svg" or not path.exists():
        return tag
    box = re.search(
        r'viewBox="[-\d.]+ [-\d.]+ ([\d.]+) ([\d.]+)"', path.read_text(encoding="utf-8")
    )
    width, height = (round(float(side) * 96 / 72) for side in box.groups())  # points to pixels
    return tag.replace("<img ", f'<img width="{width}" height="{height}" ', 1)


def one_style_sheet(page: str, folder: Path) -> str:
    """Put one link in the place of all links to style sheets of this site."""
    links = SHEET.findall(page)
    if not links:  # the page that only leads to the first
        return page
    paths = [(folder / href).resolve() for _, href in links]
    static = next(path for path in paths if path.parent.name == "_static").parent
    names = [path.relative_to(static).as_posix() for path in paths]
    digest = hashlib.sha256(" ".join(names).encode()).hexdigest()[:8]
    bundle = static / f"{BUNDLE}{digest}.css"
    if not bundle.exists():
        bundle.write_text(f"/* {' '.join(names)} */", encoding="utf-8")
    for tag, _ in links[1:]:
        page = page.replace(tag, "", 1)
    to_static = os.path.relpath(static, folder).replace(os.sep, "/")
    lines = [f'<link rel="stylesheet" href="{to_static}/{bundle.name}" />']
    if 'class="katex' in page:
        lines += [
            f'<link rel="preload" href="{to_static}/katex/fonts/{name}.woff2" as="font" '
            'type="font/woff2" crossorigin />'
            for name in FORMULA_FONTS
        ]
    return page.replace(links[0][0], "\n    ".join(lines), 1)


def fill_bundles(static: Path, names: set[str]) -> None:
    """Write each bundle again from the sheets that its first line names."""
    texts = {}
    for bundle in static.glob(f"{BUNDLE}*.css"):
        first = bundle.read_text(encoding="utf-8").partition("\n")[0]
        sheets = [sheet(static / name, static) for name in first.strip("/* ").split()]
        texts[bundle] = f"{first}\n{used(''.join(sheets), names)}"
    font = f"url({icon_font(static / ICON_FONT, ''.join(texts.values()))})"
    for bundle, text in texts.items():
        bundle.write_text(ICON_FACE.sub(rf'\1{font} format("woff")}}', text), encoding="utf-8")


def names_in(pages: list[str], static: Path) -> set[str]:
    """List the classes of the pages, and every word of the scripts that may add some."""
    found = {name for page in pages for name in re.findall(r'class="([^"]*)"', page)}
    scripts = (path for path in static.rglob("*.js") if path.name != Path(ICON_SCRIPT).name)
    words = [re.findall(r"[\w-]+", path.read_text(encoding="utf-8")) for path in scripts]
    return {name for names in found for name in names.split()}.union(*words)


def used(text: str, names: set[str]) -> str:
    """Drop the rules for classes that no page has: nine in ten of the theme's.

    A name that ends with a hyphen stands for all that a script makes of it.
    """
    beginnings = tuple(name for name in names if re.fullmatch(r"[a-z][\w-]*-", name))

    def rule(found: re.Match[str]) -> str:
        prelude, body = found.groups()
        if "@" in prelude or ";" in prelude:
            return found[0]
        kept = [one for one in re.split(r",(?![^(]*\))", prelude) if matches(one)]
        return ",".join(kept) + body if kept else ""

    def matches(selector: str) -> bool:
        while "(" in selector:  # of :not(), :is(), :has() the arguments may be there or not
            selector = ARGUMENTS.sub("", selector)
        classes = re.findall(r"\.([A-Za-z_-][\w-]*)", selector)
        return all(name in names or name.startswith(beginnings) for name in classes)

    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    return EMPTY.sub("", RULE.sub(rule, text))


def sheet(path: Path, static: Path) -> str:
    """Read a style sheet with what it imports, as it must read from the folder static."""
    text = path.read_text(encoding="utf-8").removeprefix('@charset "UTF-8";')
    place = path.parent.relative_to(static).as_posix()
    text = re.sub(r"url\((['\"]?)(?!['\"]|data:|#|/|https?:)", rf"url(\1{place}/", text)
    imported = re.compile(r"""@import\s*["']([^"']+)["'];""")
    text = imported.sub(lambda found: sheet((path.parent / found[1]).resolve(), static), text)
    text = re.sub(r"\bsummary\s*>\s*p\b", "summary>span", text)  # as in the pages: see SUMMARY
    return f"/* {path.name} */\n{text}"


def icon_font(path: Path, text: str) -> str:
    """Cut the theme's font of icons down to those that a style sheet names, as a data URL."""
    codes = {int(code, 16) for code in re.findall(r"\\([ef][0-9a-f]{3})\b", text)}
    codes |= {ord(letter) for letter in re.findall("[\ue000-\uf8ff]", text)}
    font = TTFont(path, recalcTimestamp=False)
    cut = Subsetter(Options(layout_features=[], notdef_outline=False))
    cut.populate(unicodes=codes)
    cut.subset(font)
    font.flavor = "woff"
    font.save(file := BytesIO())
    return f"data:font/woff;base64,{base64.b64encode(file.getvalue()).decode()}"


def deliver(app: Sphinx, exception: Exception | None) -> None:
    """Rewrite the pages that this build wrote, and write what belongs to the whole site."""
    if exception or app.builder.format != "html":
        return
    site = Path(app.outdir)
    paths = [path for path in site.rglob("*.html") if "_static" not in path.parts]
    pages = [path.read_text(encoding="utf-8") for path in paths]
    for path, page in zip(paths, pages, strict=True):
        if POLICY not in page:
            docname = path.relative_to(site).with_suffix("").as_posix()
            more = app.env.metadata.get(docname, {}).get("script-src", "")
            path.write_text(delivered(page, path.parent, more), encoding="utf-8")
    theme = site / "_static" / THEME_SCRIPT
    theme.write_text(TAB_STOPS.sub("", theme.read_text(encoding="utf-8")), encoding="utf-8")
    fill_bundles(site / "_static", names_in(pages, site / "_static"))
    if base := app.config.html_baseurl:
        names = sorted(f"{name}.html" for name in app.env.found_docs)
        urls = "".join(f"  <url><loc>{escape(base + name)}</loc></url>\n" for name in names)
        (site / "sitemap.xml").write_text(
            '<?xml version="1.0" encoding="utf-8"?>\n'
            f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{urls}</urlset>\n',
            encoding="utf-8",
        )


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("config-inited", address_of_the_site)
    app.connect("build-finished", deliver, priority=900)  # after the theme wrote its style sheets
    return {"version": "1", "parallel_read_safe": True}
