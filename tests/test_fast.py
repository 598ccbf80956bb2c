"""The compiled functions: laws, references, edges, proofs."""

import os
import shutil
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numba import int64

from softmax_notes import check, fast
from softmax_notes._fast.calls import STREAM
from softmax_notes._fast.kernels import ALONE_UP_TO, CHUNK, LONG, SOURCES, rows, sources
from softmax_notes._fast.threads import run
from softmax_notes.symbolic import fast as proofs
from tests.exact import DIGITS, exact, ulp_error
from tests.libraries import EDGES, same_kind, to_numpy
from tests.pytorch import needing_torch, torch

DTYPES = ["float32", "float64"]
INF, NAN = np.inf, np.nan
EACH = {"softmax": fast.softmax, "log_softmax": fast.log_softmax, "logsumexp": fast.logsumexp}


@pytest.fixture
def threads():
    """Set the number of threads, and put it back."""
    before = fast.get_num_threads()
    yield fast.set_num_threads
    fast.set_num_threads(before)


def scores(shape, dtype, scale=5.0, seed=0):
    return (np.random.default_rng(seed).normal(size=shape) * scale).astype(dtype)


def reference(name, x, axis):
    """Give PyTorch's value in float64, over several axes too."""
    axes = tuple(range(x.ndim)) if axis is None else tuple(np.atleast_1d(axis) % x.ndim)
    t = torch.tensor(x.copy(order="C"), dtype=torch.float64)
    log_total = torch.logsumexp(t, axes, keepdim=True)
    if name == "logsumexp":
        return torch.logsumexp(t, axes).numpy()
    return (t - log_total).numpy() if name == "log_softmax" else (t - log_total).exp().numpy()


# 2001 × 10: short rows, four at a time; 33: a part of a vector is left; 131: several threads.
SHAPES = [
    (2001, 10), (3, 33), (7, 1000), (ALONE_UP_TO // 64, 131), (2, LONG + 77), (5, 40, 3), (40, 2000)
]  # fmt: skip

# --- laws


@given(st.data())
def test_values_are_those_of_pytorch_for_any_shape_axis_and_stride(data):
    shape = data.draw(npst.array_shapes(min_dims=1, max_dims=4, max_side=7))
    x = scores(shape, data.draw(st.sampled_from(DTYPES)), seed=data.draw(st.integers(0, 99)))
    x = x.transpose(data.draw(st.permutations(range(x.ndim))))
    if data.draw(st.booleans()):
        x = x[..., ::-1] if data.draw(st.booleans()) else np.repeat(x, 2, axis=-1)[..., ::2]
    one = st.integers(-x.ndim, x.ndim - 1)
    several = st.lists(one, min_size=1, max_size=x.ndim, unique_by=lambda a: a % x.ndim)
    axis = data.draw(st.one_of(st.none(), one, several.map(tuple)))
    before, eps = x.copy(), np.finfo(x.dtype).eps
    for name, function in EACH.items():
        for given_x in (x, torch.tensor(x.copy(order="C"))):
            result = to_numpy(function(given_x, axis=axis))
            expected = reference(name, x, axis)
            assert result.shape == expected.shape
            atol = 40 * eps if name != "softmax" else 0
            np.testing.assert_allclose(result, expected, rtol=40 * eps, atol=atol)
    np.testing.assert_array_equal(x, before)


@given(st.data())
def test_the_result_in_out_is_the_result_for_any_layout_of_out(data):
    shape = data.draw(npst.array_shapes(min_dims=1, max_dims=3, max_side=6))
    x = scores(shape, data.draw(st.sampled_from(DTYPES)))
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    order = data.draw(st.permutations(range(x.ndim)))
    for function in (fast.softmax, fast.log_softmax):
        expected = function(x, axis=axis)
        out = np.zeros([x.shape[i] for i in order], x.dtype).transpose(np.argsort(order))
        assert function(x, axis=axis, out=out) is out
        eps = np.finfo(x.dtype).eps  # along another stride the order of the sum is another
        np.testing.assert_allclose(out, expected, rtol=16 * eps)
        spaced = np.full((*x.shape, 2), 7.0, x.dtype)
        function(x, axis=axis, out=spaced[..., 0])
        np.testing.assert_allclose(spaced[..., 0], expected, rtol=16 * eps)
        assert np.all(spaced[..., 1] == 7)


@pytest.mark.claim("prop-fast-blocks")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_no_bit_depends_on_the_number_of_threads(threads, shape, dtype):
    x = scores(shape, dtype)
    target = np.zeros(x[..., 0].shape, np.int64)
    seen = []
    for number in (1, 2, 5):
        threads(number)
        results = [f(x, axis=axis) for f in EACH.values() for axis in (-1, 0)]
        results += fast.cross_entropy_value_and_grad(x, target, reduction="none")
        smooth = fast.cross_entropy_value_and_grad(x, target, label_smoothing=0.1)
        seen.append([np.asarray(r).tobytes() for r in (*results, *smooth)])
    assert all(results == seen[0] for results in seen)


@pytest.mark.claim("lem-fast-difference")
@given(st.floats(256, 2.0**100, width=32), st.floats(0, 1, width=32), st.booleans())
def test_differences_from_a_large_maximum_are_exact(m, share, negative):
    m = np.float32(-m if negative else m)
    x = np.float32(float(m) - 128 * share)
    if float(m) - 128 <= float(x) <= float(m):
        assert float(m - x) == float(m) - float(x)


@pytest.mark.claim("prop-fast-shift")
@given(st.integers(-3000, 3000), st.sampled_from(DTYPES))
def test_a_common_shift_changes_nothing_but_last_digits(c, dtype):
    x = np.round(scores((3, 40), dtype) * 8) / 8  # the shift is exact
    eps = np.finfo(dtype).eps
    for axis in (0, 1):
        p, shifted = fast.softmax(x, axis=axis), fast.softmax(x + x.dtype.type(c), axis=axis)
        np.testing.assert_allclose(shifted, p, rtol=8 * eps)
        np.testing.assert_allclose(p.sum(axis=axis, dtype="float64"), 1, rtol=8 * eps)


@given(st.data())
def test_losses_and_gradients_are_those_of_pytorch_with_every_option(data):
    rows, n = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 40))
    dtype = data.draw(st.sampled_from(DTYPES))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    x = scores((rows, n), dtype, seed=rng)
    soft, weighted = data.draw(st.booleans()), data.draw(st.booleans())
    options = {
        "label_smoothing": data.draw(st.sampled_from([0.0, 0.1, 1.0])),
        "reduction": data.draw(st.sampled_from(["mean", "sum", "none"])),
    }
    weight = rng.uniform(0.1, 2, n).astype(dtype) if weighted else None
    target = rng.dirichlet(np.ones(n), rows).clip(0, 1).astype(dtype)
    ours = dict(options)
    if not soft:
        target = np.where(rng.random(rows) < 0.2, -100, rng.integers(0, n, rows))
        target[0] = 0
        ours["ignore_index"] = -100
    before = x.copy(), target.copy()
    loss, grad = fast.cross_entropy_value_and_grad(x, target, weight=weight, **ours)
    alone = fast.cross_entropy(x, target, weight=weight, **ours)
    t = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    y = torch.tensor(target, dtype=torch.float64 if soft else torch.int64)
    w = None if weight is None else torch.tensor(weight, dtype=torch.float64)
    expected = torch.nn.functional.cross_entropy(t, y, weight=w, **options)
    expected.sum().backward()
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(loss, expected.detach(), rtol=40 * eps, atol=80 * eps)
    np.testing.assert_allclose(grad, t.grad, rtol=60 * eps, atol=20 * eps)
    np.testing.assert_array_equal(alone, loss)
    assert grad.dtype == loss.dtype == x.dtype
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(target, before[1])


