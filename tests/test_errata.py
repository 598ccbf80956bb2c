"""The page of slips: each is computed and seen to fail, its correction to hold.

Where a chapter's tests already show one, the page names them; what is here is what they lack.
"""

import re
from fractions import Fraction
from pathlib import Path

import mpmath
import numpy as np
import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st
from ledger import prose

from softmax_notes import (
    cross_entropy,
    cross_entropy_grad,
    log_softmax,
    logsumexp,
    softmax,
    softmax_jacobian,
)
from softmax_notes.smooth_argmax import smooth_argmax, soft_top_k
from tests.exact import exact, ulp_error
from tests.pytorch import torch

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "book" / "errata.md").read_text(encoding="utf-8")
ITEMS = dict(re.findall(r"^\((erratum-[\w-]+)\)=\n(.*?)(?=^## |^\(erratum-|\Z)", PAGE, re.M | re.S))
items = pytest.mark.parametrize("label", ITEMS)

scores = st.lists(st.floats(-5, 5), min_size=2, max_size=6).map(np.array)
score_symbols = sp.symbols("x1:4", real=True)
total = sum(map(sp.exp, score_symbols))


# --- the page


def test_the_four_articles_have_their_slips():
    parts = re.split(r"^## ", PAGE, flags=re.M)[1:]
    assert [part[:2] for part in parts[:4]] == ["A:", "B:", "C:", "D:"]
    assert all(part.count("\n(erratum-") >= 7 for part in parts[:4])
    assert len(ITEMS) == PAGE.count("\n(erratum-") == PAGE.count("\n### ")


@items
def test_an_erratum_says_what_was_said_what_is_wrong_and_what_holds_and_computes_it(label):
    text = ITEMS[label]
    assert text.startswith("### ")
    said, why, correction = (
        text.find(lead) for lead in ("\n**Said.** ", "\n**W", "\n**Correction.** ")
    )
    assert 0 < said < why < correction < text.find("\n```python\n>>> ")
    assert text[why:].startswith(("\n**Why it fails.** ", "\n**What is missing.** "))


@items
def test_an_erratum_names_tests_that_exist(label):
    (named,) = re.findall(r"^Taught in .*Tested in (.*)$", ITEMS[label], re.M)
    pairs = []
    for file, sentences in re.findall(r"`(test_\w+\.py)`: ((?:\*[^*]+\*(?:; |\.)?)+)", named):
        tests = (ROOT / "tests" / file).read_text(encoding="utf-8")
        for sentence in re.findall(r"\*([^*]+)\*", sentences):
            pairs.append((file, sentence))
            assert f"\ndef test_{sentence.replace(' ', '_')}(" in tests, (file, sentence)
    assert pairs
    assert len(pairs) == named.count("*") / 2


@items
def test_an_erratum_and_the_chapters_that_teach_the_matter_link_to_each_other(label):
    (named,) = re.findall(r"^Taught in (.*) Tested in", ITEMS[label], re.M)
    stems = re.findall(r"\{doc\}`(\w+)`", named)
    assert stems
    for stem in stems:
        assert f"<{label}>`" in prose(ROOT / "book" / f"{stem}.ipynb"), (stem, label)


def test_every_link_of_a_chapter_to_an_erratum_is_answered():
    for path in sorted((ROOT / "book").glob("*.ipynb")):
        for label in re.findall(r"<(erratum-[\w-]+)>`", prose(path)):
            assert f"{{doc}}`{path.stem}`" in ITEMS[label], (path.stem, label)


def test_every_test_of_a_slip_in_this_file_is_named_on_the_page():
    own = Path(__file__).read_text(encoding="utf-8").split("\n# --- A")[1]
    for name in re.findall(r"^def test_(\w+)\(", own, re.M):
        assert f"*{name.replace('_', ' ')}*" in PAGE


# --- A: I misunderstood you, Softmax


def test_tags_that_occur_together_are_no_leaves_of_one_tree():
    F = Fraction
    half, beach, sunset, ocean = F(1, 2), (F(4, 5), F(1, 10)), (F(1, 2),) * 2, (F(3, 4), F(1, 20))
    p_beach, p_sunset, p_ocean = (half * (sea + town) for sea, town in (beach, sunset, ocean))
    # By hand: 1/2 · 4/5 · 3/4 + 1/2 · 1/10 · 1/20, and with Sunset in place of Beach.
    both = half * beach[0] * ocean[0] + half * beach[1] * ocean[1]
    other = half * sunset[0] * ocean[0] + half * sunset[1] * ocean[1]
    assert (both, other) == (F(121, 400), F(1, 5))
    # What is known of the ocean moves the ratio, though no list has changed ...
    assert p_beach / p_sunset != both / other
    # ... and no leaves of a tree could have these probabilities: leaves sum to 1 and exclude
    # each other.
    assert p_beach + p_sunset + p_ocean > 1
    assert both > 0
    # A sigmoid for each tag has them all, at each place.
    for place in (0, 1):
        rates = torch.tensor([float(tag[place]) for tag in (beach, sunset, ocean)])
        torch.testing.assert_close(torch.sigmoid(torch.log(rates / (1 - rates))), rates)


