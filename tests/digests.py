"""The bits that the functions give, as one number: alone, in threads, and in other processes.

Run as a program, it prints the number of each; none of them may differ.
"""

import hashlib
import json
import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

import softmax_notes
from softmax_notes import (
    alternatives,
    attention,
    exp_approximation,
    fast,
    sampling,
    smooth_max,
    streaming,
    weighted_mean,
)


def results():
    """Give what the core, the chapters and `fast` make of arrays that take several blocks."""
    rng = np.random.default_rng(0)
    for dtype in ("float32", "float64"):
        large = (5 * rng.standard_normal((300, 400))).astype(dtype)
        target = rng.integers(0, 40, 300)
        x = large[:, :40]
        p = softmax_notes.softmax(x)
        yield p
        yield softmax_notes.log_softmax(x, axis=0)
        yield softmax_notes.logsumexp(x, axis=-1)
        yield softmax_notes.softmax_jacobian(p[:3])
        yield softmax_notes.softmax_jvp(p, x)
        yield softmax_notes.softmax_vjp(p, x)
        yield softmax_notes.cross_entropy(x, target)
        yield softmax_notes.cross_entropy_grad(x, target, label_smoothing=0.1)
        yield alternatives.entmax15(x)
        yield attention.tiled_attention(x[:9], x, x)
        yield exp_approximation.minimax_exp(x)
        yield sampling.sample(x, rng.random(x.shape), top_k=4)
        yield smooth_max.smooth_max(x, axis=-1)
        yield weighted_mean.mellowmax(x)
        yield streaming.log_total(streaming.fold([x[:, :15], x[:, 15:]]))
        yield fast.softmax(large)
        yield fast.log_softmax(large, axis=0)
        yield fast.logsumexp(large, axis=-1)
        yield from fast.cross_entropy_value_and_grad(large, target)
        yield fast.cross_entropy(large, target, label_smoothing=0.1)


def digest(_=None):
    found = hashlib.sha256()
    for result in results():
        found.update(np.ascontiguousarray(result).tobytes())
    return found.hexdigest()


def forked():
    """The digest in a child that is born with everything that its parent has in memory."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, digest().encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as said:
        found = said.read()
    os.waitpid(child, 0)
    return found


def main():
    fast.set_num_threads(3)
    found = {"alone": digest()}
    with ThreadPoolExecutor(8) as pool:
        found |= {f"thread {i}": made for i, made in enumerate(pool.map(digest, range(8)))}
    if hasattr(os, "fork"):
        found["forked"] = forked()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found["spawned"] = pool.apply(digest)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
