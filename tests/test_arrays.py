"""The helpers below every formula: sums that keep their rounding errors."""

import math

import numpy as np
import pytest
from array_api_compat import array_namespace

from softmax_notes._arrays import accurate_sum, two_sum
from tests.libraries import to_numpy


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_two_sum_loses_nothing(quick_library, dtype):
    random = np.random.default_rng(0)
    a, b = (random.normal(size=500) * 10.0 ** random.integers(-6, 6, 500) for _ in range(2))
    a, b = a.astype(dtype), b.astype(dtype)
    total, error = map(to_numpy, two_sum(quick_library(a), quick_library(b)))
    assert np.any(error != 0)
    for parts in zip(a, b, -total, -error, strict=True):
        assert math.fsum(map(float, parts)) == 0


@pytest.mark.parametrize("n", [1, 2, 3, 1000, 4097, 99_999])
def test_a_sum_is_rounded_once_however_long_it_is(quick_library, n):
    # A plain tree of additions errs by 1 to 2 units in the last place here, a loop by hundreds.
    for seed in range(8):
        x = np.random.default_rng(seed).uniform(0.01, 1, size=n).astype(np.float32)
        total = to_numpy(accurate_sum(array_namespace(quick_library(x)), quick_library(x)))[0]
        assert abs(float(total) - math.fsum(x.tolist())) <= 0.501 * np.spacing(total)
