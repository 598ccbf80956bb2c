"""Chunked linear cross-entropy: PyTorch's numbers and gradients, in a fraction of the memory."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from softmax_notes import cross_entropy, cross_entropy_grad
from softmax_notes import linear_cross_entropy as tiled
from softmax_notes.linear_cross_entropy import linear_cross_entropy
from softmax_notes.symbolic import vocabulary as proofs

INF = math.inf
IGNORED = -100


@st.composite
def problems(draw, dtype=torch.float64):
    """Draw features, weights, targets, and options: any shapes, any tile."""
    rows, features, n = (draw(st.integers(low, high)) for low, high in ((0, 7), (1, 4), (1, 9)))
    rng = torch.Generator().manual_seed(draw(st.integers(0, 2**20)))
    scale = draw(st.sampled_from([0.1, 1.0, 20.0]))
    X, W, bias = (
        scale * torch.randn(shape, dtype=dtype, generator=rng)
        for shape in ((rows, features), (n, features), (n,))
    )
    target = torch.randint(n, (rows,), generator=rng)
    options = {
        "bias": draw(st.sampled_from([None, bias])),
        "label_smoothing": draw(st.sampled_from([0.0, 0.1, 1.0])),
        "reduction": draw(st.sampled_from(["mean", "sum", "none"])),
    }
    if draw(st.booleans()):
        options["weight"] = torch.randint(1, 5, (n,), generator=rng).to(dtype) / 4
    if draw(st.booleans()):
        options["ignore_index"] = draw(st.sampled_from([IGNORED, 0]))
        target = torch.where(torch.rand(rows, generator=rng) < 0.3, IGNORED, target)
        target[target == IGNORED] = options["ignore_index"]
    return X, W, target, options


def with_gradients(function, X, W, target, options, seed=0):
    """Give loss and gradients; the loss of each row, if there is one, gets a weight of its own."""
    bias = options.get("bias")
    leaves = [None if t is None else t.clone().requires_grad_() for t in (X, W, bias)]
    loss = function(*leaves[:2], target, **{**options, "bias": leaves[2]})
    upstream = torch.randn(
        loss.shape, dtype=loss.dtype, generator=torch.Generator().manual_seed(seed)
    )
    loss.backward(upstream)
    return loss.detach(), *(leaf.grad for leaf in leaves if leaf is not None)


def by_torch(X, W, target, *, bias=None, ignore_index=None, **options):
    """PyTorch's linear layer and cross-entropy, one after the other."""
    if ignore_index is not None:
        options["ignore_index"] = ignore_index
    return functional.cross_entropy(functional.linear(X, W, bias), target, **options)


def assert_as_torch(problem, rtol=1e-11, atol=1e-12, **ours):
    X, W, target, options = problem
    found = with_gradients(linear_cross_entropy, X, W, target, {**options, **ours})
    expected = with_gradients(by_torch, X, W, target, options)
    for value, reference in zip(found, expected, strict=True):
        assert value.dtype == reference.dtype
        torch.testing.assert_close(value, reference, rtol=rtol, atol=atol, equal_nan=True)


# --- laws


@given(problems(), st.sampled_from([1, 3, 8, 1000]))
def test_loss_and_gradients_are_those_of_pytorch_whatever_the_tile(problem, tile):
    assert_as_torch(problem, tile=tile)


@given(problems(torch.float32))
def test_loss_and_gradients_are_those_of_pytorch_in_float32(problem):
    assert_as_torch(problem, rtol=3e-4, atol=3e-5, tile=5)


@given(problems(), st.sampled_from([1, 4]))
def test_the_arguments_are_not_changed(problem, tile):
    X, W, target, options = problem
    given_tensors = [X, W, target, *(t for t in options.values() if isinstance(t, torch.Tensor))]
    before = [t.clone() for t in given_tensors]
    with_gradients(linear_cross_entropy, X, W, target, {**options, "tile": tile})
    assert all(torch.equal(a, b) for a, b in zip(given_tensors, before, strict=True))


# --- references


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_values_and_gradients_are_those_of_pytorchs_own_chunked_function(reduction):
    rng = torch.Generator().manual_seed(0)
    X, W, bias = (torch.randn(*s, generator=rng) for s in ((60, 16), (500, 16), (500,)))
    target = torch.randint(500, (60,), generator=rng)
    chunks = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=16)

    def theirs(X, W, target, *, bias, **options):
        loss = functional.linear_cross_entropy
        return loss(X, W, target, linear_bias=bias, options=chunks, **options)

    options = {"reduction": reduction, "bias": bias}
    found = with_gradients(linear_cross_entropy, X, W, target, {**options, "tile": 1000})
    for value, reference in zip(found, with_gradients(theirs, X, W, target, options), strict=True):
        torch.testing.assert_close(value, reference, rtol=2e-5, atol=2e-6)


