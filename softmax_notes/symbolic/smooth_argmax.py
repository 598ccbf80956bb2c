"""Proofs for the chapter ``smooth_argmax``: each function returns residuals, 0 if proved."""

from __future__ import annotations

import sympy as sp

from softmax_notes.symbolic import Lumped, lumped, reduced, scores, softmax
from softmax_notes.symbolic._arguments import at_least

__all__ = [
    "accuracy_gradient_residual",
    "chain_residual",
    "deficit_limit",
    "deficit_residual",
    "rate_residual",
    "second_round_residual",
    "share_in_alpha_residual",
    "symmetric_position_residual",
]


def chain_residual() -> sp.Matrix:
    """Differences that the steps of the chain leave as they are, for any n.

    Claim ``prop-argmax-chain``. With w = e^x, e^m and S for the three columns: the ratio of two
    entries is w₁/w₂ after e^(x − m) and after e^(x − LSE), and the last is softmax.

    Examples
    --------
    >>> from softmax_notes.symbolic import smooth_argmax
    >>> smooth_argmax.chain_residual()
    Matrix([[0, 0, 0]])
    """
    s, largest = lumped(2), sp.Symbol("M", positive=True)
    first, second = s.weights
    lse = sp.log(s.total)
    shifted = [w / largest for w in s.weights]
    normalized = [sp.exp(sp.log(w) - lse) for w in s.weights]
    ratios = [e[0] / e[1] - first / second for e in (shifted, normalized)]
    return reduced(sp.Matrix([[*ratios, normalized[0] - s.p[0]]]))


def deficit_residual() -> sp.Matrix:
    """Distances of softmax from its limit, in terms of the share q that the losers hold.

    Claim ``thm-argmax-rate``, for any n: k winners have weight 1 each after the shift, the
    losers R together, so q = R/(k + R). First the 1-norm minus 2q, then a winner's entry
    of the difference minus q/k.

    Examples
    --------
    >>> from softmax_notes.symbolic import smooth_argmax
    >>> smooth_argmax.deficit_residual()
    Matrix([[0, 0]])
    """
    k, rest = sp.symbols("k R", positive=True)
    q, winner = rest / (k + rest), 1 / (k + rest)
    one_norm = k * (1 / k - winner) + q
    return reduced(sp.Matrix([[one_norm - 2 * q, 1 / k - winner - q / k]]))


def rate_residual() -> sp.Matrix:
    """Distance of q = R/(k + R) from its two bounds, as terms that are not negative.

    Claim ``thm-argmax-rate``. With b = e^(−α·gap), the largest of the losers' n − k terms, R is
    b + s, and also (n − k) b − t, with s and t not negative: q − b/(k + b) = k s/((k + b)(k + R))
    and (n − k) b/k − q = R²/(k (k + R)) + t/k.

    Examples
    --------
    >>> from softmax_notes.symbolic import smooth_argmax
    >>> smooth_argmax.rate_residual()
    Matrix([[0, 0]])
    """
    k, losers, b, s, t = sp.symbols("k l b s t", positive=True)
    rest = b + s
    lower = rest / (k + rest) - b / (k + b) - k * s / ((k + b) * (k + rest))
    rest = losers * b - t
    upper = losers * b / k - rest / (k + rest) - rest**2 / (k * (k + rest)) - t / k
    return reduced(sp.Matrix([[lower, upper]]))


def deficit_limit() -> sp.Expr:
    """Limit of the upper bound (n − k) e^(−α·gap)/k as α → ∞.

    Claim ``thm-argmax-limit``.

    Examples
    --------
    >>> from softmax_notes.symbolic import smooth_argmax
    >>> smooth_argmax.deficit_limit()
    0
    """
    alpha, gap, n, k = sp.symbols("alpha gap n k", positive=True)
    return sp.limit((n - k) * sp.exp(-alpha * gap) / k, alpha, sp.oo)


