"""Known faults, each as the function that has it, and the words to say about it.

A failure is traced by calling these on the arguments that failed: the fault whose numbers are
those that the user's function gave is the likely cause. They are as wrong as the original.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Suspect(NamedTuple):
    """A fault: its short name, what to say, and what a function with it returns."""

    name: str
    words: str
    simulate: Callable[..., Any]


def _p(x: Any, axis: Any = -1, **_: Any) -> Any:
    """Compute softmax correctly, in the precision of x, at least float32."""
    x = np.asarray(x)
    if x.dtype.kind in "iub":
        x = x.astype(np.float64)
    weights = np.exp(x - x.max(axis=axis, keepdims=True))
    return weights / weights.sum(axis=axis, keepdims=True)


def _log_p(x: Any, axis: Any = -1) -> Any:
    shifted = x - x.max(axis=axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


def _lse(x: Any, axis: Any = -1) -> Any:
    m = x.max(axis=axis, keepdims=True)
    return (m + np.log(np.exp(x - m).sum(axis=axis, keepdims=True))).squeeze(axis)


def _other_axis(x: Any, axis: Any) -> Any:
    """Name the axis that is most often meant by mistake; None where there is no other."""
    if x.ndim < 2 or not isinstance(axis, int):
        return None
    return x.ndim - 1 if axis % x.ndim == 0 else 0


def _low(dtype: str) -> Callable[[Any], Any]:
    return lambda x: x.astype(dtype).astype(x.dtype)


# --- softmax, log_softmax, logsumexp: each fault once, dressed for the three of them

WRONG_AXIS = "normalised over the wrong axis"
NO_SHIFT = "subtract the maximum before exponentiating"


def _dressed(name: str) -> list[Suspect]:
    """Give the faults that the three functions of scores share."""
    core = {"softmax": _p, "log_softmax": _log_p, "logsumexp": _lse}[name]

    def along(axis_of: Callable[[Any, Any], Any]) -> Callable[..., Any]:
        def wrong(x: Any, axis: Any = -1) -> Any:
            axis = axis_of(x, axis)
            return None if axis is None and x.ndim < 2 else core(x, axis=axis)

        return wrong

    def shifted(shift: Callable[[Any, Any], Any]) -> Callable[..., Any]:
        def wrong(x: Any, axis: Any = -1) -> Any:
            c = shift(x, axis)
            weights = np.exp(x - c)
            total = weights.sum(axis=axis, keepdims=True)
            if name == "softmax":
                return weights / total
            if name == "log_softmax":
                return x - c - np.log(total)
            return (
                np.squeeze(c + np.log(total), axis)
                if np.ndim(c)
                else (np.squeeze(np.log(total), axis) + c)
            )

        return wrong

    def of_log(x: Any, axis: Any = -1) -> Any:
        weights = np.exp(x)
        return np.log(weights / weights.sum(axis=axis, keepdims=True))

    maximum = {"keepdims": True}
    found = [
        Suspect(
            "wrapped-integers",
            "integers wrap round when the maximum is subtracted: convert to floating point first",
            lambda x, axis=-1: (
                None
                if x.dtype.kind not in "iu"
                else core((x - x.max(axis=axis, keepdims=True)).astype(np.float64), axis=axis)
            ),
        ),
        Suspect("wrong-axis", WRONG_AXIS, along(_other_axis)),
        Suspect(
            "global",
            "normalised over the whole array at once: give the sum axis=-1, keepdims=True",
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
            shifted(lambda x, axis: -x.max(axis=axis, **maximum)),
        ),
        Suspect(
            "global-shift",
            "shifted by the maximum of the whole array, not of each row: rows far below underflow",
            shifted(lambda x, axis: x.max()),
        ),
        Suspect(
            "shift-mean",
            "shifted by the mean: the largest score can still overflow; subtract the maximum",
            shifted(lambda x, axis: x.mean(axis=axis, **maximum)),
        ),
        Suspect(
            "shift-min",
            "shifted by the minimum, so that the largest exponent grows: subtract the maximum",
            shifted(lambda x, axis: x.min(axis=axis, **maximum)),
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
            shifted(lambda x, axis: np.abs(x).max(axis=axis, **maximum)),
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
            lambda x, axis=-1: core(_p(x, axis=axis), axis=axis),
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
    return found + _SPECIAL[name](of_log)


def _softmax_faults(of_log: Any) -> list[Suspect]:
    def after(change: Callable[..., Any]) -> Callable[..., Any]:
        return lambda x, axis=-1: change(_p(x, axis=axis), x, axis)

    return [
        Suspect(
            "log",
            "logarithms of the probabilities: this is log_softmax",
            lambda x, axis=-1: _log_p(x, axis),
        ),
        Suspect(
            "not-normalised",
            "exponentials that are not divided by their sum",
            lambda x, axis=-1: np.exp(x),
        ),
        Suspect(
            "not-normalised",
            "exponentials that are not divided by their sum",
            lambda x, axis=-1: np.exp(x - x.max(axis=axis, keepdims=True)),
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
            after(lambda p, x, axis: p * x.shape[axis]),
        ),
        Suspect(
            "squared",
            "probabilities are squared: they do not sum to 1",
            after(lambda p, x, a: p**2),
        ),
        *[
            Suspect(
                "eps-added",
                f"{eps:g} is added to the sum: the results do not sum to 1; after "
                "the shift the sum is at least 1 and needs no help",
                lambda x, axis=-1, e=eps: (
                    np.exp(x - x.max(axis=axis, keepdims=True))
                    / (
                        np.exp(x - x.max(axis=axis, keepdims=True)).sum(axis=axis, keepdims=True)
                        + e
                    )
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
                after(lambda p, x, axis, e=eps: np.clip(p, e, 1 - e)),
            )
            for eps in (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-12, 1e-15)
        ],
        *[
            Suspect(
                "rounded",
                f"probabilities are rounded to {d} decimals: they do not sum to 1",
                after(lambda p, x, axis, d=d: np.round(p, d)),
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
            after(lambda p, x, axis: np.where(np.isnan(p), 1 / x.shape[axis], p)),
        ),
    ]


def _log_softmax_faults(of_log: Any) -> list[Suspect]:
    return [
        Suspect(
            "probabilities",
            "probabilities: the logarithm is missing",
            lambda x, axis=-1: _p(x, axis),
        ),
        Suspect(
            "sign",
            "minus the logarithm: the sign is turned round",
            lambda x, axis=-1: -_log_p(x, axis),
        ),
        Suspect(
            "log-of-softmax",
            "the logarithm of a softmax that has rounded to 0: use x − max − log Σ e^(x − max)",
            lambda x, axis=-1: np.log(_p(x, axis)),
        ),
        Suspect(
            "log-of-softmax",
            "the logarithm of a softmax that has rounded to 0 or overflowed: "
            "use x − max − log Σ e^(x − max)",
            of_log,
        ),
        Suspect(
            "shift-lost",
            "the maximum is subtracted inside the logarithm and not outside: "
            "x − max − log Σ e^(x − max)",
            lambda x, axis=-1: (
                x
                - np.log(np.exp(x - x.max(axis=axis, keepdims=True)).sum(axis=axis, keepdims=True))
            ),
        ),
        Suspect(
            "no-log1p",
            "log(1 + r) with a small r has rounded to 0: sum without the maximum and use log1p",
            lambda x, axis=-1: _log_p(x, axis),
        ),
        Suspect(
            "no-log1p",
            "x − logsumexp(x) cancels: subtract the maximum first, and use log1p",
            lambda x, axis=-1: x - np.expand_dims(_lse(x, axis), axis),
        ),
        *[
            Suspect(
                "eps-added",
                f"{eps:g} is added inside the logarithm: small probabilities are wrong",
                lambda x, axis=-1, e=eps: np.log(_p(x, axis) + e),
            )
            for eps in (1e-3, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-12, 1e-15, 1e-20, 1e-30)
        ],
        *[
            Suspect(
                "clipped",
                f"probabilities are clipped at {eps:g} before the logarithm",
                lambda x, axis=-1, e=eps: np.log(np.clip(_p(x, axis), e, None)),
            )
            for eps in (1e-3, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-12, 1e-15, 1e-20, 1e-30)
        ],
    ]


def _logsumexp_faults(of_log: Any) -> list[Suspect]:
    return [
        Suspect(
            "maximum",
            "the maximum: the logarithm of the sum is missing",
            lambda x, axis=-1: x.max(axis=axis),
        ),
        Suspect(
            "shift-lost",
            "the maximum is subtracted inside and not added back",
            lambda x, axis=-1: _lse(x, axis) - x.max(axis=axis),
        ),
        Suspect(
            "log-mean",
            "a mean in place of the sum: off by log n",
            lambda x, axis=-1: _lse(x, axis) - np.log(x.shape[axis]),
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
            lambda x, axis=-1: _lse(x, axis),
        ),
    ]


_SPECIAL: dict[str, Callable[..., list[Suspect]]] = {
    "softmax": _softmax_faults,
    "log_softmax": _log_softmax_faults,
    "logsumexp": _logsumexp_faults,
}

# --- cross-entropy and its gradient


def _rows(values: Any, target: Any) -> Any:
    return np.take_along_axis(values, np.asarray(target)[..., None], axis=-1)[..., 0]


def _naive_p(x: Any, axis: Any = -1) -> Any:
    return np.exp(x) / np.exp(x).sum(axis=axis, keepdims=True)


def _loss(log_p: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda x, t, **o: np.mean(-_rows(log_p(x), t))


def _loss_of_p(log: Callable[[Any, float], Any], eps: float) -> Callable[..., Any]:
    return _loss(lambda x: log(_p(x), eps))


def _reduced(values: Any, reduction: str = "mean", **_: Any) -> Any:
    return values if reduction == "none" else getattr(np, reduction)(values)


def _wrapped(x: Any) -> Any:
    """Subtract the maximum in the integers' own dtype, where the difference wraps round."""
    if x.dtype.kind not in "iu":
        return None
    return (x - x.max(axis=-1, keepdims=True)).astype(np.float64)


