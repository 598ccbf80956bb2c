r"""What else turns scores into probabilities, which laws it keeps, and losses that go with it.

*Ratio rules* give each class its share :math:`u(x_i) / \sum_k u(x_k)`; with :math:`u = e^x` that
is softmax. *Projections* maximize :math:`p \cdot x - \Omega(p)` over all distributions p, for a
convex fee Ω; with negative entropy that is softmax too. Sparsemax and entmax-1.5 are projections
with other fees, computed exactly by sorting: the scores above a threshold τ share everything.

A rule that is a projection has a loss whose gradient is the prediction minus the target.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from types import ModuleType
from typing import NamedTuple, TypeAlias

import numpy as np
from array_api_compat import device

from softmax_notes._arrays import (
    Array,
    Axis,
    as_arrays,
    axes_last,
    cast,
    holds,
    like,
    mask_of,
    one_of,
    prepared,
    rounded,
    undefined,
    widened,
)
from softmax_notes.definition import softmax
from softmax_notes.smooth_max import negative_entropy

__all__ = [
    "LAWS",
    "RULES",
    "Counterexample",
    "counterexample",
    "entmax15",
    "fenchel_young_loss",
    "softplus_shares",
    "sparsemax",
    "spherical_softmax",
    "squareplus_shares",
    "taylor_softmax",
]

_Rule: TypeAlias = Callable[[Array], Array]


def spherical_softmax(x: Array, /, *, axis: Axis = -1, where: Array | None = None) -> Array:
    r"""Share by squares: :math:`x_i^2 / \sum_k x_k^2`.

    Parameters
    ----------
    x : array of real numbers
        Scores, of any shape; dtypes as in `softmax`.
    axis : int, tuple of int or None, default -1
        The axes along which the result sums to 1.
    where : boolean array, optional
        Entries to include, as in `softmax`.

    Returns
    -------
    array
        Of the shape, dtype and device of x. A slice of zeros is NaN, as is one that holds NaN
        or an infinity; one with every entry excluded is 0.

    Raises
    ------
    TypeError
        As in `softmax`.

    Notes
    -----
    See the chapter ``alternatives``, claims ``prop-ratio-softmax`` and ``prop-scale-invariant``.

    Examples
    --------
    >>> from softmax_notes.alternatives import spherical_softmax
    >>> spherical_softmax([2.0, -1.0, 0.0]).round(4)
    array([0.8, 0.2, 0. ])
    """
    return _ratio(x, axis, where, _log_square)


def taylor_softmax(x: Array, /, *, axis: Axis = -1, where: Array | None = None) -> Array:
    r"""Share by :math:`1 + x + x^2/2`, the beginning of the series of :math:`e^x`.

    Parameters
    ----------
    x, axis, where
        As in `spherical_softmax`.

    Returns
    -------
    array
        Positive shares, of the shape, dtype and device of x. A slice that holds NaN or an
        infinity is NaN; one with every entry excluded is 0.

    Raises
    ------
    TypeError
        As in `softmax`.

    Notes
    -----
    See the chapter ``alternatives``, claims ``prop-ratio-softmax`` and ``prop-ratio-laws``.

    Examples
    --------
    Below -1 a lower score gets more:

    >>> from softmax_notes.alternatives import taylor_softmax
    >>> taylor_softmax([-1.0, -2.0]).round(4)
    array([0.3333, 0.6667])
    """
    return _ratio(x, axis, where, lambda xp, x: 2 * xp.log(xp.hypot(1 + x, xp.ones_like(x))))


def softplus_shares(x: Array, /, *, axis: Axis = -1, where: Array | None = None) -> Array:
    r"""Share by softplus, :math:`\log(1 + e^x)`.

    Parameters
    ----------
    x, axis, where
        As in `spherical_softmax`.

    Returns
    -------
    array
        Positive shares, of the shape, dtype and device of x; at the edges as `softmax`.

    Raises
    ------
    TypeError
        As in `softmax`.

    Notes
    -----
    See the chapter ``alternatives``, claims ``prop-ratio-softmax`` and ``prop-ratio-laws``.

    Examples
    --------
    >>> from softmax_notes.alternatives import softplus_shares
    >>> softplus_shares([2.0, 1.0, 0.0]).round(4)
    array([0.5146, 0.3177, 0.1677])
    """
    return _ratio(x, axis, where, _log_softplus)


def squareplus_shares(x: Array, /, *, axis: Axis = -1, where: Array | None = None) -> Array:
    r"""Share by squareplus, :math:`(x + \sqrt{x^2 + 4}) / 2`.

    Parameters
    ----------
    x, axis, where
        As in `spherical_softmax`.

    Returns
    -------
    array
        Positive shares, of the shape, dtype and device of x; at the edges as `softmax`.

    Raises
    ------
    TypeError
        As in `softmax`.

    Notes
    -----
    The logarithm of squareplus is the inverse hyperbolic sine of x/2, which is what is
    computed. See the chapter ``alternatives``, claims ``prop-ratio-softmax`` and
    ``prop-ratio-laws``.

    Examples
    --------
    >>> from softmax_notes.alternatives import squareplus_shares
    >>> squareplus_shares([2.0, 1.0, 0.0]).round(4)
    array([0.4797, 0.3215, 0.1987])
    """
    return _ratio(x, axis, where, lambda xp, x: xp.asinh(0.5 * x))


def sparsemax(x: Array, /, *, axis: Axis = -1, where: Array | None = None) -> Array:
    r"""Project scores onto the simplex: :math:`p_i = \max(x_i - \tau, 0)`.

    Parameters
    ----------
    x, axis, where
        As in `spherical_softmax`.

    Returns
    -------
    array
        The distribution nearest to x, of the shape, dtype and device of x; at the edges as
        `softmax`.

    Raises
    ------
    TypeError
        As in `softmax`.

    Notes
    -----
    Exact: found by sorting, in O(n log n). Differentiable where no score equals the threshold;
    there, the derivative is the one of the side where that score gets nothing. See the chapter
    ``alternatives``, claims ``thm-projection-form`` and ``prop-sparsemax-threshold``.

    Examples
    --------
    >>> from softmax_notes.alternatives import sparsemax
    >>> sparsemax([0.75, 0.5, -1.0])
    array([0.625, 0.375, 0.   ])
    """
    return _project(x, axis, where, _sparsemax)


def entmax15(x: Array, /, *, axis: Axis = -1, where: Array | None = None) -> Array:
    r"""Entmax with exponent 1.5: :math:`p_i = \max(x_i/2 - \tau, 0)^2`.

    Parameters
    ----------
    x, axis, where
        As in `spherical_softmax`.

    Returns
    -------
    array
        A distribution between softmax and `sparsemax`, of the shape, dtype and device of x;
        at the edges as `softmax`.

    Raises
    ------
    TypeError
        As in `softmax`.

    Notes
    -----
    Exact: found by sorting, in O(n log n). See the chapter ``alternatives``, claims
    ``thm-projection-form`` and ``prop-entmax-threshold``.

    Examples
    --------
    >>> from softmax_notes.alternatives import entmax15
    >>> entmax15([0.0, 0.0, -3.0]), entmax15([1.0, 0.0]).round(4)
    (array([0.5, 0.5, 0. ]), array([0.8307, 0.1693]))
    """
    return _project(x, axis, where, _entmax15)


def fenchel_young_loss(x: Array, y: Array, /, *, rule: str = "softmax", axis: int = -1) -> Array:
    r"""Fenchel–Young loss of a projection, with gradient prediction minus target.

    With the fee Ω of the rule and its prediction :math:`\hat y`,

    .. math:: L = \bigl(\hat y \cdot x - \Omega(\hat y)\bigr) - \bigl(y \cdot x - \Omega(y)\bigr).

    Parameters
    ----------
    x : array of real numbers
        Scores, with n classes along ``axis``.
    y : array
        Target distributions, which must broadcast to the shape of x: one-hot or soft.
    rule : {"softmax", "sparsemax", "entmax15"}, default "softmax"
        Which prediction. For softmax the loss is cross-entropy minus the entropy of y.
    axis : int, default -1
        The axis of the classes.

    Returns
    -------
    array
        One loss for each target, in the dtype of x: 0 where the prediction is the target,
        +inf where a class of the target has the score -inf.

    Raises
    ------
    TypeError
        If an argument is complex, masked, a matrix or no array, or libraries are mixed.
    ValueError
        If rule is not one of the three, or y does not hold distributions of the shape of x.
        Targets that are not known yet (Dask, or inside ``jax.jit``) give NaN instead.

    Notes
    -----
    The error is a few units in the last place of the largest difference of scores, not of the
    loss; for small logistic losses take ``cross_entropy``. See the chapter ``alternatives``,
    claims ``thm-fenchel-young``, ``prop-sparsemax-loss`` and ``prop-loss-margin``.

    Examples
    --------
    A lead of 1 is all that the sparsemax loss asks for:

    >>> from softmax_notes.alternatives import fenchel_young_loss
    >>> x, y = [[0.0, 0.0], [0.5, 0.0], [1.0, 0.0]], [1.0, 0.0]
    >>> fenchel_young_loss(x, y, rule="sparsemax")
    array([0.25  , 0.0625, 0.    ])
    """
    predict, fee = _FEES[one_of(rule, _FEES, "rule")]
    xp, (x, y) = as_arrays(x, y)
    y = like(xp, y, x, name="y")
    xp, x, _, dtype, _ = prepared(x, axis, None)
    y, _ = axes_last(xp, cast(xp, y, x.dtype), axis)
    p = predict(x)
    maximum = xp.max(x, axis=-1, keepdims=True)
    shift = xp.where(xp.isfinite(maximum), maximum, 0.0)
    impossible = x == -xp.inf  # predicted 0: harmless, unless the target has it
    earned = xp.sum((p - y) * xp.where(impossible, 0.0, x - shift), axis=-1)
    loss = earned - fee(p) + fee(y) + _not_distributions(xp, y)
    loss = xp.where(xp.any(impossible & (y > 0), axis=-1), xp.inf, loss)
    return rounded(xp, loss, dtype)


class Counterexample(NamedTuple):
    """Scores at which a rule breaks a law.

    Attributes
    ----------
    x : tuple of float
        The scores.
    p : tuple of float
        What the rule makes of them.
    violation : float
        By how much; what is measured depends on the law.

    Examples
    --------
    >>> from softmax_notes.alternatives import counterexample, sparsemax
    >>> counterexample(sparsemax, "full support")
    Counterexample(x=(1.0, 0.0), p=(1.0, 0.0), violation=1.0)
    """

    x: tuple[float, ...]
    p: tuple[float, ...]
    violation: float


def counterexample(rule: _Rule, law: str, /) -> Counterexample | None:
    """Search for scores at which a rule breaks a law.

    Parameters
    ----------
    rule : function
        From a NumPy array of scores, shape (..., n), to shares along the last axis.
    law : str
        One of `LAWS`:

        - "distribution": defined everywhere, no entry negative, sum 1;
        - "full support": no entry 0;
        - "order": a higher score never gets less;
        - "strict order": a higher score gets more;
        - "shift": a number added to all scores changes nothing;
        - "scale": a positive factor of all scores changes nothing;
        - "slope": differentiable;
        - "curvature": twice differentiable;
        - "odds": the ratio of two shares is the same without the other classes.

    Returns
    -------
    Counterexample or None
        The simplest one found, by the sum of absolute scores; None if there was none among
        the points of a grid and 200 random ones, for two and three classes. None proves
        nothing; the proofs are in the book.

    Raises
    ------
    ValueError
        If law is not one of `LAWS`.

    Notes
    -----
    Where the rule is not defined it breaks "distribution", "slope" and "curvature", and no
    other law. See the chapter ``alternatives``, claims ``prop-ratio-laws`` and
    ``thm-projection-laws``.

    Examples
    --------
    >>> from softmax_notes import softmax
    >>> from softmax_notes.alternatives import counterexample, taylor_softmax
    >>> counterexample(taylor_softmax, "order").x
    (-0.5, -2.0)
    >>> print(counterexample(softmax, "order"))
    None
    """
    violation, tolerance = _LAWS[one_of(law, LAWS, "law")]
    if not callable(rule):
        raise TypeError(f"rule must be a function of scores, got {type(rule).__name__}")
    for n in (2, 3):
        points = _points(n)
        shape = np.shape(rule(points))
        if shape != points.shape:
            raise ValueError(f"rule must keep the shape of {points.shape}, and gave {shape}")
        sizes = violation(rule, points)
        broken = np.flatnonzero(sizes > tolerance)
        if broken.size:
            x = points[broken[0]]
            p = tuple(np.asarray(rule(x)).tolist())
            return Counterexample(tuple(x.tolist()), p, float(sizes[broken[0]]))
    return None


# Ratio rules: softmax of the logarithms of the strengths, so that nothing overflows and the
# edges are those of softmax.


def _ratio(
    x: Array,
    axis: Axis,
    where: Array | None,
    log_strength: Callable[[ModuleType, Array], Array],
) -> Array:
    xp, x, dtype = widened(x)
    if where is not None:  # what is excluded reaches neither the result nor the gradient
        where = mask_of(xp, where, x)
        x = xp.where(where, x, 1.0)
    return rounded(xp, softmax(log_strength(xp, x), axis=axis, where=where), dtype)


def _log_square(xp: ModuleType, x: Array) -> Array:
    nothing = x == 0
    return xp.where(nothing, -xp.inf, 2 * xp.log(xp.abs(xp.where(nothing, 1.0, x))))


def _log_softplus(xp: ModuleType, x: Array) -> Array:
    # Far below 0 softplus underflows; its logarithm is there x - e^x / 2 and higher powers.
    low = x < -20
    inside = xp.where(low, 0.0, x)
    softplus = xp.maximum(inside, xp.zeros_like(x)) + xp.log1p(xp.exp(-xp.abs(inside)))
    below = xp.where(low, x, 0.0)
    return xp.where(low, below - 0.5 * xp.exp(below), xp.log(softplus))


# Projections: which scores get something is found by sorting, and is constant nearby; the
# threshold is then a formula in those scores, which the libraries differentiate.


def _project(
    x: Array, axis: Axis, where: Array | None, solve: Callable[[ModuleType, Array], Array]
) -> Array:
    xp, x, mask, dtype, back = prepared(x, axis, where)
    if x.shape[-1] == 0:
        return back(xp.astype(x, dtype))
    maximum = xp.max(x, axis=-1, keepdims=True)
    usable = xp.isfinite(maximum)
    x, shift = xp.where(usable, x, 0.0), xp.where(usable, maximum, 0.0)
    far = x < shift - 2  # gets nothing from either rule; and its difference may overflow
    z = xp.where(far, -2.0, xp.where(far, shift, x) - shift)
    p = solve(xp, z) + undefined(xp, maximum, mask)
    return back(rounded(xp, p if mask is None else xp.where(mask, p, 0.0), dtype))


def _sparsemax(xp: ModuleType, z: Array) -> Array:
    ordered, sums, k = _sorted(xp, z)
    inside = _at_least(xp, z, ordered, sums - k * ordered < 1)
    size = xp.sum(xp.astype(inside, z.dtype), axis=-1, keepdims=True)
    threshold = (xp.sum(xp.where(inside, z, 0.0), axis=-1, keepdims=True) - 1) / size
    return xp.where(inside & (z > threshold), z - threshold, 0.0)


def _entmax15(xp: ModuleType, z: Array) -> Array:
    z = 0.5 * z
    ordered, sums, k = _sorted(xp, z)
    squares = xp.cumulative_sum(ordered**2, axis=-1)
    excess = squares - 2 * ordered * sums + k * ordered**2
    inside = _at_least(xp, z, ordered, excess < 1)
    size = xp.sum(xp.astype(inside, z.dtype), axis=-1, keepdims=True)
    mean = xp.sum(xp.where(inside, z, 0.0), axis=-1, keepdims=True) / size
    spread = xp.sum(xp.where(inside, (z - mean) ** 2, 0.0), axis=-1, keepdims=True)
    threshold = mean - xp.sqrt((1 - spread) / size)
    return xp.where(inside & (z > threshold), (z - threshold) ** 2, 0.0)


def _sorted(xp: ModuleType, z: Array) -> tuple[Array, Array, Array]:
    """Give the scores in descending order, their running sums and their running count."""
    ordered = xp.sort(z, axis=-1, descending=True)
    count = xp.arange(1, z.shape[-1] + 1, dtype=z.dtype, device=device(z))
    return ordered, xp.cumulative_sum(ordered, axis=-1), count


def _at_least(xp: ModuleType, z: Array, ordered: Array, inside: Array) -> Array:
    """Mark the scores that are as high as some sorted score that is inside; the first is."""
    return z >= xp.min(xp.where(inside, ordered, 0.0), axis=-1, keepdims=True)


# Losses.


def _tsallis(exponent: float) -> _Rule:
    """Give the fee sum(p^a - p) / (a (a - 1)) over the last axis."""

    def fee(p: Array) -> Array:
        xp, (p,) = as_arrays(p)
        return xp.sum(p**exponent - p, axis=-1) / (exponent * (exponent - 1))

    return fee


def _not_distributions(xp: ModuleType, y: Array) -> Array:
    """Give NaN for each slice that is no distribution, else 0; raise where that is known."""
    off = xp.abs(xp.sum(y, axis=-1) - 1)
    valid = xp.all(y >= 0, axis=-1) & (off <= float(xp.finfo(y.dtype).eps) ** 0.5)
    if holds(~xp.all(valid)):
        total, least = float(xp.sum(y, axis=-1)[~valid][0]), float(xp.min(y))
        raise ValueError(
            "y must hold distributions: entries from 0 on with sum 1, got a smallest entry of "
            f"{least} and a sum of {total}"
        )
    return xp.where(valid, xp.zeros_like(off), xp.nan)


_FEES: dict[str, tuple[_Rule, _Rule]] = {
    "softmax": (softmax, negative_entropy),
    "entmax15": (entmax15, _tsallis(1.5)),
    "sparsemax": (sparsemax, _tsallis(2.0)),
}

RULES: dict[str, _Rule] = {
    "softmax": softmax,
    "spherical": spherical_softmax,
    "Taylor": taylor_softmax,
    "softplus": softplus_shares,
    "squareplus": squareplus_shares,
    "entmax-1.5": entmax15,
    "sparsemax": sparsemax,
}


# Laws: each function gives, for every row of points, by how much the rule breaks the law.


def _points(n: int) -> Array:
    grid = sorted(
        product(np.arange(2, -2.5, -0.5).tolist(), repeat=n),
        key=lambda x: sum(map(abs, x)),  # stable: among equals, the larger first score first
    )
    return np.concatenate([grid, 2 * np.random.default_rng(0).normal(size=(200, n))])


def _differences(p: Array) -> Array:
    return p[:, :, None] - p[:, None, :]


def _change(rule: _Rule, x: Array, moved: list[Array]) -> Array:
    changes = [np.max(np.abs(rule(y) - rule(x)), axis=-1) for y in moved]
    return np.nan_to_num(np.max(changes, axis=0))


def _distribution(rule: _Rule, x: Array) -> Array:
    p = rule(x)
    sizes = np.maximum(np.abs(p.sum(axis=-1) - 1), -p.min(axis=-1))
    return np.where(np.isnan(sizes), np.inf, sizes)


def _support(rule: _Rule, x: Array) -> Array:
    return np.any(rule(x) == 0, axis=-1).astype(np.float64)


def _order(rule: _Rule, x: Array) -> Array:
    lost = np.where(_differences(x) > 0, -_differences(rule(x)), 0.0)
    return np.nan_to_num(lost.max(axis=(1, 2)))


def _strict_order(rule: _Rule, x: Array) -> Array:
    ties = (_differences(x) > 0) & (_differences(rule(x)) <= 0)
    return ties.any(axis=(1, 2)).astype(np.float64)


def _shift(rule: _Rule, x: Array) -> Array:
    return _change(rule, x, [x + 1, x - 0.5])


def _scale(rule: _Rule, x: Array) -> Array:
    return _change(rule, x, [2 * x, 0.5 * x])


def _kink(rule: _Rule, x: Array, h: float, stencil: list[float]) -> Array:
    """Compare the difference quotients to both sides, along each axis."""
    jumps = np.zeros(len(x))
    for step in h * np.eye(x.shape[-1]):
        right, left = (
            sum(c * rule(x + s * k * step) for k, c in enumerate(stencil)) for s in (1, -1)
        )
        sign = -1 if len(stencil) % 2 == 0 else 1  # an odd derivative changes its sign
        jump = np.max(np.abs(right - sign * left), axis=-1) / h ** (len(stencil) - 1)
        jumps = np.maximum(jumps, np.where(np.isnan(jump), np.inf, jump))
    return jumps


def _slope(rule: _Rule, x: Array) -> Array:
    return _kink(rule, x, 1e-4, [-1.0, 1.0])


def _curvature(rule: _Rule, x: Array) -> Array:
    # What has no slope has no curvature; ten times, for the tolerance of this law.
    return np.maximum(_kink(rule, x, 1e-3, [1.0, -2.0, 1.0]), 10 * _slope(rule, x))


def _odds(rule: _Rule, x: Array) -> Array:
    p, alone = rule(x), rule(x[:, :2])
    return np.nan_to_num(np.abs(p[:, 0] * alone[:, 1] - p[:, 1] * alone[:, 0]))


# With the size of violation from which on it is more than rounding, or than the step of a
# difference quotient.
_LAWS: dict[str, tuple[Callable[[_Rule, Array], Array], float]] = {
    "distribution": (_distribution, 1e-9),
    "full support": (_support, 0.5),
    "order": (_order, 1e-9),
    "strict order": (_strict_order, 0.5),
    "shift": (_shift, 1e-9),
    "scale": (_scale, 1e-9),
    "slope": (_slope, 0.01),
    "curvature": (_curvature, 0.1),
    "odds": (_odds, 1e-9),
}

LAWS = tuple(_LAWS)
