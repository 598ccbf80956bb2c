"""Proofs for the chapter ``smooth_max``: each function returns a residual, 0 if proved.

LSE stands for log(Σ e^(αx)) / α. Substituting x = log(w) / α turns it into log(Σ w) / α, and
what is claimed about it into identities between rational functions of weights and logarithms.
"""

from __future__ import annotations

from typing import Any

import sympy as sp

from softmax_notes.symbolic import lumped, reduced, scores, softmax
from softmax_notes.symbolic._arguments import at_least, column, symbols

__all__ = [
    "alpha",
    "alpha_residual",
    "conjugate_residual",
    "convexity_residual",
    "diverging_limit",
    "gradient_residual",
    "hessian_residual",
    "jensen_residual",
    "maximum_residual",
    "mean_limit_residual",
    "shift_residual",
    "smooth_max",
    "variational_residual",
]

alpha = sp.Symbol("alpha", positive=True)


def smooth_max(x: sp.Matrix) -> sp.Expr:
    """Write the smooth maximum by its definition.

    Examples
    --------
    >>> from softmax_notes.symbolic import scores, smooth_max
    >>> smooth_max.smooth_max(scores(2))
    log(exp(alpha*x_1) + exp(alpha*x_2))/alpha
    """
    return sp.log(sum((alpha * column(x)).applyfunc(sp.exp))) / alpha


def maximum_residual() -> sp.Expr:
    """e^(α LSE) minus e^(α (m + log(1 + r) / α)), for any n: m is one score, r = R e^(-αm).

    Claim ``thm-lse-bounds``. Two real numbers are equal if their exponentials are.

    Examples
    --------
    >>> from softmax_notes.symbolic import smooth_max
    >>> smooth_max.maximum_residual()
    0
    """
    s = lumped(1)
    m, r = sp.log(s.weights[0]) / alpha, s.rest / s.weights[0]
    return reduced(s.total - sp.exp(alpha * m) * (1 + r))


def shift_residual(n: int) -> sp.Expr:
    """Smooth maximum of x + c minus that of x, minus c; through their exponentials.

    Claim ``prop-lse-shift``.

    Examples
    --------
    >>> from softmax_notes.symbolic import smooth_max
    >>> smooth_max.shift_residual(3)
    0
    """
    x, c = scores(n), sp.Symbol("c", real=True)
    moved = sp.exp(alpha * smooth_max(x + c * sp.ones(n, 1)))
    claimed = sp.exp(alpha * smooth_max(x)) * sp.exp(alpha * c)
    return _reduced(sp.expand(moved - claimed), x)


def gradient_residual(n: int) -> sp.Matrix:
    """Gradient of the smooth maximum minus softmax(αx).

    Claim ``prop-lse-gradient``.

    Examples
    --------
    >>> from softmax_notes.symbolic import smooth_max
    >>> smooth_max.gradient_residual(3).T
    Matrix([[0, 0, 0]])
    """
    x = scores(n)
    return _reduced(sp.Matrix([smooth_max(x)]).jacobian(x).T - softmax(alpha * x), x)


def hessian_residual(n: int) -> sp.Matrix:
    """Second derivatives of the smooth maximum minus α (diag(p) - ppᵀ), p = softmax(αx).

    Claim ``thm-lse-convex``.

    Examples
    --------
    >>> from softmax_notes.symbolic import smooth_max
    >>> smooth_max.hessian_residual(2)
    Matrix([
    [0, 0],
    [0, 0]])
    """
    x = scores(n)
    p = softmax(alpha * x)
    return _reduced(sp.hessian(smooth_max(x), list(x)) - alpha * (sp.diag(*p) - p * p.T), x)


def convexity_residual(n: int) -> sp.Expr:
    """Second derivative along a line with direction v minus α Σ pᵢ pⱼ (vᵢ - vⱼ)² over i < j.

    Claim ``thm-lse-convex``: no term of the sum is negative.

    Examples
    --------
    >>> from softmax_notes.symbolic import smooth_max
    >>> smooth_max.convexity_residual(3)
    0
    """
    x, v, tau = scores(n), scores(n, "v"), sp.Symbol("tau", real=True)
    second = sp.diff(smooth_max(x + tau * v), tau, 2).subs(tau, 0)
    p = softmax(alpha * x)
    spread = sum(p[i] * p[j] * (v[i] - v[j]) ** 2 for i in range(n) for j in range(i + 1, n))
    return _reduced(second - alpha * spread, x)