# --- references


def families(dtype):
    """Scores that are hard on softmax; log of the smallest positive number is -reach."""
    random = np.random.default_rng(0)
    reach = -float(np.log(np.finfo(dtype).smallest_subnormal))
    for n in (1, 2, 3, 17, 400):
        yield random.normal(size=n) * 3
        yield random.uniform(-1.1 * reach, 0, size=n)
        for center in (999.9, -700.3, 2500.1, 511.9):  # on both sides of where the shift changes
            yield random.uniform(-reach, 0, size=n) + center
        yield np.append(random.uniform(-60, -5, size=n), 0)
        yield 1 + 1e-6 * random.normal(size=n)
        yield np.resize([0.1, -7.3], n)
        yield random.normal(size=n) * 1e30
        yield random.normal(size=n) * 1e-3 - np.log(n)
    yield np.finfo(dtype).max * np.array([1, 1, -1, 0.5])
    yield np.full(6, -np.finfo(dtype).smallest_subnormal)


@pytest.mark.claim("prop-fast-shift")
@pytest.mark.claim("lem-fast-difference")
@pytest.mark.parametrize("dtype", DTYPES)
def test_errors_are_within_8_ulp_over_the_whole_range_along_rows_and_columns(dtype):
    eps = np.finfo(dtype).eps
    for values in families(dtype):
        x = values.astype(dtype)
        truth = exact(x)
        pair = np.stack([x, x])
        for p, log_p, log_total in (
            (fast.softmax(x), fast.log_softmax(x), fast.logsumexp(x)),
            (
                fast.softmax(pair.T, axis=0)[:, 1],
                fast.log_softmax(np.ascontiguousarray(pair.T), axis=0)[:, 1],
                fast.logsumexp(np.ascontiguousarray(pair.T), axis=0)[1],
            ),
            (
                fast.softmax(np.ascontiguousarray(pair.T), axis=0)[:, 0],
                fast.log_softmax(x, out=x.copy()),
                fast.logsumexp(pair, axis=-1)[0],
            ),
        ):
            assert ulp_error(p, truth.softmax, dtype) <= 8
            assert ulp_error(log_p, truth.log_softmax, dtype) <= 8
            error = abs(float(log_total) - float(truth.logsumexp))
            assert error <= 8 * eps * max(abs(float(truth.logsumexp)), float(abs(x.max())))


@pytest.mark.claim("prop-fast-blocks")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [30_000, LONG + 1001])
@pytest.mark.parametrize("values", [[0.0, -0.1], [0.0, -3.3, -7.7], [700.0, 699.9], [3000.0, 2990]])
def test_the_error_does_not_grow_with_n(values, n, dtype):
    x = np.resize(values, n).astype(dtype)
    truth = exact(x)
    column = np.stack([x, x], axis=1)
    for function, values in ((fast.softmax, truth.softmax), (fast.log_softmax, truth.log_softmax)):
        for got in (function(x), function(column, axis=0)[:, 1]):
            assert ulp_error(got[-6:], values[-6:], dtype) <= 8
    assert ulp_error(fast.logsumexp(x), [truth.logsumexp], dtype) <= 8


