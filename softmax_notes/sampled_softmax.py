r"""Losses for long lists of classes that look at a few classes only, drawn at random.

Cross-entropy needs the sum :math:`Z = \sum_k e^{z_k}` over all n classes. With m classes
:math:`s_1, \dots, s_m` drawn from a distribution q that we choose, two ways around it:

*Sampled softmax* estimates Z. A class that is drawn often must count less each time:
:math:`e^{z_s} / (m q_s) = e^{z_s - \log(m q_s)}`. Minus log q, never plus.

*Noise-contrastive estimation* (NCE) does without Z. It tells the class that came with the data
from those drawn, by the logistic sigmoid of :math:`z - \log(m q)`.

A distribution to draw from is called the proposal, or the noise.
"""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import device

from softmax_notes._arrays import (
    Array,
    as_arrays,
    cast,
    flag,
    floating,
    holds,
    number,
    real_numbers,
    rounded,
    whole,
    widened,
    working,
)
from softmax_notes._losses import check_one_a_class
from softmax_notes.definition import log_softmax

__all__ = ["Proposal", "log_sigmoid", "nce_loss", "sampled_logits", "sampled_softmax_loss"]


class Proposal:
    """A distribution over n classes to draw from, with its logarithm.

    Parameters
    ----------
    weights : array_like of shape (n,)
        Finite, positive numbers; the probabilities are proportional to them.

    Attributes
    ----------
    q : ndarray of float64, shape (n,)
        The probabilities.
    log_q : ndarray of float64, shape (n,)
        Their logarithms.

    Raises
    ------
    ValueError
        If weights is empty or not one-dimensional, or holds a number that is out of range. A
        class of probability 0 would never be drawn, and no estimate could make up for it.

    Notes
    -----
    Drawing is a binary search in the running sums of q. See the chapter ``vocabulary``, claim
    ``prop-sampled-denominator``.

    Examples
    --------
    >>> from softmax_notes.sampled_softmax import Proposal
    >>> Proposal([2, 1, 1]).q
    array([0.5 , 0.25, 0.25])
    >>> Proposal.log_uniform(3).q.round(4)
    array([0.5   , 0.2925, 0.2075])
    """

    def __init__(self, weights: object) -> None:
        w = real_numbers(weights, "weights")
        if w.ndim != 1 or not len(w) or not np.all((w > 0) & (w < np.inf)):
            raise ValueError(
                "weights, or counts to a power, must be a row of finite, positive numbers, one at "
                f"least, got {weights!r:.80}"
            )
        w = w / w.max()
        self.q = w / w.sum()
        self.log_q = np.log(self.q)
        self._cumulative = np.cumsum(self.q)

    @classmethod
    def uniform(cls, n: int) -> Proposal:
        """Draw each of n classes equally often."""
        return cls(np.ones(_classes(n)))

    @classmethod
    def log_uniform(cls, n: int) -> Proposal:
        """Draw class r = 0, 1, … in proportion to log((r + 2)/(r + 1)), about 1/(r + 1).

        That is Zipf's law for words in the order of their frequency; no counts are needed.
        """
        return cls(np.log1p(1 / np.arange(1, _classes(n) + 1)))

    @classmethod
    def unigram(cls, counts: object, power: float = 1.0) -> Proposal:
        """Draw each class in proportion to its count, to some power (word2vec takes 3/4)."""
        power = number(power, "power")
        with np.errstate(all="ignore"):  # what is past the largest number is refused
            return cls(real_numbers(counts, "counts") ** power)

    def sample(self, size: int | tuple[int, ...], rng: np.random.Generator) -> Any:
        """Draw classes, with replacement: an ndarray of int64 of that shape."""
        if not isinstance(rng, np.random.Generator):
            raise TypeError(f"rng must be a numpy.random.Generator, got {type(rng).__name__}")
        lengths = [whole(n, "size") for n in (size if isinstance(size, tuple) else (size,))]
        if min(lengths, default=0) < 0:
            raise ValueError(f"size must be a length, or lengths, from 0 on, got {size}")
        try:
            at = rng.random(size) * self._cumulative[-1]
        except ValueError as error:  # more than an array can hold
            raise ValueError(f"size {size} is too large: {error}") from error
        return np.minimum(np.searchsorted(self._cumulative, at, side="right"), len(self.q) - 1)


def _classes(n: int) -> int:
    if (size := whole(n, "n")) < 1:
        raise ValueError(f"n must be at least 1, got {size}")
    if size >= 2**59:  # past the longest array there is
        raise ValueError(f"n must be a length that an array can have, got {size}")
    return size


