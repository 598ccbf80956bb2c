"""Proofs for the chapter ``cross_entropy``: each function returns a residual, 0 if proved.

Targets are columns y of real symbols: nothing is assumed about their sum, so that the part it
plays shows in the results.
"""

from __future__ import annotations

import sympy as sp

from softmax_notes.symbolic import Lumped, lumped, reduced, scores, softmax
from softmax_notes.symbolic._arguments import at_least, column, symbols

__all__ = [
    "chain_residual",
    "convexity_residual",
    "double_softmax_floor_residual",
    "double_softmax_gradient_residual",
    "fisher_residual",
    "gibbs_residual",
    "gradient_in_p_residual",
    "gradient_residual",
    "gradient_size_residual",
    "hessian_residual",
    "loss",
    "loss_is_lse_residual",
    "margin_residual",
    "mean_gradient_residual",
    "smoothing_conventions_residual",
    "smoothing_gradient_residual",
    "smoothing_optimum_residual",
    "tangent_residual",
    "weighted_gradient_residual",
    "zero_sum_residual",
]


def loss(p: sp.Matrix, y: sp.Matrix) -> sp.Expr:
    """Write the cross-entropy by its definition, −Σ y log p.

    Examples
    --------
    >>> from softmax_notes.symbolic import cross_entropy, scores
    >>> cross_entropy.loss(scores(2, "p"), scores(2, "y"))
    -y_1*log(p_1) - y_2*log(p_2)
    """
    if len(column(p, "p")) != len(column(y, "y")):
        raise ValueError(f"p and y must have one length, got {len(p)} and {len(y)}")
    return -sum(a * sp.log(q) for a, q in zip(y, p, strict=True))


def loss_is_lse_residual(n: int | None = None) -> sp.Expr:
    """e^−(logsumexp(x) − x_t) minus p_t, for a concrete n or, without one, for any n.

    Claim ``prop-loss-is-lse``. Two real numbers are equal if their exponentials are.

    Examples
    --------
    >>> from softmax_notes.symbolic import cross_entropy
    >>> cross_entropy.loss_is_lse_residual(3), cross_entropy.loss_is_lse_residual()
    (0, 0)
    """
    if n is None:
        s = lumped(1)
        return reduced(sp.exp(sp.log(s.weights[0]) - sp.log(s.total)) - s.p[0])
    x = scores(n)
    logsumexp = sp.log(sum(x.applyfunc(sp.exp)))
    return reduced(sp.exp(x[0] - logsumexp) - softmax(x)[0], x)


def margin_residual() -> sp.Matrix:
    """Loss as log(1 + e^−m), and its slope as −1/(1 + e^m), for any n; m is the margin.

    Claim ``prop-margin``. The margin is x_t minus the logsumexp of the other scores, so that
    e^m = w_t / R.

    Examples
    --------
    >>> from softmax_notes.symbolic import cross_entropy
    >>> cross_entropy.margin_residual().T
    Matrix([[0, 0]])
    """
    s = lumped(1)
    e_m = s.weights[0] / s.rest
    slope = s.derivative(-sp.log(s.p[0]), 0)
    return reduced(sp.Matrix([1 / s.p[0] - (1 + 1 / e_m), slope + 1 / (1 + e_m)]))


def tangent_residual() -> sp.Matrix:
    """Value and slope at 1 of g(z) = z − 1 − log z, and g″(z) minus 1/z².

    Claim ``prop-gibbs``: g is convex and touches 0 at z = 1, so it is positive elsewhere.

    Examples
    --------
    >>> from softmax_notes.symbolic import cross_entropy
    >>> cross_entropy.tangent_residual().T
    Matrix([[0, 0, 0]])
    """
    z = sp.Symbol("z", positive=True)
    g = z - 1 - sp.log(z)
    return sp.Matrix([g.subs(z, 1), g.diff(z).subs(z, 1), g.diff(z, 2) - 1 / z**2])


def gibbs_residual(n: int) -> sp.Expr:
    """Cross-entropy of y and p minus the entropy of y minus Σ y g(p / y).

    Claim ``prop-gibbs``, with the g of `tangent_residual`; y and p sum to 1.

    Examples
    --------
    >>> from softmax_notes.symbolic import cross_entropy
    >>> cross_entropy.gibbs_residual(3)
    0
    """
    y, p = (sp.Matrix(symbols(n, name, positive=True)) for name in "yp")
    gap = sum(y[k] * (p[k] / y[k] - 1 - sp.log(p[k]) + sp.log(y[k])) for k in range(n))
    residual = sp.expand(loss(p, y) - loss(y, y) - gap)
    # What is left is Σ y − Σ p.
    return sp.expand(residual.subs({y[0]: 1 - sum(y[1:]), p[0]: 1 - sum(p[1:])}))


