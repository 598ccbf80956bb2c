"""Proofs for the chapter ``jacobian``: each function returns residuals, 0 if proved."""

from __future__ import annotations

import sympy as sp

from softmax_notes.symbolic import Lumped, lumped, reduced, scores, softmax

__all__ = [
    "absolute_residual",
    "corner_residual",
    "entry_residual",
    "minor_residual",
    "norm_residual",
    "product_residual",
    "row_sum_residual",
    "symmetry_residual",
    "trace_residual",
    "variance_residual",
]


def entry_residual(n: int | None = None) -> sp.Matrix:
    """Compare the derivatives of softmax with p_i (δ_ij - p_j), for a concrete n or for any n.

    Claim ``thm-jacobian``. For any n the matrix has the entries of two named scores.

    Examples
    --------
    >>> from softmax_notes.symbolic import jacobian
    >>> jacobian.entry_residual(2), jacobian.entry_residual()
    (Matrix([
    [0, 0],
    [0, 0]]), Matrix([
    [0, 0],
    [0, 0]]))
    """
    x, p, derivatives = _setup(n)
    formula = sp.Matrix(len(p), len(p), lambda i, j: p[i] * (sp.KroneckerDelta(i, j) - p[j]))
    return reduced(derivatives - formula, x)


def symmetry_residual(n: int | None = None) -> sp.Matrix:
    """Subtract from the matrix of derivatives its transpose, for a concrete n or for any n.

    Claim ``prop-jacobian-symmetric``.

    Examples
    --------
    >>> from softmax_notes.symbolic import jacobian
    >>> jacobian.symmetry_residual(3).is_zero_matrix, jacobian.symmetry_residual().is_zero_matrix
    (True, True)
    """
    x, _, derivatives = _setup(n)
    return reduced(derivatives - derivatives.T, x)


def row_sum_residual(n: int | None = None) -> sp.Matrix:
    """Sum each row and each column of the matrix of derivatives.

    Claim ``prop-jacobian-symmetric``. For a concrete n the first column holds the sums of the
    rows and the second those of the columns. For any n there is one row: the scores that are
    not named contribute R ∂/∂R to it.

    Examples
    --------
    >>> from softmax_notes.symbolic import jacobian
    >>> jacobian.row_sum_residual()
    Matrix([[0, 0]])
    """
    if n is None:
        s = lumped(1)
        row = s.derivative(s.p[0], 0) + _rest_derivative(s, s.p[0])
        column = s.derivative(s.p[0], 0) + s.derivative(s.rest / s.total, 0)
        return reduced(sp.Matrix([[row, column]]))
    x = scores(n)
    derivatives, ones = softmax(x).jacobian(x), sp.ones(n, 1)
    return reduced((derivatives * ones).row_join(derivatives.T * ones), x)


def variance_residual(n: int | None = None) -> sp.Matrix:
    """Compare vᵀJv with the variance of v, and with ½ ΣΣ p_i p_j (v_i - v_j)².

    Claim ``prop-jacobian-psd``. For any n two entries of v are named and the others are 0:
    quadratic forms that agree on all such v agree everywhere.

    Examples
    --------
    >>> from softmax_notes.symbolic import jacobian
    >>> jacobian.variance_residual(2), jacobian.variance_residual()
    (Matrix([[0, 0]]), Matrix([[0, 0]]))
    """
    x, p, derivatives = _setup(n)
    v = scores(len(p), "v")
    form = (v.T * derivatives * v)[0]
    square = p.dot(v.multiply_elementwise(v))
    variance = square - p.dot(v) ** 2
    pairs = [(i, j) for i in range(len(v)) for j in range(i)]
    spread = sum(p[i] * p[j] * (v[i] - v[j]) ** 2 for i, j in pairs)
    spread += (1 - sum(p)) * square  # each named v beside each of the others, which are 0
    return reduced(sp.Matrix([[form - variance, form - spread]]), x)


def minor_residual(n: int) -> sp.Expr:
    """Compare the determinant of J, without its last row and column, with the product of all p.

    Claim ``prop-jacobian-psd``: the product is positive, so the rank is at least n - 1.

    Examples
    --------
    >>> from softmax_notes.symbolic import jacobian
    >>> [jacobian.minor_residual(n) for n in (2, 3, 4)]
    [0, 0, 0]
    """
    x = scores(n)
    block = softmax(x).jacobian(x)[:-1, :-1]
    return reduced(block.det(method="berkowitz") - sp.prod(softmax(x)), x)


