"""Every published number of Tables 1 to 4 beside ours, and the experiment that explains why they differ.

`python -m experiments.shared.comparison` writes these tables into experiments/README.md.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from ..discrepancies.stopping_ngd import AWAY_COLUMNS
from ..paper import fates, table1, table2
from .results import is_full, load
from .shares import interval, verdict
from .stops import slowness
from .sweeps import dimension_name
from .tables import Cell, Row, markdown, text

BEGIN = "<!-- Made by python -m experiments.shared.comparison. -->"
END = "<!-- Its end. -->"

Line = dict[str, Cell]
"""A line of a table here: its cells by their headings, as they are shown."""


class _Stops:
    """What `stopping` or `stopping_ngd` found for a published share, by table, K and M."""

    def __init__(self, folder: Path, name: str):
        self.name = name
        self.rows: dict[tuple[str, int, int], list[Row]] = {}
        for row in load(name, folder).rows:
            key = row["table"], row["K"], row["M"]
            if row.get("flow") == "2l-gd":
                key = "2, 2l-gd", row["K"], row["M"]
            self.rows.setdefault(key, []).append(row)

    def __call__(self, table: str, K: int, M: int) -> str:
        reasons = []
        for row in self.rows[table, K, M]:
            slow, share = slowness(row), row["common_share"]
            if slow is None and share is None:
                continue
            parts = [] if slow is None else [f"the paper's if stopped at T = {slow:.0f} K"]
            if share is not None:
                parts.append(f"{100 * share:.2f} ({row['common_z']:+.1f} SE) at the common T / K")
            dimension = "d = M" if row["d"] == row["M"] else f"d = {row['d']:,}"
            reasons.append(f"{dimension} {', '.join(parts)}")
        return f"`{self.name}`: " + "; ".join(reasons)

    def slow(self, K: int, M: int) -> str:
        """Of a row that the paper found not to converge: how many starts aren't at their ends at a stop."""
        (here,), (well,) = self.rows["2", K, M], self.rows["4a", M, M]
        parts = [
            f"{100 * here[key]:.0f} % ({100 * well[key]:.0f} % for K = {M}) {heading.removesuffix(', %')}"
            for key, heading in AWAY_COLUMNS.items()
        ]
        return f"it is slow: `{self.name}` has " + ", ".join(parts)


def _agrees(row: Row) -> str:
    """Of a row's three shares: yes, or how far off those are that our intervals don't hold."""
    verdicts = {
        fate: verdict(row[fate], row["starts"], row[f"published_{fate}"]) for fate in fates.FATES
    }
    off = [f"{fate} {one}" for fate, one in verdicts.items() if one != "inside"]
    return ", ".join(off) or "yes"


def fates_lines(rows: list[Row], why: Callable[[Row], str]) -> Iterator[Line]:
    """Lines of Table 3 or 4; `why` is asked where shares don't agree."""
    for row in rows:
        agrees = _agrees(row)
        line: Line = {"K": row["K"], "M": row["M"], "d": row["d"]}
        line["paper"] = " / ".join(f"{row[f'published_{fate}']:.2f}" for fate in fates.FATES)
        if "published_spurious" in row:
            line["Safran, Shamir"] = 100 * row["published_spurious"] / fates.SPURIOUS_RUNS
        line["here (95 %)"] = " / ".join(interval(row[fate], row["starts"]) for fate in fates.FATES)
        line["agrees?"] = agrees
        if "published_spurious" in row:
            line["with Safran, Shamir?"] = fates.spurious_verdict(row).replace("inside", "yes")
        line["why not"] = None if agrees == "yes" else why(row)
        yield line


