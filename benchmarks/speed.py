"""The speed study: times of ``softmax_notes.fast`` beside its peers, in one run, interleaved.

    python -m benchmarks.speed                     # everything, from the root of the repository
    python -m benchmarks.speed --only softmax      # one part; the others keep their stored result

A round gives every competitor of a case one burst of calls, in an order that changes; the first
call of a burst is not counted, so that each finds its threads awake. Median and quartiles are over
all counted calls. Outputs are allocated beforehand wherever the competitor can write into one.
The result goes to benchmarks/speed.json, from which the chapter ``fast`` draws, and to the
terminal.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import geometric_mean
from typing import Any

import jax
import numpy as np
import onnx
import onnxruntime
import scipy.special
import torch
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

import softmax_notes as reference
from benchmarks.machine import machine
from softmax_notes import fast

jax.config.update("jax_enable_x64", True)

RESULT = Path(__file__).with_name("speed.json")
SHAPES = [
    ((64, 10), 1),
    ((256, 1000), 1),
    ((32, 50257), 1),
    ((4096, 4096), 1),
    ((1, 20_000_000), 1),
    ((256, 1000), 0),
    ((4096, 4096), 0),
]
DTYPES = ("float32", "float64")
FUNCTIONS = ("softmax", "logsumexp", "cross_entropy")
OURS = "fast"
SOME = (OURS, "PyTorch", "ONNX Runtime", "copy")
# Geometric means over the float32 shapes that were asked for when this was begun.
TARGETS = {"softmax": 2.0, "logsumexp": 3.5, "cross_entropy": 6.0}
FEW_PEERS = ("PyTorch", "JAX", "SciPy")  # those the targets were set by
PEERS = (*FEW_PEERS, "ONNX Runtime")
BURST = 0.012  # seconds
REST = 0.006  # between bursts: the threads of OpenMP go to sleep
ROUNDS = 5
PARTS = (*FUNCTIONS, "growth", "start")
PACKAGES = ("numpy", "numba", "llvmlite", "scipy", "torch", "jax", "jaxlib", "onnxruntime")


# --- the competitors of a case: name -> a call without arguments


def session(op: str, x: Any, shape: tuple[int, ...], axis: int) -> Callable[[], object]:
    """Bind one operator of ONNX Runtime to arrays, so that a call moves nothing."""
    kind = onnx.helper.np_dtype_to_tensor_dtype(x.dtype)
    make = onnx.helper
    inputs, initializers = ["x"], []
    options: dict[str, Any] = {"axis": axis}
    if op == "ReduceLogSumExp":
        inputs, options = ["x", "axes"], {"keepdims": 0}
        initializers = [make.make_tensor("axes", onnx.TensorProto.INT64, [1], [axis])]
    graph = make.make_graph(
        [make.make_node(op, inputs, ["y"], **options)],
        "g",
        [make.make_tensor_value_info("x", kind, x.shape)],
        [make.make_tensor_value_info("y", kind, shape)],
        initializers,
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 18)], ir_version=9)
    run = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    binding = run.io_binding()
    y = onnxruntime.OrtValue.ortvalue_from_numpy(np.empty(shape, x.dtype))
    binding.bind_ortvalue_input("x", onnxruntime.OrtValue.ortvalue_from_numpy(x))
    binding.bind_ortvalue_output("y", y)
    return lambda: run.run_with_iobinding(binding)


def softmaxes(x: Any, axis: int) -> Iterator[tuple[str, Callable[[], object]]]:
    out, t, j = np.empty_like(x), torch.from_numpy(x), jax.numpy.asarray(x)
    to, compiled = torch.empty_like(t), jax.jit(lambda a: jax.nn.softmax(a, axis=axis))
    yield OURS, lambda: fast.softmax(x, axis=axis, out=out)
    yield "PyTorch", lambda: torch.softmax(t, axis, out=to)
    yield "JAX", lambda: compiled(j).block_until_ready()
    yield "ONNX Runtime", session("Softmax", x, x.shape, axis)
    yield "SciPy", lambda: scipy.special.softmax(x, axis=axis)
    yield "our NumPy", lambda: reference.softmax(x, axis=axis)
    yield "copy", lambda: np.copyto(out, x)
    yield "copy, all threads", lambda: to.copy_(t)


def logsumexps(x: Any, axis: int) -> Iterator[tuple[str, Callable[[], object]]]:
    out, t, j = np.empty(x.shape[1 - axis], x.dtype), torch.from_numpy(x), jax.numpy.asarray(x)
    to, compiled = (
        torch.from_numpy(out.copy()),
        jax.jit(lambda a: jax.nn.logsumexp(a, axis=axis)),
    )
    yield OURS, lambda: fast.logsumexp(x, axis=axis, out=out)
    yield "PyTorch", lambda: torch.logsumexp(t, axis, out=to)
    yield "JAX", lambda: compiled(j).block_until_ready()
    yield "ONNX Runtime", session("ReduceLogSumExp", x, out.shape, axis)
    yield "SciPy", lambda: scipy.special.logsumexp(x, axis=axis)
    yield "our NumPy", lambda: reference.logsumexp(x, axis=axis)


def cross_entropies(x: Any, axis: int) -> Iterator[tuple[str, Callable[[], object]]]:
    target = np.random.default_rng(1).integers(0, x.shape[axis], x.shape[1 - axis])
    out, j, at = np.empty_like(x), jax.numpy.asarray(x), jax.numpy.asarray(target)
    t, to = torch.from_numpy(x).requires_grad_(), torch.from_numpy(target)

    def pytorch() -> object:
        loss = torch.nn.functional.cross_entropy(t if axis else t.T, to)
        return torch.autograd.grad(loss, t)

    def loss_of(a: Any) -> Any:
        log_p = jax.nn.log_softmax(a, axis=axis)
        return -jax.numpy.take_along_axis(log_p, jax.numpy.expand_dims(at, axis), axis).mean()

    compiled = jax.jit(jax.value_and_grad(loss_of))

    def ours() -> object:
        value = reference.cross_entropy(x, target, axis=axis)
        return value, reference.cross_entropy_grad(x, target, axis=axis)

    yield OURS, lambda: fast.cross_entropy_value_and_grad(x, target, axis=axis, out=out)
    yield "PyTorch", pytorch
    yield "JAX", lambda: jax.block_until_ready(compiled(j))
    yield "our NumPy", ours


COMPETITORS = dict(zip(FUNCTIONS, (softmaxes, logsumexps, cross_entropies), strict=True))


# --- times


def burst(call: Callable[[], object], seconds: float) -> list[float]:
    """Time calls for a while, at least one; the first is not counted if there is time."""
    times = []
    call()
    end = time.perf_counter() + seconds
    while True:
        start = time.perf_counter()
        call()
        stop = time.perf_counter()
        times.append(stop - start)
        if stop > end or len(times) >= 2000:
            return times


def interleaved(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Give lower quartile, median and upper quartile of each call, in seconds."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    slow: set[str] = set()
    random = np.random.default_rng(0)
    for number in range(rounds):
        for i in random.permutation(len(calls)):
            name, call = list(calls.items())[i]
            if name in slow and number % 3:  # hundreds of times slower than the others
                continue
            time.sleep(REST)
            taken = burst(call, BURST)
            times[name] += taken
            if taken[0] > 0.1:
                slow.add(name)
    return {
        name: [float(q) for q in np.quantile(t, [0.25, 0.5, 0.75])] for name, t in times.items()
    }


def scores(shape: tuple[int, ...], dtype: str) -> Any:
    x = np.random.default_rng(0).normal(size=shape) if np.prod(shape) < 1e8 else np.zeros(shape)
    return (3 * x).astype(dtype)


def peers(function: str) -> list[dict[str, Any]]:
    """Measure one function on every shape."""
    rows = []
    cases = [(s, a, d) for d in DTYPES for s, a in SHAPES]
    for shape, axis, dtype in (bar := tqdm(cases, desc=function, unit="case")):
        bar.set_postfix_str(f"{shape} axis {axis} {dtype}")
        calls = dict(COMPETITORS[function](scores(shape, dtype), axis))
        rows.append(
            {
                "function": function,
                "dtype": dtype,
                "shape": shape,
                "axis": axis,
                "seconds": interleaved(calls, ROUNDS),
            }
        )
    return rows


# --- growth


def with_threads(numbers: Iterable[int], call: Callable[[], object]) -> dict[int, list[float]]:
    """Time a call with each number of threads, in turns: a machine is not the same all the time."""

    def calling(number: int) -> Callable[[], object]:
        return lambda: (fast.set_num_threads(number), call())

    before = fast.get_num_threads()
    try:
        times = interleaved({str(number): calling(number) for number in numbers}, ROUNDS)
    finally:
        fast.set_num_threads(before)
    return {int(number): quartiles for number, quartiles in times.items()}


MEMORY = """
import sys, numpy as np
from benchmarks.machine import resident
kind, n = sys.argv[1], int(sys.argv[2])
if kind == "PyTorch":
    import torch
    call = lambda x: torch.softmax(torch.from_numpy(x), -1)
