"""The Jacobian of softmax: its laws, its values, its edges, and the proofs of its claims."""

import math
import re
import tracemalloc
from fractions import Fraction

import array_api_strict
import dask
import dask.array
import jax
import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from softmax_notes import softmax, softmax_jacobian, softmax_jvp, softmax_vjp
from softmax_notes.check import _laws as laws
from softmax_notes.symbolic import jacobian as proofs
from tests.exact import exact, ulp_error, vanishes
from tests.libraries import judged, same_kind, to_numpy
from tests.pytorch import torch

PRODUCTS = pytest.mark.parametrize("product", [softmax_jvp, softmax_vjp])
PRECISE = pytest.mark.parametrize("dtype", ["float32", "float64"])
# PyTorch's own forward mode compiles its formulas with a function that PyTorch deprecates.
FORWARD_MODE = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
U = 2.0**-53  # unit roundoff of float64
JACOBIAN = judged(softmax_jacobian)

scores = st.floats(-60, 60)
directions = st.floats(-1e6, 1e6)


def distribution(x):
    """Softmax over the last axis in plain NumPy, without the function under test."""
    weights = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return weights / np.sum(weights, axis=-1, keepdims=True)


def dense(p):
    """Jacobian by the textbook formula, for one vector, in plain NumPy."""
    return np.diag(p) - np.outer(p, p)


vectors = arrays(np.float64, st.integers(1, 8), elements=scores).map(distribution)


@st.composite
def vector_pairs(draw, elements=directions):
    """Draw a distribution and a vector of its length."""
    p = draw(vectors)
    return p, draw(arrays(np.float64, p.shape, elements=elements))


@st.composite
def arrays_with_axis(draw):
    """Draw two arrays of one shape, and axes: a number, negative or not, a tuple, or None."""
    shape = draw(array_shapes(min_dims=1, max_dims=3, max_side=4))
    axis = draw(
        st.integers(-len(shape), len(shape) - 1)
        | st.lists(st.sampled_from(range(len(shape))), unique=True, min_size=1).map(tuple)
        | st.none()
    )
    x, v = (draw(arrays(np.float64, shape, elements=e)) for e in (scores, directions))
    return x, v, axis


def slices(x, axis):
    """Bring the axes last and merge them: rows of the result are the slices of x."""
    axes = range(x.ndim) if axis is None else np.atleast_1d(axis) % x.ndim
    kept = [i for i in range(x.ndim) if i not in axes]
    return np.transpose(x, (*kept, *axes)).reshape(-1, math.prod(x.shape[i] for i in axes))


# --- laws -----------------------------------------------------------------------------------


@pytest.mark.claim("prop-jacobian-symmetric")
@given(vectors)
def test_the_jacobian_is_exactly_symmetric_and_its_rows_sum_to_zero(p):
    laws.symmetric(JACOBIAN, p, bits=True)
    laws.rows_sum_to_zero(JACOBIAN, p)


@pytest.mark.claim("prop-jacobian-symmetric")
@given(vectors)
def test_the_row_of_the_most_probable_class_sums_to_zero_relative_to_its_diagonal(p):
    row = softmax_jacobian(p)[np.argmax(p)]
    assert abs(math.fsum(row)) <= 4 * len(p) * U * np.max(row)


@pytest.mark.claim("prop-jacobian-psd")
@given(vector_pairs(elements=st.integers(-50, 50).map(float)))
def test_the_quadratic_form_is_the_variance_and_never_negative(pair):
    p, v = pair
    for f in (JACOBIAN, judged(softmax_jvp), judged(softmax_vjp)):
        laws.variance(f, p, v)


@pytest.mark.claim("prop-jacobian-psd")
@given(arrays(np.float64, st.integers(1, 7), elements=st.floats(-2, 2)).map(distribution))
def test_one_eigenvalue_is_zero_and_the_others_are_positive(p):
    eigenvalues = np.linalg.eigvalsh(softmax_jacobian(p))
    assert abs(eigenvalues[0]) < 1e-15
    assert np.all(eigenvalues[1:] > 0.9 * np.min(p))


@pytest.mark.claim("prop-jacobian-trace")
@given(vectors)
def test_the_trace_is_one_minus_the_sum_of_squares(p):
    laws.trace(JACOBIAN, p)


