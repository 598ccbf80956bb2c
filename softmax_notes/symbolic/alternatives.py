"""Proofs for the chapter ``alternatives``: each function returns a residual, 0 if proved.

Ratio rules are proved for a strength u that is an undefined function; projections for scores
written as what the condition of optimality makes of them.
"""

from __future__ import annotations

import sympy as sp

from softmax_notes.symbolic import scores
from softmax_notes.symbolic._arguments import at_least

__all__ = [
    "entmax_fee_residual",
    "entmax_threshold_residual",
    "kink_residual",
    "log_loss_residual",
    "projection_jacobian_residual",
    "ratio_softmax_residual",
    "sparsemax_loss_residual",
    "sparsemax_threshold_residual",
    "squareplus_residual",
    "strength",
    "symmetry_residual",
    "taylor_residual",
    "two_class_residual",
]

strength = sp.Function("u", positive=True)


def ratio_softmax_residual(n: int) -> sp.Matrix:
    """Softmax of the logarithms of the strengths minus the shares u / Σ u.

    Claim ``prop-ratio-softmax``.

    Examples
    --------
    >>> from softmax_notes.symbolic import alternatives
    >>> alternatives.ratio_softmax_residual(3).T
    Matrix([[0, 0, 0]])
    """
    u = scores(n).applyfunc(strength)
    weights = u.applyfunc(lambda a: sp.exp(sp.log(a)))
    return (weights / sum(weights) - u / sum(u)).applyfunc(sp.simplify)


def taylor_residual() -> sp.Matrix:
    """Write 1 + x + x²/2 as ((1 + x)² + 1) / 2, and its slope as 1 + x.

    Claim ``prop-ratio-laws``: it is positive, and decreasing below -1.

    Examples
    --------
    >>> from softmax_notes.symbolic import alternatives
    >>> alternatives.taylor_residual().T
    Matrix([[0, 0]])
    """
    x = sp.Symbol("x", real=True)
    u = 1 + x + x**2 / 2
    return sp.Matrix([sp.expand(u - ((1 + x) ** 2 + 1) / 2), sp.expand(u.diff(x) - (1 + x))])


def squareplus_residual() -> sp.Matrix:
    """Write squareplus as e^asinh(x/2), its slope as u / √(x² + 4), and u(x) u(-x) as 1.

    Claim ``prop-ratio-laws``: it is positive and increasing.

    Examples
    --------
    >>> from softmax_notes.symbolic import alternatives
    >>> alternatives.squareplus_residual().T
    Matrix([[0, 0, 0]])
    """
    x = sp.Symbol("x", real=True)
    root = sp.sqrt(x**2 + 4)
    u = (x + root) / 2
    # e^asinh(t) = t + √(t² + 1)
    exponential = sp.exp(sp.asinh(x / 2).rewrite(sp.log))
    rows = [exponential - u, u.diff(x) - u / root, u * u.subs(x, -x) - 1]
    return sp.Matrix([sp.simplify(row) for row in rows])


def sparsemax_threshold_residual(size: int) -> sp.Expr:
    """Sum of x - τ over a support of the given size, minus 1, with τ = (Σ x - 1) / size.

    Claim ``prop-sparsemax-threshold``.

    Examples
    --------
    >>> from softmax_notes.symbolic import alternatives
    >>> [alternatives.sparsemax_threshold_residual(size) for size in (1, 2, 5)]
    [0, 0, 0]
    """
    x = scores(size)
    threshold = (sum(x) - 1) / size
    return sp.expand(sum(x - threshold * sp.ones(size, 1)) - 1)


def entmax_threshold_residual(size: int) -> sp.Expr:
    """Sum of (h - τ)² over a support, minus 1, with τ = mean - √((1 - spread) / size).

    Claim ``prop-entmax-threshold``: spread is the sum of the squared distances from the mean.

    Examples
    --------
    >>> from softmax_notes.symbolic import alternatives
    >>> [alternatives.entmax_threshold_residual(size) for size in (1, 2, 4)]
    [0, 0, 0]
    """
    h, root = scores(size, "h"), sp.Symbol("r")
    mean = sum(h) / size
    spread = sum((a - mean) ** 2 for a in h)
    total = sp.expand(sum((a - mean + root) ** 2 for a in h) - 1)
    return sp.expand(total.subs(root**2, (1 - spread) / size))


def entmax_fee_residual() -> sp.Matrix:
    """Slope of each fee at p = ((a - 1) x - τ)^(1/(a - 1)) minus x - (τ + 1/a) / (a - 1).

    Claim ``thm-projection-form``, for the exponents a = 2 and a = 3/2: where p is positive,
    the slope of the fee is the score up to one constant for all.

    Examples
    --------
    >>> from softmax_notes.symbolic import alternatives
    >>> alternatives.entmax_fee_residual().T
    Matrix([[0, 0]])
    """
    g, tau, p = sp.symbols("g tau p", positive=True)  # g = (a - 1) x - τ, where positive
    rows = []
    for a in (sp.Integer(2), sp.Rational(3, 2)):
        slope = sp.diff((p**a - p) / (a * (a - 1)), p).subs(p, g ** (1 / (a - 1)))
        x = (g + tau) / (a - 1)
        rows.append(sp.simplify(slope - (x - (tau + 1 / a) / (a - 1))))
    return sp.Matrix(rows)


