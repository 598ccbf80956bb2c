"""Exact values by mpmath, and errors in units in the last place (ULP)."""

from __future__ import annotations

from typing import Any, NamedTuple

import mpmath
import numpy as np

DIGITS = 60  # of the exact values: float64 holds 16, and its exponents span 630 more


class Exact(NamedTuple):
    """Softmax, log_softmax and logsumexp of one vector, as mpmath numbers."""

    softmax: list[Any]
    log_softmax: list[Any]
    logsumexp: Any


def exact(x: Any) -> Exact:
    """Evaluate the definitions on the exact values of the floats in x."""
    with mpmath.workdps(DIGITS):
        scores = [mpmath.mpf(float(score)) for score in x]
        largest = max(scores)
        exponentials = {score: mpmath.exp(score - largest) for score in set(scores)}
        terms = [exponentials[score] for score in scores]
        pivot = scores.index(largest)
        log_total = mpmath.log1p(mpmath.fsum(terms[:pivot] + terms[pivot + 1 :]))
        total = mpmath.fsum(terms)
        return Exact(
            [term / total for term in terms],
            [score - largest - log_total for score in scores],
            largest + log_total,
        )


class Format(NamedTuple):
    """A binary floating-point format."""

    bits: int  # stored bits of the significand
    lowest: int  # exponent of the smallest normal number
    largest: float


FORMATS = {
    name: Format(finfo.nmant, int(finfo.minexp), float(finfo.max))
    for name in ("float16", "float32", "float64")
    for finfo in [np.finfo(name)]
} | {"bfloat16": Format(7, -126, 3.3895313892515355e38)}


def ulp_error(got: Any, expected: list[Any], dtype: str) -> float:
    """Largest distance of the floats in got from the exact values, in ULP of the exact values."""
    form = FORMATS[dtype]
    with mpmath.workdps(DIGITS):
        worst = mpmath.mpf(0)
        for value, truth in zip(np.asarray(got, dtype=np.float64).ravel(), expected, strict=True):
            exponent = mpmath.frexp(truth)[1] - 1 if truth else form.lowest
            unit = mpmath.mpf(2) ** (max(exponent, form.lowest) - form.bits)
            if abs(truth) >= form.largest + unit / 2:  # the exact value rounds to infinity
                error = 0 if np.isinf(value) and (value > 0) == (truth > 0) else mpmath.inf
            else:
                error = abs(mpmath.mpf(value) - truth) / unit
            worst = max(worst, error if np.isfinite(value) or not error else mpmath.inf)
        return float(worst)
