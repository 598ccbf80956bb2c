"""Faults of softmax, log_softmax and logsumexp: most once, dressed for the three of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from softmax_notes.check._suspects._formulas import (
    NO_SHIFT,
    WRAPPED,
    Suspect,
    log_softmax,
    logsumexp,
    naive_softmax,
    other_axis,
    softmax,
)


def suspects_of_scores(name: str) -> list[Suspect]:
    """List the faults of one of the three: those that they share, and its own."""
    core = {"softmax": softmax, "log_softmax": log_softmax, "logsumexp": logsumexp}[name]

    def shifted(shift: Callable[[Any, Any], Any]) -> Callable[..., Any]:
        def wrong(x: Any, axis: Any = -1) -> Any:
            c = shift(x, axis)
            weights = np.exp(x - c)
            total = weights.sum(axis=axis, keepdims=True)
            if name == "softmax":
                return weights / total
            if name == "log_softmax":
                return x - c - np.log(total)
            return np.squeeze(c + np.log(total), axis)

        return wrong

    shared = [
        Suspect(
            "wrapped-integers",
            WRAPPED,
            lambda x, axis=-1: (
                None
                if x.dtype.kind not in "iu"
                else core((x - x.max(axis=axis, keepdims=True)).astype(np.float64), axis=axis)
            ),
        ),
        Suspect(
            "wrong-axis",
            "normalized over the wrong axis",
            lambda x, axis=-1: core(x, axis=other_axis(x, axis)) if x.ndim > 1 else None,
        ),
        Suspect(
            "global",
            "normalized over the whole array at once: give the sum axis=-1, keepdims=True",
            lambda x, axis=-1: core(x, axis=None) if x.ndim > 1 and name != "logsumexp" else None,
        ),
        Suspect(
            "axis-ignored",
            "the argument axis is ignored: the last axis is always taken",
            lambda x, axis=-1: core(x, axis=-1) if axis not in (-1, x.ndim - 1) else None,
        ),
        Suspect("no-shift", NO_SHIFT, shifted(lambda x, axis: x.dtype.type(0))),
        Suspect(
            "shift-added",
            "the maximum is added, not subtracted: dividing numerator and denominator by e^(-C) "
            "gives e^(x + C); multiply by e^(-C) instead",
            shifted(lambda x, axis: -x.max(axis=axis, keepdims=True)),
        ),
        Suspect(
            "global-shift",
            "shifted by the maximum of the whole array, not of each row: rows far below underflow",
            shifted(lambda x, axis: x.max()),
        ),
        Suspect(
            "shift-mean",
            "shifted by the mean: the largest score can still overflow; subtract the maximum",
            shifted(lambda x, axis: x.mean(axis=axis, keepdims=True)),
        ),
        Suspect(
            "shift-min",
            "shifted by the minimum, so that the largest exponent grows: subtract the maximum",
            shifted(lambda x, axis: x.min(axis=axis, keepdims=True)),
        ),
        Suspect(
            "shift-first",
            "shifted by the first score, not by the maximum",
            shifted(lambda x, axis: np.take(x, [0], axis=axis)),
        ),
        Suspect(
            "shift-abs",
            "shifted by the largest absolute value: very negative rows underflow; "
            "subtract the maximum",
            shifted(lambda x, axis: np.abs(x).max(axis=axis, keepdims=True)),
        ),
        Suspect(
            "negated",
            "the sign of the scores is turned round: this is softmin",
            lambda x, axis=-1: core(-x, axis=axis),
        ),
        Suspect(
            "base-2",
            "2 to the power of x in place of e to the power of x",
            lambda x, axis=-1: (
                core(x * np.log(2), axis=axis) / (1 if name == "softmax" else np.log(2))
            ),
        ),
        Suspect(
            "base-2-log",
            "e for the exponential, but another base for the logarithm",
            lambda x, axis=-1: None if name == "softmax" else core(x, axis=axis) / np.log(2),
        ),
        Suspect(
            "base-10-log",
            "a logarithm to base 10: use log, not log10",
            lambda x, axis=-1: None if name == "softmax" else core(x, axis=axis) / np.log(10),
        ),
        Suspect(
            "double-softmax",
            "softmax of a softmax: apply it once",
            lambda x, axis=-1: core(softmax(x, axis=axis), axis=axis),
        ),
        Suspect(
            "scores",
            "the scores come back as they are",
            lambda x, axis=-1: None if name == "logsumexp" else x,
        ),
        *[
            Suspect(
                "clipped-scores",
                f"scores are clipped at ±{limit}: the maximum is the shift that needs no clipping",
                lambda x, axis=-1, a=limit: core(np.clip(x, -a, a), axis=axis),
            )
            for limit in (5, 10, 20, 30, 50, 80, 88, 100, 500, 700, 709)
        ],
        *[
            Suspect(
                "low-precision",
                f"computed in {dtype} inside: keep the precision of the argument",
                lambda x, axis=-1, d=dtype: (
                    None
                    if x.dtype.kind != "f" or (np.dtype(d).itemsize >= x.dtype.itemsize)
                    else core(x.astype(d), axis=axis).astype(x.dtype)
                ),
            )
            for dtype in ("float32", "float16")
        ],
        Suspect(
            "nan-hidden",
            "NaN is replaced by 0: an undefined result should say so",
            lambda x, axis=-1: np.nan_to_num(core(x, axis=axis)),
        ),
    ]
    return shared + _OWN[name]


def _weights(x: Any, axis: Any) -> Any:
    return np.exp(x - x.max(axis=axis, keepdims=True))


def _after(change: Callable[..., Any]) -> Callable[..., Any]:
    """Change the probabilities of a correct softmax."""
    return lambda x, axis=-1: change(softmax(x, axis=axis), x, axis)


_SOFTMAX = [
    Suspect(
        "log",
        "logarithms of the probabilities: this is log_softmax",
        log_softmax,
    ),
    Suspect(
        "not-normalized",
        "exponentials that are not divided by their sum",
        lambda x, axis=-1: np.exp(x),
    ),
    Suspect(
        "not-normalized",
        "exponentials that are not divided by their sum",
        lambda x, axis=-1: _weights(x, axis),
    ),
    Suspect(
        "argmax",
        "all or nothing: this is the one-hot argmax, without the softness",
        lambda x, axis=-1: (x == x.max(axis=axis, keepdims=True)).astype(x.dtype),
    ),
    Suspect(
        "sigmoids",
        "a sigmoid of each score: they do not compete for one sum",
        lambda x, axis=-1: 1 / (1 + np.exp(-x)),
    ),
    Suspect(
        "linear",
        "scores divided by their sum: the exponential is missing",
        lambda x, axis=-1: x / x.sum(axis=axis, keepdims=True),
    ),
    Suspect(
        "n-times",
        "means in place of sums: the results sum to n, not to 1",
        _after(lambda p, x, axis: p * x.shape[axis]),
    ),
    Suspect(
        "squared",
        "probabilities are squared: they do not sum to 1",
        _after(lambda p, x, a: p**2),
    ),
    *[
        Suspect(
            "eps-added",
            f"{eps:g} is added to the sum: the results do not sum to 1; after "
            "the shift the sum is at least 1 and needs no help",
            lambda x, axis=-1, e=eps: (
                _weights(x, axis) / (_weights(x, axis).sum(axis=axis, keepdims=True) + e)
            ),
        )
        for eps in (1e-3, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-12)
    ],
    *[
        Suspect(
            "eps-added",
            f"{eps:g} is added to the sum of the unshifted exponentials: the "
            "results do not sum to 1",
            lambda x, axis=-1, e=eps: np.exp(x) / (np.exp(x).sum(axis=axis, keepdims=True) + e),
        )
        for eps in (1e-3, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-12)
    ],
    *[
        Suspect(
            "clipped",
            f"probabilities are clipped at {eps:g}: they do not sum to 1, and the "
            "order of small ones is lost",
            _after(lambda p, x, axis, e=eps: np.clip(p, e, 1 - e)),
        )
        for eps in (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-12, 1e-15)
    ],
    *[
        Suspect(
            "rounded",
            f"probabilities are rounded to {d} decimals: they do not sum to 1",
            _after(lambda p, x, axis, d=d: np.round(p, d)),
        )
        for d in (1, 2, 3, 4, 5, 6, 8)
    ],
    Suspect(
        "keepdims",
        "keepdims=True is missing: each column is divided by the sum of a row",
        lambda x, axis=-1: (
            np.exp(x) / np.exp(x).sum(axis=axis)
            if (x.ndim == 2 and x.shape[0] == x.shape[1])
            else None
        ),
    ),
    Suspect(
        "uniform-when-empty",
        "a row without a possible class becomes uniform: it should be NaN",
        _after(lambda p, x, axis: np.where(np.isnan(p), 1 / x.shape[axis], p)),
    ),
]


_LOG_SOFTMAX = [
    Suspect(
        "probabilities",
        "probabilities: the logarithm is missing",
        softmax,
    ),
    Suspect(
        "sign",
        "minus the logarithm: the sign is turned round",
        lambda x, axis=-1: -log_softmax(x, axis),
    ),
    Suspect(
        "log-of-softmax",
        "the logarithm of a softmax that has rounded to 0: use x − max − log Σ e^(x − max)",
        lambda x, axis=-1: np.log(softmax(x, axis)),
    ),
    Suspect(
        "log-of-softmax",
        "the logarithm of a softmax that has rounded to 0 or overflowed: "
        "use x − max − log Σ e^(x − max)",
        lambda x, axis=-1: np.log(naive_softmax(x, axis)),
    ),
    Suspect(
        "shift-lost",
        "the maximum is subtracted inside the logarithm and not outside: "
        "x − max − log Σ e^(x − max)",
        lambda x, axis=-1: x - np.log(_weights(x, axis).sum(axis=axis, keepdims=True)),
    ),
    Suspect(
        "no-log1p",
        "log(1 + r) with a small r has rounded to 0: sum without the maximum and use log1p",
        log_softmax,
    ),
    Suspect(
        "no-log1p",
        "x − logsumexp(x) cancels: subtract the maximum first, and use log1p",
        lambda x, axis=-1: x - np.expand_dims(logsumexp(x, axis), axis),
    ),
    *[
        Suspect(
            "eps-added",
            f"{eps:g} is added inside the logarithm: small probabilities are wrong",
            lambda x, axis=-1, e=eps: np.log(softmax(x, axis) + e),
        )
        for eps in (1e-3, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-12, 1e-15, 1e-20, 1e-30)
    ],
    *[
        Suspect(
            "clipped",
            f"probabilities are clipped at {eps:g} before the logarithm",
            lambda x, axis=-1, e=eps: np.log(np.clip(softmax(x, axis), e, None)),
        )
        for eps in (1e-3, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-12, 1e-15, 1e-20, 1e-30)
    ],
]


_LOGSUMEXP = [
    Suspect(
        "maximum",
        "the maximum: the logarithm of the sum is missing",
        lambda x, axis=-1: x.max(axis=axis),
    ),
    Suspect(
        "shift-lost",
        "the maximum is subtracted inside and not added back",
        lambda x, axis=-1: logsumexp(x, axis) - x.max(axis=axis),
    ),
    Suspect(
        "log-mean",
        "a mean in place of the sum: off by log n",
        lambda x, axis=-1: logsumexp(x, axis) - np.log(x.shape[axis]),
    ),
    Suspect(
        "no-log",
        "the sum of the exponentials: the logarithm is missing",
        lambda x, axis=-1: np.exp(x).sum(axis=axis),
    ),
    Suspect(
        "sum-of-logs",
        "the sum of the scores: log and sum have changed places",
        lambda x, axis=-1: x.sum(axis=axis),
    ),
    Suspect(
        "no-log1p",
        "plain sums: where the result is near 0, log1p would keep the digits",
        logsumexp,
    ),
]


_OWN = {"softmax": _SOFTMAX, "log_softmax": _LOG_SOFTMAX, "logsumexp": _LOGSUMEXP}
