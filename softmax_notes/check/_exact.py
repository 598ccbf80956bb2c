"""Exact values by mpmath, and errors in units in the last place (ULP)."""

from __future__ import annotations

import math
from collections import Counter
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
    counts = Counter(float(score) for score in x)  # long rows repeat few numbers
    with mpmath.workdps(DIGITS):
        scores = {score: mpmath.mpf(score) for score in counts}
        largest = max(scores.values())
        terms = {score: mpmath.exp(value - largest) for score, value in scores.items()}
        total = mpmath.fsum(terms[score] * count for score, count in counts.items())
        # All but one of the largest, whose term is 1.
        rest = mpmath.fsum(
            terms[score] * (count - (scores[score] == largest)) for score, count in counts.items()
        )
        log_total = mpmath.log1p(rest)
        p = {score: term / total for score, term in terms.items()}
        log_p = {score: value - largest - log_total for score, value in scores.items()}
        row = [float(score) for score in x]
        return Exact([p[v] for v in row], [log_p[v] for v in row], largest + log_total)


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


def ulp(value: float, truth: Any, form: Format, against: Any = None) -> float:
    """Measure an error in units in the last place of the truth, or of the number ``against``."""
    against = truth if against is None else against
    with mpmath.workdps(DIGITS):
        exponent = form.lowest
        if against and mpmath.isfinite(against):
            exponent = max(exponent, mpmath.frexp(against)[1] - 1)
        unit = mpmath.mpf(2) ** (exponent - form.bits)
        if not mpmath.isfinite(truth) or abs(truth) >= form.largest + unit / 2:  # rounds to ±inf
            return 0.0 if np.isinf(value) and (value > 0) == (truth > 0) else math.inf
        return float(abs(mpmath.mpf(value) - truth) / unit) if np.isfinite(value) else math.inf


def ulp_error(got: Any, expected: list[Any], dtype: str) -> float:
    """Give the largest error of the floats in got, in ULP of the exact values."""
    values = np.asarray(got, dtype=np.float64).ravel().tolist()
    pairs = zip(values, expected, strict=True)
    return max((ulp(value, truth, FORMATS[dtype]) for value, truth in pairs), default=0.0)


# --- exact values of whole arrays: arguments are NumPy arrays, results hold mpmath numbers


def softmax(x: Any, *, axis: int | tuple[int, ...] | None = -1) -> Any:
    return _along(lambda row: exact(row).softmax, axis, x)


def log_softmax(x: Any, *, axis: int | tuple[int, ...] | None = -1) -> Any:
    return _along(lambda row: exact(row).log_softmax, axis, x)


def logsumexp(x: Any, *, axis: int | tuple[int, ...] | None = -1) -> Any:
    return _reduced(lambda row: exact(row).logsumexp, axis, x)


def softmax_jacobian(p: Any) -> Any:
    """Evaluate p_i (δ_ij − p_j), with 1 − p_i as the sum of the others: rows of p sum to 1."""
    result = np.empty((*p.shape, p.shape[-1]), dtype=object)
    with mpmath.workdps(DIGITS):
        for place in np.ndindex(p.shape[:-1]):
            row = [mpmath.mpf(float(a)) for a in p[place]]
            for i, a in enumerate(row):
                others = mpmath.fsum(row[:i] + row[i + 1 :])
                result[(*place, i)] = [a * others if i == j else -a * b for j, b in enumerate(row)]
    return result


def softmax_jvp(p: Any, v: Any, *, axis: int | tuple[int, ...] | None = -1) -> Any:
    """Evaluate p_i Σ p_k (v_i − v_k), which is p ⊙ (v − pᵀv) where p sums to 1."""

    def row(p: Any, v: Any) -> list[Any]:
        with mpmath.workdps(DIGITS):
            p, v = ([mpmath.mpf(float(a)) for a in given] for given in (p, v))
            return [
                a * mpmath.fsum(b * (s - t) for b, t in zip(p, v, strict=True))
                for a, s in zip(p, v, strict=True)
            ]

    return _along(row, axis, p, v)


