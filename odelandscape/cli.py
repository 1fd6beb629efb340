"""The command line: `odelandscape sweep -K 10 -M 10 --seeds 2000`, `odelandscape minima -K 17 -M 17`."""

import argparse
import json
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import NoReturn

import jax
import numpy as np
from tqdm import tqdm

from .activations import Erf, LeakyReLU, ReLU
from .compiler import keep_programs
from .families import families
from .fixed_points import COMPENSATED, HIDDEN, FixedPoint
from .flows import GradientFlow, NormalisedFlow, OrthonormalFlow, TwoLayerFlow
from .problem import Problem, check_dimension
from .selfcheck import WrongNumbersError, ensure_numbers
from .stability import Spectrum, spectrum
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

_MINIMA_EXAMPLES = """\
examples:
  odelandscape minima -K 17 -M 17                          every family that a search finds
  odelandscape minima -K 18 -M 17                          one student too many
  odelandscape minima -K 1000000 -M 1000000 --anti-aligned 1   one family at a width that no run reaches
  odelandscape minima -K 17 -M 17 --activation leaky-relu --slope 0.05 --anti-aligned 2 --json

branches: compensated (the paper's: the aligned students compensate for α anti-aligned ones), hidden (α
students reflected against their teachers), and others by the sizes of their blocks. The folder of --out
receives minima.txt, minima.json and minima.png.
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


def _add_problem(add) -> None:
    add("-K", "--students", type=_whole(1), required=True, metavar="K", help="students, from 1 up")
    add("-M", "--teachers", type=_whole(1), required=True, metavar="M", help="teachers, from 1 up")
    add("--activation", choices=ACTIVATIONS, default="relu", help="relu is the default")
    add("--slope", type=_number, metavar="a", help="of leaky-relu for negative inputs (0.1)")


def _add_output(add, folder: str) -> None:
    add("--out", type=Path, metavar="DIR", help=f"folder for the results ({folder}, …)")
    add("--json", action="store_true", help="print one JSON object instead of the table")
    add("--quiet", action="store_true", help="no progress bar, no remarks")


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
    _add_problem(add)
    add("--seeds", type=_whole(1), default=10_000, metavar="N", help="random starts (10000)")
    add("--seed", type=_whole(0), default=0, metavar="S", help="of the whole sweep (0)")
    add(
        "--flow",
        choices=tuple(FLOWS),
        default="gd",
        help="gd: gradient flow (default); ngd: students of fixed length; ongd: orthonormal "
        "students; 2l-gd: the second layer learns too",
    )
    add(
        "-d",
        "--dimension",
        type=_whole(1),
        metavar="d",
        help="of the inputs, at least M; the default is M",
    )
    add("--workers", type=_whole(1), metavar="N", help="relax in N processes, one core each")
    _add_output(add, "sweep-K10-M10-gd")
    run = commands.add_parser(
        "minima",
        help="find families of fixed points without sampling, at any width",
        description="Find the families of fixed points of gradient flow by Newton's method in block "
        "ansätze, and decide the stability of each from its whole Hessian spectrum.",
        epilog=_MINIMA_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = run.add_argument
    _add_problem(add)
    add("--anti-aligned", type=_whole(0), metavar="α", help="only families with α such students")
    add("--correlation", type=_number, default=0.0, metavar="c", help="of any two teachers (0)")
    add(
        "-d",
        "--dimension",
        type=_whole(1),
        metavar="d",
        help="of the inputs whose Hessian is told, at least M; the default is M",
    )
    add("--starts", type=_whole(1), default=64, metavar="N", help="of a search in an ansatz (64)")
    add(
        "--blocks",
        type=int,
        choices=(0, 1, 2, 3),
        help="most blocks of a search (by size: 3, 2, 0)",
    )
    add("--all", action="store_true", help="unstable families without a name, too")
    _add_output(add, "minima-K17-M17")
    return parser


def _activation(name: str, slope: float | None):
    if name == "leaky-relu":
        return LeakyReLU(0.1 if slope is None else slope)
    if slope is not None:
        raise ValueError(f"argument --slope: only leaky-relu has one; got --activation {name}")
    return Erf() if name == "erf" else ReLU()


def _folder(args: argparse.Namespace, kind: str, **more: object) -> Path:
    if args.out is not None:
        return args.out
    parts = [f"{args.command}-K{args.students}-M{args.teachers}", kind]
    if args.activation != "relu":
        parts.append(args.activation)
    for letter, value in {"a": args.slope, "d": args.dimension, **more}.items():
        if value:
            parts.append(f"{letter}{value}")
    return Path("-".join(part for part in parts if part))


def _worker(counter) -> None:
    """Gives each worker a core of its own: only affinity limits the threads of XLA."""
    keep_programs()
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
        workers, mp_context=context, initializer=_worker, initargs=(context.Value("i", 0),)
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


# Matplotlib is loaded where a figure is drawn: results come first.
def _sweep(args: argparse.Namespace) -> None:
    problem = Problem(args.students, args.teachers, _activation(args.activation, args.slope))
    folder = _folder(args, args.flow, seed=args.seed)
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
    from .plots import sweep_figure

    sweep_figure(runs).savefig(folder / "losses.png", dpi=150)
    print(report if args.json else table)
    if not args.quiet:
        print(f"\nfigure, table and end states: {folder}/", file=sys.stderr)


def _correlated(M: int, c: float):
    """T = (1 − c) I + c 11ᵀ, or None for c = 0."""
    if c == 0:
        return None
    if not -1 / max(M - 1, 1) < c < 1:
        raise ValueError(
            f"argument --correlation: T is positive definite between −1/(M − 1) and 1; got {c:g}"
        )
    return (1 - c) * np.eye(M) + c


def _minima(args: argparse.Namespace) -> None:
    began = time.perf_counter()
    T = _correlated(args.teachers, args.correlation)
    activation = _activation(args.activation, args.slope)
    problem = Problem(args.students, args.teachers, activation, T)
    check_dimension(problem, args.dimension)
    folder = _folder(args, "", alpha=args.anti_aligned, c=args.correlation)
    _writable(folder)
    bar = tqdm(unit="ansatz", desc="searching", disable=args.quiet, delay=3)

    def told(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    with bar:
        points = families(
            problem, args.anti_aligned, blocks=args.blocks, starts=args.starts, progress=told
        )
    spectra = [spectrum(problem, point, args.dimension) for point in points]
    rows = [
        (point, of_point)
        for point, of_point in zip(points, spectra, strict=True)
        if args.all or of_point.verdict != "unstable" or point.branch in (COMPENSATED, HIDDEN)
    ]
    title = (
        f"K = {args.students} students, M = {args.teachers} teachers, "
        f"{type(activation).__name__}: {len(rows)} of {len(points)} families found"
    )
    report = {
        "students": args.students,
        "teachers": args.teachers,
        "activation": args.activation,
        "correlation": args.correlation,
        "dimension": args.dimension or args.teachers,
        "families": [_family_as_json(point, of_point) for point, of_point in rows],
        "seconds": time.perf_counter() - began,
    }
    as_json = json.dumps(report, indent=1, allow_nan=False)
    table = _minima_table(title, rows)
    if len(rows) == 1:
        table += f"\n\nspectrum of the Hessian\n{rows[0][1]}"
    (folder / "minima.json").write_text(as_json + "\n", encoding="utf-8")
    (folder / "minima.txt").write_text(table + "\n", encoding="utf-8")
    from .plots import families_figure

    families_figure(rows, title).savefig(folder / "minima.png", dpi=150)
    print(as_json if args.json else table)
    if not args.quiet:
        print(f"\npicture, table and spectra: {folder}/", file=sys.stderr)


def _writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "minima.txt").touch()
    except OSError as error:
        raise ValueError(f"cannot keep results in the folder {str(folder)!r}: {error}") from None


def _family_as_json(point: FixedPoint, of_point: Spectrum) -> dict:
    return {
        "branch": point.branch,
        "anti_aligned": point.anti_aligned,
        "loss": float(point.loss),
        "residual": float(point.residual),
        "smallest_eigenvalue": of_point.smallest,
        "verdict": of_point.verdict,
        "parameters": {name: float(value) for name, value in point.parameters.items()},
        "spectrum": [
            {"eigenvalue": value, "multiplicity": count, "representation": name}
            for value, count, name in zip(
                of_point.eigenvalues.tolist(),
                of_point.multiplicities.tolist(),
                of_point.representations,
                strict=True,
            )
        ],
    }


def _minima_table(title: str, rows: list[tuple[FixedPoint, Spectrum]]) -> str:
    width = max([len(point.branch) for point, _ in rows] + [8])
    head = (
        f"{'branch':<{width}}{'α':>6}{'loss':>17}{'smallest eigenvalue':>21}"
        f"{'verdict':>10}{'residual':>10}"
    )
    lines = [title, "", head, "-" * len(head)]
    for point, of_point in rows:
        lines.append(
            f"{point.branch:<{width}}{point.anti_aligned:>6}{abs(float(point.loss)):>17.10g}"
            f"{of_point.smallest:>21.8f}{of_point.verdict:>10}{float(point.residual):>10.1e}"
        )
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Runs a command. Returns 0; 2 for bad arguments, with one line on standard error; 1 if the installed
    jax computes wrong numbers; 130 if interrupted."""
    args = _parser().parse_args(argv)
    jax.config.update("jax_enable_x64", True)
    keep_programs()
    try:
        ensure_numbers()
        {"sweep": _sweep, "minima": _minima}[args.command](args)
    except (ValueError, WrongNumbersError) as error:
        print(f"odelandscape {args.command}: {error}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1
    except KeyboardInterrupt:
        print(
            "\ninterrupted: what a sweep has finished is kept; the same command goes on from there",
            file=sys.stderr,
        )
        return 130
    return 0
