"""From a failure to its likely cause."""

from __future__ import annotations

from typing import NamedTuple

from softmax_notes.check._subject import Broken, Call, Subject


class Cause(NamedTuple):
    """A cause in words, and its short name."""

    name: str
    words: str


def diagnosed(f: Subject, broken: Broken, calls: list[Call]) -> Cause:
    return Cause("unknown", "no known fault does this")
