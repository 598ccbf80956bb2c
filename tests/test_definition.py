"""Softmax, log_softmax and logsumexp: laws, references, edges, proofs."""

import array_api_strict
import jax
import mpmath
import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from softmax_notes import log_softmax, logsumexp, softmax
from softmax_notes.check import _laws as laws
from softmax_notes.check._subject import Arg
from softmax_notes.symbolic import definition as proofs
from tests.exact import DIGITS, exact, ulp_error
from tests.libraries import EDGES, LIBRARIES, floats, judged, same_kind, to_numpy
from tests.pytorch import torch

FUNCTIONS = [softmax, log_softmax, logsumexp]
DTYPES = ["float32", "float64"]
INF, NAN = np.inf, np.nan

# Multiples of 1/8: differences and shifts by integers are exact in float32.
eighths = st.integers(-400, 400).map(lambda k: k / 8)


@st.composite
def arrays(draw, elements=eighths, min_side=1):
    shape = draw(npst.array_shapes(min_dims=1, max_dims=3, min_side=min_side, max_side=5))
    return draw(npst.arrays(draw(st.sampled_from(DTYPES)), shape, elements=elements))


def axes(x):
    """Any valid axis: an integer of either sign, a tuple, or None."""
    one = st.integers(-x.ndim, x.ndim - 1)
    several = st.lists(one, min_size=1, max_size=x.ndim, unique_by=lambda a: a % x.ndim)
    return st.one_of(st.none(), one, several.map(tuple))


def merged(x, axis):
    """Bring the axes last and merge them, by NumPy alone."""
    axis = tuple(range(x.ndim)) if axis is None else np.atleast_1d(axis) % x.ndim
    kept = [i for i in range(x.ndim) if i not in axis]
    return x.transpose(*kept, *axis).reshape(*(x.shape[i] for i in kept), -1)


# --- laws


@pytest.mark.claim("thm-simplex")
@given(st.data())
def test_probabilities_are_from_0_to_1_and_sum_to_1(quick_library, data):
    x = data.draw(arrays())
    laws.simplex(judged(softmax, quick_library), Arg(x), axis=data.draw(axes(x)))


@pytest.mark.claim("thm-simplex")
@given(x=eighths)
def test_a_single_class_has_probability_1(quick_library, x):
    laws.single_class(judged(softmax, quick_library), Arg(np.array([x])))


@pytest.mark.claim("thm-shift-invariance")
@given(st.data(), st.integers(-1000, 1000))
def test_a_common_shift_changes_no_bit(quick_library, data, c):
    x = data.draw(arrays())
    axis = data.draw(axes(x))
    for function in (softmax, log_softmax):
        laws.shift(judged(function, quick_library), Arg(x), c, axis=axis, bits=True)


@pytest.mark.claim("prop-log-odds")
@given(st.data())
def test_differences_of_log_probabilities_are_differences_of_scores(quick_library, data):
    laws.log_odds(judged(log_softmax, quick_library), Arg(data.draw(arrays())))


@pytest.mark.claim("cor-inverse")
@given(npst.arrays("float64", st.integers(1, 6), elements=st.floats(1e-3, 1)), st.integers(-50, 50))
def test_softmax_of_log_p_plus_a_constant_is_p(quick_library, weights, c):
    p = weights / weights.sum()
    np.testing.assert_allclose(to_numpy(softmax(quick_library(np.log(p) + c))), p, rtol=1e-13)


@pytest.mark.claim("prop-order")
@given(st.data())
def test_order_is_kept_and_ties_stay_ties(quick_library, data):
    x = data.draw(arrays(elements=st.integers(-80, 80).map(lambda k: k / 8)))
    laws.order(judged(softmax, quick_library), Arg(x), bits=True)


@pytest.mark.claim("prop-permutation")
@given(st.data())
def test_probabilities_follow_their_scores_through_any_permutation(quick_library, data):
    x = data.draw(arrays())
    order = data.draw(st.permutations(range(x.shape[-1])))
    laws.permutation(judged(softmax, quick_library), Arg(x), order)


