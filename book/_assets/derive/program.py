"""The Jacobian of softmax, derived again: all that the page runs."""

import json

import sympy as sp

from softmax_notes.symbolic import jacobian as proofs
from softmax_notes.symbolic import reduced, scores, softmax


def numerators(n):
    """Differentiate softmax of n scores, and write S² J in the weights and their sum S."""
    x = scores(n)
    derivatives = softmax(x).jacobian(x)
    weights, total = sp.symbols(f"w_1:{n + 1}", positive=True), sp.Symbol("S")
    squared = reduced(derivatives, x) * sum(weights) ** 2
    others = {sum(weights) - w: total - w for w in weights} if n > 2 else {}
    return squared.applyfunc(lambda entry: sp.factor(sp.cancel(entry)).subs(others))


def residuals(n):
    """Give what must be 0: the left side of each claim minus its right side."""
    return {
        "each entry minus pᵢ (δᵢⱼ − pⱼ)": proofs.entry_residual(n),
        "J minus its transpose": proofs.symmetry_residual(n),
        "the sum of each row and of each column": proofs.row_sum_residual(n),
        "the trace minus (1 − Σ p²)": sp.Matrix([proofs.trace_residual(n)]),
    }


def derive(n):
    """Write the matrix in MathML, and count what is 0 and what is not."""
    checks = [
        {"claim": claim, "zeros": list(values).count(0), "of": len(values)}
        for claim, values in residuals(n).items()
    ]
    matrix = sp.mathml(numerators(n), printer="presentation")
    for name, letter in {"&InvisibleTimes;": "\u2062", "<mo>-</mo>": "<mo>−</mo>"}.items():
        matrix = matrix.replace(name, letter)
    return json.dumps({"n": n, "matrix": matrix, "checks": checks})
