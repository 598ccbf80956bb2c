"""`check`: what it finds, what it says, and that nothing a function does can stop it."""

import ast
import io
import json
import re
import subprocess
import sys
import textwrap
import threading
import time
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import dask.array
import jax
import numpy as np
import pytest
from ledger import book_claims, prose
from rich.console import Console

import softmax_notes as notes
from softmax_notes import _cli, check
from softmax_notes.check import _exact
from softmax_notes.check._limit import TooLong, limited, overdue
from softmax_notes.check._registry import LAWS, laws_of
from softmax_notes.check._report import Failure, Outcome
from tests.faulty import FAULTS, naive, right
from tests.pytorch import needing_torch, torch

ROOT = Path(__file__).parent.parent
PYTORCH = torch.nn.functional


# --- laws: what is asked


def test_every_law_is_asked_of_some_kind_and_says_what_it_asks():
    for law in LAWS:
        assert set(law.kinds) <= set(check.KINDS)
        assert law.level in check.LEVELS
        assert law.statement.endswith(".")
    for kind in check.KINDS:
        names = [law.name for law in laws_of(kind, "production")]
        assert len(names) == len(set(names)) >= 10


def test_a_higher_level_asks_for_more_and_drops_nothing():
    for kind in check.KINDS:
        asked = [[law.name for law in laws_of(kind, level)] for level in check.LEVELS]
        assert asked[0] == asked[1][: len(asked[0])]
        assert asked[1] == asked[2][: len(asked[1])]
        assert len(asked[0]) < len(asked[1]) < len(asked[2])


def test_every_law_is_linked_to_a_claim_or_definition_that_the_book_has():
    book = ROOT / "book"
    known = {f"{claim.stem}#{claim.label}" for claim in book_claims(book)}
    for page in book.glob("*.ipynb"):
        known |= {f"{page.stem}#{label}" for label in re.findall(r"def-[\w-]+", prose(page))}
    cited = {claim for law in LAWS for claim in law.claims}
    assert sorted(cited - known) == []
    assert len(cited) > 20


@pytest.mark.parametrize("kind", check.KINDS)
def test_our_own_functions_hold_every_law_in_numpy(kind):
    check.run(getattr(notes, kind), kind, level="production", max_examples=8).raise_if_failed()


@pytest.mark.parametrize("kind", ["softmax", "softmax_vjp"])
def test_our_own_functions_hold_every_law_in_pytorch(kind):
    needing_torch("torch")
    report = check.run(getattr(notes, kind), kind, "torch", "production", max_examples=2)
    report.raise_if_failed()


# --- references: other people's functions


PEERS = [
    ("torch", "softmax", torch.softmax),
    ("torch", "log_softmax", torch.log_softmax),
    ("torch", "logsumexp", torch.logsumexp),
    ("torch", "cross_entropy", PYTORCH.cross_entropy),
    ("torch", "cross_entropy_grad", "torch_gradient"),
    ("torch", "softmax_vjp", "torch_vjp"),
    ("jax", "softmax", jax.nn.softmax),
    ("jax", "cross_entropy", "jax_loss"),
]


@pytest.mark.parametrize(("library", "kind", "function"), PEERS)
def test_pytorch_and_jax_are_robust(library, kind, function):
    examples = 3 if library == "jax" else 10
    if library == "torch":
        needing_torch("torch")
    if isinstance(function, str):
        function = getattr(needing_torch("benchmarks.libraries"), function)
    check.run(function, kind, library, "robust", max_examples=examples).raise_if_failed()


def test_at_the_level_production_the_defects_of_scipy_and_pytorch_are_found():
    scipy_special = pytest.importorskip("scipy.special")
    found = check.softmax(scipy_special.softmax, level="production", max_examples=5)
    causes = {failure.law: failure.diagnosis for failure in found.failures}
    assert causes["integers"] == "wrapped-integers"
    assert causes["empty"] == "empty"
    assert causes["masked arrays"] == "mask-dropped"
    assert causes["16 bits"] == "low-precision"
    found = check.log_softmax(torch.log_softmax, "torch", "production", max_examples=5)
    causes = {failure.law: failure.diagnosis for failure in found.failures}
    assert causes["accuracy"] == causes["subnormal"] == "no-log1p"
    assert "torch.tensor([18.0, 0.0]" in found.failures[0].calls[0]


def test_jax_flushes_subnormal_numbers_and_that_is_said_apart_from_its_errors():
    found = check.softmax(jax.nn.softmax, "jax", "production", max_examples=1)
    assert {f.law: f.diagnosis for f in found.failures}["subnormal"] == "flushed"


