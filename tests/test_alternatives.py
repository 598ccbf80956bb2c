"""Alternatives to softmax, the laws they keep, Fenchel–Young losses: laws, references, edges."""

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

from softmax_notes import softmax
from softmax_notes.alternatives import (
    LAWS,
    RULES,
    counterexample,
    entmax15,
    fenchel_young_loss,
    softplus_shares,
    sparsemax,
    spherical_softmax,
    squareplus_shares,
    taylor_softmax,
)
from softmax_notes.symbolic import alternatives as proofs
from tests.libraries import same_kind, to_numpy
from tests.pytorch import torch

INF, NAN = np.inf, np.nan
RATIOS = {
    spherical_softmax: np.square,
    taylor_softmax: lambda x: 1 + x + x**2 / 2,
    softplus_shares: lambda x: np.logaddexp(0, x),
    squareplus_shares: lambda x: (x + np.sqrt(x**2 + 4)) / 2,
}
PROJECTIONS = {entmax15: 1.5, sparsemax: 2.0}
LOSSES = {"softmax": softmax, "entmax15": entmax15, "sparsemax": sparsemax}

eighths = st.integers(-32, 32).map(lambda k: k / 8)
vectors = npst.arrays("float64", st.integers(1, 6), elements=eighths)


def bisected(x, exponent):
    """Find the threshold of a projection by halving an interval, with 40 digits."""
    with mpmath.workdps(40):
        a = mpmath.mpf(exponent)
        z = [(a - 1) * mpmath.mpf(float(v)) for v in x]

        def shares(threshold):
            return [max(v - threshold, mpmath.mpf(0)) ** (1 / (a - 1)) for v in z]

        low, high = max(z) - 1, max(z)
        for _ in range(100):
            middle = (low + high) / 2
            low, high = (middle, high) if mpmath.fsum(shares(middle)) > 1 else (low, middle)
        return np.array([float(p) for p in shares(low)])


def fee(p, exponent):
    if exponent == 1:
        return -scipy.special.entr(p).sum(axis=-1)
    return (np.power(p, exponent) - p).sum(axis=-1) / (exponent * (exponent - 1))


def distributions(n):
    rows = np.random.default_rng(n).dirichlet(np.ones(n), size=8)
    return np.concatenate([rows, np.full((1, n), 1 / n), np.eye(n)])


# --- laws

# Which law each rule keeps, as proved in the chapter; the rows are in the order of LAWS.
KEPT = """
               softmax spherical Taylor softplus squareplus entmax-1.5 sparsemax
distribution   yes     no        yes    yes      yes        yes        yes
full support   yes     no        yes    yes      yes        no         no
order          yes     no        no     yes      yes        yes        yes
strict order   yes     no        no     yes      yes        no         no
shift          yes     no        no     no       no         yes        yes
scale          no      yes       no     no       no         no         no
slope          yes     no        yes    yes      yes        yes        no
curvature      yes     no        yes    yes      yes        no         no
odds           yes     yes       yes    yes      yes        no         no
"""


@pytest.mark.claim("prop-ratio-laws")
@pytest.mark.claim("thm-projection-laws")
@pytest.mark.claim("prop-kinks")
def test_the_search_finds_the_table_that_is_proved():
    rows = [f"{'':13}  " + " ".join(RULES)]
    for law in LAWS:
        found = [counterexample(rule, law) for rule in RULES.values()]
        rows.append(" ".join([law, *("yes" if c is None else "no" for c in found)]))
    assert [row.split() for row in rows] == [row.split() for row in KEPT.strip("\n").split("\n")]


def test_what_the_search_finds_is_a_counterexample():
    def at(rule, law):
        return np.array(counterexample(RULES[rule], law).x)

    x = at("Taylor", "order")
    u = 1 + x + x**2 / 2
    assert x[0] > x[1]
    assert u[0] < u[1]
    assert at("spherical", "distribution").tolist() == [0, 0]  # 0/0
    high, low = at("sparsemax", "full support")
    assert high - low >= 1
    high, low = at("sparsemax", "slope")
    assert high - low == 1  # where the second score begins to get something
    high, low = at("entmax-1.5", "curvature")
    assert high - low == 2
    first, second, third = at("sparsemax", "odds")
    # By hand: alone (1 + gap) / 2; with the third the threshold is (sum - 1) / 3.
    threshold = (first + second + third - 1) / 3
    assert (first - threshold) / (second - threshold) != (1 + first - second) / (1 - first + second)


