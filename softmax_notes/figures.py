"""One style for every picture of the book, and the few drawings several chapters share.

The colors are those of Okabe and Ito, which people with any common color blindness can tell
apart, in order of contrast on white; yellow and the like, too pale for a line, come last or not
at all. Everything is drawn as vectors, so that a picture stays sharp and its file is the same on
every machine.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from softmax_notes._arrays import number, real_numbers, whole
from softmax_notes._extras import needs

with needs("figures"):
    import matplotlib as mpl
    from cycler import cycler
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize
    from matplotlib.patches import PathPatch, Polygon, Rectangle
    from matplotlib.path import Path

__all__ = [
    "BLACK",
    "BLUE",
    "COLORS",
    "DIVERGING",
    "GRAY",
    "GREEN",
    "ORANGE",
    "PURPLE",
    "SEQUENTIAL",
    "SKY",
    "VERMILION",
    "heatmap",
    "pictures",
    "simplex_axes",
    "to_simplex",
    "use_style",
]

BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
SKY, ORANGE, BLACK, GRAY = "#56B4E9", "#E69F00", "#000000", "#666666"
COLORS = (BLUE, VERMILION, GREEN, PURPLE, BLACK, SKY, ORANGE)

SEQUENTIAL: Colormap = LinearSegmentedColormap.from_list("sequential", ["#FFFFFF", SKY, "#00436A"])
DIVERGING: Colormap = LinearSegmentedColormap.from_list(
    "diverging", ["#00436A", BLUE, "#FFFFFF", VERMILION, "#7A2F00"]
)

_STYLE: Any = {
    # The same file on every machine: glyphs as paths, identifiers that are no random numbers.
    "svg.fonttype": "path",
    "svg.hashsalt": "softmax-notes",
    "svg.image_inline": True,
    "font.family": ["DejaVu Sans"],  # it comes with matplotlib
    "mathtext.fontset": "dejavusans",
    # A sheet of white paper: the site may turn it dark as a whole.
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
    "savefig.transparent": False,
    # Readable when a phone shows the picture at two thirds of its size.
    "figure.figsize": (5.6, 3.5),
    "figure.constrained_layout.use": True,
    "font.size": 12.0,
    "axes.titlesize": 12.0,
    "axes.labelsize": 12.0,
    "xtick.labelsize": 11.0,
    "ytick.labelsize": 11.0,
    "legend.fontsize": 11.0,
    "legend.frameon": False,
    "lines.linewidth": 2.2,
    "lines.markersize": 6.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.8,
}


def use_style() -> None:
    """Draw in the style of the book from here on; in a notebook, as SVG.

    It sets ``matplotlib.rcParams``: colors that color-blind readers can tell apart, letters
    that can be read on a phone, white paper, no frame on the right and on top. Run twice, the
    same code then writes the same SVG file, byte for byte.

    Examples
    --------
    >>> from softmax_notes import figures
    >>> figures.use_style()
    >>> import matplotlib as mpl
    >>> mpl.rcParams["svg.fonttype"], mpl.rcParams["axes.spines.top"]
    ('path', False)
    """
    mpl.rcParams.update(_STYLE | {"axes.prop_cycle": cycler(color=COLORS)})
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if hasattr(shell, "kernel"):
        from matplotlib_inline import backend_inline

        inline: Any = backend_inline  # it has no annotations
        # Without the date and the version the picture does not change with them.
        inline.set_matplotlib_formats("svg", metadata={"Date": None, "Creator": None})


def to_simplex(p: object, /) -> np.ndarray[Any, Any]:
    r"""Place distributions over three classes in the plane: :math:`\sum_k p_k c_k`.

    The corners :math:`c_1, c_2, c_3` are (0, 0), (1, 0) and (1/2, √3/2).

    Parameters
    ----------
    p : array_like of shape (..., 3)
        Probabilities, or any barycentric coordinates.

    Returns
    -------
    ndarray of shape (..., 2)
        Points of the plane.

    Raises
    ------
    ValueError
        If the last axis has no length 3, or a number is infinite.

    Examples
    --------
    >>> from softmax_notes.figures import to_simplex
    >>> to_simplex([[0, 1, 0], [0.5, 0.5, 0.0]])
    array([[1. , 0. ],
           [0.5, 0. ]])
    """
    points = real_numbers(p, "p")
    if points.ndim == 0 or points.shape[-1] != 3:
        raise ValueError(f"p: its last axis must have length 3, got shape {points.shape}")
    if np.isinf(points).any():
        raise ValueError("p must hold finite numbers, got an infinite one")
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(0.75)]])
    result: np.ndarray[Any, Any] = points @ corners
    return result


def simplex_axes(ax: Axes, labels: Sequence[str] = ("1", "2", "3")) -> Axes:
    """Turn axes into an empty triangle, the set of distributions over three classes.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Axes to draw on. Points go where `to_simplex` says.
    labels : sequence of three str
        What stands at the corners: lower left, lower right, top.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.

    Raises
    ------
    ValueError
        If there are not three labels.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from softmax_notes.figures import simplex_axes, to_simplex
    >>> ax = simplex_axes(Figure().add_subplot(), ["chicken", "duck", "goose"])
    >>> points = ax.plot(*to_simplex([[0.2, 0.3, 0.5]]).T, "o")
    """
    _check_axes(ax)
    if len(_sequence(labels, "labels")) != 3:
        raise ValueError(f"three labels are needed, got {list(labels)!r}")
    corners = to_simplex(np.eye(3))
    ax.set_axis_off()
    ax.set_aspect("equal")
    ax.add_patch(Polygon(corners, facecolor="none", edgecolor=GRAY, linewidth=1.2))
    for (x, y), text, up in zip(corners, labels, (False, False, True), strict=True):
        shift, vertical = ((0, 5), "bottom") if up else ((0, -6), "top")
        ax.annotate(
            text, (x, y), shift, textcoords="offset points", ha="center", va=vertical, color=BLACK
        )
    ax.set_xlim(-0.06, 1.06)
    ax.set_ylim(-0.03, np.sqrt(0.75) + 0.03)
    return ax


def heatmap(
    ax: Axes,
    matrix: object,
    /,
    *,
    values: str | None = ".2f",
    rows: Sequence[object] | None = None,
    columns: Sequence[object] | None = None,
    limit: float | None = None,
    fontsize: float | None = None,
) -> QuadMesh:
    """Draw a matrix as colored cells with its values written in them.

    Without negative entries white is 0 and dark blue is the limit; otherwise blue is negative,
    vermilion positive. A number is black or white, whichever reads better on its cell.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Axes to draw on; row 0 is at the top.
    matrix : array_like of shape (m, n)
        What to draw.
    values : str or None, default ".2f"
        Format of the numbers in the cells; None writes none.
    rows, columns : sequence, optional
        Labels of the rows (left) and the columns (below); default: none.
    limit : float, optional
        Absolute value of the darkest color; default: that of the largest entry.
    fontsize : float, optional
        Size of the numbers in the cells.

    Returns
    -------
    matplotlib.collections.QuadMesh
        The cells, to which a color bar may be added.

    Raises
    ------
    ValueError
        If matrix does not have two axes, or the labels do not match them.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from softmax_notes.figures import heatmap
    >>> ax = Figure().add_subplot()
    >>> cells = heatmap(ax, [[0.25, -0.25], [-0.25, 0.25]])
    >>> [text.get_text() for text in ax.texts]
    ['0.25', '−0.25', '−0.25', '0.25']
    """
    _check_axes(ax)
    cells = real_numbers(matrix, "matrix")
    fontsize = None if fontsize is None else number(fontsize, "fontsize")
    if not isinstance(values, str | None):
        raise TypeError(f"values must be a format of numbers, got {type(values).__name__}")
    if cells.ndim != 2:
        raise ValueError(f"a matrix has two axes, got shape {cells.shape}")
    colors, norm = _colors_for(cells, limit)
    mesh = ax.pcolormesh(cells, cmap=colors, norm=norm, edgecolors="white", linewidth=1.0)
    ax.invert_yaxis()
    ax.set_aspect("equal")
    ax.grid(False)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    for axis, labels, size in ((ax.yaxis, rows, len(cells)), (ax.xaxis, columns, cells.shape[1])):
        name = "rows" if axis is ax.yaxis else "columns"
        texts = [""] * size if labels is None else list(map(str, _sequence(labels, name)))
        if len(texts) != size:
            raise ValueError(f"{name}: {size} labels are needed, got {len(texts)}: {texts}")
        axis.set_ticks(np.arange(size) + 0.5, texts)
    if values is None:
        return mesh
    for (i, j), value in np.ndenumerate(cells):
        text = format(value, values).replace("-", "−")
        ink = _ink_on(colors(norm(value))) if np.isfinite(value) else BLACK
        ax.text(j + 0.5, i + 0.5, text, ha="center", va="center", color=ink, fontsize=fontsize)
    return mesh


def pictures(
    ax: Axes,
    images: object,
    /,
    *,
    columns: int,
    titles: Sequence[str] | None = None,
    limit: float | None = None,
    levels: int = 16,
) -> Axes:
    """Draw small pictures side by side, each pixel a square of one of a few colors.

    Without negative entries 0 is white paper and the limit is black ink; otherwise blue is
    negative, vermilion positive. All pictures share one scale. Squares of one color become one
    path, which keeps the file small.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Axes to draw on.
    images : array_like of shape (N, height, width)
        The pictures, in reading order.
    columns : int
        Pictures in a row.
    titles : sequence of N str, optional
        What stands above each picture; a title may have several lines.
    limit : float, optional
        Absolute value of the darkest color; default: that of the largest entry.
    levels : int, default 16
        Steps from white to the darkest color.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.

    Raises
    ------
    ValueError
        If images does not have three axes, or the titles do not match them.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from softmax_notes.figures import pictures
    >>> ax = pictures(Figure().add_subplot(), np.eye(3)[None], columns=1, titles=["diagonal"])
    """
    _check_axes(ax)
    stack = real_numbers(images, "images")
    if stack.ndim != 3 or 0 in stack.shape:
        raise ValueError(f"images must have shape (N, height, width), got {stack.shape}")
    for name, count in (("columns", columns), ("levels", levels)):
        if whole(count, name) < 1:
            raise ValueError(f"{name} must be at least 1, got {count}")
    titles = None if titles is None else list(map(str, _sequence(titles, "titles")))
    if titles is not None and len(titles) != len(stack):
        raise ValueError(f"{len(stack)} titles are needed, got {len(titles)}")
    count, height, width = stack.shape
    lines = max((title.count("\n") + 1 for title in titles or []), default=0)
    dx, dy = 1.15 * width, (1.13 + 0.27 * lines) * height
    corners = [(k % columns * dx, k // columns * dy) for k in range(count)]
    colors, norm = _colors_for(stack, limit, ink=True)
    white = norm(0.0)
    steps = np.rint((norm(stack).filled() - white) / (1 - white) * levels).astype(int)
    for step in np.unique(steps[steps != 0]):
        boxes = [
            box for at, tile in zip(corners, steps, strict=True) for box in _boxes(tile == step, at)
        ]
        color = colors(white + step / levels * (1 - white))
        # A hair of the same color closes the seams between neighbors.
        squares = Path.make_compound_path(*boxes)
        ax.add_patch(PathPatch(squares, facecolor=color, edgecolor=color, linewidth=0.3))
    for at in corners:
        ax.add_patch(Rectangle(at, width, height, facecolor="none", edgecolor="#BBBBBB", lw=0.6))
    for (x, y), title in zip(corners, titles or [], strict=titles is not None):
        ax.text(x + width / 2, y - 0.06 * height, title, ha="center", va="bottom")
    ax.set_xlim(-0.05 * width, (min(columns, count) - 1) * dx + 1.05 * width)
    ax.set_ylim((-(-count // columns) - 1) * dy + 1.05 * height, height - dy)
    ax.set_aspect("equal")
    ax.set_axis_off()
    return ax


def _check_axes(ax: object) -> None:
    if not isinstance(ax, Axes):
        raise TypeError(f"ax must be Matplotlib's Axes, got {type(ax).__name__}")


def _sequence(values: Sequence[Any], name: str) -> Sequence[Any]:
    if not hasattr(values, "__len__") or getattr(values, "ndim", 1) != 1:
        raise TypeError(f"{name} must be a sequence, got {type(values).__name__}")
    return values


def _colors_for(
    values: np.ndarray[Any, Any], limit: float | None, ink: bool = False
) -> tuple[Colormap, Normalize]:
    if limit is not None and not 0 <= number(limit, "limit") < np.inf:
        raise ValueError(f"limit must be a finite number from 0 on, got {limit}")
    finite = values[np.isfinite(values)]
    limit = limit or float(np.max(np.abs(finite), initial=0.0)) or 1.0
    if finite.size and finite.min() < 0:
        return DIVERGING, Normalize(-limit, limit)
    return mpl.colormaps["gray_r"] if ink else SEQUENTIAL, Normalize(0.0, limit)


def _ink_on(color: tuple[float, ...]) -> str:
    """Choose black or white by the contrast that the accessibility guidelines define."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color[:3]]
    luminance = float(np.dot([0.2126, 0.7152, 0.0722], linear))
    return BLACK if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else "#FFFFFF"


def _boxes(mask: np.ndarray[Any, Any], corner: tuple[float, float]) -> list[Path]:
    """Outline each horizontal stretch of true pixels, the mask's upper left being at corner."""
    boxes = []
    for row, line in enumerate(mask):
        edges = np.flatnonzero(np.diff(line.astype(int), prepend=0, append=0))
        for start, stop in edges.reshape(-1, 2):
            left, right, top = corner[0] + start, corner[0] + stop, corner[1] + row
            outline = [(left, top), (right, top), (right, top + 1), (left, top + 1), (left, top)]
            boxes.append(Path(outline, closed=True))
    return boxes
