"""Softmax regression: its gradient, its parts, and two trainings that take the same steps."""

import dataclasses
import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from softmax_notes.data import Dataset, load_digits
from softmax_notes.regression import (
    Accumulator,
    accuracy,
    evaluate_accuracy,
    gradients,
    initial_parameters,
    logits,
    minibatches,
    n_correct,
    train_autograd,
    train_by_hand,
)
from softmax_notes.symbolic import regression as proofs
from tests.libraries import same_kind, to_numpy
from tests.pytorch import torch

eighths = st.integers(-40, 40).map(lambda k: k / 8)
few = st.integers(1, 5)
sizes = st.tuples(few, few, few)  # rows, features, classes


@st.composite
def problems(draw, sizes=sizes):
    """A batch, its targets, and parameters, all of shapes that fit."""
    rows, features, n = draw(sizes)
    X, W, b = (
        draw(npst.arrays(np.float64, shape, elements=eighths))
        for shape in [(rows, features), (features, n), (n,)]
    )
    return X, draw(npst.arrays(np.int64, rows, elements=st.integers(0, n - 1))), W, b


def torch_gradients(X, target, W, b):
    """Loss and gradients by PyTorch's own loss and automatic differentiation."""
    W, b = (torch.tensor(a, requires_grad=True) for a in (W, b))
    loss = torch.nn.functional.cross_entropy(torch.tensor(X) @ W + b, torch.tensor(target))
    loss.backward()
    return float(loss.detach()), W.grad.numpy(), b.grad.numpy()


