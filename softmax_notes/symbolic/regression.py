"""Proofs for the chapter ``regression``: each function returns a residual, 0 if proved.

The features X, the parameters W and b and the targets are symbols; scores are XW + b.
"""

from __future__ import annotations

import sympy as sp

from softmax_notes.symbolic import reduced, scores, softmax
from softmax_notes.symbolic._arguments import at_least

__all__ = [
    "blank_feature_residual",
    "class_shares_residual",
    "convexity_residual",
    "descent_residual",
    "first_loss_residual",
    "gradient_residual",
    "separable_limit",
    "unidentified_residual",
    "zero_row_sums_residual",
]


def gradient_residual(rows: int = 2, features: int = 2, n: int = 3) -> sp.Matrix:
    """Subtract Xᵀ(P − Y)/N and 1ᵀ(P − Y)/N from the derivatives of the mean loss in W and b.

    Claim ``thm-regression-gradient``. The derivatives in b are the last row. The target of
    row r is class r modulo n.

    Examples
    --------
    >>> from softmax_notes.symbolic import regression
    >>> regression.gradient_residual(1, 2, 2)
    Matrix([
    [0, 0],
    [0, 0],
    [0, 0]])
    """
    rows, features, n = _sizes(rows, features, n)
    X = _features(rows, features)
    parameters = sp.Matrix(features + 1, n, sp.symbols(f"a:{(features + 1) * n}"))
    Z = X * parameters
    loss = sum(sp.log(sum(Z.row(r).applyfunc(sp.exp))) - Z[r, r % n] for r in range(rows)) / rows
    claimed = X.T * _errors(Z) / rows
    difference = parameters.applyfunc(lambda a: sp.diff(loss, a)) - claimed
    weights = {sp.exp(z): sp.Symbol(f"w_{k}", positive=True) for k, z in enumerate(Z)}
    return reduced(difference.subs(weights))


def zero_row_sums_residual(rows: int = 2, features: int = 2, n: int = 3) -> sp.Matrix:
    """Sum over the classes of Xᵀ(P − Y)/N, and of 1ᵀ(P − Y)/N in the last row.

    Claim ``cor-zero-row-sums``.

    Examples
    --------
    >>> from softmax_notes.symbolic import regression
    >>> regression.zero_row_sums_residual().T
    Matrix([[0, 0, 0]])
    """
    rows, features, n = _sizes(rows, features, n)
    Z = _scores(rows, n)
    gradient = _features(rows, features).T * _errors(Z) / rows
    return reduced(gradient * sp.ones(n, 1), Z)


def blank_feature_residual(rows: int = 2, n: int = 3) -> sp.Matrix:
    """Gradient in the weights of a feature that is 0 in every row.

    Claim ``cor-blank-pixels``.

    Examples
    --------
    >>> from softmax_notes.symbolic import regression
    >>> regression.blank_feature_residual()
    Matrix([[0, 0, 0]])
    """
    rows, _, n = _sizes(rows, 1, n)
    X = sp.Matrix.hstack(sp.zeros(rows, 1), _features(rows, 1))
    return (X.T * _errors(_scores(rows, n)) / rows).row(0)


def unidentified_residual(features: int = 2, n: int = 3) -> sp.Matrix:
    """Probabilities with u added to every column of W and c to b minus those without.

    Claim ``prop-unidentified``: one row x, from its scores z = xW + b.

    Examples
    --------
    >>> from softmax_notes.symbolic import regression
    >>> regression.unidentified_residual().T
    Matrix([[0, 0, 0]])
    """
    _, features, n = _sizes(1, features, n)
    x, u, c = scores(features, "x"), scores(features, "u"), sp.Symbol("c", real=True)
    W, b = sp.Matrix(features, n, sp.symbols(f"W:{features * n}")), scores(n, "b")
    z, moved = W.T * x + b, (W + u * sp.ones(1, n)).T * x + b + c * sp.ones(n, 1)
    shift = (moved - z).applyfunc(sp.expand)
    named = scores(n, "z")
    return reduced(softmax(named + shift) - softmax(named), named)