@given(scores, st.floats(-20, 20), st.floats(0.1, 5))
def test_odds_are_the_same_on_every_list_and_differ_between_photos(x, newcomer, change):
    log_odds = x[0] - x[1]
    for offered in (x, x[:2], np.append(x, newcomer)):
        log_p = torch.log_softmax(torch.tensor(offered), dim=0)
        assert abs(float(log_p[0] - log_p[1]) - log_odds) < 1e-12
        assert abs(log_softmax(offered)[0] - log_softmax(offered)[1] - log_odds) < 1e-12
    another_photo = log_softmax(x + np.append(change, np.zeros(len(x) - 1)))
    assert abs(another_photo[0] - another_photo[1] - log_odds - change) < 1e-12


def test_the_logarithm_of_softmax_is_linear_only_up_to_logsumexp():
    log_p = score_symbols[0] - sp.log(total)
    bend = sp.diff(log_p, score_symbols[0], 2)
    assert bend.subs(dict.fromkeys(score_symbols, 0)) == sp.Rational(-2, 9)
    for x in score_symbols:
        for y in score_symbols:
            assert sp.simplify(sp.diff(log_p + sp.log(total), x, y)) == 0
    # On numbers: half-way between two points it is above the mean of the ends, unless the
    # points differ by a common shift.
    a, b = torch.tensor([[2.0, 1.0, 0.0], [-1.0, 3.0, 0.5]], dtype=torch.float64)
    middle = (
        torch.log_softmax((a + b) / 2, 0) - (torch.log_softmax(a, 0) + torch.log_softmax(b, 0)) / 2
    )
    bends = logsumexp(a) / 2 + logsumexp(b) / 2 - logsumexp((a + b) / 2)
    assert middle.min() > 0.1
    torch.testing.assert_close(middle, bends.expand(3), rtol=1e-13, atol=0)


@given(scores, st.data())
def test_an_entry_of_softmax_depends_on_every_score(x, data):
    i = data.draw(st.integers(0, len(x) - 1))
    j = data.draw(st.integers(0, len(x) - 1).filter(lambda j: j != i))
    moved = x.copy()
    moved[j] += 1.0  # x_i is what it was
    before, after = torch.softmax(torch.tensor(np.stack([x, moved])), dim=1)[:, i]
    assert after < before
    assert softmax(moved)[i] < softmax(x)[i]


# --- B: The derivative of softmax


@given(st.floats(-30, 30), st.floats(1, 30))
def test_dividing_by_e_to_the_minus_c_adds_c_and_multiplying_subtracts_it(x, c):
    s, shift = sp.symbols("s C", real=True)
    factor = sp.exp(-shift)
    assert sp.powsimp(sp.exp(s) / factor) == sp.exp(s + shift)
    assert sp.powsimp(sp.exp(s) * factor) == sp.exp(s - shift)
    divided, multiplied = np.exp(x) / np.exp(-c), np.exp(x) * np.exp(-c)
    assert abs(np.log(divided) - (x + c)) < 1e-12
    assert abs(np.log(multiplied) - (x - c)) < 1e-12
    assert divided > multiplied


@given(scores)
def test_a_lost_minus_breaks_the_symmetry_and_a_row_sum(x):
    by_pytorch = torch.autograd.functional.jacobian(lambda z: torch.softmax(z, 0), torch.tensor(x))
    p = torch.softmax(torch.tensor(x), 0).numpy()
    slipped = by_pytorch.numpy().copy()
    lost = 2 * p[-1] * p[0]
    slipped[-1, 0] *= -1
    assert abs(slipped[-1].sum() - lost) <= 1e-12
    assert abs(slipped - slipped.T).max() >= 0.999 * lost
    for right in (by_pytorch.numpy(), softmax_jacobian(p)):
        assert abs(right.sum(axis=1)).max() < 1e-12
        assert abs(right - right.T).max() < 1e-12


def test_the_loop_needs_another_name_and_a_matrix_to_fill():
    def shadowed(s):
        len = len(s)  # noqa: A001, F823
        return len

    def unmade(s):
        matrix[0][0] = s[0] * (1 - s[0])  # noqa: F821

    def mended(s):
        n = len(s)
        matrix = np.zeros((n, n))
        for i in range(n):
            for j in range(n):
                matrix[i][j] = s[i] * (1 - s[i]) if i == j else -s[i] * s[j]
        return matrix

    p = softmax(np.array([2.0, 1.0, 0.0]))
    with pytest.raises(UnboundLocalError):
        shadowed(p)
    with pytest.raises(NameError, match="matrix"):
        unmade(p)
    expected = torch.autograd.functional.jacobian(
        lambda z: torch.softmax(z, 0), torch.tensor([2.0, 1.0, 0.0], dtype=torch.float64)
    )
    np.testing.assert_allclose(mended(p), expected, rtol=1e-13)


