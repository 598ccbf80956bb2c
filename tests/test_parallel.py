"""Softmax and cross-entropy on several processes: equal to one process, and errors that end.

The processes are those of `tests.ranks`; each run of them is killed if it takes too long.
"""

import contextlib
import functools
import itertools
import json
import math
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.distributed import HashStore

from softmax_notes import parallel
from tests import ranks

LIMIT = 120  # seconds, after which processes are killed; they take a few
INF, NAN = np.inf, np.nan


@pytest.fixture(scope="module")
def runs():
    """Give what the ranks found in every scenario: one command serves all tests."""
    scenarios = ["checks:2", "checks:4", "dead:2", "silent:2"]
    result = subprocess.run(
        [sys.executable, "-m", "tests.ranks", *scenarios],
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert result.stdout, result.stderr
    return json.loads(result.stdout)


@pytest.fixture(params=[2, 4])
def found(runs, request):
    return runs[f"checks:{request.param}"]


@pytest.fixture
def alone():
    """A process group of this process, which holds all classes."""
    torch.distributed.init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.fixture(params=[1, 2, 4])
def edges(request):
    """Give what becomes of infinities and the like on so many processes."""
    if request.param == 1:
        request.getfixturevalue("alone")
        return ranks.edges()
    return request.getfixturevalue("runs")[f"checks:{request.param}"][0]["edges"]


# --- laws


def test_every_rank_finds_the_same(found):
    def plain(result):
        return json.dumps({key: result[key] for key in ("edges", "losses", "functions")})

    first = plain(found[0]).replace("-0.0", "0.0")
    assert all(plain(result).replace("-0.0", "0.0") == first for result in found)


# --- references


@pytest.mark.parametrize("shards", ["even", "uneven", "first empty"])
def test_loss_and_gradient_are_those_of_pytorch_on_one_process_with_all_options(found, shards):
    cases = found[0]["losses"][shards]
    assert len(cases) == 36
    for case in cases:
        assert case["value"] < 1e-13, case
        assert case["gradient"] < 1e-14, case


@pytest.mark.parametrize("shards", ["even", "uneven", "first empty"])
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
def test_values_and_gradients_are_those_of_pytorch_on_one_process(found, shards, name):
    errors = found[0]["functions"][shards][name]
    assert errors["value"] < 1e-14
    assert errors["gradient"] < 1e-14
    assert found[0]["functions"][shards]["keepdims"] == [2, 1, 3]


@pytest.mark.usefixtures("alone")
def test_one_process_that_holds_all_classes_gives_what_pytorch_does():
    for case in ranks.losses([ranks.V]):
        assert max(case["value"], case["gradient"]) < 1e-13, case
    functions = ranks.functions([ranks.V])
    assert functions.pop("keepdims") == [2, 1, 3]
    for name, errors in functions.items():
        assert max(errors.values()) < 1e-14, name


@pytest.mark.slow
def test_the_command_of_the_readme_agrees_with_pytorch_and_its_loss_parallel():
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    result = subprocess.run(
        [*command, "-m", "softmax_notes.parallel", "--rows", "16", "--classes", "100"],
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert result.returncode == 0, result.stderr
    assert "2 processes (" in result.stdout
    rows = re.findall(r"^(\S.+?) +\[(\d+), (\d+)\] +(\S+) +(\S+) +(\S+)$", result.stdout, re.M)
    assert [row[0] for row in rows] == ["even", "uneven", "one empty", "loss_parallel"]
    assert [row[1:3] for row in rows[1:3]] == [("43", "57"), ("0", "100")]
    for _, _, _, loss, *errors in rows:
        assert loss == rows[0][3]
        assert all(float(error) < 1e-6 for error in errors)
    assert result.stdout.endswith("Equal to PyTorch on one process.\n")


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_rows_may_have_any_number_of_axes(axis):
    random = torch.Generator().manual_seed(3)
    logits = torch.randn(3, 4, 5, generator=random, dtype=torch.float64)
    last = logits.movedim(axis, -1)
    target = torch.randint(last.shape[-1], last.shape[:-1], generator=random)
    options = {"reduction": "none", "label_smoothing": 0.2}
    loss = parallel.cross_entropy(logits, target, axis=axis, **options)
    flat = last.reshape(-1, last.shape[-1]), target.reshape(-1)
    expected = torch.nn.functional.cross_entropy(*flat, **options)
    torch.testing.assert_close(loss, expected.reshape(target.shape), rtol=1e-13, atol=0)


@pytest.mark.usefixtures("alone")
def test_the_table_tells_where_values_agree_and_where_they_do_not(capsys, monkeypatch):
    pytorch = torch.nn.functional.cross_entropy
    by_pytorch = functools.partial(parallel._with_gradient, pytorch)
    monkeypatch.setattr(parallel, "_loss_parallel", by_pytorch)  # it keeps threads of its own
    assert parallel._agrees(4, 9, torch.device("cpu"))
    told = capsys.readouterr().out
    assert told.startswith("1 processes (gloo), 4 rows, float32\n")
    names = re.findall(r"^(\S.+?) +\[9\] +\S+ +\S+e-\S+ +\S+e-\S+$", told, re.M)
    assert names == ["even", "uneven", "one empty", "loss_parallel"]
    assert told.endswith("Equal to PyTorch on one process.\n")
    monkeypatch.setattr(
        parallel, "_loss_parallel", lambda *given: (by_pytorch(*given)[0], torch.zeros(4, 9))
    )
    assert not parallel._agrees(4, 9, torch.device("cpu"))
    assert capsys.readouterr().out.endswith("NOT equal to PyTorch.\n")


# --- edges


def test_the_command_hands_its_options_on(monkeypatch):
    asked = []

    @contextlib.contextmanager
    def processes(*, timeout):
        asked.append(timeout)
        yield "here"

    monkeypatch.setattr(parallel, "processes", processes)
    monkeypatch.setattr(parallel, "_agrees", lambda *given: asked.append(given))
    monkeypatch.setattr(sys, "argv", ["parallel", "--rows", "3", "--classes", "5"])
    assert parallel.main() == 1  # nothing agreed
    monkeypatch.setattr(sys, "argv", ["parallel", "--timeout", "2.5"])
    monkeypatch.setattr(parallel, "_agrees", lambda *given: asked.append(given) or True)
    assert parallel.main() == 0
    assert asked == [60.0, (3, 5, "here"), 2.5, (256, 10_000, "here")]


@pytest.mark.usefixtures("alone")
def test_what_broke_an_exchange_is_said_in_a_line(monkeypatch):
    def broken(*given):
        raise RuntimeError("Connection closed\nat a place that says nothing to a user")

    monkeypatch.setattr(torch.distributed, "all_gather", broken)
    with pytest.raises(
        RuntimeError, match=r"^rank 0 of 1: agreeing .* in time: Connection closed$"
    ):
        parallel.softmax(torch.zeros(3))


def test_the_table_of_the_command_shares_out_any_number_of_classes_among_any_ranks():
    for classes, members in itertools.product(range(1, 20), range(1, 6)):
        for widths in parallel._widths(classes, members).values():
            assert len(widths) == members
            assert sum(widths) == classes
            assert min(widths) >= 0


def test_infinities_and_nan_are_as_on_one_process_wherever_they_lie(edges):
    half, quarter = math.log(2), math.log(4)
    nan = [NAN] * 4
    expected = {
        "softmax": [*[nan] * 5, [0, 0.5, 0, 0.5], [0.25] * 4, [0.5, 0, 0.5, 0]],
        "logsumexp": [NAN, NAN, INF, INF, -INF, half, quarter, 3e38],
        "gradient of logsumexp": [*[[0] * 4] * 5, [0, 0.5, 0, 0.5], [0.25] * 4, [0.5, 0, 0.5, 0]],
        "loss": [*[NAN] * 5, half, quarter, INF],
        "integers": torch.softmax(torch.arange(4.0), 0)[None].tolist(),
        "half": [[0.25] * 4],
        "no classes": [-INF, -INF],
    }
    for name, wanted in expected.items():
        np.testing.assert_allclose(edges[name], wanted, rtol=1e-6, err_msg=name)
    np.testing.assert_array_equal(np.isnan(edges["log_softmax"]), [[i < 5] * 4 for i in range(8)])
    np.testing.assert_allclose(edges["log_softmax"][5], [-INF, -half, -INF, -half], rtol=1e-6)
    assert edges["half dtype"] == "torch.bfloat16"


def test_a_probability_next_to_1_keeps_its_logarithm(edges):
    # mpmath, 20 digits: log_softmax(18, 0), in float32, one score on each of two ranks
    truth = -1.5229979628736488102e-8
    assert edges["log_softmax near 0"] == pytest.approx(truth, rel=1e-6)
    assert edges["loss near 0"] == pytest.approx(-truth, rel=1e-6)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("reduction", "got 'avg'"),
        ("smoothing", "label_smoothing must be from 0 to 1, got 1.5"),
        ("smoothing differs", "do not agree .* 0.2"),
        ("rows", r"do not agree .*\(7,\) rows"),
        ("dtype", "do not agree .*float64"),
        ("complex", "real numbers, got torch.complex64"),
        ("no tensor", "real numbers, got list"),
        ("axis", "Dimension out of range"),
        ("gradient", "do not agree .*with gradient"),
        ("function", "do not agree .*log_softmax"),
        ("target differs", "do not agree .*checksum"),
        ("target swapped", "do not agree .*checksum"),
        ("target range", r"target must be from 0 to \d, got \d"),
        ("target shape", r"target must hold class indices of shape \(6,\)"),
        ("soft range", "probabilities must be from 0 to 1"),
        ("soft ignored", "ignore_index needs class indices"),
        ("weight", "weight must hold one number for each of the 2 classes"),
        ("weight range", "weight must hold finite numbers from 0 on"),
    ],
)
def test_what_is_wrong_on_one_rank_is_an_error_on_all(found, what, message):
    for result in found:
        said = result["complaints"][what]
        assert said.startswith("ValueError: ")
        assert re.search(message, said)
    if what not in ("target range", "soft ignored"):
        assert f"rank {len(found) - 1}: " in said


