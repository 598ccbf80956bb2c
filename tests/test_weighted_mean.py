"""The Boltzmann mean and mellowmax: laws, references, edges, proofs."""

import jax
import mpmath
import numpy as np
import pytest
import scipy.integrate
import scipy.special
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from softmax_notes.symbolic import weighted_mean as proofs
from softmax_notes.weighted_mean import boltzmann_mean, mellowmax
from tests.exact import DIGITS
from tests.libraries import same_kind, to_numpy
from tests.pytorch import torch

FUNCTIONS = [boltzmann_mean, mellowmax]
INF, NAN = np.inf, np.nan

quarters = st.integers(-20, 20).map(lambda k: k / 4)
scales = st.sampled_from([0.25, 0.5, 1.0, 2.0, 3.0, 8.0])
OMEGA = 0.27846454276107379510  # W(1/e), mpmath, 20 digits


def rows(min_side=1, max_side=6):
    shape = st.tuples(st.integers(1, 3), st.integers(min_side, max_side))
    return shape.flatmap(lambda s: npst.arrays("float64", s, elements=quarters))


def by_definition(x, alpha):
    """The Boltzmann mean, mellowmax, log Σ e^(αx) / α and softmax(αx), by SciPy."""
    p = scipy.special.softmax(alpha * x, axis=-1)
    lse = scipy.special.logsumexp(alpha * x, axis=-1) / alpha
    return (p * x).sum(axis=-1), lse - np.log(x.shape[-1]) / alpha, lse, p


# --- laws


@pytest.mark.claim("prop-boltzmann-laws")
@given(rows(), scales, st.integers(-50, 50))
def test_the_boltzmann_mean_lies_in_the_range_and_follows_shifts_and_scales(
    quick_library, x, alpha, c
):
    mean = to_numpy(boltzmann_mean(quick_library(x), alpha=alpha))
    assert np.all((x.min(axis=-1) - 1e-14 <= mean) & (mean <= x.max(axis=-1)))
    shifted = to_numpy(boltzmann_mean(quick_library(x + c), alpha=alpha))
    np.testing.assert_allclose(shifted, mean + c, rtol=0, atol=1e-13)
    stretched = to_numpy(boltzmann_mean(quick_library(4 * x), alpha=alpha / 4))
    np.testing.assert_allclose(stretched, 4 * mean, rtol=1e-14, atol=1e-14)
    turned = to_numpy(boltzmann_mean(quick_library(-x), alpha=-alpha))
    np.testing.assert_array_equal(turned, -mean)


@pytest.mark.claim("thm-boltzmann-limits")
@pytest.mark.claim("thm-mellowmax-limits")
@pytest.mark.parametrize("function", FUNCTIONS)
@given(x=rows())
def test_the_ends_are_maximum_and_minimum_and_the_middle_is_the_mean(quick_library, function, x):
    scores = quick_library(x)
    np.testing.assert_array_equal(to_numpy(function(scores, alpha=INF)), x.max(axis=-1))
    np.testing.assert_array_equal(to_numpy(function(scores, alpha=-INF)), x.min(axis=-1))
    np.testing.assert_allclose(
        to_numpy(function(scores, alpha=0)), x.mean(axis=-1), rtol=0, atol=1e-14
    )
    # Near the ends: within (log n)/α of the extremes, within α (range)² of the mean.
    bound = np.log(x.shape[-1]) / 1e6 + 1e-14
    assert np.all(x.max(axis=-1) - to_numpy(function(scores, alpha=1e6)) <= bound)
    assert np.all(to_numpy(function(scores, alpha=-1e6)) - x.min(axis=-1) <= bound)
    near = to_numpy(function(scores, alpha=1e-9))
    np.testing.assert_allclose(near, x.mean(axis=-1), rtol=0, atol=1e-7)


@pytest.mark.claim("thm-boltzmann-error")
@given(rows(), st.sampled_from([0.25, 1.0, 8.0]))
def test_the_error_against_the_maximum_is_at_most_lambert_w_over_alpha(quick_library, x, alpha):
    n = x.shape[-1]
    largest = scipy.special.lambertw((n - 1) / np.e).real / alpha
    error = x.max(axis=-1) - to_numpy(boltzmann_mean(quick_library(x), alpha=alpha))
    assert np.all(error <= largest * (1 + 1e-13) + 1e-14)
    worst = np.append(np.full(n - 1, -(1 + largest * alpha) / alpha), 0.0)
    error = -float(boltzmann_mean(quick_library(worst), alpha=alpha))
    assert error == pytest.approx(largest, rel=1e-13, abs=0)


