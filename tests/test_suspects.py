"""The faults that `check` knows beside those planted in tests/faulty.py: the same numbers."""

import numpy as np
import pytest

from softmax_notes.check._suspects import suspects_of
from tests.faulty import FAULTS

RNG = np.random.default_rng(0)
X = 3 * RNG.normal(size=(3, 3))
INTEGERS = np.array([[100, 1, -100], [2, 120, 1], [3, 4, 5]], dtype=np.int8)
P = np.abs(X) / np.abs(X).sum(axis=-1, keepdims=True)
V = RNG.normal(size=(3, 3))
TARGET = np.array([0, 2, 1])
TABLES = [X, 10 * X]
SCORES = [((x,), {}) for x in (*TABLES, X[0], np.stack([X, 2 * X]))] + [((X,), {"axis": 0})]
LOSSES = [((x, TARGET), {}) for x in TABLES]
ARGUMENTS = {
    **dict.fromkeys(["softmax", "log_softmax", "logsumexp"], SCORES),
    **dict.fromkeys(["cross_entropy", "cross_entropy_grad"], LOSSES),
    "softmax_jacobian": [((p,), {}) for p in (P, P[0])],
    **{kind: [((P, V), {}), ((P[0], V[0]), {})] for kind in ("softmax_jvp", "softmax_vjp")},
}


# Known by the shape of what they give, or by what they make of weights.
BY_LOOKS = {
    "sum_of_everything", "diagonal_matrix", "diagonal_as_a_vector", "unweighted_mean",
}  # fmt: skip


def value(function, args, options):
    """What a wrong function gives; None where it gives nothing."""
    try:
        with np.errstate(all="ignore"):
            return function(*args, **options)
    except (TypeError, ValueError, IndexError):
        return None


def agreement(simulate, fault):
    """Tell for each call that both can answer whether they answer alike."""
    calls = ARGUMENTS[fault.kind]
    if fault.diagnosis == "wrapped-integers":
        calls = [((INTEGERS, *args[1:]), options) for args, options in calls[:1]]
    for call in calls:
        ours, planted = value(simulate, *call), value(fault.function, *call)
        if ours is not None and planted is not None:
            yield np.shape(ours) == np.shape(planted) and np.allclose(
                ours, planted, rtol=1e-5, equal_nan=True
            )


@pytest.mark.parametrize("name", sorted(FAULTS.keys() - BY_LOOKS))
def test_a_suspect_computes_what_the_fault_does_that_it_is_named_after(name):
    fault = FAULTS[name]
    suspects = [s for s in suspects_of(fault.kind) if s.name == fault.diagnosis]
    found = [list(agreement(suspect.simulate, fault)) for suspect in suspects]
    assert not suspects or any(alike and all(alike) for alike in found), found


# --- each fault once more, for one row, as its words say it


def soft(row):
    weights = np.exp(row - row.max())
    return weights / weights.sum()


def naive(row):
    return np.exp(row) / np.exp(row).sum()


def logs(row):
    return row - row.max() - np.log(np.exp(row - row.max()).sum())


def total(row):
    return row.max() + np.log(np.exp(row - row.max()).sum())


ROWS = {"softmax": soft, "log_softmax": logs, "logsumexp": total}
EPS = (1e-3, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-12)
EPS_OF_LOGS = (*EPS, 1e-15, 1e-20, 1e-30)


def each(function):
    """Do with every row along the axis what a function does with one."""
    return lambda x, axis=-1: np.apply_along_axis(function, axis, x)


def wrapped(row):
    """Subtract the maximum in whole numbers of so many bits, as a computer does."""
    half = 2 ** (8 * row.dtype.itemsize - 1) * (row.dtype.kind == "i")
    size = 256**row.dtype.itemsize
    left = [(int(n) - int(row.max()) + half) % size - half for n in row]
    return np.array(left, dtype=np.float64)


def is_last(x, axis):
    return axis in (-1, x.ndim - 1)


