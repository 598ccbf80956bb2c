"""Softmax of Dask arrays larger than memory, chunked along and across the classes.

`softmax_notes.softmax` runs on Dask arrays too, but it joins and splits chunks to add them
accurately, and keeps the chunks of a row while it does. Here every chunk is summed up into a state
of `streaming`, the states merge in a tree, and for results of the size of the scores each chunk is
read a second time: at no time are more than a few chunks in memory.

Needs Dask: ``pip install 'softmax-notes[streaming]'``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial, reduce
from typing import Any, TypeVar

import numpy as np
from array_api_compat import is_dask_array

from softmax_notes._arrays import (
    Array,
    Axis,
    as_arrays,
    axes_last,
    flag,
    floating,
    mask_of,
    normalized_axes,
    rounded,
)
from softmax_notes._extras import needs
from softmax_notes._losses import check_ignored, check_one_a_class, check_options
from softmax_notes.streaming import (
    Loss,
    State,
    log_softmax_of,
    log_total,
    loss,
    merge,
    merge_losses,
    softmax_of,
    summarize,
    summarize_loss,
)

with needs("streaming"):
    import dask.array as da
    from dask.graph_manipulation import bind

__all__ = ["cross_entropy", "log_softmax", "logsumexp", "softmax"]

_S = TypeVar("_S")


def softmax(x: Array, /, *, axis: Axis = -1, where: Array | None = None) -> Array:
    """Softmax of a Dask array that need not fit into memory, whatever its chunks.

    Parameters
    ----------
    x : dask.array.Array of real numbers
        Scores; dtypes as in `softmax_notes.softmax`.
    axis : int, tuple of int or None, default -1
        The axes along which the result sums to 1, chunked or not; None means all of them.
    where : boolean array, optional
        Entries to include, a Dask array that broadcasts to x.

    Returns
    -------
    dask.array.Array
        Probabilities, not computed yet, of the shape, dtype and chunks of x. The edges are
        those of `softmax_notes.softmax`.

    Raises
    ------
    TypeError
        If x is no Dask array of real numbers.

    Notes
    -----
    The chunks of x are computed, or read, twice: once for the sums, and again when all sums are
    known. In between nothing is kept of them. See the chapter ``streaming``, claim
    ``thm-monoid``.

    Examples
    --------
    >>> import dask.array as da
    >>> from softmax_notes import out_of_core
    >>> x = da.arange(6, chunks=2)
    >>> out_of_core.softmax(x).compute().round(4)
    array([0.0043, 0.0116, 0.0315, 0.0858, 0.2331, 0.6337])
    """
    return _second_pass(softmax_of, 0.0, x, axis, where)


def log_softmax(x: Array, /, *, axis: Axis = -1, where: Array | None = None) -> Array:
    """Logarithm of softmax of a Dask array that need not fit into memory.

    Parameters
    ----------
    x, axis, where
        As in `softmax`.

    Returns
    -------
    dask.array.Array
        Log-probabilities, not computed yet, of the shape, dtype and chunks of x.

    Raises
    ------
    TypeError
        As in `softmax`.

    Examples
    --------
    >>> import dask.array as da
    >>> from softmax_notes import out_of_core
    >>> x = da.arange(6, chunks=2)
    >>> out_of_core.log_softmax(x).compute().round(4)
    array([-5.4562, -4.4562, -3.4562, -2.4562, -1.4562, -0.4562])
    """
    return _second_pass(log_softmax_of, -np.inf, x, axis, where)


def logsumexp(
    x: Array, /, *, axis: Axis = None, keepdims: bool = False, where: Array | None = None
) -> Array:
    """Logarithm of the sum of exponentials of a Dask array, in one pass.

    Parameters
    ----------
    x, where
        As in `softmax`.
    axis : int, tuple of int or None, default None
        The axes summed over; None, as in `softmax_notes.logsumexp`, means all of them.
    keepdims : bool, default False
        Keep the summed axes with length 1.

    Returns
    -------
    dask.array.Array
        The logarithms, not computed yet.

    Raises
    ------
    TypeError
        As in `softmax`.

    Examples
    --------
    >>> import dask.array as da
    >>> from softmax_notes import out_of_core
    >>> x = da.arange(6, chunks=2)
    >>> print(out_of_core.logsumexp(x).compute().round(4))
    5.4562
    """
    keepdims = flag(keepdims, "keepdims")
    x, _, axes = _checked(x, axis, where)
    states = _states(x, axes)
    total = states.map_blocks(_log_total, x.dtype, dtype=x.dtype, meta=x._meta)
    return total if keepdims else da.squeeze(total, axis=axes)


def cross_entropy(
    logits: Array,
    target: Array,
    /,
    *,
    axis: int = -1,
    weight: Array | None = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Array:
    """Cross-entropy of a Dask array of logits, in one pass.

    Parameters
    ----------
    logits : dask.array.Array
        Scores, with n classes along ``axis``.
    target : array of integers or of real numbers
        Class indices, of the shape of logits without ``axis``, or probabilities, of the shape of
        logits; a Dask array, or one that fits into memory.
    axis, ignore_index, label_smoothing, reduction
        As in `softmax_notes.cross_entropy`.
    weight : array, shape (n,), optional
        A finite, non-negative factor for each class.

    Returns
    -------
    dask.array.Array
        The loss, not computed yet.

    Raises
    ------
    TypeError
        If logits is no Dask array of real numbers.
    ValueError
        If label_smoothing, reduction or a shape is out of its range; and, once Dask computes,
        if a target or weight is.

    Notes
    -----
    See the chapter ``streaming``, claim ``prop-loss-monoid``.

    Examples
    --------
    >>> import dask.array as da
    >>> from softmax_notes import out_of_core
    >>> logits = da.from_array([[2.0, 1.0, 0.0], [0.0, 0.0, 0.0]], chunks=(1, 2))
    >>> print(out_of_core.cross_entropy(logits, [0, 2]).compute().round(4))
    0.7531
    """
    check_options(label_smoothing, reduction)
    x, _, (axis,) = _checked(logits, (axis,), None)
    x = da.moveaxis(x, axis, -1)
    y, kept, soft = _shares(x, target, axis, ignore_index)
    factor = _factors(x, weight)
    amount = ((1 - label_smoothing) * y + label_smoothing / max(x.shape[-1], 1)) * factor
    losses = _losses(da.where(kept, x, 0.0), da.where(kept, amount, 0.0), x.dtype)
    if reduction == "none":
        return losses
    if reduction == "sum":
        return da.sum(losses)
    # PyTorch's convention: the weight of the targets themselves, for probabilities no weight.
    count = kept.size if soft else da.sum(da.where(kept, y * factor, 0.0))
    return (da.sum(losses) / da.where(count == 0, np.nan, count)).astype(x.dtype)


def _checked(x: Array, axis: Axis, where: Array | None) -> tuple[Array, Any, tuple[int, ...]]:
    """Check the arguments and bring excluded entries to -inf."""
    if not is_dask_array(x):
        raise TypeError(
            f"a Dask array is needed, got {type(x).__module__}.{type(x).__name__}; "
            "what fits into memory is for softmax_notes.softmax"
        )
    xp, (x,) = as_arrays(x)
    x, axes = floating(xp, x), normalized_axes(xp, x, axis)
    mask = None if where is None else mask_of(xp, where, x)
    return (x if mask is None else da.where(mask, x, -np.inf).astype(x.dtype)), mask, axes


def _second_pass(
    function: Callable[[Array, State], Array],
    absent: float,
    x: Array,
    axis: Axis,
    where: Array | None,
) -> Array:
    """Sum up, and only then read the chunks again and apply a function of scores and state."""
    x, mask, axes = _checked(x, axis, where)
    states = _states(x, axes)
    # The same chunks under new names, to be computed when all states are: Dask would otherwise
    # keep in memory what it has read and will need again.
    again = bind(x, states)
    result = da.map_blocks(
        partial(_entrywise, function), again, states, dtype=x.dtype, meta=x._meta
    )
    return result if mask is None else da.where(mask, result, absent).astype(x.dtype)


def _entrywise(function: Callable[[Array, State], Array], x: Array, state: State) -> Array:
    return function(x[..., None], state)[..., 0]  # each score as a chunk of its own


def _states(x: Array, axes: tuple[int, ...]) -> Array:
    """Reduce the axes to length 1; each block of the result is a State, not an array."""
    return da.reduction(
        x,
        _state_of_block,
        partial(_tree, merge),
        axis=axes,
        keepdims=True,
        concatenate=False,
        dtype=x.dtype,
    )


def _state_of_block(
    x: Array, axis: tuple[int, ...], keepdims: bool, computing_meta: bool = False
) -> Any:
    if computing_meta:
        return x
    xp, (x,) = as_arrays(x)
    shape = tuple(1 if i in axis else size for i, size in enumerate(x.shape))
    state = summarize(axes_last(xp, x, axis)[0])
    return State(xp.reshape(state.maximum, shape), xp.reshape(state.rest, shape))


def _tree(
    join: Callable[[_S, _S], _S],
    parts: Any,
    axis: tuple[int, ...],
    keepdims: bool,
    computing_meta: bool = False,
) -> Any:
    """Merge what Dask hands over: nested lists of the blocks next to each other."""
    return parts if computing_meta else reduce(join, _flat(parts))


def _flat(parts: Any) -> Iterator[Any]:
    if isinstance(parts, list):
        for part in parts:
            yield from _flat(part)
    else:
        yield parts


def _log_total(state: State, dtype: Any) -> Array:
    xp, (total,) = as_arrays(log_total(state))
    return rounded(xp, total, dtype)


def _losses(x: Array, amount: Array, dtype: Any) -> Array:
    """Give the loss of each row; the classes are the last axis."""
    seen: Any = da.reduction(
        x,
        _loss_of_block,
        partial(_tree, merge_losses),
        axis=-1,
        keepdims=True,
        concatenate=False,
        dtype=dtype,
        weights=amount,
    )
    losses = seen.map_blocks(_loss, dtype, dtype=dtype, meta=x._meta)
    return da.squeeze(losses, axis=-1)


def _loss_of_block(
    x: Array, weights: Array, axis: tuple[int, ...], keepdims: bool, computing_meta: bool = False
) -> Any:
    return x if computing_meta else summarize_loss(x, weights)


def _loss(seen: Loss, dtype: Any) -> Array:
    xp, (losses,) = as_arrays(loss(seen))
    return rounded(xp, losses[..., None], dtype)


def _shares(
    x: Array, target: Array, axis: int, ignore_index: int | None
) -> tuple[Array, Array, bool]:
    """Give each class's share of the target, which rows are kept, and whether it was soft."""
    target = _as_dask(target, "target")
    soft = target.dtype.kind == "f"
    check_ignored(ignore_index, soft)
    if soft:
        if target.ndim == x.ndim:
            target = da.moveaxis(target, axis, -1)
    elif target.dtype.kind not in "iu":
        raise ValueError(f"target must hold class indices or probabilities, got {target.dtype}")
    wanted = x.shape if soft else x.shape[:-1]
    if target.shape != wanted:
        raise ValueError(
            f"target must hold class indices of shape {x.shape[:-1]} or probabilities of the "
            f"shape of logits; with the classes last it has shape {target.shape}"
        )
    # In the chunks of the logits: else whole rows of one-hot targets would be built.
    target = target.rechunk(x.chunks[: target.ndim])
    if soft:
        y = _within(target, 0, 1, None, "target probabilities must be from 0 to 1")
        kept = da.ones(x.shape[:-1], chunks=x.chunks[:-1], dtype=bool)[..., None]
    else:
        most = x.shape[-1] - 1
        target = _within(target, 0, most, ignore_index, f"target must be from 0 to {most}")
        kept = (target != ignore_index)[..., None]
        y = target[..., None] == da.arange(x.shape[-1], chunks=x.chunks[-1:])
    return y.astype(x.dtype), kept, soft


