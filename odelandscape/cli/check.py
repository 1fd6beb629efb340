"""The command `check`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ..runtime.errors import UserError
from .options import add_command, require_extra

_PATIENCE = 3.0  # seconds, above which a proof's cost is said first
EXAMPLES = """\
examples:
  odelandscape check prove-K17-M17-alpha2/compensated-2.json
  odelandscape check prove-K10-M10/*.json
"""


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add this command and its options."""
    parser = add_command(
        commands,
        "check",
        run,
        summary="prove certificates again",
        description="Prove the claims of certificates again, from their boxes alone, each with a line that "
        "says so. The exit status is 2 if a file is no certificate or claims what is not proved: it is named "
        "on standard error, and the others are proved none the less.",
        examples=EXAMPLES,
    )
    parser.add_argument(
        "files", type=Path, nargs="+", metavar="FILE", help="certificate written by `prove`"
    )


def say_cost(doing: str, parameters: Sequence[int], bits: int) -> None:
    """Print on standard error how long proofs in ansätze of so many parameters take, if seconds or more."""
    from ..proofs.prove import expected_seconds

    seconds = sum(expected_seconds(count, bits) for count in parameters)
    if seconds > _PATIENCE:
        units = {"hours": 3600, "minutes": 60, "seconds": 1}
        unit = next(name for name, length in units.items() if seconds >= 2 * length)
        about = f"{seconds / units[unit]:.1g} {unit}"
        print(f"{doing} with {bits} bits: about {about}", file=sys.stderr, flush=True)


def run(args: argparse.Namespace) -> None:
    """Prove each certificate again and print a line for it.

    Raises UserError for the last file that fails, after a line for each other one that does.
    """
    require_extra("proof", "flint", "check")
    from ..proofs.check import prove_claims, read_certificate

    failure = None
    for file in args.files:
        try:
            claimed = read_certificate(file)
            s = claimed.statement
            if s is not None:  # two proofs, the second with more bits
                say_cost(f"checking {file}", 2 * [len(s.centre)], s.bits)
            certificate = prove_claims(claimed, str(file))
        except UserError as error:
            if failure is not None:
                print(f"odelandscape check: {failure}", file=sys.stderr)
            failure = UserError(f"argument FILE: {error}")
        else:
            print(f"{file}: proved, {certificate.verdict} with loss {certificate.loss}", flush=True)
    if failure is not None:
        raise failure
