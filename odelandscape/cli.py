"""The command line: `odelandscape sweep -K 10 -M 10 --seeds 2000`."""

import argparse
import json
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import NoReturn

import jax

from .activations import Erf, LeakyReLU, ReLU
from .flows import GradientFlow, NormalisedFlow, OrthonormalFlow, TwoLayerFlow
from .plots import sweep_figure
from .problem import Problem
from .selfcheck import WrongNumbersError, ensure_numbers
from .sweep import Sweep, sweep

FLOWS = {
    "gd": GradientFlow,
    "ngd": NormalisedFlow,
    "ongd": OrthonormalFlow,
    "2l-gd": TwoLayerFlow,
}
ACTIVATIONS = ("relu", "leaky-relu", "erf")

_EXAMPLES = """\
examples:
  odelandscape sweep -K 10 -M 10 --seeds 2000           the landscape of ten students, ten teachers
  odelandscape sweep -K 11 -M 10 --seeds 1000           one student too many
  odelandscape sweep -K 10 -M 10 --flow ngd -d 20       students of fixed length, inputs in 20 dimensions
  odelandscape sweep -K 6 -M 6 --activation erf --json  numbers for a program

The folder of --out receives summary.txt, summary.json, losses.png and the end states (seeds-*.npz).
The same command again goes on from what is there; a larger --seeds makes the sweep longer.
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        # One line, for people and for logs; the usage is a --help away.
        sys.stderr.write(f"{self.prog}: {message}\n")
        sys.exit(2)


def _whole(least: int):
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or value < least:
            raise argparse.ArgumentTypeError(
                f"got {text!r}; allowed: whole numbers from {least} up"
            )
        return value

    return parse


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if abs(value) < float("inf"):
        return value
    raise argparse.ArgumentTypeError(f"got {text!r}; allowed: a finite number")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="odelandscape",
        description="Know the loss landscape of a two-layer teacher-student network.",
    )
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="command", parser_class=_Parser
    )
    run = commands.add_parser(
        "sweep",
        help="relax many random starts and tell where they end",
        description="Relax many random students to their end states along a flow on the population "
        "loss, certify each with the exact Hessian, and print the families of minima with "
        "their frequencies.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = run.add_argument
    add("-K", "--students", type=_whole(1), required=True, metavar="K", help="students, from 1 up")
    add("-M", "--teachers", type=_whole(1), required=True, metavar="M", help="teachers, from 1 up")
    add("--seeds", type=_whole(1), default=10_000, metavar="N", help="random starts (10000)")
    add("--seed", type=_whole(0), default=0, metavar="S", help="of the whole sweep (0)")
    add(
        "--flow",
        choices=tuple(FLOWS),
        default="gd",
        help="gd: gradient flow (default); ngd: students of fixed length; ongd: orthonormal "
        "students; 2l-gd: the second layer learns too",
    )
    add("--activation", choices=ACTIVATIONS, default="relu", help="relu is the default")
    add("--slope", type=_number, metavar="a", help="of leaky-relu for negative inputs (0.1)")
    add(
        "-d",
        "--dimension",
        type=_whole(1),
        metavar="d",
        help="of the inputs, at least M; the default is M",
    )
    add("--out", type=Path, metavar="DIR", help="folder for the results (sweep-K10-M10-gd, …)")
    add("--workers", type=_whole(1), metavar="N", help="relax in N processes, one core each")
    add("--json", action="store_true", help="print one JSON object instead of the table")
    add("--quiet", action="store_true", help="no progress bar, no remarks")
    return parser


def _activation(name: str, slope: float | None):
    if name == "leaky-relu":
        return LeakyReLU(0.1 if slope is None else slope)
    if slope is not None:
        raise ValueError(f"argument --slope: only leaky-relu has one; got --activation {name}")
    return Erf() if name == "erf" else ReLU()


def _folder(args: argparse.Namespace) -> Path:
    if args.out is not None:
        return args.out
    parts = [f"sweep-K{args.students}-M{args.teachers}-{args.flow}"]
    if args.activation != "relu":
        parts.append(args.activation)
    for letter, value in (("a", args.slope), ("d", args.dimension), ("seed", args.seed or None)):
        if value is not None:
            parts.append(f"{letter}{value}")
    return Path("-".join(parts))


def _pin(counter) -> None:
    """Gives each worker a core of its own: only affinity limits the threads of XLA."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        with counter.get_lock():
            core = cores[counter.value % len(cores)]
            counter.value += 1
        os.sched_setaffinity(0, {core})


def _executor(workers: int | None):
    if workers is None:
        return nullcontext()
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(
        workers, mp_context=context, initializer=_pin, initargs=(context.Value("i", 0),)
    )


def _as_json(args: argparse.Namespace, runs: Sweep) -> dict:
    summary = runs.summary()
    columns = (
        "anti_aligned",
        "loss",
        "count",
        "smallest_eigenvalue",
        "outcome",
        "fraction",
        "ci95",
    )
    return {
        "students": args.students,
        "teachers": args.teachers,
        "flow": args.flow,
        "activation": args.activation,
        "seeds": args.seeds,
        "seed": args.seed,
        "dimension": runs.dimension,
        "outcomes": summary.outcomes,
        "families": [{name: getattr(row, name) for name in columns} for row in summary.families],
        "seconds": runs.seconds,
        "seconds_compiling": runs.seconds_compiling,
    }


def _sweep(args: argparse.Namespace) -> None:
    problem = Problem(args.students, args.teachers, _activation(args.activation, args.slope))
    folder = _folder(args)
    with _executor(args.workers) as executor:
        runs = sweep(
            problem,
            FLOWS[args.flow](),
            args.seeds,
            args.seed,
            args.dimension,
            executor=executor,
            store=folder,
            progress=not args.quiet,
        )
    report = json.dumps(_as_json(args, runs), indent=1, allow_nan=False)
    table = str(runs.summary())
    (folder / "summary.json").write_text(report + "\n", encoding="utf-8")
    (folder / "summary.txt").write_text(table + "\n", encoding="utf-8")
    sweep_figure(runs).savefig(folder / "losses.png", dpi=150)
    print(report if args.json else table)
    if not args.quiet:
        print(f"\nfigure, table and end states: {folder}/", file=sys.stderr)


def main(argv: list[str] | None = None) -> int:
    """Runs a command. Returns 0; 2 for bad arguments, with one line on standard error; 1 if the installed
    jax computes wrong numbers; 130 if interrupted."""
    args = _parser().parse_args(argv)
    jax.config.update("jax_enable_x64", True)
    try:
        ensure_numbers()
        _sweep(args)
    except (ValueError, WrongNumbersError) as error:
        print(f"odelandscape {args.command}: {error}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1
    except KeyboardInterrupt:
        print(
            "\ninterrupted: what was finished is kept; the same command goes on from there",
            file=sys.stderr,
        )
        return 130
    return 0
