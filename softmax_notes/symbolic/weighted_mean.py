"""Proofs for the chapter ``weighted_mean``: each function returns residuals, 0 if proved.

M is the Boltzmann mean, Σ x p with p = softmax(αx), and α is positive.
"""

from __future__ import annotations

from typing import Any

import sympy as sp

from softmax_notes.symbolic import lumped, reduced, scores, softmax
from softmax_notes.symbolic._arguments import at_least

__all__ = [
    "alpha_residual",
    "average_residual",
    "entropy_residual",
    "gradient_residual",
    "largest_error",
    "largest_error_residual",
    "mellowmax_gradient_residual",
    "mellowmax_mean_residual",
    "silu_residual",
    "silu_slope_residual",
    "tanh_residual",
]


def gradient_residual(n: int | None = None) -> sp.Matrix:
    """Gradient of M minus p ⊙ (1 + α (x − M)), for a concrete n or, one entry of it, for any n.

    Claim ``prop-boltzmann-gradient``. For any n, Q is the sum of x e^(αx) over the others.

    Examples
    --------
    >>> from softmax_notes.symbolic import weighted_mean
    >>> weighted_mean.gradient_residual(2).T, weighted_mean.gradient_residual()
    (Matrix([[0, 0]]), Matrix([[0]]))
    """
    alpha = sp.Symbol("alpha", positive=True)
    if n is None:
        s, x, others = lumped(1), sp.Symbol("x_1", real=True), sp.Symbol("Q", real=True)
        mean = (x * s.weights[0] + others) / s.total
        slope = sp.diff(mean, x) + alpha * s.derivative(mean, 0)  # x and e^(αx) both move
        return reduced(sp.Matrix([slope - s.p[0] * (1 + alpha * (x - mean))]))
    x, p, mean = _setup(n, alpha)
    claimed = p.multiply_elementwise(sp.ones(n, 1) + alpha * (x - mean * sp.ones(n, 1)))
    return _reduced(_gradient(mean, x) - claimed, x, alpha)


def alpha_residual(n: int | None = None) -> sp.Expr:
    """Subtract the variance Σ p x² − M² from the slope of M in α, for a concrete n or any n.

    Claim ``prop-boltzmann-in-alpha``. For any n, α moves each weight by x times itself, and
    ``A``, ``B`` are the sums of x w and x² w.

    Examples
    --------
    >>> from softmax_notes.symbolic import weighted_mean
    >>> weighted_mean.alpha_residual(2), weighted_mean.alpha_residual()
    (0, 0)
    """
    if n is None:
        total, first, second = sp.symbols("S A B", positive=True)
        mean = first / total  # dS/dα = A, dA/dα = B
        slope = sp.diff(mean, total) * first + sp.diff(mean, first) * second
        return reduced(slope - (second / total - mean**2))
    alpha = sp.Symbol("alpha", positive=True)
    x, p, mean = _setup(n, alpha)
    variance = p.dot(x.multiply_elementwise(x)) - mean**2
    return _reduced(sp.diff(mean, alpha) - variance, x, alpha)


def entropy_residual(n: int) -> sp.Expr:
    """M minus (LSE − H(p)/α), with LSE = log(Σ e^(αx))/α and H(p) = −Σ p log p.

    Claim ``prop-boltzmann-entropy``.

    Examples
    --------
    >>> from softmax_notes.symbolic import weighted_mean
    >>> weighted_mean.entropy_residual(3)
    0
    """
    alpha = sp.Symbol("alpha", positive=True)
    x, p, mean = _setup(n, alpha)
    log_total = sp.log(sum((alpha * x).applyfunc(sp.exp)))
    log_p = alpha * x - log_total * sp.ones(n, 1)  # which is log p: see the next entry
    entropy = -p.dot(log_p)
    same = sum((log_p.applyfunc(sp.exp) - p).applyfunc(sp.Abs))
    residual = mean - (log_total - entropy) / alpha
    return _reduced(residual + same, x, alpha)


def largest_error(n: int) -> sp.Expr:
    """Write down W((n − 1)/e), the largest of α (max x − M) over all n scores.

    Claim ``thm-boltzmann-error``.

    Examples
    --------
    >>> from softmax_notes.symbolic import weighted_mean
    >>> weighted_mean.largest_error(2), weighted_mean.largest_error(2).evalf(10)
    (LambertW(exp(-1)), 0.2784645428)
    """
    return sp.LambertW((at_least(1, n) - 1) / sp.E)


def largest_error_residual() -> sp.Matrix:
    """Check what the proof of the largest error uses, with c = W((n − 1)/e).

    Claim ``thm-boltzmann-error``: (n − 1) e^(−1 − c) − c; the slope of f(d) = (d − c) e^(−d) at
    d = 1 + c; f there minus e^(−1 − c); and f″ there plus the same, so that it is a maximum.

    Examples
    --------
    >>> from softmax_notes.symbolic import weighted_mean
    >>> weighted_mean.largest_error_residual()
    Matrix([[0, 0, 0, 0]])
    """
    d, c = sp.symbols("d c", positive=True)
    n = sp.Symbol("n", positive=True)
    f = (d - c) * sp.exp(-d)
    height = sp.exp(-1 - c)
    at_peak = [sp.diff(f, d, k).subs(d, 1 + c) for k in range(3)]
    # c e^c = (n − 1)/e defines c = W((n − 1)/e).
    equation = ((n - 1) * height - c).subs(n, 1 + c * sp.exp(c + 1))
    entries = [equation, at_peak[1], at_peak[0] - height, at_peak[2] + height]
    return sp.Matrix([entries]).applyfunc(sp.simplify)