def test_the_gradient_is_that_of_finite_differences():
    rng = torch.Generator().manual_seed(1)
    X, W, bias = (
        torch.randn(*s, generator=rng, dtype=torch.float64).requires_grad_()
        for s in ((4, 3), (5, 3), (5,))
    )
    target = torch.tensor([0, 4, 2, 2])

    def loss(X, W, bias):
        return linear_cross_entropy(
            X, W, target, bias=bias, label_smoothing=0.2, reduction="none", tile=6
        )

    assert torch.autograd.gradcheck(loss, (X, W, bias))


def test_more_rows_than_a_tile_is_high_are_cut_too():
    rng = torch.Generator().manual_seed(2)
    X = torch.randn(5000, 3, generator=rng, dtype=torch.float64)
    W = torch.randn(7, 3, generator=rng, dtype=torch.float64)
    problem = X, W, torch.randint(7, (5000,), generator=rng), {"label_smoothing": 0.1}
    assert_as_torch(problem, tile=3 * 4096)


@pytest.mark.parametrize(
    ("rows", "limit"), [(1, 1), (7, 1), (7, 5), (7, 40), (5000, 3 * 4096), (5000, 10**6)]
)
def test_tiles_are_within_their_limits_and_cover_the_table_once(rows, limit):
    X, W = torch.ones(rows, 2), torch.ones(9, 2)
    covered = torch.zeros(rows, 9)
    for block in tiled._blocks(X, W, None, torch.zeros(rows, dtype=torch.int64), limit):
        for tile in block.tiles:
            assert tile.z.numel() <= limit
            assert len(tile.z) <= tiled._MOST_ROWS
            covered[tile.rows, block.classes] += 1
    assert (covered == 1).all()


def test_class_weights_may_have_more_bits_than_the_features():
    X, W, target = torch.tensor([[1.0, 2.0]]), torch.eye(2), torch.tensor([0])
    weight, options = torch.tensor([0.5, 2.0]), {"label_smoothing": 0.5}
    loss = linear_cross_entropy(X, W, target, weight=weight.double(), **options)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, functional.cross_entropy(X @ W.T, target, weight, **options))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_16_bit_inputs_are_added_up_in_float32_and_rounded_once(dtype):
    rng = torch.Generator().manual_seed(3)
    X, W, bias = (torch.randn(*s, generator=rng).to(dtype) for s in ((40, 24), (3000, 24), (3000,)))
    target = torch.randint(3000, (40,), generator=rng)
    options = {"bias": bias, "reduction": "sum", "tile": 999}
    found = with_gradients(linear_cross_entropy, X, W, target, options)
    wide = {"bias": bias.double(), "reduction": "sum"}
    expected = with_gradients(by_torch, X.double(), W.double(), target, wide)
    # The weight of the sum is drawn in the loss's own dtype; take it out.
    factors = [
        torch.randn((), dtype=t, generator=torch.Generator().manual_seed(0)).double()
        for t in (dtype, torch.float64)
    ]
    eps = torch.finfo(dtype).eps
    for k, (value, reference) in enumerate(zip(found, expected, strict=True)):
        assert value.dtype == dtype
        reference = reference * (factors[0] / factors[1] if k else 1)
        tiny = 2 * torch.finfo(dtype).smallest_normal * eps  # one step of the subnormal numbers
        torch.testing.assert_close(
            value.double(),
            reference,
            rtol=0.6 * eps,
            atol=float(reference.abs().max()) * 1e-6 + tiny,
        )


def test_leading_axes_are_kept_and_a_single_row_needs_none():
    rng = torch.Generator().manual_seed(4)
    X, W = torch.randn(2, 3, 4, generator=rng), torch.randn(6, 4, generator=rng)
    target = torch.randint(6, (2, 3), generator=rng)
    rows = linear_cross_entropy(X, W, target, reduction="none")
    assert rows.shape == (2, 3)
    expected = functional.cross_entropy((X @ W.T).movedim(-1, 1), target, reduction="none")
    torch.testing.assert_close(rows, expected)
    one = linear_cross_entropy(X[0, 0], W, target[0, 0], reduction="none")
    torch.testing.assert_close(one, expected[0, 0])


