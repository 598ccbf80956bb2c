"""Smooth argmax, soft position, soft top-k, soft accuracy: laws, references, edges, proofs."""

import jax
import mpmath
import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from softmax_notes import softmax
from softmax_notes.smooth_argmax import smooth_argmax, soft_accuracy, soft_position, soft_top_k
from softmax_notes.symbolic import smooth_argmax as proofs
from tests.exact import DIGITS, FORMATS
from tests.libraries import floats, same_kind, to_numpy
from tests.pytorch import torch

INF, NAN = np.inf, np.nan
PI = [3, 1, 4, 1, 5, 9, 2]

# Multiples of 1/4, few enough for ties to be common.
quarters = st.integers(-20, 20).map(lambda k: k / 4)
scales = st.sampled_from([0.25, 0.5, 2.0, 3.0, 8.0])


def rows(min_side=1, max_side=6):
    shape = st.tuples(st.integers(1, 3), st.integers(min_side, max_side))
    return shape.flatmap(lambda s: npst.arrays("float64", s, elements=quarters))


def winners(x):
    """The uniform distribution over the maximizers, their number, and the gap to the others."""
    top = x == x.max(axis=-1, keepdims=True)
    gap = x.max(axis=-1) - np.where(top, -INF, x).max(axis=-1)
    return top / top.sum(axis=-1, keepdims=True), top.sum(axis=-1), gap


# --- laws


@pytest.mark.claim("prop-argmax-chain")
@given(rows())
def test_every_step_of_the_chain_keeps_the_set_of_maximizers(quick_library, x):
    largest = x.max(axis=-1, keepdims=True)
    total = scipy.special.logsumexp(x, axis=-1, keepdims=True)
    p = to_numpy(smooth_argmax(quick_library(x)))
    expected = winners(x)[0] > 0
    for step in (x - largest, np.exp(x - largest), np.exp(x - total), p):
        close = np.isclose(step, step.max(axis=-1, keepdims=True), rtol=1e-12, atol=1e-12)
        np.testing.assert_array_equal(close, expected)
    np.testing.assert_allclose(p, np.exp(x - total), rtol=1e-13)
    assert np.exp(x - largest).max() == 1


@pytest.mark.claim("thm-argmax-rate")
@given(rows(), scales)
def test_the_losers_share_is_between_its_two_bounds(quick_library, x, alpha):
    limit, k, gap = winners(x)
    p = to_numpy(smooth_argmax(quick_library(x), alpha=alpha))
    share = np.where(limit > 0, 0, p).sum(axis=-1)
    decay, n = np.exp(-alpha * gap), x.shape[-1]
    assert np.all(share <= (n - k) / k * decay * (1 + 1e-13))
    assert np.all(share >= decay / (k + decay) * (1 - 1e-13))
    np.testing.assert_allclose(abs(p - limit).sum(axis=-1), 2 * share, rtol=1e-12, atol=1e-15)
    assert np.all(abs(p - limit).max(axis=-1) <= share + 1e-15)
    unique = k == 1
    largest = abs(p - limit).max(axis=-1)[unique]
    np.testing.assert_allclose(largest, share[unique], rtol=1e-12, atol=1e-15)


@pytest.mark.claim("thm-argmax-limit")
@given(rows())
def test_at_infinity_the_shares_are_uniform_over_maximizers_or_minimizers(quick_library, x):
    scores = quick_library(x)
    np.testing.assert_array_equal(to_numpy(smooth_argmax(scores, alpha=INF)), winners(x)[0])
    np.testing.assert_array_equal(to_numpy(smooth_argmax(scores, alpha=-INF)), winners(-x)[0])
    np.testing.assert_allclose(to_numpy(smooth_argmax(scores, alpha=0)), 1 / x.shape[-1])
    # The gap of different quarters is at least 1/4: at α = 400 the rest is below e^-100.
    near = to_numpy(smooth_argmax(scores, alpha=400))
    np.testing.assert_allclose(near, winners(x)[0], rtol=0, atol=1e-42 + 1e-15)