def log_sigmoid(z: Array, /) -> Array:
    r"""Logarithm of the logistic sigmoid, :math:`\log \sigma(z) = -\log(1 + e^{-z})`.

    Parameters
    ----------
    z : array
        Any real numbers; dtypes as in `softmax`.

    Returns
    -------
    array
        Numbers from -inf to 0, of the shape and dtype of z. Nothing overflows, and a result
        near 0 keeps its digits.

    Raises
    ------
    TypeError
        As in `softmax`.

    Notes
    -----
    It is log_softmax of (z, 0), first entry. See the chapter ``vocabulary``, claim
    ``thm-leaves``.

    Examples
    --------
    >>> from softmax_notes.sampled_softmax import log_sigmoid
    >>> log_sigmoid([-1000.0, 0.0, 40.0])
    array([-1.00000000e+03, -6.93147181e-01, -4.24835426e-18])
    """
    xp, z, dtype = widened(z)
    # Written with one maximum, whose derivative at 0 every library halves: 1/2 is right there.
    return rounded(xp, -xp.maximum(-z, xp.zeros_like(z)) - xp.log1p(xp.exp(-xp.abs(z))), dtype)


def sampled_logits(
    X: Array,
    W: Array,
    target: Array,
    samples: Array,
    log_q: Array,
    /,
    *,
    bias: Array | None = None,
    remove_hits: bool = True,
) -> Array:
    r"""Logits of the target and of m drawn classes, corrected by :math:`-\log(m q)`.

    Parameters
    ----------
    X : array of shape (N, D)
        Rows of features.
    W : array of shape (n, D)
        One row for each class.
    target : array of integers, shape (N,)
        The class of each row of X.
    samples : array of integers, shape (m,)
        Classes drawn from q with replacement; all rows share them.
    log_q : array of shape (n,)
        Logarithm of the probability of drawing each class.
    bias : array of shape (n,), optional
        A number added to each class's logit.
    remove_hits : bool, default True
        Whether a drawn class that is the row's own target gets the logit -inf.

    Returns
    -------
    array of shape (N, 1 + m)
        The target's logit as it is, then the corrected ones of the drawn classes. In the dtype
        of X.

    Raises
    ------
    TypeError
        If an argument is no array of real numbers, or libraries are mixed.
    ValueError
        If the shapes do not fit, no class was drawn, or a class is out of range.

    Notes
    -----
    With hits removed, the expected sum of the exponentials of a row is its
    :math:`Z = \sum_k e^{z_k}`, whatever q is: see the chapter ``vocabulary``, claim
    ``prop-sampled-denominator``.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes.sampled_softmax import sampled_logits
    >>> X, W = [[1.0]], [[2.0], [1.0], [0.0]]
    >>> sampled_logits(X, W, [0], [1, 0], np.log([0.5, 0.25, 0.25]))
    array([[2.        , 1.69314718,       -inf]])
    """
    given = _checked(X, W, target, samples, log_q, bias)
    logits = _logits(given, flag(remove_hits, "remove_hits"))
    return rounded(given.xp, logits, given.dtype)


def sampled_softmax_loss(
    X: Array,
    W: Array,
    target: Array,
    samples: Array,
    log_q: Array,
    /,
    *,
    bias: Array | None = None,
    remove_hits: bool = True,
) -> Array:
    r"""Cross-entropy with the sum over all classes estimated from m drawn ones.

    Parameters
    ----------
    X, W, target, samples, log_q, bias, remove_hits
        As in `sampled_logits`.

    Returns
    -------
    array of shape (N,)
        The loss of each row, :math:`\log \hat Z - z_t`, in the dtype of X. Its derivative by
        the logits is importance sampling of the full gradient, with weights that are made to
        sum to 1.

    Raises
    ------
    TypeError, ValueError
        As in `sampled_logits`.

    Notes
    -----
    The estimate of Z is unbiased, its logarithm and the gradient are not: both come out wrong
    by a multiple of 1/m, and the loss too small. See the chapter ``vocabulary``, claims
    ``prop-sampled-denominator`` and ``prop-sampled-bias``.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes.sampled_softmax import sampled_softmax_loss
    >>> X, W, q = [[1.0]], [[2.0], [1.0], [0.0]], [0.5, 0.25, 0.25]
    >>> sampled_softmax_loss(X, W, [0], [1, 2, 1, 1], np.log(q)).round(4)
    array([0.806])
    """
    given = _checked(X, W, target, samples, log_q, bias)
    logits = _logits(given, flag(remove_hits, "remove_hits"))
    return rounded(given.xp, -log_softmax(logits)[:, 0], given.dtype)


