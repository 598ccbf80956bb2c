"""How e^x is evaluated: laws, references, edges, proofs."""

import json
import math
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import jax
import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from softmax_notes.exp_approximation import (
    EXP_FLOAT32,
    EXP_FLOAT64,
    cordic_exp,
    cordic_shifts,
    minimax,
    minimax_exp,
    pade_exp,
    polynomial_for,
    range_reduction,
    reduced_exp,
    taylor_exp,
)
from softmax_notes.symbolic import exp_approximation as proofs
from tests.exact import ulp_error
from tests.libraries import same_kind, to_numpy
from tests.pytorch import torch, with_torch

exp_exhaustive = with_torch("benchmarks.exp_exhaustive")
BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
INF, NAN = np.inf, np.nan
NUMBERS = {"float32": EXP_FLOAT32, "float64": EXP_FLOAT64}
DTYPES = list(NUMBERS)
STUDY = json.loads((BENCHMARKS / "exp_exhaustive.json").read_text(encoding="utf-8"))


def errors(x, got):
    """Largest error of got against e^x, in ULP."""
    with mpmath.workdps(60):
        return ulp_error(got, [mpmath.exp(mpmath.mpf(float(v))) for v in x], str(x.dtype))


def working_range(dtype):
    numbers = NUMBERS[dtype]
    inside = st.floats(numbers.lowest, numbers.highest, width=int(dtype[-2:]))
    return inside.map(lambda v: np.array([v], dtype=dtype))


# --- laws


@pytest.mark.claim("thm-exp-taylor")
@given(st.integers(-2000, 2000).map(lambda k: k / 1000), st.integers(0, 20))
def test_the_rest_of_the_series_is_below_its_bound(x, degree):
    with mpmath.workdps(150):
        exact_x = mpmath.mpf(x)
        polynomial = mpmath.fsum(exact_x**j / mpmath.factorial(j) for j in range(degree + 1))
        bound = mpmath.exp(max(x, 0)) * abs(exact_x) ** (degree + 1) / mpmath.factorial(degree + 1)
        assert abs(mpmath.exp(exact_x) - polynomial) <= bound * (1 + mpmath.mpf(10) ** -30)
        assert float(taylor_exp(x, degree)) == pytest.approx(float(polynomial), abs=4e-15)


@pytest.mark.claim("prop-exp-cancellation")
@given(st.floats(-40, 0))
def test_the_series_at_negative_x_errs_by_no_more_than_its_terms_allow(x):
    degree = 150
    error = abs(float(taylor_exp(x, degree)) - math.exp(x))
    assert error <= (2 * -x + degree + 1) * 2.0**-53 * math.exp(-x)


@pytest.mark.claim("prop-exp-pade")
@given(st.integers(0, 6), st.integers(0, 6), st.integers(-350, 350).map(lambda k: k / 1000))
def test_the_fraction_is_that_of_mpmath_and_off_by_the_integral(m, n, x):
    with mpmath.workdps(100):
        series = [1 / mpmath.factorial(j) for j in range(m + n + 1)]
        numerator, denominator = mpmath.pade(series, m, n)
        top, bottom = (mpmath.polyval(c[::-1], mpmath.mpf(x)) for c in (numerator, denominator))
        fraction = top / bottom
        assert float(pade_exp(x, m, n)) == pytest.approx(float(fraction), rel=4e-15)
        limit = (
            mpmath.factorial(m)
            * mpmath.factorial(n)
            * abs(mpmath.mpf(x)) ** (m + n + 1)
            / (mpmath.factorial(m + n) * mpmath.factorial(m + n + 1))
            * mpmath.exp(max(x, 0))
            / abs(bottom / denominator[0])
        )
        assert abs(mpmath.exp(x) - fraction) <= limit * (1 + mpmath.mpf(10) ** -20)


@pytest.mark.claim("thm-exp-cordic")
@given(st.floats(-1, 1), st.integers(1, 50))
def test_cordic_is_right_to_its_last_angle_everywhere_in_its_range(quick_library, share, last):
    angles = [math.atanh(2.0**-s) for s in cordic_shifts(last)]
    x = share * math.fsum(angles) * (1 - 1e-15)
    got = float(to_numpy(cordic_exp(quick_library(np.array([x])), last))[0])
    assert abs(math.log(got) - x) <= 1.5 * angles[-1] + 40 * 2.0**-53


