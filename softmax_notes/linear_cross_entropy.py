r"""Cross-entropy of a linear layer, without ever holding the N × n table of its logits.

With a row x of X, the row :math:`w_c` of W that belongs to class c, and the amounts of target
:math:`a_c` of the chapter ``cross_entropy``,

.. math:: z_c = x \cdot w_c + b_c, \qquad
   L = \sum_c a_c \, (\operatorname{logsumexp}(z) - z_c), \qquad
   \frac{\partial L}{\partial z_c} = \Bigl(\sum_k a_k\Bigr) p_c - a_c .

The table is made tile by tile in one small buffer. The forward pass keeps one number for each
row, its logsumexp. The backward pass makes each tile again: one more matrix product is cheaper
than a table that is larger than any cache.

This module is for PyTorch alone. It writes into its buffer in place; the formulas are those of
the chapter.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from softmax_notes._extras import needs

with needs("torch"):
    import torch
    from torch import Tensor

from softmax_notes._arrays import whole
from softmax_notes._losses import check_ignored, check_one_a_class, check_options

__all__ = ["linear_cross_entropy"]

# Entries of a tile: 8 MB of float32, which stays in the caches that the cores share. Where
# the processor is not the device, 16 MB: 0.8 % of the logits at N = 4096, n = 128 Ki.
_TILE, _TILE_ELSEWHERE = 1 << 21, 1 << 22
_MOST_ROWS = 4096
_LOG2_E, _LN_2 = math.log2(math.e), math.log(2)


def linear_cross_entropy(
    X: Tensor,
    W: Tensor,
    target: Tensor,
    /,
    *,
    bias: Tensor | None = None,
    weight: Tensor | None = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    tile: int | None = None,
) -> Tensor:
    r"""Cross-entropy of softmax(X Wᵀ + bias), in memory that does not grow with N × n.

    The same numbers as ``torch.nn.functional.cross_entropy`` of
    ``torch.nn.functional.linear(X, W, bias)``, and gradients in X, W and bias.

    Parameters
    ----------
    X : Tensor of shape (..., D)
        Rows of features: float16, bfloat16, float32 or float64.
    W : Tensor of shape (n, D)
        One row for each class, in the dtype of X.
    target : Tensor of integers, shape (...)
        Classes from 0 to n - 1, one for each row of X.
    bias : Tensor of shape (n,), optional
        A number added to each class's logit, in the dtype of X.
    weight : Tensor of shape (n,), optional
        A finite, non-negative factor for each class. It gets no gradient.
    ignore_index : int, optional
        Rows with this target add nothing to the loss, and are not computed.
    label_smoothing : float in [0, 1], default 0
        Share ε of each target that is spread evenly, ε/n to each of all n classes.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides the sum by the total weight of the targets that are not ignored.
        "none" gives each row's loss, 0 for ignored rows.
    tile : int, optional
        Logits that exist at a time. Default: 2²¹ on a CPU, 2²² elsewhere.

    Returns
    -------
    Tensor
        The loss in the dtype of X: one number, or for "none" of the shape of target. A "mean"
        over no targets is NaN, as in PyTorch.

    Raises
    ------
    TypeError
        If X, W, target or bias is no tensor, or of a dtype that does not fit.
    ValueError
        If a shape, target, weight, label_smoothing, reduction or tile is out of its range.
    RuntimeError
        If a gradient of the gradient is asked for.

    Notes
    -----
    16-bit inputs are multiplied and added up in float32 and rounded once, gradients too.
    Beyond inputs and gradients the memory is one tile, a few numbers for each row and, for
    16-bit inputs, float32 copies of X and its gradient. See the chapter ``vocabulary``, claim
    ``prop-chunked``. Targets that are probabilities are as large as the logits themselves:
    for those use `cross_entropy`.

    Examples
    --------
    >>> import torch
    >>> from softmax_notes.linear_cross_entropy import linear_cross_entropy
    >>> X, W = torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 0.0], [1.0, 0.0], [0.0, 5.0]])
    >>> round(float(linear_cross_entropy(X, W, torch.tensor([0]))), 4)
    0.4076
    """
    n = _check(X, W, target, bias, weight, label_smoothing, reduction, tile)
    X, target, shape = X.reshape(-1, X.shape[-1]), target.reshape(-1).long(), target.shape
    check_ignored(ignore_index, soft=False)
    kept = None if ignore_index is None else target != ignore_index
    if kept is not None:  # whatever an ignored row holds, it reaches nothing
        X, target = X[kept], target[kept]
    wrong = (target < 0) | (target >= n)
    if wrong.any():
        raise ValueError(f"target must be from 0 to {n - 1}, got {int(target[wrong][0])}")
    working = torch.promote_types(X.dtype, torch.float32)
    class_weight = None if weight is None else weight.detach().to(working)
    limit = tile or (_TILE if X.device.type == "cpu" else _TILE_ELSEWHERE)
    options = (target, class_weight, float(label_smoothing), limit)
    loss: Tensor = _LinearCrossEntropy.apply(X, W, bias, *options)  # type: ignore[no-untyped-call]
    if reduction == "none":
        if kept is not None:
            loss = loss.new_zeros(kept.shape).masked_scatter(kept, loss)
        return loss.reshape(shape).to(X.dtype)
    loss = loss.sum()
    if reduction == "mean":
        loss = loss / (len(target) if class_weight is None else class_weight[target].sum())
    return loss.to(X.dtype)


def _check(
    X: Tensor,
    W: Tensor,
    target: Tensor,
    bias: Tensor | None,
    weight: Tensor | None,
    label_smoothing: float,
    reduction: str,
    tile: int | None,
) -> int:
    """Check everything but the targets' values; give the number of classes."""
    given = {"X": X, "W": W, "target": target, "bias": bias, "weight": weight}
    for name, value in given.items():
        if not (isinstance(value, Tensor) or (value is None and name in ("bias", "weight"))):
            raise TypeError(f"{name} must be a torch.Tensor, got {type(value).__name__}")
        if value is not None and value.is_nested:  # it has no shape
            raise TypeError(f"{name} must be a dense tensor, got one that is nested")
    if not X.is_floating_point() or any(t.dtype != X.dtype for t in (W, bias) if t is not None):
        dtypes = ", ".join(str(t.dtype) for t in (X, W, bias) if t is not None)
        raise TypeError(f"X, W and bias must have one real floating dtype, got {dtypes}")
    if target.is_floating_point() or target.is_complex() or target.dtype == torch.bool:
        raise TypeError(
            f"target must hold class indices, got dtype {target.dtype}; probabilities are as "
            "large as the logits, use softmax_notes.cross_entropy for those"
        )
    if W.ndim != 2 or X.ndim < 1 or X.shape[-1] != W.shape[1] or X.shape[:-1] != target.shape:
        raise ValueError(
            "X, W and target must have the shapes (..., D), (n, D) and (...), got "
            f"{tuple(X.shape)}, {tuple(W.shape)} and {tuple(target.shape)}"
        )
    for name, vector in (("bias", bias), ("weight", weight)):
        if vector is not None:
            check_one_a_class(name, vector.shape, len(W))
    if weight is not None and not ((weight >= 0) & (weight < math.inf)).all():
        raise ValueError("weight must hold finite numbers from 0 on")
    check_options(label_smoothing, reduction)
    if tile is not None and whole(tile, "tile") < 1:
        raise ValueError(f"tile must be a positive number of logits, got {tile}")
    return len(W)