@pytest.mark.claim("prop-two-classes")
@given(st.data())
def test_two_classes_give_the_sigmoid_of_the_difference(quick_library, data):
    x = data.draw(npst.arrays("float64", (3, 2), elements=eighths))
    laws.two_classes(judged(softmax, quick_library), Arg(x))


@pytest.mark.claim("prop-log-softmax")
@given(st.data())
def test_logsumexp_is_from_the_maximum_to_log_n_above_it(quick_library, data):
    x = data.draw(arrays())
    axis = data.draw(axes(x))
    laws.bounds(judged(logsumexp, quick_library), Arg(x), axis=axis, bits=True)
    laws.log_simplex(judged(log_softmax, quick_library), Arg(x), axis=axis, bits=True)


@given(st.data())
def test_an_excluded_entry_counts_as_absent_whatever_it_holds(quick_library, data):
    x = data.draw(arrays())
    mask = data.draw(npst.arrays(bool, x.shape))
    hidden = np.where(mask, x, data.draw(st.sampled_from([NAN, INF, -INF, 1e30]))).astype(x.dtype)
    p = to_numpy(softmax(quick_library(hidden), where=quick_library(mask)))
    log_p = to_numpy(log_softmax(quick_library(hidden), where=quick_library(mask)))
    log_total = to_numpy(logsumexp(quick_library(hidden), axis=-1, where=quick_library(mask)))
    for i in np.ndindex(x.shape[:-1]):
        kept = torch.tensor(x[i][mask[i]], dtype=torch.float64)
        np.testing.assert_allclose(p[i][mask[i]], torch.softmax(kept, -1), rtol=1e-6, atol=1e-30)
        np.testing.assert_allclose(
            log_p[i][mask[i]], torch.log_softmax(kept, -1), rtol=1e-5, atol=1e-7
        )
        np.testing.assert_allclose(log_total[i], torch.logsumexp(kept, -1), rtol=1e-5, atol=1e-5)
    assert np.all(p[~mask] == 0)
    assert np.all(log_p[~mask] == -INF)


# --- references


@given(st.data())
def test_values_are_those_of_pytorch_over_any_axes(quick_library, data):
    x = data.draw(arrays(elements=st.floats(-20, 20, width=32)))
    assert_as_pytorch(quick_library, x, data.draw(axes(x)))


@pytest.mark.parametrize("axis", [-2, (0, 2), None])
def test_every_library_gives_the_values_of_pytorch(library, axis):
    for dtype in DTYPES:
        x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(dtype) * 10
        assert_as_pytorch(library, x, axis)


def assert_as_pytorch(library, x, axis):
    rows = torch.tensor(merged(x, axis), dtype=torch.float64)
    bound = {"rtol": 8 * np.finfo(x.dtype).eps, "atol": 20 * np.finfo(x.dtype).eps}
    for function, reference in ((softmax, torch.softmax), (log_softmax, torch.log_softmax)):
        result = merged(to_numpy(function(library(x), axis=axis)), axis)
        np.testing.assert_allclose(result, reference(rows, -1), **{**bound, "atol": 1e-14})
    result = to_numpy(logsumexp(library(x), axis=axis))
    np.testing.assert_allclose(result, torch.logsumexp(rows, -1), **bound)