def _table_1(rows: list[Row], stops: _Stops) -> Iterator[Line]:
    for row in rows:
        if row["published"] is None:
            continue
        K, end = row["K"], row["end"]
        if end == "global":
            why = stops("1", K, 17) if K > 17 else stops("3a", 17, 17)
        else:
            why = "`surplus_levels`" if K > 17 else "the dimension"
        line: Line = {"K": K, "end": end, "paper": row["published"]}
        verdicts = {prefix: table1.agreement(row, prefix) for prefix in table1.DIMENSIONS}
        for prefix, d in table1.DIMENSIONS.items():
            name = dimension_name(d)
            line[f"{name}: here (95 %)"] = interval(row[f"{prefix}_count"], row["starts"])
            line[f"{name}: agrees?"] = (verdicts[prefix] or "–").replace("inside", "yes")
        all_agree = all(one == "inside" for one in verdicts.values())
        yield line | {"why not": None if all_agree else why}


_OUTLIER = "`dimension_of_starts`: the paper's for d = 12 … 18; it is off its neighbours' curve in the paper"
_ENDINGS = "it was stopped, or projected in another way: `orthonormal_endings`"


def _table_2(rows: list[Row], stops: _Stops, of_ngd: _Stops) -> Iterator[Line]:
    for row in rows:
        flow, K, theirs = row["flow"], row["K"], row["published"]
        agrees = (table2.agreement(row) or "it converges").replace("inside", "yes")
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
            "here (95 %)": interval(table2.compared(row), row["starts"]),
            "agrees?": agrees,
            "why not": why,
        }


def tables(folder: Path) -> dict[str, list[Line]]:
    """By title, of the full results that `folder` holds: none unless it holds those of the stops, too."""
    if not all(is_full(name, folder) for name in ("stopping", "stopping_ngd")):
        return {}
    stops, of_ngd = (_Stops(folder, name) for name in ("stopping", "stopping_ngd"))

    def stopped(table: str) -> Callable[[Row], str]:
        return lambda row: stops(table, row["K"], row["M"])

    def constrained(table: str) -> Callable[[Row], str]:
        def why(row: Row) -> str:
            at = table, row["K"], row["M"]
            if row["d"] == row["M"]:
                return "the dimension: see d = 1,000 below"
            return _OUTLIER if at == ("4a", 12, 12) else of_ngd(*at)

        return why

    made: dict[str, tuple[str, Callable[[list[Row]], Iterator[Line]]]] = {
        "table1": ("Table 1, M = 17", lambda rows: _table_1(rows, stops)),
        "table2": ("Table 2, M = 17", lambda rows: _table_2(rows, stops, of_ngd)),
        "table3a": ("Table 3a, K = M", lambda rows: fates_lines(rows, stopped("3a"))),
        "table3b": ("Table 3b, K = M + 1", lambda rows: fates_lines(rows, stopped("3b"))),
        "table4a": ("Table 4a, nGD, K = M", lambda rows: fates_lines(rows, constrained("4a"))),
        "table4b": ("Table 4b, nGD, K = M + 1", lambda rows: fates_lines(rows, constrained("4b"))),
    }
    return {
        title: list(lines(load(name, folder).rows))
        for name, (title, lines) in made.items()
        if is_full(name, folder)
    }


def headings_and_cells(lines: list[Line], digits: int = 10) -> tuple[list[str], list[list[str]]]:
    """Of one of the tables, as they are shown."""
    return list(lines[0]), [[text(cell, digits) for cell in line.values()] for line in lines]


def in_markdown(folder: Path) -> str:
    """The tables as experiments/README.md shows them."""
    parts = []
    for title, lines in tables(folder).items():
        parts += [f"### {title}", "", markdown(*headings_and_cells(lines)), ""]
    return "\n".join(parts)


def enter(readme: Path, folder: Path) -> str:
    """The text of a README with the tables between its two marks."""
    before, _, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{in_markdown(folder)}\n{END}{after}"


if __name__ == "__main__":
    here = Path(__file__).parent.parent
    (here / "README.md").write_text(enter(here / "README.md", here / "results"), encoding="utf-8")
