"""Faults of cross-entropy and of its gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from softmax_notes.check._suspects._formulas import (
    NO_SHIFT,
    WRAPPED,
    Suspect,
    log_softmax,
    naive_softmax,
    softmax,
)


def _rows(values: Any, target: Any) -> Any:
    return np.take_along_axis(values, np.asarray(target)[..., None], axis=-1)[..., 0]


def _loss(log_p: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda x, t, **o: np.mean(-_rows(log_p(x), t))


def _loss_of_p(log: Callable[[Any, float], Any], eps: float) -> Callable[..., Any]:
    return _loss(lambda x: log(softmax(x), eps))


def _clipped(p: Any, eps: float) -> Any:
    return np.log(np.clip(p, eps, 1 - eps))


def _clipped_below(p: Any, eps: float) -> Any:
    return np.log(np.clip(p, eps, None))


def _wrapped(x: Any) -> Any:
    """Subtract the maximum in the integers' own dtype, where the difference wraps round."""
    if x.dtype.kind not in "iu":
        return None
    return (x - x.max(axis=-1, keepdims=True)).astype(np.float64)


LOSSES = [
    Suspect(
        "wrapped-integers",
        WRAPPED,
        lambda x, t, **o: (
            None if _wrapped(x) is None else -_rows(log_softmax(_wrapped(x)), t).mean()
        ),
    ),
    Suspect(
        "sum-not-mean",
        "summed, not averaged: divide by the number of rows",
        lambda x, t, **o: -_rows(log_softmax(x), t).sum(),
    ),
    Suspect(
        "mean-not-sum",
        "averaged, though a sum was asked for",
        lambda x, t, **o: -_rows(log_softmax(x), t).mean() if o.get("reduction") == "sum" else None,
    ),
    Suspect(
        "sign",
        "the minus is missing: a loss is −log p",
        lambda x, t, **o: _rows(log_softmax(x), t).mean(),
    ),
    *[
        Suspect(
            "probabilities",
            "1 − p or −p in place of −log p: the logarithm is missing",
            lambda x, t, c=c, **o: c - _rows(softmax(x), t).mean(),
        )
        for c in (0, 1)
    ],
    Suspect(
        "double-softmax",
        "softmax applied twice: the loss takes logits and applies it itself",
        _loss(lambda x: log_softmax(softmax(x))),
    ),
    Suspect(
        "no-softmax",
        "softmax is missing: the target's score, negated",
        lambda x, t, **o: -_rows(x, t).mean(),
    ),
    Suspect(
        "wrong-axis",
        "softmax over the rows of the batch, not over the classes",
        _loss(lambda x: log_softmax(x, 0)),
    ),
    Suspect(
        "global",
        "softmax over the whole table: give the sum axis=1, keepdims=True",
        _loss(lambda x: log_softmax(x, None)),
    ),
    Suspect(
        "mean-of-all",
        "averaged over rows and classes: divide by the number of rows only",
        lambda x, t, **o: -_rows(log_softmax(x), t).sum() / x.size,
    ),
    Suspect(
        "one-based",
        "targets are read as counting from 1: class 0 is the first",
        lambda x, t, **o: -_rows(log_softmax(x), (np.asarray(t) - 1) % x.shape[-1]).mean(),
    ),
    Suspect(
        "diagonal",
        "every row meets every target: index with [np.arange(N), target]",
        lambda x, t, **o: -log_softmax(x)[:, t].mean(),
    ),
    Suspect(
        "base-2-log",
        "a logarithm to base 2: bits in place of nats",
        lambda x, t, **o: -_rows(log_softmax(x), t).mean() / np.log(2),
    ),
    Suspect(
        "base-10-log",
        "a logarithm to base 10: use log, not log10",
        lambda x, t, **o: -_rows(log_softmax(x), t).mean() / np.log(10),
    ),
    Suspect(
        "no-shift",
        "overflow or log 0: use the logarithm of softmax, x − max − log Σ e^(x − max)",
        _loss(lambda x: np.log(naive_softmax(x))),
    ),
    Suspect(
        "no-shift",
        "overflow: " + NO_SHIFT,
        _loss(lambda x: x - np.log(np.exp(x).sum(axis=-1, keepdims=True))),
    ),
    Suspect(
        "log-of-softmax",
        "the logarithm of a probability that has rounded to 0: use log_softmax",
        _loss(lambda x: np.log(softmax(x))),
    ),
    Suspect(
        "no-log1p",
        "a small loss has rounded: use log1p over all but the maximum",
        _loss(log_softmax),
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
            _loss_of_p(clipped, eps),
        )
        for clipped in (_clipped, _clipped_below)
        for eps in (1e-3, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-12, 1e-15, 1e-30)
    ],
    Suspect(
        "reduction-ignored",
        "the argument reduction is ignored",
        lambda x, t, **o: (
            -_rows(log_softmax(x), t).mean() if o.get("reduction", "mean") != "mean" else None
        ),
    ),
]


def _hot(x: Any, t: Any) -> Any:
    return (np.arange(x.shape[-1]) == np.asarray(t)[..., None]).astype(x.dtype)


def _scaled(grad: Callable[[Any, Any, Any], Any]) -> Callable[..., Any]:
    """Make the gradient of the mean from (p − y) as grad makes it of p, y and x."""
    return lambda x, t, **o: grad(softmax(x), _hot(x, t), x) / len(x)


GRADIENTS = [
    Suspect(
        "wrapped-integers",
        WRAPPED,
        lambda x, t, **o: (
            None if _wrapped(x) is None else (softmax(_wrapped(x)) - _hot(x, t)) / len(x)
        ),
    ),
    Suspect(
        "sum-not-mean",
        "gradient summed, not averaged: divide by the number of rows",
        lambda x, t, **o: softmax(x) - _hot(x, t),
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
        _scaled(lambda p, y, x: softmax(p) - y),
    ),
    Suspect(
        "no-softmax", "scores minus targets: softmax is missing", _scaled(lambda p, y, x: x - y)
    ),
    Suspect(
        "wrong-axis",
        "softmax over the rows of the batch, not over the classes",
        _scaled(lambda p, y, x: softmax(x, 0) - y),
    ),
    Suspect(
        "global",
        "softmax over the whole table: give the sum axis=1, keepdims=True",
        _scaled(lambda p, y, x: softmax(x, None) - y),
    ),
    Suspect(
        "one-based",
        "targets are read as counting from 1: class 0 is the first",
        lambda x, t, **o: (softmax(x) - _hot(x, (np.asarray(t) - 1) % x.shape[-1])) / len(x),
    ),
    Suspect(
        "columns-of-targets",
        "1 is subtracted in whole columns: index with [np.arange(N), target]",
        lambda x, t, **o: (
            (softmax(x) - (np.arange(x.shape[-1]) == np.asarray(t)[:, None]).any(0)) / len(x)
        ),
    ),
    Suspect("no-shift", "overflow: " + NO_SHIFT, _scaled(lambda p, y, x: naive_softmax(x) - y)),
    Suspect(
        "chained-nan",
        "0 · ∞: the chain rule link by link divides by a probability of 0; "
        "p − y in one step does not",
        lambda x, t, **o: (
            np.einsum(
                "bij,bj->bi",
                softmax(x)[:, :, None] * (np.eye(x.shape[-1]) - softmax(x)[:, None, :]),
                -_hot(x, t) / softmax(x),
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
