"""The command `sweep`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import odelandscape as ol

from ..runtime.errors import UserError
from .options import (
    FLOW_NAMES,
    activation_name,
    activation_of,
    add_command,
    add_dimension,
    add_flow,
    add_output,
    add_problem,
    add_seed,
    add_time_limit,
    flow_name,
    flow_of,
    learning_rate_of,
    output_folder,
    remark,
    report,
    require_extra,
    share,
    slope_of,
    unless,
    whole,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXAMPLES = f"""\
examples:
  odelandscape sweep -K 10 -M 10 --seeds 2000           the landscape of ten students, ten teachers
  odelandscape sweep -K 11 -M 10 --seeds 1000           one student too many
  odelandscape sweep -K 10 -M 10 --flow ngd -d 20       students of fixed length, inputs in 20 dimensions
  odelandscape sweep -K 6 -M 6 --activation erf --json  numbers for a program
  odelandscape sweep -K 6 -M 6 --activation mine:Swish  the class Swish of mine.py in the current folder
  odelandscape sweep -K 6 -M 6 --flow sgd --learning-rate 0.3 --seeds 200
                                                        stationary states of online SGD (slower)
  odelandscape sweep -K 17 -M 17 --workers 8            eight processes, a core each
  odelandscape sweep -K 17 -M 17 --dask HOST:8786       on the workers of a Dask cluster
  odelandscape sweep -K 17 -M 17 --share 3/16           third of sixteen jobs that fill one folder

{FLOW_NAMES}
The folder of --out receives summary.txt, summary.json, losses.png and the end states (seeds-*.npz).
The same command again continues from the finished seeds, with or without workers; a larger --seeds makes the
sweep longer. `odelandscape show DIR` summarises a folder. --share writes end states only: when all jobs have
finished, the same command without it relaxes the seeds of lost jobs and writes the table.
"""
INTERRUPTED = ": finished seeds are kept, and the same command continues from there"


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add this command and its options."""
    parser = add_command(
        commands,
        "sweep",
        run,
        summary="relax many random starts and report their end states",
        description="Relax many random students to their end states along a flow on the population loss, "
        "certify each with the exact Hessian, and print the families of minima with their frequencies.",
        examples=EXAMPLES,
        when_interrupted=INTERRUPTED,
    )
    add_problem(parser)
    parser.add_argument(
        "--seeds",
        type=whole(1, 2**32),  # what numbers a key of JAX is folded with
        default=10_000,
        metavar="N",
        help="number of random starts (default 10000)",
    )
    add_seed(parser, "the whole sweep")
    add_flow(parser)
    add_dimension(parser)
    add_time_limit(parser)
    parser.add_argument(
        "--transient",
        choices=("float32", "float64"),
        default="float64",
        help="precision until the rates of a start are small: float32 takes half the time; end states are "
        "certified in float64 either way (default float64)",
    )
    add = parser.add_mutually_exclusive_group().add_argument
    add("--workers", type=whole(1, 4096), metavar="N", help="relax in N processes, one core each")
    add("--dask", metavar="ADDRESS", help="relax on the cluster of this Dask scheduler")
    add("--share", type=share, metavar="I/N", help="relax only share I of N, in this process")
    add_output(parser, "sweep-K10-M10-gd")


@contextmanager
def _executor(args: argparse.Namespace) -> Iterator[Executor | None]:
    if args.workers is not None:
        with ol.Workers(args.workers) as executor:
            yield executor
    elif args.dask is not None:
        require_extra("dask", "distributed", "argument --dask, here and on the workers,")
        from distributed import Client

        try:
            client = Client(args.dask)
        except (OSError, ValueError, TypeError) as error:
            raise UserError(f"argument --dask: no scheduler at {args.dask!r}: {error}") from None
        with client:
            # pure=True could return the failure of a chunk again when it is retried.
            yield client.get_executor(pure=False, retries=2)
    else:
        yield None


def run(args: argparse.Namespace) -> None:
    """Relax the seeds that the folder lacks, and report the sweep."""
    problem = ol.Problem(args.students, args.teachers, activation_of(args))
    flow = flow_of(args)
    folder = _folder(args)
    _check_memory(args, flow)
    which = args.seeds, args.seed, args.dimension
    how = {"progress": not args.quiet, "time_limit": args.time_limit, "transient": args.transient}
    if args.share is not None:
        count = ol.sweep_share(problem, flow, args.share, folder, *which, **how)
        i, n = args.share
        done = {"seeds": count, "share": f"{i}/{n}", "folder": str(folder)}
        text = f"{count:,} seeds of share {i}/{n} were missing and are now in {folder}/"
        print(json.dumps(done) if args.json else text)
        return
    with _executor(args) as executor:
        runs = ol.sweep(problem, flow, *which, executor=executor, store=folder, **how)
    report_sweep(runs, folder, args.json)
    remark(args, "figure, table and end states", folder)


def _folder(args: argparse.Namespace) -> Path:
    kind = args.flow if args.transient == "float64" else f"{args.flow}-{args.transient}"
    return output_folder(args, kind, eta=args.learning_rate, seed=unless(0, args.seed))


def _check_memory(args: argparse.Namespace, flow: ol.AbstractFlow) -> None:
    """Raise UserError if a sweep takes more memory than this machine has, before it is begun."""
    from ..runtime.arguments import check_memory

    K, M = args.students, args.teachers
    d = args.dimension or M
    check_memory("arguments -K, -M and --dimension", f"a start of {K * d:,} weights", 8 * K * d)
    kept = M + K if flow.stochastic else min(d, M + K + 1)
    hessian = f"the Hessian that certifies one end state of {K * kept:,} weights"
    check_memory("arguments -K and -M", hessian, 8 * (K * kept) ** 2)
    check_memory("argument --seeds", "a list of them", 20 * args.seeds)


def report_sweep(runs: ol.Sweep, folder: Path, as_json: bool) -> None:
    """Write the table, the numbers and the figure of a sweep to its folder, and print table or numbers."""
    numbers = json.dumps(_as_json(runs), indent=1, allow_nan=False)
    table = str(runs.summary())

    def draw() -> Figure:
        from ..plots.sweep import sweep_figure

        return sweep_figure(runs)

    texts = {"summary.json": numbers + "\n", "summary.txt": table + "\n"}
    printed = numbers if as_json else table
    report(folder, texts, printed, ("losses.png", draw), kept="the end states are kept, but ")


def _as_json(runs: ol.Sweep) -> dict:
    summary, problem = runs.summary(), runs.problem
    columns = (
        "branch",
        "anti_aligned",
        "loss",
        "count",
        "smallest_eigenvalue",
        "outcome",
        "fraction",
        "ci95",
    )
    return {
        "students": problem.students,
        "teachers": problem.teachers,
        "flow": flow_name(runs.flow),
        "learning_rate": learning_rate_of(runs.flow),
        "activation": activation_name(problem.activation),
        "slope": slope_of(problem.activation),
        "seeds": len(runs),
        "seed": runs.seed,
        "dimension": runs.dimension,
        "time_limit": runs.time_limit,
        "transient": runs.transient,
        "outcomes": summary.outcomes,
        "unfinished": summary.unfinished and summary.unfinished._asdict(),
        "families": [{name: getattr(row, name) for name in columns} for row in summary.families],
        "seconds": runs.seconds,
        "seconds_compiling": runs.seconds_compiling,
    }
