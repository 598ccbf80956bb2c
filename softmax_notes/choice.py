r"""Choice from a set of alternatives: the matching law, Luce's axioms, and what goes beyond them.

Each alternative has a utility :math:`u(a) \ge 0`, and from a choice set A it is chosen with

.. math:: P(a \mid A) = \frac{u(a)}{\sum_{b \in A} u(b)} .

Softmax is this law with :math:`u = e^x`, and the choice set is its argument ``where``. Tables of
choice probabilities are dictionaries of Python numbers, so that fractions stay exact.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from fractions import Fraction
from types import ModuleType
from typing import Any, NamedTuple, TypeAlias

from softmax_notes._arrays import (
    Array,
    Axis,
    accurate_sum,
    axes_last,
    holds,
    mask_of,
    normalized_axes,
    number,
    rounded,
    whole,
    widened,
)
from softmax_notes.definition import log_softmax, logsumexp, softmax

__all__ = [
    "ChoiceTable",
    "Witness",
    "luce_witness",
    "matching_law",
    "nested_logit",
    "plackett_luce",
    "recover_utilities",
]

ChoiceTable: TypeAlias = Mapping[tuple[Hashable, ...], Sequence[Any]]


def matching_law(u: Array, /, *, axis: Axis = -1, where: Array | None = None) -> Array:
    r"""Choose in proportion to utility: :math:`u_i / \sum_k u_k` over a choice set.

    Parameters
    ----------
    u : array of non-negative real numbers
        Utilities, of any shape; dtypes as in `softmax`.
    axis : int, tuple of int or None, default -1
        The axes along which the alternatives stand; None means all of them.
    where : boolean array, optional
        The choice set: the alternatives on offer. It must broadcast to the shape of u. An
        alternative that is not on offer has probability 0, whatever u holds there.

    Returns
    -------
    array
        Probabilities, of the shape, dtype and device of u. A slice that holds NaN or +inf, or
        whose utilities are all 0, is NaN; one with nothing on offer is 0.

    Raises
    ------
    TypeError
        As in `softmax`.
    ValueError
        If a utility on offer is negative. Values that are not known yet (Dask, or inside
        ``jax.jit``) make their slice NaN instead.

    Notes
    -----
    The sum cannot overflow, and each entry is within 2 units in the last place. See the chapter
    ``choice``, claims ``thm-matching-axioms`` and ``cor-softmax-luce``.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes.choice import matching_law
    >>> utilities = np.array([8.0, 6.0, 4.0, 5.0, 9.0])
    >>> print(matching_law(utilities))
    [0.25    0.1875  0.125   0.15625 0.28125]
    >>> matching_law(utilities, where=[True, True, False, False, False]).round(4)
    array([0.5714, 0.4286, 0.    , 0.    , 0.    ])
    """
    xp, u, dtype = widened(u)
    offered = mask_of(xp, True if where is None else where, u)
    u, back = axes_last(xp, u, axis)
    offered, _ = axes_last(xp, offered, axis)
    if u.shape[-1] == 0:
        return back(xp.astype(u, dtype))
    u = xp.where(offered, u, 0.0)
    if holds(xp.any(u < 0)):
        raise ValueError(f"utilities must be 0 or more, got {float(xp.min(u[u < 0]))}")
    u = xp.where(u < 0, xp.nan, u)
    largest = xp.max(u, axis=-1, keepdims=True)
    usable = (largest > 0) & xp.isfinite(largest)
    # So far from the largest number that a sum cannot overflow; a power of 2 costs no bit.
    u = xp.where(largest > 2.0**-40 * float(xp.finfo(u.dtype).max), u * 2.0**-40, u)
    u = xp.where(usable, u, 1.0)
    p = xp.where(usable, u / accurate_sum(xp, u), xp.nan)
    return back(rounded(xp, xp.where(offered, p, 0.0), dtype))


class Witness(NamedTuple):
    r"""Where a table of choice probabilities breaks one of Luce's axioms.

    For alternative a of the smaller set B, inside the larger set A, the two sides of
    :math:`P(a \mid A) = P(a \mid B) \sum_{b \in B} P(b \mid A)` differ.

    Attributes
    ----------
    axiom : int
        1 if the left side is 0, so that the first axiom is broken too; otherwise 2.
    alternative : hashable
        The alternative a.
    smaller, larger : tuple
        The choice sets B and A, as the table writes them.
    left, right : number
        The two sides.

    Examples
    --------
    >>> from softmax_notes.choice import luce_witness
    >>> print(luce_witness({("a", "b"): (1, 0), ("a", "b", "c"): (0, 1, 0)}))
    Axiom 1 fails for 'a' in B = ('a', 'b') and A = ('a', 'b', 'c'): P(a|A) = 0, P(a|B) P(B|A) = 1
    """

    axiom: int
    alternative: Hashable
    smaller: tuple[Hashable, ...]
    larger: tuple[Hashable, ...]
    left: Any
    right: Any

    def __str__(self) -> str:
        return (
            f"Axiom {self.axiom} fails for {self.alternative!r} in B = {self.smaller} and "
            f"A = {self.larger}: P(a|A) = {self.left}, P(a|B) P(B|A) = {self.right}"
        )


def luce_witness(table: ChoiceTable, /, *, tolerance: float = 0) -> Witness | None:
    r"""Look for a place where a table of choice probabilities breaks Luce's axioms.

    Parameters
    ----------
    table : dict
        From each choice set, a tuple of alternatives, to their probabilities in the same order.
        Numbers may be `fractions.Fraction`, integers, floats, or anything that calculates.
    tolerance : number, default 0
        How far apart two numbers may be and still count as equal. 0 decides exactly, and is
        for exact numbers; floats need more, say 1e-9.

    Returns
    -------
    Witness or None
        The first place that breaks an axiom, in the order of the table; None if there is none.

    Raises
    ------
    TypeError
        If a choice set is no tuple.
    ValueError
        If a choice set repeats an alternative or is listed twice, if its probabilities are too
        many, too few, negative, NaN, or do not sum to 1, or if the tolerance is negative or NaN.

    Notes
    -----
    All pairs of listed sets B ⊂ A are tried. Axiom 2 contains Axiom 1, so it is enough to
    compare its two sides. A table that satisfies the axioms need not follow a matching law:
    `recover_utilities` decides that. See the chapter ``choice``, claims ``prop-axiom-one`` and
    ``thm-luce``.

    Examples
    --------
    Two buses of different colors, and people who do not look at the color:

    >>> from fractions import Fraction
    >>> from softmax_notes.choice import luce_witness
    >>> half, quarter = Fraction(1, 2), Fraction(1, 4)
    >>> buses = {("car", "red"): (half, half), ("car", "red", "blue"): (half, quarter, quarter)}
    >>> print(luce_witness(buses).alternative, luce_witness(buses).left, luce_witness(buses).right)
    car 1/2 3/8
    >>> print(luce_witness({("dog", "cat"): (Fraction(4, 7), Fraction(3, 7))}))
    None
    """
    sets = _checked_table(table, tolerance)
    for smaller, inner in sets.items():
        for larger, outer in sets.items():
            if inner.keys() < outer.keys():
                total = sum(outer[b] for b in inner)
                for a in smaller:
                    left, right = outer[a], inner[a] * total
                    if abs(left - right) > tolerance:
                        axiom = 1 if left <= tolerance else 2
                        return Witness(axiom, a, smaller, larger, left, right)
    return None


def recover_utilities(table: ChoiceTable, /, *, tolerance: float = 0) -> dict[Hashable, Any]:
    """Find the utilities behind a table of choice probabilities, if there are any.

    Parameters
    ----------
    table : dict
        As in `luce_witness`.
    tolerance : number, default 0
        As in `luce_witness`.

    Returns
    -------
    dict
        From each alternative to its utility. The first alternative that is ever chosen has
        utility 1, which fixes the free factor; one that is never chosen has utility 0.

    Raises
    ------
    TypeError
        As in `luce_witness`.
    ValueError
        As in `luce_witness`; if no utilities give these probabilities; or if several do, not
        all multiples of each other, because no chain of choice sets links two alternatives.

    Notes
    -----
    Each listed set tells the ratios of the utilities of its members. They are followed from
    set to set, and the result is compared with the whole table. See the chapter ``choice``,
    claim ``thm-luce``.

    Examples
    --------
    >>> from fractions import Fraction
    >>> from softmax_notes.choice import recover_utilities
    >>> u = recover_utilities({("dog", "cat"): (Fraction(4, 7), Fraction(3, 7))})
    >>> print(u["dog"], u["cat"])
    1 3/4
    """
    sets = _checked_table(table, tolerance)
    u: dict[Hashable, Any] = {}
    starts = []
    for members, p in sets.items():
        for a in members:
            if p[a] > tolerance and a not in u:
                starts.append(a)
                u[a] = p[a] / p[a]  # 1, of the table's kind of number
                _follow_ratios(sets.values(), u, a, tolerance)
    for members, p in sets.items():
        total = sum(u.setdefault(a, 0) for a in members)
        for a in members:
            if abs(p[a] * total - u[a]) > tolerance * total:
                raise ValueError(
                    f"no utilities give these probabilities: P({a!r} | {members}) is {p[a]}, "
                    f"but the ratios in the other choice sets make it {u[a] / total}"
                )
    if len(starts) > 1:
        raise ValueError(
            f"no choice set, nor a chain of them, links {starts[0]!r} to {starts[1]!r}: "
            "the ratio of their utilities is free"
        )
    return u


def _follow_ratios(sets: Any, u: dict[Hashable, Any], start: Hashable, tolerance: float) -> None:
    """Find the utilities of all alternatives that are linked to one whose utility is known."""
    waiting = [start]
    for a in waiting:
        for p in sets:
            if p.get(a, 0) > tolerance:
                for b in p:
                    if p[b] > tolerance and b not in u:
                        u[b] = u[a] * p[b] / p[a]
                        waiting.append(b)


def _checked_table(
    table: ChoiceTable, tolerance: float
) -> dict[tuple[Hashable, ...], dict[Hashable, Any]]:
    """Turn each row into a dictionary from alternative to probability."""
    if not number(tolerance, "tolerance") >= 0:
        raise ValueError(f"tolerance must be 0 or more, got {tolerance!r}")
    if not isinstance(table, Mapping):
        raise TypeError(
            "table must map choice sets to probabilities, as a dict does, got "
            f"{type(table).__name__}"
        )
    sets: dict[tuple[Hashable, ...], dict[Hashable, Any]] = {}
    for members, values in table.items():
        if not isinstance(members, tuple):
            raise TypeError(
                f"a choice set in table must be a tuple of alternatives, got {members!r}"
            )
        if len(members) != len(values):
            raise ValueError(f"{members} needs {len(members)} probabilities, got {len(values)}")
        p = dict(zip(members, values, strict=True))
        if len(p) < len(members):
            raise ValueError(f"the choice set {members} repeats an alternative")
        if any(p.keys() == other.keys() for other in sets.values()):
            raise ValueError(f"the choice set {members} is listed twice")
        if not all(value >= 0 for value in values):
            raise ValueError(f"the probabilities of {members} must be 0 or more, got {values}")
        floats = [value for value in values if isinstance(value, float) and math.isfinite(value)]
        # Exactly: Python's own sum of floats is rounded, and since 3.12 in another way than before.
        total = sum(Fraction(value) if value in floats else value for value in values)
        if not abs(total - 1) <= tolerance:
            got = f"1 {'-+'[total > 1]} {float(abs(total - 1)):.1e}" if floats else total
            raise ValueError(
                f"the probabilities of {members} must sum to 1, got {got}; "
                "pass fractions, or a tolerance for floats"
            )
        sets[members] = p
    return sets


def nested_logit(
    x: Array,
    nests: Sequence[Sequence[int]],
    /,
    *,
    dissimilarity: float | Sequence[float] = 1.0,
    axis: Axis = -1,
    where: Array | None = None,
) -> Array:
    r"""Choose a nest of similar alternatives first, then one of its members.

    With dissimilarity :math:`\lambda_m` of nest m and
    :math:`v_m = \lambda_m \log \sum_{k \in m} e^{x_k / \lambda_m}`, the probability of i in m is
    :math:`\operatorname{softmax}(v)_m \, e^{x_i / \lambda_m} / \sum_{k \in m} e^{x_k / \lambda_m}`.

    Parameters
    ----------
    x : array of real numbers
        Scores, of any shape; dtypes as in `softmax`.
    nests : sequence of sequences of int
        Positions from 0 along axis, each in exactly one nest.
    dissimilarity : float in [0, 1], or one for each nest, default 1
        1: the members have nothing in common, and the result is softmax. 0: the limit where
        they are copies of each other; the nest counts once, as its best member, and members
        that tie for the best share equally.
    axis : int, tuple of int or None, default -1
        The axes along which the result sums to 1.
    where : boolean array, optional
        Alternatives on offer, as in `softmax`.

    Returns
    -------
    array
        Probabilities, of the shape, dtype and device of x; NaN and 0 as in `softmax`.

    Raises
    ------
    TypeError
        As in `softmax`.
    ValueError
        If the nests are no partition of the positions, or a dissimilarity is outside [0, 1].

    Notes
    -----
    See the chapter ``choice``, claim ``prop-nested-logit``.

    Examples
    --------
    A car, and two buses that differ in color only:

    >>> from softmax_notes.choice import nested_logit
    >>> for value in (1.0, 0.5, 0.0):
    ...     print(nested_logit([0, 0, 0], [[0], [1, 2]], dissimilarity=value).round(4))
    [0.3333 0.3333 0.3333]
    [0.4142 0.2929 0.2929]
    [0.5  0.25 0.25]
    """
    xp, x, dtype = widened(x)
    offered = mask_of(xp, True if where is None else where, x)
    x, back = axes_last(xp, x, axis)
    offered, _ = axes_last(xp, offered, axis)
    n = x.shape[-1]
    values = _checked_nests(nests, dissimilarity, n)
    if n == 0:
        return back(xp.astype(x, dtype))
    members = [mask_of(xp, [k in nest for k in range(n)], x) for nest in nests]
    x = xp.where(offered, x, -xp.inf)
    parts = [
        _nest(xp, xp.where(member, x, -xp.inf), value)
        for member, value in zip(members, values, strict=True)
    ]
    outer = softmax(xp.concat([v for v, _ in parts], axis=-1))
    p = xp.zeros_like(x)
    for m, member in enumerate(members):
        p = xp.where(member & offered, parts[m][1] * outer[..., m : m + 1], p)
    return back(rounded(xp, p, dtype))


def _nest(xp: ModuleType, x: Array, value: float) -> tuple[Array, Array]:
    """Give a nest's score and the probabilities of its members; others have the score -inf."""
    largest = xp.max(x, axis=-1, keepdims=True)
    usable = xp.isfinite(largest)
    shift = xp.where(usable, largest, 0.0)
    x = xp.where(usable, x, 0.0)
    # Members so far below the best that their exponential is 0; at value 0, all that are below.
    far = x < shift - 2000 * value
    difference = (xp.where(far, shift, x) - shift) / (value or 1.0)
    scaled = xp.where(far, -xp.inf, difference)
    members: Array = logsumexp(scaled, axis=-1, keepdims=True)
    return xp.where(usable, shift + value * members, largest), softmax(scaled)


