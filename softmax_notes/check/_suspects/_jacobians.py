"""Faults of the Jacobian and of products with it."""

from __future__ import annotations

from typing import Any

import numpy as np

from softmax_notes.check._suspects._formulas import Suspect, other_axis, softmax


def _outer(p: Any) -> Any:
    return p[..., :, None] * p[..., None, :]


def _diagonal(p: Any, values: Any) -> Any:
    return np.eye(p.shape[-1], dtype=p.dtype) * values[..., None, :]


def _matrix(p: Any) -> Any:
    return _diagonal(p, p) - _outer(p)


def _last_row(p: Any, columns: slice) -> Any:
    """Turn the sign of entries of the last row, of which a single class has none."""
    if p.shape[-1] < 2:
        return None
    jacobian = _matrix(p)
    jacobian[..., -1, columns] *= -1
    return jacobian


def _mixed_batch(p: Any) -> Any:
    if p.ndim != 2 or p.shape[0] != p.shape[1]:
        return None
    return _diagonal(p, p) - p[:, :, None] * np.swapaxes(p, 0, 1)[:, None, :]


JACOBIANS = [
    Suspect(
        "off-diagonal-sign",
        "off-diagonal sign: ∂p_i/∂x_j = −p_i p_j for i ≠ j",
        lambda p: _diagonal(p, p * (1 - p)) + _outer(p) - _diagonal(p, p * p),
    ),
    Suspect(
        "last-row-sign",
        "off-diagonal sign in the last row: every entry beside the diagonal is −p_i p_j",
        lambda p: _last_row(p, slice(-1)),
    ),
    Suspect(
        "last-row-sign",
        "one entry of the last row lacks its minus: every entry beside the diagonal is −p_i p_j",
        lambda p: _last_row(p, slice(1, 2) if p.shape[-1] > 2 else slice(1)),
    ),
    Suspect(
        "sign",
        "the sign is turned round: diag(p) − p pᵀ, not p pᵀ − diag(p)",
        lambda p: -_matrix(p),
    ),
    Suspect(
        "plus",
        "diag(p) + p pᵀ: the second term is subtracted",
        lambda p: _diagonal(p, p) + _outer(p),
    ),
    Suspect(
        "diagonal-only",
        "only the diagonal is filled: every score moves every probability",
        lambda p: _diagonal(p, p * (1 - p)),
    ),
    Suspect("diagonal-missing", "−p pᵀ alone: add diag(p)", lambda p: -_outer(p)),
    Suspect("outer-only", "p pᵀ alone: the Jacobian is diag(p) − p pᵀ", _outer),
    Suspect(
        "diagonal-p",
        "the diagonal is p_i: it is p_i (1 − p_i)",
        lambda p: _diagonal(p, p) - _outer(p) + _diagonal(p, p * p),
    ),
    Suspect(
        "diagonal-square",
        "the diagonal is 1 − p_i²: it is p_i (1 − p_i)",
        lambda p: _diagonal(p, 1 - p * p) - _outer(p) + _diagonal(p, p * p),
    ),
    Suspect(
        "rows-one-minus",
        "p_i (1 − p_j) everywhere: δ_ij is 0 beside the diagonal",
        lambda p: p[..., :, None] * (1 - p[..., None, :]),
    ),
    Suspect(
        "scores",
        "softmax is applied again: the argument holds probabilities, not scores",
        lambda p: _matrix(softmax(p)),
    ),
    Suspect(
        "index",
        "the sum's own index was read as j: n e^(x_j) is not Σ e^(x_k)",
        lambda p: (
            _diagonal(p, np.full(p.shape, (1 / p.shape[-1]) * (1 - 1 / p.shape[-1])))
            - (1 - np.eye(p.shape[-1])) * _outer(p)
        ),
    ),
    Suspect("batch-mixed", "rows of the batch are mixed: p pᵀ is needed row by row", _mixed_batch),
    Suspect(
        "corner", "1 − p rounds to 0 next to a corner: sum the other probabilities instead", _matrix
    ),
]


def _dot(p: Any, v: Any, axis: Any = -1) -> Any:
    return (p * v).sum(axis=axis, keepdims=True)


PRODUCTS = [
    Suspect("no-mean", "p ⊙ v: the mean pᵀv is not subtracted", lambda p, v, axis=-1: p * v),
    Suspect(
        "plain-mean",
        "the plain mean of v is subtracted: weight it by p",
        lambda p, v, axis=-1: p * (v - v.mean(axis=axis, keepdims=True)),
    ),
    Suspect(
        "sum-not-dot",
        "the sum of v is subtracted: weight it by p",
        lambda p, v, axis=-1: p * (v - v.sum(axis=axis, keepdims=True)),
    ),
    Suspect(
        "global-dot",
        "pᵀv is summed over the whole batch: give the sum axis=-1, keepdims=True",
        lambda p, v, axis=-1: p * (v - (p * v).sum()) if p.ndim > 1 else None,
    ),
    Suspect(
        "wrong-axis",
        "pᵀv is summed along the wrong axis",
        lambda p, v, axis=-1: (
            None if other_axis(p, axis) is None else p * (v - _dot(p, v, other_axis(p, axis)))
        ),
    ),
    Suspect(
        "axis-ignored",
        "the argument axis is ignored: the last axis is always taken",
        lambda p, v, axis=-1: p * (v - _dot(p, v)) if axis not in (-1, p.ndim - 1) else None,
    ),
    Suspect("no-p", "v − pᵀv: the factor p is missing", lambda p, v, axis=-1: v - _dot(p, v, axis)),
    Suspect(
        "sign",
        "the sign is turned round: v − pᵀv, not pᵀv − v",
        lambda p, v, axis=-1: p * (_dot(p, v, axis) - v),
    ),
    Suspect(
        "plus",
        "p ⊙ (v + pᵀv): the mean is subtracted, not added",
        lambda p, v, axis=-1: p * (v + _dot(p, v, axis)),
    ),
    Suspect(
        "jacobian-diagonal",
        "p (1 − p) v: only the diagonal of the Jacobian is used",
        lambda p, v, axis=-1: p * (1 - p) * v,
    ),
    Suspect(
        "scores",
        "softmax is applied again: p holds probabilities, not scores",
        lambda p, v, axis=-1: softmax(p, axis) * (v - _dot(softmax(p, axis), v, axis)),
    ),
    Suspect(
        "outer-only",
        "p (pᵀv) alone: subtract it from p ⊙ v",
        lambda p, v, axis=-1: p * _dot(p, v, axis),
    ),
    Suspect(
        "swapped",
        "the arguments are swapped: p comes first",
        lambda p, v, axis=-1: v * (p - _dot(p, v, axis)),
    ),
    Suspect(
        "cancellation",
        "v − pᵀv cancels: measure v from its mean a second time, for J maps constants to 0",
        lambda p, v, axis=-1: p * (v - _dot(p, v, axis)),
    ),
    Suspect(
        "cancellation",
        "p ⊙ v − p pᵀv cancels: subtract the mean before multiplying by p",
        lambda p, v, axis=-1: p * v - p * _dot(p, v, axis),
    ),
]
