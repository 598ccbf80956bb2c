"""The helpers below every formula: exact sums, and arguments that are checked in words."""

import math
import warnings
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from array_api_compat import array_namespace

from softmax_notes import cross_entropy, log_softmax, logsumexp, softmax
from softmax_notes._arrays import (
    accurate_sum,
    as_arrays,
    broadcast,
    flag,
    holds,
    number,
    one_of,
    rounded,
    scale_of,
    two_sum,
    whole,
)
from tests.libraries import to_numpy
from tests.pytorch import torch

# --- laws


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


# --- edges


@pytest.mark.parametrize("check", [number, whole, flag])
@pytest.mark.parametrize("make", [np.ones, torch.ones, lambda n: torch.ones(n, device="meta")])
def test_an_array_is_no_single_argument(check, make):
    with pytest.raises(TypeError, match=r"^gain must be .*, got (ndarray|Tensor)"):
        check(make(2), "gain")


@pytest.mark.parametrize("value", [None, "1", 1j, Decimal(1), [1.0]])
def test_what_is_no_real_number_is_named(value):
    with pytest.raises(TypeError, match=f"^gain must be one number, got {type(value).__name__}"):
        number(value, "gain")


def test_numbers_of_every_kind_are_numbers_but_those_that_no_float_holds():
    for value in (0.5, Fraction(1, 2), np.float32(0.5), np.float64(0.5)):
        assert number(value, "gain") == 0.5
    with pytest.raises(ValueError, match="gain must be a number that a float can hold"):
        number(10**400, "gain")


def test_words_are_looked_up_also_where_what_is_given_has_no_hash():
    assert one_of("b", ("a", "b"), "kind") == "b"
    for value in ([], np.array(["a"]), None, "c"):
        with pytest.raises(ValueError, match=r"^kind must be one of \('a', 'b'\), got"):
            one_of(value, ("a", "b"), "kind")


def test_shapes_that_do_not_go_together_are_told_in_every_library(quick_library):
    x, y = quick_library(np.zeros((2, 3))), quick_library(np.zeros(2))
    with pytest.raises(ValueError, match=r"^x and y do not .* shapes \(2, 3\) and \(2,\)"):
        broadcast(array_namespace(x), x, y, names="x and y")
    with pytest.raises(ValueError, match=r"^x and b do not broadcast"):
        logsumexp(x, b=y)


@pytest.mark.parametrize("axis", ["0", 0.0, [0], (0, "1"), 1j, np.array([0, 1]), torch.ones(2)])
def test_an_axis_is_an_integer(quick_library, axis):
    x = quick_library(np.zeros((2, 3)))
    for function in (softmax, log_softmax, logsumexp):
        with pytest.raises(TypeError, match=r"^axis must be an integer, got "):
            function(x, axis=axis)


@pytest.mark.parametrize("axis", [2, -3, (0, 0), (1, -1), 10**30, (0, 2**63)])
def test_an_axis_that_is_out_of_range_or_repeated_is_no_error_of_another_kind(quick_library, axis):
    with pytest.raises((ValueError, IndexError), match=r"axis|[Dd]im"):
        softmax(quick_library(np.zeros((2, 3))), axis=axis)


def test_one_axis_is_one_and_not_all():
    with pytest.raises(TypeError, match="axis must be an integer, got NoneType"):
        cross_entropy(np.zeros((2, 3)), np.zeros(2, dtype=int), axis=None)


def test_tensors_that_are_not_dense_are_refused_with_the_way_out():
    dense = torch.eye(2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's, of its rarer kinds
        rare = [dense.to_sparse(), dense.to_sparse_csr()]
        rare.append(torch.nested.nested_tensor([torch.ones(2), torch.ones(1)]))
    for x, kind in zip(rare, ["torch.sparse_coo", "torch.sparse_csr", "nested"], strict=True):
        with pytest.raises(TypeError, match=f"dense tensor .*, got a Tensor that is {kind};"):
            softmax(x)


def test_what_has_no_values_is_not_known_to_hold():
    x = torch.ones(2, 3, device="meta")
    assert not holds(torch.all(x > 0))
    assert softmax(x).shape == (2, 3)
    target = torch.zeros(2, dtype=torch.int64, device="meta")
    assert cross_entropy(x, target, reduction="none").shape == (2,)


@pytest.mark.parametrize("kind", ["f2", "f4", "f8", "i4"])
def test_numbers_in_the_other_byte_order_are_the_same_numbers(kind):
    native = np.array([1, 3, 2], dtype=kind)
    foreign = native.astype(native.dtype.newbyteorder("S"))
    assert not foreign.dtype.isnative
    for function in (softmax, log_softmax, logsumexp):
        np.testing.assert_array_equal(function(foreign), function(native), strict=True)
    assert as_arrays(foreign)[1][0].dtype.isnative


def test_what_rounds_to_infinity_does_so_without_a_warning():
    # Half a unit in the last place above 65504, the largest number, is 65520: a tie, to even.
    x = np.array([65519.99, 65520, -65519.99, -65520, np.inf], dtype=np.float32)
    result = rounded(array_namespace(x), x, np.float16)
    np.testing.assert_array_equal(result, [65504, np.inf, -65504, -np.inf, np.inf])
    assert result.dtype == np.float16


def test_libraries_that_do_not_mix_are_named():
    with pytest.raises(TypeError, match=r"got numpy\.ndarray, torch\.Tensor; convert"):
        as_arrays(np.zeros(1), torch.zeros(1))


def test_the_way_around_one_alpha_is_said():
    with pytest.raises(TypeError, match="multiply x by it and leave alpha at 1"):
        scale_of([1.0, 2.0])
