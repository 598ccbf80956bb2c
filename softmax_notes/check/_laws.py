"""The laws: what every function of a kind must obey, whoever wrote it.

Each law is one function. It gets the subject f and the arguments to try, and raises `Broken` if
it does not hold there. The registry says what they are tried on; the package's own
tests call the same functions with arguments of their own.
"""

from __future__ import annotations

import math
import tracemalloc
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np

from softmax_notes.check import _exact
from softmax_notes.check._subject import ARGUMENTS, PRODUCTS, Arg, Broken, Subject, close, shown


def _values(x: Any) -> Any:
    return x.values if isinstance(x, Arg) else np.asarray(x)


def _equal(got: Any, expected: Any, rtol: float, atol: float, what: str = "") -> None:
    if not close(got, expected, rtol, atol):
        label = f"{what} = " if what else ""
        raise Broken("value", f"{label}{shown(expected)}", f"{label}{shown(got)}")


def _true(condition: Any, expected: str, got: Any) -> None:
    if not np.all(condition):
        raise Broken("value", expected, shown(got))


# --- every kind


def formula(f: Subject, *args: Any, **options: Any) -> None:
    """Require: the values are those of the definition."""
    with np.errstate(all="ignore"):
        expected = np.asarray(f.exact(*args, **options), dtype=np.float64)
    slack = f.slack(*args)
    scale = 1.0
    if f.kind == "softmax_jacobian" or f.kind in PRODUCTS:
        scale = float(np.max(np.abs(_values(args[-1])), initial=1))
    if f.kind in ("log_softmax", "logsumexp", "cross_entropy"):
        scale = float(np.max(np.abs(_values(args[0])), initial=1))  # x − logsumexp is allowed
    _equal(f(*args, **options), expected, slack, slack * scale / 16)


# --- softmax


def simplex(f: Subject, x: Any, axis: Any = -1) -> None:
    """Require: entries from 0 to 1, neither of them where scores are near, that sum to 1."""
    scores, p = _values(x), np.asarray(f(x, axis=axis), np.float64)
    _true((p >= 0) & (p <= 1), "entries from 0 to 1", p)
    several = scores.size > np.max(scores, axis=axis).size
    near = several & (np.ptp(scores, axis=axis, keepdims=True) <= 10)
    _true(~near | ((p > 0) & (p < 1)), "entries above 0 and below 1", p)
    sums = p.sum(axis=axis)
    _equal(sums, np.ones(sums.shape), f.slack(x), 0, "sums along the axis")


def single_class(f: Subject, x: Any) -> None:
    """Require: a single class has probability 1."""
    _equal(f(x), np.ones(np.shape(_values(x))), 0, 0)


def shift(f: Subject, x: Any, c: float, axis: Any = -1, bits: bool = False) -> None:
    """Require: a common shift changes nothing; for logsumexp it is added."""
    shifted = Arg((_values(x) + c).astype(_values(x).dtype), str(_values(x).dtype))
    before, after = f(x, axis=axis), f(shifted, axis=axis)
    added = c if f.kind == "logsumexp" else 0.0
    scale = 0.0 if f.kind == "softmax" else float(np.abs(_values(shifted)).max() + abs(c) + 1)
    slack = 0.0 if bits else f.slack(x)
    _equal(after, before + added, slack, slack * (1e-3 + scale))


def order(f: Subject, x: Any, axis: Any = -1, bits: bool = False) -> None:
    """Require: a larger score never has the smaller result, and equal scores have equal results."""
    scores, p = (np.moveaxis(a, axis, -1) for a in (_values(x), f(x, axis=axis)))
    first, second = (scores[..., :, None] - scores[..., None, :], p[..., :, None] - p[..., None, :])
    # Far apart, small results may round to the same number, but never change places.
    near = np.ptp(scores, axis=-1)[..., None, None] <= 20
    kept = np.where(near & (first != 0), first * second > 0, first * second >= 0)
    _true(kept, "results in the order of the scores", p)
    slack = 0.0 if bits else f.slack(x)
    _equal(np.where(first == 0, second, 0), np.zeros(second.shape), 0, slack)