def projection_jacobian_residual(size: int) -> sp.Matrix:
    """Jacobian on the support minus diag(s) - ssᵀ / Σ s, for a = 2 and, below, a = 3/2.

    Claim ``prop-projection-jacobian``: s is 1 for sparsemax and √p for entmax-1.5.

    Examples
    --------
    >>> from softmax_notes.symbolic import alternatives
    >>> alternatives.projection_jacobian_residual(2).is_zero_matrix
    True
    """
    x = scores(size)
    sparse = x - (sum(x) - 1) / size * sp.ones(size, 1)
    s = sp.ones(size, 1)
    rows = [sparse.jacobian(x) - (sp.diag(*s) - s * s.T / size)]
    # For 3/2 differentiate Σ (x/2 - τ)² = 1 implicitly: Σ (x/2 - τ) (dx/2 - dτ) = 0.
    s, slopes = scores(size, "s"), scores(size, "t")  # s = x/2 - τ = √p; ∂τ/∂x
    condition = [sum(s[k] * (sp.KroneckerDelta(k, j) / 2 - slopes[j]) for k in range(size))
                 for j in range(size)]  # fmt: skip
    solved = sp.solve(condition, list(slopes), dict=True)[0]
    derivative = sp.Matrix(
        size,
        size,
        lambda i, j: 2 * s[i] * (sp.KroneckerDelta(i, j) / 2 - solved[slopes[j]]),
    )
    rows.append(derivative - (sp.diag(*s) - s * s.T / sum(s)))
    return sp.Matrix.vstack(*rows).applyfunc(sp.cancel)


def two_class_residual() -> sp.Matrix:
    """For two classes with the gap d: √p₂ = (√(8 - d²) - d) / 4 and √p₁ = √p₂ + d/2 give sum 1.

    Claim ``prop-kinks``; the second entry is the value of √p₂ at d = 2.

    Examples
    --------
    >>> from softmax_notes.symbolic import alternatives
    >>> alternatives.two_class_residual().T
    Matrix([[0, 0]])
    """
    d = sp.Symbol("d", real=True)
    second = (sp.sqrt(8 - d**2) - d) / 4
    total = second**2 + (second + d / 2) ** 2
    return sp.Matrix([sp.expand(total) - 1, second.subs(d, 2)])


def kink_residual() -> sp.Matrix:
    """One-sided derivatives at the end of the support, two classes, minus those claimed.

    Claim ``prop-kinks``. Below the gap where p₂ becomes 0, sparsemax has the slope -1/2 and
    entmax-1.5 the slope 0 and the curvature 1/2; above it all are 0.

    Examples
    --------
    >>> from softmax_notes.symbolic import alternatives
    >>> alternatives.kink_residual().T
    Matrix([[0, 0, 0]])
    """
    d = sp.Symbol("d", real=True)
    sparse, soft = (1 - d) / 2, ((sp.sqrt(8 - d**2) - d) / 4) ** 2
    return sp.Matrix(
        [
            sparse.diff(d) + sp.Rational(1, 2),
            sp.simplify(soft.diff(d).subs(d, 2)),
            sp.simplify(soft.diff(d, 2).subs(d, 2)) - sp.Rational(1, 2),
        ]
    )


def log_loss_residual(n: int) -> sp.Matrix:
    """Gradient of -log(u(x₁) / Σ u) minus (log u)′ (p - y), for any strength u.

    Claim ``prop-log-loss``.

    Examples
    --------
    >>> from softmax_notes.symbolic import alternatives
    >>> alternatives.log_loss_residual(3).T
    Matrix([[0, 0, 0]])
    """
    x = scores(n)
    p = x.applyfunc(strength) / sum(x.applyfunc(strength))
    gradient = sp.Matrix([-sp.log(p[0])]).jacobian(x).T
    y = sp.Matrix([1, *[0] * (n - 1)])
    claimed = sp.Matrix([sp.diff(sp.log(strength(a)), a) for a in x])
    return (gradient - claimed.multiply_elementwise(p - y)).applyfunc(sp.simplify)


def symmetry_residual(n: int) -> sp.Expr:
    """Asymmetry ∂p₁/∂x₂ - ∂p₂/∂x₁ minus p₁ p₂ ((log u)′(x₁) - (log u)′(x₂)).

    Claim ``thm-no-loss``.

    Examples
    --------
    >>> from softmax_notes.symbolic import alternatives
    >>> alternatives.symmetry_residual(3)
    0
    """
    x = scores(at_least(2, n))
    p = x.applyfunc(strength) / sum(x.applyfunc(strength))
    slopes = [sp.diff(sp.log(strength(a)), a) for a in x]
    asymmetry = sp.diff(p[0], x[1]) - sp.diff(p[1], x[0])
    return sp.simplify(asymmetry - p[0] * p[1] * (slopes[0] - slopes[1]))


def sparsemax_loss_residual(n: int = 3, size: int = 2) -> sp.Expr:
    """Loss minus (½ ‖y - ŷ‖² + Σ y s), where x = ŷ + τ - s and s is 0 on the support of ŷ.

    Claim ``prop-sparsemax-loss``; ŷ and y sum to 1, and ŷ is 0 past its support.

    Examples
    --------
    >>> from softmax_notes.symbolic import alternatives
    >>> alternatives.sparsemax_loss_residual(4, 2)
    0
    """
    size, n = at_least(1, size, "size"), at_least(size, n)
    first, tau = sp.symbols(f"p_1:{size}"), sp.Symbol("tau")
    prediction = sp.Matrix([*first, 1 - sum(first), *[0] * (n - size)])
    slack = sp.Matrix([*[0] * size, *sp.symbols(f"s_1:{n - size + 1}")])
    named = sp.symbols(f"y_1:{n}")
    y = sp.Matrix([*named, 1 - sum(named)])
    x = prediction + tau * sp.ones(n, 1) - slack
    fee = [(q.dot(q) - 1) / 2 for q in (prediction, y)]
    loss = (prediction.dot(x) - fee[0]) - (y.dot(x) - fee[1])
    return sp.expand(loss - ((y - prediction).dot(y - prediction) / 2 + y.dot(slack)))
