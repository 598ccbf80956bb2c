"""Choice: the matching law, Luce's axioms, nested logit, rankings."""

from fractions import Fraction
from itertools import combinations, permutations

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from softmax_notes import softmax
from softmax_notes.choice import (
    luce_witness,
    matching_law,
    nested_logit,
    plackett_luce,
    recover_utilities,
)
from softmax_notes.symbolic import choice as proofs
from tests.exact import ulp_error
from tests.libraries import same_kind, to_numpy
from tests.pytorch import torch

INF, NAN = np.inf, np.nan
NAMES = "abcd"
F = Fraction

utilities = st.integers(1, 30).map(Fraction)


def choices(u, members):
    """The matching law by arithmetic on fractions."""
    total = sum(u[a] for a in members)
    return tuple(u[a] / total for a in members)


def all_sets(names, smallest=1):
    sizes = range(smallest, len(names) + 1)
    return [members for size in sizes for members in combinations(names, size)]


@st.composite
def weights(draw, smallest=1):
    """Utilities of the first few names, as fractions."""
    n = draw(st.integers(smallest, 4))
    return dict(zip(NAMES, draw(st.lists(utilities, min_size=n, max_size=n)), strict=False))


@st.composite
def distributions(draw, members, lowest=0):
    numbers = st.integers(lowest, 6)
    size = len(members)
    values = draw(st.lists(numbers, min_size=size, max_size=size).filter(any))
    return tuple(F(value, sum(values)) for value in values)


def chosen_by_levels(levels, members):
    """From the first level that is met, in proportion to utility; nothing from the others."""
    first = next(level for level in levels if level.keys() & set(members))
    total = sum(first.get(a, 0) for a in members)
    return tuple(F(first.get(a, 0)) / total for a in members)


# --- laws


@pytest.mark.claim("thm-matching-axioms")
@given(weights(), st.data())
def test_a_table_of_the_matching_law_satisfies_the_axioms(u, data):
    listed = data.draw(st.lists(st.sampled_from(all_sets(list(u))), unique=True))
    assert luce_witness({members: choices(u, members) for members in listed}) is None


@pytest.mark.claim("thm-matching-axioms")
@given(weights(smallest=2), st.data())
def test_odds_do_not_depend_on_what_else_is_on_offer(quick_library, u, data):
    values = np.array([float(v) for v in u.values()])
    mask = data.draw(npst.arrays(bool, len(u)))
    mask[:2] = True
    p = to_numpy(matching_law(quick_library(values), where=quick_library(mask)))
    np.testing.assert_allclose(p[0] / p[1], values[0] / values[1], rtol=1e-14)
    np.testing.assert_allclose(p.sum(), 1, rtol=1e-14)
    assert np.all(p[~mask] == 0)


@pytest.mark.claim("thm-luce")
@given(weights(), st.data())
def test_utilities_are_recovered_up_to_a_factor(u, data):
    others = data.draw(st.lists(st.sampled_from(all_sets(list(u))), unique=True))
    listed = dict.fromkeys([tuple(u), *others])
    recovered = recover_utilities({members: choices(u, members) for members in listed})
    assert {a: value * u["a"] for a, value in recovered.items()} == u


@pytest.mark.claim("thm-luce")
@given(st.integers(2, 4), st.data())
def test_with_a_longest_list_and_no_zeros_the_axioms_and_utilities_go_together(n, data):
    names = tuple(NAMES[:n])
    u = dict(zip(names, data.draw(distributions(names, lowest=1)), strict=True))
    table = {members: choices(u, members) for members in all_sets(names, 2)}
    changed = data.draw(st.sampled_from(list(table)))
    table[changed] = data.draw(distributions(changed, lowest=1))
    witness = luce_witness(table)
    if witness is None:
        assert recover_utilities(table).keys() == set(names)
    else:
        assert changed in (witness.smaller, witness.larger)
        with pytest.raises(ValueError, match="no utilities give these probabilities"):
            recover_utilities(table)


