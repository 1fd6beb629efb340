"""Every published number of Tables 1 to 4 beside ours, and the experiment that says why they differ."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from .legacy import cell
from .sweeps import LARGE, dimension_name
from .shares import share, verdict

BEGIN, END = "<!-- Made by python -m experiments._comparison. -->", "<!-- Its end. -->"

_FATES = ("local", "global", "none")

Row = dict[str, str | int | float | None]


def _rows(folder: Path, name: str) -> list[dict]:
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))["rows"]


class _Stops:
    """What `stopping` or `stopping_ngd` says of a published share, by table, K and M."""

    def __init__(self, folder: Path, name: str):
        self.name = name
        self.rows: dict[tuple[str, int, int], list[dict]] = {}
        for row in _rows(folder, name):
            key = row["table"], row["K"], row["M"]
            if row.get("flow") == "2l-gd":
                key = "2, 2l-gd", row["K"], row["M"]
            self.rows.setdefault(key, []).append(row)

    def __call__(self, table: str, K: int, M: int) -> str:
        told = []
        for row in self.rows[table, K, M]:
            dimension = "d = M" if row["d"] == M else f"d = {row['d']:,}"
            T, world, off = (row[n] for n in ("T / K", "at the common T / K, %", "off, SE"))
            if T is None and world is None:
                continue
            text = [] if T is None else [f"the paper's if stopped at T = {T:.0f} K"]
            if world is not None:
                text.append(f"{world:.2f} ({off:+.1f} SE) at the common T / K")
            told.append(f"{dimension} {', '.join(text)}")
        return f"`{self.name}`: " + "; ".join(told)

    def slow(self, K: int, M: int) -> str:
        """Of a row that the paper found not to converge: how many starts are on their way at a stop."""
        (here,), (well,) = self.rows["2", K, M], self.rows["4a", M, M]
        told = [
            f"{here[name]:.0f} % ({well[name]:.0f} % for K = {M}) {name.removesuffix(', %')}"
            for name in here
            if name.startswith("off its end's loss")
        ]
        return f"it is slow: `{self.name}` has " + ", ".join(told)


def _agrees(row: dict) -> str:
    """Of a row's three shares: yes, or how far off those are that our intervals don't hold."""
    off = []
    for name in _FATES:
        count = round(share(row[f"{name}: here % (95 %)"])[0] * row["seeds"] / 100)
        told = verdict(count, row["seeds"], row[f"{name}: paper %"])
        if told != "inside":
            off.append(f"{name} {told}")
    return ", ".join(off) or "yes"


def _fates(folder: Path, name: str, why: Callable[[dict], str]) -> Iterator[Row]:
    for row in _rows(folder, name):
        agrees = _agrees(row)
        told: Row = {"K": row["K"], "M": row["M"], "d": row["d"]}
        told["paper"] = " / ".join(f"{row[f'{n}: paper %']:.2f}" for n in _FATES)
        if "spurious: Safran, Shamir %" in row:
            told["Safran, Shamir"] = row["spurious: Safran, Shamir %"]
        told["here (95 %)"] = " / ".join(row[f"{n}: here % (95 %)"] for n in _FATES)
        told["agrees?"] = agrees
        if "spurious of theirs" in row:
            theirs = row["spurious of theirs"]
            told["with Safran, Shamir?"] = "yes" if theirs == "inside" else theirs
        told["why not"] = None if agrees == "yes" else why(row)
        yield told


def _table_1(folder: Path, stops: _Stops) -> Iterator[Row]:
    for row in _rows(folder, "table1"):
        if row["paper %"] is None:
            continue
        K, end = row["K"], row["end"]
        if end == "global":
            why = stops("1", K, 17) if K > 17 else stops("3a", 17, 17)
        else:
            why = "`surplus_levels`" if K > 17 else "the dimension"
        told: Row = {"K": K, "end": end, "paper": row["paper %"]}
        for name in (dimension_name(None), dimension_name(LARGE)):
            agrees = row[f"{name}: agreement"].replace("inside", "yes")
            told[f"{name}: here (95 %)"] = row[f"{name}: here % (95 %)"]
            told[f"{name}: agrees?"] = agrees
        all_agree = all(told[key] == "yes" for key in told if key.endswith("agrees?"))
        yield told | {"why not": None if all_agree else why}


_OUTLIER = "`dimension_of_starts`: the paper's for d = 12 … 18; it is off its neighbours' curve in the paper"
_ENDINGS = "it was stopped, or projected in another way: `orthonormal_endings`"


def _table_2(folder: Path, stops: _Stops, of_ngd: _Stops) -> Iterator[Row]:
    for row in _rows(folder, "table2"):
        flow, K, theirs = row["flow"], row["K"], row["paper %"]
        agrees = "it converges" if theirs is None else row["agreement"].replace("inside", "yes")
        if agrees == "yes":
            why = None
        elif flow == "ongd":
            why = _ENDINGS
        elif flow == "ngd":
            why = of_ngd("4b", K, 17) if K == 18 else of_ngd.slow(K, 17)
        else:
            why = stops("2" if flow == "gd" else "2, 2l-gd", K, 17)
        yield {
            "flow": flow,
            "K": K,
            "d": row["d"],
            "paper": "not converged" if theirs is None else theirs,
            "here (95 %)": row["below the threshold, here % (95 %)"]
            or row["global or lowest, here % (95 %)"],
            "agrees?": agrees,
            "why not": why,
        }


def _in_full(folder: Path, name: str) -> bool:
    file = folder / f"{name}.json"
    if not file.exists():
        return False
    return json.loads(file.read_text(encoding="utf-8"))["arguments"]["quick"] == "False"


def tables(folder: Path) -> dict[str, list[Row]]:
    """By title, of the full runs that `folder` holds: none before `stopping` and `stopping_ngd` are there."""
    if not all(_in_full(folder, name) for name in ("stopping", "stopping_ngd")):
        return {}
    stops, of_ngd = (_Stops(folder, name) for name in ("stopping", "stopping_ngd"))

    def stopped(table: str) -> Callable[[dict], str]:
        return lambda row: stops(table, row["K"], row["M"])

    def constrained(table: str) -> Callable[[dict], str]:
        def why(row: dict) -> str:
            at = table, row["K"], row["M"]
            if row["d"] == row["M"]:
                return "the dimension: see d = 1,000 below"
            return _OUTLIER if at == ("4a", 12, 12) else of_ngd(*at)

        return why

    made: dict[str, tuple[str, Callable[[], Iterator[Row]]]] = {
        "table1": ("Table 1, M = 17", lambda: _table_1(folder, stops)),
        "table2": ("Table 2, M = 17", lambda: _table_2(folder, stops, of_ngd)),
        "table3a": ("Table 3a, K = M", lambda: _fates(folder, "table3a", stopped("3a"))),
        "table3b": ("Table 3b, K = M + 1", lambda: _fates(folder, "table3b", stopped("3b"))),
        "table4a": ("Table 4a, nGD, K = M", lambda: _fates(folder, "table4a", constrained("4a"))),
        "table4b": (
            "Table 4b, nGD, K = M + 1",
            lambda: _fates(folder, "table4b", constrained("4b")),
        ),
    }
    return {title: list(rows()) for name, (title, rows) in made.items() if _in_full(folder, name)}


def markdown(folder: Path) -> str:
    """The tables as experiments/README.md shows them."""
    lines = []
    for title, rows in tables(folder).items():
        head = list(rows[0])
        lines += [f"### {title}", "", _line(head), _line(["---"] * len(head))]
        lines += [_line(map(cell, row.values())) for row in rows]
        lines.append("")
    return "\n".join(lines)


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def enter(readme: Path, folder: Path) -> str:
    """The text of a README with the tables between its two marks."""
    before, _, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{markdown(folder)}\n{END}{after}"


if __name__ == "__main__":
    here = Path(__file__).parent
    (here / "README.md").write_text(enter(here / "README.md", here / "results"), encoding="utf-8")
