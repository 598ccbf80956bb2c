r"""The derivative of softmax: its Jacobian, and products with it in O(n).

With :math:`p = \operatorname{softmax}(x)`,

.. math:: \frac{\partial p_i}{\partial x_j} = p_i (\delta_{ij} - p_j),
   \qquad J = \operatorname{diag}(p) - p p^\top.

All functions take the probabilities p, not the scores: p is at hand after the forward pass.

Where one probability is close to 1, the formulas as they stand lose its derivative: 1 - p
rounds to 0, and so does v - pᵀv. Two laws of J bring it back. Rows sum to 0, so the diagonal
entry of the most probable class is p times the sum of the *other* probabilities. And J maps
constants to 0, so v may be measured from its mean, which makes the second mean, taken of
small numbers, the correction of the first.
"""

from __future__ import annotations

from types import ModuleType

from array_api_compat import device

from softmax_notes._arrays import (
    Array,
    Axis,
    accurate_sum,
    as_arrays,
    axes_last,
    cast,
    floating,
    like,
    rounded,
    widened,
    working,
)

__all__ = ["softmax_jacobian", "softmax_jvp", "softmax_vjp"]


def softmax_jacobian(p: Array, /) -> Array:
    r"""Write out the Jacobian of softmax, :math:`J_{ij} = p_i (\delta_{ij} - p_j)`.

    For teaching and for small n: it has n² entries, and what is needed in practice is a
    product with it, which `softmax_jvp` and `softmax_vjp` form in O(n).

    Parameters
    ----------
    p : array, shape (..., n)
        Probabilities, as `softmax` returns them along the last axis; not scores.

    Returns
    -------
    array, shape (..., n, n)
        One matrix for each slice, in the dtype of p.

    Raises
    ------
    TypeError
        If p is complex, masked, a matrix or no array.
    ValueError
        If p has no axis.

    Notes
    -----
    Nothing is scaled: what is too large overflows as in the library, NumPy with its warning.
    Exactly symmetric, and every entry has a small relative error, at a corner of the simplex
    too. Scores in place of probabilities are not detected. See the chapter ``jacobian``,
    claims ``thm-jacobian``, ``prop-jacobian-symmetric`` and ``prop-jacobian-corner``.

    Examples
    --------
    >>> from softmax_notes import softmax_jacobian
    >>> softmax_jacobian([0.5, 0.25, 0.25])
    array([[ 0.25  , -0.125 , -0.125 ],
           [-0.125 ,  0.1875, -0.0625],
           [-0.125 , -0.0625,  0.1875]])
    """
    xp, p, dtype = widened(p)
    if p.ndim == 0:
        raise ValueError("p needs at least one axis, got a single number; pass an array (..., n)")
    identity = xp.eye(p.shape[-1], dtype=xp.bool, device=device(p))
    diagonal = p * _complement(xp, p)
    outer = p[..., :, None] * p[..., None, :]
    # 0 - outer, for an entry that is 0 to be 0 and not -0
    return rounded(xp, xp.where(identity, diagonal[..., None], 0.0 - outer), dtype)


def softmax_jvp(p: Array, v: Array, /, axis: Axis = -1) -> Array:
    r"""Multiply the Jacobian of softmax by a vector: :math:`J v = p \odot (v - p^\top v)`.

    The derivative of softmax in the direction v (forward mode), in O(n).

    Parameters
    ----------
    p : array
        Probabilities along ``axis``, as `softmax` returns them.
    v : array
        Directions, finite; it must broadcast to the shape of p, and is taken in its dtype.
    axis : int, tuple of int or None, default -1
        The axes along which p sums to 1, as in `softmax`.

    Returns
    -------
    array
        The product, of the shape and dtype of p.

    Raises
    ------
    TypeError
        If an argument is complex, masked, a matrix or no array, or libraries are mixed.
    ValueError
        If v does not broadcast to the shape of p.

    Notes
    -----
    Nothing is scaled: what is too large overflows as in the library, NumPy with its warning.
    With u the unit roundoff and μ the mean of v, the error of entry i is a small multiple of
    u p_i (abs(v_i - μ) + Σ p_k abs(v_k - μ) + u abs(μ)): a constant added to v does no harm.
    See the chapter ``jacobian``, claims ``prop-jvp`` and ``prop-jacobian-symmetric``.

    Examples
    --------
    >>> from softmax_notes import softmax_jvp
    >>> softmax_jvp([0.5, 0.25, 0.25], [1.0, 0.0, 0.0])
    array([ 0.25 , -0.125, -0.125])
    """
    return _product(p, v, axis, name="v")


def softmax_vjp(p: Array, g: Array, /, axis: Axis = -1) -> Array:
    r"""Multiply a vector by the Jacobian of softmax: :math:`J^\top g = p \odot (g - p^\top g)`.

    The gradient with respect to the scores, given the gradient g with respect to the
    probabilities (reverse mode), in O(n). J is symmetric, so this is `softmax_jvp` with
    another meaning.

    Parameters
    ----------
    p : array
        Probabilities along ``axis``, as `softmax` returns them.
    g : array
        Gradient of a scalar with respect to p, finite; it must broadcast to the shape of p,
        and is taken in its dtype.
    axis : int, tuple of int or None, default -1
        The axes along which p sums to 1, as in `softmax`.

    Returns
    -------
    array
        The product, of the shape and dtype of p.

    Raises
    ------
    TypeError
        If an argument is complex, masked, a matrix or no array, or libraries are mixed.
    ValueError
        If g does not broadcast to the shape of p.

    Notes
    -----
    Nothing is scaled: what is too large overflows as in the library, NumPy with its warning.
    As accurate as `softmax_jvp`. See the chapter ``jacobian``, claims ``prop-jvp`` and
    ``prop-jacobian-symmetric``.

    Examples
    --------
    >>> from softmax_notes import softmax_vjp
    >>> softmax_vjp([0.5, 0.25, 0.25], [1.0, 0.0, 0.0])
    array([ 0.25 , -0.125, -0.125])
    """
    return _product(p, g, axis, name="g")


def _product(p: Array, v: Array, axis: Axis, *, name: str) -> Array:
    """Form p ⊙ (w - pᵀw) with w = v - pᵀv."""
    xp, (p, v) = as_arrays(p, v)
    p = floating(xp, p)
    v = like(xp, v, p, name=name, to="p")
    dtype = p.dtype
    p, back = axes_last(xp, working(xp, p), axis)
    v, _ = axes_last(xp, cast(xp, v, p.dtype), axis)
    w = v - xp.sum(p * v, axis=-1, keepdims=True)
    return back(rounded(xp, p * (w - accurate_sum(xp, p * w)), dtype))


def _complement(xp: ModuleType, p: Array) -> Array:
    """Form 1 - p along the last axis; at the most probable entry as the sum of the others."""
    if p.shape[-1] == 0:
        return p
    top = xp.arange(p.shape[-1], device=device(p)) == xp.argmax(p, axis=-1, keepdims=True)
    return xp.where(top, accurate_sum(xp, xp.where(top, 0.0, p)), 1 - p)
