"""The sdist and the wheel in _build/dist: what `make package` builds and tries.

Slower than the other tests, and it installs from the index. The file's name keeps it out of
`make test`.
"""

import importlib.util
import re
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from email.parser import BytesParser
from pathlib import Path

import pytest

from tests.test_extras import BARE, judge

ROOT = Path(__file__).parent.parent
DIST = ROOT / "_build" / "dist"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
VERSION = PROJECT["version"]
WHEEL = DIST / f"softmax_notes-{VERSION}-py3-none-any.whl"
SDIST = DIST / f"softmax_notes-{VERSION}.tar.gz"


def test_one_sdist_and_one_wheel_were_built():
    assert sorted(DIST.iterdir()) == sorted([SDIST, WHEEL])


def test_the_wheel_holds_the_package_and_nothing_else():
    tracked = subprocess.run(
        ["git", "ls-files", "softmax_notes"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    with zipfile.ZipFile(WHEEL) as wheel:
        names = set(wheel.namelist())
    about = {name for name in names if name.startswith(f"softmax_notes-{VERSION}.dist-info/")}
    assert names - about == set(tracked)
    assert "softmax_notes/py.typed" in names
    assert f"softmax_notes-{VERSION}.dist-info/licenses/LICENSE" in about


def test_the_metadata_says_what_pyproject_says():
    with zipfile.ZipFile(WHEEL) as wheel:
        text = wheel.read(f"softmax_notes-{VERSION}.dist-info/METADATA")
    metadata = BytesParser().parsebytes(text)
    assert metadata["Version"] == VERSION
    assert metadata["License-Expression"] == PROJECT["license"]
    assert metadata["Requires-Python"] == PROJECT["requires-python"]
    assert set(metadata.get_all("Provides-Extra")) == set(PROJECT["optional-dependencies"])
    plain = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    assert sorted(plain) == sorted(PROJECT["dependencies"])


def test_the_sdist_builds_without_the_repository_and_bears_its_licenses():
    with tarfile.open(SDIST) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    wanted = {"pyproject.toml", "README.md", "CHANGELOG.md", "CITATION.cff", "LICENSE"}
    assert wanted <= names
    assert not any(re.match(r"(tests|book|benchmarks|_build|\.)", name) for name in names)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Install the wheel into a new environment; pip brings NumPy and array-api-compat."""
    folder = tmp_path_factory.mktemp("alone")
    venv.create(folder, with_pip=False)
    scripts = folder / ("Scripts" if sys.platform == "win32" else "bin")
    pip = [sys.executable, "-m", "pip", "--python", str(scripts / "python"), "--quiet"]
    subprocess.run([*pip, "--disable-pip-version-check", "install", str(WHEEL)], check=True)
    return scripts


def run(*command, cwd):
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


def test_the_wheel_brings_numpy_and_array_api_compat_alone(alone, tmp_path):
    code = "import importlib.metadata as m; print(*sorted(d.name for d in m.distributions()))"
    done = run(alone / "python", "-c", code, cwd=tmp_path)
    assert done.stdout.split() == ["array-api-compat", "numpy", "softmax-notes"]


def test_installed_from_the_wheel_the_core_works_and_the_rest_names_its_extra(alone, tmp_path):
    done = run(alone / "python", "-W", "error", "-c", BARE, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    judge(done.stdout)
    where = run(
        alone / "python", "-c", "import softmax_notes; print(softmax_notes.__file__)", cwd=tmp_path
    )
    assert "site-packages" in where.stdout


def test_the_command_says_its_version_and_what_it_lacks(alone, tmp_path):
    assert importlib.util.find_spec("hypothesis")  # here; not there
    assert run(alone / "softmax-notes", "--version", cwd=tmp_path).stdout.split()[-1] == VERSION
    done = run(alone / "softmax-notes", "check", "numpy:exp", cwd=tmp_path)
    assert done.returncode == 2
    assert "pip install 'softmax-notes[check]'" in done.stderr
