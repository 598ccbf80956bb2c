"""From arrays of any shape and stride to the kernels: rows, columns or pieces of long rows."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from softmax_notes._arrays import as_arrays, flag, normalized_axes
from softmax_notes._fast import kernels
from softmax_notes._fast.kernels import (
    ALONE_UP_TO,
    BLOCK,
    CHUNK,
    LOGSUMEXP,
    LONG,
    NARROW,
    SOFTMAX,
    TILE,
    WIDE,
)
from softmax_notes._fast.threads import ALONE, run
from softmax_notes._fast.vectors import BYTES

FLOAT32, FLOAT64 = np.dtype("float32"), np.dtype("float64")
STREAM = 16 * 2**20  # bytes of a result that will not stay in a cache, and is written past it
_ONE = np.ones(1)
_ROWS: dict[Any, Any] = {}  # `kernels.rows` as compiled for a dtype


class Source(NamedTuple):
    """An argument as a NumPy array the kernels take, and what its result has to become."""

    array: Any  # of float32 or float64; it shares the memory of what was given, if it can
    torch: Any  # PyTorch, if a tensor was given
    dtype: Any  # of the result, in the library that was given


class _Unlocked:
    """The memory of an array that may not be written, as one that may: Numba would compile anew.

    No kernel writes to an argument that it reads.
    """

    def __init__(self, x: Any) -> None:
        self.x = x
        self.__array_interface__ = x.__array_interface__ | {
            "data": (x.__array_interface__["data"][0], False)
        }

    def view(self) -> Any:
        return np.asarray(self)


def source(x: Any) -> Source:
    """Bring an argument to a NumPy array of float32 or float64, without a copy if it is one."""
    if type(x) is np.ndarray and (x.dtype is FLOAT32 or x.dtype is FLOAT64):
        return Source(x if x.flags.writeable else _Unlocked(x).view(), None, x.dtype)
    xp, (x,) = as_arrays(x)
    tensor = xp.__name__.endswith(".torch")
    if not (x.device.type == "cpu" if tensor else isinstance(x, np.ndarray | np.generic)):
        raise TypeError(
            "fast takes NumPy arrays and PyTorch's CPU tensors, got "
            f"{type(x).__module__}.{type(x).__name__}; softmax_notes has the same functions "
            "for every array library and device"
        )
    if tensor:
        return _tensor(x)
    kind = x.dtype.newbyteorder("=") if x.dtype.kind == "f" else FLOAT64
    if kind.itemsize > 8:
        raise TypeError(f"fast computes in float32 and float64, got {x.dtype}; convert it first")
    work = FLOAT64 if kind.itemsize == 8 else FLOAT32
    return Source(source(np.asarray(x, dtype=work)).array, None, kind)


def _tensor(x: Any) -> Source:
    import torch

    if x.requires_grad and torch.is_grad_enabled():
        raise TypeError(
            "fast records nothing for autograd; pass x.detach(), or use softmax_notes or "
            "fast.CrossEntropyLoss where a gradient is wanted"
        )
    dtype = x.dtype if x.is_floating_point() else torch.get_default_dtype()
    work = torch.float64 if dtype == torch.float64 else torch.float32
    return Source(x.detach().to(work).numpy(), torch, dtype)


def result(given: Source, array: Any) -> Any:
    """Bring a result to the library and dtype of what was given."""
    if given.torch is not None:
        return given.torch.from_numpy(array).to(given.dtype)
    return array if array.dtype == given.dtype else array.astype(given.dtype)


def target_of(given: Source, out: Any, shape: tuple[int, ...]) -> Any:
    """Check the argument ``out`` and give it as a NumPy array."""
    kind: Any = np.ndarray if given.torch is None else given.torch.Tensor
    if not isinstance(out, kind):
        raise TypeError(f"out must be of the library of x, got {type(out).__name__}")
    if tuple(out.shape) != shape or out.dtype != given.dtype:
        raise ValueError(
            f"out must have shape {shape} and dtype {given.dtype}, got shape "
            f"{tuple(out.shape)} and dtype {out.dtype}"
        )
    if given.torch is not None:
        if out.requires_grad:
            raise TypeError("out must not require a gradient; pass out.detach()")
        out = out if out.dtype.itemsize < 4 else out.numpy()
    elif not out.flags.writeable:
        raise ValueError("out is read-only")
    return out


def elementwise(x: Any, axis: Any, out: Any, kind: int) -> Any:
    """Do softmax or log_softmax; a matrix along its last axis goes the shortest way."""
    if type(axis) is int and (axis == -1 or axis == 1) and matrix(x):
        if out is None:
            out = np.empty_like(x)
        elif out is not x and not takes(x, out, x.shape):
            return _elementwise(x, axis, out, kind)
        if x.size <= ALONE_UP_TO:
            rows_alone(x, out, kind)
        else:
            whole_rows(x, out, kind)
        return out
    return _elementwise(x, axis, out, kind)


def matrix(x: Any) -> bool:
    """Tell whether the kernels can take an array as it is, and write to it."""
    return (
        type(x) is np.ndarray
        and x.ndim == 2
        and (x.dtype is FLOAT32 or x.dtype is FLOAT64)
        and x.size > 0
        and x.flags.carray
    )


def takes(x: Any, out: Any, shape: tuple[int, ...]) -> bool:
    """Tell whether they can write what they make of a matrix there, if that has this shape."""
    return (
        type(out) is np.ndarray
        and out.shape == shape
        and out.dtype is x.dtype
        and out.flags.carray
        # Arrays that own their memory do not share it.
        and ((x.base is None and out.base is None) or not np.may_share_memory(x, out))
    )


def rows_alone(x: Any, out: Any, kind: int) -> None:
    """Do the rows of a matrix in this thread."""
    entry = _ROWS.get(x.dtype)
    if entry is None:
        args = (x, out, kind, False, ALONE, ALONE, 0)
        entry = _ROWS[x.dtype] = kernels.entry_of(kernels.rows, args)
    entry(x, out, kind, False, ALONE, ALONE, 0)


def _elementwise(x: Any, axis: Any, out: Any, kind: int) -> Any:
    given = source(x)
    a = given.array
    if out is None:
        b = np.empty_like(a)
        _fill(a, axis, b, kind)
        return result(given, b)
    b = target_of(given, out, a.shape)
    direct = b.dtype == a.dtype and not (np.may_share_memory(a, b) and not _same(a, b))
    c = b if direct else np.empty_like(a)
    _fill(a, axis, c, kind)
    if not direct and given.torch is not None:
        out.copy_(given.torch.from_numpy(c))
    elif not direct:
        b[...] = c
    return out


def _same(a: Any, b: Any) -> bool:
    return bool(
        a.__array_interface__["data"][0] == b.__array_interface__["data"][0]
        and a.strides == b.strides
    )


def _fill(a: Any, axis: Any, b: Any, kind: int) -> None:
    """Compute b, of the shape of a, along an axis or several."""
    axes = normalized_axes(np, a, axis)
    if a.size == 0:
        return
    if len(axes) == 1:
        order = _order(a)
        at, bt = a.transpose(order), b.transpose(order)
        place = order.index(axes[0])
        if at.flags.c_contiguous and bt.flags.c_contiguous:
            shape = _three(at.shape, place)
            slices(at.reshape(shape), bt.reshape(shape), kind)
            return
    kept = tuple(i for i in range(a.ndim) if i not in axes)
    at, bt = a.transpose(kept + axes), b.transpose(kept + axes)
    n = math.prod(a.shape[i] for i in axes)
    if bt.flags.c_contiguous:
        whole_rows(np.ascontiguousarray(at).reshape(-1, n), bt.reshape(-1, n), kind)
        return
    rows = np.ascontiguousarray(at).reshape(-1, n)
    c = np.empty_like(rows)
    whole_rows(rows, c, kind)
    bt[...] = c.reshape(bt.shape)


def _order(a: Any) -> tuple[int, ...]:
    """Give the axes from the largest stride to the smallest: C order, if any order is."""
    return tuple(sorted(range(a.ndim), key=lambda i: (-abs(a.strides[i]), a.shape[i] == 1, i)))


def _three(shape: tuple[int, ...], place: int) -> tuple[int, int, int]:
    return math.prod(shape[:place]), shape[place], math.prod(shape[place + 1 :])


def slices(a: Any, b: Any, kind: int) -> None:
    """Do a, of shape (outer, n, inner), along the middle axis."""
    outer, n, inner = a.shape
    if inner == 1:
        whole_rows(a.reshape(outer, n), b.reshape(outer, -1), kind)
        return
    width, blocks = tiles(a)
    run(kernels.columns, (a, b, width, kind, streamed(b)), blocks, blocks)


def tiles(a: Any) -> tuple[int, int]:
    """Give how many columns of a, of shape (outer, n, inner), are done at a time, and how often.

    The number of columns fills whole vectors.
    """
    outer, n, inner = a.shape
    most = min(max(TILE // n, NARROW), WIDE) // BYTES
    width = min(most, -(-inner * a.itemsize // BYTES)) * BYTES // a.itemsize
    return width, outer * -(-inner // width)


def streamed(b: Any) -> bool:
    """Tell whether a result is written past the caches: if it is large, in pieces not too short."""
    return bool(b.nbytes >= STREAM and b.shape[-1] * b.itemsize >= 2048)


def whole_rows(a: Any, b: Any, kind: int) -> None:
    """Do a, of shape (N, n), along its last axis."""
    count, n = a.shape
    if n <= LONG:
        blocks = -(-count // max(1, BLOCK // n))
        run(kernels.rows, (a, b, kind, streamed(b)), count, blocks)
        return
    totals = summed(a)
    if kind == LOGSUMEXP:
        with np.errstate(all="ignore"):
            result = totals[:, 0] + np.log1p(totals[:, 2])
            b[:, 0] = np.where(np.isfinite(totals[:, 0]), result, totals[:, 0])
        return
    blocks = count * -(-n // CHUNK)
    factor = np.broadcast_to(_ONE, count).copy() if kind == SOFTMAX else _ONE
    run(kernels.spread, (a, totals, b, kind, streamed(b), factor), blocks, blocks)


def summed(a: Any) -> Any:
    """Give m, the sum and its excess for each long row."""
    count, n = a.shape
    each = -(-n // CHUNK)
    parts = np.empty((count, each, 4))
    run(kernels.pieces, (a, parts), count * each, count * each)
    totals = np.empty((count, 3))
    kernels.merge(a, parts, totals)
    return totals


def reduced(x: Any, axis: Any, keepdims: bool, out: Any) -> Any:
    """Do logsumexp."""
    keepdims = flag(keepdims, "keepdims")
    if type(axis) is int and (axis == -1 or axis == 1) and not keepdims and matrix(x):
        direct = takes(x, out, x.shape[:1])
        b = out.reshape(len(x), 1) if direct else np.empty((len(x), 1), x.dtype)
        if x.size <= ALONE_UP_TO:
            rows_alone(x, b, LOGSUMEXP)
        else:
            whole_rows(x, b, LOGSUMEXP)
        if out is None:
            return b[:, 0]
        if not direct:
            target_of(Source(x, None, x.dtype), out, x.shape[:1])[...] = b[:, 0]
        return out
    given = source(x)
    a = given.array
    axes = normalized_axes(np, a, axis)
    kept = tuple(i for i in range(a.ndim) if i not in axes)
    n = math.prod(a.shape[i] for i in axes)
    shape = tuple(a.shape[i] for i in kept)
    if n == 0:
        b = np.full(shape, -np.inf, a.dtype)
    elif a.size == 0:
        b = np.empty(shape, a.dtype)
    else:
        b = _reduce(a, axes, kept, n)
    if keepdims:
        b = b.reshape(tuple(1 if i in axes else s for i, s in enumerate(a.shape)))
    if out is None:
        return result(given, b) if b.ndim or given.torch is not None else given.dtype.type(b)
    c = target_of(given, out, b.shape)
    if given.torch is not None:
        out.copy_(given.torch.from_numpy(b))
    else:
        c[...] = b
    return out


def _reduce(a: Any, axes: tuple[int, ...], kept: tuple[int, ...], n: int) -> Any:
    order = _order(a)
    if len(axes) == 1 and (at := a.transpose(order)).flags.c_contiguous:
        place = order.index(axes[0])
        outer, n, inner = _three(at.shape, place)
        b = np.empty((outer, 1, inner), a.dtype)
        slices(at.reshape(outer, n, inner), b, LOGSUMEXP)
        left = tuple(i for i in order if i != axes[0])
        b = b.reshape(tuple(a.shape[i] for i in left))
        return b.transpose(tuple(left.index(i) for i in kept))
    rows = np.ascontiguousarray(a.transpose(kept + axes)).reshape(-1, n)
    b = np.empty((len(rows), 1), a.dtype)
    whole_rows(rows, b, LOGSUMEXP)
    return b.reshape(tuple(a.shape[i] for i in kept))
