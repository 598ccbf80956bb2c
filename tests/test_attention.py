"""Attention: laws, references, edges, proofs."""

import gc
import tracemalloc

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from softmax_notes.attention import (
    attention,
    causal_mask,
    hard_attention,
    scaled_dot_product,
    soft_attention,
    tiled_attention,
    tiled_attention_vjp,
)
from softmax_notes.symbolic import attention as proofs
from tests.libraries import LIBRARIES, same_kind, to_numpy
from tests.pytorch import torch

INF, NAN = np.inf, np.nan
sdpa = torch.nn.functional.scaled_dot_product_attention
FORMS = [attention, tiled_attention]
forms = pytest.mark.parametrize("form", FORMS, ids=["whole", "tiled"])


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@st.composite
def problems(draw):
    """Queries, keys, values with a batch; a mask; a number of keys at a time."""
    batch = draw(st.sampled_from([(), (2,), (2, 3)]))
    L, S, d, e = (draw(st.integers(1, high)) for high in (4, 6, 3, 3))
    seed, size = draw(st.integers(0, 10**6)), draw(st.sampled_from([0.3, 1.0, 10.0]))
    q, k, v = (normal(*batch, *s, seed=seed + i) for i, s in enumerate([(L, d), (S, d), (S, e)]))
    mask = np.random.default_rng(seed + 3).random((*batch, L, S)) < draw(st.floats(0.2, 1))
    return q * size, k, v, mask, draw(st.integers(1, 7))


def by_loops(q, k, v, mask):
    """The definition, one query and one key at a time."""
    out = np.zeros((*q.shape[:-1], v.shape[-1]))
    for b in np.ndindex(q.shape[:-2]):
        for i in range(q.shape[-2]):
            seen = np.flatnonzero(mask[b][i])
            if not len(seen):
                continue
            scores = [sum(q[b][i] * k[b][j]) / np.sqrt(q.shape[-1]) for j in seen]
            weights = [np.exp(s - max(scores)) for s in scores]
            out[b][i] = sum(w * v[b][j] for w, j in zip(weights, seen, strict=True)) / sum(weights)
    return out


# --- laws


@forms
@given(problems())
def test_attention_is_its_definition_by_loops(quick_library, form, problem):
    q, k, v, mask, size = problem
    options = {"block_size": size} if form is tiled_attention else {}
    got = form(*map(quick_library, (q, k, v)), mask=quick_library(mask), **options)
    np.testing.assert_allclose(to_numpy(got), by_loops(q, k, v, mask), rtol=1e-9, atol=1e-12)


@pytest.mark.claim("prop-convex-hull")
@given(problems())
def test_the_result_lies_between_the_values_in_every_direction(problem):
    q, k, v, _, _ = problem
    out = attention(q, k, v)
    for g in (*np.eye(v.shape[-1]), np.linspace(-1, 2, v.shape[-1])):
        along, values = out @ g, v @ g
        slack = 1e-12 * (1 + np.abs(values).max())
        assert np.all(along <= values.max(-1, keepdims=True) + slack)
        assert np.all(along >= values.min(-1, keepdims=True) - slack)


@pytest.mark.claim("prop-convex-hull")
@given(problems())
def test_equal_values_are_returned_whatever_the_scores(problem):
    q, k, v, _, size = problem
    same = np.broadcast_to(v[..., :1, :], v.shape)
    expected = np.broadcast_to(v[..., :1, :], (*q.shape[:-1], v.shape[-1]))
    np.testing.assert_allclose(attention(q, k, same), expected, rtol=1e-12)
    np.testing.assert_allclose(tiled_attention(q, k, same, block_size=size), expected, rtol=1e-12)


@pytest.mark.claim("prop-attention-order")
@given(problems(), st.integers(0, 10**6))
def test_the_order_of_keys_does_not_matter_and_that_of_queries_is_kept(problem, seed):
    q, k, v, mask, _ = problem
    random = np.random.default_rng(seed)
    rows, columns = random.permutation(q.shape[-2]), random.permutation(k.shape[-2])
    out = attention(q, k, v, mask=mask)
    shuffled = attention(
        q[..., rows, :],
        k[..., columns, :],
        v[..., columns, :],
        mask=mask[..., rows, :][..., columns],
    )
    np.testing.assert_allclose(shuffled, out[..., rows, :], rtol=1e-9, atol=1e-12)
    s = random.permutation(k.shape[-2])  # self-attention: what is permuted comes out permuted
    itself = attention(k, k, v)
    permuted = attention(k[..., s, :], k[..., s, :], v[..., s, :])
    np.testing.assert_allclose(permuted, itself[..., s, :], rtol=1e-9, atol=1e-12)