@pytest.mark.claim("prop-share-in-alpha")
@given(rows(), scales)
def test_a_winners_share_never_falls_as_the_scale_grows(quick_library, x, alpha):
    scores, top = quick_library(x), winners(x)[0] > 0
    before = to_numpy(smooth_argmax(scores, alpha=alpha))
    after = to_numpy(smooth_argmax(scores, alpha=alpha * 1.5))
    assert np.all(after[top] >= before[top] - 1e-15)


@given(rows(), scales)
def test_a_negative_scale_is_a_positive_one_for_the_negated_scores(quick_library, x, alpha):
    scores, negated = quick_library(x), quick_library(-x)
    for function in (smooth_argmax, soft_position, lambda x, alpha: soft_top_k(x, 1, alpha=alpha)):
        np.testing.assert_array_equal(
            to_numpy(function(scores, alpha=-alpha)), to_numpy(function(negated, alpha=alpha))
        )


@pytest.mark.claim("prop-soft-position")
@given(rows(), scales)
def test_the_soft_position_is_as_far_off_as_the_losers_share_lets_it(quick_library, x, alpha):
    limit, k, _ = winners(x)
    p = to_numpy(smooth_argmax(quick_library(x), alpha=alpha))
    position = to_numpy(soft_position(quick_library(x), alpha=alpha))
    distance = abs(position - x.argmax(axis=-1))[k == 1]
    bound = (x.shape[-1] - 1) * np.where(limit > 0, 0, p).sum(axis=-1)[k == 1]
    assert np.all(distance <= bound + 1e-13)
    middle = (limit * np.arange(x.shape[-1])).sum(axis=-1)
    np.testing.assert_allclose(to_numpy(soft_position(quick_library(x), alpha=INF)), middle)


@pytest.mark.claim("prop-position-symmetry")
@given(rows(), scales)
def test_scores_that_read_the_same_from_both_ends_have_their_position_in_the_middle(
    quick_library, x, alpha
):
    mirrored = quick_library(np.concatenate([x, x[:, ::-1]], axis=1))
    middle = (2 * x.shape[-1] - 1) / 2
    np.testing.assert_allclose(to_numpy(soft_position(mirrored, alpha=alpha)), middle, rtol=1e-14)


@pytest.mark.claim("thm-soft-top-k")
@settings(max_examples=25)
@given(st.permutations(range(5)), st.integers(1, 5))
def test_distinct_scores_are_chosen_one_after_another_at_a_large_scale(quick_library, x, k):
    expected = np.eye(5)[np.argsort(x)[::-1][:k]]
    for alpha, error in ((60.0, 1e-12), (INF, 0)):
        chosen = to_numpy(soft_top_k(quick_library(np.array(x, dtype="float64")), k, alpha=alpha))
        np.testing.assert_allclose(chosen, expected, rtol=0, atol=error)


@pytest.mark.claim("prop-top-k-scale-one")
@given(rows(min_side=2))
def test_at_scale_1_the_first_winner_leads_the_second_round_again(quick_library, x):
    first, second = to_numpy(soft_top_k(quick_library(x), 2, alpha=1))
    leader = np.take_along_axis(second, first.argmax(axis=-1)[:, None], axis=-1)
    assert np.all(leader >= second - 1e-15)
    if x.shape[-1] == 2:
        np.testing.assert_allclose(second, 0.5, rtol=1e-13)


@pytest.mark.claim("prop-soft-accuracy")
@given(rows(min_side=2), scales, st.data())
def test_soft_accuracy_bounds_accuracy_from_both_sides(quick_library, x, alpha, data):
    n = x.shape[-1]
    target = np.array(data.draw(st.lists(st.integers(0, n - 1), min_size=len(x), max_size=len(x))))
    soft = float(soft_accuracy(quick_library(x), quick_library(target), alpha=alpha))
    of_target = np.take_along_axis(x, target[:, None], axis=1)[:, 0]
    alone = (np.sum(x >= of_target[:, None], axis=1) == 1).mean()
    hit = (x.max(axis=1) == of_target).mean()  # a tie counts as a hit
    assert 2 * soft - 1 <= alone + 1e-14
    assert hit <= n * soft + 1e-14
    _, k, gap = winners(x)
    if np.all(k == 1):
        assert abs(alone - soft) <= (n - 1) * np.exp(-alpha * gap.min()) + 1e-14
    distance = abs(scipy.special.softmax(alpha * x, axis=1) - np.eye(n)[target]).sum(axis=1)
    np.testing.assert_allclose(1 - soft, distance.mean() / 2, rtol=1e-12, atol=1e-15)