@pytest.mark.claim("prop-axiom-one")
@given(st.data())
def test_where_axiom_1_fails_there_is_a_witness_and_it_says_so(data):
    table = {m: data.draw(distributions(m)) for m in (("a", "b"), ("a", "b", "c"))}
    (small, large), witness = table.values(), luce_witness(table)
    broken = [large[i] == 0 and small[i] > 0 and large[1 - i] > 0 for i in (0, 1)]
    if any(broken):
        assert witness is not None
    if witness is not None:
        assert broken["ab".index(witness.alternative)] == (witness.axiom == 1)


@pytest.mark.claim("prop-luce-iia")
@given(st.data())
def test_axiom_2_is_the_cross_rule_and_the_ratio_rule_with_axiom_1(data):
    p = data.draw(distributions("abc"))
    free = data.draw(distributions("ab"))
    # Half of the examples obey.
    obeys = (p[0] / (p[0] + p[1]), p[1] / (p[0] + p[1])) if p[0] + p[1] else free
    q = data.draw(st.sampled_from([free, obeys]))
    axiom_2 = luce_witness({("a", "b"): q, ("a", "b", "c"): p}) is None
    pairs = [(0, 1), (1, 0)]
    assert axiom_2 == all(p[i] * q[j] == p[j] * q[i] for i, j in pairs)
    ratio_rule = all(p[i] / p[j] == q[i] / q[j] for i, j in pairs if p[j] > 0 and q[j] > 0)
    axiom_1 = not any(p[i] == 0 and p[j] > 0 and q[i] > 0 for i, j in pairs)
    assert axiom_2 == (ratio_rule and axiom_1)


@pytest.mark.claim("prop-levels")
@given(st.lists(st.integers(0, 2), min_size=1, max_size=4), st.lists(utilities, min_size=4))
def test_levels_satisfy_axiom_2_and_follow_a_law_only_if_there_is_one(places, values):
    u = dict(zip(NAMES[: len(places)], values, strict=False))
    levels = [
        {a: u[a] for a, place in zip(u, places, strict=True) if place == k}
        for k in sorted(set(places))
    ]
    table = {members: chosen_by_levels(levels, members) for members in all_sets(list(u))}
    assert luce_witness(table) is None
    if len(levels) == 1:
        assert recover_utilities(table) == {a: u[a] / u["a"] for a in u}
    else:
        with pytest.raises(ValueError, match="no utilities"):
            recover_utilities(table)


@pytest.mark.claim("prop-levels")
@given(st.data())
def test_a_table_of_all_sets_without_a_witness_comes_from_levels(data):
    table = {m: data.draw(distributions(m)) for m in all_sets("abc")}
    if luce_witness(table) is None:
        levels, left = [], tuple("abc")
        while left:
            p = dict(zip(left, table[left], strict=True))
            levels.append({a: value for a, value in p.items() if value > 0})
            left = tuple(a for a in left if p[a] == 0)
        assert table == {m: chosen_by_levels(levels, m) for m in table}


@pytest.mark.claim("cor-softmax-luce")
@given(npst.arrays("float64", 4, elements=st.integers(-40, 40).map(lambda k: k / 8)), st.data())
def test_softmax_satisfies_the_axioms_at_fixed_scores(quick_library, x, data):
    outer = data.draw(npst.arrays(bool, 4))
    inner = outer & data.draw(npst.arrays(bool, 4))
    p, q = (to_numpy(softmax(quick_library(x), where=quick_library(m))) for m in (outer, inner))
    np.testing.assert_allclose(p[inner], q[inner] * p[inner].sum(), rtol=1e-13)
    if inner.sum() > 1:
        i, j = np.flatnonzero(inner)[:2]
        np.testing.assert_allclose(q[i] / q[j], np.exp(x[i] - x[j]), rtol=1e-13)


@pytest.mark.claim("prop-tree-ratio")
@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_deleting_a_leaf_multiplies_a_ratio_and_so_breaks_the_axioms(a, q):
    leaves = (a, (1 - a) * q, (1 - a) * (1 - q))
    np.testing.assert_allclose(sum(leaves), 1, rtol=1e-14)
    np.testing.assert_allclose((1 - a) / a, leaves[1] / leaves[0] / q, rtol=1e-12)
    table = {("a", "b"): (a, 1 - a), ("a", "b", "c"): leaves}
    assert luce_witness(table, tolerance=1e-12) is not None


