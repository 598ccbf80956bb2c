"""Large vocabularies: trees, clusters, sampled losses and tiles, against PyTorch and by hand."""

import heapq
import itertools
import math

import mpmath
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from softmax_notes.data import load_word_counts
from softmax_notes.huffman import HuffmanTree, huffman_tree
from softmax_notes.sampled_softmax import (
    Proposal,
    log_sigmoid,
    nce_loss,
    sampled_logits,
    sampled_softmax_loss,
)
from softmax_notes.symbolic import vocabulary as proofs
from softmax_notes.vocabulary import (
    adaptive_log_prob,
    adaptive_log_softmax,
    hierarchical_grad,
    hierarchical_log_prob,
    hierarchical_log_softmax,
)
from tests.exact import DIGITS, ulp_error
from tests.libraries import same_kind, to_numpy
from tests.pytorch import torch, with_torch

linear_cross_entropy = with_torch("softmax_notes.linear_cross_entropy").linear_cross_entropy
INF = math.inf
eighths = st.integers(-40, 40).map(lambda k: k / 8)
word_counts = st.lists(st.integers(1, 1000), min_size=1, max_size=12)


@st.composite
def trees(draw):
    """Draw features, a Huffman tree, vectors for its nodes, and a target for each row."""
    counts = draw(word_counts)
    rows, features = draw(st.integers(0, 3)), draw(st.integers(1, 3))
    X = draw(npst.arrays(np.float64, (rows, features), elements=eighths))
    nodes = draw(npst.arrays(np.float64, (len(counts) - 1, features), elements=eighths))
    target = draw(npst.arrays(np.int64, rows, elements=st.integers(0, len(counts) - 1)))
    return X, nodes, huffman_tree(counts), target


def product_along_the_path(x, nodes, tree, word):
    """Multiply sigmoids in mpmath, digit by digit of the code."""
    node_at = dict(zip(prefixes(tree.codes[word]), tree.paths[word].tolist(), strict=False))
    with mpmath.workdps(DIGITS):
        p = mpmath.mpf(1)
        for prefix, node in node_at.items():
            s = mpmath.fdot(x.tolist(), nodes[node].tolist())
            went = 1 if tree.codes[word][len(prefix)] == "1" else -1
            p *= 1 / (1 + mpmath.exp(-went * s))
        return p


def prefixes(code):
    return [code[:k] for k in range(len(code))]


# --- laws


@pytest.mark.claim("thm-leaves")
@given(trees())
def test_the_probabilities_of_all_leaves_sum_to_1(quick_library, problem):
    X, nodes, tree, _ = problem
    log_p = hierarchical_log_softmax(quick_library(X), quick_library(nodes), tree)
    assert log_p.shape == (len(X), len(tree.codes))
    np.testing.assert_allclose(np.exp(to_numpy(log_p)).sum(axis=1), 1, rtol=1e-13)


@pytest.mark.claim("thm-leaves")
@settings(max_examples=25)
@given(trees())
def test_a_leaf_has_the_product_of_the_sigmoids_on_its_path(quick_library, problem):
    X, nodes, tree, target = problem
    found = to_numpy(
        hierarchical_log_prob(quick_library(X), quick_library(nodes), tree, quick_library(target))
    )
    every = to_numpy(hierarchical_log_softmax(quick_library(X), quick_library(nodes), tree))
    for row, word in enumerate(target):
        p = product_along_the_path(X[row], nodes, tree, word)
        assert found[row] == pytest.approx(float(mpmath.log(p)), rel=1e-12, abs=1e-13)
        assert every[row, word] == pytest.approx(found[row], rel=1e-13, abs=1e-14)


@pytest.mark.claim("prop-path-gradient")
@given(trees())
def test_the_gradient_is_that_of_automatic_differentiation(problem):
    X, nodes, tree, target = problem
    found = hierarchical_grad(X, nodes, tree, target)
    leaves = [torch.tensor(a, requires_grad=True) for a in (X, nodes)]
    (-hierarchical_log_prob(*leaves, tree, torch.tensor(target)).sum()).backward()
    np.testing.assert_allclose(found.X, leaves[0].grad, rtol=1e-12, atol=1e-13)
    by_nodes = np.zeros_like(nodes)
    for row, word in enumerate(target):
        for k in range(tree.lengths[word]):
            by_nodes[tree.paths[word, k]] += found.scores[row, k] * X[row]
    np.testing.assert_allclose(by_nodes, leaves[1].grad, rtol=1e-12, atol=1e-13)