@pytest.mark.claim("prop-jacobian-entrywise")
@given(vectors)
def test_the_entrywise_norm_and_the_induced_one_norm_are_what_the_book_says(p):
    laws.entrywise(JACOBIAN, p)
    assert np.linalg.norm(softmax_jacobian(p), 1) <= 0.5 + 32 * U


@pytest.mark.claim("prop-jacobian-norm")
@given(vectors)
def test_the_spectral_norm_is_at_most_one_half(p):
    laws.half_norm(JACOBIAN, p)


@pytest.mark.claim("prop-jacobian-norm")
@given(st.integers(2, 8), st.floats(0, 0.999), st.randoms(use_true_random=False))
def test_away_from_two_halves_the_spectral_norm_is_below_one_half(n, share, random):
    p = np.zeros(n)
    p[:2] = share / 2
    p += (1 - share) / n
    random.shuffle(p)
    if n > 2:
        assert np.linalg.norm(softmax_jacobian(p), 2) < 0.5 - 1e-5
    else:
        assert abs(np.linalg.norm(softmax_jacobian(p), 2) - 0.5) < 1e-15


@pytest.mark.claim("prop-jacobian-corner")
@given(vectors)
def test_the_norm_vanishes_with_the_distance_from_a_corner(p):
    jacobian = softmax_jacobian(p)
    norm = np.linalg.norm(jacobian, 2)
    top = np.argmax(p)
    distance = math.fsum(np.delete(p, top))  # 1 - max p, without its rounding error
    assert norm <= 2 * p[top] * distance * (1 + 1e-12)
    assert norm <= 2 * distance * (1 + 1e-12)
    assert norm >= p[top] * distance * (1 - 1e-12)


@pytest.mark.claim("cor-lipschitz")
@given(vector_pairs(elements=scores), st.floats(1e-3, 1))
def test_softmax_moves_by_at_most_half_of_what_its_scores_move(pair, size):
    p, step = pair
    x, step = np.log(p + 1e-9), size * step
    moved = softmax(x + step) - softmax(x)
    for order in (1, 2, np.inf):
        assert np.linalg.norm(moved, order) <= np.linalg.norm(step, order) / 2 + 1e-14
    assert np.linalg.norm(moved, np.inf) <= np.linalg.norm(step, 1) / 4 + 1e-14


@pytest.mark.claim("cor-lipschitz")
@pytest.mark.parametrize("order", [1, 2, np.inf])
def test_next_to_a_tie_softmax_moves_by_just_under_half_of_what_its_scores_move(order):
    x, y = np.array([1e-3, -1e-3, -40.0]), np.array([-1e-3, 1e-3, -40.0])
    ratio = np.linalg.norm(softmax(x) - softmax(y), order) / np.linalg.norm(x - y, order)
    assert 0.5 - 1e-6 < ratio < 0.5


@pytest.mark.claim("prop-jvp")
@PRODUCTS
@given(arrays_with_axis())
def test_the_products_are_those_with_the_matrix_along_any_axis(product, case):
    x, v, axis = case
    rows = distribution(slices(x, axis))
    p = softmax(x, axis=axis)
    result = slices(product(p, v, axis), axis)
    for row, direction, got in zip(rows, slices(v, axis), result, strict=True):
        # Subnormal directions are rounded to whole steps of 5e-324.
        bound = 1e-13 * np.max(np.abs(direction)) + 1e-320
        np.testing.assert_allclose(got, dense(row) @ direction, rtol=0, atol=bound)


@PRODUCTS
@given(vectors, directions)
def test_a_constant_direction_gives_zero_up_to_the_square_of_the_roundoff(product, p, constant):
    assert np.all(np.abs(product(p, constant)) <= 100 * U**2 * abs(constant) + 1e-300)


@PRODUCTS
@given(
    vector_pairs(elements=st.integers(-1000, 1000).map(float)),
    st.integers(-(2**40), 2**40).map(float),
)
def test_a_constant_added_to_the_direction_does_no_harm(product, pair, constant):
    p, v = pair
    change = product(p, v + constant) - product(p, v)
    # The constant itself is removed up to the square of the unit roundoff, as tested above.
    second_order = 100 * U**2 * abs(constant)
    assert np.all(np.abs(change) <= 16 * U * p * np.ptp(v) + second_order + 1e-300)


