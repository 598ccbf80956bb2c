"""A limit on how long a call may take, for code that is not ours."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any


class TooLong(BaseException):
    """Raised inside a call that exceeds its limit; no Exception, so that few would catch it."""


def limited(call: Callable[[], Any], seconds: float) -> Any:
    """Call, and raise TooLong when it computes for longer, or waits for five times as long.

    Waiting counts less because a busy machine makes everybody wait. In the main thread of a POSIX
    system an alarm interrupts the call; elsewhere it runs in a thread of its own, which is told
    to stop. Either way an endless loop written in Python ends. A single operation in compiled
    code is left to come to its end before it stops.
    """
    in_main = threading.current_thread() is threading.main_thread()
    if in_main and hasattr(signal, "setitimer"):
        with _alarm(seconds):
            return call()
    return _in_thread(call, seconds)


def overdue(seconds: float, patience: float = 5.0) -> Callable[[], bool]:
    """Start a clock; tell later whether so much was computed, or waited ``patience`` times longer.

    Several threads compute more than a second in a second: that alone is not too long.
    """
    wall, computed = time.monotonic(), time.process_time()

    def over() -> bool:
        waited, worked = time.monotonic() - wall, time.process_time() - computed
        return waited >= seconds and (worked >= seconds or waited >= patience * seconds)

    return over


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    armed = True
    over = overdue(seconds)

    def ring(signum: int, frame: Any) -> None:
        if armed and over():
            raise TooLong

    before = signal.signal(signal.SIGALRM, ring)
    # Again and again, should a bare "except:" of the user's swallow the first.
    rest, interval = signal.setitimer(signal.ITIMER_REAL, seconds, 0.1)
    try:
        yield
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_REAL, rest, interval)
        signal.signal(signal.SIGALRM, before)


def _in_thread(call: Callable[[], Any], seconds: float) -> Any:
    results: list[Any] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(call())
        except BaseException as error:  # handed over below
            errors.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    over = overdue(seconds)
    thread.join(seconds)
    while thread.is_alive() and not over():
        thread.join(0.1)
    if thread.is_alive():
        for _ in range(10):
            identity = ctypes.c_ulong(thread.ident or 0)
            ctypes.pythonapi.PyThreadState_SetAsyncExc(identity, ctypes.py_object(TooLong))
            thread.join(0.1)
            if not thread.is_alive():
                break
        raise TooLong
    if errors:
        raise errors[0]
    return results[0]
