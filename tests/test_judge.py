"""The parts of `check`, one by one: array libraries, the limit of time, laws, causes, reports."""

import contextlib
import importlib
import inspect
import io
import signal
import threading
import time
from types import SimpleNamespace

import mpmath
import numpy as np
import pytest
from hypothesis import strategies as st
from rich.console import Console

import softmax_notes as notes
from softmax_notes import check
from softmax_notes.check import _exact, _limit, _run, _trials
from softmax_notes.check import _laws as laws
from softmax_notes.check._diagnosis import diagnosed
from softmax_notes.check._libraries import FLOATS, library_named
from softmax_notes.check._limit import TooLong, limited, overdue
from softmax_notes.check._registry import laws_of
from softmax_notes.check._report import Failure, Outcome, Report
from softmax_notes.check._subject import ARGUMENTS, KINDS, LOSSES, Arg, Broken, subject

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
                back = library.to_numpy(made)
                np.testing.assert_array_equal(back, values, library.name)
                assert back.dtype == ("float32" if dtype == "bfloat16" else dtype), library.name
            assert library.kind(np.zeros(2)) == (library.name == "numpy")
            assert getattr(made, "npartitions", 1) == 1
        assert library.dtypes[:2] == ("float64", "float32")
        assert ("bfloat16" in library.dtypes) == (library.prefix in ("torch", "jnp"))


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


@pytest.mark.parametrize("name", ["cupy", 3, ["numpy"]])
def test_a_library_that_is_not_known_is_refused(name):
    with pytest.raises(ValueError, match=r"library must be one of numpy, torch, .*, got"):
        library_named(name)


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


def test_a_call_that_swallows_the_first_order_to_stop_is_told_again():
    def stubborn():
        for _ in range(3):
            with contextlib.suppress(BaseException):
                spin()

    before, end = threading.active_count(), time.monotonic() + 5
    assert isinstance(elsewhere(lambda: limited(stubborn, 0.05)), TooLong)
    while threading.active_count() > before:
        assert time.monotonic() < end


def test_a_call_in_a_thread_may_not_wait_for_ever():
    def doze():
        for _ in range(200):
            time.sleep(0.01)

    assert isinstance(elsewhere(lambda: limited(doze, 0.02)), TooLong)


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


# --- calls, as they are made and shown


def test_the_text_of_an_array_makes_it_again():
    inf, nan = np.inf, np.nan
    arrays = [
        *[Arg(TABLE.astype(dtype)) for dtype in ("float64", "float32", "float16", "int64", "int8")],
        *[Arg(np.array([inf, nan, -inf])), Arg(TABLE > 0), Arg(np.empty((0, 3)))],
        *[
            Arg(np.empty((2, 0), np.float32)),
            Arg(np.array(2.5)),
            Arg(np.ones(3), expression="np.ones(3)"),
        ],
    ]
    for library, names in installed():
        for arg in arrays:
            if arg.dtype.startswith("float") and arg.dtype not in library.dtypes:
                continue
            with library.context():
                made = eval(arg.text(library), names)
                assert library.dtype_name(made) == arg.dtype, (library.name, arg)
                assert tuple(made.shape) == np.shape(arg.values), (library.name, arg)
                np.testing.assert_array_equal(library.to_numpy(made), arg.values, library.name)


def test_the_text_of_an_array_is_as_short_as_can_be():
    numpy = library_named("numpy")
    assert Arg(np.array([1.0, 2.0])).text(numpy) == "np.array([1.0, 2.0])"
    assert Arg(np.array([1, 2])).text(numpy) == "np.array([1, 2])"
    assert Arg(np.array([True])).text(numpy) == "np.array([True], dtype=bool)"
    assert Arg(np.array([1.0]), "float32").text(numpy) == "np.array([1.0], dtype=np.float32)"
    assert Arg(np.ones(9), expression="np.ones(9)").text(numpy) == (
        "np.array(np.ones(9), dtype=np.float64)"
    )


def test_a_masked_array_hides_its_first_entry_and_its_text_says_so():
    arg, numpy = Arg(np.array([1.0, 2.0, 3.0]), layout="masked"), library_named("numpy")
    for made in (arg.build(numpy), eval(arg.text(numpy))):
        assert made.mask.tolist() == [True, False, False]
        assert made.compressed().tolist() == [2.0, 3.0]