@pytest.mark.parametrize(
    ("law", "spoiled"),
    [
        ("distribution", lambda x: softmax(x) + 1e-8),
        ("distribution", lambda x: x / x.sum(axis=-1, keepdims=True)),
        ("full support", lambda x: np.where(softmax(x) < 0.01, 0.0, softmax(x))),
        ("order", lambda x: softmax(-x)),
        ("strict order", lambda x: softmax(np.minimum(x, 1))),
        ("shift", lambda x: softmax(x * np.abs(x).sum(axis=-1, keepdims=True))),
        ("scale", lambda x: softmax(x)),
        ("slope", lambda x: softmax(np.maximum(x, 0))),
        ("curvature", lambda x: softmax(np.maximum(x, 0) ** 2)),
        ("odds", lambda x: softmax(x - x.mean(axis=-1, keepdims=True) * x)),
    ],
)
def test_the_search_catches_a_rule_that_is_spoiled_on_purpose(law, spoiled):
    with np.errstate(divide="ignore", invalid="ignore"):
        assert counterexample(spoiled, law) is not None


def test_a_smooth_rule_is_not_taken_for_one_with_a_kink():
    assert counterexample(lambda x: softmax(2 * np.sin(x)), "curvature") is None
    # The cube has a slope and a curvature everywhere, and no third derivative at 0.
    assert counterexample(lambda x: softmax(np.abs(x) ** 3 / 40), "curvature") is None


@pytest.mark.claim("prop-ratio-softmax")
@given(x=vectors, data=st.data())
def test_shares_are_softmax_of_the_logarithms_of_the_strengths(quick_library, x, data):
    rule = data.draw(st.sampled_from(list(RATIOS)))
    u = RATIOS[rule](x)
    assume(u.sum() > 0)
    got = to_numpy(rule(quick_library(x)))
    np.testing.assert_allclose(got, u / u.sum(), rtol=1e-13, atol=1e-300)
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(got, torch.softmax(torch.tensor(np.log(u)), 0), rtol=1e-13)


@pytest.mark.claim("prop-ratio-laws")
@given(x=npst.arrays("float64", 4, elements=eighths), data=st.data())
def test_odds_of_shares_do_not_depend_on_who_else_is_there(quick_library, x, data):
    rule = data.draw(st.sampled_from(list(RATIOS)))
    assume(rule is not spherical_softmax or (x[:2] != 0).any())
    all_four, two = to_numpy(rule(quick_library(x))), to_numpy(rule(quick_library(x[:2])))
    np.testing.assert_allclose(all_four[0] * two[1], all_four[1] * two[0], rtol=1e-13)
    absent = to_numpy(
        rule(quick_library(x), where=quick_library(np.array([True, True, False, False])))
    )
    np.testing.assert_allclose(absent, [*two, 0, 0], rtol=1e-14)


@pytest.mark.claim("prop-scale-invariant")
@given(x=vectors, c=st.sampled_from([1e-150, 1e-3, 0.5, 3.0, 1e5, 1e150]))
def test_squares_forget_a_factor_and_so_cannot_be_continuous_at_0(quick_library, x, c):
    assume((x != 0).any())
    scaled = to_numpy(spherical_softmax(quick_library(c * x)))
    np.testing.assert_allclose(scaled, x**2 / (x**2).sum(), rtol=1e-12, atol=1e-300)


@pytest.mark.claim("prop-scale-invariant")
def test_a_rule_that_is_continuous_at_0_goes_there_as_the_scores_shrink():
    x = np.array([2.0, 1.0, -1.0])
    for name in ("softmax", "Taylor", "softplus", "squareplus", "entmax-1.5", "sparsemax"):
        np.testing.assert_allclose(RULES[name](1e-9 * x), [1 / 3] * 3, atol=1e-8)
    np.testing.assert_allclose(spherical_softmax(1e-9 * x), [4 / 6, 1 / 6, 1 / 6])


