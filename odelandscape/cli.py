"""The command line: `odelandscape sweep -K 10 -M 10 --seeds 2000`, `show DIR`, `minima -K 17 -M 17`,
`prove -K 17 -M 17`, `check FILE` and `trajectory -K 4 -M 4`."""

import argparse
import json
import sys
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import jax
import numpy as np
from tqdm import tqdm

from .activations import Erf, LeakyReLU, ReLU
from .cli_trajectory import course_csv, course_json, course_table, follow, times_until, whole_steps
from .compiler import keep_programs
from .families import families
from .fixed_points import COMPENSATED, HIDDEN, FixedPoint
from .flows import (
    AbstractFlow,
    GradientFlow,
    NormalisedFlow,
    OnlineSGD,
    OrthonormalFlow,
    TwoLayerFlow,
)
from .network import random_teacher
from .problem import Problem, check_dimension, random_weights
from .selfcheck import WrongNumbersError, ensure_numbers
from .stability import Spectrum, spectrum
from .store import StoreError, write_whole
from .sweep import Sweep, read_sweep, sweep, sweep_share
from .workers import Workers, WorkersLostError

FLOWS = {
    "gd": GradientFlow,
    "ngd": NormalisedFlow,
    "ongd": OrthonormalFlow,
    "2l-gd": TwoLayerFlow,
    "sgd": OnlineSGD,
}
ACTIVATIONS = ("relu", "leaky-relu", "erf")

_EXAMPLES = """\
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

_SHOW_EXAMPLES = """\
examples:
  odelandscape show sweep-K10-M10-gd                           the table again, and losses.png
  odelandscape show sweep-K10-M10-gd --export landscape.nc     all end states as one netCDF file
  odelandscape show sweep-K10-M10-gd --export landscape.zarr   or as Zarr, where zarr is installed
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

_PROVE_EXAMPLES = """\
examples:
  odelandscape prove -K 17 -M 17 --anti-aligned 2     one family: a minimum, as a theorem
  odelandscape prove -K 10 -M 10 --all                every family that a search finds
  odelandscape prove -K 1000000 -M 1000000 --anti-aligned 1 --bits 256

Proved are, in ball arithmetic: that exactly one fixed point lies in a small box, where its parameters and its
loss lie, and where all eigenvalues of its Hessian do. The folder of --out receives a certificate of each
family (JSON), which `odelandscape check FILE` proves again, and proofs.txt.
"""

_CHECK_EXAMPLES = """\
examples:
  odelandscape check prove-K17-M17-alpha2/compensated-2.json
  odelandscape check prove-K10-M10/*.json
"""

