"""Draws from softmax: laws, references, edges, proofs.

A test of chance has a false-alarm rate: over all seeds, a right sampler fails a χ² test here with
probability 1e-6 (`ALARM`). The seeds are fixed, so a test that passes goes on passing; that the
tests would see a wrong sampler is shown by wrong samplers.
"""

from itertools import combinations, permutations

import jax
import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from softmax_notes.choice import plackett_luce
from softmax_notes.sampling import (
    gumbel_max,
    gumbel_noise,
    gumbel_softmax,
    gumbel_top_k,
    inverse_cdf,
    nucleus_mask,
    sample,
    straight_through,
    top_k_mask,
)
from softmax_notes.symbolic import sampling as proofs
from tests.libraries import same_kind, to_numpy
from tests.pytorch import torch

ALARM = 1e-6
INF, NAN = np.inf, np.nan
SCORES = [2.0, 1.0, 0.0, -1.0, 0.5]
eighths = st.integers(-80, 80).map(lambda k: k / 8)


def uniforms(shape, seed=0):
    return np.random.default_rng(seed).random(shape)


def probabilities(x):
    return torch.softmax(torch.tensor(x, dtype=torch.float64), -1).numpy()


def p_value(draws, p):
    """χ² test of draws against probabilities; classes of probability 0 must not be drawn."""
    counts = np.bincount(np.ravel(draws), minlength=len(p))
    assert not counts[np.asarray(p) == 0].any()
    possible = np.asarray(p) > 0
    return scipy.stats.chisquare(counts[possible], counts.sum() * np.asarray(p)[possible]).pvalue


def rows(max_side=6, elements=eighths):
    return npst.arrays("float64", st.integers(1, max_side), elements=elements)


# --- laws


@pytest.mark.claim("prop-gumbel-noise")
@given(st.data())
def test_noise_is_finite_for_every_draw_and_grows_with_it(quick_library, data):
    dtype = data.draw(st.sampled_from(["float32", "float64"]))
    inside = st.floats(0, 1, width=32 if dtype == "float32" else 64)
    u = np.sort(data.draw(npst.arrays(dtype, st.integers(1, 8), elements=inside)))
    noise = to_numpy(gumbel_noise(quick_library(u)))
    assert np.all(np.isfinite(noise))
    assert np.all(np.diff(noise) >= 0)
    assert noise.dtype == dtype


@pytest.mark.claim("thm-gumbel-max")
@given(st.data(), st.integers(0, 10**6), st.integers(-1000, 1000))
def test_a_draw_is_the_argmax_of_scores_plus_noise_and_a_shift_changes_none(
    quick_library, data, seed, c
):
    x = data.draw(rows())
    u = uniforms((20, len(x)), seed)
    draws = to_numpy(gumbel_max(quick_library(x), quick_library(u)))
    torch_noise = -torch.log(-torch.log(torch.tensor(u)))
    np.testing.assert_array_equal(draws, (torch.tensor(x) + torch_noise).argmax(-1))
    np.testing.assert_array_equal(
        to_numpy(gumbel_max(quick_library(x + c), quick_library(u))), draws
    )


@pytest.mark.claim("thm-gumbel-top-k")
@given(st.data(), st.integers(0, 10**6))
def test_k_draws_are_distinct_and_the_first_is_that_of_one_draw(quick_library, data, seed):
    x = data.draw(rows())
    k = data.draw(st.integers(1, len(x)))
    u = uniforms((20, len(x)), seed)
    draws = to_numpy(gumbel_top_k(quick_library(x), k, quick_library(u)))
    assert draws.shape == (20, k)
    assert all(len(set(row)) == k for row in draws.tolist())
    np.testing.assert_array_equal(
        draws[:, 0], to_numpy(gumbel_max(quick_library(x), quick_library(u)))
    )


@pytest.mark.claim("prop-inverse-cdf")
@given(st.data(), st.integers(0, 10**6))
def test_one_uniform_number_draws_the_class_whose_interval_holds_it(quick_library, data, seed):
    x = data.draw(rows())
    u = np.append(uniforms(20, seed), [0.0, 1.0])
    draws = to_numpy(inverse_cdf(quick_library(x), quick_library(u)))
    ends = np.cumsum(probabilities(x))
    starts = ends - probabilities(x)
    assert np.all((draws >= 0) & (draws < len(x)))
    assert np.all((starts[draws] - 1e-12 <= u) & (u <= ends[draws] + 1e-12))


def oracle_top_k(x, k):
    """Go through the classes one by one: fewer than k have a higher score."""
    return [sum(other > score for other in x) < k and score > -INF for score in x]


def oracle_nucleus(x, top_p):
    """Try every set of classes: the smallest that holds top_p, has no better class outside,
    and parts no tie."""
    p = probabilities(x)
    allowed = [i for i in range(len(x)) if x[i] > -INF]
    for size in range(1, len(allowed) + 1):
        for chosen in combinations(allowed, size):
            outside = [x[i] for i in allowed if i not in chosen]
            highest = all(min(x[i] for i in chosen) > score for score in outside)
            if highest and (p[list(chosen)].sum() >= top_p or not outside):
                return [i in chosen for i in range(len(x))]
    raise AssertionError


