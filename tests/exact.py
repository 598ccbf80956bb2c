"""Exact values by mpmath, and errors in ULP: those that `softmax_notes.check` judges by."""

from softmax_notes.check._exact import DIGITS, FORMATS, Exact, Format, exact, ulp_error

__all__ = ["DIGITS", "FORMATS", "Exact", "Format", "exact", "ulp_error"]
