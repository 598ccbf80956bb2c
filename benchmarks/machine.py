"""What a study says about the machine that it was made on, and about memory."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

PACKAGES = ("numpy", "scipy", "torch", "jax", "jaxlib", "mpmath")


def machine(packages: tuple[str, ...] = PACKAGES) -> dict[str, Any]:
    """Name the processor, the system and the versions of what takes part."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        processor = next(x.split(":")[1].strip() for x in lines if x.startswith("model name"))
    except (OSError, StopIteration):
        processor = platform.processor() or "unknown"
    return {
        "processor": processor,
        "architecture": platform.machine(),
        "system": platform.system(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{name: version(name).split("+")[0] for name in packages},
    }


def resident(field: str) -> int:
    """Give the resident memory of this process in bytes: VmRSS now, VmHWM the most so far."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))
