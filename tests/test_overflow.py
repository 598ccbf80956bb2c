"""Where softmax fails, how far errors go, and the remedies: laws, references, edges, proofs."""

import json
import math
from fractions import Fraction
from pathlib import Path

import mpmath
import numpy as np
import pytest
from array_api_compat import array_namespace
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from softmax_notes import cross_entropy, cross_entropy_grad, log_softmax, logsumexp, softmax
from softmax_notes._arrays import accurate_sum
from softmax_notes.overflow import (
    by_parts,
    chained_gradient,
    contract,
    logsumexp_bound,
    naive_log_softmax,
    naive_logsumexp,
    naive_softmax,
    running_sum,
    shifted_softmax,
    softmax_bound,
    thresholds,
)
from softmax_notes.symbolic import overflow as proofs
from tests.exact import exact, ulp_error
from tests.libraries import same_kind, to_numpy
from tests.pytorch import torch, with_torch

accuracy = with_torch("benchmarks.accuracy")
BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
INF, NAN = np.inf, np.nan
UNIT = {"float32": 2.0**-24, "float64": 2.0**-53}
FUNCTION_ERROR = {"float32": 5.2, "float64": 2.0}  # NumPy's exp, in u: 2.6 and 1 ULP
ALL = [
    softmax,
    log_softmax,
    logsumexp,
    lambda x: cross_entropy(x, np.array(1)),
    lambda x: cross_entropy_grad(x, np.array(1)),
]


def slices(largest, dtypes=("float32", "float64")):
    """Scores whose differences have rounding errors."""
    return st.sampled_from(dtypes).flatmap(
        lambda dtype: npst.arrays(
            dtype,
            st.integers(1, 12),
            elements=st.floats(-largest, largest, width=32).map(lambda v: np.dtype(dtype).type(v)),
        )
    )


# --- laws


@pytest.mark.claim("prop-overflow-shift")
@given(x=slices(300))
def test_shifted_by_the_maximum_no_exponential_exceeds_1_and_the_sum_is_from_1_to_n(x):
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        p = shifted_softmax(x, x.max())
    terms = np.exp(x - x.max())
    assert terms.max() == 1
    assert 1 <= terms.sum() <= len(x)
    np.testing.assert_allclose(p.sum(), 1, rtol=20 * np.finfo(x.dtype).eps)


@pytest.mark.claim("prop-overflow-shift")
@given(x=slices(20), c=st.floats(-20, 20))
def test_any_shift_that_neither_overflows_nor_underflows_gives_the_same(quick_library, x, c):
    shifted = to_numpy(shifted_softmax(quick_library(x), c))
    np.testing.assert_allclose(
        shifted, torch.softmax(torch.tensor(x).double(), 0), rtol=200 * np.finfo(x.dtype).eps
    )


def bound_of(x):
    dtype = str(x.dtype)
    return {"unit": UNIT[dtype], "function_error": FUNCTION_ERROR[dtype]}


@pytest.mark.claim("thm-overflow-softmax")
@given(x=slices(40), shifted=st.booleans())
def test_the_relative_error_of_softmax_is_below_its_bound(x, shifted):
    got = shifted_softmax(x, x.max() if shifted else 0)
    bound = softmax_bound(x.astype(np.float64), shifted=shifted, **bound_of(x))
    with mpmath.workdps(40):
        for value, truth, limit in zip(got, exact(x).softmax, bound, strict=True):
            if truth > 1e-37:  # a normal number: nothing underflowed
                assert abs(mpmath.log(mpmath.mpf(float(value)) / truth)) <= limit


@pytest.mark.claim("thm-overflow-logsumexp")
@given(x=slices(40), shifted=st.booleans())
def test_the_error_of_logsumexp_is_below_its_bound(x, shifted):
    plain = np.log(np.exp(x - x.max()).sum()) + x.max() if shifted else naive_logsumexp(x)
    bound = logsumexp_bound(x.astype(np.float64), shifted=shifted, **bound_of(x))
    assert abs(mpmath.mpf(float(plain)) - exact(x).logsumexp) <= float(bound)


