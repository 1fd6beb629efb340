"""Results as numbers, and how they are kept: NAME.json, and NAME.npz for the arrays that a figure needs."""

import importlib.metadata
import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from odelandscape.runtime.files import write_whole


@dataclass(frozen=True)
class Results:
    """What an experiment has computed: numbers and short identifiers, no formatted text.

    A row is flat: counts, totals, losses, shares, or a list of such. `facts` hold what belongs to no row
    (numbers for the remarks, the families of each sweep), `data` the arrays that only the figure needs.
    `data` is None for results whose arrays were not kept: tables and remarks can be made from them, but
    not the figure. The other fields are filled in by the command.
    """

    rows: list[dict[str, Any]]
    facts: dict[str, Any] = field(default_factory=dict)
    data: dict[str, np.ndarray] | None = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of the experiment."""
        return self.options["name"]

    @property
    def quick(self) -> bool:
        """Whether these are of the small version."""
        return bool(self.options["quick"])

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """`data`; raises ValueError if the arrays were not kept."""
        if self.data is None:
            raise ValueError(f"the arrays behind the figure of {self.name} were not kept")
        return self.data


class DamagedResultsError(ValueError):
    """Stored results that cannot be read."""


def versions() -> dict[str, str]:
    """Of the packages that numbers depend on most."""
    return {name: importlib.metadata.version(name) for name in ("odelandscape", "jax")}


def save(results: Results, folder: Path) -> None:
    """Write NAME.npz, if there are arrays, and NAME.json, last: where it is, all numbers are there."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = folder / f"{results.name}.npz"
    if results.data:
        part = arrays.with_suffix(".part.npz")
        np.savez_compressed(part, allow_pickle=False, **results.data)
        part.replace(arrays)
    else:
        arrays.unlink(missing_ok=True)
    kept = {
        "experiment": results.name,
        "options": {key: value for key, value in results.options.items() if key != "name"},
        "seconds": results.seconds,
        "versions": results.versions,
        "rows": results.rows,
        "facts": results.facts,
        "arrays": None if results.data is None else sorted(results.data),
    }
    text = json.dumps(kept, indent=1, ensure_ascii=False, default=_plain)
    write_whole(folder / f"{results.name}.json", text + "\n")


def _plain(value: Any) -> Any:
    """NumPy's numbers and arrays as JSON has them."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"results hold numbers and short names, not {type(value).__name__}: {value!r}")


def load(name: str, folder: Path) -> Results:
    """Read what `save` has written; nothing is computed.

    Raises FileNotFoundError if the folder doesn't hold these results, DamagedResultsError if they are
    damaged.
    """
    file = folder / f"{name}.json"
    text = file.read_text(encoding="utf-8", errors="replace")
    try:
        kept = json.loads(text)
        data = None if kept["arrays"] is None else _arrays(file.with_suffix(".npz"), kept["arrays"])
        options = kept["options"] | {"name": name}
        return Results(
            kept["rows"], kept["facts"], data, options, kept["seconds"], kept["versions"]
        )
    except (ValueError, KeyError, TypeError, OSError, zipfile.BadZipFile) as error:
        raise DamagedResultsError(
            f"{str(file)!r} is damaged ({type(error).__name__}: {error}): "
            f"python -m experiments {name} --out {folder} computes it anew"
        ) from None


def _arrays(file: Path, names: list[str]) -> dict[str, np.ndarray]:
    if not names:
        return {}
    with np.load(file) as arrays:
        return {name: arrays[name] for name in names}


def is_full(name: str, folder: Path) -> bool:
    """Whether the folder holds results of the full version, undamaged."""
    try:
        return not load(name, folder).quick
    except (FileNotFoundError, DamagedResultsError):
        return False