def small_dataset(rows=40, features=3, n=3, seed=0, noise=1.5):
    """Overlapping clouds of points: no parameters get all of them right."""
    rng = np.random.default_rng(seed)
    y = np.arange(rows) % n
    X = np.eye(n, features)[y] + noise * rng.standard_normal((rows, features))
    return Dataset(X, y, X[: rows // 2], y[: rows // 2], (1, features), tuple("abcdef"[:n]))


# --- laws


@pytest.mark.claim("thm-regression-gradient")
@settings(max_examples=15)  # JAX compiles for each shape, and Dask plans for each example
@given(problem=problems(st.sampled_from([(1, 1, 1), (3, 2, 4)])))
def test_loss_and_gradients_are_those_of_pytorch_in_every_library(library, problem):
    found = gradients(*(library(part) for part in problem))
    assert same_kind(found.W, library(problem[2]))
    assert same_kind(found.b, library(problem[3]))
    for ours, reference in zip(found, torch_gradients(*problem), strict=True):
        np.testing.assert_allclose(to_numpy(ours), reference, rtol=1e-12, atol=1e-13)


@pytest.mark.claim("thm-regression-gradient")
@given(problem=problems())
def test_automatic_differentiation_of_our_loss_gives_the_formula(problem):
    X, target, W, b = (torch.tensor(part) for part in problem)
    W.requires_grad_()
    b.requires_grad_()
    found = gradients(X, target, W, b)
    dW, db = torch.autograd.grad(found.loss, (W, b))
    torch.testing.assert_close(found.W.detach(), dW, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(found.b.detach(), db, rtol=1e-12, atol=1e-13)


@pytest.mark.claim("cor-zero-row-sums")
@given(problem=problems())
def test_the_gradient_sums_to_zero_over_the_classes(problem):
    found = gradients(*problem)
    np.testing.assert_allclose(found.W.sum(axis=1), 0, atol=1e-14)
    assert abs(found.b.sum()) < 1e-15


@pytest.mark.claim("cor-blank-pixels")
@given(problem=problems(), feature=st.integers(0, 4))
def test_a_feature_that_is_0_in_the_whole_batch_has_no_gradient(problem, feature):
    X, target, W, b = problem
    X = np.where(np.arange(X.shape[1]) == feature % X.shape[1], 0.0, X)
    assert np.all(gradients(X, target, W, b).W[feature % X.shape[1]] == 0)


@pytest.mark.claim("prop-unidentified")
@given(problem=problems(), data=st.data())
def test_one_vector_added_to_every_column_changes_neither_loss_nor_gradients(problem, data):
    X, target, W, b = problem
    u = data.draw(npst.arrays(np.float64, (W.shape[0], 1), elements=eighths))
    c = data.draw(eighths)
    for here, there in zip(
        torch_gradients(X, target, W, b), gradients(X, target, W + u, b + c), strict=True
    ):
        np.testing.assert_allclose(here, there, rtol=1e-12, atol=1e-13)


@pytest.mark.claim("prop-first-loss")
@given(problem=problems())
def test_with_all_parameters_0_the_loss_is_log_n_and_the_biases_see_the_shares(problem):
    X, target, W, b = problem
    found, n = gradients(X, target, 0 * W, 0 * b), len(b)
    assert float(found.loss) == pytest.approx(math.log(n), rel=1e-15)
    shares = [Fraction(target.tolist().count(k), len(target)) for k in range(n)]
    expected = [float(Fraction(1, n) - share) for share in shares]
    np.testing.assert_allclose(found.b, expected, atol=1e-15)


@pytest.mark.claim("prop-regression-convex")
@given(problem=problems(), data=st.data())
def test_on_the_way_between_two_models_the_loss_stays_below_the_straight_line(problem, data):
    X, target, W, b = problem
    other_W = data.draw(npst.arrays(np.float64, W.shape, elements=eighths))
    other_b = data.draw(npst.arrays(np.float64, b.shape, elements=eighths))
    share = data.draw(st.floats(0, 1))
    mixed = share * W + (1 - share) * other_W, share * b + (1 - share) * other_b
    here, there, between = (
        torch_gradients(X, target, *parameters)[0]
        for parameters in ((W, b), (other_W, other_b), mixed)
    )
    assert between <= share * here + (1 - share) * there + 1e-12


@pytest.mark.claim("prop-step-size")
@given(problem=problems(), share=st.floats(0.01, 1))
def test_a_short_enough_step_lowers_the_loss_by_at_least_half_of_what_the_slope_says(
    problem, share
):
    X, target, W, b = problem
    extended = np.column_stack([X, np.ones(len(X))])
    curvature = np.linalg.eigvalsh(extended.T @ extended / len(X))[-1] / 2
    step = share / curvature
    loss, dW, db = torch_gradients(*problem)
    after = gradients(X, target, W - step * dW, b - step * db).loss
    assert after <= loss - step / 2 * (np.sum(dW**2) + np.sum(db**2)) + 1e-13


@given(n=st.integers(0, 300), batch_size=st.integers(1, 70), seed=st.integers(0, 2**32))
def test_mini_batches_deal_out_each_row_once_and_only_the_last_is_smaller(n, batch_size, seed):
    batches = list(minibatches(n, batch_size, np.random.default_rng(seed)))
    assert sorted(row for rows in batches for row in rows) == list(range(n))
    assert [len(rows) for rows in batches[:-1]] == [batch_size] * (len(batches) - 1)
    assert len(batches) == -(-n // batch_size)
    again = minibatches(n, batch_size, np.random.default_rng(seed))
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))


@given(
    scores=npst.arrays(np.float64, npst.array_shapes(min_dims=2, max_dims=2), elements=eighths),
    data=st.data(),
)
def test_accuracy_is_that_of_scikit_learn(library, scores, data):
    target = data.draw(
        npst.arrays(np.int64, len(scores), elements=st.integers(0, scores.shape[1] - 1))
    )
    expected = sklearn.metrics.accuracy_score(target, scores.argmax(axis=1))
    assert accuracy(library(scores), library(target)) == expected
    assert n_correct(library(scores), library(target)) == round(expected * len(scores))


@given(st.lists(st.tuples(eighths, eighths, eighths)))
def test_an_accumulator_keeps_the_sums_of_its_columns(rows):
    metric = Accumulator(3)
    for row in rows:
        metric.add(*row)
    for index in (0, 1, 2, -1):
        assert metric[index] == sum(row[index] for row in rows)
    metric.reset()
    assert [metric[0], metric[1], metric[2]] == [0, 0, 0]


@given(cuts=st.lists(st.integers(0, 90), max_size=5))
def test_the_accuracy_over_batches_does_not_depend_on_how_they_are_cut(cuts):
    rng = np.random.default_rng(7)
    scores, target = rng.standard_normal((90, 4)), rng.integers(0, 4, 90)
    edges = [0, *sorted(cuts), 90]
    batches = [(scores[a:b], target[a:b]) for a, b in pairwise(edges)]
    expected = np.mean(scores.argmax(axis=1) == target)
    assert evaluate_accuracy(lambda X: X, batches) == pytest.approx(expected, rel=1e-15)


# --- references


def test_the_rows_come_in_an_order_that_the_generator_draws():
    expected = np.random.default_rng(5).permutation(100)
    assert not np.array_equal(expected, np.sort(expected))
    dealt = np.concatenate(list(minibatches(100, 7, np.random.default_rng(5))))
    np.testing.assert_array_equal(dealt, expected)


def test_the_two_rows_of_the_sample_by_hand():
    # y = [0, 2]: the first row's highest probability, 0.6, is at class 2; the second's at 2.
    y_hat, y = [[0.1, 0.3, 0.6], [0.3, 0.2, 0.5]], [0, 2]
    assert n_correct(y_hat, y) == 1
    assert accuracy(y_hat, y) == 0.5


def test_scores_by_hand_and_from_pictures():
    pictures = np.arange(8).reshape(2, 2, 2)
    W, b = np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [0.0, 2.0]]), np.array([0.5, -0.5])
    # (0, 1, 2, 3): 0 + 4 and 1 + 6; (4, 5, 6, 7): 4 + 12 and 5 + 14.
    np.testing.assert_array_equal(logits(pictures, W, b), [[4.5, 6.5], [16.5, 18.5]])
    np.testing.assert_array_equal(
        logits(pictures, W, b),
        torch.nn.functional.linear(
            torch.tensor(pictures.reshape(2, 4) * 1.0), torch.tensor(W.T), torch.tensor(b)
        ),
    )


