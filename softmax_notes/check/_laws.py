"""The laws: what every function of a kind must obey, whoever wrote it.

Each law is one function. It gets the subject f and the arguments to try, and raises `Broken` if
it does not hold there. ``softmax_notes.check`` draws the arguments from `LAWS`; the package's own
tests call the same functions with arguments of their own.
"""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import mpmath
import numpy as np
from hypothesis import strategies as st

from softmax_notes.check import _draws, _exact
from softmax_notes.check._subject import ARGUMENTS, KINDS, Arg, Broken, Subject, close, shown

Judge = Callable[..., None]


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
    scale = float(np.max(np.abs(_values(args[-1])), initial=1)) if "j" in f.kind else 1.0
    if f.kind in ("log_softmax", "logsumexp", "cross_entropy"):
        scale = float(np.max(np.abs(_values(args[0])), initial=1))  # x − logsumexp is allowed
    _equal(f(*args, **options), expected, slack, slack * scale / 16)


# --- softmax


def simplex(f: Subject, x: Any, axis: Any = -1) -> None:
    """Require: entries are from 0 to 1 and sum to 1."""
    p = np.asarray(f(x, axis=axis), np.float64)
    _true((p >= 0) & (p <= 1), "entries from 0 to 1", p)
    _equal(p.sum(axis=axis), np.ones(p.sum(axis=axis).shape), f.slack(x), 0, "sums along the axis")


def single_class(f: Subject, x: Any) -> None:
    """Require: a single class has probability 1."""
    _equal(f(x), np.ones(np.shape(_values(x))), 0, 0)


def shift(f: Subject, x: Any, c: float, axis: Any = -1) -> None:
    """Require: a common shift changes nothing; for logsumexp it is added."""
    shifted = Arg((_values(x) + c).astype(_values(x).dtype), str(_values(x).dtype))
    before, after = f(x, axis=axis), f(shifted, axis=axis)
    added = c if f.kind == "logsumexp" else 0.0
    scale = 0.0 if f.kind == "softmax" else float(np.abs(_values(shifted)).max() + abs(c) + 1)
    _equal(after, before + added, f.slack(x), f.slack(x) * (1e-3 + scale))


def order(f: Subject, x: Any, axis: Any = -1) -> None:
    """Require: a larger score never has the smaller result, and equal scores have equal results."""
    scores, p = (np.moveaxis(a, axis, -1) for a in (_values(x), f(x, axis=axis)))
    first, second = (scores[..., :, None] - scores[..., None, :], p[..., :, None] - p[..., None, :])
    _true(first * second >= 0, "results in the order of the scores", p)
    _equal(np.where(first == 0, second, 0), np.zeros(second.shape), 0, f.slack(x))


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


def log_simplex(f: Subject, x: Any, axis: Any = -1) -> None:
    """Require: log-probabilities are at most 0, and their exponentials sum to 1."""
    log_p = np.asarray(f(x, axis=axis), np.float64)
    _true(log_p <= f.unit(x), "logarithms of probabilities, at most 0", log_p)
    total = np.exp(log_p).sum(axis=axis)
    scale = float(np.abs(_values(x)).max() + 1)
    _equal(total, np.ones(total.shape), f.slack(x) * scale, 0, "sums of exponentials")


def bounds(f: Subject, x: Any, axis: Any = -1) -> None:
    """Require: logsumexp is at least the maximum and at most log n above it."""
    scores, result = _values(x), f(x, axis=axis)
    largest = scores.max(axis=axis)
    n = scores.size // max(largest.size, 1)
    slack = f.slack(x) * (1 + np.abs(largest))
    _true(result >= largest - slack / 16, f"at least the maximum, {shown(largest)}", result)
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


def symmetric(f: Subject, p: Any) -> None:
    """Require: the Jacobian is symmetric."""
    jacobian = f(p)
    _equal(jacobian, np.swapaxes(jacobian, -1, -2), f.slack(p), f.slack(p) / 100)


def rows_sum_to_zero(f: Subject, p: Any) -> None:
    """Require: every row of the Jacobian sums to 0."""
    jacobian = np.asarray(f(p), np.float64)
    sums = np.array([math.fsum(row) for row in jacobian.reshape(-1, jacobian.shape[-1])])
    bound = 2 * _values(p).shape[-1] * f.slack(p) / 16 * np.asarray(_values(p)).reshape(-1)
    _true(
        np.abs(sums) <= bound * 2 + 1e-300, "rows that sum to 0", sums.reshape(jacobian.shape[:-1])
    )


