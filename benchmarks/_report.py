"""What every benchmark prints: where it ran, and plain tables (or one JSON object)."""

import importlib.metadata
import json
import os
import platform
import sys
from pathlib import Path

import jax
import psutil

PACKAGES = ("odelandscape", "jax", "jaxlib", "diffrax", "equinox", "numpy", "scipy")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "from a checkout, not installed"


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def machine() -> dict:
    """Processor, cores, device and versions; and how busy others keep the machine at this moment,
    because two heavy programs on the same cores slow each other down by far more than two."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    device = jax.devices()[0]
    return {
        "cpu": _cpu(),
        "cores": usable,
        "busy_before_percent": psutil.cpu_percent(interval=1),
        "load_before": psutil.getloadavg()[0],
        "blas_threads": os.environ.get("OPENBLAS_NUM_THREADS", ""),
        "device": f"{device.platform} ({device.device_kind})",
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "python": platform.python_version(),
        "versions": {package: _version(package) for package in PACKAGES},
    }


def table(columns: dict[str, str], rows: list[dict]) -> str:
    """Rows as aligned text; `columns` maps a row's key to its heading and format, as "heading|.3g"."""
    heads = [heading.partition("|")[0] for heading in columns.values()]
    formats = [heading.partition("|")[2] for heading in columns.values()]
    cells = [
        [format(row[key], how) for key, how in zip(columns, formats, strict=True)] for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in [heads, *cells]
    )


def emit(as_json: bool, record: dict, text: str) -> None:
    """The record as one JSON object, or the text under a description of the machine."""
    if as_json:
        print(json.dumps(record))
        return
    here = record["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in here["versions"].items())
    flags = f", XLA_FLAGS={here['xla_flags']}" if here["xla_flags"] else ""
    print(f"{here['cpu']}, {here['cores']} cores, device {here['device']}{flags}")
    print(f"Python {here['python']}; {versions}")
    print(
        f"BLAS threads: {here['blas_threads']}; before the start the processor was "
        f"{here['busy_before_percent']:.0f} % busy, load {here['load_before']:.1f}"
    )
    print()
    print(text)
    sys.stdout.flush()
