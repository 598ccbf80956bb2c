r"""Cross-entropy of softmax, and its gradient p − y.

One formula serves every kind of target. Each class c has a non-negative amount :math:`a_c` of
target: 1 and 0 for a class index, probabilities for a soft target, smoothed and weighted as
asked, all 0 where the target is ignored. With :math:`p = \operatorname{softmax}(x)`,

.. math:: L = -\sum_c a_c \log p_c, \qquad
   \frac{\partial L}{\partial x_j} = \Bigl(\sum_c a_c\Bigr) p_j - a_j .
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, NamedTuple

from array_api_compat import device

from softmax_notes._arrays import (
    Array,
    as_arrays,
    cast,
    floating,
    holds,
    normalized_axes,
    rounded,
    working,
)
from softmax_notes._losses import check_ignored, check_one_a_class, check_options
from softmax_notes.definition import log_softmax, softmax

__all__ = ["cross_entropy", "cross_entropy_grad"]


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
    r"""Cross-entropy of softmax(logits) against a target: :math:`-\sum_c y_c \log p_c`.

    The same numbers as ``torch.nn.functional.cross_entropy``, with the classes along ``axis``.
    It takes logits, not probabilities: what is passed goes through softmax here, once.

    Parameters
    ----------
    logits : array
        Scores, with n classes along ``axis``; dtypes as in `softmax`.
    target : array of integers or of real numbers
        Class indices from 0 to n - 1, of the shape of logits without ``axis``; or
        probabilities, of the shape of logits.
    axis : int, default -1
        The axis of the classes.
    weight : array, shape (n,), optional
        A finite, non-negative factor for each class.
    ignore_index : int, optional
        Targets equal to it add nothing to the loss. Only with class indices.
    label_smoothing : float in [0, 1], default 0
        Share ε of each target that is spread evenly, ε/n to each of all n classes.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides the sum by the total weight of the targets that are not ignored; with
        probabilities, by the number of targets. "none" gives each target's loss.

    Returns
    -------
    array
        The loss: a single number, or for "none" of the shape of logits without ``axis``. Its
        dtype is that of logits. A "mean" over no targets is NaN, as in PyTorch.

    Raises
    ------
    TypeError
        If an argument is complex, masked, a matrix or no array, or libraries are mixed.
    ValueError
        If a target, weight, label_smoothing, reduction or shape is out of its range. Targets
        that are not known yet (Dask, or inside ``jax.jit``) give NaN instead.

    Notes
    -----
    A class of probability 0 that is no part of the target adds 0 to the loss; one that is part
    of it makes the loss +inf. With "none", a class index, and neither weight nor smoothing, the
    loss is within 8 units in the last place in float32 and float64, however small it is. See
    the chapter ``cross_entropy``, claims ``prop-loss-is-lse``, ``prop-weighted-gradient`` and
    ``prop-smoothing-gradient``.

    Examples
    --------
    >>> from softmax_notes import cross_entropy
    >>> round(float(cross_entropy([[2.0, 1.0, 0.0]], [0])), 4)
    0.4076
    >>> cross_entropy([[2.0, 1.0], [0.0, 0.0]], [1, 0], reduction="none").round(4)
    array([1.3133, 0.6931])
    """
    problem = _prepare(logits, target, axis, weight, ignore_index, label_smoothing, reduction)
    xp, amount, log_p = problem.xp, problem.amount, log_softmax(problem.logits)
    # A class of probability 0 that is no part of the target adds 0, not 0 · inf.
    harmless = (amount == 0) & (log_p == -xp.inf)
    loss = -xp.sum(amount * xp.where(harmless, 0.0, log_p), axis=-1) + problem.invalid
    if reduction != "none":
        loss = xp.sum(loss)
    if reduction == "mean":
        loss = loss / problem.divisor
    return rounded(xp, loss, problem.dtype)


def cross_entropy_grad(
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
    r"""Gradient of `cross_entropy` with respect to the logits: :math:`p - y`, scaled.

    Parameters
    ----------
    logits, target, axis, weight, ignore_index, label_smoothing, reduction
        As in `cross_entropy`. For "none" the gradient is that of the sum of the losses.

    Returns
    -------
    array
        The gradient, of the shape and dtype of logits; 0 in the rows of ignored targets, even
        where all are ignored and the mean is NaN. Where the loss is +inf because a class
        of the target has the logit -inf, it is still :math:`p - y`, as in PyTorch.

    Raises
    ------
    TypeError, ValueError
        As in `cross_entropy`.

    Notes
    -----
    Computed in one step, never as a product of a Jacobian and a quotient y/p, and at a target
    class as expm1(log p) rather than p − 1, so that a confident and right prediction keeps its
    small gradient: with a class index and "none" every entry is within 8 units in the last
    place in float32 and float64. See the chapter ``cross_entropy``, claims ``thm-p-minus-y``,
    ``prop-mean-gradient``, ``prop-weighted-gradient`` and ``prop-smoothing-gradient``.

    Examples
    --------
    >>> from softmax_notes import cross_entropy_grad
    >>> cross_entropy_grad([[2.0, 1.0, 0.0]], [0]).round(4)
    array([[-0.3348,  0.2447,  0.09  ]])
    """
    problem = _prepare(logits, target, axis, weight, ignore_index, label_smoothing, reduction)
    xp, amount, logits = problem.xp, problem.amount, problem.logits
    total = xp.sum(amount, axis=-1, keepdims=True)
    # (sum a) p − a, written so that nothing cancels where all of the target is in one class.
    grad = amount * xp.expm1(log_softmax(logits)) + (total - amount) * softmax(logits)
    grad = grad + problem.invalid[..., None]
    if reduction == "mean":
        grad = grad / problem.divisor
    grad = xp.where(problem.kept[..., None], grad, 0.0)  # not NaN where all are ignored
    return rounded(xp, xp.moveaxis(grad, -1, axis), problem.dtype)


class _Problem(NamedTuple):
    """A checked problem, with the classes along the last axis."""

    xp: ModuleType
    logits: Array  # (..., n) in working precision, 0 where the target is ignored
    kept: Array  # (...): False where the target is ignored
    amount: Array  # (..., n): target in each class, smoothed and weighted
    divisor: Array  # of the mean
    invalid: Array  # (...): NaN where a target is out of range, else 0
    dtype: Any  # of the result


def _prepare(
    logits: Array,
    target: Array,
    axis: int,
    weight: Array | None,
    ignore_index: int | None,
    label_smoothing: float,
    reduction: str,
) -> _Problem:
    check_options(label_smoothing, reduction)
    xp, (logits, target, *weights) = as_arrays(
        logits, target, *([] if weight is None else [weight])
    )
    logits = floating(xp, logits)
    dtype = logits.dtype
    (axis,) = normalized_axes(xp, logits, (axis,))
    logits = xp.moveaxis(working(xp, logits), axis, -1)
    n = logits.shape[-1]
    class_weight = _checked_weight(xp, weights[0], logits) if weights else None
    soft = xp.isdtype(target.dtype, "real floating")
    check_ignored(ignore_index, soft)
    if soft:
        y, kept, invalid = _probabilities(xp, target, logits, axis)
    else:
        y, kept, invalid = _one_hot(xp, target, logits, ignore_index)
    # What an ignored row holds, NaN included, reaches neither the loss nor the gradient.
    logits = xp.where(kept[..., None], logits, 0.0)
    amount = (1 - label_smoothing) * y + label_smoothing / max(n, 1)
    amount = xp.where(kept[..., None], amount, 0.0)
    count = xp.astype(xp.count_nonzero(kept), logits.dtype)
    if class_weight is not None:
        amount = amount * class_weight
        # PyTorch's convention: the weight of the targets themselves, before smoothing, and
        # for probabilities no weight at all.
        count = count if soft else xp.sum(y * class_weight)
    divisor = xp.where(count == 0, xp.nan, count)
    return _Problem(xp, logits, kept, amount, divisor, invalid, dtype)


def _checked_weight(xp: ModuleType, weight: Array, logits: Array) -> Array:
    check_one_a_class("weight", weight.shape, logits.shape[-1])
    weight = cast(xp, weight, logits.dtype)
    valid = (weight >= 0) & (weight < xp.inf)  # NaN is neither
    if holds(~xp.all(valid)):
        wrong = float(weight[~valid][0])
        raise ValueError(f"weight must hold finite numbers from 0 on, got {wrong}")
    return weight


def _probabilities(
    xp: ModuleType, target: Array, logits: Array, axis: int
) -> tuple[Array, Array, Array]:
    """Give the rows of a soft target; all are kept; and NaN where one is out of range."""
    if target.ndim == logits.ndim:
        target = xp.moveaxis(target, axis, -1)
    if tuple(target.shape) != tuple(logits.shape):
        raise ValueError(
            "target probabilities must have the shape of logits, and class indices must be "
            f"integers; with the classes last the shapes are {tuple(target.shape)} and "
            f"{tuple(logits.shape)}, the dtype of target is {target.dtype}"
        )
    valid = (target >= 0) & (target <= 1)
    if holds(~xp.all(valid)):
        wrong = float(target[~valid][0])
        raise ValueError(f"target probabilities must be from 0 to 1, got {wrong}")
    row_valid = xp.all(valid, axis=-1)
    invalid = xp.where(row_valid, xp.zeros_like(row_valid, dtype=logits.dtype), xp.nan)
    return xp.astype(target, logits.dtype), xp.ones_like(row_valid), invalid


def _one_hot(
    xp: ModuleType, target: Array, logits: Array, ignore_index: int | None
) -> tuple[Array, Array, Array]:
    """Give one-hot rows, which targets are kept, and NaN where one is out of range."""
    n = logits.shape[-1]
    if not xp.isdtype(target.dtype, "integral"):
        raise ValueError(f"target must hold class indices or probabilities, got {target.dtype}")
    if tuple(target.shape) != tuple(logits.shape[:-1]):
        raise ValueError(
            f"target of class indices must have the shape {tuple(logits.shape[:-1])} of logits "
            f"without the axis of classes, got {tuple(target.shape)}"
        )
    classes = xp.arange(n, device=device(logits))
    index = xp.astype(target, classes.dtype)  # signed: ignore_index may be negative
    kept = xp.ones_like(index, dtype=xp.bool) if ignore_index is None else index != ignore_index
    wrong = kept & ((index < 0) | (index >= n))
    if holds(xp.any(wrong)):
        raise ValueError(f"target must be from 0 to {n - 1}, got {int(target[wrong][0])}")
    hit = (index[..., None] == classes) & kept[..., None]
    invalid = xp.where(wrong, xp.nan, xp.zeros_like(wrong, dtype=logits.dtype))
    return xp.astype(hit, logits.dtype), kept, invalid