def test_a_call_may_take_longer_where_a_library_imports_or_compiles_first():
    for library, _ in installed():
        expected = {"np": 2.0, "jnp": 20.0}.get(library.prefix, 5.0)
        assert subject(np.exp, "softmax", library).timeout == expected


def test_the_unit_of_integers_is_that_of_the_shortest_float():
    f = subject(np.exp, "softmax")
    assert f.unit(Arg(np.array([1, 2], np.int8))) == 2.0**-11
    assert (
        f.unit(Arg(np.array([1.0], np.float32))) == f.unit(np.array([1.0], np.float32)) == 2.0**-24
    )
    assert f.unit(Arg(np.array([1.0]), "bfloat16")) == 2.0**-8


# --- what is tried


def test_functions_are_tried_on_arrays_of_the_dimensions_that_are_asked_for():
    for kind in ("softmax", "softmax_jvp"):
        f = subject(np.exp, kind)
        for ndim in (1, 2, 3, 4):
            assert {len(shape) for shape in _trials.shapes(f, ndim)} == {min(ndim, 3)}


@pytest.mark.parametrize("kind", KINDS)
def test_every_layout_of_a_library_is_tried(kind):
    f = subject(np.exp, kind)
    cases = [args for args, _ in _trials.layouts(f, None)]
    assert [args[0].layout for args in cases] == list(f.library.layouts)
    assert all(np.shape(args[0].values) == (2, 3) for args in cases)


@pytest.mark.parametrize("kind", LOSSES)
def test_every_option_that_a_loss_takes_is_tried(kind):
    taken = ("label_smoothing", "weight", "ignore_index")

    def plain(logits, target):
        return 0.0

    f = subject(getattr(notes, kind), kind, level="production")
    cases = _trials.loss_options(f, None)
    assert {key for _, options in cases for key in options} == set(taken)
    assert {"label_smoothing", "weight"} in [options.keys() for _, options in cases]
    for args, options in cases:
        laws.formula(f, *args, **options)
        ignored = -100 in args[1].values
        assert ignored == ("ignore_index" in options)
    assert _trials.loss_options(subject(plain, kind), None) is None


# --- exact values


def test_exact_values_along_other_axes_are_those_of_the_rows():
    for axis in (None, (0, 1)):
        both = float(_exact.logsumexp(TABLE, axis=axis))
        assert both == pytest.approx(np.log(np.exp(TABLE).sum()), rel=1e-15)
        p = _exact.softmax(TABLE, axis=axis).astype(float)
        np.testing.assert_allclose(p, np.exp(TABLE) / np.exp(TABLE).sum(), rtol=1e-14)
    target = np.array([2, 1])
    for reduction in ("mean", "sum", "none"):
        rows = _exact.cross_entropy_grad(TABLE, target, reduction=reduction)
        columns = _exact.cross_entropy_grad(TABLE.T, target, axis=0, reduction=reduction)
        np.testing.assert_array_equal(columns.astype(float), rows.T.astype(float))


def test_the_unit_in_the_last_place_is_infinity_where_only_one_is_infinite():
    form, inf = _exact.FORMATS["float64"], np.inf
    huge = mpmath.mpf(10) ** 400
    for truth, sign in ((mpmath.inf, 1), (huge, 1), (-mpmath.inf, -1), (-huge, -1)):
        assert _exact.ulp(sign * inf, truth, form) == 0
        assert _exact.ulp(-sign * inf, truth, form) == inf
        assert _exact.ulp(sign * 1.0, truth, form) == inf
        assert _exact.ulp(np.nan, truth, form) == inf
    assert _exact.ulp(inf, mpmath.mpf(1), form) == inf
    assert _exact.ulp(1 + 2**-52, mpmath.mpf(1), form) == 1
    assert _exact.ulp(0.0, mpmath.mpf(2) ** -1074, form) == 1


# --- laws: what keeps them by the breadth of a rounding error, and what just breaks them


def of(values):
    return Arg(np.array(values))