def slopes(dtype):
    """Columns whose maximum comes late, jumps, comes often, or changes the kind of shift."""
    n, far = 75, {"float32": 512, "float64": 4096}[dtype]
    rise = np.linspace(-9, 9, n)
    yield rise
    yield rise[::-1]
    yield np.where(np.arange(n) < 70, -INF, rise)
    yield np.resize([3.0, 3.0, -1.0, 3.0], n)
    yield np.floor(rise)  # each maximum comes several times before there is another
    for low, high in ((-far - 3, 0), (-far + 0.5, 2), (-3 * far, -2 * far), (0, far - 0.5)):
        yield np.where(np.arange(n) < 30, low - np.arange(n) % 2, high - np.arange(n) % 3)
    yield np.where(np.arange(n) == 40, 2.0 * far, rise)


@pytest.mark.claim("prop-fast-shift")
@pytest.mark.parametrize("dtype", DTYPES)
def test_columns_are_added_up_wherever_their_maxima_come(dtype):
    eps = np.finfo(dtype).eps
    columns = np.stack([x.astype(dtype) for x in slopes(dtype)], axis=1)
    together = [f(columns, axis=0) for f in EACH.values()]
    target = np.arange(columns.shape[1]) + 60
    loss, grad = fast.cross_entropy_value_and_grad(columns, target, axis=0, reduction="none")
    for j, t in enumerate(target):
        x = columns[:, j]
        truth = exact(x)
        alone = [f(np.stack([x, x], axis=1), axis=0)[..., 0] for f in EACH.values()]
        for p, log_p, log_total in ([r[..., j] for r in together], alone):
            assert ulp_error(p, truth.softmax, dtype) <= 8
            assert ulp_error(log_p, truth.log_softmax, dtype) <= 8
            error = abs(float(log_total) - float(truth.logsumexp))
            assert error <= 8 * eps * max(abs(float(truth.logsumexp)), float(abs(x.max())))
        assert ulp_error(loss[[j]], [-truth.log_softmax[t]], dtype) <= 8
        with mpmath.workdps(DIGITS):
            truth.softmax[t] = mpmath.expm1(truth.log_softmax[t])
        assert ulp_error(grad[:, j], truth.softmax, dtype) <= 8


def test_a_maximum_that_comes_more_often_than_float32_can_count_is_counted():
    x = np.zeros((2**25, 2), np.float32)
    np.testing.assert_allclose(fast.logsumexp(x, axis=0), 25 * np.log(2), rtol=1e-7)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("shape", [(40, 3), (2, 40, 3), (4, 5, 300), (3, 130, 40)], ids=str)
def test_losses_along_another_axis_are_those_of_pytorch(shape, reduction, weighted, dtype):
    rng, axis = np.random.default_rng(0), len(shape) - 2
    n, places = shape[axis], shape[:axis] + shape[axis + 1 :]
    x = scores(shape, dtype)
    target = np.where(rng.random(places) < 0.2, -100, rng.integers(0, n, places))
    target.flat[0] = 0
    weight = rng.uniform(0.1, 2, n) * (np.arange(n) > 0) if weighted else None
    t = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(
        t if axis else t.T,
        torch.tensor(target),
        weight=None if weight is None else torch.tensor(weight),
        reduction=reduction,
    )
    expected.sum().backward()
    eps = np.finfo(dtype).eps
    # What is ignored is not looked at: NaN there changes nothing.
    x = np.where(np.expand_dims(target == -100, axis), NAN, x).astype(dtype)
    spaced = np.empty((*shape, 2), dtype)[..., 0]
    for out in (None, np.empty_like(x), spaced, torch.empty_like(torch.tensor(x)), x):
        logits, y, w = x, target, weight
        if isinstance(out, torch.Tensor):
            logits, y, w = (v if v is None else torch.tensor(v) for v in (x, target, weight))
        options = {"axis": axis, "weight": w, "ignore_index": -100, "reduction": reduction}
        alone = fast.cross_entropy(logits, y, **options)
        loss, grad = fast.cross_entropy_value_and_grad(logits, y, out=out, **options)
        assert out is None or grad is out
        np.testing.assert_array_equal(alone, loss)
        np.testing.assert_allclose(loss, expected.detach(), rtol=40 * eps, atol=80 * eps)
        np.testing.assert_allclose(grad, t.grad, rtol=60 * eps, atol=20 * eps)