@pytest.mark.claim("thm-projection-laws")
@given(x=vectors, c=st.integers(-500, 500), data=st.data())
def test_projections_forget_a_shift_and_keep_the_order_and_the_names(quick_library, x, c, data):
    rule = data.draw(st.sampled_from(list(PROJECTIONS)))
    p = to_numpy(rule(quick_library(x)))
    assert np.all(p >= 0)
    np.testing.assert_allclose(p.sum(), 1, rtol=1e-15)
    np.testing.assert_allclose(to_numpy(rule(quick_library(x + c))), p, atol=1e-15)
    higher = x[:, None] > x[None, :]
    assert np.all((p[:, None] >= p[None, :])[higher])
    assert np.all((p[:, None] > p[None, :])[higher & (p[None, :] > 0)])
    assert np.all((p[:, None] == p[None, :])[x[:, None] == x[None, :]])
    order = data.draw(st.permutations(range(len(x))))
    np.testing.assert_allclose(to_numpy(rule(quick_library(x[order]))), p[order], atol=1e-15)


@pytest.mark.claim("thm-projection-form")
@given(x=vectors, data=st.data())
def test_a_projection_earns_more_than_any_other_distribution(x, data):
    rule = data.draw(st.sampled_from(list(PROJECTIONS)))
    p, others = rule(x), distributions(len(x))
    best = p @ x - fee(p, PROJECTIONS[rule])
    assert np.all(others @ x - fee(others, PROJECTIONS[rule]) <= best + 1e-14)


@pytest.mark.claim("prop-sparsemax-threshold")
@given(x=vectors)
def test_a_score_gets_something_if_the_others_exceed_it_by_less_than_1_in_all(quick_library, x):
    p = to_numpy(sparsemax(quick_library(x)))
    excess = np.maximum(x[:, None] - x[None, :], 0).sum(axis=0)
    np.testing.assert_array_equal(p > 0, excess < 1)  # sums of eighths: no rounding
    kept = x[p > 0]
    np.testing.assert_allclose(p[p > 0], kept - (kept.sum() - 1) / len(kept), atol=1e-15)


@pytest.mark.claim("prop-entmax-threshold")
@given(x=vectors)
def test_a_score_gets_something_if_the_squares_of_the_half_leads_sum_to_less_than_1(
    quick_library, x
):
    p = to_numpy(entmax15(quick_library(x)))
    excess = (np.maximum(x[:, None] - x[None, :], 0) ** 2 / 4).sum(axis=0)
    np.testing.assert_array_equal(p > 0, excess < 1)
    kept = x[p > 0] / 2
    threshold = kept.mean() - np.sqrt((1 - ((kept - kept.mean()) ** 2).sum()) / len(kept))
    np.testing.assert_allclose(p[p > 0], (kept - threshold) ** 2, atol=1e-15)


@pytest.mark.claim("thm-fenchel-young")
@given(data=st.data(), rule=st.sampled_from(list(LOSSES)))
def test_losses_are_not_negative_convex_and_0_only_at_the_prediction(quick_library, data, rule):
    x, z = data.draw(npst.arrays("float64", (2, 4), elements=eighths))
    y = data.draw(st.sampled_from(distributions(4).tolist()))

    p = LOSSES[rule](x)
    rows, targets = np.array([x, z, (x + z) / 2, x]), np.array([y, y, y, p])
    here, there, between, hit = to_numpy(
        fenchel_young_loss(quick_library(rows), quick_library(targets), rule=rule)
    )
    assert here >= -1e-14
    assert between <= (here + there) / 2 + 1e-14
    assert abs(hit) <= 1e-14
    # In these three the fee is at least 1/4 of a square away from any tangent.
    assert here >= ((p - np.array(y)) ** 2).sum() / 4 - 1e-14


@pytest.mark.claim("prop-loss-margin")
@given(x=npst.arrays("float64", 4, elements=eighths), rule=st.sampled_from(list(LOSSES)))
def test_a_loss_is_0_if_and_only_if_the_target_leads_by_the_margin(x, rule):
    margin = {"softmax": INF, "entmax15": 2.0, "sparsemax": 1.0}[rule]
    loss = float(fenchel_young_loss(x, [1.0, 0.0, 0.0, 0.0], rule=rule))
    if x[0] - x[1:].max() >= margin:
        assert loss == 0
    else:  # the smallest leads that are short of the margin are so by 1/8
        assert loss > 1e-4 or (rule == "softmax" and loss > 0)


# --- references


def test_every_library_gives_the_values_of_the_formulas(library):
    x = np.random.default_rng(0).normal(size=(2, 3, 4))
    for rule, u in RATIOS.items():
        p = rule(library(x), axis=1)
        assert same_kind(p, library(x))
        np.testing.assert_allclose(to_numpy(p), u(x) / u(x).sum(axis=1, keepdims=True), rtol=1e-13)


