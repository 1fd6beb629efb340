"""The user's cache folder: compiled programs, and the self-tests that have passed."""

import hashlib
import os
import platform
import re
from contextlib import suppress
from pathlib import Path

import jax


def cache_folder() -> Path:
    """Return this package's folder in the user's cache. Raises RuntimeError where there is no home folder."""
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))  # the XDG standard: ignored if relative
    folder = given if given.is_absolute() else Path("~/.cache").expanduser()
    return folder / "odelandscape"


def keep_programs() -> None:
    """Keep compiled programs in the user's cache, for this and later processes.

    For applications: it changes JAX's settings, unless the user has set a folder
    (`JAX_COMPILATION_CACHE_DIR`). Each model of processor has its own folder, as programs are compiled for
    its instruction set.
    """
    if getattr(jax.config, "jax_compilation_cache_dir", None) is not None:
        return
    with suppress(OSError, RuntimeError):  # RuntimeError: there is no home folder
        folder = cache_folder() / "programs" / _processor()
        folder.mkdir(parents=True, exist_ok=True)
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
        # Otherwise each program that is loaded logs an error: two of the features that the compiler records
        # are preferences and not in the processor's list.
        jax.config.update("jax_logging_level", "CRITICAL")


_UNUSABLE = re.compile(
    r"Error (reading|writing) persistent compilation cache entry for '(\w+)': (.*)", re.DOTALL
)


def forget_program(warning: str) -> str | None:
    """Remove the kept program that JAX warns it cannot read or write, and return what to say of it, "" for
    nothing. None if the warning is another one.

    JAX never writes a program again: a disk that was full once would leave a part of one for good.
    """
    found = _UNUSABLE.match(warning)
    if found is None:
        return None
    doing, name, why = found.groups()
    folder = getattr(jax.config, "jax_compilation_cache_dir", None)
    with suppress(OSError):
        for program in Path(folder).glob(f"{name}-*-cache") if folder else ():
            program.unlink(missing_ok=True)
    if doing == "reading":  # it is compiled anew, and kept
        return ""
    return f"compiled programs cannot be kept in {folder!r} and are compiled anew each time: {why}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    description = platform.processor() + platform.machine()
    if info.exists():
        lines = info.read_text(encoding="utf-8", errors="replace").splitlines()
        description += "".join(
            sorted({x for x in lines if x.startswith(("model name", "flags", "Features"))})
        )
    return hashlib.sha256(description.encode()).hexdigest()[:16]