MEASURE = """
import torch
from softmax_notes.linear_cross_entropy import linear_cross_entropy
def high():
    with open("/proc/self/status") as file:
        lines = [line.split() for line in file if line.startswith(("VmHWM", "VmRSS"))]
    return {line[0]: int(line[1]) for line in lines}
torch.set_num_threads(1)
rng = torch.Generator().manual_seed(0)
def run(N, n, D):
    X, W = torch.randn(N, D, generator=rng), torch.randn(n, D, generator=rng)
    target = torch.randint(n, (N,), generator=rng)
    X.requires_grad_(), W.requires_grad_()
    open("/proc/self/clear_refs", "w").write("5")
    before = high()["VmRSS:"]
    linear_cross_entropy(X, W, target).backward()
    return high()["VmHWM:"] - before
run(64, 512, 16)
print(run(2048, 16384, 16))
"""


@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="Linux tells the peak memory"
)
def test_memory_beyond_the_gradients_is_a_small_part_of_the_logits():
    run = subprocess.run(
        [sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True
    )
    gradients = (2048 + 16384) * 16 * 4 / 1024
    logits = 2048 * 16384 * 4 / 1024
    extra = int(run.stdout) - gradients
    assert 0 < extra < 0.08 * logits  # one tile is 3 % of them


# --- edges


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_a_class_that_is_forbidden_by_a_bias_of_minus_infinity_has_probability_0(reduction):
    rng = torch.Generator().manual_seed(5)
    X, W = (torch.randn(4, 3, dtype=torch.float64, generator=rng) for _ in range(2))
    bias = torch.tensor([0.0, -INF, 0.0, -INF], dtype=torch.float64)
    for tile in (1, 4, 100):  # a tile of nothing but -inf, and tiles that mix
        options = {"bias": bias, "reduction": reduction}
        assert_as_torch((X, W, torch.tensor([0, 2, 2, 0]), options), tile=tile)


def test_a_forbidden_target_has_an_infinite_loss_and_still_the_gradient_p_minus_y():
    X, W = torch.ones(1, 1, dtype=torch.float64), torch.zeros(3, 1, dtype=torch.float64)
    bias = torch.tensor([0.0, -INF, 0.0], dtype=torch.float64, requires_grad=True)
    loss = linear_cross_entropy(X, W, torch.tensor([1]), bias=bias, tile=1)
    assert loss == INF
    loss.backward()
    np.testing.assert_allclose(bias.grad, cross_entropy_grad([[0.0, -INF, 0.0]], [1])[0])


def test_where_every_class_is_forbidden_the_loss_is_nan():
    X, W = torch.ones(2, 1), torch.zeros(3, 1)
    loss = linear_cross_entropy(
        X, W, torch.tensor([1, 0]), bias=torch.full((3,), -INF), reduction="none", tile=2
    )
    assert loss.isnan().all()


def test_a_nan_or_an_infinity_makes_its_own_row_nan_and_no_other():
    X = torch.tensor([[math.nan], [INF], [1.0]])
    W = torch.tensor([[1.0], [2.0], [-1.0]])
    loss = linear_cross_entropy(X, W, torch.tensor([0, 0, 0]), reduction="none", tile=2)
    assert loss.isnan().tolist() == [True, True, False]
    torch.testing.assert_close(loss[2], functional.cross_entropy(X[2] @ W.T, torch.tensor(0)))


def test_what_an_ignored_row_holds_reaches_nothing():
    X = torch.tensor([[math.nan, 1.0], [1.0, 2.0]], requires_grad=True)
    W = torch.ones(3, 2, requires_grad=True)
    target = torch.tensor([IGNORED, 1])
    loss = linear_cross_entropy(X, W, target, ignore_index=IGNORED)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(3), rel=1e-6)
    assert torch.all(X.grad[0] == 0)
    assert torch.isfinite(W.grad).all()


def test_a_confident_and_right_prediction_has_no_negative_loss():
    X = torch.tensor([[30.0], [100.0], [3e4]])
    W = torch.tensor([[1.0], [0.0], [-1.0]])
    loss = linear_cross_entropy(X, W, torch.zeros(3, dtype=torch.long), reduction="none", tile=3)
    assert torch.all(loss >= 0)
    assert loss[1:].tolist() == [0, 0]


def test_large_logits_do_not_overflow():
    X, W = torch.tensor([[1000.0]]), torch.tensor([[1.0], [1.001], [-5.0]])
    for tile in (1, 2, 3):
        loss = linear_cross_entropy(X, W, torch.tensor([0]), tile=tile)
        assert loss.item() == pytest.approx(math.log1p(math.e), rel=1e-4)