# --- edges: planted faults

ALSO = {"link_by_link": ["chained-nan", "no-shift"]}  # in float32 it overflows as well


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_each_planted_fault_is_found_and_named(name):
    fault = FAULTS[name]
    examples = 3 if fault.level == "production" else 12
    report = check.run(
        fault.function, fault.kind, level=fault.level, max_examples=examples, **fault.options
    )
    assert not report.ok
    assert report.diagnoses == ALSO.get(name, [fault.diagnosis])
    assert report.failures[0].cause[0] != "{"


def test_there_are_at_least_thirty_planted_faults_and_as_many_causes():
    assert len(FAULTS) >= 30
    assert len({fault.diagnosis for fault in FAULTS.values()}) >= 30


def test_what_a_failure_says_can_be_pasted_and_shows_it():
    def mine(x):
        weights = np.exp(x)
        return weights / weights.sum()

    failure = check.softmax(mine).failures[0]
    (line,) = failure.calls
    got = eval(line, {"np": np, "mine": mine})
    assert not np.allclose(got.sum(axis=-1), 1)
    # A table of two rows is needed, and its numbers are as plain as can be.
    assert line == "mine(np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))"
    assert failure.expected.startswith("[[0.333333")
    assert failure.got.startswith("[[0.166667")


def test_calls_of_pytorch_and_jax_can_be_pasted_too():
    def bad(x, axis=-1):
        return x

    for library, names in (("torch", {"torch": torch}), ("jax", {"jnp": jax.numpy})):
        (line,) = check.softmax(bad, library, max_examples=5).failures[0].calls
        assert eval(line, {"bad": bad, **names}) is not None


def test_a_report_is_the_same_every_time_and_a_seed_changes_where_it_looks():
    first, second = (str(check.softmax(naive, level="robust", max_examples=5)) for _ in range(2))
    assert first == second
    assert check.softmax(naive, level="robust", seed=1).diagnoses == ["no-shift"]


def test_the_threshold_of_overflow_is_found_by_trying():
    cause = next(
        f.cause for f in check.softmax(naive, level="robust").failures if f.law == "float32"
    )
    assert cause.endswith("(scores overflow from 89 on in float32)")


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_functions_of_vectors_or_tables_only_can_be_checked_as_such(ndim):
    def picky(x):
        assert x.ndim == ndim
        return right(x)

    assert check.softmax(picky, ndim=ndim, max_examples=10).ok
    assert check.softmax(picky, ndim=ndim % 3 + 1, max_examples=5).diagnoses == ["exception"]


def test_an_array_of_another_library_is_no_answer():
    def mine(x):
        return right(x.numpy())

    assert check.softmax(mine, "torch", max_examples=2).diagnoses == ["other-library"]


def test_functions_of_dask_arrays_are_checked_on_dask_arrays():
    def mine(x):
        assert isinstance(x, dask.array.Array)
        return x

    failure = check.softmax(mine, "dask", max_examples=1).failures[0]
    assert failure.diagnosis == "scores"
    assert failure.calls[0].startswith("mine(da.asarray([")


def test_a_function_that_answers_differently_each_time_is_reported():
    random = np.random.default_rng(0)

    def noisy(x):
        return right(x) * (1 + 0.1 * random.random())

    assert "not-repeatable" in check.softmax(noisy, max_examples=10).diagnoses


# --- edges: time


def spin():
    while True:
        pass


def stubborn():
    while True:
        try:
            while True:
                pass
        except Exception:
            pass


@pytest.mark.parametrize("loop", [spin, stubborn])
def test_an_endless_loop_ends_in_the_main_thread_and_in_any_other(loop):
    with pytest.raises(TooLong):
        limited(loop, 0.05)
    caught = []

    def elsewhere():
        try:
            limited(loop, 0.05)
        except TooLong:
            caught.append(True)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join(20)
    assert caught == [True]


def test_a_call_that_only_waits_is_given_more_time_than_one_that_computes():
    start, over = time.process_time(), overdue(0.05, patience=1000)
    time.sleep(0.1)  # as where others keep the machine busy
    assert not over()
    while time.process_time() < start + 0.06:
        pass
    assert over()
    patient = overdue(0.02, patience=2)
    time.sleep(0.05)
    assert patient()


def test_the_limit_hands_results_and_errors_through():
    assert limited(lambda: 42, 5) == 42
    with pytest.raises(ZeroDivisionError):
        limited(lambda: 1 / 0, 5)
    results = []
    thread = threading.Thread(target=lambda: results.append(limited(lambda: 42, 5)))
    thread.start()
    thread.join()
    assert results == [42]


