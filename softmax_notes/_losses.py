"""What every cross-entropy of the package asks of its arguments, in the same words."""

from __future__ import annotations

from softmax_notes._arrays import number, one_of, whole

REDUCTIONS = ("mean", "sum", "none")


def check_options(label_smoothing: float, reduction: str) -> None:
    """Check the options that do not depend on any array."""
    one_of(reduction, REDUCTIONS, "reduction")
    if not 0 <= number(label_smoothing, "label_smoothing") <= 1:
        raise ValueError(f"label_smoothing must be from 0 to 1, got {label_smoothing!r}")


def check_ignored(ignore_index: int | None, soft: bool) -> None:
    """Check the class index that is ignored; probabilities as targets have none."""
    if ignore_index is None:
        return
    if not -(2**63) <= whole(ignore_index, "ignore_index") < 2**63:
        raise ValueError(f"ignore_index must be a number of 64 bits, got {ignore_index}")
    if soft:
        raise ValueError("ignore_index needs class indices, but target holds probabilities")


def check_one_a_class(name: str, shape: tuple[int, ...], n: int, where: str = "") -> None:
    """Check a vector with an entry for each class, such as weights and biases."""
    if tuple(shape) != (n,):
        raise ValueError(
            f"{name} must hold one number for each of the {n} classes{where}, got shape "
            f"{tuple(shape)}"
        )
