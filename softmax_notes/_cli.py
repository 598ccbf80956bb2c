"""The command ``softmax-notes``: check a function from a terminal or a build server."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

DESCRIPTION = """\
Check a softmax, or one of its relatives, against the laws of the book Softmax notes.

softmax-notes imports your function, tries every law that the level asks for, and prints one line
a law. For a law that fails it prints the smallest arguments that show it, ready to paste, what
should have come out, what did, and the likely cause in words. Nothing that your function does,
be it an exception or an endless loop, stops the check.
"""
CHECK = """\
FUNCTION is written package.module:name, as in a Python import; the current folder is searched
first. A file works too: path/to/file.py:name.
"""
DETAILS = """\
kinds
  softmax, log_softmax     f(x), along the last axis or an argument axis (or dim)
  logsumexp                f(x); the axis goes away
  cross_entropy            f(logits, target): a table, one row an example, and class indices;
                           the mean over the rows
  cross_entropy_grad       f(logits, target): its gradient by the logits
  softmax_jacobian         f(p), made from probabilities: one matrix for each vector
  softmax_jvp, softmax_vjp f(p, v): the product of that matrix with v

levels
  textbook     what five lines in a notebook should meet: moderate float64 scores, last axis
  robust       also large scores, float32, every axis, batches, arguments left as they were
  production   also every dtype, infinities, NaN, masks, empty and strided arrays, and at most
               8 units in the last place of error (1 in 16 bits)

examples
  softmax-notes check mykernels.attention:softmax --library torch --level robust
  softmax-notes check homework.py:my_jacobian --kind softmax_jacobian
  softmax-notes check torch:softmax --library torch --level production
  softmax-notes check mykernels:loss --kind cross_entropy --format junit --output report.xml

exit status
  0  every law holds
  1  a law fails
  2  the command could not be understood, or the function not be imported
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and give its exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return 2
    try:
        from softmax_notes import check

        function = _imported(options.function)
        # What the function prints is not part of the report.
        with contextlib.redirect_stdout(sys.stderr):
            report = check.run(
                function,
                options.kind,
                options.library,
                options.level,
                ndim=options.ndim,
                max_examples=options.max_examples,
                seed=options.seed,
                timeout=options.timeout,
            )
    except (ImportError, ValueError, TypeError, OSError) as error:
        print(f"softmax-notes: {error}", file=sys.stderr)
        return 2
    try:
        _write(report, options.format, options.output)
    except OSError as error:
        print(f"softmax-notes: the report cannot be written: {error}", file=sys.stderr)
        return 2
    return 0 if report.ok else 1


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="softmax-notes", description=DESCRIPTION, epilog=DETAILS, formatter_class=raw
    )
    parser.add_argument("--version", action="version", version=f"softmax-notes {_version()}")
    commands = parser.add_subparsers(dest="command", metavar="command")
    check = commands.add_parser(
        "check",
        help="check one function (softmax-notes check --help lists the options)",
        description=DESCRIPTION + "\n" + CHECK,
        epilog=DETAILS,
        formatter_class=raw,
    )
    check.add_argument("function", metavar="FUNCTION", help="package.module:name or file.py:name")
    check.add_argument("--kind", default="softmax", help="what it should be (default: softmax)")
    check.add_argument("--library", default="numpy", help="numpy (default), torch, jax, …")
    check.add_argument("--level", default="textbook", help="textbook (default), robust, production")
    check.add_argument("--ndim", type=int, metavar="N", help="try only arrays of N dimensions")
    check.add_argument("--max-examples", type=int, metavar="N", help="arguments tried for each law")
    check.add_argument("--seed", type=int, metavar="N", help="search elsewhere than last time")
    check.add_argument("--timeout", type=float, metavar="S", help="seconds one call may take")
    check.add_argument("--format", choices=("text", "json", "junit"), default="text")
    check.add_argument(
        "--output", type=Path, metavar="FILE", help="write there, not to the terminal"
    )
    return parser


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("softmax-notes")
    except PackageNotFoundError:
        return "(not installed)"


def _imported(address: str) -> Callable[..., Any]:
    """Find package.module:name or file.py:name."""
    place, colon, name = address.rpartition(":")
    if not colon or not place or not name:
        raise ValueError(f"FUNCTION must be package.module:name or file.py:name, got {address!r}")
    found: Any = _module(place)
    for part in name.split("."):
        if not hasattr(found, part):
            raise ValueError(f"{place} has no {name}")
        found = getattr(found, part)
    if not callable(found):
        raise ValueError(f"{address} is no function but {type(found).__name__}")
    return found  # type: ignore[no-any-return]


def _module(place: str) -> Any:
    file = Path(place)
    if file.suffix == ".py":
        if not file.is_file():
            raise ValueError(f"there is no file {place}")
        sys.path.insert(0, str(file.resolve().parent))
        place = file.stem
    else:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(place)
    except (Exception, SystemExit) as error:  # the user's module may do anything
        raise ImportError(f"cannot import {place}: {type(error).__name__}: {error}") from error
    finally:
        sys.path.pop(0)


def _write(report: Any, form: str, output: Path | None) -> None:
    if form == "text" and output is None:
        from rich.console import Console

        Console(highlight=False).print(report)
        return
    text = {"text": report.__str__, "json": report.to_json, "junit": report.to_junit}[form]()
    if output is None:
        print(text)
    else:
        output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