def permutation(f: Subject, x: Any, places: list[int]) -> None:
    """Require: results follow their scores through any permutation."""
    moved = Arg(_values(x)[..., places], str(_values(x).dtype))
    p, q = f(x), f(moved)
    expected = p if f.kind == "logsumexp" else p[..., places]
    scale = 1e-3 if f.kind == "softmax" else float(np.abs(_values(x)).max() + 1)
    _equal(q, expected, f.slack(x), f.slack(x) * scale)


def two_classes(f: Subject, x: Any) -> None:
    """Require: with two classes softmax is the sigmoid of the difference."""
    difference = _values(x)[..., 0] - _values(x)[..., 1]
    sigmoid = np.array(
        [float(1 / (1 + mpmath.exp(-mpmath.mpf(float(d))))) for d in difference.flat]
    )
    _equal(f(x)[..., 0], sigmoid.reshape(difference.shape), f.slack(x), 0, "first probability")


def log_odds(f: Subject, x: Any) -> None:
    """Require: differences of log-probabilities are differences of scores."""
    result, scores = f(x), _values(x)
    with np.errstate(all="ignore"):
        log_p = np.log(result) if f.kind == "softmax" else result
    scale = float(np.abs(scores).max() + 1)
    _equal(
        log_p[..., :1] - log_p,
        scores[..., :1] - scores,
        f.slack(x),
        f.slack(x) * scale,
        "differences from the first logarithm",
    )


def log_simplex(f: Subject, x: Any, axis: Any = -1, bits: bool = False) -> None:
    """Require: log-probabilities are at most 0, and their exponentials sum to 1."""
    log_p = np.asarray(f(x, axis=axis), np.float64)
    _true(log_p <= (0.0 if bits else f.unit(x)), "logarithms of probabilities, at most 0", log_p)
    total = np.exp(log_p).sum(axis=axis)
    scale = float(np.abs(_values(x)).max() + 1)
    _equal(total, np.ones(total.shape), f.slack(x) * scale, 0, "sums of exponentials")


def bounds(f: Subject, x: Any, axis: Any = -1, bits: bool = False) -> None:
    """Require: logsumexp is at least the maximum and at most log n above it."""
    scores, result = _values(x), f(x, axis=axis)
    largest = scores.max(axis=axis)
    n = scores.size // max(largest.size, 1)
    slack = f.slack(x) * (1 + np.abs(largest))
    below = 0.0 if bits else slack / 16
    _true(result >= largest - below, f"at least the maximum, {shown(largest)}", result)
    _true(
        result <= largest + math.log(n) + slack,
        f"at most the maximum + log {n}, {shown(largest + math.log(n))}",
        result,
    )


def convex(f: Subject, x: Any, y: Any) -> None:
    """Require: logsumexp half-way between two points is at most the mean of the two values."""
    middle = Arg((_values(x) + _values(y)) / 2, str(_values(x).dtype))
    chord = (f(x) + f(y)) / 2
    slack = f.slack(x) * (1 + np.abs(_values(x)).max() + np.abs(_values(y)).max())
    _true(f(middle) <= chord + slack, f"at most {shown(chord)} half-way", f.calls[-1].result)


# --- cross-entropy


def not_negative(f: Subject, logits: Any, target: Any) -> None:
    """Require: a loss is never negative."""
    loss = f(logits, target)
    scale = 1 + np.abs(_values(logits)).max()
    _true(loss >= -f.slack(logits) * scale, "a loss from 0 on", loss)


def loss_shift(f: Subject, logits: Any, target: Any, c: float) -> None:
    """Require: adding one number to all scores changes neither the loss nor its gradient."""
    shifted = Arg(_values(logits) + c, str(_values(logits).dtype))
    scale = 1 + np.abs(_values(logits)).max() + abs(c)
    _equal(f(shifted, target), f(logits, target), f.slack(logits), f.slack(logits) * scale)