_WRAPPED = "integers wrap round when the maximum is subtracted: convert to floating point first"
_LOSSES = [
    Suspect(
        "wrapped-integers",
        _WRAPPED,
        lambda x, t, **o: None if _wrapped(x) is None else -_rows(_log_p(_wrapped(x)), t).mean(),
    ),
    Suspect(
        "sum-not-mean",
        "summed, not averaged: divide by the number of rows",
        lambda x, t, **o: -_rows(_log_p(x), t).sum(),
    ),
    Suspect(
        "mean-not-sum",
        "averaged, though a sum was asked for",
        lambda x, t, **o: -_rows(_log_p(x), t).mean() if o.get("reduction") == "sum" else None,
    ),
    Suspect(
        "sign",
        "the minus is missing: a loss is −log p",
        lambda x, t, **o: _rows(_log_p(x), t).mean(),
    ),
    Suspect(
        "probabilities",
        "1 − p or −p in place of −log p: the logarithm is missing",
        lambda x, t, **o: -_rows(_p(x), t).mean(),
    ),
    Suspect(
        "probabilities",
        "1 − p or −p in place of −log p: the logarithm is missing",
        lambda x, t, **o: 1 - _rows(_p(x), t).mean(),
    ),
    Suspect(
        "double-softmax",
        "softmax applied twice: the loss takes logits and applies it itself",
        _loss(lambda x: _log_p(_p(x))),
    ),
    Suspect(
        "no-softmax",
        "softmax is missing: the target's score, negated",
        lambda x, t, **o: -_rows(x, t).mean(),
    ),
    Suspect(
        "wrong-axis",
        "softmax over the rows of the batch, not over the classes",
        _loss(lambda x: _log_p(x, 0)),
    ),
    Suspect(
        "global",
        "softmax over the whole table: give the sum axis=1, keepdims=True",
        _loss(lambda x: _log_p(x, None)),
    ),
    Suspect(
        "mean-of-all",
        "averaged over rows and classes: divide by the number of rows only",
        lambda x, t, **o: -_rows(_log_p(x), t).sum() / x.size,
    ),
    Suspect(
        "one-based",
        "targets are read as counting from 1: class 0 is the first",
        lambda x, t, **o: -_rows(_log_p(x), (np.asarray(t) - 1) % x.shape[-1]).mean(),
    ),
    Suspect(
        "diagonal",
        "every row meets every target: index with [np.arange(N), target]",
        lambda x, t, **o: -_log_p(x)[:, t].mean(),
    ),
    Suspect(
        "base-2-log",
        "a logarithm to base 2: bits in place of nats",
        lambda x, t, **o: -_rows(_log_p(x), t).mean() / np.log(2),
    ),
    Suspect(
        "base-10-log",
        "a logarithm to base 10: use log, not log10",
        lambda x, t, **o: -_rows(_log_p(x), t).mean() / np.log(10),
    ),
    Suspect(
        "no-shift",
        "overflow or log 0: use the logarithm of softmax, x − max − log Σ e^(x − max)",
        _loss(lambda x: np.log(_naive_p(x))),
    ),
    Suspect(
        "no-shift",
        "overflow: " + NO_SHIFT,
        _loss(lambda x: x - np.log(np.exp(x).sum(axis=-1, keepdims=True))),
    ),
    Suspect(
        "log-of-softmax",
        "the logarithm of a probability that has rounded to 0: use log_softmax",
        _loss(lambda x: np.log(_p(x))),
    ),
    Suspect(
        "no-log1p", "a small loss has rounded: use log1p over all but the maximum", _loss(_log_p)
    ),
    *[
        Suspect(
            "eps-added",
            f"{eps:g} is added inside the logarithm: use log_softmax instead",
            _loss_of_p(lambda p, e: np.log(p + e), eps),
        )
        for eps in (1e-3, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-12, 1e-15, 1e-20, 1e-30)
    ],
    *[
        Suspect(
            "clipped",
            f"probabilities are clipped at {eps:g}: the loss of a bad mistake stops "
            "growing; use log_softmax instead",
            _loss_of_p(lambda p, e: np.log(np.clip(p, e, 1 - e)), eps),
        )
        for eps in (1e-3, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-12, 1e-15)
    ],
    *[
        Suspect(
            "clipped",
            f"probabilities are clipped at {eps:g}: the loss of a bad mistake stops "
            "growing; use log_softmax instead",
            _loss_of_p(lambda p, e: np.log(np.clip(p, e, None)), eps),
        )
        for eps in (1e-3, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-12, 1e-15, 1e-30)
    ],
    Suspect(
        "reduction-ignored",
        "the argument reduction is ignored",
        lambda x, t, **o: (
            -_rows(_log_p(x), t).mean() if o.get("reduction", "mean") != "mean" else None
        ),
    ),
]


