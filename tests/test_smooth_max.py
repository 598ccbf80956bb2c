"""The smooth maximum and negative entropy: laws, references, edges, proofs."""

from itertools import pairwise

import jax
import mpmath
import numpy as np
import pytest
import scipy.optimize
import scipy.special
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from softmax_notes.smooth_max import negative_entropy, smooth_max
from softmax_notes.symbolic import smooth_max as proofs
from tests.libraries import same_kind, to_numpy
from tests.pytorch import torch

INF, NAN = np.inf, np.nan
SCALES = [-INF, -30.0, -1.0, -0.25, 0.25, 1.0, 4.0, 100.0, INF]

eighths = st.integers(-80, 80).map(lambda k: k / 8)
vectors = npst.arrays("float64", st.integers(1, 6), elements=eighths)
positive = st.sampled_from([0.125, 0.5, 1.0, 3.0, 20.0])


def exact(x, alpha):
    """Evaluate the definition with 50 digits."""
    with mpmath.workdps(50):
        alpha = mpmath.mpf(alpha)
        return mpmath.log(mpmath.fsum(mpmath.exp(alpha * mpmath.mpf(float(v))) for v in x)) / alpha


def uniform_and_corners(n):
    rows = np.random.default_rng(n).dirichlet(np.ones(n), size=5)
    return np.concatenate([rows, np.full((1, n), 1 / n), np.eye(n)])


# --- laws


@pytest.mark.claim("thm-lse-bounds")
@given(x=vectors, alpha=positive)
def test_it_is_from_the_maximum_to_log_n_over_alpha_above(quick_library, x, alpha):
    value = float(smooth_max(quick_library(x), alpha=alpha))
    slack = 4e-15 * (1 + abs(value))
    assert x.max() <= value <= x.max() + np.log(len(x)) / alpha + slack
    low = float(smooth_max(quick_library(x), alpha=-alpha))
    assert x.min() >= low >= x.min() - np.log(len(x)) / alpha - slack


@pytest.mark.claim("thm-lse-bounds")
@given(v=eighths, n=st.integers(1, 7), alpha=positive)
def test_the_upper_bound_is_attained_by_equal_scores_and_the_lower_by_one_score(
    quick_library, v, n, alpha
):
    equal = float(smooth_max(quick_library(np.full(n, v)), alpha=alpha))
    np.testing.assert_allclose(equal, v + np.log(n) / alpha, rtol=1e-15, atol=1e-15)
    assert float(smooth_max(quick_library([v]), alpha=alpha)) == v


@pytest.mark.claim("thm-lse-bounds")
@given(x=vectors, alpha=positive)
def test_between_the_bounds_there_is_no_other_case_of_equality(x, alpha):
    assume(0 < alpha * np.ptp(x) < 20)  # farther apart, and the excess is below the rounding
    excess = float(smooth_max(x - x.max(), alpha=alpha))
    assert 0 < excess < np.log(len(x)) / alpha - 1e-10


@pytest.mark.claim("prop-lse-ties")
@given(x=vectors, alpha=positive)
def test_with_k_maxima_it_is_log_k_over_alpha_above_and_a_vanishing_rest(quick_library, x, alpha):
    below = x[x < x.max()]
    k = len(x) - len(below)
    gap = x.max() - below.max() if len(below) else INF
    floor = x.max() + np.log(k) / alpha
    rest = len(below) / (k * alpha) * np.exp(-alpha * gap) if len(below) else 0.0
    value = float(smooth_max(quick_library(x), alpha=alpha))
    slack = 4e-15 * (1 + abs(value))
    assert floor - slack <= value <= floor + rest + slack


@pytest.mark.claim("prop-lse-limits")
@given(x=vectors)
def test_at_infinity_it_is_the_maximum_and_the_minimum_and_near_0_it_diverges(quick_library, x):
    x_there = quick_library(x)
    assert float(smooth_max(x_there, alpha=INF)) == x.max()
    assert float(smooth_max(x_there, alpha=-INF)) == x.min()
    np.testing.assert_allclose(float(smooth_max(x_there, alpha=1e9)), x.max(), atol=2e-9)
    np.testing.assert_allclose(float(smooth_max(x_there, alpha=-1e9)), x.min(), atol=2e-9)
    small = 1e-6
    near = float(smooth_max(x_there, alpha=small))
    # By the next term of the series the distance from the mean is at most α (max - min)² / 8.
    np.testing.assert_allclose(near - np.log(len(x)) / small, x.mean(), atol=1e-4)
    assert len(x) == 1 or near > 6e5