X = Arg(TABLE)
ROW = of([0.25, -1.0, 2.0])
P = of([0.5, 0.3, 0.2])
V = of([1.0, -2.0, 0.5])
BATCH = of([[0.125, 0.25, 0.625], [0.5, 0.4375, 0.0625]])
HALVES = of([[0.5, 0.5], [0.5, 0.5]])
TARGET = of([2, 1])
SINGLE = Arg(np.array([20.0, 0.0], np.float32))
SLIGHTLY = 1 + 1e-9  # far more than is allowed at the level robust, far less than at textbook


def on(kind, change=lambda result, *given: result, level="robust", library="numpy"):
    """Make the subject that computes what it should, and then changes it."""
    right = getattr(notes, kind)

    def function(*args, **options):
        return change(right(*args, **options), *args)

    names = {"softmax_jacobian": (), **dict.fromkeys(LOSSES, ("reduction", "axis"))}
    keywords = names.get(kind, ("axis",))
    kinds = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.KEYWORD_ONLY
    function.__signature__ = inspect.Signature(
        [inspect.Parameter(name, kinds[0]) for name in ARGUMENTS[kind]]
        + [inspect.Parameter(name, kinds[1]) for name in keywords]
    )
    return subject(function, kind, library, level)


def times(result, *given):
    return result * SLIGHTLY


def more(result, *given):
    return result + 1e-9


def unlike(result, *given):
    """Treat every place a little differently."""
    return result * (1 + 1e-9 * np.arange(result.shape[-1]))


def growing(result, x, *given):
    """Depend on how large the first argument is."""
    return result * (1 + 1e-9 * x.max())


def softer(result, x, *given):
    return notes.softmax(x / SLIGHTLY)


def above_the_diagonal(result, *given):
    return result + 1e-9 * np.triu(np.ones(result.shape), 1)


def on_the_diagonal(result, *given):
    return result + 1e-9 * np.eye(len(result))


def from_column_to_column(result, *given):
    """Leave the sum of the absolute entries as it is, and not that of the largest column."""
    return result + 1e-9 * np.array([[0, 0, 0], [-1, 0, 0], [0, 0, -1]])


def in_the_last_row(result, *given):
    return result * np.array([1.0, SLIGHTLY]).reshape(2, *[1] * (result.ndim - 1))


def into_the_argument(result, x, *given):
    x *= 2
    return result


