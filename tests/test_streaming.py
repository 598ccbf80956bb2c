"""Softmax in pieces: the state of one pass, and Dask arrays chunked across the classes."""

import itertools
import json
import re
import subprocess
import sys
from functools import reduce
from pathlib import Path

import dask
import dask.array as da
import jax
import mpmath
import numpy as np
import pytest
from dask.distributed import Client, LocalCluster
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from softmax_notes import out_of_core
from softmax_notes.streaming import (
    State,
    fold,
    identity,
    log_softmax_of,
    log_total,
    loss,
    mean,
    merge,
    merge_losses,
    softmax_chunks,
    softmax_of,
    summarize,
    summarize_loss,
    update,
)
from softmax_notes.symbolic import streaming as proofs
from tests.exact import exact, ulp_error
from tests.libraries import to_numpy
from tests.pytorch import needing_torch, torch

F = torch.nn.functional
INF, NAN = np.inf, np.nan
STUDY = json.loads((Path(__file__).parent.parent / "benchmarks/streaming.json").read_text("utf-8"))

numbers = st.floats(-50, 50, width=32)
anything = st.one_of(numbers, st.sampled_from([INF, -INF, NAN, 0.0, 3e38, -3e38]))
tables = npst.arrays("float64", st.tuples(st.integers(1, 3), st.integers(0, 9)), elements=numbers)
wild_tables = npst.arrays(
    "float64", st.tuples(st.integers(1, 3), st.integers(0, 9)), elements=anything
)


def pieces(x, data):
    """Cut the last axis anywhere; pieces may be empty."""
    cuts = sorted(data.draw(st.lists(st.integers(0, x.shape[-1]), max_size=4)))
    return [x[..., a:b] for a, b in itertools.pairwise([0, *cuts, x.shape[-1]])]


def assert_same(a, b):
    """Compare states bit for bit; NaN is the same as NaN."""
    for left, right in zip(a, b, strict=True):
        np.testing.assert_array_equal(to_numpy(left), to_numpy(right))


def merge_in_pairs(states):
    while len(states) > 1:
        states = [reduce(merge, states[i : i + 2]) for i in range(0, len(states), 2)]
    return states[0]


# --- laws


@pytest.mark.claim("thm-monoid")
@given(st.data())
def test_however_scores_are_cut_the_result_is_logsumexp_of_all(quick_library, data):
    x = data.draw(wild_tables)
    chunks = pieces(x, data)
    state = fold(quick_library(chunk) for chunk in data.draw(st.permutations(chunks)))
    expected = torch.logsumexp(torch.tensor(x), -1)
    np.testing.assert_allclose(to_numpy(log_total(state)), expected, rtol=1e-14, atol=1e-14)
    largest = x.max(axis=-1, initial=-INF)
    np.testing.assert_array_equal(to_numpy(state.maximum), largest)


@pytest.mark.claim("thm-monoid")
@given(a=wild_tables, data=st.data())
def test_a_state_of_no_scores_changes_no_bit(quick_library, a, data):
    rows = a.shape[:1]
    state = summarize(quick_library(a))
    nothing = identity(rows, like=state.maximum)
    for empty in (nothing, summarize(quick_library(np.full((*rows, 2), -INF)))):
        assert_same(empty[:2], nothing[:2])
        assert_same(merge(state, empty)[:2], state[:2])
        assert_same(merge(empty, state)[:2], state[:2])


@pytest.mark.claim("thm-monoid")
@given(st.data())
def test_merging_is_commutative_to_the_last_bit_and_associative_up_to_rounding(quick_library, data):
    shape = (2, data.draw(st.integers(0, 3)))
    drawn = [data.draw(npst.arrays("float64", shape, elements=anything)) for _ in range(3)]
    values = np.arange(shape[1] * 2.0).reshape(-1, 2)
    a, b, c = (summarize(quick_library(x), quick_library(values)) for x in drawn)
    assert_same(merge(a, b), merge(b, a))
    left, right = merge(merge(a, b), c), merge(a, merge(b, c))
    assert_same(left[:1], right[:1])  # the maximum exactly, NaN and infinities included
    unusable = ~np.isfinite(to_numpy(left.maximum))
    np.testing.assert_array_equal(to_numpy(left.rest)[unusable], to_numpy(right.rest)[unusable])
    # Each side merges twice: claim prop-merge-error for both.
    bound = {"rtol": 4 * 10 * 2.0**-53, "atol": 1e-300}
    np.testing.assert_allclose(to_numpy(left.rest), to_numpy(right.rest), **bound)
    np.testing.assert_allclose(to_numpy(left.weighted), to_numpy(right.weighted), **bound)


