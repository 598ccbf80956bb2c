"""What the proofs check of their arguments; NumPy is not there in a browser."""

from __future__ import annotations

import operator

import sympy as sp


def at_least(least: int, value: int, name: str = "n") -> int:
    """Check how many entries, rows or the like a proof is asked for."""
    number = whole(value, name)
    if number < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    return number


def whole(value: int, name: str) -> int:
    """Check an argument that is one whole number."""
    try:
        return operator.index(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name} must be an integer, got {type(value).__name__}") from error


def column(x: sp.Matrix, name: str = "x") -> sp.Matrix:
    """Check that an argument is a column of SymPy's."""
    if not isinstance(x, sp.MatrixBase) or x.shape[1] != 1:
        raise TypeError(f"{name} must be a column of SymPy's, got {type(x).__name__}")
    return x


def symbols(n: int, name: str, **assumptions: bool) -> tuple[sp.Symbol, ...]:
    """Give n symbols with indices from 1 on."""
    return tuple(sp.Symbol(f"{name}_{k + 1}", **assumptions) for k in range(at_least(1, n)))
