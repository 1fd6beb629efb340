"""Every published number of Tables 1 to 4 beside ours, and the experiment that says why they differ."""

import json
from collections.abc import Callable
from pathlib import Path

from ._published import SAFRAN_SHAMIR, SAFRAN_SHAMIR_SURPLUS
from ._tables import share, verdict

NEEDED = ("table1", "table2", "table3a", "table3b", "table4a", "table4b", "stopping")
_FATES = ("local", "global", "none")

Row = dict[str, str | int | float | None]


def _rows(folder: Path, name: str) -> list[dict]:
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))["rows"]


def _agrees(row: dict) -> str:
    """Of a row's three shares: yes, or by how much those are off that our intervals don't hold."""
    off = []
    for name in _FATES:
        count = round(share(row[f"{name}: here % (95 %)"])[0] * row["seeds"] / 100)
        told = verdict(count, row["seeds"], row[f"{name}: paper %"])
        if told != "inside":
            off.append(f"{name} {told}")
    return ", ".join(off) or "yes"


def _fates(row: dict, why: str) -> Row:
    agrees = _agrees(row)
    told: Row = {"K": row["K"], "M": row["M"], "d": row["d"]}
    told["paper: local / global / none"] = " / ".join(f"{row[f'{n}: paper %']:.2f}" for n in _FATES)
    if "spurious: Safran, Shamir %" in row:
        told["Safran, Shamir: spurious"] = row["spurious: Safran, Shamir %"]
    told["here (95 %)"] = " / ".join(row[f"{n}: here % (95 %)"] for n in _FATES)
    told["agrees with the paper?"] = agrees
    if "spurious of theirs" in row:
        inside = row["spurious of theirs"] == "inside"
        told["with Safran, Shamir?"] = "yes" if inside else row["spurious of theirs"]
    told["why not"] = None if agrees == "yes" else why
    return told