@given(st.data())
def test_weighted_logsumexp_is_that_of_scipy(quick_library, data):
    x = data.draw(npst.arrays("float64", (3, 4), elements=st.floats(-20, 20)))
    b = data.draw(
        npst.arrays(
            "float64",
            data.draw(st.sampled_from([(3, 4), (4,), (3, 1)])),
            elements=st.integers(-3, 3).map(float),
        )
    )
    total = np.sum(b * np.exp(x), axis=1)
    condition = np.sum(np.abs(b) * np.exp(x), axis=1) / np.where(total == 0, 1, np.abs(total))
    with np.errstate(divide="ignore"):
        expected, sign = scipy.special.logsumexp(x, axis=1, b=b, return_sign=True)
    result, result_sign = logsumexp(quick_library(x), axis=1, b=quick_library(b), return_sign=True)
    clear = condition < 1e6  # beyond, SciPy's own error is too large to judge by
    np.testing.assert_allclose(to_numpy(result)[clear], expected[clear], rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(to_numpy(result_sign)[clear], sign[clear])
    assert logsumexp(quick_library(x), axis=1, b=quick_library(b), keepdims=True).shape == (3, 1)


# mpmath, 20 digits: softmax(2, 1, 0), log_softmax(18, 0), logsumexp(2, 1, 0)
SOFTMAX_210 = [0.66524095577482188953, 0.24472847105479765247, 0.090030573170380457998]
LOG_SOFTMAX_18_0 = [-1.5229979628736488102e-8, -18.000000015229979629]
LOGSUMEXP_210 = 2.4076059644443803045


def test_values_are_those_of_the_formula_to_the_last_digit(library):
    np.testing.assert_allclose(to_numpy(softmax(library([2.0, 1.0, 0.0]))), SOFTMAX_210, rtol=4e-16)
    np.testing.assert_allclose(
        to_numpy(log_softmax(library([18.0, 0.0]))), LOG_SOFTMAX_18_0, rtol=4e-16
    )
    np.testing.assert_allclose(
        float(logsumexp(library([2.0, 1.0, 0.0]))), LOGSUMEXP_210, rtol=4e-16
    )


def families(dtype):
    """Scores that are hard on softmax; log of the smallest positive number is -reach."""
    random = np.random.default_rng(0)
    reach = -float(np.log(np.finfo(dtype).smallest_subnormal))
    for n in (1, 2, 3, 17, 400):
        yield "normal", random.normal(size=n) * 3
        yield "down to underflow", random.uniform(-1.1 * reach, 0, size=n)
        yield "down to underflow, off center", random.uniform(-reach, 0, size=n) + 999.9
        yield "one dominant", np.append(random.uniform(-60, -5, size=n), 0)
        yield "near ties", 1 + 1e-6 * random.normal(size=n)
        yield "alternating", np.resize([0.1, -7.3], n)
        yield "far apart", random.normal(size=n) * 1e30
        yield "logsumexp near 0", random.normal(size=n) * 1e-3 - np.log(n)
    yield "ends of the range", np.finfo(dtype).max * np.array([1, 1, -1, 0.5])


def assert_accurate(x, dtype, convert, limit):
    x = x.astype(dtype)
    truth = exact(x)
    scores = convert(x)
    assert ulp_error(to_numpy(softmax(scores)), truth.softmax, dtype) <= limit
    assert ulp_error(to_numpy(log_softmax(scores)), truth.log_softmax, dtype) <= limit
    return scores, truth


@pytest.mark.claim("prop-log-softmax")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("convert", [np.asarray, torch.tensor], ids=["numpy", "torch"])
def test_errors_are_within_8_ulp_over_the_whole_range(convert, dtype):
    unit = np.finfo(dtype).eps / 2
    for name, x in families(dtype):
        scores, truth = assert_accurate(x, dtype, convert, limit=8)
        # Well conditioned: the result is not small beside the maximum it is built from.
        error = abs(float(logsumexp(scores)) - float(truth.logsumexp))
        scale = max(abs(float(truth.logsumexp)), float(abs(scores.max())))
        assert error <= 8 * 2 * unit * scale, name


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("values", [[0.0, -0.1], [0.0, -3.3, -7.7]])
def test_the_error_does_not_grow_with_n(values, dtype):
    # Equal terms: a plain running sum drifts by hundreds of ULP here.
    x = np.resize(values, 100_000).astype(dtype)
    truth = exact(x)
    for function, exact_values in ((softmax, truth.softmax), (log_softmax, truth.log_softmax)):
        for positions in (np.arange(6), np.arange(99_990, 100_000)):
            got = function(x)[positions]
            assert ulp_error(got, [exact_values[i] for i in positions], dtype) <= 8
    assert ulp_error(logsumexp(x), [truth.logsumexp], dtype) <= 8


@pytest.mark.parametrize("dtype", DTYPES)
def test_errors_are_within_8_ulp_along_every_axis(dtype):
    x = np.random.default_rng(1).normal(size=(3, 500, 2)).astype(dtype) * 10
    for axis in (0, 1, 2, (0, 1), (2, 0), None):
        p, log_p = (merged(f(x, axis=axis), axis) for f in (softmax, log_softmax))
        rows = merged(x, axis)
        for i in np.ndindex(min(rows.shape[:-1], (2,) * (rows.ndim - 1))):
            truth = exact(rows[i])
            assert ulp_error(p[i], truth.softmax, dtype) <= 8
            assert ulp_error(log_p[i], truth.log_softmax, dtype) <= 8


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_errors_are_within_1_ulp_in_16_bits(dtype):
    random = np.random.default_rng(2)
    for n in (1, 2, 17, 3000):
        for scale in (1, 10, 1000, 30000):
            x = (
                torch.tensor(random.normal(size=n) * scale)
                .clamp(-60000, 60000)
                .to(getattr(torch, dtype))
            )
            truth = exact(x.double())
            assert softmax(x).dtype == x.dtype
            assert ulp_error(to_numpy(softmax(x)), truth.softmax, dtype) <= 1
            assert ulp_error(to_numpy(log_softmax(x)), truth.log_softmax, dtype) <= 1
            assert ulp_error(to_numpy(logsumexp(x)), [truth.logsumexp], dtype) <= 1


def test_where_terms_of_both_signs_cancel_the_error_keeps_its_bound():
    unit = np.finfo(np.float64).eps / 2
    random = np.random.default_rng(3)
    for spread in (1.0, 1e-3, 1e-6, 1e-9):
        x = random.normal(size=20) * 5
        b = np.resize([1.0, -1.0], 20) * (1 + spread * random.normal(size=20))
        x[1::2] = x[::2]
        with mpmath.workdps(DIGITS):
            terms = [c * mpmath.exp(v) for v, c in zip(x.tolist(), b.tolist(), strict=True)]
            total = mpmath.fsum(terms)
            condition = float(mpmath.fsum(abs(t) for t in terms) / abs(total))
            truth = float(mpmath.log(abs(total)))
        shift = float(x.max())
        result, sign = logsumexp(x, b=b, return_sign=True)
        bound = 8 * unit * (abs(shift) + abs(truth - shift) + condition)
        assert abs(float(result) - truth) <= bound
        assert sign == np.sign(float(total))


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("values", [[0.3, -1.2, 2.0], [1.0, 1.0, 0.0], [0.0, 0.0]])
def test_pytorch_differentiates_our_code_once_and_twice_also_at_ties(function, values):
    x = torch.tensor([values, values[::-1]], dtype=torch.float64, requires_grad=True)
    for axis in (0, 1, (0, 1)):
        assert torch.autograd.gradcheck(lambda t, a=axis: function(t, axis=a), x)
        assert torch.autograd.gradgradcheck(lambda t, a=axis: function(t, axis=a), x)


def test_the_gradient_of_logsumexp_and_its_hessian_are_those_of_pytorch_at_ties():
    # Finite differences could miss a wrong choice at a tie; PyTorch's formula does not choose.
    x = torch.zeros(3, dtype=torch.float64)
    for derivative in (torch.autograd.functional.jacobian, torch.autograd.functional.hessian):
        ours = derivative(logsumexp, x)
        torch.testing.assert_close(ours, derivative(lambda t: torch.logsumexp(t, 0), x))
    np.testing.assert_allclose(
        jax.hessian(logsumexp)(jax.numpy.zeros(2)), [[0.25, -0.25], [-0.25, 0.25]]
    )


def test_gradients_by_the_weights_of_logsumexp_are_right():
    x = torch.tensor([0.3, -1.2, 2.0], dtype=torch.float64, requires_grad=True)
    b = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, b: logsumexp(x, b=b, return_sign=True)[0], (x, b))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_jax_compiles_and_maps_our_code(function):
    x = jax.numpy.asarray(np.random.default_rng(4).normal(size=(3, 4)))
    np.testing.assert_allclose(jax.jit(function)(x), function(np.asarray(x)), rtol=1e-14)
    np.testing.assert_allclose(jax.vmap(function)(x), function(np.asarray(x), axis=-1), rtol=1e-14)