@pytest.mark.claim("lem-overflow-gap")
@given(x=slices(500, ("float64",)))
def test_the_mean_distance_from_the_maximum_is_at_most_log_n(x):
    gap = torch.softmax(torch.tensor(x), 0) @ torch.tensor(x.max() - x)
    assert 0 <= float(gap) <= math.log(len(x)) + 1e-12 * (1 + np.ptp(x))


@pytest.mark.claim("lem-overflow-gap")
@given(x=slices(80, ("float64",)), t=st.floats(1e-9, 0.5))
def test_stretching_all_differences_a_little_moves_logsumexp_by_at_most_log_n_as_much(x, t):
    d = torch.tensor(x - x.max())
    moved = [float(torch.logsumexp(s * d, 0) - torch.logsumexp(d, 0)) for s in (1 - t, 1 + t)]
    limit = t / (1 - t) * math.log(len(x)) + 1e-12
    assert -1e-12 <= moved[0] <= limit
    assert -limit <= moved[1] <= 1e-12


@pytest.mark.claim("prop-overflow-log1p")
@given(st.floats(-700, 2), st.floats(-0.1, 0.1))
def test_log1p_passes_a_relative_error_on_without_making_it_larger(log_r, error):
    with mpmath.workdps(700):  # r and 1 side by side
        r = mpmath.exp(log_r)
        ratio = mpmath.log(1 + r * mpmath.exp(error)) / mpmath.log(1 + r)
        assert abs(mpmath.log(ratio)) <= abs(error) * (1 + mpmath.mpf(10) ** -12)


@pytest.mark.claim("prop-overflow-chain")
@given(x=slices(3, ("float64",)), data=st.data())
def test_where_nothing_underflows_the_chain_gives_the_fused_gradient(quick_library, x, data):
    y = data.draw(npst.arrays("float64", x.shape, elements=st.floats(0, 1)))
    p = torch.softmax(torch.tensor(x), 0).numpy()
    chained = to_numpy(chained_gradient(quick_library(p), quick_library(y)))
    np.testing.assert_allclose(chained, y.sum() * p - y, atol=1e-13)


@pytest.mark.claim("prop-overflow-stall")
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_16_bit_sum_of_ones_stalls_at_1_over_u(dtype):
    kind = getattr(torch, dtype)
    stall = thresholds(torch.finfo(kind)).stall
    assert stall == {"float16": 2048, "bfloat16": 256}[dtype]
    for count in (1, stall - 1, stall, stall + 1, stall + 500):
        assert float(running_sum(torch.ones(count, dtype=kind))) == min(count, stall)


@pytest.mark.claim("prop-overflow-sum")
@given(
    npst.arrays("float32", st.integers(1, 300), elements=st.floats(0, 1e6, width=32)),
)
def test_a_sum_that_keeps_its_errors_is_right_to_1_unit(quick_library, x):
    terms = quick_library(x)
    total = to_numpy(accurate_sum(array_namespace(terms), terms))
    true = sum(Fraction(float(v)) for v in x)
    n, height, u = len(x), math.ceil(math.log2(max(len(x), 2))), UNIT["float32"]
    limit = u + 2 * n * height * u**2
    assert abs(Fraction(float(total[0])) - true) <= Fraction(limit) * true


# --- references