def gradient_in_p_residual(n: int) -> sp.Matrix:
    """Gradient of the loss with respect to the probabilities, plus y / p.

    Claim ``prop-gradient-in-p``.

    Examples
    --------
    >>> from softmax_notes.symbolic import cross_entropy
    >>> cross_entropy.gradient_in_p_residual(2).T
    Matrix([[0, 0]])
    """
    p, y = scores(n, "p"), scores(n, "y")
    return reduced(sp.Matrix([loss(p, y).diff(p[k]) + y[k] / p[k] for k in range(n)]))


def chain_residual(n: int) -> sp.Matrix:
    """Jacobian of softmax, differentiated, times −y/p, minus ((Σ y) p − y).

    Claim ``thm-p-minus-y``: the product of the chain rule collapses.

    Examples
    --------
    >>> from softmax_notes.symbolic import cross_entropy
    >>> cross_entropy.chain_residual(2).T
    Matrix([[0, 0]])
    """
    x, y = scores(n), scores(n, "y")
    p = softmax(x)
    quotient = sp.Matrix([-y[k] / p[k] for k in range(n)])
    return reduced(p.jacobian(x).T * quotient - (sum(y) * p - y), x)


def gradient_residual(n: int | None = None) -> sp.Expr | sp.Matrix:
    """Gradient of the loss with respect to the scores, minus ((Σ y) p − y).

    Claim ``thm-p-minus-y``, for a concrete n or, one entry of it, for any n.

    Examples
    --------
    >>> from softmax_notes.symbolic import cross_entropy
    >>> cross_entropy.gradient_residual(2).T, cross_entropy.gradient_residual()
    (Matrix([[0, 0]]), 0)
    """
    if n is None:
        s = lumped(1)
        expression, y, others = _lumped_loss(s)
        return reduced(s.derivative(expression, 0) - ((y[0] + others) * s.p[0] - y[0]))
    x, y = scores(n), scores(n, "y")
    p = softmax(x)
    return reduced(_gradient(loss(p, y), x) - (sum(y) * p - y), x)


def zero_sum_residual(n: int | None = None) -> sp.Expr:
    """Sum over the entries of the gradient, for a concrete n or for any n.

    Claim ``prop-zero-sum``.

    Examples
    --------
    >>> from softmax_notes.symbolic import cross_entropy
    >>> cross_entropy.zero_sum_residual(3), cross_entropy.zero_sum_residual()
    (0, 0)
    """
    if n is None:
        s = lumped(1)
        expression, y, others = _lumped_loss(s)
        # All other entries together: (y₁ + Y) R/S − Y.
        rest = (y[0] + others) * s.rest / s.total - others
        return reduced(s.derivative(expression, 0) + rest)
    x, y = scores(n), scores(n, "y")
    return reduced(sum(_gradient(loss(softmax(x), y), x)), x)


def gradient_size_residual() -> sp.Expr:
    """``Σ |∂L/∂x_j|`` minus 2 (1 − p_t), for one-hot targets and any n.

    Claim ``prop-gradient-size``: the target's entry is p_t − 1 ≤ 0, the others sum to R/S.

    Examples
    --------
    >>> from softmax_notes.symbolic import cross_entropy
    >>> cross_entropy.gradient_size_residual()
    0
    """
    s = lumped(1)
    slope = s.derivative(-sp.log(s.p[0]), 0)
    return reduced(-slope + s.rest / s.total - 2 * (1 - s.p[0]))


def mean_gradient_residual(rows: int, n: int) -> sp.Matrix:
    """Gradient of the mean loss of a batch, minus (p − y)/N; each target sums to 1.

    Claim ``prop-mean-gradient``.

    Examples
    --------
    >>> from softmax_notes.symbolic import cross_entropy
    >>> cross_entropy.mean_gradient_residual(2, 2).T
    Matrix([[0, 0, 0, 0]])
    """
    rows, n = at_least(1, rows, "rows"), at_least(1, n)
    x, y = scores(rows * n), scores(rows * n, "y")
    parts = [slice(r * n, (r + 1) * n) for r in range(rows)]
    for part in parts:
        y[part.start] = 1 - sum(y[part.start + 1 : part.stop])
    p = sp.Matrix([q for part in parts for q in softmax(sp.Matrix(x[part]))])
    return reduced(_gradient(loss(p, y) / rows, x) - (p - y) / rows, x)


