"""What every module needs from an array library, in the array API standard alone.

Nothing here knows about softmax: conversion of arguments, the working precision,
the reduced axes brought last, and sums and differences that keep their rounding errors.
"""

from __future__ import annotations

import contextlib
import math
import numbers
import operator
from collections.abc import Callable, Collection
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
from array_api_compat import (
    array_namespace,
    device,
    is_array_api_obj,
    is_dask_array,
    is_jax_array,
    is_torch_array,
)

Array: TypeAlias = Any  # an array of any library that follows the array API standard
Axis: TypeAlias = int | tuple[int, ...] | None


def as_arrays(*values: object) -> tuple[ModuleType, list[Array]]:
    """Bring values to one array library and name its namespace.

    Lists and Python numbers join the arrays beside them, or become NumPy arrays.

    Raises
    ------
    TypeError
        If arrays of two libraries meet, or a value is no array of real numbers.
    """
    given = [value for value in values if _is_array(value)]
    for value in given:
        if isinstance(value, np.ma.MaskedArray):
            raise TypeError(
                "a masked array would lose its mask; pass x.data and, where the function "
                "has that argument, where=~numpy.ma.getmaskarray(x)"
            )
        if is_torch_array(value) and (str(value.layout) != "torch.strided" or value.is_nested):
            kind = "nested" if value.is_nested else str(value.layout)
            raise TypeError(
                f"a dense tensor is needed, got a Tensor that is {kind}; pass x.to_dense(), or "
                "x.to_padded_tensor(-math.inf) of a nested one"
            )
    try:
        xp = array_namespace(*given) if given else array_namespace(np.empty(0))
    except TypeError as error:
        kinds = sorted({f"{type(v).__module__}.{type(v).__name__}" for v in given})
        raise TypeError(
            f"all arrays must come from one library that follows the array API, got "
            f"{', '.join(kinds)}; convert them to one library first"
        ) from error
    _check_places(given)
    where = device(given[0]) if given else None
    arrays: list[Array] = [
        _native(v) if _is_array(v) else _from_python(xp, v, where) for v in values
    ]
    for array in arrays:
        if not xp.isdtype(array.dtype, ("bool", "integral", "real floating")):
            raise TypeError(
                f"an array of real numbers is needed, got dtype {array.dtype}; "
                "convert it to a real dtype, such as float64"
            )
    return xp, arrays


def _is_array(value: object) -> bool:
    return is_array_api_obj(value) and not isinstance(value, type)  # numpy.float64 itself is none


def _check_places(given: list[Array]) -> None:
    """Refuse arrays of two devices; JAX puts parts of one array on many, and moves them itself."""
    if len(given) > 1 and not is_jax_array(given[0]):
        places = {str(device(array)) for array in given if array.ndim > 0}
        if len(places) > 1:
            raise ValueError(f"all arrays must be on one device, got {', '.join(sorted(places))}")


def _native(array: Array) -> Array:
    """Bring a NumPy array to this machine's byte order, as NumPy's own functions do."""
    if isinstance(array, np.ndarray | np.generic) and not array.dtype.isnative:
        return array.astype(array.dtype.newbyteorder("="))
    return array


def _from_python(xp: ModuleType, value: object, where: object) -> Array:
    if isinstance(value, np.matrix):
        raise TypeError("numpy.matrix is not supported; pass numpy.asarray(x)")
    if not isinstance(value, list | tuple | int | float | np.generic):
        raise TypeError(
            f"an array, a list or a number is needed, got {type(value).__name__}; "
            "pass an array of NumPy, PyTorch, JAX, Dask or another array API library"
        )
    try:
        array = np.asarray(value)
    except ValueError as error:  # rows of different lengths
        raise TypeError(f"{value!r} is no array: {error}") from error
    if array.dtype.kind not in "biuf":
        raise TypeError(f"real numbers are needed, got {value!r}")
    return array if where is None else xp.asarray(array, device=where)


def floating(xp: ModuleType, x: Array) -> Array:
    """Promote integers and booleans to the library's default real dtype."""
    if xp.isdtype(x.dtype, "real floating"):
        return x
    return xp.astype(x, xp.empty(0).dtype)


def working(xp: ModuleType, x: Array) -> Array:
    """Bring x to the precision the arithmetic is done in: float32 for 16-bit dtypes."""
    return xp.astype(x, xp.float32) if xp.finfo(x.dtype).bits < 32 else x


def widened(x: object) -> tuple[ModuleType, Array, Any]:
    """Check x, bring it to the precision the arithmetic is done in, and name its own dtype."""
    xp, (array,) = as_arrays(x)
    array = floating(xp, array)
    return xp, working(xp, array), array.dtype