@pytest.mark.claim("prop-attention-mask")
@forms
@given(problems())
def test_a_mask_a_bias_of_minus_infinity_and_leaving_out_are_one(form, problem):
    q, k, v, mask, _ = problem
    row = mask[(0,) * (mask.ndim - 1)]  # one mask for all queries, so that keys can be left out
    out = form(q, k, v, mask=row)
    np.testing.assert_array_equal(form(q, k, v, bias=np.where(row, 0.0, -INF)), out)
    without = form(q, k[..., row, :], v[..., row, :])
    np.testing.assert_allclose(out, without, rtol=1e-9, atol=1e-12)


@pytest.mark.claim("prop-soft-to-hard")
@given(st.integers(1, 6), st.integers(0, 10**6), st.sampled_from([0.5, 2.0, 30.0]))
def test_soft_attention_is_within_its_bound_of_hard_attention(n, seed, alpha):
    scores, values = normal(4, n, seed=seed), normal(n, 3, seed=seed + 1)
    soft, hard = soft_attention(alpha * scores, values), hard_attention(scores, values)
    winner = scores.argmax(-1)
    np.testing.assert_array_equal(hard, values[winner])
    lost = 1 - torch.softmax(torch.tensor(alpha * scores), -1).numpy().max(-1)
    farthest = np.linalg.norm(values - values[winner][:, None], axis=-1).max(-1)
    assert np.all(np.linalg.norm(soft - hard, axis=-1) <= lost * farthest + 1e-12)


@pytest.mark.claim("thm-tiled-attention")
@given(problems(), st.booleans(), st.sampled_from([1.0, 1000.0]))
def test_any_tiling_gives_the_same_result(quick_library, problem, is_causal, size):
    q, k, v, mask, block = problem
    options = {"mask": mask, "is_causal": is_causal, "scale": size}
    expected = attention(q, k, v, **options)
    options["mask"] = quick_library(mask)
    got = tiled_attention(*map(quick_library, (q, k, v)), **options, block_size=block)
    np.testing.assert_allclose(to_numpy(got), expected, rtol=1e-8, atol=1e-11)


@pytest.mark.claim("thm-attention-gradients")
@given(problems(), st.booleans())
def test_gradients_by_hand_are_those_of_autograd(problem, is_causal):
    q, k, v, mask, size = problem
    leaves = [torch.tensor(x, requires_grad=True) for x in (q, k, v)]
    out = attention(*leaves, mask=torch.tensor(mask), is_causal=is_causal)
    g = normal(*out.shape, seed=9)
    out.backward(torch.tensor(g))
    got = tiled_attention_vjp(q, k, v, g, mask=mask, is_causal=is_causal, block_size=size)
    for ours, leaf in zip(got, leaves, strict=True):
        np.testing.assert_allclose(ours, leaf.grad, rtol=1e-8, atol=1e-10)


@pytest.mark.claim("prop-saturation")
@given(st.integers(2, 6), st.integers(0, 10**6), st.sampled_from([0.5, 3.0, 20.0]))
def test_the_jacobian_is_within_its_bound_by_the_gap(n, seed, alpha):
    scores = alpha * normal(n, seed=seed)
    p = torch.softmax(torch.tensor(scores), -1).numpy()
    norm = np.linalg.norm(np.diag(p) - np.outer(p, p), 2)
    second, first = np.sort(scores)[-2:]
    assert norm <= 2 * (p.sum() - p.max()) + 1e-15
    assert norm <= 2 * (n - 1) * np.exp(second - first) + 1e-14


# --- references