def test_projections_are_those_of_a_search_for_the_threshold(library):
    x = 2 * np.random.default_rng(0).normal(size=(2, 3, 4))
    for rule, exponent in PROJECTIONS.items():
        p = rule(library(x), axis=-1)
        assert same_kind(p, library(x))
        expected = np.apply_along_axis(bisected, -1, x, exponent)
        np.testing.assert_allclose(to_numpy(p), expected, atol=1e-15)


@pytest.mark.claim("thm-projection-form")
@pytest.mark.parametrize("rule", list(PROJECTIONS))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_projections_are_accurate_for_any_n_and_any_range(rule, dtype):
    random = np.random.default_rng(1)
    for n, scales in ((1, [1.0]), (25, [1e-8, 0.1, 1.0, 10.0, 1e6]), (200, [0.01])):
        for scale in scales:
            for center in (0.0, 1e3):
                x = (center + scale * random.normal(size=n)).astype(dtype)
                got = rule(x)
                np.testing.assert_allclose(
                    got, bisected(x, PROJECTIONS[rule]), atol=4 * np.finfo(dtype).eps
                )
                assert got.dtype == x.dtype


def test_with_very_many_classes_a_projection_still_sums_to_1():
    for rule in PROJECTIONS:
        for x in (np.zeros(100_000, "float32"), np.linspace(0, 1e-4, 100_000, dtype="float32")):
            np.testing.assert_allclose(rule(x).sum(dtype="float64"), 1, rtol=1e-5)


@pytest.mark.claim("thm-projection-form")
@pytest.mark.parametrize("rule", list(PROJECTIONS))
@pytest.mark.parametrize("x", [[0.3, -1.2, 2.0], [0.5, 0.4, 0.0, -0.1], [1.0, 1.0, 0.0]])
def test_a_convex_solver_finds_the_projections(rule, x):
    x = np.array(x)
    found = scipy.optimize.minimize(
        lambda p: fee(p, PROJECTIONS[rule]) - p @ x,
        np.full(len(x), 1 / len(x)),
        bounds=[(0, 1)] * len(x),
        constraints={"type": "eq", "fun": lambda p: p.sum() - 1},
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 500},
    )
    assert found.success
    np.testing.assert_allclose(rule(x), found.x, atol=2e-6)


def test_a_score_at_the_threshold_gets_no_negative_share_by_rounding():
    # Found by a search: the last score is inside by its sum of leads, and below the threshold.
    x = [0.0050409206149430895, 0.013629455612002784, 0.03739122868116254, 0.047225898449321]
    p = sparsemax([*x, 0.04995864885920386, -0.16935076955667333])
    assert p.min() == 0


def test_sparsemax_is_the_nearest_distribution():
    # The definition of the projection, by a solver for least squares.
    random = np.random.default_rng(2)
    for _ in range(5):
        x = random.normal(size=5)
        # min ‖p - x‖² with p ≥ 0; the sum is enforced by a heavy row
        A, b = np.vstack([np.eye(5), 1e6 * np.ones(5)]), np.append(x, 1e6)
        nearest, _ = scipy.optimize.nnls(A, b)
        np.testing.assert_allclose(sparsemax(x), nearest, atol=1e-9)


# By hand: thresholds 1/8, 1 and -1/3; √p₂ = (√7 - 1) / 4 for a gap of 1.
@pytest.mark.parametrize(
    ("rule", "x", "expected"),
    [
        (sparsemax, [0.75, 0.5, -1.0], [0.625, 0.375, 0.0]),
        (sparsemax, [2.0, 0.0], [1.0, 0.0]),
        (sparsemax, [0.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3]),
        (entmax15, [1.0, 0.0], [((7**0.5 - 1) / 4 + 0.5) ** 2, ((7**0.5 - 1) / 4) ** 2]),
        (entmax15, [2.0, 0.0], [1.0, 0.0]),
        (entmax15, [4.0, 4.0, 0.0], [0.5, 0.5, 0.0]),
        (spherical_softmax, [2.0, -1.0, 0.0], [0.8, 0.2, 0.0]),
        (taylor_softmax, [-1.0, -2.0], [1 / 3, 2 / 3]),
        (squareplus_shares, [1.5, -1.5], [0.8, 0.2]),
    ],
)
def test_values_worked_out_by_hand(rule, x, expected):
    np.testing.assert_allclose(rule(x), expected, rtol=1e-14)


