"""What the laws are tried on: strategies of Hypothesis, and lists of hard cases.

A function here gives, for a subject and a number of dimensions, a strategy or a list of pairs:
the arguments of a law after the subject, and its keyword arguments. None: the law does not apply.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from softmax_notes.check._subject import LOSSES, PRODUCTS, SCORES, Arg, Subject

# Few shapes, the smallest first: JAX compiles anew for each, and no square table that is not
# beside an oblong one, for what mixes rows and columns up to be seen.
VECTORS = ((2,), (3,), (1,), (5,))
TABLES = ((2, 3), (3, 2), (1, 2), (4, 1), (3, 3))
CUBES = ((2, 3, 2), (1, 2, 3))


def shapes(f: Subject, ndim: int | None) -> Sequence[tuple[int, ...]]:
    """Give the shapes that a function of this kind is tried on."""
    if f.kind in LOSSES:
        return TABLES[:4]
    if ndim is not None:
        return {1: VECTORS, 2: TABLES}.get(ndim, CUBES)
    if f.kind in SCORES:
        return (VECTORS[0], TABLES[0], VECTORS[1], TABLES[1], VECTORS[2], TABLES[3])
    return VECTORS


@st.composite
def array_of(draw: Any, shape: tuple[int, ...], largest: int, dtype: str = "float64") -> Any:
    """Draw multiples of 1/8, which every format holds and whose differences are exact."""
    size = int(np.prod(shape))
    number = st.integers(-8 * largest, 8 * largest)
    eighths = draw(st.lists(number, min_size=size, max_size=size))
    return (np.array(eighths, dtype=np.float64) / 8).reshape(shape).astype(dtype)


@st.composite
def scores(
    draw: Any,
    f: Subject,
    ndim: int | None,
    largest: int = 8,
    dtype: str = "float64",
    among: Sequence[tuple[int, ...]] | None = None,
) -> Arg:
    shape = draw(st.sampled_from(among or shapes(f, ndim)))
    return Arg(draw(array_of(shape, largest, dtype)), dtype)


@st.composite
def distributions(
    draw: Any,
    f: Subject,
    ndim: int | None,
    dtype: str = "float64",
    among: Sequence[tuple[int, ...]] | None = None,
) -> Arg:
    """Draw probabilities: shares of whole numbers, so that a reader can write them down."""
    shape = draw(st.sampled_from(among or shapes(f, ndim)))
    size = int(np.prod(shape))
    weights = draw(st.lists(st.integers(1, 16), min_size=size, max_size=size))
    table = np.array(weights, dtype=np.float64).reshape(shape)
    return Arg((table / table.sum(axis=-1, keepdims=True)).astype(dtype), dtype)


@st.composite
def targets(draw: Any, x: Arg, axis: int = -1) -> Arg:
    shape = np.moveaxis(x.values, axis, -1).shape
    size = int(np.prod(shape[:-1]))
    classes = draw(st.lists(st.integers(0, shape[-1] - 1), min_size=size, max_size=size))
    return Arg(np.array(classes, dtype=np.int64).reshape(shape[:-1]), "int64")


@st.composite
def arguments(
    draw: Any,
    f: Subject,
    ndim: int | None,
    largest: int = 8,
    dtype: str = "float64",
    among: Sequence[tuple[int, ...]] | None = None,
) -> Any:
    """Draw what a function of this kind takes."""
    if f.kind in SCORES:
        return (draw(scores(f, ndim, largest, dtype, among)),)
    if f.kind in LOSSES:
        x = draw(scores(f, ndim, largest, dtype, among))
        return x, draw(targets(x))
    p = draw(distributions(f, ndim, dtype, among))
    if f.kind == "softmax_jacobian":
        return (p,)
    return p, Arg(draw(array_of(p.values.shape, largest, dtype)), dtype)


def plain(strategy: Any) -> Any:
    return strategy.map(lambda given: (given, {}))


def tupled(*strategies: Any) -> Any:
    return plain(st.tuples(*strategies))


def any_scores(f: Subject, ndim: int | None) -> Any:
    return tupled(scores(f, ndim))


def any_arguments(f: Subject, ndim: int | None) -> Any:
    return plain(arguments(f, ndim))


def shifts(f: Subject, ndim: int | None) -> Any:
    given = arguments(f, ndim)
    whole = st.integers(-10, 10).filter(bool).map(float)
    return plain(st.tuples(given, whole).map(lambda drawn: (*drawn[0], drawn[1])))


def permutations(f: Subject, ndim: int | None) -> Any:
    several = [s for s in shapes(f, ndim) if s[-1] > 1]
    return plain(
        scores(f, ndim, among=several).flatmap(
            lambda x: st.tuples(st.just(x), st.permutations(range(x.values.shape[-1])))
        )
    )


def pairs_of_classes(f: Subject, ndim: int | None) -> Any:
    pairs: list[tuple[int, ...]] = [(2,), (3, 2)]
    among = [s for s in pairs if ndim in (None, len(s))] or [(2, 2, 2)]
    return tupled(scores(f, ndim, among=among))


def segments(f: Subject, ndim: int | None) -> Any:
    return plain(
        st.sampled_from(shapes(f, ndim)).flatmap(
            lambda shape: st.tuples(*[scores(f, ndim, among=[shape])] * 2)
        )
    )


def directions(f: Subject, ndim: int | None) -> Any:
    """Draw probabilities and a direction, also for functions of probabilities alone."""
    return plain(
        distributions(f, ndim).flatmap(
            lambda p: st.tuples(
                st.just(p), array_of(p.values.shape, 8).map(lambda v: Arg(v, "float64"))
            )
        )
    )


def constants(f: Subject, ndim: int | None) -> Any:
    return tupled(distributions(f, ndim), st.integers(1, 8).map(float))


def factors(f: Subject, ndim: int | None) -> Any:
    given = arguments(f, ndim)
    return plain(
        st.tuples(given, st.sampled_from([2.0, -1.0, 0.0, 8.0])).map(
            lambda drawn: (*drawn[0], drawn[1])
        )
    )


def large(f: Subject, ndim: int | None) -> Any:
    return plain(arguments(f, ndim, largest=2000))


def single_precision(f: Subject, ndim: int | None) -> Any:
    largest = 100 if f.kind in SCORES or f.kind in LOSSES else 8
    return plain(arguments(f, ndim, largest=largest, dtype="float32"))


def every_axis(f: Subject, ndim: int | None) -> Any:
    """Draw every axis of tables and more; only for functions of which that is asked."""
    if f.kind not in SCORES and not f.accepts("axis"):
        return None
    among = [s for s in (*TABLES[:2], CUBES[0]) if ndim in (None, len(s))]
    if not among:
        return None
    if f.kind in LOSSES:
        given = (
            scores(f, ndim, among=among)
            .flatmap(with_axis)
            .flatmap(
                lambda drawn: st.tuples(
                    st.tuples(st.just(drawn[0]), targets(drawn[0], drawn[1])),
                    st.just(drawn[1]),
                )
            )
        )
    elif f.kind in SCORES:
        given = (
            scores(f, ndim, among=among)
            .flatmap(with_axis)
            .map(lambda drawn: ((drawn[0],), drawn[1]))
        )
    else:
        given = arguments(f, ndim, among=among).flatmap(
            lambda args: st.integers(-args[0].values.ndim, args[0].values.ndim - 1).map(
                # Probabilities sum to 1 along the last axis: it is brought to where axis says.
                lambda axis: (
                    tuple(Arg(np.moveaxis(a.values, -1, axis), a.dtype) for a in args),
                    axis,
                )
            )
        )
    return given.map(lambda drawn: (drawn[0], {"axis": drawn[1]}))


def with_axis(x: Arg) -> Any:
    return st.tuples(st.just(x), st.integers(-x.values.ndim, x.values.ndim - 1))


def batches(f: Subject, ndim: int | None) -> Any:
    among = [s for s in (*TABLES[:4], *CUBES) if ndim in (None, len(s))]
    return plain(arguments(f, ndim, among=among)) if among else None


def corners(f: Subject, ndim: int | None) -> Any:
    if ndim not in (None, 1):
        return None
    ps = [[1.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.5, 0.0]]
    args: list[tuple[Arg, ...]] = [(Arg(np.array(p)),) for p in ps]
    if f.kind != "softmax_jacobian":
        args = [(p, Arg(np.arange(1.0, len(p.values) + 1))) for (p,) in args]
    return [(given, {}) for given in args]


def reductions(f: Subject, ndim: int | None) -> Any:
    if not f.accepts("reduction"):
        return None
    # The gradient for "none" is that of the sum.
    names = st.sampled_from(["sum", "none"])
    return st.tuples(arguments(f, ndim), names.map(lambda name: {"reduction": name}))


HARD = (  # scores made to hurt: NumPy code, the shortest first
    "[18.0, 0.0]",
    "[0.0, -0.1]",
    "[0.0, -3.3, -7.7]",
    "[1.0, 1.0000001, 0.9999999]",
    "np.random.default_rng(0).normal(size=17) * 3",
    "np.random.default_rng(1).uniform(-80, 0, size=100) + 999.9",
    "np.random.default_rng(5).uniform(-80, 9, size=50)",
    "np.random.default_rng(6).uniform(-700, 70, size=50)",
    "np.random.default_rng(2).normal(size=30) - np.log(30)",
    "np.random.default_rng(3).uniform(-60, -5, size=50).tolist() + [0.0]",
    "np.random.default_rng(4).normal(size=9) * 1e30",
    "np.resize([0.0, -3.3, -7.7], 20000)",
)


def case(expression: str, dtype: str, f: Subject) -> Any:
    """Make the arguments of an accuracy law from NumPy code."""
    values = np.asarray(eval(expression, {"np": np}), np.float64)
    short = expression if "np." in expression else ""
    x = rounded(values, dtype, f, short)
    if f.kind not in LOSSES:
        return (x,), {}
    table = Arg(x.values[None], dtype, expression=f"[{short}]" if short else "")
    return (table, Arg(np.array([int(np.argmax(x.values))]))), {}


def rounded(values: Any, dtype: str, f: Subject, expression: str = "") -> Arg:
    """Round numbers to a dtype, as the library does."""
    with f.library.context(), np.errstate(over="ignore"):
        kept = f.library.to_numpy(f.library.make(values, dtype))
    return Arg(kept, dtype, expression=expression)


def hard(f: Subject, ndim: int | None) -> Any:
    if ndim not in (None, 1) and f.kind not in LOSSES:
        return None
    return [case(e, dtype, f) for e in HARD for dtype in ("float64", "float32")]


def sixteen_bits(f: Subject, ndim: int | None) -> Any:
    dtypes = [d for d in ("float16", "bfloat16") if d in f.library.dtypes]
    if ndim not in (None, 1) and f.kind not in LOSSES:
        return None
    if f.kind not in SCORES and f.kind not in LOSSES:
        cases: list[Any] = [
            ((Arg(np.array([0.6875, 0.1875, 0.125, 0.0]), dtype),), {"limit": 1.0})
            for dtype in dtypes
        ]
        if f.kind in PRODUCTS:
            v = np.array([3.0, -5.0, 100.0, 7.0])
            cases = [((*given, Arg(v, given[0].dtype)), extra) for given, extra in cases]
        return cases or None
    hard = (
        "[0.0, 1.0, 2.0]",
        "[18.0, 0.0]",
        "np.random.default_rng(0).normal(size=17) * 3",
        "np.random.default_rng(1).normal(size=3000).round(1) * 3",
        "np.zeros(100000)",
    )
    cases = [case(e, dtype, f) for e in hard for dtype in dtypes]
    return [(args, {"limit": 1.0}) for args, _ in cases] or None


def tiny(f: Subject, ndim: int | None) -> Any:
    if ndim not in (None, 1) and f.kind not in LOSSES:
        return None
    if f.kind in LOSSES:
        return [((Arg(np.array([[90.0, 0.0]], np.float32), "float32"), Arg(np.array([0]))), {})]
    return [((Arg(np.array([0.0, -90.0], np.float32), "float32"),), {})]


def hard_corners(f: Subject, ndim: int | None) -> Any:
    """Give probabilities that sum to 1 exactly, or next to a corner, in floating point."""
    if ndim not in (None, 1):
        return None
    cases: list[Any] = []
    for dtype, small in (("float64", 2.0**-40), ("float32", 2.0**-20)):
        for p in (
            [0.5, 0.25, 0.25],
            [1 - small, small],
            [1.0, small**3],
            [small**3, 1.0, small**4],
        ):
            args: tuple[Arg, ...] = (Arg(np.array(p, dtype), dtype),)
            if f.kind in PRODUCTS:
                v = np.arange(len(p), 0, -1.0)
                args = (*args, Arg(v.astype(dtype), dtype))
            cases.append((args, {}))
    return cases


def offsets(f: Subject, ndim: int | None) -> Any:
    if ndim not in (None, 1):
        return None
    p, v = Arg(np.array([0.5, 0.25, 0.25])), Arg(np.array([1.0, 0.0, 3.0]))
    single = (Arg(p.values, "float32"), Arg(v.values, "float32"))
    return [((p, v, 2.0**40), {}), ((*single, 2.0**18), {})]


def integers(f: Subject, ndim: int | None) -> Any:
    rows: dict[str, Any] = {
        "int8": [-128, 127, 127],
        "uint8": [0, 255, 254],
        "int64": [-3, 0, 2],
        "bool": [False, True, True],
    }
    if ndim not in (None, 1, 2):
        return None
    cases: list[Any] = []
    for dtype, row in rows.items():
        x = Arg(np.array([row, row[::-1]] if ndim == 2 or f.kind in LOSSES else row, dtype), dtype)
        cases.append(((x, Arg(np.array([1, 0]))) if f.kind in LOSSES else (x,), {}))
    return cases


_NAN, _INF = math.nan, math.inf

# scores, softmax, log_softmax, logsumexp: the contract of the book; each row stands beside [0, 0]
EDGES: dict[str, list[tuple[list[float], list[float], list[float], float]]] = {
    "forbidden": [
        ([-_INF, 0.0], [0.0, 1.0], [-_INF, 0.0], 0.0),
        ([3.0, -_INF], [1.0, 0.0], [0.0, -_INF], 3.0),
    ],
    "nothing left": [([-_INF, -_INF], [_NAN] * 2, [_NAN] * 2, -_INF)],
    "NaN": [
        ([_NAN, 0.0], [_NAN] * 2, [_NAN] * 2, _NAN),
        ([-_INF, _NAN], [_NAN] * 2, [_NAN] * 2, _NAN),
    ],
    "+infinity": [
        ([_INF, 0.0], [_NAN] * 2, [_NAN] * 2, _INF),
        ([_INF, -_INF], [_NAN] * 2, [_NAN] * 2, _INF),
    ],
}


def edge(name: str) -> Callable[[Subject, int | None], Any]:
    def cases(f: Subject, ndim: int | None) -> Any:
        place = SCORES.index(f.kind) + 1
        calm = ([0.5, 0.5], [-math.log(2)] * 2, math.log(2))[place - 1]
        found: list[Any] = []
        for edge in EDGES[name]:
            if ndim in (None, 1):
                found.append(((Arg(np.array(edge[0])),), {"expected": edge[place]}))
            if ndim in (None, 2):
                found.append(
                    ((Arg(np.array([edge[0], [0.0, 0.0]])),), {"expected": [edge[place], calm]})
                )
        return found or None

    return cases


def loss_edges(f: Subject, ndim: int | None) -> Any:
    """Give rows with a forbidden class, as target or not, and a row of NaN."""

    def case(x: Any, t: int, loss: float, grad: Any) -> Any:
        expected = loss if f.kind == "cross_entropy" else [grad]
        return (Arg(np.array([x])), Arg(np.array([t]))), {"expected": expected}

    one = 1 / (1 + math.e)
    return [
        case([0.0, -_INF, 1.0], 0, math.log1p(math.e), [one - 1, 0.0, 1 - one]),
        case([0.0, -_INF], 1, _INF, [1.0, -1.0]),
        case([0.0, _NAN], 0, _NAN, [_NAN] * 2),
    ]


def products_edges(f: Subject, ndim: int | None) -> Any:
    if ndim not in (None, 2):
        return None
    p = Arg(np.array([[_NAN, _NAN], [0.5, 0.5]]))
    half = [[0.25, -0.25], [-0.25, 0.25]]
    if f.kind == "softmax_jacobian":
        return [((p,), {"expected": [[[_NAN] * 2] * 2, half]})]
    v = Arg(np.array([[1.0, 2.0], [1.0, 0.0]]))
    return [((p, v), {"expected": [[_NAN] * 2, half[0]]})]


def nothing(f: Subject, ndim: int | None) -> Any:
    if ndim not in (None, 2):
        return None
    found: list[Any] = []
    shapes: list[tuple[int, ...]] = [(2, 0), (0, 3)]
    for shape in shapes:
        x = Arg(np.empty(shape))
        if f.kind in LOSSES:
            if shape[0] == 0 and f.kind == "cross_entropy_grad":
                found.append(((x, Arg(np.empty(0, np.int64))), {"expected": x.values}))
            continue
        expected = {
            "logsumexp": np.full(shape[:1], -_INF),
            "softmax_jacobian": np.empty((*shape, shape[-1])),
        }.get(f.kind, x.values)
        args = (x, Arg(np.empty(shape))) if f.kind in PRODUCTS else (x,)
        found.append((args, {"expected": expected}))
    return found or None


def layouts(f: Subject, ndim: int | None) -> Any:
    if not f.library.layouts or ndim not in (None, 2):
        return None
    x = np.array([[0.25, -1.0, 2.0], [1.5, 0.0, -0.75]])
    p = np.array([[0.125, 0.25, 0.625], [0.5, 0.4375, 0.0625]])
    found: list[Any] = []
    for layout in f.library.layouts:
        first = Arg(x if f.kind in (*SCORES, *LOSSES) else p, layout=layout)
        if layout == "broadcast":
            first = Arg(np.broadcast_to(first.values[:1], first.values.shape), layout=layout)
        args: tuple[Arg, ...] = (first,)
        if f.kind in LOSSES:
            args = (first, Arg(np.array([2, 0])))
        if f.kind in PRODUCTS:
            args = (first, Arg(x, layout="plain" if layout == "broadcast" else layout))
        found.append((args, {}))
    return found


def masked_entries(f: Subject, ndim: int | None) -> Any:
    """Give entries that ``where`` excludes, holding anything; for functions that have it."""
    if not f.accepts("where") or ndim not in (None, 1):
        return None
    found: list[Any] = []
    for hidden in (5.0, _NAN, _INF):
        for mask, edge in (([True, False], [1.0, 0.0]), ([False, False], [0.0, 0.0])):
            kept = mask[0]
            expected = {
                "softmax": edge,
                "log_softmax": [0.0 if kept else -_INF, -_INF],
                "logsumexp": 2.0 if kept else -_INF,
            }[f.kind]
            x = Arg(np.array([2.0 if kept else hidden, hidden]))
            where = Arg(np.array(mask), "bool")
            found.append(((x,), {"where": where, "expected": expected}))
    return found


def loss_options(f: Subject, ndim: int | None) -> Any:
    """Give weights, ignored targets and smoothing, as far as the function takes them."""
    x = Arg(np.array([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0], [-1.0, 0.5, 4.0]]))
    options: list[dict[str, Any]] = []
    if f.accepts("label_smoothing"):
        options += [{"label_smoothing": 0.25}]
    if f.accepts("weight"):
        options += [{"weight": Arg(np.array([0.5, 1.0, 2.0]))}]
    if f.accepts("ignore_index"):
        options += [{"ignore_index": -100}]
    if {"weight", "label_smoothing"} <= {k for o in options for k in o}:
        options += [{"weight": Arg(np.array([0.5, 1.0, 2.0])), "label_smoothing": 0.25}]
    cases = [
        ((x, Arg(np.array([0, -100, 1] if "ignore_index" in o else [0, 2, 1]))), o) for o in options
    ]
    return cases or None


def bad_targets(f: Subject, ndim: int | None) -> Any:
    x = Arg(np.array([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0]]))
    return [((x, Arg(np.array([0, wrong]))), {}) for wrong in (3, -1)]


def missing_axis(f: Subject, ndim: int | None) -> Any:
    return [((Arg(np.array([0.0, 1.0])),), {"axis": 3})] if ndim in (None, 1) else None


def many_classes(f: Subject, ndim: int | None) -> Any:
    """Give a number of classes, where memory can be traced."""
    return [((2000,), {})] if f.library.name == "numpy" and ndim in (None, 1) else None


def masked_arrays(f: Subject, ndim: int | None) -> Any:
    if f.library.name != "numpy" or ndim not in (None, 1):
        return None
    return [((Arg(np.array([0.0, 1.0, 2.0]), layout="masked"),), {})]