def _as_dask(value: Array, name: str) -> Array:
    if is_dask_array(value):
        return value
    _, (array,) = as_arrays(value)
    if not isinstance(array, np.ndarray | np.generic):
        raise TypeError(
            f"{name} must be an array of Dask or NumPy, got "
            f"{type(array).__module__}.{type(array).__name__}"
        )
    return da.asarray(np.asarray(array))


def _within(x: Array, least: float, most: float, ignored: int | None, words: str) -> Array:
    """Give x, with an error in its place if a number is out of range once Dask computes."""
    check = partial(_checked_block, least=least, most=most, ignored=ignored, words=words)
    return da.map_blocks(check, x, dtype=x.dtype, meta=x._meta)


def _checked_block(x: Array, least: float, most: float, ignored: int | None, words: str) -> Array:
    wrong = ~((x >= least) & (x <= most))  # NaN is neither
    if ignored is not None:
        wrong = wrong & (x != ignored)
    if bool(wrong.any()):
        raise ValueError(f"{words}, got {x[wrong][0]}")
    return x


def _factors(x: Array, weight: Array | None) -> Array:
    n = x.shape[-1]
    if weight is None:
        return da.ones(n, chunks=x.chunks[-1:], dtype=x.dtype)
    factors = _as_dask(weight, "weight")
    check_one_a_class("weight", factors.shape, n)
    factors = factors.rechunk(x.chunks[-1:])
    kinds = [kind for kind in (x.dtype, factors.dtype) if kind.kind == "f"]
    largest = min(float(np.finfo(kind).max) for kind in kinds)
    factors = _within(factors, 0, largest, None, "weight must hold finite numbers from 0 on")
    return factors.astype(x.dtype)