def rounded(xp: ModuleType, x: Array, dtype: Any) -> Array:
    """Round a working-precision result to dtype, past the largest number to infinity."""
    if x.dtype == dtype:
        return x
    finfo = xp.finfo(dtype)
    eps = float(finfo.eps)
    # Half a unit in the last place above the largest number: what rounds to infinity.
    # Said here because a cast that overflows warns in NumPy.
    limit = float(finfo.max) * (1 + eps / (4 - 2 * eps))
    x = xp.where(x >= limit, xp.inf, xp.where(x <= -limit, -xp.inf, x))
    return xp.astype(x, dtype)


def cast(xp: ModuleType, x: Array, dtype: Any) -> Array:
    """Bring an argument to the dtype that the arithmetic is done in; too large is infinity."""
    real = xp.isdtype(x.dtype, "real floating")
    narrower = real and float(xp.finfo(dtype).max) < float(xp.finfo(x.dtype).max)
    return rounded(xp, x, dtype) if narrower else xp.astype(x, dtype)


def mask_of(xp: ModuleType, where: object, x: Array) -> Array:
    """Check the argument ``where`` and give it the shape of x."""
    _, (_, mask) = as_arrays(x, where)
    if not xp.isdtype(mask.dtype, "bool"):
        raise TypeError(f"where must be boolean, got dtype {mask.dtype}; pass where != 0")
    return like(xp, mask, x, name="where")


def like(xp: ModuleType, value: Array, x: Array, *, name: str, to: str = "x") -> Array:
    """Broadcast value to the shape of x, or say why that cannot be."""
    if value.shape == x.shape:
        return value
    try:
        fits = np.broadcast_shapes(value.shape, x.shape) == tuple(x.shape)
    except (ValueError, TypeError, RuntimeError):  # unknown lengths (Dask), more than 32 axes
        fits = False
    if not fits:
        raise ValueError(
            f"{name} of shape {tuple(value.shape)} does not broadcast to the shape "
            f"{tuple(x.shape)} of {to}"
        )
    return xp.broadcast_to(value, x.shape)


def broadcast(xp: ModuleType, x: Array, y: Array, *, names: str) -> tuple[Array, Array]:
    """Broadcast two arrays against each other, or say why that cannot be."""
    try:
        np.broadcast_shapes(x.shape, y.shape)
    except (ValueError, TypeError, RuntimeError) as error:  # as in `like`
        raise ValueError(
            f"{names} do not broadcast against each other: they have the shapes "
            f"{tuple(x.shape)} and {tuple(y.shape)}"
        ) from error
    x, y = xp.broadcast_arrays(x, y)
    return x, y


def holds(condition: Array) -> bool:
    """Tell whether a condition on values is known to hold.

    Values that are not computed yet (Dask, or inside ``jax.jit``) or do not exist (PyTorch's
    device ``meta``) are not known: False.
    """
    if is_dask_array(condition):
        return False
    try:
        return bool(condition)
    except (TypeError, RuntimeError):  # a JAX tracer has no value, a meta tensor neither
        return False


def real_numbers(values: object, name: str) -> np.ndarray[Any, Any]:
    """Bring what NumPy reads as real numbers to float64: no text, no objects, no mask."""
    try:
        found = np.asarray(values)
        real = found.dtype.kind in "biuf"
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name} must hold real numbers: {error}") from error
    if not real or isinstance(values, np.ma.MaskedArray | np.matrix):
        raise TypeError(f"{name} must hold real numbers, got {type(values).__name__}")
    return found.astype(np.float64)


def number(value: object, name: str, advice: str = "") -> float:
    """Check an argument that is one real number, and no array."""
    if not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be one number, got {type(value).__name__}{advice}")
    try:
        return float(value)
    except OverflowError as error:  # an integer past the largest number
        raise ValueError(f"{name} must be a number that a float can hold: {error}") from error


def whole(value: object, name: str) -> int:
    """Check an argument that is one whole number."""
    try:
        if isinstance(value, np.bool):  # which older versions of NumPy take, and warn
            raise TypeError(value)
        return operator.index(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError) as error:  # the last of PyTorch's device meta
        raise TypeError(f"{name} must be an integer, got {type(value).__name__}") from error


def flag(value: object, name: str) -> bool:
    """Check an argument that is yes or no."""
    try:
        if isinstance(value, np.ndarray) and not value.size:  # false in older versions, which warn
            raise ValueError(value)
        return bool(value)
    except (TypeError, ValueError, RuntimeError) as error:  # an array has no single truth
        raise TypeError(f"{name} must be True or False, got {type(value).__name__}") from error


