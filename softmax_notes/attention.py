r"""Attention: a soft mean of values, weighted by softmax of scores.

For one query q and keys :math:`k_1, \dots, k_n` with values :math:`v_1, \dots, v_n`,

.. math:: p = \operatorname{softmax}\bigl(s(q, k_1), \dots, s(q, k_n)\bigr), \qquad
   o = \sum_i p_i v_i, \qquad s(q, k) = \frac{q^\top k}{\sqrt{d}} .

Queries, keys and values stand in rows, (..., N, d), (..., n, d) and (..., n, e); the axes in front
broadcast. `attention` forms all N × n scores; `tiled_attention` takes the keys block by block and
keeps of each query what `softmax_notes.streaming` keeps: a maximum, a sum, and the values riding
along. `tiled_attention_vjp` goes back the same way, forming each block of scores once more.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import device

from softmax_notes._arrays import (
    Array,
    as_arrays,
    cast,
    flag,
    floating,
    number,
    prepared,
    rounded,
    undefined,
    whole,
    working,
)
from softmax_notes.definition import softmax
from softmax_notes.streaming import State, identity, log_total, mean, update

__all__ = [
    "attention",
    "causal_mask",
    "hard_attention",
    "scaled_dot_product",
    "soft_attention",
    "tiled_attention",
    "tiled_attention_vjp",
]


def soft_attention(scores: Array, values: Array, /, *, where: Array | None = None) -> Array:
    r"""Average the values with softmax of the scores: :math:`\sum_i p_i v_i`.

    Parameters
    ----------
    scores : array of real numbers, shape (..., n)
        A score for each value; dtypes as in `softmax`.
    values : array of real numbers, shape (..., n, e)
        The values, finite, in rows; multiplied as matrices are.
    where : boolean array, optional
        Entries to include; it must broadcast to the shape of scores.

    Returns
    -------
    array, shape (..., e)
        The mean, in the dtype of values: NaN where softmax is, 0 where nothing is included.

    Raises
    ------
    TypeError
        If an argument is complex, masked, a matrix or no array, or libraries are mixed.
    ValueError
        If the shapes do not match.

    Notes
    -----
    See the chapter ``attention``, claims ``prop-convex-hull`` and ``prop-soft-to-hard``.

    Examples
    --------
    >>> from softmax_notes.attention import soft_attention
    >>> soft_attention([2.0, 1.0, 0.0], [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]).round(4)
    array([0.7553, 0.3348])
    """
    xp, (scores, values) = as_arrays(scores, values)
    _matching(scores, values)
    dtype = floating(xp, values).dtype
    p = softmax(working(xp, floating(xp, scores)), where=where)
    return rounded(xp, _weighted(xp, p, values), dtype)


def hard_attention(scores: Array, values: Array, /, *, where: Array | None = None) -> Array:
    r"""Take the value with the highest score: :math:`v_i` with :math:`i = \argmax_k s_k`.

    Parameters
    ----------
    scores, values : array
        As in `soft_attention`.
    where : boolean array, optional
        Entries to include, as in `soft_attention`.

    Returns
    -------
    array, shape (..., e)
        The value; of equal scores the first one's. Edges as in `soft_attention`.

    Raises
    ------
    TypeError, ValueError
        As in `soft_attention`.

    Notes
    -----
    The gradient with respect to the scores is 0. See the chapter ``attention``, claim
    ``prop-soft-to-hard``.

    Examples
    --------
    >>> from softmax_notes.attention import hard_attention
    >>> hard_attention([2.0, 1.0, 0.0], [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    array([1., 0.])
    """
    xp, (scores, values) = as_arrays(scores, values)
    _matching(scores, values)
    _, x, mask, _, _ = prepared(scores, -1, where)
    dtype = floating(xp, values).dtype
    if x.shape[-1] == 0:
        return rounded(xp, _weighted(xp, x, values), dtype)
    maximum = xp.max(x, axis=-1, keepdims=True)
    first = xp.arange(x.shape[-1], device=device(x)) == xp.argmax(x, axis=-1, keepdims=True)
    chosen = xp.where(first & (maximum > -xp.inf), 1.0, xp.zeros_like(maximum))
    return rounded(xp, _weighted(xp, chosen + undefined(xp, maximum, mask), values), dtype)


def scaled_dot_product(query: Array, key: Array, /, *, scale: float | None = None) -> Array:
    r"""Score every key against every query: :math:`q^\top k / \sqrt{d}`.

    Parameters
    ----------
    query : array of real numbers, shape (..., N, d)
        Queries in rows.
    key : array of real numbers, shape (..., n, d)
        Keys in rows.
    scale : float, optional
        The factor; default 1/√d.

    Returns
    -------
    array, shape (..., N, n)
        The scores, in the dtype of query.

    Raises
    ------
    TypeError
        As in `soft_attention`.
    ValueError
        If the shapes do not match.

    Notes
    -----
    See the chapter ``attention``, claims ``thm-dot-product-variance`` and ``prop-saturation``.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes.attention import scaled_dot_product
    >>> scaled_dot_product(np.array([[1.0, 1.0, 1.0, 1.0]]), np.eye(4)[:2])
    array([[0.5, 0.5]])
    """
    xp, (query, key) = as_arrays(query, key)
    query, key = floating(xp, query), floating(xp, key)
    if query.ndim < 2 or key.ndim < 2 or query.shape[-1] != key.shape[-1]:
        raise ValueError(
            f"query and key need the shapes (..., N, d) and (..., n, d), got "
            f"{tuple(query.shape)} and {tuple(key.shape)}"
        )
    scaled = working(xp, query) * _scale(scale, query.shape[-1])
    scores = xp.matmul(scaled, xp.matrix_transpose(working(xp, key)))
    return rounded(xp, scores, query.dtype)


def causal_mask(query: Array, key: Array, /, *, offset: int = 0) -> Array:
    r"""Mark what may be looked at: key j by query i if :math:`j \le i + \text{offset}`.

    Parameters
    ----------
    query : array, shape (..., N, d)
        Only its length N, library and device are used.
    key : array, shape (..., n, d)
        Only its length n is used.
    offset : int, default 0
        0 aligns the first query with the first key, as ``is_causal`` does; n - N aligns the
        last with the last, as generating text from stored keys needs it.

    Returns
    -------
    boolean array, shape (N, n)
        True where query i may look at key j.

    Raises
    ------
    TypeError
        As in `soft_attention`.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes.attention import causal_mask
    >>> q, k = np.zeros((2, 8)), np.zeros((4, 8))
    >>> causal_mask(q, k).astype(int)
    array([[1, 0, 0, 0],
           [1, 1, 0, 0]])
    >>> causal_mask(q, k, offset=2).astype(int)
    array([[1, 1, 1, 0],
           [1, 1, 1, 1]])
    """
    xp, (query, key) = as_arrays(query, key)
    offset = whole(offset, "offset")
    if query.ndim < 2 or key.ndim < 2:
        raise ValueError(
            f"query and key need the shapes (..., N, d) and (..., n, d), got "
            f"{tuple(query.shape)} and {tuple(key.shape)}"
        )
    rows = xp.arange(query.shape[-2], device=device(query))[:, None]
    return xp.arange(key.shape[-2], device=device(query))[None, :] <= rows + offset


def attention(
    query: Array,
    key: Array,
    value: Array,
    /,
    *,
    bias: Array | None = None,
    mask: Array | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Array:
    r"""Attend by scaled dot products: :math:`\operatorname{softmax}(QK^\top/\sqrt d)\,V`.

    Parameters
    ----------
    query : array of real numbers, shape (..., N, d)
        Queries in rows. The axes in front of all three arrays broadcast: keys of shape
        (B, 1, n, d) serve all heads of queries of shape (B, H, N, d).
    key : array of real numbers, shape (..., n, d)
        Keys in rows.
    value : array of real numbers, shape (..., n, e)
        Values in rows, finite.
    bias : array of real numbers, optional
        Added to the scores; it must broadcast to their shape (..., N, n). An entry of -inf is
        a mask.
    mask : boolean array, optional
        True where a query may look at a key; it must broadcast to (..., N, n).
    is_causal : bool, default False
        Query i looks at keys 0 to i only, counted from the first of both.
    scale : float, optional
        The factor of the dot products; default 1/√d.
    enable_gqa : bool, default False
        Grouped queries: the axis before the last two may hold H heads of queries and a divisor
        G of H of keys and values; H/G consecutive heads share one of them.

    Returns
    -------
    array, shape (..., N, e)
        In the dtype of value; float16 and bfloat16 are computed in float32 and rounded once.
        A query that may look at no key gives 0, and so does one whose scores are all -inf.

    Raises
    ------
    TypeError
        As in `soft_attention`, or if mask is not boolean.
    ValueError
        If the shapes do not match, or scale is not finite.

    Notes
    -----
    See the chapter ``attention``, claims ``prop-attention-order``, ``prop-attention-mask`` and
    ``thm-attention-gradients``.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes.attention import attention
    >>> q, k, v = np.eye(2), np.eye(2), np.array([[1.0, 0.0], [0.0, 10.0]])
    >>> attention(q, k, v).round(4)
    array([[0.6698, 3.3024],
           [0.3302, 6.6976]])
    >>> attention(q, k, v, is_causal=True).round(4)
    array([[1.    , 0.    ],
           [0.3302, 6.6976]])
    """
    given = _prepare(query, key, value, bias, mask, is_causal, scale, enable_gqa)
    scores = _scores(given, 0, given.key.shape[-2])
    output = soft_attention(scores, given.value, where=scores != -given.xp.inf)
    return _finished(given, output)


def tiled_attention(
    query: Array,
    key: Array,
    value: Array,
    /,
    *,
    bias: Array | None = None,
    mask: Array | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    block_size: int = 128,
) -> Array:
    r"""Attend in one pass over the keys, block by block, with memory linear in N and n.

    Parameters
    ----------
    query, key, value, bias, mask, is_causal, scale, enable_gqa
        As in `attention`.
    block_size : int, default 128
        How many keys to take at a time: N × block_size scores exist at once.

    Returns
    -------
    array, shape (..., N, e)
        What `attention` gives, up to rounding.

    Raises
    ------
    TypeError
        As in `attention`.
    ValueError
        As in `attention`, or if block_size is below 1.

    Notes
    -----
    Automatic differentiation keeps every block; `tiled_attention_vjp` does not. See the chapter
    ``attention``, claims ``thm-tiled-attention`` and ``prop-attention-memory``.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes.attention import attention, tiled_attention
    >>> q, k, v = np.random.default_rng(0).normal(size=(3, 50, 4))
    >>> tiled = tiled_attention(q, k, v, is_causal=True, block_size=7)
    >>> np.allclose(tiled, attention(q, k, v, is_causal=True), rtol=1e-12)
    True
    """
    given = _prepare(query, key, value, bias, mask, is_causal, scale, enable_gqa)
    output = _output(given.xp, _seen(given, block_size))
    return _finished(given, output)


def tiled_attention_vjp(
    query: Array,
    key: Array,
    value: Array,
    output_grad: Array,
    /,
    *,
    bias: Array | None = None,
    mask: Array | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    block_size: int = 128,
) -> tuple[Array, Array, Array]:
    r"""Give the gradients of attention in two passes over the keys, with linear memory.

    Parameters
    ----------
    query, key, value, bias, mask, is_causal, scale, enable_gqa, block_size
        As in `tiled_attention`.
    output_grad : array, shape (..., N, e)
        Gradient G of a scalar with respect to the output.

    Returns
    -------
    tuple of three arrays
        The gradients with respect to query, key and value, of their shapes and dtypes.

    Raises
    ------
    TypeError, ValueError
        As in `tiled_attention`, or if output_grad does not have the shape of the output.

    Notes
    -----
    The bias is taken as a constant. The first pass finds the logarithm of each query's sum, the
    second forms the probabilities of one block at a time from it. See the chapter
    ``attention``, claims ``thm-attention-gradients`` and ``prop-attention-memory``.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes.attention import tiled_attention_vjp
    >>> q, k, v = np.eye(2), np.eye(2), np.array([[1.0, 0.0], [0.0, 10.0]])
    >>> for gradient in tiled_attention_vjp(q, k, v, np.ones((2, 2))):
    ...     print(gradient.round(3).tolist())
    [[-1.408, 1.408], [-1.408, 1.408]]
    [[-1.408, -1.408], [1.408, 1.408]]
    [[1.0, 1.0], [1.0, 1.0]]
    """
    given = _prepare(query, key, value, bias, mask, is_causal, scale, enable_gqa)
    xp, q = given.xp, given.query
    state = _seen(given, block_size)
    output, log_sum = _output(xp, state), log_total(state)[..., None]
    gradient = _gradient(given, output_grad, output)
    log_sum = xp.where(log_sum == -xp.inf, 0.0, log_sum)
    # The mean of the g·v, which every score's gradient is measured against, is g·o.
    center = xp.sum(gradient * output, axis=-1, keepdims=True)
    query_grad, key_grads, value_grads = xp.zeros_like(q), [], []
    for start, stop in _blocks(given, block_size):
        k, v = given.key[..., start:stop, :], given.value[..., start:stop, :]
        p = xp.exp(_scores(given, start, stop) - log_sum)
        value_grads.append(_summed(xp, xp.matmul(xp.matrix_transpose(p), gradient), v.shape))
        score_grad = p * (xp.matmul(gradient, xp.matrix_transpose(v)) - center)
        query_grad = query_grad + _summed(xp, xp.matmul(score_grad, k), q.shape)
        key_grads.append(_summed(xp, xp.matmul(xp.matrix_transpose(score_grad), q), k.shape))
    key_grad = xp.concat([*key_grads, xp.zeros_like(given.key[..., :0, :])], axis=-2)
    value_grad = xp.concat([*value_grads, xp.zeros_like(given.value[..., :0, :])], axis=-2)
    gradients = (query_grad * given.scale, key_grad, value_grad)
    query_grad, key_grad, value_grad = (
        rounded(xp, xp.reshape(y, shape), dtype)
        for y, shape, dtype in zip(gradients, given.shapes, given.dtypes, strict=True)
    )
    return query_grad, key_grad, value_grad


class _Given(NamedTuple):
    """Checked arguments, in working precision; with grouped queries one more axis, of groups."""

    xp: ModuleType
    query: Array  # times the scale
    key: Array
    value: Array
    bias: Array | None
    mask: Array | None
    is_causal: bool
    scale: float
    batch: tuple[int, ...]  # what the axes in front broadcast to
    grouped: bool
    shapes: tuple[tuple[int, ...], ...]  # of query, key and value as they came
    dtypes: tuple[Any, ...]


def _prepare(
    query: Array,
    key: Array,
    value: Array,
    bias: Array | None,
    mask: Array | None,
    is_causal: bool,
    scale: float | None,
    enable_gqa: bool,
) -> _Given:
    xp, arrays = as_arrays(query, key, value)
    arrays = [floating(xp, x) for x in arrays]
    shapes = tuple(tuple(x.shape) for x in arrays)
    kind = xp.result_type(*(working(xp, x).dtype for x in arrays))
    q, k, v = (xp.astype(x, kind) for x in arrays)
    if min(map(len, shapes)) < 2 or q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise ValueError(
            "query, key and value need the shapes (..., N, d), (..., n, d) and (..., n, e), got "
            + ", ".join(map(str, shapes))
        )
    is_causal, enable_gqa = flag(is_causal, "is_causal"), flag(enable_gqa, "enable_gqa")
    groups = 0
    if enable_gqa:
        groups = _groups(shapes)
        q = xp.reshape(q, (*shapes[0][:-3], groups, -1, *shapes[0][-2:]))
        k, v = k[..., None, :, :], v[..., None, :, :]
    try:
        batch = np.broadcast_shapes(*(x.shape[:-2] for x in (q, k, v)))
    except ValueError as error:
        raise ValueError(f"the axes in front do not broadcast: {shapes}") from error
    factor = _scale(scale, q.shape[-1])
    form = (*batch, q.shape[-2], k.shape[-2])
    given = _Given(
        xp,
        q * factor,
        k,
        v,
        None,
        None,
        is_causal,
        factor,
        batch,
        enable_gqa,
        shapes,
        tuple(x.dtype for x in arrays),
    )
    if bias is not None:
        _, (_, added) = as_arrays(query, bias)
        given = given._replace(bias=cast(xp, _fitted(xp, added, form, groups, "bias"), kind))
    if mask is not None:
        _, (_, seen) = as_arrays(query, mask)
        if not xp.isdtype(seen.dtype, "bool"):
            raise TypeError(f"mask must be boolean, got dtype {seen.dtype}; for scores use bias")
        given = given._replace(mask=_fitted(xp, seen, form, groups, "mask"))
    return given


def _groups(shapes: tuple[tuple[int, ...], ...]) -> int:
    """Check the axes of heads and give the number of groups."""
    heads = [shape[-3] if len(shape) > 2 else 0 for shape in shapes]
    if not all(heads) or heads[1] != heads[2] or heads[0] % heads[1]:
        raise ValueError(
            "enable_gqa: grouped queries need H heads of queries and a divisor of H of keys and "
            "values on the third axis from the end, got " + ", ".join(map(str, shapes))
        )
    return heads[1]


def _fitted(xp: ModuleType, x: Array, form: tuple[int, ...], groups: int, name: str) -> Array:
    """Broadcast a mask or a bias to the shape of the scores."""
    shape = tuple(x.shape)
    if groups and x.ndim > 2:  # the axis of heads becomes two: groups, and heads in a group
        split = (1, 1) if shape[-3] == 1 else (groups, -1)
        if shape[-3] in (1, form[-4] * form[-3]):
            x = xp.reshape(x, (*shape[:-3], *split, *shape[-2:]))
    try:
        fits = np.broadcast_shapes(x.shape, form) == form
    except ValueError:
        fits = False
    if not fits:
        full = (*form[:-4], form[-4] * form[-3], *form[-2:]) if groups else form
        raise ValueError(f"{name} of shape {shape} does not broadcast to the scores' {full}")
    return xp.broadcast_to(x, form)


def _matching(scores: Array, values: Array) -> None:
    if scores.ndim < 1 or values.ndim < 2 or scores.shape[-1] != values.shape[-2]:
        raise ValueError(
            f"scores and values need the shapes (..., n) and (..., n, e), got "
            f"{tuple(scores.shape)} and {tuple(values.shape)}"
        )


def _scale(scale: float | None, width: int) -> float:
    if scale is None:
        return 1 / math.sqrt(max(width, 1))
    if not math.isfinite(factor := number(scale, "scale")):
        raise ValueError(f"scale must be finite, got {scale}")
    return factor


def _weighted(xp: ModuleType, weights: Array, values: Array) -> Array:
    values = working(xp, floating(xp, values))
    kind = xp.result_type(weights.dtype, values.dtype)
    return xp.matmul(xp.astype(weights, kind), xp.astype(values, kind))


def _scores(given: _Given, start: int, stop: int) -> Array:
    """Score the keys from start to stop; -inf where a query may not look."""
    xp = given.xp
    scores = xp.matmul(given.query, xp.matrix_transpose(given.key[..., start:stop, :]))
    if given.bias is not None:
        bias = given.bias[..., start:stop]
        scores = xp.where(bias == -xp.inf, -xp.inf, scores + bias)
    if given.mask is not None:
        scores = xp.where(given.mask[..., start:stop], scores, -xp.inf)
    if given.is_causal:
        block = given.key[..., start:stop, :]
        scores = xp.where(causal_mask(given.query, block, offset=-start), scores, -xp.inf)
    return scores


def _blocks(given: _Given, block_size: int) -> Iterator[tuple[int, int]]:
    if (block_size := whole(block_size, "block_size")) < 1:
        raise ValueError(f"block_size must be at least 1, got {block_size}")
    size = given.key.shape[-2]
    return ((start, min(start + block_size, size)) for start in range(0, size, block_size))


def _seen(given: _Given, block_size: int) -> State:
    """Pass over the keys once."""
    width = given.value.shape[-1]
    state = identity((*given.batch, given.query.shape[-2]), like=given.query, width=width)
    for start, stop in _blocks(given, block_size):
        values = given.value[..., start:stop, :]
        state = update(state, _scores(given, start, stop), values)
    return state


def _output(xp: ModuleType, state: State) -> Array:
    return xp.where((state.maximum == -xp.inf)[..., None], 0.0, mean(state))


def _finished(given: _Given, output: Array) -> Array:
    """Join the groups again, and round."""
    shape = tuple(output.shape)
    if given.grouped:
        shape = (*shape[:-4], shape[-4] * shape[-3], *shape[-2:])
    return rounded(given.xp, given.xp.reshape(output, shape), given.dtypes[2])


def _gradient(given: _Given, gradient: Array, output: Array) -> Array:
    _, (_, gradient) = as_arrays(output, gradient)
    expected = tuple(_finished(given, output).shape)
    if tuple(gradient.shape) != expected:
        raise ValueError(
            f"output_grad needs the shape {expected} of the output, got {tuple(gradient.shape)}"
        )
    return given.xp.reshape(cast(given.xp, gradient, output.dtype), output.shape)


def _summed(xp: ModuleType, gradient: Array, shape: tuple[int, ...]) -> Array:
    """Add up over the axes along which an argument of that shape was broadcast."""
    extra = gradient.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(
        extra + i for i, size in enumerate(shape) if size == 1 != gradient.shape[extra + i]
    )
    return xp.reshape(xp.sum(gradient, axis=axes), shape) if axes else gradient