def cases():
    """Shapes and options, in PyTorch's words and in ours."""
    shapes = [(2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 6)]
    mask = np.random.default_rng(5).random((2, 1, 5, 7)) < 0.6
    mask[0, 0, 2] = False  # a query that may look at nothing
    bias = np.where(np.random.default_rng(6).random((5, 7)) < 0.2, -INF, normal(5, 7, seed=7))
    yield "plain", shapes, {}, {}
    yield "mask", shapes, {"attn_mask": mask}, {"mask": mask}
    yield "bias", shapes, {"attn_mask": bias}, {"bias": bias}
    yield "causal, longer keys", shapes, {"is_causal": True}, {"is_causal": True}
    longer = [(2, 3, 9, 4), *shapes[1:]]
    yield "causal, longer queries", longer, {"is_causal": True}, {"is_causal": True}
    yield "scale", shapes, {"scale": 1.7}, {"scale": 1.7}
    groups = [(2, 6, 5, 4), (2, 2, 7, 4), (2, 2, 7, 6)]
    grouped = {"enable_gqa": True}
    yield "grouped queries", groups, grouped, grouped
    heads = np.random.default_rng(8).random((2, 6, 5, 7)) < 0.7
    yield (
        "grouped queries, a mask a head",
        groups,
        {"attn_mask": heads, **grouped},
        {"mask": heads, **grouped},
    )
    many = [(2, 3, 5, 4), (2, 1, 7, 4), (2, 1, 7, 6)]
    yield "one head of keys", many, {}, {}


ids = [case[0] for case in cases()]


def tensors(options, dtype):
    return {
        name: torch.tensor(x) if isinstance(x, np.ndarray) and x.dtype == bool
        else torch.tensor(x).to(dtype) if isinstance(x, np.ndarray)
        else x
        for name, x in options.items()
    }  # fmt: skip


@pytest.mark.claim("thm-attention-gradients")
@pytest.mark.claim("thm-tiled-attention")
@forms
@pytest.mark.parametrize("case", list(cases()), ids=ids)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_values_and_gradients_are_those_of_pytorch(form, case, dtype):
    _, shapes, theirs, ours = case
    options = tensors(ours, dtype) | ({"block_size": 3} if form is tiled_attention else {})
    results = []
    for function, arguments in ((sdpa, tensors(theirs, dtype)), (form, options)):
        leaves = [
            torch.tensor(normal(*s, seed=i)).to(dtype).requires_grad_()
            for i, s in enumerate(shapes)
        ]
        out = function(*leaves, **arguments)
        g = torch.tensor(normal(*out.shape, seed=4)).to(dtype)
        out.backward(g)
        results.append([out.detach(), *(leaf.grad for leaf in leaves)])
    by_hand = tiled_attention_vjp(
        *(leaf.detach() for leaf in leaves), g, **tensors(ours, dtype), block_size=3
    )
    bound = (
        {"rtol": 1e-9, "atol": 1e-12} if dtype == torch.float64 else {"rtol": 1e-4, "atol": 3e-6}
    )
    for expected, got in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, **bound)
    for expected, got in zip(results[0][1:], by_hand, strict=True):
        torch.testing.assert_close(got, expected, **bound)


@forms
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32_and_rounded_once(form, dtype):
    q, k, v = (torch.tensor(normal(2, 40, 16, seed=i)).to(dtype) for i in range(3))
    exact = sdpa(q.double(), k.double(), v.double(), is_causal=True)
    got = form(q, k, v, is_causal=True)
    assert got.dtype == dtype
    unit = torch.finfo(dtype).eps
    error = (got.double() - exact).abs() / (exact.abs() + 1e-3)
    assert float(error.max()) <= 0.51 * unit  # half a unit, and a little of float32's own error
    theirs = sdpa(q, k, v, is_causal=True)
    their_error = (theirs.double() - exact).abs() / (exact.abs() + 1e-3)
    assert float(error.max()) <= float(their_error.max())
    g = torch.tensor(normal(2, 40, 16, seed=4)).to(dtype)
    leaves = [x.double().requires_grad_() for x in (q, k, v)]
    sdpa(*leaves, is_causal=True).backward(g.double())
    for ours, leaf in zip(tiled_attention_vjp(q, k, v, g, is_causal=True), leaves, strict=True):
        assert ours.dtype == dtype
        torch.testing.assert_close(ours.double(), leaf.grad, rtol=1.1 * unit, atol=1e-5)