def weighted_gradient_residual(rows: int, n: int) -> sp.Matrix:
    """Gradient of the weighted mean over kept targets, minus k_r w_t (p − y) / Σ k w_t.

    Claim ``prop-weighted-gradient``. The target of row r is class r modulo n, its weight is
    the class's, and k_r is 1 if it is kept, 0 if it is ignored.

    Examples
    --------
    >>> from softmax_notes.symbolic import cross_entropy
    >>> cross_entropy.weighted_gradient_residual(2, 2).T
    Matrix([[0, 0, 0, 0]])
    """
    rows, n = at_least(1, rows, "rows"), at_least(1, n)
    x, w, k = scores(rows * n), scores(n, "c"), scores(rows, "k")
    total = sum(k[r] * w[r % n] for r in range(rows))
    mean, expected = sp.Integer(0), []
    for r in range(rows):
        p, share = softmax(sp.Matrix(x[r * n : (r + 1) * n])), k[r] * w[r % n] / total
        mean -= share * sp.log(p[r % n])
        expected += [share * (p[j] - int(j == r % n)) for j in range(n)]
    return reduced(_gradient(mean, x) - sp.Matrix(expected), x)


def smoothing_gradient_residual(n: int) -> sp.Matrix:
    """Gradient of the smoothed and weighted loss, minus ((Σ a) p − a).

    Claim ``prop-smoothing-gradient``, with a_c = w_c ((1 − ε) y_c + ε/n). The loss is written
    as the sum it is usually coded as: 1 − ε times the loss of the target, ε/n times that of
    every class.

    Examples
    --------
    >>> from softmax_notes.symbolic import cross_entropy
    >>> cross_entropy.smoothing_gradient_residual(2).T
    Matrix([[0, 0]])
    """
    x, w, epsilon = scores(n), scores(n, "c"), sp.Symbol("epsilon", real=True)
    p = softmax(x)
    of_class = [-w[k] * sp.log(p[k]) for k in range(n)]
    smoothed = (1 - epsilon) * of_class[0] + epsilon / n * sum(of_class)
    amount = sp.Matrix([w[k] * ((1 - epsilon) * int(k == 0) + epsilon / n) for k in range(n)])
    return reduced(_gradient(smoothed, x) - (sum(amount) * p - amount), x)


def smoothing_conventions_residual() -> sp.Matrix:
    """Targets with ε n/(n − 1) spread over all n classes, minus those with ε over the others.

    Claim ``prop-smoothing-conventions``: first the target's share, then another class's.

    Examples
    --------
    >>> from softmax_notes.symbolic import cross_entropy
    >>> cross_entropy.smoothing_conventions_residual().T
    Matrix([[0, 0]])
    """
    n, epsilon = sp.symbols("n epsilon", positive=True)
    over_all = epsilon * n / (n - 1)
    at_target = 1 - over_all + over_all / n - (1 - epsilon)
    return reduced(sp.Matrix([at_target, over_all / n - epsilon / (n - 1)]))


def smoothing_optimum_residual() -> sp.Expr:
    """Ratio of smoothed targets minus e^gap, with gap = log(1 + n (1 − ε)/ε).

    Claim ``prop-smoothing-optimum``: at p = y' the scores differ by the logarithm of the ratio.

    Examples
    --------
    >>> from softmax_notes.symbolic import cross_entropy
    >>> cross_entropy.smoothing_optimum_residual()
    0
    """
    n, epsilon = sp.symbols("n epsilon", positive=True)
    gap = sp.log(1 + n * (1 - epsilon) / epsilon)
    return reduced((1 - epsilon + epsilon / n) / (epsilon / n) - sp.exp(gap))


def hessian_residual(n: int | None = None) -> sp.Matrix:
    """Hessian of the loss minus (Σ y) (diag(p) − p pᵀ), for a concrete n or for any n.

    Claim ``prop-hessian``. For any n: the entries of two named scores.

    Examples
    --------
    >>> from softmax_notes.symbolic import cross_entropy
    >>> cross_entropy.hessian_residual()
    Matrix([
    [0, 0],
    [0, 0]])
    """
    if n is None:
        s = lumped(2)
        expression, y, others = _lumped_loss(s)
        p, total = sp.Matrix(s.p), sum(y) + others
        slope = [s.derivative(expression, i) for i in range(2)]
        hessian = sp.Matrix(2, 2, lambda i, j: s.derivative(slope[i], j))
        return reduced(hessian - total * (sp.diag(*p) - p * p.T))
    x, y = scores(n), scores(n, "y")
    p = softmax(x)
    return reduced(sp.hessian(loss(p, y), list(x)) - sum(y) * (sp.diag(*p) - p * p.T), x)