filterable = st.lists(
    st.sampled_from([2.0, 1.0, 1.0, 0.0, -1.0, -3.0, -INF]), min_size=0, max_size=5
)


@pytest.mark.claim("prop-filters")
@given(filterable, st.integers(1, 8))
def test_top_k_keeps_those_with_fewer_than_k_above_them(quick_library, scores, k):
    x = np.array([0.5, *scores])
    mask = to_numpy(top_k_mask(quick_library(x), k))
    assert mask.tolist() == oracle_top_k(x, k)


@pytest.mark.claim("prop-filters")
@given(filterable, st.floats(0.01, 1))
def test_the_nucleus_is_the_smallest_set_that_holds_enough(quick_library, scores, top_p):
    x = np.array([0.5, *scores])
    p = np.sort(probabilities(x))[::-1]
    if top_p < 1 and np.any(np.abs(np.cumsum(p) - top_p) < 1e-9):
        return  # the rounding decides
    mask = to_numpy(nucleus_mask(quick_library(x), top_p))
    assert mask.tolist() == oracle_nucleus(x, top_p)


@pytest.mark.claim("prop-filters")
@given(st.data())
def test_filters_follow_a_permutation_of_the_classes(quick_library, data):
    x = data.draw(rows())
    order = data.draw(st.permutations(range(len(x))))
    for f in (lambda t: top_k_mask(t, 2), lambda t: nucleus_mask(t, 0.637)):
        np.testing.assert_array_equal(
            to_numpy(f(quick_library(x[order]))), to_numpy(f(quick_library(x)))[order]
        )


@pytest.mark.claim("prop-filter-order")
@given(rows(), st.integers(1, 5), st.sampled_from([0.137, 0.517, 0.871]))
def test_top_k_before_the_nucleus_keeps_no_more_than_after_it(x, k, top_p):
    first, nucleus = top_k_mask(x, k), nucleus_mask(x, top_p)
    before = nucleus_mask(x, top_p, where=first)
    after = top_k_mask(x, k, where=nucleus)
    assert np.all(before <= after)
    np.testing.assert_array_equal(after, first & nucleus)


@pytest.mark.claim("prop-nucleus-temperature")
@given(rows(), st.sampled_from([0.137, 0.517, 0.871]), st.sampled_from([0.3, 1.0, 2.5]))
def test_the_nucleus_grows_with_the_temperature_and_top_k_does_not(x, top_p, temperature):
    cold, warm = (nucleus_mask(x, top_p, temperature=t) for t in (temperature, 1.5 * temperature))
    assert np.all(cold <= warm)
    np.testing.assert_array_equal(top_k_mask(x, 2), top_k_mask(x / temperature, 2))


@pytest.mark.claim("prop-concrete")
@given(st.data(), st.integers(0, 10**6), st.sampled_from([0.05, 1.0, 20.0]))
def test_a_relaxed_draw_is_on_the_simplex_and_its_winner_is_the_draw(
    quick_library, data, seed, temperature
):
    x = data.draw(rows())
    u = uniforms((10, len(x)), seed)
    y = to_numpy(gumbel_softmax(quick_library(x), quick_library(u), temperature=temperature))
    np.testing.assert_allclose(y.sum(-1), 1, rtol=1e-14)
    np.testing.assert_array_equal(y.argmax(-1), gumbel_max(x, u))


# --- references


def wrong_samplers():
    """What people write, or could; each must be seen by the test that the right one passes."""
    x, size = np.array(SCORES), (40_000, 5)
    u = uniforms(size, 1)
    normal = np.random.default_rng(2).normal(size=size)
    yield "normal noise", (x + normal * np.pi / np.sqrt(6)).argmax(1)
    yield "a minus missing", (x + np.log(-np.log(u))).argmax(1)
    yield "one logarithm", (x - np.log(u)).argmax(1)
    yield "scaled after the noise twice", ((x - np.log(-np.log(u))) - 0.1 * x).argmax(1)
    yield "temperature 1.1", gumbel_max(x, u, temperature=1.1)
    yield "one draw for all classes", (x - np.log(-np.log(u[:, :1]))).argmax(1)
    yield "cumulative sums of another order", np.argsort(x)[inverse_cdf(np.sort(x) / 1.05, u[:, 0])]
    yield "argmax", np.full(len(u), x.argmax())


@pytest.mark.claim("thm-gumbel-max")
def test_gumbel_max_draws_by_softmax_in_every_library(library):
    u = uniforms((40_000, 5))
    draws = to_numpy(gumbel_max(library(SCORES), library(u)))
    assert p_value(draws, probabilities(SCORES)) > ALARM


@pytest.mark.claim("thm-gumbel-max")
@pytest.mark.parametrize(("name", "draws"), list(wrong_samplers()), ids=lambda v: v)
def test_the_test_of_draws_sees_a_wrong_sampler(name, draws):
    assert p_value(draws, probabilities(SCORES)) < ALARM, name