@PRODUCTS
@given(arrays_with_axis())
def test_shape_dtype_and_arguments_are_kept(product, case):
    x, v, axis = case
    for dtype in (np.float16, np.float32, np.float64):
        p = softmax(x.astype(dtype), axis=axis)
        given_p, given_v = p.copy(), v.copy()
        p.flags.writeable = v.flags.writeable = False
        result = product(p, np.clip(v, -6e4, 6e4), axis)
        assert result.shape == p.shape
        assert result.dtype == dtype
        assert softmax_jacobian(p).shape == (*p.shape, p.shape[-1])
        assert softmax_jacobian(p).dtype == dtype
        np.testing.assert_array_equal(p, given_p)
        np.testing.assert_array_equal(v, given_v)


# --- references -----------------------------------------------------------------------------

# mpmath, 50 digits: softmax(2, 1, 0) and its Jacobian; the digits given are correct.
P210 = [
    "0.6652409557748218895290183",
    "0.2447284710547976524729596",
    "0.09003057317038045799802212",
]
J210 = [
    [0.2226954265346233564382921, -0.1628034019898044240270957, -0.05989202454481893241119634],
    [-0.1628034019898044240270957, 0.1848364465099787200617633, -0.02203304452017429603466754],
    [-0.05989202454481893241119634, -0.02203304452017429603466754, 0.08192506906499322844586388],
]
# The same times (1, -2, 3).
J210_V = [0.3686261568797754072588946, -0.5985754285702847522546249, 0.2299492716905093449957304]
# p₁ p₂ for scores (20, 0) and (40, 0).
CORNER = {20: 2.061153613941849343652295e-9, 40: 4.248354255291588959232207e-18}
# The Jacobian for scores (50, 1, 0) times (3, 5, -1).
FAR_V = [
    -2.770771934871256742270265e-22,
    1.048577132672692787433464e-21,
    -7.714999391855671132064373e-22,
]


@pytest.mark.claim("thm-jacobian")
def test_the_small_example_has_the_values_of_mpmath(library):
    p = library([float(a) for a in P210])
    np.testing.assert_allclose(to_numpy(softmax_jacobian(p)), J210, rtol=4e-16)
    for product in (softmax_jvp, softmax_vjp):
        result = to_numpy(product(p, library([1.0, -2.0, 3.0])))
        np.testing.assert_allclose(result, J210_V, rtol=2e-15)


@PRECISE
@pytest.mark.claim("prop-jacobian-corner")
def test_next_to_a_corner_every_entry_is_right_though_p_has_rounded_to_one(library, dtype):
    x = 20 if dtype == "float32" else 40
    p = softmax(library([x, 0], dtype=dtype))
    assert float(to_numpy(p)[0]) == 1.0
    expected = CORNER[x] * np.array([[1, -1], [-1, 1]])
    rtol = 8 * np.finfo(dtype).eps
    np.testing.assert_allclose(to_numpy(softmax_jacobian(p)), expected, rtol=rtol)
    np.testing.assert_allclose(
        to_numpy(softmax_jvp(p, library([1, 0], dtype=dtype))), expected[0], rtol=rtol
    )


def test_a_product_next_to_a_corner_has_the_values_of_mpmath(library):
    p = softmax(library([50.0, 1.0, 0.0]))
    result = to_numpy(softmax_vjp(p, library([3.0, 5.0, -1.0])))
    np.testing.assert_allclose(result, FAR_V, rtol=4e-15)