def faults_of_scores(kind):
    """List name, function, and what the words must mention of each fault of scores, in order."""
    right = ROWS[kind]
    logarithm = kind != "softmax"

    def shifted(shift):
        def of(row, x):
            weights, c = np.exp(row - shift(row, x)), shift(row, x)
            if kind == "softmax":
                return weights / weights.sum()
            if kind == "log_softmax":
                return row - c - np.log(weights.sum())
            return c + np.log(weights.sum())

        return lambda x, axis=-1: np.apply_along_axis(of, axis, x, x)

    def along_another(x, axis=-1):
        if x.ndim < 2:
            return None
        return each(right)(x, -1 if axis in (0, -x.ndim) else 0)

    def over_all(x, axis=-1):
        return None if x.ndim < 2 or kind == "logsumexp" else right(x.ravel()).reshape(x.shape)

    def shorter(dtype):
        def of(row):
            return right(row.astype(dtype)).astype(row.dtype)

        return lambda x, axis=-1: (
            each(of)(x, axis) if np.finfo(dtype).bits < np.finfo(x.dtype).bits else None
        )

    return [
        ("wrapped-integers", lambda x, axis=-1: None, "integers"),
        ("wrong-axis", along_another, "axis"),
        ("global", over_all, "whole"),
        ("axis-ignored", lambda x, axis=-1: None if is_last(x, axis) else each(right)(x), "axis"),
        ("no-shift", shifted(lambda row, x: 0), "maximum"),
        ("shift-added", shifted(lambda row, x: -row.max()), "added"),
        ("global-shift", shifted(lambda row, x: x.max()), "whole"),
        ("shift-mean", shifted(lambda row, x: row.mean()), "mean"),
        ("shift-min", shifted(lambda row, x: row.min()), "minimum"),
        ("shift-first", shifted(lambda row, x: row[0]), "first"),
        ("shift-abs", shifted(lambda row, x: np.abs(row).max()), "absolute"),
        ("negated", each(lambda row: right(-row)), "sign"),
        ("base-2", each(lambda row: right(row * np.log(2)) / np.log(2) ** logarithm), "2"),
        ("base-2-log", each(lambda row: right(row) / np.log(2)) if logarithm else None, "base"),
        ("base-10-log", each(lambda row: right(row) / np.log(10)) if logarithm else None, "10"),
        ("double-softmax", each(lambda row: right(soft(row))), "softmax of a softmax"),
        ("scores", None if kind == "logsumexp" else lambda x, axis=-1: x, "scores"),
        *[
            (
                "clipped-scores",
                each(lambda row, a=a: right(np.minimum(np.maximum(row, -a), a))),
                f"±{a}:",
            )
            for a in (5, 10, 20, 30, 50, 80, 88, 100, 500, 700, 709)
        ],
        *[("low-precision", shorter(d), f" {d} ") for d in ("float32", "float16")],
        ("nan-hidden", each(lambda row: np.nan_to_num(right(row))), "NaN"),
        *OWN[kind],
    ]


def sums_without_keepdims(x, axis=-1):
    if x.ndim != 2 or x.shape[0] != x.shape[1]:
        return None
    sums = [np.exp(row).sum() for row in np.moveaxis(x, axis, -1)]
    return np.array([[np.exp(x[i, j]) / sums[j] for j in range(len(x))] for i in range(len(x))])


def with_eps(weights, eps):
    return weights / (weights.sum() + eps)


