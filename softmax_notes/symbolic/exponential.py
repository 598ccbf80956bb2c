"""Proofs for the chapter ``exponential``: each function returns a residual, 0 if proved."""

from __future__ import annotations

import sympy as sp

from softmax_notes.symbolic import lumped, reduced, scores, softmax
from softmax_notes.symbolic._arguments import symbols

__all__ = [
    "base_jacobian_residual",
    "base_residual",
    "lagrange_residual",
    "mean_slope_residual",
    "order_residual",
    "price_residual",
    "scale_bound_residual",
    "shift_residual",
    "smooth_solution",
    "wild",
    "wild_residual",
]


def order_residual() -> sp.Expr:
    """P(a) − P(b) minus (u(a) − u(b))/S under the matching law, for any n.

    Claim ``prop-increasing``: S is positive, so both differences have one sign.

    Examples
    --------
    >>> from softmax_notes.symbolic import exponential
    >>> exponential.order_residual()
    0
    """
    s = lumped(2)
    return reduced(s.p[0] - s.p[1] - (s.weights[0] - s.weights[1]) / s.total)


def shift_residual(n: int) -> sp.Matrix:
    """Probabilities by u = A e^βx at x + c, minus softmax of βx.

    Claim ``thm-exponential``, the easy direction.

    Examples
    --------
    >>> from softmax_notes.symbolic import exponential
    >>> exponential.shift_residual(2).T
    Matrix([[0, 0]])
    """
    x, (beta, c) = scores(n), sp.symbols("beta c", real=True)
    factor = sp.Symbol("A", positive=True)
    u = x.applyfunc(lambda score: factor * sp.exp(beta * score + beta * c))
    return (u / sum(u) - softmax(beta * x)).applyfunc(sp.simplify)


def smooth_solution() -> sp.Equality:
    """Solve u(x + c) u(0) = u(x) u(c) for a differentiable u with u(0) = A.

    Claim ``thm-exponential``. The derivative by c at c = 0 is the equation u' = β u, where
    β = u'(0)/u(0).

    Examples
    --------
    >>> from softmax_notes.symbolic import exponential
    >>> exponential.smooth_solution()
    Eq(u(x), A*exp(beta*x))
    """
    x, c, beta = sp.symbols("x c beta", real=True)
    factor = sp.Symbol("A", positive=True)
    u = sp.Function("u")
    sides = u(x + c) * factor - u(x) * u(c)
    slope = sides.diff(c).doit().subs(c, 0).doit()
    slope = slope.subs(u(c).diff(c).subs(c, 0), beta * factor).doit()
    return sp.dsolve(sp.Eq(sp.expand(slope / factor), 0), u(x), ics={u(0): factor})


def wild(number: sp.Expr) -> sp.Expr:
    """Map a + b√2, with rational a and b, to a − b: an additive function that is not linear.

    Claim ``lem-cauchy``: what there is without its hypothesis.

    Examples
    --------
    >>> import sympy as sp
    >>> from softmax_notes.symbolic import exponential
    >>> exponential.wild(sp.Integer(1)), exponential.wild(sp.sqrt(2))
    (1, -1)
    """
    if not isinstance(number, sp.Expr):
        raise TypeError(f"number must be one of SymPy's, got {type(number).__name__}")
    number = sp.expand(number)
    return number.coeff(sp.sqrt(2), 0) - number.coeff(sp.sqrt(2), 1)


def wild_residual() -> sp.Expr:
    """g(x + y) − g(x) − g(y) for the function g of `wild`.

    Claim ``lem-cauchy``.

    Examples
    --------
    >>> from softmax_notes.symbolic import exponential
    >>> exponential.wild_residual()
    0
    """
    a, b, c, d = sp.symbols("a b c d", rational=True)
    x, y = a + b * sp.sqrt(2), c + d * sp.sqrt(2)
    return sp.expand(wild(x + y) - wild(x) - wild(y))


def lagrange_residual(n: int) -> sp.Matrix:
    """Stationary points of the Lagrangian of entropy, minus softmax(αx).

    Claim ``thm-maximum-entropy``. The Lagrangian is −Σ p log p + α (Σ p x − μ) + ν (Σ p − 1).
    SymPy solves ∂/∂p = 0 for p; the constraint Σ p = 1 then removes ν.

    Examples
    --------
    >>> from softmax_notes.symbolic import exponential
    >>> exponential.lagrange_residual(2).T
    Matrix([[0, 0]])
    """
    x, (alpha, nu, mu) = scores(n), sp.symbols("alpha nu mu", real=True)
    p = sp.Matrix(symbols(n, "p", positive=True))
    entropy = -sum(q * sp.log(q) for q in p)
    lagrangian = entropy + alpha * (p.dot(x) - mu) + nu * (sum(p) - 1)
    stationary = sp.Matrix([sp.solve(lagrangian.diff(q), q)[0] for q in p])
    # e^(αx + ν − 1) sums to 1 for one ν; dividing by the sum is to choose it.
    return (stationary / sum(stationary) - softmax(alpha * x)).applyfunc(sp.simplify)