def trace_residual(n: int | None = None) -> sp.Expr:
    """Compare the trace of the matrix of derivatives with 1 - Σ p².

    Claim ``prop-jacobian-trace``. For any n: one entry of the diagonal minus p + p²; the sum of
    all p is 1.

    Examples
    --------
    >>> from softmax_notes.symbolic import jacobian
    >>> jacobian.trace_residual(3), jacobian.trace_residual()
    (0, 0)
    """
    if n is None:
        s = lumped(1)
        return reduced(s.derivative(s.p[0], 0) - s.p[0] + s.p[0] ** 2)
    x = scores(n)
    p = softmax(x)
    return reduced(p.jacobian(x).trace() - (1 - p.dot(p)), x)


def absolute_residual(n: int | None = None) -> sp.Matrix:
    """Compare the sum of absolute values in each row with 2 p (1 - p).

    Claim ``prop-jacobian-entrywise``. For any n there is one row: off the diagonal every entry
    is negative, and together they are R ∂p/∂R.

    Examples
    --------
    >>> from softmax_notes.symbolic import jacobian
    >>> jacobian.absolute_residual(2).T, jacobian.absolute_residual()
    (Matrix([[0, 0]]), Matrix([[0]]))
    """
    if n is None:
        s = lumped(1)
        total = s.derivative(s.p[0], 0) - _rest_derivative(s, s.p[0])
        return reduced(sp.Matrix([total - 2 * s.p[0] * (1 - s.p[0])]))
    x = scores(n)
    p, derivatives = reduced(softmax(x), x), reduced(softmax(x).jacobian(x), x)
    totals = derivatives.applyfunc(sp.Abs) * sp.ones(n, 1)
    return reduced(totals - 2 * (p - p.multiply_elementwise(p)))


def norm_residual() -> sp.Expr:
    """Write ½ (a² + b²) minus the variance of v as three terms that are not negative.

    Claim ``prop-jacobian-norm``, for any n and any distribution: a and b are the smallest and
    the largest v_k, μ is the mean of v and s that of v². The terms are the mean of
    (b - v)(v - a), which is (a + b) μ - ab - s; (μ - (a + b)/2)²; and (a + b)²/4.

    Examples
    --------
    >>> from softmax_notes.symbolic import jacobian
    >>> jacobian.norm_residual()
    0
    """
    a, b, mean, square = sp.symbols("a b mu s", real=True)
    inside = (a + b) * mean - a * b - square
    terms = inside + (mean - (a + b) / 2) ** 2 + (a + b) ** 2 / 4
    return sp.expand((a**2 + b**2) / 2 - (square - mean**2) - terms)


def product_residual(n: int | None = None) -> sp.Matrix:
    """Compare J v and Jᵀ v, in two columns, with p ⊙ (v - pᵀv).

    Claim ``prop-jvp``. For any n two entries of v are named and the others are 0: that shows
    the factor of every v_j, and both sides are linear in v.

    Examples
    --------
    >>> from softmax_notes.symbolic import jacobian
    >>> jacobian.product_residual(3).is_zero_matrix, jacobian.product_residual().is_zero_matrix
    (True, True)
    """
    x, p, derivatives = _setup(n)
    v = scores(len(p), "v")
    product = p.multiply_elementwise(v - p.dot(v) * sp.ones(len(p), 1))
    return reduced((derivatives * v - product).row_join(derivatives.T * v - product), x)


def corner_residual() -> sp.Matrix:
    """Write two differences, of p (1 - p) and from 1 - p, as terms that are not negative.

    Claim ``prop-jacobian-corner``, for any n, with r ≥ 0 the probability of all but two:
    p₁ (1 - p₁) - p₂ (1 - p₂) = (p₁ - p₂) r, and (1 - p₁) - p₁ (1 - p₁) = (1 - p₁)².

    Examples
    --------
    >>> from softmax_notes.symbolic import jacobian
    >>> jacobian.corner_residual()
    Matrix([[0, 0]])
    """
    s = lumped(2)
    (first, second), others = s.p, s.rest / s.total
    diagonal = [p * (1 - p) for p in s.p]
    order = diagonal[0] - diagonal[1] - (first - second) * others
    return reduced(sp.Matrix([[order, (1 - first) - diagonal[0] - (1 - first) ** 2]]))


def _setup(n: int | None) -> tuple[sp.Matrix | None, sp.Matrix, sp.Matrix]:
    """Give scores, probabilities and derivatives; for any n, those of two named entries."""
    if n is None:
        s = lumped(2)
        derivatives = sp.Matrix(2, 2, lambda i, j: s.derivative(s.p[i], j))
        return None, sp.Matrix(s.p), derivatives
    x = scores(n)
    return x, softmax(x), softmax(x).jacobian(x)


def _rest_derivative(s: Lumped, expression: sp.Expr) -> sp.Expr:
    """Sum the derivatives by all scores that are not named: Σ w ∂/∂w = R ∂/∂R."""
    return s.rest * sp.diff(expression, s.rest)
