"""Proofs for the chapter ``choice``: each function returns a residual, 0 if proved.

Utilities are positive symbols. A choice set B ⊂ A is seen from its named members: R_B lumps the
other utilities in B, and R_A those in A but not in B, so that the sets may have any size.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Any

import sympy as sp

from softmax_notes.symbolic import lumped, reduced
from softmax_notes.symbolic._arguments import at_least, symbols

__all__ = [
    "axiom_residual",
    "before_residual",
    "bus_residual",
    "converse_residual",
    "cross_rule_residual",
    "matching",
    "nest_ratio_residual",
    "nest_softmax_residual",
    "ranking_residual",
    "ratio_residual",
    "tree_residual",
]


def matching(u: Sequence[Any]) -> sp.Matrix:
    """Write the matching law for given utilities, exactly.

    Examples
    --------
    >>> from softmax_notes.symbolic import choice
    >>> choice.matching([8, 6]).T
    Matrix([[4/7, 3/7]])
    """
    if not isinstance(u, list | tuple) or not all(isinstance(a, sp.Expr | int) for a in u):
        raise TypeError(f"u must be a list of integers or SymPy's expressions, got {u!r:.80}")
    column = sp.Matrix([sp.S(a) for a in u])
    return column / sum(column)


def _nested_sets() -> tuple[tuple[sp.Symbol, ...], sp.Expr, sp.Expr]:
    """Two named utilities, and the sums over B and over A ⊃ B."""
    s = lumped(2)
    outside = sp.Symbol("R_A", nonnegative=True)
    return s.weights, s.total, s.total + outside


def axiom_residual() -> sp.Expr:
    """P(a|A) minus P(a|B) P(B|A) under the matching law, for sets of any size.

    Claim ``thm-matching-axioms``, Axiom 2.

    Examples
    --------
    >>> from softmax_notes.symbolic import choice
    >>> choice.axiom_residual()
    0
    """
    (a, _), total_b, total_a = _nested_sets()
    return reduced(a / total_a - (a / total_b) * (total_b / total_a))


def ratio_residual() -> sp.Expr:
    """P(a|A)/P(b|A) minus P(a|B)/P(b|B) under the matching law, for sets of any size.

    Claims ``thm-matching-axioms`` and ``cor-softmax-luce``.

    Examples
    --------
    >>> from softmax_notes.symbolic import choice
    >>> choice.ratio_residual()
    0
    """
    (a, b), total_b, total_a = _nested_sets()
    return reduced((a / total_a) / (b / total_a) - (a / total_b) / (b / total_b))


def converse_residual(n: int) -> sp.Matrix:
    """Solve Axiom 2 for the P(a|B) of the first n alternatives; minus the matching law.

    Claim ``thm-luce``, with the utilities u(a) = P(a|X): positive symbols.

    Examples
    --------
    >>> from softmax_notes.symbolic import choice
    >>> choice.converse_residual(2).T
    Matrix([[0, 0]])
    """
    u = symbols(n, "u", positive=True)
    p = symbols(n, "p", nonnegative=True)
    axioms = [u[k] - p[k] * sum(u) for k in range(n)]
    (solution,) = sp.solve(axioms, p, dict=True)
    return reduced(sp.Matrix([solution[p[k]] for k in range(n)]) - matching(u))


def cross_rule_residual(n: int) -> sp.Matrix:
    """Between Axiom 2 and the rule P(a|A) P(b|B) = P(b|A) P(a|B), in both directions.

    Claim ``prop-luce-iia``. First the rule's two sides after Axiom 2 has replaced P(a|A) and
    P(b|A); then the sum of the rule over b in B, which must be Axiom 2 for a, given that
    the n probabilities P(b|B) sum to 1. Probabilities may be 0.

    Examples
    --------
    >>> from softmax_notes.symbolic import choice
    >>> choice.cross_rule_residual(3).T
    Matrix([[0, 0]])
    """
    in_a = symbols(at_least(2, n), "q", nonnegative=True)
    in_b = (*sp.symbols(f"p_1:{n}", nonnegative=True),)
    in_b = (*in_b, 1 - sum(in_b))
    total = sum(in_a)
    forward = (in_b[0] * total) * in_b[1] - (in_b[1] * total) * in_b[0]
    summed = sum(in_a[0] * in_b[k] - in_a[k] * in_b[0] for k in range(n))
    return reduced(sp.Matrix([forward, summed - (in_a[0] - in_b[0] * total)]))


def tree_residual() -> sp.Matrix:
    """Sum of a tree's three leaves minus 1; growth of a ratio when a leaf goes, minus 1/q.

    Claim ``prop-tree-ratio``. The root chooses leaf a or a node; the node chooses leaf b with
    probability q, or leaf c, which is deleted.

    Examples
    --------
    >>> from softmax_notes.symbolic import choice
    >>> choice.tree_residual().T
    Matrix([[0, 0]])
    """
    a, q = sp.symbols("a q", positive=True)
    leaves = (a, (1 - a) * q, (1 - a) * (1 - q))
    before, after = leaves[1] / leaves[0], (1 - a) / a
    return reduced(sp.Matrix([sum(leaves) - 1, after / before - 1 / q]))


def nest_ratio_residual() -> sp.Expr:
    """Ratio of two members of a nest minus e^((x_i − x_j)/λ), for any sizes.

    Claim ``prop-nested-logit``. In weights e^(x/λ): the nest's sum is V, and its share is
    V^λ/(V^λ + R) with R for all other nests.

    Examples
    --------
    >>> from softmax_notes.symbolic import choice
    >>> choice.nest_ratio_residual()
    0
    """
    s = lumped(2)
    value, others = sp.symbols("lambda R_A", positive=True)
    share = s.total**value / (s.total**value + others)
    p = [share * probability for probability in s.p]
    return sp.simplify(p[0] / p[1] - s.weights[0] / s.weights[1])


def nest_softmax_residual() -> sp.Expr:
    """Nested logit with λ = 1 minus softmax, for any sizes.

    Claim ``prop-nested-logit``.

    Examples
    --------
    >>> from softmax_notes.symbolic import choice
    >>> choice.nest_softmax_residual()
    0
    """
    s = lumped(1)
    others = sp.Symbol("R_A", nonnegative=True)
    share = s.total / (s.total + others)
    return reduced(share * s.p[0] - s.weights[0] / (s.total + others))


def bus_residual() -> sp.Matrix:
    """P(car) minus 1/(1 + 2^λ) with two equal buses in one nest; then its ends, λ = 1 and 0.

    Claim ``prop-nested-logit``: a third, as softmax has it, and a half.

    Examples
    --------
    >>> from softmax_notes.symbolic import choice
    >>> choice.bus_residual().T
    Matrix([[0, 0, 0]])
    """
    x, value = sp.symbols("x", real=True), sp.Symbol("lambda", positive=True)
    nest = value * sp.log(2 * sp.exp(x / value))
    car = sp.exp(x) / (sp.exp(x) + sp.exp(nest))
    ends = [car.subs(value, 1) - sp.Rational(1, 3), sp.limit(1 / (1 + 2**value), value, 0)]
    half = ends[1] - sp.Rational(1, 2)
    return sp.Matrix([sp.simplify(car - 1 / (1 + 2**value)), sp.simplify(ends[0]), half])


def _ranking_probability(ranking: Sequence[Any]) -> sp.Expr:
    p, left = sp.Integer(1), list(ranking)
    while left:
        p *= left[0] / sum(left)
        left.pop(0)
    return p


def ranking_residual(n: int) -> sp.Expr:
    """Sum of the probabilities of all rankings of n alternatives, minus 1.

    Claim ``prop-plackett-luce``.

    Examples
    --------
    >>> from softmax_notes.symbolic import choice
    >>> choice.ranking_residual(3)
    0
    """
    u = symbols(n, "u", positive=True)
    return reduced(sum(_ranking_probability(ranking) for ranking in permutations(u)) - 1)


def before_residual(n: int) -> sp.Expr:
    """Probability that the first of n alternatives ranks before the second, minus u₁/(u₁ + u₂).

    Claim ``prop-plackett-luce``.

    Examples
    --------
    >>> from softmax_notes.symbolic import choice
    >>> choice.before_residual(3)
    0
    """
    u = symbols(n, "u", positive=True)
    p = sum(
        _ranking_probability(ranking)
        for ranking in permutations(u)
        if ranking.index(u[0]) < ranking.index(u[1])
    )
    return reduced(p - u[0] / (u[0] + u[1]))