def mean_slope_residual(n: int) -> sp.Expr:
    """Slope of the mean of softmax(αx) in α, minus the variance.

    Claim ``prop-mean-increasing``.

    Examples
    --------
    >>> from softmax_notes.symbolic import exponential
    >>> exponential.mean_slope_residual(3)
    0
    """
    x, alpha = scores(n), sp.Symbol("alpha", real=True)
    p = softmax(alpha * x)
    mean = p.dot(x)
    variance = sum(p[k] * (x[k] - mean) ** 2 for k in range(n))
    weights = symbols(n, "w", positive=True)
    names = {sp.exp(alpha * x[k]): weights[k] for k in range(n)}
    return sp.cancel((mean.diff(alpha) - variance).subs(names))


def price_residual(n: int) -> sp.Matrix:
    """Entropy of softmax(αx) minus (logsumexp(αx) − α mean); its derivative plus α times mean's.

    Claim ``prop-price``: dH = −α dμ.

    Examples
    --------
    >>> from softmax_notes.symbolic import exponential
    >>> exponential.price_residual(2).T
    Matrix([[0, 0]])
    """
    x, alpha = scores(n), sp.Symbol("alpha", real=True)
    total = sum((alpha * x).applyfunc(sp.exp))
    p = softmax(alpha * x)
    mean = p.dot(x)
    entropy = sp.log(total) - alpha * mean
    written_out = -sum(p[k] * (alpha * x[k] - sp.log(total)) for k in range(n))
    return sp.Matrix(
        [
            sp.simplify(sp.expand(written_out - entropy)),
            sp.simplify(entropy.diff(alpha) + alpha * mean.diff(alpha)),
        ]
    )


def scale_bound_residual() -> sp.Matrix:
    """Largest value of t e^(−bt) minus 1/(e b); slope of log(1 + w e^w) − w at w = 0.

    Claim ``prop-scale-bounds``, its two inequalities. The third entry writes the second
    inequality as 1 + w e^w − e^w = Σ (1/(k−1)! − 1/k!) w^k, whose coefficients are not
    negative: the series minus the function, up to w⁷.

    Examples
    --------
    >>> from softmax_notes.symbolic import exponential
    >>> exponential.scale_bound_residual().T
    Matrix([[0, 0, 0]])
    """
    t, b, w = sp.symbols("t b w", positive=True)
    pull = t * sp.exp(-b * t)
    (peak,) = sp.solve(pull.diff(t), t)
    gap = 1 + w * sp.exp(w) - sp.exp(w)
    series = sum((1 / sp.factorial(k - 1) - 1 / sp.factorial(k)) * w**k for k in range(1, 8))
    return sp.Matrix(
        [
            sp.simplify(pull.subs(t, peak) - 1 / (sp.E * b)),
            sp.log(1 + w * sp.exp(w)).diff(w).subs(w, 0) - 1,
            sp.expand(sp.series(gap, w, 0, 8).removeO() - series),
        ]
    )


def base_residual(n: int) -> sp.Matrix:
    """Probabilities by u = b^x, minus softmax of x log b.

    Claim ``prop-base``.

    Examples
    --------
    >>> from softmax_notes.symbolic import exponential
    >>> exponential.base_residual(2).T
    Matrix([[0, 0]])
    """
    x, b = scores(n), sp.Symbol("b", positive=True)
    powers = x.applyfunc(lambda score: b**score)
    return (powers / sum(powers) - softmax(sp.log(b) * x)).applyfunc(sp.simplify)


def base_jacobian_residual(n: int) -> sp.Matrix:
    """Jacobian of the matching law of b^x, minus log b times diag(p) − p pᵀ.

    Claim ``prop-base``: base e is the one whose factor is 1.

    Examples
    --------
    >>> from softmax_notes.symbolic import exponential
    >>> exponential.base_jacobian_residual(2)
    Matrix([
    [0, 0],
    [0, 0]])
    """
    x, b = scores(n), sp.Symbol("b", positive=True)
    powers = x.applyfunc(lambda score: b**score)
    p = powers / sum(powers)
    residual = p.jacobian(x) - sp.log(b) * (sp.diag(*p) - p * p.T)
    weights = symbols(n, "w", positive=True)
    names = {b ** x[k]: weights[k] for k in range(n)}
    return residual.applyfunc(lambda entry: sp.cancel(entry.subs(names)))