@pytest.mark.claim("prop-lse-alpha")
@given(x=vectors)
def test_a_larger_scale_is_never_farther_from_the_maximum(quick_library, x):
    scales = [0.1, 0.5, 1.0, 2.0, 7.0, 50.0, INF]
    values = [float(smooth_max(quick_library(x), alpha=a)) for a in scales]
    assert all(a >= b - 1e-14 * abs(a) for a, b in pairwise(values))


@pytest.mark.claim("prop-lse-alpha")
@given(x=vectors, alpha=positive)
def test_its_slope_in_the_scale_is_minus_the_entropy_over_alpha_squared(x, alpha):
    h = 1e-5 * alpha
    slope = (smooth_max(x, alpha=alpha + h) - smooth_max(x, alpha=alpha - h)) / (2 * h)
    entropy = scipy.special.entr(torch.softmax(torch.tensor(alpha * x), 0).numpy()).sum()
    np.testing.assert_allclose(slope * alpha**2, -entropy, atol=1e-6, rtol=1e-6)


@pytest.mark.claim("prop-lse-shift")
@given(x=vectors, c=st.integers(-500, 500), alpha=st.sampled_from(SCALES))
def test_a_common_shift_is_added_to_the_result(quick_library, x, c, alpha):
    moved = float(smooth_max(quick_library(x + c), alpha=alpha))
    np.testing.assert_allclose(
        moved, float(smooth_max(quick_library(x), alpha=alpha)) + c, rtol=1e-15, atol=2e-13
    )


@pytest.mark.claim("thm-lse-convex")
@given(data=st.data(), alpha=positive, t=st.integers(0, 8).map(lambda k: k / 8))
def test_it_is_below_its_chords_and_above_them_for_a_negative_scale(data, alpha, t):
    x, y = data.draw(npst.arrays("float64", (2, 4), elements=eighths))
    for a in (alpha, INF):
        between, left, right = (smooth_max(v, alpha=a) for v in (t * x + (1 - t) * y, x, y))
        assert between <= t * left + (1 - t) * right + 1e-13
        between, left, right = (smooth_max(v, alpha=-a) for v in (t * x + (1 - t) * y, x, y))
        assert between >= t * left + (1 - t) * right - 1e-13


@pytest.mark.claim("prop-lse-jensen")
@given(x=vectors, alpha=positive)
def test_it_is_at_least_the_mean_plus_log_n_over_alpha(quick_library, x, alpha):
    value = float(smooth_max(quick_library(x), alpha=alpha))
    bound = x.mean() + np.log(len(x)) / alpha
    assert value >= bound - 1e-13
    # Strictly, where the scores differ.
    assert np.ptp(x) == 0 or value > bound


@pytest.mark.claim("thm-lse-variational")
@given(x=vectors, alpha=positive)
def test_no_distribution_earns_more_than_the_smooth_maximum(x, alpha):
    q = uniform_and_corners(len(x))
    earned = q @ x + scipy.special.entr(q).sum(axis=1) / alpha
    value = float(smooth_max(x, alpha=alpha))
    assert np.all(earned <= value + 1e-13)
    p = torch.softmax(torch.tensor(alpha * x), 0).numpy()
    np.testing.assert_allclose(p @ x + scipy.special.entr(p).sum() / alpha, value, atol=1e-12)


# --- references


