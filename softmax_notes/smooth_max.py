r"""The smooth maximum: logsumexp with a scale.

For scores :math:`x \in \mathbb{R}^n`, in one slice along ``axis``, and a scale α,

.. math:: \operatorname{LSE}_\alpha(x) = \frac{1}{\alpha} \log \sum_k e^{\alpha x_k}
   = m + \frac{1}{\alpha} \log \sum_k e^{\alpha (x_k - m)} ,

with m the maximum, or for a negative α the minimum. The second form is the one computed: the
first forms αx, which may overflow where the result does not.
"""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np

from softmax_notes._arrays import Array, Axis, accurate_sum, prepared, rounded, scale_of
from softmax_notes.definition import logsumexp

__all__ = ["negative_entropy", "smooth_max"]


def smooth_max(
    x: Array, /, *, alpha: float = 1.0, axis: Axis = None, where: Array | None = None
) -> Array:
    r"""Smooth maximum of scores: :math:`\frac{1}{\alpha} \log \sum_k e^{\alpha x_k}`.

    Parameters
    ----------
    x : array of real numbers
        Scores, of any shape. Integers and booleans are promoted to the library's default
        floating dtype; float16 and bfloat16 are computed in float32 and rounded once.
    alpha : float, default 1.0
        The scale, a number from -inf to inf but not 0. The larger, the closer to the maximum,
        which is the value at inf. A negative scale gives a smooth minimum.
    axis : int, tuple of int or None, default None
        The axes to reduce; None, as in `logsumexp`, means all of them.
    where : boolean array, optional
        Entries to include, as in `logsumexp`.

    Returns
    -------
    array
        The smooth maximum, in the dtype of x. With a positive scale a slice that holds NaN is
        NaN; another that holds +inf is +inf; one with no entry, or nothing but -inf, is -inf.
        With a negative scale the signs change places.

    Raises
    ------
    TypeError
        If x is complex, masked, a matrix or no array, or alpha is no single number.
    ValueError
        If alpha is NaN or 0, or smaller in size than the smallest normal number of the
        precision computed in: as alpha goes to 0, (log n) / alpha grows without bound.

    Notes
    -----
    Differentiable by the array library, with the gradient softmax(alpha x); at alpha = ±inf
    entries that tie share it evenly. The rounding error is a few units in the last place of
    the larger of m and (log n) / alpha. See the chapter ``smooth_max``, claims
    ``thm-lse-bounds``, ``prop-lse-gradient`` and ``prop-lse-alpha``.

    Examples
    --------
    >>> from softmax_notes.smooth_max import smooth_max
    >>> [round(float(smooth_max([2.0, 1.0, 0.0], alpha=a)), 4) for a in (1, 4, float("inf"))]
    [2.4076, 2.0046, 2.0]
    >>> round(float(smooth_max([2.0, 1.0, 0.0], alpha=-1)), 4)
    -0.4076
    """
    scale = scale_of(alpha)
    if scale == 0:
        raise ValueError(
            f"alpha must be from -inf to inf and not 0, got {alpha}: as alpha goes to 0, "
            "(log n) / alpha grows without bound"
        )
    xp, x, mask, dtype, _ = prepared(x, axis, where)
    # What is left out is at the end that is not looked for: -inf for a maximum.
    y = x if mask is None or scale > 0 else xp.where(mask, x, xp.inf)
    y = y if scale > 0 else -y
    return rounded(xp, math.copysign(1.0, scale) * _smooth_max(xp, y, abs(scale)), dtype)


def negative_entropy(p: Array, /, *, axis: Axis = -1) -> Array:
    r"""Negative entropy of distributions: :math:`\sum_k p_k \log p_k`.

    Parameters
    ----------
    p : array of real numbers
        Probabilities, along ``axis``; an entry 0 adds 0.
    axis : int, tuple of int or None, default -1
        The axes to reduce.

    Returns
    -------
    array
        From -log n, where all n entries are equal, to 0 at a corner; in the dtype of p. A slice
        with a negative entry is NaN.

    Raises
    ------
    TypeError
        If p is complex, masked, a matrix or no array.

    Notes
    -----
    The convex conjugate of `smooth_max` at scale 1; at scale α divide by α. See the chapter
    ``smooth_max``, claim ``thm-lse-conjugate``.

    Examples
    --------
    >>> from softmax_notes.smooth_max import negative_entropy
    >>> negative_entropy([[0.5, 0.5], [1.0, 0.0]]).round(4)
    array([-0.6931,  0.    ])
    """
    xp, p, _, dtype, _ = prepared(p, axis, None)
    positive = p > 0
    log_p = xp.log(xp.where(positive, p, 1.0))  # 0 log 0 is 0, and so is its gradient
    terms = p * xp.where(p < 0, xp.nan, log_p)
    return rounded(xp, accurate_sum(xp, terms)[..., 0], dtype)


def _smooth_max(xp: ModuleType, x: Array, scale: float) -> Array:
    """Reduce the last axis, with a positive scale."""
    if x.shape[-1] == 0:
        return logsumexp(x, axis=-1)
    maximum = xp.max(x, axis=-1, keepdims=True)
    finfo = xp.finfo(x.dtype)
    tiny, huge = float(finfo.smallest_normal), float(finfo.max)
    if scale < tiny:
        raise ValueError(
            f"alpha must not be closer to 0 than {tiny:.3g} in {x.dtype}, got {scale:.3g}: "
            "(log n) / alpha would grow without bound"
        )
    if scale >= huge / 2:  # no number of this dtype tells it from infinity
        return maximum[..., 0]
    shift = xp.where(xp.isfinite(maximum), maximum, 0.0)
    # Halves, because a difference of finite numbers may be past the largest. Beyond the
    # reach the exponential is 0, and the product with the scale could overflow.
    half = 0.5 * x - 0.5 * shift
    reach = min(-float(np.log(tiny)) / scale, huge)
    far = half < -reach
    exponents = xp.where(far, -xp.inf, 2 * scale * xp.where(far, 0.0, half))
    log_total: Array = logsumexp(exponents, axis=-1)
    return shift[..., 0] + log_total / scale
