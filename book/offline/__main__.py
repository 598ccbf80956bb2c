"""Copies of the book to read away from the web, from the site that `make book` built.

    python book/offline pdf
    python book/offline epub

They are written to _build/offline.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def main() -> int:
    parser = argparse.ArgumentParser(prog="python book/offline", description="Make a copy.")
    parser.add_argument("kind", choices=["pdf", "epub"])
    sys.path.append(str(ROOT / "book" / "_ext"))  # who reads the table of contents
    kind = parser.parse_args().kind
    target = ROOT / "_build" / "offline" / f"softmax-notes.{kind}"
    importlib.import_module(kind).make(ROOT, target)
    print(f"{target.relative_to(ROOT)}: {target.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
