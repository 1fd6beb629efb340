"""The manifest of a store: what was computed, and by which versions."""

import hashlib
import json
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from ..relaxation.outcomes import EndStates

FORMAT = 1
MANIFEST = "sweep.json"
_LIBRARIES = ("odelandscape", "jax", "jaxlib", "numpy")


class Variable(NamedTuple):
    """What a column of a chunk means."""

    dimensions: tuple[str, ...]
    units: str
    description: str


_SEED = ("seed",)
VARIABLES = {
    "outcome": Variable(_SEED, "", "what the start ended as, by name"),
    "loss": Variable(_SEED, "1", "population loss ½E[(student − teacher)²], inputs from N(0, I)"),
    "gradient_norm": Variable(_SEED, "1", "Frobenius norm of the flow's rates at the end state"),
    "smallest_eigenvalue": Variable(_SEED, "1", "of the Hessian of the population loss there"),
    "anti_aligned": Variable(_SEED, "students", "students that point away from their teacher"),
    "time": Variable(_SEED, "flow time", "when the norm of the rates fell below 1e-3 for good"),
    "evaluations": Variable(_SEED, "evaluations", "of the flow's field until then"),
    "weights": Variable(
        ("seed", "student", "coordinate"),
        "1",
        "rows w_i; the first M coordinates span the teacher, whose rows have unit length",
    ),
    "readout": Variable(("seed", "student"), "1", "second layer v_i"),
}


assert set(VARIABLES) == set(EndStates._fields)


def configuration_hash(configuration: dict) -> str:
    text = json.dumps(configuration, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def library_versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # used from its source
            found[name] = "unknown"
    return found


def abbreviated(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _differs(a: object, b: object) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() != b.keys() or any(_differs(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) != len(b) or any(map(_differs, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) > 1e-12 * max(abs(a), abs(b))  # the last bits may be another machine's
    return a != b


def difference(there: dict, wanted: dict) -> str:
    """What two configurations say differently, in words; empty if nothing."""
    return "; ".join(
        f"{key} is {abbreviated(there.get(key))} there and {abbreviated(wanted.get(key))} here"
        for key in {**wanted, **there}
        if _differs(there.get(key), wanted.get(key))
    )


def damaged_manifest(path: Path, why: str) -> str:
    return (
        f"{str(path)!r} is damaged ({why}): remove it, and the same command or call writes it again. The "
        "files of seeds beside it are as they were"
    )