@pytest.mark.claim("thm-gumbel-max")
@pytest.mark.parametrize("temperature", [0.5, 3.0])
def test_draws_at_a_temperature_with_classes_left_out_are_those_of_pytorchs_softmax(temperature):
    x = torch.tensor([[3.0, 1.0, 2.0, -INF], [0.0, 0.0, 1.0, 5.0]])
    mask = torch.tensor([[True, True, True, True], [True, True, True, False]])
    u = torch.rand(30_000, 2, 4, generator=torch.Generator().manual_seed(3))
    draws = gumbel_max(x, u, where=mask, temperature=temperature)
    scores = torch.where(mask, x.double() / temperature, -INF)
    for i in range(2):
        assert p_value(draws[:, i].numpy(), torch.softmax(scores, -1)[i].numpy()) > ALARM


@pytest.mark.claim("cor-gumbel-value")
def test_the_largest_perturbed_score_is_gumbel_at_logsumexp_whoever_wins():
    x = torch.tensor(SCORES, dtype=torch.float64)
    z = x + gumbel_noise(torch.tensor(uniforms((40_000, 5), 4)))
    center = float(torch.logsumexp(x, 0))
    value, winner = (part.numpy() for part in z.max(-1))
    for chosen in (winner >= 0, winner == 0, winner == 2):
        law = scipy.stats.gumbel_r(loc=center)
        assert scipy.stats.kstest(value[chosen], law.cdf).pvalue > ALARM
    deviation = np.pi / np.sqrt(6 * len(value))
    assert abs(value.mean() - center - np.euler_gamma) < 5 * deviation


@pytest.mark.claim("prop-gumbel-noise")
def test_noise_is_that_of_scipy():
    u = uniforms(1000, 5)
    np.testing.assert_allclose(gumbel_noise(u), scipy.stats.gumbel_r.ppf(u), rtol=1e-12)
    assert scipy.stats.kstest(gumbel_noise(u), scipy.stats.gumbel_r.cdf).pvalue > ALARM


@pytest.mark.claim("thm-gumbel-top-k")
@pytest.mark.parametrize("k", [2, 3, 4])
def test_rankings_follow_plackett_and_luce(k):
    x = np.array([1.0, 0.5, 0.0, -1.0])
    draws = gumbel_top_k(x, k, uniforms((40_000, 4), 6))
    # The law by hand: one after another, by softmax of those that are left.
    weights, rankings = np.exp(x), list(permutations(range(4), k))
    p = []
    for ranking in rankings:
        left, chance = weights.sum(), 1.0
        for i in ranking:
            chance, left = chance * weights[i] / left, left - weights[i]
        p.append(chance)
    np.testing.assert_allclose(np.exp([plackett_luce(x, r) for r in rankings]), p, rtol=1e-13)
    drawn = [rankings.index(tuple(row)) for row in draws.tolist()]
    assert p_value(drawn, p) > ALARM
    with_replacement = np.stack([gumbel_max(x, uniforms((40_000, 4), s)) for s in range(k)], 1)
    distinct = [tuple(r) for r in with_replacement.tolist() if len(set(r)) == k]
    assert p_value([rankings.index(r) for r in distinct], p) < ALARM


@pytest.mark.claim("prop-inverse-cdf")
def test_inverse_cdf_draws_by_softmax_in_every_library(library):
    draws = to_numpy(inverse_cdf(library(SCORES), library(uniforms(40_000, 7)), temperature=2.0))
    assert p_value(draws, probabilities(np.array(SCORES) / 2)) > ALARM


@pytest.mark.claim("prop-filter-order")
def test_sample_divides_by_the_temperature_then_filters_then_draws(library):
    x = [3.0, 2.5, 2.0, 1.0, 0.0]
    warm = torch.tensor(x, dtype=torch.float64) / 2.0
    warm[3:] = -INF  # top_k = 3
    p = torch.softmax(warm, 0)  # 0.419, 0.327, 0.254
    assert p[:2].sum() > 0.7 > p[0]
    p = torch.where(torch.arange(5) < 2, p, 0.0) / p[:2].sum()
    u = library(uniforms((20_000, 5), 8))
    draws = to_numpy(sample(library(x), u, temperature=2.0, top_k=3, top_p=0.7))
    assert p_value(draws, p.numpy()) > ALARM
    # Without top_k first, the third class is in the nucleus at this temperature.
    u = to_numpy(u)
    assert set(sample(x, u, temperature=2.0, top_p=0.7).tolist()) == {0, 1, 2}
    assert set(sample(x, u, temperature=0.1, top_p=0.7).tolist()) == {0}
    assert set(sample(x, u).tolist()) == set(range(5))