@PRECISE
def test_errors_stay_small_on_random_scores_of_every_size(dtype):
    random = np.random.default_rng(1)
    unit = float(np.finfo(dtype).eps) / 2
    smallest = float(np.finfo(dtype).smallest_normal) / unit
    worst_entry, worst_product = 0.0, 0.0
    for _ in range(60):
        n = int(random.integers(1, 12))
        x = (random.normal(size=n) * 10 ** random.uniform(-2, 1.5)).astype(dtype)
        v = (random.normal(size=n) * 10 ** random.uniform(-3, 3, size=n) + 1e3).astype(dtype)
        p, jacobian = softmax(x), softmax_jacobian(softmax(x))
        product = softmax_jvp(p, v)
        with mpmath.workdps(60):
            truth = exact(x).softmax
            mean = mpmath.fdot(truth, v.tolist())
            w = [a - mean for a in v.tolist()]
            size = mpmath.fdot(truth, [abs(a) for a in w]) + unit * abs(mean)
            for i in range(n):
                others = mpmath.fsum(truth[:i] + truth[i + 1 :])
                for j in range(n):
                    entry = truth[i] * (others if i == j else -truth[j])
                    if abs(entry) > smallest:
                        error = abs(mpmath.mpf(float(jacobian[i, j])) - entry) / abs(entry)
                        worst_entry = max(worst_entry, float(error) / unit)
                scale = truth[i] * (abs(w[i]) + size)
                if scale > smallest:
                    error = abs(mpmath.mpf(float(product[i])) - truth[i] * w[i])
                    worst_product = max(worst_product, float(error / scale) / unit)
    assert worst_entry <= 12
    assert worst_product <= 12


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sixteen_bit_results_are_rounded_once(dtype):
    p = torch.tensor([0.6875, 0.1875, 0.125, 0.0], dtype=getattr(torch, dtype))
    fractions = [Fraction(a) for a in (0.6875, 0.1875, 0.125, 0.0)]
    truth = [a * ((i == j) - b) for i, a in enumerate(fractions) for j, b in enumerate(fractions)]
    got = to_numpy(softmax_jacobian(p))
    assert ulp_error(got, [mpmath.mpf(a.numerator) / a.denominator for a in truth], dtype) <= 0.5
    v = [3, -5, 100, 7]
    mean = sum(a * b for a, b in zip(fractions, v, strict=True))
    truth = [a * (b - mean) for a, b in zip(fractions, v, strict=True)]
    got = to_numpy(softmax_vjp(p, torch.tensor(v, dtype=p.dtype)))
    assert ulp_error(got, [mpmath.mpf(a.numerator) / a.denominator for a in truth], dtype) <= 0.51


@pytest.mark.claim("thm-jacobian")
@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_the_jacobian_is_that_of_pytorch_autograd(n):
    x = torch.tensor(np.random.default_rng(n).normal(size=(4, n)) * 3)
    expected = torch.func.vmap(torch.func.jacrev(lambda row: torch.softmax(row, dim=-1)))(x)
    result = softmax_jacobian(torch.softmax(x, dim=-1))
    torch.testing.assert_close(result, expected, rtol=1e-14, atol=1e-15)


@FORWARD_MODE
@pytest.mark.claim("prop-jvp")
@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3])
def test_the_products_are_those_of_pytorch(axis):
    random = np.random.default_rng(axis + 3)
    x, v = (torch.tensor(random.normal(size=(3, 4, 5)) * 3) for _ in range(2))
    p, forward = torch.func.jvp(lambda a: torch.softmax(a, dim=axis), (x,), (v,))
    _, pull = torch.func.vjp(lambda a: torch.softmax(a, dim=axis), x)
    torch.testing.assert_close(softmax_jvp(p, v, axis), forward, rtol=1e-13, atol=1e-15)
    torch.testing.assert_close(softmax_vjp(p, v, axis), pull(v)[0], rtol=1e-13, atol=1e-15)


def test_the_products_are_those_of_jax():
    random = np.random.default_rng(7)
    x, v = (jax.numpy.asarray(random.normal(size=(2, 5))) for _ in range(2))
    p, forward = jax.jvp(jax.nn.softmax, (x,), (v,))
    np.testing.assert_allclose(softmax_jvp(p, v), forward, rtol=1e-13)
    np.testing.assert_allclose(jax.jit(softmax_vjp)(p, v), forward, rtol=1e-13)


@pytest.mark.claim("thm-jacobian")
def test_central_differences_approach_the_jacobian_with_the_square_of_the_step():
    x = np.array([2.0, 1.0, 0.0])
    errors = []
    for h in (1e-1, 1e-2, 1e-3):
        steps = h * np.eye(3)
        columns = (distribution(x + steps) - distribution(x - steps)) / (2 * h)
        errors.append(np.max(np.abs(columns.T - softmax_jacobian(distribution(x)))))
    np.testing.assert_allclose(errors[0] / errors[1], 100, rtol=0.02)
    np.testing.assert_allclose(errors[1] / errors[2], 100, rtol=0.02)