def test_every_library_gives_the_values_of_pytorch(library):
    x = np.random.default_rng(0).normal(size=(2, 3, 4)) * 10
    mask = np.random.default_rng(1).random((2, 3, 4)) < 0.8
    x_there = library(x.astype("float32"))
    got = smooth_max(x_there, alpha=0.5, axis=(0, -1))
    assert same_kind(got, x_there)
    expected = torch.logsumexp(0.5 * torch.tensor(x.astype("float32")).double(), (0, 2)) / 0.5
    np.testing.assert_allclose(to_numpy(got), expected, rtol=2e-6)
    x_there = library(x)
    got = smooth_max(x_there, alpha=-3.0, axis=1, where=library(mask))
    assert same_kind(got, x_there)
    hidden = (-3 * torch.tensor(x)).masked_fill(~torch.tensor(mask), -INF)
    np.testing.assert_allclose(to_numpy(got), torch.logsumexp(hidden, 1) / -3, rtol=2e-15)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_error_is_a_few_units_in_the_last_place_of_the_larger_term(dtype):
    unit = np.finfo(dtype).eps
    random = np.random.default_rng(2)
    for scale in (1e-3, 1.0, 1e3, 1e30):
        for alpha in (1e-30, 1e-3, 0.7, 1.0, 33.3, 1e5, 1e30):
            for n in (1, 2, 50):
                x = (random.normal(size=n) * scale).astype(dtype)
                value, truth = float(smooth_max(x, alpha=alpha)), exact(x, alpha)
                size = max(abs(float(x.max())), np.log(n) / alpha)
                assert abs(value - truth) <= 4 * unit * size, (scale, alpha, n)
                value, truth = float(smooth_max(x, alpha=-alpha)), exact(x, -alpha)
                size = max(abs(float(x.min())), np.log(n) / alpha)
                assert abs(value - truth) <= 4 * unit * size, (scale, alpha, n)


# mpmath, 20 digits: log(1 + e^10); log(e^2 + e + 1); log(e^8 + e^4 + 1) / 4
@pytest.mark.parametrize(
    ("x", "alpha", "expected"),
    [
        ([0.0, 10.0], 1.0, 10.000045398899216865),
        ([2.0, 1.0, 0.0], 1.0, 2.4076059644443803045),
        ([2.0, 1.0, 0.0], 4.0, 2.0046198256486643706),
    ],
)
def test_values_are_those_of_mpmath(quick_library, x, alpha, expected):
    np.testing.assert_allclose(
        float(smooth_max(quick_library(x), alpha=alpha)), expected, rtol=4e-16
    )


def test_two_scores_of_which_one_is_0_give_softplus():
    z = np.linspace(-15, 15, 61)
    for beta in (0.5, 1.0):  # PyTorch goes over to the straight line where beta z > 20
        ours = smooth_max(np.stack([z, np.zeros_like(z)]), alpha=beta, axis=0)
        theirs = torch.nn.functional.softplus(torch.tensor(z), beta=beta)
        np.testing.assert_allclose(ours, theirs, rtol=1e-14)


