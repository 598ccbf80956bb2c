r"""Means that lean toward the maximum: the Boltzmann-weighted mean and mellowmax.

For scores x and a scale α, with :math:`p = \operatorname{softmax}(\alpha x)`,

.. math:: M_\alpha(x) = \sum_i p_i x_i , \qquad
   \operatorname{mm}_\alpha(x) = \frac{1}{\alpha} \log \frac{1}{n} \sum_i e^{\alpha x_i} .

Both are the plain mean at α = 0 and tend to the maximum as α grows; at α = ±inf the functions
here give the limits. Both are computed as m plus a correction, with m the maximum (for
a negative α, the minimum), so that equal scores, and limits, come out exactly.
"""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any, NamedTuple

from array_api_compat import device

from softmax_notes._arrays import Array, Axis, accurate_sum, prepared, rounded, scale_of
from softmax_notes.smooth_argmax import smooth_argmax

__all__ = ["boltzmann_mean", "mellowmax"]


def boltzmann_mean(
    x: Array, /, *, alpha: float = 1.0, axis: Axis = -1, where: Array | None = None
) -> Array:
    r"""Average scores with their own softmax as weights: :math:`\sum_i x_i\, p_i`.

    Parameters
    ----------
    x : array of real numbers
        Scores, of any shape; dtypes as in `softmax`.
    alpha : float, default 1.0
        The scale in :math:`p = \operatorname{softmax}(\alpha x)`, from -inf to inf. At inf the
        result is the maximum, at -inf the minimum, at 0 the mean.
    axis : int, tuple of int or None, default -1
        The axes to reduce; None means all of them.
    where : boolean array, optional
        Entries to include, as in `softmax`.

    Returns
    -------
    array
        Means, in the dtype of x. A score that has weight 0, such as -inf for alpha ≥ 0, adds 0.
        Where softmax(alpha x) is NaN the mean is: with NaN or +inf in the slice, or nothing but
        -inf; for alpha < 0 the infinities change places. A mean of no entries is NaN.

    Raises
    ------
    TypeError
        If x is complex, masked, a matrix or no array, or alpha is no single number.
    ValueError
        If alpha is NaN.

    Notes
    -----
    Never outside the range of the scores, but for rounding, and not monotone in them. See the
    chapter ``weighted_mean``, claims ``thm-boltzmann-limits``, ``thm-boltzmann-error``,
    ``prop-boltzmann-gradient`` and ``prop-boltzmann-in-alpha``.

    Examples
    --------
    >>> from softmax_notes.weighted_mean import boltzmann_mean
    >>> [round(float(boltzmann_mean([2.0, 1.0, 0.0], alpha=a)), 4) for a in (0, 1, 4)]
    [1.0, 1.5752, 1.9814]
    >>> float(boltzmann_mean([2.0, 1.0, 0.0], alpha=float("inf")))
    2.0
    """
    s = _setup(x, alpha, axis, where)
    half = 2 * _lag(s)
    mean = s.xp.where(s.xp.any(s.p != 0, axis=-1, keepdims=True), s.shift + half + half, s.xp.nan)
    return rounded(s.xp, s.sign * mean[..., 0] + 0.0, s.dtype)  # 0, not -0