@pytest.mark.claim("thm-exp-cordic")
@pytest.mark.parametrize("last", range(1, 60))
def test_every_angle_is_at_most_the_sum_of_those_after_it_and_a_half_more_than_the_last(last):
    with mpmath.workdps(60):
        angles = [mpmath.atanh(mpmath.mpf(2) ** -s) for s in cordic_shifts(last)]
        for k, angle in enumerate(angles):
            assert angle <= mpmath.fsum(angles[k + 1 :]) + 1.5 * angles[-1]


@pytest.mark.claim("lem-exp-reduction")
@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_the_reduction_is_exact_but_for_what_the_lemma_allows(dtype, data):
    x = data.draw(working_range(dtype))
    numbers, u = NUMBERS[dtype], float(np.finfo(dtype).eps) / 2
    k, r, lost = (v.astype(np.float64)[0] for v in range_reduction(x))
    first = Fraction(float(x[0])) - Fraction(k) * Fraction(numbers.ln2_high)
    assert first == Fraction(float(x.dtype.type(first)))  # it is a number of the dtype
    with mpmath.workdps(60):
        true = mpmath.mpf(float(x[0])) - mpmath.mpf(k) * mpmath.log(2)
        assert abs(true) <= mpmath.log(2) / 2 * (1 + mpmath.mpf(2) ** -14)
        small = abs(mpmath.mpf(k) * numbers.ln2_low)
        assert abs(r - true) <= u * abs(true) + 3 * u * small
        assert abs(r + mpmath.mpf(lost) - true) <= 3 * u * small


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_the_polynomial_is_within_1_unit_of_the_exact_value(dtype, data):
    x = data.draw(working_range(dtype))
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        assert errors(x, minimax_exp(x)) < 1


@given(st.floats(-700, 700), st.floats(0, 1e-3))
def test_the_polynomial_does_not_fall(x, step):
    low, high = minimax_exp(np.array([x, x + step]))
    assert low <= high


# --- references


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_library_gives_the_same_and_keeps_the_dtype(library, dtype):
    values = np.linspace(-30, 30, 7).astype(dtype)
    x = library(values)
    got = minimax_exp(x)
    assert same_kind(got, x)
    np.testing.assert_allclose(to_numpy(got), np.exp(values.astype("f8")), rtol=2e-7)
    if library.name != "jax":  # which may fuse a product and a sum into one rounding
        np.testing.assert_array_equal(to_numpy(got), minimax_exp(values))
    for function in (
        lambda t: taylor_exp(t, 3),
        lambda t: pade_exp(t, 2, 1),
        lambda t: cordic_exp(t, 5),
    ):
        result = reduced_exp(x, function)
        assert same_kind(result, x)
        np.testing.assert_allclose(to_numpy(result), np.exp(values.astype("f8")), rtol=0.05)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_16_bit_dtypes_are_computed_in_float32_and_rounded_once(dtype):
    kind = getattr(torch, dtype)
    x = torch.linspace(-9, 11, 500).to(kind)
    expected = torch.exp(x.double()).to(kind)
    assert torch.equal(minimax_exp(x), expected)
    assert float(minimax_exp(torch.tensor([12.0], dtype=torch.float16))[0]) == INF


@pytest.mark.claim("prop-exp-cancellation")
def test_the_series_at_minus_30_is_wrong_in_every_digit():
    # e^-30 by mpmath: 9.357622968840174605e-14
    assert float(taylor_exp(-30.0, 150)) == pytest.approx(6.1e-6, rel=0.01)
    assert float(reduced_exp(-30.0, lambda r: taylor_exp(r, 14))) == pytest.approx(
        9.357622968840174605e-14, rel=1e-15
    )


@pytest.mark.claim("thm-exp-alternation")
@pytest.mark.parametrize("degree", [2, 5, 6, 11])
def test_the_error_of_the_polynomial_alternates_between_equal_heights(degree):
    found = minimax(degree)
    with mpmath.workdps(50):
        end = mpmath.log(2) / 2 * (1 + mpmath.mpf(2) ** -14)
        points = [end * (mpmath.mpf(j) / 1000 - 1) for j in range(2001)]
        heights = [
            (1 + r + r * r * mpmath.polyval(found.coefficients[::-1], r)) * mpmath.exp(-r) - 1
            for r in points
        ]
    assert max(map(abs, heights)) <= found.error * (1 + mpmath.mpf(10) ** -6)
    assert found.bound <= found.error <= found.bound * mpmath.mpf("1.0002")
    near = [h for h in heights if abs(h) >= 0.99 * found.bound]
    signs = [h > 0 for h in near]
    assert sum(a != b for a, b in pairwise(signs)) == degree - 1