# --- references


@given(rows(), st.sampled_from([-3.0, -0.5, 0.25, 1.0, 2.5]))
def test_shares_are_those_of_scipy(quick_library, x, alpha):
    expected = scipy.special.softmax(alpha * x, axis=-1)
    np.testing.assert_allclose(
        to_numpy(smooth_argmax(quick_library(x), alpha=alpha)), expected, rtol=1e-13
    )
    position = (expected * np.arange(x.shape[-1])).sum(axis=-1)
    np.testing.assert_allclose(
        to_numpy(soft_position(quick_library(x), alpha=alpha)), position, rtol=1e-13, atol=1e-14
    )


@pytest.mark.claim("prop-argmax-chain")
def test_the_digits_of_pi_have_their_maximum_at_index_5_which_is_position_6(quick_library):
    p = to_numpy(smooth_argmax(quick_library(PI, "float64")))
    np.testing.assert_allclose(p, torch.softmax(torch.tensor(PI, dtype=torch.float64), 0))
    assert np.argmax(PI) == p.argmax() == 5
    np.testing.assert_array_equal(
        to_numpy(smooth_argmax(quick_library(PI, "float64"), alpha=INF)), [0, 0, 0, 0, 0, 1, 0]
    )


def test_every_library_gives_the_same_numbers(library):
    x, target = np.random.default_rng(6).normal(size=(2, 3)), np.array([2, 0])
    p = scipy.special.softmax(4 * x, axis=1)
    second = scipy.special.softmax(4 * (x + np.log1p(-p)), axis=1)
    results = [
        (smooth_argmax(library(x), alpha=4), p),
        (soft_position(library(x), alpha=4), p @ [0, 1, 2]),
        (soft_top_k(library(x), 2, alpha=4), np.stack([p, second])),
        (soft_accuracy(library(x), library(target), alpha=4), (p[0, 2] + p[1, 0]) / 2),
    ]
    for result, expected in results:
        np.testing.assert_allclose(to_numpy(result), expected, rtol=1e-12)


@pytest.mark.claim("prop-position-symmetry")
def test_two_equal_peaks_have_their_position_between_them(quick_library):
    for alpha in (0, 1, 100, INF):
        position = soft_position(quick_library([5.0, 0, 0, 0, 5.0]), alpha=alpha)
        assert float(position) + 1 == pytest.approx(3, abs=1e-14)  # counted from 1


@pytest.mark.claim("prop-soft-accuracy")
def test_a_lead_of_a_tenth_is_1_in_accuracy_and_two_fifths_in_soft_accuracy(quick_library):
    logits, target = quick_library(np.log([[0.4, 0.3, 0.3]])), quick_library([0])
    assert float(soft_accuracy(logits, target)) == pytest.approx(0.4, rel=1e-15, abs=0)
    assert float(soft_accuracy(logits, target, alpha=INF)) == 1


def test_soft_top_k_is_the_recursion_written_with_pytorch(quick_library):
    x = np.random.default_rng(0).normal(size=(2, 5))
    chosen = to_numpy(soft_top_k(quick_library(x), 3, alpha=4))
    scores = torch.tensor(x)
    for p in chosen:
        expected = torch.softmax(4 * scores, -1)
        np.testing.assert_allclose(p, expected, rtol=1e-12)
        scores = scores + torch.log1p(-expected)


@pytest.mark.claim("thm-soft-top-k")
def test_hard_top_k_is_that_of_pytorch(quick_library):
    x = np.random.default_rng(1).normal(size=(4, 6))
    chosen = to_numpy(soft_top_k(quick_library(x), 3, alpha=INF))
    np.testing.assert_array_equal(chosen.argmax(axis=-1).T, torch.topk(torch.tensor(x), 3)[1])
    assert set(np.unique(chosen)) == {0, 1}
    smallest = to_numpy(soft_top_k(quick_library(x), 3, alpha=-INF))
    expected = torch.topk(torch.tensor(x), 3, largest=False)[1]
    np.testing.assert_array_equal(smallest.argmax(axis=-1).T, expected)


