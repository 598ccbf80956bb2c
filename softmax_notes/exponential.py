r"""The distribution of largest entropy with a given mean: softmax, at a scale that is found.

Among all distributions over scores x with mean :math:`\mu`, the entropy
:math:`-\sum_k p_k \log p_k` is largest for :math:`p = \operatorname{softmax}(\alpha x)`. With
:math:`z = x - \mu` the scale solves :math:`\sum_k z_k e^{\alpha z_k} = 0`; what is solved here
is the logarithm of "what pulls up equals what pulls down",

.. math:: \log \sum_{z_k > 0} z_k e^{\alpha z_k} - \log \sum_{z_k < 0} |z_k| e^{\alpha z_k} = 0,

which is nearly linear in the scale (for two scores it is linear), so that Newton's method needs
a few steps.
"""

from __future__ import annotations

import math
from types import ModuleType
from typing import NamedTuple

from softmax_notes._arrays import (
    Array,
    Axis,
    accurate_sum,
    as_arrays,
    axes_last,
    cast,
    floating,
    holds,
    like,
    mask_of,
    rounded,
    widened,
    working,
)
from softmax_notes.definition import softmax

__all__ = ["MaximumEntropy", "entropy", "maximum_entropy"]

_STEPS = 32  # fewer are needed; all are taken where values are not known yet


def entropy(p: Array, /, *, axis: Axis = -1) -> Array:
    r"""Entropy of a distribution, in nats: :math:`-\sum_k p_k \log p_k`, where 0 log 0 is 0.

    Parameters
    ----------
    p : array of non-negative real numbers
        Probabilities; dtypes as in `softmax`.
    axis : int, tuple of int or None, default -1
        The axes along which they sum to 1; None means all of them.

    Returns
    -------
    array
        The entropy, of the shape of p without ``axis``; NaN where a probability is NaN. Its
        gradient at a probability 0 is infinite, and given as 0.

    Raises
    ------
    TypeError
        As in `softmax`.
    ValueError
        If a probability is negative. One that is not known yet (Dask, or inside ``jax.jit``)
        gives NaN instead.

    Notes
    -----
    See the chapter ``exponential``, claim ``thm-maximum-entropy``.

    Examples
    --------
    >>> from softmax_notes.exponential import entropy
    >>> entropy([[1.0, 0.0], [0.5, 0.5]]).round(4)
    array([0.    , 0.6931])
    """
    xp, p, dtype = widened(p)
    p, _ = axes_last(xp, p, axis)
    if holds(xp.any(p < 0)):
        raise ValueError(f"probabilities must be 0 or more, got {float(xp.min(p[p < 0]))}")
    safe = xp.where(p == 0, 1.0, xp.where(p < 0, xp.nan, p))
    # The minus inside the sum, so that the entropy of a certain outcome is 0 and not -0.
    return rounded(xp, accurate_sum(xp, -safe * xp.log(safe))[..., 0], dtype)


class MaximumEntropy(NamedTuple):
    r"""The distribution of largest entropy with a given mean.

    Attributes
    ----------
    p : array
        Its probabilities, :math:`\operatorname{softmax}(\alpha x)`.
    alpha : array
        The scale :math:`\alpha`, which is the Lagrange multiplier of the mean.

    Examples
    --------
    >>> from softmax_notes.exponential import maximum_entropy
    >>> result = maximum_entropy([0.0, 1.0], 0.5)
    >>> print(result.p, result.alpha)
    [0.5 0.5] 0.0
    """

    p: Array
    alpha: Array


def maximum_entropy(
    x: Array, mean: Array, /, *, axis: Axis = -1, where: Array | None = None
) -> MaximumEntropy:
    r"""Find the distribution over scores that has the given mean and the largest entropy.

    Parameters
    ----------
    x : array of real numbers
        Scores, of any shape; dtypes as in `softmax`.
    mean : array of real numbers
        The mean score :math:`\sum_k p_k x_k` that is asked for, from the smallest to the
        largest score; it must broadcast to the shape of x without ``axis``.
    axis : int, tuple of int or None, default -1
        The axes along which the result sums to 1.
    where : boolean array, optional
        Entries to include, as in `softmax`. A score of -inf counts as excluded.

    Returns
    -------
    MaximumEntropy
        Probabilities p of the shape of x and the scale alpha of the shape of x without
        ``axis``, in the dtype of x. At the ends the limits: a mean equal to the largest score
        has alpha +inf, equal to the smallest -inf, and entries that tie for it share equally;
        if all scores are equal, alpha is 0. A slice that holds NaN or +inf is NaN; where
        nothing is included p is 0 and alpha NaN.

    Raises
    ------
    TypeError
        As in `softmax`.
    ValueError
        If the mean is NaN or outside the range of the scores, or does not fit their shape.
        Values that are not known yet (Dask, or inside ``jax.jit``) give NaN instead.

    Notes
    -----
    Newton's method, kept between bounds that are known beforehand and with bisection where it
    does not converge fast. Both results can be differentiated, by scores and by mean. See the
    chapter ``exponential``, claims ``thm-maximum-entropy``, ``prop-mean-increasing`` and
    ``prop-scale-bounds``.

    Examples
    --------
    A die whose mean is 4.5 instead of 3.5:

    >>> from softmax_notes.exponential import maximum_entropy
    >>> p, alpha = maximum_entropy([1, 2, 3, 4, 5, 6], 4.5)
    >>> print(p.round(4), alpha.round(4))
    [0.0544 0.0788 0.1142 0.1654 0.2398 0.3475] 0.371
    """
    xp, (x, mean) = as_arrays(x, mean)
    x = floating(xp, x)
    dtype = x.dtype
    offered = mask_of(xp, True if where is None else where, x)
    x, back = axes_last(xp, working(xp, x), axis)
    offered, _ = axes_last(xp, offered, axis)
    if x.shape[-1] == 0:
        return MaximumEntropy(
            back(xp.astype(x, dtype)), xp.astype(xp.sum(x, axis=-1) + xp.nan, dtype)
        )
    mean = like(xp, cast(xp, mean, x.dtype), x[..., 0], name="mean", to="x without its axis")
    mean = mean[..., None]
    included = offered & (x != -xp.inf)
    valid = _checked_range(xp, x, mean, included)
    # Sixteenths, exact, so that neither a difference nor one over it leaves the range.
    mean = xp.where(valid, mean, 0.0)
    z = xp.where(included & valid, x, mean) / 16 - mean / 16
    above, below = xp.max(z, axis=-1, keepdims=True), xp.max(-z, axis=-1, keepdims=True)
    inside = (above > 0) & (below > 0)
    spread = xp.where(inside, above + below, 1.0)
    z = z / spread
    scale = _balance(xp, z, inside)
    extreme = included & (z == 0)
    count = xp.sum(xp.astype(extreme, x.dtype), axis=-1, keepdims=True)
    limit = xp.where(extreme, 1 / xp.where(count > 0, count, 1.0), 0.0)
    p = xp.where(inside, softmax(scale * z, where=included), limit)
    alpha = xp.where(above > 0, -xp.inf, xp.where(below > 0, xp.inf, xp.zeros_like(above)))
    alpha = xp.where(inside, scale / 16 / spread, alpha)
    p = xp.where(offered, xp.where(valid, p, xp.nan), 0.0)
    alpha = xp.where(valid, alpha, xp.nan)[..., 0]
    return MaximumEntropy(back(rounded(xp, p, dtype)), rounded(xp, alpha, dtype))