@pytest.mark.claim("prop-boltzmann-in-alpha")
@given(rows(), st.floats(-8, 8), st.floats(0.01, 4))
def test_the_boltzmann_mean_grows_with_the_scale(quick_library, x, alpha, step):
    low = to_numpy(boltzmann_mean(quick_library(x), alpha=alpha))
    high = to_numpy(boltzmann_mean(quick_library(x), alpha=alpha + step))
    assert np.all(low <= high + 1e-14)


@pytest.mark.claim("prop-mellowmax-order")
@given(rows(), scales)
def test_mean_mellowmax_boltzmann_mean_maximum_and_logsumexp_come_in_this_order(
    quick_library, x, alpha
):
    mellow = to_numpy(mellowmax(quick_library(x), alpha=alpha))
    mean = to_numpy(boltzmann_mean(quick_library(x), alpha=alpha))
    chain = [x.mean(axis=-1), mellow, mean, x.max(axis=-1), by_definition(x, alpha)[2]]
    assert np.all(np.diff(chain, axis=0) >= -1e-14)


@pytest.mark.claim("prop-boltzmann-entropy")
@given(rows(), scales)
def test_the_boltzmann_mean_is_logsumexp_less_the_entropy(quick_library, x, alpha):
    *_, lse, p = by_definition(x, alpha)
    entropy = scipy.special.entr(p).sum(axis=-1)
    np.testing.assert_allclose(
        to_numpy(boltzmann_mean(quick_library(x), alpha=alpha)), lse - entropy / alpha, atol=1e-13
    )


@pytest.mark.claim("thm-mellowmax-nonexpansion")
@given(rows(min_side=4, max_side=4), rows(min_side=4, max_side=4), scales)
def test_mellowmax_is_monotone_and_brings_no_two_vectors_further_apart(quick_library, x, y, alpha):
    x, y = x[:1], y[:1]
    of_x, of_y, of_larger = (
        to_numpy(mellowmax(quick_library(z), alpha=alpha)) for z in (x, y, np.maximum(x, y))
    )
    assert np.all(abs(of_x - of_y) <= abs(x - y).max() + 1e-14)
    assert np.all(of_larger >= np.maximum(of_x, of_y) - 1e-14)


@pytest.mark.claim("prop-boltzmann-monotone")
@given(rows(min_side=2), scales, st.data())
def test_raising_a_score_raises_the_mean_exactly_if_it_is_not_far_below(
    quick_library, x, alpha, data
):
    i = data.draw(st.integers(0, x.shape[-1] - 1))
    mean, *_ = by_definition(x, alpha)
    lead = x[:, i] - (mean - 1 / alpha)
    assume(np.all(abs(lead) > 0.01))
    step = 1e-5 * np.eye(x.shape[-1])[i]
    up, down = (
        to_numpy(boltzmann_mean(quick_library(z), alpha=alpha)) for z in (x + step, x - step)
    )
    share = scipy.special.softmax(alpha * x, axis=-1)[:, i]
    clear = share > 1e-6  # below, the change is lost in rounding
    np.testing.assert_array_equal(np.sign(up - down)[clear], np.sign(lead)[clear])


# --- references


@given(rows(), scales)
def test_values_are_those_of_the_formulas(quick_library, x, alpha):
    mean, mellow, *_ = by_definition(x, alpha)
    for function, expected in ((boltzmann_mean, mean), (mellowmax, mellow)):
        got = to_numpy(function(quick_library(x), alpha=alpha))
        np.testing.assert_allclose(got, expected, rtol=1e-13, atol=1e-13)


def test_every_library_gives_the_same_numbers(library):
    x = np.random.default_rng(0).normal(size=(2, 3))
    mean, mellow, *_ = by_definition(x, 4)
    np.testing.assert_allclose(to_numpy(boltzmann_mean(library(x), alpha=4)), mean, rtol=1e-13)
    np.testing.assert_allclose(to_numpy(mellowmax(library(x), alpha=4)), mellow, rtol=1e-13)


