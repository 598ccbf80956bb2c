"""Proofs for the chapter ``vocabulary``: each function returns a residual, 0 if proved."""

from __future__ import annotations

from collections.abc import Sequence

import sympy as sp

from softmax_notes.symbolic import lumped, reduced, scores
from softmax_notes.symbolic._arguments import at_least, symbols, whole

__all__ = [
    "adaptive_residual",
    "chunk_residual",
    "deleted_leaf_ratio",
    "leaves_residual",
    "nce_gradient_residual",
    "nce_limit_residual",
    "path_gradient_residual",
    "sampled_denominator_residual",
    "sampled_gradient_residual",
    "split_residual",
]


def split_residual() -> sp.Expr:
    r"""Give what the two branches of a node get together, minus what the node has.

    Claim ``thm-leaves``, the step of the induction. With w = e^s, σ(s) = w / (1 + w).

    Examples
    --------
    >>> from softmax_notes.symbolic import vocabulary
    >>> vocabulary.split_residual()
    0
    """
    w, above = sp.symbols("w P", positive=True)
    return reduced(above * w / (1 + w) + above * (1 / w) / (1 + 1 / w) - above)


def leaves_residual(codes: Sequence[str]) -> sp.Expr:
    """Sum of the probabilities of all leaves minus 1, for one tree written out.

    Claim ``thm-leaves``. A code spells the path to a leaf in binary digits; each inner node has
    a weight of its own.

    Examples
    --------
    >>> from softmax_notes.symbolic import vocabulary
    >>> vocabulary.leaves_residual(["0", "10", "11"])
    0
    """
    if not isinstance(codes, list | tuple) or not all(isinstance(code, str) for code in codes):
        raise TypeError(f"codes must be a list of words, got {codes!r:.80}")
    total = sp.Integer(0)
    for code in codes:
        p = sp.Integer(1)
        for depth, digit in enumerate(code):
            w = sp.Symbol(f"w_{code[:depth] or 'root'}", positive=True)
            p *= w / (1 + w) if digit == "1" else 1 / (1 + w)
        total += p
    return reduced(total - 1)


def path_gradient_residual(turn: int) -> sp.Expr:
    """Differentiate −log σ(τs) by s and subtract σ(s) − (1 + τ)/2, for τ = 1 or −1.

    Claim ``prop-path-gradient``.

    Examples
    --------
    >>> from softmax_notes.symbolic import vocabulary
    >>> vocabulary.path_gradient_residual(1), vocabulary.path_gradient_residual(-1)
    (0, 0)
    """
    if abs(whole(turn, "turn")) != 1:
        raise ValueError(f"turn must be 1 or -1, got {turn}")
    (s,) = scores(1, "s")
    loss = sp.log(1 + sp.exp(-turn * s))
    claimed = sp.exp(s) / (1 + sp.exp(s)) - sp.Rational(1 + turn, 2)
    return reduced(sp.diff(loss, s) - claimed, sp.Matrix([s]))


def sampled_denominator_residual(n: int, sign: int = -1) -> sp.Expr:
    r"""Subtract the sum over all n classes from the expected estimate; class 1 is the target.

    Claim ``prop-sampled-denominator``. All m draws have one distribution, so the expectation is
    that of m times one of them: the target's term and :math:`m \sum_s q_s \, e^{z_s} (m q_s)^{-1}`
    over the others. With sign 1 the correction is added instead, and the residual is not 0.

    Examples
    --------
    >>> from softmax_notes.symbolic import vocabulary
    >>> vocabulary.sampled_denominator_residual(4)
    0
    >>> vocabulary.sampled_denominator_residual(4, sign=1) == 0
    False
    """
    if abs(whole(sign, "sign")) != 1:
        raise ValueError(f"sign must be 1 or -1, got {sign}")
    w, q = symbols(n, "w", positive=True), symbols(n, "q", positive=True)
    m = sp.Symbol("m", positive=True)
    drawn = sum(m * q[s] * w[s] * (m * q[s]) ** sign for s in range(1, n))
    return reduced(w[0] + drawn - sum(w))