def repeated_rows(f: Subject, logits: Any, target: Any) -> None:
    """Require: the mean over the rows stays as it is when every row occurs twice."""
    twice = Arg(np.concatenate([_values(logits)] * 2), str(_values(logits).dtype))
    targets = Arg(np.concatenate([_values(target)] * 2), str(_values(target).dtype))
    scale = 1 + np.abs(_values(logits)).max()
    once, again = f(logits, target), f(twice, targets)
    if f.kind == "cross_entropy_grad":
        once = np.concatenate([once, once]) / 2
    _equal(again, once, f.slack(logits), f.slack(logits) * scale)


def zero_sum(f: Subject, logits: Any, target: Any, **options: Any) -> None:
    """Require: the gradient of each row sums to 0."""
    grad = np.asarray(f(logits, target, **options), np.float64)
    sums = grad.sum(axis=options.get("axis", -1))
    scale = 4 * max(1.0, float(np.abs(grad).max(initial=0)))
    _equal(sums, np.zeros(sums.shape), 0, f.slack(logits) * scale, "sums of the rows")


def signs(f: Subject, logits: Any, target: Any) -> None:
    """Require: the gradient is at most 0 at the target and at least 0 elsewhere."""
    grad = f(logits, target)
    hit = np.arange(grad.shape[-1]) == _values(target)[..., None]
    slack = f.slack(logits)
    _true(
        np.where(hit, grad <= slack, grad >= -slack),
        "at most 0 at the target, at least 0 elsewhere",
        grad,
    )


# --- the Jacobian


def symmetric(f: Subject, p: Any, bits: bool = False) -> None:
    """Require: a symmetric Jacobian."""
    jacobian, slack = f(p), 0.0 if bits else f.slack(p)
    _equal(jacobian, np.swapaxes(jacobian, -1, -2), slack, slack / 100)


def rows_sum_to_zero(f: Subject, p: Any) -> None:
    """Require: every row of the Jacobian sums to 0."""
    jacobian = np.asarray(f(p), np.float64)
    sums = np.array([math.fsum(row) for row in jacobian.reshape(-1, jacobian.shape[-1])])
    bound = 2 * _values(p).shape[-1] * f.slack(p) / 16 * np.asarray(_values(p)).reshape(-1)
    _true(
        np.abs(sums) <= bound * 2 + 1e-300, "rows that sum to 0", sums.reshape(jacobian.shape[:-1])
    )


def variance(f: Subject, p: Any, v: Any) -> None:
    """Require: vᵀJv is the variance of v under p, never negative, 0 for constants."""

    def true(a: Any, b: Any) -> float:
        a, b = ([Fraction(float(t)) for t in row] for row in (a, b))
        return float(sum(a[i] * a[j] * (b[i] - b[j]) ** 2 for i in range(len(a)) for j in range(i)))

    direction = _values(v)
    product = (f(p) @ direction[..., None])[..., 0] if f.kind == "softmax_jacobian" else f(p, v)
    form = (direction * product).sum(axis=-1)
    scale = 1 + float(np.max(direction**2, initial=0))
    expected = _of_rows(true, _values(p), direction)
    _equal(form, expected, f.slack(p), f.slack(p) * scale, "vᵀJv")


def _of_rows(function: Any, *arrays: Any) -> Any:
    """Give a number for the rows of each place in a batch."""
    rows = [np.asarray(a, np.float64).reshape(-1, a.shape[-1]) for a in arrays]
    found = [function(*row) for row in zip(*rows, strict=True)]
    return np.array(found).reshape(arrays[0].shape[:-1])


def _no_collision(p: Any) -> Any:
    """Give 1 − Σ p²: how likely two draws differ."""
    return _of_rows(lambda row: 1 - math.fsum(row**2), p)


def trace(f: Subject, p: Any) -> None:
    """Require: the trace is 1 − Σ p²."""
    sums = np.trace(f(p), axis1=-2, axis2=-1)
    _equal(sums, _no_collision(_values(p)), f.slack(p), f.slack(p), "trace")


