r"""Softmax, its logarithm, and the logarithm of its denominator.

For scores :math:`x \in \mathbb{R}^n`, in one slice along ``axis``,

.. math:: \operatorname{softmax}(x)_i = \frac{e^{x_i}}{\sum_k e^{x_k}}
   = \frac{e^{x_i - m}}{1 + r}, \qquad m = x_j = \max_k x_k, \qquad
   r = \sum_{k \ne j} e^{x_k - m}.

The second form is the one computed. The maximum enters as one entry j of x, not as a
constant, so that automatic differentiation of this code gives the true derivatives of every
order, ties included.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import device

from softmax_notes._arrays import (
    Array,
    Axis,
    accurate_sum,
    as_arrays,
    axes_last,
    broadcast,
    cast,
    flag,
    mask_of,
    normalized_axes,
    prepared,
    rounded,
    two_sum,
    undefined,
)

__all__ = ["log_softmax", "logsumexp", "softmax"]


def softmax(x: Array, /, *, axis: Axis = -1, where: Array | None = None) -> Array:
    r"""Turn scores into probabilities: :math:`e^{x_i} / \sum_k e^{x_k}`.

    Parameters
    ----------
    x : array of real numbers
        Scores, of any shape. Integers and booleans are promoted to the library's default
        floating dtype; float16 and bfloat16 are computed in float32 and rounded once.
    axis : int, tuple of int or None, default -1
        The axes along which the result sums to 1; None means all of them.
    where : boolean array, optional
        Entries to include; it must broadcast to the shape of x. An excluded entry counts
        as absent, whatever it holds, and its probability is 0.

    Returns
    -------
    array
        Probabilities, of the shape, dtype and device of x. A slice that holds NaN or +inf,
        or nothing but -inf, is NaN; one with every entry excluded is 0.

    Raises
    ------
    TypeError
        If x is complex, masked, a matrix or no array, or arrays of two libraries meet.

    Notes
    -----
    In float32 and float64 each entry is within 8 units in the last place of the true value,
    for any n and any range of scores; in 16-bit dtypes within 1. See the chapter
    ``definition``, claims ``thm-simplex`` and ``thm-shift-invariance``.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes import softmax
    >>> softmax(np.array([2.0, 1.0, 0.0])).round(4)
    array([0.6652, 0.2447, 0.09  ])
    >>> softmax([[1000.0, 1000.0], [0.0, -np.inf]])
    array([[0.5, 0.5],
           [1. , 0. ]])
    """
    xp, x, mask, dtype, back = prepared(x, axis, where)
    if x.shape[-1] == 0:
        return back(xp.astype(x, dtype))
    parts = _exponentials(xp, x)
    p = parts.terms / (1 + parts.rest + undefined(xp, parts.maximum, mask))
    if mask is not None:
        p = xp.where(mask, p, 0.0)
    return back(rounded(xp, p, dtype))


def log_softmax(x: Array, /, *, axis: Axis = -1, where: Array | None = None) -> Array:
    r"""Logarithm of softmax: :math:`x_i - \log \sum_k e^{x_k}`, accurate also near 0.

    Parameters
    ----------
    x : array of real numbers
        Scores, of any shape; dtypes as in `softmax`.
    axis : int, tuple of int or None, default -1
        The axes along which the probabilities sum to 1.
    where : boolean array, optional
        Entries to include, as in `softmax`; an excluded entry gives -inf.

    Returns
    -------
    array
        Log-probabilities, of the shape, dtype and device of x. A slice that holds NaN or
        +inf, or nothing but -inf, is NaN; one with every entry excluded is -inf.

    Raises
    ------
    TypeError
        As in `softmax`.

    Notes
    -----
    Computed as :math:`(x_i - m) - \operatorname{log1p}(r)` with the r of `definition`: both
    terms have one sign, so nothing cancels, and each entry is within 8 units in the last
    place in float32 and float64. See the chapter ``definition``, claim ``prop-log-softmax``.

    Examples
    --------
    The logarithm of the first probability is about -1.5e-8; its float32 is kept.

    >>> import numpy as np
    >>> from softmax_notes import log_softmax
    >>> log_p = log_softmax(np.array([18.0, 0.0], dtype=np.float32))
    >>> print(f"{log_p[0]:.4g} {log_p[1]:.4g}")
    -1.523e-08 -18
    """
    xp, x, mask, dtype, back = prepared(x, axis, where)
    if x.shape[-1] == 0:
        return back(xp.astype(x, dtype))
    parts = _exponentials(xp, x)
    # Below this the difference from the maximum is past the largest number.
    lowest = xp.maximum(parts.shift, xp.zeros_like(parts.shift)) - float(xp.finfo(x.dtype).max)
    difference = xp.where(parts.x < lowest, -xp.inf, parts.x) - parts.shift
    log_p = difference - (xp.log1p(parts.rest) + undefined(xp, parts.maximum, mask))
    if mask is not None:
        log_p = xp.where(mask, log_p, -xp.inf)
    return back(rounded(xp, log_p, dtype))


def logsumexp(
    x: Array,
    /,
    *,
    axis: Axis = None,
    b: Array | None = None,
    keepdims: bool = False,
    return_sign: bool = False,
    where: Array | None = None,
) -> Array | tuple[Array, Array]:
    r"""Logarithm of a sum of exponentials: :math:`\log \sum_k b_k e^{x_k}`.

    Parameters
    ----------
    x : array of real numbers
        Exponents, of any shape; dtypes as in `softmax`.
    axis : int, tuple of int or None, default None
        The axes summed over; None, as in NumPy's sums, means all of them.
    b : array, optional
        Factors of the exponentials, of either sign; x and b broadcast against each other.
        A factor 0 makes its entry absent, whatever x holds there.
    keepdims : bool, default False
        Keep the summed axes with length 1.
    return_sign : bool, default False
        Return the logarithm of the absolute value of the sum, and the sign of the sum.
    where : boolean array, optional
        Entries to include, as in `softmax`.

    Returns
    -------
    array, or two arrays if return_sign
        The logarithm, in the dtype of x: -inf for an empty sum, a sum of zeros, or a slice of
        nothing but -inf; +inf if a slice holds +inf and no NaN; NaN where the sum is
        negative and its sign is not asked for. The sign is 1, -1, or 0 for a sum that is 0.

    Raises
    ------
    TypeError
        As in `softmax`.

    Notes
    -----
    With all b positive the error is at most 8 units in the last place of the larger of the
    result and the shift m. Where the result is far smaller than m, or terms of both signs
    cancel, the problem itself is ill-conditioned: the error is then at most
    :math:`8 u (|m| + |\log s| + \kappa)`, with u the unit roundoff, :math:`s e^m` the sum and
    :math:`\kappa = \sum |b_k| e^{x_k} / |\sum b_k e^{x_k}|`. See the chapter ``definition``,
    claim ``prop-log-softmax``.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes import logsumexp
    >>> float(logsumexp([1000.0, 1000.0]))
    1000.6931471805599
    >>> log_abs, sign = logsumexp([0.0, 1.0], b=[1.0, -1.0], return_sign=True)
    >>> print(round(float(log_abs), 4), float(sign))
    0.5413 -1.0
    """
    keepdims, return_sign = flag(keepdims, "keepdims"), flag(return_sign, "return_sign")
    xp, (x,) = as_arrays(x)
    if b is not None:
        _, (x, b) = as_arrays(x, b)
        x, b = broadcast(xp, x, b, names="x and b")
        where = b != 0 if where is None else mask_of(xp, where, x) & (b != 0)
    _, exponents, mask, dtype, _ = prepared(x, axis, where)
    if exponents.shape[-1] == 0:
        sign = accurate_sum(xp, exponents)
        log_abs = sign - xp.inf
    else:
        parts = _exponentials(xp, exponents)
        if b is None:
            log_total, sign = xp.log1p(parts.rest), xp.ones_like(parts.rest)
        else:
            b, _ = axes_last(xp, cast(xp, b, exponents.dtype), axis)
            log_total, sign = _weighted_total(xp, parts, exponents, xp.where(mask, b, 0.0))
        # A maximum that is no number decides alone; spelled out, its gradient is 0 and not NaN.
        log_abs = xp.where(xp.isfinite(parts.maximum), parts.shift + log_total, xp.nan)
        log_abs = xp.where(parts.maximum == xp.inf, xp.inf, log_abs)
        log_abs = xp.where(parts.maximum == -xp.inf, -xp.inf, log_abs)
        log_abs = xp.where(xp.isnan(sign), xp.nan, log_abs)
        sign = xp.where(xp.isnan(log_abs), xp.nan, xp.where(log_abs == -xp.inf, 0.0, sign))
        if not return_sign:
            log_abs = xp.where(sign < 0, xp.nan, log_abs)
    shape = _reduced_shape(xp, x, axis, keepdims)
    results = [xp.reshape(rounded(xp, y, dtype), shape) for y in (log_abs, sign)]
    return (results[0], results[1]) if return_sign else results[0]


class _Parts(NamedTuple):
    """What softmax, log_softmax and logsumexp share; arrays over the last axis, kept."""

    x: Array  # the scores, 0 in a slice whose maximum is no number
    maximum: Array  # as found
    shift: Array  # the maximum, or 0 where that is no number
    pivot: Array  # one-hot: the first entry that attains the maximum
    terms: Array  # exp(x - shift)
    rest: Array  # sum of the terms without the pivot's, which is 1


def _exponentials(xp: ModuleType, x: Array) -> _Parts:
    """Shift by the maximum, exponentiate and sum along the last axis, which is not empty."""
    positions = xp.arange(x.shape[-1], device=device(x))
    pivot = positions == xp.argmax(x, axis=-1, keepdims=True)
    maximum = xp.sum(xp.where(pivot, x, 0.0), axis=-1, keepdims=True)
    usable = xp.isfinite(maximum)
    x = xp.where(usable, x, 0.0)
    shift = xp.where(usable, maximum, 0.0)
    # Twice as far down as the exponential reaches. Nothing overflows: where shift is so large
    # that the bound rounds to shift itself, anything below it is farther away than the bound.
    far = x < shift - _reach(xp, x.dtype)
    difference, lost = two_sum(xp.where(far, shift, x), -shift)
    terms = xp.where(far, 0.0, xp.exp(difference) * (1 + lost))
    rest = accurate_sum(xp, xp.where(pivot, 0.0, terms))
    return _Parts(x, maximum, shift, pivot, terms, rest)


def _reach(xp: ModuleType, dtype: Any) -> float:
    """Give a distance from which on exp(-distance) is 0 in dtype: 175 in float32."""
    return float(-2 * np.log(xp.finfo(dtype).smallest_normal))


def _weighted_total(xp: ModuleType, parts: _Parts, x: Array, b: Array) -> tuple[Array, Array]:
    """Sum b e^(x - shift); give the logarithm of its absolute value, and its sign."""
    # Where x = +inf, or the factor is infinite, the term is infinite with the sign of b.
    infinite = (x == xp.inf) | xp.isinf(b)
    plus = xp.any(infinite & (b > 0), axis=-1, keepdims=True)
    minus = xp.any(infinite & (b < 0), axis=-1, keepdims=True)
    # Infinities of both signs have no sum, and infinity times e^-inf is no number.
    undefined = plus & minus | xp.any(xp.isinf(b) & (x == -xp.inf), axis=-1, keepdims=True)
    b = xp.where(infinite, 0.0, b)
    first = xp.sum(xp.where(parts.pivot, b, 0.0), axis=-1, keepdims=True)
    rest = accurate_sum(xp, xp.where(parts.pivot, 0.0, b * parts.terms))
    total = first + rest
    # log1p keeps what a small rest adds; each branch gets harmless numbers where not taken.
    dominant = xp.abs(rest) < 0.5 * xp.abs(first)
    ratio = xp.where(dominant, rest, 0.0) / xp.where(dominant, first, 1.0)
    argument = xp.abs(xp.where(dominant, first, xp.where(total == 0, 1.0, total)))
    log_total = xp.where(total == 0, -xp.inf, xp.log(argument) + xp.log1p(ratio))
    log_total = xp.where(plus | minus, xp.inf, log_total)
    sign = xp.where(plus, 1.0, xp.where(minus, -1.0, xp.sign(total)))
    return log_total, xp.where(undefined, xp.nan, sign)


def _reduced_shape(xp: ModuleType, x: Array, axis: Axis, keepdims: bool) -> tuple[int, ...]:
    axes = normalized_axes(xp, x, axis)
    if keepdims:
        return tuple(1 if i in axes else size for i, size in enumerate(x.shape))
    return tuple(size for i, size in enumerate(x.shape) if i not in axes)
