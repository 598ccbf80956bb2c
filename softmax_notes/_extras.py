"""What to say when a library that comes with an extra is not there."""

from __future__ import annotations

from types import TracebackType

__all__ = ["needs"]


class needs:  # noqa: N801  # it reads as a statement: with needs("symbolic"): import sympy
    """Import inside it; where the library is missing, the error names the extra to install.

    Parameters
    ----------
    extra : str
        The extra of this package that brings the library.

    Raises
    ------
    ImportError
        If the library is not installed.

    Examples
    --------
    >>> with needs("symbolic"):
    ...     import no_such_algebra
    Traceback (most recent call last):
    ImportError: no_such_algebra is needed: pip install 'softmax-notes[symbolic]'
    """

    def __init__(self, extra: str) -> None:
        self.extra = extra

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, ModuleNotFoundError):
            library = str(error.name).partition(".")[0]
            raise ImportError(
                f"{library} is needed: pip install 'softmax-notes[{self.extra}]'"
            ) from error