def mellowmax(
    x: Array, /, *, alpha: float = 1.0, axis: Axis = -1, where: Array | None = None
) -> Array:
    r"""Logarithm of the mean exponential: :math:`\frac{1}{\alpha} \log \frac1n \sum e^{\alpha x}`.

    Parameters
    ----------
    x : array of real numbers
        Scores, of any shape; dtypes as in `softmax`.
    alpha : float, default 1.0
        The scale, from -inf to inf. At inf the result is the maximum, at -inf the minimum, at 0
        the mean.
    axis : int, tuple of int or None, default -1
        The axes to reduce; None means all of them.
    where : boolean array, optional
        Entries to include; an excluded entry is not counted in n either.

    Returns
    -------
    array
        Means, in the dtype of x. A slice that holds NaN, or no entry, is NaN. For alpha > 0 a
        slice that holds +inf is +inf; a score -inf adds 0 to the sum and 1 to n, and alpha = 0
        is the limit of that, -inf. For alpha < 0 the infinities change places.

    Raises
    ------
    TypeError, ValueError
        As in `boltzmann_mean`.

    Notes
    -----
    The gradient is softmax(alpha x). For the most probable entry alone the formula reads
    :math:`m - \log(n\, p_{\max}) / \alpha`, which is computed where the scores are spread; where
    they are close, as log1p of a mean of expm1, which keeps its digits as alpha goes to 0. See
    the chapter ``weighted_mean``, claims ``prop-mellowmax-order``, ``thm-mellowmax-nonexpansion``
    and ``prop-mellowmax-average``.

    Examples
    --------
    >>> from softmax_notes.weighted_mean import mellowmax
    >>> [round(float(mellowmax([2.0, 1.0, 0.0], alpha=a)), 4) for a in (0, 1, 4)]
    [1.0, 1.309, 1.73]
    """
    s = _setup(x, alpha, axis, where)
    xp, scale, largest = s.xp, abs(float(alpha)), float(s.xp.finfo(s.p.dtype).max)
    usable, spread = xp.isfinite(s.maximum), xp.max(-s.quarters, axis=-1, keepdims=True)
    near = usable & (spread < min(0.125 / (scale or 5e-324), largest))  # α (m - x) < 1/2 for all
    if math.isinf(scale):
        far = _lag(s)
    else:
        share = s.count * xp.sum(xp.where(s.pivot, s.p, 0.0), axis=-1, keepdims=True)
        log_share = xp.log(xp.where(near | (s.count == 0), 1.0, share))
        far = -0.25 * log_share * min(1 / (scale or 5e-324), largest)
    half = 2 * xp.where(near, _close_lag(s, spread, near, scale), far)
    mean = s.shift + half + half  # two halves, for neither to be past the largest number
    if scale == 0:
        mean = xp.where(near, mean, -xp.inf)
    mean = xp.where(usable, mean, s.maximum)
    mean = s.sign * xp.where(s.count > 0, mean, xp.nan)[..., 0] + 0.0  # 0, not -0
    return rounded(xp, mean, s.dtype)


class _Setup(NamedTuple):
    """Checked arguments, turned over for a negative α; arrays over the last axis, kept."""

    xp: ModuleType
    sign: float  # of α
    pivot: Array  # one-hot: the first entry that attains the maximum
    maximum: Array  # as found
    shift: Array  # the maximum, or 0 where that is no number
    quarters: Array  # (x - shift) / 4, never past the largest number; 0 where excluded
    p: Array  # softmax(αx)
    count: Array  # of entries, excluded ones left out
    dtype: Any  # of the result


def _setup(x: Array, alpha: float, axis: Axis, where: Array | None) -> _Setup:
    sign = math.copysign(1.0, scale_of(alpha))
    xp, x, mask, dtype, _ = prepared(x, axis, where)
    if 0 in x.shape:  # one entry that is excluded gives what no entry does
        x = xp.zeros((*x.shape[:-1], 1), dtype=x.dtype, device=device(x))
        mask = xp.zeros_like(x, dtype=xp.bool)
    mask = xp.ones_like(x, dtype=xp.bool) if mask is None else mask
    x = xp.where(mask, sign * x, -xp.inf)
    # The maximum as one entry of x: then derivatives of every order are right, ties included.
    pivot = xp.arange(x.shape[-1], device=device(x)) == xp.argmax(x, axis=-1, keepdims=True)
    maximum = xp.sum(xp.where(pivot, x, 0.0), axis=-1, keepdims=True)
    shift = xp.where(xp.isfinite(maximum), maximum, 0.0)
    quarters = xp.where(mask, x, shift) * 0.25 - shift * 0.25
    p = smooth_argmax(x, alpha=abs(alpha), where=mask)
    count = xp.sum(xp.astype(mask, x.dtype), axis=-1, keepdims=True)
    return _Setup(xp, sign, pivot, maximum, shift, quarters, p, count, dtype)


def _lag(s: _Setup) -> Array:
    """Give (Boltzmann mean - m) / 4; a weight 0 adds 0, times whatever it is."""
    return accurate_sum(s.xp, s.p * s.xp.where(s.p == 0, 0.0, s.quarters))


def _close_lag(s: _Setup, spread: Array, near: Array, scale: float) -> Array:
    """Give (mellowmax - m) / 4 where α (m - x) is small; spread is the largest (m - x) / 4."""
    xp, finfo = s.xp, s.xp.finfo(s.p.dtype)
    spread = xp.where(near & (spread > 0), spread, 1.0)
    # In units of the spread. With a smaller t the result would be the same, the mean.
    t = min(4 * scale, float(finfo.max)) * xp.where(near, spread, 0.0)
    t = xp.where(t < float(finfo.eps) / 8, float(finfo.eps) / 8, t)
    terms = xp.expm1(xp.where(near, s.quarters, 0.0) / spread * t)
    mean = accurate_sum(xp, terms) / xp.where(s.count > 0, s.count, 1.0)
    return xp.log1p(mean) / t * spread
