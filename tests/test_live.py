"""The live figures in a real browser: numbers, keys, touch, and what stands there without them."""

import gzip
import json
import math
import re
from collections import namedtuple

import mpmath
import numpy as np
import pytest
import torch
from docutils import nodes
from docutils.utils import new_document
from live import FIGURE, figures_in, scripts_for

from softmax_notes import choice, exp_approximation, overflow, weighted_mean
from tests.browser import DESKTOP, LAY_OUT, ROOT, SITE, address, browser, moved, program

__all__ = ["address", "browser", "program"]  # fixtures
PHONE = {"width": 320, "height": 640}
PLACES = {
    name: notebook.stem
    for notebook in sorted((ROOT / "book").glob("*.ipynb"))
    for name in FIGURE.findall(notebook.read_text("utf-8").replace('\\"', '"'))
}
BIRDS = ["chicken", "duck", "goose"]
DTYPES = {name: getattr(torch, name) for name in ("float16", "bfloat16", "float32", "float64")}
Figure = namedtuple("Figure", "tab root")

figures = pytest.mark.parametrize("name", sorted(PLACES))


@pytest.fixture(scope="module")
def opened(browser, address):
    """Open the page of a figure as a small phone does, each once, and give the figure."""
    context = browser.new_context(viewport=PHONE, has_touch=True)
    tabs = {}

    def open_figure(name):
        if name not in tabs:
            tabs[name] = context.new_page()
            tabs[name].goto(f"{address}book/{PLACES[name]}.html")
            tabs[name].locator(f".live[data-figure={name}] .live-body").wait_for()
            # A test taps in the moment of scrolling, quicker than any reader.
            tabs[name].evaluate(LAY_OUT)
        tabs[name].bring_to_front()  # behind another tab nothing is drawn, and taps wait for that
        return Figure(tabs[name], tabs[name].locator(f".live[data-figure={name}]"))

    yield open_figure
    context.close()


def move(figure, *positions):
    """Set the sliders that are shown, in order."""
    sliders = figure.root.locator("input[type=range]:visible").all()
    for slider, position in zip(sliders, positions, strict=True):
        slider.fill(str(position))


def choose(figure, label, on=True):
    figure.root.get_by_label(label, exact=True).set_checked(on, force=True)


def numbers(figure):
    """Give the numbers that the figure shows."""
    return json.loads(figure.root.get_attribute("data-values"))


def near(shown, expected, tolerance=1e-9):
    """Compare numbers, of which those that JSON does not know are words."""
    shown = np.array(np.vectorize(float)(shown))
    return np.allclose(shown, expected, rtol=tolerance, atol=0, equal_nan=True)


# --- numbers


def test_every_figure_of_the_site_has_a_page():
    assert sorted(PLACES) == sorted(
        ["gradient", "luce", "maxima", "overflow", "temperature", "terms"]
    )


@pytest.mark.parametrize(
    ("x", "exponent"),
    [([2, 1, 0], 0), ([-5, 5, 4.9], -1), ([0, 0, 0], 1), ([5, -5, -5], -1), ([0.3, -1.2, 4], 0.37)],
)
def test_temperature_shows_the_softmax_of_pytorch(x, exponent, opened):
    figure = opened("temperature")
    move(figure, *x, exponent)
    scores = torch.tensor(x, dtype=torch.float64)
    p = torch.softmax(scores / 10**exponent, 0).tolist()
    assert near(numbers(figure)["p"], p)
    assert figure.root.locator(".live-value").all_text_contents() == [f"{v:.4f}" for v in p]
    dot = figure.root.locator("circle")
    corners = np.array([[20, 240], [280, 240], [150, 240 - 260 * 0.75**0.5]])
    where = [float(dot.get_attribute(key)) for key in ("cx", "cy")]
    assert np.allclose(where, np.array(p) @ corners, rtol=0, atol=1e-9)