def test_after_an_error_the_ranks_go_on(found):
    for result in found:
        classes = 2 * len(found)
        assert result["complaints"]["afterwards"] == pytest.approx(math.log(classes), rel=1e-6)


@pytest.mark.parametrize(("scenario", "seconds"), [("dead", 10), ("silent", 30)])
def test_a_rank_that_dies_or_is_silent_is_an_error_in_bounded_time(runs, scenario, seconds):
    first, last = runs[f"{scenario}:2"]
    assert first["first"] == pytest.approx((math.log(6)), rel=1e-6)  # twice three classes
    assert re.match(
        "RuntimeError: rank 0 of 2: agreeing on the arguments failed, because another rank has "
        "died or did not answer in time: ",
        first["said"],
    )
    assert first["seconds"] < seconds
    if scenario == "dead":
        assert last is None


def test_without_torchrun_or_processes_the_error_says_what_to_do(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(RuntimeError, match="torchrun --nproc-per-node"), parallel.processes():
        pass
    with pytest.raises(RuntimeError, match="no process group: call this within"):
        parallel.softmax(torch.zeros(2))


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_a_loss_of_16_bits_is_added_up_in_float32_and_rounded_once(dtype, reduction):
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(2000, 3, generator=random).to(dtype)
    target = torch.randint(3, (2000,), generator=random)
    weight = torch.tensor([0.5, 1.0, 0.25]).to(dtype)
    loss = parallel.cross_entropy(logits, target, weight=weight, reduction=reduction)
    wide = logits.double(), target, weight.double()
    expected = torch.nn.functional.cross_entropy(*wide, reduction=reduction)
    torch.testing.assert_close(loss, expected.to(dtype), rtol=torch.finfo(dtype).eps, atol=0)


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"group": [0]}, TypeError, "group must be a ProcessGroup, got list"),
        ({"reduction": "avg"}, ValueError, "reduction must be .* got 'avg'"),
        ({"label_smoothing": 1.5}, ValueError, "label_smoothing must be from 0 to 1, got 1.5"),
        ({"logits": [0.0]}, ValueError, "logits must be .* real numbers, got list"),
        ({"logits": torch.zeros(2, 3) * 1j}, ValueError, "logits must be .* got torch.complex64"),
        ({"target": [0, 1]}, ValueError, "target must be a torch.Tensor .* got list"),
        ({"axis": 2}, ValueError, "rank 0: IndexError: Dimension out of range"),
        ({"target": torch.tensor([0, 3])}, ValueError, "target must be from 0 to 2, got 3"),
        ({"target": torch.tensor([-1, 0])}, ValueError, "target must be from 0 to 2, got -1"),
        ({"target": torch.tensor([0])}, ValueError, r"indices of shape \(2,\) .*got shape \(1,\)"),
        ({"target": torch.full((2, 3), 1.5)}, ValueError, "probabilities must be from 0 to 1"),
        ({"target": -torch.ones(2, 3)}, ValueError, "probabilities must be from 0 to 1"),
        ({"target": torch.ones(2, 3), "ignore_index": 0}, ValueError, "needs class indices"),
        ({"weight": torch.ones(2)}, ValueError, "each of the 3 classes of this rank"),
        ({"weight": -torch.ones(3)}, ValueError, "weight must hold finite numbers from 0 on"),
        ({"weight": torch.full((3,), INF)}, ValueError, "weight must hold finite numbers"),
        ({"weight": [1.0] * 3}, ValueError, "weight must be a torch.Tensor .* got list"),
    ],
)
def test_an_argument_that_is_wrong_is_named(change, error, message):
    call = {"logits": torch.zeros(2, 3), "target": torch.tensor([0, 1])} | change
    with pytest.raises(error, match=message):
        parallel.cross_entropy(call.pop("logits"), call.pop("target"), **call)


@pytest.mark.parametrize("name", ["rows", "ranks", "itemsize"])
def test_bytes_are_those_of_positive_whole_numbers(name):
    assert parallel.bytes_sent(0, 1, 1) == 0
    # 5 · 3 + 1 numbers, of which two ranks send each other all; and 24 bytes to agree.
    assert parallel.bytes_sent(rows=3, ranks=2, itemsize=8) == 16 * 8 + 24
    with pytest.raises(ValueError, match=f"{name} must be a positive whole number, got -1"):
        parallel.bytes_sent(**({"rows": 1, "ranks": 1} | {name: -1}))
    with pytest.raises(TypeError, match=f"{name} must be an integer"):
        parallel.bytes_sent(**({"rows": 1, "ranks": 1} | {name: 0.5}))


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
def test_what_was_differentiated_once_says_that_it_cannot_be_again(name):
    x = torch.zeros(3, requires_grad=True)
    value = getattr(parallel, name)(x).sum()
    (grad,) = torch.autograd.grad(value * x[0], x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()
