"""A module for PyTorch whose backward pass is done before it is asked for."""

from __future__ import annotations

from typing import Any

import torch

from softmax_notes._fast.entropy import Options, evaluate
from softmax_notes._losses import check_ignored, check_options


class CrossEntropyLoss(torch.nn.Module):
    r"""Cross-entropy of softmax, as ``torch.nn.CrossEntropyLoss``, on the CPU.

    The forward pass computes the gradient too, while it has the logits at hand; the backward
    pass multiplies it by what comes from above, which is nearly always 1.

    Parameters
    ----------
    weight : tensor of shape (n,), optional
        A factor for each class.
    ignore_index : int, default -100
        Targets equal to it add nothing to the loss.
    reduction : {"mean", "sum", "none"}, default "mean"
        What becomes of the losses of a batch.
    label_smoothing : float in [0, 1], default 0
        Share of each target that is spread evenly over all classes.

    Raises
    ------
    TypeError
        If logits are not on the CPU, or a gradient by the target or the weight is wanted.
    ValueError
        If an argument is out of its range.

    Notes
    -----
    Logits have the classes along axis 1, or alone, as in PyTorch; a target is class indices or
    probabilities. It can be differentiated once: a second derivative is a RuntimeError, and
    ``softmax_notes.cross_entropy`` has it.

    Examples
    --------
    >>> import torch
    >>> from softmax_notes import fast
    >>> logits = torch.tensor([[2.0, 1.0, 0.0]], requires_grad=True)
    >>> loss = fast.CrossEntropyLoss()(logits, torch.tensor([0]))
    >>> loss.backward()
    >>> logits.grad.numpy().round(4)
    array([[-0.3348,  0.2447,  0.09  ]], dtype=float32)
    """

    weight: torch.Tensor | None

    def __init__(
        self,
        weight: torch.Tensor | None = None,
        *,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        check_options(label_smoothing, reduction)
        check_ignored(ignore_index, soft=False)
        _check_tensors(weight=weight)
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index
        self.reduction = reduction
        self.label_smoothing = label_smoothing

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Give the loss.

        Parameters
        ----------
        logits : tensor of shape (n,), (N, n) or (N, n, ...)
            Scores.
        target : tensor
            Class indices, of the shape of logits without the axis of classes, or probabilities,
            of the shape of logits.

        Returns
        -------
        tensor
            A single number, or for "none" one for each target.
        """
        _check_tensors(logits=logits, target=target)
        for name, value in (("target", target), ("weight", self.weight)):
            if value is not None and value.requires_grad:
                raise TypeError(f"there is no gradient by the {name}; pass {name}.detach()")
        loss: torch.Tensor = _Fused.apply(logits, target, self)  # type: ignore[no-untyped-call]
        return loss

    def extra_repr(self) -> str:
        """Describe the options, as PyTorch prints a module."""
        return (
            f"reduction={self.reduction!r}, ignore_index={self.ignore_index}, "
            f"label_smoothing={self.label_smoothing}"
        )


def _check_tensors(**given: Any) -> None:
    for name, value in given.items():
        if not isinstance(value, torch.Tensor) and (name != "weight" or value is not None):
            raise TypeError(f"{name} must be a torch.Tensor, got {type(value).__name__}")


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, target: torch.Tensor, of: CrossEntropyLoss) -> Any:
        axis = 0 if logits.ndim == 1 else 1
        ignore = None if target.is_floating_point() else of.ignore_index
        options = Options(axis, of.weight, ignore, of.label_smoothing, of.reduction)
        loss, grad = evaluate(logits.detach(), target, options, want=ctx.needs_input_grad[0])
        ctx.axis = axis if of.reduction == "none" else None
        ctx.save_for_backward(logits, grad)
        return loss

    @staticmethod
    def backward(ctx: Any, above: torch.Tensor) -> Any:
        return _Once.apply(above, *ctx.saved_tensors, ctx.axis), None, None  # type: ignore[no-untyped-call]


class _Once(torch.autograd.Function):
    """The product of the gradient and what comes from above: a function of the logits too."""

    @staticmethod
    def forward(
        ctx: Any, above: torch.Tensor, logits: torch.Tensor, grad: torch.Tensor, axis: int | None
    ) -> torch.Tensor:
        if axis is not None:
            return grad * above.unsqueeze(axis)
        return grad.view_as(grad) if above == 1 else grad * above

    @staticmethod
    def backward(ctx: Any, above: torch.Tensor) -> Any:
        raise RuntimeError(
            "fast.CrossEntropyLoss has no second derivative; softmax_notes.cross_entropy has"
        )
