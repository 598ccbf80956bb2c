"""Draw book/_assets/card.png: what a link to the book shows in a message or a feed.

    python book/draw_card.py

Three scores and the path of their softmax from the center of the triangle to a corner.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from softmax_notes import figures, softmax

CARD = Path(__file__).parent / "_assets" / "card.png"
SCORES = np.array([2.0, 1.0, 0.0])


def main() -> None:
    """Draw the card, 1200 by 630 pixels."""
    figures.use_style()
    plt.rcParams["figure.constrained_layout.use"] = False  # everything has its place here
    card = plt.figure(figsize=(12, 6.3))
    card.text(0.06, 0.62, "Softmax notes", fontsize=52, weight="bold")
    card.text(
        0.06, 0.47, "Why softmax? Derived, proved,\ntested and measured.", fontsize=26, va="top"
    )
    triangle = card.add_axes((0.57, 0.06, 0.4, 0.86))
    figures.simplex_axes(triangle, labels=["chicken", "duck", "goose"])
    scales = np.geomspace(0.01, 100, 400)
    path = figures.to_simplex(softmax(scales[:, None] * SCORES))
    triangle.plot(*path.T, color=figures.BLUE, linewidth=5)
    point = figures.to_simplex(softmax(SCORES))
    triangle.plot(*point, "o", color=figures.VERMILION, markersize=20)
    plt.savefig(CARD, dpi=100, metadata={"Software": None})


if __name__ == "__main__":
    main()