def variance(f: Subject, p: Any, v: Any) -> None:
    """vᵀJv is the variance of v under p: never negative, 0 for constants."""
    probabilities, direction = _values(p), _values(v)
    a, b = ([Fraction(float(t)) for t in row] for row in (probabilities, direction))
    true = float(sum(a[i] * a[j] * (b[i] - b[j]) ** 2 for i in range(len(a)) for j in range(i)))
    result = f(p) if f.kind == "softmax_jacobian" else f(p, v)
    form = float(direction @ (result @ direction if result.ndim == 2 else result))
    scale = 1 + float(np.max(direction**2, initial=0))
    _equal(form, true, f.slack(p), f.slack(p) * scale, "vᵀJv")


def trace(f: Subject, p: Any) -> None:
    """Require: the trace is 1 − Σ p²."""
    probabilities = np.asarray(_values(p), np.float64)
    true = 1 - math.fsum(probabilities**2)
    _equal(np.trace(f(p)), true, f.slack(p), f.slack(p), "trace")


def entrywise(f: Subject, p: Any) -> None:
    """Require: half the absolute entries sum to 1 − Σ p², and no column to more than ½."""
    jacobian, q = f(p), np.asarray(_values(p), np.float64)
    slack = 2 * f.slack(p)
    _equal(np.abs(jacobian).sum() / 2, 1 - math.fsum(q**2), slack, slack, "½ Σ |J|")
    _equal(np.abs(jacobian).sum(axis=0).max(), 2 * np.max(q * (1 - q)), slack, slack, "‖J‖₁")


def half_norm(f: Subject, p: Any) -> None:
    """Require: the spectral norm is at most ½."""
    norm = float(np.linalg.norm(f(p), 2)) if np.all(np.isfinite(f(p))) else math.nan
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
    for i, (value, true) in enumerate(zip(np.ravel(got), truth.ravel(), strict=True)):
        near = abs(float(value) - float(true)) <= tiny if abs(true) < 2 * tiny else False
        against = max(abs(true), abs(scale))
        error = 0.0 if near else _ulp(float(value), true, against, form)
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


def _ulp(value: float, true: Any, against: Any, form: Any) -> float:
    """Measure an error in units in the last place of a number."""
    with mpmath.workdps(_exact.DIGITS):
        exponent = (
            mpmath.frexp(against)[1] - 1 if against and mpmath.isfinite(against) else form.lowest
        )
        unit = mpmath.mpf(2) ** (max(exponent, form.lowest) - form.bits)
        if not mpmath.isfinite(true) or abs(true) >= form.largest + unit / 2:
            return 0.0 if np.isinf(value) and (value > 0) == (true > 0) else math.inf
        return float(abs(mpmath.mpf(value) - true) / unit) if np.isfinite(value) else math.inf


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
        f(*args, **options)
    except Broken as broken:
        if broken.sort == "exception":
            return
        raise
    f.calls.pop()
    _equal_loosely(f, *args, **options)


def _equal_loosely(f: Subject, *args: Any, **options: Any) -> None:
    """Compare to float32: a library's default dtype may be that."""
    expected = np.asarray(f.exact(*args, **options), np.float64)
    _equal(f(*args, **options), expected, 1e-5, 1e-6)


def refused(f: Subject, *args: Any, **options: Any) -> None:
    """Require: an error, and no answer to a question that makes no sense."""
    try:
        result = f(*args, **options)
    except Broken as broken:
        if broken.sort == "exception":
            return
        if broken.sort == "shape" or broken.sort == "type":
            raise Broken("accepted", "an error", broken.got) from None
        raise
    raise Broken("accepted", "an error", shown(result))


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


# --- which law is asked of which kind, from which level on


class Law(NamedTuple):
    """A law as a report lists it."""

    name: str
    kinds: tuple[str, ...]
    level: str
    claims: tuple[str, ...]  # chapter#label
    statement: str
    judge: Judge
    cases: Callable[[Subject, int | None], Any]  # a strategy, or a list; None: does not apply


SCORES = ("softmax", "log_softmax", "logsumexp")
LOSSES = ("cross_entropy", "cross_entropy_grad")
PRODUCTS = ("softmax_jvp", "softmax_vjp")
FORMULAS = {
    "softmax": ("e^(x_i) / Σ e^(x_k)", "definition#def-softmax"),
    "log_softmax": ("x_i − log Σ e^(x_k)", "definition#prop-log-softmax"),
    "logsumexp": ("log Σ e^(x_k)", "definition#prop-log-softmax"),
    "cross_entropy": (
        "the mean over the rows of logsumexp(x) − x_t",
        "cross_entropy#prop-loss-is-lse",
    ),
    "cross_entropy_grad": ("(p − onehot(t)) / N for N rows", "cross_entropy#thm-p-minus-y"),
    "softmax_jacobian": ("J_ij = p_i (δ_ij − p_j)", "jacobian#thm-jacobian"),
    "softmax_jvp": ("p ⊙ (v − pᵀv)", "jacobian#prop-jvp"),
    "softmax_vjp": ("p ⊙ (g − pᵀg)", "jacobian#prop-jvp"),
}
LAWS: list[Law] = []