@pytest.mark.claim("cor-silu")
def test_the_mean_of_0_and_x_is_pytorchs_silu_and_its_minimum_is_that_of_lambert_w():
    x = torch.linspace(-30, 30, 601, dtype=torch.float64)
    ours = boltzmann_mean(torch.stack([torch.zeros_like(x), x], dim=-1))
    torch.testing.assert_close(ours, torch.nn.functional.silu(x), rtol=1e-14, atol=1e-15)
    lowest = torch.tensor(-1 - OMEGA, dtype=torch.float64)
    assert float(torch.nn.functional.silu(lowest)) == pytest.approx(-OMEGA, rel=1e-15, abs=0)
    assert ours.min() >= -OMEGA
    assert (torch.relu(x) - ours).max() <= OMEGA * (1 + 1e-15)


@pytest.mark.claim("cor-tanh")
@pytest.mark.parametrize("alpha", [0.5, 1, 4])
def test_the_mean_of_minus_x_and_x_is_x_tanh_alpha_x(quick_library, alpha):
    x = np.linspace(-5, 5, 201)
    ours = to_numpy(boltzmann_mean(quick_library(np.stack([-x, x], axis=-1)), alpha=alpha))
    np.testing.assert_allclose(ours, x * np.tanh(alpha * x), rtol=1e-14, atol=1e-15)
    assert (abs(x) - ours).max() <= OMEGA / alpha * (1 + 1e-14)
    worst = (1 + OMEGA) / (2 * alpha)
    assert worst - worst * np.tanh(alpha * worst) == pytest.approx(OMEGA / alpha, rel=1e-14, abs=0)


@pytest.mark.claim("prop-boltzmann-monotone")
def test_raising_the_low_score_lowers_the_mean(quick_library):
    pairs = quick_library([[-1.0, 5.0], [0.0, 5.0], [1.0, 5.0]])
    means = to_numpy(boltzmann_mean(pairs))
    np.testing.assert_array_equal(means.round(3), [4.985, 4.967, 4.928])
    assert np.all(np.diff(to_numpy(mellowmax(pairs))) > 0)


@pytest.mark.claim("thm-mellowmax-nonexpansion")
def test_the_boltzmann_mean_does_bring_vectors_further_apart(quick_library):
    # SiLU is steeper than 1 at 2.4: its derivative is σ(z) (1 + z (1 − σ(z))).
    x, y = [0.0, 2.5], [0.1, 2.4]  # one step down, one step up: a distance of 0.1
    change = float(boltzmann_mean(quick_library(x)) - boltzmann_mean(quick_library(y)))
    assert 0.1 * 1.19 < change < 0.1 * 1.2
    assert abs(float(mellowmax(quick_library(x)) - mellowmax(quick_library(y)))) < 0.1


@pytest.mark.claim("prop-mellowmax-average")
@pytest.mark.parametrize("alpha", [0.5, 3, -2])
def test_mellowmax_is_the_average_of_boltzmann_means_over_the_scales_up_to_its_own(alpha):
    x = np.array([0.3, -1.2, 2.0])
    total, _ = scipy.integrate.quad(lambda b: float(boltzmann_mean(x, alpha=b)), 0, alpha)
    assert float(mellowmax(x, alpha=alpha)) == pytest.approx(total / alpha, rel=1e-12, abs=0)


