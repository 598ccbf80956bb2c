"""What is exact: mpmath's values, errors in ULP (`softmax_notes.check` judges by both), proofs."""

from typing import Any

from softmax_notes.check._exact import DIGITS, FORMATS, Exact, Format, exact, ulp_error

__all__ = ["DIGITS", "FORMATS", "Exact", "Format", "exact", "ulp_error", "vanishes"]


def vanishes(residual: Any) -> bool:
    """Tell whether the residual of a proof, a SymPy number or matrix, is 0."""
    return bool(residual.is_zero_matrix if hasattr(residual, "is_zero_matrix") else residual == 0)