def test_after_a_call_that_never_ends_no_law_is_tried_in_vain():
    report = check.softmax(lambda x: spin(), timeout=0.05)
    assert [o.status for o in report.outcomes][:2] == ["fails", "not tried"]
    assert not report.ok
    assert len(report.failures) == 1


def test_an_interruption_by_the_user_is_not_swallowed():
    def interrupted(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check.softmax(interrupted)


# --- edges: reports


@pytest.fixture(scope="module")
def failed():
    return check.softmax(naive, level="robust", max_examples=10)


def test_a_report_raises_only_if_a_law_fails(failed):
    check.softmax(right, max_examples=5).raise_if_failed()
    with pytest.raises(AssertionError, match=r"subtract the maximum") as caught:
        failed.raise_if_failed()
    assert str(caught.value) == str(failed)


def test_a_report_is_printed_line_by_line():
    law = SimpleNamespace(name="formula", statement="As said.", claims=("definition#def-softmax",))
    told = Failure(
        "formula", "As said.", (), [f"mine({i})" for i in range(6)], "1", "2", "why", "w"
    )
    report = check.Report(
        "mine", "softmax", "numpy", "textbook",
        [
            Outcome(law, "holds"), Outcome(law, "fails", failure=told),
            Outcome(law, "does not apply", "no axis"), Outcome(law, "not tried"),
        ],
    )  # fmt: skip
    rest = "formula          As said.  [definition, def-softmax]"
    tries = "\n".join(f"  try       mine({i})" for i in range(4))
    assert str(report).replace(" \n", "\n") == (
        "mine as softmax, numpy, level textbook\n"
        f"✓ {rest}\n✗ {rest}\n{tries}\n  expected  1\n  got       2\n  cause     why\n"
        f"– {rest}  (no axis)\n? {rest}\n"
        "1 of 4 laws hold, 1 fails, 1 does not apply, 1 not tried"
    )
    assert not report.ok
    assert repr(report).endswith(
        "textbook; 1 of 4 laws hold, 1 fails, 1 does not apply, 1 not tried>"
    )
    twice = check.Report("f", "softmax", "numpy", "robust", [report.outcomes[1]] * 2)
    assert str(twice).endswith("0 of 2 laws hold, 2 fail")


def test_in_a_terminal_there_is_one_line_a_law_and_the_failure_below_it(failed):
    text = str(failed)
    for law in laws_of("softmax", "robust"):
        assert law.statement in re.sub(r"\s+", " ", text)
    for failure in failed.failures:
        assert failure.calls[0][:40] in text
    console = Console(record=True, width=100, file=io.StringIO())
    console.print(failed)
    assert "✗ large scores" in console.export_text()


def test_in_a_notebook_laws_are_linked_to_the_book_and_nothing_is_left_unescaped(
    failed, monkeypatch
):
    page = failed._repr_html_()
    ElementTree.fromstring(page.replace("<br>", "<br/>"))
    assert 'href="definition.html#thm-simplex"' in page
    assert failed.to_html() == page
    assert 'href="https://example.org/b/definition.html#thm-simplex"' in failed.to_html(
        "https://example.org/b/"
    )
    monkeypatch.setenv("SOFTMAX_NOTES_BOOK", "https://example.org/b")
    assert 'href="https://example.org/b/definition.html#thm-simplex"' in failed._repr_html_()


def test_names_and_messages_of_a_function_cannot_break_the_page():
    def hostile(x):
        raise ValueError("<script>[bold]\x1b[31m</script>")

    report = check.softmax(hostile, max_examples=1)
    assert "<script>" not in report._repr_html_()
    assert "[bold]" in str(report)
    assert ElementTree.fromstring(report.to_junit()) is not None


def test_json_and_junit_tell_the_same(failed):
    data = json.loads(failed.to_json())
    assert data["ok"] is False
    broken = [law["law"] for law in data["laws"] if law["status"] == "fails"]
    suite = ElementTree.fromstring(failed.to_junit())
    assert [c.get("name") for c in suite if c.find("failure") is not None] == broken
    assert suite.get("failures") == str(len(broken))
    assert suite.get("tests") == str(len(data["laws"])) == str(len(suite))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"library": "cupy"}, ValueError, "library must be one of numpy, torch, jax"),
        ({"level": "hard"}, ValueError, "level must be one of textbook, robust, production"),
        ({"ndim": 0}, ValueError, "ndim must be a whole number from 1 on, got 0"),
        ({"max_examples": 0}, ValueError, "max_examples must be a whole number from 1 on, got 0"),
        ({"timeout": 0}, ValueError, "timeout must be a number of seconds above 0, got 0"),
        ({"timeout": float("nan")}, ValueError, "timeout must be a number of seconds above 0"),
    ],
)
def test_arguments_out_of_range_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        check.softmax(right, **options)