def _hot(x: Any, t: Any) -> Any:
    return (np.arange(x.shape[-1]) == np.asarray(t)[..., None]).astype(x.dtype)


def _scaled(grad: Callable[[Any, Any, Any], Any]) -> Callable[..., Any]:
    """Make the gradient of the mean from (p − y) as grad makes it of p, y and x."""
    return lambda x, t, **o: grad(_p(x), _hot(x, t), x) / len(x)


_GRADIENTS = [
    Suspect(
        "wrapped-integers",
        _WRAPPED,
        lambda x, t, **o: None if _wrapped(x) is None else (_p(_wrapped(x)) - _hot(x, t)) / len(x),
    ),
    Suspect(
        "sum-not-mean",
        "gradient summed, not averaged: divide by the number of rows",
        lambda x, t, **o: _p(x) - _hot(x, t),
    ),
    Suspect(
        "sign",
        "the sign is turned round: prediction minus target, p − y",
        _scaled(lambda p, y, x: y - p),
    ),
    Suspect(
        "target-only",
        "only the target's entry is filled: the other classes get p / N",
        _scaled(lambda p, y, x: (p - y) * y),
    ),
    Suspect(
        "no-target", "the probabilities alone: subtract 1 at the target", _scaled(lambda p, y, x: p)
    ),
    Suspect(
        "chained",
        "the link −y/p alone: multiply by the Jacobian of softmax",
        _scaled(lambda p, y, x: -y / p),
    ),
    Suspect(
        "jacobian-diagonal",
        "multiplied by p (1 − p), the diagonal of the Jacobian: p − y is "
        "already the whole gradient",
        _scaled(lambda p, y, x: (p - y) * p * (1 - p)),
    ),
    Suspect(
        "mean-of-all",
        "divided by rows and classes: divide by the number of rows only",
        _scaled(lambda p, y, x: (p - y) / x.shape[-1]),
    ),
    Suspect(
        "doubled",
        "twice the gradient, that of a square or of two losses",
        _scaled(lambda p, y, x: 2 * (p - y)),
    ),
    Suspect(
        "double-softmax",
        "softmax applied twice: the gradient takes logits",
        _scaled(lambda p, y, x: _p(p) - y),
    ),
    Suspect(
        "no-softmax", "scores minus targets: softmax is missing", _scaled(lambda p, y, x: x - y)
    ),
    Suspect(
        "wrong-axis",
        "softmax over the rows of the batch, not over the classes",
        _scaled(lambda p, y, x: _p(x, 0) - y),
    ),
    Suspect(
        "global",
        "softmax over the whole table: give the sum axis=1, keepdims=True",
        _scaled(lambda p, y, x: _p(x, None) - y),
    ),
    Suspect(
        "one-based",
        "targets are read as counting from 1: class 0 is the first",
        lambda x, t, **o: (_p(x) - _hot(x, (np.asarray(t) - 1) % x.shape[-1])) / len(x),
    ),
    Suspect(
        "columns-of-targets",
        "1 is subtracted in whole columns: index with [np.arange(N), target]",
        lambda x, t, **o: (
            (_p(x) - (np.arange(x.shape[-1]) == np.asarray(t)[:, None]).any(0)) / len(x)
        ),
    ),
    Suspect("no-shift", "overflow: " + NO_SHIFT, _scaled(lambda p, y, x: _naive_p(x) - y)),
    Suspect(
        "chained-nan",
        "0 · ∞: the chain rule link by link divides by a probability of 0; "
        "p − y in one step does not",
        lambda x, t, **o: (
            np.einsum(
                "bij,bj->bi",
                _p(x)[:, :, None] * (np.eye(x.shape[-1]) - _p(x)[:, None, :]),
                -_hot(x, t) / _p(x),
            )
            / len(x)
        ),
    ),
    Suspect(
        "no-expm1",
        "p − 1 rounds where the prediction is right and certain: use expm1(log p)",
        _scaled(lambda p, y, x: p - y),
    ),
]

