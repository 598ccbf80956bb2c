"""Check a function of your own against the laws of the book.

Is my softmax right? Pass it here. Every law that is tried is a theorem of the book or a line of
its contract; for one that fails you get the smallest arguments on which it does, what should have
come out, and the likely cause in words. The chapter ``check`` tells more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

try:
    from softmax_notes.check._report import Failure, Outcome, Report
    from softmax_notes.check._run import run
    from softmax_notes.check._subject import KINDS, LEVELS
except ImportError as error:
    missing = (error.name or "").partition(".")[0]
    if missing not in ("hypothesis", "mpmath", "rich"):
        raise
    raise ImportError(
        f"softmax_notes.check needs {missing}: pip install 'softmax-notes[check]'"
    ) from error

__all__ = [
    "KINDS",
    "LEVELS",
    "Failure",
    "Outcome",
    "Report",
    "cross_entropy",
    "cross_entropy_grad",
    "log_softmax",
    "logsumexp",
    "run",
    "softmax",
    "softmax_jacobian",
    "softmax_jvp",
    "softmax_vjp",
]

_Function = Callable[..., Any]


def softmax(
    f: _Function,
    library: str = "numpy",
    level: str = "textbook",
    *,
    ndim: int | None = None,
    max_examples: int | None = None,
    seed: int | None = None,
    timeout: float | None = None,
) -> Report:
    """Check a softmax of scores along the last axis: ``f(x)``.

    Parameters
    ----------
    f : callable
        The function to check. If it has an argument ``axis`` or ``dim``, that is always passed.
    library : {"numpy", "torch", "jax", "dask", "array_api_strict"}, default "numpy"
        Whose arrays it takes and returns.
    level : {"textbook", "robust", "production"}, default "textbook"
        How much is asked. "textbook": moderate float64 scores, along the last axis. "robust":
        large scores, float32, every axis, batches, arguments left as they were. "production":
        every dtype, masks, infinities, NaN, empty and strided arrays, and errors of at most 8
        units in the last place.
    ndim : int, optional
        Try only arrays with so many dimensions: 1 for a function of one vector, 2 for one of
        tables. By default vectors and tables are tried.
    max_examples : int, optional
        How many arguments each law is tried on; by default 40.
    seed : int, optional
        A seed for the search. Without one it is the same at every call.
    timeout : float, optional
        Seconds that one call may compute, or a fifth of those it may wait, before it is given
        up; by default 2, and 20 for JAX, which compiles.

    Returns
    -------
    Report
        What holds and what fails. An exception, a wrong shape or type, or a call that never
        ends is a failure in the report and no error here.

    Raises
    ------
    TypeError, ValueError
        If an argument of this function is out of its range.

    Notes
    -----
    See the chapter ``check``.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes import check
    >>> def mine(x, axis=-1):
    ...     weights = np.exp(x)
    ...     return weights / weights.sum(axis=axis, keepdims=True)
    >>> check.softmax(mine).ok
    True
    >>> check.softmax(mine, level="robust").diagnoses
    ['no-shift']
    """
    return run(
        f,
        "softmax",
        library,
        level,
        ndim=ndim,
        max_examples=max_examples,
        seed=seed,
        timeout=timeout,
    )


def log_softmax(
    f: _Function,
    library: str = "numpy",
    level: str = "textbook",
    *,
    ndim: int | None = None,
    max_examples: int | None = None,
    seed: int | None = None,
    timeout: float | None = None,
) -> Report:
    """Check a logarithm of softmax along the last axis: ``f(x)``.

    Parameters
    ----------
    f, library, level, ndim, max_examples, seed, timeout
        As in `softmax`.

    Returns
    -------
    Report
        What holds and what fails.

    Raises
    ------
    TypeError, ValueError
        As in `softmax`.

    Notes
    -----
    See the chapter ``check``.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes import check
    >>> def mine(x):
    ...     return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))
    >>> check.log_softmax(mine).ok
    True
    """
    return run(
        f,
        "log_softmax",
        library,
        level,
        ndim=ndim,
        max_examples=max_examples,
        seed=seed,
        timeout=timeout,
    )


def logsumexp(
    f: _Function,
    library: str = "numpy",
    level: str = "textbook",
    *,
    ndim: int | None = None,
    max_examples: int | None = None,
    seed: int | None = None,
    timeout: float | None = None,
) -> Report:
    """Check a logsumexp along the last axis, which goes away: ``f(x)``.

    Parameters
    ----------
    f, library, level, ndim, max_examples, seed, timeout
        As in `softmax`.

    Returns
    -------
    Report
        What holds and what fails.

    Raises
    ------
    TypeError, ValueError
        As in `softmax`.

    Notes
    -----
    See the chapter ``check``.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes import check
    >>> def mine(x):
    ...     return np.log(np.exp(x).sum(axis=-1))
    >>> check.logsumexp(mine).ok
    True
    """
    return run(
        f,
        "logsumexp",
        library,
        level,
        ndim=ndim,
        max_examples=max_examples,
        seed=seed,
        timeout=timeout,
    )


def cross_entropy(
    f: _Function,
    library: str = "numpy",
    level: str = "textbook",
    *,
    ndim: int | None = None,
    max_examples: int | None = None,
    seed: int | None = None,
    timeout: float | None = None,
) -> Report:
    """Check a mean cross-entropy: ``f(logits, target)``.

    Parameters
    ----------
    f, library, level, ndim, max_examples, seed, timeout
        As in `softmax`. Logits are a table, one row an
        example; targets are class indices, one a row.

    Returns
    -------
    Report
        What holds and what fails.

    Raises
    ------
    TypeError, ValueError
        As in `softmax`.

    Notes
    -----
    See the chapter ``check``.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes import check
    >>> def mine(logits, target):
    ...     log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    ...     return -log_p[np.arange(len(target)), target].mean()
    >>> check.cross_entropy(mine).ok
    True
    """
    return run(
        f,
        "cross_entropy",
        library,
        level,
        ndim=ndim,
        max_examples=max_examples,
        seed=seed,
        timeout=timeout,
    )


def cross_entropy_grad(
    f: _Function,
    library: str = "numpy",
    level: str = "textbook",
    *,
    ndim: int | None = None,
    max_examples: int | None = None,
    seed: int | None = None,
    timeout: float | None = None,
) -> Report:
    """Check the gradient of the mean cross-entropy by the logits: ``f(logits, target)``.

    Parameters
    ----------
    f, library, level, ndim, max_examples, seed, timeout
        As in `softmax`. Arguments as in `cross_entropy`.

    Returns
    -------
    Report
        What holds and what fails.

    Raises
    ------
    TypeError, ValueError
        As in `softmax`.

    Notes
    -----
    See the chapter ``check``.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes import check
    >>> def mine(logits, target):
    ...     grad = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    ...     grad[np.arange(len(target)), target] -= 1
    ...     return grad
    >>> check.cross_entropy_grad(mine).diagnoses
    ['sum-not-mean']
    """
    return run(
        f,
        "cross_entropy_grad",
        library,
        level,
        ndim=ndim,
        max_examples=max_examples,
        seed=seed,
        timeout=timeout,
    )


def softmax_jacobian(
    f: _Function,
    library: str = "numpy",
    level: str = "textbook",
    *,
    ndim: int | None = None,
    max_examples: int | None = None,
    seed: int | None = None,
    timeout: float | None = None,
) -> Report:
    """Check a Jacobian of softmax, made from its probabilities: ``f(p)``.

    Parameters
    ----------
    f, library, level, ndim, max_examples, seed, timeout
        As in `softmax`. At the level textbook p is one
        vector, from robust on also a batch of them.

    Returns
    -------
    Report
        What holds and what fails.

    Raises
    ------
    TypeError, ValueError
        As in `softmax`.

    Notes
    -----
    See the chapter ``check``.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes import check
    >>> def mine(p):
    ...     return np.diag(p) - np.outer(p, p)
    >>> check.softmax_jacobian(mine).ok
    True
    """
    return run(
        f,
        "softmax_jacobian",
        library,
        level,
        ndim=ndim,
        max_examples=max_examples,
        seed=seed,
        timeout=timeout,
    )


def softmax_jvp(
    f: _Function,
    library: str = "numpy",
    level: str = "textbook",
    *,
    ndim: int | None = None,
    max_examples: int | None = None,
    seed: int | None = None,
    timeout: float | None = None,
) -> Report:
    """Check a product of the Jacobian of softmax with a vector: ``f(p, v)``.

    Parameters
    ----------
    f, library, level, ndim, max_examples, seed, timeout
        As in `softmax`. As in `softmax_jacobian` for p.

    Returns
    -------
    Report
        What holds and what fails.

    Raises
    ------
    TypeError, ValueError
        As in `softmax`.

    Notes
    -----
    See the chapter ``check``.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes import check
    >>> def mine(p, v):
    ...     return p * (v - p @ v)
    >>> check.softmax_jvp(mine).ok
    True
    """
    return run(
        f,
        "softmax_jvp",
        library,
        level,
        ndim=ndim,
        max_examples=max_examples,
        seed=seed,
        timeout=timeout,
    )


def softmax_vjp(
    f: _Function,
    library: str = "numpy",
    level: str = "textbook",
    *,
    ndim: int | None = None,
    max_examples: int | None = None,
    seed: int | None = None,
    timeout: float | None = None,
) -> Report:
    """Check a product of a vector with the Jacobian of softmax: ``f(p, g)``.

    Parameters
    ----------
    f, library, level, ndim, max_examples, seed, timeout
        As in `softmax`. As in `softmax_jacobian` for p.

    Returns
    -------
    Report
        What holds and what fails.

    Raises
    ------
    TypeError, ValueError
        As in `softmax`.

    Notes
    -----
    See the chapter ``check``.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes import check
    >>> def mine(p, g):
    ...     return p * g
    >>> check.softmax_vjp(mine).ok
    False
    """
    return run(
        f,
        "softmax_vjp",
        library,
        level,
        ndim=ndim,
        max_examples=max_examples,
        seed=seed,
        timeout=timeout,
    )
