"""The command `trajectory`."""

import argparse
import json
import sys
import time

import jax
import numpy as np

from ..dynamics.ensembles import Course, run_ensemble, times_until, whole_steps
from ..flows.online_sgd import OnlineSGD
from ..model.problem import Problem
from ..model.random_teacher import random_teacher
from ..model.state import random_weights
from ..runtime.errors import StoreError, UserError
from ..runtime.files import write_whole
from .options import activation_of, check_writable, flow_of, output_folder

TRAJECTORY_EXAMPLES = """\
examples:
  odelandscape trajectory -K 4 -M 4                                  one start along gradient flow
  odelandscape trajectory -K 4 -M 4 --flow ngd --seed 3 --time 1000  another, students of fixed length, longer
  odelandscape trajectory -K 4 -M 4 --flow sgd --learning-rate 0.5   online SGD in infinitely many dimensions
  odelandscape trajectory -K 2 -M 2 --flow sgd --networks 10 -d 500 --time 20
                                                                     … and ten networks of 500 inputs, too
  odelandscape trajectory -K 4 -M 4 -d 100 --random-teacher --json   a teacher whose rows aren't orthogonal

Times are 0 and then a geometric sequence from a thousandth of --time on; for sgd a unit of time is d/η
steps. The folder of --out receives trajectory.txt, trajectory.json, trajectory.png and trajectory.csv, which
has all order parameters; students and teachers are counted from 1. Networks start where the ODE starts and
see --time · d/η inputs each: their mean loss is told with its standard error, and its deviation from the ODE
in standard errors (of order 1, and what is due to a finite d). A learning rate that is too large makes
students grow without bounds: that is told, and where.
"""


def run_trajectory(args: argparse.Namespace) -> None:
    began = time.perf_counter()
    K, M, d = args.students, args.teachers, args.dimension
    activation, flow = activation_of(args.activation, args.slope), flow_of(args)
    key, keys = jax.random.key(args.seed), None
    if args.networks is not None:
        if args.flow != "sgd":
            raise UserError(
                "argument --networks: only with sgd, whose random inputs make them differ; "
                f"got --flow {args.flow}"
            )
        d = max(1000, M) if d is None else d
        keys = jax.random.split(jax.random.fold_in(key, 1), args.networks)
    if args.random_teacher:
        if d is None:
            raise UserError("argument --random-teacher: needs --dimension, in which it is drawn")
        problem = random_teacher(jax.random.fold_in(key, 2), M, d, activation, K)
    else:
        problem = Problem(K, M, activation)
    start = flow.project_initial(random_weights(key, problem, d))
    times = times_until(args.time, args.points)
    if keys is not None and isinstance(flow, OnlineSGD):
        times = whole_steps(times, flow, start.W.shape[1])
    rate = flow.learning_rate if isinstance(flow, OnlineSGD) else None
    kind = f"{args.flow}-random-teacher" if args.random_teacher else args.flow
    folder = output_folder(args, kind, eta=args.learning_rate, n=args.networks, seed=args.seed)
    check_writable(folder, "trajectory.txt")
    course = run_ensemble(problem, flow, start, times, keys, progress=not args.quiet)
    title = (
        f"K = {K} students, M = {M} {'random ' * args.random_teacher}teachers, "
        f"{type(activation).__name__}, {args.flow}{'' if rate is None else f' with η = {rate:g}'}: "
        f"seed {args.seed} in d = {start.W.shape[1]}"
    )
    report = {
        "students": K,
        "teachers": M,
        "activation": args.activation,
        "flow": args.flow,
        "learning_rate": rate,
        "seed": args.seed,
        "dimension": start.W.shape[1],
        "random_teacher": args.random_teacher,
        "networks": args.networks,
        **course_json(course),
        "seconds": time.perf_counter() - began,
    }
    as_json = json.dumps(report, indent=1, allow_nan=False)
    table = f"{title}\n\n{course_table(course)}"
    print(as_json if args.json else table, flush=True)
    from ..plots.trajectory import trajectory_figure

    try:
        write_whole(folder / "trajectory.json", as_json + "\n")
        write_whole(folder / "trajectory.txt", table + "\n")
        write_whole(folder / "trajectory.csv", course_csv(course))
        trajectory_figure(course, title).savefig(folder / "trajectory.png", dpi=150)
    except OSError as error:
        raise StoreError(f"cannot write to {str(folder)!r}: {error.strerror}") from None
    if not args.quiet:
        print(f"\npicture, table and order parameters: {folder}/", file=sys.stderr)


