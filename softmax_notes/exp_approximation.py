r"""How a machine evaluates :math:`e^x`: series, fractions, shifts, and a polynomial of its own.

Every method but the raw series works on a short interval, to which

.. math:: e^x = 2^k e^r, \qquad k = \operatorname{round}(x / \ln 2), \qquad
   r = x - k \ln 2, \qquad |r| \le \tfrac12 \ln 2

brings every x. `minimax_exp` is the whole of it, below 1 unit in the last place; its numbers are
data, `EXP_FLOAT32` and `EXP_FLOAT64`, for whoever writes it again in another language.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from softmax_notes._arrays import (
    Array,
    holds,
    one_of,
    rounded,
    whole,
    widened,
)
from softmax_notes._extras import needs

__all__ = [
    "EXP_FLOAT32",
    "EXP_FLOAT64",
    "ExpPolynomial",
    "Minimax",
    "cordic_exp",
    "cordic_shifts",
    "minimax",
    "minimax_exp",
    "pade_exp",
    "polynomial_for",
    "range_reduction",
    "reduced_exp",
    "taylor_exp",
]


class ExpPolynomial(NamedTuple):
    r"""What `minimax_exp` needs to know of a dtype, as plain numbers.

    :math:`e^x = 2^k (1 + r + r^2 q(r))`. Every number is exact in its dtype.

    Attributes
    ----------
    inverse_ln2 : float
        1 / ln 2, rounded.
    ln2_high, ln2_low : float
        ln 2 in two parts. The first ends in so many zero bits that k times it is exact.
    coefficients : tuple of float
        Of q, the constant first.
    lowest, highest : float
        Below the first, e^x rounds to 0; above the second, it is past the largest number.

    Examples
    --------
    >>> from softmax_notes.exp_approximation import EXP_FLOAT32
    >>> EXP_FLOAT32.ln2_high, len(EXP_FLOAT32.coefficients)
    (0.693145751953125, 5)
    """

    inverse_ln2: float
    ln2_high: float
    ln2_low: float
    coefficients: tuple[float, ...]
    lowest: float
    highest: float


_HIGHEST = 10_000  # a degree that takes a second; nothing is gained so far out

# Printed by polynomial_for.
EXP_FLOAT32 = ExpPolynomial(
    inverse_ln2=1.4426950216293335,
    ln2_high=0.693145751953125,
    ln2_low=1.428606765330187e-06,
    coefficients=(
        0.4999999403953552,
        0.1666652113199234,
        0.04166838899254799,
        0.008368713781237602,
        0.0013814604608342052,
    ),
    lowest=-103.97207641601562,
    highest=88.72283172607422,
)
EXP_FLOAT64 = ExpPolynomial(
    inverse_ln2=1.4426950408889634,
    ln2_high=0.6931471805598903,
    ln2_low=5.497923018708371e-14,
    coefficients=(
        0.5000000000000011,
        0.16666666666666413,
        0.0416666666665302,
        0.008333333333494414,
        0.0013888888943617557,
        0.00019841269506648223,
        2.480149311335075e-05,
        2.755758634028048e-06,
        2.763024277463019e-07,
        2.5000063018980965e-08,
    ),
    lowest=-745.1332191019411,
    highest=709.782712893384,
)


def taylor_exp(x: Array, /, degree: int) -> Array:
    r"""Sum the series up to ``degree``: :math:`\sum_{j \le d} x^j / j!`.

    Parameters
    ----------
    x : array of real numbers
        Exponents. Integers are promoted to the library's default floating dtype; float16 and
        bfloat16 are computed in float32 and rounded once.
    degree : int
        Highest power, from 0 on.

    Returns
    -------
    array
        Of the shape, dtype and device of x.

    Raises
    ------
    TypeError
        If x is complex, masked, a matrix or no array.
    ValueError
        If degree is negative.

    Notes
    -----
    Nothing is scaled: what is too large overflows as in the library, NumPy with its warning.
    As it stands it is for short intervals. Far from 0 the terms grow before they shrink, and at
    negative x they cancel: at −30 the sum in float64 is wrong in every digit. See the chapter
    ``exp_approximation``, claims ``thm-exp-taylor`` and ``prop-exp-cancellation``.

    Examples
    --------
    >>> from softmax_notes.exp_approximation import taylor_exp
    >>> round(float(taylor_exp(1.0, 8)), 5)
    2.71828
    """
    xp, x, dtype = widened(x)
    _check_degrees(degree=degree)
    term = total = xp.ones_like(x)
    for j in range(1, degree + 1):
        term = term * (x / j)
        total = total + term
    return rounded(xp, total, dtype)


def pade_exp(x: Array, /, m: int, n: int) -> Array:
    r"""Divide two polynomials, of degrees m and n, that together match m + n powers of x.

    .. math:: \frac{N(x)}{D(x)}, \quad N(x) = \sum_{j=0}^{m} \binom{m}{j}
       \frac{(m+n-j)!}{(m+n)!} x^j, \quad
       D(x) = \sum_{j=0}^{n} \binom{n}{j} \frac{(m+n-j)!}{(m+n)!} (-x)^j

    Parameters
    ----------
    x : array of real numbers
        Exponents near 0; dtypes as in `taylor_exp`.
    m, n : int
        Degrees of the numerator and the denominator, from 0 on. n = 0 is the Taylor polynomial.

    Returns
    -------
    array
        Of the shape, dtype and device of x.

    Raises
    ------
    TypeError
        As in `taylor_exp`.
    ValueError
        If m or n is negative.

    Notes
    -----
    Nothing is scaled: what is too large overflows as in the library, NumPy with its warning.
    See the chapter ``exp_approximation``, claim ``prop-exp-pade``.

    Examples
    --------
    >>> from softmax_notes.exp_approximation import pade_exp
    >>> float(pade_exp(1.0, 1, 1))  # (1 + x/2) / (1 - x/2)
    3.0
    >>> round(float(pade_exp(1.0, 4, 4)), 5)
    2.71828
    """
    xp, x, dtype = widened(x)
    _check_degrees(m=m, n=n)
    numerator = _horner(_pade_coefficients(m, n), x, xp.ones_like(x))
    denominator = _horner(_pade_coefficients(n, m), -x, xp.ones_like(x))
    return rounded(xp, numerator / denominator, dtype)


def cordic_shifts(last: int, /) -> list[int]:
    """List the shifts of hyperbolic CORDIC: 1, 2, 3, 4, 4, 5, ..., with 4, 13, 40, ... twice.

    Parameters
    ----------
    last : int
        The largest shift, from 1 on.

    Returns
    -------
    list of int
        The shifts in order. After a repeated shift s the next repeated one is 3 s + 1.

    Raises
    ------
    ValueError
        If last is less than 1.

    Notes
    -----
    See the chapter ``exp_approximation``, claim ``thm-exp-cordic``.

    Examples
    --------
    >>> from softmax_notes.exp_approximation import cordic_shifts
    >>> cordic_shifts(6)
    [1, 2, 3, 4, 4, 5, 6]
    """
    if not 1 <= whole(last, "last") <= 1074:  # 2**-1075 is 0
        raise ValueError(f"the last shift must be at least 1 and at most 1074, got {last}")
    shifts, twice = [], 4
    for shift in range(1, last + 1):
        shifts.append(shift)
        if shift == twice:
            shifts.append(shift)
            twice = 3 * shift + 1
    return shifts


def cordic_exp(x: Array, /, last: int) -> Array:
    r"""Rotate by hyperbolic angles whose rotations are shifts and additions.

    (cosh, sinh) is turned by :math:`\pm\operatorname{artanh} 2^{-s}`, s from `cordic_shifts`,
    towards the angle x; :math:`e^x` is the sum of the two. In binary arithmetic the factor
    :math:`2^{-s}` is a shift: no multiplication is needed.

    Parameters
    ----------
    x : array of real numbers
        Exponents in [-R, R], where R is the sum of all angles, 1.118 for many of them; dtypes
        as in `taylor_exp`.
    last : int
        The largest shift, from 1 on. Each adds one bit.

    Returns
    -------
    array
        Of the shape, dtype and device of x. Its derivative is 0 nearly everywhere: the result
        is a step function of x.

    Raises
    ------
    TypeError
        As in `taylor_exp`.
    ValueError
        If last is less than 1, or an entry lies outside [-R, R]; one that is not known yet
        (Dask, or inside ``jax.jit``) gives NaN instead.

    Notes
    -----
    See the chapter ``exp_approximation``, claim ``thm-exp-cordic``.

    Examples
    --------
    >>> from softmax_notes.exp_approximation import cordic_exp
    >>> [round(float(cordic_exp(1.0, last)), 5) for last in (4, 8, 16)]
    [2.87352, 2.70996, 2.71828]
    """
    xp, x, dtype = widened(x)
    shifts = cordic_shifts(last)
    angles = [math.atanh(2.0**-s) for s in shifts]
    inside = xp.abs(x) <= math.fsum(angles)
    if holds(xp.any(~inside & ~xp.isnan(x))):
        raise ValueError(f"x must be from -{math.fsum(angles):.4f} to {math.fsum(angles):.4f}")
    cosh = xp.ones_like(x) / math.prod(math.sqrt(1 - 4.0**-s) for s in shifts)
    sinh, rest = xp.zeros_like(x), x
    for s, angle in zip(shifts, angles, strict=True):
        step = xp.where(rest < 0, -(2.0**-s), xp.where(rest >= 0, 2.0**-s, rest))
        cosh, sinh = cosh + step * sinh, sinh + step * cosh
        rest = xp.where(rest < 0, rest + angle, rest - angle)
    return rounded(xp, xp.where(inside, cosh + sinh, xp.nan), dtype)


def range_reduction(x: Array, /) -> tuple[Array, Array, Array]:
    r"""Write x as :math:`k \ln 2 + r`, with a split ln 2 (Cody and Waite).

    Parameters
    ----------
    x : array of real numbers
        Finite exponents between the ``lowest`` and ``highest`` of the dtype; dtypes as in
        `taylor_exp`.

    Returns
    -------
    k : array
        Whole numbers, in the working dtype.
    r : array
        The rest, at most half of ln 2 and a little, in the working dtype.
    lost : array
        The rounding error of r: r + lost is nearer to x − k ln 2.

    Raises
    ------
    TypeError
        As in `taylor_exp`.

    Notes
    -----
    Nothing is scaled: what is too large overflows as in the library, NumPy with its warning.
    See the chapter ``exp_approximation``, claim ``lem-exp-reduction``.

    Examples
    --------
    >>> from softmax_notes.exp_approximation import range_reduction
    >>> k, r, _ = range_reduction(-30.0)
    >>> print(int(k), round(float(r), 4))
    -43 -0.1947
    """
    xp, x, _ = widened(x)
    return _reduced(xp, x, _numbers_for(xp, x))


def reduced_exp(x: Array, core: Callable[[Array], Array], /) -> Array:
    r"""Evaluate :math:`2^k \operatorname{core}(r)`: any method for a short interval, made whole.

    Parameters
    ----------
    x : array of real numbers
        Exponents, of any size; dtypes as in `taylor_exp`.
    core : callable
        Takes an array of numbers r, at most half of ln 2 and a little, to nearly :math:`e^r`.

    Returns
    -------
    array
        Of the shape, dtype and device of x: NaN at NaN; 0 below ``lowest``; +inf above
        ``highest``. No warning of an overflow escapes.

    Raises
    ------
    TypeError
        As in `taylor_exp`.

    Notes
    -----
    See the chapter ``exp_approximation``, claim ``lem-exp-reduction``.

    Examples
    --------
    >>> from softmax_notes.exp_approximation import reduced_exp, taylor_exp
    >>> print(f"{float(reduced_exp(-30.0, lambda r: taylor_exp(r, 14))):.12e}")
    9.357622968840e-14
    """

    def compensated(r: Array, lost: Array, numbers: ExpPolynomial) -> Array:
        value = core(r)
        return value + value * lost

    return _scaled(x, compensated)


def minimax_exp(x: Array, /) -> Array:
    r"""Evaluate :math:`e^x` by range reduction and a minimax polynomial.

    Parameters
    ----------
    x : array of real numbers
        Exponents, of any size; dtypes as in `taylor_exp`.

    Returns
    -------
    array
        Of the shape, dtype and device of x: NaN at NaN; 0 below ``lowest``; +inf above
        ``highest``. No warning of an overflow escapes.

    Raises
    ------
    TypeError
        As in `taylor_exp`.

    Notes
    -----
    The error is below 1 unit in the last place: in float32 for every number, in float64 at each
    of more than 10⁸ that were tried (``benchmarks/exp_exhaustive.json``). Results below the
    normal numbers are rounded twice; JAX on a CPU replaces them by 0. See the chapter
    ``exp_approximation``, claims ``lem-exp-reduction`` and ``thm-exp-alternation``.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes.exp_approximation import minimax_exp
    >>> minimax_exp(np.array([0.0, 1.0, 1000.0, -np.inf]))
    array([1.        , 2.71828183,        inf, 0.        ])
    """

    def core(r: Array, lost: Array, numbers: ExpPolynomial) -> Array:
        q = _horner(numbers.coefficients, r, 1.0)
        high = 1 + r
        # 1 - high + r is exactly what the addition lost: only the last one below rounds visibly.
        return high + ((1 - high + r) + (lost + r * (lost + r * q)))

    return _scaled(x, core)


class Minimax(NamedTuple):
    """A polynomial of `minimax`, and how good it is.

    Attributes
    ----------
    coefficients : tuple
        Of q, the constant first, as mpmath numbers.
    error : mpmath number
        The largest relative error of 1 + r + r² q(r) in exact arithmetic, to about six digits.
    bound : mpmath number
        No polynomial of this form and degree has a smaller largest error.

    Examples
    --------
    >>> from softmax_notes.exp_approximation import minimax
    >>> found = minimax(4)
    >>> bool(found.bound <= found.error <= 1.001 * found.bound)
    True
    """

    coefficients: tuple[Any, ...]
    error: Any
    bound: Any


def minimax(degree: int, /) -> Minimax:
    r"""Find the polynomial :math:`1 + r + r^2 q(r)` nearest to :math:`e^r`, by Remez's exchange.

    Nearest in the largest relative error on :math:`|r| \le \tfrac12 \ln 2` and a margin for the
    rounding of k. It needs mpmath.

    Parameters
    ----------
    degree : int
        Of the whole polynomial, from 2 on.

    Returns
    -------
    Minimax
        q, its error, and a lower bound for the error of any other.

    Raises
    ------
    ValueError
        If degree is less than 2.

    Notes
    -----
    See the chapter ``exp_approximation``, claim ``thm-exp-alternation``.

    Examples
    --------
    >>> from softmax_notes.exp_approximation import minimax
    >>> print(f"{float(minimax(6).error):.2e}")
    3.06e-09
    """
    with needs("symbolic"):
        import mpmath as mp

    if not 2 <= whole(degree, "degree") <= 24:  # beyond, 50 digits do not hold the error
        raise ValueError(f"the degree must be at least 2 and at most 24, got {degree}")
    with mp.workdps(50):
        end = mp.log(2) / 2 * (1 + mp.mpf(2) ** -14)
        nodes = [end * mp.cos(mp.pi * j / degree) for j in range(degree, -1, -1)]
        nodes.remove(min(nodes, key=abs))  # r² vanishes at 0: no equation there

        def error(q: list[Any], r: Any) -> Any:
            return (1 + r + r * r * mp.polyval(q[::-1], r)) * mp.exp(-r) - 1

        while True:
            rows = [[r**j for j in range(2, degree + 1)] for r in nodes]
            signed = [(-1) ** i * mp.exp(r) for i, r in enumerate(nodes)]
            system = mp.matrix([[*row, -s] for row, s in zip(rows, signed, strict=True)])
            solution = mp.lu_solve(system, mp.matrix([mp.expm1(r) - r for r in nodes]))
            q = list(solution)[:-1]
            nodes, heights = _extrema(mp, partial(error, q), end, degree)
            if max(heights) <= min(heights) * (1 + mp.mpf(10) ** -4):
                return Minimax(tuple(q), max(heights), min(heights))


def polynomial_for(dtype: str, /) -> ExpPolynomial:
    """Compute the numbers of a dtype from nothing but its format.

    The degree is the smallest whose error is below u / 16. It needs mpmath, and a second.

    Parameters
    ----------
    dtype : {"float32", "float64"}
        Name of the dtype.

    Returns
    -------
    ExpPolynomial
        `EXP_FLOAT32` or `EXP_FLOAT64`, computed again.

    Raises
    ------
    ValueError
        If dtype is another one.

    Notes
    -----
    See the chapter ``exp_approximation``, claims ``lem-exp-reduction`` and
    ``thm-exp-alternation``.

    Examples
    --------
    >>> from softmax_notes.exp_approximation import EXP_FLOAT32, polynomial_for
    >>> polynomial_for("float32") == EXP_FLOAT32
    True
    """
    with needs("symbolic"):
        import mpmath as mp

    one_of(dtype, ("float32", "float64"), "dtype")
    kind, finfo = np.dtype(dtype).type, np.finfo(dtype)
    bits = finfo.nmant + 1
    with mp.workdps(50):
        smallest = mp.mpf(2) ** (int(finfo.minexp) - finfo.nmant - 1)  # half: rounds to 0
        lowest, highest = mp.log(smallest), mp.log(mp.mpf(float(finfo.max)))
        spare = math.ceil(math.log2(float(-lowest / mp.log(2))))  # bits of k
        high = mp.floor(mp.ldexp(mp.log(2), bits - spare)) / mp.mpf(2) ** (bits - spare)
        degree = next(d for d in range(2, 20) if minimax(d).error < float(finfo.eps) / 32)
        q = minimax(degree).coefficients

        def toward_zero(value: Any) -> float:
            near = kind(float(value))
            return float(near if abs(float(near)) <= abs(value) else np.nextafter(near, kind(0)))

        return ExpPolynomial(
            float(kind(float(1 / mp.log(2)))),
            float(high),
            float(kind(float(mp.log(2) - high))),
            tuple(float(kind(float(c))) for c in q),
            toward_zero(lowest),
            toward_zero(highest),
        )


def _check_degrees(**degrees: int) -> None:
    for name, degree in degrees.items():
        if not 0 <= whole(degree, name) <= _HIGHEST:
            raise ValueError(f"{name} must be at least 0 and at most {_HIGHEST}, got {degree}")


def _horner(coefficients: tuple[float, ...], x: Array, one: Array | float) -> Array:
    """Evaluate a polynomial, the constant coefficient first."""
    total = coefficients[-1] * one
    for c in reversed(coefficients[:-1]):
        total = c + x * total
    return total


def _pade_coefficients(m: int, n: int) -> tuple[float, ...]:
    whole = math.factorial(m + n)
    return tuple(math.comb(m, j) * math.factorial(m + n - j) / whole for j in range(m + 1))


def _numbers_for(xp: ModuleType, x: Array) -> ExpPolynomial:
    return EXP_FLOAT32 if xp.finfo(x.dtype).bits == 32 else EXP_FLOAT64


def _reduced(xp: ModuleType, x: Array, numbers: ExpPolynomial) -> tuple[Array, Array, Array]:
    k = xp.round(x * numbers.inverse_ln2)
    difference = x - k * numbers.ln2_high  # exact
    low = k * numbers.ln2_low
    r = difference - low
    # low may be larger than difference: the error of a difference that needs no order.
    back = difference - r
    return k, r, (difference - (r + back)) + (back - low)


def _scaled(x: Array, core: Callable[[Array, Array, ExpPolynomial], Array]) -> Array:
    """Reduce the range, evaluate on the short interval, and scale by 2^k."""
    xp, x, dtype = widened(x)
    numbers = _numbers_for(xp, x)
    usable = (x >= numbers.lowest) & (x <= numbers.highest)
    k, r, lost = _reduced(xp, xp.where(usable, x, 0.0), numbers)
    # In two factors, for 2^k alone may be no normal number; the second is as the first, or once
    # doubled or halved.
    half = xp.round(k / 2)
    power, odd = _power_of_two(xp, half), k - 2 * half
    other = xp.where(odd > 0, 2 * power, xp.where(odd < 0, power / 2, power))
    value = core(r, lost, numbers) * power * other
    value = xp.where(x > numbers.highest, xp.inf, xp.where(x < numbers.lowest, 0.0, value))
    return rounded(xp, xp.where(xp.isnan(x), xp.nan, value), dtype)


def _power_of_two(xp: ModuleType, k: Array) -> Array:
    """Give 2^k for whole k, exactly: libraries round pow, and the standard has no ldexp."""
    rest, power = xp.abs(k), xp.ones_like(k)
    for bit in range(6 if xp.finfo(k.dtype).bits == 32 else 9, -1, -1):
        taken = rest >= 2.0**bit
        rest = xp.where(taken, rest - 2.0**bit, rest)
        factor = 2.0 ** (2.0**bit)
        power = xp.where(taken, xp.where(k < 0, power / factor, power * factor), power)
    return power


def _extrema(
    mp: Any, error: Callable[[Any], Any], end: Any, count: int
) -> tuple[list[Any], list[Any]]:
    """Find the largest error between each two changes of sign, and where it is."""
    steps = 64 * count
    width = 2 * end / steps
    points = [(r, error(r)) for r in (end * (2 * mp.mpf(j) / steps - 1) for j in range(steps + 1))]
    groups: list[list[Any]] = [[]]
    for r, e in points:
        if groups[-1] and e * groups[-1][-1][1] < 0:
            groups.append([])
        groups[-1].append((r, e))
    nodes, heights = [], []
    for group in groups:
        r, e = max(group, key=lambda pair: abs(pair[1]))
        if abs(r) < end:  # inside: the vertex of a parabola through three points
            left, right = abs(error(r - width)), abs(error(r + width))
            r = r + width * (left - right) / (2 * (left - 2 * abs(e) + right))
        nodes.append(r)
        heights.append(abs(error(r)))
    return nodes, heights