def test_a_winner_whose_share_rounds_to_1_still_pays_a_finite_price():
    # 1 - p is e^-800, which is not a float. The scores of the third round are -800, -1200 and
    # -1000: the first wins again. At an infinite price the third would.
    chosen = soft_top_k(np.array([0.0, -400.0, -1000.0]), 3, alpha=2)
    np.testing.assert_allclose(chosen, [[1, 0, 0], [0, 1, 0], [1, 0, 0]], atol=1e-80)


@pytest.mark.parametrize("alpha", [-2.5, 0.3, 1.0, 7.0])
@pytest.mark.parametrize("function", [smooth_argmax, soft_position])
def test_pytorch_differentiates_our_code_once_and_twice_also_at_ties(function, alpha):
    for values in ([0.3, -1.2, 2.0], [1.0, 1.0, 0.0]):
        x = torch.tensor(values, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda t: function(t, alpha=alpha), x)
        assert torch.autograd.gradgradcheck(lambda t: function(t, alpha=alpha), x)


def test_pytorch_differentiates_soft_top_k():
    x = torch.tensor([0.3, -0.2, 0.4, 0.1], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: soft_top_k(t, 3, alpha=2.5), x)


@pytest.mark.claim("prop-soft-accuracy-gradient")
@pytest.mark.parametrize("alpha", [0.5, 1, 3])
def test_the_gradient_of_soft_accuracy_is_alpha_times_the_share_times_y_minus_p(alpha):
    x = torch.tensor([[0.3, -1.2, 2.0], [9.0, -9.0, 0.0]], dtype=torch.float64, requires_grad=True)
    target = torch.tensor([2, 1])
    soft_accuracy(x, target, alpha=alpha).backward()
    p = torch.softmax(alpha * x.detach(), 1)
    y = torch.nn.functional.one_hot(target, 3)
    share = (p * y).sum(1, keepdim=True)
    np.testing.assert_allclose(x.grad, alpha * share * (y - p) / 2, rtol=1e-12, atol=1e-18)