def entrywise(f: Subject, p: Any) -> None:
    """Require: half the absolute entries sum to 1 − Σ p², and no column to more than ½."""
    columns, q = np.abs(f(p)).sum(axis=-2), np.asarray(_values(p), np.float64)
    slack = 2 * f.slack(p)
    _equal(columns.sum(axis=-1) / 2, _no_collision(q), slack, slack, "½ Σ |J|")
    _equal(columns.max(axis=-1), 2 * np.max(q * (1 - q), axis=-1), slack, slack, "‖J‖₁")


def half_norm(f: Subject, p: Any) -> None:
    """Require: the spectral norm is at most ½."""
    jacobian = f(p)
    finite = np.all(np.isfinite(jacobian))
    norm = np.linalg.norm(jacobian, 2, axis=(-2, -1)) if finite else math.nan
    _true(norm <= 0.5 + f.slack(p), "a spectral norm of at most 1/2", norm)


# --- products with the Jacobian


def constants_vanish(f: Subject, p: Any, c: float) -> None:
    """Require: a constant direction has the product 0."""
    direction = Arg(np.full(np.shape(_values(p)), c, _values(p).dtype), str(_values(p).dtype))
    result = f(p, direction)
    _equal(result, np.zeros(result.shape), 0, f.slack(p) * (1 + abs(c)))


def linear(f: Subject, p: Any, v: Any, factor: float) -> None:
    """Require: a direction k times as long has a product k times as large."""
    longer = Arg(_values(v) * factor, str(_values(v).dtype))
    scale = float(np.abs(_values(longer)).max(initial=1)) + 1
    _equal(f(p, longer), factor * f(p, v), f.slack(p), f.slack(p) * scale)


def product_sums_to_zero(f: Subject, p: Any, v: Any) -> None:
    """Require: the entries of a product sum to 0."""
    result = np.asarray(f(p, v), np.float64)
    sums = result.sum(axis=-1)
    scale = 4 * float(np.abs(_values(v)).max(initial=1))
    _equal(sums, np.zeros(sums.shape), 0, f.slack(p) * scale, "sums of the rows")


# --- from the level robust on


def same_dtype(f: Subject, *args: Any, **options: Any) -> None:
    """Require: the dtype of the argument is kept, and the values are right in it."""
    formula(f, *args, **options)
    given, got = args[0].dtype, f.calls[-1].dtype
    if got != given:
        raise Broken("dtype", given, got)


def unchanged(f: Subject, *args: Any, **options: Any) -> None:
    """Require: the arguments are as they were."""
    f(*args, **options)
    names = ARGUMENTS[f.kind]
    for name, before, now in zip(names, args, f.calls[-1].after, strict=True):
        if not np.array_equal(np.asarray(_values(before), now.dtype), now, equal_nan=True):
            raise Broken("changed", f"{name} = {shown(_values(before))}", f"{name} = {shown(now)}")


# --- from the level production on


def accurate(f: Subject, *args: Any, limit: float = 8.0, **options: Any) -> None:
    """Require: errors of at most 8 units in the last place, 1 in 16 bits.

    Below the smallest normal number an error of that number passes: libraries that flush
    subnormal numbers to 0 have a law of their own. For logsumexp the unit is that of the result
    or of the largest score, whichever is larger.
    """
    got, dtype = f(*args, **options), args[0].dtype
    truth = np.asarray(f.exact(*args, **options), dtype=object)
    form = _exact.FORMATS[dtype]
    tiny = 2.0**form.lowest
    scale = float(np.max(_values(args[0]), initial=0.0)) if f.kind == "logsumexp" else 0.0
    worst, place = 0.0, 0
    known: dict[tuple[float, int], float] = {}  # long rows repeat few numbers
    for i, (value, true) in enumerate(zip(np.ravel(got).tolist(), truth.ravel(), strict=True)):
        if (error := known.get((value, id(true)))) is None:
            near = abs(true) < 2 * tiny and abs(value - float(true)) <= tiny
            error = 0.0 if near else _exact.ulp(value, true, form, max(abs(true), abs(scale)))
            known[value, id(true)] = error
        if not error <= worst:
            worst, place = error, i
    if not worst <= limit:
        what = f"result[{', '.join(map(str, np.unravel_index(place, truth.shape)))}]"
        off = f"{worst:.4g}" if np.isfinite(worst) else "infinitely many"
        raise Broken(
            "digits",
            f"{what} = {float(truth.ravel()[place]):.9g} to {limit:g} ULP",
            f"{what} = {np.ravel(got)[place]:.9g}, off by {off} ULP",
        )
    if f.calls[-1].dtype != dtype:
        raise Broken("dtype", dtype, f.calls[-1].dtype)


