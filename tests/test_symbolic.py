"""The tools of the proofs: symbols, weights, and what is said of wrong arguments."""

import pytest
import sympy as sp

from softmax_notes import symbolic as proofs
from softmax_notes.symbolic import choice, cross_entropy, exp_approximation, regression, vocabulary


def test_proofs_speak_of_real_scores_and_positive_weights_numbered_from_1():
    x, s = proofs.scores(2), proofs.lumped(2)
    assert list(x) == list(sp.symbols("x_1 x_2", real=True))
    assert s.weights == sp.symbols("w_1 w_2", positive=True)
    assert s.rest == sp.Symbol("R", nonnegative=True)
    assert s.total == sum(s.weights) + s.rest
    assert s.p == tuple(w / s.total for w in s.weights)
    assert s.derivative(s.weights[1] ** 2, 1) == 2 * s.weights[1] ** 2
    assert list(proofs.scores(1, "y")) == [sp.Symbol("y_1", real=True)]


def test_proofs_are_brought_to_weights_entry_by_entry():
    x = proofs.scores(2)
    w = sp.symbols("w_1 w_2", positive=True)
    ratio = sp.exp(x[0] - x[1])
    assert proofs.reduced(ratio, x) == w[0] / w[1]
    assert proofs.reduced(sp.Matrix([ratio, 1]), x) == sp.Matrix([w[0] / w[1], 1])
    assert proofs.reduced((w[0] ** 2 - w[1] ** 2) / (w[0] - w[1])) == w[0] + w[1]
    assert list(proofs.softmax(x)) == [sp.exp(a) / (sp.exp(x[0]) + sp.exp(x[1])) for a in x]


SQUARE = sp.eye(2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: proofs.scores(0), ValueError, "^n must be at least 1, got 0"),
        (lambda: proofs.scores(1.5), TypeError, "^n must be an integer, got float"),
        (lambda: proofs.lumped(0), ValueError, "^named must be at least 1, got 0"),
        (lambda: proofs.lumped("x"), TypeError, "^named must be an integer, got str"),
        (lambda: proofs.softmax([1, 2]), TypeError, "^x must be a column of SymPy's, got list"),
        (lambda: proofs.softmax(SQUARE), TypeError, "^x must be a column of SymPy's, got .*Matrix"),
        (lambda: proofs.reduced([1]), TypeError, "^expression must be .* got list"),
        (lambda: proofs.reduced(1, [2]), TypeError, "^x must be a Matrix of SymPy's, got list"),
        (lambda: choice.matching([0.5]), TypeError, r"^u must be .* got \[0\.5\]"),
        (lambda: choice.matching(3), TypeError, "^u must be .* got 3"),
        (lambda: choice.cross_rule_residual(1), ValueError, "^n must be at least 2, got 1"),
        (
            lambda: cross_entropy.loss(proofs.scores(2), proofs.scores(3)),
            ValueError,
            "^p and y must have one length, got 2 and 3",
        ),
        (lambda: exp_approximation.deficit_residual(-1), ValueError, "^terms must be at least 0"),
        (lambda: exp_approximation.pade_residual(-1, 2), ValueError, "^m must be at least 0"),
        (lambda: exp_approximation.pade_residual(2, -1), ValueError, "^n must be at least 0"),
        (lambda: regression.gradient_residual(0), ValueError, "^rows must be at least 1"),
        (lambda: regression.gradient_residual(1, 0), ValueError, "^features must be at least 1"),
        (lambda: vocabulary.path_gradient_residual(2), ValueError, "^turn must be 1 or -1, got 2"),
        (lambda: vocabulary.path_gradient_residual("x"), TypeError, "^turn must be an integer"),
        (lambda: vocabulary.leaves_residual("01"), TypeError, "^codes must be a list of words"),
    ],
)
def test_proofs_say_what_is_wrong_with_an_argument(call, error, message):
    with pytest.raises(error, match=message):
        call()
