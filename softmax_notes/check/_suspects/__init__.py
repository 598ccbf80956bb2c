"""Known faults, each as the function that has it, and the words to say about it.

A failure is traced by calling these on the arguments that failed: the fault whose numbers are
those that the user's function gave is the likely cause. They are as wrong as the original.
"""

from __future__ import annotations

from softmax_notes.check._suspects._formulas import NO_SHIFT, Suspect
from softmax_notes.check._suspects._jacobians import JACOBIANS, PRODUCTS
from softmax_notes.check._suspects._losses import GRADIENTS, LOSSES
from softmax_notes.check._suspects._scores import suspects_of_scores

__all__ = ["NO_SHIFT", "Suspect", "suspects_of"]

_OTHERS = {
    "cross_entropy": LOSSES,
    "cross_entropy_grad": GRADIENTS,
    "softmax_jacobian": JACOBIANS,
    "softmax_jvp": PRODUCTS,
    "softmax_vjp": PRODUCTS,
}


def suspects_of(kind: str) -> list[Suspect]:
    """List the known faults of a kind; they are made when the first failure asks for them."""
    return _OTHERS[kind] if kind in _OTHERS else suspects_of_scores(kind)