JUST_BROKEN = [
    # law, kind, arguments, how the right results are changed, and what the report then expects
    (laws.formula, "softmax", (X,), times, "[[0.14"),
    (laws.formula, "log_softmax", (X,), times, "[[-1.9"),
    (laws.formula, "softmax_jvp", (P, V), more, "[0."),
    (laws.simplex, "softmax", (X,), times, "sums along the axis = [1, 1]"),
    (laws.simplex, "softmax", (X,), lambda p, x: p - p.min() - 1e-9, "entries from 0 to 1"),
    (laws.simplex, "softmax", (X,), lambda p, x: np.round(p), "entries above 0 and below 1"),
    (laws.single_class, "softmax", (of([[3.0]]),), lambda p, x: p * (1 + 2**-52), "[[1]]"),
    (laws.shift, "softmax", (X, 3.0), growing, "[["),
    (laws.shift, "log_softmax", (X, 3.0), growing, "[["),
    (laws.shift, "logsumexp", (X, 3.0), growing, "[5.2"),
    (laws.order, "softmax", (X,), lambda p, x: 1 - p, "results in the order of the scores"),
    (laws.order, "softmax", (of([1.0, 1.0]),), unlike, "[[0, 0], [0, 0]]"),
    (laws.permutation, "softmax", (X, [2, 0, 1]), unlike, "[["),
    (laws.permutation, "logsumexp", (X, [2, 0, 1]), lambda s, x: s + 1e-9 * x[..., 0], "["),
    (laws.two_classes, "softmax", (of([1.0, 0.0]),), times, "first probability = 0.731059"),
    (laws.log_odds, "softmax", (X,), softer, "differences from the first logarithm = [["),
    (laws.log_odds, "log_softmax", (X,), times, "differences from the first logarithm = [["),
    (laws.log_simplex, "log_softmax", (X,), lambda s, x: s - 1e-9, "sums of exponentials = [1"),
    (laws.log_simplex, "log_softmax", (of([1.0, -60.0]),), more, "logarithms of probabilities"),
    (laws.bounds, "logsumexp", (of([1.0, -60.0]),), lambda s, x: s - 1e-9, "at least the max"),
    (laws.bounds, "logsumexp", (of([2.0, 2.0]),), more, "at most the maximum + log 2, 2.69315"),
    (laws.convex, "logsumexp", (ROW, Arg(-ROW.values)), lambda s, x: -s, "at most "),
    (laws.not_negative, "cross_entropy", (X, TARGET), lambda s, *_: -s, "a loss from 0 on"),
    (laws.loss_shift, "cross_entropy", (X, TARGET, 3.0), growing, "0.99"),
    (laws.loss_shift, "cross_entropy_grad", (X, TARGET, 3.0), growing, "[["),
    (laws.repeated_rows, "cross_entropy", (X, TARGET), lambda s, x, t: s * len(x), ""),
    (laws.repeated_rows, "cross_entropy_grad", (X, TARGET), lambda s, x, t: s * len(x), "[["),
    (laws.zero_sum, "cross_entropy_grad", (X, TARGET), more, "sums of the rows = [0, 0]"),
    (laws.signs, "cross_entropy_grad", (X, TARGET), lambda s, *_: -s, "at most 0 at the target"),
    (laws.symmetric, "softmax_jacobian", (P,), above_the_diagonal, "[["),
    (laws.rows_sum_to_zero, "softmax_jacobian", (P,), on_the_diagonal, "rows that sum to 0"),
    (laws.variance, "softmax_jacobian", (P, V), on_the_diagonal, "vᵀJv = 1.75"),
    (laws.variance, "softmax_jvp", (P, V), more, "vᵀJv = 1.75"),
    (laws.trace, "softmax_jacobian", (P,), on_the_diagonal, "trace = 0.62"),
    (laws.entrywise, "softmax_jacobian", (P,), on_the_diagonal, "½ Σ |J| = 0.62"),
    (laws.entrywise, "softmax_jacobian", (P,), from_column_to_column, "‖J‖₁ = 0.5"),
    (laws.half_norm, "softmax_jacobian", (of([0.5, 0.5]),), times, "a spectral norm of at most"),
    (laws.variance, "softmax_jacobian", (BATCH, X), in_the_last_row, "vᵀJv = [1.69434, 0.665771]"),
    (laws.variance, "softmax_jvp", (BATCH, X), in_the_last_row, "vᵀJv = [1.69434, 0.665771]"),
    (laws.trace, "softmax_jacobian", (BATCH,), in_the_last_row, "trace = [0.53125, 0.554688]"),
    (laws.entrywise, "softmax_jacobian", (BATCH,), in_the_last_row, "½ Σ |J| = [0.53125, 0.55"),
    (laws.half_norm, "softmax_jacobian", (HALVES,), in_the_last_row, "a spectral norm of at"),
    (laws.constants_vanish, "softmax_jvp", (P, 3.0), more, "[0, 0, 0]"),
    (laws.linear, "softmax_vjp", (P, V, 2.0), lambda s, p, v: s * (1 + 1e-9 * v.max()), "["),
    (laws.product_sums_to_zero, "softmax_vjp", (P, V), more, "sums of the rows = 0"),
    (laws.same_dtype, "softmax", (SINGLE,), lambda p, x: p.astype(np.float64), "float32"),
    (laws.unchanged, "softmax", (X,), into_the_argument, "x = [[0.25, -1, 2]"),
    (laws.accurate, "softmax", (X,), lambda p, x: p * (1 + 1e-14), "result[0, 2] = 0.817"),
    (laws.accurate, "softmax", (SINGLE,), lambda p, x: p.astype(np.float64), "float32"),
    (
        laws.subnormal,
        "softmax",
        (Arg(np.array([0, -90], np.float32)),),
        lambda p, x: p.round(9),
        "[",
    ),
    (laws.refused, "softmax", (X,), times, "an error, or NaN"),
    (
        laws.without_a_matrix,
        "softmax_jvp",
        (300,),
        lambda s, p, v: np.outer(p, v) @ p,
        "memory for",
    ),
]