def step_by_step(x, c, dtype):
    """Divide exponentials, each operation rounded to the dtype by PyTorch, exp by mpmath."""

    def rounded(value):
        return float(torch.tensor(value, dtype=torch.float64).to(dtype))

    weights = [rounded(float(mpmath.exp(rounded(v - c)))) for v in x]
    total = 0.0
    for weight in weights:
        total = rounded(total + weight)
    with np.errstate(invalid="ignore"):
        return [rounded(float(np.float64(weight) / np.float64(total))) for weight in weights]


SHIFTS = {
    "float16": [0, 9, 10, 11, 30, -12, -19, -30],
    "bfloat16": [0, 9, 86, 88, 109, 300, -91, -95, -257, -400],
    "float32": [0, 11, 86, 87, 109, 120, -88, -104, -120],
    "float64": [0, 100, 707, 708, 800, -709, -744, -800],
}


@pytest.mark.parametrize(("name", "shift"), [(n, c) for n, cs in SHIFTS.items() for c in cs])
def test_overflow_computes_in_the_format_it_names(name, shift, opened):
    figure = opened("overflow")
    choose(figure, name)
    figure.root.get_by_role("slider").fill(str(shift))
    shown = numbers(figure)
    assert shown["format"] == name
    x = torch.tensor([2.0 + shift, 1.0 + shift, shift], dtype=torch.float64).to(DTYPES[name])
    assert shown["x"] == x.tolist()
    for form, c in (("naive", 0.0), ("stable", max(x.tolist()))):
        p = [float(value) for value in shown[form]["p"]]
        # exp of V8 and of mpmath, rounded to float64, may differ in the last digit.
        assert near(p, step_by_step(x.tolist(), c, DTYPES[name]))
        by_package = overflow.shifted_softmax(x, c).to(torch.float64)
        few = 4 * torch.finfo(DTYPES[name]).eps
        tiny = torch.finfo(DTYPES[name]).smallest_normal
        assert np.allclose(p, by_package, rtol=few, atol=4 * tiny, equal_nan=True)
    with mpmath.workdps(40):
        weights = [mpmath.exp(k) for k in (2, 1, 0)]
        exact = [float(w / sum(weights)) for w in weights]
    assert np.allclose(shown["exact"], exact, rtol=0, atol=3e-16)


@pytest.mark.parametrize("name", DTYPES)
def test_every_step_is_rounded_whatever_the_scores(name, opened):
    rng = np.random.default_rng(1)
    for scale in (1, 3, 10, 30):
        x = torch.tensor(rng.normal(size=5) * scale).to(DTYPES[name]).tolist()
        for c in (0.0, max(x)):
            got = opened("overflow").tab.evaluate(
                "(a) => softmaxNotes.math.softmaxIn(...a).p.map(String)", [name, x, c]
            )
            assert near(got, step_by_step(x, c, DTYPES[name])), (x, c)


def test_overflow_marks_the_digits_that_are_right(opened):
    figure = opened("overflow")
    choose(figure, "float16")
    for shift, first in ((0, ["0.665", "04"]), (11, ["", "NaN"])):
        figure.root.get_by_role("slider").fill(str(shift))
        row = figure.root.locator(".live-digits").first
        digits = [row.locator(f".live-{kind}").inner_text() for kind in ("right", "wrong")]
        assert digits == first
    note = figure.root.locator(".live-note")
    assert "As written: NaN." in note.inner_text()
    assert "rounded the scores" not in note.inner_text()
    choose(figure, "bfloat16")
    figure.root.get_by_role("slider").fill("300")
    assert "rounded the scores" in note.inner_text()


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_halves_are_rounded_as_pytorch_rounds_them(name, opened):
    finfo = torch.finfo(DTYPES[name])
    smallest = finfo.smallest_normal * finfo.eps
    rng = np.random.default_rng(0)
    values = [0.0, -0.0, 1.0, 1 / 3, -2049.0, 2051.0, 257.0, 259.0, 65519.99, 65520.0, finfo.max]
    values += [finfo.max * (1 + finfo.eps / 4), finfo.max * (1 + 0.26 * finfo.eps), math.inf]
    values += [smallest * k / 4 for k in range(1, 20)] + [-smallest * 2.5]
    values += [1 + finfo.eps * k / 4 for k in range(-9, 10)]
    values += list(rng.normal(size=200) * 2.0 ** rng.integers(-140, 130, 200))
    values += list(rng.integers(1, 4096, 100) * smallest / 2)
    got = opened("overflow").tab.evaluate(
        "([values, name]) => values.map((v) => String(softmaxNotes.math.rounded(v, name)))",
        [values, name],
    )
    expected = torch.tensor(values, dtype=torch.float64).to(DTYPES[name]).tolist()
    assert [float(text) for text in got] == expected