def _law(
    name: str, kinds: Any, level: str, claims: str, statement: str, judge: Judge, cases: Any
) -> None:
    found = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    LAWS.append(Law(name, found, level, tuple(claims.split()), statement, judge, cases))


def laws_of(kind: str, level: str) -> list[Law]:
    """List what is asked of a kind at a level, the simplest first."""
    order = ("textbook", "robust", "production")
    asked = order[: order.index(level) + 1]
    return [law for law in LAWS if kind in law.kinds and law.level in asked]


def _tuple(*strategies: Any) -> Any:
    return _draws.plain(st.tuples(*strategies))


def _scores(f: Subject, ndim: int | None) -> Any:
    return _tuple(_draws.scores(f, ndim))


def _arguments(f: Subject, ndim: int | None) -> Any:
    return _draws.plain(_draws.arguments(f, ndim))


def _shifts(f: Subject, ndim: int | None) -> Any:
    given = _draws.arguments(f, ndim)
    whole = st.integers(-10, 10).filter(bool).map(float)
    return _draws.plain(st.tuples(given, whole).map(lambda drawn: (*drawn[0], drawn[1])))


def _permutations(f: Subject, ndim: int | None) -> Any:
    several = [s for s in _draws.shapes(f, ndim) if s[-1] > 1]
    return _draws.plain(
        _draws.scores(f, ndim, among=several).flatmap(
            lambda x: st.tuples(st.just(x), st.permutations(range(x.values.shape[-1])))
        )
    )


def _pairs_of_classes(f: Subject, ndim: int | None) -> Any:
    among = [s for s in ((2,), (3, 2)) if ndim in (None, len(s))] or [(2, 2, 2)]
    return _tuple(_draws.scores(f, ndim, among=among))


def _segments(f: Subject, ndim: int | None) -> Any:
    return _draws.plain(
        st.sampled_from(_draws.shapes(f, ndim)).flatmap(
            lambda shape: st.tuples(*[_draws.scores(f, ndim, among=[shape])] * 2)
        )
    )


def _forms(f: Subject, ndim: int | None) -> Any:
    direction = _draws.distributions(f, ndim).flatmap(
        lambda p: st.tuples(
            st.just(p), _draws.array_of(p.values.shape, 8).map(lambda v: Arg(v, "float64"))
        )
    )
    return _draws.plain(direction)


def _constants(f: Subject, ndim: int | None) -> Any:
    return _tuple(_draws.distributions(f, ndim), st.integers(1, 8).map(float))


def _factors(f: Subject, ndim: int | None) -> Any:
    given = _draws.arguments(f, ndim)
    return _draws.plain(
        st.tuples(given, st.sampled_from([2.0, -1.0, 0.0, 8.0])).map(
            lambda drawn: (*drawn[0], drawn[1])
        )
    )


for _kind, (_text, _claim) in FORMULAS.items():
    _law("formula", _kind, "textbook", _claim, f"The values are {_text}.", formula, _arguments)
