"""The accuracy study: largest and median error in ULP, ours beside SciPy, PyTorch and JAX.

    python -m benchmarks.accuracy            # from the root of the repository; minutes
    python -m benchmarks.accuracy --quick    # short vectors only; nothing is written

Every function, dtype, length and axis meets families of scores made to hurt. The reference is
mpmath with 60 digits on the exact values of the floats. The result goes to
benchmarks/accuracy.json, from which the chapter ``overflow`` draws, and to the terminal.

The unit is that of the exact result. For logsumexp it is that of the result or of the largest
score, whichever is larger: where the two parts of m + log(1 + r) cancel, no algorithm that works
in the precision of its input can do better, and the ULP of a result near 0 would say nothing.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import mpmath
import numpy as np
import scipy.special
import torch
from tqdm import tqdm

import softmax_notes as ours
from benchmarks.machine import machine
from softmax_notes.overflow import by_parts
from tests.exact import DIGITS, FORMATS, exact

jax.config.update("jax_enable_x64", True)

RESULT = Path(__file__).with_name("accuracy.json")
DTYPES = ("float16", "bfloat16", "float32", "float64")
LENGTHS = {2: 400, 7: 200, 1000: 4, 100_000: 1}  # length of a row: number of rows
AXES = (-1, 0, 1)  # with axis 1 in the middle of three
FUNCTIONS = ("softmax", "log_softmax", "logsumexp", "cross_entropy", "cross_entropy_grad")
OURS = ("ours (NumPy)", "ours (PyTorch)", "ours (JAX)")
PEERS = ("SciPy", "PyTorch", "JAX")
COLUMNS = (*OURS, *PEERS)
SEED = 20211


# --- scores made to hurt


def reach(dtype: str) -> float:
    """Distance below the maximum at which a probability leaves the normal numbers."""
    return -FORMATS[dtype].lowest * float(np.log(2))


def wide(rng: Any, shape: tuple[int, int], dtype: str) -> Any:
    """Differences up to where the exponential underflows; no subtraction is exact."""
    return rng.uniform(-1.0, 0.1, shape) * reach(dtype) + rng.normal(size=(shape[0], 1))


def near_ties(rng: Any, shape: tuple[int, int], dtype: str) -> Any:
    """Scores a few units in the last place apart."""
    base = rng.uniform(1, 8, (shape[0], 1))
    return base * (1 + rng.integers(0, 9, shape) * 2.0 ** -FORMATS[dtype].bits)


def cancellation(rng: Any, shape: tuple[int, int], dtype: str) -> Any:
    """Logsumexp nearly 0: the maximum and the logarithm of the sum cancel."""
    x = rng.normal(size=shape)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


def subnormal(rng: Any, shape: tuple[int, int], dtype: str) -> Any:
    """Half of the probabilities are subnormal numbers."""
    low = reach(dtype) - np.log(shape[1]) + rng.uniform(0, FORMATS[dtype].bits * 0.69, shape)
    return np.where(np.arange(shape[1]) % 2 == 1, -low, rng.uniform(-1, 0, shape))


def dominant(rng: Any, shape: tuple[int, int], dtype: str) -> Any:
    """One score so far ahead that its probability rounds to 1, or nearly."""
    digits = FORMATS[dtype].bits * 0.69
    x = rng.uniform(-1.4, -0.6, shape) * digits - np.log(shape[1])
    x[:, 0] = rng.uniform(0, 1, shape[0])
    return x


def alternating(rng: Any, shape: tuple[int, int], dtype: str) -> Any:
    """Large scores of alternating sign."""
    sign = np.where(np.arange(shape[1]) % 2 == 0, 1, -1)
    return sign * 0.3 * reach(dtype) * (1 + 0.02 * rng.normal(size=shape))


FAMILIES: dict[str, Callable[..., Any]] = {
    f.__name__: f for f in (wide, near_ties, cancellation, subnormal, dominant, alternating)
}


class Problem(NamedTuple):
    """Rows of scores in one dtype, and the class that each row is to hit."""

    dtype: str
    family: str
    x: Any  # (rows, n), float64 that holds numbers of dtype
    target: Any  # (rows,)


def problem(dtype: str, family: str, n: int) -> Problem:
    """Draw the rows of one family; the seed depends on nothing but what is asked for."""
    key = [SEED, n, DTYPES.index(dtype), list(FAMILIES).index(family)]
    rng, shape = np.random.default_rng(key), (LENGTHS[n], n)
    x = torch.tensor(FAMILIES[family](rng, shape, dtype)).to(getattr(torch, dtype))
    scores = x.double().numpy()
    # Every second target is the class that leads, so that losses near 0 are among them.
    lead = np.arange(shape[0]) % 2 == 0
    return Problem(
        dtype, family, scores, np.where(lead, scores.argmax(axis=1), rng.integers(0, n, shape[0]))
    )


# --- exact values, and distances from them


class Truth(NamedTuple):
    """Exact values in units in the last place: unit · (high + low)."""

    exponent: Any  # unit = 2 ** exponent
    high: Any
    low: Any


def in_units(values: list[Any], dtype: str, at_least: Any = 0.0) -> Truth:
    """Write exact values in the ULP of their own, or of ``at_least`` where that is larger."""
    form = FORMATS[dtype]
    parts = []
    for value, other in zip(values, np.broadcast_to(at_least, len(values)), strict=True):
        size = max(abs(value), abs(float(other)))
        top = mpmath.frexp(size)[1] - 1 if size else form.lowest
        exponent = max(top, form.lowest) - form.bits
        units = mpmath.ldexp(value, -exponent)
        high = float(units)
        parts.append((exponent, high, float(units - high)))
    exponents, highs, lows = zip(*parts, strict=True)
    return Truth(np.array(exponents), np.array(highs), np.array(lows))


def truths(given: Problem) -> dict[str, Truth]:
    """Evaluate the five functions on every row by mpmath."""
    values: dict[str, list[Any]] = {name: [] for name in FUNCTIONS}
    with mpmath.workdps(DIGITS):
        for row, t in zip(given.x, given.target, strict=True):
            truth = exact(row)
            values["softmax"] += truth.softmax
            values["log_softmax"] += truth.log_softmax
            values["logsumexp"].append(truth.logsumexp)
            values["cross_entropy"].append(-truth.log_softmax[t])
            gradient = list(truth.softmax)
            gradient[t] = -mpmath.fsum(p for k, p in enumerate(truth.softmax) if k != t)
            values["cross_entropy_grad"] += gradient
        return {
            name: in_units(value, given.dtype, given.x.max(1) if name == "logsumexp" else 0.0)
            for name, value in values.items()
        }


def errors(got: Any, truth: Truth) -> Any:
    """Distances from the exact values in units in the last place; NaN counts as infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        units = np.ldexp(np.asarray(got, dtype=np.float64).ravel(), -truth.exponent)
        distance = np.abs((units - truth.high) - truth.low)
    return np.where(np.isnan(distance), np.inf, distance)