def test_thresholds_are_the_logarithms_of_the_ends_of_each_format():
    for name, finfo in (
        ("float16", np.finfo("float16")),
        ("float32", np.finfo("float32")),
        ("float64", np.finfo("float64")),
        ("bfloat16", torch.finfo(torch.bfloat16)),
    ):
        bits, lowest, highest = {
            "float16": (11, -14, 16),
            "bfloat16": (8, -126, 128),
            "float32": (24, -126, 128),
            "float64": (53, -1022, 1024),
        }[name]
        with mpmath.workdps(40):
            largest = mpmath.mpf(2) ** highest * (1 - mpmath.mpf(2) ** -bits)
            expected = [
                mpmath.log(largest),
                lowest * mpmath.log(2),
                (lowest - bits) * mpmath.log(2),
                mpmath.mpf(2) ** -bits,
                2**bits,
            ]
        np.testing.assert_allclose(thresholds(finfo), [float(v) for v in expected], rtol=1e-15)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_exponentials_overflow_and_vanish_at_the_thresholds(dtype):
    t = thresholds(np.finfo(dtype))
    below, above = (np.array([v * (1 + s * 1e-6) for s in (-1, 1)], dtype) for v in t[:3:2])
    with np.errstate(all="ignore"):
        assert np.isfinite(np.exp(below)).tolist() == [True, False]
        assert (np.exp(above) > 0).tolist() == [True, False]
    # exp(100) of the source: infinite in float32 alone; mpmath gives 2.6881171418161354e43.
    with np.errstate(over="ignore"):
        expected = {"float32": INF, "float64": 2.6881171418161354e43}[dtype]
        assert np.exp(np.array([100], dtype))[0] == pytest.approx(expected, rel=1e-15)


@pytest.mark.claim("thm-overflow-softmax")
@pytest.mark.claim("thm-overflow-logsumexp")
@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("n", [10, 1000, 100_000])
def test_sums_of_many_ties_stay_below_the_bound_also_when_added_one_by_one(n, shifted):
    x = np.full(n, 0.3, dtype=np.float32)
    x[0] = 0.75
    m = x[0] if shifted else np.float32(0)
    terms = np.exp(x - m)
    total = np.cumsum(terms)[-1]
    tie = mpmath.exp(mpmath.mpf(float(x[1])))
    true = mpmath.exp(mpmath.mpf(0.75)) + (n - 1) * tie
    one = {"unit": 2.0**-24, "function_error": 5.2, "shifted": shifted}
    error = abs(mpmath.mpf(float(np.log(total) + m)) - mpmath.log(true))
    assert error <= float(logsumexp_bound(x.astype(np.float64), **one))
    error = abs(mpmath.log(mpmath.mpf(float(terms[1] / total)) * true / tie))
    assert error <= float(softmax_bound(x.astype(np.float64), **one)[1])
    if n == 100_000:  # the additions make the error, and the bounds say so
        assert error > 100 * 2.0**-24


@pytest.mark.claim("thm-overflow-softmax")
@pytest.mark.claim("thm-overflow-logsumexp")
def test_bounds_are_those_worked_out_on_paper_where_every_term_counts(quick_library):
    # u = 1/4 and c = 1/2 give u / (1 - u) = 1/3 and c / (1 - c) = 1.
    coarse = {"unit": 0.25, "function_error": 2.0}
    x = quick_library([[5.0, 4.0, 2.0], [2.0, 2.0, 2.0]])
    log3 = np.log(3)
    ratio = np.array([[0, 1, 3], [0, 0, 0]])
    for bound, expected in (
        (softmax_bound(x, **coarse, shifted=False), 1 + 2 + 0 * ratio),
        (softmax_bound(x, **coarse), 1 + 2 + (ratio + log3) / 3),
    ):
        np.testing.assert_allclose(to_numpy(bound), expected, rtol=1e-14)
    of_terms = 2 / 3 + 1
    of_sum = of_terms + log3 / 3
    for bound, expected in (
        (logsumexp_bound(x, **coarse, shifted=False), (2 + log3) / 2 + 1.5 * of_terms),
        (logsumexp_bound(x, **coarse), (2 + log3) / 4 + 1.25 * (log3 / 2 + 1.5 * of_sum)),
    ):
        np.testing.assert_allclose(to_numpy(bound)[1], expected, rtol=1e-14)


