"""Cross-entropy and its gradient: against PyTorch, mpmath and SymPy, and at the edges."""

import itertools

import array_api_strict
import dask.array
import jax
import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from softmax_notes import cross_entropy, cross_entropy_grad
from softmax_notes.check import _laws as laws
from softmax_notes.check._subject import Arg
from softmax_notes.symbolic import cross_entropy as proofs
from tests.exact import DIGITS, FORMATS, exact, ulp_error, vanishes
from tests.libraries import judged, same_kind, to_numpy
from tests.pytorch import torch

IGNORED = -100
REDUCTIONS = ("mean", "sum", "none")
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}


def without(shape, axis):
    axis %= len(shape)
    return shape[:axis] + shape[axis + 1 :]


@st.composite
def problems(draw, soft=None, dtypes=("float32", "float64"), largest=20.0):
    """Draw logits of any shape, the axis of classes, a target, and options for it."""
    dtype = draw(st.sampled_from(dtypes))
    shape = draw(array_shapes(min_dims=1, max_dims=4, max_side=4))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    numbers = st.floats(-largest, largest, width=32)
    logits = draw(arrays(dtype, shape, elements=numbers))
    n, rows = shape[axis], without(shape, axis)
    options = {"axis": axis, "reduction": draw(st.sampled_from(REDUCTIONS))}
    shares = st.sampled_from([0.0, 0.25, 0.5, 1.0])
    options["label_smoothing"] = draw(st.sampled_from([0.0, 0.1, 1.0]))
    if draw(st.booleans()):
        options["weight"] = draw(arrays(dtype, n, elements=st.sampled_from([0.25, 1.0, 3.0])))
    if draw(st.booleans()) if soft is None else soft:
        return logits, draw(arrays(dtype, shape, elements=shares)), options
    target = draw(arrays(np.int64, rows, elements=st.integers(0, n - 1)))
    if draw(st.booleans()):
        options["ignore_index"] = IGNORED
        target = np.where(draw(arrays(bool, rows)), target, IGNORED)
    return logits, target, options


def rows_of(max_side=6, largest=20.0):
    """Draw a table of float64 scores, one row an example, with two classes or more."""
    shapes = st.tuples(st.integers(1, max_side), st.integers(2, max_side))
    return arrays(np.float64, shapes, elements=st.floats(-largest, largest, width=32))


def targets_for(x):
    """Give a target for each row, all classes in turn."""
    return np.arange(len(x)) % x.shape[1]


def by_torch(logits, target, axis=-1, ignore_index=None, weight=None, **options):
    """Evaluate PyTorch's own loss and its gradient; for "none", that of the sum."""
    x = torch.tensor(logits, requires_grad=True)
    y = torch.tensor(target)
    moved = x.movedim(axis, -1)
    classes_second = moved.movedim(-1, min(1, x.ndim - 1))
    if y.is_floating_point():
        y = y.movedim(axis, min(1, x.ndim - 1))
    elif ignore_index is not None:
        options["ignore_index"] = ignore_index
    if weight is not None:
        options["weight"] = torch.as_tensor(weight)
    loss = torch.nn.functional.cross_entropy(classes_second, y, **options)
    (grad,) = torch.autograd.grad(loss.sum(), x)
    return loss.detach().numpy(), grad.numpy()


def exact_loss(truth, target):
    """Give the loss and its gradient from exact probabilities and their logarithms."""
    with mpmath.workdps(DIGITS):
        grad = list(truth.softmax)
        grad[target] = mpmath.expm1(truth.log_softmax[target])
    return [-truth.log_softmax[target]], grad


# --- laws -----------------------------------------------------------------------------------


@given(problems())
def test_dtype_and_shape_are_kept_and_the_input_is_not_changed(problem):
    logits, target, options = problem
    before = logits.copy(), target.copy()
    loss = cross_entropy(logits, target, **options)
    grad = cross_entropy_grad(logits, target, **options)
    rows = without(logits.shape, options["axis"])
    assert loss.dtype == grad.dtype == logits.dtype
    assert loss.shape == (rows if options["reduction"] == "none" else ())
    assert grad.shape == logits.shape
    np.testing.assert_array_equal(logits, before[0])
    np.testing.assert_array_equal(target, before[1])


@given(problems())
def test_the_axis_of_classes_may_stand_anywhere(problem):
    logits, target, options = problem
    axis = options.pop("axis")
    last = np.moveaxis(logits, axis, -1)
    target_last = np.moveaxis(target, axis, -1) if target.ndim == logits.ndim else target
    np.testing.assert_array_equal(
        cross_entropy(logits, target, axis=axis, **options),
        cross_entropy(last, target_last, **options),
    )
    np.testing.assert_array_equal(
        np.moveaxis(cross_entropy_grad(logits, target, axis=axis, **options), axis, -1),
        cross_entropy_grad(last, target_last, **options),
    )