# --- the libraries


def numpy_array(x: Any, dtype: str) -> Any:
    return x.astype(dtype)


def torch_array(x: Any, dtype: str) -> Any:
    return torch.tensor(x).to(getattr(torch, dtype))


def jax_array(x: Any, dtype: str) -> Any:
    return jax.numpy.asarray(x, dtype=dtype)


def with_targets_on_axis_1(function: Callable[..., Any]) -> Callable[..., Any]:
    """PyTorch's losses have the classes on axis 1."""

    def call(x: Any, target: Any, axis: int) -> Any:
        result = function(x.movedim(axis, 1).contiguous(), target)
        return result.movedim(1, axis) if result.ndim == x.ndim else result

    return call


def torch_gradient(x: Any, target: Any) -> Any:
    x = x.clone().requires_grad_()
    torch.nn.functional.cross_entropy(x, target, reduction="sum").backward()
    return x.grad


def torch_loss(x: Any, target: Any) -> Any:
    return torch.nn.functional.cross_entropy(x, target, reduction="none")


def jax_loss(x: Any, target: Any, axis: int) -> Any:
    log_p = jax.nn.log_softmax(x, axis=axis)
    index = jax.numpy.expand_dims(target, axis)
    return -jax.numpy.squeeze(jax.numpy.take_along_axis(log_p, index, axis=axis), axis=axis)


def scipy_loss(x: Any, target: Any, axis: int) -> Any:
    log_p = scipy.special.log_softmax(x, axis=axis)
    index = np.expand_dims(target, axis)
    return -np.squeeze(np.take_along_axis(log_p, index, axis=axis), axis=axis)


def scipy_gradient(x: Any, target: Any, axis: int) -> Any:
    gradient, index = scipy.special.softmax(x, axis=axis), np.expand_dims(target, axis)
    at_target = np.take_along_axis(gradient, index, axis=axis) - gradient.dtype.type(1)
    np.put_along_axis(gradient, index, at_target, axis=axis)
    return gradient


def of_scores(function: Callable[..., Any], name: str = "axis") -> Callable[..., Any]:
    return lambda x, target, axis: function(x, **{name: axis})


