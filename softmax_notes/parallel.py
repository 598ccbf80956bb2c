"""Softmax and cross-entropy with the classes spread over several processes.

Each process, or rank, holds a shard of the logits: all rows, and some of the classes, in the order
of the ranks. Shards may differ in width. No rank ever sees another's logits: they exchange one
maximum for each row and a few sums, whatever the number of classes. Every rank calls the same
function with the same arguments but for its shard, and gets the same loss; so it is in the backward
pass, which must begin on every rank too, from the same loss.

    torchrun --nproc-per-node 4 -m softmax_notes.parallel

starts four processes that compare what is here with PyTorch on one process, and with PyTorch's own
``loss_parallel``.

Needs PyTorch: ``pip install 'softmax-notes[torch]'``.
"""

from __future__ import annotations

import argparse
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple

from softmax_notes._arrays import normalized_axes, whole
from softmax_notes._extras import needs
from softmax_notes._losses import check_ignored, check_one_a_class, check_options
from softmax_notes.streaming import (
    Loss,
    State,
    _decay,
    _raised,
    _state,
    log_softmax_of,
    log_total,
    loss,
    softmax_of,
    summarize,
    summarize_loss,
)

with needs("torch"):
    import torch
    import torch.distributed as dist
    from torch import Tensor
    from torch.autograd.function import once_differentiable

__all__ = [
    "bytes_sent",
    "cross_entropy",
    "log_softmax",
    "logsumexp",
    "main",
    "processes",
    "softmax",
]


@contextmanager
def processes(*, timeout: float = 60.0) -> Iterator[torch.device]:
    """Join the processes that ``torchrun`` started, with NCCL on GPUs and Gloo elsewhere.

    Parameters
    ----------
    timeout : float, default 60
        Seconds that a rank waits for the others before it gives up with an error.

    Yields
    ------
    torch.device
        Where this rank's tensors belong.

    Raises
    ------
    RuntimeError
        If the process was not started by ``torchrun``.

    Examples
    --------
    >>> from softmax_notes import parallel
    >>> with parallel.processes():  # doctest: +SKIP
    ...     p = parallel.softmax(my_shard)
    """
    if "RANK" not in os.environ:
        raise RuntimeError(
            "start the processes with torchrun: torchrun --nproc-per-node 4 -m your_module"
        )
    cuda = torch.cuda.is_available()
    place = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(place)
    dist.init_process_group("nccl" if cuda else "gloo", timeout=timedelta(seconds=timeout))
    try:
        yield place
    finally:
        dist.destroy_process_group()


def softmax(logits: Tensor, /, *, axis: int = -1, group: Any = None) -> Tensor:
    """Softmax over classes that are spread over the ranks.

    Parameters
    ----------
    logits : torch.Tensor
        This rank's shard: its classes along ``axis``, possibly none; dtypes as in
        `softmax_notes.softmax`.
    axis : int, default -1
        The axis of the classes.
    group : torch.distributed.ProcessGroup, optional
        The processes that hold the shards; default: all.

    Returns
    -------
    torch.Tensor
        This rank's probabilities, of the shape of logits: over all ranks they sum to 1.
        Differentiable once; the edges are those of `softmax_notes.softmax`.

    Raises
    ------
    ValueError
        On every rank, if the arguments of any are wrong or do not match those of the others.
    RuntimeError
        If a rank has died or does not answer before the timeout of `processes`, or outside of
        those.

    Notes
    -----
    For N rows a rank gives 3 N numbers to collective sums and maxima, and N in the backward
    pass. See the chapter ``streaming``, claim ``thm-monoid``.

    Examples
    --------
    >>> from softmax_notes import parallel
    >>> p = parallel.softmax(my_shard)  # doctest: +SKIP
    """
    x, _ = _agreed("softmax", logits, axis, group)
    p: Tensor = _Softmax.apply(x, group)  # type: ignore[no-untyped-call]
    return p.movedim(-1, axis)