def share_in_alpha_residual(n: int | None = None) -> sp.Matrix:
    """Subtract p ⊙ (x − pᵀx) from the slope of softmax(αx) in α, for a concrete n or any n.

    Claim ``prop-share-in-alpha``. For any n one entry is named: each weight e^(αx) changes by
    x times itself, and Q is the sum of those changes over the others.

    Examples
    --------
    >>> from softmax_notes.symbolic import smooth_argmax
    >>> smooth_argmax.share_in_alpha_residual(2).T, smooth_argmax.share_in_alpha_residual()
    (Matrix([[0, 0]]), Matrix([[0]]))
    """
    if n is None:
        s, x, others = lumped(1), sp.Symbol("x_1", real=True), sp.Symbol("Q", real=True)
        slope = x * s.derivative(s.p[0], 0) + others * sp.diff(s.p[0], s.rest)
        mean = (x * s.weights[0] + others) / s.total
        return reduced(sp.Matrix([slope - s.p[0] * (x - mean)]))
    x, alpha = scores(n), sp.Symbol("alpha", real=True)
    p = softmax(alpha * x)
    residual = p.diff(alpha) - p.multiply_elementwise(x - p.dot(x) * sp.ones(n, 1))
    weights = {sp.exp(alpha * x[i]): sp.Symbol(f"w_{i}", positive=True) for i in range(n)}
    return reduced(residual.subs(weights))


def symmetric_position_residual(n: int) -> sp.Expr:
    """Soft position, counted from 1, of scores that read the same from both ends, minus (n + 1)/2.

    Claim ``prop-position-symmetry``.

    Examples
    --------
    >>> from softmax_notes.symbolic import smooth_argmax
    >>> [smooth_argmax.symmetric_position_residual(n) for n in (4, 5)]
    [0, 0]
    """
    n = at_least(1, n)
    half = scores((n + 1) // 2)
    x = sp.Matrix([half[min(i, n - 1 - i)] for i in range(n)])
    position = sum((i + 1) * p for i, p in enumerate(softmax(x)))
    return reduced(position - sp.Rational(n + 1, 2), half)


def second_round_residual() -> sp.Expr:
    """p₁ (1 − p₁) − p₂ (1 − p₂) minus (p₁ − p₂) r, with r the share of all others.

    Claim ``prop-top-k-scale-one``: at α = 1 the weights of the second round of soft top-k are
    p (1 − p), up to a common factor.

    Examples
    --------
    >>> from softmax_notes.symbolic import smooth_argmax
    >>> smooth_argmax.second_round_residual()
    0
    """
    s = lumped(2)
    first, second = (_charged(s, i) for i in range(2))
    return reduced((first - second) / s.total - (s.p[0] - s.p[1]) * s.rest / s.total)


def accuracy_gradient_residual(n: int | None = None) -> sp.Matrix:
    """Gradient of softmax(αx)_t minus α p_t (y − p), for a concrete n or for any n.

    Claim ``prop-soft-accuracy-gradient``, with target 1. For any n the entries are those of the
    target and of one other class.

    Examples
    --------
    >>> from softmax_notes.symbolic import smooth_argmax
    >>> smooth_argmax.accuracy_gradient_residual()
    Matrix([[0, 0]])
    """
    alpha = sp.Symbol("alpha", real=True)
    if n is None:  # a derivative in x is α times that in αx
        s = lumped(2)
        slopes = [alpha * s.derivative(s.p[0], j) for j in range(2)]
        wanted = [alpha * s.p[0] * (int(j == 0) - s.p[j]) for j in range(2)]
        return reduced(sp.Matrix([slopes]) - sp.Matrix([wanted]))
    x = scores(n)
    p = softmax(alpha * x)
    slopes = sp.Matrix([p[0].diff(x[j]) - alpha * p[0] * (int(j == 0) - p[j]) for j in range(n)])
    weights = {sp.exp(alpha * x[i]): sp.Symbol(f"w_{i}", positive=True) for i in range(n)}
    return reduced(slopes.subs(weights).T)


def _charged(s: Lumped, i: int) -> sp.Expr:
    """Weight of entry i in the second round at α = 1: e^(x + log(1 − p))."""
    return sp.exp(sp.log(s.weights[i]) + sp.log(1 - s.p[i]))