@pytest.mark.claim("thm-exp-alternation")
def test_no_polynomial_found_by_least_squares_or_taylor_is_better():
    found = minimax(5)
    r = np.linspace(-math.log(2) / 2, math.log(2) / 2, 4001)
    error = np.abs(taylor_exp(r, 5) * np.exp(-r) - 1).max()
    assert float(found.error) < error / 5
    weights, target = np.exp(-r), (np.exp(r) - 1 - r) * np.exp(-r)
    basis = np.stack([r**j * weights for j in range(2, 6)], axis=1)
    fitted = basis @ np.linalg.lstsq(basis, target)[0] - target
    assert float(found.bound) < np.abs(fitted).max()


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_stored_numbers_are_those_that_are_computed(dtype):
    assert polynomial_for(dtype) == NUMBERS[dtype]
    for number in (*NUMBERS[dtype].coefficients, *NUMBERS[dtype][:3], *NUMBERS[dtype][4:]):
        assert float(np.dtype(dtype).type(number)) == number


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_ends_of_the_range_are_the_last_numbers_with_a_result(dtype):
    numbers, form = NUMBERS[dtype], np.finfo(dtype)
    kind = np.dtype(dtype).type
    for end, beyond, result in ((numbers.highest, INF, INF), (numbers.lowest, -INF, 0)):
        x = np.array([end, np.nextafter(kind(end), kind(beyond))], dtype=dtype)
        inside, outside = minimax_exp(x)
        assert outside == result
        assert np.isfinite(inside)
        assert inside > 0
        assert errors(x, [inside, outside]) <= 1
    assert numbers.lowest < math.log(form.smallest_subnormal) < math.log(form.max)


def test_the_stored_check_covers_every_float32_and_more_than_10_to_the_8_float64():
    ends = (EXP_FLOAT32.lowest, EXP_FLOAT32.highest)
    every = sum(int(np.float32(abs(end)).view(np.uint32)) + 1 for end in ends)
    assert STUDY["float32"]["count"] == every
    assert STUDY["float64"]["count"] > 10**8
    assert {"processor", "numpy"} <= STUDY["machine"].keys()
    assert "/" not in json.dumps(STUDY["machine"]).replace("(R)", "")


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_stored_largest_errors_are_those_at_the_stored_numbers(dtype):
    for worst in STUDY[dtype]["worst"].values():
        x = np.array([float.fromhex(worst["x"])], dtype=dtype)
        with np.errstate(under="ignore"):
            assert errors(x, minimax_exp(x)) == pytest.approx(worst["ulp"], rel=1e-3)
        assert worst["ulp"] < 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_sample_has_no_larger_error_than_the_stored_check(dtype):
    random = np.random.default_rng(0)
    numbers = NUMBERS[dtype]
    x = random.uniform(numbers.lowest, numbers.highest, 200_000).astype(dtype)
    again = exp_exhaustive.Worst(dtype)
    again.add(np.sort(x))
    if dtype == "float64":
        again.add(exp_exhaustive.hard_float64()[::20])
    for name, (error, at) in again.largest.items():
        assert error <= STUDY[dtype]["worst"][name]["ulp"] + 2e-3
        assert error > 0.5
        assert exp_exhaustive.exact_error(at, dtype) == pytest.approx(error, abs=1e-3)


def test_pytorch_and_jax_differentiate_the_polynomial_to_nearly_itself():
    x = torch.linspace(-3, 3, 9, dtype=torch.float64, requires_grad=True)
    minimax_exp(x).sum().backward()
    np.testing.assert_allclose(x.grad, torch.exp(x).detach(), rtol=1e-13)
    slope = jax.grad(lambda t: minimax_exp(t).sum())(jax.numpy.linspace(-3, 3, 9))
    np.testing.assert_allclose(slope, np.exp(np.linspace(-3, 3, 9)), rtol=1e-13)


