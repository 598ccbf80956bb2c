"""Processes for the tests of `softmax_notes.parallel`: several ranks, what they find as JSON.

python -m tests.ranks checks:4    # every comparison, on 4 ranks
python -m tests.ranks dead:2      # the last rank dies
python -m tests.ranks silent:2    # the last rank lives and does not answer
"""

import itertools
import json
import multiprocessing
import os
import socket
import sys
import time

import torch
import torch.distributed as dist

from softmax_notes import parallel

F = torch.nn.functional
IGNORED = -100
N, V = 6, 13
INF, NAN = torch.inf, torch.nan
FOUND = multiprocessing.get_context("fork").Event()  # rank 0 has found out about the last


def shards_for(ranks):
    even = [len(part) for part in torch.arange(V).chunk(ranks)]
    even += [0] * (ranks - len(even))
    return {"even": even, "first empty": [0, V, *[0] * (ranks - 2)], "uneven": even[::-1]}


def mine(full, widths, dim=-1):
    start = sum(widths[: dist.get_rank()])
    return full.narrow(dim, start, widths[dist.get_rank()])


def largest(error):
    """Bring an error to all ranks: the largest of any."""
    error = torch.as_tensor(error, dtype=torch.float64).reshape(1)
    error = torch.where(torch.isnan(error), INF, error)
    dist.all_reduce(error, dist.ReduceOp.MAX)
    return error.item()


def distance(got, expected):
    if got.numel() == 0:
        return 0.0
    return (got.double() - expected.double()).abs().max()


def losses(widths):
    """Value and gradient of cross-entropy under every option, beside PyTorch on one process."""
    random = torch.Generator().manual_seed(1)
    hard = torch.randint(V, (N,), generator=random)
    some = torch.where(torch.arange(N) % 3 == 1, IGNORED, hard)
    soft = torch.rand(N, V, generator=random, dtype=torch.float64)
    soft = soft / soft.sum(-1, keepdim=True)
    weight = torch.rand(V, generator=random, dtype=torch.float64)
    logits = 5 * torch.randn(N, V, generator=random, dtype=torch.float64)
    found = []
    for kind, weighted, smoothing, reduction in itertools.product(
        ("hard", "ignored", "soft"), (False, True), (0.0, 0.3), ("mean", "sum", "none")
    ):
        target = {"hard": hard, "ignored": some, "soft": soft}[kind]
        shared = {"label_smoothing": smoothing, "reduction": reduction}
        ignored = {"ignore_index": IGNORED} if kind == "ignored" else {}
        x = mine(logits, widths).clone().requires_grad_()
        value = parallel.cross_entropy(
            x,
            mine(soft, widths) if kind == "soft" else target,
            weight=mine(weight, widths) if weighted else None,
            **ignored,
            **shared,
        )
        value.sum().backward()
        full = logits.clone().requires_grad_()
        expected = F.cross_entropy(full, target, weight if weighted else None, **ignored, **shared)
        expected.sum().backward()
        found.append(
            {
                "options": f"{kind} weighted={weighted} {smoothing} {reduction}",
                "value": largest(distance(value.detach(), expected.detach())),
                "gradient": largest(distance(x.grad, mine(full.grad, widths))),
            }
        )
    return found


def functions(widths):
    """Value and gradient of softmax and its kin, classes on the middle axis of three."""
    random = torch.Generator().manual_seed(2)
    logits = 5 * torch.randn(2, V, 3, generator=random, dtype=torch.float64)
    upstream = torch.randn(2, V, 3, generator=random, dtype=torch.float64)
    found = {}
    for name in ("softmax", "log_softmax", "logsumexp"):
        full, x = logits.clone().requires_grad_(), mine(logits, widths, 1).clone().requires_grad_()
        expected = getattr(torch, name)(full, dim=1)
        value = getattr(parallel, name)(x, axis=1)
        if name == "logsumexp":
            (expected * upstream[:, 0]).sum().backward()
            (value * upstream[:, 0]).sum().backward()
        else:
            (expected * upstream).sum().backward()
            (value * mine(upstream, widths, 1)).sum().backward()
            expected = mine(expected, widths, 1)
        same = value.shape == expected.shape
        found[name] = {
            "value": largest(distance(value, expected.detach()) if same else INF),
            "gradient": largest(distance(x.grad, mine(full.grad, widths, 1))),
        }
    kept = parallel.logsumexp(mine(logits, widths, 1), axis=1, keepdims=True)
    return {**found, "keepdims": list(kept.shape)}


EDGES = [
    [NAN, 0, 0, 0],
    [NAN, INF, 0, 0],
    [INF, INF, 0, -INF],
    [INF, 0, 0, 0],
    [-INF, -INF, -INF, -INF],
    [-INF, 0, -INF, 0],
    [0, 0, 0, 0],
    [3e38, -3e38, 3e38, 0],
]


def whole(shard, widths):
    """Put the shards of all ranks together."""
    parts = [torch.empty(len(shard), width, dtype=shard.dtype) for width in widths]
    for rank, part in enumerate(parts):
        if rank == dist.get_rank():
            part.copy_(shard)
        dist.broadcast(part, rank)
    return torch.cat(parts, dim=-1)


