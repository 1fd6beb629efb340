"""The command `prove`."""

import argparse
import json
import re
import sys
from pathlib import Path

from tqdm import tqdm

from ..landscape.fixed_points import FixedPoint
from ..landscape.spectrum import spectrum
from ..model.problem import Problem
from ..proofs.certificate import Certificate
from ..runtime.errors import StoreError
from ..runtime.files import write_whole
from .minima import find_families, is_reported
from .options import activation_of, check_writable, output_folder

PROVE_EXAMPLES = """\
examples:
  odelandscape prove -K 17 -M 17 --anti-aligned 2     one family: a minimum, as a theorem
  odelandscape prove -K 10 -M 10 --all                every family that a search finds
  odelandscape prove -K 1000000 -M 1000000 --anti-aligned 1 --bits 256

Proved are, in ball arithmetic: that exactly one fixed point lies in a small box, where its parameters and its
loss lie, and where all eigenvalues of its Hessian do. The folder of --out receives a certificate of each
family (JSON), which `odelandscape check FILE` proves again, and proofs.txt.
"""


def run_prove(args: argparse.Namespace) -> None:
    from ..proofs.prove import prove

    activation = activation_of(args.activation, args.slope)
    problem = Problem(args.students, args.teachers, activation)
    folder = output_folder(args, "", alpha=args.anti_aligned)
    check_writable(folder, "proofs.txt")
    points = find_families(args, problem)
    if not args.all:
        points = [p for p in points if is_reported(p, spectrum(problem, p))]
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


def names(points: list[FixedPoint]) -> list[str]:
    """One for each point's certificate, to be a file's name."""
    found: list[str] = []
    for point in points:
        branch = re.sub(r"\W+", "-", point.branch).strip("-") or "family"
        name = f"{branch}-{point.anti_aligned}"
        count = sum(other == name or other.startswith(f"{name}-no") for other in found)
        found.append(name if count == 0 else f"{name}-no{count + 1}")
    return found


def table(title: str, rows: list[tuple[str, Certificate]]) -> str:
    """A line for each certificate; all that one says, if it is the only one."""
    width = max([len(name) for name, _ in rows] + [11])
    head = f"{'certificate':<{width}}  {'verdict':<14}{'index':>7}  {'loss':<38}smallest eigenvalue"
    lines = [title, "", head, "-" * len(head)]
    for name, certificate in rows:
        lines.append(f"{name:<{width}}  {_line(certificate)}")
    if len(rows) == 1 and rows[0][1].proved:
        lines += ["", str(rows[0][1])]
    else:
        lines += [f"{name}: {one.reason}" for name, one in rows if one.reason]
    return "\n".join(lines)


def _line(certificate: Certificate) -> str:
    if certificate.loss is None:
        return certificate.verdict
    if certificate.index is None:
        return f"{certificate.verdict:<14}{'–':>7}  {certificate.loss.short()}"
    low, high = certificate.index
    index = f"{low:g}" if low == high else f"{low:g} – {high:g}"
    smallest = certificate.eigenvalues[0].value
    return f"{certificate.verdict:<14}{index:>7}  {certificate.loss.short():<38}{smallest.short()}"


def save(folder: Path, rows: list[tuple[str, Certificate]]) -> None:
    """Each as a file of its name."""
    for name, certificate in rows:
        certificate.save(folder / f"{name}.json")