def nce_loss(
    X: Array,
    W: Array,
    target: Array,
    samples: Array,
    log_q: Array,
    /,
    *,
    bias: Array | None = None,
) -> Array:
    r"""Noise-contrastive estimation: is it from the data, or one of m drawn from q.

    Parameters
    ----------
    X, W, target, samples, log_q, bias
        As in `sampled_logits`.

    Returns
    -------
    array of shape (N,)
        The loss of each row, in the dtype of X:
        :math:`-\log \sigma(z_t - \log m q_t) - \sum_j \log \sigma(\log m q_{s_j} - z_{s_j})`.

    Raises
    ------
    TypeError, ValueError
        As in `sampled_logits`.

    Notes
    -----
    The logits are taken for logarithms of probabilities as they stand; nothing makes them sum
    to 1 but the training. A drawn class that is the target stays: noise hits it too. See the
    chapter ``vocabulary``, claims ``thm-nce-gradient`` and ``cor-nce-limit``.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes.sampled_softmax import nce_loss
    >>> q = [0.5, 0.25, 0.25]
    >>> nce_loss([[1.0]], np.log([[0.5], [0.3], [0.2]]), [0], [1, 2], np.log(q)).round(4)
    array([1.9051])
    """
    given = _checked(X, W, target, samples, log_q, bias)
    xp, logits = given.xp, _logits(given, remove_hits=False)
    own = logits[:, 0] - _log_expected(given, given.target)
    loss = -log_sigmoid(own) - xp.sum(log_sigmoid(-logits[:, 1:]), axis=-1)
    return rounded(xp, loss, given.dtype)


class _Given(NamedTuple):
    """The arguments in one library, those that are no classes in the working precision."""

    xp: ModuleType
    X: Array
    W: Array
    target: Array
    samples: Array
    log_q: Array
    bias: Array | None
    dtype: object  # of the result


def _checked(
    X: Array, W: Array, target: Array, samples: Array, log_q: Array, bias: Array | None
) -> _Given:
    given = [X, W, target, samples, log_q] + ([] if bias is None else [bias])
    xp, (X, W, target, samples, log_q, *rest) = as_arrays(*given)
    X, W = floating(xp, X), floating(xp, W)
    if X.ndim != 2 or W.ndim != 2 or X.shape[1] != W.shape[1] or X.shape[:1] != target.shape:
        raise ValueError(
            "X, W and target must have the shapes (N, D), (n, D) and (N,), got "
            f"{tuple(X.shape)}, {tuple(W.shape)} and {tuple(target.shape)}"
        )
    n = W.shape[0]
    for name, vector in (("log_q", log_q), *(("bias", b) for b in rest)):
        check_one_a_class(name, vector.shape, n)
    if samples.ndim != 1 or samples.shape[0] == 0:
        raise ValueError(f"samples must be a row of one class or more, got {samples.shape}")
    for name, classes in (("target", target), ("samples", samples)):
        if not xp.isdtype(classes.dtype, "integral"):
            raise ValueError(f"{name} must hold class indices, got dtype {classes.dtype}")
    # Before they are compared: PyTorch compares no unsigned numbers. Past 63 bits is below 0.
    index = xp.arange(1, device=device(X)).dtype
    target, samples = xp.astype(target, index), xp.astype(samples, index)
    for name, classes in (("target", target), ("samples", samples)):
        if holds(xp.any((classes < 0) | (classes >= n))):
            raise ValueError(f"{name} must be from 0 to {n - 1}")
    dtype, X, W = X.dtype, working(xp, X), working(xp, W)
    log_q, *rest = (cast(xp, v, X.dtype) for v in (log_q, *rest))
    return _Given(xp, X, W, target, samples, log_q, rest[0] if rest else None, dtype)


def _log_expected(given: _Given, classes: Array) -> Array:
    """Give the logarithm of how often each of the classes is drawn on average, log(m q)."""
    return given.xp.take(given.log_q, classes) + math.log(given.samples.shape[0])


def _logits(given: _Given, remove_hits: bool) -> Array:
    xp, X, W, target, samples, _, bias, _ = given
    own = xp.sum(X * xp.take(W, target, axis=0), axis=-1, keepdims=True)
    drawn = X @ xp.matrix_transpose(xp.take(W, samples, axis=0)) - _log_expected(given, samples)
    if bias is not None:
        own, drawn = own + xp.take(bias, target)[:, None], drawn + xp.take(bias, samples)
    if remove_hits:
        drawn = xp.where(target[:, None] == samples, -xp.inf, drawn)
    return xp.concat([own, drawn], axis=-1)