OWN = {
    "softmax": [
        ("log", each(logs), "log"),
        ("not-normalized", lambda x, axis=-1: np.exp(x), "divided"),
        ("not-normalized", each(lambda row: np.exp(row - row.max())), "divided"),
        ("argmax", each(lambda row: (row == row.max()).astype(row.dtype)), "argmax"),
        ("sigmoids", lambda x, axis=-1: 1 / (1 + np.exp(-x)), "sigmoid"),
        ("linear", each(lambda row: row / row.sum()), "exponential"),
        ("n-times", each(lambda row: soft(row) * len(row)), "sum to n"),
        ("squared", each(lambda row: soft(row) * soft(row)), "squared"),
        *[
            ("eps-added", each(lambda r, e=e: with_eps(np.exp(r - r.max()), e)), f"{e:g} is")
            for e in EPS
        ],
        *[("eps-added", each(lambda r, e=e: with_eps(np.exp(r), e)), f"{e:g} is") for e in EPS],
        *[
            ("clipped", each(lambda r, e=e: np.minimum(np.maximum(soft(r), e), 1 - e)), f"{e:g}:")
            for e in (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-12, 1e-15)
        ],
        *[
            ("rounded", each(lambda row, d=d: np.round(soft(row), d)), f"to {d} decimals")
            for d in (1, 2, 3, 4, 5, 6, 8)
        ],
        ("keepdims", sums_without_keepdims, "keepdims"),
        (
            "uniform-when-empty",
            each(lambda row: np.where(np.isnan(soft(row)), 1 / len(row), soft(row))),
            "uniform",
        ),
    ],
    "log_softmax": [
        ("probabilities", each(soft), "logarithm"),
        ("sign", each(lambda row: -logs(row)), "sign"),
        ("log-of-softmax", each(lambda row: np.log(soft(row))), "rounded to 0:"),
        ("log-of-softmax", each(lambda row: np.log(naive(row))), "overflowed"),
        ("shift-lost", each(lambda r: r - np.log(np.exp(r - r.max()).sum())), "not outside"),
        ("no-log1p", each(logs), "log1p"),
        ("no-log1p", each(lambda row: row - total(row)), "cancels"),
        *[
            ("eps-added", each(lambda row, e=e: np.log(soft(row) + e)), f"{e:g} is")
            for e in EPS_OF_LOGS
        ],
        *[
            ("clipped", each(lambda row, e=e: np.log(np.maximum(soft(row), e))), f"{e:g} before")
            for e in EPS_OF_LOGS
            if e != 1e-5
        ],
    ],
    "logsumexp": [
        ("maximum", each(np.max), "maximum"),
        ("shift-lost", each(lambda row: total(row) - row.max()), "not added back"),
        ("log-mean", each(lambda row: total(row) - np.log(len(row))), "mean"),
        ("no-log", each(lambda row: np.exp(row).sum()), "logarithm"),
        ("sum-of-logs", each(np.sum), "sum of the scores"),
        ("no-log1p", each(total), "log1p"),
    ],
}


def mean_loss(log_p):
    return lambda x, t, **o: np.mean([-log_p(row)[c] for row, c in zip(x, t, strict=True)])


def all_losses(x, t, log_p=logs):
    return [-log_p(row)[c] for row, c in zip(x, t, strict=True)]


FAULTS_OF_LOSSES = [
    ("wrapped-integers", lambda x, t, **o: None, "integers"),
    ("sum-not-mean", lambda x, t, **o: np.sum(all_losses(x, t)), "summed"),
    (
        "mean-not-sum",
        lambda x, t, **o: np.mean(all_losses(x, t)) if o.get("reduction") == "sum" else None,
        "averaged",
    ),
    ("sign", lambda x, t, **o: -np.mean(all_losses(x, t)), "minus"),
    ("probabilities", mean_loss(soft), "−p"),
    ("probabilities", mean_loss(lambda row: soft(row) - 1), "1 − p"),
    ("double-softmax", mean_loss(lambda row: logs(soft(row))), "twice"),
    ("no-softmax", mean_loss(lambda row: row), "missing"),
    ("wrong-axis", lambda x, t, **o: np.mean(all_losses(each(logs)(x, 0), t, np.array)), "batch"),
    (
        "global",
        lambda x, t, **o: np.mean(all_losses(logs(x.ravel()).reshape(x.shape), t, np.array)),
        "whole",
    ),
    ("mean-of-all", lambda x, t, **o: np.sum(all_losses(x, t)) / x.size, "rows and classes"),
    ("one-based", lambda x, t, **o: np.mean(all_losses(x, (t - 1) % x.shape[-1])), "from 1"),
    ("diagonal", lambda x, t, **o: np.mean([[-logs(row)[c] for c in t] for row in x]), "every"),
    ("base-2-log", lambda x, t, **o: np.mean(all_losses(x, t)) / np.log(2), "base 2"),
    ("base-10-log", lambda x, t, **o: np.mean(all_losses(x, t)) / np.log(10), "base 10"),
    ("no-shift", mean_loss(lambda row: np.log(naive(row))), "overflow"),
    ("no-shift", mean_loss(lambda row: row - np.log(np.exp(row).sum())), "overflow"),
    ("log-of-softmax", mean_loss(lambda row: np.log(soft(row))), "rounded to 0"),
    ("no-log1p", mean_loss(logs), "log1p"),
    *[
        ("eps-added", mean_loss(lambda row, e=e: np.log(soft(row) + e)), f"{e:g} is")
        for e in EPS_OF_LOGS
    ],
    *[
        ("clipped", mean_loss(lambda r, e=e, top=top: np.log(clip(soft(r), e, top))), f"{e:g}:")
        for top in (True, False)
        for e in EPS_OF_LOGS
        if e != 1e-20
    ],
    (
        "reduction-ignored",
        lambda x, t, **o: (
            np.mean(all_losses(x, t)) if o.get("reduction", "mean") != "mean" else None
        ),
        "reduction",
    ),
]


