r"""Softmax in pieces: what one pass over the scores has to remember.

Scores may come chunk by chunk, lie on a disk, or on several machines. What has been seen of a
slice is summed up in its largest score and a scaled sum,

.. math:: m = \max_k x_k, \qquad s = \sum_k e^{x_k - m} ,

and two such states merge into one: with :math:`m = \max(m_1, m_2)`,

.. math:: s = s_1 e^{m_1 - m} + s_2 e^{m_2 - m} .

The order and the grouping of the merges do not matter, and a state of no scores changes nothing:
a commutative monoid. Whatever is scaled by :math:`e^{-m}` can ride along, above all
:math:`\sum_k e^{x_k - m} v_k`, the numerator of a weighted mean of values: attention in one pass.

Of s the code keeps :math:`r = s - 1`, all but the term of the maximum itself, as `definition` does:
:math:`\operatorname{log1p}(r)` is accurate where :math:`\log(1 + r)` is not.
"""

from __future__ import annotations

from types import ModuleType
from typing import NamedTuple

from array_api_compat import array_namespace, device

from softmax_notes._arrays import Array, as_arrays, floating, two_sum, working
from softmax_notes.definition import _exponentials, _reach

__all__ = ["State", "identity", "log_total", "mean", "merge", "summarize", "update"]


class State(NamedTuple):
    r"""What has been seen of the scores, of each slice in a batch.

    Attributes
    ----------
    maximum : array, shape (...)
        m, the largest score; -inf where there was none above -inf, NaN where one was NaN.
    rest : array, shape (...)
        s - 1, where s is the sum of e^(x - m): -1 for no scores, 0 for one. Where the maximum is
        +inf or NaN it alone decides the result, and rest is 0.
    weighted : array, shape (..., d), or None
        The sum of e^(x - m) v over scores x and values v, if values were given.

    Examples
    --------
    >>> from softmax_notes.streaming import summarize
    >>> state = summarize([1000.0, 1000.0])
    >>> float(state.maximum), float(state.total)
    (1000.0, 2.0)
    """

    maximum: Array
    rest: Array
    weighted: Array | None = None

    @property
    def total(self) -> Array:
        """The scaled sum s: 0 for no scores, otherwise from 1 to their number."""
        return 1 + self.rest


def identity(shape: tuple[int, ...], /, *, like: Array, width: int | None = None) -> State:
    """Make the state of no scores: merged with any other state it changes nothing.

    Parameters
    ----------
    shape : tuple of int
        Shape of the batch, () for a single slice.
    like : array
        An array whose library, dtype and device the state gets; float32 for 16-bit dtypes.
    width : int, optional
        The length d of a value, if values are to ride along.

    Returns
    -------
    State
        Maximum -inf and total 0.

    Raises
    ------
    TypeError
        If like is no array of real numbers.

    Notes
    -----
    See the chapter ``streaming``, claim ``thm-monoid``.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes.streaming import identity, log_total
    >>> log_total(identity((2,), like=np.zeros(0)))
    array([-inf, -inf])
    """
    xp, (like,) = as_arrays(like)
    kind = {"dtype": working(xp, floating(xp, like)).dtype, "device": device(like)}
    maximum, rest = xp.full(shape, -xp.inf, **kind), xp.full(shape, -1.0, **kind)
    return State(maximum, rest, None if width is None else xp.zeros((*shape, width), **kind))


def summarize(x: Array, values: Array | None = None, /) -> State:
    """Sum up one chunk of scores.

    Parameters
    ----------
    x : array, shape (..., k)
        Scores, a chunk of each slice along the last axis; k may be 0. Integers are promoted,
        float16 and bfloat16 computed in float32.
    values : array, shape (..., k, d), optional
        A value of d numbers for each score, multiplied as matrices are: for x of shape
        (..., q, k) and values of shape (..., k, d) each of the q rows weighs the same values.

    Returns
    -------
    State
        Arrays of shape (...), and (..., d) for the values.

    Raises
    ------
    TypeError
        If an argument is complex, masked, a matrix or no array, or libraries are mixed.
    ValueError
        If values do not match x.

    Notes
    -----
    A score -inf is as good as none. See the chapter ``streaming``, claim ``thm-monoid``.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes.streaming import mean, summarize
    >>> mean(summarize(np.zeros(2), np.array([[1.0, 10.0], [3.0, 30.0]])))
    array([ 2., 20.])
    """
    xp, (x, *given) = as_arrays(x, *([] if values is None else [values]))
    x = working(xp, floating(xp, x))
    if x.ndim == 0:
        raise ValueError("scores need an axis to be summed over, got a single number")
    for v in given:
        if v.ndim < 2 or v.shape[-2] != x.shape[-1]:
            raise ValueError(
                f"values need the shape (..., k, d) with one value for each of the "
                f"k = {x.shape[-1]} scores of a chunk, got shape {tuple(v.shape)}"
            )
    if x.shape[-1] == 0:
        return identity(x.shape[:-1], like=x, width=given[0].shape[-1] if given else None)
    parts = _exponentials(xp, x)
    maximum, rest = parts.maximum[..., 0], parts.rest[..., 0]
    weighted = None
    if given:
        weighted = xp.matmul(parts.terms, xp.astype(floating(xp, given[0]), x.dtype))
    return _state(xp, maximum, rest, weighted)