_TRAJECTORY_EXAMPLES = """\
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


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if 0 < value < float("inf"):
        return value
    raise argparse.ArgumentTypeError(f"got {text!r}; allowed: a finite number above 0")


def _share(text: str) -> tuple[int, int]:
    try:
        i, n = (int(part) for part in text.split("/"))
    except ValueError:
        i, n = 0, 0
    if not 1 <= i <= n:
        raise argparse.ArgumentTypeError(
            f"got {text!r}; allowed: I/N with I from 1 to N, such as 3/16"
        )
    return i, n


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
        "students; 2l-gd: the second layer learns too; sgd: online SGD in infinitely many dimensions, "
        "which is slower",
    )
    add("--learning-rate", type=_positive, metavar="η", help="of sgd, above 0 (0.1)")
    add(
        "-d",
        "--dimension",
        type=_whole(1),
        metavar="d",
        help="of the inputs, at least M; the default is M",
    )
    where = run.add_mutually_exclusive_group().add_argument
    where("--workers", type=_whole(1), metavar="N", help="relax in N processes, one core each")
    where("--dask", metavar="ADDRESS", help="relax on the cluster of this Dask scheduler")
    where("--share", type=_share, metavar="I/N", help="relax only the I-th of N shares, here")
    _add_output(add, "sweep-K10-M10-gd")
    run = commands.add_parser(
        "show",
        help="tell what a sweep has left in a folder, finished or not",
        description="Print the table of what a folder holds and draw its figure, without computing anything.",
        epilog=_SHOW_EXAMPLES,
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
    run = commands.add_parser(
        "prove",
        help="prove that families are minima or saddles, by ball arithmetic",
        description="Find the families of fixed points of gradient flow, and prove of each what it is.",
        epilog=_PROVE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = run.add_argument
    _add_problem(add)
    add("--anti-aligned", type=_whole(0), metavar="α", help="only families with α such students")
    add("--bits", type=_whole(2), default=128, metavar="N", help="of the mantissas (128)")
    add("--all", action="store_true", help="unstable families without a name, too")
    _add_output(add, "prove-K17-M17")
    run = commands.add_parser(
        "check",
        help="prove again what certificates say",
        description="Prove again what certificates say, from the boxes that they name alone. Returns 2 if "
        "one says what isn't proved.",
        epilog=_CHECK_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument("files", type=Path, nargs="+", metavar="FILE", help="that prove has written")
    run = commands.add_parser(
        "trajectory",
        help="follow one random start along a flow, with networks beside it",
        description="Follow one random start along a flow: its loss, and how its students align with "
        "teachers. For online SGD, train networks of finite dimension from the same start.",
        epilog=_TRAJECTORY_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = run.add_argument
    _add_problem(add)
    add(
        "--flow",
        choices=tuple(FLOWS),
        default="gd",
        help="gd: gradient flow (default); ngd: students of fixed length; ongd: orthonormal "
        "students; 2l-gd: the second layer learns too; sgd: online SGD",
    )
    add("--learning-rate", type=_positive, metavar="η", help="of sgd, above 0 (0.1)")
    add("--time", type=_positive, default=100.0, metavar="t", help="how far (100)")
    add("--points", type=_whole(2), default=60, metavar="N", help="times that are told (60)")
    add("--seed", type=_whole(0), default=0, metavar="S", help="of start, inputs and teacher (0)")
    add(
        "-d",
        "--dimension",
        type=_whole(1),
        metavar="d",
        help="of the inputs, at least M; the default is M, and 1000 with --networks",
    )
    add("--networks", type=_whole(2), metavar="N", help="of finite dimension to train, with sgd")
    add(
        "--random-teacher",
        action="store_true",
        help="with rows drawn from N(0, I/d), not orthonormal ones; needs --dimension",
    )
    _add_output(add, "trajectory-K4-M4-gd")
    return parser


def _activation(name: str, slope: float | None):
    if name == "leaky-relu":
        return LeakyReLU(0.1 if slope is None else slope)
    if slope is not None:
        raise ValueError(f"argument --slope: only leaky-relu has one; got --activation {name}")
    return Erf() if name == "erf" else ReLU()


def _flow(args: argparse.Namespace) -> AbstractFlow:
    if args.flow == "sgd":
        return OnlineSGD(0.1 if args.learning_rate is None else args.learning_rate)
    if args.learning_rate is not None:
        raise ValueError(f"argument --learning-rate: only sgd has one; got --flow {args.flow}")
    return FLOWS[args.flow]()


def _folder(args: argparse.Namespace, kind: str, **more: object) -> Path:
    if args.out is not None:
        return args.out
    parts = [f"{args.command}-K{args.students}-M{args.teachers}", kind]
    if args.activation != "relu":
        parts.append(args.activation)
    dimension = getattr(args, "dimension", None)
    for letter, value in {"a": args.slope, "d": dimension, **more}.items():
        if value:
            parts.append(f"{letter}{value}")
    return Path("-".join(part for part in parts if part))


@contextmanager
def _executor(args: argparse.Namespace) -> Iterator[Executor | None]:
    if args.workers is not None:
        with Workers(args.workers) as executor:
            yield executor
    elif args.dask is not None:
        try:
            from distributed import Client
        except ImportError:
            raise ValueError(
                'argument --dask: needs Dask: python3 -m pip install "odelandscape[dask]", here and on the '
                "workers"
            ) from None
        try:
            client = Client(args.dask)
        except (OSError, ValueError, TypeError) as error:
            raise ValueError(f"argument --dask: no scheduler at {args.dask!r}: {error}") from None
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


def _sweep(args: argparse.Namespace) -> None:
    problem = Problem(args.students, args.teachers, _activation(args.activation, args.slope))
    folder = _folder(args, args.flow, eta=args.learning_rate, seed=args.seed)
    flow, of_sweep = _flow(args), (args.seeds, args.seed, args.dimension)
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
    _tell(runs, folder, args.json)
    if not args.quiet:
        print(f"\nfigure, table and end states: {folder}/", file=sys.stderr)


def _show(args: argparse.Namespace) -> None:
    runs = read_sweep(args.folder)
    if not len(runs):
        raise ValueError(f"the sweep in {str(args.folder)!r} has no finished seeds yet")
    _tell(runs, args.folder, args.json)
    if args.export is not None:
        _export(args.folder, args.export)
    print(f"\nfigure and table: {args.folder}/", file=sys.stderr)


def _tell(runs: Sweep, folder: Path, as_json: bool) -> None:
    """Print a sweep's table, and put table, numbers and figure into its folder."""
    report = json.dumps(_as_json(runs), indent=1, allow_nan=False)
    table = str(runs.summary())
    # First what needs no room on a disk.
    print(report if as_json else table, flush=True)
    # Matplotlib is loaded where a figure is drawn: results come first.
    from .plots import sweep_figure

    try:
        write_whole(folder / "summary.json", report + "\n")
        write_whole(folder / "summary.txt", table + "\n")
        sweep_figure(runs).savefig(folder / "losses.png", dpi=150)
    except OSError as error:
        raise StoreError(
            f"the end states are kept, but table and figure cannot be written to {str(folder)!r}: "
            f"{error.strerror}"
        ) from None


