"""What a check found: for a terminal, a notebook, or a machine."""

from __future__ import annotations

import html
import io
import json
import os
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

BOOK = "SOFTMAX_NOTES_BOOK"  # an environment variable: the address of the built book's chapters


@dataclass(frozen=True)
class Failure:
    """A law that does not hold, and the smallest arguments that show it.

    Attributes
    ----------
    law, statement : str
        The name of the law and what it says.
    claims : tuple of str
        Where the book proves it: chapter#label.
    calls : list of str
        The calls that show it, ready to paste.
    expected, got : str
        What should have come out of them, and what did.
    cause : str
        The likely cause, in words.
    diagnosis : str
        Its short name; "unknown" where no known fault fits.
    """

    law: str
    statement: str
    claims: tuple[str, ...]
    calls: list[str]
    expected: str
    got: str
    cause: str
    diagnosis: str


@dataclass(frozen=True)
class Outcome:
    """What became of one law.

    Attributes
    ----------
    law : object
        The law: it has a ``name``, a ``statement`` and its ``claims``.
    status : str
        "holds", "fails", "does not apply" or "not tried".
    reason : str
        Why a law does not apply or was not tried.
    failure : Failure or None
        Why it fails, if it does.
    """

    law: Any
    status: str
    reason: str = ""
    failure: Failure | None = None


SIGNS = {"holds": "✓", "fails": "✗", "does not apply": "–", "not tried": "?"}
STYLES = {"holds": "green", "fails": "bold red", "does not apply": "dim", "not tried": "yellow"}


@dataclass(frozen=True)
class Report:
    """The outcome of a check: prints itself in a terminal, shows itself in a notebook.

    Attributes
    ----------
    function, kind, library, level : str
        What was checked, as what, in which library and how strictly.
    outcomes : list
        One for each law.
    """

    function: str
    kind: str
    library: str
    level: str
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether every law that applies was tried and holds."""
        return all(o.status in ("holds", "does not apply") for o in self.outcomes)

    @property
    def failures(self) -> list[Failure]:
        """The laws that do not hold, in the order they were tried."""
        return [o.failure for o in self.outcomes if o.failure is not None]

    @property
    def diagnoses(self) -> list[str]:
        """The short names of the likely causes, each once."""
        return list(dict.fromkeys(failure.diagnosis for failure in self.failures))

    def raise_if_failed(self) -> None:
        """Raise an AssertionError that holds the report if a law fails."""
        if not self.ok:
            raise AssertionError(str(self))

    def _title(self) -> str:
        return f"{self.function} as {self.kind}, {self.library}, level {self.level}"

    def _verdict(self) -> str:
        count = {s: sum(o.status == s for o in self.outcomes) for s in SIGNS}
        parts = [f"{count['holds']} of {len(self.outcomes)} laws hold"]
        parts += [f"{n} {s}" for s, n in count.items() if n and s not in ("holds", "fails")]
        if count["fails"]:
            parts.insert(1, f"{count['fails']} fail{'s' * (count['fails'] == 1)}")
        return ", ".join(parts)

    def __repr__(self) -> str:
        return f"<Report: {self._title()}; {self._verdict()}>"

    def __str__(self) -> str:
        file = io.StringIO()
        Console(file=file, width=96, color_system=None, highlight=False, force_jupyter=False).print(
            self
        )
        return file.getvalue().rstrip()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(self._title(), style="bold")
        for outcome in self.outcomes:
            yield from self._lines(outcome)
        yield Text(self._verdict(), style="bold green" if self.ok else "bold red")

    def _lines(self, outcome: Outcome) -> RenderResult:
        law = outcome.law
        line = Text(f"{SIGNS[outcome.status]} {law.name:16}", style=STYLES[outcome.status])
        line.append(f" {law.statement}", style="default not bold")
        for claim in law.claims:
            book = os.environ.get(BOOK)
            link = f"link {_address(book, claim)}" if book else ""
            line.append(f"  [{claim.replace('#', ', ')}]", style=f"dim {link}".strip())
        if outcome.reason:
            line.append(f"  ({outcome.reason})", style="dim")
        yield line
        if (failure := outcome.failure) is not None:
            rows = [("  try", call) for call in failure.calls[:4]]
            rows += [("  expected", failure.expected), ("  got", failure.got)]
            rows += [("  cause", failure.cause)]
            for name, words in rows:
                text = Text(f"{name:12}", style="dim", overflow="fold")
                text.append(words, style="bold" if name == "  cause" else "default not dim")
                yield text

    def _repr_html_(self) -> str:
        return self.to_html()

    def to_html(self, book: str | None = None) -> str:
        """Give the report as HTML; links lead to the book at that address."""
        book = os.environ.get(BOOK, "") if book is None else book
        rows = "".join(_html_row(outcome, book) for outcome in self.outcomes)
        color = _GREEN if self.ok else _RED
        return (
            '<div class="softmax-check" style="line-height:1.45">'
            f"<p><b>{_escaped(self._title())}</b></p>"
            f'<table style="border-collapse:collapse;text-align:left;width:100%">{rows}</table>'
            f'<p style="border-left:4px solid {color};padding-left:8px">'
            f"<b>{_escaped(self._verdict())}</b></p></div>"
        )

    def to_dict(self) -> dict[str, Any]:
        """Give the report as plain data."""
        return {
            "function": self.function,
            "kind": self.kind,
            "library": self.library,
            "level": self.level,
            "ok": self.ok,
            "laws": [
                {
                    "law": o.law.name,
                    "statement": o.law.statement,
                    "claims": list(o.law.claims),
                    "status": o.status,
                    **({"reason": o.reason} if o.reason else {}),
                    **(
                        {
                            "calls": o.failure.calls,
                            "expected": o.failure.expected,
                            "got": o.failure.got,
                            "cause": o.failure.cause,
                            "diagnosis": o.failure.diagnosis,
                        }
                        if o.failure
                        else {}
                    ),
                }
                for o in self.outcomes
            ],
        }

    def to_json(self) -> str:
        """Give the report as JSON."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)

    def to_junit(self) -> str:
        """Give the report as a JUnit file, which most build servers read."""
        failed = [o for o in self.outcomes if o.status in ("fails", "not tried")]
        skipped = sum(o.status == "does not apply" for o in self.outcomes)
        suite = ElementTree.Element(
            "testsuite",
            name=f"softmax-notes {self.kind} {self.level}",
            tests=str(len(self.outcomes)),
            failures=str(len(failed)),
            skipped=str(skipped),
            errors="0",
        )
        for o in self.outcomes:
            case = ElementTree.SubElement(
                suite, "testcase", classname=f"{self.kind}.{self.library}", name=o.law.name
            )
            if o.failure is not None:
                node = ElementTree.SubElement(case, "failure", message=_printable(o.failure.cause))
                lines = [*o.failure.calls, f"expected {o.failure.expected}", f"got {o.failure.got}"]
                node.text = _printable("\n".join([o.law.statement, *lines]))
            elif o.status == "not tried":
                ElementTree.SubElement(case, "failure", message=_printable(o.reason))
            elif o.status == "does not apply":
                ElementTree.SubElement(case, "skipped")
        ElementTree.indent(suite)
        return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)