@pytest.mark.parametrize("dtype", DTYPES)
def test_pieces_of_a_long_row_may_lie_on_either_side_of_where_the_shift_changes(dtype):
    border = {"float32": 512, "float64": 4096}[dtype]
    x = np.full(3 * CHUNK + LONG, -2.0 * border, dtype)
    x[5], x[CHUNK + 5], x[2 * CHUNK + 5] = border - 1.25, border + 1.5, border - 20
    x[3 * CHUNK :] = -INF
    places = [5, CHUNK + 5, 2 * CHUNK + 5]
    truth = exact(x[places])
    assert ulp_error(fast.softmax(x)[places], truth.softmax, dtype) <= 8
    assert ulp_error(fast.log_softmax(x)[places], truth.log_softmax, dtype) <= 8
    assert ulp_error(fast.logsumexp(x), [truth.logsumexp], dtype) <= 8
    x = np.zeros(LONG + 9, dtype)  # the last piece is shorter, and has another maximum
    x[-1] = 5000
    assert fast.logsumexp(x) == 5000
    assert fast.softmax(x)[-1] == 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [2, 7, 200, LONG + 3])
def test_losses_and_gradients_of_class_indices_are_within_8_ulp(dtype, n):
    for scale in (1, 30, 300) if n <= LONG else (30,):
        # A few values only: their exponentials are evaluated once.
        x = np.random.default_rng(0).choice(scores(60, dtype, scale=scale), (2, n))
        x[0, 0] = x[0].max() + 18  # a confident prediction, right in row 0
        loss, grad = fast.cross_entropy_value_and_grad(x, np.array([0, n - 1]), reduction="none")
        for row, t in ((0, 0), (1, n - 1)):
            truth = exact(x[row])
            assert ulp_error(loss[row], [-truth.log_softmax[t]], dtype) <= 8
            places = list(range(min(n, 40)))
            expected = [truth.softmax[i] for i in places]
            if t in places:  # p - 1, without its cancellation
                with mpmath.workdps(DIGITS):
                    expected[t] = mpmath.expm1(truth.log_softmax[t])
            assert ulp_error(grad[row, places], expected, dtype) <= 8


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_16_bit_dtypes_are_computed_in_float32_and_rounded_once(dtype):
    x = torch.tensor(scores((3, 50), "float64")).to(getattr(torch, dtype))
    for name, function in EACH.items():
        result = function(x, axis=-1)
        assert result.dtype == x.dtype
        expected = reference(name, x.double().numpy(), -1)
        assert ulp_error(to_numpy(result).ravel(), expected.ravel().tolist(), dtype) <= 1
    out = torch.empty_like(x)
    assert fast.softmax(x, out=out) is out
    torch.testing.assert_close(out, fast.softmax(x), rtol=0, atol=0)
    if dtype == "float16":
        assert fast.softmax(x.numpy()).dtype == np.float16


