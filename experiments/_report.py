"""What every experiment shares: its arguments, and a table and a figure left in a folder."""

import argparse
import csv
import importlib.metadata
import json
import time
from pathlib import Path

import jax
from matplotlib.figure import Figure

from odelandscape.compiler import keep_programs
from odelandscape.selfcheck import ensure_numbers

# Okabe and Ito: told apart with any colour vision.
BLUE, ORANGE, GREEN, PINK, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#777777"


def arguments(name: str, doc: str | None, argv=None, **more: dict) -> argparse.Namespace:
    """--quick and --out, and `more` as option=keywords of add_argument; float64 on, jax checked."""
    parser = argparse.ArgumentParser(
        prog=f"python -m experiments.{name}",
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="a small version, under 30 s or so")
    parser.add_argument("--out", type=Path, default=Path("experiments-out"), metavar="DIR")
    for option, keywords in more.items():
        parser.add_argument(f"--{option.replace('_', '-')}", **keywords)
    args = parser.parse_args(argv)
    jax.config.update("jax_enable_x64", True)
    ensure_numbers()
    keep_programs()
    args.name, args.began = name, time.perf_counter()
    return args


def cell(value: object, digits: int = 10) -> str:
    """A number as a table shows it; the CSV has all digits."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.{digits}g}"
    return str(value)


def aligned(rows: list[dict], digits: int = 10) -> list[list[str]]:
    """Head and rows of a table, each column in one width."""
    lines = [list(rows[0]), *([cell(value, digits) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [[x.rjust(n) for x, n in zip(line, widths, strict=True)] for line in lines]


def keep(file: Path, text: str) -> None:
    """Write a file that is there whole or not at all, whenever the program is killed."""
    part = file.with_name(file.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(file)


def report(
    args: argparse.Namespace,
    rows: list[dict],
    figure: Figure,
    remarks: str = "",
    levels: dict[str, list] | None = None,
) -> None:
    """Print the rows as a table and leave NAME.md, .csv, .json (with versions, seconds, and the `levels`
    of each sweep, or whatever else is behind the rows), .png, .pdf."""
    head, *body = aligned(rows)
    rule = ["-" * len(name) for name in head]
    lines = ["| " + " | ".join(line) + " |" for line in (head, rule, *body)]
    table = "\n".join(lines) + (f"\n\n{remarks}" if remarks else "")
    print(table)
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / args.name
    path.with_suffix(".md").write_text(table + "\n", encoding="utf-8")
    with path.with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    provenance = {
        "experiment": args.name,
        "arguments": {k: str(v) for k, v in vars(args).items() if k not in ("began", "out")},
        "seconds": round(time.perf_counter() - args.began, 1),
        "versions": {name: importlib.metadata.version(name) for name in ("odelandscape", "jax")},
        "remarks": remarks,
        "rows": rows,
    }
    if levels:
        provenance["levels"] = levels
    for suffix in (".png", ".pdf"):
        figure.savefig(path.with_suffix(suffix), dpi=150)
    # Last: where it is, the experiment has come to its end.
    text = json.dumps(provenance, indent=1, ensure_ascii=False)
    keep(path.with_suffix(".json"), text + "\n")
    print(f"\n{path}.md, .csv, .json, .png, .pdf in {provenance['seconds']} s")
