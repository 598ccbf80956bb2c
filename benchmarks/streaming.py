"""Softmax in pieces, measured: memory beyond a limit with Dask, bytes between processes.

    python -m benchmarks.streaming            # from the root of the repository; minutes
    python -m benchmarks.streaming --quick    # small sizes; nothing is written

Memory: a Dask array of scores several times larger than the memory of a local cluster of two
workers, which the cluster kills when they pass their limit. For each function the largest resident
memory of a worker is read from the operating system, in new processes each time.

Bytes: vocabulary-parallel cross-entropy and its gradient on 2 and 4 processes, beside gathering
the logits and beside PyTorch's loss_parallel. The bytes are those that the loopback device counted
while the processes ran, less what it counts when they wait as long.

The result goes to benchmarks/streaming.json, from which the chapter ``streaming`` draws.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.machine import machine, resident

RESULT = Path(__file__).with_name("streaming.json")
SEED = 5
MIB = 2**20


# --- larger than memory


def scores(shape: tuple[int, int], chunks: tuple[int, int]) -> Any:
    """Draw scores chunk by chunk; a chunk that is read twice is drawn twice, and the same."""
    import dask.array as da

    return da.random.default_rng(SEED).normal(0, 10, shape, chunks=chunks).astype("float32")


def jobs(x: Any, target: Any) -> dict[str, Any]:
    """List what is computed: something small of each result, and three rows to be checked."""
    import softmax_notes as plain
    from softmax_notes import out_of_core

    rows = slice(0, x.shape[0], -(-x.shape[0] // 3))
    return {
        "logsumexp": (out_of_core.logsumexp(x, axis=-1), rows),
        "cross_entropy": (out_of_core.cross_entropy(x, target, reduction="none"), rows),
        "softmax": (out_of_core.softmax(x).sum(axis=-1), rows),
        "log_softmax": (out_of_core.log_softmax(x).max(axis=-1), rows),
        "softmax_notes.logsumexp": (plain.logsumexp(x, axis=-1), rows),
        "softmax_notes.softmax": (plain.softmax(x).sum(axis=-1), rows),
    }


def expected(name: str, rows: Any, target: Any) -> Any:
    """Compute by PyTorch in float64 what a job's rows should be."""
    import torch  # not above: Dask's workers import this module and would hold it in memory

    t = torch.tensor(rows, dtype=torch.float64)
    if name.endswith("logsumexp"):
        return torch.logsumexp(t, -1).numpy()
    if name == "cross_entropy":
        return torch.nn.functional.cross_entropy(t, torch.tensor(target), reduction="none").numpy()
    if name == "log_softmax":
        return torch.log_softmax(t, -1).amax(-1).numpy()
    return np.ones(len(t))  # probabilities sum to 1


def memory_study(shape: tuple[int, int], chunks: tuple[int, int], limit: int) -> dict[str, Any]:
    import dask
    from distributed import Client, LocalCluster
    from distributed.scheduler import KilledWorker

    dask.config.set(
        {
            # No help from the disk: what is not dropped stays in memory, up to the limit.
            "distributed.worker.memory.target": False,
            "distributed.worker.memory.spill": False,
            "distributed.worker.memory.pause": False,
            "distributed.worker.memory.terminate": 0.95,
            "distributed.scheduler.allowed-failures": 0,
        }
    )
    x = scores(shape, chunks)
    target = np.random.default_rng(SEED).integers(0, shape[1], shape[0])
    found = []
    for name, (job, rows) in tqdm(jobs(x, target).items(), unit="function"):
        with (
            LocalCluster(
                n_workers=2, threads_per_worker=1, memory_limit=limit, dashboard_address=None
            ) as cluster,
            Client(cluster) as client,
        ):
            idle = max(client.run(resident, "VmHWM").values())
            begin = time.perf_counter()
            try:
                result = client.compute(job).result()
                error = np.max(
                    np.abs(result[rows] / expected(name, x[rows].compute(), target[rows]) - 1)
                )
                peak = max(client.run(resident, "VmHWM").values())
            except KilledWorker:
                error = peak = None
            found.append(
                {
                    "function": name,
                    "seconds": round(time.perf_counter() - begin, 1),
                    "idle": idle,
                    "peak": peak,
                    "relative_error": None if error is None else float(f"{error:.2g}"),
                }
            )
            print(found[-1], file=sys.stderr)
    return {
        "shape": shape,
        "chunks": chunks,
        "bytes": int(np.prod(shape)) * 4,
        "workers": 2,
        "limit": limit,
        "rows": found,
    }


# --- bytes between processes

ROWS, STEPS, REPEATS = 256, 3, 3


def loopback() -> int:
    """Give the bytes that the loopback device has sent since the machine started."""
    lines = Path("/proc/net/dev").read_text(encoding="ascii").splitlines()
    (line,) = (line for line in lines if line.strip().startswith("lo:"))
    return int(line.split(":")[1].split()[8])


