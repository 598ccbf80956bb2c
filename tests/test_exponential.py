"""The exponential: what shift invariance leaves, and the distribution of largest entropy."""

import jax
import mpmath
import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import sympy as sp
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from softmax_notes.choice import matching_law
from softmax_notes.exponential import entropy, maximum_entropy
from softmax_notes.symbolic import exponential as proofs
from tests.libraries import LIBRARIES, same_kind, to_numpy
from tests.pytorch import torch

INF, NAN = np.inf, np.nan
INCREASING = {
    "exp": np.exp,
    "exp2": np.exp2,
    "softplus": lambda x: np.logaddexp(0, x),
    "cubic": lambda x: 1000 + x**3,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
}

scores = npst.arrays(
    "float64", st.integers(2, 6), elements=st.integers(-40, 40).map(lambda k: k / 8)
)
inner = st.floats(0.001, 0.999)


def mean_inside(x, share):
    """A mean that lies the given share of the way from the smallest to the largest score."""
    assume(np.ptp(x) > 0)
    return float(x.min() + share * np.ptp(x))


def distributions_of_mean(x, mean, random, count=20):
    """Random distributions with exactly this mean: mixtures of pairs on both sides of it."""
    above, below = np.flatnonzero(x > mean), np.flatnonzero(x <= mean)
    for _ in range(count):
        p = np.zeros_like(x)
        for i in above:
            for j in below:
                share, weight = (mean - x[j]) / (x[i] - x[j]), random.exponential() ** 3
                p[i], p[j] = p[i] + weight * share, p[j] + weight * (1 - share)
        yield p / p.sum()


# --- laws


@pytest.mark.claim("prop-increasing")
@pytest.mark.parametrize("u", INCREASING.values(), ids=INCREASING)
@given(scores)
def test_an_increasing_utility_keeps_the_order_and_its_inverse_reverses_it(u, x):
    order = np.sign(np.subtract.outer(x, x))
    p, q = matching_law(u(x)), matching_law(1 / u(x))
    np.testing.assert_array_equal(np.sign(np.subtract.outer(p, p)), order)
    np.testing.assert_array_equal(np.sign(np.subtract.outer(q, q)), -order)


@pytest.mark.claim("thm-exponential")
@given(scores, st.floats(0.1, 10), st.floats(-3, 3), st.floats(-10, 10))
def test_exponentials_are_shift_invariant_and_are_softmax_at_a_scale(x, factor, beta, c):
    p = matching_law(factor * np.exp(beta * (x + c)))
    np.testing.assert_allclose(p, torch.softmax(torch.tensor(beta * x), 0), rtol=1e-12)


@pytest.mark.claim("thm-exponential")
@pytest.mark.parametrize("name", ["softplus", "cubic", "sigmoid"])
@given(st.floats(0.5, 5))
def test_other_increasing_utilities_notice_a_shift(name, c):
    u, x = INCREASING[name], np.array([0.0, 1.0])
    assert abs(matching_law(u(x + c)) - matching_law(u(x)))[0] > 1e-7


@pytest.mark.claim("lem-cauchy")
@given(*[st.fractions(-5, 5, max_denominator=9) for _ in range(4)])
def test_the_wild_function_is_additive_and_no_line(a, b, c, d):
    root = sp.sqrt(2)
    x, y = (sp.Rational(str(r)) + sp.Rational(str(s)) * root for r, s in ((a, b), (c, d)))
    assert proofs.wild(x + y) == proofs.wild(x) + proofs.wild(y)
    assert proofs.wild(x) == sp.Rational(str(a - b))
    assert (proofs.wild(x) == x) == (b == 0)