def sampled_gradient_residual(draws: int) -> sp.Matrix:
    r"""Differentiate log Ẑ by the drawn logits and subtract the shares of their weights.

    Claim ``prop-sampled-bias``: the gradient is a mean with the weights
    :math:`e^{z_s} / (m q_s)`, made to sum to 1.

    Examples
    --------
    >>> from softmax_notes.symbolic import vocabulary
    >>> vocabulary.sampled_gradient_residual(3).T
    Matrix([[0, 0, 0]])
    """
    draws = at_least(1, draws, "draws")
    z = scores(draws + 1, "z")  # the target's, then the drawn ones
    q, m = symbols(draws, "q", positive=True), sp.Symbol("m", positive=True)
    weights = [sp.exp(z[0])] + [sp.exp(z[s + 1]) / (m * q[s]) for s in range(draws)]
    log_estimate = sp.log(sum(weights))
    rows = [sp.diff(log_estimate, z[s]) - weights[s] / sum(weights) for s in range(1, draws + 1)]
    return reduced(sp.Matrix(rows), z)


def _nce_gradient() -> tuple[sp.Expr, sp.Expr, tuple[sp.Symbol, ...]]:
    """Differentiate NCE's expected loss by one logit z = log p; also the claim, and d, p, m q."""
    (z,) = scores(1, "z")
    d, p, mq = sp.symbols("d p c", positive=True)
    sigmoid = 1 / (1 + sp.exp(-(z - sp.log(mq))))
    # The class comes from the data with probability d, and as noise m q times on average.
    expected = -d * sp.log(sigmoid) - mq * sp.log(1 - sigmoid)
    return sp.diff(expected, z).subs(z, sp.log(p)), (p - d) * mq / (p + mq), (d, p, mq)


def nce_gradient_residual() -> sp.Expr:
    """Differentiate NCE's expected loss by one logit and subtract (p − d) · mq / (p + mq).

    Claim ``thm-nce-gradient``: p is e^z, d the share of the class in the data.

    Examples
    --------
    >>> from softmax_notes.symbolic import vocabulary
    >>> vocabulary.nce_gradient_residual()
    0
    """
    found, claimed, _ = _nce_gradient()
    return reduced(found - claimed)


def nce_limit_residual() -> sp.Expr:
    """Limit of NCE's gradient for many draws, minus p − d.

    Claim ``cor-nce-limit``.

    Examples
    --------
    >>> from softmax_notes.symbolic import vocabulary
    >>> vocabulary.nce_limit_residual()
    0
    """
    found, _, (d, p, mq) = _nce_gradient()
    return sp.simplify(sp.limit(sp.cancel(found), mq, sp.oo) - (p - d))


def adaptive_residual() -> sp.Expr:
    """Sum over all classes under adaptive softmax minus 1, for two tails of any sizes.

    Claim ``prop-adaptive``. The head's softmax has two named entries, the tails, and lumps its
    words; each tail has one named class and lumps the others.

    Examples
    --------
    >>> from softmax_notes.symbolic import vocabulary
    >>> vocabulary.adaptive_residual()
    0
    """
    head = lumped(2)
    total = head.rest / head.total
    for k, p in enumerate(head.p):
        w, rest = sp.Symbol(f"v_{k}", positive=True), sp.Symbol(f"Q_{k}", nonnegative=True)
        total += p * (w / (w + rest) + rest / (w + rest))
    return reduced(total - 1)


def chunk_residual() -> sp.Expr:
    """Sum of exponentials over two blocks, kept with one maximum each, joined, minus the sum.

    Claim ``prop-chunked``: e^m (S₁ e^(m₁ − m) + S₂ e^(m₂ − m)) is the sum over both blocks,
    where S is a block's sum of e^(z − m) and A and B stand for the blocks' own sums of e^z.

    Examples
    --------
    >>> from softmax_notes.symbolic import vocabulary
    >>> vocabulary.chunk_residual()
    0
    """
    # e to the power of each maximum and of the common one, and the blocks' sums of e^z.
    first, second, common, a, b = sp.symbols("M_1 M_2 M A B", positive=True)
    joined = (a / first) * (first / common) + (b / second) * (second / common)
    return reduced(common * joined - (a + b))


def deleted_leaf_ratio() -> sp.Expr:
    """Ratio of a leaf to a leaf elsewhere after its sibling is deleted, over the ratio before.

    It is 1/q, with q the leaf's probability given its parent: see ``prop-tree-ratio`` of the
    chapter ``choice``. Softmax would give 1.

    Examples
    --------
    >>> from softmax_notes.symbolic import vocabulary
    >>> vocabulary.deleted_leaf_ratio()
    1/q
    """
    parent, q, elsewhere = sp.symbols("P q e", positive=True)
    return sp.cancel((parent / elsewhere) / (parent * q / elsewhere))
