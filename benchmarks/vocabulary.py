"""Time and memory of a loss over n classes and its gradients, n from 10³ to 10⁶, way by way.

    python -m benchmarks.vocabulary          # from the root of the repository; minutes

Time is the median over rounds in which all ways take turns. Memory is measured, not estimated:
the highest resident memory of a fresh process while one loss and its gradients are computed,
less what it held before and less the gradients themselves. That needs Linux. The result goes to
benchmarks/vocabulary.json, from which the chapter ``vocabulary`` draws.

A step computes the mean loss of N rows and its gradients in X and in the weights. Sampled and
hierarchical softmax touch few rows of the weights, and their gradients are those rows.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from tqdm import tqdm

from benchmarks.accuracy import short
from benchmarks.machine import machine, resident
from softmax_notes.huffman import huffman_tree
from softmax_notes.linear_cross_entropy import linear_cross_entropy
from softmax_notes.sampled_softmax import Proposal, sampled_softmax_loss
from softmax_notes.vocabulary import hierarchical_grad

RESULT = Path(__file__).with_name("vocabulary.json")
ROWS, FEATURES, DRAWN, THREADS, ROUNDS = 256, 64, 256, 2, 5
SIZES = (1000, 3162, 10_000, 31_623, 100_000, 316_228, 1_000_000)
LARGE = (4096, 131_072)  # N and n of the comparison with PyTorch's own chunked loss
CHUNKS = (32, 128, 512)  # rows at a time, for PyTorch
SEED = 20213
PARTS = ("against_pytorch", "by_size", "memory")

Step = Callable[[], int]  # computes loss and gradients; gives the bytes of the gradients


def problem(rows: int, n: int) -> tuple[Any, Any, Any]:
    """Features, weights, and targets that follow Zipf's law, as words do."""
    rng = torch.Generator().manual_seed(SEED)
    X = torch.randn(rows, FEATURES, generator=rng).requires_grad_()
    W = (0.1 * torch.randn(n, FEATURES, generator=rng)).requires_grad_()
    target = Proposal.log_uniform(n).sample(rows, np.random.default_rng(SEED))
    return X, W, torch.tensor(target)


def stepper(loss: Callable[[], Any], leaves: list[Any]) -> Step:
    """Make a step from a loss and the tensors it is differentiated by."""

    def step() -> int:
        for leaf in leaves:
            leaf.grad = None
        loss().backward()
        return sum(leaf.grad.numel() * leaf.grad.element_size() for leaf in leaves)

    return step


def full(rows: int, n: int) -> Step:
    X, W, target = problem(rows, n)
    return stepper(lambda: functional.linear_cross_entropy(X, W, target), [X, W])


def pytorch_chunked(rows: int, n: int, chunk: int = 32) -> Step:
    X, W, target = problem(rows, n)
    options = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=chunk)
    return stepper(lambda: functional.linear_cross_entropy(X, W, target, options=options), [X, W])


def chunked(rows: int, n: int) -> Step:
    X, W, target = problem(rows, n)
    return stepper(lambda: linear_cross_entropy(X, W, target), [X, W])