@FORWARD_MODE
@PRODUCTS
def test_pytorch_differentiates_our_products_correctly(product):
    random = np.random.default_rng(3)
    x, v = (torch.tensor(random.normal(size=(2, 4)), requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(lambda a, b: product(torch.softmax(a, dim=-1), b), (x, v))
    ours = torch.autograd.grad(product(torch.softmax(x, dim=-1), v)[:, 0].sum(), x)[0]
    theirs = torch.func.jvp(lambda a: torch.softmax(a, dim=-1), (x,), (v,))[1][:, 0].sum()
    torch.testing.assert_close(ours, torch.autograd.grad(theirs, x)[0])


# --- edges ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_library_keeps_its_kind_and_agrees_with_numpy(library, dtype):
    p = np.array([[0.5, 0.25, 0.25], [1.0, 0.0, 0.0]], dtype=dtype)
    v = np.array([[1.0, 2.0, 4.0], [3.0, -1.0, 2.0]], dtype=dtype)
    given = library(p)
    results = [
        softmax_jacobian(given),
        softmax_jvp(given, library(v)),
        softmax_vjp(given, library(v), 0),
    ]
    # By hand: the second row is a corner, where everything is 0.
    jacobian = [
        [[0.25, -0.125, -0.125], [-0.125, 0.1875, -0.0625], [-0.125, -0.0625, 0.1875]],
        np.zeros((3, 3)),
    ]
    forward = [[-0.5, 0.0, 0.5], [0.0, 0.0, 0.0]]
    assert all(same_kind(result, given) for result in results)
    np.testing.assert_array_equal(to_numpy(results[0]), jacobian)
    np.testing.assert_array_equal(to_numpy(results[1]), forward)
    # Along axis 0 the columns are (½, 1), (¼, 0), (¼, 0): they need not sum to 1 to be defined.
    assert results[2].shape == given.shape


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_sixteen_bit_dtypes_are_kept_in_pytorch_and_jax(dtype):
    for p, v in (
        (torch.tensor([0.5, 0.5], dtype=getattr(torch, dtype)), torch.tensor([4.0, 0.0])),
        (jax.numpy.asarray([0.5, 0.5], dtype=dtype), jax.numpy.asarray([4.0, 0.0])),
    ):
        assert same_kind(softmax_jacobian(p), p)
        assert same_kind(softmax_jvp(p, v), p)  # v is taken in the dtype of p
        np.testing.assert_array_equal(to_numpy(softmax_jvp(p, v)), [1.0, -1.0])


def test_one_class_has_no_derivative(library):
    p = library([[1.0], [1.0]])
    np.testing.assert_array_equal(to_numpy(softmax_jacobian(p)), np.zeros((2, 1, 1)))
    np.testing.assert_array_equal(
        to_numpy(softmax_jvp(p, library([[5.0], [-7.0]]))), [[0.0], [0.0]]
    )


def test_an_empty_axis_and_an_empty_batch_give_empty_results(library):
    for shape in ((3, 0), (0, 3), (0,)):
        p = library(np.zeros(shape))
        assert softmax_jacobian(p).shape == (*shape, shape[-1])
        assert softmax_jvp(p, p).shape == shape
        assert softmax_vjp(p, p, axis=0).shape == shape


def test_a_row_is_a_batch_of_one_and_not_the_diagonal_of_a_matrix(library):
    row = [[0.5, 0.25, 0.25]]
    expected = [[[0.25, -0.125, -0.125], [-0.125, 0.1875, -0.0625], [-0.125, -0.0625, 0.1875]]]
    np.testing.assert_array_equal(to_numpy(softmax_jacobian(library(row))), expected)


def test_a_corner_gives_zeros_without_a_minus_sign(library):
    jacobian = to_numpy(softmax_jacobian(library([0.0, 1.0, 0.0])))
    np.testing.assert_array_equal(jacobian, np.zeros((3, 3)))
    assert not np.signbit(jacobian).any()


@pytest.mark.claim("prop-jacobian-norm")
@pytest.mark.parametrize("p", [[0.5, 0.5], [0.5, 0.5, 0.0], [0.0, 0.5, 0.0, 0.5]])
def test_two_halves_attain_the_spectral_norm_one_half(p):
    assert abs(np.linalg.norm(softmax_jacobian(p), 2) - 0.5) < 1e-15


@pytest.mark.claim("prop-jacobian-psd")
def test_a_probability_that_underflows_lowers_the_rank():
    p = distribution(np.array([0.0, 0.0, -800.0]))
    assert p[2] == 0.0
    assert np.linalg.matrix_rank(softmax_jacobian(p)) == 1


def test_excluded_slices_and_forbidden_classes_give_zero_and_not_nan():
    nothing = softmax(np.array([1.0, 2.0]), where=np.array([False, False]))
    np.testing.assert_array_equal(softmax_vjp(nothing, [3.0, 4.0]), [0.0, 0.0])
    forbidden = softmax(np.array([0.0, -np.inf, 0.0]))
    np.testing.assert_array_equal(softmax_vjp(forbidden, [3.0, 4.0, 1.0]), [0.5, 0.0, -0.5])


@PRODUCTS
def test_nan_stays_in_its_slice(product, library):
    p = library([[0.5, 0.5], [0.5, 0.5]])
    result = to_numpy(product(p, library([[math.nan, 1.0], [3.0, 1.0]])))
    np.testing.assert_array_equal(result, [[math.nan, math.nan], [0.5, -0.5]])
    bad = library([[math.nan, math.nan], [0.5, 0.5]])
    assert np.isnan(to_numpy(product(bad, library([[1.0, 2.0], [3.0, 1.0]])))[0]).all()
    assert np.isnan(to_numpy(softmax_jacobian(bad))[0]).all()
    np.testing.assert_array_equal(
        to_numpy(softmax_jacobian(bad))[1], [[0.25, -0.25], [-0.25, 0.25]]
    )


def test_integers_booleans_lists_and_numbers_are_taken_as_real_numbers():
    assert softmax_jacobian([1, 0]).dtype == np.float64
    np.testing.assert_array_equal(softmax_jacobian(np.array([True, False])), np.zeros((2, 2)))
    np.testing.assert_array_equal(softmax_jvp([0.5, 0.5], [1, 0]), [0.25, -0.25])
    np.testing.assert_array_equal(
        softmax_vjp(np.float32([0.5, 0.5]), np.int8([127, -128])), [63.75, -63.75]
    )
    np.testing.assert_array_equal(softmax_jvp([[0.5, 0.5]] * 2, [4, 0]), [[1.0, -1.0]] * 2)
    assert softmax_jvp(1.0, 3.0, axis=None) == 0.0


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.array([0.5 + 0j, 0.5]), "an array of real numbers is needed, got dtype complex128"),
        (np.ma.masked_invalid([0.5, math.nan]), "a masked array would lose its mask"),
        (np.array([[0.5, 0.5]]).view(np.matrix), "numpy.matrix is not supported"),
        (np.array(["a", "b"]), "an array of real numbers is needed|array of real numbers"),
        (np.array([None, 1.0]), "an array of real numbers is needed|array of real numbers"),
        ("text", "an array, a list or a number is needed, got str"),
        ([0.5, [0.5]], "is no array"),
    ],
)
def test_what_is_no_array_of_real_numbers_is_refused(bad, message):
    for call in (
        lambda: softmax_jacobian(bad),
        lambda: softmax_jvp(bad, [1.0, 0.0]),
        lambda: softmax_vjp(np.array([0.5, 0.5]), bad),
    ):
        with pytest.raises(TypeError, match=message):
            call()