@pytest.mark.slow
def test_each_remedy_is_needed_and_all_of_them_are_the_package():
    random = np.random.default_rng(0)
    x = random.uniform(-80, 3, (200, 4)).astype(np.float32)
    lone = np.where(np.arange(50)[:, None] == 7, 3.0, random.uniform(-14, -10, (50, 4)))
    lone = lone.astype(np.float32)
    many = (7 + random.integers(0, 9, (20_000, 2)) * 1e-6).astype(np.float32)

    def worst(x, which, **parts):
        results = by_parts(x, axis=0, **parts)[which].T
        name = ("softmax", "log_softmax")[which]
        return max(
            ulp_error(row, getattr(exact(scores), name), "float32")
            for row, scores in zip(results, x.T, strict=True)
        )

    assert worst(x, 0) < 8 < 20 < worst(x, 0, two_sum=False)
    assert worst(lone, 1) < 8 < 1000 < worst(lone, 1, log1p=False)
    assert worst(many, 0) < 2 < 5 < worst(many, 0, accurate_sum=False)
    for scores in (x, lone, many):
        p, log_p = by_parts(scores, axis=0)
        np.testing.assert_array_equal(p, softmax(scores, axis=0))
        np.testing.assert_array_equal(log_p, log_softmax(scores, axis=0))


def test_naive_forms_are_the_definitions_in_every_library(library):
    x = library(np.random.default_rng(1).normal(size=(3, 4)))
    reference = torch.tensor(to_numpy(x))
    for got, expected in (
        (naive_softmax(x), torch.softmax(reference, -1)),
        (naive_softmax(x, axis=0), torch.softmax(reference, 0)),
        (naive_log_softmax(x), torch.log_softmax(reference, -1)),
        (naive_logsumexp(x, axis=0), torch.logsumexp(reference, 0)),
        (running_sum(x), reference.sum(-1)),
        (by_parts(x)[0], torch.softmax(reference, -1)),
        (by_parts(x, axis=0, accurate_sum=False)[1], torch.log_softmax(reference, 0)),
        (by_parts(x, log1p=False)[0], torch.softmax(reference, -1)),
        (by_parts(x, log1p=False)[1], torch.log_softmax(reference, -1)),
        (chained_gradient(naive_softmax(x), x), None),
    ):
        assert same_kind(got, x)
        if expected is not None:
            np.testing.assert_allclose(to_numpy(got), expected, rtol=1e-12)


def test_chained_gradients_keep_float32(quick_library):
    p = quick_library([0.75, 0.25], "float32")
    assert same_kind(chained_gradient(p, p), p)


def test_pytorch_differentiates_the_naive_forms_where_they_work():
    x = torch.tensor([0.3, -1.2, 2.0], dtype=torch.float64, requires_grad=True)
    for function in (naive_softmax, naive_log_softmax, naive_logsumexp):
        assert torch.autograd.gradcheck(function, x)


STUDY = json.loads((BENCHMARKS / "accuracy.json").read_text(encoding="utf-8"))


def test_the_stored_study_holds_every_case():
    assert tuple(STUDY["columns"]) == accuracy.COLUMNS
    cases = {(r["function"], r["dtype"], r["family"], r["n"], r["axis"]) for r in STUDY["rows"]}
    assert len(cases) == len(STUDY["rows"])
    sizes = (accuracy.FUNCTIONS, accuracy.DTYPES, accuracy.FAMILIES, accuracy.LENGTHS, (-1, 0, 1))
    assert len(cases) == math.prod(map(len, sizes))


def test_the_stored_study_names_the_machine_but_no_path():
    text = json.dumps({key: value for key, value in STUDY.items() if key != "rows"})
    assert {"processor", "numpy", "torch", "jax", "scipy"} <= STUDY["machine"].keys()
    assert str(Path.home()) not in text
    assert "/" not in text.replace("(R)", "")


def test_in_the_stored_study_ours_is_nearest_or_the_row_is_explained():
    unexplained = [
        (row, pair) for row in STUDY["rows"] for pair in accuracy.behind(row) if not pair[-1]
    ]
    assert unexplained == []
    assert STUDY["behind"] == accuracy.reasons(STUDY["rows"])
    assert sum(STUDY["behind"].values()) < STUDY["compared"] / 20


def test_in_the_stored_study_ours_is_within_8_units_and_within_1_in_16_bits():
    for row in STUDY["rows"]:
        limit = 1 if row["dtype"] in ("float16", "bfloat16") else 8
        for column, error in zip(STUDY["columns"], row["largest"], strict=True):
            if column in accuracy.OURS and error is not None:
                assert accuracy.flushed(row, column) or float(error) <= limit, row