def one_of(value: object, words: Collection[str], name: str) -> str:
    """Check an argument that is one of a few words."""
    if not isinstance(value, str) or value not in words:
        raise ValueError(f"{name} must be one of {tuple(words)}, got {value!r}")
    return value


def scale_of(alpha: object) -> float:
    """Check a scale: any number from -inf to inf, both included, but no NaN and no array."""
    scale = number(
        alpha,
        "alpha",
        "; for a scale that is learned, or one for each row, multiply x by it and leave alpha at 1",
    )
    if math.isnan(scale):
        raise ValueError("alpha must be a number from -inf to inf, both included, got nan")
    return scale


def normalized_axes(xp: ModuleType, x: Array, axis: Axis) -> tuple[int, ...]:
    """Write axis as a tuple of distinct non-negative integers.

    A wrong axis is handed to the library, which raises the error its users know.
    """
    axes = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    given = [whole(a, "axis") for a in axes]
    positive = tuple(a + x.ndim if a < 0 else a for a in given)
    if len(set(positive)) < len(positive) or not all(0 <= a < x.ndim for a in positive):
        with contextlib.suppress(RuntimeError):  # PyTorch's for a repeated axis is no axis error
            if all(abs(a) < 2**31 for a in given):
                xp.sum(x, axis=axis)
        shown = given[0] if len(given) == 1 else tuple(given)
        raise ValueError(f"axis {shown} is out of range or repeated for {x.ndim} dimensions")
    return positive


def known(x: Array) -> Array:
    """Refuse a Dask array whose shape is not known, as after a selection."""
    if is_dask_array(x) and any(math.isnan(size) for size in x.shape):
        raise ValueError(
            f"the shape of x must be known, got {tuple(x.shape)}; call x.compute_chunk_sizes()"
        )
    return x


def axes_last(xp: ModuleType, x: Array, axis: Axis) -> tuple[Array, Callable[[Array], Array]]:
    """Merge the axes into one, the last, and return the way back for results of that shape."""
    axes = normalized_axes(xp, known(x), axis)
    kept = tuple(i for i in range(x.ndim) if i not in axes)
    order = kept + axes
    shape = tuple(x.shape[i] for i in order)
    merged = (*shape[: len(kept)], math.prod(shape[len(kept) :]))
    inverse = tuple(order.index(i) for i in range(x.ndim))

    def back(y: Array) -> Array:
        return xp.permute_dims(xp.reshape(y, shape), inverse)

    return xp.reshape(xp.permute_dims(x, order), merged), back


def prepared(
    x: Array, axis: Axis, where: Array | None
) -> tuple[ModuleType, Array, Array | None, Any, Callable[[Array], Array]]:
    """Check the arguments; bring the axes last and excluded entries to -inf."""
    xp, x, dtype = widened(x)
    mask = None if where is None else mask_of(xp, where, x)
    x, back = axes_last(xp, x, axis)
    if mask is not None:
        mask, _ = axes_last(xp, mask, axis)
        x = xp.where(mask, x, -xp.inf)
    return xp, x, mask, dtype, back


def undefined(xp: ModuleType, maximum: Array, mask: Array | None) -> Array:
    """Give NaN where the maximum is no number, 0 where it is or where nothing is included."""
    undefined = ~xp.isfinite(maximum)
    if mask is not None:
        undefined = undefined & xp.any(mask, axis=-1, keepdims=True)
    return xp.where(undefined, xp.nan, xp.zeros_like(maximum))


def two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """Add without loss: a + b is exactly the rounded sum plus its error (Knuth)."""
    s = a + b
    b_part = s - a
    return s, (a - (s - b_part)) + (b - b_part)


def accurate_sum(xp: ModuleType, x: Array) -> Array:
    """Sum over the last axis, kept as length 1, with an error that does not grow with n.

    Pairs are added in a tree and the rounding error of every addition is kept; the errors
    are added to the result in the end. The cost is that of about ten plain sums.
    """
    if x.shape[-1] == 0:
        return xp.zeros((*x.shape[:-1], 1), dtype=x.dtype, device=device(x))
    error: Array = 0.0
    while (n := x.shape[-1]) > 1:
        half = n // 2
        total, lost = two_sum(x[..., :half], x[..., half : 2 * half])
        error = error + xp.sum(lost, axis=-1, keepdims=True)
        x = xp.concat([total, x[..., 2 * half :]], axis=-1) if n % 2 else total
    return x + error
