"""The command `minima`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import odelandscape as ol

from ..runtime.errors import OperationError, UserError
from ..runtime.tables import text_table, with_decimals
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
from .process import interruptible

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..landscape.search import Found

EXAMPLES = """\
examples:
  odelandscape minima -K 17 -M 17                          every family that a search finds
  odelandscape minima -K 18 -M 17                          one student too many
  odelandscape minima -K 1000000 -M 1000000 --anti-aligned 1   one family at a width beyond any simulation
  odelandscape minima -K 17 -M 17 --activation leaky-relu --slope 0.05 --anti-aligned 2 --json

α counts students that point away from their teacher (– where the activation is even and w and −w are one);
the index counts negative eigenvalues of the Hessian: 0 of a minimum, 1 or more of a saddle.
branches: compensated (the paper's: the aligned students compensate for α anti-aligned ones), hidden (α
students reflected against their teachers), and others by the sizes of their blocks. The folder of --out
receives minima.txt, minima.json and minima.png.
"""

_MOST_CORRELATED = 2**13


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
        default=256,
        metavar="N",
        help="random starts of a search in an ansatz (default 256)",
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
    if M > _MOST_CORRELATED:
        raise UserError(
            f"argument --correlation: allowed for at most {_MOST_CORRELATED} teachers, whose overlaps are "
            f"written out; got -M {M}"
        )
    if M == 1:
        raise UserError("argument --correlation: needs two teachers or more; got -M 1")
    least = -1 / (M - 1)
    if not least < c < 1:
        raise UserError(
            f"argument --correlation: got {c:g}; allowed: numbers between −1/(M − 1) = {least:.6g} and 1, "
            "where T is positive definite"
        )
    T = np.full((M, M), c)
    np.fill_diagonal(T, 1.0)  # and not (1 − c) + c, rounded
    return T


def find_families(args: argparse.Namespace, problem: ol.Problem) -> list[ol.FixedPoint]:
    """Return the families that a search finds, with a progress bar."""
    *_, found = searched(args, problem)
    return found.points


def searched(
    args: argparse.Namespace, problem: ol.Problem, blocks: int | None = None, **more: int
) -> Iterator[Found]:
    """Yield what a search has found so far, with a progress bar."""
    from tqdm import tqdm

    from ..landscape.search import search

    with ExitStack() as stack:
        bar = None
        for found in search(problem, args.anti_aligned, blocks=blocks, **more):
            if bar is None and found.ansatze and not args.quiet:
                bar = stack.enter_context(
                    tqdm(total=found.ansatze, unit="ansatz", desc="searching")
                )
            if bar is not None:
                bar.update(found.searched - bar.n)
                bar.set_postfix_str(f"{len(found.points)} found")
            yield found


def is_reported(point: ol.FixedPoint, spectrum: ol.Spectrum) -> bool:
    """Return whether a family is reported without --all: no unstable one but on the two named branches."""
    from ..ansatz.ansatz_point import COMPENSATED, HIDDEN

    return spectrum.verdict != "unstable" or point.branch in (COMPENSATED, HIDDEN)


def _counts(found: int, shown: int) -> str:
    families = f"{found} {'family' if found == 1 else 'families'} found"
    return families if shown == found else f"{families}, {shown} shown (all with --all)"


def _searched(args: argparse.Namespace) -> str:
    """Return what a search without an answer has done."""
    if args.blocks or (args.blocks is None and args.teachers <= 100):
        return "a search from random starts has found none (more with --starts N)"
    if args.teachers <= 100:
        return "--blocks 0 searches for no others"
    return "so many teachers are searched with --blocks 1 (or 2) alone"


def _found(args: argparse.Namespace, problem: ol.Problem) -> tuple[Found, bool]:
    """Return what a search has found, at least one family, and whether it was interrupted after that.

    Raises OperationError if there is none.
    """
    from ..landscape.search import Found
    from ..model.title import title_of

    found = Found([], 0, 0)
    try:
        with interruptible():
            for step in searched(args, problem, args.blocks, starts=args.starts):
                found = step
    except KeyboardInterrupt:
        if not found.points:
            raise
        print("\ninterrupted: keeping what was found …", file=sys.stderr, flush=True)
        return found, True
    if not found.points:
        raise OperationError(
            f"no family was found for {title_of(problem)}: none has a name there, and {_searched(args)}"
        )
    return found, False


def run(args: argparse.Namespace) -> None:
    """Find the families, write table, numbers and figure, and print table or numbers."""
    from ..landscape.fixed_points import check_problem, in_all_digits
    from ..model.problem import check_dimension
    from ..model.title import title_of

    began = time.perf_counter()
    check_problem(ol.Problem(args.students, args.teachers))
    T = _correlated(args.teachers, args.correlation)
    activation = activation_of(args)
    problem = ol.Problem(args.students, args.teachers, activation, T)
    check_dimension(problem, args.dimension)
    folder = _folder(args)
    check_folder(folder)
    found, interrupted = _found(args, problem)
    points = [in_all_digits(point) for point in found.points]
    spectra = [ol.spectrum(problem, point, args.dimension) for point in points]
    rows = [
        (point, spectrum)
        for point, spectrum in zip(points, spectra, strict=True)
        if args.all or is_reported(point, spectrum)
    ]
    dimension = args.dimension or args.teachers
    title = f"{title_of(problem, f'd = {dimension}')}: {_counts(len(found.points), len(rows))}"
    numbers = {
        "students": args.students,
        "teachers": args.teachers,
        "activation": args.activation,
        "slope": slope_of(activation),
        "correlation": args.correlation,
        "dimension": dimension,
        "families": [_family_as_json(point, spectrum) for point, spectrum in rows],
        "searched": {"ansatze": found.searched, "of": found.ansatze, "starts": args.starts},
        "seconds": time.perf_counter() - began,
    }
    as_json = json.dumps(numbers, indent=1, allow_nan=False)
    table = f"{_table(title, rows)}\n\n{_searched_in_words(found, args.starts)}"

    def draw() -> Figure:
        from ..plots.families import families_figure

        return families_figure(rows, title)

    texts = {"minima.json": as_json + "\n", "minima.txt": table + "\n"}
    if interrupted:
        report(folder, texts)
        args.when_interrupted = (
            f": what was found is kept in {folder}/, and the same command begins anew"
        )
        raise KeyboardInterrupt
    report(folder, texts, as_json if args.json else table, ("minima.png", draw))
    remark(args, "figure, table and spectra", folder)


def _folder(args: argparse.Namespace) -> Path:
    return output_folder(
        args,
        "all" if args.all else "",
        alpha=args.anti_aligned,
        c=unless(0.0, args.correlation),
        starts=unless(256, args.starts),
        blocks=args.blocks,
    )


def _searched_in_words(found: Found, starts: int) -> str:
    """Return what was searched, and that this proves nothing of what was not found."""
    if not found.ansatze:
        return "named families only; others were not looked for"
    partly = "" if found.searched == found.ansatze else f" of {found.ansatze}, interrupted"
    return (
        f"block ansätze searched: {found.searched}{partly}, with {starts} starts of Newton's method in each; "
        "what was found is not proved to be all"
    )


def _family_as_json(point: ol.FixedPoint, spectrum: ol.Spectrum) -> dict:
    from ..ansatz.ansatz_point import TEACHER

    return {
        "branch": point.branch,
        "blocks": point.ansatz.name,
        "anti_aligned": point.anti_aligned,
        "loss": 0.0 if point.branch == TEACHER else float(point.loss),
        "loss_error": float(point.loss_error),
        "residual": float(point.residual),
        "smallest_eigenvalue": spectrum.smallest,
        "eigenvalue_error": spectrum.error,
        "verdict": spectrum.verdict,
        "index": spectrum.index,
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
    from ..model.alignment import alpha_text

    head = ("branch", "α", "loss", "index", "smallest eigenvalue", "verdict", "residual")
    cells = [
        (
            point.branch,
            alpha_text(point.anti_aligned),
            point.loss_text(),
            f"{spectrum.index:.10g}",
            with_decimals(spectrum.smallest, spectrum.error, 8),
            spectrum.verdict,
            f"{float(point.residual):.1e}",
        )
        for point, spectrum in rows
    ]
    table = f"{title}\n\n{text_table(head, cells)}"
    return f"{table}\n\nspectrum of the Hessian\n{rows[0][1]}" if len(rows) == 1 else table
