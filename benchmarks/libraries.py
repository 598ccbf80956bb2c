"""What ``softmax_notes.check`` says of SciPy, PyTorch and JAX at the level production.

    python -m benchmarks.libraries       # from the root of the repository; a few minutes

The result goes to benchmarks/libraries.json, from which the chapter ``check`` draws its table.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import scipy.special
import torch
from tqdm import tqdm

from benchmarks.machine import machine
from softmax_notes import check

RESULT = Path(__file__).with_name("libraries.json")


def torch_gradient(logits: Any, target: Any) -> Any:
    x = logits.clone().requires_grad_(True)
    return torch.autograd.grad(torch.nn.functional.cross_entropy(x, target), x)[0]


def torch_vjp(p: Any, g: Any, dim: int = -1) -> Any:
    """Call the kernel that autograd calls."""
    return torch.ops.aten._softmax_backward_data(g, p, dim, p.dtype)


def jax_loss(logits: Any, target: Any) -> Any:
    log_p = jax.nn.log_softmax(logits, axis=-1)
    return -jax.numpy.take_along_axis(log_p, target[:, None], axis=-1).mean()


FUNCTIONS = [
    ("SciPy", "numpy", "softmax", scipy.special.softmax),
    ("SciPy", "numpy", "log_softmax", scipy.special.log_softmax),
    ("SciPy", "numpy", "logsumexp", scipy.special.logsumexp),
    ("PyTorch", "torch", "softmax", torch.softmax),
    ("PyTorch", "torch", "log_softmax", torch.log_softmax),
    ("PyTorch", "torch", "logsumexp", torch.logsumexp),
    ("PyTorch", "torch", "cross_entropy", torch.nn.functional.cross_entropy),
    ("PyTorch", "torch", "cross_entropy_grad", torch_gradient),
    ("PyTorch", "torch", "softmax_vjp", torch_vjp),
    ("JAX", "jax", "softmax", jax.nn.softmax),
    ("JAX", "jax", "log_softmax", jax.nn.log_softmax),
    ("JAX", "jax", "logsumexp", jax.nn.logsumexp),
    ("JAX", "jax", "cross_entropy", jax_loss),
]


def main() -> None:
    torch.set_num_threads(1)
    rows = []
    for name, library, kind, function in (bar := tqdm(FUNCTIONS, unit="function")):
        bar.set_postfix_str(f"{name} {kind}")
        report = check.run(function, kind, library, "production", timeout=60, max_examples=20)
        rows.append({"peer": name, **report.to_dict()})
    study = {"machine": machine(), "reports": rows}
    RESULT.write_text(json.dumps(study, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"Written: {RESULT.name}")


if __name__ == "__main__":
    main()
