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


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.10g}"
    return str(value)


def report(
    args: argparse.Namespace,
    rows: list[dict],
    figure: Figure,
    remarks: str = "",
    levels: dict[str, list[dict]] | None = None,
) -> None:
    """Print the rows as a table and leave NAME.md, .csv, .json (with versions, seconds, and the `levels`
    of each sweep), .png, .pdf."""
    columns = list(rows[0])
    cells = [[_cell(row[column]) for column in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    lines = [
        "| "
        + " | ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in [columns, ["-" * width for width in widths], *cells]
    ]
    table = "\n".join(lines) + (f"\n\n{remarks}" if remarks else "")
    print(table)
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / args.name
    path.with_suffix(".md").write_text(table + "\n", encoding="utf-8")
    with path.with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
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
    text = json.dumps(provenance, indent=1, ensure_ascii=False)
    path.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
    for suffix in (".png", ".pdf"):
        figure.savefig(path.with_suffix(suffix), dpi=150)
    print(f"\n{path}.md, .csv, .json, .png, .pdf in {provenance['seconds']} s")
