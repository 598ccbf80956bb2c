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

from collections.abc import Callable, Iterable, Iterator
from functools import reduce
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import array_namespace, device

from softmax_notes._arrays import (
    Array,
    as_arrays,
    cast,
    floating,
    known,
    like,
    rounded,
    two_sum,
    whole,
    widened,
    working,
)
from softmax_notes.definition import _exponentials, _reach

__all__ = [
    "Loss",
    "State",
    "fold",
    "identity",
    "log_softmax_of",
    "log_total",
    "loss",
    "mean",
    "merge",
    "merge_losses",
    "softmax_chunks",
    "softmax_of",
    "summarize",
    "summarize_loss",
    "update",
]


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
    if not isinstance(shape, tuple):
        raise TypeError(f"shape must be a tuple of lengths, got {type(shape).__name__}")
    shape = tuple(whole(size, "a length in shape") for size in shape)
    width = None if width is None else whole(width, "width")
    if min((*shape, width or 0)) < 0:
        raise ValueError(f"shape and width must be from 0 on, got {shape} and {width}")
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
    x = known(working(xp, floating(xp, x)))
    if x.ndim == 0:
        raise ValueError(
            "scores need an axis to be summed over: x, or one of the chunks, is a single number"
        )
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
        weighted = xp.matmul(parts.terms, cast(xp, given[0], x.dtype))
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
    a, b = _checked(a, "a"), _checked(b, "b")
    if (a.weighted is None) != (b.weighted is None):
        raise ValueError("one of two states carries values and the other none")
    xp, _ = as_arrays(a.maximum, b.maximum)
    # One of the two and not xp.maximum, whose derivative at a tie is half of each: then one
    # factor is 1 with all its derivatives, which their product below relies on.
    first = (a.maximum >= b.maximum) | xp.isnan(a.maximum)
    maximum = xp.where(first, a.maximum, b.maximum)
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
    xp = array_namespace(_checked(state).maximum)
    usable = xp.isfinite(state.maximum)
    log_s = xp.log1p(xp.where(usable, state.rest, 0.0))
    total = xp.where(usable, state.maximum + log_s, xp.nan)
    # A maximum that is no number decides alone; spelled out, its gradient is 0 and not NaN.
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
    if _checked(state).weighted is None:
        raise ValueError("the state carries no values; pass them to summarize or update")
    xp = array_namespace(state.maximum)
    usable = xp.isfinite(state.maximum)[..., None]
    total = xp.where(usable, state.total[..., None], 1.0)
    return xp.where(usable, state.weighted / total, xp.nan)


def fold(chunks: Iterable[Array], /) -> State:
    """Read chunks of scores once, in order, and sum them up.

    Parameters
    ----------
    chunks : iterable of arrays, shape (..., k)
        A list, a generator, a file that is read piece by piece: one chunk at a time is held.
        The chunks may differ in k, in nothing else.

    Returns
    -------
    State
        What has been seen when the chunks end.

    Raises
    ------
    TypeError
        If a chunk is no array of real numbers, or libraries are mixed.
    ValueError
        If there is no chunk at all: not even the shape of the batch is known then.

    Examples
    --------
    >>> from softmax_notes.streaming import fold, log_total
    >>> state = fold([float(k)] for k in range(1000))
    >>> print(round(float(log_total(state)), 4))
    999.4587
    """
    try:
        rest = iter(chunks)
    except TypeError as error:  # also of an array without axes
        kind = type(chunks).__name__
        raise TypeError(f"chunks must be arrays one after the other, got {kind}") from error
    first = next(rest, None)
    if first is None:
        raise ValueError("chunks must hold at least one chunk; it may be empty, of shape (..., 0)")
    return reduce(update, rest, summarize(first))


def softmax_of(x: Array, state: State, /) -> Array:
    """Give the probabilities of some of the scores that a state has seen.

    Parameters
    ----------
    x : array, shape (..., k)
        A chunk of the scores.
    state : State
        Of all scores, with arrays of shape (...).

    Returns
    -------
    array, shape (..., k)
        e^(x - m) / s, in the dtype of x; NaN where the maximum is no number.

    Raises
    ------
    TypeError
        If x is no array of real numbers.

    Examples
    --------
    >>> from softmax_notes.streaming import softmax_of, summarize
    >>> state = summarize([2.0, 1.0, 0.0])
    >>> softmax_of([0.0], state).round(4)
    array([0.09])
    """
    xp, x, dtype = widened(x)
    x, maximum = _seen_by(xp, x, state)
    p = _decay(xp, x, maximum) / _number(xp, maximum, state.total[..., None])
    return rounded(xp, p, dtype)