@pytest.mark.parametrize("dtype", ["uint8", "int64"])
def test_pixels_that_are_integers_take_the_dtype_of_the_weights(dtype):
    pixels = np.array([[0, 255], [255, 255]], dtype=dtype)
    found = gradients(pixels, [0, 1], np.ones((2, 2), np.float32), np.zeros(2, np.float32))
    assert found.W.dtype == found.b.dtype == found.loss.dtype == np.float32
    np.testing.assert_allclose(found.W, [[63.75, -63.75], [0, 0]])


def test_initial_weights_are_small_and_normal_and_biases_are_0():
    W, b = initial_parameters(784, 10, seed=5)
    assert np.all(b == 0)
    assert abs(W.mean()) < 4 * 0.01 / math.sqrt(W.size)
    assert W.std() == pytest.approx(0.01, rel=0.05)
    inside = np.mean(np.abs(W) < 0.01)  # 68.27 % of a normal distribution
    assert inside == pytest.approx(0.6827, abs=0.02)
    np.testing.assert_array_equal(W, initial_parameters(784, 10, seed=5)[0])
    assert not np.array_equal(W, initial_parameters(784, 10, seed=6)[0])


@pytest.mark.claim("thm-regression-gradient")
@pytest.mark.parametrize("batch_size", [64, 256, 2000])
def test_both_trainings_take_the_same_path(batch_size):
    options = {"epochs": 10, "batch_size": batch_size, "seed": 3, "progress": False}
    by_hand = train_by_hand(load_digits(), **options)
    automatic = train_autograd(load_digits(), **options)
    np.testing.assert_allclose(by_hand.W, automatic.W, rtol=0, atol=1e-13)
    np.testing.assert_allclose(by_hand.b, automatic.b, rtol=0, atol=1e-13)
    np.testing.assert_allclose(by_hand.history, automatic.history, rtol=1e-11)


def test_a_step_is_the_old_parameters_minus_the_rate_times_the_mean_gradient():
    dataset = small_dataset()
    W, b = initial_parameters(3, 3, seed=2)
    _, dW, db = torch_gradients(dataset.X_train, dataset.y_train, W, b)
    options = {"epochs": 1, "batch_size": 40, "learning_rate": 0.3, "seed": 2, "progress": False}
    for train in (train_by_hand, train_autograd):
        trained = train(dataset, **options)
        np.testing.assert_allclose(trained.W, W - 0.3 * dW, atol=1e-15)
        np.testing.assert_allclose(trained.b, b - 0.3 * db, atol=1e-15)


def test_digits_are_read_with_at_least_95_percent_of_the_held_out_ones_right():
    digits = load_digits()
    trained = train_by_hand(digits, progress=False)
    predicted = (digits.X_test @ trained.W + trained.b).argmax(axis=1)
    assert sklearn.metrics.accuracy_score(digits.y_test, predicted) >= 0.95
    assert trained.history.test_accuracy[-1] == np.mean(predicted == digits.y_test)


