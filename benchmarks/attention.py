"""Largest memory in use while attention is computed, against the length of the sequence.

    python -m benchmarks.attention           # from the root of the repository; about a minute

NumPy reports its arrays to tracemalloc, so the numbers are counts of bytes: they do not depend on
the speed of the machine. The result goes to benchmarks/attention.json, from which the chapter
``attention`` draws.
"""

from __future__ import annotations

import gc
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.machine import machine
from softmax_notes.attention import attention, tiled_attention, tiled_attention_vjp

RESULT = Path(__file__).with_name("attention.json")
WIDTH, BLOCK = 64, 128
LENGTHS = (256, 512, 1024, 2048, 4096)
WHOLE_UP_TO = 2048  # beyond, all scores at once take gigabytes


def peak(function: Callable[..., Any], *arrays: Any, **options: Any) -> int:
    function(*(x[:2] for x in arrays), **options)  # what is imported and kept on a first call
    gc.collect()
    tracemalloc.start()
    function(*arrays, **options)
    largest = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return largest


def main() -> None:
    random = np.random.default_rng(0)
    results: dict[str, dict[int, int]] = {"whole": {}, "tiled": {}, "tiled_vjp": {}, "inputs": {}}
    for n in tqdm(LENGTHS, unit="length"):
        q, k, v, g = random.normal(size=(4, n, WIDTH)).astype(np.float32)
        results["inputs"][n] = q.nbytes + k.nbytes + v.nbytes
        results["tiled"][n] = peak(tiled_attention, q, k, v, block_size=BLOCK)
        results["tiled_vjp"][n] = peak(tiled_attention_vjp, q, k, v, g, block_size=BLOCK)
        if n <= WHOLE_UP_TO:
            results["whole"][n] = peak(attention, q, k, v)
    study = {
        "machine": machine(),
        "dtype": "float32",
        "width": WIDTH,
        "block_size": BLOCK,
        "peak_bytes": results,
    }
    RESULT.write_text(json.dumps(study, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