@pytest.mark.parametrize(
    ("law", "kind", "args", "change", "expected"),
    JUST_BROKEN,
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_law_holds_for_the_right_results_and_breaks_for_what_is_off_a_little(
    law, kind, args, change, expected
):
    if law is not laws.refused:
        law(on(kind), *args)
    with np.errstate(all="ignore"), pytest.raises(Broken) as caught:
        law(on(kind, change), *args)
    assert caught.value.expected.startswith(expected)


def test_along_any_axis_the_right_results_are_the_most_accurate():
    for axis in (0, 1):
        laws.accurate(on("softmax"), X, axis=axis)
        laws.accurate(on("logsumexp"), X, axis=axis)
        laws.log_simplex(on("log_softmax"), X, axis=axis)


def test_a_result_in_another_precision_is_judged_in_float64():
    with pytest.raises(Broken):  # in float32 the sum of these rounded thirds is 1
        laws.log_simplex(on("log_softmax", lambda s, x: s.astype(np.float32)), Arg(np.zeros(3)))


def test_the_usual_ways_to_compute_logarithms_lose_no_more_than_is_allowed():
    def difference(result, x):
        return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))

    f, x = on("log_softmax", difference), of([18.0, 0.0])
    laws.formula(f, x)
    laws.shift(f, x, 3.0)
    laws.permutation(f, x, [1, 0])


def test_an_error_of_the_smallest_normal_number_passes():
    tiny = 2.0**-126
    x = Arg(np.array([tiny], np.float32))
    laws.accurate(on("logsumexp", lambda s, x: s * 0), x)
    with pytest.raises(Broken):
        laws.accurate(on("logsumexp", lambda s, x: s * -1), x)


# --- causes


def cause(f, law, *args, **options):
    """Break a law, and ask for the cause."""
    f.calls.clear()
    with np.errstate(all="ignore"):
        with pytest.raises(Broken) as caught:
            law(f, *args, **options)
        return diagnosed(f, caught.value, list(f.calls))


def test_numbers_that_no_fault_gives_are_described():
    wrong = lambda change, kind="softmax": cause(on(kind, change), laws.formula, X)  # noqa: E731
    assert wrong(lambda p, x: p * 1.5) == ("factor", "every result is 1.5 times what it should be")
    assert wrong(lambda p, x: p + 0.25) == ("offset", "every result is off by 0.25")
    assert wrong(lambda s, x: s - 3, "log_softmax") == ("offset", "every result is off by -3")
    hotter = wrong(lambda p, x: notes.softmax(x / 4, axis=-1))
    assert hotter == ("temperature", "the scores are multiplied by 0.25")
    uneven = wrong(lambda p, x: p + np.linspace(0, 1, p.shape[-1]))
    assert uneven.name == "unknown"
    assert uneven.words.startswith("sums of [2.5, 2.5] along the axis")
    swapped = wrong(lambda p, x: p[..., ::-1])
    assert swapped == ("unknown", "no known fault gives these numbers")
    nothing = wrong(lambda p, x: p * np.where(x < 0, np.nan, 1))
    assert nothing.name == "not-finite"


def test_what_overflows_is_told_by_its_nan_and_from_where_on():
    def naive(result, x):
        return np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)

    said = cause(on("softmax", naive), laws.formula, of([900.0, 0.0]))
    assert said.name == "no-shift"
    assert said.words.endswith("(scores overflow from 710 on in float64)")


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_what_is_infinite_in_16_bits_was_computed_in_16_bits(dtype):
    f = on("softmax", lambda p, x: p * np.inf)
    said = cause(f, laws.accurate, Arg(np.array([1.0, 0.0], dtype), dtype), limit=1.0)
    assert (said.name == "low-precision") == (dtype == "float16")
    correct = on("softmax", lambda p, x: p * x.dtype.type(1.004))
    said = cause(correct, laws.accurate, Arg(np.array([1.0, 0.0], dtype), dtype), limit=1.0)
    assert (said.name == "low-precision") == (dtype == "float16")


