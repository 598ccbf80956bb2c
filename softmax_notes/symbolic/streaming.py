"""Proofs for the chapter ``streaming``: each function returns a residual, 0 if proved.

A state is a pair (m, r), with m the maximum and r = s - 1. Which of two maxima is the larger is
settled by cases: the order of the maxima is given, and merging takes the first as the larger.
"""

from __future__ import annotations

from itertools import permutations

import sympy as sp

from softmax_notes.symbolic import reduced
from softmax_notes.symbolic._arguments import symbols

__all__ = [
    "associativity_residual",
    "commutativity_residual",
    "identity_residual",
    "loss_residual",
    "rest_residual",
    "union_residual",
]

_Pair = tuple[sp.Expr, sp.Expr]


def _merged(a: _Pair, b: _Pair, order: tuple[sp.Symbol, ...]) -> _Pair:
    """Merge (m, s) with (m', s'); the maxima are symbols, listed from the largest on."""
    m = min(a[0], b[0], key=order.index)
    return m, a[1] * sp.exp(a[0] - m) + b[1] * sp.exp(b[0] - m)


def _states(count: int) -> list[_Pair]:
    m = symbols(count, "m", real=True)
    s = symbols(count, "s", positive=True)
    return list(zip(m, s, strict=True))


def _difference(a: _Pair, b: _Pair, count: int) -> sp.Expr:
    """Compare two states of one maximum; different maxima have no difference."""
    maxima = sp.Matrix([pair[0] for pair in _states(count)])
    return reduced(a[1] - b[1], maxima) if a[0] == b[0] else sp.nan


def associativity_residual() -> list[sp.Expr]:
    """Subtract a ⊕ (b ⊕ c) from (a ⊕ b) ⊕ c, for each order of the three maxima.

    Claim ``thm-monoid``.

    Examples
    --------
    >>> from softmax_notes.symbolic import streaming
    >>> streaming.associativity_residual()
    [0, 0, 0, 0, 0, 0]
    """
    a, b, c = _states(3)
    return [
        _difference(
            _merged(_merged(a, b, order), c, order), _merged(a, _merged(b, c, order), order), 3
        )
        for order in permutations([a[0], b[0], c[0]])
    ]


def commutativity_residual() -> list[sp.Expr]:
    """Subtract b ⊕ a from a ⊕ b, for both orders of the maxima.

    Claim ``thm-monoid``.

    Examples
    --------
    >>> from softmax_notes.symbolic import streaming
    >>> streaming.commutativity_residual()
    [0, 0]
    """
    a, b = _states(2)
    return [
        _difference(_merged(a, b, order), _merged(b, a, order), 2)
        for order in permutations([a[0], b[0]])
    ]


def identity_residual() -> sp.Expr:
    """Subtract a from the limit of a ⊕ b as the maximum of b goes to −∞, whatever its sum.

    Claim ``thm-monoid``.

    Examples
    --------
    >>> from softmax_notes.symbolic import streaming
    >>> streaming.identity_residual()
    0
    """
    a, b = _states(2)
    _, s = _merged(a, b, (a[0], b[0]))
    return sp.limit(s, b[0], -sp.oo) - a[1]


def union_residual() -> list[sp.Expr]:
    """Subtract the weights of two sets of scores from s e^m of their merged state.

    Claim ``thm-monoid``. The scores are lumped: s e^m is the sum of the weights of a set,
    whatever its size.

    Examples
    --------
    >>> from softmax_notes.symbolic import streaming
    >>> streaming.union_residual()
    [0, 0]
    """
    a, b = _states(2)
    maxima = sp.Matrix([a[0], b[0]])
    weights = a[1] * sp.exp(a[0]) + b[1] * sp.exp(b[0])
    merged = [_merged(a, b, order) for order in permutations([a[0], b[0]])]
    return [reduced(s * sp.exp(m) - weights, maxima) for m, s in merged]


def rest_residual() -> list[sp.Expr]:
    """Rest of a ⊕ b by the formula of the code minus s − 1, for both orders of the maxima.

    Claim ``cor-rest``.

    Examples
    --------
    >>> from softmax_notes.symbolic import streaming
    >>> streaming.rest_residual()
    [0, 0]
    """
    a, b = _states(2)
    maxima, found = sp.Matrix([a[0], b[0]]), []
    for order in permutations([a[0], b[0]]):
        m, s = _merged(a, b, order)
        left, right = sp.exp(a[0] - m), sp.exp(b[0] - m)
        rest = (a[1] - 1) * left + (b[1] - 1) * right + left * right
        found.append(reduced(rest - (s - 1), maxima))
    return found


def loss_residual() -> list[sp.Expr]:
    """Loss from merged parts minus −Σ a log p over both sets, for both orders of the maxima.

    Claim ``prop-loss-monoid``. Each set has one class with target, of score x and amount a, and
    any others in its scaled sum s.

    Examples
    --------
    >>> from softmax_notes.symbolic import streaming
    >>> streaming.loss_residual()
    [0, 0]
    """
    states = _states(2)
    x, a = sp.symbols("x_1:3", real=True), sp.symbols("a_1:3", nonnegative=True)
    found = []
    for order in permutations([m for m, _ in states]):
        m, s = _merged(states[0], states[1], order)
        gap = sum(
            a_k * (m_k - x_k) + a_k * (m - m_k)
            for a_k, x_k, (m_k, _) in zip(a, x, states, strict=True)
        )
        loss = gap + sum(a) * sp.log(s)
        exact = sum(a_k * (m + sp.log(s) - x_k) for a_k, x_k in zip(a, x, strict=True))
        found.append(sp.expand(loss - exact))
    return found