elif kind == "fast":
    from softmax_notes import fast
    call = fast.softmax
elif kind == "SciPy":
    import scipy.special
    call = scipy.special.softmax
else:
    import softmax_notes
    call = softmax_notes.softmax
for size in (1, 200_000):  # what is compiled or loaded at the first call does not count
    call(np.zeros(size, np.float32))
x = np.zeros(n, np.float32) + 1
before = resident("VmHWM")
y = call(x)
print(resident("VmHWM") - before)
"""


def child(code: str, *args: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *args],
        capture_output=True, text=True, check=True, env=os.environ | environment,
    )  # fmt: skip
    return done.stdout


def growth() -> dict[str, Any]:
    """Time against n, rows and threads; memory beyond the input against n."""
    study: dict[str, Any] = {"n": [], "rows": [], "threads": [], "memory": []}
    sizes = [10**k for k in range(1, 9)]
    for n in tqdm(sizes, desc="n", unit="case"):
        calls = dict(softmaxes(scores((1, n), "float32"), 1)) if n < 10**8 else {}
        if n == 10**8:  # two arrays of 400 MB are enough
            x = scores((1, n), "float32")
            out = np.empty_like(x)
            t, to = torch.from_numpy(x), torch.from_numpy(out)
            calls[OURS] = lambda x=x, out=out: fast.softmax(x, out=out)
            calls["PyTorch"] = lambda t=t, to=to: torch.softmax(t, -1, out=to)
            calls["copy"] = lambda x=x, out=out: np.copyto(out, x)
        kept = {name: calls[name] for name in SOME if name in calls}
        study["n"].append({"n": n, "seconds": interleaved(kept, 3)})
    for count in tqdm([10**k for k in range(6)], desc="rows", unit="case"):
        calls = dict(softmaxes(scores((count, 100), "float32"), 1))
        kept = {name: calls[name] for name in SOME}
        study["rows"].append({"rows": count, "n": 100, "seconds": interleaved(kept, 3)})
    for shape, _ in SHAPES[:5]:
        x = scores(shape, "float32")
        out = np.empty_like(x)
        numbers = range(1, (os.cpu_count() or 1) + 1)
        times = with_threads(numbers, lambda x=x, out=out: fast.softmax(x, out=out))
        study["threads"] += [
            {"shape": shape, "threads": number, "seconds": times[number]} for number in numbers
        ]
    for n in tqdm([10**k for k in range(5, 9)], desc="memory", unit="case"):
        for kind in (OURS, "PyTorch", "SciPy", "our NumPy"):
            if n == 10**8 and kind in ("SciPy", "our NumPy"):
                continue  # several GB
            study["memory"].append(
                {"n": n, "library": kind, "bytes": int(child(MEMORY, kind, str(n)))}
            )
    return study


# --- import, compilation, instructions; and what a new array costs


START = """
import time
start = time.perf_counter()
import numpy
middle = time.perf_counter()
from softmax_notes import fast
loaded = time.perf_counter()
x = numpy.zeros((2, 3), numpy.float32)
times = [loaded - middle]
for call in (lambda: fast.softmax(x), lambda: fast.logsumexp(x), lambda: fast.softmax(x, axis=0),
             lambda: fast.cross_entropy_value_and_grad(x, numpy.array([0, 1]))):
    start = time.perf_counter()
    call()
    times.append(time.perf_counter() - start)