def edges():
    ranks = dist.get_world_size()
    widths = [len(part) for part in torch.arange(4).chunk(ranks)]
    x = torch.tensor(EDGES, dtype=torch.float32)
    shard = mine(x, widths).clone().requires_grad_()
    totals = parallel.logsumexp(shard)
    totals.nan_to_num(0, 0, 0).sum().backward()
    loss = parallel.cross_entropy(shard, torch.ones(len(x), dtype=torch.int64), reduction="none")
    far = torch.tensor([[18.0, 0.0, -INF, -INF]])
    return {
        "softmax": whole(parallel.softmax(shard.detach()), widths).tolist(),
        "log_softmax": whole(parallel.log_softmax(shard.detach()), widths).tolist(),
        "logsumexp": totals.tolist(),
        "gradient of logsumexp": whole(shard.grad, widths).tolist(),
        "loss": loss.tolist(),
        "log_softmax near 0": whole(parallel.log_softmax(mine(far, widths)), widths)[0, 0].item(),
        "loss near 0": parallel.cross_entropy(mine(far, widths), torch.tensor([0])).item(),
        "integers": whole(parallel.softmax(mine(torch.arange(4)[None], widths)), widths).tolist(),
        "half": whole(parallel.softmax(mine(x[6:7].half(), widths)), widths).tolist(),
        "half dtype": str(parallel.logsumexp(mine(x[6:7].bfloat16(), widths)).dtype),
        "no classes": parallel.logsumexp(torch.zeros(2, 0)).tolist(),
    }


def complaint(call):
    """Give what a call raised; afterwards the ranks must still understand each other."""
    try:
        call()
    except (ValueError, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def complaints():
    last = dist.get_rank() == dist.get_world_size() - 1
    x, target = torch.zeros(N, 2), torch.zeros(N, dtype=torch.int64)
    ours = parallel.cross_entropy

    def one_off(good, bad):
        return bad if last else good

    calls = {
        "reduction": lambda: ours(x, target, reduction=one_off("mean", "avg")),
        "smoothing": lambda: ours(x, target, label_smoothing=one_off(0.1, 1.5)),
        "smoothing differs": lambda: ours(x, target, label_smoothing=one_off(0.1, 0.2)),
        "rows": lambda: parallel.softmax(torch.zeros(one_off(N, N + 1), 2)),
        "dtype": lambda: parallel.softmax(x.to(one_off(torch.float32, torch.float64))),
        "complex": lambda: parallel.softmax(x.to(one_off(torch.float32, torch.complex64))),
        "no tensor": lambda: parallel.softmax(one_off(x, [0.0, 1.0])),
        "axis": lambda: parallel.softmax(x, axis=one_off(-1, 2)),
        "gradient": lambda: parallel.softmax(x.clone().requires_grad_(last)),
        "function": lambda: one_off(parallel.softmax, parallel.log_softmax)(x),
        "target differs": lambda: ours(x, one_off(target, target + 1)),
        "target swapped": lambda: ours(
            x, torch.arange(N) % 2 if not last else 1 - torch.arange(N) % 2
        ),
        "target range": lambda: ours(x, target + 2 * dist.get_world_size()),
        "target shape": lambda: ours(x, one_off(target, target[:-1])),
        "soft range": lambda: ours(x, x + one_off(0.5, 1.5)),
        "soft ignored": lambda: ours(x, x, ignore_index=0),
        "weight": lambda: ours(x, target, weight=torch.ones(one_off(2, 3))),
        "weight range": lambda: ours(x, target, weight=one_off(1.0, -1.0) * torch.ones(2)),
    }
    found = {name: complaint(call) for name, call in calls.items()}
    return {**found, "afterwards": float(ours(x, target))}


def checks():
    ranks = dist.get_world_size()
    return {
        "losses": {name: losses(widths) for name, widths in shards_for(ranks).items()},
        "functions": {name: functions(widths) for name, widths in shards_for(ranks).items()},
        "edges": edges(),
        "complaints": complaints(),
    }


def lonely(last_rank_does):
    """Call once with all ranks, and once more when the last is gone or silent."""
    x, target = torch.zeros(2, 3), torch.tensor([0, 1])
    first = float(parallel.cross_entropy(x, target))
    if dist.get_rank() == dist.get_world_size() - 1:
        last_rank_does()
    begin = time.monotonic()
    said = complaint(lambda: parallel.cross_entropy(x, target))
    seconds = time.monotonic() - begin
    FOUND.set()
    return {"first": first, "said": said, "seconds": seconds}


SCENARIOS = {
    "checks": (checks, 60.0),
    "dead": (lambda: lonely(lambda: os._exit(3)), 20.0),
    "silent": (lambda: lonely(lambda: FOUND.wait(60)), 5.0),
}


def rank_main(scenario, rank, ranks, port, pipe):
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    function, timeout = SCENARIOS[scenario]
    with parallel.processes(timeout=timeout):
        pipe.send(function())
        pipe.close()


def run(scenario, ranks):
    """Fork the ranks: PyTorch is imported once."""
    FOUND.clear()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    pipes, members = [], []
    for rank in range(ranks):
        here, there = context.Pipe(duplex=False)
        member = context.Process(
            target=rank_main, args=(scenario, rank, ranks, port, there), daemon=True
        )
        member.start()
        there.close()
        pipes.append(here)
        members.append(member)
    found = []
    for pipe in pipes:
        try:
            found.append(pipe.recv())
        except EOFError:
            found.append(None)
    for member in members:
        member.join(10)
    return found


if __name__ == "__main__":
    pairs = [argument.split(":") for argument in sys.argv[1:]]
    print(json.dumps({f"{name}:{ranks}": run(name, int(ranks)) for name, ranks in pairs}))
