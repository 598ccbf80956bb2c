r"""Softmax as a smooth argmax: the winner, its position, the k winners, the share of hits.

The argmax of scores x, written one-hot, is the limit of :math:`\operatorname{softmax}(\alpha x)`
as the scale α grows, wherever the maximum is attained once. Every function here takes α from
-inf to inf; at an infinite α it gives the limit.

What is exponentiated is α (x − m), not αx. The softmax is the same, large products cannot
overflow, and nothing is rounded at the scale of scores that are large and close together.
"""

from __future__ import annotations

import math
from types import ModuleType

from array_api_compat import device

from softmax_notes._arrays import (
    Array,
    Axis,
    accurate_sum,
    as_arrays,
    prepared,
    rounded,
    scale_of,
    whole,
)
from softmax_notes.cross_entropy import cross_entropy
from softmax_notes.definition import logsumexp, softmax

__all__ = ["smooth_argmax", "soft_accuracy", "soft_position", "soft_top_k"]


def smooth_argmax(
    x: Array, /, *, alpha: float = 1.0, axis: Axis = -1, where: Array | None = None
) -> Array:
    r"""Give softmax(αx): the one-hot argmax of x, softened.

    Parameters
    ----------
    x : array of real numbers
        Scores, of any shape; dtypes as in `softmax`.
    alpha : float, default 1.0
        The scale, or inverse temperature, from -inf to inf. At inf the result is uniform over
        the entries that attain the maximum, at -inf over those that attain the minimum, at 0
        over all.
    axis : int, tuple of int or None, default -1
        The axes along which the result sums to 1; None means all of them.
    where : boolean array, optional
        Entries to include, as in `softmax`; an excluded entry has share 0.

    Returns
    -------
    array
        Shares, of the shape, dtype and device of x. For alpha ≥ 0 the edges are those of
        `softmax`: a score -inf has share 0, a slice that holds NaN or +inf, or nothing but
        -inf, is NaN. For alpha < 0 the infinities change places.

    Raises
    ------
    TypeError
        If x is complex, masked, a matrix or no array, or alpha is no single number.
    ValueError
        If alpha is NaN.

    Notes
    -----
    At an infinite alpha the derivative is 0: the result is constant wherever it has one. For
    alpha = 1 this is `softmax`; for any other, a share is within
    :math:`8 + 2 |\alpha (x_i - m)|` units in the last place in float32 and float64, with m the
    score that wins. See the chapter ``smooth_argmax``, claims ``prop-argmax-chain``,
    ``thm-argmax-limit``, ``thm-argmax-rate`` and ``prop-share-in-alpha``.

    Examples
    --------
    The largest of seven digits of π is the sixth.

    >>> from softmax_notes.smooth_argmax import smooth_argmax
    >>> smooth_argmax([3, 1, 4, 1, 5, 9, 2], alpha=1).round(3)
    array([0.002, 0.   , 0.007, 0.   , 0.018, 0.972, 0.001])
    >>> smooth_argmax([3, 1, 4, 1, 5, 9, 2], alpha=-float("inf"))
    array([0. , 0.5, 0. , 0.5, 0. , 0. , 0. ])
    """
    alpha = scale_of(alpha)
    if alpha == 1:
        return softmax(x, axis=axis, where=where)
    xp, x, mask, dtype, back = prepared(x, axis, where)
    p = softmax(_scaled(xp, x, mask, alpha), where=mask)
    return back(rounded(xp, p, dtype))