def merge(a: State, b: State, /) -> State:
    """Join the states of two sets of scores into the state of their union.

    Parameters
    ----------
    a, b : State
        Two states of one shape, library and dtype, both with values or both without.

    Returns
    -------
    State
        The same to the last bit for (a, b) and (b, a).

    Raises
    ------
    ValueError
        If only one of the states carries values.

    Notes
    -----
    Associative, commutative, and with `identity` as its identity: see the chapter
    ``streaming``, claims ``thm-monoid`` and ``prop-merge-error``.

    Examples
    --------
    >>> from softmax_notes.streaming import log_total, merge, summarize
    >>> merged = merge(summarize([2.0]), summarize([1.0, 0.0]))
    >>> round(float(log_total(merged)), 4)
    2.4076
    """
    if (a.weighted is None) != (b.weighted is None):
        raise ValueError("one of two states carries values and the other none")
    xp = array_namespace(a.maximum, b.maximum)
    maximum = xp.maximum(a.maximum, b.maximum)
    left, right = (_decay(xp, m, maximum) for m in (a.maximum, b.maximum))
    # The larger maximum has factor 1, so that the product is the term of the smaller one.
    rest = a.rest * left + b.rest * right + left * right
    weighted = None
    if a.weighted is not None:
        weighted = a.weighted * left[..., None] + b.weighted * right[..., None]
    return _state(xp, maximum, rest, weighted)


def update(state: State, x: Array, values: Array | None = None, /) -> State:
    """Take one more chunk of scores into a state.

    Parameters
    ----------
    state : State
        What has been seen so far.
    x : array, shape (..., k)
        More scores of the same slices, as in `summarize`.
    values : array, shape (..., k, d), optional
        Their values, as in `summarize`.

    Returns
    -------
    State
        The new state; the given one is not changed.

    Raises
    ------
    TypeError, ValueError
        As in `summarize` and `merge`.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes.streaming import identity, log_total, update
    >>> state = identity((), like=np.zeros(0))
    >>> for chunk in ([2.0, 1.0], [0.0]):
    ...     state = update(state, np.array(chunk))
    >>> round(float(log_total(state)), 4)
    2.4076
    """
    return merge(state, summarize(x, values))


def log_total(state: State, /) -> Array:
    """Give logsumexp of all scores that a state has seen: m + log1p(r).

    Parameters
    ----------
    state : State
        What has been seen.

    Returns
    -------
    array, shape (...)
        -inf for no scores or nothing but -inf, +inf where one was +inf and none NaN, NaN where
        one was NaN.

    Examples
    --------
    >>> from softmax_notes.streaming import log_total, summarize
    >>> float(log_total(summarize([1000.0, 1000.0])))
    1000.6931471805599
    """
    xp = array_namespace(state.maximum)
    usable = xp.isfinite(state.maximum)
    log_s = xp.log1p(xp.where(usable, state.rest, 0.0))
    total = xp.where(usable, state.maximum + log_s, xp.nan)
    # A maximum that is no number decides alone; spelt out, its gradient is 0 and not NaN.
    total = xp.where(state.maximum == xp.inf, xp.inf, total)
    return xp.where(state.maximum == -xp.inf, -xp.inf, total)


def mean(state: State, /) -> Array:
    """Give the mean of the values, weighted by softmax of the scores.

    Parameters
    ----------
    state : State
        What has been seen, values included.

    Returns
    -------
    array, shape (..., d)
        NaN where softmax is: no score above -inf, or one that is +inf or NaN.

    Raises
    ------
    ValueError
        If the state carries no values.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes.streaming import mean, summarize, update
    >>> values = np.array([[0.0], [1.0], [2.0]])
    >>> state = summarize(np.array([2.0]), values[:1])
    >>> mean(update(state, np.array([1.0, 0.0]), values[1:])).round(4)
    array([0.4248])
    """
    if state.weighted is None:
        raise ValueError("the state carries no values; pass them to summarize or update")
    xp = array_namespace(state.maximum)
    usable = xp.isfinite(state.maximum)[..., None]
    total = xp.where(usable, state.total[..., None], 1.0)
    return xp.where(usable, state.weighted / total, xp.nan)


def _state(xp: ModuleType, maximum: Array, rest: Array, weighted: Array | None) -> State:
    """Give states without a finite maximum one form, in which infinities cannot spread."""
    usable = xp.isfinite(maximum)
    rest = xp.where(usable, rest, xp.where(maximum == -xp.inf, -1.0, xp.zeros_like(rest)))
    if weighted is not None:
        weighted = xp.where(usable[..., None], weighted, 0.0)
    return State(maximum, rest, weighted)


def _decay(xp: ModuleType, x: Array, maximum: Array) -> Array:
    """Compute e^(x - maximum) with the rounding error of the difference carried along."""
    usable = xp.isfinite(maximum)
    x, shift = xp.where(usable, x, 0.0), xp.where(usable, maximum, 0.0)
    far = x < shift - _reach(xp, x.dtype)
    difference, lost = two_sum(xp.where(far, shift, x), -shift)
    return xp.where(far, 0.0, xp.exp(difference) * (1 + lost))