class _Tile(NamedTuple):
    """Logits of some rows and some classes."""

    rows: slice
    z: Tensor  # (rows, classes): the logits in bits, in a buffer that all tiles share
    column: Tensor  # (rows, 1): where the target would stand in this tile, clamped into it
    here: Tensor  # (rows, 1): whether it stands there


class _Block(NamedTuple):
    """Some classes: their rows of W in the working dtype, and the tiles of their logits."""

    classes: slice
    W: Tensor
    tiles: Iterator[_Tile]


def _spans(length: int, size: int) -> Iterator[slice]:
    return (slice(i, min(i + size, length)) for i in range(0, length, size))


def _blocks(
    X: Tensor, W: Tensor, bias: Tensor | None, target: Tensor, limit: int
) -> Iterator[_Block]:
    """Cut the table of logits into tiles; each overwrites the one before.

    The logits are in bits, log2(e) times what they are, since libraries compute 2ˣ faster than
    eˣ.
    """
    height = max(1, min(len(X), _MOST_ROWS, limit))
    width = max(1, min(len(W), limit // height))
    buffer = X.new_empty(height * width)

    def tiles(scaled: Tensor, scaled_bias: Tensor | None, first: int) -> Iterator[_Tile]:
        for rows in _spans(len(X), height):
            z = buffer[: (rows.stop - rows.start) * len(scaled)].view(-1, len(scaled))
            torch.mm(X[rows], scaled.T, out=z)
            if scaled_bias is not None:
                z.add_(scaled_bias)
            column = target[rows, None] - first
            here = (column >= 0) & (column < len(scaled))
            yield _Tile(rows, z, column.clamp_(0, len(scaled) - 1), here)

    for classes in _spans(len(W), width):
        block = W[classes].to(X.dtype)
        scaled_bias = None if bias is None else bias[classes].to(X.dtype) * _LOG2_E
        yield _Block(classes, block, tiles(block * _LOG2_E, scaled_bias, classes.start))


class _LinearCrossEntropy(torch.autograd.Function):
    """The loss of each row, in the working dtype; all targets are valid."""

    @staticmethod
    def forward(
        ctx: Any,
        X: Tensor,
        W: Tensor,
        bias: Tensor | None,
        target: Tensor,
        weight: Tensor | None,
        smoothing: float,
        limit: int,
    ) -> Tensor:
        x = X.to(torch.promote_types(X.dtype, torch.float32))
        # The amount of target: each class has its share, and the target class more of its own.
        share = x.new_full((len(W),), smoothing / max(len(W), 1))
        own = x.new_full((len(x), 1), 1 - smoothing)
        if weight is not None:
            share, own = share * weight, own * weight[target, None]
        top = x.new_full((len(x), 1), -math.inf)  # largest logit so far
        hit = torch.zeros_like(top)  # the target's
        total = torch.zeros_like(top, dtype=torch.float64)  # sum of 2^(z - top) so far
        spread = torch.zeros_like(total)  # sum of share times logit so far
        for block in _blocks(x, W, bias, target, limit):
            for rows, z, column, here in block.tiles:
                hit[rows] = torch.where(here, z.gather(1, column), hit[rows])
                if smoothing:
                    part = share[block.classes]
                    spread[rows] += torch.where(part == 0, 0.0, z) @ part[:, None]
                higher = torch.maximum(top[rows], z.amax(1, keepdim=True))
                base = torch.where(higher == -math.inf, 0.0, higher)
                terms = z.sub_(base).exp2_()
                total[rows] *= (top[rows] - base).exp2_()
                total[rows] += terms.sum(1, keepdim=True)
                top[rows] = higher
        log_total = top + total.log2_()
        lost = torch.where((own == 0) & (hit == -math.inf), 0.0, log_total - hit)
        loss = own * lost
        if smoothing:
            loss = loss + (share.sum() * log_total - spread)
        ctx.save_for_backward(X, W, bias, target, log_total.to(x.dtype), own, share)
        ctx.smoothing, ctx.limit = smoothing, limit
        return (loss[:, 0] * _LN_2).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        """Make each tile of logits again, turn it into (Σa) p − a, and multiply it out."""
        if torch.is_grad_enabled():  # what follows is done in place and leaves no graph
            raise RuntimeError(
                "linear_cross_entropy has no second derivative: no create_graph=True"
            )
        X, W, bias, target, log_total, own, share = ctx.saved_tensors
        want_X, want_W, want_bias = ctx.needs_input_grad[:3]
        x, g = X.to(log_total.dtype), g[:, None]
        own, amount = g * own, g * (own + share.sum())
        dX, dW = torch.zeros_like(x), torch.empty_like(W) if want_W else None
        dbias = torch.empty_like(bias) if want_bias else None
        for block in _blocks(x, W, bias, target, ctx.limit):
            dblock, dpart = torch.zeros_like(block.W), block.W.new_zeros(len(block.W))
            for rows, z, column, here in block.tiles:
                z.sub_(log_total[rows]).exp2_().mul_(amount[rows])
                z.scatter_add_(1, column, -own[rows] * here)
                if ctx.smoothing:
                    z.addr_(g[rows, 0], share[block.classes], alpha=-1)
                if want_X:
                    dX[rows].addmm_(z, block.W)
                if want_W:
                    dblock.addmm_(z.T, x[rows])
                if want_bias:
                    dpart.add_(z.sum(0))
            if dW is not None:
                dW[block.classes] = dblock
            if dbias is not None:
                dbias[block.classes] = dpart
        return (dX.to(X.dtype) if want_X else None, dW, dbias, None, None, None, None)