def test_a_weight_of_0_takes_a_class_out_of_the_loss():
    X, W = torch.ones(2, 1), torch.zeros(3, 1)
    bias, weight = torch.tensor([0.0, -INF, 0.0]), torch.tensor([1.0, 0.0, 1.0])
    for smoothing in (0.0, 0.5):
        options = {"weight": weight, "label_smoothing": smoothing, "reduction": "none"}
        loss = linear_cross_entropy(X, W, torch.tensor([1, 0]), bias=bias, tile=2, **options)
        expected = cross_entropy(
            [[0.0, -INF, 0.0]] * 2, [1, 0], **{**options, "weight": [1.0, 0, 1]}
        )
        np.testing.assert_allclose(loss, expected, rtol=1e-6)


def test_no_rows_give_a_mean_of_nan_a_sum_of_0_and_gradients_of_0():
    for target in (torch.zeros(0, dtype=torch.long), torch.tensor([IGNORED, IGNORED])):
        for reduction in ("mean", "sum"):
            X = torch.ones(len(target), 2, requires_grad=True)
            W = torch.ones(3, 2, requires_grad=True)
            loss = linear_cross_entropy(X, W, target, ignore_index=IGNORED, reduction=reduction)
            loss.backward()
            assert loss.isnan() if reduction == "mean" else loss == 0
            assert torch.all(W.grad == 0)
            assert torch.all(X.grad == 0)


def test_only_the_gradients_that_are_asked_for_are_made():
    X, W = torch.ones(2, 3), torch.ones(4, 3, requires_grad=True)
    linear_cross_entropy(X, W, torch.tensor([0, 1])).backward()
    assert W.grad is not None
    assert X.grad is None
    with torch.no_grad():
        assert not linear_cross_entropy(X, W, torch.tensor([0, 1])).requires_grad


def test_backward_may_run_twice_and_a_second_derivative_is_refused():
    X, W = torch.ones(2, 3, requires_grad=True), torch.randn(4, 3)
    loss = linear_cross_entropy(X, W, torch.tensor([0, 1]))
    first, again = (torch.autograd.grad(loss, X, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, again)
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(loss, X, create_graph=True)


X, W, TARGET = torch.zeros(2, 3), torch.zeros(4, 3), torch.tensor([0, 1])


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((np.zeros((2, 3)), W, TARGET), {}, TypeError, "^X must be a torch.Tensor, got ndarray"),
        ((X, W, [0, 1]), {}, TypeError, "target must be a torch.Tensor, got list"),
        ((X, W, TARGET), {"bias": 1.0}, TypeError, "bias must be a torch.Tensor, got float"),
        ((X, W.double(), TARGET), {}, TypeError, "one real floating dtype.*float32, torch.float64"),
        ((X.long(), W.long(), TARGET), {}, TypeError, "one real floating dtype"),
        ((X, W, torch.zeros(2, 4)), {}, TypeError, "class indices.*cross_entropy"),
        ((X, W, torch.zeros(2, dtype=torch.bool)), {}, TypeError, "class indices, got .*bool"),
        (
            (X, W, torch.zeros(2, dtype=torch.complex64)),
            {},
            TypeError,
            "class indices, got .*complex",
        ),
        ((X, W, TARGET[:1]), {}, ValueError, r"shapes.*\(2, 3\), \(4, 3\) and \(1,\)"),
        ((X, W.T, TARGET), {}, ValueError, r"shapes.*\(2, 3\), \(3, 4\) and \(2,\)"),
        ((X, W, TARGET), {"bias": torch.zeros(3)}, ValueError, r"bias must.*4 classes.*\(3,\)"),
        ((X, W, TARGET), {"weight": torch.zeros(3)}, ValueError, r"weight must.*4 classes"),
        ((X, W, TARGET), {"weight": -torch.ones(4)}, ValueError, "finite numbers from 0 on"),
        ((X, W, TARGET), {"weight": torch.full((4,), INF)}, ValueError, "finite numbers"),
        ((X, W, torch.tensor([0, 4])), {}, ValueError, "from 0 to 3, got 4"),
        ((X, W, torch.tensor([-1, 0])), {}, ValueError, "from 0 to 3, got -1"),
        ((X, W, TARGET), {"label_smoothing": 1.1}, ValueError, "from 0 to 1, got 1.1"),
        ((X, W, TARGET), {"reduction": "max"}, ValueError, "reduction must be one of.*'max'"),
        ((X, W, TARGET), {"tile": 0}, ValueError, "tile must be a positive number.*0"),
    ],
)
def test_an_argument_out_of_its_range_is_named(arguments, options, error, message):
    with pytest.raises(error, match=message):
        linear_cross_entropy(*arguments, **options)


# --- proofs


def test_sums_kept_with_maxima_of_their_own_join_to_the_sum():
    assert proofs.chunk_residual() == 0