def silu_residual() -> sp.Expr:
    """M of the scores 0 and x at α = 1 minus x σ(x).

    Claim ``cor-silu``.

    Examples
    --------
    >>> from softmax_notes.symbolic import weighted_mean
    >>> weighted_mean.silu_residual()
    0
    """
    x = sp.Symbol("x", real=True)
    pair = sp.Matrix([0, x])
    return sp.simplify(softmax(pair).dot(pair) - x / (1 + sp.exp(-x)))


def silu_slope_residual() -> sp.Matrix:
    """Value plus W(1/e), and slope, of x σ(x) at x = −1 − W(1/e).

    Claim ``cor-silu``: its minimum.

    Examples
    --------
    >>> from softmax_notes.symbolic import weighted_mean
    >>> weighted_mean.silu_slope_residual()
    Matrix([[0, 0]])
    """
    x, c = sp.Symbol("x", real=True), sp.Symbol("c", positive=True)
    silu = x / (1 + sp.exp(-x))
    entries = [silu.subs(x, -1 - c) + c, sp.diff(silu, x).subs(x, -1 - c)]
    # c = W(1/e) means c e^c = 1/e.
    return sp.Matrix([[sp.simplify(sp.expand(e).subs(sp.exp(c), sp.exp(-1) / c)) for e in entries]])


def tanh_residual() -> sp.Expr:
    """M of the scores −x and x minus x tanh(αx).

    Claim ``cor-tanh``.

    Examples
    --------
    >>> from softmax_notes.symbolic import weighted_mean
    >>> weighted_mean.tanh_residual()
    0
    """
    x, alpha = sp.Symbol("x", real=True), sp.Symbol("alpha", positive=True)
    pair = sp.Matrix([-x, x])
    claimed = x * sp.tanh(alpha * x).rewrite(sp.exp)
    return sp.simplify(softmax(alpha * pair).dot(pair) - claimed)


def mellowmax_gradient_residual(n: int | None = None) -> sp.Matrix:
    """Gradient of mellowmax minus softmax(αx), for a concrete n or, one entry of it, for any n.

    Claim ``thm-mellowmax-nonexpansion``. A derivative in x is α times that in αx.

    Examples
    --------
    >>> from softmax_notes.symbolic import weighted_mean
    >>> weighted_mean.mellowmax_gradient_residual(2).T
    Matrix([[0, 0]])
    >>> weighted_mean.mellowmax_gradient_residual()
    Matrix([[0]])
    """
    alpha = sp.Symbol("alpha", positive=True)
    if n is None:
        s, count = lumped(1), sp.Symbol("n", positive=True)
        slope = alpha * s.derivative(sp.log(s.total / count) / alpha, 0)
        return reduced(sp.Matrix([slope - s.p[0]]))
    x, p, _ = _setup(n, alpha)
    return _reduced(_gradient(_mellowmax(x, alpha), x) - p, x, alpha)


def mellowmax_mean_residual(n: int) -> sp.Expr:
    """Limit of mellowmax for α → 0 minus the mean of the scores.

    Claim ``thm-mellowmax-limits``: α mellowmax is 0 at α = 0, so the limit is its slope there.

    Examples
    --------
    >>> from softmax_notes.symbolic import weighted_mean
    >>> weighted_mean.mellowmax_mean_residual(3)
    0
    """
    x, alpha = scores(n), sp.Symbol("alpha", real=True)
    scaled = alpha * _mellowmax(x, alpha)
    slope = sp.diff(scaled, alpha).subs(alpha, 0)
    return sp.simplify(scaled.subs(alpha, 0) + slope - sum(x) / n)


def average_residual(n: int) -> sp.Expr:
    """Subtract M from the derivative of α mellowmax in α.

    Claim ``prop-mellowmax-average``: α mellowmax is the integral of M from 0 to α.

    Examples
    --------
    >>> from softmax_notes.symbolic import weighted_mean
    >>> weighted_mean.average_residual(3)
    0
    """
    alpha = sp.Symbol("alpha", positive=True)
    x, _, mean = _setup(n, alpha)
    return _reduced(sp.diff(alpha * _mellowmax(x, alpha), alpha) - mean, x, alpha)


def _setup(n: int, alpha: sp.Symbol) -> tuple[sp.Matrix, sp.Matrix, sp.Expr]:
    x = scores(n)
    p = softmax(alpha * x)
    return x, p, p.dot(x)


def _mellowmax(x: sp.Matrix, alpha: sp.Symbol) -> sp.Expr:
    return sp.log(sum((alpha * x).applyfunc(sp.exp)) / len(x)) / alpha


def _gradient(expression: sp.Expr, x: sp.Matrix) -> sp.Matrix:
    return sp.Matrix([expression.diff(symbol) for symbol in x])


def _reduced(expression: Any, x: sp.Matrix, alpha: sp.Symbol) -> Any:
    """Bring an expression in x and e^(αx) to lowest terms; x and its weights are independent."""
    weights = {sp.exp(alpha * v): sp.Symbol(f"w_{i}", positive=True) for i, v in enumerate(x)}
    return reduced(expression.subs(weights))