def log_softmax_of(x: Array, state: State, /) -> Array:
    """Give the logarithms of the probabilities of some of the scores that a state has seen.

    Parameters
    ----------
    x : array, shape (..., k)
        A chunk of the scores.
    state : State
        Of all scores, with arrays of shape (...).

    Returns
    -------
    array, shape (..., k)
        (x - m) - log1p(r), in the dtype of x; NaN where the maximum is no number.

    Raises
    ------
    TypeError
        If x is no array of real numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes.streaming import log_softmax_of, summarize
    >>> x = np.array([18.0, 0.0], dtype=np.float32)
    >>> print(f"{log_softmax_of(x, summarize(x))[0]:.4g}")
    -1.523e-08
    """
    xp, x, dtype = widened(x)
    x, maximum = _seen_by(xp, x, state)
    log_s = xp.log1p(_number(xp, maximum, state.rest[..., None]))
    return rounded(xp, -_gap(xp, x, maximum) - log_s, dtype)


def softmax_chunks(chunks: Iterable[Array] | Callable[[], Iterable[Array]], /) -> Iterator[Array]:
    """Yield softmax chunk by chunk: one pass to sum up, a second to write.

    Parameters
    ----------
    chunks : sequence of arrays, or a function that starts reading them
        Scores of shape (..., k), which are read twice. A generator can be read only once:
        pass the function that makes it.

    Yields
    ------
    array, shape (..., k)
        The probabilities of one chunk. Over all chunks they sum to 1.

    Raises
    ------
    TypeError
        If chunks can be read only once.
    ValueError
        If there is no chunk.

    Notes
    -----
    A pass is saved if each chunk is normalized as it comes and corrected later, but what is
    corrected later has to be read again. See the chapter ``streaming``.

    Examples
    --------
    >>> from softmax_notes.streaming import softmax_chunks
    >>> [p.round(4).tolist() for p in softmax_chunks([[2.0], [1.0, 0.0]])]
    [[0.6652], [0.2447, 0.09]]
    """
    if isinstance(chunks, Iterator):
        raise TypeError(
            "softmax reads its chunks twice, and an iterator is used up after the first time; "
            "pass a sequence, or a function that returns a new iterator"
        )
    read = chunks if callable(chunks) else lambda: chunks
    state = fold(read())
    return (softmax_of(chunk, state) for chunk in read())


class Loss(NamedTuple):
    r"""What has been seen of scores and of the target: enough for cross-entropy.

    Class c has the amount :math:`a_c` of target, as in `cross_entropy`. The gap is added to
    where the other parts of a state are multiplied: if m rises, it grows by the rise for each
    unit of target.

    Attributes
    ----------
    state : State
        Of the scores.
    amount : array, shape (...)
        A, the sum of the amounts.
    gap : array, shape (...)
        The sum of a (m - x) over the classes.

    Examples
    --------
    >>> from softmax_notes.streaming import summarize_loss
    >>> seen = summarize_loss([2.0, 1.0, 0.0], [0.0, 1.0, 0.0])
    >>> float(seen.gap), float(seen.amount)
    (1.0, 1.0)
    """

    state: State
    amount: Array
    gap: Array


def summarize_loss(x: Array, amount: Array, /) -> Loss:
    """Sum up one chunk of scores and the target in it.

    Parameters
    ----------
    x : array, shape (..., k)
        Scores, as in `summarize`.
    amount : array, shape (..., k)
        How much of the target each class has: 1 and 0 for a class index, or probabilities.

    Returns
    -------
    Loss
        Arrays of shape (...).

    Raises
    ------
    TypeError
        If an argument is no array of real numbers, or libraries are mixed.
    ValueError
        If amount does not match x.

    Notes
    -----
    Nothing is scaled: what is too large overflows as in the library, NumPy with its warning.
    See the chapter ``streaming``, claim ``prop-loss-monoid``.

    Examples
    --------
    >>> from softmax_notes.streaming import loss, summarize_loss
    >>> round(float(loss(summarize_loss([2.0, 1.0, 0.0], [0.0, 1.0, 0.0]))), 4)
    1.4076
    """
    xp, (x, amount) = as_arrays(x, amount)
    _, x, _ = widened(x)
    amount = like(xp, cast(xp, amount, x.dtype), x, name="amount")
    state = summarize(x)
    distance = _gap(xp, x, state.maximum[..., None])
    # A class without target adds 0, also one of probability 0: not 0 · inf.
    gap = xp.sum(amount * xp.where(amount == 0, 0.0, distance), axis=-1)
    usable = xp.isfinite(state.maximum)
    return Loss(state, xp.sum(amount, axis=-1), xp.where(usable, gap, 0.0))