def test_luce_keeps_the_ratio_of_dog_to_cat(opened):
    figure = opened("luce")
    choose(figure, "dog or cat")
    animals = ["dog 8", "cat 6", "chicken 4", "pig 5", "cow 9"]
    for on in ("11000", "11111", "11010", "01001", "00000"):
        offered = [digit == "1" for digit in on]
        for label, wanted in zip(animals, offered, strict=True):
            choose(figure, label, wanted)
        expected = choice.matching_law(np.array([8.0, 6, 4, 5, 9]), where=np.array(offered))
        shown = numbers(figure)
        assert shown["offered"] == offered
        assert near(shown["p"], expected)
        assert near(shown["ratio"], 4 / 3 if on.startswith("11") else math.nan)
    assert "dog : cat = ?" in figure.root.locator(".live-large").inner_text()


def test_luce_fails_for_buses(opened):
    figure = opened("luce")
    choose(figure, "car or bus")
    names = ["car", "red bus", "blue bus", "green bus"]
    for on, different in (("1110", 1), ("1110", 0), ("1110", 0.1), ("1111", 0.37), ("1101", 0.5)):
        offered = np.array([digit == "1" for digit in on])
        for label, wanted in zip(names, offered, strict=True):
            choose(figure, label, bool(wanted))
        move(figure, different)
        expected = choice.nested_logit(
            np.zeros(4), [[0], [1, 2, 3]], dissimilarity=[1.0, different], where=offered
        )
        shown = numbers(figure)
        assert near(shown["p"], expected)
        # By hand: k buses like the car leave it 1 / (1 + k^λ).
        assert near(shown["p"][0], 1 / (1 + (on.count("1") - 1) ** different))
        assert near(shown["law"], offered / offered.sum())


def test_nested_logit_agrees_for_scores_that_differ(opened):
    x, nests, values = [3.0, -2.0, 0.5, 0.25, 700.0], [[0, 2], [1, 3], [4]], [0.3, 0.0, 1.0]
    for offered in ([True] * 5, [True, True, False, True, False]):
        got = opened("luce").tab.evaluate(
            "(a) => softmaxNotes.math.nestedLogit(...a)", [x, nests, values, offered]
        )
        expected = choice.nested_logit(
            np.array(x), nests, dissimilarity=values, where=np.array(offered)
        )
        assert near(got, expected)


@pytest.mark.parametrize(
    ("x", "alpha"),
    [([2, 1, 0], 1), ([2, 1, 0], -6), ([3, 3, -3], 6), ([0, 0, 0], 0.1), ([-3, 2.5, 1], 0)],
)
def test_maxima_shows_three_functions_of_the_scale(x, alpha, opened):
    figure = opened("maxima")
    move(figure, *x, alpha)
    scores = torch.tensor(x, dtype=torch.float64)
    smooth = torch.logsumexp(alpha * scores, 0) / alpha if alpha else math.nan
    boltzmann = float(torch.softmax(alpha * scores, 0) @ scores)
    assert math.isclose(boltzmann, weighted_mean.boltzmann_mean(scores, alpha=alpha), abs_tol=1e-14)
    shown = [float(value) for value in numbers(figure)["functions"]]
    expected = [max(x), sum(x) / 3, min(x), float(smooth), boltzmann]
    assert np.allclose(shown, expected, rtol=1e-9, atol=1e-9, equal_nan=True)
    assert ("no value at 0" in figure.root.inner_text()) == (alpha == 0)


