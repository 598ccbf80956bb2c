"""The built site before Lighthouse: speed on a phone, accessibility, good practice, search engines.

Speed is measured, so let nothing else run meanwhile: `make speed`.
"""

import json
import os
import shutil
import statistics
import subprocess
from pathlib import Path

import pytest

from tests.browser import COMPRESSED, FLAGS, ROOT, SITE, address, program

__all__ = ["address", "program"]  # fixtures
LIGHTHOUSE = Path(__file__).parent / "node_modules" / "lighthouse" / "cli" / "index.js"
FRONT = "book/intro.html"
CHAPTERS = [f"book/{path.stem}.html" for path in (ROOT / "book").glob("*.ipynb")]
HEAVIEST = max(
    CHAPTERS, key=lambda page: (SITE / page).stat().st_size if (SITE / page).exists() else 0
)
CATEGORIES = ("performance", "accessibility", "best-practices", "seo")
LEAST_SCORE = 0.95
# Lighthouse takes its phone to be four times slower than a fast desktop. On any other machine that
# is another phone, unless the factor follows Lighthouse's own measure of the machine.
FACTOR, FAST_DESKTOP = 4, 1750


@pytest.mark.parametrize("page", [FRONT, HEAVIEST])
def test_lighthouse_gives_at_least_95(page, address, program):
    speed = judged(address + page, program, FACTOR)["environment"]["benchmarkIndex"]
    factor = max(1, FACTOR * min(1, speed / FAST_DESKTOP))
    runs = []
    while not runs or (len(runs) < 3 and lowest(runs) < LEAST_SCORE):
        # The middle of three, if one is not enough.
        runs.append(judged(address + page, program, factor))
    scores = {name: [run["categories"][name]["score"] for run in runs] for name in CATEGORIES}
    assert lowest(runs) >= LEAST_SCORE, (scores, speed, factor)
    assert max(run["audits"]["cumulative-layout-shift"]["numericValue"] for run in runs) < 0.01
    assert [run["audits"]["errors-in-console"]["score"] for run in runs] == [1] * len(runs)
    items = runs[0]["audits"]["network-requests"]["details"]["items"]
    assert {item["statusCode"] for item in items} == {200}
    assert sum(item["transferSize"] for item in items) <= COMPRESSED


def judged(url, program, factor):
    command = [shutil.which("node"), str(LIGHTHOUSE), url, "--quiet", "--output=json"]
    command += [f"--throttling.cpuSlowdownMultiplier={factor}"]
    run = subprocess.run(
        [*command, f"--chrome-flags=--headless=new {' '.join(FLAGS)}"],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "CHROME_PATH": program},
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def lowest(runs):
    """The lowest category of all, each by the middle of its scores."""
    return min(
        statistics.median(run["categories"][name]["score"] for run in runs) for name in CATEGORIES
    )