@pytest.mark.parametrize(("dtype", "family"), [("float32", "dominant"), ("float64", "wide")])
def test_a_sample_of_the_study_measured_again_says_the_same(dtype, family, monkeypatch):
    names = ("ours (NumPy)", "ours (PyTorch)", "SciPy", "PyTorch")
    monkeypatch.setattr(accuracy, "LIBRARIES", {k: accuracy.LIBRARIES[k] for k in names})
    given_rows = accuracy.problem(dtype, family, 7)
    truth = accuracy.truths(given_rows)
    for row in accuracy.measure(given_rows, truth, 1):
        errors = dict(zip(accuracy.COLUMNS, row["largest"], strict=True))
        assert max(float(errors[name]) for name in names[:2]) <= 8
        assert accuracy.behind(row) == [] or {why for *_, why in accuracy.behind(row)} == {
            "rounding"
        }


def test_the_distances_of_the_study_are_those_of_mpmath():
    values = [1 + 2.0**-52, 1e-310, -3.0]
    exact_values = [mpmath.mpf(1), mpmath.mpf("1.1e-310"), mpmath.mpf(-3)]
    found = accuracy.errors(values, accuracy.in_units(exact_values, "float64"))
    one_by_one = [ulp_error([v], [e], "float64") for v, e in zip(values, exact_values, strict=True)]
    np.testing.assert_allclose(found, one_by_one, rtol=1e-12)
    assert accuracy.errors([NAN], accuracy.in_units([mpmath.mpf(1)], "float32")) == INF


# --- edges


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(
    "x",
    [
        [1.0, 2.0, 3.0],
        [6e4, -6e4],
        [6e4, 6e4],
        [0.0, INF],
        [0.0, -INF],
        [-INF, -INF],
        [0.0, NAN],
        [0.1, 0.1001],
    ],
)
def test_no_warning_of_any_kind_escapes_where_no_probability_is_subnormal(dtype, x):
    x = np.array(x, dtype=dtype)
    for function in ALL:
        with np.errstate(all="raise"):
            function(x)


@pytest.mark.parametrize(
    ("dtype", "distance"), [("float16", 12.0), ("float32", 95.0), ("float64", 720.0)]
)
def test_underflow_is_signaled_where_a_probability_is_below_the_normal_numbers(dtype, distance):
    x = np.array([0, -distance], dtype=dtype)
    assert distance > -thresholds(np.finfo(dtype)).subnormal
    with np.errstate(all="raise"), pytest.raises(FloatingPointError, match="underflow"):
        softmax(x)
    with np.errstate(over="raise", divide="raise", invalid="raise"):  # and nothing else
        results = [function(x) for function in ALL]
    truth = exact(x)
    assert ulp_error(results[0], truth.softmax, dtype) <= 1
    assert ulp_error(results[1], truth.log_softmax, dtype) <= 1


def test_far_below_even_the_underflow_is_silent():
    with np.errstate(all="raise"):
        assert softmax([0.0, -2000.0]).tolist() == [1, 0]
        assert log_softmax([0.0, -2000.0]).tolist() == [0, -2000]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_naive_forms_fail_where_the_stable_ones_do_not(dtype):
    t = thresholds(np.finfo(dtype))
    high, low = (np.array([v, v - 1], dtype) for v in (t.overflow + 1, t.zero - 1))
    with np.errstate(all="ignore"):
        assert np.isnan(naive_softmax(high)[0])
        assert naive_logsumexp(high) == INF
        assert np.isnan(naive_softmax(low)).all()
        assert naive_logsumexp(low) == -INF
        far = np.array([0, t.zero - 1], dtype)
        assert naive_log_softmax(far).tolist() == [0, -INF]
    for x in (high, low):
        np.testing.assert_allclose(softmax(x), [0.731058579, 0.268941421], rtol=1e-6)
    assert log_softmax(far)[1] == pytest.approx(t.zero - 1, rel=1e-6)


def test_the_logarithm_of_a_probability_near_1_is_lost_by_the_naive_form():
    x = np.array([18, 0], dtype=np.float32)
    assert naive_log_softmax(x)[0] == 0
    assert log_softmax(x)[0] == pytest.approx(-1.5229979512760347e-08, rel=1e-6)  # mpmath