_law(
    "simplex",
    "softmax",
    "textbook",
    "definition#thm-simplex",
    "Entries are from 0 to 1, and every row sums to 1.",
    simplex,
    _scores,
)
_law(
    "shift",
    ("softmax", "log_softmax"),
    "textbook",
    "definition#thm-shift-invariance",
    "Adding one number to all scores changes nothing.",
    shift,
    _shifts,
)
_law(
    "shift",
    "logsumexp",
    "textbook",
    "smooth_max#prop-lse-shift",
    "Adding c to all scores adds c to the result.",
    shift,
    _shifts,
)
_law(
    "order",
    ("softmax", "log_softmax"),
    "textbook",
    "definition#prop-order",
    "A larger score has the larger result; ties stay ties.",
    order,
    _scores,
)
_law(
    "permutation",
    ("softmax", "log_softmax"),
    "textbook",
    "definition#prop-permutation",
    "Results follow their scores into any other order.",
    permutation,
    _permutations,
)
_law(
    "permutation",
    "logsumexp",
    "textbook",
    "definition#prop-permutation",
    "The order of the scores does not matter.",
    permutation,
    _permutations,
)
_law(
    "two classes",
    "softmax",
    "textbook",
    "definition#prop-two-classes",
    "Two classes give the sigmoid of the difference.",
    two_classes,
    _pairs_of_classes,
)
_law(
    "log-odds",
    ("softmax", "log_softmax"),
    "textbook",
    "definition#prop-log-odds",
    "log p_i − log p_j = x_i − x_j.",
    log_odds,
    _scores,
)
_law(
    "log simplex",
    "log_softmax",
    "textbook",
    "definition#thm-simplex",
    "Results are at most 0, and their exponentials sum to 1.",
    log_simplex,
    _scores,
)
_law(
    "bounds",
    "logsumexp",
    "textbook",
    "smooth_max#thm-lse-bounds",
    "max ≤ logsumexp ≤ max + log n.",
    bounds,
    _scores,
)
_law(
    "convex",
    "logsumexp",
    "textbook",
    "smooth_max#thm-lse-convex",
    "Half-way between two points it is at most the mean.",
    convex,
    _segments,
)
_law(
    "sign",
    "cross_entropy",
    "textbook",
    "cross_entropy#prop-gibbs",
    "A loss is never negative.",
    not_negative,
    _arguments,
)
_law(
    "shift",
    LOSSES,
    "textbook",
    "cross_entropy#prop-loss-is-lse",
    "Adding one number to all scores changes nothing.",
    loss_shift,
    _shifts,
)
_law(
    "mean",
    LOSSES,
    "textbook",
    "cross_entropy#prop-mean-gradient",
    "It is a mean: rows that occur twice count as once.",
    repeated_rows,
    _arguments,
)
_law(
    "zero sum",
    "cross_entropy_grad",
    "textbook",
    "cross_entropy#prop-zero-sum",
    "Every row of the gradient sums to 0.",
    zero_sum,
    _arguments,
)
_law(
    "signs",
    "cross_entropy_grad",
    "textbook",
    "cross_entropy#thm-p-minus-y",
    "At most 0 at the target, at least 0 elsewhere.",
    signs,
    _arguments,
)
_law(
    "symmetry",
    "softmax_jacobian",
    "textbook",
    "jacobian#prop-jacobian-symmetric",
    "J is symmetric.",
    symmetric,
    _arguments,
)
_law(
    "zero sums",
    "softmax_jacobian",
    "textbook",
    "jacobian#prop-jacobian-symmetric",
    "Every row of J sums to 0.",
    rows_sum_to_zero,
    _arguments,
)
_law(
    "variance",
    ("softmax_jacobian", *PRODUCTS),
    "textbook",
    "jacobian#prop-jacobian-psd",
    "vᵀJv is the variance of v, never negative.",
    variance,
    _forms,
)
_law(
    "trace",
    "softmax_jacobian",
    "textbook",
    "jacobian#prop-jacobian-trace",
    "The trace is 1 − Σ p².",
    trace,
    _arguments,
)
_law(
    "absolute sums",
    "softmax_jacobian",
    "textbook",
    "jacobian#prop-jacobian-entrywise",
    "½ Σ |J_ij| = 1 − Σ p².",
    entrywise,
    _arguments,
)
_law(
    "norm",
    "softmax_jacobian",
    "textbook",
    "jacobian#prop-jacobian-norm",
    "The spectral norm is at most ½.",
    half_norm,
    _arguments,
)
_law(
    "constants",
    PRODUCTS,
    "textbook",
    "jacobian#prop-jacobian-symmetric",
    "A constant direction gives 0.",
    constants_vanish,
    _constants,
)
_law(
    "linear",
    PRODUCTS,
    "textbook",
    "jacobian#prop-jvp",
    "k times the direction gives k times the product.",
    linear,
    _factors,
)
_law(
    "zero sum",
    PRODUCTS,
    "textbook",
    "jacobian#prop-jacobian-symmetric",
    "The entries of the product sum to 0.",
    product_sums_to_zero,
    _arguments,
)


# --- robust

OVERFLOW = "overflow#prop-overflow-shift"


def _large(f: Subject, ndim: int | None) -> Any:
    return _draws.plain(_draws.arguments(f, ndim, largest=2000))


def _single(f: Subject, ndim: int | None) -> Any:
    large = 100 if f.kind in SCORES or f.kind in LOSSES else 8
    return _draws.plain(_draws.arguments(f, ndim, largest=large, dtype="float32"))


def _axes(f: Subject, ndim: int | None) -> Any:
    """Draw every axis of tables and more; only for functions of which that is asked."""
    if f.kind not in SCORES and not f.accepts("axis"):
        return None
    among = [s for s in (*_draws.TABLES[:2], _draws.CUBES[0]) if ndim in (None, len(s))]
    if not among:
        return None
    if f.kind in LOSSES:
        given = (
            _draws.scores(f, ndim, among=among)
            .flatmap(_with_axis)
            .flatmap(
                lambda drawn: st.tuples(
                    st.tuples(st.just(drawn[0]), _draws.targets(drawn[0], drawn[1])),
                    st.just(drawn[1]),
                )
            )
        )
    elif f.kind in SCORES:
        given = (
            _draws.scores(f, ndim, among=among)
            .flatmap(_with_axis)
            .map(lambda drawn: ((drawn[0],), drawn[1]))
        )
    else:
        given = _draws.arguments(f, ndim, among=among).flatmap(
            lambda args: st.integers(-args[0].values.ndim, args[0].values.ndim - 1).map(
                # Probabilities sum to 1 along the last axis: it is brought to where axis says.
                lambda axis: (
                    tuple(Arg(np.moveaxis(a.values, -1, axis), a.dtype) for a in args),
                    axis,
                )
            )
        )
    return given.map(lambda drawn: (drawn[0], {"axis": drawn[1]}))