@pytest.mark.claim("prop-nested-logit")
@given(npst.arrays("float64", (2, 5), elements=st.floats(-5, 5)), st.floats(0.1, 1), st.data())
def test_nested_logit_keeps_ratios_in_a_nest_and_is_softmax_at_1(quick_library, x, value, data):
    nests = [[0, 3], [1, 2, 4]]
    p = to_numpy(nested_logit(quick_library(x), nests, dissimilarity=[1.0, value]))
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-13)
    np.testing.assert_allclose(p[:, 0] / p[:, 3], np.exp(x[:, 0] - x[:, 3]), rtol=1e-12)
    np.testing.assert_allclose(p[:, 1] / p[:, 4], np.exp((x[:, 1] - x[:, 4]) / value), rtol=1e-11)
    expected = torch.softmax(torch.tensor(x), -1)
    np.testing.assert_allclose(to_numpy(nested_logit(quick_library(x), nests)), expected, 1e-13)


@pytest.mark.claim("prop-nested-logit")
@given(st.integers(1, 9), st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.floats(-100, 100))
def test_equal_buses_leave_the_car_one_part_in_1_plus_k_to_the_lambda(k, value, score):
    p = nested_logit([score] * (k + 1), [[0], list(range(1, k + 1))], dissimilarity=value)
    np.testing.assert_allclose(p[0], 1 / (1 + k**value), rtol=1e-13)
    np.testing.assert_allclose(p[1:], (1 - p[0]) / k, rtol=1e-13)


@pytest.mark.claim("prop-plackett-luce")
@given(npst.arrays("float64", 4, elements=st.floats(-4, 4)))
def test_rankings_sum_to_1_and_pairs_come_out_as_in_bradley_and_terry(x):
    p = {r: np.exp(float(plackett_luce(x, r))) for r in permutations(range(4))}
    np.testing.assert_allclose(sum(p.values()), 1, rtol=1e-12)
    before = sum(value for r, value in p.items() if r.index(2) < r.index(1))
    np.testing.assert_allclose(before, 1 / (1 + np.exp(x[1] - x[2])), rtol=1e-12)


# --- references


@pytest.mark.claim("thm-matching-axioms")
def test_the_dog_and_the_cat_keep_their_odds_exactly():
    two, five = proofs.matching([8, 6]), proofs.matching([8, 6, 4, 5, 9])
    assert [str(v) for v in (*two, *five[:2])] == ["4/7", "3/7", "1/4", "3/16"]
    assert str(two[0] / two[1]) == str(five[0] / five[1]) == "4/3"
    np.testing.assert_allclose(matching_law([8, 6]), [4 / 7, 3 / 7], rtol=1e-15)
    np.testing.assert_array_equal(matching_law([8, 6, 4, 5, 9])[:2], [1 / 4, 3 / 16])


@pytest.mark.claim("cor-softmax-luce")
def test_read_as_scores_the_same_numbers_give_other_odds():
    for x, digits in (([8.0, 6], (0.8808, 0.1192)), ([8.0, 6, 4, 5, 9], (0.2550, 0.0345))):
        p = torch.softmax(torch.tensor(x), 0)
        assert tuple(round(float(v), 4) for v in softmax(x)[:2]) == digits
        np.testing.assert_allclose(float(p[0] / p[1]), np.exp(2), rtol=1e-6)
    assert round(float(softmax([8.0, 6, 4, 5, 9])[0]), 5) == 0.25499


@pytest.mark.claim("prop-tree-ratio")
def test_the_tree_of_the_chapter_goes_from_066_to_199():
    node, stay = torch.sigmoid(torch.tensor([0.69, -0.7], dtype=torch.float64)).tolist()
    ratios = node * stay / (1 - node), node / (1 - node)
    assert [round(r, 2) for r in ratios] == [0.66, 1.99]


