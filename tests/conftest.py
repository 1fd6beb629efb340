"""What every test runs under: float64, no silent promotion of types or ranks, checked shapes."""

import os
from pathlib import Path

import jax
import jaxtyping
import matplotlib
import pytest
from jax.experimental.compilation_cache import compilation_cache

matplotlib.use("Agg")
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
# Must come before the first import of odelandscape, which is why it stands here.
jaxtyping.install_import_hook("odelandscape", "beartype.beartype")


@pytest.fixture
def unchecked():
    """Without the checks of annotations: what a user who passes a wrong argument meets."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@pytest.fixture(autouse=True, scope="session")
def shared_programs(tmp_path_factory):
    """The folder of compiled programs that the processes of one run of the tests share."""
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "programs"
    folder.mkdir(exist_ok=True)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    jax.config.update("jax_logging_level", "CRITICAL")  # see `runtime.cache`
    _keep_programs(folder)
    return folder


def _keep_programs(folder: Path) -> None:
    jax.config.update("jax_compilation_cache_dir", str(folder))
    compilation_cache.reset_cache()


@pytest.fixture(autouse=True)
def no_other_programs(shared_programs):
    """A test that keeps compiled programs, as commands do, does so for itself alone."""
    yield
    if getattr(jax.config, "jax_compilation_cache_dir", None) != str(shared_programs):
        _keep_programs(shared_programs)


@pytest.fixture(autouse=True, scope="module")
def few_programs():
    """Forget compiled programs before there are too many of them.

    Each maps memory, and past the limit on maps (65,530 on Linux) LLVM aborts the process as it compiles.
    """
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and len(maps.read_bytes().splitlines()) > 20_000:
        jax.clear_caches()
