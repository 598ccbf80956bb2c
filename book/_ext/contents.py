"""The table of contents, `_toc.yml`, for all who ask what comes after what."""

from __future__ import annotations

from pathlib import Path

import yaml


def order(root: Path) -> list[tuple[str, list[str]]]:
    """Read the parts of the book, each with its pages; the first page is a part without a name."""
    contents = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    parts = [("", [contents["root"]])]
    for part in contents["parts"]:
        parts.append((part["caption"], [page["file"] for page in part["chapters"]]))
    return parts


def stems(root: Path) -> list[str]:
    """List the pages of the book by name."""
    return [Path(page).name for _, pages in order(root) for page in pages]
