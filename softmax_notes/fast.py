r"""Softmax, its relatives and cross-entropy at the speed of memory, compiled by Numba.

The same functions as in the rest of the package, with the same edges, for NumPy arrays and
PyTorch's CPU tensors alone, in float32 and float64, and many times faster. They share the memory
of what they are given, take ``out`` to write to, and use several threads where that helps. What
they return does not depend, in any bit, on how many threads there are.

The exponential is the polynomial of `softmax_notes.exp_approximation`. Every result is within 8
units in the last place, as in `softmax_notes.definition`; the chapter ``fast`` says how, and
what it costs.

The first call of a function compiles it, for a few seconds; the code is then kept on disk, in
``__pycache__`` beside the package or, where that cannot be written, in the folder for caches of
the user, or where ``NUMBA_CACHE_DIR`` says. Where nothing can be written it is compiled in every
process. The extra ``fast`` installs what is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from softmax_notes._arrays import Array, Axis, whole

try:
    import numba as _numba  # noqa: F401
except ImportError as error:
    raise ImportError(
        "softmax_notes.fast needs Numba; install it with: pip install 'softmax-notes[fast]'"
    ) from error

from softmax_notes._fast import calls as _calls
from softmax_notes._fast import entropy as _entropy
from softmax_notes._fast import threads as _threads
from softmax_notes._fast.kernels import LOG_SOFTMAX as _LOG_SOFTMAX
from softmax_notes._fast.kernels import SOFTMAX as _SOFTMAX

if TYPE_CHECKING:
    from softmax_notes._fast import loss as _loss

__all__ = [
    "CrossEntropyLoss",
    "cross_entropy",
    "cross_entropy_value_and_grad",
    "get_num_threads",
    "log_softmax",
    "logsumexp",
    "set_num_threads",
    "softmax",
]

#: A ``torch.nn.Module`` with the arguments and the results of ``torch.nn.CrossEntropyLoss``, on
#: the CPU; it is made, and PyTorch imported, when it is first asked for.
CrossEntropyLoss: type[_loss.CrossEntropyLoss]


def __getattr__(name: str) -> Any:
    if name == "CrossEntropyLoss":
        from softmax_notes._fast.loss import CrossEntropyLoss

        return CrossEntropyLoss
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def softmax(x: Array, /, *, axis: Axis = -1, out: Array | None = None) -> Array:
    r"""Turn scores into probabilities: :math:`e^{x_i} / \sum_k e^{x_k}`.

    Parameters
    ----------
    x : NumPy array or CPU tensor of real numbers
        Scores, of any shape and strides. Integers and booleans are promoted to the library's
        default floating dtype; float16 and bfloat16 are computed in float32 and rounded once.
    axis : int, tuple of int or None, default -1
        The axes along which the result sums to 1; None means all of them. The last axis of a
        contiguous array is the fastest.
    out : array or tensor, optional
        Where the result is written, of the shape and dtype of the result. It may be x itself.

    Returns
    -------
    array or tensor
        Probabilities, of the shape and dtype of x, or ``out``. A slice that holds NaN or +inf,
        or nothing but -inf, is NaN.

    Raises
    ------
    TypeError
        If x is of another library or device, complex, masked or no array, or is a tensor whose
        gradient is wanted.
    ValueError
        If out has another shape or dtype.

    Notes
    -----
    Within 8 units in the last place in float32 and float64, 1 in 16-bit dtypes. An array in
    which no order of the axes is contiguous is copied once. There is no ``where``: give -inf in
    place of what is left out, ``np.where(mask, x, -np.inf)``, or use `softmax_notes.softmax`,
    which also knows what to give where nothing is left. See the chapter ``fast``, claims
    ``prop-fast-shift`` and ``prop-fast-blocks``.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes import fast
    >>> fast.softmax(np.array([2.0, 1.0, 0.0])).round(4)
    array([0.6652, 0.2447, 0.09  ])
    """
    return _calls.elementwise(x, axis, out, _SOFTMAX)


def log_softmax(x: Array, /, *, axis: Axis = -1, out: Array | None = None) -> Array:
    r"""Logarithm of softmax: :math:`x_i - \log \sum_k e^{x_k}`, accurate also near 0.

    Parameters
    ----------
    x, axis, out
        As in `softmax`.

    Returns
    -------
    array or tensor
        Log-probabilities, of the shape and dtype of x, or ``out``. A slice that holds NaN or
        +inf, or nothing but -inf, is NaN.

    Raises
    ------
    TypeError, ValueError
        As in `softmax`.

    Notes
    -----
    Within 8 units in the last place in float32 and float64, 1 in 16-bit dtypes. See the chapter
    ``fast``, claim ``prop-fast-shift``.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes import fast
    >>> fast.log_softmax(np.array([2.0, 1.0, 0.0])).round(4)
    array([-0.4076, -1.4076, -2.4076])
    """
    return _calls.elementwise(x, axis, out, _LOG_SOFTMAX)


def logsumexp(
    x: Array, /, *, axis: Axis = None, keepdims: bool = False, out: Array | None = None
) -> Array:
    r"""Logarithm of a sum of exponentials: :math:`\log \sum_k e^{x_k}`.

    Parameters
    ----------
    x : NumPy array or CPU tensor of real numbers
        Exponents; dtypes as in `softmax`.
    axis : int, tuple of int or None, default None
        The axes summed over; None means all of them.
    keepdims : bool, default False
        Keep the summed axes with length 1.
    out : array or tensor, optional
        Where the result is written.

    Returns
    -------
    array or tensor
        The logarithm, in the dtype of x: -inf for an empty sum or nothing but -inf, +inf if a
        slice holds +inf and no NaN.

    Raises
    ------
    TypeError, ValueError
        As in `softmax`.

    Notes
    -----
    Within 8 units in the last place of the larger of the result and the largest score. See the
    chapter ``fast``, claims ``prop-fast-shift`` and ``prop-fast-blocks``.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes import fast
    >>> float(fast.logsumexp(np.array([1000.0, 1000.0])))
    1000.6931471805599
    """
    return _calls.reduced(x, axis, keepdims, out)


def cross_entropy(
    logits: Array,
    target: Array,
    /,
    *,
    axis: int = -1,
    weight: Array | None = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Array:
    r"""Cross-entropy of softmax(logits) against a target: :math:`-\sum_c y_c \log p_c`.

    Parameters
    ----------
    logits : NumPy array or CPU tensor
        Scores, with n classes along ``axis``; dtypes as in `softmax`.
    target : array of integers or of real numbers
        Class indices from 0 to n - 1, of the shape of logits without ``axis``; or
        probabilities, of the shape of logits.
    axis : int, default -1
        The axis of the classes.
    weight : array, shape (n,), optional
        A finite, non-negative factor for each class.
    ignore_index : int, optional
        Targets equal to it add nothing to the loss. Only with class indices.
    label_smoothing : float in [0, 1], default 0
        Share of each target that is spread evenly over all n classes.
    reduction : {"mean", "sum", "none"}, default "mean"
        As in `softmax_notes.cross_entropy`.

    Returns
    -------
    array or tensor
        The loss: a single number, or for "none" of the shape of logits without ``axis``.

    Raises
    ------
    TypeError, ValueError
        As in `softmax_notes.cross_entropy`, and as in `softmax`.

    Notes
    -----
    With a class index, and neither weight nor smoothing, each loss is within 8 units in the last
    place. See the chapter ``fast``, claim ``prop-fast-shift``.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes import fast
    >>> logits = np.array([[2.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    >>> round(float(fast.cross_entropy(logits, np.array([0, 2]))), 4)
    0.7531
    """
    options = _entropy.Options(axis, weight, ignore_index, label_smoothing, reduction)
    return _entropy.evaluate(logits, target, options, want=False)[0]


def cross_entropy_value_and_grad(
    logits: Array,
    target: Array,
    /,
    *,
    axis: int = -1,
    weight: Array | None = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    out: Array | None = None,
) -> tuple[Array, Array]:
    r"""Cross-entropy and its gradient with respect to the logits, from one reading of them.

    Parameters
    ----------
    logits, target, axis, weight, ignore_index, label_smoothing, reduction
        As in `cross_entropy`. For "none" the gradient is that of the sum of the losses.
    out : array or tensor, optional
        Where the gradient is written, of the shape and dtype of logits.

    Returns
    -------
    loss : array or tensor
        As from `cross_entropy`.
    grad : array or tensor
        The gradient, of the shape and dtype of logits, or ``out``.

    Raises
    ------
    TypeError, ValueError
        As in `cross_entropy`.

    Notes
    -----
    At a target class that leads, the gradient p − 1 is minus the share of all others, so that it
    keeps its digits where the prediction is right and confident. Classes along another axis than
    the last are read twice. See the chapter ``fast``, claim ``prop-fast-shift``,
    and the chapter ``cross_entropy``, claim ``thm-p-minus-y``.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_notes import fast
    >>> loss, grad = fast.cross_entropy_value_and_grad(np.array([[2.0, 1.0, 0.0]]), np.array([0]))
    >>> round(float(loss), 4), grad.round(4)
    (0.4076, array([[-0.3348,  0.2447,  0.09  ]]))
    """
    options = _entropy.Options(axis, weight, ignore_index, label_smoothing, reduction)
    pair: tuple[Array, Array] = _entropy.evaluate(logits, target, options, want=True, out=out)
    return pair


def get_num_threads() -> int:
    """Give the number of threads that a large call may use; at first, that of the processors.

    Returns
    -------
    int
        The number, the thread of the caller included.

    Examples
    --------
    >>> from softmax_notes import fast
    >>> fast.get_num_threads() >= 1
    True
    """
    return _threads.count()


def set_num_threads(number: int, /) -> None:
    """Set the number of threads that a large call may use.

    Parameters
    ----------
    number : int
        At least 1; with 1 every call stays in the thread of its caller.

    Raises
    ------
    ValueError
        If number is less than 1.

    Examples
    --------
    >>> from softmax_notes import fast
    >>> before = fast.get_num_threads()
    >>> fast.set_num_threads(1)
    >>> fast.get_num_threads()
    1
    >>> fast.set_num_threads(before)
    """
    count = whole(number, "number")
    if count < 1:
        raise ValueError(f"the number of threads must be at least 1, got {number}")
    _threads.use(count)