@pytest.mark.claim("prop-lse-gradient")
@pytest.mark.parametrize("alpha", [-30.0, -1.0, 0.25, 1.0, 4.0])
@pytest.mark.parametrize("values", [[0.3, -1.2, 2.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
def test_pytorch_finds_the_gradient_softmax_also_at_ties(alpha, values):
    x = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    smooth_max(x, alpha=alpha).backward()
    torch.testing.assert_close(x.grad, torch.softmax(alpha * x.detach(), 0), rtol=1e-14, atol=1e-16)
    assert torch.autograd.gradcheck(lambda t: smooth_max(t, alpha=alpha), x)


@pytest.mark.claim("prop-lse-gradient")
def test_at_infinity_the_maxima_share_the_gradient_evenly():
    for alpha, expected in ((INF, [0, 0.5, 0.5]), (-INF, [1, 0, 0])):
        x = torch.tensor([1.0, 2.0, 2.0], dtype=torch.float64, requires_grad=True)
        smooth_max(x, alpha=alpha).backward()
        assert x.grad.tolist() == expected
        found = jax.grad(lambda v, a=alpha: smooth_max(v, alpha=a))(jax.numpy.array([1.0, 2, 2]))
        np.testing.assert_array_equal(found, expected)


@pytest.mark.claim("thm-lse-convex")
@pytest.mark.parametrize("alpha", [-2.0, 0.5, 3.0])
def test_the_hessian_is_alpha_times_the_jacobian_of_softmax(alpha):
    for values in ([0.3, -1.2, 2.0], [0.0, 0.0, 0.0], [1.0, 1.0, -4.0]):
        x = torch.tensor(values, dtype=torch.float64)
        hessian = torch.autograd.functional.hessian(lambda t: smooth_max(t, alpha=alpha), x)
        p = torch.softmax(alpha * x, 0)
        torch.testing.assert_close(hessian, alpha * (torch.diag(p) - torch.outer(p, p)))
        curvatures = torch.linalg.eigvalsh(hessian) * np.sign(alpha)
        assert curvatures.min() > -1e-14
        torch.testing.assert_close(hessian.sum(0), torch.zeros(3, dtype=torch.float64))


@pytest.mark.claim("thm-lse-variational")
@pytest.mark.parametrize("alpha", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("x", [[0.3, -1.2, 2.0], [1.0, 1.0, 0.0, 0.5]])
def test_an_optimizer_that_knows_nothing_of_it_finds_the_smooth_maximum(x, alpha):
    x = np.array(x)
    found = scipy.optimize.minimize(
        lambda q: -(q @ x + scipy.special.entr(q).sum() / alpha),
        np.full(len(x), 1 / len(x)),
        bounds=[(1e-12, 1)] * len(x),
        constraints={"type": "eq", "fun": lambda q: q.sum() - 1},
        method="SLSQP",
        options={"ftol": 1e-14},
    )
    assert found.success
    np.testing.assert_allclose(-found.fun, float(smooth_max(x, alpha=alpha)), rtol=1e-9)
    np.testing.assert_allclose(found.x, torch.softmax(torch.tensor(alpha * x), 0), atol=1e-5)


@pytest.mark.claim("thm-lse-conjugate")
@pytest.mark.parametrize("alpha", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("q", [[0.5, 0.3, 0.2], [0.25, 0.25, 0.25, 0.25], [0.9, 0.1]])
def test_the_largest_of_q_x_minus_lse_is_the_negative_entropy(q, alpha):
    q = np.array(q)
    found = scipy.optimize.minimize(
        lambda x: scipy.special.logsumexp(alpha * x) / alpha - q @ x,
        np.zeros(len(q)),
        method="BFGS",
        options={"gtol": 1e-9},
    )
    np.testing.assert_allclose(-found.fun, float(negative_entropy(q)) / alpha, rtol=1e-8)


@pytest.mark.claim("thm-lse-conjugate")
def test_the_conjugate_is_0_at_a_corner_and_infinite_off_the_simplex():
    far = 1e3
    corner = np.array([1.0, 0.0])
    assert corner @ [far, -far] - smooth_max([far, -far]) == 0 == negative_entropy(corner)
    for q, direction in (([0.6, 0.6], [1, 1]), ([0.3, 0.3], [-1, -1]), ([1.2, -0.2], [0, -1])):
        values = [np.dot(q, t * np.array(direction)) - smooth_max(t * np.array(direction, "d"))
                  for t in (1, 1e3, 1e6)]  # fmt: skip
        assert values[2] > 100 * values[1] > 100 * values[0]


def test_negative_entropy_is_minus_that_of_scipy(library):
    p = uniform_and_corners(4)
    got = to_numpy(negative_entropy(library(p)))
    np.testing.assert_allclose(got, -scipy.special.entr(p).sum(axis=1), atol=1e-15)
    # The uniform distribution has the entropy log n, not -log n.
    np.testing.assert_allclose(got[5], -np.log(4))
    assert negative_entropy(p, axis=0).shape == (4,)


def test_jensen_backwards_would_give_a_bound_that_is_wrong():
    x = np.array([0.0, 10.0])
    wrong = np.log(2) + x.mean()
    assert abs(wrong - 5.693147180559945) < 1e-15
    assert smooth_max(x) > 10.00004 > wrong


def test_jax_compiles_it():
    x = np.random.default_rng(4).normal(size=(3, 4))
    compiled = jax.jit(lambda v: smooth_max(v, alpha=2.0, axis=-1))(jax.numpy.asarray(x))
    np.testing.assert_allclose(compiled, smooth_max(x, alpha=2.0, axis=-1), rtol=1e-14)


# --- edges


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_contract_at_the_edges(library, dtype):
    if library.name == "strict" and dtype == "float16":
        dtype = "float32"  # the standard has no float16
    if library.name == "jax" and dtype != "float32":
        return  # it compiles every operation for every dtype: seconds each
    cases = [  # scores, with a positive scale, with a negative scale
        ([NAN, 0], NAN, NAN),
        ([NAN, INF], NAN, NAN),
        ([INF, 3], INF, 3),
        ([INF, -INF], INF, -INF),
        ([INF, INF], INF, INF),
        ([-INF, -INF], -INF, -INF),
        ([-INF, 3], 3, -INF),
    ]
    rows = library(np.array([x for x, *_ in cases] + [[0, 0]]), dtype)
    with np.errstate(divide="raise", invalid="raise", over="raise"):
        for alpha in SCALES:
            got = to_numpy(smooth_max(rows, alpha=alpha, axis=-1))
            expected = [high if alpha > 0 else low for _, high, low in cases]
            # The last row shows that a bad one does not touch its neighbors.
            np.testing.assert_allclose(got, [*expected, np.log(2) / alpha], rtol=1e-3)


def test_differences_and_products_past_the_largest_number_do_no_harm(library):
    with np.errstate(divide="raise", invalid="raise", over="raise"):
        for dtype in ("float32", "float64"):
            big = float(np.finfo(dtype).max)
            x = library([big, -big], dtype)
            for alpha in (1e-30, 1.0, 1e30, big / 4, big, 1e300):
                assert float(smooth_max(x, alpha=alpha)) == big
                assert float(smooth_max(x, alpha=-alpha)) == -big
            # αx overflows, the result does not
            assert float(smooth_max(library([1e10, 0.0], dtype), alpha=1e300)) == np.array(
                1e10, dtype
            )
        # e^(α (x - m)) = e^-6 with scores as far apart as there are
        half = np.finfo("float64").max / 2
        got = float(smooth_max(library([half, -half]), alpha=3 / half))
        np.testing.assert_allclose(got, half * (1 + np.log1p(np.exp(-6)) / 3), rtol=1e-14)


def test_an_excess_far_below_the_rounding_of_1_is_kept_where_the_maximum_is_0():
    for gap, alpha in ((45.0, 1.0), (10.0, 60.0), (1e-3, 1e5)):
        got = float(smooth_max([0.0, -gap], alpha=alpha))
        np.testing.assert_allclose(got, np.exp(-alpha * gap) / alpha, rtol=1e-13)


@pytest.mark.parametrize("alpha", [-INF, -2.0, 0.5, 2.0, INF])
def test_nothing_to_reduce_gives_the_other_end_of_the_line(library, alpha):
    nothing = -INF if alpha > 0 else INF
    assert to_numpy(smooth_max(library(np.empty((2, 0))), alpha=alpha, axis=1)).tolist() == [
        nothing,
        nothing,
    ]
    assert smooth_max(library(np.empty((2, 3, 0))), alpha=alpha, axis=-1).shape == (2, 3)
    for hidden in (0.0, NAN, INF, -INF):
        x, mask = library([hidden, hidden]), library([False, False])
        assert float(smooth_max(x, alpha=alpha, where=mask)) == nothing
        x, mask = library([hidden, 3.0]), library([False, True])
        assert float(smooth_max(x, alpha=alpha, where=mask)) == 3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_smallest_normal_number_is_the_smallest_scale(quick_library, dtype):
    tiny = float(np.finfo(dtype).smallest_normal)
    got = smooth_max(quick_library([0.0, 0.0], dtype), alpha=tiny)
    np.testing.assert_allclose(float(got), np.log(2) / tiny, rtol=1e-6)


def test_a_probability_0_has_gradient_0_in_the_negative_entropy():
    p = torch.tensor([0.0, 0.25, 0.75], dtype=torch.float64, requires_grad=True)
    negative_entropy(p).backward()
    np.testing.assert_allclose(p.grad, [0, 1 + np.log(0.25), 1 + np.log(0.75)], rtol=1e-15)


def test_a_score_of_minus_infinity_has_gradient_0():
    x = torch.tensor([-INF, 1.0, 2.0], dtype=torch.float64, requires_grad=True)
    smooth_max(x, alpha=2.0).backward()
    expected = torch.softmax(2 * x.detach(), 0)
    torch.testing.assert_close(x.grad, expected)
    assert x.grad[0] == 0


@pytest.mark.parametrize("dtype", ["int8", "uint8", "bool"])
def test_integers_are_promoted_before_anything_is_subtracted_or_negated(library, dtype):
    values = {"bool": [False, True], "uint8": [0, 255]}.get(dtype, [-128, 127])
    assert float(smooth_max(library(values, dtype), alpha=INF)) == values[1]
    assert float(smooth_max(library(values, dtype), alpha=-INF)) == values[0]
    expected = torch.logsumexp(torch.tensor(values, dtype=torch.float64), 0)
    np.testing.assert_allclose(float(smooth_max(library(values, dtype))), expected, rtol=1e-6)


def test_16_bit_scores_are_computed_in_float32_and_rounded_once():
    for dtype in (torch.float16, torch.bfloat16):
        x = torch.zeros(3000, dtype=dtype)
        assert smooth_max(x, alpha=2.0) == torch.tensor(np.log(3000) / 2).to(dtype)
        assert smooth_max(x).dtype == negative_entropy(x).dtype == dtype


def test_a_scale_of_0_or_nan_is_refused_with_the_reason():
    for alpha in (0, 0.0, -0.0):
        with pytest.raises(
            ValueError, match=r"alpha must be from -inf to inf and not 0, got .*log"
        ):
            smooth_max([1.0, 2.0], alpha=alpha)
    with pytest.raises(ValueError, match=r"alpha must be a number from -inf to inf, .* got nan"):
        smooth_max([1.0, 2.0], alpha=NAN)
    with pytest.raises(ValueError, match=r"not be closer to 0 than 1.18e-38 in float32, got 1e-40"):
        smooth_max(np.zeros(2, "float32"), alpha=-1e-40)
    with pytest.raises(TypeError, match="alpha must be one number, got str"):
        smooth_max([1.0, 2.0], alpha="2")
    with pytest.raises(TypeError, match="alpha must be one number, got ndarray"):
        smooth_max([1.0, 2.0], alpha=np.ones(2))


def test_negative_entropy_of_negative_numbers_is_nan_and_of_nothing_0(library):
    got = to_numpy(negative_entropy(library([[1.5, -0.5], [NAN, 0.5], [0.0, 1.0]])))
    np.testing.assert_array_equal(got, [NAN, NAN, 0])
    assert to_numpy(negative_entropy(library(np.empty((2, 0))))).tolist() == [0, 0]


def test_the_gradient_of_negative_entropy_is_1_plus_log_p():
    p = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64, requires_grad=True)
    negative_entropy(p).backward()
    torch.testing.assert_close(p.grad, 1 + torch.log(p.detach()))


# --- proofs


@pytest.mark.claim("thm-lse-bounds")
def test_the_form_with_the_maximum_taken_out_is_proved():
    assert proofs.maximum_residual() == 0


@pytest.mark.claim("prop-lse-shift")
def test_the_shift_is_proved():
    assert [proofs.shift_residual(n) for n in (1, 2, 4)] == [0, 0, 0]


@pytest.mark.claim("prop-lse-gradient")
def test_the_gradient_is_proved():
    assert all(proofs.gradient_residual(n).is_zero_matrix for n in (1, 2, 4))


@pytest.mark.claim("thm-lse-convex")
def test_the_hessian_and_its_sign_are_proved():
    assert all(proofs.hessian_residual(n).is_zero_matrix for n in (1, 2, 3))
    assert [proofs.convexity_residual(n) for n in (2, 3)] == [0, 0]


@pytest.mark.claim("prop-lse-alpha")
def test_the_slope_in_the_scale_is_proved():
    assert [proofs.alpha_residual(n) for n in (1, 2, 4)] == [0, 0, 0]


@pytest.mark.claim("prop-lse-limits")
def test_the_limits_at_0_are_proved():
    assert all(proofs.mean_limit_residual(n).is_zero_matrix for n in (1, 2, 4))
    assert str(proofs.diverging_limit()) == "oo"


@pytest.mark.claim("prop-lse-jensen")
def test_jensen_for_two_scores_is_proved():
    assert proofs.jensen_residual() == 0


@pytest.mark.claim("thm-lse-variational")
def test_the_variational_formula_is_proved():
    assert [proofs.variational_residual(n) for n in (2, 3, 4)] == [0, 0, 0]


@pytest.mark.claim("thm-lse-conjugate")
def test_the_point_where_the_conjugate_is_attained_is_proved():
    assert [proofs.conjugate_residual(n) for n in (2, 3)] == [0, 0]