OPTIONS = {"ndim": 2, "max_examples": 3, "seed": 4, "timeout": 5.0}


@pytest.mark.parametrize("kind", check.KINDS)
def test_the_function_of_a_kind_hands_everything_on(kind, monkeypatch):
    asked = []
    monkeypatch.setattr(check, "run", lambda *given, **options: asked.append((given, options)))
    getattr(check, kind)(right)
    getattr(check, kind)(right, "torch", "robust", **OPTIONS)
    assert asked == [
        ((right, kind, "numpy", "textbook"), dict.fromkeys(OPTIONS)),
        ((right, kind, "torch", "robust"), OPTIONS),
    ]


def test_an_argument_that_is_no_whole_number_is_named():
    for name in ("ndim", "max_examples", "seed"):
        with pytest.raises(TypeError, match=f"^{name} must be an integer, got str"):
            check.softmax(right, **{name: "2"})
    assert check.softmax(right, max_examples=1, ndim=1).ok


def test_what_is_no_function_or_no_kind_is_refused():
    with pytest.raises(TypeError, match="a function is needed, got ndarray; pass it uncalled"):
        check.softmax(right(np.zeros(2)))
    with pytest.raises(ValueError, match="kind must be one of softmax, log_softmax"):
        check.run(right, "sparsemax")


# --- edges: exact values