# --- edges


def test_infinities_nan_and_numbers_past_the_range_give_no_overflow_warning(library):
    x = library(np.array([INF, -INF, NAN, 1e300, -1e300, 0.0, -0.0]))
    with np.errstate(all="raise"):
        got = to_numpy(minimax_exp(x))
        np.testing.assert_array_equal(got, [INF, 0, NAN, INF, 0, 1, 1])
        np.testing.assert_array_equal(to_numpy(reduced_exp(x, lambda r: taylor_exp(r, 3))), got)


def test_underflow_is_signaled_where_the_result_is_below_the_normal_numbers():
    with np.errstate(all="raise"), pytest.raises(FloatingPointError, match="underflow"):
        minimax_exp(np.array([-720.5]))
    with np.errstate(all="raise"):
        minimax_exp(np.array([-708.0, 709.0]))


def test_integers_lists_and_empty_arrays_are_taken():
    assert float(minimax_exp(1)) == math.e
    assert minimax_exp([0, 0]).tolist() == [1, 1]
    assert minimax_exp(np.empty((0, 2))).shape == (0, 2)


def test_the_shifts_4_13_and_40_are_used_twice():
    shifts = cordic_shifts(50)
    assert sorted(set(shifts)) == list(range(1, 51))
    assert [s for s in set(shifts) if shifts.count(s) == 2] == [4, 13, 40]


def test_wrong_arguments_are_refused_in_words():
    for degree in (-1, 10_001, 2**45):  # the last would take years
        words = f"degree must be at least 0 and at most 10000, got {degree}"
        with pytest.raises(ValueError, match=words):
            taylor_exp(1.0, degree)
        with pytest.raises(ValueError, match=words.replace("degree", "n", 1)):
            pade_exp(1.0, 1, degree)
    with pytest.raises(TypeError, match="degree must be an integer, got float"):
        taylor_exp(1.0, 2.0)
    for last in (0, 1075):
        words = f"last shift must be at least 1 and at most 1074, got {last}"
        with pytest.raises(ValueError, match=words):
            cordic_exp(1.0, last)
    with pytest.raises(ValueError, match=r"x must be from -1\.118\d to 1\.118\d"):
        cordic_exp([0.0, 1.2], 30)
    for degree in (1, 25):
        words = f"degree must be at least 2 and at most 24, got {degree}"
        with pytest.raises(ValueError, match=words):
            minimax(degree)
    with pytest.raises(TypeError, match="degree must be an integer, got str"):
        minimax("x")
    with pytest.raises(ValueError, match=r"\('float32', 'float64'\), got 'float16'"):
        polynomial_for("float16")
    for function in (minimax_exp, lambda x: taylor_exp(x, 2), range_reduction):
        with pytest.raises(TypeError, match="real numbers"):
            function([1j])


def test_cordic_gives_nan_at_nan_and_where_an_unknown_x_is_out_of_range():
    np.testing.assert_array_equal(np.isnan(cordic_exp([NAN, 0.5], 20)), [True, False])
    got = jax.jit(lambda x: cordic_exp(x, 20))(jax.numpy.array([0.5, 5.0]))
    np.testing.assert_array_equal(np.isnan(got), [False, True])


# --- proofs


@pytest.mark.claim("thm-exp-taylor")
def test_proof_of_the_rest_of_the_series_as_an_integral():
    assert [proofs.remainder_residual(d) for d in (0, 1, 2, 5)] == [0] * 4


@pytest.mark.claim("prop-exp-pade")
@pytest.mark.parametrize("m", range(4))
@pytest.mark.parametrize("n", range(4))
def test_proof_of_the_error_of_the_fraction_as_an_integral(m, n):
    assert proofs.pade_residual(m, n) == 0


@pytest.mark.claim("thm-exp-cordic")
def test_proof_of_the_steps_of_cordic_and_of_its_deficits():
    assert proofs.rotation_residual().is_zero_matrix
    assert proofs.angle_residual() == 0
    assert proofs.deficit_residual() == 0
    assert proofs.doubling_residual() == 0


@pytest.mark.claim("lem-exp-reduction")
def test_proof_that_the_reduction_changes_nothing():
    assert proofs.reduction_residual() == 0
