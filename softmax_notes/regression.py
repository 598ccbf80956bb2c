r"""Softmax regression from scratch, twice: by a hand-derived gradient, and by autograd.

A row of features x gets the scores :math:`xW + b` and the probabilities softmax of those. With
N rows X, their scores Z, P = softmax(Z) row by row and one-hot targets Y, the mean
cross-entropy has the gradients

.. math:: \frac{\partial L}{\partial W} = X^\top \frac{P - Y}{N}, \qquad
   \frac{\partial L}{\partial b} = \mathbf{1}^\top \frac{P - Y}{N} .
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from softmax_notes._arrays import Array, as_arrays, flag, floating, number, whole
from softmax_notes._extras import needs
from softmax_notes.cross_entropy import cross_entropy, cross_entropy_grad
from softmax_notes.data import Dataset

__all__ = [
    "Accumulator",
    "Gradients",
    "History",
    "Trained",
    "accuracy",
    "evaluate_accuracy",
    "gradients",
    "initial_parameters",
    "logits",
    "minibatches",
    "n_correct",
    "train_autograd",
    "train_by_hand",
]

# Takes a batch X, its targets, W, b and the learning rate; gives the next W and b.
_Step: TypeAlias = Callable[[Any, Any, Any, Any, float], tuple[Any, Any]]


class Gradients(NamedTuple):
    """A loss and its gradients, as `gradients` returns them.

    Attributes
    ----------
    loss : array of shape ()
        Mean cross-entropy of the batch.
    W : array of shape (D, n)
        Its gradient with respect to the weights.
    b : array of shape (n,)
        Its gradient with respect to the biases.

    Examples
    --------
    >>> from softmax_notes.regression import gradients
    >>> gradients([[1.0, 0.0]], [0], [[0.0, 0.0], [0.0, 0.0]], [0.0, 0.0]).b
    array([-0.5,  0.5])
    """

    loss: Array
    W: Array
    b: Array


class History(NamedTuple):
    """How a training went: one entry before the first epoch, and one after each.

    Attributes
    ----------
    train_loss, test_loss : list of float
        Mean cross-entropy on all pictures learned from, and on all held out.
    train_accuracy, test_accuracy : list of float
        Share of the pictures whose class has the highest score.

    Examples
    --------
    >>> from softmax_notes.data import load_digits
    >>> from softmax_notes.regression import train_by_hand
    >>> history = train_by_hand(load_digits(), epochs=3, progress=False).history
    >>> len(history.train_loss)
    4
    """

    train_loss: list[float]
    train_accuracy: list[float]
    test_loss: list[float]
    test_accuracy: list[float]


class Trained(NamedTuple):
    """What a training gives: the parameters, as NumPy arrays, and the history.

    Attributes
    ----------
    W : ndarray of shape (D, n)
        Weights.
    b : ndarray of shape (n,)
        Biases.
    history : History
        Loss and accuracy, epoch by epoch.

    Examples
    --------
    >>> from softmax_notes.data import load_digits
    >>> from softmax_notes.regression import train_by_hand
    >>> trained = train_by_hand(load_digits(), epochs=0, progress=False)
    >>> trained.W.shape, trained.b.shape
    ((64, 10), (10,))
    """

    W: np.ndarray[Any, Any]
    b: np.ndarray[Any, Any]
    history: History


def initial_parameters(
    n_features: int, n_classes: int, /, *, scale: float = 0.01, seed: int = 0
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    r"""Draw weights from a normal distribution around 0, and set the biases to 0.

    Parameters
    ----------
    n_features, n_classes : int
        Sizes D and n.
    scale : float, default 0.01
        Standard deviation of the weights.
    seed : int, default 0
        Seed of the random numbers.

    Returns
    -------
    W : ndarray of float64, shape (D, n)
        Weights.
    b : ndarray of float64, shape (n,)
        Biases.

    Raises
    ------
    ValueError
        If there is no feature or no class, or scale is negative.

    Notes
    -----
    With all parameters 0 the loss is log n: see the chapter ``regression``, claim
    ``prop-first-loss``.

    Examples
    --------
    >>> from softmax_notes.regression import initial_parameters
    >>> W, b = initial_parameters(784, 10)
    >>> W.shape, b.shape
    ((784, 10), (10,))
    """
    if whole(n_features, "n_features") < 1 or whole(n_classes, "n_classes") < 1:
        raise ValueError(f"at least one feature and class is needed, got {n_features}, {n_classes}")
    if not 0 <= (scale := number(scale, "scale")) < float("inf"):
        raise ValueError(f"scale must be a number from 0 on, got {scale!r}")
    rng = np.random.default_rng(seed)
    return scale * rng.standard_normal((n_features, n_classes)), np.zeros(n_classes)


def logits(X: Array, W: Array, b: Array, /) -> Array:
    r"""Score each row: :math:`XW + b`, with b added to every row.

    Parameters
    ----------
    X : array of shape (N, ...)
        A batch; the axes after the first, a picture's height and width for instance, are
        flattened to D features.
    W : array of shape (D, n)
        Weights.
    b : array of shape (n,)
        Biases.

    Returns
    -------
    array of shape (N, n)
        Scores of the n classes.

    Raises
    ------
    TypeError
        If arrays of two libraries meet, or one is complex or no array.
    ValueError
        If the shapes do not fit.

    Notes
    -----
    See the chapter ``regression``, claim ``prop-unidentified``: other parameters give scores
    that mean the same.

    Examples
    --------
    >>> from softmax_notes.regression import logits
    >>> logits([[1.0, 2.0]], [[1.0, 0.0], [0.0, 1.0]], [0.0, 10.0])
    array([[ 1., 12.]])
    """
    xp, X, W, b = _batch(X, W, b)
    return xp.matmul(X, W) + b


def gradients(X: Array, target: Array, W: Array, b: Array, /) -> Gradients:
    r"""Mean cross-entropy of a batch, and its gradients in W and b, by the formula.

    Parameters
    ----------
    X : array of shape (N, ...)
        A batch, as in `logits`.
    target : array of integers, shape (N,)
        The right classes; or probabilities of shape (N, n).
    W : array of shape (D, n)
        Weights.
    b : array of shape (n,)
        Biases.

    Returns
    -------
    Gradients
        The loss, :math:`X^\top (P - Y) / N` and :math:`\mathbf{1}^\top (P - Y) / N`.

    Raises
    ------
    TypeError
        As in `logits`.
    ValueError
        If the shapes do not fit, the batch is empty, or a target is no class.

    Notes
    -----
    See the chapter ``regression``, claims ``thm-regression-gradient``, ``cor-zero-row-sums``
    and ``cor-blank-pixels``.

    Examples
    --------
    Two rows, three classes; with all parameters 0 each class has probability 1/3.

    >>> import numpy as np
    >>> from softmax_notes.regression import gradients
    >>> X, target = np.array([[1.0, 0.0], [1.0, 2.0]]), np.array([0, 2])
    >>> found = gradients(X, target, np.zeros((2, 3)), np.zeros(3))
    >>> found.W.round(4)
    array([[-0.1667,  0.3333, -0.1667],
           [ 0.3333,  0.3333, -0.6667]])
    >>> found.b.round(4)
    array([-0.1667,  0.3333, -0.1667])
    """
    xp, X, W, b = _batch(X, W, b)
    if X.shape[0] == 0:
        raise ValueError("the mean over a batch without rows is undefined")
    Z = xp.matmul(X, W) + b
    G = cross_entropy_grad(Z, target)
    return Gradients(cross_entropy(Z, target), xp.matmul(X.T, G), xp.sum(G, axis=0))


def minibatches(
    n: int, batch_size: int, rng: np.random.Generator, /
) -> Iterator[np.ndarray[Any, Any]]:
    """Deal the numbers 0 to n - 1 into batches, in random order, each number once.

    Parameters
    ----------
    n : int
        How many rows there are.
    batch_size : int
        Rows in a batch; the last batch holds what is left.
    rng : numpy.random.Generator
        Source of the order.

    Yields
    ------
    ndarray of int64
        Row numbers of one batch.

    Raises
    ------
    ValueError
        If batch_size is less than 1.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes.regression import minibatches
    >>> [len(rows) for rows in minibatches(1000, 256, np.random.default_rng(0))]
    [256, 256, 256, 232]
    """
    n, batch_size = whole(n, "n"), whole(batch_size, "batch_size")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if n < 0:
        raise ValueError(f"n must be at least 0, got {n}")
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng must be a numpy.random.Generator, got {type(rng).__name__}")
    order = rng.permutation(n)
    return (order[start : start + batch_size] for start in range(0, n, batch_size))


class Accumulator:
    """Several running sums.

    Parameters
    ----------
    n : int
        How many sums; all start at 0.

    Examples
    --------
    Right answers and questions, batch by batch:

    >>> from softmax_notes.regression import Accumulator
    >>> metric = Accumulator(2)
    >>> metric.add(200, 256)
    >>> metric.add(50, 64)
    >>> metric[0] / metric[1]
    0.78125
    """

    def __init__(self, n: int) -> None:
        if (n := whole(n, "n")) < 1:
            raise ValueError(f"at least one sum is needed, got {n} for n")
        try:
            self._sums = [0.0] * n
        except OverflowError as error:  # no length of a list
            raise ValueError(f"n must be a number of sums that a list can hold, got {n}") from error

    def add(self, *values: float) -> None:
        """Add one value to each sum.

        Raises
        ------
        ValueError
            If there are not as many values as sums.
        """
        if len(values) != len(self._sums):
            raise ValueError(f"{len(self._sums)} values are needed, got {len(values)}")
        try:
            numbers = [float(value) for value in values]
        except OverflowError as error:  # an integer past the largest number
            raise ValueError(f"values must be numbers that a float can hold: {error}") from error
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeError(f"values must be numbers: {error}") from error
        self._sums = [s + value for s, value in zip(self._sums, numbers, strict=True)]

    def reset(self) -> None:
        """Set all sums to 0."""
        self._sums = [0.0] * len(self._sums)

    def __getitem__(self, index: int) -> float:
        return self._sums[index]


def n_correct(scores: Array, target: Array, /) -> int:
    """Count the rows whose highest score is that of the target.

    Parameters
    ----------
    scores : array of shape (N, n)
        Scores or probabilities: softmax keeps their order.
    target : array of integers, shape (N,)
        The right classes.

    Returns
    -------
    int
        How many rows are right. Of equal scores the first counts; a row that holds NaN is
        wrong.

    Raises
    ------
    TypeError
        As in `logits`.
    ValueError
        If the shapes do not fit, or target holds no integers.

    Notes
    -----
    That probabilities and scores give the same answer is claim ``prop-order`` of the chapter
    ``definition``.

    Examples
    --------
    >>> from softmax_notes.regression import n_correct
    >>> n_correct([[0.1, 0.3, 0.6], [0.3, 0.2, 0.5]], [0, 2])
    1
    """
    return _counts(scores, target)[0]


def accuracy(scores: Array, target: Array, /) -> float:
    """Share of the rows whose highest score is that of the target.

    Parameters
    ----------
    scores, target
        As in `n_correct`.

    Returns
    -------
    float
        From 0 to 1.

    Raises
    ------
    TypeError
        As in `n_correct`.
    ValueError
        As in `n_correct`, or if there are no rows.

    Examples
    --------
    >>> from softmax_notes.regression import accuracy
    >>> accuracy([[0.1, 0.3, 0.6], [0.3, 0.2, 0.5]], [0, 2])
    0.5
    """
    right, rows = _counts(scores, target)
    if rows == 0:
        raise ValueError("the accuracy on no rows is undefined")
    return right / rows


def evaluate_accuracy(
    predict: Callable[[Any], Array], batches: Iterable[tuple[Any, Any]], /
) -> float:
    """Measure the accuracy over many batches.

    Parameters
    ----------
    predict : callable
        Takes a batch of inputs and gives scores of shape (N, n). A ``torch.nn.Module`` is
        evaluated in evaluation mode without gradients; afterwards each of its parts is back in
        the mode that it was in.
    batches : iterable of (inputs, targets)
        What to evaluate on. Batches may differ in size: each row counts the same.

    Returns
    -------
    float
        Share of all rows that are right.

    Raises
    ------
    TypeError
        As in `n_correct`.
    ValueError
        As in `n_correct`, or if the batches hold no rows.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes.regression import evaluate_accuracy
    >>> batches = [(np.eye(3), np.array([0, 1, 1])), (np.eye(3)[:1], np.array([0]))]
    >>> evaluate_accuracy(lambda X: X, batches)
    0.75
    """
    metric = Accumulator(2)
    if not callable(predict):
        raise TypeError(f"predict must be a function of X, got {type(predict).__name__}")
    with _evaluating(predict):
        for X, target in _pairs(batches):
            metric.add(*_counts(predict(X), target))
    if metric[1] == 0:
        raise ValueError("the batches hold no rows; a generator can be used only once")
    return metric[0] / metric[1]


def train_by_hand(
    dataset: Dataset,
    /,
    *,
    epochs: int = 100,
    learning_rate: float = 0.5,
    batch_size: int = 256,
    scale: float = 0.01,
    seed: int = 0,
    progress: bool = True,
) -> Trained:
    r"""Train softmax regression by gradient descent, with the gradient derived by hand.

    Parameters
    ----------
    dataset : Dataset
        What to learn from, and what to measure on.
    epochs : int, default 100
        How often to go through all training pictures.
    learning_rate : float, default 0.5
        Step size :math:`\eta` in :math:`W \leftarrow W - \eta \, \partial L / \partial W`.
    batch_size : int, default 256
        Pictures a step.
    scale : float, default 0.01
        Standard deviation of the initial weights.
    seed : int, default 0
        Seed of the initial weights and of the order of the pictures.
    progress : bool, default True
        Show a progress bar on the standard error stream.

    Returns
    -------
    Trained
        Parameters in the dtype of the pictures, and the history.

    Raises
    ------
    ValueError
        If the pictures and targets do not fit together, a target is no class, or an option is
        out of its range.

    Notes
    -----
    See the chapter ``regression``, claims ``thm-regression-gradient``,
    ``prop-regression-convex`` and ``prop-step-size``.

    Examples
    --------
    >>> from softmax_notes.data import load_digits
    >>> from softmax_notes.regression import train_by_hand
    >>> trained = train_by_hand(load_digits(), epochs=20, progress=False)
    >>> trained.history.test_accuracy[-1] > 0.9
    True
    """
    return _train(
        dataset, _step_by_hand, np.asarray,
        epochs=epochs, learning_rate=learning_rate, batch_size=batch_size,
        scale=scale, seed=seed, progress=progress,
    )  # fmt: skip


def train_autograd(
    dataset: Dataset,
    /,
    *,
    epochs: int = 100,
    learning_rate: float = 0.5,
    batch_size: int = 256,
    scale: float = 0.01,
    seed: int = 0,
    progress: bool = True,
) -> Trained:
    """Train softmax regression with PyTorch's loss and PyTorch's automatic derivatives.

    Nothing of this package's softmax or cross-entropy takes part in a step. Start, order of
    the pictures and step are those of `train_by_hand`, so both should take the same path.

    Parameters
    ----------
    dataset, epochs, learning_rate, batch_size, scale, seed, progress
        As in `train_by_hand`.

    Returns
    -------
    Trained
        As in `train_by_hand`.

    Raises
    ------
    ValueError
        As in `train_by_hand`.

    Notes
    -----
    See the chapter ``regression``, claim ``thm-regression-gradient``.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes.data import load_digits
    >>> from softmax_notes.regression import train_autograd, train_by_hand
    >>> options = {"epochs": 2, "progress": False}
    >>> by_hand = train_by_hand(load_digits(), **options)
    >>> automatic = train_autograd(load_digits(), **options)
    >>> np.allclose(by_hand.W, automatic.W, rtol=0, atol=1e-14)
    True
    """
    with needs("torch"):
        import torch

    return _train(
        dataset, _step_autograd, torch.tensor,
        epochs=epochs, learning_rate=learning_rate, batch_size=batch_size,
        scale=scale, seed=seed, progress=progress,
    )  # fmt: skip


def _step_by_hand(X: Any, target: Any, W: Any, b: Any, learning_rate: float) -> tuple[Any, Any]:
    grad = gradients(X, target, W, b)
    return W - learning_rate * grad.W, b - learning_rate * grad.b


def _step_autograd(X: Any, target: Any, W: Any, b: Any, learning_rate: float) -> tuple[Any, Any]:
    with needs("torch"):
        import torch

    W, b = (parameter.detach().requires_grad_() for parameter in (W, b))
    loss = torch.nn.functional.cross_entropy(X @ W + b, target)
    dW, db = torch.autograd.grad(loss, (W, b))
    return W.detach() - learning_rate * dW, b.detach() - learning_rate * db


def _train(
    dataset: Dataset,
    step: _Step,
    convert: Callable[[Any], Any],
    *,
    epochs: int,
    learning_rate: float,
    batch_size: int,
    scale: float,
    seed: int,
    progress: bool,
) -> Trained:
    """Run the loop that both trainings share; only the step and the library differ."""
    with needs("data"):
        from tqdm import tqdm

    _check(dataset, epochs, learning_rate)
    progress = flag(progress, "progress")
    n_features, n_classes, dtype = (
        dataset.X_train.shape[1],
        len(dataset.class_names),
        dataset.X_train.dtype,
    )
    start = initial_parameters(n_features, n_classes, scale=scale, seed=seed)
    W, b = (convert(parameter.astype(dtype)) for parameter in start)
    history = [_measured(dataset, W, b)]
    X, target = convert(dataset.X_train), convert(dataset.y_train.astype(np.int64))
    rng = np.random.default_rng([seed, 1])  # another stream than that of the weights
    for _ in tqdm(range(epochs), desc="epochs", file=sys.stderr, disable=not progress):
        for rows in minibatches(target.shape[0], batch_size, rng):
            W, b = step(X[rows], target[rows], W, b, learning_rate)
        history.append(_measured(dataset, W, b))
    columns = (list(column) for column in zip(*history, strict=True))
    return Trained(np.asarray(W), np.asarray(b), History(*columns))


def _measured(dataset: Dataset, W: Any, b: Any) -> tuple[float, float, float, float]:
    measured: list[float] = []
    for X, target in ((dataset.X_train, dataset.y_train), (dataset.X_test, dataset.y_test)):
        Z = logits(X, np.asarray(W), np.asarray(b))
        measured += [float(cross_entropy(Z, target)), accuracy(Z, target)]
    return measured[0], measured[1], measured[2], measured[3]


def _check(dataset: Dataset, epochs: int, learning_rate: float) -> None:
    """Check what no later call would."""
    if not isinstance(dataset, Dataset):
        raise TypeError(f"dataset must be a Dataset, got {type(dataset).__name__}")
    if whole(epochs, "epochs") < 0:
        raise ValueError(f"epochs must be at least 0, got {epochs}")
    if not 0 < number(learning_rate, "learning_rate") < float("inf"):
        raise ValueError(f"learning_rate must be a positive number, got {learning_rate!r}")
    for part in ("train", "test"):
        X, target = getattr(dataset, f"X_{part}"), getattr(dataset, f"y_{part}")
        if X.ndim != 2 or target.shape != X.shape[:1] or len(X) == 0:
            raise ValueError(
                f"X_{part} must be of shape (N, D) and y_{part} of shape (N,), with N at least "
                f"1, got {X.shape} and {target.shape}"
            )


def _counts(scores: Array, target: Array) -> tuple[int, int]:
    """Count the rows that are right, and all rows."""
    xp, (scores, target) = as_arrays(scores, target)
    if scores.ndim != 2 or scores.shape[1] == 0 or tuple(target.shape) != (scores.shape[0],):
        raise ValueError(
            "scores of shape (N, n) and targets of shape (N,) are needed, got "
            f"{tuple(scores.shape)} and {tuple(target.shape)}"
        )
    if not xp.isdtype(target.dtype, "integral"):
        raise ValueError(f"target must hold class indices, got {target.dtype}")
    right = xp.argmax(scores, axis=1) == target
    right = right & ~xp.any(xp.isnan(floating(xp, scores)), axis=1)
    return int(xp.count_nonzero(right)), target.shape[0]


def _batch(X: Array, W: Array, b: Array) -> tuple[Any, Array, Array, Array]:
    """Bring the arguments to one library and dtype, X to two axes; check the shapes."""
    xp, (X, W, b) = as_arrays(X, W, b)
    if X.ndim < 1 or W.ndim != 2 or tuple(b.shape) != (W.shape[1],):
        raise ValueError(
            "X of shape (N, ...), W of shape (D, n) and b of shape (n,) are needed, got "
            f"{tuple(X.shape)}, {tuple(W.shape)} and {tuple(b.shape)}"
        )
    size = int(np.prod(X.shape[1:], dtype=np.int64))
    if size != W.shape[0]:
        raise ValueError(f"each row of X has {size} features, but W has {W.shape[0]} rows")
    dtype = xp.result_type(floating(xp, W), floating(xp, b))
    if xp.isdtype(X.dtype, "real floating"):  # pixels that are integers adapt to the weights
        dtype = xp.result_type(X, dtype)
    return xp, *(xp.astype(a, dtype) for a in (xp.reshape(X, (X.shape[0], size)), W, b))


def _pairs(batches: Iterable[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
    if not isinstance(batches, Iterable):
        raise TypeError(f"batches must be pairs (X, target), got {type(batches).__name__}")
    for batch in batches:
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            raise TypeError(f"batches must hold pairs (X, target), got {batch!r:.80}")
        yield batch[0], batch[1]


@contextlib.contextmanager
def _evaluating(predict: Any) -> Iterator[None]:
    """Put a PyTorch module into evaluation mode, without gradients, and back into its modes."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(predict, torch.nn.Module):
        yield
        return
    modes = [(module, module.training) for module in predict.modules()]
    predict.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode
