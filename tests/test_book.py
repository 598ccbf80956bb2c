"""The book's sources: every notebook was run, in order, and keeps to the rules of the house."""

import doctest
import re
from copy import deepcopy
from pathlib import Path
from textwrap import dedent

import matplotlib
import nbformat
import numpy as np
import pytest
import sphinxcontrib.katex
from ledger import prose
from run_notebooks import main, normalize

from tests.pytorch import needing_torch

ROOT = Path(__file__).parent.parent
BOOK = ROOT / "book"
HELPERS = {
    "__init__", "_arrays", "_cli", "_extras", "_losses", "data", "figures", "huffman",
    "linear_cross_entropy", "out_of_core", "parallel", "sampled_softmax", "symbolic",
}  # fmt: skip
TOC = re.findall(r"file: book/(\w+)", (ROOT / "_toc.yml").read_text(encoding="utf-8"))
CHAPTERS = [stem for stem in TOC if (BOOK / f"{stem}.ipynb").exists()]
PAGES = sorted([*BOOK.glob("*.md"), *BOOK.glob("*.ipynb")])

chapters = pytest.mark.parametrize("stem", CHAPTERS)


def notebook(stem):
    return nbformat.read(BOOK / f"{stem}.ipynb", as_version=4)


def code_cells(stem):
    return [cell for cell in notebook(stem).cells if cell.cell_type == "code"]


def test_a_chapter_a_module_and_a_test_file_share_each_stem():
    assert CHAPTERS
    assert sorted(CHAPTERS) == sorted(path.stem for path in BOOK.glob("*.ipynb"))
    package = ROOT / "softmax_notes"
    modules = {path.stem for path in package.iterdir() if path.suffix == ".py"}
    modules |= {path.parent.name for path in package.glob("[!_]*/__init__.py")}
    assert sorted(CHAPTERS) == sorted(modules - HELPERS)
    assert [stem for stem in CHAPTERS if not (ROOT / f"tests/test_{stem}.py").exists()] == []


def test_every_page_is_in_the_table_of_contents():
    assert sorted(["intro", *TOC]) == sorted(path.stem for path in PAGES)


@chapters
def test_every_code_cell_was_run_once_and_in_order(stem):
    counts = [cell.execution_count for cell in code_cells(stem)]
    assert counts == list(range(1, len(counts) + 1))
    for cell in code_cells(stem):
        results = [out for out in cell.outputs if out.output_type == "execute_result"]
        assert [out.execution_count for out in results] in ([], [cell.execution_count])


@chapters
def test_no_output_is_an_error(stem):
    kinds = [out.output_type for cell in code_cells(stem) for out in cell.outputs]
    assert "error" not in kinds
    assert kinds


@chapters
def test_a_notebook_is_as_its_runner_writes_it(stem):
    """No timestamps, no versions, no names of kernels, no leftovers of an editor."""
    stored = notebook(stem)
    normal = deepcopy(stored)
    normalize(normal)
    assert normal == stored


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_no_page_names_a_place_on_somebodys_machine(page):
    text = page.read_text(encoding="utf-8")
    text = re.sub(r"https?://\S+", "", text)
    paths = r"/(?:home|root|Users|tmp|var|opt|work|mnt)/|site-packages|ipykernel_\d|[A-Z]:\\\\\w"
    addresses = r"\bat 0x[0-9a-f]{6,}"
    assert [line for line in text.splitlines() if re.search(f"{paths}|{addresses}", line)] == []


@chapters
def test_every_picture_has_words_for_those_who_do_not_see_it(stem):
    for cell in code_cells(stem):
        if any(kind.startswith("image/") for out in cell.outputs for kind in out.get("data", {})):
            shown = cell.metadata.get("mystnb", {})
            alt = shown.get("image", {}).get("alt", "")
            caption = shown.get("figure", {}).get("caption", "")
            assert len(alt) > 20, cell.source
            assert len(caption) > 20, cell.source
            assert alt != caption
            assert shown["figure"]["name"].startswith("fig-")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_drawings_in_the_text_have_words_too(page):
    text = prose(page)
    assert re.findall(r"!\[\s*\]\(.*", text) == []
    for options in re.findall(r"\{(?:figure|image)\}.*\n((?:[ \t]*:[\w-]+:.*\n)*)", text):
        assert ":alt:" in options