def test_an_answer_to_a_question_without_sense_is_told_by_the_question():
    loss = on("cross_entropy")
    loss.function = lambda logits, target, **options: 0.0
    assert cause(loss, laws.refused, X, of([0, 3])).name == "target-unchecked"
    scores = on("softmax")
    scores.function = lambda x, axis=-1: x
    assert cause(scores, laws.refused, of([0.0, 1.0]), axis=3).name == "axis-unchecked"
    masked = Arg(np.array([0.0, 1.0, 2.0]), layout="masked")
    scores.function = lambda x, axis=-1: notes.softmax(np.asarray(x))
    assert cause(scores, laws.honors_mask, masked).name == "mask-dropped"


def test_the_whole_matrix_is_named_where_vectors_would_do():
    f = on("softmax_vjp", lambda s, p, g: notes.softmax_jacobian(p) @ g)
    assert cause(f, laws.without_a_matrix, 300).name == "matrix"


@pytest.mark.parametrize(
    ("made", "name", "words"),
    [
        (lambda p: None, "no-return", "nothing is returned"),
        (lambda p: list(p), "no-array", "a list is returned"),
        (lambda p: tuple(p), "no-array", "a tuple is returned"),
        (lambda p: set(p), "no-array", "a set is returned"),
        (lambda p: str(p), "no-array", "a str is returned"),
        (lambda p: dict(enumerate(p)), "no-array", "a dict is returned"),
        (lambda p: (v for v in p), "no-array", "a generator is returned"),
        (lambda p: map(float, p), "no-array", "a map is returned"),
        (lambda p: zip(p, p, strict=True), "no-array", "a zip is returned"),
        (lambda p: 1.0, "reduced", "one number is returned for a whole array"),
        (lambda p: 1, "reduced", "one number is returned for a whole array"),
        (lambda p: Arg(p), "other-library", "Arg is returned where numpy arrays went in"),
    ],
)
def test_a_result_that_is_no_array_is_named_by_its_type(made, name, words):
    said = cause(on("softmax", lambda p, x: made(p)), laws.formula, ROW)
    assert said.name == name
    assert words in said.words


@pytest.mark.parametrize(
    ("kind", "made", "name"),
    [
        ("softmax", lambda p, x: p.T, "transposed"),
        ("softmax", lambda p, x: p[..., None], "keepdims"),
        ("softmax", lambda p, x: p[0], "reduced"),
        ("softmax", lambda p, x: np.stack([p, p]), "shape"),
        ("log_softmax", lambda s, x: s[:1], "shape"),
        ("logsumexp", lambda s, x: s.sum(), "global"),
        ("logsumexp", lambda s, x: x[0], "wrong-axis"),
        ("logsumexp", lambda s, x: s[:, None], "keepdims"),
        ("cross_entropy", lambda s, x, t: x[:, 0], "no-reduction"),
        ("softmax_jacobian", lambda s, p: p, "diagonal-only"),
    ],
)
def test_a_result_of_a_wrong_shape_is_named_by_the_shape(kind, made, name):
    args = {"cross_entropy": (X, TARGET), "softmax_jacobian": (P,)}.get(kind, (X,))
    assert cause(on(kind, made), laws.formula, *args).name == name


def test_along_an_axis_that_cannot_be_given_the_axis_is_what_is_missing():
    f = on("softmax")
    f.function = lambda x: x
    f.parameters = ("x",)
    said = cause(f, laws.formula, X, axis=0)
    assert said.name == "no-axis"


# --- a whole check


def seen(seed=None):
    """List what a function is given by a check."""
    given = []

    def mine(x):
        given.append(x.tolist())
        return notes.softmax(x)

    check.run(mine, "softmax", ndim=1, max_examples=3, seed=seed)
    return given


def test_a_check_looks_where_it_looked_before_and_with_a_seed_elsewhere():
    assert seen() == seen()
    assert seen(1) == seen(1)
    assert seen(1) != seen(2)
    assert seen(1) != seen()


@pytest.mark.parametrize("kind", KINDS)
def test_functions_of_batches_alone_hold_every_law_of_a_textbook(kind):
    for ndim in (2, 3):
        report = check.run(getattr(notes, kind), kind, ndim=ndim, max_examples=2)
        report.raise_if_failed()


