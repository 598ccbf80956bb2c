"""Cross-entropy and its gradient: arguments checked, brought to rows, and back."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from softmax_notes._arrays import as_arrays, normalized_axes
from softmax_notes._fast import kernels
from softmax_notes._fast.calls import (
    FLOAT64,
    Source,
    matrix,
    result,
    source,
    streamed,
    summed,
    takes,
    target_of,
    tiles,
)
from softmax_notes._fast.kernels import ALONE_UP_TO, BLOCK, CHUNK, LONG, SOFTMAX
from softmax_notes._fast.threads import ALONE, run
from softmax_notes._losses import check_ignored, check_options

_INT64 = np.dtype("int64")
_NOTHING = {kind: np.empty((0, 0), kind) for kind in "fd"}
_NO_WEIGHT = {kind: np.empty(0, kind) for kind in "fd"}
_NO_CLASS = np.empty(0, _INT64)
_ENTRIES: dict[Any, Any] = {}  # `kernels.whole_loss` as compiled for a dtype


class Options(NamedTuple):
    """What a loss may be asked for beside logits and target."""

    axis: int
    weight: Any
    ignore_index: int | None
    label_smoothing: float
    reduction: str


def evaluate(logits: Any, target: Any, options: Options, want: bool, out: Any = None) -> Any:
    """Give the loss and, if wanted, the gradient; else None in its place."""
    if _plain_matrix(logits, target, options, out):
        return _quick(logits, target, options, want, out)
    check_options(options.label_smoothing, options.reduction)
    check_ignored(options.ignore_index, soft=False)
    given = source(logits)
    if _along_columns(given, target, options, out):
        return _columns(given, target, options, want, out)
    rows, shape, axis = _rows(given.array, options.axis)
    y, target = _targets(given, target, rows, shape, axis, options.ignore_index)
    char = rows.dtype.char
    weight = _weight(given, options.weight, rows)
    skip = options.ignore_index is not None
    ignored = int(options.ignore_index or 0)
    n = rows.shape[1]
    if y is None:
        wrong, total = kernels.weigh(target, n, ignored, skip, weight)
        if wrong >= 0:
            raise _out_of_range(target[wrong], n)
    else:
        total = float(len(rows))
    mean = options.reduction == "mean"
    divisor = (total or math.nan) if mean else 1.0
    grad, direct = _NOTHING[char], False
    if want:
        grad, direct = _room(given, out, rows, rows.shape, axis == given.array.ndim - 1)
    loss = np.empty(len(rows))
    if rows.size:
        plain = y is None and not options.label_smoothing
        compute = _hard if plain else _soft
        compute(
            rows, y, target, weight, ignored, skip, options.label_smoothing, divisor, loss, grad,
            want,
        )  # fmt: skip
    else:
        loss[:] = 0.0
    value = _value(given, loss, shape, options, divisor)
    if not want:
        return value, None
    if direct:
        return value, out
    return value, _handed_over(given, np.moveaxis(grad.reshape((*shape, n)), -1, axis), out)


def _plain_matrix(logits: Any, target: Any, options: Options, out: Any) -> bool:
    """Tell whether the kernel can take all arguments as they are: the shortest way."""
    return (
        type(options.axis) is int
        and (options.axis == -1 or options.axis == 1)
        and options.weight is None
        and type(options.label_smoothing) is float
        and not options.label_smoothing
        and (options.ignore_index is None or type(options.ignore_index) is int)
        and type(options.reduction) is str
        and (options.reduction == "mean" or options.reduction == "sum")
        and matrix(logits)
        and logits.shape[1] <= LONG
        and type(target) is np.ndarray
        and target.dtype is _INT64
        and target.shape == logits.shape[:1]
        and target.flags.carray
        and (out is None or takes(logits, out, logits.shape))
    )


def _quick(logits: Any, target: Any, options: Options, want: bool, out: Any) -> Any:
    skip, ignored = options.ignore_index is not None, options.ignore_index or 0
    kind, mean = logits.dtype, options.reduction == "mean"
    weight = _NO_WEIGHT[kind.char]
    if not want:
        out = _NOTHING[kind.char]
    elif out is None:
        out = np.empty_like(logits)
    if logits.size <= ALONE_UP_TO:
        args = (logits, target, weight, ignored, skip, mean, out, want, ALONE)
        if kind not in _ENTRIES:
            _ENTRIES[kind] = kernels.entry_of(kernels.whole_loss, args)
        wrong, value = _ENTRIES[kind](*args)
    else:
        wrong, divisor = kernels.weigh(target, logits.shape[1], ignored, skip, weight)
        divisor, value = (divisor or math.nan) if mean else 1.0, math.nan
        if wrong < 0:
            loss = np.empty(len(logits))
            _hard(logits, None, target, weight, ignored, skip, 0.0, divisor, loss, out, want)
            value = kernels.add_up(loss) / divisor
    if wrong >= 0:
        raise _out_of_range(target[wrong], logits.shape[1])
    return kind.type(value), out if want else None


def _along_columns(given: Source, target: Any, options: Options, out: Any) -> bool:
    """Tell whether classes lie along another axis than the last, with one target for each slice.

    Then nothing needs to be brought to rows.
    """
    a, axis = given.array, options.axis
    if type(axis) is not int or not -a.ndim <= axis < a.ndim - 1 or axis == -1 or not a.size:
        return False
    place = axis % a.ndim
    return bool(
        a.flags.c_contiguous
        and not options.label_smoothing
        and getattr(target, "shape", None) == a.shape[:place] + a.shape[place + 1 :]
        and str(target.dtype).rpartition(".")[2].startswith(("int", "uint"))
    )


def _columns(given: Source, target: Any, options: Options, want: bool, out: Any) -> Any:
    """Do class indices along another axis than the last."""
    a, place = given.array, options.axis % given.array.ndim
    n, shape = a.shape[place], a.shape[:place] + a.shape[place + 1 :]
    x = a.reshape(math.prod(a.shape[:place]), n, math.prod(a.shape[place + 1 :]))
    t = np.ascontiguousarray(_plain(given, target, "target"), dtype=_INT64).reshape(-1)
    skip, ignored = options.ignore_index is not None, int(options.ignore_index or 0)
    weight = _weight(given, options.weight, x)
    wrong, total = kernels.weigh(t, n, ignored, skip, weight)
    if wrong >= 0:
        raise _out_of_range(t[wrong], n)
    divisor = (total or math.nan) if options.reduction == "mean" else 1.0
    grad, direct = _room(given, out, a, x.shape, True) if want else (x, False)
    loss = np.empty(len(t))
    width, blocks = tiles(x)
    args = (
        x, t, width, weight, ignored, skip, divisor, loss, grad, want, want and streamed(grad),
    )  # fmt: skip
    run(kernels.column_losses, args, blocks, blocks)
    value = _value(given, loss, shape, options, divisor)
    if not want:
        return value, None
    return value, out if direct else _handed_over(given, grad.reshape(a.shape), out)


def _value(given: Source, loss: Any, shape: Any, options: Options, divisor: float) -> Any:
    """Bring the losses to what was asked for."""
    if options.reduction == "none":
        return result(given, loss.reshape(shape).astype(given.array.dtype))
    value = kernels.add_up(loss) / divisor
    if given.torch is not None:
        return given.torch.tensor(value, dtype=given.dtype)
    return given.dtype.type(value)


def _handed_over(given: Source, grad: Any, out: Any) -> Any:
    """Give the gradient in the library and dtype of logits, or in out."""
    if out is None:
        return result(given, grad)
    if given.torch is not None:
        out.copy_(given.torch.from_numpy(grad))
    else:
        out[...] = grad
    return out


def _out_of_range(target: Any, n: int) -> ValueError:
    return ValueError(f"target must be from 0 to {n - 1}, got {int(target)}")


def _rows(a: Any, axis: int) -> tuple[Any, tuple[int, ...], int]:
    """Bring the classes last and merge the other axes; give their shape too."""
    if a.ndim == 2 and type(axis) is int and (axis == -1 or axis == 1) and a.flags.c_contiguous:
        return a, a.shape[:1], 1
    (axis,) = normalized_axes(np, a, (axis,))
    a = np.moveaxis(a, axis, -1)
    shape, n = a.shape[:-1], a.shape[-1]
    return np.ascontiguousarray(a).reshape(math.prod(shape), n), shape, axis


def _room(
    given: Source, out: Any, x: Any, shape: tuple[int, ...], ordered: bool
) -> tuple[Any, bool]:
    """Give a place of some shape for the gradient by x: the memory of out, if that will do."""
    if out is not None:
        b = target_of(given, out, given.array.shape)
        if ordered and b.dtype == x.dtype and b.flags.c_contiguous:
            b = b.reshape(shape)
            if not np.may_share_memory(b, x):
                return b, True
    return np.empty(shape, x.dtype), False


def _plain(given: Source, value: Any, name: str) -> Any:
    """Bring another argument to NumPy; it must be of the library of logits."""
    if given.torch is not None:
        if not isinstance(value, given.torch.Tensor):
            value = given.torch.as_tensor(as_arrays(value)[1][0])
        if value.device.type != "cpu":
            raise TypeError(f"{name} must be on the CPU, as logits are")
        if value.requires_grad and given.torch.is_grad_enabled():
            raise TypeError(f"fast gives no gradient by {name}; pass {name}.detach()")
        value = value.detach()
        return (value.float() if value.dtype == given.torch.bfloat16 else value).numpy()
    _, (value,) = as_arrays(value)
    if not isinstance(value, np.ndarray | np.generic):
        raise TypeError(f"all arrays must come from one library, got {type(value).__name__}")
    return np.asarray(value)


def _targets(
    given: Source, target: Any, rows: Any, shape: tuple[int, ...], axis: int, ignore: int | None
) -> tuple[Any, Any]:
    """Give rows of probabilities, or None, and class indices."""
    if type(target) is not np.ndarray or given.torch is not None:
        target = _plain(given, target, "target")
    if target.dtype.kind in "iu":
        if target.shape != shape:
            raise ValueError(
                f"target of class indices must have the shape {shape} of logits without the axis "
                f"of classes, got {target.shape}"
            )
        if target.dtype is not _INT64 or target.ndim != 1 or not target.flags.c_contiguous:
            target = np.ascontiguousarray(target, dtype=_INT64).reshape(-1)
        return None, target
    if target.dtype.kind != "f":
        raise ValueError(f"target must hold class indices or probabilities, got {target.dtype}")
    if ignore is not None:
        raise ValueError("ignore_index needs class indices, but target holds probabilities")
    full = given.array.shape
    if target.shape != full:
        raise ValueError(
            "target probabilities must have the shape of logits, and class indices must be "
            f"integers; the shapes are {target.shape} and {full}, the dtype of target is "
            f"{target.dtype}"
        )
    valid = (target >= 0) & (target <= 1)
    if not valid.all():
        raise ValueError(f"target probabilities must be from 0 to 1, got {target[~valid][0]}")
    y = np.ascontiguousarray(np.moveaxis(target, axis, -1), dtype=rows.dtype)
    return y.reshape(rows.shape), _NO_CLASS


def _weight(given: Source, weight: Any, x: Any) -> Any:
    """Check the weights of the classes, which lie along axis 1 of x; none are no numbers."""
    if weight is None:
        return _NO_WEIGHT[x.dtype.char]
    n = x.shape[1]
    weight = _plain(given, weight, "weight")
    if weight.shape != (n,):
        raise ValueError(
            f"weight must hold one number for each of the {n} classes, got shape {weight.shape}"
        )
    valid = (weight >= 0) & (weight < np.inf)
    if not valid.all():
        raise ValueError(f"weight must hold finite numbers from 0 on, got {weight[~valid][0]}")
    return np.ascontiguousarray(weight, dtype=x.dtype)


def _hard(
    rows: Any, y: Any, target: Any, weight: Any, ignored: int, skip: bool, smoothing: float,
    divisor: float, loss: Any, grad: Any, want: bool,
) -> None:  # fmt: skip
    """Do class indices without smoothing."""
    count, n = rows.shape
    if n > LONG:
        _long(rows, target, weight, ignored, skip, divisor, loss, grad, want)
        return
    args = (rows, target, weight, ignored, skip, divisor, loss, grad, want, streamed(grad))
    run(kernels.losses, args, count, -(-count // max(1, BLOCK // n)))


def _long(
    rows: Any, target: Any, weight: Any, ignored: int, skip: bool, divisor: float, loss: Any,
    grad: Any, want: bool,
) -> None:  # fmt: skip
    """Do the same for rows so long that threads share each of them."""
    count, n = rows.shape
    totals = summed(rows)
    totals[~np.isfinite(totals[:, 0])] = np.nan
    kept = target != ignored if skip else np.ones(count, dtype=bool)
    t = np.where(kept, target, 0)
    factor = weight[t].astype(FLOAT64) if len(weight) else np.ones(count)
    one = totals[:, 0] - rows[np.arange(count), t] + np.log1p(totals[:, 2])
    loss[:] = np.where(kept & ((factor > 0) | np.isnan(one)), factor * one, 0.0)
    if not want:
        return
    factor /= divisor
    blocks = count * -(-n // CHUNK)
    args = (rows, totals, grad, SOFTMAX, streamed(grad), factor)
    run(kernels.spread, args, blocks, blocks)
    grad[np.arange(count), t] = np.expm1(-one) * factor
    grad[~kept] = 0


def _soft(
    rows: Any, y: Any, target: Any, weight: Any, ignored: int, skip: bool, smoothing: float,
    divisor: float, loss: Any, grad: Any, want: bool,
) -> None:  # fmt: skip
    """Do probabilities, or class indices with smoothing: every class is part of the target."""
    count, n = rows.shape
    has_y = y is not None
    y = y if has_y else _NOTHING[rows.dtype.char]
    args = (
        rows, y, has_y, target, ignored, skip, weight, 1.0 - smoothing, smoothing / n, divisor,
        loss, grad, want,
    )  # fmt: skip
    run(kernels.soft_losses, args, count, -(-count // max(1, BLOCK // n)))