def alpha_residual(n: int) -> sp.Expr:
    """Slope of the smooth maximum in α plus H(p) / α², where H is the entropy.

    Claim ``prop-lse-alpha``.

    Examples
    --------
    >>> from softmax_notes.symbolic import smooth_max
    >>> smooth_max.alpha_residual(3)
    0
    """
    x = scores(n)
    entropy = -sum(p * sp.log(p) for p in softmax(alpha * x))
    return _reduced(sp.diff(smooth_max(x), alpha) + entropy / alpha**2, x)


def mean_limit_residual(n: int) -> sp.Matrix:
    """Value at α = 0 of log(mean e^(αx)), and its slope there minus the mean of the scores.

    Claim ``prop-lse-limits``: by de l'Hôpital's rule log(mean e^(αx)) / α goes to the mean.

    Examples
    --------
    >>> from softmax_notes.symbolic import smooth_max
    >>> smooth_max.mean_limit_residual(2).T
    Matrix([[0, 0]])
    """
    x, a = scores(n), sp.Symbol("a", real=True)
    log_mean = sp.log(sum((a * x).applyfunc(sp.exp)) / n)
    slope = sp.diff(log_mean, a) - sum(x) / n
    return sp.Matrix([log_mean.subs(a, 0), sp.expand(slope.subs(a, 0))])


def diverging_limit() -> sp.Expr:
    """Limit of (log n) / α for α → 0 from above, for any n ≥ 2.

    Claim ``prop-lse-limits``: it is infinite, so the smooth maximum has no value at 0.

    Examples
    --------
    >>> from softmax_notes.symbolic import smooth_max
    >>> smooth_max.diverging_limit()
    oo
    """
    extra = sp.Symbol("k", positive=True)  # n = 1 + k
    return sp.limit(sp.log(1 + extra) / alpha, alpha, 0, "+")


def jensen_residual() -> sp.Expr:
    """For n = 2, mean of e^(αx) minus e^(α mean x), minus a square.

    Claim ``prop-lse-jensen``: with a² and b² for e^(αx) the square is (a - b)² / 2.

    Examples
    --------
    >>> from softmax_notes.symbolic import smooth_max
    >>> smooth_max.jensen_residual()
    0
    """
    a, b = sp.symbols("a b", positive=True)
    mean = (sp.log(a**2) + sp.log(b**2)) / 2
    return sp.expand((a**2 + b**2) / 2 - sp.exp(sp.expand_log(mean)) - (a - b) ** 2 / 2)


def variational_residual(n: int) -> sp.Expr:
    """LSE - (q·x + H(q) / α) minus KL(q, p) / α, for a distribution q and p = softmax(αx).

    Claim ``thm-lse-variational``: the divergence is not negative, and 0 only at q = p.

    Examples
    --------
    >>> from softmax_notes.symbolic import smooth_max
    >>> smooth_max.variational_residual(3)
    0
    """
    x = scores(n)
    q = _distribution(n)
    log_p = alpha * x - alpha * smooth_max(x) * sp.ones(n, 1)
    entropy = -sum(a * sp.log(a) for a in q)
    divergence = sum(a * (sp.log(a) - b) for a, b in zip(q, log_p, strict=True))
    return _reduced(smooth_max(x) - (q.dot(x) + entropy / alpha) - divergence / alpha, x)


def conjugate_residual(n: int) -> sp.Expr:
    """Value of q·x - LSE at x = log(q) / α minus Σ q log q / α.

    Claim ``thm-lse-conjugate``: there the upper bound of the variational formula is attained.

    Examples
    --------
    >>> from softmax_notes.symbolic import smooth_max
    >>> smooth_max.conjugate_residual(3)
    0
    """
    q = _distribution(n)
    x = q.applyfunc(sp.log) / alpha
    return sp.simplify(q.dot(x) - smooth_max(x) - sum(a * sp.log(a) for a in q) / alpha)


def _distribution(n: int) -> sp.Matrix:
    """Give n probabilities; the last is 1 minus the others."""
    first = sp.symbols(f"q_1:{at_least(1, n)}", positive=True)
    return sp.Matrix([*first, 1 - sum(first)])


def _reduced(expression: Any, x: sp.Matrix) -> Any:
    """Substitute x = log(w) / α, and bring what comes out to lowest terms."""
    if isinstance(expression, sp.MatrixBase):
        return expression.applyfunc(lambda entry: _reduced(entry, x))
    weights = symbols(len(x), "w", positive=True)
    inserted = expression.subs({x[k]: sp.log(w) / alpha for k, w in enumerate(weights)})
    return reduced(sp.expand_log(inserted))