def test_strengths_past_the_range_of_floats_do_no_harm():
    with np.errstate(all="raise", under="ignore"):
        np.testing.assert_allclose(spherical_softmax([1e200, 2e200]), [0.2, 0.8], rtol=1e-12)
        np.testing.assert_allclose(taylor_softmax([1e200, 2e200]), [0.2, 0.8], rtol=1e-12)
        np.testing.assert_allclose(squareplus_shares([-3e300, -1e300]), [0.25, 0.75], rtol=1e-12)
        # Far below 0 softplus is e^x.
        far = np.array([-800.0, -801.0])
        np.testing.assert_allclose(softplus_shares(far), torch.softmax(torch.tensor(far), 0))
        for rule in PROJECTIONS:
            big = np.finfo("float64").max
            assert rule(np.array([big, -big])).tolist() == [1, 0]
    # No jump where the logarithm of softplus changes its form.
    with mpmath.workdps(40):
        for x in (-3.0, -10.0, -19.999, -20.001, -40.0):
            strengths = [mpmath.log1p(mpmath.exp(v)) for v in (x, -18.0)]
            expected = [float(s / sum(strengths)) for s in strengths]
            np.testing.assert_allclose(softplus_shares([x, -18.0]), expected, rtol=1e-13)


@pytest.mark.claim("prop-projection-jacobian")
@given(x=npst.arrays("float64", 5, elements=st.floats(-1.5, 1.5)))
def test_pytorch_finds_the_jacobian_of_projections(x):
    for rule, exponent in PROJECTIONS.items():
        p = rule(x)
        z = np.sort(x)[::-1] * (exponent - 1)
        # Not at a kink: the score that is next to enter or to leave is clear of the threshold.
        excess = np.array([(np.maximum(z - v, 0) ** (1 / (exponent - 1))).sum() for v in z])
        assume(np.abs(excess - 1).min() > 1e-6)
        found = torch.autograd.functional.jacobian(rule, torch.tensor(x)).numpy()
        s = np.where(p > 0, p ** (2 - exponent), 0.0)
        np.testing.assert_allclose(found, np.diag(s) - np.outer(s, s) / s.sum(), atol=1e-12)


@pytest.mark.claim("prop-projection-jacobian")
def test_softmax_has_a_jacobian_of_the_same_form():
    x = torch.tensor([0.3, -1.2, 2.0], dtype=torch.float64)
    s = torch.softmax(x, 0)
    expected = torch.diag(s) - torch.outer(s, s) / s.sum()
    torch.testing.assert_close(torch.autograd.functional.jacobian(softmax, x), expected)


@pytest.mark.claim("prop-kinks")
def test_one_sided_slopes_and_curvatures_at_the_end_of_the_support():
    def second_share(rule, gap):
        return float(rule([gap, 0.0])[1])

    h = 1e-4
    below = (second_share(sparsemax, 1.0) - second_share(sparsemax, 1 - h)) / h
    above = (second_share(sparsemax, 1 + h) - second_share(sparsemax, 1.0)) / h
    np.testing.assert_allclose([below, above], [-0.5, 0], atol=1e-10)
    values = [second_share(entmax15, 2 + k * h) for k in (-2, -1, 0, 1, 2)]
    np.testing.assert_allclose(np.diff(values) / h, 0, atol=1e-4)
    curvatures = [values[0] - 2 * values[1] + values[2], values[2] - 2 * values[3] + values[4]]
    np.testing.assert_allclose(np.array(curvatures) / h**2, [0.5, 0], atol=1e-3)


@pytest.mark.claim("thm-fenchel-young")
@pytest.mark.parametrize("rule", list(LOSSES))
def test_the_gradient_of_a_loss_is_the_prediction_minus_the_target(rule):
    random = np.random.default_rng(3)
    x = np.concatenate([random.normal(size=(20, 4)), [[1.0, 0, 0, 0], [2, 0, 0, 0], [0, 0, 0, 0]]])
    y = np.concatenate([random.dirichlet(np.ones(4), size=10), np.eye(4)[np.arange(13) % 4]])
    scores = torch.tensor(x, requires_grad=True)
    fenchel_young_loss(scores, torch.tensor(y), rule=rule).sum().backward()
    np.testing.assert_allclose(scores.grad, LOSSES[rule](x) - y, atol=1e-14)
    # A soft target that is the prediction itself: not taken for a class to leave out.
    hit = torch.tensor(x[:3], requires_grad=True)
    fenchel_young_loss(hit, torch.softmax(hit.detach(), -1), rule="softmax").sum().backward()
    np.testing.assert_allclose(hit.grad, 0, atol=1e-15)
    # And by differences of the loss, without automatic differentiation.
    h = 1e-6
    for i, step in enumerate(h * np.eye(4)):
        up, down = (fenchel_young_loss(x + s * step, y, rule=rule) for s in (1, -1))
        np.testing.assert_allclose((up - down) / (2 * h), (LOSSES[rule](x) - y)[:, i], atol=1e-6)


