"""Proofs for the chapter ``fast``: each function returns a residual, 0 if proved."""

from __future__ import annotations

import sympy as sp

__all__ = ["merge_residual", "reduced_residual", "shift_residual"]

_x, _c = sp.symbols("x c", real=True)
_k, _K, _L = sp.symbols("k K L", integer=True)


def shift_residual() -> sp.Expr:
    """Probability from exponentials shifted by any c, minus that of the definition.

    Claim ``prop-fast-shift``. For any n: R is the sum of the other exponentials.

    Examples
    --------
    >>> from softmax_notes.symbolic import fast
    >>> fast.shift_residual()
    0
    """
    w, rest = sp.exp(_x), sp.Symbol("R", positive=True)
    factor = sp.exp(-_c)
    return sp.simplify(w * factor / (w * factor + rest * factor) - w / (w + rest))


def reduced_residual() -> sp.Expr:
    """e^(x − K ln 2) minus 2^(k − K) e^r, where r = x − k ln 2.

    Claim ``prop-fast-shift``.

    Examples
    --------
    >>> from softmax_notes.symbolic import fast
    >>> fast.reduced_residual()
    0
    """
    r = _x - _k * sp.log(2)
    return sp.simplify(sp.exp(_x - _K * sp.log(2)) - 2 ** (_k - _K) * sp.exp(r))


def merge_residual() -> sp.Expr:
    """Two sums with shifts K ln 2 and L ln 2, brought to one shift, minus the sum of both.

    Claim ``prop-fast-shift``: to change a shift is to multiply by a power of two.

    Examples
    --------
    >>> from softmax_notes.symbolic import fast
    >>> fast.merge_residual()
    0
    """
    a, b = sp.symbols("A B", positive=True)  # sums of e^x over two pieces
    first, second = a * 2 ** (-_K), b * 2 ** (-_L)
    return sp.simplify(first + 2 ** (_L - _K) * second - (a + b) * 2 ** (-_K))