@pytest.mark.claim("prop-path-gradient")
@given(trees())
def test_a_score_gets_its_sigmoid_minus_1_or_0(problem):
    X, nodes, tree, target = problem
    found = hierarchical_grad(X, nodes, tree, target).scores
    for row, word in enumerate(target):
        went = np.array([int(digit) for digit in tree.codes[word]])
        scores = nodes[tree.paths[word, : len(went)]] @ X[row]
        sigmoid = torch.sigmoid(torch.tensor(scores)).numpy()
        np.testing.assert_allclose(found[row, : len(went)], sigmoid - went, atol=1e-15)
        assert np.all(found[row, len(went) :] == 0)


def entropy(counts):
    p = np.array(counts) / np.sum(counts)
    return -np.sum(p * np.log2(p))


def expected_length(counts, tree):
    return np.dot(counts, tree.lengths) / np.sum(counts)


@pytest.mark.claim("thm-code-length")
@given(word_counts)
def test_the_expected_length_of_a_code_is_from_the_entropy_to_less_than_1_above(counts):
    tree, bits = huffman_tree(counts), entropy(counts)
    assert bits - 1e-12 <= expected_length(counts, tree) < bits + 1


@pytest.mark.claim("thm-code-length")
@given(st.lists(st.integers(0, 20), min_size=1, max_size=6))
def test_no_tree_has_a_shorter_expected_length_and_no_best_tree_a_shorter_longest_path(counts):
    """Every order in which two subtrees may be joined, tried out."""
    best = {}

    def join(subtrees):
        if len(subtrees) == 1:
            depths = subtrees[0]
            cost = sum(count * depth for count, depth in depths)
            best[cost] = min(best.get(cost, 99), max(depth for _, depth in depths))
            return
        for a, b in itertools.combinations(range(len(subtrees)), 2):
            others = [s for k, s in enumerate(subtrees) if k not in (a, b)]
            deeper = [(count, depth + 1) for count, depth in subtrees[a] + subtrees[b]]
            join([*others, deeper])

    join([[(count, 0)] for count in counts][:5])
    counts = counts[:5]
    tree = huffman_tree(counts)
    assert np.dot(counts, tree.lengths) == min(best)
    assert max(tree.lengths) == best[min(best)]


@given(word_counts)
def test_codes_are_those_of_a_full_binary_tree(counts):
    tree = huffman_tree(counts)
    assert [len(code) for code in tree.codes] == tree.lengths.tolist()
    assert sum(2.0**-length for length in tree.lengths) == 1
    for one, other in itertools.permutations(tree.codes, 2):
        assert not other.startswith(one)
    # Words that share the way so far are at the same node, and others at another.
    at = {}
    for code, path in zip(tree.codes, tree.paths.tolist(), strict=True):
        for prefix, node in zip(prefixes(code), path, strict=False):
            assert at.setdefault(prefix, node) == node
    assert sorted(at.values()) == list(range(len(counts) - 1))


@given(word_counts, st.integers(1, 5))
def test_a_tree_depends_on_the_ratios_of_counts_alone_and_rarer_words_are_deeper(counts, factor):
    tree, again = huffman_tree(counts), huffman_tree([factor * count for count in counts])
    assert all(np.array_equal(a, b) for a, b in zip(tree, again, strict=True))
    for a, b in itertools.combinations(range(len(counts)), 2):
        if counts[a] > counts[b]:
            assert tree.lengths[a] <= tree.lengths[b]


@st.composite
def sampled_problems(draw, n=4):
    """Logits of n classes as a row of weights on one feature, a proposal, and a target."""
    z = np.array(draw(st.lists(st.integers(-16, 16), min_size=n, max_size=n))) / 8
    weights = np.array(draw(st.lists(st.integers(1, 5), min_size=n, max_size=n)), dtype=float)
    return z, Proposal(weights), draw(st.integers(0, n - 1))


