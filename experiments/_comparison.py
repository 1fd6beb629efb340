"""The table that holds every published share of Tables 1 to 4 against ours, and says why they differ."""

import json
from collections.abc import Iterator
from pathlib import Path

_HEAD = "| Table | K | M | d | what | paper, % | Safran and Shamir, % | here, % (95 %) | agree? | why not |"
_CHANCE = 3.0  # standard errors of the difference of two samples, of some 80 rows


def _why(agreement: str, reason: str) -> str:
    if agreement == "inside":
        return ""
    return "chance" if abs(float(agreement.removesuffix(" SE"))) < _CHANCE else reason


def _line(*cells: object) -> str:
    return "| " + " | ".join("–" if x is None else str(x) for x in cells) + " |"


def _told(agreement: str) -> str:
    return "yes" if agreement == "inside" else f"no, {agreement}"


def _stops(folder: Path) -> dict[tuple[str, int, int], str]:
    """When a stop gives the published share, by table, K and M."""
    rows = json.loads((folder / "stopping.json").read_text(encoding="utf-8"))["rows"]
    told = {}
    for row in rows:
        T = row["T of the paper's share"]
        if T is not None:
            told[row["table"], row["K"], row["M"]] = f"stopped at t = {T:.0f}: `stopping`"
    return told


def _rows(folder: Path, name: str) -> list[dict]:
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))["rows"]


def _table_1(folder: Path, stops: dict) -> Iterator[str]:
    for row in _rows(folder, "table1"):
        if row["paper %"] is None:
            continue
        K, M, end = row["K"], row["M"], row["end"]
        reason = "`figure2`"
        if K > M:
            reason = "count of α: `surplus_levels`; " if end != "global" else ""
            reason += stops.get(("1", K, M), "a stop: `stopping`")
        yield _line(
            *("1", K, M, M, end, row["paper %"], None, row["here % (95 %)"]),
            *(_told(row["agreement"]), _why(row["agreement"], reason)),
        )


def _table_2(folder: Path, stops: dict) -> Iterator[str]:
    reasons = {
        "gd": "a stop: `stopping`",
        "2l-gd": "a stop, as for GD: `stopping`",
        "ngd": "`dimension_of_starts`",
    }
    for row in _rows(folder, "table2"):
        K, M, flow = row["K"], row["M"], row["flow"]
        ours = row["below 0.1, here % (95 %)"] or row["global or lowest, here % (95 %)"]
        if row["agreement"] is None:
            reason = "it converges: `orthonormal_endings`" if flow == "ongd" else "it converges"
            yield _line("2", K, M, row["d"], flow, "N/C", None, ours, "no", reason)
            continue
        reason = reasons[flow]
        if flow == "gd":
            reason = stops.get(("2", K, M), reason)
        yield _line(
            *("2", K, M, row["d"], flow, row["paper %"], None, ours),
            *(_told(row["agreement"]), _why(row["agreement"], reason)),
        )


def _fates(folder: Path, name: str, reason, stops: dict) -> Iterator[str]:
    table = name.removeprefix("table")
    for row in _rows(folder, name):
        K, M, d = row["K"], row["M"], row["d"]
        agreement = row["global of the paper"]
        other = row.get("spurious: Safran, Shamir %")
        yield _line(
            *(table, K, M, d, "global", row["global: paper %"]),
            None if other is None else f"{100 - other:.1f}",
            row["global: here % (95 %)"],
            *(_told(agreement), _why(agreement, stops.get((table, K, M), reason(K, M, d)))),
        )


def comparison(folder: Path) -> str:
    """The table in Markdown, of the full runs that `folder` holds."""
    stops = _stops(folder)
    lines = [_HEAD, "|" + "---|" * (_HEAD.count("|") - 1)]
    lines += _table_1(folder, stops)
    lines += _table_2(folder, stops)
    lines += _fates(folder, "table3a", lambda K, M, d: "`dimension_of_starts`, `stopping`", stops)
    lines += _fates(folder, "table3b", lambda K, M, d: "a stop: `stopping`", stops)
    of_dimension = "d: `dimension_of_starts`"
    lines += _fates(folder, "table4a", lambda K, M, d: of_dimension, {})
    lines += _fates(folder, "table4b", lambda K, M, d: of_dimension, {})
    return "\n".join(lines) + "\n"
