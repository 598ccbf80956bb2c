"""Proofs for the chapter ``attention``: each function returns residuals, 0 if proved.

For any number of keys: a key or two with weights w = e^s are named, the others are lumped into the
weight R with a mean value of their own.
"""

from __future__ import annotations

import sympy as sp

from softmax_notes.symbolic import lumped, reduced, scores, softmax
from softmax_notes.symbolic._arguments import at_least

__all__ = [
    "center_residual",
    "merge_residual",
    "query_gradient_residual",
    "score_gradient_residual",
    "variance_residual",
]


def score_gradient_residual() -> sp.Expr:
    """Differentiate g·o by the score of key 1; minus p₁ (g·v₁ - g·o), for any number of keys.

    Claim ``thm-attention-gradients``. The symbols are the products g·v.

    Examples
    --------
    >>> from softmax_notes.symbolic import attention
    >>> attention.score_gradient_residual()
    0
    """
    s, (v1, v2, v_rest) = lumped(2), sp.symbols("v_1 v_2 v_R", real=True)
    output = s.p[0] * v1 + s.p[1] * v2 + s.rest / s.total * v_rest
    return reduced(s.derivative(output, 0) - s.p[0] * (v1 - output))


def query_gradient_residual(n: int = 3) -> sp.Matrix:
    """Gradients of g·o by query, keys and values, n keys in the plane, minus the formulas.

    Claim ``thm-attention-gradients``: Σ ds_i k_i c, ds_i q c and p_i g, with c the scale.

    Examples
    --------
    >>> from softmax_notes.symbolic import attention
    >>> attention.query_gradient_residual(2).is_zero_matrix
    True
    """
    n, q, g, c = at_least(1, n), scores(2, "q"), scores(2, "g"), sp.Symbol("c", positive=True)
    keys, values = (sp.Matrix(n, 2, list(scores(2 * n, name))) for name in ("k", "v"))
    dots = scores(n, "s")  # stand for c q·k, so that p stays rational in the weights
    p, gv = softmax(dots), values * g
    output = (p.T * gv)[0]
    score_grad = sp.Matrix([p[i] * (gv[i] - output) for i in range(n)])
    by_score = sp.Matrix([sp.diff(output, s) for s in dots])
    chain = (c * keys * q).jacobian(q).T * by_score - c * keys.T * score_grad
    by_key = [
        by_score[i] * sp.diff((c * keys * q)[i], keys[i, j]) - score_grad[i] * c * q[j]
        for i in range(n)
        for j in range(2)
    ]
    by_value = [sp.diff(output, values[i, j]) - p[i] * g[j] for i in range(n) for j in range(2)]
    return reduced(sp.Matrix([*chain, *by_key, *by_value]), dots)


def center_residual() -> sp.Expr:
    """Mean of the g·v, weighted by p, minus g·o, in two dimensions, for any number of keys.

    Claim ``thm-attention-gradients``: the number that all g·v are measured against needs no
    probability, only the output.

    Examples
    --------
    >>> from softmax_notes.symbolic import attention
    >>> attention.center_residual()
    0
    """
    s, g = lumped(1), scores(2, "g")
    value, others = scores(2, "v"), scores(2, "r")
    share = s.rest / s.total
    output = s.p[0] * value + share * others
    return reduced(s.p[0] * g.dot(value) + share * g.dot(others) - g.dot(output))


def merge_residual() -> sp.Matrix:
    """Total and mean of two blocks after merging, minus those of all keys at once.

    Claim ``thm-tiled-attention``. Each block has a weight e^m that is taken out, a scaled sum
    and a scaled sum of values; the blocks may have any size.

    Examples
    --------
    >>> from softmax_notes.symbolic import attention
    >>> attention.merge_residual()
    Matrix([[0, 0]])
    """
    w1, w2, top1, top2, top = sp.symbols("W_1 W_2 M_1 M_2 M", positive=True)
    u1, u2 = sp.symbols("U_1 U_2", real=True)  # sums of w v over each block
    # States: (M, W / M, U / M). Merging scales by M_1 / M and M_2 / M.
    total = w1 / top1 * (top1 / top) + w2 / top2 * (top2 / top)
    weighted = u1 / top1 * (top1 / top) + u2 / top2 * (top2 / top)
    return reduced(sp.Matrix([[total * top - (w1 + w2), weighted / total - (u1 + u2) / (w1 + w2)]]))


def variance_residual(d: int = 3) -> sp.Matrix:
    """Mean and variance of q·k for d independent entries, minus 0 and d.

    Claim ``thm-dot-product-variance``. Entries have mean 0 and variance 1, so that of the
    expanded square only terms q_i² k_i² have a mean, and that is 1.

    Examples
    --------
    >>> from softmax_notes.symbolic import attention
    >>> attention.variance_residual(4)
    Matrix([[0, 0]])
    """
    q, k = scores(d, "q"), scores(d, "k")
    entries = [*q, *k]
    dot = q.dot(k)

    def expectation(polynomial: sp.Expr) -> sp.Expr:
        """Replace each monomial by the product of its moments: 0 for a first, 1 for a second."""
        terms = sp.Poly(sp.expand(polynomial), *entries).terms()
        return sum(c * sp.prod([{0: 1, 1: 0, 2: 1}[e] for e in powers]) for powers, c in terms)

    return sp.Matrix([[expectation(dot), expectation(dot**2) - d]])
