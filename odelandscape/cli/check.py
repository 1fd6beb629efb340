"""The command `check`."""

from __future__ import annotations

import argparse
from pathlib import Path

import odelandscape as ol

from ..runtime.errors import UserError
from .options import add_command, require_extra

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
        description="Prove the claims of certificates again, from their boxes alone. The exit status is 2 if "
        "a claim is not proved.",
        examples=EXAMPLES,
    )
    parser.add_argument(
        "files", type=Path, nargs="+", metavar="FILE", help="certificate written by `prove`"
    )


def run(args: argparse.Namespace) -> None:
    """Prove each certificate again and print a line for it."""
    require_extra("proof", "flint", "check")
    for file in args.files:
        try:
            certificate = ol.check_certificate(file)
        except OSError as error:
            raise UserError(
                f"argument FILE: cannot read {str(file)!r}: {error.strerror or error}"
            ) from None
        print(f"{file}: proved, {certificate.verdict} with loss {certificate.loss}", flush=True)