# --- edges


def outcomes(library, x, dtype, **options):
    x = library(np.array(x), dtype)
    with np.errstate(divide="raise", invalid="raise", over="raise"):
        return [to_numpy(function(x, axis=-1, **options)).tolist() for function in FUNCTIONS]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_contract_at_the_edges(library, dtype):
    if library.name == "strict" and dtype == "float16":
        dtype = "float32"  # the standard has no float16
    for x, *expected in EDGES:
        for got, wanted in zip(outcomes(library, x, dtype), expected, strict=True):
            np.testing.assert_array_equal(got, wanted, err_msg=str(x))
        # The other rows of a batch are not touched.
        rows = outcomes(library, [x, [0, 0]], dtype)
        np.testing.assert_array_equal(rows[0][1], [0.5, 0.5])


@pytest.mark.parametrize("hidden", [0.0, NAN, INF, -INF])
def test_with_everything_excluded_the_result_is_that_of_no_entries(library, hidden):
    mask = library(np.array([False, False]))
    p, log_p, log_total = outcomes(library, [hidden, hidden], "float64", where=mask)
    assert (p, log_p, log_total) == ([0, 0], [-INF, -INF], -INF)


def test_differences_past_the_largest_number_are_minus_infinity_without_a_warning(library):
    for dtype in DTYPES:
        big = float(np.finfo(dtype).max)
        assert outcomes(library, [big, -big], dtype) == [[1, 0], [0, -INF], big]
        assert outcomes(library, [-big, -big], dtype)[0] == [0.5, 0.5]
    if library.name != "strict":
        assert outcomes(library, [65504, -65504], "float16") == [[1, 0], [0, -INF], 65504]