def clip(p, eps, top):
    return np.minimum(np.maximum(p, eps), 1 - eps if top else np.inf)


def gradient(grad):
    """Make the gradient of the mean from that of one row, given its scores and target."""
    return lambda x, t, **o: (
        np.array([grad(r, hot(r, c)) for r, c in zip(x, t, strict=True)]) / len(x)
    )


def hot(row, target):
    return np.array([1.0 if c == target else 0.0 for c in range(len(row))], dtype=row.dtype)


def minus_targets(p, t):
    return np.array([row - hot(row, c) for row, c in zip(p, t, strict=True)])


FAULTS_OF_GRADIENTS = [
    ("wrapped-integers", lambda x, t, **o: None, "integers"),
    ("sum-not-mean", lambda x, t, **o: minus_targets(each(soft)(x), t), "summed"),
    ("sign", gradient(lambda row, y: y - soft(row)), "sign"),
    ("target-only", gradient(lambda row, y: np.where(y == 1, soft(row) - 1, 0)), "only"),
    ("no-target", gradient(lambda row, y: soft(row)), "alone"),
    ("chained", gradient(lambda row, y: -y / soft(row)), "alone"),
    (
        "jacobian-diagonal",
        gradient(lambda row, y: (soft(row) - y) * soft(row) * (1 - soft(row))),
        "diagonal",
    ),
    ("mean-of-all", gradient(lambda row, y: (soft(row) - y) / len(row)), "rows and classes"),
    ("doubled", gradient(lambda row, y: 2 * (soft(row) - y)), "twice"),
    ("double-softmax", gradient(lambda row, y: soft(soft(row)) - y), "twice"),
    ("no-softmax", gradient(lambda row, y: row - y), "missing"),
    (
        "wrong-axis",
        lambda x, t, **o: minus_targets(each(soft)(x, 0), t) / len(x),
        "batch",
    ),
    (
        "global",
        lambda x, t, **o: minus_targets(soft(x.ravel()).reshape(x.shape), t) / len(x),
        "whole",
    ),
    (
        "one-based",
        lambda x, t, **o: minus_targets(each(soft)(x), (t - 1) % x.shape[-1]) / len(x),
        "from 1",
    ),
    (
        "columns-of-targets",
        lambda x, t, **o: (
            np.array([[soft(row)[c] - (c in t) for c in range(len(row))] for row in x]) / len(x)
        ),
        "columns",
    ),
    ("no-shift", gradient(lambda row, y: naive(row) - y), "overflow"),
    (
        "chained-nan",
        gradient(
            lambda row, y: (soft(row)[:, None] * (np.eye(len(row)) - soft(row))) @ (-y / soft(row))
        ),
        "chain rule",
    ),
    ("no-expm1", gradient(lambda row, y: soft(row) - y), "expm1"),
]


def of_rows(function):
    """Make the matrix of every row of p from that of one."""
    return lambda p: np.array([*map(function, p)]) if p.ndim == 2 else function(p)


def entries(function):
    """Make the matrix of every row of p from its entry (i, j)."""
    return of_rows(
        lambda p: np.array([[function(p, i, j) for j in range(len(p))] for i in range(len(p))])
    )


def delta(i, j):
    return float(i == j)


def right_entry(p, i, j):
    return delta(i, j) * p[i] - p[i] * p[j]


def mixed(p):
    if p.ndim != 2 or p.shape[0] != p.shape[1]:
        return None
    n = range(len(p))
    return np.array(
        [[[delta(i, j) * p[b, j] - p[b, i] * p[j, b] for j in n] for i in n] for b in n]
    )


def last_row(columns):
    def entry(p, i, j):
        turned = i == len(p) - 1 and j in columns(len(p))
        return -right_entry(p, i, j) if turned else right_entry(p, i, j)

    return lambda p: None if p.shape[-1] < 2 else entries(entry)(p)