@pytest.mark.claim("cor-logistic-loss")
def test_the_loss_of_softmax_is_pytorchs_cross_entropy_minus_the_entropy_of_the_target(library):
    random = np.random.default_rng(4)
    x, y = random.normal(size=(6, 4)) * 3, random.dirichlet(np.ones(4), size=6)
    y[:4] = np.eye(4)
    theirs = torch.nn.functional.cross_entropy(
        torch.tensor(x), torch.tensor(y), reduction="none"
    ).numpy()
    ours = fenchel_young_loss(library(x), library(y))
    np.testing.assert_allclose(to_numpy(ours), theirs - scipy.special.entr(y).sum(1), atol=2e-14)


@pytest.mark.claim("prop-sparsemax-loss")
@given(x=npst.arrays("float64", 4, elements=eighths))
def test_the_sparsemax_loss_is_half_a_squared_distance_plus_what_was_ruled_out(x):
    p = bisected(x, 2)
    threshold = (x[p > 0] - p[p > 0])[0]
    for y in distributions(4):
        slack = np.maximum(threshold - x, 0)
        expected = ((y - p) ** 2).sum() / 2 + y @ slack
        got = fenchel_young_loss(x, y, rule="sparsemax")
        np.testing.assert_allclose(got, expected, atol=1e-13)


@pytest.mark.claim("prop-log-loss")
@pytest.mark.parametrize("rule", [taylor_softmax, softplus_shares, squareplus_shares, softmax])
def test_the_log_loss_of_a_ratio_rule_has_the_extra_factor_of_the_strength(rule):
    strengths = {
        taylor_softmax: lambda x: torch.log(1 + x + x**2 / 2),
        softplus_shares: lambda x: torch.log(torch.nn.functional.softplus(x)),
        squareplus_shares: lambda x: torch.log((x + torch.sqrt(x**2 + 4)) / 2),
        softmax: lambda x: x,
    }
    x = torch.tensor([0.3, -1.2, 2.0], dtype=torch.float64, requires_grad=True)
    (-torch.log(rule(x)[1])).backward()
    z = x.detach().requires_grad_()
    strengths[rule](z).sum().backward()
    y = torch.tensor([0.0, 1.0, 0.0])
    torch.testing.assert_close(x.grad, z.grad * (rule(z.detach()) - y), rtol=1e-12, atol=1e-12)


@pytest.mark.claim("thm-no-loss")
def test_only_the_jacobians_of_projections_are_symmetric():
    x = torch.tensor([0.3, -0.9, 1.1], dtype=torch.float64)
    for rule in (softmax, entmax15, sparsemax):
        jacobian = torch.autograd.functional.jacobian(rule, x)
        torch.testing.assert_close(jacobian, jacobian.T)
    for rule in RATIOS:
        jacobian = torch.autograd.functional.jacobian(rule, x)
        assert (jacobian - jacobian.T).abs().max() > 0.005


@pytest.mark.claim("thm-no-loss")
def test_what_a_walk_around_a_rectangle_earns_is_not_0_for_a_ratio_rule():
    # If p - y were a gradient, p along a closed path would sum to 0.
    corners = np.array([[-0.5, 0.0], [0.25, 0.0], [0.25, 0.25], [-0.5, 0.25], [-0.5, 0.0]])
    nodes, weights = np.polynomial.legendre.leggauss(20)

    def earned(rule):
        return sum(
            w / 2 * (rule(a + (t + 1) / 2 * (b - a)) @ (b - a))
            for a, b in pairwise(corners)
            for t, w in zip(nodes, weights, strict=True)
        )

    assert abs(earned(softmax)) < 1e-14
    assert abs(earned(entmax15)) < 1e-12
    assert abs(earned(sparsemax)) < 1e-12
    for rule in (taylor_softmax, softplus_shares, squareplus_shares):
        assert abs(earned(rule)) > 1e-4