def merge_losses(a: Loss, b: Loss, /) -> Loss:
    """Join what has been seen of two sets of classes of the same rows.

    Parameters
    ----------
    a, b : Loss
        Of one shape, library and dtype.

    Returns
    -------
    Loss
        The same to the last bit for (a, b) and (b, a).

    Notes
    -----
    See the chapter ``streaming``, claim ``prop-loss-monoid``.

    Examples
    --------
    >>> from softmax_notes.streaming import loss, merge_losses, summarize_loss
    >>> a, b = summarize_loss([2.0], [0.0]), summarize_loss([1.0, 0.0], [1.0, 0.0])
    >>> round(float(loss(merge_losses(a, b))), 4)
    1.4076
    """
    for name, seen in (("a", a), ("b", b)):
        _checked(seen, name, Loss)
    state = merge(a.state, b.state)
    xp = array_namespace(state.maximum)
    left, right = (_raised(xp, seen, state.maximum) for seen in (a, b))
    return Loss(state, a.amount + b.amount, left + right)


def loss(seen: Loss, /) -> Array:
    """Give the cross-entropy of the softmax of all scores seen: gap + A log1p(r).

    Parameters
    ----------
    seen : Loss
        What has been seen of scores and target.

    Returns
    -------
    array, shape (...)
        The loss of each row: +inf where a class of the target has probability 0, NaN where the
        maximum is no number.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes.streaming import loss, summarize_loss
    >>> seen = summarize_loss(np.array([18.0, 0.0], dtype=np.float32), np.array([1, 0]))
    >>> print(f"{loss(seen):.4g}")
    1.523e-08
    """
    xp = array_namespace(_checked(seen, "seen", Loss).gap)
    return seen.gap + seen.amount * xp.log1p(_number(xp, seen.state.maximum, seen.state.rest))


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


def _raised(xp: ModuleType, seen: Loss, maximum: Array) -> Array:
    """Give the gap as it is below a maximum that is not lower: larger by A times the rise."""
    rise = _gap(xp, seen.state.maximum, maximum)
    raised = seen.gap + seen.amount * xp.where(seen.amount == 0, 0.0, rise)
    return xp.where(xp.isfinite(maximum), raised, 0.0)


def _gap(xp: ModuleType, x: Array, maximum: Array) -> Array:
    """Compute maximum - x, +inf past the largest number; NaN where the maximum is no number."""
    shift = _number(xp, maximum, maximum)
    # Below this the difference is past the largest number.
    lowest = xp.maximum(shift, xp.zeros_like(shift)) - float(xp.finfo(x.dtype).max)
    return shift - xp.where(x < lowest, -xp.inf, xp.where(xp.isfinite(shift), x, 0.0))


def _number(xp: ModuleType, maximum: Array, y: Array) -> Array:
    """Give y where the maximum is a number, and NaN elsewhere."""
    return xp.where(xp.isfinite(maximum), y, xp.nan)


def _checked(value: Any, name: str = "state", kind: type = State) -> Any:
    if not isinstance(value, kind):
        maker = "summarize" if kind is State else "summarize_loss"
        raise TypeError(
            f"{name} must be a {kind.__name__}, as {maker} gives, got {type(value).__name__}"
        )
    return value


def _seen_by(xp: ModuleType, x: Array, state: State) -> tuple[Array, Array]:
    """Give the scores, NaN where they are more than the state has seen, and the maximum."""
    maximum = _checked(state).maximum[..., None]
    _, (x, maximum) = as_arrays(x, maximum)
    wider = xp.result_type(x.dtype, maximum.dtype)
    x, maximum = xp.astype(x, wider), xp.astype(maximum, wider)
    try:
        np.broadcast_shapes(x.shape, maximum.shape)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ValueError(
            f"x of shape {tuple(x.shape)} is no chunk of what a state of shape "
            f"{tuple(state.maximum.shape)} has seen"
        ) from error
    return xp.where(x > maximum, xp.nan, x), maximum
