"""How far `minimax_exp` is from e^x: on every float32, and on more than 10⁸ numbers in float64.

    python -m benchmarks.exp_exhaustive      # from the root of the repository; 10 to 60 minutes

The reference is NumPy's exponential in a wider format: float64 for float32, and the extended
format of x86 for float64, whose errors are below 1/1000 ULP here. The worst numbers found are
measured again by mpmath. The result goes to benchmarks/exp_exhaustive.json, from which the
chapter ``exp_approximation`` draws.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
from tqdm import tqdm

from benchmarks.accuracy import short
from benchmarks.machine import machine
from softmax_notes.exp_approximation import EXP_FLOAT32, EXP_FLOAT64, minimax_exp
from tests.exact import FORMATS, ulp_error

RESULT = Path(__file__).with_name("exp_exhaustive.json")
CHUNK = 1 << 16
RANDOM = 1 << 27  # numbers in float64
SEED = 20212
WIDER = {"float32": np.float64, "float64": np.longdouble}


def every_float32() -> Iterator[Any]:
    """Yield every float32 from lowest to highest, chunk by chunk, both zeros included."""
    for end in (EXP_FLOAT32.highest, EXP_FLOAT32.lowest):
        first = int(np.float32(np.copysign(0, end)).view(np.uint32))
        last = int(np.float32(end).view(np.uint32))
        for start in range(first, last + 1, CHUNK):
            stop = min(start + CHUNK, last + 1)
            yield np.arange(start, stop, dtype=np.uint32).view(np.float32)


def many_float64(count: int) -> Iterator[Any]:
    """Yield random numbers, half of them spread over the range and half over the exponents."""
    rng = np.random.default_rng(SEED)
    low, high = EXP_FLOAT64.lowest, EXP_FLOAT64.highest
    for _ in range(count // (2 * CHUNK)):
        yield rng.uniform(low, high, CHUNK)
        yield rng.choice([-1.0, 1.0], CHUNK) * 2.0 ** rng.uniform(-60, np.log2(high), CHUNK)


def hard_float64() -> Any:
    """Give numbers where the reduction or the scaling is strained, with their neighbors.

    They are multiples of ln 2 and of half of it, where r cancels or k jumps, and the ends of
    the range and of the normal results.
    """
    with mpmath.workdps(50):
        k = range(int(2 * EXP_FLOAT64.lowest / 0.6932), int(2 * EXP_FLOAT64.highest / 0.6931))
        centers = [float(j * mpmath.log(2) / 2) for j in k]
        centers += [float(mpmath.log(2) * FORMATS["float64"].lowest)]
    centers += [EXP_FLOAT64.lowest, EXP_FLOAT64.highest]
    near = np.array(centers)[:, None] * (1 + np.arange(-64, 65) * 2.0**-53)
    near = near[(near >= EXP_FLOAT64.lowest) & (near <= EXP_FLOAT64.highest)]
    return np.unique(near)


def distances(got: Any, reference: Any, dtype: str) -> Any:
    form = FORMATS[dtype]
    exponent = np.maximum(np.frexp(reference)[1] - 1, form.lowest) - form.bits
    return np.abs(np.ldexp(got.astype(reference.dtype) - reference, -exponent))


class Worst:
    """The largest error so far, where it is, and how it varies with x."""

    def __init__(self, dtype: str) -> None:
        self.dtype, self.count, self.not_nearest = dtype, 0, 0
        self.largest = {"normal": (0.0, 0.0), "subnormal": (0.0, 0.0)}
        self.numpy = 0.0
        self.bins: dict[int, float] = {}

    def add(self, x: Any) -> None:
        """Measure the numbers in x."""
        with np.errstate(under="ignore"):
            reference = np.exp(x.astype(WIDER[self.dtype]))
            error = distances(minimax_exp(x), reference, self.dtype)
            self.numpy = max(self.numpy, float(distances(np.exp(x), reference, self.dtype).max()))
        self.count += x.size
        self.not_nearest += int(np.count_nonzero(error > 0.5))
        small = reference < 2.0 ** FORMATS[self.dtype].lowest
        for name, chosen in (("normal", ~small), ("subnormal", small)):
            if chosen.any():
                at = np.argmax(np.where(chosen, error, -1))
                self.largest[name] = max(self.largest[name], (float(error[at]), float(x[at])))
        if self.dtype == "float32":  # whose chunks are neighbors: few different places
            places = np.floor(x.astype(np.float64)).astype(int)
            for place in range(places.min(), places.max() + 1):
                top = float(np.max(error, where=places == place, initial=0.0))
                self.bins[place] = max(self.bins.get(place, 0.0), top)

    def result(self) -> dict[str, Any]:
        """Say what was found, the worst errors measured again."""
        worst = {
            name: {"x": float.hex(x), "ulp": short(exact_error(x, self.dtype))}
            for name, (_, x) in self.largest.items()
        }
        return {
            "count": self.count,
            "not_nearest": self.not_nearest,
            "worst": worst,
            "numpy_largest": short(self.numpy),
        }


def exact_error(x: float, dtype: str) -> float:
    """Measure one error by mpmath."""
    with np.errstate(under="ignore"):
        got = minimax_exp(np.array([x], dtype=dtype))
    with mpmath.workdps(60):
        return ulp_error(got, [mpmath.exp(mpmath.mpf(x))], dtype)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    if np.finfo(np.longdouble).nmant <= np.finfo(np.float64).nmant:
        parser.error("this machine has no wider format than float64 to compare with")
    single, double = Worst("float32"), Worst("float64")
    total = sum(
        int(np.float32(abs(end)).view(np.uint32)) + 1
        for end in (EXP_FLOAT32.highest, EXP_FLOAT32.lowest)
    )
    with tqdm(total=total + RANDOM, unit_scale=True, unit=" numbers", mininterval=5) as bar:
        for worst, chunks in ((single, every_float32()), (double, many_float64(RANDOM))):
            for x in chunks:
                worst.add(x)
                bar.update(x.size)
    double.add(hard_float64())
    study = {
        "machine": machine(),
        "seed": SEED,
        "float32": single.result(),
        "float64": double.result(),
        "float32_by_x": [[place, short(top)] for place, top in sorted(single.bins.items())],
    }
    options.output.write_text(json.dumps(study, indent=1) + "\n")
    print(json.dumps({name: study[name] for name in ("float32", "float64")}, indent=1))


if __name__ == "__main__":
    main()