FAULTS_OF_JACOBIANS = [
    (
        "off-diagonal-sign",
        entries(lambda p, i, j: p[i] * (1 - p[i]) if i == j else p[i] * p[j]),
        "off-diagonal",
    ),
    ("last-row-sign", last_row(lambda n: range(n - 1)), "last row"),
    ("last-row-sign", last_row(lambda n: (1 if n > 2 else 0,)), "one entry"),
    ("sign", entries(lambda p, i, j: -right_entry(p, i, j)), "sign"),
    ("plus", entries(lambda p, i, j: delta(i, j) * p[i] + p[i] * p[j]), "+"),
    ("diagonal-only", entries(lambda p, i, j: delta(i, j) * p[i] * (1 - p[i])), "only"),
    ("diagonal-missing", entries(lambda p, i, j: -p[i] * p[j]), "−p pᵀ"),
    ("outer-only", entries(lambda p, i, j: p[i] * p[j]), "p pᵀ alone"),
    ("diagonal-p", entries(lambda p, i, j: p[i] if i == j else -p[i] * p[j]), "p_i:"),
    ("diagonal-square", entries(lambda p, i, j: 1 - p[i] ** 2 if i == j else -p[i] * p[j]), "²"),
    ("rows-one-minus", entries(lambda p, i, j: p[i] * (1 - p[j])), "everywhere"),
    ("scores", of_rows(lambda p: entries(right_entry)(soft(p))), "again"),
    (
        "index",
        entries(lambda p, i, j: 1 / len(p) * (1 - 1 / len(p)) if i == j else -p[i] * p[j]),
        "index",
    ),
    ("batch-mixed", mixed, "batch"),
    ("corner", entries(right_entry), "corner"),
]


def product(function, p, v, axis=-1):
    """Apply a function of one p and one v to the vectors along the axis."""
    p, v = np.moveaxis(p, axis, -1), np.moveaxis(v, axis, -1)
    made = np.array([*map(function, p, v)]) if p.ndim == 2 else function(p, v)
    return np.moveaxis(made, -1, axis)


def along(function):
    return lambda p, v, axis=-1: product(function, p, v, axis)


def dot_along_another(p, v, axis=-1):
    if p.ndim < 2:
        return None
    return p * (v - (p * v).sum(axis=-1 if axis in (0, -2) else 0, keepdims=True))


FAULTS_OF_PRODUCTS = [
    ("no-mean", lambda p, v, axis=-1: p * v, "not subtracted"),
    ("plain-mean", along(lambda p, v: p * (v - v.mean())), "plain"),
    ("sum-not-dot", along(lambda p, v: p * (v - v.sum())), "sum"),
    (
        "global-dot",
        lambda p, v, axis=-1: p * (v - np.vdot(p, v)) if p.ndim > 1 else None,
        "whole",
    ),
    ("wrong-axis", dot_along_another, "axis"),
    (
        "axis-ignored",
        lambda p, v, axis=-1: (
            None if is_last(p, axis) else product(lambda p, v: p * (v - p @ v), p, v)
        ),
        "axis",
    ),
    ("no-p", along(lambda p, v: v - p @ v), "factor"),
    ("sign", along(lambda p, v: p * (p @ v - v)), "sign"),
    ("plus", along(lambda p, v: p * (v + p @ v)), "+"),
    ("jacobian-diagonal", along(lambda p, v: (p - p * p) * v), "diagonal"),
    ("scores", along(lambda p, v: soft(p) * (v - soft(p) @ v)), "again"),
    ("outer-only", along(lambda p, v: p * (p @ v)), "alone"),
    ("swapped", along(lambda p, v: v * (p - p @ v)), "swapped"),
    ("cancellation", along(lambda p, v: p * (v - p @ v)), "second time"),
    ("cancellation", along(lambda p, v: p * v - p * (p @ v)), "before multiplying"),
]

IN_PLAIN_WORDS = {
    **{kind: faults_of_scores(kind) for kind in ROWS},
    "cross_entropy": FAULTS_OF_LOSSES,
    "cross_entropy_grad": FAULTS_OF_GRADIENTS,
    "softmax_jacobian": FAULTS_OF_JACOBIANS,
    **dict.fromkeys(["softmax_jvp", "softmax_vjp"], FAULTS_OF_PRODUCTS),
}