def every_draw(proposal, m):
    """All ways to draw m classes, with their probabilities."""
    for samples in itertools.product(range(len(proposal.q)), repeat=m):
        yield np.array(samples), np.prod(proposal.q[list(samples)])


@pytest.mark.claim("prop-sampled-denominator")
@given(sampled_problems(), st.integers(1, 3))
@settings(max_examples=20)
def test_the_estimated_sum_is_right_on_average_over_all_draws(problem, m):
    z, proposal, target = problem
    mean = 0.0
    for samples, probability in every_draw(proposal, m):
        logits = sampled_logits([[1.0]], z[:, None], [target], samples, proposal.log_q)
        mean += probability * np.exp(logits).sum()
    assert mean == pytest.approx(np.exp(z).sum(), rel=1e-12)


@pytest.mark.claim("prop-sampled-bias")
@given(sampled_problems(), st.integers(1, 3))
@settings(max_examples=20)
def test_the_loss_is_too_small_on_average(problem, m):
    z, proposal, target = problem
    full = float(torch.nn.functional.cross_entropy(torch.tensor(z), torch.tensor(target)))
    mean = sum(
        probability
        * sampled_softmax_loss([[1.0]], z[:, None], [target], samples, proposal.log_q)[0]
        for samples, probability in every_draw(proposal, m)
    )
    assert mean <= full + 1e-12


@pytest.mark.claim("prop-sampled-bias")
@given(sampled_problems(), st.data())
def test_the_gradient_is_a_weighted_mean_over_the_drawn_classes(problem, data):
    z, proposal, target = problem
    samples = data.draw(npst.arrays(np.int64, 5, elements=st.integers(0, len(z) - 1)))
    W = torch.tensor(z[:, None], requires_grad=True)
    X = torch.ones(1, 1, dtype=torch.float64)
    arguments = (torch.tensor([target]), torch.tensor(samples), torch.tensor(proposal.log_q))
    sampled_softmax_loss(X, W, *arguments).sum().backward()
    weights = np.zeros(len(z))
    weights[target] = np.exp(z[target])
    for s in samples:
        if s != target:
            weights[s] += np.exp(z[s]) / (len(samples) * proposal.q[s])
    expected = weights / weights.sum() - np.eye(len(z))[target]
    np.testing.assert_allclose(W.grad[:, 0], expected, rtol=1e-12, atol=1e-14)


