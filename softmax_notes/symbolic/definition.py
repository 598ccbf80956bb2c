"""Proofs for the chapter ``definition``: each function returns a residual, 0 if proved."""

from __future__ import annotations

import sympy as sp

from softmax_notes.symbolic import lumped, reduced, scores, softmax

__all__ = [
    "log_odds_residual",
    "log_softmax_residual",
    "order_residual",
    "shift_residual",
    "sigmoid_residual",
    "sum_residual",
]


def sum_residual(n: int | None = None) -> sp.Expr:
    """Sum of softmax minus 1, for a concrete n or, without one, for any n.

    Claim ``thm-simplex``.

    Examples
    --------
    >>> from softmax_notes.symbolic import definition
    >>> definition.sum_residual(3), definition.sum_residual()
    (0, 0)
    """
    if n is None:
        s = lumped(1)
        return reduced(s.p[0] + s.rest / s.total - 1)
    x = scores(n)
    return reduced(sum(softmax(x)) - 1, x)


def shift_residual(n: int | None = None) -> sp.Expr | sp.Matrix:
    """Softmax of x + c minus softmax of x, for a concrete n or for any n.

    Claim ``thm-shift-invariance``. Adding c to each score multiplies each weight by e^c.

    Examples
    --------
    >>> from softmax_notes.symbolic import definition
    >>> definition.shift_residual(2).T, definition.shift_residual()
    (Matrix([[0, 0]]), 0)
    """
    if n is None:
        s, factor = lumped(1), sp.Symbol("C", positive=True)
        scaled = {s.weights[0]: factor * s.weights[0], s.rest: factor * s.rest}
        return reduced(s.p[0].subs(scaled, simultaneous=True) - s.p[0])
    x, c = scores(n), sp.Symbol("c", real=True)
    return reduced(softmax(x + c * sp.ones(n, 1)) - softmax(x), x)


def order_residual() -> sp.Expr:
    """(p₁ − p₂) S − (w₁ − w₂), for any n.

    Claim ``prop-order``: S is positive, so both differences have one sign.

    Examples
    --------
    >>> from softmax_notes.symbolic import definition
    >>> definition.order_residual()
    0
    """
    s = lumped(2)
    return reduced((s.p[0] - s.p[1]) * s.total - (s.weights[0] - s.weights[1]))


def log_odds_residual() -> sp.Expr:
    """p₁ / p₂ minus e^(x₁ − x₂), for any n.

    Claim ``prop-log-odds``.

    Examples
    --------
    >>> from softmax_notes.symbolic import definition
    >>> definition.log_odds_residual()
    0
    """
    s = lumped(2)
    x = scores(2)
    ratio = sp.exp(x[0] - x[1]).subs(dict(zip(x, map(sp.log, s.weights), strict=True)))
    return reduced(s.p[0] / s.p[1] - ratio)


def sigmoid_residual() -> sp.Expr:
    """First of two probabilities minus the logistic sigmoid of x₁ − x₂.

    Claim ``prop-two-classes``.

    Examples
    --------
    >>> from softmax_notes.symbolic import definition
    >>> definition.sigmoid_residual()
    0
    """
    x = scores(2)
    return reduced(softmax(x)[0] - 1 / (1 + sp.exp(-(x[0] - x[1]))), x)


def log_softmax_residual() -> sp.Expr:
    """S minus e^m (1 + r), for any n, with m = x₁ and r the sum of e^(x_k − m) over k ≥ 2.

    Claim ``prop-log-softmax``: the logarithm of both sides is the claim.

    Examples
    --------
    >>> from softmax_notes.symbolic import definition
    >>> definition.log_softmax_residual()
    0
    """
    s = lumped(1)
    largest = s.weights[0]  # e^m
    r = s.rest / largest
    return reduced(s.total - largest * (1 + r))
