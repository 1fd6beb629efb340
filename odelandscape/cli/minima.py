"""The command `minima`."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import odelandscape as ol

from ..runtime.errors import UserError
from ..runtime.tables import text_table
from .options import (
    activation_of,
    add_all,
    add_anti_aligned,
    add_command,
    add_dimension,
    add_output,
    add_problem,
    check_folder,
    number,
    output_folder,
    remark,
    report,
    slope_of,
    unless,
    whole,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXAMPLES = """\
examples:
  odelandscape minima -K 17 -M 17                          every family that a search finds
  odelandscape minima -K 18 -M 17                          one student too many
  odelandscape minima -K 1000000 -M 1000000 --anti-aligned 1   one family at a width beyond any simulation
  odelandscape minima -K 17 -M 17 --activation leaky-relu --slope 0.05 --anti-aligned 2 --json

branches: compensated (the paper's: the aligned students compensate for α anti-aligned ones), hidden (α
students reflected against their teachers), and others by the sizes of their blocks. The folder of --out
receives minima.txt, minima.json and minima.png.
"""


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add this command and its options."""
    parser = add_command(
        commands,
        "minima",
        run,
        summary="find families of fixed points without sampling, at any width",
        description="Find the families of fixed points of gradient flow by Newton's method in block ansätze, "
        "and classify each by its whole Hessian spectrum.",
        examples=EXAMPLES,
    )
    add_problem(parser)
    add_anti_aligned(parser)
    add = parser.add_argument
    add(
        "--correlation",
        type=number,
        default=0.0,
        metavar="c",
        help="overlap of any two teachers (default 0)",
    )
    add_dimension(parser, "the inputs for the Hessian")
    add(
        "--starts",
        type=whole(1),
        default=64,
        metavar="N",
        help="random starts of a search in an ansatz (default 64)",
    )
    add(
        "--blocks",
        type=int,
        choices=(0, 1, 2, 3),
        help="largest number of blocks in a search (default 3, 2 or 0, by the number of teachers)",
    )
    add_all(parser)
    add_output(parser, "minima-K17-M17")


def _correlated(M: int, c: float):
    """Return T = (1 − c) I + c 11ᵀ, or None for c = 0. Raises UserError unless T is positive definite."""
    import numpy as np

    if c == 0:
        return None
    least = -1 / max(M - 1, 1)
    if not least < c < 1:
        raise UserError(
            f"argument --correlation: got {c:g}; allowed: numbers between −1/(M − 1) = {least:.6g} and 1, "
            "where T is positive definite"
        )
    return (1 - c) * np.eye(M) + c


def find_families(
    args: argparse.Namespace, problem: ol.Problem, blocks: int | None = None, starts: int = 64
) -> list[ol.FixedPoint]:
    """Return the families that a search finds, with a progress bar."""
    from tqdm import tqdm

    bar = tqdm(unit="ansatz", desc="searching", disable=args.quiet, delay=3)

    def report_progress(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    with bar:
        return ol.families(
            problem, args.anti_aligned, blocks=blocks, starts=starts, progress=report_progress
        )


def is_reported(point: ol.FixedPoint, spectrum: ol.Spectrum) -> bool:
    """Return whether a family is reported without --all: no unstable one but on the two named branches."""
    from ..landscape.fixed_points import COMPENSATED, HIDDEN

    return spectrum.verdict != "unstable" or point.branch in (COMPENSATED, HIDDEN)


def _counts(found: int, shown: int) -> str:
    families = f"{found} {'family' if found == 1 else 'families'} found"
    return families if shown == found else f"{families}, {shown} shown (all with --all)"


def run(args: argparse.Namespace) -> None:
    """Find the families, write table, numbers and figure, and print table or numbers."""
    from ..model.problem import check_dimension
    from ..model.title import title_of

    began = time.perf_counter()
    T = _correlated(args.teachers, args.correlation)
    activation = activation_of(args)
    problem = ol.Problem(args.students, args.teachers, activation, T)
    check_dimension(problem, args.dimension)
    folder = _folder(args)
    check_folder(folder)
    points = find_families(args, problem, blocks=args.blocks, starts=args.starts)
    spectra = [ol.spectrum(problem, point, args.dimension) for point in points]
    rows = [
        (point, spectrum)
        for point, spectrum in zip(points, spectra, strict=True)
        if args.all or is_reported(point, spectrum)
    ]
    dimension = args.dimension or args.teachers
    title = f"{title_of(problem, f'd = {dimension}')}: {_counts(len(points), len(rows))}"
    found = {
        "students": args.students,
        "teachers": args.teachers,
        "activation": args.activation,
        "slope": slope_of(activation),
        "correlation": args.correlation,
        "dimension": dimension,
        "families": [_family_as_json(point, spectrum) for point, spectrum in rows],
        "seconds": time.perf_counter() - began,
    }
    as_json = json.dumps(found, indent=1, allow_nan=False)
    table = _table(title, rows)

    def draw() -> Figure:
        from ..plots.families import families_figure

        return families_figure(rows, title)

    texts = {"minima.json": as_json + "\n", "minima.txt": table + "\n"}
    report(folder, texts, as_json if args.json else table, ("minima.png", draw))
    remark(args, "figure, table and spectra", folder)


def _folder(args: argparse.Namespace) -> Path:
    return output_folder(
        args,
        "all" if args.all else "",
        alpha=args.anti_aligned,
        c=unless(0.0, args.correlation),
        starts=unless(64, args.starts),
        blocks=args.blocks,
    )


def _family_as_json(point: ol.FixedPoint, spectrum: ol.Spectrum) -> dict:
    return {
        "branch": point.branch,
        "anti_aligned": point.anti_aligned,
        "loss": float(point.loss),
        "residual": float(point.residual),
        "smallest_eigenvalue": spectrum.smallest,
        "verdict": spectrum.verdict,
        "parameters": {name: float(value) for name, value in point.parameters.items()},
        "spectrum": [
            {"eigenvalue": value, "multiplicity": count, "representation": name}
            for value, count, name in zip(
                spectrum.eigenvalues.tolist(),
                spectrum.multiplicities.tolist(),
                spectrum.representations,
                strict=True,
            )
        ],
    }


def _table(title: str, rows: Sequence[tuple[ol.FixedPoint, ol.Spectrum]]) -> str:
    """Return a line for each family, and the whole spectrum of an only one."""
    head = ("branch", "α", "loss", "smallest eigenvalue", "verdict", "residual")
    cells = [
        (
            point.branch,
            f"{point.anti_aligned}",
            f"{abs(float(point.loss)):.10g}",
            f"{spectrum.smallest:.8f}",
            spectrum.verdict,
            f"{float(point.residual):.1e}",
        )
        for point, spectrum in rows
    ]
    table = f"{title}\n\n{text_table(head, cells)}"
    return f"{table}\n\nspectrum of the Hessian\n{rows[0][1]}" if len(rows) == 1 else table
