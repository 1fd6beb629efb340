"""The command `prove`."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path

import odelandscape as ol

from ..proofs import MOST_BITS
from ..runtime.errors import UserError
from ..runtime.tables import text_table
from .check import say_cost
from .minima import find_families, is_reported
from .options import (
    activation_of,
    add_all,
    add_anti_aligned,
    add_command,
    add_output,
    add_problem,
    check_folder,
    output_folder,
    remark,
    report,
    require_extra,
    unless,
    whole,
)
from .process import interruptible

_MOST_SURPLUS = 64
"""Students that families are looked for and proved with beyond the teachers; each is a unit of its own."""

EXAMPLES = """\
examples:
  odelandscape prove -K 17 -M 17 --anti-aligned 2     one family: a minimum, as a theorem
  odelandscape prove -K 10 -M 10 --all                every family that a search finds
  odelandscape prove -K 1000000 -M 1000000 --anti-aligned 1 --bits 256

Proved in ball arithmetic: that exactly one fixed point lies in a small box, and enclosures of its
parameters, of its loss and of all eigenvalues of its Hessian. The folder of --out receives proofs.txt and a
certificate of each family (JSON), which `odelandscape check FILE` proves again.
"""


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add this command and its options."""
    parser = add_command(
        commands,
        "prove",
        run,
        summary="prove that families are minima or saddles, by ball arithmetic",
        description="Find the families of fixed points of gradient flow, and prove for each whether it is a "
        "minimum or a saddle.",
        examples=EXAMPLES,
    )
    add_problem(parser)
    add_anti_aligned(parser)
    parser.add_argument(
        "--bits",
        type=whole(2, MOST_BITS),
        default=128,
        metavar="N",
        help=f"bits of the mantissas, up to {MOST_BITS} (default 128)",
    )
    add_all(parser)
    add_output(parser, "prove-K17-M17")


def run(args: argparse.Namespace) -> None:
    """Find the families, prove each, write certificates and table, and print table or certificates."""
    require_extra("proof", "flint", "prove")
    from tqdm import tqdm

    from ..model.title import title_of
    from ..proofs.prove import provable_slope

    activation = activation_of(args)
    provable_slope(activation)  # refused now and not after the search
    problem = ol.Problem(args.students, args.teachers, activation)
    if args.students > args.teachers + _MOST_SURPLUS:
        raise UserError(
            f"argument -K: got {args.students} students for {args.teachers} teachers; allowed for a proof: "
            f"up to M + {_MOST_SURPLUS}, as each surplus student has unknowns of its own"
        )
    folder = _folder(args)
    check_folder(folder)
    points = find_families(args, problem)
    found = len(points)
    if not args.all:
        points = [p for p in points if is_reported(p, ol.spectrum(problem, p))]
    if not args.quiet:
        say_cost("proving", [point.ansatz.count for point in points], args.bits)
    bar = tqdm(points, unit="family", desc="proving", disable=args.quiet, delay=3)
    certificates, interrupted = [], False
    try:
        with interruptible():
            for point in bar:
                certificates.append(ol.prove(point, args.bits))
    except KeyboardInterrupt:
        if not certificates:
            raise
        interrupted = True
    rows = list(zip(certificate_names(points), certificates, strict=not interrupted))
    proved = sum(certificate.proved for certificate in certificates)
    title = f"{title_of(problem)}: {proved} of {len(points)} families proved"
    if found > len(points):
        title += f"; {found - len(points)} saddles left out (all with --all)"
    table = _table(title, rows)
    # Certificates state all numbers that they are about: sizes, readouts, slope.
    as_json = {name: certificate.as_json() for name, certificate in rows}
    texts = {
        f"{name}.json": json.dumps(one, indent=1, ensure_ascii=False) + "\n"
        for name, one in as_json.items()
    }
    texts["proofs.txt"] = table + "\n"
    if interrupted:
        report(folder, texts)
        args.when_interrupted = f": the certificates so far are kept in {folder}/"
        raise KeyboardInterrupt
    report(folder, texts, json.dumps(as_json, indent=1) if args.json else table)
    remark(args, "certificates and table", folder)


def _folder(args: argparse.Namespace) -> Path:
    every = "all" if args.all else ""
    return output_folder(args, every, alpha=args.anti_aligned, bits=unless(128, args.bits))


def certificate_names(points: Sequence[ol.FixedPoint]) -> list[str]:
    """Return a file name without suffix for the certificate of each point, no two alike."""
    found: list[str] = []
    for point in points:
        branch = re.sub(r"\W+", "-", point.branch).strip("-") or "family"
        alpha = "" if point.anti_aligned is None else f"-{point.anti_aligned}"
        name = f"{branch}{alpha}"
        count = sum(other == name or other.startswith(f"{name}-no") for other in found)
        found.append(name if count == 0 else f"{name}-no{count + 1}")
    return found


def _table(title: str, rows: Sequence[tuple[str, ol.Certificate]]) -> str:
    """Return a line for each certificate, and all that an only one states."""
    head = ("certificate", "verdict", "index", "loss", "smallest eigenvalue")
    cells = [(name, *_cells(certificate)) for name, certificate in rows]
    lines = [title, "", text_table(head, cells, left=(0, 1, 3, 4))]
    if len(rows) == 1 and rows[0][1].proved:
        lines += ["", str(rows[0][1])]
    else:
        lines += [f"{name}: {one.reason}" for name, one in rows if one.reason]
    return "\n".join(lines)


def _cells(certificate: ol.Certificate) -> tuple[str, str, str, str]:
    """Return verdict, index, loss and smallest eigenvalue, as far as they are proved."""
    if certificate.loss is None:
        return certificate.verdict, "", "", ""
    loss = certificate.loss.short()
    if certificate.index is None:
        return certificate.verdict, certificate.index_text, loss, ""
    smallest = certificate.eigenvalues[0].value.short()
    return certificate.verdict, certificate.index_text, loss, smallest