def soft_position(
    x: Array, /, *, alpha: float = 1.0, axis: int = -1, where: Array | None = None
) -> Array:
    r"""Average the positions 0, 1, …, n − 1 with the shares: :math:`\sum_i i\, p_i`.

    Parameters
    ----------
    x : array of real numbers
        Scores, of any shape; dtypes as in `softmax`.
    alpha : float, default 1.0
        The scale, as in `smooth_argmax`.
    axis : int, default -1
        The axis along which positions are counted, from 0.
    where : boolean array, optional
        Entries to include, as in `smooth_argmax`.

    Returns
    -------
    array
        A real number for each slice, of the shape of x without ``axis``, in the dtype of x.
        NaN where the shares are, and where no entry is included.

    Raises
    ------
    TypeError, ValueError
        As in `smooth_argmax`.

    Notes
    -----
    It is close to the position of the maximum only where one entry holds nearly all of the
    shares. See the chapter ``smooth_argmax``, claims ``prop-soft-position`` and
    ``prop-position-symmetry``.

    Examples
    --------
    >>> from softmax_notes.smooth_argmax import soft_position
    >>> round(float(soft_position([3, 1, 4, 1, 5, 9, 2], alpha=2)), 4)
    4.9995

    Two peaks: the answer lies between them, where the score is lowest.

    >>> float(soft_position([5, 0, 0, 0, 5], alpha=10))
    2.0
    """
    xp, x, mask, dtype, _ = prepared(x, axis, where)
    p = smooth_argmax(x, alpha=alpha, where=mask)
    positions = xp.arange(p.shape[-1], dtype=p.dtype, device=device(p))
    total = accurate_sum(xp, p * positions)[..., 0]
    # Shares that are all 0: there is no entry, and no position.
    return rounded(xp, xp.where(xp.any(p != 0, axis=-1), total, xp.nan), dtype)


def soft_top_k(
    x: Array, k: int, /, *, alpha: float, axis: Axis = -1, where: Array | None = None
) -> Array:
    r"""Choose k winners softly, one after another: after each, x ← x + log(1 − p).

    Round j gives :math:`p = \operatorname{softmax}(\alpha x)`; then every score pays
    for the share its entry has received, and the next round begins.

    Parameters
    ----------
    x : array of real numbers
        Scores, of any shape; dtypes as in `softmax`.
    k : int
        Number of rounds, from 1 to the number of entries.
    alpha : float
        The scale, as in `smooth_argmax`; it has no default, since 1 is a bad choice. A
        negative one chooses the k smallest.
    axis : int, tuple of int or None, default -1
        The axes along which the entries compete.
    where : boolean array, optional
        Entries to include, as in `smooth_argmax`.

    Returns
    -------
    array, shape (k, ...)
        The shares of each round, of the shape and dtype of x. Their sum over the rounds is a
        soft "k-hot" vector; an entry of it may exceed 1. A round for which no entry is left is
        NaN.

    Raises
    ------
    TypeError
        As in `smooth_argmax`, or if k is no integer.
    ValueError
        If k is out of its range, or alpha is NaN.

    Notes
    -----
    log(1 − p) of a winner is taken from the shares of the others, so that a share which
    rounds to 1 still has a finite price. See the chapter ``smooth_argmax``, claims
    ``thm-soft-top-k`` and ``prop-top-k-scale-one``.

    Examples
    --------
    >>> from softmax_notes.smooth_argmax import soft_top_k
    >>> soft_top_k([3.0, 2.0, 1.0, 0.0], 2, alpha=4).round(3)
    array([[0.982, 0.018, 0.   , 0.   ],
           [0.   , 0.98 , 0.019, 0.   ]])
    """
    alpha, k = scale_of(alpha), whole(k, "k")
    xp, x, mask, dtype, back = prepared(x, axis, where)
    if not 1 <= k <= x.shape[-1]:
        raise ValueError(f"k must be from 1 to the {x.shape[-1]} entries, got {k}")
    x, rounds = x if alpha >= 0 else -x, []
    for _ in range(k):
        y = _scaled(xp, x, mask, abs(alpha))
        p = softmax(y, where=mask)
        rounds.append(back(rounded(xp, p, dtype)))
        x = x + _log_complement(xp, y, p)
    return xp.stack(rounds)