def balanced(m):
    """Half of m draws class 0, a quarter class 1, a quarter class 2: what q says, exactly."""
    return torch.tensor([0] * (m // 2) + [1] * (m // 4) + [2] * (m // 4))


Q, SHARES = np.array([0.5, 0.25, 0.25]), np.array([0.2, 0.7, 0.1])
LOG_P = np.array([-0.4, -2.0, 0.3])  # of a model whose "probabilities" do not sum to 1


def nce_gradient(m, z=LOG_P):
    """Gradient by the logits, averaged over the data, with draws in the proportions of q."""
    W = torch.tensor(z[:, None], requires_grad=True)
    X, target = torch.ones(3, 1, dtype=torch.float64), torch.arange(3)
    losses = nce_loss(X, W, target, balanced(m), torch.tensor(np.log(Q)))
    (losses * torch.tensor(SHARES)).sum().backward()
    return W.grad[:, 0].numpy()


@pytest.mark.claim("thm-nce-gradient")
@pytest.mark.parametrize("m", [4, 8, 400])
def test_nces_gradient_is_p_minus_d_damped_by_a_factor(m):
    p = np.exp(LOG_P)
    expected = (p - SHARES) * m * Q / (p + m * Q)
    np.testing.assert_allclose(nce_gradient(m), expected, rtol=1e-12)


@pytest.mark.claim("thm-nce-gradient")
def test_nce_is_at_rest_where_the_model_has_the_shares_of_the_data_and_nowhere_else():
    np.testing.assert_allclose(nce_gradient(4, np.log(SHARES)), 0, atol=1e-16)
    assert np.all(np.abs(nce_gradient(4, np.log(2 * SHARES))) > 0.01)


@pytest.mark.claim("cor-nce-limit")
def test_with_many_draws_nces_gradient_is_p_minus_d_and_the_distance_falls_like_1_over_m():
    limit = np.exp(LOG_P) - SHARES
    errors = [np.abs(nce_gradient(m) - limit).max() for m in (64, 128, 8192)]
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.05)
    assert errors[2] < 1e-3


@st.composite
def clusters(draw):
    """Draw features, a head, tails and targets."""
    rows, features = draw(st.integers(0, 4)), draw(st.integers(1, 3))
    sizes = draw(st.lists(st.integers(1, 4), max_size=3))
    first = draw(st.integers(0 if sizes else 1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    tails = []
    for size in sizes:
        inner = int(rng.integers(1, 4))
        tails.append((rng.normal(size=(inner, features)), rng.normal(size=(size, inner))))
    n = first + sum(sizes)
    head = 3 * rng.normal(size=(first + len(sizes), features))
    return rng.normal(size=(rows, features)), head, tails, rng.integers(0, n, rows)


@pytest.mark.claim("prop-adaptive")
@given(clusters())
def test_probabilities_of_head_and_tails_sum_to_1_and_one_class_is_one_entry(
    quick_library, problem
):
    X, head, tails, target = problem
    X, head, target = (quick_library(a) for a in (X, head, target))
    tails = [tuple(quick_library(a) for a in tail) for tail in tails]
    every = adaptive_log_softmax(X, head, tails)
    np.testing.assert_allclose(np.exp(to_numpy(every)).sum(axis=1), 1, rtol=1e-13)
    one = adaptive_log_prob(X, head, tails, target)
    assert same_kind(one, X)
    assert same_kind(every, X)
    expected = to_numpy(every)[np.arange(X.shape[0]), to_numpy(target)]
    np.testing.assert_allclose(to_numpy(one), expected, rtol=1e-13, atol=1e-14)


@pytest.mark.claim("prop-chunked")
@given(st.integers(1, 6), st.integers(1, 30), st.integers(1, 200), st.integers(0, 999))
def test_the_loss_in_tiles_is_the_loss_and_its_gradients_are_the_gradients(rows, n, tile, seed):
    rng = torch.Generator().manual_seed(seed)
    target = torch.randint(n, (rows,), generator=rng)
    ours, theirs = (
        [torch.randn(s, 3, dtype=torch.float64, generator=g).requires_grad_() for s in (rows, n)]
        for g in (rng, torch.Generator().set_state(rng.get_state()))
    )
    loss = linear_cross_entropy(*ours, target, tile=tile)
    reference = torch.nn.functional.cross_entropy(theirs[0] @ theirs[1].T, target)
    torch.testing.assert_close(loss, reference, rtol=1e-12, atol=1e-13)
    loss.backward()
    reference.backward()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-11, atol=1e-13)


# --- references


@pytest.mark.claim("thm-code-length")
def test_the_tree_of_moby_dick_has_an_expected_length_that_two_queues_confirm():
    """Huffman's algorithm once more, by sums of the two smallest alone."""
    _, counts = load_word_counts()
    heap, total = counts.tolist(), 0
    heapq.heapify(heap)
    while len(heap) > 1:
        joined = heapq.heappop(heap) + heapq.heappop(heap)
        total += joined  # each word below gets one digit more
        heapq.heappush(heap, joined)
    tree = huffman_tree(counts)
    assert np.dot(counts, tree.lengths) == total
    assert 0 <= total / counts.sum() - entropy(counts) < 0.05
    assert tree.lengths[0] < tree.lengths[-1]


@pytest.mark.claim("prop-adaptive")
def test_values_and_gradients_are_those_of_pytorchs_adaptive_softmax_on_real_counts():
    words, counts = load_word_counts()
    torch.manual_seed(0)
    # The head takes the words that make up half of the text, the first tail the next 40 %.
    shares = np.cumsum(counts) / counts.sum()
    cutoffs = np.searchsorted(shares, [0.5, 0.9]).tolist()
    layer = torch.nn.AdaptiveLogSoftmaxWithLoss(16, len(words), cutoffs, div_value=2).double()
    X = torch.randn(40, 16, dtype=torch.float64, requires_grad=True)
    rng = np.random.default_rng(0)
    target = torch.tensor(rng.choice(len(words), 40, p=counts / counts.sum()))
    parameters = [X, *layer.parameters()]
    theirs = layer(X, target)
    expected = torch.autograd.grad(theirs.loss, parameters)

    tails = [(tail[0].weight, tail[1].weight) for tail in layer.tail]
    ours = adaptive_log_prob(X, layer.head.weight, tails, target)
    torch.testing.assert_close(ours, theirs.output, rtol=1e-12, atol=1e-12)
    for value, reference in zip(
        torch.autograd.grad(-ours.mean(), parameters), expected, strict=True
    ):
        torch.testing.assert_close(value, reference, rtol=1e-10, atol=1e-13)
    every = adaptive_log_softmax(X, layer.head.weight, tails)
    torch.testing.assert_close(every, layer.log_prob(X), rtol=1e-12, atol=1e-12)


# mpmath, 20 digits: log sigmoid
LOG_SIGMOID = {
    -800.0: -800.0,
    -1.0: -1.3132616875182228340,
    0.0: -0.69314718055994530942,
    2.0: -0.12692801104297249644,
    40.0: -4.2483542552915889863e-18,
}


def test_log_sigmoid_is_accurate_on_both_sides(library):
    z = np.array(list(LOG_SIGMOID))
    found = to_numpy(log_sigmoid(library(z)))
    np.testing.assert_allclose(found, list(LOG_SIGMOID.values()), rtol=4e-16)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_log_sigmoid_is_within_4_ulp_and_its_derivative_is_that_of_pytorch(dtype):
    z = np.concatenate([np.linspace(-90, 90, 181), [1e-4, 1e-12, -1e-30, 1e30]]).astype(dtype)
    with mpmath.workdps(DIGITS):
        truth = [-mpmath.log1p(mpmath.exp(-mpmath.mpf(float(v)))) for v in z]
    assert ulp_error(log_sigmoid(z), truth, dtype) <= 4
    t, u = (torch.tensor(z, requires_grad=True) for _ in range(2))
    log_sigmoid(t).sum().backward()
    torch.nn.functional.logsigmoid(u).sum().backward()
    torch.testing.assert_close(t.grad, u.grad, rtol=1e-6, atol=1e-30)


def test_every_library_gives_the_same_losses(library):
    rng = np.random.default_rng(0)
    X, W, bias = rng.normal(size=(3, 2)), rng.normal(size=(5, 2)), rng.normal(size=5)
    target, samples, log_q = np.array([0, 4, 2]), np.array([1, 4, 4]), Proposal.uniform(5).log_q
    given_arrays = [library(a) for a in (X, W, target, samples, log_q)]
    z = X @ W.T + bias
    weights = np.exp(z[:, samples]) * 5 / 3 * (samples != target[:, None])
    own = z[np.arange(3), target]
    found = to_numpy(sampled_logits(*given_arrays, bias=library(bias), remove_hits=False))
    np.testing.assert_allclose(found[:, 0], own, rtol=1e-13)
    np.testing.assert_allclose(found[:, 1:], z[:, samples] + np.log(5 / 3), rtol=1e-13)
    found = sampled_softmax_loss(*given_arrays, bias=library(bias))
    assert same_kind(found, given_arrays[0])
    expected = np.log(np.exp(own) + weights.sum(axis=1)) - own
    np.testing.assert_allclose(to_numpy(found), expected, rtol=1e-13)
    ratios = np.exp(z) * 5 / 3  # p over m q
    expected = np.log1p(1 / ratios[np.arange(3), target])
    expected = expected + np.log1p(ratios[:, samples]).sum(axis=1)
    found = nce_loss(*given_arrays, bias=library(bias))
    np.testing.assert_allclose(to_numpy(found), expected, rtol=1e-13)
    tree = huffman_tree([3, 2, 2, 1, 1])
    grad = hierarchical_grad(library(X), library(W[:4]), tree, library(target))
    t = torch.tensor(X, requires_grad=True)
    hierarchical_log_prob(t, torch.tensor(W[:4]), tree, torch.tensor(target)).sum().backward()
    np.testing.assert_allclose(to_numpy(grad.X), -t.grad.numpy(), rtol=1e-12)


def test_proposals_are_the_distributions_they_are_named_after():
    np.testing.assert_allclose(Proposal.uniform(4).q, 0.25)
    r = np.arange(50)
    np.testing.assert_allclose(
        Proposal.log_uniform(50).q, (np.log(r + 2) - np.log(r + 1)) / np.log(51), rtol=1e-12
    )
    np.testing.assert_allclose(
        Proposal.unigram([16, 81, 1], 0.75).q, np.array([8, 27, 1]) / 36, rtol=1e-14
    )
    proposal = Proposal.unigram([3, 1])
    np.testing.assert_allclose(proposal.log_q, np.log([0.75, 0.25]), rtol=1e-15)


@pytest.mark.parametrize("proposal", [Proposal.uniform(7), Proposal.log_uniform(7)])
def test_draws_have_the_frequencies_of_the_proposal(proposal):
    """A false alarm has probability 10⁻⁶; the seed is fixed."""
    draws = proposal.sample((100, 1000), np.random.default_rng(0))
    assert draws.shape == (100, 1000)
    counts = np.bincount(draws.ravel(), minlength=7)
    statistic = np.sum((counts - 1e5 * proposal.q) ** 2 / (1e5 * proposal.q))
    assert statistic < scipy.stats.chi2.isf(1e-6, 6)


@pytest.mark.claim("prop-sampled-bias")
def test_the_bias_of_the_gradient_falls_like_1_over_m():
    z, proposal, target = np.array([1.0, -0.5, 0.8]), Proposal([1, 2, 3]), 0
    full = torch.softmax(torch.tensor(z), 0).numpy() - np.eye(3)[target]
    bias = {}
    for m in (1, 2, 4, 8):
        mean = np.zeros(3)
        for samples, probability in every_draw(proposal, m):
            logits = sampled_logits([[1.0]], z[:, None], [0], samples, proposal.log_q)[0]
            share = np.exp(logits - np.logaddexp.reduce(logits))
            np.add.at(mean, np.append(0, samples), probability * share)
        bias[m] = np.linalg.norm(mean - np.eye(3)[target] - full)
    assert bias[1] > bias[2] > bias[4] > bias[8]
    assert bias[4] / bias[8] == pytest.approx(2, rel=0.2)


# --- edges


def test_logarithms_stay_finite_where_the_product_underflows():
    """A path of 40 nodes, each against odds of e^50: the probability is e^-2000."""
    counts = [1, 1]  # Fibonacci numbers make the deepest tree
    while len(counts) < 41:
        counts.append(counts[-1] + counts[-2])
    tree = huffman_tree(counts)
    assert tree.lengths.max() == 40
    word = int(tree.lengths.argmax())
    nodes = np.zeros((40, 1))
    nodes[tree.paths[word], 0] = -50.0 * tree.turns[word]
    found = hierarchical_log_prob([[1.0]], nodes, tree, [word])
    assert found[0] == pytest.approx(-2000, rel=1e-12)
    grad = hierarchical_grad([[1.0]], nodes, tree, [word])
    np.testing.assert_allclose(np.abs(grad.scores), 1, rtol=1e-12)


def test_an_infinite_score_decides():
    tree = huffman_tree([1, 1])
    turn = tree.turns[0, 0]
    for score in (INF, -INF):
        found = hierarchical_log_prob([[1.0]], [[score]], tree, [0])
        assert found[0] == (0 if score * turn > 0 else -INF)


def test_a_single_word_has_probability_1_and_an_empty_path():
    tree = huffman_tree([7])
    assert tree.paths.shape == (1, 0)
    assert tree.codes == ("",)
    nodes = np.zeros((0, 2))
    assert hierarchical_log_prob(np.ones((3, 2)), nodes, tree, [0, 0, 0]).tolist() == [0, 0, 0]
    assert hierarchical_log_softmax(np.ones((3, 2)), nodes, tree).tolist() == [[0]] * 3
    assert hierarchical_grad(np.ones((3, 2)), nodes, tree, [0, 0, 0]).X.tolist() == [[0, 0]] * 3


def test_ties_are_decided_by_position_so_that_a_tree_is_the_same_everywhere():
    assert huffman_tree([1, 1, 1, 1]).codes == ("11", "10", "01", "00")
    tree = huffman_tree([2, 1, 1])
    assert tree.codes == ("1", "01", "00")
    assert (tree.paths.dtype, tree.turns.dtype) == (np.int64, np.int8)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_dtypes_are_kept_and_16_bits_are_rounded_once(dtype):
    rng = np.random.default_rng(0)
    X, W = (rng.normal(size=(4, 8)).astype(dtype) for _ in range(2))
    tree, target = huffman_tree([4, 3, 2, 1, 1]), np.array([4, 0, 1, 2])
    found = hierarchical_log_prob(X, W, tree, target)
    wide = hierarchical_log_prob(X.astype(float), W.astype(float), tree, target)
    assert found.dtype == dtype
    rtol = 0.6 * np.finfo(dtype).eps if dtype == "float16" else 1e-5
    np.testing.assert_allclose(found, wide, rtol=rtol)
    samples, log_q = np.array([1, 2]), Proposal.uniform(4).log_q
    for function in (sampled_softmax_loss, nce_loss, sampled_logits):
        found = function(X, W, target % 4, samples, log_q)
        wide = function(X.astype(float), W.astype(float), target % 4, samples, log_q)
        assert found.dtype == dtype
        np.testing.assert_allclose(found, wide, rtol=rtol)


def test_accidental_hits_are_removed_row_by_row_unless_told_otherwise():
    X, W, log_q = [[1.0], [1.0]], [[0.0], [0.0], [0.0]], Proposal.uniform(3).log_q
    logits = sampled_logits(X, W, [0, 1], [0, 1, 2], log_q)
    assert np.isneginf(logits).tolist() == [
        [False, True, False, False],
        [False, False, True, False],
    ]
    assert np.all(np.isfinite(sampled_logits(X, W, [0, 1], [0, 1, 2], log_q, remove_hits=False)))
    # Nothing but hits: the estimate is the target's own term, and the loss is 0.
    assert sampled_softmax_loss(X, W, [0, 0], [0, 0], log_q).tolist() == [0, 0]


def test_the_last_class_is_drawn_when_the_random_number_is_as_large_as_can_be():
    class Largest(np.random.Generator):
        def random(self, size):
            return np.full(size, np.nextafter(1, 0))

    rng = Largest(np.random.PCG64())
    assert Proposal(np.full(10, 0.1)).sample(3, rng).tolist() == [9, 9, 9]


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([], r"one number or more, got shape \(0,\)"),
        ([[1, 2]], r"one number or more, got shape \(1, 2\)"),
        ([1, -1], "finite numbers from 0 on"),
        ([1, math.nan], "finite numbers from 0 on"),
        ([1, INF], "finite numbers from 0 on"),
        (["a"], "finite numbers from 0 on"),
    ],
)
def test_counts_that_cannot_be_are_named(counts, message):
    with pytest.raises(ValueError, match=message):
        huffman_tree(counts)