@pytest.mark.parametrize("dtype", DTYPES)
def test_results_written_past_the_cache_are_the_same(dtype):
    for n in (1000, 20_000):  # rows that do not begin at the start of a cache line
        x = scores((STREAM // (n * np.dtype(dtype).itemsize) + 1, n), dtype)
        target = np.arange(len(x)) % n
        loss, grad = fast.cross_entropy_value_and_grad(x, target, reduction="sum")
        few = x[:50]
        for function in (fast.softmax, fast.log_softmax):
            np.testing.assert_array_equal(function(x)[:50], function(few))
        part = fast.cross_entropy_value_and_grad(few, target[:50], reduction="sum")[1]
        np.testing.assert_array_equal(grad[:50], part)
    expected = torch.nn.functional.cross_entropy(
        torch.tensor(x, dtype=torch.float64), torch.tensor(target), reduction="sum"
    )
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


def test_the_laws_of_the_book_hold_as_check_tries_them():
    for name in ("softmax", "log_softmax"):
        getattr(check, name)(EACH[name], level="robust").raise_if_failed()


OPTIONS = [
    {},
    {"weight": torch.tensor([0.5, 2.0, 1.0], dtype=torch.float64)},
    {"label_smoothing": 0.2},
    {"reduction": "sum"},
    {"reduction": "none"},
    {"weight": torch.tensor([0.5, 0.25, 1.0], dtype=torch.float64), "label_smoothing": 0.3},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("shape", [(3,), (4, 3), (2, 3, 5), (2, 3, 2, 2)], ids=str)
def test_the_module_is_a_drop_in_for_pytorchs(shape, options):
    ours, theirs = fast.CrossEntropyLoss(**options), torch.nn.CrossEntropyLoss(**options)
    rng = np.random.default_rng(1)
    left = shape[:1] + shape[2:] if len(shape) > 1 else ()
    indices = torch.tensor(rng.integers(0, 3, left))
    if left:
        indices[(0,) * len(left)] = -100
    soft = torch.tensor(rng.random(shape))
    for target in (indices, soft):
        x = torch.tensor(rng.normal(size=shape), requires_grad=True)
        y = x.detach().clone().requires_grad_()
        a, b = ours(x, target), theirs(y, target)
        torch.testing.assert_close(a, b, equal_nan=True)
        (a * 3).sum().backward()
        (b * 3).sum().backward()
        torch.testing.assert_close(x.grad, y.grad, equal_nan=True)
        assert torch.autograd.gradcheck(lambda t, at=target: ours(t, at), x)


def test_the_module_prints_moves_and_saves_as_a_module_does():
    loss = fast.CrossEntropyLoss(weight=torch.ones(3), label_smoothing=0.5)
    assert isinstance(loss, torch.nn.Module)
    assert "label_smoothing=0.5" in repr(loss)
    assert list(loss.state_dict()) == ["weight"]
    assert loss.double().weight.dtype == torch.float64
    with torch.no_grad():
        assert not loss(torch.zeros(1, 3, dtype=torch.float64), torch.tensor([0])).requires_grad


def test_a_second_derivative_and_gradients_by_the_target_are_refused_in_words():
    x = torch.zeros(2, 3, requires_grad=True)
    target = torch.full((2, 3), 1 / 3, requires_grad=True)
    (grad,) = torch.autograd.grad(
        fast.CrossEntropyLoss()(x, torch.tensor([0, 1])), x, create_graph=True
    )
    with pytest.raises(RuntimeError, match="has no second derivative"):
        grad.sum().backward()
    with pytest.raises(TypeError, match="no gradient by the target"):
        fast.CrossEntropyLoss()(x, target)


# --- edges


@pytest.mark.parametrize("dtype", ["float16", *DTYPES])
@pytest.mark.parametrize("n", [2, 16, 17, 200, LONG + 2])
def test_the_contract_at_the_edges(dtype, n):
    """The two scores stand at both ends of a row whose others are all the smaller one."""
    for (a, b), p, log_p, log_total in EDGES:
        if n > 2 and ((a, b) == (INF, INF) or (n > 200 and dtype == "float16")):
            continue
        x = np.full((3, n), -INF, dtype)
        x[:, 0], x[:, -1] = a, b
        x[1] = 0
        for axis, y in ((1, x), (0, np.ascontiguousarray(x.T))):
            if axis == 0 and n > 200:
                continue
            with np.errstate(all="raise"):
                results = [f(y, axis=axis) for f in EACH.values()]
            first, second = (r if axis else r.T for r in results[:2])
            np.testing.assert_array_equal(first[0][[0, -1]], p)
            np.testing.assert_array_equal(second[2][[0, -1]], log_p)
            np.testing.assert_array_equal(results[2][[0, 2]], log_total)
            np.testing.assert_allclose(first[1], 1 / n, rtol=1e-2 if dtype == "float16" else 1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [5, 40, 200, LONG + 2])
def test_nan_with_other_digits_than_usual_is_nan_too(dtype, n):
    """Such as the missing values of R: what is added to the bits of NaN would make a number."""
    x = np.zeros((5, n), dtype)
    digits = {"float32": 0x7FC00001, "float64": 0x7FF80000000007A2}[dtype]
    x.view(dtype.replace("float", "uint"))[1, n - 2] = digits
    bad = np.arange(5) == 1
    columns = np.ascontiguousarray(x.T)
    results = [f(x, axis=1) for f in EACH.values()]
    results += [f(columns, axis=0).T for f in EACH.values()]
    for axis, y in ((1, x), (0, columns)):
        loss, grad = fast.cross_entropy_value_and_grad(
            y, np.zeros(5, int), axis=axis, reduction="none"
        )
        results += [loss, grad if axis else grad.T]
    for result in results:
        seen = np.isnan(result) if result.ndim == 1 else np.isnan(result).all(axis=1)
        np.testing.assert_array_equal(seen, bad)
        assert np.isfinite(result[~bad]).all()


def test_differences_past_the_largest_number_are_minus_infinity():
    for dtype in DTYPES:
        big = np.finfo(dtype).max
        for n in (2, 40):
            x = np.full(n, -big)
            x[0] = big
            np.testing.assert_array_equal(fast.softmax(x)[:2], [1, 0])
            np.testing.assert_array_equal(fast.log_softmax(x)[:2], [0, -INF])
            assert fast.logsumexp(x) == big


@pytest.mark.parametrize("axis", [0, 1, None])
@pytest.mark.parametrize("shape", [(2, 0), (0, 3), (0, 0)])
def test_an_empty_axis_gives_an_empty_result_and_logsumexp_minus_infinity(shape, axis):
    x = np.zeros(shape)
    assert fast.softmax(x, axis=axis).shape == fast.log_softmax(x, axis=axis).shape == shape
    result = fast.logsumexp(x, axis=axis)
    np.testing.assert_array_equal(result, np.full(np.sum(x, axis=axis).shape, -INF))


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint8", "bool"])
def test_integers_are_promoted_before_anything_is_subtracted(dtype):
    values = np.array({"bool": [0, 1, 1], "uint8": [0, 255, 255]}.get(dtype, [-128, 127, 127]))
    x = values.astype(dtype)
    expected = torch.softmax(torch.tensor(values, dtype=torch.float64), 0)
    assert fast.softmax(x).dtype == np.float64
    np.testing.assert_allclose(fast.softmax(x), expected, rtol=1e-14, atol=1e-300)
    assert fast.softmax(torch.tensor(x)).dtype == torch.float32
    assert isinstance(fast.softmax([1, 2]), np.ndarray)
    assert fast.logsumexp(3.5) == 3.5


def test_tensors_share_their_memory_and_results_are_tensors():
    x = torch.randn(3, 4)
    for function in EACH.values():
        assert same_kind(function(x, axis=-1), x)
    out = torch.zeros(3, 4)
    fast.softmax(x, out=out)
    torch.testing.assert_close(out, torch.softmax(x, -1))
    loss, grad = fast.cross_entropy_value_and_grad(x, torch.tensor([0, 1, 2]), out=out)
    assert grad is out
    assert loss.shape == ()
    assert isinstance(fast.softmax(np.zeros((2, 2), ">f4")), np.ndarray)


@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_is_written_beside_out(dtype):
    """Short rows are written in whole vectors, which reach into rows that are written later."""
    for count, n in ((1, 1), (2, 3), (5, 10), (7, 16), (6, 33), (900, 10), (70, 127), (3, 200)):
        x = scores((count, n), dtype)
        guard = np.full((count + 40, n), 7, dtype)
        out = guard[20:-20]
        for function in (fast.softmax, fast.log_softmax):
            for axis in (0, 1):
                np.testing.assert_array_equal(
                    function(x, axis=axis, out=out), function(x, axis=axis)
                )
                assert np.all(guard[:20] == 7)
                assert np.all(guard[-20:] == 7)
        fast.cross_entropy_value_and_grad(x, np.arange(count) % n, out=out)
        assert np.all(guard[:20] == 7)
        assert np.all(guard[-20:] == 7)
        assert np.abs(out.sum(axis=1)).max() < 1e-6


def test_out_may_be_the_input_and_may_overlap_it():
    for shape in ((5, 30), (300, 200), (2, LONG + 5)):
        for function in (fast.softmax, fast.log_softmax):
            for axis in (0, 1):
                x = scores(shape, "float32")
                expected = function(x, axis=axis)
                assert function(x, axis=axis, out=x) is x
                np.testing.assert_array_equal(x, expected)
    for shape in ((900,), (3, 300)):
        memory = scores(1000, "float32")
        x, out = memory[:900].reshape(shape), memory[7:907].reshape(shape)
        expected = fast.softmax(x.copy())
        fast.softmax(x, out=out)
        np.testing.assert_array_equal(out, expected)
    x = scores((5, 6), "float64")
    target = np.arange(5)
    expected = fast.cross_entropy_value_and_grad(x, target)[1]
    np.testing.assert_array_equal(fast.cross_entropy_value_and_grad(x, target, out=x)[1], expected)


def test_logsumexp_keeps_axes_and_writes_to_out():
    x = scores((3, 4, 5), "float64")
    assert fast.logsumexp(x, axis=1, keepdims=True).shape == (3, 1, 5)
    out = np.zeros((3, 5))
    assert fast.logsumexp(x, axis=1, out=out) is out
    np.testing.assert_allclose(out, reference("logsumexp", x, 1), rtol=1e-14)
    t = torch.zeros(4)
    fast.logsumexp(torch.zeros(2, 4), axis=0, out=t)
    torch.testing.assert_close(t, torch.full((4,), np.log(2.0)))


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (np.zeros(4), ValueError, r"shape \(3,\).*got shape \(4,\)"),
        (np.zeros(3, "float32"), ValueError, "dtype float64, got .* float32"),
        (torch.zeros(3), TypeError, "of the library of x, got Tensor"),
        ([0.0] * 3, TypeError, "of the library of x, got list"),
    ],
    ids=str,
)
def test_an_out_that_does_not_fit_is_refused(out, error, message):
    needing_torch("torch")
    with pytest.raises(error, match=message):
        fast.softmax(np.zeros(3), out=out)
    locked = np.empty(3)
    locked.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        fast.softmax(np.zeros(3), out=locked)
    with pytest.raises(TypeError, match="must not require a gradient"):
        fast.softmax(torch.zeros(3), out=torch.zeros(3, requires_grad=True))


def test_an_input_that_may_not_be_written_may_be_read():
    x = np.zeros((2, 3))
    x.flags.writeable = False
    assert fast.softmax(x)[0, 0] == pytest.approx(1 / 3)
    assert fast.cross_entropy(x, np.array([0, 1])) == pytest.approx(np.log(3))


@pytest.mark.parametrize("function", EACH.values(), ids=EACH)
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.ma.array([1.0, 2.0], mask=[0, 1]), "would lose its mask"),
        (np.ones((1, 1)).view(np.matrix), "pass numpy.asarray"),
        (np.array([1j]), "real numbers is needed, got dtype complex128"),
        (np.array(["a"]), "real numbers is needed"),
        ("abc", "an array, a list or a number is needed, got str"),
        (None, "got NoneType"),
        (np.zeros(2, np.longdouble), "computes in float32 and float64"),
        (torch.zeros(2, requires_grad=True), "nothing for autograd"),
        (torch.zeros(2, device="meta"), "CPU tensors"),
    ],
)
def test_what_is_no_array_for_these_functions_is_refused_in_words(function, x, message):
    with pytest.raises(TypeError, match=message):
        function(x)


