"""Which law is asked of which kind of function, and from which level on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from softmax_notes.check import _laws, _trials
from softmax_notes.check._subject import KINDS, LEVELS, LOSSES, PRODUCTS, SCORES, Subject


class Law(NamedTuple):
    """A law as a report lists it."""

    name: str
    kinds: tuple[str, ...]
    level: str
    claims: tuple[str, ...]  # chapter#label
    statement: str
    judge: Callable[..., None]
    cases: Callable[[Subject, int | None], Any]  # a strategy, or a list; None: does not apply


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
    name: str,
    kinds: Any,
    level: str,
    claims: str,
    statement: str,
    judge: Callable[..., None],
    cases: Any,
) -> None:
    found = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    LAWS.append(Law(name, found, level, tuple(claims.split()), statement, judge, cases))


def laws_of(kind: str, level: str) -> list[Law]:
    """List what is asked of a kind at a level, the simplest first."""
    asked = LEVELS[: LEVELS.index(level) + 1]
    return [law for law in LAWS if kind in law.kinds and law.level in asked]


for _kind, (_text, _claim) in FORMULAS.items():
    _law(
        "formula",
        _kind,
        "textbook",
        _claim,
        f"The values are {_text}.",
        _laws.formula,
        _trials.any_arguments,
    )

_law(
    "simplex",
    "softmax",
    "textbook",
    "definition#thm-simplex",
    "Entries are from 0 to 1, and every row sums to 1.",
    _laws.simplex,
    _trials.any_scores,
)

_law(
    "shift",
    ("softmax", "log_softmax"),
    "textbook",
    "definition#thm-shift-invariance",
    "Adding one number to all scores changes nothing.",
    _laws.shift,
    _trials.shifts,
)

_law(
    "shift",
    "logsumexp",
    "textbook",
    "smooth_max#prop-lse-shift",
    "Adding c to all scores adds c to the result.",
    _laws.shift,
    _trials.shifts,
)

_law(
    "order",
    ("softmax", "log_softmax"),
    "textbook",
    "definition#prop-order",
    "A larger score has the larger result; ties stay ties.",
    _laws.order,
    _trials.any_scores,
)

_law(
    "permutation",
    ("softmax", "log_softmax"),
    "textbook",
    "definition#prop-permutation",
    "Results follow their scores into any other order.",
    _laws.permutation,
    _trials.permutations,
)

_law(
    "permutation",
    "logsumexp",
    "textbook",
    "definition#prop-permutation",
    "The order of the scores does not matter.",
    _laws.permutation,
    _trials.permutations,
)

_law(
    "two classes",
    "softmax",
    "textbook",
    "definition#prop-two-classes",
    "Two classes give the sigmoid of the difference.",
    _laws.two_classes,
    _trials.pairs_of_classes,
)

_law(
    "log-odds",
    ("softmax", "log_softmax"),
    "textbook",
    "definition#prop-log-odds",
    "log p_i − log p_j = x_i − x_j.",
    _laws.log_odds,
    _trials.any_scores,
)

_law(
    "log simplex",
    "log_softmax",
    "textbook",
    "definition#thm-simplex",
    "Results are at most 0, and their exponentials sum to 1.",
    _laws.log_simplex,
    _trials.any_scores,
)

_law(
    "bounds",
    "logsumexp",
    "textbook",
    "smooth_max#thm-lse-bounds",
    "max ≤ logsumexp ≤ max + log n.",
    _laws.bounds,
    _trials.any_scores,
)

_law(
    "convex",
    "logsumexp",
    "textbook",
    "smooth_max#thm-lse-convex",
    "Half-way between two points it is at most the mean.",
    _laws.convex,
    _trials.segments,
)

_law(
    "sign",
    "cross_entropy",
    "textbook",
    "cross_entropy#prop-gibbs",
    "A loss is never negative.",
    _laws.not_negative,
    _trials.any_arguments,
)

_law(
    "shift",
    LOSSES,
    "textbook",
    "cross_entropy#prop-loss-is-lse",
    "Adding one number to all scores changes nothing.",
    _laws.loss_shift,
    _trials.shifts,
)

_law(
    "mean",
    LOSSES,
    "textbook",
    "cross_entropy#prop-mean-gradient",
    "It is a mean: rows that occur twice count as once.",
    _laws.repeated_rows,
    _trials.any_arguments,
)

_law(
    "zero sum",
    "cross_entropy_grad",
    "textbook",
    "cross_entropy#prop-zero-sum",
    "Every row of the gradient sums to 0.",
    _laws.zero_sum,
    _trials.any_arguments,
)

_law(
    "signs",
    "cross_entropy_grad",
    "textbook",
    "cross_entropy#thm-p-minus-y",
    "At most 0 at the target, at least 0 elsewhere.",
    _laws.signs,
    _trials.any_arguments,
)

_law(
    "symmetry",
    "softmax_jacobian",
    "textbook",
    "jacobian#prop-jacobian-symmetric",
    "J is symmetric.",
    _laws.symmetric,
    _trials.any_arguments,
)

_law(
    "zero sums",
    "softmax_jacobian",
    "textbook",
    "jacobian#prop-jacobian-symmetric",
    "Every row of J sums to 0.",
    _laws.rows_sum_to_zero,
    _trials.any_arguments,
)

_law(
    "variance",
    ("softmax_jacobian", *PRODUCTS),
    "textbook",
    "jacobian#prop-jacobian-psd",
    "vᵀJv is the variance of v, never negative.",
    _laws.variance,
    _trials.directions,
)

_law(
    "trace",
    "softmax_jacobian",
    "textbook",
    "jacobian#prop-jacobian-trace",
    "The trace is 1 − Σ p².",
    _laws.trace,
    _trials.any_arguments,
)

_law(
    "absolute sums",
    "softmax_jacobian",
    "textbook",
    "jacobian#prop-jacobian-entrywise",
    "½ Σ |J_ij| = 1 − Σ p².",
    _laws.entrywise,
    _trials.any_arguments,
)

_law(
    "norm",
    "softmax_jacobian",
    "textbook",
    "jacobian#prop-jacobian-norm",
    "The spectral norm is at most ½.",
    _laws.half_norm,
    _trials.any_arguments,
)

_law(
    "constants",
    PRODUCTS,
    "textbook",
    "jacobian#prop-jacobian-symmetric",
    "A constant direction gives 0.",
    _laws.constants_vanish,
    _trials.constants,
)

_law(
    "linear",
    PRODUCTS,
    "textbook",
    "jacobian#prop-jvp",
    "k times the direction gives k times the product.",
    _laws.linear,
    _trials.factors,
)

_law(
    "zero sum",
    PRODUCTS,
    "textbook",
    "jacobian#prop-jacobian-symmetric",
    "The entries of the product sum to 0.",
    _laws.product_sums_to_zero,
    _trials.any_arguments,
)

OVERFLOW = "overflow#prop-overflow-shift"

_law(
    "large scores",
    (*SCORES, *LOSSES),
    "robust",
    OVERFLOW,
    "Scores of any size: nothing overflows.",
    _laws.formula,
    _trials.large,
)

_law(
    "corners",
    ("softmax_jacobian", *PRODUCTS),
    "robust",
    "jacobian#prop-jacobian-corner",
    "Probabilities of exactly 0 and 1.",
    _laws.formula,
    _trials.corners,
)

_law(
    "float32",
    KINDS,
    "robust",
    OVERFLOW,
    "float32 is kept, with values as exact as it allows.",
    _laws.same_dtype,
    _trials.single_precision,
)

_law(
    "axis",
    KINDS,
    "robust",
    "definition#thm-simplex",
    "Any axis, counted from either end.",
    _laws.formula,
    _trials.every_axis,
)

_law(
    "batches",
    (*SCORES, "softmax_jacobian", *PRODUCTS),
    "robust",
    "definition#thm-simplex",
    "Rows of a batch of any shape are apart.",
    _laws.formula,
    _trials.batches,
)

_law(
    "reduction",
    LOSSES,
    "robust",
    "cross_entropy#prop-mean-gradient",
    'reduction="sum" and "none" do what they say.',
    _laws.formula,
    _trials.reductions,
)

_law(
    "no mutation",
    KINDS,
    "robust",
    "",
    "The arguments are left as they were.",
    _laws.unchanged,
    _trials.any_arguments,
)
_law(
    "accuracy",
    (*SCORES, *LOSSES),
    "production",
    "overflow#thm-overflow-softmax",
    "At most 8 ULP off in float32 and float64, whatever the scores.",
    _laws.accurate,
    _trials.hard,
)

_law(
    "accuracy",
    ("softmax_jacobian", *PRODUCTS),
    "production",
    "jacobian#prop-jacobian-corner",
    "At most 8 ULP off, next to a corner too.",
    _laws.accurate,
    _trials.hard_corners,
)

_law(
    "offset",
    PRODUCTS,
    "production",
    "jacobian#prop-jacobian-symmetric",
    "A large constant in the direction costs no digits.",
    _laws.keeps_digits_beside_a_constant,
    _trials.offsets,
)

_law(
    "no matrix",
    PRODUCTS,
    "production",
    "jacobian#prop-jvp",
    "Memory for vectors only.",
    _laws.without_a_matrix,
    _trials.many_classes,
)

_law(
    "16 bits",
    KINDS,
    "production",
    "overflow#prop-overflow-stall",
    "float16 and bfloat16 are kept; at most 1 ULP off, in long sums too.",
    _laws.accurate,
    _trials.sixteen_bits,
)

_law(
    "subnormal",
    ("softmax", "log_softmax", "cross_entropy", "cross_entropy_grad"),
    "production",
    OVERFLOW,
    "Results below the smallest normal number are kept.",
    _laws.subnormal,
    _trials.tiny,
)

_law(
    "integers",
    (*SCORES, *LOSSES),
    "production",
    OVERFLOW,
    "Integers are promoted before anything is subtracted, or refused.",
    _laws.promoted,
    _trials.integers,
)

_law(
    "forbidden",
    SCORES,
    "production",
    "definition#thm-simplex",
    "A score of −∞ is a class that cannot be.",
    _laws.contract,
    _trials.edge("forbidden"),
)

_law(
    "nothing left",
    SCORES,
    "production",
    "definition#thm-simplex",
    "All scores −∞: NaN, and −∞ for logsumexp; other rows untouched.",
    _laws.contract,
    _trials.edge("nothing left"),
)

_law(
    "NaN",
    SCORES,
    "production",
    "",
    "NaN makes its row NaN, and no other.",
    _laws.contract,
    _trials.edge("NaN"),
)

_law(
    "+infinity",
    SCORES,
    "production",
    "",
    "+∞ makes its row NaN, and +∞ for logsumexp.",
    _laws.contract,
    _trials.edge("+infinity"),
)

_law(
    "edges",
    LOSSES,
    "production",
    "cross_entropy#prop-loss-is-lse",
    "Forbidden classes, targets of probability 0, NaN.",
    _laws.contract,
    _trials.loss_edges,
)

_law(
    "NaN",
    ("softmax_jacobian", *PRODUCTS),
    "production",
    "",
    "NaN stays in its slice.",
    _laws.contract,
    _trials.products_edges,
)

_law(
    "empty",
    KINDS,
    "production",
    "",
    "No scores, or no rows: empty results, and −∞ for logsumexp.",
    _laws.contract,
    _trials.nothing,
)

_law(
    "layout",
    KINDS,
    "production",
    "",
    "Transposed, stepped, reversed and broadcast arrays are as good as any.",
    _laws.formula,
    _trials.layouts,
)

_law(
    "where",
    SCORES,
    "production",
    "",
    "What where excludes counts as absent, whatever it holds.",
    _laws.contract,
    _trials.masked_entries,
)

_law(
    "options",
    LOSSES,
    "production",
    "cross_entropy#prop-weighted-gradient",
    "weight, ignore_index and label_smoothing, as PyTorch defines them.",
    _laws.formula,
    _trials.loss_options,
)

_law(
    "targets",
    LOSSES,
    "production",
    "",
    "A class that does not exist is refused, or gives NaN.",
    _laws.refused,
    _trials.bad_targets,
)

_law(
    "axis refused",
    SCORES,
    "production",
    "",
    "An axis that does not exist is refused.",
    _laws.refused,
    _trials.missing_axis,
)

_law(
    "masked arrays",
    SCORES,
    "production",
    "",
    "A masked array is refused, or its mask is kept.",
    _laws.honors_mask,
    _trials.masked_arrays,
)