def test_the_history_holds_what_pytorch_measures_at_the_start_and_in_the_end():
    dataset = small_dataset()
    trained = train_by_hand(dataset, epochs=5, seed=4, progress=False)
    start = initial_parameters(3, 3, seed=4)
    for index, (W, b) in ((0, start), (-1, (trained.W, trained.b))):
        for part in ("train", "test"):
            X, y = getattr(dataset, f"X_{part}"), getattr(dataset, f"y_{part}")
            loss = torch_gradients(X, y, W, b)[0]
            assert getattr(trained.history, f"{part}_loss")[index] == pytest.approx(loss, rel=1e-13)
            right = np.mean((X @ W + b).argmax(axis=1) == y)
            assert getattr(trained.history, f"{part}_accuracy")[index] == right
    assert all(len(column) == 6 for column in trained.history)


@pytest.mark.slow
@pytest.mark.claim("cor-class-shares")
def test_at_the_minimum_the_mean_probabilities_are_the_shares_of_the_classes():
    dataset = small_dataset(rows=41)
    options = {"epochs": 3000, "learning_rate": 0.5, "batch_size": 41, "progress": False}
    trained = train_by_hand(dataset, **options)
    P = torch.softmax(torch.tensor(dataset.X_train @ trained.W + trained.b), dim=1)
    shares = np.bincount(dataset.y_train) / 41
    np.testing.assert_allclose(P.mean(dim=0), shares, atol=1e-9)
    moments = dataset.X_train.T @ (P.numpy() - np.eye(3)[dataset.y_train])
    np.testing.assert_allclose(moments, 0, atol=1e-7)


@pytest.mark.claim("cor-zero-row-sums")
def test_training_keeps_the_sums_over_the_classes_where_they_were():
    W, b = initial_parameters(64, 10, seed=1)
    trained = train_by_hand(load_digits(), epochs=10, seed=1, progress=False)
    assert np.abs(trained.W - W).max() > 0.1
    np.testing.assert_allclose(trained.W.sum(axis=1), W.sum(axis=1), atol=1e-13)
    assert abs(trained.b.sum() - b.sum()) < 1e-13


@pytest.mark.claim("cor-blank-pixels")
def test_weights_of_pixels_that_are_always_blank_keep_their_first_values():
    digits = load_digits()
    blank = digits.X_train.max(axis=0) == 0
    assert blank.sum() >= 3
    W, _ = initial_parameters(64, 10)
    trained = train_by_hand(digits, epochs=3, progress=False)
    np.testing.assert_array_equal(trained.W[blank], W[blank])
    assert np.all(np.any(trained.W[~blank] != W[~blank], axis=1))


@pytest.mark.claim("prop-separable")
def test_where_a_model_gets_every_row_right_larger_parameters_lower_the_loss_without_end():
    dataset = small_dataset(noise=0.05)
    X, y = dataset.X_train, dataset.y_train
    W, b = 4 * np.eye(3), np.zeros(3)
    Z = X @ W + b
    others = np.where(np.eye(3)[y] == 1, -np.inf, Z).max(axis=1)
    margin = (Z[np.arange(40), y] - others).min()
    assert margin > 0
    scales = [1, 2, 4, 8]
    losses = [torch_gradients(X, y, s * W, s * b)[0] for s in scales]
    for s, loss in zip(scales, losses, strict=True):
        assert 0 < loss <= math.log1p(2 * math.exp(-s * margin))
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 1e-9


def test_the_package_reads_pictures_of_784_pixels_too():
    rng = np.random.default_rng(0)
    y = np.arange(30) % 10
    X = np.clip(np.kron(np.eye(10), np.ones(79))[y][:, :784] + rng.normal(0, 0.1, (30, 784)), 0, 1)
    X = X.astype(np.float32)
    clothes = Dataset(X, y, X, y, (28, 28), tuple("0123456789"))
    for train in (train_by_hand, train_autograd):
        trained = train(clothes, epochs=20, learning_rate=0.1, progress=False)
        assert trained.W.shape == (784, 10)
        assert trained.W.dtype == np.float32
        assert trained.history.test_accuracy[-1] == 1


# --- edges


class Noisy(torch.nn.Module):
    """Right in evaluation mode, wrong in training mode; a part of it is frozen."""

    def __init__(self):
        super().__init__()
        self.frozen = torch.nn.Dropout()
        self.frozen.eval()
        self.modes = []

    def forward(self, X):
        self.modes.append((self.training, torch.is_grad_enabled()))
        return -X if self.training else X


@pytest.mark.parametrize("training", [True, False])
def test_a_module_is_evaluated_in_evaluation_mode_and_each_part_put_back(training):
    model = Noisy()
    model.training = training
    batches = [(torch.eye(3), torch.arange(3))] * 2
    assert evaluate_accuracy(model, batches) == 1
    assert model.modes == [(False, False)] * 2
    assert model.training is training
    assert model.frozen.training is False
    assert torch.is_grad_enabled()


