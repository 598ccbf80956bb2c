r"""Drawing from softmax: Gumbel noise, one uniform number, filters, relaxations.

Chance is an argument. Every function that draws takes an array ``u`` of uniform numbers from 0
to 1, from whatever generator made it (``generator.random(shape)`` in NumPy,
``torch.rand(shape, generator=generator)``, ``jax.random.uniform(key, shape)``); the rest is
arithmetic, the same in every library, and the same u gives the same draw. With

.. math:: G_k = -\log(-\log u_k), \qquad \operatorname*{argmax}_k \; (x_k + G_k)

is distributed by softmax(x), exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import ModuleType

from array_api_compat import device

from softmax_notes._arrays import (
    Array,
    as_arrays,
    broadcast,
    floating,
    holds,
    known,
    like,
    normalized_axes,
    number,
    prepared,
    rounded,
    whole,
    working,
)
from softmax_notes.definition import softmax
from softmax_notes.jacobian import softmax_vjp

__all__ = [
    "gumbel_max",
    "gumbel_noise",
    "gumbel_softmax",
    "gumbel_top_k",
    "inverse_cdf",
    "nucleus_mask",
    "sample",
    "straight_through",
    "top_k_mask",
]


def gumbel_noise(u: Array, /) -> Array:
    r"""Turn uniform numbers into Gumbel noise: :math:`-\log(-\log u)`, finite for every u.

    Parameters
    ----------
    u : array of real numbers from 0 to 1
        Uniform draws, of any shape. Both ends are allowed, since generators return them.

    Returns
    -------
    array
        Noise of the shape, dtype and device of u, from -4.47 to 16.64 in dtypes up to float32
        and from -6.57 to 36.74 in float64. NaN where u is NaN.

    Raises
    ------
    TypeError
        If u is complex, masked, a matrix or no array.
    ValueError
        If a number is known to be below 0 or above 1.

    Notes
    -----
    A draw of 0 stands for the smallest normal number and a draw of 1 for the largest number
    below 1. Draw u in float32 at least: float16 has too few numbers for rare classes. See the
    chapter ``sampling``, claim ``prop-gumbel-noise``.

    Examples
    --------
    >>> from softmax_notes.sampling import gumbel_noise
    >>> gumbel_noise([0.0, 0.5, 1.0]).round(4)
    array([-6.563 ,  0.3665, 36.7368])
    """
    xp, (u,) = as_arrays(u)
    u = floating(xp, u)
    return rounded(xp, _gumbel(xp, u), u.dtype)


def gumbel_max(
    logits: Array,
    u: Array,
    /,
    *,
    axis: int = -1,
    where: Array | None = None,
    temperature: float = 1.0,
) -> Array:
    r"""Draw a class by adding Gumbel noise and taking the winner: :math:`\argmax_k x_k/T + G_k`.

    Parameters
    ----------
    logits : array of real numbers
        Scores; dtypes as in `softmax`.
    u : array of real numbers from 0 to 1
        One uniform draw for each score; logits and u broadcast against each other, so that
        leading axes of u give as many independent draws.
    axis : int, default -1
        The axis of the classes, in the shape that both broadcast to.
    where : boolean array, optional
        Classes to include; it must broadcast to that shape.
    temperature : float, default 1.0
        T, above 0 and finite.

    Returns
    -------
    array of integers
        The class of each draw, counted from 0, without ``axis``.

    Raises
    ------
    TypeError
        If an argument is complex, masked, a matrix or no array, or libraries are mixed.
    ValueError
        If temperature is not above 0 and finite, u is not from 0 to 1, or a slice has no
        distribution: it holds NaN or +inf, or no score above -inf. Values that are not known
        yet (Dask, or inside ``jax.jit``) give class -1 instead.

    Notes
    -----
    The maximum is subtracted before the noise is added: at scores near 1e9 the noise would be
    lost in the rounding. See the chapter ``sampling``, claims ``thm-gumbel-max`` and
    ``cor-gumbel-value``.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes.sampling import gumbel_max
    >>> u = np.random.default_rng(0).random((10000, 3))
    >>> draws = gumbel_max([2.0, 1.0, 0.0], u)
    >>> print(np.bincount(draws) / 10000)  # softmax: 0.6652, 0.2447, 0.0900
    [0.67   0.2443 0.0857]
    """
    xp, x, u, _, _ = _paired(logits, u, axis, where)
    z = _centered(xp, x, _checked(temperature)) + _gumbel(xp, u)
    defined = _defined(xp, x, 1)
    return xp.where(defined, xp.argmax(z, axis=-1), -1)


def gumbel_top_k(
    logits: Array, k: int, u: Array, /, *, axis: int = -1, where: Array | None = None
) -> Array:
    r"""Draw k classes without replacement: those of the k largest :math:`x_i + G_i`, in order.

    Parameters
    ----------
    logits, u : array
        Scores and uniform draws, as in `gumbel_max`.
    k : int
        How many, from 1 to the number of classes.
    axis : int, default -1
        The axis of the classes, in the shape that both broadcast to.
    where : boolean array, optional
        Classes to include, as in `gumbel_max`.

    Returns
    -------
    array of integers
        The classes in the order of the draw, with k entries along ``axis``.

    Raises
    ------
    TypeError
        As in `gumbel_max`, or if k is no integer.
    ValueError
        As in `gumbel_max`, if k is out of its range, or if fewer than k classes of a slice
        have a score above -inf.

    Notes
    -----
    The order is distributed as drawing one class after another, each time by the softmax of
    those that are left: the law of `softmax_notes.choice.plackett_luce`. See the chapter
    ``sampling``, claim ``thm-gumbel-top-k``.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes.sampling import gumbel_top_k
    >>> u = np.random.default_rng(0).random((3, 4))
    >>> gumbel_top_k([2.0, 1.0, 0.0, -np.inf], 2, u)
    array([[0, 1],
           [0, 1],
           [1, 0]])
    """
    k = whole(k, "k")
    xp, x, u, _, _ = _paired(logits, u, axis, where)
    if not 1 <= k <= x.shape[-1]:
        raise ValueError(f"k must be from 1 to the {x.shape[-1]} classes, got {k}")
    z = _centered(xp, x, 1.0) + _gumbel(xp, u)
    order = xp.argsort(z, axis=-1, descending=True)[..., :k]
    return xp.moveaxis(xp.where(_defined(xp, x, k)[..., None], order, -1), -1, axis)


def inverse_cdf(
    logits: Array,
    u: Array,
    /,
    *,
    axis: int = -1,
    where: Array | None = None,
    temperature: float = 1.0,
) -> Array:
    r"""Draw a class with one uniform number: the first whose cumulative probability exceeds u.

    Parameters
    ----------
    logits : array of real numbers
        Scores; dtypes as in `softmax`.
    u : array of real numbers from 0 to 1
        One uniform draw for each slice; it broadcasts against the shape of logits without
        ``axis``, and leading axes of u give as many draws.
    axis : int, default -1
        The axis of the classes in logits.
    where : boolean array, optional
        Classes to include, as in `softmax`.
    temperature : float, default 1.0
        T, above 0 and finite.

    Returns
    -------
    array of integers
        The class of each draw, counted from 0. Never one of probability 0, nor one past the
        last, whatever the sums round to.

    Raises
    ------
    TypeError, ValueError
        As in `gumbel_max`.

    Notes
    -----
    In floats the cumulative sum of n probabilities need not end at 1; u is compared with the
    sums after scaling by the last of them. See the chapter ``sampling``, claim
    ``prop-inverse-cdf``.

    Examples
    --------
    >>> from softmax_notes.sampling import inverse_cdf
    >>> inverse_cdf([2.0, 1.0, 0.0], [0.0, 0.6, 0.7, 0.95, 1.0])
    array([0, 0, 1, 2, 2])
    """
    xp, (x, u) = as_arrays(logits, u)
    (axis,) = normalized_axes(xp, x, (axis,))
    _, x, _, _, _ = prepared(xp.moveaxis(floating(xp, x), axis, -1), -1, _moved(xp, where, x, axis))
    x, u = _some(x), _uniform(xp, u)
    broadcast(xp, x[..., 0], u, names="the slices of logits and u")
    total = xp.cumulative_sum(softmax(_centered(xp, x, _checked(temperature))), axis=-1)
    below = xp.count_nonzero(total <= u[..., None] * total[..., -1:], axis=-1)
    last = xp.count_nonzero(total < total[..., -1:], axis=-1)
    return xp.where(_defined(xp, x, 1), xp.minimum(below, xp.broadcast_to(last, below.shape)), -1)


def top_k_mask(logits: Array, k: int, /, *, axis: int = -1, where: Array | None = None) -> Array:
    r"""Mark the classes with the k highest scores, for the argument ``where``.

    Parameters
    ----------
    logits : array of real numbers
        Scores, of any shape.
    k : int
        How many, at least 1; a k past the number of classes marks them all.
    axis : int, default -1
        The axis of the classes.
    where : boolean array, optional
        Classes to include, as in `softmax`; no other is marked.

    Returns
    -------
    boolean array
        Of the shape of logits. Classes that tie with the k-th are marked too, and a score of
        -inf never is. A slice without a distribution is marked as ``where`` is, so that its
        softmax is what it was: NaN, or 0.

    Raises
    ------
    TypeError
        As in `softmax`, or if k is no integer.
    ValueError
        If k is below 1.

    Notes
    -----
    See the chapter ``sampling``, claims ``prop-filters`` and ``prop-filter-order``.

    Examples
    --------
    >>> from softmax_notes.sampling import top_k_mask
    >>> top_k_mask([2.0, 1.0, 1.0, 0.0], 2)
    array([ True,  True,  True, False])
    """
    k = whole(k, "k")
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    xp, x, included, back = _filterable(logits, axis, where)
    if x.shape[-1] == 0:
        return back(included)
    k = min(k, x.shape[-1])
    threshold = xp.sort(x, axis=-1, descending=True)[..., k - 1 : k]
    return back(_at_least(xp, x, threshold, included))


def nucleus_mask(
    logits: Array,
    top_p: float,
    /,
    *,
    axis: int = -1,
    where: Array | None = None,
    temperature: float = 1.0,
) -> Array:
    r"""Mark the fewest most probable classes that hold at least top_p, for ``where``.

    Parameters
    ----------
    logits : array of real numbers
        Scores, of any shape.
    top_p : float
        The probability to hold, above 0 and at most 1; 1 marks every class above -inf.
    axis : int, default -1
        The axis of the classes.
    where : boolean array, optional
        Classes to include, as in `softmax`; probabilities are those among them.
    temperature : float, default 1.0
        T, above 0 and finite: probabilities are those at this temperature.

    Returns
    -------
    boolean array
        Of the shape of logits: class i is marked if the classes with scores above its own
        hold less than top_p. So ties stay or go together. Slices without a distribution are
        as in `top_k_mask`.

    Raises
    ------
    TypeError
        As in `softmax`.
    ValueError
        If top_p or temperature is out of its range.

    Notes
    -----
    The sum is taken in floats: where it comes within their rounding of top_p the class that
    decides may fall on either side. See the chapter ``sampling``, claims ``prop-filters``,
    ``prop-filter-order`` and ``prop-nucleus-temperature``.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes.sampling import nucleus_mask
    >>> nucleus_mask(np.log([0.5, 0.3, 0.1, 0.1]), 0.75)
    array([ True,  True, False, False])
    """
    if not 0 < (top_p := number(top_p, "top_p")) <= 1:
        raise ValueError(f"top_p must be above 0 and at most 1, got {top_p}")
    temperature = _checked(temperature)
    xp, x, included, back = _filterable(logits, axis, where)
    if x.shape[-1] == 0:
        return back(included)
    ordered = xp.sort(x, axis=-1, descending=True)
    p = softmax(_centered(xp, ordered, temperature))
    above = xp.concat([xp.zeros_like(p[..., :1]), xp.cumulative_sum(p, axis=-1)[..., :-1]], axis=-1)
    held = above < top_p if top_p < 1 else ordered > -xp.inf
    threshold = xp.min(xp.where(held, ordered, xp.inf), axis=-1, keepdims=True)
    return back(_at_least(xp, x, threshold, included))


def sample(
    logits: Array,
    u: Array,
    /,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    axis: int = -1,
    where: Array | None = None,
) -> Array:
    r"""Draw a class as text generators do: temperature, then top-k, then nucleus, then the draw.

    Parameters
    ----------
    logits, u : array
        Scores and one uniform draw for each, as in `gumbel_max`.
    temperature : float, default 1.0
        T, above 0 and finite.
    top_k : int, optional
        Keep the classes with the k highest scores, as in `top_k_mask`.
    top_p : float, optional
        Of these keep the nucleus, as in `nucleus_mask`, at this temperature.
    axis : int, default -1
        The axis of the classes; negative if u has more axes than logits.
    where : boolean array, optional
        Classes to include; it must broadcast to the shape of logits.

    Returns
    -------
    array of integers
        The class of each draw, as in `gumbel_max`.

    Raises
    ------
    TypeError, ValueError
        As in `gumbel_max`, `top_k_mask` and `nucleus_mask`.

    Notes
    -----
    See the chapter ``sampling``, claims ``thm-gumbel-max`` and ``prop-filter-order``.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes.sampling import sample
    >>> u = np.random.default_rng(0).random((8, 4))
    >>> sample([2.0, 1.0, 0.0, -1.0], u, temperature=0.7, top_k=3, top_p=0.9)
    array([0, 0, 1, 0, 0, 0, 0, 0])
    """
    if top_k is not None:
        where = top_k_mask(logits, top_k, axis=axis, where=where)
    if top_p is not None:
        where = nucleus_mask(logits, top_p, axis=axis, where=where, temperature=temperature)
    return gumbel_max(logits, u, axis=axis, where=where, temperature=temperature)


def gumbel_softmax(
    logits: Array, u: Array, /, *, temperature: float, axis: int = -1, where: Array | None = None
) -> Array:
    r"""Draw a point of the simplex near a corner: :math:`\operatorname{softmax}((x + G)/T)`.

    Parameters
    ----------
    logits, u : array
        Scores and uniform draws, as in `gumbel_max`.
    temperature : float
        T, above 0 and finite. The scores are not divided by it before the noise is added: it
        moves the point, not the class that wins.
    axis : int, default -1
        The axis of the classes, in the shape that both broadcast to.
    where : boolean array, optional
        Classes to include, as in `gumbel_max`.

    Returns
    -------
    array
        Shares that sum to 1 along ``axis``, in the dtype of logits. Slices without a
        distribution are NaN, or 0 with every class excluded.

    Raises
    ------
    TypeError
        As in `gumbel_max`.
    ValueError
        If temperature is not above 0 and finite, or u is not from 0 to 1.

    Notes
    -----
    The largest share is that of `gumbel_max` with the same u. See the chapter ``sampling``,
    claims ``prop-concrete`` and ``prop-relaxation-bias``.

    Examples
    --------
    >>> from softmax_notes.sampling import gumbel_softmax
    >>> u = [0.5, 0.9, 0.2]
    >>> for temperature in (10, 1, 0.1):
    ...     print(gumbel_softmax([2.0, 1.0, 0.0], u, temperature=temperature).round(3))
    [0.351 0.384 0.265]
    [0.287 0.696 0.017]
    [0. 1. 0.]
    """
    xp, x, u, dtype, mask = _paired(logits, u, axis, where)
    z = _centered(xp, x, 1.0) + _gumbel(xp, u)
    y = softmax(_centered(xp, z, _checked(temperature)), where=mask)
    return xp.moveaxis(rounded(xp, y, dtype), -1, axis)


def straight_through(
    logits: Array, u: Array, /, *, temperature: float, axis: int = -1, where: Array | None = None
) -> tuple[Array, Callable[[Array], Array]]:
    r"""Draw a one-hot vector, with the gradient of the relaxed draw in place of its own.

    Parameters
    ----------
    logits, u : array
        Scores and uniform draws, as in `gumbel_max`.
    temperature : float
        T of the relaxation, as in `gumbel_softmax`.
    axis : int, default -1
        The axis of the classes, in the shape that both broadcast to.
    where : boolean array, optional
        Classes to include, as in `gumbel_max`.

    Returns
    -------
    array
        The one-hot draw of `gumbel_max`, in the dtype of logits.
    function
        Takes the gradient g of a loss with respect to that draw, of its shape, and gives the
        estimate :math:`J(y)^\top g / T` of the gradient with respect to the scores, one for
        each draw, with y the draw of `gumbel_softmax`.

    Raises
    ------
    TypeError, ValueError
        As in `gumbel_softmax`.

    Notes
    -----
    The true gradient of a one-hot vector is 0 wherever it exists; this estimate is biased. See
    the chapter ``sampling``, claim ``prop-straight-through``.

    Examples
    --------
    >>> from softmax_notes.sampling import straight_through
    >>> draw, pull_back = straight_through([0.0, 0.0], [0.9, 0.3], temperature=1.0)
    >>> print(draw, pull_back([1.0, 0.0]).round(4))
    [1. 0.] [ 0.074 -0.074]
    """
    temperature = _checked(temperature)
    y = gumbel_softmax(logits, u, temperature=temperature, axis=axis, where=where)
    xp, (y,) = as_arrays(y)
    last = xp.moveaxis(y, axis, -1)
    winner = xp.argmax(last, axis=-1, keepdims=True)
    chosen = xp.arange(last.shape[-1], device=device(last)) == winner
    hard = xp.where(chosen & (last > 0), xp.ones_like(last), last * 0)

    def pull_back(g: Array) -> Array:
        return softmax_vjp(y, g, axis=axis) / temperature

    return xp.moveaxis(hard, -1, axis), pull_back


def _checked(temperature: float) -> float:
    value = number(temperature, "temperature", "; for one of each row, divide the scores by it")
    if not 0 < value < math.inf:
        limit = "; in the limit 0 the highest score wins: use argmax" if value == 0 else ""
        raise ValueError(f"temperature must be above 0 and finite, got {temperature}{limit}")
    return value


def _uniform(xp: ModuleType, u: Array) -> Array:
    """Bring draws to working precision; refuse what is known to be no number from 0 to 1."""
    u = known(working(xp, floating(xp, u)))
    if holds(xp.any((u < 0) | (u > 1))):
        raise ValueError("u must hold uniform draws from 0 to 1, got a number outside")
    return u


def _gumbel(xp: ModuleType, u: Array) -> Array:
    """Form -log(-log u) in working precision, with u kept off both ends."""
    u = _uniform(xp, u)
    finfo = xp.finfo(u.dtype)
    inside = xp.clip(u, float(finfo.smallest_normal), 1 - float(finfo.eps) / 2)
    return -xp.log(-xp.log(inside))


def _moved(xp: ModuleType, where: Array | None, x: Array, axis: int) -> Array | None:
    """Bring the mask to the shape of x with its axis last."""
    if where is None:
        return None
    _, (_, where) = as_arrays(x, where)
    return xp.moveaxis(like(xp, where, x, name="where"), axis, -1)


def _paired(
    logits: Array, u: Array, axis: int, where: Array | None
) -> tuple[ModuleType, Array, Array, object, Array | None]:
    """Broadcast scores and draws against each other, the classes last; excluded scores -inf."""
    xp, (x, u) = as_arrays(logits, u)
    x, u = broadcast(xp, floating(xp, x), u, names="logits and u")
    (axis,) = normalized_axes(xp, x, (axis,))
    where = _moved(xp, where, x, axis)
    _, x, mask, dtype, _ = prepared(xp.moveaxis(x, axis, -1), -1, where)
    return xp, _some(x), xp.moveaxis(u, axis, -1), dtype, mask


def _some(x: Array) -> Array:
    if x.shape[-1] == 0:
        raise ValueError("logits (broadcast against u) has no class to draw: the axis is empty")
    return x


def _filterable(
    logits: Array, axis: int, where: Array | None
) -> tuple[ModuleType, Array, Array, Callable[[Array], Array]]:
    """Bring the classes last, excluded ones to -inf, and name those included."""
    xp, (x,) = as_arrays(logits)
    (axis,) = normalized_axes(xp, x, (axis,))
    where = _moved(xp, where, x, axis)
    _, x, mask, _, _ = prepared(xp.moveaxis(floating(xp, x), axis, -1), -1, where)
    included = xp.ones_like(x, dtype=xp.bool) if mask is None else mask
    return xp, x, included, lambda y: xp.moveaxis(y, -1, axis)


def _at_least(xp: ModuleType, x: Array, threshold: Array, included: Array) -> Array:
    """Mark scores from the threshold up; in a slice without a distribution, all included."""
    marked = (x >= threshold) & (x > -xp.inf)
    return xp.where(xp.isfinite(xp.max(x, axis=-1, keepdims=True)), marked, included)


def _defined(xp: ModuleType, x: Array, k: int) -> Array:
    """Tell which slices have a distribution and k classes to draw; refuse others, if known."""
    finite = xp.isfinite(xp.max(x, axis=-1))
    defined = finite & (xp.count_nonzero(x > -xp.inf, axis=-1) >= k)
    if holds(xp.any(~defined)):
        raise ValueError(
            f"each slice of logits needs {k} or more scores above -inf, not excluded by where, "
            "and neither NaN nor +inf"
        )
    return defined


def _centered(xp: ModuleType, x: Array, temperature: float) -> Array:
    """Form (x - max) / T along the last axis: 0 at the winner, NaN where it is no number."""
    maximum = xp.max(x, axis=-1, keepdims=True)
    shift = xp.where(xp.isfinite(maximum), maximum, xp.nan)
    # Half of the difference: the difference itself may be past the largest number.
    half, largest = x * 0.5 - shift * 0.5, float(xp.finfo(x.dtype).max)
    factor = min(2 / temperature, largest)
    far = half < -largest / max(factor, 1.0)
    return xp.where(far, -xp.inf, xp.where(far, 0.0, half) * factor)