# Scores that overflow, differ by more than float64 can bridge, or are none; oblong and deep.
WIDE = np.array([[900.0, -900.0, 899.0, 0.0], [-2000.0, -2001.5, -1990.0, -1999.0]])
ODD = np.array([[-np.inf, 1.0, 0.5], [np.nan, 0.0, 2.0], [-np.inf] * 3, [0.25, 0.0, -4.0]])
CUBE = RNG.normal(size=(2, 3, 4))
AT_THE_LIMIT = np.array([710.0, 709.0])  # e^710 overflows, and e^709 does not
HARDER_SCORES = [
    *[((x,), {"axis": axis}) for x in (X, WIDE, ODD) for axis in (-1, 0, 1, -2)],
    *[((CUBE,), {"axis": axis}) for axis in (-3, -2, -1, 0, 1, 2)],
    *[((x.astype(np.float32),), {}) for x in (X, 100 * X[0])],
    *[((x,), {"axis": axis}) for x in (X[:1], X[:, :1]) for axis in (0, 1)],
    *[((x,), {}) for x in (X[0], WIDE[0], WIDE[1], X[0, :1], AT_THE_LIMIT)],
]
HARDER_LOSSES = [
    *[((x, TARGET), {}) for x in (X, 100 * X, X.astype(np.float32))],
    ((WIDE, np.array([3, 0])), {}),
    *[((X[:2], TARGET[:2]), {"reduction": r}) for r in ("sum", "none", "mean")],
]
HARDER_PRODUCTS = [
    ((P[0], V[0]), {}),
    *[((P[:2], V[:2]), {"axis": axis}) for axis in (-1, 0, 1, -2)],
    ((P.astype(np.float32), V.astype(np.float32)), {}),
]
HARDER = {
    **dict.fromkeys(ROWS, HARDER_SCORES),
    **dict.fromkeys(["cross_entropy", "cross_entropy_grad"], HARDER_LOSSES),
    "softmax_jacobian": [
        ((p,), {}) for p in (P, P[0], P[:2], P[:1], P[0, :2], P[0, :1], P.astype(np.float32))
    ],
    **dict.fromkeys(["softmax_jvp", "softmax_vjp"], HARDER_PRODUCTS),
}


@pytest.mark.parametrize("kind", IN_PLAIN_WORDS)
def test_every_suspect_gives_the_numbers_that_its_words_tell(kind):
    known, told = suspects_of(kind), IN_PLAIN_WORDS[kind]
    assert [suspect.name for suspect in known] == [name for name, _, _ in told]
    for suspect, (name, function, word) in zip(known, told, strict=True):
        assert word in suspect.words
        for args, options in HARDER[kind]:
            with np.errstate(all="ignore"):
                got = suspect.simulate(*args, **options)
                expected = None if function is None else function(*args, **options)
            assert (got is None) == (expected is None), (name, word, args, options)
            if got is not None:
                assert np.shape(got) == np.shape(expected), (name, word, args, options)
                rtol = 1e-5 if args[0].dtype == "float32" else 2e-3 if "16" in word else 1e-13
                np.testing.assert_allclose(got, expected, rtol, 1e-15, err_msg=f"{name} {word}")
                assert np.asarray(got).dtype == np.asarray(expected).dtype, (name, word, args)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16])
def test_integers_wrap_round_as_they_do_in_their_own_dtype(dtype):
    info = np.iinfo(dtype)
    x = np.array([[info.max, 1, info.min, 0], [2, info.min + 1, 5, 4]], dtype=dtype)
    target = np.array([2, 1])
    for kind in (*ROWS, "cross_entropy", "cross_entropy_grad"):
        suspect = suspects_of(kind)[0]
        assert suspect.name == "wrapped-integers"
        if kind in ROWS:
            for axis in (0, 1, -1):
                expected = each(lambda row, kind=kind: ROWS[kind](wrapped(row)))(x, axis)
                np.testing.assert_allclose(suspect.simulate(x, axis=axis), expected, 1e-13)
            continue
        rows = np.array([wrapped(row) for row in x])
        right = mean_loss(logs) if kind == "cross_entropy" else gradient(lambda r, y: soft(r) - y)
        np.testing.assert_allclose(suspect.simulate(x, target), right(rows, target), 1e-13)


def test_a_fault_that_is_not_one_of_integers_takes_them_as_numbers():
    for name in ("argmax", "log", "linear", "n-times"):
        suspect = next(s for s in suspects_of("softmax") if s.name == name)
        function = next(f for n, f, _ in OWN["softmax"] if n == name)
        x = np.array([[3, 1, 2], [0, 1, 5]])
        np.testing.assert_allclose(suspect.simulate(x), function(x.astype(float)), 1e-13)
