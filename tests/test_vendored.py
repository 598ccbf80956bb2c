"""Files of others that the site serves: each as it was published, with its license."""

import hashlib
import json
from pathlib import Path

import pytest

ASSETS = Path(__file__).parent.parent / "book/_assets"
RECORD = json.loads((ASSETS / "vendor/vendored.json").read_text(encoding="utf-8"))

packages = pytest.mark.parametrize("package", RECORD, ids=lambda package: package["name"])


@packages
def test_every_vendored_file_is_the_one_that_was_published(package):
    for path, file in package["files"].items():
        digest = hashlib.sha256((ASSETS / path).read_bytes()).hexdigest()
        assert digest == file["sha256"], path


@packages
def test_every_vendored_package_comes_with_its_license(package):
    licenses = [path for path in package["files"] if Path(path).name == "LICENSE"]
    assert len(licenses) == 1
    text = (ASSETS / licenses[0]).read_text(encoding="utf-8")
    words = {
        "ISC": "Permission to use, copy, modify, and/or distribute this software for any purpose",
        "MIT": "MIT License",
    }
    assert words[package["license"]] in text
    assert package["source"] == f"npm: {package['name']}@{package['version']}"


def test_no_file_of_others_is_left_out_of_the_record():
    recorded = {path for package in RECORD for path in package["files"]}
    found = {
        path.relative_to(ASSETS).as_posix()
        for folder in ("vendor", "katex")
        for path in (ASSETS / folder).rglob("*")
        if path.is_file()
    }
    assert found - {"vendor/vendored.json"} == recorded