print(*times)
"""
ASSEMBLY = """
import numpy as np
from softmax_notes._fast import kernels, threads
x = np.zeros((2, 300), np.float32)
kernels.rows(x, np.zeros((2, 1), np.float32), 2, False, threads.ALONE, np.zeros(1, np.int64), 0)
print(kernels.rows.inspect_asm(kernels.rows.signatures[0]))
"""


def hot_loop(assembly: str) -> dict[str, int]:
    """Count the instructions of the loop with the most multiplications, by their names."""
    best: dict[str, int] = {}
    lines = assembly.splitlines()
    labels = {m[1]: i for i, line in enumerate(lines) if (m := re.match(r"(\.LBB\w+):", line))}
    for i, line in enumerate(lines):
        jump = re.match(r"\s+j\w+\s+(\.LBB\w+)", line)
        if not jump or not 0 <= i - labels.get(jump[1], i + 1) < 400:
            continue
        body = [line.split()[0] for line in lines[labels[jump[1]] + 1 : i + 1] if line[:1] == "\t"]
        names = [name for name in body if not name.startswith((".", "#"))]
        counts = {name: names.count(name) for name in sorted(set(names))}
        fused = sum(n for name, n in counts.items() if name.startswith(("vfmadd", "fmla")))
        smaller = not best or len(names) < sum(best.values())
        if fused >= 32 and smaller:  # four vectors of at least eight each
            best = counts
    return best


def start() -> dict[str, Any]:
    """Measure what comes before the first result."""
    study: dict[str, Any] = {}
    names = ("import", "softmax", "logsumexp", "softmax, axis 0", "cross_entropy_value_and_grad")
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("first ever", "first in a process"):
            times = child(START, NUMBA_CACHE_DIR=folder).split()
            study[kind] = dict(zip(names, map(float, times), strict=True))
    with tempfile.TemporaryDirectory() as folder:
        assembly = child(ASSEMBLY, NUMBA_CACHE_DIR=folder)
    study["loop"] = hot_loop(assembly)
    study["zmm"] = len(re.findall("zmm", assembly))
    x = scores((4096, 4096), "float32")
    out = np.empty_like(x)
    small = scores((64, 2048), "float32")
    into = np.empty_like(small)
    study["allocation"] = interleaved(
        {
            "into an array that is there": lambda: fast.softmax(x, out=out),
            "into a new array": lambda: fast.softmax(x),
            "a new array, written once": lambda: np.empty_like(x).fill(0),
        },
        5,
    )
    # One thread and 512 KB: the caches hold it, so this is the time of the arithmetic.
    study["in cache"] = {
        "elements": small.size,
        "softmax": with_threads([1], lambda: fast.softmax(small, out=into))[1],
        "logsumexp": with_threads([1], lambda: fast.logsumexp(small, axis=1))[1],
    }
    return study


# --- what it comes to


def ratio(row: dict[str, Any], names: tuple[str, ...] = PEERS) -> float:
    """Give how many times the best peer's time ours is shorter."""
    best = min(times[1] for name, times in row["seconds"].items() if name in names)
    return float(best / row["seconds"][OURS][1])