def _listed(values: object) -> bool:
    """Tell whether values have a length and can be gone through; words are no lists here."""
    countable = hasattr(values, "__len__") and getattr(values, "ndim", 1) > 0
    return countable and not isinstance(values, str | bytes)


def _checked_nests(
    nests: Sequence[Sequence[int]], dissimilarity: float | Sequence[float], n: int
) -> list[float]:
    if not _listed(nests) or not all(map(_listed, nests)):
        raise TypeError(f"nests must be lists of positions, got {nests!r}")
    positions = sorted(whole(k, "a position in nests") for nest in nests for k in nest)
    if positions != list(range(n)) or not all(len(nest) for nest in nests):
        raise ValueError(f"nests must hold each position from 0 to {n - 1} once, got {nests}")
    values = (
        list(dissimilarity) if isinstance(dissimilarity, Sequence) else [dissimilarity] * len(nests)
    )
    if len(values) != len(nests):
        raise ValueError(
            f"dissimilarity must be one number, or one for each of {len(nests)} nests, got "
            f"{len(values)}"
        )
    for value in values:
        if not 0 <= number(value, "dissimilarity") <= 1:
            raise ValueError(f"dissimilarity must be from 0 to 1, got {value!r}")
    return [float(value) for value in values]


def plackett_luce(x: Array, ranking: Sequence[int], /, *, axis: int = -1) -> Array:
    r"""Log-probability of a ranking: the best is chosen, then the best of the others, and so on.

    Parameters
    ----------
    x : array of real numbers
        Scores, the logarithms of utilities, of any shape; dtypes as in `softmax`.
    ranking : sequence of int
        Positions along axis, the first place first; all of them, or the first few places.
    axis : int, default -1
        The axis along which the alternatives stand.

    Returns
    -------
    array
        :math:`\sum_j \log P(r_j \mid \text{all but } r_1, \dots, r_{j-1})`, of the shape of x
        without axis; 0 for an empty ranking.

    Raises
    ------
    TypeError
        As in `softmax`.
    ValueError
        If the ranking repeats a position or leaves the range.

    Notes
    -----
    With two alternatives this is the model of Bradley and Terry. See the chapter ``choice``,
    claim ``prop-plackett-luce``.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes.choice import plackett_luce
    >>> x = np.log([8.0, 6.0, 4.0])
    >>> np.exp(plackett_luce(x, [0, 1, 2])).round(4)  # 8/18 times 6/10
    np.float64(0.2667)
    """
    xp, x, dtype = widened(x)
    (axis,) = normalized_axes(xp, x, (axis,))
    x = xp.moveaxis(x, axis, -1)
    n = x.shape[-1]
    if not _listed(ranking):
        raise TypeError(f"ranking must be a list of positions, got {ranking!r}")
    places = [whole(k, "a position in ranking") for k in ranking]
    if len(set(places)) < len(places) or not all(0 <= k < n for k in places):
        raise ValueError(f"a ranking holds distinct positions from 0 to {n - 1}, got {ranking}")
    total = xp.sum(xp.zeros_like(x), axis=-1)
    for j, k in enumerate(places):
        left = [i not in places[:j] for i in range(n)]
        total = total + log_softmax(x, where=left)[..., k]
    return rounded(xp, total, dtype)