def test_other_libraries_are_refused_with_the_way_out():
    import jax

    with pytest.raises(TypeError, match="softmax_notes has the same functions"):
        fast.softmax(jax.numpy.zeros(3))
    with pytest.raises(TypeError, match="one library"):
        fast.cross_entropy(np.zeros((1, 3)), torch.tensor([0]))


@pytest.mark.parametrize("axis", [2, -3, (0, 0), (1, 5)])
def test_a_wrong_axis_is_numpys_own_error(axis):
    for function in EACH.values():
        with pytest.raises((ValueError, IndexError), match="axis"):
            function(np.zeros((2, 3)), axis=axis)


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ([0, 3], {}, "target must be from 0 to 2, got 3"),
        ([0, -1], {}, "target must be from 0 to 2, got -1"),
        ([0], {}, r"must have the shape \(2,\)"),
        ([True, False], {}, "class indices or probabilities, got bool"),
        ([[0.5, 0.5, 1.5]] * 2, {}, "from 0 to 1, got 1.5"),
        ([[0.5, 0.5]] * 2, {}, "must have the shape of logits"),
        ([[0.5, 0.5, 0.0]] * 2, {"ignore_index": 0}, "needs class indices"),
        ([0, 1], {"weight": [1.0, 2.0]}, "one number for each of the 3 classes"),
        ([0, 1], {"weight": [1.0, 2.0, -1.0]}, "finite numbers from 0 on, got -1.0"),
        ([0, 1], {"label_smoothing": 1.5}, "label_smoothing must be from 0 to 1, got 1.5"),
        ([0, 1], {"reduction": "max"}, "reduction must be one of"),
    ],
)
def test_losses_refuse_what_is_out_of_range_with_its_value(target, options, message):
    options = {k: np.array(v) if k == "weight" else v for k, v in options.items()}
    for function in (fast.cross_entropy, fast.cross_entropy_value_and_grad):
        with pytest.raises(ValueError, match=message):
            function(np.zeros((2, 3)), np.array(target), **options)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_rows_without_a_softmax_are_nan_and_ignored_rows_never_leak(bad, smoothing):
    x = np.zeros((3, 20))
    x[0] = bad
    target = np.array([1, 2, 0])
    options = {"reduction": "none", "label_smoothing": smoothing}
    loss, grad = fast.cross_entropy_value_and_grad(x, target, **options)
    assert np.isnan(loss[0])
    assert np.isnan(grad[0]).all()
    np.testing.assert_allclose(loss[1:], np.log(20))
    loss, grad = fast.cross_entropy_value_and_grad(
        x, target, ignore_index=1, label_smoothing=smoothing
    )
    assert loss == pytest.approx(np.log(20))
    assert np.all(grad[0] == 0)


