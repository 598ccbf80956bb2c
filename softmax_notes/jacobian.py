r"""The derivative of softmax: its Jacobian, and products with it in O(n).

With :math:`p = \operatorname{softmax}(x)`,

.. math:: \frac{\partial p_i}{\partial x_j} = p_i (\delta_{ij} - p_j),
   \qquad J = \operatorname{diag}(p) - p p^\top.

All functions take the probabilities p, not the scores: p is at hand after the forward pass.
"""

from __future__ import annotations

from array_api_compat import device

from softmax_notes._arrays import Array, as_arrays, floating, like, rounded, working

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
    See the chapter ``jacobian``, claims ``thm-jacobian`` and ``prop-jacobian-symmetric``.

    Examples
    --------
    >>> from softmax_notes import softmax_jacobian
    >>> softmax_jacobian([0.5, 0.25, 0.25])
    array([[ 0.25  , -0.125 , -0.125 ],
           [-0.125 ,  0.1875, -0.0625],
           [-0.125 , -0.0625,  0.1875]])
    """
    xp, (p,) = as_arrays(p)
    if p.ndim == 0:
        raise ValueError("p needs at least one axis, got a single number; pass an array (..., n)")
    p = floating(xp, p)
    dtype, p = p.dtype, working(xp, p)
    row, column = p[..., None, :], p[..., :, None]
    identity = xp.eye(p.shape[-1], dtype=p.dtype, device=device(p))
    return rounded(xp, column * (identity - row), dtype)


def softmax_jvp(p: Array, v: Array, /, axis: int = -1) -> Array:
    r"""Multiply the Jacobian of softmax by a vector: :math:`J v = p \odot (v - p^\top v)`.

    The derivative of softmax in the direction v (forward mode), in O(n).

    Parameters
    ----------
    p : array
        Probabilities along ``axis``, as `softmax` returns them.
    v : array
        Directions; it must broadcast to the shape of p.
    axis : int, default -1
        The axis along which p sums to 1.

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
    See the chapter ``jacobian``, claim ``prop-jvp``.

    Examples
    --------
    >>> from softmax_notes import softmax_jvp
    >>> softmax_jvp([0.5, 0.25, 0.25], [1.0, 0.0, 0.0])
    array([ 0.25 , -0.125, -0.125])
    """
    return _product(p, v, axis, name="v")


def softmax_vjp(p: Array, g: Array, /, axis: int = -1) -> Array:
    r"""Multiply a vector by the Jacobian of softmax: :math:`J^\top g = p \odot (g - p^\top g)`.

    The gradient with respect to the scores, given the gradient g with respect to the
    probabilities (reverse mode), in O(n). J is symmetric, so this is `softmax_jvp` with
    another meaning.

    Parameters
    ----------
    p : array
        Probabilities along ``axis``, as `softmax` returns them.
    g : array
        Gradient of a scalar with respect to p; it must broadcast to the shape of p.
    axis : int, default -1
        The axis along which p sums to 1.

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
    See the chapter ``jacobian``, claims ``prop-jvp`` and ``prop-jacobian-symmetric``.

    Examples
    --------
    >>> from softmax_notes import softmax_vjp
    >>> softmax_vjp([0.5, 0.25, 0.25], [1.0, 0.0, 0.0])
    array([ 0.25 , -0.125, -0.125])
    """
    return _product(p, g, axis, name="g")


def _product(p: Array, v: Array, axis: int, *, name: str) -> Array:
    xp, (p, v) = as_arrays(p, v)
    p = floating(xp, p)
    dtype, p = p.dtype, working(xp, p)
    v = like(xp, xp.astype(v, p.dtype), p, name=name, to="p")
    mean = xp.sum(p * v, axis=axis, keepdims=True)
    return rounded(xp, p * (v - mean), dtype)