@pytest.mark.parametrize("alpha", [3, -3, 0.01, -0.01])
def test_smooth_maxima_do_not_overflow(alpha, opened):
    x = [800.0, -900.0, 0.0]
    scores = torch.tensor(x, dtype=torch.float64)
    got = opened("maxima").tab.evaluate(
        "(a) => [softmaxNotes.math.smoothMax(...a), softmaxNotes.math.boltzmannMean(...a)]",
        [x, alpha],
    )
    expected = [
        torch.logsumexp(alpha * scores, 0) / alpha,
        torch.softmax(alpha * scores, 0) @ scores,
    ]
    assert near(got, expected)


@pytest.mark.parametrize("x", [[2, 1, 0], [5, -5, -5], [0, 0, 0], [-4.5, 0.1, 5]])
@pytest.mark.parametrize("target", [0, 1, 2])
def test_gradient_shows_what_autograd_finds(x, target, opened):
    figure = opened("gradient")
    move(figure, *x)
    choose(figure, BIRDS[target])
    scores = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    torch.nn.functional.cross_entropy(scores, torch.tensor(target)).backward()
    p = torch.softmax(scores.detach(), 0).requires_grad_()
    torch.nn.functional.nll_loss(torch.log(p), torch.tensor(target)).backward()
    J = torch.func.jacrev(lambda z: torch.softmax(z, 0))(scores.detach())
    shown = numbers(figure)
    assert np.allclose(shown["J"], J, rtol=1e-9, atol=1e-15)
    assert near(shown["chain"], p.grad)
    assert near(shown["g"], scores.grad)
    cells = figure.root.locator("tbody td").all_inner_texts()
    negative = [
        "live-minus" in (cell.get_attribute("class") or "")
        for cell in figure.root.locator("tbody td:nth-child(-n + 4)").all()
    ]
    assert negative == (J.reshape(-1) < 0).tolist()
    assert cells[4] == f"{scores.grad[0]:.2f}".replace("-", "−").replace("−0.00", "0.00")


def test_a_click_on_the_matrix_chooses_the_target(opened):
    figure = opened("gradient")
    figure.root.locator("tbody tr").nth(1).locator("td").nth(2).tap()
    assert numbers(figure)["target"] == 2
    figure.root.locator("tbody tr").nth(1).locator("td").nth(4).tap()
    assert numbers(figure)["target"] == 1
    assert figure.root.get_by_label("duck", exact=True).is_checked()