@pytest.mark.claim("prop-mean-increasing")
@given(scores, st.floats(-4, 4))
def test_the_mean_grows_with_the_scale_by_the_variance(x, alpha):
    assume(np.ptp(x) > 0)
    p = torch.softmax(torch.tensor(alpha * x), 0).numpy()
    variance = p @ (x - p @ x) ** 2
    step = 1e-5
    slope = (p_mean(x, alpha + step) - p_mean(x, alpha - step)) / (2 * step)
    np.testing.assert_allclose(slope, variance, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose([p_mean(x, -1e4), p_mean(x, 1e4)], [x.min(), x.max()])


def p_mean(x, alpha):
    """Mean of softmax, by PyTorch."""
    return float(torch.softmax(torch.tensor(alpha * x), 0) @ torch.tensor(x))


@pytest.mark.claim("thm-maximum-entropy")
@given(scores, inner, st.integers(0, 2**32 - 1))
def test_no_distribution_of_the_same_mean_has_more_entropy(x, share, seed):
    mean = mean_inside(x, share)
    p, alpha = maximum_entropy(x, mean)
    np.testing.assert_allclose(p @ x, mean, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(p, torch.softmax(torch.tensor(alpha * x), 0), rtol=1e-10)
    most = scipy.stats.entropy(p)
    for q in distributions_of_mean(x, mean, np.random.default_rng(seed)):
        np.testing.assert_allclose(q @ x, mean, rtol=1e-12, atol=1e-12)
        assert scipy.stats.entropy(q) <= most + 1e-12


@pytest.mark.claim("thm-maximum-entropy")
@given(scores, st.floats(-20, 20))
def test_the_scale_of_a_softmax_is_found_from_its_mean(quick_library, x, alpha):
    spread = np.ptp(x)
    assume(spread > 0)
    alpha = alpha / spread
    mean = p_mean(x, alpha)
    result = maximum_entropy(quick_library(x), mean)
    # The mean as a float determines the scale up to its rounding error over the variance.
    p = torch.softmax(torch.tensor(alpha * x), 0).numpy()
    variance = p @ (x - p @ x) ** 2
    slack = 8 * np.finfo(float).eps * np.abs(x).max() / variance + 1e-13 * (1 + abs(alpha))
    assert abs(float(to_numpy(result.alpha)) - alpha) <= slack


@pytest.mark.claim("prop-price")
@given(scores, st.floats(0.05, 0.95))
def test_the_scale_is_the_price_of_the_mean(x, share):
    mean = torch.tensor(mean_inside(x, share), dtype=torch.float64, requires_grad=True)
    p, alpha = maximum_entropy(torch.tensor(x), mean)
    by_formula = torch.logsumexp(alpha * torch.tensor(x), 0) - alpha * mean
    np.testing.assert_allclose(by_formula.detach(), scipy.stats.entropy(p.detach()), rtol=1e-10)
    entropy(p).backward()
    np.testing.assert_allclose(mean.grad, -alpha.detach(), rtol=1e-8, atol=1e-10)


@pytest.mark.claim("prop-price")
def test_a_score_at_the_mean_has_its_part_in_the_derivatives():
    x = torch.tensor([0.0, 0.0, 1.25, 2.5], dtype=torch.float64, requires_grad=True)
    mean = torch.tensor(1.25, dtype=torch.float64, requires_grad=True)
    for result in (0, 1):
        assert torch.autograd.gradcheck(lambda x, m, k=result: maximum_entropy(x, m)[k], (x, mean))
        assert torch.autograd.gradgradcheck(
            lambda x, m, k=result: maximum_entropy(x, m)[k], (x, mean)
        )


@pytest.mark.claim("prop-scale-bounds")
@given(scores, inner)
def test_the_scale_lies_between_its_bounds(x, share):
    mean = mean_inside(x, share)
    k = np.log1p((len(x) - 1) / np.e)
    low, high = -k / (mean - x.min()), k / (x.max() - mean)
    by_scipy = scipy.optimize.brentq(lambda a: p_mean(x, a) - mean, low, high, xtol=1e-14)
    np.testing.assert_allclose(maximum_entropy(x, mean).alpha, by_scipy, rtol=1e-8, atol=1e-10)


@pytest.mark.claim("prop-base")
@given(scores, st.floats(0.2, 12))
def test_another_base_is_another_temperature(x, base):
    t = torch.tensor(x, requires_grad=True)
    p = matching_law(base**t)
    by_softmax = torch.softmax(torch.tensor(x) * np.log(base), 0)
    np.testing.assert_allclose(p.detach(), by_softmax, rtol=1e-11)
    (gradient,) = torch.autograd.grad(p[0], t)
    q = by_softmax.numpy()
    expected = np.log(base) * q[0] * ((np.arange(len(x)) == 0) - q)
    np.testing.assert_allclose(gradient, expected, rtol=1e-9, atol=1e-14)


# --- references


@pytest.mark.claim("thm-maximum-entropy")
@pytest.mark.parametrize("mean", [1.2, 3.5, 4.5, 5.7])
def test_a_constrained_solver_finds_the_same_distribution(mean):
    x = np.arange(1.0, 7.0)
    solution = scipy.optimize.minimize(
        lambda p: np.sum(p * np.log(p)),
        np.full(6, 1 / 6),
        bounds=[(1e-9, 1)] * 6,
        constraints=[
            {"type": "eq", "fun": lambda p: p.sum() - 1},
            {"type": "eq", "fun": lambda p: p @ x - mean},
        ],
        options={"ftol": 1e-13},
        method="SLSQP",
    )
    assert solution.success
    np.testing.assert_allclose(maximum_entropy(x, mean).p, solution.x, atol=2e-6)
    np.testing.assert_allclose(entropy(maximum_entropy(x, mean).p), -solution.fun, rtol=1e-10)


@pytest.mark.parametrize("kind", ["near the top", "tiny gaps", "many scales", "flat middle"])
def test_the_scale_solves_the_balance_in_40_digits(kind):
    random = np.random.default_rng(3)
    x, means = {
        "near the top": (np.arange(6.0), 5 - 10.0 ** -np.arange(1, 15)),
        "tiny gaps": (np.r_[0, 1, 1e-6 * random.normal(size=8)], [1e-9, 1e-6, 0.1, 1 - 1e-9]),
        "many scales": (10.0 ** random.uniform(-12, 2, size=20), 10.0 ** np.arange(-10, 2)),
        # In the last case Newton's method ends on a bound, by rounding.
        "flat middle": (
            np.r_[-1, 1, [1e-3] * 500, [-1e-7] * 700, [1e-9] * 700],
            [-1e-4, 1e-8, 1e-4, 0.5, 0.514570991868592 * 2 - 1],
        ),
    }[kind]
    for mean in means:
        alpha = mpmath.mpf(float(maximum_entropy(x, mean).alpha))
        with mpmath.workdps(40):
            z = [mpmath.mpf(float(v)) - mpmath.mpf(float(mean)) for v in x]

            def excess(a, z=z):
                top = max(a * v for v in z)
                return mpmath.fsum(v * mpmath.exp(a * v - top) for v in z)

            slack = 1e-13 * (abs(alpha) + 1 / mpmath.mpf(float(np.ptp(x))))
            assert excess(alpha - slack) < 0 < excess(alpha + slack), mean


@pytest.mark.claim("lem-cauchy")
def test_the_wild_function_is_unbounded_on_every_short_interval():
    for low, width in ((0.0, 1.0), (0.3, 1e-3)):
        largest = 0
        for b in range(1, 4000):
            a = int(np.ceil(low - b * np.sqrt(2)))
            if a + b * np.sqrt(2) < low + width and abs(a - b) > largest:
                largest = abs(a - b)
                point = sp.Integer(a) + b * sp.sqrt(2)
        assert abs(proofs.wild(point)) == largest > 5000
        assert low <= float(point) <= low + width


def test_entropy_is_scipys_and_pytorchs():
    p = np.random.default_rng(0).dirichlet(np.ones(5), size=(2, 3))
    p[0, 0] = [0, 0.5, 0, 0.5, 0]
    np.testing.assert_allclose(entropy(p), scipy.stats.entropy(p, axis=-1), rtol=1e-14)
    by_pytorch = torch.distributions.Categorical(torch.tensor(p[1])).entropy()
    np.testing.assert_allclose(entropy(p[1]), by_pytorch, rtol=1e-14)
    joint = p / 6
    terms = joint[joint > 0]
    np.testing.assert_allclose(entropy(joint, axis=None), -(terms * np.log(terms)).sum())
    np.testing.assert_allclose(entropy(p.T, axis=0), scipy.stats.entropy(p, axis=-1).T, rtol=1e-14)


@pytest.mark.claim("prop-increasing")
def test_a_decreasing_utility_puts_the_goose_first():
    p = matching_law(np.exp(-np.array([2.0, 1.0, 0.0])))
    np.testing.assert_allclose(p, torch.softmax(torch.tensor([-2.0, -1.0, 0.0]), 0), rtol=1e-6)
    assert p.argmax() == 2
    p = matching_law(np.array([-3.0, 1.0]) ** 2 + 1)  # not monotone
    np.testing.assert_allclose(p, [10 / 12, 2 / 12], rtol=1e-15)


def test_pytorch_differentiates_our_code_once_and_twice():
    options = {"dtype": torch.float64, "requires_grad": True}
    x = torch.tensor([[1.0, 2.0, 4.0], [0.0, 1.0, 1.0]], **options)
    mean = torch.tensor([1.5, 0.9], **options)
    for k in (0, 1):
        assert torch.autograd.gradcheck(lambda a, b, k=k: maximum_entropy(a, b)[k], (x, mean))
        assert torch.autograd.gradgradcheck(lambda a, b, k=k: maximum_entropy(a, b)[k], (x, mean))
    p = torch.tensor([[0.2, 0.8], [0.5, 0.5]], **options)
    assert torch.autograd.gradcheck(entropy, p)


# --- edges

CASES = [
    # scores, included, mean, p, alpha
    ([0, 1, 1], [1, 1, 1], 1, [0, 0.5, 0.5], INF),
    ([0, 0, 1], [1, 1, 1], 0, [0.5, 0.5, 0], -INF),
    ([2, 2, 2], [1, 1, 1], 2, [1 / 3] * 3, 0),
    ([-INF, 0, 2], [1, 1, 1], 1, [0, 0.5, 0.5], 0),
    ([-INF, 0, 2], [1, 1, 1], 2, [0, 0, 1], INF),
    ([5, NAN, 7], [1, 0, 1], 6, [0.5, 0, 0.5], 0),
    ([5, INF, NAN], [1, 0, 0], 5, [1, 0, 0], 0),
    ([-1e308, 0, 1e308], [1, 0, 1], 5e307, [0.25, 0, 0.75], 0),
    ([0, NAN, 1], [1, 1, 1], 0.5, NAN, NAN),
    ([0, 1, INF], [1, 1, 1], 0.5, NAN, NAN),
    ([-INF, -INF, -INF], [1, 1, 1], 0.5, NAN, NAN),
    ([0, 1, 2], [0, 0, 0], 9, [0, 0, 0], NAN),
]


UNKNOWN = [*CASES, ([1, 6, 6], [1, 1, 1], 0.5, NAN, NAN), ([1, 6, 6], [1, 1, 1], NAN, NAN, NAN)]


def check(function, library, cases):
    x, mean = (np.array([case[k] for case in cases], dtype="float64") for k in (0, 2))
    mask = np.array([case[1] for case in cases], dtype=bool)
    with np.errstate(all="raise", under="ignore"):
        p, alpha = map(to_numpy, function(library(x), library(mean), where=library(mask)))
    for got, scale, (*_, expected, wanted) in zip(p, alpha, cases, strict=True):
        np.testing.assert_allclose(got, np.broadcast_to(expected, 3), rtol=1e-14)
        np.testing.assert_allclose(scale, wanted, atol=1e-307)


def test_the_contract_at_the_edges(quick_library):
    check(maximum_entropy, quick_library, CASES)


@pytest.mark.slow
def test_under_jit_and_in_dask_a_mean_out_of_range_gives_nan():
    check(jax.jit(maximum_entropy), LIBRARIES["jax"], UNKNOWN)
    check(maximum_entropy, LIBRARIES["dask"], UNKNOWN)


@pytest.mark.parametrize("mean", [6.5, 0.5, NAN, INF])
def test_a_mean_outside_the_scores_is_refused_where_it_is_known(quick_library, mean):
    x = quick_library(np.array([1.0, 6.0]))
    with pytest.raises(ValueError, match=r"smallest to the largest score, 1\.0 to 6\.0, got"):
        maximum_entropy(x, mean)


def test_a_slice_has_the_same_scale_beside_one_of_scores_far_smaller():
    x = np.array([[1e-300, 1.6, 6e-4, -5e-301], [0.0, 1.0, 1.0, 0.0]])
    assert maximum_entropy(x, np.array([-4.9e-301, 0.25])).alpha[1] == pytest.approx(-np.log(3))


def test_a_mean_must_fit_the_scores():
    with pytest.raises(ValueError, match=r"mean of shape \(3,\) does not broadcast .* \(2,\)"):
        maximum_entropy(np.zeros((2, 4)), np.zeros(3))


@pytest.mark.parametrize("axis", [0, 1, -1, (0, 1), None])
def test_any_axis_will_do(axis):
    x = np.random.default_rng(1).normal(size=(3, 4))
    mean = (x.mean(axis=axis) + x.max(axis=axis)) / 2
    p, alpha = maximum_entropy(x, mean, axis=axis)
    np.testing.assert_allclose(p.sum(axis=axis), 1, rtol=1e-13)
    np.testing.assert_allclose((p * x).sum(axis=axis), mean, rtol=1e-12)
    assert alpha.shape == x.sum(axis=axis).shape


def test_dtype_shape_and_device_are_kept_and_the_input_is_not_changed(quick_library):
    values = np.array([[1, 3], [2, 4]], dtype="float32")
    x = quick_library(values.copy())
    p, alpha = maximum_entropy(x, 2.5)
    assert all(same_kind(result, x) for result in (p, alpha, entropy(p)))
    np.testing.assert_allclose(to_numpy(p), [[0.25, 0.75], [0.75, 0.25]], rtol=1e-6)
    np.testing.assert_array_equal(to_numpy(x), values)
    integers = maximum_entropy(quick_library(np.array([1, 3])), 2)
    assert float(integers.alpha) == 0


def test_half_precision_is_computed_in_float32():
    x = torch.tensor([1000.0, 1001.0, 1002.0], dtype=torch.float16)
    p, alpha = maximum_entropy(x, 1001)
    assert (p.dtype, alpha.dtype, float(alpha)) == (torch.float16, torch.float16, 0)
    flat = torch.full((60000,), 1 / 60000, dtype=torch.bfloat16)
    np.testing.assert_allclose(float(entropy(flat)), np.log(60000), rtol=1e-2)


def test_empty_axes(quick_library):
    p, alpha = maximum_entropy(quick_library(np.empty((2, 0))), 0.0)
    assert p.shape == (2, 0)
    assert np.isnan(to_numpy(alpha)).tolist() == [True, True]
    np.testing.assert_array_equal(to_numpy(entropy(quick_library(np.empty((2, 0))))), [0, 0])


def test_entropy_at_the_edges(library):
    p = library(np.array([[1.0, 0.0], [0.5, 0.5], [NAN, 1.0]]))
    with np.errstate(all="raise"):
        result = to_numpy(entropy(p))
    np.testing.assert_allclose(result, [0, np.log(2), NAN])
    assert np.copysign(1, result[0]) == 1
    if library.name in ("numpy", "torch", "strict"):
        with pytest.raises(ValueError, match=r"probabilities must be 0 or more, got -0\.5"):
            entropy(library(np.array([1.5, -0.5])))


def test_the_gradient_of_entropy_at_a_probability_of_0_is_0_and_not_nan():
    p = torch.tensor([0.0, 1.0], dtype=torch.float64, requires_grad=True)
    entropy(p).backward()
    assert p.grad.tolist() == [0, -1]


@pytest.mark.parametrize("function", [entropy, lambda x: maximum_entropy(x, 0.0)])
def test_what_is_no_array_of_real_numbers_is_refused(function):
    for x in ("a", [1j], np.ma.array([1.0], mask=[1]), None):
        with pytest.raises(TypeError):
            function(x)


# --- proofs


@pytest.mark.claim("prop-increasing")
def test_proof_that_probabilities_differ_as_utilities_do():
    assert proofs.order_residual() == 0


@pytest.mark.claim("lem-cauchy")
def test_proof_that_the_wild_function_is_additive():
    assert proofs.wild_residual() == 0


@pytest.mark.claim("thm-exponential")
def test_proof_that_the_smooth_solution_is_the_exponential_and_is_invariant():
    x, beta = sp.symbols("x beta", real=True)
    solution = sp.Symbol("A", positive=True) * sp.exp(beta * x)
    assert proofs.smooth_solution() == sp.Eq(sp.Function("u")(x), solution)
    assert all(proofs.shift_residual(n).is_zero_matrix for n in (2, 3))


@pytest.mark.claim("prop-mean-increasing")
def test_proof_that_the_slope_of_the_mean_is_the_variance():
    assert [proofs.mean_slope_residual(n) for n in (2, 3)] == [0, 0]


@pytest.mark.claim("thm-maximum-entropy")
def test_proof_by_lagrange_multipliers():
    assert all(proofs.lagrange_residual(n).is_zero_matrix for n in (2, 3))


@pytest.mark.claim("prop-price")
def test_proof_of_the_price():
    assert all(proofs.price_residual(n).is_zero_matrix for n in (2, 3))


@pytest.mark.claim("prop-scale-bounds")
def test_proof_of_the_two_inequalities_behind_the_bounds():
    assert proofs.scale_bound_residual().is_zero_matrix


@pytest.mark.claim("prop-base")
def test_proof_for_any_base():
    assert all(proofs.base_residual(n).is_zero_matrix for n in (2, 3))
    assert all(proofs.base_jacobian_residual(n).is_zero_matrix for n in (2, 3))