def our_functions(wrap: Callable[..., Any] = lambda f: f) -> dict[str, Callable[..., Any]]:
    def loss(function: Any, reduction: str) -> Callable[..., Any]:
        return lambda x, target, axis: function(x, target, axis=axis, reduction=reduction)

    return {
        **{name: wrap(of_scores(getattr(ours, name))) for name in FUNCTIONS[:3]},
        "cross_entropy": wrap(loss(ours.cross_entropy, "none")),
        "cross_entropy_grad": wrap(loss(ours.cross_entropy_grad, "sum")),
    }


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return jax.jit(function, static_argnums=2)


LIBRARIES: dict[str, tuple[Callable[..., Any], dict[str, Callable[..., Any]]]] = {
    "ours (NumPy)": (numpy_array, our_functions()),
    "ours (PyTorch)": (torch_array, our_functions()),
    "ours (JAX)": (jax_array, our_functions(compiled)),
    "SciPy": (
        numpy_array,
        {
            **{name: of_scores(getattr(scipy.special, name)) for name in FUNCTIONS[:3]},
            "cross_entropy": scipy_loss,
            "cross_entropy_grad": scipy_gradient,
        },
    ),
    "PyTorch": (
        torch_array,
        {
            **{name: of_scores(getattr(torch, name), "dim") for name in FUNCTIONS[:3]},
            "cross_entropy": with_targets_on_axis_1(torch_loss),
            "cross_entropy_grad": with_targets_on_axis_1(torch_gradient),
        },
    ),
    "JAX": (
        jax_array,
        {
            **{
                name: compiled(of_scores(function))
                for name, function in {
                    "softmax": jax.nn.softmax,
                    "log_softmax": jax.nn.log_softmax,
                    "logsumexp": jax.nn.logsumexp,
                }.items()
            },
            "cross_entropy": compiled(jax_loss),
            "cross_entropy_grad": compiled(
                lambda x, t, axis: jax.grad(lambda s: jax_loss(s, t, axis).sum())(x)
            ),
        },
    ),
}


# --- the study


def laid_out(rows: Any, axis: int) -> Any:
    """Put the entries of each row along the axis: 1 is the middle one of three."""
    if axis == 1:
        front = 2 if len(rows) % 2 == 0 else 1
        cube = rows.reshape(front, -1, *rows.shape[1:])
        return np.moveaxis(cube, 2, 1) if rows.ndim == 2 else cube
    return np.moveaxis(rows, -1, axis) if rows.ndim == 2 else rows


def in_rows(result: Any, axis: int, name: str) -> Any:
    result = np.asarray(result)
    reduced = name in ("logsumexp", "cross_entropy")
    return result if reduced else np.moveaxis(result, axis, -1)


def to_numpy(result: Any) -> Any:
    if isinstance(result, torch.Tensor):
        return result.detach().double().numpy()
    return np.asarray(result, dtype=np.float64)


def measure(given: Problem, truth: dict[str, Truth], axis: int) -> Iterator[dict[str, Any]]:
    """One row of the table for each function."""
    scores, target = laid_out(given.x, axis), laid_out(given.target, axis)
    found: dict[str, dict[str, Any]] = {name: {} for name in FUNCTIONS}
    for column, (array, functions) in LIBRARIES.items():
        if array is numpy_array and given.dtype == "bfloat16":
            continue  # NumPy has no bfloat16
        x = array(scores, given.dtype)
        t = target if array is numpy_array else array(target, "int64")
        for name, function in functions.items():
            with np.errstate(all="ignore"):
                result = in_rows(to_numpy(function(x, t, axis)), axis, name)
            found[name][column] = errors(result, truth[name])
    for name, columns in found.items():
        yield {
            "function": name,
            "dtype": given.dtype,
            "family": given.family,
            "n": given.x.shape[1],
            "axis": axis,
            "largest": [short(np.max(columns[c])) if c in columns else None for c in COLUMNS],
            "median": [short(np.median(columns[c])) if c in columns else None for c in COLUMNS],
        }


def short(error: Any) -> float | str:
    """Round to what is worth keeping; JSON has no infinity."""
    return float(f"{error:.4g}") if np.isfinite(error) else "inf"


REMEDIES = ("two_sum", "log1p", "accurate_sum")


def ablation() -> list[dict[str, Any]]:
    """Measure softmax and log_softmax of NumPy with each remedy of the package left out."""
    variants = {"none": dict.fromkeys(REMEDIES, False), "all": {}} | {
        f"all but {name}": {name: False} for name in REMEDIES
    }
    found = []
    for dtype in ("float32", "float64"):
        for family, n in (("wide", 1000), ("dominant", 1000), ("near_ties", 100_000)):
            given = problem(dtype, family, n)
            # Twice, side by side: NumPy adds a single column as if it were a row, in pairs.
            truth = truths(given)
            x = np.ascontiguousarray(np.tile(given.x, (2, 1)).T.astype(dtype))
            for variant, parts in variants.items():
                results = zip(("softmax", "log_softmax"), by_parts(x, axis=0, **parts), strict=True)
                worst = {
                    name: short(errors(result.T[: len(given.x)], truth[name]).max())
                    for name, result in results
                }
                found.append({"dtype": dtype, "family": family, "variant": variant, **worst})
    return found