def test_the_exact_values_are_those_of_the_definitions():
    x = np.array([[2.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    weights = np.exp(x)
    p = weights / weights.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(_exact.softmax(x).astype(float), p, rtol=1e-15)
    np.testing.assert_allclose(_exact.softmax(x.T, axis=0).astype(float), p.T, rtol=1e-15)
    np.testing.assert_allclose(_exact.log_softmax(x).astype(float), np.log(p), rtol=1e-14)
    np.testing.assert_allclose(
        _exact.logsumexp(x, axis=(0, 1)).astype(float), np.log(weights.sum()), rtol=1e-15
    )
    np.testing.assert_allclose(
        _exact.logsumexp(x, axis=0).astype(float), np.log(weights.sum(axis=0)), rtol=1e-15
    )
    jacobian = np.diag(p[0]) - np.outer(p[0], p[0])
    np.testing.assert_allclose(_exact.softmax_jacobian(p)[0].astype(float), jacobian, atol=1e-15)
    v = np.array([3.0, -1.0, 2.0])
    np.testing.assert_allclose(_exact.softmax_jvp(p[0], v).astype(float), jacobian @ v, atol=1e-14)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_the_exact_losses_are_those_of_pytorch(reduction):
    x, target = (
        np.array([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0], [1.0, 0.5, 4.0]]),
        np.array([0, -100, 1]),
    )
    options = {"ignore_index": -100, "label_smoothing": 0.25, "reduction": reduction}
    weight = np.array([0.5, 1.0, 2.0])
    given = torch.tensor(x, requires_grad=True)
    loss = PYTORCH.cross_entropy(given, torch.tensor(target), torch.tensor(weight), **options)
    (grad,) = torch.autograd.grad(loss.sum(), given)
    got = _exact.cross_entropy(x, target, weight=weight, **options)
    np.testing.assert_allclose(got.astype(float), loss.detach(), rtol=1e-14)
    got = _exact.cross_entropy_grad(x, target, weight=weight, **options)
    np.testing.assert_allclose(got.astype(float), grad, rtol=1e-12, atol=1e-15)


# --- edges: the command


@pytest.fixture
def homework(tmp_path):
    file = tmp_path / "homework_of_check.py"
    file.write_text(
        textwrap.dedent(
            """
            import numpy as np

            def good(x):
                weights = np.exp(x)
                return weights / weights.sum(axis=-1, keepdims=True)

            def bad(x):
                print("hello")
                return x

            number = 3
            """
        ),
        encoding="utf-8",
    )
    return file


def run(*arguments):
    return _cli.main([*arguments, "--max-examples", "3"])


def test_the_command_ends_with_0_1_or_2(homework, capsys):
    assert run("check", f"{homework}:good") == 0
    assert "laws hold" in capsys.readouterr().out
    assert run("check", f"{homework}:bad") == 1
    assert "the scores come back as they are" in capsys.readouterr().out
    for wrong in ("nowhere:f", f"{homework}:missing", f"{homework}:number", "softmax", "no.py:f"):
        assert run("check", wrong) == 2
        assert capsys.readouterr().err.startswith("softmax-notes: ")
    assert run("check", f"{homework}:good", "--kind", "sparsemax") == 2
    assert "kind must be one of" in capsys.readouterr().err
    assert _cli.main([]) == 2


def test_the_command_hands_its_options_on(homework, monkeypatch):
    asked = []

    def spy(function, *given, **options):
        asked.append((given, options))
        return check.Report("good", *given)

    monkeypatch.setattr(check, "run", spy)
    words = ["--kind", "logsumexp", "--library", "torch", "--level", "robust", "--ndim", "2"]
    words += ["--max-examples", "3", "--seed", "4", "--timeout", "5"]
    assert _cli.main(["check", f"{homework}:good"]) == 0
    assert _cli.main(["check", f"{homework}:good", *words]) == 0
    assert asked == [
        (("softmax", "numpy", "textbook"), dict.fromkeys(OPTIONS)),
        (("logsumexp", "torch", "robust"), OPTIONS),
    ]


def test_the_current_folder_is_searched_first_and_only_for_the_function(homework, monkeypatch):
    monkeypatch.chdir(homework.parent)
    before = list(sys.path)
    assert run("check", "homework_of_check:good") == 0
    assert sys.path == before


def test_the_command_says_its_version_and_what_it_cannot_find(homework, capsys):
    with pytest.raises(SystemExit) as end:
        _cli.main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"softmax-notes {version('softmax-notes')}\n"
    run("check", f"{homework}:missing")
    assert f"{homework} has no missing" in capsys.readouterr().err
    run("check", f"{homework}:good", "--output", str(homework / "report"))
    assert "the report cannot be written" in capsys.readouterr().err


def test_a_terminal_gets_colors_and_a_file_none(homework, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    run("check", f"{homework}:bad")
    assert "\x1b[" in capsys.readouterr().out
    run("check", f"{homework}:bad", "--output", str(homework.with_name("report")))
    assert "\x1b[" not in homework.with_name("report").read_text(encoding="utf-8")


@pytest.mark.parametrize("form", ["text", "json", "junit"])
def test_every_format_goes_to_the_terminal_or_a_file_and_prints_of_the_function_do_not(
    homework, capsys, form
):
    assert run("check", f"{homework}:bad", "--format", form) == 1
    said = capsys.readouterr()
    assert "hello" not in said.out
    assert "hello" in said.err
    output = homework.with_name("report")
    assert run("check", f"{homework}:bad", "--format", form, "--output", str(output)) == 1
    assert capsys.readouterr().out == ""
    text = output.read_text(encoding="utf-8")
    if form == "json":
        assert json.loads(text) == json.loads(said.out)
    elif form == "junit":
        assert ElementTree.fromstring(text).tag == "testsuite"
    else:
        assert "✗ formula" in text


def test_the_help_has_examples_levels_and_exit_status(capsys):
    for arguments in (["--help"], ["check", "--help"]):
        with pytest.raises(SystemExit) as end:
            _cli.main(arguments)
        assert end.value.code == 0
        said = capsys.readouterr().out
        words = "imports your function", "examples", "exit status", *check.LEVELS, *check.KINDS
        for word in words:
            assert word in said
    for option in ("--ndim N", "--max-examples N", "--seed N", "--timeout S", "--output FILE"):
        assert option in said


def test_the_installed_command_checks_a_function_of_the_current_folder(homework):
    command = Path(sys.executable).with_name("softmax-notes")
    done = subprocess.run(
        [command, "check", "homework_of_check:good", "--format", "json", "--max-examples", "2"],
        cwd=homework.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ok"] is True


@pytest.mark.parametrize("missing", ["hypothesis", "mpmath", "rich"])
def test_without_a_package_that_it_needs_the_extra_is_named(missing):
    code = f"import sys; sys.modules[{missing!r}] = None; import softmax_notes\n"
    code += "try:\n    from softmax_notes import check\nexcept ImportError as e:\n    print(e)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == (
        f"softmax_notes.check needs {missing}: pip install 'softmax-notes[check]'\n"
    )


def test_the_judge_never_asks_our_own_functions():
    for path in (ROOT / "softmax_notes" / "check").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("softmax_notes"):
                checked = {name.name for name in node.names} <= {"number", "whole"}  # arguments
                assert "check" in node.module or checked, node.module
