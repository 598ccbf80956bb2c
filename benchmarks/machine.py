"""What a study says about the machine that it was made on, and about memory."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

# Flags of /proc/cpuinfo, the widest first.
VECTORS = {"avx512f": "AVX-512", "avx2": "AVX2", "avx": "AVX", "sse2": "SSE2", "asimd": "NEON"}
PACKAGES = ("numpy", "scipy", "torch", "jax", "jaxlib", "mpmath")


def machine(packages: tuple[str, ...] = PACKAGES) -> dict[str, Any]:
    """Name the processor, its vectors, the system and the versions of what takes part."""
    about = processor_info()
    flags = (about.get("flags") or about.get("Features") or "").split()
    return {
        "processor": about.get("model name") or platform.processor() or "unknown",
        "vectors": next((name for flag, name in VECTORS.items() if flag in flags), "unknown"),
        "architecture": platform.machine(),
        "system": platform.system(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{name: version(name).split("+")[0] for name in packages},
    }


def processor_info() -> dict[str, str]:
    """Give what Linux says of the first processor; nothing elsewhere."""
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def resident(field: str) -> int:
    """Give the resident memory of this process in bytes: VmRSS now, VmHWM the most so far."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))