def test_with_the_wrong_index_the_diagonal_would_not_depend_on_the_scores():
    x = score_symbols[0]
    k = sp.symbols("k", integer=True)
    literal = sp.Sum(sp.exp(x), (k, 1, 3)).doit()
    assert literal == 3 * sp.exp(x)
    wrong = (sp.exp(x) * literal - sp.exp(x) ** 2) / literal**2
    assert sp.simplify(wrong) == sp.Rational(2, 9)
    right = (sp.exp(x) * total - sp.exp(x) ** 2) / total**2
    assert sp.simplify(right - sp.diff(sp.exp(x) / total, x)) == 0
    assert right.free_symbols == set(score_symbols)


@given(st.lists(scores, min_size=2, max_size=4).filter(lambda rows: len({*map(len, rows)}) == 1))
def test_without_an_axis_a_batch_is_normalized_as_a_whole(rows):
    batch = np.stack(rows)
    weights = np.exp(batch)
    whole = weights / np.sum(weights)
    assert abs(whole.sum() - 1) < 1e-12  # the table, so no row has 1
    assert whole.sum(axis=1).min() < 0.5 + 1e-12
    by_rows = weights / np.sum(weights, axis=-1, keepdims=True)
    expected = torch.softmax(torch.tensor(batch), dim=-1)
    np.testing.assert_allclose(by_rows, expected, rtol=1e-12)
    np.testing.assert_allclose(softmax(batch), expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_where_the_sum_overflows_in_its_largest_term_the_quotient_is_nan(dtype):
    top = float(np.log(torch.finfo(dtype).max)) + 1
    weights = torch.exp(torch.tensor([top, 0.0], dtype=dtype))
    quotient = weights / weights.sum()
    assert torch.isinf(weights[0])
    assert torch.isinf(weights.sum())
    assert torch.isnan(quotient[0])
    assert quotient[1] == 0
    # Two terms that are both finite may have an infinite sum; then the quotients are 0.
    pair = torch.exp(torch.tensor([top - 1.5, top - 1.5], dtype=dtype))
    assert torch.isfinite(pair).all()
    assert torch.equal(pair / pair.sum(), torch.zeros(2, dtype=dtype))
    for x in ([top, 0.0], [top - 1.5, top - 1.5]):
        x = torch.tensor(x, dtype=dtype)
        torch.testing.assert_close(softmax(x), torch.softmax(x, 0))


# --- C: Softmax, from definition to regression


def test_floats_reach_the_ends_of_the_range_and_break_the_order():
    far = [0.0, -800.0, -900.0]
    truth = exact(far)
    with mpmath.workdps(500):  # 1 − p has 348 zeros first
        assert all(0 < mpmath.exp(log_p) < 1 for log_p in truth.log_softmax)
    assert truth.softmax[1] > truth.softmax[2] > 0
    for p in (softmax(far), torch.softmax(torch.tensor(far, dtype=torch.float64), 0).numpy()):
        assert p.tolist() == [1, 0, 0]
    log_p = log_softmax(far)
    assert log_p[1] > log_p[2]
    assert ulp_error(log_p, truth.log_softmax, "float64") <= 8


def test_ten_outputs_and_ten_biases_serve_any_number_of_pictures():
    W, b, table = torch.zeros(784, 10), torch.arange(10.0), torch.zeros(10, 10)
    for pictures in (1, 10, 256):
        assert (torch.zeros(pictures, 784) @ W + b).shape == (pictures, 10)
    with pytest.raises(RuntimeError, match="must match the size"):
        torch.zeros(256, 784) @ W + table
    # With ten pictures the table would fit, and give each picture biases of its own.
    assert (torch.zeros(10, 784) @ W + table).shape == (10, 10)
    assert (torch.zeros(1, 784) @ W + table).shape == (10, 10)  # one picture becomes ten


def test_one_hot_predictions_would_make_every_loss_0_or_infinite():
    y_hat, y = torch.tensor([[0.1, 0.3, 0.6], [0.3, 0.2, 0.5]]), torch.tensor([0, 2])
    one_hot = torch.nn.functional.one_hot(y_hat.argmax(dim=1), 3).float()
    assert (-torch.log(one_hot[range(2), y])).tolist() == [torch.inf, 0]
    losses = -torch.log(y_hat[range(2), y])
    torch.testing.assert_close(losses, torch.tensor([np.log(10), np.log(2)]).float())
    ours = cross_entropy(torch.log(y_hat), y, reduction="none")
    torch.testing.assert_close(ours, losses)


@given(scores, st.floats(0.01, 1))
def test_the_gradient_is_prediction_minus_target_and_the_step_its_opposite(x, rate):
    z = torch.tensor(x, requires_grad=True)
    torch.nn.functional.cross_entropy(z, torch.tensor(0)).backward()
    p, y = torch.softmax(z.detach(), 0).numpy(), np.eye(len(x))[0]
    np.testing.assert_allclose(z.grad, p - y, rtol=0, atol=1e-12)
    np.testing.assert_allclose(cross_entropy_grad(x, 0), p - y, rtol=0, atol=1e-12)
    # The other order is the way down, and the recipe for the gradient is no distribution.
    down, up = softmax(x + rate * (y - p))[0], softmax(x + rate * (p - y))[0]
    assert down > p[0] > up
    assert (p - y)[0] < 0
    assert abs((p - y).sum()) < 1e-12


def test_the_loss_from_underflowed_probabilities_is_infinite_and_from_the_scores_exact():
    x = torch.tensor([[0.0, -110.0]], requires_grad=True)
    lost = -torch.log(torch.softmax(x, dim=1)[range(1), [1]]).mean()
    assert torch.isinf(lost)
    (gradient,) = torch.autograd.grad(lost, x)
    assert torch.isnan(gradient).all()
    # log(1 + e^110) is 110 but for 1e-48, and the gradient is (1, −1) but for as much.
    assert cross_entropy(x.detach(), [1]) == 110
    assert cross_entropy_grad(x.detach(), [1]).tolist() == [[1, -1]]
    assert torch.nn.functional.cross_entropy(x, torch.tensor([1])) == 110


# --- D: Softmax as a smooth argmax


def test_a_repeated_digit_further_down_the_list_does_no_harm():
    digits = np.array([3.0, 1, 4, 1, 5, 9, 2])
    assert len(set(digits.tolist())) < len(digits)
    for alpha in (4, 16, 64):
        ours = smooth_argmax(digits, alpha=alpha)
        by_pytorch = torch.softmax(alpha * torch.tensor(digits), 0)
        np.testing.assert_allclose(ours, by_pytorch, rtol=1e-12)
        assert abs(ours - np.eye(7)[5]).max() <= 6 * np.exp(-4.0 * alpha)
    # A tie for the maximum does matter.
    tied = torch.softmax(64 * torch.tensor([9.0, 1, 9]), 0)
    assert tied.tolist() == [0.5, 0, 0.5]


@given(st.floats(-30, 0), st.floats(-30, 0))
def test_below_0_the_exponential_brings_numbers_closer_and_makes_ratios_of_differences(a, b):
    assert abs(np.exp(a) - np.exp(b)) <= abs(a - b) * (1 + 1e-12)
    ratio = np.exp(a) / np.exp(b)
    assert abs(np.log(ratio) - (a - b)) < 1e-12
    if min(a, b) < -0.1 and abs(a - b) > 0.1:
        assert abs(np.exp(a) - np.exp(b)) < abs(a - b)


@given(st.floats(1e-9, 1e-3), st.floats(-3, -1))
def test_removing_the_winner_jumps_where_two_leaders_change_places_and_paying_does_not(h, low):
    def second_round(x):
        return softmax(x, where=np.arange(3) != np.argmax(x))

    before, after = np.array([h, 0.0, low]), np.array([-h, 0.0, low])
    assert abs(second_round(before) - second_round(after)).max() > 0.6
    paid = [soft_top_k(x, 2, alpha=2)[1] for x in (before, after)]
    # The second round is softmax of 2 (x + log(1 − p)), whose slopes are at most 2 · ½ · (1 + 2).
    assert abs(paid[0] - paid[1]).max() <= 3 * 2 * h * (1 + 1e-6) + 1e-12
    x = torch.tensor(before)
    p = torch.softmax(2 * x, 0)
    by_hand = torch.softmax(2 * (x + torch.log(1 - p)), 0)
    np.testing.assert_allclose(paid[0], by_hand, rtol=1e-12)


# --- elsewhere


@given(scores)
def test_a_loss_without_its_minus_makes_the_right_class_improbable(x):
    t = int(np.argmin(x))
    z = torch.tensor(x, requires_grad=True)
    log_p = torch.log_softmax(z, 0)[t]
    assert log_p < 0  # so it has no lower end at 0, as a loss should
    (slope,) = torch.autograd.grad(log_p, z)
    documented, meant = (torch.softmax(z + s * slope, 0)[t] for s in (-1, 1))
    assert documented < torch.softmax(z, 0)[t] < meant
    np.testing.assert_allclose(cross_entropy_grad(x, t), -slope, rtol=1e-9, atol=1e-12)