def _with_axis(x: Arg) -> Any:
    return st.tuples(st.just(x), st.integers(-x.values.ndim, x.values.ndim - 1))


def _batches(f: Subject, ndim: int | None) -> Any:
    among = [s for s in (*_draws.TABLES[:4], *_draws.CUBES) if ndim in (None, len(s))]
    return _draws.plain(_draws.arguments(f, ndim, among=among)) if among else None


def _corners(f: Subject, ndim: int | None) -> Any:
    if ndim not in (None, 1):
        return None
    ps = [[1.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.5, 0.0]]
    args = [(Arg(np.array(p)),) for p in ps]
    if f.kind != "softmax_jacobian":
        args = [(p, Arg(np.arange(1.0, len(p.values) + 1))) for (p,) in args]
    return [(given, {}) for given in args]


def _reductions(f: Subject, ndim: int | None) -> Any:
    if not f.accepts("reduction"):
        return None
    # The gradient for "none" is that of the sum.
    names = st.sampled_from(["sum", "none"])
    return st.tuples(_draws.arguments(f, ndim), names.map(lambda name: {"reduction": name}))


_law(
    "large scores",
    (*SCORES, *LOSSES),
    "robust",
    OVERFLOW,
    "Scores of any size: nothing overflows.",
    formula,
    _large,
)
_law(
    "corners",
    ("softmax_jacobian", *PRODUCTS),
    "robust",
    "jacobian#prop-jacobian-corner",
    "Probabilities of exactly 0 and 1.",
    formula,
    _corners,
)
_law(
    "float32",
    KINDS,
    "robust",
    OVERFLOW,
    "float32 is kept, with values as exact as it allows.",
    same_dtype,
    _single,
)
_law(
    "axis",
    KINDS,
    "robust",
    "definition#thm-simplex",
    "Any axis, counted from either end.",
    formula,
    _axes,
)
_law(
    "batches",
    (*SCORES, "softmax_jacobian", *PRODUCTS),
    "robust",
    "definition#thm-simplex",
    "Rows of a batch of any shape are apart.",
    formula,
    _batches,
)
_law(
    "reduction",
    LOSSES,
    "robust",
    "cross_entropy#prop-mean-gradient",
    'reduction="sum" and "none" do what they say.',
    formula,
    _reductions,
)
_law(
    "no mutation",
    KINDS,
    "robust",
    "",
    "The arguments are left as they were.",
    unchanged,
    _arguments,
)

# --- production

REFERENCE = "overflow#thm-overflow-softmax"
_HARD = (  # scores made to hurt: NumPy code, the shortest first
    "[18.0, 0.0]",
    "[0.0, -0.1]",
    "[0.0, -3.3, -7.7]",
    "[1.0, 1.0000001, 0.9999999]",
    "np.random.default_rng(0).normal(size=17) * 3",
    "np.random.default_rng(1).uniform(-80, 0, size=100) + 999.9",
    "np.random.default_rng(2).normal(size=30) - np.log(30)",
    "np.random.default_rng(3).uniform(-60, -5, size=50).tolist() + [0.0]",
    "np.random.default_rng(4).normal(size=9) * 1e30",
    "np.resize([0.0, -3.3, -7.7], 20000)",
)


def _case(expression: str, dtype: str, f: Subject) -> Any:
    """Make the arguments of an accuracy law from NumPy code."""
    values = np.asarray(eval(expression, {"np": np}), np.float64)
    short = expression if "np." in expression else ""
    x = _rounded(values, dtype, f, short)
    if f.kind not in LOSSES:
        return (x,), {}
    table = Arg(x.values[None], dtype, expression=f"[{short}]" if short else "")
    return (table, Arg(np.array([int(np.argmax(x.values))]))), {}


def _rounded(values: Any, dtype: str, f: Subject, expression: str = "") -> Arg:
    """Round numbers to a dtype, as the library does."""
    with f.library.context(), np.errstate(over="ignore"):
        kept = f.library.to_numpy(f.library.make(values, dtype))
    return Arg(kept, dtype, expression=expression)


def _hard(f: Subject, ndim: int | None) -> Any:
    if ndim not in (None, 1) and f.kind not in LOSSES:
        return None
    return [_case(e, dtype, f) for e in _HARD for dtype in ("float64", "float32")]