def test_the_chain_is_nan_where_a_probability_is_0_and_the_fused_gradient_is_exact():
    p = np.array([1.0, 0.0])
    for target, expected in ((0, [0, 0]), (1, [1, -1])):
        with np.errstate(all="ignore"):
            assert np.isnan(chained_gradient(p, np.eye(2)[target])).all()
        fused = cross_entropy_grad(np.array([0.0, -2000.0]), np.array(target))
        assert fused.tolist() == expected


def test_the_contract_is_computed_and_as_designed():
    assert contract() == [
        ("0, nan", "nan, nan", "nan, nan", "nan"),
        ("0, inf", "nan, nan", "nan, nan", "inf"),
        ("-inf, -inf", "nan, nan", "nan, nan", "-inf"),
        ("0, -inf", "1, 0", "0, -inf", "0"),
        ("0, nan  where true, false", "1, 0", "0, -inf", "0"),
        ("0, nan  where false, false", "0, 0", "-inf, -inf", "-inf"),
        ("(empty)", "(empty)", "(empty)", "-inf"),
    ]


def test_what_is_no_array_of_real_numbers_is_refused():
    for function in (naive_softmax, running_sum, naive_logsumexp, by_parts):
        with pytest.raises(TypeError, match="real numbers"):
            function([1j])
    with pytest.raises(TypeError, match="one library"):
        chained_gradient(np.ones(2), torch.ones(2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: softmax_bound(3.0, unit=0.25), "x needs at least one axis"),
        (lambda: chained_gradient(0.5, [1.0]), "p needs at least one axis"),
        (lambda: chained_gradient([0.5, 0.5], [1.0] * 3), r"y of shape \(3,\) .* \(2,\) of p"),
        (lambda: shifted_softmax([0.0, 1.0], [1.0] * 3), r"c of shape \(3,\) does not broadcast"),
        (lambda: by_parts(np.empty((2, 0))), "x needs an entry along the axis 1"),
        (lambda: softmax_bound([1.0], unit=1.0, function_error=0.0), "got unit=1.0"),
    ],
)
def test_wrong_shapes_and_units_are_refused_in_words(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_smallest_cases_are_taken():
    assert by_parts([7.0])[0].tolist() == [1]
    assert softmax_bound([0.0, 0.0], unit=0.0, function_error=0.0).tolist() == [0, 0]


# --- proofs


@pytest.mark.claim("prop-overflow-shift")
def test_proof_that_a_factor_of_all_exponentials_cancels():
    assert proofs.shift_residual() == 0
    assert all(proofs.shift_residual(n).is_zero_matrix for n in (1, 2, 3))


@pytest.mark.claim("lem-overflow-gap")
def test_proof_that_the_mean_gap_is_the_entropy_minus_what_logsumexp_exceeds_the_maximum():
    assert [proofs.entropy_residual(n) for n in (1, 2, 3, 4)] == [0] * 4


@pytest.mark.claim("lem-overflow-gap")
def test_proof_that_logsumexp_is_convex_along_a_line_with_the_mean_as_slope():
    assert [proofs.slope_residual(n) for n in (2, 3)] == [0, 0]
    assert [proofs.convexity_residual(n) for n in (2, 3)] == [0, 0]


@pytest.mark.claim("thm-overflow-softmax")
@pytest.mark.claim("thm-overflow-logsumexp")
def test_proof_of_what_each_rounding_does_to_first_order():
    assert all(proofs.rounding_residual(n).is_zero_matrix for n in (1, 2, 3))


@pytest.mark.claim("prop-overflow-log1p")
def test_proof_that_log1p_of_q_is_at_least_q_over_1_plus_q():
    assert proofs.log1p_residual().is_zero_matrix


@pytest.mark.claim("prop-overflow-chain")
def test_proof_that_the_chain_collapses_to_the_fused_gradient():
    assert proofs.chain_residual().is_zero_matrix
    assert all(proofs.chain_residual(n).is_zero_matrix for n in (2, 3))