def log_softmax(logits: Tensor, /, *, axis: int = -1, group: Any = None) -> Tensor:
    """Logarithm of softmax over classes that are spread over the ranks.

    Parameters
    ----------
    logits, axis, group
        As in `softmax`.

    Returns
    -------
    torch.Tensor
        This rank's log-probabilities, of the shape of logits. Differentiable once.

    Raises
    ------
    ValueError, RuntimeError
        As in `softmax`.

    Examples
    --------
    >>> from softmax_notes import parallel
    >>> log_p = parallel.log_softmax(my_shard)  # doctest: +SKIP
    """
    x, _ = _agreed("log_softmax", logits, axis, group)
    log_p: Tensor = _LogSoftmax.apply(x, group)  # type: ignore[no-untyped-call]
    return log_p.movedim(-1, axis)


def logsumexp(
    logits: Tensor, /, *, axis: int = -1, keepdims: bool = False, group: Any = None
) -> Tensor:
    """Logarithm of the sum of exponentials over classes that are spread over the ranks.

    Parameters
    ----------
    logits, axis, group
        As in `softmax`.
    keepdims : bool, default False
        Keep the axis of classes with length 1.

    Returns
    -------
    torch.Tensor
        The logarithms, the same on every rank. Differentiable once.

    Raises
    ------
    ValueError, RuntimeError
        As in `softmax`.

    Examples
    --------
    >>> from softmax_notes import parallel
    >>> totals = parallel.logsumexp(my_shard)  # doctest: +SKIP
    """
    x, _ = _agreed("logsumexp", logits, axis, group)
    total: Tensor = _LogSumExp.apply(x, group)  # type: ignore[no-untyped-call]
    return total.unsqueeze(axis) if keepdims else total


def cross_entropy(
    logits: Tensor,
    target: Tensor,
    /,
    *,
    axis: int = -1,
    weight: Tensor | None = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    group: Any = None,
) -> Tensor:
    """Cross-entropy of logits whose classes are spread over the ranks.

    Parameters
    ----------
    logits : torch.Tensor
        This rank's shard, as in `softmax`.
    target : torch.Tensor
        Class indices counted over all ranks, of the shape of logits without ``axis``, the same on
        every rank; or the probabilities of this rank's classes, of the shape of logits.
    axis, group
        As in `softmax`.
    weight : torch.Tensor, optional
        A finite, non-negative factor for each of this rank's classes.
    ignore_index, label_smoothing, reduction
        As in `softmax_notes.cross_entropy`.

    Returns
    -------
    torch.Tensor
        The loss, the same on every rank. Its gradient with respect to this rank's logits needs
        no further exchange.

    Raises
    ------
    ValueError, RuntimeError
        As in `softmax`.

    Notes
    -----
    For N rows a rank gives 5 N + 1 numbers to collective sums and maxima: see `bytes_sent`
    and the chapter ``streaming``, claims ``prop-loss-monoid`` and ``prop-bytes``.

    Examples
    --------
    >>> from softmax_notes import parallel
    >>> loss = parallel.cross_entropy(my_shard, target)  # doctest: +SKIP
    >>> loss.backward()  # doctest: +SKIP
    """
    options = (ignore_index, label_smoothing, reduction, weight is not None)
    x, place = _agreed(
        "cross_entropy", logits, axis, group, target=target, weight=weight, options=options
    )
    y, kept = _shares(x, target, axis, ignore_index, place)
    factor = torch.ones(x.shape[-1:], device=x.device) if weight is None else weight
    losses: Tensor
    losses, share = _CrossEntropy.apply(  # type: ignore[no-untyped-call]
        x, y, kept, factor, label_smoothing, place.total, group
    )
    if reduction == "sum":
        losses = losses.sum()
    if reduction == "mean":
        # PyTorch's convention: the weight of the targets themselves, for probabilities no weight.
        losses = losses.sum() / (kept.sum() if target.is_floating_point() else share.sum())
    return losses.to(x.dtype)


