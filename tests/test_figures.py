"""The house style and the shared drawings: what is drawn, in which colors, and the same twice."""

import io
import itertools
import re

import matplotlib as mpl
import nbformat
import numpy as np
import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from nbclient import NotebookClient

from softmax_notes import figures

# A channel of sRGB, and a picture of a few pixels with 17 levels of gray.
channels = st.integers(0, 255).map(lambda value: value / 255)
images = arrays(
    np.int64, st.tuples(st.integers(1, 4), st.just(5), st.just(4)), elements=st.integers(0, 16)
)


@pytest.fixture(autouse=True)
def _house_style():
    with mpl.rc_context():
        figures.use_style()
        yield


def contrast(one, other):
    """Contrast ratio of the Web Content Accessibility Guidelines 2.2, from their definition."""

    def luminance(color):
        red, green, blue = (
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    dark, light = sorted([luminance(one), luminance(other)])
    return (light + 0.05) / (dark + 0.05)


def svg_of(figure):
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return file.getvalue()


def drawing():
    figure = Figure()
    left, middle, right = figure.subplots(1, 3)
    figures.simplex_axes(left).plot(*figures.to_simplex([[0.2, 0.3, 0.5]]).T, "o")
    figures.heatmap(middle, [[1.0, -2.0], [0.5, 0.0]])
    figures.pictures(right, np.arange(12).reshape(1, 3, 4), columns=1, titles=["a"])
    return figure


# --- laws


@given(st.tuples(channels, channels, channels))
def test_a_number_in_a_cell_has_the_contrast_that_small_text_needs(color):
    assert contrast(figures._ink_on(color), color) >= 4.5


@given(arrays(np.float64, (6, 3), elements=st.floats(0.01, 1)))
def test_a_point_of_the_triangle_is_the_mean_of_its_corners(weights):
    p = weights / weights.sum(axis=1, keepdims=True)
    x, y = figures.to_simplex(p).T
    np.testing.assert_allclose(x, p[:, 1] + p[:, 2] / 2, atol=1e-15)
    np.testing.assert_allclose(y, p[:, 2] * 3**0.5 / 2, atol=1e-15)


@given(images)
def test_every_pixel_is_painted_once_in_its_own_gray(stack):
    ax = Figure().add_subplot()
    figures.pictures(ax, stack, columns=2, limit=16.0)
    filled = [patch for patch in ax.patches if patch.get_fill() and patch.get_facecolor()[3] == 1]
    for k, row, column in np.ndindex(stack.shape):
        center = (k % 2 * 1.15 * 4 + column + 0.5, k // 2 * 1.13 * 5 + row + 0.5)
        painted = [patch for patch in filled if patch.get_path().contains_point(center)]
        assert len(painted) == (stack[k, row, column] > 0)
        for patch in painted:
            gray = patch.get_facecolor()[0]
            assert gray == pytest.approx(1 - stack[k, row, column] / 16, abs=0.006)


# --- references


def test_the_colors_are_those_of_okabe_and_ito_without_yellow():
    # Okabe & Ito 2008, Color Universal Design, in 8-bit sRGB.
    published = {
        (0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167),
        (86, 180, 233), (230, 159, 0), (0, 0, 0),
    }  # fmt: skip
    assert {tuple(round(255 * c) for c in to_rgb(color)) for color in figures.COLORS} == published


def test_the_first_colors_have_the_contrast_on_white_that_lines_need():
    ratios = [contrast(color, "white") for color in figures.COLORS[:5]]
    assert min(ratios) >= 3
    assert contrast(figures.BLUE, "white") >= 4.5
    assert contrast(figures.GRAY, "white") >= 4.5


def test_color_maps_start_at_white_and_grow_darker():
    for half in (figures.SEQUENTIAL(range(256)), figures.DIVERGING(range(128, 256))):
        ratios = [contrast(color, "white") for color in half[:, :3]]
        assert ratios[0] == pytest.approx(1, abs=0.03)
        assert all(a < b for a, b in itertools.pairwise(ratios))


def test_a_heatmap_writes_the_values_in_their_cells_with_a_real_minus():
    ax = Figure().add_subplot()
    figures.heatmap(ax, [[1.0, -0.25, 0.0]], rows=["r"], columns=np.array([7, 8, 9]))
    assert [t.get_text() for t in ax.texts] == ["1.00", "−0.25", "0.00"]
    assert [t.get_position() for t in ax.texts] == [(0.5, 0.5), (1.5, 0.5), (2.5, 0.5)]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["7", "8", "9"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["r"]
    assert {(t.get_ha(), t.get_va()) for t in ax.texts} == {("center", "center")}


def test_zero_is_white_in_a_heatmap_with_and_without_negative_values():
    for matrix in ([[0.0, 1.0]], [[0.0, -1.0]]):
        cells = figures.heatmap(Figure().add_subplot(), matrix)
        assert cells.to_rgba(0.0)[:3] == pytest.approx((1, 1, 1), abs=0.02)
        assert contrast(cells.to_rgba(matrix[0][1])[:3], "white") > 7


def test_row_0_of_a_heatmap_is_at_the_top():
    ax = Figure().add_subplot()
    figures.heatmap(ax, np.eye(2))
    bottom, top = ax.get_ylim()
    assert bottom > top


def test_the_corners_of_the_triangle_carry_the_labels_in_order():
    ax = figures.simplex_axes(Figure().add_subplot(), ["chicken", "duck", "goose"])
    assert [(t.get_text(), *t.xy) for t in ax.texts] == [
        ("chicken", 0.0, 0.0),
        ("duck", 1.0, 0.0),
        ("goose", 0.5, pytest.approx(3**0.5 / 2)),
    ]
    assert {t.get_ha() for t in ax.texts} == {"center"}
    assert [t.get_va() for t in ax.texts] == ["top", "top", "bottom"]
    # All of the triangle is within sight, and little more.
    assert (*ax.get_xlim(), *ax.get_ylim()) == pytest.approx((0, 1, 0, 3**0.5 / 2), abs=0.1)
    assert ax.get_xlim()[0] < 0 < 1 < ax.get_xlim()[1]
    assert ax.get_ylim()[0] < 0 < 3**0.5 / 2 < ax.get_ylim()[1]


def test_titles_stand_above_their_pictures():
    ax = Figure().add_subplot()
    figures.pictures(ax, np.ones((3, 5, 4)), columns=2, titles=["a", "b", "c"])
    places = {t.get_text(): t.get_position() for t in ax.texts if isinstance(t, Text)}
    assert places["a"][1] == places["b"][1] < 0 < places["c"][1]
    assert places["a"][0] == places["c"][0] == 2 < places["b"][0]
    assert {(t.get_ha(), t.get_va()) for t in ax.texts} == {("center", "bottom")}
    right = max(patch.get_path().vertices[:, 0].max() for patch in ax.patches)
    assert ax.get_xlim() == pytest.approx((0, right), abs=1)


def test_titles_of_two_lines_do_not_touch_the_pictures_above():
    fig = Figure(figsize=(5.6, 3.4))
    ax = fig.add_subplot()
    figures.pictures(ax, np.ones((10, 8, 8)), columns=5, titles=["8 as 1\n58%"] * 10)
    fig.draw_without_rendering()
    frames = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
    above, below = frames[0].get_window_extent(), ax.texts[5].get_window_extent()
    assert below.x0 < above.x1
    assert below.y1 < above.y0


def test_the_same_drawing_twice_is_the_same_svg_with_nothing_but_vectors_on_white():
    svg = svg_of(drawing())
    assert svg == svg_of(drawing())
    assert "<image" not in svg
    assert "<text" not in svg
    assert "dc:date" not in svg
    background = re.search(r'id="patch_1">\s*<path[^>]*style="fill: ([^"]*)"', svg)
    assert background is not None
    assert background[1] == "#ffffff"


def test_in_a_notebook_figures_are_svg_and_a_second_run_gives_the_same():
    source = (
        "from softmax_notes import figures\nfigures.use_style()\n"
        "import matplotlib.pyplot as plt\n_ = plt.figure().add_subplot().plot([1, 3, 2])"
    )
    runs = []
    for _ in range(2):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
        NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
        (output,) = notebook.cells[0].outputs
        assert set(output.data) == {"image/svg+xml", "text/plain"}
        assert "<dc:date>" not in output.data["image/svg+xml"]
        runs.append(output.data["image/svg+xml"])
    assert runs[0] == runs[1]


# --- edges


def test_the_top_and_right_frames_are_gone_and_letters_are_large():
    ax = Figure().add_subplot()
    assert not ax.spines["top"].get_visible()
    assert not ax.spines["right"].get_visible()
    assert ax.xaxis.get_ticklabels()[0].get_size() >= 11
    assert ax.get_facecolor() == (1, 1, 1, 1)


def test_a_heatmap_of_zeros_is_white_and_says_zero():
    ax = Figure().add_subplot()
    cells = figures.heatmap(ax, np.zeros((2, 2)), values=".0f", limit=0)
    assert cells.to_rgba(0.0) == (1, 1, 1, 1)
    assert [t.get_text() for t in ax.texts] == ["0"] * 4


def test_a_heatmap_shows_where_a_value_is_missing():
    ax = Figure().add_subplot()
    figures.heatmap(ax, [[np.nan, 1.0]])
    assert (ax.texts[0].get_text(), ax.texts[0].get_color()) == ("nan", figures.BLACK)


def test_without_a_format_no_number_is_written():
    ax = Figure().add_subplot()
    figures.heatmap(ax, np.eye(3), values=None)
    assert len(ax.texts) == 0


@pytest.mark.parametrize("p", [0.5, [0.5, 0.5], [[1.0], [0.0], [0.0]]])
def test_a_point_of_the_triangle_needs_three_coordinates(p):
    with pytest.raises(ValueError, match="last axis must have length 3"):
        figures.to_simplex(p)


def test_wrong_numbers_of_axes_and_labels_are_refused():
    ax = Figure().add_subplot()
    with pytest.raises(ValueError, match=r"three labels are needed, got \['a', 'b'\]"):
        figures.simplex_axes(ax, ["a", "b"])
    with pytest.raises(TypeError, match="labels must be a sequence, got ndarray"):
        figures.simplex_axes(ax, np.eye(3))
    with pytest.raises(ValueError, match=r"a matrix has two axes, got shape \(3,\)"):
        figures.heatmap(ax, [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"2 labels are needed, got 1: \['a'\]"):
        figures.heatmap(ax, np.eye(2), rows=["a"])
    with pytest.raises(ValueError, match=r"\(N, height, width\), got \(8, 8\)"):
        figures.pictures(ax, np.ones((8, 8)), columns=1)
    with pytest.raises(ValueError, match="2 titles are needed, got 1"):
        figures.pictures(ax, np.ones((2, 8, 8)), columns=1, titles=["a"])


# --- proofs


def test_the_triangle_shows_distances_between_distributions_true_to_scale():
    # For d = p − q the entries sum to 0, and the distance in the plane is |d| / √2.
    a, b = sp.symbols("a b", real=True)
    difference = sp.Matrix([a, b, -a - b])
    corners = sp.Matrix([[0, 0], [1, 0], [sp.Rational(1, 2), sp.sqrt(3) / 2]])
    np.testing.assert_allclose(figures.to_simplex(np.eye(3)), np.array(corners, dtype=float))
    plane = corners.T * difference
    assert sp.expand(plane.dot(plane) - difference.dot(difference) / 2) == 0