# --- the Jacobian and products with it


def _matrix(p: Any) -> Any:
    return np.eye(p.shape[-1], dtype=p.dtype) * p[..., None, :] - p[..., :, None] * p[..., None, :]


def _outer(p: Any) -> Any:
    return p[..., :, None] * p[..., None, :]


def _diagonal(p: Any, values: Any) -> Any:
    return np.eye(p.shape[-1], dtype=p.dtype) * values[..., None, :]


def _last_row(p: Any) -> Any:
    jacobian = _matrix(p).copy()
    if p.shape[-1] < 2:
        return None
    jacobian[..., -1, :-1] *= -1
    return jacobian


def _one_missing_minus(p: Any) -> Any:
    jacobian = _matrix(p).copy()
    if p.shape[-1] < 2:
        return None
    jacobian[..., -1, min(1, p.shape[-1] - 2)] *= -1
    return jacobian


def _mixed_batch(p: Any) -> Any:
    if p.ndim != 2 or p.shape[0] != p.shape[1]:
        return None
    return np.eye(p.shape[-1]) * p[..., None, :] - p[:, :, None] * np.swapaxes(p, 0, 1)[:, None, :]


_JACOBIANS = [
    Suspect(
        "off-diagonal-sign",
        "off-diagonal sign: ∂p_i/∂x_j = −p_i p_j for i ≠ j",
        lambda p: _diagonal(p, p * (1 - p)) + _outer(p) - _diagonal(p, p * p),
    ),
    Suspect(
        "last-row-sign",
        "off-diagonal sign in the last row: every entry beside the diagonal is −p_i p_j",
        _last_row,
    ),
    Suspect(
        "last-row-sign",
        "one entry of the last row lacks its minus: every entry beside the diagonal is −p_i p_j",
        _one_missing_minus,
    ),
    Suspect(
        "sign",
        "the sign is turned round: diag(p) − p pᵀ, not p pᵀ − diag(p)",
        lambda p: -_matrix(p),
    ),
    Suspect(
        "plus",
        "diag(p) + p pᵀ: the second term is subtracted",
        lambda p: _diagonal(p, p) + _outer(p),
    ),
    Suspect(
        "diagonal-only",
        "only the diagonal is filled: every score moves every probability",
        lambda p: _diagonal(p, p * (1 - p)),
    ),
    Suspect("diagonal-missing", "−p pᵀ alone: add diag(p)", lambda p: -_outer(p)),
    Suspect("outer-only", "p pᵀ alone: the Jacobian is diag(p) − p pᵀ", _outer),
    Suspect(
        "diagonal-p",
        "the diagonal is p_i: it is p_i (1 − p_i)",
        lambda p: _diagonal(p, p) - _outer(p) + _diagonal(p, p * p),
    ),
    Suspect(
        "diagonal-square",
        "the diagonal is 1 − p_i²: it is p_i (1 − p_i)",
        lambda p: _diagonal(p, 1 - p * p) - _outer(p) + _diagonal(p, p * p),
    ),
    Suspect(
        "rows-one-minus",
        "p_i (1 − p_j) everywhere: δ_ij is 0 beside the diagonal",
        lambda p: p[..., :, None] * (1 - p[..., None, :]),
    ),
    Suspect(
        "scores",
        "softmax is applied again: the argument holds probabilities, not scores",
        lambda p: _matrix(_p(p)),
    ),
    Suspect(
        "index",
        "the sum's own index was read as j: n e^(x_j) is not Σ e^(x_k)",
        lambda p: (
            _diagonal(p, np.full(p.shape, (1 / p.shape[-1]) * (1 - 1 / p.shape[-1])))
            - (1 - np.eye(p.shape[-1])) * _outer(p)
        ),
    ),
    Suspect("batch-mixed", "rows of the batch are mixed: p pᵀ is needed row by row", _mixed_batch),
    Suspect(
        "corner", "1 − p rounds to 0 next to a corner: sum the other probabilities instead", _matrix
    ),
]


