"""What every page gets last: its icons, its security policy, its addresses.

The theme draws its dozen icons with a script of half a megabyte (compressed); here a style
sheet holds the few that are used. A Content-Security-Policy in each page allows this site
alone, and names the few inline scripts of the theme by their hashes. Where the site's address
is known (the environment variable SITE_URL), pages get a canonical address and the site a map.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from html import escape
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.config import Config

ICONS = "icons.css"
ICON_SCRIPT = "scripts/fontawesome.js"
# As the theme's script would: as large as the letters, and in their color.
ICON_STYLE = """\
i[class*="fa-"] {
  display: inline-block;
  width: var(--icon-width, 1em);
  height: 1em;
  vertical-align: -0.125em;
  background: currentColor;
  -webkit-mask: var(--icon) center / contain no-repeat;
  mask: var(--icon) center / contain no-repeat;
}
i[class*="fa-"]::before {
  content: none;
}
i.fa-lg {
  font-size: 1.25em;
  vertical-align: -0.2em;
}
"""
AT_RUN_TIME = {"xmark"}  # what the theme's own scripts add to a page
SCRIPT = re.compile(r"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL)
STYLE = re.compile(r"<style[^>]*>(.*?)</style>", re.DOTALL)
SEARCH_SCRIPTS = r"searchtools\.js|language_data\.js|searchindex\.js"
VIEWPORT = "width=device-width, initial-scale=1"
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
        "default-src 'self'; img-src 'self' data:; font-src 'self'; object-src 'none'; "
        "base-uri 'none'; form-action 'self'; "
        f"script-src 'self' {more_scripts} {hashes(SCRIPT, page)}; "
        f"style-src-elem 'self' {hashes(STYLE, page)}; style-src-attr 'unsafe-inline'"
    ).replace("  ", " ")


def delivered(page: str, more_scripts: str = "") -> str:
    """Rewrite one page: no icon script, no handlers in attributes, the policy first."""
    page = re.sub(rf"\s*<(?:script|link)[^>]*{ICON_SCRIPT}[^>]*>(?:</script>)?", "", page)
    if 'id="search-results"' not in page:  # the other pages lead there with what is looked for
        page = re.sub(rf'\s*<script src="[^"]*({SEARCH_SCRIPTS})[^"]*"></script>', "", page)
    page = re.sub(r'(<button\b[^>]*?) onclick="[^"]*"', r"\1", page)  # house.js adds them
    first, *more = re.split(
        r'\s*<meta name="viewport"[^>]*>', page
    )  # each extension writes its own
    page = f'{first}\n    <meta name="viewport" content="{VIEWPORT}" />{"".join(more)}'
    meta = f'{POLICY}{policy(page, more_scripts)}" />'
    return re.sub(r"(<head[^>]*>)", lambda head: f"{head[1]}\n    {meta}", page, count=1)


def icon_sheet(script: str, names: set[str]) -> str:
    """Take the named icons out of the theme's script, as masks in a style sheet."""
    solid = script[script.index('"far"') :]  # the families in order: brands, regular, solid
    rules = [ICON_STYLE]
    for name in sorted(names):
        found = re.search(rf'[{{,]"?{name}"?:\[(\d+),(\d+),\[[^\]]*\],"\w+","([^"]+)"', solid)
        if found is None:
            raise ValueError(f"the theme has no solid icon {name!r}")
        width, height, path = found.groups()
        svg = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}'>"
        data = base64.b64encode(f"{svg}<path d='{path}'/></svg>".encode()).decode()
        rules.append(
            f'.fa-{name} {{ --icon: url("data:image/svg+xml;base64,{data}"); '
            f"--icon-width: {int(width) / int(height):.4g}em; }}\n"
        )
    return "".join(rules)


def deliver(app: Sphinx, exception: Exception | None) -> None:
    """Rewrite the pages that this build wrote, and write what belongs to the whole site."""
    if exception or app.builder.format != "html":
        return
    site = Path(app.outdir)
    paths = [path for path in site.rglob("*.html") if "_static" not in path.parts]
    names = set(AT_RUN_TIME)
    for path in paths:
        page = path.read_text(encoding="utf-8")
        for classes in re.findall(r'<i class="([^"]*)"', page):
            names |= {n[3:] for n in classes.split() if n.startswith("fa-")} - {"solid", "lg"}
        if POLICY not in page:
            docname = path.relative_to(site).with_suffix("").as_posix()
            more = app.env.metadata.get(docname, {}).get("script-src", "")
            path.write_text(delivered(page, more), encoding="utf-8")
    script = site / "_static" / ICON_SCRIPT
    sheet = icon_sheet(script.read_text(encoding="utf-8"), names)
    (site / "_static" / ICONS).write_text(sheet, encoding="utf-8")
    if base := app.config.html_baseurl:
        pages = sorted(f"{name}.html" for name in app.env.found_docs)
        urls = "".join(f"  <url><loc>{escape(base + page)}</loc></url>\n" for page in pages)
        (site / "sitemap.xml").write_text(
            '<?xml version="1.0" encoding="utf-8"?>\n'
            f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{urls}</urlset>\n',
            encoding="utf-8",
        )


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("config-inited", address_of_the_site)
    app.connect("build-finished", deliver)
    app.add_css_file(ICONS)
    return {"version": "1", "parallel_read_safe": True}
