"""Fetch Python for the browser (Pyodide, SymPy, mpmath) into _build/live.

    python book/fetch_python.py

Needs npm and pip, which take the packages from the registries they are set up for. Versions and
checksums are those of book/_assets/derive/pinned.json: another file is refused.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PINNED = ROOT / "book" / "_assets" / "derive" / "pinned.json"
TARGET = ROOT / "_build" / "live"
LIBRARY = "library.zip"
LEFT_OUT = ("/tests/", "/benchmarks/", ".data/")  # of a wheel: a third of SymPy


def fetch(target: Path, packages: list[dict[str, Any]]) -> None:
    """Fetch what is pinned, check it, and only then put it in place."""
    with tempfile.TemporaryDirectory() as name:
        folder, ready = Path(name), Path(name) / "ready"
        ready.mkdir()
        wheels = []
        for package in packages:
            download(package, folder)
            for file, digest in package["files"].items():
                check(folder / file, digest)
                if file.endswith(".whl"):
                    wheels.append(folder / file)
                else:
                    shutil.copy(folder / file, ready)
        pack(wheels, ready / LIBRARY)
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(ready, target)


def download(package: dict[str, Any], folder: Path) -> None:
    """Let npm or pip fetch one package, without what it depends on."""
    name, version = package["name"], package["version"]
    if package["client"] == "pip":
        flags = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]
        what = ["download", *flags, "--dest", str(folder), f"{name}=={version}"]
        subprocess.run([sys.executable, "-m", "pip", *what], check=True)
        return
    npm = shutil.which("npm") or "npm"
    what = ["pack", f"{name}@{version}", "--silent", "--pack-destination", str(folder)]
    subprocess.run([npm, *what], check=True, stdout=subprocess.DEVNULL)
    with tarfile.open(folder / f"{name}-{version}.tgz") as archive:
        for file in package["files"]:
            (folder / file).write_bytes(archive.extractfile(f"package/{file}").read())


def check(path: Path, digest: str) -> None:
    """Refuse a file that is not the one that was pinned."""
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != digest:
        raise ValueError(f"{path.name} is not the file that was pinned: its SHA-256 is {found}")


def pack(wheels: list[Path], target: Path) -> None:
    """Put the wheels into one archive, without their tests."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as library:
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as source:
                for entry in source.infolist():
                    if not any(part in entry.filename for part in LEFT_OUT):
                        kept = zipfile.ZipInfo(entry.filename)
                        library.writestr(kept, source.read(entry), zipfile.ZIP_DEFLATED)


def main() -> int:
    fetch(TARGET, json.loads(PINNED.read_text(encoding="utf-8")))
    size = sum(path.stat().st_size for path in TARGET.iterdir()) / 1e6
    print(f"{TARGET.relative_to(ROOT)}: {size:.0f} MB. `make book` puts it into the site.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