def convexity_residual(n: int) -> sp.Expr:
    """Quadratic form vᵀ J v minus ½ Σ p_i p_j (v_i − v_j)², a sum of squares.

    Claim ``prop-hessian``: it is never negative, and 0 only if all entries of v are equal.

    Examples
    --------
    >>> from softmax_notes.symbolic import cross_entropy
    >>> cross_entropy.convexity_residual(3)
    0
    """
    x, v = scores(n), scores(n, "v")
    p = softmax(x)
    pairs = [(i, j) for i in range(n) for j in range(n)]
    squares = sum(p[i] * p[j] * (v[i] - v[j]) ** 2 for i, j in pairs) / 2
    return reduced((v.T * (sp.diag(*p) - p * p.T) * v)[0] - squares, x)


def fisher_residual(n: int | None = None) -> sp.Matrix:
    """Mean of ∇log p_t (∇log p_t)ᵀ with t drawn from p, minus diag(p) − p pᵀ.

    Claim ``prop-fisher``, for a concrete n or, the entries of two named scores, for any n.

    Examples
    --------
    >>> from softmax_notes.symbolic import cross_entropy
    >>> cross_entropy.fisher_residual().is_zero_matrix
    True
    """
    if n is None:
        s = lumped(2)
        p = sp.Matrix(s.p)
        # Any of the unnamed classes: its log p is a constant minus log S.
        drawn = [*zip(s.p, map(sp.log, s.p), strict=True), (s.rest / s.total, -sp.log(s.total))]
        slopes = [(q, sp.Matrix([s.derivative(f, i) for i in range(2)])) for q, f in drawn]
        return reduced(sum((q * g * g.T for q, g in slopes), sp.diag(-p[0], -p[1]) + p * p.T))
    x = scores(n)
    p = softmax(x)
    slopes = [(q, _gradient(sp.log(q), x)) for q in p]
    return reduced(sum((q * g * g.T for q, g in slopes), p * p.T - sp.diag(*p)), x)


def double_softmax_floor_residual() -> sp.Expr:
    """e^loss of softmax applied to a one-hot vector, minus 1 + (n − 1)/e.

    Claim ``prop-double-softmax``: the value that the loss approaches at the target's corner.

    Examples
    --------
    >>> from softmax_notes.symbolic import cross_entropy
    >>> cross_entropy.double_softmax_floor_residual()
    0
    """
    s, n = lumped(1), sp.Symbol("n", positive=True)
    corner = {s.weights[0]: sp.E, s.rest: n - 1}
    return sp.simplify((1 / s.p[0]).subs(corner) - (1 + (n - 1) / sp.E))


def double_softmax_gradient_residual(n: int) -> sp.Matrix:
    """Gradient of the loss of softmax(softmax(x)), minus J (q − y).

    Claim ``prop-double-softmax``; q = softmax(p), y is one-hot.

    Examples
    --------
    >>> from softmax_notes.symbolic import cross_entropy
    >>> cross_entropy.double_softmax_gradient_residual(2).T
    Matrix([[0, 0]])
    """
    x = scores(n)
    p = softmax(x)
    q, y = softmax(p), sp.Matrix([int(k == 0) for k in range(n)])
    return reduced(_gradient(loss(q, y), x) - (sp.diag(*p) - p * p.T) * (q - y), x)


def _gradient(expression: sp.Expr, x: sp.Matrix) -> sp.Matrix:
    return sp.Matrix([expression.diff(symbol) for symbol in x])


def _lumped_loss(s: Lumped) -> tuple[sp.Expr, tuple[sp.Symbol, ...], sp.Symbol]:
    """Give the loss of any length, the named entries of y, and Y, the sum of the others.

    The others' own scores enter through a constant C, which no named score moves.
    """
    y = sp.symbols(f"y_1:{len(s.weights) + 1}", real=True)
    others, constant = sp.symbols("Y C", real=True)
    named = sum(a * sp.log(w) for a, w in zip(y, s.weights, strict=True))
    return (sum(y) + others) * sp.log(s.total) - named - constant, y, others