def bytes_sent(rows: int, ranks: int, itemsize: int = 4) -> int:
    """Give what one rank sends for `cross_entropy` and its gradient, whatever the classes.

    Parameters
    ----------
    rows : int
        N, the number of rows.
    ranks : int
        P, the number of processes.
    itemsize : int, default 4
        Bytes of a number: 4 in float32.

    Returns
    -------
    int
        Bytes of the 5 N + 1 numbers that are reduced over a ring of P ranks, where each is sent
        2 (P - 1) / P times by each rank; and of the 24 bytes with which the ranks agree. Headers
        of the network are not counted.

    Notes
    -----
    See the chapter ``streaming``, claim ``prop-bytes``.

    Examples
    --------
    >>> from softmax_notes import parallel
    >>> parallel.bytes_sent(rows=1024, ranks=4)
    30798
    """
    for name, value in (("rows", rows), ("ranks", ranks), ("itemsize", itemsize)):
        if whole(value, name) < (0 if name == "rows" else 1):
            raise ValueError(f"{name} must be a positive whole number, got {value}")
    return round(2 * (ranks - 1) / ranks * (5 * rows + 1) * itemsize) + 24 * (ranks - 1)


class _Softmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Any) -> Tensor:
        p: Tensor = softmax_of(x, _merged(summarize(x), group)[0])
        ctx.save_for_backward(p)
        ctx.group = group
        return p

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (p,) = ctx.saved_tensors
        dot = (_wide(p) * _wide(grad)).sum(-1, keepdim=True)
        (dot,) = _reduced([dot], dist.ReduceOp.SUM, ctx.group)
        return (p * (grad - dot)).to(p.dtype), None


class _LogSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Any) -> Tensor:
        log_p: Tensor = log_softmax_of(x, _merged(summarize(x), group)[0])
        ctx.save_for_backward(log_p)
        ctx.group = group
        return log_p

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (log_p,) = ctx.saved_tensors
        total = _wide(grad).sum(-1, keepdim=True)
        (total,) = _reduced([total], dist.ReduceOp.SUM, ctx.group)
        return (grad - torch.exp(log_p) * total).to(log_p.dtype), None


class _LogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Any) -> Tensor:
        state, _ = _merged(summarize(x), group)
        ctx.save_for_backward(x, *state[:2])
        total: Tensor = log_total(state).to(x.dtype)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        x, maximum, rest = ctx.saved_tensors
        # 0 and not NaN where the maximum is no number.
        usable = torch.isfinite(maximum)[..., None]
        p = torch.where(usable, softmax_of(x, State(maximum, rest)), 0.0)
        return p * grad[..., None], None


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        y: Tensor,
        kept: Tensor,
        factor: Tensor,
        smoothing: float,
        n: int,
        group: Any,
    ) -> tuple[Tensor, Tensor]:
        wide = torch.where(kept[..., None], _wide(x), 0.0)
        factor = factor.to(wide.dtype)
        y = torch.where(kept[..., None], y.to(wide.dtype) * factor, 0.0)
        evenly = smoothing / n * kept[..., None].to(wide.dtype)
        amount = (1 - smoothing) * y + evenly * factor
        local = summarize_loss(wide, amount)
        state, (gap, share, weights) = _merged(
            local.state, group, lambda m: [_raised(torch, local, m), y.sum(-1), factor.sum()]
        )
        total = (1 - smoothing) * share + evenly[..., 0] * weights
        ctx.save_for_backward(wide, amount, total, *state[:2])
        ctx.dtype = x.dtype
        ctx.mark_non_differentiable(share)
        losses: Tensor = loss(Loss(state, total, gap))
        return losses, share

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Any) -> tuple[Tensor | None, ...]:
        x, amount, total, maximum, rest = ctx.saved_tensors
        state = State(maximum, rest)
        # (sum a) p − a, written so that nothing cancels where all of the target is in one class.
        slope = amount * torch.expm1(log_softmax_of(x, state))
        slope = slope + (total[..., None] - amount) * softmax_of(x, state)
        slope = torch.where(total[..., None] == 0, 0.0, slope * grad[..., None])
        return (slope.to(ctx.dtype), *[None] * 6)


