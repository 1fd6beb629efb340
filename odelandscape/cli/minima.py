"""The command `minima`."""

import argparse
import json
import sys
import time

import numpy as np
from tqdm import tqdm

from ..landscape.fixed_points import COMPENSATED, HIDDEN, FixedPoint
from ..landscape.search import families
from ..landscape.spectrum import Spectrum, spectrum
from ..model.problem import Problem, check_dimension
from ..runtime.errors import UserError
from .options import activation_of, check_writable, output_folder

MINIMA_EXAMPLES = """\
examples:
  odelandscape minima -K 17 -M 17                          every family that a search finds
  odelandscape minima -K 18 -M 17                          one student too many
  odelandscape minima -K 1000000 -M 1000000 --anti-aligned 1   one family at a width that no run reaches
  odelandscape minima -K 17 -M 17 --activation leaky-relu --slope 0.05 --anti-aligned 2 --json

branches: compensated (the paper's: the aligned students compensate for α anti-aligned ones), hidden (α
students reflected against their teachers), and others by the sizes of their blocks. The folder of --out
receives minima.txt, minima.json and minima.png.
"""


def _correlated(M: int, c: float):
    """T = (1 − c) I + c 11ᵀ, or None for c = 0."""
    if c == 0:
        return None
    if not -1 / max(M - 1, 1) < c < 1:
        raise UserError(
            f"argument --correlation: T is positive definite between −1/(M − 1) and 1; got {c:g}"
        )
    return (1 - c) * np.eye(M) + c


def find_families(
    args: argparse.Namespace, problem: Problem, blocks: int | None = None, starts: int = 64
) -> list[FixedPoint]:
    bar = tqdm(unit="ansatz", desc="searching", disable=args.quiet, delay=3)

    def told(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    with bar:
        return families(problem, args.anti_aligned, blocks=blocks, starts=starts, progress=told)


def is_reported(point: FixedPoint, of_point: Spectrum) -> bool:
    return of_point.verdict != "unstable" or point.branch in (COMPENSATED, HIDDEN)


def run_minima(args: argparse.Namespace) -> None:
    began = time.perf_counter()
    T = _correlated(args.teachers, args.correlation)
    activation = activation_of(args.activation, args.slope)
    problem = Problem(args.students, args.teachers, activation, T)
    check_dimension(problem, args.dimension)
    folder = output_folder(args, "", alpha=args.anti_aligned, c=args.correlation)
    check_writable(folder, "minima.txt")
    points = find_families(args, problem, blocks=args.blocks, starts=args.starts)
    spectra = [spectrum(problem, point, args.dimension) for point in points]
    rows = [
        (point, of_point)
        for point, of_point in zip(points, spectra, strict=True)
        if args.all or is_reported(point, of_point)
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
    from ..plots.families import families_figure

    families_figure(rows, title).savefig(folder / "minima.png", dpi=150)
    print(as_json if args.json else table)
    if not args.quiet:
        print(f"\npicture, table and spectra: {folder}/", file=sys.stderr)


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
