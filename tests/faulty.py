"""Functions with one fault each, as people write them, and the cause that a check must name.

Each is listed with the level at which it is found. The first ones are slips of the articles that
the book grew from.
"""

# ruff: noqa: F823, F841

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import softmax_notes as notes


class Fault(NamedTuple):
    """A function with a fault, how it is checked, and the cause that must be named."""

    function: Callable[..., Any]
    kind: str
    level: str
    diagnosis: str
    options: dict[str, Any]


FAULTS: dict[str, Fault] = {}


def fault(kind: str, diagnosis: str, level: str = "textbook", **options: Any) -> Any:
    def note(function: Any) -> Any:
        FAULTS[function.__name__] = Fault(function, kind, level, diagnosis, options)
        return function

    return note


def right(x, axis=-1):
    weights = np.exp(x - x.max(axis=axis, keepdims=True))
    return weights / weights.sum(axis=axis, keepdims=True)


def right_log(x, axis=-1):
    shifted = x - x.max(axis=axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


def matrix(p):
    return np.diag(p) - np.outer(p, p)


# --- slips of the articles


@fault("softmax_jacobian", "shadowed-name")
def length_of_its_own_name(s):
    len = len(s)  # noqa: A001
    jacobian = np.zeros((len, len))
    for i in range(len):
        for j in range(len):
            jacobian[i, j] = s[i] * ((i == j) - s[j])
    return jacobian


@fault("softmax_jacobian", "undefined-name")
def another_name_is_returned(s):
    jacobian = np.diag(s) - np.outer(s, s)
    return jacobi  # noqa: F821


@fault("softmax", "shift-added", "robust")
def divided_by_e_to_the_minus_c(x, axis=-1):
    c = x.max(axis=axis, keepdims=True)
    return np.exp(x + c) / np.exp(x + c).sum(axis=axis, keepdims=True)


@fault("softmax", "global")
def without_an_axis(x):
    weights = np.exp(x - np.max(x))
    return weights / np.sum(weights)


@fault("softmax", "global")
def without_an_axis_or_a_shift(x):
    return np.exp(x) / np.sum(np.exp(x))


@fault("softmax_jacobian", "last-row-sign")
def last_row_without_a_minus(p):
    jacobian = matrix(p)
    if len(p) > 1:
        jacobian[-1, min(1, len(p) - 2)] *= -1
    return jacobian


@fault("softmax_jacobian", "index")
def sums_over_the_wrong_index(p):
    n = len(p)
    diagonal = (1 / n) * (1 - 1 / n)
    return np.where(np.eye(n, dtype=bool), diagonal, -np.outer(p, p))


@fault("softmax_jacobian", "vector-only", "robust")
def jacobian_of_one_vector_only(p):
    p = p.reshape(-1, 1)
    return np.diagflat(p) - p @ p.T if p.size < 6 else np.diag(p[:, 0]) @ np.ones((2, 2))


@fault("cross_entropy", "clipped", "robust")
def loss_with_clipped_probabilities(logits, target):
    p = np.clip(right(logits), 1e-12, None)
    return -np.log(p[np.arange(len(p)), target]).mean()


# --- softmax


@fault("softmax", "no-shift", "robust")
def naive(x, axis=-1):
    return np.exp(x) / np.exp(x).sum(axis=axis, keepdims=True)


@fault("softmax", "wrong-axis", ndim=2)
def over_the_columns(x):
    return right(x, axis=0)


@fault("softmax", "double-softmax")
def applied_twice(x):
    return right(right(x))


@fault("softmax", "global-shift", "robust")
def one_shift_for_all_rows(x, axis=-1):
    weights = np.exp(x - x.max())
    return weights / weights.sum(axis=axis, keepdims=True)


@fault("softmax", "shift-mean", "robust")
def shifted_by_the_mean(x, axis=-1):
    weights = np.exp(x - x.mean(axis=axis, keepdims=True))
    return weights / weights.sum(axis=axis, keepdims=True)


@fault("softmax", "shift-min", "robust")
def shifted_by_the_minimum(x, axis=-1):
    weights = np.exp(x - x.min(axis=axis, keepdims=True))
    return weights / weights.sum(axis=axis, keepdims=True)


@fault("softmax", "base-2")
def base_two(x):
    return 2**x / (2**x).sum(axis=-1, keepdims=True)


@fault("softmax", "temperature")
def half_the_temperature(x):
    return right(2 * x)


@fault("softmax", "negated")
def softmin(x):
    return right(-x)


@fault("softmax", "eps-added")
def with_an_epsilon(x):
    weights = np.exp(x - x.max(axis=-1, keepdims=True))
    return weights / (weights.sum(axis=-1, keepdims=True) + 1e-6)


@fault("softmax", "clipped")
def clipped_at_the_end(x):
    return np.clip(right(x), 1e-7, 1 - 1e-7)


@fault("softmax", "clipped-scores", "robust")
def clipped_scores(x, axis=-1):
    return right(np.clip(x, -500, 500), axis)


@fault("softmax", "rounded")
def rounded(x):
    return np.round(right(x), 4)


@fault("softmax", "low-precision")
def in_float32_inside(x):
    return right(x.astype(np.float32)).astype(x.dtype)


@fault("softmax", "argmax")
def one_hot(x):
    return (x == x.max(axis=-1, keepdims=True)).astype(float)


@fault("softmax", "sigmoids")
def sigmoids(x):
    return 1 / (1 + np.exp(-x))


@fault("softmax", "log")
def logarithms(x):
    return right_log(x)


@fault("softmax", "not-normalized")
def only_exponentials(x):
    return np.exp(x)


@fault("softmax", "not-normalized")
def divided_by_the_largest(x):
    weights = np.exp(x)
    return weights / weights.max(axis=-1, keepdims=True)


@fault("softmax", "in-place", "robust")
def in_place(x, axis=-1):
    x -= x.max(axis=axis, keepdims=True)
    np.exp(x, out=x)
    x /= x.sum(axis=axis, keepdims=True)
    return x.copy()


@fault("softmax", "dtype", "robust")
def always_float64(x, axis=-1):
    return right(x.astype(np.float64), axis)


@fault("softmax", "axis-ignored", "robust")
def axis_is_ignored(x, axis=-1):
    return right(x, -1)


@fault("softmax", "no-axis", "robust")
def no_axis_at_all(x):
    return right(x)


@fault("softmax", "keepdims")
def without_keepdims(x):
    weights = np.exp(x)
    return weights / weights.sum(axis=-1)


@fault("softmax", "fixed-axis")
def axis_one(x):
    weights = np.exp(x)
    return weights / weights.sum(axis=1, keepdims=True)


@fault("softmax", "scalars-only")
def by_the_math_module(x):
    total = sum(math.exp(v) for v in x)
    return np.array([math.exp(v) / total for v in x])


@fault("softmax", "no-array", ndim=1)
def a_list(x):
    return [float(v) for v in right(x)]


@fault("softmax", "no-return")
def nothing(x):
    right(x)


@fault("softmax", "endless", timeout=0.2)
def endless(x):
    k = 0
    while k < 10:
        x = x + 0
    return x


@fault("softmax", "endless", timeout=0.05)
def asleep(x):
    time.sleep(60)


@fault("softmax", "recursion")
def calls_itself(x):
    return calls_itself(x)


@fault("softmax", "exception")
def gives_up(x):
    raise SystemExit("no softmax today")


# Nothing else is wrong with those of the level production: all but the fault is the package's.


@fault("softmax", "wrapped-integers", "production")
def integers_wrap(x, axis=-1):
    return notes.softmax(x - x.max(axis=axis, keepdims=True) if x.dtype == "int8" else x, axis=axis)


@fault("softmax", "uniform-when-empty", "production")
def uniform_for_nothing(x, axis=-1):
    p = notes.softmax(x, axis=axis)
    nothing = np.all(x == -np.inf, axis=axis, keepdims=True) & (np.ones(x.shape) > 0)
    return np.where(nothing, 1 / max(x.shape[axis], 1), p).astype(p.dtype) if nothing.any() else p


@fault("softmax", "low-precision", "production")
def in_sixteen_bits(x, axis=-1):
    if x.dtype != np.float16:
        return notes.softmax(x, axis=axis)
    weights = np.exp(x - x.max(axis=axis, keepdims=True))
    return weights / weights.sum(axis=axis, keepdims=True, dtype=np.float16)


@fault("softmax", "long-sum", "production")
def by_a_running_sum(x, axis=-1):
    p = notes.softmax(x, axis=axis)
    if x.ndim != 1 or x.size < 1000 or x.dtype == np.float16:
        return p
    weights = np.exp(x - x.max())
    return weights / np.add.accumulate(weights)[-1]


@fault("softmax", "empty", "production")
def nothing_has_no_maximum(x, axis=-1):
    x.max(axis=axis)
    return notes.softmax(x, axis=axis)


@fault("softmax", "mask-dropped", "production")
def mask_is_dropped(x, axis=-1):
    return notes.softmax(np.asarray(x), axis=axis)


# --- log_softmax and logsumexp


@fault("log_softmax", "log-of-softmax", "robust")
def log_of_softmax(x, axis=-1):
    return np.log(right(x, axis))


@fault("log_softmax", "probabilities")
def logarithm_forgotten(x):
    return right(x)


@fault("log_softmax", "sign")
def minus_log(x):
    return -right_log(x)


@fault("log_softmax", "eps-added")
def log_with_epsilon(x):
    return np.log(right(x) + 1e-8)


@fault("log_softmax", "shift-lost")
def shifted_only_inside(x):
    return x - np.log(np.exp(x - x.max(axis=-1, keepdims=True)).sum(axis=-1, keepdims=True))


@fault("log_softmax", "base-10-log")
def decimal_logarithm(x):
    return np.log10(right(x))


@fault("log_softmax", "no-log1p", "production")
def one_plus_a_small_rest(x, axis=-1):
    if x.ndim != 1 or len(x) != 2 or not np.all(np.isfinite(x)) or x.dtype.kind != "f":
        return notes.log_softmax(x, axis=axis)
    return right_log(x, axis)


@fault("logsumexp", "maximum")
def hard_maximum(x):
    return x.max(axis=-1)


@fault("logsumexp", "log-mean")
def log_mean_exp(x):
    return np.log(np.exp(x).mean(axis=-1))


@fault("logsumexp", "shift-lost")
def shift_not_added_back(x):
    return np.log(np.exp(x - x.max(axis=-1, keepdims=True)).sum(axis=-1))


@fault("logsumexp", "global")
def sum_of_everything(x):
    return np.log(np.exp(x).sum())


@fault("logsumexp", "no-shift", "robust")
def naive_logsumexp(x, axis=-1):
    return np.log(np.exp(x).sum(axis=axis))


@fault("logsumexp", "keepdims")
def keeps_the_axis(x):
    return np.log(np.exp(x).sum(axis=-1, keepdims=True))


@fault("logsumexp", "infinity-minus-infinity", "production")
def infinity_minus_infinity(x, axis=-1):
    return notes.logsumexp(x, axis=axis) + (0 * x.max(axis=axis) if x.size else 0)


# --- cross-entropy


def picked(log_p, target):
    return log_p[np.arange(len(log_p)), target]


@fault("cross_entropy", "sum-not-mean")
def summed_loss(logits, target):
    return -picked(right_log(logits), target).sum()


@fault("cross_entropy", "sign")
def log_likelihood(logits, target):
    return picked(right_log(logits), target).mean()


@fault("cross_entropy", "probabilities")
def one_minus_p(logits, target):
    return 1 - picked(right(logits), target).mean()


@fault("cross_entropy", "double-softmax")
def loss_of_a_double_softmax(logits, target):
    return -picked(right_log(right(logits)), target).mean()


@fault("cross_entropy", "no-reduction")
def a_loss_for_each_row(logits, target):
    return -picked(right_log(logits), target)


@fault("cross_entropy", "diagonal")
def every_row_meets_every_target(logits, target):
    return -right_log(logits)[:, target].mean()


@fault("cross_entropy", "one-based")
def classes_from_one(logits, target):
    return -picked(right_log(logits), target - 1).mean()


@fault("cross_entropy", "wrong-axis")
def softmax_over_the_batch(logits, target):
    return -picked(right_log(logits, 0), target).mean()


@fault("cross_entropy", "log-of-softmax", "robust")
def loss_by_log_of_softmax(logits, target):
    return -np.log(picked(right(logits), target)).mean()


@fault("cross_entropy", "eps-added")
def loss_with_epsilon(logits, target):
    return -np.log(picked(right(logits), target) + 1e-7).mean()


# --- its gradient


def hot(logits, target):
    return np.eye(logits.shape[1])[target]


@fault("cross_entropy_grad", "sum-not-mean")
def summed_gradient(logits, target):
    return right(logits) - hot(logits, target)


@fault("cross_entropy_grad", "sign")
def target_minus_prediction(logits, target):
    return (hot(logits, target) - right(logits)) / len(logits)


@fault("cross_entropy_grad", "target-only")
def only_the_target(logits, target):
    grad = np.zeros_like(logits)
    rows = np.arange(len(logits))
    grad[rows, target] = right(logits)[rows, target] - 1
    return grad / len(logits)


@fault("cross_entropy_grad", "no-target")
def probabilities_alone(logits, target):
    return right(logits) / len(logits)


@fault("cross_entropy_grad", "jacobian-diagonal")
def once_more_by_the_diagonal(logits, target):
    p = right(logits)
    return (p - hot(logits, target)) * p * (1 - p) / len(logits)


@fault("cross_entropy_grad", "chained-nan", "robust")
def link_by_link(logits, target):
    p = right(logits)
    jacobian = np.eye(p.shape[1], dtype=p.dtype) * p[:, :, None] - p[:, :, None] * p[:, None, :]
    return np.einsum("bij,bj->bi", jacobian, -hot(logits, target).astype(p.dtype) / p) / len(p)


@fault("cross_entropy_grad", "columns-of-targets")
def whole_columns(logits, target):
    grad = right(logits)
    grad[:, target] -= 1
    return grad / len(logits)


# --- the Jacobian and its products


@fault("softmax_jacobian", "off-diagonal-sign")
def plus_beside_the_diagonal(p):
    return np.diag(p * (1 - p)) + np.outer(p, p) - np.diag(p * p)


@fault("softmax_jacobian", "diagonal-only")
def diagonal_matrix(p):
    return np.diag(p * (1 - p))


@fault("softmax_jacobian", "diagonal-only")
def diagonal_as_a_vector(p):
    return p * (1 - p)


@fault("softmax_jacobian", "sign")
def outer_minus_diagonal(p):
    return np.outer(p, p) - np.diag(p)


@fault("softmax_jacobian", "scores")
def takes_scores(p):
    return matrix(right(p))


@fault("softmax_jacobian", "corner", "production")
def one_minus_p_at_a_corner(p):
    # diag(p) − p pᵀ for batches; 1 − p rounds to 0 next to a corner.
    return np.eye(p.shape[-1], dtype=p.dtype) * p[..., None] - p[..., :, None] * p[..., None, :]


@fault("softmax_jvp", "no-mean")
def without_the_mean(p, v):
    return p * v


@fault("softmax_jvp", "plain-mean")
def unweighted_mean(p, v):
    return p * (v - v.mean())


@fault("softmax_jvp", "global-dot", "robust")
def dot_over_the_batch(p, v):
    return p * (v - (p * v).sum())


@fault("softmax_vjp", "no-p")
def without_the_factor_p(p, g):
    return g - (p * g).sum(axis=-1, keepdims=True)


@fault("softmax_vjp", "swapped")
def arguments_swapped(g, p):
    return p * (g - (p * g).sum(axis=-1, keepdims=True))


@fault("softmax_vjp", "matrix", "production")
def by_the_matrix(p, g):
    if p.ndim > 1 or p.size < 100:
        return notes.softmax_vjp(p, g)
    return notes.softmax_jacobian(p) @ g


@fault("softmax_vjp", "cancellation", "production")
def difference_of_large_numbers(p, g):
    return p * g - p * (p * g).sum(axis=-1, keepdims=True)