def test_scores_and_soft_means_in_half_precision_are_rounded_once_too():
    q, v = (torch.tensor(normal(8, 40, seed=i)).to(torch.float16) for i in range(2))
    exact = q.double() @ v.double().T / 40**0.5
    assert torch.equal(scaled_dot_product(q, v), exact.to(torch.float16))
    mean = torch.softmax(q[0].double(), 0) @ v.double().T
    assert torch.equal(soft_attention(q[0], v.T), mean.to(torch.float16))


def test_large_scores_in_half_precision_do_not_overflow():
    # The dot product, 4 × 200 × 200, is past the largest float16.
    q = torch.full((1, 4), 200.0, dtype=torch.float16)
    k = torch.stack([q[0], -q[0], q[0]])
    v = torch.tensor([[1.0], [5.0], [2.0]], dtype=torch.float16)
    for form in FORMS:
        assert form(q, k, v).tolist() == [[1.5]]


@forms
def test_every_library_gives_the_values_of_pytorch(library, form):
    q, k, v, mask = normal(2, 3, 4), normal(2, 5, 4, seed=1), normal(2, 5, 4, seed=2), normal(3, 5)
    expected = sdpa(*map(torch.tensor, (q, k, v)), attn_mask=torch.tensor(mask > -0.5))
    arrays = [library(x) for x in (q, k, v)]
    got = form(*arrays, mask=library(mask > -0.5))
    assert same_kind(got, arrays[0])
    np.testing.assert_allclose(to_numpy(got), expected, rtol=1e-12)


@pytest.mark.claim("thm-attention-gradients")
@pytest.mark.parametrize("name", ["numpy", "dask", "strict"])
def test_gradients_by_hand_do_without_autograd_in_every_library(name):
    library = LIBRARIES[name]
    arrays = [normal(2, 3, 4), normal(1, 5, 4, seed=1), normal(5, 4, seed=2)]  # they broadcast
    leaves = [torch.tensor(x, requires_grad=True) for x in arrays]
    out = sdpa(leaves[0], leaves[1], leaves[2].expand(1, 5, 4), is_causal=True)
    out.backward(torch.ones_like(out))
    got = tiled_attention_vjp(
        *map(library, arrays), library(np.ones((2, 3, 4))), is_causal=True, block_size=2
    )
    for ours, leaf in zip(got, leaves, strict=True):
        np.testing.assert_allclose(to_numpy(ours), leaf.grad, rtol=1e-10, atol=1e-13)


def test_jax_compiles_differentiates_and_maps_our_code():
    arrays = [normal(2, 3, 4), normal(2, 5, 4, seed=1), normal(2, 5, 4, seed=2)]
    form = lambda *x: tiled_attention(*x, is_causal=True, block_size=3)  # noqa: E731
    value, pull_back = jax.vjp(jax.jit(jax.vmap(form)), *map(jax.numpy.asarray, arrays))
    np.testing.assert_allclose(value, attention(*arrays, is_causal=True), rtol=1e-12)
    g = normal(2, 3, 4, seed=3)
    by_hand = tiled_attention_vjp(*arrays, g, is_causal=True)
    for got, expected in zip(pull_back(jax.numpy.asarray(g)), by_hand, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-14)


def test_pytorch_differentiates_our_code_once_and_twice():
    x = [torch.tensor(normal(3, 2, seed=i), requires_grad=True) for i in range(3)]
    for form in (attention, lambda *a, **o: tiled_attention(*a, **o, block_size=2)):
        call = lambda *a, f=form: f(*a, is_causal=True)  # noqa: E731
        assert torch.autograd.gradcheck(call, x)
        assert torch.autograd.gradgradcheck(call, x)
    assert torch.autograd.gradcheck(soft_attention, (x[0], x[1][:2]))


@pytest.mark.claim("thm-dot-product-variance")
@pytest.mark.parametrize("d", [1, 16, 400])
def test_dot_products_of_random_vectors_have_variance_d_and_scaled_ones_1(d):
    count = 20_000
    q, k = normal(count, 1, d, seed=1), normal(count, 1, d, seed=2)
    plain = scaled_dot_product(q, k, scale=1.0).ravel()
    # For normal entries the fourth moment of the sum is 3d² + 6d: that gives the deviations.
    deviation = np.sqrt((2 * d**2 + 6 * d) / count)
    assert abs(plain.var() - d) < 5 * deviation
    assert abs(plain.mean()) < 5 * np.sqrt(d / count)
    np.testing.assert_allclose(scaled_dot_product(q, k).ravel(), plain / np.sqrt(d), atol=1e-13)


