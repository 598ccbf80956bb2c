"""The parts of `check`, one by one: array libraries, the limit of time, laws, causes, reports."""

import contextlib
import importlib
import signal
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from softmax_notes.check import _limit
from softmax_notes.check._libraries import FLOATS, library_named
from softmax_notes.check._limit import TooLong, limited, overdue
from softmax_notes.check._subject import Arg

# --- array libraries


IMPORTS = {  # as their users import them
    "numpy": ("numpy", "np"),
    "torch": ("torch", "torch"),
    "jax": ("jax.numpy", "jnp"),
    "dask": ("dask.array", "da"),
    "array_api_strict": ("array_api_strict", "xp"),
}
TABLE = np.array([[0.25, -1.0, 2.0], [1.5, 0.0, -0.75]])


def installed():
    for name, (module, prefix) in IMPORTS.items():
        with contextlib.suppress(ModuleNotFoundError):
            yield library_named(name), {prefix: importlib.import_module(module), "np": np}


def test_an_array_of_any_library_comes_back_as_it_went_and_keeps_its_dtype():
    for library, _ in installed():
        for dtype in (*library.dtypes, "int64", "bool"):
            values = TABLE if dtype in FLOATS else TABLE > 0
            with library.context():
                made = library.make(values, dtype)
                assert library.kind(made), library.name
                assert library.dtype_name(made) == dtype, library.name
                np.testing.assert_array_equal(library.to_numpy(made), values, library.name)
            assert library.kind(np.zeros(2)) == (library.name == "numpy")
        assert library.dtypes[:2] == ("float64", "float32")


def test_a_call_that_is_shown_makes_the_same_array_in_every_library():
    assert {library.name for library, _ in installed()} <= IMPORTS.keys()
    for library, names in installed():
        for layout in ("plain", *library.layouts):
            values = np.broadcast_to(TABLE[:1], TABLE.shape) if layout == "broadcast" else TABLE
            arg = Arg(values, layout=layout)
            with library.context():
                for made in (arg.build(library), eval(arg.text(library), names)):
                    assert library.kind(made), (library.name, layout)
                    np.testing.assert_array_equal(library.to_numpy(made), values, library.name)


def strides(x):
    return x.stride() if callable(getattr(x, "stride", None)) else tuple(s // 8 for s in x.strides)


def test_arrays_come_in_the_layouts_that_their_library_has():
    expected = {"transposed": (1, 2), "step": (6, 2), "reversed": (3, -1), "broadcast": (0, 1)}
    for library, _ in installed():
        lacking = {"numpy": set(), "torch": {"reversed"}}.get(library.name, set(expected))
        assert set(library.layouts) == expected.keys() - lacking, library.name
        for layout in library.layouts:
            built = Arg(TABLE, layout=layout).build(library)
            assert strides(built) == expected[layout], (library.name, layout)


def test_a_result_that_holds_a_gradient_is_read_without_it():
    torch = pytest.importorskip("torch")
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    np.testing.assert_array_equal(library_named("torch").to_numpy(2 * x), [2.0, 4.0])


def test_a_library_that_is_not_installed_is_named(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ImportError, match="library='dask' needs dask installed: pip install dask"):
        library_named("dask")


# --- the limit of time


def spin():
    while True:
        pass


def elsewhere(call):
    """Call in a thread that is not the main one; give the result, or what was raised."""
    answers = []

    def work():
        try:
            answers.append(call())
        except BaseException as error:  # handed over
            answers.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(20)
    return answers[0]


def test_in_the_main_thread_a_call_stays_there_and_no_alarm_is_left():
    if hasattr(signal, "setitimer"):
        before = signal.getsignal(signal.SIGALRM)
        assert limited(threading.current_thread, 5) is threading.main_thread()
        assert signal.getsignal(signal.SIGALRM) is before
        assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_without_alarms_a_call_is_stopped_all_the_same(monkeypatch):
    monkeypatch.setattr(_limit, "signal", SimpleNamespace())
    assert limited(threading.current_thread, 5) is not threading.main_thread()
    with pytest.raises(TooLong):
        limited(spin, 0.05)


def test_a_call_in_a_thread_is_told_to_stop_and_keeps_no_program_from_ending():
    assert elsewhere(lambda: limited(lambda: threading.current_thread().daemon, 5)) is True
    before, end = threading.active_count(), time.monotonic() + 5
    assert isinstance(elsewhere(lambda: limited(spin, 0.05)), TooLong)
    while threading.active_count() > before:
        assert time.monotonic() < end


def test_an_error_in_a_thread_is_handed_through():
    assert isinstance(elsewhere(lambda: limited(lambda: 1 / 0, 5)), ZeroDivisionError)


@pytest.mark.parametrize(
    ("waited", "worked", "over"),
    [(1.9, 9.0, False), (2.0, 2.0, True), (2.0, 1.9, False), (9.9, 1.9, False), (10.0, 0.0, True)],
)
def test_a_call_may_wait_five_times_as_long_as_it_may_compute(waited, worked, over, monkeypatch):
    now = SimpleNamespace(monotonic=lambda: 100.0, process_time=lambda: 7.0)
    monkeypatch.setattr(_limit, "time", now)
    late = overdue(2.0)
    now.monotonic, now.process_time = (lambda: 100.0 + waited), (lambda: 7.0 + worked)
    assert late() is over