@pytest.mark.claim("cor-rest")
@given(x=tables)
def test_the_total_is_the_sum_of_the_scaled_exponentials(x):
    state = summarize(x)
    largest = x.max(axis=-1, keepdims=True, initial=-1e3)
    total = np.exp(x - largest).sum(axis=-1)
    np.testing.assert_allclose(to_numpy(state.total), total, rtol=1e-14)
    np.testing.assert_allclose(to_numpy(state.rest), total - 1, rtol=1e-12, atol=1e-14)


@given(st.data())
def test_values_ride_along_to_their_weighted_mean(quick_library, data):
    x = data.draw(npst.arrays("float64", (2, 3, data.draw(st.integers(1, 6))), elements=numbers))
    values = np.random.default_rng(0).normal(size=(2, x.shape[-1], 2))
    cut = data.draw(st.integers(0, x.shape[-1]))
    state = identity((2, 3), like=quick_library(x), width=2)
    for part in (slice(0, cut), slice(cut, None)):
        state = update(state, quick_library(x[..., part]), quick_library(values[:, part]))
    expected = torch.softmax(torch.tensor(x), -1) @ torch.tensor(values)
    np.testing.assert_allclose(to_numpy(mean(state)), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.claim("prop-loss-monoid")
@given(st.data())
def test_however_classes_are_cut_the_loss_is_that_of_pytorch(quick_library, data):
    x = data.draw(
        npst.arrays("float64", st.tuples(st.just(2), st.integers(1, 6)), elements=numbers)
    )
    amount = data.draw(
        npst.arrays("float64", x.shape, elements=st.sampled_from([0.0, 0.25, 1.0, 3.0]))
    )
    cut = data.draw(st.integers(0, x.shape[1]))
    order = data.draw(st.permutations([slice(0, cut), slice(cut, None)]))
    seen = reduce(
        merge_losses,
        [summarize_loss(quick_library(x[:, s]), quick_library(amount[:, s])) for s in order],
    )
    expected = -(torch.tensor(amount) * torch.log_softmax(torch.tensor(x), -1)).sum(-1)
    np.testing.assert_allclose(to_numpy(loss(seen)), expected, rtol=1e-12, atol=1e-12)


@given(st.data())
def test_softmax_chunk_by_chunk_is_softmax(data):
    x = data.draw(tables)
    chunks = pieces(x, data)
    expected = torch.softmax(torch.tensor(x), -1)
    for source in (chunks, lambda: iter(chunks)):
        p = np.concatenate([to_numpy(chunk) for chunk in softmax_chunks(source)], axis=-1)
        np.testing.assert_allclose(p, expected, rtol=1e-13, atol=1e-300)


# --- references


@pytest.mark.claim("prop-merge-error")
@pytest.mark.parametrize("kind", ["rising", "falling", "random"])
@pytest.mark.parametrize(("dtype", "factor"), [("float32", 10), ("float64", 7)])
def test_the_error_of_merging_is_below_its_bound_in_a_row_and_in_a_tree(kind, dtype, factor):
    """The factor is c + 5; exp of NumPy is off by less than 5 u in float32 and 2 u in float64."""
    count, unit = 300, np.finfo(dtype).eps / 2
    x = np.random.default_rng(0).normal(size=count) * 2
    x = {"rising": np.sort(x), "falling": -np.sort(-x), "random": x}[kind].astype(dtype)
    states = [summarize(x[i : i + 1]) for i in range(count)]
    with mpmath.workdps(40):
        largest = mpmath.mpf(float(x.max()))
        truth = mpmath.fsum(mpmath.exp(mpmath.mpf(v) - largest) for v in x.tolist()) - 1
        for state, height in ((reduce(merge, states), count - 1), (merge_in_pairs(states), 9)):
            error = abs(mpmath.mpf(float(state.rest)) - truth) / truth
            assert error <= factor * height * unit


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("convert", [np.asarray, torch.tensor], ids=["numpy", "torch"])
def test_of_one_chunk_and_of_a_few_the_errors_are_within_8_ulp(convert, dtype):
    random = np.random.default_rng(0)
    for x in ([18.0, 0.0], random.normal(size=40) * 9, random.uniform(-80, 0, size=40)):
        x = np.asarray(x, dtype=dtype)
        truth = exact(x)
        for parts in (1, 2):
            state = fold(convert(chunk) for chunk in np.array_split(x, parts))
            p, log_p = (to_numpy(f(convert(x), state)) for f in (softmax_of, log_softmax_of))
            assert ulp_error(p, truth.softmax, dtype) <= 8
            assert ulp_error(log_p, truth.log_softmax, dtype) <= 8
        amount = np.arange(len(x)) == len(x) - 1
        seen = summarize_loss(convert(x), convert(amount))
        assert ulp_error(to_numpy(loss(seen)), [-truth.log_softmax[-1]], dtype) <= 8


def test_a_logsumexp_next_to_0_keeps_its_digits():
    # mpmath, 20 digits: logsumexp(0, -18)
    x = np.array([0, -18], dtype=np.float32)
    for state in (summarize(x), merge(summarize(x[1:]), summarize(x[:1]))):
        assert float(log_total(state)) == pytest.approx(1.5229979628736488102e-8, rel=2e-7)


def test_every_library_gives_the_values_of_pytorch(edge_library):
    x = np.random.default_rng(1).normal(size=(2, 6)).astype("float32")
    values = np.random.default_rng(2).normal(size=(6, 3)).astype("float32")
    state = summarize(edge_library(x[:, :2]), edge_library(values[:2]))
    state = update(state, edge_library(x[:, 2:]), edge_library(values[2:]))
    t = torch.tensor(x)
    np.testing.assert_allclose(to_numpy(log_total(state)), torch.logsumexp(t, -1), rtol=1e-6)
    np.testing.assert_allclose(
        to_numpy(mean(state)), torch.softmax(t, -1) @ torch.tensor(values), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
        to_numpy(softmax_of(edge_library(x), state)), torch.softmax(t, -1), rtol=1e-6
    )


def test_pytorch_differentiates_one_pass_once_and_twice_also_at_ties():
    def one_pass(x, values):
        state = identity((3,), like=x, width=2)
        for part in (slice(0, 2), slice(2, 2), slice(2, 5)):
            state = update(state, x[:, part], values[part])
        return log_total(state), mean(state)

    values = torch.randn(5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    values.requires_grad_()
    rows = [[0.3, -1.2, 2.0, 0.1, 1.0], [1.0] * 5, [3, 3, 0, 0, 3]]
    x = torch.tensor(rows, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(one_pass, (x, values))
    assert torch.autograd.gradgradcheck(one_pass, (x, values))
    (ours,) = torch.autograd.grad(one_pass(x, values)[0].sum(), x)
    torch.testing.assert_close(ours, torch.softmax(x, -1))


def test_jax_scans_chunks_with_a_state_as_the_carry():
    rows = np.random.default_rng(0).normal(size=(5, 12))
    rows[1:, :3] = [[NAN] * 3, [INF] * 3, [-INF] * 3, [-INF, 0, 0]]
    rows[3] = -INF
    chunks = jax.numpy.asarray(rows.reshape(5, 4, 3).swapaxes(0, 1))

    @jax.jit
    def one_pass(chunks):
        def total(chunks):
            start = identity((5,), like=chunks)
            state, _ = jax.lax.scan(lambda s, chunk: (update(s, chunk), None), start, chunks)
            return log_total(state)

        value, pullback = jax.vjp(total, chunks)
        return value, pullback(jax.numpy.ones(5))[0]

    value, gradient = one_pass(chunks)
    t = torch.tensor(rows)
    np.testing.assert_allclose(value, torch.logsumexp(t, -1), rtol=1e-14)
    gradient = np.asarray(gradient).swapaxes(0, 1).reshape(5, 12)
    np.testing.assert_allclose(gradient[[0, 4]], torch.softmax(t, -1)[[0, 4]], rtol=1e-13)
    assert not gradient[1:4].any()  # 0 and not NaN where the maximum is no number


@pytest.fixture(scope="module")
def scores():
    return np.random.default_rng(3).normal(size=(6, 7, 10)) * 5


@pytest.mark.parametrize("axis", [0, 1, -1, (0, 2), None])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64"])
def test_dask_arrays_chunked_across_the_classes_have_the_values_of_pytorch(scores, axis, dtype):
    x = da.from_array(scores.astype(dtype), chunks=(2, 3, 4))
    t = torch.tensor(scores.astype(dtype)).double()
    dims = tuple(range(3)) if axis is None else axis
    log_totals = torch.logsumexp(t, dims, keepdim=True)
    tolerance = {"float16": 2e-3, "float32": 2e-6}.get(dtype, 1e-13)
    kind = "float64" if dtype == "int64" else dtype
    results = {
        "p": (out_of_core.softmax(x, axis=axis), torch.exp(t - log_totals)),
        "log p": (out_of_core.log_softmax(x, axis=axis), t - log_totals),
        "kept": (out_of_core.logsumexp(x, axis=axis, keepdims=True), log_totals),
        "total": (out_of_core.logsumexp(x, axis=axis), torch.logsumexp(t, dims)),
    }
    computed = dask.compute({k: lazy for k, (lazy, _) in results.items()}, scheduler="sync")[0]
    for name, (lazy, expected) in results.items():
        assert lazy.dtype == computed[name].dtype == kind
        assert lazy.shape == computed[name].shape == tuple(expected.shape)
        np.testing.assert_allclose(computed[name], expected, rtol=tolerance, atol=tolerance)
    assert results["p"][0].chunks == x.chunks


@pytest.mark.claim("prop-loss-monoid")
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("kind", ["hard", "ignored", "soft"])
def test_cross_entropy_of_dask_arrays_is_that_of_pytorch(scores, weighted, smoothing, kind):
    random = np.random.default_rng(4)
    x = da.from_array(np.moveaxis(scores, -1, 1), chunks=(2, 4, 3))
    target = random.integers(0, 10, size=(6, 7))
    options = {"label_smoothing": smoothing}
    if kind == "ignored":
        target[1:4] = options["ignore_index"] = -100
    if kind == "soft":
        target = np.moveaxis(random.dirichlet(np.ones(10), size=(6, 7)), -1, 1)
    weight = random.uniform(0.5, 2, size=10) if weighted else None
    lazy_target = da.from_array(target, chunks=4) if kind == "hard" else target
    ours = [
        out_of_core.cross_entropy(x, lazy_target, axis=1, weight=weight, reduction=r, **options)
        for r in ("mean", "sum", "none")
    ]
    t, w = (
        torch.tensor(np.moveaxis(scores, -1, 1)),
        None if weight is None else torch.tensor(weight),
    )
    computed = dask.compute(*ours, scheduler="sync")
    for got, reduction in zip(computed, ("mean", "sum", "none"), strict=True):
        expected = F.cross_entropy(t, torch.tensor(target), w, reduction=reduction, **options)
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-14)


def test_on_a_local_cluster_the_results_are_the_same(scores):
    x = da.from_array(scores, chunks=(2, 3, 4))
    t, target = torch.tensor(scores), np.arange(42).reshape(6, 7) % 10
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None)
        as cluster,
        Client(cluster) as client,
    ):  # fmt: skip
        p, log_p, total, value = client.gather(
            client.compute(
                [
                    out_of_core.softmax(x),
                    out_of_core.log_softmax(x),
                    out_of_core.logsumexp(x, axis=-1),
                    out_of_core.cross_entropy(x, target),
                ]
            )
        )
    np.testing.assert_allclose(p, torch.softmax(t, -1), rtol=1e-12)
    np.testing.assert_allclose(log_p, torch.log_softmax(t, -1), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(total, torch.logsumexp(t, -1), rtol=1e-12)
    expected = F.cross_entropy(t.movedim(-1, 1), torch.tensor(target))
    np.testing.assert_allclose(value, expected, rtol=1e-12)


def counted(shape, chunks):
    """Give a Dask array, and the list of blocks that are read, which grows as they are."""
    read = []

    def block(block_info=None):
        read.append(block_info[None]["chunk-location"])
        return np.ones(block_info[None]["chunk-shape"])

    return da.map_blocks(block, chunks=da.core.normalize_chunks(chunks, shape), dtype=float), read


@pytest.mark.claim("prop-two-passes")
def test_sums_read_every_chunk_once_and_softmax_twice_all_sums_before_any_result():
    x, read = counted((4, 6), (2, 2))
    with dask.config.set(scheduler="sync"):
        out_of_core.logsumexp(x, axis=-1).compute()
        assert len(read) == len(set(read)) == 6
        read.clear()
        out_of_core.cross_entropy(x, np.zeros(4, dtype=int)).compute()
        assert len(read) == 6
        read.clear()
        out_of_core.softmax(x).compute()
        assert sorted(read[:6]) == sorted(read[6:]) == sorted(itertools.product((0, 1), (0, 1, 2)))


def test_no_step_makes_an_array_larger_than_a_chunk():
    sizes = {}

    def note(key, result, *_):
        sizes[str(key)] = getattr(result, "nbytes", 0)

    x = da.zeros((64, 400), chunks=(4, 50))
    target, weight = np.zeros(64, dtype=int), np.ones(400)
    soft = da.zeros((64, 400), chunks=(64, 10)) + 1 / 400
    jobs = [
        out_of_core.cross_entropy(x, target, weight=weight, label_smoothing=0.1, ignore_index=1),
        out_of_core.softmax(x).sum(),
        out_of_core.logsumexp(x),
    ]
    with dask.config.set(scheduler="sync"), dask.callbacks.Callback(posttask=note):
        for job in jobs:
            job.compute()
        chunk = 4 * 50 * 8
        assert 0 < max(sizes.values()) <= chunk
        out_of_core.cross_entropy(x, soft).compute()
        assert max(sizes.values()) <= 64 * 50 * 8  # the soft target's own chunks, cut once


def test_the_stored_study_stays_below_its_limit_with_an_array_several_times_larger():
    memory = STUDY["memory"]
    assert memory["bytes"] == 4 * np.prod(memory["shape"])
    assert memory["bytes"] >= 4 * memory["workers"] * memory["limit"]
    rows = {row["function"]: row for row in memory["rows"]}
    for name in ("softmax", "log_softmax", "logsumexp", "cross_entropy"):
        assert rows[name]["idle"] < rows[name]["peak"] < memory["limit"]
        assert rows[name]["relative_error"] < 1e-6
    assert rows["softmax_notes.softmax"]["peak"] is None  # which the cluster killed


@pytest.mark.claim("prop-bytes")
def test_what_the_ranks_exchange_does_not_grow_with_the_classes(monkeypatch):
    parallel = needing_torch("softmax_notes.parallel")
    given_numbers = []
    reduce_all, gather_all = torch.distributed.all_reduce, torch.distributed.all_gather

    def counting_reduce(tensor, *rest):
        given_numbers.append(tensor.numel())
        return reduce_all(tensor, *rest)

    def counting_gather(parts, tensor, *rest):
        given_numbers.append(tensor.numel())
        return gather_all(parts, tensor, *rest)

    monkeypatch.setattr(torch.distributed, "all_reduce", counting_reduce)
    monkeypatch.setattr(torch.distributed, "all_gather", counting_gather)
    torch.distributed.init_process_group(
        "gloo", store=torch.distributed.HashStore(), rank=0, world_size=1
    )
    try:
        for rows, classes in ((4, 10), (4, 5000), (9, 10)):
            given_numbers.clear()
            x = torch.zeros(rows, classes, requires_grad=True)
            parallel.cross_entropy(x, torch.arange(rows)).backward()
            assert given_numbers == [3, rows, 4 * rows + 1]
    finally:
        torch.distributed.destroy_process_group()
    assert parallel.bytes_sent(100, 1) == 0
    assert parallel.bytes_sent(100, 2) == 501 * 4 + 24
    assert parallel.bytes_sent(100, 4, itemsize=8) == 501 * 8 * 3 / 2 + 3 * 24


@pytest.mark.claim("prop-bytes")
def test_the_stored_bytes_are_constant_in_the_classes_and_near_the_formula():
    parallel = needing_torch("softmax_notes.parallel")
    rows = STUDY["bytes"]
    assert {row["ranks"] for row in rows} == {2, 4}
    for ranks in (2, 4):
        ours, peer, gathered = (
            {
                row["classes"]: row["bytes"]
                for row in rows
                if (row["implementation"], row["ranks"]) == (name, ranks)
            }
            for name in ("softmax_notes.parallel", "loss_parallel", "gathering the logits")
        )
        few, many = min(ours), max(ours)
        assert many >= 16 * few
        formula = parallel.bytes_sent(STUDY["bytes"][0]["rows"], ranks)
        for sent in ours.values():
            assert formula <= sent < formula + 30_000  # headers, barriers, and other traffic
        for n, sent in gathered.items():
            logits = 4 * STUDY["bytes"][0]["rows"] * n
            assert 0.9 * logits * (ranks - 1) / ranks < sent < 2 * logits
        assert peer.keys() == ours.keys()
    assert max(row["error"] for row in rows) < 1e-6
    assert max(row["error_of_gradient"] for row in rows) < 1e-6


# --- edges


def test_infinities_nan_and_empty_chunks_are_as_in_one_piece(edge_library):
    cases = [
        # scores, logsumexp, softmax, loss with the second as the target
        ([NAN, 0], NAN, [NAN, NAN], NAN),
        ([NAN, INF], NAN, [NAN, NAN], NAN),
        ([INF, 0], INF, [NAN, NAN], NAN),
        ([INF, INF], INF, [NAN, NAN], NAN),
        ([INF, -INF], INF, [NAN, NAN], NAN),
        ([-INF, -INF], -INF, [NAN, NAN], NAN),
        ([-INF, 3], 3, [0, 1], 0),
        ([3, -INF], 3, [1, 0], INF),
        ([3e38, -3e38], 3e38, [1, 0], 6e38),
        ([1.7e308, -1.7e308], 1.7e308, [1, 0], INF),
    ]
    x, totals, p, values = (np.array(column, dtype=float) for column in zip(*cases, strict=True))
    scores, nothing = edge_library(x), edge_library(np.zeros((len(x), 0)))
    for order in ([0, 1], [1, 0]):
        a, b = (edge_library(x[:, [k]]) for k in order)
        state = update(update(summarize(a), nothing), b)
        assert_same([log_total(state)], [totals])
        np.testing.assert_array_equal(to_numpy(softmax_of(scores, state)), p)
        log_p = to_numpy(log_softmax_of(scores, state))
        np.testing.assert_array_equal(np.isnan(log_p), np.isnan(p))
        assert np.all(log_p[p == 0] <= -6e38)
    amount = np.zeros_like(x)
    amount[:, 1] = 1
    parts = [summarize_loss(edge_library(x[:, [k]]), edge_library(amount[:, [k]])) for k in (0, 1)]
    for seen in (merge_losses(*parts), summarize_loss(scores, edge_library(amount))):
        np.testing.assert_allclose(to_numpy(loss(seen)), values)


def test_gradients_are_0_at_minus_infinity_and_where_the_maximum_is_no_number():
    rows = [[-INF, -INF, 0.0, 1.0], [-INF] * 4, [INF, 0, 0, 0], [NAN, 0, 0, 0], [0, -INF, 0, INF]]
    x = torch.tensor(rows, dtype=torch.float64, requires_grad=True)
    values = torch.ones(2, 1, dtype=torch.float64)
    state = update(summarize(x[:, :2], values), x[:, 2:], values)
    (log_total(state).nan_to_num(0, 0, 0).sum() + mean(state).nan_to_num(0).sum()).backward()
    expected = torch.zeros(5, 4, dtype=torch.float64)
    expected[0, 2:] = torch.softmax(torch.tensor([0.0, 1.0], dtype=torch.float64), 0)
    torch.testing.assert_close(x.grad, expected)
    np.testing.assert_array_equal(mean(state).detach()[:, 0], [1, NAN, NAN, NAN, NAN])


def test_16_bits_are_summed_in_32_and_integers_promoted():
    half = torch.zeros(4096, dtype=torch.float16)
    state = summarize(half)
    assert state.maximum.dtype == torch.float32
    assert float(state.total) == 4096
    assert softmax_of(half, state).dtype == torch.float16
    state = summarize(np.array([-128, 127], dtype=np.int8))
    np.testing.assert_allclose(softmax_of(np.array([127], dtype=np.int8), state), [1])
    assert identity((3,), like=half, width=2).weighted.shape == (3, 2)
    assert identity((), like=np.zeros(1, dtype=np.float32)).rest.dtype == np.float32
    assert identity((2,), like=half, width=0).weighted.shape == (2, 0)


def test_a_state_shows_its_total_and_the_input_is_not_changed():
    x = np.array([1.0, 2.0])
    state = summarize(x)
    other = update(state, x)
    assert float(state.total) == pytest.approx(1 + np.exp(-1))
    assert float(other.total) == pytest.approx(2 + 2 * np.exp(-1))
    np.testing.assert_array_equal(x, [1, 2])
    assert isinstance(other, State)


def test_what_does_not_fit_together_is_refused_in_words():
    x, values = np.zeros((2, 3)), np.zeros((3, 1))
    with pytest.raises(ValueError, match=r"k = 3 scores of a chunk, got shape \(2, 1\)"):
        summarize(x, values[:2])
    with pytest.raises(ValueError, match=r"got shape \(3,\)"):
        summarize(x, values[:, 0])
    with pytest.raises(ValueError, match="need an axis"):
        summarize(3.0)
    with pytest.raises(ValueError, match="one of two states carries values"):
        merge(summarize(x), summarize(x, values))
    with pytest.raises(ValueError, match="the state carries no values"):
        mean(summarize(x))
    with pytest.raises(ValueError, match="amount of shape"):
        summarize_loss(x, np.zeros((2, 4)))
    with pytest.raises(TypeError, match="one library"):
        summarize(x, torch.zeros(3, 1))
    with pytest.raises(TypeError, match="real numbers"):
        summarize(np.array([1j]))
    with pytest.raises(TypeError, match="an array, a list or a number"):
        identity((), like="x")
    with pytest.raises(ValueError, match="at least one chunk"):
        fold([])
    with pytest.raises(TypeError, match="reads its chunks twice"):
        softmax_chunks(chunk for chunk in [x])


def test_dask_arrays_keep_the_contract_at_the_edges():
    rows = np.array([[NAN, 0, 1], [INF, 0, 1], [-INF, -INF, -INF], [-INF, 0, 0]])
    x = da.from_array(rows, chunks=(2, 1))
    with dask.config.set(scheduler="sync"):
        half = np.log(2)
        np.testing.assert_array_equal(
            out_of_core.softmax(x), [[NAN] * 3, [NAN] * 3, [NAN] * 3, [0, 0.5, 0.5]]
        )
        np.testing.assert_allclose(
            out_of_core.log_softmax(x), [[NAN] * 3, [NAN] * 3, [NAN] * 3, [-INF, -half, -half]]
        )
        np.testing.assert_allclose(out_of_core.logsumexp(x, axis=1), [NAN, INF, -INF, half])
        np.testing.assert_allclose(
            out_of_core.cross_entropy(x, np.array([1, 1, 1, 1]), reduction="none"),
            [NAN, NAN, NAN, half],
        )
        everything = da.zeros(x.shape, dtype=bool, chunks=x.chunks)
        assert not out_of_core.softmax(x, where=everything).compute().any()
        assert np.all(out_of_core.log_softmax(x, where=everything).compute() == -INF)
        some = da.from_array(rows == 0, chunks=x.chunks)
        np.testing.assert_array_equal(
            out_of_core.softmax(x, where=some), [[0, 1, 0], [0, 1, 0], [0, 0, 0], [0, 0.5, 0.5]]
        )
        np.testing.assert_allclose(out_of_core.logsumexp(x, axis=1, where=some), [0, 0, -INF, half])
        # In float32 the logarithm of a probability next to 1 keeps its digits; mpmath, 9 of them.
        near = da.from_array(np.array([18.0, 0.0], dtype="float32"), chunks=1)
        assert float(out_of_core.log_softmax(near)[0]) == pytest.approx(-1.52299796e-8, rel=1e-6)
        assert float(out_of_core.cross_entropy(near, 0)) == pytest.approx(1.52299796e-8, rel=1e-6)
        empty = da.zeros((2, 0), chunks=(1, 1))
        assert out_of_core.softmax(empty).compute().shape == (2, 0)
        np.testing.assert_array_equal(out_of_core.logsumexp(empty, axis=1), [-INF, -INF])


@pytest.mark.parametrize(
    ("target", "weight", "words"),
    [
        ([0, 4, 1], None, "target must be from 0 to 3, got 4"),
        ([0, 1, -1], None, "target must be from 0 to 3, got -1"),
        (np.eye(3, 4) * 1.5, None, "target probabilities must be from 0 to 1, got 1.5"),
        (np.full((3, 4), NAN), None, "target probabilities must be from 0 to 1, got nan"),
        ([0, 1, 2], [1.0, -1.0, 0.0, 1.0], "weight must hold finite numbers from 0 on, got -1.0"),
        ([0, 1, 2], [1.0, 1.0, 0.0, INF], "weight must hold finite numbers from 0 on, got inf"),
    ],
)
@pytest.mark.parametrize("known", [False, True])
def test_a_wrong_target_or_weight_is_an_error_once_dask_computes(target, weight, words, known):
    x = da.zeros((3, 4), chunks=(2, 3))
    target = np.asarray(target) if known else da.from_array(np.asarray(target), chunks=2)
    for reduction in ("none", "sum", "mean"):
        loss = out_of_core.cross_entropy(x, target, weight=weight, reduction=reduction)
        with pytest.raises(ValueError, match=re.escape(words)):
            loss.compute(scheduler="sync")


def test_targets_of_dask_arrays_that_are_ignored_add_nothing():
    x = da.zeros((3, 4), chunks=(2, 3))
    with dask.config.set(scheduler="sync"):
        ignored = {"ignore_index": -1}
        losses = out_of_core.cross_entropy(x, [0, 1, -1], reduction="none", **ignored).compute()
        np.testing.assert_allclose(losses, [np.log(4), np.log(4), 0])
        assert np.isnan(out_of_core.cross_entropy(x, [-1, -1, -1], **ignored).compute())
        hidden = da.from_array(np.array([[NAN, 1.0], [0.0, 0.0]]), chunks=1)
        value = out_of_core.cross_entropy(hidden, [-1, 0], **ignored).compute()
        np.testing.assert_allclose(value, np.log(2))


def test_wrong_arguments_of_dask_functions_are_refused_in_words():
    x, target = da.zeros((2, 3), chunks=1), np.array([0, 1])
    with pytest.raises(TypeError, match=r"a Dask array is needed, got numpy\.ndarray"):
        out_of_core.softmax(np.zeros(3))
    with pytest.raises(ValueError, match=r"reduction must be .* got 'avg'"):
        out_of_core.cross_entropy(x, target, reduction="avg")
    with pytest.raises(ValueError, match=r"label_smoothing must be from 0 to 1, got 1\.5"):
        out_of_core.cross_entropy(x, target, label_smoothing=1.5)
    with pytest.raises(ValueError, match=r"it has shape \(3,\)"):
        out_of_core.cross_entropy(x, np.zeros(3, dtype=int))
    with pytest.raises(TypeError, match="keepdims must be True or False"):
        out_of_core.logsumexp(x, keepdims=np.ones(2))
    with pytest.raises(TypeError, match=r"weight must be .* got torch\.Tensor"):
        out_of_core.cross_entropy(x, target, weight=torch.ones(3))
    with pytest.raises(ValueError, match="got bool"):
        out_of_core.cross_entropy(x, target == 0)
    with pytest.raises(ValueError, match="ignore_index needs class indices"):
        out_of_core.cross_entropy(x, np.zeros((2, 3)), ignore_index=0)
    with pytest.raises(ValueError, match=r"each of the 3 classes, got shape \(2,\)"):
        out_of_core.cross_entropy(x, target, weight=np.ones(2))
    with pytest.raises(TypeError, match="where must be boolean"):
        out_of_core.softmax(x, where=da.zeros((2, 3), chunks=1))
    with pytest.raises((ValueError, IndexError), match=r"[aA]xis"):
        out_of_core.softmax(x, axis=2)


@pytest.mark.parametrize(
    ("module", "missing", "extra"),
    [("out_of_core", "dask", "streaming"), ("parallel", "torch", "torch")],
)
def test_without_the_extra_the_error_names_it(module, missing, extra):
    code = (
        f"import sys; sys.modules['{missing}'] = None\n"
        f"from softmax_notes import streaming\n"
        f"try: from softmax_notes import {module}\n"
        f"except ImportError as error: print(error)"
    )
    command = [sys.executable, "-c", code]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert f"pip install 'softmax-notes[{extra}]'" in said


# --- proofs


@pytest.mark.claim("thm-monoid")
def test_proof_that_states_are_a_commutative_monoid():
    assert proofs.associativity_residual() == [0] * 6
    assert proofs.commutativity_residual() == [0, 0]
    assert proofs.identity_residual() == 0
    assert proofs.union_residual() == [0, 0]


@pytest.mark.claim("cor-rest")
def test_proof_of_the_form_that_is_computed():
    assert proofs.rest_residual() == [0, 0]


@pytest.mark.claim("prop-loss-monoid")
def test_proof_that_the_loss_of_merged_parts_is_that_of_the_whole():
    assert proofs.loss_residual() == [0, 0]
