"""python -m experiments: all experiments one after another, and the report of what they left."""

import argparse
import importlib
import json
import sys
import time
import traceback
from pathlib import Path

import jax

from ._order import NAMES, SECTIONS


def _parser() -> argparse.ArgumentParser:
    told = "\n".join(
        f"  {title}\n" + "\n".join(f"    {name}" for name in names) for title, names in SECTIONS
    )
    parser = argparse.ArgumentParser(
        prog="python -m experiments",
        description=__doc__,
        epilog="experiments, each with a --help of its own (python -m experiments.NAME --help):\n"
        + told,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "what",
        choices=("all", "report", *NAMES),
        metavar="all | report | NAME",
        help="run all (those that --out holds already are left out unless --again), make one HTML page and "
        "PDF of what --out holds, or run one",
    )
    parser.add_argument("--out", type=Path, default=Path("experiments-out"), metavar="DIR")
    parser.add_argument("--quick", action="store_true", help="the small version of each")
    parser.add_argument("--again", action="store_true", help="run also what --out holds already")
    return parser


def _is_there(file: Path, quick: bool) -> bool:
    """Whether an experiment was run to its end (where the full one is asked for: not as a small one)."""
    if not file.exists():
        return False
    told = json.loads(file.read_text(encoding="utf-8"))
    return quick or told["arguments"]["quick"] == "False"


def _run(names: tuple[str, ...], out: Path, quick: bool, again: bool) -> list[str]:
    """Run these; the names of those that failed. One that fails stops no other."""
    failed = []
    for number, name in enumerate(names, 1):
        if not again and _is_there(out / f"{name}.json", quick):
            print(f"[{number}/{len(names)}] {name}: is in {out}")
            continue
        print(f"[{number}/{len(names)}] {name}", flush=True)
        began = time.perf_counter()
        try:
            module = importlib.import_module(f"experiments.{name}")
            module.main(["--out", str(out), *(["--quick"] if quick else [])])
        except Exception:
            traceback.print_exc()
            failed.append(name)
        jax.clear_caches()  # a process can map only so many programs
        print(f"[{number}/{len(names)}] {name}: {time.perf_counter() - began:.0f} s\n", flush=True)
    return failed


def main(argv: list[str] | None = None) -> int:
    """Runs the command; 0 if nothing failed."""
    args = _parser().parse_args(argv)
    if args.what == "report":
        from ._page import write

        try:
            paths = write(args.out)
        except ValueError as error:  # nothing to report
            print(error, file=sys.stderr)
            return 2
        print(*paths, sep="\n")
        return 0
    names = NAMES if args.what == "all" else (args.what,)
    failed = _run(names, args.out, args.quick, args.again or args.what != "all")
    if failed:
        print(f"failed: {', '.join(failed)}; the others are in {args.out}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