def _sixteen_bits(f: Subject, ndim: int | None) -> Any:
    dtypes = [d for d in ("float16", "bfloat16") if d in f.library.dtypes]
    if ndim not in (None, 1) and f.kind not in LOSSES:
        return None
    if f.kind not in SCORES and f.kind not in LOSSES:
        cases = [
            ((Arg(np.array([0.6875, 0.1875, 0.125, 0.0]), dtype),), {"limit": 1.0})
            for dtype in dtypes
        ]
        if f.kind in PRODUCTS:
            v = np.array([3.0, -5.0, 100.0, 7.0])
            cases = [((*given, Arg(v, given[0].dtype)), extra) for given, extra in cases]
        return cases or None
    hard = (
        "[0.0, 1.0, 2.0]",
        "[18.0, 0.0]",
        "np.random.default_rng(0).normal(size=17) * 3",
        "np.random.default_rng(1).normal(size=3000) * 3",
        "np.zeros(20000)",
    )
    cases = [_case(e, dtype, f) for e in hard for dtype in dtypes]
    return [(args, {"limit": 1.0}) for args, _ in cases] or None


def _tiny(f: Subject, ndim: int | None) -> Any:
    if ndim not in (None, 1) and f.kind not in LOSSES:
        return None
    if f.kind == "cross_entropy":
        return [((Arg(np.array([[90.0, 0.0]], np.float32), "float32"), Arg(np.array([0]))), {})]
    if f.kind == "cross_entropy_grad":
        return [((Arg(np.array([[90.0, 0.0]], np.float32), "float32"), Arg(np.array([0]))), {})]
    return [((Arg(np.array([0.0, -90.0], np.float32), "float32"),), {})]


def _exact_corners(f: Subject, ndim: int | None) -> Any:
    """Give probabilities that sum to 1 exactly, or next to a corner, in floating point."""
    if ndim not in (None, 1):
        return None
    cases = []
    for dtype, small in (("float64", 2.0**-40), ("float32", 2.0**-20)):
        for p in (
            [0.5, 0.25, 0.25],
            [1 - small, small],
            [1.0, small**3],
            [small**3, 1.0, small**4],
        ):
            args = (Arg(np.array(p, dtype), dtype),)
            if f.kind in PRODUCTS:
                v = np.arange(len(p), 0, -1.0)
                args = (*args, Arg(v.astype(dtype), dtype))
            cases.append((args, {}))
    return cases


def _offsets(f: Subject, ndim: int | None) -> Any:
    if ndim not in (None, 1):
        return None
    p, v = Arg(np.array([0.5, 0.25, 0.25])), Arg(np.array([1.0, 0.0, 3.0]))
    single = (Arg(p.values, "float32"), Arg(v.values, "float32"))
    return [((p, v, 2.0**40), {}), ((*single, 2.0**18), {})]


def _integers(f: Subject, ndim: int | None) -> Any:
    rows = {
        "int8": [-128, 127, 127],
        "uint8": [0, 255, 254],
        "int64": [-3, 0, 2],
        "bool": [False, True, True],
    }
    cases: list[Any] = []
    for dtype, row in rows.items():
        x = Arg(np.array([row, row[::-1]] if ndim == 2 or f.kind in LOSSES else row, dtype), dtype)
        cases.append(((x, Arg(np.array([1, 0]))) if f.kind in LOSSES else (x,), {}))
    return cases if ndim in (None, 1, 2) else None


_NAN, _INF = math.nan, math.inf
# scores, softmax, log_softmax, logsumexp: the contract of the book; each row stands beside [0, 0]
_EDGES: dict[str, list[tuple[list[float], list[float], list[float], float]]] = {
    "forbidden": [
        ([-_INF, 0.0], [0.0, 1.0], [-_INF, 0.0], 0.0),
        ([3.0, -_INF], [1.0, 0.0], [0.0, -_INF], 3.0),
    ],
    "nothing left": [([-_INF, -_INF], [_NAN] * 2, [_NAN] * 2, -_INF)],
    "NaN": [
        ([_NAN, 0.0], [_NAN] * 2, [_NAN] * 2, _NAN),
        ([-_INF, _NAN], [_NAN] * 2, [_NAN] * 2, _NAN),
    ],
    "+infinity": [
        ([_INF, 0.0], [_NAN] * 2, [_NAN] * 2, _INF),
        ([_INF, -_INF], [_NAN] * 2, [_NAN] * 2, _INF),
    ],
}


def _edge(name: str) -> Callable[[Subject, int | None], Any]:
    def cases(f: Subject, ndim: int | None) -> Any:
        place = SCORES.index(f.kind) + 1
        calm = ([0.5, 0.5], [-math.log(2)] * 2, math.log(2))[place - 1]
        found: list[Any] = []
        for edge in _EDGES[name]:
            if ndim in (None, 1):
                found.append(((Arg(np.array(edge[0])),), {"expected": edge[place]}))
            if ndim in (None, 2):
                found.append(
                    ((Arg(np.array([edge[0], [0.0, 0.0]])),), {"expected": [edge[place], calm]})
                )
        return found or None

    return cases