def soft_accuracy(logits: Array, target: Array, /, *, alpha: float = 1.0, axis: int = -1) -> Array:
    r"""Average the shares of the right classes: the mean of :math:`p_t`.

    Accuracy counts a row as 1 if the target's score is the largest and as 0 if not; this
    counts it as the target's share, and can be trained.

    Parameters
    ----------
    logits : array
        Scores, with n classes along ``axis``; dtypes as in `softmax`.
    target : array of integers
        Class indices from 0 to n - 1, of the shape of logits without ``axis``.
    alpha : float, default 1.0
        The scale, as in `smooth_argmax`. At inf this is accuracy, with a tie of k classes
        counted as 1/k.
    axis : int, default -1
        The axis of the classes.

    Returns
    -------
    array
        A single number from 0 to 1, in the dtype of logits. NaN if there are no rows.

    Raises
    ------
    TypeError
        If an argument is complex, masked, a matrix or no array, or alpha is no single number.
    ValueError
        If target holds no class indices, or one out of range, or alpha is NaN.

    Notes
    -----
    The share is computed as exp(−L) from the cross-entropy L. See the chapter
    ``smooth_argmax``, claims ``prop-soft-accuracy`` and ``prop-soft-accuracy-gradient``.

    Examples
    --------
    The right class leads, and accuracy is 1:

    >>> import numpy as np
    >>> from softmax_notes.smooth_argmax import soft_accuracy
    >>> x = np.log([[0.4, 0.3, 0.3]])
    >>> for alpha in (1, 10, np.inf):
    ...     print(round(float(soft_accuracy(x, [0], alpha=alpha)), 4))
    0.4
    0.8988
    1.0
    """
    _, (logits, target) = as_arrays(logits, target)
    xp, x, _, dtype, _ = prepared(logits, axis, None)
    if not xp.isdtype(target.dtype, "integral"):
        raise ValueError(f"target must hold class indices, got dtype {target.dtype}")
    y = _scaled(xp, x, None, scale_of(alpha))
    shares = xp.exp(-cross_entropy(y, target, reduction="none"))
    rows = math.prod(shares.shape)
    return rounded(xp, xp.sum(shares) / rows if rows else xp.sum(shares) + xp.nan, dtype)


def _scaled(xp: ModuleType, x: Array, mask: Array | None, alpha: float) -> Array:
    """Give α (x − m) along the last axis, with m what wins: 0 there, negative elsewhere.

    At an infinite α that is 0 at the winners and -inf elsewhere. Excluded entries are -inf. A
    slice without a finite winner keeps its scores, for softmax to give it NaN.
    """
    if 0 in x.shape:
        return x
    x = -x if alpha < 0 else x
    if mask is not None:
        x = xp.where(mask, x, -xp.inf)
    maximum = xp.max(x, axis=-1, keepdims=True)
    usable = xp.isfinite(maximum)
    shift = xp.where(usable, maximum, 0.0)
    # A quarter of the difference: the difference itself may be past the largest number.
    largest, difference = float(xp.finfo(x.dtype).max), x * 0.25 - shift * 0.25
    if math.isinf(alpha):
        factor, far = 0.0, x < shift
    else:
        factor = min(4 * abs(alpha), largest)
        far = difference < -min(largest / 2 / (factor or 5e-324), largest)
    y = xp.where(usable & ~far, difference, 0.0) * factor
    return xp.where(usable, xp.where(far, -xp.inf, y), x)


def _log_complement(xp: ModuleType, y: Array, p: Array) -> Array:
    """Form log(1 − p) along the last axis; for the first winner from the others' terms."""
    top = xp.arange(y.shape[-1], device=device(y)) == xp.argmax(y, axis=-1, keepdims=True)
    total: Array = logsumexp(y, axis=-1, keepdims=True)
    others: Array = logsumexp(xp.where(top, -xp.inf, y), axis=-1, keepdims=True)
    usable = xp.isfinite(total)
    log_rest = others - xp.where(usable, total, 0.0)
    # Where there is no winner p says so: NaN, or 0 if all entries are excluded.
    return xp.where(usable, xp.where(top, log_rest, xp.log1p(-xp.where(top, 0.0, p))), p)