def test_a_module_is_put_back_also_after_an_error():
    model = Noisy()
    with pytest.raises(ValueError, match="targets of shape"):
        evaluate_accuracy(model, [(torch.eye(3), torch.arange(2))])
    assert model.training is True
    assert torch.is_grad_enabled()


def test_a_row_of_nan_is_wrong_and_of_equal_scores_the_first_counts():
    assert n_correct([[math.nan, 0.0], [0.0, math.nan], [1.0, 1.0], [1.0, 1.0]], [0, 1, 0, 1]) == 1


def test_no_rows_have_no_accuracy():
    with pytest.raises(ValueError, match="accuracy on no rows is undefined"):
        accuracy(np.empty((0, 3)), np.empty(0, dtype=np.int64))
    with pytest.raises(ValueError, match="batches hold no rows"):
        evaluate_accuracy(lambda X: X, iter([]))
    assert n_correct(np.empty((0, 3)), np.empty(0, dtype=np.int64)) == 0


@pytest.mark.parametrize(
    ("scores", "target", "message"),
    [
        ([0.1, 0.9], [1], r"got \(2,\) and \(1,\)"),
        ([[0.1, 0.9]], [[1]], r"got \(1, 2\) and \(1, 1\)"),
        ([[0.1, 0.9]], [0, 1], r"got \(1, 2\) and \(2,\)"),
        ([[0.1, 0.9]], [1.0], "must hold class indices, got float64"),
        (np.empty((1, 0)), [0], r"got \(1, 0\) and \(1,\)"),
    ],
)
def test_scores_and_targets_that_do_not_fit_are_refused(scores, target, message):
    with pytest.raises(ValueError, match=message):
        n_correct(scores, target)


def test_a_bias_of_ten_by_ten_is_refused_though_it_would_broadcast():
    X, W = np.ones((10, 4)), np.ones((4, 10))
    with pytest.raises(ValueError, match=r"b of shape \(n,\) are needed.*\(10, 10\)"):
        logits(X, W, np.zeros((10, 10)))


def test_shapes_and_targets_that_do_not_fit_are_refused():
    W, b = np.ones((4, 3)), np.zeros(3)
    with pytest.raises(ValueError, match="each row of X has 6 features, but W has 4 rows"):
        logits(np.ones((5, 2, 3)), W, b)
    with pytest.raises(ValueError, match=r"target must be from 0 to 2, got 3"):
        gradients(np.ones((1, 4)), [3], W, b)
    with pytest.raises(ValueError, match="batch without rows"):
        gradients(np.ones((0, 4)), np.empty(0, dtype=np.int64), W, b)
    with pytest.raises(TypeError, match="one library"):
        logits(torch.ones((1, 4)), W, b)


@pytest.mark.parametrize("train", [train_by_hand, train_autograd])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": -1}, "epochs must be at least 0, got -1"),
        ({"learning_rate": 0.0}, "learning_rate must be a positive number, got 0.0"),
        ({"learning_rate": math.nan}, "learning_rate must be a positive number, got nan"),
        ({"learning_rate": math.inf}, "learning_rate must be a positive number, got inf"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"scale": -0.01}, "scale must be a number from 0 on, got -0.01"),
        ({"scale": math.inf}, "scale must be a number from 0 on, got inf"),
    ],
)
def test_options_out_of_their_range_are_refused(train, options, message):
    with pytest.raises(ValueError, match=message):
        train(small_dataset(), **({"epochs": 1, "progress": False} | options))


@pytest.mark.parametrize("train", [train_by_hand, train_autograd])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y_train": np.full(40, 3)}, "target must be from 0 to 2, got 3"),
        ({"y_test": np.full(20, -1)}, "target must be from 0 to 2, got -1"),
        ({"y_train": np.zeros(39, int)}, r"y_train of shape \(N,\).*got \(40, 3\) and \(39,\)"),
        ({"X_test": np.ones((20, 4))}, "has 4 features, but W has 3 rows"),
        ({"X_test": np.ones((0, 3)), "y_test": np.zeros(0, int)}, "N at least 1"),
    ],
)
def test_data_that_do_not_fit_are_refused_before_the_first_step(train, change, message):
    dataset = dataclasses.replace(small_dataset(), **change)
    with pytest.raises(ValueError, match=message):
        train(dataset, epochs=1, progress=False)