@given(problems())
def test_sum_and_mean_reduce_the_losses_that_none_gives(problem):
    logits, target, options = problem
    options.pop("reduction")
    losses = cross_entropy(logits, target, reduction="none", **options).astype(np.float64)
    total = cross_entropy(logits, target, reduction="sum", **options)
    mean = cross_entropy(logits, target, reduction="mean", **options)
    if target.dtype.kind == "f":
        divisor = losses.size
    else:
        kept = target[target != IGNORED]
        divisor = options["weight"][kept].sum() if "weight" in options else kept.size
    tolerance = TOLERANCE[str(logits.dtype)]
    np.testing.assert_allclose(total, losses.sum(), rtol=tolerance, atol=tolerance)
    expected = losses.sum() / divisor if divisor else np.nan
    np.testing.assert_allclose(mean, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.claim("prop-weighted-gradient")
@given(problems(soft=False))
def test_an_ignored_target_counts_as_if_its_row_were_not_there(problem):
    logits, target, options = problem
    options["ignore_index"] = IGNORED
    kept = target != IGNORED
    last = np.moveaxis(logits, options.pop("axis"), -1)
    if options["reduction"] == "none":
        losses = cross_entropy(last, target, **options)
        assert (losses[~kept] == 0).all()
        np.testing.assert_array_equal(
            losses[kept], cross_entropy(last[kept], target[kept], **options)
        )
    else:
        tolerance = TOLERANCE[str(logits.dtype)]
        np.testing.assert_allclose(
            cross_entropy(last, target, **options),
            cross_entropy(last[kept], target[kept], **options),
            rtol=tolerance,
        )
    grad = cross_entropy_grad(last, target, **options)
    assert (grad[~kept] == 0).all()


@given(problems(soft=False))
def test_a_one_hot_target_and_the_class_index_give_the_same_loss(problem):
    logits, target, options = problem
    options.pop("ignore_index", None)
    target = np.where(target == IGNORED, 0, target)
    n = logits.shape[options["axis"]]
    one_hot = np.moveaxis(np.eye(n)[target], -1, options["axis"])
    if "weight" in options and options["reduction"] == "mean":
        options["reduction"] = "sum"  # with probabilities the mean divides by their number
    assert np.array_equal(
        cross_entropy(logits, target, **options), cross_entropy(logits, one_hot, **options)
    )
    assert np.array_equal(
        cross_entropy_grad(logits, target, **options),
        cross_entropy_grad(logits, one_hot, **options),
    )


@pytest.mark.claim("prop-loss-is-lse")
@given(rows_of(), st.integers(-50, 50))
def test_the_loss_is_logsumexp_minus_the_score_of_the_target_and_ignores_a_shift(x, shift):
    f, target = judged(cross_entropy), targets_for(x)
    laws.formula(f, x, target, reduction="none")
    laws.not_negative(f, x, target)
    laws.loss_shift(f, x, target, float(shift))


@pytest.mark.claim("prop-gibbs")
@given(rows_of(), st.integers(0, 2**32 - 1))
def test_no_prediction_has_less_cross_entropy_than_the_true_distribution(x, seed):
    y = np.random.default_rng(seed).dirichlet(np.ones(x.shape[1]), size=len(x))
    y = np.clip(y, 1e-12, 1)
    y[:, 0] *= y[:, 0] > 0.2  # some classes that never occur
    y /= y.sum(axis=1, keepdims=True)
    log_y = np.log(y, out=np.full_like(y, -np.inf), where=y > 0)
    entropy = -np.sum(np.where(y > 0, y * np.where(y > 0, log_y, 0), 0), axis=1)
    assert (cross_entropy(x, y, reduction="none") >= entropy - 1e-12).all()
    np.testing.assert_allclose(
        cross_entropy(log_y, y, reduction="none"), entropy, rtol=1e-12, atol=1e-14
    )


@pytest.mark.claim("prop-zero-sum")
@given(problems(soft=True, dtypes=("float64",)))
def test_the_gradient_sums_to_zero_whatever_the_target_sums_to(problem):
    logits, target, options = problem
    given = {k: Arg(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    laws.zero_sum(judged(cross_entropy_grad), logits, target, **given)


@pytest.mark.claim("prop-zero-sum")
@given(rows_of(), st.floats(0.01, 10))
def test_a_step_on_the_scores_keeps_their_sum_and_a_step_on_p_leaves_the_simplex(x, rate):
    target = targets_for(x)
    rows = np.arange(len(x))
    stepped = x - rate * cross_entropy_grad(x, target, reduction="sum")
    np.testing.assert_allclose(stepped.sum(axis=1), x.sum(axis=1), atol=1e-12 * (20 + rate))
    weights = np.exp(x - x.max(axis=1, keepdims=True))
    p = weights / weights.sum(axis=1, keepdims=True)
    step_on_p = p.copy()
    step_on_p[rows, target] += rate / p[rows, target]
    # 1 + η/p_t: far from 1, however right the prediction is.
    assert (step_on_p.sum(axis=1) >= 1 + rate * (1 - 1e-12)).all()


@pytest.mark.claim("prop-gradient-size")
@given(rows_of())
def test_the_gradient_is_as_large_as_the_mistake(x):
    target = targets_for(x)
    grad = cross_entropy_grad(x, target, reduction="sum")
    p_target = np.exp(-cross_entropy(x, target, reduction="none"))
    np.testing.assert_allclose(np.abs(grad).sum(axis=1), 2 * (1 - p_target), atol=1e-14)


@pytest.mark.claim("prop-margin")
@given(rows_of())
def test_the_loss_is_softplus_of_minus_the_margin(x):
    target = targets_for(x)
    rows = np.arange(len(x))
    others = x.copy()
    others[rows, target] = -np.inf
    margin = x[rows, target] - np.logaddexp.reduce(others, axis=1)
    losses = cross_entropy(x, target, reduction="none")
    np.testing.assert_allclose(losses, np.logaddexp(0, -margin), rtol=1e-12)
    slope = cross_entropy_grad(x, target, reduction="none")[rows, target]
    np.testing.assert_allclose(slope, -1 / (1 + np.exp(margin)), rtol=1e-12)


@pytest.mark.claim("prop-hessian")
@given(rows_of(), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_the_loss_lies_below_its_chords_and_is_flat_along_the_ones(x, seed, share):
    target = targets_for(x)
    z = np.random.default_rng(seed).normal(scale=5, size=x.shape)

    def loss(scores):
        return cross_entropy(scores, target, reduction="none")

    chord = share * loss(x) + (1 - share) * loss(z)
    assert (loss(share * x + (1 - share) * z) <= chord + 1e-12).all()
    np.testing.assert_allclose(loss(x + 1), loss(x), rtol=1e-10, atol=1e-13)


@pytest.mark.claim("prop-smoothing-gradient")
@given(problems(soft=False, dtypes=("float64",)))
def test_smoothing_mixes_the_loss_of_the_target_with_that_of_every_class(problem):
    logits, target, options = problem
    options |= {"reduction": "none", "ignore_index": IGNORED}
    epsilon = options.pop("label_smoothing")
    n = logits.shape[options["axis"]]

    def of_class(k):
        return cross_entropy(logits, np.where(target == IGNORED, IGNORED, k), **options)

    mixed = (1 - epsilon) * cross_entropy(logits, target, **options)
    mixed = mixed + epsilon / n * sum(of_class(k) for k in range(n))
    smoothed = cross_entropy(logits, target, label_smoothing=epsilon, **options)
    np.testing.assert_allclose(smoothed, mixed, rtol=1e-12, atol=1e-13)


@given(problems(soft=False, dtypes=("float64",)), st.sampled_from([0.5, 4.0]))
def test_the_mean_does_not_change_when_all_weights_grow_by_one_factor(problem, factor):
    logits, target, options = problem
    n = logits.shape[options["axis"]]
    options |= {"reduction": "mean", "weight": np.arange(1.0, n + 1)}
    mean = cross_entropy(logits, target, **options)
    options["weight"] = options["weight"] * factor
    np.testing.assert_allclose(cross_entropy(logits, target, **options), mean, rtol=1e-13)


@pytest.mark.claim("prop-double-softmax")
@given(rows_of(largest=500.0))
def test_softmax_applied_twice_keeps_the_loss_above_its_floor(x):
    n = x.shape[1]
    p = torch.softmax(torch.tensor(x), dim=1).numpy()
    losses = cross_entropy(p, targets_for(x), reduction="none")
    assert (losses >= np.log1p((n - 1) / np.e) * (1 - 1e-15)).all()


# --- references -----------------------------------------------------------------------------


@pytest.mark.claim("thm-p-minus-y")
@pytest.mark.claim("prop-weighted-gradient")
@pytest.mark.claim("prop-smoothing-gradient")
@given(problems())
def test_values_and_gradients_are_those_of_pytorch_with_every_option(problem):
    logits, target, options = problem
    loss, grad = by_torch(logits, target, **options)
    tolerance = TOLERANCE[str(logits.dtype)]
    close = {"rtol": tolerance, "atol": tolerance}
    np.testing.assert_allclose(cross_entropy(logits, target, **options), loss, **close)
    np.testing.assert_allclose(cross_entropy_grad(logits, target, **options), grad, **close)


@pytest.mark.claim("thm-p-minus-y")
@given(problems())
def test_autograd_through_our_loss_gives_our_gradient(problem):
    logits, target, options = problem
    x, y = torch.tensor(logits, requires_grad=True), torch.tensor(target)
    if "weight" in options:
        options["weight"] = torch.tensor(options["weight"])
    loss = cross_entropy(x, y, **options)
    (grad,) = torch.autograd.grad(loss.sum(), x)
    tolerance = TOLERANCE[str(logits.dtype)]
    np.testing.assert_allclose(
        cross_entropy_grad(x.detach(), y, **options), grad, rtol=tolerance, atol=tolerance
    )


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("soft", [False, True])
def test_gradcheck_accepts_first_and_second_derivatives(reduction, soft):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    weight = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    target = torch.tensor([0, 2, IGNORED, 1])
    options = {"weight": weight, "label_smoothing": 0.1, "reduction": reduction}
    if soft:
        target = torch.softmax(torch.randn(4, 3, dtype=torch.float64, generator=generator), 1)
    else:
        options["ignore_index"] = IGNORED

    def loss(logits):
        return cross_entropy(logits, target, **options)

    def grad(logits):
        return cross_entropy_grad(logits, target, **options)

    assert torch.autograd.gradcheck(loss, x)
    assert torch.autograd.gradgradcheck(loss, x)
    assert torch.autograd.gradcheck(grad, x)


@pytest.mark.claim("prop-gradient-in-p")
def test_the_slope_in_the_probabilities_is_minus_y_over_p():
    p = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64, requires_grad=True)
    y = torch.tensor([0.2, 0.7, 0.1], dtype=torch.float64)
    (grad,) = torch.autograd.grad(-(y * p.log()).sum(), p)
    np.testing.assert_allclose(grad, [-0.2 / 0.5, -0.7 / 0.3, -0.1 / 0.2], rtol=1e-15)
    jacobian = torch.autograd.functional.jacobian(lambda z: torch.softmax(z, 0), p.detach().log())
    chained = jacobian.T @ grad
    np.testing.assert_allclose(chained, cross_entropy_grad(p.detach().log(), y), rtol=1e-14)


@pytest.mark.claim("thm-p-minus-y")
def test_the_gradient_scales_p_by_the_sum_of_the_target():
    # p = (1/2, 1/4, 1/4), Σ y = 1/2: the gradient is p/2 − y.
    x, y = np.log([2.0, 1.0, 1.0]), np.array([0.5, 0.0, 0.0])
    np.testing.assert_allclose(cross_entropy_grad(x, y), [-0.25, 0.125, 0.125], rtol=1e-14)


@pytest.mark.claim("prop-mean-gradient")
def test_the_gradient_of_the_mean_is_p_minus_y_over_the_number_of_rows():
    x = np.log([[2.0, 1.0, 1.0], [1.0, 1.0, 2.0]])
    expected = np.array([[0.5 - 1, 0.25, 0.25], [0.25, 0.25 - 1, 0.5]]) / 2
    np.testing.assert_allclose(cross_entropy_grad(x, [0, 1]), expected, rtol=1e-14)
    summed = cross_entropy_grad(x, [0, 1], reduction="sum")
    np.testing.assert_allclose(summed, 2 * expected, rtol=1e-14)


@pytest.mark.claim("prop-smoothing-conventions")
def test_smoothing_over_the_other_classes_is_a_larger_smoothing_over_all():
    n, epsilon = 5, 0.2
    x = 3 * np.random.default_rng(0).normal(size=(7, n))
    target = targets_for(x)
    over_others = np.where(np.eye(n)[target] == 1, 1 - epsilon, epsilon / (n - 1))
    expected, _ = by_torch(x, over_others)
    smoothed = cross_entropy(x, target, label_smoothing=epsilon * n / (n - 1))
    np.testing.assert_allclose(smoothed, expected, rtol=1e-13)
    assert abs(cross_entropy(x, target, label_smoothing=epsilon) - expected) > 0.01


@pytest.mark.claim("prop-smoothing-optimum")
def test_the_smoothed_loss_has_its_minimum_at_a_finite_lead():
    n, epsilon = 10, 0.1
    lead = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([lead], max_iter=200, tolerance_grad=1e-12)

    def loss():
        optimizer.zero_grad()
        x = torch.cat([lead[None], torch.zeros(n - 1, dtype=torch.float64)])
        value = torch.nn.functional.cross_entropy(x, torch.tensor(0), label_smoothing=epsilon)
        value.backward()
        return value

    for _ in range(20):
        optimizer.step(loss)
    gap = np.log(1 + n * (1 - epsilon) / epsilon)
    assert lead.item() == pytest.approx(gap, rel=1e-6)
    x = np.r_[gap, np.zeros(n - 1)]
    np.testing.assert_allclose(cross_entropy_grad(x, 0, label_smoothing=epsilon), 0, atol=1e-15)


@pytest.mark.claim("prop-hessian")
def test_the_hessian_by_autograd_is_the_jacobian_of_softmax():
    x = torch.tensor([2.0, 1.0, 0.0, -1.5], dtype=torch.float64)
    hessian = torch.autograd.functional.hessian(lambda z: cross_entropy(z, torch.tensor(2)), x)
    jacobian = torch.autograd.functional.jacobian(lambda z: torch.softmax(z, 0), x)
    np.testing.assert_allclose(hessian, jacobian, rtol=1e-13, atol=1e-16)
    eigenvalues = np.linalg.eigvalsh(hessian)
    assert eigenvalues[0] == pytest.approx(0, abs=1e-16)
    assert (eigenvalues[1:] > 0.01).all()


@pytest.mark.claim("prop-fisher")
def test_the_fisher_information_is_the_jacobian_of_softmax():
    x = np.array([2.0, 1.0, 0.0, -1.5])
    p = torch.softmax(torch.tensor(x), 0).numpy()
    scores = [by_torch(x, np.int64(t))[1] for t in range(4)]
    fisher = sum(p[t] * np.outer(scores[t], scores[t]) for t in range(4))
    jacobian = torch.autograd.functional.jacobian(lambda z: torch.softmax(z, 0), torch.tensor(x))
    np.testing.assert_allclose(fisher, jacobian, rtol=1e-13)


@pytest.mark.claim("prop-double-softmax")
def test_the_loss_of_a_double_softmax_reaches_its_floor_only_at_the_corner():
    # mpmath, 30 digits: log(1 + 9/e).
    floor = 1.46115017173447479501894353640
    corner = np.eye(10)[:1]
    assert cross_entropy(corner, [0]) == pytest.approx(floor, rel=1e-15)
    x = torch.tensor([[3.0, *[0.0] * 9]], dtype=torch.float64, requires_grad=True)
    p = torch.softmax(x, 1)
    loss = torch.nn.functional.cross_entropy(p, torch.tensor([0]))
    (grad,) = torch.autograd.grad(loss, x)
    inner = cross_entropy_grad(p.detach(), torch.tensor([0])).numpy()[0]
    p = p.detach().numpy()[0]
    np.testing.assert_allclose(grad[0], p * (inner - p @ inner), rtol=1e-12)
    assert loss.item() > floor


def test_constants_of_the_chapter_agree_with_mpmath():
    # mpmath, 30 digits: log(1 + e^-1 + e^-2), and p − y for the target 0.
    assert cross_entropy([2.0, 1.0, 0.0], 0) == pytest.approx(
        0.407605964444380304482919904545, rel=1e-15
    )
    np.testing.assert_allclose(
        cross_entropy_grad([2.0, 1.0, 0.0], 0),
        [-0.334759044225178110, 0.244728471054797652, 0.0900305731703804580],
        rtol=1e-15,
    )


def test_a_small_loss_and_its_small_gradient_are_kept_in_float32():
    x = np.array([18, 0], dtype=np.float32)
    # mpmath, 30 digits: log(1 + e^-18) and e^-18 / (1 + e^-18).
    loss, slope = 1.52299796287364881015010037677e-8, 1.52299795127603489444082088012e-8
    assert float(cross_entropy(x, 0)) == pytest.approx(loss, rel=1e-7)
    np.testing.assert_allclose(cross_entropy_grad(x, 0), [-slope, slope], rtol=1e-7)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_losses_and_gradients_of_class_indices_are_within_8_ulp(dtype):
    rng = np.random.default_rng(0)
    reach = {"float32": 104, "float64": 745}[dtype]
    families = [
        lambda n: 3 * rng.normal(size=n),
        lambda n: rng.uniform(-1.1 * reach, 0, size=n),
        lambda n: rng.uniform(-reach, 0, size=n) + rng.uniform(-1000, 1000),
        lambda n: np.r_[0, -rng.uniform(5, 60, size=n)],
        lambda n: 1 + 1e-6 * rng.normal(size=n),
        lambda n: 1e6 * rng.normal(size=n),
    ]
    sizes = [1, 2, 3, 10, 100]
    problems = [family(n) for family in families for n in sizes for _ in range(3)]
    for x in [*problems, rng.normal(size=10_000)]:
        x = x.astype(dtype)
        truth = exact(x)
        for target in {int(np.argmax(x)), int(rng.integers(len(x)))}:
            loss, grad = exact_loss(truth, target)
            assert ulp_error(cross_entropy(x, target), loss, dtype) <= 8
            assert ulp_error(cross_entropy_grad(x, target), grad, dtype) <= 8


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_16_bit_losses_and_gradients_are_computed_in_float32_and_rounded_once(dtype):
    generator = torch.Generator().manual_seed(0)
    for n, scale in itertools.product([1, 2, 3, 10, 100], [0.5, 3, 8]):
        x = (scale * torch.randn(n, generator=generator)).to(getattr(torch, dtype))
        truth = exact(x.double().numpy())
        for target in {int(x.argmax()), n // 2}:
            loss, grad = exact_loss(truth, target)
            for kind, expected in ((cross_entropy, loss), (cross_entropy_grad, grad)):
                result = kind(x, torch.tensor(target))
                assert result.dtype == x.dtype
                assert ulp_error(to_numpy(result), expected, dtype) <= 1


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sums_over_classes_and_rows_of_16_bit_scores_are_rounded_once(dtype):
    generator = torch.Generator().manual_seed(0)
    x = (3 * torch.randn(64, 100, generator=generator)).to(getattr(torch, dtype))
    target = torch.arange(64)
    # PyTorch in float64 on the same scores stands for the exact values.
    loss, grad = by_torch(x.double().numpy(), target.numpy(), label_smoothing=0.5)
    for kind, expected in ((cross_entropy, loss), (cross_entropy_grad, grad)):
        result = to_numpy(kind(x, target, label_smoothing=0.5))
        truth = [mpmath.mpf(float(value)) for value in expected.ravel()]
        assert ulp_error(result, truth, dtype) <= 1


def test_a_mean_over_many_float16_losses_does_not_stall():
    # A float16 sum of ones stops at 2048.
    x = torch.zeros(10_000, 2, dtype=torch.float16)
    mean = cross_entropy(x, torch.zeros(10_000, dtype=torch.int64))
    assert mean.item() == pytest.approx(np.log(2), rel=2**-11)


# --- edges ----------------------------------------------------------------------------------

X = np.array([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0], [-1.0, 0.5, 4.0]])
SOFT = np.array([[0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [0.2, 0.3, 0.5]])


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("target", [np.array([0, IGNORED, 1]), SOFT], ids=["index", "soft"])
def test_every_library_gives_the_numbers_of_pytorch(library, dtype, reduction, target):
    weight = np.array([0.5, 1.0, 2.0])
    options = {"label_smoothing": 0.1, "reduction": reduction}
    if target.dtype.kind == "i":
        options["ignore_index"] = IGNORED
    x = library(X, dtype)
    expected = by_torch(X, target, weight=weight, **options)
    y = library(target, None if target.dtype.kind == "i" else dtype)
    for function, truth in zip((cross_entropy, cross_entropy_grad), expected, strict=True):
        result = function(x, y, weight=library(weight, dtype), **options)
        assert same_kind(result, x)
        np.testing.assert_allclose(to_numpy(result), truth, rtol=TOLERANCE[dtype], atol=1e-7)


def test_every_library_takes_a_negative_axis_in_front(library):
    x, target = library(X.T.copy()), library(np.array([0, 2, 1]))
    loss, grad = by_torch(X, np.array([0, 2, 1]))
    np.testing.assert_allclose(to_numpy(cross_entropy(x, target, axis=-2)), loss, rtol=1e-12)
    np.testing.assert_allclose(to_numpy(cross_entropy_grad(x, target, axis=-2)).T, grad, rtol=1e-12)


def test_a_forbidden_class_that_is_no_part_of_the_target_adds_nothing(library):
    x = library(np.array([[0.0, -np.inf, 1.0]]))
    # By hand: with half the target on each of two classes, log(1 + e) − 1/2.
    expected = np.log1p(np.e) - 0.5
    soft = library(np.array([[0.5, 0.0, 0.5]]))
    np.testing.assert_allclose(to_numpy(cross_entropy(x, soft)), expected, rtol=1e-14)
    slope = 1 / (1 + np.exp(-1.0)) - 0.5
    np.testing.assert_allclose(
        to_numpy(cross_entropy_grad(x, soft)), [[-slope, 0, slope]], rtol=1e-13
    )
    hard = to_numpy(cross_entropy(x, library(np.array([0]))))
    np.testing.assert_allclose(hard, np.log1p(np.e), rtol=1e-14)


def test_autograd_through_a_forbidden_class_gives_zero_there():
    x = torch.tensor([[0.0, -torch.inf, 1.0]], dtype=torch.float64, requires_grad=True)
    for target in (torch.tensor([0]), torch.tensor([[0.5, 0.0, 0.5]], dtype=torch.float64)):
        (grad,) = torch.autograd.grad(cross_entropy(x, target), x)
        assert grad[0, 1] == 0
        np.testing.assert_allclose(grad, cross_entropy_grad(x.detach(), target), rtol=1e-13)


def test_a_target_with_the_score_minus_infinity_costs_infinity(library):
    x = library(np.array([[0.0, -np.inf, 1.0]]))
    target = library(np.array([1]))
    assert to_numpy(cross_entropy(x, target)) == np.inf
    _, grad = by_torch(np.array([[0.0, -np.inf, 1.0]]), np.array([1]))
    np.testing.assert_allclose(to_numpy(cross_entropy_grad(x, target)), grad, rtol=1e-12)
    smoothed = cross_entropy(x, library(np.array([0])), label_smoothing=0.1)
    assert to_numpy(smoothed) == np.inf


@pytest.mark.parametrize("bad", [[0.0, np.nan, 1.0], [0.0, np.inf, 1.0], [-np.inf] * 3])
def test_rows_without_a_softmax_are_nan_and_leave_the_others_alone(library, bad):
    x = library(np.array([bad, [2.0, 1.0, 0.0]]))
    target = library(np.array([0, 0]))
    losses = to_numpy(cross_entropy(x, target, reduction="none"))
    grad = to_numpy(cross_entropy_grad(x, target, reduction="none"))
    assert np.isnan(losses[0])
    assert losses[1] == pytest.approx(0.407605964444380304, rel=1e-14)
    assert np.isnan(grad[0]).all()
    assert np.isfinite(grad[1]).all()
    assert np.isnan(to_numpy(cross_entropy(x, target)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_an_ignored_row_holds_never_leaks(library, bad):
    x = library(np.array([[bad] * 3, [2.0, 1.0, 0.0]]))
    target = library(np.array([IGNORED, 0]))
    options = {"ignore_index": IGNORED, "label_smoothing": 0.1}
    loss, grad = by_torch(np.array([[2.0, 1.0, 0.0]]), np.array([0]), label_smoothing=0.1)
    np.testing.assert_allclose(to_numpy(cross_entropy(x, target, **options)), loss, rtol=1e-12)
    got = to_numpy(cross_entropy_grad(x, target, **options))
    np.testing.assert_allclose(got, [[0, 0, 0], grad[0]], rtol=1e-12)


def test_autograd_through_an_ignored_row_of_nan_gives_zero_there():
    x = torch.tensor([[torch.nan] * 3, [2.0, 1.0, 0.0]], requires_grad=True)
    loss = cross_entropy(x, torch.tensor([IGNORED, 0]), ignore_index=IGNORED)
    (grad,) = torch.autograd.grad(loss, x)
    assert (grad[0] == 0).all()
    assert torch.isfinite(grad[1]).all()


def test_with_all_targets_ignored_the_mean_is_nan_and_the_gradient_zero_as_in_pytorch(library):
    x, target = library(X), library(np.full(3, IGNORED))
    loss, grad = by_torch(X, np.full(3, IGNORED), ignore_index=IGNORED)
    assert np.isnan(loss)
    assert np.isnan(to_numpy(cross_entropy(x, target, ignore_index=IGNORED)))
    got = to_numpy(cross_entropy_grad(x, target, ignore_index=IGNORED))
    np.testing.assert_array_equal(got, grad)
    np.testing.assert_array_equal(got, np.zeros((3, 3)))
    for reduction, zero in (("sum", 0.0), ("none", np.zeros(3))):
        result = cross_entropy(x, target, ignore_index=IGNORED, reduction=reduction)
        np.testing.assert_array_equal(to_numpy(result), zero)


def test_with_all_weights_of_the_targets_zero_the_mean_is_nan_as_in_pytorch():
    weight = np.array([0.0, 1.0, 1.0])
    loss, grad = by_torch(X, np.zeros(3, dtype=np.int64), weight=weight)
    assert np.isnan(loss)
    assert np.isnan(grad).all()
    assert np.isnan(cross_entropy(X, [0, 0, 0], weight=weight))
    assert np.isnan(cross_entropy_grad(X, [0, 0, 0], weight=weight)).all()


@pytest.mark.parametrize("shape", [(0, 3), (2, 0, 3)])
def test_an_empty_batch_sums_to_zero_and_has_no_mean(library, shape):
    x = library(np.zeros(shape))
    for target in (library(np.zeros(shape[:-1], dtype=np.int64)), x):
        assert to_numpy(cross_entropy(x, target, reduction="sum")) == 0
        assert np.isnan(to_numpy(cross_entropy(x, target)))
        assert to_numpy(cross_entropy(x, target, reduction="none")).shape == shape[:-1]
        assert to_numpy(cross_entropy_grad(x, target)).shape == shape


def test_no_rows_and_no_classes_is_an_empty_result(library):
    x, target = library(np.zeros((0, 0))), library(np.zeros(0, dtype=np.int64))
    assert to_numpy(cross_entropy(x, target, reduction="none")).shape == (0,)
    assert to_numpy(cross_entropy_grad(x, target)).shape == (0, 0)


def test_one_class_costs_nothing_and_pulls_nowhere(library):
    x, target = library(np.array([[5.0], [-3.0]])), library(np.array([0, 0]))
    losses = to_numpy(cross_entropy(x, target, reduction="none"))
    np.testing.assert_array_equal(losses, [0.0, 0.0])
    assert not np.signbit(losses).any()
    np.testing.assert_array_equal(to_numpy(cross_entropy_grad(x, target)), np.zeros((2, 1)))


def test_integers_and_lists_become_the_default_float(library):
    expected = by_torch(X, np.array([0, 1, 2]))
    assert cross_entropy(np.round(X).astype(np.int8), [0, 1, 2]).dtype == np.float64
    x = library(np.array([[-128, 127, 127], [0, 1, 2]]), "int8")
    loss, _ = by_torch(np.array([[-128.0, 127.0, 127.0], [0.0, 1.0, 2.0]]), np.array([1, 0]))
    got = to_numpy(cross_entropy(x, library(np.array([1, 0]))))
    np.testing.assert_allclose(got, loss, rtol=1e-6)
    lists = X.tolist(), [0, 1, 2]
    np.testing.assert_allclose(cross_entropy(*lists), expected[0], rtol=1e-14)
    np.testing.assert_allclose(cross_entropy_grad(*lists), expected[1], rtol=1e-13)
    assert cross_entropy(*lists).dtype == np.float64


def test_a_list_joins_the_library_of_the_array_beside_it():
    x = torch.tensor(X, dtype=torch.float32)
    result = cross_entropy(x, [0, 1, 2], weight=[1, 2, 3])
    assert isinstance(result, torch.Tensor)
    assert result.dtype == torch.float32


def test_a_single_row_needs_no_batch_axis(library):
    loss, grad = by_torch(X[0], np.int64(1))
    x, target = library(X[0]), library(np.int64(1))
    np.testing.assert_allclose(to_numpy(cross_entropy(x, target)), loss, rtol=1e-14)
    np.testing.assert_allclose(to_numpy(cross_entropy_grad(x, target)), grad, rtol=1e-12)


def test_unsigned_targets_and_a_negative_ignore_index_do_not_collide(library):
    x, expected = library(X), by_torch(X, np.array([0, 1, 2]))[0]
    target = library(np.array([0, 1, 2]), "uint8")
    got = to_numpy(cross_entropy(x, target, ignore_index=-255))
    assert got == pytest.approx(expected, rel=1e-14)
    # 255 is −1 modulo 256, but it is not the index that is ignored.
    target = library(np.array([0, 255, 2]), "uint8")
    if library.name == "dask":  # not known yet
        assert np.isnan(to_numpy(cross_entropy(x, target, ignore_index=-1)))
        return
    with pytest.raises(ValueError, match="target must be from 0 to 2, got 255"):
        cross_entropy(x, target, ignore_index=-1)


def test_a_chain_through_an_underflown_probability_is_nan_and_the_fused_form_exact(library):
    scores = np.array([0.0, -2000.0])
    p = torch.softmax(torch.tensor(scores), 0).numpy()
    jacobian = np.diag(p) - np.outer(p, p)
    for target, y in enumerate(np.eye(2)):
        with np.errstate(divide="ignore", invalid="ignore"):
            chained = jacobian.T @ (-y / p)
        assert np.isnan(chained).all()
        fused = to_numpy(cross_entropy_grad(library(scores), library(np.int64(target))))
        np.testing.assert_array_equal(fused, [[0, 0], [1, -1]][target])
        loss = to_numpy(cross_entropy(library(scores), library(np.int64(target))))
        assert loss == [0, 2000][target]


@pytest.mark.parametrize("wrong", [-1, 3, 7])
def test_a_class_that_does_not_exist_is_refused_with_its_value(library, wrong):
    x, target = library(X), library(np.array([0, wrong, 1]))
    if library.name == "dask":  # not known yet
        losses = to_numpy(cross_entropy(x, target, reduction="none"))
        np.testing.assert_array_equal(np.isnan(losses), [False, True, False])
        return
    for function in (cross_entropy, cross_entropy_grad):
        with pytest.raises(ValueError, match=f"^target must be from 0 to 2, got {wrong}$"):
            function(x, target)


@pytest.mark.parametrize("wrong", [-0.25, 1.5, np.nan])
def test_a_probability_out_of_range_is_refused_with_its_value(library, wrong):
    soft = SOFT.copy()
    soft[1, 2] = wrong
    x, target = library(X), library(soft)
    if library.name == "dask":
        losses = to_numpy(cross_entropy(x, target, reduction="none"))
        np.testing.assert_array_equal(np.isnan(losses), [False, True, False])
        return
    message = f"^target probabilities must be from 0 to 1, got {wrong}$"
    with pytest.raises(ValueError, match=message):
        cross_entropy(x, target)


def test_targets_out_of_range_are_nan_under_jit():
    losses = jax.jit(lambda x, t: cross_entropy(x, t, reduction="none"))
    grads = jax.jit(cross_entropy_grad)
    x, target = jax.numpy.asarray(X), jax.numpy.asarray([0, 3, -1])
    np.testing.assert_array_equal(np.isnan(losses(x, target)), [False, True, True])
    np.testing.assert_array_equal(np.isnan(grads(x, target)).any(axis=1), [False, True, True])
    soft = jax.numpy.asarray(SOFT * np.array([[1], [2], [1]]))
    np.testing.assert_array_equal(np.isnan(losses(x, soft)), [False, True, False])
    assert losses(x, jax.numpy.asarray([0, 1, 2])).tolist() == pytest.approx(
        by_torch(X, np.array([0, 1, 2]), reduction="none")[0].tolist(), rel=1e-12
    )


def test_gradients_by_jax_are_those_of_pytorch():
    target = np.array([0, IGNORED, 1])
    options = {"ignore_index": IGNORED, "label_smoothing": 0.1}
    _, grad = by_torch(X, target, **options)
    got = jax.grad(lambda x: cross_entropy(x, jax.numpy.asarray(target), **options))
    np.testing.assert_allclose(got(jax.numpy.asarray(X)), grad, rtol=1e-12, atol=1e-15)


def test_dask_computes_nothing_before_it_is_asked_and_works_in_chunks():
    x = dask.array.from_array(X, chunks=(1, 2))
    target = dask.array.from_array(np.array([0, 2, 1]), chunks=2)
    loss = cross_entropy(x, target)
    assert isinstance(loss, dask.array.Array)
    expected = by_torch(X, np.array([0, 2, 1]))
    np.testing.assert_allclose(loss.compute(), expected[0], rtol=1e-13)
    np.testing.assert_allclose(cross_entropy_grad(x, target).compute(), expected[1], rtol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reduction": "max"}, r"reduction must be one of \('mean', 'sum', 'none'\), got 'max'"),
        ({"label_smoothing": -0.1}, r"label_smoothing must be from 0 to 1, got -0.1"),
        ({"label_smoothing": 1.5}, r"label_smoothing must be from 0 to 1, got 1.5"),
        ({"label_smoothing": float("nan")}, r"label_smoothing must be from 0 to 1, got nan"),
        ({"weight": [1.0, -2.0, 1.0]}, r"weight must hold finite numbers from 0 on, got -2.0"),
        ({"weight": [1.0, np.nan, 1.0]}, r"weight must hold finite numbers from 0 on, got nan"),
        ({"weight": [1.0, np.inf, 1.0]}, r"weight must hold finite numbers from 0 on, got inf"),
        ({"weight": [1.0, 2.0]}, r"weight .* each of the 3 classes, got shape \(2,\)"),
        ({"weight": 2.0}, r"weight .* each of the 3 classes, got shape \(\)"),
    ],
)
def test_options_out_of_range_are_refused_with_their_value(options, message):
    for function in (cross_entropy, cross_entropy_grad):
        with pytest.raises(ValueError, match=message):
            function(X, [0, 1, 2], **options)


def test_targets_of_a_wrong_shape_or_dtype_are_refused():
    with pytest.raises(ValueError, match=r"must have the shape \(3,\) of logits .*got \(2,\)"):
        cross_entropy(X, [0, 1])
    with pytest.raises(ValueError, match=r"must have the shape \(3,\) of logits .*got \(3, 1\)"):
        cross_entropy(X, [[0], [1], [2]])
    with pytest.raises(ValueError, match=r"class indices must be integers.*\(3,\).*float64"):
        cross_entropy(X, [0.0, 1.0, 2.0])
    with pytest.raises(ValueError, match="must hold class indices or probabilities, got bool"):
        cross_entropy(X, [True, False, True])
    with pytest.raises(ValueError, match="ignore_index needs class indices"):
        cross_entropy(X, SOFT, ignore_index=1)


def test_two_libraries_and_numbers_that_are_not_real_are_refused():
    with pytest.raises(TypeError, match="one library"):
        cross_entropy(X, torch.tensor([0, 1, 2]))
    with pytest.raises(TypeError, match="one library"):
        cross_entropy(torch.tensor(X), torch.tensor([0, 1, 2]), weight=np.ones(3))
    with pytest.raises(TypeError, match="real numbers"):
        cross_entropy(X + 0j, [0, 1, 2])
    with pytest.raises(TypeError, match="masked array"):
        cross_entropy(np.ma.masked_array(X), [0, 1, 2])
    with pytest.raises(TypeError, match=r"numpy\.matrix"):
        cross_entropy(X.view(np.matrix), [0, 1, 2])


def test_an_axis_out_of_range_is_the_librarys_own_error():
    with pytest.raises(np.exceptions.AxisError):
        cross_entropy(X, [0, 1, 2], axis=2)
    with pytest.raises(IndexError):
        cross_entropy(torch.tensor(X), torch.tensor([0, 1, 2]), axis=2)


def test_nothing_outside_the_standard_is_used():
    x = array_api_strict.asarray(X)
    with array_api_strict.ArrayAPIStrictFlags(api_version="2024.12"):
        loss = cross_entropy(x, array_api_strict.asarray([0, 1, 2]), label_smoothing=0.1)
    expected, _ = by_torch(X, np.array([0, 1, 2]), label_smoothing=0.1)
    assert float(loss) == pytest.approx(float(expected), rel=1e-13)


def test_the_largest_scores_overflow_nowhere_without_need(library):
    largest = FORMATS["float32"].largest
    x = library(np.array([[largest, -largest], [-largest, -largest]]), "float32")
    target = library(np.array([0, 1]))
    losses = to_numpy(cross_entropy(x, target, reduction="none"))
    np.testing.assert_allclose(losses, [0, np.log(2)], rtol=1e-6)
    grad = to_numpy(cross_entropy_grad(x, target, reduction="none"))
    np.testing.assert_allclose(grad, [[0, 0], [0.5, -0.5]], rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_smoothing": "much"}, "^label_smoothing must be one number, got str"),
        ({"ignore_index": 0.5}, "^ignore_index must be an integer, got float"),
    ],
)
def test_an_option_of_a_wrong_type_is_named(options, message):
    for function in (cross_entropy, cross_entropy_grad):
        with pytest.raises(TypeError, match=message):
            function(np.zeros((1, 2)), [1], **options)


# --- proofs ---------------------------------------------------------------------------------

SMALL = [2, 3, 4]


@pytest.mark.claim("prop-loss-is-lse")
@pytest.mark.parametrize("n", [*SMALL, None])
def test_minus_log_p_is_logsumexp_minus_the_score(n):
    assert vanishes(proofs.loss_is_lse_residual(n))


@pytest.mark.claim("prop-margin")
def test_loss_and_slope_are_functions_of_the_margin_for_any_n():
    assert vanishes(proofs.margin_residual())


@pytest.mark.claim("prop-gibbs")
@pytest.mark.parametrize("n", SMALL)
def test_the_excess_over_the_entropy_is_a_sum_of_gaps_under_a_convex_curve(n):
    assert vanishes(proofs.gibbs_residual(n))
    assert vanishes(proofs.tangent_residual())


@pytest.mark.claim("prop-gradient-in-p")
@pytest.mark.parametrize("n", SMALL)
def test_the_gradient_in_p_is_minus_y_over_p(n):
    assert vanishes(proofs.gradient_in_p_residual(n))


@pytest.mark.claim("thm-p-minus-y")
@pytest.mark.parametrize("n", SMALL)
def test_the_product_of_the_chain_rule_collapses(n):
    assert vanishes(proofs.chain_residual(n))


@pytest.mark.claim("thm-p-minus-y")
@pytest.mark.parametrize("n", [*SMALL, None])
def test_the_gradient_in_the_scores_is_the_sum_of_y_times_p_minus_y(n):
    assert vanishes(proofs.gradient_residual(n))


@pytest.mark.claim("prop-zero-sum")
@pytest.mark.parametrize("n", [*SMALL, None])
def test_the_entries_of_the_gradient_add_up_to_zero(n):
    assert vanishes(proofs.zero_sum_residual(n))


@pytest.mark.claim("prop-gradient-size")
def test_the_absolute_entries_add_up_to_twice_the_missing_probability_for_any_n():
    assert vanishes(proofs.gradient_size_residual())


@pytest.mark.claim("prop-mean-gradient")
@pytest.mark.parametrize(("rows", "n"), [(1, 2), (2, 3), (3, 2)])
def test_the_mean_divides_the_gradient_by_the_number_of_rows(rows, n):
    assert vanishes(proofs.mean_gradient_residual(rows, n))


@pytest.mark.claim("prop-weighted-gradient")
@pytest.mark.parametrize(("rows", "n"), [(2, 2), (2, 3), (3, 2)])
def test_the_weighted_mean_divides_by_the_weight_of_kept_targets(rows, n):
    assert vanishes(proofs.weighted_gradient_residual(rows, n))


@pytest.mark.claim("prop-smoothing-gradient")
@pytest.mark.parametrize("n", SMALL)
def test_smoothed_and_weighted_the_gradient_is_the_sum_of_amounts_times_p_minus_amounts(n):
    assert vanishes(proofs.smoothing_gradient_residual(n))


@pytest.mark.claim("prop-smoothing-conventions")
def test_the_two_conventions_of_smoothing_differ_by_a_factor():
    assert vanishes(proofs.smoothing_conventions_residual())


@pytest.mark.claim("prop-smoothing-optimum")
def test_the_smoothed_target_is_reached_at_a_finite_gap():
    assert vanishes(proofs.smoothing_optimum_residual())


@pytest.mark.claim("prop-hessian")
@pytest.mark.parametrize("n", [2, 3, None])
def test_the_hessian_is_the_jacobian_of_softmax(n):
    assert vanishes(proofs.hessian_residual(n))


@pytest.mark.claim("prop-hessian")
@pytest.mark.parametrize("n", SMALL)
def test_the_quadratic_form_of_the_hessian_is_a_sum_of_squares(n):
    assert vanishes(proofs.convexity_residual(n))


@pytest.mark.claim("prop-fisher")
@pytest.mark.parametrize("n", [2, 3, None])
def test_the_mean_outer_product_of_the_scores_is_the_jacobian(n):
    assert vanishes(proofs.fisher_residual(n))


@pytest.mark.claim("prop-double-softmax")
def test_at_the_corner_the_double_softmax_has_the_loss_of_the_floor():
    assert vanishes(proofs.double_softmax_floor_residual())


@pytest.mark.claim("prop-double-softmax")
@pytest.mark.parametrize("n", [2, 3])
def test_the_double_softmax_sends_its_gradient_through_one_more_jacobian(n):
    assert vanishes(proofs.double_softmax_gradient_residual(n))
