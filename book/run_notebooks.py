"""Run notebooks in place and store their outputs, so that only a real change shows in git.

    python book/run_notebooks.py book/jacobian.ipynb ...

A notebook with a failing cell is left as it was; the cell and its error are printed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellControlSignal, DeadKernelError
from tqdm import tqdm

# The same on every machine: no version of Python, no environment's name.
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"file_extension": ".py", "mimetype": "text/x-python", "name": "python"},
}
FAILURES = (CellControlSignal, DeadKernelError, OSError)


def normalize(notebook: nbformat.NotebookNode) -> None:
    """Drop what changes without a reason; name each cell after its source."""
    notebook.metadata = nbformat.from_dict(METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    seen: Counter[str] = Counter()
    for cell in notebook.cells:
        digest = hashlib.sha256(cell.source.encode()).hexdigest()[:8]
        cell.id = f"{digest}-{seen[digest]}"
        seen[digest] += 1
        if cell.cell_type == "code":
            cell.outputs = merged_streams(cell.outputs)
        kept = {key: cell.metadata[key] for key in ("tags", "mystnb") if key in cell.metadata}
        cell.metadata = nbformat.from_dict(kept)


def merged_streams(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Join what was printed in several pieces: where it breaks depends on the speed."""
    merged: list[nbformat.NotebookNode] = []
    for output in outputs:
        if merged and output.get("name") and output.get("name") == merged[-1].get("name"):
            merged[-1].text += output.text
        else:
            merged.append(output)
    return merged


def run(path: Path, progress: tqdm[Any]) -> None:
    """Run one notebook in its own folder, and write it only if every cell succeeded."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    NotebookClient(
        notebook,
        kernel_name="python3",
        record_timing=False,
        timeout=600,
        resources={"metadata": {"path": str(path.parent)}},
        extra_arguments=["--log-level=ERROR"],  # else a warning about local ports each time
        on_cell_start=lambda cell, cell_index: progress.update(),
    ).execute()
    normalize(notebook)
    nbformat.validate(notebook)
    unfinished = path.with_suffix(".part")
    nbformat.write(notebook, unfinished)
    unfinished.replace(path)


def main() -> int:
    parser = argparse.ArgumentParser(description="Run notebooks in place.")
    parser.add_argument("notebooks", nargs="+", type=Path)
    paths = parser.parse_args().notebooks
    os.environ["SOURCE_DATE_EPOCH"] = "0"  # matplotlib writes the date into every SVG
    failed = []
    with tqdm(total=sum(len(nbformat.read(p, 4).cells) for p in paths), unit="cell") as progress:
        for path in paths:
            progress.set_description(path.stem)
            try:
                run(path, progress)
            except FAILURES as error:
                failed.append(path.name)
                progress.write(f"{path} failed and was not changed:\n{error}", file=sys.stderr)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