def adaptive(rows: int, n: int) -> Step:
    X, _, target = problem(rows, n)
    torch.manual_seed(SEED)
    cutoffs = [n // 50, n // 8]
    layer = torch.nn.AdaptiveLogSoftmaxWithLoss(FEATURES, n, cutoffs)
    return stepper(lambda: layer(X, target).loss, [X, *layer.parameters()])


def sampled(rows: int, n: int) -> Step:
    X, W, target = problem(rows, n)
    proposal, rng = Proposal.log_uniform(n), np.random.default_rng(SEED)
    log_q, W = torch.tensor(proposal.log_q), W.detach()

    def step() -> int:
        samples = torch.tensor(proposal.sample(DRAWN, rng))
        touched, place = torch.unique(torch.cat([target, samples]), return_inverse=True)
        few = W[touched].requires_grad_()
        X.grad = None
        loss = sampled_softmax_loss(X, few, place[:rows], place[rows:], log_q[touched])
        loss.mean().backward()
        return 4 * (X.numel() + few.numel())

    return step


def hierarchical(rows: int, n: int) -> Step:
    X, W, target = problem(rows, n)
    tree = huffman_tree(Proposal.log_uniform(n).q)
    X, nodes = X.detach(), W.detach()[1:]

    def step() -> int:
        grad = hierarchical_grad(X, nodes, tree, target)
        by_nodes = grad.scores[..., None] * X[:, None]
        return 4 * (X.numel() + by_nodes.numel())

    return step


WAYS: dict[str, Callable[..., Step]] = {
    "full": full,
    "PyTorch chunked": pytorch_chunked,
    "ours chunked": chunked,
    "adaptive": adaptive,
    "sampled": sampled,
    "hierarchical": hierarchical,
}

RIVALS: dict[str, tuple[str, dict[str, int]]] = {
    "ours": ("ours chunked", {}),
    "PyTorch, default": ("full", {}),
    **{f"PyTorch, {c} rows": ("PyTorch chunked", {"chunk": c}) for c in CHUNKS},
}


def peak(way: str, rows: int, n: int, options: dict[str, int]) -> int:
    """Bytes beyond what was there before and the gradients; to be run in a fresh process."""
    torch.set_num_threads(THREADS)
    WAYS[way](rows=8, n=1000, **options)()  # libraries and threads are there after that
    step = WAYS[way](rows, n, **options)
    Path("/proc/self/clear_refs").write_text("5")  # the highest memory is counted from here
    before = resident("VmRSS")
    gradients = step()
    return resident("VmHWM") - before - gradients


def measured_peak(way: str, rows: int, n: int, **options: int) -> int:
    code = f"from benchmarks.vocabulary import peak; print(peak({way!r}, {rows}, {n}, {options}))"
    # Each large block is given back as soon as it is free, and none is kept for later.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return max(0, int(run.stdout))


def times(steps: dict[str, Step], rounds: int, bar: Any) -> dict[str, list[float]]:
    """Seconds of each step in each round, the steps taking turns."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()
    for _ in range(rounds):
        for name, step in steps.items():
            start = perf_counter()
            step()
            seconds[name].append(perf_counter() - start)
            bar.update()
    return seconds


def against_pytorch(rounds: int, bar: Any) -> dict[str, Any]:
    """Time our chunked loss and PyTorch's, at its default and at several sizes of a chunk."""
    rows, n = LARGE
    steps = {name: WAYS[way](rows, n, **options) for name, (way, options) in RIVALS.items()}
    seconds = times(steps, rounds, bar)
    return {
        name: {
            "seconds": short(median(found)),
            "fastest": short(min(found)),
            "over_ours": short(median(a / b for a, b in zip(found, seconds["ours"], strict=True))),
        }
        for name, found in seconds.items()
    }


def by_size(rounds: int, bar: Any) -> dict[str, list[float]]:
    """Time every way at every number of classes."""
    result: dict[str, list[float]] = {way: [] for way in WAYS}
    for n in SIZES:
        seconds = times({way: make(ROWS, n) for way, make in WAYS.items()}, rounds, bar)
        for way, found in seconds.items():
            result[way].append(short(median(found)))
    return result


def memory(bar: Any) -> dict[str, Any]:
    """Bytes of every way at every number of classes, and of the rivals."""
    large, sizes = {}, {}
    for name, (way, options) in RIVALS.items():
        large[name] = measured_peak(way, *LARGE, **options)
        bar.update()
    for way in WAYS:
        sizes[way] = []
        for n in SIZES:
            sizes[way].append(measured_peak(way, ROWS, n))
            bar.update()
    return {"large": large, "by_size": sizes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=RESULT)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--part", choices=PARTS, nargs="*", default=PARTS, help="default: all")
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    study = json.loads(options.output.read_text()) if options.output.exists() else {}
    study |= {
        "machine": machine() | {"threads": THREADS},
        "shape": {"rows": ROWS, "features": FEATURES, "drawn": DRAWN},
        "large": {"rows": LARGE[0], "n": LARGE[1]},
        "sizes": list(SIZES),
    }
    with tqdm(mininterval=2, unit=" steps") as bar:
        if "against_pytorch" in options.part:
            study["against_pytorch"] = against_pytorch(options.rounds, bar)
        if "by_size" in options.part:
            study["by_size"] = by_size(options.rounds, bar)
        if "memory" in options.part:
            study["memory"] = memory(bar)
    options.output.write_text(json.dumps(study, indent=1) + "\n")
    for name, row in study.get("against_pytorch", {}).items():
        print(f"{name:18}", *row.items())


if __name__ == "__main__":
    main()
