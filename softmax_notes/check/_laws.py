"""The laws: what every function of a kind must obey, whoever wrote it.

Each law is one function. It gets the subject f and the arguments to try, and raises `Broken` if
it does not hold there. ``softmax_notes.check`` draws the arguments from `LAWS`; the package's own
tests call the same functions with arguments of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import mpmath
import numpy as np
from hypothesis import strategies as st

from softmax_notes.check import _draws
from softmax_notes.check._subject import Arg, Broken, Subject, close, shown

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