@pytest.mark.claim("prop-saturation")
def test_without_the_scale_the_jacobian_vanishes_as_d_grows():
    def median_norm(d, scale):
        s = scaled_dot_product(normal(60, 1, d), normal(60, 16, d, seed=1), scale=scale)
        p = torch.softmax(torch.tensor(s[:, 0]), -1)
        J = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
        return float(torch.linalg.matrix_norm(J, 2).median())

    plain = [median_norm(d, 1.0) for d in (4, 64, 1024)]
    scaled = [median_norm(d, None) for d in (4, 64, 1024)]
    assert plain == sorted(plain, reverse=True)
    assert plain[-1] < 1e-3 < 0.1 < min(scaled)
    assert max(scaled) < 1.5 * min(scaled)


SOFT_210 = 12.115582983360844214  # mpmath, 20 digits: softmax(2, 1, 0) · (1, 10, 100)


def test_the_soft_mean_is_that_of_its_formula_to_the_last_digit(edge_library):
    values = edge_library(np.array([[1.0], [10.0], [100.0]]))
    got = to_numpy(soft_attention(edge_library([2.0, 1.0, 0.0]), values))
    np.testing.assert_allclose(got, [SOFT_210], rtol=1e-15)


def peak(function, *arrays, **options):
    """Largest memory in use during a call, beyond what was there; NumPy reports to tracemalloc."""
    gc.collect()
    tracemalloc.start()
    try:
        function(*arrays, **options)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.claim("prop-attention-memory")
def test_memory_grows_with_the_length_when_tiled_and_with_its_square_when_not():
    sizes = {}
    for n in (64, 256, 512):  # the first fills what is filled once
        q, k, v, g = (normal(n, 8, seed=i).astype("float32") for i in range(4))
        sizes["tiled", n] = peak(tiled_attention, q, k, v, block_size=32)
        sizes["back", n] = peak(tiled_attention_vjp, q, k, v, g, block_size=32)
        sizes["whole", n] = peak(attention, q, k, v)
    for name in ("tiled", "back"):
        assert 1.8 < sizes[name, 512] / sizes[name, 256] < 2.1
    assert 3.6 < sizes["whole", 512] / sizes["whole", 256] < 4.2


# --- edges


@forms
def test_a_query_that_may_look_at_nothing_gives_0_and_gradients_0(edge_library, form):
    q, k, v = (normal(2, 3, seed=i) for i in range(3))
    mask = np.array([[False, False], [True, False]])
    arrays = [edge_library(x) for x in (q, k, v)]
    with np.errstate(all="raise", under="ignore"):
        for options in ({"mask": mask}, {"bias": np.where(mask, 0.0, -INF)}):
            options = {name: edge_library(x) for name, x in options.items()}
            np.testing.assert_allclose(to_numpy(form(*arrays, **options)), [[0, 0, 0], v[0]])
    leaves = [torch.tensor(x, requires_grad=True) for x in (q, k, v)]
    out = form(*leaves, mask=torch.tensor(mask))
    out.sum().backward()
    for leaf in leaves[:2]:  # one key decides nothing
        np.testing.assert_allclose(leaf.grad, np.zeros((2, 3)), atol=1e-15)
    assert leaves[2].grad.tolist() == [[1, 1, 1], [0, 0, 0]]
    with np.errstate(all="raise", under="ignore"):
        by_hand = tiled_attention_vjp(q, k, v, np.ones((2, 3)), mask=mask)
    for ours, leaf in zip(by_hand, leaves, strict=True):
        np.testing.assert_allclose(ours, leaf.grad, atol=1e-15)


@forms
def test_what_is_masked_may_hold_anything_in_the_scores(form):
    q, k, v = (normal(3, 2, seed=i) for i in range(3))
    mask = np.array([True, False, True])
    expected = form(q, k, v, mask=mask)
    for bad in (NAN, INF, -INF, 1e308):
        keys = np.where(mask[:, None], k, bad)
        with np.errstate(invalid="ignore", over="ignore"):  # in the product of matrices
            np.testing.assert_array_equal(form(q, keys, v, mask=mask), expected)
            np.testing.assert_array_equal(
                form(q, keys, v, bias=np.where(mask, 0.0, -INF)), expected
            )