def _export(folder: Path, file: Path) -> None:
    from .dataset import open_sweep

    if file.suffix not in (".nc", ".zarr"):
        raise ValueError(
            f"argument --export: got {str(file)!r}; allowed: a name that ends in .nc or .zarr"
        )
    try:
        if file.suffix == ".nc":
            open_sweep(folder).to_netcdf(file)
        else:  # format 3 has no names of a fixed length
            open_sweep(folder).to_zarr(file, zarr_format=2)
    except (ImportError, OSError) as error:
        raise StoreError(f"argument --export: cannot write {str(file)!r}: {error}") from None
    print(f"all end states: {file}", file=sys.stderr)


def _correlated(M: int, c: float):
    """T = (1 − c) I + c 11ᵀ, or None for c = 0."""
    if c == 0:
        return None
    if not -1 / max(M - 1, 1) < c < 1:
        raise ValueError(
            f"argument --correlation: T is positive definite between −1/(M − 1) and 1; got {c:g}"
        )
    return (1 - c) * np.eye(M) + c


def _families(
    args: argparse.Namespace, problem: Problem, blocks: int | None = None, starts: int = 64
) -> list[FixedPoint]:
    bar = tqdm(unit="ansatz", desc="searching", disable=args.quiet, delay=3)

    def told(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    with bar:
        return families(problem, args.anti_aligned, blocks=blocks, starts=starts, progress=told)


def _worth_telling(point: FixedPoint, of_point: Spectrum) -> bool:
    return of_point.verdict != "unstable" or point.branch in (COMPENSATED, HIDDEN)


def _minima(args: argparse.Namespace) -> None:
    began = time.perf_counter()
    T = _correlated(args.teachers, args.correlation)
    activation = _activation(args.activation, args.slope)
    problem = Problem(args.students, args.teachers, activation, T)
    check_dimension(problem, args.dimension)
    folder = _folder(args, "", alpha=args.anti_aligned, c=args.correlation)
    _writable(folder, "minima.txt")
    points = _families(args, problem, blocks=args.blocks, starts=args.starts)
    spectra = [spectrum(problem, point, args.dimension) for point in points]
    rows = [
        (point, of_point)
        for point, of_point in zip(points, spectra, strict=True)
        if args.all or _worth_telling(point, of_point)
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


def _prove(args: argparse.Namespace) -> None:
    from .cli_proof import names, save, table
    from .proof import prove

    activation = _activation(args.activation, args.slope)
    problem = Problem(args.students, args.teachers, activation)
    folder = _folder(args, "", alpha=args.anti_aligned)
    _writable(folder, "proofs.txt")
    points = _families(args, problem)
    if not args.all:
        points = [p for p in points if _worth_telling(p, spectrum(problem, p))]
    bar = tqdm(points, unit="family", desc="proving", disable=args.quiet, delay=3)
    certificates = [prove(point, args.bits) for point in bar]
    rows = list(zip(names(points), certificates, strict=True))
    proved = sum(certificate.proved for certificate in certificates)
    title = (
        f"K = {args.students} students, M = {args.teachers} teachers, {type(activation).__name__}: "
        f"{proved} of {len(rows)} families proved"
    )
    told = table(title, rows)
    try:
        save(folder, rows)
        write_whole(folder / "proofs.txt", told + "\n")
    except OSError as error:
        raise StoreError(f"cannot write to {str(folder)!r}: {error.strerror}") from None
    as_json = {name: certificate.as_json() for name, certificate in rows}
    print(json.dumps(as_json, indent=1, ensure_ascii=False) if args.json else told)
    if not args.quiet:
        print(f"\ncertificates and table: {folder}/", file=sys.stderr)


def _check(args: argparse.Namespace) -> None:
    from .proof import check_certificate

    for file in args.files:
        certificate = check_certificate(file)
        print(f"{file}: proved, {certificate.verdict} with loss {certificate.loss}", flush=True)


def _writable(folder: Path, file: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
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


def _trajectory(args: argparse.Namespace) -> None:
    began = time.perf_counter()
    K, M, d = args.students, args.teachers, args.dimension
    activation, flow = _activation(args.activation, args.slope), _flow(args)
    key, keys = jax.random.key(args.seed), None
    if args.networks is not None:
        if args.flow != "sgd":
            raise ValueError(
                "argument --networks: only with sgd, whose random inputs make them differ; "
                f"got --flow {args.flow}"
            )
        d = max(1000, M) if d is None else d
        keys = jax.random.split(jax.random.fold_in(key, 1), args.networks)
    if args.random_teacher:
        if d is None:
            raise ValueError("argument --random-teacher: needs --dimension, in which it is drawn")
        problem = random_teacher(jax.random.fold_in(key, 2), M, d, activation, K)
    else:
        problem = Problem(K, M, activation)
    start = flow.admit(random_weights(key, problem, d))
    times = times_until(args.time, args.points)
    if keys is not None and isinstance(flow, OnlineSGD):
        times = whole_steps(times, flow, start.W.shape[1])
    rate = flow.learning_rate if isinstance(flow, OnlineSGD) else None
    kind = f"{args.flow}-random-teacher" if args.random_teacher else args.flow
    folder = _folder(args, kind, eta=args.learning_rate, n=args.networks, seed=args.seed)
    _writable(folder, "trajectory.txt")
    course = follow(problem, flow, start, times, keys, progress=not args.quiet)
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
    from .plots import trajectory_figure

    try:
        write_whole(folder / "trajectory.json", as_json + "\n")
        write_whole(folder / "trajectory.txt", table + "\n")
        write_whole(folder / "trajectory.csv", course_csv(course))
        trajectory_figure(course, title).savefig(folder / "trajectory.png", dpi=150)
    except OSError as error:
        raise StoreError(f"cannot write to {str(folder)!r}: {error.strerror}") from None
    if not args.quiet:
        print(f"\npicture, table and order parameters: {folder}/", file=sys.stderr)


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
                "sweep": _sweep,
                "show": _show,
                "minima": _minima,
                "prove": _prove,
                "check": _check,
                "trajectory": _trajectory,
            }
            run[args.command](args)
    except (ImportError, ValueError, WrongNumbersError, StoreError, WorkersLostError) as error:
        print(f"odelandscape {args.command}: {error}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1
    except KeyboardInterrupt:
        print(
            "\ninterrupted: what a sweep has finished is kept; the same command goes on from there",
            file=sys.stderr,
        )
        return 130
    return 0
