"""PyTorch; where it is not installed, a stand-in with which every test that uses it is skipped."""

import importlib
import os

import pytest

__all__ = ["Absent", "needing_torch", "torch", "with_torch"]

MISSING = "PyTorch is not installed"


def running():
    return "PYTEST_CURRENT_TEST" in os.environ


class Absent(type):
    """Whatever is looked up or called while tests are collected; a skip in a test that runs."""

    def __getattr__(cls, name):
        if name == "Tensor":  # so that isinstance(x, torch.Tensor) is false
            return Absent(name, (), {})
        if name.startswith("__") and not running():
            raise AttributeError(name)
        return cls()

    def __call__(cls, *_, **__):
        if running():
            pytest.skip(MISSING)
        return Absent("absent", (), {})


try:
    import torch
except ModuleNotFoundError:
    if os.environ.get("CI"):
        raise
    torch = Absent("torch", (), {})


def needing_torch(module):
    """Import a module that imports PyTorch, within the test that needs it."""
    if isinstance(torch, Absent):
        pytest.skip(MISSING)
    return importlib.import_module(module)


def with_torch(module):
    """Import a module that imports PyTorch; without PyTorch, give the same stand-in."""
    return torch if isinstance(torch, Absent) else importlib.import_module(module)