def by_gathering(logits: Any, target: Any) -> tuple[Any, Any]:
    """Bring all logits to every rank: what the other two avoid."""
    import torch
    import torch.distributed as dist

    parts = [torch.empty_like(logits) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, logits)
    x = torch.cat(parts, dim=1).requires_grad_()
    loss = torch.nn.functional.cross_entropy(x, target)
    loss.backward()
    start = dist.get_rank() * logits.shape[1]
    return loss, x.grad[:, start : start + logits.shape[1]]


def ours(logits: Any, target: Any) -> tuple[Any, Any]:
    from softmax_notes import parallel

    x = logits.clone().requires_grad_()
    loss = parallel.cross_entropy(x, target)
    loss.backward()
    return loss, x.grad


def by_loss_parallel(logits: Any, target: Any) -> tuple[Any, Any]:
    import torch
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import DTensor, Shard
    from torch.distributed.tensor.parallel import loss_parallel

    mesh = by_loss_parallel.__dict__.setdefault(
        "mesh", init_device_mesh("cpu", (dist.get_world_size(),))
    )
    x = DTensor.from_local(logits, mesh, [Shard(1)]).detach().requires_grad_()
    with loss_parallel():
        loss = torch.nn.functional.cross_entropy(x, target)
        loss.backward()
    return loss.full_tensor(), x.grad.to_local()


IMPLEMENTATIONS = {
    "softmax_notes.parallel": ours,
    "loss_parallel": by_loss_parallel,
    "gathering the logits": by_gathering,
}


def bytes_of_one_step(step: Any) -> int:
    """Measure what all ranks send in a step; the least of several, for others send too."""
    import torch.distributed as dist

    found = []
    for _ in range(REPEATS):
        dist.barrier()
        before = loopback()
        for _ in range(STEPS):
            step()
        dist.barrier()
        between, begin = loopback() - before, loopback()
        dist.barrier()
        found.append((between - (loopback() - begin)) / STEPS)
    return round(min(found) / dist.get_world_size())


def work(classes: list[int]) -> None:
    """Be one of the processes; the first prints what was measured as JSON."""
    import torch
    import torch.distributed as dist

    from softmax_notes import parallel

    with parallel.processes(timeout=120):
        ranks, rank, rows = dist.get_world_size(), dist.get_rank(), []
        for n in classes:
            torch.manual_seed(SEED)
            logits, target = torch.randn(ROWS, n), torch.randint(n, (ROWS,))
            shard = logits.chunk(ranks, dim=1)[rank].contiguous()
            x = logits.double().requires_grad_()
            exact = torch.nn.functional.cross_entropy(x, target)
            exact.backward()
            for name, function in IMPLEMENTATIONS.items():
                value, gradient = function(shard, target)
                step = partial(function, shard, target)
                wrong = (gradient - x.grad.chunk(ranks, dim=1)[rank]).abs().max() * ROWS
                rows.append(
                    {
                        "implementation": name,
                        "ranks": ranks,
                        "rows": ROWS,
                        "classes": n,
                        "bytes": bytes_of_one_step(step),
                        "error": float(f"{abs(value.item() / exact.item() - 1):.1g}"),
                        "error_of_gradient": float(f"{wrong.item():.1g}"),
                    }
                )
        if rank == 0:
            print(json.dumps(rows))


def bytes_study(classes: list[int]) -> list[dict[str, Any]]:
    rows = []
    for ranks in tqdm((2, 4), unit="run"):
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(ranks)]
        result = subprocess.run(
            [*command, "-m", "benchmarks.streaming", "--worker", *map(str, classes)],
            env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=600,
        )
        rows += json.loads(result.stdout)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, write nothing")
    parser.add_argument("--only", choices=("memory", "bytes"), help="keep the other part")
    parser.add_argument("--worker", type=int, nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker)
        return
    study = json.loads(RESULT.read_text(encoding="utf-8")) if options.only else {}
    study["machine"] = machine(("numpy", "dask", "distributed", "torch"))
    if options.only != "bytes":
        shape = (256, 131072) if options.quick else (1024, 524288)
        study["memory"] = memory_study(shape, (128, 8192), 256 * MIB)
    if options.only != "memory":
        classes = [1024] if options.quick else [1024, 4096, 16384, 65536]
        study["bytes"] = bytes_study(classes)
        print(*study["bytes"], sep="\n")
    if not options.quick:
        text = json.dumps(study, separators=(",", ":")).replace('{"function"', '\n{"function"')
        RESULT.write_text(text.replace('{"implementation"', '\n{"implementation"') + "\n", "utf-8")
        print(f"Written: {RESULT.name}")


if __name__ == "__main__":
    main()
