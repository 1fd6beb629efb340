"""Run the experiments, one or all, and make tables, figures and the report from the numbers they stored."""

import argparse
import difflib
import sys
import time
import traceback
from pathlib import Path

from .shared.registry import EXPERIMENTS, SECTIONS, Experiment
from .shared.results import DamagedResultsError, is_full

_EXAMPLES = """
examples:
  python -m experiments table3a --help              what is asked, how it is answered, all options
  python -m experiments table3a --quick --out DIR   a small version of one
  python -m experiments all --out DIR               all that DIR doesn't hold yet, one after another
  python -m experiments redraw table3a --out DIR    its table, figure and remarks from the numbers in DIR,
                                                    without computing (redraw all: every one)
  python -m experiments report --out DIR            one page, report.html and report.pdf, of what DIR holds

experiments:
"""


def _listed() -> str:
    return "\n".join(
        f"  {section.title}\n    " + " ".join(one.name for one in section.experiments)
        for section in SECTIONS
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments",
        description=__doc__,
        epilog=_EXAMPLES + _listed(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="NAME | all | redraw | report"
    )
    run_all = commands.add_parser("all", help="run all experiments that --out doesn't hold yet")
    run_all.add_argument("--quick", action="store_true", help="the small version of each")
    run_all.add_argument("--again", action="store_true", help="run also what --out holds already")
    report = commands.add_parser("report", help="one page (HTML and PDF) of what --out holds")
    redraw = commands.add_parser(
        "redraw", help="tables, figures and remarks from stored numbers, without computing"
    )
    redraw.add_argument("name", choices=("all", *EXPERIMENTS), metavar="NAME|all")
    for command in (run_all, report, redraw):
        command.add_argument(
            "--out",
            type=Path,
            default=Path("experiments-out"),
            metavar="DIR",
            help="folder of the results (experiments-out)",
        )
    return parser


def _is_there(name: str, folder: Path, quick: bool) -> bool:
    """Whether results are stored (where full ones are asked for: not those of the small version)."""
    return is_full(name, folder) or (quick and (folder / f"{name}.json").exists())


def _run_all(experiments: list[Experiment], folder: Path, quick: bool, again: bool) -> int:
    """Run these one after another; one that fails stops no other."""
    import jax

    from .shared.runs import run

    failed, total = [], len(experiments)
    for number, experiment in enumerate(experiments, 1):
        name = experiment.name
        if not again and _is_there(name, folder, quick):
            print(f"[{number}/{total}] {name}: is in {folder}")
            continue
        print(f"[{number}/{total}] {name}", flush=True)
        began = time.perf_counter()
        try:
            run(experiment, ["--out", str(folder), *(["--quick"] if quick else [])])
        except Exception:
            traceback.print_exc()
            failed.append(name)
        jax.clear_caches()  # a process can map only so many programs
        print(f"[{number}/{total}] {name}: {time.perf_counter() - began:.0f} s\n", flush=True)
    if failed:
        print(f"failed: {', '.join(failed)}; the others are in {folder}", file=sys.stderr)
    return 1 if failed else 0


def _redraw(name: str, folder: Path) -> int:
    from .shared.runs import redraw

    names = [n for n in EXPERIMENTS if name in (n, "all")]
    there = [n for n in names if (folder / f"{n}.json").exists()]
    damaged = 0
    for one in there:
        try:
            print(redraw(EXPERIMENTS[one], folder), flush=True)
        except DamagedResultsError as error:
            print(error, file=sys.stderr)
            damaged = 1
    if there:
        return damaged
    print(
        f"{folder} holds no results of {name}: python -m experiments {name} --out {folder} computes them",
        file=sys.stderr,
    )
    return 1


def _report(folder: Path) -> int:
    from .shared.report import NothingToReportError, write

    try:
        paths = write(folder)
    except NothingToReportError as error:
        print(error, file=sys.stderr)
        return 2
    print(*paths, sep="\n")
    return 0


def main(argv: list[str] | None = None) -> int:
    """Run the command; return 0 if nothing failed."""
    argv = sys.argv[1:] if argv is None else argv
    if argv and argv[0] in EXPERIMENTS:
        from .shared.runs import run

        run(EXPERIMENTS[argv[0]], argv[1:])
        return 0
    parser = _parser()
    if argv and argv[0] not in ("all", "redraw", "report") and not argv[0].startswith("-"):
        close = difflib.get_close_matches(argv[0], EXPERIMENTS)
        meant = f"; did you mean {' or '.join(close)}?" if close else ""
        parser.error(f"{argv[0]} is no experiment{meant} (python -m experiments --help lists all)")
    args = parser.parse_args(argv or ["--help"])
    if args.command == "report":
        return _report(args.out)
    if args.command == "redraw":
        return _redraw(args.name, args.out)
    return _run_all(list(EXPERIMENTS.values()), args.out, args.quick, args.again)


if __name__ == "__main__":
    sys.exit(main())