def write(study: dict[str, Any], path: Path) -> None:
    """Write JSON, one row a line."""
    text = json.dumps(study, separators=(",", ":"))
    for key in ("function", "dtype"):
        text = text.replace(f'{{"{key}"', f'\n{{"{key}"')
    path.write_text(text + "\n", encoding="utf-8")


def behind(row: dict[str, Any]) -> list[tuple[str, str, str]]:
    """List triples: ours, a peer with a smaller largest error, and the reason why."""
    errors = {
        column: float(error)
        for column, error in zip(COLUMNS, row["largest"], strict=True)
        if error is not None
    }
    return [
        (mine, peer, reason(row, errors, mine, peer))
        for mine in OURS
        for peer in PEERS
        if mine in errors and peer in errors and errors[mine] > errors[peer]
    ]


def reason(row: dict[str, Any], errors: dict[str, float], mine: str, peer: str) -> str:
    """Say why a peer is nearer: an empty string where there is no good reason."""
    if flushed(row, mine):
        return "flush"
    if errors[mine] - errors[peer] < 1:
        return "rounding"  # of the last operations, which falls to one side or the other
    # Our code with the peer's own exp and log is not behind it, and with those of NumPy not
    # behind SciPy: what differs is the elementary functions.
    at_home = dict(zip(PEERS, OURS, strict=True))
    host = dict(zip(OURS, PEERS, strict=True))[mine]
    same = errors[at_home[peer]] - errors[peer] < 1 and errors[mine] - errors[host] < 1
    return "functions" if same else ""


def compared(rows: list[dict[str, Any]]) -> int:
    """Count the pairs of one of ours and a peer that both have a result."""
    measured = [
        {c for c, e in zip(COLUMNS, row["largest"], strict=True) if e is not None} for row in rows
    ]
    return sum(len(m & set(OURS)) * len(m & set(PEERS)) for m in measured)


def reasons(rows: list[dict[str, Any]]) -> dict[str, int]:
    """Count the pairs in which the peer is nearer, by reason."""
    return dict(sorted(Counter(why for row in rows for *_, why in behind(row)).items()))


def flushed(row: dict[str, Any], mine: str) -> bool:
    """Tell whether subnormal results are missing: XLA on a CPU replaces them by 0.

    It does so in our code as in JAX's own. A logarithm is subnormal for a probability next to 1.
    """
    families = ("wide", "subnormal", "alternating")
    return mine == "ours (JAX)" and row["function"] != "logsumexp" and row["family"] in families


def summary(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield a table of the largest error of each column, over lengths and axes."""
    yield f"{'largest error in ULP':42}" + "".join(f"{column:>16}" for column in COLUMNS)
    for name in FUNCTIONS:
        for dtype in DTYPES:
            for family in FAMILIES:
                key = (name, dtype, family)
                chosen = [r for r in rows if (r["function"], r["dtype"], r["family"]) == key]
                cells = np.array([r["largest"] for r in chosen], dtype=np.float64)
                line = "".join(f"{cell:16.4g}" for cell in cells.max(axis=0))
                yield f"{name:19}{dtype:10}{family:13}" + line.replace("nan", "  –")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="short vectors only, write nothing")
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    lengths = [n for n in LENGTHS if n <= 1000 or not options.quick]
    cases = [(n, dtype, family) for n in lengths for dtype in DTYPES for family in FAMILIES]
    rows: list[dict[str, Any]] = []
    for n, dtype, family in (bar := tqdm(cases, unit="case")):
        bar.set_postfix_str(f"n={n} {dtype} {family}")
        given = problem(dtype, family, n)
        truth = truths(given)
        for axis in AXES:
            rows += measure(given, truth, axis)
    print(*summary(rows), sep="\n")
    pairs = [(row, *pair) for row in rows for pair in behind(row)]
    print(f"{len(rows)} rows; {compared(rows)} comparisons; a peer is nearer: {reasons(rows)}")
    for row, mine, peer, why in pairs:
        if not why:
            print("UNEXPLAINED:", mine, peer, row)
    if not options.quick:
        write(
            {
                "machine": machine(),
                "seed": SEED,
                "columns": COLUMNS,
                "compared": compared(rows),
                "behind": reasons(rows),
                "ablation": ablation(),
                "rows": rows,
            },
            options.output,
        )
        print(f"Written: {options.output.name}")


if __name__ == "__main__":
    main()
