"""Hypothesis profiles, and the array libraries that every law is tried on."""

import os
from importlib.metadata import version

import pytest
from hypothesis import HealthCheck, Phase, settings

# Processes share the cores: threads of BLAS and OpenMP, which wait for one another in a loop, would
# take from the one what the other needs. The kernels of notebooks inherit this.
os.environ.setdefault("OMP_NUM_THREADS", "1")

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "quick")
if PROFILE == "quick":
    # Most of JAX's time is compilation: here it is quick, in the other profiles as users have it.
    flags = "--xla_backend_optimization_level=0"
    if tuple(map(int, version("jax").split(".")[:2])) < (0, 11):  # later ones end at the second
        flags += " --xla_cpu_use_fusion_emitters=false"
    os.environ.setdefault("XLA_FLAGS", flags)

from tests.libraries import LIBRARIES, marks  # noqa: E402
from tests.pytorch import MISSING, Absent, torch  # noqa: E402

if isinstance(torch, Absent):

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(item):
        """Skip what needs PyTorch after all, in our code or in a doctest."""
        try:
            return (yield)
        except Exception as error:
            causes = [error, error.__cause__, *getattr(error, "failures", ())]
            causes += [cause.exc_info[1] for cause in causes if hasattr(cause, "exc_info")]
            if any(isinstance(cause, ImportError) and "torch" in str(cause) for cause in causes):
                pytest.skip(MISSING)
            raise

    # These are about nothing else.
    collect_ignore = [
        "ranks.py", "test_fuzz.py", "test_linear_cross_entropy.py", "test_parallel.py",
    ]  # fmt: skip

settings.register_profile(
    "quick",
    deadline=None,
    max_examples=10,  # `make mutants` shows that nearly every change to the package is seen
    derandomize=True,
    # The fixture `library` is one value for a whole test; examples do not share state.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
settings.register_profile("thorough", settings.get_profile("quick"), max_examples=2000)
# Of a mutant one counterexample is enough, and no smaller one is looked for.
settings.register_profile(
    "mutants",
    settings.get_profile("quick"),
    database=None,
    phases=[Phase.explicit, Phase.generate],
)
settings.load_profile(PROFILE)


@pytest.fixture(
    params=[pytest.param(LIBRARIES[name], id=name, marks=marks(name)) for name in LIBRARIES]
)
def library(request):
    return request.param


@pytest.fixture(params=["numpy", "torch", "strict"])
def quick_library(request):
    """Give the libraries that start at once: laws with many examples are tried on these."""
    return LIBRARIES[request.param]


@pytest.fixture(params=["numpy", "torch", pytest.param("dask", marks=marks("dask")), "strict"])
def edge_library(request):
    """Give all but JAX, which compiles every operation for every shape, half a second each."""
    return LIBRARIES[request.param]