def test_a_forbidden_class_costs_nothing_unless_it_is_the_target():
    x = np.array([[0.0, -INF, 0.0]] * 2)
    loss, grad = fast.cross_entropy_value_and_grad(x, np.array([0, 1]), reduction="none")
    np.testing.assert_allclose(loss, [np.log(2), INF])
    np.testing.assert_allclose(grad, [[-0.5, 0, 0.5], [0.5, -1, 0.5]])
    soft = np.array([[0.5, 0.0, 0.5], [0.5, 0.5, 0.0]])
    loss, grad = fast.cross_entropy_value_and_grad(x, soft, reduction="none")
    np.testing.assert_allclose(loss, [np.log(2), INF])
    np.testing.assert_allclose(grad, [[0, 0, 0], [0, -0.5, 0.5]], atol=1e-16)


def test_a_mean_over_no_targets_is_nan_with_gradient_0_as_in_pytorch():
    target = np.array([1, 1])
    loss, grad = fast.cross_entropy_value_and_grad(np.zeros((2, 3)), target, ignore_index=1)
    assert np.isnan(loss)
    assert np.all(grad == 0)
    loss, grad = fast.cross_entropy_value_and_grad(np.zeros((0, 3)), np.zeros(0, int))
    assert np.isnan(loss)
    assert grad.shape == (0, 3)
    assert fast.cross_entropy(np.zeros((0, 3)), np.zeros(0, int), reduction="sum") == 0