def by_package(x, terms, reduced):
    """Give e^x by Taylor, Padé and CORDIC, with so many terms or steps."""
    last = max(n for n in range(1, terms + 1) if len(exp_approximation.cordic_shifts(n)) <= terms)
    methods = (
        lambda r: exp_approximation.taylor_exp(r, terms),
        lambda r: exp_approximation.pade_exp(r, -(-terms // 2), terms // 2),
        lambda r: exp_approximation.cordic_exp(r, last),
    )
    for method in methods:
        try:
            value = exp_approximation.reduced_exp(x, method) if reduced else method(x)
        except ValueError:  # out of reach
            value = math.nan
        yield float(value)


@pytest.mark.parametrize("reduced", [False, True])
@pytest.mark.parametrize(
    ("x", "terms"),
    [(-30, 40), (30, 40), (-20, 12), (0, 1), (1.1, 20), (-1.1, 5), (0.3, 7), (-0.3, 14)],
)
def test_terms_computes_as_the_package_does(x, terms, reduced, opened):
    figure = opened("terms")
    move(figure, x, terms)
    choose(figure, "reduce the range", reduced)
    shown = numbers(figure)
    *polynomials, cordic = by_package(np.float64(x), terms, reduced)
    # Additions and products are rounded alike everywhere; artanh, which CORDIC needs, is not.
    assert shown["results"][:2] == polynomials
    assert near(shown["results"][2], cordic, 1e-13)
    assert near(shown["exact"], float(mpmath.exp(x)))


# --- for everybody


@figures
def test_every_control_can_be_reached_and_moved_with_keys(name, opened):
    tab, root = opened(name)
    root.locator("input:visible").first.focus()
    reached = 0
    for _ in range(12):
        where = tab.evaluate(
            "() => document.activeElement.closest('.live') && document.activeElement.outerHTML"
        )
        if where is None:
            break
        reached += 1
        before = root.get_attribute("data-values")
        moves = ["Space"] if 'type="checkbox"' in where else ["ArrowRight", "ArrowLeft"]
        changed = False
        for key in moves:
            tab.keyboard.press(key)
            changed |= root.get_attribute("data-values") != before
        assert changed, where
        tab.keyboard.press("Tab")
    stops = root.locator("input[type=range]:visible, input[type=checkbox]:visible").count()
    stops += root.locator("fieldset:visible:has(input[type=radio])").count()
    assert reached == stops


@figures
def test_a_finger_can_move_the_controls(name, opened):
    _, root = opened(name)
    slider = root.locator("input[type=range]:visible")
    if slider.count():
        box = slider.first.bounding_box()
        for share in (0.2, 0.8):
            slider.first.tap(position={"x": box["width"] * share, "y": box["height"] / 2})
            low, high = (float(slider.first.get_attribute(key)) for key in ("min", "max"))
            assert abs(float(slider.first.input_value()) - low - share * (high - low)) < (
                0.1 * (high - low)
            )
    for label in root.locator(".live-choice label").element_handles():
        if label.is_visible():  # a tap may bring other controls
            button = label.query_selector("input")
            was, radio = button.is_checked(), button.get_attribute("type") == "radio"
            label.tap()
            assert button.is_checked() == (radio or not was)
            assert label.bounding_box()["height"] >= 28  # more than the 24 of the guidelines


@figures
def test_a_screen_reader_gets_names_numbers_and_news(name, opened):
    tab, root = opened(name)
    assert tab.get_by_role("group", name=re.compile("^Try it")).count() == 1
    for slider in root.get_by_role("slider").all():
        assert slider.get_attribute("aria-valuetext")
        label = slider.evaluate("(e) => e.labels[0].querySelector('span').textContent")
        assert root.get_by_role("slider", name=re.compile(f"^{re.escape(label)}")).count() == 1
    assert root.get_by_role("table").count() == 1
    assert len(root.get_by_role("cell").all_text_contents()) >= 6
    news = root.locator("[aria-live=polite]")
    before = news.text_content()
    control = root.locator("input[type=checkbox]:visible, input[type=range]:visible").first
    if control.get_attribute("type") == "range":
        low, high = (control.get_attribute(key) for key in ("min", "max"))
        control.fill(low if control.input_value() == high else high)
    if control.get_attribute("type") == "checkbox":
        control.set_checked(not control.is_checked(), force=True)
    tab.wait_for_function(
        "([e, before]) => e.textContent !== before", arg=[news.element_handle(), before]
    )
    assert root.locator("svg:not([aria-hidden])").count() == 0


@pytest.mark.slow
@figures
@pytest.mark.parametrize("width", [320, 600, 1280])
def test_the_place_that_is_kept_is_as_high_as_the_figure(name, width, opened):
    tab, root = opened(name)
    tab.set_viewport_size({"width": width, "height": 800})
    kept, drawn, sideways = root.evaluate(
        """(e) => [
            parseFloat(getComputedStyle(e, "::before").height),
            e.querySelector(".live-body").getBoundingClientRect().height,
            e.scrollWidth - e.clientWidth,
        ]"""
    )
    tab.set_viewport_size(PHONE)
    assert 0.7 * kept < drawn <= kept + 1, "set the heights at the end of live.css anew"
    assert sideways <= 0


@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_the_front_page_does_not_move_when_its_figure_comes(viewport, browser, address):
    tab = browser.new_page(viewport=viewport)
    tab.goto(f"{address}book/intro.html")
    root = tab.locator(".live[data-figure=temperature]")
    root.locator(".live-body").wait_for()
    assert root.bounding_box()["y"] < viewport["height"] / 2, "in the first screen"
    if viewport == DESKTOP:
        doors = tab.locator(".doors").bounding_box()
        assert doors["y"] + doors["height"] < viewport["height"]
    assert moved(tab) < 0.01
    tab.close()


@figures
def test_without_scripts_the_picture_stands_there_and_no_hole(name, browser, address):
    context = browser.new_context(java_script_enabled=False, viewport=DESKTOP)
    tab = context.new_page()
    tab.goto(f"{address}book/{PLACES[name]}.html")
    live = tab.locator(f".live[data-figure={name}]")
    assert live.count() == 1
    assert live.is_hidden()
    before = live.locator("xpath=preceding::img[1]")
    assert before.is_visible()
    assert len(before.get_attribute("alt")) > 20
    context.close()


def test_a_figure_works_in_a_page_that_is_opened_as_a_file(browser):
    tab = browser.new_page(viewport=DESKTOP)
    complaints = []  # of scripts; fonts cannot be fetched early from a file, which harms nobody
    tab.on("console", lambda m: m.type == "error" and complaints.append(m.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.goto((SITE / "book/intro.html").resolve().as_uri())
    figure = Figure(tab, tab.locator(".live[data-figure=temperature]"))
    figure.root.locator(".live-body").wait_for()
    move(figure, 0, 0, 0, 0)
    assert near(numbers(figure)["p"], [1 / 3] * 3)
    # A reference cannot look into another file, and does not try.
    tab.locator("article p a.reference.internal[href='notation.html']").first.hover()
    tab.wait_for_timeout(400)
    assert tab.locator(".preview").is_hidden()
    assert [text for text in complaints if "/fonts/" not in text and "ERR_FAILED" not in text] == []
    tab.close()


# --- weight


def test_scripts_are_on_the_pages_that_need_them_and_on_no_other():
    for page in SITE.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        names = list(dict.fromkeys(FIGURE.findall(text)))
        sheets = re.findall(r'rel="stylesheet"[^>]*href="([^":?]+)', text)
        styles = "".join((page.parent / sheet).read_text(encoding="utf-8") for sheet in sheets)
        loaded = re.findall(r'src="[./]*_static/((?:live|vendor)/[^"?]+)', text)
        assert loaded == (scripts_for(names) if names else []), page
        assert (".live-body" in styles) == bool(names), page


def test_a_figure_that_comes_twice_is_loaded_once():
    page = new_document("")
    for name in ("luce", "terms", "luce"):
        page += nodes.raw("", f'<div class="live" data-figure="{name}"></div>', format="html")
    assert figures_in(page) == ["luce", "terms"]


def test_a_figure_weighs_less_than_100_kilobytes():
    for name in PLACES:
        files = [*scripts_for([name]), "live/live.css"]
        sizes = [len(gzip.compress((ROOT / "book/_assets" / f).read_bytes())) for f in files]
        assert sum(sizes) < 100_000


def test_pages_that_move_less_are_not_moved_by_us():
    """Nothing is animated, so that there is nothing to hold back for those who ask for less."""
    for path in [*(ROOT / "book/_assets/live").iterdir(), ROOT / "book/_assets/house.css"]:
        assert (
            re.findall(r"\b(?:animation|transition|requestAnimationFrame)\b", path.read_text())
            == []
        )