def test_the_longest_distance_that_is_a_number_is_kept(library):
    big = float(np.finfo(np.float64).max)
    assert to_numpy(log_softmax(library([0.0, -big]))).tolist() == [0, -big]


def test_the_largest_bound_of_a_score_loses_nothing_below_it(library):
    # Neighbors of a huge maximum are not as far as they look: ulp(2^30) is 64 in float32.
    x = [2.0**30, 2.0**30 - 64]
    p, log_p, _ = outcomes(library, x, "float32")
    np.testing.assert_allclose(p, [1, np.exp(-64)], rtol=1e-6)
    assert log_p[1] == -64


def test_an_empty_axis_gives_an_empty_result_and_logsumexp_minus_infinity(library):
    x = library(np.empty((2, 0)))
    assert softmax(x).shape == log_softmax(x).shape == (2, 0)
    np.testing.assert_array_equal(to_numpy(logsumexp(x, axis=1)), [-INF, -INF])
    np.testing.assert_array_equal(to_numpy(logsumexp(x, axis=0)), [])
    assert softmax(library(np.empty((0, 3)))).shape == (0, 3)
    assert float(logsumexp(library(np.empty((0, 3))))) == -INF


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint8", "bool"])
def test_integers_are_promoted_before_anything_is_subtracted(library, dtype):
    values = {"bool": [False, True, True], "uint8": [0, 255, 255]}.get(dtype, [-128, 127, 127])
    result = softmax(library(values, dtype))
    default = {"torch": "torch.float32"}.get(library.name, "float64")
    assert str(result.dtype).removeprefix("array_api_strict.") == default
    expected = torch.softmax(torch.tensor(values, dtype=torch.float64), 0)
    np.testing.assert_allclose(to_numpy(result), expected, rtol=1e-6, atol=1e-30)


@pytest.mark.parametrize(("library", "dtype"), floats(*LIBRARIES))
def test_dtype_shape_and_device_are_kept_and_the_input_is_not_changed(library, dtype):
    values = np.random.default_rng(5).normal(size=(2, 3)).astype(dtype)
    x = library(values.copy(), dtype)
    for function in (softmax, log_softmax):
        result = function(x, axis=0)
        assert same_kind(result, x)
        assert result.shape == x.shape
    assert logsumexp(x, axis=0).shape == (3,)
    assert logsumexp(x, axis=0, keepdims=True).shape == (1, 3)
    assert logsumexp(x).dtype == x.dtype
    np.testing.assert_array_equal(to_numpy(x), values)