def test_a_check_tells_of_every_law_what_became_of_it(monkeypatch):
    asked = [law.name for law in laws_of("softmax_jvp", "robust")]
    tables = {"level": "robust", "ndim": 2, "max_examples": 1}
    report = check.run(notes.softmax_jvp, "softmax_jvp", **tables)
    assert [outcome.law.name for outcome in report.outcomes] == asked
    became = {outcome.law.name: outcome.status for outcome in report.outcomes}
    assert became["formula"] == "holds"
    assert became["corners"] == "does not apply"  # to tables
    monkeypatch.setitem(_run.BUDGET, "robust", 0.0)
    late = check.run(notes.softmax_jvp, "softmax_jvp", **tables)
    assert [outcome.law.name for outcome in late.outcomes] == asked
    assert {(outcome.status, outcome.reason) for outcome in late.outcomes} == {
        ("not tried", "the time for the whole check was used up")
    }


def test_a_strategy_that_gives_nothing_breaks_no_law():
    law = SimpleNamespace(judge=laws.formula)
    nothing = st.integers().filter(lambda n: False)
    assert _run._smallest(law, on("softmax"), nothing, 3, None, lambda: False) == (None, [])


@pytest.mark.parametrize("name", ["ndim", "max_examples", "seed"])
def test_a_number_that_is_not_whole_is_refused_by_its_name(name):
    with pytest.raises(TypeError, match=f"^{name} must be an integer, got str"):
        check.run(notes.softmax, "softmax", **{name: "2"})


# --- reports


def a_report(*statuses):
    law = SimpleNamespace(name="formula", statement="As said.", claims=("definition#def-softmax",))
    failure = Failure(
        "formula", "As said.", law.claims, ["f(1)", "f(2)"], "one", "two", "a\x1b <slip>", "slip"
    )
    outcomes = {
        "holds": Outcome(law, "holds"),
        "fails": Outcome(law, "fails", failure=failure),
        "does not apply": Outcome(law, "does not apply"),
        "not tried": Outcome(law, "not tried", "no time"),
    }
    return Report("f", "softmax", "numpy", "robust", [outcomes[status] for status in statuses])


def test_the_data_of_a_report_holds_all_that_is_known():
    law = {"law": "formula", "statement": "As said.", "claims": ["definition#def-softmax"]}
    broken = {"calls": ["f(1)", "f(2)"], "expected": "one", "got": "two"}
    broken |= {"cause": "a\x1b <slip>", "diagnosis": "slip"}
    assert a_report("holds", "fails", "not tried").to_dict() == {
        "function": "f", "kind": "softmax", "library": "numpy", "level": "robust", "ok": False,
        "laws": [
            law | {"status": "holds"},
            law | {"status": "fails"} | broken,
            law | {"status": "not tried", "reason": "no time"},
        ],
    }  # fmt: skip


JUNIT = """\
<?xml version='1.0' encoding='utf-8'?>
<testsuite name="softmax-notes softmax robust" tests="4" failures="2" skipped="1" errors="0">
  <testcase classname="softmax.numpy" name="formula" />
  <testcase classname="softmax.numpy" name="formula">
    <failure message="a &lt;slip&gt;">As said.
f(1)
f(2)
expected one
got two</failure>
  </testcase>
  <testcase classname="softmax.numpy" name="formula">
    <skipped />
  </testcase>
  <testcase classname="softmax.numpy" name="formula">
    <failure message="no time" />
  </testcase>
</testsuite>"""


def test_a_build_server_gets_every_failure_with_its_reason():
    assert a_report("holds", "fails", "does not apply", "not tried").to_junit() == JUNIT


def test_the_verdict_is_green_where_all_holds_and_red_where_not():
    for statuses, color, style in (
        (["holds", "does not apply"], "#2b8a3e", "1;32"),
        (["holds", "fails"], "#d6453d", "1;31"),
        (["holds", "not tried"], "#d6453d", "1;31"),
    ):
        report = a_report(*statuses)
        assert f"border-left:4px solid {color}" in report.to_html()
        file = io.StringIO()
        Console(file=file, width=90, color_system="standard", force_terminal=True).print(report)
        assert f"\x1b[{style}m{report._verdict()}" in file.getvalue()


def test_a_long_call_is_folded_and_not_cut():
    report = a_report("fails")
    report.outcomes[0].failure.calls[:] = ["f(" + "9" * 60 + ")"]
    file = io.StringIO()
    Console(file=file, width=30).print(report)
    assert file.getvalue().count("9") == 60