@pytest.mark.parametrize("rule", list(RULES.values()))
def test_derivatives_are_right_and_gradients_finite(rule):
    x = torch.tensor([[0.3, -1.2, 0.9], [0.1, 0.25, 0.0]], dtype=torch.float64, requires_grad=True)
    smooth = x.detach()[:1].clone().requires_grad_() if rule is spherical_softmax else x
    assert torch.autograd.gradcheck(lambda t: rule(t), smooth)
    rule(x)[..., 0].sum().backward()
    assert torch.isfinite(x.grad).all()


def test_the_share_of_a_zero_score_has_slope_0_in_the_spherical_softmax():
    x = torch.tensor([0.0, 2.0, 1.0], dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(spherical_softmax, x)
    assert jacobian[:, 0].tolist() == [0, 0, 0]
    np.testing.assert_allclose(jacobian[1, 1], 2 * 2 / 5 - 4 * 4 / 25)


def test_jax_compiles_and_differentiates_the_projections():
    x = np.array([0.3, -1.2, 0.9, 0.2])
    for rule, exponent in PROJECTIONS.items():
        np.testing.assert_allclose(jax.jit(rule)(x), bisected(x, exponent), atol=1e-15)
        p = rule(x)
        s = np.where(p > 0, p ** (2 - exponent), 0.0)
        np.testing.assert_allclose(
            jax.jit(jax.jacobian(rule))(x), np.diag(s) - np.outer(s, s) / s.sum(), atol=1e-14
        )


# --- edges


@pytest.mark.parametrize("name", list(RULES))
def test_the_contract_at_the_edges(quick_library, name):
    rows = [[NAN, 0], [INF, 0], [INF, -INF], [-INF, -INF], [-INF, 3], [2, 2]]
    expected = [[NAN, NAN]] * 4 + [[0, 1], [0.5, 0.5]]
    if name in ("spherical", "Taylor"):  # whose strength is infinite at -inf too
        expected[4] = [NAN, NAN]
    with np.errstate(all="raise", under="ignore"):
        for dtype in ("float32", "float64"):
            got = to_numpy(RULES[name](quick_library(rows, dtype)))
            np.testing.assert_allclose(got, expected, rtol=2e-7)


def test_zeros_have_no_shares_by_squares(quick_library):
    assert np.isnan(to_numpy(spherical_softmax(quick_library([0.0, 0.0])))).all()


@pytest.mark.parametrize("name", list(RULES))
def test_what_is_excluded_counts_as_absent_whatever_it_holds(quick_library, name):
    rule, mask = RULES[name], quick_library([True, False, True])
    expected = rule(np.array([1.0, 0.5]))
    for hidden in (NAN, INF, -INF, 1e300):
        got = to_numpy(rule(quick_library([1.0, hidden, 0.5]), where=mask))
        np.testing.assert_allclose(got, [expected[0], 0, expected[1]], rtol=1e-15)
    nothing = quick_library([False, False, False])
    assert to_numpy(rule(quick_library([1.0, NAN, 2.0]), where=nothing)).tolist() == [0, 0, 0]
    x = torch.tensor([1.0, NAN, 0.5], dtype=torch.float64, requires_grad=True)
    rule(x, where=torch.tensor([True, False, True]))[0].backward()
    assert torch.isfinite(x.grad).all()
    assert x.grad[1] == 0


@pytest.mark.parametrize("name", list(RULES))
def test_axes_dtypes_and_empty_arrays_are_those_of_softmax(quick_library, name):
    rule = RULES[name]
    x = np.random.default_rng(5).normal(size=(2, 3, 4))
    got = to_numpy(rule(quick_library(x), axis=(0, 2)))
    rows = rule(x.transpose(1, 0, 2).reshape(3, 8))
    np.testing.assert_allclose(got, rows.reshape(3, 2, 4).transpose(1, 0, 2), rtol=1e-14)
    assert rule(quick_library(np.empty((2, 0)))).shape == (2, 0)
    np.testing.assert_allclose(
        to_numpy(rule(quick_library([2, 1], "int8"))), rule(np.array([2.0, 1.0])), rtol=1e-6
    )
    half = torch.tensor(x).to(torch.float16)
    assert rule(half).dtype == torch.float16
    np.testing.assert_array_equal(rule(half), rule(half.float()).half())
    with pytest.raises(TypeError, match="real numbers is needed"):
        rule(np.array([1j]))


def test_a_class_that_is_impossible_is_harmless_unless_it_is_the_target(quick_library):
    x, y = quick_library([[-INF, 0.0, 0.0]] * 2), quick_library([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    for rule, expected in (("softmax", np.log(2)), ("sparsemax", 0.25)):
        got = to_numpy(fenchel_young_loss(x, y, rule=rule))
        np.testing.assert_allclose(got, [expected, INF], rtol=1e-14)


def test_losses_take_any_axis_and_broadcast_the_target(quick_library):
    x = np.random.default_rng(6).normal(size=(4, 3))
    y = np.array([0.0, 1.0, 0.0, 0.0])
    by_columns = fenchel_young_loss(quick_library(x), quick_library(y[:, None]), axis=0)
    by_rows = fenchel_young_loss(x.T, y)
    np.testing.assert_allclose(to_numpy(by_columns), by_rows, rtol=1e-14)
    assert fenchel_young_loss(torch.zeros(2, 4), torch.tensor([0, 1, 0, 0])).shape == (2,)


def test_what_is_no_target_or_rule_or_law_is_refused_in_words():
    x = np.zeros(2)
    for y in ([0.5, 0.6], [1.5, -0.5], [NAN, 1.0], [0.0, 0.0]):
        with pytest.raises(ValueError, match="y must hold distributions"):
            fenchel_young_loss(x, y)
    with pytest.raises(ValueError, match=r"smallest entry of 0\.25 and a sum of 0\.75"):
        fenchel_young_loss(np.zeros((2, 2)), [[0.75, 0.25], [0.25, 0.5]])
    with pytest.raises(ValueError, match=r"y of shape \(3,\) does not broadcast"):
        fenchel_young_loss(x, [0.0, 0.0, 1.0])
    with pytest.raises(ValueError, match=r"rule must be one of .*'entmax15'.*, got 'entmax'"):
        fenchel_young_loss(x, [1.0, 0.0], rule="entmax")
    with pytest.raises(ValueError, match=r"law must be one of .*'odds'.*, got 'justice'"):
        counterexample(softmax, "justice")


def test_under_jit_what_is_no_distribution_gives_nan():
    unknown = jax.jit(fenchel_young_loss)(jax.numpy.zeros(2), jax.numpy.array([0.5, 0.6]))
    assert np.isnan(unknown)


# --- proofs


@pytest.mark.claim("prop-ratio-softmax")
def test_shares_as_softmax_are_proved():
    assert all(proofs.ratio_softmax_residual(n).is_zero_matrix for n in (1, 2, 4))


@pytest.mark.claim("prop-ratio-laws")
def test_signs_and_slopes_of_the_strengths_are_proved():
    assert proofs.taylor_residual().is_zero_matrix
    assert proofs.squareplus_residual().is_zero_matrix


@pytest.mark.claim("thm-projection-form")
def test_the_condition_of_optimality_is_proved():
    assert proofs.entmax_fee_residual().is_zero_matrix


@pytest.mark.claim("prop-sparsemax-threshold")
def test_the_threshold_of_sparsemax_is_proved():
    assert [proofs.sparsemax_threshold_residual(size) for size in (1, 2, 5)] == [0, 0, 0]


@pytest.mark.claim("prop-entmax-threshold")
def test_the_threshold_of_entmax_is_proved():
    assert [proofs.entmax_threshold_residual(size) for size in (1, 2, 4)] == [0, 0, 0]


@pytest.mark.claim("prop-projection-jacobian")
def test_the_jacobians_of_projections_are_proved():
    assert all(proofs.projection_jacobian_residual(size).is_zero_matrix for size in (1, 2, 3))


@pytest.mark.claim("prop-kinks")
def test_the_one_sided_derivatives_are_proved():
    assert proofs.two_class_residual().is_zero_matrix
    assert proofs.kink_residual().is_zero_matrix


@pytest.mark.claim("prop-log-loss")
def test_the_gradient_of_the_log_loss_is_proved_for_any_strength():
    assert all(proofs.log_loss_residual(n).is_zero_matrix for n in (2, 3))


@pytest.mark.claim("thm-no-loss")
def test_the_asymmetry_is_proved_for_any_strength():
    assert [proofs.symmetry_residual(n) for n in (2, 3)] == [0, 0]


@pytest.mark.claim("prop-sparsemax-loss")
def test_the_form_of_the_sparsemax_loss_is_proved():
    assert [proofs.sparsemax_loss_residual(n, k) for n, k in ((2, 1), (3, 2), (3, 3))] == [0, 0, 0]
