"""Proofs for the chapter ``sampling``: each function returns residuals, 0 if proved.

The score plus noise of class k is at most z with probability exp(-w_k e^(-z)), w_k = e^(x_k).
So e^(-score - noise) is exponentially distributed with rate w_k: a race that the least wins.
"""

from __future__ import annotations

import sympy as sp

from softmax_notes.symbolic import lumped, reduced

__all__ = [
    "noise_residual",
    "relaxation_bias_residual",
    "score_function_residual",
    "straight_through_residual",
    "top_two_residual",
    "value_residual",
    "winner_residual",
]


def noise_residual() -> sp.Expr:
    """Put the distribution function exp(-e^(-z)) into -log(-log u): what comes out, minus z.

    Claim ``prop-gumbel-noise``.

    Examples
    --------
    >>> from softmax_notes.symbolic import sampling
    >>> sampling.noise_residual()
    0
    """
    z = sp.Symbol("z", real=True)
    return -sp.log(-sp.log(sp.exp(-sp.exp(-z)))) - z


def winner_residual() -> sp.Matrix:
    """Check P(class 1 wins, with a value up to z) = p₁ exp(-S e^(-z)), for any n.

    Claims ``thm-gumbel-max`` and ``cor-gumbel-value``. First its derivative minus the density of
    class 1 at z times the probability that all others are below z, then its limit at infinity
    minus p₁, then its limit at minus infinity.

    Examples
    --------
    >>> from softmax_notes.symbolic import sampling
    >>> sampling.winner_residual()
    Matrix([[0, 0, 0]])
    """
    s, z = lumped(1), sp.Symbol("z", real=True)
    (w,), decay = s.weights, sp.exp(-z)
    joint = s.p[0] * sp.exp(-s.total * decay)
    density = sp.diff(sp.exp(-w * decay), z) * sp.exp(-s.rest * decay)
    ends = [sp.limit(joint, z, sp.oo) - s.p[0], sp.limit(joint, z, -sp.oo)]
    return sp.Matrix([[sp.simplify(sp.diff(joint, z) - density), *(reduced(e) for e in ends)]])


def value_residual() -> sp.Expr:
    """Mean of the largest perturbed score, minus logsumexp, minus Euler's constant.

    Claim ``cor-gumbel-value``: the value is -log t with t of exponential distribution, rate S.

    Examples
    --------
    >>> from softmax_notes.symbolic import sampling
    >>> sampling.value_residual()
    0
    """
    t, total = sp.symbols("t S", positive=True)
    mean = sp.integrate(-sp.log(t) * total * sp.exp(-total * t), (t, 0, sp.oo))
    return sp.simplify(sp.expand_log(mean - sp.log(total) - sp.EulerGamma))


def top_two_residual() -> sp.Expr:
    """Probability that class 1 comes first and class 2 second, minus p₁ w₂ / (S - w₁), any n.

    Claim ``thm-gumbel-top-k``: class 1 arrives at time s, class 2 at t > s, the others later.

    Examples
    --------
    >>> from softmax_notes.symbolic import sampling
    >>> sampling.top_two_residual()
    0
    """
    lump = lumped(2)
    (first, second), rest = lump.weights, sp.Symbol("R", positive=True)
    s, t = sp.symbols("s t", positive=True)
    later = sp.integrate(second * sp.exp(-(second + rest) * t), (t, s, sp.oo))
    both = sp.integrate(sp.expand(first * sp.exp(-first * s) * later), (s, 0, sp.oo))
    expected = lump.p[0] * second / (lump.total - first)
    return sp.simplify(both - expected.subs(lump.rest, rest))


def relaxation_bias_residual() -> sp.Matrix:
    """Mean of the first share of two at temperature 1, with odds w: the integral over u.

    Claim ``prop-relaxation-bias``. The difference of two Gumbel variables is log(u / (1 - u)),
    so the share is wu / (wu + 1 - u). First the derivative of an antiderivative minus that, then
    its difference between 0 and 1 minus w (w - 1 - log w) / (w - 1)², then the limit at a tie
    minus one half.

    Examples
    --------
    >>> from softmax_notes.symbolic import sampling
    >>> sampling.relaxation_bias_residual()
    Matrix([[0, 0, 0]])
    """
    u, w = sp.symbols("u w", positive=True)
    share = w * u / (w * u + 1 - u)
    antiderivative = w * u / (w - 1) - w * sp.log(1 + (w - 1) * u) / (w - 1) ** 2
    mean = _mean_share(w)
    return sp.Matrix(
        [
            [
                sp.simplify(sp.diff(antiderivative, u) - share),
                sp.simplify(antiderivative.subs(u, 1) - antiderivative.subs(u, 0) - mean),
                sp.limit(mean, w, 1) - sp.Rational(1, 2),
            ]
        ]
    )


def straight_through_residual() -> sp.Matrix:
    """Mean of the estimate y (1 - y) for two classes at temperature 1, against the truth.

    Claim ``prop-straight-through``. It is the derivative w ∂/∂w of the mean share; minus its
    closed form; its limit at a tie minus 1/6; the integral of σ'(v)² minus 1/6, which governs
    the variance at low temperatures.

    Examples
    --------
    >>> from softmax_notes.symbolic import sampling
    >>> sampling.straight_through_residual()
    Matrix([[0, 0, 0]])
    """
    w, v = sp.Symbol("w", positive=True), sp.Symbol("v")
    estimate = w * ((w + 1) * sp.log(w) - 2 * (w - 1)) / (w - 1) ** 3
    # With y = σ(v), dv = dy / (y (1 - y)).
    square = sp.integrate(v * (1 - v), (v, 0, 1))
    return sp.Matrix(
        [
            [
                sp.simplify(w * sp.diff(_mean_share(w), w) - estimate),
                sp.limit(estimate, w, 1) - sp.Rational(1, 6),
                square - sp.Rational(1, 6),
            ]
        ]
    )


def _mean_share(w: sp.Symbol) -> sp.Expr:
    return w * (w - 1 - sp.log(w)) / (w - 1) ** 2


def score_function_residual() -> sp.Expr:
    """Mean of f (z - p), first entry, minus the derivative of the mean of f, for any n.

    Claim ``prop-score-function``. The loss is f₁ or f₂ at the named classes, and f_R on average
    over the others.

    Examples
    --------
    >>> from softmax_notes.symbolic import sampling
    >>> sampling.score_function_residual()
    0
    """
    s, (f1, f2, f_rest) = lumped(2), sp.symbols("f_1 f_2 f_R")
    mean_loss = s.p[0] * f1 + s.p[1] * f2 + s.rest / s.total * f_rest
    estimate = s.p[0] * f1 - s.p[0] * mean_loss
    return reduced(estimate - s.derivative(mean_loss, 0))