def _dot(p: Any, v: Any, axis: Any = -1) -> Any:
    return (p * v).sum(axis=axis, keepdims=True)


_PRODUCTS = [
    Suspect("no-mean", "p ⊙ v: the mean pᵀv is not subtracted", lambda p, v, axis=-1: p * v),
    Suspect(
        "plain-mean",
        "the plain mean of v is subtracted: weight it by p",
        lambda p, v, axis=-1: p * (v - v.mean(axis=axis, keepdims=True)),
    ),
    Suspect(
        "sum-not-dot",
        "the sum of v is subtracted: weight it by p",
        lambda p, v, axis=-1: p * (v - v.sum(axis=axis, keepdims=True)),
    ),
    Suspect(
        "global-dot",
        "pᵀv is summed over the whole batch: give the sum axis=-1, keepdims=True",
        lambda p, v, axis=-1: p * (v - (p * v).sum()) if p.ndim > 1 else None,
    ),
    Suspect(
        "wrong-axis",
        "pᵀv is summed along the wrong axis",
        lambda p, v, axis=-1: (
            None if _other_axis(p, axis) is None else p * (v - _dot(p, v, _other_axis(p, axis)))
        ),
    ),
    Suspect(
        "axis-ignored",
        "the argument axis is ignored: the last axis is always taken",
        lambda p, v, axis=-1: p * (v - _dot(p, v)) if axis not in (-1, p.ndim - 1) else None,
    ),
    Suspect("no-p", "v − pᵀv: the factor p is missing", lambda p, v, axis=-1: v - _dot(p, v, axis)),
    Suspect(
        "sign",
        "the sign is turned round: v − pᵀv, not pᵀv − v",
        lambda p, v, axis=-1: p * (_dot(p, v, axis) - v),
    ),
    Suspect(
        "plus",
        "p ⊙ (v + pᵀv): the mean is subtracted, not added",
        lambda p, v, axis=-1: p * (v + _dot(p, v, axis)),
    ),
    Suspect(
        "jacobian-diagonal",
        "p (1 − p) v: only the diagonal of the Jacobian is used",
        lambda p, v, axis=-1: p * (1 - p) * v,
    ),
    Suspect(
        "scores",
        "softmax is applied again: p holds probabilities, not scores",
        lambda p, v, axis=-1: _p(p, axis) * (v - _dot(_p(p, axis), v, axis)),
    ),
    Suspect(
        "outer-only",
        "p (pᵀv) alone: subtract it from p ⊙ v",
        lambda p, v, axis=-1: p * _dot(p, v, axis),
    ),
    Suspect(
        "swapped",
        "the arguments are swapped: p comes first",
        lambda p, v, axis=-1: v * (p - _dot(p, v, axis)),
    ),
    Suspect(
        "cancellation",
        "v − pᵀv cancels: measure v from its mean a second time, for J maps constants to 0",
        lambda p, v, axis=-1: p * (v - _dot(p, v, axis)),
    ),
    Suspect(
        "cancellation",
        "p ⊙ v − p pᵀv cancels: subtract the mean before multiplying by p",
        lambda p, v, axis=-1: p * v - p * _dot(p, v, axis),
    ),
]

SUSPECTS: dict[str, list[Suspect]] = {
    **{name: _dressed(name) for name in _SPECIAL},
    "cross_entropy": _LOSSES,
    "cross_entropy_grad": _GRADIENTS,
    "softmax_jacobian": _JACOBIANS,
    "softmax_jvp": _PRODUCTS,
    "softmax_vjp": _PRODUCTS,
}
