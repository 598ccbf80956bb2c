r"""Huffman trees: frequent words near the root, rare ones far from it.

The two rarest words are joined under a new node, which counts as one word with their counts
added, and so on until one node is left: the root. A word's *code* is the way down to it. With
shares p of the counts, the expected length of the code is at least the entropy
:math:`H = -\sum_w p_w \log_2 p_w`, and less than H + 1.
"""

from __future__ import annotations

import heapq
from typing import Any, NamedTuple

import numpy as np

__all__ = ["HuffmanTree", "huffman_tree"]


class HuffmanTree(NamedTuple):
    """A binary tree whose leaves are n words, as `huffman_tree` returns it.

    Attributes
    ----------
    paths : ndarray of int64, shape (n, depth)
        For each word the inner nodes from the root, which is 0, down to its parent. The n - 1
        inner nodes are numbered from the last one made to the first. Past the end: 0.
    turns : ndarray of int8, shape (n, depth)
        Which way the path leaves each of these nodes: 1 or -1. Past the end: 0.

    Examples
    --------
    >>> from softmax_notes.huffman import huffman_tree
    >>> tree = huffman_tree([5, 2, 1])
    >>> tree.paths.tolist()
    [[0, 0], [0, 1], [0, 1]]
    >>> tree.lengths.tolist(), tree.codes
    ([1, 2, 2], ('0', '10', '11'))
    """

    paths: np.ndarray[Any, Any]
    turns: np.ndarray[Any, Any]

    @property
    def lengths(self) -> np.ndarray[Any, Any]:
        """Length of each word's path."""
        lengths: np.ndarray[Any, Any] = np.count_nonzero(self.turns, axis=1)
        return lengths

    @property
    def codes(self) -> tuple[str, ...]:
        """Each word's path in binary digits: 1 where it turns to the lighter side."""
        digits = {1: "1", -1: "0", 0: ""}
        return tuple("".join(digits[turn] for turn in row) for row in self.turns.tolist())


def huffman_tree(counts: object, /) -> HuffmanTree:
    """Build the Huffman tree of n words from how often each occurs.

    Parameters
    ----------
    counts : array_like of shape (n,)
        Finite, non-negative numbers, one for each word.

    Returns
    -------
    HuffmanTree
        The path to each word.

    Raises
    ------
    ValueError
        If counts is empty, not one-dimensional, or holds a number that is out of range.

    Notes
    -----
    Of equal counts the one that was there first goes first: words in their order, before nodes
    in the order they were made. So the same counts give the same tree everywhere, and of all
    best trees it is the one with the shortest longest path. Time is O(n log n), and the tables
    take n times the longest path. See the chapter ``vocabulary``, claim ``thm-code-length``.

    Examples
    --------
    >>> from softmax_notes.huffman import huffman_tree
    >>> huffman_tree([4, 3, 2, 1]).codes
    ('1', '01', '000', '001')
    """
    try:
        weights = np.asarray(counts)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged, or PyTorch's bfloat16
        raise TypeError(f"counts must be a row of numbers: {error}") from error
    if weights.ndim != 1 or len(weights) == 0:
        raise ValueError(f"counts must be a row of one number or more, got shape {weights.shape}")
    if weights.dtype.kind not in "biuf" or not np.all((weights >= 0) & (weights < np.inf)):
        raise ValueError(f"counts must be finite numbers from 0 on, got {counts!r}")
    return _tables(*_joined(weights.tolist()))


def _joined(weights: list[float]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Join the two lightest until one is left; give each node's parent, and its side: ±1.

    Words are 0 to n - 1, nodes follow as they are made; the root, the last, is its own parent.
    """
    n = len(weights)
    parent, side = np.zeros(2 * n - 1, dtype=np.int64), np.zeros(2 * n - 1, dtype=np.int8)
    heap = [(weight, word) for word, weight in enumerate(weights)]
    heapq.heapify(heap)
    for node in range(n, 2 * n - 1):
        light, first = heapq.heappop(heap)
        heavy, second = heap[0]
        heapq.heapreplace(heap, (light + heavy, node))
        parent[first] = parent[second] = node
        side[first], side[second] = 1, -1
    parent[-1] = 2 * n - 2
    return parent, side


def _tables(parent: np.ndarray[Any, Any], side: np.ndarray[Any, Any]) -> HuffmanTree:
    """Climb from all words at once, a step at a time, and write the paths from the root on."""
    root, n = len(parent) - 1, (len(parent) + 1) // 2
    at, steps = np.arange(n), []
    while np.any(at != root):
        steps.append((at, parent[at]))
        at = parent[at]
    lengths = sum((below != root for below, _ in steps), np.zeros(n, dtype=np.int64))
    shape = (n, len(steps))
    paths, turns = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int8)
    for step, (below, above) in enumerate(steps):
        (rows,) = np.nonzero(below != root)
        column = lengths[rows] - 1 - step
        paths[rows, column], turns[rows, column] = root - above[rows], side[below[rows]]
    return HuffmanTree(paths, turns)