def subnormal(f: Subject, *args: Any, **options: Any) -> None:
    """Require: results below the smallest normal number are not flushed to 0."""
    got, truth = f(*args, **options), np.asarray(f.exact(*args, **options), np.float64)
    flushed = (np.asarray(got) == 0) & (truth != 0)
    if np.any(flushed):
        raise Broken("flushed", shown(truth), shown(got))


def contract(f: Subject, *args: Any, expected: Any, **options: Any) -> None:
    """Require: exactly what the contract says, NaN and infinities included."""
    got = f(*args, **options)
    _equal(got, np.asarray(expected, np.float64), f.slack(*args), f.slack(*args))


def promoted(f: Subject, *args: Any, **options: Any) -> None:
    """Require: integers are promoted before any subtraction, or refused with an error."""
    try:
        result = f(*args, **options)
    except Broken as broken:
        if broken.sort == "exception":
            return
        raise
    expected = np.asarray(f.exact(*args, **options), np.float64)
    _equal(result, expected, 1e-5, 1e-6)  # float32 may be the library's default


def refused(f: Subject, *args: Any, **options: Any) -> None:
    """Require: an error, and no answer to a question that makes no sense."""
    try:
        result = f(*args, **options)
    except Broken as broken:
        if broken.sort == "exception":
            return
        if broken.sort in ("shape", "type"):
            raise Broken("accepted", "an error", broken.got) from None
        raise
    if not np.any(np.isnan(result)):
        raise Broken("accepted", "an error, or NaN", shown(result))


def honors_mask(f: Subject, x: Any) -> None:
    """Require: a masked array is refused, or what it hides counts as absent."""
    hidden = np.arange(_values(x).size) == 0
    try:
        got = f(x)
    except Broken as broken:
        if broken.sort == "exception":
            return
        raise
    expected = np.asarray(f.exact(_values(x)[~hidden]), np.float64)
    kept = got if f.kind == "logsumexp" else np.asarray(got)[~hidden]
    if not close(kept, expected, 1e-6, 1e-6):
        raise Broken("accepted", f"an error, or {shown(expected)} for the others", shown(got))


def keeps_digits_beside_a_constant(f: Subject, p: Any, v: Any, c: float) -> None:
    """Require: a large constant added to the direction does no harm, for J maps it to 0."""
    moved = Arg(_values(v) + c, v.dtype)
    got = np.asarray(f(p, moved), np.float64)
    truth = np.asarray(f.exact(p, moved), np.float64)
    bound = 64 * f.unit(p) * _values(p) * np.ptp(_values(v), axis=-1, keepdims=True)
    if not np.all(np.abs(got - truth) <= bound + f.unit(p) ** 2 * 100 * abs(c)):
        raise Broken("digits", shown(truth), shown(got))


def without_a_matrix(f: Subject, n: int) -> None:
    """Require: memory for a few vectors, and not for n² numbers."""
    p = Arg(np.full(n, 1 / n), expression=f"np.full({n}, 1 / {n})")
    v = Arg(np.eye(1, n)[0], expression=f"np.eye(1, {n})[0]")
    tracing = tracemalloc.is_tracing()
    if not tracing:
        tracemalloc.start()
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    f(p, v)
    peak = (tracemalloc.get_traced_memory()[1] - before) / p.values.nbytes
    if not tracing:
        tracemalloc.stop()
    if peak > 100:
        raise Broken("memory", "memory for a few vectors", f"memory for {peak:.0f} vectors of {n}")