@pytest.mark.claim("prop-concrete")
def test_relaxed_draws_are_those_of_pytorchs_own_noise():
    """PyTorch draws exponential noise; the same noise, as uniform numbers, gives the same draw."""
    x = torch.tensor(SCORES, dtype=torch.float64)
    for temperature in (0.3, 2.0):
        torch.manual_seed(9)
        expected = torch.nn.functional.gumbel_softmax(x.expand(50, 5), tau=temperature)
        torch.manual_seed(9)
        exponential = torch.empty(50, 5, dtype=torch.float64).exponential_()
        y = gumbel_softmax(x, torch.exp(-exponential), temperature=temperature)
        torch.testing.assert_close(y, expected, rtol=1e-9, atol=1e-14)


@pytest.mark.claim("prop-concrete")
def test_a_relaxed_draw_tends_to_the_draw_when_cold_and_to_uniform_when_hot():
    u = uniforms((200, 5), 10)
    one_hot = np.eye(5)[gumbel_max(SCORES, u)]
    np.testing.assert_allclose(gumbel_softmax(SCORES, u, temperature=1e-6), one_hot, atol=1e-12)
    np.testing.assert_allclose(gumbel_softmax(SCORES, u, temperature=1e9), 0.2, rtol=1e-7)


def mean_share(w):
    """Trapezoids over u, fine enough for ten digits; arithmetic by hand."""
    u = (np.arange(200_000) + 0.5) / 200_000
    y = w * u / (w * u + 1 - u)
    return y.mean(), (y * (1 - y)).mean()


@pytest.mark.claim("prop-relaxation-bias")
@pytest.mark.parametrize("difference", [-2.0, 0.5, 3.0])
def test_the_mean_of_a_relaxed_draw_is_not_softmax(difference):
    w = np.exp(difference)
    closed = w * (w - 1 - np.log(w)) / (w - 1) ** 2
    np.testing.assert_allclose(closed, mean_share(w)[0], rtol=1e-9)
    u = uniforms((100_000, 2), 11)
    y = gumbel_softmax([difference, 0.0], u, temperature=1.0)[:, 0]
    error = 5 * y.std() / np.sqrt(len(y))
    assert abs(y.mean() - closed) < error
    assert abs(y.mean() - w / (1 + w)) > error


@pytest.mark.claim("prop-straight-through")
@pytest.mark.parametrize("difference", [-2.0, 0.0, 0.5, 3.0])
def test_straight_through_is_biased_as_its_formula_says(difference):
    w = np.exp(difference)
    if difference:
        closed = w * ((w + 1) * np.log(w) - 2 * (w - 1)) / (w - 1) ** 3
        np.testing.assert_allclose(closed, mean_share(w)[1], rtol=1e-9)
    u = uniforms((100_000, 2), 12)
    _, pull_back = straight_through([difference, 0.0], u, temperature=1.0)
    estimates = pull_back(np.array([1.0, 0.0]))[:, 0]
    error = 5 * estimates.std() / np.sqrt(len(estimates))
    assert abs(estimates.mean() - mean_share(w)[1]) < error
    assert abs(estimates.mean() - w / (1 + w) ** 2) > error  # the truth, p (1 - p)


@pytest.mark.claim("prop-straight-through")
def test_a_cold_straight_through_is_right_for_a_linear_loss_and_wrong_for_a_cube():
    d, t = 0.5, 0.02
    z = np.linspace(-200, 200, 400_001) * t  # where v = z/t, the difference of perturbed scores / T
    slope = 0.25 / np.cosh(z / t / 2) ** 2 / t
    density = 0.25 / np.cosh((z - d) / 2) ** 2
    step = z[1] - z[0]
    truth = 0.25 / np.cosh(d / 2) ** 2
    linear = (slope * density).sum() * step
    cube = (3 * (z > 0) * slope * density).sum() * step
    square = (slope**2 * density).sum() * step
    np.testing.assert_allclose(linear, truth, rtol=1e-3)
    np.testing.assert_allclose(cube, 1.5 * truth, rtol=2e-2)
    np.testing.assert_allclose(square, truth / 6 / t, rtol=2e-2)
    draw, pull_back = straight_through([d, 0.0], uniforms((400_000, 2), 13), temperature=t)
    for factor, expected in ((np.ones_like(draw[:, 0]), linear), (3 * draw[:, 0] ** 2, cube)):
        g = np.stack([factor, 0 * factor], axis=1)
        estimates = pull_back(g)[:, 0]
        assert abs(estimates.mean() - expected) < 5 * estimates.std() / np.sqrt(len(estimates))
    assert abs((pull_back(np.array([1.0, 0.0]))[:, 0] ** 2).mean() / square - 1) < 0.1


@pytest.mark.claim("prop-straight-through")
def test_straight_through_is_pytorchs_hard_gumbel_softmax():
    x = torch.tensor(SCORES, dtype=torch.float64, requires_grad=True)
    c = torch.tensor([1.0, -2.0, 0.5, 3.0, 0.0], dtype=torch.float64)
    torch.manual_seed(14)
    hard = torch.nn.functional.gumbel_softmax(x.expand(50, 5), tau=0.7, hard=True)
    (hard @ c).sum().backward()
    torch.manual_seed(14)
    u = torch.exp(-torch.empty(50, 5, dtype=torch.float64).exponential_())
    draw, pull_back = straight_through(x.detach(), u, temperature=0.7)
    torch.testing.assert_close(draw, hard.detach())
    torch.testing.assert_close(pull_back(c.expand(50, 5)).sum(0), x.grad, rtol=1e-9, atol=1e-12)


