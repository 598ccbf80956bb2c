"""Ask what is known against the pinned versions, and store the answer in tests/audit.json.

    python tests/audit.py

Three questions: to pip-audit, for advisories on what requirements.txt pins; to npm audit, for
those on tests/quality/package-lock.json; to pip, for files that their authors have withdrawn.
A service that does not answer is stored as such: no answer is not a good one. tests/test_supply.py
compares the stored versions with those pinned now, so that a change asks for a new audit.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
ANSWER = ROOT / "tests" / "audit.json"
PYTHON = "requirements.txt"
NPM = "tests/quality/package-lock.json"
PIP_AUDIT = ["pip-audit", "--requirement", PYTHON, "--no-deps", "--disable-pip"]


def pinned(root: Path = ROOT) -> dict[str, list[str]]:
    """List every name==version that the two lock files pin."""
    python = re.findall(r"^([\w.-]+==[\w.+]+)", (root / PYTHON).read_text("utf-8"), re.MULTILINE)
    packages = json.loads((root / NPM).read_text("utf-8"))["packages"]
    npm = [
        f"{path.rpartition('node_modules/')[2]}=={package['version']}"
        for path, package in packages.items()
        if path
    ]
    return {"python": sorted(set(python)), "npm": sorted(set(npm))}


def digest(versions: list[str]) -> str:
    """Make one short name of a list of versions."""
    return hashlib.sha256("\n".join(versions).encode()).hexdigest()


def ask(command: list[str], folder: Path) -> tuple[Any, str]:
    """Run a client that answers in JSON: its answer, or None and what it said instead."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    try:
        return json.loads(done.stdout), ""
    except ValueError:
        return None, f"no answer (exit status {done.returncode})"


def python_advisories() -> dict[str, Any]:
    answer, why = ask([*PIP_AUDIT, "--format", "json", "--progress-spinner", "off"], ROOT)
    if answer is None:
        return {"answered": 0, "of": len(pinned()["python"]), "found": [], "why": why}
    asked = answer["dependencies"]
    heard = [package for package in asked if "vulns" in package]
    found = {f"{p['name']}=={p['version']}: {v['id']}" for p in heard for v in p["vulns"]}
    why = next((re.sub(r":.*", "", p["skip_reason"]) for p in asked if "skip_reason" in p), "")
    return {"answered": len(heard), "of": len(asked), "found": sorted(found), "why": why}


def npm_advisories() -> dict[str, Any]:
    count = len(pinned()["npm"])
    answer, why = ask(["npm", "audit", "--json", "--package-lock-only"], (ROOT / NPM).parent)
    if answer is None or "vulnerabilities" not in answer:
        code = (answer or {}).get("statusCode")
        return {"answered": 0, "of": count, "found": [], "why": f"HTTP {code}" if code else why}
    return {"answered": count, "of": count, "found": sorted(answer["vulnerabilities"]), "why": ""}


def withdrawn() -> dict[str, Any]:
    """Ask pip which of the pinned files their authors have yanked."""
    with tempfile.TemporaryDirectory() as folder:
        lines = [line for line in pinned()["python"] if not line.startswith("torch==")]
        plain = Path(folder, "pinned.txt")
        plain.write_text("\n".join(here(lines)), "utf-8")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        command += [
            "--dry-run",
            "--ignore-installed",
            "--no-deps",
            "--report",
            "-",
            "-r",
            str(plain),
        ]
        answer, why = ask(command, ROOT)
    if answer is None:
        return {"answered": 0, "of": len(lines), "found": [], "why": why}
    files = answer["install"]
    found = [f["metadata"]["name"] for f in files if f.get("is_yanked")]
    why = "" if len(files) == len(lines) else "the others are not installed on this system"
    return {"answered": len(files), "of": len(lines), "found": sorted(found), "why": why}


def here(lines: list[str]) -> list[str]:
    """Keep the lines whose packages this environment has: others are for other systems."""
    from importlib.metadata import distributions

    there = {re.sub(r"[-_.]+", "-", d.name).lower() + "==" + d.version for d in distributions()}
    return [line for line in lines if line in there]


def main() -> int:
    answer = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": {name: digest(versions) for name, versions in pinned().items()},
        "advisories": {"pip-audit": python_advisories(), "npm audit": npm_advisories()},
        "withdrawn files": withdrawn(),
    }
    ANSWER.write_text(json.dumps(answer, indent=2) + "\n", "utf-8")
    print(json.dumps(answer, indent=2))
    found = [*answer["advisories"].values(), answer["withdrawn files"]]
    return int(any(part["found"] for part in found))


if __name__ == "__main__":
    sys.exit(main())
