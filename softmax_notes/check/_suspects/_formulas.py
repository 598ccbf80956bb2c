"""What a suspect is, and the formulas that all of them are made from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

NO_SHIFT = "subtract the maximum before exponentiating"
WRAPPED = "integers wrap round when the maximum is subtracted: convert to floating point first"


class Suspect(NamedTuple):
    """A fault: its short name, what to say, and what a function with it returns."""

    name: str
    words: str
    simulate: Callable[..., Any]


def softmax(x: Any, axis: Any = -1) -> Any:
    """Compute softmax as most people do it right: in the dtype of x, integers in float64."""
    x = np.asarray(x)
    if x.dtype.kind in "iub":
        x = x.astype(np.float64)
    weights = np.exp(x - x.max(axis=axis, keepdims=True))
    return weights / weights.sum(axis=axis, keepdims=True)


def log_softmax(x: Any, axis: Any = -1) -> Any:
    shifted = x - x.max(axis=axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


def logsumexp(x: Any, axis: Any = -1) -> Any:
    m = x.max(axis=axis, keepdims=True)
    return (m + np.log(np.exp(x - m).sum(axis=axis, keepdims=True))).squeeze(axis)


def naive_softmax(x: Any, axis: Any = -1) -> Any:
    return np.exp(x) / np.exp(x).sum(axis=axis, keepdims=True)


def other_axis(x: Any, axis: Any) -> Any:
    """Name the axis that is most often meant by mistake; None where there is no other."""
    if x.ndim < 2 or not isinstance(axis, int):
        return None
    return x.ndim - 1 if axis % x.ndim == 0 else 0