# Colors that can be read on white and on black.
_GREEN, _RED, _YELLOW, _GRAY = "#2b8a3e", "#d6453d", "#b58900", "#808080"
_COLORS = {"holds": _GREEN, "fails": _RED, "does not apply": _GRAY, "not tried": _YELLOW}


_CELL = (
    '<td style="padding:2px 8px;vertical-align:top;text-align:left;overflow-wrap:anywhere">{}</td>'
)


def _html_row(outcome: Outcome, book: str) -> str:
    law = outcome.law
    color = _COLORS[outcome.status]
    links = ", ".join(
        f'<a href="{_escaped(_address(book, claim))}">{_escaped(claim.split("#")[1])}</a>'
        for claim in law.claims
    )
    sign = SIGNS[outcome.status]
    first = f'<b style="color:{color}" title="{outcome.status}">{sign}</b>'
    text = _escaped(law.statement)
    if outcome.reason:
        text += f" <i>({_escaped(outcome.reason)})</i>"
    if (failure := outcome.failure) is not None:
        code = "margin:4px 0;padding:0;border:0;background:none;color:inherit"
        code += ";white-space:pre-wrap;overflow-wrap:anywhere"
        text += (
            f'<pre style="{code}">{_escaped(chr(10).join(failure.calls[:4]))}</pre>'
            f"expected {_escaped(failure.expected)}<br>got {_escaped(failure.got)}<br>"
            f"<b>{_escaped(failure.cause)}</b>"
        )
    cells = (first, _escaped(law.name), text, links)
    return f"<tr>{''.join(_CELL.format(content) for content in cells)}</tr>"


def _address(book: str | None, claim: str) -> str:
    chapter, label = claim.split("#")
    return f"{book.rstrip('/') + '/' if book else ''}{chapter}.html#{label}"


def _escaped(text: str) -> str:
    return html.escape(text)


def _printable(text: str) -> str:
    """Leave out what XML cannot hold."""
    return "".join(c for c in text if c in "\n\t" or ord(c) >= 32)