def test_jax_compiles_and_differentiates_our_code():
    x = jax.numpy.asarray([0.3, -1.2, 2.0])
    slope = jax.jit(jax.grad(lambda t: soft_position(t, alpha=3)))(x)
    p = scipy.special.softmax(3 * np.asarray(x))
    np.testing.assert_allclose(slope, 3 * p * (np.arange(3) - p @ np.arange(3)), rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_shares_are_as_accurate_as_the_docstring_says(dtype):
    random = np.random.default_rng(2)
    form, digits = FORMATS[dtype], mpmath.workdps(DIGITS)
    for n, offset, alpha in ((2, 0, 0.3), (5, 0, 7), (300, 0, 40), (5, 1e4, 30), (50, -999, -0.7)):
        x = (random.normal(size=n) * 10 / abs(alpha) + offset).astype(dtype)
        got = smooth_argmax(x, alpha=alpha)
        winner = (x if alpha > 0 else -x).max() * np.sign(alpha)
        with digits:
            terms = [mpmath.exp(mpmath.mpf(alpha) * (mpmath.mpf(float(v)) - winner)) for v in x]
            truth = [t / mpmath.fsum(terms) for t in terms]
            for value, exact, score in zip(got, truth, x, strict=True):
                unit = mpmath.mpf(2) ** (mpmath.frexp(exact)[1] - 1 - form.bits)
                allowed = 8 + 2 * abs(alpha * (float(score) - float(winner)))
                assert abs(mpmath.mpf(float(value)) - exact) / unit <= allowed


# --- edges


def test_infinite_scores_and_nan_follow_the_contract_of_softmax_at_every_scale(library):
    cases = [
        # scores, scale, shares
        ([-INF, 0, 0], 3, [0, 0.5, 0.5]),
        ([-INF, 0, 0], 0, [0, 0.5, 0.5]),
        ([-INF, 1, 0], INF, [0, 1, 0]),
        ([-INF, 1, 0], -1, [NAN] * 3),
        ([INF, 0, 0], -3, [0, 0.5, 0.5]),
        ([INF, 1, 0], -INF, [0, 0, 1]),
        ([INF, 0, 0], 2, [NAN] * 3),
        ([INF, 0, 0], 0, [NAN] * 3),
        ([INF, INF, 0], INF, [NAN] * 3),
        ([NAN, 0, 0], INF, [NAN] * 3),
        ([NAN, 0, 0], 0, [NAN] * 3),
        ([-INF, -INF, -INF], 0, [NAN] * 3),
        ([-INF, -INF, -INF], INF, [NAN] * 3),
    ]
    positions = np.arange(3)
    for x, alpha, expected in cases:
        both = library(np.array([x, [2, 2, 2]]), "float32")  # the other row is not touched
        with np.errstate(all="raise", under="ignore"):
            p = to_numpy(smooth_argmax(both, alpha=alpha))
            position = to_numpy(soft_position(both, alpha=alpha))
        wanted = [expected, [1 / 3] * 3]
        np.testing.assert_allclose(p, wanted, rtol=1e-6, err_msg=f"{x} {alpha}")
        np.testing.assert_allclose(position, np.array(wanted) @ positions, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_scale_and_no_score_is_too_large(quick_library, dtype):
    big = float(np.finfo(dtype).max)
    with np.errstate(all="raise", under="ignore"):
        for alpha in (2.0, 1e30, 1e300, INF):
            for x in ([big, -big, big / 2], [1.0, -1.0, 0.5], [big, 0.0, -big]):
                p = smooth_argmax(quick_library(x, dtype), alpha=alpha)
                if x[0] == big or alpha > 2:
                    np.testing.assert_array_equal(to_numpy(p), [1, 0, 0])
        for alpha in (0, 5e-324, 1e-300):
            p = smooth_argmax(quick_library([1.0, -1.0, 0.5], dtype), alpha=alpha)
            np.testing.assert_allclose(to_numpy(p), 1 / 3, rtol=1e-6)
        p = smooth_argmax(quick_library([big, -big], dtype), alpha=1 / big)
        np.testing.assert_allclose(to_numpy(p), scipy.special.softmax([1, -1]), rtol=1e-6)


def test_at_an_infinite_scale_the_smallest_difference_decides(quick_library):
    x = quick_library([5e-324, 0.0, 1e-323])
    np.testing.assert_array_equal(to_numpy(smooth_argmax(x, alpha=INF)), [0, 0, 1])
    np.testing.assert_array_equal(to_numpy(smooth_argmax(x, alpha=-INF)), [0, 1, 0])


def test_rounds_of_soft_top_k_follow_the_contract_of_softmax(quick_library):
    rows = [[NAN, 1, 0], [INF, 1, 0], [INF, -INF, -INF], [-INF, -INF, -INF], [-INF, 1, -INF]]
    with np.errstate(all="raise", under="ignore"):
        for alpha in (2, INF):
            chosen = to_numpy(soft_top_k(quick_library(rows), 2, alpha=alpha))
            np.testing.assert_array_equal(chosen[:, :4], np.full((2, 4, 3), NAN))
            np.testing.assert_array_equal(chosen[:, 4], [[0, 1, 0], [NAN] * 3])


def test_close_scores_far_from_0_keep_their_difference(quick_library):
    # 100 x is not exact here, 100 (x - m) is.
    x = [1e15, 1e15 + 0.125]
    np.testing.assert_allclose(
        to_numpy(smooth_argmax(quick_library(x), alpha=3.7)),
        scipy.special.softmax([-3.7 / 8, 0]),
        rtol=1e-15,
    )


def test_scale_1_is_softmax_to_the_last_bit(quick_library):
    x = quick_library(np.random.default_rng(3).normal(size=(2, 3)) * 50)
    np.testing.assert_array_equal(to_numpy(smooth_argmax(x)), to_numpy(softmax(x)))


def test_excluded_entries_count_as_absent_whatever_they_hold(quick_library):
    mask = quick_library([[False, True, True, True], [False] * 4])
    for hidden in (NAN, INF, -INF, 1e300):
        x = quick_library([[hidden, 2.0, 1.0, 2.0], [hidden] * 4])
        for alpha in (-INF, -2, 0, 1, 2, INF):
            p = to_numpy(smooth_argmax(x, alpha=alpha, where=mask))
            expected = to_numpy(smooth_argmax(quick_library([2.0, 1.0, 2.0]), alpha=alpha))
            np.testing.assert_array_equal(p, [[0, *expected], [0] * 4])
            position = to_numpy(soft_position(x, alpha=alpha, where=mask))
            np.testing.assert_allclose(position, [expected @ [1, 2, 3], NAN], rtol=1e-15)
        chosen = to_numpy(soft_top_k(x, 2, alpha=9, where=mask))[:, 0]
        np.testing.assert_array_equal(chosen[:, 0], 0)
        np.testing.assert_allclose(chosen[:, 1:], soft_top_k([2.0, 1.0, 2.0], 2, alpha=9))
        chosen = to_numpy(soft_top_k(x, 2, alpha=-9, where=mask))[:, 0]
        np.testing.assert_allclose(chosen[:, 1:], soft_top_k([2.0, 1.0, 2.0], 2, alpha=-9))


def test_gradients_through_infinite_and_excluded_scores_are_0():
    mask = torch.tensor([True, True, True, False])
    for alpha in (0.5, 2, 0, INF):
        x = torch.tensor([-INF, 1.0, 0.0, NAN], dtype=torch.float64, requires_grad=True)
        p = smooth_argmax(x, alpha=alpha, where=mask)
        (slope,) = torch.autograd.grad(p[1], x)
        inner = 0.0 if alpha == INF else alpha * float((p[1] * p[2]).detach())
        np.testing.assert_allclose(slope, [0, inner, -inner, 0], atol=1e-17)
        (slope,) = torch.autograd.grad(soft_top_k(x, 2, alpha=alpha, where=mask)[1, 1], x)
        assert torch.isfinite(slope).all()
        assert slope[0] == slope[3] == 0
    tie = torch.tensor([2.0, 2.0, 1.0], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(smooth_argmax(tie, alpha=INF)[0], tie)
    np.testing.assert_array_equal(slope, [0, 0, 0])
    logits = torch.tensor([[-INF, 0.0, 1.0]], dtype=torch.float64, requires_grad=True)
    soft_accuracy(logits, torch.tensor([0]), alpha=2).backward()
    np.testing.assert_array_equal(logits.grad, [[0, 0, 0]])


@pytest.mark.parametrize(("library", "dtype"), floats("numpy", "torch", "strict"))
def test_dtype_and_shape_are_kept_and_the_input_is_not_changed(library, dtype):
    values = np.random.default_rng(4).normal(size=(2, 3, 4)).astype(dtype)
    x = library(values.copy(), dtype)
    for alpha in (2, INF):
        assert same_kind(smooth_argmax(x, alpha=alpha, axis=(0, 2)), x)
        assert smooth_argmax(x, alpha=alpha, axis=None).shape == (2, 3, 4)
        assert soft_position(x, alpha=alpha, axis=1).shape == (2, 4)
        assert soft_position(x, alpha=alpha).dtype == x.dtype
        assert soft_top_k(x, 2, alpha=alpha, axis=0).shape == (2, 2, 3, 4)
        assert soft_accuracy(x, library(np.zeros((2, 4), dtype=int)), axis=1).dtype == x.dtype
    np.testing.assert_array_equal(to_numpy(x), values)


@pytest.mark.parametrize("axis", [0, -2, (2, 0), None])
def test_any_axes_are_those_of_softmax(quick_library, axis):
    x = np.random.default_rng(5).normal(size=(2, 3, 4))
    expected = scipy.special.softmax(2 * x, axis=axis)
    np.testing.assert_allclose(
        to_numpy(smooth_argmax(quick_library(x), alpha=2, axis=axis)), expected, rtol=1e-13
    )
    np.testing.assert_allclose(
        to_numpy(soft_top_k(quick_library(x), 2, alpha=2, axis=axis))[0], expected, rtol=1e-13
    )
    if isinstance(axis, int):
        positions = np.moveaxis(expected, axis, -1) @ np.arange(x.shape[axis])
        got = to_numpy(soft_position(quick_library(x), alpha=2, axis=axis))
        np.testing.assert_allclose(got, positions, rtol=1e-13)


def test_without_entries_there_is_no_share_no_position_and_no_accuracy(quick_library):
    x = quick_library(np.empty((2, 0)))
    assert smooth_argmax(x, alpha=2).shape == smooth_argmax(x, alpha=INF).shape == (2, 0)
    np.testing.assert_array_equal(to_numpy(soft_position(x, alpha=2)), [NAN, NAN])
    no_rows = soft_accuracy(quick_library(np.empty((0, 3))), quick_library(np.empty(0, dtype=int)))
    assert np.isnan(float(no_rows))
    with pytest.raises(ValueError, match="k must be from 1 to the 0 entries, got 1"):
        soft_top_k(x, 1, alpha=2)


def test_integers_are_promoted_before_anything_is_subtracted(quick_library):
    x = quick_library([-128, 127, 127], "int8")
    for alpha in (0.5, INF):
        np.testing.assert_allclose(
            to_numpy(smooth_argmax(x, alpha=alpha)), [0, 0.5, 0.5], atol=1e-50
        )


@pytest.mark.parametrize("function", [smooth_argmax, soft_position])
def test_a_scale_is_one_number_and_not_nan(function, quick_library):
    x = quick_library([1.0, 2.0])
    with pytest.raises(ValueError, match=r"alpha must be a number from -inf to inf, .* got nan"):
        function(x, alpha=NAN)
    with pytest.raises(TypeError, match=r"must be one number, got list; .* multiply x by it"):
        function(x, alpha=[1.0, 2.0])
    with pytest.raises(TypeError, match="alpha must be one number, got Tensor"):
        function(x, alpha=torch.tensor(1.0))
    with pytest.raises(TypeError, match="got str"):
        function(x, alpha="1")
    assert function(x, alpha=np.float32(2)).dtype == x.dtype


def test_k_and_targets_out_of_range_are_refused_in_words(quick_library):
    x = quick_library(np.zeros((2, 3)))
    for k in (0, -1, 4):
        with pytest.raises(ValueError, match=f"k must be from 1 to the 3 entries, got {k}"):
            soft_top_k(x, k, alpha=2)
    with pytest.raises(ValueError, match="k must be from 1 to the 3 entries, got 4"):
        soft_top_k(x[0, :], 4, alpha=2)
    with pytest.raises(TypeError, match=r"^k must be an integer"):
        soft_top_k(x, 1.5, alpha=2)
    with pytest.raises(ValueError, match=r"target must hold class indices, got dtype .*float64"):
        soft_accuracy(x, quick_library(np.zeros((2, 3))))
    if quick_library.name != "dask":  # whose targets are not known yet
        with pytest.raises(ValueError, match="target must be from 0 to 2, got 3"):
            soft_accuracy(x, quick_library([0, 3]))
    with pytest.raises(TypeError, match="would lose its mask"):
        smooth_argmax(np.ma.array([1.0, 2.0], mask=[0, 1]), alpha=2)


# --- proofs


@pytest.mark.claim("prop-argmax-chain")
def test_the_chain_is_exact_up_to_its_last_step():
    assert proofs.chain_residual().is_zero_matrix


@pytest.mark.claim("thm-argmax-rate")
def test_distances_from_the_limit_are_the_losers_share_and_that_has_two_bounds():
    assert proofs.deficit_residual().is_zero_matrix
    assert proofs.rate_residual().is_zero_matrix


@pytest.mark.claim("thm-argmax-limit")
def test_the_losers_share_goes_to_0():
    assert proofs.deficit_limit() == 0


@pytest.mark.claim("prop-share-in-alpha")
@pytest.mark.parametrize("n", [2, 3, None])
def test_the_derivative_of_a_share_in_the_scale_is_the_share_times_the_lead_over_the_mean(n):
    assert proofs.share_in_alpha_residual(n).is_zero_matrix


@pytest.mark.claim("prop-position-symmetry")
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_symmetric_scores_have_their_position_in_the_middle(n):
    assert proofs.symmetric_position_residual(n) == 0


@pytest.mark.claim("prop-top-k-scale-one")
def test_the_lead_in_the_second_round_at_scale_1_is_a_product_of_two_terms_that_are_not_negative():
    assert proofs.second_round_residual() == 0


@pytest.mark.claim("prop-soft-accuracy-gradient")
@pytest.mark.parametrize("n", [2, 3, None])
def test_the_gradient_of_soft_accuracy_for_any_scores(n):
    assert proofs.accuracy_gradient_residual(n).is_zero_matrix