def test_bfloat16_is_kept_by_jax_and_pytorch():
    assert softmax(jax.numpy.zeros(3, dtype="bfloat16")).dtype == "bfloat16"
    assert softmax(torch.zeros(3, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_lists_and_numbers_become_numpy_arrays():
    assert isinstance(softmax([1, 2]), np.ndarray)
    assert float(logsumexp(3.5)) == 3.5
    np.testing.assert_array_equal(softmax([1.0, 2.0], where=[True, False]), [1, 0])
    assert softmax(torch.zeros(2), where=[True, False]).tolist() == [1, 0]


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.ma.array([1.0, 2.0], mask=[0, 1]), "would lose its mask"),
        (np.ones((1, 1)).view(np.matrix), "pass numpy.asarray"),
        (np.array([1j]), "real numbers is needed, got dtype complex128"),
        (np.array(["a"]), "real numbers is needed"),
        (np.array([None]), "real numbers is needed"),
        (torch.tensor([1j]), "real numbers is needed"),
        ("abc", "an array, a list or a number is needed, got str"),
        ([1.0, "b"], "real numbers are needed"),
        ([1j], "real numbers are needed"),
        ([[1.0], [1.0, 2.0]], "is no array"),
        (None, "got NoneType"),
        ({1.0: 2.0}, "got dict"),
    ],
)
def test_what_is_no_array_of_real_numbers_is_refused_in_words(function, x, message):
    with pytest.raises(TypeError, match=message):
        function(x)


@pytest.mark.parametrize("library", [LIBRARIES[name] for name in LIBRARIES if name != "numpy"])
def test_two_libraries_do_not_mix(library):
    with pytest.raises(TypeError, match="one library"):
        softmax(np.zeros(3), where=library(np.ones(3, dtype=bool)))
    with pytest.raises(TypeError, match="one library"):
        logsumexp(library(np.zeros(3)), b=np.ones(3))


def test_a_mask_must_be_boolean_and_fit(library):
    x = library(np.zeros((2, 3)))
    with pytest.raises(TypeError, match="where must be boolean"):
        softmax(x, where=library(np.ones((2, 3))))
    with pytest.raises(ValueError, match=r"where of shape \(4,\) does not broadcast .* \(2, 3\)"):
        softmax(x, where=library(np.ones(4, dtype=bool)))
    with pytest.raises(ValueError, match="does not broadcast"):  # x is not enlarged
        softmax(library(np.zeros(3)), where=library(np.ones((2, 3), dtype=bool)))


@pytest.mark.parametrize("axis", [2, -3, (0, 0), (0, -2), (1, 5)])
def test_a_wrong_axis_is_the_librarys_own_error(library, axis):
    x = library(np.zeros((2, 3)))
    for function in FUNCTIONS:
        with pytest.raises((ValueError, IndexError, RuntimeError), match=r"axis|[dD]im"):
            function(x, axis=axis)


def test_gradients_are_0_at_minus_infinity_and_under_a_mask():
    """Reported for other libraries: NaN gradients that spread through a whole network."""
    for x, where in (([-INF, 0.0, 1.0], None), ([NAN, 0.0, 1.0], [False, True, True])):
        t = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        mask = None if where is None else torch.tensor(where)
        (
            softmax(t, where=mask)[1] + log_softmax(t, where=mask)[2] + logsumexp(t, where=mask)
        ).backward()
        reference = torch.tensor([0.0, 1.0], dtype=torch.float64, requires_grad=True)
        (
            torch.softmax(reference, 0)[0]
            + torch.log_softmax(reference, 0)[1]
            + torch.logsumexp(reference, 0)
        ).backward()
        assert t.grad[0] == 0
        torch.testing.assert_close(t.grad[1:], reference.grad)


