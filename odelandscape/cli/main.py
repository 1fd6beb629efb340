"""The command line: `odelandscape sweep -K 10 -M 10 --seeds 2000`, `show DIR`, `minima -K 17 -M 17`,
`prove -K 17 -M 17`, `check FILE` and `trajectory -K 4 -M 4`."""

import argparse
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import jax
from tqdm import tqdm

from ..runtime.cache import keep_programs
from ..runtime.errors import OperationError, UserError
from ..runtime.self_test import ensure_numbers
from .check import CHECK_EXAMPLES, run_check
from .minima import MINIMA_EXAMPLES, run_minima
from .options import FLOWS, add_output, add_problem, number, positive, share, whole
from .prove import PROVE_EXAMPLES, run_prove
from .show import SHOW_EXAMPLES, run_show
from .sweep import SWEEP_EXAMPLES, run_sweep
from .trajectory import TRAJECTORY_EXAMPLES, run_trajectory


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        # One line, for people and for logs; the usage is a --help away.
        sys.stderr.write(f"{self.prog}: {message}\n")
        sys.exit(2)


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
        epilog=SWEEP_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = run.add_argument
    add_problem(add)
    add("--seeds", type=whole(1), default=10_000, metavar="N", help="random starts (10000)")
    add("--seed", type=whole(0), default=0, metavar="S", help="of the whole sweep (0)")
    add(
        "--flow",
        choices=tuple(FLOWS),
        default="gd",
        help="gd: gradient flow (default); ngd: students of fixed length; ongd: orthonormal "
        "students; 2l-gd: the second layer learns too; sgd: online SGD in infinitely many dimensions, "
        "which is slower",
    )
    add("--learning-rate", type=positive, metavar="η", help="of sgd, above 0 (0.1)")
    add(
        "-d",
        "--dimension",
        type=whole(1),
        metavar="d",
        help="of the inputs, at least M; the default is M",
    )
    where = run.add_mutually_exclusive_group().add_argument
    where("--workers", type=whole(1), metavar="N", help="relax in N processes, one core each")
    where("--dask", metavar="ADDRESS", help="relax on the cluster of this Dask scheduler")
    where("--share", type=share, metavar="I/N", help="relax only the I-th of N shares, here")
    add_output(add, "sweep-K10-M10-gd")
    run = commands.add_parser(
        "show",
        help="tell what a sweep has left in a folder, finished or not",
        description="Print the table of what a folder holds and draw its figure, without computing anything.",
        epilog=SHOW_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument("folder", type=Path, metavar="DIR", help="that a sweep has written to")
    run.add_argument(
        "--export", type=Path, metavar="FILE", help="write all end states as one .nc or .zarr"
    )
    run.add_argument("--json", action="store_true", help="print one JSON object, not the table")
    run = commands.add_parser(
        "minima",
        help="find families of fixed points without sampling, at any width",
        description="Find the families of fixed points of gradient flow by Newton's method in block "
        "ansätze, and decide the stability of each from its whole Hessian spectrum.",
        epilog=MINIMA_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = run.add_argument
    add_problem(add)
    add("--anti-aligned", type=whole(0), metavar="α", help="only families with α such students")
    add("--correlation", type=number, default=0.0, metavar="c", help="of any two teachers (0)")
    add(
        "-d",
        "--dimension",
        type=whole(1),
        metavar="d",
        help="of the inputs whose Hessian is told, at least M; the default is M",
    )
    add("--starts", type=whole(1), default=64, metavar="N", help="of a search in an ansatz (64)")
    add(
        "--blocks",
        type=int,
        choices=(0, 1, 2, 3),
        help="most blocks of a search (by size: 3, 2, 0)",
    )
    add("--all", action="store_true", help="unstable families without a name, too")
    add_output(add, "minima-K17-M17")
    run = commands.add_parser(
        "prove",
        help="prove that families are minima or saddles, by ball arithmetic",
        description="Find the families of fixed points of gradient flow, and prove of each what it is.",
        epilog=PROVE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = run.add_argument
    add_problem(add)
    add("--anti-aligned", type=whole(0), metavar="α", help="only families with α such students")
    add("--bits", type=whole(2), default=128, metavar="N", help="of the mantissas (128)")
    add("--all", action="store_true", help="unstable families without a name, too")
    add_output(add, "prove-K17-M17")
    run = commands.add_parser(
        "check",
        help="prove again what certificates say",
        description="Prove again what certificates say, from the boxes that they name alone. Returns 2 if "
        "one says what isn't proved.",
        epilog=CHECK_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument("files", type=Path, nargs="+", metavar="FILE", help="that prove has written")
    run = commands.add_parser(
        "trajectory",
        help="follow one random start along a flow, with networks beside it",
        description="Follow one random start along a flow: its loss, and how its students align with "
        "teachers. For online SGD, train networks of finite dimension from the same start.",
        epilog=TRAJECTORY_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = run.add_argument
    add_problem(add)
    add(
        "--flow",
        choices=tuple(FLOWS),
        default="gd",
        help="gd: gradient flow (default); ngd: students of fixed length; ongd: orthonormal "
        "students; 2l-gd: the second layer learns too; sgd: online SGD",
    )
    add("--learning-rate", type=positive, metavar="η", help="of sgd, above 0 (0.1)")
    add("--time", type=positive, default=100.0, metavar="t", help="how far (100)")
    add("--points", type=whole(2), default=60, metavar="N", help="times that are told (60)")
    add("--seed", type=whole(0), default=0, metavar="S", help="of start, inputs and teacher (0)")
    add(
        "-d",
        "--dimension",
        type=whole(1),
        metavar="d",
        help="of the inputs, at least M; the default is M, and 1000 with --networks",
    )
    add("--networks", type=whole(2), metavar="N", help="of finite dimension to train, with sgd")
    add(
        "--random-teacher",
        action="store_true",
        help="with rows drawn from N(0, I/d), not orthonormal ones; needs --dimension",
    )
    add_output(add, "trajectory-K4-M4-gd")
    return parser


@contextmanager
def _plain_warnings(command: str) -> Iterator[None]:
    """What the package warns of as a line for people, above the progress bar."""
    with warnings.catch_warnings():
        shown = warnings.showwarning

        def show(message, category, filename, lineno, file=None, line=None):
            if category is UserWarning:
                tqdm.write(f"odelandscape {command}: {message}", file=sys.stderr)
            else:
                shown(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        warnings.simplefilter("always", UserWarning)
        yield


def main(argv: list[str] | None = None) -> int:
    """Runs a command. Returns 0; 2 for bad arguments, with one line on standard error; 1 if the installed
    jax computes wrong numbers, results cannot be written or workers are lost; 130 if interrupted."""
    args = _parser().parse_args(argv)
    jax.config.update("jax_enable_x64", True)
    keep_programs()
    try:
        with _plain_warnings(args.command):
            ensure_numbers()
            run = {
                "sweep": run_sweep,
                "show": run_show,
                "minima": run_minima,
                "prove": run_prove,
                "check": run_check,
                "trajectory": run_trajectory,
            }
            run[args.command](args)
    except (ImportError, UserError, OperationError) as error:
        print(f"odelandscape {args.command}: {error}", file=sys.stderr)
        return 2 if isinstance(error, UserError) else 1
    except KeyboardInterrupt:
        print(
            "\ninterrupted: what a sweep has finished is kept; the same command goes on from there",
            file=sys.stderr,
        )
        return 130
    return 0