@chapters
def test_a_chapter_has_exercises_with_hidden_solutions_and_a_summary(stem):
    text = prose(BOOK / f"{stem}.ipynb")
    exercises = re.findall(r"\{exercise\}.*\n:label: (\S+)", text)
    solutions = re.findall(r"\{solution\} (\S+)\n:class: dropdown", text)
    assert 3 <= len(exercises) <= 7
    assert solutions == exercises
    assert "\n## Summary\n" in text
    code = r"^```\w*\n.*?^```$"  # where "# " begins a comment
    assert len(re.findall(r"^# ", re.sub(code, "", text, flags=re.M | re.DOTALL), re.M)) == 1


@pytest.mark.slow
@chapters
def test_the_code_in_solutions_prints_what_it_says(stem, capsys):
    """A block runs after the notebook's imports; a line that prints ends in what it prints."""
    blocks = re.findall(
        r"^[ ]*```python\n(.*?)^[ ]*```", prose(BOOK / f"{stem}.ipynb"), re.M | re.S
    )
    assert blocks
    for block in blocks:
        names = {}
        # What the imports set, the format of numbers and the style of pictures, is put back.
        with np.printoptions(), matplotlib.rc_context():
            exec(code_cells(stem)[0].source, names)
            capsys.readouterr()
            exec(dedent(block), names)
        said = capsys.readouterr().out.splitlines()
        assert said == re.findall(r"^ *print\(.*\)  +# (.*)$", block, re.M), block


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_displayed_formulas_are_numbered_once(page):
    """KaTeX numbers the lines of these, and Sphinx numbers the whole."""
    assert re.findall(r"\\begin\{(?:align|equation|gather)\}", prose(page)) == []


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *BOOK.glob("*.md")], ids=lambda path: path.name
)
def test_the_examples_in_plain_pages_print_what_they_say(page):
    examples = re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.M | re.DOTALL)
    if "import torch" in "".join(examples):
        needing_torch("torch")
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner()
    test = parser.get_doctest("\n".join(examples), {}, page.name, str(page), 0)
    assert runner.run(test).failed == 0
    if page.stem in ("intro", "README"):
        assert test.examples


def test_the_style_sheet_of_formulas_is_of_the_version_that_draws_them():
    style = (BOOK / "_assets/katex/katex.min.css").read_text(encoding="utf-8")
    assert f'content:"{sphinxcontrib.katex.katex_version}"' in style
    fonts = set(re.findall(r"fonts/([\w-]+\.woff2)", style))
    assert fonts == {path.name for path in (BOOK / "_assets/katex/fonts").iterdir()}


def stored(path, *sources):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def run(monkeypatch, *paths):
    monkeypatch.setattr("sys.argv", ["run_notebooks.py", *map(str, paths)])
    return main()


def test_a_notebook_that_fails_is_not_written(tmp_path, monkeypatch, capfd):
    good = stored(tmp_path / "good.ipynb", "print(6 * 7)", "", "print(6 * 7)")
    bad = stored(tmp_path / "bad.ipynb", "x = 0", "1 / x")
    before = bad.read_bytes()
    assert run(monkeypatch, bad, good) == 1
    assert bad.read_bytes() == before
    said = capfd.readouterr().err
    assert "bad.ipynb failed and was not changed" in said
    assert "1 / x" in said
    assert "ZeroDivisionError" in said
    once = good.read_bytes()
    assert b'"42\\n"' in once
    assert run(monkeypatch, good) == 0
    assert good.read_bytes() == once, "a second run changes nothing"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.ipynb", "good.ipynb"]
