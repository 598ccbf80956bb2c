"""What is installed: pinned, with hashes, from wherever it comes, and audited as it stands."""

import hashlib
import json
import re
import subprocess
import tomllib
from itertools import chain
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.audit import digest, pinned

ROOT = Path(__file__).parent.parent
MOBY_DICK = "a724e2f048ab26fb9e77d6223bc4a2c6e7af08352878dff991501a1267766dd6"
LOCKS = [f"requirements{part}.txt" for part in ("", "-cpu", "-cuda", "-tools")]


def lines(name):
    """Give the lines of a requirements file; those that a backslash continues are one."""
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize("name", LOCKS)
def test_every_pinned_version_has_its_hashes_and_names_no_host(name):
    assert lines(name)
    for line in lines(name):
        assert re.fullmatch(
            r"[a-z0-9.-]+==[\w.+]+( ; [^#@]+?)?( +--hash=sha256:[0-9a-f]{64})+ *", line
        ), line
    assert "://" not in (ROOT / name).read_text(encoding="utf-8")


def test_pytorch_is_one_version_and_the_books_environment_names_nothing_of_cuda():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    [torch] = re.findall(r'"torch==([\d.]+)"', project)
    assert f'version = "{torch}"' in project  # the requirements that uv is told of
    assert [line.split()[0] for line in lines("requirements.txt") if line.startswith("torch")] == [
        f"torch=={torch}"
    ]
    assert lines("requirements-cpu.txt")[0].startswith(f"torch=={torch}+cpu ")
    cuda = re.compile(r"cuda|nvidia|triton")
    assert not any(cuda.match(line) for line in lines("requirements.txt"))
    assert all(cuda.match(line) for line in lines("requirements-cuda.txt"))


def test_every_npm_package_has_its_hash_and_names_no_host():
    text = (ROOT / "tests/quality/package-lock.json").read_text(encoding="utf-8")
    packages = {path: entry for path, entry in json.loads(text)["packages"].items() if path}
    assert packages
    for path, entry in packages.items():
        assert entry["integrity"].startswith("sha512-"), path
        assert "resolved" not in entry, path


def test_the_audit_is_of_the_versions_pinned_now_and_found_nothing():
    answer = json.loads((ROOT / "tests/audit.json").read_text(encoding="utf-8"))
    stored = answer["versions"]
    assert stored == {name: digest(versions) for name, versions in pinned().items()}, (
        "other versions are pinned than were audited: run make audit"
    )
    for part in [*answer["advisories"].values(), answer["withdrawn files"]]:
        assert part["found"] == []
        assert part["answered"] == part["of"] or part["why"]  # what went unanswered is said


def test_the_version_is_that_of_pyproject_wherever_it_is_told():
    [version] = re.findall(
        r'^version = "([\d.]+)"$',
        (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("\n[[tool.uv")[0],
        re.MULTILINE,
    )
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == version
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## ([\d.]+)", changes, re.MULTILINE)[0] == version


def test_every_file_from_elsewhere_is_named_with_its_license_in_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Licenses")[2]
    vendored = json.loads((ROOT / "book/_assets/vendor/vendored.json").read_text(encoding="utf-8"))
    fetched = json.loads((ROOT / "book/_assets/derive/pinned.json").read_text(encoding="utf-8"))
    for package in [*vendored, *fetched]:
        name = "d3" if package["name"].startswith("d3-") else package["name"]
        assert re.search(rf"{name}[^.]*{re.escape(package['license'])}", readme, re.IGNORECASE)
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    packed = [path for path in tracked if re.search(r"\.(gz|woff2?|ttf|zip|whl|wasm|jar)$", path)]
    fonts = {f"book/_assets/{path}" for package in vendored for path in package["files"]}
    assert set(packed) - fonts == {"softmax_notes/moby_dick_counts.txt.gz"}
    assert "moby_dick_counts" in readme
    counts = (ROOT / "softmax_notes/moby_dick_counts.txt.gz").read_bytes()
    assert hashlib.sha256(counts).hexdigest() == MOBY_DICK


def test_before_a_commit_the_hooks_run_what_make_lint_runs():
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\nlint:")[2]
    lint = re.findall(
        r"^\t\$\(BIN\)/(\S+( [a-z]+( --check)?)?)", recipe.partition("\n\n")[0], re.MULTILINE
    )
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    entries = [hook["entry"] for repo in config["repos"] for hook in repo["hooks"]]
    assert len(lint) == len(entries)
    for (command, *_), entry in zip(lint, entries, strict=True):
        assert re.sub(r" \.$", "", command) in entry


def test_the_tools_need_no_other_versions_than_the_rest():
    rest, tools = (
        dict(line.split()[0].split("==") for line in lines(name))
        for name in ("requirements.txt", "requirements-tools.txt")
    )
    assert {"pip-audit", "pre-commit"} <= tools.keys()
    assert {name: tools[name] for name in tools.keys() & rest} == {
        name: rest[name] for name in tools.keys() & rest
    }


def test_the_pinned_versions_are_ones_that_pyproject_allows():
    pins = dict(line.split()[0].split("==") for line in lines("requirements.txt"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for line in chain(project["dependencies"], *project["optional-dependencies"].values()):
        wanted = Requirement(line)
        if wanted.name != project["name"]:
            assert wanted.specifier.contains(pins[canonicalize_name(wanted.name)]), line