def first_loss_residual(n: int) -> sp.Expr:
    """Loss at scores that are all 0 minus log n.

    Claim ``prop-first-loss``.

    Examples
    --------
    >>> from softmax_notes.symbolic import regression
    >>> regression.first_loss_residual(10)
    0
    """
    n = at_least(1, n)
    return sp.expand_log(-sp.log(softmax(sp.zeros(n, 1))[0]), force=True) - sp.log(n)


def convexity_residual(n: int) -> sp.Expr:
    """Second derivative of a row's loss along a line minus Σ pᵢ pⱼ (dᵢ − dⱼ)² over i < j.

    Claim ``prop-regression-convex``: d = xU + v is how the scores change when the parameters
    move in the direction (U, v). The sum has no negative term.

    Examples
    --------
    >>> from softmax_notes.symbolic import regression
    >>> regression.convexity_residual(3)
    0
    """
    z, d, tau = scores(n, "z"), scores(n, "d"), sp.Symbol("tau", real=True)
    line = z + tau * d
    loss = sp.log(sum(line.applyfunc(sp.exp))) - line[0]
    p = softmax(z)
    spread = sum(p[i] * p[j] * (d[i] - d[j]) ** 2 for i in range(n) for j in range(i + 1, n))
    return reduced(sp.diff(loss, tau, 2).subs(tau, 0) - spread, z)


def class_shares_residual(rows: int = 2, n: int = 3) -> sp.Matrix:
    """Gradient in b minus (mean probabilities minus shares of the classes).

    Claim ``cor-class-shares``: at a minimum the gradient is 0, and so is the other side.

    Examples
    --------
    >>> from softmax_notes.symbolic import regression
    >>> regression.class_shares_residual()
    Matrix([[0, 0, 0]])
    """
    rows, _, n = _sizes(rows, 1, n)
    Z = _scores(rows, n)
    P = sp.Matrix.vstack(*(softmax(Z.row(r).T).T for r in range(rows)))
    means = sp.Matrix(1, n, lambda _, j: sum(P.col(j)) / rows)
    shares = sp.Matrix(1, n, lambda _, j: sp.Rational(sum(r % n == j for r in range(rows)), rows))
    return reduced(sp.ones(1, rows) * _errors(Z) / rows - (means - shares), Z)


def descent_residual() -> sp.Expr:
    """Bound −η g² + ℓ η² g² / 2 of a step's change minus −(η / 2) (2 − ℓ η) g².

    Claim ``prop-step-size``: the second form is at most −(η / 2) g² as long as η ≤ 1/ℓ.

    Examples
    --------
    >>> from softmax_notes.symbolic import regression
    >>> regression.descent_residual()
    0
    """
    eta, ell, g = sp.symbols("eta ell g", positive=True)
    return sp.expand(-eta * g**2 + ell * eta**2 * g**2 / 2 + eta / 2 * (2 - ell * eta) * g**2)


def separable_limit() -> sp.Expr:
    """Limit of the loss bound log(1 + (n − 1) e^(−sγ)) for s → ∞, for any n and any γ > 0.

    Claim ``prop-separable``: every score but the target's is at least sγ lower than that.

    Examples
    --------
    >>> from softmax_notes.symbolic import regression
    >>> regression.separable_limit()
    0
    """
    n, margin, s = sp.symbols("n gamma s", positive=True)
    return sp.limit(sp.log(1 + (n - 1) * sp.exp(-s * margin)), s, sp.oo)


def _sizes(rows: int, features: int, n: int) -> tuple[int, int, int]:
    return at_least(1, rows, "rows"), at_least(1, features, "features"), at_least(1, n)


def _features(rows: int, features: int) -> sp.Matrix:
    """Give rows of features, each with a last feature 1 that belongs to the biases."""
    names = sp.symbols(f"x:{rows * features}", real=True)
    return sp.Matrix.hstack(sp.Matrix(rows, features, names), sp.ones(rows, 1))


def _scores(rows: int, n: int) -> sp.Matrix:
    return sp.Matrix(rows, n, scores(rows * n, "z"))


def _errors(Z: sp.Matrix) -> sp.Matrix:
    """Give P − Y, where the target of row r is class r modulo n."""
    rows, n = Z.shape
    P = sp.Matrix.vstack(*(softmax(Z.row(r).T).T for r in range(rows)))
    return P - sp.Matrix(rows, n, lambda r, k: int(k == r % n))
