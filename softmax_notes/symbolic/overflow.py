"""Proofs for the chapter ``overflow``: each function returns a residual, 0 if proved."""

from __future__ import annotations

import sympy as sp

from softmax_notes.symbolic import lumped, reduced, scores, softmax
from softmax_notes.symbolic._arguments import symbols

__all__ = [
    "chain_residual",
    "convexity_residual",
    "entropy_residual",
    "log1p_residual",
    "rounding_residual",
    "shift_residual",
    "slope_residual",
]


def shift_residual(n: int | None = None) -> sp.Expr | sp.Matrix:
    """Softmax as written minus softmax with every exponential multiplied by e^(−c).

    Claim ``prop-overflow-shift``, for a concrete n or for any n.

    Examples
    --------
    >>> from softmax_notes.symbolic import overflow
    >>> overflow.shift_residual(2).T, overflow.shift_residual()
    (Matrix([[0, 0]]), 0)
    """
    factor = sp.Symbol("C", positive=True)
    if n is None:
        s = lumped(1)
        return reduced(s.p[0] - factor * s.weights[0] / (factor * s.weights[0] + factor * s.rest))
    x = scores(n)
    weights = x.applyfunc(sp.exp) * factor
    return reduced(softmax(x) - weights / sum(weights), x)


def entropy_residual(n: int) -> sp.Expr:
    """Σ p_k (m − x_k) minus (m − logsumexp + H), with H the entropy −Σ p_k log p_k.

    Claim ``lem-overflow-gap``: m is at most logsumexp and H at most log n.

    Examples
    --------
    >>> from softmax_notes.symbolic import overflow
    >>> overflow.entropy_residual(3)
    0
    """
    weights = symbols(n, "w", positive=True)
    total, m = sum(weights), sp.Symbol("m", real=True)
    p = [w / total for w in weights]
    gap = sum(a * (m - sp.log(w)) for a, w in zip(p, weights, strict=True))
    entropy = -sum(a * (sp.log(w) - sp.log(total)) for a, w in zip(p, weights, strict=True))
    return sp.cancel(sp.together(gap - (m - sp.log(total) + entropy)))


def slope_residual(n: int) -> sp.Expr:
    """d/dt logsumexp(t d) minus the mean of d under softmax(t d).

    Claim ``lem-overflow-gap``: the slope in t is a mean of differences.

    Examples
    --------
    >>> from softmax_notes.symbolic import overflow
    >>> overflow.slope_residual(3)
    0
    """
    d, t = scores(n, "d"), sp.Symbol("t", real=True)
    mean = sum(p * a for p, a in zip(softmax(t * d), d, strict=True))
    return sp.simplify(sp.diff(sp.log(sum((t * d).applyfunc(sp.exp))), t) - mean)


def convexity_residual(n: int) -> sp.Expr:
    """d²/dt² logsumexp(t d) minus the variance of d under softmax(t d).

    Claim ``lem-overflow-gap``: a variance is not negative, so the slope grows with t.

    Examples
    --------
    >>> from softmax_notes.symbolic import overflow
    >>> overflow.convexity_residual(2)
    0
    """
    d, t = scores(n, "d"), sp.Symbol("t", real=True)
    p = softmax(t * d)
    mean = sum(a * b for a, b in zip(p, d, strict=True))
    variance = sum(a * (b - mean) ** 2 for a, b in zip(p, d, strict=True))
    return sp.simplify(sp.diff(sp.log(sum((t * d).applyfunc(sp.exp))), t, 2) - variance)


def rounding_residual(n: int) -> sp.Matrix:
    """First-order effect of every rounding on log p₁, minus what the proof says it is.

    Claims ``thm-overflow-softmax`` and ``thm-overflow-logsumexp``: the factors are d (1 or 0,
    minus p) for a subtraction, the same without d for an exponential, minus a share of the sum,
    at most 1, for an addition, and 1 for the division.

    Examples
    --------
    >>> from softmax_notes.symbolic import overflow
    >>> overflow.rounding_residual(2).is_zero_matrix
    True
    """
    d = scores(n, "d")  # x - m
    subtract, function, add = (symbols(n, name) for name in "sfa")
    divide = sp.Symbol("g")
    terms = [sp.exp(d[i] * (1 + subtract[i])) * (1 + function[i]) for i in range(n)]
    total = terms[0]
    for i in range(1, n):
        total = (total + terms[i]) * (1 + add[i])
    log_p = sp.log(terms[0]) - sp.log(total) + sp.log(1 + divide)
    exact = dict.fromkeys((*subtract, *function, *add, divide), 0)
    p = softmax(d)
    claimed = {divide: sp.Integer(1), add[0]: sp.Integer(0)}
    for i in range(n):
        own = int(i == 0) - p[i]
        claimed |= {subtract[i]: d[i] * own, function[i]: own}
        if i:
            claimed[add[i]] = -sum(p[: i + 1])
    rows = [sp.diff(log_p, delta).subs(exact) - factor for delta, factor in claimed.items()]
    return sp.Matrix([rows]).applyfunc(sp.simplify)


def log1p_residual() -> sp.Matrix:
    """Differentiate (1 + q) log(1 + q) − q, minus log(1 + q); and give its value at 0.

    Claim ``prop-overflow-log1p``: it is 0 at 0 and does not fall, so log(1 + q) ≥ q / (1 + q).

    Examples
    --------
    >>> from softmax_notes.symbolic import overflow
    >>> overflow.log1p_residual()
    Matrix([[0, 0]])
    """
    q = sp.Symbol("q", positive=True)
    difference = (1 + q) * sp.log(1 + q) - q
    return sp.Matrix([[sp.simplify(sp.diff(difference, q) - sp.log(1 + q)), difference.subs(q, 0)]])


def chain_residual(n: int | None = None) -> sp.Matrix:
    """Jacobian times −y/p, minus ((Σ y) p − y), for a concrete n or for any n.

    Claim ``prop-overflow-chain``. For any n one named class has target y₁; all others are one
    class with the target Y, which loses nothing: their entries have one form.

    Examples
    --------
    >>> from softmax_notes.symbolic import overflow
    >>> overflow.chain_residual(2).T, overflow.chain_residual()
    (Matrix([[0, 0]]), Matrix([[0]]))
    """
    if n is None:
        s, (y, other) = lumped(1), sp.symbols("y_1 Y", real=True)
        p = s.p[0]
        # Row 1 of the Jacobian: p (1 - p) at class 1, -p p_k at the others, whose p_k cancels.
        return sp.Matrix([reduced(p * (1 - p) * (-y / p) + p * other - ((y + other) * p - y))])
    x, y = scores(n), scores(n, "y")
    p = softmax(x)
    jacobian = sp.diag(*p) - p * p.T
    chained = jacobian * sp.Matrix([-a / b for a, b in zip(y, p, strict=True)])
    return reduced(chained - (sum(y) * p - y), x)