@pytest.mark.parametrize("hidden", [0.0, NAN, INF, -INF])
def test_gradients_are_0_where_everything_is_excluded(hidden):
    t = torch.full((2,), hidden, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([False, False])
    total = softmax(t, where=mask).sum()
    total = total + torch.where(mask, log_softmax(t, where=mask), 0.0).sum()
    total = total + torch.where(mask.any(), logsumexp(t, where=mask), 0.0)
    total.backward()
    assert t.grad.tolist() == [0, 0]


def test_gradients_by_jax_are_0_where_everything_is_excluded():
    gradient = jax.grad(lambda x: softmax(x, where=np.array([False, False]) & (x == x)).sum())
    assert gradient(jax.numpy.zeros(2)).tolist() == [0, 0]


def test_logsumexp_of_an_infinity_has_gradient_0_and_not_nan():
    for value in (INF, -INF):
        t = torch.full((2,), value, dtype=torch.float64, requires_grad=True)
        logsumexp(t).backward()
        assert t.grad.tolist() == [0, 0]


def test_signs_and_zero_factors_of_logsumexp(library):
    def pair(x, b):
        with np.errstate(divide="raise", invalid="raise", over="raise"):
            result = logsumexp(library(np.array(x)), b=library(np.array(b)), return_sign=True)
        return [float(to_numpy(r)) for r in result]

    assert pair([0.0, 0.0], [1.0, -1.0]) == [-INF, 0]
    assert pair([0.0, NAN], [1.0, 0.0]) == [0, 1]
    assert pair([0.0, INF], [-1.0, 0.0]) == [0, -1]
    assert pair([1.0, 2.0], [0.0, 0.0]) == [-INF, 0]
    assert pair([INF, 0.0], [-2.0, 1.0]) == [INF, -1]
    assert np.isnan(pair([INF, INF], [1.0, -1.0])).all()
    assert np.isnan(
        float(logsumexp(library(np.array([0.0, 1.0])), b=library(np.array([1.0, -1.0]))))
    )
    assert pair([-INF, -INF], [1.0, 1.0]) == [-INF, 0]
    np.testing.assert_allclose(pair([-800.0, 0.0], [1e300, 0.0]), [np.log(1e300) - 800, 1])
    assert pair([INF, 0.0], [0.5, -1.0]) == [INF, 1]


def test_an_infinity_gives_its_sign_to_its_own_row_alone(quick_library):
    x = quick_library([[INF, 0.0], [0.0, 0.0], [0.0, INF]])
    b = quick_library([[-1.0, 1.0], [1.0, 1.0], [1.0, 0.5]])
    log_abs, sign = logsumexp(x, axis=-1, b=b, return_sign=True)
    np.testing.assert_allclose(to_numpy(log_abs), [INF, np.log(2), INF], rtol=1e-15)
    assert to_numpy(sign).tolist() == [-1, 1, 1]


def test_factors_and_a_mask_leave_out_what_either_excludes(quick_library):
    x = quick_library([[0.0, NAN, 2.0, NAN, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0]])
    b = quick_library([2.0, 5.0, 1.0, 0.0, NAN])
    where = quick_library(np.array([True, False, True, True, False]))
    result = to_numpy(logsumexp(x, axis=-1, b=b, where=where))
    np.testing.assert_allclose(result, np.log([2 + np.exp(2), 3 * np.e]), rtol=1e-15)


def test_everything_happens_on_the_device_of_the_scores():
    elsewhere = array_api_strict.Device("device1")  # arrays of two devices do not meet
    x = array_api_strict.asarray([[1.0, 2.0], [0.0, 3.0]], device=elsewhere)
    where = array_api_strict.asarray([True, False], device=elsewhere)
    for function in FUNCTIONS:
        for options in ({}, {"where": where}):
            assert function(x, axis=-1, **options).device == elsewhere
    assert logsumexp(x, b=x).device == logsumexp(x[:, :0], axis=1).device == elsewhere


# --- proofs


@pytest.mark.claim("thm-simplex")
def test_proof_that_softmax_sums_to_1():
    assert [proofs.sum_residual(n) for n in (1, 2, 3, 4, None)] == [0] * 5


@pytest.mark.claim("thm-shift-invariance")
def test_proof_that_a_shift_changes_nothing():
    assert all(proofs.shift_residual(n).is_zero_matrix for n in (1, 2, 3, 4))
    assert proofs.shift_residual() == 0


@pytest.mark.claim("prop-order")
def test_proof_that_order_is_kept():
    assert proofs.order_residual() == 0


@pytest.mark.claim("prop-log-odds")
def test_proof_that_ratios_are_exponentials_of_differences():
    assert proofs.log_odds_residual() == 0


@pytest.mark.claim("prop-two-classes")
def test_proof_that_two_classes_give_the_sigmoid():
    assert proofs.sigmoid_residual() == 0


@pytest.mark.claim("prop-log-softmax")
def test_proof_of_the_form_that_is_computed():
    assert proofs.log_softmax_residual() == 0