def _checked_range(xp: ModuleType, x: Array, mean: Array, included: Array) -> Array:
    """Tell in which slices the scores are numbers and the mean lies between them."""
    lowest = xp.min(xp.where(included, x, xp.inf), axis=-1, keepdims=True)
    highest = xp.max(xp.where(included, x, -xp.inf), axis=-1, keepdims=True)
    numbers = xp.isfinite(lowest) & xp.isfinite(highest)
    between = (lowest <= mean) & (mean <= highest)
    wrong = numbers & ~between
    if holds(xp.any(wrong)):
        low, high, value = (float(a[wrong][0]) for a in (lowest, highest, mean))
        raise ValueError(
            f"mean must be from the smallest to the largest score, {low} to {high}, got {value}"
        )
    return numbers & between


def _balance(xp: ModuleType, z: Array, inside: Array) -> Array:
    """Solve sum z e^(bz) = 0 for b; z has both signs where inside, and spread 1."""
    size = xp.log(xp.where(z == 0, 1.0, xp.abs(z)))
    up, down = xp.where(z > 0, size, -xp.inf), xp.where(z < 0, size, -xp.inf)
    sizes = xp.where(inside[..., None], xp.stack([up, down], axis=-2), 0.0)
    limit = math.log1p((z.shape[-1] - 1) / math.e)
    least = 16 * limit / float(xp.finfo(z.dtype).max)
    tolerance = float(xp.finfo(z.dtype).eps) ** 0.75  # Newton's next step is below rounding
    above, below = xp.max(z, axis=-1, keepdims=True), xp.max(-z, axis=-1, keepdims=True)
    low = -limit / xp.where(below > least, below, least or 1.0)
    high = limit / xp.where(above > least, above, least or 1.0)
    b = xp.zeros_like(z[..., :1])
    for _ in range(_STEPS):
        pull, slope = _pulls(xp, b, z, sizes)
        excess = pull[..., 0, :] - pull[..., 1, :]
        low, high = xp.where(excess < 0, b, low), xp.where(excess > 0, b, high)
        newton = b - excess / xp.where(inside, slope[..., 0, :] - slope[..., 1, :], 1.0)
        # At the solution, rounding may put the next step on a bound: it is trusted all the same.
        small = tolerance * (1 + xp.abs(b))
        trusted = (low < newton) & (newton < high) | (xp.abs(newton - b) <= small)
        following = xp.where(inside, xp.where(trusted, newton, 0.5 * (low + high)), 0.0)
        step, b = xp.abs(following - b), following
        if holds(xp.all(step <= small)):
            break
    # The logarithms lose a score at the mean, whose z is 0, and with it its part of the
    # derivatives. Two plain Newton steps, which hardly move b, bring both derivatives back.
    for _ in range(2):
        terms = xp.exp(b * z - xp.max(b * z, axis=-1, keepdims=True))
        rise = xp.sum(z * z * terms, axis=-1, keepdims=True)
        b = b - xp.sum(z * terms, axis=-1, keepdims=True) / xp.where(rise > 0, rise, xp.inf)
    return xp.where(inside, b, 0.0)


def _pulls(xp: ModuleType, b: Array, z: Array, sizes: Array) -> tuple[Array, Array]:
    """Give log sum |z| e^(bz) on either side, and its derivative; sizes are log |z| or -inf."""
    exponent = (b * z)[..., None, :] + sizes
    top = xp.max(exponent, axis=-1, keepdims=True)
    terms = xp.exp(exponent - top)
    total = xp.sum(terms, axis=-1, keepdims=True)
    slope = xp.sum(z[..., None, :] * terms, axis=-1, keepdims=True) / total
    return top + xp.log(total), slope