def _wide(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


# --- what the ranks tell each other


def _merged(
    local: State, group: Any, more: Callable[[Tensor], list[Tensor]] = lambda maximum: []
) -> tuple[State, list[Tensor]]:
    """Merge the states of all ranks: a maximum, then sums of what is scaled by it, and of more."""
    nan = torch.isnan(local.maximum)
    # Collectives differ in what the maximum of NaN is: NaN goes with the sums.
    (maximum,) = _reduced([torch.where(nan, torch.inf, local.maximum)], dist.ReduceOp.MAX, group)
    leads = local.maximum == maximum
    factor = _decay(torch, local.maximum, maximum)
    # The terms 1 of the ranks that lead are counted apart, which costs no digits.
    terms = local.rest * factor + torch.where(leads, 0.0, factor)
    terms = torch.where(torch.isfinite(maximum), terms, torch.where(nan, torch.nan, 0.0))
    sums = [terms, leads.to(terms.dtype), *more(maximum)]
    terms, count, *others = _reduced(sums, dist.ReduceOp.SUM, group)
    maximum = torch.where(torch.isnan(terms), torch.nan, maximum)
    return _state(torch, maximum, terms + (count - 1), None), others


def _reduced(parts: list[Tensor], operation: Any, group: Any) -> list[Tensor]:
    """Sum, or take the maximum of, several tensors over all ranks in one exchange."""
    flat = torch.cat([part.reshape(-1) for part in parts])
    _exchanged(lambda: dist.all_reduce(flat, operation, group), "the exchange of sums", group)
    pieces = flat.split([part.numel() for part in parts])
    return [piece.reshape(part.shape) for piece, part in zip(pieces, parts, strict=True)]


def _exchanged(exchange: Callable[[], Any], what: str, group: Any) -> None:
    try:
        exchange()
    except RuntimeError as error:
        cause = str(error).splitlines()[0]
        raise RuntimeError(
            f"rank {dist.get_rank(group)} of {dist.get_world_size(group)}: {what} failed, "
            f"because another rank has died or did not answer in time: {cause}"
        ) from error


class _Place(NamedTuple):
    """Which classes a rank holds: from start on, of total."""

    start: int
    total: int


def _agreed(
    name: str,
    logits: Tensor,
    axis: int,
    group: Any,
    target: Tensor | None = None,
    weight: Tensor | None = None,
    options: tuple[Any, ...] = (),
) -> tuple[Tensor, _Place]:
    """Bring the classes last, and make sure that all ranks will do the same, or none.

    A rank that raised alone would leave the others waiting for it. So each rank tells whether it
    has a problem, how many classes it holds, and a checksum of what has to be the same.
    """
    if not dist.is_initialized():
        raise RuntimeError("no process group: call this within `with parallel.processes():`")
    if not isinstance(group, dist.ProcessGroup | None):  # whom else would it tell?
        raise TypeError(f"group must be a ProcessGroup, got {type(group).__name__}")
    call, problem, x = "", "", logits
    try:
        x = _checked(logits, axis, target, weight, options)
        call = (
            f"{name}{options} of {tuple(x.shape[:-1])} rows of {x.dtype}, "
            f"{'with' if x.requires_grad else 'without'} gradient, target {_checksum(target)}"
        )
    except (TypeError, ValueError, IndexError) as error:
        problem = f"{type(error).__name__}: {error}"
    place = torch.device("cpu") if not isinstance(logits, Tensor) else logits.device
    width = 0 if problem else x.shape[-1]
    mine = torch.tensor([bool(problem), width, zlib.crc32(call.encode())], device=place)
    said = [torch.empty_like(mine) for _ in range(dist.get_world_size(group))]
    _exchanged(lambda: dist.all_gather(said, mine, group), "agreeing on the arguments", group)
    failed, widths, calls = torch.stack(said).T.tolist()
    if any(failed) or len(set(calls)) > 1:
        words = [""] * len(said)
        _exchanged(
            lambda: dist.all_gather_object(words, problem or call, group),
            "telling each other what is wrong",
            group,
        )
        reports = "; ".join(
            f"rank {rank}: {word}"
            for rank, word in enumerate(words)
            if failed[rank] or not any(failed)
        )
        raise ValueError(
            f"wrong arguments on some ranks: {reports}"
            if any(failed)
            else f"the ranks do not agree on what to compute: {reports}"
        )
    total = sum(widths)
    if target is not None and not target.is_floating_point():
        outside = ((target < 0) | (target >= total)) & (target != options[0])
        if outside.any():  # on all ranks, since they hold the same target
            raise ValueError(f"target must be from 0 to {total - 1}, got {target[outside][0]}")
    return x, _Place(sum(widths[: dist.get_rank(group)]), total)


def _checked(
    logits: Tensor,
    axis: int,
    target: Tensor | None,
    weight: Tensor | None,
    options: tuple[Any, ...],
) -> Tensor:
    """Check this rank's own arguments, and bring the classes last."""
    for name, given in (("logits", logits), ("target", target), ("weight", weight)):
        if given is not None and (not isinstance(given, Tensor) or given.is_complex()):
            kind = given.dtype if isinstance(given, Tensor) else type(given).__name__
            raise TypeError(f"{name} must be a torch.Tensor of real numbers, got {kind}")
    x = logits if logits.is_floating_point() else logits.to(torch.get_default_dtype())
    (axis,) = normalized_axes(torch, x, (axis,))
    x = x.movedim(axis, -1)
    if target is None:
        return x
    ignore_index, smoothing, reduction, _ = options
    check_options(smoothing, reduction)
    soft = target.is_floating_point()
    check_ignored(ignore_index, soft)
    if target.shape != (logits.shape if soft else x.shape[:-1]):
        raise ValueError(
            f"target must hold class indices of shape {tuple(x.shape[:-1])} or probabilities of "
            f"shape {tuple(logits.shape)}, got shape {tuple(target.shape)} and {target.dtype}"
        )
    if soft and not ((target >= 0) & (target <= 1)).all():
        raise ValueError("target probabilities must be from 0 to 1")
    if weight is not None:
        check_one_a_class("weight", weight.shape, x.shape[-1], " of this rank")
        if not ((weight >= 0) & (weight < torch.inf)).all():
            raise ValueError("weight must hold finite numbers from 0 on")
    return x


def _checksum(target: Tensor | None) -> str:
    """Tell targets apart: class indices must be the same on all ranks."""
    if target is None or target.is_floating_point():
        return "none" if target is None else "probabilities"
    index = target.reshape(-1).long()
    odd = 2 * torch.arange(index.numel(), device=index.device) + 1
    return f"indices with checksum {int((index * odd * 2654435761).sum())}"


def _shares(
    x: Tensor, target: Tensor, axis: int, ignore_index: int | None, place: _Place
) -> tuple[Tensor, Tensor]:
    """Give each class's share of the target, and which rows are kept."""
    if target.is_floating_point():
        return target.movedim(axis, -1), torch.ones_like(x[..., :1].sum(-1), dtype=torch.bool)
    classes = torch.arange(place.start, place.start + x.shape[-1], device=x.device)
    kept = torch.ones_like(target, dtype=torch.bool)
    kept = kept if ignore_index is None else target != ignore_index
    return target[..., None] == classes, kept


# --- what `torchrun -m softmax_notes.parallel` does


def main() -> int:
    """Compare with PyTorch on one process, and with its loss_parallel, and print a table.

    Returns
    -------
    int
        The exit status: 0 if they agree, else 1.

    Examples
    --------
    >>> from softmax_notes import parallel
    >>> parallel.main()  # doctest: +SKIP
    """
    parser = argparse.ArgumentParser(description="Vocabulary-parallel cross-entropy, compared.")
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--classes", type=int, default=10_000)
    parser.add_argument("--timeout", type=float, default=60.0)
    options = parser.parse_args()
    with processes(timeout=options.timeout) as device:
        return int(not _agrees(options.rows, options.classes, device))


def _agrees(rows: int, classes: int, device: torch.device) -> bool:
    """Print a line of the table for each way to share the classes out; tell whether all agree."""
    ranks, rank = dist.get_world_size(), dist.get_rank()
    torch.manual_seed(0)  # the same logits on every rank; each then keeps its shard
    logits = 5 * torch.randn(rows, classes, device=device)
    target = torch.randint(classes, (rows,), device=device)
    expected, gradients = _with_gradient(torch.nn.functional.cross_entropy, logits.double(), target)
    if rank == 0:
        print(f"{ranks} processes ({dist.get_backend()}), {rows} rows, float32")
        print(f"{'':15}{'classes on each rank':28}{'loss':>11}{'error':>10}{'of gradient':>13}")
    good = True
    for name, widths in _widths(classes, ranks).items():
        start = sum(widths[:rank])
        shard = slice(start, start + widths[rank])
        if name == "loss_parallel":
            value, gradient = _loss_parallel(logits, target)
        else:
            value, gradient = _with_gradient(cross_entropy, logits[:, shard], target)
        lost = (gradient - gradients[:, shard]).abs().sum() / gradients.abs().sum()
        errors = torch.stack([(value - expected).abs() / expected, lost])
        dist.all_reduce(errors, dist.ReduceOp.MAX)
        good &= bool(errors.max() < 1e-5)
        if rank == 0:
            first, second = errors.tolist()
            print(f"{name:15}{widths!s:28}{value:11.6f}{first:10.1e}{second:13.1e}")
    if rank == 0:
        print("Equal to PyTorch on one process." if good else "NOT equal to PyTorch.")
    return good


def _widths(classes: int, ranks: int) -> dict[str, list[int]]:
    """How many classes each rank holds, in each line of the table."""
    even = [len(part) for part in torch.arange(classes).chunk(ranks)]  # as loss_parallel does
    even += [0] * (ranks - len(even))
    given = min(7, even[0])  # from the first rank to the last
    uneven = [even[0] - given, *even[1:-1], even[-1] + given] if ranks > 1 else even
    one_empty = [0, *even[1:-1], even[-1] + even[0]] if ranks > 1 else even
    return {"even": even, "uneven": uneven, "one empty": one_empty, "loss_parallel": even}


def _with_gradient(function: Any, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    x = logits.clone().requires_grad_()
    value = function(x, target)
    value.backward()
    assert x.grad is not None
    return value.detach(), x.grad


def _loss_parallel(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Value and this rank's gradient by PyTorch's own vocabulary-parallel cross-entropy."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor
    from torch.distributed.tensor.parallel import loss_parallel

    mesh = init_device_mesh(logits.device.type, (dist.get_world_size(),))
    x = distribute_tensor(logits, mesh, [Shard(1)]).requires_grad_()
    with loss_parallel():
        value: Any = torch.nn.functional.cross_entropy(x, target)
        value.backward()
    gradient: Any = x.grad
    return value.full_tensor().detach(), gradient.to_local()


if __name__ == "__main__":
    status = main()
    # PyTorch's device mesh keeps Gloo's threads beyond the end of the interpreter, where they
    # abort the process now and then; everything is done, so leave without that end.
    sys.stdout.flush()
    os._exit(status)
