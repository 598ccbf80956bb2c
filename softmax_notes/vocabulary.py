r"""Softmax over many classes at a lower price: trees and clusters.

*Hierarchical softmax*: the classes are the leaves of a binary tree with n - 1 inner nodes, each
with a vector v and the score :math:`s = x \cdot v`. At a node one turns one way with
probability :math:`\sigma(s)` and the other way with :math:`\sigma(-s)`; a class has the product
along its path. With the turns :math:`\tau = \pm 1` on the path,

.. math:: \log p_t = \sum_{\text{nodes on the path}} \log \sigma(\tau s), \qquad
   \frac{\partial (-\log p_t)}{\partial s} = \sigma(s) - \tfrac{1 + \tau}{2} .

*Adaptive softmax*: the frequent classes and a few clusters of rare ones share one softmax, the
head; inside each cluster there is another. It too multiplies along a path, of two steps at most.

The chapter's other ways have modules of their own: `softmax_notes.sampled_softmax` and
`softmax_notes.linear_cross_entropy`.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import NamedTuple

from array_api_compat import device

from softmax_notes._arrays import Array, as_arrays, floating, holds, rounded, working
from softmax_notes.definition import log_softmax
from softmax_notes.huffman import HuffmanTree
from softmax_notes.sampled_softmax import log_sigmoid

__all__ = [
    "PathGradient",
    "adaptive_log_prob",
    "adaptive_log_softmax",
    "hierarchical_grad",
    "hierarchical_log_prob",
    "hierarchical_log_softmax",
]


def hierarchical_log_prob(X: Array, nodes: Array, tree: HuffmanTree, target: Array, /) -> Array:
    r"""Logarithm of the probability of one class for each row: only its path is computed.

    Parameters
    ----------
    X : array of shape (N, D)
        Rows of features.
    nodes : array of shape (n - 1, D)
        One vector for each inner node of the tree.
    tree : HuffmanTree
        The path to each of the n classes.
    target : array of integers, shape (N,)
        A class for each row.

    Returns
    -------
    array of shape (N,)
        Logarithms of probabilities, in the dtype of X.

    Raises
    ------
    TypeError
        If an argument is no array of real numbers, or libraries are mixed.
    ValueError
        If the shapes do not fit, or a class is out of range.

    Notes
    -----
    The work for a row is the length of the longest path times D. The logarithm of a product
    of many small numbers is added up, never multiplied. See the chapter ``vocabulary``, claims
    ``thm-leaves`` and ``thm-code-length``.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes.huffman import huffman_tree
    >>> from softmax_notes.vocabulary import hierarchical_log_prob
    >>> tree = huffman_tree([2, 1, 1])
    >>> log_p = hierarchical_log_prob(np.ones((3, 1)), [[0.0], [0.0]], tree, [0, 1, 2])
    >>> np.exp(log_p)
    array([0.5 , 0.25, 0.25])
    """
    xp, X, nodes, target = _checked(X, nodes, tree, target)
    scores, turns, _ = _path(xp, X, nodes, tree, target)
    return rounded(xp, _along(xp, scores, turns), X.dtype)


def hierarchical_log_softmax(X: Array, nodes: Array, tree: HuffmanTree, /) -> Array:
    r"""Logarithms of the probabilities of all n classes: no cheaper than softmax.

    Parameters
    ----------
    X, nodes, tree
        As in `hierarchical_log_prob`.

    Returns
    -------
    array of shape (N, n)
        Logarithms of probabilities, in the dtype of X.

    Raises
    ------
    TypeError, ValueError
        As in `hierarchical_log_prob`.

    Notes
    -----
    The probabilities of a row sum to 1: see the chapter ``vocabulary``, claim ``thm-leaves``.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes.huffman import huffman_tree
    >>> from softmax_notes.vocabulary import hierarchical_log_softmax
    >>> p = np.exp(hierarchical_log_softmax([[1.0]], [[1.0], [-2.0]], huffman_tree([2, 1, 1])))
    >>> p.round(4), p.sum().round(4)
    (array([[0.7311, 0.0321, 0.2369]]), np.float64(1.0))
    """
    xp, X, nodes, _ = _checked(X, nodes, tree, None)
    scores = _scores(xp, X, nodes)
    total = xp.zeros((X.shape[0], tree.turns.shape[0]), dtype=scores.dtype, device=device(X))
    for path, turn in zip(tree.paths.T, tree.turns.T, strict=True):  # all leaves, one level down
        at = xp.asarray(path, device=device(X))
        turns = xp.asarray(turn, dtype=scores.dtype, device=device(X))
        step = log_sigmoid(turns * xp.take(scores, at, axis=1))
        total = total + xp.where(turns == 0, 0.0, step)
    return rounded(xp, total, X.dtype)


class PathGradient(NamedTuple):
    """The gradient of a sum of -log p, as `hierarchical_grad` returns it.

    Attributes
    ----------
    X : array of shape (N, D)
        By the features.
    scores : array of shape (N, depth)
        By the score of each node on the path: sigmoid minus what it should have been, 0 past
        the end. Node ``tree.paths[target][r, k]`` gets this number times row r of X.

    Examples
    --------
    >>> from softmax_notes.huffman import huffman_tree
    >>> from softmax_notes.vocabulary import hierarchical_grad
    >>> hierarchical_grad([[1.0]], [[0.0], [0.0]], huffman_tree([2, 1, 1]), [1]).scores
    array([[ 0.5, -0.5]])
    """

    X: Array
    scores: Array


def hierarchical_grad(X: Array, nodes: Array, tree: HuffmanTree, target: Array, /) -> PathGradient:
    r"""Gradient of the sum over the rows of -log p: prediction minus target, node by node.

    Parameters
    ----------
    X, nodes, tree, target
        As in `hierarchical_log_prob`.

    Returns
    -------
    PathGradient
        By X, and by the scores of the nodes on each row's path.

    Raises
    ------
    TypeError, ValueError
        As in `hierarchical_log_prob`.

    Notes
    -----
    See the chapter ``vocabulary``, claim ``prop-path-gradient``.

    Examples
    --------
    >>> from softmax_notes.huffman import huffman_tree
    >>> from softmax_notes.vocabulary import hierarchical_grad
    >>> hierarchical_grad([[1.0]], [[3.0], [1.0]], huffman_tree([2, 1, 1]), [1]).X.round(4)
    array([[2.5888]])
    """
    xp, X, nodes, target = _checked(X, nodes, tree, target)
    scores, turns, vectors = _path(xp, X, nodes, tree, target)
    # σ(s) − 1 for a turn of 1 and σ(s) for −1 are both −τ σ(−τs): nothing cancels.
    by_scores = -turns * xp.exp(log_sigmoid(-turns * scores))
    by_X = xp.sum(by_scores[..., None] * vectors, axis=1)
    return PathGradient(rounded(xp, by_X, X.dtype), rounded(xp, by_scores, X.dtype))


def adaptive_log_softmax(X: Array, head: Array, tails: Sequence[tuple[Array, Array]], /) -> Array:
    r"""Logarithms of the probabilities of all n classes under adaptive softmax.

    Parameters
    ----------
    X : array of shape (N, D)
        Rows of features.
    head : array of shape (c + number of tails, D)
        One row for each of the c frequent classes, then one for each tail.
    tails : sequence of pairs of arrays
        For each tail a projection of shape (h, D) and one row for each of its classes, of
        shape (size, h). The classes are numbered through: head first, then tail after tail.

    Returns
    -------
    array of shape (N, n)
        Logarithms of probabilities, in the dtype of X.

    Raises
    ------
    TypeError
        If an argument is no array of real numbers, or libraries are mixed.
    ValueError
        If the shapes do not fit.

    Notes
    -----
    The numbers of ``torch.nn.AdaptiveLogSoftmaxWithLoss.log_prob``, whose weights are named
    ``head.weight`` and ``tail[i][0].weight``, ``tail[i][1].weight``. See the chapter
    ``vocabulary``, claim ``prop-adaptive``.

    Examples
    --------
    Two frequent classes, and a tail of two that share the third part:

    >>> import numpy as np
    >>> from softmax_notes.vocabulary import adaptive_log_softmax
    >>> tails = [(np.ones((1, 1)), np.zeros((2, 1)))]
    >>> np.exp(adaptive_log_softmax([[1.0]], np.zeros((3, 1)), tails)).round(4)
    array([[0.3333, 0.3333, 0.1667, 0.1667]])
    """
    xp, X, head, tails = _checked_clusters(X, head, tails)
    top = log_softmax(_scores(xp, X, head))
    first = head.shape[0] - len(tails)
    parts = [top[:, :first]]
    for k, tail in enumerate(tails):
        parts.append(top[:, first + k, None] + log_softmax(_scores(xp, X, *tail)))
    return rounded(xp, xp.concat(parts, axis=-1), X.dtype)


def adaptive_log_prob(
    X: Array, head: Array, tails: Sequence[tuple[Array, Array]], target: Array, /
) -> Array:
    r"""Logarithm of the probability of one class for each row: the head, and one tail at most.

    Parameters
    ----------
    X, head, tails
        As in `adaptive_log_softmax`.
    target : array of integers, shape (N,)
        A class for each row.

    Returns
    -------
    array of shape (N,)
        Logarithms of probabilities, in the dtype of X.

    Raises
    ------
    TypeError
        As in `adaptive_log_softmax`.
    ValueError
        If the shapes do not fit, or a class is out of range.

    Notes
    -----
    A tail is computed only for the rows whose target lies in it. How many those are depends on
    values, so this function needs arrays that are there: not Dask, not inside ``jax.jit``. See
    the chapter ``vocabulary``, claim ``prop-adaptive``.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes.vocabulary import adaptive_log_prob
    >>> tails = [(np.ones((1, 1)), np.zeros((2, 1)))]
    >>> np.exp(adaptive_log_prob([[1.0], [1.0]], np.zeros((3, 1)), tails, [0, 3])).round(4)
    array([0.3333, 0.1667])
    """
    xp, X, head, tails = _checked_clusters(X, head, tails)
    first = head.shape[0] - len(tails)
    sizes = [first, *(words.shape[0] for _, words in tails)]
    target = _checked_target(xp, X, target, sum(sizes))
    start, rows, parts = 0, [], []
    for k, size in enumerate(sizes):
        (here,) = xp.nonzero((target >= start) & (target < start + size))
        x, inside = xp.take(X, here, axis=0), xp.take(target, here) - start
        top = log_softmax(_scores(xp, x, head))
        if k == 0:
            parts.append(_picked(xp, top, inside))
        else:
            tail = log_softmax(_scores(xp, x, *tails[k - 1]))
            parts.append(top[:, first + k - 1] + _picked(xp, tail, inside))
        rows.append(here)
        start += size
    back = xp.argsort(xp.concat(rows))
    return rounded(xp, xp.take(xp.concat(parts), back), X.dtype)


def _picked(xp: ModuleType, table: Array, column: Array) -> Array:
    """One entry of each row."""
    hit = xp.arange(table.shape[1], device=device(table)) == column[:, None]
    return xp.sum(xp.where(hit, table, 0.0), axis=-1)


def _scores(xp: ModuleType, X: Array, *layers: Array) -> Array:
    """Multiply by one matrix after the other, in the working precision."""
    X = working(xp, X)
    for layer in layers:
        X = X @ xp.matrix_transpose(working(xp, layer))
    return X


def _path(
    xp: ModuleType, X: Array, nodes: Array, tree: HuffmanTree, target: Array
) -> tuple[Array, Array, Array]:
    """Scores on each row's path, its turns, and the vectors of its nodes."""
    X, nodes = working(xp, X), working(xp, nodes)
    # The rows first: converting a whole table would cost time in proportion to n.
    paths, turns = (xp.take(xp.asarray(t, device=device(X)), target, axis=0) for t in tree)
    turns = xp.astype(turns, X.dtype)
    vectors = xp.take(nodes, xp.reshape(paths, (-1,)), axis=0)
    vectors = xp.reshape(vectors, (*paths.shape, X.shape[1]))
    return xp.sum(X[:, None, :] * vectors, axis=-1), turns, vectors