@pytest.mark.claim("prop-score-function")
def test_the_score_function_estimate_is_unbiased_for_any_loss():
    x = torch.tensor(SCORES, dtype=torch.float64, requires_grad=True)
    loss = torch.tensor([1.0, -2.0, 0.5, 3.0, 0.0], dtype=torch.float64) ** 3
    (torch.softmax(x, 0) @ loss).backward()
    p, draws = probabilities(SCORES), gumbel_max(SCORES, uniforms((100_000, 5), 15))
    estimates = loss.numpy()[draws, None] * (np.eye(5)[draws] - p)
    error = 5 * estimates.std(0) / np.sqrt(len(draws))
    assert np.all(np.abs(estimates.mean(0) - x.grad.numpy()) < error)


def test_pytorch_differentiates_relaxed_draws_once_and_twice():
    x = torch.tensor([[0.3, -1.2, 2.0], [0.0, 0.0, -INF]], dtype=torch.float64, requires_grad=True)
    u = torch.tensor(uniforms((2, 3), 16))
    y = gumbel_softmax(x, u, temperature=0.5)
    y[:, 0].sum().backward()
    reference = x.detach().clone().requires_grad_()
    torch.softmax((reference - torch.log(-torch.log(u))) / 0.5, -1)[:, 0].sum().backward()
    torch.testing.assert_close(x.grad, reference.grad)
    finite = x.detach()[:1].requires_grad_()
    assert torch.autograd.gradcheck(lambda t: gumbel_softmax(t, u[:1], temperature=0.5), finite)
    assert torch.autograd.gradgradcheck(lambda t: gumbel_softmax(t, u[:1], temperature=0.5), finite)


@pytest.mark.slow
def test_jax_draws_from_a_key_compiles_and_maps_our_code():
    x = jax.numpy.asarray(SCORES)
    u = jax.random.uniform(jax.random.key(17), (20_000, 5))
    draws = jax.jit(gumbel_max)(x, u)
    np.testing.assert_array_equal(draws, gumbel_max(x, u))
    assert p_value(np.asarray(draws), probabilities(SCORES)) > ALARM
    np.testing.assert_array_equal(jax.vmap(lambda v: gumbel_max(x, v))(u[:10]), draws[:10])
    undefined = jax.jit(gumbel_max)(x * jax.numpy.nan, u[:2])
    assert undefined.tolist() == [-1, -1]


def test_one_generator_and_one_seed_give_the_same_draws_again():
    for make in (
        lambda: np.random.default_rng(18).random((100, 5)),
        lambda: torch.rand(100, 5, generator=torch.Generator().manual_seed(18)),
        lambda: jax.random.uniform(jax.random.key(18), (100, 5)),
    ):
        first, second = (to_numpy(gumbel_max(SCORES, make())) for _ in range(2))
        np.testing.assert_array_equal(first, second)
        assert len(set(first.tolist())) > 2


# --- edges


@pytest.mark.claim("prop-gumbel-noise")
def test_noise_is_finite_for_every_number_a_generator_of_16_or_24_bits_can_give():
    halves = np.arange(0x3C01, dtype=np.uint16).view(np.float16)  # all from 0 to 1
    assert halves[0] == 0
    assert halves[-1] == 1
    assert np.isfinite(gumbel_noise(halves)).all()
    assert gumbel_noise(halves).dtype == np.float16
    brains = torch.arange(0x3F81, dtype=torch.int16).view(torch.bfloat16)
    assert brains[-1] == 1
    assert bool(torch.isfinite(gumbel_noise(brains)).all())
    for start in range(0, 2**24, 2**21):  # what torch.rand gives in float32: multiples of 2^-24
        u = torch.arange(start, start + 2**21, dtype=torch.float32) / 2**24
        assert bool(torch.isfinite(gumbel_noise(u)).all())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_noise_at_both_ends_is_finite_and_in_order(edge_library, dtype):
    tiny = np.finfo(dtype).smallest_subnormal
    below = np.nextafter(np.ones((), dtype), np.zeros((), dtype))
    u = edge_library(np.array([0, tiny, 0.5, below, 1], dtype))
    with np.errstate(all="raise", under="ignore"):
        noise = to_numpy(gumbel_noise(u))
    assert np.all(np.isfinite(noise))
    assert noise[0] == noise[1] < noise[2] < noise[3] == noise[4]
    assert np.isnan(float(gumbel_noise(edge_library(np.array(NAN, dtype)))))
    assert same_kind(gumbel_noise(u), u)