def losses_and_gradients(
    logits: Any,
    target: Any,
    *,
    axis: int = -1,
    weight: Any = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
) -> tuple[Any, Any, Any]:
    """Give the loss of each row, its gradient, and the divisor of the mean; classes last."""
    x = np.moveaxis(np.asarray(logits), axis, -1)
    n = x.shape[-1]
    losses = np.empty(x.shape[:-1], dtype=object)
    grads = np.empty(x.shape, dtype=object)
    with mpmath.workdps(DIGITS):
        w = [mpmath.mpf(1 if weight is None else float(weight[c])) for c in range(n)]
        smoothing, divisor = mpmath.mpf(label_smoothing), mpmath.mpf(0)
        for place in np.ndindex(losses.shape):
            t = int(target[place])
            if t == ignore_index:
                losses[place], grads[place] = mpmath.mpf(0), [mpmath.mpf(0)] * n
                continue
            truth = exact(x[place])
            share = [w[c] * ((1 - smoothing) * (c == t) + smoothing / n) for c in range(n)]
            total = mpmath.fsum(share)
            losses[place] = -mpmath.fdot(share, truth.log_softmax)
            grads[place] = [
                # expm1 is slow, and most shares are 0.
                (s * mpmath.expm1(log_p) if s else 0) + (total - s) * p
                for s, p, log_p in zip(share, truth.softmax, truth.log_softmax, strict=True)
            ]
            divisor += w[t]
    return losses, grads, divisor


def cross_entropy(logits: Any, target: Any, *, reduction: str = "mean", **options: Any) -> Any:
    losses, _, divisor = losses_and_gradients(logits, target, **options)
    if reduction == "none":
        return losses
    with mpmath.workdps(DIGITS):
        total = mpmath.fsum(losses.ravel())
        return np.array(total / (divisor if reduction == "mean" else 1), dtype=object)


def cross_entropy_grad(
    logits: Any, target: Any, *, axis: int = -1, reduction: str = "mean", **options: Any
) -> Any:
    _, grads, divisor = losses_and_gradients(logits, target, axis=axis, **options)
    with mpmath.workdps(DIGITS):
        return np.moveaxis(grads / divisor if reduction == "mean" else grads, -1, axis)


def _in_rows(axis: int | tuple[int, ...] | None, x: Any) -> tuple[Any, tuple[int, ...]]:
    """Bring the axes last and merge them; give the rows and the order of the axes."""
    axes = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    last = tuple(a % x.ndim for a in axes)
    order = (*(i for i in range(x.ndim) if i not in last), *last)
    size = math.prod(x.shape[i] for i in last)
    count = math.prod(x.shape[i] for i in order[: x.ndim - len(last)])
    return x.transpose(order).reshape(count, size), order


def _along(row: Any, axis: int | tuple[int, ...] | None, *arrays: Any) -> Any:
    """Apply a function of rows along the axes."""
    given = [np.asarray(a) for a in arrays]
    rows = [_in_rows(axis, a)[0] for a in given]
    order = _in_rows(axis, given[0])[1]
    table = np.empty(rows[0].shape, dtype=object)
    for i, parts in enumerate(zip(*rows, strict=True)):
        table[i] = row(*parts)
    shape = [given[0].shape[i] for i in order]
    return table.reshape(shape).transpose(np.argsort(order))


def _reduced(row: Any, axis: int | tuple[int, ...] | None, x: Any) -> Any:
    """Apply a function that makes one number of a row."""
    rows, order = _in_rows(axis, np.asarray(x))
    kept = order[: x.ndim - (x.ndim if axis is None else len(np.atleast_1d(axis)))]
    table = np.empty(len(rows), dtype=object)
    table[:] = [row(part) for part in rows]
    return table.reshape([x.shape[i] for i in kept])
