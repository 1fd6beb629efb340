"""The command `trajectory`."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import odelandscape as ol

from ..runtime.errors import OperationError, UserError
from .options import (
    FLOW_NAMES,
    activation_of,
    add_command,
    add_dimension,
    add_flow,
    add_output,
    add_problem,
    add_seed,
    check_folder,
    flow_of,
    learning_rate_of,
    output_folder,
    positive,
    remark,
    report,
    slope_of,
    unless,
    whole,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXAMPLES = f"""\
examples:
  odelandscape trajectory -K 4 -M 4                                  one start along gradient flow
  odelandscape trajectory -K 4 -M 4 --flow ngd --seed 3 --time 1000  another, students of fixed length, longer
  odelandscape trajectory -K 4 -M 4 --flow sgd --learning-rate 0.5   online SGD in infinitely many dimensions
  odelandscape trajectory -K 2 -M 2 --flow sgd --networks 10 -d 500 --time 20
                                                                     … and ten networks of 500 inputs, too
  odelandscape trajectory -K 4 -M 4 -d 100 --random-teacher --json   a teacher whose rows are not orthogonal

{FLOW_NAMES}
Output times are 0 and then a geometric sequence from a thousandth of --time on; for sgd a unit of time is d/η
steps. The folder of --out receives trajectory.txt, trajectory.json, trajectory.png and trajectory.csv, which
has all order parameters; students and teachers are counted from 1. Networks start at the initial state of
the ODE and take --time · d/η inputs each: their mean loss is reported with its standard error, and its
deviation from the ODE in standard errors (of order 1, plus the effect of a finite d). If a learning rate is
so large that students grow without bounds, the two output times between which they diverge are reported.
"""


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add this command and its options."""
    parser = add_command(
        commands,
        "trajectory",
        run,
        summary="follow one random start along a flow",
        description="Follow one random start along a flow: its loss, and how its students align with "
        "teachers. For online SGD, train networks of finite dimension from the same start.",
        examples=EXAMPLES,
    )
    add_problem(parser)
    add_flow(parser)
    add = parser.add_argument
    add("--time", type=positive, default=100.0, metavar="t", help="last output time (default 100)")
    add(
        "--points",
        type=whole(2, 10**6),  # each is a line of a table and of a JSON
        default=60,
        metavar="N",
        help="number of output times (default 60)",
    )
    add_seed(parser, "start, inputs and teacher")
    add_dimension(parser, more=", 1000 with --networks")
    add(
        "--networks",
        type=whole(2),
        metavar="N",
        help="number of networks of finite dimension to train, with sgd",
    )
    add(
        "--random-teacher",
        action="store_true",
        help="draw the teacher's rows from N(0, I/d) instead of orthonormal ones; needs --dimension",
    )
    add_output(parser, "trajectory-K4-M4-gd")


def _problem_and_start(
    args: argparse.Namespace, flow: ol.AbstractFlow
) -> tuple[ol.Problem, ol.Weights]:
    """Return the problem, whose teacher may be random, and the initial weights on the flow's constraint."""
    import jax

    from ..runtime.arguments import check_memory

    K, M, d = args.students, args.teachers, args.dimension
    if d is None and args.networks is not None:
        d = max(1000, M)
    size = 8 * args.points * K * (K + M)
    check_memory("arguments -K, -M and --points", f"Q and R at {args.points:,} times", size)
    check_memory("arguments -K and --dimension", "a start", 8 * K * (d or M))
    activation, key = activation_of(args), jax.random.key(args.seed)
    if args.random_teacher:
        if d is None:
            raise UserError("argument --random-teacher: needs --dimension, in which it is drawn")
        problem = ol.random_teacher(jax.random.fold_in(key, 2), M, d, activation, K)
    else:
        problem = ol.Problem(K, M, activation)
    return problem, flow.project_initial(ol.random_weights(key, problem, d))


def run(args: argparse.Namespace) -> None:
    """Follow the start, write table, numbers, order parameters and figure, and print table or numbers."""
    import jax

    from ..dynamics.ensembles import run_ensemble, times_until, whole_steps
    from ..model.title import in_words, title_of
    from .ensemble_tables import csv_of, json_of, table_of

    began = time.perf_counter()
    flow, times, keys = flow_of(args), times_until(args.time, args.points), None
    if args.networks is not None and not flow.stochastic:
        raise UserError(
            f"argument --networks: got --flow {args.flow}; allowed: only with a stochastic flow such as sgd, "
            "whose random inputs make networks differ"
        )
    problem, start = _problem_and_start(args, flow)
    d = start.W.shape[1]
    if args.networks is not None:
        keys = jax.random.split(jax.random.fold_in(jax.random.key(args.seed), 1), args.networks)
        times = whole_steps(times, flow, d)
    folder = _folder(args)
    check_folder(folder)
    ensemble = run_ensemble(problem, flow, start, times, keys, progress=not args.quiet)
    rate = learning_rate_of(flow)
    drawn = ["random teacher"] if args.random_teacher else []
    title = title_of(problem, *drawn, in_words(flow), f"d = {d}, seed {args.seed}")
    found = {
        "students": args.students,
        "teachers": args.teachers,
        "activation": args.activation,
        "slope": slope_of(problem.activation),
        "flow": args.flow,
        "learning_rate": rate,
        "seed": args.seed,
        "dimension": d,
        "random_teacher": args.random_teacher,
        "networks": args.networks,
        **json_of(ensemble),
        "seconds": time.perf_counter() - began,
    }
    as_json = json.dumps(found, indent=1, allow_nan=False)
    table = f"{title}\n\n{table_of(ensemble)}"

    def draw() -> Figure:
        from ..plots.trajectory import trajectory_figure

        return trajectory_figure(ensemble, title)

    texts = {
        "trajectory.json": as_json + "\n",
        "trajectory.txt": table + "\n",
        "trajectory.csv": csv_of(ensemble),
    }
    report(folder, texts, as_json if args.json else table, ("trajectory.png", draw))
    remark(args, "figure, table and order parameters", folder)
    if ensemble.remark is not None and not ensemble.diverged:
        raise OperationError(f"the trajectory {ensemble.remark}")


def _folder(args: argparse.Namespace) -> Path:
    kind = f"{args.flow}-random-teacher" if args.random_teacher else args.flow
    return output_folder(
        args,
        kind,
        eta=args.learning_rate,
        n=args.networks,
        seed=unless(0, args.seed),
        t=unless(100.0, args.time),
        points=unless(60, args.points),
    )
