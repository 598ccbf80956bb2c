"""Softmax, derived, proved, tested and measured: the package behind *Softmax notes*."""

from softmax_notes.cross_entropy import cross_entropy, cross_entropy_grad
from softmax_notes.definition import log_softmax, logsumexp, softmax
from softmax_notes.jacobian import softmax_jacobian, softmax_jvp, softmax_vjp

__all__ = [
    "cross_entropy",
    "cross_entropy_grad",
    "log_softmax",
    "logsumexp",
    "softmax",
    "softmax_jacobian",
    "softmax_jvp",
    "softmax_vjp",
]