@pytest.mark.parametrize("weights", [[], [[1.0]], [1.0, 0.0], [1.0, -1.0], [1.0, math.nan], [INF]])
def test_a_proposal_that_would_never_draw_some_class_is_refused(weights):
    with pytest.raises(ValueError, match="finite, positive numbers"):
        Proposal(weights)


TREE = huffman_tree([2, 1, 1])
ONE_TAIL = [(np.zeros((1, 2)), np.zeros((2, 1)))]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hierarchical_log_prob([[1.0]], [[1.0]], TREE, [0]), r"n = 3 leaves.*\(1, 1\)"),
        (lambda: hierarchical_log_prob([1.0], [[1.0]] * 2, TREE, [0]), r"got \(1,\) and \(2, 1\)"),
        (lambda: hierarchical_log_prob([[1.0]], [[1.0]] * 2, TREE, [3]), "from 0 to 2"),
        (lambda: hierarchical_log_prob([[1.0]], [[1.0]] * 2, TREE, [-1]), "from 0 to 2"),
        (lambda: hierarchical_log_prob([[1.0]], [[1.0]] * 2, TREE, [0.0]), "dtype float64"),
        (lambda: hierarchical_grad([[1.0]], [[1.0]] * 2, TREE, [0, 1]), r"shape \(2,\)"),
        (lambda: adaptive_log_softmax([[1.0]], np.zeros((3, 1)), ONE_TAIL), "projection"),
        (lambda: adaptive_log_softmax([[1.0]], [1.0], []), "must have the shapes"),
        (lambda: adaptive_log_prob([[1.0, 1]], np.zeros((2, 2)), ONE_TAIL, [3]), "from 0 to 2"),
        (lambda: sampled_logits([[1.0]], [[1.0, 2.0]], [0], [0], [0.0]), r"\(1, 1\), \(1, 2\)"),
        (lambda: sampled_logits([[1.0]], [[1.0]], [0], [0], [0.0, 1.0]), "^log_q must.*1 classes"),
        (lambda: sampled_logits([[1.0]], [[1.0]], [0], [], [0.0]), "one class or more"),
        (lambda: sampled_logits([[1.0]], [[1.0]], [0], [0.5], [0.0]), "samples.*float64"),
        (lambda: sampled_logits([[1.0]], [[1.0]], [1], [0], [0.0]), "target must be from 0 to 0"),
        (lambda: nce_loss([[1.0]], [[1.0]], [0], [2], [0.0]), "samples must be from 0 to 0"),
        (lambda: nce_loss([[1.0]], [[1.0]], [0], [0], [0.0], bias=[1.0, 2.0]), "bias must hold"),
    ],
)
def test_an_argument_that_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_tails_are_pairs():
    for tails in (None, [1.0]):
        with pytest.raises(TypeError, match="tails must hold pairs"):
            adaptive_log_softmax([[1.0]], [[1.0]], tails)