def test_the_axis_of_classes_may_stand_anywhere():
    x = scores((4, 3, 5), "float64")
    target = np.random.default_rng(0).integers(0, 3, (4, 5))
    loss, grad = fast.cross_entropy_value_and_grad(x, target, axis=1)
    t = torch.tensor(x, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(t, torch.tensor(target))
    expected.backward()
    assert loss == pytest.approx(expected.item())
    np.testing.assert_allclose(grad, t.grad, atol=1e-16)
    x[0, :, 1], target[0, 1] = NAN, -7  # what is ignored does not leak
    out = np.empty_like(x)
    for reduction in ("sum", "none"):
        options = {"reduction": reduction, "ignore_index": -7}
        loss, grad = fast.cross_entropy_value_and_grad(x, target, axis=1, out=out, **options)
        t = torch.tensor(np.nan_to_num(x), requires_grad=True)
        expected = torch.nn.functional.cross_entropy(t, torch.tensor(target), **options)
        expected.sum().backward()
        np.testing.assert_allclose(loss, expected.detach(), atol=1e-15)
        np.testing.assert_allclose(grad, t.grad, atol=1e-15)
        assert grad is out
        alone = fast.cross_entropy(torch.tensor(x), torch.tensor(target), axis=1, **options)
        np.testing.assert_array_equal(alone, loss)
    with pytest.raises(ValueError, match="from 0 to 2, got 3"):
        fast.cross_entropy(x, np.full((4, 5), 3), axis=1)


def test_eight_threads_may_call_at_once(threads):
    threads(3)
    x = [scores((300, 400), "float32", seed=i) for i in range(8)]
    expected = [fast.softmax(y) for y in x]
    wrong = []

    def call(i):
        for _ in range(30):
            if not np.array_equal(fast.softmax(x[i]), expected[i]):
                wrong.append(i)

    callers = [threading.Thread(target=call, args=(i,)) for i in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert wrong == []


def test_who_waits_for_a_helper_leaves_the_processor_to_it(threads):
    threads(2)
    begun = threading.Event()

    def kernel(x, state, bell, me):
        if me:
            begun.set()
            time.sleep(0.5)
            state[0] = 1
        elif len(state):  # the first call of a kernel is made alone
            assert begun.wait(60)

    run(kernel, (np.zeros(ALONE_UP_TO + 1),), 1, 2)
    start = time.thread_time()
    run(kernel, (np.zeros(ALONE_UP_TO + 1),), 1, 2)
    assert time.thread_time() - start < 0.05


def test_a_helper_that_finds_no_memory_is_there_at_the_next_call(threads):
    threads(2)
    begun = threading.Event()

    def kernel(x, state, bell, me):
        if me:
            begun.set()
            raise MemoryError
        if len(state):
            assert begun.wait(20)
            state[0] = 1

    for _ in range(3):
        begun.clear()
        run(kernel, (np.zeros(ALONE_UP_TO + 1),), 1, 2)


def test_calls_do_not_pile_up_behind_a_busy_helper(threads):
    threads(2)
    begun, end, arrays = threading.Event(), threading.Event(), []

    def kernel(x, state, bell, me):
        if me:
            begun.set()
            end.wait(60)
        elif len(state):
            assert begun.wait(60)
            state[0] = 1

    try:
        for _ in range(20):
            x = np.zeros(ALONE_UP_TO + 1)
            arrays.append(weakref.ref(x))
            run(kernel, (x,), 1, 2)
            del x
        # One is with the helper, and one is what it is asked for next.
        assert sum(array() is not None for array in arrays) == 2
    finally:
        end.set()


def run_python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, env=os.environ | environment, timeout=100,
    )  # fmt: skip


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_starts_threads_of_its_own():
    done = run_python(
        "import os, threading, numpy as np\n"
        "from softmax_notes import fast\n"
        "fast.set_num_threads(3)\n"
        "x = np.ones((300, 400), np.float32)\n"
        "before = fast.softmax(x)\n"
        "fast.softmax(x)  # the first call is made alone\n"
        "child = os.fork()\n"
        "same = np.array_equal(fast.softmax(x), before) and fast.get_num_threads() == 3\n"
        "same = same and threading.active_count() == 3\n"
        "if not child:\n"
        "    os._exit(0 if same else 1)\n"
        "print(same, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    assert done.stdout == "True 0\n", done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_forked_while_a_thread_compiles_can_compile():
    done = run_python(
        "import os, signal, threading, time, numpy as np\n"
        "from numba.core.compiler_lock import global_compiler_lock\n"
        "from softmax_notes._fast import kernels, threads\n"
        "held = threading.Event()\n"
        "def compile():\n"
        "    with global_compiler_lock:\n"
        "        held.set()\n"
        "        time.sleep(0.5)\n"
        "threading.Thread(target=compile).start()\n"
        "held.wait()\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    signal.alarm(40)  # a child that waits for ever is ended\n"
        "    kernels.weigh(np.array([1, 2]), 3, 0, False, np.zeros(0))\n"
        "    os._exit(0)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    assert done.stdout == "0\n", done.stderr


def test_without_numba_the_error_says_what_to_install():
    done = run_python("import sys; sys.modules['numba'] = None; import softmax_notes.fast")
    assert "pip install 'softmax-notes[fast]'" in done.stderr


def test_where_nothing_can_be_kept_it_is_compiled_all_the_same():
    done = run_python(
        "import numba.core.caching as caching\n"
        "caching.CacheImpl._locator_classes = []\n"
        "from softmax_notes._fast import kernels\n"
        "import numpy as np\n"
        "print(kernels.weigh(np.array([1, 2]), 3, 0, False, np.zeros(0)))\n"
    )
    assert done.stdout == "(-1, 2.0)\n", done.stderr


def test_what_is_kept_on_disk_is_not_used_when_another_file_of_the_folder_has_changed(tmp_path):
    here = Path(fast.__file__).with_name("_fast")
    (tmp_path / "_fast").mkdir()
    for file in (*here.glob("*.py"), here.parent / "exp_approximation.py"):
        shutil.copy(file, tmp_path / file.relative_to(here.parent))
    assert sources(tmp_path / "_fast") == SOURCES
    for name in ("_fast/vectors.py", "exp_approximation.py"):
        before = sources(tmp_path / "_fast")
        with (tmp_path / name).open("a") as changed:
            changed.write("#")
        assert sources(tmp_path / "_fast") != before
    assert SOURCES in rows._cache._index_key((int64,), rows.targetctx.codegen())


def test_importing_loads_neither_pytorch_nor_compiled_code():
    code = "import sys, softmax_notes.fast; print('torch' in sys.modules, 'sympy' in sys.modules)"
    assert run_python(code).stdout == "False False\n"


def test_the_number_of_threads_is_at_least_1(threads):
    with pytest.raises(ValueError, match="at least 1, got 0"):
        threads(0)


# --- proofs


@pytest.mark.claim("prop-fast-shift")
def test_proof_that_any_shift_gives_the_same_probabilities():
    assert proofs.shift_residual() == 0


@pytest.mark.claim("prop-fast-shift")
def test_proof_that_a_multiple_of_ln_2_only_moves_the_exponent():
    assert proofs.reduced_residual() == 0
    assert proofs.merge_residual() == 0