_ROWS = 12  # of the printed table


def _known(x) -> float | None:
    return float(x) if np.isfinite(x) else None


def course_table(course: Course) -> str:
    """A dozen of the times that were reached."""
    head = f"{'t':>10}{'loss':>14}"
    if course.networks is not None:
        head += f"{'networks':>14}{'standard error':>16}{'deviation':>11}"
    head += f"{'cosines':>18}{'lengths':>18}"
    lines = [head, "-" * len(head)]
    loss, cosine, length = course.theory
    for t in np.unique(np.linspace(0, course.reached - 1, _ROWS).round().astype(int)):
        line = f"{course.times[t]:>10.4g}{loss[t]:>14.6g}"
        if course.networks is not None:
            mean, error = course.networks.mean.loss[t], course.networks.error.loss[t]
            deviation = course.deviation[t]
            line += f"{mean:>14.6g}{error:>16.2g}" if np.isfinite(error) else f"{'–':>14}{'–':>16}"
            line += f"{deviation:>+11.1f}" if np.isfinite(deviation) else f"{'–':>11}"
        for values in (cosine[t], length[t]):
            line += f"{f'{values.min():.3f} … {values.max():.3f}':>18}"
        lines.append(line)
    lines += [
        "",
        "cosines: smallest and largest of a student with the teacher it is nearest to at the end",
    ]
    if course.networks is not None:
        lines.append(
            f"networks: mean loss of {course.networks.networks} of dimension {course.networks.dimension}; "
            "deviation from the ODE in standard errors"
        )
    if course.remark is not None:
        lines += ["", course.remark]
    return "\n".join(lines)


def course_json(course: Course) -> dict:
    """Result and times; null for what isn't known. Teachers are counted from 1."""
    loss, cosine, length = course.theory
    points = []
    for t, at in enumerate(course.times):
        point = {
            "t": float(at),
            "loss": _known(loss[t]),
            "cosines": [_known(x) for x in cosine[t]],
            "lengths": [_known(x) for x in length[t]],
        }
        if course.networks is not None:
            point |= {
                "networks": _known(course.networks.mean.loss[t]),
                "standard_error": _known(course.networks.error.loss[t]),
                "deviation": _known(course.deviation[t]),
            }
        points.append(point)
    ends = "finished" if course.remark is None else "diverged" if course.diverged else "stopped"
    return {
        "result": ends,
        "remark": course.remark and course.remark.replace("\n", " "),
        "nearest_teachers": (course.teacher + 1).tolist(),
        "points": points,
    }


def course_csv(course: Course) -> str:
    """All order parameters at each time; units are counted from 1, what isn't known is empty."""
    Q, R, v = (np.asarray(x) for x in (course.states.Q, course.states.R, course.states.v))
    K, M = R.shape[1:]
    i, j = np.triu_indices(K)
    columns = {"t": course.times, "loss": course.theory.loss}
    if course.networks is not None:
        columns |= {
            "networks": course.networks.mean.loss,
            "standard_error": course.networks.error.loss,
            "deviation": course.deviation,
        }
    columns |= {f"Q_{a + 1}_{b + 1}": Q[:, a, b] for a, b in zip(i, j, strict=True)}
    columns |= {f"R_{a + 1}_{n + 1}": R[:, a, n] for a in range(K) for n in range(M)}
    columns |= {f"v_{a + 1}": v[:, a] for a in range(K)}
    rows = zip(*columns.values(), strict=True)
    lines = [",".join(repr(float(x)) if np.isfinite(x) else "" for x in row) for row in rows]
    return "\n".join([",".join(columns), *lines]) + "\n"