def _loss_edges(f: Subject, ndim: int | None) -> Any:
    """Give rows with a forbidden class, as target or not, and a row of NaN."""

    def case(x: Any, t: int, loss: float, grad: Any) -> Any:
        expected = loss if f.kind == "cross_entropy" else [grad]
        return (Arg(np.array([x])), Arg(np.array([t]))), {"expected": expected}

    one = 1 / (1 + math.e)
    return [
        case([0.0, -_INF, 1.0], 0, math.log1p(math.e), [one - 1, 0.0, 1 - one]),
        case([0.0, -_INF], 1, _INF, [1.0, -1.0]),
        case([0.0, _NAN], 0, _NAN, [_NAN] * 2),
    ]


def _products_edges(f: Subject, ndim: int | None) -> Any:
    if ndim not in (None, 2):
        return None
    p = Arg(np.array([[_NAN, _NAN], [0.5, 0.5]]))
    half = [[0.25, -0.25], [-0.25, 0.25]]
    if f.kind == "softmax_jacobian":
        return [((p,), {"expected": [[[_NAN] * 2] * 2, half]})]
    v = Arg(np.array([[1.0, 2.0], [1.0, 0.0]]))
    return [((p, v), {"expected": [[_NAN] * 2, half[0]]})]


def _empty(f: Subject, ndim: int | None) -> Any:
    if ndim not in (None, 2):
        return None
    found: list[Any] = []
    for shape in ((2, 0), (0, 3)):
        x = Arg(np.empty(shape))
        if f.kind in LOSSES:
            if shape[0] == 0 and f.kind == "cross_entropy_grad":
                found.append(((x, Arg(np.empty(0, np.int64))), {"expected": x.values}))
            continue
        expected = {
            "logsumexp": np.full(shape[:1], -_INF),
            "softmax_jacobian": np.empty((*shape, shape[-1])),
        }.get(f.kind, x.values)
        args = (x, Arg(np.empty(shape))) if f.kind in PRODUCTS else (x,)
        found.append((args, {"expected": expected}))
    return found or None


def _layouts(f: Subject, ndim: int | None) -> Any:
    if not f.library.layouts or ndim not in (None, 2):
        return None
    x = np.array([[0.25, -1.0, 2.0], [1.5, 0.0, -0.75]])
    p = np.array([[0.125, 0.25, 0.625], [0.5, 0.4375, 0.0625]])
    found: list[Any] = []
    for layout in f.library.layouts:
        first = Arg(x if f.kind in (*SCORES, *LOSSES) else p, layout=layout)
        if layout == "broadcast":
            first = Arg(np.broadcast_to(first.values[:1], first.values.shape), layout=layout)
        second = [Arg(np.array([2, 0]))] if f.kind in LOSSES else []
        second += (
            [Arg(x, layout="plain" if layout == "broadcast" else layout)]
            if f.kind in PRODUCTS
            else []
        )
        found.append(((first, *second), {}))
    return found


def _masks(f: Subject, ndim: int | None) -> Any:
    """Give entries that ``where`` excludes, holding anything; for functions that have it."""
    if not f.accepts("where") or ndim not in (None, 1):
        return None
    found: list[Any] = []
    for hidden in (5.0, _NAN, _INF):
        for mask, edge in (([True, False], [1.0, 0.0]), ([False, False], [0.0, 0.0])):
            kept = mask[0]
            expected = {
                "softmax": edge,
                "log_softmax": [0.0 if kept else -_INF, -_INF],
                "logsumexp": 2.0 if kept else -_INF,
            }[f.kind]
            x = Arg(np.array([2.0 if kept else hidden, hidden]))
            where = Arg(np.array(mask), "bool")
            found.append(((x,), {"where": where, "expected": expected}))
    return found


def _options(f: Subject, ndim: int | None) -> Any:
    """Give weights, ignored targets and smoothing, as far as the function takes them."""
    x = Arg(np.array([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0], [-1.0, 0.5, 4.0]]))
    options: list[dict[str, Any]] = []
    if f.accepts("label_smoothing"):
        options += [{"label_smoothing": 0.25}]
    if f.accepts("weight"):
        options += [{"weight": Arg(np.array([0.5, 1.0, 2.0]))}]
    if f.accepts("ignore_index"):
        options += [{"ignore_index": -100}]
    if {"weight", "label_smoothing"} <= {k for o in options for k in o}:
        options += [{"weight": Arg(np.array([0.5, 1.0, 2.0])), "label_smoothing": 0.25}]
    cases = [
        ((x, Arg(np.array([0, -100, 1] if "ignore_index" in o else [0, 2, 1]))), o) for o in options
    ]
    return cases or None


