"""Proofs for the chapter ``exp_approximation``: each function returns a residual, 0 if proved."""

from __future__ import annotations

import sympy as sp

from softmax_notes.symbolic._arguments import at_least

__all__ = [
    "angle_residual",
    "deficit_residual",
    "doubling_residual",
    "pade_residual",
    "reduction_residual",
    "remainder_residual",
    "rotation_residual",
]

_x, _t = sp.symbols("x t", real=True)


def remainder_residual(degree: int) -> sp.Expr:
    """e^x minus its Taylor polynomial, minus ∫ (x − t)^d / d! e^t dt from 0 to x.

    Claim ``thm-exp-taylor``.

    Examples
    --------
    >>> from softmax_notes.symbolic import exp_approximation
    >>> exp_approximation.remainder_residual(3)
    0
    """
    degree = at_least(0, degree, "degree")
    taylor = sum(_x**j / sp.factorial(j) for j in range(degree + 1))
    integrand = sp.expand((_x - _t) ** degree / sp.factorial(degree)) * sp.exp(_t)
    return sp.simplify(sp.exp(_x) - taylor - sp.integrate(sp.expand(integrand), (_t, 0, _x)))


def pade_residual(m: int, n: int) -> sp.Expr:
    """D e^x − N, minus (−1)^n x^(m+n+1) / (m+n)! ∫ t^n (1 − t)^m e^(x t) dt from 0 to 1.

    Claim ``prop-exp-pade``. Both sides are expanded with an antiderivative that is checked by
    differentiating, so that nothing is left to a heuristic.

    Examples
    --------
    >>> from softmax_notes.symbolic import exp_approximation
    >>> exp_approximation.pade_residual(2, 2)
    0
    """
    m, n = at_least(0, m, "m"), at_least(0, n)
    ways = sp.factorial(m + n)

    def polynomial(degree: int, x: sp.Expr) -> sp.Expr:
        coefficients = [
            sp.binomial(degree, j) * sp.factorial(m + n - j) / ways for j in range(degree + 1)
        ]
        return sum(c * x**j for j, c in enumerate(coefficients))

    left = polynomial(n, -_x) * sp.exp(_x) - polynomial(m, _x)
    # By parts: the antiderivative of f e^(xt) is e^(xt) Σ (−1)^j f^(j) / x^(j+1).
    f = _t**n * (1 - _t) ** m
    series = sum((-1) ** j * sp.diff(f, _t, j) / _x ** (j + 1) for j in range(m + n + 1))
    primitive = sp.exp(_x * _t) * series
    assert sp.simplify(sp.diff(primitive, _t) - f * sp.exp(_x * _t)) == 0
    integral = primitive.subs(_t, 1) - primitive.subs(_t, 0)
    return sp.simplify(sp.expand(left - (-1) ** n * _x ** (m + n + 1) / ways * integral))


def rotation_residual() -> sp.Matrix:
    """Turn (cosh, sinh) by a, minus the step cosh a · [[1, h], [h, 1]] with h = tanh a.

    Claim ``thm-exp-cordic``: with h a power of 2 the step is a shift and an addition, and the
    factor cosh a = 1 / √(1 − h²) can wait till the end.

    Examples
    --------
    >>> from softmax_notes.symbolic import exp_approximation
    >>> exp_approximation.rotation_residual().T
    Matrix([[0, 0, 0]])
    """
    a, b = sp.symbols("a b", real=True)
    h = sp.tanh(a)
    step = sp.cosh(a) * sp.Matrix([[1, h], [h, 1]]) * sp.Matrix([sp.cosh(b), sp.sinh(b)])
    turned = sp.Matrix([sp.cosh(a + b), sp.sinh(a + b)])
    rows = [*(turned - step), sp.cosh(a) ** 2 * (1 - h**2) - 1]
    return sp.Matrix([sp.simplify(sp.expand(row.rewrite(sp.exp))) for row in rows])


def angle_residual() -> sp.Expr:
    """e^(2 artanh h) minus (1 + h) / (1 − h).

    Claim ``thm-exp-cordic``: a turn by artanh h multiplies e^x by √((1 + h) / (1 − h)).

    Examples
    --------
    >>> from softmax_notes.symbolic import exp_approximation
    >>> exp_approximation.angle_residual()
    0
    """
    h = sp.Symbol("h", positive=True)
    return sp.simplify(sp.exp(2 * sp.atanh(h).rewrite(sp.log)) - (1 + h) / (1 - h))


def deficit_residual(terms: int = 6) -> sp.Expr:
    """Series of artanh h − 2 artanh(h/2), minus Σ (1 − 4^(−k)) h^(2k+1) / (2k + 1).

    Claim ``thm-exp-cordic``: one angle is larger than twice the next, by h³/4 and a little;
    that is why some angles are needed twice.

    Examples
    --------
    >>> from softmax_notes.symbolic import exp_approximation
    >>> exp_approximation.deficit_residual()
    0
    """
    h = sp.Symbol("h", positive=True)
    order = 2 * at_least(0, terms, "terms") + 2
    series = sp.series(sp.atanh(h) - 2 * sp.atanh(h / 2), h, 0, order).removeO()
    quarter = sp.Rational(1, 4)
    return sp.expand(
        series - sum((1 - quarter**k) * h ** (2 * k + 1) / (2 * k + 1) for k in range(1, terms + 1))
    )


def doubling_residual() -> sp.Expr:
    """Sum of 8^(−j) over j ≥ i, minus 8/7 · 8^(−i).

    Claim ``thm-exp-cordic``.

    Examples
    --------
    >>> from softmax_notes.symbolic import exp_approximation
    >>> exp_approximation.doubling_residual()
    0
    """
    i, j = sp.symbols("i j", integer=True, nonnegative=True)
    tail = sp.summation(sp.Rational(1, 8) ** (i + j), (j, 0, sp.oo))
    return sp.simplify(tail - sp.Rational(8, 7) * sp.Rational(1, 8) ** i)


def reduction_residual() -> sp.Expr:
    """2^k e^(x − k ln 2) minus e^x.

    Claim ``lem-exp-reduction``.

    Examples
    --------
    >>> from softmax_notes.symbolic import exp_approximation
    >>> exp_approximation.reduction_residual()
    0
    """
    k = sp.Symbol("k", integer=True)
    return sp.simplify(2**k * sp.exp(_x - k * sp.log(2)) - sp.exp(_x))
