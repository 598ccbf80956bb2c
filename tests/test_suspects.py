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