def test_a_draw_of_0_or_1_for_every_class_is_still_a_draw(edge_library):
    x = edge_library([0.0, 1.0, -INF])
    for value in (0.0, 1.0):
        u = edge_library(np.full((1, 3), value))
        assert to_numpy(gumbel_max(x, u)).tolist() == [1]
        y = to_numpy(gumbel_softmax(x, u, temperature=0.5))
        assert np.isfinite(y).all()
        assert y[0, 2] == 0
    assert to_numpy(inverse_cdf(x, edge_library([0.0, 1.0]))).tolist() == [0, 1]


def test_scores_far_from_0_do_not_drown_the_noise():
    u = uniforms((10_000, 2), 19)
    for dtype, shift in (("float32", 1e9), ("float64", 1e18), ("float32", 3e38)):
        x = np.array([shift, shift], dtype)
        assert p_value(gumbel_max(x, u.astype(dtype)), [0.5, 0.5]) > ALARM
        naive = (x + gumbel_noise(u.astype(dtype))).argmax(1)
        assert p_value(naive, [0.5, 0.5]) < ALARM
    big = np.array([1.7e308, -1.7e308, 1.7e308])
    with np.errstate(all="raise", under="ignore"):
        draws = gumbel_max(big, uniforms((1000, 3), 20), temperature=1e-300)
    assert set(draws.tolist()) == {0, 2}


def test_cumulative_sums_that_end_below_1_give_no_class_past_the_last():
    x = np.zeros(100_000, dtype=np.float32)
    x[::2] = -0.7
    end = np.cumsum(torch.softmax(torch.tensor(x), 0).numpy())[-1]
    u = np.array([np.nextafter(np.float32(1), np.float32(0)), 1.0], dtype=np.float32)
    assert end != 1
    assert inverse_cdf(x, u).tolist() == [99_999, 99_999]
    x[-10:] = -INF  # and none of probability 0
    assert inverse_cdf(x, u).tolist() == [99_989, 99_989]
    assert inverse_cdf([-INF, 0.0, -INF], [0.0, 0.5, 1.0]).tolist() == [1, 1, 1]


def test_cumulative_sums_that_end_above_1_lose_no_class():
    x = np.zeros(100_000, dtype=np.float32)
    u = np.nextafter(np.float32(1), np.float32(0))
    sums = np.cumsum(torch.softmax(torch.tensor(x), 0).numpy())
    assert np.searchsorted(sums, u, side="right") < 99_950  # the rest would never be drawn
    assert inverse_cdf(x, u) == 99_999


def test_a_nucleus_that_holds_exactly_enough_is_not_enlarged(edge_library):
    x = edge_library(np.log([2.0, 1.0, 1.0]))  # probabilities 1/2, 1/4, 1/4, exactly
    assert to_numpy(nucleus_mask(x, 0.5)).tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("top_p", "expected"),
    [
        (1.0, [1, 1, 1, 1, 0]),
        (0.6, [1, 1, 1, 0, 0]),
        (0.3, [1, 0, 0, 0, 0]),
        (1e-300, [1, 0, 0, 0, 0]),
    ],
)
def test_the_nucleus_at_its_edges(edge_library, top_p, expected):
    x = edge_library([np.log(4), np.log(2), np.log(2), np.log(1), -INF])  # 4/9, 2/9, 2/9, 1/9, 0
    mask = nucleus_mask(x, top_p)
    assert str(mask.dtype).endswith("bool")
    assert to_numpy(mask).tolist() == [bool(e) for e in expected]


def test_the_whole_nucleus_keeps_what_rounds_to_probability_0():
    mask = nucleus_mask(np.array([0.0, -2000.0, -INF]), 1.0)
    assert mask.tolist() == [True, True, False]


def test_filters_mark_nothing_that_is_excluded_and_count_only_the_rest(edge_library):
    x, where = edge_library([3.0, 2.0, 1.0, 0.0]), edge_library(np.array([False, True, True, True]))
    assert to_numpy(top_k_mask(x, 2, where=where)).tolist() == [False, True, True, False]
    assert to_numpy(top_k_mask(x, 9, where=where)).tolist() == [False, True, True, True]
    # Among the three: 0.665, 0.245, 0.090.
    assert to_numpy(nucleus_mask(x, 0.6, where=where)).tolist() == [False, True, False, False]
    nothing = edge_library(np.zeros(4, dtype=bool))
    assert not to_numpy(top_k_mask(x, 2, where=nothing)).any()
    assert not to_numpy(nucleus_mask(x, 0.5, where=nothing)).any()


@pytest.mark.parametrize("row", [[NAN, 0.0], [INF, 0.0], [-INF, -INF]])
def test_a_slice_without_a_distribution_stays_one_and_cannot_be_drawn_from(edge_library, row):
    x = edge_library(np.array([row, [1.0, 0.0]]))
    u = edge_library(np.full((2, 2), 0.5))
    for mask in (top_k_mask(x, 1), nucleus_mask(x, 0.5)):
        assert to_numpy(mask).tolist() == [[True, True], [True, False]]
    y = to_numpy(gumbel_softmax(x, u, temperature=1.0))
    assert np.isnan(y[0]).all()
    assert np.isfinite(y[1]).all()
    draw, _ = straight_through(x, u, temperature=1.0)
    assert np.isnan(to_numpy(draw)[0]).all()
    calls = (
        lambda: gumbel_max(x, u),
        lambda: inverse_cdf(x, u[:, 0]),
        lambda: gumbel_top_k(x, 1, u),
    )
    for call in calls:
        if edge_library.name == "dask":
            assert np.ravel(to_numpy(call())).tolist() == [-1, 0]
        else:
            with pytest.raises(ValueError, match="1 or more scores above -inf"):
                call()


