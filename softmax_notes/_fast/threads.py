"""Threads that share out one call's blocks.

The kernels release the global interpreter lock, so Python threads are enough, and there is no
other runtime to collide with: any number of threads may call at once, and a forked child starts
threads of its own. The caller works too. A helper that wakes late finds no block left and goes
back to sleep; nobody waits for one that has not begun.

Where fewer processors are free than threads, whoever has to be waited for may need the processor
of the one that waits. So every wait looks at a counter for a tenth of a millisecond at most, and
then sleeps.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
from numba.core.compiler_lock import global_compiler_lock

from softmax_notes._fast.kernels import ALONE_UP_TO, LINE, PATIENCE, wait

SHORTEST, LONGEST = 2e-5, 1e-3  # seconds that a caller sleeps before it looks again
ALONE_DONE = np.zeros(LINE, dtype=np.int64)
ALONE = np.zeros(0, dtype=np.int64)  # the state of a kernel that shares with nobody


class _Pool:
    """Helpers, each waiting on a queue of its own; how many of them take part in a call."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.queues: list[SimpleQueue[Any]] = []
        self.count = _cores()
        self.bell = np.zeros(1, dtype=np.int64)

    def grow(self, helpers: int) -> None:
        with self.lock:
            while len(self.queues) < helpers:
                queue: SimpleQueue[Any] = SimpleQueue()
                threading.Thread(target=_help, args=(queue,), daemon=True).start()
                self.queues.append(queue)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _help(queue: SimpleQueue[Any]) -> None:
    while True:
        kernel, args = queue.get()
        with suppress(Exception):  # no memory to work in: the others take all blocks
            kernel(*args)
        del kernel, args  # else they would keep the arrays until the next call


def _ask(queue: SimpleQueue[Any], task: tuple[Any, ...]) -> None:
    """Give a helper something to do, in place of what it has not begun.

    Else the arrays of many calls would wait for a helper that no processor is free for.
    """
    if not queue.empty():
        with suppress(Empty):  # it has begun
            queue.get_nowait()
    queue.put(task)


_pool = _Pool()
_compiled: set[tuple[Any, str]] = set()  # kernels, and the dtypes they were called with


def _forget() -> None:
    """Start anew in a forked child, where the helpers do not run."""
    global _pool
    global_compiler_lock.release()  # type: ignore[no-untyped-call]
    count, _pool = _pool.count, _Pool()
    _pool.count = count


if hasattr(os, "register_at_fork"):
    # A child that is born while a thread compiles would wait for ever for the lock to be given
    # back, by a thread that it does not have.
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=_forget,
    )


def count() -> int:
    """Give the number of threads of a call, the caller's own included."""
    return _pool.count


def use(number: int) -> None:
    """Set that number."""
    _pool.count = number


def run(kernel: Callable[..., object], args: tuple[Any, ...], units: int, blocks: int) -> None:
    """Call a kernel in several threads; return when all ``units`` are done."""
    if args[0].size <= ALONE_UP_TO:
        kernel(*args, ALONE, ALONE, 0)
        return
    pool = _pool
    kind = (kernel, args[0].dtype.char)
    if kind not in _compiled:  # the first call compiles it; helpers must not meet that
        kernel(*args, ALONE, pool.bell, 0)
        wait(ALONE_DONE, 0, 0)
        _compiled.add(kind)
        return
    helpers = min(pool.count, blocks) - 1
    if helpers < 1:
        kernel(*args, ALONE, pool.bell, 0)
        return
    if len(pool.queues) < helpers:
        pool.grow(helpers)
    # How many units are done, and then the next block of each thread.
    state = np.zeros((helpers + 2) * LINE, dtype=np.int64)
    for me in range(1, helpers + 1):
        _ask(pool.queues[me - 1], (kernel, (*args, state, pool.bell, me)))
    kernel(*args, state, pool.bell, 0)
    pause, patience = SHORTEST, PATIENCE
    while not wait(state, units, patience):
        time.sleep(pause)
        pause, patience = min(2 * pause, LONGEST), 0
