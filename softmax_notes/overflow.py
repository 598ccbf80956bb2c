r"""Where softmax fails in floating point, how far errors can go, and what each remedy buys.

The naive forms are here to fail, and nowhere else in the package: use `softmax_notes.softmax`,
`log_softmax`, `logsumexp` and `cross_entropy_grad`. The bounds are those of the chapter, for the
standard model of rounding: every operation is exact up to a factor :math:`1 + \delta` with
:math:`|\delta| \le u`, the unit roundoff.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from array_api_compat import device

from softmax_notes import _arrays
from softmax_notes._arrays import (
    Array,
    as_arrays,
    flag,
    floating,
    known,
    like,
    normalized_axes,
    number,
)
from softmax_notes.definition import log_softmax, logsumexp, softmax

__all__ = [
    "Thresholds",
    "by_parts",
    "chained_gradient",
    "contract",
    "logsumexp_bound",
    "naive_log_softmax",
    "naive_logsumexp",
    "naive_softmax",
    "running_sum",
    "shifted_softmax",
    "softmax_bound",
    "thresholds",
]


class Thresholds(NamedTuple):
    r"""Where :math:`e^x` leaves a dtype, and where a sum of ones stops growing.

    Attributes
    ----------
    overflow : float
        Above this :math:`e^x` is past the largest number.
    subnormal : float
        Below this :math:`e^x` is no normal number any more and loses digits.
    zero : float
        Below this :math:`e^x` rounds to 0.
    unit : float
        The unit roundoff u, half the distance from 1 to the next number.
    stall : int
        1 / u: adding 1 to this changes nothing.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes.overflow import thresholds
    >>> thresholds(np.finfo("float16")).stall
    2048
    """

    overflow: float
    subnormal: float
    zero: float
    unit: float
    stall: int


def thresholds(finfo: Any, /) -> Thresholds:
    """Compute the thresholds of a dtype from its ``finfo``.

    Parameters
    ----------
    finfo : finfo
        Of any library: ``numpy.finfo("float32")``, ``torch.finfo(torch.bfloat16)``.

    Returns
    -------
    Thresholds
        Where exponentials and sums fail.

    Notes
    -----
    See the chapter ``overflow``, claims ``prop-overflow-shift`` and ``prop-overflow-stall``.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes.overflow import thresholds
    >>> for dtype in ("float16", "float32", "float64"):
    ...     t = thresholds(np.finfo(dtype))
    ...     print(f"{dtype}: {t.overflow:.2f} {t.subnormal:.2f} {t.zero:.2f}")
    float16: 11.09 -9.70 -17.33
    float32: 88.72 -87.34 -103.97
    float64: 709.78 -708.40 -745.13
    """
    if not all(hasattr(finfo, name) for name in ("eps", "max", "smallest_normal")):
        raise TypeError(f"finfo must be what finfo(dtype) gives, got {type(finfo).__name__}")
    unit = float(finfo.eps) / 2
    subnormal = math.log(float(finfo.smallest_normal))
    # The smallest number is smallest_normal · eps; half of it and less rounds to 0.
    zero = subnormal + math.log(unit)
    return Thresholds(math.log(float(finfo.max)), subnormal, zero, unit, round(1 / unit))


def naive_softmax(x: Array, /, *, axis: int = -1) -> Array:
    r"""Divide as the definition says: wrong as soon as an exponential overflows.

    Parameters
    ----------
    x : array of real numbers
        Scores; integers are promoted, nothing else is done for them.
    axis : int, default -1
        The axis along which the result should sum to 1.

    Returns
    -------
    array
        :math:`e^{x_i} / \sum_k e^{x_k}`, computed in the dtype of x.

    Raises
    ------
    TypeError
        If x is complex, masked, a matrix or no array.

    Notes
    -----
    Nothing is scaled: what is too large overflows as in the library, NumPy with its warning.
    See the chapter ``overflow``, claims ``prop-overflow-shift`` and ``thm-overflow-softmax``.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes.overflow import naive_softmax
    >>> with np.errstate(all="ignore"):
    ...     print(naive_softmax(np.float32([100, 99])), naive_softmax([100.0, 99.0]).round(4))
    [nan nan] [0.7311 0.2689]
    """
    return shifted_softmax(x, 0.0, axis=axis)


def naive_log_softmax(x: Array, /, *, axis: int = -1) -> Array:
    r"""Take the logarithm of `naive_softmax`: −inf or 0 where the probability rounds to 0 or 1.

    Parameters
    ----------
    x, axis
        As in `naive_softmax`.

    Returns
    -------
    array
        :math:`\log(e^{x_i} / \sum_k e^{x_k})`, computed in the dtype of x.

    Raises
    ------
    TypeError
        As in `naive_softmax`.

    Notes
    -----
    Nothing is scaled: what is too large overflows as in the library, NumPy with its warning.
    See the chapter ``overflow``, claim ``prop-overflow-log1p``.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes.overflow import naive_log_softmax
    >>> with np.errstate(all="ignore"):
    ...     naive_log_softmax([0.0, -800.0])
    array([  0., -inf])
    """
    xp, (x,) = as_arrays(x)
    return xp.log(naive_softmax(x, axis=axis))


def naive_logsumexp(x: Array, /, *, axis: int = -1) -> Array:
    r"""Compute :math:`\log \sum_k e^{x_k}` as written.

    Parameters
    ----------
    x, axis
        As in `naive_softmax`.

    Returns
    -------
    array
        Of the shape of x without the axis.

    Raises
    ------
    TypeError
        As in `naive_softmax`.

    Notes
    -----
    Nothing is scaled: what is too large overflows as in the library, NumPy with its warning.
    See the chapter ``overflow``, claim ``thm-overflow-logsumexp``.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes.overflow import naive_logsumexp
    >>> with np.errstate(all="ignore"):
    ...     print(naive_logsumexp([1000.0, 0.0]), naive_logsumexp([-1000.0, -1000.0]))
    inf -inf
    """
    xp, (x,) = as_arrays(x)
    (axis,) = normalized_axes(xp, x, (axis,))
    return xp.log(xp.sum(xp.exp(floating(xp, x)), axis=axis))


def shifted_softmax(x: Array, c: float | Array, /, *, axis: int = -1) -> Array:
    r"""Divide after a shift by any c: :math:`e^{x_i - c} / \sum_k e^{x_k - c}`.

    Parameters
    ----------
    x, axis
        As in `naive_softmax`.
    c : float or array
        The shift. The maximum is the good one; 0 gives `naive_softmax`.

    Returns
    -------
    array
        Of the shape and dtype of x.

    Raises
    ------
    TypeError
        As in `naive_softmax`.

    Notes
    -----
    Nothing is scaled: what is too large overflows as in the library, NumPy with its warning.
    See the chapter ``overflow``, claim ``prop-overflow-shift``.

    Examples
    --------
    >>> from softmax_notes.overflow import shifted_softmax
    >>> shifted_softmax([1000.0, 999.0], 1000.0).round(4)
    array([0.7311, 0.2689])
    """
    xp, (x,) = as_arrays(x)
    (axis,) = normalized_axes(xp, x, (axis,))
    if not isinstance(c, int | float):
        _, (_, c) = as_arrays(x, c)
        c = like(xp, c, x, name="c")
    weights = xp.exp(floating(xp, x) - c)
    return weights / xp.sum(weights, axis=axis, keepdims=True)


def chained_gradient(p: Array, y: Array, /) -> Array:
    r"""Differentiate :math:`-\sum_k y_k \log p_k` link by link: the Jacobian times −y/p.

    Parameters
    ----------
    p : array of real numbers, shape (..., n)
        Probabilities.
    y : array of real numbers, shape (..., n)
        Targets.

    Returns
    -------
    array
        In exact arithmetic :math:`(\sum_k y_k) p - y`; in floating point NaN as soon as a
        probability is 0.

    Raises
    ------
    TypeError
        As in `naive_softmax`, or if arrays of two libraries meet.

    Notes
    -----
    Nothing is scaled: what is too large overflows as in the library, NumPy with its warning.
    See the chapter ``overflow``, claim ``prop-overflow-chain``.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes.overflow import chained_gradient
    >>> chained_gradient([0.75, 0.25], [0.0, 1.0])
    array([ 0.75, -0.75])
    >>> with np.errstate(all="ignore"):
    ...     chained_gradient([1.0, 0.0], [0.0, 1.0])
    array([nan, nan])
    """
    xp, (p, y) = as_arrays(p, y)
    p, y = _rows(floating(xp, p), "p"), floating(xp, y)
    y = like(xp, y, p, name="y", to="p")
    jacobian = p[..., :, None] * (
        xp.eye(p.shape[-1], dtype=p.dtype, device=device(p)) - p[..., None, :]
    )
    return xp.sum(jacobian * (-y / p)[..., :, None], axis=-2)


def running_sum(x: Array, /) -> Array:
    """Add the entries of the last axis one after the other, rounding each time.

    Parameters
    ----------
    x : array of real numbers, shape (..., n)
        What to add. Libraries do better than this: they add in blocks, or in a wider dtype.

    Returns
    -------
    array, shape (...)
        The sum in the dtype of x.

    Raises
    ------
    TypeError
        As in `naive_softmax`.

    Notes
    -----
    Nothing is scaled: what is too large overflows as in the library, NumPy with its warning.
    See the chapter ``overflow``, claims ``prop-overflow-stall`` and ``prop-overflow-sum``.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes.overflow import running_sum
    >>> float(running_sum(np.ones(5000, dtype="float16")))
    2048.0
    """
    xp, (x,) = as_arrays(x)
    x = known(_rows(floating(xp, x), "x"))
    total = xp.zeros(x.shape[:-1], dtype=x.dtype, device=device(x))
    for k in range(x.shape[-1]):
        total = total + x[..., k]
    return total


def softmax_bound(
    x: Array, /, *, unit: float, function_error: float = 2.0, shifted: bool = True
) -> Array:
    r"""Bound the relative error of a plain softmax, entry by entry.

    Parameters
    ----------
    x : array of real numbers, shape (..., n)
        Scores.
    unit : float
        The unit roundoff u of the arithmetic.
    function_error : float, default 2.0
        Largest relative error of the exponential, in units of u; 2 is 1 ULP.
    shifted : bool, default True
        Whether the maximum is subtracted first.

    Returns
    -------
    array, shape (..., n)
        Of :math:`|\log(\hat p_i / p_i)|`, hence of the relative error but for terms in u².

    Raises
    ------
    TypeError
        As in `naive_softmax`.

    Notes
    -----
    Nothing is scaled: what is too large overflows as in the library, NumPy with its warning.
    For any order of summation, and where nothing overflows or underflows. See the chapter
    ``overflow``, claims ``thm-overflow-softmax`` and ``lem-overflow-gap``.

    Examples
    --------
    >>> from softmax_notes.overflow import softmax_bound
    >>> (softmax_bound([0.0, -10.0], unit=2.0**-24) * 2**24).round(2)
    array([ 6.69, 16.69])
    """
    xp, (x,) = as_arrays(x)
    x, shifted = _some(floating(xp, x)), flag(shifted, "shifted")
    unit, c = _roundoff(unit, function_error)
    v, w = unit / (1 - unit), c / (1 - c)
    bound = x.shape[-1] * v + 2 * w + xp.zeros_like(x)
    if shifted:
        bound = bound + v * (xp.max(x, axis=-1, keepdims=True) - x + math.log(x.shape[-1]))
    return bound


def logsumexp_bound(
    x: Array, /, *, unit: float, function_error: float = 2.0, shifted: bool = True
) -> Array:
    r"""Bound the absolute error of a plain logsumexp.

    Parameters
    ----------
    x, unit, function_error, shifted
        As in `softmax_bound`; the logarithm is as good as the exponential.

    Returns
    -------
    array, shape (...)
        Of :math:`|\hat y - y|` with :math:`y = \log \sum_k e^{x_k}`.

    Raises
    ------
    TypeError
        As in `naive_softmax`.

    Notes
    -----
    Nothing is scaled: what is too large overflows as in the library, NumPy with its warning.
    For any order of summation, and where nothing overflows or underflows. See the chapter
    ``overflow``, claims ``thm-overflow-logsumexp`` and ``lem-overflow-gap``.

    Examples
    --------
    >>> from softmax_notes.overflow import logsumexp_bound
    >>> round(float(logsumexp_bound([0.0, -10.0], unit=2.0**-24)) * 2**24, 2)
    3.69
    """
    xp, (x,) = as_arrays(x)
    x, shifted = _some(floating(xp, x)), flag(shifted, "shifted")
    unit, c = _roundoff(unit, function_error)
    n = x.shape[-1]
    v, w = unit / (1 - unit), c / (1 - c)
    y: Array = xp.abs(logsumexp(x, axis=-1))
    if not shifted:
        return c * y + (1 + c) * ((n - 1) * v + w)
    log_sum: Array = logsumexp(x - xp.max(x, axis=-1, keepdims=True), axis=-1)
    of_sum = (n - 1) * v + w + v * math.log(n)
    return unit * y + (1 + unit) * (c * log_sum + (1 + c) * of_sum)


def by_parts(
    x: Array,
    /,
    *,
    axis: int = -1,
    two_sum: bool = True,
    log1p: bool = True,
    accurate_sum: bool = True,
) -> tuple[Array, Array]:
    r"""Compute softmax and log_softmax, shifted, with each further remedy on or off.

    Parameters
    ----------
    x : array of real numbers
        Finite scores.
    axis : int, default -1
        The axis along which the probabilities sum to 1.
    two_sum : bool, default True
        Carry the rounding error of :math:`x - m` along.
    log1p : bool, default True
        Keep the 1 of the maximum out of the sum r, and take ``log1p`` of r.
    accurate_sum : bool, default True
        Keep the rounding errors of the sum.

    Returns
    -------
    tuple of two arrays
        Softmax and log_softmax. With everything on they are those of the package, with
        everything off those of most libraries.

    Raises
    ------
    TypeError
        As in `naive_softmax`.

    Notes
    -----
    Nothing is scaled: what is too large overflows as in the library, NumPy with its warning.
    See the chapter ``overflow``, claims ``prop-overflow-log1p`` and ``prop-overflow-sum``.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes.overflow import by_parts
    >>> x = np.array([18.0, 0.0], dtype=np.float32)
    >>> for on in (False, True):
    ...     print(f"{by_parts(x, log1p=on)[1][0]:.4g}")
    0
    -1.523e-08
    """
    xp, (x,) = as_arrays(x)
    x = floating(xp, x)
    (axis,) = normalized_axes(xp, x, (axis,))
    if x.shape[axis] == 0:
        raise ValueError(f"x needs an entry along the axis {axis}, got shape {tuple(x.shape)}")
    two_sum, log1p = flag(two_sum, "two_sum"), flag(log1p, "log1p")
    accurate_sum = flag(accurate_sum, "accurate_sum")
    along = tuple(-1 if a == axis % x.ndim else 1 for a in range(x.ndim))
    places = xp.reshape(xp.arange(x.shape[axis], device=device(x)), along)
    pivot = places == xp.argmax(x, axis=axis, keepdims=True)
    difference, lost = _arrays.two_sum(x, -xp.max(x, axis=axis, keepdims=True))
    terms = xp.exp(difference)
    if two_sum:
        terms = terms * (1 + lost)
    summed = xp.where(pivot, 0.0, terms) if log1p else terms
    if accurate_sum:
        total = _arrays.accurate_sum(xp, xp.moveaxis(summed, axis, -1))
        total = xp.moveaxis(total, -1, axis)
    else:
        total = xp.sum(summed, axis=axis, keepdims=True)
    p = terms / (1 + total if log1p else total)
    return p, difference - (xp.log1p(total) if log1p else xp.log(total))


def _rows(x: Array, name: str) -> Array:
    if x.ndim == 0:
        raise ValueError(f"{name} needs at least one axis, got a single number")
    return x


def _some(x: Array) -> Array:
    if _rows(x, "x").shape[-1] == 0:
        raise ValueError(f"x needs an entry along its last axis, got shape {tuple(x.shape)}")
    return x


def _roundoff(unit: float, function_error: float) -> tuple[float, float]:
    """Give the unit roundoff, and the relative error of a function."""
    unit, error = number(unit, "unit"), number(function_error, "function_error")
    if not 0 <= unit < 1 or not 0 <= error * unit < 1:
        raise ValueError(
            "unit, and function_error times unit, must be from 0 to less than 1, got "
            f"unit={unit} and function_error={error}"
        )
    return unit, error * unit


def contract() -> list[tuple[str, str, str, str]]:
    """Compute what softmax, log_softmax and logsumexp give at the edges.

    Returns
    -------
    list of tuple of four str
        The input, and the three results for it.

    Notes
    -----
    See the chapter ``overflow``.

    Examples
    --------
    >>> from softmax_notes.overflow import contract
    >>> for row in contract()[:2]:
    ...     print(*row, sep=" | ")
    0, nan | nan, nan | nan, nan | nan
    0, inf | nan, nan | nan, nan | inf
    """
    nan, inf = math.nan, math.inf
    cases: list[tuple[list[float], list[bool] | None]] = [
        ([0.0, nan], None),
        ([0.0, inf], None),
        ([-inf, -inf], None),
        ([0.0, -inf], None),
        ([0.0, nan], [True, False]),
        ([0.0, nan], [False, False]),
        ([], None),
    ]
    rows = []
    for x, where in cases:
        results = [f(x, axis=-1, where=where) for f in (softmax, log_softmax, logsumexp)]
        name = _listed(x) or "(empty)"
        if where is not None:
            name += "  where " + ", ".join(str(w).lower() for w in where)
        texts = [_listed(result) or "(empty)" for result in results]
        rows.append((name, texts[0], texts[1], texts[2]))
    return rows


def _listed(values: Any) -> str:
    flat = values if isinstance(values, list) else values.reshape(-1).tolist()
    return ", ".join(f"{value:g}" for value in flat)