# --- proofs


@pytest.mark.claim("thm-leaves")
def test_a_node_hands_on_what_it_has_and_trees_written_out_sum_to_1():
    assert proofs.split_residual() == 0
    for counts in ([1], [1, 1], [5, 2, 1], [1, 1, 1, 1], [8, 4, 2, 1, 1]):
        assert proofs.leaves_residual(huffman_tree(counts).codes) == 0
    assert proofs.leaves_residual(["0", "10"]) != 0


@pytest.mark.claim("prop-path-gradient")
def test_the_derivative_by_a_score_is_the_sigmoid_minus_the_turn():
    assert [proofs.path_gradient_residual(turn) for turn in (1, -1)] == [0, 0]


@pytest.mark.claim("prop-sampled-denominator")
def test_minus_log_q_makes_the_estimate_unbiased_and_plus_log_q_does_not():
    for n in (2, 3, 5):
        assert proofs.sampled_denominator_residual(n) == 0
        assert proofs.sampled_denominator_residual(n, sign=1) != 0


@pytest.mark.claim("prop-sampled-bias")
def test_the_derivatives_of_the_estimate_are_shares_of_weights():
    assert proofs.sampled_gradient_residual(3).is_zero_matrix


@pytest.mark.claim("thm-nce-gradient")
def test_nces_derivative_is_the_damped_difference():
    assert proofs.nce_gradient_residual() == 0


@pytest.mark.claim("cor-nce-limit")
def test_the_damping_goes_away_in_the_limit():
    assert proofs.nce_limit_residual() == 0


@pytest.mark.claim("prop-adaptive")
def test_head_and_two_tails_of_any_sizes_sum_to_1():
    assert proofs.adaptive_residual() == 0


@pytest.mark.claim("prop-chunked")
def test_two_blocks_with_maxima_of_their_own_join():
    assert proofs.chunk_residual() == 0


def test_deleting_a_leaf_changes_ratios_of_a_tree():
    assert str(proofs.deleted_leaf_ratio()) == "1/q"
    X, nodes = np.array([[1.0]]), np.array([[0.3], [-0.8]])
    p = np.exp(hierarchical_log_softmax(X, nodes, HuffmanTree(TREE.paths, TREE.turns)))[0]
    # Word 2 goes: word 1 takes its parent's place, and the root decides alone.
    alone = torch.sigmoid(torch.tensor(-TREE.turns[0, 0] * 0.3)).item()
    after, before = alone / (1 - alone), p[1] / p[0]
    given_parent = torch.sigmoid(torch.tensor(TREE.turns[1, 1] * -0.8)).item()
    assert after / before == pytest.approx(1 / given_parent, rel=1e-6)
