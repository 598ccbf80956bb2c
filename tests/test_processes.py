"""The same bits from eight threads at once, and in children of every kind of birth."""

import json
import os
import subprocess
import sys
from pathlib import Path

# --- edges


def test_threads_and_processes_give_the_same_bits():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.digests"],
        cwd=Path(__file__).parent.parent, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    births = ["forked"] * hasattr(os, "fork") + ["spawned"]
    assert list(found) == ["alone", *(f"thread {i}" for i in range(8)), *births]
    assert set(map(len, found.values())) == {64}
    assert len(set(found.values())) == 1, found
