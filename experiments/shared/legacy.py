"""What experiments still use whose `main` computes, draws and writes at once (see shared/runs.py)."""

import argparse
import csv
import importlib.metadata
import json
import time
from pathlib import Path
from types import ModuleType

from matplotlib.figure import Figure

from .options import prepare
from .results import write_text
from .tables import Column, markdown, text


def unconverted(module: ModuleType) -> bool:
    """Whether a module is of this kind."""
    return hasattr(module, "main")


def arguments(name: str, doc: str | None, argv=None, **more: dict) -> argparse.Namespace:
    """--quick and --out, and `more` as option=keywords of add_argument; float64 on, jax checked."""
    parser = argparse.ArgumentParser(
        prog=f"python -m experiments {name}",
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="a small version, under 30 s or so")
    parser.add_argument("--out", type=Path, default=Path("experiments-out"), metavar="DIR")
    for option, keywords in more.items():
        parser.add_argument(f"--{option.replace('_', '-')}", **keywords)
    args = parser.parse_args(argv)
    prepare()
    args.name, args.began = name, time.perf_counter()
    return args


def written(columns: list[Column], row: dict) -> dict:
    """A row as it is printed, by the headings of its columns."""
    return {column.heading: column.of(row) for column in columns}


def report(
    args: argparse.Namespace,
    rows: list[dict],
    figure: Figure,
    remarks: str = "",
    levels: dict[str, list] | None = None,
) -> None:
    """Print the rows as a table and leave NAME.md, .csv, .json (with versions, seconds, and the `levels`
    of each sweep, or whatever else is behind the rows), .png, .pdf."""
    table = markdown(list(rows[0]), [[text(value) for value in row.values()] for row in rows])
    table += f"\n\n{remarks}" if remarks else ""
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
    kept = json.dumps(provenance, indent=1, ensure_ascii=False)
    write_text(path.with_suffix(".json"), kept + "\n")
    print(f"\n{path}.md, .csv, .json, .png, .pdf in {provenance['seconds']} s")