def _along(xp: ModuleType, scores: Array, turns: Array) -> Array:
    """Add the logarithms of the turns along the path."""
    return xp.sum(xp.where(turns == 0, 0.0, log_sigmoid(turns * scores)), axis=-1)


def _checked(
    X: Array, nodes: Array, tree: HuffmanTree, target: Array | None
) -> tuple[ModuleType, Array, Array, Array | None]:
    given = [X, nodes] if target is None else [X, nodes, target]
    xp, (X, nodes, *_) = as_arrays(*given)
    if not isinstance(tree, HuffmanTree):
        raise TypeError(f"tree must be a HuffmanTree, got {type(tree).__name__}")
    X, nodes, n = floating(xp, X), floating(xp, nodes), len(tree.turns)
    if X.ndim != 2 or tuple(nodes.shape) != (n - 1, X.shape[1]):
        raise ValueError(
            f"X and nodes must have the shapes (N, D) and (n - 1, D), with n = {n} leaves of the "
            f"tree; got {tuple(X.shape)} and {tuple(nodes.shape)}"
        )
    return xp, X, nodes, None if target is None else _checked_target(xp, X, target, n)


def _checked_clusters(
    X: Array, head: Array, tails: Sequence[tuple[Array, Array]]
) -> tuple[ModuleType, Array, Array, list[tuple[Array, Array]]]:
    if not isinstance(tails, Sequence) or not all(isinstance(tail, Sequence) for tail in tails):
        raise TypeError(f"tails must hold pairs (projection, classes), got {tails!r:.80}")
    if not all(len(tail) == 2 for tail in tails):
        raise ValueError(f"tails must hold pairs (projection, classes), got {tails!r:.80}")
    xp, (X, head, *flat) = as_arrays(X, head, *(array for tail in tails for array in tail))
    X, head, *flat = (floating(xp, array) for array in (X, head, *flat))
    pairs = list(zip(flat[::2], flat[1::2], strict=True))
    fits = X.ndim == head.ndim == 2 and head.shape[1] == X.shape[1] and head.shape[0] >= len(pairs)
    for projection, words in pairs:
        fits = fits and projection.ndim == words.ndim == 2
        fits = fits and projection.shape == (words.shape[1], X.shape[1])
    if not fits:
        shapes = [tuple(array.shape) for array in (X, head, *flat)]
        raise ValueError(
            "X, head, and a projection and the classes of each tail must have the shapes (N, D), "
            f"(c + number of tails, D), (h, D) and (size, h); got {shapes}"
        )
    return xp, X, head, pairs


def _checked_target(xp: ModuleType, X: Array, target: Array, n: int) -> Array:
    _, (_, target) = as_arrays(X, target)
    if not xp.isdtype(target.dtype, "integral") or tuple(target.shape) != (X.shape[0],):
        raise ValueError(
            f"target must hold one class index for each of the {X.shape[0]} rows of X, got dtype "
            f"{target.dtype} and shape {tuple(target.shape)}"
        )
    if holds(xp.any((target < 0) | (target >= n))):
        raise ValueError(f"target must be from 0 to {n - 1}")
    return xp.astype(target, xp.arange(1, device=device(X)).dtype)