def test_with_every_class_excluded_relaxed_draws_are_0_and_gradients_too():
    x = torch.tensor([[NAN, INF], [0.0, 1.0]], dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[False, False], [True, True]])
    u = torch.full((2, 2), 0.5, dtype=torch.float64)
    y = gumbel_softmax(x, u, temperature=0.5, where=mask)
    y[:, 0].sum().backward()
    assert y[0].tolist() == [0, 0]
    assert x.grad[0].tolist() == [0, 0]
    draw, pull_back = straight_through(x.detach(), u, temperature=0.5, where=mask)
    assert draw.tolist() == [[0, 0], [0, 1]]
    assert pull_back(torch.ones(2, 2, dtype=torch.float64))[0].tolist() == [0, 0]


def test_any_axis_will_do_and_draws_broadcast(quick_library):
    x = np.array([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0]])
    u = uniforms((7, 3, 2), 21)
    expected = gumbel_max(x, np.moveaxis(u, 1, 2))
    for axis in (1, -2):
        draws = gumbel_max(quick_library(x.T), quick_library(u), axis=axis)
        np.testing.assert_array_equal(to_numpy(draws), expected)
    top = to_numpy(gumbel_top_k(quick_library(x.T), 2, quick_library(u), axis=1))
    assert top.shape == (7, 2, 2)
    np.testing.assert_array_equal(top[:, 0], expected)
    y = to_numpy(gumbel_softmax(quick_library(x.T), quick_library(u), temperature=1.0, axis=1))
    np.testing.assert_array_equal(y.argmax(1), expected)
    hard, _ = straight_through(quick_library(x.T), quick_library(u), temperature=1.0, axis=1)
    np.testing.assert_array_equal(to_numpy(hard).argmax(1), expected)
    cdf = inverse_cdf(quick_library(x.T), quick_library(u[:, 0]), axis=0)
    np.testing.assert_array_equal(to_numpy(cdf), inverse_cdf(x, u[:, 0]))
    for f in (lambda t, a: top_k_mask(t, 2, axis=a), lambda t, a: nucleus_mask(t, 0.7, axis=a)):
        np.testing.assert_array_equal(to_numpy(f(quick_library(x.T), 0)), f(x, 1).T)


def test_masks_broadcast_and_follow_the_axis(quick_library):
    x, where = np.array([[2.0, 0.0], [1.0, 0.0], [0.0, 0.0]]), np.array([[False], [True], [True]])
    u = uniforms((50, 3, 2), 22)
    t, mask = quick_library(x), quick_library(where)
    assert 0 not in to_numpy(gumbel_max(t, quick_library(u), axis=-2, where=mask))
    assert 0 not in to_numpy(inverse_cdf(t, quick_library(u[:, 0]), axis=0, where=mask))
    assert to_numpy(top_k_mask(t, 1, axis=0, where=mask))[0].tolist() == [False, False]
    assert 0 not in to_numpy(sample(t, quick_library(u), axis=-2, where=mask, top_k=2, top_p=0.9))


def test_dtypes_are_kept_and_the_input_is_not_changed(edge_library):
    values = np.array([[1, 3, 2]], dtype="float32")
    x, u = edge_library(values.copy()), edge_library(np.array([[0.1, 0.5, 0.9]], dtype="float32"))
    assert same_kind(gumbel_softmax(x, u, temperature=1.0), x)
    assert same_kind(straight_through(x, u, temperature=1.0)[0], x)
    gumbel_max(x, u)
    nucleus_mask(x, 0.5)
    np.testing.assert_array_equal(to_numpy(x), values)
    y = gumbel_softmax(torch.zeros(3, dtype=torch.float16), torch.rand(3), temperature=0.1)
    assert y.dtype == torch.float16


def test_integers_are_scores_too():
    u = uniforms((5000, 2), 23)
    assert p_value(gumbel_max(np.array([1, 0]), u), probabilities([1.0, 0.0])) > ALARM
    assert top_k_mask([3, 1, 2], 2).tolist() == [True, False, True]
    assert nucleus_mask([3, 1, 2], 0.5).tolist() == [True, False, False]
    wide = np.array([-128, 127, 127], dtype=np.int8)
    assert set(gumbel_max(wide, uniforms((100, 3), 24)).tolist()) == {1, 2}
    assert set(inverse_cdf(wide, uniforms(100, 24)).tolist()) == {1, 2}


