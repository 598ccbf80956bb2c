r"""Tools for the symbolic proofs; the proofs themselves are one module a chapter.

Two forms of proof, and one idea under both: with :math:`w_k = e^{x_k} > 0` every claim about
softmax becomes an identity between rational functions of the weights w, and SymPy's ``cancel``
decides those.

*Concrete n*: write `scores` (n), differentiate real exponentials, and let `reduced` bring the
result to weights.

*Any n*: a claim names one or two entries. `lumped` keeps their weights and lumps all others
into R, so that S = w₁ + w₂ + R stands for a sum of any length; ∂/∂x = w ∂/∂w.

A proof function returns a *residual*: left side minus right side, reduced. The claim is proved
if it is 0.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from softmax_notes._extras import needs

with needs("symbolic"):
    import sympy as sp

    from softmax_notes.symbolic._arguments import at_least, column, symbols

__all__ = ["Lumped", "lumped", "reduced", "scores", "softmax"]


def scores(n: int, name: str = "x") -> sp.Matrix:
    """Give a column of n real symbols, x₁ to xₙ.

    Parameters
    ----------
    n : int
        How many.
    name : str, default "x"
        Their letter.

    Returns
    -------
    sympy.Matrix
        Shape (n, 1).

    Examples
    --------
    >>> from softmax_notes import symbolic
    >>> symbolic.scores(3).T
    Matrix([[x_1, x_2, x_3]])
    """
    return sp.Matrix(symbols(n, name, real=True))


def softmax(x: sp.Matrix) -> sp.Matrix:
    """Write softmax by its definition.

    Parameters
    ----------
    x : sympy.Matrix
        A column of scores.

    Returns
    -------
    sympy.Matrix
        Shape of x.

    Examples
    --------
    >>> from softmax_notes import symbolic
    >>> symbolic.softmax(symbolic.scores(2))[0]
    exp(x_1)/(exp(x_1) + exp(x_2))
    """
    weights = column(x).applyfunc(sp.exp)
    return weights / sum(weights)


def reduced(expression: Any, x: sp.Matrix | None = None) -> Any:
    r"""Bring an expression to lowest terms in the weights :math:`w_k = e^{x_k}`.

    Parameters
    ----------
    expression : sympy expression or Matrix
        A rational function of exponentials of the scores.
    x : sympy.Matrix, optional
        The scores to replace; without it the expression is in weights already.

    Returns
    -------
    sympy expression or Matrix
        0, or a matrix of zeros, exactly if the expression vanishes for all scores.

    Examples
    --------
    >>> from softmax_notes import symbolic
    >>> x = symbolic.scores(3)
    >>> symbolic.reduced(sum(symbolic.softmax(x)) - 1, x)
    0
    >>> symbolic.reduced(symbolic.softmax(x)[0], x)
    w_1/(w_1 + w_2 + w_3)
    """
    if isinstance(expression, sp.MatrixBase):
        return expression.applyfunc(lambda entry: reduced(entry, x))
    if not isinstance(expression, sp.Expr | int):
        kind = type(expression).__name__
        raise TypeError(f"expression must be one of SymPy's, or a Matrix of them, got {kind}")
    if x is not None:
        if not isinstance(x, sp.MatrixBase):
            raise TypeError(f"x must be a Matrix of SymPy's, got {type(x).__name__}")
        weights = symbols(len(x), "w", positive=True)
        expression = sp.S(expression).subs({x[k]: sp.log(w) for k, w in enumerate(weights)})
    return sp.cancel(expression)


class Lumped(NamedTuple):
    """Softmax of any length, seen from a few of its entries.

    Attributes
    ----------
    weights : tuple of sympy.Symbol
        Positive weights of the entries that a claim names.
    rest : sympy.Symbol
        R ≥ 0, the sum of all other weights; 0 where there are no others.
    total : sympy expression
        S, the sum of all weights.
    p : tuple of sympy expressions
        Probabilities of the named entries.

    Examples
    --------
    >>> from softmax_notes import symbolic
    >>> symbolic.lumped(2).p[0]
    w_1/(R + w_1 + w_2)
    """

    weights: tuple[sp.Symbol, ...]
    rest: sp.Symbol
    total: sp.Expr
    p: tuple[sp.Expr, ...]

    def derivative(self, expression: sp.Expr, k: int) -> sp.Expr:
        """Differentiate with respect to the score of named entry k: w ∂/∂w."""
        return self.weights[k] * sp.diff(expression, self.weights[k])


def lumped(named: int = 2) -> Lumped:
    """Set up softmax of any n with some entries named and the others lumped.

    Parameters
    ----------
    named : int, default 2
        How many entries the claim names.

    Returns
    -------
    Lumped
        Their weights, the rest, the total and their probabilities.

    Examples
    --------
    The derivative of one probability by its own score is p (1 − p), whatever n is:

    >>> from softmax_notes import symbolic
    >>> s = symbolic.lumped(1)
    >>> symbolic.reduced(s.derivative(s.p[0], 0) - s.p[0] * (1 - s.p[0]))
    0
    """
    weights = symbols(at_least(1, named, "named"), "w", positive=True)
    rest = sp.Symbol("R", nonnegative=True)
    total = sum(weights, rest)
    return Lumped(weights, rest, total, tuple(w / total for w in weights))