@pytest.mark.claim("prop-boltzmann-gradient")
@pytest.mark.parametrize("alpha", [-2.0, 0, 0.7, 5.0])
def test_the_gradient_of_the_boltzmann_mean_is_p_times_1_plus_alpha_times_the_lead(alpha):
    for values in ([0.3, -1.2, 2.0], [1.0, 1.0, 0.0], [-9.0, 0.0, 9.0]):
        x = torch.tensor(values, dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad(boltzmann_mean(x, alpha=alpha), x)
        p = torch.softmax(alpha * x, 0).detach()
        expected = p * (1 + alpha * (x - p @ x)).detach()
        np.testing.assert_allclose(slope, expected, rtol=1e-12, atol=1e-15)
        assert float(slope.sum()) == pytest.approx(1, rel=1e-14, abs=0)


@pytest.mark.claim("thm-mellowmax-nonexpansion")
@pytest.mark.parametrize("alpha", [-2.0, 0, 1e-20, 1e-6, 0.05, 0.7, 5.0, INF])
def test_the_gradient_of_mellowmax_is_softmax(alpha):
    for values in ([0.3, -1.2, 2.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [-9.0, 0.0, 9.0]):
        x = torch.tensor(values, dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad(mellowmax(x, alpha=alpha), x)
        expected = torch.softmax(min(alpha, 1e9) * x, 0).detach()
        np.testing.assert_allclose(slope, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("alpha", [-1.5, 0.1, 3.0])
def test_pytorch_differentiates_our_code_once_and_twice_also_at_ties(function, alpha):
    for values in ([0.3, -1.2, 2.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]):
        x = torch.tensor(values, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda t: function(t, alpha=alpha), x)
        assert torch.autograd.gradgradcheck(lambda t: function(t, alpha=alpha), x)


def test_jax_compiles_and_differentiates_our_code():
    x = jax.numpy.asarray([0.3, -1.2, 2.0])
    slope = jax.jit(jax.grad(lambda t: mellowmax(t, alpha=3) - boltzmann_mean(t, alpha=3)))(x)
    p = scipy.special.softmax(3 * np.asarray(x))
    np.testing.assert_allclose(slope, -3 * p * (np.asarray(x) - p @ x), rtol=1e-12)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_errors_are_a_few_roundings_of_the_largest_score_at_any_scale(function, dtype):
    random, unit = np.random.default_rng(1), np.finfo(dtype).eps / 2
    for n, spread, offset in ((1, 1, 0), (2, 1e-6, 0), (3, 1, 5), (20, 30, -1e5), (100, 1e4, 0)):
        for alpha in (0.0, 2.0**-100, 2.0**-30, 0.125, -0.5, 2.0, -128.0, 2.0**20):
            x = (random.normal(size=n) * spread + offset).astype(dtype)
            with mpmath.workdps(DIGITS):
                scores = [mpmath.mpf(float(v)) for v in x]
                w = [mpmath.exp(mpmath.mpf(alpha) * v) for v in scores]
                if function is boltzmann_mean or alpha == 0:
                    terms = [a * v for a, v in zip(w, scores, strict=True)]
                    truth = mpmath.fsum(terms) / mpmath.fsum(w)
                else:
                    truth = mpmath.log(mpmath.fsum(w) / n) / alpha
                error = abs(mpmath.mpf(float(function(x, alpha=alpha))) - truth)
                assert error <= 8 * unit * abs(x).max(), (n, spread, offset, alpha)


def test_mellowmax_keeps_its_digits_where_one_of_many_scores_holds_nearly_all_of_the_sum():
    x = np.append(np.full(9999, -40.0), 0.0)
    with mpmath.workdps(DIGITS):
        truth = mpmath.log((1 + 9999 * mpmath.exp(-40)) / 10000)
    assert float(mellowmax(x)) == pytest.approx(float(truth), rel=1e-15, abs=0)


# --- edges


def test_infinite_scores_and_nan_follow_the_contract(library):
    cases = [
        # scores, scale, Boltzmann mean, mellowmax
        ([-INF, 1, 1], 2, 1, 1 + np.log(2 / 3) / 2),
        ([-INF, 2, 0], 0, 1, -INF),
        ([-INF, 1, 0], INF, 1, 1),
        ([-INF, 1, 0], -1, NAN, -INF),
        ([-INF, 1, 0], -INF, NAN, -INF),
        ([INF, 1, 1], -2, 1, 1 - np.log(2 / 3) / 2),
        ([INF, 1, 0], 2, NAN, INF),
        ([INF, 1, 0], INF, NAN, INF),
        ([INF, 1, -INF], 2, NAN, INF),
        ([NAN, 1, 0], 2, NAN, NAN),
        ([NAN, 1, INF], INF, NAN, NAN),
        ([-INF, -INF, -INF], 2, NAN, -INF),
        ([-INF, -INF, -INF], 0, NAN, -INF),
    ]
    for x, alpha, *expected in cases:
        both = library(np.array([x, [2, 2, 2]]), "float32")  # the other row is not touched
        for function, wanted in zip(FUNCTIONS, expected, strict=True):
            with np.errstate(all="raise", under="ignore"):
                got = to_numpy(function(both, alpha=alpha))
            np.testing.assert_allclose(got, [wanted, 2], rtol=1e-6, err_msg=f"{x} {alpha}")


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_scale_and_no_score_is_too_large(quick_library, function, dtype):
    big = float(np.finfo(dtype).max)
    with np.errstate(all="raise", under="ignore"):
        for alpha in (2.0, 1e30, 1e300, INF):
            assert float(function(quick_library([big, -big], dtype), alpha=alpha)) == big
            assert float(function(quick_library([big, -big], dtype), alpha=-alpha)) == -big
        for alpha in (0, 5e-324, 1e-60):
            got = function(quick_library([1.0, 3.0, 5.0], dtype), alpha=alpha)
            assert float(got) == pytest.approx(3, rel=1e-6)
        assert abs(float(function(quick_library([big, -big], dtype), alpha=0))) <= big * 1e-6
        assert float(function(quick_library([big] * 3, dtype), alpha=0)) == big
        low = float(function(quick_library([big] + [-big] * 3, dtype), alpha=0))
        assert low == pytest.approx(-big / 2, rel=1e-6)
        assert float(function(quick_library([1e-40, 0.0], "float64"), alpha=0)) == 5e-41


@pytest.mark.parametrize("function", FUNCTIONS)
def test_equal_scores_are_their_own_mean_exactly(quick_library, function):
    for alpha in (-INF, -3, 0, 1e-9, 0.7, 1, 1e9, INF):
        x = quick_library([[0.1] * 7, [-1e300] * 7])
        np.testing.assert_array_equal(to_numpy(function(x, alpha=alpha)), [0.1, -1e300])


@pytest.mark.parametrize("function", FUNCTIONS)
def test_excluded_entries_count_as_absent_whatever_they_hold(quick_library, function):
    mask = quick_library([[False, True, True, True], [False] * 4])
    for hidden in (NAN, INF, -INF, 1e300):
        x = quick_library([[hidden, 2.0, 1.0, 2.5], [hidden] * 4])
        for alpha in (-INF, -2, 0, 0.1, 1, 2, INF):
            got = to_numpy(function(x, alpha=alpha, where=mask))
            expected = function([2.0, 1.0, 2.5], alpha=alpha)
            np.testing.assert_array_equal(got, [expected, NAN])
    assert not np.signbit(function([2.0, 0.0], alpha=-INF))  # 0, not -0


@pytest.mark.parametrize("function", FUNCTIONS)
def test_gradients_through_infinite_and_excluded_scores_are_0(function):
    mask = torch.tensor([[True, True, True, False], [False] * 4])
    for alpha in (0.1, 0.5, 2, INF):
        x = torch.tensor([[-INF, 1.0, 0.0, NAN], [NAN] * 4], dtype=torch.float64)
        x.requires_grad_()
        (slope,) = torch.autograd.grad(function(x, alpha=alpha, where=mask)[0], x)
        clean = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
        (expected,) = torch.autograd.grad(function(clean, alpha=alpha), clean)
        np.testing.assert_allclose(slope, [[0, *expected, 0], [0] * 4], rtol=1e-12)
        (slope,) = torch.autograd.grad(function(x, alpha=alpha, where=mask)[1], x)
        np.testing.assert_array_equal(slope, np.zeros((2, 4)))


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("axis", [0, -2, (2, 0), None])
def test_any_axes_are_reduced_in_the_dtype_of_the_scores(quick_library, function, axis):
    values = np.random.default_rng(2).normal(size=(2, 3, 4)).astype("float32")
    x = quick_library(values.copy(), "float32")
    for alpha in (-3, 0, 2, INF):
        got = function(x, alpha=alpha, axis=axis)
        assert same_kind(got, x)
        finite = min(alpha, 1e8)
        p = scipy.special.softmax(finite * values.astype("float64"), axis=axis)
        mean = (p * values).sum(axis=axis)
        if function is boltzmann_mean:
            np.testing.assert_allclose(to_numpy(got), mean, rtol=1e-5, atol=1e-6)
        assert to_numpy(got).shape == mean.shape
    np.testing.assert_array_equal(to_numpy(x), values)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_16_bit_scores_are_averaged_in_32_bits_and_integers_in_floats(function):
    x = torch.full((5000,), 3.0, dtype=torch.float16)
    assert function(x, alpha=0.5).dtype == torch.float16
    assert float(function(x, alpha=0.5)) == 3
    assert float(function(np.array([-128, 127, 127], dtype="int8"), alpha=INF)) == 127
    assert float(function(np.array([-128, 127], dtype="int8"), alpha=0)) == -0.5
    assert float(function([1, 3], alpha=0)) == 2


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_mean_of_nothing_is_nan_without_a_warning(quick_library, function):
    with np.errstate(all="raise"):
        for alpha in (0, 2):
            nothing = quick_library(np.empty((2, 0)))
            got = function(nothing, alpha=alpha)
            assert same_kind(got, nothing)
            np.testing.assert_array_equal(to_numpy(got), [NAN, NAN])
            assert function(quick_library(np.empty((0, 3))), alpha=alpha).shape == (0,)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_wrong_arguments_are_refused_in_words(function):
    with pytest.raises(ValueError, match=r"alpha must be a number from -inf to inf, .* got nan"):
        function([1.0, 2.0], alpha=NAN)
    with pytest.raises(TypeError, match="alpha must be one number, got list"):
        function([1.0, 2.0], alpha=[1.0])
    with pytest.raises(TypeError, match="would lose its mask"):
        function(np.ma.array([1.0, 2.0], mask=[0, 1]))
    with pytest.raises(TypeError, match="got dtype complex128"):
        function(np.array([1j]))
    with pytest.raises(TypeError, match="where must be boolean"):
        function([1.0, 2.0], where=[1, 0])
    with pytest.raises(IndexError, match="out of bounds"):
        function([1.0, 2.0], axis=1)


# --- proofs


@pytest.mark.claim("prop-boltzmann-gradient")
@pytest.mark.parametrize("n", [2, 3, None])
def test_the_gradient_of_the_boltzmann_mean_for_any_scores(n):
    assert proofs.gradient_residual(n).is_zero_matrix


@pytest.mark.claim("prop-boltzmann-in-alpha")
@pytest.mark.parametrize("n", [2, 3, None])
def test_the_derivative_in_the_scale_is_the_variance(n):
    assert proofs.alpha_residual(n) == 0


@pytest.mark.claim("prop-boltzmann-entropy")
@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_boltzmann_mean_and_the_entropy_make_up_logsumexp(n):
    assert proofs.entropy_residual(n) == 0


@pytest.mark.claim("thm-boltzmann-error")
def test_the_largest_error_is_lambert_w():
    assert proofs.largest_error_residual().is_zero_matrix
    assert float(proofs.largest_error(2)) == pytest.approx(OMEGA, rel=1e-15, abs=0)


@pytest.mark.claim("cor-silu")
def test_silu_and_its_minimum():
    assert proofs.silu_residual() == 0
    assert proofs.silu_slope_residual().is_zero_matrix


@pytest.mark.claim("cor-tanh")
def test_two_opposite_scores_give_x_tanh_alpha_x():
    assert proofs.tanh_residual() == 0


@pytest.mark.claim("thm-mellowmax-nonexpansion")
@pytest.mark.parametrize("n", [2, 3, None])
def test_the_gradient_of_mellowmax_is_softmax_for_any_scores(n):
    assert proofs.mellowmax_gradient_residual(n).is_zero_matrix


@pytest.mark.claim("thm-mellowmax-limits")
@pytest.mark.parametrize("n", [1, 2, 3])
def test_mellowmax_tends_to_the_mean(n):
    assert proofs.mellowmax_mean_residual(n) == 0


@pytest.mark.claim("prop-mellowmax-average")
@pytest.mark.parametrize("n", [2, 3])
def test_alpha_times_mellowmax_grows_at_the_rate_of_the_boltzmann_mean(n):
    assert proofs.average_residual(n) == 0