@PRODUCTS
def test_arrays_of_two_libraries_are_refused(product):
    with pytest.raises(TypeError, match=r"one library .*numpy\.ndarray, torch\.Tensor"):
        product(np.array([0.5, 0.5]), torch.tensor([1.0, 0.0]))
    with pytest.raises(TypeError, match="one library"):
        product(array_api_strict.asarray([0.5, 0.5]), np.array([1.0, 0.0]))


def test_a_single_number_has_no_jacobian(library):
    with pytest.raises(ValueError, match=re.escape("pass an array (..., n)")):
        softmax_jacobian(library(1.0))


@pytest.mark.parametrize(("product", "name"), [(softmax_jvp, "v"), (softmax_vjp, "g")])
def test_a_direction_of_another_shape_is_refused_by_its_name(product, name, library):
    p = library([[0.5, 0.5], [0.25, 0.75]])
    for shape in ((3,), (3, 2), (1, 2, 2), (0,)):
        message = re.escape(f"{name} of shape {shape} does not broadcast to the shape (2, 2) of p")
        with pytest.raises(ValueError, match=message):
            product(p, library(np.zeros(shape)))


@PRODUCTS
def test_a_wrong_axis_gets_the_error_of_the_library(product):
    p = np.array([[0.5, 0.5]])
    with pytest.raises(np.exceptions.AxisError, match="axis 2 is out of bounds"):
        product(p, p, 2)
    with pytest.raises(ValueError, match="duplicate value in 'axis'"):
        product(p, p, (1, -1))
    with pytest.raises(IndexError, match="Dimension out of range"):
        product(torch.tensor(p), torch.tensor(p), -3)


