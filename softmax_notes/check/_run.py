"""Trying laws one after the other, and finding the smallest arguments on which one fails."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import seed as seeded
from hypothesis.errors import Flaky, FlakyFailure, Unsatisfiable

from softmax_notes._arrays import whole
from softmax_notes.check._diagnosis import diagnosed
from softmax_notes.check._limit import overdue
from softmax_notes.check._registry import Law, laws_of
from softmax_notes.check._report import Failure, Outcome, Report
from softmax_notes.check._subject import Broken, Subject, subject

EXAMPLES = {"textbook": 40, "robust": 40, "production": 60}
BUDGET = {"textbook": 30.0, "robust": 60.0, "production": 120.0}  # seconds of computing


def run(
    function: Callable[..., Any],
    kind: str,
    library: Any = "numpy",
    level: str = "textbook",
    *,
    ndim: int | None = None,
    max_examples: int | None = None,
    seed: int | None = None,
    timeout: float | None = None,
) -> Report:
    """Try every law that a level asks of a kind; nothing that the function does is an error."""
    f = subject(function, kind, library, level, timeout)
    if ndim is not None and (whole(ndim, "ndim") < 1 or isinstance(ndim, bool)):
        raise ValueError(f"ndim must be a whole number from 1 on, got {ndim!r}")
    if max_examples is not None and whole(max_examples, "max_examples") < 1:
        raise ValueError(f"max_examples must be a whole number from 1 on, got {max_examples!r}")
    # Patience with a busy machine: what a report says should not depend on it.
    seed = None if seed is None else whole(seed, "seed")
    end = overdue(BUDGET[level], patience=20)
    outcomes = []
    for law in laws_of(kind, level):
        outcomes.append(_outcome(law, f, ndim, max_examples or EXAMPLES[level], seed, end))
    return Report(f.name, kind, f.library.name, level, outcomes)


def _outcome(
    law: Law, f: Subject, ndim: int | None, examples: int, seed: int | None, end: Callable[[], bool]
) -> Outcome:
    f.level = law.level
    if f.stuck:
        return Outcome(law, "not tried", "a call did not come to its end")
    if end():
        return Outcome(law, "not tried", "the time for the whole check was used up")
    cases = law.cases(f, ndim)
    if cases is None:
        return Outcome(law, "does not apply")
    search = _first if isinstance(cases, list) else _smallest
    broken, calls = search(law, f, cases, examples, seed, end)
    if broken is None:
        return Outcome(law, "holds")
    with np.errstate(all="ignore"):
        cause = diagnosed(f, broken, calls)
    return Outcome(
        law,
        "fails",
        failure=Failure(
            law.name,
            law.statement,
            law.claims,
            [call.line for call in calls],
            broken.expected,
            broken.got,
            cause.words,
            cause.name,
        ),
    )


def _judged(law: Law, f: Subject, case: Any) -> Broken | None:
    f.calls.clear()
    args, options = case
    try:
        with np.errstate(all="ignore"):
            law.judge(f, *args, **options)
    except Broken as broken:
        return broken
    return None


def _first(
    law: Law, f: Subject, cases: Any, examples: int, seed: Any, end: Callable[[], bool]
) -> Any:
    for case in cases:
        if (broken := _judged(law, f, case)) is not None:
            return broken, list(f.calls)
    return None, []


def _smallest(
    law: Law, f: Subject, cases: Any, examples: int, seed: Any, end: Callable[[], bool]
) -> Any:
    """Let Hypothesis search, and shrink what it finds."""
    found: list[Any] = []

    def attempt(case: Any) -> None:
        if f.stuck or end():
            if found:
                raise found[-1][0]
            return
        if (broken := _judged(law, f, case)) is not None:
            found.append((broken, list(f.calls)))
            # One exception type from one place: to Hypothesis one bug, whatever its text.
            raise broken

    test: Any = given(cases)(attempt)  # type: ignore[no-untyped-call]
    test = settings(
        max_examples=examples,
        derandomize=seed is None,
        database=None,
        deadline=None,
        print_blob=False,
        report_multiple_bugs=False,
        verbosity=Verbosity.quiet,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),  # pyright: ignore[reportArgumentType]
    )(test)
    if seed is not None:
        test = seeded(seed)(test)
    with contextlib.suppress(Broken, Flaky, FlakyFailure, Unsatisfiable, BaseExceptionGroup):
        test()
    if not found:
        return None, []
    return found[-1]