TEMPERED = [
    lambda t: gumbel_max([1.0, 0.0], [0.5, 0.5], temperature=t),
    lambda t: gumbel_softmax([1.0, 0.0], [0.5, 0.5], temperature=t),
    lambda t: straight_through([1.0, 0.0], [0.5, 0.5], temperature=t),
    lambda t: inverse_cdf([1.0, 0.0], [0.5], temperature=t),
    lambda t: nucleus_mask([1.0, 0.0], 0.5, temperature=t),
    lambda t: sample([1.0, 0.0], [0.5, 0.5], temperature=t),
]


@pytest.mark.parametrize("call", TEMPERED)
def test_temperature_0_names_its_limit_and_others_their_range(call):
    with pytest.raises(ValueError, match=r"above 0 and finite, got 0\.0; in the limit 0 .* argmax"):
        call(0.0)
    for value in (-1.0, INF, NAN):
        with pytest.raises(ValueError, match=f"must be above 0 and finite, got {value}"):
            call(value)
    with pytest.raises(TypeError, match="temperature must be one number, got list"):
        call([1.0])


@pytest.mark.parametrize("value", [-0.1, 1.5])
def test_draws_outside_0_and_1_are_refused(quick_library, value):
    x, u = quick_library([1.0, 0.0]), quick_library([0.5, value])
    for call in (
        lambda: gumbel_noise(u),
        lambda: gumbel_max(x, u),
        lambda: gumbel_softmax(x, u, temperature=1.0),
        lambda: inverse_cdf(x, u),
    ):
        with pytest.raises(ValueError, match="uniform draws from 0 to 1"):
            call()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: top_k_mask([1.0], 0), ValueError, "k must be at least 1, got 0"),
        (lambda: top_k_mask([1.0], 1.5), TypeError, "^k must be an integer, got float"),
        (lambda: gumbel_top_k([1.0], 1.5, [0.5]), TypeError, "^k must be an integer, got float"),
        (lambda: gumbel_top_k([1.0], 2, [0.5]), ValueError, "k must be from 1 to the 1 classes"),
        (lambda: gumbel_top_k([1.0], 0, [0.5]), ValueError, "k must be from 1 .* got 0"),
        (
            lambda: gumbel_top_k([1.0, -INF], 2, [0.5, 0.5]),
            ValueError,
            "each slice of logits needs 2 or more scores above -inf",
        ),
        (lambda: nucleus_mask([1.0], 0.0), ValueError, r"top_p must be above 0 .* got 0\.0"),
        (lambda: nucleus_mask([1.0], 1.1), ValueError, r"top_p must be above 0 .* got 1\.1"),
        (lambda: nucleus_mask([1.0], NAN), ValueError, "top_p must be above 0 .* got nan"),
        (lambda: gumbel_max(np.empty((2, 0)), np.empty((2, 0))), ValueError, "no class to draw"),
        (lambda: inverse_cdf(np.empty((2, 0)), [0.5]), ValueError, "no class to draw"),
        (lambda: gumbel_max(np.zeros(2), torch.rand(2)), TypeError, "one library"),
        (lambda: gumbel_max("ab", [0.5]), TypeError, "an array, a list or a number"),
        (lambda: top_k_mask(np.array([1j]), 1), TypeError, "real numbers"),
        (lambda: top_k_mask([1.0, 2.0], 1, where=[1, 0]), TypeError, "where must be boolean"),
        (lambda: gumbel_max([1.0, 2.0], [0.5, 0.5], where=[[True], [True]]), ValueError, "where"),
    ],
)
def test_wrong_arguments_are_refused_in_words(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_filters_of_no_classes_are_empty(edge_library):
    x = edge_library(np.empty((2, 0)))
    assert top_k_mask(x, 1).shape == nucleus_mask(x, 0.5).shape == (2, 0)
    assert gumbel_max(edge_library(np.empty((0, 3))), edge_library(np.empty((0, 3)))).shape == (0,)


# --- proofs


@pytest.mark.claim("prop-gumbel-noise")
def test_proof_that_the_noise_has_its_distribution_function():
    assert proofs.noise_residual() == 0


@pytest.mark.claim("thm-gumbel-max")
@pytest.mark.claim("cor-gumbel-value")
def test_proof_that_the_winner_is_distributed_by_softmax_and_its_value_does_not_depend_on_it():
    assert proofs.winner_residual().is_zero_matrix
    assert proofs.value_residual() == 0


@pytest.mark.claim("thm-gumbel-top-k")
def test_proof_that_the_first_two_follow_plackett_and_luce():
    assert proofs.top_two_residual() == 0


@pytest.mark.claim("prop-relaxation-bias")
def test_proof_of_the_mean_of_a_relaxed_draw():
    assert proofs.relaxation_bias_residual().is_zero_matrix


@pytest.mark.claim("prop-straight-through")
def test_proof_of_the_mean_of_straight_through():
    assert proofs.straight_through_residual().is_zero_matrix


@pytest.mark.claim("prop-score-function")
def test_proof_that_the_score_function_estimate_is_unbiased():
    assert proofs.score_function_residual() == 0