@pytest.mark.claim("prop-jvp")
@PRODUCTS
def test_a_million_classes_need_a_few_vectors_and_no_matrix(product):
    n = 10**6
    p = np.full(n, 1 / n)
    v = np.zeros(n)
    v[0] = 1.0
    tracemalloc.start()
    result = product(p, v)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * v.nbytes  # the matrix would be a million such vectors
    np.testing.assert_allclose(result[0], 1e-6 * (1 - 1e-6), rtol=1e-14)
    np.testing.assert_allclose(result[1:], -1e-12, rtol=1e-14)


@PRODUCTS
def test_dask_arrays_are_not_computed_before_they_are_asked_for(product):
    blocks = dask.array.from_delayed(dask.delayed(pytest.fail)("computed"), (4, 3), np.float64)
    assert product(blocks, blocks).shape == (4, 3)
    assert softmax_jacobian(blocks).shape == (4, 3, 3)


# --- proofs ---------------------------------------------------------------------------------

ANY_N = pytest.mark.parametrize("n", [2, 3, 4, None])


@pytest.mark.claim("thm-jacobian")
@ANY_N
def test_every_derivative_is_p_i_times_delta_minus_p_j(n):
    assert vanishes(proofs.entry_residual(n))


@pytest.mark.claim("prop-jacobian-symmetric")
@ANY_N
def test_derivatives_are_symmetric_and_rows_and_columns_sum_to_zero(n):
    assert vanishes(proofs.symmetry_residual(n))
    assert vanishes(proofs.row_sum_residual(n))


@pytest.mark.claim("prop-jacobian-psd")
@ANY_N
def test_the_quadratic_form_of_the_derivatives_is_the_variance(n):
    assert vanishes(proofs.variance_residual(n))


@pytest.mark.claim("prop-jacobian-psd")
@pytest.mark.parametrize("n", [2, 3, 4])
def test_the_leading_minor_is_the_product_of_all_probabilities(n):
    assert vanishes(proofs.minor_residual(n))


@pytest.mark.claim("prop-jacobian-trace")
@ANY_N
def test_the_trace_of_the_derivatives_is_one_minus_the_sum_of_squares(n):
    assert vanishes(proofs.trace_residual(n))


@pytest.mark.claim("prop-jacobian-entrywise")
@ANY_N
def test_absolute_values_of_a_row_sum_to_two_p_times_one_minus_p(n):
    assert vanishes(proofs.absolute_residual(n))


@pytest.mark.claim("prop-jacobian-norm")
@pytest.mark.claim("cor-lipschitz")
def test_one_half_minus_the_variance_is_a_sum_of_terms_that_are_not_negative():
    assert vanishes(proofs.norm_residual())


@pytest.mark.claim("prop-jvp")
@ANY_N
def test_derivatives_times_a_vector_on_either_side_are_the_short_formula(n):
    assert vanishes(proofs.product_residual(n))


@pytest.mark.claim("prop-jacobian-corner")
def test_the_largest_diagonal_entry_is_that_of_the_most_probable_class():
    assert vanishes(proofs.corner_residual())