@forms
def test_a_query_that_holds_nan_gives_nan_and_touches_no_other(form):
    q, k, v = (normal(3, 2, seed=i) for i in range(3))
    q[1, 0] = NAN
    out = form(q, k, v)
    assert np.isnan(out[1]).all()
    np.testing.assert_allclose(out[[0, 2]], form(q[[0, 2]], k, v), rtol=1e-14)
    gradients = tiled_attention_vjp(q, k, v, np.ones((3, 2)))
    assert np.isnan(gradients[0][1]).all()
    assert np.isfinite(gradients[0][[0, 2]]).all()


def test_no_keys_and_no_queries(edge_library):
    none, some = edge_library(np.empty((2, 0, 3))), edge_library(normal(2, 4, 3))
    for form in FORMS:
        assert to_numpy(form(some, none, none)).tolist() == np.zeros((2, 4, 3)).tolist()
        assert form(none, some, some).shape == (2, 0, 3)
    gradients = tiled_attention_vjp(some, none, none, some)
    assert [g.shape for g in gradients] == [(2, 4, 3), (2, 0, 3), (2, 0, 3)]
    assert not to_numpy(gradients[0]).any()
    assert attention(some[..., :0], some[..., :0], some).shape == (2, 4, 3)  # d = 0: a plain mean


@pytest.mark.parametrize("function", [soft_attention, hard_attention])
def test_the_edges_of_soft_and_hard_attention_are_those_of_softmax(edge_library, function):
    values = edge_library([[1.0], [2.0]])
    cases = [
        ([NAN, 0.0], [True, True], NAN),
        ([INF, 0.0], [True, True], NAN),
        ([-INF, -INF], [True, True], NAN),
        ([-INF, 0.0], [True, True], 2.0),
        ([NAN, 0.0], [False, True], 2.0),
        ([INF, NAN], [False, False], 0.0),
    ]
    for scores, where, expected in cases:
        got = to_numpy(function(edge_library(scores), values, where=edge_library(where)))
        np.testing.assert_array_equal(got, [expected], err_msg=str((scores, where)))
    np.testing.assert_array_equal(
        to_numpy(function(edge_library(np.empty((3, 0))), edge_library(np.empty((0, 2))))),
        np.zeros((3, 2)),
    )


def test_hard_attention_takes_the_first_of_equals_and_soft_attention_their_mean():
    assert hard_attention([1.0, 1.0, 0.0], [[3.0], [5.0], [9.0]]).tolist() == [3]
    assert soft_attention([999.0, 999.0, 0.0], [[3.0], [5.0], [9.0]]).tolist() == [4]
    scores = torch.tensor([1.0, 2.0], requires_grad=True)
    out = hard_attention(scores, torch.tensor([[1.0], [2.0]], requires_grad=True))
    out.sum().backward()
    assert scores.grad is None or not scores.grad.any()


def test_causal_masks_align_at_either_end(edge_library):
    q, k = edge_library(np.zeros((2, 3, 1))), edge_library(np.zeros((5, 1)))
    for offset in (0, 2, -1, -9):
        expected = np.tril(np.ones((3, 5), dtype=bool), k=offset)
        np.testing.assert_array_equal(to_numpy(causal_mask(q, k, offset=offset)), expected)


@forms
def test_stored_keys_and_one_new_query_are_the_last_row_of_the_whole(form):
    x, v = normal(6, 4), normal(6, 3, seed=1)
    whole = form(x, x, v, is_causal=True)
    mask = causal_mask(x[4:], x, offset=4)
    np.testing.assert_allclose(form(x[4:], x, v, mask=mask), whole[4:], rtol=1e-14)
    first = form(x[4:], x, v, is_causal=True)  # aligned at the first: another thing
    np.testing.assert_allclose(first[0], v[0], rtol=1e-14)


def test_dtypes_are_kept_and_the_input_is_not_changed(edge_library):
    arrays = [edge_library(normal(2, 3, seed=i).astype("float32")) for i in range(3)]
    before = [to_numpy(x).copy() for x in arrays]
    assert same_kind(tiled_attention(*arrays), arrays[0])
    assert all(same_kind(g, arrays[0]) for g in tiled_attention_vjp(*arrays, arrays[0]))
    for x, y in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(to_numpy(x), y)


