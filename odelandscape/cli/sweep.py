"""The command `sweep`."""

import argparse
import json
import sys
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path

from ..activations.erf import Erf
from ..activations.relu import LeakyReLU, ReLU
from ..flows.online_sgd import OnlineSGD
from ..model.problem import Problem
from ..runtime.errors import StoreError, UserError
from ..runtime.files import write_whole
from ..sweeps.executors import Workers
from ..sweeps.result import Sweep
from ..sweeps.sweep import sweep, sweep_share
from .options import FLOWS, activation_of, flow_of, output_folder

SWEEP_EXAMPLES = """\
examples:
  odelandscape sweep -K 10 -M 10 --seeds 2000           the landscape of ten students, ten teachers
  odelandscape sweep -K 11 -M 10 --seeds 1000           one student too many
  odelandscape sweep -K 10 -M 10 --flow ngd -d 20       students of fixed length, inputs in 20 dimensions
  odelandscape sweep -K 6 -M 6 --activation erf --json  numbers for a program
  odelandscape sweep -K 6 -M 6 --flow sgd --learning-rate 0.3 --seeds 200
                                                        where online SGD comes to rest
  odelandscape sweep -K 17 -M 17 --workers 8            eight processes, a core each
  odelandscape sweep -K 17 -M 17 --dask HOST:8786       on the workers of a Dask cluster
  odelandscape sweep -K 17 -M 17 --share 3/16           third of sixteen jobs that fill one folder

The folder of --out receives summary.txt, summary.json, losses.png and the end states (seeds-*.npz).
The same command again goes on from what is there, with or without workers; a larger --seeds makes the sweep
longer. `odelandscape show DIR` tells what a folder holds. --share writes end states only: when all jobs have
run, the same command without it adds what a lost job has left, and the table.
"""


@contextmanager
def _executor(args: argparse.Namespace) -> Iterator[Executor | None]:
    if args.workers is not None:
        with Workers(args.workers) as executor:
            yield executor
    elif args.dask is not None:
        try:
            from distributed import Client
        except ImportError:
            raise UserError(
                'argument --dask: needs Dask: python3 -m pip install "odelandscape[dask]", here and on the '
                "workers"
            ) from None
        try:
            client = Client(args.dask)
        except (OSError, ValueError, TypeError) as error:
            raise UserError(f"argument --dask: no scheduler at {args.dask!r}: {error}") from None
        with client:
            # pure=True could hand out the failure of a chunk again when it is tried once more.
            yield client.get_executor(pure=False, retries=2)
    else:
        yield None


def _as_json(runs: Sweep) -> dict:
    summary, problem = runs.summary(), runs.problem
    told = {flow: name for name, flow in FLOWS.items()}
    activation = {ReLU: "relu", LeakyReLU: "leaky-relu", Erf: "erf"}
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
        "students": problem.students,
        "teachers": problem.teachers,
        "flow": told[type(runs.flow)],
        "learning_rate": runs.flow.learning_rate if isinstance(runs.flow, OnlineSGD) else None,
        "activation": activation[type(problem.activation)],
        "seeds": len(runs),
        "seed": runs.seed,
        "dimension": runs.dimension,
        "outcomes": summary.outcomes,
        "families": [{name: getattr(row, name) for name in columns} for row in summary.families],
        "seconds": runs.seconds,
        "seconds_compiling": runs.seconds_compiling,
    }


def run_sweep(args: argparse.Namespace) -> None:
    problem = Problem(args.students, args.teachers, activation_of(args.activation, args.slope))
    folder = output_folder(args, args.flow, eta=args.learning_rate, seed=args.seed)
    flow, of_sweep = flow_of(args), (args.seeds, args.seed, args.dimension)
    if args.share is not None:
        count = sweep_share(problem, flow, args.share, folder, *of_sweep, progress=not args.quiet)
        done = {"seeds": count, "share": "/".join(map(str, args.share)), "folder": str(folder)}
        told = "{seeds:,} seeds of share {share} were missing and are now in {folder}/"
        print(json.dumps(done) if args.json else told.format(**done))
        return
    with _executor(args) as executor:
        runs = sweep(
            problem, flow, *of_sweep, executor=executor, store=folder, progress=not args.quiet
        )
    report_sweep(runs, folder, args.json)
    if not args.quiet:
        print(f"\nfigure, table and end states: {folder}/", file=sys.stderr)


def report_sweep(runs: Sweep, folder: Path, as_json: bool) -> None:
    """Print a sweep's table, and put table, numbers and figure into its folder."""
    report = json.dumps(_as_json(runs), indent=1, allow_nan=False)
    table = str(runs.summary())
    # First what needs no room on a disk.
    print(report if as_json else table, flush=True)
    # Matplotlib is loaded where a figure is drawn: results come first.
    from ..plots.sweep import sweep_figure

    try:
        write_whole(folder / "summary.json", report + "\n")
        write_whole(folder / "summary.txt", table + "\n")
        sweep_figure(runs).savefig(folder / "losses.png", dpi=150)
    except OSError as error:
        raise StoreError(
            f"the end states are kept, but table and figure cannot be written to {str(folder)!r}: "
            f"{error.strerror}"
        ) from None