def floor(row: dict[str, Any], study: dict[str, Any]) -> float:
    """Give the time in seconds that no program can be below: the roofline of a case in float32.

    It is the larger of two: the traffic, at the speed of the faster copy of the same array; and
    the exponentials, at the speed at which all cores make them in their caches.
    """
    same = next(
        other["seconds"]
        for other in study["rows"]
        if other["function"] == "softmax"
        and all(other[key] == row[key] for key in ("dtype", "shape", "axis"))
    )
    copy = min(same["copy"][1], same["copy, all threads"][1])
    cached = study["start"]["in cache"]
    each = cached["logsumexp"][1] / cached["elements"] / study["machine"]["cores"]
    share = 0.5 if row["function"] == "logsumexp" else 1.0  # it reads and does not write
    return float(max(share * copy, each * np.prod(row["shape"])))


def table(study: dict[str, Any]) -> None:
    console = Console(width=160)
    for function in FUNCTIONS:
        chosen = [row for row in study["rows"] if row["function"] == function]
        if not chosen:
            continue
        names = list(chosen[0]["seconds"])
        shown = Table(title=f"{function}: median time in µs", title_justify="left")
        for name in ("shape, axis, bits", *names, "peers / fast", "3 peers / fast", "fast / floor"):
            shown.add_column(name, justify="left" if name[:5] == "shape" else "right")
        for row in chosen:
            shape = "×".join(map(str, row["shape"])) + f", {row['axis']} {row['dtype'][5:]}"
            times = [f"{row['seconds'][name][1] * 1e6:,.1f}" for name in names]
            known = row["dtype"] == "float32" and "start" in study
            far = f"{row['seconds'][OURS][1] / floor(row, study):.2f}" if known else ""
            ratios = [f"{ratio(row):.2f}", f"{ratio(row, FEW_PEERS):.2f}"]
            shown.add_row(shape, *times, *ratios, far)
        console.print(shown)
        for dtype in DTYPES:
            of = [row for row in chosen if row["dtype"] == dtype]
            all_peers, few = (
                geometric_mean(ratio(row, p) for row in of) for p in (PEERS, FEW_PEERS)
            )
            console.print(
                f"{function}, {dtype}: geometric mean {all_peers:.2f} against all peers, {few:.2f} "
                f"against {', '.join(FEW_PEERS)}"
                + (f"; the target was {TARGETS[function]}" if dtype == "float32" else "")
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=PARTS, help="one part; the rest stays as stored")
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    study = json.loads(options.output.read_text("utf-8")) if options.output.exists() else {}
    study["machine"] = machine(PACKAGES)
    rows = study.get("rows", [])
    for part in (options.only,) if options.only else PARTS:
        if part == "growth":
            study["growth"] = growth()
        elif part == "start":
            study["start"] = start()
        else:
            rows = [row for row in rows if row["function"] != part] + peers(part)
    study["rows"] = rows
    text = json.dumps(study, separators=(",", ":")).replace('{"function"', '\n{"function"')
    options.output.write_text(text + "\n", encoding="utf-8")
    table(study)
    print(f"Written: {options.output.name}")


if __name__ == "__main__":
    main()