def test_integers_are_promoted_and_dtypes_may_differ():
    q, k = np.array([[1, 0]]), np.array([[1, 0], [0, 1]])
    v = np.array([[1.0], [3.0]], dtype=np.float32)
    out = attention(q, k, v)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, attention(q * 1.0, k * 1.0, v.astype(float)), rtol=1e-6)
    np.testing.assert_allclose(tiled_attention(q, k, v), out, rtol=1e-6)
    assert soft_attention([1, 0], v).dtype == np.float32
    small = torch.ones(2, dtype=torch.float16)
    assert soft_attention(small, torch.ones(2, 1, dtype=torch.float64)).dtype == torch.float64


A, B = np.zeros((2, 6, 3, 4)), np.zeros((2, 2, 5, 4))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: attention(A, A[..., :3], A), ValueError, r"the shapes \(\.\.\., N"),
        (
            lambda: attention(A, A, A[..., :2, :]),
            ValueError,
            r"the shapes \(\.\.\., N",
        ),
        (lambda: attention(A[0, 0, 0], A, A), ValueError, r"the shapes \(\.\.\., N"),
        (lambda: attention(A, B, B), ValueError, "axes in front do not broadcast"),
        (lambda: attention(A[:, :5], B, B, enable_gqa=True), ValueError, "a divisor of H"),
        (lambda: attention(A, B, B[:, :1], enable_gqa=True), ValueError, "a divisor of H"),
        (lambda: attention(A[0, 0], B, B, enable_gqa=True), ValueError, "a divisor of H"),
        (lambda: attention(A, A, A, mask=np.ones((3, 3))), TypeError, "mask must be boolean, got"),
        (
            lambda: attention(A, A, A, mask=np.ones((3, 4), dtype=bool)),
            ValueError,
            r"mask of shape \(3, 4\) does not broadcast to the scores' \(2, 6, 3, 3\)",
        ),
        (
            lambda: attention(A, B, B, bias=np.ones((2, 3, 5)), enable_gqa=True),
            ValueError,
            r"bias of shape \(2, 3, 5\) does not broadcast to the scores' \(2, 6, 3, 5\)",
        ),
        (lambda: attention(A, A, A, bias=np.ones((7, 2, 6, 3, 3))), ValueError, "bias of shape"),
        (lambda: attention(A, A, A, scale=INF), ValueError, "scale must be finite, got inf"),
        (lambda: attention(A, A, A, scale=NAN), ValueError, "scale must be finite, got nan"),
        (lambda: tiled_attention(A, A, A, block_size=0), ValueError, "block_size .* 1, got 0"),
        (
            lambda: tiled_attention_vjp(A, A, A, A[..., :2]),
            ValueError,
            "output_grad needs",
        ),
        (lambda: attention(A, A, torch.zeros(3, 4)), TypeError, "one library"),
        (lambda: attention(A, A, A, bias=torch.zeros(3, 3)), TypeError, "one library"),
        (lambda: attention("q", A, A), TypeError, "an array, a list or a number"),
        (lambda: attention(A * 1j, A, A), TypeError, "real numbers"),
        (lambda: scaled_dot_product(A, B[..., :2]), ValueError, "query and key need the shapes"),
        (lambda: soft_attention([1.0], [[1.0], [2.0]]), ValueError, "scores and values need"),
        (lambda: hard_attention([1.0], [1.0]), ValueError, "scores and values need"),
    ],
)
def test_wrong_arguments_are_refused_in_words(call, error, message):
    with pytest.raises(error, match=message):
        call()


# --- proofs


@pytest.mark.claim("thm-attention-gradients")
def test_proof_of_the_gradients():
    assert proofs.score_gradient_residual() == 0
    assert proofs.query_gradient_residual(3).is_zero_matrix
    assert proofs.center_residual() == 0


@pytest.mark.claim("thm-dot-product-variance")
def test_proof_that_the_variance_is_d():
    assert all(proofs.variance_residual(d).is_zero_matrix for d in (1, 2, 3, 5))


@pytest.mark.claim("thm-tiled-attention")
def test_proof_that_blocks_merge_into_the_whole():
    assert proofs.merge_residual().is_zero_matrix