def _bad_targets(f: Subject, ndim: int | None) -> Any:
    x = Arg(np.array([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0]]))
    return [((x, Arg(np.array([0, wrong]))), {}) for wrong in (3, -1)]


def _masked_arrays(f: Subject, ndim: int | None) -> Any:
    return (
        [((Arg(np.array([0.0, 1.0, 2.0]), layout="masked"),), {})]
        if (f.library.name == "numpy" and ndim in (None, 1))
        else None
    )


_law(
    "accuracy",
    (*SCORES, *LOSSES),
    "production",
    REFERENCE,
    "At most 8 ULP off in float32 and float64, whatever the scores.",
    accurate,
    _hard,
)
_law(
    "accuracy",
    ("softmax_jacobian",),
    "production",
    "jacobian#prop-jacobian-corner",
    "At most 8 ULP off in every entry, next to a corner too.",
    accurate,
    _exact_corners,
)
_law(
    "accuracy",
    PRODUCTS,
    "production",
    "jacobian#prop-jacobian-corner",
    "At most 8 ULP off, next to a corner too.",
    accurate,
    _exact_corners,
)
_law(
    "offset",
    PRODUCTS,
    "production",
    "jacobian#prop-jacobian-symmetric",
    "A large constant in the direction costs no digits.",
    keeps_digits_beside_a_constant,
    _offsets,
)
_law(
    "no matrix",
    PRODUCTS,
    "production",
    "jacobian#prop-jvp",
    "Memory for vectors only.",
    without_a_matrix,
    lambda f, ndim: [((2000,), {})] if f.library.name == "numpy" and ndim in (None, 1) else None,
)
_law(
    "16 bits",
    KINDS,
    "production",
    "overflow#prop-overflow-stall",
    "float16 and bfloat16 are kept; at most 1 ULP off, in long sums too.",
    accurate,
    _sixteen_bits,
)
_law(
    "subnormal",
    ("softmax", "log_softmax", "cross_entropy", "cross_entropy_grad"),
    "production",
    OVERFLOW,
    "Results below the smallest normal number are kept.",
    subnormal,
    _tiny,
)
_law(
    "integers",
    (*SCORES, *LOSSES),
    "production",
    OVERFLOW,
    "Integers are promoted before anything is subtracted, or refused.",
    promoted,
    _integers,
)
_law(
    "forbidden",
    SCORES,
    "production",
    "definition#thm-simplex",
    "A score of −∞ is a class that cannot be.",
    contract,
    _edge("forbidden"),
)
_law(
    "nothing left",
    SCORES,
    "production",
    "definition#thm-simplex",
    "All scores −∞: NaN, and −∞ for logsumexp; other rows untouched.",
    contract,
    _edge("nothing left"),
)
_law(
    "NaN", SCORES, "production", "", "NaN makes its row NaN, and no other.", contract, _edge("NaN")
)
_law(
    "+infinity",
    SCORES,
    "production",
    "",
    "+∞ makes its row NaN, and +∞ for logsumexp.",
    contract,
    _edge("+infinity"),
)
_law(
    "edges",
    LOSSES,
    "production",
    "cross_entropy#prop-loss-is-lse",
    "Forbidden classes, targets of probability 0, NaN.",
    contract,
    _loss_edges,
)
_law(
    "NaN",
    ("softmax_jacobian", *PRODUCTS),
    "production",
    "",
    "NaN stays in its slice.",
    contract,
    _products_edges,
)
_law(
    "empty",
    KINDS,
    "production",
    "",
    "No scores, or no rows: empty results, and −∞ for logsumexp.",
    contract,
    _empty,
)
_law(
    "layout",
    KINDS,
    "production",
    "",
    "Transposed, stepped, reversed and broadcast arrays are as good as any.",
    formula,
    _layouts,
)
_law(
    "where",
    SCORES,
    "production",
    "",
    "What where excludes counts as absent, whatever it holds.",
    contract,
    _masks,
)
_law(
    "options",
    LOSSES,
    "production",
    "cross_entropy#prop-weighted-gradient",
    "weight, ignore_index and label_smoothing, as PyTorch defines them.",
    formula,
    _options,
)
_law(
    "targets",
    LOSSES,
    "production",
    "",
    "A class that does not exist is refused.",
    refused,
    _bad_targets,
)
_law(
    "axis refused",
    SCORES,
    "production",
    "",
    "An axis that does not exist is refused.",
    refused,
    lambda f, ndim: [((Arg(np.array([0.0, 1.0])),), {"axis": 3})] if ndim in (None, 1) else None,
)
_law(
    "masked arrays",
    SCORES,
    "production",
    "",
    "A masked array is refused, or its mask is kept.",
    honors_mask,
    _masked_arrays,
)
