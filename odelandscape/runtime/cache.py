"""Where compiled programs and passed self-tests are kept: the user's cache folder."""

import hashlib
import os
import platform
from contextlib import suppress
from pathlib import Path

import jax


def cache_folder() -> Path:
    """This package's folder in the user's cache. Raises RuntimeError where there is no home folder."""
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))  # the XDG standard: ignored if relative
    folder = given if given.is_absolute() else Path("~/.cache").expanduser()
    return folder / "odelandscape"


def keep_programs() -> None:
    """Keep compiled programs in the user's cache, for this and later processes. For applications: it changes
    JAX's settings, unless the user has chosen a folder (`JAX_COMPILATION_CACHE_DIR`).

    A folder serves one kind of processor: programs are written for its registers.
    """
    if getattr(jax.config, "jax_compilation_cache_dir", None) is not None:
        return
    with suppress(OSError, RuntimeError):  # RuntimeError: there is no home folder
        folder = cache_folder() / "programs" / _processor()
        folder.mkdir(parents=True, exist_ok=True)
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
        # Each program that is loaded is reported as an error: two of the features that the compiler names are
        # preferences and not in the processor's list.
        jax.config.update("jax_logging_level", "CRITICAL")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    said = platform.processor() + platform.machine()
    if info.exists():
        lines = info.read_text(encoding="utf-8", errors="replace").splitlines()
        said += "".join(
            sorted({x for x in lines if x.startswith(("model name", "flags", "Features"))})
        )
    return hashlib.sha256(said.encode()).hexdigest()[:16]