@pytest.mark.parametrize("axis", [0, 1, -1, (0, 2), None])
def test_the_matching_law_is_pytorchs_l1_normalization_of_positive_numbers(axis):
    u = np.random.default_rng(0).uniform(0.1, 5, size=(3, 4, 2))
    total = u.sum(axis=axis, keepdims=True)
    np.testing.assert_allclose(matching_law(u, axis=axis), u / total, rtol=1e-14)
    if isinstance(axis, int):
        reference = torch.nn.functional.normalize(torch.tensor(u), p=1, dim=axis)
        np.testing.assert_allclose(matching_law(u, axis=axis), reference, rtol=1e-14)
        with_scores = torch.softmax(torch.tensor(u).log(), dim=axis)
        np.testing.assert_allclose(matching_law(u, axis=axis), with_scores, rtol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_matching_law_is_within_2_ulp(dtype):
    random = np.random.default_rng(1)
    for n in (2, 10, 5000):
        for spread in (1, 30):
            u = (10.0 ** random.uniform(-spread, spread, size=n)).astype(dtype)
            truth = [Fraction(float(v)) for v in u]
            total = sum(truth)
            where = np.unique(np.r_[np.argsort(u)[-5:], np.arange(min(n, 20))])
            expected = [_mpf(truth[i] / total) for i in where]
            assert ulp_error(matching_law(u)[where], expected, dtype) <= 2


def _mpf(fraction):
    import mpmath

    with mpmath.workdps(60):
        return mpmath.mpf(fraction.numerator) / fraction.denominator


@pytest.mark.parametrize("value", [0.05, 0.3, 0.999])
def test_nested_logit_is_its_formula_in_60_digits(value):
    import mpmath

    x = np.random.default_rng(2).normal(size=6) * 4
    nests = [[5, 0], [1], [2, 3, 4]]
    with mpmath.workdps(60):
        inside = [[mpmath.exp(mpmath.mpf(x[k]) / value) for k in nest] for nest in nests]
        shares = [mpmath.fsum(terms) ** mpmath.mpf(value) for terms in inside]
        expected = np.empty(6)
        for nest, terms, share in zip(nests, inside, shares, strict=True):
            for k, term in zip(nest, terms, strict=True):
                expected[k] = share / mpmath.fsum(shares) * term / mpmath.fsum(terms)
    np.testing.assert_allclose(nested_logit(x, nests, dissimilarity=value), expected, rtol=1e-13)


@pytest.mark.claim("prop-nested-logit")
def test_nested_logit_at_0_is_the_limit_with_ties_shared():
    x, nests = [1.0, 2.0, 2.0, 0.5, 0.0], [[0, 1, 2], [3, 4]]
    limit = nested_logit(x, nests, dissimilarity=0.0)
    winners = torch.softmax(torch.tensor([2.0, 0.5], dtype=torch.float64), 0).numpy()
    expected = [0, winners[0] / 2, winners[0] / 2, winners[1], 0]
    np.testing.assert_allclose(limit, expected, rtol=1e-15)
    gap = [
        np.abs(nested_logit(x, nests, dissimilarity=v) - limit).max() for v in (0.2, 0.1, 0.05, 0)
    ]
    assert gap == sorted(gap, reverse=True)
    assert gap[2] < 0.03


@pytest.mark.claim("prop-plackett-luce")
def test_pytorch_draws_rankings_by_this_law():
    u = torch.tensor([8.0, 6.0, 4.0], dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    draws = torch.multinomial(u.expand(20000, 3), 3, generator=generator)
    for ranking in permutations(range(3)):
        share = (draws == torch.tensor(ranking)).all(dim=1).double().mean()
        p = float(torch.exp(plackett_luce(torch.log(u), ranking)))
        assert abs(float(share) - p) < 4 * np.sqrt(p * (1 - p) / 20000)


def test_pytorch_differentiates_our_code_once_and_twice():
    options = {"dtype": torch.float64, "requires_grad": True}
    u = torch.tensor([[8.0, 6.0, 6.0], [1e-3, 1.0, 2.0]], **options)
    x = torch.tensor([[0.3, -1.2, 2.0, 2.0], [0.0, 0.0, 0.0, 1.0]], **options)
    mask = torch.tensor([True, True, False])
    for function, argument in (
        (matching_law, u),
        (lambda t: matching_law(t, axis=(0, 1), where=mask), u),
        (lambda t: nested_logit(t, [[0], [1, 2, 3]], dissimilarity=0.4), x),
        (lambda t: plackett_luce(t, [2, 0]), x),
    ):
        assert torch.autograd.gradcheck(function, argument)
        assert torch.autograd.gradgradcheck(function, argument)


def test_jax_compiles_and_maps_our_code():
    u = np.random.default_rng(4).uniform(1, 2, size=(2, 3))
    np.testing.assert_allclose(jax.vmap(matching_law)(u), matching_law(u), rtol=1e-13)
    for function in (matching_law, lambda t: nested_logit(t, [[0, 2], [1]], dissimilarity=0.5)):
        np.testing.assert_allclose(jax.jit(function)(u), function(u), rtol=1e-13)
    assert np.isnan(jax.jit(matching_law)(np.array([1.0, -1.0]))).all()


# --- edges


def test_a_common_power_of_2_changes_no_bit_however_large_the_utilities_become():
    u = np.random.default_rng(0).random(50)
    np.testing.assert_array_equal(matching_law(u * 2.0**1023), matching_law(u))


def test_the_contract_of_the_matching_law_at_the_edges(library):
    yes, no = True, False
    cases = [
        ([NAN, 1], [yes, yes], NAN),
        ([INF, 1], [yes, yes], NAN),
        ([0, 0], [yes, yes], NAN),
        ([0, 0], [yes, no], [NAN, 0]),
        ([0, 3], [yes, yes], [0, 1]),
        ([1.7e308, 1.7e308], [yes, yes], 0.5),
        ([1e-300, 3e-300], [yes, yes], [0.25, 0.75]),
        ([NAN, 1], [no, yes], [0, 1]),
        ([INF, 1], [no, yes], [0, 1]),
        ([-1, 1], [no, yes], [0, 1]),
        ([NAN, -1], [no, no], 0),
    ]
    u, mask = (library(np.array([case[k] for case in cases])) for k in (0, 1))
    with np.errstate(all="raise", under="ignore"):
        p = to_numpy(matching_law(u, where=mask))
    expected = [np.broadcast_to(case[2], 2) for case in cases]
    np.testing.assert_allclose(p, expected, rtol=1e-15)


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_the_contract_of_nested_logit_at_the_edges(library, value):
    big, yes, no = 1.7e308, True, False
    cases = [
        ([NAN, 0, 0], [yes, yes, yes], NAN),
        ([0, 0, INF], [yes, yes, yes], NAN),
        ([-INF, -INF, -INF], [yes, yes, yes], NAN),
        ([-INF, -INF, 0], [yes, yes, no], [NAN, NAN, 0]),
        ([0, -INF, -INF], [yes, yes, yes], [1, 0, 0]),
        ([-INF, -INF, 3], [yes, yes, yes], [0, 0, 1]),
        ([-big, big, big], [yes, yes, yes], [0, 0.5, 0.5]),
        ([0, NAN, 0], [yes, no, yes], [0.5, 0, 0.5]),
        ([0, NAN, INF], [yes, no, no], [1, 0, 0]),
        ([0, NAN, INF], [no, no, no], [0, 0, 0]),
    ]
    x, mask = (library(np.array([case[k] for case in cases])) for k in (0, 1))
    with np.errstate(all="raise", under="ignore"):
        p = to_numpy(nested_logit(x, [[0], [1, 2]], dissimilarity=value, where=mask))
    np.testing.assert_array_equal(p, [np.broadcast_to(expected, 3) for *_, expected in cases])


def test_gradients_are_0_where_nothing_can_change():
    rows = [[0.0, -INF, 1.0], [-INF, 2.0, NAN], [0.0, 1.0, NAN]]
    t = torch.tensor(rows, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[True, True, True], [True, True, False], [False, False, False]])
    for value in (0.0, 0.5):
        t.grad = None
        nested_logit(t, [[0], [1, 2]], dissimilarity=value, where=mask)[:, 1].sum().backward()
        assert bool(torch.isfinite(t.grad).all())
        assert t.grad[0, 1] == t.grad[1, 0] == t.grad[1, 2] == 0
        assert not t.grad[2].any()
    u = torch.tensor([NAN, 1.0, 3.0], dtype=torch.float64, requires_grad=True)
    matching_law(u, where=torch.tensor([False, True, True]))[1].backward()
    np.testing.assert_allclose(u.grad, [0, 3 / 16, -1 / 16])


def test_empty_axes_and_rankings(library):
    empty = library(np.empty((2, 0)))
    assert matching_law(empty).shape == nested_logit(empty, []).shape == (2, 0)
    np.testing.assert_array_equal(to_numpy(plackett_luce(empty, [])), [0, 0])
    np.testing.assert_array_equal(to_numpy(plackett_luce(library(np.ones((3, 2))), [])), [0, 0, 0])


def test_dtype_shape_and_device_are_kept_and_the_input_is_not_changed(library):
    values = np.array([[1, 3], [2, 2]], dtype="float32")
    u = library(values.copy())
    p, r = nested_logit(u, [[0, 1]], dissimilarity=0.5), plackett_luce(u, [1, 0])
    assert all(same_kind(result, u) for result in (matching_law(u), p, r))
    assert (p.shape, r.shape) == ((2, 2), (2,))
    np.testing.assert_array_equal(to_numpy(u), values)


def test_integers_are_promoted_and_any_axis_will_do(quick_library):
    u = quick_library(np.array([[1, 3], [2, 2]]))
    np.testing.assert_allclose(to_numpy(matching_law(u)), [[0.25, 0.75], [0.5, 0.5]], rtol=1e-7)
    p = to_numpy(nested_logit(u, [[0], [1]], axis=0))
    np.testing.assert_allclose(p, torch.softmax(torch.tensor([[1.0, 3], [2, 2]]), 0), rtol=1e-6)
    r = to_numpy(plackett_luce(u, [1], axis=0))
    np.testing.assert_allclose(np.exp(r), p[1], rtol=1e-6)


def test_half_precision_is_computed_in_float32():
    u = torch.full((4000,), 40000.0, dtype=torch.float16)  # the sum is far past 65504
    assert torch.equal(matching_law(u), torch.full_like(u, 1 / 4000))
    assert nested_logit(u[:3], [[0], [1, 2]], dissimilarity=0.0).tolist() == [0.5, 0.25, 0.25]
    assert plackett_luce(u[:3], [0, 1]).dtype == torch.float16


@pytest.mark.parametrize("name", ["numpy", "torch", "strict"])
def test_negative_utilities_are_refused_where_they_are_known(name):
    from tests.libraries import LIBRARIES

    with pytest.raises(ValueError, match=r"utilities must be 0 or more, got -2\.0"):
        matching_law(LIBRARIES[name](np.array([1.0, -2.0])))
    lazy = LIBRARIES["dask"](np.array([[1.0, -2.0], [1.0, 1.0]]))
    np.testing.assert_array_equal(to_numpy(matching_law(lazy)), [[NAN, NAN], [0.5, 0.5]])


@pytest.mark.parametrize("function", [matching_law, lambda x: nested_logit(x, [[0]])])
def test_what_is_no_array_of_real_numbers_is_refused(function):
    for x in ("a", [1j], np.ma.array([1.0], mask=[1]), None):
        with pytest.raises(TypeError):
            function(x)


@pytest.mark.parametrize(
    ("nests", "value", "message"),
    [
        ([[0], [1]], 1.0, "each position from 0 to 2 once"),
        ([[0, 1], [1, 2]], 1.0, "each position from 0 to 2 once"),
        ([[0, 1, 2], []], 1.0, "each position from 0 to 2 once"),
        ([[0], [1, 2]], [0.5], "dissimilarity must be .* one for each of 2 nests, got 1"),
        ([[0], [1, 2]], 1.5, r"dissimilarity must be from 0 to 1, got 1\.5"),
        ([[0], [1, 2]], -0.1, r"dissimilarity must be from 0 to 1, got -0\.1"),
        ([[0], [1, 2]], [1.0, NAN], "dissimilarity must be from 0 to 1, got nan"),
    ],
)
def test_nests_must_be_a_partition_and_dissimilarities_from_0_to_1(nests, value, message):
    with pytest.raises(ValueError, match=message):
        nested_logit([0.0, 0.0, 0.0], nests, dissimilarity=value)


def test_a_dissimilarity_that_is_no_number_is_named():
    with pytest.raises(TypeError, match="dissimilarity must be one number, got str"):
        nested_logit([0.0, 1.0], [[0], [1]], dissimilarity=["x", 1.0])


@pytest.mark.parametrize("ranking", [[0, 0], [3], [-1]])
def test_a_ranking_holds_distinct_positions(ranking):
    with pytest.raises(ValueError, match="distinct positions from 0 to 2"):
        plackett_luce([1.0, 2.0, 3.0], ranking)


@pytest.mark.parametrize("ranking", [0, np.array(1), "01", None])
def test_a_ranking_is_a_list(ranking):
    with pytest.raises(TypeError, match="ranking must be a list of positions"):
        plackett_luce([1.0, 2.0, 3.0], ranking)


@pytest.mark.parametrize("function", [luce_witness, recover_utilities])
@pytest.mark.parametrize(
    ("table", "error", "message"),
    [
        ({"ab": (1, 0)}, TypeError, "in table must be a tuple of alternatives, got 'ab'"),
        ({("a", "b"): (1,)}, ValueError, "needs 2 probabilities, got 1"),
        ({("a", "a"): (1, 0)}, ValueError, "repeats an alternative"),
        ({("a", "b"): (1, 0), ("b", "a"): (0, 1)}, ValueError, "is listed twice"),
        ({("a", "b"): (2, -1)}, ValueError, "must be 0 or more"),
        ({("a", "b"): (NAN, 1)}, ValueError, "must be 0 or more"),
        ({("a", "b"): (F(1, 2), F(1, 3))}, ValueError, "must sum to 1, got 5/6"),
        ({("a", "b", "c"): (0.7, 0.2, 0.1)}, ValueError, "pass fractions, or a tolerance"),
    ],
)
def test_what_is_no_table_of_choice_probabilities_is_refused(function, table, error, message):
    with pytest.raises(error, match=message):
        function(table)


@pytest.mark.parametrize("function", [luce_witness, recover_utilities])
@pytest.mark.parametrize("tolerance", [-1e-9, NAN])
def test_a_tolerance_is_not_negative(function, tolerance):
    with pytest.raises(ValueError, match="tolerance must be 0 or more"):
        function({("a",): (1,)}, tolerance=tolerance)
    with pytest.raises(TypeError, match="tolerance must be"):
        function({("a",): (1,)}, tolerance="small")


def test_floats_are_decided_up_to_the_tolerance():
    u = {"a": 0.1, "b": 0.7, "c": 0.2, "d": 1e-5}
    table = {members: choices(u, members) for members in all_sets("abcd")}
    assert luce_witness(table, tolerance=1e-12) is None
    recovered = recover_utilities(table, tolerance=1e-12)
    np.testing.assert_allclose([recovered[a] * 0.1 for a in u], list(u.values()), rtol=1e-12)
    table["a", "b"] = (table["a", "b"][0] + 1e-6, table["a", "b"][1] - 1e-6)
    assert luce_witness(table, tolerance=1e-12) is not None
    assert luce_witness(table, tolerance=1e-5) is None


@pytest.mark.claim("thm-luce")
def test_each_hypothesis_of_luces_theorem_is_needed():
    circle = {pair: (F(2, 3), F(1, 3)) for pair in (("a", "b"), ("b", "c"), ("c", "a"))}
    strict = {
        members: (F(1),) + (F(0),) * (len(members) - 1)
        for members in (("a", "b"), ("a", "c"), ("b", "c"), ("a", "b", "c"))
    }
    for table in (circle, strict):  # no longest list; zeros
        assert luce_witness(table) is None
        with pytest.raises(ValueError, match="no utilities give these probabilities"):
            recover_utilities(table)
    apart = {("a", "b"): (F(1, 2), F(1, 2)), ("c", "d"): (F(1, 4), F(3, 4))}
    with pytest.raises(ValueError, match="links 'a' to 'c': the ratio of their utilities is free"):
        recover_utilities(apart)
    buses = {
        ("car", "red"): (F(1, 2), F(1, 2)),
        ("car", "red", "blue"): (F(1, 2), F(1, 4), F(1, 4)),
    }
    witness = luce_witness(buses)
    assert witness == (2, "car", ("car", "red"), ("car", "red", "blue"), F(1, 2), F(3, 8))


@pytest.mark.claim("prop-luce-iia")
def test_the_ratio_rule_alone_does_not_see_what_axiom_1_forbids():
    # From three nobody takes a, from two everybody: no ratio has a denominator on both lists.
    witness = luce_witness({("a", "b"): (F(1), F(0)), ("a", "b", "c"): (F(0), F(1, 2), F(1, 2))})
    assert (witness.axiom, witness.alternative) == (1, "a")


def test_sets_that_differ_by_several_alternatives_are_compared():
    quarters = {("a", "b"): (F(1, 3), F(2, 3)), ("a", "b", "c", "d"): (F(1, 4),) * 4}
    witness = luce_witness(quarters)
    assert (witness.axiom, witness.left, witness.right) == (2, F(1, 4), F(1, 6))


def test_a_chain_of_choice_sets_is_followed_to_its_end():
    table = {
        ("a", "b"): (F(1, 3), F(2, 3)),
        ("c", "d"): (F(1, 4), F(3, 4)),
        ("b", "c"): (F(2, 3), F(1, 3)),
    }
    assert recover_utilities(table) == {"a": 1, "b": 2, "c": 1, "d": 3}


def test_the_tolerance_is_of_probabilities_whatever_the_size_of_the_utilities():
    u = {"a": 1.0, "b": 1e6, "c": 3e6}
    table = {members: choices(u, members) for members in all_sets("abc")}
    assert recover_utilities(table, tolerance=1e-12)["c"] == pytest.approx(3e6)
    table["b", "c"] = (0.25 + 1e-9, 0.75 - 1e-9)
    assert recover_utilities(table, tolerance=1e-8)["c"] == pytest.approx(3e6, rel=1e-6)


def test_an_alternative_that_is_never_chosen_has_utility_0():
    table = {("a", "b"): (F(0), F(1)), ("a", "b", "c"): (F(0), F(1, 4), F(3, 4))}
    assert luce_witness(table) is None
    assert recover_utilities(table) == {"a": 0, "b": 1, "c": 3}


# --- proofs


@pytest.mark.claim("thm-matching-axioms")
def test_proof_that_the_matching_law_satisfies_axiom_2_and_keeps_ratios():
    assert proofs.axiom_residual() == 0
    assert proofs.ratio_residual() == 0


@pytest.mark.claim("thm-luce")
def test_proof_that_the_axioms_have_the_matching_law_as_their_solution():
    assert all(proofs.converse_residual(n).is_zero_matrix for n in (1, 2, 3, 4))


@pytest.mark.claim("prop-luce-iia")
def test_proof_that_axiom_2_is_the_cross_rule():
    assert all(proofs.cross_rule_residual(n).is_zero_matrix for n in (2, 3, 4))


@pytest.mark.claim("cor-softmax-luce")
def test_proof_that_the_ratios_of_softmax_are_constant():
    assert proofs.ratio_residual() == 0


@pytest.mark.claim("prop-tree-ratio")
def test_proof_that_leaves_sum_to_1_and_a_deleted_leaf_changes_a_ratio():
    assert proofs.tree_residual().is_zero_matrix


@pytest.mark.claim("prop-nested-logit")
def test_proof_of_the_ends_and_the_ratios_of_nested_logit():
    assert proofs.nest_softmax_residual() == 0
    assert proofs.nest_ratio_residual() == 0
    assert proofs.bus_residual().is_zero_matrix


@pytest.mark.claim("prop-plackett-luce")
def test_proof_that_rankings_sum_to_1_and_contain_the_pairs():
    assert [proofs.ranking_residual(n) for n in (1, 2, 3)] == [0, 0, 0]
    assert [proofs.before_residual(n) for n in (2, 3)] == [0, 0]