def test_other_wrong_sizes_are_refused():
    with pytest.raises(ValueError, match="at least one feature and class is needed, got 0, 3"):
        initial_parameters(0, 3)
    with pytest.raises(ValueError, match="at least one sum is needed, got 0"):
        Accumulator(0)
    with pytest.raises(ValueError, match="2 values are needed, got 3"):
        Accumulator(2).add(1, 2, 3)
    with pytest.raises(IndexError):
        Accumulator(2)[2]


@pytest.mark.parametrize("train", [train_by_hand, train_autograd])
def test_what_is_no_dataset_or_number_is_named(train):
    with pytest.raises(TypeError, match="dataset must be a Dataset, got list"):
        train([1.0])
    with pytest.raises(TypeError, match=r"^batch_size must be an integer, got float"):
        train(small_dataset(), epochs=1, batch_size=1.5, progress=False)


def test_the_smallest_parameters_are_drawn():
    W, b = initial_parameters(1, 1, scale=0.0)
    assert (W.tolist(), b.tolist()) == ([[0]], [0])


@pytest.mark.parametrize("train", [train_by_hand, train_autograd])
def test_the_seed_is_0_if_none_is_given(train):
    first, second = (
        train(small_dataset(), epochs=1, progress=False, **s) for s in ({}, {"seed": 0})
    )
    np.testing.assert_array_equal(first.W, second.W)


def test_training_changes_neither_the_data_nor_its_own_result_on_a_second_run():
    dataset = small_dataset()
    before = dataset.X_train.copy(), dataset.y_train.copy()
    first, second = (train_autograd(dataset, epochs=3, progress=False) for _ in range(2))
    np.testing.assert_array_equal(first.W, second.W)
    np.testing.assert_array_equal(dataset.X_train, before[0])
    np.testing.assert_array_equal(dataset.y_train, before[1])


def test_a_training_without_epochs_gives_the_start():
    trained = train_autograd(small_dataset(), epochs=0, seed=8, progress=False)
    np.testing.assert_array_equal(trained.W, initial_parameters(3, 3, seed=8)[0])
    assert len(trained.history.train_loss) == 1


@pytest.mark.parametrize("train", [train_by_hand, train_autograd])
def test_the_progress_bar_goes_to_the_standard_error_stream_or_nowhere(capsys, train):
    train(small_dataset(), epochs=2)
    shown = capsys.readouterr()
    assert "epochs: 100%" in shown.err
    assert "2/2" in shown.err
    assert shown.out == ""
    train(small_dataset(), epochs=2, progress=False)
    assert capsys.readouterr() == ("", "")


# --- proofs


@pytest.mark.claim("thm-regression-gradient")
@pytest.mark.parametrize("sizes", [(1, 1, 2), (1, 2, 3), (2, 2, 3)])
def test_the_gradient_is_the_derivative_of_the_mean_loss(sizes):
    assert proofs.gradient_residual(*sizes).is_zero_matrix


@pytest.mark.claim("cor-zero-row-sums")
@pytest.mark.parametrize("n", [2, 3, 4])
def test_the_errors_sum_to_zero_over_the_classes(n):
    assert proofs.zero_row_sums_residual(n=n).is_zero_matrix


@pytest.mark.claim("cor-blank-pixels")
def test_a_blank_feature_has_a_gradient_of_zeros():
    assert proofs.blank_feature_residual().is_zero_matrix


@pytest.mark.claim("prop-unidentified")
@pytest.mark.parametrize("n", [2, 3, 4])
def test_a_vector_added_to_every_column_cancels(n):
    assert proofs.unidentified_residual(n=n).is_zero_matrix


@pytest.mark.claim("prop-first-loss")
@pytest.mark.parametrize("n", [1, 2, 3, 10])
def test_the_first_loss_is_log_n(n):
    assert proofs.first_loss_residual(n) == 0


@pytest.mark.claim("prop-regression-convex")
@pytest.mark.parametrize("n", [2, 3, 4])
def test_along_a_line_the_second_derivative_is_a_sum_of_squares(n):
    assert proofs.convexity_residual(n) == 0


@pytest.mark.claim("cor-class-shares")
def test_the_gradient_in_b_is_mean_probability_minus_share():
    assert proofs.class_shares_residual().is_zero_matrix


@pytest.mark.claim("prop-step-size")
def test_the_bound_on_a_step_factors():
    assert proofs.descent_residual() == 0


@pytest.mark.claim("prop-separable")
def test_the_bound_on_the_loss_goes_to_zero():
    assert proofs.separable_limit() == 0
